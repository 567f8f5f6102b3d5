"""Exports from and to CSV in every dialect: the same with and without pushdown, and right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from shared import SHARED, needs_shared

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.errors import ExportError
from exporters_beam.reporting.verify import verify

from helpers import visible

CASES = SHARED / "cases"


def told(tmp_path: Path, data: bytes, options: dict[str, Any], pushdown: bool = True, **sections: Any) -> Any:
    """What an export of a file delivers, counts, sets aside and says; the words of the error where it fails."""
    source, out = tmp_path / "in.csv", tmp_path / f"out-{pushdown}"
    source.write_bytes(data)
    settings = {
        "reader": {"name": "fs", "options": {"input": str(source)}},
        "deserializer": {"name": sections.pop("name", "csv"), "options": options},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/p-", "compression": "none"}},
        "exporter_options": {"pushdown": pushdown, **sections.pop("exporter_options", {})},
        **sections,
    }
    try:
        report = exporters_beam.run(settings)
    except ExportError as error:
        return str(error)
    letters = [
        (letter["record"], letter["error"]["message"] if isinstance(letter.get("error"), dict) else None)
        for path in sorted(out.rglob("dead-letters*"))
        for letter in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    ]
    return {name: path.read_bytes() for name, path in visible(out).items()}, report.counts, letters


DIALECTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (b"a,b\n1,2\n3,4\n", {}),
    "quotes": (b'a,b\n"1, 1",2\n3,"x\ny"\n5,6\n', {}),
    "many quotes": (b'"a","b"\n"1","say ""2"""\n"",""\n', {}),
    "escapes": (b'a,b\n1,"x \\"y\\""\n2,z\\,z\n3,4\n', {"escapechar": "\\"}),
    "comments": (b"# x\na,b\n1,2\n# 3,4\n5,6\n", {"comment": "#"}),
    "lines before": (b'by me, "\na,b\n1,2\n', {"skip_lines": 1}),
    "null": (b'a,b\n\\N,"\\N"\n1,\\N\n,""\n', {"null_marker": "\\N"}),
    "empty is null": (b'a,b\n,""\n1,2\n"",\n', {"null_marker": ""}),
    "short rows": (b"a,b\n1\n2,3\n", {"ragged": "null"}),
    "long rows": (b"a,b\n1\n2,3,4,5\n6,7\n", {"ragged": "keep"}),
    "ragged": (b"a,b\n1,2\n1\n2,3,4\n3,4\n", {}),
    "inches": (b'a,b\n1,6" disk\n"2",3\n', {"bare_quotes": "keep"}),
    "wrong quotes": (b'a,b\n1,6" disk\n"2",3\n', {}),
    "behind a quote": (b'a,b\n1,2\n"2"x,3\n', {}),
    "open": (b'a,b\n1,2\n"2,3\n', {}),
    "twice": (b"a,a\n1,2\n", {}),
    "all": (
        b'x\n;c\na|b\n\xe9|"1|\\"2"\n;c\n-|"-"\n3\n4|5|6\n',
        {
            "delimiter": "|",
            "escapechar": "\\",
            "comment": ";",
            "skip_lines": 1,
            "null_marker": "-",
            "ragged": "keep",
            "encoding": "latin-1",
        },
    ),
}

PIPELINES: dict[str, dict[str, Any]] = {
    "alone": {},
    "filter": {"filter": {"name": "pythonexp", "options": {"python_expression": "item.get('a') != '1'"}}},
    "columns": {"exporter_options": {"formatter": {"name": "csv", "options": {"fields": ["b"], "null_marker": "~"}}}},
    "filter and letters": {
        "filter": {"name": "pythonexp", "options": {"python_expression": "item['a'] != '1'"}},
        "on_error": {"action": "dead_letter"},
    },
    "group": {"grouper": {"name": "file_key", "options": {"keys": ["a"]}}},
}


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_pushdown_changes_nothing(tmp_path: Path, pipeline: str) -> None:
    """Every dialect alone and with letters, which tell where a record stood; a third of them in each other pipeline."""
    first = {"filter": 0, "columns": 1, "group": 2}.get(pipeline)
    for name, (data, options) in list(DIALECTS.items())[first :: 1 if first is None else 3]:
        for folder in tmp_path.iterdir():
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
        on, off = (told(tmp_path, data, options, way, **dict(PIPELINES[pipeline])) for way in (True, False))
        assert on == off, name
        if pipeline == "alone":
            assert isinstance(on, str) == (name in ("ragged", "wrong quotes", "behind a quote", "open", "twice")), name


