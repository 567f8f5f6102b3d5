"""Output below an input folder: refused, unless the reader would not find it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make
from exporters_beam.runners.own_output import refuse_own_output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/a.jl").write_text('{"id": 1, "g": "x"}\n')
    (tmp_path / "d/sub/b.jl").write_text('{"id": 2, "g": "y"}\n')
    os.symlink("d/sub", "link")
    return tmp_path


def config(given: Any, filebase: str, **sections: Any) -> dict[str, Any]:
    reader = {"name": "fs", "options": {"input": given}}
    return {"reader": reader, "writer": {"name": "fs", "options": {"filebase": filebase}}, **sections}


GROUPED = {"grouper": {"name": "file_key", "options": {"keys": ["g"]}}}
LETTERS = {"on_error": {"action": "dead_letter", "file": "d/letters.jl"}}


@pytest.mark.parametrize(
    ("given", "filebase", "sections"),
    [
        ({"dir": "d"}, "d/out/part-", {}),
        ({"dir": "d"}, "d/part-", {}),
        ({"dir": "."}, "out/part-", {}),
        ({"dir": "d/"}, "./d//out/../part-", {}),
        ({"dir": "d"}, "{here}/d/part-", {}),
        ({"dir": "{here}/d"}, "d/part-", {}),
        ({"dir": "d"}, "link/part-", {}),
        ({"dir": "link"}, "d/sub/part-", {}),
        ([{"dir": "d/sub"}, {"dir": "d"}], "d/out/part-", {}),
        ({"dir": "d"}, "d/%Y/part-", {}),
        ({"dir": "d"}, "d/{{groups[0]}}/part-", GROUPED),
        ({"dir": "d", "pattern": r"\.gz$"}, "d/out/part-", {}),
        (["d/a.jl", "d/part-0000.jl.gz"], "d/part-", {}),
        ({"dir": "d"}, "out/part-", LETTERS),
    ],
)
def test_it_is_refused_with_one_sentence(here, capsys, given, filebase, sections):
    text = (
        yaml.safe_dump(config(given, filebase, **sections)).replace("{here}", str(here)).replace("{{", "{").replace("}}", "}")
    )
    (here / "config.yaml").write_text(text)
    (here / "d/part-0000.jl.gz").touch()
    for more in ([], ["--resume"]):
        assert main(["run", "config.yaml", *more]) == 2
        told = capsys.readouterr().err
        assert "among those that the reader reads" in told and "deliver elsewhere" in told
        assert ("on_error.file" if sections is LETTERS else "writer.options.filebase") in told
    assert sorted(path.name for path in (here / "d").rglob("*") if path.is_file()) == [
        "a.jl",
        "b.jl",
        "part-0000.jl.gz",
    ]


@pytest.mark.parametrize(
    ("given", "filebase", "sections"),
    [
        ({"dir": "d"}, "out/part-", {}),
        ({"dir": "d"}, "d/_out/part-", {}),
        ({"dir": "d", "pattern": r"\.jl$"}, "d/out/part-", {}),
        ({"dir": "d/sub"}, "d/part-", {}),
        (["d/a.jl", "d/sub/b.jl"], "d/part-", {}),
        ({"dir": "d"}, "out/part-", {"staging": "d/staging"}),
    ],
)
def test_where_the_reader_does_not_find_it_a_rerun_is_right(here, given, filebase, sections):
    reports = [exporters_beam.run(config(given, filebase, **sections)) for _ in range(2)]
    assert len({report.read for report in reports}) == 1


def test_what_an_export_delivered_before_is_refused_whatever_its_names(here):
    """The pattern fits the name of a group that no one could foresee."""
    made = config({"dir": ".", "pattern": "d/|fruit"}, "out-{groups[0]}/part-", **GROUPED)
    (here / "d/sub/b.jl").write_text('{"id": 2, "g": "fruit"}\n')
    assert exporters_beam.run(made).read == 2
    with pytest.raises(ConfigError, match=r"files such as out-fruit/part-0000.jl.gz"):
        exporters_beam.run(made)


def test_what_another_export_delivered_is_data(here):
    exporters_beam.run(config({"dir": "d"}, "e/other-"))
    assert exporters_beam.run(config({"dir": "e"}, "out/part-")).read == 2


@pytest.mark.parametrize(
    ("prefix", "filebase", "more", "refused"),
    [
        ("", "out/p-", {}, True),
        ("in/", "in/p-", {}, True),
        ("in", "in-2/p-", {}, True),
        ("in/", "in-2/p-", {}, False),
        ("", "_out/p-", {}, False),
        ("", "out/p-", {"pattern": "^in/"}, False),
        (["a/", "out/"], "out/p-", {}, True),
    ],
)
@pytest.mark.parametrize(("bucket", "host"), [("b", None), ("c", None), ("b", "http://localhost:1")])
def test_the_same_bucket(prefix, filebase, more, refused, bucket, host):
    spec = load({
        "reader": {"name": "s3", "options": {"bucket": "b", "prefix": prefix, **more}},
        "writer": {"name": "s3", "options": {"bucket": bucket, "filebase": filebase, "host": host}},
        "exporter_options": {"prevent_bypass": True},
    })  # fmt: skip
    if refused and (bucket, host) == ("b", None):
        with pytest.raises(ConfigError, match=r"writer\.options\.filebase: files such as s3://b/"):
            refuse_own_output(make(spec))
    else:
        refuse_own_output(make(spec))


def test_a_copy_has_a_name_that_the_pattern_fits():
    spec = load({
        "reader": {"name": "s3", "options": {"bucket": "b", "prefix": "", "pattern": "part-"}},
        "writer": {"name": "s3", "options": {"bucket": "b", "filebase": "copy/"}},
    })  # fmt: skip
    with pytest.raises(ConfigError, match="another run would read what this one delivers"):
        refuse_own_output(make(spec))


@pytest.mark.parametrize(("path", "filebase", "refused"), [("dumps", "dumps/out/p-", True), ("dumps", "dumps2/p-", False)])
def test_the_same_server(path, filebase, refused):
    server = {"host": "files.example.org", "sftp_user": "shop", "sftp_password": "x"}
    spec = load({
        "reader": {"name": "sftp", "options": {**server, "path": path}},
        "writer": {"name": "sftp", "options": {**server, "filebase": filebase}},
    })  # fmt: skip
    if refused:
        with pytest.raises(ConfigError, match="another run would read"):
            refuse_own_output(make(spec))
    else:
        refuse_own_output(make(spec))
