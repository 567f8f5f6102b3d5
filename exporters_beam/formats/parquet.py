"""Parquet: columns, compressed on their own, in row groups."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any, BinaryIO, ClassVar

from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats import columns as arrow
from exporters_beam.formats import schemas as types
from exporters_beam.formats.conform import conform
from exporters_beam.formats.given import given
from exporters_beam.options import option
from exporters_beam.records import Known, Record, Skipped

CHUNK_ROWS, CHUNK_BYTES = 4096, 1 << 20
"""A chunk has at most so many records, and about so many bytes."""

FEW, LOOKED_AT = 100, 10_000
"""Rows below which, and rows up to which, it is looked whether a column's values repeat."""

ROW_GROUP_BYTES = 64 << 20
"""A row group under way is in memory: it is written when it has so many bytes, however few records."""


@dataclass(frozen=True, kw_only=True)
class ParquetDeserializer:
    """Read Parquet files, a row group at a time, nested columns as objects and lists.

    Maps become objects, timestamps datetimes (with a time zone where the column has one), decimals `Decimal`, binary
    columns bytes, UUIDs text. Old INT96 timestamps are read to the microsecond. A file that is truncated or damaged
    stops the export with its name and the record number.

    Example:
        deserializer:
          name: parquet
          options: {columns: [id, name, address.country]}
    """

    kind: ClassVar[str] = "deserializer"

    columns: tuple[str, ...] = option(
        "columns to read, nested ones with dots; they keep the file's order. All, where none is given",
        type="str_list",
        default=(),
    )
    nanoseconds: str = option(
        "a timestamp or time finer than Python's microseconds fails its record, or is cut",
        default="fail",
        choices=("fail", "cut"),
    )
    _larger: int = field(init=False, repr=False, compare=False, default=1)
    _only: frozenset[str] | None = field(init=False, repr=False, compare=False, default=None)
    _opened: Any = field(init=False, repr=False, compare=False, default=None)
    _judged: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())
    _may_keep: Any = field(init=False, repr=False, compare=False, default=None)

    def in_columns(self, only: frozenset[str] | None, judged: frozenset[str] = frozenset()) -> ParquetDeserializer:
        """One whose chunks do not become records: they are larger, and hold `only` these top-level columns. Texts of
        columns to be `judged` come as dictionaries, as they mostly stand in the file."""
        copy = replace(self)
        object.__setattr__(copy, "_judged", judged)
        object.__setattr__(copy, "_larger", 8)
        object.__setattr__(copy, "_only", only)
        return copy

    def skipping(self, may_keep: Callable[[Mapping[str, Known]], bool]) -> ParquetDeserializer:
        """One that reads no row group of which it knows, by the file's statistics, that nothing is kept."""
        copy = replace(self)
        for name in ("_larger", "_only", "_judged"):
            object.__setattr__(copy, name, getattr(self, name))
        object.__setattr__(copy, "_may_keep", may_keep)
        return copy

    def row_groups(self, stream: BinaryIO) -> int:
        """How many row groups a file has; each can be read by itself. Raises SourceError."""
        return int(self._open(stream)[0].metadata.num_row_groups)

    def chunks_of(self, stream: BinaryIO, row_group: int) -> Iterator[tuple[Any, int, int]]:
        """The chunks of one row group, numbered from 0."""
        yield from self._chunks(*self._open(stream), row_group)

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[Any, int, int]]:
        """The file in order, as Arrow streams of one batch each (with `in_columns` as batches). `stream` must be seekable."""
        file, paths = self._open(stream)
        for row_group in range(file.metadata.num_row_groups):
            yield from self._chunks(file, paths, row_group)

    def decode(self, data: Any) -> Sequence[Record]:
        batch = unpack(data)
        columns = [arrow.values(column, self.nanoseconds == "cut") for column in batch.columns]
        return arrow.rows(batch.schema.names, columns, batch.num_rows)

    def decode_each(self, data: bytes) -> Iterator[tuple[int, Record | Exception, Any]]:
        batch = unpack(data)
        for number in range(batch.num_rows):
            record: dict[str, Any] = {}
            problem = None
            row = {name: _one(column, number) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            for name, value in row.items():  # of one record: a slice would still hold the parts of the others
                try:
                    (record[name],) = arrow.values(value, self.nanoseconds == "cut")
                except Exception as error:
                    hint = '; set nanoseconds: "cut" to lose them' if "would lose data" in str(error) else ""
                    problem = problem or RecordError(f"column {name} cannot be read: {str(error)[:200]}{hint}")
            told = {name: " ".join(str(value).split())[:200] for name, value in row.items()} if problem else None
            yield number, problem or record, told

    def _open(self, stream: BinaryIO) -> tuple[Any, list[str] | None]:
        """The file and the columns to read, found out once for a stream: there may be many of them, and many row groups."""
        opened = self._opened
        if opened is None or opened[0] is not stream:
            file = self._checked(stream)
            opened = (stream, file, self._paths(file))
            object.__setattr__(self, "_opened", opened)
        return opened[1], opened[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _checked(self, stream: BinaryIO) -> Any:
        import pyarrow.parquet as pq

        if not stream.seekable():
            raise SourceError(
                "Parquet files are read from their end, so they cannot be compressed once more as a whole"
            )
        size = stream.seek(0, 2)
        if size < 12:
            raise SourceError(f"not a Parquet file: {size} bytes")
        stream.seek(0)
        start = stream.read(4)
        if start not in (b"PAR1", b"PARE"):
            raise SourceError(f"not a Parquet file: it begins with {start!r}")
        with _source_errors("the file is truncated or damaged"):
            options = {"coerce_int96_timestamp_unit": "us", **_checks()}
            file = pq.ParquetFile(stream, **options)
            texts = [f.name for f in file.schema_arrow if f.name in self._judged and str(f.type) == "string"]
            if texts:
                file = pq.ParquetFile(stream, metadata=file.metadata, read_dictionary=texts, **options)
        about = file.metadata
        rows = sum(about.row_group(i).num_rows for i in range(about.num_row_groups))
        if rows != about.num_rows:
            raise SourceError(f"the file is damaged: its row groups claim {rows} records, the file {about.num_rows}")
        names = file.schema_arrow.names
        if twice := [name for name in names if names.count(name) > 1]:
            raise SourceError(f"two columns are called {twice[0]!r}, and a record has every key once")
        return file

    def _paths(self, file: Any) -> list[str] | None:
        """The columns to read as Parquet calls them: it counts two levels more for every list. None means all."""
        if not self.columns and self._only is None:
            return None
        paths = [file.schema.column(i).path for i in range(len(file.schema))]
        if not self.columns:
            return self._needed(file, paths)
        known = [(path, re.sub(r"\.list\.(element|item)(?=\.|$)", "", path)) for path in paths]
        found = []
        for column in self.columns:
            matching = [
                path for path, *others in known if any(f"{p}.".startswith(f"{column}.") for p in (path, *others))
            ]
            if not matching:
                names = ", ".join(file.schema_arrow.names)
                raise SourceError(f"there is no column {column!r}; the file has {names[:200]}")
            found += matching
        return found

    def _needed(self, file: Any, paths: list[str]) -> list[str] | None:
        """The paths below the columns that are needed; all where that cannot be told, or nothing would be left."""
        names = file.schema_arrow.names
        if any("." in name for name in names):
            return None
        return [path for path in paths if path.partition(".")[0] in (self._only or ())] or None

    def _chunks(self, file: Any, paths: list[str] | None, row_group: int) -> Iterator[tuple[Any, int, int]]:
        groups = file.metadata.num_row_groups
        if not 0 <= row_group < groups:
            raise SourceError(f"there is no row group {row_group}; the file has {groups}")
        about = file.metadata.row_group(row_group)
        for i in range(about.num_columns):
            values, column = about.column(i).num_values, file.schema.column(i)
            if values != about.num_rows and not column.max_repetition_level:
                raise SourceError(f"the file is damaged: row group {row_group} claims {about.num_rows} records, "
                                  f"and its column {column.path} {values}")  # fmt: skip
        if self._may_keep is not None and about.num_rows and not self._may_keep(_known(file, about)):
            yield Skipped(about.num_rows), about.num_rows, 0
            return
        size = about.total_byte_size
        if self._larger > 1 and paths is not None:
            columns = (about.column(i) for i in range(about.num_columns) if file.schema.column(i).path in paths)
            size = sum(column.total_uncompressed_size for column in columns)
        rows = self._larger * max(1, min(CHUNK_ROWS, CHUNK_BYTES * about.num_rows // max(size, 1)))
        first, done = sum(file.metadata.row_group(i).num_rows for i in range(row_group)), 0
        with _source_errors(lambda: f"record {first + done + 1}: the file is damaged in row group {row_group}"):
            batches = file.iter_batches(rows, row_groups=[row_group], columns=paths, use_threads=False)
            for batch in batches:
                for piece in _small(batch, 4 * CHUNK_BYTES * self._larger):
                    yield piece if self._larger > 1 else pack(piece), piece.num_rows, piece.nbytes
                    done += piece.num_rows
            if done != about.num_rows:
                raise SourceError(f"row group {row_group} has {done} records and claims to have {about.num_rows}")


def _known(file: Any, about: Any) -> dict[str, Known]:
    """What a row group's statistics say of its top-level columns of texts and numbers."""
    found: dict[str, Known] = {}
    for i in range(about.num_columns):
        column = file.schema.column(i)
        plain = column.path == column.name and not column.max_repetition_level
        type_ = file.schema_arrow.field(column.name).type if plain else None
        if str(type_) not in _ORDERED:
            continue
        statistics = about.column(i).statistics
        if statistics is None or not statistics.has_min_max or not statistics.has_null_count:
            continue
        least, most = statistics.min, statistics.max
        if isinstance(least, bytes) or isinstance(most, bytes):
            continue
        found[column.name] = Known(least, most, statistics.null_count > 0)
    return found


_ORDERED = frozenset(
    [
        "string",
        "large_string",
        "float",
        "double",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ]
)
"""Arrow types whose values, smallest and largest ones are ordered as Python orders them."""


@lru_cache(maxsize=1)
def _checks() -> dict[str, bool]:
    import inspect

    import pyarrow.parquet as pq

    return dict.fromkeys({"page_checksum_verification"} & inspect.signature(pq.ParquetFile).parameters.keys(), True)


@contextmanager
def _source_errors(what: Any) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{what() if callable(what) else what}: {str(error)[:200]}") from error


def _one(column: Any, number: int) -> Any:
    import pyarrow as pa

    value = column.take([number])
    return value.dictionary_decode() if pa.types.is_dictionary(value.type) else value


def _small(batch: Any, size: int) -> Iterator[Any]:
    """The batch in halves of halves: encoded columns can be much smaller than what they hold."""
    if batch.nbytes <= size or batch.num_rows < 2:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _small(batch.slice(0, half), size)
    yield from _small(batch.slice(half), size)


def pack(batch: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def unpack(data: Any) -> Any:
    import pyarrow as pa

    if isinstance(data, pa.RecordBatch):
        return data
    with pa.ipc.open_stream(data) as reader:
        return reader.read_next_batch()


@dataclass(frozen=True, kw_only=True)
class ParquetFormat:
    """Write Parquet files.

    Columns and their types are found in the records: columns stand in the order in which keys are first seen, every
    column may be null, a missing key is null, nested objects become structs and lists lists. Integers and floating
    point numbers in one column make it floating point (where no integer is too large to be exact); any other mixture
    of types fails, with the field and both types. What is null everywhere becomes a text column, what is `{}`
    everywhere an empty map. Datetimes with a time zone become UTC instants. Objects whose keys are data (one for each
    user, say) make a column of every key: give a schema with `additionalProperties` for those.

    With `schema` the records must fit it: a JSON Schema with `properties`, whose keywords type, format (date-time,
    date, time), properties, required, additionalProperties (a map), items, anyOf with null and $ref are read, or an
    Avro schema with `fields`. `{"arrow": "int32"}` in place of a type names Arrow's own types, and `{"type": "string",
    "contentMediaType": "application/json"}` keeps any value as JSON text. A record that does not fit fails.

    A text fits where it is written exactly as such a value is: `12` for an integer (not ` 12`, `012`, `1_000` or `1e3`),
    `-1.5` or `1e-7` for a number or a decimal, `true`, `false`, `True` or `False` for a boolean, `2026-01-31`,
    `23:59:59` and `2026-01-31T23:59:59Z` for dates and times. An empty text is null where null is allowed, unless the
    column holds texts. So CSV files become typed columns; texts of JSON files are read the same way.

    Example:
        formatter:
          name: parquet
          options:
            codec: zstd
            schema:
              properties:
                id: {type: integer}
                updated: {type: [string, "null"], format: date-time}
                tags: {type: array, items: {type: string}}
              required: [id]
    """

    kind: ClassVar[str] = "formatter"
    extension: ClassVar[str] = "parquet"

    schema: Mapping[str, Any] | None = option(
        "the columns: a JSON Schema with properties or an Avro schema with fields; found in the records if not given",
        type="dict",
        default=None,
    )
    unknown_fields: str = option(
        "a key that the schema lacks fails its record, or is dropped", default="fail", choices=("fail", "drop")
    )
    codec: str = option("compression of columns", default="zstd", choices=("zstd", "snappy", "gzip", "none"))
    codec_level: int | None = option("level of zstd (1 to 22) or gzip (1 to 9)", type="int", default=None, minimum=1)
    row_group_size: int = option("most records of a row group", type="int", default=100_000, minimum=1)
    _given: types.Struct | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        most = {"zstd": 22, "gzip": 9}.get(self.codec, 0)
        if self.codec_level is not None and not 1 <= self.codec_level <= most:
            fits = f"levels are 1 to {most}" if most else "it has no levels"
            raise ConfigError(f"codec_level: {self.codec_level} is no level of {self.codec}; {fits}")
        if self.schema is not None:
            object.__setattr__(self, "_given", given(self.schema, "parquet"))

    @property
    def finds_types(self) -> bool:
        """Whether columns and their types are found in the records."""
        return self._given is None

    def encode(self, records: Sequence[Record]) -> tuple[bytes, bytes]:
        """A block as a compressed Arrow batch, and its types where they were inferred."""
        if self._given is not None:
            fitted = conform(records, self._given, self.unknown_fields == "drop")
            return arrow.stage(fitted, self._given, b""), b""
        struct = types.infer(records)
        schema = types.dump(struct)
        return arrow.stage(records, struct, schema), schema

    @property
    def needs(self) -> frozenset[str] | None:
        """The fields that files will have, others being dropped; None for all."""
        if self._given is None or self.unknown_fields != "drop":
            return None
        return frozenset(f.name for f in self._given.fields)

    def encode_columns(self, batch: Any) -> tuple[bytes, bytes]:
        """What `encode` gives for the records of a batch; raises where only they can tell."""
        from exporters_beam.formats.columnar import encoded

        return encoded(batch, self._given, self.unknown_fields == "drop")

    def assemble(
        self, blocks: Iterable[tuple[bytes, Sequence[int] | None]], schemas: Sequence[bytes], out: BinaryIO
    ) -> None:
        """Write one file, a row group in memory at a time. Its bytes depend on records, schemas and options, and
        on the borders of blocks only where a row group reaches ROW_GROUP_BYTES."""
        import pyarrow.parquet as pq

        want = self._given or types.merged(schemas)
        if not want.fields:
            raise RecordError("the records have no keys, and a Parquet file needs one column at least")
        have = [(b"", want)] if self._given else [(schema, types.load(schema)) for schema in schemas]
        tables = self._row_groups(arrow.gathered(arrow.unstage(blocks, have, want)))
        first = next(tables, None)
        schema = arrow.arrow_schema(want)
        options = {"compression": self.codec, "compression_level": self.codec_level}
        with pq.ParquetWriter(_Sink(out), schema, use_dictionary=_repeating(schema, first), **options) as writer:
            for table in chain(() if first is None else (first,), tables):
                writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def _row_groups(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Tables of `row_group_size` records, each in one piece, so that blocks' borders leave no trace in the file."""
        import pyarrow as pa

        waiting: list[Any] = []
        count = size = 0
        for batch in batches:
            waiting.append(batch)
            count, size = count + batch.num_rows, size + batch.nbytes
            while count >= self.row_group_size or (count and size >= ROW_GROUP_BYTES):
                table = pa.Table.from_batches(waiting)
                yield table.slice(0, self.row_group_size).combine_chunks()
                waiting = table.slice(self.row_group_size).to_batches()
                count, size = max(count - self.row_group_size, 0), sum(b.nbytes for b in waiting)
        if count:
            yield pa.Table.from_batches(waiting).combine_chunks()


def _repeating(schema: Any, first: Any) -> list[str] | bool:
    """The columns that a dictionary makes smaller: all but those whose values mostly differ, as far as the first row group
    tells. For these a dictionary takes time and leaves zstd less to find. True for all columns."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    different = set()
    for name in schema.names if first is not None and first.num_rows >= FEW else ():
        column = first.column(name).slice(0, LOOKED_AT)
        with suppress(pa.ArrowNotImplementedError):  # Nested ones, for instance.
            if 2 * pc.count_distinct(column).as_py() > len(column):
                different.add(name)
    if not different:
        return True
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)  # Parquet has names of its own for what is nested.
    paths = pq.ParquetFile(sink).schema
    return [column.path for column in map(paths.column, range(len(paths))) if column.path not in different]


class _Sink(io.RawIOBase):
    """What Arrow wants to write to, for which `out` needs no more than `write`."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._out.write(bytes(data))
        return len(data)
