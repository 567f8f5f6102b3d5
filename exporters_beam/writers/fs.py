"""Files of this machine or of a shared mount."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, cast

from exporters_beam.errors import DestinationError
from exporters_beam.files import Measured, destination, sync_folder
from exporters_beam.records import DeliveredFile, PlannedFile
from exporters_beam.writers.options import FileWriterOptions


@dataclass(frozen=True, kw_only=True)
class FsWriter(FileWriterOptions):
    """Deliver files to a folder of this machine or of a shared mount.

    A file appears whole under its final name, or not at all, and delivering it again changes nothing. Folders are
    made as needed. Existing files of the same name are replaced. Beside the delivered files only the hidden folder
    `.exporters` is kept, with the manifest.

    Example:
        writer:
          name: fs
          options: {filebase: 'out/%Y-%m-%d/{groups[0]}/part-', compression: gz}
    """

    to_folders: ClassVar[bool] = True

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        folder = os.path.dirname(file.name)
        half_built = os.path.join(scratch, uuid.uuid4().hex)
        with destination("cannot deliver", file.name):
            for needed in (scratch, folder or "."):
                if not os.path.isdir(needed):
                    os.makedirs(needed, exist_ok=True)
            with open(half_built, "xb", buffering=1 << 20) as out:
                measured = Measured(out)
                fill(cast(BinaryIO, measured))
                out.flush()
                os.fsync(out.fileno())
            os.replace(half_built, file.name)
            sync_folder(folder or ".")
        return DeliveredFile(file.name, file.group, file.records, measured.size, measured.md5())

    def left(self, file: Mapping[str, Any]) -> str:
        """Whether a file of a run before is there `as delivered`, or `changed`; "" where it is gone."""
        with destination("cannot look at", file["name"]):
            if not os.path.lexists(file["name"]):
                return ""
            found = os.lstat(file["name"])
            if not stat.S_ISREG(found.st_mode) or found.st_size != file["bytes"]:
                return "changed"
            measured = Measured(None)
            with open(file["name"], "rb") as content:
                while data := content.read(1 << 20):
                    measured.write(data)
        return "as delivered" if measured.md5() == file["md5"] else "changed"

    def remove(self, name: str) -> None:
        """Remove a delivered file, and the folders in which there is nothing then. Raises DestinationError."""
        with destination("cannot remove", name):
            os.remove(name)
        with suppress(OSError):
            folder = os.path.dirname(name)
            while folder:
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    def check(self, file: DeliveredFile) -> None:
        """`check_consistency`: the file is there and has its size. Raises DestinationError."""
        try:
            size = os.path.getsize(file.name)
        except OSError as error:
            raise DestinationError(f"check_consistency: {file.name}: {error.strerror}") from error
        if size != file.size:
            raise DestinationError(f"check_consistency: {file.name} has {size} bytes; {file.size} were delivered")
