"""Delivered files become part of a table when the export is complete, and what a table has is not replaced."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape, glob
from typing import Any

from exporters_beam.components.options import options_of
from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import WriterTraits
from exporters_beam.config.export import ExportSpec
from exporters_beam.config.table import DeltaTable, IcebergTable
from exporters_beam.errors import ConfigError, DestinationError, ExportError, shown
from exporters_beam.files import destination
from exporters_beam.planning.place import place_of
from exporters_beam.planning.plan import Plan, make
from exporters_beam.planning.table_files import folder_of, folders_in, replaces, stands_in
from exporters_beam.records import Json
from exporters_beam.runners.resume import read_manifest
from exporters_beam.staging.books import ABOUT, MANIFEST, Books, all_books
from exporters_beam.staging.listing import some
from exporters_beam.systems.tables import Delivery, File, Table


def table_of(plan: Plan) -> Table:
    """The table that the section `table` names. It is reached when it is asked."""
    assert plan.spec.table is not None
    if isinstance(plan.spec.table, IcebergTable):
        from exporters_beam.systems.iceberg import KEYS, Iceberg

        return Iceberg(plan.spec.table, _keys_of(plan.spec, KEYS))
    from exporters_beam.systems import delta_lake

    return delta_lake.Delta(plan.spec.table, folder_of(plan), folders_in(plan), _keys_of(plan.spec, delta_lake.KEYS))


def refuse_replacing(plan: Plan) -> None:
    """Raises ConfigError, before anything is read, where the export would replace files that the table has: what reads the
    table would find others in their place, or nothing. Raises DestinationError where the table cannot be reached."""
    if plan.spec.table is None:
        return
    table, link = table_of(plan), plan.spec.link
    if isinstance(plan.spec.table, DeltaTable) and not stands_in(plan, folder_of(plan)):
        raise ConfigError(plan.spec.problem((*plan.spec.table_at, "delta", "path"), "files would not stand in this folder, and "
                          "a Delta table has those in its own; give one above them"))  # fmt: skip
    table.look()
    added = table.added(_key(plan))
    if added is not None and (link is None or added.number >= link.number):
        what = f"batch {link.number:,} of this chain is" if link is not None else "the files of this export are"
        raise ConfigError(plan.spec.problem(plan.spec.table_at, f"{what} in {plan.spec.table.called} already, and a run would "
                          f"replace them there; {_ADVICE}"))  # fmt: skip
    if added is None:
        same = replaces(plan)
        found = next((name for name in table.files() if same(name)), None)
        if found is not None:
            raise ConfigError(plan.spec.problem(plan.spec.table_at, f"{plan.spec.table.called} has the file {shown(found)} of "
                              f"another export, which a run might replace; {_ADVICE}"))  # fmt: skip


_ADVICE = "give names that are others in each run, as with %Y-%m-%dT%H%M%S, or with new_only {batch}"


@contextmanager
def expected(plan: Plan, books: Books) -> Iterator[None]:
    """Leave word beside the books that the files of an export are to be added, until they are: the next run may have other
    dates in its names, and would not look at this one. Raises DestinationError."""
    path = _word_of(plan, plan.export_id) if plan.spec.link is None and not plan.replays else ""
    if path:
        with destination("cannot write", path), open(path, "w", encoding="utf-8") as out:
            json.dump({"export": plan.export_id, "books": books.folder}, out)
    try:
        yield
    finally:
        if path and not os.path.exists(books.manifest):
            _forget(path)


def register_left(plan: Plan) -> None:
    """Add the files of runs before this one that came to their manifest and not to the table. Raises DestinationError."""
    folder, name = os.path.split(_word_of(plan, "*"))
    for path in sorted(glob(os.path.join(escape(folder), name))) if name and plan.spec.link is None else ():
        with destination("cannot read", path), open(path, encoding="utf-8") as file:
            left = json.load(file)
        manifest = os.path.join(left["books"], MANIFEST)
        if left["export"] == plan.export_id or os.path.exists(os.path.join(left["books"], ABOUT)):
            continue
        if not os.path.exists(manifest):
            _forget(path)
            continue
        told = read_manifest(manifest)
        why = register(plan, told, left["export"])
        if why:
            names = some([str(file["name"]) for file in told["files"]])
            raise DestinationError(f"{names} of a run before: {why}; nothing else is delivered before they are")


def _word_of(plan: Plan, export: str) -> str:
    """The file that says so of an export, of any with `*`; "" where books go with the run."""
    place = place_of(plan) if plan.spec.table is not None else None
    return os.path.join(all_books(place), f"table-{plan.family}-{export}.json") if place else ""


def _forget(path: str) -> None:
    with destination("cannot remove", path), suppress(FileNotFoundError):
        os.remove(path)


def register(plan: Plan, manifest: Mapping[str, Any], export: str = "") -> str:
    """Add the delivered files to the table, unless they have been: those of this export, or of another one of the same config.
    Gives why that failed; "" where it did not."""
    if plan.spec.table is None:
        return ""
    passed = int(plan.names is not None and plan.names.windows)  # A window is no column.
    files = tuple(
        File(_absolute(plan, file["name"]), file["bytes"], file.get("records"), file.get("md5"),
             tuple(file.get("group", ()))[passed:])
        for file in manifest["files"]
        if file.get("records") != 0
    )  # fmt: skip
    link, export = plan.spec.link, export or plan.export_id
    word = _word_of(plan, export)
    if not files:
        _forget(word)
        return ""
    try:
        added = table_of(plan).add(Delivery(plan.chain if link else export, link.number if link else 0, export, files))
    except ExportError as error:
        return f"the files are delivered, and are not in the table: {error}"
    _forget(word)
    if added:
        count = f"{len(files):,} files are" if len(files) > 1 else "1 file is"
        logging.getLogger(plan.spec.settings.logger_name).info("%s in %s now", count, plan.spec.table.called)
    return ""


def register_batch(spec: ExportSpec, manifest: Json) -> None:
    """The same for a batch whose run did not come to that. Raises DestinationError."""
    if spec.table is not None and manifest["files"]:
        why = register(make(spec), manifest)
        if why:
            raise DestinationError(f"batch {spec.link.number:,}: {why}" if spec.link else why)


def refuse_registering(spec: ExportSpec) -> None:
    """Raises ConfigError where nobody waits for the end of the export, and so nobody would add its files to a table."""
    if spec.table is not None:
        raise ConfigError(spec.problem(spec.table_at, "files are added to a table by the process that waits for the end of the "
                          "export; run it with `exporters-beam run`"))  # fmt: skip


def _key(plan: Plan) -> str:
    return plan.chain if plan.spec.link is not None else plan.export_id


def _absolute(plan: Plan, name: str) -> str:
    return os.path.abspath(name) if WriterTraits.of(plan.writer).to_folders else name


def _keys_of(spec: ExportSpec, known: Mapping[str, str]) -> dict[str, str]:
    """What is needed to reach the objects that the writer has delivered, where it is s3."""
    if spec.writer.entry.name != "s3":
        return {}
    writer = reveal(spec.writer.component)
    values = {option.name: option.value(writer) for option in options_of(type(writer))}
    return {key: str(values[name]) for name, key in known.items() if values.get(name)}
