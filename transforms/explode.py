"""The transform `explode`: a list becomes records."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.words import kind_of
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import Key, Record, lookup
from exporters_beam.transforms.results import described

DROP, KEEP = ("drop", "keep")

FAIL, RECORD, ELEMENT = ("fail", "record", "element")

Way = tuple[str, ...]
"""The names that lead to a value of a record."""


@dataclass(frozen=True, kw_only=True)
class ExplodeTransform:
    """Make a record of each element of a list, in its order, with the other fields of the record beside it.

    `field` is a field or, with dots, a path through mappings; a field that has the dots in its name goes first. An element
    takes the place of its list, or is called `as`, or, with `merge: true`, its own fields go behind those of the record, each
    with `prefix` before its name. A name that is taken already is an error of the record, unless `on_conflict` says whose
    value stays. `position` is a field for the number of the element, from 0. `keep` names the fields of the record that go
    along, all of them by default. A list that is missing, null or empty gives no record; with `empty: keep` it gives one,
    without an element: null takes its place, and that of the number. Anything else that is not a list is an error of the
    record, and so is, with `merge`, an element that is not a mapping. A field that no record has is warned of.

    Example:
        transform:
          name: explode
          options: {field: offers, as: offer, position: rank, keep: [sku, offers]}
    """

    kind: ClassVar[str] = "transform"

    path: str = option("the list: a field, or a path with dots", name="field", example="offers")
    called: str | None = option("what the element is called; by default it takes the place of the list", name="as", type="str",
                                default=None, example="offer")  # fmt: skip
    merge: bool = option("put the fields of the element, a mapping, into the record", type="bool", default=False)
    prefix: str = option("stands before the names of merged fields", default="", example="offer_")
    on_conflict: str = option("whose value stays where a name is taken: the record's or the element's; fail: the record is an "
                              "error", default=FAIL, choices=(FAIL, RECORD, ELEMENT))  # fmt: skip
    fields: tuple[str, ...] | None = option("fields of the record that go along; all by default", name="keep", type="str_list",
                                            default=None, example=["sku"])  # fmt: skip
    position: str | None = option("a field for the number of the element in the list, from 0", type="str", default=None,
                                  example="rank")  # fmt: skip
    empty: str = option("a list that is missing, null or empty: drop the record, or keep it without an element", default=DROP,
                        choices=(DROP, KEEP))  # fmt: skip
    _key: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("field: name the list, a field or a path with dots")
        if self.merge and self.called is not None:
            raise ConfigError("as: with merge the element has no name of its own; leave out one of the two")
        if self.prefix and not self.merge:
            raise ConfigError("prefix: it stands before merged fields; give merge: true besides")
        for name, given in (("as", self.called), ("position", self.position)):
            if given == "":
                raise ConfigError(f"{name}: the name of a field has at least one character")
        if self.position is not None and not self.merge and self.position == (self.called or self.path):
            raise ConfigError(f"position: {self.position} is what the element is called; take another name")
        object.__setattr__(self, "_key", Key.of(self.path))

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """What it looks for in records, by what the config calls it."""
        return ((self.path, self._key),)

    def flat_map(self, record: Record) -> Sequence[Any]:
        if not isinstance(record, Mapping):
            raise RecordError(f"the record is not a mapping but {kind_of(record)}; explode needs fields")
        way = _way(self._key, record)
        elements = None if way is None else lookup(record, way)
        if elements is not None and not isinstance(elements, (list, tuple)):
            raise RecordError(f"{self.path} is {described(elements)}; explode needs a list")
        if not elements and self.empty == DROP:
            return ()
        rest, place = self._rest(record, way or self._names)
        if not elements:
            return [self._numbered(_placed(rest, place, None), None)]
        last = len(elements) - 1
        found = []
        for number, element in enumerate(elements):
            made = rest if number == last else fresh(rest)
            made = self._merged(made, element, number) if self.merge else _placed(made, place, element)
            found.append(self._numbered(made, number))
        return found

    @property
    def _names(self) -> Way:
        """Where the list would be."""
        return () if self._key.single is None else (self._key.single,)

    def _rest(self, record: Mapping[str, Any], way: Way) -> tuple[Record, Way]:
        """The record that goes along with each element, without the list, and where in it the element goes: () for nowhere."""
        top, kept = way[:1], self.fields
        rest = {name: value for name, value in record.items() if kept is None or name in kept or name in top}
        stays = not self.merge and self.called is None
        if len(way) == 1:
            rest[way[0]] = None
        elif way and kept is not None and way[0] not in kept:  # What stands beside the list was not asked for.
            rest[way[0]] = _chain(way[1:])
        elif way:
            rest[way[0]] = _without(rest[way[0]], way[1:], stays)
        if stays:
            return rest, way
        if self.called is not None and self.called in rest and (self.called,) != way:
            return self._dropped(rest, way), self._taken(self.called, "as")
        if self.called is not None and len(way) == 1:
            return {self.called if name == way[0] else name: value for name, value in rest.items()}, (self.called,)
        return self._dropped(rest, way), () if self.called is None else (self.called,)

    def _dropped(self, rest: Record, way: Way) -> Record:
        """Without what stood there for the list alone."""
        if len(way) == 1 or (way and self.fields is not None and way[0] not in self.fields):
            del rest[way[0]]
        return rest

    def _taken(self, name: str, option: str) -> Way:
        """Where an element's value goes whose name the record has too. Raises RecordError."""
        if self.on_conflict == FAIL:
            raise RecordError(f"the record has a field {name}, and so has what {self.path} holds; give {option}, or say with "
                              "on_conflict whose stays: element or record")  # fmt: skip
        return (name,) if self.on_conflict == ELEMENT else ()

    def _merged(self, record: Record, element: object, number: int) -> Record:
        if not isinstance(element, Mapping):
            raise RecordError(f"{self.path}[{number}] is {described(element)}; merge needs mappings")
        added = element if not self.prefix else {f"{self.prefix}{name}": value for name, value in element.items()}
        if record.keys().isdisjoint(added):
            record.update(added)
            return record
        for name, value in added.items():
            _placed(record, self._taken(name, "prefix") if name in record else (name,), value)
        return record

    def _numbered(self, record: Record, number: int | None) -> Record:
        if self.position is not None:
            if self.position in record:
                raise RecordError(f"the record has a field {self.position} already; give position another name")
            record[self.position] = number
        return record


