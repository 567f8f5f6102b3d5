"""Columns that stay columns between two tables, with the types that their records would get.

Every function gives what the way over records gives, or raises: then the caller takes that way, which knows what to say
of values that are at fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exporters_beam.formats.tables import kept
from exporters_beam.formats.tables.arrow import arrow_schema, arrow_type, known_zone, stage_batch
from exporters_beam.formats.tables.sound import DAY, YEAR_2, YEAR_9999, Unlike, check_text, within
from exporters_beam.formats.tables.types import (
    DEEPEST,
    EXACT,
    NULL,
    RANGES,
    STRING,
    Field,
    ListOf,
    Scalar,
    Slot,
    Struct,
    Type,
    decimal,
)

WAS = "\0was:"
"""What stands before the name of a column as it was read."""

_SAME = ("bool", "float64", "string", "bytes", "date", "time", "timestamp", "datetime")


def checked(batch: Any, typed: bool = False) -> Any:
    """The columns as records hold their values: integers of 64 bits, microseconds; texts may stay a dictionary. Where they
    are to be `typed` those that change by that stand behind them once more, as they were. Raises where a value fits no
    record."""
    import pyarrow as pa

    names = list(batch.schema.names)
    columns = [_checked(column, 0) for column in batch.columns]
    if typed:
        was = [(name, array) for name, array, now in zip(names, batch.columns, columns, strict=True) if array is not now]
        columns += [array for _, array in was]
        names += [WAS + name for name, _ in was]
    return pa.RecordBatch.from_arrays(columns, names=names)


def _checked(array: Any, depth: int) -> Any:
    import pyarrow as pa

    type_, test = array.type, pa.types
    if test.is_dictionary(type_) and depth == 0 and test.is_string(type_.value_type):
        check_text(array.dictionary)
        return array
    if test.is_dictionary(type_):
        return _checked(array.dictionary_decode(), depth)
    if test.is_string(type_):
        check_text(array)
        return array
    if test.is_large_string(type_):
        array.validate(full=True)
        return array.cast(pa.string())
    if test.is_integer(type_):
        return array.cast(pa.int64())
    if test.is_float64(type_) or test.is_boolean(type_) or test.is_null(type_) or test.is_binary(type_):
        return array
    if test.is_float32(type_):
        return array.cast(pa.float64())
    if test.is_large_binary(type_) or test.is_fixed_size_binary(type_):
        return array.cast(pa.binary())
    if test.is_decimal(type_) and type_.scale >= 0:
        return array
    if test.is_time(type_):
        return array.cast(pa.time64("us"))
    if test.is_date32(type_) or test.is_timestamp(type_):
        return _moments(array)
    if depth >= DEEPEST:
        raise Unlike
    names = [type_.field(i).name for i in range(type_.num_fields)]
    if test.is_struct(type_) and names and len(set(names)) == len(names):
        children = [_checked(child, depth + 1) for child in array.flatten()]
        return pa.StructArray.from_arrays(children, names, mask=array.is_null())
    if test.is_list(type_) or test.is_large_list(type_):
        return _list_of(array, _checked(array.flatten(), depth + 1))
    raise Unlike


def _moments(array: Any) -> Any:
    """Dates and timestamps, in microseconds and in UTC."""
    import pyarrow as pa

    if pa.types.is_date32(array.type):
        sound = within(array.cast(pa.int32()), YEAR_2 // DAY, YEAR_9999 // DAY)
    else:
        if array.type.tz is not None:
            known_zone(array.type.tz)
        array = array.cast(pa.timestamp("us", None if array.type.tz is None else "UTC"))
        sound = within(array.cast(pa.int64()), YEAR_2 * 1_000_000, YEAR_9999 * 1_000_000)
    if not sound:
        raise Unlike
    return array


def _list_of(array: Any, items: object) -> Any:
    """The lists again, of other items, in order and without gaps."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = [0, *lengths.cumsum().tolist()]
    mask = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, mask=mask)


