"""Avro files, written and read."""

from __future__ import annotations

import datetime
import io
import json
import pickle
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.avro import AvroDeserializer, AvroFormat

from examples import at_least

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=UTC)


def written(form: AvroFormat, *blocks: Sequence[Any], chosen: Sequence[Sequence[int] | None] | None = None) -> bytes:
    encoded = [form.encode(block) for block in blocks]
    schemas = list(dict.fromkeys(schema for _, schema in encoded))
    out = io.BytesIO()
    payloads = [payload for payload, _ in encoded]
    form.assemble(zip(payloads, chosen or [None] * len(blocks), strict=True), schemas, out)
    return out.getvalue()


def records(data: bytes, **options: Any) -> list[Any]:
    """As the reader does it: a chunk that cannot be decoded is tried record by record."""
    deserializer, found = AvroDeserializer(**options), []
    for chunk, _, _ in deserializer.chunks(io.BytesIO(data)):
        try:
            found += deserializer.decode(chunk)
        except SourceError:
            raise
        except Exception:
            found += [record for _, record, _ in deserializer.decode_each(chunk)]
    return found


def file_of(schema: Any, rows: list[Any], **options: Any) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, schema, rows, **options)
    return out.getvalue()


def record(*fields: Any, name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "_id": st.integers(-(2**63), 2**63 - 1),
            "name": TEXT,
            "price": st.none() | st.floats(allow_nan=False),
            "ok": st.none() | st.booleans(),
            "place": st.none() | st.fixed_dictionaries({"city": TEXT, "at": st.lists(st.floats(-90, 90), max_size=2)}),
            "lines": st.lists(st.fixed_dictionaries({"sku": TEXT, "n": st.none() | st.integers(0, 9)}), max_size=3),
            "grid": st.lists(st.none() | st.lists(st.integers(-999, 99_999), max_size=2), max_size=2),
            "raw": st.binary(max_size=4),
            "when": st.datetimes(timezones=st.just(UTC)),
            "local": st.none() | st.datetimes(),
            "day": st.dates(),
            "time": st.times(),
            "cost": st.decimals(-1000, 1000, places=2),
        }
    ),
    min_size=1,
    max_size=12,
)


@limits(max_examples=at_least(80), deadline=None)
@given(ROWS, st.integers(1, 12))
def test_what_goes_in_comes_out(rows: list[Any], block: int) -> None:
    form = AvroFormat(codec="null")
    data = written(form, *(rows[i : i + block] for i in range(0, len(rows), block)))
    assert list(fastavro.reader(io.BytesIO(data))) == rows
    found = records(data)
    assert found == rows
    assert [list(r) for r in found] == [list(rows[0])] * len(rows)
    assert data == written(form, rows)


def test_missing_keys_null_fields_and_empty_values() -> None:
    data = written(
        AvroFormat(),
        [{"z": 1, "never": None, "list": [], "object": {}}],
        [{"a": {"x": 1}, "z": 2.5}, {"late": [], "a": None}],
        [{"a": {"y": "s"}, "late": ["x", None]}, {"object": None, "a": {}}],
    )
    nothing = {"z": None, "never": None, "list": None, "object": None, "a": None, "late": None}
    assert records(data) == [
        nothing | {"z": 1.0, "list": [], "object": {}},
        nothing | {"z": 2.5, "a": {"x": 1, "y": None}},
        nothing | {"late": []},
        nothing | {"a": {"x": None, "y": "s"}, "late": ["x", None]},
        nothing | {"a": {"x": None, "y": None}},
    ]
    schema: Any = fastavro.reader(io.BytesIO(data)).writer_schema
    types = {f["name"]: f["type"][1] for f in schema["fields"]}
    assert types["never"] == "string"
    assert types["list"] == {"type": "array", "items": ["null", "string"]}
    assert types["object"] == {"type": "map", "values": ["null", "string"]}


def test_records_without_any_key() -> None:
    assert records(written(AvroFormat(), [{}, {}])) == [{}, {}]


