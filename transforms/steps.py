"""The ParDos between reading and staging: decode, keep, map. Each applies one component to each record.

Elements are batches of records and, after the last batch of a range, its mark. A step adds to the mark what it did to the
range's records. A record that fails goes to the output `failed`, which ends the export; where `on_error` says so it is
dropped, or set aside in its batch as a failure that later steps pass on: the encoder stages it as a dead letter. A failure
that comes to the step it names is a dead letter sent in again: the step takes its record.
"""

from __future__ import annotations

import marshal
import pickle
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import compress, repeat
from operator import attrgetter, contains, itemgetter
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from exporters_beam.components import declared
from exporters_beam.errors import ExportError
from exporters_beam.letters import DEAD_LETTER, FAIL, SKIP, OnError, counted
from exporters_beam.passed_over import shown
from exporters_beam.reading import Places, Source
from exporters_beam.records import MISSING, Batch, Chunk, Failure, Lines, Mark, Position, Skipped
from exporters_beam.transforms.chance import placed
from exporters_beam.transforms.results import DICTIONARIES, no_record, no_value, records_of, refused
from exporters_beam.transforms.sightings import Sightings, names_in
from exporters_beam.variables import hide, reveal

BATCH_RECORDS = 1000
"""So many records at least end a batch where one record can become many."""

DESERIALIZER = "deserializer"

FAILED = "failed"
"""The output of every step that holds what failed."""

NAMESPACE = "exporters"
"""The namespace of the metrics of an export."""


class Step(beam.DoFn):
    """What steps share: tallies of the current range, which go into its mark, and metrics of the bundle."""

    def __init__(self, name: str, component: Any, on_error: OnError = OnError()) -> None:  # noqa: B008
        self._name, self._component, self._on_error = name, component, on_error

    def setup(self) -> None:
        self._component = ready(self._component)

    def start_bundle(self) -> None:
        self._tally: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        sought = getattr(self._component, "sought", ())
        self._sightings = Sightings(self._name, sought) if sought else None

    def look(self, records: Sequence[Any], whole: Callable[[], Iterable[Any]] | None = None) -> None:
        """Note which of the fields that the component looks for these records have, `whole` ones where these are parts."""
        if self._sightings is not None and self._sightings.left and self._sightings.look(records):
            self._sightings.compare(names_in(records if whole is None else whole()))

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
        refuse: Callable[[Any], Exception | None] | None = None,
    ) -> tuple[list[Any], Batch, list[Any]]:
        """What `work` makes of each record, the batch without those it fails for, and what to emit for these.

        `before` gives a record, by its index, as it was before `work` had it; `refuse` says what is wrong with a result
        that is no dictionary, if anything.
        """
        records = batch.records
        chances = getattr(getattr(work, "__self__", None), "chances", ())
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
        for name, n in self._tally.items():
            self._totals[name] = self._totals.get(name, 0) + n
        mark = mark._replace(counts=(*mark.counts, *self._tally.items()))
        if self._sightings is not None:
            mark = mark._replace(sought=(*mark.sought, *self._sightings.noted()))
        self._tally = {}
        return mark

    def failed(self, position: Position, record: Any, error: Exception, step: str = "") -> list[Any]:
        """What to emit, or to set aside, for a record that failed this step."""
        return self.give(Failure(position, position[0].name, step or self._name, explain(error), record))

    def give(self, failure: Failure) -> list[Any]:
        action = self._on_error.action(failure.step)
        if action == FAIL:
            self.count(FAILED)
            return [TaggedOutput(FAILED, failure)]
        self.count(counted(failure.step, action))
        return [] if action == SKIP else [failure]

    def finish_bundle(self) -> None:
        for name, n in self._totals.items():
            Metrics.counter(NAMESPACE, name).inc(n)


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


