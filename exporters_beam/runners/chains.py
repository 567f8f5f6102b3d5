"""Runs that each read only what is new: a chain of batches, each of which begins where the manifests of those before end.

What a batch will read is listed here and written down before anything of it is read. A batch that did not end well is gone
on with by the next run, before anything newer is looked at, and delivers what it would have delivered.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from exporters_beam.components.names import expand_dates, in_batch
from exporters_beam.components.protocols import AnyReader
from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import ReaderTraits
from exporters_beam.config.export import ExportSpec
from exporters_beam.config.new_only import FAIL, IGNORE, KEEP, READ, After
from exporters_beam.config.sections import NEW_ONLY
from exporters_beam.engine.windows import completing
from exporters_beam.errors import ConfigError, DestinationError, ExportError, SourceError, shown
from exporters_beam.planning.place import books_at, place_of
from exporters_beam.planning.plan import Plan, make_each
from exporters_beam.readers.units import listed, names_of
from exporters_beam.records import Link, Unit, Warned
from exporters_beam.reporting.chain import State, batch_folder, fold, state_of, write_intent
from exporters_beam.reporting.report import Report
from exporters_beam.runners.launch import logger_of
from exporters_beam.runners.launch import run as run_export
from exporters_beam.runners.registering import register_batch
from exporters_beam.runners.resume import read_manifest
from exporters_beam.staging.books import (
    MANIFEST,
    Books,
    all_books,
    change_of,
    forget_intent,
    has_segments,
    locked,
    remove_empty,
    unfinished,
)
from exporters_beam.staging.listing import listed_before, some

Run = Callable[[ExportSpec], Report]
"""Runs one export to its end."""


def run(
    spec: ExportSpec,
    beam_args: Sequence[str] = (),
    *,
    full: bool = False,
    progress: bool = False,
    workers: int | None = None,
    begun: Callable[[Sequence[Plan]], None] = lambda plans: None,
) -> Report:
    """Run an export as `launch.run` does; where it reads only what is new, one batch of it. `full` reads everything once more.

    Raises ConfigError also where manifests of batches before do not fit together, and SourceError where a file has changed that
    was read before.
    """

    def one(each: ExportSpec) -> Report:
        return run_export(each, beam_args, progress=progress, workers=workers, begun=begun)

    if spec.new_only is None or spec.link is not None:
        if full:
            raise ConfigError("--full: it is for exports that read only what is new; this one reads everything anyway")
        return one(spec)
    with opened(spec) as chain:
        return chain.turn(one, full)


@contextmanager
def opened(spec: ExportSpec) -> Iterator[Chain]:
    """The chain of an export, locked. Raises ConfigError, DestinationError where another run holds it."""
    plans = make_each(spec)
    folders = [folder_of(plan) for plan in plans]
    with ExitStack() as stack:
        for folder in folders:
            stack.callback(remove_empty, folder)
            stack.enter_context(locked(folder))
        states = [state_of(folder, plan.chain) for folder, plan in zip(folders, plans, strict=True)]
        yield Chain(spec, plans, tuple(folders), states)


def folder_of(plan: Plan) -> str:
    """The folder of the chain's books. Raises ConfigError where they would go with the run."""
    place = place_of(plan)
    if place is None:
        raise ConfigError(plan.spec.problem((NEW_ONLY,), "what was read has to be known by the next run, and this export keeps "
                                            "nothing; add `staging: FOLDER`"))  # fmt: skip
    return os.path.join(all_books(place), plan.chain)


def begun(spec: ExportSpec) -> ExportSpec:
    """The export as the batch that was begun and is not delivered yet, where there is one. Raises as `opened` does."""
    with opened(spec) as chain:
        links = chain.pending()
        return spec if links is None else chain.linked(links)


def proof_of(plan: Plan) -> Callable[[Unit], str]:
    """What proves the content of a file: what its reader says, or its size and etag."""
    return ReaderTraits.of(plan.reader).proof or (lambda unit: f"{unit.size} {unit.etag}")


