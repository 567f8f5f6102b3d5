"""From units to chunks: the splittable source of an export.

A unit is cut into ranges whose borders depend on the source alone: about 16 MiB of decompressed bytes, a row group, a
fixed number of generated records. Ranges are what the splittable DoFn claims; it emits chunks of undecoded records and,
after the last chunk of a range, the mark that ends it. `Source` holds the rules and knows nothing of Beam.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

import apache_beam as beam
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.core import RestrictionProvider

from exporters_beam.engine.source import Event, Source, Span
from exporters_beam.errors import SourceError
from exporters_beam.handover import HandsOver
from exporters_beam.records import Chunk, Mark, Unit, Units, Warned
from exporters_beam.staging.listing import Listing, differences, listed_before, write_listing
from exporters_beam.staging.run import Run
from exporters_beam.staging.segments import Resumed, staged_ranges

WARNED = "warned"
"""The output of `ListUnits` that holds what the reader warns of."""

END = -1
"""What is claimed when a unit whose end was not known has ended."""


SMALL = 64 << 10
"""Bytes of a file up to which it goes to a worker together with others."""

ALONE = 64
"""So many small files go alone first, then so many two by two, and so on: all workers have something to do from the
beginning."""

MOST = 16
"""So many at most go together."""


class SpanTracker(RestrictionTracker):
    """Tracks which ranges of a unit were claimed. Splits fall between ranges, never inside one."""

    def __init__(self, span: Span) -> None:
        self._start, self._stop = span
        self._next = self._start
        self._ended = False

    def current_restriction(self) -> Span:
        return (self._start, self._stop)

    def current_progress(self) -> RestrictionProgress:
        done = self._next - self._start
        total = self._stop - self._start if self._stop >= 0 else done + 1
        return RestrictionProgress(completed=float(done), remaining=float(max(0, total - done)))

    def try_claim(self, position: int) -> bool:
        if position == END:
            self._ended = True
            return True
        if 0 <= self._stop <= position:
            self._ended = True
            return False
        self._next = position + 1
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Span, Span] | None:
        if self._ended or self._next == self._stop:
            return None
        if self._stop < 0 and fraction_of_remainder > 0:
            return None  # Reading the second half would read the first half again.
        at = self._next + int(max(0, self._stop - self._next) * fraction_of_remainder)
        residual = (at, self._stop)
        self._stop = at
        return (self._start, at), residual

    def check_done(self) -> bool:
        if self._ended or self._next == self._stop:
            return True
        raise ValueError(f"ranges from {self._next} to {self._stop} were not claimed")

    def is_bounded(self) -> bool:
        return True


class ListUnits(HandsOver, beam.DoFn):
    """Lists the reader's units, on a worker, as they are found; many small ones `together`, where that is wanted."""

    def __init__(self, source: Source, run: Run | None = None, together: bool = False, others: tuple[str, ...] = ()) -> None:
        self._source, self._run, self._together, self._others = source, run, together, others

    def setup(self) -> None:
        self._source = self._source.ready()

    def process(self, _: Any) -> Iterator[Any]:
        unit = None
        books = self._run.books if self._run is not None else ""
        before = listed_before(books, *self._others) if books else None  # where a run is resumed, or begins again by itself
        if self._source.given.fixed or (self._run is not None and self._run.decided):
            yield from self._decided(books, before)
            return
        listing = Listing(books, *self._others) if books and before is None else None
        now: list[Unit] = []
        small: list[Unit] = []
        number = 0
        try:
            for found in self._source.listed():
                if isinstance(found, Warned):
                    yield TaggedOutput(WARNED, found)
                    continue
                unit = found
                if listing is not None:
                    listing.add(unit)
                elif before is not None:
                    now.append(unit)
                if not self._together or not 0 <= unit.size <= SMALL:
                    yield unit
                    continue
                small.append(unit)
                number += 1
                if len(small) >= min(MOST, 1 + number // ALONE):
                    yield small[0] if len(small) == 1 else Units(tuple(small))
                    small = []
            if small:
                yield Units(tuple(small))
            if listing is not None:
                listing.commit()
        finally:
            if listing is not None:
                listing.abandon()
        if before is not None and (told := differences(before, now)):
            raise SourceError(f"the input has changed since the export began: {told}; export again when it is complete")
        if unit is None and self._run is not None and self._run.sees:
            raise SourceError(f"{self._run.sees}: the worker does not see it, nor any other input; mount the same folders "
                              "where the workers are, and give absolute paths")  # fmt: skip

    def _decided(self, books: str, before: list[Unit] | None) -> Iterator[Any]:
        """What the reader lists once: it is written down whole before anything of it is read."""
        if before is not None:
            yield from before
            return
        found = list(self._source.listed())
        units = [each for each in found if isinstance(each, Unit)]
        if books:
            write_listing(units, books, *self._others)
        yield from (TaggedOutput(WARNED, each) for each in found if isinstance(each, Warned))
        yield from units


class ReadChunks(HandsOver, beam.DoFn, RestrictionProvider):
    """The splittable source: claims ranges, emits chunks and, after the last chunk of a range, its mark.

    After `bundle_seconds` it hands the rest back at the end of a range, so that what has been read is committed; with
    None it never does (Flink loses what is handed back: docs/design.md). What is handed back usually returns to the
    same worker, which goes on with the stream it still has open; any other worker passes over the ranges before.
    `enough(unit, range)`, where given, says that nothing from this range on can be delivered any more (a limit).
    Ranges that `resumed` covers are claimed and passed over, units that it has whole are not even opened.

    Of small units that come together each is claimed whole.
    """

    def __init__(
        self,
        source: Source,
        bundle_seconds: float | None,
        enough: Any = None,
        pieces: int = 8,
        resumed: Resumed | None = None,
    ) -> None:
        self._source, self._seconds, self._enough, self._pieces = source, bundle_seconds, enough, pieces
        self._covered = resumed.covered if resumed else frozenset()
        self._whole = resumed.whole if resumed else frozenset()
        self._suspended: tuple[Unit, int, Any] | None = None
        self._revealed: Source | None = None

    @property
    def _ready(self) -> Source:
        """The source with its secrets. Beam asks for restrictions without a setup before."""
        if self._revealed is None:
            self._revealed = self._source.ready()
        return self._revealed

    def initial_restriction(self, unit: Unit | Units) -> Span:
        if isinstance(unit, Units):
            return (0, len(unit.units))
        return (0, -1) if unit.index in self._whole else self._ready.span(unit)

    def create_tracker(self, span: Span) -> SpanTracker:
        return SpanTracker(span)

    def split(self, unit: Unit | Units, span: Span) -> Iterator[Span]:
        """Pieces of a few ranges, so that workers share large units."""
        start, stop = span
        if stop < 0 or not self._pieces or isinstance(unit, Units):
            yield span
            return
        for at in range(start, stop, self._pieces):
            yield (at, min(at + self._pieces, stop))

    def restriction_size(self, unit: Unit | Units, span: Span) -> int:
        start, stop = span
        if isinstance(unit, Units):
            return max(1, sum(each.size for each in unit.units[start:stop]))
        return max(1, unit.size) if stop < 0 else max(1, stop - start) * self._source.range_bytes

    def process(
        self,
        unit: Unit | Units,
        tracker: Any = beam.DoFn.RestrictionParam(),  # noqa: B008
    ) -> Iterator[Chunk | Mark]:
        if isinstance(unit, Units):
            yield from self._one_after_the_other(unit.units, tracker)
            return
        if unit.index in self._whole:
            tracker.try_claim(END)
            return
        started = time.monotonic()
        claimed = -1
        events = self._events(unit, tracker.current_restriction())
        for event in events:
            number, found, _ = event
            if number != claimed:
                if claimed >= 0 and self._seconds is not None and time.monotonic() - started >= self._seconds:
                    self._suspended = (unit, number, chain((event,), events))
                    tracker.defer_remainder()
                    return
                if self._enough is not None and self._enough(unit, number):
                    tracker.try_claim(END)
                    return
                if not tracker.try_claim(number):
                    return
                claimed = number
            if found is not None:
                yield found
        tracker.try_claim(END)

    def _one_after_the_other(self, units: tuple[Unit, ...], tracker: Any) -> Iterator[Chunk | Mark]:
        started = time.monotonic()
        start, stop = tracker.current_restriction()
        for number in range(start, stop):
            if number > start and self._seconds is not None and time.monotonic() - started >= self._seconds:
                tracker.defer_remainder()
                return
            if not tracker.try_claim(number):
                return
            if units[number].index not in self._whole:
                events = self._ready.events(units[number], self._ready.span(units[number]), self._covered)
                yield from (found for _, found, _ in events if found is not None)

    def _events(self, unit: Unit, span: Span) -> Iterator[Event]:
        suspended, self._suspended = self._suspended, None
        if suspended is not None and suspended[:2] == (unit, span[0]):
            return suspended[2]
        return self._ready.events(unit, span, self._covered)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_suspended": None, "_revealed": None}


class ListPieces(HandsOver, beam.DoFn):
    """Cuts listed units into pieces, (unit, span), so that workers share large units where a runner does not split.

    What cannot be entered in the middle stays in one piece.
    """

    def __init__(self, source: Source, ranges: int, resumed: Resumed) -> None:
        self._reader = ReadChunks(source, None, pieces=ranges, resumed=resumed)

    def setup(self) -> None:
        self._reader.setup()

    def process(self, unit: Unit) -> Iterator[tuple[Unit, Span]]:
        for span in self._reader.split(unit, self._reader.initial_restriction(unit)):
            yield unit, span


class ReadPieces(ReadChunks):
    """`ReadChunks` over what `ListPieces` gives.

    Where the runner begins again by itself (`run.again`), ranges that this run has staged by then are not read again: their
    marks say where they stand.
    """

    def __init__(self, *args: Any, run: Run | None = None) -> None:
        super().__init__(*args)
        self._run = run
        self._staged: dict[Unit, dict[int, Mark]] | None = None

    def _events(self, unit: Unit, span: Span) -> Iterator[Event]:
        if self._run is None or not self._run.again:
            return super()._events(unit, span)
        if self._staged is None:
            self._staged = staged_ranges(self._run.staging.folder, self._run.left)
        staged = {n: mark for n, mark in self._staged.get(unit, {}).items() if (unit.index, n) not in self._covered}
        return self._with_staged(unit, span, staged) if staged else super()._events(unit, span)

    def _with_staged(self, unit: Unit, span: Span, staged: dict[int, Mark]) -> Iterator[Event]:
        start, stop = span
        end = stop if stop >= 0 else next((n + 1 for n, mark in staged.items() if mark.last), start)
        if end > start and all(number in staged for number in range(start, end)):
            yield from ((number, staged[number], 0) for number in range(start, end))  # It need not even be opened.
            return
        covered = self._covered | {(unit.index, number) for number in staged}
        for number, found, records in self._ready.events(unit, span, covered):
            yield (number, staged[number], 0) if found is None and number in staged else (number, found, records)

    def initial_restriction(self, piece: Any) -> Span:
        return (piece[1][0], piece[1][1])

    def split(self, piece: Any, span: Span) -> Iterator[Span]:
        yield span

    def restriction_size(self, piece: Any, span: Span) -> int:
        return super().restriction_size(piece[0], span)

    def process(self, piece: Any, tracker: Any = beam.DoFn.RestrictionParam()) -> Iterator[Chunk | Mark]:  # noqa: B008
        return super().process(piece[0], tracker)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_staged": None}
