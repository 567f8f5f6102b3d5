"""Nested records made flat by a schema."""

from __future__ import annotations

import copy
import datetime
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.flatson import FlatsonTransform


def flat(properties: dict[str, Any], item: Any) -> Any:
    schema = {"$schema": "http://json-schema.org/draft-04/schema", "type": "object", "properties": properties}
    made = FlatsonTransform(flatson_schema=schema)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    before = copy.deepcopy(item)
    found = again.map(item)
    assert item == before, "the record itself is left alone"
    return found


STRING, NUMBER, ARRAY = {"type": "string"}, {"type": "number"}, {"type": "array"}


def nested(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def array(method: str, **more: Any) -> dict[str, Any]:
    return {"l": {"type": "array", "flatson_serialize": {"method": method, **more}}}


SHOP = {"sku": STRING, "geo": nested(lat=NUMBER, lon=NUMBER), "tags": ARRAY}
AB = {"b": STRING, "a": nested(z=NUMBER, y=ARRAY)}


@pytest.mark.parametrize(
    ("properties", "item", "expected"),
    [
        (SHOP, {"sku": "k1", "geo": {"lon": 12.5, "lat": 41.9}, "tags": ["old", "big"]},
         {"geo.lat": 41.9, "geo.lon": 12.5, "sku": "k1", "tags": '["old","big"]'}),
        (AB, {"b": 1, "a": {"z": 2, "y": [1, {"q": 2}]}, "other": 5}, {"a.y": '[1,{"q":2}]', "a.z": 2, "b": 1}),
        (AB, {}, {"a.y": None, "a.z": None, "b": None}),
        (array("join_values"), {"l": [1, "x", 2.5]}, {"l": "1,x,2.5"}),
        (array("join_values", separator="|"), {"l": [1, "x", 2.5]}, {"l": "1|x|2.5"}),
        (array("extract_first"), {"l": [1, 2]}, {"l": 1}),
        (array("extract_first"), {"l": []}, {"l": None}),
        (array("extract_first"), {}, {"l": None}),
        (array("extract_first"), {"l": [{"a": [1]}]}, {"l": {"a": [1]}}),
        (array("extract_key_values"), {"l": [{"k2": "b", "k1": "a"}, {"k": "c"}]}, {"l": "k1:a,k2:b;k:c"}),
        (array("extract_key_values", separators=["|", "-", "="]), {"l": [{"k2": "b", "k1": "a"}, {"k": "c"}]},
         {"l": "k1=a-k2=b|k=c"}),
        # text of every language, other values than text, nothing at all (Q-FLAT-2, Q-FLAT-4)
        (array("join_values"), {"l": ["niño", None, True, {"b": [1], "a": "é"}]}, {"l": 'niño,None,True,{"a":"é","b":[1]}'}),
        (array("join_values"), {}, {"l": None}),
        (array("join_values"), {"l": None}, {"l": None}),
        (array("join_values"), {"l": []}, {"l": ""}),
        (array("join_values"), {"l": "one"}, {"l": "one"}),
        (array("extract_key_values"), {}, {"l": None}),
        (array("extract_key_values"), {"l": [{"n": 2, "é": 1.5}, {}]}, {"l": "n:2,é:1.5;"}),
        ({"l": ARRAY}, {"l": None}, {"l": None}),
        ({"l": ARRAY}, {"l": ["niño", {"b": 1, "a": 2**70}]}, {"l": '["ni\\u00f1o",{"a":1180591620717411303424,"b":1}]'}),
        ({"l": ARRAY}, {"l": [datetime.datetime(2016, 1, 2, 3, 4)]}, {"l": '["2016-01-02T03:04:00"]'}),
        ({"l": ARRAY}, {"l": "text"}, {"l": '"text"'}),
        # what is on the way is not a mapping (Q-FLAT-1)
        ({"a": nested(b=STRING)}, {"a": None}, {"a.b": None}),
        ({"a": nested(b=STRING)}, {"a": [1]}, {"a.b": None}),
        ({"a": nested(b=nested(c=STRING))}, {"a": {"b": "text"}}, {"a.b.c": None}),
        # values of leaves stay as they are
        ({"a": STRING}, {"a": {"b": [1]}}, {"a": {"b": [1]}}),
        ({"a": {}}, {"a": [1]}, {"a": [1]}),
        ({"a": {"type": ["string", "null"]}}, {"a": 2**70}, {"a": 2**70}),
        ({"a": {"type": ["array", "null"]}}, {"a": [1]}, {"a": "[1]"}),
        ({"a": {"type": ["object", "null"], "properties": {"b": NUMBER}}}, {"a": {"b": 1}}, {"a.b": 1}),
        # an object without properties has no leaves
        ({"a": {"type": "object"}, "b": STRING}, {"a": {"x": 1}, "b": "y"}, {"b": "y"}),
        ({}, {"a": 1}, {}),
        ({"_key": STRING, "a.b": STRING}, {"_key": "k", "a.b": 1}, {"_key": "k", "a.b": 1}),
    ],
)  # fmt: skip
def test_flat(properties: dict[str, Any], item: Any, expected: Any) -> None:
    found = flat(properties, item)
    assert found == expected
    assert list(found) == sorted(expected), "the order of the keys is alphabetical"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, "flatson_schema: its type is None; it has to be object"),
        ({"type": "array"}, "flatson_schema: its type is 'array'; it has to be object"),
        (nested(**array("join")), "flatson_serialize of l: there is no method 'join'; did you mean \"join_values\"?"),
        (nested(l={"type": "array", "flatson_serialize": {}}), "flatson_serialize of l has no method; known: join_values"),
        (nested(l={"type": "array", "flatson_serialize": "x"}), "flatson_serialize of l has no method"),
        (nested(a=nested(**array("extract_key_values", separators=["a"]))), "of a.l: separators has to be three texts"),
        (nested(**array("extract_key_values", separators=[1, 2, 3])), "of l: separators has to be three texts"),
        (nested(**array("join_values", separator=1)), "flatson_serialize of l: the separator 1 is not a text"),
        (nested(a=5), "flatson_schema: the property a is not a mapping"),
        ({"type": "object", "properties": [1]}, "flatson_schema: properties of the schema is not a mapping"),
        (nested(a={"type": "object", "properties": "x"}), "flatson_schema: properties of a is not a mapping"),
        (nested(**{"a.b": STRING, "a": nested(b=STRING)}), "flatson_schema: two properties would be called 'a.b'"),
    ],
)  # fmt: skip
def test_schemas_that_are_wrong_are_told(schema: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FlatsonTransform(flatson_schema=schema)
    assert message in str(caught.value)


def test_records_that_cannot_be_flattened_fail() -> None:
    with pytest.raises(RecordError, match="extract_key_values wants mappings in the array, not 'x'"):
        flat(array("extract_key_values"), {"l": ["x"]})
    with pytest.raises(RecordError, match="the record is not a mapping but a list; flatson needs fields"):
        flat(SHOP, [1])


@given(st.dictionaries(st.sampled_from(["sku", "geo", "tags", "x"]),
                       st.none() | st.text() | st.integers() | st.dictionaries(st.sampled_from(["lat", "lon"]), st.floats())
                       | st.lists(st.integers())))  # fmt: skip
def test_every_record_gives_the_same_fields(item: Any) -> None:
    assert list(FlatsonTransform(flatson_schema=nested(**SHOP)).map(item)) == ["geo.lat", "geo.lon", "sku", "tags"]
