"""From tables to tables where nothing but a filter looks at records: columns are sifted and staged as they are.

The elements between the two ParDos here are `Columns`, one for each chunk of the source. What cannot be
judged or staged as columns takes the way over records, chunk by chunk, so that counts, failures and delivered files are
the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, cast

from exporters_beam.components.ready import ready
from exporters_beam.components.traits import MapTraits
from exporters_beam.engine.decode import Decode
from exporters_beam.engine.encode import EncodeBlocks
from exporters_beam.formats.tables import arrow
from exporters_beam.formats.tables import as_columns as columnar
from exporters_beam.formats.tables.chunks import CHUNK_ROWS, pack, unpack
from exporters_beam.records import Batch, BlockRef, Chunk, Mark, Skipped
from exporters_beam.transforms.sightings import NAMES_OF, LookingAtColumns


class Columns(NamedTuple):
    """The records of a chunk that were kept: their numbers in it, their columns, and the chunk as it was read."""

    chunk: Chunk
    numbers: Any
    batch: Any


class SiftColumns(Decode):
    """Decode, for columns: only what the filter reads becomes Python values. Steps behind it choose columns and rename them."""

    def __init__(self, maps: Iterable[tuple[str, Any]], *args: Any) -> None:
        super().__init__(*args)
        self._maps = tuple(maps)

    def setup(self) -> None:
        super().setup()
        self._reads = self._traits.reads or frozenset()
        self._steps = [(name, MapTraits.of(ready(each))) for name, each in self._maps]

    def start_bundle(self) -> None:
        super().start_bundle()
        self._looking = LookingAtColumns(self._steps)

    def end_range(self, mark: Mark) -> Mark:
        return self._looking.end_range(super().end_range(mark))

    def process(self, element: Chunk | Mark) -> Iterable[Any]:
        if isinstance(element, Mark) or isinstance(element.data, Skipped):
            return super().process(element)
        try:
            return self._columns(element)
        except Exception:  # Records say what is wrong, and with which of them.
            return list(chain.from_iterable(map(super().process, _pieces(element))))

    def _columns(self, chunk: Chunk) -> list[Any]:
        batch = unpack(chunk.data)
        kept = columnar.checked(batch, self._typed)
        numbers: Any = range(batch.num_rows)
        if self._keep is not None:
            mask = self._mask(batch)
            kept = kept.filter(mask)
            numbers = mask.to_numpy(zero_copy_only=False).nonzero()[0]
        if self._sightings is not None and self._sightings.left:
            self._look_at(batch)
        if kept.num_rows:
            kept = self._arranged(kept)
        self._read += batch.num_rows
        self._dropped += batch.num_rows - kept.num_rows
        if not kept.num_rows:
            return []
        return [Columns(chunk, numbers, kept)]

    def _arranged(self, batch: Any) -> Any:
        """The columns that go on. Raises where records have to say what is wrong."""
        import pyarrow as pa

        for n, (_, traits) in enumerate(self._steps):
            names = [name for name in batch.schema.names if not name.startswith(columnar.WAS)]
            self._looking.look(n, names)
            assert traits.arranges is not None
            pairs = traits.arranges(names)
            if not pairs:
                raise ValueError("there is no column left")
            there = set(batch.schema.names)
            pairs += [(f"{columnar.WAS}{old}", f"{columnar.WAS}{new}") for old, new in pairs if f"{columnar.WAS}{old}" in there]
            arrays = [batch.column(old) for old, _ in pairs]
            batch = pa.RecordBatch.from_arrays(arrays, names=[new for _, new in pairs])
        return batch

    def _look_at(self, batch: Any) -> None:
        names = [name for name in batch.schema.names if name in self._reads]
        some = batch.select(names).slice(0, NAMES_OF)
        cut = self._source.decoder.nanoseconds == "cut"
        rows = arrow.rows(names, [arrow.values(column, cut) for column in some.columns], some.num_rows)
        self.look(rows, lambda: [dict.fromkeys(batch.schema.names)])

    def _mask(self, batch: Any) -> Any:
        """Which rows the filter keeps: it is asked for each row, or for each text that is in the column."""
        import pyarrow as pa
        import pyarrow.compute as pc

        keep: Any = self._judge
        cut = self._source.decoder.nanoseconds == "cut"
        names = [name for name in batch.schema.names if name in self._reads]
        columns = [batch.column(name) for name in names]
        texts = _as_dictionary(columns[0]) if len(names) == 1 and self._traits.steady else None
        if texts is not None:
            flags = [bool(keep({names[0]: text})) for text in arrow.values(texts.dictionary)]
            found = pc.take(pa.array(flags, pa.bool_()), texts.indices)
            return found.fill_null(bool(keep({names[0]: None}))) if found.null_count else found
        rows = arrow.rows(names, [arrow.values(column, cut) for column in columns], batch.num_rows)
        return pa.array([bool(keep(row)) for row in rows], pa.bool_())


def _as_dictionary(column: Any) -> Any:
    """A column of texts as numbers of its distinct texts; None for other columns."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        return column if pa.types.is_string(column.type.value_type) else None
    return column.dictionary_encode() if pa.types.is_string(column.type) else None


def _pieces(chunk: Chunk) -> Iterator[Chunk]:
    batch = unpack(chunk.data)
    for at in range(0, batch.num_rows, CHUNK_ROWS):
        yield chunk._replace(first=chunk.first + at, data=pack(batch.slice(at, CHUNK_ROWS)))


class EncodeColumns(EncodeBlocks):
    """EncodeBlocks, for columns: what comes as a batch is staged as one."""

    def __init__(self, *args: Any, deserializer: Any, maps: Iterable[Any] = ()) -> None:
        super().__init__(*args)
        self._deserializer, self._maps = deserializer, tuple(maps)
        self._types_of = deserializer.types_of

    def process(self, element: Any) -> Iterable[Any]:
        if element.__class__ is Columns:
            return self._columns(element)
        return super().process(element)

    def _columns(self, columns: Columns) -> list[Any]:
        found: list[Any] = []
        waiting = self._blocks.pop((), None)  # Records that came before.
        if waiting is not None:
            found += self._stage((), waiting)
        try:
            types = self._types_of(columns.chunk.data) if self._delivery.finds_types else b""
            payload, schema = cast(Any, self._delivery.format).encode_columns(columns.batch, types)
        except Exception:
            for batch in self._batches(columns):
                found += super().process(batch)
            return found
        import numpy as np

        count = columns.batch.num_rows
        unit, number, first, _ = columns.chunk
        position = (unit, number, first + int(columns.numbers[0]))
        ref = BlockRef.of(length=len(payload), records=count, first=position, number=self._number, schema=schema)
        numbers = np.asarray(columns.numbers, np.uint32) + np.uint32(first)
        ref = self._segment.add((), payload, array("I", numbers.tobytes()), ref)
        self._number += 1
        self._kept += count
        return [*found, self._staged((), ref)]

    def _batches(self, columns: Columns) -> Iterator[Batch]:
        unit, number, first, data = columns.chunk
        for at in range(0, len(columns.numbers), CHUNK_ROWS):
            numbers = list(map(int, columns.numbers[at : at + CHUNK_ROWS]))
            records = self._deserializer.decode(pack(unpack(data).take(numbers)))
            for each in self._maps:
                records = list(map(each.map, records))
            types = self._types_of(data) if self._delivery.finds_types else b""
            yield Batch(unit, number, [first + n for n in numbers], records, types=types)
