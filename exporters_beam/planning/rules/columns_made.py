"""Columns of a table are made of rows of text at once, and not of records, where transforms do nothing but set fields."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporters_beam.components.traits import MapTraits
from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Declined, Physical, Rewritten
from exporters_beam.stages import MakeColumns, Whole


@dataclass(frozen=True)
class ColumnsMade:
    name: str = "columns-made"

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined:
        if not isinstance(plan.decoding, Whole):
            return Declined("what is decoded is decided already")
        if logical.decoder.column_values is None:
            return Declined("the deserializer reads no rows of text")
        if logical.format.encode_values is None:
            return Declined("the format takes no columns")
        if logical.read.letters:
            return Declined("dead letters are records")
        if logical.grouper is not None or logical.write.chooses:
            return Declined("the grouper, a limit or a sample looks at records")
        for step in logical.steps:
            if step.kind != "map" or MapTraits.of(step.component).map_columns is None:
                return Declined(f"{step.name} works on records")
        return Rewritten(
            replace(plan, decoding=MakeColumns()),
            "columns are made of rows at once, and records only where one is at fault",
        )
