"""The values that travel through an export. All are plain, frozen and picklable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Record = dict[str, Any]
"""One exported item: a JSON-like mapping whose key order is kept."""


class Position(NamedTuple):
    """Where a record came from. Positions of one export sort in input order.

    `unit` is the unit's number in the reader's order, `range` the number of the range inside the unit, `number` the
    record's number inside the range, all from 0.
    """

    unit: int
    range: int
    number: int


class Unit(NamedTuple):
    """A piece of the source that is read independently: a file, a key range, a partition.

    `name` is what users know it by (a path), `size` its bytes or -1 where unknown, `etag` changes when the content
    does (for files: size and modification time). `index` is its number in the reader's order, from 0.
    """

    index: int
    name: str
    size: int = -1
    etag: str = ""


class Chunk(NamedTuple):
    """A run of source that ends on a record border, not decoded yet.

    `data` is what the deserializer's `decode` takes (bytes for text formats). `first` is the number inside the range
    of the first record or line in it.
    """

    unit: Unit
    range: int
    first: int
    data: Any


class Mark(NamedTuple):
    """The end of a range: it follows the range's last record in the same stream.

    Every step passes it on. `counts` is a tuple of (name, number) pairs, to which each step adds what it did to the
    records of this range: `read`, `filtered_before`, `failed`, … So the figures of a range are committed together
    with the range, and a bundle that runs twice counts once.
    """

    unit: Unit
    range: int
    counts: tuple[tuple[str, int], ...] = ()


Element = tuple[Position, "Record | Mark"]
"""What steps receive and emit: a record or the mark that ends its range."""


class Failure(NamedTuple):
    """A record that failed a step. `record` is the record, or the undecoded text where decoding failed."""

    position: Position
    unit: str
    step: str
    message: str
    record: Any


class BlockRef(NamedTuple):
    """Where the records of one group in one range (or a fixed part of them) are staged.

    `offset`, `length` locate the payload in the segment and `index_length` the record lengths (uint32, little endian)
    right behind it. `compressed` says whether the payload is already compressed as the delivered file wants it.
    `raw` is the payload's size before compression. `first` is the position of the block's first record.
    `ordinals` is empty unless records are chosen after staging (a limit or a sample): then one number a record.
    """

    segment: str
    offset: int
    length: int
    index_length: int
    raw: int
    records: int
    compressed: bool
    first: Position
    schema: bytes = b""
    ordinals: tuple[int, ...] = ()


class Slice(NamedTuple):
    """Records `start` to `stop` of a staged block, or those in `chosen` where it is not None."""

    ref: BlockRef
    start: int
    stop: int
    chosen: tuple[int, ...] | None = None


class PlannedFile(NamedTuple):
    """A file to deliver: final name, group, and the slices it is made of, in order of position."""

    name: str
    group: tuple[str, ...]
    number: int
    records: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class DeliveredFile:
    """A file that stands at the destination under its final name. `md5` and `crc32` are hex digests of its bytes."""

    name: str
    group: tuple[str, ...]
    records: int
    size: int
    md5: str
    result: Any = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "group": list(self.group),
            "records": self.records,
            "bytes": self.size,
            "md5": self.md5,
        }


MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING", "__bool__": lambda self: False})()
"""What `lookup` gives where there is no value: None is a value."""


def lookup(record: Mapping[str, Any], path: tuple[str, ...], default: Any = None) -> Any:
    """The value at `path`, or `default` where a key is missing or the way leads through something not a mapping.

    >>> lookup({"a": {"b": 1}}, ("a", "b"))
    1
    >>> lookup({"a": None}, ("a", "b"), MISSING)
    MISSING
    """
    value: Any = record
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value


@dataclass(frozen=True)
class Tally:
    """What one committed range contributed: its counts by name."""

    unit: Unit
    range: int
    counts: tuple[tuple[str, int], ...] = field(default=())
