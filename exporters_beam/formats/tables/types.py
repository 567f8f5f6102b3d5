"""The types of a table's columns: found in records, merged over blocks, written as Avro's.

A block's records become columns: `infer` finds their types (or `conform.conform` fits them to a given schema),
`columns.stage` packs them as an Arrow record batch, and when all blocks of a file are known, `merged` says what types
the file has and `columns.unstage` brings each batch to them. Types are looked at column by column: one
`set(map(type, column))` costs a tenth of a look at every value.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import Any, NoReturn

from exporters_beam.components.words import shortened
from exporters_beam.errors import RecordError
from exporters_beam.records import Record

_NUMERIC = {"int", "int64", "float64", "numbers"}

EXACT = 2**53
"""Integers up to this size are exactly representable as floating point numbers."""

DEEPEST = 50
"""How deep values may be nested: Arrow refuses to read back more than about 60 levels."""

RANGES = {f"int{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64)} | {
    f"uint{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)
}

DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""The digits of the fraction of a second, by Arrow's units."""

WORDS = {
    "null": "null",
    "bool": "true or false",
    "int": "integers",
    "int64": "integers beyond 2^53",
    "float64": "floating point numbers",
    "string": "text",
    "bytes": "bytes",
    "date": "dates",
    "time": "times",
    "timestamp": "timestamps with a time zone",
    "datetime": "timestamps without a time zone",
    "decimal": "decimals",
    "list": "lists",
    "struct": "objects",
    "map": "maps",
    "numbers": "numbers",
    "mixed": "values of several types",
}

REMEDY = (
    'give the formatter a schema ({"type": "string", "contentMediaType": "application/json"} keeps any value as '
    "JSON text) or convert them with a transform"
)


@dataclass(frozen=True)
class Scalar:
    """A type without parts. `kind` is a name of Arrow (int32, float64, …) or one of

    int (an int64 within ±2^53, as inferred), bytes, date, time, timestamp (an instant), datetime (a local time), json
    (any value as JSON text), enum, fixed, decimal, uuid (as text), mixed (no one type, and why). `size` has what the kind
    needs: decimal (precision, scale, bytes or 0), fixed (bytes), enum (symbols), time, timestamp and datetime (digits of
    the fraction of a second, and the zone of an instant where it is not UTC), string and bytes (Arrow's name of a variant).
    """

    kind: str
    size: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Slot:
    """A place for values. `null_at` is the place of null in Avro's union; None means that null is refused."""

    type: Type
    null_at: int | None = 0


@dataclass(frozen=True)
class ListOf:
    """`sort` is "large" where it is Arrow's large list, else empty."""

    items: Slot
    sort: str = ""


@dataclass(frozen=True)
class MapOf:
    """A mapping whose keys are data: they make no columns."""

    values: Slot
    keys: Type = Scalar("string")


@dataclass(frozen=True)
class Field:
    name: str
    slot: Slot
    default: Any = field(default=None, hash=False)


@dataclass(frozen=True)
class Struct:
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class OneOf:
    """Avro's union of several types, in its order, null left out."""

    options: tuple[Type, ...]


Type = Scalar | ListOf | MapOf | Struct | OneOf

NULL = Scalar("null")

FLOAT = Scalar("float64")

STRING = Scalar("string")

NUMBERS = Scalar("numbers")
"""Floating point numbers and integers that are exactly such."""


def brief(value: object) -> str:
    """The value as Python writes it, or the beginning of that."""
    return shortened(repr(value), 80)


def below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


_NONE = type(None)

_FAMILIES: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float64",
    str: "string",
    bytes: "bytes",
    bytearray: "bytes",
    datetime.datetime: "timestamp",
    datetime.date: "date",
    datetime.time: "time",
    Decimal: "decimal",
    dict: "struct",
    list: "list",
    tuple: "list",
}

_SIMPLE = {name: Scalar(name) for name in ("bool", "float64", "string", "bytes", "date")}


def infer(records: Sequence[Record]) -> Struct:
    """The types of records that are JSON-like, keys in the order in which they are first seen.

    >>> dump(infer([{"a": 1}, {"a": None, "b": [True]}]))
    b'{"struct":[["a","int"],["b",{"list":"bool"}]]}'

    Raises RecordError where a column would need two types, or a value none of Arrow's and Avro's types can hold.
    """
    check_mappings(records)
    return _infer_struct(records, "", 0)


def infer_columns(columns: Mapping[str, Sequence[Any]]) -> Struct:
    """What `infer` gives for records that all have the same fields, given as columns."""
    for key in columns:
        check_key(key, "")
    return Struct(tuple(Field(key, Slot(infer_column(values, key, 1))) for key, values in columns.items()))


def check_mappings(records: Sequence[object]) -> None:
    for kind in set(map(type, records)):
        if not issubclass(kind, dict):
            found = next(r for r in records if type(r) is kind)
            raise RecordError(f"a table holds objects, and this record is {brief(found)}")


