"""The files of this machine or of a shared mount."""

from __future__ import annotations

import io
import os
import re
import stat as modes
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO, ClassVar, cast

from exporters_beam.components.names import expand_dates
from exporters_beam.components.options import option
from exporters_beam.components.protocols import Writer
from exporters_beam.components.traits import WriterTraits
from exporters_beam.errors import ConfigError, SourceError, shown
from exporters_beam.files import BOOKS, Hidden, is_hidden, move_to
from exporters_beam.records import Unit, Warned

TICK = 0.02
"""Seconds in which a file may change twice and have the same times: clocks of file systems have steps of up to 10 ms."""


@dataclass(frozen=True, kw_only=True)
class FsReader:
    """Read the files of this machine or of a shared mount, in the order of their paths.

    With `dates: true` a path may hold % directives, which become the time at which the export begins: `dumps/%Y-%m-%d`.

    `input` is a path, a mapping, or a list of both. A path is taken literally, and it must exist when the export
    starts. A mapping has `dir` (every file below it) or `dir_pointer` (a small text file that holds the folder's
    path), and may have `pattern` (a regular expression searched in the whole path). Where there is nothing to read the
    export fails, unless `allow_empty` is given. Files are decompressed and decoded by the sections `decompressor` and
    `deserializer`.

    Of what is found below a folder, these are passed over: files and folders whose names begin with a dot or an
    underscore (marks of jobs, copies; a folder such as `_day=2026-11-29` is read), unless `include_hidden` is given
    (`include_dot_files` in a mapping: those with a dot); the books of exports, `.exporters`, always; with a warning
    what is not a file (pipes, sockets, devices) and links to folders that are not below one that is read. A folder or a
    link that cannot be followed ends the export. A file that has several names (other spellings, links) is read once.

    An export that would read the files that it delivers is refused.

    A file that changes while the export runs ends it: size, times and inode are compared before and after each piece
    that is read.

    Example:
        reader:
          name: fs
          options:
            input: {dir: data, pattern: 'day=2026-.*\\.jl\\.gz$'}
    """

    kind: ClassVar[str] = "reader"
    on_this_machine: ClassVar[bool] = True

    input: Any = option(
        "a file, a mapping with dir or dir_pointer, or a list of both", type="str|dict|list", example={"dir": "data"}
    )
    dates: bool = option("% directives in paths are dates of the run", type="bool", default=False)
    include_hidden: bool = option("also read files and folders whose names begin with a dot or an underscore",
                                  type="bool", default=False)  # fmt: skip
    allow_empty: bool = option("deliver nothing, with a warning, where there is nothing to read", type="bool",
                               default=False)  # fmt: skip
    batch_size: int = option("accepted for old configs; it changes nothing", type="int", default=10000)

    def __post_init__(self) -> None:
        places = self._places()
        if not places and not self.allow_empty:
            raise ConfigError("input: the list is empty; give at least one file or folder")
        for place in places:
            if isinstance(place, str):
                if not place:
                    raise ConfigError("input: a path is empty")
                continue
            if not isinstance(place, Mapping):
                raise ConfigError(f"input: {place!r} is neither a path nor a mapping with dir or dir_pointer")
            if ("dir" in place) == ("dir_pointer" in place):
                raise ConfigError("input: give either dir or dir_pointer in a mapping, and not both")
            unknown = set(place) - {"dir", "dir_pointer", "pattern", "include_dot_files"}
            if unknown:
                raise ConfigError(
                    f"input: unknown key {sorted(map(str, unknown))[0]!r}; known: dir, dir_pointer, pattern, include_dot_files"
                )
            for key in ("dir", "dir_pointer"):
                if key in place and not (isinstance(place[key], str) and place[key]):
                    raise ConfigError(f"input: {key} is {place[key]!r}; give the path of a "
                                      f"{'folder' if key == 'dir' else 'text file that holds a path'}")  # fmt: skip
            try:
                re.compile(place.get("pattern") or "")
            except (re.error, TypeError) as error:
                raise ConfigError(
                    f"input: pattern {place.get('pattern')!r} is not a valid regular expression: {error}"
                ) from None

    def at(self, now: datetime) -> FsReader:
        """The reader of an export of that time: dates stay those, also when it is resumed on another day."""
        if not self.dates:
            return self
        return replace(self, input=[_dated(place, now) for place in self._places()], dates=False)

    def _places(self) -> tuple[Any, ...]:
        return tuple(self.input) if isinstance(self.input, (tuple, list)) else (self.input,)

    def check(self) -> tuple[str, ...]:
        """Warnings about what is not there. Raises ConfigError for a listed file that does not exist or is not a file."""
        warnings = []
        for place in self._places():
            if isinstance(place, str):
                if os.path.isdir(place):
                    raise ConfigError(
                        f"input: {shown(place)!r} is a folder; write {{dir: {shown(place)}}} to read the files below it"
                    )
                what = _what_is(place)
                if what:
                    raise ConfigError(f"input: {what}")
            else:
                folder = self._folder(place)
                if not os.path.isdir(folder) and (self.allow_empty or len(self._places()) > 1):
                    warnings.append(f"input: there is no folder {shown(folder)!r}; nothing is read from it")
        return tuple(warnings)

    def _folder(self, place: Mapping[str, object]) -> str:
        if "dir" in place:
            return str(place["dir"])
        pointer = str(place["dir_pointer"])
        what = _what_is(pointer)
        if what:
            raise ConfigError(f"input: dir_pointer cannot be read: {what}")
        try:
            with open(pointer, encoding="utf-8") as file:
                folder = file.read(65536).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"input: dir_pointer {pointer!r} cannot be read: {error}") from None
        if not folder:
            raise ConfigError(f"input: the file {pointer!r} of dir_pointer is empty; it has to hold a path")
        return folder

    def units(self) -> Iterator[Unit | Warned]:
        """Every file once, sorted by path. Raises SourceError for what cannot be read, and where there is nothing."""
        hidden = Hidden("include_hidden: true reads it")
        found: dict[str, bool] = {}
        warnings: list[Warned] = []
        for place in self._places():
            if isinstance(place, str):
                found[place] = True
            else:
                for path in self._walk(place, hidden, warnings):
                    found.setdefault(path, False)
        yield from warnings
        yield from hidden.warnings()
        index, seen, real_of = 0, dict[Any, str](), lru_cache(maxsize=1024)(os.path.realpath)
        for path in sorted(found):
            there = _settled(path)
            if not modes.S_ISREG(there.st_mode):
                if found[path]:
                    raise SourceError(_what_is(path))
                yield Warned(f"{shown(path)}: passed over, since it is {_kind(there.st_mode)}")
                continue
            known = _name_once(path, there, seen, real_of)
            if known is None:
                yield Unit(index, path, there.st_size, _etag(there))
                index += 1
            elif known:
                yield Warned(f"{shown(path)}: it is the same file as {shown(known)}, and read once")
        if index:
            return
        where = ", ".join(_told(place) for place in self._places()[:3]) + (" …" if len(self._places()) > 3 else "")
        also = (
            f"; {hidden.count:,} hidden files or folders were passed over, which include_hidden: true reads"
            if hidden.count
            else ""
        )
        if not self.allow_empty:
            raise SourceError(f"option input: there is nothing to read at {where}{also}; give allow_empty: true if that "
                              "may be so")  # fmt: skip
        yield Warned(f"input: there is nothing to read at {where}{also}")

    def finds(self, name: str, writer: Writer, copied: bool) -> bool:
        """Whether a file of this name, which a writer of this machine delivers, is read, or would be if it were there."""
        return not WriterTraits.of(writer).remote and self.reads(name)

    def reads(self, name: str) -> bool:
        """Whether a file of this name is read, or would be if it were there."""
        real = os.path.realpath(name)
        for place in self._places():
            if isinstance(place, str):
                if os.path.realpath(place) == real:
                    return True
                continue
            root = os.path.join(os.path.realpath(self._folder(place)), "")
            parts = real[len(root) :].split("/") if real.startswith(root) else [BOOKS]
            path = os.path.join(self._folder(place), *parts)
            known = BOOKS not in parts and not any(self._passes_over(place, part) for part in parts)
            if known and re.search(place.get("pattern") or "", path):
                return True
        return False

    def _passes_over(self, place: Mapping[str, object], name: str) -> bool:
        if self.include_hidden or (place.get("include_dot_files") and name.startswith(".")):
            return False
        return is_hidden(name)

    def _walk(self, place: Mapping[str, Any], hidden: Hidden, warnings: list[Warned]) -> Iterator[str]:
        """The paths of all that is below a folder and is not a folder. Raises SourceError for what cannot be looked into."""
        wanted = re.compile(place.get("pattern") or "").search
        root = self._folder(place)
        if not os.path.exists(root) and not os.path.islink(root):
            return
        real = os.path.join(os.path.realpath(root), "")

        for folder, folders, names in os.walk(root, onerror=_cannot_be_read):
            kept = []
            for name in sorted(folders):
                path = os.path.join(folder, name)
                if name == BOOKS:
                    continue  # The books of an export that was delivered here.
                if self._passes_over(place, name):
                    hidden.add(name, os.path.join(path, ""))
                elif os.path.islink(path) and not os.path.join(os.path.realpath(path), "").startswith(real):
                    warnings.append(Warned(f"{shown(path)}: passed over, since it is a link to a folder; give "
                                           f"{{dir: {shown(path)}}} to read what is below it"))  # fmt: skip
                else:
                    kept.append(name)
            folders[:] = kept
            for name in sorted(names):
                path = os.path.join(folder, name)
                if not wanted(path):
                    continue
                if self._passes_over(place, name):
                    hidden.add(name, path)
                else:
                    yield path

    def open(self, unit: Unit) -> BinaryIO:
        """The file's bytes, as many as were listed. Raises SourceError where the file is not the one that was listed."""
        raw: BinaryIO = io.BufferedReader(cast(Any, _AsListed(unit.name, unit.size)), BUFFER)
        try:  # The name led to it just now: whether it still does is looked at when all has been read.
            if not _is_as_listed(unit, raw.fileno()):
                raise SourceError(_CHANGED)
        except BaseException:
            raw.close()
            raise
        return raw

    def unchanged(self, unit: Unit, raw: BinaryIO) -> None:
        """Raises SourceError where an opened file is no longer as it was listed, or its name stands for another one."""
        same = _is_as_listed(unit, raw.fileno())
        try:
            same = same and _etag(os.stat(unit.name)) == unit.etag
        except FileNotFoundError:
            same = False
        if not same:
            raise SourceError(_CHANGED)

    def may_be_empty(self) -> FsReader:
        return replace(self, allow_empty=True)

    def proof(self, unit: Unit) -> str:
        """The size and the time of the last change of the content: what else an etag tells changes when a file is copied
        back."""
        return unit.etag.rpartition("-")[0].rpartition("-")[0]

    def modified(self, unit: Unit) -> float:
        """The later one of the last change of the content and the last change of anything."""
        size_and_content, _, anything = unit.etag.rpartition("-")[0].rpartition("-")
        return max(int(size_and_content.partition("-")[2]), int(anything)) / 1e9

    def delete(self, unit: Unit) -> str:
        """Removes a file that was read, unless it has changed since."""
        return _put_away(unit, os.remove)

    def archive(self, unit: Unit, folder: str) -> str:
        """Moves a file that was read, unless it has changed since."""
        return _put_away(unit, lambda path: move_to(path, self.archived(unit, folder)))

    def archived(self, unit: Unit, folder: str) -> str:
        """Its path in that folder: as below the folder that is read, or its name alone."""
        roots = [os.path.join(self._folder(place), "") for place in self._places() if not isinstance(place, str)]
        root = max((root for root in roots if unit.name.startswith(root)), key=len, default="")
        return os.path.join(folder, unit.name[len(root) :] if root else os.path.basename(unit.name))


