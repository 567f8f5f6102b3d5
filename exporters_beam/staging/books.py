"""The books of an export, kept beside what it delivers: a lock, what is staged, and in the end the manifest.

They stand in the hidden folder `.exporters/<export id>/`: where `staging` (or the old section `persistence`) says, else at
the destination where that is a folder, else, where it is a storage, in this machine's state folder
(`$XDG_STATE_HOME/exporters-beam`, by default `~/.local/state/exporters-beam`), else in a temporary folder that goes with
the run.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from exporters_beam.components.words import in_json, shortened
from exporters_beam.errors import DestinationError
from exporters_beam.files import destination
from exporters_beam.records import Json
from exporters_beam.staging.listing import UNITS
from exporters_beam.staging.segments import SUFFIX, Resumed, Staging, is_ours
from exporters_beam.staging.taken import is_there

FOLDER = ".exporters"

INTENT = "intent.json"
"""What one batch of a chain is, and that it is not closed. As long as it stands the list of its input is kept."""

STAGED, HALF_BUILT, LOCK, ABOUT, MANIFEST = "staged", "half-built", "lock", "export.json", "manifest.json"
"""What stands in the folder of an export. `export.json` tells of a run that has not been finished."""

UNDELIVERED = "undelivered"
"""A file of the same folder: why this writer has not got what others of the export have."""

HELD = "held"
"""And one that says that what is staged waits until somebody has looked at it, and why."""


def all_books(place: str) -> str:
    """The folder that holds the books of every export that keeps them here, each in a folder by its id."""
    return os.path.join(place, FOLDER)


@dataclass(frozen=True)
class Books:
    """The folder of one export's books. `lasting` is false where it goes with the run."""

    folder: str
    scratch: str
    lasting: bool
    resumed: Resumed = field(default_factory=Resumed)

    @property
    def staging(self) -> Staging:
        return Staging(os.path.join(self.folder, STAGED))

    @property
    def manifest(self) -> str:
        return os.path.join(self.folder, MANIFEST)


def folders_above(path: str) -> list[str]:
    """The folders above a path, the nearest first."""
    found = []
    while path not in ("", os.sep):
        path = os.path.dirname(path)
        found.append(path or ".")
    return found


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Hold the lock of an export's books. A killed process holds nothing. Raises DestinationError."""
    path = os.path.join(folder, LOCK)
    with destination("cannot write to the staging folder", folder):
        os.makedirs(folder, exist_ok=True)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(handle, 200).decode("utf-8", "replace").strip()
                os.close(handle)
                raise DestinationError(
                    f"another run of this export is under way ({holder or 'just starting'}); wait until it has ended"
                ) from None
            if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(handle)):
                break
            os.close(handle)  # The run before has just ended and removed its lock.
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}".encode())
    try:
        yield
    finally:
        with suppress(OSError):
            os.remove(path)
        os.close(handle)


def unfinished(place: str) -> list[Json]:
    """What runs that were not finished tell of themselves, the newest first."""
    found = []
    for name in os.listdir(place) if os.path.isdir(place) else ():
        try:
            with open(os.path.join(place, name, ABOUT), encoding="utf-8") as file:
                about = json.load(file)
        except (OSError, ValueError):
            continue
        if isinstance(about, dict) and {"export", "config", "now", "started"} <= about.keys():
            found.append(about)
    return sorted(found, key=lambda about: str(about["started"]), reverse=True)


def segments_in(books: Books) -> list[str]:
    """The names of what has been committed."""
    return [name for name in staged_by_runs(books) if name.endswith(SUFFIX)]


def has_segments(books: Books) -> bool:
    """Has anything been committed that a run can go on with?"""
    return bool(segments_in(books)) or is_there(books.folder)


def staged_by_runs(books: Books) -> dict[str, bool]:
    """What stands in the staging folder: those that runs wrote."""
    return {name: True for name, ours in _staged(books).items() if ours}


def _staged(books: Books) -> dict[str, bool]:
    """The names in the staging folder, and whether a run wrote it. Raises DestinationError."""
    folder = books.staging.folder
    with destination("cannot read the staging folder", folder):
        try:
            return {name: is_ours(folder, name) for name in os.listdir(folder)}
        except FileNotFoundError:
            return {}


def foreign(books: Books) -> list[str]:
    """What stands in the folders of staged and half-built files and was not written by a run: a sentence for each folder."""
    found = [(books.staging.folder, [name for name, ours in _staged(books).items() if not ours])]
    if os.path.isdir(books.scratch):
        with destination("cannot read the folder of half-built files", books.scratch):
            found.append((books.scratch, [name for name in os.listdir(books.scratch) if not _is_half_built(books, name)]))
    return [
        f"{folder} holds {shortened(', '.join(sorted(names)), 200)}, which no run of this export wrote; "
        "it is left there: move or remove it by hand"
        for folder, names in found
        if names
    ]


