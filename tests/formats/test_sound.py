"""What `is_sound` says of columns holds: then every value of every row can be made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.formats.rows import MOST, maker
from exporters_beam.formats.tables.arrow import rows, values
from exporters_beam.formats.tables.sound import is_sound

from examples import at_least

NUMBERS = [0, 1, -1, 86_399_999_999, 86_400_000_000, 253_402_300_800, -62_135_596_801, 10**15 + 1, 2**62, -(2**63)]
UNITS = ["s", "ms", "us", "ns"]
MOMENTS = [
    *(pa.timestamp(unit, zone) for unit in UNITS for zone in (None, "UTC", "+14:00", "Asia/Tokyo", "Nowhere/Near")),
    *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.date32(), pa.date64(), pa.duration("us")),
]


def numbers(type_: pa.DataType, parts: list[int | None]) -> pa.Array:
    """Half floats are made of values of NumPy: older releases of pyarrow take no others."""
    if type_ == pa.float16():
        return pa.array([None if part is None else np.float16(part) for part in parts], type_)
    return pa.array(parts, type_)


def moments(type_: pa.DataType, numbers: list[int | None]) -> pa.Array:
    bits = 8 * type_.bit_width // 8
    limit = 2 ** (bits - 1)
    return pa.array(
        [None if n is None else (n + limit) % (2 * limit) - limit for n in numbers], getattr(pa, f"int{bits}")()
    ).view(type_)


def texts(type_: pa.DataType, parts: list[bytes | None]) -> pa.Array:
    return pa.array(parts, pa.large_binary() if type_ == pa.large_string() else pa.binary()).view(type_)


leaves = st.one_of(
    st.builds(moments, st.sampled_from(MOMENTS), st.lists(st.sampled_from([None, *NUMBERS]), max_size=5)),
    st.builds(
        texts,
        st.sampled_from([pa.string(), pa.large_string()]),
        st.lists(st.sampled_from([None, b"", b"a", "é".encode(), b"\xff", b"\xc3", b"\xa9"]), max_size=5),
    ),
    st.builds(
        numbers,
        st.sampled_from([pa.int8(), pa.uint64(), pa.float32(), pa.float16(), pa.decimal128(5, 1), pa.decimal256(70, 0)]),
        st.lists(st.sampled_from([None, 0, 1]), max_size=5),
    ),
    st.lists(st.sampled_from([None, True, b"x" * 16]), max_size=1).map(pa.array),
)


def nested(child: pa.Array, how: str, gap: bool) -> pa.Array:
    if how == "struct":
        mask = pa.array([gap and n == 0 for n in range(len(child))], pa.bool_())
        return pa.StructArray.from_arrays([child, child], ["x", "y"], mask=mask)
    offsets = pa.array([None if gap and n == 1 < len(child) else n for n in range(len(child) + 1)], pa.int32())
    if how == "map" and not child.null_count and not gap:
        return pa.MapArray.from_arrays(offsets, child, child)
    if how == "large":
        return pa.LargeListArray.from_arrays(offsets.cast(pa.int64()), child)
    return (
        pa.DictionaryArray.from_arrays(pa.array([0] * min(len(child), 1), pa.int8()), child)
        if how == "dictionary"
        else pa.ListArray.from_arrays(offsets, child)
    )


arrays = st.recursive(
    leaves,
    lambda inner: st.builds(nested, inner, st.sampled_from(["struct", "list", "large", "map", "dictionary"]), st.booleans()),
    max_leaves=3,
)


@settings(max_examples=at_least(300, 100), deadline=None)
@given(arrays, st.booleans(), st.data())
def test_of_a_sound_column_every_value_can_be_made(array: pa.Array, cut: bool, data: st.DataObject) -> None:
    if not is_sound(array, cut):
        return
    whole = values(array, cut)
    flags = data.draw(st.lists(st.booleans(), min_size=len(array), max_size=len(array)))
    some = values(array.filter(pa.array(flags, pa.bool_())), cut)
    assert repr(some) == repr([value for value, flag in zip(whole, flags, strict=True) if flag])


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["a", None, "é"]), pa.array([1.5, None]), pa.array([{"a": [1], "b": {"c": b"x"}}, None]),
        pa.array([0, 10**15], pa.timestamp("us", "UTC")), pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([0], pa.date32()), pa.array([0], pa.time64("ns")), pa.array(["a"]).dictionary_encode(),
    ],
)  # fmt: skip
def test_what_files_mostly_hold_is_sound(array: pa.Array) -> None:
    assert is_sound(array)


NAMES: list[Any] = ["a", "'\"\\", "\n", "é", "", "class", "v0", "{}", "\0"]


@given(st.lists(st.sampled_from(NAMES), max_size=5), st.booleans())
def test_records_of_rows_are_what_zip_makes_of_them(names: list[str], more: bool) -> None:
    found = maker(tuple(names), more)([(*range(n, n + len(names)), *([None] if more else [])) for n in (0, 7)])
    expected = [dict(zip(names, range(n, n + len(names)), strict=True)) for n in (0, 7)]
    assert [list(record.items()) for record in found] == [list(record.items()) for record in expected]


def test_records_of_many_columns() -> None:
    names = [f"c{n}" for n in range(MOST + 1)]
    assert rows(names, [[n] for n in range(len(names))], 1) == [{name: n for n, name in enumerate(names)}]
