"""Choosing the decompressor by looking at the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components import Decompressor
from exporters_beam.compressions.streams import head, peeked, ratio_option, sniff
from exporters_beam.errors import SourceError

_SUFFIXES = {".gz": ("gzip", "zlib"), ".bz2": ("bz2",), ".xz": ("xz",), ".zst": ("zstd",), ".zip": ("zip",)}


@dataclass(frozen=True, kw_only=True)
class Auto:
    """Read gzip, zlib, bz2, xz, zstd, zip and uncompressed files, whichever each file turns out to be.

    The first bytes of a file decide. A file whose name ends in .gz, .bz2, .xz, .zst or .zip but which holds something
    else is an error, unless it is empty.

    Example:
        decompressor:
          name: auto
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = tuple(_SUFFIXES)
    splittable: ClassVar[bool] = False

    max_ratio: int = ratio_option()

    def open(self, raw: BinaryIO) -> BinaryIO:
        name = getattr(raw, "name", "")
        first, raw = head(raw)
        return self._chosen(first, name).open(raw)

    def detect(self, raw: BinaryIO) -> Decompressor:
        """The decompressor that `open` uses for `raw`, which must be able to seek or to peek and stays where it is.

        Raises SourceError where name and content contradict each other.
        """
        return self._chosen(peeked(raw), getattr(raw, "name", ""))

    def _chosen(self, first: bytes, name: object) -> Decompressor:
        from exporters_beam.compressions.bz2 import Bz2
        from exporters_beam.compressions.none import Plain
        from exporters_beam.compressions.xz import Xz
        from exporters_beam.compressions.zip import Zip
        from exporters_beam.compressions.zlib import Zlib
        from exporters_beam.compressions.zstd import Zstd

        found = sniff(first)
        suffix = next((s for s in _SUFFIXES if isinstance(name, str) and name.lower().endswith(s)), "")
        if first and suffix and found not in _SUFFIXES[suffix]:
            content = found or "not compressed"
            remedy = "rename it" if found else 'rename it or use the decompressor "none"'
            raise SourceError(f"the name ends in {suffix} but the content is {content}; {remedy}")
        decompressors: dict[str, Any] = {
            "": Plain,
            "gzip": Zlib,
            "zlib": Zlib,
            "bz2": Bz2,
            "xz": Xz,
            "zstd": Zstd,
            "zip": Zip,
        }
        chosen: Decompressor = decompressors[found](**({"max_ratio": self.max_ratio} if found else {}))
        return chosen
