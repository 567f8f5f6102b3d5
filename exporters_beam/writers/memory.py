"""Files held in this process: a real writer, made for tests."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from exporters_beam.files import Measured
from exporters_beam.records import DeliveredFile, PlannedFile
from exporters_beam.writers.options import FileWriterOptions


@dataclass(frozen=True, kw_only=True)
class MemoryWriter(FileWriterOptions):
    """Keep delivered files in the memory of this process: `MemoryWriter.files` maps names to bytes.

    For tests and for library use on the local runner with one worker.

    Example:
        writer:
          name: memory
          options: {filebase: part-}
    """

    files: ClassVar[dict[str, bytes]] = {}

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        out = io.BytesIO()
        fill(out)
        MemoryWriter.files[file.name] = out.getvalue()
        measured = Measured(None)
        measured.write(out.getvalue())
        return DeliveredFile(file.name, file.group, file.records, measured.size, measured.md5())
