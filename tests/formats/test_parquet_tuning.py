"""Parquet files that are quicker to search, and hold the same records."""

from __future__ import annotations

import io
from datetime import time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.formats import parquet_tuning
from exporters_beam.formats.parquet import ParquetDeserializer, ParquetFormat

blooms = pytest.mark.skipif(not parquet_tuning._knows_blooms(), reason="this pyarrow writes no Bloom filters")

RECORDS: list[dict[str, Any]] = [
    {"a": n % 3 or None, "n": n, "s": {"x": str(n)}, "l": [n], "b": n % 2 == 0, "f": float("nan") if n == 4 else n / 2}
    for n in range(10)
]


def file(records: list[dict[str, Any]], cut: int = 4, **options: Any) -> bytes:
    form: ParquetFormat = build(ParquetFormat, options)
    blocks = [form.encode(records[n : n + cut]) for n in range(0, len(records), cut)]
    out = io.BytesIO()
    form.assemble([(payload, None) for payload, _ in blocks], list(dict.fromkeys(s for _, s in blocks if s)), out)
    return out.getvalue()


def test_row_groups_are_sorted_and_say_so() -> None:
    options: dict[str, Any] = {"sort_by": ["a", {"n": "descending"}], "row_group_size": 6}
    data = file(RECORDS, **options)
    found = pq.ParquetFile(io.BytesIO(data))
    assert [row["n"] for row in pq.read_table(io.BytesIO(data)).to_pylist()] == [4, 1, 5, 2, 3, 0, 7, 8, 9, 6]
    (first, second) = (found.metadata.row_group(0).sorting_columns, found.metadata.row_group(1).sorting_columns)
    assert first == second
    assert [(found.schema.column(key.column_index).path, key.descending, key.nulls_first) for key in first] == [
        ("a", False, False),
        ("n", True, False),
    ]
    assert file(RECORDS, cut=3, **options) == data
    plain = pq.read_table(io.BytesIO(file(RECORDS))).drop_columns(["f"]).to_pylist()
    assert sorted(pq.read_table(io.BytesIO(data)).drop_columns(["f"]).to_pylist(), key=lambda row: row["n"]) == plain


def test_equal_rows_stay_in_order_and_nan_is_last_but_for_null() -> None:
    rows = [{"k": k, "n": n} for n, k in enumerate([2.0, float("nan"), 1.0, None, 2.0, 1.0, float("nan")])]
    for order, wanted in (("ascending", [2, 5, 0, 4, 1, 6, 3]), ("descending", [0, 4, 2, 5, 1, 6, 3])):
        data = file(rows, sort_by=[{"k": order}])
        assert pq.read_table(io.BytesIO(data))["n"].to_pylist() == wanted


def test_the_index_of_pages() -> None:
    for given in (True, False):
        column = pq.ParquetFile(io.BytesIO(file(RECORDS, page_index=given))).metadata.row_group(0).column(1)
        assert (column.has_offset_index, column.has_column_index) == (given, given)


@blooms
def test_bloom_filters() -> None:
    found = pq.ParquetFile(io.BytesIO(file(RECORDS, bloom_filters=["n", "s.x"]))).metadata.row_group(0)
    columns = [found.column(n) for n in range(found.num_columns)]
    assert {column.path_in_schema for column in columns if column.bloom_filter_offset is not None} == {"n", "s.x"}
    for path, said in (("m", "bloom_filters: m is in none of the files"), ("b", "bloom_filters: b holds booleans")):
        with pytest.raises(RecordError, match=said):
            file(RECORDS, bloom_filters=[path])


def test_a_pyarrow_without_bloom_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_tuning, "_knows_blooms", lambda: False)
    with pytest.raises(ConfigError, match=r"^bloom_filters: pyarrow .* writes none; install a newer one, or leave it out$"):
        build(ParquetFormat, {"bloom_filters": ["a"]})


