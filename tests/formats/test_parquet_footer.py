"""Footers of Parquet files as we read them: encrypted ones, those of other programs, and those that are made to deceive."""

from __future__ import annotations

import io
import random
import struct as numbers
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import exporters_beam
from exporters_beam.errors import ExportError, SourceError
from exporters_beam.formats import parquet_footer, thrift
from exporters_beam.formats.parquet import ParquetDeserializer


def file_of(columns: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), out, **options)
    return out.getvalue()


def split(data: bytes) -> tuple[bytes, bytes]:
    """What stands before the footer, and the footer."""
    size = numbers.unpack("<I", data[-8:-4])[0]
    return data[: -8 - size], data[-8 - size : -8]


def joined(before: bytes, footer: bytes, end: bytes = b"PAR1") -> bytes:
    return before + footer + numbers.pack("<I", len(footer)) + end


def said(data: bytes) -> str:
    with pytest.raises(SourceError) as caught:
        list(ParquetDeserializer().chunks(io.BytesIO(data)))
    return str(caught.value)


SMALL = file_of({"a": [1, 2, 3], "t": ["x", "y", "z"]}, store_schema=False)
COLUMN = b"\x2c\x19\x18\x01a\x00\x00"  # with a key of its own: the union's second member, a struct with a path


def chunk_with(member: bytes) -> bytes:
    """The file with something more at the end of the first column chunk."""
    before, footer = split(SMALL)
    at = parquet_footer._usual().search(footer)
    assert at is not None
    return joined(before, footer[: at.end() - 1] + member + b"\x00" + footer[at.end() :])


ENCRYPTED = "the file is encrypted, and encrypted Parquet files are not read; write it without encryption, "


@pytest.mark.parametrize(
    "data",
    [
        b"PARE" + SMALL[4:],
        SMALL[:-4] + b"PARE",
        chunk_with(b"\x5c" + COLUMN),
        chunk_with(b"\x0c\x10" + COLUMN),
        chunk_with(b"\x5c\x1c\x00\x00"),
        chunk_with(b"\x68\x03abc"),
        chunk_with(b"\x0c" + b"\x90\x80\x08" + COLUMN),
        joined(split(SMALL)[0], split(SMALL)[1][:-1] + b"\x0c\x10\x1c\x00\x00\x00"),
    ],
)
def test_encrypted_files_are_named(data, tmp_path):
    assert said(data).startswith(ENCRYPTED)
    path = tmp_path / "in.parquet"
    path.write_bytes(data)
    with pytest.raises(ExportError) as caught:
        exporters_beam.run(
            {
                "reader": {"name": "fs", "options": {"input": str(path)}},
                "deserializer": {"name": "parquet"},
                "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/p-"}},
            },
            workers=1,
        )
    assert str(caught.value).startswith(f"{path}: {ENCRYPTED}") and not list(tmp_path.glob("out/p-*"))


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"write_statistics": False}, {"use_dictionary": False},
                                     {"write_page_index": True}, {"version": "1.0"}, {"data_page_version": "2.0"}])  # fmt: skip
def test_it_says_what_arrow_says(options):
    rows = [{"n": n, "t": f"text {n % 7}" * n, "l": [{"x": n, "y": [None]}], "b": b"\0" * n} for n in range(50)]
    data = file_of(pa.Table.from_pylist(rows), row_group_size=17, **options)
    footer, about = parquet_footer.read(io.BytesIO(data)), pq.ParquetFile(io.BytesIO(data)).metadata
    assert (footer.rows, len(footer.row_groups), footer.leaves) == (50, about.num_row_groups, about.num_columns)
    for n, group in enumerate(footer.row_groups):
        theirs = about.row_group(n)
        assert (group.rows, group.size) == (theirs.num_rows, theirs.total_byte_size)
        for i, column in enumerate(group.columns):
            one = theirs.column(i)
            starts = [at for at in (one.dictionary_page_offset, one.data_page_offset) if at]
            assert (column.values, column.unpacked, column.packed, column.start) == (
                one.num_values, one.total_uncompressed_size, one.total_compressed_size, min(starts))  # fmt: skip


