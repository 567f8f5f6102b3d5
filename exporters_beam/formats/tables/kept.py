"""Types that columns bring along from the file they were read from, and keep while all their values fit them.

Of each column a block says two things: the type that its values alone give it (`found`), and the type of the source where
every value fits that (`kept`). Merged over all blocks of an export, in the order of the input, a column has the kept type
where all blocks keep it, else the found one. Neither depends on where blocks, files or groups begin.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Any, cast

from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.formats.tables import given
from exporters_beam.formats.tables import types as schemas
from exporters_beam.formats.tables.conform import cut
from exporters_beam.formats.tables.types import (
    DIGITS,
    FLOAT,
    NULL,
    RANGES,
    STRING,
    Field,
    ListOf,
    MapOf,
    OneOf,
    Scalar,
    Slot,
    Struct,
    Type,
    settle,
)
from exporters_beam.records import Json

ARROW, AVRO = b"arrow:", b"avro:"
"""What the types of a source begin with: an Arrow schema as it is serialised, or the JSON of an Avro schema."""


class Disagreement(RecordError):
    """A column that would need two types."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


class Unfit(Exception):
    """A value that the type of the source does not hold exactly."""


@dataclass(frozen=True)
class Kept:
    """A column's type in the source. `origin` is the JSON of Avro's field, names of types in full."""

    slot: Slot
    origin: str = ""


@dataclass(frozen=True)
class Column:
    """What is known of a column: a found type of kind `mixed` says why there is none."""

    found: Type
    kept: Kept | None = None

    @property
    def slot(self) -> Slot:
        return self.kept.slot if self.kept else Slot(settle(self.found, False))

    @property
    def staged(self) -> Slot:
        """The type that a block's column is staged as."""
        return self.kept.slot if self.kept else Slot(self.found)


@dataclass(frozen=True)
class Columns:
    """What is known of all columns, in the order in which they were first seen. `name` is the JSON of Avro's record, without
    fields, where the source has one."""

    columns: Mapping[str, Column] = field(default_factory=dict)
    name: str = ""

    @property
    def struct(self) -> Struct:
        """The types that files have."""
        return Struct(tuple(Field(name, column.slot) for name, column in self.columns.items()))

    @property
    def struct_without_origins(self) -> Struct:
        """Those types of files that no schema of the source says."""
        found = ((name, c) for name, c in self.columns.items() if not (c.kept and c.kept.origin))
        return Struct(tuple(Field(name, column.slot) for name, column in found))

    @property
    def staged(self) -> Struct:
        return Struct(tuple(Field(name, column.staged) for name, column in self.columns.items()))

    def dump(self) -> bytes:
        """As bytes: equal ones give equal bytes."""
        plain: Json = {"struct": [[name, schemas._plain(column.found)] for name, column in self.columns.items()]}
        kept = {
            name: [schemas.plain_slot(column.kept.slot), column.kept.origin]
            for name, column in self.columns.items()
            if column.kept
        }
        if kept:
            plain["kept"] = kept
        if self.name:
            plain["name"] = self.name
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    def merge(self, other: Columns) -> Columns:
        """What holds these records and those that follow. Raises RecordError where that is no one type."""
        if self == other or not other.columns:
            return self
        if not self.columns:
            return other
        found: dict[str, Column] = {}
        for name, column in self.columns.items():
            more = other.columns.get(name)
            found[name] = _nullable(column) if more is None else _merged(column, more, name)
        for name, column in other.columns.items():
            if name not in found:
                found[name] = _nullable(column)
        return Columns(found, self.name if self.name == other.name else "")


@lru_cache(maxsize=256)
def load(data: bytes) -> Columns:
    plain = json.loads(data.decode("utf-8", "surrogatepass"))
    kept = plain.get("kept", {})
    columns = {}
    for name, inner in plain["struct"]:
        own = kept.get(name)
        columns[name] = Column(schemas._typed(inner), Kept(schemas.typed_slot(own[0]), own[1]) if own else None)
    return Columns(columns, plain.get("name", ""))


def merged(dumps: Iterable[bytes]) -> Columns:
    """What holds the records of all blocks, in their order. Raises RecordError."""
    found = Columns()
    for data in dumps:
        found = found.merge(load(data))
    return found


def _nullable(column: Column) -> Column:
    return replace(column, kept=nullable(column.kept)) if column.kept else column


