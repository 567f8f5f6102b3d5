"""What `--resume` goes on with: a run that did not end, an export that is complete, or nothing.

The input is compared with what was read in any case, and delivered files with what was delivered.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import ReaderTraits, WriterTraits
from exporters_beam.errors import ConfigError, DestinationError
from exporters_beam.planning.place import books_at, code_of, place_of, told_before
from exporters_beam.planning.plan import Plan, make
from exporters_beam.records import Json, Unit
from exporters_beam.reporting.leftovers import remove
from exporters_beam.runners.books import refuse_changed_input
from exporters_beam.runners.tables import fixed, refuse_changed_tables
from exporters_beam.staging.books import (
    ABOUT,
    LOCK,
    Books,
    all_books,
    change_of,
    flat,
    has_segments,
    locked,
    refuse_what_is_in_the_way,
    unfinished,
)
from exporters_beam.staging.listing import listed_before, some
from exporters_beam.storages.base import NotThere, StorageError


def goes_on_with(plan: Plan, log: logging.Logger) -> tuple[Plan, Json | None]:
    """The plan to run, which resumes where there is something to go on with; and the manifest where nothing is left to do.

    Raises ConfigError where the input or the config has changed.
    """
    if not plan.spec.settings.resume:
        return fixed(plan), None
    place = place_of(plan)
    if place is not None:
        refuse_what_is_in_the_way(books_at(place, plan))
    plan = fixed(as_begun(plan))
    if place is None:
        log.warning("--resume: there is nothing to resume: this export keeps nothing; it runs from the start")
        return _from_the_start(plan), None
    books = books_at(place, plan)
    if has_segments(books):
        _refuse_changed_code(plan, books)
        return plan, None
    done = finished(plan)
    if done is None and plan.spec.now:
        return _as_decided(plan), None
    if done is None:
        _refuse_changed_config(plan, all_books(place))
        log.warning("--resume: there is nothing to resume in %s; the export runs from the start", os.path.dirname(books.folder))
        return _from_the_start(plan), None
    refuse_changed_tables(plan, done.get("tables", {}), "was completed")
    if not plan.fixed:  # What has come since then is for another export.
        read = [Unit(n, unit["name"], unit["bytes"], unit["etag"]) for n, unit in enumerate(done["units"])]
        refuse_changed_input(plan, read, "was completed")
    undone = list(_undone(plan, books, done))
    if undone:
        log.warning("--resume: the export was complete, and since then %s; it is made again", some(undone))
        return _from_the_start(plan), None
    remove(reveal(plan.writer), done.get("left", ()))  # What was killed before it came to that, or was not asked for then.
    return plan, done


def _as_decided(plan: Plan) -> Plan:
    """The plan of an export whose time is decided, of which nothing stands yet. A batch of a chain has written down what it
    reads."""
    return plan if plan.spec.link is not None else _from_the_start(plan)


def _from_the_start(plan: Plan) -> Plan:
    return replace(plan, spec=replace(plan.spec, settings=replace(plan.spec.settings, resume=False)))


def as_begun(plan: Plan) -> Plan:
    """The plan of the run to go on with: with its dates, and with what its reader has drawn at random."""
    place = place_of(plan)
    if place is None or plan.spec.now:
        return plan
    for about in unfinished(all_books(place)):
        if about["config"] == told_before(plan):
            begun = make(plan.spec, datetime.fromisoformat(about["now"]))
            if begun.export_id == about["export"] and has_segments(books_at(place, begun)):
                plan = begun
                break
    drawn = ReaderTraits.of(plan.reader).as_drawn
    if drawn is None:
        return plan
    books = books_at(place, plan)
    units = listed_before(books.folder) if has_segments(books) else None
    if units is None:
        done = finished(plan)
        units = [Unit(0, "", -1, unit["etag"]) for unit in done["units"]] if done else []
    return replace(plan, reader=drawn(units[0].etag)) if units else plan


def _refuse_changed_code(plan: Plan, books: Books) -> None:
    """Raises ConfigError where a module that the config names has changed since the run that is to be resumed."""
    about = next((each for each in unfinished(os.path.dirname(books.folder)) if each["export"] == plan.export_id), {})
    refuse_changed_tables(plan, about.get("tables", {}), f"left its work in {books.folder}")
    now = code_of(plan)
    changed = [name for name, digest in about.get("code", {}).items() if now.get(name, digest) != digest]
    if changed:
        raise ConfigError(f"--resume: the code of {some(changed)} has changed since the run that left its work in "
                          f"{books.folder}; put it back, or run without --resume")  # fmt: skip


def _refuse_changed_config(plan: Plan, place: str) -> None:
    """Raises ConfigError where this config was another when a run of it left its work here."""
    told = flat(plan.told)
    file = os.path.abspath(plan.spec.file) if plan.spec.file else ""
    for about in unfinished(place):
        before = flat(about["config"])
        name = "writer.options.filebase"
        if about.get("file", "") != file or before.get(name) != told.get(name):
            continue  # That is another export.
        change = change_of(about["config"], plan.told)
        if change and has_segments(Books(os.path.join(place, about["export"]), "", True)):
            raise ConfigError(f"--resume: the config has changed since the run that left its work in {place}: "
                              f"{change}; put it back, or run without --resume")  # fmt: skip


def finished(plan: Plan) -> Json | None:
    """The manifest of this export where an earlier run has finished it and left nothing to go on with."""
    place = place_of(plan)
    if place is None:
        return None
    books = books_at(place, plan)
    if os.path.exists(os.path.join(books.folder, ABOUT)) or not os.path.exists(books.manifest):
        return None
    if os.path.exists(os.path.join(books.folder, LOCK)):  # That run was killed with only its lock left to be removed.
        with locked(books.folder):
            pass
    return {**read_manifest(books.manifest), "manifest": books.manifest, "times": {}, "resumed": 0}


def read_manifest(path: str) -> Json:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise DestinationError(f"the run ended without a manifest at {path}: {error.strerror}") from error
    except ValueError as error:
        raise DestinationError(f"{path}: this is not a manifest: {error}; move it away") from None
    return {"runner": "local", **found}


def _undone(plan: Plan, books: Books, done: Mapping[str, Any]) -> Iterator[str]:
    """What of the delivered is gone, or is not what was delivered: a few words for each.

    Files of this machine that were touched after the manifest was written are read again; of those in a storage size and,
    where it knows it, MD5 are looked at.
    """
    since = os.stat(books.manifest).st_mtime_ns
    if "dead_letters" in done and not _is_as_delivered(done["dead_letters"], since):
        yield f"{done['dead_letters']['name']} is gone or has changed"
    to = WriterTraits.of(reveal(plan.writer))
    yield from _asked_for(plan, to, done)
    if to.place == "folders":
        for file in done["files"]:
            if not _is_as_delivered(file, since):
                yield f"{file['name']} is gone or has changed"
        for file in done.get("done", {}).values():
            if not _is_as_delivered(file, since):
                yield f"{file['name']} is gone or has changed"
        sums = plan.names.checksums if plan.md5 and plan.names else ""
        if sums and not os.path.exists(sums):
            yield f"{sums} is gone"
    elif to.storage is not None:
        storage = to.storage()
        for file in (*done["files"], *done.get("done", {}).values()):
            try:
                found = storage.stat(storage.name(file["name"]) or "")
            except NotThere:
                yield f"{file['name']} is gone"
                continue
            except StorageError as error:
                raise DestinationError(f"{file['name']}: {error}") from error
            if found.size != file["bytes"] or (found.md5 and file["md5"] and found.md5 != file["md5"]):
                yield f"{file['name']} has changed"


def _asked_for(plan: Plan, to: WriterTraits, done: Mapping[str, Any]) -> Iterator[str]:
    """The files of `done` that were not asked for when the export was completed. A date in a name is that of the run."""
    given = dict(plan.spec.done.names) if plan.spec.done is not None else {}
    for kind, path in plan.done:
        name = to.storage().url(to.key(path)) if to.storage is not None else path
        told = done.get("done", {}).get(kind)
        if told is None or ("%" not in given[kind] and told["name"] != name):
            yield f"{name} is asked for"


def _is_as_delivered(file: Mapping[str, Any], since: int) -> bool:
    try:
        found = os.stat(file["name"])
        if found.st_size != file["bytes"]:
            return False
        if max(found.st_ctime_ns, found.st_mtime_ns) < since:
            return True
        digest = hashlib.md5(usedforsecurity=False)
        with open(file["name"], "rb") as content:
            while data := content.read(1 << 20):
                digest.update(data)
        return digest.hexdigest() == file["md5"]
    except OSError:
        return False
