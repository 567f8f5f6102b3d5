"""Sends dead letters in again: the same export, with letters in the place of its source.

Each record enters at the step it failed, and goes through the rest of the export as the config describes it now. The
files it ends up in are marked, so that they stand beside those that were delivered before and replace none of them.

A letter is known by its export, file, number and step, wherever it stands and however it was fixed. The manifest of a replay
lists the letters that it has delivered: one rename commits both. A replay sends in what no manifest lists; those of one
export run one after the other, and what a killed one has published is removed first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from exporters_beam.components.registry import Entry
from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import ReaderTraits, WriterTraits
from exporters_beam.config.export import ExportSpec, Section
from exporters_beam.config.sections import NO_FILE
from exporters_beam.errors import ConfigError, Problem, SourceError
from exporters_beam.files import destination
from exporters_beam.planning.place import place_of
from exporters_beam.planning.plan import Plan, make
from exporters_beam.readers.dead_letters import Letter, LettersReader, _letters
from exporters_beam.records import Warned
from exporters_beam.staging.books import FOLDER, MANIFEST, Books, all_books, locked, sweep, unfinished
from exporters_beam.staging.letters import identity
from exporters_beam.staging.listing import some


@contextmanager
def replayed(spec: ExportSpec, files: Sequence[str]) -> Iterator[ExportSpec]:
    """The export that sends those of these dead letters through the rest of `spec` that no replay has delivered. No other
    replay of the same export runs meanwhile.

    Raises ConfigError for files that are not there, hold no dead letters, or those of an export that reads something else,
    and for two letters that say different things of one record; DestinationError where another replay is under way.
    """
    plan = make(spec)
    letters, digests = _read(files, plan.origin, spec.order)
    place = place_of(plan)
    if place is None:
        yield _sending(spec, plan, letters, digests)
        return
    root = all_books(place)
    folder = os.path.join(root, f"replays-{plan.origin}")
    made = [path for path in (folder, root) if not os.path.exists(path)]
    try:
        with locked(folder):
            _undo_unfinished(plan, root)
            whole = _sending(spec, plan, letters, digests)
            if os.path.exists(os.path.join(root, make(whole).export_id, MANIFEST)):
                yield whole  # These very letters, and nothing has changed since: the run says that it is complete.
                return
            known = _delivered(plan, root)
            wanted = [letter for letter in letters if letter.id not in known]
            if len(wanted) < len(letters):
                logging.getLogger(spec.settings.logger_name).warning(
                    "%s of %s letters were delivered by a replay before and are not sent in again",
                    f"{len(letters) - len(wanted):,}", f"{len(letters):,}")  # fmt: skip
            yield _sending(spec, plan, wanted, digests)
    finally:
        with suppress(OSError):
            os.rmdir(folder)
        for path in made:
            with suppress(OSError):
                os.rmdir(path)


def _read(files: Sequence[str], origin: str, steps: tuple[str, ...]) -> tuple[list[Letter], dict[str, str]]:
    """Each letter in these files once, and a digest of the content of each file."""
    found: dict[str, Letter] = {}
    digests: dict[str, str] = {}
    for path in dict.fromkeys(files):
        number = -1
        try:
            with open(path, "rb") as file:
                content = hashlib.sha256()
                while data := file.read(1 << 20):
                    content.update(data)
            digests[path] = content.hexdigest()[:16]
            for number, (told, _) in enumerate(_letters(path, steps)):
                if told.get("reader") != origin:
                    raise ConfigError(Problem((), _foreign(told), file=path))
                sent = {key: told.get(key) for key in ("record", "text", "bytes")}
                digest = hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()[:16]
                letter = Letter(path, number, identity(told), digest)
                other = found.setdefault(letter.id, letter)
                if other.digest != digest:
                    which = f"letter {number + 1} and letter {other.number + 1} of {other.file}"
                    record = f"{told['file']}: record {told['number']}: {told['step']}"
                    text = f"{which} are both of {record}, and say different things; give one of them"
                    raise ConfigError(Problem((), text, file=path))
        except OSError as error:
            raise ConfigError(Problem((), f"the dead letters cannot be read: {error.strerror}", file=path)) from None
        except SourceError as error:
            raise ConfigError(str(error)) from None
        if number < 0:
            raise ConfigError(Problem((), "there are no dead letters in this file", file=path))
    return list(found.values()), digests


def _sending(spec: ExportSpec, plan: Plan, letters: list[Letter], digests: dict[str, str]) -> ExportSpec:
    """The export that sends in these letters."""
    request = [sorted((letter.id, letter.digest) for letter in letters), plan.told]
    wanted: dict[str, set[int]] = {path: set() for path in digests}
    for letter in letters:
        wanted[letter.file].add(letter.number)
    reader = LettersReader(
        files=tuple(digests.items()),
        wanted=tuple(frozenset(numbers) for numbers in wanted.values()),
        ids=tuple(sorted(letter.id for letter in letters)),
        origin=plan.origin,
        order=spec.order,
        steps=tuple(name for name, _ in spec.failing),
        spread=tuple(step.name for step in plan.steps if step.kind == "flat_map"),
        read_by=None if ReaderTraits.of(plan.reader).streams else plan.reader,
        identity=("replay", hashlib.sha256(json.dumps(request, sort_keys=True, default=repr).encode()).hexdigest()),
    )
    entry = Entry("reader", "dead_letters", f"{__name__}:LettersReader")
    section = Section("reader", "dead_letters", entry, reader, {"input": list(digests)}, ("reader",))
    return replace(
        spec,
        reader=section,
        decompressor=None,
        deserializer=None,
        settings=replace(spec.settings, resume=False),
        empty=NO_FILE,  # the export that the letters are of has had its own files
        on_error=replace(spec.on_error, max_records=None, max_rate=None),  # a few letters are no measure of an export
    )


def _delivered(plan: Plan, root: str) -> set[str]:
    """What the letters are known by that replays have delivered: their manifests tell, here and, of a storage, there."""
    found: set[str] = set()
    for name in os.listdir(root):
        with suppress(OSError, ValueError, KeyError, TypeError), open(os.path.join(root, name, MANIFEST), "rb") as file:
            data = file.read()
            if b'"letters": [' in data:
                found.update(json.loads(data)["letters"])
    there = WriterTraits.of(reveal(plan.writer)).delivered_letters
    if there is not None and plan.names is not None:
        found.update(there(plan.names, plan.origin))
    return found


def _undo_unfinished(plan: Plan, root: str) -> None:
    """Remove what replays of this export have published that were killed before their manifest."""
    for about in unfinished(root):
        books = Books(os.path.join(root, about["export"]), "", True)
        if about.get("origin") != plan.origin or not about.get("mark"):
            continue
        with locked(books.folder):
            removed = [] if os.path.exists(books.manifest) else list(_remove_marked(plan, about["mark"]))
            sweep(books)
        with suppress(OSError):
            os.rmdir(books.folder)
        if removed:
            text = f"a replay was broken off before it was complete; what it had published is removed: {some(removed)}"
            logging.getLogger(plan.spec.settings.logger_name).warning(text)


def _remove_marked(plan: Plan, mark: str) -> Iterator[str]:
    if plan.names is None:
        return
    writer = reveal(plan.writer)
    to = WriterTraits.of(writer)
    if to.storage is not None:
        storage = to.storage()
        root = to.key("" if plan.names.root == "." else f"{plan.names.root.rstrip('/')}/")
        there = [found.name for found in storage.names(root) if not isinstance(found, Warned)]
        for name in there:
            if mark in name.rpartition("/")[2]:
                with destination("cannot remove", storage.url(name)):
                    storage.delete(name)
                yield storage.url(name)
        return
    for folder, folders, names in os.walk(plan.names.root):
        if FOLDER in folders:
            folders.remove(FOLDER)
        for name in sorted(names):
            if mark in name:
                path = os.path.join(folder, name)
                with destination("cannot remove", path):
                    os.remove(path)
                yield path


def _foreign(letter: dict[str, object]) -> str:
    config = f" of {letter['config']}" if letter.get("config") else ""
    return (f"these dead letters are those of another export, {letter['export']}{config}, which reads something else; "
            "replay them with its config")  # fmt: skip
