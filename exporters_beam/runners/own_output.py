"""An export must not read what it delivers itself: a second run would take the output of the first for data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from exporters_beam.components.protocols import Writer
from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import ReaderTraits, WriterTraits
from exporters_beam.config.done import KINDS
from exporters_beam.errors import ConfigError, shown
from exporters_beam.planning.place import books_of, place_of
from exporters_beam.planning.plan import Plan

GROUPS = ("a", "0", "x-y_z 1")
"""Values of groups, which are known only when records have been read, in the names that are tried."""


def refuse_own_output(plan: Plan) -> None:
    """Raises ConfigError where the reader would find a file that this export delivers, in a first run or in another one.

    The names are those that it delivered before, by its manifest, and such as it will give files. What other exports have
    delivered is data.
    """
    if plan.replays or ReaderTraits.of(plan.reader).finds is None or not WriterTraits.of(plan.writer).files:
        return
    try:
        reader, writer = reveal(plan.reader), reveal(plan.writer)
    except ConfigError:
        return  # It is told where the secret is needed, which may be on the workers alone.
    finds = ReaderTraits.of(reader).finds
    for name, option in _names(plan, writer):
        if finds is not None and finds(name, writer, plan.copied):
            path = ("on_error", "file") if option == "on_error" else (*plan.spec.writer.path, "options", "filebase")
            path = (*plan.spec.done_at, option) if option in KINDS else path
            path = (*plan.spec.bundle_at, "name") if option == "bundle" else path
            raise ConfigError(plan.spec.problem(path, (
                f"files such as {shown(name)} are among those that the reader reads, so that another run would read what this "
                "one delivers; deliver elsewhere, or give the reader a pattern that does not fit them"
            )))  # fmt: skip


def _names(plan: Plan, writer: Writer) -> Iterator[tuple[str, str]]:
    """Names of files as the reader would find them, and the option that they come from."""
    names = plan.names
    if names is None:
        return
    to = WriterTraits.of(writer)
    whole = to.storage().url if to.remote and to.storage is not None else str
    key = to.key
    if plan.bundle:
        yield whole(key(plan.bundle)), "bundle"
    for value in GROUPS if not plan.bundle else ():
        for number in (names.start, names.start + 12345):
            yield whole(key(names.name((value,) * names.groups, number))), "filebase"
    if plan.md5:
        yield whole(key(names.checksums)), "filebase"
    for kind, name in plan.done:
        yield whole(key(name)), kind
    if plan.on_error.writes and plan.on_error.file:
        yield plan.on_error.file, "on_error"
    for file in _delivered(plan):
        yield file, "filebase"


def _delivered(plan: Plan) -> list[str]:
    """The files that an earlier run of this export has delivered."""
    if place_of(plan) is None:
        return []
    try:
        with open(os.path.join(books_of(plan).manifest), encoding="utf-8") as file:
            return [str(entry["name"]) for entry in json.load(file)["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # Who goes on with it tells what is wrong with it.
