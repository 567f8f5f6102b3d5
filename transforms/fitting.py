"""Whether a value is of the type that a schema gives, as it is, and what it becomes where it is converted to it.

Whether it is: as JSON has it. A text is no number, and an integer beyond 64 bits no int64; dates and times may be texts by
ISO 8601, since JSON has nothing else for them. Conversions are those of the transform `fields`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from exporters_beam.errors import RecordError
from exporters_beam.formats.tables.conform import fitted
from exporters_beam.formats.tables.types import RANGES, Scalar, Slot
from exporters_beam.transforms.fields import types
from exporters_beam.transforms.fields.paths import Unfit

_NO_TEXT = {*RANGES, "int", "float32", "float64", "decimal", "bool"}
"""Kinds of which a text is no value."""


def fits(value: Any, type_: Any) -> bool:
    """Whether a value that is not null is of a type without parts."""
    kind = type_.kind
    if kind == "string":
        return isinstance(value, str)
    if kind == "json":
        return True
    if kind in _NO_TEXT and isinstance(value, str):
        return False
    if kind in RANGES and value.__class__ is int:
        return RANGES[kind][0] <= value <= RANGES[kind][1]
    if kind == "bool":
        return isinstance(value, bool)
    if kind in ("float32", "float64"):
        return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if kind in RANGES and isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == value.to_integral_value() and value.adjusted() < 30 else value
    try:
        fitted([value], Slot(type_, None))
    except (RecordError, OverflowError):
        return False
    return True


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*RANGES, "int"), types.integer),
    **dict.fromkeys(("float32", "float64"), types.number),
    "decimal": types.decimal,
    "bool": types.Boolean(frozenset(types.TRUE), frozenset(types.FALSE)),
    "string": types.text_of,
    "date": types.Date(("iso",), None, False, "earlier"),
    **dict.fromkeys(("timestamp", "datetime"), types.Date(("iso",), None, True, "earlier")),
}


def converted(value: Any, type_: Any) -> Any:
    """The value as one of this type; None where there is none."""
    convert = _CONVERSIONS.get(type_.kind)
    if convert is None or isinstance(value, (dict, list, tuple)):
        return None
    try:
        found = convert(value.strip() if isinstance(value, str) and type_.kind in _NO_TEXT else value)
    except Unfit:
        return None
    return found if fits(found, type_) else None


def words_for(type_: Scalar) -> str:
    """What a value of this type is, as people say it."""
    if type_.kind in RANGES:
        return "an integer" if type_.kind == "int64" else f"an integer of {type_.kind}"
    if type_.kind == "decimal":
        precision, scale, _ = type_.size
        return f"a number of {precision} digits, {scale} of them behind the point"
    if type_.kind == "enum":
        return f"one of {', '.join(type_.size)}"
    return _WORDS.get(type_.kind, f"a value of the type {type_.kind}")


_WORDS = {
    "int": "an integer", "float32": "a number", "float64": "a number", "bool": "true or false", "string": "a text",
    "date": "a date (2026-01-31)", "time": "a time (23:59:59)", "timestamp": "a time with its zone (2026-01-31T23:59:59Z)",
    "datetime": "a time without a zone (2026-01-31T23:59:59)", "bytes": "bytes", "null": "null",
}  # fmt: skip
