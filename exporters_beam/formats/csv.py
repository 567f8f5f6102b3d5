"""CSV: rows of text, one a record."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from itertools import repeat
from typing import Any, AnyStr, BinaryIO, ClassVar, NamedTuple, cast

import orjson

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.csv_cells import LINE_ENDS, QUOTING, SIMPLE, Style, Unquoted, cell, nested, row_writer
from exporters_beam.formats.csv_numbers import MEMBERS, Numbers
from exporters_beam.formats.csv_rows import LINE_END, Border, Dialect, Malformed, Quoted, line_ends, longer_rows
from exporters_beam.formats.csv_text import Encoding, check_mark, decoded, undecodable
from exporters_beam.formats.limits import MAX_RECORD_BYTES, cut, too_long
from exporters_beam.formats.rows import Chooser, Maker, chosen, maker
from exporters_beam.records import LONG_ROWS, OPEN_QUOTES, Key, Record

_dumps = orjson.dumps

PIECE = 256 * 1024
"""Bytes read at a time, and so about the size of a chunk."""


class _Rows(NamedTuple):
    """Whole rows as text. `sound` is false where some of it could not be decoded, `open` true where a quote is never closed.

    Where `quoted` is not None the text is plain: all rows that have quotes are in `quoted`, every other line is a row, and
    rows end with a line feed, with or without a carriage return. Then values need not be read one after the other.
    """

    header: tuple[str, ...]
    text: str
    sound: bool
    quoted: tuple[Quoted, ...] | None = None
    open: bool = False


@dataclass(frozen=True, kw_only=True)
class CsvDeserializer:
    """Read CSV files: the first row names the columns, every further row is a record of text values.

    Values stay text. Quoted values may hold delimiters, doubled quotes and line breaks. Rows end with a line feed, a
    carriage return or both. Completely empty lines are skipped. A byte-order mark at the beginning is not part of the
    first name.

    Files are read as RFC 4180 says. These fail the file: a quote that is never closed; anything but a delimiter or the
    end of the row behind a closing quote; a quote inside of a value that does not begin with one (`bare_quotes: keep`
    takes it as text); a name that two columns have; a mark of another encoding. These fail the record: text that is not
    of the `encoding`, and a row that has fewer or more values than there are columns. `ragged: null` gives null in the
    columns that a shorter row lacks; `ragged: keep` does so, too, and keeps what a longer row has too much as a list in
    the field `null`. Numbers in messages count records: neither the header nor empty lines nor comments. Lines count all.

    Where `escapechar` is given, the character behind it is text, in quoted values and others. A value that is the
    `null_marker`, as it stands in the file, is null; text in quotes never is, so `null_marker: ""` tells an empty value
    from `""`. A line that begins with `comment` is passed over, but for lines inside of quoted values.

    `numbers` names columns whose numbers have another decimal character than the point, and what stands between thousands:
    `1.299,50` becomes the text `1299.50`, which the transform `fields` and tables take as a number. Spaces around it are
    dropped, what is empty or null stays so, and anything else fails the record. A file without these columns is an error.

    Example:
        deserializer:
          name: csv
          options:
            delimiter: ";"
            encoding: windows-1252
            numbers: {columns: [price], decimal: ",", thousands: "."}
    """

    kind: ClassVar[str] = "deserializer"

    delimiter: str = option("the character between values", default=",", example="\t")
    quotechar: str = option('the character around values; "" where nothing is quoted', default='"')
    escapechar: str = option("the character that takes its meaning from the one behind it", default="", example="\\")
    encoding: str = option("the encoding of the text", default="utf-8", example="windows-1252")
    fields: tuple[str, ...] = option("names of the columns, where the files have no header row", type="str_list", default=())
    skip_lines: int = option("lines to pass over at the beginning of each file", type="int", default=0, minimum=0)
    comment: str = option("how lines begin that are passed over", default="", example="#")
    null_marker: str | None = option("what stands for null where it is not quoted", type="str", default=None, example="\\N")
    numbers: Mapping[str, Any] = option(
        "columns whose numbers have another decimal character than the point, and characters between thousands",
        type="dict", default={}, example={"columns": ["price"], "decimal": ",", "thousands": "."}, members=MEMBERS,
    )  # fmt: skip
    ragged: str = option(
        "rows that have fewer or more values than there are columns",
        default="fail", choices=("fail", "null", "keep"), null="null",
    )  # fmt: skip
    bare_quotes: str = option(
        "quotes inside of values that are not quoted: an error, or text", default="fail", choices=("fail", "keep")
    )
    open_quotes: str = option(
        "a quote that is never closed: an error, or a value that takes the rest of the file",
        default="fail", choices=("fail", "keep"),
    )  # fmt: skip
    empty_lines: str = option(
        "completely empty lines: passed over, or rows with one empty value", default="skip", choices=("skip", "keep")
    )
    duplicate_names: str = option(
        "columns with the same name: an error, or the last one counts", default="fail", choices=("fail", "last")
    )
    max_record_bytes: int = option(
        "characters that a row may have; a longer one is an error", type="int", default=MAX_RECORD_BYTES, minimum=1
    )

    def __post_init__(self) -> None:
        _check_dialect(self.delimiter, self.quotechar, self.escapechar, self.null_marker)
        if self.null_marker and self.comment and self.null_marker.startswith(self.comment):
            raise ConfigError(f"null_marker: {self.null_marker!r} begins like a comment; give another marker")
        if self.comment and (self.comment[0] in (self.delimiter, self.quotechar) or _LINE_BREAK(self.comment)):
            raise ConfigError(
                f"comment: {self.comment!r} begins like a value or holds a line break; give what comments begin with"
            )
        try:
            "".encode(self.encoding)
            codecs.getincrementaldecoder(self.encoding)
        except LookupError:
            raise ConfigError(f"encoding: Python knows no encoding of text called {self.encoding!r}") from None
        if self.duplicate_names == "fail" and (twice := _twice(self.fields)) is not None:
            raise ConfigError(f"fields: two columns are called {twice!r}; give each a name of its own")
        if self._numbers and self.fields and (lacking := self._numbers.lacking(self.fields)):
            raise ConfigError(f"numbers.columns: fields has no {lacking}")

    @cached_property
    def _dialect(self) -> Dialect:
        return Dialect(
            self.delimiter, self.quotechar, self.escapechar, self.comment, self.null_marker,
            self.bare_quotes == "keep", self.empty_lines == "keep", self.open_quotes == "keep",
        )  # fmt: skip

    @cached_property
    def _numbers(self) -> Numbers | None:
        return Numbers.of(self.numbers) if self.numbers else None

    @cached_property
    def _of_header(self) -> Dialect:
        """Names are never null, and empty lines before them never names."""
        return replace(self._dialect, null=None, empty_lines=False)

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[_Rows, int, int]]:
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        header, records, size, rest, sound, start = self.fields, 0, 0, "", True, True
        lines, skip = 0, self.skip_lines
        while True:
            # Reading as much again as there is keeps the work linear where a single value is very long.
            raw = stream.read(max(PIECE, min(len(rest), self.max_record_bytes)))
            if not size and start:
                check_mark(raw, self.encoding)
            size += len(raw)
            text, whole = decoded(decoder, raw)
            sound = sound and whole
            if start and text:
                text, start = text.removeprefix("\ufeff"), False
            rest += text
            if skip:
                rest, skip = _without_lines(rest, skip, not raw)
                if skip and not raw and size:
                    raise SourceError(f"the file ends before {self.skip_lines} lines, which skip_lines passes over")
                lines = self.skip_lines - skip
            border = Border(0, 0)
            try:
                if not header and not skip:
                    header, end = self._header(rest, not raw)
                    if header and not raw and end == len(rest) and self._of_header.stays_open(rest):
                        yield _Rows(header, "", True, open=True), 0, size
                    lines, rest = lines + line_ends(rest, end), rest[end:]
                if header and not skip:
                    border = self._dialect.border(rest, not raw)
            except Malformed as error:
                place = f"record {records + error.before + 1}" if header else "header"
                line = lines + line_ends(rest, error.at) + 1
                raise SourceError(f"{place}: {error.in_line(line)}") from None
            end, found = border.end, border.found
            if found and len(rest) > self.max_record_bytes:
                short, before = self._short_rows(rest[:end])
                if before:
                    yield _Rows(header, rest[:short], sound), before, size
                if short < end:
                    raise too_long("row", "characters", self.max_record_bytes)
            elif found:
                yield _Rows(header, rest[:end], sound, border.quoted, border.open), found, size
            if found:
                records, size, sound = records + found, 0, whole
            lines += found if border.quoted == () else line_ends(rest, end)
            rest = rest[end:]
            if len(rest) > self.max_record_bytes:
                raise too_long("row", "characters", self.max_record_bytes)
            if not raw:
                return

    def decode(self, data: _Rows) -> list[Record]:
        header, text, sound = data[:3]
        values = self._values(data)
        if values is not None:
            return maker(header, more=True)(zip(*[iter(values)] * (len(header) + 1), strict=True))
        rows = list(self._dialect.texts(text))
        if not sound or self._numbers or {*map(len, rows)} != {len(header)}:
            return [self._record(header, row, sound) for row in rows]
        return list(map(dict, map(zip, repeat(header), rows)))

    def column_values(self, data: _Rows) -> tuple[dict[str, object], int]:
        """The records of a chunk as columns, and how many there are. Raises RecordError where rows are not plain."""
        values, width = self._values(data), len(data.header) + 1
        if values is None:
            raise RecordError("rows are not plain")  # The caller makes records.
        return {name: values[n::width] for n, name in enumerate(data.header)}, len(values) // width

    def glance(self, fields: frozenset[str]) -> Callable[[_Rows], tuple[list[Record], Chooser, Maker]]:
        """A function that gives a chunk's records with these fields only, its rows, all or those with a true flag, and what
        makes records of rows.

        So rows can be judged before records are made of them. Where rows are not plain it gives whole records for both.
        It raises RecordError where a row cannot be decoded.
        """

        def glanced(data: _Rows) -> tuple[list[Record], Chooser, Maker]:
            header, values = data.header, self._values(data)
            if values is None:
                records = self.decode(data)
                return records, partial(chosen, records), list
            width = len(header) + 1
            rows = list(zip(*[iter(values)] * width, strict=True))
            columns = {name: n for n, name in enumerate(header) if name in fields}
            wanted = (*(values[n::width] for n in columns.values()), rows)
            made = maker(tuple(columns), more=True)(zip(*wanted, strict=True))
            return made, partial(chosen, rows), maker(header, more=True)

        return glanced

    def json_lines(self, data: _Rows) -> bytes:
        """The records of a chunk as JsonFormat writes them, each with a line feed behind, mostly without making them.

        Raises RecordError where one cannot be decoded.
        """
        try:
            lines = self._json_lines(data)
        except (UnicodeEncodeError, orjson.JSONEncodeError):  # lone surrogates, which some encodings can give
            lines = None
        return b"".join([nested(record) + b"\n" for record in self.decode(data)]) if lines is None else lines

    def _json_lines(self, data: _Rows) -> bytes | None:
        header, delimiter, text = data.header, self.delimiter, self._unquoted(data)
        if text is None or len({*header}) < len(header) or self._numbers:
            return None
        if self.null_marker is not None and self.null_marker in data.text:
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

    def _values(self, data: _Rows) -> list[object] | None:
        """All values of plain text, one row after the other and behind each its end; None where that is not so simple."""
        header, width, text = data.header, len(data.header), self._without_quoted(data)
        if text is None:
            return None
        feed, rows = "\n", text.count("\n")
        if "\r" in text and text.count("\r\n") == rows:
            feed = "\r\n"
        values = _split(_with_feeds(text) if feed == "\n" else text, self.delimiter, feed, rows, width)
        if values is None:
            return None
        null = self.null_marker
        found: list[Any] = values
        if null is not None and (not null or null in data.text):
            found = [None if value == null else value for value in values]
        for number, _, _, row in data.quoted or ():
            at = number * (width + 1)
            found[at : at + width] = row
        if self._numbers:
            self._numbers.rewritten(found, header, width + 1)
        return found

    def _unquoted(self, data: _Rows) -> str | None:
        """Plain text with rows of empty values in place of those with quotes, and line feeds behind rows; None where rows are
        not plain."""
        text = self._without_quoted(data)
        return None if text is None else _with_feeds(text)

    def _without_quoted(self, data: _Rows) -> str | None:
        header, text, sound, quoted, _ = data
        if quoted is None or not sound or not header or any(len(row) != len(header) for _, _, _, row in quoted):
            return None
        if quoted:
            ends = (0, *(end for _, _, end, _ in quoted))
            starts = (*(start for _, start, _, _ in quoted), len(text))
            empty = self.delimiter * (len(header) - 1) + "\n"
            text = empty.join([text[end:start] for end, start in zip(ends, starts, strict=True)])
        return text

    def decode_each(self, data: _Rows) -> Iterator[tuple[int, Record | Exception, object]]:
        for number, row in enumerate(self._dialect.texts(data.text)):
            try:
                yield number, self._record(data.header, row, data.sound), row
            except RecordError as error:
                yield number, error, row

    def _record(self, header: tuple[str, ...], row: list[Any], sound: bool) -> Record:
        record = _record(header, row, sound, self.ragged)
        for name in self._numbers.columns if self._numbers else ():
            record[name] = self._numbers.plain(record[name], name)  # type: ignore[union-attr]
        return record

    def tally(self, data: _Rows) -> Mapping[str, int]:
        """The rows of a chunk that keep what is too much, and quotes that are never closed, where the options allow them."""
        found = {OPEN_QUOTES: 1} if data.open else {}
        if self.ragged == "keep" and _SURPLUS not in data.header and (longer := self._longer(data)):
            found[LONG_ROWS] = longer
        return found

    def _longer(self, data: _Rows) -> int:
        """How many rows have more values than there are columns, of those that can be decoded."""
        header, text, sound, quoted, _ = data
        if not sound:
            return sum(isinstance(record, dict) and _SURPLUS in record for _, record, _ in self.decode_each(data))
        found = None if quoted is None else longer_rows(text, quoted, self.delimiter, len(header))
        return sum(len(row) > len(header) for row in self._dialect.texts(text)) if found is None else found

    def _short_rows(self, text: str) -> tuple[int, int]:
        """Where the first row begins that is too long, or the text ends, and how many rows that count stand before."""
        end = found = 0
        for start, row, end in self._dialect.rows(text):
            if end - start > self.max_record_bytes + 2:
                return start, found
            found += bool(row)
        return end, found

    def _header(self, text: str, last: bool) -> tuple[tuple[str, ...], int]:
        """The names in the first row that has some, and where it ends; none where it is not whole yet."""
        row: list[str] = []
        end = 0
        for _, names, stop in self._of_header.rows(text, last):
            row, end = names, stop
            if row:
                break
        if any(map(undecodable, row)):
            raise SourceError(f"the header is not valid {self.encoding}: {cut(self.delimiter.join(row))}")
        if any("\0" in name for name in row):
            raise SourceError(
                f"the header holds NUL characters: {cut(self.delimiter.join(row))}; if the text is UTF-16, set encoding"
            )
        if self.duplicate_names == "fail" and (twice := _twice(row)) is not None:
            raise SourceError(
                f"the header has two columns called {cut(twice)}, and records can hold one of them; name the columns with "
                "fields and pass over the header with skip_lines, or set duplicate_names: last"
            )
        if row and self._numbers and (lacking := self._numbers.lacking(row)):
            raise SourceError(f"the header has no {lacking}")
        return tuple(row), end


def _check_dialect(delimiter: str, quotechar: str, escapechar: str, null_marker: str | None) -> None:
    if len(delimiter) != 1 or delimiter in "\r\n":
        raise ConfigError(f'delimiter: {delimiter!r} is not one character; give one such as "," or "\\t"')
    if delimiter == quotechar:
        raise ConfigError(f"delimiter: {delimiter!r} is the quote character already")
    if quotechar and (len(quotechar) != 1 or quotechar in "\r\n"):
        raise ConfigError(f"quotechar: {quotechar!r} is not one character")
    if escapechar:
        if len(escapechar) != 1 or escapechar in "\r\n":
            raise ConfigError(f'escapechar: {escapechar!r} is not one character; give one such as "\\\\"')
        if escapechar == delimiter:
            raise ConfigError(f"escapechar: {escapechar!r} is the delimiter already")
        if escapechar == quotechar:
            raise ConfigError(f"escapechar: {escapechar!r} is the quote character, which can always be doubled; leave it out")
    if null_marker and (_LINE_BREAK(null_marker) or delimiter in null_marker or (quotechar and quotechar in null_marker)):
        raise ConfigError(
            f"null_marker: {null_marker!r} cannot stand between delimiters: it holds one, a quote or a line break"
        )


_LINE_BREAK = re.compile("[\r\n]").search


def _twice(names: Iterable[str]) -> str | None:
    """A name that occurs again."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _without_lines(text: str, number: int, last: bool) -> tuple[str, int]:
    """What follows so many lines of a text, and how many are still to be passed over."""
    at = 0
    while number and at < len(text):
        found = LINE_END(text, at)
        if found is None or (not last and found.end() == len(text) and text[-1] == "\r"):
            return (text[len(text) :], number - 1) if last else (text[at:], number)
        at, number = found.end(), number - 1
    return text[at:], number


