"""`contract`: what becomes of fields that a schema does not have, and of values that are not what it says.

The section `contract` stands for two transforms, behind all other steps that every writer has: one for new fields, one for
types. Each is a step with an `on_error` of its own, so what violates the contract fails, or becomes a dead letter, as any
record that fails a step.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeGuard

from exporters_beam.components.options import option
from exporters_beam.config.contract import ACCEPT, ACTIONS, DROP, FREEZE, NEW_FIELDS, TYPES, counted
from exporters_beam.errors import ConfigError, Problem, RecordError
from exporters_beam.formats.tables.given import given, is_avro
from exporters_beam.formats.tables.types import NULL, ListOf, MapOf, OneOf, Scalar, Slot, Struct, Type
from exporters_beam.records import Record
from exporters_beam.transforms.fields.paths import escaped, shown
from exporters_beam.transforms.fitting import allowed, converted, fits, is_required, known, words_for

MOST_PATHS = 50
"""So many fields are counted by name: the first of them by their names."""

_SCHEMA = (
    "a JSON Schema with properties or an Avro schema with fields, as the formatter parquet takes it, or the name of a file"
)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What records have to be when they come to the writer: the section `contract`.

    `schema` says which fields there are, of which types, and which are required. `new_fields` says what becomes of a field that
    it does not have, and `types` of a value that is not of its type, and of one that is required and missing or null: `accept`
    delivers it and tells of it, `drop` leaves the value out, `freeze` ends the export, `dead_letter` sets the record aside for
    `replay`. With `coerce` a value is converted first, where that is possible, as the transform `fields` converts it.
    """

    schema: Any = option(_SCHEMA, type="dict|str", example={"properties": {"sku": {"type": "string"}}, "required": ["sku"]})
    new_fields: str = option("what becomes of fields that the schema does not have", default=ACCEPT, choices=ACTIONS)
    types: str = option("what becomes of values that the schema does not allow", default=FREEZE, choices=ACTIONS)
    coerce: bool = option("convert values to the types of the schema, where that is possible", type="bool", default=False)

    def __post_init__(self) -> None:
        struct_of(self.schema)

    def steps(self) -> tuple[tuple[str, str, Any, dict[str, Any]], ...]:
        """The name of each step, what becomes of what it finds, its transform, and the options of that."""
        schema = read_schema(self.schema)
        of_types = {"schema": schema, "types": self.types, "coerce": self.coerce}
        of_fields = {"schema": schema, "new_fields": self.new_fields}
        return (
            (NEW_FIELDS, self.new_fields, NewFields(**of_fields), of_fields),
            (TYPES, self.types, Types(**of_types), of_types),
        )


