"""How many processes an export on this machine gets, and that they are ready at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.runners.worker.statesampler import StateSampler

from exporters_beam.cli.main import main
from exporters_beam.config import spec
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make
from exporters_beam.runners import local, local_workers
from exporters_beam.runners.local_worker_process import SAMPLE_MILLISECONDS, sample_often
from exporters_beam.runners.options import Options

from helpers import visible, write_gz


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 2)
    monkeypatch.setattr(local, "ENOUGH", 1000)
    monkeypatch.setattr(local, "PART", 600)


def config(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-"}},
        **more,
    }


def made(tmp_path: Path, sizes: dict[str, int], **more: Any) -> Any:
    (tmp_path / "in").mkdir()
    for name, size in sizes.items():
        (tmp_path / "in" / name).write_bytes(b"x" * size)
    return make(spec.load(config(tmp_path, **more)))


@pytest.mark.parametrize(
    ("sizes", "more", "expected"),
    [
        ({"a.jl.gz": 600, "b.jl.gz": 600}, {}, 2),
        ({"a.jl.gz": 400, "b.jl.gz": 400}, {}, 1),
        ({"a.jl.gz": 5000}, {}, 1),
        ({"a.jl": 5000}, {}, 2),
        ({"a.csv": 5000}, {"deserializer": "csv"}, 1),
        ({"a.jl": 5000}, {"writer": {"name": "fs", "options": {"filebase": "o/", "items_limit": 3}}}, 1),
        ({"a.jl": 5000}, {"writer": "console"}, 1),
        ({}, {}, 1),
    ],
)
def test_large_inputs_that_can_be_divided_get_all_cores(two_cores, tmp_path, sizes, more, expected):
    assert local.processes(made(tmp_path, sizes, **more), Options([]), None) == expected


def test_what_is_asked_for_wins(two_cores, tmp_path):
    plan = made(tmp_path, {"a.jl": 5000})
    assert local.processes(plan, Options([]), 1) == 1
    assert local.processes(plan, Options([]), 3) == 3
    assert local.processes(plan, Options(["--direct_num_workers=2"]), None) == 0
    with pytest.raises(ConfigError, match=r"--workers: .* so does --direct_num_workers; give one of the two"):
        local.processes(plan, Options(["--direct_num_workers=2"]), 2)
    with pytest.raises(ConfigError, match="--workers: 0 processes cannot run an export; give 1 or more"):
        local.processes(plan, Options([]), 0)


def test_workers_and_another_runner_do_not_go_together(tmp_path, capsys):
    path = tmp_path / "export.json"
    (tmp_path / "in").mkdir()
    path.write_text(json.dumps(config(tmp_path)))
    assert main(["run", str(path), "--workers=2", "--runner=PrismRunner"]) == 2
    assert "--workers: it is for exports on this machine; PrismRunner has its own options" in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux only")
def test_two_processes_of_the_command_line_deliver_the_same(tmp_path):
    records = [{"id": n, "g": "abc"[n % 3], "t": "x" * 90} for n in range(1000)]
    for n in range(4):
        write_gz(tmp_path / "in" / f"{n}.jl.gz", records)
    # A worker that was started, not forked, would have other arguments than the program that the user started.
    (tmp_path / "arguments.py").write_text("import sys\ndef told(item):\n    return 'run' in sys.argv or sys.exit(9)\n")
    forked = {"name": "python", "options": {"function": "arguments:told"}}
    (tmp_path / "export.json").write_text(json.dumps(config(tmp_path, filter_before=forked)))
    delivered = []
    for workers in (1, 2):
        path = f"{tmp_path}{os.pathsep}{Path(__file__).parent.parents[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "exporters_beam", "run", str(tmp_path / "export.json"), f"--workers={workers}"],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ("2 worker processes" in done.stderr) == (workers == 2)
        assert "4,000" in done.stderr
        delivered.append({name: path.read_bytes() for name, path in visible(tmp_path / "out").items()})
    assert delivered[0] == delivered[1]


def test_bundles_end_without_waiting_for_beams_sampler():
    sample_often()
    assert StateSampler.__init__.__defaults__ == (SAMPLE_MILLISECONDS,)


FORKS = """
import os, threading
from exporters_beam.runners.local_worker_process import StandBy
worker, wrong, reap = StandBy([]), [], os.waitpid
def kill():
    try:
        worker.kill()
    except OSError as error:
        wrong.append(error)
def waitpid(*asked):
    found = reap(*asked)
    killer.start()
    killer.join(0.2)
    return found
killer = threading.Thread(target=kill)
worker.kill()
os.waitpid = waitpid
code = worker.wait()
killer.join()
print(code, wrong)
"""


def test_a_worker_may_be_killed_at_the_moment_of_its_end():
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60)
    assert done.stdout == "-9 []\n", done.stderr


def test_a_worker_that_does_not_end_when_all_is_done_is_ended(monkeypatch):
    monkeypatch.setattr(local_workers, "LEAVES_SECONDS", 0.1)
    killed = threading.Event()
    worker = object.__new__(local_workers.WorkerProcess)
    worker._process = SimpleNamespace(kill=killed.set)
    worker._thread = threading.Thread(target=killed.wait, daemon=True)
    worker._thread.start()
    worker.stop_worker()
    assert killed.is_set()
