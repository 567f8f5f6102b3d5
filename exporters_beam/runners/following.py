"""`run --follow`: one batch after the other, in one process that stays warm."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from exporters_beam.components.secret import hide
from exporters_beam.config.export import ExportSpec
from exporters_beam.config.new_only import Follow
from exporters_beam.config.sections import NEW_ONLY
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.files import destination
from exporters_beam.records import Json
from exporters_beam.reporting.report import Report
from exporters_beam.reporting.telling import Telling
from exporters_beam.runners.chains import Chain, Run, opened
from exporters_beam.runners.launch import logger_of
from exporters_beam.runners.launch import run as run_export

LONGEST = 900.0
"""Seconds at most between two tries of a batch that fails."""


def follow(
    spec: ExportSpec,
    beam_args: Sequence[str] = (),
    *,
    stop: threading.Event | None = None,
    workers: int | None = None,
    every: float | None = None,
) -> Iterator[Report]:
    """Run batch after batch until `stop` is set; gives the report of each that had something to read, also of one that failed.

    Every so many seconds it looks for what is new. A batch that fails is tried again, after twice as long each time.
    Notifiers are told of the first failure of several in a row, and of the first batch that is delivered after them; not
    of every batch. Raises ConfigError for what nothing is gained by trying again, and DestinationError where another run
    holds the chain.
    """
    if spec.new_only is None:
        raise ConfigError(spec.problem((NEW_ONLY,), "an export that reads everything each time cannot be followed; add "
                                       "`new_only: true`"))  # fmt: skip
    options = spec.follow or Follow()
    following = _Following(spec, options, stop or threading.Event(), options.every_seconds if every is None else every)
    quiet = replace(spec, notifications=(), others=tuple(replace(each, notifications=()) for each in spec.others))

    def one(each: ExportSpec) -> Report:
        return run_export(each, beam_args, workers=workers)

    with opened(quiet) as chain:
        yield from following.batches(chain, one)


@dataclass
class _Following:
    spec: ExportSpec
    options: Follow
    stop: threading.Event
    every: float
    failures: int = 0
    last: str = ""

    def batches(self, chain: Chain, run: Run) -> Iterator[Report]:
        telling = Telling(self.spec, logger_of(self.spec))
        telling.check()
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                report = chain.turn(run)
            except ConfigError:
                raise
            except ExportError as error:
                report = self._failed(error, telling)
                chain.reload()
            else:
                if self.failures:
                    telling.tell("complete", report)
                self.failures = 0
            if not report.note:
                self.last = datetime.now(timezone.utc).isoformat(timespec="seconds")
            self._tell_health(chain, report)
            if not report.note:
                yield report
                gc.collect()  # Beam leaves circles behind: without this a run costs half a megabyte.
            if not (chain.more and not self.failures):
                self.stop.wait(max(0.0, self._pause() - (time.monotonic() - began)))
        telling.wait()

    def _failed(self, error: ExportError, telling: Telling) -> Report:
        self.failures += 1
        found = getattr(error, "report", None)
        report = replace(found if isinstance(found, Report) else Report("failed"), error=hide(str(error)))
        if self.failures == 1:
            telling.tell("failed", report)
        return report

    def _pause(self) -> float:
        """Seconds from the beginning of a try to that of the next."""
        return min(max(self.every, 1.0) * 2.0**self.failures, max(LONGEST, self.every)) if self.failures else self.every

    def _tell_health(self, chain: Chain, report: Report) -> None:
        """Raises DestinationError."""
        path = self.options.health
        if path is None:
            return
        told: Json = {
            "state": "failing" if self.failures else "following",
            "batch": chain.number,
            "last_batch": self.last,
            "behind": chain.more,
            "checked": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "failures": self.failures,
            **({"error": report.error} if self.failures else {}),
        }
        with destination("cannot write", path):
            with open(f"{path}.part", "w", encoding="utf-8", errors="backslashreplace") as file:
                json.dump(told, file)
            os.replace(f"{path}.part", path)
