"""Records to staged blocks.

Bytes of delivered files depend on the positions of records alone: blocks end where their range ends or at a fixed size.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, repeat
from operator import itemgetter, methodcaller
from typing import Any

from apache_beam.pvalue import TaggedOutput

from exporters_beam.components.protocols import Grouper
from exporters_beam.components.ready import ready
from exporters_beam.components.traits import GrouperTraits
from exporters_beam.config.on_error import DEAD_LETTER, FAIL, FORMATTER, GROUPER, SKIP, WRITER, counted, set_aside
from exporters_beam.engine.dead_letters import TooManyFailed
from exporters_beam.engine.decode import Answers
from exporters_beam.engine.delivery import TALLIES, TYPED, Delivery, staged_block, total_of, typed_range
from exporters_beam.errors import RecordError
from exporters_beam.records import MISSING, Batch, BlockRef, Failure, Lines, Mark, Position, Sought, Typed
from exporters_beam.staging.letters import staged
from exporters_beam.staging.run import Progress, Run
from exporters_beam.staging.segments import Segment, blocks_of
from exporters_beam.transforms.chance import apart
from exporters_beam.transforms.sightings import NAMES_OF, Sightings, names_in, nearest, told_as
from exporters_beam.transforms.steps import Step, omitting, taken_up, whole

BLOCK_RECORDS = 1024
"""The same in records, for formats that hold many together: more would have left the caches before they become columns."""

SEGMENT_SECONDS = 10.0
"""A segment is committed at the end of a range after so long, also where a runner's bundle goes on (Flink in batch)."""

COMPRESS_BYTES = 256 << 10
"""Smaller blocks are staged as they are and compressed together when the file is published: small members compress badly."""


class _Block:
    """The records of one group that are waiting to be staged."""

    __slots__ = ("draws", "first", "numbers", "ordinals", "parts", "size", "sizes", "text", "types")

    def __init__(self, first: Position, types: bytes = b"") -> None:
        self.first, self.size, self.types = first, 0, types
        self.text, self.sizes = bytearray(), array("I")  # Where nothing is chosen later: it keeps memory in one piece.
        self.parts: list[Any] = []
        self.numbers: list[int] = []
        self.ordinals: list[int] = []
        self.draws: list[int] = []


