"""The grouper `partition`: folders named after values, as Hive, Spark, Arrow and DuckDB read them again."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from exporters_beam.components.names import HIVE_NULL, Folders, escaped_for_hive
from exporters_beam.components.options import option
from exporters_beam.components.times import EPOCHS, minute_of, no_time, time_of, zone_of
from exporters_beam.components.words import did_you_mean, in_json, shortened
from exporters_beam.decimals import text_of
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import UNKNOWN, Key, Record
from exporters_beam.transforms.results import described

HIVE = "hive"

REMOVE, KEEP = ("remove", "keep")

YEAR, MONTH, DAY, HOUR = TIMES = ("year", "month", "day", "hour")
"""The functions of times: each is written with those before it, 2026-11-28-14."""

_LENGTHS = {YEAR: 4, MONTH: 7, DAY: 10, HOUR: 13}
"""How much of a time each of them is."""

LONGEST = 255
"""Bytes of the name of a folder: no file system of ours takes more."""


class Part(NamedTuple):
    """A level of folders: its name, the field that its values come from, and what makes texts of these."""

    name: str
    source: str
    key: Key
    text: Callable[[Any], str | None]
    plain: bool


@dataclass(frozen=True, kw_only=True)
class PartitionGrouper:
    """Divide records among folders by the values of fields: `country=DK/day=2026-11-28/`. `partition_by` stands for it.

    A member of `fields` is a field or, with dots, a path through mappings; `{day: scraped_at}` is a function of a time,
    `year`, `month`, `day` or `hour`, which gives `2026`, `2026-11`, `2026-11-28` or `2026-11-28-14`. `{field: seller.town, as:
    town}` and `{day: scraped_at, as: scraped}` give another name. Folders stand behind the folder of the writer's
    `filebase`, in the order of `fields`.

    In the style of Hive (`style: hive`) a folder is the name, =, and the value as Hive writes it: true and false, numbers,
    dates as `2026-11-28`, times as `2026-11-28 14:00:00`; null, what is missing and the empty text, which Hive does not tell
    apart, as `__HIVE_DEFAULT_PARTITION__`. Characters with a meaning in paths are escaped as %XX. A field whose value stands
    in the path is not in the files, unless `columns: keep` is given. Lists, mappings, and values that make names of more than
    255 bytes are errors of the record, and so is a field of a name that a folder has for something else.

    A template, `style: "{country}/{day}"`, names the folders itself; then null is `unknown`, values are made safe for paths
    as those of other groupers, and fields stay in the files unless `columns: remove` is given.

    A time is a date, a datetime, or such a text in ISO 8601; `zone` is where the day begins: times with a zone are converted to
    it, those without one are taken as they stand. A number is a time where `epoch` says in which unit it counts from 1970 on.

    Example:
        grouper:
          name: partition
          options: {fields: [country, {day: scraped_at}], zone: Europe/Copenhagen}
    """

    kind: ClassVar[str] = "grouper"
    steady: ClassVar[bool] = True

    fields: tuple[Any, ...] = option("fields, paths with dots, or functions of times", type="list",
                                     example=["country", {"day": "scraped_at"}])  # fmt: skip
    style: str = option("hive, or a template of folders with the names in braces", default=HIVE, example="{country}/{day}")
    columns: str | None = option("whether fields that stand in the path are kept in the files too; by default they are kept "
                                 "with a template alone", type="str", default=None, choices=(REMOVE, KEEP))  # fmt: skip
    zone: str = option("the time zone of years, months, days and hours", default="UTC", example="Europe/Copenhagen")
    epoch: str | None = option("what times that are numbers count, since 1970", type="str", default=None,
                               choices=tuple(EPOCHS))  # fmt: skip
    _parts: tuple[Part, ...] = field(init=False, repr=False, compare=False, default=())
    _taken: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        zone = zone_of(self.zone)
        parts = tuple(_part(n, given, zone, self.epoch) for n, given in enumerate(self.fields))
        if not parts:
            raise ConfigError("fields: name at least one field")
        for n, part in enumerate(parts):
            if part.name in [other.name for other in parts[:n]]:
                raise ConfigError(f"fields[{n}]: another one is called {part.name} already; give it a name: "
                                  f"{{field: {part.source}, as: …}}")  # fmt: skip
        object.__setattr__(self, "_parts", parts)
        object.__setattr__(self, "_taken", tuple(p.name for p in parts if p.name != p.source) if self.hive else ())
        if self.hive:
            for n, part in enumerate(parts):
                if not part.plain and part.name == part.source:
                    raise ConfigError(f"fields[{n}]: the field {part.source} stays in the files, and folders cannot have its "
                                      "name for something else; give them another one with as")  # fmt: skip
                _check_length(f"fields[{n}]", part.name, HIVE_NULL)
        else:
            _check_template(self.style, [part.name for part in parts])

    @property
    def hive(self) -> bool:
        return self.style == HIVE

    @property
    def size(self) -> int:
        return len(self._parts)

    @property
    def folders(self) -> Folders:
        """The folders that files stand in, as a part of `filebase`."""
        if self.hive:
            names = (escaped_for_hive(part.name).replace("{", "{{").replace("}", "}}") for part in self._parts)
            return Folders("/".join(f"{name}={{groups[{n}]}}" for n, name in enumerate(names)), True)
        numbers = {part.name: n for n, part in enumerate(self._parts)}
        made = ""
        for text, name, _, _ in string.Formatter().parse(self.style):
            made += text.replace("{", "{{").replace("}", "}}") + ("" if name is None else f"{{groups[{numbers[name]}]}}")
        return Folders(made.strip("/"), False)

    @property
    def removed(self) -> frozenset[str]:
        """The fields that are not in the files, since the path tells their values."""
        if (self.columns or (REMOVE if self.hive else KEEP)) == KEEP:
            return frozenset()
        return frozenset(part.source for part in self._parts if part.plain)

    @property
    def nothing(self) -> str:
        """What stands in the place of null."""
        return HIVE_NULL if self.hive else UNKNOWN

    @property
    def labels(self) -> tuple[str, ...]:
        """What each value of a group is called in the config."""
        return tuple(part.source for part in self._parts)

    @property
    def reads(self) -> frozenset[str]:
        """The top-level fields that decide."""
        return frozenset(self._taken).union(*(part.key.reads for part in self._parts))

    def key(self, record: Record) -> tuple[str, ...]:
        for name in self._taken:
            if name in record:
                raise RecordError(f"the record has a field {name}, and partitions are called {name} for something else; give "
                                  "them another name with as")  # fmt: skip
        return tuple([self._value(part, part.key.value(record)) for part in self._parts])

    def _value(self, part: Part, value: object) -> str:
        try:
            text = part.text(value)
        except RecordError as error:
            raise RecordError(f"{part.source}: {error}") from None
        if text is None or (self.hive and not text):
            return self.nothing
        return _as_folder(part.source, part.name, text) if self.hive else text

    def __getstate__(self) -> dict[str, Any]:
        names = ("fields", "style", "columns", "zone", "epoch")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


def _part(n: int, given: object, zone: tzinfo, epoch: str | None) -> Part:
    """A member of `fields`. Raises ConfigError with the place of what is wrong."""
    place, function, name = f"fields[{n}]", "field", None
    if isinstance(given, Mapping):
        known = ("field", *TIMES, "as")
        for key in given:
            if key not in known:
                raise ConfigError(f"{place}.{key}: unknown key{did_you_mean(str(key), known)}")
        functions = [key for key in given if key != "as"]
        if len(functions) != 1:
            raise ConfigError(f"{place}: it has to name one field: {{day: scraped_at}}, or {{field: seller.town, as: town}}")
        (function,) = functions
        name, place, given = given.get("as"), f"{place}.{function}", given[function]
    if not isinstance(given, str) or not given:
        raise ConfigError(f"{place}: {in_json(given, 100)} is not the name of a field")
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigError(f"fields[{n}].as: {in_json(name, 100)} is not a name")
    text: Any = _text if function == "field" else partial(_time, function, zone, epoch)
    named = name or (given if function == "field" else function)
    return Part(named, given, Key.of(given), text, function == "field")


def _check_template(template: str, names: list[str]) -> None:
    """Raises ConfigError where a template names what there is not, or does not name a part."""
    try:
        found = [(name, spec or convert) for _, name, spec, convert in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ConfigError(f"style: {template!r} is neither hive nor a template: {error}") from None
    if not found:
        hint = '; did you mean "hive"?' if template.lower().startswith("h") else ""
        raise ConfigError(f'style: {template!r} is neither hive nor a template such as "{{{names[0]}}}"{hint}')
    for name, spec in found:
        if name not in names:
            raise ConfigError(f"style: {{{name}}} is not among the fields{did_you_mean(name, names)}")
        if spec:
            raise ConfigError(f"style: {{{name}}} takes no format; write the braces with the name alone")
    for name in names:
        if name not in [each for each, _ in found]:
            raise ConfigError(f"style: {{{name}}} is missing: records of different values would share files")
    if any(part in ("", ".", "..") for part in template.strip("/").split("/")):
        raise ConfigError(f"style: {template!r} has a folder without a name in it")


def _check_length(place: str, name: str, value: str) -> None:
    """Raises ConfigError where no folder can have this name."""
    size = len(f"{escaped_for_hive(name)}={escaped_for_hive(value)}".encode())
    if size > LONGEST:
        raise ConfigError(f"{place}: the folder {shortened(f'{name}={value}', 60)} would have a name of {size:,} bytes; file "
                          f"systems take {LONGEST}")  # fmt: skip


@lru_cache(maxsize=4096)
def _as_folder(source: str, name: str, text: str) -> str:
    """The text, if a folder can be named after it. Raises RecordError."""
    if text == HIVE_NULL:
        raise RecordError(f"{source}: {text} is what stands for null in the names of partitions")
    try:
        _check_length(source, name, text)
    except ConfigError as error:
        raise RecordError(str(error)) from None
    except UnicodeEncodeError:
        raise RecordError(f"{source}: {text!r:.100} holds half a surrogate pair, which no name can have") from None
    return text


def _text(value: object) -> str | None:
    """A value as Hive writes it in a path; None for null."""
    if value is None or value.__class__ is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (str, int, float, Decimal, UUID)):
        return text_of(value)
    raise RecordError(f"it is {described(value)}; the name of a folder is made of text, a number, a boolean, a date or null")


def _time(function: str, zone: tzinfo, epoch: str | None, value: object) -> str | None:
    """Year, month, day or hour of a time, as text; None for null."""
    if value.__class__ is str and value:
        text = str(value)
        minute = minute_of(text)
        if minute is not None:
            with suppress(RecordError):  # It is told of the whole text.
                return _of_text(function, zone, minute[0])
        return _of_text(function, zone, text)
    found = time_of(value, epoch)
    return None if found is None else _written(function, zone, found, value)


@lru_cache(maxsize=4096)
def _of_text(function: str, zone: tzinfo, text: str) -> str | None:
    found = time_of(text)
    return None if found is None else _written(function, zone, found, text)


def _written(function: str, zone: tzinfo, found: date, value: object) -> str:
    """Raises RecordError."""
    if isinstance(found, datetime):
        try:
            found = found if found.tzinfo is None else found.astimezone(zone)
        except (ValueError, OverflowError):
            raise no_time(value) from None
    elif function == HOUR:
        raise RecordError(f"{found.isoformat()} is a date, which has no hour")
    hour = f"-{found.hour:02d}" if isinstance(found, datetime) else ""
    return f"{found.year:04d}-{found.month:02d}-{found.day:02d}{hour}"[: _LENGTHS[function]]
