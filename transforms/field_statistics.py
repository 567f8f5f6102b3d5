r"""What the fields of records hold: how often they are there, of which types, how many different values, from what to what.

Records are looked at column by column, a batch at a time. What is found of some records and of others is merged into what
would be found of all: the result depends on the records of each range alone, and neither on their batches nor on who looked
at them. A field is a path as the transform `fields` has it: `seller.town`, `offers[].price`, `a\.b`.

Values are in one order: booleans, then numbers by their value, dates and times, and texts by their characters. Numbers that are
equal are one value, whatever their type.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timezone
from decimal import Context, Decimal
from itertools import chain
from math import isinf
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from exporters_beam.records import Json
from exporters_beam.transforms.distinct import Distinct, of_bytes, of_numbers
from exporters_beam.transforms.fields.paths import EACH, Path, parsed, written

MOST_FIELDS = 250
"""Statistics of so many fields are kept: of more those that are less deep, and by their names the first of these."""

DEEPEST = 10
"""Fields that are deeper in the record than that are left out."""

LONGEST = 64
"""So many characters of the least and the greatest text are kept."""

LONGEST_PATH = 256
"""Fields whose path has more characters are left out."""

DIGITS = 40
"""Numbers with more digits are rounded to so many for the least and the greatest."""

_ROUNDED = Context(prec=DIGITS, Emax=999_999_999, Emin=-999_999_999)

BOOLEANS, NUMBERS, TIMES, TEXTS = range(4)

Extreme = tuple[int, Any]
"""Which kind of value it is, in their order, and the value: comparable with any other."""

_NAMES: dict[type, str] = {
    type(None): "null", bool: "boolean", int: "integer", float: "number", Decimal: "decimal", str: "text", datetime: "datetime",
    date: "date", time: "time", dict: "mapping", list: "list", tuple: "list", bytes: "bytes", bytearray: "bytes", UUID: "uuid",
}  # fmt: skip

_KINDS: tuple[tuple[type, str], ...] = (
    *((kind, _NAMES[kind]) for kind in (bool, int, float, Decimal, str, datetime, date, time, list, tuple, bytes, UUID)),
    (Mapping, "mapping"),
)


def type_name(kind: type) -> str:
    """What a type is called: a name of `_NAMES`, or other.

    >>> type_name(int), type_name(dict), type_name(complex)
    ('integer', 'mapping', 'other')
    """
    return _NAMES.get(kind) or next((name for base, name in _KINDS if issubclass(kind, base)), "other")


class Place(NamedTuple):
    """Where a field came first: unit, range, and its number among the top-level fields there."""

    unit: int = 0
    range: int = 0
    number: int = 0


class Field:
    """What is known of one field."""

    __slots__ = ("distinct", "empty", "first", "least", "longest", "most", "nan", "null", "shortest", "types")

    def __init__(self, first: Place = Place()) -> None:  # noqa: B008
        self.first = first
        self.null = self.empty = self.nan = 0
        self.types: dict[str, int] = {}
        self.least: Extreme | None = None
        self.most: Extreme | None = None
        self.shortest: int | None = None
        self.longest: int | None = None
        self.distinct = Distinct()

    @property
    def present(self) -> int:
        """How often it has a value that is not null."""
        return sum(self.types.values())

    def bounds(self, least: Extreme, most: Extreme) -> None:
        """Values between these were seen."""
        self.least = least if self.least is None else min(self.least, least)
        self.most = most if self.most is None else max(self.most, most)

    def lengths(self, found: Iterable[int]) -> None:
        """Texts, lists or bytes of these lengths were seen."""
        found = list(found)
        shortest, longest = min(found), max(found)
        self.shortest = shortest if self.shortest is None else min(self.shortest, shortest)
        self.longest = longest if self.longest is None else max(self.longest, longest)

    def merge(self, other: Field) -> None:
        self.first = min(self.first, other.first)
        self.null += other.null
        self.empty += other.empty
        self.nan += other.nan
        for name, n in other.types.items():
            self.types[name] = self.types.get(name, 0) + n
        if other.least is not None and other.most is not None:
            self.bounds(other.least, other.most)
        if other.shortest is not None and other.longest is not None:
            self.lengths((other.shortest, other.longest))
        self.distinct.merge(other.distinct)

    def dump(self) -> list[Any]:
        extremes = [None if each is None else _written(each) for each in (self.least, self.most)]
        numbers = [self.null, self.empty, self.nan, self.shortest, self.longest]
        return [list(self.first), numbers, sorted(self.types.items()), *extremes, *self.distinct.dump()]

    @classmethod
    def load(cls, told: Sequence[Any]) -> Field:
        first, numbers, types, least, most, few, registers = told
        found = cls(Place(*first))
        found.null, found.empty, found.nan, found.shortest, found.longest = numbers
        found.types = dict(types)
        found.least, found.most = (None if each is None else _read(each) for each in (least, most))
        found.distinct = Distinct(few, bytes.fromhex(registers))
        return found


class FieldStatistics:
    """The statistics of the fields of some records.

    Of all fields, or of those that `chosen` names and all below them; of top-level fields those `without` are passed over, and
    all but those in `only` where that is not None.
    """

    def __init__(
        self, chosen: Sequence[str] | None = None, only: frozenset[str] | None = None, without: frozenset[str] = frozenset()
    ) -> None:
        self.records = 0
        self.fields: dict[Path, Field] = {}
        self.left_out = Distinct()
        self.chosen = None if chosen is None else list(chosen)
        self._paths = None if chosen is None else [parsed(path) for path in chosen]
        self._only, self._without = only, without
        self._tops: dict[str, int] = {}
        self._last: Any = None

    def add(self, records: Sequence[Any]) -> None:
        """Look at records."""
        self.records += len(records)
        for name, values in _columns(records).items():
            if name in self._without or (self._only is not None and name not in self._only):
                continue
            number = self._tops.get(name, len(self._tops))
            if number < MOST_FIELDS:
                self._tops[name] = number
            self._column((name,), values, Place(0, 0, number))

    def _wanted(self, path: Path) -> tuple[bool, bool]:
        """Whether a field is told of, and whether one below it may be."""
        if self._paths is None:
            return True, True
        told = any(path[: len(each)] == each for each in self._paths)
        return told, told or any(each[: len(path)] == path for each in self._paths)

    def _field(self, path: Path, first: Place) -> Field | None:
        """The field, None where it is left out."""
        found = self.fields.get(path)
        if found is not None:
            return found
        if _too_long(path) or (self._last is not None and _order(path) > self._last):
            self._leave_out(path)
            return None
        self.fields[path] = Field(first)
        self._cut()
        return self.fields.get(path)

    def _cut(self) -> None:
        """Leave out what is too much."""
        if len(self.fields) < MOST_FIELDS:
            return
        order = sorted(self.fields, key=_order)
        for path in order[MOST_FIELDS:]:
            del self.fields[path]
            self._leave_out(path)
        self._last = _order(order[MOST_FIELDS - 1])

    def _leave_out(self, path: Path) -> None:
        self.left_out.add(of_bytes([written(path).encode("utf-8", "surrogatepass")]))

    def _column(self, path: Path, values: Sequence[Any], first: Place) -> None:
        told, below = self._wanted(path)
        if not below:
            return
        field = self._field(path, first) if told else None
        if told and field is None and _too_long(path):
            return
        kinds = Counter(map(type, values))
        for kind, count in kinds.items():
            some: Any = values if len(kinds) == 1 else [value for value in values if type(value) is kind]
            name = type_name(kind)
            if field is not None:
                _look(field, name, count, some)
            if name == "mapping":
                for key, members in _columns(some).items():
                    self._column((*path, key), members, first)
            elif name == "list":
                members = list(chain.from_iterable(some))
                if members:
                    self._column((*path, EACH), members, first)

    def merge(self, other: FieldStatistics) -> None:
        """Add what is known of other records."""
        self.records += other.records
        self.left_out.merge(other.left_out)
        for path, field in other.fields.items():
            found = self._field(path, field.first)
            if found is not None:
                found.merge(field)

    def at(self, unit: int, number: int) -> FieldStatistics:
        """The same, of the records of this range."""
        for field in self.fields.values():
            field.first = Place(unit, number, field.first.number)
        return self

    def dump(self) -> bytes:
        """What `load` reads again; equal for equal records."""
        fields = [(path, self.fields[path].dump()) for path in sorted(self.fields, key=_order)]
        told = [self.chosen, self.records, self.left_out.dump(), fields]
        return zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 1)

    @classmethod
    def load(cls, data: bytes) -> FieldStatistics:
        chosen, records, (few, registers), fields = json.loads(zlib.decompress(data))
        found = cls(chosen)
        found.records = records
        found.left_out = Distinct(few, bytes.fromhex(registers))
        found.fields = {tuple(path): Field.load(told) for path, told in fields}
        found._cut()
        return found

    def as_dict(self) -> Json:
        """As the manifest tells it: the fields in the order in which they came, what is in a field behind it."""
        tops: dict[str | None, Place] = {}
        for path, field in self.fields.items():
            tops[path[0]] = min(field.first, tops.get(path[0], field.first))
        order = sorted(self.fields, key=lambda path: (tops[path[0]], _parts(path)))
        left_out = self.left_out.count()
        return {
            "records": self.records,
            "fields": {written(path): _told(self.fields[path], path, self.records) for path in order},
            **({"left_out": left_out} if left_out else {}),
        }


def _parts(path: Path) -> tuple[tuple[bool, str], ...]:
    """The parts of a path, for sorting."""
    return tuple((part is EACH, part or "") for part in path)


def _order(path: Path) -> tuple[int, tuple[tuple[bool, str], ...]]:
    """By which fields are chosen, where there are too many."""
    return len(path), _parts(path)


def _too_long(path: Path) -> bool:
    return len(path) > DEEPEST or sum(len(part or "") for part in path) > LONGEST_PATH


def _columns(records: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """The values of each field, in the order of the fields' first records."""
    names = tuple(records[0]) if records else ()
    if all(map(names.__eq__, map(tuple, records))) and {*map(type, names)} <= {str}:
        return {name: list(map(itemgetter(name), records)) for name in names}
    alike: dict[tuple[Any, ...], list[Any]] = {}
    for record in records:
        alike.setdefault(tuple(record), []).append(record)
    found: dict[str, list[Any]] = {}
    for names, own in alike.items():
        for name in names:
            found.setdefault(str(name), []).extend(map(itemgetter(name), own))
    return dict(found)


