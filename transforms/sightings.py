"""What steps look for in records and may not find in any: a misspelt field drops everything, or groups nothing, in silence.

Each step notes, for every range, whether one record at least had what it looks for. Looking costs next to nothing: it ends
with the first record that has it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from exporters_beam.components.names import HIVE_NULL
from exporters_beam.components.traits import StepTraits
from exporters_beam.config.on_error import GROUPER
from exporters_beam.config.sections import PARTITION_BY
from exporters_beam.records import MISSING, UNKNOWN, Key, Mark, Sought

NAMES_OF = 100
"""So many records are asked for the names of their fields."""


class Sightings:
    """What one step still looks for in the current range."""

    def __init__(self, step: str, sought: Sequence[tuple[str, Key]]) -> None:
        self._step, self._sought = step, tuple(sought)
        self.begin()

    def begin(self) -> None:
        self.left: list[tuple[str, Key]] = list(self._sought)
        self._near: dict[str, str] = {}
        self._looked = False

    def look(self, records: Iterable[object]) -> bool:
        """Look at these records; whether something is missing in the first of a range."""
        first, self._looked = not self._looked, True
        self.left = [each for each in self.left if not any(each[1].value(r, MISSING) is not MISSING for r in records)]
        return first and bool(self.left)

    def compare(self, names: Iterable[str]) -> None:
        """The names that fields do have, where something is missing."""
        names = list(names)
        for name, _ in self.left:
            self._near.setdefault(name, nearest(name, names))

    def noted(self) -> tuple[Sought, ...]:
        """What stands in the mark of the range, which ends here."""
        missing = {name for name, _ in self.left}
        found = (
            Sought(self._step, name, name not in missing, self._near.get(name, "") if name in missing else "")
            for name, _ in self._sought
        )
        noted = tuple(found) if self._looked else ()
        self.begin()
        return noted


class LookingAtColumns:
    """What steps that work on columns look for: all records of a chunk have the same fields."""

    def __init__(self, steps: Iterable[tuple[str, StepTraits]]) -> None:
        self._each = [Sightings(name, traits.sought) for name, traits in steps]

    def look(self, step: int, names: Iterable[str]) -> None:
        """Look at the fields that records have before a step, by its number."""
        sightings, record = self._each[step], dict.fromkeys(names)
        if sightings.left and sightings.look([record]):
            sightings.compare(record)

    def end_range(self, mark: Mark) -> Mark:
        """The mark with what was seen in its range."""
        return mark._replace(sought=(*mark.sought, *(noted for each in self._each for noted in each.noted())))


def told_as(nothing: str) -> str:
    """What a grouper is called in warnings, by what it puts in the place of no value."""
    return GROUPER if nothing == UNKNOWN else PARTITION_BY


def names_in(records: Iterable[object]) -> list[str]:
    """The names of fields in the first records, nested ones with dots."""
    names: dict[str, None] = {}
    for record, _ in zip(records, range(NAMES_OF), strict=False):
        if isinstance(record, dict):
            for name, value in record.items():
                names[str(name)] = None
                if isinstance(value, dict):
                    names.update((f"{name}.{inner}", None) for inner in value)
    return list(names)


def nearest(name: str, names: Sequence[str]) -> str:
    """The name that was probably meant, or an empty text."""
    lower = {each.lower(): each for each in reversed(names)}
    last = {each.rpartition(".")[2].lower(): each for each in reversed(names)}
    short = name.lower()
    if name in names:
        return ""
    if short in lower or short in last:
        return lower.get(short) or last[short]
    near = difflib.get_close_matches(short, lower, n=1, cutoff=0.6)
    return lower[near[0]] if near else ""


def warnings(sought: Iterable[Sought]) -> list[str]:
    """A sentence for everything that was looked for in records and was in none."""
    found: dict[tuple[str, str], bool] = {}
    near: dict[tuple[str, str], str] = {}
    for each in sought:
        what = each.step, each.name
        if each.known:
            found[what] = found.get(what, False) or each.found
        near[what] = near.get(what) or each.near
    return [_sentence(*what, near[what]) for what, was in found.items() if not was]


def without_match(counts: Mapping[str, int]) -> list[str]:
    """A sentence for every step that looked records up in a table and found none of them there."""
    steps = [(name.partition(".")[0], n) for name, n in counts.items() if name.endswith(".unmatched")]
    return [
        f"{step}: none of {n:,} records has a match in the table; are its keys written as theirs?"
        for step, n in steps
        if f"{step}.matched" not in counts
    ]


def _sentence(step: str, name: str, near: str) -> str:
    hint = f"; did you mean {near}?" if near else ""
    if step == GROUPER:
        return f"{step}: no record has a value of {name}: all are in the group {UNKNOWN}{hint}"
    if step == PARTITION_BY:
        return f"{step}: no record has a value of {name}: all are in the partition {HIVE_NULL}{hint}"
    if step == "formatter":
        return f"formatter: no record has the field {name}: its column is empty{hint}"
    return f"{step}: no record has the field {name}{hint}"