def _infer_struct(values: Sequence[Any], path: str, depth: int, like: Type | None = None) -> Struct:
    others = {f.name: f.slot.type for f in like.fields} if isinstance(like, Struct) else {}
    fields = []
    for key in dict.fromkeys(chain.from_iterable(values)):
        check_key(key, path)
        inner = infer_column([v.get(key) for v in values], below(path, key), depth + 1, others.get(key))
        fields.append(Field(key, Slot(inner)))
    return Struct(tuple(fields))


def check_key(key: object, path: str) -> None:
    where = f"field {path}" if path else "the record"
    if not isinstance(key, str):
        raise RecordError(f"{where} has the key {brief(key)}, which is not text")
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            raise RecordError(f"{where} has the key {key!a} with a lone surrogate, which UTF-8 cannot hold") from None


def infer_column(values: Sequence[Any], path: str, depth: int, like: Type | None = None) -> Type:
    """The type of a column. Where the source, whose type it is `like`, has a map, keys are data."""
    kinds = set(map(type, values))
    if _NONE in kinds:
        kinds.remove(_NONE)
        values = [v for v in values if v is not None]
    if not kinds:
        return NULL
    families = {_FAMILIES.get(kind) or family_of(kind) for kind in kinds}
    if "" in families:
        _refuse_kind(values, path)
    if len(families) > 1:
        if families == {"int", "float64"}:
            return _floats(values, path)
        _refuse_mixture(values, path)
    (family,) = families
    if family in _SIMPLE:
        return _SIMPLE[family]
    if depth >= DEEPEST:
        raise RecordError(f"field {shortened(path, 200)} is nested deeper than {DEEPEST} levels")
    if family == "struct" and isinstance(like, MapOf):
        keys = infer_column(list(chain.from_iterable(values)), path, depth + 1)
        members = list(chain.from_iterable(v.values() for v in values))
        return MapOf(Slot(infer_column(members, path + ".*", depth + 1, like.values.type)), like.keys if keys == NULL else keys)
    if family == "struct":
        return _infer_struct(values, path, depth, like)
    if family == "list":
        items = like.items.type if isinstance(like, ListOf) else None
        return ListOf(Slot(infer_column(list(chain.from_iterable(values)), path + "[]", depth + 1, items)))
    return _SIZED[family](values, path)


def family_of(kind: type) -> str:
    """The name in WORDS of the types that `kind` is one of, "" where there is none."""
    return next((_FAMILIES[base] for base in kind.__mro__ if base in _FAMILIES), "")


def _refuse_kind(values: Sequence[object], path: str) -> NoReturn:
    value = next(v for v in values if not family_of(type(v)))
    raise RecordError(
        f"field {path} holds {brief(value)}, of Python's type {type(value).__name__}, which a table cannot hold; "
        "convert it with a transform"
    )


def _refuse_mixture(values: Sequence[object], path: str) -> NoReturn:
    examples: dict[str, Any] = {}
    for value in values:
        examples.setdefault(family_of(type(value)), value)
    parts = " and ".join(f"{WORDS[name]} ({brief(value)})" for name, value in examples.items())
    raise RecordError(f"field {path} holds {parts}; a column has one type: {REMEDY}")


def _floats(values: Sequence[object], path: str) -> Scalar:
    for value in values:
        if isinstance(value, int) and not -EXACT <= value <= EXACT:
            raise RecordError(
                f"field {path} holds floating point numbers and {value}, an integer that no floating point number "
                f"is equal to; {REMEDY}"
            )
    return NUMBERS


def _integers(values: Sequence[Any], path: str) -> Scalar:
    low, high = min(values), max(values)
    if max(-low, high) <= EXACT:
        return Scalar("int")
    least, most = RANGES["int64"]
    if low >= least and high <= most:
        return Scalar("int64")
    value = high if high > most else low
    raise RecordError(
        f"field {path} holds {brief(value)}, an integer beyond 64 bits; give the formatter a schema "
        '({"arrow": "decimal128(38, 0)"} holds 38 digits) or convert it to text with a transform'
    )


def _timestamps(values: Sequence[Any], path: str) -> Scalar:
    found = {("datetime" if v.utcoffset() is None else "timestamp"): v for v in values}
    if len(found) > 1:
        parts = " and ".join(f"{WORDS[kind]} ({value.isoformat()})" for kind, value in sorted(found.items()))
        raise RecordError(f"field {path} holds {parts}; a column has one type: {REMEDY}")
    return Scalar(next(iter(found)), (6,))


def _times(values: Sequence[Any], path: str) -> Scalar:
    for value in values:
        if value.tzinfo is not None:
            raise RecordError(f"field {path} holds {value.isoformat()}, a time with a time zone, which a table cannot hold")
    return Scalar("time", (6,))


def _decimals(values: Sequence[Any], path: str) -> Scalar:
    whole = scale = 0
    for value in values:
        _, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise RecordError(f"field {path} holds the decimal {value}, which a table cannot hold")
        scale = max(scale, -exponent)
        whole = max(whole, len(digits) + exponent)
    return decimal(whole, scale, path)


