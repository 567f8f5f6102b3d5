"""The ParDos between reading and staging: decode, keep, map. Each applies one component to each record.

Elements are (position, record) and, after the last record of a range, (position, mark). A step adds to the mark what it
did to the range's records, and sends what fails to the output `failed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from exporters_beam.errors import ExportError
from exporters_beam.reading import Source
from exporters_beam.records import Chunk, Failure, Mark, Position, Unit
from exporters_beam.variables import hide, reveal

FAILED = "failed"
"""The output of every step that holds what failed."""

NAMESPACE = "exporters"
"""The namespace of the metrics of an export."""


class Step(beam.DoFn):
    """What steps share: tallies of the current range, which go into its mark, and metrics of the bundle."""

    def __init__(self, name: str, component: Any) -> None:
        self._name, self._component = name, component

    def setup(self) -> None:
        self._component = ready(self._component)

    def start_bundle(self) -> None:
        self._tally: dict[str, int] = {}
        self._totals: dict[str, int] = {}

    def count(self, name: str, n: int = 1) -> None:
        self._tally[name] = self._tally.get(name, 0) + n

    def end_range(self, mark: Mark) -> Mark:
        """The mark with this step's tally of the range added."""
        for name, n in self._tally.items():
            self._totals[name] = self._totals.get(name, 0) + n
        mark = mark._replace(counts=(*mark.counts, *self._tally.items()))
        self._tally = {}
        return mark

    def failed(self, position: Position, record: Any, error: Exception) -> TaggedOutput:
        self.count(FAILED)
        return TaggedOutput(FAILED, Failure(position, position[0].name, self._name, explain(error), record))

    def finish_bundle(self) -> None:
        for name, n in self._totals.items():
            Metrics.counter(NAMESPACE, name).inc(n)


def ready(component: Any) -> Any:
    """A component as workers use it: its secrets resolved and, where it has a `setup`, that done."""
    component = reveal(component)
    if hasattr(component, "setup"):
        try:
            component.setup()
        except Exception as error:
            if hide(str(error)) != str(error):
                raise ExportError(explain(error)) from None
            raise
    return component


def explain(error: Exception) -> str:
    """What went wrong, as one sentence without secrets: our own errors as they are, others with their type."""
    text = hide(str(error))
    if isinstance(error, ExportError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Decode(Step):
    """Chunks into records with their positions and, where the export begins with a filter, only those it keeps.

    Most records of a filtered export go no further than this loop; as elements of their own they would cost more on
    the way to the filter than the filter itself. Counts and failures are the filter's all the same.
    """

    def __init__(self, source: Source, filter_name: str = "", component: Any = None) -> None:
        super().__init__(filter_name, component)
        self._source = source

    def setup(self) -> None:
        self._source = self._source.ready()
        if self._component is not None:
            super().setup()
        self._keep = None if self._component is None else self._component.keep

    def start_bundle(self) -> None:
        super().start_bundle()
        self._read = self._dropped = 0

    def process(self, element: Chunk | Mark) -> Iterable[Any]:
        if isinstance(element, Mark):
            mark = element
            self.count("read", self._read)
            if self._dropped:
                self.count(f"{self._name}.dropped", self._dropped)
            self._read = self._dropped = 0
            return [((mark.unit, mark.range, -1), self.end_range(mark._replace(counts=())))]
        try:
            if self._keep is None:
                decoded = self._source.decode(element)
                self._read += len(decoded)
                return decoded
            records = self._source.records(element)
        except Exception:
            return self._each(element)
        self._read += len(records)
        unit, number, first, _ = element
        return self._kept(unit, number, zip(count(first), records))

    def _kept(self, unit: Unit, number: int, records: Iterable[tuple[int, Any]]) -> list[Any]:
        keep: Any = self._keep
        kept: list[Any] = []
        seen = 0
        for n, record in records:
            seen += 1
            try:
                if keep(record):
                    kept.append(((unit, number, n), record))
            except Exception as error:
                kept.append(self.failed((unit, number, n), record, error))
        self._dropped += seen - len(kept)
        return kept

    def _each(self, chunk: Chunk) -> list[Any]:
        found: list[Any] = []
        for item in self._source.decode_each(chunk):
            self._read += 1
            if isinstance(item, Failure):
                self.count(FAILED)
                found.append(TaggedOutput(FAILED, item))
            elif self._keep is None:
                found.append(item)
            else:
                (unit, number, n), record = item
                found.extend(self._kept(unit, number, ((n, record),)))
        return found


class Keep(Step):
    """A filter: the records for which `keep` says yes."""

    def setup(self) -> None:
        super().setup()
        self._keep = self._component.keep

    def start_bundle(self) -> None:
        super().start_bundle()
        self._dropped = 0

    def process(self, element: tuple[Position, Any]) -> Iterable[Any]:
        record = element[1]
        if record.__class__ is Mark:
            if self._dropped:
                self.count(f"{self._name}.dropped", self._dropped)
                self._dropped = 0
            return [(element[0], self.end_range(record))]
        try:
            if self._keep(record):
                return [element]
        except Exception as error:
            return [self.failed(element[0], record, error)]
        self._dropped += 1
        return ()


class Map(Step):
    """A transform with `map`: one record in, one out."""

    def setup(self) -> None:
        super().setup()
        self._map = self._component.map

    def process(self, element: tuple[Position, Any]) -> Iterable[Any]:
        position, record = element
        if record.__class__ is Mark:
            return [(position, self.end_range(record))]
        try:
            return [(position, self._map(record))]
        except Exception as error:
            return [self.failed(position, record, error)]


class FlatMap(Step):
    """A transform with `flat_map`: any number of records out. All carry the position of the one they came from."""

    def process(self, element: tuple[Position, Any]) -> Iterable[Any]:
        position, record = element
        if record.__class__ is Mark:
            return [(position, self.end_range(record))]
        try:
            results = [(position, result) for result in self._component.flat_map(record)]
        except Exception as error:
            return [self.failed(position, record, error)]
        if len(results) != 1:
            self.count(
                f"{self._name}.added" if results else f"{self._name}.dropped", len(results) - 1 if results else 1
            )
        return results


class FailTheExport(beam.DoFn):
    """`on_error: fail`: the first record that fails ends the export, with its file and number."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def setup(self) -> None:
        self._source = self._source.ready()

    def process(self, failure: Failure) -> None:
        raise FailedRecord(failure, self._source.record_number(failure.position))


class FailedRecord(ExportError):
    """A record failed and the config says that this ends the export."""

    def __init__(self, failure: Failure, number: int) -> None:
        self.failure, self.number = failure, number
        super().__init__(f"{failure.unit}: record {number}: {failure.step}: {failure.message}")

    def __reduce__(self) -> Any:
        return (type(self), (self.failure, self.number))


__all__ = [
    "FAILED",
    "NAMESPACE",
    "Decode",
    "FailTheExport",
    "FailedRecord",
    "FlatMap",
    "Keep",
    "Map",
    "Step",
]
