"""Columns that stay columns: what is staged for them is what their records would give, or nothing."""

from __future__ import annotations

import datetime
import io
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from exporters_beam.formats.parquet import ParquetDeserializer, ParquetFormat
from exporters_beam.formats.tables import as_columns as columnar
from exporters_beam.formats.tables.chunks import pack

from examples import at_least

UTC = datetime.timezone.utc
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
LATER = st.datetimes(datetime.datetime(3, 1, 1), datetime.datetime(9998, 1, 1))
INTEGERS = st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1])
PARTS = st.fixed_dictionaries({"c": st.none() | st.decimals(-99, 99, places=1)})

COLUMNS = {
    "text": (pa.string(), TEXT),
    "long text": (pa.large_string(), TEXT),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "uint32": (pa.uint32(), st.integers(0, 2**32 - 1)),
    "int64": (pa.int64(), INTEGERS),
    "uint64": (pa.uint64(), st.sampled_from([0, 2**53 + 1, 2**63 - 1])),
    "float32": (pa.float32(), st.floats(width=32)),
    "float64": (pa.float64(), st.floats()),
    "bool": (pa.bool_(), st.booleans()),
    "null": (pa.null(), st.none()),
    "binary": (pa.binary(), st.binary(max_size=3)),
    "fixed": (pa.binary(2), st.binary(min_size=2, max_size=2)),
    "date": (pa.date32(), st.dates(datetime.date(3, 1, 1), datetime.date(9998, 1, 1))),
    "time": (pa.time64("us"), st.times()),
    "seconds": (pa.time32("s"), st.times().map(lambda t: t.replace(microsecond=0))),
    "local": (pa.timestamp("us"), LATER),
    "millis": (pa.timestamp("ms"), LATER.map(lambda t: t.replace(microsecond=0))),
    "instant": (pa.timestamp("us", "Europe/Madrid"), LATER.map(lambda t: t.replace(tzinfo=UTC))),
    "decimal": (pa.decimal128(12, 2), st.decimals(-1000, 1000, places=2)),
    "whole": (pa.decimal128(38, 0), st.integers(-(10**30), 10**30).map(Decimal)),
    "wide": (pa.decimal256(60, 4), st.decimals(-(10**20), 10**20, places=4)),
    "enum": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b"])),
    "list": (pa.list_(pa.int32()), st.lists(st.none() | st.integers(0, 9), max_size=3)),
    "lists": (pa.list_(pa.list_(pa.string())), st.lists(st.none() | st.lists(TEXT, max_size=2), max_size=2)),
    "struct": (
        pa.struct({"a": pa.int64(), "b": pa.list_(pa.struct({"c": pa.decimal128(5, 1)}))}),
        st.fixed_dictionaries({"a": st.none() | INTEGERS, "b": st.none() | st.lists(st.none() | PARTS, max_size=2)}),
    ),
}  # fmt: skip


@st.composite
def batches(draw: Any) -> Any:
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5, unique=True))
    rows = draw(st.integers(1, 6))
    arrays = []
    for name in names:
        type_, values = COLUMNS[name]
        arrays.append(pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), type_))
    return pa.RecordBatch.from_arrays(arrays, names=names)


def assembled(form: ParquetFormat, payload: bytes, schema: bytes) -> bytes:
    out = io.BytesIO()
    form.assemble([(payload, None)], [schema], out)
    return out.getvalue()


@limits(max_examples=at_least(300), deadline=None)
@given(batches(), st.data())
def test_columns_give_what_their_records_give(batch: Any, data: Any) -> None:
    mask = pa.array(data.draw(st.lists(st.booleans(), min_size=batch.num_rows, max_size=batch.num_rows)))
    kept = columnar.checked(batch).filter(mask)
    records = [r for r, keep in zip(ParquetDeserializer().decode(pack(batch)), mask.to_pylist(), strict=True) if keep]
    if not records:
        return
    form = ParquetFormat()
    payload, schema = form.encode(records)
    try:
        as_columns, same = form.encode_columns(kept)
    except pa.ArrowInvalid:  # older releases cannot cast every decimal: its records are encoded then
        return
    assert same == schema
    assert assembled(form, as_columns, schema) == assembled(form, payload, schema)


