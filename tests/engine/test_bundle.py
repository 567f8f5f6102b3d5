"""One archive in the place of all files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.engine.publishing import PublishFile
from exporters_beam.errors import ConfigError
from exporters_beam.planning.explain import text
from exporters_beam.planning.plan import make, make_each
from exporters_beam.reporting.manifest import manifest_checksum, manifest_text
from exporters_beam.reporting.verify import verify
from exporters_beam.runners.own_output import refuse_own_output

from helpers import jsonl, write_gz

Run = Callable[..., Any]
RECORDS = [{"n": n, "g": "aé/"[n % 3], "text": "x" * 50} for n in range(30)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs an export of the records by `g`, in files of four, into all.zip; gives the report."""
    (tmp_path / "in.jl").write_bytes(jsonl(RECORDS))
    (tmp_path / "nothing.jl").touch()

    def go(source: str = "in", compression: str | None = None, resume: bool = False, **sections: Any) -> Any:
        options: dict[str, Any] = {"filebase": f"{tmp_path}/out/part-", "items_per_buffer_write": 4}
        config = {
            "reader": {"name": "fs", "options": {"input": f"{tmp_path}/{source}.jl"}},
            "partition_by": ["g"],
            "bundle": {"name": "all.zip"},
            "writer": {"name": "fs", "options": {**options, **({"compression": compression} if compression else {})}},
            "exporter_options": {"resume": resume},
            **sections,
        }
        return exporters_beam.run({name: part for name, part in config.items() if part is not None})

    return go


def visible(tmp_path: Path) -> list[str]:
    files = (path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file())
    return sorted(name for name in files if ".exporters" not in name)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_all_files_are_in_one_archive(run: Run, tmp_path: Path) -> None:
    run(bundle=None)
    alone = {name: (tmp_path / "out" / name).read_bytes() for name in visible(tmp_path)}
    assert len(alone) == 9 and "g=%2F/part-0000.jl.gz" in alone
    for name in alone:
        (tmp_path / "out" / name).unlink()
    report = run(done={"success_file": "_SUCCESS", "manifest": "files.json"})
    assert visible(tmp_path) == ["_SUCCESS", "all.zip", "files.json"]
    found = members(tmp_path / "out/all.zip")
    assert [*found] == sorted(alone) and found == alone
    (file,) = json.loads((tmp_path / "out/files.json").read_text())["files"]
    assert (file["name"], file["records"]) == ("all.zip", 30)
    assert file["members"] == [
        {"name": name, "group": ["aé/"["aé%".index(name[2])]], "records": 4 if "0002" not in name else 2,
         "bytes": len(data), "md5": hashlib.md5(data).hexdigest()} for name, data in found.items()
    ]  # fmt: skip
    assert verify(report.manifest)[0] == []
    first = (tmp_path / "out/all.zip").read_bytes()
    run()
    assert (tmp_path / "out/all.zip").read_bytes() == first, "the same files are the same bytes"
    again = run(resume=True)
    assert again.manifest == run(resume=True).manifest


@pytest.mark.slow
def test_what_is_not_compressed_is_compressed_in_it(run: Run, tmp_path: Path) -> None:
    run(compression="none", partition_by=None)
    with zipfile.ZipFile(tmp_path / "out/all.zip") as archive:
        assert archive.namelist()[0] == "part-0000.jl" and len(archive.namelist()) == 8
        assert all(info.compress_size < info.file_size for info in archive.infolist())
        lines = b"".join(archive.read(name) for name in archive.namelist()).splitlines()
    assert list(map(json.loads, lines)) == RECORDS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_every_format_can_be_in_it(name: str, run: Run, tmp_path: Path) -> None:
    options = {"fields": ["n", "g"], "show_titles": True} if name == "csv" else {}
    report = run(formatter={"name": name, "options": options}, partition_by=None)
    found = members(tmp_path / "out/all.zip")
    if name == "parquet":
        rows = [row for data in found.values() for row in pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()]
        assert rows == RECORDS
    else:
        assert gzip.decompress(found["part-0001.csv.gz"]).splitlines()[:2] == [b'"n","g"', b'4,"\xc3\xa9"']
    assert verify(report.manifest)[0] == []


def test_verify_reads_the_members(run: Run, tmp_path: Path) -> None:
    report = run(compression="none", partition_by=None)
    archive = tmp_path / "out/all.zip"
    told = json.loads(Path(report.manifest).read_text())
    told["files"][0]["members"][1]["records"] = 5
    told["files"][0]["members"][2]["md5"] = "0" * 32
    told["checksum"] = manifest_checksum(told)
    Path(report.manifest).write_bytes(manifest_text(told))
    first, second = verify(report.manifest)[0]
    assert first == f"{archive}: part-0001.jl: it holds 4 records, 5 were delivered"
    assert second.startswith(f"{archive}: part-0002.jl: its content has changed")
    archive.write_bytes(b"x" * told["files"][0]["bytes"])
    assert "all.zip: its content has changed" in verify(report.manifest)[0][0]


