"""Types of columns: inferred, merged, given, written as Avro's."""

from __future__ import annotations

import datetime
import enum
import json
import math
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.formats.tables import kept
from exporters_beam.formats.tables import types as schemas
from exporters_beam.formats.tables.conform import conform
from exporters_beam.formats.tables.given import avro_schema
from exporters_beam.formats.tables.given import given as given_schema

from examples import at_least

read_schema = partial(given_schema, form="avro")

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=UTC)


def inferred(*values: Any) -> Any:
    """The dumped type of a column with these values."""
    return schemas._plain(schemas.infer([{"a": value} for value in values]).fields[0].slot.type)


def problem(*values: Any) -> str:
    with pytest.raises(RecordError) as caught:
        schemas.infer([{"a": value} for value in values])
    return str(caught.value)


def merged(*columns: list[Any]) -> Any:
    """The dumped type of the column that holds the values of these blocks."""
    blocks = [schemas.dump(schemas.infer([{"a": value} for value in column])) for column in columns]
    return schemas._plain(kept.merged(blocks).struct.fields[0].slot.type) if blocks else None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None], "null"),
        ([True, None], "bool"),
        ([1, -(2**53)], "int"),
        ([2**53 + 1], "int64"),
        ([-(2**63), 2**63 - 1], "int64"),
        ([1, 2.5], "numbers"),
        ([float("nan"), float("inf")], "float64"),
        (["x", "ñ"], "string"),
        ([b"x", bytearray(b"y")], "bytes"),
        ([datetime.date(1, 1, 1)], "date"),
        ([datetime.time(1)], ["time", 6]),
        ([NOON], ["timestamp", 6]),
        ([NOON.replace(tzinfo=None)], ["datetime", 6]),
        ([Decimal("1.50"), Decimal("100")], ["decimal", 5, 2, 0]),
        ([Decimal("1E3")], ["decimal", 4, 0, 0]),
        ([[]], {"list": "null"}),
        ([[1], [], None, [None, 2.5]], {"list": "numbers"}),
        ([(1, 2)], {"list": "int"}),
        ([{}], {"struct": []}),
        ([{"z": 1}, {"a": "x", "z": None}], {"struct": [["z", "int"], ["a", "string"]]}),
        (
            [[{"b": 1}], [{"a": [{"c": True}]}]],
            {"list": {"struct": [["b", "int"], ["a", {"list": {"struct": [["c", "bool"]]}}]]}},
        ),
    ],
)
def test_infer(values: list[Any], expected: Any) -> None:
    assert inferred(*values) == expected


def test_subclasses_are_what_they_inherit_from() -> None:
    class Level(enum.IntEnum):
        HIGH = 3

    class Own(dict):  # type: ignore[type-arg]
        pass

    assert inferred(Level.HIGH, 1) == "int"
    assert inferred(Own(x="y")) == {"struct": [["x", "string"]]}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, "x"], ["field a holds integers (1) and text ('x')", "give the formatter a schema"]),
        ([True, 1], ["true or false (True) and integers (1)"]),
        ([1.5, True], ["floating point numbers (1.5) and true or false (True)"]),
        (["x", b"x"], ["text ('x') and bytes"]),
        ([{}, []], ["objects ({}) and lists ([])"]),
        ([datetime.date(2026, 1, 1), NOON], ["dates", "timestamps with a time zone"]),
        ([NOON, NOON.replace(tzinfo=None)], ["without a time zone (2026-01-31T12:00:00)", "with a time zone"]),
        ([Decimal(1), 1], ["decimals", "integers"]),
        ([2**63], ["9223372036854775808", "beyond 64 bits", "decimal128(38, 0)"]),
        ([-(2**63) - 1, 1], ["-9223372036854775809"]),
        ([2**53 + 1, 0.5], ["9007199254740993", "no floating point number"]),
        ([Decimal("NaN")], ["decimal NaN"]),
        ([Decimal(10) ** 80], ["at most 76"]),
        ([datetime.time(1, tzinfo=UTC)], ["a time with a time zone"]),
        ([{1, 2}], ["{1, 2}", "type set"]),
        ([datetime.timedelta(1)], ["timedelta"]),
        ([{1: 2}], ["field a has the key 1, which is not text"]),
        ([{"\ud800": 2}], ["'\\ud800'", "surrogate"]),
        ([{"b": [1, "x"]}], ["field a.b[] holds"]),
        ([[{"b": 1}, {"b": "x"}]], ["field a[].b holds"]),
        (["x" * 1000, 1], ["xxx…)"]),
    ],
)
def test_what_no_column_can_hold(values: list[Any], words: list[str]) -> None:
    message = problem(*values)
    for word in words:
        assert word in message
    assert len(message) < 600


