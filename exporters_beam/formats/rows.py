"""Records made of rows, many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

from exporters_beam.records import Record

Maker = Callable[[Iterable[Any]], list[Record]]
"""Makes records of rows."""

Chooser = Callable[[Iterable[Any] | None], Any]
"""Gives rows: those with a true flag, or all where it gets None."""

MOST = 500
"""Names up to which a maker is compiled: of more, compiling would take longer than it saves."""


def chosen(rows: Sequence[Any], flags: Iterable[object] | None) -> Sequence[Any]:
    """The rows that have a true flag; None chooses all."""
    return rows if flags is None else list(compress(rows, flags))


@lru_cache(maxsize=64)
def maker(names: tuple[str, ...], more: bool = False) -> Maker:
    """Makes records of rows that have a value for each of these names and, where there is `more`, one thing behind them which
    counts for nothing.

    It is compiled, as a named tuple is: a display of a dictionary is built in half the time of dict(zip(…)).
    """
    if len(names) > MOST or not names:
        return lambda rows: [dict(zip(names, row)) for row in rows]  # noqa: B905
    members = ", ".join(f"{name!r}: v{n}" for n, name in enumerate(names))
    values = "".join(f"v{n}, " for n in range(len(names)))
    make: Maker = eval(f"lambda rows: [{{{members}}} for {values}{'_, ' if more else ''}in rows]", {"__builtins__": {}})
    return make
