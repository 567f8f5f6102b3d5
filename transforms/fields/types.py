"""The types of the transform `fields`, and how it hashes and masks: what becomes of one value, which is not null."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from exporters_beam.components.words import did_you_mean, kind_of
from exporters_beam.decimals import MOST_DIGITS, plain
from exporters_beam.errors import RecordError
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.transforms.fields import dates
from exporters_beam.transforms.fields.paths import Change, Unfit, shown

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
"""Texts that are booleans, in any case of their letters."""

_INTEGER = re.compile(r"[-+]?[0-9]+").fullmatch
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,9})?").fullmatch

_PLAIN = re.compile(r"[-+]?[0-9]{1,30}(\.[0-9]{1,30})?").fullmatch
"""Numbers of which nothing more has to be looked at."""

_WRITTEN = JsonFormat().format


def text_of(value: Any) -> str:
    """A value as text: numbers and booleans as JSON writes them, dates and times by ISO 8601, mappings and lists as compact
    JSON with sorted keys. Raises Unfit."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    try:
        return _WRITTEN(_in_order(value)).decode()
    except (RecordError, RecursionError):
        raise Unfit(f"{shown(value)} cannot be written as text") from None


def _in_order(value: Any) -> Any:
    """The value with the keys of mappings in alphabetical order."""
    if isinstance(value, Mapping):
        return {key: _in_order(value[key]) for key in sorted(value, key=str)}
    return list(map(_in_order, value)) if isinstance(value, (list, tuple)) else value


def json_text(value: Any) -> str:
    """A value as JSON in a text: keys keep their order."""
    try:
        return _WRITTEN(value).decode()
    except RecordError:
        raise Unfit(f"{shown(value)} cannot be written as JSON") from None


def as_json(value: Any) -> Any:
    """What a text of JSON says; a value that is no text stays."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise Unfit(f"{shown(value)} is not JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError:  # Python's own limit, which keeps the work linear
        raise Unfit(f"{shown(value)} has an integer of too many digits") from None
    except RecursionError:
        raise Unfit(f"{shown(value)} is nested too deep") from None


def integer(value: Any) -> int:
    kind = value.__class__
    if kind is str and value.isdigit() and value.isascii() and len(value) < 1000:
        return int(value)  # what the regular expression takes as well, in a fifth of the time
    if kind is int:
        return int(value)
    if kind is str and _INTEGER(value):
        try:
            return int(value)
        except ValueError:  # Python's own limit, which keeps the work linear
            raise Unfit(f"an integer of {len(value):,} digits is too long") from None
    if kind is float and value.is_integer():
        return int(value)
    if kind is Decimal and value.is_finite() and value.adjusted() < MOST_DIGITS and value == value.to_integral_value():
        return int(value)
    raise Unfit(f"{shown(value)} is not an integer")


def number(value: Any) -> float:
    kind = value.__class__
    if kind is str and value.isascii() and "_" not in value:
        try:
            found = float(value)
        except ValueError:
            raise Unfit(f"{shown(value)} is not a number") from None
        if math.isfinite(found):
            return found
    if kind is float:
        return float(value)
    if (kind is str and _NUMBER(value)) or kind is int or (kind is Decimal and value.is_finite()):
        try:
            found = float(value)
        except (OverflowError, ValueError):
            found = math.inf
        if math.isfinite(found):
            return found
        raise Unfit(f"{shown(value)} is too large for a number of 64 bits; take decimal")
    raise Unfit(f"{shown(value)} is not a number")


def decimal(value: Any) -> Decimal:
    kind = value.__class__
    found = None
    if kind is str and _PLAIN(value):
        return Decimal(value)
    if kind is Decimal and value.is_finite():
        return Decimal(value)
    if (kind is str and _NUMBER(value)) or kind is int:
        try:
            found = Decimal(value)
        except (InvalidOperation, ValueError):
            found = None
    elif kind is float and math.isfinite(value):
        found = Decimal(repr(value))
    if found is None or not found.is_finite():
        raise Unfit(f"{shown(value)} is not a decimal number")
    try:
        plain(found)
    except RecordError as error:
        raise Unfit(str(error)) from None
    return found


@dataclass(frozen=True)
class Boolean:
    true: frozenset[str]
    false: frozenset[str]

    def __call__(self, value: Any) -> bool:
        if value.__class__ is bool:
            return bool(value)
        if value.__class__ is str or (value.__class__ is int and value in (0, 1)):
            text = str(value).casefold()
            if text in self.true:
                return True
            if text in self.false:
                return False
        raise Unfit(f"{shown(value)} is not a boolean: {', '.join(sorted(self.true))} or {', '.join(sorted(self.false))}")


class Date:
    """`date` and `datetime`."""

    def __init__(self, formats: Sequence[str], zone: str | None, timed: bool, ambiguous: str) -> None:
        self._read, self._zone, self._timed = dates.reader(formats), ZoneInfo(zone) if zone else None, timed
        self._ambiguous = ambiguous
        self._unix = next((form for form in formats if form in (dates.UNIX, dates.UNIX_MS)), "")
        forms = " or ".join("ISO 8601" if form == dates.ISO else form for form in formats)
        self._wanted = f"{'a date with a time' if timed else 'a date'} ({forms})"

    def __call__(self, value: Any) -> Any:
        try:
            return self._found(self._moment(value))
        except dates.Impossible as error:
            raise Unfit(f"{shown(value)}: {error}") from None
        except ValueError:
            raise Unfit(f"{shown(value)} is not {self._wanted}") from None

    def _moment(self, value: Any) -> dates.Found:
        if isinstance(value, str):
            return self._read(value)
        if isinstance(value, date):
            return value
        if self._unix and value.__class__ in (int, float, Decimal):
            return dates.of_unix(float(value) if value.__class__ is Decimal else value, self._unix)
        raise ValueError

    def _found(self, found: dates.Found) -> dates.Found:
        if not isinstance(found, datetime):
            if not self._timed:
                return found
            found = datetime(found.year, found.month, found.day)
        if not self._timed:
            elsewhere = found.tzinfo is not None and self._zone is not None
            return (dates.in_zone(found, self._zone) if elsewhere else found).date()
        if found.tzinfo is not None:
            return dates.in_zone(found)
        return found if self._zone is None else dates.in_utc(found, self._zone, self._ambiguous)


def sha256(value: Any) -> str:
    """The SHA-256 of a value's text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(_bytes(value)).hexdigest()


