"""Records as JSON: lines, or one array."""

from __future__ import annotations

import base64
import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import accumulate, repeat
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import orjson

from exporters_beam.components.options import option
from exporters_beam.components.words import kind_of
from exporters_beam.decimals import plain, text_of
from exporters_beam.errors import RecordError
from exporters_beam.formats.limits import cut

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
    reencode: bool = option("write also those lines anew that nothing has changed or only added to", type="bool", default=False)

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

    def format(self, record: object) -> bytes:
        try:
            out = orjson.dumps(record, _default, self._options)
        except TypeError:
            text = self._exactly(record)
            _refuse_twice(record)
            return text
        return self._checked(out, record)

    def format_all(self, records: Sequence[object]) -> list[bytes]:
        """What `format` gives for each record, faster. Raises anything where one is at fault."""
        texts = list(map(orjson.dumps, records, repeat(_default), repeat(self._options)))
        together = b"\n".join(texts)
        if self.ensure_ascii or not _WRITES_PLUS:
            return list(map(self._checked, texts, records))
        ends: list[int] = []
        signs: Sequence[bytes] = _SIGNS if _has_exponent(together) else _SIGNS[1:]
        if together.count(b"null") > len(texts) // 8 and _surely_finite(records):
            signs = signs[:-1]
        for sign in signs:
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

    def _members(self, name: str, values: list[object]) -> list[bytes]:
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

    def _checked(self, out: bytes, record: object) -> bytes:
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

    def _exactly(self, record: object) -> bytes:
        try:
            text = _encoder(self.pretty_print, self.allow_nan, self.ensure_ascii)(record)
        except (TypeError, ValueError, RecursionError):
            try:
                text = self._text(record, (), "\n" if self.pretty_print else "")
            except RecursionError:
                raise RecordError("the record cannot be written: values are nested too deep or in a circle") from None
        return text.encode("utf-8", "backslashreplace")  # what cannot be encoded is a surrogate: \ud800

    def _text(self, value: object, path: tuple[str, ...], newline: str) -> str:
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


def _refuse_twice(record: object) -> None:
    """Raises RecordError where two keys of a mapping, one of them no text, would be the same in JSON."""
    left: list[tuple[object, tuple[str, ...]]] = [(record, ())]
    while left:
        value, path = left.pop()
        if isinstance(value, Mapping):
            for key, member in value.items():
                text = _key(key, path)
                if not isinstance(key, str) and text in value:
                    raise RecordError(
                        f"two fields would both be called {text}{_at(path)}: a string and {kind_of(key)}; rename one"
                    )
                left.append((member, (*path, text)))
        elif isinstance(value, (list, tuple)):
            left += [(member, (*path, str(n))) for n, member in enumerate(value)]


def _at(path: tuple[str, ...]) -> str:
    return f' at "{cut(".".join(path))}"' if path else ""


def _default(value: object) -> object:
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


def _finite(value: object) -> bool:
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


_SPECIAL = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search
"""Finds NaN and infinite floats in MessagePack, and now and then something like them in other values."""


def _surely_finite(records: Sequence[object]) -> bool:
    """Whether no float in the records is NaN or infinite: mostly found in a tenth of the time that `_finite` takes. Where it
    cannot be told, it says no."""
    try:
        return _SPECIAL(msgspec.msgpack.encode(records)) is None
    except Exception:  # Some value is not one that MessagePack knows.
        return False


@lru_cache(maxsize=16)
def _encoder(pretty: bool, allow_nan: bool, ascii: bool) -> Callable[[object], str]:
    return json.JSONEncoder(
        ensure_ascii=ascii,
        allow_nan=allow_nan,
        sort_keys=pretty,
        indent=2 if pretty else None,
        separators=(",", ": ") if pretty else (",", ":"),
    ).encode
