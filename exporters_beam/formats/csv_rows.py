"""Rows of CSV: where they begin and end, and the values in them, for every dialect that the options describe.

The rules are those of RFC 4180: a value that begins with a quote ends with one, quotes inside are doubled, and nothing but
a delimiter or the end of the row follows. Whatever else stands there is an error and never a guess.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from exporters_beam.formats.limits import cut

Row = list[Any]
"""The values of a row: texts, and None where the null marker stands."""

_REFUSES_NUL = sys.version_info < (3, 11)

_MARKS = "\x1a\x1b\x1c\x01\x02"
"""Characters that texts hardly have: one of them can stand for a doubled quote."""


class Malformed(Exception):
    """What is wrong with a text, where in it, the remedy, and how many rows stand before."""

    def __init__(self, at: int, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.at, self.remedy, self.before = at, remedy, 0

    def in_line(self, line: int) -> str:
        """All of it; the number of the line helps to apply the remedy."""
        return f"{self}, in line {line}; {self.remedy}" if self.remedy else str(self)


class Quoted(NamedTuple):
    """A row that has quotes: its number in the text, where it begins and ends there, and its values."""

    number: int
    start: int
    end: int
    row: Row


class Border(NamedTuple):
    """Where behind the last whole row a text can be cut, and how many rows that count stand before.

    Where `quoted` is not None the text before is plain: all rows that have quotes are in `quoted`, every other line is a
    row, and rows end with a line feed, with or without a carriage return.
    """

    end: int
    found: int
    quoted: tuple[Quoted, ...] | None = None
    open: bool = False
    """Whether the last row has a quote that is never closed."""


@dataclass(frozen=True)
class Dialect:
    """How rows are written. `quotechar`, `escapechar` and `comment` are "" where there is none."""

    delimiter: str = ","
    quotechar: str = '"'
    escapechar: str = ""
    comment: str = ""
    null: str | None = None
    bare_quotes: bool = False
    empty_lines: bool = False
    open_quotes: bool = False

    def rows(self, text: str, last: bool = True) -> Iterator[tuple[int, Row, int]]:
        """Every whole row with where it begins and ends; comments and empty lines, where they are none, have no values.

        `last` says that nothing follows the text. Raises Malformed.
        """
        at, found = 0, 0
        while at < len(text):
            try:
                row = self.row(text, at, last)
            except Malformed as error:
                error.before = found
                raise
            if row is None:
                return
            yield at, row[0], row[1]
            at, found = row[1], found + bool(row[0])

    def row(self, text: str, at: int, last: bool) -> tuple[Row, int] | None:
        """The values of the row that begins at a place, and where the next one begins; None where the text ends first."""
        start, quote = at, self.quotechar
        values: Row = []
        if self.comment and text.startswith(self.comment, at):
            end = self._line_end(text, at, last)
            return None if end < 0 else ([], end)
        while True:
            if not quote or not text.startswith(quote, at):
                stop, at, ended = self._unquoted(text, at, values, last)
            else:
                stop = at = self._quoted(text, at, values, last)
                ended = not text.startswith(self.delimiter, at)
                at += not ended
            if stop < 0:
                return None
            if ended:
                end = self._line_end(text, stop, last)
                if end < 0:
                    return None
                if stop == start and not self.empty_lines:
                    values = []
                return values, end

    def _line_end(self, text: str, at: int, last: bool) -> int:
        """Where the line behind this one begins; -1 where the text ends too early to know."""
        found = LINE_END(text, at)
        if found is None or (not last and found.end() == len(text) and text[-1] == "\r"):
            return len(text) if last else -1
        return found.end()

    def _quoted(self, text: str, at: int, values: Row, last: bool) -> int:
        """Adds the quoted value that begins at a place. Gives where it has ended, -1 where the text ends first."""
        quote, escape, begin = self.quotechar, self.escapechar, at + 1
        at = begin
        while True:
            if escape:
                found = self._in_quotes.search(text, at)
                stop = found.start() if found else -1
            else:
                stop = text.find(quote, at)
            if stop < 0 or (stop + 1 == len(text) and text[stop] != quote):
                if last and self.open_quotes:
                    values.append(text[begin:].replace(quote + quote, quote))
                    return len(text)
                if last:
                    raise Malformed(
                        begin - 1, f"a quote opens a value here and is never closed: {cut(text[begin : begin + 200])}"
                    )
                return -1
            if text[stop] == quote and not text.startswith(quote, stop + 1):
                break
            at = stop + 2
        if stop + 1 == len(text):
            if not last:
                return -1
        elif text[stop + 1] not in (self.delimiter, "\r", "\n"):
            raise self._follows(text, begin, stop)
        value = text[begin:stop]
        if escape and escape in value:
            value = self._in_value.sub(_second, value)
        elif quote in value:
            value = value.replace(quote + quote, quote)
        values.append(value)
        return stop + 1

    def _follows(self, text: str, begin: int, stop: int) -> Malformed:
        behind = _to_line_end(text, stop + 1, stop + 60)
        shown = cut(text[begin - 1 : stop + 1] + behind)
        remedy = "double the quotes inside of values, or set escapechar to what stands before them"
        if text[stop - 1] == "\\" and stop > begin and self.escapechar != "\\":
            remedy = 'set escapechar: "\\\\" if quotes inside of values are written like this, or double them'
        return Malformed(
            begin - 1,
            f"{behind!r} follows a closing quote, where only a delimiter or the end of the row may: {shown}",
            remedy,
        )

    def _unquoted(self, text: str, at: int, values: Row, last: bool) -> tuple[int, int, bool]:
        """Adds the values up to the end of the row, or up to one that is quoted.

        Gives where they end (-1 where the text ends first), where to go on, and whether the row has ended.
        """
        delimiter, quote, escape, begin, escaped = self.delimiter, self.quotechar, self.escapechar, at, False
        while True:
            found = self._special.search(text, at)
            stop = found.start() if found else len(text)
            if found is None or text[stop] in "\r\n":
                if found is None and not last:
                    return -1, -1, True
                values += self._split(text[begin:stop], escaped)
                return stop, stop, True
            if text[stop] == quote:
                if stop > at and text[stop - 1] == delimiter:
                    values += self._split(text[begin : stop - 1], escaped)
                    return stop, stop, False
                if not self.bare_quotes:
                    raise self._bare(text, begin, stop)
                at = stop + 1
                continue
            escaped = True
            pair = self._pair.match(text, stop)
            if pair is None or (not last and pair.end() == len(text) and text[-1] == "\r"):
                if last:
                    raise Malformed(stop, f"the escape character {escape} ends the file, and escapes nothing")
                return -1, -1, True
            at = pair.end()

    def _bare(self, text: str, begin: int, stop: int) -> Malformed:
        begin = max(begin, text.rfind(self.delimiter, begin, stop) + 1)
        shown = _to_line_end(text, begin, stop + 60)
        shown = shown if len(shown) < 200 else cut(shown)
        return Malformed(
            begin,
            f"a quote stands in a value that does not begin with one: {shown}",
            "quote the whole value and double the quotes in it, or set bare_quotes: keep, or quotechar: '' if none is",
        )

    def _split(self, text: str, escaped: bool) -> Row:
        """The values in a stretch of text without quoted ones."""
        if not escaped:
            values: Row = text.split(self.delimiter)
            if self.null is not None:
                return [None if value == self.null else value for value in values]
            return values
        values, at = [], 0
        for found in self._in_stretch.finditer(text):
            if found[0] == self.delimiter:
                values.append(text[at : found.start()])
                at = found.end()
        values.append(text[at:])
        return [None if value == self.null else self._pair.sub(_second, value) for value in values]

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return re.compile(f"[\r\n{re.escape(self.quotechar)}{re.escape(self.escapechar)}]")

    @cached_property
    def _in_quotes(self) -> re.Pattern[str]:
        return re.compile(f"[{re.escape(self.quotechar)}{re.escape(self.escapechar)}]")

    @cached_property
    def _pair(self) -> re.Pattern[str]:
        """The escape character with what it escapes: a line break is escaped whole."""
        return re.compile(f"{re.escape(self.escapechar)}(\r\n|.)", re.DOTALL)

    @cached_property
    def _in_stretch(self) -> re.Pattern[str]:
        return re.compile(f"{re.escape(self.escapechar)}(?:\r\n|.)|{re.escape(self.delimiter)}", re.DOTALL)

    @cached_property
    def _in_value(self) -> re.Pattern[str]:
        quote = re.escape(self.quotechar)
        return re.compile(f"{re.escape(self.escapechar)}(.)|{quote}({quote})", re.DOTALL)

    # Many rows at once

    def texts(self, text: str) -> Iterator[Row]:
        """The values of all rows that have some, of whole rows in which nothing is malformed."""
        quote, null = self.quotechar, self.null
        special = (
            self.empty_lines
            or (self.escapechar and self.escapechar in text)
            or (self.comment and self.comment in text)
            or (null is not None and (not null or f"{quote}{null}{quote}" in text))
            or (_REFUSES_NUL and "\0" in text)
        )
        if special:
            return (row for _, row, _ in self.rows(text) if row)
        rows = (row for row in self._reader(io.StringIO(text, newline="")) if row)
        if null and null in text:
            return ([None if value == null else value for value in row] for row in rows)
        return rows

    def _reader(self, lines: Iterable[str]) -> Any:
        """The standard library's, which is fast, and lenient: it garbles what is malformed."""
        csv.field_size_limit(sys.maxsize)
        if not self.quotechar:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quotechar)

    def border(self, text: str, last: bool) -> Border:
        """The border of a text; `last` says that nothing follows. Raises Malformed."""
        if not last:
            plain = self._plain_border(text)
            if plain is not None:
                return plain
            counted = self._counted_border(text)
            if counted is not None:
                return counted
        start = end = found = 0
        for at, row, stop in self.rows(text, last):
            start, end, found = at, stop, found + bool(row)
        return Border(end, found, None, last and self.stays_open(text, start))

    def stays_open(self, text: str, at: int = 0) -> bool:
        """Whether a quote that is never closed is taken as it is, in the rows from this one to the end."""
        if not self.open_quotes:
            return False
        try:
            for _ in replace(self, open_quotes=False).rows(text[at:]):
                pass
        except Malformed:
            return True
        return False

    def _unusual(self, text: str) -> bool:
        """Whether a text has comments or escapes, so that it has to be read from the beginning."""
        if self.comment and (text.startswith(self.comment) or f"\n{self.comment}" in text):
            return True
        return bool(self.escapechar) and self.escapechar in text

    def _plain_border(self, text: str) -> Border | None:
        """The border of plain text; None where it is not plain, or hard to see."""
        rows = text[: text.rfind("\n") + 1]
        if not rows or rows[0] in "\r\n" or "\n\n" in rows or self._unusual(rows):
            return None
        if "\r" in rows and (rows.count("\r") != rows.count("\r\n") or "\n\r" in rows):
            return None
        if "\r" in text[len(rows) : -1]:  # More rows may end there.
            return None
        feeds = rows.count("\n")
        if not self.quotechar or self.quotechar not in rows:
            return Border(len(rows), feeds, ())
        if rows.count(self.quotechar) > feeds:  # Counting takes less time.
            return None
        return self._quoted_border(rows)

    def _quoted_border(self, text: str) -> Border:
        """The border of plain text in which some rows have quotes. Only these are read."""
        exact = self.null is not None or (_REFUSES_NUL and "\0" in text)
        quoted, start, number = self._quoted_rows(text, exact)
        if quoted and not exact and not self._outside("".join([text[start:end] for _, start, end, _ in quoted])):
            quoted, start, number = self._quoted_rows(text, True)
        return Border(start, number, tuple(quoted))

    def _quoted_rows(self, text: str, exact: bool) -> tuple[list[Quoted], int, int]:
        """The whole rows that have quotes, where the first row begins that is not whole, and how many stand before.

        With `exact` it raises Malformed. Without, rows are what the standard library makes of them.
        """
        end, whole = 0, True

        def lines() -> Iterator[str]:
            nonlocal end, whole
            while stop := text.find("\n", end) + 1:
                start, end = end, stop
                yield text[start:stop]
            whole = False

        reader = self._reader(lines())
        quoted: list[Quoted] = []
        number, at = 0, text.find(self.quotechar)
        while at >= 0:
            start = text.rfind("\n", end, at) + 1 or end
            number += text.count("\n", end, start)
            end = start
            if not exact:
                row = next(reader)
            else:
                try:
                    read = self.row(text, start, False)
                except Malformed as error:
                    error.before = number
                    raise
                whole = read is not None
                if read is not None:
                    row, end = read
            if not whole:
                return quoted, start, number
            quoted.append(Quoted(number, start, end, row))
            number, at = number + 1, text.find(self.quotechar, end)
        return quoted, len(text), number + text.count("\n", end)

    def _counted_border(self, text: str) -> Border | None:
        """The border by counting, which is much faster than reading; None where it does not prove that all is well."""
        if self._unusual(text) or ("\r" in text and text.count("\r") != text.count("\r\n")):
            return None
        outside = text if not self.quotechar or self.quotechar not in text else self._outside(text)
        if not outside:
            return None
        *lines, _ = outside.replace("\r\n", "\n").split("\n")
        if not lines:
            return Border(0, 0)
        found = len(lines) if self.empty_lines else len(lines) - lines.count("")
        end = text.rindex("\n")
        if self.quotechar:
            quotes = text.count(self.quotechar, end)
            total = text.count(self.quotechar)
            while (total - quotes) % 2:
                before = text.rindex("\n", 0, end)
                quotes += text.count(self.quotechar, before, end)
                end = before
        return Border(end + 1, found)

    def _outside(self, text: str) -> str:
        """What stands outside of quoted values, with one quote in place of each; "" where that is not proved.

        A run of quotes outside of a quoted value opens one if their number is odd, and is a whole one otherwise; inside
        it closes the value if their number is odd. Left to right, pairs become a mark, so that a single quote is left where
        the number is odd. Then every run of marks and quotes that is left outside is a whole value, and must follow and
        precede a delimiter or the end of a row. Where all do, every quote outside begins a value and every one that closes
        a value is followed by what may follow.
        """
        quote, delimiter, doubled = self.quotechar, self.delimiter, self.quotechar * 2
        mark = ""
        if doubled in text:
            mark = next((c for c in _MARKS if c not in text and c != delimiter and c != quote), "")
            if not mark:
                return ""
        parts = (text.replace(doubled, mark) if mark else text).split(quote)
        framed = f"\n{quote.join(parts[::2])}{quote if len(parts) % 2 == 0 else ''}\n"
        if mark and mark in framed:
            while mark * 2 in framed:
                framed = framed.replace(mark * 2, mark)
            framed = framed.replace(mark + quote, quote).replace(mark, quote)
        quotes = framed.count(quote)
        before = framed.count(delimiter + quote) + framed.count("\n" + quote)
        behind = framed.count(quote + delimiter) + framed.count(quote + "\n") + framed.count(quote + "\r\n")
        return framed[1:-1] if quotes == before == behind else ""


