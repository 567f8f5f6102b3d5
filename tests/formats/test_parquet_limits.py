"""Parquet files that claim, or hold, far more than they are large: they end in a sentence, and memory stays bounded."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters_beam.errors import SourceError
from exporters_beam.formats.parquet import ParquetDeserializer
from exporters_beam.formats.parquet_pages import longest
from exporters_beam.formats.tables.chunks import _spread

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def tight(monkeypatch):
    """Without the room that pages have in any case."""
    monkeypatch.setattr("exporters_beam.formats.parquet_pages.ROOM", 0)
    monkeypatch.setattr("exporters_beam.formats.parquet_pages.USUAL", 0)
    monkeypatch.setattr("exporters_beam.formats.parquet_pages.MEMORY", 1000)


def file_of(columns: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), out, **options)
    return out.getvalue()


def said(data: bytes, only: frozenset[str] | None = None, columns: bool = False, **options: Any) -> tuple[list[Any], str]:
    """The records before an error, and the error; with `columns` the batches' rows."""
    deserializer = ParquetDeserializer(**options)
    if columns:
        deserializer = deserializer.in_columns(only)
    found: list[Any] = []
    try:
        for chunk, count, size in deserializer.chunks(io.BytesIO(data)):
            assert size < 64 * MIB or count == 1
            found += deserializer.decode(chunk)
    except SourceError as error:
        return found, str(error)
    return found, ""


def same(rows: int, length: int) -> pa.Array:
    """One text, again and again."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * length])


@pytest.mark.parametrize("columns", [False, True])
def test_a_long_text_for_every_record(columns):
    table = pa.table({"id": pa.array(range(2000)), "t": same(2000, MIB)})
    found, text = said(file_of(table.cast(pa.schema([("id", pa.int64()), ("t", pa.dictionary(pa.int32(), pa.string()))]))),
                       columns=columns)  # fmt: skip
    assert 1 <= len(found) < 2000
    assert f"record {len(found) + 1}: row group 0: " in text
    assert "unpack to" in text and "raise max_ratio or set it to 0" in text


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("stored", [True, False])
def test_texts_of_a_dictionary_are_read_where_they_fit(columns, stored, tight):
    texts = [f"{n}" * 3000 for n in range(40)]
    rows = [{"n": n, "t": texts[n % 40], "l": [texts[n % 7], None] * (n % 3), "m": [("k", texts[n % 3])]} for n in range(900)]
    schema = pa.schema([("n", pa.int64()), ("t", pa.string()), ("l", pa.list_(pa.string())),
                        ("m", pa.map_(pa.string(), pa.string()))])  # fmt: skip
    data = file_of(pa.Table.from_pylist(rows, schema), row_group_size=300, store_schema=stored)
    want = [{**row, "m": dict(row["m"])} for row in rows]
    for limits in ({}, {"max_record_bytes": 40 * KIB}):
        assert said(data, columns=columns, **limits) == (want, "")


def test_one_record_with_a_long_text_many_times():
    data = file_of({"l": pa.array([["a"], ["x" * 100 * KIB] * 2000, ["b"]])})
    found, text = said(data)
    assert found == [{"l": ["a"]}]
    assert text.startswith("record 2: row group 0: the record is longer than 104,857,600 bytes; ")
    assert "raise max_record_bytes" in text
    assert len(said(data, max_record_bytes=1 << 30, max_ratio=0)[0]) == 3


def test_a_record_that_is_too_long_is_named():
    rows = ["a", "b" * 5000, "c"]
    data = file_of({"n": [1, 2, 3], "t": rows}, use_dictionary=False)
    assert said(data, max_record_bytes=10_000)[1] == ""
    found, text = said(data, max_record_bytes=4000)
    assert [row["n"] for row in found] == [1]
    assert text == ("record 2: row group 0: the record is longer than 4,000 bytes; where that is right, raise max_record_bytes")


def test_a_page_that_unpacks_to_a_thousand_times_as_much():
    data = file_of({"t": [bytes(80 * MIB)]}, compression="zstd", use_dictionary=False)
    text = said(data)[1]
    assert text.startswith("record 1: row group 0: column t: a page of ") and "as decompression bombs do" in text
    assert "raise max_ratio or set it to 0" in text
    assert said(data, max_ratio=0)[0] == [{"t": bytes(80 * MIB)}]


def test_a_page_of_one_long_value():
    data = file_of({"t": ["x" * 3000]}, use_dictionary=False)
    text = said(data, max_record_bytes=2000)[1]
    assert text.startswith("record 1: row group 0: column t: a page with 1 value claims to have 3,0")
    assert (
        text.endswith("a record is longer than 2,000 bytes; where that is right, raise max_record_bytes") or "raise max" in text
    )


def test_pages_that_have_to_be_in_memory_together(tight):
    columns = {f"c{n}": [str(i) * 100 for i in range(100)] for n in range(30)}
    data = file_of(columns, use_dictionary=False)
    assert said(data)[1] == ""
    text = said(data, max_record_bytes=20_000)[1]
    assert "the pages of all columns that have to be in memory together" in text and "write it with smaller pages" in text
    assert said(data, max_record_bytes=20_000, columns=False)[0] == []
    few = ParquetDeserializer(columns=("c1", "c7"), max_record_bytes=20_000)
    assert sum(count for _, count, _ in few.chunks(io.BytesIO(data))) == 100


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(20_000)])
def test_values_that_share_their_beginnings(kind, tight):
    value = "x" * 20_000 if kind == pa.string() else b"x" * 20_000
    table = pa.table({"t": pa.array([value] * 1000, kind)})
    for options in ({"use_dictionary": False, "column_encoding": {"t": "DELTA_BYTE_ARRAY"}}, {"use_dictionary": True}):
        data = file_of(table, **options)
        assert len(data) < 100_000
        found, text = said(data, max_record_bytes=30_000, max_ratio=0)
        assert (len(found), text) == (1000, "")
        lists = pa.table({"t": pa.array([[value] * 50] * 20, pa.list_(kind))})
        if options["use_dictionary"]:
            found, text = said(file_of(lists), max_record_bytes=2 * MIB, max_ratio=0)
            assert (len(found), text) == (20, "")


def test_a_list_of_any_number_of_nothing(tight):
    data = file_of({"l": pa.array([[0] * 20_000_000], pa.list_(pa.int8()))}, use_dictionary=True, compression="zstd",
                   data_page_size=1 << 30)  # fmt: skip
    assert len(data) < 20_000
    text = said(data)[1]
    assert text.startswith("record 1: row group 0: column l.list.element: ") and "20,000,000 values" in text
    text = said(data, max_ratio=0, max_record_bytes=4 * MIB)[1]
    assert "a page claims to have" in text or "more than" in text or "longer than" in text


@pytest.mark.parametrize("columns", [False, True])
def test_large_row_groups_are_read_in_pieces(monkeypatch, columns):
    monkeypatch.setattr("exporters_beam.formats.parquet.LARGE", 1000)
    monkeypatch.setattr("exporters_beam.formats.parquet.BUFFER", 4096)
    rows = [{"n": n, "t": f"some text {n % 500}" * (n % 9), "l": [n, None] * (n % 3)} for n in range(9000)]
    data = file_of(pa.Table.from_pylist(rows), data_page_size=2000)
    assert said(data, columns=columns) == (rows, "")
    assert said(data, columns=columns, max_record_bytes=20_000) == (rows, "")


BOMBS = """
import io, json, resource, sys, tempfile
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
import pyarrow as pa, pyarrow.parquet as pq
from exporters_beam.formats.parquet import ParquetDeserializer
from exporters_beam.formats.parquet_pages import longest
from exporters_beam.errors import SourceError
one = lambda rows, text: pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [text])
def nested(rows, each, text):
    offsets = pa.array([n * each for n in range(rows + 1)], pa.int32())
    return pa.ListArray.from_arrays(offsets, one(rows * each, text))
