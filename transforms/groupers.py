"""Groupers: the values that divide records among files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from exporters_beam.components.options import option
from exporters_beam.decimals import text_of
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import UNKNOWN, Key, Record
from exporters_beam.transforms.callables import Loaded
from exporters_beam.transforms.chance import Chance, apart
from exporters_beam.transforms.expressions.compile import compile_option
from exporters_beam.transforms.expressions.dialects import DIALECT, as_read
from exporters_beam.transforms.expressions.reads import fields_read, is_steady


def as_text(value: object) -> str:
    """A group value as text: numbers and booleans as Python prints them, null as `unknown`, dates as ISO 8601, mappings
    and lists as JSON with sorted keys. Raises RecordError for values that are not the same in every run.

    >>> as_text(True), as_text(2), as_text(None), as_text({"b": [1], "a": "é"})
    ('True', '2', 'unknown', '{"a":"é","b":[1]}')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return UNKNOWN
    if isinstance(value, (int, float, complex, Decimal, UUID)):
        return text_of(value)
    if isinstance(value, (Mapping, list, tuple)):
        try:
            return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=as_text)
        except (TypeError, ValueError, RecursionError) as error:
            raise RecordError(f"a group value cannot be written as JSON: {error}") from None
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    raise RecordError(f"a group value is of type {type(value).__name__}; it has to be text, a number, null or a date")


@dataclass(frozen=True, kw_only=True)
class NoGrouper:
    """Put all records in one group: the same as no grouper.

    Example:
        grouper: {name: none}
    """

    kind: ClassVar[str] = "grouper"
    size: ClassVar[int] = 0

    def key(self, record: Record) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, kw_only=True)
class FileKeyGrouper:
    """Group records by the values of fields.

    A key is a field or, with dots, a path through mappings; a field that has the dots in its name goes first. Where there is
    no value, or null, it is `unknown`; the empty text is a value. A key of which no record has a value is warned of. Numbers
    and booleans become text as Python prints them, mappings and lists as JSON. Without keys there is one group.

    Example:
        grouper:
          name: file_key
          options: {keys: [country, seller.town]}
    """

    kind: ClassVar[str] = "grouper"
    steady: ClassVar[bool] = True

    keys: tuple[str, ...] = option("fields, or paths with dots", type="str_list", example=["country"])
    _found: tuple[Key, ...] = field(init=False, repr=False, compare=False, default=())
    _only: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        found = tuple(map(Key.of, self.keys))
        object.__setattr__(self, "_found", found)
        object.__setattr__(self, "_only", found[0].single if len(found) == 1 else None)

    @property
    def size(self) -> int:
        return len(self.keys)

    @property
    def labels(self) -> tuple[str, ...]:
        """What each value of a group is called in the config."""
        return self.keys

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that decide."""
        return frozenset[str]().union(*(key.reads for key in self._found))

    def key(self, record: Record) -> tuple[str, ...]:
        if self._only is not None and record.__class__ is dict:
            value = record.get(self._only)
            return (value,) if value.__class__ is str else (as_text(value),)
        return tuple([as_text(key.value(record)) for key in self._found])


@dataclass(frozen=True, kw_only=True)
class PythonExpGrouper:
    """Group records by the values of Python expressions over `item`.

    What an expression may do is described in docs/expressions.md. Values become text as in the grouper file_key: null is
    the group `unknown`, true is `True`. An expression that cannot be evaluated for a record is an error of that record.

    Example:
        grouper:
          name: python_exp
          options: {python_expressions: ["'cheap' if item['price'] < 50 else 'dear'"]}
    """

    kind: ClassVar[str] = "grouper"

    python_expressions: tuple[str, ...] = option("one expression a value", type="str_list", example=["item['country'].lower()"])
    dialect: str = DIALECT
    _chances: tuple[Chance, ...] = field(init=False, repr=False, compare=False, default=())
    _evaluate: Any = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        found = [
            compile_option(f"python_expressions[{n}]", source, dialect=self.dialect)
            for n, source in enumerate(self.python_expressions)
        ]
        object.__setattr__(self, "_evaluate", tuple(expression.evaluate for expression in found))
        object.__setattr__(self, "_chances", tuple(each.chance for each in found if each.chance is not None))
        apart(self._chances)

    @property
    def chances(self) -> tuple[Chance, ...]:
        """What the expressions draw from: steps tell it each record's position."""
        return self._chances

    @property
    def size(self) -> int:
        return len(self.python_expressions)

    @property
    def labels(self) -> tuple[str, ...]:
        """What each value of a group is called in the config."""
        return self.python_expressions

    @property
    def expressions(self) -> tuple[str, ...]:
        return as_read(self.python_expressions, self.dialect)

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that the expressions look at; None for all."""
        return None if self.chances else fields_read(*self.expressions)

    @property
    def steady(self) -> bool:
        """Whether they are sure to say the same of equal records."""
        return is_steady(*self.expressions)

    def key(self, record: Record) -> tuple[str, ...]:
        return tuple([as_text(evaluate(record)) for evaluate in self._evaluate])

    def __getstate__(self) -> dict[str, Any]:
        return {"python_expressions": self.python_expressions, "dialect": self.dialect}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


@dataclass(frozen=True, kw_only=True)
class PythonGrouper(Loaded):
    """Group records by what a Python function of yours gives: a value, or a list of `values` of them.

    Values become text as in the grouper file_key. The function is imported on the workers, which need its package.

    Example:
        grouper:
          name: python
          options: {function: 'my_package.groups:region', values: 1}
    """

    kind: ClassVar[str] = "grouper"

    function: str = option("package.module:function", example="my_package.groups:region")
    values: int = option("how many values the function gives", type="int", default=1, minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.values < 1:
            raise ConfigError("values: at least 1")

    @property
    def size(self) -> int:
        return self.values

    def key(self, record: Record) -> tuple[str, ...]:
        found = self.call(record)
        members = tuple(found) if isinstance(found, (list, tuple)) else (found,)
        if len(members) != self.values:
            raise RecordError(f"{self.function} gave {len(members)} values; the option values says {self.values}")
        return tuple([as_text(member) for member in members])
