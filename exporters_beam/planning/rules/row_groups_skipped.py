"""Row groups are not read where their statistics say that the first filter drops all that they hold.

What could not be read of them is not noticed; where failed records become dead letters, they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporters_beam.components.traits import FilterTraits
from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Declined, Physical, Rewritten


@dataclass(frozen=True)
class RowGroupsSkipped:
    name: str = "row-groups-skipped"

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined:
        if logical.decoder.skipping is None:
            return Declined("the source has no statistics")
        if logical.first is None:
            return Declined("there is no filter before the first transform")
        if FilterTraits.of(logical.first.component).may_keep is None:
            return Declined("the filter cannot tell from statistics what it drops")
        if logical.write.letters:
            return Declined("failed records become dead letters")
        return Rewritten(
            replace(plan, skips=True),
            "row groups are not read where their statistics say that the filter drops all they hold",
        )
