"""`run --dates`: an export once for each day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.cli.main import main

from helpers import delivered, jsonl


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for day in range(1, 5):
        path = tmp_path / f"in/2026-01-0{day}/a.jl"
        path.parent.mkdir(parents=True)
        path.write_bytes(jsonl([{"n": day}]))
    return tmp_path


def config(**more: Any) -> str:
    made = {
        "reader": {"name": "fs", "options": {"input": {"dir": "in/%Y-%m-%d"}, "dates": True}},
        "writer": {"name": "fs", "options": {"filebase": "out/%Y-%m-%d/n-", "compression": "none"}},
    }
    Path("c.json").write_text(json.dumps({**made, **more}))
    return "c.json"


def told(capsys: Any, *args: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([*args])
    out, err = capsys.readouterr()
    return status, out, err


def test_each_day_is_delivered_once_and_what_fails_is_told_at_the_end(folder, capsys):
    path = config()
    bad = Path("in/2026-01-02/a.jl")
    bad.write_text("nonsense\n")
    status, out, err = told(capsys, "run", path, "--dates", "2026-01-01..2026-01-03")
    assert status == 1
    assert out.splitlines()[0] == "2026-01-01  delivered, 1 records in 1 file"
    assert out.splitlines()[1].startswith("2026-01-02  failed: in/2026-01-02/a.jl: record 1")
    assert out.splitlines()[3] == "3 days: 2 delivered, 1 failed" and "error: 2026-01-02: in/2026-01-02" in err
    bad.write_bytes(jsonl([{"n": 2}]))
    status, out, err = told(capsys, "run", path, "--dates", "2026-01-01..2026-01-04")
    assert (status, out.splitlines()[-1], err) == (0, "4 days: 2 complete already, 2 delivered", "")
    assert delivered(Path("out")) == {f"2026-01-0{day}/n-0000.jl": [{"n": day}] for day in range(1, 5)}
    assert len(list(Path("out/.exporters").glob("*/manifest.json"))) == 4


@pytest.mark.slow
def test_days_in_several_processes(folder, capsys):
    path = config()
    Path("in/2026-01-03/a.jl").unlink()
    status, out, err = told(capsys, "run", path, "--dates", "2026-01-01..2026-01-04", "--jobs", "2")
    assert status == 1
    assert [line.split()[1].strip(":,") for line in out.splitlines()[:4]] == ["delivered", "delivered", "failed", "delivered"]
    assert "error: 2026-01-03: " in err and "there is nothing to read at" in err
    assert len(delivered(Path("out"))) == 3


@pytest.mark.parametrize(
    ("more", "dates", "expected"),
    [
        ({}, "january", "--dates: january is no range of days; write 2026-01-01..2026-01-31"),
        ({}, "2026-01-05..2026-01-01", "--dates: the last day, 2026-01-01, is before the first one, 2026-01-05"),
        (
            {"writer": {"name": "fs", "options": {"filebase": "out/n-"}}},
            "2026-01-01",
            "filebase: each day would",
        ),
        (
            {"new_only": True, "writer": {"name": "fs", "options": {"filebase": "out/{batch}"}}},
            "2026-01-01",
            "no day of its own",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(folder, capsys, more, dates, expected):
    status, out, err = told(capsys, "run", config(**more), "--dates", dates)
    assert (status, out) == (2, "") and expected in err and not Path("out").exists()


def test_a_day_that_is_over_is_gone_on_with_as_that_day(folder, capsys):
    """An ordinary run of today takes nothing up that a run for another day has left."""
    path = config()
    Path("in/2026-01-02/b.jl").write_text("nonsense\n")
    assert told(capsys, "run", path, "--dates", "2026-01-02")[0] == 1
    assert told(capsys, "run", path, "--dates", "2026-01-01")[0] == 0
    assert list(delivered(Path("out"))) == ["2026-01-01/n-0000.jl"]


def test_the_page_holds(folder, capsys):
    """Its config runs, the file for Kubernetes is YAML, that for Airflow is Python, and commands are such as there are."""
    import ast
    import re

    import yaml

    from exporters_beam.cli.parser import _parse, _parser

    page = (Path(__file__).parents[2] / "docs/scheduling.md").read_text()
    first, kubernetes = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    Path("c.yaml").write_text(first.replace("dumps/", "in/"))
    assert told(capsys, "run", "c.yaml", "--dates", "2026-01-03")[1] == "2026-01-03  delivered, 1 records in 1 file\n"
    job = yaml.safe_load(kubernetes)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    (airflow,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ast.parse(airflow)
    commands = [job, *(line.split() for line in re.findall(r"exporters-beam run [^`\n\"]*", page))]
    for command in commands:
        given = " ".join(command[1:]).replace("{{ ds }}", "2026-01-01").split()
        assert _parse(_parser(), given).beam == [], command
    assert len(commands) > 3
