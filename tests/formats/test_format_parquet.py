"""Parquet files, written and read."""

from __future__ import annotations

import datetime
import io
import pickle
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from exporters_beam.errors import ConfigError, DestinationError, RecordError, SourceError
from exporters_beam.formats.parquet import ParquetDeserializer, ParquetFormat

from examples import at_least

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=UTC)


def written(form: ParquetFormat, *blocks: Sequence[Any], chosen: Sequence[Sequence[int] | None] | None = None) -> bytes:
    encoded = [form.encode(block) for block in blocks]
    schemas = list(dict.fromkeys(schema for _, schema in encoded))
    out = io.BytesIO()
    payloads = [payload for payload, _ in encoded]
    form.assemble(zip(payloads, chosen or [None] * len(blocks), strict=True), schemas, out)
    return out.getvalue()


def records(data: bytes, **options: Any) -> list[Any]:
    deserializer = ParquetDeserializer(**options)
    return [r for chunk, _, _ in deserializer.chunks(io.BytesIO(data)) for r in deserializer.decode(chunk)]


def table(data: bytes) -> Any:
    return pq.read_table(io.BytesIO(data))


def file_of(columns: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), out, **options)
    return out.getvalue()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "_id": st.integers(-(2**63), 2**63 - 1),
            "naïve name": TEXT,
            "price": st.none() | st.floats(allow_nan=False),
            "ok": st.booleans(),
            "place": st.none() | st.fixed_dictionaries({"city": TEXT, "at": st.lists(st.floats(-90, 90), max_size=2)}),
            "lines": st.lists(st.fixed_dictionaries({"sku": TEXT, "n": st.none() | st.integers(0, 9)}), max_size=3),
            "grid": st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2),
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
@given(ROWS, st.integers(1, 12), st.integers(1, 20))
def test_what_goes_in_comes_out(rows: list[Any], block: int, row_group_size: int) -> None:
    form = ParquetFormat(row_group_size=row_group_size)
    data = written(form, *(rows[i : i + block] for i in range(0, len(rows), block)))
    found = records(data)
    assert found == rows
    assert [list(r) for r in found] == [list(rows[0])] * len(rows)
    assert data == written(form, rows)


@limits(max_examples=at_least(60), deadline=None)
@given(
    st.lists(
        st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "a": st.none() | st.integers(0, 9),
                    "b": st.fixed_dictionaries({}, optional={"x": st.none() | st.booleans(), "y": st.lists(st.just("z"))}),
                    "c": st.lists(st.none() | st.fixed_dictionaries({}, optional={"x": st.just(1), "y": st.just("s")})),
                },
            ),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_blocks_of_different_shapes_make_one_file(blocks: list[list[Any]]) -> None:
    rows = [row for block in blocks for row in block]
    if not any(rows):
        return
    found = records(written(ParquetFormat(), *blocks))
    assert bare(found) == bare(rows)
    assert list(found[0]) == list(dict.fromkeys(key for row in rows for key in row))


def bare(value: Any) -> Any:
    """Without what a table cannot tell apart: keys that are missing, and keys that are null."""
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items() if inner is not None}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def test_missing_keys_null_columns_and_empty_values() -> None:
    data = written(
        ParquetFormat(),
        [{"z": 1, "never": None, "list": [], "object": {}}],
        [{"a": {"x": 1}, "z": 2.5}, {"late": [], "a": None}],
        [{"a": {"y": "s"}, "late": ["x"]}],
    )
    assert str(table(data).schema.field("never").type) == "string"
    assert str(table(data).schema.field("list").type) == "list<element: string>"
    assert table(data).schema.field("object").type.item_type == pa.string()
    assert records(data) == [
        {"z": 1.0, "never": None, "list": [], "object": {}, "a": None, "late": None},
        {"z": 2.5, "never": None, "list": None, "object": None, "a": {"x": 1, "y": None}, "late": None},
        {"z": None, "never": None, "list": None, "object": None, "a": None, "late": []},
        {"z": None, "never": None, "list": None, "object": None, "a": {"x": None, "y": "s"}, "late": ["x"]},
    ]


