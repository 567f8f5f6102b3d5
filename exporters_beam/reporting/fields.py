"""The statistics of fields as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exporters_beam.components.words import shortened
from exporters_beam.errors import printable

MOST_ROWS = 30
"""So many fields are shown; the report and the manifest have all."""

WIDEST = 32
"""So many characters of a path are shown, and half as many of the least and the greatest value."""

_TITLES = ("field", "there", "null", "different", "type", "from", "to", "length")


def table(statistics: Mapping[str, Any]) -> list[str]:
    """A line for each field: in how many of the records it has a value, of which type, how many different ones, from what to
    what, how long. None where nothing was looked at."""
    fields: Mapping[str, Mapping[str, Any]] = statistics.get("fields", {})
    if not fields:
        return []
    rows = [_TITLES, *(_row(path, field) for path, field in list(fields.items())[:MOST_ROWS])]
    widths = [max(len(row[n]) for row in rows) for n in range(len(_TITLES))]
    lines = ["  ".join(_aligned(n, cell, widths[n]) for n, cell in enumerate(row)).rstrip() for row in rows]
    more = len(fields) - MOST_ROWS
    return [*lines, *([f"and {more:,} more fields, which the report has"] if more > 0 else [])]


def _row(path: str, field: Mapping[str, Any]) -> tuple[str, ...]:
    length = field.get("length", {})
    lengths = "–".join(f"{n:,}" for n in sorted({*length.values()}))
    distinct = f"{field['distinct']:,}" if "distinct" in field else ""
    return (
        shortened(printable(path or '""'), WIDEST),
        f"{field['present']:,}",
        f"{field['null']:,}" if field["null"] else "",
        distinct,
        _types(field["types"]),
        _value(field, "min"),
        _value(field, "max"),
        lengths,
    )


def _types(types: Mapping[str, int]) -> str:
    names: Sequence[str] = list(types)
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")


def _value(field: Mapping[str, Any], name: str) -> str:
    value = field.get(name, "")
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return shortened(printable(text), WIDEST // 2)


def _aligned(column: int, cell: str, width: int) -> str:
    return f"{cell:>{width}}" if column in (1, 2, 3) else f"{cell:<{width}}"
