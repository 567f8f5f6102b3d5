"""One schema for all files of an export: what all its blocks agree on, and which records are at fault where they do not.

The types of a table's columns are found in the records, block by block. In the order of the input, a record that does not
fit those before it is at fault, wherever blocks, files and groups begin. Mostly all schemas merge, which proves that no
record is; only ranges whose schemas do not are looked at record by record.
"""

from __future__ import annotations

import json
import pickle
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from exporters_beam.config.on_error import DEAD_LETTER, FAIL, FORMATTER, counted
from exporters_beam.engine.checking import REPEATED, judged
from exporters_beam.engine.dead_letters import TooManyFailed
from exporters_beam.engine.delivery import TALLIES, Delivery, key_of, packed, staged_lines, total_of, unpacked
from exporters_beam.engine.encode import BLOCK_RECORDS
from exporters_beam.engine.failures import FailedRecord
from exporters_beam.errors import RecordError
from exporters_beam.formats.tables import arrow
from exporters_beam.formats.tables import kept as types
from exporters_beam.formats.tables.types import NULL
from exporters_beam.handover import HandsOver
from exporters_beam.records import BlockRef, Failure, Json, Mark, Recount, Replaced, Schema, Typed, Unit, Warned
from exporters_beam.staging.letters import GROUP, staged
from exporters_beam.staging.run import Run, enter
from exporters_beam.staging.segments import Blocks, Staging, blocks_of, in_order

Group = tuple[str, ...] | None
Rows = Sequence[tuple[int, Group, Json, int]]
"""Number in the range, group, record, and its draw where a sample is taken."""

LATE = 1
"""The number of a range's block of dead letters that are found here; 0 is that of its others."""


