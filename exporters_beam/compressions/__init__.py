"""Compressions, one file each: reading (`Decompressor` components) and writing (`Codec` values)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Protocol

from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError


class Compressor(Protocol):
    """Compresses one member piece by piece."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True)
class Codec:
    """How delivered files are compressed. Equal input gives equal bytes: no time, no file name, no threads.

    `suffix` ends the names of files; `joins` says whether members one behind the other make one file. Where they do
    not (zip), a file is written through `archive`, else through `compress` and `compressor`. Codecs can be pickled.
    """

    level: int | None = None
    name: ClassVar[str]
    suffix: ClassVar[str]
    joins: ClassVar[bool] = True
    levels: ClassVar[range] = range(0)

    def compressor(self) -> Compressor:
        """Something that makes one member out of what its `compress(data)` is given; `flush()` ends the member."""
        raise NotImplementedError(f"{self.name} files have no members to join; use archive")

    def compress(self, data: bytes) -> bytes:
        """One whole member. It need not equal, byte for byte, what `compressor` makes of the same data."""
        compressor = self.compressor()
        return compressor.compress(data) + compressor.flush()

    def decompress(self, data: bytes) -> bytes:
        """What was compressed to these whole members."""
        raise NotImplementedError(f"{self.name} files have no members to join")

    @contextmanager
    def archive(self, out: BinaryIO, member: str) -> Iterator[Writable]:
        """A writable whose bytes become the only member, called `member`, of a file written to `out`."""
        raise NotImplementedError(f"{self.name} files are made of joined members; use compress or compressor")
        yield out


_CODECS = {
    "bz2": "exporters_beam.compressions.bz2:Bz2Codec",
    "gz": "exporters_beam.compressions.zlib:GzCodec",
    "none": "exporters_beam.compressions.none:PlainCodec",
    "xz": "exporters_beam.compressions.xz:XzCodec",
    "zip": "exporters_beam.compressions.zip:ZipCodec",
    "zstd": "exporters_beam.compressions.zstd:ZstdCodec",
}

_MEANT = {"gzip": "gz", "bzip2": "bz2", "zst": "zstd", "lzma": "xz", "plain": "none"}

NAMES = tuple(_CODECS)
"""What the option `compression` of a writer may be."""


def codec(name: str, level: int | None = None) -> Codec:
    """The codec of that name at that level (None: the codec's usual one).

    Raises ConfigError whose text begins with the writer's option: `compression` or `compression_level`.
    """
    if name not in _CODECS:
        nearest = did_you_mean(_MEANT.get(str(name).lower(), str(name)), NAMES)
        raise ConfigError(f"compression: there is no compression called {name!r}{nearest}")
    module, _, attribute = _CODECS[name].partition(":")
    made: type[Codec] = getattr(importlib.import_module(module), attribute)
    if level is not None and (isinstance(level, bool) or level not in made.levels):
        known = f"give {made.levels[0]} to {made.levels[-1]} or leave it out" if made.levels else "leave it out"
        raise ConfigError(f"compression_level: {level!r} is not a level of {name}; {known}")
    return made(level)
