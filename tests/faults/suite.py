"""The fault suite: disturbs exports in every way it knows, finishes them, and counts what is lost and what is there twice.

    python tests/faults/suite.py [--quick] [--only NAME,...]

Each try runs real child processes (see child.py). It counts by record id against the input, and compares every delivered
file with an undisturbed run, byte by byte. Exit status 1 where anything is lost, doubled or otherwise wrong.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import hidden, plain, visible, write_gz

CHILD = Path(__file__).with_name("child.py")
PATIENCE = 600
"""Seconds after which a run counts as hanging."""

BY_GROUP = {"grouper": {"name": "file_key", "options": {"keys": ["g"]}}}
SHAPES: dict[str, dict[str, Any]] = {
    "ungrouped": {},
    "grouped": BY_GROUP,
    "parquet": {"formatter": {"name": "parquet"}, **BY_GROUP},
    "dedupe": {"filter_before": {"name": "dupe", "options": {"key_field": "key"}}},
    "dead letters": {
        "filter_before": {"name": "pythonexp", "options": {"python_expression": "1 / (item['id'] % 17 - 3) < 2"}},
        "on_error": "dead_letter",
        **BY_GROUP,
    },
    "two writers": {"filter_before": {"name": "pythonexp", "options": {"python_expression": "item['id'] % 5"}}},
}
FILES, RECORDS = 2, 60
"""The input of most tries; with `small` that is three or four ranges a file."""


class Wrong(Exception):
    """What a try found that must not be."""


@dataclass
class Done:
    code: int
    out: str
    err: str
    seconds: float

    @property
    def sentence(self) -> str:
        """The error as a user sees it."""
        return self.err[self.err.rfind("\nerror: ") + 1 :].strip() if "error: " in self.err else ""

    @property
    def met(self) -> bool:
        return self.code != 0 or json.loads(self.out)["met"]


class Server:
    """A process that has imported everything and forks a child for each try."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, str(CHILD), "--serve"], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip

    def start(self, asked: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        self._begun = time.monotonic()
        self._handle = None
        with suppress(ProcessLookupError):
            self._handle = os.pidfd_open(int(self._answer()["pid"]))

    def kill(self) -> None:
        """SIGKILL the child, where it still runs."""
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def wait(self) -> Done:
        hangs = threading.Timer(PATIENCE, self.kill)
        hangs.start()
        try:
            return Done(**self._answer(), seconds=time.monotonic() - self._begun)
        finally:
            hangs.cancel()
            if self._handle is not None:
                os.close(self._handle)

    def run(self, asked: dict[str, Any]) -> Done:
        self.start(asked)
        return self.wait()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise Wrong("the server of children has ended")
        return json.loads(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Tally:
    """One line of the table, and what is wrong beyond the counts."""

    tries: int = 0
    lost: int = 0
    duplicated: int = 0
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.wrong)


class Suite:
    """Input, undisturbed runs, and what all faults share."""

    def __init__(self, place: Path, quick: bool, jobs: int = 2) -> None:
        self.place, self.quick, self.jobs = place, quick, jobs
        self.source = place / "source"
        self.rng = random.Random(11)
        self._lock, self._numbers = threading.Lock(), itertools.count()
        self._servers: list[Server] = []
        self._mine = threading.local()
        self._undisturbed: dict[tuple[str, bool], dict[str, bytes]] = {}
        keys = random.Random(3)
        self.records = [
            {"id": i, "g": keys.choice("abc"), "key": keys.randrange(FILES * RECORDS // 2) + 1, "t": "x" * 150}
            for i in range(FILES * RECORDS)
        ]
        for n in range(FILES):
            write_gz(self.source / f"{n}.jl.gz", self.records[n * RECORDS : (n + 1) * RECORDS])
        firsts = {record["key"]: record["id"] for record in reversed(self.records)}
        self.expected = {shape: [record["id"] for record in self.records] for shape in SHAPES}
        self.expected["dedupe"] = sorted(firsts.values())
        kept = [record["id"] for record in self.records if record["id"] % 5]
        self.expected["two writers"] = kept + [each for each in kept if each % 2]

    def close(self) -> None:
        for server in self._servers:
            server.close()

    @property
    def server(self) -> Server:
        """This thread's own."""
        if not hasattr(self._mine, "server"):
            self._mine.server = self.another_server()
        return self._mine.server

    def another_server(self) -> Server:
        server = Server()
        with self._lock:
            self._servers.append(server)
        return server

    def fresh(self) -> Path:
        """A folder for one try; the export goes to `out` in it."""
        with self._lock:
            folder = self.place / f"try-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def asked(self, out: Path, shape: str = "ungrouped", source: Path | None = None, **more: Any) -> dict[str, Any]:
        config = {
            "reader": {"name": "fs", "options": {"input": {"dir": str(source or self.source)}}},
            "writer": {"name": "fs", "options": {"filebase": f"{out}/part-"}},
            **SHAPES[shape],
        }
        if shape == "two writers":
            del config["writer"]
            config["writers"] = [
                {"name": "fs", "as": "all", "options": {"filebase": f"{out}/all/part-"}, **BY_GROUP},
                {"name": "fs", "as": "odd", "options": {"filebase": f"{out}/odd/part-", "items_per_buffer_write": 20},
                 "when": "item['id'] % 2 == 1"},
            ]  # fmt: skip
        return {"config": config, "small": True, **more}

    def undisturbed(self, shape: str, small: bool = True) -> dict[str, bytes]:
        with self._lock:
            known = self._undisturbed.get((shape, small))
        if known is None:
            out = self.fresh() / "out"
            done = self.server.run(self.asked(out, shape) | {"small": small})
            if done.code:
                raise Wrong(f"{shape}: the undisturbed run failed: {done.err[-500:]}")
            known = bytes_of(out)
            with self._lock:
                known = self._undisturbed.setdefault((shape, small), known)
        return known

    def recover(self, tally: Tally, asked: dict[str, Any], run: Callable[[dict[str, Any]], Done] | None = None) -> Done:
        """Finish a disturbed export as a user would: with --resume."""
        run = run or self.server.run
        asked = {key: value for key, value in asked.items() if key != "fault"}
        done = run({**asked, "resume": True})
        if done.code:
            raise Wrong(f"was not finished: exit status {done.code}: {done.sentence or done.err[-500:]}")
        with self._lock:
            tally.seconds.append(done.seconds)
        return done

    def half_way(self, out: Path, shape: str, small: bool = True) -> None:
        """What stands under its final name after a fault is whole, and a manifest that is there tells the truth."""
        delivered, wanted = bytes_of(out), self.undisturbed(shape, small)
        for name, data in delivered.items():
            if wanted.get(name) != data:
                raise Wrong(f"after the fault {name} is not what an undisturbed run delivers")
        for path in out.rglob("manifest.json"):
            below = str(path.parents[2].relative_to(out)).removeprefix(".")
            if {name for name in delivered if name.startswith(below)} != {name for name in wanted if name.startswith(below)}:
                raise Wrong(f"there is a manifest, and files are missing{' of ' + below if below else ''}")

    def whole(self, tally: Tally, out: Path, shape: str, small: bool = True) -> None:
        """The export is complete: every record once, the bytes of an undisturbed run, nothing left but the manifest."""
        self.count(tally, ids_of(out) + [letter["record"]["id"] for letter in letters_of(out)], self.expected[shape])
        delivered, wanted = bytes_of(out), self.undisturbed(shape, small)
        if delivered != wanted:
            sizes = {
                name: (len(delivered.get(name, b"")), len(wanted.get(name, b"")))
                for name in sorted(delivered.keys() | wanted.keys())
                if delivered.get(name) != wanted.get(name)
            }
            raise Wrong(f"the delivered files are not those of an undisturbed run; bytes here and there: {sizes}")
        if [letter["record"]["id"] % 17 for letter in letters_of(out)] != [3] * (7 if shape == "dead letters" else 0):
            raise Wrong("the dead letters are not those of an undisturbed run")
        left = [name for name in hidden(out) if Path(name).name not in ("manifest.json", "dead-letters.jl")]
        if left or not hidden(out):
            raise Wrong(f"beside the manifest there is {left}" if left else "there is no manifest")

    def count(self, tally: Tally, found: list[Any], expected: list[Any]) -> None:
        there, wanted = Counter(found), Counter(expected)
        with self._lock:
            tally.lost += (wanted - there).total()
            tally.duplicated += (there - wanted).total()

    def attempt(self, tally: Tally, label: str, work: Callable[[Path], Any]) -> Any:
        """One try in a folder of its own, which is removed where all was well."""
        folder = self.fresh()
        before = tally.lost + tally.duplicated
        with self._lock:
            tally.tries += 1
        try:
            result = work(folder)
        except PermissionError:
            raise
        except (Wrong, OSError, ValueError) as wrong:
            with self._lock:
                tally.wrong.append(f"{label}: {wrong} (see {folder})")
            return None
        if before == tally.lost + tally.duplicated:
            shutil.rmtree(folder, ignore_errors=True)
        return result

    def spread(self, works: list[Callable[[], Any]]) -> None:
        """Run them, some at a time."""
        if self.jobs == 1:
            for work in works:
                work()
            return
        with ThreadPoolExecutor(self.jobs) as pool:
            for result in [pool.submit(work) for work in works]:
                result.result()

    def until_missed(self, tally: Tally, label: str, work: Callable[[Path, int], bool], steps: range) -> None:
        """Strike at each of these steps until the run has no such step any more; such a run is no try."""
        for nth in steps:
            met = self.attempt(tally, f"{label} {nth}", lambda folder, nth=nth: work(folder, nth))
            if met is False:
                with self._lock:
                    tally.tries -= 1
                return


def bytes_of(out: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in visible(out).items()} if out.exists() else {}


def ids_of(out: Path) -> list[int]:
    found: list[int] = []
    for path in visible(out).values() if out.exists() else ():
        if ".parquet" in path.name:
            import pyarrow.parquet

            found.extend(pyarrow.parquet.read_table(path, columns=["id"])["id"].to_pylist())
        else:
            found.extend(json.loads(line)["id"] for line in plain(path).splitlines())
    return found


def letters_of(out: Path) -> list[dict[str, Any]]:
    """The dead letters of the one export to this folder."""
    return [json.loads(line) for path in out.rglob("dead-letters.jl") for line in path.read_text().splitlines()]


def one_sentence(done: Done, *parts: str) -> None:
    """A failed run ends with exit status 1 and one clear sentence."""
    if done.code != 1:
        raise Wrong(f"exit status {done.code} instead of 1: {done.sentence or done.err[-500:]}")
    text = done.sentence
    if not text or "\n" in text or "Traceback" in text or "[while running" in text or "exporters_beam." in text:
        raise Wrong(f"not one clear sentence: {text!r}")
    for part in parts:
        if part not in text:
            raise Wrong(f"the message does not say {part!r}: {text}")


def kill_at_each_step(suite: Suite, tally: Tally) -> None:
    steps = {"fsync": range(1, 1000), "rename": range(1, 1000), "replace": range(1, 1000)}
    if suite.quick:
        steps = {"fsync": range(4, 20, 9), "rename": range(2, 3), "replace": range(2, 3)}

    def each(shape: str, call: str) -> None:
        def work(folder: Path, nth: int) -> bool:
            asked = suite.asked(folder / "out", shape, fault={"call": call, "nth": nth, "how": "kill"})
            done = suite.server.run(asked)
            if done.code == 0:
                suite.whole(tally, folder / "out", shape)
                return False
            if done.code != -signal.SIGKILL:
                raise Wrong(f"exit status {done.code}: {done.err[-500:]}")
            suite.half_way(folder / "out", shape)
            suite.recover(tally, asked)
            suite.whole(tally, folder / "out", shape)
            return True

        suite.until_missed(tally, f"{shape}: killed at {call}", work, steps[call])

    suite.spread([lambda shape=shape, call=call: each(shape, call) for call in steps for shape in SHAPES])


def kill_at_random(suite: Suite, tally: Tally) -> None:
    moments = [[suite.rng.uniform(0.02, 1.3) for _ in range(3)] for _ in range(8 if suite.quick else 100)]

    def each(n: int, shape: str) -> None:
        def work(folder: Path) -> None:
            asked = suite.asked(folder / "out", shape)
            for moment in moments[n]:
                suite.server.start({**asked, "resume": moment is not moments[n][0]})
                time.sleep(moment)
                suite.server.kill()
                suite.server.wait()
                suite.half_way(folder / "out", shape)
            suite.recover(tally, asked)
            suite.whole(tally, folder / "out", shape)

        suite.attempt(tally, f"{shape}: killed after {moments[n]} s", work)

    suite.spread([lambda n=n, shape=shape: each(n, shape) for n, shape in zip(range(len(moments)), itertools.cycle(SHAPES))])


def calls_that_fail(suite: Suite, tally: Tally) -> None:
    calls = ("rename", "replace", "fsync", "open", "os.open", "listdir", "makedirs", "remove", "write")
    steps = range(1, 1000)
    if suite.quick:
        steps = range(2, 14, 11)
    shapes = ("grouped",) if suite.quick else ("ungrouped", "grouped", "parquet")

    def each(shape: str, call: str, how: str) -> None:
        def work(folder: Path, nth: int) -> bool:
            out = folder / "out"
            asked = suite.asked(out, shape, fault={"call": call, "nth": nth, "how": how})
            done = suite.server.run(asked)
            if done.code:
                one_sentence(done, {"EIO": "Input/output error", "ENOSPC": "No space left on device"}[how])
                suite.half_way(out, shape)
                if nth % 2:
                    suite.recover(tally, asked)
                else:
                    again = suite.server.run(suite.asked(out, shape))
                    if again.code:
                        raise Wrong(f"a plain run after it failed: {again.sentence}")
                    tally.seconds.append(again.seconds)
            elif done.met:
                suite.half_way(out, shape)  # It says that it is done: then it must be, before anything mends it.
                if bytes_of(out) != suite.undisturbed(shape):
                    raise Wrong("the run says that it is done, and files are missing")
                suite.recover(tally, asked)
                again = suite.server.run(suite.asked(out, shape))
                if again.code:
                    raise Wrong(f"a plain run after it failed: {again.sentence}")
            suite.whole(tally, out, shape)
            return done.met

        suite.until_missed(tally, f"{shape}: {call} fails with {how}", work, steps)

    hows = ("EIO", "ENOSPC")
    suite.spread([lambda shape=shape, call=call, n=n: each(shape, call, hows[n % 2])
                  for shape in shapes for n, call in enumerate(calls)])  # fmt: skip
    if not suite.quick:
        suite.spread([lambda call=call, n=n: each("grouped", call, hows[1 - n % 2]) for n, call in enumerate(calls)])


def bundle_replay(suite: Suite, tally: Tally) -> None:
    def each(shape: str) -> None:
        def work(folder: Path) -> None:
            suite.recover(tally, suite.asked(folder / "out", shape, args=["--direct_runner_bundle_repeat=3"]))
            suite.whole(tally, folder / "out", shape)

        suite.attempt(tally, f"{shape}: bundles run three times", work)

    suite.spread([lambda shape=shape: each(shape) for shape in SHAPES])


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own. Raises PermissionError where mounting is not allowed."""
    folder.mkdir()
    done = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    if done.returncode:
        raise PermissionError(f"skipped: mounting is not allowed here ({done.stderr.strip()[-80:]})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(*args: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["mount", *args], capture_output=True, text=True)
    except OSError as error:
        return subprocess.CompletedProcess(args, 1, "", str(error))


def disk_full(suite: Suite, tally: Tally) -> None:
    sizes = (16, 28, 44) if suite.quick else (4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56)
    shapes = ("grouped",) if suite.quick else tuple(SHAPES)

    def each(shape: str, size: int) -> None:
        def work(folder: Path) -> None:
            with small_disk(folder / "out", f"{size}k") as out:
                asked = suite.asked(out, shape)
                done = suite.server.run(asked)
                if done.code:
                    one_sentence(done, "No space left on device")
                suite.half_way(out, shape)
                if mount("-o", "remount,size=64m", str(out)).returncode:
                    raise Wrong("the disk could not be made larger")
                suite.recover(tally, asked)
                suite.whole(tally, out, shape)

        suite.attempt(tally, f"{shape}: a disk of {size} KiB", work)

    suite.spread([lambda shape=shape, size=size: each(shape, size) for size in sizes for shape in shapes])


def read_only(suite: Suite, tally: Tally) -> None:
    def each(shape: str, nth: int) -> None:
        def work(folder: Path) -> None:
            with small_disk(folder / "out", "64m") as out:
                asked = suite.asked(out, shape)
                if nth:
                    killed = suite.server.run({**asked, "fault": {"call": "replace", "nth": nth, "how": "kill"}})
                    if killed.code != -signal.SIGKILL:
                        raise Wrong(f"was not killed: exit status {killed.code}")
                before = {**bytes_of(out), **{name: (out / name).read_bytes() for name in hidden(out)}}
                if mount("-o", "remount,ro", str(out)).returncode:
                    raise PermissionError("skipped: a file system cannot be made read-only here")
                for resume in (False, True) if nth else (False,):
                    one_sentence(suite.server.run({**asked, "resume": resume}), "Read-only file system")
                    if before != {**bytes_of(out), **{name: (out / name).read_bytes() for name in hidden(out)}}:
                        raise Wrong("a read-only target has changed")
                mount("-o", "remount,rw", str(out))
                suite.recover(tally, asked)
                suite.whole(tally, out, shape)

        suite.attempt(tally, f"{shape}: read-only" + (", before its first file" if nth else ", from the start"), work)

    shapes = ("grouped",) if suite.quick else tuple(SHAPES)
    suite.spread([lambda shape=shape, nth=nth: each(shape, nth) for shape in shapes for nth in (0, 2)])


def many_groups(suite: Suite, tally: Tally) -> None:
    groups = 2_000 if suite.quick else 100_000
    records = [{"id": i, "g": f"g{i:06}"} for i in range(groups)]
    source = suite.place / "groups"
    for n in range(4):
        write_gz(source / f"{n}.jl.gz", records[n::4])

    def each(nth: int) -> None:
        def work(folder: Path) -> None:
            out = folder / "out"
            asked = {**suite.asked(out, "grouped", source), "small": False}
            asked["config"]["writer"]["options"]["filebase"] = f"{out}/{{groups[0]}}"
            if nth:
                killed = suite.server.run({**asked, "fault": {"call": "replace", "nth": nth, "how": "kill"}})
                if killed.code != -signal.SIGKILL:
                    raise Wrong(f"exit status {killed.code}: {killed.err[-500:]}")
            suite.recover(tally, asked)
            found = {name: gzip.decompress(data) for name, data in bytes_of(out).items()}
            suite.count(tally, [json.loads(line)["id"] for data in found.values() for line in data.splitlines()],
                        list(range(groups)))  # fmt: skip
            wanted = {f"{record['g']}.jl.gz": record for record in records}
            if found.keys() != wanted.keys() or any(json.loads(data) != wanted[name] for name, data in found.items()):
                raise Wrong("a file does not hold the one record of its group")
            if [Path(name).name for name in hidden(out)] != ["manifest.json"]:
                raise Wrong("beside the manifest there is something left")

        suite.attempt(tally, f"{groups} groups" + (f", killed at the {nth}th file" if nth else ""), work)

    for nth in (groups // 2,) if suite.quick else (0, groups // 2):
        each(nth)


POISON: dict[str, tuple[bytes, str]] = {
    "bad JSON": (b'{"id": 7, "g": ', "record 8"),
    "not an object": (b"[7]", "record 8"),
    "not UTF-8": (b'{"id": 7, "g": "\xff"}', "record 8"),
    "NaN": (b'{"id": 7, "g": "a", "key": NaN}', "record 8"),
    "infinite": (b'{"id": 7, "g": "a", "key": -Infinity}', "record 8"),
    "nested too deep": (b'{"id": 7, "g": ' + b"[" * 100_000, "record 8"),
    "too many digits": (b'{"id": ' + b"7" * 5000 + b"}", "record 8"),
    "a zero byte": (b'{"id": 7, "g": "a\x00"}', "record 8"),
}
"""A line that stands in the place of the eighth, and what the message must hold."""


def poisoned(suite: Suite, tally: Tally) -> None:
    lines = [json.dumps(record).encode() for record in suite.records[:20]]
    good = b"\n".join(lines) + b"\n"
    files = {what: (b"\n".join([*lines[:7], line, *lines[8:]]) + b"\n", part) for what, (line, part) in POISON.items()}
    packed = {f"{what}, gzip": (gzip.compress(data), part) for what, (data, part) in files.items()}
    packed["truncated gzip"] = (gzip.compress(good)[:-30], "")
    packed["gzip with a flipped bit"] = (gzip.compress(good)[:-8] + b"\xff" * 4 + gzip.compress(good)[-4:], "")
    packed["not gzip"] = (b"\x00\x01\x02 not gzip", "")
    cases = {**files, **packed}
    if suite.quick:
        cases = {what: cases[what] for what in ("bad JSON", "NaN", "not UTF-8, gzip", "truncated gzip")}

    def set_aside(asked: dict[str, Any], out: Path, file: Path) -> None:
        """The same with dead letters: one of them, which names the record, and all other records are delivered."""
        config = {**asked["config"], "on_error": "dead_letter"}
        config["writer"] = {"name": "fs", "options": {"filebase": f"{out}/part-"}}
        done = suite.server.run({**asked, "config": config})
        if done.code:
            raise Wrong(f"with dead letters it failed: {done.sentence or done.err[-500:]}")
        ids = [record["id"] for record in suite.records]
        letters = [(letter["file"], letter["number"]) for letter in letters_of(out)]
        if letters != [(str(file), 8)]:
            raise Wrong(f"the dead letters are {letters}")
        suite.count(tally, ids_of(out), [*ids, *(n for n in range(20) if n != 7)])

    def each(what: str) -> None:
        def work(folder: Path) -> None:
            out, source = folder / "out", folder / "poisoned"
            for path in suite.source.iterdir():
                (source).mkdir(exist_ok=True)
                shutil.copy(path, source / path.name)
            data, part = cases[what]
            name = f"1-poisoned.jl{'.gz' if what in packed else ''}"
            (source / name).write_bytes(data)
            asked = suite.asked(out, "grouped", source)
            one_sentence(suite.server.run(asked), str(source / name), part)
            if bytes_of(out):
                raise Wrong("something was delivered")
            if part:
                set_aside(asked, folder / "aside", source / name)
            (source / name).unlink()
            again = suite.server.run(asked)
            if again.code:
                raise Wrong(f"without the poisoned file: {again.sentence}")
            tally.seconds.append(again.seconds)
            suite.whole(tally, out, "grouped")

        suite.attempt(tally, what, work)

    suite.spread([lambda what=what: each(what) for what in cases])


def two_at_once(suite: Suite, tally: Tally) -> None:
    def meet(shape: str, how: str, folder: Path) -> None:
        out, here = folder / "out", folder / "paused"
        folder.mkdir(parents=True, exist_ok=True)
        asked = suite.asked(out, shape)
        first, second = suite.server, suite.another_server()
        first.start({**asked, "fault": {"call": "rename", "nth": 1, "how": "pause", "here": str(here)}})
        if how != "together":
            awaited(here)
        loser, killed = second.run(asked), how == "killed"
        if killed:
            first.kill()
        (folder / "go").touch()
        winner = first.wait()
        if how == "together" and winner.code == 1:
            winner, loser = loser, winner
        one_sentence(loser, "another run of this export is under way", "wait until it has ended")
        if killed:
            suite.half_way(out, shape)
            suite.recover(tally, asked)
        elif winner.code:
            raise Wrong(f"neither of two runs won: {winner.sentence}")
        else:
            tally.seconds.append(winner.seconds)
        suite.whole(tally, out, shape)
        second.close()

    for shape in ["grouped"] if suite.quick else SHAPES:
        for how, told in MEETINGS.items():
            suite.attempt(tally, f"{shape}: {told}", lambda folder, k=(shape, how): meet(*k, folder))


MEETINGS = {
    "together": "two runs that begin together",
    "paused": "a second run in the middle of the first",
    "killed": "a second run in the middle of the first, which is then killed",
}


def awaited(path: Path) -> None:
    """Until there is a file."""
    until = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > until:
            raise Wrong(f"{path.name} was awaited in vain")
        time.sleep(0.02)


TWO_WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
NOTICED_SECONDS = 10
"""A run whose worker died must have ended after so long."""


class Workers:
    """The worker processes of a run under way; awaits until there are two."""

    def __init__(self, launcher: subprocess.Popen[Any]) -> None:
        self._handles: list[int] = []
        until = time.monotonic() + PATIENCE
        pids: set[str] = set()
        while len(pids) < 2:
            if launcher.poll() is not None or time.monotonic() > until:
                raise Wrong(f"there were never two workers; exit status {launcher.returncode}")
            time.sleep(0.01)
            with suppress(FileNotFoundError):
                tasks = Path(f"/proc/{launcher.pid}/task").iterdir()
                pids = {pid for task in tasks for pid in (task / "children").read_text().split()}
        for pid in pids:
            with suppress(ProcessLookupError):
                self._handles.append(os.pidfd_open(int(pid)))

    def kill(self, which: int, how: signal.Signals = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handles[which % len(self._handles)], how)

    def await_their_end(self) -> None:
        """No worker lives longer than its run. A process that has ended and was not collected has ended."""
        living = [handle for handle in self._handles if not select.select([handle], [], [], NOTICED_SECONDS)[0]]
        for handle in self._handles:
            os.close(handle)
        if living:
            raise Wrong(f"{len(living)} worker processes outlived their run")


def by_itself(asked: dict[str, Any], then: Callable[[subprocess.Popen[Any]], None] = lambda process: None) -> Done:
    """Run a child that is no fork of the server: a run with worker processes begins from nothing."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, str(CHILD), json.dumps(asked)], stdout=out, stderr=err)
        try:
            then(process)
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired as hangs:
            raise Wrong(f"the run still hung after {hangs.timeout} s") from None
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return Done(process.returncode, out.read(), err.read(), time.monotonic() - began)


def worker_killed(suite: Suite, tally: Tally) -> None:
    """The undisturbed run says how long a run works; in that time one of its two workers is killed."""
    shapes = ("grouped",) if suite.quick else tuple(SHAPES)

    def asked_for(folder: Path, shape: str) -> dict[str, Any]:
        return {**suite.asked(folder / "out", shape, args=TWO_WORKERS), "small": False}

    def each(shape: str, part: float, which: int) -> None:
        def work(folder: Path) -> None:
            def strike(process: subprocess.Popen[Any]) -> None:
                workers = Workers(process)
                time.sleep(part * span)
                workers.kill(which)
                process.wait(NOTICED_SECONDS)
                workers.await_their_end()

            out, asked = folder / "out", asked_for(folder, shape)
            done = by_itself(asked, strike)
            if done.code:
                one_sentence(done, "a worker process was killed (signal 9", "--workers")
                suite.half_way(out, shape, small=False)
                suite.recover(tally, asked, by_itself)
            suite.whole(tally, out, shape, small=False)

        suite.attempt(tally, f"{shape}: killed after {part:.3f} of the run", work)

    def measure(process: subprocess.Popen[Any]) -> None:
        nonlocal span
        workers = Workers(process)
        began = time.monotonic()
        process.wait(PATIENCE)
        span = time.monotonic() - began
        workers.await_their_end()

    span = 0.0
    by_itself(asked_for(suite.fresh(), "grouped"), measure)
    chosen = [(suite.rng.random(), suite.rng.randrange(2)) for _ in range(2 if suite.quick else 10)]
    suite.spread([lambda t=t, shape=shape: each(shape, *t) for t, shape in zip(chosen, itertools.cycle(shapes))])


def input_changed(suite: Suite, tally: Tally) -> None:
    """The run fails and names the file, or delivers exactly what the file held before; never anything else."""
    hows = ("append", "cut", "overwrite", "replace")
    kinds = [(how, 0, nth, ".jl") for how, nth in zip(hows, (1, 3, 2, 1), strict=True)]
    if not suite.quick:
        kinds = [(how, n, nth, end) for how in hows for n in range(FILES) for nth in (1, 2, 4, 7) for end in (".jl", ".jl.gz")]

    def each(how: str, n: int, nth: int, end: str) -> None:
        def work(folder: Path) -> None:
            out, source = folder / "out", folder / "source"
            source.mkdir()
            for path in suite.source.iterdir():
                data = path.read_bytes()
                (source / path.name.replace(".jl.gz", end)).write_bytes(data if end == ".jl.gz" else gzip.decompress(data))
            struck = source / f"{n}{end}"
            before = struck.read_bytes()
            if suite.server.run(suite.asked(folder / "whole", "grouped", source)).code:
                raise Wrong("the undisturbed run failed")
            wanted = bytes_of(folder / "whole")
            asked = suite.asked(out, "grouped", source)
            done = suite.server.run({**asked, "fault": {"call": "input", "path": str(struck), "nth": nth, "how": how}})
            if done.code:
                one_sentence(done, str(struck))
                if bytes_of(out):
                    raise Wrong("it failed, and something was delivered")
            elif bytes_of(out) != wanted:
                raise Wrong("other records than those of before were delivered")
            struck.write_bytes(before)
            again = suite.server.run(asked)
            if again.code:
                raise Wrong(f"a plain run after it failed: {again.sentence}")
            tally.seconds.append(again.seconds)
            suite.count(tally, ids_of(out), suite.expected["grouped"])
            if bytes_of(out) != wanted or [Path(name).name for name in hidden(out)] != ["manifest.json"]:
                raise Wrong("what was delivered in the end is not that of an undisturbed run")

        suite.attempt(tally, f"{n}{end}: {how} at the {nth}th chunk", work)

    suite.spread([lambda kind=kind: each(*kind) for kind in kinds])


def resume_after_changes(suite: Suite, tally: Tally) -> None:
    """An export that was killed, or is complete; then something changes. `--resume` names it, or makes it good."""
    changes = ("new", "changed", "gone", "delivered gone", "delivered touched")
    shapes = ("grouped",) if suite.quick else tuple(SHAPES)

    def each(shape: str, change: str, complete: bool) -> None:
        def work(folder: Path) -> None:
            out, source = folder / "out", folder / "source"
            shutil.copytree(suite.source, source)
            asked = suite.asked(out, shape, source)
            fault = {} if complete else {"fault": {"call": "replace", "nth": 3, "how": "kill"}}
            done = suite.server.run({**asked, **fault})
            if done.code != (0 if complete else -signal.SIGKILL):
                raise Wrong(f"exit status {done.code}: {done.err[-500:]}")
            struck = source / "1.jl.gz"
            if change.startswith("delivered"):
                file = next(iter(visible(out).values()), None)
                if file is not None:
                    file.unlink() if change.endswith("gone") else file.write_bytes(file.read_bytes()[:-1] + b"?")
            else:
                before = struck.read_bytes()
                if change == "new":
                    struck = source / "2.jl.gz"
                struck.unlink(missing_ok=True) if change == "gone" else write_gz(struck, suite.records[:3])
                there = bytes_of(out)
                done = suite.server.run({**asked, "resume": True})
                if done.code != 2 or f"{change}: {struck}" not in done.err or bytes_of(out) != there:
                    raise Wrong(f"exit status {done.code}: {done.sentence or done.err[-500:]}")
                struck.unlink() if change == "new" else struck.write_bytes(before)
                if change != "new":  # The content is as before, and nothing proves that it was all the time.
                    done = suite.server.run(asked)
                    if done.code:
                        raise Wrong(f"a plain run failed: {done.sentence}")
            suite.recover(tally, asked)
            suite.whole(tally, out, shape)

        suite.attempt(tally, f"{shape}: {change}, {'complete' if complete else 'killed'}", work)

    suite.spread([lambda shape=shape, change=change, complete=complete: each(shape, change, complete)
                  for shape in shapes for change in changes for complete in (False, True)])  # fmt: skip


def ctrl_c(suite: Suite, tally: Tally) -> None:
    """SIGINT or SIGTERM to the whole process group of the command at a random moment, from where Python runs our first line to
    its end; with one process and with two."""
    source = suite.place / "many"
    records = [{"id": i, "g": "abc"[i % 3], "t": "x" * 100} for i in range(3_000 if suite.quick else 30_000)]
    for n in range(3):
        write_gz(source / f"{n}.jl.gz", records[n::3])

    def start(folder: Path, *more: str) -> subprocess.Popen[str]:
        path = folder / "export.json"
        path.write_text(json.dumps({
            "reader": {"name": "fs", "options": {"input": {"dir": str(source)}}},
            "filter_before": {"name": "pythonexp", "options": {"python_expression": "item['id'] % 10 != 7"}},
            "grouper": {"name": "file_key", "options": {"keys": ["g"]}},
            "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/part-"}},
        }))  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "exporters_beam",
            "run",
            str(path),
            "--quiet",
            "--report",
            f"{folder}/report.json",
        ]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        return subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                env=environ, start_new_session=True)  # fmt: skip

    def end(process: subprocess.Popen[str]) -> Done:
        began = time.monotonic()
        try:
            said = process.communicate(timeout=PATIENCE)[1]
        finally:
            process.kill()
        return Done(process.returncode, "", said, time.monotonic() - began)

    def finished(folder: Path, done: Done) -> dict[str, bytes]:
        counts = json.loads((folder / "report.json").read_text())["counts"]
        kept = sum(record["id"] % 10 != 7 for record in records)
        if done.code or (counts["read"], counts["written"]) != (len(records), kept):
            raise Wrong(f"exit status {done.code}, counts {counts}: {done.err[-500:]}")
        if [Path(name).name for name in hidden(folder / "out")] != ["manifest.json"]:
            raise Wrong("beside the manifest there is something left")
        return bytes_of(folder / "out")

    whole = suite.fresh()
    began = time.monotonic()
    wanted = finished(whole, end(start(whole)))
    span = time.monotonic() - began

    def each(part: float, number: signal.Signals, more: list[str]) -> None:
        def work(folder: Path) -> None:
            process = start(folder, *more)
            time.sleep(0.1 + part * max(0.1, span - 0.1))
            if process.poll() is None:
                os.killpg(process.pid, number)
            done = end(process)
            if done.code != 0 and (done.code != 130 or done.err.count("error: ") != 1 or "Traceback" in done.err):
                raise Wrong(f"exit status {done.code}: {done.err[-500:]}")
            if done.code and not done.err.splitlines()[-1].startswith("error: interrupted"):
                raise Wrong(f"not one line: {done.err[-500:]}")
            if any(wanted.get(name) != data for name, data in bytes_of(folder / "out").items()):
                raise Wrong("after the interrupt a file is not what an undisturbed run delivers")
            again = end(start(folder, "--resume", *more))
            if finished(folder, again) != wanted:
                raise Wrong("the delivered files are not those of an undisturbed run")
            suite.count(tally, ids_of(folder / "out"), [record["id"] for record in records if record["id"] % 10 != 7])
            tally.seconds.append(again.seconds)

        suite.attempt(tally, f"{number.name} after {part:.3f} of a run {' '.join(more)}", work)

    tries = 4 if suite.quick else 100
    chosen = [(suite.rng.random(), (signal.SIGINT, signal.SIGTERM)[n % 2], ["--workers", "2"] if n % 4 > 1 else [])
              for n in range(tries)]  # fmt: skip
    suite.spread([lambda kind=kind: each(*kind) for kind in chosen])


