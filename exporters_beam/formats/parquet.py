"""Parquet: columns, compressed on their own, in row groups."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.words import shortened
from exporters_beam.compressions.streams import FREE, ratio_option
from exporters_beam.errors import ConfigError, Problem, RecordError, SourceError
from exporters_beam.formats import parquet_footer
from exporters_beam.formats.limits import MAX_RECORD_BYTES, too_long
from exporters_beam.formats.parquet_footer import Footer, RowGroup
from exporters_beam.formats.parquet_pages import Again, Pages, Watched
from exporters_beam.formats.parquet_tuning import Tuning, by_bytes
from exporters_beam.formats.rows import Chooser
from exporters_beam.formats.tables import arrow, kept, types
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
)
from exporters_beam.formats.tables.lacking import misfit
from exporters_beam.formats.tables.written import ColumnFormat
from exporters_beam.records import Known, Record, Skipped

FEW, LOOKED_AT = 100, 10_000
"""Rows below which, and rows up to which, it is looked whether a column's values repeat."""

LARGE, BUFFER = 64 << 20, 1 << 20
"""A row group with more bytes in the file is read in pieces of so many, and not column by column."""

ROW_GROUP_BYTES = 64 << 20
"""A row group under way is in memory: it is written when it has so many bytes, however few records."""


