"""Records as JSON has them, for comparing them and for showing them.

>>> line(as_json({"price": Decimal("1.50"), "day": __import__("datetime").date(2026, 1, 31)}))
'{"price": 1.50, "day": "2026-01-31"}'
>>> same(as_json({"a": 2, "b": 1}), as_json({"b": 1, "a": 2})), same(as_json(1.5), as_json(Decimal("1.50")))
(True, True)
>>> same(2, as_json(2.0)), same(1, as_json(True))
(False, False)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from exporters_beam.errors import RecordError
from exporters_beam.formats.json_text import JsonFormat

_FORMAT = JsonFormat(allow_nan=True)


def as_json(value: object) -> Any:
    """The value as a file of JSON lines has it: dates as texts, numbers that are not whole as decimals. What JSON does not
    know is its Python text."""
    try:
        text = _FORMAT.format(value)
    except RecordError:
        text = json.dumps(value, default=repr, skipkeys=True).encode()
    return json.loads(text, parse_float=Decimal)


def same(expected: Any, found: Any) -> bool:
    """Whether two values of `as_json` are the same. The order of fields does not count, and 1.5 is 1.50; 2 is not 2.0, nor
    is 1 true."""
    return known_by(expected) == known_by(found)


def known_by(value: Any) -> str:
    """The same text for values that are the same."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{known_by(key)}:{known_by(member)}" for key, member in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(known_by, value)) + "]"
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        text = "".join(map(str, digits)).lstrip("0")
        kept = text.rstrip("0")
        return f"d{'-' * sign}{kept}e{int(exponent) + len(text) - len(kept)}" if kept else "d0"
    return repr(value)


def line(value: Any) -> str:
    """A value of `as_json` on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{line(key)}: {line(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(line, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
