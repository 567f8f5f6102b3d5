"""Staged segments: what stands between reading and publishing.

A bundle appends the blocks of its groups to one segment, a file in the staging folder, under a temporary name;
committing it adds a footer that lists the ranges it covers, syncs it and gives it its final name. A segment is therefore
whole or not there, and two segments that cover the same range (a bundle ran twice) are equally good.
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import uuid
import zlib
from array import array
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple, cast

from isal.isal_zlib import crc32

from exporters_beam.errors import DestinationError
from exporters_beam.files import destination, sync_folder
from exporters_beam.records import BlockRef, Json, Mark, Unit

SUFFIX = ".segment"

MAGIC = b"exporters-beam segment 4\n"

Group = tuple[str, ...] | None
"""The group of a block; None for dead letters."""

ANY_MAGIC = b"exporters-beam segment "
"""How the segments of every version begin."""

_OURS = re.compile(
    r"[0-9a-f]{32}\.segment(?:\.part)?|kept-\d+-\d+-\d+-[01]|(?:progress-[0-9a-f]{32}(?:\.part)?)|"
    r"(?:delivered|handed-over)-[0-9a-f]{32}|sent-[0-9a-f]{32}-\d+(?:\.part)?|encrypted-[0-9a-f]{32}(?:-[0-9a-f]{32}\.part)?"
)

OPEN_SEGMENTS = 64
"""Segments a reader keeps open."""


@dataclass(frozen=True)
class Staging:
    """The folder of one run's segments. All workers reach it under the same path."""

    folder: str

    def create(self) -> Segment:
        return Segment(self.folder)

    def create_passing(self) -> Segment:
        """One that is for this run alone: it is never committed, and no other run takes it up."""
        return Segment(self.folder, passing=True)

    def limit_markers(self) -> Iterator[tuple[int, int, int, bool]]:
        """(unit, range, records kept, is the unit's last) of every range that the encoder has finished."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return
        for name in names:
            if name.startswith("kept-") and _OURS.fullmatch(name):
                unit, number, kept, last = (int(part) for part in name.split("-")[1:])
                yield unit, number, kept, bool(last)

    def mark_kept(self, unit: int, number: int, kept: int, last: bool) -> None:
        """Leave word of how many records a range kept. It depends on the source alone, so it may be left twice."""
        path = os.path.join(self.folder, f"kept-{unit}-{number}-{kept}-{int(last)}")
        with destination("cannot write to the staging folder", path):
            os.makedirs(self.folder, exist_ok=True)
            with open(path, "wb"):
                pass

    def is_handed_over(self, what: str) -> bool:
        """Whether it is noted that a mail, say, was accepted; `what` is a digest, of 32 hex digits."""
        return os.path.exists(self._handed_over(what))

    def note_handed_over(self, what: str) -> None:
        """Leave word of what cannot be taken back, so that a resumed run does not do it again."""
        path = self._handed_over(what)
        with destination("cannot write to the staging folder", path):
            os.makedirs(self.folder, exist_ok=True)
            with open(path, "wb") as file:
                os.fsync(file.fileno())
            sync_folder(self.folder)

    def forget_handed_over(self) -> None:
        """A run that begins from the start does everything again."""
        with destination("cannot sweep the staging folder", self.folder), suppress(FileNotFoundError):
            for name in os.listdir(self.folder):
                if name.startswith("handed-over-") and _OURS.fullmatch(name):
                    os.remove(os.path.join(self.folder, name))

    def _handed_over(self, what: str) -> str:
        return os.path.join(self.folder, f"handed-over-{what}")

    def note_progress(self, who: str, numbers: Mapping[str, int]) -> None:
        """Leave word of how far a worker has come. It is for people to read; nothing depends on it."""
        path = os.path.join(self.folder, f"progress-{who}")
        try:
            os.makedirs(self.folder, exist_ok=True)
            with open(path + ".part", "w", encoding="utf-8") as out:
                json.dump(dict(numbers), out)
            os.replace(path + ".part", path)
        except OSError:
            pass

    def notes(self, who: str) -> BinaryIO | None:
        """Where a worker leaves word of delivered files, a line each, for the report of a run that ends before its manifest;
        nothing depends on it."""
        with suppress(OSError):
            os.makedirs(self.folder, exist_ok=True)
            return cast(BinaryIO, open(os.path.join(self.folder, f"delivered-{who}"), "ab", buffering=0))
        return None

    def encrypted(self, known: str) -> str:
        """The path of an encrypted file, which is kept as long as what is staged: encrypted again it would be another one."""
        return os.path.join(self.folder, f"encrypted-{known}")

    def note_sent(self, delivery: str, number: int, told: Mapping[str, object]) -> None:
        """Leave word that a target has taken a batch, before anything else is sent. Raises DestinationError."""
        path = os.path.join(self.folder, f"sent-{delivery}-{number}")
        with destination("cannot write to the staging folder", path):
            os.makedirs(self.folder, exist_ok=True)
            with open(path + ".part", "w", encoding="utf-8") as out:
                json.dump(dict(told), out)
            os.replace(path + ".part", path)

    def sent(self, delivery: str, number: int) -> Json | None:
        """What was noted of a batch; None where nothing was. Raises DestinationError."""
        path = os.path.join(self.folder, f"sent-{delivery}-{number}")
        with destination("cannot read the staging folder", path):
            try:
                with open(path, encoding="utf-8") as file:
                    found: Json = json.load(file)
            except (FileNotFoundError, ValueError):
                return None
        return found

    def delivered(self) -> list[Json]:
        """The delivered files of which workers left word, by name."""
        found: dict[str, Json] = {}
        with suppress(OSError):
            for name in os.listdir(self.folder):
                if name.startswith("delivered-") and is_ours(self.folder, name):
                    with open(os.path.join(self.folder, name), encoding="utf-8") as file:
                        for line in file:
                            with suppress(ValueError):  # a line that a killed worker left half
                                told = json.loads(line)
                                found[told["name"]] = told
        return [found[name] for name in sorted(found)]

    def progress(self) -> dict[str, int]:
        """The sum of what workers said of their progress."""
        total: dict[str, int] = {}
        try:
            names = [name for name in os.listdir(self.folder) if name.startswith("progress-")]
            for name in names:
                if not name.endswith(".part"):
                    with open(os.path.join(self.folder, name), encoding="utf-8") as file:
                        for key, n in json.load(file).items():
                            total[key] = total.get(key, 0) + n
        except (OSError, ValueError):
            pass
        return total


def is_ours(folder: str, name: str) -> bool:
    """Whether a run wrote this file of the staging folder, or may have. Nothing else is ever read or removed.

    Names with 32 hex digits are ours, but for committed segments that do not begin as one: a run gives a segment this
    name when all of it is on the disk. One that begins well and is not whole, or is of another version, is ours: it counts
    for nothing and is swept with the others.
    """
    if not _OURS.fullmatch(name):
        return False
    path = os.path.join(folder, name)
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    if not name.endswith(SUFFIX):
        return True
    with open(path, "rb") as file:
        return file.read(len(ANY_MAGIC)) == ANY_MAGIC


class Segment:
    """A segment being written. Nothing is created before the first block or range."""

    def __init__(self, folder: str, passing: bool = False) -> None:
        self._folder = folder
        self.path = os.path.join(folder, uuid.uuid4().hex + SUFFIX)
        self._part = self.path + ".part"
        if passing:
            self.path = self._part
        self._file: BinaryIO | None = None
        self._offset = 0
        self._blocks: list[tuple[Group, BlockRef]] = []

    def add(self, group: Group, payload: bytes, sizes: Iterable[int], ref: BlockRef) -> BlockRef:
        """Append a block and the sizes of its records; gives `ref` with its place filled in. Raises DestinationError."""
        index = (sizes if isinstance(sizes, array) else array("I", sizes)).tobytes()
        with destination("cannot write to the staging folder", self._folder):
            file = self._file or self._create()
            file.write(payload)
            file.write(index)
        ref = ref._replace(segment=self.path, offset=self._offset, crc=crc32(index, crc32(payload)))
        self._offset += len(payload) + len(index)
        self._blocks.append((group, ref))
        return ref

    def _create(self) -> BinaryIO:
        os.makedirs(self._folder, exist_ok=True)
        self._file = open(self._part, "xb", buffering=1 << 20)
        self._file.write(MAGIC)
        self._offset = len(MAGIC)
        return self._file

    def commit(self, marks: Sequence[Mark]) -> None:
        """Give the segment its final name, its footer telling its blocks and the ranges it covers. Raises DestinationError."""
        if not marks:
            return
        footer = zlib.compress(_footer(self._blocks, marks), 1)
        with destination("cannot write to the staging folder", self._folder):
            file = self._file or self._create()
            file.write(footer + struct.pack("<Q", len(footer)) + MAGIC)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.rename(self._part, self.path)
            sync_folder(self._folder)

    def close(self) -> None:
        """Make what was written readable, where the segment is not to be committed."""
        if self._file is not None:
            with destination("cannot write to the staging folder", self._folder):
                self._file.close()

    def abandon(self) -> None:
        """Drop what was written and not committed."""
        if self._file is not None and not self._file.closed:
            with suppress(OSError):  # It tries once more to write what could not be written.
                self._file.close()
            if os.path.exists(self._part):
                os.remove(self._part)


class Committed(NamedTuple):
    """What a committed segment holds: the blocks of each group, and the marks of the ranges it covers."""

    path: str
    blocks: tuple[tuple[Group, BlockRef], ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Resumed:
    """What an earlier run has committed: segments, and the ranges they cover."""

    segments: tuple[Committed, ...] = ()
    covered: frozenset[tuple[int, int]] = frozenset()
    whole: frozenset[int] = frozenset()

    @property
    def records(self) -> int:
        """Records of the source that need not be read again."""
        marks = {(mark.unit.index, mark.range): mark for segment in self.segments for mark in segment.marks}
        return sum(dict(mark.counts).get("read", 0) for mark in marks.values())


def _told(mark: Mark) -> list[Any]:
    return [mark.unit.index, mark.range, mark.counts, mark.last, mark.warnings, mark.latest]


def _footer(blocks: Sequence[tuple[Group, BlockRef]], marks: Sequence[Mark]) -> bytes:
    units = {unit.index: unit for unit in [mark.unit for mark in marks] + [ref.first[0] for _, ref in blocks]}
    return json.dumps(
        {
            "units": [list(unit) for unit in units.values()],
            "marks": [[*_told(mark), *([b64encode(mark.statistics).decode()] if mark.statistics else [])] for mark in marks],
            "blocks": [
                [group, [*ref[1:7], [ref.first[0].index, *ref.first[1:]], ref.number, ref.schema.hex(), *ref[10:]]]
                for group, ref in blocks
            ],
        }
    ).encode()


def read_segment(path: str) -> Committed | None:
    """A committed segment's footer; None where the file is not a whole segment. Raises DestinationError."""
    tail = struct.calcsize("<Q") + len(MAGIC)
    with destination("cannot read the staged segment", path), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < len(MAGIC) + tail or file.read(len(MAGIC)) != MAGIC:
            return None
        file.seek(size - tail)
        length, magic = struct.unpack("<Q", file.read(8))[0], file.read()
        if magic != MAGIC or length > size - tail - len(MAGIC):
            return None
        file.seek(size - tail - length)
        packed = file.read(length)
    try:
        found = json.loads(zlib.decompress(packed))
        units = {unit[0]: Unit(*unit) for unit in found["units"]}
        marks = tuple(
            Mark(
                units[index],
                number,
                tuple((name, n) for name, n in counts),
                last,
                warnings=tuple(warnings),
                statistics=b64decode("".join(statistics)),
                latest=latest,
            )
            for index, number, counts, last, warnings, latest, *statistics in found["marks"]
        )
        blocks = []
        for group, (*place, (index, *first), number, schema, ordinals, draws, crc) in found["blocks"]:
            first = (units[index], *first)
            fields = (path, *place, first, number, bytes.fromhex(schema), tuple(ordinals), tuple(draws), crc)
            ref = BlockRef._make(fields)
            blocks.append((None if group is None else tuple(group), ref))
    except (zlib.error, ValueError, KeyError, TypeError, IndexError):
        return None
    return Committed(path, tuple(blocks), marks)


