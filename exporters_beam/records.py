"""The values that travel through an export. All are plain, frozen and picklable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

Record = dict[str, Any]
"""One exported item: a JSON-like mapping whose key order is kept."""


Json = dict[str, Any]
"""An object of JSON that is not a record: a manifest, a report, a dead letter, a schema, what a service answers."""

UNKNOWN = "unknown"
"""The group of records that have no value."""

Position = tuple["Unit", int, int]
"""Where a record came from: (unit, number of the range in the unit, number in the range), from 0.

Positions of one export sort in input order. They are plain tuples, since every record has one.
"""


class Unit(NamedTuple):
    """A piece of the source that is read independently: a file, a key range, a partition.

    `name` is what users know it by (a path), `size` its bytes or -1 where unknown, `etag` changes when the content
    does (for files: size and modification time). `index` is its number in the reader's order, from 0.
    """

    index: int  # type: ignore[assignment]
    name: str
    size: int = -1
    etag: str = ""


def units_of(name: str, pieces: Iterator[str], empty: str | None = None) -> Iterator[Unit]:
    """The pieces that a source is cut into, in order, as units; one that is not cut has its own name. `empty` is the piece of a
    source without any."""
    first, second = next(pieces, empty), next(pieces, None)
    if first is None:
        return
    if second is None:
        yield Unit(0, name, -1, first)
        return
    for index, piece in enumerate(chain((first, second), pieces)):
        yield Unit(index, f"{name}[{index}]", -1, piece)


class Link(NamedTuple):
    """A run of a chain, which reads what is new since the one before: the chain's id, the number of the batch from 1, the local
    time for dates in names, and the checksum of the manifest before. A `full` one reads everything."""

    chain: str
    number: int
    now: str
    before: str = ""
    full: bool = False
    windows: Json | None = None


class Units(NamedTuple):
    """Small units that a worker gets together and reads one after the other: what a runner does for an element, it does once
    for all of them."""

    units: tuple[Unit, ...]


class Warned(NamedTuple):
    """A sentence about something that is right to do and that users should know of, found while the export runs.

    What a reader gives beside its units, in `units`, of what it has passed over. What is found while a range is read or
    written stands in the `warnings` of its mark. Both are logged by the launcher, and stand in report and manifest.
    """

    text: str


class Undelivered(NamedTuple):
    """Why a file or a batch is not at its destination, where the export goes on for other writers."""

    why: str


LONG_ROWS, OPEN_QUOTES = "deserializer.long_rows", "deserializer.open_quotes"

TOLD: Mapping[str, Mapping[bool, str]] = {
    LONG_ROWS: {
        False: "deserializer: 1 row of CSV is longer than the header; what it has too much stands in the field null",
        True: "deserializer: {:,} rows of CSV are longer than the header; what they have too much stands in the field null",
    },
    OPEN_QUOTES: {
        False: "deserializer: 1 file of CSV has a quote that is never closed; the value takes the rest of the file",
        True: "deserializer: {:,} files of CSV have a quote that is never closed; the value takes the rest of each file",
    },
}
"""Counts that are warned of, and the sentence for one and for more of them."""


class Chunk(NamedTuple):
    """A run of source that ends on a record border, not decoded yet.

    `data` is what the deserializer's `decode` takes (bytes for text formats). `first` is the number inside the range
    of the first record or line in it.
    """

    unit: Unit
    range: int
    first: int
    data: Any


class Undecoded(NamedTuple):
    """What a reader of records gives in the place of a record that it cannot make of what the source has: that, and what is
    wrong with it. It is a failure of the deserializer, for `on_error`."""

    raw: bytes | str
    message: str


class Skipped(NamedTuple):
    """The data of a chunk that was not read, since what is known of it says that the first filter drops all its records."""

    records: int


class Known(NamedTuple):
    """What a file says of a column in a part of it: the smallest and largest value, and whether some may be null."""

    least: Any
    most: Any
    nulls: bool


class Mark(NamedTuple):
    """The end of a range: it follows the range's last record in the same stream.

    Every step passes it on. `counts` is a tuple of (name, number) pairs, to which each step adds what it did to the
    records of this range: `read`, `filtered_before`, `failed`, … So the figures of a range are committed together
    with the range, and a bundle that runs twice counts once. `last` is true for the unit's last range. `staged` is the
    segment that holds this range already: then no record of it was read, and the encoder gives what stands there.
    `warnings` are sentences for users; like the counts they are committed with the range, and so is what was `sought`, and the
    `statistics` of its fields. `latest` is the latest time that its records tell, in seconds since 1970, where that is asked
    for.
    """

    unit: Unit
    range: int
    counts: tuple[tuple[str, int], ...] = ()
    last: bool = False
    staged: str = ""
    warnings: tuple[str, ...] = ()
    sought: tuple[Sought, ...] = ()
    statistics: bytes = b""
    latest: int | None = None


class Sought(NamedTuple):
    """Whether a record of a range had what a step looks for: a key of its config, which stands there as `name`.

    Where no record of the whole export has it, users are told so. `near` is a field that they may have meant. What is not
    `known` to have been looked for in whole records says no more than that.
    """

    step: str
    name: str
    found: bool
    near: str = ""
    known: bool = True


class Batch(NamedTuple):
    """Records of one range, in input order: what flows from step to step. One element for many records costs the runner
    what one for each would cost.

    `numbers` says where in the range each record came from; records that one record became have the same. `failures`
    are those of the batch that failed a step and are set aside, on their way to the encoder.

    Where no step does more to records than add fields, `lines` holds the line of JSON that each came as, stripped, and
    `records` may hold no more of each than what steps look at. A record that cannot be written as its line with fields
    behind it is whole, and its line empty. `groups`, where it is not None, says the group of each: then nothing but
    writing the lines is left to do. `types` are those that the source's columns have, for formats that want them.
    """

    unit: Unit
    range: int
    numbers: Sequence[int]
    records: Sequence[Any]
    failures: tuple[Failure, ...] = ()
    lines: Sequence[bytes] = ()
    groups: Sequence[tuple[str, ...]] | None = None
    types: bytes = b""


class Lines(NamedTuple):
    """Records of one range that nothing changes and nothing groups, as lines of JSON: their numbers in the range, the lines
    with a line feed behind each, and how long each is without it."""

    unit: Unit
    range: int
    numbers: Sequence[int]
    text: bytes
    sizes: Sequence[int]


class Failure(NamedTuple):
    """A record that failed a step. `record` is the record, or the undecoded text where decoding failed."""

    position: Position
    unit: str
    step: str
    message: str
    record: Any


Element = Batch | Lines | Mark
"""What steps receive and emit: in the order of the range, its mark last."""


@dataclass(frozen=True)
class Limits:
    """How many records an export delivers, in input order, and at how many records and bytes a file is closed; 0: no limit."""

    items: int = 0
    items_per_file: int = 0
    bytes_per_file: int = 0


@dataclass(frozen=True)
class Sampling:
    """How many records of each group a sample has, 0 for all, and what chooses them."""

    size: int = 0
    seed: int = 0


class BlockRef(NamedTuple):
    """Where the records of one group in one range, or a fixed part of them, are staged.

    `offset` and `length` locate the payload in the segment; the sizes of its `total` records (uint32, little endian)
    stand right behind it. `raw` is the payload's size before compression, `compressed` whether it already is what the
    delivered file holds. `records` says how many of its records count, from the first on (a limit cuts the rest off).
    `first` is the position of its first record and `number` tells the blocks of one range apart. `ordinals` numbers
    its records among those the range kept, and `draws` holds a random number for each; both are empty unless a limit
    or a sample chooses after staging. `crc` is the CRC-32 of the payload and the sizes.
    """

    segment: str
    offset: int
    length: int
    raw: int
    total: int
    records: int
    compressed: bool
    first: Position
    number: int
    schema: bytes = b""
    ordinals: tuple[int, ...] = ()
    draws: tuple[int, ...] = ()
    crc: int = 0

    @classmethod
    def of(
        cls,
        *,
        length: int,
        records: int,
        first: Position,
        number: int,
        raw: int | None = None,
        compressed: bool = False,
        schema: bytes = b"",
        ordinals: tuple[int, ...] = (),
        draws: tuple[int, ...] = (),
    ) -> BlockRef:
        """A block that stands nowhere yet: the segment to which it is added says where, and its checksum."""
        size = length if raw is None else raw
        return cls("", 0, length, size, records, records, compressed, first, number, schema, ordinals, draws)


class Typed(NamedTuple):
    """What a range says of the types of its blocks: their schemas in order, the keys of its groups, and its segment."""

    unit: Unit
    range: int
    segment: str
    schemas: tuple[bytes, ...]
    groups: tuple[bytes, ...]


class Schema(NamedTuple):
    """The schema of all files of an export, on its way to a group's planner."""

    schema: bytes


