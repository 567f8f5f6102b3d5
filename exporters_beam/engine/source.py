"""The rules by which a unit is cut into ranges, and a range becomes chunks of records. Nothing here knows Beam."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import takewhile
from typing import Any, BinaryIO, cast

from exporters_beam.components.protocols import AnyReader, Decompressor, Deserializer, Reader, StreamReader
from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import DecoderTraits, DecompressorTraits, ReaderTraits
from exporters_beam.compressions.archives import Archive, Member, Opening, splits, spooled
from exporters_beam.errors import MORE_MEMORY, RecordError, SourceError, shown
from exporters_beam.readers.units import NAMES, Names, listed, names_of
from exporters_beam.records import Chunk, Failure, Mark, Position, Record, Undecoded, Unit, Warned
from exporters_beam.staging.run import enter

RANGE_BYTES = 16 << 20
"""Decompressed bytes of a range. What is redone after a failure is at most this much a worker."""

LINE = 256 << 10
"""Bytes of a line that are held at a time while looking for its end."""

Span = tuple[int, int]
"""A restriction: ranges from the first number up to, not including, the second; -1 where the end is not known."""

Event = tuple[int, "Chunk | Mark | None", int]

Covered = frozenset[tuple[int, int]]
"""Ranges, as (unit, range), that an earlier run has committed."""


@dataclass(frozen=True)
class Source:
    """A reader with the decompressor and deserializer that decode its streams (None for readers of records)."""

    reader: AnyReader
    decompressor: Decompressor | None = None
    deserializer: Deserializer | None = None
    range_bytes: int = RANGE_BYTES
    folder: str = ""
    names: Names = NAMES

    @cached_property
    def given(self) -> ReaderTraits:
        """What the reader tells of itself."""
        return ReaderTraits.of(self.reader)

    @cached_property
    def decoder(self) -> DecoderTraits:
        """What the deserializer tells of itself."""
        return DecoderTraits.of(self.deserializer)

    @cached_property
    def opening(self) -> Opening:
        """How the decompressor opens files."""
        return Opening(cast(Decompressor, self.decompressor))

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: self.__dict__[each.name] for each in fields(self)}

    @property
    def _cutting(self) -> Deserializer:
        """The deserializer, of a source that gives streams."""
        assert self.deserializer is not None
        return self.deserializer

    @property
    def streams(self) -> bool:
        return self.given.streams

    @property
    def letters(self) -> bool:
        """Whether it gives dead letters that are sent in again, as failures, and not records."""
        return self.given.letters

    def ready(self) -> Source:
        """The source as workers use it, its secrets resolved."""
        enter(self.folder)
        return replace(
            self,
            reader=reveal(self.reader),
            decompressor=reveal(self.decompressor),
            deserializer=reveal(self.deserializer),
            names=names_of(self.reader),
        )

    def listed(self) -> Iterator[Unit | Warned]:
        """The units, and what the reader warns of."""
        return listed(self.reader, self.names)

    def units(self) -> Iterator[Unit]:
        """The units alone."""
        return (found for found in self.listed() if not isinstance(found, Warned))

    def opened(self, unit: Unit) -> BinaryIO:
        """The bytes of a unit, as they are stored."""
        return cast(StreamReader, self.reader).open(self.names.real(unit))

    def span(self, unit: Unit) -> Span:
        """The ranges of a unit: their number is known where the unit can be entered in the middle."""
        with naming(unit):
            if not self.streams:
                ranges = self.given.ranges
                return (0, -1 if ranges is None else ranges(self.names.real(unit)))
            row_groups = self.decoder.row_groups
            if row_groups is not None:
                with self._open(unit) as (found, _):
                    return (0, -1 if isinstance(found, Archive) else max(1, row_groups(found)))
            if self.in_lines(unit):
                return (0, max(1, -(-unit.size // self.range_bytes)))
            return (0, -1)

    def in_lines(self, unit: Unit) -> bool:
        """Whether the unit is plain lines, which can be entered at any byte."""
        if not self.decoder.splits_on_lines or unit.size <= self.range_bytes:
            return False  # One range or of unknown size: nothing is gained, and a look into it may be a request.
        told = DecompressorTraits.of(self.decompressor)
        if not (told.splittable or told.detect):
            return False
        with self.opened(unit) as raw:
            return splits(cast(Decompressor, self.decompressor), raw)

    def events(self, unit: Unit, span: Span, covered: Covered = frozenset()) -> Iterator[Event]:
        """(range, chunk, records or lines in it) in order, and after the last chunk of a range (range, mark, all of it).

        The ranges before the span's first are passed over; of those in `covered`, as (unit, range), nothing is given but
        (range, None, 0). Raises SourceError, which names the unit.
        """
        start, stop = span
        with naming(unit):
            if not self.streams:
                yield from self._records(unit, start, stop, covered)
            elif self.in_lines(unit):
                yield from self._lines(unit, start, stop, covered)
            else:
                with self._open(unit) as (found, unchanged):
                    if self.decoder.row_groups is not None and not isinstance(found, Archive):
                        yield from self._row_groups(unit, start, stop, covered, found, unchanged)
                    else:
                        yield from self._stream(unit, start, covered, found, unchanged)

    @contextmanager
    def _open(self, unit: Unit) -> Iterator[tuple[BinaryIO | Archive, Callable[[], object]]]:
        """The unit's decompressed bytes, or the archive that it is, and what looks whether it is still the one that was
        listed, before a mark."""
        with self.opened(unit) as raw:
            found = self.opening(raw)
            try:
                with self._as_listed(unit, raw) as unchanged:
                    yield found, unchanged
            finally:
                if not isinstance(found, Archive):
                    found.close()

    def _as_listed(self, unit: Unit, raw: BinaryIO) -> AsListed:
        """What looks whether the opened unit is still the one that was listed, and raises SourceError where it is not."""
        look = self.given.unchanged
        return AsListed(_nothing if look is None else partial(look, self.names.real(unit), raw))

    def _stream(
        self, unit: Unit, start: int, covered: Covered, found: BinaryIO | Archive, unchanged: Callable[[], object]
    ) -> Iterator[Event]:
        """A stream in order, or the members of an archive one behind the other: ranges are of the bytes of all."""
        number, size, records, first = 0, 0, 0, 0
        warnings: list[str] = []

        def mark(last: bool) -> Mark | None:
            told = Mark(unit, number, last=last, warnings=tuple(warnings))
            warnings.clear()
            return None if (unit.index, number) in covered else told

        for part in _parts(found):
            if isinstance(part, Warned):
                warnings.append(f"{shown(unit.name)}: {part.text}")
                continue
            before = first
            place = f"{shown(unit.name)}: {shown(part.name)}: "
            for data, count, length in self._chunks(
                part.stream,
                lambda: first - before + 1,  # noqa: B023
                part.name,
                lambda text: warnings.append(place + text),  # noqa: B023
            ):
                if size >= self.range_bytes:
                    unchanged()
                    ended = mark(False)
                    if number >= start:
                        yield number, ended, records
                    number, size, records = number + 1, 0, 0
                if number >= start and (unit.index, number) not in covered:
                    yield number, Chunk(unit, number, first, data), count
                first, size, records = first + count, size + length, records + count
        unchanged()
        if number >= start:
            yield number, mark(True), records

    def _chunks(
        self, stream: Any, number: Callable[[], int], member: str = "", warn: Callable[[str], object] = str
    ) -> Iterator[tuple[Any, int, int]]:
        """The deserializer's chunks. What it says of the record that follows them gets that record's number, and the name of
        the member of the archive."""
        try:
            if member and self.decoder.row_groups is not None:
                with spooled(stream) as file:
                    for text in self._warnings(file):
                        warn(text)
                    yield from self._cutting.chunks(file)
            else:
                yield from self._cutting.chunks(stream)
        except (RecordError, SourceError) as error:
            record = f"record {number()}: " if isinstance(error, RecordError) else ""
            raise SourceError(f"{shown(member)}: {record}{error}" if member else f"{record}{error}") from error

    def members(self, unit: Unit, upto: int) -> list[tuple[int, str]]:
        """(number of its first record in the unit, name) of the members of an archive, up to that with a record's number."""
        found: list[tuple[int, str]] = []
        if not self.streams or self.in_lines(unit):
            return found
        with self._open(unit) as (archive, _):
            first = 0
            with suppress(SourceError, OSError):  # What is wrong with it is told where it is read.
                for part in archive.members() if isinstance(archive, Archive) else ():
                    if first > upto:
                        break
                    if isinstance(part, Member):
                        found.append((first, part.name))
                        first += sum(count for _, count, _ in self._chunks(part.stream, lambda: 0, part.name))
        return found

    def _lines(self, unit: Unit, start: int, stop: int, covered: Covered) -> Iterator[Event]:
        for number in range(start, stop):
            if (unit.index, number) in covered:
                yield number, None, 0
                continue
            records = 0
            with self.opened(unit) as raw:
                with self._as_listed(unit, raw) as unchanged:
                    lines = LineRange(raw, number * self.range_bytes, (number + 1) * self.range_bytes)
                    for data, count, _ in self._chunks(lines, lambda: Places(self)((unit, number, records))[1]):  # noqa: B023
                        yield number, Chunk(unit, number, records, data), count
                        records += count
                unchanged()
            yield number, Mark(unit, number, last=(number + 1) * self.range_bytes >= unit.size), records

    def _row_groups(
        self, unit: Unit, start: int, stop: int, covered: Covered, stream: BinaryIO, unchanged: Callable[[], object]
    ) -> Iterator[Event]:
        row_groups, chunks_of = self.decoder.row_groups, self.decoder.chunks_of
        assert row_groups is not None and chunks_of is not None
        groups = row_groups(stream)
        told = self._warnings(stream)
        for number in range(start, stop):
            if (unit.index, number) in covered:
                yield number, None, 0
                continue
            records = 0
            if number < groups:
                for data, count, _ in chunks_of(stream, number):
                    yield number, Chunk(unit, number, records, data), count
                    records += count
            unchanged()
            warnings = tuple(f"{shown(unit.name)}: {text}" for text in told) if number == 0 else ()
            yield number, Mark(unit, number, last=number + 1 >= groups, warnings=warnings), records

    def _warnings(self, stream: BinaryIO) -> tuple[str, ...]:
        """What the deserializer says of a file that is read all the same."""
        return () if self.decoder.warnings is None else self.decoder.warnings(stream)

    def _records(self, unit: Unit, start: int, stop: int, covered: Covered) -> Iterator[Event]:
        while (unit.index, start) in covered and not 0 <= stop <= start:  # The reader begins with what is not staged yet.
            yield start, None, 0
            start += 1
        if 0 <= stop <= start:
            return
        current, records = start, 0
        warnings: list[str] = []

        def mark(last: bool) -> Mark | None:
            told = Mark(unit, current, last=last, warnings=tuple(warnings))
            warnings.clear()
            return None if (unit.index, current) in covered else told

        for number, batch in cast(Reader, self.reader).read(self.names.real(unit), start):
            while number > current:
                yield current, mark(False), records
                current, records = current + 1, 0
            if 0 <= stop <= number:
                return
            if isinstance(batch, Warned):
                warnings.append(f"{shown(unit.name)}: {batch.text}")
            elif (unit.index, number) not in covered:
                yield number, Chunk(unit, number, records, batch), len(batch)
            records += 0 if isinstance(batch, Warned) else len(batch)
        yield current, mark(True), records

    def records(self, chunk: Chunk) -> Sequence[Record]:
        """The records of a chunk. Raises anything where one cannot be decoded."""
        if self.deserializer is not None:
            return self.deserializer.decode(chunk.data)
        if Undecoded in set(map(type, chunk.data)):
            raise RecordError("the reader could not make records of all that it read")
        found: Sequence[Record] = chunk.data
        return found

    def decode_each(self, chunk: Chunk) -> Iterator[tuple[Position, Record | Failure, Any]]:
        """The same one by one with their positions and what they were decoded from, where the chunk has one at fault."""
        unit, number, first, data = chunk
        for n, record, raw in self._cutting.decode_each(data) if self.deserializer is not None else _each(data):
            position = (unit, number, first + n)
            if isinstance(record, Exception):
                yield position, Failure(position, unit.name, "deserializer", str(record), raw), raw
            else:
                yield position, record, raw


