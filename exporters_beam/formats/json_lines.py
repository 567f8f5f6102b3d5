"""JSON, one object a line: reading lines, writing JSON.

Both directions have a fast way (msgspec, orjson) and an exact way (the standard library, and below it a writer of our
own), which is taken where the fast one refuses a value or would change it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, BinaryIO, ClassVar, Literal, TypedDict, cast

import msgspec

from exporters_beam.components.options import option
from exporters_beam.components.words import kind_of
from exporters_beam.errors import RecordError
from exporters_beam.formats.limits import MAX_RECORD_BYTES, after_mark, cut, too_long
from exporters_beam.formats.lines import Split, split
from exporters_beam.records import MISSING, Record

PIECE = 512 * 1024
"""Bytes read at a time, and so about the size of a chunk."""

SPACE = b" \t\r\n"
"""White space of JSON. Python's own has more: vertical tabs and form feeds are not JSON."""

_loads = msgspec.json.Decoder().decode

_all_of: Callable[[bytes], list[Record]] = msgspec.json.Decoder(dict).decode_lines
"""Objects with white space between them, or nothing: where lines end does not matter to it."""

Glance = Callable[[Any], tuple[list[Any], Callable[[Any], list[bytes]], Callable[[list[bytes]], list[Record]]]]
"""What the decoder sees of a chunk before anything is decoded whole: part of each record, the lines of those with a true
flag (None: all), and records of lines."""


@dataclass(frozen=True, kw_only=True)
class JsonLinesDeserializer:
    """Read JSON lines: one object a line, in UTF-8.

    Blank lines are skipped, a carriage return before the line feed and a byte-order mark at the beginning are allowed,
    the last line needs no line feed. Integers keep all digits, NaN, Infinity and -Infinity are read as floats, and of
    equal keys in an object the last one counts. A line that is not valid JSON, not valid UTF-8 or not an object is an
    error, as is one with several objects; numbers in messages count lines, blank ones included. Where records do not stand
    one a line, `deserializer: json` reads them.

    Example:
        deserializer:
          name: jsonlines
    """

    kind: ClassVar[str] = "deserializer"
    splits_on_lines: ClassVar[bool] = True
    gives_lines: ClassVar[bool] = True

    max_record_bytes: int = option(
        "bytes that a line may have; a longer one is an error", type="int", default=MAX_RECORD_BYTES, minimum=1
    )

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[Split, int, int]]:
        parts: list[bytes] = []
        held = 0
        piece, mark = after_mark(stream, PIECE)
        while piece:
            cut = piece.rfind(b"\n") + 1
            held += len(piece)
            if cut:
                data = b"".join((*parts, piece if cut == len(piece) else memoryview(piece)[:cut]))
                if held > self.max_record_bytes:
                    yield from self._short_lines(data, mark)
                else:
                    found = split(data)
                    yield found, found.count, len(data) + mark
                parts, mark, held = [], 0, len(piece) - cut
            if held:  # A chunk of one part is not copied.
                parts.append(piece[cut:])
            if held > self.max_record_bytes:
                raise too_long("line", "bytes", self.max_record_bytes)
            piece = stream.read(PIECE)
        if data := b"".join(parts):
            yield split(data), 1, len(data) + mark

    def _short_lines(self, data: bytes, mark: int) -> Iterator[tuple[Split, int, int]]:
        """The chunk that these whole lines are, up to the first that is too long."""
        end = 0
        for number, line in enumerate(data.split(b"\n")):
            if len(line) > self.max_record_bytes:
                if number:
                    yield split(data[:end]), number, end + mark
                raise too_long("line", "bytes", self.max_record_bytes)
            end += len(line) + 1
        yield split(data), data.count(b"\n"), len(data) + mark

    def decode(self, data: bytes | Split) -> list[Record]:
        found = data if isinstance(data, Split) else split(data)
        records: list[Record] = _all_of(found.text)
        if not found.holds(len(records)):
            raise RecordError("a line does not hold one JSON object")  # The caller looks at each line.
        return records

    def glance(self, fields: frozenset[str] | None) -> Glance:
        """A function that gives a chunk's records with these fields only (None: all), its lines, and what makes records of
        lines.

        It raises for a chunk in which a line is at fault, or might be: whole lines are then looked at one by one. What it
        passes over is checked as strictly as what it decodes, except for the encoding of texts, which is checked first,
        and numbers beyond the range of floats. Integers that Python may refuse for their length count as a fault.
        """
        return self._glance(_all_of if fields is None else _decoder_of(fields))

    def glance_at(self, fields: Sequence[str]) -> Glance:
        """`glance` that gives no records but objects, with the value of the first field as f0 and so on; MISSING where a
        record has none."""
        return self._glance(_Seen(fields))

    def _glance(self, decode: Callable[[bytes], list[Any]]) -> Glance:
        def records_of(lines: list[bytes]) -> list[Record]:  # of which each is known to hold one object
            return _all_of(b"\n".join(lines)) if lines else []

        def glanced(
            chunk: bytes | Split,
        ) -> tuple[list[Any], Callable[[Any], list[bytes]], Callable[[Any], list[Record]]]:
            found = chunk if isinstance(chunk, Split) else split(chunk)
            if not found.text.isascii():
                found.text.decode()
            parts = decode(found.text)
            if not found.holds(len(parts)):
                raise RecordError("a line does not hold one JSON object")
            if found.longest > _MOST_DIGITS and digits_follow(found.text, _MOST_DIGITS):
                raise RecordError("an integer has too many digits")
            return parts, found.lines, records_of

        return glanced

    def decoder_of(self, fields: frozenset[str]) -> Callable[[list[bytes]], list[Record]]:
        """A function that makes records of lines which `glance` has passed, with these fields only."""
        decode = _decoder_of(fields)
        return lambda lines: decode(b"\n".join(lines)) if lines else []

    def decode_each(self, data: bytes | Split) -> Iterator[tuple[int, Record | Exception, Any]]:
        text = data.text if isinstance(data, Split) else data
        for number, line in enumerate(text.split(b"\n")):
            if line.strip(SPACE):
                try:
                    yield number, parse(line), line
                except _NotOneALine as error:
                    yield number, RecordError(f"{error}; {_ONE_A_LINE}"), line
                except RecordError as error:
                    yield number, error, line