def test_usual_parts_are_read_as_any_others_are(monkeypatch):
    rows = [{"n": n, "t": f"text {n % 7}", "l": [{"x": n, "y": [None]}], "d": n / 7, "ok": n % 2 == 0} for n in range(50)]
    data = file_of(pa.Table.from_pylist(rows), row_group_size=17)
    _, footer = split(data)
    usual = parquet_footer._parsed(footer)
    bounds = [parquet_footer.bounds(column) for group in usual[1] for column in group.columns]
    never = lambda: __import__("re").compile(b"(?!)")  # noqa: E731
    monkeypatch.setattr(parquet_footer, "_usual", never)
    monkeypatch.setattr(parquet_footer, "_usual_element", never)
    slow = parquet_footer._parsed(footer)
    assert (slow[0], slow[2:]) == (usual[0], usual[2:])
    assert [parquet_footer.bounds(column) for group in slow[1] for column in group.columns] == bounds
    bare = lambda groups: [[c._replace(statistics=b"") for c in group.columns] for group in groups]  # noqa: E731
    assert bare(slow[1]) == bare(usual[1])


def test_statistics_that_are_no_values_decide_nothing(tmp_path):
    """Arrow ends the process where a bound is shorter than its type."""
    data = file_of({"a": list(range(100))}, row_group_size=10, use_dictionary=False, store_schema=False)
    before, footer = split(data)
    short = footer.replace(b"\x18\x08" + (99).to_bytes(8, "little"), b"\x18\x03abc").replace(
        b"\x28\x08" + (99).to_bytes(8, "little"), b"\x28\x03abc"
    )
    assert short != footer
    path = tmp_path / "in.parquet"
    path.write_bytes(joined(before, short))
    for pushdown in (True, False):
        with pytest.raises(ExportError, match="record 91: the file is damaged in row group 9: "):
            exporters_beam.run(
                {
                    "reader": {"name": "fs", "options": {"input": str(path)}},
                    "deserializer": {"name": "parquet"},
                    "filter_before": {"name": "key_value", "options": {"keys": [{"name": "a", "value": 95}]}},
                    "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/p-", "compression": "none"}},
                    "exporter_options": {"pushdown": pushdown},
                },
                workers=1,
            )


@pytest.mark.parametrize("deep", [300, 20_000])
def test_a_schema_that_is_nested_without_end(deep):
    element = b"\x35\x00\x18\x01a\x15\x02\x00"  # optional, "a", one child
    leaf = b"\x15\x02\x25\x02\x18\x01b\x00"
    count = deep + 2
    size = bytes([count & 127 | 128, count >> 7 & 127 | 128, count >> 14])
    footer = b"\x15\x02\x19\xfc" + size + b"\x48\x01r\x15\x02\x00" + element * deep + leaf + b"\x16\x00\x19\x0c\x00"
    assert "nested more than 200 deep" in said(joined(b"PAR1", footer))


def test_lists_that_claim_more_than_there_is():
    for footer in (
        b"\x15\x02\x19\xfc\xff\xff\xff\xff\x07",
        b"\x19" * 50_000,
        b"\x1c" * 50_000,
        b"\x18\xff\xff\xff\xff\x0f",
        b"\x1b\xff\xff\x7f",
    ):
        assert said(joined(b"PAR1", footer)).startswith("the file is truncated or damaged: its footer cannot be read: ")


def test_columns_whose_fields_have_other_types_than_arrow_reads():
    before, footer = split(SMALL)
    usual = parquet_footer._usual().search(footer)
    assert usual is not None
    at = usual.start(5) - 1  # the size in the file, as 32 bits: Arrow would pass over it
    assert footer[at] == 0x16
    assert "its footer cannot be read" in said(joined(before, footer[:at] + b"\x15" + footer[at + 1 :]))


def test_any_bytes_end_in_a_sentence():
    rng = random.Random(5)
    before, footer = split(file_of({"a": [1, 2], "l": [[1], [2, 3]]}))
    for _ in range(3000):
        changed = bytearray(footer)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            parquet_footer.read(io.BytesIO(joined(before, bytes(changed))))
        except SourceError as error:
            assert "\n" not in str(error)


def test_the_numbers_of_thrift():
    assert [thrift.number(data, 0) for data in (b"\x00", b"\x01", b"\x02", b"\xfe\x03")] == [
        (0, 1),
        (-1, 1),
        (1, 1),
        (255, 2),
    ]
    with pytest.raises(ValueError, match="more than 64 bits"):
        thrift.number(b"\xff" * 20, 0)
