"""The transform `flatson`: nested records to flat ones, by a schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from itertools import pairwise
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean, kind_of
from exporters_beam.decimals import text_of
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import Record, lookup

METHODS = ("join_values", "extract_first", "extract_key_values")


@dataclass(frozen=True, kw_only=True)
class FlatsonTransform:
    """Flatten records by a JSON Schema: its leaf properties, nested ones joined with dots, in alphabetical order.

    Fields that the schema does not declare are dropped, and so are objects without `properties`. What is missing, or
    lies behind something that is not a mapping, is null. An array becomes compact JSON text with sorted keys and ASCII only,
    or what `flatson_serialize` in its schema says: {method: join_values, separator: ","} joins the members as text,
    {method: extract_first} takes the first one, {method: extract_key_values, separators: [";", ",", ":"]} joins members
    that are mappings, the separators standing between members, between fields and before values. A value that is no
    list counts as a list of one. A record that is not a mapping is an error.

    Example:
        transform:
          name: flatson
          options:
            flatson_schema:
              type: object
              properties:
                sku: {type: string}
                geo: {type: object, properties: {lat: {type: number}}}
                tags: {type: array, flatson_serialize: {method: join_values, separator: '|'}}
    """

    kind: ClassVar[str] = "transform"

    flatson_schema: dict[str, Any] = option("a JSON Schema of type object", type="dict", example={"type": "object"})
    _leaves: Any = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        if not _is(self.flatson_schema, "object"):
            found = self.flatson_schema.get("type")
            raise ConfigError(f"flatson_schema: its type is {found!r:.200}; it has to be object")
        leaves = sorted(_leaves(self.flatson_schema, ()), key=lambda leaf: leaf[0])
        for (name, *_), (following, *_) in pairwise(leaves):
            if name == following:
                raise ConfigError(f"flatson_schema: two properties would be called {name!r}")
        object.__setattr__(self, "_leaves", tuple(leaves))

    def map(self, record: Record) -> Record:
        if not isinstance(record, Mapping):
            raise RecordError(f"the record is not a mapping but {kind_of(record)}; flatson needs fields")
        return {name: serialize(lookup(record, path)) for name, path, serialize in self._leaves}

    def __getstate__(self) -> dict[str, Any]:
        return {"flatson_schema": self.flatson_schema}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


Serialize = Callable[[Any], Any]

Leaf = tuple[str, tuple[str, ...], Serialize]
"""The full name of a leaf property, the way to it, and what becomes of its value."""


def _is(schema: Mapping[str, object], kind: str) -> bool:
    """Whether a schema is of a type, alone or besides null."""
    found = schema.get("type")
    return found == kind or (isinstance(found, (list, tuple)) and [t for t in found if t != "null"] == [kind])


def _leaves(schema: Mapping[str, object], path: tuple[str, ...]) -> Iterator[Leaf]:
    properties = schema.get("properties") or {}
    if not isinstance(properties, Mapping):
        raise ConfigError(f"flatson_schema: properties of {'.'.join(path) or 'the schema'} is not a mapping")
    for key, inner in properties.items():
        way = (*path, str(key))
        name = ".".join(way)
        if not isinstance(inner, Mapping):
            raise ConfigError(f"flatson_schema: the property {name} is not a mapping")
        if _is(inner, "object"):
            yield from _leaves(inner, way)
        else:
            yield name, way, _array(inner, name) if _is(inner, "array") else _itself


def _array(schema: Mapping[str, Any], name: str) -> Serialize:
    how = schema.get("flatson_serialize")
    if how is None:
        return _json
    place = f"flatson_schema: flatson_serialize of {name}"
    method = how.get("method") if isinstance(how, Mapping) else None
    if method is None:
        raise ConfigError(f"{place} has no method; known: {', '.join(METHODS)}")
    if method == "join_values":
        separator = how.get("separator", ",")
        if not isinstance(separator, str):
            raise ConfigError(f"{place}: the separator {separator!r:.200} is not a text")
        return lambda value: None if value is None else separator.join(map(_text, _members(value)))
    if method == "extract_first":
        return lambda value: next(iter(_members(value)), None)
    if method == "extract_key_values":
        separators = how.get("separators", (";", ",", ":"))
        if not (isinstance(separators, (list, tuple)) and [*map(type, separators)] == [str, str, str]):
            raise ConfigError(f"{place}: separators has to be three texts: between members, between fields, before values")
        between, fields, before = separators
        return lambda value: (
            None if value is None else between.join(_pairs(member, fields, before) for member in _members(value))
        )
    raise ConfigError(f"{place}: there is no method {method!r:.200}{did_you_mean(str(method), METHODS)}")


def _itself(value: object) -> Any:
    return value


def _json(value: object) -> str | None:
    return None if value is None else _ascii(value)


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, (date, time)) else text_of(value)


# Made once: json.dumps makes an encoder in each call that is not a plain one.
_ascii = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_iso).encode
_unicode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_iso).encode


def _members(value: object) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, (list, tuple)) else (value,)


def _text(value: object) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return _unicode(value)
    return value if isinstance(value, str) else _iso(value)


def _pairs(member: object, fields: str, before: str) -> str:
    if not isinstance(member, Mapping):
        raise RecordError(f"extract_key_values wants mappings in the array, not {member!r:.200}")
    return fields.join(f"{key}{before}{_text(member[key])}" for key in sorted(member, key=str))