class Replaced(NamedTuple):
    """Blocks that stand in place of those that a group has in a range, by the unit's index."""

    unit: int
    range: int
    refs: tuple[BlockRef, ...]


class Recount(NamedTuple):
    """How counts change where records turned out to be at fault after their range was committed."""

    counts: tuple[tuple[str, int], ...]


class Slice(NamedTuple):
    """The records `start` to `stop` of a staged block, or those with the numbers `chosen` where that is not None."""

    ref: BlockRef
    start: int
    stop: int
    chosen: tuple[int, ...] | None = None

    @property
    def whole(self) -> bool:
        return self.chosen is None and self.start == 0 and self.stop == self.ref.total


class PlannedFile(NamedTuple):
    """A file to deliver: its final name, group and number, and the slices it is made of, in order of position.

    `schemas` are, for formats that infer them, the schema of all files, then the distinct ones of the group's blocks.
    """

    name: str
    group: tuple[str, ...]
    number: int
    records: int
    slices: tuple[Slice, ...]
    schemas: tuple[bytes, ...] = ()


MAILED = "mail:"
"""How the names begin of files that were mailed: nobody can look at them again."""


class Plain(NamedTuple):
    """What a file was before it was encrypted: its bytes, and the hex digest of them."""

    size: int
    md5: str


