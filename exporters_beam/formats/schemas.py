"""The types of a table's columns: found in records, merged over blocks, read from a given schema, turned into Arrow and Avro.

Records of a block become columns: `infer` finds their types (or `conform` fits them to a given schema), `stage` packs
them as one compressed Arrow record batch, `unstage` brings a staged batch to the types that the whole file has.
Types are looked at column by column: one `set(map(type, column))` costs a tenth of a look at every value.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, reduce
from hashlib import blake2b
from itertools import chain
from typing import Any

from exporters_beam.errors import ConfigError, DestinationError, RecordError
from exporters_beam.records import Record

EXACT = 2**53
"""Integers up to this size are exactly representable as floating point numbers."""

DEEPEST = 50
"""How deep values may be nested: Arrow refuses to read back more than about 60 levels."""

RANGES = {f"int{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64)} | {
    f"uint{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)
}

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
}
REMEDY = (
    'give the formatter a schema ({"type": "string", "contentMediaType": "application/json"} keeps any value as '
    "JSON text) or convert them with a transform"
)


@dataclass(frozen=True)
class Scalar:
    """A type without parts. `kind` is a name of Arrow (int32, float64, …) or one of

    int (an int64 within ±2^53, as inferred), bytes, date, time, timestamp (an instant), datetime (a local time), json
    (any value as JSON text), enum, fixed, decimal. `size` has what the kind needs: decimal (precision, scale, bytes or
    0), fixed (bytes), enum (symbols), time, timestamp and datetime (digits of the fraction of a second).
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
    items: Slot


@dataclass(frozen=True)
class MapOf:
    """A mapping whose keys are data: they make no columns."""

    values: Slot


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


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


