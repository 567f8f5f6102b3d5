"""How far a run came that did not end well, and where reports are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from exporters_beam.errors import ConfigError, DestinationError, ExportError
from exporters_beam.records import Json
from exporters_beam.reporting.report import Report
from exporters_beam.staging.segments import SUFFIX, Staging, is_ours, read_segment

CONSOLE = "-"
"""The name that means standard output."""


@contextmanager
def noted(far: dict[str, object], staging: Staging) -> Iterator[None]:
    """Put into `far` what has been staged and delivered when the work inside fails: counts, units and files of a report."""
    try:
        yield
    except BaseException:
        with suppress(OSError, ExportError):
            far.update(_committed(staging))
        raise


def _committed(staging: Staging) -> Json:
    marks = {}
    for name in sorted(os.listdir(staging.folder)):
        if name.endswith(SUFFIX) and is_ours(staging.folder, name):
            segment = read_segment(os.path.join(staging.folder, name))
            for mark in segment.marks if segment else ():
                marks[mark.unit, mark.range] = mark
    files = tuple(staging.delivered())
    counts: dict[str, int] = {"read": 0, "written": sum(file["records"] for file in files)}
    units: dict[Any, int] = {}
    for (unit, _), mark in marks.items():
        for what, n in mark.counts:
            counts[what] = counts.get(what, 0) + n
        units[unit] = units.get(unit, 0) + dict(mark.counts).get("read", 0)
    told = tuple({"name": unit.name, "size": unit.size, "read": n} for unit, n in sorted(units.items()))
    return {"counts": counts, "units": told, "files": files}


def of_error(error: BaseException, text: str) -> Report:
    """The report of a run that ended with an error: what the runner knew of it, or what is known without one."""
    found = getattr(error, "report", None)
    report = found if isinstance(found, Report) else Report("failed", error=text)
    if isinstance(error, KeyboardInterrupt) and report.status != "done":
        report = replace(report, status="interrupted", error="")
    if isinstance(error, ConfigError):
        problems = tuple(
            {"file": p.file, "line": p.line, "column": p.column, "path": list(p.path), "message": p.message}
            for p in error.problems
        )
        report = replace(report, problems=problems)
    return report


def refuse_place(path: str) -> None:
    """Before hours of work: the report could not be written at the end. Raises ConfigError."""
    if path == CONSOLE:
        return
    folder = os.path.dirname(path) or "."
    if not path or os.path.isdir(path) or not os.path.isdir(folder):
        raise ConfigError(f"--report {path}: give the name of a file in a folder that exists")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise ConfigError(f"--report {path}: no permission to write there; give another file")


def write(path: str, report: Report) -> None:
    """Raises DestinationError."""
    if path == CONSOLE:
        sys.stdout.write(report.to_json())
        sys.stdout.flush()
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(report.to_json())
    except OSError as error:
        reason = error.strerror or error
        raise DestinationError(f"--report {path}: cannot be written: {reason}; the export is {report.status}") from None