def test_very_deep_values_fail_with_a_sentence() -> None:
    value: Any = 1
    for _ in range(10_000):
        value = [value]
    assert "deeper than 50" in problem(value)


def test_only_objects_are_records() -> None:
    with pytest.raises(RecordError, match=r"this record is \[1\]"):
        schemas.infer([{"a": 1}, [1]])  # type: ignore[list-item]


def test_dump_and_load_are_inverse_and_deterministic() -> None:
    struct = schemas.infer([{"ä": [{"b": Decimal("1.5")}], "c": NOON, "d": None}])
    data = schemas.dump(struct)
    loaded = kept.load(data)
    assert loaded.staged == struct
    assert loaded.dump() == data
    assert data.decode() == (
        '{"struct":[["ä",{"list":{"struct":[["b",["decimal",2,1,0]]]}}],["c",["timestamp",6]],["d","null"]]}'
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([[None], [1]], "int64"),
        ([["x"], [None]], "string"),
        ([[None], [None]], "string"),
        ([[1], [2.5]], "float64"),
        ([[1], [2**60]], "int64"),
        ([[[]], [[]]], {"list": "string"}),
        ([[[]], [[1]], [[0.5]]], {"list": "float64"}),
        ([[Decimal("1.25")], [Decimal("1000")]], ["decimal", 6, 2, 0]),
        ([[{}], [{"x": 1}]], {"struct": [["x", "int64"]]}),
        (
            [[{"x": 1}], [{"y": "s", "x": 2}], [{"z": []}]],
            {"struct": [["x", "int64"], ["y", "string"], ["z", {"list": "string"}]]},
        ),
    ],
)
def test_merge(columns: list[list[Any]], expected: Any) -> None:
    assert merged(*columns) == expected


def test_what_is_always_an_empty_object_becomes_a_map() -> None:
    struct = kept.merged([schemas.dump(schemas.infer([{"a": {}}]))]).struct
    assert struct.fields[0].slot.type == schemas.MapOf(schemas.Slot(schemas.STRING))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([[1], ["x"]], "field a holds text, and numbers in the records before"),
        ([[2**60], [0.5]], "integers beyond 2^53"),
        ([[[1]], [["x"]]], "field a[] holds"),
        ([[{"b": 1}], [{"b": {}}]], "field a.b holds objects, and numbers in the records before"),
        ([[Decimal(1)], [0.5]], "decimals"),
    ],
)
def test_blocks_that_do_not_agree(columns: list[list[Any]], words: str) -> None:
    with pytest.raises(RecordError) as caught:
        merged(*columns)
    assert words in str(caught.value)