def nullable(kept: Kept) -> Kept:
    """A type of the source with null beside it."""
    if kept.slot.null_at is not None or kept.slot.type == NULL:
        return kept
    origin = kept.origin
    if origin:
        node = json.loads(origin)
        inner = node["type"]
        node["type"] = ["null", *(inner if isinstance(inner, list) else [inner])]
        origin = json.dumps({**node, "default": None}, ensure_ascii=False)
    return Kept(Slot(kept.slot.type, 0), origin)


def _merged(a: Column, b: Column, name: str) -> Column:
    if a == b:
        return a
    for one, other in ((a, b), (b, a)):
        if other.found == NULL and other.kept is None:  # Nothing but nulls, of no type.
            return _nullable(one)
    kept = _joined_kept(a.kept, b.kept)
    why = next((c.found for c in (a, b) if _is_mixed(c.found)), None)
    try:
        found = why or schemas.merge(a.found, b.found, name)
    except RecordError as error:
        found = Scalar("mixed", (str(error),))
    if _is_mixed(found) and kept is None:
        raise Disagreement(name, found.size[0])  # type: ignore[union-attr]
    return Column(found, kept)


def _is_mixed(type_: Type) -> bool:
    return isinstance(type_, Scalar) and type_.kind == "mixed"


def _joined_kept(a: Kept | None, b: Kept | None) -> Kept | None:
    if a is None or b is None or a == b:
        return a if b is not None else None
    slot = joined(a.slot, b.slot)
    if slot is None:
        return None
    return Kept(slot, a.origin if slot == a.slot else b.origin if slot == b.slot else "")


# Two types of the source as one that holds the values of both


def joined(a: Slot, b: Slot) -> Slot | None:
    """The narrowest slot that holds what both hold, exactly; None where there is none."""
    found = _joined(a.type, b.type)
    if found is None:
        return None
    if found != NULL and NULL in (a.type, b.type):
        slot = b if a.type == NULL else a
        return slot if slot.null_at is not None else Slot(found, 0)
    null_at = a.null_at if b.null_at == a.null_at else a.null_at if b.null_at is None else b.null_at
    return Slot(found, 0 if {a.null_at, b.null_at} == {0, 1} else null_at)


def _joined(a: Type, b: Type) -> Type | None:
    if a == b or b == NULL:
        return a
    if a == NULL:
        return b
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        return _joined_scalars(a, b)
    if isinstance(a, ListOf) and isinstance(b, ListOf):
        items = joined(a.items, b.items)
        return None if items is None else ListOf(items, a.sort if a.sort == b.sort else "")
    if isinstance(a, MapOf) and isinstance(b, MapOf) and a.keys == b.keys:
        values = joined(a.values, b.values)
        return None if values is None else MapOf(values, a.keys)
    if isinstance(a, Struct) and isinstance(b, Struct):
        return _joined_structs(a, b)
    return None


def _joined_structs(a: Struct, b: Struct) -> Struct | None:
    others = {f.name: f for f in b.fields}
    names = {f.name for f in a.fields}
    fields = []
    for f in (*a.fields, *(f for f in b.fields if f.name not in names)):
        other = others.get(f.name) if f.name in names else None
        if other is None:
            slot: Slot | None = f.slot if f.slot.null_at is not None else Slot(f.slot.type, 0)
        else:
            slot = joined(f.slot, other.slot)
        if slot is None:
            return None
        fields.append(Field(f.name, slot))
    return Struct(tuple(fields))


def _joined_scalars(a: Scalar, b: Scalar) -> Scalar | None:
    kinds = {a.kind, b.kind}
    if kinds <= RANGES.keys():
        low = min(RANGES[kind][0] for kind in kinds)
        high = max(RANGES[kind][1] for kind in kinds)
        return next((Scalar(k) for k, (least, most) in RANGES.items() if least <= low and high <= most), None)
    if kinds == {"float32", "float64"}:
        return FLOAT
    if kinds <= {"string", "enum"}:
        return STRING
    if kinds <= {"bytes", "fixed"}:
        return Scalar("bytes")
    if kinds == {"decimal"}:
        whole, scale = max(a.size[0] - a.size[1], b.size[0] - b.size[1]), max(a.size[1], b.size[1])
        return Scalar("decimal", (whole + scale, scale, 0)) if whole + scale <= 76 else None
    if kinds in ({"time"}, {"timestamp"}, {"datetime"}):
        digits = max(min(a.size[0], 6), min(b.size[0], 6)) if a.size[0] != b.size[0] else a.size[0]
        return Scalar(a.kind, (digits, *(("UTC",) if kinds == {"timestamp"} and a.size[1:] != b.size[1:] else a.size[1:])))
    return None