def test_values_nested_deeply_but_not_too_deeply() -> None:
    lists: Any = 1
    objects: Any = 1
    for _ in range(48):
        lists, objects = [lists], {"k": objects}
    assert records(written(AvroFormat(), [{"l": lists}], [{"o": objects}])) == [
        {"l": lists, "o": None},
        {"l": None, "o": objects},
    ]


def test_decimals_of_several_blocks_get_one_scale() -> None:
    data = written(AvroFormat(), [{"d": Decimal("-1.5")}], [{"d": Decimal("1000")}], [{"d": Decimal("0.00")}])
    assert [str(r["d"]) for r in records(data)] == ["-1.50", "1000.00", "0.00"]


def test_chosen_records() -> None:
    rows = [{"i": i, "l": [i] * i, "s": {"x": str(i)}} for i in range(6)]
    data = written(AvroFormat(), rows, rows, rows, rows, chosen=[[1, 2, 3], [5], [], [4, 0]])
    assert records(data) == [*rows[1:4], rows[5], rows[4], rows[0]]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "zstandard"])
def test_codecs(codec: str) -> None:
    rows = [{"i": i, "t": "x" * 100} for i in range(3000)]
    data = written(AvroFormat(codec=codec), rows[:1000], rows[1000:])
    reader = fastavro.reader(io.BytesIO(data))
    assert reader.codec == codec
    try:
        assert list(reader) == rows
    except ValueError as error:
        assert "zstandard codec is supported but" in str(error)  # fastavro finds none of its packages
    assert records(data) == rows


def test_blocks_are_about_64_kib_whatever_was_staged() -> None:
    rows = [{"t": "x" * 1000} for _ in range(200)]
    data = written(AvroFormat(codec="null"), *([row] for row in rows))
    sizes = [(block.num_records, block.size) for block in fastavro.block_reader(io.BytesIO(data))]
    assert [count for count, _ in sizes] == [66, 66, 66, 2]
    assert data == written(AvroFormat(codec="null"), rows)


def test_equal_records_give_equal_bytes() -> None:
    rows = [{"a": i, "b": [{"c": str(i)}] * (i % 3), "d": None if i % 2 else 0.5} for i in range(100)]
    copy = pickle.loads(pickle.dumps(rows))
    assert AvroFormat().encode(rows) == AvroFormat().encode(copy)
    assert written(AvroFormat(), rows[:50], rows[50:]) == written(AvroFormat(), copy)


def test_names_that_avro_does_not_have() -> None:
    with pytest.raises(RecordError, match=r"field 'first-name' cannot be a name in Avro.*rename it with a transform"):
        AvroFormat().encode([{"a": [{"first-name": 1}]}])
    with pytest.raises(ConfigError, match="name: 'a-b' is not a valid name"):
        AvroFormat(name="a-b")
    assert fastavro.reader(io.BytesIO(written(AvroFormat(name="org.Shop"), [{"a": 1}]))).writer_schema["name"] == "org.Shop"  # type: ignore[index,call-overload]


def test_records_that_do_not_agree() -> None:
    with pytest.raises(RecordError, match=r"field a holds integers .1. and text"):
        AvroFormat().encode([{"a": 1}, {"a": "x"}])
    with pytest.raises(RecordError, match="field a holds text, and numbers in the records before"):
        written(AvroFormat(), [{"a": 1}], [{"a": "x"}])