@pytest.mark.parametrize(
    ("sort_by", "said"),
    [
        ([1], "sort_by[0]: give the name of a column, or {name: descending}"),
        (["a", {"b": "down"}], "sort_by[1].b: 'down' is not one of ascending, descending"),
        (["a", "a"], "sort_by[1]: 'a' is there twice"),
        ([{"a": "ascending", "b": "ascending"}], "sort_by[0]: give the name"),
    ],
)
def test_wrong_orders(sort_by: list[Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(ParquetFormat, {"sort_by": sort_by})
    assert str(caught.value).startswith(said)


def test_columns_that_cannot_be_sorted_by() -> None:
    for name, said in (
        ("m", "sort_by: the files have no column called m"),
        ("s", "sort_by: the column s holds objects or lists"),
    ):
        with pytest.raises(RecordError, match=said):
            file(RECORDS, sort_by=[name])


def columns_for(table: pa.Table, **options: Any) -> Any:
    """The columns of a file that is made of the table, of which the format knows the types."""
    source, out = io.BytesIO(), io.BytesIO()
    pq.write_table(table, source)
    reading, form = ParquetDeserializer(), build(ParquetFormat, options)
    ((chunk, _, _),) = reading.chunks(source)
    payload, schema = form.encode(reading.decode(chunk), reading.types_of(chunk))
    form.assemble([(payload, None)], [schema], out)
    found = pq.ParquetFile(out)
    assert found.read().num_rows == table.num_rows
    return found


ODD = pa.table({
    "u8": pa.array([255, None], pa.uint8()), "u64": pa.array([2**63 - 1, None], pa.uint64()),
    "i8": pa.array([-1, None], pa.int8()), "ns": pa.array([1000, None], pa.timestamp("ns", "UTC")),
    "ms": pa.array([1, None], pa.timestamp("ms")), "z": pa.array([b"ab", None], pa.binary(2)),
    "s": pa.array([{"u": 1, "t": 2}, None], pa.struct({"u": pa.uint16(), "t": pa.timestamp("s")})),
    "f": pa.array([0.5, None], pa.float32()), "d": pa.array([Decimal("1.5"), None], pa.decimal128(9, 2)),
})  # fmt: skip


def test_what_spark_reads() -> None:
    found = columns_for(ODD, compat="spark")
    assert {field.name: str(field.type) for field in found.schema_arrow} == {
        "u8": "int64", "u64": "int64", "i8": "int8", "ns": "timestamp[us, tz=UTC]", "ms": "timestamp[us]", "z": "binary",
        "s": "struct<u: int64, t: timestamp[us]>", "f": "float", "d": "decimal128(9, 2)",
    }  # fmt: skip
    kinds = {column.path: column.physical_type for column in map(found.schema.column, range(len(found.schema)))}
    assert kinds["ns"] == kinds["ms"] == kinds["s.t"] == "INT64" and kinds["z"] == "BYTE_ARRAY"
    listed = pq.ParquetFile(io.BytesIO(file([{"l": [1]}], compat="spark")))
    assert listed.schema.column(0).path == "l.list.element"


def test_what_hive_reads() -> None:
    found = columns_for(ODD, compat="hive", sort_by=["u8"]).schema
    kinds = {column.path: column.physical_type for column in map(found.column, range(len(found)))}
    assert kinds["ns"] == kinds["ms"] == kinds["s.t"] == "INT96"


def test_what_spark_does_not_read_is_told() -> None:
    for record, said in (
        ({"a b": 1}, "field 'a b': Spark before 3.3 refuses ' ' in names; rename it"),
        ({"s": {"x;y": 1}}, "field 's.x;y': Spark before 3.3 refuses ';'"),
        ({"Id": 1, "id": 2}, "field 'id': to Spark and Hive it is 'Id', which differs by capital letters only"),
        ({"t": time(1)}, "field t holds times of day, and Spark has none"),
        ({"d": Decimal(10) ** 40}, "field d needs decimals of 41 digits, and Spark has 38 at most"),
    ):
        assert file([record]) and ParquetFormat().compat is None
        with pytest.raises(RecordError, match=said):
            file([record], compat="spark")
    with pytest.raises(RecordError, match="field 'ID': to Spark and Hive it is 'id'"):
        file([{"id": 1}, {"ID": 1}], cut=1, compat="spark")
    with pytest.raises(ConfigError, match="schema: field a holds unsigned integers, and Spark has none; take int64"):
        ParquetFormat(compat="spark", schema={"properties": {"a": {"arrow": "uint16"}}})


def test_row_groups_of_so_many_bytes() -> None:
    rows = [{"t": "x" * (n % 100), "l": [n] * (n % 3), "m": {"k": n} if n % 7 else None} for n in range(5000)]
    schema = {"properties": {"t": {"type": "string"}, "l": {"items": {"type": "integer"}},
                             "m": {"type": "object", "additionalProperties": {"type": "integer"}}}}  # fmt: skip
    options: dict[str, Any] = {"row_group_bytes": 40_000, "row_group_size": 1000, "schema": schema}
    data = file(rows, 700, **options)
    assert file(rows, 900, **options) == data == file(rows, 5000, **options)
    found = pq.ParquetFile(io.BytesIO(data)).metadata
    sizes = [found.row_group(n).num_rows for n in range(found.num_row_groups)]
    assert sizes[:-1] == [512] * (len(sizes) - 1) and sum(sizes) == 5000
    few = pq.ParquetFile(io.BytesIO(file(rows, row_group_bytes=10**9, row_group_size=300, schema=schema))).metadata
    assert [few.row_group(n).num_rows for n in range(few.num_row_groups)] == [300] * 16 + [200]
