"""`bundle`: all files of an export in one archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import BinaryIO, cast

from exporters_beam.components.protocols import Writer
from exporters_beam.engine.delivery import Delivery
from exporters_beam.engine.done import plain_path, relative
from exporters_beam.engine.encrypting import Sealed
from exporters_beam.files import Measured
from exporters_beam.records import DeliveredFile, PlannedFile
from exporters_beam.staging.run import Run

SMALL = 1 << 28
"""Members of so many staged bytes stay below 4 GiB. Sizes from there on need 8 bytes, which not every program reads."""


def publish_bundle(
    delivery: Delivery,
    writer: Writer | Sealed,
    run: Run,
    planned: Sequence[PlannedFile],
    fill: Callable[[PlannedFile, BinaryIO], None],
) -> DeliveredFile:
    """Deliver an archive of these files, each of which `fill` writes: in the order of their names, dated 1980-01-01, so that
    the same files are the same bytes. What is compressed already is not compressed again. Raises DestinationError."""
    import zipfile

    files = sorted(planned, key=lambda file: file.name)
    packed = delivery.table or delivery.codec.name != "none"
    members: list[DeliveredFile] = []

    def archive(out: BinaryIO) -> None:
        members.clear()
        # Who reads the archive as a stream finds the end of a member only if it is deflated; level 0 leaves bytes as they are.
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=0 if packed else 6) as zipped:
            for file in files:
                large = sum(max(part.ref.raw, part.ref.length) for part in file.slices) > SMALL
                name = member_name(delivery, file)
                with zipped.open(name, "w", force_zip64=large) as opened:
                    measured = Measured(cast(BinaryIO, opened))
                    fill(file, cast(BinaryIO, measured))
                members.append(DeliveredFile(name, file.group, file.records, measured.size, measured.md5()))

    whole = PlannedFile(delivery.naming.bundle, (), 0, sum(file.records for file in files), ())
    delivered: DeliveredFile = writer.publish(whole, archive, run.scratch)
    return replace(delivered, members=tuple(members))


def member_name(delivery: Delivery, file: PlannedFile) -> str:
    """What a file is called in the archive: its path below the folder of filebase."""
    names = delivery.naming.names
    folder = plain_path(names.base) if names is not None and names.base != "." else ""
    return relative(plain_path(file.name), folder.rstrip("/")).lstrip("/")
