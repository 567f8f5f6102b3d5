"""gzip and zlib, the compressions of most exports."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, cast

from exporters_beam.compressions import Codec, Compressor
from exporters_beam.compressions.streams import (
    HEAD,
    INPUT,
    OUTPUT,
    buffered,
    check_members,
    decompressed,
    head,
    is_zlib_header,
    joined,
    member_option,
    ratio_option,
    wrong,
)
from exporters_beam.errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Zlib:
    """Read gzip files and zlib streams; which of them it is shows in the first bytes.

    Members one behind the other are read as one. Checksums are verified, and input that is cut short or followed by
    anything but zero bytes (zlib: by anything) is an error. Uncompressed input is refused: use `none` or `auto`.

    Example:
        decompressor:
          name: zlib
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = (".gz",)
    splittable: ClassVar[bool] = False

    max_ratio: int = ratio_option()
    members: str | None = member_option()

    def __post_init__(self) -> None:
        check_members(self.members)

    def open(self, raw: BinaryIO) -> BinaryIO:
        return _at_once(raw) or decompressed(_pieces, raw, self.max_ratio)


def _pieces(raw: BinaryIO) -> Iterator[bytes]:
    import zlib

    first, raw = head(raw)
    if first[:2] == b"\x1f\x8b"[: len(first)]:
        yield from _gzip(raw)
    elif is_zlib_header(first):
        yield from joined(raw, "zlib", is_zlib_header, _Member, (zlib.error,))
    else:
        raise wrong("gzip or zlib", first)


def _gzip(raw: BinaryIO) -> Iterator[bytes]:
    """ISA-L's reader verifies checksums and lengths and goes on from member to member, all in C."""
    from gzip import BadGzipFile

    from isal import igzip
    from isal.igzip_lib import IsalError

    failure = cast(type[Exception], IsalError)
    file = igzip.IGzipFile(fileobj=buffered(raw), mode="rb")
    while True:
        try:
            data = file.read(OUTPUT)
        except EOFError:
            raise SourceError("the gzip data is truncated (or a few stray bytes follow it)") from None
        except BadGzipFile as error:
            if str(error).startswith("Not a gzipped file"):
                raise SourceError("something that is not gzip follows the compressed data") from error
            raise SourceError(f"the gzip data is damaged: {error}") from error
        except failure as error:
            raise SourceError(f"the gzip data is damaged: {error}") from error
        if not data:
            return
        yield data


def _at_once(raw: BinaryIO) -> BinaryIO | None:
    """The content of a small gzip file that is one whole member; None for any other, which stays at its beginning, so that what
    is wrong with it is told by what reads it in pieces."""
    if not isinstance(raw, io.BufferedReader) or not raw.seekable():
        return None
    first = raw.peek()
    if len(first) >= INPUT or first[:2] != b"\x1f\x8b":
        return None
    begins = raw.tell()
    data = raw.read(INPUT)
    if len(data) < INPUT and (out := _member(data)) is not None:
        return cast(BinaryIO, _Whole(out, raw))
    raw.seek(begins)
    return None


class _Whole(io.BytesIO):
    """The whole content of a file. Closing it closes the file, too."""

    def __init__(self, content: bytes, raw: BinaryIO) -> None:
        super().__init__(content)
        self._raw = raw

    def seekable(self) -> bool:  # A larger one could not.
        return False

    def peek(self, size: int = 0, /) -> bytes:
        """What is ahead, at least as much as is asked for."""
        at = self.tell()
        return self.getvalue()[at : at + max(size, HEAD)]

    def close(self) -> None:
        self._raw.close()
        super().close()


def _member(data: bytes) -> bytes | None:
    """What one whole gzip member holds; None where the bytes are anything else, or hold much."""
    from isal import isal_zlib
    from isal.igzip_lib import IsalError

    failure = cast(type[Exception], IsalError)
    member = isal_zlib.decompressobj(31)
    try:
        out = member.decompress(data, OUTPUT)
    except failure:
        return None
    return out if member.eof and not member.unused_data else None


class _Member:
    """One zlib stream, in the shape of the standard library's other decompressors."""

    def __init__(self) -> None:
        import zlib

        self._member = zlib.decompressobj()
        self._full = False

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._member.decompress(self._member.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length  # there may be more to come from what was read already
        return out


@dataclass(frozen=True)
class GzCodec(Codec):
    """gzip members. Without a level ISA-L's level 2, which takes a third of the time of zlib's level 6 or less."""

    name: ClassVar[str] = "gz"
    suffix: ClassVar[str] = ".gz"
    levels: ClassVar[range] = range(1, 10)

    def compressor(self) -> Compressor:
        if self.level is not None:
            import zlib

            return zlib.compressobj(self.level, zlib.DEFLATED, 31)
        from isal import isal_zlib

        return cast(Compressor, isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31))

    def compress(self, data: bytes) -> bytes:
        if self.level is not None:
            return super().compress(data)
        from isal import igzip

        return cast(bytes, igzip.compress(data, 2, mtime=0))

    def decompress(self, data: bytes) -> bytes:
        from isal import igzip

        return cast(bytes, igzip.decompress(data))
