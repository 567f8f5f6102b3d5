"""`on_error`: what becomes of records that fail, and how that is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporters_beam.components.options import option

FAIL, SKIP, DEAD_LETTER = ACTIONS = ("fail", "skip", "dead_letter")
"""What may become of a record that fails."""

DESERIALIZER, GROUPER, FORMATTER, WRITER = ("deserializer", "grouper", "formatter", "writer")
"""What records may fail at besides the steps of the config: the first, and the last three. At the writer fail those that a
database or a service refuses."""

_COUNTED = {SKIP: "skipped", DEAD_LETTER: "dead_lettered"}


@dataclass(frozen=True, kw_only=True)
class OnErrorOptions:
    """What becomes of records that fail a step: the section `on_error`."""

    action: str = option("what becomes of a record that fails: fail ends the export", default=FAIL, choices=ACTIONS)
    max_records: int | None = option("more failed records than this end the export", type="int", default=None, minimum=0)
    max_rate: float | None = option("a larger share of failed records than this, 0 to 1, ends the export", type="number",
                                    default=None, minimum=0)  # fmt: skip
    file: str | None = option("where dead letters go, with % dates; by default a hidden file beside the manifest",
                              default=None, example="letters/%Y-%m-%d.jl")  # fmt: skip


@dataclass(frozen=True)
class OnError:
    """What becomes of records that fail, step by step, and how many may. Frozen and picklable."""

    actions: tuple[tuple[str, str], ...] = ()
    max_records: int | None = None
    max_rate: float | None = None
    file: str | None = None

    def action(self, step: str) -> str:
        return dict(self.actions).get(step, FAIL)

    @property
    def limited(self) -> bool:
        return self.max_records is not None or self.max_rate is not None

    @property
    def writes(self) -> bool:
        """Whether some step's failed records become dead letters."""
        return any(action == DEAD_LETTER for _, action in self.actions)

    def exceeded(self, counts: Mapping[str, int], whole: bool = True) -> str:
        """Which budget these counts exceed, "" where none is. The rate is judged when the export is `whole`."""
        failed = {name: n for name, n in counts.items() if name.partition(".")[2] in _COUNTED.values()}
        total, read = sum(failed.values()), counts.get("read", 0)
        steps: dict[str, int] = {}
        for name, n in failed.items():
            steps[name.partition(".")[0]] = steps.get(name.partition(".")[0], 0) + n
        which = ", ".join(f"{step} {n:,}" for step, n in steps.items())
        if self.max_records is not None and total > self.max_records:
            return f"{total:,} records failed ({which}); on_error.max_records allows {self.max_records:,}"
        if whole and self.max_rate is not None and read and total / read > self.max_rate:
            return (f"{total:,} of {read:,} records failed ({which}), {total / read:.2%}; "
                    f"on_error.max_rate allows {self.max_rate:.2%}")  # fmt: skip
        return ""


def counted(step: str, action: str) -> str:
    """The name under which a step counts what it set aside.

    >>> counted("transform", "skip")
    'transform.skipped'
    """
    return f"{step}.{_COUNTED[action]}"


def set_aside(counts: Mapping[str, int], action: str = DEAD_LETTER) -> int:
    """How many records of an export were skipped, or became dead letters."""
    return sum(n for name, n in counts.items() if name.partition(".")[2] == _COUNTED[action])