def encoded(batch: Any, want: Struct | None, drop: bool, source: kept.Columns) -> tuple[bytes, bytes]:
    """What `encode` of a table format gives for the records of a batch that was `checked`: types as found in them, or those
    that columns have in their `source`; or `want`, whose unknown fields are dropped or refused."""
    import pyarrow as pa

    plain = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    batch = pa.RecordBatch.from_arrays(plain, names=batch.schema.names)
    if want is not None:
        fitted = [_wanted(batch, f) for f in want.fields]
        if not drop and set(batch.schema.names) - {f.name for f in want.fields}:
            raise Unlike
        return stage_batch(pa.RecordBatch.from_arrays(fitted, schema=arrow_schema(want)), b""), b""
    was = {name.removeprefix(WAS): batch.column(name) for name in batch.schema.names if name.startswith(WAS)}
    columns: dict[str, kept.Column] = {}
    arrays = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name.startswith(WAS):
            continue
        found, array = _typed(column)
        own = source.columns[name].kept if name in source.columns else None
        if own is not None and _holds(own.slot.type, column):
            own = kept.nullable(own) if column.null_count else own
            array = _as_it_was(was.get(name, column), arrow_type(own.slot.type))
        else:
            own = None
        columns[name] = kept.Column(found, own)
        arrays.append(array)
    all_of_them = kept.Columns(columns, source.name)
    schema = all_of_them.dump()
    return stage_batch(pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(all_of_them.staged)), schema), schema


def _holds(type_: Type, array: Any) -> bool:
    """Whether a type of the source is kept: as for records, nanoseconds where they have room."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(type_, Scalar) and type_.kind in ("timestamp", "datetime") and type_.size[0] == 9:
        found = pc.min_max(array.cast(pa.timestamp("us")))
        least, most = found["min"].as_py(), found["max"].as_py()
        return least is None or kept.EARLIEST <= least <= most <= kept.LATEST
    return True


def _as_it_was(array: Any, target: object) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array if array.type == target else array.cast(target)


def _typed(array: Any) -> tuple[Type, Any]:
    """The type that is inferred from the values, and the column as that."""
    import pyarrow as pa

    type_, test = array.type, pa.types
    if array.null_count == len(array):
        return NULL, pa.nulls(len(array))
    for is_it, found in _plain():
        if is_it(type_):
            return found, array
    if test.is_int64(type_):
        return Scalar("int" if _largest(array) <= EXACT else "int64"), array
    if test.is_timestamp(type_):
        return Scalar("datetime" if type_.tz is None else "timestamp", (6,)), array
    if test.is_decimal(type_):
        digits = len(_largest(array).as_tuple().digits)
        needed = decimal(max(digits - type_.scale, 0), type_.scale, "")
        return needed, array.cast(arrow_type(needed))
    if test.is_struct(type_):
        pairs = [_typed(child) for child in array.flatten()]
        names = [type_.field(i).name for i in range(type_.num_fields)]
        struct = Struct(tuple(Field(name, Slot(inner)) for name, (inner, _) in zip(names, pairs, strict=True)))
        parts = list(arrow_type(struct))
        return struct, pa.StructArray.from_arrays([a for _, a in pairs], fields=parts, mask=array.is_null())
    inner, items = _typed(array.flatten())
    return ListOf(Slot(inner)), _list_of(array, items)


def _plain() -> tuple[tuple[Callable[[Any], bool], Scalar], ...]:
    import pyarrow as pa

    test = pa.types
    return (
        (test.is_string, STRING),
        (test.is_float64, Scalar("float64")),
        (test.is_boolean, Scalar("bool")),
        (test.is_binary, Scalar("bytes")),
        (test.is_date32, Scalar("date")),
        (test.is_time64, Scalar("time", (6,))),
    )


def _largest(array: Any) -> Any:
    """The largest absolute value."""
    import pyarrow.compute as pc

    found = pc.min_max(array)
    return max(abs(found["min"].as_py()), abs(found["max"].as_py()))


def _wanted(batch: Any, f: Field) -> Any:
    """A column as the given schema wants it, where that needs no look at its values one by one."""
    import pyarrow as pa

    place, want = batch.schema.get_field_index(f.name), f.slot.type
    if place < 0 and f.default is not None:
        raise Unlike
    array = pa.nulls(batch.num_rows) if place < 0 else batch.column(place)
    if array.null_count and f.slot.null_at is None and want != NULL:
        raise Unlike
    have, array = _typed(array)
    target = arrow_type(want)
    if have == NULL:
        return pa.nulls(batch.num_rows, target)
    if isinstance(have, Scalar) and isinstance(want, Scalar):
        if have.kind == want.kind and have.size == want.size and have.kind in _SAME:
            return array
        if have.kind in ("int", "int64") and want.kind in RANGES:
            return array.cast(target)
        if have.kind == "int" and want.kind == "float64":
            return array.cast(target)
    raise Unlike
