"""JSON files that hold one array of objects, or objects one behind the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, NamedTuple

import msgspec

from exporters_beam.components.options import option
from exporters_beam.errors import RecordError, SourceError
from exporters_beam.formats.json_lines import SPACE, parse
from exporters_beam.formats.limits import MAX_RECORD_BYTES, after_mark, cut, too_long
from exporters_beam.records import Record

PIECE = 256 * 1024
"""Bytes read at a time, and so about the size of a chunk."""

_loads = msgspec.json.Decoder().decode


class _Run(NamedTuple):
    """Text that begins and ends on record borders. `before`, `after`: whether these lie inside an array."""

    text: bytes
    before: bool
    after: bool
    records: int


@dataclass(frozen=True, kw_only=True)
class JsonDeserializer:
    """Read JSON files that are one array of objects, however they are spread over lines.

    Files of objects one behind the other, with or without white space between them, and of several such arrays are
    read as well, all without ever holding a whole file. Numbers, text and errors are treated as in JSON lines. What
    stands in an array, or between values, and is not an object is an error; so are an array that is not closed, an empty
    one among others, objects beside arrays, and a file that is empty.

    Example:
        deserializer:
          name: json
    """

    kind: ClassVar[str] = "deserializer"

    max_record_bytes: int = option(
        "bytes that a value may have; a longer one is an error", type="int", default=MAX_RECORD_BYTES, minimum=1
    )

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[_Run, int, int]]:
        scan = _Scan()
        parts: list[bytes] = []
        records, held, before = 0, 0, False
        piece, mark = after_mark(stream, PIECE)
        while piece:
            found, end = scan.records_in(piece, records)
            held += len(piece)
            if found:
                text = b"".join((*parts, piece[:end]))
                if scan.strange:  # There may be more values, or fewer, than those that brackets enclose.
                    found = _counted(text, before, found) if scan.in_array else sum(1 for _ in _values(text, before))
                run = _Run(text, before, scan.in_array, found)
                if held > self.max_record_bytes:
                    yield from self._short_values(run, mark)
                else:
                    yield run, found, len(text) + mark
                parts, before, mark, held = [], scan.in_array, 0, len(piece) - end
                records += found
            parts.append(piece[end:])
            if held > self.max_record_bytes:
                between, text = _between(b"".join(parts))
                if len(text) > self.max_record_bytes:
                    raise too_long("value", "bytes", self.max_record_bytes)
                parts, held = [between, text], len(text)
            piece = stream.read(PIECE)
        if scan.depth or scan.in_text:
            what = "the array is not closed" if scan.depth == 1 and scan.array and not scan.in_text else "it is cut short"
            raise SourceError(f"record {records + 1}: the input ends here, but {what}")
        if not scan.begun:
            raise SourceError("record 1: there is no JSON in it, not even an empty array")
        text = b"".join(parts)
        if text.strip(SPACE):
            yield _Run(text, before, False, 0), 0, len(text) + mark

    def _short_values(self, run: _Run, mark: int) -> Iterator[tuple[_Run, int, int]]:
        """The chunk that this run is, up to the first value that is too long."""
        number = end = 0
        in_array = run.before
        for value in _values(run.text, run.before):
            if len(value.text) > self.max_record_bytes:
                if number:
                    yield _Run(run.text[:end], run.before, in_array, number), number, end + mark
                raise too_long("value", "bytes", self.max_record_bytes)
            number, end, in_array = number + 1, value.end, value.in_array
        yield run, run.records, len(run.text) + mark

    def decode(self, data: _Run) -> list[Record]:
        text, before, after, count = data
        if before or after or text.lstrip(SPACE)[:1] == b"[":
            # The text goes on behind a record of the chunk before, so an empty record stands in for that one.
            records: list[Record] = _loads((b"[{}" if before else b"") + text + (b"]" if after else b""))
            if before:
                del records[0]
        else:
            # Between whole values "}{" must stand once less than there are values, and putting a comma in makes them
            # an array. Where it also stands inside a text there are too many, or the line feed makes the text invalid.
            joined, borders = _BORDER.subn(b"},\n{", text)
            if borders != count - 1:
                raise RecordError("the values are not objects, or their texts look like borders")
            records = _loads(b"[" + joined + b"]")
        if len(records) != count or {*map(type, records)} - {dict}:
            raise RecordError("a value is not a JSON object")
        return records

    def decode_each(self, data: _Run) -> Iterator[tuple[int, Record | Exception, Any]]:
        for number, (text, complaint, _, _) in enumerate(_values(data.text, data.before)):
            try:
                if complaint:
                    raise RecordError(f"not valid JSON: {complaint}: {cut(text)}")
                yield number, parse(text), text
            except RecordError as error:
                yield number, error, text


def _between(text: bytes) -> tuple[bytes, bytes]:
    """What stands between values, without the white space that may be long, and the value that begins behind it."""
    end = _SEPARATOR.match(text).end()  # type: ignore[union-attr]
    return text[:end].translate(None, b" \t\r\n"), text[end:]


_SEPARATOR = re.compile(rb"[ \t\r\n]*[,\]]?[ \t\r\n]*\[?[ \t\r\n]*")
_BORDER = re.compile(rb"\}[ \t\r\n]*\{")
_STRANGE = re.compile(rb'[}\]](?:[^,}\]]|,(?:[^{"\[]|"[^:]))').search
"""What stands behind a value that brackets enclose and is no further one, nor a member of an object, nor the end of what
encloses both; without white space, and with one quote for each text. Lists in records may hold such things."""

_DELTA = {91: 1, 123: 1, 93: -1, 125: -1}
_NO_BRACKETS = bytes(c for c in range(256) if c not in _DELTA)
_ENCLOSED = re.compile(rb"[\[{][^\[\]{}]*[\]}]")


class _Scan:
    """Finds where records end, piece by piece, by counting the brackets outside of texts."""

    def __init__(self) -> None:
        self.depth = 0
        self.array = False  # whether an array stands open: its members are the records
        self.in_array = False  # whether the last record found is such a member
        self.in_text = False
        self.begun = False
        self.strange = (
            False  # whether something else than records may stand before the end of the last one, since the one before
        )
        self._opened = False
        self._arrays = self._held = 0  # how many begun so far, and how many records the last one has
        self._escaped = False
        self._tail = b""
        self._was_strange = False  # the same behind the end of the last one

    def records_in(self, piece: bytes, before: int) -> tuple[int, int]:
        """How many records end in the piece and where behind the last one is. `before`: records found earlier."""
        if not self.begun and (first := piece.lstrip(SPACE)[:40]):
            if first[0] not in b"[{":
                raise SourceError(f"record {before + 1}: neither a JSON array nor an object begins here: {cut(first)}")
            self.begun = True
        parts = self._masked(piece).split(b'"')
        inside, self.in_text = self.in_text, self.in_text ^ (len(parts) % 2 == 0)
        outside = b'"'.join((*parts[inside::2], b"") if self.in_text else parts[inside::2])
        brackets = outside.translate(None, _NO_BRACKETS)
        depth, array, found, last, borders = self.depth, self.array, 0, -1, 0
        for index, bracket in enumerate(brackets):
            if bracket in b"[{":
                if depth == 0:
                    self._check_next(bracket == 91, before + found)
                    borders += self._opened
                    array, self._opened, self._held = bracket == 91, True, 0
                depth += 1
            else:
                depth -= 1
                if depth == array:
                    found, last, self.in_array = found + 1, index, array
                    self._held += 1
                elif depth <= 0:
                    array = False
                    if self._arrays > 1 and not self._held:
                        raise _beside(before + found, "an empty array stands beside others")
                    if depth < 0:
                        raise SourceError(f"record {before + found + 1}: a bracket is closed that was not opened")
        self.depth, self.array = depth, array
        strange = self._is_strange(outside, borders)
        self.strange = self._was_strange or strange
        self._was_strange = strange if found else self.strange
        return found, _place(parts, inside, len(brackets) - last - 1) if found else 0

    def _is_strange(self, outside: bytes, borders: int) -> bool:
        """Whether there may be values that no brackets enclose, or several that count as one: so records keep their numbers."""
        compact = outside.translate(None, SPACE)
        if self._arrays and not self._tail:
            compact = compact[1:]  # The bracket that begins the array is like a comma behind a record.
            self._tail = b"},"
        compact = (self._tail + compact).replace(b"][", b",")
        self._tail = compact[-3:] if self._arrays else compact[-1:]
        return bool(_STRANGE(compact)) if self._arrays else compact.count(b"}{") != borders

    def _check_next(self, array: bool, before: int) -> None:
        """Raises where a file cannot go on with an array, or an object, behind what it holds already."""
        if self._opened and array != bool(self._arrays):
            raise _beside(before, "an array begins behind objects" if array else "an object begins behind an array")
        if self._arrays and not self._held:
            raise _beside(before, "an empty array stands beside others")
        self._arrays += array

    def _masked(self, piece: bytes) -> bytes:
        """The piece, of the same length, without escapes in texts: the quotes left begin and end texts."""
        if self._escaped:
            piece = b"_" + piece[1:]
        piece = _masked(piece)
        self._escaped = piece[-1:] == b"\\"
        return piece


def _beside(before: int, what: str) -> SourceError:
    return SourceError(
        f"record {before + 1}: {what}; a file is one array of objects, several that each hold some, or objects one behind "
        "the other"
    )


def _masked(text: bytes) -> bytes:
    """A text, of the same length, without escapes: the quotes left begin and end texts."""
    return text.replace(b"\\\\", b"__").replace(b'\\"', b"__") if 92 in text else text


def _counted(text: bytes, in_array: bool, found: int) -> int:
    """How many members of an array stand in a text that ends behind one. `found` is right where nothing but a comma stands
    between what brackets enclose; else they are looked at one by one."""
    outside = b'"'.join(_masked(text).split(b'"')[::2]).translate(None, SPACE).replace(b"][", b",")
    if not in_array:
        outside = outside[1:]  # the bracket that begins the array
    enclosed = 1
    while enclosed:
        outside, enclosed = _ENCLOSED.subn(b"o", outside)
    return found if outside == (b",o" * found)[not in_array :] else sum(1 for _ in _values(text, in_array))


def _place(parts: list[bytes], inside: bool, after: int) -> int:
    """Where in the piece that was split at its quotes the bracket ends behind which `after` more stand."""
    end = sum(map(len, parts)) + len(parts) - 1
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        if index % 2 == inside:
            here = len(part.translate(None, _NO_BRACKETS))
            if here > after:
                places = [place for place, byte in enumerate(part) if byte in _DELTA]
                return end - len(part) + places[-1 - after] + 1
            after -= here
        end -= len(part) + 1
    raise AssertionError("more brackets were counted than there are")


_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{},]|[^ \t\r\n"\[\]{},]+', re.DOTALL)


class _Value(NamedTuple):
    """A member of an array, or a value that stands in none. `end`: where behind it the text can be cut."""

    text: bytes
    complaint: str
    end: int
    in_array: bool


def _values(text: bytes, in_array: bool) -> Iterator[_Value]:
    """Every value one by one: its text and what is wrong around it."""
    depth = base = int(in_array)
    start, end, complaint = -1, 0, ""
    last = b"value"  # what stood last on this level: a value, a comma or the bracket that begins the array
    for token in _TOKEN.finditer(text):
        byte = token[0]
        if depth == base == 1 and byte in (b",", b"]"):
            if start >= 0:
                yield _Value(text[start:end], complaint, end, True)
            elif last == b"," or (last == b"[" and byte == b","):
                yield _Value(last + byte, "a value is missing", token.start(), True)
            start, last = -1, byte
            depth = base = int(byte == b",")
        elif depth == base == 0 and byte == b"[":
            depth = base = 1
            last = byte
        else:
            if start < 0:
                start, complaint = token.start(), "a comma is missing before it" if base and last == b"value" else ""
            end = token.end()
            depth += (byte in (b"[", b"{")) - (byte in (b"]", b"}"))
            if depth == base and (not base or byte in (b"]", b"}")):
                yield _Value(text[start:end], complaint, end, bool(base))
                start, last = -1, b"value"
    if start >= 0:
        yield _Value(text[start:end], complaint, end, bool(base))
