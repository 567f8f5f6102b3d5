"""ORC: columns in stripes, as Hive and what came after it read and write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.words import shortened
from exporters_beam.compressions.streams import FREE, ratio_option
from exporters_beam.errors import ConfigError, Problem, RecordError, SourceError
from exporters_beam.formats.limits import MAX_RECORD_BYTES, too_long
from exporters_beam.formats.rows import Chooser
from exporters_beam.formats.tables import arrow, kept
from exporters_beam.formats.tables.chunks import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    TYPES,
    Maker,
    Sink,
    each_record,
    glancing,
    held,
    pack,
    records,
    small,
    source_errors,
    types_of,
)  # fmt: skip
from exporters_beam.formats.tables.lacking import misfit
from exporters_beam.formats.tables.types import Struct
from exporters_beam.formats.tables.written import ColumnFormat
from exporters_beam.records import Record

MAGIC = b"ORC"

TIMES_FROM = 25
"""The version of pyarrow from which on timestamps are read: those before give wrong ones before 1677 and after 2262."""

ROWS = 1024
"""So many records are handed to the library at a time, so that stripes depend on records and options alone."""

CODECS = ("zlib", "zstd", "snappy", "lz4", "none")

STRIPE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class OrcDeserializer:
    """Read ORC files, a stripe at a time, nested columns as objects and lists.

    Maps become objects, timestamps datetimes (in UTC where the file has instants), decimals `Decimal`, binary columns bytes.
    32-bit numbers are what they are: 0.1 comes as 0.10000000149011612, and filters know that it is 0.1. Times before
    1677-09-22 and after 2262-04-11 cannot be read, and fail the export. A stripe is in memory while it is read, however large
    it is. Timestamps need pyarrow 25 or newer.

    A file that is truncated or damaged stops the export with its name, where that can be seen: ORC has no checksums, so that
    changed bytes may be other values. There are damaged files at which the library ends its process: do not read files of
    people whom you do not trust.

    Example:
        deserializer:
          name: orc
          options: {columns: [id, name, address.country]}
    """

    kind: ClassVar[str] = "deserializer"

    columns: tuple[str, ...] = option(
        "columns to read, nested ones with dots; they keep the file's order. All, where none is given",
        type="str_list",
        default=(),
    )
    nanoseconds: str = option(
        "a timestamp finer than Python's microseconds fails its record, or is cut", default="fail", choices=("fail", "cut")
    )
    max_record_bytes: int = option(
        "bytes that a record may have; a longer one is an error", type="int", default=MAX_RECORD_BYTES, minimum=1
    )
    max_ratio: int = ratio_option()
    _larger: int = field(init=False, repr=False, compare=False, default=1)
    _only: frozenset[str] | None = field(init=False, repr=False, compare=False, default=None)

    def in_columns(self, only: frozenset[str] | None, judged: frozenset[str] = frozenset()) -> OrcDeserializer:
        """One whose chunks do not become records: they are larger, and hold `only` these top-level columns."""
        copy = replace(self)
        object.__setattr__(copy, "_larger", 8)
        object.__setattr__(copy, "_only", only)
        return copy

    def row_groups(self, stream: BinaryIO) -> int:
        """How many stripes a file has; each can be read by itself. Raises SourceError."""
        return int(_opened(stream).nstripes)

    def chunks_of(self, stream: BinaryIO, row_group: int) -> Iterator[tuple[Any, int, int]]:
        """The chunks of one stripe, numbered from 0."""
        yield from self._chunks(_opened(stream), row_group)

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[Any, int, int]]:
        """The file in order, as Arrow streams of one batch each (with `in_columns` as batches). `stream` must be seekable."""
        file = _opened(stream)
        for stripe in range(file.nstripes):
            yield from self._chunks(file, stripe)

    def types_of(self, data: object) -> bytes:
        """The types of a chunk's columns, for formats that keep them."""
        return types_of(data)

    def decode(self, data: Any) -> Sequence[Record]:
        return records(data, self.nanoseconds == "cut")

    def glance(self, fields: frozenset[str]) -> Callable[[Any], tuple[Sequence[Record], Chooser, Maker]]:
        """A function that gives a chunk's records with these fields only, its rows, all or those with a true flag, and what
        makes records of rows."""
        return glancing(fields, self.nanoseconds == "cut", self.decode)

    def decode_each(self, data: bytes) -> Iterator[tuple[int, Record | Exception, Any]]:
        return each_record(data, self.nanoseconds == "cut")

    def _chunks(self, file: Any, stripe: int) -> Iterator[tuple[Any, int, int]]:
        if not 0 <= stripe < file.nstripes:
            raise SourceError(f"there is no stripe {stripe}; the file has {file.nstripes}")
        packed = max(1, file.file_length)
        if file.nrows > FREE and file.nrows > self.max_ratio * packed > 0:
            raise self._bomb(packed, f"claim to hold {file.nrows:,} records")
        paths = self._paths(file)
        with source_errors(f"the file is damaged in stripe {stripe}, or holds what cannot be read"):
            batch = file.read_stripe(stripe, columns=paths)
            batch.validate(full=True)
        if "timestamp" in str(batch.schema.types) and not _reads_times():
            raise SourceError(f"reading timestamps of ORC needs pyarrow {TIMES_FROM}, since older ones read some wrongly; "
                              "install it, or read other columns only")  # fmt: skip
        made = held(batch, batch.nbytes)
        if made > FREE and made > self.max_ratio * packed > 0:
            raise self._bomb(packed, f"unpack to {made:,}")
        batch = batch.replace_schema_metadata({TYPES: kept.ARROW + file.schema.remove_metadata().serialize().to_pybytes()})
        rows = self._larger * max(1, min(CHUNK_ROWS, CHUNK_BYTES * batch.num_rows // max(batch.nbytes, 1)))
        most = min(4 * CHUNK_BYTES * self._larger, self.max_record_bytes)
        for start in range(0, batch.num_rows, rows):
            for piece, weight in small(batch.slice(start, rows), most):
                if weight > self.max_record_bytes and piece.num_rows == 1:
                    raise SourceError(f"stripe {stripe}: {too_long('record', 'bytes', self.max_record_bytes)}")
                yield piece if self._larger > 1 else pack(piece), piece.num_rows, piece.nbytes

    def _bomb(self, packed: int, how: str) -> SourceError:
        return SourceError(f"{packed:,} bytes {how}, over {self.max_ratio:,} times as much, as decompression bombs do; where "
                           "that is right, raise max_ratio or set it to 0")  # fmt: skip

    def _paths(self, file: Any) -> list[str] | None:
        """The columns that are read, as the library takes them; None means all."""
        names = file.schema.names
        if self.columns:
            known = [".".join(path) for path in _below(file.schema)]
            for column in self.columns:
                if column not in known:
                    raise SourceError(f"there is no column {column!r}; the file has {shortened(', '.join(names), 200)}")
            return list(self.columns)
        if self._only is None or any("." in name for name in names):
            return None
        return [name for name in names if name in self._only] or None


def _reads_times() -> bool:
    import pyarrow as pa

    return int(pa.__version__.partition(".")[0]) >= TIMES_FROM


def _below(fields: Iterable[Any]) -> Iterator[tuple[str, ...]]:
    """The paths of columns, and of those inside of objects."""
    import pyarrow as pa

    for each in fields:
        yield (each.name,)
        if pa.types.is_struct(each.type):
            yield from ((each.name, *path) for path in _below(each.type))


def _opened(stream: BinaryIO) -> Any:
    import pyarrow as pa
    from pyarrow import orc

    stream.seek(0)
    start = stream.read(len(MAGIC))
    if start != MAGIC:
        raise SourceError("not an ORC file: " + (f"it begins with {start!r}" if start else "0 bytes"))
    stream.seek(0)
    with source_errors("the file is truncated or damaged"):
        file = orc.ORCFile(pa.PythonFile(stream, mode="r"))
        names = file.schema.names
    if twice := [name for name in names if names.count(name) > 1]:
        raise SourceError(f"two columns are called {twice[0]!r}, and a record has every key once")
    return file


@dataclass(frozen=True, kw_only=True)
class OrcFormat(ColumnFormat):
    """Write ORC files.

    Columns and types are found, or given in `schema`, as those of Parquet files are: see the formatter `parquet`. All files of
    an export have the same ones. Datetimes with a time zone become instants, in UTC; those without stay as they are. ORC has no
    times of day, no decimals of more than 38 digits and no unsigned integers: a record with one of the first two fails, and
    so does a schema that asks for any. Every column may be null in the file, also where a schema says that it is required.
    Binary of a fixed size becomes binary, enums and UUIDs text.

    Hive, Spark, Trino, Athena and DuckDB read such files; programs from before 2020, Hive 3 among them, read the codecs zlib,
    snappy and none only. A stripe is in memory while it is written.

    Example:
        formatter:
          name: orc
          options: {codec: zstd, schema: {properties: {id: {type: integer}, name: {type: string}}}}
    """

    kind: ClassVar[str] = "formatter"
    extension: ClassVar[str] = "orc"

    codec: str = option("compression of stripes", default="zlib", choices=CODECS)
    stripe_bytes: int = option("bytes of a stripe, about, as it is compressed", type="int", default=STRIPE_BYTES, minimum=1024)

    @property
    def holds(self) -> str:
        return "orc"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._given is not None and (why := misfit(self._given, self.holds)):
            raise ConfigError(Problem(("schema",), why))

    def check(self, struct: Struct) -> None:
        if why := misfit(struct, self.holds):
            raise RecordError(why)

    def assemble(self, blocks: Iterable[tuple[bytes, Sequence[int] | None]], schemas: Sequence[bytes], out: BinaryIO) -> None:
        """Write one file, a stripe in memory at a time. Its bytes depend on records, schemas and options alone."""
        from pyarrow import orc

        want = self._given or kept.merged(schemas).struct
        if not want.fields:
            raise RecordError("the records have no keys, and an ORC file needs one column at least")
        self.check(want)
        have = [(b"", want)] if self._given else [(schema, kept.load(schema).staged) for schema in schemas]
        codec = "uncompressed" if self.codec == "none" else self.codec
        with orc.ORCWriter(Sink(out), compression=codec, stripe_size=self.stripe_bytes, batch_size=ROWS) as writer:
            empty = True
            for table in _even(arrow.gathered(arrow.unstage(blocks, have, want))):
                writer.write(table)
                empty = False
            if empty:
                writer.write(arrow.arrow_schema(want).empty_table())


def _even(batches: Iterable[Any]) -> Iterator[Any]:
    """Tables of ROWS records, each in one piece, so that borders of blocks leave no trace in the file."""
    import pyarrow as pa

    waiting: list[Any] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= ROWS:
            table = pa.Table.from_batches(waiting)
            for start in range(0, count - ROWS + 1, ROWS):
                yield table.slice(start, ROWS).combine_chunks()
            waiting, count = table.slice(count - count % ROWS).to_batches(), count % ROWS
    if count:
        yield pa.Table.from_batches(waiting).combine_chunks()