EVERYTHING = {
    "type": "record",
    "name": "Everything",
    "namespace": "org.shop",
    "fields": [
        {"name": "i", "type": "int"},
        {"name": "f", "type": "float"},
        {"name": "last", "type": ["long", "null"]},
        {"name": "mixed", "type": ["string", "null", "long", {"type": "array", "items": "long"}, "boolean"]},
        {
            "name": "either",
            "type": ["int", {"type": "record", "name": "P", "fields": [{"name": "x", "type": "double"}]}],
        },
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
        {"name": "es", "type": {"type": "map", "values": ["null", "E"]}},
        {"name": "x", "type": {"type": "fixed", "name": "X", "size": 2}},
        {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {
            "name": "fd",
            "type": {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 6, "scale": 2},
        },
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "tm", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "tu", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "us", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "lus", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        {"name": "p", "type": ["null", "P"]},
        {"name": "n", "type": "null"},
        {"name": "dflt", "type": "string", "default": "unknown"},
        {"name": "raw", "type": "bytes", "default": "ÿ"},
    ],
}
FULL = {
    "i": -1,
    "f": 0.5,
    "last": 7,
    "mixed": "x",
    "either": {"x": 1.5},
    "e": "B",
    "es": {"k": "A", "l": None},
    "x": b"ab",
    "d": Decimal("-12.34"),
    "fd": Decimal("12.30"),
    "day": datetime.date(1969, 1, 1),
    "tm": datetime.time(23, 59, 59, 123000),
    "tu": datetime.time(23, 59, 59, 123456),
    "ms": NOON,
    "us": NOON.replace(microsecond=1),
    "lus": NOON.replace(tzinfo=None),
    "p": {"x": 2.0},
    "n": None,
    "dflt": "y",
    "raw": b"\x00",
}


def test_an_avro_schema_is_written_as_it_is_given() -> None:
    rows: list[dict[str, Any]] = [FULL, FULL | {"last": None, "mixed": None, "either": 3, "p": None, "es": {}}]
    rows += [FULL | {"mixed": 5}, FULL | {"mixed": [1, 2]}, FULL | {"mixed": True}]
    form = AvroFormat(schema=EVERYTHING)
    assert form.encode(rows)[1] == b""
    data = written(form, rows[:2], rows[2:])
    reader = fastavro.reader(io.BytesIO(data))
    assert list(reader) == rows
    assert json.loads(reader.metadata["avro.schema"]) == EVERYTHING
    assert records(data) == rows


def test_text_is_parsed_and_defaults_are_filled_in() -> None:
    row = FULL | {"d": "1.5", "day": "2026-01-31", "us": "2026-01-31T12:00:00Z", "tu": "12:00:00", "p": {"x": 2}}
    del row["dflt"], row["raw"]
    (found,) = records(written(AvroFormat(schema=EVERYTHING), [row]))
    assert found["d"] == Decimal("1.50")
    assert (found["day"], found["us"], found["tu"]) == (datetime.date(2026, 1, 31), NOON, datetime.time(12))
    assert (found["dflt"], found["raw"], found["p"]) == ("unknown", b"\xff", {"x": 2.0})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"i": 2**31}, "field i: 2147483648 is not an integer of int32"),
        ({"i": None}, "field i is missing or null"),
        ({"mixed": 1.5}, "field mixed: 1.5 is of none of the types"),
        ({"either": {"y": 1}}, "field either: {'y': 1} is of none of the types"),
        ({"e": "C"}, "field e: 'C' is not one of the symbols"),
        ({"x": b"abc"}, "is not as many bytes"),
        ({"d": Decimal("0.001")}, "cannot hold it"),
        ({"us": NOON.replace(tzinfo=None)}, "no time zone"),
        ({"ms": NOON.replace(microsecond=1)}, "microseconds would be lost"),
        ({"n": 1}, "1 is not null"),
        ({"other": 1}, "field other is not in the schema"),
    ],
)
def test_one_record_that_does_not_fit_fails_alone(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RecordError) as caught:
        AvroFormat(schema=EVERYTHING).encode([FULL | change])
    assert words in str(caught.value)


