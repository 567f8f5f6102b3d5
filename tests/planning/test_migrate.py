"""`exporters-beam migrate`: the new config delivers what the old one delivers, and tells what it left out or kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_oracle import CASES, HERE, prepare

from exporters_beam.cli.main import main

from helpers import plain, visible

ROOT = Path(__file__).parents[2]


def outcome(config: Path, folders: dict[str, Path], capfdbinary: Any) -> tuple[int, bytes, dict[str, bytes]]:
    """Exit status, what was printed, and the content of delivered files by name. The folders are empty afterwards."""
    status = main(["run", str(config)])
    printed, complained = capfdbinary.readouterr()
    assert b"Traceback" not in complained
    files = {f"{root}/{name}": plain(path) for root in ("out", "cwd") for name, path in visible(folders[root]).items()}
    for root in ("out", "cwd"):
        for path in folders[root].iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return status, printed, files


@pytest.mark.parametrize("name", CASES)
def test_old_and_migrated_deliver_the_same(name: str, tmp_path: Path, monkeypatch: Any, capfdbinary: Any) -> None:
    case = HERE / "oracle/cases" / name
    about = json.loads((case / "case.json").read_text(encoding="utf-8"))
    folders = {each: tmp_path / each for each in ("in", "out", "cwd")}
    config = prepare(case, folders)
    monkeypatch.chdir(folders["cwd"])
    new = tmp_path / "new.yaml"
    status = main(["migrate", str(config), "-o", str(new)])
    told = capfdbinary.readouterr().err
    assert b"Traceback" not in told
    if status:
        assert status == 2 and about["outcome"] != "ok"
        assert main(["validate", str(config)]) == 2
        return
    text = new.read_text(encoding="utf-8")
    assert "exporters.r" not in text and "exporters.w" not in text
    before = outcome(config, folders, capfdbinary)
    after = outcome(new, folders, capfdbinary)
    if about["compare"] == "properties":  # records are drawn at random
        assert (before[0], before[2].keys()) == (after[0], after[2].keys())
    else:
        assert before == after


def migrated(tmp_path: Path, capsys: Any, **sections: Any) -> tuple[dict[str, Any], str, str]:
    """The new config, its text, and what is told of it."""
    config = {
        "reader": {"name": "exporters.readers.FSReader", "options": {"input": "in.jl", "batch_size": 5}},
        "writer": {"name": "exporters.writers.FSWriter", "options": {"filebase": "out/part-"}},
        **sections,
    }
    old, new = tmp_path / "old.json", tmp_path / "new.yaml"
    old.write_text(json.dumps(config), encoding="utf-8")
    assert main(["migrate", str(old), "-o", str(new)]) == 0
    told = capsys.readouterr().err
    text = new.read_text(encoding="utf-8")
    new.unlink()
    return yaml.safe_load(text), text, told


def test_the_sample_config_of_the_old_system(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "templates/data", "templates/data")
    new = tmp_path / "new.yaml"
    assert main(["migrate", str(ROOT / "templates/legacy.json"), "-o", str(new)]) == 0
    files = []
    for config in (ROOT / "templates/legacy.json", new):
        assert main(["run", str(config)]) == 0
        files.append({name: plain(path) for name, path in visible(tmp_path / "out").items() if "state" not in name})
        shutil.rmtree("out")
    assert files[0] == files[1] and files[0]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("item.update(b=item['a'])", False),
        ("item.update(b=re.match('x', item['a']) is None)", True),
        ("item.update(b=item['a'] + 1 if item['a'] == 2 else 0)", False),
        ("item.update(b=item['a'] / 2)", True),
        ("item.update(b=item['a'] > 2)", True),
        ("item.update(b=item['a'].encode('utf-8'))", True),
        ("item.update(b='%s' % item['a'])", True),
        ("item.update(b=10L)", True),
        ("item.update(b=item.keys())", True),
        ("item.update(b=str(item['a']))", True),
        ("item.__setitem__('b', 1)", False),
    ],
)
def test_the_dialect_is_kept_where_an_expression_needs_it(expression: str, kept: bool, tmp_path: Path, capsys: Any) -> None:
    transform = {"name": "exporters.transform.PythonexpTransform", "options": {"python_expressions": [expression]}}
    config, text, told = migrated(tmp_path, capsys, transform=transform)
    assert (config["transform"]["options"].get("dialect") == "python2") == kept
    assert ("# options.dialect: it means something else in Python 3" in text) == kept
    assert ("transform.options.dialect: it means something else" in told) == kept


def test_what_is_told(tmp_path: Path, capsys: Any) -> None:
    config, text, told = migrated(
        tmp_path,
        capsys,
        env="prod",
        owner="me",
        filter={"name": "exporters.filters.KeyValueRegexFilter", "options": {"keys": [{"name": "a", "value": r"\d"}]}},
        grouper={
            "name": "exporters.groupers.PythonExpGrouper",
            "options": {"python_expressions": ["hash(item['a'])", "isinstance(item['a'], str)", "str([1])"]},
        },
        persistence={"name": "exporters.persistence.PicklePersistence", "options": {"file_path": "state"}},
        exporter_options={
            "threaded": "yes",
            "formatter": {"name": "exporters.export_formatter.JsonExportFormatter", "options": {"jsonlines": False}},
        },
    )  # fmt: skip
    assert config == {
        "reader": {"name": "fs", "options": {"input": "in.jl"}},
        "filter_before": {
            "name": "key_value_regex",
            "options": {"keys": [{"name": "a", "value": r"\d"}], "dialect": "python2"},
        },
        "grouper": {
            "name": "python_exp",
            "options": {
                "python_expressions": ["hash(item['a'])", "isinstance(item['a'], str)", "str([1])"],
                "dialect": "python2",
            },
        },
        "formatter": {"name": "json", "options": {"jsonlines": False, "allow_nan": True}},
        "writer": {"name": "fs", "options": {"filebase": "out/part-"}},
        "staging": "state",
    }
    for line in (
        "env: not used: exporters 0.6.18 knew no such section",
        "owner: left out: nothing used it",
        "reader.options.batch_size: left out: it changes nothing any more",
        "filter_before: was called filter",
        r"filter_before.options.dialect: letters and digits are those of ASCII in \d",
        "grouper: look at it: hash gives another number",
        "grouper: look at it: texts of records are str now",
        "grouper: look at it: the text of a list or a record has no u'…'",
        "formatter: stood in exporter_options",
        "staging: was persistence",
        "exporter_options.threaded: left out: it changes nothing any more",
    ):
        assert line in told
    assert "# env: not used" in text and "# was called filter\n" in text


def test_what_reduces_in_python_2_is_told(tmp_path: Path, capsys: Any) -> None:
    code = "def reduce_function(item, accumulator=None):\n    return sum(v / 2 for k, v in item.iteritems())\n"
    config, _, told = migrated(tmp_path, capsys, writer={"name": "exporters.writers.ReduceWriter", "options": {"code": code}})
    assert config["writer"]["options"]["code"] == code
    assert "writer.options.code: look at it: it is run by Python 3, which has no iteritems" in told
    assert "/ of whole numbers gives a fraction" in told


def test_it_is_refused(tmp_path: Path, capsys: Any) -> None:
    old = tmp_path / "config.yaml"
    old.write_text("reader: {name: fs, options: {input: a}}\nwriter: {name: fs, options: {filebase: b}}\n", encoding="utf-8")
    assert main(["migrate", str(old)]) == 2
    assert "there is nothing to migrate" in capsys.readouterr().err
    old.write_text(old.read_text(encoding="utf-8").replace("name: fs", "name: exporters.readers.FSReader", 1), encoding="utf-8")
    assert main(["migrate", str(old)]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["reader"] == {"name": "fs", "options": {"input": "a"}}
    assert main(["migrate", str(old), "-o", str(old)]) == 2
    assert "this file exists" in capsys.readouterr().err
    assert main(["migrate", str(tmp_path / "none.json")]) == 2