def _dated(place: Any, now: datetime) -> Any:
    """A path, or the paths of a mapping, with the dates of a time."""
    if isinstance(place, str):
        return expand_dates(place, now)
    return {key: expand_dates(value, now) if key in ("dir", "dir_pointer") else value for key, value in place.items()}


def _put_away(unit: Unit, act: Callable[[str], object]) -> str:
    """Do this to a file that is as it was when it was listed; gives why it was not done, "" also where the file is gone."""
    try:
        if _etag(os.stat(unit.name)) != unit.etag:
            return "it has changed since it was read; it stays where it is"
        act(unit.name)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"it stays where it is: {error.strerror or error}"
    return ""


_CHANGED = "the file changed while the export ran; export again when it is complete"

BUFFER = 1 << 16
"""Bytes that are read ahead of who reads a line."""


class _AsListed(io.FileIO):
    """A file that ends where it ended when it was listed: one that grows all the time would have no end."""

    def __init__(self, path: str, size: int) -> None:
        super().__init__(path, "rb", opener=_open_without_waiting)
        self._size = size

    def readinto(self, buffer: Any) -> int:
        left = self._size - self.tell()
        if left <= 0:
            return 0
        view = memoryview(buffer).cast("B")
        return super().readinto(view if len(view) <= left else view[:left]) or 0

    def readall(self) -> bytes:
        return self.read(max(0, self._size - self.tell()))

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left)) or b""


