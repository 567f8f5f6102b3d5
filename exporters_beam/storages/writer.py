"""What the writers of storages share: a file is built on this machine, then put in place whole, and checked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, cast

from exporters_beam.components.names import FileNames
from exporters_beam.errors import DestinationError
from exporters_beam.files import Measured, destination
from exporters_beam.records import DeliveredFile, PlannedFile
from exporters_beam.storages.base import ATTEMPTS, Connected, Content, NotThere, StorageError
from exporters_beam.writers.options import FileWriterOptions


@dataclass(frozen=True, kw_only=True)
class RemoteWriter(Connected, FileWriterOptions):
    """Options of every writer to a storage."""

    remote: ClassVar[bool] = True
    takes_copies: ClassVar[bool | str] = False
    """Whether objects of other storages may be copied there as they are: those of the old system are. A name: only those
    that the reader of this name finds."""

    without_case: ClassVar[str] = ""
    """The service, where it does not tell capital letters from small ones."""

    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    def key(self, name: str) -> str:
        """A planned name as the storage has it."""
        while name.startswith(("/", "./")):
            name = name.removeprefix("/").removeprefix("./")
        return name

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        """What is attached to the object."""
        return {}

    def listed_as(self, url: str) -> str:
        """What the checksum file calls a delivered file."""
        return url

    def probe(self) -> None:
        """Look before the work whether files can be delivered. Raises DestinationError."""
        with destination("cannot deliver to", self.storage.url("")):
            self.storage.probe()

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        name = self.key(file.name)
        half_built = os.path.join(scratch, uuid.uuid4().hex)
        with destination("cannot build a file in", scratch):
            os.makedirs(scratch, exist_ok=True)
            out = open(half_built, "x+b", buffering=1 << 20)
        try:
            with out:
                measured = Measured(out)
                with destination("cannot build a file in", scratch):
                    fill(cast(BinaryIO, measured))
                    out.flush()
                md5 = measured.md5()
                token = hashlib.md5(scratch.encode(), usedforsecurity=False).hexdigest()[:8]
                content = Content(measured.size, md5, self.metadata(file, md5), token)
                with destination("cannot deliver", self.storage.url(name)):
                    self.storage.put(name, out, content)
        finally:
            with suppress(OSError):
                os.remove(half_built)
        return DeliveredFile(self.storage.url(name), file.group, file.records, measured.size, md5)

    def check(self, file: DeliveredFile) -> None:
        """`check_consistency`: the file is there, has its size and, where the storage tells it, its MD5."""
        try:
            found = self.storage.stat(self.storage.name(file.name) or "")
        except StorageError as error:
            raise DestinationError(f"check_consistency: {file.name}: {error}") from error
        if found.size != file.size:
            raise DestinationError(f"check_consistency: {file.name} has {found.size} bytes; {file.size} were delivered")
        if found.md5 and found.md5 != file.md5:
            raise DestinationError(f"check_consistency: {file.name} has the MD5 {found.md5}; {file.md5} was delivered")
        total = found.metadata.get("total")
        if total is not None and total != str(file.records):
            raise DestinationError(f"check_consistency: {file.name} has {total} records in its metadata; "
                                   f"{file.records} were delivered")  # fmt: skip

    def left(self, file: Mapping[str, Any]) -> str:
        """Whether a file of a run before is there `as delivered`, or `changed`; "" where it is gone. Raises DestinationError.

        Where the storage does not know the MD5 of what it has, that is read.
        """
        with destination("cannot look at", file["name"]):
            try:
                found = self.storage.stat(self.storage.name(file["name"]) or "")
            except NotThere:
                return ""
            if found.size != file["bytes"]:
                return "changed"
            md5 = found.md5
            if not md5:
                measured = Measured(None)
                with self.storage.open(found) as content:
                    while data := content.read(1 << 20):
                        measured.write(data)
                md5 = measured.md5()
        return "as delivered" if md5 == file["md5"] else "changed"

    def remove(self, name: str) -> None:
        """Remove a delivered file. Raises DestinationError."""
        with destination("cannot remove", name):
            self.storage.delete(self.storage.name(name) or "")

    def former(self, names: FileNames, export_id: str) -> bytes:
        """The manifest that a run before has put beside what it delivered; nothing where there is none."""
        try:
            with self.storage.open(self.storage.stat(self.key(self._manifest(names, export_id)))) as file:
                return file.read()
        except NotThere:
            return b""

    def delivered_letters(self, names: FileNames, origin: str) -> list[str]:
        """What the dead letters are known by that replays, on whatever machine, have delivered. Raises DestinationError."""
        name = self.key(self._manifest(names, f"replays-{origin}").replace("manifest.json", "letters.json"))
        with destination("cannot read", self.storage.url(name)):
            try:
                with self.storage.open(self.storage.stat(name)) as file:
                    return [str(known) for known in json.loads(file.read())]
            except NotThere:
                return []
            except ValueError as error:
                raise DestinationError(f"{self.storage.url(name)}: this is not a list of letters: {error}") from None

    def note_letters(self, letters: list[str], names: FileNames, origin: str) -> None:
        """Add to those that were delivered."""
        known = sorted({*self.delivered_letters(names, origin), *letters})
        name = self._manifest(names, f"replays-{origin}").replace("manifest.json", "letters.json")
        self.put(name, json.dumps(known).encode())

    def _manifest(self, names: FileNames, export_id: str) -> str:
        root = "" if names.root == "." else f"{names.root.rstrip('/')}/"
        return f"{root}.exporters/{export_id}/manifest.json"

    def finish(self, manifest: bytes, names: FileNames, export_id: str) -> None:
        """Put the manifest beside what was delivered: the last thing, which says that all is there."""
        seen: dict[str, str] = {}
        for file in json.loads(manifest)["files"] if self.without_case else ():
            other = seen.setdefault(file["name"].lower(), file["name"])
            if other != file["name"]:
                raise DestinationError(
                    f"option filebase: {other} and {file['name']} are one file there, and only one of them was kept: "
                    f"{self.without_case} does not tell capital letters from small ones"
                )
        self.put(self._manifest(names, export_id), manifest)

    def put(self, name: str, data: bytes) -> None:
        """Put a small file in place."""
        name = self.key(name)
        content = Content(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), token="small")
        with destination("cannot deliver", self.storage.url(name)):
            self.storage.put(name, io.BytesIO(data), content)


@dataclass(frozen=True, kw_only=True)
class FolderWriter(RemoteWriter):
    """Options of every writer to a server whose names are paths."""

    def key(self, name: str) -> str:
        return name.removeprefix("./")

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
