"""The transform lookup: which rows belong to which records, what is wrong with tables, and that all workers have the same."""

from __future__ import annotations

import gzip
import json
import pickle
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.components.options import build
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.planning.plan import make
from exporters_beam.runners.tables import fixed
from exporters_beam.stages import Extend
from exporters_beam.transforms.lookup import LookupTransform

from helpers import visible

PAGE = (Path(__file__).parents[2] / "docs" / "shapes.md").read_text(encoding="utf-8")

SHOPS = "id,name,open\n7,North,yes\n8,South,\n"


def lookup(file: Path, **options: Any) -> Any:
    made = build(LookupTransform, {"file": str(file), **options}).fixed()
    again = pickle.loads(pickle.dumps(made))
    assert again == made and again.digest == made.digest
    again.setup()
    return again


def table(folder: Path, name: str, content: bytes | str = SHOPS) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_record_gets_the_columns_of_its_row(tmp_path: Path) -> None:
    made = lookup(table(tmp_path, "shops.csv"), key={"shop.id": "id"}, prefix="shop_")
    found = [made.map({"shop": {"id": value}}) for value in ("7", 7, "8", 9, None)]
    north, south = {"shop_name": "North", "shop_open": "yes"}, {"shop_name": "South", "shop_open": ""}
    nothing = {"shop_name": None, "shop_open": None}
    assert [{k: v for k, v in r.items() if k != "shop"} for r in found] == [north, north, south, nothing, nothing]
    assert made.map({}) == nothing and list(found[0]) == ["shop", "shop_name", "shop_open"]
    assert made.counted() == {"matched": 3, "unmatched": 3} and made.counted() == {}


def test_columns_stand_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    made = lookup(table(tmp_path, "shops.tsv", SHOPS.replace(",", "\t")), key="id", columns=["open", "name"])
    assert json.dumps(made.map({"id": 7})) == '{"id": 7, "open": "yes", "name": "North"}'
    assert made.adds == ("open", "name") and made.reads == {"open", "name", "id"}


LINES = (
    b'{"id":7,"k":true,"tags":["a"]}\n\n{"id":"7","k":false,"more":null}\n{"id":true}\n{"id":[1,{"b":1,"a":2}]}\n{"id":null}\n'
)


def test_values_are_equal_as_those_of_json_are(tmp_path: Path) -> None:
    made = lookup(table(tmp_path, "t.jl.gz", gzip.compress(LINES)), key="id", columns=["tags", "k"])
    values: list[Any] = [7, 7.0, Decimal(7), "7", True, 1, [1, {"a": 2, "b": 1}], None, float("nan")]
    assert [made.map({"id": value})["k"] for value in values] == [True, True, True, False, None, None, None, None, None]
    assert made.counted() == {"matched": 6, "unmatched": 3}
    one, two = made.map({"id": 7}), made.map({"id": 7})
    one["tags"].append("b")
    assert two["tags"] == ["a"] == made.map({"id": 7})["tags"], "later steps may change each record by itself"


def test_tables_of_parquet_keep_their_types(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"day": [date(2026, 11, 28)], "cc": ["DK"], "n": pa.array([5], pa.int32())}), tmp_path / "t.parquet"
    )
    made = lookup(tmp_path / "t.parquet", key=["day", "cc"])
    assert made.map({"day": "2026-11-28", "cc": "DK"})["n"] == 5
    assert made.map({"day": date(2026, 11, 28), "cc": "SE"})["n"] is None


def test_inner_drops_and_required_refuses_what_has_no_match(tmp_path: Path) -> None:
    path = table(tmp_path, "shops.csv")
    inner = lookup(path, key="id", how="inner")
    assert not hasattr(inner, "map") and not hasattr(lookup(path, key="id"), "flat_map") and inner.adds is None
    assert [list(inner.flat_map({"id": n})) for n in (7, 9)] == [[{"id": 7, "name": "North", "open": "yes"}], []]
    assert inner.counted() == {"matched": 1, "unmatched": 1}
    with pytest.raises(RecordError) as caught:
        lookup(path, key="id", how="required").map({"id": 9})
    assert str(caught.value) == f"{path} has no row for id 9"