def test_what_is_no_csv_is_one_sentence(tmp_path: Path) -> None:
    for name, said in (
        ("wrong quotes", 'record 1: a quote stands in a value that does not begin with one: 6" disk, in line 2; quote'),
        ("behind a quote", "record 2: 'x,3' follows a closing quote"),
        ("open", "record 2: a quote opens a value here and is never closed"),
        ("twice", "the header has two columns called a, "),
        ("ragged", "the row has 1 value for 2 columns: ['1']; fix the row, or set ragged: null"),
    ):
        message = told(tmp_path, *DIALECTS[name])
        assert "in.csv" in message and said in message, message


def test_the_old_class_reads_ragged_rows_as_it_did(tmp_path: Path) -> None:
    data = b'a,a,b\n1,2\n3,4,6" disk\n'
    files, _, _ = told(tmp_path, data, {}, name="exporters.deserializers.CSVDeserializer")
    assert [*files.values()] == [b'{"a":"2","b":null}\n{"a":"4","b":"6\\" disk"}\n']
    files, _, _ = told(tmp_path, b"a\n1,2\n", {}, name="exporters.deserializers.CSVDeserializer")
    assert [*files.values()] == [b'{"a":"1","null":["2"]}\n']


@pytest.mark.parametrize("options", [
    {"null_marker": ""}, {"delimiter": "\t", "show_titles": False},
    {"delimiter": ";", "null_marker": "NULL", "show_titles": None},
])  # fmt: skip
def test_verify_reads_files_as_they_were_written(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = b'{"a":null,"b":"\\\\N"}\n{"a":"","b":"x\\ny"}\n{}\n{"a":"\\\\","b":"\\""}\n'
    Path("in.jl").write_bytes(rows)
    settings = {
        "reader": {"name": "fs", "options": {"input": "in.jl"}},
        "writer": {"name": "fs", "options": {"filebase": "out/p-"}},
        "exporter_options": {"formatter": {"name": "csv", "options": {"fields": ["a", "b"], **options}}},
    }
    report = exporters_beam.run(settings)
    wrong, manifest = verify(report.manifest)
    assert (wrong, manifest["counts"]["written"]) == ([], 4)


def run_case(tmp_path: Path, case: str, config: str, **options: Any) -> tuple[int, list[Any]]:
    folder = tmp_path / case
    if not folder.exists():
        shutil.copytree(CASES / case, folder)
    settings = yaml.safe_load((folder / config).read_text(encoding="utf-8"))
    for section, more in options.items():
        settings[section].setdefault("options", {}).update(more)
    (folder / "changed.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    out = folder / settings["writer"]["options"]["filebase"].partition("/")[0]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        status = main(["run", "changed.yaml"])
    if status:
        return status, []
    return status, [path.read_text(encoding="utf-8") for _, path in sorted(visible(out).items())]


@needs_shared
def test_case_05(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_case(tmp_path, "05-csv-backslash-quote", "one.yaml")[0] == 1
    said = capfd.readouterr().err
    assert "in.csv: record 1: 'random@example.org\\\\\"\"' follows a closing quote" in said
    assert 'in line 2; set escapechar: "\\\\" if' in said
    status, (text,) = run_case(tmp_path, "05-csv-backslash-quote", "option.yaml")
    assert status == 0
    assert json.loads(text)["note"] == 'I hope this works for "random@example.org"'


@needs_shared
def test_case_06(tmp_path: Path) -> None:
    wanted = {"time": "2015-03-05 20:40:14", "key1": "a", "key2": "b"}
    assert run_case(tmp_path, "06-csv-lines-before-header", "one.yaml")[0] == 1
    assert run_case(tmp_path, "06-csv-lines-before-header", "comment.yaml")[0] == 1
    for config, options in (("one.yaml", {"skip_lines": 2}), ("comment.yaml", {"comment": "#"})):
        _, (text,) = run_case(tmp_path, "06-csv-lines-before-header", config, deserializer=options)
        assert json.loads(text) == wanted


@needs_shared
def test_case_18(tmp_path: Path) -> None:
    _, (text,) = run_case(tmp_path, "18-csv-null-number", "one.yaml", formatter={"null_marker": "\\N"})
    assert text == '"name","n","x"\n"foo",4,7.7\n\\N,\\N,\\N\n"",6,9.9\n'
