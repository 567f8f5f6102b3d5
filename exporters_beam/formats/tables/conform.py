"""Fitting records to a given schema, column by column."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, NoReturn

from exporters_beam.decimals import plain
from exporters_beam.errors import RecordError
from exporters_beam.formats.tables.types import (
    EXACT,
    NULL,
    RANGES,
    ListOf,
    OneOf,
    Scalar,
    Slot,
    Struct,
    Type,
    below,
    brief,
    check_key,
    check_mappings,
    family_of,
)
from exporters_beam.records import Record

LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127


def conform(records: Sequence[Record], struct: Struct, drop: bool = False) -> Sequence[Record]:
    """The records with their values as the schema's types want them: texts read as numbers, booleans, dates and times
    where they are written exactly as these are, integers as floating point numbers where that is exact, keys that the
    schema lacks refused (or dropped). An empty text is null where it is no value of the type and null is one.

    Raises RecordError that names the field and the value.
    """
    check_mappings(records)
    return _conform_structs(records, struct, "", drop)


def conform_columns(
    given: Mapping[str, Sequence[object]], count: int, struct: Struct, drop: bool = False
) -> list[Sequence[object]]:
    """The columns of what `conform` gives for so many records that all have the same fields, given as columns."""
    _refuse_unknown(() if drop else given, struct, "")
    columns = (given[f.name] if f.name in given else [f.default] * count for f in struct.fields)
    return [_conform(column, f.slot, f.name, drop) for column, f in zip(columns, struct.fields, strict=True)]


def fitted(values: Sequence[object], slot: Slot) -> Sequence[object]:
    """Values of one column as its type wants them. Raises RecordError."""
    return _conform(values, slot, "", False)


def _conform(values: Sequence[object], slot: Slot, path: str, drop: bool) -> Sequence[object]:
    try:
        return _conform_slot(values, slot, path, drop)
    except RecordError:
        if slot.null_at is None or "" not in values:
            raise
    return _conform_slot([None if v == "" else v for v in values], slot, path, drop)


def _conform_slot(values: Sequence[object], slot: Slot, path: str, drop: bool) -> Sequence[object]:
    if None not in values:
        return _conform_present(values, slot.type, path, drop) if values else values
    if slot.null_at is None and slot.type != NULL:
        raise RecordError(f"field {path} is missing or null, and the schema requires a value")
    present = [v for v in values if v is not None]
    fitted = _conform_present(present, slot.type, path, drop) if present else present
    if fitted is present:
        return values
    following = iter(fitted)
    return [None if v is None else next(following) for v in values]


def _conform_present(values: Sequence[Any], type_: Type, path: str, drop: bool) -> Sequence[Any]:
    if isinstance(type_, Scalar):
        return _conform_scalars(values, type_, path)
    if isinstance(type_, OneOf):
        return [_branch(value, type_, path, drop) for value in values]
    wanted: Any = (list, tuple) if isinstance(type_, ListOf) else dict
    for value in values:
        if not isinstance(value, wanted):
            _misfit(value, "a list" if isinstance(type_, ListOf) else "an object", path)
    if isinstance(type_, Struct):
        return _conform_structs(values, type_, path, drop)
    if isinstance(type_, ListOf):
        flat = list(chain.from_iterable(values))
        fitted = _conform(flat, type_.items, path + "[]", drop)
        return values if fitted is flat else cut(fitted, values)
    flat = list(chain.from_iterable(v.values() for v in values))
    for key in dict.fromkeys(chain.from_iterable(values)):
        check_key(key, path)
    return [
        list(zip(value, members, strict=True))
        for value, members in zip(values, cut(_conform(flat, type_.values, path + ".*", drop), values), strict=True)
    ]


def cut(flat: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    """One list cut into pieces as long as those of another."""
    pieces, start = [], 0
    for value in like:
        pieces.append(flat[start : start + len(value)])
        start += len(value)
    return pieces


def _conform_structs(values: Sequence[Any], struct: Struct, path: str, drop: bool) -> Sequence[Any]:
    names = {f.name: None for f in struct.fields}
    _refuse_unknown(() if drop else dict.fromkeys(chain.from_iterable(values)), struct, path)
    columns, changed = [], False
    for f in struct.fields:
        column = [v.get(f.name, f.default) for v in values]
        fitted = _conform(column, f.slot, below(path, f.name), drop)
        changed = changed or fitted is not column or f.default is not None
        columns.append(fitted)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if changed else values


def _refuse_unknown(keys: Iterable[object], struct: Struct, path: str) -> None:
    names = {f.name for f in struct.fields}
    for key in keys:
        if key not in names:
            raise RecordError(f"field {below(path, str(key))} is not in the schema; add it there, or set unknown_fields: drop")


def _branch(value: object, type_: OneOf, path: str, drop: bool) -> dict[str, object]:
    """A value of a union as it is staged: the number of its type, and the value in a column of its own.

    Types of the value's own family are tried first, so that text stays text though it could be read as a date.
    """
    own = family_of(type(value))
    order = sorted(range(len(type_.options)), key=lambda i: own not in _families_of(type_.options[i]))
    for i in order:
        try:
            (fitted,) = _conform_present([value], type_.options[i], path, drop)
        except RecordError:
            continue
        return {"branch": i, f"option{i}": fitted}
    raise RecordError(f"field {path}: {brief(value)} is of none of the types that the schema gives")


def _families_of(type_: Type) -> tuple[str, ...]:
    if isinstance(type_, Scalar):
        return _KIND_FAMILIES.get(type_.kind, ("int",) if type_.kind in RANGES else (type_.kind,))
    return ("list",) if isinstance(type_, ListOf) else ("struct",)


_KIND_FAMILIES = {
    "float32": ("float64",),
    "enum": ("string",),
    "fixed": ("bytes",),
    "datetime": ("timestamp",),
}


def _conform_scalars(values: Sequence[Any], type_: Scalar, path: str) -> Sequence[object]:
    kinds = set(map(type, values))
    if type_.kind == "float32" and kinds == {float} and max(values) <= LARGEST_FLOAT32 >= -min(values):
        return values
    if kinds <= _NATIVE.get(type_.kind, set()):
        return values
    if type_.kind in RANGES and kinds == {int}:
        low, high = RANGES[type_.kind]
        if low <= min(values) and max(values) <= high:
            return values
    convert, words = _CONVERT.get(type_.kind, (_integer, f"an integer of {type_.kind}"))
    fitted = []
    for value in values:
        try:
            fitted.append(convert(value, type_))
        except (TypeError, ValueError, ArithmeticError) as error:
            _misfit(value, words, path, str(error) if type(error) is ValueError else "")
    return fitted


def _misfit(value: object, words: str, path: str, why: str = "") -> NoReturn:
    raise RecordError(f"field {path}: {brief(value)} is not {words}, as the schema says{f' ({why})' if why else ''}")


def _refuse(value: object, type_: Scalar) -> object:
    raise TypeError


_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,40})")
"""Texts that are integers: as JSON writes them. Signs, spaces, underscores, leading zeros (of codes) and the digits of
other scripts make it another text."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
"""Texts that are numbers, likewise."""

