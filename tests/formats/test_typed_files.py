"""Whole exports to Parquet and Avro: the types of their files, and what does not fit them."""

from __future__ import annotations

import datetime
import io
import json
import tempfile
import uuid
from copy import deepcopy
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from shared import SHARED, needs_shared

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.errors import DestinationError, ExportError, RecordError
from exporters_beam.formats.parquet import ParquetFormat
from exporters_beam.formats.tables import arrow as columns
from exporters_beam.formats.tables import kept
from exporters_beam.formats.tables.types import infer
from exporters_beam.reporting.verify import verify

from examples import at_least
from helpers import visible


def config(out: Path, source: Any, form: str, deserializer: str = "", **more: Any) -> dict[str, Any]:
    """An export of `source` to files in `out`; `options` are the formatter's."""
    return {
        "reader": {"name": "fs", "options": {"input": source}},
        **({"deserializer": {"name": deserializer}} if deserializer else {}),
        "formatter": {"name": form, "options": more.pop("options", {})},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", "compression": "none"}},
        **more,
    }


def records_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return list(fastavro.reader(io.BytesIO(path.read_bytes())))


def run(settings: dict[str, Any], out: Path, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The report, and the records of all files, in the order of their names; what was delivered is verified."""
    report = exporters_beam.run(settings, **options)
    assert verify(report.manifest)[0] == []
    return report, [record for path in visible(out).values() for record in records_of(path)]


def letters_of(report: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(report.dead_letters["name"]).read_bytes().splitlines()]


# Texts to declared types

SHOP = {
    "parquet": {
        "properties": {
            "id": {"type": "integer"},
            "price": {"type": ["number", "null"]},
            "in_stock": {"type": "boolean"},
            "sold": {"type": ["string", "null"], "format": "date"},
        }
    },
    "avro": {
        "type": "record",
        "name": "Shop",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "price", "type": ["null", "double"]},
            {"name": "in_stock", "type": "boolean"},
            {"name": "sold", "type": ["null", {"type": "int", "logicalType": "date"}]},
        ],
    },
}
SOLD = [(1, 2.5, True, datetime.date(2024, 1, 2)), (2, None, False, None)]


@needs_shared
@pytest.mark.parametrize("form", SHOP)
def test_case_17_csv_to_typed_columns(form: str, tmp_path: Path) -> None:
    source = str(SHARED / "cases" / "17-csv-to-typed-columns" / "in.csv")
    _, records = run(config(tmp_path, source, form, "csv", options={"schema": SHOP[form]}), tmp_path)
    assert [tuple(record.values()) for record in records] == SOLD


@pytest.mark.parametrize("form", SHOP)
@pytest.mark.parametrize("deserializer", ["csv", "xml", "jsonlines"])
def test_texts_that_do_not_fit_are_errors_of_their_records(form: str, deserializer: str, tmp_path: Path) -> None:
    rows = [("1", "2.50", "true", "2024-01-02"), ("2", "", "False", ""), (" 3", "", "true", ""), ("4", "1,5", "true", ""),
            ("5", "", "yes", ""), ("6", "", "true", "2024-1-2")]  # fmt: skip
    names = ("id", "price", "in_stock", "sold")
    text = {
        "csv": lambda: "\n".join(",".join(f'"{value}"' for value in row) for row in [names, *rows]),
        "xml": lambda: "<r>" + "".join(
            f"<item>{''.join(f'<{n}>{v}</{n}>' for n, v in zip(names, row, strict=True))}</item>" for row in rows) + "</r>",
        "jsonlines": lambda: "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows),
    }[deserializer]()  # fmt: skip
    (tmp_path / "in").write_text(text)
    settings = config(tmp_path / "out", str(tmp_path / "in"), form, deserializer, options={"schema": SHOP[form]})
    report, records = run({**settings, "on_error": "dead_letter"}, tmp_path / "out")
    assert [tuple(record.values()) for record in records] == SOLD
    assert [letter["number"] for letter in letters_of(report)] == [3, 4, 5, 6]
    assert [letter["message"].partition(",")[0] for letter in letters_of(report)] == [
        "field id: ' 3' is not an integer of int64",
        "field price: '1",
        "field in_stock: 'yes' is not true or false",
        "field sold: '2024-1-2' is not a date (2026-01-31)",
    ]
    with pytest.raises(ExportError, match="record 3: formatter: field id: ' 3' is not an integer"):
        exporters_beam.run(settings)


# Types that are kept

N = 6


def column(value: Any, type_: Any) -> pa.Array:
    return pa.array([value if n % 2 else None for n in range(N)], type_)


def every_type() -> pa.Table:
    noon, time = datetime.datetime(2020, 1, 2, 12), datetime.time(1, 2, 3)
    columns = {
        "id": pa.array(range(N), pa.int32()),
        "int8": column(-7, pa.int8()),
        "uint8": column(200, pa.uint8()),
        "uint32": column(2**32 - 1, pa.uint32()),
        "uint64": column(2**64 - 1, pa.uint64()),
        "float32": column(1.5, pa.float32()),
        "text": column("x", pa.string()),
        "large": column("x", pa.large_string()),
        "dictionary": column("x", pa.string()).dictionary_encode(),
        "binary": column(b"x", pa.binary()),
        "fixed": column(b"abcd", pa.binary(4)),
        "date": column(noon.date(), pa.date32()),
        "decimal": column(Decimal("12.50"), pa.decimal128(10, 2)),
        "wide": column(Decimal("12.50"), pa.decimal256(50, 2)),
        "millis": column(time, pa.time32("ms")),
        "micros": column(time, pa.time64("us")),
        "local": column(noon, pa.timestamp("ms")),
        "instant": column(noon, pa.timestamp("ms", "UTC")),
        "berlin": column(noon, pa.timestamp("us", "Europe/Berlin")),
        "nanos": column(noon, pa.timestamp("ns")),
        "flag": column(True, pa.bool_()),
        "map": column([("a", 1)], pa.map_(pa.string(), pa.int32())),
        "numbered": column([(1, 1.5)], pa.map_(pa.int32(), pa.float32())),
        "struct": column({"x": 1, "y": [1, 2]}, pa.struct([("x", pa.int8()), ("y", pa.list_(pa.int16()))])),
        "list": column([{"q": Decimal("1.5")}], pa.list_(pa.struct([pa.field("q", pa.decimal128(5, 1), False)]))),
        "empty": column([], pa.list_(pa.int32())),
        "nulls": pa.nulls(N, pa.int16()),
        "none": pa.nulls(N),
    }
    fields = [pa.field(name, array.type, nullable=name != "id") for name, array in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


ALONE: dict[str, dict[str, Any]] = {
    "columns": {},
    "records": {"exporter_options": {"pushdown": False}},
    "filter": {"filter": {"name": "pythonexp", "options": {"python_expression": "item['id'] > -1"}}},
    "transform": {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(text='y')"]}}},
    "limit": {"options": {"items_limit": N}},
    "dupe": {"filter": {"name": "dupe", "options": {"key_field": "id"}}},
    "groups": {
        "grouper": {"name": "file_key", "options": {"keys": ["id"]}},
        "options": {"filebase": "{groups[0]}/part-"},
    },
}


def schemas_of(out: Path) -> list[pa.Schema]:
    return [pq.read_schema(path).remove_metadata() for path in visible(out).values()]


def typed(out: Path, source: Any, **more: Any) -> dict[str, Any]:
    options = more.pop("options", {})
    options["filebase"] = f"{out}/{options.get('filebase', 'part-')}"
    return {**config(out, source, "parquet", "parquet", **more), "writer": {"name": "fs", "options": options}}


@pytest.mark.parametrize("way", ALONE)
def test_parquet_columns_keep_their_types(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters_beam.engine.encode.BLOCK_RECORDS", 2)
    table = every_type()
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    _, records = run(typed(tmp_path / "out", str(tmp_path / "in.parquet"), **deepcopy(ALONE[way])), tmp_path / "out")
    changed = {"text": "y"} if way == "transform" else {}
    assert records == [record | changed for record in table.to_pylist()]
    found = schemas_of(tmp_path / "out")
    assert len(found) == (N if way == "groups" else 1)
    source = pq.read_schema(tmp_path / "in.parquet").remove_metadata()
    for schema in found:
        assert {f.name: (str(f.type), f.nullable) for f in schema} == {f.name: (str(f.type), f.nullable) for f in source}


@needs_shared
@pytest.mark.parametrize("name", ["same", "group"])
def test_case_20_parquet(name: str, tmp_path: Path) -> None:
    source = SHARED / "cases" / "20-parquet-types" / "in.parquet"
    more = deepcopy(ALONE["groups" if name == "group" else "columns"])
    _, records = run(typed(tmp_path, str(source), **more), tmp_path)
    assert sorted(map(repr, records)) == sorted(map(repr, pq.read_table(source).to_pylist()))
    assert all(schema.equals(pq.read_schema(source).remove_metadata()) for schema in schemas_of(tmp_path))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("item.update(id=item['id'] * 2**40)", "int64"),
        ("item.update(id=str(item['id']))", "string"),
        ("item.update(id=item['id'] / 2)", "double"),
        ("item.update(id=None if item['id'] == 4 else item['id'])", "int32"),
        ("item.pop('id')", None),
        ("item.update(id=item['id'] + 1)", "int32"),
    ],
)
@pytest.mark.parametrize("rows", [2, 100])
def test_a_changed_column_has_the_type_of_its_values(
    change: str, expected: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters_beam.engine.encode.BLOCK_RECORDS", rows)
    table = every_type().select(["id", "float32", "map"])
    pq.write_table(table, tmp_path / "in.parquet")
    transform = {"name": "pythonexp", "options": {"python_expressions": [change]}}
    run(typed(tmp_path / "out", str(tmp_path / "in.parquet"), transform=transform), tmp_path / "out")
    (schema,) = schemas_of(tmp_path / "out")
    kept = {"float32": "float", "map": "map<string, int32>"}
    assert {f.name: str(f.type).replace(" ('map')", "") for f in schema} == {
        **({"id": expected} if expected else {}), **kept
    }  # fmt: skip


PAIRS = [
    (pa.int32(), pa.int64(), "int64"),
    (pa.uint8(), pa.int8(), "int16"),
    (pa.uint64(), pa.int8(), "int64"),
    (pa.float32(), pa.float64(), "double"),
    (pa.int32(), pa.float32(), "double"),
    (pa.decimal128(5, 2), pa.decimal128(10, 4), "decimal128(10, 4)"),
    (pa.timestamp("ms", "UTC"), pa.timestamp("us", "Europe/Berlin"), "timestamp[us, tz=UTC]"),
    (pa.string(), pa.large_string(), "string"),
    (pa.null(), pa.int16(), "int16"),
    (pa.list_(pa.int8()), pa.list_(pa.int32()), "list<element: int32>"),
    (pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int64()), "map<string, int64 ('a')>"),
]
EXAMPLES: dict[str, Any] = {
    "float": 1.5, "double": 1.5, "string": "x", "large_string": "x", "null": None,
    "decimal128(5, 2)": Decimal("1.25"), "decimal128(10, 4)": Decimal("2.1250"),
    "timestamp[ms, tz=UTC]": datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
    "timestamp[us, tz=Europe/Berlin]": datetime.datetime(2021, 1, 1, tzinfo=datetime.timezone.utc),
}  # fmt: skip


def example(type_: Any) -> Any:
    if pa.types.is_map(type_):
        return [("k", 1)]
    return [1, 2] if pa.types.is_list(type_) else EXAMPLES.get(str(type_), 7)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(("first", "second", "expected"), PAIRS, ids=[f"{a}+{b}" for a, b, _ in PAIRS])
def test_files_that_differ_have_what_holds_both(first: Any, second: Any, expected: str, swap: bool, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    expected_rows = []
    for n, type_ in enumerate((second, first) if swap else (first, second)):
        table = pa.table({"n": pa.array([n], pa.int8()), "a": pa.array([example(type_)], type_)})
        pq.write_table(table, tmp_path / "in" / f"{n}.parquet")
        expected_rows += table.to_pylist()
    more = deepcopy(ALONE["groups"])
    more["grouper"]["options"]["keys"] = ["n"]
    _, records = run(typed(tmp_path / "out", {"dir": str(tmp_path / "in")}, **more), tmp_path / "out")
    assert records == expected_rows
    for schema in schemas_of(tmp_path / "out"):
        assert {f.name: str(f.type) for f in schema} == {"n": "int8", "a": expected}


def test_files_that_do_not_go_together_are_an_error_of_the_first_that_differs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int32())}), tmp_path / "in/1.parquet")
    pq.write_table(pa.table({"a": ["x"], "b": [1]}), tmp_path / "in/2.parquet")
    settings = typed(tmp_path / "out", {"dir": str(tmp_path / "in")})
    with pytest.raises(ExportError) as caught:
        exporters_beam.run(settings)
    assert "2.parquet: record 1: formatter: field a holds text, and numbers in the records before" in str(caught.value)
    assert "(first in " in str(caught.value) and "1.parquet" in str(caught.value)
    report, records = run({**settings, "on_error": "dead_letter"}, tmp_path / "out")
    assert records == [{"a": 1}, {"a": 2}]
    assert [letter["record"] for letter in letters_of(report)] == [{"a": "x", "b": 1}]
    assert schemas_of(tmp_path / "out")[0].types == [pa.int32()]


def test_a_resumed_run_has_the_same_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for n in range(2):
        pq.write_table(every_type(), tmp_path / f"in/{n}.parquet", row_group_size=2)
    settings = typed(tmp_path / "out", {"dir": str(tmp_path / "in")}, **deepcopy(ALONE["transform"]))
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.engine.publishing.PublishFile.fill", _full)
        with pytest.raises(ExportError, match="no room"):
            exporters_beam.run(settings)
    _, records = run({**settings, "exporter_options": {"resume": True}}, tmp_path / "out")
    assert records == [record | {"text": "y"} for record in every_type().to_pylist()] * 2
    source = pq.read_schema(tmp_path / "in/0.parquet").remove_metadata()
    assert schemas_of(tmp_path / "out")[0].equals(source)


def _full(*_: Any) -> None:
    raise DestinationError("no room")


# Avro's

SHOP_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Shop",
    "namespace": "org.shops",
    "doc": "a shop",
    "fields": [
        {"name": "id", "type": "int", "doc": "its number"},
        {"name": "small", "type": ["float", "null"]},
        {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "BLUE"]}},
        {"name": "other", "type": ["null", "Color"], "default": None},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "namespace": "other", "size": 4}},
        {"name": "either", "type": ["null", "string", "long"], "default": None},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "counts", "type": {"type": "map", "values": ["null", "int", "string"]}},
        {"name": "place", "type": {"type": "record", "name": "Place", "fields": [
            {"name": "x", "type": "float"}, {"name": "c", "type": "Color"}, {"name": "h", "type": "other.Hash"}]}},
        {"name": "places", "type": {"type": "array", "items": "Place"}},
        {"name": "nothing", "type": "null"},
    ],
}  # fmt: skip


def shops(count: int) -> list[dict[str, Any]]:
    place = {"x": 1.5, "c": "RED", "h": b"1234"}
    return [
        {
            "id": n, "small": 1.5 if n % 2 else None, "color": "RED", "other": "BLUE" if n % 2 else None, "hash": b"abcd",
            "either": [None, "x", 5][n % 3], "price": Decimal("1.50"), "day": datetime.date(2020, 1, 2),
            "at": datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), "key": str(uuid.UUID(int=n)),
            "counts": {"a": None, "b": n, "c": "x"}, "place": place, "places": [place] * (n % 3), "nothing": None,
        }
        for n in range(count)
    ]  # fmt: skip


def written_schema(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        found: dict[str, Any] = json.loads(fastavro.reader(file).metadata["avro.schema"])
    return found


@pytest.mark.parametrize("rows", [2, 100])
def test_avro_files_keep_their_schema(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters_beam.engine.encode.BLOCK_RECORDS", rows)
    with (tmp_path / "in.avro").open("wb") as out:
        fastavro.writer(out, SHOP_SCHEMA, shops(7))
    _, records = run(config(tmp_path / "out", str(tmp_path / "in.avro"), "avro", "avro"), tmp_path / "out")
    with (tmp_path / "in.avro").open("rb") as file:
        assert records == list(fastavro.reader(file))
    (path,) = visible(tmp_path / "out").values()
    assert written_schema(path) == SHOP_SCHEMA


def test_avro_fields_that_are_left_alone_keep_theirs(tmp_path: Path) -> None:
    with (tmp_path / "in.avro").open("wb") as out:
        fastavro.writer(out, SHOP_SCHEMA, shops(4))
    changes = ["item.pop('color')", "item.update(id=str(item['id']), new=item['day'])"]
    transform = {"name": "pythonexp", "options": {"python_expressions": changes}}
    run(config(tmp_path / "out", str(tmp_path / "in.avro"), "avro", "avro", transform=transform), tmp_path / "out")
    (path,) = visible(tmp_path / "out").values()
    written = written_schema(path)
    color, day = SHOP_SCHEMA["fields"][2]["type"], SHOP_SCHEMA["fields"][7]["type"]
    assert written["name"] == "Shop" and written["namespace"] == "org.shops"
    assert written["fields"] == [
        {"name": "id", "type": ["null", "string"], "default": None},
        SHOP_SCHEMA["fields"][1],
        {"name": "other", "type": ["null", color], "default": None},
        *SHOP_SCHEMA["fields"][4:],
        {"name": "new", "type": ["null", day], "default": None},
    ]


@needs_shared
def test_case_20_avro(tmp_path: Path) -> None:
    source = SHARED / "cases" / "20-parquet-types" / "in.avro"
    _, records = run(config(tmp_path, str(source), "avro", "avro"), tmp_path)
    with source.open("rb") as file:
        reader = fastavro.reader(file)
        assert records == list(reader)
        expected = json.loads(reader.metadata["avro.schema"])
    (path,) = visible(tmp_path).values()
    found = written_schema(path)
    assert found["fields"] == expected["fields"]
    assert fastavro.parse_schema(found) == fastavro.parse_schema(expected)


def test_from_avro_to_parquet_and_back(tmp_path: Path) -> None:
    with (tmp_path / "in.avro").open("wb") as out:
        fastavro.writer(out, SHOP_SCHEMA, shops(4))
    drop = {"name": "pythonexp", "options": {"python_expressions": ["item.pop('either')", "item.pop('counts')"]}}
    run(config(tmp_path / "p", str(tmp_path / "in.avro"), "parquet", "avro", transform=drop), tmp_path / "p")
    (path,) = visible(tmp_path / "p").values()
    schema = pq.read_schema(path)
    assert [str(schema.field(name).type) for name in ("id", "small", "hash", "price", "at")] == [
        "int32", "float", "fixed_size_binary[4]", "decimal128(9, 2)", "timestamp[ms, tz=UTC]"
    ]  # fmt: skip
    assert not schema.field("id").nullable and schema.field("small").nullable
    _, records = run(config(tmp_path / "a", str(path), "avro", "parquet"), tmp_path / "a")
    assert [r["price"] for r in records] == [Decimal("1.50")] * 4
    (path,) = visible(tmp_path / "a").values()
    fields = {f["name"]: f["type"] for f in written_schema(path)["fields"]}
    assert fields["id"] == "int" and fields["small"] == ["null", "float"]
    assert fields["at"] == {"type": "long", "logicalType": "timestamp-millis"}


# Records that do not fit each other

ORDERS: list[dict[str, Any]] = [
    {"id": 1, "qty": 1}, {"id": 2, "qty": 2, "to": {"x": 1}}, {"id": 3, "qty": "x"}, {"id": 4, "qty": 4.5},
    {"id": 5, "to": {"x": "y"}}, {"id": 6, "qty": None, "tags": []}, {"id": 7, "qty": [1]}, {"id": 8, "tags": ["a"]},
    {"id": 9, "tags": [1]}, {"id": "ten"}, {"id": 11, "qty": 2**60},
]  # fmt: skip


def at_fault(records: list[dict[str, Any]]) -> list[int]:
    """The places of records with which those before, all that fitted, have no one type."""
    fitting: list[dict[str, Any]] = []
    lost = []
    for at, record in enumerate(records):
        try:
            infer([*fitting, record])
            fitting.append(record)
        except RecordError:
            lost.append(at)
    return lost


def parts_of(folder: Path, records: list[dict[str, Any]], cuts: list[int]) -> list[tuple[str, int]]:
    """Writes the records to files that begin at these places; gives the file and number of each."""
    folder.mkdir()
    places = []
    for n, (start, stop) in enumerate(pairwise([0, *sorted(cuts), len(records)])):
        (folder / f"{n}.jl").write_text("".join(json.dumps(r) + "\n" for r in records[start:stop]))
        places += [(str(folder / f"{n}.jl"), at + 1) for at in range(stop - start)]
    return places


@pytest.mark.parametrize("form", ["parquet", "avro"])
@settings(max_examples=at_least(6, 50), deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(data=st.data())
def test_which_records_fail_depends_on_their_order_alone(form: str, tmp_path: Path, data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    records = data.draw(st.permutations(ORDERS))
    cuts = data.draw(st.lists(st.integers(0, len(records)), max_size=4))
    grouped = data.draw(st.booleans())
    places = parts_of(folder / "in", records, cuts)
    config_ = config(folder / "out", {"dir": str(folder / "in")}, form, on_error="dead_letter")
    if grouped:
        config_["grouper"] = {"name": "python_exp", "options": {"python_expressions": ["len(item)"]}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporters_beam.engine.encode.BLOCK_RECORDS", data.draw(st.integers(1, 12)))
        report, found = run(config_, folder / "out")
    lost = at_fault(records)
    letters = letters_of(report) if lost else []
    assert [(letter["file"], letter["number"]) for letter in letters] == [places[at] for at in lost]
    expected = [record for at, record in enumerate(records) if at not in lost]
    key = repr if grouped else (lambda record: 0)
    plain = [{k: v for k, v in record.items() if v is not None} for record in found]
    bare = [{k: v for k, v in record.items() if v is not None} for record in expected]
    assert sorted((r["id"] for r in plain), key=key) == sorted((r["id"] for r in bare), key=key)
    for record in plain:
        (same,) = [r for r in bare if r["id"] == record["id"]]
        assert record == same or {k: v for k, v in record.items() if not (k == "to" and v == {"x": None})} == same
    files = list(visible(folder / "out").values())
    if form == "parquet":
        assert len({str(pq.read_schema(path)) for path in files}) == 1
    else:
        assert len({json.dumps(written_schema(path)) for path in files}) == 1


@needs_shared
@pytest.mark.parametrize("source", ["one.jl", "d"])
def test_case_25_one_record_of_another_type(source: str, tmp_path: Path) -> None:
    folder = SHARED / "cases" / "25-one-record-of-another-type"
    given_ = {"dir": str(folder / source)} if source == "d" else str(folder / source)
    settings = config(tmp_path, given_, "parquet", on_error="dead_letter")
    report, records = run(settings, tmp_path)
    assert len(records) == 5 and report.dead_letters["records"] == 1
    assert report.counts["formatter.dead_lettered"] == 1


@pytest.mark.parametrize(
    ("on_error", "delivered"),
    [("skip", 3), ({"action": "dead_letter", "max_records": 1}, 3), ({"action": "skip", "max_rate": 0.1}, None)],
)
def test_records_found_at_fault_late_count_like_others(on_error: Any, delivered: int | None, tmp_path: Path) -> None:
    parts_of(tmp_path / "in", [{"a": 1}, {"a": 2}, {"a": "x"}, {"a": 3}], [2])
    settings = config(tmp_path / "out", {"dir": str(tmp_path / "in")}, "parquet", on_error=on_error)
    if delivered is None:
        with pytest.raises(ExportError, match=r"1 of 4 records failed .*25.00%"):
            exporters_beam.run(settings)
        return
    report, records = run(settings, tmp_path / "out")
    assert len(records) == delivered == report.counts["kept"] and report.read == 4


def test_a_limit_counts_records_at_fault(tmp_path: Path) -> None:
    parts_of(tmp_path / "in", [{"a": 1}, {"a": 2}, {"a": "x"}, {"a": 3}, {"a": [1]}, {"b": {}}], [2])
    settings = config(tmp_path / "out", {"dir": str(tmp_path / "in")}, "parquet", on_error="dead_letter")
    settings["writer"]["options"]["items_limit"] = 4
    report, records = run(settings, tmp_path / "out")
    assert records == [{"a": 1}, {"a": 2}, {"a": 3}] and len(letters_of(report)) == 1


def test_a_record_at_fault_can_be_mended_and_sent_in_again(tmp_path: Path) -> None:
    parts_of(tmp_path / "in", [{"a": 1}, {"a": 2}, {"a": "7"}, {"a": 3}], [2])
    settings = config(tmp_path / "out", {"dir": str(tmp_path / "in")}, "parquet", on_error="dead_letter")
    report, _ = run(settings, tmp_path / "out")
    settings["formatter"]["options"] = {"schema": {"properties": {"a": {"type": "integer"}}}}
    (tmp_path / "c.json").write_text(json.dumps(settings))
    letters = Path(report.dead_letters["name"])
    kept = tmp_path / "letters.jl"
    kept.write_bytes(letters.read_bytes())
    assert main(["replay", str(tmp_path / "c.json"), str(kept)]) == 0
    assert sorted(r["a"] for path in visible(tmp_path / "out").values() for r in records_of(path)) == [1, 2, 3, 7]


def _unfolded(moment: Any) -> Any:
    return moment.replace(fold=0)


SOURCES: dict[str, tuple[Any, Any]] = {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float32": (pa.float32(), st.floats(width=32)),
    "double": (pa.float64(), st.floats()),
    "string": (pa.string(), st.text(max_size=3)),
    "binary": (pa.binary(), st.binary(max_size=3)),
    "date": (pa.date32(), st.dates()),
    "time": (pa.time64("us"), st.times().map(_unfolded)),
    "local": (pa.timestamp("us"), st.datetimes().map(_unfolded)),
    "decimal": (pa.decimal128(9, 2), st.decimals(-(10**6), 10**6, places=2)),
    "list": (pa.list_(pa.int8()), st.lists(st.none() | st.integers(-128, 127), max_size=2)),
    "map": (
        pa.map_(pa.string(), pa.int64()),
        st.dictionaries(st.text(max_size=1), st.integers(-(2**63), 2**63 - 1), max_size=2),
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
@settings(max_examples=at_least(40, 50), deadline=None)
@given(data=st.data())
def test_what_is_found_does_not_depend_on_what_is_kept(kind: str, data: st.DataObject) -> None:
    """Values come back as they were, whatever blocks there are, and blocks say of them what they say without a source."""
    type_, values = SOURCES[kind]
    rows = [{"a": value} for value in data.draw(st.lists(st.none() | values, min_size=1, max_size=6))]
    source = kept.ARROW + pa.schema([("a", type_)]).serialize().to_pybytes()
    cut = data.draw(st.integers(0, len(rows)))
    blocks = [ParquetFormat().encode(part, source) for part in (rows[:cut], rows[cut:]) if part]
    out = io.BytesIO()
    ParquetFormat().assemble([(payload, None) for payload, _ in blocks], [s for _, s in blocks], out)
    table = pq.read_table(out)
    assert table.schema.field("a").type == pq.read_schema(_file_of(type_)).field("a").type
    assert repr([dict(v) if kind == "map" and v is not None else v for v in table.column("a").to_pylist()]) == repr(
        [row["a"] for row in rows]
    )
    found = kept.of_source(source, "parquet")
    for part in (rows[:cut], rows[cut:]):
        try:
            expected = infer(part).fields[0].slot.type if part else None
        except RecordError:
            continue
        if expected is not None and kind != "map":
            assert columns.found_in(part, found).columns["a"].found == expected


def _file_of(type_: Any) -> io.BytesIO:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": pa.nulls(1, type_)}), out)
    return out
