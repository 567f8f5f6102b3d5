"""Dead letters on their way to their file: how many there may be, and who writes them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from exporters_beam.errors import ExportError
from exporters_beam.files import destination, sync_folder
from exporters_beam.records import DeliveredFile, Json, Position, Unit
from exporters_beam.staging.letters import NAME


@dataclass(frozen=True)
class Letters:
    """Where an export's dead letters go and what each of them tells. `place` gives a position's file and record number."""

    path: str
    export_id: str
    reader: str
    config: str
    sections: tuple[tuple[str, str, str], ...]
    place: Callable[[Position], tuple[str, int]] = field(repr=False, compare=False)
    known_by: Callable[[Position, str, int], str] | None = field(default=None, repr=False, compare=False)

    def letters(self, lines: Iterable[bytes]) -> Iterator[Json]:
        """Staged failures as letters."""
        known = {name: (component, path) for name, component, path in self.sections}
        before: tuple[Any, ...] = ()
        parts: dict[str, int] = {}
        for line in lines:
            told = json.loads(line)
            unit, number, n = told.pop("at")
            position = (Unit(*unit), number, n)
            file, at = self.place(position)
            if before != position:
                before, parts = position, {}
            part = parts[told["step"]] = parts.get(told["step"], -1) + 1
            own = self.known_by(position, told["step"], part) if self.known_by else ""
            component, path = known.get(told["step"], ("", told["step"]))
            yield {
                "export": self.export_id,
                "reader": self.reader,
                "config": self.config,
                "path": path,
                "step": told.pop("step"),
                "component": component,
                "file": file,
                "number": at,
                **({"part": part} if part else {}),
                **({"letter": own} if own else {}),
                **told,
            }

    def write(self, lines: Iterable[bytes]) -> DeliveredFile:
        """Put the letters in place, whole; doing it twice gives the same file. Raises DestinationError."""
        digest, size, records = hashlib.md5(usedforsecurity=False), 0, 0
        folder = os.path.dirname(self.path) or "."
        half_built = os.path.join(folder, f".{os.path.basename(self.path)}.part")
        with destination("cannot write the dead letters", self.path):
            os.makedirs(folder, exist_ok=True)
            try:
                with open(half_built, "wb", buffering=1 << 20) as out:
                    for letter in self.letters(lines):
                        data = json.dumps(letter, ensure_ascii=True).encode() + b"\n"
                        out.write(data)
                        digest.update(data)
                        size, records = size + len(data), records + 1
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(half_built, self.path)
            finally:
                if os.path.exists(half_built):
                    os.remove(half_built)
            sync_folder(folder)
        return DeliveredFile(NAME, (), records, size, digest.hexdigest())

    def first(self, lines: Iterable[bytes]) -> str:
        """The first of these as the end of a sentence, for the message of an export that gives up."""
        for letter in self.letters(lines):
            return f"; for example {letter['file']}: record {letter['number']}: {letter['step']}: {letter['message']}"
        return ""


class TooManyFailed(ExportError):
    """More records failed than the budget of `on_error` allows; nothing is delivered."""
