"""`on_error: fail`: the record that ends an export."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from exporters_beam.engine.source import Places
from exporters_beam.errors import ExportError, shown
from exporters_beam.handover import HandsOver
from exporters_beam.records import Failure


class FailTheExport(HandsOver, beam.DoFn):
    """`on_error: fail`: the first record that fails ends the export, with its file and number, and the writer `to` which it was
    on its way, where there are several."""

    def __init__(self, place: Places, to: str = "") -> None:
        self._place, self._to = place, to

    def process(self, failure: Failure) -> None:
        step = f"{self._to}.{failure.step}" if self._to else failure.step
        raise FailedRecord(failure._replace(step=step), *self._place(failure.position))


class FailedRecord(ExportError):
    """A record failed and the config says that this ends the export."""

    def __init__(self, failure: Failure, file: str, number: int) -> None:
        self.failure, self.file, self.number = failure, file, number
        super().__init__(f"{shown(file)}: record {number}: {failure.step}: {failure.message}")

    def __reduce__(self) -> Any:
        return (type(self), (self.failure, self.file, self.number))
