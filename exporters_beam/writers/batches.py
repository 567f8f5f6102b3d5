"""Batches of records, as writers to databases, queues and services get them: what a batch is known by, and how its records are
staged until then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

from exporters_beam.components.names import expand_dates
from exporters_beam.components.options import option
from exporters_beam.components.protocols import TextFormat
from exporters_beam.errors import ConfigError, DestinationError, RecordError
from exporters_beam.records import Record
from exporters_beam.writers.options import WriterOptions
from exporters_beam.writers.values import Values, unpack_all

PIECE = 250
"""Records that are made of what was staged at once: of 1,000 many would have left the caches before they are sent, which takes
twice the time."""


class Refused(RecordError):
    """The target does not take a record of a batch, and the export ends with that. `n` is its number in the batch."""

    def __init__(self, n: int, answer: str) -> None:
        super().__init__(answer)
        self.n, self.answer = n, answer

    def __reduce__(self) -> tuple[type[Refused], tuple[int, str]]:
        return (type(self), (self.n, self.answer))


@dataclass
class RecordBatch:
    """Some records of an export, in order, which a writer sends at once.

    `delivery` is what the delivery of these very records is known by, in hexadecimal digits: the export, its input as it was
    listed, and the option `delivery_id`. `number` counts its batches from 0. Both are the same when the batch is sent again:
    after a crash, by `--resume`, or when the same export runs again over the same input. `staged` are its records as they were
    staged: as JSON where the writer's `staged_as` says so, else as `Values` says.
    """

    delivery: str
    number: int
    staged: Sequence[bytes]
    as_json: bool = False
    tolerant: bool = False
    """Whether a record that is refused is set aside; else it ends the export."""
    refused: dict[int, str] = field(default_factory=dict)
    """The numbers of the records that the target does not take, and its answers."""

    @cached_property
    def records(self) -> list[Record]:
        """The records, as mappings."""
        return unpack_all(self.staged)

    def each(self) -> Iterator[Record]:
        """The records one after the other, not kept: a large batch is many times as large as mappings."""
        return chain.from_iterable(self.pieces(PIECE))

    def pieces(self, count: int = PIECE) -> Iterator[Sequence[Record]]:
        """The records, so many at a time, not kept."""
        known: list[Record] | None = self.__dict__.get("records")
        for at in range(0, len(self.staged), count):
            yield unpack_all(self.staged[at : at + count]) if known is None else known[at : at + count]

    @property
    def texts(self) -> Sequence[bytes]:
        """The records as JSON, each without line ends. Only where they were staged so."""
        assert self.as_json, "the writer's `staged_as` is JSON lines where it asks for texts"
        return self.staged

    @cached_property
    def checksum(self) -> str:
        """A digest of the records: equal ones have the same."""
        return checksum_of(self.staged)

    def refuse(self, n: int, answer: str) -> None:
        """The target does not take the record of this number; go on without it. Raises Refused where that ends the export:
        call it where an exception takes back what was sent of the batch."""
        if not self.tolerant:
            raise Refused(n, answer)
        self.refused[n] = answer

    @property
    def accepted(self) -> list[Record]:
        """The records that were not refused."""
        return [record for n, record in enumerate(self.records) if n not in self.refused] if self.refused else [*self.records]

    @property
    def refused_json(self) -> str:
        """What was refused, for a ledger: "" where nothing was."""
        return json.dumps(sorted(self.refused.items())) if self.refused else ""

    def already(self, checksum: str, refused: str = "") -> None:
        """The target's ledger says that this batch is there. Raises DestinationError where it held other records."""
        if checksum != self.checksum:
            raise DestinationError(
                f"batch {self.number} of this delivery ({self.delivery}) was sent before with other records, though the config "
                "and the input are the same; give the writer another `delivery_id` to send all of it again"
            )
        self.refused = {int(n): str(answer) for n, answer in json.loads(refused)} if refused else {}


def checksum_of(staged: Sequence[bytes]) -> str:
    """A digest of records as they were staged."""
    digest = hashlib.md5(usedforsecurity=False)
    for at in range(0, len(staged), 1000):
        digest.update(b"\n".join((*staged[at : at + 1000], b"")))
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class RecordWriterOptions(WriterOptions):
    """Options of every writer that sends records in batches."""

    remote: ClassVar[bool] = True

    items_per_buffer_write: int = option("most records in a batch", type="int", default=10_000, minimum=1)
    size_per_buffer_write: int = option("bytes at which a batch is closed, as staged; 0: no limit", type="int",
                                        default=16 << 20, minimum=0)  # fmt: skip
    delivery_id: str = option("the same export of the same input is sent once; another text here, with % dates, sends it again",
                              type="str", default="")  # fmt: skip
    records_per_second: int = option("send no more than this; 0: no limit", type="int", default=0, minimum=0,
                                     identity=False)  # fmt: skip
    concurrency: int = option("batches that are sent at once; 1: one after the other, in order", type="int", default=1,
                              minimum=1, identity=False)  # fmt: skip
    retry_seconds: int = option("how long a batch is tried again where the target does not answer", type="int", default=120,
                                minimum=0, identity=False)  # fmt: skip

    attempts: int = field(default=5, repr=False, compare=False)
    """1 where `disable_retries` stands in the config; else `retry_seconds` decides."""

    delivers: ClassVar[str] = "exactly once"
    """What is promised: `exactly once`, or `at least once` and why."""

    dated: ClassVar[tuple[str, ...]] = ("delivery_id",)
    """The options in which % dates stand for the time at which the export begins."""

    @property
    def staged_as(self) -> TextFormat:
        """`Values`; or `formats.json_text.JsonFormat`, where all that is sent of records is made of their JSON."""
        return Values()

    def at(self, now: datetime) -> RecordWriterOptions:
        """The writer as of the time at which the export begins."""
        given = {name: getattr(self, name) for name in self.dated}
        changed: dict[str, Any] = {
            name: expand_dates(text, now) for name, text in given.items() if isinstance(text, str) and "%" in text
        }
        return replace(self, **changed) if changed else self

    def __post_init__(self) -> None:
        if self.write_buffer != "default":
            raise ConfigError(f"write_buffer: {self.write_buffer} is for files; this writer sends records")