def omitting(values: Sequence[Any], lost: list[int]) -> list[Any]:
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
    """Chunks into batches of records and, where the export begins with a filter, only of those it keeps.

    What a filter drops need not be decoded whole, nor become part of a batch. Counts and failures are the filter's all
    the same.
    """

    def __init__(
        self,
        source: Source,
        filter_name: str = "",
        component: Any = None,
        on_error: OnError = OnError(),  # noqa: B008
        fields: frozenset[str] | None = None,
        lines: bool = False,
        grouper: Any = None,
        complete: bool = False,
        added: tuple[str, ...] | None = None,
        later: frozenset[str] | None = None,
        typed: bool = False,
    ) -> None:
        super().__init__(filter_name, component, on_error)
        self._source, self._fields, self._lines, self._grouper = source, fields, lines, grouper
        self._complete, self._added, self._later, self._typed = complete, added, later, typed

    def setup(self) -> None:
        self._source = self._source.ready()
        self._verdicts: Answers | None = None
        self._seen_as: Callable[[Any], Any] | None = None
        self._groups: Answers | None = None
        if self._component is not None:
            super().setup()
        self._keep = None if self._component is None else self._component.keep
        self._types_of: Any = declared(self._source.deserializer, "types_of") if self._typed else None
        self._judge = None if self._component is None else declared(self._component, "judge", self._keep)
        self._glance = None
        self._whole_lines = declared(self._source.deserializer, "json_lines") if self._lines else None
        judged = self._fields is not None and (self._judge is not None or self._complete)
        if (self._whole_lines is None and self._lines) or judged or self._added is not None:
            self._glance = self._source.deserializer.glance(self._fields)
        self._some: Any = None
        self._partly = self._later is not None
        if self._judge is not None and self._later is not None:
            self._some = self._source.deserializer.decoder_of(self._later)
        self._key: Any = None
        if self._lines and self._grouper is not None:
            self._key = ready(self._grouper).key
        self._look_at_values()

    def _look_at_values(self) -> None:
        """Where filter and grouper look at one field each, these fields' values are all that is made of a record."""
        deserializer = self._source.deserializer
        if self._glance is None or self._complete or not self._fields or declared(deserializer, "glance_at") is None:
            return
        fields = sorted(self._fields)
        asked = [each for each in (self._component, self._grouper if self._key else None) if each is not None]
        if any(len(each.reads) != 1 for each in asked) or not asked:
            return
        self._glance = deserializer.glance_at(fields)
        self._seen_as = partial(_seen_as, fields)
        answers: list[Any] = [self._judge if each is self._component else self._key for each in asked]
        for each, answer in zip(asked, answers, strict=True):
            (field,) = each.reads
            value_of = attrgetter(f"f{fields.index(field)}")  # of what `glance_at` gives
            found = Answers(value_of, field, answer, declared(each, "steady", False))
            if each is self._component:
                self._verdicts = found
            else:
                self._groups = found

    def start_bundle(self) -> None:
        super().start_bundle()
        self._read = self._dropped = 0

    def process(self, element: Chunk | Mark) -> Iterable[Any]:
        if isinstance(element, Mark):
            self.count("read", self._read)
            if self._dropped:
                self.count(f"{self._name}.dropped", self._dropped)
            self._read = self._dropped = 0
            return [self.end_range(element._replace(counts=()))]
        if isinstance(element.data, Skipped):
            self._read += element.data.records
            self._dropped += element.data.records
            return []
        try:
            if self._whole_lines is not None:
                return self._rewritten(element)
            if self._glance is not None:
                return self._sifted(element)
            records = self._source.records(element)
        except Exception:
            return self._each(element)
        if self._source.letters:
            return self._again(element)
        self._read += len(records)
        unit, number, first, _ = element
        types = b"" if self._types_of is None else self._types_of(element.data)
        batch = Batch(unit, number, range(first, first + len(records)), records, types=types)
        return given(batch, []) if self._keep is None else self.batch(batch)

    def batch(self, batch: Batch) -> list[Any]:
        """The records that the filter keeps."""
        self.look(batch.records)
        kept, dropped, emitted = sifted(self, self._keep, batch)
        self._dropped += dropped
        return given(kept, emitted)

    def _rewritten(self, chunk: Chunk) -> list[Any]:
        """All records, as lines that the deserializer makes of them. Raises anything where one is at fault."""
        text = self._whole_lines(chunk.data)  # type: ignore[misc]
        *sizes, _ = map(len, text.split(b"\n"))
        self._read += len(sizes)
        return [Lines(chunk.unit, chunk.range, range(chunk.first, chunk.first + len(sizes)), text, sizes)]

    def _sifted(self, chunk: Chunk) -> list[Any]:
        """The records that the filter keeps, judged before they are decoded whole. Raises anything where one is at fault."""
        unit, number, first, data = chunk
        parts, lines_of, records_of = self._glance(data)  # type: ignore[misc]
        numbers: Sequence[int] = range(first, first + len(parts))
        flags, chosen = None, parts
        if self._sightings is not None and self._sightings.left:
            self.look(
                parts if self._seen_as is None else list(map(self._seen_as, parts)), lambda: self._source.records(chunk)
            )
        if self._judge is not None:
            flags = list(map(self._judge, parts)) if self._verdicts is None else self._verdicts.on(parts)
            numbers = list(compress(numbers, flags))
            if self._key is not None or self._complete or (self._added is not None and self._some is None):
                chosen = list(compress(parts, flags))
        texts: list[Any] = [] if self._complete else lines_of(flags)
        found: list[Any]
        if self._added is not None:
            records = chosen if self._some is None else self._some(texts)
            found = given(self._with_lines(Batch(unit, number, numbers, records), texts, records_of), [])
        elif self._lines:
            keys = None if self._key is None else self._keys(chosen)
            found = handed_on(chunk, numbers, list(map(bytes.strip, texts)), keys)
        else:
            records = chosen if self._complete else records_of(texts)
            if len(records) != len(numbers):
                raise ValueError("a line that was judged is not the line that was decoded")
            found = given(Batch(unit, number, numbers, records), [])
        self._read += len(parts)
        self._dropped += len(parts) - len(numbers)
        return found

    def _with_lines(self, batch: Batch, texts: list[bytes], records_of: Callable[[list[bytes]], list[Any]]) -> Batch:
        """The batch with its lines, but for records that have a field of those that steps add: these are decoded whole."""
        if len(batch.records) != len(texts):
            raise ValueError("a line that was judged is not the line that was decoded")
        lines, added = list(map(bytes.strip, texts)), frozenset(self._added or ())
        if not any(any(map(contains, batch.records, repeat(name))) for name in added):
            return batch._replace(lines=lines)
        records = records_of(texts) if self._partly else batch.records
        if self._some is not None:
            self._some = records_of
        elif self._partly:
            self._glance = self._source.deserializer.glance(None)
        self._partly = False  # Where one record has such a field, others will have it, too.
        for index, record in enumerate(records):
            if not added.isdisjoint(record):
                lines[index] = b""
        return batch._replace(records=records, lines=lines if any(lines) else ())

    def _keys(self, parts: list[Any]) -> list[tuple[str, ...]]:
        return list(map(self._key, parts)) if self._groups is None else self._groups.on(parts)

    def _again(self, chunk: Chunk) -> list[Any]:
        """Dead letters for the steps they name; those of records that could not be decoded are decoded here."""
        from exporters_beam.formats.json_lines import parse

        self._read += len(chunk.data)
        batch = taken_up(Batch(chunk.unit, chunk.range, (), (), tuple(chunk.data)), DESERIALIZER)

        def decoded(record: Any) -> Any:
            return record if isinstance(record, dict) else parse(record.encode() if isinstance(record, str) else record)

        records, batch, emitted = self.each(decoded, batch, DESERIALIZER)
        return given(batch._replace(records=records), emitted)

    def _each(self, chunk: Chunk) -> list[Any]:
        """One record after the other: a chunk in which some are at fault."""
        from exporters_beam.formats.json_lines import is_sound

        found: list[Any] = []
        for (unit, number, n), record, raw in self._source.decode_each(chunk):
            self._read += 1
            if isinstance(record, Failure):
                kept = [Batch(unit, number, (), (), (each,)) if each.__class__ is Failure else each
                        for each in self.give(record)]  # fmt: skip
            else:
                alone = Batch(unit, number, (n,), (record,))
                if self._added is not None and is_sound(raw) and record.keys().isdisjoint(self._added):
                    alone = alone._replace(lines=(raw.strip(),))
                kept = [alone] if self._keep is None else self.batch(alone)
                if (
                    self._lines
                    and self._whole_lines is None
                    and kept
                    and kept[0].__class__ is Batch
                    and kept[0].records
                ):
                    kept = self._line(alone, raw)
            found += kept
            if kept and kept[-1].__class__ is TaggedOutput:
                break  # It ends the export.
        return found

    def _line(self, alone: Batch, raw: bytes) -> list[Any]:
        """A kept record as its line, where that is sound; else as it is."""
        from exporters_beam.formats.json_lines import is_sound

        if not is_sound(raw):
            return [alone]
        try:
            keys = None if self._key is None else [self._key(alone.records[0])]
        except Exception:
            return [alone]  # the encoder meets the same error, and deals with it
        return handed_on(alone, alone.numbers, [raw.strip()], keys)


