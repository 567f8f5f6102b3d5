"""Choosing the decompressor by looking at the input."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, ClassVar

from exporters_beam.components.protocols import Decompressor
from exporters_beam.compressions.streams import (
    SINGLE,
    SUFFIXES,
    check_members,
    found_in,
    head,
    member_option,
    peeked,
    ratio_option,
    refuse_contradiction,
)

PLAIN, ZIP = "exporters_beam.compressions.none:Plain", "exporters_beam.compressions.zip:Zip"


@dataclass(frozen=True, kw_only=True)
class Auto:
    """Read gzip, zlib, bz2, xz, zstd, zip, tar and uncompressed files, whichever each file turns out to be.

    The first bytes of a file decide. A file whose name ends in .gz, .bz2, .xz, .zst, .zip or .tar but which holds something
    else is an error, unless it is empty. Workbooks, whose names end in .xlsx, .xlsm, .xlsb or .ods, are ZIP archives inside and
    are read as they are. Each member of an archive (zip; tar, compressed or not) is read as a file of its
    own: the decompressor `zip` says more.

    Example:
        decompressor:
          name: auto
    """

    kind: ClassVar[str] = "decompressor"
    suffixes: ClassVar[tuple[str, ...]] = tuple(SUFFIXES)
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

    def detect(self, raw: BinaryIO) -> Decompressor:
        """The decompressor that `open` uses for `raw`, which must be able to seek or to peek and stays where it is.

        Raises SourceError where name and content contradict each other.
        """
        return self._chosen(peeked(raw), getattr(raw, "name", ""))

    def _chosen(self, first: bytes, name: object) -> Decompressor:
        found = found_in(first, name)
        refuse_contradiction(found, first, name)
        return _made(found, self.max_ratio, self.members)


@lru_cache(maxsize=64)
def _made(found: str, max_ratio: int, members: str | None) -> Decompressor:
    """The decompressor for what was found: one for all files that hold it."""
    module, _, kind = {**SINGLE, "": PLAIN, "zip": ZIP}[found].partition(":")
    made = getattr(importlib.import_module(module), kind)
    chosen: Decompressor = made(**({"max_ratio": max_ratio, "members": members} if found else {}))
    return chosen