def _look(field: Field, name: str, count: int, values: Sequence[Any]) -> None:
    """Look at values of one type, which is called `name`."""
    if name == "null":
        field.null += count
        return
    field.types[name] = field.types.get(name, 0) + count
    if name == "list":
        field.lengths(map(len, values))
    elif name in _LOOKS:
        _LOOKS[name](field, values)


def _texts(field: Field, values: Sequence[str]) -> None:
    unique = set(values)
    if "" in unique:
        field.empty += sum(not value for value in values)
    field.lengths(map(len, unique))
    field.bounds((TEXTS, min(unique)[: LONGEST + 1]), (TEXTS, max(unique)[: LONGEST + 1]))
    try:
        data = list(map(str.encode, unique))
    except UnicodeEncodeError:
        data = [value.encode("utf-8", "surrogatepass") for value in unique]
    field.distinct.add(of_bytes(data))


def _bytes(field: Field, values: Sequence[bytes]) -> None:
    field.lengths(map(len, values))
    field.distinct.add(of_bytes([b"bytes " + value for value in set(map(bytes, values))]))


def _booleans(field: Field, values: Sequence[bool]) -> None:
    unique = set(map(bool, values))
    field.bounds((BOOLEANS, min(unique)), (BOOLEANS, max(unique)))
    field.distinct.add(of_bytes([b"boolean %d" % value for value in unique]))