class Answers(dict[Any, Any]):
    """What a filter, or a grouper, says of records of which it looks at one field, by that field's value.

    Where it is `steady`, always says the same of the same value, it is asked once for each text: most fields that filters
    and groupers look at have few of them.
    """

    MOST = 10_000
    """Texts that are remembered. Where there are more, asking is hardly slower than looking one up."""

    def __init__(self, value_of: Callable[[Any], Any], field: str, ask: Callable[[Any], Any], steady: bool) -> None:
        self._value_of, self._field, self._ask, self._steady = value_of, field, ask, steady

    def on(self, parts: Sequence[Any]) -> list[Any]:
        """The answer for each of these, of which `value_of` gives the field's value, or MISSING. Raises what the component
        raises."""
        if self._steady and len(self) < self.MOST:
            try:
                return list(map(self.__getitem__, map(self._value_of, parts)))
            except TypeError:  # Lists and mappings cannot be looked up.
                pass
        return list(map(self._of, map(self._value_of, parts)))

    def on_texts(self, records: Sequence[Any]) -> list[Any] | None:
        """The answer for each of these, where all their values are plain texts, not too many; else None. Steps may have put in
        their place what equals a text and is not one."""
        values = list(map(self._value_of, records))
        known = len(self) < self.MOST and {*map(type, values)} == {str}
        return list(map(self.__getitem__, values)) if known else None

    def _of(self, value: Any) -> Any:
        return self._ask({} if value is MISSING else {self._field: value})

    def __missing__(self, value: Any) -> Any:
        answer = self._of(value)
        if value.__class__ is str:
            self[value] = answer
        return answer


