"""Text in columns of fixed width: one line a record."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.csv_text import check_mark, decoded, undecodable
from exporters_beam.formats.limits import MAX_RECORD_BYTES, cut, too_long
from exporters_beam.records import Record

PIECE = 256 * 1024
"""Bytes read at a time, and so about the size of a chunk."""


def _as_it_is(text: str, _: str) -> str:
    return text


_TRIMS: dict[str, Any] = {"both": str.strip, "left": str.lstrip, "right": str.rstrip, "none": _as_it_is}
_KEYS = ("name", "start", "width", "end", "trim")
_MEMBERS: dict[str, Any] = {
    "items": {
        "type": "object",
        "properties": {
            "name": {"description": "the field", "type": "string"},
            "start": {"description": "its first character, counted from 1; where the column before ends if not given",
                      "type": "integer", "minimum": 1},
            "width": {"description": "how many characters it has", "type": "integer", "minimum": 1},
            "end": {"description": "its last character, in place of the width", "type": "integer", "minimum": 1},
            "trim": {"description": "from which ends spaces are cut", "enum": list(_TRIMS), "default": "both"},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
}  # fmt: skip


class _Column(NamedTuple):
    name: str
    start: int
    stop: int
    trim: Any


class _Lines(NamedTuple):
    """Whole lines without their ends. `sound` is false where something up to here could not be decoded."""

    lines: list[str]
    sound: bool


@dataclass(frozen=True, kw_only=True)
class FixedWidthDeserializer:
    """Read text in columns of fixed width: every line is a record of text values.

    `columns` says where each field stands: from `start`, the first character counted from 1, over `width` characters or up to
    and with the character `end`. Without `start` a column begins where the one before ends. Columns may overlap, and what
    stands outside of all of them is passed over. Characters count, not bytes. Spaces, tabs and NUL characters are cut
    from both ends of values, unless `trim` says left, right or none. The transform `fields` makes numbers and dates of them.

    Lines end with a line feed, with or without a carriage return. Completely empty ones are passed over. A line that ends
    before its last column does fails its record, unless `short_lines: fill` takes spaces for what is missing; so does text
    that is not of the `encoding`. A file that has fewer lines than `skip_lines` and `skip_footer` pass over is an error.
    Numbers in messages count records.

    Example:
        deserializer:
          name: fixed_width
          options:
            encoding: windows-1252
            columns:
              - {name: id, start: 1, width: 6}
              - {name: town, width: 20}
              - {name: amount, start: 40, end: 51}
    """

    kind: ClassVar[str] = "deserializer"

    columns: tuple[Mapping[str, Any], ...] = option(
        "the fields, each with its name, and where it stands in the line", type="dict_list", members=_MEMBERS,
        example=[{"name": "id", "width": 6}, {"name": "amount", "start": 40, "end": 51}],
    )  # fmt: skip
    encoding: str = option("the encoding of the text", default="utf-8", example="windows-1252")
    skip_lines: int = option("lines to pass over at the beginning of each file", type="int", default=0, minimum=0)
    skip_footer: int = option(
        "lines to pass over at the end of each file, empty ones not counted", type="int", default=0, minimum=0
    )
    short_lines: str = option(
        "lines that end before their last column: an error, or filled with spaces", default="fail", choices=("fail", "fill")
    )
    empty_as_null: bool = option("whether values that are empty without their spaces are null", type="bool", default=False)
    max_record_bytes: int = option(
        "characters that a line may have; a longer one is an error", type="int", default=MAX_RECORD_BYTES, minimum=1
    )
    _columns: tuple[_Column, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
            codecs.getincrementaldecoder(self.encoding)
        except (LookupError, UnicodeError):
            raise ConfigError(f"encoding: Python knows no encoding of text called {self.encoding!r}") from None
        if not self.columns:
            raise ConfigError("columns: give the fields, such as {name: id, start: 1, width: 6}")
        made: list[_Column] = []
        for number, given in enumerate(self.columns):
            column = _column(f"columns[{number}]", given, made[-1].stop if made else 0)
            if any(column.name == other.name for other in made):
                raise ConfigError(
                    f"columns[{number}].name: two columns are called {column.name!r}; give each a name of its own"
                )
            made.append(column)
        object.__setattr__(self, "_columns", tuple(made))

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[_Lines, int, int]]:
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        rest, size, sound, start, skip = "", 0, True, True, self.skip_lines
        held: list[str] = []
        while True:
            raw = stream.read(max(PIECE, min(len(rest), self.max_record_bytes)))
            if start and not size:
                check_mark(raw, self.encoding)
            size += len(raw)
            text, whole = decoded(decoder, raw)
            sound = sound and whole
            if start and text:
                text, start = text.removeprefix("\ufeff"), False
            *lines, rest = (rest + text).split("\n")
            if not raw and rest:
                lines, rest = [*lines, rest], ""
            passed = min(skip, len(lines))
            skip -= passed
            held += [line for line in (each.removesuffix("\r") for each in lines[passed:]) if line]
            ready = held[: max(0, len(held) - self.skip_footer)]
            yield from self._checked(ready, sound, size)
            if ready:
                held, size = held[len(ready) :], 0
            if len(rest) > self.max_record_bytes:
                raise too_long("line", "characters", self.max_record_bytes)
            if not raw:
                break
        if not start and (skip or len(held) < self.skip_footer):
            raise SourceError(f"the file has fewer lines than skip_lines ({self.skip_lines}) and skip_footer "
                              f"({self.skip_footer}) pass over")  # fmt: skip

    def _checked(self, lines: list[str], sound: bool, size: int) -> Iterator[tuple[_Lines, int, int]]:
        long = next((n for n, line in enumerate(lines) if len(line) > self.max_record_bytes), None)
        if lines[:long]:
            yield _Lines(lines[:long], sound), len(lines[:long]), size
        if long is not None:
            raise too_long("line", "characters", self.max_record_bytes)

    def decode(self, data: _Lines) -> list[Record]:
        return [self._record(line, data.sound) for line in data.lines]

    def decode_each(self, data: _Lines) -> Iterator[tuple[int, Record | Exception, object]]:
        for number, line in enumerate(data.lines):
            try:
                yield number, self._record(line, data.sound), line
            except RecordError as error:
                yield number, error, line

    def _record(self, line: str, sound: bool) -> Record:
        record: Record = {}
        for name, start, stop, trim in self._columns:
            if len(line) < stop and self.short_lines == "fail":
                raise RecordError(
                    f'the line has {len(line)} characters, and the column "{cut(name)}" ends at {stop}: {cut(line)}; fix the '
                    "line, or set short_lines: fill"
                )
            value = line[start:stop]
            if not sound and undecodable(value):
                byte = next(ord(char) - 0xDC00 for char in value if "\udc00" <= char <= "\udcff")
                raise RecordError(
                    f'the text in the column "{cut(name)}" is not of the encoding: byte 0x{byte:02x}: {cut(value)}'
                )
            if trim is _as_it_is and len(line) < stop:
                value = value.ljust(stop - start)
            value = trim(value, " \t\0")
            record[name] = None if self.empty_as_null and not value.strip(" \t\0") else value
        return record


def _column(place: str, given: Mapping[str, Any], before: int) -> _Column:
    """One column; `before` is where the one before ends. Raises ConfigError."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place}: give a mapping such as {{name: id, start: 1, width: 6}}")
    for key in given:
        if key not in _KEYS:
            raise ConfigError(f"{place}.{key}: unknown key{did_you_mean(str(key), _KEYS)}")
    name, trim = given.get("name"), given.get("trim", "both")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{place}.name: give the name of the field")
    for key in ("start", "width", "end"):
        number = given.get(key, 1)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ConfigError(f"{place}.{key}: {number!r} is no number of characters from 1 on")
    if ("width" in given) == ("end" in given):
        raise ConfigError(f"{place}: give either width or end for the column {name!r}")
    if trim is None:
        trim = "none"
    if not isinstance(trim, str) or trim not in _TRIMS:
        raise ConfigError(f"{place}.trim: {trim!r} is not one of {', '.join(_TRIMS)}")
    start = given.get("start", before + 1) - 1
    stop = given.get("end", start + given.get("width", 0))
    if stop <= start:
        raise ConfigError(f"{place}.end: {stop} is before its first character, {start + 1}")
    return _Column(name, start, stop, _TRIMS[trim])
