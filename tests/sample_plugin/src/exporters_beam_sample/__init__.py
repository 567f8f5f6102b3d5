"""Components of one's own: a reader, a filter and a format, each a frozen dataclass without a base class; in `shelf` a storage.

They import what CONTRIBUTING.md lists for packages, and nothing else of exporters_beam.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam import ConfigError, RecordError, option
from exporters_beam.records import Record, Unit

RANGE = 100
"""Records in a range, the piece of a source that is read, committed and read again as a whole."""


@dataclass(frozen=True, kw_only=True)
class CountdownReader:
    """Count down from `start` to 1: records with the one field `number`.

    Example:
        reader:
          name: countdown
          options: {start: 10}
    """

    kind: ClassVar[str] = "reader"

    start: int = option("the number to begin with", type="int", default=10, minimum=0)

    def units(self) -> Iterator[Unit]:
        """What can be read independently: here one piece, in a database perhaps one a partition."""
        yield Unit(0, f"countdown from {self.start}", etag=str(self.start))

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        """(range, its records), from the range `start` on. The same range always holds the same records."""
        numbers = range(self.start, 0, -1)
        for at in range(start * RANGE, self.start, RANGE):
            yield at // RANGE, [{"number": number} for number in numbers[at : at + RANGE]]


@dataclass(frozen=True, kw_only=True)
class EvenFilter:
    """Keep records whose `field` is an even whole number. A record without such a number fails.

    Example:
        filter:
          name: even
          options: {field: number}
    """

    kind: ClassVar[str] = "filter"

    field: str = option("the top-level field to look at", example="number")

    @property
    def reads(self) -> frozenset[str]:
        """A trait: `keep` looks at this field alone and changes nothing, so records need not be decoded whole before."""
        return frozenset({self.field})

    def keep(self, record: Record) -> bool:
        value = record.get(self.field)
        if not isinstance(value, int):
            raise RecordError(f"{self.field} is {value!r:.200}, not a whole number")
        return value % 2 == 0


@dataclass(frozen=True, kw_only=True)
class TsvFormat:
    """Tab-separated values, with the names of the columns in the first line.

    Text stands as it is, with `\\t`, `\\n` and `\\\\` for a tab, a line's end and a backslash; null and missing values
    are empty, all others are JSON.

    Example:
        formatter:
          name: tsv
          options: {columns: [sku, price]}
    """

    kind: ClassVar[str] = "formatter"
    extension: ClassVar[str] = "tsv"
    separator: ClassVar[bytes] = b"\n"
    footer: ClassVar[bytes] = b"\n"

    columns: tuple[str, ...] = option("the fields to write, in order", type="str_list", example=["sku", "price"])

    def __post_init__(self) -> None:
        if not self.columns:
            raise ConfigError("columns: give the name of at least one field")

    @property
    def header(self) -> bytes:
        return "\t".join(map(_cell, self.columns)).encode() + b"\n"

    def format(self, record: Record) -> bytes:
        """One record, without the end of its line. Raises RecordError for text that UTF-8 cannot hold."""
        line = "\t".join(_cell(record.get(column)) for column in self.columns)
        try:
            return line.encode()
        except UnicodeEncodeError as error:
            raise RecordError(f"half a surrogate pair is no UTF-8: {line!r:.200}") from error


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
