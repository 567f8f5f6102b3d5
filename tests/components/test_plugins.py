"""Components of one's own, by `package.module:Class` and by entry points. The package is tests/sample_plugin."""

from __future__ import annotations

import ast
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.components import registry

SOURCE = Path(__file__).parent.parent / "sample_plugin" / "src"

ENTRY_POINTS = """\
[exporters_beam.components]
reader.countdown = exporters_beam_sample:CountdownReader
filter.even = exporters_beam_sample:EvenFilter
formatter.tsv = exporters_beam_sample:TsvFormat
reader.shelf = exporters_beam_sample.shelf:ShelfReader
writer.shelf = exporters_beam_sample.shelf:ShelfWriter
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


def test_a_storage_of_ones_own_delivers_and_reads(sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", monkeypatch)
    monkeypatch.chdir(tmp_path)
    writer = {
        "name": "shelf",
        "options": {"file": "shop.sqlite", "filebase": "dumps/{groups[0]}/part-", "generate_md5": True},
    }
    grouper = {"name": "python_exp", "options": {"python_expressions": ["item['number'] % 3"]}}
    given = {**config(tmp_path), "grouper": grouper, "formatter": "json", "writer": writer, "staging": "staging"}
    report = exporters_beam.run(given)
    assert report.written == 102 and [file["records"] for file in report.files] == [34, 34, 34]
    assert report.files[0]["name"] == f"shelf://{tmp_path}/shop.sqlite/dumps/0/part-0000.jl.gz"
    again = exporters_beam.run(given)
    assert again.files == report.files

    reader = {"name": "shelf", "options": {"file": "shop.sqlite", "prefix": ["dumps/1", "dumps/2"]}}
    back = {"reader": reader, "filter": {"name": "even", "options": {"field": "number"}}}
    read = exporters_beam.run({**back, "writer": {"name": "memory", "options": {"filebase": "p-", "compression": "none"}}})
    assert (read.read, read.written) == (68, 68)
    assert [unit["name"].partition("dumps/")[2] for unit in read.units] == [f"{n}/part-0000.jl.gz" for n in (1, 2)]
    back["reader"]["options"]["prefix"] = "dumps/"
    with pytest.raises(exporters_beam.ConfigError, match=r"shelf:///.* are among those that the reader reads"):
        exporters_beam.run({**back, "grouper": grouper, "writer": writer, "staging": "staging"})


def test_verify_reads_the_storage_of_a_package_by_its_scheme_or_by_the_config(
    sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    writer = {"name": "exporters_beam_sample.shelf:ShelfWriter", "options": {"file": "a.sqlite"}}
    given = {"reader": {"name": "memory", "options": {"records": [{"n": 1}]}}, "writer": writer, "staging": "staging"}
    Path("export.json").write_text(json.dumps(given))
    exporters_beam.run(given)
    (manifest,) = map(str, Path("staging").rglob("manifest.json"))
    assert main(["verify", manifest]) == 1
    assert "shelf://" in capsys.readouterr().err
    assert main(["verify", manifest, "--config", "export.json"]) == 0
    storages = "[exporters_beam.storages]\nshelf = exporters_beam_sample.shelf:ShelfStorage\n"
    install(tmp_path / "site", monkeypatch, storages)
    assert main(["verify", manifest]) == 0
    assert "ok, 1 files, 1 records" in capsys.readouterr().out
    with sqlite3.connect("a.sqlite") as connection:
        connection.execute("DELETE FROM files")
    assert main(["verify", manifest]) == 1
    assert "there is no file" in capsys.readouterr().err


def test_the_sample_imports_what_is_listed_for_packages_alone() -> None:
    listed = (SOURCE.parent.parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("exporters_beam"):
                assert f"`{node.module}`" in listed, (path, node.module)
                assert not any(name.name.startswith("_") for name in node.names)


def test_short_names_are_unknown_while_nothing_is_installed(sample: None, tmp_path: Path) -> None:
    with pytest.raises(exporters_beam.ConfigError, match="there is no reader called 'countdown'"):
        exporters_beam.run(config(tmp_path))


def test_a_misspelt_short_name_of_a_plugin_is_recognised(sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


BROKEN = {
    "quits": (
        "import sys\nsys.exit('bye')\n",
        "the module quits_plugin ends the program when it is imported (sys.exit)",
    ),
    "raises": ("raise RuntimeError('two\\nlines')\n", "RuntimeError: two lines"),
    "bad": ("def f(:\n", "bad_plugin.py, line 2: invalid syntax"),
    "lacks": ("import no_such_package_here\n", "No module named 'no_such_package_here'"),
    "loops": ("def f():\n    f()\nf()\n", "RecursionError: maximum recursion depth exceeded"),
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installed packages that cannot be used, each in its way, beside the sample package, which can."""
    site = tmp_path / "site"
    lines = [f"reader.{name} = {name}_plugin:Reader" for name in BROKEN]
    lines += ["reader.none = exporters_beam_sample:Nothing", "reader.even = exporters_beam_sample:EvenFilter",
              "reader.fs = exporters_beam_sample:CountdownReader", "raeder.x = exporters_beam_sample:CountdownReader",
              "countdown = exporters_beam_sample:CountdownReader", "writer.odd = odd_plugin:Odd"]  # fmt: skip
    install(site, monkeypatch, ENTRY_POINTS + "\n".join(lines))
    for name, (source, _) in BROKEN.items():
        (site / f"{name}_plugin.py").write_text(f"print('noise of {name}')\n{source}")
    (site / "odd_plugin.py").write_text(
        "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Odd:\n"
        "    x: int = dataclasses.field(default=1, metadata={'option': 3})\n"
    )
    return site