_INTEGER, _FRACTION = 0x9E3779B97F4A7C15, 0x6A09E667F3BCC909

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def _integers(field: Field, values: Iterable[int]) -> None:
    unique = set(values)
    least, most = min(unique), max(unique)
    field.bounds(_number(least), _number(most))
    if least < _SMALLEST or most > _LARGEST:
        field.distinct.add(of_bytes([_large(value) for value in unique if not _SMALLEST <= value <= _LARGEST]))
        unique = {value for value in unique if _SMALLEST <= value <= _LARGEST}
    found = np.fromiter(unique, np.int64, len(unique)).view(np.uint64)
    field.distinct.add(of_numbers(found, _INTEGER))


def _numbers(field: Field, values: Sequence[float]) -> None:
    unique = {float(value) for value in values if value == value}
    field.nan += sum(value != value for value in values)
    whole = {int(value) for value in unique if value.is_integer()}
    if whole:
        _integers(field, whole)
    rest = {value for value in unique if not value.is_integer()}
    if rest:
        field.bounds((NUMBERS, min(rest)), (NUMBERS, max(rest)))
        found = np.fromiter(rest, np.float64, len(rest)).view(np.uint64)
        field.distinct.add(of_numbers(found, _FRACTION))


def _decimals(field: Field, values: Sequence[Decimal]) -> None:
    finite = {value for value in values if value.is_finite()}
    field.nan += sum(value.is_nan() for value in values)
    _numbers_of(field, {float(value) for value in values if value.is_infinite()})
    whole, near, rest = set(), set(), set()
    for value in finite:
        if value.adjusted() < 400 and value == value.to_integral_value():
            whole.add(int(value))
        elif (nearest := float(value)) and not isinf(nearest) and Decimal(repr(nearest)) == value:
            near.add(nearest)
        else:
            rest.add(value)
    if whole:
        _integers(field, whole)
    _numbers_of(field, near)
    if rest:
        rounded = sorted(map(_ROUNDED.plus, rest))
        field.bounds((NUMBERS, rounded[0]), (NUMBERS, rounded[-1]))
        field.distinct.add(of_bytes([b"decimal " + _canonical(value).encode() for value in rest]))