def test_an_empty_object_that_has_keys_in_another_block() -> None:
    data = written(ParquetFormat(), [{"m": {}}, {"m": None}, {}], [{"m": {"k": [{"n": {}}]}}])
    assert records(data) == [{"m": {"k": None}}, {"m": None}, {"m": None}, {"m": {"k": [{"n": {}}]}}]


def test_decimals_of_several_blocks_get_one_scale() -> None:
    data = written(ParquetFormat(), [{"d": Decimal("1.5")}], [{"d": Decimal("1000")}], [{"d": Decimal(10) ** 50}])
    assert [r["d"] for r in records(data)] == [Decimal("1.5"), Decimal(1000), Decimal(10) ** 50]


def test_instants_keep_their_moment() -> None:
    east = datetime.timezone(datetime.timedelta(hours=9))
    data = written(ParquetFormat(), [{"t": NOON.astimezone(east)}, {"t": NOON}])
    assert [r["t"].isoformat() for r in records(data)] == ["2026-01-31T12:00:00+00:00"] * 2


def test_chosen_records() -> None:
    rows = [{"i": i, "l": [i] * i, "s": {"x": str(i)}} for i in range(6)]
    data = written(ParquetFormat(), rows, rows, rows, rows, chosen=[[1, 2, 3], [5], [], [4, 0]])
    assert [r["i"] for r in records(data)] == [1, 2, 3, 5, 4, 0]
    assert records(data)[:3] == rows[1:4]


def test_nothing_chosen_makes_a_file_without_records() -> None:
    data = written(ParquetFormat(), [{"a": 1}], chosen=[[]])
    assert records(data) == []
    assert table(data).schema.names == ["a"]


def test_row_groups_have_the_size_asked_for() -> None:
    blocks = [[{"i": i} for i in range(start, start + 30)] for start in range(0, 90, 30)]
    data = written(ParquetFormat(row_group_size=40), *blocks)
    about = pq.ParquetFile(io.BytesIO(data)).metadata
    assert [about.row_group(i).num_rows for i in range(about.num_row_groups)] == [40, 40, 10]
    assert [r["i"] for r in records(data)] == list(range(90))


def test_large_records_end_a_row_group_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters_beam.formats.parquet.ROW_GROUP_BYTES", 1 << 20)
    blocks = [[{"t": str(i) * 150_000} for i in range(4)] for _ in range(4)]
    about = pq.ParquetFile(io.BytesIO(written(ParquetFormat(), *blocks))).metadata
    assert [about.row_group(i).num_rows for i in range(about.num_row_groups)] == [8, 8]


def test_columns_whose_values_differ_have_no_dictionary() -> None:
    rows = [{"id": f"n{i}", "kind": f"k{i % 3}", "x": i / 7, "inner": {"id": i}, "tags": [str(i)]} for i in range(2000)]
    data = written(ParquetFormat(), rows[:1000], rows[1000:])
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    with_one = {path for path, column in columns.items() if column.has_dictionary_page}
    assert with_one == {"kind", "inner.id", "tags.list.element"}
    assert records(data) == rows
    kinds = (
        {"arrow": "int32"},
        {"type": "null"},
        {"type": "string", "format": "date"},
        {"type": "boolean"},
        {"type": "string"},
    )
    schema = {"properties": {f"c{n}": kind for n, kind in enumerate(kinds)}}
    assert records(written(ParquetFormat(schema=schema), [{"c0": n} for n in range(200)]))[7]["c0"] == 7


@pytest.mark.parametrize("codec", ["zstd", "snappy", "gzip", "none"])
def test_codecs(codec: str) -> None:
    data = written(ParquetFormat(codec=codec), [{"a": "x" * 100}] * 50)
    found = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).compression
    assert found == {"none": "UNCOMPRESSED"}.get(codec, codec.upper())
    assert records(data) == [{"a": "x" * 100}] * 50


