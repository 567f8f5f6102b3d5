"""What a run says of itself when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from exporters_beam.config.delta import DELTA
from exporters_beam.decimals import beyond_json
from exporters_beam.errors import printable
from exporters_beam.records import Json
from exporters_beam.reporting.fields import table


@dataclass(frozen=True)
class Report:
    """The outcome of one run.

    `status` is "done", "failed" or "interrupted". `counts` has `read`, `written` and what each step did
    (`filter_before.dropped`, …). `files` are the delivered files with name, group, records, bytes and md5, `targets` what was
    sent in batches, to a database or a service. `result` is what the writers `reduce` and `aggregation_stats` found.
    `seconds` is the wall time, `times` the seconds of the stages as sampled by the workers, `resumed` the records that an
    earlier run had done, `dead_letters` the file of records that failed, like one of `files`, `statistics` those of fields,
    `drift` what changed in these since the run before, `windows` what the manifest says of windows of time, `error` the
    message of a failed run. What a run that did not end well has committed is in `counts` and `units`; `problems` are those
    of a config that is wrong, with file, line, column, path and message. `filters` are the names of the steps that are
    filters. Of an export to several writers `writers` tells what became of it for each; `counts`, `files` and `targets` are
    those of all together. A `note` says why nothing was done where nothing is new.
    """

    status: str
    export_id: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    files: tuple[Mapping[str, Any], ...] = ()
    targets: tuple[Mapping[str, Any], ...] = ()
    units: tuple[Mapping[str, Any], ...] = ()
    result: Any = None
    warnings: tuple[str, ...] = ()
    error: str = ""
    manifest: str = ""
    started: str = ""
    seconds: float = 0.0
    runner: str = "local"
    resumed: int = 0
    times: Mapping[str, float] = field(default_factory=dict)
    dead_letters: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Mapping[str, Any], ...] = ()
    filters: tuple[str, ...] = ("filter_before", "filter_after")
    statistics: Mapping[str, Any] = field(default_factory=dict)
    drift: Mapping[str, Any] = field(default_factory=dict)
    windows: Mapping[str, Any] = field(default_factory=dict)
    writer: str = ""
    writers: tuple[Mapping[str, Any], ...] = ()
    note: str = ""

    @property
    def read(self) -> int:
        return self.counts.get("read", 0)

    @property
    def written(self) -> int:
        return self.counts.get("written", 0)

    @property
    def filtered(self) -> int:
        """Records that filters dropped, duplicates among them."""
        dropped = (f"{name}.{what}" for name in self.filters for what in ("dropped", "duplicates"))
        return sum(self.counts.get(name, 0) for name in dropped)

    def as_dict(self) -> Json:
        """The report as `--report` writes it."""
        return {
            "status": self.status,
            "export": self.export_id,
            "runner": self.runner,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "times": dict(self.times),
            "counts": dict(self.counts),
            "resumed": self.resumed,
            "files": list(self.files),
            **({"targets": list(self.targets)} if self.targets else {}),
            "units": list(self.units),
            **({"result": self.result} if self.result is not None else {}),
            **({"dead_letters": dict(self.dead_letters)} if self.dead_letters else {}),
            **({"statistics": dict(self.statistics)} if self.statistics else {}),
            **({"drift": dict(self.drift)} if self.drift else {}),
            **({"windows": dict(self.windows)} if self.windows else {}),
            **({"error": self.error} if self.error else {}),
            **({"problems": list(self.problems)} if self.problems else {}),
            **({"writers": list(self.writers)} if self.writers else {}),
            "warnings": list(self.warnings),
            "manifest": self.manifest,
            **({"note": self.note} if self.note else {}),
        }

    def of_writer(self) -> Json:
        """The part of one writer in the report of all."""
        own = {name: value for name, value in self.as_dict().items() if name in _OF_A_WRITER}
        return {"writer": self.writer, **own}

    def to_json(self) -> str:
        text = json.dumps(self.as_dict(), ensure_ascii=False, indent=2, default=beyond_json) + "\n"
        return text.encode("utf-8", "backslashreplace").decode()  # lone surrogates as escapes

    def summary(self) -> str:
        """The closing table of the command line."""
        if self.note:
            return self.note
        again = f", {self.resumed:,} of them by an earlier run" if self.resumed else ""
        unknown = self.counts.get("not_counted")  # of copied objects
        more = f", and those of {unknown:,} objects that do not tell" if unknown else ""
        rows = [("read", f"{self.read:,} records{more}{again}"), *self._steps(),
                ("written", f"{self.written:,} records{more}")]  # fmt: skip
        size = sum(int(file["bytes"]) for file in self.files)
        if self.files:
            rows.append(("delivered", f"{len(self.files):,} file{'s' if len(self.files) != 1 else ''}, {human(size)}"))
        rows += [("windows", text) for text in of_windows(self.windows)]
        for each in self.writers:
            rows.append((str(each["writer"]), f"{each['counts'].get('written', 0):,} records; manifest {each['manifest']}"))
        for target in self.targets:
            many = f"{target['batches']:,} batch{'es' if target['batches'] != 1 else ''}"
            rows.append(("delivered", f"{many} to {target['name']}"))
        rate = f", {self.read / self.seconds:,.0f} records/s" if self.seconds and self.read else ""
        rows.append(("took", f"{self.seconds:.1f} s{rate}"))
        if self.dead_letters:
            rows.append(("dead letters", str(self.dead_letters["name"])))
        if self.manifest:
            rows.append(("manifest", self.manifest))
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {printable(text)}" for name, text in rows]
        for each in self.writers or ({"statistics": self.statistics},):
            found = table(each.get("statistics", {}))
            lines += [f"\n{each['writer']}" if "writer" in each and found else "", *found] if found else []
        return "\n".join(lines)

    def line(self) -> str:
        """The same in one line, for one batch of many."""
        size = sum(int(file["bytes"]) for file in self.files)
        files = f" in {len(self.files):,} file{'s' if len(self.files) != 1 else ''}, {human(size)}" if self.files else ""
        return f"{self.started[:19].replace('T', ' ')}  {self.written:,} records{files}, {self.seconds:.1f} s"

    def _steps(self) -> list[tuple[str, str]]:
        words = {"dropped": "dropped", "duplicates": "duplicates", "added": "added",
                 "matched": "with a match", "unmatched": "without a match",
                 "skipped": "failed and skipped", "dead_lettered": "failed, now dead letters"}  # fmt: skip
        of_delta = {f"{DELTA}.dropped": "unchanged", f"{DELTA}.added": "deleted"}
        rows = []
        for name, n in self.counts.items():
            step, _, what = name.rpartition(".")
            if what in words:
                rows.append((step, f"{n:,} {of_delta.get(name, words[what])}"))
        return rows


def of_windows(told: Mapping[str, Any]) -> Iterator[str]:
    """What a manifest says of windows, in a line; none where it says nothing."""
    if not told:
        return
    late = [window for window, found in told["delivered"].items() if found.get("late")]
    found = [(len(told["complete"]), "complete"), (len(late), "with late records"), (len(told["open"]), "still open")]
    yield ", ".join(f"{n:,} {what}" for n, what in found if n) or "none"


_OF_A_WRITER = (
    "status",
    "export",
    "counts",
    "resumed",
    "files",
    "targets",
    "dead_letters",
    "statistics",
    "drift",
    "windows",
    "error",
    "manifest",
)
"""What the report of all writers tells of each; the rest is the same for all."""


def together(reports: Sequence[Report]) -> Report:
    """The report of an export to several writers, of those of each; of one it is that."""
    first = reports[0]
    if not first.writer:
        return first
    counts = {name: n for name, n in first.counts.items() if all(each.counts.get(name) == n for each in reports)}
    for report in reports:
        counts |= {f"{report.writer}.{name}": n for name, n in report.counts.items() if name not in counts}
    counts["written"] = sum(report.written for report in reports)
    return replace(
        first,
        counts=counts,
        files=tuple(file for report in reports for file in report.files),
        targets=tuple(target for report in reports for target in report.targets),
        resumed=min(report.resumed for report in reports),
        times={name: seconds for report in reports for name, seconds in report.times.items()},
        dead_letters={},
        statistics={},
        drift={},
        windows={},
        manifest="",
        writers=tuple(report.of_writer() for report in reports),
    )


def human(size: float) -> str:
    """Bytes as people read them.

    >>> human(999), human(1536), human(5 * 1024**3)
    ('999 bytes', '1.5 KiB', '5.0 GiB')
    """
    if size < 1024:
        return f"{size:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1024 or unit == "TiB":
            return f"{size:.1f} {unit}"
    raise AssertionError
