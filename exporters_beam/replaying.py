"""Sends dead letters in again: the same export, with letters in the place of its source.

Each record enters at the step it failed, and goes through the rest of the export as the config describes it now. The
files it ends up in are marked, so that they stand beside those that were delivered before and replace none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from exporters_beam.errors import ConfigError, Problem, SourceError
from exporters_beam.letters import STEPS, read_letter
from exporters_beam.plan import make
from exporters_beam.records import Failure, Unit
from exporters_beam.registry import Entry
from exporters_beam.schema import NO_FILE
from exporters_beam.spec import ExportSpec, Section

BATCH = 1000
"""Letters in a chunk."""


@dataclass(frozen=True, kw_only=True)
class LettersReader:
    """Gives dead letters as failures, which the steps they name take up again.

    `files` are (path, digest of its content), `origin` is the hash of what the letters' export reads, `steps` the steps
    that the config has, `identity` what the replay is known by: the same letters are not sent in twice.
    """

    kind: ClassVar[str] = "reader"
    letters: ClassVar[bool] = True

    files: tuple[tuple[str, str], ...]
    origin: str
    steps: tuple[str, ...]
    identity: tuple[str, ...]

    @property
    def mark(self) -> str:
        """What stands in the names of delivered files."""
        return ".replay-" + hashlib.sha256(repr(self.identity).encode()).hexdigest()[:8]

    def units(self) -> Iterator[Unit]:
        for index, (path, digest) in enumerate(self.files):
            yield Unit(index, path, -1, digest)

    def ranges(self, unit: Unit) -> int:
        return 1

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Any]]]:
        batch: list[Any] = []
        for number, (letter, record) in enumerate(_letters(unit.name)):
            position = (unit, 0, number)
            batch.append(Failure(position, letter["file"], self._step(letter["step"]), letter["message"], record))
            if len(batch) == BATCH:
                yield 0, batch
                batch = []
        if batch:
            yield 0, batch

    def _step(self, step: str) -> str:
        """The step where a letter enters: the first one from its own on that the config has."""
        at = STEPS.index(step)
        return next(name for name in STEPS[at:] if name in self.steps or name == STEPS[0] == step or name == STEPS[-1])

    def place(self, unit: Unit, n: int) -> tuple[str, int]:
        """The file and the number of the record that the letter tells of."""
        for number, (letter, _) in enumerate(_letters(unit.name)):
            if number == n:
                return letter["file"], letter["number"]
        return unit.name, n + 1


def _letters(path: str) -> Iterator[tuple[dict[str, Any], Any]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                letter, record = read_letter(line)
            except (ValueError, RecursionError) as error:
                raise SourceError(f"{path}:{number}: this is no dead letter: {str(error)[:200]}") from None
            if letter["step"] not in STEPS:
                raise SourceError(f"{path}:{number}: {letter['step']!r} is no step; there are {', '.join(STEPS)}")
            yield letter, record


def replayed(spec: ExportSpec, files: Sequence[str]) -> ExportSpec:
    """The export that sends these dead letters through the rest of `spec`.

    Raises ConfigError for files that are not there, hold no dead letters, or those of an export that reads something else.
    """
    origin = make(spec).origin
    found = []
    for path in dict.fromkeys(files):
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
            letters = 0
            for letter, _ in _letters(path):
                letters += 1
                if letter.get("reader") != origin:
                    raise ConfigError(Problem((), _foreign(letter), file=path))
        except OSError as error:
            raise ConfigError(Problem((), f"the dead letters cannot be read: {error.strerror}", file=path)) from None
        except SourceError as error:
            raise ConfigError(str(error)) from None
        if not letters:
            raise ConfigError(Problem((), "there are no dead letters in this file", file=path))
        found.append((path, digest))
    steps = tuple(name for name in STEPS if getattr(spec, name) is not None)
    reader = LettersReader(
        files=tuple(found),
        origin=origin,
        steps=steps,
        identity=("replay", *sorted(digest for _, digest in found)),
    )
    entry = Entry("reader", "dead_letters", f"{__name__}:LettersReader")
    section = Section("reader", "dead_letters", entry, reader, {"input": [path for path, _ in found]}, ("reader",))
    return replace(
        spec,
        reader=section,
        decompressor=None,
        deserializer=None,
        settings=replace(spec.settings, resume=False),
        empty=NO_FILE,  # the export that the letters are of has had its own files
        on_error=replace(spec.on_error, max_records=None, max_rate=None),  # a few letters are no measure of an export
    )


def _foreign(letter: dict[str, Any]) -> str:
    config = f" of {letter['config']}" if letter.get("config") else ""
    return (f"these dead letters are those of another export, {letter['export']}{config}, which reads something else; "
            "replay them with its config")  # fmt: skip
