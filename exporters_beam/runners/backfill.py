"""`run --dates`: an export once for each day, as if it had been run on that day."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from exporters_beam.components.secret import hide
from exporters_beam.config.export import ExportSpec
from exporters_beam.config.sections import NEW_ONLY
from exporters_beam.errors import ConfigError, ExportError, shown
from exporters_beam.planning.plan import make_each
from exporters_beam.reporting.report import Report
from exporters_beam.runners.launch import run
from exporters_beam.runners.resume import finished

FAILED, DONE, WRITTEN = "failed", "complete already", "delivered"


@dataclass(frozen=True)
class Day:
    """What became of the export of one day: FAILED, DONE or WRITTEN, and a sentence."""

    day: date
    outcome: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.day}  {self.outcome}{': ' if self.outcome == FAILED else ', ' if self.text else ''}{self.text}"


def days_of(text: str) -> list[date]:
    """The days of `2026-01-01..2026-01-31`, or the one of `2026-01-01`. Raises ConfigError."""
    first, _, last = text.partition("..")
    try:
        begin, end = date.fromisoformat(first.strip()), date.fromisoformat((last or first).strip())
    except ValueError:
        raise ConfigError(f"--dates: {shown(text)} is no range of days; write 2026-01-01..2026-01-31") from None
    if end < begin:
        raise ConfigError(f"--dates: the last day, {end}, is before the first one, {begin}")
    return [begin + timedelta(days=n) for n in range((end - begin).days + 1)]


def refuse_same_names(spec: ExportSpec, days: Sequence[date]) -> None:
    """Raises ConfigError where the export of one day is that of another: it would replace it, or count as complete."""
    if spec.new_only is not None:
        raise ConfigError(spec.problem((NEW_ONLY,), "an export that reads only what is new has no day of its own; run it "
                                       "without --dates"))  # fmt: skip
    first, second = (make_each(spec.of_time(_time(day))) for day in (days[0], days[0] + timedelta(days=1)))
    for one, other in zip(first, second, strict=True):
        path = (*one.spec.writer.path, "options", "filebase")
        if one.names is not None and one.names.filebase == other.names.filebase:  # type: ignore[union-attr]
            raise ConfigError(one.spec.problem(path, "each day would replace the one before; put % dates into the name, as in "
                                               "items-%Y-%m-%d-"))  # fmt: skip
        if one.export_id == other.export_id:
            raise ConfigError(one.spec.problem((*path[:-1], "delivery_id"), "each day would count as the one before; give the "
                                               "writer a delivery_id with % dates, as in '%Y-%m-%d'"))  # fmt: skip


def _time(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time())


def backfill(
    spec: ExportSpec, days: Sequence[date], beam_args: Sequence[str] = (), *, workers: int | None = None
) -> Iterator[Day]:
    """Run the export of each day that is not complete yet, one after the other; what is left of one is gone on with."""
    for day in days:
        dated = spec.of_time(_time(day))
        try:
            if all(finished(plan) is not None for plan in make_each(dated)):
                yield Day(day, DONE)
                continue
            report = run(dated, beam_args, workers=workers)
        except ExportError as error:
            yield Day(day, FAILED, hide(str(error)))
        else:
            yield Day(day, WRITTEN, _what(report))


def _what(report: Report) -> str:
    files = f" in {len(report.files):,} file{'s' if len(report.files) != 1 else ''}" if report.files else ""
    return f"{report.written:,} records{files}"


def side_by_side(command: Callable[[date], list[str]], days: Sequence[date], jobs: int) -> Iterator[Day]:
    """The same in so many processes at once, each of which runs the export of one day with a command."""

    def one(day: date) -> Day:
        done = subprocess.run([sys.executable, "-m", "exporters_beam", *command(day)], capture_output=True, text=True)
        line = next((line for line in done.stdout.splitlines() if line.startswith(str(day))), "")
        outcome = next((each for each in (WRITTEN, DONE) if line.startswith(f"{day}  {each}")), FAILED)
        if outcome == FAILED:
            error = next((text for text in done.stderr.splitlines() if text.startswith("error: ")), done.stderr.strip())
            return Day(day, FAILED, line.partition(": ")[2] or error.removeprefix("error: "))
        return Day(day, outcome, line.removeprefix(f"{day}  {outcome}").removeprefix(", "))

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, days)