def test_a_json_schema_says_the_fields_too() -> None:
    schema = {
        "properties": {
            "id": {"type": "integer"},
            "at": {"type": "string", "format": "date-time"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "required": ["id"],
    }
    data = written(AvroFormat(schema=schema), [{"id": 1, "at": "2026-01-31T12:00:00Z", "tags": ["x"], "scores": {"a b": 1}}])
    assert records(data) == [{"id": 1, "at": NOON, "tags": ["x"], "scores": {"a b": 1.0}}]
    assert fastavro.reader(io.BytesIO(data)).writer_schema["fields"][0] == {"name": "id", "type": "long"}  # type: ignore[index,call-overload]
    with pytest.raises(ConfigError, match=r"schema.properties.a.arrow: Avro has no type for uint64"):
        AvroFormat(schema={"properties": {"a": {"arrow": "uint64"}}})
    with pytest.raises(ConfigError, match=r"schema.properties.a-b: 'a-b' cannot be a name"):
        AvroFormat(schema={"properties": {"a-b": {"type": "string"}}})


def test_components_pickle_and_still_work() -> None:
    form = pickle.loads(pickle.dumps(AvroFormat(schema=EVERYTHING)))
    assert form == AvroFormat(schema=EVERYTHING)
    assert records(written(form, [FULL])) == [FULL]
    deserializer = AvroDeserializer(reader_schema=record(("i", "long")))
    assert pickle.loads(pickle.dumps(deserializer)) == deserializer


# Reading what others wrote

NUMBERS = record(("i", "long"), ("t", ["null", "string"]))


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_files_of_fastavro(codec: str) -> None:
    rows = [{"i": i, "t": None if i % 2 else f"ñ{i}"} for i in range(5000)]
    data = file_of(NUMBERS, rows, codec=codec, sync_interval=1000)
    assert records(data) == rows
    chunks = list(AvroDeserializer().chunks(io.BytesIO(data)))
    assert sum(count for _, count, _ in chunks) == 5000
    assert pickle.loads(pickle.dumps(chunks)) == chunks


def test_zstandard_frames_that_do_not_say_their_size() -> None:
    import zstandard

    plain = written(AvroFormat(codec="null"), [{"a": "x" * 100}] * 10)
    (block,) = fastavro.block_reader(io.BytesIO(plain))
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    packed = stream.compress(block.bytes_.getvalue()) + stream.flush()
    header = written(AvroFormat(codec="zstandard"), [{"a": "x" * 100}], chosen=[[]])
    data = header + bytes([20]) + bytes([len(packed) * 2]) + packed + header[-16:]
    assert records(data) == [{"a": "x" * 100}] * 10


def test_snappy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cramjam")
    rows = [{"i": i, "t": "x"} for i in range(100)]
    assert records(file_of(NUMBERS, rows, codec="snappy")) == rows


def test_chunks_end_with_blocks_and_are_not_too_large() -> None:
    data = file_of(NUMBERS, [{"i": i, "t": "x" * 100} for i in range(20_000)], sync_interval=10_000)
    counts = [count for _, count, _ in AvroDeserializer().chunks(io.BytesIO(data))]
    assert sum(counts) == 20_000
    assert 1 < len(counts) < 20
    assert max(size for _, _, size in AvroDeserializer().chunks(io.BytesIO(data))) < 300_000


def test_a_reader_schema() -> None:
    wanted = record(("t", ["null", "string"]), ("i", "double"))
    wanted["fields"].append({"name": "new", "type": "string", "default": "none"})
    found = records(file_of(NUMBERS, [{"i": 1, "t": "x"}]), reader_schema=wanted)
    assert found == [{"t": "x", "i": 1.0, "new": "none"}]
    with pytest.raises(SourceError, match="reader_schema does not fit"):
        records(file_of(NUMBERS, [{"i": 1, "t": "x"}]), reader_schema=record(("i", "string")))
    with pytest.raises(ConfigError, match="reader_schema: an Avro schema"):
        AvroDeserializer(reader_schema={"fields": []})


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz", "zstandard"])
def test_a_block_that_would_fill_the_memory(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(AvroFormat(codec=codec), [{"t": "x" * 3_000_000}])
    assert len(data) < 10_000
    monkeypatch.setattr("exporters_beam.formats.avro.LARGEST", 2 << 20)
    with pytest.raises(SourceError, match=r"record 1: the block is damaged .*more than 2 MiB"):
        records(data)


def test_uuids_stay_text() -> None:
    schema = record(
        ("u", {"type": "string", "logicalType": "uuid"}),
        ("us", {"type": "array", "items": {"type": "string", "logicalType": "uuid"}}),
    )
    text = "8f4f3f5e-1111-4222-8333-123456789abc"
    data = file_of(schema, [{"u": text, "us": [text]}])
    assert records(data) == [{"u": text, "us": [text]}]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "not an Avro file: 0 bytes"),
        (lambda data: b'{"a": 1}\n', "not an Avro file: it begins with b'{\"a\"'"),
        (lambda data: data[:20], "header: the file is truncated"),
        (lambda data: data[:-5], r"record 39\d\d: the file is truncated"),
        (lambda data: data[:-300], r"record 39\d\d: the file is truncated"),
        (lambda data: data[:-16] + bytes(16), r"record 39\d\d: the file is damaged: its block does not end"),
        (lambda data: data.replace(b"deflate", b"deflatf"), "codec 'deflatf' is not known; known: deflate"),
        (lambda data: data.replace(b'"long"', b'"lonk"'), "the file's schema cannot be read"),
        (lambda data: data[:-100] + bytes(50) + data[-50:], r"record 39\d\d: the block is damaged"),
    ],
)
def test_damaged_files(damage: Any, words: str) -> None:
    data = file_of(NUMBERS, [{"i": i * 7919, "t": str(i * 7919)} for i in range(4000)], codec="deflate", sync_interval=1000)
    with pytest.raises(SourceError, match=words):
        records(damage(data))


