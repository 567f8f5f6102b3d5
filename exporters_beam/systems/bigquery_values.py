"""Values of BigQuery and of records: rows of Arrow as records, records as lines of JSON for load jobs, columns of records."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timezone
from decimal import Context, Decimal
from itertools import repeat
from typing import Any
from uuid import UUID

from exporters_beam.components.words import kind_of
from exporters_beam.decimals import plain
from exporters_beam.errors import RecordError
from exporters_beam.formats.json_lines import digits_follow
from exporters_beam.records import Json, Record
from exporters_beam.systems.sql import json_value

Nested = dict[str, Any]
"""Columns of the type JSON: {name: True}, and {name: {…}} for a RECORD that has some."""

SAFE = 1 << 53
"""Integers from here on are written as text: load jobs take numbers of JSON for binary ones."""

DIGITS = 16
"""Of so many a number may be one that is not safe."""

_WIDE = Context(prec=100)

_COLUMN = re.compile(r"[^\W\d]\w{0,299}")
"""Names that columns may have whatever the options of a table are."""


def json_columns(fields: Iterable[Mapping[str, Any]]) -> Nested:
    """Where values are of the type JSON."""
    found: Nested = {}
    for field in fields:
        kind = str(field.get("type", "")).upper()
        inside: Any = (
            True if kind == "JSON" else json_columns(field.get("fields") or ()) if kind in ("RECORD", "STRUCT") else None
        )
        if inside:
            found[str(field["name"])] = inside
    return found


# Rows of Arrow


def decimal(value: Decimal) -> Decimal:
    """A decimal without the zeros that fill its column's scale.

    >>> decimal(Decimal("1.500000000")), decimal(Decimal("100.000000000")), decimal(Decimal("0E-9"))
    (Decimal('1.5'), Decimal('100'), Decimal('0'))
    """
    found = value.normalize(_WIDE)
    return found if found.as_tuple().exponent <= 0 else found.quantize(Decimal(1), context=_WIDE)  # type: ignore[operator]


def interval(value: Any) -> str:
    """An interval as BigQuery writes it.

    >>> interval((14, -3, 3_723_000_004_000))
    '1-2 -3 1:2:3.000004'
    """
    months, days, nanoseconds = value
    year, month = divmod(abs(months), 12)
    seconds, fraction = divmod(abs(nanoseconds) // 1000, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    told = f"{'-' * (months < 0)}{year}-{month} {days} {'-' * (nanoseconds < 0)}{hours}:{minutes}:{seconds}"
    return told + (f".{fraction:06}".rstrip("0") if fraction else "")


def converter(kind: Any, inside: Any) -> Callable[[Any], Any] | None:
    """What makes a record's value of one that pyarrow gives for a column of this type; None where it is the same."""
    import pyarrow.types as types

    if types.is_list(kind) or types.is_large_list(kind):
        each = converter(kind.value_type, inside)
        return None if each is None else lambda values: [None if value is None else each(value) for value in values]
    if types.is_struct(kind):
        known = inside if isinstance(inside, dict) else {}
        made = {field.name: found for field in kind if (found := converter(field.type, known.get(field.name))) is not None}
        return _struct(made) if made else None
    if inside is True:
        return json_value
    if types.is_decimal(kind):
        return decimal
    if types.is_timestamp(kind) and kind.tz is not None:
        return lambda value: value.replace(tzinfo=timezone.utc)
    return interval if types.is_interval(kind) else None


