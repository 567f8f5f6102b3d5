"""What every storage promises, against a real server each. A new storage joins with a line in PLACES."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import shutil
from pathlib import Path

import pytest
import yaml

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.config import spec
from exporters_beam.errors import ConfigError, DestinationError, SourceError
from exporters_beam.records import Unit, Warned
from exporters_beam.reporting.verify import verify
from exporters_beam.storages.base import Content, NotThere, StorageError

from helpers import jsonl
from places import Place

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parent.parent.parent
PLACES = ("s3", "moto", "minio", "s3proxy", "gcs", "sftp", "ftp", "ftps", "old_ftp", "azure_blob", "azure_file", "hdfs",
          "gdrive", "dropbox")  # fmt: skip
every = pytest.mark.parametrize("place", PLACES, indirect=True)

SAME = {"moto": "s3", "minio": "s3", "s3proxy": "s3", "ftps": "ftp", "old_ftp": "ftp"}
"""Further servers of a protocol. What hangs on how a server answers is tried with all of them (`every`); what exports make of
the answers, with one of each protocol (`each`)."""

each = pytest.mark.parametrize("place", [name for name in PLACES if name not in SAME], indirect=True)

RECORDS = [{"_key": n, "text": "é" * (n % 7)} for n in range(500)]


@pytest.fixture
def quickstart(tmp_path, monkeypatch) -> dict:
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    monkeypatch.chdir(tmp_path)
    return yaml.safe_load((tmp_path / "templates/quickstart.yaml").read_text())


def manifest_of(report) -> dict:
    return json.loads(Path(report.manifest).read_text())


@every
def test_the_quickstart_with_only_the_writer_changed(place: Place, quickstart, tmp_path):
    here = manifest_of(exporters_beam.run(quickstart))
    filebase = quickstart["writer"]["options"]["filebase"]
    config = {**quickstart, "writer": place.writer(filebase)}
    report = exporters_beam.run(config)
    there = manifest_of(report)

    url = place.storage().url
    names = [f"{url(file['name'])}" for file in here["files"]]
    assert [file["name"] for file in there["files"]] == names
    for manifest in (here, there):
        for key in ("export", "checksum"):
            del manifest[key]
        for file in manifest["files"]:
            file["name"] = file["name"].removeprefix(url(""))
    assert there == here

    wrong, _ = verify(report.manifest, place.storage())
    assert wrong == []
    for file in here["files"]:
        assert place.get(file["name"]) == Path(file["name"]).read_bytes()
    books = f"out/quickstart/.exporters/{report.export_id}/manifest.json"
    assert place.get(books) == Path(report.manifest).read_bytes()
    Path("config.yaml").write_text(yaml.safe_dump(config))
    assert main(["verify", url(books), "--config", "config.yaml"]) == 0
    assert sorted(found.name for found in place.storage().names("")) == sorted(file["name"] for file in here["files"])


@every
def test_delivered_again_after_it_was_read(place: Place, tmp_path):
    """From the storage, through a filter, to the storage, twice: the second time changes nothing."""
    for n in range(3):
        place.put(f"in/part-{n}.jl.gz", gzip.compress(jsonl(RECORDS[n::3]), mtime=0))
    config = {
        "reader": place.source("in/", pattern=r"part-[12]\.jl\.gz$"),
        "filter": {"name": "pythonexp", "options": {"python_expression": "item['_key'] % 2 == 0"}},
        "writer": place.writer("out/{groups[0]}-", check_consistency=True, generate_md5=True),
        "grouper": {"name": "file_key", "options": {"keys": ["text"]}},
    }
    reports = [exporters_beam.run(config) for _ in range(2)]
    assert reports[0].files == reports[1].files
    kept = [r for n in (1, 2) for r in RECORDS[n::3] if r["_key"] % 2 == 0]
    names = sorted(found.name for found in place.storage().names("out/"))
    assert len(names) == 8 and "out/md5checksum.md5" in names
    found = [json.loads(line) for name in names if name.endswith(".gz")
             for line in gzip.decompress(place.get(name)).splitlines()]  # fmt: skip
    assert sorted(found, key=lambda r: r["_key"]) == sorted(kept, key=lambda r: r["_key"])
    assert [unit["name"] for unit in reports[0].units] == [place.storage().url(f"in/part-{n}.jl.gz") for n in (1, 2)]


@each
def test_files_of_the_run_before_are_told_and_replaced(place: Place, tmp_path, capsys):
    for books in (True, False):  # On this machine, and on another one, which has only what stands in the storage.
        source = tmp_path / "in.jl"
        source.write_bytes(jsonl([{"g": "a"}, {"g": "b"}, {"g": "c"}]))
        config = {
            "reader": {"name": "fs", "options": {"input": str(source)}},
            "writer": place.writer("out/{groups[0]}-"),
            "grouper": {"name": "file_key", "options": {"keys": ["g"]}},
        }
        before = exporters_beam.run(config)
        if not books:
            shutil.rmtree(Path(before.manifest).parent)
        source.write_bytes(jsonl([{"g": "a"}]))
        report = exporters_beam.run(config)
        (warning,) = report.warnings
        assert place.storage().url("out/b-0000.jl.gz") in warning or "out/b-" in warning
        config["writer"]["options"]["replace"] = True
        assert exporters_beam.run(config).warnings == ()
        (left,) = [found.name for found in place.storage().names("out/") if not isinstance(found, Warned)]
        assert left.startswith("out/a-")
        place.put("out/stranger-0000.jl.gz", b"")
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        capsys.readouterr()
        assert main(["verify", report.manifest, "--config", str(tmp_path / "config.yaml")]) == 0
        assert place.storage().url("out/stranger-0000.jl.gz") in capsys.readouterr().err
        place.storage().delete("out/stranger-0000.jl.gz")


@each
def test_a_letter_is_delivered_once_from_whatever_machine(place: Place, tmp_path):
    source = tmp_path / "in.jl"
    source.write_bytes(jsonl([{"n": 0}, {"n": 1}, {}]))
    config = {
        "reader": {"name": "fs", "options": {"input": str(source)}},
        "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(m=1 / item['n'])"]}},
        "writer": place.writer("out/part-"),
        "on_error": "dead_letter",
    }
    first = exporters_beam.run(config)
    letters = tmp_path / "letters.jl"
    letters.write_bytes(Path(first.dead_letters["name"]).read_bytes())
    config["transform"]["options"]["python_expressions"] = ["item.update(m=2)"]
    assert exporters_beam.replay(config, [letters]).written == 2
    names = sorted(found.name for found in place.storage().names("out/"))
    assert len(names) == 2
    shutil.rmtree(Path(first.manifest).parents[1])  # Another machine has no books of it.
    letters.write_bytes(b"".join(reversed(letters.read_bytes().splitlines(True))))
    assert exporters_beam.replay(config, [letters]).written == 0
    assert sorted(found.name for found in place.storage().names("out/")) == names


@every
def test_an_object_is_entered_at_any_byte(place: Place):
    data = bytes(range(256)) * 20_000
    place.put("in/data", data)
    storage = pickle.loads(pickle.dumps(place.storage()))
    found = storage.stat("in/data")
    assert found.size == len(data)
    with storage.open(found) as stream:
        assert stream.seek(4_000_001) == 4_000_001
        assert stream.read(300) == data[4_000_001:4_000_301]
        stream.seek(-10, io.SEEK_END)
        assert stream.read() == data[-10:]
        stream.seek(0)
        assert stream.read() == data


@each
def test_plain_lines_are_cut_up_and_every_record_comes_once(place: Place, monkeypatch):
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 3000)
    place.put("in/a.jl", jsonl(RECORDS))
    report = exporters_beam.run({"reader": place.source("in/"), "writer": place.writer("out/part-", compression="none")})
    assert report.counts["read"] == len(RECORDS)
    assert (
        place.get("out/part-0000.jl").splitlines()
        == [json.dumps(r, ensure_ascii=False, separators=(",", ":")).encode() for r in RECORDS]
        or [json.loads(line) for line in place.get("out/part-0000.jl").splitlines()] == RECORDS
    )


@every
def test_what_changed_since_it_was_listed_is_refused(place: Place):
    place.put("in/a", b"first")
    storage = place.storage()
    found = storage.stat("in/a")
    place.put("in/a", b"second, longer")
    with pytest.raises(StorageError, match="changed while the export ran"), storage.open(found) as stream:
        stream.read()


@every
def test_a_file_that_breaks_off_while_it_is_sent_does_not_appear(place: Place):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if size < 0 or self.tell() + size > 200_000:
                raise ZeroDivisionError("the middle of the file")
            return super().read(size)

    storage = place.storage()
    data = b"x" * 300_000
    with pytest.raises((ZeroDivisionError, StorageError)):
        storage.put("out/a", Broken(data), Content(len(data), "0" * 32, token="t"))
    with pytest.raises(NotThere):
        storage.stat("out/a")


@every
def test_what_is_not_what_was_sent_is_noticed(place: Place):
    storage = place.storage()
    with pytest.raises(StorageError):
        storage.put("out/a", io.BytesIO(b"something"), Content(9, "0" * 32, token="t"))


@every
def test_names_are_listed_in_order_and_the_books_are_left_out(place: Place):
    for name in ("in/b", "in/a/x", "in/a/.exporters/1/manifest.json", "in/c", "other/d", ".exporters/2/manifest.json"):
        place.put(name, b"1")
    assert [found.name for found in place.storage().names("in/")] == ["in/a/x", "in/b", "in/c"]
    assert [found.name for found in place.storage().names("")] == ["in/a/x", "in/b", "in/c", "other/d"]


@every
def test_removed_is_gone_and_removing_it_again_is_no_error(place: Place):
    place.put("a", b"1")
    storage = place.storage()
    storage.delete("a")
    storage.delete("a")
    with pytest.raises(NotThere):
        storage.stat("a")


@each
def test_nothing_to_read_is_an_error_unless_it_may_be_so(place: Place, caplog):
    place.put("in/a.jl", jsonl(RECORDS))
    with pytest.raises(SourceError, match=f"option {place.where}: there is nothing at .*nowhere"):
        exporters_beam.run({"reader": place.source("nowhere/"), "writer": place.writer("out/part-")})
    report = exporters_beam.run({"reader": place.source("nowhere/", allow_empty=True), "writer": place.writer("out/part-")})
    assert report.counts["read"] == 0
    caplog.clear()
    with pytest.raises(SourceError, match=r"option pattern: there is nothing to read at .*none of 1 names has 'b' in it"):
        exporters_beam.run({"reader": place.source("in/", pattern="b"), "writer": place.writer("out/part-")})
    source = place.source("in/", pattern="b", allow_empty=True)
    report = exporters_beam.run({"reader": source, "writer": place.writer("out/part-")})
    assert report.counts["read"] == 0 and "none of 1 names has 'b' in it" in caplog.text


@each
def test_marks_and_copies_are_no_data(place: Place):
    hidden = ("in/.tmp/b.jl", "in/_SUCCESS", "in/_old/c.jl")
    for name in (*hidden, "in/_day=1/d.jl", "in/a.jl"):
        place.put(name, jsonl(RECORDS[:1]))

    def read(where: str, **options) -> tuple[list[str], str]:
        reader = spec.load({"reader": place.source(where, **options), "writer": {"name": "console"}}).reader.component
        found = list(reader.units())
        names = [reader.stored(unit).name for unit in found if isinstance(unit, Unit)]
        return names, "".join(unit.text for unit in found if isinstance(unit, Warned))

    names, told = read("in/")
    assert names == ["in/_day=1/d.jl", "in/a.jl"]
    assert "and 1 more: passed over" in told and "include_hidden: true" in told
    assert read("in/", include_hidden=True)[0] == sorted((*hidden, *names))
    assert read("in/_old/")[0] == ["in/_old/c.jl"]
    assert read("in/_SUCCESS")[0] == ["in/_SUCCESS"]


@each
def test_nothing_is_delivered_as_one_file_where_that_is_wanted(place: Place):
    writer = place.writer("out/nothing-", compression="gz")
    source = place.source("nowhere/", allow_empty=True)
    for more in ({}, {"formatter": {"name": "json", "options": {"jsonlines": False}}}):  # The first may be a copy.
        report = exporters_beam.run({"reader": source, "writer": writer, "empty": "file", **more})
        name = "out/nothing-0000.json.gz" if more else "out/nothing-0000.jl.gz"
        assert gzip.decompress(place.get(name)) == (b"[]" if more else b"")
        assert verify(report.manifest, place.storage())[0] == [] and report.written == 0


@each
def test_killed_before_publishing_it_is_resumed(place: Place, monkeypatch):
    for n in range(4):
        place.put(f"in/part-{n}.jl.gz", gzip.compress(jsonl(RECORDS[n::4]), mtime=0))
    never = {"prevent_bypass": True}
    config = {"reader": place.source("in/"), "writer": place.writer("out/part-"), "exporter_options": never}
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.storages.writer.RemoteWriter.publish", _dies)
        with pytest.raises(Exception, match="the power went out"):
            exporters_beam.run(config)
    assert list(place.storage().names("out/")) == []
    report = exporters_beam.run({**config, "exporter_options": {**never, "resume": True}})
    assert report.resumed == len(RECORDS) and report.counts["read"] == len(RECORDS)
    assert verify(report.manifest, place.storage())[0] == []


def _dies(*_):
    raise DestinationError("the power went out")


@each
def test_only_what_is_new_is_read_and_then_put_away(place: Place, tmp_path, caplog):
    storage = place.storage()

    def put(name: str, *numbers: int) -> None:
        data = jsonl([{"n": n} for n in numbers])
        storage.put(name, io.BytesIO(data), Content(len(data), hashlib.md5(data).hexdigest(), token="x"))

    def there(prefix: str) -> list[str]:
        return [found.name for found in storage.names(prefix) if not isinstance(found, Warned)]

    config = {
        "reader": place.source("news/"),
        "new_only": True,
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/n-{{batch}}-", "compression": "none"}},
    }
    put("news/a.jl", 1)
    put("news/deep/b.jl", 2, 3)
    assert exporters_beam.run(config).written == 3
    assert exporters_beam.run(config).note.startswith("there is nothing new since batch 1")
    put("news/c.jl", 4)
    assert exporters_beam.run({**config, "after": {"archive": "old/{batch}"}}).written == 1
    assert there("old/") == ["old/2/c.jl"] and there("news/") == ["news/a.jl", "news/deep/b.jl"]
    put("news/c.jl", 5, 50)
    assert exporters_beam.run({**config, "after": "delete"}).written == 2
    assert there("news/") == ["news/a.jl", "news/deep/b.jl"]
    with pytest.raises(ConfigError, match="would be read again"):
        put("news/d.jl", 6)
        exporters_beam.run({**config, "after": {"archive": "news/old"}})
    found = sorted(tmp_path.glob("out/n-*"))
    assert [path.read_bytes() for path in found] == [jsonl([{"n": n} for n in each]) for each in ((1, 2, 3), (4,), (5, 50))]
