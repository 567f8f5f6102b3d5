"""Applies the filter `dupe`: the only step that needs the whole collection, so it is a PTransform."""

from __future__ import annotations

import marshal
import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from exporters_beam.components.protocols import Keyed
from exporters_beam.config.on_error import OnError
from exporters_beam.errors import RecordError
from exporters_beam.handover import HandsOver
from exporters_beam.records import Batch, Failure, Mark
from exporters_beam.staging.letters import Unreadable
from exporters_beam.transforms.steps import BATCH_RECORDS, FAILED, Step, taken_up

KeyedBytes = tuple[bytes, bytes]

BUCKETS = 1024
"""Keys are shuffled in so many lots: what a shuffle costs is for each element."""

TOGETHER = 1 << 16
"""So many keys wait at most until those of a lot go together."""


class Dedupe(beam.PTransform):
    """Batches and marks → the same without the duplicates, in whole ranges, each followed by its mark.

    First only keys and positions are shuffled, in lots, to find the positions that lose; then the records, a batch
    together, and the losers meet by range. What comes out of a range is in order.
    """

    def __init__(self, name: str, component: Keyed, on_error: OnError = OnError()) -> None:  # noqa: B008
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
        self._n = self._failures = 0
        self._begin_lots()

    def _begin_lots(self) -> None:
        self._lots: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
        self._waiting = 0

    def _lots_told(self) -> Iterator[Any]:
        for bucket, keys in self._lots.items():
            yield TaggedOutput("keys", (b"%d" % bucket, pickle.dumps(keys, 5)))
        self._begin_lots()

    def process(self, element: Any) -> Iterator[Any]:
        place = element.unit.index, element.range
        key = pickle.dumps(place)
        if element.__class__ is Mark:  # Bundles have whole ranges, so that none ends with keys that wait.
            yield from self._lots_told()
            yield key, pickle.dumps(("mark", self.end_range(element)))
            self._failures = 0
            return
        batch = taken_up(element, self._name)
        self.look(batch.records)
        pairs = batch._replace(records=list(zip(self._places(*place, batch.numbers), batch.records, strict=True)))
        found, left, emitted = self.each(self._keyed, pairs, "", batch.records.__getitem__)
        yield from emitted
        if batch.types:
            yield key, pickle.dumps(("types", batch.types), 5)
        for failure in left.failures:
            yield key, _packed(self._failures, failure)
            self._failures += 1
        if found:
            yield key, pickle.dumps(("records", [(at, packed) for at, _, packed in found]), 5)
        for at, own, _ in found:
            if own is not None:
                self._lots[crc32(own) % BUCKETS].append((own, (*place, *at)))
                self._waiting += 1
        if self._waiting >= TOGETHER:
            yield from self._lots_told()

    def finish_bundle(self) -> None:
        if self._waiting:
            raise RuntimeError("a bundle ended in the middle of a range")
        super().finish_bundle()

    def _places(self, unit: int, number: int, numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
        for n in numbers:
            self._n = self._n + 1 if (unit, number, n) == self._last else 0
            self._last = unit, number, n
            yield n, self._n

    def _keyed(self, pair: tuple[tuple[int, int], Any]) -> tuple[tuple[int, int], Any, bytes]:
        try:
            return pair[0], self._component.key(pair[1]), pickle.dumps(pair[1], 5)
        except RecursionError:
            raise RecordError("the record is nested too deeply for the filter dupe") from None


def _packed(n: int, failure: Failure) -> bytes:
    """A failure, the n-th of its range, as bytes. Its record may be nested deeper than pickle follows, or hold what cannot be
    pickled."""
    try:
        return pickle.dumps(("failure", (n, failure)), 5)
    except Exception:
        pass
    try:
        nested = marshal.dumps(failure.record)
    except ValueError:
        return pickle.dumps(("failure", (n, failure._replace(record=Unreadable.of(failure.record)))), 5)
    return pickle.dumps(("nested failure", (n, failure._replace(record=None), nested)), 5)


class _Losers(HandsOver, beam.DoFn):
    """Of the positions of each key all but the smallest, by range. A bundle that ran twice has told of some twice."""

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[KeyedBytes]:
        first: dict[bytes, tuple[int, ...]] = {}
        losers: defaultdict[tuple[int, int], set[tuple[int, ...]]] = defaultdict(set)
        for value in element[1]:
            for key, position in pickle.loads(value):
                other = first.setdefault(key, position)
                if position != other:
                    first[key], (unit, number, *at) = min(position, other), max(position, other)
                    losers[unit, number].add(tuple(at))
        for place, ats in losers.items():
            yield pickle.dumps(place), pickle.dumps(("losers", ats))


class _Survivors(HandsOver, beam.DoFn):
    """The records of a range that lost nothing, in order, then the range's mark."""

    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[Any]:
        number = pickle.loads(element[0])[1]
        records: dict[tuple[int, int], bytes] = {}
        losers: set[tuple[int, int]] = set()
        failures: dict[int, Failure] = {}
        mark: Mark | None = None
        types = b""
        for value in element[1]:
            kind, what = pickle.loads(value)
            if kind == "records":
                records.update(what)
            elif kind == "losers":
                losers |= what
            elif kind == "types":
                types = what
            elif kind == "failure":
                failures[what[0]] = what[1]
            elif kind == "nested failure":
                failures[what[0]] = what[1]._replace(record=marshal.loads(what[2]))
            else:
                mark = what
        if mark is None:
            raise RuntimeError(f"range {number} reached the filter dupe without its end mark")
        kept = sorted(records.keys() - losers)
        for start in range(0, len(kept), BATCH_RECORDS):
            ats = kept[start : start + BATCH_RECORDS]
            found = [pickle.loads(records[at]) for at in ats]
            yield Batch(mark.unit, number, [at[0] for at in ats], found, types=types)
        if failures:
            yield Batch(mark.unit, number, (), (), tuple(failures[n] for n in sorted(failures)))
        dropped = len(records.keys() & losers)
        if dropped:
            mark = mark._replace(counts=(*mark.counts, (f"{self._name}.duplicates", dropped)))
        yield mark
