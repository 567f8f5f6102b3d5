"""Applies the filter `dupe`: the only step that needs the whole collection, so it is a PTransform."""

from __future__ import annotations

import marshal
import pickle
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress, islice, repeat
from operator import itemgetter, lt
from typing import Any, NamedTuple
from zlib import crc32

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from isal import isal_zlib

from exporters_beam.components.protocols import Keyed
from exporters_beam.config.on_error import OnError
from exporters_beam.errors import RecordError
from exporters_beam.handover import HandsOver
from exporters_beam.records import Batch, BlockRef, Failure, Mark
from exporters_beam.staging.letters import Unreadable
from exporters_beam.staging.run import Run, enter
from exporters_beam.staging.segments import Blocks, Segment
from exporters_beam.transforms.steps import BATCH_RECORDS, FAILED, Step, taken_up

KeyedBytes = tuple[bytes, bytes]

BUCKETS = 1024
"""Keys are shuffled in so many buckets: what a shuffle costs is for each element."""

TOGETHER = 1 << 16
"""So many keys wait at most until those of a bucket go together."""

SHUFFLED_BYTES = 256 << 10
"""Where lots are not staged, those of a range are shuffled when they have so many bytes."""

FEW, LOT_BYTES = 100, 512 << 10
"""Fewer records than that are no lot of their own; what is packed one by one is one at so many bytes."""

Lot = tuple[Sequence[int], Sequence[int], list[Any], bool]
"""The numbers of records, their parts, nothing where all are 0, the records, and whether each of them is packed by itself."""

PART_BITS = 32
"""A place is a record's number in its range with so many bits behind it, for the part: it tells apart the records that one
record became."""


class Dedupe(beam.PTransform):
    """Batches and marks → the same without the duplicates, in whole ranges, each followed by its mark.

    Keys and positions are shuffled to find the positions that lose. Then the losers and all else there is of a range meet:
    its mark and its lots, which are the records of a batch, packed. With a `stage` lots are staged there and read again, and
    only references to them are shuffled. Records that may `share` values are packed one by one, so that a later step that
    changes a value of one does not change it in another. What comes out of a range is in order.
    """

    def __init__(self, name: str, component: Keyed, on_error: OnError, stage: Run | None = None, share: bool = True) -> None:
        super().__init__()
        self.key = Keys(name, component, on_error, stage, share)
        self.survivors = Survivors(name, stage)

    def expand(self, records: Any) -> Any:
        split = records | "Key" >> beam.ParDo(self.key).with_outputs("keys", FAILED, main="ranges")
        losers = (
            split["keys"]
            | "KeyTypes" >> beam.Map(_same).with_output_types(KeyedBytes)
            | "ByKey" >> beam.GroupByKey()
            | "Losers" >> beam.ParDo(Losers()).with_output_types(KeyedBytes)
        )
        kept = split["ranges"] | "RangeTypes" >> beam.Map(_same).with_output_types(KeyedBytes)
        return (
            (kept, losers)
            | "Meet" >> beam.Flatten()
            | "ByRange" >> beam.GroupByKey()
            | "Survivors" >> beam.ParDo(self.survivors)
        ), split[FAILED]


def _same(pair: KeyedBytes) -> KeyedBytes:
    return pair


class _Share(NamedTuple):
    """Some of what a bundle has of a range: the n-th share of it. `records` and `failures` are lots, or references to lots.
    The last share has the range's mark, the types of its columns, and says whether the records came in order: dead letters
    that are sent in again need not."""

    bundle: bytes
    n: int
    records: list[bytes | BlockRef]
    failures: list[bytes | BlockRef]
    mark: Mark | None = None
    types: bytes = b""
    in_order: bool = True


