"""JSON, one object a line: reading lines, writing JSON.

Both directions have a fast way (msgspec, orjson) and an exact way (the standard library, and below it a writer of our
own), which is taken where the fast one refuses a value or would change it.
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import accumulate, repeat
from operator import attrgetter
from typing import Any, BinaryIO, ClassVar, Literal, TypedDict, cast
from uuid import UUID

import msgspec
import orjson

from exporters_beam.decimals import plain, text_of
from exporters_beam.errors import RecordError
from exporters_beam.formats.lines import Split, split
from exporters_beam.options import option
from exporters_beam.records import MISSING, Record

PIECE = 512 * 1024
"""Bytes read at a time, and so about the size of a chunk."""

MAX_RECORD_BYTES = 100 << 20
"""The usual `max_record_bytes`: what is longer is hardly a record, and a few of them would fill the memory."""

BOM = b"\xef\xbb\xbf"

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
                    yield found, len(found.ends), len(data) + mark
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
            if found.longest > _MOST_DIGITS and _TOO_MANY_DIGITS(found.text):
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

_TOO_MANY_DIGITS = re.compile(rb"[0-9]{%d}" % _MOST_DIGITS).search


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

    def _learn(self, parts: list[Any]) -> None:
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

    def _decoder(self, kinds: Mapping[str, Any]) -> Callable[[bytes], list[Any]]:
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


def too_long(what: str, units: str, limit: int) -> RecordError:
    """The error for the record that follows those of the chunks before."""
    return RecordError(f"the {what} is longer than {limit:,} {units}; where that is right, raise max_record_bytes")


def after_mark(stream: BinaryIO, size: int) -> tuple[bytes, int]:
    """The first `size` bytes of a stream, and 3 if a UTF-8 byte-order mark stood before them, else 0."""
    first = stream.read(3)
    if first == BOM and not getattr(stream, "begins_inside", False):
        return stream.read(size), 3
    return first + stream.read(max(0, size - 3)), 0


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
        raise kind(f"not a JSON object but {_kind(value)}: {cut(text)}")
    return value


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


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def cut(value: Any) -> str:
    """A value as messages show it: at most about 200 characters in one line, bytes as text.

    >>> cut(b"x" * 300)[195:]
    'xxxxx… (300 long)'
    """
    if isinstance(value, (bytes, str)):
        text = value[:800].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value[:800]
        shown = text.strip(" \t\r\n").encode("utf-8", "backslashreplace").decode()
    else:
        try:
            shown = repr(value)
        except (RecursionError, ValueError):
            shown = f"a deeply nested {type(value).__name__}"
    if not shown.isprintable():  # line feeds, and what a terminal would obey
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    if len(shown) <= 200:
        return shown
    return f"{shown[:200]}… ({len(value) if isinstance(value, (bytes, str)) else len(shown)} long)"


_PLAIN = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_PRETTY = _PLAIN | orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS

# orjson writes 1e-07 as 1e-7 and 1.5e-05 as 0.000015; before 3.12 or so also 1e+16 as 1e16. These find such numbers
# (and now and then something like them inside a text, which costs time but no harm).
_SMALL = re.compile(rb"[0-9]e-[5-9](?![0-9])|(?<![0-9])0\.0000").search
_LARGE = re.compile(rb"[0-9]e[0-9]").search
_SIGNS = (b"e-", b"0.0000", b"null")
"""What stands in every text that orjson may have written otherwise than Python."""


def _has_exponent(text: bytes) -> bool:
    """Whether the first of the signs is in a text, in a quarter of the time that `rfind` takes."""
    import numpy as np

    codes = np.frombuffer(text, np.uint8) if text else np.zeros(1, np.uint8)
    return bool(((codes[1:] == 45) & (codes[:-1] == 101)).any())


_WRITES_PLUS = orjson.dumps(1e16) == b"1e+16"


@dataclass(frozen=True, kw_only=True)
class JsonFormat:
    """Write JSON: one value a line, or one array a file.

    Keys keep their order, text is UTF-8, numbers are written as Python writes them. Dates and times become ISO 8601
    text, UUIDs text, decimals numbers with all their digits, bytes base64 text, tuples arrays and keys that are not
    text text. Lone surrogates are written as escapes. NaN and infinities fail the record unless `allow_nan` is true;
    sets and other values that JSON does not know always do. Where records come from JSON lines and no step can change
    them, lines are handed on as they are, white space and order of digits included, unless `reencode` is true; where
    steps only add fields (`item.update(new=…)`), these stand behind what is in the line.

    Lines go to files named .jl; with `jsonlines: false` each file is one array and named .json. `pretty_print` with
    lines writes each value over several lines, which few programs read as JSON lines.

    Example:
        exporter_options:
          formatter:
            name: json
            options:
              jsonlines: true
    """

    kind: ClassVar[str] = "formatter"

    jsonlines: bool = option("one value a line, else one array a file", type="bool", default=True)
    pretty_print: bool = option("indent by 2 spaces and sort keys", type="bool", default=False)
    allow_nan: bool = option("write NaN, Infinity and -Infinity, which are not valid JSON", type="bool", default=False)
    ensure_ascii: bool = option("write characters beyond ASCII as \\uXXXX escapes", type="bool", default=False)
    reencode: bool = option(
        "write also those lines anew that nothing has changed or only added to", type="bool", default=False
    )

    _options: int = field(init=False, repr=False, compare=False, default=_PLAIN)

    def __post_init__(self) -> None:
        if self.pretty_print:
            object.__setattr__(self, "_options", _PRETTY)

    @property
    def takes_lines(self) -> bool:
        """Whether a sound line of JSON is what this format would write, but for white space and the like."""
        return self.jsonlines and not (self.pretty_print or self.ensure_ascii or self.reencode)

    @property
    def extension(self) -> str:
        return "jl" if self.jsonlines else "json"

    @property
    def header(self) -> bytes:
        return b"" if self.jsonlines else b"["

    @property
    def separator(self) -> bytes:
        return b"\n" if self.jsonlines else b",\n"

    @property
    def footer(self) -> bytes:
        return b"\n" if self.jsonlines else b"\n]"

    @property
    def empty(self) -> bytes:
        """A file without records."""
        return b"" if self.jsonlines else b"[]"

    def format(self, record: Any) -> bytes:
        try:
            out = orjson.dumps(record, _default, self._options)
        except TypeError:
            return self._exactly(record)
        return self._checked(out, record)

    def format_all(self, records: Sequence[Any]) -> list[bytes]:
        """What `format` gives for each record, faster. Raises anything where one is at fault."""
        texts = list(map(orjson.dumps, records, repeat(_default), repeat(self._options)))
        together = b"\n".join(texts)
        if self.ensure_ascii or not _WRITES_PLUS:
            return list(map(self._checked, texts, records))
        ends: list[int] = []
        for sign in _SIGNS if _has_exponent(together) else _SIGNS[1:]:
            at = together.rfind(sign)  # twice as fast as `find`, and mostly there is none
            while at >= 0:
                ends = ends or list(accumulate(len(text) + 1 for text in texts))
                index = bisect_right(ends, at)
                texts[index] = self._checked(texts[index], records[index])
                at = together.rfind(sign, 0, ends[index - 1] if index else 0)
        return texts

    def extend_all(self, lines: Sequence[bytes], records: Sequence[Any], added: Sequence[str]) -> list[bytes]:
        """Each line of JSON, an object, with the `added` fields of its record behind its own; where the line is empty, what
        `format` gives for the record. Raises anything where one is at fault."""
        if b"" in lines:
            pairs = zip(lines, records, strict=True)
            return [self.extend_all([line], [r], added)[0] if line else self.format(r) for line, r in pairs]
        if not added:
            return list(lines)
        ends = [self._members(name, [record[name] for record in records]) for name in added]
        end = ends[0] if len(ends) == 1 else map(b"".join, zip(*ends, strict=True))
        texts = [b"%b%b}" % (line[:-1], more) for line, more in zip(lines, end)]  # noqa: B905
        for index, line in enumerate(lines):
            if line[1] != 34 and not line[1:-1].strip():  # No comma behind a brace.
                texts[index] = b"{" + texts[index][len(line) :]
        return texts

    def _members(self, name: str, values: list[Any]) -> list[bytes]:
        """Each value as a member of an object that has others, with a comma before."""
        start = b"," + self.format({name: None})[1:-5]
        try:
            together = orjson.dumps(values, _default, self._options)[1:-1]
            texts = together.split(b",")
            plain = len(texts) == len(values) and not any(together.rfind(sign) >= 0 for sign in _SIGNS)
        except TypeError:
            plain = False
        if not plain or not _WRITES_PLUS:
            try:
                texts = [self.format([value])[1:-1] for value in values]
            except Exception:
                for value in values:
                    self.format({name: value})  # Says which field it is.
                raise
        return [start + text for text in texts]

    def _checked(self, out: bytes, record: Any) -> bytes:
        """What orjson wrote, or something else where it does not write what Python does."""
        # `in` and `rfind` are the cheapest tests there are: together they take as long as the dump itself.
        if 45 in out and out.rfind(b"e-") >= 0 and _SMALL(out):
            return self._exactly(record)
        if 46 in out and out.rfind(b"0.0000") >= 0 and _SMALL(out):
            return self._exactly(record)
        if out.rfind(b"null") >= 0 and not _finite(record):  # orjson writes NaN as null
            return self._exactly(record)
        if not _WRITES_PLUS and _LARGE(out):
            return self._exactly(record)
        if self.ensure_ascii and not (out.isascii() and 127 not in out):
            return self._exactly(record)
        return out

    def _exactly(self, record: Any) -> bytes:
        try:
            text = _encoder(self.pretty_print, self.allow_nan, self.ensure_ascii)(record)
        except (TypeError, ValueError, RecursionError):
            try:
                text = self._text(record, (), "\n" if self.pretty_print else "")
            except RecursionError:
                raise RecordError("the record cannot be written: values are nested too deep or in a circle") from None
        return text.encode("utf-8", "backslashreplace")  # what cannot be encoded is a surrogate: \ud800

    def _text(self, value: Any, path: tuple[str, ...], newline: str) -> str:
        """Any value as JSON. The slowest way, and the only one that can tell where in the record the fault lies."""
        if isinstance(value, Enum) and not isinstance(value, (str, int, float)):
            value = value.value
        if isinstance(value, str):
            return json.dumps(str.__str__(value), ensure_ascii=self.ensure_ascii)
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        if isinstance(value, (int, float, Decimal)):
            return self._number(value, path)
        if isinstance(value, Mapping):
            members = [(_key(key, path), member) for key, member in value.items()]
            if newline:
                members.sort(key=lambda pair: pair[0])
            colon = ": " if newline else ":"
            inner = newline and newline + "  "
            texts = [
                json.dumps(key, ensure_ascii=self.ensure_ascii) + colon + self._text(member, (*path, key), inner)
                for key, member in members
            ]
            return _bracketed("{", texts, "}", newline)
        if isinstance(value, (list, tuple)):
            inner = newline and newline + "  "
            texts = [self._text(member, (*path, str(n)), inner) for n, member in enumerate(value)]
            return _bracketed("[", texts, "]", newline)
        if isinstance(value, (datetime, date, time)):
            return json.dumps(value.isoformat())
        if isinstance(value, UUID):
            return json.dumps(str(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return json.dumps(base64.b64encode(value).decode())
        raise RecordError(f"JSON cannot hold the {type(value).__name__} {cut(value)}{_at(path)}; convert it first")

    def _number(self, value: int | float | Decimal, path: tuple[str, ...]) -> str:
        if isinstance(value, Decimal) and value.is_finite():
            return plain(value)
        if not isinstance(value, int) and not math.isfinite(value):
            if not self.allow_nan:
                raise RecordError(f"{_NAN[str(float(value))]} is not JSON{_at(path)}; set allow_nan: true to write it")
            return _NAN[str(float(value))]
        try:
            return int.__repr__(value) if isinstance(value, int) else float.__repr__(value)
        except ValueError as error:
            raise RecordError(f"a number{_at(path)} cannot be written: {error}") from None


_NAN = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _bracketed(opening: str, texts: list[str], closing: str, newline: str) -> str:
    if not newline or not texts:
        return f"{opening}{','.join(texts)}{closing}"
    inner = newline + "  "
    return f"{opening}{inner}{f',{inner}'.join(texts)}{newline}{closing}"


def _key(key: Any, path: tuple[str, ...]) -> str:
    """A key as text, the way Python's json does it, and dates, UUIDs and decimals as their values are written."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return _NAN.get(str(float(key)), float.__repr__(key))
    if isinstance(key, (datetime, date, time)):
        return key.isoformat()
    if isinstance(key, (UUID, Decimal)):
        return text_of(key)
    raise RecordError(f"JSON cannot have the {type(key).__name__} {cut(key)} as a key{_at(path)}; convert it to text")