@dataclass(frozen=True)
class DeliveredFile:
    """A file that stands at the destination under its final name. `md5` is the hex digest of its bytes, and `result`
    what writers that deliver no file (reduce) made of the records. An archive has `members`, which are named as in it.
    One that was encrypted was `plain` before."""

    name: str
    group: tuple[str, ...]
    records: int
    size: int
    md5: str
    result: Any = None
    members: tuple[DeliveredFile, ...] = ()
    plain: Plain | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "group": list(self.group),
            "records": self.records,
            "bytes": self.size,
            "md5": self.md5,
            **({"plain": {"bytes": self.plain.size, "md5": self.plain.md5}} if self.plain is not None else {}),
            **({"members": [member.as_dict() for member in self.members]} if self.members else {}),
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
        if value.__class__ is not dict and not isinstance(value, Mapping):  # the second test is slow
            return default
        if key not in value:
            return default
        value = value[key]
    return value


class Key(NamedTuple):
    """What the config calls a value: a field or, split at the separator, a path through mappings.

    A field that has the whole text as its name goes before a path: on every level names are tried from the longest on.

    >>> Key.of("a.b").value({"a": {"b": 1}}), Key.of("a.b").value({"a": {"b": 1}, "a.b": 2})
    (1, 2)
    """

    names: tuple[tuple[tuple[str, int], ...], ...]
    """For each part of the key the names that begin with it, longest first, with the number of the part behind."""

    @classmethod
    def of(cls, key: str, separator: str = ".") -> Key:
        parts = key.split(separator) if separator else [key]
        ends = range(len(parts), 0, -1)
        return cls(
            tuple(tuple((separator.join(parts[start:end]), end) for end in ends if end > start) for start in range(len(parts)))
        )

    @property
    def single(self) -> str | None:
        """The only name, where there is but one."""
        return self.names[0][0][0] if len(self.names) == 1 else None

    @property
    def reads(self) -> frozenset[str]:
        """The top-level fields that decide."""
        return frozenset(name for name, _ in self.names[0])

    def value(self, record: Any, default: Any = None, start: int = 0) -> Any:
        """The value, or `default` where there is none."""
        if record.__class__ is dict or isinstance(record, Mapping):  # the second test is slow
            for name, end in self.names[start]:
                if name in record:
                    if end == len(self.names):
                        return record[name]
                    found = self.value(record[name], MISSING, end)
                    if found is not MISSING:
                        return found
        return default