def test_a_field_that_is_there_already_is_an_error_unless_it_is_said_whose_stays(tmp_path: Path) -> None:
    path, record = table(tmp_path, "shops.csv"), {"id": 7, "open": "no"}
    with pytest.raises(RecordError) as caught:
        lookup(path, key="id").map(record)
    assert str(caught.value) == (
        "the record has a field open, and so has the table; give prefix, or say with on_conflict whose stays: record or table"
    )
    assert record == {"id": 7, "open": "no"}
    assert lookup(path, key="id", on_conflict="record").map(dict(record)) == {"id": 7, "open": "no", "name": "North"}
    assert lookup(path, key="id", on_conflict="table").map(dict(record)) == {"id": 7, "open": "yes", "name": "North"}


@pytest.mark.parametrize(("name", "content", "options", "told"), [
    ("t.csv", "id,n\n1,a\n2,b\n1,c\n", {},
     'file: {file}: rows 1 and 3 are both of id "1"; remove one, or say with duplicates which counts: first or last'),
    ("t.csv", SHOPS, {"columns": ["nmae"]}, 'columns: {file} has no column nmae; did you mean "name"?'),
    ("t.csv", SHOPS, {"key": {"id": "Id"}}, 'key: {file} has no column Id; did you mean "id"?'),
    ("t.jl", '{"id":1}\n\n{"id":', {}, "file: {file}: row 3: "),
    ("t.csv.gz", SHOPS, {}, "file: {file}: "),
    ("t.parquet", "PAR1", {}, "file: {file}: "),
    ("t.csv", SHOPS, {"max_bytes": 9},
     "max_bytes: the table has more than 9 bytes, and every worker holds all of it; allow more, or make it smaller"),
    ("t.jl.gz", gzip.compress(b'{"id":1}' + b" " * 5000, mtime=0), {"max_bytes": 2000},
     "max_bytes: the table has more than 2,000 bytes"),
    ("other.csv", SHOPS, {"file": "missing.csv"}, "file: missing.csv: No such file or directory"),
])  # fmt: skip
def test_what_is_wrong_with_a_table_is_told_when_the_export_begins(
    name: str, content: Any, options: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path, name, content)
    step = {"name": "lookup", "options": {"file": name, "key": "id", **options}}
    plan = make(load({"reader": "random", "writer": "console", "transform": ["sort_keys", step]}, environ={}))
    with pytest.raises(ConfigError) as caught:
        fixed(plan)
    (problem,) = map(str, caught.value.problems)
    assert problem.startswith(f"transform[1].options.{told.format(file=name)}") and "\n" not in problem


def test_of_rows_with_one_key_the_first_or_the_last_counts(tmp_path: Path) -> None:
    path = table(tmp_path, "t.csv", "id,n\n1,a\n2,b\n1,c\n")
    assert lookup(path, key="id", duplicates="first").map({"id": 1})["n"] == "a"
    assert lookup(path, key="id", duplicates="last").map({"id": 1})["n"] == "c"


@pytest.mark.parametrize(("options", "told"), [
    ({"key": "id"}, "file: this option is missing"),
    ({"file": "t.csv"}, "key: this option is missing"),
    ({"file": "t.csv", "key": []}, "key: name the field and the column that have to be equal, {shop.id: id}"),
    ({"file": "t.csv", "key": {"a": 7}}, 'key: {"a": 7} does not name a field and a column'),
    ({"file": "t", "key": "id"}, "format: the name 't' does not say it; give one of avro, csv, json, jsonlines, parquet"),
    ({"file": "s4://t.csv", "key": "id"}, "file: s4://t.csv is not a URL of a storage; known: az://,"),
    ({"file": "t.csv", "key": "id", "columns": ["a", "a"]}, "columns: a is named twice"),
    ({"file": "t.csv", "key": "id", "how": "outer"}, 'how: the string "outer" is not one of the choices; '),
    ({"file": "t.csv", "key": "id", "format_options": {"delimter": ";"}},
     'format_options.delimter: unknown option; did you mean "delimiter"?'),
    ({"file": "t.csv", "key": "id", "format_options": {"delimiter": ";;"}}, "format_options: delimiter: "),
    ({"file": "t.csv", "key": "id", "colums": ["a"]}, 'colums: unknown option; did you mean "columns"?'),
])  # fmt: skip
def test_what_is_wrong_with_options_is_told_with_its_place(options: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"reader": "random", "writer": "console", "transform": {"name": "lookup", "options": options}}, environ={})
    (problem,) = map(str, caught.value.problems)
    assert problem.startswith(f"transform.options.{told}")


