"""`checks`: what is counted of records on their way, and what is said of an export when everything is staged."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any
from zlib import crc32

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from exporters_beam.config.checks import HOLD, RELEASED, WARN, Checks, Looked
from exporters_beam.errors import DestinationError
from exporters_beam.handover import HandsOver
from exporters_beam.records import Batch, Json
from exporters_beam.staging.books import note_held
from exporters_beam.staging.history import runs_before
from exporters_beam.staging.run import Run
from exporters_beam.transforms.dedupe import BUCKETS, PART_BITS, TOGETHER, KeyedBytes, KeyLot, keys_of, packed_keys
from exporters_beam.transforms.dupe import canonical_key
from exporters_beam.transforms.steps import Step

RECORDS = "checks.records"
"""How many records came to the checks, among the counts."""

REPEATED = "checks.repeated"
"""How many records have the key of another before them, among the counts."""

KEYS = "keys"
"""The output of Look that holds the keys of records, which are to be unique."""


def having(field: str) -> str:
    """The name under which records are counted that have a field. It is no name that any other count may have."""
    return f"checks.{field} present"


class ChecksFailed(DestinationError):
    """A check does not hold, so nothing is delivered."""


class Look(Step):
    """Counts records and the fields that they have, and lets all pass; gives their keys, where these have to be unique."""

    _component: Looked

    def start_bundle(self) -> None:
        super().start_bundle()
        self._keys: defaultdict[int, list[KeyLot]] = defaultdict(list)
        self._waiting = self._part = 0
        self._last = (-1, -1, -1)

    def batch(self, batch: Batch) -> Iterator[Any]:
        records = batch.records
        self.look(records)
        self.count(RECORDS, len(records))
        for name, key in self._component.keys:
            single = key.single
            if single is not None:
                values: Iterable[Any] = (record.get(single) for record in records)
            else:
                values = (key.value(record) for record in records)
            there = sum(value is not None and value != "" for value in values)
            if there:
                self.count(having(name), there)
        if self._component.unique:
            self._hold(batch)
        yield batch
        if self._waiting >= TOGETHER:
            yield from (TaggedOutput(KEYS, told) for told in self._told_keys())

    def _hold(self, batch: Batch) -> None:
        parts = self._component.parts
        own: defaultdict[int, tuple[list[bytes], list[int]]] = defaultdict(lambda: ([], []))
        unit, range_ = batch.unit.index, batch.range
        for number, record in zip(batch.numbers, batch.records, strict=True):
            place = (unit, range_, number)  # One record may have become several, and these several batches.
            self._part = self._part + 1 if place == self._last else 0
            self._last = place
            key = canonical_key([each.value(record) for each in parts])
            keys, places = own[crc32(key) % BUCKETS]
            keys.append(key)
            places.append(number << PART_BITS | self._part)
        for bucket, (keys, places) in own.items():
            self._keys[bucket].append((unit, range_, keys, places))
        self._waiting += len(batch.records)

    def _told_keys(self) -> Iterator[KeyedBytes]:
        told, self._keys, self._waiting = self._keys, defaultdict(list), 0
        for bucket, lots in told.items():
            yield b"%d" % bucket, packed_keys(lots)

    def finish_bundle(self) -> Iterator[Any]:
        super().finish_bundle()
        for told in self._told_keys():
            yield TaggedOutput(KEYS, GlobalWindows.windowed_value(told))


class Repeated(HandsOver, beam.DoFn):
    """Of the keys of a bucket how many records have one that another record has before them. A bundle that ran twice has told
    of some records twice."""

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[bytes]:
        first: dict[bytes, set[tuple[int, int, int]]] = defaultdict(set)
        for unit, number, keys, places in chain.from_iterable(map(keys_of, element[1])):
            for key, position in zip(keys, zip(repeat(unit), repeat(number), places)):  # noqa: B905
                first[key].add(position)
        later = sum(len(found) - 1 for found in first.values())
        if later:
            yield pickle.dumps(("repeated", later), 5)


def measured(checks: Checks, counts: Mapping[str, int]) -> Json:
    """What the checks found, as the manifest tells it: the number of records, and of each field the share that has it."""
    records = counts.get(RECORDS, counts.get("kept", 0))
    coverage = {name: round(counts.get(having(name), 0) / records, 6) for name, _ in checks.shares} if records else {}
    released = {"released": True} if checks.on_fail == RELEASED else {}
    repeated = {"repeated": counts.get(REPEATED, 0)} if checks.unique and not released else {}
    return {"records": records, **({"coverage": coverage} if coverage else {}), **repeated, **released}


def wrong(checks: Checks, found: Json, before: Sequence[Json]) -> Iterator[str]:
    """What does not hold, a sentence each."""
    records = found["records"]
    if checks.least is not None and records < checks.least:
        yield f"{_many(records)}, at least {checks.least:,} are wanted (checks.records.min)"
    if checks.most is not None and records > checks.most:
        yield f"{_many(records)}, at most {checks.most:,} are wanted (checks.records.max)"
    numbers = [each["records"] for each in before[-checks.runs :]] if checks.runs else []
    if numbers:
        average = sum(numbers) / len(numbers)
        change = abs(records - average) / average if average else float(records > 0)
        if change > checks.change:
            runs = "the run before had" if len(numbers) == 1 else f"the last {len(numbers)} runs had on average"
            more = "more" if records > average else "less"
            yield (f"{_many(records)}, and {runs} {average:,.0f}: that is {change:.1%} {more}, and at most "
                   f"{checks.change:.1%} are allowed (checks.records.change)")  # fmt: skip
    for name, share in checks.shares:
        has = found.get("coverage", {}).get(name)
        if has is not None and has < share:
            yield f"{name} is there in {has:.2%} of the records, at least {share:.2%} are wanted (checks.coverage.{name})"
    if found.get("repeated"):
        fields = ", ".join(checks.unique)
        yield f"{_many(found['repeated'])} of the same {fields} as an earlier one, which has to be unique (checks.unique)"


def _many(records: int) -> str:
    return f"{records:,} record{'s' if records != 1 else ''}"


def judged(checks: Checks, counts: Mapping[str, int], repeated: int, run: Run) -> list[str]:
    """What does not hold of an export of which everything is staged, where it is delivered all the same. Raises ChecksFailed
    where it is not."""
    if not checks.judges:
        return []
    counts = {**counts, REPEATED: repeated}
    found = list(wrong(checks, measured(checks, counts), runs_before(run.history, (run.export_id, run.began))))
    if not found or checks.on_fail == WARN:
        return [f"checks: {each}" for each in found]
    told = "; ".join(found)
    if checks.on_fail == HOLD:
        note_held(run.books, told)
        raise ChecksFailed(f"checks: {told}; nothing was delivered: what is staged is held; exporters-beam release CONFIG "
                           "delivers it, exporters-beam clean CONFIG removes it")  # fmt: skip
    raise ChecksFailed(f"checks: {told}; nothing was delivered")
