"""A rerun that makes fewer files leaves none of the old ones behind unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.engine import closing

from helpers import hidden, jsonl, visible


def write(place: Path, records: int) -> None:
    (place / "in.jl").write_bytes(jsonl([{"id": i, "g": f"g{i}"} for i in range(records)]))


def config(place: Path, **writer: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": str(place / "in.jl")}},
        "grouper": {"name": "file_key", "options": {"keys": ["g"]}},
        "writer": {
            "name": "fs",
            "options": {"filebase": f"{place}/out/{{groups[0]}}/part-", "compression": "none", **writer},
        },
    }


def names(place: Path) -> list[str]:
    return sorted(visible(place / "out"))


def told(place: Path) -> dict[str, Any]:
    (manifest,) = (place / "out").glob(".exporters/*/manifest.json")
    found: dict[str, Any] = json.loads(manifest.read_text())
    return found


@pytest.fixture
def fewer(tmp_path: Path) -> Path:
    """An export of three files, and input for one."""
    write(tmp_path, 3)
    exporters_beam.run(config(tmp_path))
    write(tmp_path, 1)
    return tmp_path


OLD = ["g1/part-0000.jl", "g2/part-0000.jl"]


def test_without_replace_they_are_named(fewer: Path, caplog: Any) -> None:
    report = exporters_beam.run(config(fewer))
    (warning,) = report.warnings
    assert warning == (f"files of runs before are not part of this export and still there: {fewer}/out/{OLD[0]}, "
                       f"{fewer}/out/{OLD[1]}; remove them, or give the writer `replace: true`")  # fmt: skip
    assert warning in caplog.text and told(fewer)["warnings"] == [warning]
    assert names(fewer) == ["g0/part-0000.jl", *OLD]
    again = exporters_beam.run(config(fewer))  # And again, as long as they are there.
    assert again.warnings == (warning,)
    for name in OLD:
        (fewer / "out" / name).unlink()
    assert exporters_beam.run(config(fewer)).warnings == () and "left" not in told(fewer)


def test_with_replace_they_are_removed(fewer: Path) -> None:
    report = exporters_beam.run(config(fewer, replace=True))
    assert report.warnings == ()
    assert names(fewer) == ["g0/part-0000.jl"]
    assert not (fewer / "out" / "g1").exists()
    assert [Path(name).name for name in hidden(fewer / "out")] == ["manifest.json"]


def test_replace_may_be_asked_for_later(fewer: Path) -> None:
    exporters_beam.run(config(fewer))
    exporters_beam.run({**config(fewer, replace=True), "exporter_options": {"resume": True}})
    assert names(fewer) == ["g0/part-0000.jl"]


def test_a_run_that_is_killed_before_it_removes_them_is_made_up_for(fewer: Path, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(closing, "remove", lambda writer, left: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(exporters_beam.ExportError):
            exporters_beam.run(config(fewer, replace=True))
    assert names(fewer) == ["g0/part-0000.jl", *OLD]
    exporters_beam.run({**config(fewer, replace=True), "exporter_options": {"resume": True}})
    assert names(fewer) == ["g0/part-0000.jl"]


@pytest.mark.parametrize("text", ["mine", '{"id":1,"g":"G1"}\n'])
def test_what_is_not_as_it_was_delivered_stays(fewer: Path, text: str) -> None:
    (fewer / "out" / OLD[0]).write_text(text)
    (warning,) = exporters_beam.run(config(fewer, replace=True)).warnings
    assert "files of runs before are not as they were delivered" in warning and OLD[0] in warning
    assert names(fewer) == ["g0/part-0000.jl", OLD[0]]


def test_another_export_is_not_touched(fewer: Path) -> None:
    """Another config, or other dates in names."""
    exporters_beam.run(config(fewer, replace=True, start_file_count=7))
    assert names(fewer) == ["g0/part-0000.jl", "g0/part-0007.jl", *OLD]


def test_what_comes_back_is_no_leftover(fewer: Path) -> None:
    exporters_beam.run(config(fewer))
    write(fewer, 3)
    assert exporters_beam.run(config(fewer, replace=True)).warnings == ()
    assert names(fewer) == ["g0/part-0000.jl", *OLD] and "left" not in told(fewer)


def test_a_manifest_that_was_touched_is_not_believed(fewer: Path) -> None:
    (manifest,) = (fewer / "out").glob(".exporters/*/manifest.json")
    manifest.write_text(manifest.read_text().replace("g1/part", "g9/part"))
    (warning,) = exporters_beam.run(config(fewer, replace=True)).warnings
    assert "the manifest of the run before cannot be read (its checksum does not fit)" in warning
    assert names(fewer) == ["g0/part-0000.jl", *OLD]


def test_verify_tells_what_is_left_and_what_no_manifest_knows(fewer: Path, capsys: Any) -> None:
    exporters_beam.run(config(fewer))
    exporters_beam.run(config(fewer, start_file_count=7))  # Known by its own manifest.
    for name in ("g0/part-0001.jl", "g5/part-x", "g0/.part-hidden", "g0/other", "part-0000.jl"):
        (fewer / "out" / name).parent.mkdir(exist_ok=True)
        (fewer / "out" / name).write_text("")
    first = min((fewer / "out").glob(".exporters/*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    capsys.readouterr()
    assert main(["verify", str(first)]) == 0
    said = capsys.readouterr()
    out = f"{fewer}/out"
    assert said.err.splitlines() == [
        f"warning: {first}: files of runs before are not part of it: {out}/{OLD[0]}, {out}/{OLD[1]}; remove them, or give "
        "the writer `replace: true`",
        f"warning: {first}: files beside those it lists stand in no manifest: {out}/g0/part-0001.jl, {out}/g5/part-x",
    ]
    assert "ok, 1 files" in said.out


def test_verify_with_relative_names(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, 2)
    told = {
        "reader": {"name": "fs", "options": {"input": "in.jl"}},
        "writer": {"name": "fs", "options": {"filebase": "part-"}},
    }
    report = exporters_beam.run({**told, "writer": {"name": "fs", "options": {"filebase": "part-", "generate_md5": True}}})
    (tmp_path / "part-9").touch()
    assert main(["verify", report.manifest]) == 0
    assert capsys.readouterr().err == f"warning: {report.manifest}: files beside those it lists stand in no manifest: part-9\n"
