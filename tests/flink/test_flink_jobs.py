"""Jobs on a real Flink cluster: workers in the launcher, packages that come with a job, and jobs that are submitted,
asked for, cancelled, drained and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import visible, write_gz
from servers import ROOT, on_flink, python_path, run_export, start_export

pytestmark = pytest.mark.flink

PLUGIN = ROOT / "tests" / "sample_plugin"
SECONDS = 30
"""Within so many seconds an export that cannot start says why."""


def config(folder: Path, **sections: Any) -> Path:
    """A config that groups, with a variable `out`."""
    if not (folder / "in").exists():
        for n in range(6):
            records = [{"number": n * 500 + i, "group": i % 3, "name": "ü" * (i % 9)} for i in range(500)]
            write_gz(folder / "in" / f"{n}.jl.gz", records)
    path = folder / "export.json"
    path.write_text(json.dumps({
        "vars": {"out": str(folder / "local")},
        "reader": {"name": "fs", "options": {"input": {"dir": str(folder / "in")}}},
        "grouper": {"name": "file_key", "options": {"keys": ["group"]}},
        "writer": {"name": "fs", "options": {"filebase": "${vars.out}/{groups[0]}-"}},
        **sections,
    }))  # fmt: skip
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in visible(root).items()}


def without(args: list[str], *names: str) -> list[str]:
    return [arg for arg in args if not arg.startswith(tuple(f"--{name}" for name in names))]


def test_workers_in_the_launcher_deliver_the_same_files(flink: Any, tmp_path: Path) -> None:
    path, out = config(tmp_path, statistics=True), tmp_path / "loopback"
    status, said = run_export(path)
    assert status == 0, said
    args = without(on_flink(flink), "environment")
    status, said = run_export(path, "--var", f"out={out}", *args, "--environment_type=LOOPBACK")
    assert status == 0, said
    assert contents(out) == contents(tmp_path / "local") != {}
    there, here = (json.loads(next(place.rglob("manifest.json")).read_text()) for place in (out, tmp_path / "local"))
    assert there["statistics"] == here["statistics"] and here["statistics"]["records"] == 3000


def test_batches_that_go_on_from_each_other_are_the_same(flink: Any, tmp_path: Path) -> None:
    """What is new is listed by the launcher, and how far time has come by the workers."""
    out = tmp_path / "flink"
    (tmp_path / "in").mkdir()
    writer = {"name": "fs", "options": {"filebase": "${vars.out}/{window:%Y-%m-%d/%H}/n-{batch}-"}}
    path = config(tmp_path, grouper=None, new_only=True, window={"field": "at", "success_file": "OK"}, writer=writer)
    told = []
    for batch, hours in enumerate((("13", "14"), ("14", "15"))):
        for hour in hours:
            records = [{"at": f"2026-11-28T{hour}:{n // 60 % 60:02d}:{n % 60:02d}Z", "n": n} for n in range(3000)]
            write_gz(tmp_path / "in" / f"{batch}-{hour}.jl.gz", records)
        for more in ([], ["--var", f"out={out}", *on_flink(flink)]):
            status, said = run_export(path, *more)
            assert status == 0, said
            (books,) = (out if more else tmp_path / "local").glob(f".exporters/*/00000{batch + 1}")
            told.append(json.loads((books / "manifest.json").read_text())["windows"])
    assert contents(out) == contents(tmp_path / "local") != {}
    for here, there in zip(told[::2], told[1::2], strict=True):
        assert {**here, "times": ""} == {**there, "times": ""}
    assert [each["complete"] for each in told[1::2]] == [["2026-11-28T13:00"], ["2026-11-28T14:00"]]
    status, said = run_export(path, "--var", f"out={out}", *on_flink(flink))
    assert status == 0 and "there is nothing new since batch 2" in said


# Packages that come with a job


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sample plugin as a user would bring it."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    shutil.copytree(PLUGIN, source)
    subprocess.run([sys.executable, "-m", "build", "-q", "--sdist", str(source), "-o", str(folder)], check=True)
    (found,) = folder.glob("*.tar.gz")
    return str(found)


@pytest.fixture
def plugin_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher has the plugin, as its user has; the workers of the pool do not."""
    monkeypatch.setenv("EXPORTERS_BEAM_TEST_PATH", str(PLUGIN / "src"))


