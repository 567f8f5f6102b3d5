"""Puts the records that come out of a test into its config, in the place of those that it expected.

Only that part of the text is written: comments, order and spelling of all else stay, and so do records that are as expected.
What was written is read again before it is kept, so a text is never changed to mean something else.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any

from exporters_beam.config.document import Document, Path, parse
from exporters_beam.errors import ConfigError
from exporters_beam.testing.written import as_json, known_by, line, same

EXPECT = "expect"


class NoSafeEdit(Exception):
    """The text cannot be changed without a risk; it says why."""


def updated(document: Document, path: Path, records: Sequence[Any]) -> Document:
    """The document with these records below `expect` of the test at `path`. Raises NoSafeEdit."""
    way = (*path, EXPECT)
    text = _in_json(document, way, records) if document.syntax == "json" else _in_yaml(document, way, records)
    try:
        made = parse(text, document.file)
    except ConfigError as error:
        raise NoSafeEdit(f"the records cannot be written there: {error.problems[0].message}") from None
    wanted = [as_json(record) for record in records]
    if not same(_with(as_json(document.value), way, wanted), as_json(made.value)):
        raise NoSafeEdit("the records cannot be written there so that they are read as they are")
    return made


def save(document: Document) -> None:
    """Write the text of a document into its file."""
    path = os.path.realpath(document.file)
    with open(path, "rb") as file:
        mark = b"\xef\xbb\xbf" if file.read(3) == b"\xef\xbb\xbf" else b""
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), prefix=".", delete=False) as new:
        new.write(mark + document.text.encode())
    shutil.copymode(path, new.name)
    os.replace(new.name, path)


def _with(value: Any, way: Path, records: list[Any]) -> Any:
    if not way:
        return records
    if isinstance(value, list):
        return [_with(member, way[1:], records) if at == way[0] else member for at, member in enumerate(value)]
    return {**value, way[0]: _with(value.get(way[0]), way[1:], records)}


def _at(value: Any, way: Path) -> Any:
    for part in way:
        value = value[part]
    return value


def _in_json(document: Document, way: Path, records: Sequence[Any]) -> str:
    text, decoder = document.text, json.JSONDecoder()
    start = document.offset(way)
    begin = text.rfind("\n", 0, start) + 1
    _, at = decoder.raw_decode(text, start)
    at = re.compile(r"\s*:\s*").match(text, at).end()  # type: ignore[union-attr]
    _, end = decoder.raw_decode(text, at)
    indent, lines = text[begin:start], [line(as_json(record)) for record in records]
    if indent.strip() or not lines:
        return f"{text[:at]}[{', '.join(lines)}]{text[end:]}"
    inner = f",\n{indent}  ".join(lines)
    return f"{text[:at]}[\n{indent}  {inner}\n{indent}]{text[end:]}"


def _in_yaml(document: Document, way: Path, records: Sequence[Any]) -> str:
    text, test = document.text, document.root
    for part in way[:-1]:
        test = test.value[part] if isinstance(part, int) else _member(test, part)[1]
    key, old = _member(test, EXPECT)
    if old.start_mark.index < key.end_mark.index:
        raise NoSafeEdit("an alias stands there; write the records themselves")
    if test.flow_style:
        start, end = old.start_mark.index, _end(text, old)
        _refuse_comments(text[start:end])
        space = " " if text[start - 1] == ":" else ""
        return f"{text[:start]}{space}[{', '.join(_flow(as_json(record)) for record in records)}]{text[end:]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    if old.id == "sequence" and not old.flow_style and records:
        start = text.rfind("\n", 0, old.start_mark.index) + 1
        lines = list(_members(text, old, _at(document.value, way), records))
        return f"{text[:start]}{newline.join(lines)}{text[_line_end(text, _end(text, old)) :]}"
    colon = text.index(":", key.end_mark.index) + 1
    end = _end(text, old)
    _refuse_comments(text[colon:end])
    if not records:
        return f"{text[:colon]} []{text[end:]}"
    behind = text[end : _line_end(text, end)]
    dash = " " * (key.start_mark.column + 2)
    lines = [f"{dash}- {_flow(as_json(record))}" for record in records]
    return f"{text[:colon]}{behind}{newline}{newline.join(lines)}{text[_line_end(text, end) :]}"


def _members(text: str, old: Any, expected: Any, records: Sequence[Any]) -> Iterator[str]:
    """The lines of a list: of a record that was there before, those that it had."""
    dash = " " * old.start_mark.column
    chunks: list[tuple[str, str, str]] = []
    end = text.rfind("\n", 0, old.start_mark.index)
    for node in old.value:
        start, stop = end + 1, _line_end(text, _end(text, node))
        behind = text[_end(text, node) : stop]
        first = text.rfind("\n", 0, node.start_mark.index) + 1
        if node.start_mark.index < start or first < start:
            raise NoSafeEdit("an alias stands in the list; write the records themselves")
        comments = text[start:first]
        chunks.append((comments, text[first : stop - len(behind)], behind))
        end = text.find("\n", stop) if "\n" in text[stop:] else len(text)
    spread = old.value[0].id == "mapping" and not old.value[0].flow_style
    before = [known_by(as_json(record)) for record in expected]
    now = [as_json(record) for record in records]
    for kind, a, b, c, d in SequenceMatcher(None, before, [*map(known_by, now)], autojunk=False).get_opcodes():
        if kind == "equal":
            yield from ("".join(chunk) for chunk in chunks[a:b])
            continue
        for n in range(d - c):
            comments, _, behind = chunks[a + n] if a + n < b else ("", "", "")
            yield comments + _member_text(dash, now[c + n], spread) + behind


def _member_text(dash: str, record: Any, spread: bool) -> str:
    if not (spread and isinstance(record, dict) and record):
        return f"{dash}- {_flow(record)}"
    lines = [f"{_text(name)}: {_flow(value)}" for name, value in record.items()]
    return f"{dash}- " + f"\n{dash}  ".join(lines)


def _member(node: Any, name: object) -> tuple[Any, Any]:
    """The last pair of a mapping with this key: pairs that were merged into it stand before its own."""
    found: tuple[Any, Any] = [pair for pair in node.value if pair[0].value == name][-1]
    return found


def _end(text: str, node: Any) -> int:
    """Where the last character of a node stands: blank lines and comments behind it do not belong to it."""
    if node.id == "scalar" or node.flow_style or not node.value:
        at: int = node.end_mark.index
        return len(text[:at].rstrip()) if node.id == "scalar" and node.style in ("|", ">") else at
    last = node.value[-1]
    return _end(text, last[1] if node.id == "mapping" else last)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return end - 1 if text[end - 1 : end] == "\r" and end > at else end


def _refuse_comments(text: str) -> None:
    if re.search(r"(^|\s)#", text):
        raise NoSafeEdit("comments stand between the records; they would be lost")


_WORD = re.compile(r"[^\W\d][\w./@-]*( [\w./@-]+)*")

_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _text(text: str) -> str:
    """A text, without quotes where every YAML reads it as that."""
    if _WORD.fullmatch(text) and text.isprintable() and text.lower() not in _NOT_TEXT:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


def _flow(value: Any) -> str:
    """A value of `as_json` in YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_flow(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if value != value else ".inf" if value > 0 else "-.inf"
    if isinstance(value, Decimal) and "E" in str(value):
        digits, _, exponent = str(value).partition("E")
        return f"{digits}{'' if '.' in digits else '.0'}e{exponent}"
    return line(value)
