"""Chunks of files that hold columns: pieces of a size, on their way as Arrow streams, and the records in them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO

from exporters_beam.components.words import one_line, shortened
from exporters_beam.errors import RecordError, SourceError
from exporters_beam.formats.rows import Chooser, chosen
from exporters_beam.formats.tables import arrow
from exporters_beam.formats.tables.sound import is_sound
from exporters_beam.records import Record

CHUNK_ROWS, CHUNK_BYTES = 4096, 1 << 20
"""A chunk has at most so many records, and about so many bytes."""

TYPES = b"exporters_beam.types"
"""The metadata of a chunk that holds the types of the file's columns: texts may be read as dictionaries."""

Maker = Callable[[Any], Sequence[Record]]


def types_of(data: object) -> bytes:
    """The types of a chunk's columns, for formats that keep them."""
    types: bytes = unpack(data).schema.metadata[TYPES]
    return types


def records(data: Any, cut: bool) -> Sequence[Record]:
    """The records of a chunk; `cut` says whether times lose what is finer than microseconds."""
    batch = unpack(data)
    columns = [arrow.values(column, cut) for column in batch.columns]
    return arrow.rows(batch.schema.names, columns, batch.num_rows)


def glancing(fields: frozenset[str], cut: bool, decode: Maker) -> Callable[[Any], tuple[Sequence[Record], Chooser, Maker]]:
    """A function that gives a chunk's records with these fields only, its rows, all or those with a true flag, and what makes
    records of rows."""

    def glanced(data: Any) -> tuple[Sequence[Record], Chooser, Maker]:
        batch = unpack(data)
        if not all(is_sound(column, cut) for column in batch.columns):
            records = decode(batch)
            return records, partial(chosen, records), list
        names = [name for name in batch.schema.names if name in fields]
        columns = [arrow.values(batch.column(name), cut) for name in names]
        return arrow.rows(names, columns, batch.num_rows), partial(_rows, batch), decode

    return glanced


def each_record(data: Any, cut: bool) -> Iterator[tuple[int, Record | Exception, Any]]:
    """The records of a chunk one by one, with what is wrong with one."""
    batch = unpack(data)
    for number in range(batch.num_rows):
        record: dict[str, Any] = {}
        problem = None
        row = {name: _one(column, number) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
        for name, value in row.items():  # of one record: a slice would still hold the parts of the others
            try:
                (record[name],) = arrow.values(value, cut)
            except Exception as error:
                hint = '; set nanoseconds: "cut" to lose them' if "would lose data" in str(error) else ""
                problem = problem or RecordError(f"column {name} cannot be read: {shortened(str(error), 200)}{hint}")
        told = {name: " ".join(str(value).split())[:200] for name, value in row.items()} if problem else None
        yield number, problem or record, told


def _rows(batch: Any, flags: Iterable[Any] | None) -> Any:
    """The rows of a batch that have a true flag; None chooses all."""
    import pyarrow as pa

    return batch if flags is None else batch.filter(pa.array(list(map(bool, flags)), pa.bool_()))


def _one(column: Any, number: int) -> Any:
    import pyarrow as pa

    value = column.take([number])
    return value.dictionary_decode() if pa.types.is_dictionary(value.type) else value


def small(batch: Any, size: int) -> Iterator[tuple[Any, int]]:
    """The batch in halves of halves, each with its bytes: encoded columns can be much smaller than what they hold."""
    weight = sum(map(_spread, batch.columns)) if "dictionary" in str(batch.schema.types) else batch.nbytes
    if weight <= size or batch.num_rows < 2:
        yield batch, weight
        return
    half = batch.num_rows // 2
    yield from small(batch.slice(0, half), size)
    yield from small(batch.slice(half), size)


def _spread(array: Any) -> int:
    """The bytes of a column when each of its values stands for itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    type_, test = array.type, pa.types
    if test.is_dictionary(type_):
        values = array.dictionary
        if len(values) == 0:
            return 4 * len(array)
        if not (test.is_string(values.type) or test.is_binary(values.type)):
            return int(values.nbytes // len(values) * len(array))
        found = pc.take(pc.binary_length(values), array.indices, boundscheck=not _inside(array.indices, len(values)))
        return (pc.sum(found).as_py() or 0) + 4 * len(array)  # Arrow adds up in 64 bits.
    if test.is_struct(type_):
        return sum(map(_spread, array.flatten()))
    if test.is_map(type_):
        first, last = (array.offsets[at].as_py() for at in (0, len(array)))
        return sum(_spread(part.slice(first, last - first)) for part in (array.keys, array.items))
    if test.is_list(type_) or test.is_large_list(type_):
        return _spread(array.flatten()) + 4 * len(array)
    return int(array.nbytes)


def _inside(indices: Any, size: int) -> bool:
    """Whether all of these are known to be indices of so many values: NumPy sees it in a tenth of the time that Arrow takes."""
    import numpy as np

    if indices.null_count or not len(indices):
        return False
    numbers = np.asarray(indices)
    return bool(numbers.min() >= 0 and numbers.max() < size)


def held(batch: Any, weight: int) -> int:
    """The bytes of a batch without those that say where values begin and which are null; these take next to nothing in a
    file."""
    for column in batch.columns:
        if column.null_count == len(column):
            weight -= column.nbytes
        else:
            weight -= (len(column) >> 3 if column.null_count else 0) + (4 * len(column) if column.type.num_buffers > 2 else 0)
    return max(0, weight)


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


@contextmanager
def source_errors(what: object) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{what() if callable(what) else what}: {one_line(str(error), 200)}") from error


class Sink(io.RawIOBase):
    """What Arrow wants to write to, for which `out` needs no more than `write`."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._out.write(bytes(data))
        return len(data)