def staged_ranges(folder: str, left: frozenset[str]) -> dict[Unit, dict[int, Mark]]:
    """What stands in a staging folder, by unit and range, all but segments `left` by others."""
    found: dict[Unit, dict[int, Mark]] = {}
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return found
    for name in names:
        if name.endswith(SUFFIX) and name not in left and is_ours(folder, name):
            path = os.path.join(folder, name)
            segment = read_segment(path)
            for mark in segment.marks if segment else ():
                found.setdefault(mark.unit, {})[mark.range] = Mark(mark.unit, mark.range, (), mark.last, path)
    return found


def blocks_of(path: str, mark: Mark) -> tuple[list[tuple[Group, BlockRef]], Mark]:
    """The blocks of a mark's range in a segment, and the mark that stands there. Raises DestinationError."""
    segment = _latest(path)
    place = (mark.unit.index, mark.range)
    marks = [each for each in segment.marks if (each.unit.index, each.range) == place] if segment else []
    if segment is None or not marks:
        raise DestinationError(f"the staged segment {path} was damaged after it was written; run without --resume")
    return [(group, ref) for group, ref in segment.blocks if (ref.first[0].index, ref.first[1]) == place], marks[0]


@lru_cache(1)
def _latest(path: str) -> Committed | None:
    """One segment holds many ranges, which are asked for one after the other."""
    return read_segment(path)


