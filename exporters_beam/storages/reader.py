"""What the readers of storages share: units are the objects that are found, sorted by name, a page at a time."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.names import expand_dates
from exporters_beam.components.options import option
from exporters_beam.components.protocols import Writer
from exporters_beam.components.traits import WriterTraits
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.files import Hidden, Measured, is_hidden
from exporters_beam.records import Unit, Warned
from exporters_beam.storages.base import ATTEMPTS, Connected, Content, NotThere, Storage, StorageError, Stored, is_bookkeeping


@dataclass(frozen=True, kw_only=True)
class RemoteReader(Connected):
    """Options of every reader of a storage."""

    kind: ClassVar[str] = "reader"
    place_option: ClassVar[str] = "prefix"

    pattern: str | None = option("regular expression, searched in the whole name", type="str", default=None)
    include_hidden: bool = option("also read what has a name, or a folder, that begins with a dot or an underscore",
                                  type="bool", default=False)  # fmt: skip
    allow_empty: bool = option("deliver nothing, with a warning, where there is nothing to read", type="bool",
                               default=False)  # fmt: skip
    batch_size: int = option("accepted for old configs; it changes nothing", type="int", default=10000)
    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ConfigError(f"pattern: {self.pattern!r} is not a valid regular expression: {error}") from None

    def places(self) -> Iterable[str]:
        """The prefixes or paths to look at. Raises StorageError, SourceError."""
        raise NotImplementedError

    def covers(self, place: str, other: str) -> bool:
        """Whether what is at `other` is found at `place` already."""
        return other.startswith(place)

    def units(self) -> Iterator[Unit | Warned]:
        """Every object once, sorted by name. Raises SourceError where the storage cannot be asked or has nothing."""
        wanted = re.compile(self.pattern or "").search
        hidden = Hidden("include_hidden: true reads it")
        there = index = 0
        places: list[str] = []
        place = ""
        try:
            places = distinct(self.places(), self.covers)
            for place in places:
                before = there
                for found in self.storage.names(place):
                    if isinstance(found, Warned):
                        yield found
                        continue
                    there += 1
                    if not wanted(found.name) or _is_folder(found):
                        continue
                    elif not self.include_hidden and is_hidden(behind(place, found.name)):
                        hidden.add(behind(place, found.name), self.storage.url(found.name))
                    else:
                        yield Unit(index, self.storage.url(found.name), found.size, found.etag)
                        index += 1
                if there == before and len(places) > 1:
                    yield Warned(f"{self.place_option}: there is nothing at {self.storage.url(place)}")
        except StorageError as error:
            raise SourceError(f"{self.storage.url(place)}: {error}") from error
        yield from hidden.warnings()
        if index:
            return
        shown = ", ".join(self.storage.url(place) for place in places[:3]) + (" …" if len(places) > 3 else "")
        text = f"there is nothing at {shown}"
        if hidden.count:
            text = (f"there is nothing to read at {shown}; {hidden.count:,} names are hidden ones, which include_hidden: true "
                    "reads")  # fmt: skip
        elif there:
            text = f"there is nothing to read at {shown}: none of {there:,} names has {self.pattern or ''!r} in it"
        name = "pattern" if there and not hidden.count and self.pattern else self.place_option
        if not self.allow_empty:
            raise SourceError(f"option {name}: {text}; give allow_empty: true if that may be so")
        yield Warned(f"{name}: {text}; nothing is read")

    def finds(self, name: str, writer: Writer, copied: bool) -> bool:
        """Whether an object of this name (a URL), which a writer delivers, is read, or would be if it were there. A copy has a
        name that the pattern fits."""
        to = WriterTraits.of(writer)
        if not to.remote or to.storage is None or not _same_place(self.storage, to.storage()):
            return False
        return self.reads(name, copied)

    def reads(self, name: str, copied: bool = False) -> bool:
        """Whether an object of this name (a URL) is read, or would be if it were there."""
        found = self.storage.name(name)
        if found is None or is_bookkeeping(found):
            return False
        try:
            places = [place for place in self.places() if self.covers(place, found)]
        except (StorageError, SourceError):
            return False  # It is told when the input is listed.
        fits = copied or re.search(self.pattern or "", found) is not None
        return fits and any(self.include_hidden or not is_hidden(behind(place, found)) for place in places)

    def folder(self) -> str:
        """The folder, with a slash at its end, that everything is in: names below it are distinct."""
        places = sorted(self.places())
        same = takewhile(lambda pair: pair[0] == pair[1], zip(places[0], places[-1], strict=False)) if places else ()
        common = "".join(char for char, _ in same)
        return common[: common.rfind("/") + 1]

    def may_be_empty(self) -> RemoteReader:
        return replace(self, allow_empty=True)

    def stored(self, unit: Unit) -> Stored:
        """The object of a unit, as it was listed."""
        return Stored(self.storage.name(unit.name) or "", unit.size, unit.etag)

    def open(self, unit: Unit) -> BinaryIO:
        """The object's bytes, seekable. Raises OSError, also where the object is not the one that was listed."""
        return self.storage.open(self.stored(unit))

    def unchanged(self, unit: Unit, raw: BinaryIO) -> None:
        """Raises OSError where what was read may not be the object that was listed."""
        self.storage.unchanged(self.stored(unit))