# What a source says


@lru_cache(maxsize=64)
def of_source(types: bytes, form: str) -> Columns:
    """The types of a source's columns, as `form`, "parquet", "spark", "orc" or "avro", has them; those that it has not are left
    out."""
    if types.startswith(ARROW):
        import pyarrow as pa

        schema = pa.ipc.read_schema(pa.py_buffer(types[len(ARROW) :]))
        read = ((f, of_arrow(f.type, 0)) for f in schema)
        found = {f.name: Kept(Slot(type_, 0 if f.nullable else None)) for f, type_ in read if type_ is not None}
        name = ""
    else:
        found, name = _of_avro(types[len(AVRO) :])
    columns = {}
    for key, kept in found.items():
        slot = _as(kept.slot, form)
        if slot is not None:
            columns[key] = Column(NULL, replace(kept, slot=slot) if form == "avro" else Kept(slot))
    return Columns(columns, name if form == "avro" else "")


def of_arrow(type_: Any, depth: int = 1) -> Type | None:
    import pyarrow as pa

    test = pa.types
    if isinstance(type_, pa.BaseExtensionType):
        return Scalar("uuid") if type_.extension_name == "arrow.uuid" and not depth else None
    if test.is_dictionary(type_):
        texts = test.is_string(type_.value_type) and not depth
        return Scalar("string", ("dictionary",)) if texts else of_arrow(type_.value_type, depth)
    if str(type_) in _ARROW_SCALARS:
        return _ARROW_SCALARS[str(type_)]
    if test.is_fixed_size_binary(type_):
        return Scalar("fixed", (type_.byte_width,))
    if test.is_decimal(type_) and 0 <= type_.scale <= type_.precision:
        return Scalar("decimal", (type_.precision, type_.scale, 0))
    if test.is_time(type_):
        return Scalar("time", (DIGITS[type_.unit],))
    if test.is_timestamp(type_):
        return Scalar("datetime" if type_.tz is None else "timestamp", (DIGITS[type_.unit], *([type_.tz] if type_.tz else [])))
    if test.is_map(type_):
        keys, values = of_arrow(type_.key_type), _slot_of(type_.item_field)
        return None if keys is None or values is None or not isinstance(keys, Scalar) else MapOf(values, keys)
    if test.is_struct(type_):
        slots = [_slot_of(type_.field(i)) for i in range(type_.num_fields)]
        names = [type_.field(i).name for i in range(type_.num_fields)]
        if not slots or None in slots or len(set(names)) < len(names):
            return None
        return Struct(tuple(Field(name, slot) for name, slot in zip(names, slots, strict=True) if slot))
    if test.is_list(type_) or test.is_large_list(type_) or test.is_fixed_size_list(type_):
        items = _slot_of(type_.value_field)
        # Lists of a fixed size are no more than lists: with nulls among them Arrow does not read its own files back.
        return None if items is None else ListOf(items, "large" if test.is_large_list(type_) else "")
    return None


def _slot_of(field_: Any) -> Slot | None:
    type_ = of_arrow(field_.type)
    return None if type_ is None else Slot(type_, 0 if field_.nullable else None)


_ARROW_SCALARS = {
    **{name: Scalar(name) for name in (*RANGES, "bool", "string", "null")},
    "float": Scalar("float32"),
    "double": FLOAT,
    "large_string": Scalar("string", ("large_string",)),
    "binary": Scalar("bytes"),
    "large_binary": Scalar("bytes", ("large_binary",)),
    "date32[day]": Scalar("date"),
}


