"""The ParDos between reading and staging: decode, keep, map. Each applies one component to each record.

Elements are batches of records and, after the last batch of a range, its mark. A step adds to the mark what it did to the
range's records. A record that fails goes to the output `failed`, which ends the export; where `on_error` says so it is
dropped, or set aside in its batch as a failure that later steps pass on: the encoder stages it as a dead letter. A failure
that comes to the step it names is a dead letter sent in again: the step takes its record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from exporters_beam.components.protocols import Filter, FlatTransform, Transform
from exporters_beam.components.ready import explain, ready
from exporters_beam.components.traits import StepTraits
from exporters_beam.config.on_error import DEAD_LETTER, FAIL, SKIP, OnError, counted
from exporters_beam.handover import HandsOver
from exporters_beam.records import Batch, Failure, Mark, Position
from exporters_beam.transforms.chance import apart, placed
from exporters_beam.transforms.copies import copied
from exporters_beam.transforms.results import DICTIONARIES, no_record, no_value, records_of, refused
from exporters_beam.transforms.sightings import Sightings, names_in

S = TypeVar("S", bound="Step")

BATCH_RECORDS = 1000
"""So many records at least end a batch where one record can become many."""

FAILED = "failed"
"""The output of every step that holds what failed."""

NAMESPACE = "exporters"
"""The namespace of the metrics of an export."""


class Step(HandsOver, beam.DoFn):
    """What steps share: tallies of the current range, which go into its mark, and metrics of the bundle."""

    _told = StepTraits()
    _drawn: tuple[str, ...] = ()

    def __init__(self, name: str, component: Any, on_error: OnError = OnError()) -> None:  # noqa: B008
        self._name, self._component, self._on_error = name, component, on_error

    def after(self: S, drawn: tuple[str, ...]) -> S:
        """The step behind others that draw by these expressions."""
        self._drawn = drawn
        return self

    def setup(self) -> None:
        self._component = ready(self._component)
        self._told = StepTraits.of(self._component)
        apart(self._told.chances, self._drawn)

    def start_bundle(self) -> None:
        self._tally: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._sightings = Sightings(self._name, self._told.sought) if self._told.sought else None
        if self._told.counted is not None:
            self._told.counted()  # What a bundle had counted that failed.

    def look(self, records: Iterable[object], whole: Callable[[], Iterable[object]] | None = None) -> None:
        """Note which of the fields that the component looks for these records have, `whole` ones where these are parts."""
        if self._sightings is not None and self._sightings.left and self._sightings.look(records):
            self._sightings.compare(names_in(records if whole is None else whole()))

    def look_at(self, batch: Batch) -> None:
        """`look` at the records of a batch."""
        self.look(batch.records, lambda: map(whole(batch), range(len(batch.records))))

    def process(self, element: Any) -> Iterable[Any]:
        if element.__class__ is Batch:
            return self.batch(taken_up(element, self._name) if element.failures else element)
        if element.__class__ is Mark:
            return [self.end_range(element)]
        return [element]

    def batch(self, batch: Batch) -> Iterable[Any]:
        """What becomes of the records of a batch, as elements."""
        raise NotImplementedError

    def each(
        self,
        work: Callable[[Any], Any],
        batch: Batch,
        step: str = "",
        before: Callable[[int], Any] | None = None,
        refuse: Callable[[object], Exception | None] | None = None,
    ) -> tuple[list[Any], Batch, list[Any]]:
        """What `work` makes of each record, the batch without those it fails for, and what to emit for these.

        `before` gives a record, by its index, as it was before `work` had it; `refuse` says what is wrong with a result
        that is not a dictionary, if anything.
        """
        records = batch.records
        chances = self._told.chances
        left = placed(chances, batch) if chances else iter(records)
        results: list[Any] = []
        lost: list[tuple[int, Exception]] = []
        while len(results) + len(lost) < len(records):
            try:
                results.extend(map(work, left))  # What was made before an exception stays in the list.
                if len(results) + len(lost) < len(records):
                    raise RuntimeError("StopIteration")  # It came from the component; `map` took it for its own end.
            except Exception as problem:
                lost.append((len(results) + len(lost), problem))
        if refuse is not None and not {*map(type, results)} <= DICTIONARIES:
            results, lost = refused(results, lost, refuse)
        if not lost:
            return results, batch, []
        before = before or whole(batch)
        emitted: list[Any] = []
        aside: list[Failure] = []
        for index, error in lost:
            record = before(index)
            for given in self.failed((batch.unit, batch.range, batch.numbers[index]), record, error, step):
                (aside if given.__class__ is Failure else emitted).append(given)
        return results, without(batch, [index for index, _ in lost], aside), emitted

    def count(self, name: str, n: int = 1) -> None:
        self._tally[name] = self._tally.get(name, 0) + n

    def end_range(self, mark: Mark) -> Mark:
        """The mark with this step's tally of the range added."""
        if self._told.counted is not None:
            for name, n in self._told.counted().items():
                self.count(f"{self._name}.{name}", n)
        for name, n in self._tally.items():
            self._totals[name] = self._totals.get(name, 0) + n
        counts, self._tally = (*mark.counts, *self._tally.items()), {}
        if self._sightings is None:
            return mark._replace(counts=counts)
        return mark._replace(counts=counts, sought=(*mark.sought, *self._sightings.noted()))

    def failed(self, position: Position, record: object, error: Exception, step: str = "") -> list[Any]:
        """What to emit, or to set aside, for a record that failed this step."""
        return self.give(Failure(position, position[0].name, step or self._name, explain(error), record))

    def give(self, failure: Failure) -> list[Any]:
        action = self._on_error.action(failure.step)
        if action == FAIL:
            self.count(FAILED)
            return [TaggedOutput(FAILED, failure)]
        self.count(counted(failure.step, action))
        return [] if action == SKIP else [failure]

    def finish_bundle(self) -> Iterable[Any] | None:
        for name, n in self._totals.items():
            Metrics.counter(NAMESPACE, name).inc(n)
        return None