@pytest.mark.parametrize("way", ["extra_package", "setup_file"])
def test_a_plugin_that_the_workers_lack_comes_with_the_job(
    way: str, flink: Any, sdist: str, plugin_here: None, tmp_path: Path
) -> None:
    path = config(tmp_path, filter={"name": "exporters_beam_sample:EvenFilter", "options": {"field": "number"}})
    status, said = run_export(path)
    assert status == 0, said
    args = on_flink(flink, f"--extra_package={sdist}")
    if way == "setup_file":
        shutil.copytree(PLUGIN / "src", tmp_path / "plugin")
        (tmp_path / "plugin" / "setup.py").write_text(
            "from setuptools import setup\n"
            "setup(name='exporters-beam-sample', version='1.0.0', packages=['exporters_beam_sample'])\n"
        )
        args = on_flink(flink, f"--setup_file={tmp_path / 'plugin' / 'setup.py'}")
    out = tmp_path / "there"
    status, said = run_export(path, "--var", f"out={out}", *args)
    assert status == 0, said
    assert contents(out) == contents(tmp_path / "local") != {}


def test_a_plugin_that_the_workers_lack_is_named(flink: Any, plugin_here: None, tmp_path: Path) -> None:
    path = config(tmp_path, filter={"name": "exporters_beam_sample:EvenFilter", "options": {"field": "number"}})
    started = time.monotonic()
    status, said = run_export(path, *on_flink(flink))
    assert status == 1 and time.monotonic() - started < SECONDS
    assert "do not have the module exporters_beam_sample, which the config uses; install it there, or bring it with" in said
    assert not (tmp_path / "local").exists()


def test_a_package_that_cannot_be_installed_is_named(flink: Any, plugin_here: None, tmp_path: Path) -> None:
    (tmp_path / "broken-1.0.tar.gz").write_bytes(b"no archive")
    status, said = run_export(config(tmp_path), *on_flink(flink, f"--extra_package={tmp_path / 'broken-1.0.tar.gz'}"))
    assert status == 1
    assert "pip cannot install broken-1.0.tar.gz: ERROR:" in said.splitlines()[-1]
    assert not (tmp_path / "local").exists()


# Jobs that are submitted


def command(*args: str) -> tuple[int, str]:
    """`exporters-beam …` as a process of its own: its exit status and what it said."""
    done = subprocess.run([sys.executable, "-m", "exporters_beam", *args], capture_output=True, text=True, timeout=180,
                          env={**os.environ, "PYTHONPATH": python_path()})  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def slow(folder: Path) -> Path:
    """An export that takes about 15 s, after what it delivers has been delivered here by one that is not slow."""
    status, said = run_export(config(folder, filter={"name": "python", "options": {"function": "slow_functions:keep"}}))
    assert status == 0, said
    return config(folder, filter={"name": "python", "options": {"function": "slow_functions:keep_slowly"}})


def submitted(path: Path, *args: str) -> tuple[str, str]:
    """The id and the address of a job that was submitted."""
    status, said = command("submit", str(path), *args)
    assert status == 0, said
    job, place = said.split()
    return job, place


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_a_submitted_job_is_asked_for_until_its_end(mode: str, flink: Any, tmp_path: Path) -> None:
    path, out = config(tmp_path), tmp_path / "out"
    status, said = run_export(path)
    assert status == 0, said
    job, place = submitted(path, "--var", f"out={out}", *on_flink(flink, *["--streaming"] * (mode == "streaming")))
    assert flink.get(f"/jobs/{job}")["name"].startswith("export-")
    status, said = command("status", place, "--watch", "--every=1")
    assert status == 0 and said.splitlines()[-1].endswith(": finished"), said
    assert contents(out) == contents(tmp_path / "local") != {}
    status, said = command("status", job, f"--flink_master=localhost:{flink.state['ports']['rest']}")
    assert status == 0 and said.endswith(": finished\n")


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_a_job_is_cancelled_with_nothing_half_delivered_and_gone_on_with(mode: str, flink: Any, tmp_path: Path) -> None:
    path, out = slow(tmp_path), tmp_path / "out"
    args = [
        "--var",
        f"out={out}",
        *on_flink(flink, *["--streaming", "--checkpointing_interval=500"] * (mode == "streaming")),
    ]
    job, place = submitted(path, *args)
    assert command("status", place) == (0, f"{flink.get(f'/jobs/{job}')['name']}: running\n")
    until(lambda: list(out.glob(".exporters/*/staged/*.segment")))
    if mode == "streaming":
        until(lambda: list(out.glob(".exporters/*/checkpoints/*/chk-*/_metadata")))
    status, said = command("submit", str(path), *args)
    assert status == 1 and f"already (running); wait for its end, or stop it with: exporters-beam cancel '{place}'" in said
    assert command("cancel", place)[0] == 0
    status, said = command("status", place, "--watch", "--every=1")
    assert status == 1 and said.splitlines()[-1].endswith(": canceled"), said
    assert contents(out) == {}
    _, place = submitted(path, "--resume", *args)
    status, said = command("status", place, "--watch", "--every=1")
    assert status == 0, said
    assert contents(out) == contents(tmp_path / "local") != {}
    status, said = command("submit", str(path), "--resume", *args)
    assert status == 0 and "the export is complete already" in said


