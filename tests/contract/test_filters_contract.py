"""What every filter promises. A new filter joins with a row in FILTERS."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from exporters_beam.errors import RecordError

import contracts
from contracts import Case

ES, US = {"country": "es", "n": 1}, {"country": "us", "n": 1}
CONTRACT = {"type": "object", "properties": {"country": {"maxLength": 2, "pattern": "^e"}}}

FILTERS = contracts.table(
    "filter",
    ("dupe", {"key_field": "country"}, None, None),
    ("jsonschema", {"schema": CONTRACT}, ES, None),
    ("jsonschema", {"schema": CONTRACT, "on_violation": "drop"}, ES, US),
    ("key_value", {"keys": [{"name": "country", "value": "es"}]}, ES, US),
    ("key_value_regex", {"keys": [{"name": "country", "value": "^e"}]}, ES, US),
    ("none", {}, ES, None),
    ("python", {"function": "contracts:is_spanish"}, ES, US),
    ("sample", {"rate": 1, "by": ["country"]}, ES, None),
    ("sample", {"rate": 0}, None, US),
    ("pythonexp", {"python_expression": "item['country'] == 'es'"}, ES, US),
)

cases = pytest.mark.parametrize(("case", "kept", "dropped"), FILTERS)


def verdict(made: Any, record: Any) -> Any:
    """What the filter makes of a record: a truth, a key, or the error it may raise and no other."""
    try:
        return made.key(record) if hasattr(made, "key") else bool(made.keep(record))
    except RecordError as error:
        return str(error)


def test_every_filter_has_a_row() -> None:
    contracts.check_every_component_has_a_row("filter", FILTERS)


@cases
def test_options_round_trip(case: Case, kept: Any, dropped: Any) -> None:
    contracts.check_options_round_trip(case)


@cases
def test_unknown_options_are_refused(case: Case, kept: Any, dropped: Any) -> None:
    contracts.check_unknown_options_are_refused(case)


@cases
def test_it_keeps_and_drops_and_does_so_after_pickling(case: Case, kept: Any, dropped: Any) -> None:
    for made in (case.make(), contracts.check_pickling(case)):
        for _ in "twice":
            assert kept is None or made.keep(copy.deepcopy(kept))
            assert dropped is None or not made.keep(copy.deepcopy(dropped))


@cases
@pytest.mark.parametrize("text", contracts.ODD_TEXTS.values(), ids=contracts.ODD_TEXTS)
def test_odd_text_is_judged_and_left_alone(case: Case, kept: Any, dropped: Any, text: str) -> None:
    made = case.make()
    record = {"country": text, text: "as a key", "nested": {"list": [text, {text: None}]}}
    before = copy.deepcopy(record)
    assert verdict(made, record) == verdict(made, record)
    assert record == before
    assert list(record) == list(before)


@cases
@pytest.mark.parametrize(
    "record",
    [{}, {"country": None}, {"country": ["es"]}, {"country": {"es": 1}}, {"country": 2**70}, {"country": float("nan")},
     {"country": contracts.SURROGATE}],
    ids=["empty", "null", "list", "mapping", "large", "nan", "surrogate"],
)  # fmt: skip
def test_any_record_is_judged_or_fails_with_a_sentence(case: Case, kept: Any, dropped: Any, record: Any) -> None:
    found = verdict(case.make(), record)
    assert found is None or isinstance(found, (bool, bytes, str))
    if isinstance(found, str):
        assert found.strip() and len(found) < 1000


def test_a_dupe_key_is_the_same_for_equal_values_only() -> None:
    made = Case("filter", "dupe", {"key_field": "k"}).make()
    texts = [text for text in contracts.ODD_TEXTS.values() if text]
    keys = [made.key({"k": text}) for text in texts]
    assert len(set(keys)) == len(texts)
    assert keys == [contracts.check_pickling(Case("filter", "dupe", {"key_field": "k"})).key({"k": t}) for t in texts]
