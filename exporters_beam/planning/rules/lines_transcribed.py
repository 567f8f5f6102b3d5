"""Lines of JSON are made by the decoder, without records, where no step and no grouper looks at records (CSV to JSON)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Declined, Physical, Rewritten
from exporters_beam.stages import Transcribe, Whole


@dataclass(frozen=True)
class LinesTranscribed:
    name: str = "lines-transcribed"

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined:
        if not isinstance(plan.decoding, Whole):
            return Declined("lines are kept as they came")
        if logical.decoder.json_lines is None:
            return Declined("the deserializer cannot write lines of JSON by itself")
        if logical.steps or logical.grouper is not None:
            return Declined("a step or the grouper looks at records")
        if not logical.format.takes_lines or logical.write.chooses:
            return Declined("the format, a limit or a sample needs records")
        return Rewritten(
            replace(plan, decoding=Transcribe()),
            "rows become lines of JSON at once, and no records: nothing looks at them",
        )
