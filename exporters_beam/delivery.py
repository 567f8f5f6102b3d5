"""From records to delivered files: encode blocks, plan files, publish them, write the manifest.

Bytes of delivered files depend on the positions of records alone: blocks end where their range ends or at a fixed size,
files are planned from blocks sorted by position, and names follow from group and number.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, BinaryIO

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from exporters_beam.books import Books, sweep
from exporters_beam.compressions import Codec
from exporters_beam.errors import DestinationError, RecordError
from exporters_beam.letters import DEAD_LETTER, FILE, GROUP, NAME, Letters, OnError, TooManyFailed, counted, staged
from exporters_beam.manifest import check_ranges, manifest_checksum, unbalanced
from exporters_beam.naming import FileNames
from exporters_beam.records import BlockRef, DeliveredFile, Failure, Mark, PlannedFile, Position, Slice, Unit
from exporters_beam.runs import Progress, Run
from exporters_beam.staging import Blocks, Segment, Staging, destination, in_order
from exporters_beam.transforms.steps import PASSING, Step, ready

BLOCK_BYTES = 1 << 20
"""Bytes of records, before compression, at which a block is closed."""

BLOCK_RECORDS = 4096
"""The same for formats that hold many records together, in records."""

COMPRESS_BYTES = 256 << 10
"""Smaller blocks are staged as they are and compressed together when the file is published: small members compress badly."""

GROUPER, FORMATTER = "grouper", "formatter"
"""What the encoder calls itself where it groups, and where it formats."""

TALLIES = "tallies"
"""The output of EncodeBlocks that holds the finished marks."""


@dataclass(frozen=True)
class Delivery:
    """How an export's records become files. Frozen and picklable: every step of the delivery gets it."""

    writer: Any
    format: Any
    codec: Codec
    names: FileNames | None
    items_per_file: int
    bytes_per_file: int
    limit: int = 0
    sample: int = 0
    seed: int = 0
    md5: bool = False
    told: tuple[tuple[str, Any], ...] = ()
    on_error: OnError = field(default_factory=OnError)
    letters: Letters | None = None

    @property
    def table(self) -> bool:
        """Whether the format holds many records together and compresses them itself."""
        return hasattr(self.format, "encode")

    @property
    def chooses(self) -> bool:
        """Whether a limit or a sample decides after staging which records are delivered."""
        return bool(self.limit or self.sample)

    @property
    def block_bytes(self) -> int:
        return max(4096, min(BLOCK_BYTES, self.bytes_per_file // 8)) if self.bytes_per_file else BLOCK_BYTES

    def name(self, group: tuple[str, ...], number: int) -> str:
        return self.names.name(group, number) if self.names else "<result>"


class _Block:
    """The records of one group that are waiting to be staged."""

    __slots__ = ("draws", "first", "ordinals", "parts", "positions", "size", "sizes", "text")

    def __init__(self, first: Position) -> None:
        self.first, self.size = first, 0
        self.text, self.sizes = bytearray(), array("I")  # Where nothing is chosen later: it keeps memory in one piece.
        self.parts: list[Any] = []
        self.positions: list[Position] = []
        self.ordinals: list[int] = []
        self.draws: list[int] = []


class EncodeBlocks(Step):
    """Records, in whole ranges, to references of staged blocks: (group, BlockRef), pickled for the shuffle.

    At the end of a range every group's block is staged; at the end of a bundle the segment is committed. Failures that
    earlier steps passed on, and its own, are staged beside them.
    """

    def __init__(self, name: str, delivery: Delivery, run: Run, grouper: Any) -> None:
        super().__init__(name, grouper, delivery.on_error)
        self._delivery, self._run, self._grouper = delivery, run, grouper

    def setup(self) -> None:
        self._grouper = ready(self._grouper)
        self._delivery = replace(self._delivery, format=ready(self._delivery.format))
        self._key = self._grouper.key if self._grouper is not None else None
        self._limit = BLOCK_RECORDS if self._delivery.table else self._delivery.block_bytes
        self._text = None if self._delivery.table or self._delivery.chooses else self._delivery.format.format
        self._separator = b"" if self._delivery.table else self._delivery.format.separator
        self._gap = len(self._separator)
        self._progress = Progress(self._run)
        self._failures: dict[tuple[int, int], tuple[tuple[str, int], ...]] = {}

    def start_bundle(self) -> None:
        super().start_bundle()
        self._aside: list[bytes] = []
        self._segment: Segment = self._run.staging.create()
        self._marks: list[Mark] = []
        self._blocks: dict[tuple[str, ...], _Block] = {}
        self._kept = self._number = 0

    def process(self, element: tuple[Position, Any]) -> Iterable[Any]:
        position, record = element
        if record.__class__ is not dict and record.__class__ in PASSING:
            if record.__class__ is Mark:
                return self._end(position, record)
            if record.step not in (GROUPER, FORMATTER):
                return self._set_aside(record)
            record = record.record
        step = GROUPER
        try:
            group = () if self._key is None else self._key(record)
            step = FORMATTER
            if self._text is None:
                return self._other(position, group, record)
            data = self._text(record)
        except Exception as error:
            return self.failed(position, record, error, step)
        block = self._blocks.get(group)
        if block is None:
            block = self._blocks[group] = _Block(position)
        text = block.text
        text += data
        text += self._separator
        block.sizes.append(len(data))
        self._kept += 1
        if len(text) >= self._limit:
            del self._blocks[group]
            return self._stage(group, block)
        return ()

    def _other(self, position: Position, group: tuple[str, ...], record: Any) -> Iterable[Any]:
        """Tables, limits and samples: what `process` does for text, with more to remember."""
        limit, sample = self._delivery.limit, self._delivery.sample
        if limit and self._kept >= limit:
            self.count("over_limit")
            return ()
        part = record if self._delivery.table else self._delivery.format.format(record)
        block = self._blocks.get(group)
        if block is None:
            block = self._blocks[group] = _Block(position)
        block.parts.append(part)
        if self._delivery.table:
            block.positions.append(position)
        if limit:
            block.ordinals.append(self._kept)
        if sample:
            block.draws.append(_draw(self._delivery.seed, position, len(block.parts)))
        self._kept += 1
        block.size += 1 if self._delivery.table else len(part) + self._gap
        if block.size >= self._limit and not sample:
            del self._blocks[group]
            return self._stage(group, block)
        return ()

    def give(self, failure: Failure) -> list[Any]:
        if self._on_error.action(failure.step) != DEAD_LETTER:
            return super().give(failure)
        self.count(counted(failure.step, DEAD_LETTER))
        return self._set_aside(failure)

    def _set_aside(self, failure: Failure) -> list[Any]:
        self._aside.append(staged(failure))
        return []

    def _stage_letters(self, mark: Mark) -> list[Any]:
        lines, self._aside = self._aside, []
        if not lines:
            return []
        ref = BlockRef("", 0, sum(map(len, lines)), 0, len(lines), len(lines), False, (mark.unit, mark.range, 0), 0)
        return [(GROUP, pickle.dumps(self._segment.add(None, b"".join(lines), list(map(len, lines)), ref), 5))]

    def _end(self, position: Position, mark: Mark) -> list[Any]:
        found: list[Any] = []
        for group, block in self._blocks.items():
            found.extend(self._stage(group, block))
        self._blocks = {}
        first = self._aside[:1]
        found.extend(self._stage_letters(mark))
        self.count("kept", self._kept)
        if self._delivery.limit:
            self._run.staging.mark_kept(mark.unit.index, mark.range, self._kept, mark.last)
        self._kept = self._number = 0
        self._progress.add(read=dict(mark.counts).get("read", 0))
        mark = self.end_range(mark)
        self._marks.append(mark)
        if self._on_error.max_records is not None:
            self._check_budget(mark, first)
        found.append(TaggedOutput(TALLIES, mark))
        return found

    def _check_budget(self, mark: Mark, first: list[bytes]) -> None:
        """Give up early: where what this worker alone has seen exceeds the budget, there is no use in going on."""
        self._failures[mark.unit.index, mark.range] = mark.counts
        total: dict[str, int] = {}
        for counts in self._failures.values():
            for name, n in counts:
                total[name] = total.get(name, 0) + n
        exceeded = self._on_error.exceeded(total, whole=False)
        if exceeded:
            self._segment.commit(self._marks)
            raise TooManyFailed(exceeded + (self._delivery.letters.first(first) if self._delivery.letters else ""))

    def _stage(self, group: tuple[str, ...], block: _Block) -> list[Any]:
        if self._delivery.sample and not self._delivery.limit and len(block.parts) > self._delivery.sample:
            smallest = sorted(sorted(range(len(block.draws)), key=block.draws.__getitem__)[: self._delivery.sample])
            block.parts = [block.parts[i] for i in smallest]
            block.draws = [block.draws[i] for i in smallest]
            block.positions = [block.positions[i] for i in smallest] if block.positions else []
        schema = b""
        failures: list[Any] = []
        if self._delivery.table:
            payload, schema, failures = self._encode_table(block)
            sizes: Sequence[int] = [0] * len(block.parts)
        elif block.sizes:
            payload = bytes(block.text[: len(block.text) - self._gap])
            sizes = block.sizes
        else:
            payload = self._separator.join(block.parts)
            sizes = list(map(len, block.parts))
        raw = len(payload)
        compressed = self._delivery.codec.joins and raw >= COMPRESS_BYTES and not self._delivery.chooses
        compressed = compressed and not self._delivery.table and self._delivery.codec.name != "none"
        if compressed:
            payload = self._delivery.codec.compress(payload)
        if not sizes:
            return failures
        ref = BlockRef("", 0, len(payload), raw, len(sizes), len(sizes), compressed, block.first, self._number, schema,
                       tuple(block.ordinals), tuple(block.draws))  # fmt: skip
        ref = self._segment.add(group, payload, sizes, ref)
        self._number += 1
        return [(group_key(group), pickle.dumps(ref, 5)), *failures]

    def _encode_table(self, block: _Block) -> tuple[bytes, bytes, list[Any]]:
        """The block's payload and schema; records that do not fit are taken out of the block and fail."""
        failures: list[Any] = []
        while block.parts:
            try:
                return (*self._delivery.format.encode(block.parts), failures)
            except Exception as error:
                at, reason = self._culprit(block.parts, error)
                failures += self.failed(block.positions[at], block.parts[at], reason, FORMATTER)
                self._kept -= 1
                for members in (block.parts, block.positions, block.ordinals, block.draws):
                    if members:
                        del members[at]
        return b"", b"", failures

    def _culprit(self, records: list[Any], error: Exception) -> tuple[int, Exception]:
        """The first record with which the records before it cannot be encoded, found by halving, and why."""
        low, high, reason = 0, len(records) - 1, error
        while low < high:
            middle = (low + high) // 2
            try:
                self._delivery.format.encode(records[: middle + 1])
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


def group_key(group: tuple[str, ...] | None) -> bytes:
    """A group, None for dead letters, as the deterministic key of a shuffle."""
    return json.dumps(group).encode()


def _draw(seed: int, position: Position, n: int) -> int:
    unit, number, record = position
    text = f"{seed}|{unit.index}|{number}|{record}|{n}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Enough:
    """Tells the reader of an export with a limit when nothing that follows can be delivered any more.

    It counts what the finished ranges kept, from the first range on without a gap; the encoder leaves word of each in
    the staging folder, so this works wherever the workers are.
    """

    staging: Staging
    limit: int

    def __call__(self, unit: Any, number: int) -> bool:
        known = {(u, r): (kept, last) for u, r, kept, last in self.staging.limit_markers()}
        at, total = (0, 0), 0
        while at in known and at < (unit.index, number):
            kept, last = known[at]
            total += kept
            at = (at[0] + 1, 0) if last else (at[0], at[1] + 1)
        return total >= self.limit


class Admit(beam.DoFn):
    """What of all that was staged is delivered: nothing where more records failed than `on_error` allows; with
    `items_limit` the first N records in input order, whatever their groups; else everything.

    Takes one element with all tallies and references; gives (group, reference) with `records` cut down.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery, self._limit = delivery, delivery.limit

    def process(self, element: tuple[Any, Iterable[bytes]]) -> Iterator[tuple[bytes, bytes]]:
        marks: dict[tuple[int, int], Mark] = {}
        blocks: list[tuple[bytes, BlockRef]] = []
        for value in element[1]:
            kind, what = pickle.loads(value)
            if kind == "tally":
                marks[what.unit.index, what.range] = what
            else:
                blocks.append((what[0], pickle.loads(what[1])))
        self._check_budget(marks, [ref for group, ref in blocks if group == GROUP])
        if self._limit:
            yield from self._limited(marks, blocks)
        else:
            yield from ((group, pickle.dumps(ref, 5)) for group, ref in blocks)

    def _check_budget(self, marks: dict[tuple[int, int], Mark], letters: list[BlockRef]) -> None:
        exceeded = self._delivery.on_error.exceeded(total_of(marks))
        if exceeded:
            told = self._delivery.letters
            raise TooManyFailed(exceeded + (told.first(staged_lines(in_order(letters)[:1])) if told else ""))

    def _limited(
        self, marks: dict[tuple[int, int], Mark], blocks: list[tuple[bytes, BlockRef]]
    ) -> Iterator[tuple[bytes, bytes]]:
        kept = {place: dict(mark.counts).get("kept", 0) for place, mark in marks.items()}
        left, allowed = self._limit, {}
        for place in sorted(kept):
            allowed[place] = min(left, kept[place])
            left -= allowed[place]
        for group, ref in blocks:
            if group == GROUP:
                yield group, pickle.dumps(ref, 5)
                continue
            room = allowed.get((ref.first[0].index, ref.first[1]), 0)
            records = bisect_left(ref.ordinals, room)
            if records:
                yield group, pickle.dumps(ref._replace(records=records), 5)


class PlanFiles(beam.DoFn):
    """A group's blocks to the files that are made of them: (name, PlannedFile), pickled."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[tuple[str, bytes]]:
        if element[0] == GROUP:
            blocks = in_order(pickle.loads(value) for value in element[1])
            slices = tuple(Slice(ref, 0, ref.total) for ref in blocks)
            file = PlannedFile(NAME, (), 0, sum(ref.total for ref in blocks), slices)
            yield file.name, pickle.dumps(file, 5)
            return
        group = tuple(json.loads(element[0]))
        refs = in_order(pickle.loads(value) for value in element[1])
        schemas = tuple(dict.fromkeys(ref.schema for ref in refs if ref.schema))
        for file in plan_files(self._delivery, group, refs):
            yield file.name, pickle.dumps(file._replace(schemas=schemas), 5)


def plan_files(delivery: Delivery, group: tuple[str, ...], refs: Sequence[BlockRef]) -> Iterator[PlannedFile]:
    """Pack blocks in order into files of at most so many records and about so many bytes."""
    number = delivery.names.start if delivery.names else 0
    if delivery.sample:
        slices = _sampled(refs, delivery.sample)
        if slices:
            records = sum(len(part.chosen or ()) for part in slices)
            yield PlannedFile(delivery.name(group, number), group, number, records, tuple(slices))
        return
    size_of = _sizes(delivery, refs)
    packed: list[Slice] = []
    records, size = 0, 0.0
    for ref in refs:
        start = 0
        while start < ref.records:
            room = delivery.items_per_file - records if delivery.items_per_file else ref.records
            stop = min(ref.records, start + room)
            packed.append(Slice(ref, start, stop))
            records += stop - start
            size += size_of(ref) * (stop - start) / max(1, ref.total)
            start = stop
            if (delivery.items_per_file and records >= delivery.items_per_file) or (
                delivery.bytes_per_file and size >= delivery.bytes_per_file
            ):
                yield PlannedFile(delivery.name(group, number), group, number, records, tuple(packed))
                packed, records, size, number = [], 0, 0.0, number + 1
    if packed:
        yield PlannedFile(delivery.name(group, number), group, number, records, tuple(packed))


def _sizes(delivery: Delivery, refs: Sequence[BlockRef]) -> Callable[[BlockRef], float]:
    """How many bytes a block adds to its file: exact for compressed blocks, measured for the others where it matters."""
    if not delivery.bytes_per_file or delivery.table or sum(ref.raw for ref in refs) < delivery.bytes_per_file:
        return lambda ref: ref.length
    light = [ref for ref in refs if not ref.compressed]
    ratio = 1.0
    if light and delivery.codec.name != "none":
        blocks = Blocks()
        sampled = light[:: max(1, len(light) // 16)]
        raw = b"".join(blocks.payload(ref) for ref in sampled)
        blocks.close()
        ratio = _compressed_size(delivery.codec, raw) / max(1, len(raw))
    return lambda ref: ref.length if ref.compressed else ref.raw * ratio


def _compressed_size(codec: Codec, raw: bytes) -> int:
    if codec.joins:
        return len(codec.compress(raw))
    import io

    out = io.BytesIO()
    with codec.archive(out, "sample") as member:
        member.write(raw)
    return len(out.getvalue())


def _sampled(refs: Sequence[BlockRef], size: int) -> list[Slice]:
    """The records with the smallest draws."""
    draws = sorted((draw, b, i) for b, ref in enumerate(refs) for i, draw in enumerate(ref.draws[: ref.records]))
    chosen: dict[int, list[int]] = {}
    for _, b, i in draws[:size]:
        chosen.setdefault(b, []).append(i)
    return [Slice(refs[b], 0, refs[b].total, tuple(sorted(chosen[b]))) for b in sorted(chosen)]


def staged_lines(refs: Iterable[BlockRef]) -> Iterator[bytes]:
    """The dead letters of staged blocks, as they were staged."""
    blocks = Blocks()
    try:
        for ref in refs:
            payload, at = blocks.payload(ref), 0
            for size in blocks.sizes(ref):
                yield payload[at : at + size]
                at += size
    finally:
        blocks.close()


def total_of(marks: dict[tuple[int, int], Mark]) -> dict[str, int]:
    """The counts of an export: those of all its ranges together."""
    counts: dict[str, int] = {"read": 0}
    for place in sorted(marks):
        for name, n in marks[place].counts:
            counts[name] = counts.get(name, 0) + n
    return counts


class PublishFile(beam.DoFn):
    """Builds a planned file and has the writer put it in place. Two plans for one name end the export instead."""

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run

    def setup(self) -> None:
        writer, form = ready(self._delivery.writer), ready(self._delivery.format)
        self._delivery = replace(self._delivery, writer=writer, format=form)
        self._progress = Progress(self._run)

    def start_bundle(self) -> None:
        self._blocks = Blocks()

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[DeliveredFile]:
        planned: list[PlannedFile] = [pickle.loads(value) for value in element[1]]
        if len({file.group for file in planned}) > 1:
            groups = " and ".join(repr(list(file.group)) for file in planned[:2])
            raise DestinationError(
                f"{element[0]}: the groups {groups} would have the same file name; "
                "keep their placeholders apart in filebase"
            )
        file = planned[0]
        if file.name == NAME and self._delivery.letters is not None:
            yield self._delivery.letters.write(staged_lines(part.ref for part in file.slices))
            return
        try:
            delivered = self._delivery.writer.publish(file, lambda out: self.fill(file, out), self._run.scratch)
            self._progress.add(files=1, bytes=delivered.size)
            yield delivered
        except RecordError as error:
            raise DestinationError(f"{file.name}: {error}") from error

    def fill(self, file: PlannedFile, out: BinaryIO) -> None:
        """Write the whole file to `out`."""
        if self._delivery.table:
            blocks = ((self._blocks.payload(part.ref), _indices(part)) for part in file.slices)
            self._delivery.format.assemble(blocks, file.schemas, out)
        elif self._delivery.codec.joins:
            members = Members(out, self._delivery.codec)
            self._text(file, members.text, members.member)
            members.close()
        else:
            member = os.path.basename(file.name)[: -len(self._delivery.codec.suffix)]
            with self._delivery.codec.archive(out, member) as archive:
                self._text(file, archive.write, None)

    def _text(self, file: PlannedFile, text: Callable[[bytes], Any], member: Callable[[bytes], Any] | None) -> None:
        form = self._delivery.format
        text(form.header)
        for n, part in enumerate(file.slices):
            if n:
                text(form.separator)
            if part.ref.compressed and part.whole and member is not None:
                member(self._blocks.payload(part.ref))
            else:
                text(self._cut(part))
        text(form.footer)

    def _cut(self, part: Slice) -> bytes:
        payload = self._blocks.payload(part.ref)
        if part.ref.compressed:
            payload = self._delivery.codec.decompress(payload)
        if part.whole:
            return payload
        gap = len(self._delivery.format.separator)
        sizes = self._blocks.sizes(part.ref)
        starts = [0, *accumulate(size + gap for size in sizes)]
        if part.chosen is not None:
            parts = [payload[starts[i] : starts[i] + sizes[i]] for i in part.chosen]
            return bytes(self._delivery.format.separator.join(parts))
        return payload[starts[part.start] : starts[part.stop] - gap]

    def finish_bundle(self) -> None:
        self._blocks.close()


def _indices(part: Slice) -> Sequence[int] | None:
    if part.chosen is not None:
        return part.chosen
    return None if part.whole else range(part.start, part.stop)


class Members:
    """A compressed file made of members: finished ones are copied, text between them is compressed as it comes."""

    def __init__(self, out: BinaryIO, codec: Codec) -> None:
        self._out, self._codec = out, codec
        self._open: Any = None

    def text(self, data: bytes) -> None:
        if not data:
            return
        if self._open is None:
            self._open = self._codec.compressor()
        self._out.write(self._open.compress(data))

    def member(self, data: bytes) -> None:
        self.close()
        self._out.write(data)

    def close(self) -> None:
        if self._open is not None:
            self._out.write(self._open.flush())
            self._open = None


class WriteManifest(beam.DoFn):
    """The last step: checks that every record is accounted for, then writes the manifest and removes what was staged.

    Takes one element with every listed unit, every tally and every delivered file. The manifest is the only thing that
    says the export is whole.
    """

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run

    def setup(self) -> None:
        self._delivery = replace(self._delivery, writer=ready(self._delivery.writer))

    def process(self, element: tuple[Any, Iterable[Any]]) -> Iterator[dict[str, Any]]:
        tallies: dict[tuple[int, int], Mark] = {}
        listed: dict[int, Unit] = {}
        delivered: dict[str, DeliveredFile] = {}
        for value in element[1]:
            if isinstance(value, Mark):
                tallies[value.unit.index, value.range] = value
            elif isinstance(value, DeliveredFile):
                delivered[value.name] = value
            elif isinstance(value, Unit):
                listed[value.index] = value
        letters = delivered.pop(NAME, None)
        files = sorted(delivered.values(), key=lambda file: file.name)
        if not self._delivery.limit:
            check_ranges(listed, tallies)
        manifest = self._manifest(tallies, files, letters)
        self._check(manifest["counts"], files, letters)
        if self._delivery.md5 and files:
            self._checksums(files)
        path = self._run.manifest
        text = json.dumps(manifest, ensure_ascii=False, indent=1, default=repr).encode("utf-8", "backslashreplace")
        if hasattr(self._delivery.writer, "finish") and self._delivery.names:
            self._delivery.writer.finish(text, self._delivery.names, self._run.export_id)
        with destination("cannot write the manifest", path):
            os.makedirs(self._run.books, exist_ok=True)
            with open(path + ".part", "wb") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            os.replace(path + ".part", path)
        if letters is None and os.path.exists(os.path.join(self._run.books, FILE)):
            os.remove(os.path.join(self._run.books, FILE))  # of an earlier run
        sweep(Books(self._run.books, self._run.scratch, True))
        yield manifest

    def _manifest(
        self, tallies: dict[tuple[int, int], Mark], files: list[DeliveredFile], letters: DeliveredFile | None
    ) -> dict[str, Any]:
        counts = total_of(tallies)
        units = {tallies[place].unit.index: tallies[place].unit for place in sorted(tallies)}
        counts["written"] = sum(file.records for file in files)
        result = files[0].result if files else getattr(self._delivery.writer, "empty_result", None)
        manifest = {
            "export": self._run.export_id,
            **dict(self._run.about),
            "format": dict(self._delivery.told),
            "limit": self._delivery.limit,
            "sample": self._delivery.sample,
            "counts": counts,
            "units": [{"name": u.name, "bytes": u.size, "etag": u.etag} for u in units.values()],
            "files": [file.as_dict() for file in files if file.name != "<result>"],
            **({"dead_letters": self._told_of(letters)} if letters else {}),
            **({"result": result} if hasattr(self._delivery.writer, "empty_result") else {}),
        }
        manifest = json.loads(json.dumps(manifest, ensure_ascii=False, default=repr))
        return {**manifest, "checksum": manifest_checksum(manifest)}

    def _told_of(self, letters: DeliveredFile) -> dict[str, Any]:
        path = self._delivery.letters.path if self._delivery.letters else ""
        return {"name": path, "records": letters.records, "bytes": letters.size, "md5": letters.md5}

    def _check(self, counts: dict[str, int], files: list[DeliveredFile], letters: DeliveredFile | None) -> None:
        difference = unbalanced(counts, self._delivery.limit, self._delivery.sample, letters.records if letters else 0)
        if difference:
            raise DestinationError(f"{difference}; nothing may be missing, so the export has failed")
        check = getattr(self._delivery.writer, "check", None)
        if self._delivery.writer.check_consistency and check is not None:
            for file in files:
                check(file)

    def _checksums(self, files: list[DeliveredFile]) -> None:
        listed_as = getattr(self._delivery.writer, "listed_as", str)
        text = "".join(f"{file.md5} {listed_as(file.name)}\n" for file in files).encode()
        base = self._delivery.names.base if self._delivery.names else "."
        name = f"md5checksum{self._delivery.names.mark if self._delivery.names else ''}.md5"
        name = name if base == "." else os.path.join(base, name)
        self._delivery.writer.publish(PlannedFile(name, (), 0, 0, ()), lambda out: out.write(text), self._run.scratch)


__all__ = ["Admit", "Delivery", "EncodeBlocks", "Enough", "PlanFiles", "PublishFile", "WriteManifest"]