@dataclass(frozen=True, kw_only=True)
class EmptiedReader(RemoteReader):
    """Options of every reader of a storage from which what was read can be removed."""

    def delete(self, unit: Unit) -> str:
        """Removes an object that was read, unless it has changed since."""
        return self._put_away(unit, lambda found: None)

    def archive(self, unit: Unit, folder: str) -> str:
        """Moves an object that was read, unless it has changed since."""
        name = self.archived(unit, folder)
        return self._put_away(unit, lambda found: self._copied(found, self.storage.name(name) or ""))

    def archived(self, unit: Unit, folder: str) -> str:
        """Its name (a URL) in that folder: as below the folder that is read."""
        name = self.storage.name(unit.name) or ""
        place = max((place for place in self.places() if self.covers(place, name)), key=len, default="")
        above = place if self.place_option == "path" and place != name else place[: place.rfind("/") + 1]
        below = name[len(above) :].lstrip("/") if name.startswith(above) else name.rpartition("/")[2]
        return self.storage.url(f"{folder.rstrip('/')}/{below}")

    def _copied(self, found: Stored, name: str) -> None:
        """Copy what was read; what was copied by an earlier try is taken for that. Raises StorageError where another object has
        the name."""
        with self.storage.open(found) as stream, tempfile.TemporaryFile() as copy:
            measured = Measured(copy)
            shutil.copyfileobj(stream, measured, 1 << 20)
            self.storage.unchanged(found)
            try:
                there = self.storage.stat(name)
            except NotThere:
                copy.seek(0)
                self.storage.put(name, copy, Content(measured.size, measured.md5(), found.metadata, "archive"))
                return
            if there.size != measured.size or self._digest(there) != measured.md5():
                raise StorageError("after", f"there is another object called {self.storage.url(name)}; put % dates or "
                                   "{batch} into the folder's name")  # fmt: skip

    def _digest(self, found: Stored) -> str:
        measured = Measured(None)
        with self.storage.open(found) as stream:
            shutil.copyfileobj(stream, measured, 1 << 20)
        return measured.md5()

    def _put_away(self, unit: Unit, before: Callable[[Stored], None]) -> str:
        """Do this to an object that is as it was when it was listed, and remove it; gives why that was not done, "" also where
        the object is gone."""
        listed = self.stored(unit)
        try:
            found = self.storage.stat(listed.name)
            if (found.size, found.etag) != (listed.size, listed.etag):
                return "it has changed since it was read; it stays where it is"
            before(found)
            self.storage.delete(listed.name)
        except NotThere:
            return ""
        except OSError as error:
            return f"it stays where it is: {error}"
        return ""


@dataclass(frozen=True, kw_only=True)
class FolderReader(EmptiedReader):
    """Options of every reader of a server whose names are paths."""

    place_option: ClassVar[str] = "path"

    path: Any = option("a file or folder, or several", type="str|str_list", example="dumps")
    dates: bool = option("% directives in paths are dates of the run", type="bool", default=False)

    def at(self, now: datetime) -> FolderReader:
        """The reader of an export of that time: dates stay those, also when it is resumed on another day."""
        if not self.dates:
            return self
        return replace(self, path=[expand_dates(path, now) for path in as_tuple(self.path)], dates=False)

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


def behind(place: str, name: str) -> str:
    """What a name has behind a prefix or path: hidden is what lies below, not what was asked for.

    >>> behind("dumps/_old", "dumps/_old/_SUCCESS"), behind("dumps/_", "dumps/_a"), behind("", "_a"), behind("a.jl", "a.jl")
    ('/_SUCCESS', '', '_a', '')
    """
    place, name = place.removeprefix("./").lstrip("/"), name.removeprefix("./").lstrip("/")
    left = name[len(place) :] if name.lower().startswith(place.lower()) else name
    return left if not place or place.endswith("/") else f"{left.partition('/')[1]}{left.partition('/')[2]}"


def _same_place(one: Storage, other: Storage) -> bool:
    """Whether two storages are the same bucket, share or server."""
    hosts = [getattr(storage, "host", None) for storage in (one, other)]
    return one.url("") == other.url("") and hosts[0] == hosts[1]


def _is_folder(found: Stored) -> bool:
    """Whether an object is none but stands for a folder, as consoles and Hadoop make them."""
    return not found.size and found.name.endswith(("/", "_$folder$"))


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


def as_tuple(given: Any) -> tuple[str, ...]:
    """One text or several."""
    return (given,) if isinstance(given, str) else tuple(given or ())
