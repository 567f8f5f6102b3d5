"""Records wait in the staging folder until it is known which of them are duplicates: they do not cross the shuffle."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Declined, Physical, Rewritten


@dataclass(frozen=True)
class RecordsStaged:
    name: str = "records-staged"

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined:
        if not any(step.kind in ("dedupe", "delta") for step in logical.steps):
            return Declined("no step has to see all records before it lets one through")
        return Rewritten(
            replace(plan, stages=True),
            "records wait in the staging folder until it is known which go on: only keys and references are shuffled",
        )
