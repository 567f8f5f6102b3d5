"""Exports on Flink whose machines die or that are stopped in the middle: complete in the end, and nothing twice.

`EXPORTERS_BEAM_KILLS=10` tries each kind of kill ten times at other moments; three are the default.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import visible, write_gz
from servers import on_flink, run_export, start_export

pytestmark = pytest.mark.flink

UNITS, RECORDS = 40, 250
TRIES = int(os.environ.get("EXPORTERS_BEAM_KILLS", "3"))
STREAMING = ("--streaming", "--checkpointing_interval=500")


@pytest.fixture(scope="session")
def slow_export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A config that takes its time, with a variable `out`, and what the local runner delivers for it."""
    folder = tmp_path_factory.mktemp("slow")
    for n in range(UNITS):
        write_gz(folder / "in" / f"{n:02}.jl.gz", [{"id": n * RECORDS + i, "group": i % 3} for i in range(RECORDS)])
    config = folder / "export.json"
    config.write_text(json.dumps({
        "vars": {"out": str(folder / "local")},
        "reader": {"name": "fs", "options": {"input": {"dir": str(folder / "in")}}},
        "transform": {"name": "python", "options": {"function": "slow_functions:slowly"}},
        "grouper": {"name": "file_key", "options": {"keys": ["group"]}},
        "writer": {"name": "fs", "options": {"filebase": "${vars.out}/{groups[0]}-"}},
    }))  # fmt: skip
    status, said = run_export(config)
    assert status == 0, said
    return config, contents(folder / "local")


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


def under_way(out: Path) -> bool:
    return any(out.glob(".exporters/*/staged/*.part"))


def checkpoints(out: Path) -> int:
    return sum(1 for _ in out.glob(".exporters/*/checkpoints/*/chk-*/_metadata"))


def running_job(cluster: Any) -> str:
    jobs = (cluster.get("/jobs/overview") or {}).get("jobs", [])
    return next((str(job["jid"]) for job in jobs if job["state"] == "RUNNING"), "")


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=180)
    return process.returncode, said


@pytest.mark.parametrize("seed", range(TRIES))
@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_task_manager_killed(
    mode: str, seed: int, flink: Any, slow_export: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    config, files = slow_export
    moment = random.Random(seed)
    process = start_export(config, "--var", f"out={tmp_path}", *on_flink(flink, *(STREAMING * (mode == "streaming"))))
    at = moment.randrange(1, UNITS - 10) if mode == "streaming" else 0
    until(lambda: segments(tmp_path) >= at if at else under_way(tmp_path), process)
    name = f"taskmanager-{moment.randrange(1, 3)}"
    flink.kill(name)
    flink.start_task_manager(name)
    status, said = ends(process)
    assert status == 0, said
    assert contents(tmp_path) == files
    until(lambda: flink.task_managers() == 2)


@pytest.mark.parametrize("seed", range(TRIES))
@pytest.mark.parametrize("how", ["job manager killed", "cancelled"])
def test_streaming_is_restored_from_the_newest_checkpoint(
    how: str, seed: int, flink: Any, slow_export: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    config, files = slow_export
    args = ["--var", f"out={tmp_path}", *on_flink(flink, *STREAMING)]
    process = start_export(config, *args)
    # TaskManagers go on for up to 10 s without a JobManager: so much has to be left that they do not get to the end.
    at = random.Random(seed).randrange(2, 12)
    until(lambda: segments(tmp_path) >= at and checkpoints(tmp_path), process)
    if how == "cancelled":
        flink.cancel(running_job(flink))
    else:
        flink.kill("jobmanager")
    status, said = ends(process)
    assert status == 1, said
    if how != "cancelled":
        flink.start_job_manager()
        until(lambda: flink.task_managers() == 2)
    assert segments(tmp_path) > 0
    assert contents(tmp_path) == {}
    process = start_export(config, "--resume", *args)
    until(lambda: running_job(flink), process)
    job = running_job(flink)
    status, said = ends(process)
    assert status == 0, said
    assert contents(tmp_path) == files
    restored = flink.get(f"/jobs/{job}/checkpoints")["latest"]["restored"]
    assert restored is not None
    assert not list(tmp_path.glob(".exporters/*/checkpoints"))


def test_batch_is_resumed_from_what_was_staged(
    flink: Any, slow_export: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    config, files = slow_export
    args = ["--var", f"out={tmp_path}", *on_flink(flink, "--parallelism=1")]
    process = start_export(config, *args)
    until(lambda: segments(tmp_path), process)
    flink.cancel(running_job(flink))
    status, said = ends(process)
    assert status == 1, said
    status, said = run_export(config, "--resume", *args)
    assert status == 0, said
    assert "of them by an earlier run" in said
    assert contents(tmp_path) == files
