"""What does not go together with `table`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from exporters_beam.components.traits import GrouperTraits, WriterTraits, delivers_files
from exporters_beam.config.table import IcebergTable
from exporters_beam.errors import Problem

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec

STORAGES = ("s3",)
"""Writers to storages whose objects tables may have."""


def misfits(spec: ExportSpec) -> Iterator[Problem]:
    """What does not go together with a table that gets the files."""
    table = spec.table
    if table is None:
        return
    writer = spec.writer.component
    if not delivers_files(writer) or spec.formatter is None or spec.formatter.entry.name != "parquet":
        yield spec.problem(spec.table_at, "tables are made of Parquet files, and this writer delivers none; give it the "
                           "formatter parquet, or leave this section out")  # fmt: skip
        return
    if not WriterTraits.of(writer).to_folders and spec.writer.entry.name not in STORAGES:
        yield spec.problem(spec.table_at, f"files that the writer {spec.writer.entry.name} delivers cannot be in a table; "
                           "deliver to a folder or to s3")  # fmt: skip
    for name, at in (("bundle", spec.bundle_at), ("encrypt", spec.encrypt_at)):
        if (spec.bundle if name == "bundle" else spec.encrypt) is not None:
            yield spec.problem(at, "a table has files as they are; leave this section out, or `table`")
    removed = GrouperTraits.of(spec.grouper.component if spec.grouper else None).removed
    if removed and isinstance(table, IcebergTable) and spec.grouper is not None:
        yield spec.problem(spec.grouper.path, f"{', '.join(sorted(removed))} would not stand in the files, where Iceberg looks "
                           "for it; add columns: keep")  # fmt: skip