def test_a_job_is_gone_on_with_twice_without_and_with_a_checkpoint(flink: Any, tmp_path: Path) -> None:
    path, out = slow(tmp_path), tmp_path / "out"

    def stopped(seconds: int, *more: str) -> None:
        """Submit the job and cancel it when it has staged something and, with a short interval, has a checkpoint."""
        before = len(list(out.glob(".exporters/*/staged/*.segment")))
        args = [
            "--var",
            f"out={out}",
            *more,
            *on_flink(flink, "--streaming", f"--checkpointing_interval={seconds * 1000}"),
        ]
        _, place = submitted(path, *args)
        until(lambda: len(list(out.glob(".exporters/*/staged/*.segment"))) > before)
        if seconds == 1:
            until(lambda: list(out.glob(".exporters/*/checkpoints/*/chk-*/_metadata")))
        assert command("cancel", place)[0] == 0
        status, said = command("status", place, "--watch", "--every=1")
        assert status == 1 and said.splitlines()[-1].endswith(": canceled"), said

    stopped(600)
    stopped(1, "--resume")
    args = ["--var", f"out={out}", *on_flink(flink, "--streaming")]
    status, said = run_export(path, "--resume", *args)
    assert status == 0, said
    assert contents(out) == contents(tmp_path / "local") != {}


def test_an_interrupted_run_cancels_its_job(flink: Any, tmp_path: Path) -> None:
    path, out = slow(tmp_path), tmp_path / "out"
    process = start_export(path, "--var", f"out={out}", *on_flink(flink))
    until(lambda: list(out.glob(".exporters/*/staged/*.part")) or process.poll() is not None)
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said, said
    until(lambda: all(job["state"] in ("FINISHED", "CANCELED", "FAILED") for job in flink.get("/jobs/overview")["jobs"]))
    assert contents(out) == {}


def test_submit_does_not_take_workers_that_would_end_with_it(flink: Any, tmp_path: Path) -> None:
    args = without(on_flink(flink), "environment")
    for more in ([], ["--environment_type=LOOPBACK"]):
        status, said = command("submit", str(config(tmp_path)), *args, *more)
        assert status == 2 and "the workers would end with submit, which does not wait" in said
    assert not (tmp_path / "local").exists()


@pytest.mark.parametrize("moment", ["at once", "with segments"])
def test_a_drained_job_finishes_what_it_has_with_a_savepoint(moment: str, flink: Any, tmp_path: Path) -> None:
    path, out, savepoints = slow(tmp_path), tmp_path / "out", tmp_path / "savepoints"
    _, place = submitted(path, "--var", f"out={out}", *on_flink(flink, "--streaming", "--checkpointing_interval=500"))
    if moment == "with segments":
        until(lambda: list(out.glob(".exporters/*/staged/*.segment")))
    status, said = command("drain", place, f"--savepoint_path=file://{savepoints}")
    assert status == 0, said
    status, said = command("status", place, "--watch", "--every=1")
    assert status == 0 and said.splitlines()[-1].endswith(": finished"), said
    assert contents(out) == contents(tmp_path / "local") != {}
    assert list(savepoints.glob("savepoint-*/_metadata")) or moment == "with segments"  # Then it may have ended before.


def test_a_batch_job_cannot_be_drained_and_goes_on(flink: Any, tmp_path: Path) -> None:
    path, out = slow(tmp_path), tmp_path / "out"
    _, place = submitted(path, "--var", f"out={out}", *on_flink(flink))
    until(lambda: list(out.glob(".exporters/*/staged/*.part")))
    status, said = command("drain", place)
    print(said)
    assert status == 1 and "Flink does not drain the job" in said
    status, said = command("status", place, "--watch", "--every=1")
    assert status == 0, said
    assert contents(out) == contents(tmp_path / "local") != {}
