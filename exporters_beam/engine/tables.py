"""From rows of text to tables where steps work on columns: columns are made at once, and records only where one is at fault.

The elements between the two ParDos here are `Table`, one for each chunk of the source. A chunk that cannot be done so goes as
records through the same steps as any; and where a block of columns cannot be staged its records are made and staged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from exporters_beam.components.ready import ready
from exporters_beam.components.traits import FormatTraits, MapTraits
from exporters_beam.engine.decode import Decode
from exporters_beam.engine.encode import EncodeBlocks, _Block
from exporters_beam.formats.rows import maker
from exporters_beam.records import Batch, Chunk, Mark, Record, Skipped
from exporters_beam.transforms.sightings import LookingAtColumns


class Table(NamedTuple):
    """Records of one range that all have the same fields, as their columns: what `Batch` holds as records."""

    unit: Any
    range: int
    numbers: Sequence[int]
    columns: dict[str, Sequence[Any]]


class ToColumns(Decode):
    """Decode, for columns, and all transforms behind it."""

    def __init__(self, maps: Iterable[tuple[str, Any]], *args: Any) -> None:
        super().__init__(*args)
        self._maps = tuple(maps)

    def setup(self) -> None:
        super().setup()
        self._steps = [(name, MapTraits.of(ready(each))) for name, each in self._maps]
        self._columns = self._decoder.column_values

    def start_bundle(self) -> None:
        super().start_bundle()
        self._looking = LookingAtColumns(self._steps)

    def end_range(self, mark: Mark) -> Mark:
        return self._looking.end_range(super().end_range(mark))

    def process(self, element: Chunk | Mark) -> Iterable[Any]:
        if isinstance(element, Mark) or isinstance(element.data, Skipped) or self._source.letters:
            return super().process(element)
        try:
            table = self._table(element)
        except Exception:  # Records say what is wrong, and with which of them.
            return super().process(element)
        self._read += len(table.numbers)
        return [table] if table.numbers else []

    def _table(self, chunk: Chunk) -> Table:
        assert self._columns is not None
        columns, count = self._columns(chunk.data)
        for n, (_, traits) in enumerate(self._steps):
            assert traits.map_columns is not None
            if count:
                self._looking.look(n, columns)
            columns = traits.map_columns(columns, count)
        return Table(chunk.unit, chunk.range, range(chunk.first, chunk.first + count), columns)


class EncodeTables(EncodeBlocks):
    """EncodeBlocks, for columns: blocks hold the same records as they would if all came as records."""

    def setup(self) -> None:
        super().setup()
        self._encode_values = FormatTraits.of(self._delivery.format).encode_values

    def start_bundle(self) -> None:
        super().start_bundle()
        self._waiting: _Waiting | None = None  # Never beside a block of records.

    def process(self, element: Any) -> Iterable[Any]:
        if element.__class__ is Table:
            return self._table(element)
        if element.__class__ is Mark:
            return [*self._stage_waiting(), *super().process(element)]
        self._as_records()
        return super().process(element)

    def _table(self, table: Table) -> list[object]:
        unit, number, numbers, columns = table
        staged: list[object] = []
        at, count = 0, len(numbers)
        if self._waiting is not None and list(self._waiting.columns) != list(columns):
            self._as_records()
        block = self._blocks.get(())
        if block is not None:  # Records that came before: their block becomes full first.
            at = min(count, self._limit - block.size)
            records = _records({name: values[:at] for name, values in columns.items()}, at)
            staged += self._add_records(Batch(unit, number, numbers[:at], records), None, records)
        while at < count:
            if self._waiting is None:
                self._waiting = _Waiting((unit, number, numbers[at]), [], {name: [] for name in columns})
            waiting = self._waiting
            end = min(count, at + self._limit - len(waiting.numbers))
            waiting.numbers.extend(numbers[at:end])
            for name, values in waiting.columns.items():
                values.extend(columns[name][at:end])
            self._kept += end - at
            at = end
            if len(waiting.numbers) >= self._limit:
                staged += self._stage_waiting()
        return staged

    def _stage_waiting(self) -> list[object]:
        waiting = self._waiting
        if waiting is None:
            return []
        try:
            assert self._encode_values is not None
            payload, schema = self._encode_values(waiting.columns, len(waiting.numbers))
        except Exception:  # Records say which of them do not fit.
            self._as_records()
            return self._stage((), self._blocks.pop(()))
        self._waiting = None
        block = _Block(waiting.first)
        return [self._add_block((), block, payload, waiting.numbers, len(payload), schema=schema)]

    def _as_records(self) -> None:
        """Make records of the columns that wait."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            block = self._blocks[()] = _Block(waiting.first)
            block.numbers, block.size = waiting.numbers, len(waiting.numbers)
            block.parts = _records(waiting.columns, block.size)


class _Waiting(NamedTuple):
    """Columns that wait to be staged, with the numbers of their records."""

    first: Any
    numbers: list[int]
    columns: dict[str, list[Any]]


def _records(columns: dict[str, Any], count: int) -> list[Record]:
    if not columns:
        return [{} for _ in range(count)]
    return maker(tuple(columns))(zip(*columns.values(), strict=True))
