"""Ctrl-C and SIGTERM: status 130 and one line, wherever they hit; then `--resume` delivers what an undisturbed run does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import hidden, visible, write_gz

ROOT = Path(__file__).parents[2]
PATIENCE = 60
GOES_ON = ": run it again with --resume to go on from there\n"

FUNCTIONS = """
import pathlib, time

HERE = pathlib.Path(__file__).parent

def reached():
    (HERE / "reached").touch()
    while (HERE / "wait").exists():
        time.sleep(0.01)

def waits(record):
    if record["id"] == 250:
        reached()
    return True

def swallows(record):
    if record["id"] == 250:
        try:
            reached()
        except BaseException:
            pass
    return True

def deaf(record):
    if record["id"] == 250:
        (HERE / "reached").touch()
        while (HERE / "wait").exists():
            try:
                time.sleep(0.01)
            except BaseException:
                pass
    return True
"""


def filled(place: Path) -> Path:
    for n in range(3):
        write_gz(place / "in" / f"{n}.jl.gz", [{"id": 100 * n + i, "g": "abc"[i % 3]} for i in range(100)])
    (place / "slow_functions_here.py").write_text(FUNCTIONS)
    return place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return filled(tmp_path)


def config(place: Path, out: str = "out", function: str = "waits", **more: Any) -> str:
    path = place / f"{out}.json"
    path.write_text(json.dumps({
        "reader": {"name": "fs", "options": {"input": {"dir": str(place / "in")}}},
        "filter_before": {"name": "python", "options": {"function": f"slow_functions_here:{function}"}},
        "grouper": {"name": "file_key", "options": {"keys": ["g"]}},
        "writer": {"name": "fs", "options": {"filebase": f"{place / out}/part-"}},
        **more,
    }))  # fmt: skip
    return str(path)


def start(place: Path, *args: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(place)])}
    return subprocess.Popen([sys.executable, "-m", "exporters_beam", *args], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=environ, start_new_session=True)  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = process.communicate(timeout=PATIENCE)[1]
    return process.returncode, said


def strike(place: Path, process: subprocess.Popen[str], *signals: int) -> tuple[int, str]:
    """Send signals to the whole process group, as a terminal does, when a record is being processed."""
    while not (place / "reached").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    for number in signals:
        os.killpg(process.pid, number)
    ended = finish(process)
    (place / "wait").unlink(missing_ok=True)
    return ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = filled(tmp_path_factory.mktemp("undisturbed"))
    assert finish(start(place, "run", config(place, "whole"), "--quiet"))[0] == 0
    return {name: path.read_bytes() for name, path in visible(place / "whole").items()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("more", [[], ["--workers", "2"]])
def test_while_records_are_processed(place: Path, number: int, more: list[str], undisturbed: dict[str, bytes]) -> None:
    (place / "wait").touch()
    path = config(place)
    code, said = strike(place, start(place, "run", path, "--quiet", *more), number)
    assert (code, said.count("\n")) == (130, 1), said
    assert said.startswith("error: interrupted; nothing half-written has a final name; "), said
    assert said.endswith((GOES_ON, "; nothing is kept yet: run it again, with --resume or without\n"))
    assert not visible(place / "out") if (place / "out").exists() else True
    code, said = finish(start(place, "run", path, "--resume", *more))
    assert code == 0, said
    assert "read       300 records" in said and "written    300 records" in said
    assert {name: path.read_bytes() for name, path in visible(place / "out").items()} == undisturbed
    assert [Path(name).name for name in hidden(place / "out")] == ["manifest.json"]


def test_where_the_users_code_swallows_it(place: Path) -> None:
    """The export goes on to its end; the status is 130 all the same, and the line says that all is delivered."""
    (place / "wait").touch()
    process = start(place, "run", config(place, function="swallows"), "--quiet")
    code, said = strike(place, process, signal.SIGINT)
    assert (code, said.count("\n")) == (130, 1), said
    assert said.startswith("error: interrupted; ") and "everything had been delivered already: " in said


def test_twice_where_the_first_is_not_heard(place: Path) -> None:
    (place / "wait").touch()
    process = start(place, "run", config(place, function="deaf"), "--quiet")
    while not (place / "reached").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    while len(list((Path("/proc") / str(process.pid) / "task").iterdir())) < 2 and process.poll() is None:
        time.sleep(0.005)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert (code, said.count("\n")) == (130, 1), said
    assert said.startswith("error: interrupted; ") and "run it again" in said


@pytest.mark.parametrize("command", ["preview", "verify", "explain"])
def test_other_commands(place: Path, command: str) -> None:
    """While a fifo is read that nobody writes to: the config itself, or the manifest."""
    fifo = place / "fifo.json"
    os.mkfifo(fifo)
    process = start(place, command, str(fifo))
    with open(fifo, "wb"):  # Opening waits for the reader.
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        code, said = finish(process)
    assert (code, said) == (130, "error: interrupted; nothing half-written has a final name\n")


def test_a_program_gets_a_keyboard_interrupt(place: Path) -> None:
    (place / "wait").touch()
    program = f"""
import json, sys
import exporters_beam
try:
    exporters_beam.run({config(place)!r})
except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
    sys.exit(7)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(place)])}
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=environ,
                               start_new_session=True)  # fmt: skip
    code, said = strike(place, process, signal.SIGINT)
    assert (code, said.splitlines()[-1]) == (7, "stopped"), said
