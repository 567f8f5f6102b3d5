"""Zstandard: about as small as gzip at a fraction of the time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, cast

from exporters_beam.compressions import Codec, Compressor
from exporters_beam.compressions.streams import check_members, decompressed, joined, member_option, ratio_option

INPUT = 4096
"""Compressed bytes given to the library at a time. It returns all they expand to at once, so this bounds memory."""


@dataclass(frozen=True, kw_only=True)
class Zstd:
    """Read Zstandard files. Frames one behind the other are read as one, skippable frames are skipped.

    Frames that need a window over 128 MiB (`zstd --long=28` and more) and frames with a dictionary are refused.

    Example:
        decompressor:
          name: zstd
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = (".zst",)
    splittable: ClassVar[bool] = False

    max_ratio: int = ratio_option()
    members: str | None = member_option()

    def __post_init__(self) -> None:
        check_members(self.members)

    def open(self, raw: BinaryIO) -> BinaryIO:
        import zstandard

        def pieces(raw: BinaryIO) -> Iterator[bytes]:
            return joined(raw, "zstd", _begins, _Frame, (zstandard.ZstdError,), piece=INPUT)

        return decompressed(pieces, raw, self.max_ratio)


class _Frame:
    """One frame, in the shape of the standard library's decompressors."""

    needs_input = True

    def __init__(self) -> None:
        import zstandard

        self._frame = zstandard.ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        unused: bytes = self._frame.unused_data
        return unused

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out: bytes = self._frame.decompress(data)
        return out


def _begins(first: bytes) -> bool:
    frame = first[:4] == b"\x28\xb5\x2f\xfd"[: len(first)]
    return frame or (0x50 <= first[0] <= 0x5F and first[1:4] == b"\x2a\x4d\x18"[: len(first) - 1])


@dataclass(frozen=True)
class ZstdCodec(Codec):
    """Zstandard frames with a checksum; the usual level is 3."""

    name: ClassVar[str] = "zstd"
    suffix: ClassVar[str] = ".zst"
    levels: ClassVar[range] = range(1, 23)

    def compressor(self) -> Compressor:
        return cast(Compressor, self._library().compressobj())

    def compress(self, data: bytes) -> bytes:
        return cast(bytes, self._library().compress(data))

    def decompress(self, data: bytes) -> bytes:
        with Zstd(max_ratio=0).open(io.BytesIO(data)) as opened:
            return opened.read()

    def _library(self) -> Any:
        import zstandard

        return zstandard.ZstdCompressor(level=self.level or 3, write_checksum=True)