class Blocks:
    """Reads staged blocks, keeping the segments in use open."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, BinaryIO] = OrderedDict()

    def payload(self, ref: BlockRef) -> bytes:
        """The block's records. Raises DestinationError where they are not those that were staged."""
        data = self._read(ref, ref.offset, ref.length + 4 * ref.total)
        if crc32(data) != ref.crc:
            raise DestinationError(
                f"the staged segment {ref.segment} was damaged after it was written (byte {ref.offset:,} and behind); "
                "run without --resume"
            )
        return data[: ref.length]

    def sizes(self, ref: BlockRef) -> array[int]:
        """The sizes in bytes of the block's records before compression."""
        index = array("I")
        index.frombytes(self._read(ref, ref.offset + ref.length, 4 * ref.total))
        return index

    def _read(self, ref: BlockRef, offset: int, length: int) -> bytes:
        with destination("cannot read the staged segment", ref.segment):
            file = self._open.get(ref.segment)
            if file is None:
                file = open(ref.segment, "rb", buffering=0)
                self._open[ref.segment] = file
                if len(self._open) > OPEN_SEGMENTS:
                    self._open.popitem(last=False)[1].close()
            else:
                self._open.move_to_end(ref.segment)
            data = os.pread(file.fileno(), length, offset)
        if len(data) != length:
            raise DestinationError(f"the staged segment {ref.segment} is shorter than when it was written")
        return data

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def in_order(refs: Iterable[BlockRef]) -> list[BlockRef]:
    """Blocks in order of position, those of a range that two segments cover taken once."""
    kept: dict[tuple[int, int, int], BlockRef] = {}
    for ref in refs:
        kept.setdefault((ref.first[0].index, ref.first[1], ref.number), ref)
    return [kept[place] for place in sorted(kept)]
