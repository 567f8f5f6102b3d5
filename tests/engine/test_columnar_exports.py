"""An export that keeps columns as columns delivers, counts and says what one over records does."""

from __future__ import annotations

import datetime
import json
import math
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import exporters_beam
from exporters_beam import stages
from exporters_beam.config import spec
from exporters_beam.engine.columns import Columns, SiftColumns
from exporters_beam.engine.graph import source_of
from exporters_beam.errors import ExportError
from exporters_beam.planning import explain
from exporters_beam.planning.plan import make
from exporters_beam.records import Chunk

from helpers import visible

TOWNS = ("Leeds", "León", "東京", "", None)


def rows(count: int, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    often = lambda value: value if rng.random() > 0.1 else None  # noqa: E731
    day = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)
    return {
        "id": pa.array(range(count), pa.int32()),
        "town": [rng.choice(TOWNS) for _ in range(count)],
        "price": [often(rng.choice([math.nan, -0.0, 0.0, 1.5])) for _ in range(count)],
        "cost": pa.array([often(Decimal(rng.randint(-999, 999)) / 100) for _ in range(count)], pa.decimal128(9, 2)),
        "at": pa.array([often(day + datetime.timedelta(seconds=i)) for i in range(count)], pa.timestamp("ms", "Europe/Madrid")),
        "tags": [often([rng.choice("ab")] * rng.randint(0, 2)) for _ in range(count)],
        "seller": [often({"n": often(rng.randint(0, 9)), "lines": [{"sku": "x"}]}) for _ in range(count)],
        "never": pa.array([None] * count, pa.string()),
    }


def folder(tmp_path: Path, **more: Any) -> Path:
    source = tmp_path / "in"
    source.mkdir(exist_ok=True)
    for n, count in enumerate((150, 0, 7)):
        columns = {**rows(count, n), **{name: values[:count] for name, values in more.items()}}
        pq.write_table(pa.table(columns), source / f"{n}.parquet", row_group_size=40)
    return source


def config(source: Path, out: Path, pushdown: bool, **sections: Any) -> dict[str, Any]:
    more = sections.pop("exporter_options", {})
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": str(source)}}},
        "deserializer": {"name": "parquet"},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", **sections.pop("options", {})}},
        "exporter_options": {"formatter": {"name": "parquet"}, "pushdown": pushdown, **more},
        **sections,
    }


