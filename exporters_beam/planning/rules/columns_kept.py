"""Columns of a table stay columns on their way to a table, where no step but a filter looks at records, and others
do no more than to choose columns and to rename them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporters_beam.components.traits import MapTraits
from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Declined, Physical, Rewritten, named
from exporters_beam.stages import Columns, Whole


@dataclass(frozen=True)
class ColumnsKept:
    name: str = "columns-kept"

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined:
        if not isinstance(plan.decoding, Whole):
            return Declined("the source is not a table")
        if logical.decoder.in_columns is None:
            return Declined("the deserializer gives no columns")
        if logical.format.encode_columns is None:
            return Declined("the format takes no columns")
        for step in logical.others:
            if step.kind != "map" or MapTraits.of(step.component).arranges is None:
                return Declined(f"{step.name} looks at records")
        if logical.grouper is not None or logical.write.chooses:
            return Declined("the grouper, a limit or a sample looks at records")
        judged, unproved = logical.reads(*(step for step in logical.steps if step is logical.first))
        if unproved:
            return Declined(unproved)
        # Dead letters would show that others are missing; and behind steps they may have other names.
        needed = None if logical.write.letters or logical.others else logical.format.needs
        read = None if needed is None else needed | judged
        why = "records stay columns on their way, but for what the filter looks at"
        return Rewritten(
            replace(plan, decoding=Columns(read, judged)), why if read is None else f"{why}, and {named(read)} read"
        )
