"""What a unit of the reader `sql` reads: pieces of a table between values of a key, as text that stands in its etag."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from exporters_beam.systems.sql import Refused

Key = tuple[Any, ...]
"""The values of the key's columns."""


class Piece(NamedTuple):
    """What a unit reads, decided when it was listed. Of n `borders` there are n ranges: each has the rows whose key is above
    the border before, the first one above `above` (None: from the first row on), and up to its own. `nulls` is another range
    behind them, of the rows whose key is null. Without a key all is one range."""

    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    """Columns by which rows of equal keys are sorted."""
    unique: bool = False
    nullable: bool = False
    above: Key | None = None
    borders: tuple[Key, ...] = ()
    nulls: bool = False

    @property
    def ranges(self) -> int:
        return len(self.borders) + self.nulls if self.key else 1

    def text(self) -> str:
        """As a unit's etag."""
        borders = [packed(border) for border in self.borders]
        told = [self.columns, self.key, self.order, self.unique, self.nullable, packed(self.above), borders, self.nulls]
        return json.dumps(told, separators=(",", ":"))

    @staticmethod
    @lru_cache(maxsize=256)
    def of(text: str) -> Piece:
        columns, key, order, unique, nullable, above, borders, nulls = json.loads(text)
        return Piece(tuple(columns), tuple(key), tuple(order), unique, nullable, unpacked(above),
                     tuple(unpacked(border) for border in borders), nulls)  # type: ignore[misc] # fmt: skip


# Borders as text


def comparable(value: Any) -> Any:
    """A value of a key as it can be sent back."""
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    return value


def packed(key: Key | None) -> Any:
    return None if key is None else [value if type(value) in (int, str) else _tagged(value) for value in key]


def _tagged(value: Any) -> list[str]:
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal
    from uuid import UUID

    if isinstance(value, bool) or value is None:
        return ["json", json.dumps(value)]
    for kind in (float, Decimal, UUID):
        if isinstance(value, kind):
            return [kind.__name__, str(value)]
    for timely in (datetime, date, time):
        if isinstance(value, timely):
            return [timely.__name__, value.isoformat()]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, timedelta):
        return ["timedelta", f"{value.days} {value.seconds} {value.microseconds}"]
    raise Refused("key", f"a {type(value).__name__} cannot be a border between ranges; name another column")


def unpacked(key: Any) -> Key | None:
    return None if key is None else tuple(_untagged(*value) if isinstance(value, list) else value for value in key)


def _untagged(kind: str, text: str) -> Any:
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal
    from uuid import UUID

    made: dict[str, Callable[[str], Any]] = {
        "json": json.loads,
        "float": float,
        "Decimal": Decimal,
        "UUID": UUID,
        "datetime": datetime.fromisoformat,
        "date": date.fromisoformat,
        "time": time.fromisoformat,
        "bytes": bytes.fromhex,
        "timedelta": lambda parts: timedelta(*map(int, parts.split(" "))),
    }
    return made[kind](text)
