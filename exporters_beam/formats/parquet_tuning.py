"""What makes Parquet files quicker to search: sorted row groups, indexes of pages, Bloom filters."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.formats.limits import cut

ORDERS = ("ascending", "descending")


@dataclass(frozen=True)
class Tuning:
    """What the options of a format ask for. `keys` are columns with the order in which they are sorted."""

    keys: tuple[tuple[str, str], ...] = ()
    page_index: bool = False
    blooms: tuple[str, ...] = ()

    @classmethod
    def of(cls, sort_by: Sequence[Any], page_index: bool, blooms: Sequence[str]) -> Tuning:
        """What options say. Raises ConfigError."""
        keys: list[tuple[str, str]] = []
        for number, given in enumerate(sort_by):
            if isinstance(given, Mapping) and len(given) == 1:
                ((name, order),) = given.items()
            else:
                name, order = given, "ascending"
            if not isinstance(name, str) or not name:
                raise ConfigError(f"sort_by[{number}]: give the name of a column, or {{name: descending}}")
            if order not in ORDERS:
                raise ConfigError(f"sort_by[{number}].{name}: {order!r} is not one of {', '.join(ORDERS)}")
            if any(name == other for other, _ in keys):
                raise ConfigError(f"sort_by[{number}]: {name!r} is there twice")
            keys.append((name, order))
        if blooms and not _knows_blooms():
            import pyarrow as pa

            raise ConfigError(f"bloom_filters: pyarrow {pa.__version__} writes none; install a newer one, or leave it out")
        return cls(tuple(keys), page_index, tuple(blooms))

    def options(self, schema: Any) -> dict[str, Any]:
        """What a ParquetWriter of pyarrow is told. Raises RecordError where files have no such columns."""
        import pyarrow.parquet as pq

        made: dict[str, Any] = {}
        if self.page_index:
            made["write_page_index"] = True
        if self.keys:
            self._check(schema)
            made["sorting_columns"] = pq.SortingColumn.from_ordering(schema, list(self.keys), null_placement="at_end")
        if self.blooms:
            leaves = _leaves(schema)
            for path in self.blooms:
                if leaves.get(path, "BOOLEAN") == "BOOLEAN":
                    what = "holds booleans" if path in leaves else "is in none of the files"
                    raise RecordError(f"bloom_filters: {cut(path)} {what}{did_you_mean(path, sorted(set(leaves) - {path}))}")
            made["bloom_filter_options"] = dict.fromkeys(self.blooms, True)
        return made

    def _check(self, schema: Any) -> None:
        import pyarrow as pa

        for name, _ in self.keys:
            if name not in schema.names:
                raise RecordError(f"sort_by: the files have no column called {cut(name)}{did_you_mean(name, schema.names)}")
            if pa.types.is_nested(schema.field(name).type):
                raise RecordError(f"sort_by: the column {cut(name)} holds objects or lists, which have no order")

    def sorted(self, table: Any) -> Any:
        """The rows of a row group in order; equal ones stay in theirs, and null is last."""
        import pyarrow.compute as pc

        return table.take(pc.sort_indices(table, sort_keys=list(self.keys))) if self.keys else table


PIECE = 256
"""A row group of so many bytes ends with so many records, or with the last of them."""


def by_bytes(batches: Iterable[Any], most: int, size: int) -> Iterator[Any]:
    """Tables of at most so many records, which end when their values have so many bytes. Where batches end does not matter."""
    import pyarrow as pa

    waiting: list[Any] = []
    group: list[Any] = []
    left = count = weight = 0
    for batch in chain(batches, (None,)):
        waiting += [] if batch is None else [batch]
        left += 0 if batch is None else batch.num_rows
        while left and (batch is None or left >= PIECE):
            table = pa.Table.from_batches(waiting)
            piece = table.slice(0, min(PIECE, left, most - count))
            waiting, left = table.slice(piece.num_rows).to_batches(), left - piece.num_rows
            group.append(piece)
            count, weight = count + piece.num_rows, weight + sum(_bytes(chunk) for c in piece.columns for chunk in c.chunks)
            if count >= most or weight >= size:
                yield pa.concat_tables(group).combine_chunks()
                group, count, weight = [], 0, 0
    if group:
        yield pa.concat_tables(group).combine_chunks()


def _bytes(array: Any) -> int:
    """The bytes of the values of a column, however it stands in memory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    type_, test = array.type, pa.types
    if test.is_struct(type_):
        return sum(map(_bytes, array.flatten()))
    if test.is_map(type_):
        entries = pa.ListArray.from_arrays(array.offsets, pa.StructArray.from_arrays([array.keys, array.items], ["k", "v"]))
        return _bytes(entries.flatten()) + 4 * len(array)
    if test.is_list(type_) or test.is_large_list(type_):
        return _bytes(array.flatten()) + 4 * len(array)
    if any(test_of(type_) for test_of in (test.is_string, test.is_large_string, test.is_binary, test.is_large_binary)):
        return int(pc.sum(pc.binary_length(array)).as_py() or 0) + 4 * len(array)
    return len(array) * (0 if test.is_null(type_) else -(-type_.bit_width // 8))


def _knows_blooms() -> bool:
    import inspect

    import pyarrow.parquet as pq

    return "bloom_filter_options" in inspect.signature(pq.write_table).parameters


def _leaves(schema: Any) -> dict[str, str]:
    """The physical types of columns by their paths: Parquet has names of its own for what is nested."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    paths = pq.ParquetFile(sink).schema
    return {column.path: column.physical_type for column in map(paths.column, range(len(paths)))}
