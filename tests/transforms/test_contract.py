"""Contracts: a record is delivered, set aside, or delivered without what the contract does not allow; nothing else is lost."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from exporters_beam.config.contract import NEW_FIELDS, TYPES, warnings
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.contract import MOST_PATHS, Contract, NewFields, Types

from examples import at_least

OFFER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "sku": {"type": "string"},
        "price": {"type": ["number", "null"]},
        "stock": {"type": ["integer", "null"]},
        "ok": {"type": ["boolean", "null"]},
        "seller": {"type": ["object", "null"], "properties": {"town": {"type": ["string", "null"]}}},
        "offers": {"type": ["array", "null"], "items": OFFER},
        "by_day": {"type": ["object", "null"], "additionalProperties": {"type": ["number", "null"]}},
    },
    "required": ["sku"],
}  # fmt: skip
CLOSED = copy.deepcopy(SCHEMA)
CLOSED["additionalProperties"] = CLOSED["properties"]["seller"]["additionalProperties"] = False
CLOSED["properties"]["offers"]["items"]["additionalProperties"] = False

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([2**62, 0.5, 1.0, -0.0, 1e300]),
    st.sampled_from(["", "7", "x", "\ud800", "true", " 1.5 "]),
)  # fmt: skip
names = st.sampled_from(["sku", "price", "stock", "ok", "seller", "offers", "by_day", "town", "n", "", "a.b", "[0]", "new"])
values = st.recursive(leaves, lambda each: st.lists(each, max_size=3) | st.dictionaries(names, each, max_size=3), max_leaves=5)
records = st.fixed_dictionaries(
    {}, optional={
        "sku": leaves, "price": leaves, "stock": leaves, "ok": leaves, "new": values, "a.b": leaves, "": leaves,
        "seller": values | st.fixed_dictionaries({"town": leaves}, optional={"vat": values}),
        "offers": values | st.lists(values | st.fixed_dictionaries({"n": leaves}, optional={"m": leaves}), max_size=3),
        "by_day": values | st.dictionaries(names, leaves, max_size=3),
    },
)  # fmt: skip


def through(record: Any, **options: Any) -> Any:
    """What a contract makes of a record: that, or the step that it fails and why."""
    found = copy.deepcopy(record)
    for name, _, component, _ in Contract(schema=SCHEMA, **options).steps():
        try:
            found = pickle.loads(pickle.dumps(component)).map(found)
        except RecordError as error:
            return name, str(error)
    return found


def is_valid(record: Any, schema: dict[str, Any]) -> bool:
    return not list(Draft202012Validator(schema).iter_errors(record))


@settings(max_examples=at_least(200, 4), deadline=None)
@given(records)
def test_what_passes_is_what_the_schema_allows(record: Any) -> None:
    whole = through(record, new_fields="dead_letter", types="dead_letter")
    assert (whole == record and whole is not None) == is_valid(record, CLOSED)
    assert is_valid(record, CLOSED) or isinstance(whole, tuple)
    types = through(record, types="freeze")
    assert isinstance(types, tuple) != is_valid(record, SCHEMA)
    assert through(record, new_fields="accept", types="accept") == record


@settings(max_examples=at_least(200, 4), deadline=None)
@given(records)
def test_what_is_dropped_is_only_what_is_not_allowed(record: Any) -> None:
    """What is left is a part of the record, and is whole and allowed; else a required value is what was wrong."""
    left = through(record, new_fields="drop", types="drop")
    if isinstance(left, tuple):
        assert left[0] == TYPES and "so it cannot be dropped" in left[1] and not is_valid(record, SCHEMA)
        return
    assert is_valid(left, CLOSED) and is_part(left, record)
    if is_valid(record, CLOSED):
        assert left == record


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and is_part(value, whole[name]) for name, value in part.items())
    if isinstance(part, list):
        members = iter(whole)
        return all(any(is_part(value, other) for other in members) for value in part)
    return part is whole or (part == whole and type(part) is type(whole))


@settings(max_examples=at_least(200, 4), deadline=None)
@given(records)
def test_what_is_converted_is_allowed_and_the_rest_stays(record: Any) -> None:
    found = through(record, types="dead_letter", coerce=True)
    if isinstance(found, tuple):
        assert not is_valid(record, SCHEMA)
    else:
        assert is_valid(found, SCHEMA)
        assert found == record or not is_valid(record, SCHEMA)
        assert through(found, types="dead_letter", coerce=True) == found


INTEGER, NUMBER, BOOLEAN, TEXT = ({"type": name} for name in ("integer", "number", "boolean", "string"))
DATE, TIME = ({"type": "string", "format": name} for name in ("date", "date-time"))
DECIMAL, BYTE = ({"arrow": name} for name in ("decimal128(5, 2)", "int8"))
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
COERCED = [
    (INTEGER, " 7 ", 7), (INTEGER, 7.0, 7.0), (INTEGER, "7.5", None), (INTEGER, True, None), (INTEGER, 2**63, None),
    (NUMBER, "1e3", 1000.0), (NUMBER, Decimal("1.50"), Decimal("1.50")), (NUMBER, "nan", None),
    (BOOLEAN, "yes", True), (BOOLEAN, 0, False), (BOOLEAN, 2, None),
    (TEXT, 8000, "8000"), (TEXT, {"a": 1}, None), (TEXT, "", ""),
    (DATE, "2026-01-31", "2026-01-31"), (DATE, "31.1.2026", None), (DATE, "2026-01-31 12:00", date(2026, 1, 31)),
    (TIME, datetime(2026, 1, 1), None), (TIME, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), (TIME, NOON, NOON),
    (DECIMAL, "1.50", Decimal("1.50")), (DECIMAL, "1.555", None), (BYTE, "127", 127), (BYTE, "128", None),
    ({"type": "string", "contentMediaType": "application/json"}, {"any": [1]}, {"any": [1]}),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value", "wanted"), COERCED)
def test_values_are_converted_as_fields_converts_them(type_: dict[str, Any], value: Any, wanted: Any) -> None:
    step = Types(schema={"properties": {"a": type_}, "required": ["a"]}, types="dead_letter", coerce=True)
    if wanted is None:
        with pytest.raises(RecordError, match=r"^a: .* is not .*, as the contract says$"):
            step.map({"a": value})
    else:
        found = step.map({"a": value})["a"]
        assert found == wanted and type(found) is type(wanted)


def test_messages_name_the_place_and_the_remedy() -> None:
    remedy = "; change its schema, or say with contract.{} what becomes of it: accept, drop or dead_letter"
    told = through({"sku": "a", "offers": [{"n": 1}, {"n": 1, "x.y": 2}], "b": 1}, new_fields="freeze")
    what = r"offers[1].x\.y is a field that the contract does not have (and 1 more)"
    assert told == (NEW_FIELDS, what + remedy.format("new_fields"))
    told = through({"sku": None, "price": "x"})
    assert told == (TYPES, "sku: it is required, and null (and 1 more)" + remedy.format("types"))
    assert through({"price": 1}, types="drop") == (TYPES, "sku: it is required, and missing, so it cannot be dropped")
    assert through({"sku": "a", "seller": 7}, types="dead_letter") == (
        TYPES,
        "seller: 7 is not a mapping, as the contract says",
    )


def test_an_avro_schema_may_have_several_types() -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", "long", "string"]}]}
    step = Types(schema=schema, types="drop")
    assert [step.map({"a": value}) for value in (1, "x", None, 1.5)] == [{"a": 1}, {"a": "x"}, {"a": None}, {}]


def test_what_is_counted_is_told() -> None:
    step = NewFields(schema=SCHEMA, new_fields="drop")
    for record in ({"offers": [{"x": 1}, {"x": 2}]}, {"y.z": 1, "": 2}, {"": 1}):
        step.map(record)
    counts = step.counted()
    assert counts == {" new, left out": 2, "offers[].x new, left out": 1, r"y\.z new, left out": 1}
    assert list(warnings({f"{NEW_FIELDS}.{name}": n for name, n in counts.items()})) == [
        r"contract: 1 record has the field offers[].x, which its schema does not have; it was left out",
        r"contract: 1 record has the field y\.z, which its schema does not have; it was left out",
        'contract: 2 records have the field "", which its schema does not have; it was left out',
    ]
    assert step.counted() == {}
    for n in reversed(range(1000)):
        step.map({f"k{n:03}": 1, "all": 1})
    found = step.counted()
    assert found["all new, left out"] == 1000 and len(found) == MOST_PATHS and "k048 new, left out" in found
    assert list(warnings({f"{NEW_FIELDS}.{name}": n for name, n in found.items()}))[-1] == (
        "contract: 30 more fields are not in it, or unlike it; the manifest has their counts"
    )


WRONG = {
    "no fields": ({"type": "object"}, ("schema",), 'give a JSON Schema that has "properties"'),
    "type": ({"properties": {"a": {"type": "strin"}}}, ("schema", "properties", "a", "type"), 'did you mean "string"?'),
    "no file": ("nowhere.json", ("schema",), "nowhere.json cannot be read: No such file or directory"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_schema_is_told_with_its_place(wrong: str) -> None:
    schema, path, told = WRONG[wrong]
    with pytest.raises(ConfigError) as error:
        Contract(schema=schema)
    assert error.value.problems[0].path == path and told in error.value.problems[0].message


def test_a_schema_may_stand_in_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    assert Contract(schema="s.json").steps()[0][2] == Contract(schema=SCHEMA).steps()[0][2]
    (tmp_path / "s.json").write_text('{"properties": {"a": {"type": "strin"}}}')
    with pytest.raises(ConfigError, match=r's\.json: properties\.a\.type: there is no type "strin"; did you mean "string"'):
        Contract(schema="s.json")
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(ConfigError, match=r"s\.json cannot be read: it is not JSON"):
        Contract(schema="s.json")
