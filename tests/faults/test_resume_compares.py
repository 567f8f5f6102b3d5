"""`--resume` looks at the input and at what was delivered, always; and it may always be given."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.engine import encode as delivery
from exporters_beam.engine import graph
from exporters_beam.formats import json_lines
from exporters_beam.runners import local as runner

from helpers import hidden, visible, write_gz

BROKEN: list[int] = []


def breaks(record: Any) -> bool:
    """A step that fails as a machine would."""
    if record["id"] in BROKEN:
        raise MemoryError
    return True


@pytest.fixture(autouse=True)
def small(monkeypatch: Any) -> Iterator[None]:
    monkeypatch.setattr(graph, "RANGE_BYTES", 4000)
    monkeypatch.setattr(json_lines, "PIECE", 2000)
    monkeypatch.setattr(delivery, "SEGMENT_SECONDS", 0.0)
    monkeypatch.setattr(runner, "BUNDLE_SECONDS", 0.0)
    BROKEN.clear()
    yield
    BROKEN.clear()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for n in range(4):
        write(tmp_path, n)
    return tmp_path


def write(place: Path, n: int, first: int | None = None) -> Path:
    first = 100 * n if first is None else first
    return write_gz(place / "in" / f"{n}.jl.gz", [{"id": first + i, "g": "abc"[i % 3]} for i in range(100)])


def run(place: Path, out: str = "out", resume: bool = False, writer: Any = (), **more: Any) -> Any:
    return exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": {"dir": str(place / "in")}}},
        "filter_before": {"name": "python", "options": {"function": "test_resume_compares:breaks"}},
        "writer": {"name": "fs", "options": {"filebase": f"{place / out}/part-", "compression": "none", **dict(writer)}},
        "exporter_options": {"resume": resume},
        **more,
    })  # fmt: skip


def break_off(place: Path, at: int = 350, **more: Any) -> None:
    BROKEN[:] = [at]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(exporters_beam.ExportError):
        if "filter_after" in more:  # A dedupe lets nothing through before it has everything.
            patch.setattr("exporters_beam.engine.publishing.PublishFile.process", stopped)
            BROKEN.clear()
        run(place, **more)
    BROKEN.clear()
    assert list((place / "out").glob(".exporters/*/staged/*.segment"))


def stopped(*_: Any) -> Any:
    raise MemoryError


def complete(place: Path, **more: Any) -> None:
    run(place, **more)


def appended(place: Path) -> str:
    write(place, 9)
    return "new: {}/in/9.jl.gz"


def before(place: Path) -> str:
    write(place, 9).rename(place / "in" / "00.jl.gz")
    return "new: {}/in/00.jl.gz"


def other_content(place: Path) -> str:
    """The same size, perhaps; in any case another time."""
    path = write(place, 0, 5)
    os.utime(path, ns=(1, 1))
    return "changed: {}/in/0.jl.gz"


def not_read_yet(place: Path) -> str:
    write(place, 3, 7)
    return "changed: {}/in/3.jl.gz"


def gone(place: Path) -> str:
    (place / "in" / "3.jl.gz").unlink()
    return "gone: {}/in/3.jl.gz"


def all_at_once(place: Path) -> str:
    write(place, 7), write(place, 8), write(place, 1, 3)
    (place / "in" / "0.jl.gz").unlink()
    return "new: {0}/in/7.jl.gz, {0}/in/8.jl.gz; changed: {0}/in/1.jl.gz; gone: {0}/in/0.jl.gz"


SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "dedupe": {"filter_after": {"name": "dupe", "options": {"key_field": "g"}}},
    "parquet": {"formatter": {"name": "parquet"}},
}


@pytest.mark.parametrize(
    ("shape", "begin", "change"),
    [
        *(("plain", break_off, change) for change in (appended, before, other_content, not_read_yet, gone, all_at_once)),
        *(("plain", complete, change) for change in (appended, other_content, gone)),
        *((shape, begin, appended) for shape in ("dedupe", "parquet") for begin in (break_off, complete)),
    ],
)
def test_changed_input_is_refused_and_named(
    place: Path, shape: str, begin: Callable[..., None], change: Callable[[Path], str]
) -> None:
    begin(place, **SHAPES[shape])
    there = {name: path.read_bytes() for name, path in visible(place / "out").items()}
    told = change(place).format(place)
    with pytest.raises(exporters_beam.ConfigError) as error:
        run(place, resume=True, **SHAPES[shape])
    which = "was completed" if begin is complete else "was broken off"
    assert str(error.value) == (
        f"--resume: the input has changed since the run that {which}: {told}; run without --resume to begin again"
    )
    assert {name: path.read_bytes() for name, path in visible(place / "out").items()} == there


def test_many_changes_are_told_in_few_words(place: Path) -> None:
    run(place)
    for n in range(20, 40):
        write(place, n)
    with pytest.raises(exporters_beam.ConfigError, match=r"24\.jl\.gz and 15 more; run without"):
        run(place, resume=True)


def test_all_input_is_gone(place: Path) -> None:
    run(place)
    for path in (place / "in").iterdir():
        path.unlink()
    with pytest.raises(exporters_beam.ConfigError, match=r"0\.jl\.gz"):
        run(place, resume=True)


def test_with_a_limit_only_what_was_read_is_compared(place: Path) -> None:
    limited = {"writer": {"items_limit": 50}}
    first = run(place, **limited)
    write(place, 9)
    assert run(place, resume=True, **limited).counts == first.counts
    write(place, 0, 7)
    with pytest.raises(exporters_beam.ConfigError, match=r"changed: \S+0\.jl\.gz"):
        run(place, resume=True, **limited)


@pytest.mark.parametrize("touch", [
    lambda path: path.unlink(),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes().swapcase()),
])  # fmt: skip
@pytest.mark.parametrize("more", [{}, {"writer": {"items_limit": 50}}])
def test_delivered_files_that_are_gone_or_touched_are_made_again(
    place: Path, touch: Callable[[Path], Any], more: Any, caplog: Any
) -> None:
    run(place, **more)
    files = {name: path.read_bytes() for name, path in visible(place / "out").items()}
    touch(place / "out" / "part-0000.jl")
    with caplog.at_level(logging.WARNING):
        run(place, resume=True, **more)
    assert f"{place}/out/part-0000.jl is gone or has changed; it is made again" in caplog.text
    assert {name: path.read_bytes() for name, path in visible(place / "out").items()} == files
    assert [Path(name).name for name in hidden(place / "out")] == ["manifest.json"]


def test_a_file_of_checksums_that_is_gone_is_made_again(place: Path) -> None:
    run(place, writer={"generate_md5": True})
    (place / "out" / "md5checksum.md5").unlink()
    run(place, resume=True, writer={"generate_md5": True})
    assert (place / "out" / "md5checksum.md5").exists()


def test_what_was_only_touched_is_as_it_was_delivered(place: Path, caplog: Any) -> None:
    run(place)
    path = place / "out" / "part-0000.jl"
    path.touch()
    before = path.stat().st_mtime_ns
    run(place, resume=True)
    assert "the export is complete already" in caplog.text and path.stat().st_mtime_ns == before


def nothing(place: Path) -> None:
    """A first run ever."""


def failed_at_once(place: Path) -> None:
    BROKEN[:] = [0]
    with pytest.raises(exporters_beam.ExportError):
        run(place)
    BROKEN.clear()


def cleaned(place: Path) -> None:
    from exporters_beam.config.spec import load
    from exporters_beam.planning.plan import make
    from exporters_beam.runners.books import clean

    break_off(place)
    (about,) = (place / "out").glob(".exporters/*/export.json")
    config = {"filter_before": {"name": "python", "options": {"function": "test_resume_compares:breaks"}},
              "reader": {"name": "fs", "options": {"input": {"dir": str(place / "in")}}},
              "writer": {"name": "fs", "options": {"filebase": f"{place}/out/part-", "compression": "none"}}}  # fmt: skip
    assert list(clean(make(load(config))))
    assert not about.exists()


def other_export_unfinished(place: Path) -> None:
    """Another export to the same folder has left its work."""
    break_off(place, writer={"filebase": f"{place}/out/other-"})


@pytest.mark.parametrize("begin", [nothing, failed_at_once, cleaned, other_export_unfinished])
def test_nothing_to_resume_runs_from_the_start_and_says_so(place: Path, begin: Callable[[Path], None], caplog: Any) -> None:
    begin(place)
    caplog.clear()
    report = run(place, resume=True)
    assert (report.read, report.written, report.resumed) == (400, 400, 0)
    (said,) = [record.getMessage() for record in caplog.records if "--resume" in record.getMessage()]
    assert said == f"--resume: there is nothing to resume in {place}/out/.exporters; the export runs from the start"


def test_an_export_that_keeps_nothing_runs_from_the_start(place: Path, caplog: Any) -> None:
    report = exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": {"dir": str(place / "in")}}},
        "writer": {"name": "console"},
        "exporter_options": {"resume": True},
    })  # fmt: skip
    assert report.written == 400 and "nothing to resume" in caplog.text


def test_a_run_of_yesterday_that_kept_nothing_does_not_give_its_dates(place: Path, monkeypatch: Any) -> None:
    """export.json alone, as of a run that was killed before it had read anything."""
    from datetime import datetime

    from exporters_beam.config.spec import load
    from exporters_beam.planning.place import books_of
    from exporters_beam.planning.plan import make
    from exporters_beam.runners.books import _write_about

    config = {"reader": {"name": "fs", "options": {"input": {"dir": str(place / "in")}}},
              "writer": {"name": "fs", "options": {"filebase": f"{place}/out/%Y-%m-%d/part-"}},
              "exporter_options": {"resume": True}}  # fmt: skip
    old = make(load(config), datetime(2020, 1, 2))
    os.makedirs(books_of(old).folder)
    _write_about(old, books_of(old))
    report = exporters_beam.run(config)
    assert "2020" not in report.files[0]["name"]


def test_counts_after_a_resume_are_true(place: Path) -> None:
    more: dict[str, Any] = {
        "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(x=1 / (item['id'] % 50))"]}},
        "filter_after": {"name": "pythonexp", "options": {"python_expression": "item['g'] != 'b'"}},
        "on_error": "dead_letter",
    }
    whole = run(place, "whole", **{**more, "filter_before": None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporters_beam.engine.publishing.PublishFile.process", stopped)
        with pytest.raises(exporters_beam.ExportError):
            run(place, **{**more, "filter_before": None})
    report = run(place, resume=True, **{**more, "filter_before": None})
    assert dict(report.counts) == dict(whole.counts) and report.resumed == 400
    assert [f["md5"] for f in report.files] == [f["md5"] for f in whole.files]
    assert report.dead_letters["records"] == whole.dead_letters["records"] == 8
    told = json.loads(Path(report.manifest).read_text())
    assert [unit["name"] for unit in told["units"]] == [f"{place}/in/{n}.jl.gz" for n in range(4)]


def test_a_list_of_steps_is_gone_on_with_and_a_changed_one_is_named(place: Path) -> None:
    def more(expression: str) -> dict[str, Any]:
        return {
            "filter_before": None,
            "on_error": "dead_letter",
            "steps": [
                {"filter": {"name": "python", "options": {"function": "test_resume_compares:breaks"}}},
                {
                    "transform": {
                        "name": "pythonexp",
                        "options": {"python_expressions": ["item.update(x=1 / (item['id'] % 50))"]},
                    }
                },
                {"filter": {"name": "pythonexp", "options": {"python_expression": expression}}, "as": "not_b"},
            ],
        }

    whole = run(place, "whole", **more("item['g'] != 'b'"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporters_beam.engine.publishing.PublishFile.process", stopped)
        with pytest.raises(exporters_beam.ExportError):
            run(place, **more("item['g'] != 'b'"))
    (staged,) = (place / "out").glob(".exporters/*/export.json")
    assert [*json.loads(staged.read_text())["config"]["steps"][2]] == ["filter", "as"]
    told = r"steps\[2\]\.filter\.options\.python_expression was \"item\['g'\] != 'b'\" and is \"item\['g'\] != 'c'\""
    with pytest.raises(exporters_beam.ConfigError, match=told):
        run(place, resume=True, **more("item['g'] != 'c'"))
    report = run(place, resume=True, **more("item['g'] != 'b'"))
    assert dict(report.counts) == dict(whole.counts) and report.resumed == 400
    assert report.counts["not_b.dropped"] == 132 and report.counts["transform_2.dead_lettered"] == 8
    assert [f["md5"] for f in report.files] == [f["md5"] for f in whole.files]


def test_the_random_reader_goes_on_with_what_it_has_drawn(place: Path, monkeypatch: Any) -> None:
    told: dict[str, Any] = {"reader": {"name": "random", "options": {"number_of_items": 50}}, "filter_before": None}
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.engine.publishing.PublishFile.process", stopped)
        with pytest.raises(exporters_beam.ExportError):
            run(place, **told)
    (segment,) = (place / "out").glob(".exporters/*/staged/*.segment")
    staged = segment.read_bytes()
    run(place, resume=True, **told)
    delivered = (place / "out" / "part-0000.jl").read_bytes()
    assert delivered.rstrip(b"\n") in staged
    run(place, resume=True, **told)  # It is complete: nothing is drawn again.
    assert (place / "out" / "part-0000.jl").read_bytes() == delivered
    (place / "out" / "part-0000.jl").unlink()
    run(place, resume=True, **told)
    assert (place / "out" / "part-0000.jl").read_bytes() == delivered
    run(place, **told)
    assert (place / "out" / "part-0000.jl").read_bytes() != delivered


def test_exports_with_one_staging_folder_and_two_destinations_never_mix(place: Path, monkeypatch: Any) -> None:
    told: dict[str, Any] = {"staging": str(place / "staging"), "filter_before": None, "writer": {"filebase": "part-"}}
    for folder in ("a", "b"):
        (place / folder).mkdir()
    monkeypatch.chdir(place / "a")
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.engine.publishing.PublishFile.process", stopped)
        with pytest.raises(exporters_beam.ExportError):
            run(place, **told)
    monkeypatch.chdir(place / "b")
    assert run(place, resume=True, **told).resumed == 0
    monkeypatch.chdir(place / "a")
    assert not list(Path().glob("part-*"))
    assert run(place, resume=True, **told).resumed == 400
    assert Path("part-0000.jl").read_bytes() == (place / "b" / "part-0000.jl").read_bytes()


def test_code_that_has_changed_is_not_mixed(place: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(place))
    module = place / "changing_module.py"
    module.write_text("def keeps(record):\n    return True\n")
    told: dict[str, Any] = {"filter_before": {"name": "python", "options": {"function": "changing_module:keeps"}}}
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.engine.publishing.PublishFile.process", stopped)
        with pytest.raises(exporters_beam.ExportError):
            run(place, **told)
    before = module.read_bytes()
    module.write_text("def keeps(record):\n    return False\n")
    with pytest.raises(exporters_beam.ConfigError, match="--resume: the code of changing_module has changed since"):
        run(place, resume=True, **told)
    module.write_bytes(before)
    assert run(place, resume=True, **told).resumed == 400


def test_tables_that_have_changed_are_not_mixed(place: Path, monkeypatch: Any) -> None:
    table = place / "table.csv"
    table.write_text("id,name\n7,seven\n")
    told: dict[str, Any] = {"transform": {"name": "lookup", "options": {"file": str(table), "key": "id"}}}
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.engine.publishing.PublishFile.process", stopped)
        with pytest.raises(exporters_beam.ExportError):
            run(place, **told)
    before = table.read_bytes()
    table.write_text("id,name\n7,SEVEN\n")
    with pytest.raises(exporters_beam.ConfigError, match=f"--resume: {table} has changed since the run that left its work in"):
        run(place, resume=True, **told)
    table.write_bytes(before)
    report = run(place, resume=True, **told)
    assert report.resumed == 400 and report.counts["transform.matched"] == 1
    table.write_text("id,name\n7,SEVEN\n")
    with pytest.raises(exporters_beam.ConfigError, match=f"--resume: {table} has changed since the run that was completed"):
        run(place, resume=True, **told)