class Places:
    """Where positions are in the source as users know it: the file, and the record's number in it from 1.

    Positions in units that are entered in the middle count inside their range: the records before are counted here, on
    the way to a message or a dead letter, and not while reading; once a range, and each unit once.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._ready = False
        self._before: dict[tuple[int, int], int] = {}
        self._members: dict[int, tuple[int, list[tuple[int, str]]]] = {}

    def __call__(self, position: Position) -> tuple[str, int]:
        if not self._ready:
            self._source, self._ready = self._source.ready(), True
        unit, number, n = position
        place = self._source.given.place
        if place is not None:
            return place(self._source.names.real(unit), n)
        first, member = self._member(unit, n)
        if member:
            return f"{unit.name}: {member}", n + 1 - first
        return unit.name, n + 1 + self._records_before(unit, number)

    def _member(self, unit: Unit, n: int) -> tuple[int, str]:
        """The member of an archive in which a record is, and its first record; ("", 0) for a file that is not an archive."""
        upto, found = self._members.get(unit.index, (-1, []))
        if n > upto:
            upto = n if upto < 0 else sys.maxsize  # One record is asked for, and then often many.
            try:
                found = self._source.members(unit, upto)
            except (OSError, SourceError):
                found = []
            self._members[unit.index] = (upto if found else sys.maxsize, found)
        return max(((first, name) for first, name in found if first <= n), default=(0, ""))

    def _records_before(self, unit: Unit, number: int) -> int:
        if number == 0:
            return 0
        if self._source.given.before is not None:
            return self._source.given.before(self._source.names.real(unit), number)
        known = self._before.get((unit.index, number))
        if known is None:
            try:
                known = self._count(unit, number)
            except (OSError, SourceError):
                known = 0
            self._before[unit.index, number] = known
        return known

    def _count(self, unit: Unit, number: int) -> int:
        source = self._source
        nearest = max((r for index, r in self._before if index == unit.index and r < number), default=0)
        before = self._before.get((unit.index, nearest), 0)
        if not source.streams:
            read = cast(Reader, source.reader).read(source.names.real(unit), nearest)
            batches = (batch for _, batch in takewhile(lambda found: found[0] < number, read))
            return before + sum(len(batch) for batch in batches if not isinstance(batch, Warned))
        if source.decoder.row_groups is not None or source.in_lines(unit):
            events = source.events(unit, (nearest, number))
            return before + sum(n for _, found, n in events if isinstance(found, Mark))
        return before

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_ready": False, "_before": {}, "_members": {}}


def _each(data: Sequence[Any]) -> Iterator[tuple[int, Any, Any]]:
    """What a reader gave, as a deserializer tells it where something is at fault."""
    for n, record in enumerate(data):
        if isinstance(record, Undecoded):
            yield n, RecordError(record.message), record.raw
        else:
            yield n, record, record


def _nothing() -> None:
    """Looks at nothing."""


def _parts(found: BinaryIO | Archive) -> Iterator[Member | Warned]:
    """The members of an archive; a file that is none is its only member, without a name."""
    return found.members() if isinstance(found, Archive) else iter((Member("", found),))


class AsListed:
    """Looks whether a unit is still the one that was listed where something is wrong with it: that it is another one is what
    is wrong then."""

    __slots__ = ("_look",)

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look

    def __enter__(self) -> Callable[[], object]:
        return self._look

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (SourceError, RecordError, OSError)):
            self._look()


class naming:
    """Adds the unit's name to what is raised inside: SourceError says what is wrong, this says where."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, (SourceError, RecordError)):
            raise SourceError(f"{shown(self.unit.name)}: {error}") from error
        if isinstance(error, MemoryError):
            raise SourceError(f"{shown(self.unit.name)}: there is not enough memory to read it; {MORE_MEMORY}") from error
        if isinstance(error, OSError):
            raise SourceError(f"{shown(self.unit.name)}: cannot be read: {error.strerror or error}") from error


class LineRange:
    """The lines that begin in the bytes `start` to `stop` of a seekable stream, as a stream of their own."""

    def __init__(self, raw: BinaryIO, start: int, stop: int) -> None:
        self._raw, self._left = raw, stop - start
        self.begins_inside = start > 0
        """Whether other lines stand before: then no byte-order mark may stand where it begins."""
        self._ended = False
        if start:
            raw.seek(start - 1)
            self._left += 1
            while self._left > 0 and (line := raw.readline(LINE)):
                self._left -= len(line)
                if line.endswith(b"\n"):
                    break
            self._ended = self._left <= 0

    def read(self, size: int) -> bytes:
        if self._ended:
            return b""
        if self._left > 0:
            data = self._raw.read(min(size, self._left))
        else:
            data = self._raw.readline(size)
        self._left -= len(data)
        self._ended = self._left <= 0 and (not data or data.endswith(b"\n"))
        return data
