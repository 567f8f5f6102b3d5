"""Statistics of fields in the manifest and the report, however an export runs, and what they tell of the run before."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.transforms.field_statistics import FieldStatistics

from helpers import delivered, visible, write_gz

RECORDS = [
    {"sku": f"s{n}", "price": n / 4 if n % 10 else None, "seller": {"town": "Å" * (n % 3)}, "offers": [{"n": n}] * (n % 3)}
    for n in range(300)
]
CHILD = Path(__file__).parents[1] / "faults/child.py"


def config(folder: Path, **sections: Any) -> dict[str, Any]:
    """Records of two files to one, all fields looked at."""
    for n in range(2):
        if not (folder / f"in/{n}.jl.gz").exists():
            write_gz(folder / f"in/{n}.jl.gz", RECORDS[n * 150 : n * 150 + 150])
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": str(folder / "in")}}},
        "statistics": True,
        "writer": {"name": "fs", "options": {"filebase": str(folder / "out/part-")}},
        **sections,
    }


def manifest(folder: Path) -> dict[str, Any]:
    (found,) = (folder / "out").rglob("manifest.json")
    told: dict[str, Any] = json.loads(found.read_text())
    return told


def of(records: list[Any]) -> dict[str, Any]:
    found = FieldStatistics()
    found.add(records)
    return found.as_dict()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 4000)
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 2000)


@pytest.mark.parametrize("workers", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_statistics_are_those_of_the_delivered_records_and_change_no_byte(small, workers, tmp_path) -> None:
    exporters_beam.run(config(tmp_path, statistics=None))
    without = {name: path.read_bytes() for name, path in visible(tmp_path / "out").items()}
    report = exporters_beam.run(config(tmp_path), workers=workers)
    assert {name: path.read_bytes() for name, path in visible(tmp_path / "out").items()} == without
    assert report.statistics == manifest(tmp_path)["statistics"] == of(delivered(tmp_path / "out")["part-0000.jl.gz"])
    assert list(report.statistics["fields"]) == ["sku", "price", "seller", "seller.town", "offers", "offers[]", "offers[].n"]
    price = {"present": 270, "null": 30, "missing": 0, "types": {"number": 270}, "distinct": 270, "min": 0.25, "max": 74.75}
    assert report.statistics["fields"]["price"] == price


def test_a_run_that_was_killed_and_resumed_tells_the_same(tmp_path) -> None:
    asked = {"config": config(tmp_path), "small": True}

    def child(**more: Any) -> int:
        command = [sys.executable, str(CHILD), json.dumps({**asked, **more})]
        return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode

    assert child(fault={"call": "rename", "nth": 2, "how": "kill"}) == -signal.SIGKILL
    assert child(resume=True) == 0
    assert manifest(tmp_path)["statistics"] == of(RECORDS)


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, ["sku"]])
def test_ranges_that_were_staged_without_these_statistics_are_told_of(before, small, tmp_path) -> None:
    asked = {"config": config(tmp_path, statistics=before), "small": True}
    fault = {"call": "rename", "nth": 2, "how": "kill"}
    subprocess.run([sys.executable, str(CHILD), json.dumps({**asked, "fault": fault})], capture_output=True, check=False)
    report = exporters_beam.run(config(tmp_path, exporter_options={"resume": True}))
    assert report.resumed > 0
    assert report.warnings == (
        f"statistics: {report.resumed} records were staged by a run without these statistics and are left out; run without "
        "--resume for those of all",
    )
    assert report.statistics["records"] == 300 - report.resumed


def test_each_writer_has_statistics_of_what_it_gets(tmp_path) -> None:
    csv = {"name": "csv", "options": {"fields": ["sku", "price"]}}
    partition = [{"field": "sku", "as": "k"}]
    writers = [
        {"name": "fs", "as": "all", "options": {"filebase": str(tmp_path / "all/part-")}},
        {"name": "fs", "as": "dear", "when": "(item['price'] or 0) > 70", "fields": {"rename": {"sku": "id"}},
         "options": {"filebase": str(tmp_path / "dear/part-")}},
        {"name": "fs", "as": "table", "formatter": csv, "options": {"filebase": str(tmp_path / "table/part-")}},
        {"name": "fs", "as": "parts", "when": "item['sku'] == 's7'", "partition_by": partition,
         "options": {"filebase": str(tmp_path / "parts/p-")}},
    ]  # fmt: skip
    asked = {name: part for name, part in config(tmp_path, writers=writers).items() if name != "writer"}
    found = {each["writer"]: each["statistics"] for each in exporters_beam.run(asked).writers}
    assert found["all"] == of(RECORDS)
    dear = [{"id": each.pop("sku"), **each} for each in (dict(r) for r in RECORDS) if (each["price"] or 0) > 70]
    assert found["dear"] == of(delivered(tmp_path / "dear")["part-0000.jl.gz"]) and found["dear"]["records"] == len(dear)
    assert found["table"] == of([{"sku": r["sku"], "price": r["price"]} for r in RECORDS])
    assert list(found["parts"]["fields"]) == ["price", "seller", "seller.town", "offers", "offers[]", "offers[].n"]


def test_the_terminal_shows_a_table(tmp_path, capsys) -> None:
    (tmp_path / "c.json").write_text(json.dumps(config(tmp_path, statistics=["price", "seller"])))
    assert main(["run", str(tmp_path / "c.json")]) == 0
    assert capsys.readouterr().err.endswith(
        "field        there  null  different  type     from  to     length\n"
        "price          270    30        270  number   0.25  74.75\n"
        "seller         300                   mapping\n"
        "seller.town    300                3  text           ÅÅ     0–2\n"
    )
    assert main(["explain", str(tmp_path / "c.json")]) == 0
    told = capsys.readouterr().out
    assert "→ statistics    of price, seller" in told and "statistics: of what comes to the writer, decoded for that" in told


def test_what_has_changed_since_the_run_before_is_told(tmp_path) -> None:
    options = {"filebase": str(tmp_path / "out/%Y/part-")}

    def run(change: Any) -> Any:
        found = config(tmp_path, writer={"name": "fs", "options": options})
        for n in range(2):
            write_gz(tmp_path / f"in/{n}.jl.gz", [change(n, dict(record)) for n, record in enumerate(RECORDS[n::2])])
        return exporters_beam.run(found)

    assert run(lambda n, record: record).drift == {}
    assert run(lambda n, record: {**record, "price": None if n % 12 == 0 else record["price"]}).warnings == ()
    report = run(lambda n, record: {**record, "sku": n, "seller": None if n % 2 else record["seller"], "colour": {"hex": "f"},
                                    "offers": 1})  # fmt: skip
    assert report.warnings == (
        "statistics: colour is new: it has a value in 100.0%, and was in no record of the run before",
        "statistics: offers[] is gone: it is in no record, and had a value in 100.0% in the run before",
        "statistics: sku is now integer, and was text in the run before",
        "statistics: seller has a value in 50.0%, and had one in 100.0% in the run before",
        "statistics: seller.town has a value in 33.3%, and had one in 66.7% in the run before",
        "statistics: offers is now integer, and was list in the run before",
    )
    assert report.drift["changes"][3] == {"field": "seller", "change": "presence", "before": 1.0, "now": 0.5}
    assert report.drift["export"] == report.export_id


def test_of_very_many_changes_the_first_are_told(tmp_path) -> None:
    asked = config(tmp_path)
    exporters_beam.run(asked)
    write_gz(tmp_path / "in/0.jl.gz", [{**RECORDS[0], **{f"new{n:02}": n for n in range(30)}}])
    report = exporters_beam.run(asked)
    assert len(report.warnings) == 21
    assert report.warnings[-1] == "statistics: 10 more changes of fields since the run before stand in the manifest"
    assert len(report.drift["changes"]) == 30


MISTAKES = {
    "kind": ("all", 'statistics: wrong type: found "all", expected a mapping: {fields: [price]}, true, or a list'),
    "list": ([1.5, {}], "statistics[1]: wrong type: found the mapping {}"),
    "no fields": ([], "statistics: give at least one field, or leave this out for all"),
    "path": (["a..b"], "statistics[0]: 'a..b' is not a path of fields: a name is missing before the dot at character 3"),
    "deep path": ({"fields": ["ok", "a[0]"]}, "statistics.fields[1]: 'a[0]' is not a path of fields: [ at"),
    "unknown": ({"field": ["a"]}, 'statistics.field: unknown option; did you mean "fields"?'),
    "change": ({"change": "much"}, 'statistics.change: "much" is not a share: 0 to 1, or 98%'),
    "too much": ({"change": 2}, "statistics.change: 2 is not a share: 0 to 1, or 98%"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(mistake, tmp_path, capsys) -> None:
    given, told = MISTAKES[mistake]
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"reader": {"name": "fs", "options": {"input": "in"}}, "statistics": given,
                                "writer": {"name": "fs", "options": {"filebase": "out/a-"}}}))  # fmt: skip
    assert main(["validate", str(path)]) == 2
    assert told in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["c.json"]


def test_the_page_shows_what_is_told(tmp_path, monkeypatch, capsys, caplog) -> None:
    page = (Path(__file__).parents[2] / "docs/contracts.md").read_text(encoding="utf-8").partition("\n# A contract")[0]
    monkeypatch.chdir(tmp_path)
    for kind, name, text in re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        if name:
            Path(name).write_text(text, encoding="utf-8")
        elif kind == "console":
            assert main(["run", "export.yaml"]) == 0
            told = "".join(f"warning: {record.message}\n" for record in caplog.records if record.name == "export-pipeline")
            assert text.partition("\n")[2] in (told, capsys.readouterr().err.partition("\n\n")[2])
