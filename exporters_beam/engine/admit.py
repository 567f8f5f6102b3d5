"""When the reader of an export with a limit may stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporters_beam.staging.segments import Staging


@dataclass(frozen=True)
class Enough:
    """Tells the reader of an export with a limit when nothing that follows can be delivered any more.

    It counts what the finished ranges kept, from the first range on without a gap; the encoder leaves word of each in
    the staging folder, so this works wherever the workers are.
    """

    staging: Staging
    limit: int

    def __call__(self, unit: Any, number: int) -> bool:
        known = {(u, r): (kept, last) for u, r, kept, last in self.staging.limit_markers()}
        at, total = (0, 0), 0
        while at in known and at < (unit.index, number):
            kept, last = known[at]
            total += kept
            at = (at[0] + 1, 0) if last else (at[0], at[1] + 1)
        return total >= self.limit