NOON = datetime.datetime(2026, 1, 31, 12)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([2**63], pa.uint64()),
        pa.array([1], pa.timestamp("ns")),
        pa.array([2**60], pa.timestamp("s")),
        pa.array([-(10**6)], pa.date32()),
        pa.array([0], pa.timestamp("us", "Nowhere/Land")),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([[1, 2]], pa.list_(pa.int64(), 2)),
        pa.array([{}], pa.struct([])),
        pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xff")),
        # The two halves of one letter: as bytes in a row they are UTF-8.
        pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer("é".encode())),
        pa.array([NOON], pa.timestamp("us")).cast(pa.date64()),
    ],
)
def test_what_only_records_can_tell_is_left_to_them(array: Any) -> None:
    with pytest.raises((columnar.Unlike, pa.ArrowException, ValueError, KeyError)):
        columnar.checked(pa.RecordBatch.from_arrays([array], names=["x"]))


@pytest.mark.parametrize("texts", [["é", "", "ü"], ["", "日本", ""], ["a", None, "é"], ["x" * 5, "é" * 40, "z"]])
def test_text_beyond_ascii_stays_columns(texts: list[Any]) -> None:
    array = pa.array(texts)
    for part in (array, array.slice(1), array.slice(0, 2), array.slice(1, 1)):
        found = columnar.checked(pa.RecordBatch.from_arrays([part], names=["x"]))
        assert found.column(0).equals(part)


SCHEMA = {
    "properties": {
        "n": {"type": "integer"},
        "small": {"arrow": "int8", "type": ["integer", "null"]},
        "x": {"type": "number"},
        "when": {"type": "string", "format": "date-time"},
        "text": {"type": "string"},
        "absent": {"type": "boolean"},
    },
    "required": ["text"],
}


@pytest.mark.parametrize("unknown", ["drop", "fail"])
def test_a_given_schema(unknown: str) -> None:
    columns = {
        "text": pa.array(["a", "b"]),
        "n": pa.array([1, None], pa.int16()),
        "small": pa.array([5, 6], pa.int64()),
        "x": pa.array([1, 2], pa.int32()),
        "when": pa.array([NOON, None], pa.timestamp("ms", "UTC")),
        **({"more": pa.array([[1], []])} if unknown == "drop" else {}),
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    form = ParquetFormat(schema=SCHEMA, unknown_fields=unknown)
    payload, _ = form.encode_columns(columnar.checked(batch))
    expected, _ = form.encode(ParquetDeserializer().decode(pack(batch)))
    assert assembled(form, payload, b"") == assembled(form, expected, b"")


@pytest.mark.parametrize(
    "columns",
    [
        {"text": pa.array(["a", None])},
        {"text": pa.array(["a"]), "more": pa.array([1])},
        {"text": pa.array(["a"]), "small": pa.array([300])},
        {"text": pa.array(["a"]), "when": pa.array(["2026-01-31T12:00:00Z"])},
        {"text": pa.array(["a"]), "x": pa.array([2**53 + 1])},
        {"text": pa.array([1])},
    ],
)
def test_what_does_not_fit_a_given_schema_at_once_is_left_to_records(columns: dict[str, Any]) -> None:
    batch = columnar.checked(pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)))
    with pytest.raises((columnar.Unlike, pa.ArrowException)):
        ParquetFormat(schema=SCHEMA).encode_columns(batch)


def test_numbers_that_are_none_stay_so() -> None:
    batch = columnar.checked(pa.RecordBatch.from_arrays([pa.array([math.nan, -0.0, None])], names=["x"]))
    form = ParquetFormat()
    (x, y, z) = ParquetDeserializer().decode(pack(batch))
    assert math.isnan(x["x"]) and math.copysign(1, y["x"]) == -1 and z["x"] is None
    assert form.encode_columns(batch)[1] == form.encode([x, y, z])[1]