def _of_avro(schema: bytes) -> tuple[dict[str, Kept], str]:
    """The fields of an Avro schema, each with its type as JSON in which names are in full and stand for themselves, and
    the name of the record."""
    from exporters_beam.formats.tables.given import _Avro, flat, record

    try:
        root = record(flat(json.loads(schema)))
        struct = _Avro("source").type_of(root, ("schema",)).type
        whole = _in_full(root, {}, "")
    except (ConfigError, ValueError, TypeError, KeyError, RecursionError):  # It has types that a table has not.
        return {}, ""
    if not isinstance(struct, Struct):
        return {}, ""
    nodes = {node["name"]: json.dumps(node, ensure_ascii=False) for node in whole["fields"]}
    head = {key: value for key, value in whole.items() if key != "fields"}
    return {f.name: Kept(f.slot, nodes[f.name]) for f in struct.fields}, json.dumps(head, ensure_ascii=False)


def _in_full(node: Any, names: dict[str, object], space: str) -> Any:
    """An Avro type with its names in full, and in place of a name the type that is called so."""
    if isinstance(node, list):
        return [_in_full(inner, names, space) for inner in node]
    if isinstance(node, str):
        full = node if "." in node or not space else f"{space}.{node}"
        return names.get(full, names.get(node, node))
    found = dict(node)
    if "name" in node:
        space = node["name"].rpartition(".")[0] or (space if node.get("namespace") is None else node["namespace"])
        last = node["name"].rpartition(".")[2]
        found.pop("namespace", None)
        found["name"] = f"{space}.{last}" if space else last
    for key in ("type", "items", "values"):
        if key in node and node[key] not in ("record", "enum", "fixed", "array", "map"):
            found[key] = _in_full(node[key], names, space)
    if "fields" in node:
        found["fields"] = [{**inner, "type": _in_full(inner["type"], names, space)} for inner in node["fields"]]
    if "name" in found:
        names[found["name"]] = found
    return found


def _as(slot: Slot, form: str) -> Slot | None:
    """A type of the source as a format has it; None where it has none like it."""
    found = _AS[form](slot.type)
    return None if found is None else Slot(found, slot.null_at)


def _inner(type_: Type, form: str) -> Type | None:
    if isinstance(type_, ListOf):
        items = _as(type_.items, form)
        return None if items is None else ListOf(items, type_.sort if form == "parquet" else "")
    if isinstance(type_, MapOf):
        values = _as(type_.values, form)
        return None if values is None else MapOf(values, type_.keys)
    assert isinstance(type_, Struct)
    slots = [_as(f.slot, form) for f in type_.fields]
    if None in slots:
        return None
    return Struct(tuple(Field(f.name, slot) for f, slot in zip(type_.fields, slots, strict=True) if slot))


def _as_parquet(type_: Type) -> Type | None:
    if isinstance(type_, OneOf) or type_ == Struct():
        return None
    if not isinstance(type_, Scalar):
        return _inner(type_, "parquet")
    return {"enum": STRING, "decimal": Scalar("decimal", (*type_.size[:2], 0))}.get(type_.kind, type_)


def _as_orc(type_: Type) -> Type | None:
    if isinstance(type_, OneOf) or type_ == Struct():
        return None
    if not isinstance(type_, Scalar):
        return _inner(type_, "orc")
    kind, size = type_.kind, type_.size
    if kind in ("time", "null") or kind.startswith("uint") or (kind == "decimal" and size[0] > 38):
        return None
    if kind in ("string", "bytes", "timestamp"):
        return Scalar(kind, size[:1] if kind == "timestamp" else ())
    return {"enum": STRING, "uuid": STRING, "fixed": Scalar("bytes"), "decimal": Scalar(kind, (*size[:2], 0))}.get(kind, type_)


def _as_spark(type_: Type) -> Type | None:
    """As Parquet that Spark and Hive read: what nanoseconds there are is found anew, and fails where it does not fit."""
    found = _as_orc(type_)
    if not isinstance(type_, Scalar) or not isinstance(found, Scalar):
        return found if isinstance(type_, Scalar) or found is None else _inner(type_, "spark")
    if found.kind in ("timestamp", "datetime"):
        return Scalar(found.kind, (6, *type_.size[1:])) if type_.size[0] <= 6 else None
    return type_ if type_.kind == "string" else found


def _as_avro(type_: Type) -> Type | None:
    if isinstance(type_, OneOf):
        return type_
    if not isinstance(type_, Scalar):
        if isinstance(type_, MapOf) and type_.keys != STRING:
            return None
        if isinstance(type_, Struct) and not all(given.is_avro_name(f.name, dots=False) for f in type_.fields):
            return None
        return _inner(type_, "avro")
    if type_.kind in ("uint64", "uuid"):
        return None if type_.kind == "uint64" else type_
    if type_.kind in ("string", "bytes"):
        return Scalar(type_.kind)
    if type_.kind == "time":
        return Scalar("time", (3 if type_.size[0] <= 3 else 6,))
    if type_.kind in ("timestamp", "datetime"):
        return Scalar(type_.kind, (3 if type_.size[0] <= 3 else 6,))
    return type_


