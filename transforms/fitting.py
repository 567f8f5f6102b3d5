"""Whether a value is of the type that a schema gives, as it is, and what it becomes where it is converted to it.

Whether it is: as JSON has it. A text is no number, and an integer beyond 64 bits no int64; dates and times may be texts by
ISO 8601, since JSON has nothing else for them. Conversions are those of the transform `fields`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from exporters_beam.errors import RecordError
from exporters_beam.formats.tables.conform import fitted
from exporters_beam.formats.tables.types import NULL, RANGES, Field, ListOf, MapOf, OneOf, Scalar, Slot, Struct, Type
from exporters_beam.records import MISSING
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


_CLASSES: dict[str, tuple[type, ...]] = {"string": (str,), "float32": (float, int), "float64": (float, int), "bool": (bool,)}
"""Classes of which every value is of these types."""


def allowed(slot: Slot) -> Callable[[Any], bool]:
    """A function that says yes only to values that fit whole: what it says no to has to be looked at part by part."""
    type_, null = slot.type, slot.null_at is not None or slot.type == NULL
    if isinstance(type_, Scalar):
        return _allowed_scalar(type_, null)
    if isinstance(type_, Struct):
        return _allowed_struct(type_, null)
    if isinstance(type_, OneOf):
        return lambda value: null and value is None
    inner = allowed(type_.items if isinstance(type_, ListOf) else type_.values)
    if isinstance(type_, ListOf):
        return lambda value: all(map(inner, value)) if value.__class__ is list else null and value is None
    return lambda value: all(map(inner, value.values())) if value.__class__ is dict else null and value is None


def _allowed_scalar(type_: Scalar, null: bool) -> Callable[[Any], bool]:
    if type_.kind in _CLASSES:
        classes = frozenset((*_CLASSES[type_.kind], *([type(None)] if null else [])))
        return lambda value: value.__class__ in classes
    if type_.kind in RANGES:
        least, most = RANGES[type_.kind]
        return lambda value: least <= value <= most if value.__class__ is int else null and value is None
    return lambda value: null if value is None else fits(value, type_)


def _allowed_struct(struct: Struct, null: bool) -> Callable[[Any], bool]:
    fields = [(f.name, allowed(f.slot), is_required(f)) for f in struct.fields]

    def check(value: Any) -> bool:
        if value.__class__ is not dict:
            return null and value is None
        for name, inner, required in fields:
            member = value.get(name, MISSING)
            if required if member is MISSING else not inner(member):
                return False
        return True

    return check


def is_required(field: Field) -> bool:
    """Whether a field has to be there."""
    return field.slot.null_at is None and field.default is None and field.slot.type != NULL


def known(type_: Type) -> Callable[[Any], bool] | None:
    """A function that says yes only to values of which a type has all names; None where it has none to look for."""
    if isinstance(type_, Struct):
        return _known_struct(type_)
    if isinstance(type_, (ListOf, MapOf)):
        inner = known((type_.items if isinstance(type_, ListOf) else type_.values).type)
        return None if inner is None else lambda value: _all_known(inner, value)
    if isinstance(type_, OneOf):
        return (lambda value: value is None) if any(map(known, type_.options)) else None
    return None


def _all_known(inner: Callable[[Any], bool], value: Any) -> bool:
    if value.__class__ is list:
        return all(map(inner, value))
    return all(map(inner, value.values())) if value.__class__ is dict else not isinstance(value, (tuple, Mapping))


def _known_struct(struct: Struct) -> Callable[[Any], bool]:
    names = frozenset(f.name for f in struct.fields)
    nested = [(f.name, inner) for f in struct.fields if (inner := known(f.slot.type)) is not None]

    def check(value: Any) -> bool:
        if value.__class__ is not dict:
            return not isinstance(value, Mapping)
        return value.keys() <= names and all(name not in value or inner(value[name]) for name, inner in nested)

    return check


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