@dataclass
class Chain:
    """A chain that is locked: of each writer the plan, the folder, and how far it has come."""

    spec: ExportSpec
    plans: tuple[Plan, ...]
    folders: tuple[str, ...]
    states: list[State]
    more: bool = False
    """Whether the last batch has left something, which was too much for it."""
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    """What files were when they were first seen as they are, and when that was, by a clock that nobody sets."""

    @property
    def log(self) -> logging.Logger:
        return logger_of(self.spec)

    @property
    def number(self) -> int:
        """The number of the last batch that every writer has."""
        return min(state.last.number for state in self.states)

    def books(self, plan: Plan, link: Link, folder: str) -> Books:
        """The books of a batch of one writer."""
        place = os.path.dirname(os.path.dirname(folder))
        return books_at(place, replace(plan, spec=replace(plan.spec, link=link, now=link.now), now=link.now))

    def reload(self) -> None:
        """How far the chain has come, looked up again."""
        self.states = [state_of(folder, plan.chain) for folder, plan in zip(self.folders, self.plans, strict=True)]

    def turn(self, run: Run, full: bool = False) -> Report:
        """One batch, or the rest of one that did not end; a report that says so where there is nothing new."""
        self.more = False
        self.close()
        links = self.pending() or self.begin(full)
        if links is None:
            return self.nothing_new()
        self._refuse_changed_config(links)
        try:
            report = run(self.linked(links))
        except ExportError as error:
            if not isinstance(error, (ConfigError, DestinationError)):
                error.args = (f"{error}; batch {links[0].number:,} stays as it was begun: where its input is to be another "
                              f"one, "
                              "exporters-beam clean begins it anew", *error.args[1:])  # fmt: skip
            raise
        for at, (folder, link) in enumerate(zip(self.folders, links, strict=True)):
            if self.states[at].last.number < link.number:
                manifest = read_manifest(os.path.join(batch_folder(folder, link.number), MANIFEST))
                self.states[at] = replace(self.states[at].after(manifest), closing=True)
        self.close()
        return report

    def linked(self, links: Sequence[Link]) -> ExportSpec:
        """The export as this batch."""
        return self.spec.linked({plan.spec.to: link for plan, link in zip(self.plans, links, strict=True)})

    def nothing_new(self) -> Report:
        last = self.states[0].last
        since = f" since batch {last.number:,} of {last.now[:19].replace('T', ' ')}" if last.number else ""
        return Report("done", counts={"read": 0, "written": 0}, note=f"there is nothing new{since}")

    # What was begun

    def pending(self) -> list[Link] | None:
        """The batch that was begun and has not got to every writer. Raises ConfigError where writers do not go together."""
        numbers = [state.pending.number if state.pending else state.last.number for state in self.states]
        if len(set(numbers)) > 1:
            had = ", ".join(
                f"{plan.spec.to} {state.last.number:,}" for plan, state in zip(self.plans, self.states, strict=True)
            )
            raise ConfigError(self.spec.problem(("writers",), f"they have not had the same batches (the last one of each: "
                                                              f"{had}); "
                              "give a writer that was added later an export of its own"))  # fmt: skip
        if all(state.pending is None for state in self.states):
            return None
        return [
            state.pending or Link(plan.chain, state.last.number, state.last.now)
            for plan, state in zip(self.plans, self.states, strict=True)
        ]

    def _refuse_changed_config(self, links: Sequence[Link]) -> None:
        """Raises ConfigError where the config was another when a part of the batch was staged."""
        for plan, link, folder in zip(self.plans, links, self.folders, strict=True):
            books = self.books(plan, link, folder)
            about = next((each for each in unfinished(folder) if has_segments(books)), None)
            change = change_of(about["config"], plan.told) if about is not None else ""
            if change:
                raise ConfigError(f"the config has changed since batch {link.number:,} was begun, which is not delivered yet: "
                                  f"{change}; put it back for this batch, or drop what is staged of it with exporters-beam "
                                  "clean, and it is begun anew")  # fmt: skip

    # What is new

    def begin(self, full: bool) -> list[Link] | None:
        """Write down what the next batch reads; None where there is nothing. Raises SourceError, DestinationError."""
        units, now = self.new(full), datetime.now().isoformat()
        if not units and not self._windows_close(now):
            return None
        links = [Link(plan.chain, state.last.number + 1, now, state.last.checksum, full, None if full else state.windows)
                 for plan, state in zip(self.plans, self.states, strict=True)]  # fmt: skip
        for folder, link in zip(self.folders, links, strict=True):
            write_intent(folder, link, units)
        if links[0].number == 1:
            self.log.info("the first batch of a chain: everything is read that is there (%s)", self.folders[0])
        return links

    def _windows_close(self, now: str) -> bool:
        """Whether windows are complete though nothing is new, since nothing was for so long."""
        found = (completing(plan, now, state.windows) for plan, state in zip(self.plans, self.states, strict=True))
        return any(each is not None and each.max_wait is not None and each.told((), (), ())["complete"] for each in found)

    def new(self, full: bool = False) -> list[Unit]:
        """The units of the next batch, numbered; none where there is nothing new. Raises SourceError."""
        plan, state = self.plans[0], self.states[0]
        reader, names = reveal(plan.reader), names_of(plan.reader)
        told = ReaderTraits.of(reader)
        if told.since is not None:
            before = [names.real(Unit(0, name, size, etag)) for name, (size, etag) in state.known.items()]
            assert self.spec.new_only is not None
            units = list(self._listed(told.since([] if full else before, self.spec.new_only.settled_seconds)))
            holds = told.holds
            most = self.spec.follow.max_records if self.spec.follow is not None else None
            if most is not None and told.upto is not None:
                before, units = units, told.upto(units, most)
                self.more = before != units
            return units if holds is None or any(map(holds, units)) else []
        found = list(self._listed(reader if told.may_be_empty is None else told.may_be_empty()))
        units = found if full else list(self._unknown(found))
        units = self._upto(self._settled(units))
        self._refuse_archive(units)
        return [unit._replace(index=index) for index, unit in enumerate(units)]

    def _upto(self, units: list[Unit]) -> list[Unit]:
        """The first files, as many as a batch may have."""
        most = self.spec.follow.max_bytes if self.spec.follow is not None else None
        size = 0
        for at, unit in enumerate(units if most is not None else ()):
            size += max(0, unit.size)
            if at and size > (most or 0):
                self.more = True
                return units[:at]
        self.more = False
        return units

    def _listed(self, reader: AnyReader) -> Iterator[Unit]:
        """What a reader lists whose secrets are resolved."""
        for found in listed(reader, names_of(self.plans[0].reader)):
            if isinstance(found, Warned):
                self.log.warning(found.text)
            else:
                yield found

    def _unknown(self, units: Sequence[Unit]) -> Iterator[Unit]:
        """The files that were not read yet. What has changed since is told as `changed` says."""
        assert self.spec.new_only is not None
        known, action = self.states[0].known, self.spec.new_only.changed
        if self.spec.after != KEEP:
            action = READ  # One that was put away made room for it.
        changed, proof = [], proof_of(self.plans[0])
        for unit in units:
            before = known.get(unit.name)
            if before is None:
                yield unit
            elif proof(unit) != proof(unit._replace(size=before[0], etag=before[1])):
                if action == READ:
                    yield unit
                changed.append(unit.name)
        if changed and action == FAIL:
            raise SourceError(f"{some([shown(name) for name in changed])}: read by a batch before, and changed since; say "
                              "under new_only what is to become of such files: changed: read, or ignore")  # fmt: skip
        if changed and action == IGNORE:
            self.log.warning("%s: read by a batch before, and changed since; what is new in it is not delivered, as "
                             "new_only says (changed: ignore)", some([shown(name) for name in changed]))  # fmt: skip

    # Files that are still being written

    def _settled(self, units: list[Unit]) -> list[Unit]:
        """The files that have not changed for as long as `settled` says; those that have are waited for that long, once."""
        assert self.spec.new_only is not None
        seconds = self.spec.new_only.settled_seconds
        if not seconds or not units:
            return units
        waits = self._waits(units, seconds)
        if any(waits.values()):
            time.sleep(max(waits.values()))
            again = {unit.name: unit for unit in self._listed(reveal(self.plans[0].reader))}
            units = [again[unit.name] for unit in units if unit.name in again]
            waits = self._waits(units, seconds)
        left = [shown(name) for name, wait in waits.items() if wait > 0]
        if left:
            self.log.warning("%s: still being written; left to the next batch", some(left))
        return [unit for unit in units if not waits[unit.name]]

    def _waits(self, units: Sequence[Unit], seconds: float) -> dict[str, float]:
        """For how long each file has to be waited for. One of which nothing else is known has to be seen twice as it is."""
        modified = ReaderTraits.of(self.plans[0].reader).modified
        now, clock, found = time.time(), time.monotonic(), {}
        seen, self.seen = self.seen, {}  # What is not waited for any more is forgotten.
        for unit in units:
            proof = f"{unit.size} {unit.etag}"
            before = seen.get(unit.name)
            if before is None or before[0] != proof:
                before = (proof, clock)
            self.seen[unit.name] = before
            ages = [clock - before[1]]
            if modified is not None and modified(unit) <= now:
                ages.append(now - modified(unit))
            found[unit.name] = max(0.0, seconds - max(ages))
        return found

    # What becomes of what was read

    def _archive(self, number: int, now: str) -> str:
        """The folder to which a batch moves what it has read; "" where nothing is moved."""
        if not isinstance(self.spec.after, After):
            return ""
        return expand_dates(in_batch(self.spec.after.archive, number), datetime.fromisoformat(now))

    def _refuse_archive(self, units: Sequence[Unit]) -> None:
        told, folder = ReaderTraits.of(self.plans[0].reader), self._archive(self.number + 1, datetime.now().isoformat())
        for unit in units[:1] if folder else ():
            assert told.archived is not None
            name = told.archived(unit, folder)
            if told.reads is not None and told.reads(name):
                raise ConfigError(self.spec.problem(("after", "archive"), f"what is moved to {shown(name)} would be read "
                                                    "again; give a folder that the reader does not look into"))  # fmt: skip

    def close(self) -> None:
        """What the last batch has read is put away, where that is asked for and every writer has it, and its files are in
        their table; then the batch is closed. Raises DestinationError."""
        if not any(state.closing for state in self.states) or self.pending() is not None:
            return
        number = self.number
        self._register(number)
        for at, folder in enumerate(self.folders):
            if at == 0 and self.spec.after != KEEP:
                units = listed_before(batch_folder(folder, number)) or []
                for text in self._put_away(units, self._archive(number, self.states[at].last.now)):
                    self.log.warning(text)
            forget_intent(batch_folder(folder, number))
            self.states[at] = replace(self.states[at], closing=False)
            fold(folder, self.states[at])

    def _register(self, number: int) -> None:
        """The files of the last batch are added to the tables, where its run did not come to that."""
        for plan, folder, state in zip(self.plans, self.folders, self.states, strict=True):
            if plan.spec.table is not None and state.closing:
                manifest = read_manifest(os.path.join(batch_folder(folder, number), MANIFEST))
                register_batch(replace(plan.spec, link=Link(plan.chain, number, state.last.now)), manifest)

    def _put_away(self, units: Sequence[Unit], folder: str) -> Iterator[str]:
        """Removes it, or moves it to the folder. Gives why what could not be put away is still there."""
        plan = self.plans[0]
        names, told = names_of(plan.reader), ReaderTraits.of(reveal(plan.reader))
        for unit in units:
            real = names.real(unit)
            if folder:
                assert told.archive is not None
                why = told.archive(real, folder)
            else:
                assert told.delete is not None
                why = told.delete(real)
            if why:
                yield names.without_secrets(f"after: {shown(unit.name)}: {why}")
