"""Records that are too long, too deep, or claim to be: one sentence, in bounded memory and time."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from exporters_beam.compressions.auto import Auto
from exporters_beam.engine.source import Source
from exporters_beam.errors import RecordError, SourceError
from exporters_beam.formats.avro import _LONGS, AvroDeserializer, _header
from exporters_beam.formats.json import JsonDeserializer
from exporters_beam.formats.parquet import ParquetDeserializer
from exporters_beam.formats.xml import XmlDeserializer
from exporters_beam.readers.fs import FsReader

MIB = 1 << 20


class Endless(io.RawIOBase):
    """A beginning, and the same byte behind it for ever."""

    def __init__(self, begin: bytes, byte: bytes) -> None:
        self._begin, self._byte, self.given = begin, byte, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data, self._begin = self._begin[:size], self._begin[size:]
        self.given += size
        assert self.given < 40 * MIB, "it would be read for ever"
        return data + self._byte * (size - len(data))


def lengths(deserializer: Any, data: bytes) -> tuple[list[Any], str]:
    """The records before the first that is too long, and what was said of that one."""
    found: list[Any] = []
    try:
        for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
            try:
                records = deserializer.decode(chunk)
            except Exception:  # which chunks are in one piece is its own affair
                records = [record for _, record, _ in deserializer.decode_each(chunk)]
            assert len(records) == count
            found += records
    except (RecordError, SourceError) as error:
        return found, str(error)
    return found, ""


SHAPES: dict[str, Callable[[list[bytes]], bytes]] = {
    "array": lambda values: b"[" + b",".join(values) + b"]",
    "array, spread": lambda values: b" [\n  " + b" ,\n  ".join(values) + b"\n]\n",
    "one behind the other": b"".join,
    "lines": b"\n".join,
    "several arrays": lambda values: b"\n".join(b"[" + value + b"]" for value in values),
}


@pytest.mark.parametrize("piece", [4, 50, 1000])
@pytest.mark.parametrize("at", [0, 1, 5, 9])
@pytest.mark.parametrize("shape", SHAPES)
def test_json_before_a_long_value_is_read(monkeypatch, piece, at, shape):
    monkeypatch.setattr("exporters_beam.formats.json.PIECE", piece)
    values = [b'{"n": %d}' % n for n in range(10)]
    values[at] = b'{"n": "%s"}' % (b"x" * 91)
    data = SHAPES[shape](values)
    found, said = lengths(JsonDeserializer(max_record_bytes=99), data)
    assert [record["n"] for record in found] == list(range(at))
    assert said == "the value is longer than 99 bytes; where that is right, raise max_record_bytes"
    assert len(lengths(JsonDeserializer(max_record_bytes=100), data)[0]) == 10


@pytest.mark.parametrize("piece", [4, 50])
def test_white_space_between_values_is_no_value(monkeypatch, piece):
    monkeypatch.setattr("exporters_beam.formats.json.PIECE", piece)
    data = b"[" + b'{"n": 1}' + b" " * 3000 + b"," + b"\n" * 3000 + b'{"n": 2}' + b" " * 3000 + b"]"
    assert lengths(JsonDeserializer(max_record_bytes=20), data) == ([{"n": 1}, {"n": 2}], "")


@pytest.mark.parametrize("piece", [4, 50, 1000])
@pytest.mark.parametrize("at", [0, 1, 5, 9])
def test_a_long_element_is_refused_with_its_number(monkeypatch, piece, at):
    monkeypatch.setattr("exporters_beam.formats.xml.PIECE", piece)
    elements = [b"<item><n>%d</n></item>" % n for n in range(10)]
    elements[at] = b"<item><n>%s</n></item>" % (b"x" * 200)
    data = b"<root>" + b"\n".join(elements) + b"</root>"
    _, said = lengths(XmlDeserializer(max_record_bytes=150), data)
    assert said == (f"record {at + 1}: the element is longer than 150 bytes; "
                    "where that is right, raise max_record_bytes")  # fmt: skip
    assert len(lengths(XmlDeserializer(max_record_bytes=220), data)[0]) == 10


@pytest.mark.parametrize(
    "begin",
    [
        b"<r><item>",
        b"<r><item><a>",
        b"<r><item><a><![CDATA[",
        b'<r><item a="',
        b"<r><item><!-- ",
        b"<r><item><",
        b"<r><!-- ",
        b'<r><other a="',
        b"<?",
        b"<",
    ],
)
def test_xml_that_never_ends(begin):
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"record 1: the element is longer than 2,097,152 bytes; .*max_record_bytes"):
            list(XmlDeserializer(max_record_bytes=2 * MIB).chunks(Endless(begin, b"x")))
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("begin", [b'{"a": "', b'[{"a": 1}, {"a": "', b"[[", b'{"a": ', b"[1, ", b'["'])
def test_json_that_never_ends(begin):
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match=r"the value is longer than 2,097,152 bytes; .*max_record_bytes"):
            list(JsonDeserializer(max_record_bytes=2 * MIB).chunks(Endless(begin, b"1")))
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
    finally:
        tracemalloc.stop()


def test_the_usual_limit_is_100_mib():
    for deserializer in (JsonDeserializer(), XmlDeserializer()):
        assert deserializer.max_record_bytes == 100 * MIB
    data = b'[{"n": 1}, {"n": "' + b"x" * (100 * MIB) + b'"}]'
    assert lengths(JsonDeserializer(), data)[1].startswith("the value is longer than 104,857,600 bytes")
    data = b"<r><item><n>1</n></item><item><n>" + b"x" * (100 * MIB) + b"</n></item></r>"
    assert lengths(XmlDeserializer(), data)[1].startswith("record 2: the element is longer than 104,857,600 bytes")


@pytest.mark.parametrize(
    "name, deserializer, begin, good, bad, end, what",
    [
        ("data.json", JsonDeserializer, b"[", b'{"a": 1},', b'{"a": "' + b"x" * 5000 + b'"},', b'{"a": 1}]', "value"),
        ("data.json", JsonDeserializer, b"", b'{"a": 1}', b'{"a": "' + b"x" * 5000 + b'"}', b"", "value"),
        ("data.xml", XmlDeserializer, b"<r>", b"<item><a>1</a></item>", b"<item><a>" + b"x" * 5000 + b"</a></item>",
         b"</r>", "element"),
    ],
)  # fmt: skip
def test_the_error_names_the_file_and_the_number_of_the_record(
    tmp_path, monkeypatch, name, deserializer, begin, good, bad, end, what
):
    for module in ("json", "xml"):
        monkeypatch.setattr(f"exporters_beam.formats.{module}.PIECE", 64)
    path = tmp_path / name
    path.write_bytes(begin + good * 40 + bad + good * 40 + end)
    source = Source(FsReader(input=str(path)), Auto(), deserializer(max_record_bytes=1000), 16 << 20)
    unit = next(source.units())
    with pytest.raises(SourceError) as caught:
        list(source.events(unit, source.span(unit)))
    assert str(caught.value) == (f"{path}: record 41: the {what} is longer than 1,000 bytes; "
                                 "where that is right, raise max_record_bytes")  # fmt: skip


@pytest.mark.parametrize("deep", [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000])
def test_json_nested_too_deep_fails_its_record_alone(deep):
    deserializer = JsonDeserializer()
    (chunk, _, _), *_ = deserializer.chunks(io.BytesIO(b'[{"n": 1}, {"n": ' + deep + b'}, {"n": 3}]'))
    with pytest.raises((RecordError, RecursionError)):
        deserializer.decode(chunk)
    first, bad, third = (record for _, record, _ in deserializer.decode_each(chunk))
    assert (first, third) == ({"n": 1}, {"n": 3})
    assert str(bad).startswith("not readable: values are nested too deep: ") and len(str(bad)) < 400


@pytest.mark.parametrize("begin", [b"<r>", b"<r><item>"])
def test_xml_nested_without_end_is_refused_before_it_fills_the_memory(begin):
    with pytest.raises(SourceError, match="record 1: elements are nested more than 100,000 deep"):
        list(XmlDeserializer().chunks(io.BytesIO(begin + b"<a>" * 200_000)))


# Avro


def number(n: int) -> bytes:
    return bytes(_LONGS[n])


def avro(fields: dict[str, Any], body: bytes, count: int = 1, size: int | None = None) -> bytes:
    schema = {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}
    sync = bytes(range(16))
    return _header(schema, "null", sync) + number(count) + number(len(body) if size is None else size) + body + sync


def said_of_avro(data: bytes) -> str:
    """What decoding it ends in, the way the pipeline goes: whole chunks, then each record."""
    deserializer = AvroDeserializer()
    tracemalloc.start()
    try:
        for chunk, _, _ in deserializer.chunks(io.BytesIO(data)):
            with pytest.raises(Exception):  # noqa: B017
                deserializer.decode(chunk)
            list(deserializer.decode_each(chunk))
    except SourceError as error:
        return str(error)
    finally:
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
        tracemalloc.stop()
    return ""


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}


@pytest.mark.parametrize(
    "data, what",
    [
        (avro({"a": "bytes"}, b"\2a", size=1 << 50),
         "a part of the file claims to have 1,125,899,906,842,624 bytes, and more than 256 MiB are not read"),
        (avro({}, b"", count=1 << 40),
         "a block claims to have 1,099,511,627,776 records, and more than 4,194,304 are not read"),
        (avro({"a": "boolean"}, b"\0", count=1 << 20), "the block is damaged"),
        (avro({"a": "string"}, number(1 << 50) + b"abc"), "Expected 1125899906842624 bytes, read 3"),
        (avro({"a": "string"}, number(-1) + b"abc"), "the block is damaged"),
        (avro({"a": {"type": "fixed", "name": "F", "size": 1 << 40}}, b"abc"), "Expected 1099511627776 bytes"),
        (avro({"a": {"type": "array", "items": "int"}}, number(1 << 50) + b"\2"), "the block is damaged"),
        (avro({"a": {"type": "map", "values": "int"}}, number(1 << 50) + b"\2"), "the block is damaged"),
        (avro({"a": {"type": "array", "items": "null"}}, number(1 << 50) + b"\0"),
         "an array claims to have 1,125,899,906,842,624 items"),
        (avro({"a": {"type": "array", "items": {"type": "record", "name": "E", "fields": []}}}, number(1 << 50) + b"\0"),
         "an array claims to have 1,125,899,906,842,624 items"),
        (avro({"a": NODE}, number(1) * 100_000 + number(0)), "values are nested more than 400 deep"),
        (avro({"a": "long"}, b"\xff" * 1000), "the block is damaged"),
    ],
)  # fmt: skip
def test_avro_that_claims_too_much(data, what):
    text = said_of_avro(data)
    assert text.startswith("record ") and what in text


def test_avro_schemas_that_could_claim_too_much_are_read_where_they_do_not():
    nodes = {"type": "array", "items": "Node"}
    fields = {
        "list": NODE, "nulls": {"type": "array", "items": "null"}, "more": nodes, "s": "string", "b": "boolean", "d": "double",
        "e": {"type": "enum", "name": "E", "symbols": ["x", "y"]}, "m": {"type": "map", "values": ["null", "long"]},
        "f": {"type": "fixed", "name": "F", "size": 2},
    }  # fmt: skip
    body = (
        number(1) * 300 + number(0) + number(3) + number(0)
        + number(-2) + number(2) + number(0) * 2 + number(0)
        + number(2) + b"hi" + b"\1" + bytes(8) + number(1) + number(1) + number(1) + b"k" + number(1) + number(-7)
        + number(0) + b"zz"
    )  # fmt: skip
    found, said = lengths(AvroDeserializer(), avro(fields, body * 3, 3))
    assert said == "" and len(found) == 3
    depth, node = 0, found[2].pop("list")
    while node["next"]:
        depth, node = depth + 1, node["next"]
    assert depth == 300
    assert found[2] == {"nulls": [None] * 3, "more": [{"next": None}] * 2, "s": "hi", "b": True, "d": 0.0, "e": "y",
                        "m": {"k": -7}, "f": b"zz"}  # fmt: skip


def test_an_xz_block_may_not_ask_for_any_memory():
    import lzma

    from exporters_beam.formats.avro import _unxz

    packed = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 1 << 29}])
    with pytest.raises(lzma.LZMAError, match=r"[Mm]emory"):
        _unxz(packed)


def test_a_snappy_block_may_not_claim_any_size():
    pytest.importorskip("cramjam")
    from exporters_beam.formats.avro import _unsnappy

    with pytest.raises(ValueError, match="more than 256 MiB"):
        _unsnappy(b"\xff\xff\xff\xff\x0f" + bytes(20))


# Parquet: what Arrow itself refuses is tested too, since nothing of ours stands before it.

ROWS = 777


def parquet(codec: str = "none") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"a": [i * 7919 % 65521 for i in range(ROWS)]}), out, compression=codec, use_dictionary=False,
                   write_statistics=False, store_schema=False)  # fmt: skip
    return out.getvalue()


def told_of_parquet(data: bytes) -> Any:
    """The metadata of the file's only column."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0)


