"""The first filter decides on the fields that it looks at, before the rest of a record is decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Declined, Physical, Rewritten, named
from exporters_beam.stages import Extend, Fields, HandOn, Sift, Whole


@dataclass(frozen=True)
class FieldsPushed:
    name: str = "fields-pushed"

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined:
        decoding = plan.decoding
        first = [logical.first] if logical.first is not None else []
        if isinstance(decoding, HandOn):
            fields, _ = logical.reads(*first, grouper=True)
            return Rewritten(replace(plan, decoding=HandOn(fields)), _before(fields, bool(first)))
        if isinstance(decoding, Extend) and logical.looks_at_all:
            return Declined("all fields are looked at")
        if isinstance(decoding, Extend):
            later = logical.reads(*logical.others, grouper=True)[0].union(decoding.added)
            fields = logical.reads(*first)[0] if first else later
            why = _before(fields, bool(first)) + (f", and then {named(later)} decoded" if first else "")
            return Rewritten(replace(plan, decoding=Extend(decoding.added, fields, later)), why)
        if not isinstance(decoding, Whole):
            return Declined("what is decoded is decided already")
        if not first:
            return Declined("there is no filter before the first transform")
        if logical.decoder.glance is None:
            return Declined("only JSON lines, CSV and Parquet can be decoded in part")
        fields, unproved = logical.reads(*first)
        if unproved:
            return Declined(unproved)
        return Rewritten(replace(plan, decoding=Sift(fields)), _before(fields, True))


def _before(fields: Fields, filtered: bool) -> str:
    what = "before the filter decides" if filtered else "since nothing else is looked at"
    return f"of a record {named(fields)} decoded{'' if filtered else ','} {what}"
