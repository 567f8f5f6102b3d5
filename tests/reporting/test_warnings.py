"""What readers and ranges warn of stands in log, report and manifest, once, and is no unit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.engine.closing import some_of
from exporters_beam.readers.fs import FsReader
from exporters_beam.records import Mark, Unit, Warned
from exporters_beam.reporting.report import Report
from exporters_beam.staging.segments import Staging, read_segment


@dataclass(frozen=True, kw_only=True)
class Warning(FsReader):
    """Read files, and warn twice of the same."""

    def units(self) -> Iterator[Unit | Warned]:  # type: ignore[override]
        yield Warned("b: it is passed over")
        yield from super().units()
        yield Warned("b: it is passed over")


def test_what_a_reader_warns_of_is_told(
    tmp_path: Path, export: Callable[..., Report], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.jl").write_text('{"id": 1}\n')
    report = export({"name": f"{__name__}:Warning", "options": {"input": str(tmp_path / "a.jl")}})
    assert (report.read, len(report.units)) == (1, 1)
    assert report.warnings[-1] == "b: it is passed over"
    assert json.loads(Path(report.manifest).read_text())["warnings"] == ["b: it is passed over"]
    said = [entry.getMessage() for entry in caplog.records if entry.levelname == "WARNING"]
    assert said.count("b: it is passed over") == 1


def test_warnings_of_a_range_are_committed_with_it(tmp_path: Path) -> None:
    segment = Staging(str(tmp_path)).create()
    segment.commit([Mark(Unit(0, "a"), 0, (("read", 1),), True, warnings=("its counts are wrong",))])
    found: Any = read_segment(segment.path)
    assert found.marks[0].warnings == ("its counts are wrong",)


def test_a_manifest_holds_no_endless_list_of_warnings() -> None:
    assert some_of([str(n) for n in range(100)]) == [str(n) for n in range(100)]
    assert some_of([str(n) for n in range(1102)])[-1] == "and 1,002 more warnings"