def _with_feeds(text: str) -> str:
    return text.replace("\r\n", "\n") if "\r" in text else text


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
    names = [nested(name) for name in header]
    return [b"{" + names[0] + b':"', *(b'",' + name + b':"' for name in names[1:]), b'"}']


def _record(header: tuple[str, ...], row: list[Any], sound: bool, ragged: str) -> Record:
    if not sound:
        for name, value in zip((*header, *repeat("", len(row) - len(header))), row, strict=False):
            if value is not None and undecodable(value):
                byte = next(ord(char) - 0xDC00 for char in value if "\udc00" <= char <= "\udcff")
                raise RecordError(f'the text in the column "{name}" is not of the encoding: byte 0x{byte:02x}: {cut(value)}')
    if len(row) > len(header) and ragged == "keep" and _SURPLUS not in header:
        return {**dict(zip(header, row, strict=False)), _SURPLUS: row[len(header) :]}
    if len(row) > len(header) or (len(row) < len(header) and ragged == "fail"):
        remedy = _TOO_MANY if len(row) > len(header) else _TOO_FEW
        raise RecordError(f"the row has {_values_of(row)} for {len(header)} columns: {cut(repr(row))}; {remedy}")
    return dict(zip(header, (*row, *repeat(None, len(header) - len(row))), strict=True))


