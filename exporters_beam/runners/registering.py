"""Delivered files become part of a table when the export is complete, and what a table has is not replaced."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from exporters_beam.components.options import options_of
from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import WriterTraits
from exporters_beam.config.export import ExportSpec
from exporters_beam.config.table import DeltaTable, IcebergTable
from exporters_beam.errors import ConfigError, DestinationError, ExportError, shown
from exporters_beam.planning.plan import Plan, make
from exporters_beam.planning.table_files import folder_of, folders_in, replaces, stands_in
from exporters_beam.records import Json
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


def register(plan: Plan, manifest: Mapping[str, Any]) -> str:
    """Add the delivered files to the table, unless they have been. Gives why that failed; "" where it did not."""
    if plan.spec.table is None:
        return ""
    files = tuple(
        File(_absolute(plan, file["name"]), file["bytes"], file.get("records"), file.get("md5"), tuple(file.get("group", ())))
        for file in manifest["files"]
        if file.get("records") != 0
    )
    if not files:
        return ""
    link = plan.spec.link
    try:
        added = table_of(plan).add(Delivery(_key(plan), link.number if link is not None else 0, plan.export_id, files))
    except ExportError as error:
        return f"the files are delivered, and are not in the table: {error}"
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
