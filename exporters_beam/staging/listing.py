"""The list of an export's input as it was when the run began, kept in its books, and what has changed since."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO

from exporters_beam.files import destination
from exporters_beam.records import Unit

UNITS = "units"
"""The name of the list in the books. Its last line says how many there are, so that a list that was not finished counts for
nothing."""

LINES = 1000
"""So many lines at most wait to be written."""

MOST_NAMES = 5
"""So many names stand in a sentence."""


class Listing:
    """The list while it is written. When it is whole it stands in the books of `others`, too: other writers of the export."""

    def __init__(self, books: str, *others: str) -> None:
        self._path = os.path.join(books, UNITS)
        self._others = others
        self._file: IO[str] | None = None
        self._lines: list[str] = []
        self._count = 0

    def add(self, unit: Unit) -> None:
        """Raises DestinationError."""
        self._lines.append(json.dumps(unit))
        self._count += 1
        if self._file is None or len(self._lines) >= LINES:
            self._write()

    def _write(self) -> None:
        with destination("cannot write to the staging folder", self._path):
            if self._file is None:
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                self._file = gzip.open(self._path, "wt", 1, encoding="ascii")
            self._file.write("\n".join((*self._lines, "")))
        self._lines = []

    def commit(self, nothing: bool = False) -> None:
        """The list is whole; one of `nothing` is written only where that was decided. Raises DestinationError."""
        if self._file is None and not nothing:
            return
        self._lines.append(json.dumps(self._count))
        self._write()
        assert self._file is not None
        with destination("cannot write to the staging folder", self._path):
            self._file.close()
        self._file = None
        _share(self._path, self._others)

    def abandon(self) -> None:
        """Leave what was not committed."""
        if self._file is not None:
            with suppress(OSError, ValueError):
                self._file.close()


def write_listing(units: Iterable[Unit], books: str, *others: str) -> None:
    """The list of what is known already, whole or not at all. Raises DestinationError."""
    listing = Listing(books, *others)
    try:
        for unit in units:
            listing.add(unit)
        listing.commit(nothing=True)
    finally:
        listing.abandon()


def _share(path: str, others: Iterable[str]) -> None:
    """Put the list into other books. Raises DestinationError."""
    for books in others:
        there = os.path.join(books, UNITS)
        with destination("cannot write to the staging folder", there):
            os.makedirs(books, exist_ok=True)
            shutil.copyfile(path, there + ".part")
            os.replace(there + ".part", there)


def listed_before(books: str, *others: str) -> list[Unit] | None:
    """The input as the run whose books these are has listed it; None where it had not come so far. Of several books, which are
    those of the writers of one export, any may have it, and then all get it. Raises DestinationError."""
    found = {each: _listed(os.path.join(each, UNITS)) for each in (books, *others)}
    has = next((each for each, units in found.items() if units is not None), None)
    if has is None:
        return None
    _share(os.path.join(has, UNITS), (each for each, units in found.items() if units is None))
    return found[has]


def _listed(path: str) -> list[Unit] | None:
    found: list[Unit] = []
    with destination("cannot read", path):
        try:
            with gzip.open(path, "rt", encoding="ascii") as file:
                for line in file:
                    told = json.loads(line)
                    if isinstance(told, int):
                        return found if told == len(found) else None
                    found.append(Unit(*told))
        except (FileNotFoundError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, TypeError):
            return None
    return None


def differences(before: Iterable[Unit], now: Iterable[Unit]) -> str:
    """What is new, changed and gone, in a few words; "" where the input is the same.

    >>> differences([Unit(0, "a", 1, "x"), Unit(1, "b", 1)], [Unit(0, "a", 1, "y"), Unit(1, "c", 1)])
    'new: c; changed: a; gone: b'
    """
    before, now = list(before), list(now)
    if before == now:
        return ""
    then, there = {unit.name: unit for unit in before}, {unit.name: unit for unit in now}
    found = {
        "new": [name for name in there if name not in then],
        "changed": [name for name, unit in there.items() if name in then and then[name][2:] != unit[2:]],
        "gone": [name for name in then if name not in there],
    }
    told = [f"{what}: {some(names)}" for what, names in found.items() if names]
    return "; ".join(told) or f"its order: {some([unit.name for unit in now])}"


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
