"""Exports with the transform `fields`: what the planner makes of them, and what is delivered, set aside and told."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporters_beam.cli.main import main
from exporters_beam.config import spec
from exporters_beam.planning.plan import Plan, make
from exporters_beam.stages import Columns, Extend, MakeColumns, Project

from beamless import outcome


def config(where: Path | str = "in", options: Any = None, **sections: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": f"{where}.jl"}},
        "transform": {"name": "fields", "options": options or {"set": {"n": 1}}},
        "writer": {"name": "fs", "options": {"filebase": f"{where}-out/", "compression": "none"}},
        **sections,
    }


def planned(options: Any, **sections: Any) -> Plan:
    return make(spec.load(config(options=options, **sections)))


def why(plan: Plan, rule: str) -> str:
    return next(each.why for each in plan.physical.trace if each.rule == rule)


def test_what_is_chosen_is_all_that_is_decoded() -> None:
    options = {"rename": {"name": "title", "s.town": "town"}, "types": {"at": "date"}, "hash": {"a.x": "sha256"},
               "default": {"d": 1}, "set": {"e": 1}, "drop": ["f", "g.x"], "select": ["title", "b", "d", "e"]}  # fmt: skip
    plan = planned(options)
    assert plan.physical.decoding == Project(frozenset(("name", "title", "s", "town", "at", "a", "d", "b", "g")))
    key = {"name": "key_value", "options": {"keys": [{"name": "k", "value": 1}]}}
    behind = {"name": "key_value", "options": {"keys": [{"name": "z", "value": 1}]}}
    found = planned({"select": ["b"]}, filter_before=key, filter_after=behind).physical.decoding
    assert found == Project(frozenset("bk"))
    assert why(planned({"trim": ["a"]}), "fields-projected") == "the format writes every field"
    assert why(planned({"select": ["b"]}, on_error="dead_letter"), "fields-projected") == "dead letters show whole records"


def test_fields_that_are_set_are_written_behind_lines() -> None:
    assert planned({"set": {"b": 1, "a": 2}}).physical.decoding == Extend(("b", "a"), frozenset("ab"), frozenset("ab"))
    assert not isinstance(planned({"set": {"b.c": 1}}).physical.decoding, Extend)


def test_columns_of_csv_become_columns_of_parquet() -> None:
    table = {"deserializer": "csv", "exporter_options": {"formatter": "parquet"}}
    assert planned({"types": {"a": "integer"}, "rename": {"b": "c"}}, **table).physical.decoding == MakeColumns()
    assert why(planned({"trim": ["a.b"]}, **table), "columns-made") == "transform works on records"


def test_columns_of_parquet_are_chosen_and_renamed_as_columns(tmp_path: Path) -> None:
    table = {"deserializer": "parquet", "exporter_options": {"formatter": "parquet"}}
    assert planned({"rename": {"a": "b"}, "select": ["b"]}, **table).physical.decoding == Columns(None, frozenset())
    for options in ({"trim": ["a"]}, {"rename": {"a": "b", "b": "a"}}, {"drop": ["a.b"]}, {"set": {"a": 1}}):
        assert why(planned(options, **table), "columns-kept") == "transform looks at records"
    rows = pa.table({"a": [1, 2, 3], "b": pa.array([1, None, 3], pa.int32()), "c": ["x", "y", "z"]})
    pq.write_table(rows, tmp_path / "in.parquet")
    given = config(tmp_path / "in", {"drop": ["c"], "rename": {"a": "id"}, "select": ["b", "id", "d"]}, **table)
    given["reader"]["options"]["input"] = str(tmp_path / "in.parquet")
    given["filter_before"] = {"name": "pythonexp", "options": {"python_expression": "item['a'] > 1"}}
    assert isinstance(make(spec.load(given)).physical.decoding, Columns)
    found = outcome({**given, "decompressor": "none"})
    given["exporter_options"] = {"formatter": "parquet", "pushdown": False}
    assert found == outcome({**given, "decompressor": "none"})
    assert found.warnings == ("transform: no record has the field d",)
    read = pq.read_table(pa.BufferReader(found.groups[()]))
    assert read.to_pydict() == {"b": [None, 3], "id": [2, 3]} and read.schema.field("b").type == pa.int32()


def test_a_field_that_no_record_has_is_warned_of_also_in_columns(tmp_path: Path) -> None:
    (tmp_path / "in.jl").write_text("name,price\nx,1\n")
    options = {
        "rename": {"nmae": "title"},
        "types": {"title": "text", "price": "number", "x": "text"},
        "default": {"x": "", "y": 1},
    }
    rows = config(tmp_path / "in", options, deserializer="csv", decompressor="none")
    for settings in ({"formatter": "parquet"}, {"formatter": "parquet", "pushdown": False}, {}):
        found = outcome({**rows, "exporter_options": settings})
        assert found.warnings == ("transform: no record has the field nmae; did you mean name?",)


def run(tmp_path: Path, given: dict[str, Any], *more: str) -> int:
    (tmp_path / "c.json").write_text(json.dumps(given))
    return main(["run", str(tmp_path / "c.json"), *more])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_key_is_read_on_the_workers_and_told_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    monkeypatch.setenv("HASH_KEY", "opensesame")
    (tmp_path / "in.jl").write_text('{"phone":"5550100"}\n{"phone":7}\n')
    options = {"hash": {"phone": "hmac_sha256"}, "hash_key": "${secret:env:HASH_KEY}"}
    assert run(tmp_path, config(tmp_path / "in", options), "--workers", workers) == 0
    (delivered,) = (tmp_path / "in-out").glob("*.jl")
    expected = [hmac.new(b"opensesame", text, hashlib.sha256).hexdigest() for text in (b"5550100", b"7")]
    assert [json.loads(line)["phone"] for line in delivered.read_text().splitlines()] == expected
    assert main(["explain", str(tmp_path / "c.json")]) == 0
    told = "".join((*capsys.readouterr(), *(path.read_text() for path in (tmp_path / "in-out").rglob("*.json"))))
    assert "opensesame" not in told and "hash_key=***" in told


def test_what_cannot_be_converted_is_a_dead_letter_with_path_and_value(tmp_path: Path) -> None:
    (tmp_path / "in.jl").write_text('{"o":[{"p":"1"}],"k":" a "}\n{"o":[{},{"p":"abc"}],"k":" b "}\n')
    options = {"trim": ["k"], "types": {"o[].p": "number"}}
    found = outcome(config(tmp_path / "in", options, on_error="dead_letter", decompressor="none"))
    assert found.groups == {(): b'{"o":[{"p":1.0}],"k":"a"}'}
    (letter,) = found.letters
    assert letter["message"] == 'o[1].p: "abc" is not a number' and letter["step"] == "transform"
    assert letter["record"] == {"o": [{}, {"p": "abc"}], "k": " b "}
    failed = outcome(config(tmp_path / "in", options, decompressor="none"))
    assert 'o[1].p: "abc" is not a number' in failed.error


def test_a_date_of_the_run_belongs_to_the_export(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n1\n")
    options = {"set": {"day": {"run_date": "%Y-%m-%d"}}, "types": {"day": "date", "a": "integer"}}
    given = config(tmp_path / "in", options, deserializer="csv", exporter_options={"formatter": "parquet"})
    given["reader"]["options"]["input"] = str(tmp_path / "in.csv")
    made = spec.load(given)
    first, again, next_day = (make(made, datetime(2026, 1, day, 10)) for day in (1, 1, 2))
    assert first.export_id == again.export_id != next_day.export_id
    assert run(tmp_path, given, "--workers", "1") == 0
    (delivered,) = (tmp_path / "in-out").glob("*.parquet")
    assert pq.read_table(delivered).to_pylist() == [{"a": 1, "day": datetime.now().date()}]
