"""The books of an export, kept beside what it delivers: a lock, what is staged, and in the end the manifest.

They stand in the hidden folder `.exporters/<export id>/`: where `staging` (or the old section `persistence`) says, else at
the destination where that is a folder, else, where it is a storage, in this machine's state folder
(`$XDG_STATE_HOME/exporters-beam`, by default `~/.local/state/exporters-beam`), else in a temporary folder that goes with
the run.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from exporters_beam.errors import ConfigError, DestinationError, SourceError
from exporters_beam.listing import UNITS, differences, listed_before
from exporters_beam.plan import Plan, sections_of
from exporters_beam.records import Unit
from exporters_beam.staging import SUFFIX, Committed, Resumed, Staging, destination, is_ours, read_segment
from exporters_beam.storages import NotThere
from exporters_beam.units import units_of

FOLDER = ".exporters"
STAGED, HALF_BUILT, LOCK, ABOUT, MANIFEST = "staged", "half-built", "lock", "export.json", "manifest.json"
"""What stands in the folder of an export. `export.json` tells of a run that has not been finished."""


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


def place_of(plan: Plan) -> str | None:
    """The folder in which books of this export lie; None where they go with the run. Raises ConfigError."""
    persistence = plan.spec.persistence
    kept = persistence.component.file_path if persistence and "file_path" in persistence.options else None
    place = plan.spec.staging or kept or destination_of(plan) or state_folder(plan)
    if place and os.path.exists(place) and not os.path.isdir(place):
        path = ("staging",) if plan.spec.staging else ("persistence", "options", "file_path")
        raise ConfigError(plan.spec.problem(path, f"{place} is a file; give a folder"))
    return place


def destination_of(plan: Plan) -> str | None:
    """The folder that holds all delivered files, where the writer delivers to a file system."""
    return plan.names.root if plan.names is not None and getattr(plan.writer, "to_folders", False) else None


def state_folder(plan: Plan) -> str | None:
    """Where this machine keeps the books of exports to storages."""
    if not getattr(plan.writer, "remote", False):
        return None
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "exporters-beam")


def books_of(plan: Plan) -> Books:
    place = place_of(plan)
    return books_at(place or tempfile.mkdtemp(prefix="exporters-beam-"), plan, bool(place))


def books_at(place: str, plan: Plan, lasting: bool = True) -> Books:
    delivered = destination_of(plan)
    folder = os.path.join(place, FOLDER, plan.export_id) if lasting else place
    beside = os.path.join(delivered, FOLDER, plan.export_id) if delivered else folder
    return Books(folder, os.path.join(beside, HALF_BUILT), lasting)


@contextmanager
def opened(plan: Plan, resume: bool = False) -> Iterator[Books]:
    """The export's books, locked for one run; what earlier runs staged is resumed or swept.

    When the run fails, what it committed is kept for the next one. What no run wrote is left alone, and a warning says so.
    Raises DestinationError where another run holds the lock or the folder cannot be written, ConfigError where the input
    has changed since the run that is to be resumed.
    """
    books = books_of(plan)
    refuse_what_is_in_the_way(books)
    made = [folder for folder in _above(books.folder) + _above(books.scratch) if not os.path.exists(folder)]
    try:
        with locked(books.folder):
            for text in foreign(books):
                logging.getLogger(plan.spec.settings.logger_name).warning(text)
            if resume and has_segments(books):
                books = Books(books.folder, books.scratch, books.lasting, resumed_from(plan, books))
            else:
                sweep(books)
            _write_about(plan, books)
            try:
                yield books
            except BaseException:
                if not has_segments(books):
                    sweep(books)
                raise
            finally:
                _sweep_half_built(books)
    finally:
        if not books.lasting:
            shutil.rmtree(books.folder, ignore_errors=True)
        for folder in (books.folder, os.path.dirname(books.scratch)):
            _remove_empty(folder)
        for folder in made:  # A run that failed leaves no empty folder behind that it made for its books.
            with suppress(OSError):
                os.rmdir(folder)


def kept(plan: Plan) -> Callable[[], str]:
    """What is to be told of a run of this plan, which begins now, when it is interrupted: what it keeps, how to go on."""
    books = books_of(plan) if place_of(plan) else None
    before = os.stat(books.manifest).st_mtime_ns if books and os.path.exists(books.manifest) else 0

    def tells() -> str:
        if books and os.path.exists(books.manifest) and os.stat(books.manifest).st_mtime_ns != before:
            return f"everything had been delivered already: {books.manifest}"
        if books and has_segments(books) and not plan.replays:
            return f"what has been done is kept in {books.folder}: run it again with --resume to go on from there"
        return "nothing is kept yet: run it again, with --resume or without"

    return tells


def begun(plan: Plan, resume: bool = False) -> Books:
    """The export's books for a run that goes on without this process. Raises as `opened` does.

    Nobody holds the lock then, and another run may be reading what is staged; so it is left there. The run takes in its
    own segments alone and sweeps when it is done. What a limit counted is swept: the input may have changed since.
    """
    books = books_of(plan)
    if not books.lasting:
        raise ConfigError(plan.spec.problem(("staging",), "this export needs a folder to stage in that all workers reach; "
                                                          "add `staging: /mnt/shared/staging`"))  # fmt: skip
    with locked(books.folder):
        if resume and has_segments(books):
            books = Books(books.folder, books.scratch, books.lasting, resumed_from(plan, books))
        elif plan.limit:
            sweep(books)
        else:
            forget_input(books)
        _write_about(plan, books)
    return books


def _above(path: str) -> list[str]:
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
        os.write(
            handle, f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}".encode()
        )
    try:
        yield
    finally:
        with suppress(OSError):
            os.remove(path)
        os.close(handle)


def resumed_from(plan: Plan, books: Books) -> Resumed:
    """What earlier runs of this very export have committed. Raises ConfigError where the input has changed."""
    paths = [os.path.join(books.staging.folder, name) for name in sorted(_of(books)) if name.endswith(SUFFIX)]
    segments = {path: read_segment(path) for path in paths}
    for path, found in segments.items():
        if found is None:
            logging.getLogger(plan.spec.settings.logger_name).warning(
                f"--resume: {path} is damaged or was written by another version; what it held is read again"
            )
    whole = tuple(segment for segment in segments.values() if segment is not None)
    before = listed_before(books.folder)
    if before is None:
        _refuse_other_units(plan, whole)
    else:
        refuse_changed_input(plan, before, "was broken off")
    if any(step.kind == "dedupe" for step in plan.steps):
        return Resumed()
    marks = {(mark.unit.index, mark.range): mark for segment in whole for mark in segment.marks}
    last = {index: number for (index, number), mark in marks.items() if mark.last}
    complete = frozenset(index for index, n in last.items() if all((index, i) in marks for i in range(n)))
    return Resumed(whole, frozenset(marks), complete)


def refuse_changed_input(plan: Plan, before: list[Unit], what: str) -> None:
    """Raises ConfigError where the input is not what it was for a run that `what` says. Of an export with a limit only what
    was read is compared."""
    try:
        now = list(islice(units_of(plan.reader), len(before) if plan.limit else None))
    except SourceError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, (FileNotFoundError, NotThere)):
            raise
        now = []  # Nothing is there any more.
    told = differences(before, now)
    if told:
        raise ConfigError(f"--resume: the input has changed since the run that {what}: {told}; "
                          "run without --resume to begin again")  # fmt: skip


def _refuse_other_units(plan: Plan, segments: tuple[Committed, ...]) -> None:
    """The same where the run was killed before it had listed its input: what it read is known."""
    known = {mark.unit.index: mark.unit for segment in segments for mark in segment.marks}
    now = {unit.index: unit for unit in units_of(plan.reader)}
    told = differences(
        [known[index] for index in sorted(known)], [now[index] for index in sorted(known) if index in now]
    )
    if told:
        raise ConfigError(f"--resume: the input has changed since the run that was broken off: {told}; "
                          "run without --resume to begin again")  # fmt: skip


def told_before(plan: Plan) -> Any:
    """The config as a run of this plan tells it of itself."""
    return json.loads(json.dumps(plan.told, default=repr))


def code_of(plan: Plan) -> dict[str, str]:
    """The modules of others that a config names, and a digest of what stands in them: what `--resume` mixes with records that
    another version has made."""
    named = {type(section.component).__module__ for section in sections_of(plan.spec)}
    named |= {
        re.split("[:.](?=[^:.]*$)", section.component.function)[0]
        for section in sections_of(plan.spec)
        if isinstance(getattr(section.component, "function", None), str)
    }
    found = {}
    for name in sorted(named):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and name.partition(".")[0] not in ("exporters_beam", "transforms"):
            with suppress(OSError), open(path, "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()[:16]
    return found


def unfinished(place: str) -> list[dict[str, Any]]:
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


def _write_about(plan: Plan, books: Books) -> None:
    path = os.path.join(books.folder, ABOUT)
    about = {"export": plan.export_id, "now": plan.now, "started": datetime.now().isoformat(), "config": plan.told,
             "file": os.path.abspath(plan.spec.file) if plan.spec.file else "", "origin": plan.origin,
             "mark": getattr(plan.reader, "mark", ""), "code": code_of(plan)}  # fmt: skip
    with destination("cannot write to the staging folder", path):
        with open(path + ".part", "w", encoding="utf-8") as out:
            json.dump(about, out, ensure_ascii=False, default=repr)
        os.replace(path + ".part", path)


def segments_in(books: Books) -> list[str]:
    """The names of what has been committed."""
    return [name for name in _of(books) if name.endswith(SUFFIX)]


def has_segments(books: Books) -> bool:
    """Has anything been committed that a run can go on with?"""
    return bool(segments_in(books))


def _of(books: Books) -> dict[str, bool]:
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
            found.append(
                (books.scratch, [name for name in os.listdir(books.scratch) if not _is_half_built(books, name)])
            )
    return [
        f"{folder} holds {', '.join(sorted(names))[:200]}, which no run of this export wrote; "
        "it is left there: move or remove it by hand"
        for folder, names in found
        if names
    ]


def refuse_what_is_in_the_way(books: Books) -> None:
    """Raises DestinationError where a file stands in the place of a folder of the books, or a folder in that of a file."""
    for path in (*reversed(_above(books.staging.folder)), books.staging.folder, books.scratch):
        if os.path.lexists(path) and not os.path.isdir(path):
            raise DestinationError(
                f"cannot use the staging folder {path}: it is not a folder; move it away, or give another folder as staging"
            )
    for name in (LOCK, ABOUT, ABOUT + ".part", UNITS, MANIFEST, MANIFEST + ".part"):
        path = os.path.join(books.folder, name)
        if os.path.isdir(path):
            raise DestinationError(
                f"cannot write to the staging folder {books.folder}: {name} is a folder there; move it away"
            )


def _sweep_half_built(books: Books) -> None:
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
    """Let the next run list its input anew."""
    path = os.path.join(books.folder, UNITS)
    with destination("cannot sweep the staging folder", path), suppress(FileNotFoundError):
        os.remove(path)


def sweep(books: Books) -> int:
    """Remove what runs of this export have staged, and nothing that was not written by them; gives the bytes freed."""
    freed = 0
    paths = [os.path.join(books.staging.folder, name) for name in _of(books)]
    paths += [os.path.join(books.folder, name) for name in (ABOUT, ABOUT + ".part", UNITS, MANIFEST + ".part")]
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


def clean(plan: Plan) -> Iterator[tuple[str, int, list[str]]]:
    """Remove what unfinished runs of this config have staged, on whatever day they began.

    Gives for each the folder, the bytes freed, and sentences about what is left there because no run wrote it. Raises
    DestinationError where one is under way.
    """
    place = place_of(plan)
    if not place:
        return
    root = os.path.join(place, FOLDER)
    refuse_what_is_in_the_way(Books(os.path.join(root, plan.export_id), "", True))
    exports = [str(about["export"]) for about in unfinished(root)
               if about["config"] == told_before(plan)]  # fmt: skip
    own = os.path.join(root, plan.export_id)  # Its export.json may be damaged.
    if any(os.path.exists(os.path.join(own, name)) for name in (STAGED, HALF_BUILT, ABOUT)):
        exports.append(plan.export_id)
    for export in dict.fromkeys(exports):
        folder = os.path.join(root, export)
        books = Books(folder, os.path.join(folder, HALF_BUILT), True)
        refuse_what_is_in_the_way(books)
        with locked(folder):
            left = foreign(books)
            freed = sweep(books)
            _sweep_half_built(books)
        _remove_empty(folder)
        yield folder, freed, left


def flat(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """A config by dotted path.

    >>> flat({"writer": {"options": {"filebase": "x"}}})
    {'writer.options.filebase': 'x'}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{path}{key}."))
        else:
            found[f"{path}{key}"] = json.loads(json.dumps(value, default=repr))
    return found


def _remove_empty(folder: str) -> None:
    """Remove the folder of an export's books and the one above, where nothing is in them."""
    for path in (folder, os.path.dirname(folder)):
        if FOLDER in path.split(os.sep)[-2:]:
            try:
                os.rmdir(path)
            except OSError:
                return
