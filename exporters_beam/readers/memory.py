"""Records that stand in the config or were given to the library: a real reader, made for tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.components.options import option
from exporters_beam.records import Record, Unit


@dataclass(frozen=True, kw_only=True)
class MemoryReader:
    """Read the records that stand in the config itself. For tests, examples and trying expressions out.

    `range_size` cuts them into ranges, as large sources are.

    Example:
        reader:
          name: memory
          options:
            records: [{sku: a, price: 1}, {sku: b, price: 2}]
    """

    kind: ClassVar[str] = "reader"

    records: tuple[Record, ...] = option("the records, mappings", type="dict_list", example=[{"sku": "a"}])
    range_size: int = option("records in a range", type="int", default=1000, minimum=1)

    def units(self) -> Iterator[Unit]:
        yield Unit(0, "memory", -1, str(len(self.records)))

    def ranges(self, unit: Unit) -> int:
        return max(1, -(-len(self.records) // self.range_size))

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        for number in range(start, self.ranges(unit)):
            at = number * self.range_size
            yield number, copy.deepcopy(self.records[at : at + self.range_size])