_AS = {"parquet": _as_parquet, "orc": _as_orc, "spark": _as_spark, "avro": _as_avro}


# Do values fit?


def column_of(values: Sequence[object], name: str, source: Column | None) -> tuple[Column, Sequence[Any]]:
    """What values say of their column, which may have had a type in the source, and the values as they are staged."""
    if source is None or source.kept is None:
        return Column(schemas.infer_column(values, name, 1)), values
    own = nullable(source.kept) if None in values else source.kept
    like = own.slot.type
    try:
        staged = prepared(values, own.slot)
    except Unfit:
        return Column(schemas.infer_column(values, name, 1, like)), values
    try:
        return Column(_found_again(values, like) or schemas.infer_column(values, name, 1, like), own), staged
    except RecordError as error:
        return Column(Scalar("mixed", (str(error),)), own), staged


_FOUND = {
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16", "uint32"), Scalar("int")),
    **dict.fromkeys(("string", "enum", "uuid"), STRING),
    **dict.fromkeys(("float32", "float64"), FLOAT),
    **dict.fromkeys(("bytes", "fixed"), Scalar("bytes")),
    **{kind: Scalar(kind) for kind in ("bool", "date")},
    **{kind: Scalar(kind, (6,)) for kind in ("time", "timestamp", "datetime")},
}
"""What is found in values that are of a type of the source."""


def _found_again(values: Sequence[Any], kept: Type) -> Type | None:
    """What `infer_column` says of values that fit a kept type, where that needs no other look at each; else None."""
    if not isinstance(kept, Scalar) or (kept.kind != "int64" and kept.kind not in _FOUND):
        return None
    nulls = values.count(None)
    if nulls == len(values):
        return NULL
    if kept.kind != "int64":
        return _FOUND[kept.kind]
    present = [v for v in values if v is not None] if nulls else values
    return Scalar("int" if max(-min(present), max(present)) <= schemas.EXACT else "int64")


def prepared(values: Sequence[object], slot: Slot) -> Sequence[Any]:
    """The values as `columns.arrow_type` of the slot's type takes them. Raises Unfit where it does not hold one exactly."""
    if None in values:
        if slot.null_at is None and slot.type != NULL:
            raise Unfit
        present = [v for v in values if v is not None]
        fitted = _present(present, slot.type) if present else present
        if fitted is present:
            return values
        following = iter(fitted)
        return [None if v is None else next(following) for v in values]
    return _present(values, slot.type) if values else values


def _present(values: Sequence[Any], type_: Type) -> Sequence[Any]:
    if isinstance(type_, OneOf):
        return [_branch(value, type_) for value in values]
    kinds = set(map(type, values))
    if isinstance(type_, Scalar):
        if not _holds(type_, kinds, values):
            raise Unfit
        return values
    if not kinds <= ({list, tuple} if isinstance(type_, ListOf) else {dict}):
        raise Unfit
    if isinstance(type_, Struct):
        return _structs(values, type_)
    if isinstance(type_, ListOf):
        flat = list(chain.from_iterable(values))
        fitted = prepared(flat, type_.items)
        return values if fitted is flat else cut(fitted, values)
    flat = list(chain.from_iterable(v.values() for v in values))
    keys = list(chain.from_iterable(values))
    if keys:
        _present(keys, type_.keys)
    members = prepared(flat, type_.values)
    return [list(zip(v, m, strict=True)) for v, m in zip(values, cut(members, values), strict=True)]


