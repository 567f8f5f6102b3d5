"""The reader of dead letters that are sent in again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import ReaderTraits
from exporters_beam.components.words import shortened
from exporters_beam.errors import SourceError
from exporters_beam.records import Failure, Json, Record, Unit
from exporters_beam.staging.letters import child, identity, read_letter

BATCH = 1000
"""Letters in a chunk."""


class Letter(NamedTuple):
    """What is known of one letter of a file, before it is sent in: its number in the file, what it is known by, a digest of
    all it says."""

    file: str
    number: int
    id: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class LettersReader:
    """Gives dead letters as failures, which the steps they name take up again.

    `files` are (path, digest of its content), `wanted` the numbers of the letters in each that are sent in, `ids` what these
    are known by. `origin` is the hash of what the letters' export reads. `order` is what letters may name, in the order in
    which records pass it, `steps` what of it the config has, `spread` the steps that make several records of one. `identity`
    is what the replay is known by, `read_by` the reader that the letters come from.
    """

    kind: ClassVar[str] = "reader"
    letters: ClassVar[bool] = True

    files: tuple[tuple[str, str], ...]
    wanted: tuple[frozenset[int], ...]
    ids: tuple[str, ...]
    origin: str
    order: tuple[str, ...]
    steps: tuple[str, ...]
    spread: tuple[str, ...]
    identity: tuple[str, ...]
    read_by: Any = None

    @property
    def decode(self) -> Callable[[Any], Record] | None:
        """What makes records of those letters that the reader could not make records of."""
        return None if ReaderTraits.of(self.read_by).decode is None else partial(_decoded, self.read_by)

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
        wanted = self.wanted[unit.index]
        for number, (letter, record) in enumerate(_letters(unit.name, self.order)):
            if number not in wanted:
                continue
            position = (unit, 0, number)
            batch.append(Failure(position, letter["file"], self._step(letter["step"]), letter["message"], record))
            if len(batch) == BATCH:
                yield 0, batch
                batch = []
        if batch:
            yield 0, batch

    def _step(self, step: str) -> str:
        """The step where a letter enters: the first one from its own on that the config has."""
        first, *_, last = self.order
        left = self.order[self.order.index(step) :]
        return next(name for name in left if name in self.steps or name == first == step or name == last)

    def place(self, unit: Unit, n: int) -> tuple[str, int]:
        """The file and the number of the record that the letter tells of."""
        file, number, _, _ = _index(unit.name, unit.etag)[n]
        return file, number

    def known_by(self, unit: Unit, n: int, step: str, part: int) -> str:
        """What the letter is known by that is written when this one fails again, at `step`.

        It is the same letter, but for one of several records that a step has made of it: the others were delivered.
        """
        _, _, began, known = _index(unit.name, unit.etag)[n]
        passed = self.order[self.order.index(began) : self.order.index(step)]
        return known if set(self.spread).isdisjoint(passed) else child(known, step, part)


def _decoded(reader: Any, raw: Any) -> Record:
    decode = ReaderTraits.of(reveal(reader)).decode
    assert decode is not None
    return decode(raw)


@lru_cache(4)
def _index(path: str, digest: str) -> list[tuple[str, int, str, str]]:
    """(file, number, step, what it is known by) of each letter in a file."""
    return [(letter["file"], letter["number"], letter["step"], identity(letter)) for letter, _ in _letters(path)]


def _letters(path: str, steps: tuple[str, ...] | None = None) -> Iterator[tuple[Json, Any]]:
    """Each letter in a file with its record. Raises SourceError for what is not a letter, or names none of these steps."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                letter, record = read_letter(line)
            except (ValueError, RecursionError) as error:
                raise SourceError(f"{path}:{number}: this is not a dead letter: {shortened(str(error), 200)}") from None
            if steps is not None and letter["step"] not in steps:
                raise SourceError(f"{path}:{number}: {letter['step']!r} is not a step; there are {', '.join(steps)}")
            yield letter, record
