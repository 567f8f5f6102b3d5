"""`checks`: what has to hold of an export before anything of it is delivered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean, in_json
from exporters_beam.errors import ConfigError, Problem
from exporters_beam.records import Key

FAIL, WARN, HOLD = ON_FAIL = ("fail", "warn", "hold")
"""What becomes of an export of which a check does not hold."""

RELEASED = "released"
"""What stands in that place where somebody has looked, and the export is delivered as it is."""

OF_RECORDS = ("min", "max", "compared_with", "change")

MOST_RUNS = 100
"""So many earlier runs are remembered."""


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What has to hold before anything is delivered: the section `checks`.

    `records` bounds how many records there are: `min`, `max`, and how far their number may be (`change: 50%`) from the average
    of earlier runs of the same config (`compared_with: last 10`). `coverage` is the share of records, 0 to 1 or in per cent,
    that have a field whose value is not null and no empty text. `unique` names the fields that together tell records apart.
    """

    records: Mapping[str, Any] | None = option(
        "bounds of the number of records: min, max, compared_with, change",
        type="dict",
        default=None,
        example={"min": 1000, "compared_with": "last 10", "change": "50%"},
    )
    coverage: Mapping[str, Any] | None = option(
        "the share of records that have a field with a value, by field",
        type="dict",
        default=None,
        example={"price": 0.98, "seller.town": "50%"},
    )
    unique: tuple[str, ...] = option(
        "fields that together have other values in every record", type="str_list", default=(), example=["sku"]
    )
    on_fail: str = option("what becomes of the export: it fails, is delivered with a warning, or is held back", default=FAIL,
                          choices=ON_FAIL)  # fmt: skip

    def __post_init__(self) -> None:
        records = self.records or {}
        for name in records:
            if name not in OF_RECORDS:
                raise ConfigError(
                    Problem(("records", str(name)), f"there is no such bound{did_you_mean(str(name), OF_RECORDS)}")
                )
        for name in ("min", "max"):
            value = records.get(name)
            if value is not None and (type(value) is not int or value < 0):
                raise ConfigError(Problem(("records", name), f"{in_json(value, 80)} is not a number of records: 0 or more"))
        if None not in (self.least, self.most) and self.least > self.most:
            raise ConfigError(Problem(("records", "min"), f"{self.least:,} is more than max, {self.most:,}"))
        if ("change" in records) != ("compared_with" in records):
            missing = "compared_with: last 10" if "change" in records else "change: 50%"
            raise ConfigError(Problem(("records",), f"change and compared_with go together; add {missing}"))
        _ = self.runs, self.change, self.shares

    @property
    def least(self) -> Any:
        return (self.records or {}).get("min")

    @property
    def most(self) -> Any:
        return (self.records or {}).get("max")

    @cached_property
    def runs(self) -> int:
        """How many earlier runs are compared with; 0: none."""
        given = (self.records or {}).get("compared_with")
        if given is None:
            return 0
        found = re.fullmatch(r"last ([1-9]\d*)", given) if isinstance(given, str) else None
        if given != "last" and found is None:
            raise ConfigError(Problem(("records", "compared_with"), f'{in_json(given, 80)} is not "last", or "last 10"'))
        return min(int(found[1]), MOST_RUNS) if found else 1

    @cached_property
    def change(self) -> float:
        """The share by which the number of records may be another."""
        given = (self.records or {}).get("change")
        return 0.0 if given is None else share(given, ("records", "change"), most=None)

    @cached_property
    def shares(self) -> tuple[tuple[str, float], ...]:
        """The fields that records have to have, and the share of records that have."""
        return tuple((name, share(value, ("coverage", str(name)))) for name, value in (self.coverage or {}).items())

    @property
    def looks(self) -> bool:
        """Whether records have to be looked at, and not only counted."""
        return bool(self.shares or self.unique)

    @property
    def judges(self) -> bool:
        """Whether anything is asked."""
        return self.on_fail != RELEASED and bool(self.records or self.looks)


@dataclass(frozen=True)
class Looked:
    """What is looked at in records, as a component of the step `checks`, which lets all of them pass."""

    fields: tuple[str, ...]
    unique: tuple[str, ...]

    kind = "checks"
    steady = False

    @cached_property
    def keys(self) -> tuple[tuple[str, Key], ...]:
        return tuple((name, Key.of(name)) for name in self.fields)

    @cached_property
    def parts(self) -> tuple[Key, ...]:
        return tuple(Key.of(name) for name in self.unique)

    @property
    def reads(self) -> frozenset[str]:
        """The top-level fields that are looked at."""
        return frozenset[str]().union(*(key.reads for _, key in self.keys), *(key.reads for key in self.parts))

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """One that no record has is warned of."""
        return (*self.keys, *zip(self.unique, self.parts, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {"fields": self.fields, "unique": self.unique}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def share(given: object, path: tuple[str, ...], most: float | None = 1.0) -> float:
    """A share, given as a number or in per cent. Raises ConfigError."""
    found: float | None = None
    if isinstance(given, str):
        per_cent = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", given)
        found = float(per_cent[1]) / 100 if per_cent else None
    elif isinstance(given, (int, float)) and not isinstance(given, bool):
        found = float(given)
    if found is None or found < 0 or (most is not None and found > most):
        wanted = "a share: 0 to 1, or 98%" if most is not None else "a share, as 0.5 or 50%"
        raise ConfigError(Problem(path, f"{in_json(given, 80)} is not {wanted}"))
    return found
