"""Thrift's compact encoding, as Parquet files have it around their data: read with bounds, before Arrow sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

DEEPEST = 60
"""Structs and lists inside each other; Thrift's own limit is 64."""

_BINARY, _LIST, _SET, _MAP, _STRUCT = 8, 9, 10, 11, 12

Fields = dict[int, Any]
"""The members of a struct by the numbers of their fields."""


def number(data: bytes, at: int) -> tuple[int, int]:
    """The integer that stands at `at`, and where it ends."""
    found, at = _unsigned(data, at)
    return (found >> 1) ^ -(found & 1), at


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    found, shift = byte & 127, 7
    at += 1
    while byte > 127:
        byte = data[at]
        found |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if shift > 70:
            raise ValueError("a number has more than 64 bits")
    return found, at


def struct(data: bytes, at: int = 0, depth: int = 0, strict: Mapping[int, int] | None = None) -> tuple[Fields, int]:
    """The struct that begins at `at`, and where it ends. Raises ValueError and IndexError for what is none, and where a field
    of `strict`, in a struct inside this one, is of another kind than that says."""
    if depth > DEEPEST:
        raise ValueError("structs and lists are nested too deep")
    found: Fields = {}
    field = 0
    while header := data[at]:
        kind, field, at = begun(data, at, header, field)
        if depth and strict and field in strict and kind != strict[field]:
            raise ValueError(f"its field {field} is of type {kind}")
        if 4 <= kind <= 6:
            byte = data[at]
            if byte < 128:
                found[field] = (byte >> 1) ^ -(byte & 1)
                at += 1
            else:
                found[field], at = number(data, at)
        elif kind < 3:
            found[field] = kind == 1
        elif strict and not depth and field == 3 and kind == _STRUCT:
            found[field], at = struct(data, at, 1, strict)
        else:
            found[field], at = value(data, at, kind, depth + 1)
    return found, at + 1


def begun(data: bytes, at: int, header: int, before: int) -> tuple[int, int, int]:
    """What kind of field begins at `at` behind the field `before`, its number, and where its value begins."""
    at += 1
    if header > 15:
        field = before + (header >> 4)
    else:
        field, at = number(data, at)
    if field > 32767 or field < 0:  # As C++ has it, which reads our files too, in 16 bits.
        field &= 65535
    return header & 15, field, at


def value(data: bytes, at: int, kind: int, depth: int = 0) -> tuple[Any, int]:
    """A value of a kind, and where it ends."""
    if depth > DEEPEST:
        raise ValueError("structs and lists are nested too deep")
    if 4 <= kind <= 6:
        return number(data, at)
    if kind == _BINARY:
        size, at = _unsigned(data, at)
        if at + size > len(data):
            raise ValueError(f"a text claims to have {size:,} bytes")
        return data[at : at + size], at + size
    if kind == _STRUCT:
        return struct(data, at, depth)
    if kind in (_LIST, _SET):
        count, kind, at = items(data, at)
        found = []
        for _ in range(count):
            item, at = value(data, at, kind, depth + 1)
            found.append(item)
        return found, at
    if kind == _MAP:
        return _map(data, at, depth + 1)
    if kind in (1, 2, 3):
        return data[at], at + 1
    if kind == 7:
        return data[at : at + 8], at + 8
    raise ValueError(f"there is no type {kind}")


def items(data: bytes, at: int) -> tuple[int, int, int]:
    """How many items a list has, of what kind, and where they begin."""
    header = data[at]
    count, at = header >> 4, at + 1
    if count == 15:
        count, at = _unsigned(data, at)
    if count > len(data) - at:
        raise ValueError(f"a list claims to have {count:,} items")
    return count, header & 15, at


def _map(data: bytes, at: int, depth: int) -> tuple[None, int]:
    count, at = _unsigned(data, at)
    if count > len(data) - at:
        raise ValueError(f"a map claims to have {count:,} items")
    if count:
        kinds, at = data[at], at + 1
        for _ in range(count):
            _, at = value(data, at, kinds >> 4, depth)
            _, at = value(data, at, kinds & 15, depth)
    return None, at


# The same as parts of regular expressions, for structs as most programs write them: these are read in a sixth of the time.


def headers(*kinds: int) -> bytes:
    """The first bytes of fields of these kinds."""
    return b"[" + b"".join(re.escape(bytes([step << 4 | kind])) for step in range(1, 16) for kind in kinds) + b"]"


def lists(kind: int, item: bytes, most: int = 6) -> bytes:
    counts = (re.escape(bytes([n << 4 | kind])) + b"(?:%b){%d}" % (item, n) for n in range(most + 1))
    return b"(?:" + b"|".join(counts) + b")"


def texts(most: int) -> bytes:
    return b"(?:" + b"|".join(re.escape(bytes([n])) + b".{%d}" % n for n in range(most)) + b")"


NUMBER = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
NUMBERS = headers(4, 5, 6) + NUMBER
FLAGS = headers(1, 2)
BOUNDS = b"(?:%b|%b%b|%b){0,12}\x00" % (NUMBERS, headers(_BINARY), texts(32), FLAGS)
"""A struct of numbers, texts and flags: the statistics of Parquet."""