def test_a_value_that_python_cannot_hold_fails_its_record_only() -> None:
    schema = record(
        ("id", "long"),
        ("at", {"type": "long", "logicalType": "timestamp-micros"}),
        ("u", {"type": "string", "logicalType": "uuid"}),
    )
    rows = [{"id": 1, "at": 0, "u": "x"}, {"id": 2, "at": 2**62, "u": "y"}, {"id": 3, "at": 5, "u": "z"}]
    plain = record(("id", "long"), ("at", "long"), ("u", "string"))
    old, new = (json.dumps(s, separators=(",", ":")).encode() for s in (plain, schema))
    data = file_of(plain, rows)
    header = written(AvroFormat(schema=schema, codec="null"), [{"id": 1, "at": NOON, "u": ""}], chosen=[[]])
    (block,) = fastavro.block_reader(io.BytesIO(data))
    body = block.bytes_.getvalue()
    assert old != new
    data = header + bytes([6, len(body) * 2]) + body + header[-16:]
    deserializer = AvroDeserializer()
    ((chunk, count, _),) = deserializer.chunks(io.BytesIO(data))
    assert count == 3
    with pytest.raises(Exception, match=r".*"):
        deserializer.decode(chunk)
    (n, first, none), (m, second, raw), (k, third, _) = deserializer.decode_each(chunk)
    assert (n, m, k, none) == (0, 1, 2, None)
    assert first == {"id": 1, "at": datetime.datetime(1970, 1, 1, tzinfo=UTC), "u": "x"}
    assert third["id"] == 3 and third["at"].microsecond == 5  # type: ignore[index]
    assert isinstance(second, RecordError) and str(second).startswith("a value cannot be read: ")
    assert raw == {"id": 2, "at": 2**62, "u": "y"}


def test_bytes_that_are_no_records_stop_the_export() -> None:
    data = file_of(NUMBERS, [{"i": 1, "t": "x"}, {"i": 2, "t": "y"}])
    broken = data.replace(b"\x04\x02\x02y", b"\x04\x09\x02y")
    deserializer = AvroDeserializer()
    ((chunk, _, _),) = deserializer.chunks(io.BytesIO(broken))
    found = deserializer.decode_each(chunk)
    assert next(found)[1] == {"i": 1, "t": "x"}
    with pytest.raises(SourceError, match="record 2: the block is damaged"):
        next(found)
