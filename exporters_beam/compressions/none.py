"""No compression: bytes as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from exporters_beam.compressions import Codec, Compressor
from exporters_beam.compressions.streams import buffered, check_members, member_option


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Read bytes as they are. Large uncompressed files can be read in several places at once.

    Example:
        decompressor:
          name: none
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = ()
    splittable: ClassVar[bool] = True

    members: str | None = member_option()

    def __post_init__(self) -> None:
        check_members(self.members)

    def open(self, raw: BinaryIO) -> BinaryIO:
        return buffered(raw)


class _Unchanged:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


@dataclass(frozen=True)
class PlainCodec(Codec):
    """Files as they are."""

    name: ClassVar[str] = "none"
    suffix: ClassVar[str] = ""

    def compressor(self) -> Compressor:
        return _Unchanged()

    def compress(self, data: bytes) -> bytes:
        return data

    def decompress(self, data: bytes) -> bytes:
        return data
