"""Small files go to workers several at a time, since a runner does for each element what takes longer than to read one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporters_beam.planning.logical import Logical
from exporters_beam.planning.physical import Declined, Physical, Rewritten


@dataclass(frozen=True)
class FilesTogether:
    name: str = "files-together"

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined:
        if logical.read.deserializer is None:
            return Declined("the source has no files")
        if logical.decoder.row_groups is not None:
            return Declined("files are divided by their row groups")
        if logical.write.chooses:
            return Declined("a limit or a sample chooses records by the files they come from")
        return Rewritten(replace(plan, together=True), "where there are many small files, workers get several at a time")
