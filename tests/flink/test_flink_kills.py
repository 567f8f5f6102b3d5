"""Exports on Flink whose machines die or that are stopped in the middle: complete in the end, and nothing twice.

Each try ends with a row of the table that is printed at the end. `EXPORTERS_BEAM_KILLS=10` tries each kind of kill ten
times, at other moments; two are the default.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from helpers import delivered, visible, write_gz
from servers import on_flink, run_export, start_export
from slow_functions import RECORDS

pytestmark = pytest.mark.flink

UNITS = 40
TRIES = int(os.environ.get("EXPORTERS_BEAM_KILLS", "2"))
STREAMING = ("--streaming", "--checkpointing_interval=500")


@dataclass(frozen=True)
class Try:
    """What one kill did: records that did not arrive or arrived twice, the units that a slot had begun and that were begun
    again (of the slot with most), and the seconds until work went on."""

    kind: str
    lost: int
    duplicated: int
    redone: int
    seconds: float


@pytest.fixture(scope="session")
def tries(request: pytest.FixtureRequest) -> Iterator[list[Try]]:
    """Rows for the table that is printed when all is over."""
    done: list[Try] = []
    yield done
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        reporter.write_line("")
        for line in table(done):
            reporter.write_line(line)


def table(done: list[Try]) -> Iterator[str]:
    yield "| kind | tries | records lost | records twice | units redone, at most a slot | seconds to recover (most) |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for kind in dict.fromkeys(one.kind for one in done):
        rows = [one for one in done if one.kind == kind]
        seconds = [one.seconds for one in rows]
        yield (f"| {kind} | {len(rows)} | {sum(one.lost for one in rows)} | {sum(one.duplicated for one in rows)} "
               f"| {max(one.redone for one in rows)} | {median(seconds):.1f} ({max(seconds):.1f}) |")  # fmt: skip


@pytest.fixture(scope="session")
def slow_export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A config that takes its time, with variables `out` and `trace`, and what the local runner delivers for it."""
    folder = tmp_path_factory.mktemp("slow")
    for n in range(UNITS):
        write_gz(folder / "in" / f"{n:02}.jl.gz", [{"id": n * RECORDS + i, "group": i % 3} for i in range(RECORDS)])
    config = folder / "export.json"
    config.write_text(json.dumps({
        "vars": {"out": str(folder / "local"), "trace": ""},
        "reader": {"name": "fs", "options": {"input": {"dir": str(folder / "in")}}},
        "transform": {"name": "slow_functions:Slow", "options": {"trace": "${vars.trace}"}},
        "grouper": {"name": "file_key", "options": {"keys": ["group"]}},
        "writer": {"name": "fs", "options": {"filebase": "${vars.out}/{groups[0]}-"}},
    }))  # fmt: skip
    status, said = run_export(config)
    assert status == 0, said
    return config, contents(folder / "local")