class Keys(Step):
    """What there is of each range, in shares, and the keys of its records with their places. Failures have no key."""

    called = "the filter dupe"

    def __init__(self, name: str, component: Keyed, on_error: OnError, stage: Run | None, share: bool) -> None:
        super().__init__(name, component, on_error)
        self._stage, self._share = stage, share

    def setup(self) -> None:
        super().setup()
        if self._stage is not None:
            enter(self._stage.folder)

    def start_bundle(self) -> None:
        super().start_bundle()
        self._bundle = uuid.uuid4().bytes
        self._segment: Segment | None = None if self._stage is None else self._stage.staging.create_passing()
        self._last = (-1, -1, -1)
        self._part = self._waiting = 0
        self._keys: defaultdict[int, list[KeyLot]] = defaultdict(list)
        self._begin_range()

    def _begin_range(self) -> None:
        self._own: dict[int, tuple[list[bytes], list[int]]] = {}
        self._records: list[bytes | BlockRef] = []
        self._failures: list[bytes | BlockRef] = []
        self._shares = self._shuffled = 0
        self._types, self._in_order = b"", True
        self._begin_rows()

    def _begin_rows(self) -> None:
        """Rows are records, with number and part, and failures that are packed one by one and go together in a lot."""
        self._rows: list[tuple[int, int, bytes]] = []
        self._failed: list[bytes] = []
        self._row_bytes = 0

    def process(self, element: Any) -> Iterator[Any]:
        where = element.unit.index, element.range
        if element.__class__ is Mark:  # Bundles have whole ranges, so that none ends with records that wait.
            self._close_rows(element)
            yield self._shared(where, self.end_range(element))
            self._close_keys(where)
            self._begin_range()
        else:
            batch = taken_up(element, self._name)
            self.look(batch.records)
            yield from self._packed(batch, self._parts(where, batch.numbers))
            self._types = batch.types or self._types
            if self._row_bytes >= LOT_BYTES or len(self._rows) + len(self._failed) >= BATCH_RECORDS:
                self._close_rows(element)
            if self._shuffled >= SHUFFLED_BYTES:
                yield self._shared(where)
        if self._waiting >= TOGETHER:
            self._close_keys(where)
            yield from (TaggedOutput("keys", told) for told in self._keys_told())

    def finish_bundle(self) -> Iterator[Any]:
        if self._records or self._failures or self._rows or self._failed or self._shares:
            raise RuntimeError("a bundle ended in the middle of a range")
        if self._segment is not None:
            self._segment.close()
        super().finish_bundle()
        for told in self._keys_told():
            yield TaggedOutput("keys", GlobalWindows.windowed_value(told))

    def teardown(self) -> None:
        segment: Segment | None = getattr(self, "_segment", None)
        if segment is not None:
            segment.abandon()

    def _lot(self, element: Batch | Mark, packed: bytes) -> bytes | BlockRef:
        """A lot, or a reference to it where lots are staged."""
        if self._segment is None:
            self._shuffled += len(packed)
            return packed
        ref = BlockRef.of(length=len(packed), records=0, first=(element.unit, element.range, 0), number=0)
        return self._segment.add((), packed, (), ref)

    def _shared(self, where: tuple[int, int], mark: Mark | None = None) -> KeyedBytes:
        share = _Share(self._bundle, self._shares, self._records, self._failures, mark, self._types, self._in_order)
        self._records, self._failures = [], []
        self._shares, self._shuffled = self._shares + 1, 0
        return pickle.dumps(where), pickle.dumps(share, 5)

    def _hold(self, keys: Sequence[bytes | None], numbers: Iterable[int], parts: Sequence[int]) -> None:
        """Keep the keys until many of a bucket can go together."""
        own, bucket_of = self._own, self.bucket
        self._waiting += len(keys)
        places: Iterable[int] = [number << PART_BITS for number in numbers]
        if parts:
            places = map(int.__or__, places, parts)
        for key, place in zip(keys, places):  # noqa: B905 (it is done for every record)
            if key is not None:
                bucket = bucket_of(key)
                if bucket in own:
                    pair = own[bucket]
                    pair[0].append(key)
                    pair[1].append(place)
                else:
                    own[bucket] = [key], [place]

    @staticmethod
    def bucket(key: bytes) -> int:
        """The bucket in which a key is shuffled."""
        return crc32(key) % BUCKETS

    def _close_keys(self, where: tuple[int, int]) -> None:
        for bucket, (keys, places) in self._own.items():
            self._keys[bucket].append((*where, keys, places))
        self._own = {}

    def _keys_told(self) -> Iterator[KeyedBytes]:
        told, self._keys, self._waiting = self._keys, defaultdict(list), 0
        for bucket, keys in told.items():
            yield b"%d" % bucket, packed_keys(keys)

    def _parts(self, where: tuple[int, int], numbers: Sequence[int]) -> Sequence[int]:
        """The part of each record, nothing where all are 0: the n-th record in a row that one record became is part n."""
        if not numbers:
            return ()
        before, self._last = self._last if self._last[:2] == where else (*where, -1), (*where, numbers[-1])
        if before[2] < numbers[0] and (numbers.__class__ is range or all(map(lt, numbers, islice(numbers, 1, None)))):
            self._part = 0
            return ()
        parts, last = [], before[2]
        for number in numbers:
            self._part = self._part + 1 if number == last else 0
            self._in_order = self._in_order and number >= last
            parts.append(self._part)
            last = number
        return parts

    def _packed(self, batch: Batch, parts: Sequence[int]) -> list[Any]:
        """Pack what there is of a batch, and hold its keys; gives what to emit for records that fail.

        What has nothing in common with others goes as one, where it is enough for a lot.
        """
        records, numbers = batch.records, batch.numbers
        emitted: list[Any] = []
        rows: Any = ()
        try:
            keys = list(map(self._component.key, records))
            if len(keys) != len(records):
                raise RuntimeError("StopIteration")
            if self._share or len(records) < FEW:
                rows = list(zip(numbers, parts or repeat(0), [pickle.dumps(record, 5) for record in records]))  # noqa: B905
            else:
                together = pickle.dumps((numbers, parts, list(records), False), 5)
        except Exception:  # Some record is at fault: one after the other.
            asked = list(zip(numbers, parts or repeat(0), records))  # noqa: B905
            found, batch, emitted = self.each(self._keyed, batch._replace(records=asked), "", records.__getitem__)
            keys, rows = [key for key, _ in found], [row for _, row in found]
            numbers, parts = [number for number, _, _ in rows], [part for _, part, _ in rows]
        else:
            if not rows and keys:
                self._close_rows(batch)
                self._records.append(self._lot(batch, together))
        self._hold(keys, numbers, parts)
        failed = [_failure_packed(failure) for failure in batch.failures]
        self._rows += rows
        self._failed += failed
        self._row_bytes += sum(len(packed) for _, _, packed in rows) + sum(map(len, failed))
        return emitted

    def _close_rows(self, element: Batch | Mark) -> None:
        if self._rows:
            numbers, parts, packed = [list(column) for column in zip(*self._rows, strict=True)]
            self._records.append(self._lot(element, pickle.dumps((numbers, parts if any(parts) else (), packed, True), 5)))
        if self._failed:
            self._failures.append(self._lot(element, pickle.dumps(self._failed, 5)))
        self._begin_rows()

    def _keyed(self, row: tuple[int, int, Any]) -> tuple[bytes | None, tuple[int, int, bytes]]:
        number, part, record = row
        try:
            return self._component.key(record), (number, part, pickle.dumps(record, 5))
        except RecursionError:
            raise RecordError(f"the record is nested too deeply for {self.called}") from None


