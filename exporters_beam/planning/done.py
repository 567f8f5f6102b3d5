"""How the files of `done`, and the archive of `bundle`, are called, and what is wrong with them."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from exporters_beam.components.names import FileNames, expand_dates
from exporters_beam.components.traits import WriterTraits, delivers_files
from exporters_beam.config.done import check_name, takes_done
from exporters_beam.errors import ConfigError, Problem
from exporters_beam.planning.linked import numbered

if TYPE_CHECKING:
    from exporters_beam.config.document import Path
    from exporters_beam.config.export import ExportSpec


def bundle_of(spec: ExportSpec, names: FileNames | None, now: datetime) -> tuple[str, list[Problem]]:
    """The path of the archive of all files, "" where there is none; and what is wrong."""
    if spec.bundle is None:
        return "", []
    if not delivers_files(spec.writer.component) or not takes_done(spec.writer.component):
        return "", [_no_place(spec, spec.bundle_at)]
    if names is None:
        return "", []
    name = expand_dates(numbered(spec.bundle.name, spec), now)
    try:
        check_name("name", name)
    except ConfigError as error:
        return "", [spec.problem((*spec.bundle_at, "name"), problem.message.partition(": ")[2]) for problem in error.problems]
    ending = spec.encrypt.ending if spec.encrypt is not None else ""
    return names.beside(names.marked(name) if names.mark else name) + ending, []


def _no_place(spec: ExportSpec, path: Path) -> Problem:
    return spec.problem(path, f"the writer {spec.writer.entry.name} delivers no files to a place where customers look; leave "
                        "this section out")  # fmt: skip


def done_of(
    spec: ExportSpec, names: FileNames | None, letters: str | None, bundle: str, now: datetime
) -> tuple[tuple[tuple[str, str], ...], list[Problem]]:
    """(kind, path) of each file of `done`, in the order in which they are delivered; and what is wrong."""
    if spec.done is None:
        return (), []
    writer = spec.writer.component
    if not delivers_files(writer) or not takes_done(writer):
        return (), [_no_place(spec, spec.done_at)]
    if names is None:
        return (), []  # What is wrong with filebase is told.
    found: list[tuple[str, str]] = []
    problems = []
    taken = {names.checksums: "the file of checksums"} if writer.generate_md5 else {}
    if bundle:
        taken[bundle] = "the archive"
    if letters and WriterTraits.of(writer).to_folders:
        taken[letters] = "the file of dead letters"
    for kind, given in spec.done.names:
        name = expand_dates(numbered(given, spec), now)
        try:
            check_name(kind, name)
        except ConfigError as error:
            problems += [spec.problem((*spec.done_at, kind), problem.message.partition(": ")[2]) for problem in error.problems]
            continue
        path = names.beside(names.marked(name) if names.mark else name)
        same = next((what for other, what in taken.items() if os.path.normpath(other) == os.path.normpath(path)), "")
        if same:
            problems.append(spec.problem((*spec.done_at, kind), f"{path} is the name of {same}; take another one"))
        taken[path] = f"the {kind.replace('_', ' ')}"
        found.append((kind, path))
    return tuple(found), problems
