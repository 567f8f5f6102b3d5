"""What follows where each run of an export reads only what is new: names with the number of the batch in them, and what
does not go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from exporters_beam.components.names import BATCH, in_batch
from exporters_beam.components.traits import ReaderTraits, delivers_files
from exporters_beam.config.new_only import KEEP, After
from exporters_beam.config.sections import AFTER, FOLLOW, NEW_ONLY
from exporters_beam.errors import Problem

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec


def numbered(name: str, spec: ExportSpec) -> str:
    """A name with the number of the batch in it; that of the first batch where it is not known yet. Raises ConfigError for a
    format that numbers do not have."""
    if spec.new_only is None:
        return name
    return in_batch(name, spec.link.number if spec.link is not None else 1)


def misfits(spec: ExportSpec) -> Iterator[Problem]:
    """What does not go together with runs that each read what is new, and names that need them."""
    names = list(names_of(spec))
    if spec.new_only is None:
        for path, name in names:
            if BATCH.search(name):
                yield spec.problem(path, "{batch} is the number of a run that reads only what is new; add `new_only: true`, or "
                                   "leave it out")  # fmt: skip
        return
    told = ReaderTraits.of(spec.reader.component)
    if told.letters:
        return
    if told.kept_in is not None:
        yield spec.problem((NEW_ONLY,), f"{spec.reader.entry.name} gives everything once anyway; leave this section out")
    elif told.since is None and not told.streams:
        yield spec.problem((NEW_ONLY,), f"the reader {spec.reader.entry.name} cannot tell what is new; leave this section out")
    elif told.cannot_tell:
        yield spec.problem((NEW_ONLY,), f"{spec.reader.entry.name} cannot tell what is new: {told.cannot_tell}")
    if spec.follow is not None and spec.follow.max_records is not None and told.upto is None:
        yield spec.problem((FOLLOW, "max_records"), f"how many records {spec.reader.entry.name} has is not known before "
                                                    f"they are "
                           "read; give max_bytes")  # fmt: skip
    if spec.follow is not None and spec.follow.max_bytes is not None and told.since is not None:
        yield spec.problem((FOLLOW, "max_bytes"), f"how many bytes {spec.reader.entry.name} has is not known; give max_records")
    if spec.after != KEEP and (told.archive if isinstance(spec.after, After) else told.delete) is None:
        yield spec.problem((AFTER,), f"what {spec.reader.entry.name} reads cannot be put away; leave this section out")
    if spec.writer.component.items_limit:
        yield spec.problem((*spec.writer.path, "options", "items_limit"), "what lies behind the limit would count as read, and "
                           "never be delivered; leave it out")  # fmt: skip
    for path, name in names:
        if not BATCH.search(name):
            yield spec.problem(path, "each batch would replace what the one before has delivered; put {batch} into the name, "
                               "as in items-{batch:06d}-")  # fmt: skip


def names_of(spec: ExportSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Names of what is delivered, and where they stand. A success file says the same whatever the batch."""
    writer = spec.writer.component
    if delivers_files(writer):
        yield (*spec.writer.path, "options", "filebase"), writer.filebase
        if writer.generate_md5:
            yield (*spec.writer.path, "options", "generate_md5"), writer.filebase[: writer.filebase.rfind("/") + 1]
    if spec.on_error.file:
        yield ("on_error", "file"), spec.on_error.file
    if spec.done is not None and spec.done.manifest:
        yield (*spec.done_at, "manifest"), spec.done.manifest
    if spec.bundle is not None:
        yield (*spec.bundle_at, "name"), spec.bundle.name
