"""Limits of what a reader of text holds at a time, and what is told where they are met."""

from __future__ import annotations

from typing import BinaryIO

from exporters_beam.errors import RecordError

MAX_RECORD_BYTES = 100 << 20
"""The usual `max_record_bytes`: what is longer is hardly a record, and a few of them would fill the memory."""

BOM = b"\xef\xbb\xbf"


def too_long(what: str, units: str, limit: int) -> RecordError:
    """The error for the record that follows those of the chunks before."""
    return RecordError(f"the {what} is longer than {limit:,} {units}; where that is right, raise max_record_bytes")


def after_mark(stream: BinaryIO, size: int) -> tuple[bytes, int]:
    """The first `size` bytes of a stream, and 3 if a UTF-8 byte-order mark stood before them, else 0."""
    first = stream.read(3)
    if first == BOM and not getattr(stream, "begins_inside", False):
        return stream.read(size), 3
    return first + stream.read(max(0, size - 3)), 0


def cut(value: object) -> str:
    """A value of the input as messages show it: at most about 200 characters in one line, bytes as text, and how long it is.

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
