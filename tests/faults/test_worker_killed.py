"""A local run with worker processes fails soon when one of them dies, leaves none behind, and can be run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from suite import TWO_WORKERS, Workers, bytes_of

from helpers import hidden, write_gz

ROOT = Path(__file__).parents[2]
PATIENCE = 60
"""Seconds after which a run hangs, on however busy a machine."""

FUNCTIONS = """
import os
import signal
import time

def leave(item):
    os._exit(3)

def take_time(item):
    time.sleep(0.001)
    return True


def be_killed(item):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One short file and one long one: a worker has committed the one when the other still reads."""
    place = tmp_path_factory.mktemp("source")
    for n, count in enumerate((1000, 200_000)):
        write_gz(place / f"{n}.jl.gz", [{"id": i, "g": "abc"[i % 3], "t": "x" * 100} for i in range(count)])
    return place


def config(folder: Path, out: Path, **more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": str(folder)}}},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-"}},
        "grouper": {"name": "file_key", "options": {"keys": ["g"]}},
        **more,
    }


def environment(*folders: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT)))}


def command(
    tmp_path: Path,
    asked: dict[str, Any],
    *more: str,
    then: Callable[[subprocess.Popen[str]], None] = lambda process: None,
) -> tuple[int, str]:
    """`exporters-beam run` with two workers: its exit status and what it says on standard error."""
    (tmp_path / "export.json").write_text(json.dumps(asked))
    process = subprocess.Popen(
        [sys.executable, "-m", "exporters_beam", "run", str(tmp_path / "export.json"), *more, "--workers=2"],
        stderr=subprocess.PIPE, text=True, env=environment(tmp_path),
    )  # fmt: skip
    try:
        then(process)
        return process.wait(PATIENCE), process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
        process.wait()


def python(program: str, *args: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=PATIENCE, env=env)


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("undisturbed")
    code, said = command(place, config(folder, place / "out"))
    assert code == 0, said
    return bytes_of(place / "out")


def at_once(out: Path) -> bool:
    return True


def committed(out: Path) -> bool:
    return any(out.glob(".exporters/*/staged/*.segment"))


@pytest.mark.parametrize("event", [at_once, committed])
def test_a_killed_worker_fails_the_run_soon_and_it_is_finished_afterwards(event, folder, undisturbed, tmp_path, capsys):
    out = tmp_path / "out"

    def strike(process: subprocess.Popen[str]) -> None:
        workers = Workers(process)
        while not event(out):
            assert process.poll() is None
            time.sleep(0.005)
        workers.kill(0)
        killed = time.monotonic()
        assert process.wait(PATIENCE) == 1
        with capsys.disabled():
            print(f" (failed {time.monotonic() - killed:.1f} s after the kill)", end="")
        assert time.monotonic() - killed < 30
        workers.await_their_end()

    code, said = command(tmp_path, config(folder, out), "--quiet", then=strike)
    resume = ["--resume"] if event is committed else []
    assert code == 1
    assert said == (
        "error: a worker process was killed (signal 9, often: out of memory); nothing half-written has a final name; "
        f"run again{' with --resume' if resume else ''}, or with fewer workers (--workers)\n"
    )
    code, said = command(tmp_path, config(folder, out), *resume)
    assert code == 0, said
    assert bytes_of(out) == undisturbed
    assert [Path(name).name for name in hidden(out)] == ["manifest.json"]


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_no_worker_outlives_its_launcher(how, code, folder, undisturbed, tmp_path):
    def strike(process: subprocess.Popen[str]) -> None:
        workers = Workers(process)
        process.send_signal(how)
        process.wait(PATIENCE)
        workers.await_their_end()

    (tmp_path / "deadly.py").write_text(FUNCTIONS)
    slow = {"name": "python", "options": {"function": "deadly:take_time"}}
    ended, said = command(tmp_path, config(folder, tmp_path / "out", filter_before=slow), "--quiet", then=strike)
    assert ended == code
    if code == 130:
        assert said.startswith("error: interrupted; nothing half-written has a final name; nothing is kept yet: run it again")
        assert said.count("\n") == 1
    assert not bytes_of(tmp_path / "out")


def test_a_worker_that_ends_by_itself_fails_the_run(folder, tmp_path):
    (tmp_path / "deadly.py").write_text(FUNCTIONS)
    leaves = {"name": "python", "options": {"function": "deadly:leave"}}
    code, said = command(tmp_path, config(folder, tmp_path / "out", filter_before=leaves), "--quiet")
    assert code == 1
    assert said.startswith("error: a worker process ended (exit status 3); nothing half-written"), said
    assert not (tmp_path / "out").exists()


def test_workers_that_cannot_start_fail_the_run(folder, tmp_path):
    program = f"""
import json, sys
import exporters_beam
sys.executable = "false"
try:
    exporters_beam.run(json.loads(sys.argv[1]), beam_args={TWO_WORKERS})
except exporters_beam.ExportError as error:
    print(error)
"""
    done = python(program, json.dumps(config(folder, tmp_path / "out")), env=environment())
    assert done.stdout == (
        "a worker process ended before it could start working (exit status 1); what it said stands above\n"
    ), done.stderr
    assert done.returncode == 0


@pytest.mark.slow
def test_a_program_goes_on_after_a_worker_was_killed(folder, undisturbed, tmp_path):
    (tmp_path / "deadly.py").write_text(FUNCTIONS)
    program = f"""
import json, sys, threading
import exporters_beam
for asked in json.loads(sys.argv[1]):
    try:
        print(exporters_beam.run(asked, beam_args={TWO_WORKERS}).written)
    except exporters_beam.DestinationError as error:
        print(error)
print([thread.name for thread in threading.enumerate() if not thread.daemon])
"""
    dies = {"name": "python", "options": {"function": "deadly:be_killed"}}
    asked = [config(folder, tmp_path / "out", filter_before=dies), config(folder, tmp_path / "out")]
    done = python(program, json.dumps(asked), env=environment(tmp_path))
    first, second, threads = done.stdout.splitlines()
    assert first.startswith("a worker process was killed (signal 9"), done.stderr
    assert (second, threads) == ("201000", "['MainThread']")
    assert bytes_of(tmp_path / "out") == undisturbed
    assert done.returncode == 0 and "Exception in thread" not in done.stderr
