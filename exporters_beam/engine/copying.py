"""Copies objects from storage to storage as they are: what a bypass runs instead of reading, encoding and publishing.

A unit is an object. What has been copied is committed to segments in the staging folder, as blocks of a pipeline are: a
copy for each unit, with the unit's mark. So a run that was killed goes on with the objects that are left.
"""

from __future__ import annotations

import json
import os
import posixpath
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from exporters_beam.components.names import FileNames
from exporters_beam.components.protocols import Writer
from exporters_beam.components.ready import ready
from exporters_beam.components.traits import WriterTraits
from exporters_beam.compressions import Codec
from exporters_beam.compressions.archives import Archive, Member
from exporters_beam.engine.delivery import TALLIES
from exporters_beam.engine.source import Source, naming
from exporters_beam.errors import DestinationError, SourceError, shown
from exporters_beam.files import Measured, destination
from exporters_beam.handover import HandsOver
from exporters_beam.records import BlockRef, DeliveredFile, Mark, PlannedFile, Unit, Warned
from exporters_beam.staging.run import Progress, Run
from exporters_beam.staging.segments import Blocks, Segment, read_segment
from exporters_beam.storages.base import Storage, Stored, changed

COMMIT_SECONDS = 10.0
"""What has been copied is committed after so long."""

COPIED = ()
"""The group of a copy's block."""

MAGIC = {"gz": b"\x1f\x8b", "none": b""}
"""How objects begin that are copied as they are."""


class CopyObjects(HandsOver, beam.DoFn):
    """Units to delivered files and marks. Inside the service where both ends are in it, else through this machine."""

    def __init__(self, source: Source, writer: Writer, codec: Codec, names: FileNames, run: Run) -> None:
        self._source, self._writer, self._codec, self._names, self._run = source, writer, codec, names, run

    def setup(self) -> None:
        self._source, self._writer = self._source.ready(), ready(self._writer)
        self._to = WriterTraits.of(self._writer)
        self._progress = Progress(self._run)
        self._root: str | None = None

    def start_bundle(self) -> None:
        self._segment: Segment = self._run.staging.create()
        self._marks: list[Mark] = []
        self._begun = time.monotonic()

    def process(self, unit: Unit) -> Iterator[Any]:
        if unit.index in self._run.resumed.whole:
            return
        self._warned: list[str] = []
        with naming(unit):
            file, counted = self._copy(unit)
        counts = (("read", file.records), ("kept", file.records), *(() if counted else (("not_counted", 1),)))
        mark = Mark(unit, 0, counts, True, warnings=tuple(f"{shown(unit.name)}: {text}" for text in self._warned))
        told = json.dumps([file.name, file.records, file.size, file.md5]).encode()
        ref = BlockRef.of(length=len(told), records=1, first=(unit, 0, 0), number=0)
        self._segment.add(COPIED, told, [len(told)], ref)
        self._marks.append(mark)
        if time.monotonic() - self._begun >= COMMIT_SECONDS:
            self._segment.commit(self._marks)
            self.start_bundle()
        self._progress.delivered(file)
        yield file
        yield TaggedOutput(TALLIES, mark)

    def finish_bundle(self) -> None:
        self._segment.commit(self._marks)
        self._progress.close()

    def teardown(self) -> None:
        if hasattr(self, "_segment"):
            self._segment.abandon()
            self._progress.close()

    def _copy(self, unit: Unit) -> tuple[DeliveredFile, bool]:
        """The copy, and whether its records are known: only what an export has delivered tells how many it holds."""
        stored, to = self._source.given.stored, self._to.storage
        assert stored is not None and to is not None
        listed = stored(self._source.names.real(unit))
        found = self._from.stat(listed.name)
        if found.etag != listed.etag:
            raise changed(unit.name)
        total = found.metadata.get("total", "")
        records = int(total) if total.isdecimal() else -1
        name = self._names.filebase + self._relative(found.name)
        as_it_is = self._is_wanted(found)
        if as_it_is:
            key, storage = self._to.key(name), to()
            with destination("cannot deliver", storage.url(key)):
                there = storage.copy(self._from, found, key)
            if there is not None:
                md5 = there.md5 or found.md5
                return DeliveredFile(storage.url(key), (), max(0, records), there.size, md5), records >= 0
        if not as_it_is and not name.endswith(self._codec.suffix):
            name += self._codec.suffix
        planned = PlannedFile(name, (), 0, records, ())
        file = self._writer.publish(planned, lambda out: self._fill(found, out, as_it_is), self._run.scratch)
        return DeliveredFile(file.name, (), max(0, records), file.size, file.md5), records >= 0

    @property
    def _from(self) -> Storage:
        """The storage that the objects are in."""
        storage = self._source.given.storage
        assert storage is not None
        found: Storage = storage()
        return found

    def _relative(self, name: str) -> str:
        """The name below the folder that all prefixes of the reader share: distinct objects get distinct names."""
        if self._root is None:
            folder = self._source.given.folder
            self._root = "" if folder is None else folder()
        return name[len(self._root) :] if name.startswith(self._root) else posixpath.basename(name)

    def _is_wanted(self, found: Stored) -> bool:
        """Whether the object is compressed as the writer wants it. Its name is believed where it says so."""
        magic = MAGIC[self._codec.name]
        if found.name.lower().endswith((".tar", ".tar.gz", ".tgz")):
            raise SourceError("it is an archive, whose members are files of their own and cannot be copied as they are; give "
                              "exporter_options.prevent_bypass: true")  # fmt: skip
        if not magic or found.name.endswith(self._codec.suffix) or not found.size:
            return True
        with self._from.open(found) as stream:
            return bool(stream.read(len(magic)) == magic)

    def _fill(self, found: Stored, out: BinaryIO, as_it_is: bool) -> None:
        """The object's bytes; compressed as the writer wants it where they are not."""
        with self._from.open(found) as raw:
            if as_it_is:
                read = Measured(out)
                while data := raw.read(1 << 20):
                    read.write(data)
                if read.size != found.size or (found.md5 and read.md5() != found.md5):
                    raise SourceError("what was read is not what the storage says it has: size or MD5 differ")
                self._from.unchanged(found)
                return
            packer = self._codec.compressor()
            for data in self._lines(raw):
                out.write(packer.compress(data))
            out.write(packer.flush())
            self._from.unchanged(found)

    def _lines(self, raw: BinaryIO) -> Iterator[bytes]:
        """The decompressed bytes; of the members of an archive one behind the other, each with its last line whole."""
        found = self._source.opening(raw)
        for part in found.members() if isinstance(found, Archive) else (Member("", found),):
            if isinstance(part, Warned):
                self._warned.append(part.text)
                continue
            last = b"\n"
            while data := part.stream.read(1 << 20):
                yield data
                last = data
            if part.name and not last.endswith(b"\n"):
                yield b"\n"


class ReadCopied(HandsOver, beam.DoFn):
    """What an earlier run has copied, and the marks of it, from a committed segment."""

    def process(self, path: str) -> Iterator[Any]:
        segment = read_segment(path)
        if segment is None:
            raise DestinationError(f"the staged segment {os.path.basename(path)} is damaged; run without --resume")
        blocks = Blocks()
        try:
            for _, ref in segment.blocks:
                name, records, size, md5 = json.loads(blocks.payload(ref))
                yield DeliveredFile(name, (), records, size, md5)
        finally:
            blocks.close()
        for mark in segment.marks:
            yield TaggedOutput(TALLIES, mark)
