"""The ParDos between reading and staging: decode, keep, map. Each applies one component to each record.

Elements are (position, record) and, after the last record of a range, (position, mark). A step adds to the mark what it
did to the range's records. A record that fails goes to the output `failed`, which ends the export; where `on_error` says
so it is dropped, or becomes a (position, failure) that later steps pass on: the encoder stages it as a dead letter. A
failure that comes to the step it names is a dead letter sent in again: the step takes its record.
"""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Iterable
from itertools import compress, count, repeat
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from exporters_beam.errors import ExportError
from exporters_beam.letters import DEAD_LETTER, FAIL, SKIP, OnError, counted
from exporters_beam.reading import Places, Source
from exporters_beam.records import Chunk, Failure, Line, Lines, Mark, Position, Unit
from exporters_beam.variables import hide, reveal

DESERIALIZER = "deserializer"

FAILED = "failed"
"""The output of every step that holds what failed."""

NAMESPACE = "exporters"
"""The namespace of the metrics of an export."""


PASSING: tuple[Any, ...] = (Mark, Failure)
"""What is no record: it flows beside them. Almost all records are of the class dict, so that is asked first."""


class Step(beam.DoFn):
    """What steps share: tallies of the current range, which go into its mark, and metrics of the bundle."""

    def __init__(self, name: str, component: Any, on_error: OnError = OnError()) -> None:  # noqa: B008
        self._name, self._component, self._on_error = name, component, on_error

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

    def failed(self, position: Position, record: Any, error: Exception, step: str = "") -> list[Any]:
        """What to emit for a record that failed this step."""
        return self.give(Failure(position, position[0].name, step or self._name, explain(error), record))

    def give(self, failure: Failure) -> list[Any]:
        action = self._on_error.action(failure.step)
        if action == FAIL:
            self.count(FAILED)
            return [TaggedOutput(FAILED, failure)]
        self.count(counted(failure.step, action))
        return [] if action == SKIP else [(failure.position, failure)]

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

    def __init__(
        self,
        source: Source,
        filter_name: str = "",
        component: Any = None,
        on_error: OnError = OnError(),  # noqa: B008
        fields: frozenset[str] | None = None,
        lines: bool = False,
        grouper: Any = None,
    ) -> None:
        super().__init__(filter_name, component, on_error)
        self._source, self._fields, self._lines, self._grouper = source, fields, lines, grouper

    def setup(self) -> None:
        self._source = self._source.ready()
        if self._component is not None:
            super().setup()
        self._keep = None if self._component is None else self._component.keep
        self._judge = None if self._component is None else getattr(self._component, "judge", self._keep)
        self._glance = None
        self._whole_lines = getattr(self._source.deserializer, "json_lines", None) if self._lines else None
        if (self._whole_lines is None and self._lines) or (self._fields is not None and self._judge is not None):
            self._glance = self._source.deserializer.glance(self._fields)
        self._key: Any = None
        if self._lines:
            self._key = ready(self._grouper).key if self._grouper is not None else _no_group

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
            if self._whole_lines is not None:
                text = self._whole_lines(element.data)
                *sizes, _ = map(len, text.split(b"\n"))
                self._read += len(sizes)
                numbers = range(element.first, element.first + len(sizes))
                return [((element.unit, element.range, element.first), Lines(numbers, text, sizes))]
            if self._glance is not None:
                return self._sifted(element)
            if self._keep is None:
                decoded = self._source.decode(element)
                self._read += len(decoded)
                return self._again(decoded) if self._source.letters else decoded
            records = self._source.records(element)
        except Exception:
            return self._each(element)
        self._read += len(records)
        unit, number, first, _ = element
        return self._kept(unit, number, zip(count(first), records))

    def _sifted(self, chunk: Chunk) -> Iterable[Any]:
        """The records that the filter keeps, judged before they are decoded whole. Raises anything where one is at fault."""
        unit, number, first, data = chunk
        parts, lines = self._glance(data)  # type: ignore[misc]
        found: Iterable[Any]
        if self._judge is None:
            positions: Iterable[Any] = zip(repeat(unit), repeat(number), count(first))
            chosen, texts = parts, lines
        else:
            flags = list(map(self._judge, parts))
            positions = compress(zip(repeat(unit), repeat(number), count(first)), flags)
            texts = list(compress(lines, flags))
            chosen = list(compress(parts, flags)) if self._lines else []
        if self._lines and self._grouper is None:
            numbers = count(first) if self._judge is None else compress(count(first), flags)
            found = _together(chunk, numbers, list(map(bytes.strip, texts)))
        elif self._lines:
            handed_on = map(Line, map(self._key, chosen), map(bytes.strip, texts))
            found = list(zip(positions, handed_on))  # noqa: B905 (positions may have no end)
        else:
            records = self._source.deserializer.decode(b"\n".join(texts)) if texts else ()
            found = list(zip(positions, records))  # noqa: B905
            if len(found) != len(texts):
                raise ValueError("a line that was judged is not the line that was decoded")
        self._read += len(parts)
        self._dropped += len(parts) - len(texts)
        return found

    def _again(self, letters: list[tuple[Position, Any]]) -> list[Any]:
        """Dead letters for the steps they name; those of records that could not be decoded are decoded here."""
        from exporters_beam.formats.json_lines import parse

        found: list[Any] = []
        for position, letter in letters:
            if letter.step != DESERIALIZER or isinstance(letter.record, dict):
                found.append((position, letter.record if letter.step == DESERIALIZER else letter))
                continue
            text = letter.record.encode() if isinstance(letter.record, str) else letter.record
            try:
                found.append((position, parse(text)))
            except Exception as error:
                found += self.failed(position, letter.record, error, DESERIALIZER)
        return found

    def _kept(self, unit: Unit, number: int, records: Iterable[tuple[int, Any]]) -> list[Any]:
        keep: Any = self._keep
        kept: list[Any] = []
        seen = failed = 0
        for n, record in records:
            seen += 1
            try:
                if keep is None or keep(record):
                    kept.append(((unit, number, n), record))
            except Exception as error:
                given = self.failed((unit, number, n), record, error)
                failed += 1 - len(given)
                kept += given
        self._dropped += seen - len(kept) - failed
        return kept

    def _each(self, chunk: Chunk) -> list[Any]:
        """One record after the other: a chunk in which some are at fault."""
        found: list[Any] = []
        for (unit, number, n), record, raw in self._source.decode_each(chunk):
            self._read += 1
            if isinstance(record, Failure):
                found += self.give(record)
                continue
            kept = self._kept(unit, number, ((n, record),))
            if self._lines and self._whole_lines is None:
                kept = [element for given in kept for element in self._handed_on(given, raw)]
            found += kept
        return found

    def _handed_on(self, given: Any, raw: bytes) -> list[Any]:
        """A kept record as its line, where that is sound; else as it is."""
        from exporters_beam.formats.json_lines import is_sound

        if isinstance(given, TaggedOutput) or given[1].__class__ is not dict or not is_sound(raw):
            return [given]
        try:
            return [(given[0], Line(self._key(given[1]), raw.strip()))]
        except Exception:
            return [given]  # the encoder meets the same error, and deals with it


