"""Sources that give everything once: what is taken of them before an export runs, and settled when it is delivered.

What is taken is written down in the export's books by this process, before the pipeline is made, and held while it runs; when
the manifest stands, the reader settles it. A run that finds what an earlier one has taken goes on with that.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from exporters_beam.components.ready import ready
from exporters_beam.components.traits import ReaderTraits, WriterTraits
from exporters_beam.errors import ConfigError, DestinationError, ExportError
from exporters_beam.planning.plan import Plan
from exporters_beam.records import Unit
from exporters_beam.runners.resume import read_manifest
from exporters_beam.staging.books import HALF_BUILT, Books, locked, sweep, unfinished
from exporters_beam.staging.listing import listed_before
from exporters_beam.staging.taken import FOLDER, clear, is_delivered, is_there, take_over, taken_in


@dataclass
class Input:
    """The input of a run, whose plan reads it where it was written down."""

    plan: Plan
    books: Books
    reader: Any = None

    @property
    def settles(self) -> bool:
        """Whether something is to be done when the export is delivered, so that nobody may sweep before."""
        return self.reader is not None

    def settle(self) -> list[str]:
        """The manifest stands. Gives what users should know."""
        return _settled(self.reader, listed_before(self.books.folder) or []) if self.settles else []


@contextmanager
def taken(plan: Plan, books: Books) -> Iterator[Input]:
    """Take what there is, and hold it. Raises SourceError, DestinationError, and ConfigError where what earlier runs have
    delivered would be replaced."""
    told = ReaderTraits.of(plan.reader)
    if told.kept_in is not None:
        plan = replace(plan, reader=told.kept_in(os.path.join(os.path.abspath(books.folder), FOLDER)))
    elif told.settle is None:
        yield Input(plan, books)
        return
    reader = ready(plan.reader)
    of = ReaderTraits.of(reader)
    if told.kept_in is not None:
        _look(plan, books, reader)
    with of.held() if of.held is not None else nullcontext():
        if told.kept_in is not None:
            _take(reader)
        yield Input(plan, books, reader)
    if told.kept_in is not None:
        clear(books.folder)


def _look(plan: Plan, books: Books, reader: Any) -> None:
    """What stands from earlier runs, and whether this one may begin."""
    log = logging.getLogger(plan.spec.settings.logger_name)
    if ReaderTraits.of(reader).only_copy and not books.lasting:
        raise ConfigError(plan.spec.problem((*plan.spec.reader.path, "options", "acknowledge"),
                          "what is acknowledged before it is delivered needs a folder that lasts; add "
                          "`staging: /mnt/shared/staging`, or leave it at `manifest`"))  # fmt: skip
    resumes, folder = plan.spec.settings.resume, os.path.join(books.folder, FOLDER)
    if resumes and not os.path.isdir(folder) and listed_before(books.folder) is not None:
        raise ConfigError(f"--resume: what that run has taken is not in {folder} any more; run without --resume")
    if not resumes and is_there(books.folder) and is_delivered(books.folder):
        for text in _settled(reader, []):  # Only that was left to do of the run before.
            log.warning(text)
    if not resumes:
        clear(books.folder)
        if not os.path.isdir(folder):
            _take_over(plan, books)
    if os.path.isdir(folder):
        if not resumes:
            counts = taken_in(books.folder).told.get("counts")
            log.warning("%s messages that an earlier run has taken are delivered now; what has come since is for the next run",
                        f"{sum(counts):,}" if counts else "the")  # fmt: skip
        return
    done = read_manifest(books.manifest) if os.path.exists(books.manifest) else {}
    if plan.names is not None and done.get("files"):
        raise ConfigError(plan.spec.problem((*plan.spec.writer.path, "options", "filebase"),
                          f"files of this name are there of an export before ({done['files'][0]['name']}), and what they hold "
                          "is not in the queue any more; give names with a time, like %Y-%m-%dT%H%M%S, or move "
                          f"{books.manifest} away to replace them"))  # fmt: skip
    probe = WriterTraits.of(plan.writer).probe
    if probe is not None:
        looked_at = WriterTraits.of(ready(plan.writer)).probe
        assert looked_at is not None
        looked_at()  # Nothing is taken that cannot be delivered.


def _take_over(plan: Plan, books: Books) -> None:
    """What an export by the same reader has taken and not delivered, with another writer or other names, is for this one."""
    if not books.lasting:
        return
    place = os.path.dirname(books.folder)
    for about in reversed(unfinished(place)):
        other = os.path.join(place, str(about["export"]))
        if about.get("origin") != plan.origin or other == books.folder or not is_there(other) or is_delivered(other):
            continue
        with suppress(DestinationError), locked(other):  # One that runs keeps what it has.
            sweep(Books(other, os.path.join(other, HALF_BUILT), True))
            take_over(books.folder, other)
            return


def _take(reader: Any) -> None:
    for _ in reader.units():
        pass


def _settled(reader: Any, units: list[Unit]) -> list[str]:
    settle = ReaderTraits.of(reader).settle
    if settle is None:
        return []
    try:
        return list(settle(units))
    except (ExportError, OSError) as error:
        return [f"what was read could not be settled at its source: {error}"]


def settle_left(plan: Plan, books: Books) -> list[str]:
    """What an export that is complete could not settle is tried again."""
    told = ReaderTraits.of(plan.reader)
    if told.kept_in is None:
        return []
    return _settled(ready(told.kept_in(os.path.join(os.path.abspath(books.folder), FOLDER))), [])


def refuse_taking(plan: Plan) -> None:
    """Raises ConfigError where nobody waits for the end of the export, and so nobody would acknowledge."""
    told = ReaderTraits.of(plan.reader)
    if told.kept_in is not None or told.settle is not None:
        raise ConfigError(plan.spec.problem((*plan.spec.reader.path, "name"),
                          "what this reader takes is acknowledged when the export is delivered, by the process that waits for "
                          "its end; run it with `exporters-beam run`"))  # fmt: skip