# Inference

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

    >>> infer([{"a": 1}, {"a": None, "b": [True]}])
    Struct(fields=(Field(name='a', ...), Field(name='b', ...)))

    Raises RecordError where a column would need two types, or a value none of Arrow's and Avro's types can hold.
    """
    check_mappings(records)
    return _infer_struct(records, "", 0)


def check_mappings(records: Sequence[Any]) -> None:
    for kind in set(map(type, records)):
        if not issubclass(kind, dict):
            found = next(r for r in records if type(r) is kind)
            raise RecordError(f"a table holds objects, and this record is {shown(found)}")


def _infer_struct(values: Sequence[Any], path: str, depth: int) -> Struct:
    fields = []
    for key in dict.fromkeys(chain.from_iterable(values)):
        _check_key(key, path)
        fields.append(Field(key, Slot(_infer([v.get(key) for v in values], below(path, key), depth + 1))))
    return Struct(tuple(fields))


def _check_key(key: Any, path: str) -> None:
    where = f"field {path}" if path else "the record"
    if not isinstance(key, str):
        raise RecordError(f"{where} has the key {shown(key)}, which is not text")
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            raise RecordError(f"{where} has the key {key!a} with a lone surrogate, which UTF-8 cannot hold") from None


def _infer(values: Sequence[Any], path: str, depth: int) -> Type:
    kinds = set(map(type, values))
    if _NONE in kinds:
        kinds.remove(_NONE)
        values = [v for v in values if v is not None]
    if not kinds:
        return NULL
    families = {_FAMILIES.get(kind) or _family(kind, values, path) for kind in kinds}
    if len(families) > 1:
        if families == {"int", "float64"}:
            return _floats(values, path)
        _refuse_mixture(values, path)
    (family,) = families
    if family in _SIMPLE:
        return _SIMPLE[family]
    if depth >= DEEPEST:
        raise RecordError(f"field {path[:200]}… is nested deeper than {DEEPEST} levels")
    if family == "struct":
        return _infer_struct(values, path, depth)
    if family == "list":
        return ListOf(Slot(_infer(list(chain.from_iterable(values)), path + "[]", depth + 1)))
    return _SIZED[family](values, path)


def _family(kind: type, values: Sequence[Any], path: str) -> str:
    for base in kind.__mro__:
        if base in _FAMILIES:
            return _FAMILIES[base]
    found = next(v for v in values if type(v) is kind)
    raise RecordError(f"field {path} holds {shown(found)}, a {kind.__name__}, which a table cannot hold; convert it with a transform")


def _refuse_mixture(values: Sequence[Any], path: str) -> None:
    examples = {_family(type(v), values, path): v for v in reversed(values)}
    parts = " and ".join(f"{WORDS[name]} ({shown(value)})" for name, value in reversed(examples.items()))
    raise RecordError(f"field {path} holds {parts}; a column has one type: {REMEDY}")


def _floats(values: Sequence[Any], path: str) -> Scalar:
    for value in values:
        if isinstance(value, int) and not -EXACT <= value <= EXACT:
            raise RecordError(
                f"field {path} holds floating point numbers and {value}, an integer that no floating point number "
                f"is equal to; {REMEDY}"
            )
    return FLOAT


def _integers(values: Sequence[Any], path: str) -> Scalar:
    low, high = min(values), max(values)
    if -EXACT <= low and high <= EXACT:
        return Scalar("int")
    least, most = RANGES["int64"]
    if least <= low and high <= most:
        return Scalar("int64")
    value = high if high > most else low
    raise RecordError(
        f"field {path} holds {shown(value)}, an integer beyond 64 bits; give the formatter a schema "
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
    return _decimal(whole, scale, path)


def _decimal(whole: int, scale: int, path: str) -> Scalar:
    if whole + scale > 76:
        raise RecordError(f"field {path} needs decimals of {whole} digits and {scale} after the point; at most 76 fit")
    return Scalar("decimal", (max(whole + scale, 1), scale, 0))


_SIZED = {"int": _integers, "timestamp": _timestamps, "time": _times, "decimal": _decimals}


# Merging


def dump(type_: Type) -> bytes:
    """An inferred type as bytes: equal types give equal bytes."""
    return json.dumps(_plain(type_), ensure_ascii=False, separators=(",", ":")).encode()


def load(data: bytes) -> Struct:
    found = _typed(json.loads(data))
    assert isinstance(found, Struct)
    return found


def _plain(type_: Type) -> Any:
    if isinstance(type_, Scalar):
        return [type_.kind, *type_.size] if type_.size else type_.kind
    if isinstance(type_, ListOf):
        return {"list": _plain(type_.items.type)}
    assert isinstance(type_, Struct), "maps and unions come from given schemas, which are not dumped"
    return {"struct": [[f.name, _plain(f.slot.type)] for f in type_.fields]}


def _typed(plain: Any) -> Type:
    if isinstance(plain, str):
        return Scalar(plain)
    if isinstance(plain, list):
        return Scalar(plain[0], tuple(plain[1:]))
    if "list" in plain:
        return ListOf(Slot(_typed(plain["list"])))
    return Struct(tuple(Field(name, Slot(_typed(inner))) for name, inner in plain["struct"]))


def merged(schemas: Iterable[bytes]) -> Struct:
    """The type that holds the records of all these dumped types, as files have it. Raises RecordError."""
    found = settle(reduce(merge, map(load, schemas), Struct()))
    return found if isinstance(found, Struct) else Struct()


def merge(a: Type, b: Type, path: str = "") -> Type:
    """The one type for values of both. Null gives way to anything; keys stand in the order in which they are first seen."""
    if a == b or b == NULL:
        return a
    if a == NULL:
        return b
    if isinstance(a, Struct) and isinstance(b, Struct):
        return _merge_structs(a, b, path)
    if isinstance(a, ListOf) and isinstance(b, ListOf):
        return ListOf(Slot(merge(a.items.type, b.items.type, path + "[]")))
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        kinds = {a.kind, b.kind}
        if kinds == {"decimal"}:
            whole = max(a.size[0] - a.size[1], b.size[0] - b.size[1])
            return _decimal(whole, max(a.size[1], b.size[1]), path)
        if kinds == {"int", "int64"}:
            return Scalar("int64")
        if kinds == {"int", "float64"}:
            return FLOAT
    raise RecordError(
        f"field {path} holds {WORDS[_kind(a)]} in some records and {WORDS[_kind(b)]} in others; "
        f"a column has one type: {REMEDY}"
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


def _kind(type_: Type) -> str:
    if isinstance(type_, Scalar):
        return type_.kind
    return "list" if isinstance(type_, ListOf) else "struct"


def settle(type_: Type, top: bool = True) -> Type:
    """The type as files have it: what was always null becomes text, what was always `{}` a map of texts (Parquet
    has no objects without keys, and an empty map is read back as `{}`), integers int64."""
    if type_ == NULL:
        return STRING
    if type_ == Scalar("int"):
        return Scalar("int64")
    if isinstance(type_, ListOf):
        return ListOf(Slot(settle(type_.items.type, False)))
    if isinstance(type_, Struct):
        if not type_.fields and not top:
            return MapOf(Slot(STRING))
        return Struct(tuple(Field(f.name, Slot(settle(f.slot.type, False))) for f in type_.fields))
    return type_


# Given schemas


def given(schema: Any) -> Struct:
    """The type that a JSON Schema with `properties` or an Avro schema with `fields` describes. Raises ConfigError."""
    if isinstance(schema, Mapping) and isinstance(schema.get("properties"), Mapping):
        found = _json_schema(schema, schema, "schema").type
    elif isinstance(schema, Mapping) and isinstance(schema.get("fields"), list):
        found = _avro({"type": "record", "name": "Record", **schema}, {}, "", "schema").type
    else:
        raise ConfigError('schema: give a JSON Schema that has "properties" or an Avro schema that has "fields"')
    if not isinstance(found, Struct) or not found.fields:
        raise ConfigError("schema: it has no fields; give at least one")
    return found


_JSON_KINDS = {"string": STRING, "integer": Scalar("int64"), "number": FLOAT, "boolean": Scalar("bool"), "null": STRING}
_JSON_FORMATS = {"date-time": Scalar("timestamp", (6,)), "date": Scalar("date"), "time": Scalar("time", (6,))}
_ARROW_NAMES = {"float": "float32", "double": "float64", "binary": "bytes", "date32": "date"}
_ARROW_PLAIN = {*RANGES, "float32", "float64", "string", "bytes", "date", "bool"}
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _json_schema(node: Any, root: Mapping[str, Any], path: str, above: tuple[str, ...] = ()) -> Slot:
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path}: a JSON Schema is an object, not {shown(node)}")
    if "$ref" in node:
        reference = node["$ref"]
        if reference in above:
            raise ConfigError(f"{path}: {reference} refers to itself, and a table has no recursive types")
        return _json_schema(_resolve(reference, root, path), root, path, (*above, reference))
    for word in ("anyOf", "oneOf"):
        if word in node:
            options = [o for o in node[word] if not (isinstance(o, Mapping) and o.get("type") == "null")]
            if len(options) != 1:
                raise ConfigError(f"{path}: {word} has {len(options)} types beside null; a column has one type")
            slot = _json_schema(options[0], root, path, above)
            return Slot(slot.type, 0 if len(options) < len(node[word]) else slot.null_at)
    names = node.get("type", "object" if "properties" in node else "array" if "items" in node else None)
    types = {names} if isinstance(names, str) else set(names or ())
    null_at = 0 if "null" in types else None
    if "arrow" in node:
        return Slot(_arrow_hint(node["arrow"], path), null_at)
    if node.get("contentMediaType") == "application/json":
        return Slot(Scalar("json"), null_at)
    kinds = types - {"null"} if len(types) > 1 else types
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    if len(kinds) != 1:
        raise ConfigError(f"{path}: give one type; {'it has none' if not kinds else 'it has ' + ', '.join(sorted(kinds))}")
    (kind,) = kinds
    if kind == "object":
        return Slot(_json_object(node, root, path, above), null_at)
    if kind == "array":
        if "items" not in node:
            raise ConfigError(f'{path}: say what the list holds, for instance "items": {{"type": "string"}}')
        return Slot(ListOf(_json_schema(node["items"], root, path + ".items", above)), null_at)
    if kind not in _JSON_KINDS:
        raise ConfigError(f"{path}: there is no type {shown(kind)}; types are {', '.join(_JSON_KINDS)}, array, object")
    if kind == "string" and node.get("format") in _JSON_FORMATS:
        return Slot(_JSON_FORMATS[node["format"]], null_at)
    return Slot(_JSON_KINDS[kind], null_at)


def _resolve(reference: Any, root: Mapping[str, Any], path: str) -> Any:
    found: Any = root
    for part in str(reference).removeprefix("#").strip("/").split("/"):
        if not isinstance(found, Mapping) or part not in found or not str(reference).startswith("#/"):
            raise ConfigError(f"{path}: {shown(reference)} is not found in the schema; references begin with #/")
        found = found[part]
    return found


def _json_object(node: Mapping[str, Any], root: Mapping[str, Any], path: str, above: tuple[str, ...]) -> Type:
    properties, others = node.get("properties"), node.get("additionalProperties")
    if properties:
        required = set(node.get("required", ()))
        fields = []
        for name, inner in properties.items():
            slot = _json_schema(inner, root, below(path, name), above)
            fields.append(Field(name, slot if name in required else Slot(slot.type, 0)))
        return Struct(tuple(fields))
    if isinstance(others, Mapping):
        return MapOf(_json_schema(others, root, path + ".additionalProperties", above))
    raise ConfigError(
        f'{path}: an object needs "properties" (each makes a column), or "additionalProperties" with a type (a map), '
        'or "contentMediaType": "application/json" (JSON text)'
    )


def _arrow_hint(hint: Any, path: str) -> Scalar:
    name = _ARROW_NAMES.get(hint, hint)
    if name in _ARROW_PLAIN:
        return Scalar(name)
    if found := re.fullmatch(r"decimal(?:128|256)?\((\d+), *(\d+)\)", str(name)):
        precision, scale = int(found[1]), int(found[2])
        if not 1 <= precision <= 76 or scale > precision:
            raise ConfigError(f"{path}: {hint} is no decimal; precision is 1 to 76, and scale not more than precision")
        return Scalar("decimal", (precision, scale, 0))
    if found := re.fullmatch(r"timestamp\[(ms|us)(, *tz=UTC)?\]", str(name)):
        return Scalar("timestamp" if found[2] else "datetime", (_DIGITS[found[1]],))
    if name in ("time64[us]", "time32[ms]"):
        return Scalar("time", (_DIGITS[name[7:9]],))
    raise ConfigError(
        f"{path}: there is no Arrow type {shown(hint)} here; known: {', '.join(sorted(_ARROW_PLAIN - {'bytes', 'date'}))}, "
        "binary, date32, time64[us], timestamp[us], timestamp[us, tz=UTC], decimal128(precision, scale)"
    )


_AVRO_KINDS = {
    "boolean": "bool",
    "int": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
    "bytes": "bytes",
    "null": "null",
}
_AVRO_LOGICAL = {
    ("int", "date"): Scalar("date"),
    ("int", "time-millis"): Scalar("time", (3,)),
    ("long", "time-micros"): Scalar("time", (6,)),
    **{
        ("long", prefix + unit): Scalar(kind, (digits,))
        for prefix, kind in (("timestamp-", "timestamp"), ("local-timestamp-", "datetime"))
        for unit, digits in (("millis", 3), ("micros", 6), ("nanos", 9))
    },
}


def _avro(node: Any, names: dict[str, Type | None], namespace: str, path: str) -> Slot:
    """The type of an Avro schema. `names` are the named types seen so far, None for those that are not complete."""
    if isinstance(node, list):
        return _avro_union(node, names, namespace, path)
    if isinstance(node, str):
        if node in _AVRO_KINDS:
            return Slot(Scalar(_AVRO_KINDS[node]), None)
        full = node if "." in node or not namespace else f"{namespace}.{node}"
        found = names.get(full, names.get(node, NULL))
        if found is None:
            raise ConfigError(f"{path}: {node} refers to itself, and a table has no recursive types")
        if found == NULL:
            raise ConfigError(f"{path}: there is no Avro type {shown(node)}")
        return Slot(found, None)
    if not isinstance(node, Mapping) or "type" not in node:
        raise ConfigError(f'{path}: an Avro type is a name, a list or an object that has "type", not {shown(node)}')
    kind, logical = node["type"], node.get("logicalType")
    if kind == "array" and "items" in node:
        return Slot(ListOf(_avro(node["items"], names, namespace, path + ".items")), None)
    if kind == "map" and "values" in node:
        return Slot(MapOf(_avro(node["values"], names, namespace, path + ".values")), None)
    if kind in ("record", "enum", "fixed"):
        return Slot(_avro_named(node, names, namespace, path), None)
    if (kind, logical) in _AVRO_LOGICAL:
        return Slot(_AVRO_LOGICAL[kind, logical], None)
    if kind == "bytes" and logical == "decimal":
        return Slot(_avro_decimal(node, 0, path), None)
    return _avro(kind, names, namespace, path)


def _avro_decimal(node: Mapping[str, Any], size: int, path: str) -> Scalar:
    precision, scale = node.get("precision"), node.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision <= 76:
        raise ConfigError(f"{path}: a decimal needs a precision (1 to 76) and a scale that is not larger")
    return Scalar("decimal", (precision, scale, size))


def _avro_named(node: Mapping[str, Any], names: dict[str, Type | None], namespace: str, path: str) -> Type:
    name = node.get("name")
    if not isinstance(name, str):
        raise ConfigError(f'{path}: this {node["type"]} has no "name"')
    space = name.rpartition(".")[0] or node.get("namespace") or namespace
    full = name if "." in name or not space else f"{space}.{name}"
    names[full] = None
    found: Type
    try:
        if node["type"] == "enum":
            found = Scalar("enum", tuple(node["symbols"]))
        elif node["type"] == "fixed":
            decimal = node.get("logicalType") == "decimal"
            found = _avro_decimal(node, node["size"], path) if decimal else Scalar("fixed", (int(node["size"]),))
        else:
            found = Struct(tuple(_avro_field(f, names, space, path) for f in node["fields"]))
    except KeyError as error:
        raise ConfigError(f"{path}: this {node['type']} has no {error.args[0]!r}") from None
    names[full] = found
    return found


def _avro_field(node: Any, names: dict[str, Type | None], namespace: str, path: str) -> Field:
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str) or "type" not in node:
        raise ConfigError(f'{path}: a field is an object that has "name" and "type", not {shown(node)}')
    where = below(path, node["name"])
    slot, default = _avro(node["type"], names, namespace, where), node.get("default")
    if isinstance(default, str) and isinstance(slot.type, Scalar) and slot.type.kind in ("bytes", "fixed"):
        default = default.encode("latin-1")
    if isinstance(default, int) and isinstance(slot.type, Scalar) and slot.type.kind in ("date", "time", "timestamp", "datetime"):
        raise ConfigError(f"{where}: a default other than null is not supported for a logical type")
    return Field(node["name"], slot, default)


def _avro_union(node: list[Any], names: dict[str, Type | None], namespace: str, path: str) -> Slot:
    null_at = node.index("null") if "null" in node else None
    options = tuple(_avro(option, names, namespace, path).type for option in node if option != "null")
    if not options:
        return Slot(NULL, null_at)
    if len(options) == 1 and null_at is not None:
        return Slot(options[0], null_at)
    return Slot(OneOf(options), null_at)


def unions(type_: Type, path: str = "schema") -> Iterator[str]:
    """Where a type has unions, which Parquet cannot hold."""
    if isinstance(type_, OneOf):
        yield path
    elif isinstance(type_, ListOf):
        yield from unions(type_.items.type, path + ".items")
    elif isinstance(type_, MapOf):
        yield from unions(type_.values.type, path + ".values")
    elif isinstance(type_, Struct):
        for f in type_.fields:
            yield from unions(f.slot.type, below(path, f.name))


# Fitting records to a given schema


def conform(records: Sequence[Record], struct: Struct, drop: bool = False) -> Sequence[Record]:
    """The records with their values as the schema's types want them: dates and timestamps parsed from ISO 8601 text,
    integers as floating point numbers where that is exact, keys that the schema lacks refused (or dropped).

    Raises RecordError that names the field and the value.
    """
    check_mappings(records)
    return _conform_structs(records, struct, "", drop)


def _conform(values: Sequence[Any], slot: Slot, path: str, drop: bool) -> Sequence[Any]:
    if None not in values:
        return _conform_present(values, slot.type, path, drop) if values else values
    if slot.null_at is None:
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
        return values if fitted is flat else _cut(fitted, values)
    flat = list(chain.from_iterable(v.values() for v in values))
    for key in dict.fromkeys(chain.from_iterable(values)):
        _check_key(key, path)
    return [
        list(zip(value, members, strict=True))
        for value, members in zip(values, _cut(_conform(flat, type_.values, path + ".*", drop), values), strict=True)
    ]


def _cut(flat: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    pieces, start = [], 0
    for value in like:
        pieces.append(flat[start : start + len(value)])
        start += len(value)
    return pieces


def _conform_structs(values: Sequence[Any], struct: Struct, path: str, drop: bool) -> Sequence[Any]:
    names = [f.name for f in struct.fields]
    if not drop and (unknown := [k for k in dict.fromkeys(chain.from_iterable(values)) if k not in set(names)]):
        raise RecordError(
            f"field {below(path, str(unknown[0]))} is not in the schema; add it there, or set unknown_fields: drop"
        )
    columns, changed = [], False
    for f in struct.fields:
        column = [v.get(f.name, f.default) for v in values]
        fitted = _conform(column, f.slot, below(path, f.name), drop)
        changed = changed or fitted is not column or f.default is not None
        columns.append(fitted)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if changed else values


def _branch(value: Any, type_: OneOf, path: str, drop: bool) -> dict[str, Any]:
    """A value of a union as it is staged: the number of its type, and the value in a column of its own.

    Types of the value's own family are tried first, so that text stays text though it could be read as a date.
    """
    own = next((_FAMILIES[base] for base in type(value).__mro__ if base in _FAMILIES), "")
    order = sorted(range(len(type_.options)), key=lambda i: own not in _families_of(type_.options[i]))
    for i in order:
        try:
            (fitted,) = _conform_present([value], type_.options[i], path, drop)
        except RecordError:
            continue
        return {"branch": i, f"option{i}": fitted}
    raise RecordError(f"field {path}: {shown(value)} is of none of the types that the schema gives")


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


def _conform_scalars(values: Sequence[Any], type_: Scalar, path: str) -> Sequence[Any]:
    kinds = set(map(type, values))
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


def _misfit(value: Any, words: str, path: str, why: str = "") -> None:
    raise RecordError(f"field {path}: {shown(value)} is not {words}, as the schema says{f' ({why})' if why else ''}")


def _refuse(value: Any, type_: Scalar) -> Any:
    raise TypeError


def _integer(value: Any, type_: Scalar) -> int:
    low, high = RANGES[type_.kind]
    number = int(value) if isinstance(value, int) or (isinstance(value, float) and value.is_integer()) else None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise TypeError
    return number


def _float(value: Any, type_: Scalar) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    if isinstance(value, int) and not -EXACT <= value <= EXACT:
        raise ValueError("no floating point number is equal to it")
    return float(value)


def _text(value: Any, type_: Scalar) -> str:
    if not isinstance(value, str) or (type_.kind == "enum" and value not in type_.size):
        raise TypeError
    return value


def _json(value: Any, type_: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json_leaf)


def _json_leaf(value: Any) -> str:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def _bytes(value: Any, type_: Scalar) -> bytes:
    if not isinstance(value, (bytes, bytearray)) or (type_.kind == "fixed" and len(value) != type_.size[0]):
        raise TypeError
    return bytes(value)


def _date(value: Any, type_: Scalar) -> datetime.date:
    if isinstance(value, str):
        return datetime.date.fromisoformat(value)
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        raise TypeError
    return value


def _moment(value: Any, type_: Scalar) -> datetime.datetime:
    moment = _parsed(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime.datetime):
        raise TypeError
    if type_.kind == "timestamp" and moment.utcoffset() is None:
        raise ValueError('it has no time zone; "arrow": "timestamp[us]" is the type of local times')
    if type_.kind == "datetime" and moment.utcoffset() is not None:
        raise ValueError('it has a time zone; "format": "date-time" is the type of instants')
    if type_.size[0] < 6 and moment.microsecond % 10 ** (6 - type_.size[0]):
        raise ValueError("microseconds would be lost")
    return moment


def _parsed(text: str) -> datetime.datetime:
    """ISO 8601 text as Python 3.10 reads it: the fraction with six digits, Z as +00:00."""

    def six(match: re.Match[str]) -> str:
        if match[1][6:].strip("0"):
            raise ValueError("it is finer than microseconds")
        return "." + match[1][:6].ljust(6, "0")

    return datetime.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", re.sub(r"[.,](\d+)", six, text)))


def _time(value: Any, type_: Scalar) -> datetime.time:
    time = datetime.time.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(time, datetime.time) or time.tzinfo is not None:
        raise TypeError
    if type_.size[0] < 6 and time.microsecond % 1000:
        raise ValueError("microseconds would be lost")
    return time


def _exact_decimal(value: Any, type_: Scalar) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError
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
    "float32": {float},
    "float64": {float},
    "string": {str},
    "bytes": {bytes},
    "date": {datetime.date},
}
_CONVERT = {
    "null": (_refuse, "null"),
    "bool": (_refuse, "true or false"),
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


# Avro

_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TO_AVRO: dict[str, Any] = {
    "null": "null",
    "bool": "boolean",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int"),
    **dict.fromkeys(("int", "int64", "uint32"), "long"),
    "float32": "float",
    "float64": "double",
    **dict.fromkeys(("string", "json"), "string"),
    "bytes": "bytes",
    "date": {"type": "int", "logicalType": "date"},
}
_UNITS = {3: "millis", 6: "micros"}


def avro_schema(struct: Struct, name: str) -> dict[str, Any]:
    """The Avro schema of a type that was inferred or came from a JSON Schema. Nested records are named by their field,
    in the namespace of the record around them. Raises RecordError where Avro has no such name or type."""
    space, _, last = name.rpartition(".")
    fields = []
    for f in struct.fields:
        if not _AVRO_NAME.fullmatch(f.name):
            raise RecordError(
                f"field {shown(f.name)} cannot be a name in Avro, which has letters, digits and _ only; "
                "rename it with a transform, or give a schema that makes its object a map"
            )
        inner = _avro_slot(f.slot, f"{name}.{f.name}")
        fields.append({"name": f.name, "type": inner, **({} if f.slot.null_at is None else {"default": None})})
    schema: dict[str, Any] = {"type": "record", "name": last}
    return schema | ({"namespace": space} if space else {}) | {"fields": fields}


def _avro_slot(slot: Slot, name: str) -> Any:
    inner = _avro_type(slot.type, name)
    return inner if slot.null_at is None else ["null", inner]


def _avro_type(type_: Type, name: str) -> Any:
    if isinstance(type_, Struct):
        return avro_schema(type_, name)
    if isinstance(type_, ListOf):
        return {"type": "array", "items": _avro_slot(type_.items, name)}
    if isinstance(type_, MapOf):
        return {"type": "map", "values": _avro_slot(type_.values, name)}
    assert isinstance(type_, Scalar), "unions come from Avro schemas, which are written as they are"
    if type_.kind in _TO_AVRO:
        return _TO_AVRO[type_.kind]
    if type_.kind == "decimal":
        return {"type": "bytes", "logicalType": "decimal", "precision": type_.size[0], "scale": type_.size[1]}
    if type_.kind in ("time", "timestamp", "datetime"):
        unit, prefix = _UNITS[type_.size[0]], {"datetime": "local-timestamp"}.get(type_.kind, type_.kind)
        return {"type": "int" if (type_.kind, unit) == ("time", "millis") else "long", "logicalType": f"{prefix}-{unit}"}
    raise RecordError(f"Avro has no type for {type_.kind}; use int64 or a decimal")


# Arrow

_TO_ARROW = {
    "bool": "bool_",
    "int": "int64",
    "json": "string",
    "enum": "string",
    "bytes": "binary",
    "date": "date32",
}


def arrow_type(type_: Type) -> Any:
    import pyarrow as pa

    if isinstance(type_, Struct):
        return pa.struct([_arrow_field(f.name, f.slot) for f in type_.fields])
    if isinstance(type_, ListOf):
        return pa.list_(_arrow_field("item", type_.items))
    if isinstance(type_, MapOf):
        return pa.map_(pa.string(), _arrow_field("value", type_.values))
    if isinstance(type_, OneOf):
        options = [pa.field(f"option{i}", arrow_type(option)) for i, option in enumerate(type_.options)]
        return pa.struct([pa.field("branch", pa.int32()), *options])
    kind, size = type_.kind, type_.size
    if kind == "decimal":
        return (pa.decimal128 if size[0] <= 38 else pa.decimal256)(size[0], size[1])
    if kind == "fixed":
        return pa.binary(size[0])
    if kind == "time":
        return pa.time32("ms") if size[0] == 3 else pa.time64("us")
    if kind in ("timestamp", "datetime"):
        unit = next(name for name, digits in _DIGITS.items() if digits == size[0])
        return pa.timestamp(unit, "UTC" if kind == "timestamp" else None)
    return getattr(pa, _TO_ARROW.get(kind, kind))()


def _arrow_field(name: str, slot: Slot) -> Any:
    import pyarrow as pa

    return pa.field(name, arrow_type(slot.type), nullable=slot.null_at is not None)


@lru_cache(maxsize=64)
def arrow_schema(struct: Struct) -> Any:
    import pyarrow as pa

    return pa.schema(list(arrow_type(struct)))


# Staging


def stage(records: Sequence[Record], struct: Struct, schema: bytes) -> bytes:
    """A block's payload: eight bytes that say which schema, then an Arrow record batch without its schema, compressed
    by zstd at its fastest (a third of the records' JSON, and of what many groups would repeat for a schema, nothing)."""
    import pyarrow as pa
    import zstandard

    try:
        array = pa.array(records, type=pa.struct(arrow_schema(struct)))
    except UnicodeEncodeError as error:
        path = next((path for path, leaf in leaves(records) if leaf == error.object), "")
        raise RecordError(f"field {path} holds {error.object[:80]!a}: UTF-8 cannot hold a lone surrogate") from None
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise RecordError(f"a table cannot hold this: {str(error)[:200]}") from error
    batch = pa.RecordBatch.from_struct_array(array).serialize()
    return mark(schema) + zstandard.ZstdCompressor(level=1).compress(batch)


def mark(schema: bytes) -> bytes:
    return blake2b(schema, digest_size=8).digest()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that has no parts, and where it is. List members do not count: `tags[]`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, below(path, str(key)))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner, path + "[]" if path else path)
    else:
        yield path, value


