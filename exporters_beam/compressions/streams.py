"""What decompressors share: a stream made of pieces, members one behind the other, telling compressions apart."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, BinaryIO, Protocol, cast

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, SourceError

INPUT = 64 * 1024
"""Compressed bytes read at a time."""

OUTPUT = 256 * 1024
"""Decompressed bytes made at a time, at most (zstd may make more)."""

HEAD = 512
"""How many first bytes tell compressions apart."""

FREE = 64 << 20
"""Decompressed bytes from which on `max_ratio` counts: less harms nobody, and small files may well be all alike."""

MAX_RATIO = 1000
"""The usual `max_ratio`. gzip cannot do more than 1032, and files of records stay far below."""

SUFFIXES = {
    ".gz": ("gzip", "zlib"),
    ".bz2": ("bz2",),
    ".xz": ("xz",),
    ".zst": ("zstd",),
    ".zip": ("zip",),
    ".tgz": ("gzip",),
    ".tbz2": ("bz2",),
    ".txz": ("xz",),
    ".tzst": ("zstd",),
}
"""Ends of names, and what is in files that are called so."""

WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".ods")

SINGLE = {
    "gzip": "exporters_beam.compressions.zlib:Zlib",
    "zlib": "exporters_beam.compressions.zlib:Zlib",
    "bz2": "exporters_beam.compressions.bz2:Bz2",
    "xz": "exporters_beam.compressions.xz:Xz",
    "zstd": "exporters_beam.compressions.zstd:Zstd",
}
"""What `sniff` finds of files that hold one compressed file, and what decompresses it."""

_DECOMPRESSORS = {"gzip": "zlib", "zlib": "zlib", "bz2": "bz2", "xz": "xz", "zstd": "zstd", "zip": "zip"}


class _Pieces(io.RawIOBase):
    """The bytes of an iterator's pieces. An error stays: a second read must not look like the end of the data."""

    def __init__(self, pieces: Iterator[bytes], raw: BinaryIO, taken: Callable[[], int], max_ratio: int) -> None:
        super().__init__()
        self._raw = raw
        self._taken, self._max_ratio, self._made = taken, max_ratio, 0
        self._pieces = pieces
        self._left = memoryview(b"")
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._error is not None:
            raise self._error
        try:
            while not self._left:
                self._left = memoryview(next(self._pieces))
                self._made += len(self._left)
                check_ratio(self._made, self._taken(), self._max_ratio)
        except StopIteration:
            return 0
        except Exception as error:
            self._error = error
            raise
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            if hasattr(self._pieces, "close"):
                self._pieces.close()
            self._raw.close()
        super().close()


def check_ratio(made: int, taken: int, max_ratio: int) -> None:
    """Raises SourceError where `made` bytes are more than so many times those that were `taken` of the file."""
    if made > FREE and max_ratio and made > max_ratio * max(1, taken):
        raise SourceError(
            f"{max(1, taken):,} bytes decompress to {made:,} and more, over {max_ratio:,} times as much, "
            "as decompression bombs do; where that is right, raise max_ratio or set it to 0"
        )


def stream(pieces: Iterator[bytes], raw: BinaryIO, taken: Callable[[], int] = int, max_ratio: int = 0) -> BinaryIO:
    """A stream of the pieces whose `read(n)` gives exactly n bytes until the end. Closing it closes `raw`, too.

    With `max_ratio` it raises SourceError where there are so many times more bytes in the pieces than were `taken`.
    """
    return cast(BinaryIO, io.BufferedReader(_Pieces(pieces, raw, taken, max_ratio), INPUT))


def decompressed(decompress: Callable[[BinaryIO], Iterator[bytes]], raw: BinaryIO, max_ratio: int) -> BinaryIO:
    """The stream of what `decompress` makes of `raw`; see `stream`."""
    counted = _Counted(raw)
    return stream(decompress(cast(BinaryIO, counted)), cast(BinaryIO, counted), lambda: counted.taken, max_ratio)


class _Counted(io.BufferedIOBase):
    """A stream that counts how far it was read."""

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__()
        self._raw: Any = buffered(raw)
        self.taken = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return _seekable(self._raw)

    def ahead(self) -> bytes:
        """Some of what comes next, for which at most one read is done; it may be nothing at all."""
        return self._raw.peek() if isinstance(self._raw, io.BufferedReader) else b""

    def read(self, size: int | None = -1, /) -> bytes:
        data: bytes = self._raw.read(size)
        self.taken += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        size: int = self._raw.readinto(buffer)
        self.taken += size
        return size

    def tell(self) -> int:
        return int(self._raw.tell())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        before = self._raw.tell()
        after = int(self._raw.seek(offset, whence))
        self.taken += after - before
        return after

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def ratio_option() -> Any:
    """The option `max_ratio`, which all decompressors have that decompress."""
    return option(
        "how many times larger than the file what it decompresses to may be, counted from 64 MiB on; 0: no limit",
        type="int",
        default=MAX_RATIO,
        minimum=0,
    )


def member_option() -> Any:
    """The option `members`, which all decompressors have, since a tar archive may be behind any of them."""
    return option(
        "regular expression, searched in the names of an archive's members: those that have it are read; without it all "
        "but hidden ones are",
        type="str",
        default=None,
    )


