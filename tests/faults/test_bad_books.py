"""Books that somebody touched: manifests, delivered files, and a staging folder that holds what no run wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.cli.main import main
from exporters_beam.errors import DestinationError
from exporters_beam.records import BlockRef, Mark, Unit
from exporters_beam.reporting.manifest import manifest_checksum
from exporters_beam.staging.segments import ANY_MAGIC, MAGIC, Blocks, Staging

from helpers import visible, write_gz

CHILD = Path(__file__).with_name("child.py")
UNKNOWN = "ab" * 16 + ".segment"
"""A name as runs give it."""


def config(folder: Path) -> Path:
    for n in range(2):
        write_gz(folder / "in" / f"{n}.jl.gz", [{"id": 100 * n + i, "g": "abc"[i % 3]} for i in range(50)])
    path = folder / "export.json"
    path.write_text(json.dumps({
        "reader": {"name": "fs", "options": {"input": {"dir": str(folder / "in")}}},
        "grouper": {"name": "file_key", "options": {"keys": ["g"]}},
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/part-"}},
    }))  # fmt: skip
    return path


@pytest.fixture
def told(capsys) -> Callable[..., tuple[int, str]]:
    """Runs a command; gives its exit status and what it said, which is never a traceback."""

    def run(*args: object) -> tuple[int, str]:
        capsys.readouterr()
        status = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        assert "Traceback" not in err and "(--debug shows where)" not in err
        return status, (out + err).strip()

    return run


@pytest.fixture(scope="module")
def delivered(tmp_path_factory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("delivered")
    assert main(["run", str(config(folder)), "--quiet"]) == 0
    (manifest,) = (folder / "out").rglob("manifest.json")
    return manifest, manifest.read_bytes()


def edited(sign: bool = False, **changes: Any) -> Callable[[bytes], bytes]:
    def edit(good: bytes) -> bytes:
        manifest = {**json.loads(good), **changes}
        if sign:
            manifest["checksum"] = manifest_checksum(manifest)
        return json.dumps(manifest).encode()

    return edit


@pytest.mark.parametrize(
    "edit, status, what",
    [
        (edited(counts={"read": 99, "kept": 99, "written": 99}), 1, "the manifest was changed after it was written"),
        (edited(files=[]), 1, "the manifest was changed after it was written"),
        (edited(True, counts={"read": 100, "kept": 100, "written": 99}), 1, "the files have 100 records"),
        (edited(True, files="x"), 2, "its counts or its files are not what a run writes"),
        (edited(True, files=[{"name": 0}]), 2, "its counts or its files are not what a run writes"),
        (edited(True, files=[{"name": "a\0b", "records": 1, "bytes": 1, "md5": ""}]), 2, "not what a run writes"),
        (edited(True, counts=[]), 2, "its counts or its files are not what a run writes"),
        (edited(True, format=[]), 2, "its counts or its files are not what a run writes"),
        (lambda good: b"hello", 2, "this is not a manifest"),
        (lambda good: b"", 2, "this is not a manifest"),
        (lambda good: b"[]", 2, "this is not a manifest: it has no export"),
        (lambda good: good[: len(good) // 2], 2, "this is not a manifest"),
        (lambda good: bytes(range(256)), 2, "this is not a manifest"),
        (lambda good: b"[" * 100_000, 2, "this is not a manifest"),
    ],
)
def test_a_manifest_that_was_touched(delivered, told, edit, status, what):
    manifest, good = delivered
    try:
        manifest.write_bytes(edit(good))
        found, text = told("verify", manifest)
    finally:
        manifest.write_bytes(good)
    assert (found, what in text) == (status, True), text
    assert text.startswith(f"error: {manifest}: ")
    assert told("verify", manifest)[0] == 0


@pytest.mark.parametrize(
    "edit, what",
    [
        (lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:], "its content has changed"),
        (lambda data: b"", "it has 0 bytes"),
        (lambda data: data + b"x", "were delivered"),
        (lambda data: data[:-5], "were delivered"),
        (None, "No such file or directory"),
    ],
)
def test_a_delivered_file_that_was_touched(delivered, told, edit, what):
    manifest, good = delivered
    file = Path(json.loads(good)["files"][0]["name"])
    data = file.read_bytes()
    try:
        if edit is None:
            file.unlink()
        else:
            file.write_bytes(edit(data))
        status, text = told("verify", manifest)
    finally:
        file.write_bytes(data)
    assert status == 1 and text.startswith(f"error: {file}: ") and what in text and "\n" not in text


def test_nothing_to_resume(tmp_path, told, caplog):
    status, text = told("run", config(tmp_path), "--resume", "--quiet")
    assert status == 0
    text += caplog.text
    assert text.count("--resume: there is nothing to resume in ") == 1 and "from the start" in text
    assert (tmp_path / "out").exists()


@pytest.fixture
def killed(tmp_path) -> tuple[Path, Path]:
    """The config of an export that was killed when it delivered its first file, and its staging folder."""
    path = config(tmp_path)
    asked = {
        "config": json.loads(path.read_text()),
        "small": True,
        "fault": {"call": "replace", "nth": 2, "how": "kill"},
    }
    done = subprocess.run([sys.executable, str(CHILD), json.dumps(asked)], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    (staged,) = (tmp_path / "out").rglob("staged")
    return path, staged


COMMANDS = [["run", "--quiet"], ["run", "--resume", "--quiet"], ["clean"]]


def fill(staged: Path) -> list[Path]:
    """Puts what is not ours into the folders of the books."""
    (staged / "README").write_text("mine")
    (staged / "x.segment").write_bytes(b"mine")
    (staged / UNKNOWN).write_bytes(b"rubbish of mine")
    (staged / ("cd" * 16 + ".segment")).mkdir()
    (staged / ("cd" * 16 + ".segment") / "inner").write_text("mine")
    (staged / ("ef" * 16 + ".segment")).symlink_to(staged / "README")
    (staged / "kept-of-mine").write_text("mine")
    (staged.parent / "half-built").mkdir(exist_ok=True)
    (staged.parent / "half-built" / "mine").write_text("mine")
    return [*staged.glob("[!0-9a-f]*"), staged / UNKNOWN, staged / ("cd" * 16 + ".segment") / "inner",
            staged / ("ef" * 16 + ".segment"), staged.parent / "half-built" / "mine"]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_what_no_run_wrote_is_left_alone_and_named(killed, told, command, caplog):
    path, staged = killed
    mine = {file: file.read_bytes() for file in fill(staged)}
    status, text = told(command[0], path, *command[1:])
    text += caplog.text
    assert status == 0, text
    assert {file: file.read_bytes() for file in mine} == mine
    assert f"{staged} holds " in text and "README" in text and UNKNOWN in text and "move or remove it by hand" in text
    assert f"{staged.parent / 'half-built'} holds mine" in text
    assert sorted(os.listdir(staged.parent / "half-built")) == ["mine"]
    assert len(os.listdir(staged)) == 6
    if command[0] == "run":
        assert len(visible(path.parent / "out")) == 3


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "edit",
    [lambda data: data[:-30], lambda data: data[:40], lambda data: data.replace(MAGIC, ANY_MAGIC + b"0\n")],
)
def test_a_segment_that_is_cut_short_or_of_another_version_is_ours_and_counts_for_nothing(killed, told, command, edit, caplog):
    path, staged = killed
    for segment in staged.glob("*.segment"):
        segment.write_bytes(edit(segment.read_bytes()))
    status, text = told(command[0], path, *command[1:])
    assert status == 0, text
    if "--resume" in command:
        assert "is damaged or was written by another version; what it held is read again" in text + caplog.text
    assert not staged.exists()
    if command[0] == "run":
        (manifest,) = (path.parent / "out").rglob("manifest.json")
        status, text = told("verify", manifest)
        assert status == 0 and "100 records" in text


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["staged", "half-built", ".", ".."])
def test_a_file_in_the_place_of_a_folder(killed, told, command, place):
    path, staged = killed
    there = (staged.parent / place).resolve()
    if there.exists():
        there.rename(path.parent / "away")
    there.write_text("mine")
    status, text = told(command[0], path, *command[1:])
    assert status == 1, text
    assert text == (f"error: cannot use the staging folder {there}: it is not a folder; "
                    "move it away, or give another folder as staging")  # fmt: skip
    assert there.read_text() == "mine"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["lock", "export.json"])
def test_a_folder_in_the_place_of_a_file(killed, told, command, name):
    path, staged = killed
    (staged.parent / name).unlink(missing_ok=True)
    (staged.parent / name).mkdir()
    status, text = told(command[0], path, *command[1:])
    assert status == 1 and text.endswith(f"{name} is a folder there; move it away"), text
    assert (staged.parent / name).is_dir()


def test_only_foreign_segments_are_nothing_to_resume(killed, told, caplog):
    path, staged = killed
    for segment in staged.glob("*.segment"):
        segment.unlink()
    (staged / UNKNOWN).write_bytes(b"rubbish of mine")
    status, text = told("run", path, "--resume", "--quiet")
    assert status == 0 and "there is nothing to resume" in text + caplog.text
    assert (staged / UNKNOWN).read_bytes() == b"rubbish of mine"


def test_a_damaged_export_json_is_cleaned(killed, told):
    path, staged = killed
    (staged.parent / "export.json").write_text("rubbish")
    status, text = told("clean", path)
    assert status == 0 and f"{staged.parent}: removed" in text
    assert not staged.parent.exists()


def test_a_staging_folder_on_a_read_only_file_system(tmp_path, told):
    path = config(tmp_path)
    place = tmp_path / "read-only"
    place.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(place)], capture_output=True)
    except OSError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        given = json.loads(path.read_text())
        path.write_text(json.dumps({**given, "staging": str(place)}))
        status, text = told("run", path, "--quiet")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    assert status == 1, text
    assert text.startswith(f"error: cannot write to the staging folder {place}") and "Read-only file system" in text
    assert not (tmp_path / "out").exists() or not visible(tmp_path / "out")


def test_a_block_that_was_damaged_after_it_was_staged_is_noticed(tmp_path):
    staging = Staging(str(tmp_path))
    segment = staging.create()
    unit = Unit(0, "f")
    ref = segment.add((), b"payload of a block", [18], BlockRef("", 0, 18, 18, 1, 1, False, (unit, 0, 0), 0))
    segment.commit([Mark(unit, 0, (), True)])
    assert Blocks().payload(ref) == b"payload of a block"
    path = Path(ref.segment)
    path.write_bytes(path.read_bytes().replace(b"payload of", b"payload OF"))
    with pytest.raises(DestinationError, match=r"was damaged after it was written .*; run without --resume"):
        Blocks().payload(ref)