def footer(data: bytes, old: int, new: int, nth: int | None = None) -> bytes:
    """The file with a number of its footer replaced, wherever it stands or in its nth place."""
    size = struct.unpack("<I", data[-8:-4])[0]
    parts = data[-8 - size : -8].split(number(old))
    places = [number(new) if nth is None or n == nth else number(old) for n in range(len(parts) - 1)]
    assert places
    body = b"".join(part + place for part, place in zip(parts, [*places, b""], strict=True))
    return data[: -8 - size] + body + struct.pack("<I", len(body)) + data[-4:]


def page_bytes(data: bytes) -> int:
    from exporters_beam.formats import thrift

    return int(thrift.struct(data, 4)[0][3])


def said_of_parquet(data: bytes, **options: Any) -> str:
    deserializer = ParquetDeserializer(**options)
    try:
        for row_group in range(deserializer.row_groups(io.BytesIO(data))):
            for chunk, _, _ in deserializer.chunks_of(io.BytesIO(data), row_group):
                deserializer.decode(chunk)
    except SourceError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("rows", [1 << 62, 1 << 40, ROWS + 1, ROWS - 1, -1])
@pytest.mark.parametrize("place", [1, 3])
def test_parquet_that_claims_another_number_of_records(rows, place):
    text = said_of_parquet(footer(parquet(), ROWS, rows, place))
    assert text.startswith("the file is ") and "damaged: " in text and str(rows) in text
    assert rows < 0 or str(ROWS) in text


