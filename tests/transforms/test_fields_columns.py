"""The transform `fields` on columns, and behind rules of the planner, gives what it gives on records."""

from __future__ import annotations

import copy
import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.fields.transform import FieldsTransform

from examples import at_least

NAMES = ["a", "b", "c", "d", "e", ""]
PATHS = ["a", "b", "c", "d", r"a\.b"]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**70, 1.5, -0.0, float("nan"), float("inf"), "", " ", "1", " 2 ", "1.50", "-1e3", "yes"),
    *(
        "É x",
        "2026-01-31",
        "2026-03-29 02:30",
        "31/12/2025",
        '{"x": 1}',
        "[1]",
        "\ud800",
        b"x",
        Decimal("1.50"),
        Decimal("NaN"),
    ),
    *({}, {"x": 1}, [], [1, None], (1,), datetime.date(2026, 1, 31), datetime.datetime(2026, 1, 31, 2), {1}),
]
TYPES: list[Any] = [
    *("integer", "number", "decimal", "boolean", "text", "date", "datetime", "json", "json_text"),
    {"type": "integer", "empty_as_null": False}, {"type": "text", "empty_as_null": True},
    {"type": "date", "format": ["%d/%m/%Y", "iso"]}, {"type": "datetime", "zone": "Europe/Copenhagen"},
    {"type": "boolean", "true_values": ["x"]},
]  # fmt: skip

paths = st.sampled_from(PATHS)
some = st.lists(paths, unique=True, max_size=3)
options = st.fixed_dictionaries(
    {},
    optional={
        "drop": some,
        "rename": st.dictionaries(paths, paths, max_size=3),
        "trim": some,
        "lower": some,
        "types": st.dictionaries(paths, st.sampled_from(TYPES), max_size=3),
        "default": st.dictionaries(paths, st.sampled_from([None, 0, "1", "x", [1]]), max_size=2),
        "set": st.dictionaries(paths, st.sampled_from([None, 7, "1", {"y": [1]}]), max_size=2),
        "hash": st.dictionaries(paths, st.just("sha256"), max_size=2),
        "mask": st.dictionaries(paths, st.integers(0, 2), max_size=2),
        "flatten": st.sampled_from([["a"], {"separator": "."}]),
        "select": st.lists(paths, unique=True, min_size=1, max_size=4),
    },
)
columns = st.integers(0, 3).flatmap(
    lambda count: st.dictionaries(
        st.sampled_from(NAMES), st.lists(st.sampled_from(VALUES), min_size=count, max_size=count), min_size=1, max_size=4
    ).map(lambda found: (found, count))
)


@settings(max_examples=at_least(600, 50), deadline=None)
@given(options, columns)
def test_columns_become_what_their_records_become(options: dict[str, Any], given: tuple[dict[str, list[Any]], int]) -> None:
    try:
        transform = build(FieldsTransform, options, {})
    except ConfigError:
        return
    found, count = given
    records = [{name: copy.deepcopy(values[n]) for name, values in found.items()} for n in range(count)]
    before = repr(found)
    expected: Any
    try:
        expected = list(map(transform.map, records))
    except RecordError as error:
        expected = str(error)
    assert transform.map_columns is not None
    try:
        made = transform.map_columns(copy.deepcopy(found), count)
    except Exception:
        return  # Records say what is wrong, if anything is.
    finally:
        assert repr(found) == before
    assert not isinstance(expected, str), expected
    rows = [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)] if made else [{}] * count
    assert repr(rows) == repr(expected)


def test_columns_are_mostly_made_as_columns() -> None:
    options = {"rename": {"a": "b"}, "types": {"b": "integer"}, "set": {"c": 1}, "select": ["c", "b"]}
    found = build(FieldsTransform, options, {}).map_columns
    assert found is not None and found({"a": ["1", ""], "x": [1, 2]}, 2) == {"c": [1, 1], "b": [1, None]}


@pytest.mark.parametrize(
    "options", [{"trim": ["a.b"]}, {"select": ["a[].b"]}, {"rename": {"a": "b.c"}}, {"default": {"a.b": 1}}]
)
def test_paths_into_mappings_are_followed_in_records(options: dict[str, Any]) -> None:
    assert build(FieldsTransform, options, {}).map_columns is None
