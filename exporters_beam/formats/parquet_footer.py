"""The footer of a Parquet file: read here first, since Arrow ends the process at what it does not expect in one.

Nothing of it is believed that the pages do not show as well: see `parquet_pages`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

from exporters_beam.components.words import shortened
from exporters_beam.errors import SourceError
from exporters_beam.formats import thrift

TAIL = 64 << 10
"""Bytes at the end of a file that are read at once, as Arrow reads them: mostly they hold the footer."""

LARGEST = 256 << 20
"""A larger footer is refused."""

_STRICT = {1: 5, 4: 5, 5: 6, 6: 6, 7: 6, 9: 6, 11: 6}
"""The fields of a column chunk that decide what Arrow reads, and their types: it passes over what has another."""

MOST_PARTS = 2_000_000
"""Columns of all row groups, and of the schema, that a footer may tell of. Arrow needs a kilobyte for each."""

DEEPEST = 200
"""How deep columns may be nested."""

ENCRYPTED = ("the file is encrypted, and encrypted Parquet files are not read; write it without encryption, "
             "or export it where it is decrypted")  # fmt: skip


class Column(NamedTuple):
    """What a footer says of a column in a row group. `statistics` are as they stand there."""

    type: int
    codec: int
    values: int
    unpacked: int
    packed: int
    start: int
    statistics: bytes


class RowGroup(NamedTuple):
    rows: int
    size: int
    columns: tuple[Column, ...]

    @property
    def packed(self) -> int:
        """Its bytes in the file, as claimed."""
        return sum(max(0, column.packed) for column in self.columns)


class Footer(NamedTuple):
    """`ordered` is true where statistics are compared as their types are. `tail` are the last bytes of the file, from
    `tail_at`."""

    rows: int
    row_groups: tuple[RowGroup, ...]
    ordered: bool
    leaves: int
    tail: bytes
    tail_at: int


def read(stream: BinaryIO) -> Footer:
    """Raises SourceError for what is not a Parquet file, and for what is encrypted."""
    if not stream.seekable():
        raise SourceError("Parquet files are read from their end, so they cannot be compressed once more as a whole")
    size = stream.seek(0, 2)
    if size < 12:
        raise SourceError(f"not a Parquet file: {size} bytes")
    stream.seek(0)
    start = stream.read(4)
    if start == b"PARE":
        raise SourceError(ENCRYPTED)
    if start != b"PAR1":
        raise SourceError(f"not a Parquet file: it begins with {start!r}")
    tail_at = max(0, size - TAIL)
    tail = _exactly(stream, tail_at, size - tail_at)
    if tail[-4:] == b"PARE":
        raise SourceError(ENCRYPTED)
    if tail[-4:] != b"PAR1":
        raise SourceError("the file is truncated or damaged: it does not end with PAR1, as Parquet files do")
    length = int.from_bytes(tail[-8:-4], "little")
    if not 0 < length <= size - 12:
        raise SourceError(f"the file is truncated or damaged: its footer claims to have {length:,} of its {size:,} bytes")
    if length > LARGEST:
        raise SourceError(f"the file's footer has {length:,} bytes, and more than {LARGEST >> 20} MiB are not read; "
                          "write it with fewer row groups or columns")  # fmt: skip
    if length + 8 <= len(tail):
        data = tail[-8 - length : -8]
    else:
        data = _exactly(stream, size - 8 - length, length)
    rows, row_groups, ordered, leaves = _kept(data) if len(data) < TAIL else _parsed(data)
    return Footer(rows, row_groups, ordered, leaves, tail, tail_at)


def _exactly(stream: BinaryIO, at: int, size: int) -> bytes:
    stream.seek(at)
    data = stream.read(size)
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise SourceError("the file is truncated: it became shorter while it was read")
        data += more
    return data


def _parsed(data: bytes) -> tuple[int, tuple[RowGroup, ...], bool, int]:
    try:
        return _file(data)
    except (ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
        known = {IndexError: "it ends too early", ValueError: shortened(str(error), 200)}
        what = known.get(type(error), "what stands there is something else")
        raise SourceError(f"the file is truncated or damaged: its footer cannot be read: {what}") from None


_kept = lru_cache(maxsize=256)(_parsed)
"""A file is mostly opened twice, to count its row groups and to read them."""


def _file(data: bytes) -> tuple[int, tuple[RowGroup, ...], bool, int]:
    at = field = rows = leaves = 0
    row_groups: tuple[RowGroup, ...] = ()
    ordered = False
    while header := data[at]:
        kind, field, at = thrift.begun(data, at, header, field)
        if field == 2 and kind == 9:
            leaves, at = _schema(data, at)
        elif field == 4 and kind == 9:
            row_groups, at = _row_groups(data, at)
        elif kind < 3:
            continue
        else:
            if field == 8:
                raise SourceError(ENCRYPTED)
            if field == 7:
                ordered = True
                if data.startswith(usual := b"\x1c\x00\x00" * leaves, at + 1 + (leaves > 14)):
                    at += 1 + (leaves > 14) + len(usual)
                    continue
            found, at = thrift.value(data, at, kind)
            rows = found if field == 3 else rows
    for n, group in enumerate(row_groups):
        if len(group.columns) != leaves:
            raise ValueError(f"row group {n} has {len(group.columns)} columns, and the schema {leaves}")
    return rows, row_groups, ordered, leaves


def _schema(data: bytes, at: int) -> tuple[int, int]:
    """How many columns there are, each of which has a type of its own."""
    count, _, at = thrift.items(data, at)
    if count > MOST_PARTS:
        raise ValueError(f"it tells of more than {MOST_PARTS:,} columns")
    leaves = 0
    open_: list[int] = [1]
    match = _usual_element().match
    for _ in range(count):
        usual = match(data, at)
        if usual is None:
            found, at = thrift.struct(data, at)
            typed, children = 1 in found, found.get(5, 0)
        else:
            typed, children = data[at] == 0x15, thrift.number(usual[1], 0)[0] if usual[1] else 0
            at = usual.end()
        while open_ and not open_[-1]:
            open_.pop()
        if not open_:
            raise ValueError("its schema has columns that belong to nothing")
        open_[-1] -= 1
        if children < 0:
            raise ValueError(f"a column claims to have {children} others inside")
        if children:
            open_.append(children)
            if len(open_) > DEEPEST:
                raise ValueError(f"columns are nested more than {DEEPEST} deep")
        elif typed and len(open_) > 1:
            leaves += 1
    if any(open_):
        raise ValueError("its schema lacks columns that it claims to have")
    return leaves, at


def _row_groups(data: bytes, at: int) -> tuple[tuple[RowGroup, ...], int]:
    count, _, at = thrift.items(data, at)
    found = []
    parts = 0
    for n in range(count):
        field = rows = size = 0
        columns: tuple[Column, ...] = ()
        while header := data[at]:
            kind, field, at = thrift.begun(data, at, header, field)
            if field == 1 and kind == 9:
                columns, at = _columns(data, at)
            elif kind > 2:
                value, at = thrift.value(data, at, kind)
                if field == 2:
                    size = value
                elif field == 3:
                    rows = value
        at += 1
        if rows < 0:
            raise ValueError(f"row group {n} claims to have {rows} records")
        parts += 1 + len(columns)
        if parts > MOST_PARTS:
            raise ValueError(f"it tells of more than {MOST_PARTS:,} columns in all row groups")
        found.append(RowGroup(rows, size, columns))
    return tuple(found), at


def _columns(data: bytes, at: int) -> tuple[tuple[Column, ...], int]:
    count, _, at = thrift.items(data, at)
    match, number = _usual().match, thrift.number
    found = []
    for _ in range(count):
        usual = match(data, at)
        if usual is None:
            column, at = _column(data, at)
            found.append(column)
            continue
        at = usual.end()
        kind, codec, values, unpacked, packed, pages, dictionary, first, second = usual.groups()
        start = number(pages, 0)[0]
        if dictionary is not None:
            start = _start(start, number(dictionary, 0)[0])
        found.append(Column(number(kind, 0)[0], number(codec, 0)[0], number(values, 0)[0], number(unpacked, 0)[0],
                            number(packed, 0)[0], start, first or second or b""))  # fmt: skip
    return tuple(found), at


def _column(data: bytes, at: int) -> tuple[Column, int]:
    """Any column chunk; the whole of it stands for its statistics."""
    before = at
    found, at = thrift.struct(data, at, strict=_STRICT)
    if 8 in found or 9 in found:
        raise SourceError(ENCRYPTED)
    about, statistics = found[3], b""
    if 12 in about:
        statistics = data[before:at]
    start = _start(about[9], about.get(11, 0))
    return Column(about[1], about[4], about[5], about[6], about[7], start, statistics), at


def _start(pages: int, dictionary: int) -> int:
    return dictionary if 0 < dictionary < pages else pages


def bounds(column: Column) -> dict[int, Any]:
    """The statistics of a column chunk by the numbers of their fields; empty where there are none."""
    if not column.statistics:
        return {}
    found, end = thrift.struct(column.statistics)
    if end == len(column.statistics) and 3 in found and isinstance(found[3], dict):
        return found[3].get(12, {})  # the whole column chunk
    return found


@lru_cache(maxsize=1)
def _usual() -> re.Pattern[bytes]:
    """A column chunk as most programs write it, which is then read in a sixth of the time."""
    statistics = b"(" + thrift.BOUNDS + b")"
    encodings = thrift.headers(9) + thrift.lists(12, b"(?:%b){0,4}\x00" % thrift.NUMBERS)
    sizes = thrift.headers(12) + b"(?:%b|%b%b){0,4}\x00" % (
        thrift.NUMBERS,
        thrift.headers(9),
        thrift.lists(6, thrift.NUMBER),
    )
    return re.compile(
        rb"(?:\x26%(n)b\x1c|\x3c)\x15(%(n)b)\x19%(list)b\x19%(path)b\x15(%(n)b)\x16(%(n)b)\x16(%(n)b)\x16(%(n)b)\x26(%(n)b)"
        rb"(?:\x26(%(n)b)(?:\x1c%(statistics)b)?|(?:\x3c%(statistics)b)?)(?:%(encodings)b)?(?:%(integers)b){0,4}"
        rb"(?:%(sizes)b)?\x00(?:%(integers)b){0,4}\x00"
        % {
            b"n": thrift.NUMBER,
            b"list": thrift.lists(5, thrift.NUMBER),
            b"path": thrift.lists(8, thrift.texts(32), 4),
            b"statistics": statistics,
            b"encodings": encodings,
            b"integers": thrift.NUMBERS,
            b"sizes": sizes,
        },
        re.DOTALL,
    )


@lru_cache(maxsize=1)
def _usual_element() -> re.Pattern[bytes]:
    """The same for a column of the schema, with the number of its children."""
    inner = b"(?:%b|%b){0,4}\x00" % (thrift.NUMBERS, thrift.FLAGS)
    for _ in range(3):
        inner = b"(?:%b|%b|%b%b){0,4}\x00" % (thrift.NUMBERS, thrift.FLAGS, thrift.headers(12), inner)
    leaf = rb"\x15%b(?:\x25%b|\x15%b\x15%b)" % ((thrift.NUMBER,) * 4)
    return re.compile(
        rb"(?:(?:%b|\x35%b)\x18|\x48)%b(?:\x15(%b))?(?:%b|%b|%b%b){0,5}\x00"
        % (
            leaf,
            thrift.NUMBER,
            thrift.texts(48),
            thrift.NUMBER,
            thrift.NUMBERS,
            thrift.FLAGS,
            thrift.headers(12),
            inner,
        ),
        re.DOTALL,
    )