def _at(path: tuple[str, ...]) -> str:
    return f' at "{cut(".".join(path))}"' if path else ""


def _default(value: Any) -> Any:
    """What orjson writes for a value that it does not know. What is raised here sends the record the exact way."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(plain(value))
    if isinstance(value, float) and math.isfinite(value):
        return orjson.Fragment(float.__repr__(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _finite(value: Any) -> bool:
    """Whether no float in the value is NaN or infinite."""
    if value.__class__ is dict:
        members: Any = value.values()
    elif value.__class__ is list:
        members = value
    elif isinstance(value, Mapping):
        members = value.values()
    else:
        members = value if isinstance(value, (list, tuple)) else (value,)
    for member in members:
        kind = member.__class__
        if kind is str or kind is int or member is None or kind is bool:
            continue
        if kind is float:
            if not math.isfinite(member):
                return False
        elif kind is dict or kind is list:
            if member and not _finite(member):
                return False
        elif isinstance(member, Enum):
            if not _finite((member.value,)):
                return False
        elif isinstance(member, (Mapping, list, tuple)) and not _finite(member):
            return False
    return True


@lru_cache(maxsize=16)
def _encoder(pretty: bool, allow_nan: bool, ascii: bool) -> Callable[[Any], str]:
    return json.JSONEncoder(
        ensure_ascii=ascii,
        allow_nan=allow_nan,
        sort_keys=pretty,
        indent=2 if pretty else None,
        separators=(",", ": ") if pretty else (",", ":"),
    ).encode