def longer_rows(text: str, quoted: Iterable[Quoted], delimiter: str, width: int) -> int | None:
    """How many rows of plain text (`Border`) have more than so many values; None where only reading it would tell.

    Of the lines without quotes nothing but the delimiters is looked at, all of them together.
    """
    if not delimiter.isascii():
        return None
    lines, found, at = [], 0, 0
    for _, start, end, row in quoted:
        lines.append(text[at:start])
        found, at = found + (len(row) > width), end
    lines.append(text[at:])
    kept = delimiter.encode() + b"\n"
    shape = "".join(lines).encode("utf-8", "surrogatepass").translate(None, bytes({*range(256)}.difference(kept)))
    rows = shape.count(b"\n")
    if shape == (delimiter.encode() * (width - 1) + b"\n") * rows:
        return found
    return found + sum(len(line) >= width for line in shape.split(b"\n"))


LINE_END = re.compile("\r\n|\r|\n").search


def _second(found: re.Match[str]) -> str:
    """What an escape character or a quote stands before."""
    return found[found.lastindex or 0]


def _to_line_end(text: str, at: int, end: int) -> str:
    found = LINE_END(text, at, end)
    return text[at : found.start() if found else end]


def line_ends(text: str, stop: int | None = None) -> int:
    """How many lines end in a text, in whatever way."""
    end = len(text) if stop is None else stop
    feeds = text.count("\n", 0, end)
    if text.find("\r", 0, end) < 0:
        return feeds
    return feeds + text.count("\r", 0, end) - text.count("\r\n", 0, end)
