"""Records as Arrow columns: staged block by block, brought to the types of a whole file, and back to Python values."""

from __future__ import annotations

import datetime
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, pairwise
from typing import Any
from uuid import UUID

from exporters_beam.components.words import shortened
from exporters_beam.errors import DestinationError, RecordError
from exporters_beam.formats.rows import maker
from exporters_beam.formats.tables import kept
from exporters_beam.formats.tables.conform import conform_columns, fitted
from exporters_beam.formats.tables.types import (
    DIGITS,
    NULL,
    NUMBERS,
    ListOf,
    MapOf,
    OneOf,
    Scalar,
    Slot,
    Struct,
    Type,
    below,
    check_key,
    check_mappings,
    dump,
    infer,
    infer_columns,
)
from exporters_beam.records import Record

_TO_ARROW = {
    "bool": "bool_",
    "int": "int64",
    "numbers": "float64",
    "json": "string",
    "enum": "string",
    "uuid": "string",
    "bytes": "binary",
    "date": "date32",
}

_TIMES = ("time", "timestamp", "datetime")


def arrow_type(type_: Type) -> Any:
    import pyarrow as pa

    if isinstance(type_, Struct):
        return pa.struct([_arrow_field(f.name, f.slot) for f in type_.fields])
    if isinstance(type_, ListOf):
        items = _arrow_field("item", type_.items)
        return pa.large_list(items) if type_.sort else pa.list_(items)
    if isinstance(type_, MapOf):
        return pa.map_(arrow_type(type_.keys), _arrow_field("value", type_.values))
    if isinstance(type_, OneOf):
        options = [pa.field(f"option{i}", arrow_type(option)) for i, option in enumerate(type_.options)]
        return pa.struct([pa.field("branch", pa.int32()), *options])
    kind, size = type_.kind, type_.size
    if kind == "decimal":
        return (pa.decimal128 if size[0] <= 38 else pa.decimal256)(size[0], size[1])
    if kind == "fixed":
        return pa.binary(size[0])
    unit = next(name for name, digits in DIGITS.items() if digits == size[0]) if kind in _TIMES else ""
    if kind == "time":
        return (pa.time32 if size[0] <= 3 else pa.time64)(unit)
    if kind in _TIMES:
        return pa.timestamp(unit, (*size[1:], "UTC")[0] if kind == "timestamp" else None)
    if kind in ("string", "bytes") and size[:1] in (("large_string",), ("large_binary",)):
        return getattr(pa, size[0])()
    return getattr(pa, _TO_ARROW.get(kind, kind))()


def _arrow_field(name: str, slot: Slot) -> Any:
    import pyarrow as pa

    return pa.field(name, arrow_type(slot.type), nullable=slot.null_at is not None or slot.type == NULL)


@lru_cache(maxsize=64)
def arrow_schema(struct: Struct) -> Any:
    import pyarrow as pa

    return pa.schema(list(arrow_type(struct)))


@lru_cache(maxsize=64)
def file_schema(struct: Struct) -> Any:
    """The schema of a Parquet file: that of what was staged, where no column is read back as something finer than text."""
    import pyarrow as pa

    schema = arrow_schema(struct)
    finer = {f.name: _finer(f.slot.type) for f in struct.fields if _finer(f.slot.type) is not None}
    if not finer:
        return schema
    return pa.schema([pa.field(f.name, finer.get(f.name, f.type), f.nullable) for f in schema])


def _finer(type_: Type) -> Any:
    import pyarrow as pa

    if type_ == Scalar("string", ("dictionary",)):
        return pa.dictionary(pa.int32(), pa.string())
    return pa.uuid() if type_ == Scalar("uuid") and hasattr(pa, "uuid") else None


def as_in_file(table: Any, schema: Any) -> Any:
    """A table of staged columns as its file has them."""
    import pyarrow as pa

    columns = []
    for column, f in zip(table.columns, schema, strict=True):
        if pa.types.is_dictionary(f.type):
            column = column.combine_chunks().dictionary_encode()
        elif column.type != f.type:
            texts = column.combine_chunks().to_pylist()
            held = pa.array([None if text is None else UUID(text).bytes for text in texts], pa.binary(16))
            column = pa.ExtensionArray.from_storage(f.type, held)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


# Staging

_ARROW_STREAM = b"\xff\xff\xff\xff"
"""How Arrow's streams begin, and compressed batches do not."""


def stage(records: Sequence[Record], struct: Struct, schema: bytes) -> bytes:
    """A block's payload: eight bytes that say which schema, then an Arrow record batch without its schema (which small
    blocks of many groups would repeat again and again), compressed by zstd at its fastest."""
    import pyarrow as pa

    with _record_errors(records):
        array = pa.array(records, type=pa.struct(arrow_schema(struct)))
    return _packed(pa.RecordBatch.from_struct_array(array), schema)