def _way(key: Key, record: Any, start: int = 0) -> Way | None:
    """The names that lead to what `Key.value` gives; None where there is nothing."""
    if isinstance(record, Mapping):
        for name, end in key.names[start]:
            if name in record:
                if end == len(key.names):
                    return (name,)
                inner = _way(key, record[name], end)
                if inner is not None:
                    return (name, *inner)
    return None


def _chain(way: Way) -> Any:
    """Mappings that lead nowhere but to null."""
    return {way[0]: _chain(way[1:])} if way else None


def _without(record: Mapping[str, Any], way: Way, stays: bool) -> Record:
    """The mapping without what is there; with null in its place where it `stays`."""
    name, *inner = way
    found = dict(record)
    if inner:
        found[name] = _without(found[name], tuple(inner), stays)
    elif stays:
        found[name] = None
    else:
        del found[name]
    return found


def _placed(record: Record, place: Way, value: object) -> Record:
    """The record with the value there, or as it is where that is nowhere."""
    if place:
        inner: Any = record
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
    return record


def fresh(value: Any) -> Any:
    """A copy that has no mapping and no list in common with this one: later steps may change each record by itself."""
    if value.__class__ is dict:
        return {key: inner if inner.__class__ in _SIMPLE else fresh(inner) for key, inner in value.items()}
    if value.__class__ is list:
        return [inner if inner.__class__ in _SIMPLE else fresh(inner) for inner in value]
    return value if value.__class__ in _SIMPLE else copy.deepcopy(value)


_SIMPLE = {str, int, float, bool, type(None)}
