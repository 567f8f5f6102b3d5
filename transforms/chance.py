"""Chance and the clock in expressions: the same draw for the same record of the same input, whoever evaluates it, and when."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from exporters_beam.components.traits import Draw
from exporters_beam.errors import RecordError
from exporters_beam.records import Batch, Position

LARGEST = 1e100
"""What the parameters of distributions may be: with larger ones, and with NaN, Python draws for ever."""


class Draws(random.Random):
    """Random numbers, without the arguments for which Python draws for ever and without an address in their text."""

    def __repr__(self) -> str:
        raise RecordError("a source of random numbers has no text that is the same in every run")

    def __reduce__(self) -> NoReturn:
        raise RecordError("a record cannot hold a source of random numbers")

    def gammavariate(self, alpha: float, beta: float) -> float:
        return super().gammavariate(_finite(alpha), _finite(beta))

    def vonmisesvariate(self, mu: float, kappa: float) -> float:
        return super().vonmisesvariate(_finite(mu), _finite(kappa))


def _finite(value: float) -> float:
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise RecordError(f"a distribution with the parameter {value!r} has no random numbers")
    return value


class Chance:
    """What an expression draws from. A draw depends on the expression, on how many equal ones the export has before it, and on
    the record's position in the input, or, where that is not known, on the record; not on what was evaluated before."""

    def __init__(self, expression: str) -> None:
        self.expression, self.stream = expression, 0
        self.position: tuple[int, int, int] | None = None
        self._seed = ""
        self._draws: Draws | None = None

    def begin(self, item: object) -> None:
        """Before each evaluation."""
        self._draws = None
        place = self.position if self.position is not None else item
        self._seed = f"{self.expression}|{place!r}" + (f"|{self.stream}" if self.stream else "")

    def draws(self) -> Draws:
        if self._draws is None:
            digest = hashlib.blake2b(self._seed.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            self._draws = Draws(int.from_bytes(digest, "big"))
        return self._draws

    def source(self, *seed: Any) -> Draws:
        """`random.Random`: without a seed it begins with a draw of this record's."""
        if not seed or seed[0] is None:
            return Draws(self.draws().getrandbits(64))
        if not isinstance(seed[0], (int, float, str, bytes)):
            raise RecordError("the seed of random.Random has to be a number or a text")
        return Draws(*seed)


def apart(chances: Sequence[Draw], before: Iterable[str] = ()) -> None:
    """Have each draw numbers of its own, also of those with the same expression: `before` are expressions of earlier steps."""
    seen = Counter(before)
    for chance in chances:
        chance.stream = seen[chance.expression]
        seen[chance.expression] += 1


def put(chances: Iterable[Draw], position: Position) -> None:
    """Tell them the position of the record that is next."""
    unit, number, n = position
    for chance in chances:
        chance.position = unit.index, number, n


def placed(chances: Iterable[Draw], batch: Batch) -> Iterator[Any]:
    """The records of a batch; before each these are told where it stands."""
    unit, number = batch.unit.index, batch.range
    for n, record in zip(batch.numbers, batch.records, strict=True):
        for chance in chances:
            chance.position = unit, number, n
        yield record