@dataclass(frozen=True)
class _Parts:
    """Which parts of a file are read, and how: in chunks so many times larger than for records, `only` these columns, those to
    be `judged` as dictionaries, and no row group of which `may_keep` says that nothing is kept."""

    larger: int = 1
    only: frozenset[str] | None = None
    judged: frozenset[str] = frozenset()
    may_keep: Callable[[Mapping[str, Known]], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class ParquetDeserializer:
    """Read Parquet files, a row group at a time, nested columns as objects and lists.

    Maps become objects, timestamps datetimes (with a time zone where the column has one), decimals `Decimal`, binary
    columns bytes, UUIDs text. Old INT96 timestamps are read to the microsecond. 32-bit numbers are what they are: 0.1 comes
    as 0.10000000149011612, and filters know that it is 0.1. A file that is encrypted, truncated or damaged stops the
    export with its name and the record number, and so does one that unpacks to more than its limits. A file that claims
    to have another number of records than its row groups have is read as these say, with a warning.

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
    max_record_bytes: int = option(
        "bytes that a record may have, and pages of all columns together ten times; more is an error",
        type="int",
        default=MAX_RECORD_BYTES,
        minimum=1,
    )
    max_ratio: int = ratio_option()
    _parts: _Parts = field(init=False, repr=False, compare=False, default=_Parts())
    _opened: Any = field(init=False, repr=False, compare=False, default=None)

    def in_columns(self, only: frozenset[str] | None, judged: frozenset[str] = frozenset()) -> ParquetDeserializer:
        """One whose chunks do not become records: they are larger, and hold `only` these top-level columns. Texts of
        columns to be `judged` come as dictionaries, as they mostly stand in the file."""
        return self._reading(larger=8, only=only, judged=judged)

    def skipping(self, may_keep: Callable[[Mapping[str, Known]], bool]) -> ParquetDeserializer:
        """One that reads no row group of which it knows, by the file's statistics, that nothing is kept."""
        return self._reading(may_keep=may_keep)

    def _reading(self, **changes: Any) -> ParquetDeserializer:
        copy = replace(self)
        object.__setattr__(copy, "_parts", replace(self._parts, **changes))
        return copy

    def row_groups(self, stream: BinaryIO) -> int:
        """How many row groups a file has; each can be read by itself. Raises SourceError."""
        groups = len(self._begun(stream).footer.row_groups)
        return groups or self._open(stream).groups  # Arrow looks at what has no records, too.

    def warnings(self, stream: BinaryIO) -> tuple[str, ...]:
        """What users should know of a file that is read all the same."""
        footer = self._begun(stream).footer
        rows = sum(group.rows for group in footer.row_groups)
        if rows == footer.rows:
            return ()
        return (f"the file claims to have {footer.rows:,} records, and its row groups have {rows:,}, which are read",)

    def chunks_of(self, stream: BinaryIO, row_group: int) -> Iterator[tuple[Any, int, int]]:
        """The chunks of one row group, numbered from 0."""
        yield from self._chunks(self._open(stream), row_group)

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[Any, int, int]]:
        """The file in order, as Arrow streams of one batch each (with `in_columns` as batches). `stream` must be seekable."""
        opened = self._open(stream)
        for row_group in range(opened.groups):
            yield from self._chunks(opened, row_group)

    def types_of(self, data: object) -> bytes:
        """The types of a chunk's columns, for formats that keep them."""
        return types_of(data)

    def decode(self, data: Any) -> Sequence[Record]:
        return records(data, self.nanoseconds == "cut")

    def glance(self, fields: frozenset[str]) -> Callable[[Any], tuple[Sequence[Record], Chooser, Maker]]:
        """A function that gives a chunk's records with these fields only, its rows, all or those with a true flag, and what
        makes records of rows.

        So rows can be judged before records are made of them. Where a value might be none that Python can hold it gives whole
        records for both, or raises what `decode` raises.
        """
        return glancing(fields, self.nanoseconds == "cut", self.decode)

    def decode_each(self, data: bytes) -> Iterator[tuple[int, Record | Exception, Any]]:
        return each_record(data, self.nanoseconds == "cut")

    def _begun(self, stream: BinaryIO) -> _File:
        """The file, of which the footer is read once for a stream: there may be many of them, and many row groups."""
        begun: _File | None = self._opened
        if begun is None or begun.stream is not stream:
            begun = _File(stream, parquet_footer.read(stream))
            object.__setattr__(self, "_opened", begun)
        return begun

    def _open(self, stream: BinaryIO) -> _File:
        opened = self._begun(stream)
        if opened.file is None:
            with source_errors("the file is truncated or damaged"):
                opened.open(self._parts.judged)
            names = opened.names
            if twice := [name for name in names if names.count(name) > 1]:
                raise SourceError(f"two columns are called {twice[0]!r}, and a record has every key once")
            opened.paths = self._paths(opened.file)
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _paths(self, file: Any) -> list[str] | None:
        """The columns to read as Parquet calls them: it counts two levels more for every list. None means all."""
        if not self.columns and self._parts.only is None:
            return None
        paths = [file.schema.column(i).path for i in range(len(file.schema))]
        if not self.columns:
            return self._needed(file, paths)
        known = [(path, re.sub(r"\.list\.(element|item)(?=\.|$)", "", path)) for path in paths]
        found = []
        for column in self.columns:
            matching = [path for path, *others in known if any(f"{p}.".startswith(f"{column}.") for p in (path, *others))]
            if not matching:
                names = ", ".join(file.schema_arrow.names)
                raise SourceError(f"there is no column {column!r}; the file has {shortened(names, 200)}")
            found += matching
        return found

    def _needed(self, file: Any, paths: list[str]) -> list[str] | None:
        """The paths below the columns that are needed; all where that cannot be told, or nothing would be left."""
        names = file.schema_arrow.names
        if any("." in name for name in names):
            return None
        return [path for path in paths if path.partition(".")[0] in (self._parts.only or ())] or None

    def _chunks(self, opened: _File, row_group: int) -> Iterator[tuple[Any, int, int]]:
        groups = opened.footer.row_groups
        if not 0 <= row_group < len(groups):
            raise SourceError(f"there is no row group {row_group}; the file has {len(groups)}")
        group = groups[row_group]
        for column, (path, repeated) in zip(group.columns, opened.columns, strict=True):
            if column.values != group.rows and not repeated:
                raise SourceError(f"the file is damaged: row group {row_group} claims {group.rows} records, "
                                  f"and its column {path} {column.values}")  # fmt: skip
        if self._parts.may_keep is not None and group.rows and not self._parts.may_keep(opened.known(group)):
            yield Skipped(group.rows), group.rows, 0
            return
        size = group.size
        if self._parts.larger > 1 and opened.paths is not None:
            pairs = zip(group.columns, opened.columns, strict=True)
            size = sum(column.unpacked for column, (path, _) in pairs if path in opened.paths)
        rows = self._parts.larger * max(1, min(CHUNK_ROWS, CHUNK_BYTES * group.rows // max(size, 1)))
        first, done, made = sum(groups[i].rows for i in range(row_group)), 0, 0
        packed = max(1, min(group.packed, opened.watched.size))
        with source_errors(lambda: f"record {first + done + 1}: the file is damaged in row group {row_group}"):
            try:
                for batch in opened.batches(row_group, rows, self.max_record_bytes, self.max_ratio):
                    batch = batch.replace_schema_metadata(opened.types)
                    for piece, weight in small(batch, min(4 * CHUNK_BYTES * self._parts.larger, self.max_record_bytes)):
                        if weight > self.max_record_bytes and piece.num_rows == 1:
                            raise SourceError(str(too_long("record", "bytes", self.max_record_bytes)))
                        made += held(piece, weight)
                        if made > FREE and made > self.max_ratio * packed > 0:
                            raise SourceError(
                                f"{packed:,} bytes unpack to {made:,} and more, over {self.max_ratio:,} times as much, as "
                                "decompression bombs do; where that is right, raise max_ratio or set it to 0"
                            )
                        yield piece if self._parts.larger > 1 else pack(piece), piece.num_rows, piece.nbytes
                        done += piece.num_rows
            except SourceError as error:
                raise SourceError(f"record {first + done + 1}: row group {row_group}: {error}") from error
            if done != group.rows:
                raise SourceError(f"row group {row_group} has {done} records and claims to have {group.rows}")


class _File:
    """A file that is open: what its footer says and, from `open` on, what Arrow knows of it."""

    def __init__(self, stream: BinaryIO, footer: Footer) -> None:
        self.stream, self.footer, self._lock = stream, footer, Lock()
        self.watched = Watched(stream, footer, self._lock)
        self.file: Any = None
        self.paths: list[str] | None = None
        self.columns: list[tuple[str, bool]] = []
        self._dictionaries: frozenset[str] = frozenset()
        self.types: dict[bytes, bytes] = {}

    @property
    def groups(self) -> int:
        return len(self.footer.row_groups)

    @property
    def names(self) -> list[str]:
        found: list[str] = self.file.schema_arrow.names
        return found

    def open(self, judged: frozenset[str]) -> None:
        """Raises what Arrow raises. Nothing is asked of its own metadata that could end the process."""
        file = self._made()
        about, schema = file.metadata, file.schema
        self.columns = [(c.path, c.max_repetition_level > 0) for c in map(schema.column, range(len(schema)))]
        told = [group.rows for group in self.footer.row_groups]
        if [about.row_group(i).num_rows for i in range(about.num_row_groups)] != told or len(schema) != self.footer.leaves:
            raise ValueError("its footer can be read in two ways")
        self._dictionaries = frozenset(f.name for f in file.schema_arrow if f.name in judged and str(f.type) == "string")
        self.types = {TYPES: kept.ARROW + file.schema_arrow.remove_metadata().serialize().to_pybytes()}
        self.file = self._made(file.metadata) if self._dictionaries else file

    def _made(self, metadata: object = None) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        large = any(group.packed > LARGE for group in self.footer.row_groups)
        ahead = self.footer.tail_at > 0 and not large and not _is_local(self.stream)
        self.watched = Watched(self.stream, self.footer, self._lock)
        return pq.ParquetFile(
            self.watched if self.footer.tail_at else pa.BufferReader(self.footer.tail),
            metadata=metadata,
            read_dictionary=sorted(self._dictionaries),
            coerce_int96_timestamp_unit="us",
            pre_buffer=ahead,
            buffer_size=BUFFER if large else 0,
            **_checks(),
        )

    def batches(self, row_group: int, rows: int, max_record_bytes: int, max_ratio: int) -> Iterator[Any]:
        """The records of a row group, at most so many at a time."""
        group, done = self.footer.row_groups[row_group], 0
        paths = None if self.paths is None else set(self.paths)
        columns = [(n, *told) for n, told in enumerate(self.columns) if paths is None or told[0] in paths]
        while True:
            pages = Pages(group, columns, rows, self._dictionaries, max_record_bytes, max_ratio)
            watched = self.watched
            watched.pages, watched.failed = pages, None
            try:
                if not self.footer.tail_at:
                    pages.feed(0, self.footer.tail)
                passed = 0
                for batch in self.file.iter_batches(rows, row_groups=[row_group], columns=self.paths, use_threads=False):
                    passed += batch.num_rows
                    if passed > done:
                        batch = batch.slice(max(0, batch.num_rows - (passed - done)))
                        done = passed
                        yield batch
                        pages.starts()
                return
            except Exception as error:
                failed = error if isinstance(error, (Again, SourceError)) else watched.failed
                if not isinstance(failed, Again):
                    raise failed or error from None
                rows, self._dictionaries = failed.rows, failed.dictionaries
            self.file = self._made(self.file.metadata)

    def known(self, group: RowGroup) -> dict[str, Known]:
        """What a row group's statistics say of its top-level columns of texts and numbers."""
        found: dict[str, Known] = {}
        types_ = {field.name: str(field.type) for field in self.file.schema_arrow} if self.footer.ordered else {}
        for column, (path, repeated) in zip(group.columns, self.columns, strict=True):
            if not repeated and types_.get(path) in _ORDERED:
                told = parquet_footer.bounds(column)
                least, most = (_value(told.get(at), column.type, types_[path]) for at in (6, 5))
                nulls = told.get(3)
                if least is not None and most is not None and least <= most and isinstance(nulls, int):
                    found[path] = Known(least, most, nulls > 0)
        return found


def _value(data: object, physical: int, type_: str) -> Any:
    """A bound of a column's values; None where it is none."""
    if not isinstance(data, bytes):
        return None
    if type_ in ("string", "large_string", "dictionary<values=string, indices=int32, ordered=0>"):
        with suppress(UnicodeDecodeError):
            return data.decode() if physical == 6 else None
        return None
    form = {1: "<I" if type_.startswith("u") else "<i", 2: "<Q" if type_.startswith("u") else "<q", 4: "<f", 5: "<d"}
    if physical not in form or (physical > 2) != (type_ in ("float", "double")) or len(data) != struct.calcsize(form[physical]):
        return None
    (found,) = struct.unpack(form[physical], data)
    return found if found == found else None


_ORDERED = frozenset(
    [
        "dictionary<values=string, indices=int32, ordered=0>",
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


def _is_local(stream: BinaryIO) -> bool:
    """Whether it is a file of this machine: a request for each column costs little there, and needs no threads."""
    try:
        return stream.fileno() >= 0
    except (AttributeError, OSError):
        return False


@lru_cache(maxsize=1)
def _checks() -> dict[str, bool]:
    import inspect

    import pyarrow.parquet as pq

    return dict.fromkeys({"page_checksum_verification"} & inspect.signature(pq.ParquetFile).parameters.keys(), True)


@dataclass(frozen=True, kw_only=True)
class ParquetFormat(ColumnFormat):
    """Write Parquet files.

    All files of an export have the same columns and types, whatever their groups. From Parquet and Avro files columns
    bring their types along (int32, float32, decimals, timestamps of any unit, maps, dictionaries, whether null is
    allowed) and keep them as long as every value fits; where files differ, a column has the narrowest type that holds
    both. Lists of a fixed size become lists, enums text.

    The types of other columns are found in the records: columns stand in the order in which keys are first seen, every
    column may be null, a missing key is null, nested objects become structs and lists lists. Integers and floating
    point numbers in one column make it floating point (where no integer is too large to be exact); any other mixture
    of types fails: in the order of the input, a record that does not fit those before it is at fault. What is null
    everywhere becomes a text column, what is `{}` everywhere an empty map. Datetimes with a time zone become UTC
    instants. Objects whose keys are data (one for each user, say) make a column of every key: give a schema with
    `additionalProperties` for those.

    With `schema` the records must fit it: a JSON Schema with `properties`, whose keywords type, format (date-time,
    date, time), properties, required, additionalProperties (a map), items, anyOf with null and $ref are read, or an
    Avro schema with `fields`. `{"arrow": "int32"}` in place of a type names Arrow's own types, and `{"type": "string",
    "contentMediaType": "application/json"}` keeps any value as JSON text. A record that does not fit fails.

    A text fits where it is written exactly as such a value is: `12` for an integer (not ` 12`, `012`, `1_000` or `1e3`),
    `-1.5` or `1e-7` for a number or a decimal, `true`, `false`, `True` or `False` for a boolean, `2026-01-31`,
    `23:59:59` and `2026-01-31T23:59:59Z` for dates and times. An empty text is null where null is allowed, unless the
    column holds texts. So CSV files become typed columns; texts of JSON files are read the same way.

    With `sort_by` the rows of each row group are sorted by these columns, equal ones in the order of the input and null
    last, and the file says so: engines then pass over row groups and pages. `{name: descending}` is the other order. Files
    as a whole are not sorted. `page_index` and `bloom_filters` help those who look for few values. A column that is named
    there and that files do not have, or that has no order, fails the export.

    With `compat` files have nothing that Spark, Hive or Athena cannot read: unsigned integers of the source become wider, times
    microseconds, UUIDs text and bytes of a fixed size bytes. What cannot be so (times of day, decimals of more than 38 digits,
    names with one of ` ,;{}()=`, names that differ by capital letters only) fails the record, or the schema that asks for it.

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

    codec: str = option("compression of columns", default="zstd", choices=("zstd", "snappy", "gzip", "none"))
    codec_level: int | None = option("level of zstd (1 to 22) or gzip (1 to 9)", type="int", default=None, minimum=1)
    row_group_size: int = option("most records of a row group", type="int", default=100_000, minimum=1)
    sort_by: tuple[Any, ...] = option(
        "columns by which the rows of each row group are sorted",
        type="list",
        default=(),
        example=["country", {"day": "descending"}],
    )
    page_index: bool = option("whether files have an index of their pages", type="bool", default=False)
    bloom_filters: tuple[str, ...] = option(
        "columns with a Bloom filter in each row group, nested ones with dots", type="str_list", default=(), example=["id"]
    )
    row_group_bytes: int | None = option(
        "bytes of values, before they are encoded, with which a row group ends; it is looked at every 256 records",
        type="int",
        default=None,
        minimum=1,
    )
    compat: str | None = option(
        "who has to read the files: spark (or Athena), or hive, to which timestamps of the old type INT96 are written",
        type="str",
        default=None,
        choices=("spark", "hive"),
    )
    _tuning: Tuning = field(init=False, repr=False, compare=False, default=Tuning())

    @property
    def holds(self) -> str:
        return "parquet" if self.compat is None else "spark"

    def __post_init__(self) -> None:
        super().__post_init__()
        most = {"zstd": 22, "gzip": 9}.get(self.codec, 0)
        if self.codec_level is not None and not 1 <= self.codec_level <= most:
            fits = f"levels are 1 to {most}" if most else "it has no levels"
            raise ConfigError(f"codec_level: {self.codec_level} is not a level of {self.codec}; {fits}")
        if self.compat and self._given is not None and (why := misfit(self._given, self.holds)):
            raise ConfigError(Problem(("schema",), why))
        object.__setattr__(self, "_tuning", Tuning.of(self.sort_by, self.page_index, self.bloom_filters))

    def check(self, struct: types.Struct) -> None:
        if self.compat and (why := misfit(struct, self.holds)):
            raise RecordError(why)

    def assemble(self, blocks: Iterable[tuple[bytes, Sequence[int] | None]], schemas: Sequence[bytes], out: BinaryIO) -> None:
        """Write one file, a row group in memory at a time. Its bytes depend on records, schemas and options, and
        on the borders of blocks only where a row group reaches ROW_GROUP_BYTES."""
        import pyarrow.parquet as pq

        want = self._given or kept.merged(schemas).struct
        if not want.fields:
            raise RecordError("the records have no keys, and a Parquet file needs one column at least")
        self.check(want)
        have = [(b"", want)] if self._given else [(schema, kept.load(schema).staged) for schema in schemas]
        tables = self._row_groups(arrow.gathered(arrow.unstage(blocks, have, want)))
        first = next(tables, None)
        staged, schema = arrow.arrow_schema(want), arrow.file_schema(want)
        options = {"compression": self.codec, "compression_level": self.codec_level, **self._tuning.options(schema)}
        options["use_deprecated_int96_timestamps"] = self.compat == "hive"
        with pq.ParquetWriter(Sink(out), schema, use_dictionary=_repeating(staged, first), **options) as writer:
            for table in chain(() if first is None else (first,), tables):
                table = self._tuning.sorted(table)
                table = table if schema is staged else arrow.as_in_file(table, schema)
                writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def _row_groups(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Tables of `row_group_size` records, each in one piece, so that blocks' borders leave no trace in the file."""
        import pyarrow as pa

        if self.row_group_bytes is not None:
            yield from by_bytes(batches, self.row_group_size, self.row_group_bytes)
            return
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
