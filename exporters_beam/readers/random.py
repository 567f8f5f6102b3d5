"""Synthetic records, for trying things out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from exporters_beam.components.options import option
from exporters_beam.records import Record, Unit

RANGE_RECORDS = 10_000

_COUNTRIES = ("es", "uk", "us")
_STATES = ("valéncia", "madrid", "barcelona")
_CITIES = (("alicante", "dist1"), ("alicante", "dist2"), ("alicante", "dist3"), ("lléida", "dist1"),
           ("somecity", "dist1"))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RandomReader:
    """Make up records with the fields key, country_code, state, city and value.

    `key` counts from 0; the others are drawn at random: with `seed` the same ones each time, without it others in
    each run, but those of the run before with `--resume`.

    Example:
        reader:
          name: random
          options: {number_of_items: 1000}
    """

    kind: ClassVar[str] = "reader"

    number_of_items: int = option("records to make", type="int", default=1000, minimum=0)
    batch_size: int = option("accepted for old configs; it changes nothing", type="int", default=100)
    seed: int | None = option("the same seed gives the same records", type="int", default=None)
    _drawn: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        drawn = random.SystemRandom().getrandbits(64) if self.seed is None else self.seed
        object.__setattr__(self, "_drawn", drawn)

    def as_drawn(self, etag: str) -> RandomReader:
        """This reader with what it has drawn in an earlier run, whose unit had this etag."""
        drawn = etag.rpartition("-")[2]
        if self.seed is not None or not drawn.isdecimal():
            return self
        reader = replace(self)
        object.__setattr__(reader, "_drawn", int(drawn))
        return reader

    def units(self) -> Iterator[Unit]:
        yield Unit(0, "random", -1, f"{self.number_of_items}-{self._drawn}")

    def ranges(self, unit: Unit) -> int:
        return max(1, -(-self.number_of_items // RANGE_RECORDS))

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        for number in range(start, self.ranges(unit)):
            first = number * RANGE_RECORDS
            rng = random.Random(f"{self._drawn}-{number}")
            for at in range(first, min(first + RANGE_RECORDS, self.number_of_items), 1000):
                last = min(at + 1000, first + RANGE_RECORDS, self.number_of_items)
                yield number, [_record(rng, key) for key in range(at, last)]


def _record(rng: random.Random, key: int) -> Record:
    name, district = rng.choice(_CITIES)
    return {
        "key": key,
        "country_code": rng.choice(_COUNTRIES),
        "state": rng.choice(_STATES),
        "city": {"name": name, "district": district},
        "value": rng.randint(0, 10000),
    }