def told(source: Path, out: Path, pushdown: bool, **sections: Any) -> tuple[Any, ...]:
    """What an export delivered, counted, set aside and said."""
    settings = config(source, out, pushdown, **sections)
    plan = make(spec.load(settings))
    assert isinstance(plan.physical.decoding, stages.Columns) is pushdown
    try:
        report = exporters_beam.run(settings)
    except ExportError as error:
        return ("failed", str(error))
    letters = [
        {key: value for key, value in json.loads(line).items() if key != "export"}
        for path in sorted(out.rglob("dead-letters*"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return {name: path.read_bytes() for name, path in visible(out).items()}, report.counts, letters


def equal(name: str, value: Any, **options: Any) -> dict[str, Any]:
    return {"name": "key_value", "options": {"keys": [{"name": name, "value": value, **options}]}}


CASES: dict[str, dict[str, Any]] = {
    "everything": {},
    "text": {"filter": equal("town", "León")},
    "null": {"filter": equal("town", None)},
    "nothing": {"filter": equal("town", "Oz")},
    "missing column": {"filter": equal("city", "Oz")},
    "regex": {"filter": {"name": "key_value_regex", "options": {"keys": [{"name": "town", "value": "L|東"}]}}},
    "number as text": {"filter": {"name": "key_value_regex", "options": {"keys": [{"name": "price", "value": "-"}]}}},
    "not a number": {"filter": equal("price", 0)},
    "one row group": {"filter": equal("id", 77)},
    "few row groups": {"filter": equal("id", [3, 149.0, True, "x"], operator="in")},
    "no row group": {"filter": equal("id", -1)},
    "numbers in a text": {"filter": equal("id", "77")},
    "nested": {"filter": equal("seller.n", [1, 2, 3], operator="in")},
    "list": {"filter": equal("tags", "a", operator="contains")},
    "decimal": {"filter": {"name": "pythonexp", "options": {"python_expression": "(item['cost'] or 0) > 1"}}},
    "two files": {"filter": equal("town", "Leeds"), "options": {"items_per_buffer_write": 10}},
    "chosen columns": {
        "deserializer": {"name": "parquet", "options": {"columns": ["town", "at", "seller.n"]}},
        "filter": equal("town", "Leeds"),
    },
    "given schema": {
        "filter": equal("town", "Leeds"),
        "exporter_options": {
            "formatter": {
                "name": "parquet",
                "options": {
                    "unknown_fields": "drop",
                    "schema": {
                        "properties": {
                            "id": {"type": "integer"},
                            "at": {"type": ["string", "null"], "format": "date-time"},
                            "tags": {"type": ["array", "null"], "items": {"type": "string"}},
                        }
                    },
                },
            }
        },
    },
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_with_and_without(case: str, tmp_path: Path) -> None:
    source = folder(tmp_path)
    expected = told(source, tmp_path / "out", False, **CASES[case])
    for path in visible(tmp_path / "out").values():
        path.unlink()
    assert told(source, tmp_path / "out", True, **CASES[case]) == expected


FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "undecodable": ({"ns": pa.array([1000 * (i % 50 != 33) + 1 * (i % 50 == 33) for i in range(150)], pa.timestamp("ns"))}, {}),
    "too large": ({"big": pa.array([2**64 - 1 if i % 60 == 5 else i for i in range(150)], pa.uint64())}, {
        "exporter_options": {"formatter": {"name": "parquet", "options": {
            "schema": {"properties": {"id": {"type": "integer"}, "big": {"type": "integer"}}}, "unknown_fields": "drop"}}}}),
    "unjudged": ({}, {"filter": {"name": "pythonexp", "options": {"python_expression": "item['price'] > 0"}}}),
    "unfit": ({}, {"exporter_options": {"formatter": {"name": "parquet", "options": {
        "schema": {"properties": {"id": {"type": "integer"}, "town": {"type": "string"}}, "required": ["town"]},
        "unknown_fields": "drop"}}}}),
}  # fmt: skip


@pytest.mark.parametrize("action", ["fail", "skip", "dead_letter"])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_the_same_with_and_without(fault: str, action: str, tmp_path: Path) -> None:
    columns, sections = FAULTS[fault]
    source = folder(tmp_path, **columns)
    sections = {
        "filter": equal("town", ["Leeds", "León", None], operator="in"),
        "on_error": {"action": action},
        **sections,
    }
    expected = told(source, tmp_path / "out", False, **sections)
    assert bool(expected[2]) is (action == "dead_letter") if action != "fail" else expected[0] == "failed"
    for path in visible(tmp_path / "out").values():
        path.unlink()
    assert told(source, tmp_path / "out", True, **sections) == expected


def test_columns_stay_columns(tmp_path: Path) -> None:
    source = folder(tmp_path)
    plan = make(spec.load(config(source, tmp_path / "out", True, filter=equal("town", "Leeds"))))
    reading = source_of(plan)
    sift = SiftColumns([], reading, plan.steps[0], plan.on_error)
    sift.setup()
    sift.start_bundle()
    unit = next(iter(reading.units()))
    found = [e for _, chunk, _ in reading.events(unit, (0, 4)) if isinstance(chunk, Chunk) for e in sift.process(chunk)]
    assert found and {type(what) for what in found} == {Columns}
    towns = pq.read_table(source / "0.parquet")["town"].to_pylist()
    numbers = [what.chunk.first + int(n) + 40 * what.chunk.range for what in found for n in what.numbers]
    assert numbers == [n for n, town in enumerate(towns) if town == "Leeds"]
    for what in found:
        assert plan.format.encode_columns(what.batch)


def test_only_needed_columns_are_read_and_explain_says_so(tmp_path: Path) -> None:
    settings = config(tmp_path, tmp_path / "out", True, **CASES["given schema"])
    plan = make(spec.load(settings))
    assert plan.physical.decoding.read == {"id", "at", "tags", "town"}
    assert "only at, id, tags, town are read" in explain.text(plan)
    letters = make(spec.load({**settings, "on_error": {"action": "dead_letter"}}))
    assert letters.physical.decoding.read is None


@pytest.mark.parametrize(
    "sections",
    [
        {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(a=1)"]}}},
        {"options": {"items_limit": 3}},
        {"grouper": {"name": "file_key", "options": {"keys": ["town"]}}},
        {"filter": {"name": "python", "options": {"function": "builtins:bool"}}},
    ],
)
def test_where_records_are_looked_at_they_are_records(sections: dict[str, Any], tmp_path: Path) -> None:
    out = "{groups[0]}" if "grouper" in sections else "out"
    assert make(spec.load(config(tmp_path, tmp_path / out, True, **sections))).physical.decoding.representation == "rows"


@pytest.mark.parametrize("formatter", ["parquet", "json"])
def test_row_groups_that_hold_nothing_to_keep_are_not_read(formatter: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    path = source / "0.parquet"
    pq.write_table(pa.table({"id": range(1000), "t": ["x" * 50] * 1000}), path, row_group_size=100)
    data = bytearray(path.read_bytes())
    about = pq.ParquetFile(path).metadata.row_group(3)
    at = about.column(0).data_page_offset or 0
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    found = {}
    for wanted in (250, 333):
        settings = config(source, tmp_path / f"out{wanted}", True, filter=equal("id", wanted))
        settings["exporter_options"]["formatter"] = {"name": formatter}
        try:
            found[wanted] = exporters_beam.run(settings).counts
        except ExportError as error:
            found[wanted] = str(error)
    assert (found[250]["read"], found[250]["filter_before.dropped"], found[250]["kept"]) == (1000, 999, 1)
    assert "damaged in row group 3" in found[333]
    assert "row groups are not read where" in explain.text(make(spec.load(settings)))
    settings["exporter_options"]["pushdown"] = False
    with pytest.raises(ExportError, match="damaged in row group 3"):
        exporters_beam.run({**settings, "filter": equal("id", 250)})