_MOST_DIGITS = 640
"""Python reads integers of that many digits whatever its limit, `sys.get_int_max_str_digits()`, is set to."""

_DIGIT = bytes(49 if byte in b"0123456789" else 48 for byte in range(256))
"""Makes 1 of each digit, 0 of all others."""

_STEP = 8


def digits_follow(text: bytes, count: int) -> bool:
    """Whether so many digits follow each other.

    Where they do, every eighth byte of them is one as well: mostly that there are not enough of these says enough. Translating
    and finding takes a twentieth of the time of a regular expression.
    """
    if b"1" * (count // _STEP) not in text[::_STEP].translate(_DIGIT):
        return False
    return b"1" * count in text.translate(_DIGIT)


def _decoder_of(fields: frozenset[str]) -> Callable[[bytes], list[Record]]:
    """Decodes lines of objects to dictionaries with only these fields, in the order in which the lines have them."""
    make: Any = TypedDict  # mypy wants the fields written out
    decode: Any = msgspec.json.Decoder(make("partial", dict.fromkeys(sorted(fields), Any), total=False)).decode_lines
    return cast(Callable[[bytes], list[Record]], decode)


class _Seen:
    """Decodes lines of objects to objects that have the values of some fields only, as f0, f1 and so on.

    Texts that it has seen before are not made again: where all values of a field are, or null, they come as the same objects,
    which takes less time to make and to look up.
    """

    MOST, LONGEST = 500, 100
    """Texts of a field, and characters of one, from which on a field's texts are made each time."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._names = {f"f{n}": name for n, name in enumerate(fields)}
        self._texts: dict[str, set[str] | None] = {name: set() for name in self._names}
        self._any = self._decoder({})
        self._known: Callable[[bytes], list[Any]] | None = None
        self._chunks = self._learned = 0

    def __call__(self, data: bytes) -> list[Any]:
        self._chunks += 1
        if self._known is not None:
            try:
                return self._known(data)
            except msgspec.ValidationError:  # a text that is new
                pass
        parts = self._any(data)
        self._known = None
        if self._learned <= 8 + self._chunks // 16:  # Where new ones keep coming, each costs half a chunk.
            self._learned += 1
            self._learn(parts)
        return parts

    def _learn(self, parts: list[object]) -> None:
        for name, texts in self._texts.items():
            if texts is not None:
                try:
                    texts.update({*map(attrgetter(name), parts)} - {None, MISSING})
                    known = len(texts) <= self.MOST and all(type(t) is str and len(t) <= self.LONGEST for t in texts)
                except TypeError:  # Lists and mappings.
                    known = False
                self._texts[name] = texts if known else None
        kinds: Any = {name: Literal[tuple(texts)] | None for name, texts in self._texts.items() if texts}
        self._known = self._decoder(kinds) if kinds else None

    def _decoder(self, kinds: Mapping[str, object]) -> Callable[[bytes], list[Any]]:
        values: list[Any] = [(name, kinds.get(name, Any), MISSING) for name in self._names]
        seen = msgspec.defstruct("seen", values, rename=self._names, gc=False)
        return msgspec.json.Decoder(seen).decode_lines


_passes = msgspec.json.Decoder(msgspec.defstruct("_Nothing", [])).decode


def is_sound(line: bytes) -> bool:
    """Whether a line is JSON that can be handed on as it is: one object, in UTF-8, without NaN or lone surrogates."""
    try:
        if not line.isascii():
            line.decode()
        _passes(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


class _NotOneALine(RecordError):
    """What is no record would be some, or a part of one, if it need not stand on a line of its own."""


_ONE_A_LINE = "where records do not stand one a line, write deserializer: json"


def parse(text: bytes) -> Record:
    """The object that this JSON text is. Raises RecordError, which says what is wrong and where in the text."""
    try:
        value = _loads(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = _parse_exactly(text)
    if type(value) is not dict:
        kind = _NotOneALine if type(value) is list else RecordError
        raise kind(f"not a JSON object but {kind_of(value)}: {cut(text)}")
    return value


def parse_all(lines: Sequence[bytes]) -> list[Record]:
    """The objects that these lines are, of which each is known to be one, faster than one by one. Raises RecordError for those
    that only `parse` can read."""
    try:
        records = _all_of(b"\n".join(lines)) if lines else []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(str(error)) from None
    if len(records) != len(lines):
        raise RecordError("a line does not hold one JSON object")
    return records


def _parse_exactly(text: bytes) -> Any:
    """What the standard library makes of it: it also knows NaN, numbers that are too large, and lone surrogates."""
    try:
        return json.loads(text.decode())
    except UnicodeDecodeError as error:
        byte = text[error.start]
        raise RecordError(f"not valid UTF-8: byte 0x{byte:02x} at byte {error.start + 1}: {cut(text)}") from None
    except json.JSONDecodeError as error:
        complaint = error.msg.removesuffix(" at")
        rest = error.doc[error.pos :].strip(" \t\r\n,")
        more = error.doc.lstrip()[:1] in ("{", "[") and (rest[:1] in ("{", "[") or not rest)
        kind = _NotOneALine if more else RecordError
        raise kind(f"not valid JSON: {complaint} at character {error.pos + 1}: {cut(text)}") from None
    except ValueError:  # Python's own limit, which keeps the work linear
        limit = sys.get_int_max_str_digits()
        raise RecordError(f"not readable: an integer has more than {limit} digits: {cut(text)}") from None
    except RecursionError:
        raise RecordError(f"not readable: values are nested too deep: {cut(text)}") from None