def hmac_sha256(key: str) -> Change:
    """The HMAC with SHA-256 of a value's text, with this key in UTF-8."""
    start = hmac.new(key.encode("utf-8", "surrogatepass"), digestmod=hashlib.sha256)

    def change(value: Any) -> str:
        made = start.copy()
        made.update(_bytes(value))
        return made.hexdigest()

    return change


def _bytes(value: Any) -> bytes:
    try:
        if value.__class__ is str:
            return bytes(value.encode())
        return text_of(value).encode()
    except UnicodeEncodeError:
        raise Unfit("the text has half of a character in it and cannot be hashed") from None
    except Unfit:
        raise Unfit(f"{kind_of(value)} cannot be hashed") from None


def masked(keep: int, by: str) -> Change:
    """A value's text with this character in place of all but the last ones. Where there are no more than those, of all."""

    def change(value: Any) -> str:
        try:
            text = text_of(value)
        except Unfit:
            raise Unfit(f"{kind_of(value)} cannot be masked") from None
        hidden = len(text) - keep
        return by * len(text) if hidden <= 0 else by * hidden + text[hidden:]

    return change


CONVERT: dict[str, Change] = {
    "integer": integer,
    "number": number,
    "decimal": decimal,
    "text": text_of,
    "json": as_json,
    "json_text": json_text,
}
"""Types that have no options of their own."""

OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("integer", "number", "decimal"), ("empty_as_null",)),
    "boolean": ("true_values", "false_values", "empty_as_null"),
    "text": ("empty_as_null",),
    "date": ("format", "zone", "empty_as_null"),
    "datetime": ("format", "zone", "ambiguous", "empty_as_null"),
    "json": ("empty_as_null",),
    "json_text": (),
}
"""The types, and what may stand beside each."""

_MEANT = {"int": "integer", "bigint": "integer", "long": "integer", "float": "number", "double": "number", "bool": "boolean",
          "numeric": "decimal", "str": "text", "string": "text", "varchar": "text", "timestamp": "datetime", "time": "datetime",
          "object": "json", "array": "json"}  # fmt: skip
"""What other systems call them."""


def unknown_type(name: str) -> str:
    near = _MEANT.get(name.lower())
    hint = f'; did you mean "{near}"?' if near else did_you_mean(name, list(OPTIONS))
    return f"there is no type {name!r}{hint}"


def wrong_option(kind: str, name: str, value: object) -> str:
    """What is wrong with an option of a type; "" where nothing is."""
    if name not in OPTIONS[kind]:
        takes = did_you_mean(name, OPTIONS[kind]) or f"; {kind} has none"
        return f"unknown option of the type {kind}{takes}"
    if name == "empty_as_null":
        return "" if isinstance(value, bool) else f"wrong type: found {kind_of(value)}, expected true or false"
    if name in ("true_values", "false_values", "format") and isinstance(value, list):
        if not value or not all(isinstance(each, str) for each in value):
            return "give a list of texts"
    elif not isinstance(value, str):
        return f"wrong type: found {kind_of(value)}, expected a string{'' if name in ('zone', 'ambiguous') else ' or a list'}"
    if name == "format":
        return next(filter(None, (dates.wrong_format(each, kind == "datetime") for each in _listed(value))), "")
    if name == "ambiguous" and value not in dates.AMBIGUOUS:
        return f"{value!r} is not one of the choices{did_you_mean(str(value), dates.AMBIGUOUS)}"
    return dates.wrong_zone(str(value)) if name == "zone" else ""


def conversion(kind: str, options: Mapping[str, Any]) -> Change:
    """What makes a value, not null, one of this type. White space around texts counts for nothing, but in the types text and
    json_text, and an empty text is null. Raises Unfit."""
    if kind == "boolean":
        sides = (_listed(options.get(name, known)) for name, known in (("true_values", TRUE), ("false_values", FALSE)))
        convert: Change = Boolean(*(frozenset(text.strip().casefold() for text in side) for side in sides))
    elif kind in ("date", "datetime"):
        formats = _listed(options.get("format", dates.ISO))
        convert = Date(formats, options.get("zone"), kind == "datetime", options.get("ambiguous", dates.AMBIGUOUS[0]))
    else:
        convert = CONVERT[kind]
    if kind == "json_text":
        return convert
    empty = options.get("empty_as_null", kind != "text")
    if kind == "text":
        return (lambda value: None if value == "" else convert(value)) if empty else convert

    def change(value: Any) -> Any:
        if value.__class__ is str:
            value = value.strip()
            if not value and empty:
                return None
        return convert(value)

    return change


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
