"""One run of an export: where it stages, what it goes on with, and how far it has come."""

from __future__ import annotations

import json
import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from exporters_beam.errors import DestinationError
from exporters_beam.records import DeliveredFile
from exporters_beam.staging.books import MANIFEST
from exporters_beam.staging.deltas import Against
from exporters_beam.staging.segments import Resumed, Staging


@dataclass(frozen=True)
class Run:
    """One run of an export: where it stages, where it keeps its books, and what it tells about itself.

    `scratch` holds half-built files, `books` the manifest; both stand at the destination where that is a folder.
    Where workers are elsewhere, `pieces` is of how many ranges large units are cut into, `folder` the one that relative
    paths of the config begin in, and `sees` a unit that the launcher has seen. `again` says that the runner begins again by
    itself: what this run has staged by then is taken in, all but the segments that were `left` by another. Where the launcher
    waits for the end, it `sweeps` what was staged: a runner may publish once more after the manifest was written. It is
    `tolerant` where other writers of the export are delivered to though this one cannot be. `history` is the file in which runs
    of the same config tell how many records they had, and `began` the time by which this one is known there. What it reads
    may be `decided`: the list of it stands in the books. Deltas are `against` a delivery before.
    """

    export_id: str
    staging: Staging
    scratch: str
    books: str
    about: tuple[tuple[str, Any], ...] = ()
    bundle_seconds: float | None = None
    progress: bool = False
    resumed: Resumed = field(default_factory=Resumed)
    pieces: int = 0
    folder: str = ""
    sees: str = ""
    again: bool = False
    left: frozenset[str] = frozenset()
    sweeps: bool = True
    tolerant: bool = False
    history: str = ""
    began: str = ""
    decided: bool = False
    against: Against | None = None

    @property
    def manifest(self) -> str:
        return os.path.join(self.books, MANIFEST)


def enter(folder: str) -> None:
    """On a worker: go to the folder in which the export was started, where one is given. Raises DestinationError."""
    if folder and os.getcwd() != folder:
        try:
            os.chdir(folder)
        except OSError as error:
            raise DestinationError(
                f"the config has relative paths, and a worker cannot enter {folder}, where the export was started "
                f"({error.strerror}); give absolute paths"
            ) from error


class Progress:
    """Tells the launcher, about once a second, how far this worker has come, where somebody is watching."""

    def __init__(self, run: Run) -> None:
        self._run, self._who = run, uuid.uuid4().hex
        self._numbers: dict[str, int] = {}
        self._told = 0.0
        self._notes: BinaryIO | None = None

    def delivered(self, file: DeliveredFile) -> None:
        """A file with records stands at the destination. The caller ends with `close`."""
        self.note(file)
        self.add(files=1, bytes=file.size)

    def note(self, file: DeliveredFile) -> None:
        """Leave word of a file, so that what a replay that is killed has delivered is removed. The caller ends with `close`."""
        self._notes = self._notes or self._run.staging.notes(self._who)
        if self._notes is not None:
            with suppress(OSError):
                self._notes.write(json.dumps(file.as_dict()).encode() + b"\n")

    def close(self) -> None:
        notes, self._notes = self._notes, None
        if notes is not None:
            notes.close()

    def add(self, **numbers: int) -> None:
        if not self._run.progress:
            return
        for name, n in numbers.items():
            self._numbers[name] = self._numbers.get(name, 0) + n
        if time.monotonic() - self._told >= 1:
            self._told = time.monotonic()
            self._run.staging.note_progress(self._who, self._numbers)