def two_spellings(suite: Suite, tally: Tally) -> None:
    """One file under several names is read once."""

    def spelled(folder: Path, what: str) -> Any:
        source = folder / "source"
        shutil.copytree(suite.source, source)
        first, second = str(source / "0.jl.gz"), str(source / "1.jl.gz")
        match what:
            case "twice":
                return [first, second, first]
            case "./":
                return [first, second, f"{source}/./0.jl.gz", f"{source}//1.jl.gz"]
            case "..":
                return [first, second, f"{source}/../source/0.jl.gz"]
            case "relative":
                return [first, second, os.path.relpath(first)]
            case "folder and file":
                return [{"dir": str(source)}, first]
            case "hard link":
                os.link(first, source / "5.jl.gz")
                return {"dir": str(source)}
            case "symbolic link":
                (source / "5.jl.gz").symlink_to(first)
                return {"dir": str(source)}
        (folder / "other").symlink_to(source)
        return [{"dir": str(source)}, {"dir": str(folder / "other")}]

    def each(what: str, shape: str) -> None:
        def work(folder: Path) -> None:
            asked = suite.asked(folder / "out", shape)
            asked["config"]["reader"]["options"]["input"] = spelled(folder, what)
            suite.recover(tally, asked)
            suite.whole(tally, folder / "out", shape)

        suite.attempt(tally, f"{shape}: {what}", work)

    names = ("twice", "./", "..", "relative", "folder and file", "hard link", "symbolic link", "folder under two names")
    shapes = ("grouped",) if suite.quick else ("ungrouped", "grouped", "dedupe")
    suite.spread([lambda what=what, shape=shape: each(what, shape) for shape in shapes for what in names])