def _structs(values: Sequence[Any], type_: Struct) -> Sequence[Any]:
    names = [f.name for f in type_.fields]
    if not set(chain.from_iterable(values)) <= set(names):
        raise Unfit
    columns, same = [], True
    for f in type_.fields:
        column = [v.get(f.name) for v in values]
        fitted = prepared(column, f.slot)
        same = same and fitted is column
        columns.append(fitted)
    return values if same else [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _branch(value: object, type_: OneOf) -> Json:
    for i, option in enumerate(type_.options):
        try:
            (fitted,) = _present([value], option)
        except Unfit:
            continue
        return {"branch": i, f"option{i}": fitted}
    raise Unfit


_PYTHON: dict[str, type] = {
    **dict.fromkeys(RANGES, int),
    "bool": bool,
    "float32": float,
    "float64": float,
    "string": str,
    "enum": str,
    "uuid": str,
    "bytes": bytes,
    "fixed": bytes,
    "date": datetime.date,
    "time": datetime.time,
    "timestamp": datetime.datetime,
    "datetime": datetime.datetime,
    "decimal": Decimal,
}

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
EARLIEST, LATEST = datetime.datetime(1678, 1, 1), datetime.datetime(2262, 1, 1)
"""Between these nanoseconds fit into 64 bits."""


def _holds(type_: Scalar, kinds: set[type], values: Sequence[Any]) -> bool:
    kind, size = type_.kind, type_.size
    if kinds != {_PYTHON.get(kind)}:
        return False
    if kind in RANGES:
        low, high = RANGES[kind]
        return bool(low <= min(values) and max(values) <= high)
    if kind == "float32":
        import numpy as np

        doubles = np.asarray(values)
        with np.errstate(over="ignore"):
            return bool(((doubles.astype(np.float32) == doubles) | np.isnan(doubles)).all())
    if kind == "enum":
        return set(values) <= set(size)
    if kind == "uuid":
        return all(map(_UUID.fullmatch, values))
    if kind == "fixed":
        return set(map(len, values)) == {size[0]}
    if kind == "decimal":
        return all(_is_decimal(value, size[0], size[1]) for value in values)
    if kind in ("time", "timestamp", "datetime"):
        return all(_is_moment(value, kind, size[0]) for value in values)
    return True


def _is_decimal(value: Decimal, precision: int, scale: int) -> bool:
    _, digits, exponent = value.as_tuple()
    return isinstance(exponent, int) and exponent >= -scale and (len(digits) + exponent + scale <= precision or not any(digits))


def _is_moment(value: Any, kind: str, digits: int) -> bool:
    if kind == "time":
        aware, wanted = value.tzinfo is not None, False
    else:
        aware, wanted = value.utcoffset() is not None, kind == "timestamp"
    if aware != wanted or (digits < 6 and value.microsecond % 10 ** (6 - digits)):
        return False
    return digits < 9 or kind == "time" or EARLIEST <= value.replace(tzinfo=None) <= LATEST


# Avro's schema


def avro_schema(columns: Columns, name: str) -> Json:
    """The schema of a file: fields as they stand in the source's schema where their columns keep its types."""
    head = json.loads(columns.name) if columns.name else {"type": "record", "name": name}
    own = str(head["name"])
    whole = given.avro_schema(columns.struct_without_origins, own)
    made = iter(whole["fields"])
    fields = [json.loads(c.kept.origin) if c.kept and c.kept.origin else next(made) for c in columns.columns.values()]
    try:
        return cast("Json", _in_short({**head, "fields": fields}, {}, ""))
    except _TwoMeanings:
        return given.avro_schema(columns.struct, own)


class _TwoMeanings(Exception):
    """One name of two types."""


def _in_short(node: object, seen: dict[str, object], space: str) -> Any:
    """What `_in_full` made, each named type where it comes first and by its name behind that."""
    if isinstance(node, list):
        return [_in_short(inner, seen, space) for inner in node]
    if not isinstance(node, dict):
        return node
    found = dict(node)
    if "name" in node and "type" in node and node["type"] in ("record", "enum", "fixed"):
        full = node["name"] if "." in node["name"] else f"{node.get('namespace') or space}.{node['name']}".lstrip(".")
        before, _, last = full.rpartition(".")
        short = last if before == space else full
        if full in seen:
            if seen[full] != node:
                raise _TwoMeanings
            return short
        seen[full] = node
        found = {"type": node["type"], "name": last, **({"namespace": before} if before != space else {})}
        found |= {key: value for key, value in node.items() if key not in found and key != "namespace"}
        space = before
    for key in ("type", "items", "values"):
        if isinstance(node.get(key), (dict, list)):
            found[key] = _in_short(node[key], seen, space)
    if "fields" in node:
        found["fields"] = [{**inner, "type": _in_short(inner["type"], seen, space)} for inner in node["fields"]]
    return found