def read_schema(schema: object) -> Any:
    """The schema, from its file where one is named. Raises ConfigError."""
    if not isinstance(schema, str):
        return schema
    try:
        with open(schema, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is not JSON: {error}"
        raise ConfigError(Problem(("schema",), f"{schema} cannot be read: {why}")) from None


def struct_of(schema: object) -> Struct:
    """The fields that a schema describes. Raises ConfigError with the place in it."""
    found = read_schema(schema)
    try:
        return given(found, "avro" if is_avro(found) else "parquet")
    except ConfigError as error:
        if not isinstance(schema, str):
            raise
        problems = (Problem(("schema",), f"{schema}: {'.'.join(map(str, p.path[1:]))}: {p.message}") for p in error.problems)
        raise ConfigError(*problems) from None


class _Counts:
    """How many records had each field in a range; of very many fields the first by their names, with all of theirs."""

    def __init__(self) -> None:
        self._found: dict[str, int] = {}

    def add(self, paths: set[str]) -> None:
        for path in paths:
            self._found[path] = self._found.get(path, 0) + 1
        if len(self._found) > 2 * MOST_PATHS:
            self._cut()

    def _cut(self) -> None:
        self._found = {path: self._found[path] for path in sorted(self._found)[:MOST_PATHS]}

    def taken(self) -> dict[str, int]:
        """What was counted since it was asked last."""
        self._cut()
        found, self._found = self._found, {}
        return found


@dataclass(frozen=True, kw_only=True)
class _Checking:
    """What both steps have."""

    kind: ClassVar[str] = "transform"

    schema: Any = option(_SCHEMA, type="dict")
    _struct: Any = field(init=False, repr=False, compare=False, default=None)
    _counts: Any = field(init=False, repr=False, compare=False, default=None)
    _is_right: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_struct", struct_of(self.schema))
        object.__setattr__(self, "_counts", _Counts())
        object.__setattr__(self, "_is_right", self._check())

    def _check(self) -> Callable[[Any], bool] | None:
        """What says yes to most records in which there is nothing to find, and to no other."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.init}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


@dataclass(frozen=True, kw_only=True)
class NewFields(_Checking):
    """Fields that the schema does not have."""

    new_fields: str = option("what becomes of them", default=ACCEPT, choices=ACTIONS)

    def counted(self) -> dict[str, int]:
        """How many records have had each new field since it was asked last."""
        return {counted(path, NEW_FIELDS, self.new_fields): n for path, n in self._counts.taken().items()}

    def _check(self) -> Callable[[Any], bool] | None:
        return known(self._struct)

    def map(self, record: Record) -> Record:
        if self._is_right(record):
            return record
        found = list(_unknown(record, self._struct, ""))
        if not found:
            return record
        if self.new_fields not in (ACCEPT, DROP):
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            what = f"{found[0][2]} is a field that the contract does not have{more}"
            raise RecordError(what + _remedy("new_fields", self.new_fields))
        self._counts.add({_without_numbers(place) for _, _, place in found})
        if self.new_fields == DROP:
            for holder, name, _ in found:
                del holder[name]
        return record


def _remedy(what: str, action: str) -> str:
    if action != FREEZE:
        return ""
    return f"; change its schema, or say with contract.{what} what becomes of it: accept, drop or dead_letter"


def _unknown(value: Any, type_: Type, place: str) -> Iterator[tuple[Any, Any, str]]:
    """What a value has that its type does not have: the mapping, the name in it, and the place in the record."""
    if isinstance(type_, Struct):
        if not isinstance(value, Mapping):
            return
        fields = {f.name: f for f in type_.fields}
        for name in value:
            if name not in fields:
                yield value, name, _below(place, name)
            elif not isinstance(value[name], (str, int, float)):
                yield from _unknown(value[name], fields[name].slot.type, _below(place, name))
    elif isinstance(type_, ListOf):
        for n, member in enumerate(value if isinstance(value, (list, tuple)) else ()):
            yield from _unknown(member, type_.items.type, f"{place}[{n}]")
    elif isinstance(type_, MapOf):
        for name in value if isinstance(value, Mapping) else ():
            yield from _unknown(value[name], type_.values.type, _below(place, name))
    elif isinstance(type_, OneOf):
        structs = [option_ for option_ in type_.options if not _is_scalar(option_)]
        if len(structs) == 1:
            yield from _unknown(value, structs[0], place)


def _is_scalar(type_: Type) -> TypeGuard[Scalar]:
    return isinstance(type_, Scalar)


def _below(place: str, name: object) -> str:
    return f"{place}.{escaped(str(name))}" if place else escaped(str(name))


def _without_numbers(place: str) -> str:
    r"""A place as a path of fields.

    >>> _without_numbers(r"offers[12].a\\[1]")
    'offers[].a\\\\[1]'
    """
    return re.sub(r"(?<!\\)\[\d+\]", "[]", place)


@dataclass(frozen=True)
class _Misfit:
    """A value that the schema does not allow: where it stands, and what is wrong. `needed`: it cannot be left out."""

    holder: Any
    name: Any
    place: str
    why: str
    needed: bool = False


@dataclass(frozen=True)
class _Judge:
    """Finds what a schema does not allow, and converts what can be converted, in place, where it has to `coerce`."""

    coerce: bool

    def of_struct(self, value: Any, struct: Struct, place: str) -> Iterator[_Misfit]:
        for f in struct.fields:
            at = _below(place, f.name)
            if f.name in value:
                yield from self._of_slot(value, f.name, f.slot, at, True)
            elif is_required(f):
                yield _Misfit(value, f.name, at, "it is required, and missing", True)

    def _of_slot(self, holder: Any, name: Any, slot: Slot, place: str, named: bool = False) -> Iterator[_Misfit]:
        """What is wrong with a member of a mapping or a list. One that is `named` by the schema and required has to stay."""
        value, needed = holder[name], named and slot.null_at is None
        if value is None:
            if slot.null_at is None and slot.type != NULL:
                yield _Misfit(holder, name, place, "it is required, and null", needed)
            return
        if _is_scalar(slot.type):
            if fits(value, slot.type):
                return
            if self.coerce:
                found = converted(value, slot.type)
                if found is not None:
                    holder[name] = found
                    return
                if value == "" and slot.null_at is not None:
                    holder[name] = None
                    return
            yield _Misfit(holder, name, place, f"{shown(value)} is not {words_for(slot.type)}, as the contract says", needed)
        elif isinstance(slot.type, OneOf):
            if not any(self._is_of(value, each) for each in slot.type.options):
                yield _Misfit(holder, name, place, f"{shown(value)} is of none of the types that the contract says", needed)
        else:
            yield from self._of_parts(holder, name, slot.type, place, needed)

    def _of_parts(self, holder: Any, name: Any, type_: Type, place: str, needed: bool) -> Iterator[_Misfit]:
        value = holder[name]
        wanted: Any = (list, tuple) if isinstance(type_, ListOf) else Mapping
        if not isinstance(value, wanted):
            words = "a list" if isinstance(type_, ListOf) else "a mapping"
            yield _Misfit(holder, name, place, f"{shown(value)} is not {words}, as the contract says", needed)
        elif isinstance(type_, Struct):
            yield from self.of_struct(value, type_, place)
        elif isinstance(type_, MapOf):
            for key in list(value):
                yield from self._of_slot(value, key, type_.values, _below(place, key))
        elif isinstance(type_, ListOf):
            if isinstance(value, tuple):
                value = holder[name] = list(value)
            for n in range(len(value)):
                yield from self._of_slot(value, n, type_.items, f"{place}[{n}]")

    def _is_of(self, value: Any, type_: Type) -> bool:
        if _is_scalar(type_):
            return fits(value, type_)
        return not any(_Judge(False)._of_parts({"": value}, "", type_, "", False))


@dataclass(frozen=True, kw_only=True)
class Types(_Checking):
    """Values that are not of the types of the schema."""

    types: str = option("what becomes of them", default=FREEZE, choices=ACTIONS)
    coerce: bool = option("convert values, where that is possible", type="bool", default=False)

    def counted(self) -> dict[str, int]:
        """How many records have had another value in each field since it was asked last."""
        return {counted(path, TYPES, self.types): n for path, n in self._counts.taken().items()}

    def _check(self) -> Callable[[Any], bool] | None:
        return allowed(Slot(self._struct, None))

    def map(self, record: Record) -> Record:
        if self._is_right(record):
            return record
        found = list(_Judge(self.coerce).of_struct(record, self._struct, ""))
        if not found:
            return record
        first = next((each for each in found if each.needed), None) if self.types == DROP else found[0]
        if first is not None and self.types != ACCEPT:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            why = ", so it cannot be dropped" if self.types == DROP else ""
            raise RecordError(f"{first.place}: {first.why}{why}{more}{_remedy('types', self.types)}")
        self._counts.add({_without_numbers(each.place) for each in found})
        if self.types == DROP:
            for each in reversed(found):  # Of a list the last ones first.
                del each.holder[each.name]
        return record
