"""How records become files: the value that every step of the delivery gets, and staged blocks on their way."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any, cast

from exporters_beam.components.names import Naming
from exporters_beam.components.pgp import Recipients
from exporters_beam.components.protocols import TableFormat, TextFormat, Writer
from exporters_beam.components.traits import FormatTraits, WriterTraits
from exporters_beam.compressions import Codec
from exporters_beam.config.checks import Checks
from exporters_beam.config.on_error import OnError
from exporters_beam.config.statistics import Statistics
from exporters_beam.engine.dead_letters import Letters
from exporters_beam.engine.windows import Completing
from exporters_beam.records import BlockRef, Limits, Mark, Sampling, Typed, Unit
from exporters_beam.staging.segments import Blocks

BLOCK_BYTES = 1 << 20
"""Bytes of records, before compression, at which a block is closed."""

TALLIES = "tallies"
"""The output of EncodeBlocks that holds the finished marks."""

TYPED = "types"
"""The output of EncodeBlocks that says of each range which types its blocks have, where these are found in the records."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How an export's records become files. Frozen and picklable: every step of the delivery gets it."""

    writer: Writer
    format: TextFormat | TableFormat
    codec: Codec
    naming: Naming
    letters: Letters
    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)
    told: tuple[tuple[str, Any], ...] = ()
    on_error: OnError = field(default_factory=OnError)
    checks: Checks | None = None
    statistics: Statistics | None = None
    deletes: bool = True
    added: tuple[str, ...] = ()
    recipients: Recipients | None = None
    windows: Completing | None = None

    @cached_property
    def shape(self) -> FormatTraits:
        """What the format tells of itself."""
        return FormatTraits.of(self.format)

    @cached_property
    def to(self) -> WriterTraits:
        """What the writer tells of itself."""
        return WriterTraits.of(self.writer)

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: self.__dict__[each.name] for each in fields(self)}

    @property
    def says_done(self) -> bool:
        """Whether it delivers files that say that something is whole."""
        return bool(self.naming.done) or (self.windows is not None and self.windows.success_file is not None)

    @property
    def text_format(self) -> TextFormat:
        """The format of an export to text."""
        return cast(TextFormat, self.format)

    @property
    def table_format(self) -> TableFormat:
        """The format of an export to tables."""
        return cast(TableFormat, self.format)

    @property
    def table(self) -> bool:
        """Whether the format holds many records together and compresses them itself."""
        return self.shape.table

    @property
    def finds_types(self) -> bool:
        """Whether columns and their types are found in the records: then all blocks together say what files have."""
        return self.shape.finds_types

    @property
    def chooses(self) -> bool:
        """Whether a limit or a sample decides after staging which records are delivered."""
        return bool(self.limits.items or self.sampling.size)

    @property
    def block_bytes(self) -> int:
        size = self.limits.bytes_per_file
        return max(4096, min(BLOCK_BYTES, size // 8)) if size else BLOCK_BYTES

    @property
    def ambiguous(self) -> bool:
        """Whether two groups might have files of one name."""
        names = self.naming.names
        if names is None or not names.groups:
            return False
        several = bool(self.limits.items_per_file or self.limits.bytes_per_file) and not self.sampling.size
        return bool(self.to.without_case) or names.ambiguous(several)

    def plain_name(self, name: str) -> str:
        """The name of a file without what says that it is encrypted."""
        return name.removesuffix(self.recipients.ending) if self.recipients is not None else name

    def name(self, group: tuple[str, ...], number: int) -> str:
        if self.to.sends:
            return f"batch-{number:06d}"
        return self.naming.names.name(group, number) if self.naming.names else "<result>"


def staged_block(group: tuple[str, ...] | None, ref: BlockRef) -> tuple[bytes, bytes]:
    """A block as it crosses the shuffle: its group, None for dead letters, as a deterministic key, and its reference."""
    return key_of(group), packed(ref)


def packed(ref: BlockRef) -> bytes:
    """A reference on its way through a shuffle, as plain tuples: there may be very many."""
    unit, number, n = ref.first
    return pickle.dumps((*ref[:7], (tuple(unit), number, n), *ref[8:]), 5)


def unpacked(data: bytes) -> Any:
    """What came through a shuffle: a reference, or what was pickled as it is."""
    value = pickle.loads(data)
    if type(value) is not tuple:
        return value
    (unit, number, n) = value[7]
    return BlockRef._make((*value[:7], (Unit(*unit), number, n), *value[8:]))


@lru_cache(maxsize=1024)
def key_of(group: tuple[str, ...] | None) -> bytes:
    return json.dumps(group).encode()


def typed_range(mark: Mark, path: str, refs: Iterable[tuple[tuple[str, ...] | None, BlockRef]]) -> Typed:
    """What a range that a segment holds says of the types of its blocks."""
    own = [(key_of(group), ref.schema) for group, ref in refs if group is not None]
    schemas, keys = dict.fromkeys(schema for _, schema in own), dict.fromkeys(key for key, _ in own)
    return Typed(mark.unit, mark.range, path, tuple(schemas), tuple(keys))


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