_BOOLEANS = {"true": True, "false": False, "True": True, "False": False}
"""Texts that are booleans, as JSON and as CSV files have them."""

_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?"
_ZONE = r"(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])"
_DATE_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME_TEXT = re.compile(f"{_TIME}{_ZONE}?")
_MOMENT_TEXT = re.compile(f"{_DATE_TEXT.pattern}(?:[T ]{_TIME}{_ZONE}?)?")
"""ISO 8601 as every version of Python reads it; newer ones read weeks and dates without dashes as well."""


def _exactly(text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise TypeError
    return text


def _boolean(value: object, type_: Scalar) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in _BOOLEANS:
        raise TypeError
    return _BOOLEANS[value]


def _integer(value: object, type_: Scalar) -> int:
    if isinstance(value, str):
        value = int(_exactly(value, _INTEGER))
    low, high = RANGES[type_.kind]
    number = int(value) if isinstance(value, int) or (isinstance(value, float) and value.is_integer()) else None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise TypeError
    return number


def _float(value: object, type_: Scalar) -> float:
    if isinstance(value, str):
        text = _exactly(value, _NUMBER)
        value = int(text) if _INTEGER.fullmatch(text) else float(text)
        if math.isinf(value):
            raise ValueError("it is too large")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    if isinstance(value, int) and not -EXACT <= value <= EXACT:
        raise ValueError("no floating point number is equal to it")
    if type_.kind == "float32" and LARGEST_FLOAT32 < abs(value) < math.inf:
        raise ValueError("it is too large for 32 bits")
    return float(value)


def _text(value: object, type_: Scalar) -> str:
    if not isinstance(value, str) or (type_.kind == "enum" and value not in type_.size):
        raise TypeError
    return value


def _json(value: object, type_: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json_leaf)


def _json_leaf(value: object) -> str:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError


def _bytes(value: object, type_: Scalar) -> bytes:
    if not isinstance(value, (bytes, bytearray)) or (type_.kind == "fixed" and len(value) != type_.size[0]):
        raise TypeError
    return bytes(value)


def _date(value: object, type_: Scalar) -> datetime.date:
    if isinstance(value, str):
        return datetime.date.fromisoformat(_exactly(value, _DATE_TEXT))
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        raise TypeError
    return value


def _moment(value: object, type_: Scalar) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(_iso(value, _MOMENT_TEXT)) if isinstance(value, str) else value
    if not isinstance(moment, datetime.datetime):
        raise TypeError
    if type_.kind == "timestamp" and moment.utcoffset() is None:
        raise ValueError('it has no time zone; "arrow": "timestamp[us]" is the type of local times')
    if type_.kind == "datetime" and moment.utcoffset() is not None:
        raise ValueError('it has a time zone; "format": "date-time" is the type of instants')
    if type_.size[0] < 6 and moment.microsecond % 10 ** (6 - type_.size[0]):
        raise ValueError("microseconds would be lost")
    return moment


def _iso(text: str, pattern: re.Pattern[str]) -> str:
    """ISO 8601 text as Python 3.10 reads it: the fraction with six digits, Z as +00:00."""
    _exactly(text, pattern)

    def six(match: re.Match[str]) -> str:
        if match[1][6:].strip("0"):
            raise ValueError("it is finer than microseconds")
        return "." + match[1][:6].ljust(6, "0")

    text = re.sub(r"([+-]\d\d)(\d\d)\Z", r"\1:\2", re.sub(r"[.,](\d+)", six, text))
    return re.sub(r"[zZ]\Z", "+00:00", text)


def _time(value: object, type_: Scalar) -> datetime.time:
    time = datetime.time.fromisoformat(_iso(value, _TIME_TEXT)) if isinstance(value, str) else value
    if not isinstance(time, datetime.time):
        raise TypeError
    if time.tzinfo is not None:
        raise ValueError("it has a time zone")
    if type_.size[0] < 6 and time.microsecond % 1000:
        raise ValueError("microseconds would be lost")
    return time


def _exact_decimal(value: object, type_: Scalar) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError
    if isinstance(value, str):
        value = _exactly(value, _NUMBER)
    precision, scale, _ = type_.size
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise TypeError
    while exponent < -scale and digits[-1] == 0 and len(digits) > 1:
        digits, exponent = digits[:-1], exponent + 1
    if any(digits) and (exponent < -scale or len(digits) + exponent + scale > precision):
        raise ValueError(f"{precision} digits, {scale} of them after the point, cannot hold it")
    return Decimal((sign, digits, exponent)) if any(digits) else Decimal(0)


_NATIVE: dict[str, set[type]] = {
    "bool": {bool},
    "float64": {float},
    "string": {str},
    "bytes": {bytes},
    "date": {datetime.date},
}
_CONVERT = {
    "null": (_refuse, "null"),
    "bool": (_boolean, "true or false"),
    "float32": (_float, "a number"),
    "float64": (_float, "a number"),
    "string": (_text, "text"),
    "enum": (_text, "one of the symbols"),
    "json": (_json, "a value that JSON can hold"),
    "bytes": (_bytes, "bytes"),
    "fixed": (_bytes, "as many bytes"),
    "date": (_date, "a date (2026-01-31)"),
    "time": (_time, "a time (23:59:59)"),
    "timestamp": (_moment, "a timestamp (2026-01-31T23:59:59Z)"),
    "datetime": (_moment, "a timestamp (2026-01-31T23:59:59)"),
    "decimal": (_exact_decimal, "such a decimal"),
}
