"""Only the fields that steps, grouper and format look at are decoded, where a format has a list of fields, or a
transform that chooses them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Declined, Physical, Rewritten, named
from exporters_beam.stages import Project, Whole


@dataclass(frozen=True)
class FieldsProjected:
    name: str = "fields-projected"

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined:
        if not isinstance(plan.decoding, Whole):
            return Declined("lines go on, and not records")
        fields, why = logical.needed
        if fields is None:
            return Declined(why)
        if logical.decoder.glance is None:
            return Declined("only JSON lines, CSV and Parquet can be decoded in part")
        if logical.write.letters:
            return Declined("dead letters show whole records")
        return Rewritten(
            replace(plan, decoding=Project(fields)),
            f"of a record {named(fields)} decoded, since nothing else is looked at",
        )
