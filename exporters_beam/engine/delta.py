"""`delta`: a snapshot is compared with the delivery before, bucket by bucket, and what is the same is not delivered.

Hashes and places of records are shuffled, the records wait in the staging folder, as those of the filter `dupe` do.
"""

from __future__ import annotations

import os
import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from exporters_beam.components.words import shortened
from exporters_beam.config.delta import CHANGED, DELETED, NEW
from exporters_beam.errors import DestinationError
from exporters_beam.handover import HandsOver
from exporters_beam.records import Batch, BlockRef, Json, Mark, Unit
from exporters_beam.staging.deltas import BUCKETS, HASH, Against, Bucket, packed_rows, rows_of, write_state
from exporters_beam.staging.run import Run, enter
from exporters_beam.staging.segments import Blocks
from exporters_beam.transforms.dedupe import PART_BITS, KeyedBytes, Keys, Survivors, keys_of
from exporters_beam.transforms.delta import Told, record_of

STATE = "state"
"""The output of Compare that holds the buckets of the delivery's state."""

GONE = Unit(1 << 30, "what was deleted")
"""What stands for the unit that deleted records come from, behind all others. Each bucket is a range of it."""


class SameKey(DestinationError):
    """Two records of one snapshot have the same key, so nothing is delivered."""


def buckets(_: Any) -> Iterator[KeyedBytes]:
    """Nothing of each bucket, so that each is compared, also where the snapshot has nothing of it."""
    for bucket in range(BUCKETS):
        yield b"%d" % bucket, b""


class Hash(Keys):
    """What there is of each range, in shares, and what tells its records apart, with their places."""

    called = "delta"

    @staticmethod
    def bucket(key: bytes) -> int:
        return key[0]


class Compare(HandsOver, beam.DoFn):
    """From a bucket of the snapshot and of the delivery before: of each range the records that are the same and those that
    have changed, what is gone, and the bucket's state. A bundle that ran twice tells the same twice."""

    def __init__(self, told: Told, run: Run, against: Against) -> None:
        self._told, self._run, self._against = told, run, against

    def setup(self) -> None:
        enter(self._run.folder)

    def start_bundle(self) -> None:
        self._segment = self._run.staging.create_passing()

    def finish_bundle(self) -> None:
        self._segment.close()

    def teardown(self) -> None:
        segment = getattr(self, "_segment", None)
        if segment is not None:
            segment.abandon()

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[Any]:
        bucket = int(element[0])
        now = self._now(filter(None, element[1]))
        same: defaultdict[tuple[int, int], tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        gone: list[bytes] = []
        counts = [0, 0]
        for own, digest, kept in rows_of(self._against.before, bucket):
            found = now.get(own)
            if found is None:
                gone.append(kept)
                continue
            position, key = found
            changed = key[HASH : 2 * HASH] != digest
            same[position[:2]][changed].add(position[2])
            counts[changed] += 1
        yield from ((pickle.dumps(where), pickle.dumps(places, 5)) for where, places in same.items())
        if gone and self._told.deletes:
            yield pickle.dumps((GONE.index, bucket)), pickle.dumps(gone, 5)
        data = packed_rows((key[:HASH], key[HASH : 2 * HASH], key[2 * HASH :]) for _, key in now.values())
        ref = self._segment.add((), data, (), BlockRef.of(length=len(data), records=0, first=(GONE, bucket, 0), number=0))
        yield TaggedOutput(STATE, Bucket(bucket, ref, len(now), len(now) - sum(counts), counts[1], counts[0], len(gone)))

    def _now(self, lots: Iterable[bytes]) -> dict[bytes, tuple[tuple[int, int, int], bytes]]:
        """The place of each key, and what tells its record. Raises SameKey."""
        now: dict[bytes, tuple[tuple[int, int, int], bytes]] = {}
        twice: list[tuple[tuple[int, int, int], bytes]] = []
        for unit, number, keys, places in chain.from_iterable(map(keys_of, lots)):
            for key, position in zip(keys, zip(repeat(unit), repeat(number), places)):  # noqa: B905
                other = now.setdefault(key[:HASH], (position, key))
                if other[0] != position:
                    twice.append((max(position, other[0]), key))
        if twice:
            fields = shortened(str(record_of(min(twice)[1][2 * HASH :])), 200)
            raise SameKey(
                f"delta: two records of this snapshot have the same key: {fields}; a key has to be that of one record "
                "(delta.key): name more fields, or drop duplicates with the filter dupe; nothing was delivered"
            )
        return now


class Differing(Survivors):
    """The records of a range that are new or have changed, and say so, then its mark; or those that are gone."""

    called, counted = "delta", "dropped"

    def __init__(self, name: str, told: Told, stage: Run | None) -> None:
        super().__init__(name, stage)
        self._field = told.field

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[Any]:
        unit, number = pickle.loads(element[0])
        if unit != GONE.index:
            self._changed: set[int] = set()
            yield from super().process(element)
            return
        gone = pickle.loads(next(iter(element[1])))
        yield Batch(GONE, number, range(len(gone)), [{**record_of(kept), self._field: DELETED} for kept in gone])
        yield Mark(GONE, number, ((f"{self._name}.added", len(gone)),), last=True)

    def lost(self, found: Any) -> set[int]:
        same, changed = found
        self._changed |= changed
        places: set[int] = same
        return places

    def told(self, records: list[Any], numbers: Sequence[int], parts: Sequence[int]) -> list[Any]:
        changed, field = self._changed, self._field
        return [
            {**record, field: CHANGED if number << PART_BITS | part in changed else NEW}
            for record, number, part in zip(records, numbers, parts or repeat(0))  # noqa: B905
        ]


def without_gone(units: dict[int, Unit]) -> dict[int, Unit]:
    return {index: unit for index, unit in units.items() if index != GONE.index}


def stated(run: Run, told: Sequence[Bucket], written: int, deletes: bool) -> Json:
    """Put the state of a delivery in place; gives what the manifest tells of it. Raises DestinationError where what was
    written is not what was found to be different."""
    against = run.against
    assert against is not None
    found = {bucket.number: bucket for bucket in told}
    own = [found[number] for number in range(BUCKETS)]
    new, changed, unchanged, deleted = (sum(column) for column in list(zip(*own, strict=True))[3:])
    wanted = new + changed + (deleted if deletes else 0)
    if written != wanted:
        raise DestinationError(f"delta: {wanted} records are different from the delivery before, and {written} were written; "
                               "the next delivery would count them as delivered, so the export has failed")  # fmt: skip
    blocks = Blocks()
    try:
        digest = write_state(against.state, [bucket.ref.length for bucket in own], (blocks.payload(b.ref) for b in own))
    finally:
        blocks.close()
    return {
        "number": against.number,
        "base": dict(against.base) or None,
        "new": new,
        "changed": changed,
        "unchanged": unchanged,
        "deleted": deleted,
        "state": {
            "file": os.path.basename(against.state),
            "keys": sum(bucket.keys for bucket in own),
            "sha256": digest,
        },
    }