def unstage(
    blocks: Iterable[tuple[bytes, Sequence[int] | None]], have: Iterable[tuple[bytes, Struct]], want: Struct
) -> Iterator[Any]:
    """The staged batches with the types of `want`, of each the records at the given indices (None: all).

    `have` are the schemas as they were staged and their types. Raises DestinationError for a block of another schema.
    """
    import pyarrow as pa
    import zstandard

    types = {mark(schema): struct for schema, struct in have}
    for payload, indices in blocks:
        struct = types.get(bytes(payload[:8]))
        if struct is None:
            raise DestinationError("a staged block has a schema that none of its group's blocks declared")
        message = pa.py_buffer(zstandard.ZstdDecompressor().decompress(payload[8:]))
        batch = fitted(pa.ipc.read_record_batch(message, arrow_schema(struct)), struct, want)
        if indices is not None:
            batch = _selected(batch, indices)
        if batch.num_rows:
            yield batch


def _selected(batch: Any, indices: Sequence[int]) -> Any:
    import pyarrow as pa

    if len(indices) and list(indices) == list(range(indices[0], indices[0] + len(indices))):
        return batch.slice(indices[0], len(indices))
    return batch.take(pa.array(indices, pa.int64()))


def fitted(batch: Any, have: Struct, want: Struct) -> Any:
    import pyarrow as pa

    if have == want or not want.fields:
        return batch
    array = fit(pa.StructArray.from_arrays(batch.columns, fields=list(batch.schema)) if have.fields else _blank(batch), have, want)
    return pa.RecordBatch.from_arrays(array.flatten(), schema=arrow_schema(want))


