"""A runner that begins again by itself: what the run has staged by then is not read again, and delivered once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import exporters_beam
from exporters_beam.components.options import option
from exporters_beam.config.spec import load
from exporters_beam.engine import encode as delivery
from exporters_beam.engine.graph import build
from exporters_beam.planning.place import books_of
from exporters_beam.planning.plan import make
from exporters_beam.staging.run import Run

from helpers import delivered, jsonl, visible, write_gz

SEEN: Counter[int] = Counter()
BREAKS_AT: list[int] = []


@dataclass(frozen=True, kw_only=True)
class Breaks:
    """Notes what it sees; fails at a record, as a machine would."""

    kind: ClassVar[str] = "transform"

    name: str = option("nothing", default="")

    def map(self, record: Any) -> Any:
        SEEN[record["id"]] += 1
        if record["id"] in BREAKS_AT:
            raise KeyboardInterrupt
        return record


def gz(folder: Path) -> None:
    for n in range(4):
        write_gz(folder / f"{n}.jl.gz", [{"id": n * 10 + i, "group": i % 3} for i in range(10)])


def one_large(folder: Path) -> None:
    """Four ranges, a few records each."""
    folder.mkdir(parents=True)
    (folder / "0.jl").write_bytes(jsonl([{"id": i, "group": i % 3, "text": "x" * (2 << 20)} for i in range(40)]))


@pytest.mark.parametrize("source", [gz, one_large])
def test_what_was_staged_before_the_runner_began_again_is_taken_in(source: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(delivery, "SEGMENT_SECONDS", 0.0)  # A segment is committed at the end of each range.
    source(tmp_path / "in")
    config = {
        "reader": {"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}},
        "transform": {"name": "test_again:Breaks"},
        "grouper": {"name": "file_key", "options": {"keys": ["group"]}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/{{groups[0]}}-"}},
    }
    plan = make(load(config))
    books = books_of(plan)
    run = Run(plan.export_id, books.staging, books.scratch, books.folder, (("runner", "x"),), pieces=4, again=True)

    def once(run: Run) -> None:
        SEEN.clear()
        pipeline = beam.Pipeline(FnApiRunner())
        build(plan, pipeline, run)
        pipeline.run().wait_until_finish()

    BREAKS_AT[:] = [25]
    with pytest.raises(BaseException):  # noqa: B017
        once(run)
    staged = {path.name for path in Path(books.staging.folder).glob("*.segment")}
    before = set(SEEN) - {25}
    assert staged and before
    BREAKS_AT[:] = []
    once(run)
    again = before & set(SEEN)
    assert len(before) - len(again) > 0 and len(again) < 10
    assert 25 in SEEN
    found = delivered(tmp_path / "out")
    assert sorted(record["id"] for records in found.values() for record in records) == list(range(40))
    files = {name: path.read_bytes() for name, path in visible(tmp_path / "out").items()}
    config["writer"]["options"]["filebase"] = f"{tmp_path}/whole/{{groups[0]}}-"
    exporters_beam.run(config)
    assert files == {name: path.read_bytes() for name, path in visible(tmp_path / "whole").items()}


def test_what_another_run_has_left_is_not_taken_in(tmp_path: Path, monkeypatch: Any) -> None:
    from exporters_beam.staging.segments import staged_ranges

    monkeypatch.setattr(delivery, "SEGMENT_SECONDS", 0.0)
    gz(tmp_path / "in")
    plan = make(load({
        "reader": {"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}},
        "transform": {"name": "test_again:Breaks"},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-"}},
    }))  # fmt: skip
    books = books_of(plan)
    BREAKS_AT[:] = [25]
    pipeline = beam.Pipeline(FnApiRunner())
    build(plan, pipeline, Run(plan.export_id, books.staging, books.scratch, books.folder, pieces=4, again=True))
    with pytest.raises(BaseException):  # noqa: B017
        pipeline.run().wait_until_finish()
    BREAKS_AT[:] = []
    found = staged_ranges(books.staging.folder, frozenset())
    assert found
    left = frozenset(path.name for path in Path(books.staging.folder).glob("*.segment"))
    assert staged_ranges(books.staging.folder, left) == {}