class Trace:
    """What the workers of an export wrote down: (unit, process, what, time), in order."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "trace.txt"
        self.path.touch()

    @property
    def lines(self) -> list[tuple[int, int, str, float]]:
        found = [line.split() for line in self.path.read_text().splitlines()]
        return [(int(unit), int(process), what, float(at)) for unit, process, what, at in found]

    def judged(self, kind: str, killed: float, out: Path) -> Try:
        """What the kill at this time did, now that the export is over.

        A slot is a process here: each TaskManager has one slot, and starts one worker for a job.
        """
        old = {process for _, process, _, at in self.lines if at <= killed}
        again = {unit for unit, process, what, at in self.lines if process not in old and what == "begins"}

        ids = Counter(record["id"] for records in delivered(out).values() for record in records)
        return Try(
            kind,
            UNITS * RECORDS - len(ids),
            sum(ids.values()) - len(ids),
            max(len(again & {u for u, p, what, _ in self.lines if (p, what) == (process, "begins")}) for process in old),
            min((at for _, process, _, at in self.lines if process not in old), default=killed) - killed,
        )


def contents(root: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in visible(root).items()}


def until(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Wait for something to be so. Fails where the export ends before, or after two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def segments(out: Path) -> int:
    return sum(1 for _ in out.glob(".exporters/*/staged/*.segment"))


def checkpoints(out: Path) -> int:
    return sum(1 for _ in out.glob(".exporters/*/checkpoints/*/chk-*/_metadata"))


def running_job(cluster: Any) -> str:
    jobs = (cluster.get("/jobs/overview") or {}).get("jobs", [])
    return next((str(job["jid"]) for job in jobs if job["state"] == "RUNNING"), "")


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=180)
    return process.returncode, said


def arguments(cluster: Any, out: Path, trace: Trace, *more: str) -> list[str]:
    return ["--var", f"out={out}", "--var", f"trace={trace.path}", *on_flink(cluster, *more)]


@pytest.mark.parametrize("seed", range(TRIES))
@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_task_manager_killed(
    mode: str, seed: int, flink: Any, slow_export: tuple[Path, dict[str, bytes]], tmp_path: Path, tries: list[Try]
) -> None:
    config, files = slow_export
    moment, out, trace = random.Random(seed), tmp_path / "out", Trace(tmp_path)
    process = start_export(config, *arguments(flink, out, trace, *(STREAMING * (mode == "streaming"))))
    at = moment.randrange(1, UNITS - 10)
    until(lambda: len(trace.lines) >= 2 * at, process)
    time.sleep(moment.random())  # Not always right behind an event of ours.
    name = f"taskmanager-{moment.randrange(1, 3)}"
    killed = time.time()
    flink.kill(name)
    flink.start_task_manager(name)
    status, said = ends(process)
    assert status == 0, said
    found = trace.judged(f"TaskManager killed, {mode}", killed, out)
    tries.append(found)
    assert (found.lost, found.duplicated) == (0, 0)
    assert contents(out) == files
    if mode == "batch":  # There what a slot has read is staged every 10 s, and a unit takes one.
        assert found.redone <= 12
    else:
        assert found.redone <= 1
    until(lambda: flink.task_managers() == 2)


@pytest.mark.parametrize("seed", range(TRIES))
@pytest.mark.parametrize("how", ["JobManager killed", "cancelled"])
def test_streaming_is_restored_from_the_newest_checkpoint(
    how: str, seed: int, flink: Any, slow_export: tuple[Path, dict[str, bytes]], tmp_path: Path, tries: list[Try]
) -> None:
    config, files = slow_export
    moment, out, trace = random.Random(seed), tmp_path / "out", Trace(tmp_path)
    args = arguments(flink, out, trace, *STREAMING)
    process = start_export(config, *args)
    # TaskManagers go on for up to 10 s without a JobManager: so much has to be left that they do not get to the end.
    at = moment.randrange(2, 12)
    until(lambda: segments(out) >= at and checkpoints(out), process)
    time.sleep(moment.random())
    killed = time.time()
    if how == "cancelled":
        flink.cancel(running_job(flink))
    else:
        flink.kill("jobmanager")
    status, said = ends(process)
    assert status == 1, said
    if how != "cancelled":
        flink.start_job_manager()
        until(lambda: flink.task_managers() == 2)
    assert segments(out) > 0
    assert contents(out) == {}
    process = start_export(config, "--resume", *args)
    until(lambda: running_job(flink), process)
    job = running_job(flink)
    status, said = ends(process)
    assert status == 0, said
    restored = flink.get(f"/jobs/{job}/checkpoints")["latest"]["restored"]
    assert restored is not None
    found = trace.judged(f"{how}, then --resume", killed, out)
    tries.append(found)
    assert (found.lost, found.duplicated) == (0, 0)
    assert contents(out) == files
    assert found.redone <= 1
    assert not list(out.glob(".exporters/*/checkpoints"))


@pytest.mark.parametrize("seed", range(TRIES))
def test_batch_is_resumed_from_what_was_staged(
    seed: int, flink: Any, slow_export: tuple[Path, dict[str, bytes]], tmp_path: Path, tries: list[Try]
) -> None:
    config, files = slow_export
    moment, out, trace = random.Random(seed), tmp_path / "out", Trace(tmp_path)
    args = arguments(flink, out, trace, *(["--parallelism=1"] if seed % 2 == 0 else []))
    process = start_export(config, *args)
    until(lambda: segments(out), process)
    time.sleep(moment.random())
    killed = time.time()
    flink.cancel(running_job(flink))
    status, said = ends(process)
    assert status == 1, said
    assert contents(out) == {}
    status, said = run_export(config, "--resume", *args)
    assert status == 0, said
    assert "of them by an earlier run" in said
    found = trace.judged("cancelled, batch, then --resume", killed, out)
    tries.append(found)
    assert (found.lost, found.duplicated) == (0, 0)
    assert contents(out) == files