def test_codec_levels() -> None:
    rows = [{"a": f"{i * 7919 % 1000} some words {i}"} for i in range(3000)]
    small, large = (len(written(ParquetFormat(codec="gzip", codec_level=level), rows)) for level in (9, 1))
    assert small < large
    with pytest.raises(ConfigError, match="codec_level: 23 is not a level of zstd; levels are 1 to 22"):
        ParquetFormat(codec_level=23)
    with pytest.raises(ConfigError, match="it has no levels"):
        ParquetFormat(codec="snappy", codec_level=1)


def test_equal_records_give_equal_bytes() -> None:
    rows = [{"a": i, "b": [{"c": str(i)}] * (i % 3), "d": None if i % 2 else 0.5} for i in range(100)]
    copy = pickle.loads(pickle.dumps(rows))
    form = ParquetFormat()
    assert form.encode(rows) == form.encode(copy)
    assert written(form, rows[:50], rows[50:]) == written(form, copy)


def test_the_output_needs_write_only() -> None:
    class Measured:
        data = b""

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

    payload, schema = ParquetFormat().encode([{"a": 1}])
    out: Any = Measured()
    ParquetFormat().assemble([(payload, None)], [schema], out)
    assert records(out.data) == [{"a": 1}]


def test_a_block_whose_schema_was_not_declared() -> None:
    payload, _ = ParquetFormat().encode([{"a": 1}])
    _, other = ParquetFormat().encode([{"b": 1}])
    with pytest.raises(DestinationError, match="none of its group's blocks declared"):
        ParquetFormat().assemble([(payload, None)], [other], io.BytesIO())


def test_blocks_that_do_not_agree() -> None:
    with pytest.raises(RecordError, match="field a holds text, and numbers in the records before"):
        written(ParquetFormat(), [{"a": 1}], [{"a": "x"}])


