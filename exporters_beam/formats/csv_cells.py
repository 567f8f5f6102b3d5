"""Cells and rows of CSV that is written: the values of a record as text, quoted and escaped as options say."""

from __future__ import annotations

import base64
import csv
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from exporters_beam.decimals import plain
from exporters_beam.errors import RecordError
from exporters_beam.formats.csv_rows import Dialect
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.formats.limits import cut

LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
QUOTING = ("all", "nonnumeric", "minimal", "none")


class Unquoted:
    """A text that is written without quotes: the writer of the standard library leaves them out for what is a number."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __float__(self) -> float:
        return 0.0


SIMPLE = frozenset((str, int, float, bool, type(None)))
nested = JsonFormat().format


@lru_cache(maxsize=16)
def row_writer(delimiter: str) -> Any:
    """Makes the bytes of a row from values of simple types: what `write` returns is what `writerow` returns."""
    sink = SimpleNamespace(write=str.encode)
    return csv.writer(sink, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC, lineterminator="").writerow


class Written(Decimal):
    """A decimal for the csv module, which asks for its text."""

    def __str__(self) -> str:
        return plain(Decimal(self))


def cell(value: object, name: str) -> object:
    """A value of another type as one that is simple."""
    if isinstance(value, (dict, list)):
        return _json(value, name)
    if isinstance(value, Enum):
        return cell(value.value, name)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if value is None:
        return value
    if isinstance(value, Decimal):
        return Written(value)
    if isinstance(value, (datetime, date, time, UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return _json(value, name)


def _json(value: object, name: str) -> str:
    try:
        return nested(value).decode()
    except RecordError as error:
        reason = str(error).partition("; set allow_nan")[0]
        raise RecordError(f'in the column "{cut(name)}": {reason}') from None


@dataclass(frozen=True)
class Style:
    """How rows are written where it is not the usual way. `quotechar` and `escapechar` are "" where there is none."""

    delimiter: str = ","
    quotechar: str = '"'
    escapechar: str = ""
    quoting: str = "nonnumeric"
    null: str | None = None
    decimal: str = "."
    line_end: str = "\n"

    def row(self, values: list[Any]) -> str:
        """The text of a row of simple values, without its end. Raises RecordError, and ValueError for endless integers."""
        cells = [*map(self._cell, values)]
        if cells == [""]:
            if self.quoting == "none":
                raise RecordError(f"a row whose one value is empty would be an empty line; {_QUOTE_OR_MARK}")
            return self._quoted("")
        if self.line_end == "\n" and cells[-1].endswith("\r"):
            raise RecordError(
                f"the row ends with a carriage return, which cannot be told from the end of the line: {cut(repr(cells[-1]))}; "
                "set line_end or another quoting"
            )
        return self.delimiter.join(cells)

    def reads_null(self) -> bool:
        """Whether the marker is read as null, and nothing else is written like it."""
        assert self.null is not None
        read = Dialect(self.delimiter, "" if self.quoting == "none" else self.quotechar, self.escapechar, null=self.null)
        line = self.delimiter.join((self.null, self.null)) + "\n"
        if [row for _, row, _ in read.rows(line)] != [[None, None]]:
            return False
        return not (self.escapechar and self.null.startswith(self.escapechar * 2))

    def _cell(self, value: Any) -> str:
        if value is None and self.null is not None:
            return self.null
        number = isinstance(value, (int, float, Decimal))
        text = "" if value is None else str(value)
        if number and self.decimal != ".":
            text = text.replace(".", self.decimal)
        if self.quoting == "all" or (self.quoting == "nonnumeric" and not number):
            return self._quoted(text)
        if self.quoting == "none":
            return self._bare(text)
        special = self._special.search(text) or text == self.null or text.startswith("\ufeff")
        return self._quoted(text) if special else text

    def _quoted(self, text: str) -> str:
        quote, escape = self.quotechar, self.escapechar
        if escape:
            text = text.replace(escape, escape * 2).replace(quote, escape + quote)
        else:
            text = text.replace(quote, quote * 2)
        return f"{quote}{text}{quote}"

    def _bare(self, text: str) -> str:
        """A text without quotes around it."""
        escape = self.escapechar
        if escape:
            text = self._special.sub(lambda found: escape + found[0], text)
            return escape + text if text == self.null or text.startswith("\ufeff") else text
        if found := self._special.search(text):
            raise RecordError(f"{found[0]!r} cannot stand in a value without quotes: {cut(repr(text))}; {_QUOTE}")
        if text == self.null or text.startswith("\ufeff"):
            what = "null" if text == self.null else "a byte-order mark"
            raise RecordError(f"without quotes the text {cut(repr(text))} would be {what}; {_QUOTE}")
        return text

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """What needs quotes or an escape character. Without either, quotes are letters like others."""
        quote = "" if self.quoting == "none" and not self.escapechar else self.quotechar
        return re.compile(f"[\r\n{re.escape(self.delimiter + quote + self.escapechar)}]")


_QUOTE = "set escapechar or another quoting"
_QUOTE_OR_MARK = "set another quoting"