def test_a_worker_that_finds_another_table_says_so(tmp_path: Path) -> None:
    path = table(tmp_path, "shops.csv")
    made = build(LookupTransform, {"file": str(path), "key": "id"}).fixed()
    path.write_text(SHOPS + "9,East,no\n")
    with pytest.raises(SourceError) as caught:
        made.setup()
    assert str(caught.value) == f"lookup: {path}: it has changed since the export began; run the export again"
    path.unlink()
    with pytest.raises(SourceError, match="No such file or directory"):
        pickle.loads(pickle.dumps(made)).setup()


def test_a_table_in_a_storage_is_read_by_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from exporters_beam.storages.http import HttpStorage

    class Local:
        def stat(self, name: str) -> str:
            return name

        def open(self, found: str) -> Any:
            return open(found, "rb")

    path = table(tmp_path, "shops.csv")
    monkeypatch.setattr(HttpStorage, "of_url", lambda url: (Local(), str(path)))
    made = lookup("https://me:secret@example.com/shops.csv", key="id")  # type: ignore[arg-type]
    assert made.map({"id": 8})["name"] == "South"
    assert "secret" not in made.beside


def test_named_columns_stand_behind_lines_that_are_handed_on(tmp_path: Path) -> None:
    step = {"name": "lookup", "options": {"file": str(table(tmp_path, "shops.csv")), "key": "id", "columns": ["name"]}}
    reader, writer = {"name": "fs", "options": {"input": "in.jl"}}, {"name": "fs", "options": {"filebase": "x"}}
    plan = make(load({"reader": reader, "writer": writer, "transform": step}))
    assert plan.physical.decoding == Extend(("name",), frozenset({"id", "name"}), frozenset({"id", "name"}))


def test_check_reads_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, "shops.csv")
    config = {
        "reader": "random",
        "writer": "console",
        "transform": {"name": "lookup", "options": {"file": str(path), "key": "ID"}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["validate", str(tmp_path / "config.json")]) == 0
    assert main(["check", str(tmp_path / "config.json")]) == 1
    assert f'{path} has no column ID; did you mean "id"?' in "".join(capsys.readouterr())


def test_two_workers_deliver_what_one_does_with_every_step_of_the_page(tmp_path: Path) -> None:
    for n in range(3):
        records = [{"at": f"2026-11-2{k % 3}", "cc": k % 4, "l": [{"v": i} for i in range(k % 5)]} for k in range(n, 300)]
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{n}.jl").write_text("".join(json.dumps(record) + "\n" for record in records))
    path = table(tmp_path, "t.csv", "cc,name\n0,DK\n1,a/b\n2,\n")
    config: dict[str, Any] = {
        "reader": {"name": "fs", "options": {"input": {"dir": f"{tmp_path}/in"}}},
        "filter_before": {"name": "sample", "options": {"rate": 0.5}},
        "transform": [
            {"name": "explode", "options": {"field": "l", "merge": True}},
            {"name": "lookup", "options": {"file": str(path), "key": "cc"}},
            "sort_keys",
        ],
        "partition_by": ["name", {"day": "at"}],
    }
    found = []
    for workers in (1, 2):
        writer = {"name": "fs", "options": {"filebase": f"{tmp_path}/out{workers}/part-", "compression": "none"}}
        report = exporters_beam.run({**config, "writer": writer}, workers=workers)
        files = {name: path.read_bytes() for name, path in visible(tmp_path / f"out{workers}").items()}
        found.append((files, report.counts, report.warnings))
    assert found[0] == found[1] and found[0][1]["transform_2.unmatched"] > 0
    assert "name=__HIVE_DEFAULT_PARTITION__/day=2026-11-20/part-0000.jl" in found[0][0]


def test_the_page_says_what_it_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = PAGE.partition("\n## What a table says of a record\n")[2]
    config, shops, lines, summary = re.findall(r"```(?:yaml lookup|csv|json)?\n(.*?)```", section, re.DOTALL)[:4]
    table(tmp_path, "shops.csv", shops)
    report = exporters_beam.run(yaml.safe_load(config))
    assert Path("out/offers-0000.jl").read_text() == lines
    assert summary in report.summary()
    table(tmp_path, "shops.csv", "id,name,country\nx,y,z\n")
    assert exporters_beam.run(yaml.safe_load(config)).warnings == (
        "transform: none of 3 records has a match in the table; are its keys written as theirs?",
    )
