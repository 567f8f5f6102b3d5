"""The first look at a file: how it is compressed, in which format and encoding it is written."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO
from xml.parsers import expat

from exporters_beam.compressions.archives import Archive
from exporters_beam.compressions.streams import head, read_up_to, sniff
from exporters_beam.engine.source import Source, naming
from exporters_beam.errors import SourceError, shown
from exporters_beam.records import Unit, Warned
from exporters_beam.starting.csv_dialect import Dialect, dialect_of

LOOK = 1 << 20
"""Decompressed bytes of a file that are looked at to tell its format."""

FORMATS = {
    "jsonlines": "JSON lines",
    "json": "JSON",
    "csv": "rows of values (CSV)",
    "xml": "XML",
    "parquet": "Parquet",
    "orc": "ORC",
    "avro": "Avro",
}
"""Deserializers, and what they read."""

_NAMED = {
    **dict.fromkeys(("jl", "jsonl", "jsonlines", "ndjson"), "jsonlines"),
    **dict.fromkeys(("csv", "tsv", "tab", "psv"), "csv"),
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    **{name: name for name in ("json", "xml", "avro", "orc")},
}
"""Ends of names, and the deserializer of what is called so."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

ASCII, UTF8, CP1252, LATIN1 = "ascii", "utf-8", "cp1252", "latin-1"


@dataclass(frozen=True)
class Look:
    """What a file, or a member of an archive, is. `form` is the name of a deserializer, "" where it is empty."""

    name: str
    compression: str
    form: str
    encoding: str = UTF8
    bom: bool = False
    dialect: Dialect | None = None
    item_name: str = ""
    by_name: bool = False
    """Whether only its name tells the format."""
    long: bool = False
    """Whether it has more than what is looked at."""
    mixed: bool = False
    """Whether some lines are UTF-8 and others are not."""


def looks_of(source: Source, unit: Unit, most: int) -> list[Look]:
    """What a file is, or the first members of an archive are. Raises SourceError, which names it."""
    found: list[Look] = []
    with naming(unit), source.opened(unit) as raw:
        first, raw = head(raw)
        compression = sniff(first)
        opened = source.opening(raw)
        if not isinstance(opened, Archive):
            with opened:
                return [_look(shown(unit.name), unit.name, compression, opened)]
        kind = compression if compression == "zip" else f"tar, {compression}" if compression else "tar"
        for member in opened.members():
            if not isinstance(member, Warned):
                found.append(_look(f"{shown(unit.name)}: {shown(member.name)}", member.name, kind, member.stream))
            if len(found) >= most or (found and found[-1].long):
                break  # What follows is reached only by reading all before it.
    return found


def _look(told: str, name: str, compression: str, stream: BinaryIO) -> Look:
    data = read_up_to(stream, LOOK)
    named, long = _named(name), len(data) == LOOK
    if not data:
        return Look(told, compression, "", by_name=True)
    if data[:4] == b"PAR1":
        return Look(told, compression, "parquet", long=long)
    if data[:3] == b"ORC":
        return Look(told, compression, "orc", long=long)
    if data[:4] == b"Obj\x01":
        return Look(told, compression, "avro", long=long)
    text, encoding, bom = _text(data, not long)
    mixed = encoding == UTF8 and "\ufffd" in text and "\ufffd".encode() not in data
    seen = Look(told, compression, "", encoding, bom, long=long, mixed=mixed)
    if text.lstrip()[:1] == "<":
        return replace(seen, form="xml", item_name=_item_name(data))
    return _look_at_text(text, not long, named, seen)


def named_form(name: str) -> str:
    """The deserializer that a file's name speaks of, "" where it speaks of none."""
    return {"tsv": "csv", "tab": "csv"}.get(_named(name), _named(name))


def _named(name: str) -> str:
    """The same, but for the compression at its end.

    >>> _named("a/b.csv.gz"), _named("a.JL"), _named("a.csv/b")
    ('csv', 'jsonlines', '')
    """
    parts = name.rpartition("/")[2].partition("?")[0].lower().split(".")[1:]
    return next((_NAMED[part] for part in reversed(parts[-2:]) if part in _NAMED), "")