def _blank(batch: Any) -> Any:
    import pyarrow as pa

    return pa.array([{}] * batch.num_rows, pa.struct([]))


def fit(array: Any, have: Type, want: Type) -> Any:
    """An array of type `have`, which was merged into `want`, as an array of type `want`. The array has no offset."""
    import pyarrow as pa

    target = arrow_type(want)
    if have == NULL:
        return pa.nulls(len(array), target)
    if isinstance(have, Scalar):
        return array if array.type == target else array.cast(target)
    validity = array.buffers()[0]
    if isinstance(have, ListOf) and isinstance(want, ListOf):
        children = [fit(array.values, have.items.type, want.items.type)]
        return pa.Array.from_buffers(target, len(array), array.buffers()[:2], array.null_count, children=children)
    assert isinstance(have, Struct)
    if isinstance(want, MapOf):
        offsets = pa.py_buffer(bytes(4 * len(array) + 4))
        entries = pa.array([], pa.struct([target.key_field, target.item_field]))
        return pa.Array.from_buffers(target, len(array), [validity, offsets], array.null_count, children=[entries])
    assert isinstance(want, Struct)
    places = {f.name: i for i, f in enumerate(have.fields)}
    children = []
    for f in want.fields:
        i = places.get(f.name)
        if i is None:
            children.append(pa.nulls(len(array), arrow_type(f.slot.type)))
        else:
            children.append(fit(array.field(i), have.fields[i].slot.type, f.slot.type))
    return pa.Array.from_buffers(target, len(array), [validity], array.null_count, children=children)


