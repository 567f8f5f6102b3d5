"""How records are staged for writers that take values: whatever they hold comes back, and equal ones are equal bytes."""

from __future__ import annotations

import math
from collections import OrderedDict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters_beam.writers.batches import RecordBatch
from exporters_beam.writers.values import Values, pack, unpack, unpack_all


class Number(int):
    pass


class Text(str):
    __slots__ = ()


class Real(float):
    pass


class Octets(bytes):
    pass


class Objects(list):  # type: ignore[type-arg]
    pass


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Pair(NamedTuple):
    one: int
    two: str


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, all through."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (one == other and math.copysign(1, one) == math.copysign(1, other))
    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, datetime):
        return one.replace(tzinfo=None) == other.replace(tzinfo=None) and one.fold == other.fold and one.tzinfo == other.tzinfo
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) for pair in zip(one.items(), other.items(), strict=True) for a, b in zip(*pair, strict=True)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


zones = st.sampled_from(
    [None, timezone.utc, timezone(timedelta(hours=-3)), timezone(timedelta(0), "Z"), ZoneInfo("Europe/Dublin")]
)
texts = st.text(st.characters(), max_size=12)  # with lone surrogates
times = st.datetimes(timezones=zones).flatmap(lambda found: st.sampled_from([found, found.replace(fold=1)]))
plain = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | texts | st.binary(max_size=8)
rich = (
    st.decimals() | times | st.dates() | st.times() | st.timedeltas() | st.uuids() | st.complex_numbers(allow_nan=False)
    | st.builds(Number, st.integers()) | st.builds(Text, texts) | st.builds(Real, st.floats(allow_nan=False))
    | st.sampled_from([Colour.RED, Level.HIGH, Pair(1, "a"), Octets(b"x"), Objects([1]), frozenset({1}), Decimal("sNaN7"), -0.0,
                       Decimal("-0E+5"), 2**63, 2**64, -(2**63) - 1, time(1, tzinfo=timezone.utc), OrderedDict(a=1)])
)  # fmt: skip
keys = texts | st.integers()
values = st.recursive(plain | rich, lambda inner: (
    st.lists(inner, max_size=4) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    | st.dictionaries(st.builds(Text, texts), inner, max_size=2)
), max_leaves=12)  # fmt: skip
records = st.dictionaries(texts, values, max_size=6)


@given(st.lists(records, max_size=5))
def test_records_come_back_as_they_were(found: list[dict[str, Any]]) -> None:
    staged = Values().format_all(found)
    assert staged == list(map(pack, found)) == list(map(Values().format, found))
    assert all(same(unpack(data), record) for data, record in zip(staged, found, strict=True))
    assert all(map(same, unpack_all(staged), found))


@given(records)
def test_equal_records_are_equal_bytes_whichever_objects_they_share(record: dict[str, Any]) -> None:
    shared = {"a": record, "b": [record, record]}
    apart = {"a": unpack(pack(record)), "b": [unpack(pack(record)), unpack(pack(record))]}
    assert pack(shared) == pack(apart)


def nested(levels: int) -> Any:
    found: Any = {"a": 1}
    for _ in range(levels):
        found = {"a": found}
    return found


@pytest.mark.parametrize("levels", [100, 1010, *range(1018, 1030)])
def test_depth(levels: int) -> None:
    try:
        staged = pack(nested(levels))
    except RecursionError:  # as pickle says
        return
    assert unpack_all([staged, staged]) == [unpack(staged)] * 2 == [nested(levels)] * 2


def test_what_is_no_plain_dictionary_and_circles() -> None:
    record = OrderedDict(a=(1, [2]), b=Pair(1, "x"))
    assert same(unpack(pack(record)), record)
    circle: dict[str, Any] = {"a": 1}
    circle["self"] = circle
    found = unpack(pack(circle))
    assert found["self"] is found


def test_other_types_are_other_records() -> None:
    stamps = [1, 1.0, True, "1", b"1", (1,), [1], Decimal(1), Decimal("1.0"), Number(1), None, UUID(int=1), date(2026, 1, 1),
              datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone.utc)]  # fmt: skip
    assert len({RecordBatch("d", 0, [pack({"a": value})]).checksum for value in stamps}) == len(stamps)


def test_what_cannot_be_kept_says_so() -> None:
    with pytest.raises(Exception, match="pickle"):
        pack({"a": lambda: 1})
    assert same(unpack(pack({"a": bytearray(b"x")})), {"a": b"x"})