def _text(data: bytes, ended: bool) -> tuple[str, str, bool]:
    """(text, its encoding, whether a byte-order mark tells that). Raises SourceError for what is no text."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            text = codecs.getincrementaldecoder(encoding)("replace").decode(data)
            return text.removeprefix("\ufeff"), encoding, True
    if b"\0" in data[:4096]:
        half = len(data[:4096]) // 2
        for encoding, zeros in (("utf-16-le", data[1:4096:2]), ("utf-16-be", data[0:4096:2])):
            if half and zeros.count(0) * 10 > half * 7:
                return codecs.getincrementaldecoder(encoding)("replace").decode(data), encoding, False
        raise SourceError(_unknown(data))
    try:
        text = codecs.getincrementaldecoder("utf-8")("strict").decode(data, ended)
        return text, ASCII if data.isascii() else UTF8, False
    except UnicodeDecodeError:
        pass
    odd = sum(data.count(bytes([byte])) for byte in (*range(9), 11, *range(14, 32), 127))
    if odd * 100 > len(data):
        raise SourceError(_unknown(data))
    if _mostly_utf8(data):
        return data.decode("utf-8", "replace"), UTF8, False
    try:
        return data.decode(CP1252), CP1252, False
    except UnicodeDecodeError:
        return data.decode(LATIN1), LATIN1, False


def _mostly_utf8(data: bytes) -> bool:
    """Whether of the lines with other letters than those of ASCII at least as many are UTF-8 as are not: what is UTF-8 is
    so on purpose."""
    good = bad = 0
    for line in data.splitlines():
        if not line.isascii():
            try:
                line.decode()
                good += 1
            except UnicodeDecodeError:
                bad += 1
    return good >= bad


def _unknown(data: bytes) -> str:
    return (
        f"this is not a format that exporters-beam reads: it begins with {data[:16]!r}; known are "
        f"{', '.join(FORMATS.values())}, compressed or not"
    )


def _look_at_text(text: str, ended: bool, named: str, seen: Look) -> Look:
    start = text.lstrip()
    if not start:
        return replace(seen, by_name=True)
    if start[0] == "{" or (start[0] == "[" and _is_array(start)):
        if seen.encoding.startswith("utf-") and seen.encoding != UTF8:
            raise SourceError(
                f"this is JSON in {seen.encoding}, and JSON is read in UTF-8 only; convert it, for example with iconv"
            )
        return replace(seen, form="jsonlines" if start[0] == "{" and _is_line(start, ended, named) else "json")
    found = dialect_of(text, ended, named == "csv")
    if found is None:
        line = start.splitlines()[0][:60]
        raise SourceError(
            f"this is text in no format that has fields: it begins with {line!r}; to read each line as a value give the "
            'deserializer csv with fields: [line], quotechar: "" and a delimiter that does not occur, "\\x01"'
        )
    return replace(seen, form="csv", dialect=found)


def _is_line(text: str, ended: bool, named: str) -> bool:
    """Whether the first line is an object of its own, or may be the beginning of one that is longer than what is seen."""
    line, feed, _ = text.partition("\n")
    if not feed and not ended:
        return named != "json"
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        pass
    except RecursionError:
        return True
    # An object that goes on in the next line, or a line at fault among others.
    lines = [each for each in text.split("\n")[:-1] if each.strip()][1:50]
    good = 0
    for each in lines:
        with suppress(ValueError, RecursionError):
            good += isinstance(json.loads(each), dict)
    return good * 2 > len(lines) if lines else named == "jsonlines"


def _is_array(text: str) -> bool:
    """Whether a bracket begins an array of JSON: behind it stands what may be in one."""
    behind = text[1:].lstrip()
    return not behind or behind[0] in '{[]"-0123456789tfn'


def _item_name(data: bytes) -> str:
    """The name of the elements directly below the root: that of most of them. Raises SourceError where there are none."""
    counts: Counter[str] = Counter()
    below: dict[str, Counter[str]] = {}
    way: list[str] = []

    def start(name: str, _: object) -> None:
        way.append(name)
        if len(way) == 2:
            counts[name] += 1
        elif len(way) == 3:
            below.setdefault(way[1], Counter())[name] += 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: way.pop()
    try:
        parser.Parse(data)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if not counts:
            raise SourceError(f"this begins like XML and is none: {error}; it begins with {data[:60]!r}") from None
    if not counts:
        raise SourceError("there is no element below the root of this XML document, so there are no records")
    name, often = counts.most_common(1)[0]
    inner = below.get(name, Counter()).most_common(1)
    if often == 1 and len(counts) == 1 and inner and inner[0][1] > 1:
        raise SourceError(
            f"the elements that repeat, <{inner[0][0]}>, stand in <{name}> and not directly below the root, where the "
            "deserializer xml looks for records; unwrap them first"
        )
    return name
