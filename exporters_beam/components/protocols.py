"""What a component of each kind has to offer. Own components implement one of these; no base class is needed.

A component is a frozen, keyword-only dataclass whose fields are its options (`options.option`), whose docstring is its
reference entry and whose class attribute `kind` says what it is. Its methods are plain: they know nothing of Beam.
`__post_init__` may check options further and raises `ConfigError("option: what is wrong")`; it opens nothing.
Components are pickled to workers; what cannot be pickled (clients, compiled programs) is made on first use, or in
`setup(self)`, which workers call once before the first record where a component has it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, Protocol, runtime_checkable

from exporters_beam.records import DeliveredFile, PlannedFile, Record, Unit, Warned


class Component(Protocol):
    kind: ClassVar[str]


@runtime_checkable
class Reader(Component, Protocol):
    """A source of decoded records: `units` says what there is, `read` gives one unit's records in order."""

    def units(self) -> Iterator[Unit]:
        """Every unit once, in the order in which records are delivered. Raises SourceError, ConfigError."""

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record] | Warned]]:
        """The records of a unit's ranges `start`, `start + 1`, …: (range number, some of its records in order). In their place
        may stand what users should know of the range: the same sentence is told once.

        Borders of ranges depend on the source alone, so that a range read again holds the same records.
        """


@runtime_checkable
class StreamReader(Component, Protocol):
    """A source of byte streams, one a unit, which the config's decompressor and deserializer decode."""

    def units(self) -> Iterator[Unit]:
        """Every unit once, in the order in which records are delivered. Raises SourceError, ConfigError."""

    def open(self, unit: Unit) -> BinaryIO:
        """The unit's bytes from its beginning; seekable where `seekable` is true. Raises SourceError.

        A reader may have `unchanged(unit, raw)`, which raises SourceError or OSError where what was opened may no longer be
        what was listed: it is asked before each range counts. `finds(name, writer, copied)` says whether it would read a
        file that the export's own writer delivers under that name.
        """


class Decompressor(Component, Protocol):
    suffixes: ClassVar[tuple[str, ...]]
    splittable: ClassVar[bool]

    def open(self, raw: BinaryIO) -> BinaryIO:
        """The decompressed bytes of `raw` as a stream with `read(n)`, joined members one after the other.

        `read` gives exactly n bytes unless the end is reached. It raises SourceError (without the file's name, which
        the caller adds) for input that is truncated, has a wrong checksum, is followed by garbage or is not of this
        compression. An empty input has no bytes and is no error. Archives have `each(raw)` besides, as `zip` does.
        """


class Deserializer(Component, Protocol):
    """Cuts a stream into chunks on record borders, cheaply, and decodes chunks into records."""

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[Any, int, int]]:
        """(data, records, size): data for `decode`, how many records or lines it holds, its decompressed bytes.

        Chunks end on record borders, hold about 256 KiB and depend on the decompressed bytes alone. Empty input gives
        nothing where the format allows it. Raises SourceError where the stream cannot be cut, its text naming the
        record ("record 17: …").
        """

    def decode(self, data: Any) -> Sequence[Record]:
        """All records of a chunk, in order. Raises any exception where one cannot be decoded."""

    def decode_each(self, data: Any) -> Iterator[tuple[int, Record | Exception, Any]]:
        """The same one by one, for chunks in which `decode` failed: (number inside the chunk, record or RecordError,
        the undecoded text or value). Numbers count what `chunks` counted, blank lines included."""


class Filter(Component, Protocol):
    """A filter may have a property `reads`, the top-level fields that decide, as a frozenset of names (None: all). `keep`
    then has to give the same for a record that holds only these fields, and to change nothing; where the export begins
    with such a filter, it is asked before records are decoded whole. A grouper may have the same. `steady` says that they
    always say the same of equal records, so that they need not be asked again. `sought`, of a filter or a format, are the
    fields that it looks for, as pairs of name and `records.Key`, and `labels`, of a grouper, what each value of a group is
    called: one that no record has is warned of."""

    def keep(self, record: Record) -> Any:
        """True (or truthy) for records to keep. Raises RecordError where the record cannot be judged."""


class Transform(Component, Protocol):
    """A transform has `map` (one record in, one out) or `flat_map` (none, one or several out)."""

    def map(self, record: Record) -> Any:
        """The record to go on with; it may be the one given, changed. Raises RecordError."""