def decimal(whole: int, scale: int, path: str) -> Scalar:
    if whole + scale > 76:
        raise RecordError(f"field {path} needs decimals of {whole} digits and {scale} after the point; at most 76 fit")
    return Scalar("decimal", (max(whole + scale, 1), scale, 0))


_SIZED = {"int": _integers, "timestamp": _timestamps, "time": _times, "decimal": _decimals}


def dump(type_: Type) -> bytes:
    """An inferred type as bytes: equal types give equal bytes."""
    return json.dumps(_plain(type_), ensure_ascii=False, separators=(",", ":")).encode()


def _plain(type_: Type) -> Any:
    """A type as JSON holds it. Slots that may be null, null being first, are just their types."""
    if isinstance(type_, Scalar):
        return [type_.kind, *type_.size] if type_.size else type_.kind
    if isinstance(type_, ListOf):
        return {"list": plain_slot(type_.items), **({"sort": type_.sort} if type_.sort else {})}
    if isinstance(type_, MapOf):
        return {"map": plain_slot(type_.values), "keys": _plain(type_.keys)}
    if isinstance(type_, OneOf):
        return {"oneof": [_plain(option) for option in type_.options]}
    return {"struct": [[f.name, plain_slot(f.slot)] for f in type_.fields]}


def plain_slot(slot: Slot) -> Any:
    return _plain(slot.type) if slot.null_at == 0 else {"slot": _plain(slot.type), "null": slot.null_at}


def _typed(plain: Any) -> Type:
    if isinstance(plain, str):
        return Scalar(plain)
    if isinstance(plain, list):
        return Scalar(plain[0], tuple(plain[1:]))
    if "list" in plain:
        return ListOf(typed_slot(plain["list"]), plain.get("sort", ""))
    if "map" in plain:
        return MapOf(typed_slot(plain["map"]), _typed(plain["keys"]))
    if "oneof" in plain:
        return OneOf(tuple(map(_typed, plain["oneof"])))
    return Struct(tuple(Field(name, typed_slot(inner)) for name, inner in plain["struct"]))


def typed_slot(plain: object) -> Slot:
    if isinstance(plain, dict) and "slot" in plain:
        return Slot(_typed(plain["slot"]), plain["null"])
    return Slot(_typed(plain))


def merge(a: Type, b: Type, path: str = "") -> Type:
    """The one type for values of both. Null gives way to anything; keys keep the order in which they are first seen."""
    if a == b or b == NULL:
        return a
    if a == NULL:
        return b
    if isinstance(a, Struct) and isinstance(b, Struct):
        return _merge_structs(a, b, path)
    if isinstance(a, ListOf) and isinstance(b, ListOf):
        return ListOf(Slot(merge(a.items.type, b.items.type, path + "[]")))
    if isinstance(a, MapOf) and isinstance(b, MapOf):
        return MapOf(Slot(merge(a.values.type, b.values.type, path + ".*")), merge(a.keys, b.keys, path))
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        kinds = {a.kind, b.kind}
        if kinds == {"decimal"}:
            whole = max(a.size[0] - a.size[1], b.size[0] - b.size[1])
            return decimal(whole, max(a.size[1], b.size[1]), path)
        if kinds == {"int", "int64"}:
            return Scalar("int64")
        if kinds <= {"int", "float64", "numbers"}:
            return NUMBERS
    have, fresh = _shape(a), _shape(b)
    if not {have, fresh} <= _NUMERIC:  # Which numbers came before depends on where blocks begin.
        have, fresh = ("numbers" if kind in _NUMERIC else kind for kind in (have, fresh))
    raise RecordError(
        f"field {path} holds {WORDS[fresh]}, and {WORDS[have]} in the records before; a column has one type: {REMEDY}"
    )


def _merge_structs(a: Struct, b: Struct, path: str) -> Struct:
    fields = {f.name: f for f in a.fields}
    for f in b.fields:
        have = fields.get(f.name)
        if have is None:
            fields[f.name] = f
        elif have != f:
            fields[f.name] = Field(f.name, Slot(merge(have.slot.type, f.slot.type, below(path, f.name))))
    return Struct(tuple(fields.values()))


def _shape(type_: Type) -> str:
    if isinstance(type_, Scalar):
        return type_.kind
    return "list" if isinstance(type_, ListOf) else "map" if isinstance(type_, MapOf) else "struct"


def settle(type_: Type, top: bool = True) -> Type:
    """The type as files have it: what was always null becomes text, what was always `{}` a map of texts (Parquet
    has no objects without keys, and an empty map is read back as `{}`), integers int64."""
    if type_ == NULL:
        return STRING
    if type_ == Scalar("int"):
        return Scalar("int64")
    if type_ == NUMBERS:
        return FLOAT
    if isinstance(type_, ListOf):
        return ListOf(Slot(settle(type_.items.type, False)))
    if isinstance(type_, MapOf):
        return MapOf(Slot(settle(type_.values.type, False)), settle(type_.keys, False))
    if isinstance(type_, Struct):
        if not type_.fields and not top:
            return MapOf(Slot(STRING))
        return Struct(tuple(Field(f.name, Slot(settle(f.slot.type, False))) for f in type_.fields))
    return type_
