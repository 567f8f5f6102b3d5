"""The reader `fs`: which files, in which order."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from exporters_beam.config import spec
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.readers.fs import FsReader
from exporters_beam.readers.units import units_of
from exporters_beam.records import Warned


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("d/a.jl.gz", "d/.b.jl.gz", "d/sub/c.jl.gz", "d/.dot/e.jl.gz", "d/.exporters/x/manifest.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(tree: Path, given, **options) -> list[str]:
    return [str(Path(unit.name).relative_to(tree)) for unit in units_of(FsReader(input=given, **options))]


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, ["d/a.jl.gz", "d/sub/c.jl.gz"]),
        ({"pattern": "sub/"}, ["d/sub/c.jl.gz"]),
        ({"include_dot_files": True}, ["d/.b.jl.gz", "d/.dot/e.jl.gz", "d/a.jl.gz", "d/sub/c.jl.gz"]),
    ],
)
def test_folders_are_walked_and_the_books_of_exports_passed_over(tree, more, found):
    assert names(tree, {"dir": str(tree / "d"), **more}) == found


def test_a_pointer_names_the_folder(tree):
    (tree / "pointer").write_text(f"  {tree / 'd/sub'}\n")
    assert names(tree, {"dir_pointer": str(tree / "pointer")}) == ["d/sub/c.jl.gz"]


def test_lists_mix_files_and_folders_and_are_read_in_the_order_of_the_paths_once(tree):
    given = [str(tree / "d/sub/c.jl.gz"), {"dir": str(tree / "d"), "pattern": r"a\.jl"}, str(tree / "d/sub/c.jl.gz")]
    assert names(tree, given) == ["d/a.jl.gz", "d/sub/c.jl.gz"]


def test_linked_folders_are_not_followed(tree):
    (tree / "d/link").symlink_to(tree / "d/sub")
    assert "d/link/c.jl.gz" not in names(tree, {"dir": str(tree / "d")})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "the list is empty"),
        ([5], "neither a path nor a mapping"),
        ({"path": "x"}, "give either dir or dir_pointer"),
        ({"dir": "x", "dir_pointer": "y"}, "not both"),
        ({"dir": "x", "patern": "y"}, "unknown key 'patern'"),
        ({"dir": "x", "pattern": "("}, "not a valid regular expression"),
        ({"dir": 5}, "give the path of a folder"),
        ("", "empty"),
    ],
)
def test_wrong_inputs_are_refused(given, says):
    with pytest.raises(ConfigError, match=r"^input: ") as caught:
        FsReader(input=given)
    assert says in str(caught.value)


def test_a_listed_file_that_is_not_there_is_told_with_its_place_in_the_config(tmp_path, export):
    with pytest.raises(ConfigError, match=r"reader\.options\.input: there is no file '.*absent'"):
        export(str(tmp_path / "absent"))


def test_a_folder_given_as_a_file_is_told_how_to_read_it(tmp_path, export):
    with pytest.raises(ConfigError, match=r"is a folder; write \{dir: "):
        export(str(tmp_path))


@pytest.mark.parametrize("given", [{"dir": "absent"}, {"dir": "d", "pattern": "nothing"}, {"dir": "empty"}, {"dir": "hidden"}])
def test_nothing_to_read_is_an_error_unless_it_is_allowed(tree, monkeypatch, export, given):
    monkeypatch.chdir(tree)
    (tree / "empty").mkdir()
    (tree / "hidden").mkdir()
    (tree / "hidden/_a.jl").write_text("{}")
    with pytest.raises(SourceError, match=r"option input: there is nothing to read at .*allow_empty: true") as caught:
        export({"name": "fs", "options": {"input": given}})
    assert ("include_hidden" in str(caught.value)) == (given["dir"] in ("hidden", "d"))
    report = export({"name": "fs", "options": {"input": given, "allow_empty": True}})
    assert report.read == 0 and report.files == ()
    assert any("there is nothing to read" in warning for warning in report.warnings)


def test_an_empty_list_may_be_allowed(export):
    assert export({"name": "fs", "options": {"input": [], "allow_empty": True}}).read == 0


HIDDEN = ("_SUCCESS", "_a.jl", ".b.jl", "_old/c.jl", ".git/d.jl", "Thumbs.db", "s/desktop.ini", "_day=1/e.jl", "f_g.jl")


@pytest.mark.parametrize(
    ("options", "more", "found"),
    [
        ({}, {}, ["_day=1/e.jl", "f_g.jl"]),
        ({"include_hidden": True}, {}, sorted(HIDDEN)),
        ({}, {"include_dot_files": True}, [".b.jl", ".git/d.jl", "_day=1/e.jl", "f_g.jl"]),
        ({"include_hidden": True}, {"pattern": "_SUCCESS$"}, ["_SUCCESS"]),
    ],
)
def test_names_of_marks_and_copies_are_no_data(tmp_path, options, more, found):
    for name in HIDDEN:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert names(tmp_path, {"dir": str(tmp_path), **more}, **options) == found


def test_hidden_files_that_may_be_data_are_told_and_marks_are_not(tmp_path):
    for name in ("_SUCCESS", "._x.jl", "_committed_12", ".x.jl.crc", "x.jl"):
        (tmp_path / name).write_text("{}")
    assert warnings(tmp_path) == []
    (tmp_path / "_data.jl").write_text("{}")
    (tmp_path / "_old").mkdir()
    (told,) = warnings(tmp_path)
    assert "/_data.jl" in told or "/_old/" in told
    assert "and 1 more" in told and "include_hidden: true" in told


def test_what_is_asked_for_by_its_name_is_read(tmp_path):
    (tmp_path / "_old").mkdir()
    (tmp_path / "_old/_a.jl").write_text("{}")
    assert names(tmp_path, str(tmp_path / "_old/_a.jl")) == ["_old/_a.jl"]
    (tmp_path / "_old/b.jl").write_text("{}")
    assert names(tmp_path, {"dir": str(tmp_path / "_old")}) == ["_old/b.jl"]


def warnings(folder: Path) -> list[str]:
    return [found.text for found in FsReader(input={"dir": str(folder)}).units() if isinstance(found, Warned)]


@pytest.fixture
def no_files(tmp_path: Path):
    """A folder with a file and one of each kind that is none."""
    (tmp_path / "a.jl").write_text('{"id": 1}\n')
    os.mkfifo(tmp_path / "pipe.jl")
    (tmp_path / "device.jl").symlink_to("/dev/null")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.jl"))
    yield tmp_path
    listener.close()


def test_what_is_no_file_is_passed_over_in_a_folder(no_files, export):
    report = export({"name": "fs", "options": {"input": {"dir": str(no_files)}}}, out="../out-of-no-files")
    assert report.read == 1
    told = "\n".join(report.warnings)
    assert "pipe.jl: passed over, since it is a pipe" in told
    assert "socket.jl: passed over, since it is a socket" in told
    assert "device.jl: passed over, since it is a device" in told


@pytest.mark.parametrize("name", ["pipe.jl", "socket.jl", "device.jl"])
@pytest.mark.parametrize("key", ["input", "dir_pointer"])
def test_what_is_no_file_is_refused_where_it_is_named(no_files, export, name, key):
    given = str(no_files / name) if key == "input" else {"dir_pointer": str(no_files / name)}
    with pytest.raises(ConfigError, match=rf"reader\.options\.input: .*{name}' is a \w+; give a file"):
        export({"name": "fs", "options": {"input": given}})


def test_links_that_lead_nowhere_end_the_export(tmp_path, export):
    (tmp_path / "a.jl").symlink_to(tmp_path / "gone")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/loop.jl").symlink_to("loop.jl")
    with pytest.raises(ConfigError, match=r"a\.jl' is a link to .*gone, which cannot be read: No such file"):
        export(str(tmp_path / "a.jl"))
    with pytest.raises(SourceError, match=r"loop\.jl' is a link to loop\.jl, which cannot be read: Too many levels"):
        export({"name": "fs", "options": {"input": {"dir": str(tmp_path / "d")}}})


def test_a_folder_that_cannot_be_looked_into_ends_the_export(tmp_path, monkeypatch):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/c.jl").write_text("{}")
    scandir = os.scandir

    def refuse(path: str):  # Root may look into every folder, so that permissions prove nothing here.
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"a/b: the folder cannot be read: Permission denied"):
        list(FsReader(input={"dir": str(tmp_path)}).units())


def test_a_linked_folder_is_told_unless_it_is_read_anyway(tmp_path):
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/sub/a.jl").write_text("{}")
    (tmp_path / "d/inside").symlink_to("sub")
    assert warnings(tmp_path / "d") == []
    (tmp_path / "outside").mkdir()
    (tmp_path / "d/beside").symlink_to(tmp_path / "outside")
    (tmp_path / "d/up").symlink_to(tmp_path)
    assert [text.partition(": ")[0] for text in warnings(tmp_path / "d")] == [f"{tmp_path}/d/{n}" for n in ("beside", "up")]


def test_names_with_line_ends_and_bytes_that_are_no_text(tmp_path, export):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/a\nb\xff.jl")
    Path(path).write_text('{"id": 1}\n')
    os.mkfifo(tmp_path / "p\nq")
    report = export({"name": "fs", "options": {"input": {"dir": str(tmp_path)}}}, out="../out-of-names")
    assert report.read == 1 and "p\\nq: passed over" in report.warnings[-1]
    Path(path).write_text("no JSON")
    with pytest.raises(SourceError, match=r"a\\nb\\udcff\.jl: record 1: ") as caught:
        export({"name": "fs", "options": {"input": {"dir": str(tmp_path)}}}, out="../out-of-names")
    assert "\n" not in str(caught.value)


def test_input_is_required():
    with pytest.raises(ConfigError, match="input"):
        spec.load({"reader": {"name": "fs"}, "writer": {"name": "console"}})
