"""Outcomes as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporters_beam.testing.running import Outcome


def lines_of(outcome: Outcome) -> Iterator[str]:
    """A line for the test, and for one that failed what is not as expected, with places."""
    case = outcome.case
    note = f" ({outcome.note})" if outcome.note else ""
    place = case.place()
    yield f"ok      {case.name}{note}" if outcome.good else f"FAILED  {case.name}{note}{f': {place}' if place else ''}"
    for each in outcome.differences:
        place = case.place(*each.way)
        yield f"  {f'{place}: ' if place else ''}{'.'.join(map(str, each.way))}{': ' if each.way else ''}{each.what}"
        yield from (f"    {text}" for text in each.lines)


def summary(outcomes: Iterable[Outcome]) -> str:
    """How many there were, and how many failed."""
    found = list(outcomes)
    failed = sum(not outcome.good for outcome in found)
    updated = sum(outcome.note == "updated" for outcome in found)
    counts = ((len(found) - failed, "ok"), (failed, "failed"), (updated, "updated"))
    told = [f"{n} {what}" for n, what in counts if n or what == "ok"]
    return f"{len(found)} test{'s' if len(found) != 1 else ''}: {', '.join(told)}"
