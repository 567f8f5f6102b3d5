"""Whether columns have values that Python and UTF-8 cannot hold, seen without making any of the values."""

from __future__ import annotations

from typing import Any

YEAR_2, YEAR_9999 = -62_104_060_800, 253_370_764_800
"""Seconds of the epoch between which Python has every moment, whatever its time zone."""

DAY = 86_400


class Unlike(Exception):
    """Columns that have to become records: of types that are rare, or with values that records may not hold."""


def is_sound(array: Any, cut_nanoseconds: bool = False) -> bool:
    """Whether `arrow.values` is sure to give every value of an array. False means that it may raise: of types that are rare
    nothing is known."""
    import pyarrow as pa

    type_, test = array.type, pa.types
    if array.null_count == len(array):
        return True
    if isinstance(type_, pa.BaseExtensionType):
        return type_.extension_name == "arrow.uuid" or is_sound(array.storage, cut_nanoseconds)
    if test.is_dictionary(type_):
        return is_sound(array.dictionary, cut_nanoseconds)
    if test.is_struct(type_):
        return all(is_sound(child, cut_nanoseconds) for child in array.flatten())
    if test.is_map(type_):
        hashed = test.is_string(array.keys.type) or test.is_integer(array.keys.type)
        return hashed and is_sound(array.keys) and is_sound(array.items, cut_nanoseconds)
    if test.is_list(type_) or test.is_large_list(type_):
        return is_sound(array.values, cut_nanoseconds)
    if test.is_string(type_) or test.is_large_string(type_):
        try:
            check_text(array)
        except (pa.ArrowException, Unlike):
            return False
        return True
    if test.is_temporal(type_):
        return _are_moments(array, cut_nanoseconds)
    return any(is_it(type_) for is_it in (
        test.is_integer, test.is_floating, test.is_boolean, test.is_decimal128, test.is_decimal256, test.is_binary,
        test.is_large_binary, test.is_fixed_size_binary,
    ))  # fmt: skip


def _are_moments(array: Any, cut_nanoseconds: bool) -> bool:
    import pyarrow as pa

    from exporters_beam.formats.tables.arrow import known_zone

    type_, test = array.type, pa.types
    try:
        if test.is_date(type_):
            return within(array.cast(pa.date32()).cast(pa.int32()), YEAR_2 // DAY, YEAR_9999 // DAY)
        if test.is_time(type_):
            times = array.cast(pa.time64("us"), safe=not cut_nanoseconds)
            return within(times.cast(pa.int64()), -1, DAY * 1_000_000)
        if not test.is_timestamp(type_):
            return False
        if type_.tz is not None:
            known_zone(type_.tz)
        moments = array.cast(pa.timestamp("us", type_.tz), safe=not cut_nanoseconds)
        return within(moments.cast(pa.int64()), YEAR_2 * 1_000_000, YEAR_9999 * 1_000_000)
    except (pa.ArrowException, ValueError, KeyError, OSError):  # Other units do not fit, or there is no such zone.
        return False


def within(numbers: Any, low: int, high: int) -> bool:
    """Whether all of these are between two others."""
    import pyarrow.compute as pc

    found = pc.min_max(numbers)
    least, most = found["min"].as_py(), found["max"].as_py()
    return least is None or low < least <= most < high


def check_text(array: Any) -> None:
    """Raises where text is not UTF-8. All texts are looked at together, which is four times as fast as one by one: they are
    sound where that is, and where none begins inside a character."""
    import numpy as np
    import pyarrow as pa

    _, offsets, data = array.buffers()
    if data is None or not data.size:
        return
    text = np.frombuffer(data, np.uint8)
    if text.max() < 128:
        return
    size = np.int64 if pa.types.is_large_string(array.type) else np.int32
    starts: Any = np.frombuffer(offsets, size)[array.offset : array.offset + len(array) + 1]
    first, end = int(starts[0]), int(starts[-1])
    together = pa.py_buffer(np.array([0, end - first], np.int64))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, together, data[first:end]]).validate(full=True)
    except pa.ArrowInvalid:
        array.validate(full=True)  # Says which text it is.
        raise
    borders = starts[starts < end]
    if ((text[borders] & 0xC0) == 0x80).any():
        array.validate(full=True)
        raise Unlike