@pytest.mark.parametrize("rows", [1 << 62, 0, ROWS + 1, ROWS - 1, -1])
def test_parquet_whose_file_claims_another_number_of_records_than_its_row_groups(rows):
    data = footer(parquet(), ROWS, rows, 0)
    deserializer = ParquetDeserializer()
    found, said = lengths(deserializer, data)
    assert (len(found), said) == (ROWS, "")
    assert deserializer.warnings(io.BytesIO(data)) == (
        f"the file claims to have {rows:,} records, and its row groups have {ROWS:,}, which are read",
    )
    assert deserializer.warnings(io.BytesIO(parquet())) == ()


@pytest.mark.parametrize("rows", [1 << 62, 1 << 40, ROWS + 1, -1])
def test_parquet_that_claims_it_everywhere(rows):
    text = said_of_parquet(footer(parquet(), ROWS, rows))
    assert "claims to have" in text or "the file is damaged in row group 0" in text


@pytest.mark.parametrize("size", [1 << 62, 1 << 40, 1 << 31, -1])
def test_parquet_whose_column_chunk_claims_too_much(size):
    data = parquet("zstd")
    about = told_of_parquet(data)
    text = said_of_parquet(footer(data, about.total_compressed_size, size))
    assert text.startswith("record 1: the file is damaged in row group 0: ")