class FlatTransform(Component, Protocol):
    def flat_map(self, record: Record) -> Iterable[Any]:
        """The records to go on with, in order. Raises RecordError."""


class Grouper(Component, Protocol):
    @property
    def size(self) -> int:
        """How many values `key` gives: the length of `{groups}`."""

    def key(self, record: Record) -> tuple[str, ...]:
        """The group's values as text, of always the same length. Raises RecordError."""


@runtime_checkable
class Keyed(Component, Protocol):
    """A filter that keeps one record of each key, as `dupe` does."""

    def key(self, record: Any) -> bytes | None:
        """What the record is known by, None where it is kept in any case. Raises RecordError."""


class TextFormat(Component, Protocol):
    """A format whose files are header + records joined by separator + footer, all bytes."""

    @property
    def extension(self) -> str:
        """What names of files end in."""

    @property
    def header(self) -> bytes: ...

    @property
    def separator(self) -> bytes: ...

    @property
    def footer(self) -> bytes: ...

    def format(self, record: Record) -> bytes:
        """One record as text, without separator. Raises RecordError where the format cannot hold it."""


class TableFormat(Component, Protocol):
    """A format that holds many records together (Parquet, Avro) and compresses them itself."""

    @property
    def extension(self) -> str:
        """What names of files end in."""

    def encode(self, records: Sequence[Record]) -> tuple[bytes, bytes]:
        """(payload, schema) of one block: payload for `assemble`, schema as bytes where it was inferred, else b"".

        Equal records give equal bytes. Raises RecordError where the records do not fit; the caller then tries them
        one by one to find the one at fault.
        """

    def assemble(self, blocks: Iterable[tuple[bytes, Sequence[int] | None]], schemas: Sequence[bytes], out: BinaryIO) -> None:
        """Write one whole file: of each block's payload the records at the given indices (None: all), in order.

        `schemas` are the distinct schemas of all blocks of the group, which are merged into one. Raises RecordError
        where they cannot be.
        """


class Writer(Component, Protocol):
    """Puts planned files in place. `writers.options.WriterOptions` holds the options that all writers share."""

    @property
    def items_limit(self) -> int:
        """How many records are delivered, the first in input order; 0: no limit."""

    @property
    def items_per_buffer_write(self) -> int:
        """How many records are in a file or a batch at most."""

    @property
    def size_per_buffer_write(self) -> int:
        """At how many bytes a file or a batch is closed; 0: no limit."""

    @property
    def check_consistency(self) -> bool:
        """Whether every delivered file is looked at again at the end."""

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        """Deliver a file whole under its final name, or not at all; doing it twice changes nothing.

        `fill` writes the file's bytes to what it is given. `scratch` is a folder for half-built files, on the same
        file system as the destination where the destination is one. Raises DestinationError.
        """


class FileWriter(Writer, Protocol):
    """A writer that delivers named files: `writers.options.FileWriterOptions` holds these options."""

    @property
    def filebase(self) -> str: ...

    @property
    def start_file_count(self) -> int: ...

    @property
    def compression(self) -> str: ...

    @property
    def compression_level(self) -> int | None: ...

    @property
    def generate_md5(self) -> bool: ...


class RecordWriter(Component, Protocol):
    """A writer that sends records in batches: `writers.batches.RecordWriterOptions` holds its options."""

    def send(self, batch: Any) -> None:
        """Send a `writers.batches.RecordBatch`, or find that it is there already.

        It is called again with the same batch after a crash and by `--resume`: what the target has is not sent twice where
        the target can tell. Raises Transient where it may go well the next time, any other DestinationError where not.
        """


class WriteBuffer(Component, Protocol):
    """How records are collected: all of them, or a sample of each group."""

    @property
    def sample_size(self) -> int: ...

    @property
    def seed(self) -> int: ...


class Notifier(Component, Protocol):
    def send(self, event: str, report: Mapping[str, Any]) -> None:
        """Tell users that an export has started, completed or failed. `report` holds what `--report` writes."""


class StatsManager(Component, Protocol):
    def report(self, report: Any, logger: logging.Logger) -> None:
        """Tell the counts of an export that has ended."""


AnyReader = Reader | StreamReader
StepComponent = Filter | Transform | FlatTransform | Keyed
"""What a step applies."""

Format = TextFormat | TableFormat
