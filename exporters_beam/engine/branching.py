"""Several writers of one export: each gets the records that were read once, and what becomes of one of them is no matter of the
others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from exporters_beam.components.ready import explain
from exporters_beam.errors import ExportError
from exporters_beam.handover import HandsOver
from exporters_beam.records import Batch, Mark, Undelivered
from exporters_beam.staging.books import note_undelivered
from exporters_beam.staging.run import Run
from exporters_beam.staging.segments import Resumed
from exporters_beam.transforms.copies import copied


def in_all(runs: Sequence[Run]) -> Resumed:
    """What earlier runs have committed for every writer, so that it need not be read again. It names no segments: each writer
    has its own."""
    if len(runs) == 1:
        return runs[0].resumed
    covered = frozenset.intersection(*(run.resumed.covered for run in runs))
    return Resumed((), covered, frozenset.intersection(*(run.resumed.whole for run in runs)))


class NotAgain(HandsOver, beam.DoFn):
    """Passes on what this writer has not staged in an earlier run; what it lacked is read again for all."""

    def __init__(self, covered: frozenset[tuple[int, int]]) -> None:
        self._covered = covered

    def process(self, element: Any) -> Iterable[Any]:
        if element.__class__ in (Batch, Mark) and (element.unit.index, element.range) in self._covered:
            return ()
        return (element,)


class Apart(HandsOver, beam.DoFn):
    """Gives this writer records of its own, which its transform may change."""

    def process(self, element: Any) -> Iterable[Any]:
        if element.__class__ is not Batch:
            return (element,)
        records = element.records
        return (element._replace(records=list(map(copied(records), range(len(records))))),)


class Tolerant(HandsOver, beam.DoFn):
    """Delivers as the DoFn does that it is made of. Where that fails the others go on: the manifest of this writer is not
    written, and its `books` say why; the launcher reads it there."""

    def __init__(self, dofn: Any, books: str = "") -> None:
        self._dofn, self._books, self._why = dofn, books, ""

    def setup(self) -> None:
        try:
            self._dofn.setup()
        except ExportError as error:
            self._why = explain(error)

    def start_bundle(self) -> None:
        if not self._why:
            self._dofn.start_bundle()

    def process(self, element: Any) -> Iterator[Any]:
        if not self._why:
            try:
                yield from self._dofn.process(element)
                return
            except ExportError as error:
                self._why = explain(error)
        if self._books:
            note_undelivered(self._books, self._why)
        yield Undelivered(self._why)

    def finish_bundle(self) -> None:
        self._dofn.finish_bundle()

    def teardown(self) -> None:
        self._dofn.teardown()
