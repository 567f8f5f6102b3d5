"""The pages of a Parquet file, looked at as Arrow reads them and before it unpacks them.

What a page unpacks to stands in its header. A dictionary may hold one long value for any number of records, which take a few
bits each; so columns whose dictionaries could fill the memory are read as dictionaries.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from functools import lru_cache
from threading import Lock
from typing import Any, BinaryIO

from exporters_beam.compressions.streams import FREE
from exporters_beam.errors import SourceError
from exporters_beam.formats import thrift
from exporters_beam.formats.parquet_footer import Column, Footer, RowGroup

TOGETHER = 10
"""How many times `max_record_bytes` the pages of all columns may take that have to be in memory together."""

ROOM, USUAL, WIDE = 64 << 20, 4 << 20, 1024
"""What they may take in any case: so much, and so much for each of as many columns."""

LONGEST_HEADER = 1 << 20
"""Bytes of a page's header that are waited for."""

BLOCK = 32 << 10
"""Bytes of a dictionary that are looked at together."""

SHORT = 1 << 10
"""A dictionary of fewer bytes is not looked at."""

MEMORY = 2
"""How many times as much as these pages Arrow may take for the records of a batch while it goes on reading."""

_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_BYTES, _FIXED = 6, 7
_CODECS = {0: "none", 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_PREFIXED = 7


class Again(Exception):
    """The row group has to be read otherwise: fewer records at a time, these columns as dictionaries."""

    def __init__(self, rows: int, dictionaries: frozenset[str]) -> None:
        super().__init__(rows, dictionaries)
        self.rows, self.dictionaries = rows, dictionaries


class _Chunk:
    """How far a column chunk has been looked at. `next` is where its next page begins; all places are in the file. `long` is
    how long a value can be that takes next to nothing where it is repeated, but for those of a dictionary of texts."""

    def __init__(self, number: int, column: Column) -> None:
        self.number, self.start, self.end = number, column.start, column.start + max(0, column.packed)
        self.next, self.rest = column.start, b""
        self.dictionary = self.largest = self.long = 0
        self.texts, self.longest = b"", -1
        self.values = self.page_values = 0


class Pages:
    """What the pages of a row group may take. `columns` are its columns that are read, as (number, path, whether a record has
    several values); `rows` are read at a time, those in `dictionaries` as dictionaries."""

    def __init__(
        self,
        group: RowGroup,
        columns: Iterable[tuple[int, str, bool]],
        rows: int,
        dictionaries: frozenset[str],
        max_record_bytes: int,
        max_ratio: int,
    ) -> None:
        self._group, self._rows, self._dictionaries = group, rows, dictionaries
        self._names = {number: (path, repeated) for number, path, repeated in columns}
        self._chunks = [_Chunk(number, group.columns[number]) for number in self._names]
        self._most, self._ratio = max_record_bytes, max_ratio
        self._together = max(TOGETHER * max_record_bytes, ROOM, USUAL * min(len(self._chunks), WIDE))
        self._wanted: set[str] = set()
        self._fewer = rows
        self.starts()

    def feed(self, at: int, data: bytes) -> None:
        """Look at bytes of the file that Arrow is about to get: of one column chunk, or of several. Raises SourceError, and
        Again."""
        end = at + len(data)
        for chunk in self._chunks:
            if chunk.start < end and chunk.end > at and at <= chunk.next + len(chunk.rest) and chunk.next < end:
                self._look(chunk, at, data)
        self._judge_all()

    def _look(self, chunk: _Chunk, at: int, data: bytes) -> None:
        if chunk.rest:
            data = chunk.rest + data[chunk.next + len(chunk.rest) - at :]
            at, chunk.rest = chunk.next, b""
        end = min(at + len(data), chunk.end)
        while at <= chunk.next < end:
            place = chunk.next - at
            try:
                kind, size, packed, values, encoding, after = _header(data, place)
                if packed < 0:
                    break
                self._judge(chunk, kind, size, packed, values, encoding)
                if kind == _DICTIONARY and chunk.dictionary > SHORT:
                    chunk.texts, chunk.longest = data[after : after + packed], -1
            except (ValueError, LookupError, TypeError, AttributeError):
                if len(data) - place < LONGEST_HEADER:
                    chunk.rest = data[place:]
                break
            chunk.next = at + after + packed

    def _judge(self, chunk: _Chunk, kind: int, size: int, packed: int, values: int, encoding: int) -> None:
        if kind not in _ABOUT:
            return
        if size > FREE and self._ratio and size > self._ratio * max(packed, 1):
            raise SourceError(f"{self._place(chunk)}: a page of {packed:,} bytes claims to unpack to {size:,}, over "
                              f"{self._ratio:,} times as much, as decompression bombs do; where that is right, raise "
                              "max_ratio or set it to 0")  # fmt: skip
        if size > self._most * max(values, 1):
            raise SourceError(f"{self._place(chunk)}: a page with {values:,} value{'s' * (values != 1)} claims to have "
                              f"{size:,} bytes, so that a record is longer than {self._most:,} bytes; where that is "
                              "right, raise max_record_bytes")  # fmt: skip
        if kind == _DICTIONARY:
            chunk.dictionary = max(chunk.dictionary, size)
            if self._group.columns[chunk.number].type == _FIXED:
                chunk.long = max(chunk.long, size // max(values, 1))
            return
        chunk.largest = max(chunk.largest, size)
        chunk.values += values
        chunk.page_values = max(chunk.page_values, values)
        if encoding == _PREFIXED:
            chunk.long = max(chunk.long, size)

    def _judge_all(self) -> None:
        most = self._together
        held = sum(chunk.dictionary + chunk.largest for chunk in self._chunks)
        if held > most:
            worst = max(self._chunks, key=lambda chunk: chunk.dictionary + chunk.largest)
            raise SourceError(f"{self._place(worst)}: the pages of all columns that have to be in memory together claim to "
                              f"unpack to {held:,} bytes, and more than {most:,} are not read; where that is right, raise "
                              "max_record_bytes, or write it with smaller pages")  # fmt: skip
        for chunk in self._chunks:
            self._judge_values(chunk, most)
        # Arrow reads the beginnings of all column chunks before it unpacks any, so it can be told of all at once.
        if (self._wanted or self._fewer < self._rows) and all(chunk.next > chunk.start for chunk in self._chunks):
            raise Again(self._fewer, self._dictionaries | self._wanted)

    def _judge_values(self, chunk: _Chunk, most: int) -> None:
        """Values that take less in the file than unpacked."""
        path, repeated = self._names[chunk.number]
        kind = self._group.columns[chunk.number].type
        if repeated and 4 * chunk.values > FREE and self._ratio:
            packed = max(1, self._group.packed)
            if 4 * chunk.values > self._ratio * packed:
                raise SourceError(f"{self._place(chunk)}: {packed:,} bytes of the file claim to hold {chunk.values:,} values, "
                                  f"over {self._ratio:,} times as much, as decompression bombs do; where that is right, "
                                  "raise max_ratio or set it to 0")  # fmt: skip
        if 4 * chunk.page_values > most:
            raise SourceError(f"{self._place(chunk)}: a page claims to have {chunk.page_values:,} values, which would take "
                              f"more than {most:,} bytes; where that is right, raise max_record_bytes, or write it with "
                              "smaller pages")  # fmt: skip
        if kind not in (_BYTES, _FIXED):
            return
        together = max(chunk.page_values, self._rows) if repeated else self._rows
        if chunk.long and chunk.long * together > most:
            if repeated and chunk.long * chunk.page_values > most:
                raise SourceError(f"{self._place(chunk)}: a page of {chunk.long:,} bytes could unpack to {most:,} and "
                                  "more; where that is right, raise max_record_bytes, or write it with another encoding than "
                                  "DELTA_BYTE_ARRAY")  # fmt: skip
            self._fewer = min(self._fewer, max(1, most // chunk.long))
        if kind == _BYTES and chunk.dictionary * together > most and path not in self._dictionaries:
            if chunk.longest < 0:
                chunk.longest = min(chunk.dictionary, self._longest(chunk))
            if chunk.longest * together > most:
                self._wanted.add(path)

    def _longest(self, chunk: _Chunk) -> int:
        """How long the longest text of a dictionary is; the whole page where that cannot be told."""
        import pyarrow as pa

        codec = _CODECS.get(self._group.columns[chunk.number].codec)
        texts, chunk.texts = chunk.texts, b""
        try:
            if codec != "none":
                texts = pa.decompress(texts, chunk.dictionary, codec) if codec else b""
        except (pa.ArrowException, OSError, ValueError):
            return chunk.dictionary
        return longest(texts) if len(texts) == chunk.dictionary else chunk.dictionary

    def starts(self) -> None:
        """What Arrow holds now, it held before the next batch."""
        self._before = _allocated()

    def check_memory(self) -> None:
        taken, most = _allocated() - self._before, MEMORY * self._together
        if taken > most:
            raise SourceError(f"the next {self._rows:,} records or fewer take more than {most:,} bytes of memory; where that "
                              "is right, raise max_record_bytes")  # fmt: skip

    def _place(self, chunk: _Chunk) -> str:
        return f"column {self._names[chunk.number][0]}"


def _allocated() -> int:
    import pyarrow as pa

    return int(pa.total_allocated_bytes())


def _header(data: bytes, at: int) -> tuple[int, int, int, int, int, int]:
    """Of the page whose header begins at `at`: its kind, its size unpacked and in the file, how many values it has, their
    encoding, and where its data begins. Raises ValueError and IndexError for what is not a header."""
    usual = _usual().match(data, at)
    if usual is not None:
        kind, size, packed, crc, about, values, second, more = usual.groups()
        number = data[usual.start(1)] >> 1  # the kind, of one byte
        field = (about[0] >> 4) + (3 if crc is None else 4)
        if len(kind) == 1 and _ABOUT.get(number) == field:
            if number == _DATA_2:
                second = more[thrift.number(more, 1)[1] + 1 :]
            found = (thrift.number(part, 0)[0] for part in (size, packed, values, second))
            return (number, *found, usual.end())  # type: ignore[return-value]
    header, after = thrift.struct(data, at)
    number = header.get(1, -1)
    told = header.get(_ABOUT.get(number, 0), {})
    encoding = told.get(4 if number == _DATA_2 else 2, 0)
    return number, header.get(2, 0), header.get(3, 0), told.get(1, 0), encoding, after


_ABOUT = {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}
"""The field that tells more of a page, by its kind."""


@lru_cache(maxsize=1)
def _usual() -> re.Pattern[bytes]:
    """The header of a page as most programs write it."""
    number = thrift.NUMBER
    return re.compile(
        rb"\x15(%(n)b)\x15(%(n)b)\x15(%(n)b)(\x15%(n)b)?([\x1c\x2c\x3c\x4c\x5c])\x15(%(n)b)\x15(%(n)b)((?:\x15%(n)b){0,4})%(f)b?"
        rb"(?:[\x1c\x2c]%(bounds)b)?\x00\x00" % {b"n": number, b"f": thrift.FLAGS, b"bounds": thrift.BOUNDS},
        re.DOTALL,
    )


def longest(texts: Any, block: int = BLOCK) -> int:
    """The length of the longest of texts that stand behind each other, each behind its length; that of all where they are none.

    Mostly all are as long as the first one, or at least shorter than 256 bytes and without zeros: then where three zeros stand
    is a guess where they begin. Both are proved: each text ends where the next one begins.
    """
    import numpy as np

    codes = np.frombuffer(texts, np.uint8)
    if codes.size >= 4:
        first = int.from_bytes(codes[:4].tobytes(), "little")
        count, rest = divmod(codes.size, 4 + first)
        if not rest and (np.ndarray((count,), "<u4", codes.data, 0, (4 + first,)) == first).all():
            return first
        starts = _before_zeros(codes, block)
        for some in (starts, starts[np.append(np.diff(starts) != 1, True)] if starts.size else starts):
            if some.size and not some[0]:
                lengths = codes[some]
                if np.array_equal(np.diff(some, append=codes.size) - 4, lengths):
                    return int(lengths.max())
    found = at = 0
    size = len(codes)
    data = memoryview(texts)
    while at < size:
        length = int.from_bytes(data[at : at + 4], "little")
        found, at = max(found, length), at + 4 + length
    return found if at == size else size


def _before_zeros(codes: Any, size: int) -> Any:
    """Where a byte stands before three zeros. In blocks of so many bytes, which stay in the processor's cache."""
    import numpy as np

    found, zeros = [], np.empty(size + 3, np.bool_)
    for at in range(0, codes.size, size):
        block = codes[at : at + size + 3]
        zero = np.equal(block, 0, out=zeros[: block.size])
        three = zero[1:-2] & zero[2:-1]
        three &= zero[3:]
        found.append(np.flatnonzero(three) + at)
    return np.concatenate(found)


class Watched(io.RawIOBase):
    """A file as Arrow reads it, in threads of its own, which may still be at it when nobody waits for them: `lock` keeps those
    of one stream apart. While `pages` is not None they look at what is read first; `failed` is what they raised last,
    since Arrow may hide it."""

    def __init__(self, stream: BinaryIO, footer: Footer, lock: Lock) -> None:
        super().__init__()
        self._stream, self._footer, self._lock = stream, footer, lock
        self.size = footer.tail_at + len(footer.tail)
        self._at = 0
        self.pages: Pages | None = None
        self.failed: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0 if whence == 0 else self._at if whence == 1 else self.size)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self.size - self._at)
        size = left if size is None or size < 0 else min(size, left)
        start = self._at - self._footer.tail_at
        if start >= 0 and start + size <= len(self._footer.tail):
            data = self._footer.tail[start : start + size]
        else:
            with self._lock:
                data = self._read(size)
        if self.pages is not None:
            try:
                self.pages.feed(self._at, data)
                self.pages.check_memory()
            except (SourceError, Again) as error:
                self.failed = error
                raise
        self._at += len(data)
        return data

    def _read(self, size: int) -> bytes:
        self._stream.seek(self._at)
        data: Any = self._stream.read(size)
        while len(data) < size:
            more = self._stream.read(size - len(data))
            if not more:
                self.failed = SourceError("the file is truncated: it became shorter while it was read")
                raise self.failed
            data += more
        return bytes(data) if data.__class__ is not bytes else data