def output_in_input(suite: Suite, tally: Tally) -> None:
    """An export that would read what it delivers is refused, in a first run, another one and a resumed one; where the reader's
    pattern leaves it out, every record is there once."""

    def each(shape: str, below: str, pattern: str | None) -> None:
        def work(folder: Path) -> None:
            source = folder / "source"
            shutil.copytree(suite.source, source)
            out = source / below if below else source
            asked = suite.asked(out, shape)
            place = {"dir": str(source), **({"pattern": pattern} if pattern else {})}
            asked["config"]["reader"]["options"]["input"] = place
            before = sorted(path for path in source.rglob("*"))
            for resume in (False, False, True):
                done = suite.server.run({**asked, "resume": resume})
                if not pattern and (done.code != 2 or sorted(source.rglob("*")) != before):
                    raise Wrong(f"exit status {done.code}: {done.err[-500:]}")
                if pattern and done.code:
                    raise Wrong(f"exit status {done.code}: {done.err[-500:]}")
            if pattern:
                tally.seconds.append(done.seconds)
                wanted, found = suite.undisturbed(shape), bytes_of(out)
                inputs = {path.name for path in suite.source.iterdir()}
                if {name: data for name, data in found.items() if name not in inputs} != wanted:
                    raise Wrong("the delivered files are not those of an undisturbed run")

        suite.attempt(tally, f"{shape}: {below or 'the same folder'}{', left out' if pattern else ''}", work)

    shapes = ("grouped",) if suite.quick else ("ungrouped", "grouped", "dedupe")
    suite.spread([lambda shape=shape, below=below, pattern=pattern: each(shape, below, pattern)
                  for shape in shapes for below in ("", "out", "a/b") for pattern in (None, r"/\d\.jl\.gz$")])  # fmt: skip


