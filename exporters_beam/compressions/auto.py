"""Choosing the decompressor by looking at the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components import Decompressor
from exporters_beam.compressions.archives import check_members, member_option
from exporters_beam.compressions.streams import head, peeked, ratio_option, sniff
from exporters_beam.errors import SourceError

_SUFFIXES = {
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


@dataclass(frozen=True, kw_only=True)
class Auto:
    """Read gzip, zlib, bz2, xz, zstd, zip, tar and uncompressed files, whichever each file turns out to be.

    The first bytes of a file decide. A file whose name ends in .gz, .bz2, .xz, .zst, .zip or .tar but which holds something
    else is an error, unless it is empty. Each member of an archive (zip; tar, compressed or not) is read as a file of its
    own: the decompressor `zip` says more.

    Example:
        decompressor:
          name: auto
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = tuple(_SUFFIXES)
    splittable: ClassVar[bool] = False

    max_ratio: int = ratio_option()

    members: str | None = member_option()

    def __post_init__(self) -> None:
        check_members(self.members)

    def open(self, raw: BinaryIO) -> BinaryIO:
        chosen, raw = self.choose(raw)
        return chosen.open(raw)

    def choose(self, raw: BinaryIO) -> tuple[Decompressor, BinaryIO]:
        """The decompressor for a file, and the file, which is at its beginning as before."""
        name = getattr(raw, "name", "")
        first, raw = head(raw)
        return self._chosen(first, name), raw

    def agree(self, first: bytes, name: str) -> None:
        """Raises SourceError where a name and content that begins with these bytes contradict each other."""
        self._chosen(first, name)

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
        chosen: Decompressor = decompressors[found](
            **({"max_ratio": self.max_ratio, "members": self.members} if found else {})
        )
        return chosen
