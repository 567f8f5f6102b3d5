"""Statistics of fields: what a plain look at all values finds, however records are divided, in any order."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.transforms.distinct import EXACT, Distinct, of_bytes
from exporters_beam.transforms.field_statistics import MOST_FIELDS, FieldStatistics, type_name
from exporters_beam.transforms.fields.paths import written

from examples import at_least

UTC, EAST = timezone.utc, timezone(timedelta(hours=2))

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([2**63, -(2**63), 2**63 - 1, 10**50, -(10**4200)]),
    st.sampled_from([0.5, -0.0, 1.0, 1e300, float("inf"), float("-inf"), float("nan"), 2.0**63]),
    st.sampled_from([Decimal(text) for text in ("1.50", "1.5", "0.5", "1E+1", "10", "NaN", "1E-900", "9" * 60, "Infinity")]),
    st.sampled_from(["", "a", "é", "\ud800", "x" * 70, "x" * 64, "x" * 65 + "y", "1", "\0"]), st.just(b"\xff"),
    st.sampled_from([date(2026, 1, 2), datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 2, 5, tzinfo=EAST)]),
    st.sampled_from([datetime(2026, 1, 2, 3), datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))]),
)  # fmt: skip
names = st.sampled_from(["a", "b", "", "a.b", "a[]", "[", "\\", "é", "\ud800"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
records = st.lists(st.dictionaries(names, values, max_size=4), max_size=12)


def every(value: Any, path: tuple[str | None, ...] = ()) -> Iterator[tuple[tuple[str | None, ...], Any]]:
    """Each value in a value with its path."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for name, member in value.items():
            yield from every(member, (*path, name))
    elif isinstance(value, list):
        for member in value:
            yield from every(member, (*path, None))


def is_nan(value: Any) -> bool:
    return isinstance(value, (float, Decimal)) and value != value


def plainly(found: list[Any]) -> dict[str, Any]:
    """What is said of these values of a field, found one by one."""
    there = [value for value in found if value is not None]
    types = [type_name(type(value)) for value in there]
    lengths = [len(value) for value in there if isinstance(value, (str, list, bytes))]
    texts, numbers = (
        [value for value in there if isinstance(value, str)],
        [
            value
            for value in there
            if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and not is_nan(value)
        ],
    )
    moments = {
        (value.astimezone(UTC) if value.year < 9999 and value.tzinfo else value).isoformat()
        if isinstance(value, datetime) else value.isoformat()
        for value in there if isinstance(value, date)
    }  # fmt: skip
    booleans = {value for value in there if isinstance(value, bool)}
    return {
        "present": len(there), "null": len(found) - len(there), "types": {name: types.count(name) for name in types},
        "distinct": len(set(texts)) + len(set(numbers)) + len(moments) + len(booleans) + (b"\xff" in there),
        "empty": texts.count(""), "nan": sum(map(is_nan, there)),
        "length": {"min": min(lengths), "max": max(lengths)} if lengths else None,
    }  # fmt: skip


def looked(records: list[Any]) -> FieldStatistics:
    found = FieldStatistics()
    found.add(records)
    return found


@settings(max_examples=at_least(150, 10), deadline=None)
@given(records)
def test_what_is_found_is_what_a_plain_look_finds(records: list[Any]) -> None:
    told = looked(records).as_dict()
    found: dict[str, list[Any]] = {}
    for record in records:
        for path, value in every(record):
            found.setdefault(written(path), []).append(value)
    assert told["records"] == len(records) and told["fields"].keys() == found.keys()
    for path, given_ in found.items():
        wanted, field = plainly(given_), told["fields"][path]
        assert {name: field.get(name, 0) for name in ("present", "null", "types", "empty", "nan")} == {
            name: wanted[name] for name in ("present", "null", "types", "empty", "nan")
        }
        assert field.get("length") == wanted["length"]
        assert field.get("distinct", 0) == wanted["distinct"]
        if "missing" in field:
            assert field["missing"] == len(records) - len(given_)
    json.loads(json.dumps(told, allow_nan=False))