FAULTS: dict[str, tuple[str, Callable[[Suite, Tally], None]]] = {
    "kill-step": ("SIGKILL at each commit step", kill_at_each_step),
    "kill-random": ("SIGKILL at random moments, three times", kill_at_random),
    "worker-killed": ("worker process killed (multi-process)", worker_killed),
    "calls": ("a call of the file system fails", calls_that_fail),
    "replay": ("every bundle runs three times", bundle_replay),
    "disk-full": ("disk full", disk_full),
    "read-only": ("read-only target", read_only),
    "poisoned": ("poisoned records", poisoned),
    "two-runs": ("two runs at once", two_at_once),
    "input-changed": ("input changed while it is read", input_changed),
    "resume-changed": ("resume after anything changed", resume_after_changes),
    "ctrl-c": ("Ctrl-C or SIGTERM at random moments", ctrl_c),
    "spellings": ("one file under several names", two_spellings),
    "own-output": ("output inside the input", output_in_input),
    "many-groups": ("many groups, one record each", many_groups),
}


def run(names: list[str], quick: bool, place: Path, tell: Callable[[str], None] = lambda text: None) -> dict[str, Tally]:
    """Inject these faults one after the other; `tell` gets the lines of the table as they come."""
    suite = Suite(place, quick)
    tallies = {}
    try:
        for name in names:
            tally = tallies[name] = Tally()
            title, inject = FAULTS[name]
            try:
                inject(suite, tally)
            except PermissionError as skipped:
                tally.skipped = str(skipped)
            worst = f"{sum(tally.seconds) / len(tally.seconds):.1f}, at most {max(tally.seconds):.1f}" if tally.seconds else "-"
            row = f"{title:<40} | {tally.tries:>5} | {tally.lost:>4} | {tally.duplicated:>10} | {worst}"
            tell(f"{title:<40} | {tally.skipped}" if tally.skipped else row)
    finally:
        suite.close()
    return tallies


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--quick", action="store_true", help="a sample of each fault, in about two minutes")
    asked.add_argument("--only", default=",".join(FAULTS), help="of: " + ", ".join(FAULTS))
    chosen = asked.parse_args()
    names = chosen.only.split(",")
    if unknown := [name for name in names if name not in FAULTS]:
        asked.error(f"--only: there is no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    place = Path(tempfile.mkdtemp(prefix="faults-"))
    print(f"{'fault':<40} | tries | lost | duplicated | seconds to recover", flush=True)
    tallies = run(names, chosen.quick, place, lambda text: print(text, flush=True))
    wrong = [f"{FAULTS[name][0]}: {text}" for name, tally in tallies.items() for text in tally.wrong]
    for text in wrong:
        print(text)
    clean = all(tally.clean for tally in tallies.values())
    if clean:
        shutil.rmtree(place, ignore_errors=True)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