def test_a_json_schema_with_all_that_is_read() -> None:
    struct = read_schema(
        {
            "properties": {
                "id": {"type": "integer"},
                "price": {"type": ["number", "null"]},
                "both": {"type": ["integer", "number"]},
                "at": {"type": "string", "format": "date-time"},
                "day": {"anyOf": [{"type": "null"}, {"type": "string", "format": "date"}]},
                "tags": {"type": "array", "items": {"type": ["string", "null"]}},
                "place": {"$ref": "#/$defs/place"},
                "scores": {"type": "object", "additionalProperties": {"type": "number"}},
                "small": {"arrow": "int16"},
                "cost": {"arrow": "decimal128(10, 2)"},
                "local": {"arrow": "timestamp[us]"},
                "instant": {"arrow": "timestamp[ms, tz=UTC]"},
                "any": {"type": "string", "contentMediaType": "application/json"},
            },
            "required": ["id", "place"],
            "$defs": {"place": {"properties": {"city": {"type": "string"}}}},
        }
    )
    found = {f.name: f.slot for f in struct.fields}
    assert list(found)[:3] == ["id", "price", "both"]
    assert found["id"] == schemas.Slot(schemas.Scalar("int64"), None)
    assert found["price"] == schemas.Slot(schemas.FLOAT, 0)
    assert found["both"].type == schemas.FLOAT
    assert found["at"].type == schemas.Scalar("timestamp", (6,))
    assert found["day"] == schemas.Slot(schemas.Scalar("date"), 0)
    assert found["tags"].type == schemas.ListOf(schemas.Slot(schemas.STRING, 0))
    assert found["place"] == schemas.Slot(schemas.Struct((schemas.Field("city", schemas.Slot(schemas.STRING, 0)),)), None)
    assert found["scores"].type == schemas.MapOf(schemas.Slot(schemas.FLOAT, None))
    assert found["small"].type == schemas.Scalar("int16")
    assert found["cost"].type == schemas.Scalar("decimal", (10, 2, 0))
    assert found["local"].type == schemas.Scalar("datetime", (6,))
    assert found["instant"].type == schemas.Scalar("timestamp", (3,))
    assert found["any"].type == schemas.Scalar("json")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, 'give a JSON Schema that has "properties"'),
        ({"properties": {}}, 'an object needs "properties"'),
        ({"fields": []}, "no fields"),
        ({"properties": {"a": 1}}, "schema.properties.a: a JSON Schema is an object"),
        ({"properties": {"a": {}}}, "schema.properties.a: give one type; it has none"),
        ({"properties": {"a": {"type": ["string", "integer"]}}}, "it has integer, string"),
        ({"properties": {"a": {"type": "text"}}}, 'there is no type "text"'),
        ({"properties": {"a": {"type": "array"}}}, "say what the list holds"),
        ({"properties": {"a": {"type": "object"}}}, 'an object needs "properties"'),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}}, "anyOf has 2 types"),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, "is not found"),
        ({"properties": {"a": {"$ref": "http://x/y"}}}, "is not found"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "refers to itself"),
        ({"properties": {"a": {"arrow": "int65"}}}, 'no Arrow type "int65"'),
        ({"properties": {"a": {"arrow": "decimal128(99, 2)"}}}, "precision is 1 to 76"),
        ({"fields": [{"name": "a"}]}, 'has "name" and "type"'),
        ({"fields": [{"name": "a-b", "type": "int"}]}, "not a valid name for Avro"),
        ({"fields": [{"name": "a", "type": "text"}]}, 'no Avro type "text"'),
        ({"fields": [{"name": "a", "type": {"type": "fixed", "name": "F"}}]}, 'has no "size"'),
        ({"name": "R", "fields": [{"name": "a", "type": ["null", "R"]}]}, "refers to itself"),
        ({"fields": [{"name": "a", "type": {"type": "int", "logicalType": "date"}, "default": 0}]}, "default"),
    ],
)
def test_wrong_schemas(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_schema(schema)
    assert words in str(caught.value)
    assert str(caught.value).startswith("schema")


def test_an_avro_schema() -> None:
    struct = read_schema(
        {
            "name": "R",
            "namespace": "org",
            "fields": [
                {"name": "a", "type": ["long", "null"]},
                {"name": "b", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"]}},
                {"name": "c", "type": ["null", "E"]},
                {"name": "d", "type": ["string", "null", "double"]},
                {"name": "e", "type": {"type": "map", "values": "org.E"}},
                {"name": "f", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                {"name": "g", "type": "bytes", "default": "ÿ"},
            ],
        }
    )
    enum_type = schemas.Scalar("enum", ("X", "Y"))
    assert [f.slot for f in struct.fields[:6]] == [
        schemas.Slot(schemas.Scalar("int64"), 1),
        schemas.Slot(enum_type, None),
        schemas.Slot(enum_type, 0),
        schemas.Slot(schemas.OneOf((schemas.STRING, schemas.FLOAT)), 1),
        schemas.Slot(schemas.MapOf(schemas.Slot(enum_type, None)), None),
        schemas.Slot(schemas.Scalar("timestamp", (3,)), None),
    ]
    assert struct.fields[6].default == b"\xff"


def fit(type_: dict[str, Any], *values: Any, required: bool = False) -> list[Any]:
    struct = read_schema({"properties": {"a": type_}, "required": ["a"] if required else []})
    return [record["a"] for record in conform([{"a": value} for value in values], struct)]


@pytest.mark.parametrize(
    ("type_", "values", "expected"),
    [
        ({"type": "integer"}, [1, 2.0, None], [1, 2, None]),
        ({"type": "number"}, [1, 2.5], [1.0, 2.5]),
        ({"type": "string"}, ["x", None], ["x", None]),
        ({"type": "string", "format": "date-time"}, ["2026-01-31T12:00:00Z", NOON], [NOON, NOON]),
        (
            {"type": "string", "format": "date-time"},
            ["2026-01-31T12:00:00.5+00:00"],
            [NOON.replace(microsecond=500000)],
        ),
        ({"type": "string", "format": "date-time"}, ["2026-01-31 13:00:00.000000000+01:00"], [NOON]),
        ({"type": "string", "format": "date"}, ["2026-01-31"], [datetime.date(2026, 1, 31)]),
        ({"type": "string", "format": "time"}, ["12:30:00"], [datetime.time(12, 30)]),
        ({"arrow": "timestamp[us]"}, ["2026-01-31T12:00:00"], [NOON.replace(tzinfo=None)]),
        (
            {"arrow": "decimal128(5, 2)"},
            ["1.5", 1, 0.1, Decimal("2.500")],
            [Decimal("1.5"), 1, Decimal("0.1"), Decimal("2.5")],
        ),
        ({"arrow": "decimal128(38, 0)"}, [2**70, 0], [Decimal(2**70), 0]),
        ({"arrow": "decimal128(38, 0)"}, [Decimal("1E3")], [1000]),
        ({"type": "array", "items": {"type": "number"}}, [[1], [], [2.5, 3]], [[1.0], [], [2.5, 3.0]]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, [{"x": 1}, {}], [[("x", 1)], []]),
        (
            {"type": "object", "properties": {"b": {"type": "number"}}},
            [{"b": 1}, None, {}],
            [{"b": 1.0}, None, {"b": None}],
        ),
        (
            {"type": "string", "contentMediaType": "application/json"},
            [1, "x", {"ñ": [NOON, Decimal("1.5")]}, True],
            ["1", '"x"', '{"ñ":["2026-01-31T12:00:00+00:00","1.5"]}', "true"],
        ),
    ],
)
def test_values_that_fit(type_: dict[str, Any], values: list[Any], expected: list[Any]) -> None:
    found = fit(type_, *values)
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected)) or type_.get("arrow", "").startswith("decimal")


@pytest.mark.parametrize(
    ("type_", "value", "words"),
    [
        ({"type": "integer"}, "x", "field a: 'x' is not an integer of int64, as the schema says"),
        ({"type": "integer"}, True, "True is not an integer"),
        ({"type": "integer"}, 2**63, "is not an integer of int64"),
        ({"arrow": "int8"}, 128, "is not an integer of int8"),
        ({"arrow": "uint8"}, -1, "is not an integer of uint8"),
        ({"type": "integer"}, 1.5, "is not an integer"),
        ({"type": "number"}, 2**53 + 1, "no floating point number is equal"),
        ({"type": "number"}, "1,5", "'1,5' is not a number"),
        ({"type": "number"}, "9007199254740993", "no floating point number is equal"),
        ({"type": "number"}, "1e999", "it is too large"),
        ({"arrow": "float"}, "1e39", "too large for 32 bits"),
        ({"arrow": "float"}, 1e39, "too large for 32 bits"),
        ({"arrow": "int8"}, "128", "'128' is not an integer of int8"),
        ({"type": "string", "format": "date"}, "20260131", "'20260131' is not a date"),
        ({"type": "string", "format": "date"}, "2026-02-30", "day is out of range"),
        ({"type": "string", "format": "date-time"}, "2026-W05-1T12:00:00Z", "is not a timestamp"),
        ({"type": "array", "items": {"type": "integer"}}, ["x"], "field a[]: 'x' is not an integer"),
        ({"type": "string"}, 1, "1 is not text"),
        ({"type": "boolean"}, 1, "1 is not true or false"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T12:00:00", "no time zone"),
        ({"type": "string", "format": "date-time"}, "yesterday", "'yesterday' is not a timestamp"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T12:00:00.123456789Z", "finer than microseconds"),
        ({"arrow": "timestamp[us]"}, NOON, "has a time zone"),
        ({"arrow": "timestamp[ms]"}, NOON.replace(tzinfo=None, microsecond=1), "microseconds would be lost"),
        ({"type": "string", "format": "date"}, NOON, "is not a date"),
        ({"arrow": "decimal128(3, 1)"}, "1.25", "cannot hold it"),
        ({"arrow": "decimal128(3, 1)"}, 1000, "cannot hold it"),
        ({"arrow": "decimal128(3, 1)"}, "x", "is not such a decimal"),
        ({"arrow": "binary"}, "x", "is not bytes"),
        ({"type": "array", "items": {"type": "integer"}}, {"x": 1}, "is not a list"),
        ({"type": "array", "items": {"type": "integer"}}, [None], "field a[] is missing or null"),
        ({"type": "object", "properties": {"b": {"type": "string"}}}, "x", "'x' is not an object"),
        ({"type": "object", "properties": {"b": {"type": "string"}}}, {"c": 1}, "field a.c is not in the schema"),
        ({"type": "string", "contentMediaType": "application/json"}, {1, 2}, "JSON can hold"),
    ],
)
def test_values_that_do_not_fit(type_: dict[str, Any], value: Any, words: str) -> None:
    with pytest.raises(RecordError) as caught:
        fit(type_, value)
    assert words in str(caught.value)


def test_required_and_unknown_fields() -> None:
    struct = read_schema({"properties": {"a": {"type": "integer"}}, "required": ["a"]})
    with pytest.raises(RecordError, match="field a is missing or null"):
        conform([{"a": 1}, {}], struct)
    with pytest.raises(RecordError, match=r"field b is not in the schema; .*unknown_fields: drop"):
        conform([{"a": 1, "b": 2}], struct)
    assert [r["a"] for r in conform([{"a": 1, "b": 2}], struct, drop=True)] == [1]


def test_records_that_fit_as_they_are_are_not_copied() -> None:
    records = [{"a": 1, "b": {"c": ["x"]}}, {"a": None}]
    struct = read_schema(
        {
            "properties": {
                "a": {"type": "integer"},
                "b": {"properties": {"c": {"type": "array", "items": {"type": "string"}}}},
            }
        }
    )
    assert conform(records, struct) is records


def test_avro_schema_names_nested_records_by_their_place() -> None:
    struct = kept.merged([schemas.dump(schemas.infer([{"a": {"a": [{"b": 1}]}, "when": NOON}]))]).struct
    assert avro_schema(struct, "org.Top") == {
        "type": "record",
        "name": "Top",
        "namespace": "org",
        "fields": [
            {
                "name": "a",
                "default": None,
                "type": [
                    "null",
                    {
                        "type": "record",
                        "name": "a",
                        "namespace": "org.Top",
                        "fields": [
                            {
                                "name": "a",
                                "default": None,
                                "type": [
                                    "null",
                                    {
                                        "type": "array",
                                        "items": [
                                            "null",
                                            {
                                                "type": "record",
                                                "name": "a",
                                                "namespace": "org.Top.a",
                                                "fields": [{"name": "b", "type": ["null", "long"], "default": None}],
                                            },
                                        ],
                                    },
                                ],
                            }
                        ],
                    },
                ],
            },
            {"name": "when", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
        ],
    }


@pytest.mark.parametrize("text", [" 12 ", "12\n", "1,5", "1.0", "1e3", "0x1F", "\u0663", "1_000", "007", "+5", "--1", "nan",
                                  "Infinity", "9223372036854775808", "9" * 5000])  # fmt: skip
def test_texts_that_are_no_integers(text: str) -> None:
    with pytest.raises(RecordError, match="is not an integer of int64, as the schema says"):
        fit({"type": ["integer", "null"]}, text)


@pytest.mark.parametrize(
    "text", [" 1.5", "1_0.5", "\u0661.5", ".5", "5.", "1,5", "0x1p3", "nan", "inf", "-Infinity", "01.5", "1e99999"]
)
def test_texts_that_are_no_numbers(text: str) -> None:
    for type_ in ({"type": ["number", "null"]}, {"arrow": "decimal128(38, 9)"}):
        with pytest.raises(RecordError, match="as the schema says"):
            fit(type_, text)


@pytest.mark.parametrize("text", ["TRUE", "yes", "1", "t", " true", "on"])
def test_texts_that_are_no_booleans(text: str) -> None:
    with pytest.raises(RecordError, match="is not true or false, as the schema says"):
        fit({"type": ["boolean", "null"]}, text)


TEXTS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "integer": ({"type": ["integer", "null"]}, st.integers(-(2**63), 2**63 - 1), str),
    "number": ({"type": ["number", "null"]}, st.floats(allow_nan=False, allow_infinity=False), repr),
    "boolean": ({"type": ["boolean", "null"]}, st.booleans(), lambda value: "true" if value else "false"),
    "date": ({"type": ["string", "null"], "format": "date"}, st.dates(), str),
    "instant": (
        {"type": ["string", "null"], "format": "date-time"},
        st.datetimes(timezones=st.just(datetime.timezone.utc)),
        datetime.datetime.isoformat,
    ),
    "local": ({"arrow": "timestamp[us]", "type": ["null"]}, st.datetimes(), str),
    "time": ({"type": ["string", "null"], "format": "time"}, st.times(), str),
    "decimal": (
        {"arrow": "decimal128(20, 6)", "type": ["null"]},
        st.decimals(-(10**14) + 1, 10**14 - 1, places=6),
        lambda value: f"{value:f}",
    ),
}


@pytest.mark.parametrize("kind", TEXTS)
@settings(max_examples=at_least(60), deadline=None)
@given(data=st.data())
def test_what_is_written_as_text_is_read_from_it(kind: str, data: st.DataObject) -> None:
    type_, values, written = TEXTS[kind]
    value = data.draw(st.lists(st.none() | values, max_size=5))
    texts = ["" if v is None else written(v) for v in value]
    as_it_is = data.draw(st.lists(st.booleans(), min_size=len(value), max_size=len(value)))
    mixed = [v if same else text for v, text, same in zip(value, texts, as_it_is, strict=True)]
    assert fit(type_, *mixed) == value


@settings(max_examples=at_least(200), deadline=None)
@given(text=st.text("0123456789+-.,eE_ xXtrueTRUEnanif\u0663\n", max_size=8))
def test_a_text_is_a_number_only_where_json_says_the_same(text: str) -> None:
    try:
        meant = json.loads(text) if text == text.strip() else None
    except ValueError:
        meant = None
    for type_, kinds in (("integer", (int,)), ("number", (int, float)), ("boolean", (bool,))):
        right = type(meant) in kinds and (type_ == "boolean" or math.isfinite(meant))
        if type_ == "boolean" and text in ("True", "False"):
            continue
        try:
            found = fit({"type": type_}, text, required=True)
        except RecordError:
            assert not right
        else:
            assert right and found == [meant]


def test_an_empty_text_is_null_only_where_it_is_no_value() -> None:
    properties = {"t": {"type": ["string", "null"]}, "n": {"type": ["array", "null"], "items": {"type": "integer"}},
                  "m": {"contentMediaType": "application/json", "type": ["string", "null"]}}  # fmt: skip
    struct = read_schema({"properties": properties})
    assert conform([{"t": "", "n": "", "m": ""}], struct) == [{"t": "", "n": None, "m": '""'}]
    with pytest.raises(RecordError, match="'' is not an integer"):
        fit({"type": "integer"}, "", required=True)
    union = read_schema(
        {
            "fields": [
                {"name": "a", "type": ["null", "long", "double"]},
                {"name": "b", "type": ["null", "string", "long"]},
            ]
        }
    )
    ((first, second),) = [(r["a"], r["b"]) for r in conform([{"a": "", "b": ""}], union)]
    assert (first, second) == (None, {"branch": 0, "option0": ""})
    ((first, second),) = [(r["a"], r["b"]) for r in conform([{"a": "1.5", "b": "12"}], union)]
    assert (first, second) == ({"branch": 1, "option1": 1.5}, {"branch": 0, "option0": "12"})