def _seen_as(fields: Sequence[str], seen: Any) -> dict[str, Any]:
    """What `glance_at` gives, as a record."""
    values = ((field, getattr(seen, f"f{n}")) for n, field in enumerate(fields))
    return {field: value for field, value in values if value is not MISSING}


def handed_on(
    place: Chunk | Batch, numbers: Sequence[int], lines: list[bytes], keys: list[tuple[str, ...]] | None
) -> list[Any]:
    """Lines that nothing changes, as what the encoder takes."""
    if not lines:
        return []
    if keys is None:
        return [Lines(place.unit, place.range, numbers, b"\n".join((*lines, b"")), list(map(len, lines)))]
    return [Batch(place.unit, place.range, numbers, lines, lines=lines, groups=keys)]


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

    def batch(self, batch: Batch) -> list[Any]:
        self.look(batch.records)
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

    def __init__(self, name: str, component: Any, on_error: OnError = OnError(), values: bool = False) -> None:  # noqa: B008
        super().__init__(name, component, on_error)
        self._refuse = no_value if values else no_record

    def setup(self) -> None:
        super().setup()
        self._copies = self._on_error.action(self._name) == DEAD_LETTER

    def batch(self, batch: Batch) -> list[Any]:
        before = None
        if self._copies:
            before = copied(batch.records) if not batch.lines else lambda index: _as_it_came(batch, index)
        records, batch, emitted = self.each(self._component.map, batch, before=before, refuse=self._refuse)
        return given(batch._replace(records=records), emitted)


class FlatMap(Step):
    """A transform with `flat_map`: any number of records out. All carry the number of the one they came from."""

    def setup(self) -> None:
        super().setup()
        self._copies = self._on_error.action(self._name) == DEAD_LETTER

    def batch(self, batch: Batch) -> Iterator[Any]:
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


def copied(records: Sequence[Any]) -> Callable[[int], Any]:
    """A function that gives each record, by its index, as it is now, also when it has been changed."""
    try:
        together = marshal.dumps(list(records))
    except ValueError:  # dates, decimals
        alone = [_copy(record) for record in records]
    else:
        loaded: list[Any] = []

        def from_all(index: int) -> Any:
            if not loaded:
                loaded.extend(marshal.loads(together))
            return loaded[index]

        return from_all

    def from_its_own(index: int) -> Any:
        made = alone[index]
        return records[index] if made is None else made[0](made[1])

    return from_its_own


def _copy(record: Any) -> tuple[Any, bytes] | None:
    """A record as bytes, with what makes a record of them again; None for what cannot be copied."""
    try:
        return marshal.loads, marshal.dumps(record)
    except ValueError:
        try:
            return pickle.loads, pickle.dumps(record, 5)
        except Exception:
            return None


class FailTheExport(beam.DoFn):
    """`on_error: fail`: the first record that fails ends the export, with its file and number."""

    def __init__(self, place: Places) -> None:
        self._place = place

    def process(self, failure: Failure) -> None:
        raise FailedRecord(failure, *self._place(failure.position))


class FailedRecord(ExportError):
    """A record failed and the config says that this ends the export."""

    def __init__(self, failure: Failure, file: str, number: int) -> None:
        self.failure, self.file, self.number = failure, file, number
        super().__init__(f"{shown(file)}: record {number}: {failure.step}: {failure.message}")

    def __reduce__(self) -> Any:
        return (type(self), (self.failure, self.file, self.number))


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