def test_a_run_that_fails_on_the_way_is_resumed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill, left = PublishFile.fill, [3]

    def failing(self: PublishFile, file: Any, out: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(28, "No space left on device")
        fill(self, file, out)

    with monkeypatch.context() as patch, pytest.raises(exporters_beam.DestinationError, match=r"all\.zip: No space left"):
        patch.setattr(PublishFile, "fill", failing)
        run()
    assert visible(tmp_path) == []
    report = run(resume=True)
    assert report.resumed == 30 and verify(report.manifest)[0] == []
    archive = (tmp_path / "out/all.zip").read_bytes()
    run()
    assert (tmp_path / "out/all.zip").read_bytes() == archive


@pytest.mark.slow
def test_an_export_of_nothing(run: Run, tmp_path: Path) -> None:
    run("nothing")
    assert visible(tmp_path) == []
    run("nothing", empty="file", partition_by=None)
    assert {name: gzip.decompress(data) for name, data in members(tmp_path / "out/all.zip").items()} == {"part-0000.jl.gz": b""}


def test_it_is_another_export_where_its_name_has_another_date() -> None:
    spec = load({"reader": {"name": "fs", "options": {"input": "in"}}, "bundle": {"name": "a/%j.zip"},
                 "writer": {"name": "fs", "options": {"filebase": "out/part-"}}})  # fmt: skip
    one, same, other = (make(spec, datetime(2026, 1, day, hour)) for day, hour in ((1, 0), (1, 5), (2, 0)))
    assert one.bundle == "out/a/001.zip" and one.export_id == same.export_id != other.export_id
    assert "bundle: one worker puts all files into out/a/001.zip" in text(one)
    s3 = {"name": "s3", "options": {"bucket": "b", "prefix": "a"}}
    to_s3 = {"name": "s3", "options": {"bucket": "b", "filebase": "out/"}}
    assert make(load({"reader": s3, "writer": to_s3})).copied
    assert make(load({"reader": s3, "writer": to_s3, "bundle": {"name": "a.zip"}})).why_not_copied == "there is a bundle"


def test_an_export_does_not_read_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    spec = load({"reader": {"name": "fs", "options": {"input": {"dir": "d", "pattern": "zip$"}}}, "bundle": {"name": "a.zip"},
                 "writer": {"name": "fs", "options": {"filebase": "d/part-"}}})  # fmt: skip
    with pytest.raises(ConfigError, match=r"bundle\.name: files such as d/a\.zip are among those that the reader reads"):
        refuse_own_output(make(spec))


MISTAKES = {
    "no name": ({}, {}, "bundle.name: this option is missing"),
    "no zip": ({"name": "a.tar"}, {}, 'bundle.name: "a.tar" does not end with .zip'),
    "elsewhere": ({"name": "../a.zip"}, {}, 'bundle.name: "../a.zip" is not a name below the folder of filebase'),
    "no mapping": ("a.zip", {}, 'bundle: wrong type: found "a.zip", expected a mapping: {name: day.zip}'),
    "done": ({"name": "a.zip"}, {"done": {"success_file": "a.zip"}}, "done.success_file: out/a.zip is the name of the archive"),
    "console": ({"name": "a.zip"}, {"writer": "console"}, "bundle: the writer console delivers no files to a place"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, sections, told = MISTAKES[mistake]
    config = {"reader": {"name": "fs", "options": {"input": "in"}}, "bundle": bundle,
              "writer": {"name": "fs", "options": {"filebase": "out/a-"}}, **sections}  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert main(["validate", str(tmp_path / "c.json")]) == 2
    assert told in capsys.readouterr().err


def test_the_example_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/delivered.md").read_text()
    monkeypatch.chdir(tmp_path)
    write_gz(tmp_path / "items.jl.gz", [{"sku": n, "country": ["DK", "SE"][n % 2]} for n in range(3)])
    (tmp_path / "c.yaml").write_text(page.partition("```yaml archive.yaml\n")[2].partition("```")[0])
    assert main(["run", "c.yaml", "--quiet"]) == 0
    (archive,) = (tmp_path / "daily").glob("*.zip")
    shown = page.partition("$ unzip -Z1 daily/items-*.zip\n")[2].partition("```")[0].split()
    assert [*members(archive)] == shown and members(archive)[shown[0]] == b'"sku"\n0\n2\n'


@pytest.mark.slow
def test_each_of_several_writers_may_have_one(run: Run, tmp_path: Path) -> None:
    def to(name: str, **more: Any) -> dict[str, Any]:
        return {"name": "fs", "as": name, "options": {"filebase": f"{tmp_path}/out/{name}-"}, **more}

    run(bundle=None, writer=None, writers=[to("one"), to("two", bundle={"name": "two.zip"})], partition_by=None)
    assert visible(tmp_path) == ["one-0000.jl.gz", "two.zip"] and [*members(tmp_path / "out/two.zip")] == ["two-0000.jl.gz"]
    config = {"reader": {"name": "fs", "options": {"input": "in"}}, "bundle": {"name": "a.zip"}, "writers": [to("a"), to("b")]}
    with pytest.raises(ConfigError, match=r"bundle\.name: writers\[0\] and writers\[1\] would both deliver .*/out/a\.zip"):
        make_each(load(config))
