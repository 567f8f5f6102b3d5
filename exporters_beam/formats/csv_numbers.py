"""Numbers in CSV that are written as in other countries than those of the decimal point."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.formats.limits import cut

MEMBERS: dict[str, Any] = {
    "properties": {
        "columns": {"description": "the columns that hold such numbers", "type": "array", "items": {"type": "string"}},
        "decimal": {"description": "the decimal character", "type": "string", "default": ","},
        "thousands": {"description": "the character between groups of three digits", "type": "string", "default": ""},
    },
    "required": ["columns"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Numbers:
    """Writes numbers of these columns with a point and without a character between thousands."""

    columns: tuple[str, ...] = ()
    decimal: str = ","
    thousands: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Numbers:
        """What an option says. Raises ConfigError."""
        known = ("columns", "decimal", "thousands")
        for key in given:
            if key not in known:
                raise ConfigError(f"numbers.{key}: unknown key{did_you_mean(str(key), known)}")
        columns = given.get("columns")
        if not isinstance(columns, (list, tuple)) or not columns or not all(isinstance(name, str) for name in columns):
            raise ConfigError("numbers.columns: give the names of columns as a list, such as [price, total]")
        made = cls(tuple(columns), given.get("decimal", ","), given.get("thousands", ""))
        for name, char in (("decimal", made.decimal), ("thousands", made.thousands)):
            usual = '",", "." or "\'"' if name == "thousands" else '","'
            if name == "thousands" and char == "":
                continue
            if not isinstance(char, str) or len(char) != 1 or char.isalnum() or char in "+-\r\n":
                raise ConfigError(f"numbers.{name}: {char!r} is not one character that may stand in numbers, such as {usual}")
        if made.decimal == made.thousands:
            raise ConfigError(f"numbers.thousands: {made.thousands!r} is the decimal character already")
        return made

    def lacking(self, names: Sequence[str]) -> str:
        """What is to be said where one of these columns is not among the names, else ""."""
        lacking = next((name for name in self.columns if name not in names), None)
        if lacking is None:
            return ""
        return f"column called {cut(lacking)}, which numbers.columns names{did_you_mean(lacking, sorted(names))}"

    def at(self, header: Sequence[str]) -> tuple[int, ...]:
        """Where these columns stand."""
        return tuple(n for n, name in enumerate(header) if name in self.columns)

    def rewritten(self, values: list[Any], header: Sequence[str], width: int) -> None:
        """Rewrites the numbers among the values of rows, which all have so many. Raises RecordError."""
        for n in self.at(header):
            values[n::width] = [self.plain(value, header[n]) for value in values[n::width]]

    def plain(self, value: Any, column: str) -> Any:
        """A number with a point, or what is empty or null as it is. Raises RecordError."""
        if not value or not (text := value.strip()):
            return value
        if not self._pattern.fullmatch(text):
            hint = f" and {self.thousands!r} between thousands" if self.thousands else ""
            more = "" if self.thousands else "; numbers.thousands names what stands between groups of three digits"
            raise RecordError(
                f'in the column "{cut(column)}": {cut(repr(value))} '
                f"is not a number with {self.decimal!r} for decimals{hint}{more}"
            )
        if self.thousands:
            text = text.replace(self.thousands, "")
        return text.replace(self.decimal, ".")

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        groups = f"[0-9]{{1,3}}(?:{re.escape(self.thousands)}[0-9]{{3}})+|" if self.thousands else ""
        return re.compile(f"[+-]?(?:{groups}[0-9]+)(?:{re.escape(self.decimal)}[0-9]+)?(?:[eE][+-]?[0-9]+)?")