class EncodeBlocks(Step):
    """Records, in whole ranges, to references of staged blocks: (group, BlockRef), pickled for the shuffle.

    At the end of a range every group's block is staged; at the end of a bundle the segment is committed. Failures that
    earlier steps passed on, and its own, are staged beside them.
    """

    def __init__(self, name: str, delivery: Delivery, run: Run, grouper: Grouper | None) -> None:
        super().__init__(name, grouper, delivery.on_error)
        self._delivery, self._run, self._grouper = delivery, run, grouper

    def setup(self) -> None:
        self._grouper = ready(self._grouper)
        self._delivery = replace(self._delivery, format=ready(self._delivery.format))
        self._key = self._grouper.key if self._grouper is not None else None
        self._groups: Answers | None = None
        self._told = grouper = GrouperTraits.of(self._grouper)
        apart(grouper.chances, self._drawn)
        if self._key is not None and grouper.reads is not None and len(grouper.reads) == 1 and grouper.steady:
            (name,) = grouper.reads
            self._groups = Answers(methodcaller("get", name, MISSING), name, self._key, steady=True)
        self._limit = BLOCK_RECORDS if self._delivery.table else self._delivery.block_bytes
        shape = self._delivery.shape
        self._texts: Any = shape.format_all
        self._extended: Any = shape.extend_all
        self._labels, self._sought, self._nothing = grouper.labels, shape.sought, grouper.nothing
        self._numbered = self._delivery.to.sends
        self._separator = b"" if self._delivery.table else self._delivery.text_format.separator
        self._gap = len(self._separator)
        self._progress = Progress(self._run)
        self._failing: dict[tuple[int, int], Mark] = {}

    def start_bundle(self) -> None:
        super().start_bundle()
        self._begin()
        self._aside: list[tuple[int, bytes]] = []
        self._blocks: dict[tuple[str, ...], _Block] = {}
        self._kept = self._number = 0
        self._titles = Sightings(FORMATTER, self._sought) if self._sought else None
        self._valued: set[int] = set()
        self._first: Batch | None = None
        self._schemas: dict[bytes, None] = {}
        self._keys: dict[bytes, None] = {}

    def _begin(self) -> None:
        self._segment: Segment = self._run.staging.create()
        self._marks: list[Mark] = []
        self._begun = time.monotonic()

    def process(self, element: Any) -> Iterable[Any]:
        if element.__class__ is Batch:
            return self.batch(element)
        if element.__class__ is Lines:
            return self._add_text(*element)
        return self._end(element)

    def batch(self, batch: Batch) -> list[Any]:
        if batch.failures:
            batch = taken_up(batch, GROUPER, FORMATTER, WRITER)
            for failure in batch.failures:
                self._set_aside(failure)
        if self._first is None:
            self._first = batch
        if self._titles is not None and self._titles.left and self._titles.look(batch.records):
            self._titles.compare(names_in(batch.records))
        if batch.groups is not None:
            return self._add_each(batch, batch.groups, batch.lines)
        groups, batch, emitted = self._grouped(batch)
        if self._delivery.table:
            return [*emitted, *self._add_records(batch, groups, batch.records)]
        texts, groups, batch, failed = self._formatted(batch, groups)
        emitted = sorted(emitted + failed, key=_number_of)[:1]  # The first record that fails ends the export.
        if self._delivery.chooses:
            return [*emitted, *self._add_records(batch, groups, texts)]
        if not texts:
            return emitted
        if groups is None:
            text = self._separator.join((*texts, b""))
            return [*emitted, *self._add_text(batch.unit, batch.range, batch.numbers, text, list(map(len, texts)))]
        return [*emitted, *self._add_each(batch, groups, texts)]

    def _grouped(self, batch: Batch) -> tuple[list[tuple[str, ...]] | None, Batch, list[Any]]:
        """The group of each record, None where there is but one, and the batch without those that have none."""
        if self._key is None:
            return None, batch, []
        if self._groups is not None:
            try:
                groups = self._groups.on_texts(batch.records)
            except Exception:  # Some record is at fault: one after the other.
                groups = None
            if groups is not None:
                return groups, batch, []
        return self.each(self._key, batch, GROUPER)

    def _formatted(
        self, batch: Batch, groups: list[tuple[str, ...]] | None
    ) -> tuple[list[bytes], list[tuple[str, ...]] | None, Batch, list[Any]]:
        """Each record as text, with the groups and the batch without those that cannot be written."""
        try:
            if batch.lines:
                return self._extended(batch.lines, batch.records, self._delivery.added), groups, batch, []
            if self._texts is not None:
                return self._texts(batch.records), groups, batch, []
        except Exception:  # Some record is at fault: one after the other.
            pass
        write = self._delivery.text_format.format
        if groups is None and not batch.lines:
            texts, batch, emitted = self.each(write, batch, FORMATTER)
            return texts, None, batch, emitted

        def written(row: tuple[tuple[str, ...], bytes, Any]) -> tuple[tuple[str, ...], bytes]:
            group, line, record = row
            return group, self._extended([line], [record], self._delivery.added)[0] if line else write(record)

        rows = zip(groups or repeat(()), batch.lines or repeat(b""), batch.records)  # noqa: B905
        found, batch, emitted = self.each(written, batch._replace(records=list(rows)), FORMATTER, whole(batch))
        return [text for _, text in found], None if groups is None else [group for group, _ in found], batch, emitted

    def _add_each(self, batch: Batch, groups: Sequence[tuple[str, ...]], texts: Sequence[bytes]) -> list[Any]:
        """Texts of different groups. A group's block is staged behind the record with which it is full."""
        staged: list[Any] = []
        blocks, separator, limit = self._blocks, self._separator, self._limit
        self._kept += len(texts)
        for number, group, data in zip(batch.numbers, groups, texts):  # noqa: B905 (the hottest loop of grouped exports)
            block = blocks.get(group)
            if block is None:
                block = blocks[group] = _Block((batch.unit, batch.range, number))
            text = block.text
            text += data
            text += separator
            block.sizes.append(len(data))
            if len(text) >= limit:
                del blocks[group]
                staged += self._stage(group, block)
        return staged

    def _add_text(self, unit: Any, number: int, numbers: Sequence[int], text: bytes, sizes: Sequence[int]) -> list[Any]:
        """What `_add_each` does, for texts without groups that stand one behind the other."""
        staged: list[Any] = []
        at, count = 0, len(sizes)
        self._kept += count
        block = self._blocks.get(())
        if block is not None and len(block.text) + len(text) < self._limit:
            block.text += text
            block.sizes.extend(sizes)
            if self._numbered:
                block.numbers.extend(numbers)
            return staged
        ends = [0, *accumulate(map(self._gap.__add__, sizes))]
        while at < count:
            block = self._blocks.get(())
            if block is None:
                block = self._blocks[()] = _Block((unit, number, numbers[at]))
            full = ends[at] + self._limit - len(block.text)
            stop = min(count, bisect_left(ends, full, at + 1))
            block.text += memoryview(text)[ends[at] : ends[stop]]
            block.sizes.extend(sizes[at:stop])
            if self._numbered:
                block.numbers.extend(numbers[at:stop])
            at = stop
            if len(block.text) >= self._limit:
                del self._blocks[()]
                staged += self._stage((), block)
        return staged

    def _add_records(self, batch: Batch, groups: list[tuple[str, ...]] | None, parts: Sequence[Any]) -> list[Any]:
        """Rows of tables, and whatever a limit or a sample chooses from: what `_add_each` does, with more to remember."""
        staged: list[Any] = []
        limit, sample, table = self._delivery.limits.items, self._delivery.sampling.size, self._delivery.table
        for number, group, part in zip(batch.numbers, repeat(()) if groups is None else groups, parts):  # noqa: B905
            if limit and self._kept >= limit:
                self.count("over_limit")
                continue
            block = self._blocks.get(group)
            if block is None:
                block = self._blocks[group] = _Block((batch.unit, batch.range, number), batch.types)
            block.parts.append(part)
            block.numbers.append(number)
            if limit:
                block.ordinals.append(self._kept)
            if sample:
                block.draws.append(_draw(self._delivery.sampling.seed, (batch.unit, batch.range, number), len(block.parts)))
            self._kept += 1
            block.size += 1 if table else len(part) + self._gap
            if block.size >= self._limit and not sample:
                del self._blocks[group]
                staged += self._stage(group, block)
        return staged

    def give(self, failure: Failure) -> list[Any]:
        if self._on_error.action(failure.step) != DEAD_LETTER:
            return super().give(failure)
        self.count(counted(failure.step, DEAD_LETTER))
        self._set_aside(failure)
        return []

    def _set_aside(self, failure: Failure) -> None:
        self._aside.append((failure.position[2], staged(failure)))

    def _stage_letters(self, mark: Mark) -> list[Any]:
        """In the order of their records, at whichever step they failed."""
        lines = [line for _, line in sorted(self._aside, key=itemgetter(0))]
        self._aside = []
        if not lines:
            return []
        ref = BlockRef.of(length=sum(map(len, lines)), records=len(lines), first=(mark.unit, mark.range, 0), number=0, raw=0)
        return [staged_block(None, self._segment.add(None, b"".join(lines), list(map(len, lines)), ref))]

    def _end(self, mark: Mark) -> list[Any]:
        if mark.staged:
            path = mark.staged
            refs, mark = blocks_of(path, mark)
            found = [*(staged_block(group, ref) for group, ref in refs), TaggedOutput(TALLIES, mark)]
            return [*found, TaggedOutput(TYPED, typed_range(mark, path, refs))] if self._delivery.finds_types else found
        found = []
        for group, block in self._blocks.items():
            found.extend(self._stage(group, block))
        self._blocks = {}
        first = [line for _, line in sorted(self._aside, key=itemgetter(0))[:1]]
        found.extend(self._stage_letters(mark))
        self.count("kept", self._kept)
        if self._delivery.limits.items:
            self._run.staging.mark_kept(mark.unit.index, mark.range, self._kept, mark.last)
        mark = mark._replace(sought=(*mark.sought, *self._noted()))
        self._kept = self._number = 0
        self._progress.add(read=dict(mark.counts).get("read", 0))
        mark = self.end_range(mark)
        self._marks.append(mark)
        if self._on_error.max_records is not None:
            self._check_budget(mark, first)
        found.append(TaggedOutput(TALLIES, mark))
        if self._schemas:
            typed = Typed(mark.unit, mark.range, self._segment.path, tuple(self._schemas), tuple(self._keys))
            found.append(TaggedOutput(TYPED, typed))
            self._schemas, self._keys = {}, {}
        if time.monotonic() - self._begun >= SEGMENT_SECONDS:
            self._segment.commit(self._marks)
            self._begin()
        return found

    def _noted(self) -> Iterator[Sought]:
        """What the range, which ends here, had of what group keys and columns name."""
        if self._titles is not None:
            yield from self._titles.noted()
        first, self._first = self._first, None
        valued, self._valued = self._valued, set()
        for n, name in enumerate(self._labels if self._kept else ()):
            near = ""
            if n not in valued and first is not None:
                near = nearest(name, names_in(map(whole(first), range(min(NAMES_OF, len(first.numbers))))))
            yield Sought(told_as(self._nothing), name, n in valued, near)

    def _check_budget(self, mark: Mark, first: list[bytes]) -> None:
        """Give up early: where what this worker alone has seen exceeds the budget, there is no use in going on."""
        counts = dict(mark.counts)
        if not set_aside(counts) and not set_aside(counts, SKIP):
            return
        self._failing[mark.unit.index, mark.range] = mark
        exceeded = self._on_error.exceeded(total_of(self._failing), whole=False)
        if exceeded:
            self._segment.commit(self._marks)
            raise TooManyFailed(exceeded + self._delivery.letters.first(first))

    def _stage(self, group: tuple[str, ...], block: _Block) -> list[Any]:
        self._valued.update(n for n, value in enumerate(group) if value != self._nothing)
        if self._delivery.table:
            return self._stage_table(group, block)
        self._sample(block)
        if block.sizes:
            payload = bytes(block.text[: len(block.text) - self._gap])
            sizes: Sequence[int] = block.sizes
        else:
            payload = self._separator.join(block.parts)
            sizes = list(map(len, block.parts))
        raw = len(payload)
        if self._numbered:
            payload += array("I", block.numbers).tobytes()
        compressed = self._delivery.codec.joins and raw >= COMPRESS_BYTES and not self._delivery.chooses
        compressed = compressed and self._delivery.codec.name != "none"
        if compressed:
            payload = self._delivery.codec.compress(payload)
        return [self._add_block(group, block, payload, sizes, raw, compressed)]

    def _add_block(
        self,
        group: tuple[str, ...],
        block: _Block,
        payload: bytes,
        sizes: Sequence[int],
        raw: int,
        compressed: bool = False,
        schema: bytes = b"",
    ) -> tuple[bytes, bytes]:
        ref = BlockRef.of(
            length=len(payload),
            records=len(sizes),
            first=block.first,
            number=self._number,
            raw=raw,
            compressed=compressed,
            schema=schema,
            ordinals=tuple(block.ordinals),
            draws=tuple(block.draws),
        )
        ref = self._segment.add(group, payload, sizes, ref)
        self._number += 1
        return self._staged(group, ref)

    def _staged(self, group: tuple[str, ...], ref: BlockRef) -> tuple[bytes, bytes]:
        """A block as it crosses the shuffle; the range remembers the types of its blocks."""
        staged = staged_block(group, ref)
        if ref.schema and self._delivery.finds_types:
            self._schemas[ref.schema] = self._keys[staged[0]] = None
        return staged

    def _sample(self, block: _Block) -> None:
        """Of a sample no more than the smallest draws of a block can be chosen."""
        if self._delivery.sampling.size and not self._delivery.limits.items and len(block.parts) > self._delivery.sampling.size:
            smallest = sorted(sorted(range(len(block.draws)), key=block.draws.__getitem__)[: self._delivery.sampling.size])
            block.parts = [block.parts[i] for i in smallest]
            block.draws = [block.draws[i] for i in smallest]
            block.numbers = [block.numbers[i] for i in smallest]

    def _stage_table(self, group: tuple[str, ...], block: _Block) -> list[Any]:
        """The block's records as columns; with the number in the range of each, where text has sizes.

        A record that no table can hold fails here. Of records that do not fit each other it depends on those before the
        block which are at fault: they are staged apart, and settled when all schemas are known. Where a failure ends the
        export there is nothing to wait for.
        """
        self._sample(block)
        try:
            return [self._encoded(group, block)]
        except Exception as error:
            if self._delivery.finds_types and self._on_error.action(FORMATTER) != FAIL:
                failed = self._without_faulty(block)
                return [*(self._encoded(group, part) for part in self._apart(block)), *failed]
            failures = self._without_culprits(block, error)
        return [*([self._encoded(group, block)] if block.parts else []), *failures]

    def _encoded(self, group: tuple[str, ...], block: _Block) -> tuple[bytes, bytes]:
        payload, schema = self._encode(block.parts, block.types)
        return self._add_block(group, block, payload, block.numbers, len(payload), schema=schema)

    def _encode(self, records: Sequence[object], types: bytes) -> tuple[bytes, bytes]:
        encode: Any = self._delivery.table_format.encode
        encoded: tuple[bytes, bytes] = encode(records, types) if types else encode(records)
        return encoded

    def _without_faulty(self, block: _Block) -> list[Any]:
        """Takes the records out of a block that cannot be encoded even alone; gives what to emit for them."""
        faulty: list[tuple[int, Exception]] = []
        for at, record in enumerate(block.parts):
            try:
                self._encode([record], block.types)
            except Exception as error:
                faulty.append((at, error))
        return self._failed_of(block, faulty)

    def _failed_of(self, block: _Block, faulty: list[tuple[int, Exception]]) -> list[Any]:
        failures: list[Any] = []
        for at, reason in faulty:
            position = (*block.first[:2], block.numbers[at])
            failures += self.failed(position, block.parts[at], reason, FORMATTER)
        self._kept -= len(faulty)
        _keep(block, omitting(range(len(block.parts)), [at for at, _ in faulty]))
        return failures

    def _apart(self, block: _Block) -> Iterator[_Block]:
        """The block in as few parts as their records fit each other, each record in the first part that it fits."""
        left = list(range(len(block.parts)))
        while left:
            chosen, rest = self._fitting(block, left)
            part = _Block(block.first, block.types)
            for name in ("parts", "numbers", "ordinals", "draws"):
                setattr(part, name, list(getattr(block, name)))
            _keep(part, chosen)
            part.first = (*block.first[:2], part.numbers[0])
            yield part
            left = rest

    def _fitting(self, block: _Block, places: list[int]) -> tuple[list[int], list[int]]:
        """Those of a block's records that fit the ones chosen before, the first of all being chosen, and the others."""
        from exporters_beam.formats.tables import kept

        found, chosen, rest = kept.Columns(), [], []
        for at in places:
            try:
                found = found.merge(kept.load(self._encode([block.parts[at]], block.types)[1]))
                chosen.append(at)
            except RecordError:
                rest.append(at)
        return chosen, rest

    def _without_culprits(self, block: _Block, error: Exception) -> list[Any]:
        """Takes records out of a block until the rest can be encoded; gives what to emit for them."""
        failures: list[Any] = []
        while block.parts:
            at, reason = self._culprit(block.parts, block.types, error)
            failures += self._failed_of(block, [(at, reason)])
            try:
                if block.parts:
                    self._encode(block.parts, block.types)
                break
            except Exception as another:
                error = another
        return failures

    def _culprit(self, records: list[object], types: bytes, error: Exception) -> tuple[int, Exception]:
        """The first record with which the records before it cannot be encoded, found by halving, and why."""
        low, high, reason = 0, len(records) - 1, error
        while low < high:
            middle = (low + high) // 2
            try:
                self._encode(records[: middle + 1], types)
                low = middle + 1
            except Exception as smaller:
                high, reason = middle, smaller
        return low, reason

    def finish_bundle(self) -> None:
        if self._blocks:
            raise RuntimeError("a bundle ended in the middle of a range")
        self._segment.commit(self._marks)
        super().finish_bundle()

    def teardown(self) -> None:
        if hasattr(self, "_segment"):
            self._segment.abandon()


def _keep(block: _Block, places: Sequence[int]) -> None:
    for members in (block.parts, block.numbers, block.ordinals, block.draws):
        if members:
            members[:] = [members[at] for at in places]


def _number_of(failed: TaggedOutput) -> int:
    number: int = failed.value.position[2]
    return number


def _draw(seed: int, position: Position, n: int) -> int:
    unit, number, record = position
    text = f"{seed}|{unit.index}|{number}|{record}|{n}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