def _numbers_of(field: Field, values: set[float]) -> None:
    if values:
        _numbers(field, list(values))


def _canonical(value: Decimal) -> str:
    """The same text for decimals that are equal."""
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    short = text.rstrip("0")
    return f"{'-' * sign}{short}E{int(exponent) + len(text) - len(short)}"


def _large(value: int) -> bytes:
    """An integer beyond 64 bits."""
    return b"integer %x" % value


def _number(value: int) -> Extreme:
    """An integer as the least or the greatest: of very large ones the first digits."""
    return (NUMBERS, value) if abs(value) < 10**DIGITS else (NUMBERS, _ROUNDED.create_decimal(value))


def _dates(field: Field, values: Sequence[Any]) -> None:
    unique = {_moment(value) for value in values}
    field.bounds((TIMES, min(unique)), (TIMES, max(unique)))
    field.distinct.add(of_bytes([b"time " + value.encode() for value in unique]))


def _moment(value: Any) -> str:
    if isinstance(value, datetime) and value.utcoffset() is not None:
        try:
            value = value.astimezone(timezone.utc)
        except OverflowError:  # At the ends of the calendar.
            return str(value.isoformat())
    return str(value.isoformat())


def _uuids(field: Field, values: Sequence[UUID]) -> None:
    field.distinct.add(of_bytes([b"uuid " + value.bytes for value in set(values)]))


_LOOKS: dict[str, Callable[[Field, Any], None]] = {
    "boolean": _booleans, "integer": _integers, "number": _numbers, "decimal": _decimals, "text": _texts, "bytes": _bytes,
    "date": _dates, "datetime": _dates, "time": _dates, "uuid": _uuids,
}  # fmt: skip


def _written(extreme: Extreme) -> list[Any]:
    kind, value = extreme
    if kind == NUMBERS:
        return [kind, type_name(type(value)), str(value) if isinstance(value, (int, Decimal)) else repr(value)]
    return [kind, "", value]


def _read(told: Sequence[Any]) -> Extreme:
    kind, name, value = told
    made: dict[str, Callable[[Any], Any]] = {"integer": int, "number": float, "decimal": Decimal}
    return kind, made[name](value) if name else value


def _told(field: Field, path: Path, records: int) -> Json:
    """A field as the manifest tells it."""
    present = field.present
    found: Json = {"present": present, "null": field.null}
    if EACH not in path:
        found["missing"] = records - present - field.null
    found["types"] = dict(sorted(field.types.items(), key=lambda each: (-each[1], each[0])))
    if field.types.keys() - {"mapping", "list", "other"}:
        found["distinct"] = min(field.distinct.count(), present)
    if field.least is not None and field.most is not None:
        found |= {"min": _shown(field.least), "max": _shown(field.most)}
    if field.shortest is not None:
        found["length"] = {"min": field.shortest, "max": field.longest}
    return found | ({"empty": field.empty} if field.empty else {}) | ({"nan": field.nan} if field.nan else {})


def _shown(extreme: Extreme) -> Any:
    """The least or the greatest value as JSON has it: what was cut ends with …, and what JSON has no number for is text."""
    kind, value = extreme
    if kind == TEXTS and len(value) > LONGEST:
        return value[:LONGEST] + "…"
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, float) and isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
