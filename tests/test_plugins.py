"""Components of one's own, by `package.module:Class` and by entry points. The package is tests/sample_plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam import registry
from exporters_beam.__main__ import main

SOURCE = Path(__file__).parent / "sample_plugin" / "src"

ENTRY_POINTS = """\
[exporters_beam.components]
reader.countdown = exporters_beam_sample:CountdownReader
filter.even = exporters_beam_sample:EvenFilter
formatter.tsv = exporters_beam_sample:TsvFormat
"""


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample package can be imported, but is not installed."""
    monkeypatch.syspath_prepend(str(SOURCE))


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str = ENTRY_POINTS) -> None:
    """Put what pip leaves behind where importlib.metadata finds it."""
    info = folder / "exporters_beam_sample-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: exporters-beam-sample\nVersion: 1.0.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(str(folder))


def config(tmp_path: Path, reader: str = "countdown", filter: str = "even", formatter: str = "tsv") -> Any:
    return {
        "reader": {"name": reader, "options": {"start": 205}},
        "filter": {"name": filter, "options": {"field": "number"}},
        "formatter": {"name": formatter, "options": {"columns": ["number"]}},
        "writer": {"name": "fs", "options": {"filebase": str(tmp_path / "out" / "part-"), "compression": "none"}},
    }


BY_CLASS = tuple(f"exporters_beam_sample:{name}" for name in ("CountdownReader", "EvenFilter", "TsvFormat"))

EVEN = "".join(f"{number}\n" for number in ("number", *range(204, 0, -2))).encode()


def test_components_are_found_by_module_and_class(sample: None, tmp_path: Path) -> None:
    given = config(tmp_path, *BY_CLASS)
    report = exporters_beam.run(given)
    assert (report.read, report.written) == (205, 102)
    assert (tmp_path / "out" / "part-0000.tsv").read_bytes() == EVEN


def test_components_are_found_by_the_short_names_of_entry_points(
    sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", monkeypatch)
    report = exporters_beam.run(config(tmp_path))
    assert (report.read, report.written) == (205, 102)
    assert (tmp_path / "out" / "part-0000.tsv").read_bytes() == EVEN


def test_short_names_are_unknown_while_nothing_is_installed(sample: None, tmp_path: Path) -> None:
    with pytest.raises(exporters_beam.ConfigError, match="there is no reader called 'countdown'"):
        exporters_beam.run(config(tmp_path))


def test_a_misspelt_short_name_of_a_plugin_is_recognised(
    sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", monkeypatch)
    with pytest.raises(exporters_beam.ConfigError, match='did you mean "countdown"'):
        registry.find("reader", "countdwon")


def test_options_of_own_components_are_checked_like_ours(sample: None, tmp_path: Path) -> None:
    given = config(tmp_path, *BY_CLASS)
    given["reader"]["options"] = {"strat": 5}
    given["filter"]["options"] = {}
    given["formatter"]["options"] = {"columns": []}
    with pytest.raises(exporters_beam.ConfigError) as caught:
        exporters_beam.run(given)
    assert [str(problem) for problem in caught.value.problems] == [
        'reader.options.strat: unknown option; did you mean "start"?',
        "filter.options.field: this option is missing",
        "formatter.options.columns: give the name of at least one field",
    ]


def test_a_record_that_fails_an_own_component_is_named(sample: None, tmp_path: Path) -> None:
    given = {
        "reader": {"name": "memory", "options": {"records": [{"number": 2}, {"number": "x"}]}},
        "filter": {"name": "exporters_beam_sample:EvenFilter", "options": {"field": "number"}},
        "writer": {"name": "fs", "options": {"filebase": str(tmp_path / "out" / "part-")}},
    }
    with pytest.raises(exporters_beam.ExportError, match=r"record 2.*number is 'x', not a whole number"):
        exporters_beam.run(given)


def test_modules_lists_plugins_and_explains_them(
    sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path / "site", monkeypatch)
    assert main(["modules"]) == 0
    listed = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["reader", "countdown", "Count down from `start` to 1: records with the one field `number`."] in listed
    assert {("filter", "even"), ("formatter", "tsv")} <= {(line[0], line[1]) for line in listed}
    assert main(["modules", "tsv"]) == 0
    told = capsys.readouterr().out
    assert "the fields to write, in order" in told
    assert "options: {columns: [sku, price]}" in told


def test_a_plugin_that_cannot_be_imported_spoils_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path / "site", monkeypatch, "[exporters_beam.components]\nreader.gone = no_such_package_here:Reader\n")
    assert main(["modules"]) == 0
    out = capsys.readouterr().out
    assert "no_such_package_here" in out
    assert "Make up records" in out
    with pytest.raises(exporters_beam.ConfigError, match="gone cannot be imported: No module named"):
        registry.load(registry.find("reader", "gone"))


def test_a_plugin_cannot_take_the_name_of_a_component_of_ours(
    sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path / "site",
        monkeypatch,
        "[exporters_beam.components]\nreader.fs = exporters_beam_sample:CountdownReader\n",
    )
    assert registry.load(registry.find("reader", "fs")).__name__ == "FsReader"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exporters_beam_sample:Nothing", "the module exporters_beam_sample has no class 'Nothing'"),
        ("exporters_beam_sample:RANGE", "is not a component; a component is a frozen dataclass"),
        ("exporters_beam_sample:EvenFilter", "is a filter, not a reader"),
        ("no_such_package_here:Reader", "cannot be imported: No module named 'no_such_package_here'"),
    ],
)
def test_what_is_no_reader_is_refused(sample: None, name: str, message: str) -> None:
    with pytest.raises(exporters_beam.ConfigError) as caught:
        exporters_beam.run({"reader": {"name": name}, "writer": {"name": "console"}})
    assert message in str(caught.value)
    assert "reader.name: " in str(caught.value)