def _failure_packed(failure: Failure) -> bytes:
    """A failure as bytes. Its record may be nested deeper than pickle follows, or hold what cannot be pickled."""
    try:
        return pickle.dumps((failure, None), 5)
    except Exception:
        pass
    try:
        nested = marshal.dumps(failure.record)
    except ValueError:
        return pickle.dumps((failure._replace(record=Unreadable.of(failure.record)), None), 5)
    return pickle.dumps((failure._replace(record=None), nested), 5)


def _failure_of(packed: bytes) -> Failure:
    failure: Failure
    failure, nested = pickle.loads(packed)
    return failure if nested is None else failure._replace(record=marshal.loads(nested))


KeyLot = tuple[int, int, list[bytes], list[int]]
"""Unit and number of a range, keys in it, and their places."""


def packed_keys(lots: list[KeyLot]) -> bytes:
    """Lots as bytes. Compression halves what stands in the memory of a shuffle."""
    return isal_zlib.compress(marshal.dumps(lots), 1)


def keys_of(packed: bytes) -> list[KeyLot]:
    lots: list[KeyLot] = marshal.loads(isal_zlib.decompress(packed))
    return lots


class Losers(HandsOver, beam.DoFn):
    """Of the positions of each key all but the smallest, by range. A bundle that ran twice has told of some twice."""

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[KeyedBytes]:
        first: dict[bytes, tuple[int, int, int]] = {}
        losers: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for unit, number, keys, places in chain.from_iterable(map(keys_of, element[1])):
            for key, position in zip(keys, zip(repeat(unit), repeat(number), places)):  # noqa: B905
                other = first.setdefault(key, position)
                if position != other:
                    first[key], later = min(position, other), max(position, other)
                    losers[later[:2]].add(later[2])
        for where, lost in losers.items():
            yield pickle.dumps(where), pickle.dumps(lost, 5)