def _together(chunk: Chunk, numbers: Iterable[int], lines: list[bytes]) -> list[Any]:
    """Lines of a chunk that are of no group, as one element."""
    if not lines:
        return []
    chosen = [number for number, _ in zip(numbers, lines)]  # noqa: B905 (numbers may have no end)
    text = b"\n".join((*lines, b""))
    return [((chunk.unit, chunk.range, chosen[0]), Lines(chosen, text, list(map(len, lines))))]


def _no_group(record: Any) -> tuple[str, ...]:
    return ()


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
        if record.__class__ is not dict and record.__class__ in PASSING:
            if record.__class__ is Mark:
                return self._end(element[0], record)
            if record.step != self._name:
                return [element]
            element = (element[0], record.record)
            record = record.record
        try:
            if self._keep(record):
                return [element]
        except Exception as error:
            return self.failed(element[0], record, error)
        self._dropped += 1
        return ()

    def _end(self, position: Position, mark: Mark) -> list[Any]:
        if self._dropped:
            self.count(f"{self._name}.dropped", self._dropped)
            self._dropped = 0
        return [(position, self.end_range(mark))]


class Map(Step):
    """A transform with `map`: one record in, one out.

    A transform may change the record it is given, and fail half-way. Where failed records become dead letters they must
    be as they came, or a replay would change them twice: so each is copied before, which takes a fraction of what
    decoding it took.
    """

    def setup(self) -> None:
        super().setup()
        self._map = self._component.map
        self._copies = self._on_error.action(self._name) == DEAD_LETTER

    def process(self, element: tuple[Position, Any]) -> Iterable[Any]:
        position, record = element
        if record.__class__ is not dict and record.__class__ in PASSING:
            if record.__class__ is Mark:
                return [(position, self.end_range(record))]
            if record.step != self._name:
                return [element]
            record = record.record
        before = _copy(record) if self._copies else None
        try:
            return [(position, self._map(record))]
        except Exception as error:
            return self.failed(position, _original(before, record), error)


class FlatMap(Step):
    """A transform with `flat_map`: any number of records out. All carry the position of the one they came from."""

    def setup(self) -> None:
        super().setup()
        self._copies = self._on_error.action(self._name) == DEAD_LETTER

    def process(self, element: tuple[Position, Any]) -> Iterable[Any]:
        position, record = element
        if record.__class__ is not dict and record.__class__ in PASSING:
            if record.__class__ is Mark:
                return [(position, self.end_range(record))]
            if record.step != self._name:
                return [element]
            record = record.record
        before = _copy(record) if self._copies else None
        try:
            results = [(position, result) for result in self._component.flat_map(record)]
        except Exception as error:
            return self.failed(position, _original(before, record), error)
        if len(results) != 1:
            self.count(
                f"{self._name}.added" if results else f"{self._name}.dropped", len(results) - 1 if results else 1
            )
        return results


def _copy(record: Any) -> tuple[Any, bytes] | None:
    """A record as bytes, with what makes a record of them again; None for what cannot be copied."""
    try:
        return marshal.loads, marshal.dumps(record)
    except ValueError:  # dates, decimals
        try:
            return pickle.loads, pickle.dumps(record, 5)
        except Exception:
            return None


def _original(before: tuple[Any, bytes] | None, record: Any) -> Any:
    return record if before is None else before[0](before[1])


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
        super().__init__(f"{file}: record {number}: {failure.step}: {failure.message}")

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