# From Arrow to Python


def values(array: Any, cut_nanoseconds: bool = False) -> list[Any]:
    """An Arrow array as Python values, column by column: ten times faster than `to_pylist` of older pyarrow releases,
    and maps come as dictionaries. Raises ValueError for what Python's types cannot hold."""
    import pyarrow as pa

    type_ = array.type
    if array.null_count == len(array):
        return [None] * len(array)
    if isinstance(type_, pa.BaseExtensionType):
        return _uuids(array.storage) if type_.extension_name == "arrow.uuid" else values(array.storage, cut_nanoseconds)
    if pa.types.is_dictionary(type_):
        return values(array.dictionary_decode(), cut_nanoseconds)
    if pa.types.is_struct(type_):
        columns = [values(child, cut_nanoseconds) for child in array.flatten()]
        names = [type_.field(i).name for i in range(type_.num_fields)]
        found: list[Any] = rows(names, columns, len(array))
    elif pa.types.is_map(type_):
        keys, items = values(array.keys, cut_nanoseconds), values(array.items, cut_nanoseconds)
        offsets = array.offsets.to_pylist()
        found = [dict(zip(keys[a:b], items[a:b], strict=True)) for a, b in zip(offsets, offsets[1:])]
    elif pa.types.is_list(type_) or pa.types.is_large_list(type_):
        items, offsets = values(array.values, cut_nanoseconds), array.offsets.to_pylist()
        found = [items[a:b] for a, b in zip(offsets, offsets[1:])]
    elif pa.types.is_temporal(type_):
        return _times_of(array, cut_nanoseconds)
    elif pa.types.is_integer(type_) or pa.types.is_floating(type_):
        found = (array.fill_null(0) if array.null_count else array).to_numpy().tolist()
    elif pa.types.is_boolean(type_) or pa.types.is_decimal(type_) or _is_text(type_):
        return array.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    else:
        return array.to_pylist()  # type: ignore[no-any-return]
    if array.null_count:
        for i in array.is_null().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
            found[i] = None
    return found


