"""Standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, cast

from exporters_beam.files import Measured
from exporters_beam.records import DeliveredFile, PlannedFile
from exporters_beam.writers.options import WriterOptions


@dataclass(frozen=True, kw_only=True)
class ConsoleWriter(WriterOptions):
    """Print the export on standard output: exactly the text a file would hold, uncompressed, in input order.

    Groups, compression and the sizes of files do not apply. It is printed at the end, when every record went through.

    Example:
        writer: {name: console}
    """

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        sys.stdout.flush()
        out = Measured(sys.stdout.buffer)
        fill(cast(BinaryIO, out))
        sys.stdout.buffer.flush()
        return DeliveredFile(file.name, file.group, file.records, out.size, out.md5())
