"""Files on this machine: writing them so that they last, and names that are passed over."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator
from typing import Any, BinaryIO

from exporters_beam.errors import DestinationError, shown
from exporters_beam.records import Warned

BOOKS = ".exporters"
"""The folder of the books of exports, which is never data."""

_DESKTOP = frozenset({"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db"})
"""Files of desktops and archivers whose names are as those of any other file, in small letters."""

_KNOWN = frozenset({"_success", "_metadata", "_common_metadata", "_delta_log", "_temporary", ".ds_store", ".git", BOOKS})

_KNOWN_BEGINNINGS = ("_committed_", "_started_", "._")
"""Hidden names that are never data: nobody has to hear of them."""


def is_hidden(path: str) -> bool:
    """Whether the last part of a path, or a folder on the way, has a name that is none of data: it begins with a dot or
    an underscore, or is one that desktops give. A folder of Hive (`_day=2026-11-29`) is data.

    >>> [path for path in ("a/b.jl", "_SUCCESS", "a/.tmp/b.jl", "_day=1/b.jl", "./a") if is_hidden(path)]
    ['_SUCCESS', 'a/.tmp/b.jl']
    """
    return any(_is_hidden(part) for part in path.split("/"))


def _is_hidden(part: str) -> bool:
    if part[:1] == ".":
        return part not in (".", "..")
    return (part[:1] == "_" and "=" not in part) or part.lower() in _DESKTOP


def is_junk(path: str) -> bool:
    """Whether a path is one of those that archivers and desktops add: never data."""
    parts = path.lower().split("/")
    return any(part in _DESKTOP or part == ".ds_store" or part.startswith("._") for part in parts)


class Hidden:
    """Counts hidden files that are passed over, and says so where one of them may be data."""

    def __init__(self, remedy: str) -> None:
        self._remedy, self.count, self._told = remedy, 0, 0
        self._first = ""

    def add(self, path: str, whole: str) -> None:
        """Count one: its path behind the place that was asked for, and as users know it."""
        self.count += 1
        name = next(part for part in path.split("/") if _is_hidden(part)).lower()
        if name in _KNOWN or name in _DESKTOP or name.startswith(_KNOWN_BEGINNINGS) or name.endswith(".crc"):
            return
        self._told += 1
        self._first = self._first or whole

    def warnings(self) -> Iterator[Warned]:
        if self._told:
            more = f" and {self._told - 1:,} more" if self._told > 1 else ""
            yield Warned(f"{shown(self._first)}{more}: passed over, since the name begins with a dot or an underscore; "
                         f"{self._remedy}")  # fmt: skip


class destination:
    """Turns what the file system says into one sentence: what could not be done, where and why."""

    __slots__ = ("_path", "_what")

    def __init__(self, what: str, path: str) -> None:
        self._what, self._path = what, path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise DestinationError(f"{self._what} {self._path}: {error.strerror or error}") from error


def sync_folder(folder: str) -> None:
    """Make renames in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: str, data: bytes, what: str = "cannot write to the staging folder") -> None:
    """A file, whole under its name and lasting, or not at all. Raises DestinationError, which says `what` could not be done."""
    with destination(what, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".part", "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(path + ".part", path)


def move_to(path: str, target: str) -> None:
    """Move a file, also to another file system; it may be called again after half of it. Raises OSError, also where another
    file has that name."""
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    if os.path.lexists(target):
        if not filecmp.cmp(path, target, shallow=False):
            raise FileExistsError(
                errno.EEXIST, f"there is another file called {shown(target)}; put % dates or {{batch}} into the folder's name"
            )
        os.remove(path)  # It had been copied before.
        return
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(path, target + ".part")
        with open(target + ".part", "rb") as file:
            os.fsync(file.fileno())
        os.rename(target + ".part", target)
        os.remove(path)


class Measured:
    """Counts and hashes what is written through it."""

    def __init__(self, out: BinaryIO | None) -> None:
        self._out, self.size = out, 0
        self._hash: Any = hashlib.md5(usedforsecurity=False)

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self._hash.update(data)
        if self._out is not None:
            self._out.write(data)
        return len(data)

    def flush(self) -> None:
        pass

    def md5(self) -> str:
        return str(self._hash.hexdigest())
