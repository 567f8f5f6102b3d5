"""What every transform promises. A new transform joins with a row in TRANSFORMS."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.errors import RecordError

import contracts
from contracts import Case

RECORD = {"_key": "a", "text": "x", "n": 2**70, "nested": {"list": [1, 2.5, {"deep": None}]}}

TRANSFORMS = contracts.table(
    "transform",
    ("explode", {"field": "length", "empty": "keep"}),
    ("fields", {"default": {"length": 0}}),
    (
        "fields",
        {"trim": ["other"], "types": {"nested": "json", "n": "integer"}, "select": ["_key", "text", "n", "nested", "length"]},
    ),
    ("flatson", {"flatson_schema": {"type": "object", "properties": {"text": {"type": "string"}}}}),
    ("jq", {"jq_filter": "{text}"}),
    ("jq", {"jq_filter": "."}),
    ("lookup", {"file": str(Path(__file__).with_name("table.csv")), "key": {"_key": "key"}, "columns": ["length"]}),
    ("none", {}),
    ("python", {"function": "contracts:with_length"}),
    ("pythonexp", {"python_expressions": ["item.update(length=len(item['text']))"]}),
    ("sort_keys", {}),
    ("sort_keys", {"nested": False}),
    ("pythonmap", {"map": "dict(item, length=len(item['text']))"}),
)

cases = pytest.mark.parametrize("case", TRANSFORMS)


def results(made: Any, record: Any) -> Any:
    """What the transform makes of a record: a list of records, or the error it may raise and no other."""
    given = copy.deepcopy(record)
    try:
        return list(made.flat_map(given)) if hasattr(made, "flat_map") else [made.map(given)]
    except RecordError as error:
        return str(error)


def test_every_transform_has_a_row() -> None:
    contracts.check_every_component_has_a_row("transform", TRANSFORMS)


@cases
def test_options_round_trip(case: Case) -> None:
    contracts.check_options_round_trip(case)


@cases
def test_unknown_options_are_refused(case: Case) -> None:
    contracts.check_unknown_options_are_refused(case)


@cases
def test_it_does_the_same_twice_and_after_pickling(case: Case) -> None:
    made = case.make()
    expected = results(made, RECORD)
    assert isinstance(expected, list) and len(expected) == 1
    assert results(made, RECORD) == expected == results(contracts.check_pickling(case), RECORD)


@cases
def test_records_it_leaves_alone_keep_values_and_order(case: Case) -> None:
    if case.name == "flatson" or case.options.get("jq_filter") == "{text}":
        return
    (found,) = results(case.make(), RECORD)
    left = {key: value for key, value in found.items() if key != "length"}
    assert left == RECORD
    if case.name != "sort_keys":
        assert list(left) == list(RECORD)
    assert list(left["nested"]["list"][2]) == ["deep"]


@cases
@pytest.mark.parametrize("text", contracts.ODD_TEXTS.values(), ids=contracts.ODD_TEXTS)
def test_odd_text_passes_unchanged(case: Case, text: str) -> None:
    found = results(case.make(), {"text": text})
    assert isinstance(found, list)
    assert [record["text"] for record in found] == [text]


@cases
@pytest.mark.parametrize(
    "record",
    [{}, {"text": None}, {"text": ["a"]}, {"text": 2**70}, {"text": float("nan")}, {"text": contracts.SURROGATE}],
    ids=["empty", "null", "list", "large", "nan", "surrogate"],
)
def test_any_record_is_mapped_or_fails_with_a_sentence(case: Case, record: Any) -> None:
    found = results(case.make(), record)
    assert isinstance(found, list) or (found.strip() and len(found) < 1000)