_SURPLUS = "null"
"""The field that holds what a row has too much, by the name that the old system gave it."""

_TOO_MANY = f"quote values that hold delimiters, or set ragged: keep, which keeps what is too much in the field {_SURPLUS}"
_TOO_FEW = "fix the row, or set ragged: null for null in the columns that it lacks"


def _values_of(row: list[object]) -> str:
    return "1 value" if len(row) == 1 else f"{len(row)} values"


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """Write CSV: one row a record, with the columns that `fields` or `schema` names.

    Text stands in double quotes, numbers and True and False do not: that is `quoting: nonnumeric`. Lists and mappings are
    written as JSON, dates and times as `2016-01-02 03:04:00`, bytes as base64 text. Fields of the record that are not columns
    are left out. Files begin with a row of names unless `show_titles` is false, and end with `line_end`.

    What is missing or null is written like empty text. With `null_marker` it is written as the marker, never in quotes, so
    that text which is equal to the marker stays text for those who read the file with the same marker.

    With `quoting: minimal` only values stand in quotes that hold delimiters, quotes or line breaks, or would be taken for
    something else. With `quoting: none` none do: what holds such characters is the record's error, but where `escapechar`
    stands before them. With `escapechar` quotes inside of values are escaped and not doubled. With `decimal: ","` numbers
    have a comma, but not those inside of JSON.

    Text that the `encoding` cannot hold is the record's error, or has question marks with `on_unencodable: replace`. `utf-16`
    and `utf-32` are little-endian and have a byte-order mark; `bom` writes one for UTF-8, which Excel asks for. There is one
    in each file.

    Example:
        exporter_options:
          formatter:
            name: csv
            options:
              fields: [name, price, tags]
    """

    kind: ClassVar[str] = "formatter"
    extension: ClassVar[str] = "csv"

    fields: tuple[str, ...] = option("columns, in this order", type="str_list", default=(), example=["name", "price"])
    schema: Mapping[str, Any] = option(
        "a JSON schema; its properties, sorted, are the columns where `fields` is not given", type="dict", default={}
    )
    show_titles: bool = option("whether files begin with a row of names", type="bool", default=True)
    delimiter: str = option("the character between values", default=",", example="\t")
    null_marker: str | None = option(
        'what null and what is missing are written as; "" without quotes where it is not given',
        type="str", default=None, example="\\N",
    )  # fmt: skip
    quoting: str = option(
        "what stands in quotes: all values, all but numbers, what has to, or none", default="nonnumeric", choices=QUOTING,
        null="none",
    )  # fmt: skip
    quotechar: str = option("the character around values", default='"', example="'")
    escapechar: str = option(
        "the character before quotes inside of values, which are doubled otherwise, and before what would end a value",
        default="", example="\\",
    )  # fmt: skip
    encoding: str = option("the encoding of the text", default="utf-8", example="windows-1252")
    bom: bool = option("whether files begin with a byte-order mark", type="bool", default=False)
    on_unencodable: str = option(
        "characters that the encoding cannot hold: an error, or question marks", default="fail", choices=("fail", "replace")
    )
    decimal: str = option("the decimal character of numbers", default=".", example=",")
    line_end: str = option(
        "what rows end with: a line feed, a carriage return with a line feed behind, or a carriage return",
        default="lf", choices=tuple(LINE_ENDS),
    )  # fmt: skip

    _columns: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())
    _null: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        _check_dialect(self.delimiter, self.quotechar, self.escapechar, self.null_marker)
        self._check_style()
        properties = self.schema.get("properties")
        if not self.fields and not self.schema:
            raise ConfigError("fields: give the columns here, or a JSON schema whose properties are the columns")
        if not self.fields and not (isinstance(properties, Mapping) and properties):
            raise ConfigError("schema: it has no properties, which would be the columns; give them or `fields`")
        if (twice := _twice(self.fields)) is not None:
            raise ConfigError(f"fields: two columns are called {twice!r}; a file has one of each name")
        object.__setattr__(self, "_columns", tuple(self.fields) or tuple(sorted(properties or ())))
        if self.null_marker is not None:
            _check_marker(self.null_marker, self._columns, self._style)
            object.__setattr__(self, "_null", Unquoted(self.null_marker))
        encoding = self._encoding
        if lacking := encoding.lacks(self.delimiter + self.quotechar + self.escapechar + self.decimal):
            raise ConfigError(f"encoding: {self.encoding} has no {lacking!r}, which is to stand between or in values")
        if lacking := encoding.lacks(self.null_marker or ""):
            raise ConfigError(f"null_marker: it holds {_unwritable(lacking, self.encoding)}")
        option_name = "fields" if self.fields else "schema"
        if lacking := encoding.lacks("".join(map(str, self._columns))):
            raise ConfigError(f"{option_name}: a name holds {_unwritable(lacking, self.encoding)}")
        try:
            assert self.header is not None
        except RecordError as error:
            raise ConfigError(f"{option_name}: the row of names cannot be written: {error}") from None

    def _check_style(self) -> None:
        if self.quoting != "none" and not self.quotechar:
            raise ConfigError("quotechar: it is empty; give a character, or set quoting: none")
        if self.decimal not in (".", ","):
            raise ConfigError(f'decimal: {self.decimal!r} is neither "." nor ","')
        if self.decimal != "." and self.decimal == self.delimiter:
            raise ConfigError(f'decimal: {self.decimal!r} is the delimiter, too; set delimiter: ";"')

    @cached_property
    def _style(self) -> Style:
        return Style(
            self.delimiter,
            self.quotechar,
            self.escapechar,
            self.quoting,
            self.null_marker,
            self.decimal,
            LINE_ENDS[self.line_end],
        )

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding.of(self.encoding, self.bom, self.on_unencodable == "replace")

    @cached_property
    def _usual(self) -> bool:
        """Whether the writer of the standard library makes rows at once."""
        usual = Style(self.delimiter, null=self.null_marker, line_end=LINE_ENDS[self.line_end])
        return self._style == usual and self._encoding.codec == "utf-8" and not self._encoding.replace

    @cached_property
    def separator(self) -> bytes:
        return self._encoding.encode(LINE_ENDS[self.line_end])

    @property
    def footer(self) -> bytes:
        return self.separator

    @cached_property
    def header(self) -> bytes:
        if not self.show_titles:
            return self._encoding.mark
        return self._encoding.mark + self._row([*map(str, self._columns)]) + self.separator

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

    @property
    def reads_back(self) -> CsvDeserializer:
        """What reads the files again."""
        names = () if self.show_titles else tuple(map(str, self._columns))
        return CsvDeserializer(
            delimiter=self.delimiter, quotechar="" if self.quoting == "none" else self.quotechar, escapechar=self.escapechar,
            encoding=self.encoding, fields=names, null_marker=self.null_marker, duplicate_names="last",
        )  # fmt: skip

    def format(self, record: Record) -> bytes:
        try:
            values = [*map(record.get, self._columns)]
        except AttributeError:
            raise RecordError(f"CSV cannot hold {cut(record)}, which is not a mapping") from None
        if not SIMPLE.issuperset(map(type, values)):
            values = [v if type(v) in SIMPLE else cell(v, name) for v, name in zip(values, self._columns, strict=True)]
        try:
            return self._row(values)
        except UnicodeEncodeError as error:
            raise RecordError(
                f"CSV is written in UTF-8, which has no surrogates: {cut(error.object[max(0, error.start - 60) : error.end])}"
            ) from None
        except ValueError as error:
            raise RecordError(f"the row cannot be written: {error}") from None

    def _row(self, values: list[Any]) -> bytes:
        """The bytes of a row of simple values."""
        if self._usual:
            if self._null is not None and None in values:
                values = [self._null if v is None else v for v in values]
            return cast(bytes, row_writer(self.delimiter)(values))
        encoding = self._encoding
        try:
            return encoding.encode(self._style.row(values))
        except UnicodeEncodeError:
            if encoding.replace:
                return encoding.encode(self._style.row([*map(encoding.replaced, values)]))
            texts = ((name, value) for name, value in zip(self._columns, values, strict=True) if isinstance(value, str))
            name, text = next((name, text) for name, text in texts if encoding.lacks(text))
            raise RecordError(
                f'in the column "{cut(name)}": {self.encoding} cannot hold {encoding.lacks(text)!r}: {cut(text)}; '
                "set encoding: utf-8, or on_unencodable: replace"
            ) from None


def _unwritable(lacking: str, encoding: str) -> str:
    if "\ud800" <= lacking <= "\udfff":
        return f"half a surrogate pair, which {encoding.upper() if encoding == 'utf-8' else encoding} cannot write"
    return f"{lacking!r}, which {encoding} cannot hold"


def _check_marker(marker: str, columns: tuple[str, ...], style: Style) -> None:
    """Raises ConfigError where null could be taken for another value."""
    if not marker and style.quoting == "none":
        raise ConfigError("null_marker: without quotes an empty text would be null, too; leave it out, or give a marker")
    if not style.reads_null():
        raise ConfigError(f"null_marker: with escapechar {style.escapechar!r} {marker!r} is read as text; give another marker")
    if not marker and len(columns) == 1:
        raise ConfigError("null_marker: a row whose one value is null would be an empty line; give another marker")
    try:
        float(marker.replace(style.decimal, "."))
        number = True
    except ValueError:
        number = marker in ("True", "False")
    if number:
        raise ConfigError(f"null_marker: {marker!r} is written for a value, too, since numbers stand without quotes; "
                          'give another one such as "\\N"')  # fmt: skip