def refuse_what_is_in_the_way(books: Books) -> None:
    """Raises DestinationError where a file stands in the place of a folder of the books, or a folder in that of a file."""
    for path in (*reversed(folders_above(books.staging.folder)), books.staging.folder, books.scratch):
        if os.path.lexists(path) and not os.path.isdir(path):
            raise DestinationError(
                f"cannot use the staging folder {path}: it is not a folder; move it away, or give another folder as staging"
            )
    for name in (LOCK, ABOUT, ABOUT + ".part", UNITS, MANIFEST, MANIFEST + ".part"):
        path = os.path.join(books.folder, name)
        if os.path.isdir(path):
            raise DestinationError(f"cannot write to the staging folder {books.folder}: {name} is a folder there; move it away")


def sweep_half_built(books: Books) -> None:
    """Remove half-built files. What cannot be removed stays: it has no final name and harms nothing."""
    with suppress(OSError):
        for name in os.listdir(books.scratch):
            if _is_half_built(books, name):
                os.remove(os.path.join(books.scratch, name))
        os.rmdir(books.scratch)


def _is_half_built(books: Books, name: str) -> bool:
    path = os.path.join(books.scratch, name)
    return bool(re.fullmatch("[0-9a-f]{32}", name)) and os.path.isfile(path) and not os.path.islink(path)


def forget_input(books: Books) -> None:
    """Let the next run list its input anew, and hand over again what runs before have handed over."""
    books.staging.forget_handed_over()
    path = os.path.join(books.folder, UNITS)
    with destination("cannot sweep the staging folder", path), suppress(FileNotFoundError):
        os.remove(path)


def sweep(books: Books) -> int:
    """Remove what runs of this export have staged, and nothing that was not written by them; gives the bytes freed."""
    freed = 0
    paths = [os.path.join(books.staging.folder, name) for name in staged_by_runs(books)]
    names = [ABOUT, ABOUT + ".part", UNITS, UNITS + ".part", MANIFEST + ".part", UNDELIVERED, HELD]
    if os.path.exists(os.path.join(books.folder, INTENT)):
        names.remove(UNITS)
    paths += [os.path.join(books.folder, name) for name in names]
    for path in paths:
        with destination("cannot sweep the staging folder", path):
            try:
                size = os.path.getsize(path)
                os.remove(path)
            except FileNotFoundError:
                continue
            freed += size
    with suppress(OSError):
        os.rmdir(books.staging.folder)
    return freed


def forget_intent(folder: str) -> None:
    """A batch is complete, or is to be begun anew: the books keep no list of what it reads. Raises DestinationError."""
    for name in (INTENT, UNITS):
        path = os.path.join(folder, name)
        with destination("cannot remove", path), suppress(FileNotFoundError):
            os.remove(path)
    with suppress(OSError):
        os.rmdir(folder)


def note_held(folder: str, why: str) -> None:
    """Raises DestinationError."""
    _note(os.path.join(folder, HELD), why)


def held(folder: str) -> str:
    """Why what is staged is held back; "" where it is not. Raises DestinationError."""
    return _noted(os.path.join(folder, HELD))


def note_undelivered(folder: str, why: str) -> None:
    """Raises DestinationError."""
    _note(os.path.join(folder, UNDELIVERED), why)


def undelivered(folder: str, forget: bool = False) -> str:
    """Why the writer whose books these are has not got what others have; "" where it has. Raises DestinationError."""
    return _noted(os.path.join(folder, UNDELIVERED), forget)


def _note(path: str, why: str) -> None:
    with destination("cannot write to the staging folder", path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(why)


def _noted(path: str, forget: bool = False) -> str:
    with destination("cannot read", path), suppress(FileNotFoundError):
        with open(path, encoding="utf-8") as file:
            why = file.read()
        if forget:
            os.remove(path)
        return why
    return ""


def flat(config: Mapping[str, object], path: str = "") -> Json:
    """A config by dotted path.

    >>> flat({"writer": {"options": {"filebase": "x"}}})
    {'writer.options.filebase': 'x'}
    """
    found: Json = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{path}{key}."))
        elif isinstance(value, list) and not path:  # the list of steps
            for at, member in enumerate(value):
                found.update(flat(member, f"{key}[{at}]."))
        else:
            found[f"{path}{key}"] = json.loads(json.dumps(value, default=repr))
    return found


def change_of(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """The first thing that is another one in a config, by dotted path, and how many more are; "" where they are the same.

    >>> change_of({"filter": {"name": "a"}}, {"filter": {"name": "b"}})
    'filter.name was "a" and is "b"'
    """
    was, told = flat(before), flat(now)
    changed = sorted(key for key in was.keys() | told.keys() if was.get(key) != told.get(key))
    if not changed:
        return ""
    more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    return f"{changed[0]} was {in_json(was.get(changed[0]), 80)} and is {in_json(told.get(changed[0]), 80)}{more}"


def remove_empty(folder: str) -> None:
    """Remove the folder of an export's books and the one above, where nothing is in them."""
    for path in (folder, os.path.dirname(folder)):
        if FOLDER in path.split(os.sep)[-2:]:
            try:
                os.rmdir(path)
            except OSError:
                return
