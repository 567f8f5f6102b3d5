"""The reader `fs`: which files, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters_beam import spec
from exporters_beam.errors import ConfigError
from exporters_beam.readers.fs import FsReader


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("d/a.jl.gz", "d/.b.jl.gz", "d/sub/c.jl.gz", "d/.dot/e.jl.gz", "d/.exporters/x/manifest.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(tree: Path, given) -> list[str]:
    return [str(Path(unit.name).relative_to(tree)) for unit in FsReader(input=given).units()]


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, ["d/.dot/e.jl.gz", "d/a.jl.gz", "d/sub/c.jl.gz"]),
        ({"pattern": "sub/"}, ["d/sub/c.jl.gz"]),
        ({"include_dot_files": True}, ["d/.b.jl.gz", "d/.dot/e.jl.gz", "d/a.jl.gz", "d/sub/c.jl.gz"]),
        ({"pattern": "nothing"}, []),
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
        ({"dir": "x", "pattern": "("}, "no regular expression"),
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


def test_a_folder_that_is_not_there_is_empty_with_a_warning(tmp_path, export):
    report = export({"name": "fs", "options": {"input": {"dir": str(tmp_path / "absent")}}})
    assert report.read == 0 and report.files == ()
    assert any("there is no folder" in warning for warning in report.warnings)


def test_input_is_required():
    with pytest.raises(ConfigError, match="input"):
        spec.load({"reader": {"name": "fs"}, "writer": {"name": "console"}})