def stage_values(columns: Mapping[str, Sequence[Any]], count: int, given: Struct | None, drop: bool) -> tuple[bytes, bytes]:
    """A block's payload, and its types where none are `given`, of so many records that all have the same fields, given as
    columns. Raises where one is at fault."""
    import pyarrow as pa

    if given is not None:
        struct, schema, fit = given, b"", conform_columns(columns, count, given, drop)
    else:
        struct, fit = infer_columns(columns), list(columns.values())
        schema = dump(struct)
    if not struct.fields:
        raise RecordError("there are no columns")  # Records without keys are staged as records.
    arrays = [pa.array(values, arrow_type(f.slot.type)) for values, f in zip(fit, struct.fields, strict=True)]
    return _packed(pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(struct)), schema), schema


def _packed(batch: Any, schema: bytes) -> bytes:
    return mark(schema) + _zstd().compressor.compress(batch.serialize())


class _Zstd(threading.local):
    """A compressor and a decompressor for each thread: making one takes a quarter of the time of packing a block."""

    def __init__(self) -> None:
        import zstandard

        self.compressor, self.decompressor = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()


@lru_cache(maxsize=1)
def _zstd() -> _Zstd:
    return _Zstd()


@contextmanager
def _record_errors(records: Sequence[Record]) -> Iterator[None]:
    """Turns what Arrow says of a value into a sentence."""
    import pyarrow as pa

    try:
        yield
    except UnicodeEncodeError as error:
        path = next((path for path, leaf in leaves(records) if leaf == error.object), "")
        raise RecordError(f"field {path} holds {error.object[:80]!a}: UTF-8 cannot hold a lone surrogate") from None
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise RecordError(f"a table cannot hold this: {shortened(str(error), 200)}") from error


def found_in(records: Sequence[Record], source: kept.Columns) -> kept.Columns:
    """What records say of their columns, some of which had a type in their source. Raises RecordError."""
    return _columns_of(records, source)[0]


def stage_found(records: Sequence[Record], source: kept.Columns) -> tuple[bytes, bytes]:
    """A block's payload, and what its records say of their columns. Raises RecordError where a column has no one type."""
    import pyarrow as pa

    if not source.columns:
        struct = infer(records)
        schema = dump(struct)
        return stage(records, struct, schema), schema
    found, values = _columns_of(records, source)
    schema = found.dump()
    struct = found.staged
    if not struct.fields:
        return stage(records, struct, schema), schema
    with _record_errors(records):
        arrays = [pa.array(column, arrow_type(f.slot.type)) for column, f in zip(values, struct.fields, strict=True)]
    return _packed(pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(struct)), schema), schema


def _columns_of(records: Sequence[Record], source: kept.Columns) -> tuple[kept.Columns, list[Sequence[Any]]]:
    check_mappings(records)
    columns: dict[str, kept.Column] = {}
    staged: list[Sequence[Any]] = []
    for key in dict.fromkeys(chain.from_iterable(records)):
        check_key(key, "")
        column, values = kept.column_of([r.get(key) for r in records], key, source.columns.get(key))
        columns[key] = column
        staged.append(values)
    return kept.Columns(columns, source.name), staged


def records_of(payload: bytes, struct: Struct) -> list[Record]:
    """The records of a staged block."""
    batch = _batch(payload, arrow_schema(struct))
    columns = [plain_values(column, f.slot.type) for column, f in zip(batch.columns, struct.fields, strict=True)]
    return rows(batch.schema.names, columns, batch.num_rows)


def _batch(payload: bytes, schema: object) -> Any:
    import pyarrow as pa

    if payload[8:12] == _ARROW_STREAM:
        alone = pa.ipc.IpcReadOptions(use_threads=False)
        return pa.ipc.open_stream(pa.py_buffer(payload)[8:], options=alone).read_next_batch()
    return pa.ipc.read_record_batch(pa.py_buffer(_zstd().decompressor.decompress(payload[8:])), schema)