class Survivors(HandsOver, beam.DoFn):
    """The records of a range that lost nothing, in order, then the range's mark."""

    called, counted = "the filter dupe", "duplicates"

    def __init__(self, name: str, stage: Run | None) -> None:
        self._name, self._stage = name, stage

    def setup(self) -> None:
        if self._stage is not None:
            enter(self._stage.folder)

    def start_bundle(self) -> None:
        self._blocks = Blocks()

    def finish_bundle(self) -> None:
        self._blocks.close()

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[Any]:
        number = pickle.loads(element[0])[1]
        losers: set[int] = set()
        bundles: defaultdict[bytes, dict[int, _Share]] = defaultdict(dict)
        for value in element[1]:
            found = pickle.loads(value)
            if isinstance(found, _Share):
                bundles[found.bundle][found.n] = found
            else:
                losers |= self.lost(found)
        shares = next((list(found) for found in map(_in_order, bundles.values()) if found), None)
        if shares is None:
            raise RuntimeError(f"range {number} reached {self.called} without its end mark")
        mark, types = shares[-1].mark, shares[-1].types
        assert mark is not None
        dropped = 0
        lots = map(pickle.loads, map(self._read, chain.from_iterable(share.records for share in shares)))
        for numbers, parts, records, each in lots if shares[-1].in_order else _sorted(lots):
            if losers:
                places = zip(numbers, parts or repeat(0))  # noqa: B905
                kept = [(n << PART_BITS | part) not in losers for n, part in places]
                dropped += len(kept) - sum(kept)
                numbers, records = list(compress(numbers, kept)), list(compress(records, kept))
                parts = list(compress(parts, kept)) if parts else ()
            if records:
                records = list(map(pickle.loads, records)) if each else records
                yield Batch(mark.unit, number, numbers, self.told(records, numbers, parts), types=types)
        failures = [
            _failure_of(packed)
            for lot in chain.from_iterable(share.failures for share in shares)
            for packed in pickle.loads(self._read(lot))
        ]
        if failures:
            yield Batch(mark.unit, number, (), (), tuple(failures))
        if dropped:
            mark = mark._replace(counts=(*mark.counts, (f"{self._name}.{self.counted}", dropped)))
        yield mark

    def lost(self, found: Any) -> set[int]:
        """The places of a range that lose, of what was told of it."""
        places: set[int] = found
        return places

    def told(self, records: list[Any], numbers: Sequence[int], parts: Sequence[int]) -> list[Any]:
        """Records as they go on."""
        return records

    def _read(self, lot: bytes | BlockRef) -> bytes:
        return self._blocks.payload(lot) if isinstance(lot, BlockRef) else lot


def _sorted(lots: Iterable[Lot]) -> Iterator[Lot]:
    """One lot with the records of all of them, in order."""
    rows = [
        (number, part, record if each else pickle.dumps(record, 5))
        for numbers, parts, records, each in lots
        for number, part, record in zip(numbers, parts or repeat(0), records)  # noqa: B905
    ]
    rows.sort(key=itemgetter(0, 1))
    if rows:
        numbers, parts, records = (list(column) for column in zip(*rows, strict=True))
        yield numbers, parts, records, True


def _in_order(shares: dict[int, _Share]) -> list[_Share]:
    """All shares that a bundle has of a range, in order; none where there are not all of them."""
    found = [shares[n] for n in sorted(shares)]
    return found if found[-1].mark is not None and len(found) == found[-1].n + 1 else []
