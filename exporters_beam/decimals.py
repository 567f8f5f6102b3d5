"""Decimals and 32-bit numbers beside others: as text without exponents, and when a number is the one that was meant.

A config, an expression and JSON have 64-bit binary numbers only. There 19.99 means the decimal 19.99 as well, and what 0.1
becomes in a column of 32-bit numbers. They have no dates; in a config the text 2024-01-01 means the date as well.
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

from exporters_beam.errors import RecordError

MOST_DIGITS = 10_000
"""Zeros that are written for an exponent; a few characters of input could ask for any number of them."""


def plain(value: Decimal) -> str:
    """A decimal as text, all its digits and no exponent. Raises RecordError where these would be too many.

    >>> plain(Decimal("1E+3")), plain(Decimal("0E-10")), plain(Decimal("-1.50"))
    ('1000', '0.0000000000', '-1.50')
    """
    text = str(value)
    if "E" not in text:
        return text
    if abs(int(text.partition("E")[2])) > MOST_DIGITS:
        raise RecordError(f"the decimal {text:.80} has more than {MOST_DIGITS:,} digits when it is written out")
    return format(value, "f")


def text_of(value: object) -> str:
    """What `str` gives, but for decimals."""
    return plain(value) if isinstance(value, Decimal) else str(value)


def beyond_json(value: object) -> str:
    """A value that JSON does not know, for a report or a manifest."""
    return plain(value) if isinstance(value, Decimal) else repr(value)


def single(number: float) -> float:
    """What a number becomes in 32 bits; itself where it is too large for them."""
    try:
        (found,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return number
    return float(found)


_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{3}(\d{3})?)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


def meant(number: object) -> tuple[Any, ...]:
    """The values that a number of a config or an expression stands for: itself, as decimal, in 32 bits. A text stands for
    itself and the date or time that it writes, which is in UTC where it says no zone.

    >>> meant(19.99), meant("x"), meant(0.5)
    ((19.99, Decimal('19.99'), 19.989999771118164), ('x',), (0.5,))
    >>> meant("2024-01-02")
    ('2024-01-02', datetime.date(2024, 1, 2))
    """
    if number.__class__ is str and _DATE.fullmatch(number):
        return (number, *_times(number))
    if number.__class__ is not float or number != number:
        return (number,)
    exact, short = Decimal(repr(number)), single(number)
    return (number, *([exact] if exact != number else []), *([short] if short != number else []))


def _times(text: str) -> tuple[Any, ...]:
    try:
        if len(text) == 10:
            return (date.fromisoformat(text),)
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return ()
    return (time,) if time.tzinfo else (time, time.replace(tzinfo=timezone.utc))


def equals(expected: object) -> Callable[[Any], Any]:
    """Whether a value is the expected one, numbers and dates being what they were meant to be."""
    found = meant(expected)
    if len(found) > 1 and found[0].__class__ is str:
        return lambda value: value == expected or (isinstance(value, date) and value in found)
    if len(found) > 1:
        return lambda value: value.__class__ in (float, Decimal, int) and value in found
    if _has_numbers(expected):
        return lambda value: _same(value, expected)
    return lambda value: value == expected


def _has_numbers(value: object) -> bool:
    members = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(len(meant(member)) > 1 or _has_numbers(member) for member in members)


def _same(value: object, expected: object) -> bool:
    if isinstance(expected, Mapping):
        return (
            isinstance(value, Mapping)
            and value.keys() == expected.keys()
            and all(_same(value[key], member) for key, member in expected.items())
        )
    if isinstance(expected, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and isinstance(value, list) == isinstance(expected, list)
            and len(value) == len(expected)
            and all(map(_same, value, expected))
        )
    return bool(equals(expected)(value))


def recognizer_of(operand: ast.expr, *beside: ast.expr) -> Callable[[Any], Any] | None:
    """What an operand of a comparison passes through where numbers are written out beside it: it gives the number that the
    value stands for, and else the value. None where Python's own comparison says the same."""
    if isinstance(operand, ast.Constant):
        return None
    numbers = [number for node in beside for number in _numbers(node)]
    known = {value: number for number in numbers for value in meant(number)[1:]}
    if not known:
        return None

    def recognized(value: object) -> Any:
        return known.get(value, value) if value.__class__ is float or value.__class__ is Decimal else value

    return recognized


def _numbers(node: ast.expr) -> list[float]:
    """The numbers with a fraction that are written out, alone or in a list."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return [number for member in node.elts for number in _numbers(member)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return [-number for number in _numbers(node.operand)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, float) else []
