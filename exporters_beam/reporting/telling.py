"""Tells notifiers and statistics managers of an export, beside it: what hangs there delays neither its start nor its work.

Each has a thread of its own, in which it is told one event after the other. When the export is over, all of them together
have PATIENCE seconds; what has not been sent by then is a warning.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from exporters_beam.components.secret import hide
from exporters_beam.components.traits import NotifierTraits
from exporters_beam.config.export import ExportSpec
from exporters_beam.errors import printable
from exporters_beam.reporting.report import Report

PATIENCE = 10.0
"""Seconds after the end of an export in which what is still to be sent is waited for."""


class Telling:
    """What is told of one export."""

    def __init__(self, spec: ExportSpec, log: logging.Logger) -> None:
        self._spec, self._log = spec, log
        self._lanes: dict[str, _Lane] = {}

    def check(self) -> None:
        """Before anything starts: raises ConfigError where a notifier cannot work at all (a package is missing)."""
        for section in self._spec.notifications:
            look = NotifierTraits.of(section.component).check
            if look is not None:
                look()

    def tell(self, event: str, report: Report, trace: str = "") -> None:
        """Have an event sent to every notifier."""
        told = {**report.as_dict(), "config": self._spec.document, **({"stack_trace": trace} if trace else {})}
        for section in self._spec.notifications:
            who = f"the notification {section.name} ({section.path[-1]})"
            self._do(who, event, partial(section.component.send, event, told))

    def count(self, report: Report) -> None:
        """Have the statistics manager report."""
        section = self._spec.stats_manager
        if section is not None:
            self._do("the stats manager", "report", lambda: section.component.report(report, self._log))

    def wait(self) -> None:
        """Until all is sent, or for PATIENCE seconds in all."""
        end = time.monotonic() + PATIENCE
        for who, lane in self._lanes.items():
            if not lane.idle.wait(max(0.0, end - time.monotonic())):
                self._log.warning("%s had not been told %s %d seconds after the end; it is not waited for any longer",
                                  who, lane.event, PATIENCE)  # fmt: skip

    def _do(self, who: str, event: str, work: Callable[[], object]) -> None:
        lane = self._lanes.get(who)
        if lane is None:
            lane = self._lanes[who] = _Lane(who, self._log)
        lane.add(event, work)


class _Lane:
    """One who is told, and the thread in which that happens."""

    def __init__(self, who: str, log: logging.Logger) -> None:
        self._who, self._log = who, log
        self._works: queue.SimpleQueue[tuple[str, Callable[[], Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._left = 0
        self.event = ""
        self.idle = threading.Event()
        threading.Thread(target=self._go, name=f"exporters_beam {who}", daemon=True).start()

    def add(self, event: str, work: Callable[[], object]) -> None:
        with self._lock:
            self._left += 1
            self.idle.clear()
        self._works.put((event, work))

    def _go(self) -> None:
        while True:
            self.event, work = self._works.get()
            try:
                work()
            except BaseException as error:  # also SystemExit: it ends nobody but the thread, which has more to tell
                text = printable(hide(f"{error}")) or type(error).__name__
                self._log.warning("%s could not be told %s: %s", self._who, self.event, text)
            with self._lock:
                self._left -= 1
                if not self._left:
                    self.idle.set()