def test_broken_plugins_are_named_and_the_rest_goes_on(
    sample: None, broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["modules"], ["schema"]):
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert "noise" not in out
        told = [line for line in err.splitlines() if line.startswith("warning: exporters-beam-sample: ")]
        for name, (_, message) in BROKEN.items():
            assert [line for line in told if f"the reader {name} cannot be imported: " in line and message in line]
        assert any("the module exporters_beam_sample has no class 'Nothing'" in line for line in told)
        assert any("the reader even is a filter, not a reader" in line for line in told)
        assert any("the reader fs is not used: a component of exporters-beam has this name" in line for line in told)
        assert any("the entry point 'raeder.x' is not used; its name has to be KIND.NAME" in line for line in told)
        assert any("the entry point 'countdown' is not used" in line for line in told)
        assert any("the writer odd has options that cannot be read: TypeError" in line for line in told)
        assert len(told) == len(BROKEN) + 6
        assert "countdown" in out
    assert exporters_beam.run(config(tmp_path)).written == 102


@pytest.mark.parametrize("name", BROKEN)
def test_a_config_that_uses_a_broken_plugin_gets_one_sentence(
    name: str, broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"reader: {name}\nwriter: console\n")
    for command in ("validate", "run", "explain", "preview"):
        assert main([command, str(path)]) == 2
        out, err = capsys.readouterr()
        problems = [line for line in err.splitlines() if line.startswith("error: ")]
        assert out == ""
        assert len(problems) == 1
        assert problems[0].startswith(f"error: {path}:1:1: reader: the reader {name} cannot be imported: ")
        assert BROKEN[name][1] in problems[0]


def test_the_schema_knows_installed_plugins(
    sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path / "site", monkeypatch)
    assert main(["schema"]) == 0
    validator = Draft202012Validator(json.loads(capsys.readouterr().out))
    assert validator.is_valid(config(tmp_path))
    assert not validator.is_valid(config(tmp_path) | {"reader": {"name": "countdown", "options": {"strat": 1}}})


def test_two_plugins_of_one_name_are_told(sample: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", monkeypatch)
    info = tmp_path / "other" / "other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[exporters_beam.components]\nreader.countdown = other:Reader\n")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    with pytest.raises(
        exporters_beam.ConfigError, match="several packages have a reader called 'countdown': other:Reader of other"
    ):
        exporters_beam.run(config(tmp_path))


@pytest.mark.parametrize(
    ("section", "component"), [("transform", "python"), ("filter_before", "python"), ("grouper", "python")]
)
@pytest.mark.parametrize(("function", "told"), [
    ("mine:nothing", "the module mine has no function 'nothing'"),
    ("mine:VALUE", "mine:VALUE is not a function but int"),
    ("no_such_package_here:f", "cannot be imported: No module named 'no_such_package_here'; install its package here and"),
    ("quits_plugin:f", "cannot be imported: the module quits_plugin ends the program when it is imported (sys.exit)"),
])  # fmt: skip
def test_validate_imports_what_python_names(
    section: str,
    component: str,
    function: str,
    told: str,
    broken: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (broken / "mine.py").write_text("VALUE = 1\ndef good(record):\n    return record\n")
    given = {"reader": "random", section: {"name": "python", "options": {"function": function}}, "writer": "console"}
    path = tmp_path / "c.json"
    for command in ("validate", "run"):
        path.write_text(json.dumps(given))
        assert main([command, str(path)]) == 2
        err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(err) == 1
        assert f": {section}.options.function: " in err[0] and told in err[0]
    given[section]["options"]["function"] = "mine:good"  # type: ignore[index]
    path.write_text(json.dumps(given))
    assert main(["validate", str(path)]) == 0


def test_modules_for_expressions_are_imported_too(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"reader": "random", "writer": "console", "filter_before": {
        "name": "pythonexp", "options": {"python_expression": "m.f(item)", "imports": {"m": "quits_plugin"}}}}  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(given))
    assert main(["validate", str(tmp_path / "c.json")]) == 2
    assert "imports.m: 'quits_plugin' cannot be imported: the module quits_plugin ends" in capsys.readouterr().err


def test_modules_of_the_current_folder_are_found_by_the_command(tmp_path: Path) -> None:
    """As `python -m` finds them, but behind all others."""
    (tmp_path / "mine.py").write_text("print('noise')\ndef good(record):\n    return record\n")
    (tmp_path / "jsonschema.py").write_text("raise RuntimeError('not this one')\n")
    given = {
        "reader": "random",
        "transform": {"name": "python", "options": {"function": "mine:good"}},
        "writer": "console",
    }
    (tmp_path / "c.json").write_text(json.dumps(given))
    code = (
        "import sys; from exporters_beam.__main__ import main; sys.path.remove('');"
        "sys.argv[1:] = ['validate', 'c.json']; main()"
    )
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": root})  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "c.json: ok\n", "noise\n")


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        ("reader", "exporters_beam.readers.s3:S3Reader"),
        ("writer", "exporters_beam.writers.sftp:SftpWriter"),
        ("formatter", "exporters_beam.formats.json_lines:JsonFormat"),
        ("persistence", "exporters_beam.persistence:PicklePersistence"),
    ],
)
def test_our_own_classes_are_found_where_they_stood_before(kind, before):
    assert registry.load(registry.find(kind, before)).__name__ == before.partition(":")[2]