def stage_batch(batch: Any, schema: bytes) -> bytes:
    """A block's payload for columns that did not come from records: an Arrow stream of one batch. Blocks are larger here,
    so that its schema does not count, and compressing them, with LZ4 even, would take a tenth of the whole export's time."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    sink.write(mark(schema))
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def mark(schema: bytes) -> bytes:
    return blake2b(schema, digest_size=8).digest()


def leaves(value: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that has no parts, and where it is. List members do not count: `tags[]`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, below(path, str(key)))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner, path + "[]" if path else path)
    else:
        yield path, value


def unstage(
    blocks: Iterable[tuple[bytes, Sequence[int] | None]], have: Iterable[tuple[bytes, Struct]], want: Struct
) -> Iterator[Any]:
    """The staged batches with the types of `want`, of each the records at the given indices (None: all).

    `have` are the schemas as they were staged and their types. Raises DestinationError for a block of another schema.
    """
    import pyarrow as pa

    target = arrow_schema(want)
    staged = {mark(schema): (struct, arrow_schema(struct)) for schema, struct in have}
    for payload, indices in blocks:
        if payload[:8] not in staged:
            raise DestinationError("a staged block has a schema that none of its group's blocks declared")
        struct, schema = staged[payload[:8]]
        batch = _batch(payload, schema)
        if schema is not target and not schema.equals(target):
            batch = pa.RecordBatch.from_arrays(_fit_fields(batch.columns, struct, want, batch.num_rows), schema=target)
        if indices is not None:
            batch = _selected(batch, indices)
        if batch.num_rows:
            yield batch


def gathered(batches: Iterable[Any], records: int = 1000, size: int = 1 << 20) -> Iterator[Any]:
    """The same records in fewer batches: small ones joined until they have so many records, or so many bytes."""
    import pyarrow as pa

    waiting: list[Any] = []
    count = weight = 0
    for batch in batches:
        waiting.append(batch)
        count, weight = count + batch.num_rows, weight + batch.nbytes
        if count >= records or weight >= size:
            yield from pa.Table.from_batches(waiting).combine_chunks().to_batches() if len(waiting) > 1 else waiting
            waiting, count, weight = [], 0, 0
    if waiting:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()


def _selected(batch: Any, indices: Sequence[int]) -> Any:
    import pyarrow as pa

    if len(indices) and list(indices) == list(range(indices[0], indices[0] + len(indices))):
        return batch.slice(indices[0], len(indices))
    return batch.take(pa.array(indices, pa.int64()))


def _fit_fields(columns: Sequence[object], have: Struct, want: Struct, length: int) -> list[Any]:
    import pyarrow as pa

    places = {f.name: (f.slot.type, column) for f, column in zip(have.fields, columns, strict=True)}
    found = []
    for f in want.fields:
        type_, column = places.get(f.name, (NULL, None))
        fresh = column is None
        found.append(pa.nulls(length, arrow_type(f.slot.type)) if fresh else fit(column, type_, f.slot.type))
    return found


def fit(array: Any, have: Type, want: Type) -> Any:
    """An array of type `have`, which was merged into `want`, as an array of type `want`. The array has no offset."""
    import pyarrow as pa

    target = arrow_type(want)
    if array.type == target:
        return array
    if have == NULL:
        return pa.nulls(len(array), target)
    if isinstance(have, Scalar) and isinstance(want, Scalar):
        return array.cast(target)
    if not _alike(have, want):
        return pa.array(fitted(plain_values(array, have), Slot(want)), target)
    validity = array.buffers()[0]
    if isinstance(have, ListOf) and isinstance(want, ListOf):
        children = [fit(array.values, have.items.type, want.items.type)]
        return pa.Array.from_buffers(target, len(array), array.buffers()[:2], array.null_count, children=children)
    assert isinstance(have, Struct)
    if isinstance(want, MapOf):
        offsets = pa.py_buffer(bytes(4 * len(array) + 4))
        entries = pa.array([], pa.struct([target.key_field, target.item_field]))
        return pa.Array.from_buffers(target, len(array), [validity, offsets], array.null_count, children=[entries])
    assert isinstance(want, Struct)
    columns = [array.field(i) for i in range(len(have.fields))]
    children = _fit_fields(columns, have, want, len(array))
    return pa.Array.from_buffers(target, len(array), [validity], array.null_count, children=children)


def _alike(have: Type, want: Type) -> bool:
    """Whether one becomes the other part by part."""
    if isinstance(have, ListOf):
        return isinstance(want, ListOf) and have.sort == want.sort
    return isinstance(have, Struct) and (isinstance(want, Struct) or (isinstance(want, MapOf) and not have.fields))


def plain_values(array: Any, type_: Type) -> list[Any]:
    """An array that was staged as this type as the values that it was made of; what is integral among mixed numbers is an
    integer."""
    return [_chosen(value, type_) for value in values(array)] if _was_changed(type_) else values(array)


def _was_changed(type_: Type) -> bool:
    if isinstance(type_, Struct):
        return any(_was_changed(f.slot.type) for f in type_.fields)
    if isinstance(type_, ListOf):
        return _was_changed(type_.items.type)
    if isinstance(type_, MapOf):
        return _was_changed(type_.values.type)
    return isinstance(type_, OneOf) or type_ == NUMBERS


def _chosen(value: Any, type_: Type) -> Any:
    if type_ == NUMBERS and value and value.is_integer():
        return int(value)
    if value is None or isinstance(type_, Scalar):
        return value
    if isinstance(type_, OneOf):
        return _chosen(value[f"option{value['branch']}"], type_.options[value["branch"]])
    if isinstance(type_, ListOf):
        return [_chosen(inner, type_.items.type) for inner in value]
    if isinstance(type_, MapOf):
        return {key: _chosen(inner, type_.values.type) for key, inner in value.items()}
    return {f.name: _chosen(value[f.name], f.slot.type) for f in type_.fields}


# From Arrow to Python


def values(array: Any, cut_nanoseconds: bool = False) -> list[Any]:
    """An Arrow array as Python values, column by column: ten times faster than `to_pylist` of older pyarrow releases,
    and maps come as dictionaries. Raises ValueError for what Python's types cannot hold."""
    import pyarrow as pa

    type_ = array.type
    if array.null_count == len(array):
        return [None] * len(array)
    if isinstance(type_, pa.BaseExtensionType):
        return _uuids(array.storage) if type_.extension_name == "arrow.uuid" else values(array.storage, cut_nanoseconds)
    if pa.types.is_dictionary(type_):
        return values(array.dictionary_decode(), cut_nanoseconds)
    if pa.types.is_struct(type_):
        columns = [values(child, cut_nanoseconds) for child in array.flatten()]
        names = [type_.field(i).name for i in range(type_.num_fields)]
        found: list[Any] = rows(names, columns, len(array))
    elif pa.types.is_map(type_):
        keys, items = values(array.keys, cut_nanoseconds), values(array.items, cut_nanoseconds)
        offsets = array.offsets.to_pylist()
        found = [dict(zip(keys[a:b], items[a:b], strict=True)) for a, b in pairwise(offsets)]
    elif pa.types.is_list(type_) or pa.types.is_large_list(type_):
        items, offsets = values(array.values, cut_nanoseconds), array.offsets.to_pylist()
        found = [items[a:b] for a, b in pairwise(offsets)]
    elif pa.types.is_temporal(type_):
        return _times_of(array, cut_nanoseconds)
    elif pa.types.is_integer(type_) or pa.types.is_floating(type_):
        plain = array.cast(pa.float32()) if pa.types.is_float16(type_) else array  # Arrow 20 fills no null of half floats.
        found = (plain.fill_null(0) if plain.null_count else plain).to_numpy().tolist()
    elif pa.types.is_boolean(type_) or pa.types.is_decimal(type_):
        return array.to_numpy(zero_copy_only=False).tolist()
    elif _is_text(type_):
        try:
            return array.to_numpy(zero_copy_only=False).tolist()
        except pa.ArrowException:
            array.validate(full=True)  # says that text is not UTF-8, where that is the reason
            raise
    else:
        return array.to_pylist()
    if array.null_count:
        for i in array.is_null().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
            found[i] = None
    return found