def _struct(made: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def convert(values: Record) -> Record:
        for name, act in made.items():
            if values[name] is not None:
                values[name] = act(values[name])
        return values

    return convert


# Lines of JSON


def lines_of(records: Sequence[Record]) -> list[bytes] | None:
    """What `line_of` gives for each record where no column is of the type JSON, faster. None where one is not a usual one."""
    import orjson

    options = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
    try:
        texts = list(map(orjson.dumps, records, repeat(_text), repeat(options)))
    except (orjson.JSONEncodeError, RecursionError):
        return None
    together = b"\n".join(texts)
    return None if b"null" in together or digits_follow(together, DIGITS) else texts


def line_of(record: Record, columns: Nested) -> bytes:
    """A record as a line for a load job, without its end. What is None is left out, but inside JSON. Raises RecordError."""
    import orjson

    if not columns:
        try:
            text = orjson.dumps(
                record, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS, default=_text
            )
            if b"null" not in text and not digits_follow(
                text, DIGITS
            ):  # nothing is None or NaN, and no integer has too many digits
                return text
        except (orjson.JSONEncodeError, RecursionError):
            pass
    found = _object(record, columns)
    try:
        return orjson.dumps(found)
    except (orjson.JSONEncodeError, RecursionError):  # integers of more than 64 bits, lone surrogates, NaN in JSON
        try:
            return json.dumps(found, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise RecordError(f"it cannot be written as JSON: {error}") from error


def _object(record: Mapping[str, Any], columns: Nested) -> Json:
    found = {}
    for name, value in record.items():
        if value is not None:
            inside = columns.get(name) if columns else None
            found[name if name.__class__ is str else str(name)] = (
                value if value.__class__ is str and inside is not True else _value(value, inside)
            )
    return found


def _value(value: Any, inside: Any) -> Any:
    kind = value.__class__
    if inside is True:
        return _in_json(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value if -SAFE < value < SAFE else str(value)
    if kind is float:
        return value if math.isfinite(value) else "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return _object(value, inside if isinstance(inside, dict) else {})
    if isinstance(value, (list, tuple)):
        return [_value(each, inside) for each in value]
    return _text(value)


def _in_json(value: Any) -> Any:
    """A value for a column of the type JSON: numbers are numbers there, and null is a value."""
    if isinstance(value, Mapping):
        return {str(name): _in_json(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_in_json(each) for each in value]
    if isinstance(value, Decimal) and value.is_finite():
        whole = value == value.to_integral_value()
        return int(value) if whole else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError("a column of the type JSON cannot hold NaN or an infinity")
    return value if isinstance(value, (str, bool, int, float)) or value is None else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat(" ") + "+00:00"
        return value.isoformat("T")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (str, int)):  # of a class of its own
        return str(value)
    raise RecordError(f"BigQuery has no type for {kind_of(value)}")


def misfit(record: Mapping[str, Any], fields: Iterable[Mapping[str, Any]], ignore: bool, path: str = "") -> str:
    """Why a record certainly does not fit these columns, "" where it may. What BigQuery takes is for BigQuery to say; this
    finds at once the records of a batch that are wrong in the usual ways.

    >>> misfit({"n": "many"}, [{"name": "n", "type": "INTEGER"}], False)
    "the column n is INTEGER, and the value is 'many'"
    """
    known = {str(field["name"]).lower(): field for field in fields}
    for name in record if not ignore else ():
        if str(name).lower() not in known:
            return f"there is no column {path}{name}"
    given = {str(name).lower(): value for name, value in record.items()}
    for name, field in known.items():
        value, where = given.get(name), path + str(field["name"])
        if value is None:
            if field.get("mode") == "REQUIRED":
                return f"the column {where} is REQUIRED, and there is no value"
            continue
        found = _misfit(value, field, ignore, where)
        if found:
            return found
    return ""


def _misfit(value: Any, field: Mapping[str, Any], ignore: bool, where: str) -> str:
    kind = str(field["type"]).upper()
    several = isinstance(value, (list, tuple))
    if field.get("mode") == "REPEATED":
        if not several:
            return f"the column {where} is REPEATED, and the value is {kind_of(value)}"
        values = [each for each in value if each is not None]
    elif kind == "JSON":
        return ""
    elif several:
        return f"the column {where} is no list, and the value is one"
    else:
        values = [value]
    for each in values:
        if kind in ("RECORD", "STRUCT"):
            if not isinstance(each, Mapping):
                return f"the column {where} is {kind}, and the value is {kind_of(each)}"
            found = misfit(each, field.get("fields") or (), ignore, f"{where}.")
            if found:
                return found
        elif kind != "JSON" and (
            isinstance(each, (Mapping, list, tuple)) or (isinstance(each, str) and not _may_be(each, kind))
        ):
            return f"the column {where} is {kind}, and the value is {each!r:.60}"
    return ""


def _may_be(text: str, kind: str) -> bool:
    """Whether a text may stand for a number, where the column is one."""
    if kind not in ("INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC"):
        return True
    return any(sign.isdigit() for sign in text) or text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity")


# Columns


def columns_of(records: Sequence[Record]) -> list[Json]:
    """The columns of a table that is made for these records.

    >>> columns_of([{"a": 1, "b": [{"c": "x"}]}, {"a": 2.5}])[1]["type"]
    'RECORD'
    """
    names = dict.fromkeys(name for record in records for name in record)
    return [_column(str(name), [record.get(name) for record in records]) for name in names]


def _column(name: str, values: Sequence[Any]) -> Json:
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, (list, tuple)) for value in there):
        inside = [each for value in there for each in value]
        kind = _type(inside)
        if None in inside or any(isinstance(each, (list, tuple)) for each in inside) or kind["type"] == "JSON":
            return {"name": name, "type": "JSON", "mode": "NULLABLE"}
        return {"name": name, "mode": "REPEATED", **kind}
    return {"name": name, "mode": "NULLABLE", **_type(there)}


def _type(values: Sequence[Any]) -> Json:
    kinds = {value.__class__ for value in values if value is not None}
    if kinds and all(issubclass(kind, Mapping) for kind in kinds):
        names = dict.fromkeys(str(name) for value in values if value is not None for name in value)
        if names and all(_COLUMN.fullmatch(name) for name in names):
            return {"type": "RECORD", "fields": columns_of([value for value in values if value is not None])}
        return {"type": "JSON"}
    if any(issubclass(kind, (Mapping, list, tuple)) for kind in kinds):
        return {"type": "JSON"}
    if kinds <= {int, float, Decimal} and kinds:
        return {"type": _number(kinds, values)}
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is datetime:
            zones = {value.tzinfo is not None for value in values if value is not None}
            return {"type": "STRING" if len(zones) > 1 else "TIMESTAMP" if True in zones else "DATETIME"}
        return {"type": {bool: "BOOLEAN", bytes: "BYTES", date: "DATE", time: "TIME"}.get(kind, "STRING")}
    return {"type": "STRING"}


def _number(kinds: set[type], values: Sequence[Any]) -> str:
    numbers = [value for value in values if value is not None]
    if float in kinds:
        return "FLOAT"
    if kinds == {int} and all(-(1 << 63) <= value < 1 << 63 for value in numbers):
        return "INTEGER"
    scale = max((-int(value.as_tuple().exponent) for value in numbers if isinstance(value, Decimal) and value.is_finite()),
                default=0)  # fmt: skip
    large = max((abs(int(value)) for value in numbers if not isinstance(value, Decimal) or value.is_finite()), default=0)
    return "NUMERIC" if scale <= 9 and large < 10**29 else "BIGNUMERIC"