def test_records_without_any_key() -> None:
    with pytest.raises(RecordError, match="needs one column"):
        written(ParquetFormat(), [{}])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"a": {"b": ["ok", "\ud800 x"]}}, r"field a.b\[\] holds '\\ud800 x': UTF-8 cannot hold a lone surrogate"),
        ({1: 2}, "the record has the key 1, which is not text"),
        ({"a": 2**63}, "beyond 64 bits"),
        ({"a": object}, "convert it with a transform"),
    ],
)
def test_records_that_no_table_can_hold(row: Any, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        ParquetFormat().encode([{"a": None}, row])


SCHEMA = {
    "properties": {
        "id": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        "small": {"arrow": "int8"},
        "cost": {"arrow": "decimal128(9, 2)"},
        "extra": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["id"],
}


def test_a_given_schema() -> None:
    form = ParquetFormat(schema=SCHEMA)
    assert form.encode([{"id": 1}])[1] == b""
    data = written(
        form,
        [{"id": 1, "at": "2026-01-31T12:00:00Z", "tags": [], "scores": {"x y": 1}, "small": 5, "cost": "1.5"}],
        [{"small": None, "id": 2, "extra": [1, {"a": "x"}]}],
    )
    assert [f"{f.name} {f.type} {f.nullable}" for f in table(data).schema] == [
        "id int64 False",
        "at timestamp[us, tz=UTC] True",
        "tags list<element: string not null> True",
        "scores map<string, double ('scores')> True",
        "small int8 True",
        "cost decimal128(9, 2) True",
        "extra string True",
    ]
    nothing = {"tags": None, "scores": None, "small": None, "cost": None}
    assert records(data) == [
        {"id": 1, "at": NOON, "tags": [], "scores": {"x y": 1.0}, "small": 5, "cost": Decimal("1.50"), "extra": None},
        {"id": 2, "at": None, **nothing, "extra": '[1,{"a":"x"}]'},
    ]


def test_one_record_that_does_not_fit_a_given_schema_fails_alone() -> None:
    form = ParquetFormat(schema=SCHEMA)
    form.encode([{"id": 1}])
    for row, words in [
        ({"id": "x"}, "field id: 'x' is not an integer of int64, as the schema says"),
        ({}, "field id is missing or null"),
        ({"id": 1, "tags": [1]}, r"field tags\[\]: 1 is not text"),
        ({"id": 1, "other": 1}, "field other is not in the schema"),
    ]:
        with pytest.raises(RecordError, match=words):
            form.encode([row])
    assert records(
        written(
            ParquetFormat(schema={"properties": {"id": {"type": "integer"}}}, unknown_fields="drop"),
            [{"id": 1, "o": 2}],
        )
    ) == [{"id": 1}]


def test_an_avro_schema_says_the_columns_too() -> None:
    schema = {"fields": [{"name": "a", "type": "int", "default": 7}, {"name": "b", "type": ["string", "null"]}]}
    data = written(ParquetFormat(schema=schema), [{"b": "x"}, {"a": 1}])
    assert str(table(data).schema.field("a").type) == "int32"
    assert records(data) == [{"a": 7, "b": "x"}, {"a": 1, "b": None}]
    with pytest.raises(ConfigError, match=r"schema.fields\[0\].type: a union cannot be written to Parquet"):
        ParquetFormat(schema={"fields": [{"name": "a", "type": ["int", "string"]}]})


def test_components_pickle_and_still_work() -> None:
    form = pickle.loads(pickle.dumps(ParquetFormat(schema=SCHEMA)))
    assert form == ParquetFormat(schema=SCHEMA)
    deserializer = pickle.loads(pickle.dumps(ParquetDeserializer(columns=("id",))))
    assert deserializer == ParquetDeserializer(columns=("id",))
    assert records(written(form, [{"id": 1}]), columns=("id",)) == [{"id": 1}]


# Reading what others wrote


def test_all_kinds_of_columns() -> None:
    day, time = datetime.date(2026, 1, 31), datetime.time(1, 2, 3, 4)
    rows = {
        "i": pa.array([1, None, 3], pa.int8()),
        "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "f": pa.array([1.5, None, float("inf")], pa.float32()),
        "b": pa.array([True, None, False]),
        "s": pa.array(["ñ", None, ""], pa.large_string()),
        "x": pa.array([b"\x00", None, b""]),
        "fx": pa.array([b"ab", None, b"cd"], pa.binary(2)),
        "d": pa.array([day, None, day]),
        "d64": pa.array([day, None, day], pa.date64()),
        "t": pa.array([time, None, time]),
        "ts": pa.array([NOON, None, NOON], pa.timestamp("ms", "UTC")),
        "tz": pa.array([NOON, None, NOON], pa.timestamp("us", "Europe/Madrid")),
        "off": pa.array([NOON, None, NOON], pa.timestamp("us", "+02:00")),
        "naive": pa.array([NOON.replace(tzinfo=None), None, None], pa.timestamp("ns")),
        "dec": pa.array([Decimal("1.50"), None, Decimal("-2.25")]),
        "dict": pa.array(["a", None, "a"]).dictionary_encode(),
        "null": pa.nulls(3),
        "map": pa.array([[("k", 1), ("l", None)], None, []], pa.map_(pa.string(), pa.int64())),
        "deep": pa.array(
            [[{"m": [("k", [day])]}], None, []],
            pa.list_(pa.struct([("m", pa.map_(pa.string(), pa.list_(pa.date32())))])),
        ),
        "struct": pa.array([{"a": 1, "b": {"c": "x"}}, None, {"a": None, "b": None}]),
        "big": pa.array([[1], None, []], pa.large_list(pa.int16())),
    }
    first, second, third = records(file_of(rows))
    assert first == {
        "i": 1, "u": 2**64 - 1, "f": 1.5, "b": True, "s": "ñ", "x": b"\x00", "fx": b"ab", "d": day, "d64": day,
        "t": time,
        "ts": NOON, "tz": NOON, "off": NOON, "naive": NOON.replace(tzinfo=None), "dec": Decimal("1.50"), "dict": "a",
        "null": None, "map": {"k": 1, "l": None}, "deep": [{"m": {"k": [day]}}],
        "struct": {"a": 1, "b": {"c": "x"}}, "big": [1],
    }  # fmt: skip
    assert second == dict.fromkeys(rows) | {"u": 0}
    assert (third["map"], third["deep"], third["big"], third["struct"]) == ({}, [], [], {"a": None, "b": None})
    assert (third["f"], third["s"], third["x"], third["u"]) == (float("inf"), "", b"", None)
    assert [first[k].isoformat()[-6:] for k in ("ts", "tz", "off")] == ["+00:00", "+01:00", "+02:00"]
    assert type(first["i"]) is int and type(first["b"]) is bool


@pytest.mark.parametrize("codec", ["zstd", "snappy", "gzip", "brotli", "lz4", "none"])
def test_row_groups_are_read_one_by_one(codec: str) -> None:
    data = file_of({"i": list(range(100))}, row_group_size=30, compression=codec)
    deserializer, stream = ParquetDeserializer(), io.BytesIO(data)
    assert deserializer.row_groups(stream) == 4
    groups = [
        [r["i"] for chunk, _, _ in deserializer.chunks_of(stream, n) for r in deserializer.decode(chunk)] for n in range(4)
    ]
    assert groups == [list(range(30)), list(range(30, 60)), list(range(60, 90)), list(range(90, 100))]
    assert [count for _, count, _ in deserializer.chunks(stream)] == [30, 30, 30, 10]
    with pytest.raises(SourceError, match="no row group 4; the file has 4"):
        list(deserializer.chunks_of(stream, 4))
    assert not stream.closed


def test_chunks_are_small_and_picklable() -> None:
    data = file_of({"i": list(range(10_000)), "t": ["x"] * 10_000})
    chunks = list(ParquetDeserializer().chunks(io.BytesIO(data)))
    assert [count for _, count, _ in chunks] == [4096, 4096, 1808]
    assert pickle.loads(pickle.dumps(chunks)) == chunks
    wide = file_of({"t": [str(i) * 20_000 for i in range(400)]})
    assert max(size for _, _, size in ParquetDeserializer().chunks(io.BytesIO(wide))) <= 4 << 20
    same = file_of({"t": ["x" * 100_000] * 1000})
    chunks = list(ParquetDeserializer(max_ratio=0).chunks(io.BytesIO(same)))
    assert max(size for _, _, size in chunks) <= 4 << 20
    assert sum(count for _, count, _ in chunks) == 1000
    assert max(len(chunk) for chunk, _, _ in chunks) < 5 << 20


def test_chosen_columns() -> None:
    data = file_of({"a": [1], "b": [{"x": 1, "y": 2}], "c.d": [3]})
    assert records(data, columns=("c.d", "b.y", "a")) == [{"a": 1, "b": {"y": 2}, "c.d": 3}]
    nested = file_of({"l": [[{"x": 1, "y": [{"z": 2, "w": 3}]}]], "m": [1]})
    assert records(nested, columns=("l.y.z",)) == [{"l": [{"y": [{"z": 2}]}]}]
    assert records(nested, columns=("l.x", "m")) == [{"l": [{"x": 1}], "m": 1}]
    with pytest.raises(SourceError, match=r"there is no column 'z'; the file has a, b, c.d"):
        records(data, columns=("z",))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "not a Parquet file: 0 bytes"),
        (lambda data: b"PAR1", "not a Parquet file: 4 bytes"),
        (lambda data: b'{"a": 1}\n' * 10, "not a Parquet file: it begins with"),
        (lambda data: data[:-10], "truncated or damaged"),
        (lambda data: data[: len(data) // 2], "truncated or damaged"),
        (lambda data: data[:40] + bytes(60) + data[100:], "record 1: the file is damaged in row group 0"),
    ],
)
def test_damaged_files(damage: Any, words: str) -> None:
    data = file_of({"i": [str(i) for i in range(1000)]})
    with pytest.raises(SourceError, match=words):
        records(damage(data))


def test_the_damaged_record_is_named_by_its_number_in_the_file() -> None:
    data = file_of({"i": [str(i * 7919) for i in range(1000)]}, row_group_size=500, compression="none", use_dictionary=False)
    at = data.index(b"5543300") - 4
    with pytest.raises(SourceError, match="record 501: the file is damaged in row group 1"):
        records(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])