def rows(names: Sequence[str], columns: Sequence[list[Any]], length: int) -> list[Any]:
    if not columns:
        return [{} for _ in range(length)]
    return [dict(zip(names, row)) for row in zip(*columns)]  # noqa: B905  `strict` costs a tenth, and lengths are equal


def _is_text(type_: Any) -> bool:
    import pyarrow as pa

    return any(
        test(type_)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
        )
    )


def _uuids(array: Any) -> list[Any]:
    import uuid

    return [None if v is None else str(uuid.UUID(bytes=v)) for v in values(array)]


def _times_of(array: Any, cut: bool) -> list[Any]:
    """Dates, times, timestamps. Python's have microseconds and the years 1 to 9999."""
    import pyarrow as pa

    type_ = array.type
    if pa.types.is_timestamp(type_):
        array = array.cast(pa.timestamp("us", type_.tz), safe=not cut)
    elif pa.types.is_time(type_):
        array = array.cast(pa.time64("us"), safe=not cut)
    elif pa.types.is_date64(type_):
        array = array.cast(pa.date32())
    elif not pa.types.is_date(type_):
        return array.to_pylist()  # type: ignore[no-any-return]
    found = array.to_numpy(zero_copy_only=False).tolist()
    if int in set(map(type, found)):
        raise ValueError(f"{type_} outside the years 1 to 9999")
    if not pa.types.is_timestamp(type_) or type_.tz is None:
        return found  # type: ignore[no-any-return]
    utc, zone = datetime.timezone.utc, _zone(type_.tz)
    aware = [None if v is None else v.replace(tzinfo=utc) for v in found]
    return aware if zone is utc else [None if v is None else v.astimezone(zone) for v in aware]


@lru_cache(maxsize=64)
def _zone(name: str) -> datetime.tzinfo:
    if name.upper() in ("UTC", "Z", "GMT", "ETC/UTC", "+00:00"):
        return datetime.timezone.utc
    if found := re.fullmatch(r"([+-])(\d\d):?(\d\d)", name):
        minutes = int(found[2]) * 60 + int(found[3])
        return datetime.timezone(datetime.timedelta(minutes=-minutes if found[1] == "-" else minutes))
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
