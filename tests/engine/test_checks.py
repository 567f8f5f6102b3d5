"""Nothing is delivered before the checks of a config hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.reporting.verify import verify

from helpers import delivered, jsonl, visible, write_gz

Run = Callable[..., Any]


def items(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"sku": f"s{n}", "price": n or None, "seller": {"town": "" if n % 4 == 1 else "Ålborg"}, **more} for n in range(count)
    ]


@pytest.fixture
def run(tmp_path: Path, monkeypatch) -> Run:
    """Runs an export of these records, in many small ranges, with these checks; gives the report."""
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 2000)
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 700)

    def go(records: list[dict[str, Any]], checks: dict[str, Any], workers: int | None = None, **sections: Any) -> Any:
        write_gz(tmp_path / "in/0.jl.gz", records[: len(records) // 3])
        (tmp_path / "in/1.jl").write_bytes(jsonl(records[len(records) // 3 :]))
        config = {
            "reader": {"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}},
            "checks": checks,
            "writer": {"name": "fs", "options": {"filebase": str(tmp_path / "out/part-")}},
            **sections,
        }
        (tmp_path / "c.json").write_text(json.dumps(config))
        return exporters_beam.run({name: part for name, part in config.items() if part is not None}, workers=workers)

    return go


WRONG = {
    "too few": ({"records": {"min": 101}}, "100 records, at least 101 are wanted (checks.records.min)"),
    "too many": ({"records": {"max": 99}}, "100 records, at most 99 are wanted (checks.records.max)"),
    "coverage": ({"coverage": {"price": "100%"}}, "price is there in 99.00% of the records, at least 100.00% are wanted"),
    "empty text": ({"coverage": {"seller.town": 0.76}}, "seller.town is there in 75.00% of the records"),
    "no such field": ({"coverage": {"prize": 0.01}}, "prize is there in 0.00% of the records"),
    "unique": ({"unique": ["seller"]}, "98 records of the same seller as an earlier one, which has to be unique"),
    "two": ({"records": {"min": 200}, "coverage": {"x": 0.5}}, "are wanted (checks.records.min); x is there in 0.00%"),
}


EVERY_DAY = ("too few", "coverage", "unique")


@pytest.mark.parametrize("name", [name if name in EVERY_DAY else pytest.param(name, marks=pytest.mark.slow) for name in WRONG])
def test_nothing_is_delivered_where_a_check_does_not_hold(name, run, tmp_path):
    checks, told = WRONG[name]
    with pytest.raises(exporters_beam.DestinationError, match=re.escape(told) + ".*; nothing was delivered"):
        run(items(100), checks)
    assert visible(tmp_path / "out") == {} and not list((tmp_path / "out").rglob("manifest.json"))


HOLDS = {
    "records": {"min": 100, "max": 100},
    "coverage": {"price": 0.99, "seller.town": 0.75},
    "unique": ["sku", "seller.town"],
}


@pytest.mark.parametrize("workers", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_an_export_whose_checks_hold_is_that_without_them(workers, run, tmp_path):
    run(items(100), None)
    without = {name: path.read_bytes() for name, path in visible(tmp_path / "out").items()}
    report = run(items(100), HOLDS, workers)
    assert {name: path.read_bytes() for name, path in visible(tmp_path / "out").items()} == without
    assert verify(report.manifest)[0] == []
    assert json.loads(Path(report.manifest).read_text())["checks"] == {
        "records": 100, "coverage": {"price": 0.99, "seller.town": 0.75}, "repeated": 0}  # fmt: skip


def test_an_export_of_nothing_is_judged(run, tmp_path):
    with pytest.raises(exporters_beam.DestinationError, match="0 records, at least 1 are wanted"):
        run([], {"records": {"min": 1}}, empty="file")
    assert visible(tmp_path / "out") == {}
    run([], {"coverage": {"price": 1}, "unique": ["sku"]}, empty="file")
    assert list(visible(tmp_path / "out")) == ["part-0000.jl.gz"]


def test_what_does_not_hold_may_be_a_warning(run, tmp_path):
    report = run(items(100), {"records": {"min": 101}, "on_fail": "warn"})
    assert "checks: 100 records, at least 101 are wanted (checks.records.min)" in report.warnings
    assert len(delivered(tmp_path / "out")["part-0000.jl.gz"]) == 100


def test_what_is_held_is_released_without_reading_again(run, tmp_path, capsys):
    with pytest.raises(exporters_beam.DestinationError, match="what is staged is held; exporters-beam release CONFIG"):
        run(items(100), {"records": {"min": 101}, "unique": ["price"], "on_fail": "hold"})
    path, report = str(tmp_path / "c.json"), tmp_path / "report.json"
    assert visible(tmp_path / "out") == {}
    assert main(["release", path, "--report", str(report)]) == 0
    assert "delivered all the same: 100 records, at least 101 are wanted" in capsys.readouterr().err
    assert len(delivered(tmp_path / "out")["part-0000.jl.gz"]) == 100
    assert json.loads(report.read_text())["resumed"] == 100
    (manifest,) = (tmp_path / "out").rglob("manifest.json")
    assert json.loads(manifest.read_text())["checks"] == {"records": 100, "released": True}
    assert main(["release", path]) == 2
    assert "no run of this config holds anything back" in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_held_is_judged_again_by_resume_and_removed_by_clean(run, tmp_path, capsys):
    with pytest.raises(exporters_beam.DestinationError):
        run(items(100), {"records": {"min": 101}, "on_fail": "hold"})
    path = str(tmp_path / "c.json")
    assert main(["run", path, "--resume", "--quiet"]) == 1
    assert "at least 101 are wanted" in capsys.readouterr().err
    assert main(["clean", path]) == 0
    assert main(["release", path]) == 2
    assert visible(tmp_path / "out") == {}


def test_the_number_of_records_is_compared_with_earlier_runs(run, tmp_path):
    checks = {"records": {"compared_with": "last 2", "change": "20%"}}
    options = {"filebase": str(tmp_path / "out/%Y-%m-%d/part-")}
    for count in (100, 110, 120):  # Nothing to compare with at first, then 100, then 105 on average.
        run(items(count), checks, writer={"name": "fs", "options": options})
    told = r"139 records, and the last 2 runs had on average 115: that is 20\.9% more, and at most 20\.0% are allowed"
    with pytest.raises(exporters_beam.DestinationError, match=told):
        run(items(139), checks, writer={"name": "fs", "options": options})
    run(items(92), checks, writer={"name": "fs", "options": options})  # One that failed does not count.
    with pytest.raises(exporters_beam.DestinationError, match=r"0 records, .*: that is 100\.0% less"):
        run([], checks, writer={"name": "fs", "options": options})


def test_several_writers_get_all_or_nothing(run, tmp_path, capsys):
    writers = [{"name": "fs", "as": name, "when": f"item['price'] {sign} 50",
                "options": {"filebase": str(tmp_path / name / "part-")}}
               for name, sign in (("dear", ">="), ("cheap", "<"))]  # fmt: skip
    some = [{**item, "price": item["price"] or 0} for item in items(100)]
    with pytest.raises(exporters_beam.DestinationError, match="100 records, at least 101"):
        run(some, {"records": {"min": 101}, "on_fail": "hold"}, writer=None, writers=writers)
    assert not visible(tmp_path / "dear") and not visible(tmp_path / "cheap")
    config = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps({name: part for name, part in config.items() if part is not None}))
    assert main(["release", str(tmp_path / "c.json"), "--quiet"]) == 0
    capsys.readouterr()
    assert [len(delivered(tmp_path / name)["part-0000.jl.gz"]) for name in ("dear", "cheap")] == [50, 50]
    run(some, {"records": {"min": 100}, "unique": ["sku"], "coverage": {"price": 1}}, writer=None, writers=writers)


@pytest.mark.slow
def test_records_that_one_record_became_are_told_apart(run):
    flat = {"name": "python", "options": {"function": "plugin_functions:twice"}}
    with pytest.raises(exporters_beam.DestinationError, match="10 records of the same sku"):
        run(items(10), {"unique": ["sku"]}, transform=flat)


def test_records_that_one_record_became_are_told_apart_in_several_batches(run):
    transform = [{"name": "explode", "options": {"field": field}} for field in ("n", "m")]
    with pytest.raises(exporters_beam.DestinationError, match="2,499 records of the same sku"):
        run([{"sku": "a", "n": list(range(50)), "m": list(range(50))}], {"unique": ["sku"]}, transform=transform)


MISTAKES = {
    "bound": ({"records": {"minimum": 3}}, 'checks.records.minimum: there is no such bound; did you mean "min"?'),
    "min": ({"records": {"min": -1}}, "checks.records.min: -1 is not a number of records"),
    "max below min": ({"records": {"min": 5, "max": 4}}, "checks.records.min: 5 is more than max, 4"),
    "alone": ({"records": {"change": 0.5}}, "checks.records: change and compared_with go together; add compared_with: last 10"),
    "last": (
        {"records": {"compared_with": "10", "change": 1}},
        'checks.records.compared_with: "10" is not "last", or "last 10"',
    ),
    "share": ({"coverage": {"a.b c": 98}}, "checks.coverage.a.b c: 98 is not a share: 0 to 1, or 98%"),
    "per cent": ({"records": {"compared_with": "last", "change": "half"}}, 'checks.records.change: "half" is not a share'),
    "action": ({"on_fail": "holds"}, "checks.on_fail: "),
    "unknown": ({"uniqe": ["a"]}, "checks.uniqe: "),
    "no mapping": (["a"], "checks: wrong type: found a list, expected a mapping"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_check_is_told_with_its_place(mistake, tmp_path, capsys):
    checks, told = MISTAKES[mistake]
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"reader": {"name": "fs", "options": {"input": "in"}}, "checks": checks,
                                "writer": {"name": "fs", "options": {"filebase": "out/a-"}}}))  # fmt: skip
    assert main(["validate", str(path)]) == 2
    assert told in capsys.readouterr().err


def test_a_comparison_needs_a_place_for_books(capsys):
    checks = {"records": {"compared_with": "last", "change": 0.5}}
    with pytest.raises(exporters_beam.ConfigError, match="this export keeps no books in which earlier runs stand"):
        exporters_beam.run({"reader": {"name": "random"}, "checks": checks, "writer": "console"})


def test_the_example_of_the_page(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs/checks.md").read_text()
    (tmp_path / "c.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    monkeypatch.chdir(tmp_path)
    write_gz(tmp_path / "items.jl.gz", items(100)[1:])
    assert main(["run", "c.yaml", "--quiet"]) == 0
    write_gz(tmp_path / "items.jl.gz", items(30)[1:])
    assert main(["run", "c.yaml", "--quiet"]) == 1
    assert "29 records, and the run before had 99: that is 70.7% less" in capsys.readouterr().err
    assert main(["explain", "c.yaml"]) == 0
    assert "- checks: everything is staged and judged before anything is delivered; else it is held" in capsys.readouterr().out
    assert main(["preview", "c.yaml", "-n", "2"]) == 0
    assert main(["release", "c.yaml", "--quiet"]) == 0