tables = {
    "flat": {f"t{n}": one(300_000, "x" * (4 << 20)) for n in range(3)},
    "nested": {"l": nested(10, 100_000, "x" * (4 << 20))},
    "often": {"l": nested(1000, 10_000, "x" * 300)},
}
for name, columns in tables.items():
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    file = tempfile.TemporaryFile()
    file.write(out.getvalue())
    for ratio in (1000, 0):
        for larger in (False, True):
            stream = io.BytesIO(out.getvalue()) if larger == (ratio > 0) else file  # Files of this machine are read otherwise.
            deserializer = ParquetDeserializer(max_ratio=ratio)
            if larger:
                deserializer = deserializer.in_columns(None)
            records, text = 0, ""
            try:
                for chunk, count, _ in deserializer.chunks(stream):
                    records += count
                    if records > 200:
                        break
            except SourceError as error:
                text = str(error)
            print(json.dumps([name, ratio, larger, records, text]), flush=True)
print(json.dumps(["peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10]))
"""


def test_memory_stays_bounded():
    run = subprocess.run([sys.executable, "-c", BOMBS], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr[-2000:]
    *found, (_, peak) = map(json.loads, run.stdout.splitlines())
    assert peak < 2500
    for name, ratio, _, records, text in found:
        if name == "nested":
            assert (records, "the record is longer than 104,857,600 bytes" in text) == (0, True)
        elif ratio:
            assert "unpack to" in text
        else:
            assert records > 200 and text == ""


TEXTS = st.lists(st.binary(max_size=300) | st.sampled_from([b"", b"a" * 256, b"\0" * 7, b"b\0\0\0"]), max_size=30)
AS_LONG = st.integers(0, 300).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), max_size=30))


@given(TEXTS | AS_LONG, st.integers(1, 400))
def test_the_longest_text_of_a_dictionary(texts, block):
    page = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    assert longest(page, block) == max(map(len, texts), default=0)
    assert longest(page[:-1], block) in (len(page) - 1, 0) or not page


def test_columns_that_stand_as_dictionaries_count_with_the_length_of_each_text():
    texts = pa.array(["", "x" * 1000, None, "y"])
    for numbers in ([0, 1, 3, 1], [0, None, 1], [None], [2, 1], []):
        column = pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), texts)
        assert _spread(column) == sum(len(text or "") for text in column.to_pylist()) + 4 * len(numbers)
