"""From staged blocks to delivered files: which file holds what, and building and publishing each."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, BinaryIO

import apache_beam as beam

from exporters_beam.components.protocols import Writer
from exporters_beam.components.ready import explain, ready
from exporters_beam.compressions import Codec
from exporters_beam.engine.bundling import publish_bundle
from exporters_beam.engine.delivery import Delivery, staged_lines, unpacked
from exporters_beam.engine.done import clear, refuse_their_names
from exporters_beam.engine.encrypting import Sealed, sealed
from exporters_beam.errors import DestinationError, RecordError
from exporters_beam.handover import HandsOver
from exporters_beam.records import BlockRef, DeliveredFile, PlannedFile, Replaced, Schema, Slice, Undelivered
from exporters_beam.staging.letters import GROUP, NAME
from exporters_beam.staging.run import Progress, Run, enter
from exporters_beam.staging.segments import Blocks, in_order


class PlanFiles(HandsOver, beam.DoFn):
    """A group's blocks to the files that are made of them: (name, PlannedFile), pickled."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[tuple[str, bytes]]:
        if element[0] == GROUP:
            blocks = in_order(map(unpacked, element[1]))
            slices = tuple(Slice(ref, 0, ref.total) for ref in blocks)
            file = PlannedFile(NAME, (), 0, sum(ref.total for ref in blocks), slices)
            yield file.name, pickle.dumps(file, 5)
            return
        group = tuple(json.loads(element[0]))
        refs, schema = settled(map(unpacked, element[1]))
        schemas = tuple(dict.fromkeys([*schema, *(ref.schema for ref in refs if ref.schema)]))
        for file in plan_files(self._delivery, group, refs):
            yield file.name, pickle.dumps(file._replace(schemas=schemas), 5)


def settled(told: Iterable[BlockRef | Schema | Replaced]) -> tuple[list[BlockRef], list[bytes]]:
    """The blocks of a group in order, those that took the place of others in theirs, and the schema of all files."""
    refs: list[BlockRef] = []
    schemas: list[bytes] = []
    replaced: dict[tuple[int, int], tuple[BlockRef, ...]] = {}
    for value in told:
        if isinstance(value, BlockRef):
            refs.append(value)
        elif isinstance(value, Schema):
            schemas = [value.schema]
        else:
            replaced[value.unit, value.range] = value.refs
    kept = (ref for ref in refs if (ref.first[0].index, ref.first[1]) not in replaced)
    return in_order([*kept, *(ref for stand_in in replaced.values() for ref in stand_in)]), schemas


def plan_files(delivery: Delivery, group: tuple[str, ...], refs: Sequence[BlockRef]) -> Iterator[PlannedFile]:
    """Pack blocks in order into files of at most so many records and about so many bytes."""
    number = delivery.naming.names.start if delivery.naming.names else 0
    if delivery.sampling.size:
        slices = _sampled(refs, delivery.sampling.size)
        if slices:
            records = sum(len(part.chosen or ()) for part in slices)
            yield PlannedFile(delivery.name(group, number), group, number, records, tuple(slices))
        return
    size_of, limits = _sizes(delivery, refs), delivery.limits
    packed: list[Slice] = []
    records, size = 0, 0.0
    for ref in refs:
        start = 0
        while start < ref.records:
            room = limits.items_per_file - records if limits.items_per_file else ref.records
            stop = min(ref.records, start + room)
            packed.append(Slice(ref, start, stop))
            records += stop - start
            size += size_of(ref) * (stop - start) / max(1, ref.total)
            start = stop
            if (limits.items_per_file and records >= limits.items_per_file) or (
                limits.bytes_per_file and size >= limits.bytes_per_file
            ):
                yield PlannedFile(delivery.name(group, number), group, number, records, tuple(packed))
                packed, records, size, number = [], 0, 0.0, number + 1
    if packed:
        yield PlannedFile(delivery.name(group, number), group, number, records, tuple(packed))


def _sizes(delivery: Delivery, refs: Sequence[BlockRef]) -> Callable[[BlockRef], float]:
    """How many bytes a block adds to its file: exact for compressed blocks, measured for the others where it matters."""
    most = delivery.limits.bytes_per_file
    if not most or delivery.table or sum(ref.raw for ref in refs) < most:
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