@pytest.mark.parametrize("codec", ["zstd", "snappy", "gzip"])
@pytest.mark.parametrize("size", [1 << 30, (1 << 31) - 1, -1])
def test_parquet_whose_page_claims_too_much(codec, size):
    data = parquet(codec)
    about = told_of_parquet(data)
    page = number(about.total_uncompressed_size - 22)  # 22 bytes are the page's header
    assert page in data[4:40]
    longer = data[:4] + data[4:40].replace(page, number(size), 1) + data[40:]
    grown = len(number(size)) - len(page)
    text = said_of_parquet(footer(longer, about.total_compressed_size, about.total_compressed_size + grown))
    bomb = f"record 1: row group 0: column a: a page of {page_bytes(data):,} bytes claims to unpack to {size:,}, over 1,000 "
    assert text.startswith(bomb if size > 0 else "record 1: the file is damaged in row group 0: ")
    if size > 0:
        text = said_of_parquet(footer(longer, about.total_compressed_size, about.total_compressed_size + grown), max_ratio=0)
        assert text.startswith("record 1: the file is damaged in row group 0: " if size < 1 << 30 else "record 1: ")


def test_parquet_whose_footer_claims_too_much():
    data = parquet()
    text = said_of_parquet(data[:-8] + struct.pack("<I", (1 << 32) - 1) + data[-4:])
    assert text.startswith("the file is truncated or damaged: ")


def test_the_limits_stand_in_the_schema_of_configs():
    from exporters_beam.components import registry
    from exporters_beam.config.schema import document_schema

    text = json.dumps(document_schema())
    assert text.count('"max_record_bytes"') >= 4
    for name in ("json", "xml", "jsonlines", "csv"):
        assert "max_record_bytes" in registry.load(registry.find("deserializer", name)).__dataclass_fields__