def taken_up(batch: Batch, *steps: str) -> Batch:
    """The batch with the records of its failures that enter at one of these steps: dead letters sent in again."""
    entering = [failure for failure in batch.failures if failure.step in steps]
    if not entering:
        return batch
    found = [*zip(batch.numbers, batch.records, strict=True), *((f.position[2], f.record) for f in entering)]
    found.sort(key=itemgetter(0))
    return batch._replace(
        numbers=[number for number, _ in found],
        records=[record for _, record in found],
        failures=tuple(failure for failure in batch.failures if failure.step not in steps),
    )


def without(batch: Batch, lost: list[int], aside: Iterable[Failure] = ()) -> Batch:
    """The batch without the records at these indices, which are set aside as failures, or not at all."""
    return batch._replace(
        numbers=omitting(batch.numbers, lost),
        records=omitting(batch.records, lost),
        failures=(*batch.failures, *aside),
        lines=omitting(batch.lines, lost) if batch.lines else (),
    )


def omitting(values: Sequence[object], lost: list[int]) -> list[Any]:
    """The values but for those at these indices, which are in order."""
    found: list[Any] = []
    at = 0
    for index in lost:
        found += values[at:index]
        at = index + 1
    found += values[at:]
    return found


def given(batch: Batch, emitted: list[Any]) -> list[Any]:
    """What a step emits: its batch, unless nothing is left of it. Where a failure ends the export, only what came before
    it, so that the first record that fails, at whichever step, is the one that is told."""
    if emitted:
        number = emitted[0].value.position[2]
        end = bisect_left(batch.numbers, number)
        before = tuple(failure for failure in batch.failures if failure.position[2] < number)
        batch = batch._replace(
            numbers=batch.numbers[:end], records=batch.records[:end], failures=before, lines=batch.lines[:end]
        )
    return [*([batch] if batch.records or batch.failures else []), *emitted[:1]]


