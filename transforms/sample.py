"""The filter `sample`: a share of the records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.words import kind_of
from exporters_beam.decimals import text_of
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import Key, Record

_written = json.JSONEncoder(sort_keys=True, default=text_of).encode


class Lot:
    """What a record of a sample by position draws: it knows where the record stands, as `traits.Draw` says."""

    def __init__(self, expression: str) -> None:
        self.expression, self.stream = expression, 0
        self.position: tuple[int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class SampleFilter:
    """Keep a share of the records, `rate`: 0.01 is one in a hundred, as far as chance goes.

    Which ones depends on each record's place in the input, so that every run of the same input keeps the same records, with
    however many workers and on every runner; records that one record became are kept together or not at all. With `by` it
    depends on the values of these fields, paths with dots among them: records that agree in them are kept together, wherever
    they stand; a missing value counts as null. Another `seed` makes another choice, and samples by the same fields and seed
    choose alike: one with a smaller rate keeps a part of what one with a larger rate keeps.

    Example:
        filter_before:
          name: sample
          options: {rate: 0.1, by: [customer.id], seed: 7}
    """

    kind: ClassVar[str] = "filter"

    rate: float = option("the share that is kept, 0 to 1", type="number", minimum=0, example=0.01)
    by: tuple[str, ...] = option("fields that decide, or paths with dots; by default the place in the input does",
                                 type="str_list", default=(), example=["customer.id"])  # fmt: skip
    seed: int = option("another one makes another choice", type="int", default=0)
    _keys: tuple[Key, ...] = field(init=False, repr=False, compare=False, default=())
    _lot: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.rate > 1:
            hint = f"; write {self.rate / 100:g} for {self.rate:g} percent" if self.rate <= 100 else ""
            raise ConfigError(f"rate: {self.rate:g} is too large: it is a share of the records, 0 to 1{hint}")
        object.__setattr__(self, "_keys", tuple(map(Key.of, self.by)))
        object.__setattr__(self, "_lot", None if self.by else Lot(f"sample {self.seed}"))

    @property
    def chances(self) -> tuple[Lot, ...]:
        """What depends on the place of the record: steps tell it."""
        return () if self._lot is None else (self._lot,)

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that decide; None where the place does."""
        return frozenset[str]().union(*(key.reads for key in self._keys)) if self.by else None

    @property
    def steady(self) -> bool:
        """Whether it says the same of equal records."""
        return bool(self.by)

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """What it looks for in records, by what the config calls it."""
        return tuple(zip(self.by, self._keys, strict=True))

    def keep(self, record: Record) -> bool:
        if self._lot is None:
            if not isinstance(record, Mapping):
                raise RecordError(f"the record is not a mapping but {kind_of(record)}; a sample by fields needs some")
            what = _written([key.value(record) for key in self._keys])
        else:
            place = record if self._lot.position is None else self._lot.position
            what = f"{self._lot.expression}|{self._lot.stream}|{place!r}"
        digest = hashlib.blake2b(f"{self.seed}|{what}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.rate * 2**64
