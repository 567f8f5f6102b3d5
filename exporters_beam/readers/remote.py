"""What the readers of storages share: units are the objects that are found, sorted by name, a page at a time."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, BinaryIO, ClassVar

from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.options import option
from exporters_beam.records import Unit
from exporters_beam.storages import ATTEMPTS, Connected, StorageError, Stored


@dataclass(frozen=True, kw_only=True)
class RemoteReader(Connected):
    """Options of every reader of a storage."""

    kind: ClassVar[str] = "reader"
    place_option: ClassVar[str] = "prefix"

    pattern: str | None = option("regular expression, searched in the whole name", type="str", default=None)
    allow_empty: bool = option("deliver nothing, with a warning, where there is nothing to read", type="bool",
                               default=False)  # fmt: skip
    batch_size: int = option("accepted for old configs; it changes nothing", type="int", default=10000)
    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ConfigError(f"pattern: {self.pattern!r} is no regular expression: {error}") from None

    def places(self) -> Iterable[str]:
        """The prefixes or paths to look at. Raises StorageError, SourceError."""
        raise NotImplementedError

    def covers(self, place: str, other: str) -> bool:
        """Whether what is at `other` is found at `place` already."""
        return other.startswith(place)

    def units(self) -> Iterator[Unit]:
        """Every object once, sorted by name. Raises SourceError where the storage cannot be asked or has nothing."""
        wanted = re.compile(self.pattern or "").search
        there = index = 0
        places: list[str] = []
        place = ""
        try:
            places = distinct(self.places(), self.covers)
            for place in places:
                before = there
                for found in self.storage.names(place):
                    there += 1
                    if wanted(found.name):
                        yield Unit(index, self.storage.url(found.name), found.size, found.etag)
                        index += 1
                if there == before and len(places) > 1:
                    _warn(f"{self.place_option}: there is nothing at {self.storage.url(place)}")
        except StorageError as error:
            raise SourceError(f"{self.storage.url(place)}: {error}") from error
        if not there:
            shown = ", ".join(self.storage.url(place) for place in places[:3]) + (" …" if len(places) > 3 else "")
            if not self.allow_empty:
                raise SourceError(f"option {self.place_option}: there is nothing at {shown}; "
                                  "give allow_empty: true if that may be so")  # fmt: skip
            _warn(f"{self.place_option}: there is nothing at {shown}; nothing is read")
        elif not index:
            _warn(f"pattern: none of {there:,} names has {self.pattern!r} in it; nothing is read")

    def folder(self) -> str:
        """The folder, with a slash at its end, that everything is in: names below it are distinct."""
        places = sorted(self.places())
        same = takewhile(lambda pair: pair[0] == pair[1], zip(places[0], places[-1], strict=False)) if places else ()
        common = "".join(char for char, _ in same)
        return common[: common.rfind("/") + 1]

    def stored(self, unit: Unit) -> Stored:
        """The object of a unit, as it was listed."""
        return Stored(self.storage.name(unit.name) or "", unit.size, unit.etag)

    def open(self, unit: Unit) -> BinaryIO:
        """The object's bytes, seekable. Raises OSError, also where the object is not the one that was listed."""
        return self.storage.open(self.stored(unit))


@dataclass(frozen=True, kw_only=True)
class FolderReader(RemoteReader):
    """Options of every reader of a server whose names are paths."""

    place_option: ClassVar[str] = "path"

    path: Any = option("a file or folder, or several", type="str|str_list", example="dumps")

    def places(self) -> Iterable[str]:
        return as_tuple(self.path)

    def covers(self, place: str, other: str) -> bool:
        return in_folder(place, other)


def distinct(places: Iterable[str], covers: Callable[[str, str], bool]) -> list[str]:
    """The places, sorted, without those that another one covers: what they list is then sorted, and no name comes twice.

    >>> distinct(["b/", "a/2", "a/", "b/"], lambda place, other: other.startswith(place))
    ['a/', 'b/']
    >>> distinct(["a", "a.b", "a/c"], in_folder)
    ['a', 'a.b']
    """
    kept: list[str] = []
    for place in sorted(set(places)):
        if not any(covers(before, place) for before in reversed(kept)):
            kept.append(place)
    return kept


def in_folder(folder: str, path: str) -> bool:
    """Whether a path is the folder, or below it."""
    return path.rstrip("/") == folder.rstrip("/") or path.startswith(f"{folder.rstrip('/')}/") or folder in ("", ".")


def text_of(stream: BinaryIO, most: int = 1 << 20) -> str:
    """A small text file of a storage. Raises StorageError for what is none."""
    with stream:
        data = stream.read(most + 1)
    try:
        if len(data) > most:
            raise ValueError
        return data.decode("utf-8")
    except ValueError:
        raise StorageError("", "it is not a small text file in UTF-8") from None


def _warn(text: str) -> None:
    logging.getLogger("exporters_beam").warning(text)


def as_tuple(given: Any) -> tuple[str, ...]:
    """One text or several."""
    return (given,) if isinstance(given, str) else tuple(given or ())