def test_two_columns_of_one_name() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(SourceError, match="two columns are called 'a'"):
        records(file_of(twice))


def test_streams_that_cannot_be_entered_anywhere() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(SourceError, match="read from their end"):
        list(ParquetDeserializer().chunks(Pipe(file_of({"a": [1]}))))


def test_what_python_cannot_hold_fails_its_record_only() -> None:
    moments = pa.array([0, 1_000_000_001, 2_000_000_000], pa.timestamp("ns"))
    data = file_of({"id": [1, 2, 3], "t": moments, "l": [[1], [2], [3]]})
    deserializer = ParquetDeserializer()
    ((chunk, _, _),) = deserializer.chunks(io.BytesIO(data))
    with pytest.raises(Exception, match="would lose data"):
        deserializer.decode(chunk)
    (one, first, raw), (two, second, text), (three, third, _) = deserializer.decode_each(chunk)
    assert (one, two, three, raw) == (0, 1, 2, None)
    assert first == {"id": 1, "t": datetime.datetime(1970, 1, 1), "l": [1]}
    assert third == {"id": 3, "t": datetime.datetime(1970, 1, 1, 0, 0, 2), "l": [3]}
    assert isinstance(second, RecordError)
    assert str(second).startswith("column t cannot be read: Casting from timestamp[ns]")
    assert 'set nanoseconds: "cut"' in str(second)
    assert "1970-01-01 00:00:01.000000001" in text["t"]
    assert [r["t"].microsecond for r in records(data, nanoseconds="cut")] == [0, 0, 0]


