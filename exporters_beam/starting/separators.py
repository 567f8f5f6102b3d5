"""Numbers in texts with another decimal character than the point, or with characters between thousands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from exporters_beam.starting.profiles import Facts

_NUMBER = re.compile(r"[-+]?(\d{1,3}(?:([.,' \u00a0\u202f])\d{3})(?:\2\d{3})*|\d+)(?:([.,])(\d+))?\Z", re.ASCII)

_PLAIN = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?\Z", re.ASCII)


def separators_of(texts: Iterable[str]) -> tuple[str, str] | None:
    """(decimal character, character between thousands) of numbers that are not plain; None where that is not sure.

    `1,234` alone may be a number with a fraction or one of thousands.

    >>> separators_of(["1,5", "20"]), separators_of(["1.299,50", "3"]), separators_of(["1,299.50"])
    ((',', ''), (',', '.'), ('.', ','))
    >>> separators_of(["1,234"]), separators_of(["1.5"]), separators_of(["1,5", "1.5"])
    (None, None, None)
    """
    values = [text.strip() for text in texts if text.strip()]
    if not values or all(map(_PLAIN.match, values)):
        return None
    decimals, thousands = set(), set()
    for value in values:
        match = _NUMBER.match(value)
        if match is None or re.match(r"[-+]?0\d", value):
            return None
        whole, between, decimal, fraction = match.groups()
        if between and not decimal and between in ".," and whole.count(between) == 1:
            continue  # It may be either.
        if between:
            thousands.add(between)
        if decimal and (len(fraction) != 3 or between or len(whole) > 3):
            decimals.add(decimal)
    if len(decimals) > 1 or len(thousands) > 1 or not decimals or decimals & thousands:
        return None
    found = decimals.pop(), thousands.pop() if thousands else ""
    return found if all(_fits(value, *found) for value in values) else None


def _fits(value: str, decimal: str, thousands: str) -> bool:
    groups = rf"\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+|" if thousands else ""
    return re.fullmatch(rf"[-+]?(?:{groups}\d+)(?:{re.escape(decimal)}\d+)?", value, re.ASCII) is not None


def numbers_of(facts: Facts) -> dict[str, Any] | None:
    """The option `numbers` of the deserializer csv, for those columns that most such columns are written like."""
    found = {}
    for name, fact in facts.members.items():
        if {*fact.kinds} <= {"text", "null"} and name and "${" not in name:
            separators = separators_of(fact.texts)
            if separators is not None:
                found[name] = separators
    if not found:
        return None
    decimal = Counter(decimal for decimal, _ in found.values()).most_common(1)[0][0]
    between = Counter(each for sign, each in found.values() if sign == decimal and each).most_common(1)
    thousands = between[0][0] if between else ""
    columns = [name for name, pair in found.items() if pair in ((decimal, thousands), (decimal, ""))]
    return {"columns": columns, "decimal": decimal, **({"thousands": thousands} if thousands else {})}
