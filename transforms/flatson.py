"""The transform `flatson`: nested records to flat ones, by a schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exporters_beam.errors import ConfigError
from exporters_beam.options import option
from exporters_beam.records import Record, lookup
from exporters_beam.registry import did_you_mean

METHODS = ("join_values", "extract_first", "extract_key_values")


@dataclass(frozen=True, kw_only=True)
class FlatsonTransform:
    """Flatten records by a JSON Schema: its leaf properties, nested ones joined with dots, in alphabetical order.

    Fields that the schema does not declare are dropped; a missing value is null. An array becomes JSON text, or what
    `flatson_serialize` in its schema says: {method: join_values, separator: ","}, {method: extract_first} or
    {method: extract_key_values, separators: [";", ",", ":"]}.

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
        if self.flatson_schema.get("type") != "object":
            found = self.flatson_schema.get("type")
            raise ConfigError(f"flatson_schema: its type is {found!r}; it has to be object")
        object.__setattr__(self, "_leaves", tuple(sorted(_leaves(self.flatson_schema, ()), key=lambda leaf: leaf[0])))

    def map(self, record: Record) -> Record:
        return {name: serialize(lookup(record, path)) for name, path, serialize in self._leaves}

    def __getstate__(self) -> dict[str, Any]:
        return {"flatson_schema": self.flatson_schema}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


Leaf = tuple[str, tuple[str, ...], Callable[[Any], Any]]


def _leaves(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Leaf]:
    properties = schema.get("properties") or {}
    if not isinstance(properties, Mapping):
        raise ConfigError(f"flatson_schema: properties of {'.'.join(path) or 'the schema'} is no mapping")
    for name, inner in properties.items():
        way = (*path, str(name))
        if not isinstance(inner, Mapping):
            raise ConfigError(f"flatson_schema: the property {'.'.join(way)} is no mapping")
        if inner.get("type") == "object":
            yield from _leaves(inner, way)
        else:
            yield ".".join(way), way, _array(inner, ".".join(way)) if inner.get("type") == "array" else _itself


def _array(schema: Mapping[str, Any], name: str) -> Callable[[Any], Any]:
    how = schema.get("flatson_serialize")
    if how is None:
        return _json
    place = f"flatson_schema: flatson_serialize of {name}"
    method = how.get("method") if isinstance(how, Mapping) else None
    if method is None:
        raise ConfigError(f"{place} has no method; known: {', '.join(METHODS)}")
    if method == "join_values":
        separator = str(how.get("separator", ","))
        return lambda value: None if value is None else separator.join(_text(member) for member in _members(value))
    if method == "extract_first":
        return lambda value: next(iter(_members(value)), None)
    if method == "extract_key_values":
        separators = how.get("separators", (";", ",", ":"))
        if not isinstance(separators, (list, tuple)) or len(separators) != 3:
            raise ConfigError(
                f"{place}: separators has to be three texts: between objects, between fields, before values"
            )
        between, fields, before = (str(separator) for separator in separators)
        return lambda value: (
            None if value is None else between.join(_pairs(member, fields, before) for member in _members(value))
        )
    raise ConfigError(f"{place}: there is no method {method!r}{did_you_mean(str(method), METHODS)}")


def _itself(value: Any) -> Any:
    return value


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _members(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _pairs(member: Any, fields: str, before: str) -> str:
    if not isinstance(member, Mapping):
        return _text(member)
    return fields.join(f"{key}{before}{_text(member[key])}" for key in sorted(member, key=str))
