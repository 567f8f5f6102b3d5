"""bzip2: strongest of the old compressions, slow both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from exporters_beam.compressions import Codec, Compressor
from exporters_beam.compressions.streams import check_members, decompressed, joined, member_option, ratio_option


@dataclass(frozen=True, kw_only=True)
class Bz2:
    """Read bzip2 files. Streams one behind the other are read as one; anything else behind them is an error.

    Example:
        decompressor:
          name: bz2
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = (".bz2",)
    splittable: ClassVar[bool] = False

    max_ratio: int = ratio_option()
    members: str | None = member_option()

    def __post_init__(self) -> None:
        check_members(self.members)

    def open(self, raw: BinaryIO) -> BinaryIO:
        import bz2

        def pieces(raw: BinaryIO) -> Iterator[bytes]:
            return joined(raw, "bz2", _begins, bz2.BZ2Decompressor, (OSError, ValueError))

        return decompressed(pieces, raw, self.max_ratio)


def _begins(first: bytes) -> bool:
    return first[:3] == b"BZh"[: len(first)]


@dataclass(frozen=True)
class Bz2Codec(Codec):
    """bzip2 streams; the usual level is 9."""

    name: ClassVar[str] = "bz2"
    suffix: ClassVar[str] = ".bz2"
    levels: ClassVar[range] = range(1, 10)

    def compressor(self) -> Compressor:
        import bz2

        return bz2.BZ2Compressor(self.level or 9)

    def decompress(self, data: bytes) -> bytes:
        import bz2

        return bz2.decompress(data)