def sifted(step: Step, keep: Any, batch: Batch) -> tuple[Batch, int, list[Any]]:
    """The batch with what a filter keeps, how many records it drops, and what to emit for those that fail it."""
    flags, left, emitted = step.each(keep, batch)
    try:
        kept = list(compress(left.records, flags))
    except Exception:  # There are values whose truth is an error.
        flags, left, more = step.each(lambda record: bool(keep(record)), left)
        kept, emitted = list(compress(left.records, flags)), emitted + more
    numbers, lines = list(compress(left.numbers, flags)), list(compress(left.lines, flags)) if left.lines else ()
    return left._replace(numbers=numbers, records=kept, lines=lines), len(flags) - len(kept), emitted


class Keep(Step):
    """A filter: the records for which `keep` says yes."""

    _component: Filter

    def batch(self, batch: Batch) -> list[Any]:
        self.look_at(batch)
        kept, dropped, emitted = sifted(self, self._component.keep, batch)
        if dropped:
            self.count(f"{self._name}.dropped", dropped)
        return given(kept, emitted)


class Map(Step):
    """A transform with `map`: one record in, one out.

    A transform may change the record it is given, and fail half-way. Where failed records become dead letters they must
    be as they came, or a replay would change them twice: so they are copied before, which takes a fraction of what
    decoding them took. With `values` anything but None may take the place of a record: no file has to hold it.
    """

    _component: Transform

    def __init__(self, name: str, component: Any, on_error: OnError = OnError(), values: bool = False) -> None:  # noqa: B008
        super().__init__(name, component, on_error)
        self._refuse = no_value if values else no_record

    def setup(self) -> None:
        super().setup()
        self._copies = self._on_error.action(self._name) == DEAD_LETTER

    def batch(self, batch: Batch) -> list[Any]:
        self.look_at(batch)
        before = _before(batch) if self._copies else None
        records, batch, emitted = self.each(self._component.map, batch, before=before, refuse=self._refuse)
        return given(batch._replace(records=records), emitted)


class FlatMap(Step):
    """A transform with `flat_map`: any number of records out. All carry the number of the one they came from."""

    _component: FlatTransform

    def setup(self) -> None:
        super().setup()
        self._copies = self._on_error.action(self._name) == DEAD_LETTER

    def batch(self, batch: Batch) -> Iterator[Any]:
        self.look_at(batch)
        before = copied(batch.records) if self._copies else None
        numbers: list[int] = []
        records: list[Any] = []
        failures = list(batch.failures)
        for index, (number, record) in enumerate(zip(batch.numbers, batch.records, strict=True)):
            try:
                found = records_of(self._component.flat_map(record))
            except Exception as error:
                original = record if before is None else before(index)
                for each in self.failed((batch.unit, batch.range, number), original, error):
                    if each.__class__ is not Failure:
                        yield from given(batch._replace(numbers=numbers, records=records), [each])
                        return
                    failures.append(each)
                continue
            if len(found) != 1:
                self.count(f"{self._name}.added" if found else f"{self._name}.dropped", len(found) - 1 if found else 1)
            numbers += [number] * len(found)
            records += found
            if len(records) >= BATCH_RECORDS:
                yield batch._replace(numbers=numbers, records=records, failures=tuple(failures))
                numbers, records, failures = [], [], []
        yield from given(batch._replace(numbers=numbers, records=records, failures=tuple(failures)), [])


def whole(batch: Batch) -> Callable[[int], Any]:
    """A function that gives each record of a batch, by its index, with all its fields."""
    if not batch.lines:
        return batch.records.__getitem__
    if batch.groups is not None:  # Nothing was made of the records but their groups.
        return lambda index: _as_it_came(batch, index)
    return lambda index: {**_as_it_came(batch, index), **batch.records[index]}


def _as_it_came(batch: Batch, index: int) -> Any:
    from exporters_beam.formats.json_lines import parse

    return parse(batch.lines[index]) if batch.lines[index] else batch.records[index]


def _before(batch: Batch) -> Callable[[int], Any]:
    """A function that gives each record of a batch, by its index, with all its fields as they are now: those of its line, and
    what earlier steps have added."""
    now = copied(batch.records)
    if not batch.lines:
        return now
    return lambda index: {**_as_it_came(batch, index), **now(index)} if batch.lines[index] else now(index)


__all__ = [
    "FAILED",
    "NAMESPACE",
    "FlatMap",
    "Keep",
    "Map",
    "Step",
]