@dataclass
class Settled:
    """What all blocks agree on, the blocks that took the place of others, dead letters, and how counts change. `first` is
    the unit in which a column has its first value."""

    schema: types.Columns = field(default_factory=types.Columns)
    replaced: dict[tuple[int, int], dict[Group, list[BlockRef]]] = field(default_factory=dict)
    letters: list[BlockRef] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def agree(self, schema: types.Columns, unit: Unit) -> None:
        """Go on with what holds this unit's records as well."""
        if schema is not self.schema:
            for name, column in schema.columns.items():
                if name not in self.first and (column.kept or column.found != NULL):
                    self.first[name] = unit.name
        self.schema = schema

    def why(self, error: RecordError, unit: Unit) -> str:
        """Why a record is at fault, with the file that has another type where that is not its own."""
        first = self.first.get(getattr(error, "column", ""), unit.name)
        return str(error) if first == unit.name else f"{error} (first in {first})"

    def count(self, name: str, n: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + n

    def told(self, groups: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """What the planner of each group has to know."""
        schema = pickle.dumps(Schema(self.schema.dump()), 5)
        for group in groups:
            yield group, schema
        for (unit, number), blocks in self.replaced.items():
            for where, refs in blocks.items():
                yield key_of(where), pickle.dumps(Replaced(unit, number, tuple(refs)), 5)
        for ref in self.letters:
            yield GROUP, pickle.dumps(ref, 5)


class Range(NamedTuple):
    """A range whose blocks have these schemas, in order; `blocks` gives them."""

    unit: Unit
    number: int
    schemas: Sequence[bytes]
    blocks: Callable[[], Iterable[tuple[Group, BlockRef]]]


def settle(ranges: Iterable[Range], delivery: Delivery, staging: Staging) -> Settled:
    """Settle the types of all ranges, in the order of the input. Raises FailedRecord where `on_error` says so."""
    found = Settled()
    merged: set[bytes] = set()
    for each in ranges:
        fresh = [schema for schema in dict.fromkeys(each.schemas) if schema not in merged]
        try:
            schema = found.schema
            for data in fresh:
                schema = schema.merge(types.load(data))
        except RecordError:
            _sift(each, found, delivery, staging)
            continue
        found.agree(schema, each.unit)
        merged.update(fresh)
    return found


def _sift(each: Range, found: Settled, delivery: Delivery, staging: Staging) -> None:
    """Settle a range record by record: those at fault fail, and others are staged anew."""
    rows, source = _rows(each)
    groups = list(dict.fromkeys(group for _, group, _, _ in rows))
    kept: list[tuple[int, Group, Json, int]] = []
    lost: list[Failure] = []
    for part, error in _folded(rows, found, source, each.unit):
        if error is None:
            kept += part
            continue
        ((number, _, record, _),) = part
        failure = Failure((each.unit, each.number, number), each.unit.name, FORMATTER, found.why(error, each.unit), record)
        if delivery.on_error.action(FORMATTER) == FAIL:
            raise FailedRecord(failure, *delivery.letters.place(failure.position))
        lost.append(failure)
    segment = staging.create_passing()
    blocks: dict[Group, list[BlockRef]] = {group: [] for group in groups}
    for group in groups:
        own = [(number, record, draw) for number, where, record, draw in kept if where == group]
        for at in range(0, len(own), BLOCK_RECORDS):
            numbers, records, draws = zip(*own[at : at + BLOCK_RECORDS], strict=True)
            payload, schema = arrow.stage_found(records, source)
            ref = BlockRef.of(
                length=len(payload),
                records=len(records),
                first=(each.unit, each.number, numbers[0]),
                number=len(blocks[group]),
                schema=schema,
                draws=draws if delivery.sampling.size else (),
            )
            blocks[group].append(segment.add(group, payload, numbers, ref))
    action = delivery.on_error.action(FORMATTER)
    if action == DEAD_LETTER:
        lines = [staged(failure) for failure in lost]
        ref = BlockRef.of(
            length=sum(map(len, lines)), records=len(lines), first=(each.unit, each.number, 0), number=LATE, raw=0
        )
        found.letters.append(segment.add(None, b"".join(lines), list(map(len, lines)), ref))
    segment.close()
    found.replaced[each.unit.index, each.number] = blocks
    found.count("kept", -len(lost))
    found.count(counted(FORMATTER, action), len(lost))


def _rows(each: Range) -> tuple[Rows, types.Columns]:
    """The records of a range, and what is known of the types that they had in the source."""
    reader, source = Blocks(), dict[str, types.Column]()
    rows: list[tuple[int, Group, Json, int]] = []
    try:
        for group, ref in each.blocks():
            if group is None:
                continue
            columns = types.load(ref.schema)
            source.update((name, c) for name, c in columns.columns.items() if c.kept and name not in source)
            records = arrow.records_of(reader.payload(ref), columns.staged)
            rows += zip(reader.sizes(ref)[: ref.records], repeat(group), records, ref.draws or repeat(0))
    finally:
        reader.close()
    rows.sort(key=lambda row: row[0])
    return rows, types.Columns(source)


def _folded(rows: Rows, found: Settled, source: types.Columns, unit: Unit) -> Iterator[tuple[Rows, RecordError | None]]:
    """Rows that fit those before them, and each that does not, with the reason."""
    try:
        found.agree(found.schema.merge(arrow.found_in([row[2] for row in rows], source)), unit)
    except RecordError as error:
        if len(rows) == 1:
            yield rows, error
            return
        middle = len(rows) // 2
        yield from _folded(rows[:middle], found, source, unit)
        yield from _folded(rows[middle:], found, source, unit)
    else:
        yield rows, None


class Settle(HandsOver, beam.DoFn):
    """Settles the types of an export from what its ranges say of theirs, and tells every group."""

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run

    def setup(self) -> None:
        enter(self._run.folder)

    def process(self, element: tuple[Any, Iterable[bytes]]) -> Iterator[Any]:
        ranges: dict[tuple[int, int], Typed] = {}
        groups: dict[bytes, None] = {}
        for value in element[1]:
            typed: Typed = pickle.loads(value)
            ranges[typed.unit.index, typed.range] = typed
            groups.update(dict.fromkeys(typed.groups))
        settled = settle((_range(ranges[place]) for place in sorted(ranges)), self._delivery, self._run.staging)
        yield from settled.told(groups)
        if settled.counts:
            yield TaggedOutput(TALLIES, Recount(tuple(settled.counts.items())))


class Admit(HandsOver, beam.DoFn):
    """What of all that was staged is delivered: nothing where more records failed than `on_error` allows; with
    `items_limit` the first N records in input order, whatever their groups; else everything. Types of columns are settled
    of these alone.

    Takes one element with all tallies and references; gives (group, reference) with `records` cut down.
    """

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._limit, self._run = delivery, delivery.limits.items, run

    def setup(self) -> None:
        enter(self._run.folder)

    def process(self, element: tuple[Any, Iterable[bytes]]) -> Iterator[Any]:
        marks: dict[tuple[int, int], Mark] = {}
        blocks: list[tuple[bytes, BlockRef]] = []
        repeated = 0
        for value in element[1]:
            kind, what = pickle.loads(value)
            if kind == "tally":
                marks[what.unit.index, what.range] = what
            elif kind == "block":
                blocks.append((what[0], unpacked(what[1])))
            elif kind == "repeated":
                repeated += what
        counts = total_of(marks)
        admitted = list(self._limited(marks, blocks)) if self._limit else blocks
        settled = self._settled(admitted) if self._delivery.finds_types else Settled()
        if settled.counts and self._limit:  # Records behind the limit do not come in place of those at fault.
            beyond = counts.get("kept", 0) - sum(ref.records for group, ref in admitted if group != GROUP)
            settled.count("kept", -beyond)
            settled.count("over_limit", beyond)
        for name, n in settled.counts.items():
            counts[name] = counts.get(name, 0) + n
        self._check_budget(counts, [*settled.letters, *(ref for group, ref in blocks if group == GROUP)])
        checks = self._delivery.checks
        if checks is not None:
            yield from (TaggedOutput(TALLIES, Warned(text)) for text in judged(checks, counts, repeated, self._run))
            if repeated:
                settled.count(REPEATED, repeated)
        yield from ((group, packed(ref)) for group, ref in admitted)
        if self._delivery.finds_types:
            yield from settled.told(dict.fromkeys(group for group, _ in admitted if group != GROUP))
        if settled.counts:
            yield TaggedOutput(TALLIES, Recount(tuple(settled.counts.items())))

    def _settled(self, blocks: Iterable[tuple[bytes, BlockRef]]) -> Settled:
        ranges: dict[tuple[int, int], dict[int, tuple[Group, BlockRef]]] = {}
        for group, ref in blocks:
            if group != GROUP:
                place = (ref.first[0].index, ref.first[1])
                ranges.setdefault(place, {}).setdefault(ref.number, (tuple(json.loads(group)), ref))
        return settle((_range_of(ranges[place]) for place in sorted(ranges)), self._delivery, self._run.staging)

    def _check_budget(self, counts: dict[str, int], letters: list[BlockRef]) -> None:
        exceeded = self._delivery.on_error.exceeded(counts)
        if exceeded:
            raise TooManyFailed(exceeded + self._delivery.letters.first(staged_lines(in_order(letters)[:1])))

    def _limited(
        self, marks: dict[tuple[int, int], Mark], blocks: list[tuple[bytes, BlockRef]]
    ) -> Iterator[tuple[bytes, BlockRef]]:
        kept = {place: dict(mark.counts).get("kept", 0) for place, mark in marks.items()}
        left, allowed = self._limit, {}
        for place in sorted(kept):
            allowed[place] = min(left, kept[place])
            left -= allowed[place]
        for group, ref in blocks:
            if group == GROUP:
                yield group, ref
                continue
            room = allowed.get((ref.first[0].index, ref.first[1]), 0)
            records = bisect_left(ref.ordinals, room)
            if records:
                yield group, ref._replace(records=records)


def _range_of(numbered: dict[int, tuple[Group, BlockRef]]) -> Range:
    blocks = [numbered[number] for number in sorted(numbered)]
    ref = blocks[0][1]
    return Range(ref.first[0], ref.first[1], [ref.schema for _, ref in blocks], lambda: blocks)


def _range(typed: Typed) -> Range:
    return Range(typed.unit, typed.range, typed.schemas,
                 lambda: blocks_of(typed.segment, Mark(typed.unit, typed.range))[0])  # fmt: skip
