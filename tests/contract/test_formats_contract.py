"""What every format promises. One that is written joins with a row in FORMATS, one that is read with a row in READS."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from typing import Any

import pytest

from exporters_beam.errors import RecordError, SourceError
from exporters_beam.records import Record

import contracts
from contracts import Case

COLUMNS = ["n", "text"]
SCHEMA = {"properties": {"n": {"type": "integer"}, "text": {"type": "string"}}}

# What the format cannot hold, so that it fails the record: names of odd texts.
NO_XML = {"nul", "escape", "not a character", "line separators"}

FORMATS = contracts.table(
    "formatter",
    ("avro", {}, "avro", set()),
    ("avro", {"schema": SCHEMA, "codec": "null"}, "avro", set()),
    ("csv", {"fields": COLUMNS}, "csv", set()),
    ("csv", {"fields": COLUMNS, "delimiter": ";"}, "csv", set()),
    ("json", {}, "jsonlines", set()),
    ("json", {"jsonlines": False}, "json", set()),
    ("json", {"pretty_print": True, "jsonlines": False, "ensure_ascii": True}, "json", set()),
    ("orc", {}, "orc", set()),
    ("orc", {"schema": SCHEMA, "codec": "none"}, "orc", set()),
    ("parquet", {}, "parquet", set()),
    ("parquet", {"schema": SCHEMA, "row_group_size": 2}, "parquet", set()),
    ("parquet", {"page_index": True}, "parquet", set()),
    ("xlsx", {"fields": COLUMNS}, "xlsx", {"not a character", "very long"}),
    ("xml", {}, "xml", NO_XML),
)

# What an empty file is: no records, or not a file of this format, which has a header at least.
READS = contracts.table(
    "deserializer",
    ("avro", {}, "not an Avro file"),
    ("csv", {}, None),
    ("fixed_width", {"columns": [{"name": "n", "width": 1}]}, None),
    ("json", {}, "there is no JSON in it"),
    ("jsonlines", {}, None),
    ("orc", {}, "not an ORC file"),
    ("parquet", {}, "not a Parquet file"),
    ("xlsx", {}, None),
    ("xml", {}, None),
)

formats = pytest.mark.parametrize(("case", "reads", "refused"), FORMATS)
deserializers = pytest.mark.parametrize(("case", "empty"), READS)


def file_of(made: Any, *blocks: Sequence[Record]) -> bytes:
    """A file as it is delivered: blocks joined, or put together by the format."""
    out = io.BytesIO()
    if hasattr(made, "encode"):
        encoded = [made.encode(block) for block in blocks if block]
        schemas = list(dict.fromkeys(schema for _, schema in encoded if schema))
        made.assemble([(payload, None) for payload, _ in encoded], schemas, out)
    else:
        texts = [made.format(record) for block in blocks for record in block]
        out.write(made.header + made.separator.join(texts) + made.footer)
    return out.getvalue()


def read(name: str, data: bytes) -> list[Any]:
    """The records of a file, decoded as a pipeline does: a chunk at once or, where that fails, one by one."""
    made = Case("deserializer", name, {"delimiter": ";"} if name == "csv" and b";" in data[:7] else {}).make()
    records: list[Any] = []
    for chunk, _, _ in made.chunks(io.BytesIO(data)):
        try:
            records += made.decode(chunk)
        except Exception:
            records += [record for _, record, _ in made.decode_each(chunk)]
    return records


def as_text(records: Sequence[Record]) -> list[Record]:
    """CSV knows no types: numbers come back as text."""
    return [{key: str(value) for key, value in record.items()} for record in records]


def as_read(records: Sequence[Record], reads: str) -> Sequence[Record]:
    """What comes back: a workbook knows no empty text."""
    if reads == "xlsx":
        return [{key: None if value == "" else value for key, value in record.items()} for record in records]
    return as_text(records) if reads == "csv" else records


def records_for(refused: set[str]) -> list[Record]:
    texts = [text for name, text in contracts.ODD_TEXTS.items() if name not in refused]
    return [{"n": number, "text": text} for number, text in enumerate(texts)]


def test_every_format_has_a_row() -> None:
    contracts.check_every_component_has_a_row("formatter", FORMATS)
    contracts.check_every_component_has_a_row("deserializer", READS)


@formats
def test_options_round_trip(case: Case, reads: str, refused: set[str]) -> None:
    contracts.check_options_round_trip(case)


@formats
def test_unknown_options_are_refused(case: Case, reads: str, refused: set[str]) -> None:
    contracts.check_unknown_options_are_refused(case)


@formats
def test_its_parts_are_what_delivery_needs(case: Case, reads: str, refused: set[str]) -> None:
    made = case.make()
    assert made.extension.isalnum() and made.extension.islower()
    if hasattr(made, "encode"):
        payload, schema = made.encode([{"n": 1, "text": "a"}])
        assert isinstance(payload, bytes) and isinstance(schema, bytes)
        assert bool(schema) != ("schema" in case.options or "fields" in case.options)
    else:
        assert all(isinstance(part, bytes) for part in (made.header, made.separator, made.footer, made.format({"n": 1})))


@formats
def test_odd_text_comes_back_as_it_was(case: Case, reads: str, refused: set[str]) -> None:
    records = records_for(refused)
    expected = as_read(records, reads)
    for made in (case.make(), contracts.check_pickling(case)):
        given = copy.deepcopy(records)
        assert read(reads, file_of(made, given)) == expected
        assert given == records, "formatting changed the records"


@formats
def test_text_it_cannot_hold_fails_the_record(case: Case, reads: str, refused: set[str]) -> None:
    made = case.make()
    for name in refused:
        with pytest.raises(RecordError):
            file_of(made, [{"n": 1, "text": contracts.ODD_TEXTS[name]}])


@formats
def test_half_a_surrogate_pair_comes_back_or_fails_the_record(case: Case, reads: str, refused: set[str]) -> None:
    record = {"n": 1, "text": contracts.SURROGATE}
    try:
        data = file_of(case.make(), [record])
    except RecordError:
        return
    assert read(reads, data) == ([record] if reads != "csv" else as_text([record]))


@formats
def test_writing_twice_gives_the_same_bytes_however_it_is_cut(case: Case, reads: str, refused: set[str]) -> None:
    records = records_for(refused)
    whole = file_of(case.make(), records)
    assert file_of(case.make(), records) == whole
    assert file_of(contracts.check_pickling(case), records[:5], records[5:6], records[6:]) == whole


@formats
def test_records_can_be_chosen_from_a_block(case: Case, reads: str, refused: set[str]) -> None:
    made, records = case.make(), records_for(refused)
    if not hasattr(made, "encode"):
        return
    payload, schema = made.encode(records)
    out = io.BytesIO()
    made.assemble([(payload, [0, 3, 4]), (payload, [2])], [schema] if schema else [], out)
    assert read(reads, out.getvalue()) == as_read([records[at] for at in (0, 3, 4, 2)], reads)


@formats
def test_one_record_makes_a_file(case: Case, reads: str, refused: set[str]) -> None:
    records = [{"n": 1, "text": "a"}]
    assert read(reads, file_of(case.make(), records)) == (as_text(records) if reads == "csv" else records)


@deserializers
def test_options_of_deserializers_round_trip(case: Case, empty: str | None) -> None:
    contracts.check_options_round_trip(case)
    contracts.check_pickling(case)


@deserializers
def test_unknown_options_of_deserializers_are_refused(case: Case, empty: str | None) -> None:
    contracts.check_unknown_options_are_refused(case)


@deserializers
def test_empty_input_holds_no_records(case: Case, empty: str | None) -> None:
    if empty is None:
        assert list(case.make().chunks(io.BytesIO(b""))) == []
        return
    with pytest.raises(SourceError, match=empty):
        list(case.make().chunks(io.BytesIO(b"")))


@deserializers
def test_chunks_count_and_decode_the_same_one_by_one(case: Case, empty: str | None) -> None:
    records = [{"n": number, "text": "x" * 50} for number in range(20_000)]
    forms = [row.values[0] for row in FORMATS if row.values[1] == case.name]
    data = file_of(forms[0].make(), records) if forms else b"".join(b"%d\t%s\n" % (r["n"], b"x" * 50) for r in records)
    made = case.make()
    chunks = list(made.chunks(io.BytesIO(data)))
    assert len(chunks) > 1, "chunks hold about 512 KiB"
    for chunk, count, size in chunks:
        records = list(made.decode(chunk))
        each = list(made.decode_each(chunk))
        assert [record for _, record, _ in each] == records
        assert [number for number, _, _ in each] == sorted({number for number, _, _ in each})
        assert len(records) <= count and size > 0
    assert list(contracts.check_pickling(case).chunks(io.BytesIO(data))) == chunks