class CheckNames(HandsOver, beam.DoFn):
    """All planned files, in one element, before anything is delivered: no two groups have files of one name, and the writer
    admits them. Then what says that an earlier export is whole is removed."""

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run
        self._without_case, self._admit = delivery.to.without_case, delivery.to.admit

    def setup(self) -> None:
        if self._delivery.says_done:
            enter(self._run.folder)
            self._delivery = replace(self._delivery, writer=ready(self._delivery.writer))

    def process(self, element: tuple[bytes, Iterable[tuple[str, bytes]]]) -> Iterator[tuple[str, bytes]]:
        planned = sorted(element[1])
        try:
            self._check(planned)
            clear(self._delivery, self._run)
        except DestinationError as error:
            if not self._run.tolerant:
                raise
            yield NAME, pickle.dumps(Undelivered(explain(error)), 5)
            return
        bundle = self._delivery.naming.bundle
        yield from ((bundle if bundle and name != NAME else name, value) for name, value in planned)

    def _check(self, planned: Sequence[tuple[str, bytes]]) -> None:
        before: dict[str, PlannedFile] = {}
        for name, value in planned:
            file: PlannedFile = pickle.loads(value)
            other = before.setdefault(self._key(name), file)
            if other.group != file.group:
                groups = " and ".join(repr(list(group)) for group in sorted((other.group, file.group)))
                names = name if other.name == name else f"{other.name} and {name}"
                why = "the same file name"
                if other.name != name:
                    why = f"file names which {self._without_case} does not tell apart"
                raise DestinationError(
                    f"{names}: the groups {groups} would have {why}; nothing was delivered; keep the placeholders of "
                    "filebase apart, with a slash between them"
                )
        if self._admit is not None:
            self._admit([name for name, _ in planned if name != NAME])
        refuse_their_names(self._delivery, (name for name, _ in planned), self._key)

    def _key(self, name: str) -> str:
        return name.casefold() if self._without_case else name


class ClearDone(HandsOver, beam.DoFn):
    """Lets the element pass when what says that an earlier export is whole has been removed."""

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run

    def setup(self) -> None:
        enter(self._run.folder)
        self._delivery = replace(self._delivery, writer=ready(self._delivery.writer))

    def process(self, element: Any) -> Iterator[Any]:
        clear(self._delivery, self._run)
        yield element


class PublishFile(HandsOver, beam.DoFn):
    """Builds a planned file and has the writer put it in place."""

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run

    def setup(self) -> None:
        enter(self._run.folder)
        writer, form = ready(self._delivery.writer), ready(self._delivery.format)
        self._delivery = replace(self._delivery, writer=writer, format=form)
        self._writer: Writer | Sealed = sealed(writer, self._delivery.recipients, self._run)
        self._progress = Progress(self._run)

    def start_bundle(self) -> None:
        self._blocks = Blocks()

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[DeliveredFile | Undelivered]:
        planned: list[Any] = [pickle.loads(value) for value in element[1]]
        if isinstance(planned[0], Undelivered):
            yield planned[0]
            return
        file: PlannedFile = planned[0]
        if file.name == NAME:
            yield self._delivery.letters.write(staged_lines(part.ref for part in file.slices))
            return
        yield self._publish(*(planned if self._delivery.naming.bundle else (file,)))

    @property
    def empty_file(self) -> PlannedFile:
        """The file of an export without records, where one is wanted: the first, of a group of empty values."""
        names = self._delivery.naming.names
        group = ("",) * names.groups if names else ()
        name = self._delivery.name(group, names.start if names else 0)
        return PlannedFile(name, group, names.start if names else 0, 0, ())

    def publish_empty(self) -> DeliveredFile:
        return self._publish(self.empty_file)

    def _publish(self, *files: PlannedFile) -> DeliveredFile:
        delivered: DeliveredFile
        try:
            if self._delivery.naming.bundle:
                delivered = publish_bundle(self._delivery, self._writer, self._run, files, self.fill)
            else:
                delivered = self._writer.publish(files[0], lambda out: self.fill(files[0], out), self._run.scratch)
        except RecordError as error:
            raise DestinationError(f"{self._delivery.naming.bundle or files[0].name}: {error}") from error
        self._progress.delivered(delivered)
        return delivered

    def fill(self, file: PlannedFile, out: BinaryIO) -> None:
        """Write the whole file to `out`."""
        if self._delivery.table:
            blocks = ((self._blocks.payload(part.ref), _indices(part)) for part in file.slices)
            self._delivery.table_format.assemble(blocks, file.schemas, out)
        elif self._delivery.codec.joins:
            members = Members(out, self._delivery.codec)
            self._text(file, members.text, members.member)
            members.close(empty=not file.slices)
        else:
            member = os.path.basename(self._delivery.plain_name(file.name))[: -len(self._delivery.codec.suffix)]
            with self._delivery.codec.archive(out, member) as archive:
                self._text(file, archive.write, None)

    def _text(self, file: PlannedFile, text: Callable[[bytes], object], member: Callable[[bytes], object] | None) -> None:
        form = self._delivery.text_format
        if not file.slices:
            empty = self._delivery.shape.empty
            text(form.header + form.footer if empty is None else empty)
            return
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
        gap = len(self._delivery.text_format.separator)
        sizes = self._blocks.sizes(part.ref)
        starts = [0, *accumulate(size + gap for size in sizes)]
        if part.chosen is not None:
            parts = [payload[starts[i] : starts[i] + sizes[i]] for i in part.chosen]
            return bytes(self._delivery.text_format.separator.join(parts))
        return payload[starts[part.start] : starts[part.stop] - gap]

    def teardown(self) -> None:
        if hasattr(self, "_blocks"):
            self._blocks.close()
        if hasattr(self, "_progress"):
            self._progress.close()

    def finish_bundle(self) -> None:
        self._blocks.close()
        self._progress.close()


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

    def close(self, empty: bool = False) -> None:
        """End the member under way; where the file may be `empty`, it is one at least: no bytes are no gzip file."""
        if empty and self._open is None:
            self._open = self._codec.compressor()
        if self._open is not None:
            self._out.write(self._open.flush())
            self._open = None