def _open_without_waiting(path: str, flags: int) -> int:
    """A pipe that came into the place of a file is opened at once, and then found to be none."""
    return os.open(path, flags | os.O_NONBLOCK)


def _is_as_listed(unit: Unit, descriptor: int) -> bool:
    """Whether an opened file is as it was listed, and ends where it ended."""
    return _etag(os.fstat(descriptor)) == unit.etag and not os.pread(descriptor, 1, unit.size)


def _etag(found: os.stat_result) -> str:
    """What changes when the content of a file does. The times are those of the last change of the content, which programs
    can set, and of the last change of anything, which they cannot; the inode is another one in a file that was put in place
    of an old one. The device is left out: it is another one on each machine."""
    inode = found.st_ino if _keeps_inodes(found.st_dev) else 0
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{inode}"


@lru_cache(maxsize=256)
def _keeps_inodes(device: int) -> bool:
    """Whether a file keeps its inode on that file system, and no other file has it: some servers have none to tell, and
    numbers are made up anew whenever a name is looked up."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return True
    named = f"{os.major(device)}:{os.minor(device)}"
    kinds = {fields[fields.index("-") + 1] for fields in mounts if fields[2] == named}
    return not any(kind.startswith(("fuse", "9p", "cifs", "smb", "vboxsf", "prl_fs", "virtiofs")) for kind in kinds)


def _settled(path: str) -> os.stat_result:
    """What the file system knows of a file, looked up when its next change would show: not in the step of the clock in which
    it changed last."""
    try:
        found = os.stat(path)
        age = time.time() - found.st_ctime
        if 0 <= age < TICK and modes.S_ISREG(found.st_mode):
            time.sleep(TICK - age)
            found = os.stat(path)
    except OSError as error:
        raise SourceError(_what_is(path) or f"{shown(path)}: cannot be read: {error.strerror}") from error
    return found


def _name_once(path: str, found: os.stat_result, seen: dict[object, str], real_of: Callable[[str], str]) -> str | None:
    """None for a file that was not seen yet; else the name it was seen under, or "" where that is an other spelling. `real_of`
    remembers where folders are."""
    inode = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    folder, name = os.path.split(path)
    real = os.path.realpath(path) if os.path.islink(path) else os.path.join(real_of(folder), name)
    known = seen.get(real)
    if known is not None:
        return ""
    if found.st_ino and _keeps_inodes(found.st_dev):
        known = seen.setdefault(inode, path)
    seen[real] = path
    return None if known is None or known == path else known


def _what_is(path: str) -> str:
    """Why a path cannot be read, for a message; "" where it can."""
    try:
        found = os.stat(path)
    except OSError as error:
        if os.path.islink(path):
            where = shown(os.readlink(path))
            return f"{shown(path)!r} is a link to {where}, which cannot be read: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            return f"there is no file {shown(path)!r}"
        return f"{shown(path)!r} cannot be read: {error.strerror}"
    if modes.S_ISREG(found.st_mode):
        return ""
    return f"{shown(path)!r} is {_kind(found.st_mode)}; give a file"


def _kind(mode: int) -> str:
    kinds = {
        modes.S_IFDIR: "a folder",
        modes.S_IFIFO: "a pipe",
        modes.S_IFSOCK: "a socket",
        modes.S_IFCHR: "a device",
        modes.S_IFBLK: "a device",
    }
    return kinds.get(modes.S_IFMT(mode), "no file")


def _told(place: Any) -> str:
    if isinstance(place, str):
        return shown(place)
    folder = shown(str(place.get("dir") or place.get("dir_pointer")))
    return f"{folder} (pattern {place['pattern']!r})" if place.get("pattern") else folder


def _cannot_be_read(error: OSError) -> None:
    raise SourceError(f"{shown(str(error.filename))}: the folder cannot be read: {error.strerror}") from error