@settings(max_examples=at_least(150, 10), deadline=None)
@given(records, st.randoms(use_true_random=False))
def test_what_is_found_does_not_depend_on_how_records_are_divided(records: list[Any], chance: random.Random) -> None:
    """Ranges in any order, each in batches of any size: the same bytes."""
    cuts = sorted(chance.sample(range(len(records) + 1), min(2, len(records) + 1)))
    ranges = [records[a:b] for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    merged = []
    for batch in (1, 3, 100):
        parts = []
        for number, own in enumerate(ranges):
            part = FieldStatistics()
            for at in range(0, len(own), batch):
                part.add(own[at : at + batch])
            parts.append(FieldStatistics.load(part.dump()).at(0, number))
        chance.shuffle(parts)
        whole = FieldStatistics()
        for part in parts:
            whole.merge(part)
        merged.append(whole)
    assert len({each.dump() for each in merged}) == 1
    assert len({json.dumps(each.as_dict()) for each in merged}) == 1


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [
        ([3, 1.5, Decimal("0.25")], 0.25, 3),
        ([1.0, 1, Decimal("1.00")], 1, 1),
        ([float("nan"), 2], 2, 2),
        ([float("-inf"), 10**50], "-Infinity", "1.000000000000000000000000000000000000000E+50"),
        (["b", 7, True, date(2026, 1, 1)], True, "b"),
        (["x" * 70, "x" * 64], "x" * 64, "x" * 64 + "…"),
        ([datetime(2026, 1, 1, 1, tzinfo=EAST), datetime(2026, 1, 1, tzinfo=UTC)],
         "2025-12-31T23:00:00+00:00", "2026-01-01T00:00:00+00:00"),
    ],
)  # fmt: skip
def test_the_least_and_the_greatest(values: list[Any], least: Any, most: Any) -> None:
    field = looked([{"a": value} for value in values]).as_dict()["fields"]["a"]
    assert (field["min"], field["max"]) == (least, most)


def test_fields_stand_in_the_order_in_which_they_come() -> None:
    found = FieldStatistics()
    for number, own in enumerate([[{"z": 1, "m": {"b": 1}}], [{"a": 1, "m": {"a": 1}, "z": 2}]]):
        found.merge(looked(own).at(0, number))
    assert list(found.as_dict()["fields"]) == ["z", "m", "m.a", "m.b", "a"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_of_very_many_fields_the_same_ones_are_kept_and_the_others_counted(size: int) -> None:
    rows = [{"all": 1, f"k{n:04}": n, "deep": {f"d{n}": n}} for n in range(400)]
    random.Random(7).shuffle(rows)
    found = FieldStatistics()
    for at in range(0, len(rows), size):
        part = looked(rows[at : at + size])
        found.merge(FieldStatistics.load(part.dump()).at(0, at))
    told = found.as_dict()
    assert sorted(told["fields"]) == ["all", "deep", *(f"k{n:04}" for n in range(MOST_FIELDS - 2))]
    assert told["left_out"] == pytest.approx(800 - (MOST_FIELDS - 2), rel=0.05)
    assert told["fields"]["all"]["present"] == told["fields"]["deep"]["present"] == 400


def test_only_some_fields() -> None:
    found = FieldStatistics(("a.b", "l[]", r"x\.y"), only=frozenset({"a", "l", "x.y"}), without=frozenset({"l"}))
    found.add([{"a": {"b": {"c": 1}, "d": 2}, "l": [1], "x.y": 3, "x": {"y": 4}}])
    assert list(found.as_dict()["fields"]) == ["a.b", "a.b.c", r"x\.y"]


def test_what_is_nested_deep_is_left_out_and_counted() -> None:
    value: Any = 1
    for _ in range(500):
        value = {"a": [value]}
    told = looked([value, {"k" * 300: 1}]).as_dict()
    assert len(told["fields"]) == 10 and told["left_out"] == 2


@pytest.mark.parametrize("count", [1, EXACT, EXACT + 1, 5000, 200_000])
def test_different_values_are_counted_exactly_or_nearly(count: int) -> None:
    parts = [Distinct() for _ in range(3)]
    for n, part in enumerate(parts):
        part.add(of_bytes([b"%d" % value for value in range(n * count // 4, count if n == 2 else (n + 2) * count // 4)]))
    dumps = []
    for order in ((0, 1, 2), (2, 0, 1)):
        found = Distinct()
        for n in order:
            few, registers = parts[n].dump()
            found.merge(Distinct(few, bytes.fromhex(registers)))
        dumps.append(found.dump())
    assert dumps[0] == dumps[1]
    assert found.count() == (count if count <= EXACT else pytest.approx(count, rel=0.08))