def rows(names: Sequence[str], columns: Sequence[list[object]], length: int) -> list[Any]:
    if not columns:
        return [{} for _ in range(length)]
    return maker(tuple(names))(zip(*columns))  # noqa: B905  `strict` costs a tenth, and lengths are equal


def _is_text(type_: object) -> bool:
    import pyarrow as pa

    return any(
        test(type_)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
        )
    )


def _uuids(array: Any) -> list[Any]:
    import uuid

    return [None if v is None else str(uuid.UUID(bytes=v)) for v in values(array)]


def _times_of(array: Any, cut: bool) -> list[Any]:
    """Dates, times, timestamps. Python's have microseconds and the years 1 to 9999."""
    import pyarrow as pa

    type_ = array.type
    if pa.types.is_timestamp(type_):
        array = array.cast(pa.timestamp("us", type_.tz), safe=not cut)
    elif pa.types.is_time(type_):
        array = array.cast(pa.time64("us"), safe=not cut)
    elif pa.types.is_date64(type_):
        array = array.cast(pa.date32())
    elif not pa.types.is_date(type_):
        return array.to_pylist()
    found = array.to_numpy(zero_copy_only=False).tolist()
    if int in set(map(type, found)):
        raise ValueError(f"{type_} outside the years 1 to 9999")
    if not pa.types.is_timestamp(type_) or type_.tz is None:
        return found
    utc, zone = datetime.timezone.utc, known_zone(type_.tz)
    aware = [None if v is None else v.replace(tzinfo=utc) for v in found]
    return aware if zone is utc else [None if v is None else v.astimezone(zone) for v in aware]


@lru_cache(maxsize=64)
def known_zone(name: str) -> datetime.tzinfo:
    if name.upper() in ("UTC", "Z", "GMT", "ETC/UTC", "+00:00"):
        return datetime.timezone.utc
    if found := re.fullmatch(r"([+-])(\d\d):?(\d\d)", name):
        minutes = int(found[2]) * 60 + int(found[3])
        return datetime.timezone(datetime.timedelta(minutes=-minutes if found[1] == "-" else minutes))
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
