"""The step `statistics`, which looks at the fields of records and lets all pass."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.transforms.fields.paths import parsed

STATISTICS = "statistics"
"""The name of the step that looks at fields, which stands in no list."""


@dataclass(frozen=True)
class Looking:
    """What is looked at, as a component of the step `statistics`, which lets all records pass: the fields `chosen`, None for
    all, but of top-level ones none of those `without`, and only those that files have, where that is not None."""

    chosen: tuple[str, ...] | None = None
    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()

    kind = STATISTICS
    steady = False

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that are looked at, None for all."""
        chosen = None if self.chosen is None else frozenset(str(parsed(path)[0]) for path in self.chosen)
        if chosen is None or self.only is None:
            return self.only if chosen is None else chosen
        return chosen & self.only
