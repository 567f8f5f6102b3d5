"""What every grouper promises. A new grouper joins with a row in GROUPERS."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from exporters_beam.errors import RecordError

import contracts
from contracts import Case

GROUPERS = contracts.table(
    "grouper",
    ("file_key", {"keys": ["text"]}, ("x",)),
    ("file_key", {"keys": ["nested.deep", "text"]}, ("y", "x")),
    ("none", {}, None),
    ("partition", {"fields": ["text", {"field": "nested.deep", "as": "y"}]}, ("x", "y")),
    ("partition", {"fields": ["text"], "style": "of-{text}", "columns": "remove"}, ("x",)),
    ("python", {"function": "contracts:initial"}, ("x",)),
    ("python_exp", {"python_expressions": ["item['text']", "len(item['text'])"]}, ("x", "1")),
)

cases = pytest.mark.parametrize(("case", "expected"), GROUPERS)

RECORD = {"text": "x", "nested": {"deep": "y"}}


def group(made: Any, record: Any) -> Any:
    """The group of a record, or the error the grouper may raise and no other."""
    try:
        return made.key(copy.deepcopy(record))
    except RecordError as error:
        return str(error)


def test_every_grouper_has_a_row() -> None:
    contracts.check_every_component_has_a_row("grouper", GROUPERS)


@cases
def test_options_round_trip(case: Case, expected: Any) -> None:
    contracts.check_options_round_trip(case)


@cases
def test_unknown_options_are_refused(case: Case, expected: Any) -> None:
    contracts.check_unknown_options_are_refused(case)


@cases
def test_it_groups_and_does_so_after_pickling(case: Case, expected: Any) -> None:
    if expected is None:
        return
    for made in (case.make(), contracts.check_pickling(case)):
        assert group(made, RECORD) == expected == group(made, RECORD)
        assert made.size == len(expected)


@cases
@pytest.mark.parametrize("text", contracts.ODD_TEXTS.values(), ids=contracts.ODD_TEXTS)
def test_odd_text_makes_groups_of_text(case: Case, expected: Any, text: str) -> None:
    made = case.make()
    if expected is None:
        return
    record = {"text": text, "nested": {"deep": text}}
    before = copy.deepcopy(record)
    found = group(made, record)
    if case.name == "partition" and len(text) > 1000 and case.make().hive:
        assert found.endswith("file systems take 255"), "a name that is cut would be another value"
        return
    assert isinstance(found, tuple) and len(found) == made.size
    assert all(isinstance(part, str) for part in found)
    assert group(made, record) == found
    assert record == before


@cases
@pytest.mark.parametrize(
    "record",
    [
        {},
        {"text": None},
        {"text": [1, {"a": "b"}]},
        {"text": 2**70},
        {"text": float("nan")},
        {"text": contracts.SURROGATE},
    ],
    ids=["empty", "null", "list", "large", "nan", "surrogate"],
)
def test_any_record_has_a_group_or_fails_with_a_sentence(case: Case, expected: Any, record: Any) -> None:
    made = case.make()
    if expected is None:
        return
    found = group(made, record)
    assert (isinstance(found, tuple) and len(found) == made.size) or (isinstance(found, str) and found.strip())
