"""How often each key occurs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, cast

from exporters_beam.records import DeliveredFile, PlannedFile, Record
from exporters_beam.writers.options import WriterOptions


@dataclass(frozen=True, kw_only=True)
class AggregationStatsWriter(WriterOptions):
    """Count in how many records each top-level key occurs, whatever its value; nothing is written.

    The result maps each key to `occurrences` and `coverage` (percent of the records); it is logged and stands in the
    report as `result`.

    Example:
        writer: {name: aggregation_stats}
    """

    empty_result: ClassVar[dict[str, Any]] = {}

    @property
    def staged_as(self) -> Keys:
        return Keys()

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        counted = CountedKeys()
        fill(cast(BinaryIO, counted))
        stats = {key: {"occurrences": n, "coverage": 100.0 * n / file.records} for key, n in counted.finish().items()}
        return DeliveredFile(file.name, file.group, file.records, 0, "", stats)


@dataclass(frozen=True)
class Keys:
    """A record's keys on one line."""

    extension = ""
    header = footer = b""
    separator = b"\n"

    def format(self, record: Record) -> bytes:
        return json.dumps(list(record)).encode()


class CountedKeys:
    """Takes what `Keys` wrote, in pieces of any size."""

    def __init__(self) -> None:
        self._rest, self._lines = b"", Counter[bytes]()

    def write(self, data: bytes) -> int:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.update(lines)
        return len(data)

    def finish(self) -> dict[str, int]:
        """Occurrences by key, in the order in which keys were first seen."""
        self._lines.update([self._rest] if self._rest else [])
        counts: dict[str, int] = {}
        for line, n in self._lines.items():
            for key in json.loads(line):
                counts[key] = counts.get(key, 0) + n
        return counts
