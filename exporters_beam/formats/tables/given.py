"""Given schemas: the types that a JSON Schema or an Avro schema in a config describes, or its fault and where that is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import unquote

from exporters_beam.components.words import did_you_mean, in_json
from exporters_beam.errors import ConfigError, Problem, RecordError
from exporters_beam.formats.tables.conform import conform
from exporters_beam.formats.tables.types import (
    DEEPEST,
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
    brief,
    check_key,
)
from exporters_beam.records import Json

Path = tuple["str | int", ...]


def given(schema: Any, form: str) -> Struct:
    """The type that a JSON Schema with `properties` or an Avro schema with `fields` describes, to be written as `form`,
    "parquet", "spark", "orc" or "avro". Raises ConfigError with the place in the option `schema`."""
    path: Path = ("schema",)
    if is_avro(schema):
        found = _Avro(form).type_of(record(schema), path).type
    elif isinstance(schema, Mapping) and ("properties" in schema or "$ref" in schema):
        found = _JsonSchema(schema, form).slot_of(schema, path).type
    else:
        _refuse(path, 'give a JSON Schema that has "properties" or an Avro schema that has "fields"')
    if not isinstance(found, Struct) or not found.fields:
        _refuse(path, "it has no fields; give at least one")
    return found


def is_avro(schema: object) -> bool:
    return isinstance(schema, Mapping) and "fields" in record(schema)


def record(schema: Mapping[str, object]) -> Mapping[str, Any]:
    """An Avro schema without the objects around it that have nothing but a type."""
    inner = schema.get("type")
    return record(inner) if isinstance(inner, Mapping) and "fields" not in schema else schema


def flat(node: object) -> Any:
    """An Avro schema without objects that have nothing to say but another type: not every library reads those."""
    while isinstance(node, Mapping) and not isinstance(node.get("type", ""), str):
        node = node["type"]
    if isinstance(node, (list, tuple)):
        return [flat(inner) for inner in node]
    if not isinstance(node, Mapping):
        return node
    found = dict(node)
    for key in {"items", "values"} & found.keys():
        found[key] = flat(found[key])
    if isinstance(found.get("fields"), (list, tuple)):
        found["fields"] = [{**inner, "type": flat(inner["type"])} for inner in found["fields"]]
    return found


def _refuse(path: Path, message: str) -> NoReturn:
    raise ConfigError(Problem(path, message))


def _told(value: object) -> str:
    return in_json(value, 80, default=repr)


def _known(kind: object, known: list[str]) -> str:
    return f"there is no type {_told(kind)}{did_you_mean(kind, known) if isinstance(kind, str) else ''}"


_JSON_KINDS = {"string": STRING, "integer": Scalar("int64"), "number": FLOAT, "boolean": Scalar("bool"), "null": STRING}

_JSON_FORMATS = {"date-time": Scalar("timestamp", (6,)), "date": Scalar("date"), "time": Scalar("time", (6,))}

_JSON_TYPES = [*_JSON_KINDS, "array", "object"]

_ARROW_NAMES = {"float": "float32", "double": "float64", "binary": "bytes", "date32": "date"}

_ARROW_PLAIN = {*RANGES, "float32", "float64", "string", "bytes", "date", "bool"}


@dataclass(frozen=True)
class _JsonSchema:
    """Reads one JSON Schema, whose `$ref`s are looked up in `root`."""

    root: Mapping[str, Any]
    form: str

    def slot_of(self, node: object, path: Path, above: tuple[str, ...] = (), depth: int = 0) -> Slot:
        if not isinstance(node, Mapping):
            _refuse(path, f"a JSON Schema is an object, not {_told(node)}")
        if depth > DEEPEST:
            _refuse(path, f"it is nested deeper than {DEEPEST} levels")
        if "$ref" in node:
            return self._referred(node["$ref"], path, above, depth)
        for word in ("anyOf", "oneOf", "allOf"):
            if word in node:
                return self._one_of(node[word], word, path, above, depth)
        kind, null_at = self._kind(node, path)
        if "arrow" in node:
            return Slot(self._arrow(node["arrow"], (*path, "arrow")), null_at)
        if node.get("contentMediaType") == "application/json":
            return Slot(Scalar("json"), null_at)
        if kind == "object":
            return Slot(self._object(node, path, above, depth), null_at)
        if kind == "array":
            if "items" not in node:
                _refuse(path, 'say what the list holds, for instance "items": {"type": "string"}')
            return Slot(ListOf(self.slot_of(node["items"], (*path, "items"), above, depth + 1)), null_at)
        format_ = node.get("format")
        if kind == "string" and isinstance(format_, str) and format_ in _JSON_FORMATS:
            return Slot(_JSON_FORMATS[format_], null_at)
        return Slot(_JSON_KINDS[kind], null_at)

    def _kind(self, node: Mapping[str, object], path: Path) -> tuple[str, int | None]:
        """The one type that a node has beside null, and whether it has null."""
        implied = "object" if "properties" in node else "array" if "items" in node else None
        names = node.get("type", implied)
        where = (*path, "type")
        types = names if isinstance(names, (list, tuple)) else [] if names is None else [names]
        for name in types:
            if not isinstance(name, str) or name not in _JSON_TYPES:
                hint = "" if isinstance(name, str) else f"; types are the texts {', '.join(_JSON_TYPES)}"
                _refuse(where, f"{_known(name, _JSON_TYPES)}{hint}")
        kinds = set(types)
        null_at = 0 if "null" in kinds else None
        if len(kinds) > 1:
            kinds -= {"null"}
        if kinds == {"integer", "number"}:
            kinds = {"number"}
        if len(kinds) == 1:
            return next(iter(kinds)), null_at
        if not kinds and ("arrow" in node or node.get("contentMediaType") == "application/json"):
            return "string", null_at
        has = "it has none" if not kinds else f"it has {', '.join(sorted(kinds))}"
        _refuse(where if "type" in node else path, f"give one type; {has}")

    def _referred(self, reference: object, path: Path, above: tuple[str, ...], depth: int) -> Slot:
        where = (*path, "$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            _refuse(where, f"{_told(reference)} is not found in the schema; references begin with #/")
        if reference in above:
            _refuse(where, f"{reference} refers to itself, and a table has no recursive types")
        found: Any = self.root
        way: list[str | int] = []
        for part in reference.removeprefix("#").split("/")[1:]:
            part = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, (list, tuple)) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
                way.append(int(part))
            elif isinstance(found, Mapping) and part in found:
                found = found[part]
                way.append(part)
            else:
                _refuse(where, f"{_told(reference)} is not found in the schema; references begin with #/")
        return self.slot_of(found, ("schema", *way), (*above, reference), depth + 1)

    def _one_of(self, nodes: object, word: str, path: Path, above: tuple[str, ...], depth: int) -> Slot:
        if not isinstance(nodes, (list, tuple)):
            _refuse((*path, word), f"it is a list of JSON Schemas, not {_told(nodes)}")
        options = [(n, o) for n, o in enumerate(nodes) if not (isinstance(o, Mapping) and o.get("type") == "null")]
        if len(options) != 1:
            _refuse((*path, word), f"{word} has {len(options)} types beside null; a column has one type")
        ((place, option),) = options
        slot = self.slot_of(option, (*path, word, place), above, depth + 1)
        return Slot(slot.type, 0 if len(options) < len(nodes) else slot.null_at)

    def _object(self, node: Mapping[str, object], path: Path, above: tuple[str, ...], depth: int) -> Type:
        properties, others = node.get("properties"), node.get("additionalProperties")
        if properties is not None and not isinstance(properties, Mapping):
            _refuse((*path, "properties"), f"properties are an object, not {_told(properties)}")
        if not properties and isinstance(others, Mapping):
            return MapOf(self.slot_of(others, (*path, "additionalProperties"), above, depth + 1))
        if not properties:
            _refuse(
                path,
                'an object needs "properties" (each makes a column), or "additionalProperties" with a type (a map), '
                'or "contentMediaType": "application/json" (JSON text)',
            )
        required = node.get("required", ())
        if not isinstance(required, (list, tuple)):
            _refuse((*path, "required"), f"it is a list of names, not {_told(required)}")
        fields = []
        for name, inner in properties.items():
            where = (*path, "properties", name)
            self._check_name(name, where)
            slot = self.slot_of(inner, where, above, depth + 1)
            fields.append(Field(name, slot if name in required else Slot(slot.type, 0)))
        return Struct(tuple(fields))

    def _check_name(self, name: Any, path: Path) -> None:
        try:
            check_key(name, "")
        except RecordError as error:
            _refuse(path, str(error).replace("the record has the key", "it has the name"))
        if self.form == "avro" and not is_avro_name(name, dots=False):
            _refuse(path, f"{brief(name)} cannot be a name in Avro, which has letters, digits and _ only")

    def _arrow(self, hint: object, path: Path) -> Scalar:
        name = _ARROW_NAMES.get(str(hint), str(hint))
        if name == "uint64" and self.form == "avro":
            _refuse(path, "Avro has no type for uint64; use int64 or a decimal")
        if name in _ARROW_PLAIN:
            return Scalar(name)
        if found := re.fullmatch(r"decimal(?:128|256)?\((\d+), *(\d+)\)", name):
            precision, scale = int(found[1]), int(found[2])
            if not 1 <= precision <= 76 or scale > precision:
                _refuse(path, f"{hint} is not a decimal; precision is 1 to 76, and scale not more than precision")
            return Scalar("decimal", (precision, scale, 0))
        if found := re.fullmatch(r"timestamp\[(ms|us)(, *tz=UTC)?\]", name):
            return Scalar("timestamp" if found[2] else "datetime", (DIGITS[found[1]],))
        if name in ("time64[us]", "time32[ms]"):
            return Scalar("time", (DIGITS[name[7:9]],))
        known = ", ".join(sorted({*RANGES, "float32", "float64", "string", "bool"}))
        _refuse(
            path,
            f"there is no Arrow type {_told(hint)}; known: {known}, binary, date32, time64[us], timestamp[us], "
            "timestamp[us, tz=UTC], decimal128(precision, scale)",
        )


_COLUMNS = {"parquet": "Parquet", "spark": "Parquet", "orc": "ORC"}
"""Formats of columns, and how they are written."""

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

_AVRO_NAMED = ("record", "enum", "fixed")

_AVRO_TYPES = [*_AVRO_KINDS, "array", "map", *_AVRO_NAMED]

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


@dataclass(frozen=True)
class _Avro:
    """Reads one Avro schema, of a file to be written as `form` or of a "source". `names` are the named types seen so far,
    None for those that are not complete."""

    form: str
    names: dict[str, Type | None] = field(default_factory=dict)

    def type_of(self, node: object, path: Path, space: str = "", depth: int = 0) -> Slot:
        """The type of a node, inside the namespace `space`."""
        if depth > DEEPEST:
            _refuse(path, f"it is nested deeper than {DEEPEST} levels")
        if isinstance(node, (list, tuple)):
            return self._union(node, path, space, depth)
        if isinstance(node, str):
            return Slot(self._called(node, path, space), None)
        if not isinstance(node, Mapping):
            _refuse(path, f'an Avro type is a name, a list or an object that has "type", not {_told(node)}')
        if "type" not in node and "fields" not in node:
            _refuse(path, f'an Avro type is a name, a list or an object that has "type", not {_told(node)}')
        kind, logical = node.get("type", "record"), node.get("logicalType")
        if not isinstance(kind, str):
            return self.type_of(kind, (*path, "type"), space, depth + 1)
        if kind in ("array", "map"):
            part = "items" if kind == "array" else "values"
            if part not in node:
                _refuse(path, f'this {kind} has no "{part}"; say what it holds')
            inner = self.type_of(node[part], (*path, part), space, depth + 1)
            return Slot(ListOf(inner) if kind == "array" else MapOf(inner), None)
        if kind in _AVRO_NAMED:
            return Slot(self._named(node, kind, path, space, depth), None)
        read_as_numbers = self.form == "source" and str(logical).endswith("-nanos")
        if isinstance(logical, str) and (kind, logical) in _AVRO_LOGICAL and not read_as_numbers:
            return Slot(_AVRO_LOGICAL[kind, logical], None)
        if kind == "bytes" and logical == "decimal":
            return Slot(_decimal(node, 0, path), None)
        return Slot(self._called(kind, (*path, "type"), space), None)

    def _called(self, name: str, path: Path, space: str) -> Type:
        if name in _AVRO_KINDS:
            return Scalar(_AVRO_KINDS[name])
        full = name if "." in name or not space else f"{space}.{name}"
        found = self.names.get(full, self.names.get(name, NULL))
        if found is None:
            _refuse(path, f"{name} refers to itself, and a table has no recursive types")
        if found == NULL:
            if name in _AVRO_TYPES:
                _refuse(path, f'the parts of this {name} are missing; they stand in an object: {{"type": "{name}", …}}')
            _refuse(path, f"there is no Avro type {_told(name)}{did_you_mean(name, [*_AVRO_TYPES, *self.names])}")
        return found

    def _named(self, node: Mapping[str, object], kind: str, path: Path, space: str, depth: int) -> Type:
        name, own = node.get("name", "Record" if not depth else None), node.get("namespace")
        if not isinstance(name, str) or not is_avro_name(name):
            _refuse(
                (*path, "name") if "name" in node else path,
                f"{_told(name)} is not a valid name for Avro's {kind}; names have letters, digits and _",
            )
        if own is not None and not (isinstance(own, str) and (not own or is_avro_name(own))):
            _refuse((*path, "namespace"), f"{_told(own)} is not a namespace; they are names with dots between")
        inside = name.rpartition(".")[0] or (space if own is None else own)
        full = name if "." in name or not inside else f"{inside}.{name}"
        if full in self.names:
            _refuse(path, f"there are two types called {full}; give one of them another name")
        self.names[full] = None
        self.names[full] = found = self._parts(node, kind, path, inside, depth)
        return found

    def _parts(self, node: Mapping[str, object], kind: str, path: Path, space: str, depth: int) -> Type:
        part = {"record": "fields", "enum": "symbols", "fixed": "size"}[kind]
        if part not in node:
            _refuse(path, f'this {kind} has no "{part}"')
        given, where = node[part], (*path, part)
        if kind == "fixed":
            if not isinstance(given, int) or isinstance(given, bool) or given < 1:
                _refuse(where, f"the size of a fixed is a number of bytes, not {_told(given)}")
            return _decimal(node, given, path) if node.get("logicalType") == "decimal" else Scalar("fixed", (given,))
        if not isinstance(given, (list, tuple)):
            _refuse(where, f"the {part} of this {kind} are a list, not {_told(given)}")
        if kind == "enum":
            for n, symbol in enumerate(given):
                if not isinstance(symbol, str) or not is_avro_name(symbol, dots=False) or symbol in given[:n]:
                    what = "stands there twice" if isinstance(symbol, str) and symbol in given[:n] else "is not a symbol"
                    _refuse((*where, n), f"{_told(symbol)} {what}; symbols have letters, digits and _")
            return Scalar("enum", tuple(given))
        fields: dict[str, Field] = {}
        for n, inner in enumerate(given):
            found = self._field(inner, (*where, n), space, depth)
            if found.name in fields:
                _refuse((*where, n), f"there are two fields called {found.name}")
            fields[found.name] = found
        if not fields and depth and self.form in _COLUMNS:
            _refuse(path, f"a record without fields cannot be written to {_COLUMNS[self.form]}")
        return Struct(tuple(fields.values()))

    def _field(self, node: object, path: Path, space: str, depth: int) -> Field:
        if not isinstance(node, Mapping) or not isinstance(node.get("name"), str) or "type" not in node:
            _refuse(path, f'a field is an object that has "name" and "type", not {_told(node)}')
        if not is_avro_name(node["name"], dots=False):
            _refuse(
                (*path, "name"),
                f"{_told(node['name'])} is not a valid name for Avro's fields, which have letters, digits and _",
            )
        kind, where = node["type"], (*path, "type")
        if isinstance(kind, str) and kind in ("array", "map", *_AVRO_NAMED) and kind not in self.names:
            _refuse(where, f'the parts of this {kind} stand in an object of their own: "type": {{"type": "{kind}", …}}')
        slot, default = self.type_of(kind, where, space, depth + 1), node.get("default")
        return Field(node["name"], slot, None if default is None else _default(node["name"], slot, default, path))

    def _union(self, nodes: Any, path: Path, space: str, depth: int) -> Slot:
        null_at, options, seen = None, [], set()
        for n, node in enumerate(nodes):
            where = (*path, n)
            if isinstance(node, (list, tuple)):
                _refuse(where, "a union holds no union")
            found = self.type_of(node, where, space, depth + 1).type
            sort = _sort(found, node)
            if sort in seen:
                _refuse(where, f"the union has {_told(sort)} twice")
            seen.add(sort)
            if found == NULL:
                null_at = n
            else:
                options.append(found)
        if not options:
            return Slot(NULL, null_at)
        if len(options) == 1 and null_at is not None:
            return Slot(options[0], null_at)
        if self.form in _COLUMNS:
            _refuse(path, f"a union cannot be written to {_COLUMNS[self.form]}; give one type")
        return Slot(OneOf(tuple(options)), null_at)


def _sort(type_: Type, node: object) -> str:
    """What there may be but one of in a union: named types count by their names, others by their kinds."""
    while isinstance(node, Mapping) and not isinstance(node.get("type"), str) and "type" in node:
        node = node["type"]
    if isinstance(node, Mapping):
        return str(node.get("name", node.get("type")))
    return str(node)


def _decimal(node: Mapping[str, object], size: int, path: Path) -> Scalar:
    precision, scale = node.get("precision"), node.get("scale", 0)
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (precision, scale))
    if not whole or not 0 <= scale <= precision <= 76 or not precision:  # type: ignore[operator]
        _refuse(path, "a decimal needs a precision (1 to 76) and a scale that is not larger")
    return Scalar("decimal", (precision, scale, size))


def _default(name: str, slot: Slot, default: object, path: Path) -> Any:
    kind = slot.type.kind if isinstance(slot.type, Scalar) else ""
    if isinstance(default, str) and kind in ("bytes", "fixed"):
        default = default.encode("latin-1", "replace")
    if kind in ("date", "time", "timestamp", "datetime", "decimal"):
        _refuse((*path, "default"), "a default other than null is not supported for a logical type")
    try:
        conform([{name: default}], Struct((Field(name, slot),)))
    except RecordError as error:
        _refuse((*path, "default"), str(error).replace("as the schema says", "as its type says"))
    return default


_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_avro_name(name: str, dots: bool = True) -> bool:
    return all(map(_AVRO_NAME.fullmatch, name.split(".") if dots else [name]))


_TO_AVRO: Json = {
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

_UNITS = {3: "millis", 6: "micros", 9: "nanos"}


def avro_schema(struct: Struct, name: str) -> Json:
    """The Avro schema of a type that was inferred or came from a JSON Schema. Nested records are named by their field,
    in the namespace of the record around them. Raises RecordError where Avro has no such name or type."""
    space, _, last = name.rpartition(".")
    fields = []
    for f in struct.fields:
        if not _AVRO_NAME.fullmatch(f.name):
            raise RecordError(
                f"field {brief(f.name)} cannot be a name in Avro, which has letters, digits and _ only; "
                "rename it with a transform, or give a schema that makes its object a map"
            )
        inner = _avro_slot(f.slot, f"{name}.{f.name}")
        fields.append({"name": f.name, "type": inner, **({"default": None} if f.slot.null_at == 0 else {})})
    schema: Json = {"type": "record", "name": last}
    return schema | ({"namespace": space} if space else {}) | {"fields": fields}


def _avro_slot(slot: Slot, name: str) -> Any:
    if isinstance(slot.type, OneOf):
        options = [_avro_type(option, f"{name}.option{n}") for n, option in enumerate(slot.type.options)]
        return options if slot.null_at is None else [*options[: slot.null_at], "null", *options[slot.null_at :]]
    inner = _avro_type(slot.type, name)
    return inner if slot.null_at is None else [inner, "null"] if slot.null_at else ["null", inner]


def _avro_type(type_: Type, name: str) -> Any:
    if isinstance(type_, Struct):
        return avro_schema(type_, name)
    if isinstance(type_, ListOf):
        return {"type": "array", "items": _avro_slot(type_.items, name)}
    if isinstance(type_, MapOf):
        return {"type": "map", "values": _avro_slot(type_.values, name)}
    assert isinstance(type_, Scalar), "a union holds no union"
    if type_.kind in _TO_AVRO:
        return _TO_AVRO[type_.kind]
    if type_.kind == "uuid":
        return {"type": "string", "logicalType": "uuid"}
    if type_.kind in ("fixed", "enum"):
        space, _, last = name.rpartition(".")
        part = {"size": type_.size[0]} if type_.kind == "fixed" else {"symbols": list(type_.size)}
        return {"type": type_.kind, "name": last, **({"namespace": space} if space else {}), **part}
    if type_.kind == "decimal":
        return {"type": "bytes", "logicalType": "decimal", "precision": type_.size[0], "scale": type_.size[1]}
    if type_.kind in ("time", "timestamp", "datetime"):
        unit, prefix = _UNITS[type_.size[0]], {"datetime": "local-timestamp"}.get(type_.kind, type_.kind)
        return {
            "type": "int" if (type_.kind, unit) == ("time", "millis") else "long",
            "logicalType": f"{prefix}-{unit}",
        }
    raise RecordError(f"Avro has no type for {type_.kind}; use int64 or a decimal")
