"""`run --follow`: batch after batch in one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.runners.following import follow

from helpers import delivered, jsonl


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    return tmp_path


def put(name: str, *numbers: int) -> None:
    path = Path("in", f".{name}")
    path.write_bytes(jsonl([{"n": n} for n in numbers]))
    path.rename(Path("in", name))


def config(**more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": "in"}}},
        "new_only": True,
        "follow": {"every": "1ms", "health": "health.json", **more},
        "writer": {"name": "fs", "options": {"filebase": "out/n-{batch:03d}-", "compression": "none"}},
    }


def numbers() -> dict[str, list[int]]:
    return {name: [record["n"] for record in records] for name, records in delivered(Path("out")).items()}


def health() -> dict[str, Any]:
    return json.loads(Path("health.json").read_text())


def test_batches_follow_on_each_other_until_somebody_says_stop(folder):
    stop, found = threading.Event(), []
    put("a.jl", 1)
    for report in exporters_beam.follow(config(), stop=stop):
        found.append((report.status, report.written))
        if len(found) == 3:
            stop.set()
        else:
            put(f"{len(found)}.jl", *range(len(found) + 1))
    assert found == [("done", 1), ("done", 2), ("done", 3)]
    assert numbers() == {"n-001-0000.jl": [1], "n-002-0000.jl": [0, 1], "n-003-0000.jl": [0, 1, 2]}
    told = health()
    assert (told["state"], told["batch"], told["failures"]) == ("following", 3, 0)


def test_a_batch_that_fails_is_tried_again(folder):
    stop, found = threading.Event(), []
    put("a.jl", 1)
    Path("in/b.jl").write_text("nonsense\n")
    for report in follow(load(config()), stop=stop, every=0.001):
        found.append(report.status)
        assert "exporters-beam clean begins it anew" in report.error
        assert health()["state"] == "failing" and "b.jl" in health()["error"] and health()["failures"] == len(found)
        if len(found) == 2:
            break
    Path("c.json").write_text(json.dumps(config()))
    Path("in/b.jl").write_text('{"n": 2}\n')
    assert main(["run", "c.json"]) == 1
    assert main(["clean", "c.json"]) == 0
    exporters_beam.run(config())
    assert found == ["failed", "failed"] and numbers() == {"n-001-0000.jl": [1, 2]}


def test_a_batch_has_as_much_as_it_may_have_and_the_rest_is_the_next(folder):
    for n in range(5):
        put(f"{n}.jl", n)
    put("5.jl", *range(100))
    stop, found = threading.Event(), []
    for report in exporters_beam.follow(config(every="1h", max_bytes=20), stop=stop):
        found.append((report.written, health()["behind"]))
        if len(found) == 4:
            stop.set()
    assert found == [(2, True), (2, True), (1, True), (100, False)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"every": "soon"}, 'follow.every: "soon" is not a time'),
        ({"every": 0}, "follow.every: give a time that is more than nothing"),
        ({"max_records": 5}, "follow.max_records: how many records fs has is not known before they are read; give max_bytes"),
        ({"evry": 1}, 'follow.evry: unknown option; did you mean "every"?'),
    ],
)
def test_a_wrong_section_is_told(folder, capsys, more, expected):
    Path("c.json").write_text(json.dumps(config(**more)))
    assert main(["validate", "c.json"]) == 2
    assert expected in capsys.readouterr().err


def test_sigterm_ends_after_the_batch_and_a_second_follower_is_refused(folder):
    """The process that follows is told to end in the middle of a batch, which is delivered; its status is 0."""
    put("a.jl", *range(10))
    Path("plugin_slow.py").write_text(
        "import os, time\n"
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Keep:\n"
        "    kind = 'filter'\n"
        "    def keep(self, record):\n"
        "        open('here', 'w').close()\n"
        "        while not os.path.exists('go'):\n"
        "            time.sleep(0.01)\n"
        "        return True\n"
    )
    Path("c.json").write_text(json.dumps({**config(every="1h"), "filter_before": {"name": "plugin_slow:Keep"}}))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(folder)])}
    command = [sys.executable, "-m", "exporters_beam", "run", "c.json", "--follow"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not Path("here").exists():
        assert process.poll() is None, process.stderr.read()
        threading.Event().wait(0.02)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(exporters_beam.DestinationError, match="another run of this export is under way"):
        exporters_beam.run(config())
    Path("go").touch()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "10 records in 1 file" in err and numbers() == {"n-001-0000.jl": list(range(10))}
