"""A chain: runs of an export that each read what is new since the one before, and what their manifests say all of them
have read.

The books of a chain are a folder, with a folder for each batch in it. A batch begins with its intent: what it will read
stands in `units`, the time for its names in `intent.json`, before anything is read. Its manifest names the batch before
and its checksum. Manifests of many batches are folded into one file, so that nobody has to list thousands of folders;
`state` beside them is what all that are folded have read, and is made anew from them where it is missing.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from exporters_beam.errors import ConfigError
from exporters_beam.files import destination, write_whole
from exporters_beam.records import Json, Link, Unit
from exporters_beam.reporting.manifest import manifest_checksum, manifest_text
from exporters_beam.staging.books import INTENT, MANIFEST
from exporters_beam.staging.listing import write_listing

FOLD = 64
"""So many batches are folded into one file, and so many such files into one."""

CHAIN = "chain"
"""The key of a manifest under which its place in the chain stands."""

Known = dict[str, tuple[int, str]]
"""Size and etag of all units that were read, by name; of those of one name the last, and the newest last of all."""

RESET, SKIPPED = "reset", "skipped"
"""What batches are that read nothing and change what counts as read: nothing but their units, or these as well."""


_WINDOWS = ("times", "upto", "open")
"""What the next batch has to know of the windows of one."""


class Broken(ConfigError):
    """The manifests of a chain do not fit together."""


@dataclass(frozen=True)
class Told:
    """What is known of the last batch of a chain that is complete; of a chain without one the number is 0."""

    number: int = 0
    checksum: str = ""
    now: str = ""


@dataclass(frozen=True)
class State:
    """How far a chain has come: the last batch that is complete, and what all of them have read."""

    last: Told = field(default_factory=Told)
    known: Known = field(default_factory=dict)
    pending: Link | None = None
    """A batch whose intent stands and whose manifest does not."""

    windows: Json | None = None
    """What the last batch that had windows has told of them, as far as the next one has to know it."""

    closing: bool = False
    """Whether the last batch still has to put away what it has read."""

    def after(self, manifest: Mapping[str, Any]) -> State:
        """The state when one more batch is complete."""
        told = manifest[CHAIN]
        anew = told.get("full") or told.get(RESET)
        known = {} if anew else self.known
        windows = (
            {name: manifest["windows"][name] for name in _WINDOWS} if "windows" in manifest else None if anew else self.windows
        )
        for unit in manifest["units"]:
            known.pop(unit["name"], None)
            known[unit["name"]] = unit["bytes"], unit["etag"]
        last = Told(told["batch"], manifest["checksum"], told["now"])
        return replace(self, last=last, known=known, windows=windows, pending=None)


def about_link(link: Link) -> Json:
    """What the manifest of a batch says of its place in the chain."""
    told: Json = {"id": link.chain, "batch": link.number, "now": link.now, "before": link.before}
    return {**told, "full": True} if link.full else told


def batch_folder(folder: str, number: int) -> str:
    """The books of one batch."""
    return os.path.join(folder, f"{number:06d}")


def intent_of(folder: str, number: int) -> Link | None:
    """The batch that was begun there and is not closed; None where there is none. Raises Broken."""
    path = os.path.join(batch_folder(folder, number), INTENT)
    with destination("cannot read", path), suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        try:
            told = json.load(file)
            return Link(told["chain"], told["number"], told["now"], told["before"], told["full"], told["windows"])
        except (ValueError, KeyError, TypeError):
            raise Broken(f"{path}: this is not the intent of a batch; remove {os.path.dirname(path)} to begin the batch "
                         "again") from None  # fmt: skip
    return None


def write_intent(folder: str, link: Link, units: Iterable[Unit]) -> None:
    """What a batch will read, whole before anything of it is read. Raises DestinationError."""
    books = batch_folder(folder, link.number)
    write_listing(units, books)
    write_whole(os.path.join(books, INTENT), json.dumps(link._asdict()).encode())


def state_of(folder: str, chain: str) -> State:
    """How far the chain has come that has this folder. Raises Broken where its manifests do not fit together."""
    state = _folded_state(folder, chain)
    numbers = [number for number in _batches(folder) if number > state.last.number]
    for at, number in enumerate(numbers):
        if state.last.number and number != state.last.number + 1:
            raise Broken(_gone(folder, state.last.number + 1))
        manifest = _manifest(os.path.join(batch_folder(folder, number), MANIFEST))
        link = intent_of(folder, number)
        if manifest is None:
            if at + 1 < len(numbers):
                raise Broken(_gone(folder, number))
            return replace(state, pending=link)
        state = replace(state.after(_fits(manifest, state.last, chain, number)), closing=link is not None)
    return state


def _gone(folder: str, number: int) -> str:
    return (f"the manifest of batch {number:,} of the chain in {folder} is gone, so what it has read is not known; put it "
            f"back, "
            "or begin a new chain: exporters-beam state CONFIG --reset")  # fmt: skip


def _fits(manifest: Json, before: Told, chain: str, number: int = 0) -> Json:
    """The manifest, which has to be the next one of the chain. Raises Broken."""
    told = manifest.get(CHAIN, {})
    number = number or before.number + 1
    if told.get("id") != chain or told.get("batch") != number:
        raise Broken(f"what stands in the place of the manifest of batch {number:,} is that of another run; put the "
                     f"manifest back, "
                     "or begin a new chain: exporters-beam state CONFIG --reset")  # fmt: skip
    if told.get("before") != before.checksum:
        raise Broken(f"the manifest of batch {number:,} does not follow on that of batch {before.number:,}, which was "
                     f"changed or "
                     "replaced; put it back, or begin a new chain: exporters-beam state CONFIG --reset")  # fmt: skip
    return manifest


def _batches(folder: str) -> list[int]:
    """The numbers of the batches that have a folder with something of them in it."""
    with destination("cannot read", folder):
        names = os.listdir(folder) if os.path.isdir(folder) else []
    numbers = sorted(int(name) for name in names if re.fullmatch(r"\d{6,}", name))
    return [number for number in numbers if any(
        os.path.exists(os.path.join(batch_folder(folder, number), name)) for name in (MANIFEST, INTENT))]  # fmt: skip


def _manifest(path: str) -> Json | None:
    """A manifest; None where there is none. Raises Broken where it was changed."""
    with destination("cannot read", path):
        try:
            with open(path, "rb") as file:
                return _checked(path, file.read())
        except FileNotFoundError:
            return None


def _checked(path: str, text: bytes) -> Json:
    try:
        manifest: Json = json.loads(text)
        if manifest["checksum"] == manifest_checksum(manifest) and isinstance(manifest["units"], list):
            return manifest
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise Broken(f"{path}: the manifest was changed after it was written, so what was read is not known; put it back, or "
                 f"begin a "
                 "new chain: exporters-beam state CONFIG --reset")  # fmt: skip


# Folding


def folded(folder: str) -> list[tuple[int, int, str]]:
    """(first batch, last batch, path) of the files that hold the manifests of many batches, in order. Of those that one more
    fold has taken in, but not removed yet, only that one. Raises DestinationError."""
    with destination("cannot read", folder):
        names = os.listdir(folder) if os.path.isdir(folder) else []
    found = [(int(match[1]), int(match[2]), os.path.join(folder, match[0])) for match in
             (re.fullmatch(r"manifests-(\d+)-(\d+)\.jl\.gz", name) for name in names) if match]  # fmt: skip
    kept: list[tuple[int, int, str]] = []
    for first, last, path in sorted(found, key=lambda each: (each[0], -each[1])):
        if not kept or first > kept[-1][1]:
            kept.append((first, last, path))
    return kept


def manifests(folder: str, chain: str) -> Iterator[Json]:
    """The manifests of all batches that are complete, in order, each checked against the one before. Raises Broken."""
    before = Told()
    for first, last, path in folded(folder):
        if before.number and first != before.number + 1:
            raise Broken(_gone(folder, before.number + 1))
        for at, manifest in enumerate(_lines(path)):
            before = _next(manifest, before, chain, first + at)
            yield manifest
        if before.number != last:
            raise Broken(f"{path}: it ends with batch {before.number:,}; put the whole file back")
    for number in _batches(folder):
        if number <= before.number:
            continue
        found = _manifest(os.path.join(batch_folder(folder, number), MANIFEST))
        if before.number and number != before.number + 1:
            raise Broken(_gone(folder, before.number + 1))
        if found is None:
            return
        before = _next(found, before, chain, number)
        yield found


def _next(manifest: Json, before: Told, chain: str, number: int) -> Told:
    told = _fits(manifest, before, chain, number)[CHAIN]
    return Told(told["batch"], manifest["checksum"], told["now"])


def _lines(path: str) -> Iterator[Json]:
    with destination("cannot read", path):
        try:
            with gzip.open(path, "rb") as file:
                for line in file:
                    yield _checked(path, line)
        except (gzip.BadGzipFile, EOFError) as error:
            raise Broken(f"{path}: it is damaged ({error}); put the whole file back") from None


def fold(folder: str, state: State) -> None:
    """Put the manifests of many batches into one file, where enough stand in folders of their own. Raises DestinationError."""
    numbers = [number for number in _batches(folder) if number <= state.last.number]
    done = max((last for _, last, _ in folded(folder)), default=0)
    own = [number for number in numbers if number > done]
    if len(own) >= FOLD:
        lines = []
        for number in own:
            manifest = _manifest(os.path.join(batch_folder(folder, number), MANIFEST))
            assert manifest is not None
            lines.append(json.dumps(manifest, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        write_whole(_folded_name(folder, own[0], own[-1]), gzip.compress(b"".join(lines), 6, mtime=0))
        _write_state(folder, state)
        done = own[-1]
        _merge(folder)
    for number in numbers:
        if number <= done:
            _forget(batch_folder(folder, number))


def _folded_name(folder: str, first: int, last: int) -> str:
    return os.path.join(folder, f"manifests-{first:06d}-{last:06d}.jl.gz")


def _merge(folder: str) -> None:
    """Files of as many batches each become one."""
    found = folded(folder)
    while len(found) >= FOLD and len({last - first for first, last, _ in found[-FOLD:]}) == 1:
        parts = found[-FOLD:]
        data = b"".join(_bytes(path) for _, _, path in parts)
        write_whole(_folded_name(folder, parts[0][0], parts[-1][1]), data)
        found = folded(folder)
    kept = {path for _, _, path in found}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if re.fullmatch(r"manifests-\d+-\d+\.jl\.gz", name) and path not in kept:
            with suppress(FileNotFoundError):
                os.remove(path)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _forget(books: str) -> None:
    """The folder of a batch whose manifest was folded; what else stands in it, as dead letters, is kept."""
    with suppress(FileNotFoundError):
        os.remove(os.path.join(books, MANIFEST))
    with suppress(OSError):
        os.rmdir(books)


def _write_state(folder: str, state: State) -> None:
    """What all that are folded have read; of before, nothing is left."""
    head = json.dumps([state.last.number, state.last.checksum, state.last.now, len(state.known), state.windows])
    lines = [head, *(json.dumps([name, *told]) for name, told in state.known.items())]
    write_whole(os.path.join(folder, "state.gz"), gzip.compress("\n".join((*lines, "")).encode(), 1, mtime=0))


def _folded_state(folder: str, chain: str) -> State:
    """The state when the last of the folded batches was complete. Raises Broken."""
    parts = folded(folder)
    if not parts:
        return State()
    last = parts[-1][1]
    with suppress(OSError, ValueError, TypeError, EOFError, gzip.BadGzipFile):
        with gzip.open(os.path.join(folder, "state.gz"), "rt", encoding="utf-8") as file:
            number, checksum, now, count, windows = json.loads(file.readline())
            known = {name: (size, etag) for name, size, etag in map(json.loads, file)}
        if number == last and len(known) == count:
            return State(Told(number, checksum, now), known, windows=windows)
    state = State()
    for first, _, path in parts:
        if state.last.number and first != state.last.number + 1:
            raise Broken(_gone(folder, state.last.number + 1))
        for at, manifest in enumerate(_lines(path)):
            state = state.after(_fits(manifest, state.last, chain, first + at))
    if state.last.number != last:
        raise Broken(f"{parts[-1][2]}: it ends with batch {state.last.number:,}; put the whole file back")
    return state


def move(folder: str, link: Link, units: Iterable[Unit], what: str) -> None:
    """A batch that reads nothing and changes what counts as read, `what` says how: RESET or SKIPPED. Raises
    DestinationError."""
    told = {"name": "", "bytes": 0, "etag": ""}
    manifest: Json = {
        "export": link.chain,
        CHAIN: {**about_link(link), what: True},
        "counts": {"read": 0, "written": 0},
        "warnings": [],
        "units": [{**told, "name": unit.name, "bytes": unit.size, "etag": unit.etag} for unit in units],
        "files": [],
    }
    manifest["checksum"] = manifest_checksum(manifest)
    write_whole(os.path.join(batch_folder(folder, link.number), MANIFEST), manifest_text(manifest))


def put_aside(folder: str) -> tuple[str, int]:
    """Give the books of a chain that is broken another name. Gives that, and the number of the last batch in them. Raises
    DestinationError."""
    numbers = [*_batches(folder), *(last for _, last, _ in folded(folder))]
    number = 1
    while os.path.exists(f"{folder}-before-{number}"):
        number += 1
    with destination("cannot rename", folder):
        shutil.move(folder, f"{folder}-before-{number}")
    return f"{folder}-before-{number}", max(numbers, default=0)
