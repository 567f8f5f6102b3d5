"""`encrypt`: files on their way to their recipients, each encrypted once, however often it is sent."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, cast

from exporters_beam.components.pgp import Recipients, encrypt_file, fingerprint_of
from exporters_beam.components.protocols import Writer
from exporters_beam.files import Measured, destination
from exporters_beam.records import DeliveredFile, Plain, PlannedFile
from exporters_beam.staging.run import Run

if TYPE_CHECKING:
    from pysequoia import Cert


@dataclass(frozen=True)
class Sealed:
    """A writer whose files are encrypted to recipients.

    Encrypting the same bytes twice gives other bytes. So what was encrypted is staged under a name that follows from the name
    of the file, its bytes and the keys, and is what every later attempt and every run with `--resume` delivers.
    """

    writer: Writer
    recipients: Recipients
    run: Run

    @cached_property
    def keys(self) -> list[Cert]:
        """The keys of the recipients. Raises ConfigError."""
        return self.recipients.certificates()

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        """Build the file, encrypt it, and have the writer put that in place. Raises DestinationError."""
        path, plain = self._staged(file.name, fill, scratch)

        def copy(out: BinaryIO) -> None:
            with destination("cannot read the staging folder", path), open(path, "rb") as staged:
                shutil.copyfileobj(staged, out, 1 << 20)

        delivered: DeliveredFile = self.writer.publish(file, copy, scratch)
        return replace(delivered, plain=plain)

    def _staged(self, name: str, fill: Callable[[BinaryIO], None], scratch: str) -> tuple[str, Plain]:
        """The path of the encrypted file, and what is known of it as it was before."""
        half_built = os.path.join(scratch, uuid.uuid4().hex)
        try:
            with destination("cannot build a file in", scratch):
                os.makedirs(scratch, exist_ok=True)
                with open(half_built, "xb", buffering=1 << 20) as out:
                    measured = _Hashed(out)
                    fill(cast(BinaryIO, measured))
            told = f"{name}\n{measured.sha256.hexdigest()}\n{fingerprint_of(self.keys)}"
            path = self.run.staging.encrypted(hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32])
            if not os.path.exists(path):
                self._encrypt(half_built, path)
        finally:
            with suppress(OSError):
                os.remove(half_built)
        return path, Plain(measured.size, measured.md5())

    def _encrypt(self, source: str, path: str) -> None:
        """Encrypt a file to `path`, where it is whole or not there; of two who do so at once, the first is right."""
        part = f"{path}-{uuid.uuid4().hex}.part"
        with destination("cannot write to the staging folder", path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                encrypt_file(source, part, self.keys)
                with open(part, "rb") as written:
                    os.fsync(written.fileno())
                try:
                    os.link(part, path)
                except FileExistsError:
                    pass
                except OSError:  # A file system without hard links.
                    os.replace(part, path)
            finally:
                with suppress(OSError):
                    os.remove(part)


def sealed(writer: Writer, recipients: Recipients | None, run: Run) -> Writer | Sealed:
    """The writer, whose files are encrypted where there are recipients. Raises ConfigError where their keys cannot be had."""
    if recipients is None:
        return writer
    found = Sealed(writer, recipients, run)
    _ = found.keys
    return found


class _Hashed(Measured):
    """Counts and hashes what is written through it, also so that nobody can make two files of one hash."""

    def __init__(self, out: BinaryIO | None) -> None:
        super().__init__(out)
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return super().write(data)