def test_text_that_is_not_utf8_fails_its_record_only() -> None:
    text = pa.Array.from_buffers(pa.string(), 2, [None, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff")])
    deserializer = ParquetDeserializer()
    ((chunk, _, _),) = deserializer.chunks(io.BytesIO(file_of({"t": text, "n": [1, 2]})))
    (_, first, _), (_, second, raw) = deserializer.decode_each(chunk)
    assert first == {"t": "a", "n": 1}
    assert str(second).startswith("column t cannot be read: Invalid UTF8")
    assert raw == {"t": '[ "\ufffd" ]', "n": "[ 2 ]"}


def test_values_nested_deeply_but_not_too_deeply() -> None:
    lists: Any = 1
    objects: Any = 1
    for _ in range(48):
        lists, objects = [lists], {"k": objects}
    assert records(written(ParquetFormat(), [{"l": lists}], [{"o": objects}])) == [
        {"l": lists, "o": None},
        {"l": None, "o": objects},
    ]


def test_years_beyond_pythons() -> None:
    data = file_of({"t": pa.array([0, 10**18], pa.timestamp("us", "UTC")), "d": pa.array([0, 10**7], pa.date32())})
    deserializer = ParquetDeserializer()
    ((chunk, _, _),) = deserializer.chunks(io.BytesIO(data))
    found = [record for _, record, _ in deserializer.decode_each(chunk)]
    assert found[0] == {"t": datetime.datetime(1970, 1, 1, tzinfo=UTC), "d": datetime.date(1970, 1, 1)}
    assert "outside the years 1 to 9999" in str(found[1])


def test_an_empty_table_has_no_chunks() -> None:
    assert records(file_of({"a": pa.array([], pa.int64())})) == []
