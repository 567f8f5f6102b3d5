"""xz (LZMA2): small files, slow to write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from exporters_beam.compressions import Codec, Compressor
from exporters_beam.compressions.streams import check_members, decompressed, joined, member_option, ratio_option


@dataclass(frozen=True, kw_only=True)
class Xz:
    """Read xz files. Streams one behind the other are read as one; zero bytes between and behind them are skipped.

    Example:
        decompressor:
          name: xz
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = (".xz",)
    splittable: ClassVar[bool] = False

    max_ratio: int = ratio_option()
    members: str | None = member_option()

    def __post_init__(self) -> None:
        check_members(self.members)

    def open(self, raw: BinaryIO) -> BinaryIO:
        import lzma

        def member() -> lzma.LZMADecompressor:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ)

        def pieces(raw: BinaryIO) -> Iterator[bytes]:
            return joined(raw, "xz", _begins, member, (lzma.LZMAError,), padded=True)

        return decompressed(pieces, raw, self.max_ratio)


def _begins(first: bytes) -> bool:
    return first[:6] == b"\xfd7zXZ\x00"[: len(first)]


@dataclass(frozen=True)
class XzCodec(Codec):
    """xz streams; the usual level (preset) is 6."""

    name: ClassVar[str] = "xz"
    suffix: ClassVar[str] = ".xz"
    levels: ClassVar[range] = range(10)

    def compressor(self) -> Compressor:
        import lzma

        return lzma.LZMACompressor(lzma.FORMAT_XZ, preset=6 if self.level is None else self.level)

    def decompress(self, data: bytes) -> bytes:
        import lzma

        return lzma.decompress(data, lzma.FORMAT_XZ)
