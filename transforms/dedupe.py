"""Applies the filter `dupe`: the only step that needs the whole collection, so it is a PTransform."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from exporters_beam.letters import OnError
from exporters_beam.records import Failure, Mark, Position, Unit
from exporters_beam.transforms.dupe import DupeFilter
from exporters_beam.transforms.steps import FAILED, Step

KeyedBytes = tuple[bytes, bytes]


class Dedupe(beam.PTransform):
    """(position, record or mark) → the same without the duplicates, in whole ranges, each followed by its mark.

    First only keys and positions are shuffled, to find the positions that lose; then the records and the losers meet
    by range. What comes out of a range is in order.
    """

    def __init__(self, name: str, component: DupeFilter, on_error: OnError = OnError()) -> None:  # noqa: B008
        super().__init__()
        self._name, self._component, self._on_error = name, component, on_error

    def expand(self, records: Any) -> Any:
        split = records | "Key" >> beam.ParDo(_Key(self._name, self._component, self._on_error)).with_outputs(
            "keys", FAILED, main="ranges"
        )
        losers = (
            split["keys"]
            | "KeyTypes" >> beam.Map(_same).with_output_types(KeyedBytes)
            | "ByKey" >> beam.GroupByKey()
            | "Losers" >> beam.ParDo(_Losers()).with_output_types(KeyedBytes)
        )
        kept = split["ranges"] | "RangeTypes" >> beam.Map(_same).with_output_types(KeyedBytes)
        return (
            (kept, losers)
            | "Meet" >> beam.Flatten()
            | "ByRange" >> beam.GroupByKey()
            | "Survivors" >> beam.ParDo(_Survivors(self._name))
        ), split[FAILED]


def _same(pair: KeyedBytes) -> KeyedBytes:
    return pair


class _Key(Step):
    """Each record by its range, and its key with its position. Positions are (unit, range, number, n): n tells apart
    the records that one record became. Failures go with the records, and have no key."""

    def start_bundle(self) -> None:
        super().start_bundle()
        self._last: Any = None
        self._n = 0

    def process(self, element: tuple[Position, Any]) -> Iterator[Any]:
        position, record = element
        unit, number = position[:2]
        place = pickle.dumps((unit.index, number))
        if record.__class__ is Mark:
            yield place, pickle.dumps(("mark", (unit, self.end_range(record))))
            return
        self._n = self._n + 1 if position == self._last else 0
        self._last = position
        at = (position[2], self._n)
        if record.__class__ is Failure:
            if record.step != self._name:
                yield place, pickle.dumps(("record", (at, record)), 5)
                return
            record = record.record
        try:
            key = self._component.key(record)
            packed = pickle.dumps(("record", (at, record)), 5)
        except Exception as error:
            for given in self.failed(position, record, error):
                if isinstance(given, TaggedOutput):
                    yield given
                else:
                    yield place, pickle.dumps(("record", (at, given[1])), 5)
            return
        yield place, packed
        if key is not None:
            yield TaggedOutput("keys", (key, pickle.dumps((unit.index, number, *at))))


class _Losers(beam.DoFn):
    """Of the positions of one key all but the smallest, by range."""

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[KeyedBytes]:
        positions = {pickle.loads(value) for value in element[1]}
        winner = min(positions)
        for unit, number, *at in positions - {winner}:
            yield pickle.dumps((unit, number)), pickle.dumps(("loser", tuple(at)))


class _Survivors(beam.DoFn):
    """The records of a range that lost nothing, in order, then the range's mark."""

    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[Any]:
        number = pickle.loads(element[0])[1]
        records: dict[tuple[int, int], Any] = {}
        losers = set()
        unit: Unit | None = None
        mark: Mark | None = None
        for value in element[1]:
            kind, what = pickle.loads(value)
            if kind == "record":
                records[what[0]] = what[1]
            elif kind == "loser":
                losers.add(what)
            else:
                unit, mark = what
        if mark is None or unit is None:
            raise RuntimeError(f"range {number} reached the filter dupe without its end mark")
        for at in sorted(records.keys() - losers):
            yield (unit, number, at[0]), records[at]
        dropped = len(records.keys() & losers)
        if dropped:
            mark = mark._replace(counts=(*mark.counts, (f"{self._name}.duplicates", dropped)))
        yield (unit, number, -1), mark
