"""CSV: rows of text, one a record."""

from __future__ import annotations

import base64
import codecs
import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from itertools import compress, repeat
from types import SimpleNamespace
from typing import Any, AnyStr, BinaryIO, ClassVar, NamedTuple, cast
from uuid import UUID

import orjson

from exporters_beam.decimals import plain
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.json_lines import MAX_RECORD_BYTES, JsonFormat, cut, too_long
from exporters_beam.options import option
from exporters_beam.records import Key, Record

_dumps = orjson.dumps

PIECE = 256 * 1024
"""Bytes read at a time, and so about the size of a chunk."""

_REFUSES_NUL = sys.version_info < (3, 11)

_UNDECODED = "exporters_beam.undecoded"


def _undecoded(error: UnicodeError) -> tuple[str, int]:
    """Stands in for bytes that are not of the encoding, so that the record which holds them can be found."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_UNDECODED, _undecoded)


class _Quoted(NamedTuple):
    """A row that has quotes: its number in the text, where it begins and ends there, and its values."""

    number: int
    start: int
    end: int
    row: list[str]


class _Rows(NamedTuple):
    """Whole rows as text. `sound` is false where some of it could not be decoded.

    Where `quoted` is not None the text is plain: all rows that have quotes are in `quoted`, every other line is a row, and
    rows end with a line feed, with or without a carriage return. Then values need not be read one after the other.
    """

    header: tuple[str, ...]
    text: str
    sound: bool
    quoted: tuple[_Quoted, ...] | None = None


_Maker = Callable[[Iterable[Any]], list[Record]]
"""Makes records of rows."""


_Chosen = Callable[[Iterable[Any] | None], list[Any]]


def _chosen(rows: list[Any], flags: Iterable[Any] | None) -> list[Any]:
    return rows if flags is None else list(compress(rows, flags))


class _Border(NamedTuple):
    """Where behind the last whole row a text can be cut, and how many rows that are not empty stand before.

    `quoted` is what _Rows says, for the text before.
    """

    end: int
    found: int
    quoted: tuple[_Quoted, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class CsvDeserializer:
    """Read CSV files: the first row names the columns, every further row is a record of text values.

    Quoted values may hold delimiters, doubled quotes and line breaks. Values stay text. A row that is too short has
    null in the columns it lacks; one that is too long is an error. Of columns with the same name the last counts.
    Completely empty lines are skipped. A byte-order mark at the beginning is not part of the first name. Text that is
    not of the `encoding` fails the record it stands in, a quote that is never closed fails the file. Numbers in
    messages count records: neither the header nor empty lines.

    Example:
        deserializer:
          name: csv
          options:
            delimiter: ";"
            encoding: windows-1252
    """

    kind: ClassVar[str] = "deserializer"

    delimiter: str = option("the character between values", default=",", example="\t")
    quotechar: str = option('the character around values; "" where nothing is quoted', default='"')
    encoding: str = option("the encoding of the text", default="utf-8", example="windows-1252")
    fields: tuple[str, ...] = option(
        "names of the columns, where the files have no header row", type="str_list", default=()
    )
    max_record_bytes: int = option(
        "characters that a row may have; a longer one is an error", type="int", default=MAX_RECORD_BYTES, minimum=1
    )

    def __post_init__(self) -> None:
        _check_delimiter(self.delimiter, self.quotechar)
        if self.quotechar and (len(self.quotechar) != 1 or self.quotechar in "\r\n"):
            raise ConfigError(f"quotechar: {self.quotechar!r} is not one character")
        try:
            "".encode(self.encoding)
            codecs.getincrementaldecoder(self.encoding)
        except LookupError:
            raise ConfigError(f"encoding: Python knows no encoding of text called {self.encoding!r}") from None

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[_Rows, int, int]]:
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        header, records, size, rest, sound, start = self.fields, 0, 0, "", True, True
        while True:
            # Reading as much again as there is keeps the work linear where a single value is very long.
            raw = stream.read(max(PIECE, min(len(rest), self.max_record_bytes)))
            size += len(raw)
            text, decoded = _decoded(decoder, raw)
            sound = sound and decoded
            if start and text:
                text, start = text.removeprefix("\ufeff"), False
            rest += text
            try:
                border = self._border(rest, records + bool(header), last=not raw)
                if border.end and not header:
                    header, end_of_header = self._header(rest[: border.end])
                    rest = rest[end_of_header:]
                    border = self._border(rest, records + bool(header), last=not raw)
            except csv.Error as error:
                raise SourceError(f"record {records + 1}: not readable as CSV: {error}") from error
            end, found = border.end, border.found
            if found and len(rest) > self.max_record_bytes:
                short, before = self._short_rows(rest[:end])
                if before:
                    yield _Rows(header, rest[:short], sound), before, size
                if short < end:
                    raise too_long("row", "characters", self.max_record_bytes)
            elif found:
                yield _Rows(header, rest[:end], sound, border.quoted), found, size
            if found:
                records, size, sound = records + found, 0, decoded
            rest = rest[end:]
            if len(rest) > self.max_record_bytes:
                raise too_long("row", "characters", self.max_record_bytes)
            if not raw:
                return

    def decode(self, data: _Rows) -> list[Record]:
        header, text, sound, _ = data
        values = self._values(data)
        if values is not None:
            return _records(header)(zip(*[iter(values)] * (len(header) + 1), strict=True))
        rows = [row for row in self._reader(text) if row]
        if not sound or {*map(len, rows)} != {len(header)}:
            return [_record(header, row, sound) for row in rows]
        return list(map(dict, map(zip, repeat(header), rows)))

    def glance(self, fields: frozenset[str]) -> Callable[[_Rows], tuple[list[Record], _Chosen, _Maker]]:
        """A function that gives a chunk's records with these fields only, its rows, all or those with a true flag, and what
        makes records of rows.

        So rows can be judged before records are made of them. Where rows are not plain it gives whole records for both.
        It raises RecordError where a row cannot be decoded.
        """

        def glanced(data: _Rows) -> tuple[list[Record], _Chosen, _Maker]:
            header, values = data.header, self._values(data)
            if values is None:
                records = self.decode(data)
                return records, partial(_chosen, records), list
            width = len(header) + 1
            rows = list(zip(*[iter(values)] * width, strict=True))
            columns = {name: n for n, name in enumerate(header) if name in fields}
            wanted = (*(values[n::width] for n in columns.values()), rows)
            return _records(tuple(columns))(zip(*wanted, strict=True)), partial(_chosen, rows), _records(header)

        return glanced

    def json_lines(self, data: _Rows) -> bytes:
        """The records of a chunk as JsonFormat writes them, each with a line feed behind, mostly without making them.

        Raises RecordError where one cannot be decoded.
        """
        try:
            lines = self._json_lines(data)
        except (UnicodeEncodeError, orjson.JSONEncodeError):  # lone surrogates, which some encodings can give
            lines = None
        return b"".join([_nested(record) + b"\n" for record in self.decode(data)]) if lines is None else lines

    def _json_lines(self, data: _Rows) -> bytes | None:
        header, delimiter, text = data.header, self.delimiter, self._unquoted(data)
        if text is None or len({*header}) < len(header):
            return None
        rows = text.count("\n")
        encoded = text.encode()
        delimiters = (len(_escaped(delimiter)) - len(delimiter.encode())) * (len(header) - 1)
        if len(_escaped(text)) != len(encoded) + (1 + delimiters) * rows:
            if delimiter.isalnum() or delimiter in '"\\':
                return None  # Escapes would hold delimiters.
            encoded = text.translate({n: escape for n, escape in _ESCAPES.items() if n != ord(delimiter)}).encode()
        values = _split(encoded, delimiter.encode(), b"\n", rows, len(header))
        if values is None:
            return None
        for number, _, _, row in data.quoted or ():
            at = number * (len(header) + 1)
            values[at : at + len(header)] = [_dumps(value)[1:-1] for value in row]
        frames = _frames(header)
        parts = frames * (2 * rows)
        parts[::2] = frames * rows
        parts[1::2] = values
        return b"".join(parts)

    def _values(self, data: _Rows) -> list[str] | None:
        """All values of plain text, one row after the other and behind each "\n"; None where that is not so simple."""
        width, text = len(data.header), self._unquoted(data)
        values = None if text is None else _split(text, self.delimiter, "\n", text.count("\n"), width)
        if values is not None:
            for number, _, _, row in data.quoted or ():
                at = number * (width + 1)
                values[at : at + width] = row
        return values

    def _unquoted(self, data: _Rows) -> str | None:
        """Plain text with rows of empty values in place of those with quotes; None where rows are not plain."""
        header, text, sound, quoted = data
        if quoted is None or not sound or not header or any(len(row) != len(header) for _, _, _, row in quoted):
            return None
        if quoted:
            ends = (0, *(end for _, _, end, _ in quoted))
            starts = (*(start for _, start, _, _ in quoted), len(text))
            empty = self.delimiter * (len(header) - 1) + "\n"
            text = empty.join([text[end:start] for end, start in zip(ends, starts, strict=True)])
        return text.replace("\r\n", "\n") if "\r" in text else text

    def decode_each(self, data: _Rows) -> Iterator[tuple[int, Record | Exception, Any]]:
        for number, row in enumerate(row for row in self._reader(data.text) if row):
            try:
                yield number, _record(data.header, row, data.sound), row
            except RecordError as error:
                yield number, error, row

    def _reader(self, text: str) -> Any:
        return self._lines_reader(io.StringIO(text, newline=""))

    def _lines_reader(self, lines: Iterator[str]) -> Any:
        csv.field_size_limit(sys.maxsize)
        if not self.quotechar:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quotechar)

    def _border(self, text: str, number: int, last: bool) -> _Border:
        """The border of a text. `number` is that of its first row, the header being 0; `last` says that nothing follows."""
        plain = None if last else self._plain_border(text)
        if plain is not None:
            return plain
        return _Border(*self._counted_border(text, number, last))

    def _plain_border(self, text: str) -> _Border | None:
        """The border of plain text; None where it is not plain, or hard to see."""
        rows = text[: text.rfind("\n") + 1]
        if not rows or rows[0] in "\r\n" or "\n\n" in rows or (_REFUSES_NUL and "\0" in rows):
            return None
        if "\r" in rows and (rows.count("\r") != rows.count("\r\n") or "\n\r" in rows):
            return None
        if "\r" in text[len(rows) : -1]:  # More rows may end there.
            return None
        feeds = rows.count("\n")
        if not self.quotechar or self.quotechar not in rows:
            return _Border(len(rows), feeds, ())
        if rows.count(self.quotechar) > feeds:  # Reading them all takes no longer.
            return None
        return self._quoted_border(rows)

    def _quoted_border(self, text: str) -> _Border:
        """The border of plain text in which some rows have quotes. Only these are read."""
        end, whole = 0, True

        def lines() -> Iterator[str]:
            nonlocal end, whole
            while stop := text.find("\n", end) + 1:
                start, end = end, stop
                yield text[start:stop]
            whole = False

        reader = self._lines_reader(lines())
        quoted: list[_Quoted] = []
        number, at = 0, text.find(self.quotechar)
        while at >= 0:
            start = text.rfind("\n", end, at) + 1 or end
            number += text.count("\n", end, start)
            end = start
            row = next(reader)
            if not whole:
                return _Border(start, number, tuple(quoted))
            quoted.append(_Quoted(number, start, end, row))
            number, at = number + 1, text.find(self.quotechar, end)
        return _Border(len(text), number + text.count("\n", end), tuple(quoted))

    @property
    def _stop(self) -> str:
        """A line that comes out as a row of its own, or inside an unfinished one."""
        stop = next(c for c in "012" if c not in (self.delimiter, self.quotechar))
        return stop + self.delimiter + stop

    def _counted_border(self, text: str, number: int, last: bool) -> tuple[int, int]:
        """Where the border is, and how many rows that are not empty stand before.

        Most text is judged by counting, which is much faster than reading it.
        """
        if last or ("\r" in text and text.count("\r") != text.count("\r\n")):
            return self._read_border(text, number, last)
        outside = text if not self.quotechar or self.quotechar not in text else self._outside(text)
        outside = outside.replace("\r\n", "\n")
        if not outside or outside[0] == "\n" or "\n\n" in outside:
            return self._read_border(text, number, last)
        found = outside.count("\n")
        if not found:
            return 0, 0
        end = text.rindex("\n")
        if self.quotechar:
            quotes = text.count(self.quotechar, end)
            total = text.count(self.quotechar)
            while (total - quotes) % 2:
                before = text.rindex("\n", 0, end)
                quotes += text.count(self.quotechar, before, end)
                end = before
        return end + 1, found

    def _outside(self, text: str) -> str:
        """What stands outside of quoted values, with one quote in place of each; "" where it is not that simple.

        It is simple where every quote that is not doubled follows and precedes a delimiter or the end of a row. Then
        an odd number of quotes before a place means that it is inside. Otherwise a quote may be part of a value.
        """
        quote, delimiter = self.quotechar, self.delimiter
        parts = text.replace(quote + quote, "").split(quote)
        outside = quote.join(parts[::2])
        framed = f"\n{outside}{quote if len(parts) % 2 == 0 else ''}\n"
        quotes = framed.count(quote)
        before = framed.count(delimiter + quote) + framed.count("\n" + quote) + framed.count("\r" + quote)
        behind = framed.count(quote + delimiter) + framed.count(quote + "\n") + framed.count(quote + "\r")
        return outside if quotes == before == behind else ""

    def _read_border(self, text: str, number: int, last: bool) -> tuple[int, int]:
        """The same by reading the rows. Raises SourceError where a quoted value never ends."""
        end = len(text) if last else max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
        consumed, stop = 0, self._stop

        def lines() -> Iterator[str]:
            nonlocal consumed
            for line in io.StringIO(text[:end], newline=""):
                consumed += len(line)
                yield line
            yield stop

        border = found = 0
        before = (0, 0)
        row: list[str] = []
        for row in self._lines_reader(lines()):
            before, border, found = (border, found), consumed, found + (row != [])
        if last and row != stop.split(self.delimiter):
            place = f"record {number + before[1]}" if number + before[1] else "header"
            raise SourceError(f"{place}: a quote opens a value here and is never closed: {cut(row[-1][:-3])}")
        return before

    def _short_rows(self, text: str) -> tuple[int, int]:
        """Where the first row begins that is too long, or the text ends, and how many rows that are not empty stand before."""
        consumed = 0

        def lines() -> Iterator[str]:
            nonlocal consumed
            for line in io.StringIO(text, newline=""):
                consumed += len(line)
                yield line

        border = found = 0
        for row in self._lines_reader(lines()):
            if consumed - border > self.max_record_bytes + 2:
                return border, found
            border, found = consumed, found + (row != [])
        return border, found

    def _header(self, text: str) -> tuple[tuple[str, ...], int]:
        """The names in the first row of the text that is not empty, and where that row ends."""
        consumed = 0

        def lines() -> Iterator[str]:
            nonlocal consumed
            for line in io.StringIO(text, newline=""):
                consumed += len(line)
                yield line

        row: list[str] = next((row for row in self._lines_reader(lines()) if row), [])
        if any(map(_undecodable, row)):
            raise SourceError(f"the header is not valid {self.encoding}: {cut(self.delimiter.join(row))}")
        return tuple(row), consumed


def _check_delimiter(delimiter: str, quotechar: str) -> None:
    if len(delimiter) != 1 or delimiter in "\r\n":
        raise ConfigError(f'delimiter: {delimiter!r} is not one character; give one such as "," or "\\t"')
    if delimiter == quotechar:
        raise ConfigError(f"delimiter: {delimiter!r} is the quote character already")


def _decoded(decoder: Any, raw: bytes) -> tuple[str, bool]:
    """The text of the bytes that were read last, and whether all of them are of the encoding."""
    state = decoder.getstate()
    try:
        return decoder.decode(raw, not raw), True
    except UnicodeDecodeError:
        decoder.setstate(state)
        decoder.errors = _UNDECODED
        text: str = decoder.decode(raw, not raw)
        decoder.errors = "strict"
        return text, False
    except UnicodeError as error:
        raise SourceError(f"not readable as text: {error}; give another encoding") from error


def _undecodable(text: str) -> bool:
    return not text.isascii() and any("\udc00" <= char <= "\udcff" for char in text)


@lru_cache(maxsize=16)
def _records(header: tuple[str, ...]) -> _Maker:
    """Makes records of rows that have a value for each column, and one thing more which counts for nothing.

    It is compiled, as a named tuple is: a display of a dictionary is built in half the time of dict(zip(…)).
    """
    members = ", ".join(f"{name!r}: v{n}" for n, name in enumerate(header))
    names = "".join(f"v{n}, " for n in range(len(header)))
    make: _Maker = eval(f"lambda rows: [{{{members}}} for {names}_, in rows]", {"__builtins__": {}})
    return make


def _split(text: AnyStr, delimiter: AnyStr, feed: AnyStr, rows: int, width: int) -> list[AnyStr] | None:
    """The values of so many rows, and a line feed behind each row; None where a row is wider or narrower.

    A line feed that is a value of its own shows at once, for all rows together, where they end.
    """
    values = text.replace(feed, delimiter + feed + delimiter).split(delimiter)
    values.pop()
    if len(values) != rows * (width + 1) or values[width :: width + 1].count(feed) != rows:
        return None
    return values


def _escaped(text: str) -> bytes:
    """A text as it stands between the quotes of JSON."""
    return _dumps(text)[1:-1]


_ESCAPES = {n: _escaped(chr(n)).decode() for n in (*range(32), *b'"\\') if n != 10}


@lru_cache(maxsize=16)
def _frames(header: tuple[str, ...]) -> list[bytes]:
    """What stands in a line of JSON before each value, and behind the last."""
    names = [_nested(name) for name in header]
    return [b"{" + names[0] + b':"', *(b'",' + name + b':"' for name in names[1:]), b'"}']


def _record(header: tuple[str, ...], row: list[str], sound: bool) -> Record:
    if not sound:
        for name, value in zip(header, row, strict=False):
            if _undecodable(value):
                byte = next(ord(char) - 0xDC00 for char in value if "\udc00" <= char <= "\udcff")
                raise RecordError(
                    f'the text in the column "{name}" is not of the encoding: byte 0x{byte:02x}: {cut(value)}'
                )
    if len(row) > len(header):
        raise RecordError(f"the row has {len(row)} values for {len(header)} columns: {cut(repr(row))}")
    return dict(zip(header, (*row, *repeat(None, len(header) - len(row))), strict=True))


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """Write CSV: one row a record, with the columns that `fields` or `schema` names.

    Text stands in double quotes, numbers and True and False do not; what is missing or null is "". Lists and mappings
    are written as JSON, dates and times as `2016-01-02 03:04:00`, bytes as base64 text. Fields of the record that are
    no columns are left out. Files begin with a row of names unless `show_titles` is false, and end with a line feed.

    Example:
        exporter_options:
          formatter:
            name: csv
            options:
              fields: [name, price, tags]
    """

    kind: ClassVar[str] = "formatter"
    extension: ClassVar[str] = "csv"
    separator: ClassVar[bytes] = b"\n"
    footer: ClassVar[bytes] = b"\n"

    fields: tuple[str, ...] = option("columns, in this order", type="str_list", default=(), example=["name", "price"])
    schema: Mapping[str, Any] = option(
        "a JSON schema; its properties, sorted, are the columns where `fields` is not given", type="dict", default={}
    )
    show_titles: bool = option("whether files begin with a row of names", type="bool", default=True)
    delimiter: str = option("the character between values", default=",", example="\t")

    _columns: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        _check_delimiter(self.delimiter, '"')
        properties = self.schema.get("properties")
        if not self.fields and not self.schema:
            raise ConfigError("fields: give the columns here, or a JSON schema whose properties are the columns")
        if not self.fields and not (isinstance(properties, Mapping) and properties):
            raise ConfigError("schema: it has no properties, which would be the columns; give them or `fields`")
        object.__setattr__(self, "_columns", tuple(self.fields) or tuple(sorted(properties or ())))
        try:
            "".join(map(str, self._columns)).encode()
        except UnicodeEncodeError:
            option_name = "fields" if self.fields else "schema"
            raise ConfigError(f"{option_name}: a name holds half a surrogate pair, which UTF-8 cannot write") from None

    @property
    def header(self) -> bytes:
        if not self.show_titles:
            return b""
        return cast(bytes, _row(self.delimiter)(self._columns)) + b"\n"

    @property
    def empty(self) -> bytes:
        """A file without records."""
        return self.header

    @property
    def needs(self) -> frozenset[str] | None:
        """The fields that files will have."""
        return frozenset(self._columns)

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """The columns that the config names, by what it calls them."""
        return tuple((name, Key.of(name, "")) for name in self.fields)

    def format(self, record: Record) -> bytes:
        try:
            values = [*map(record.get, self._columns)]
        except AttributeError:
            raise RecordError(f"CSV cannot hold {cut(record)}, which is not a mapping") from None
        if not _SIMPLE.issuperset(map(type, values)):
            values = [
                v if type(v) in _SIMPLE else _cell(v, name) for v, name in zip(values, self._columns, strict=True)
            ]
        try:
            return cast(bytes, _row(self.delimiter)(values))
        except UnicodeEncodeError as error:
            raise RecordError(
                f"CSV is written in UTF-8, which has no surrogates: {cut(error.object[max(0, error.start - 60) : error.end])}"
            ) from None
        except ValueError as error:
            raise RecordError(f"the row cannot be written: {error}") from None


_SIMPLE = frozenset((str, int, float, bool, type(None)))
_nested = JsonFormat().format


@lru_cache(maxsize=16)
def _row(delimiter: str) -> Any:
    """Makes the bytes of a row from values of simple types: what `write` returns is what `writerow` returns."""
    sink = SimpleNamespace(write=str.encode)
    return csv.writer(sink, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC, lineterminator="").writerow


class _Written(Decimal):
    """A decimal for the csv module, which asks for its text."""

    def __str__(self) -> str:
        return plain(Decimal(self))


def _cell(value: Any, name: str) -> Any:
    """A value of another type as one that is simple."""
    if isinstance(value, (dict, list)):
        return _json(value, name)
    if isinstance(value, Enum):
        return _cell(value.value, name)
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
        return _Written(value)
    if isinstance(value, (datetime, date, time, UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return _json(value, name)


def _json(value: Any, name: str) -> str:
    try:
        return _nested(value).decode()
    except RecordError as error:
        reason = str(error).partition("; set allow_nan")[0]
        raise RecordError(f'in the column "{cut(name)}": {reason}') from None