def check_members(pattern: str | None) -> None:
    """Raises ConfigError where the option is not a valid regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ConfigError(f"members: {pattern!r} is not a valid regular expression: {error}") from None


def buffered(raw: BinaryIO) -> BinaryIO:
    """`raw` itself where its `read(n)` is exact and it has `readinto`; else a stream over it."""
    if isinstance(raw, io.BufferedIOBase):
        return raw
    return stream(_reads(raw), raw)


def _reads(raw: BinaryIO) -> Iterator[bytes]:
    while data := raw.read(INPUT):
        yield data


def head(raw: BinaryIO, size: int = HEAD) -> tuple[bytes, BinaryIO]:
    """The first bytes of `raw`, as many as `size` or fewer at its end, and a stream that still begins with them."""
    ahead = raw.ahead() if isinstance(raw, _Counted) else raw.peek(size) if isinstance(raw, io.BufferedReader) else b""
    if len(ahead) >= size:
        return ahead[:size], raw
    if _seekable(raw):
        position = raw.tell()
        first = read_up_to(raw, size)
        raw.seek(position)
        return first, raw
    first = read_up_to(raw, size)
    return first, stream(chain((first,) if first else (), _reads(raw)), raw)


def peeked(raw: BinaryIO, size: int = HEAD) -> bytes:
    """The first bytes of a stream that can seek or peek, which stays where it is."""
    if not _seekable(raw) and hasattr(raw, "peek"):
        return bytes(raw.peek(size)[:size])
    if not _seekable(raw):
        raise io.UnsupportedOperation("a stream must be able to seek or to peek before its compression can be told")
    return head(raw, size)[0]


def read_up_to(raw: BinaryIO, size: int, first: bytes = b"") -> bytes:
    """`first` and what follows in `raw`, up to `size` bytes; fewer only at the end."""
    while len(first) < size and (more := raw.read(size - len(first))):
        first += more
    return first


def _seekable(raw: BinaryIO) -> bool:
    return bool(getattr(raw, "seekable", bool)())


class Member(Protocol):
    """A decompressor of one member, as `bz2.BZ2Decompressor` is."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def joined(
    raw: BinaryIO,
    name: str,
    begins: Callable[[bytes], bool],
    member: Callable[[], Member],
    failures: tuple[type[Exception], ...],
    *,
    piece: int = INPUT,
    padded: bool = False,
) -> Iterator[bytes]:
    """The decompressed pieces of members one behind the other.

    `begins` judges the first 10 bytes of a member, `failures` is what `decompress` raises for damaged data. With
    `padded`, zero bytes between and behind members are skipped.
    """
    data = read_up_to(raw, 10)
    if data and not begins(data):
        raise wrong(name, read_up_to(raw, HEAD, data))
    while data:
        decoder = member()
        while not decoder.eof:
            if decoder.needs_input and not data:
                data = raw.read(piece)
                if not data:
                    raise SourceError(f"the {name} data is truncated: it ends in the middle")
            try:
                out = decoder.decompress(data, OUTPUT)
            except failures as error:
                raise SourceError(f"the {name} data is damaged: {error}") from error
            data = b""
            if out:
                yield out
        data = decoder.unused_data
        while padded and not (data := data.lstrip(b"\0")) and (data := raw.read(piece)):
            pass
        data = read_up_to(raw, 10, data)
        if data and not begins(data):
            raise SourceError(f"something that is not {name} follows the compressed data: {data[:10]!r}")


def wrong(name: str, first: bytes) -> SourceError:
    """The error for input that begins with `first` and is not what the chosen decompressor reads."""
    found = sniff(first)
    if found:
        return SourceError(f'the input is {found}, not {name}; use the decompressor "{_DECOMPRESSORS[found]}" or "auto"')
    return SourceError(f'the input is not {name}; use the decompressor "none" or "auto"')


def sniff(first: bytes) -> str:
    """The compression of data that begins with these bytes (up to `HEAD`): gzip, bz2, xz, zstd, zip, zlib or ""."""
    if first[:3] == b"\x1f\x8b\x08":
        return "gzip"
    if first[:3] == b"BZh" and first[3:4] in b"123456789" and first[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bz2"
    if first[:6] == b"\xfd7zXZ\x00":
        return "xz"
    if first[:4] == b"\x28\xb5\x2f\xfd" or (first[1:4] == b"\x2a\x4d\x18" and 0x50 <= first[0] <= 0x5F):
        return "zstd"
    if first[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return "zip"
    return "zlib" if _decompresses(first) else ""


def found_in(first: bytes, name: object) -> str:
    """What `sniff` finds, but for workbooks, which are ZIP archives inside: these are read as they are.

    >>> found_in(b"PK\\3\\4", "a.zip"), found_in(b"PK\\3\\4", "a.xlsx")
    ('zip', '')
    """
    found = sniff(first)
    return "" if found == "zip" and isinstance(name, str) and name.lower().endswith(WORKBOOKS) else found


def refuse_contradiction(found: str, first: bytes, name: object) -> None:
    """Raises SourceError where a name and what was found in the first bytes contradict each other."""
    suffix = name[max(0, name.rfind(".")) :].lower() if isinstance(name, str) else ""
    if first and suffix in SUFFIXES and found not in SUFFIXES[suffix]:
        content = found or "not compressed"
        remedy = "rename it" if found else 'rename it or use the decompressor "none"'
        raise SourceError(f"the name ends in {suffix} but the content is {content}; {remedy}")


def is_zlib_header(first: bytes) -> bool:
    """Method deflate, a window of at most 32 KiB, no preset dictionary, and a multiple of 31."""
    return (
        len(first) > 1 and first[0] & 15 == 8 and first[0] < 0x80 and not first[1] & 32 and (first[0] << 8 | first[1]) % 31 == 0
    )


def _decompresses(first: bytes) -> bool:
    """A zlib header is two bytes that texts begin with too ("x^2"), so what follows must decompress as well."""
    if not is_zlib_header(first):
        return False
    decoder = zlib.decompressobj()
    try:
        decoder.decompress(first)
    except zlib.error:
        return False
    if decoder.eof or len(first) >= HEAD:
        return True
    try:
        first.decode()
    except UnicodeDecodeError:
        return True
    return False
