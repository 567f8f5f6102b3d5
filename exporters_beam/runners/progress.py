"""A line on standard error that says how far an export has come."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from exporters_beam.reporting.report import human
from exporters_beam.staging.run import Run


@contextmanager
def watched(run: Run) -> Iterator[None]:
    """Keep a line on standard error up to date: records, rate, files, bytes, where somebody looks."""
    if not run.progress:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(run, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(run: Run, over: threading.Event) -> None:
    started, before, shown = time.monotonic(), 0, False
    while not over.wait(1.0):
        numbers = run.staging.progress()
        read = numbers.get("read", 0)
        rate = (read - before) / 1.0
        before = read
        text = f"{read:,} records read, {rate:,.0f}/s"
        if numbers.get("files"):
            text = f"{read:,} records read, {numbers['files']:,} files delivered, {human(numbers['bytes'])}"
        sys.stderr.write(f"\r\x1b[K{text}, {time.monotonic() - started:.0f} s")
        sys.stderr.flush()
        shown = True
    if shown:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
