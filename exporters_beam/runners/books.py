"""An export's books from the beginning of a run to its end: opened and locked, resumed or swept."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice

from exporters_beam.components.traits import ReaderTraits
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.files import destination
from exporters_beam.planning.place import books_of, code_of, place_of, told_before
from exporters_beam.planning.plan import Plan
from exporters_beam.readers.units import units_of
from exporters_beam.records import Unit
from exporters_beam.runners.tables import tables_of
from exporters_beam.staging.books import (
    ABOUT,
    HALF_BUILT,
    INTENT,
    STAGED,
    Books,
    all_books,
    folders_above,
    foreign,
    forget_input,
    forget_intent,
    has_segments,
    locked,
    refuse_what_is_in_the_way,
    remove_empty,
    segments_in,
    sweep,
    sweep_half_built,
    unfinished,
)
from exporters_beam.staging.listing import differences, listed_before
from exporters_beam.staging.segments import Committed, Resumed, read_segment
from exporters_beam.staging.taken import FOLDER, forget
from exporters_beam.storages.base import NotThere


@contextmanager
def opened(plan: Plan, resume: bool = False) -> Iterator[Books]:
    """The export's books, locked for one run; what earlier runs staged is resumed or swept.

    When the run fails, what it committed is kept for the next one. What no run wrote is left alone, and a warning says so.
    Raises DestinationError where another run holds the lock or the folder cannot be written, ConfigError where the input
    has changed since the run that is to be resumed.
    """
    books = books_of(plan)
    refuse_what_is_in_the_way(books)
    made = [folder for folder in folders_above(books.folder) + folders_above(books.scratch) if not os.path.exists(folder)]
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
                sweep_half_built(books)
    finally:
        if not books.lasting:
            shutil.rmtree(books.folder, ignore_errors=True)
        for folder in (books.folder, os.path.dirname(books.scratch)):
            remove_empty(folder)
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
            again = "run it again" if plan.spec.link is not None else "run it again with --resume"
            return f"what has been done is kept in {books.folder}: {again} to go on from there"
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


def resumed_from(plan: Plan, books: Books) -> Resumed:
    """What earlier runs of this very export have committed. Raises ConfigError where the input has changed."""
    paths = [os.path.join(books.staging.folder, name) for name in sorted(segments_in(books))]
    segments = {path: read_segment(path) for path in paths}
    for path, found in segments.items():
        if found is None:
            logging.getLogger(plan.spec.settings.logger_name).warning(
                f"--resume: {path} is damaged or was written by another version; what it held is read again"
            )
    whole = tuple(segment for segment in segments.values() if segment is not None)
    before = listed_before(books.folder)
    if plan.fixed:
        if before is None:
            return Resumed()  # Nothing was read before all was listed.
    elif before is None:
        _refuse_other_units(plan, whole)
    else:
        refuse_changed_input(plan, before, "was broken off")
    if plan.keys_in_full:
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
    told = differences([known[index] for index in sorted(known)], [now[index] for index in sorted(known) if index in now])
    if told:
        raise ConfigError(f"--resume: the input has changed since the run that was broken off: {told}; "
                          "run without --resume to begin again")  # fmt: skip


def _write_about(plan: Plan, books: Books) -> None:
    path = os.path.join(books.folder, ABOUT)
    about = {"export": plan.export_id, "now": plan.now, "started": datetime.now().isoformat(), "config": plan.told,
             "file": os.path.abspath(plan.spec.file) if plan.spec.file else "", "origin": plan.origin,
             "mark": ReaderTraits.of(plan.reader).mark, "code": code_of(plan),
             "tables": tables_of(plan)}  # fmt: skip
    with destination("cannot write to the staging folder", path):
        with open(path + ".part", "w", encoding="utf-8") as out:
            json.dump(about, out, ensure_ascii=False, default=repr)
        os.replace(path + ".part", path)


def clean(plan: Plan) -> Iterator[tuple[str, int, list[str]]]:
    """Remove what unfinished runs of this config have staged, on whatever day they began.

    Gives for each the folder, the bytes freed, and sentences about what is left there because no run wrote it. Raises
    DestinationError where one is under way.
    """
    place = place_of(plan)
    if not place:
        return
    root, name = all_books(place), os.path.join(*plan.books_name)
    own = os.path.join(root, name)
    refuse_what_is_in_the_way(Books(own, "", True))
    exports = [str(about["export"]) for about in unfinished(root)
               if about["config"] == told_before(plan)]  # fmt: skip
    # Its export.json may be damaged.
    if any(os.path.exists(os.path.join(own, part)) for part in (STAGED, HALF_BUILT, ABOUT, FOLDER, INTENT)):
        exports.append(name)
    for export in dict.fromkeys(exports):
        folder = os.path.join(root, export)
        books = Books(folder, os.path.join(folder, HALF_BUILT), True)
        refuse_what_is_in_the_way(books)
        with locked(folder):
            left = foreign(books)
            kept = forget(folder)
            left += [kept] if kept else []
            freed = 0 if kept else sweep(books)
            sweep_half_built(books)
            if not kept:
                forget_intent(folder)
        remove_empty(folder)
        yield folder, freed, left
