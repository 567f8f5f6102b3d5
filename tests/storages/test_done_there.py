"""`done` at storages: a manifest for customers and a success file, which are removed before files are replaced."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import pytest

import exporters_beam
from exporters_beam.reporting.verify import verify
from exporters_beam.storages.base import NotThere
from exporters_beam.storages.writer import RemoteWriter

from helpers import jsonl
from places import Place

pytestmark = pytest.mark.servers

DONE = {"success_file": "_SUCCESS", "manifest": "meta/files.json"}


def there(place: Place, name: str) -> bool:
    try:
        place.get(name)
    except (NotThere, FileNotFoundError):
        return False
    return True


@pytest.mark.parametrize("place", ["s3", "gcs", "sftp", "azure_blob", "dropbox"], indirect=True)
def test_it_stands_only_beside_whole_exports(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = place.writer("out/part-", items_per_buffer_write=40)
    config = {"reader": {"name": "random", "options": {"number_of_items": 100}}, "writer": writer, "done": DONE}
    report = exporters_beam.run(config)
    told = json.loads(place.get("out/meta/files.json"))
    assert [(file["name"], file["records"]) for file in told["files"]] == [
        (f"../part-000{n}.jl.gz", records) for n, records in enumerate((40, 40, 20))
    ]
    assert there(place, "out/_SUCCESS") and verify(report.manifest, place.storage())[0] == []
    assert not exporters_beam.run({**config, "exporter_options": {"resume": True}}).warnings
    publish = RemoteWriter.publish

    def failing(self, file, fill, scratch):
        if file.name.endswith("0001.jl.gz"):
            raise exporters_beam.DestinationError("no space left")
        return publish(self, file, fill, scratch)

    with monkeypatch.context() as patch, pytest.raises(exporters_beam.ExportError, match="no space left"):
        patch.setattr(RemoteWriter, "publish", failing)
        exporters_beam.run(config)
    assert not there(place, "out/_SUCCESS") and not there(place, "out/meta/files.json")


def test_objects_that_are_copied_have_it(moto: Place) -> None:
    moto.put("in/a.jl.gz", gzip.compress(jsonl([{"n": 1}]), mtime=0))
    config = {"reader": moto.source("in/"), "writer": moto.writer("copy/of-"), "done": DONE}
    report = exporters_beam.run(config)
    told = json.loads(moto.get("copy/meta/files.json"))
    assert (told["records"], [file["name"] for file in told["files"]]) == (None, ["../of-a.jl.gz"])
    assert there(moto, "copy/_SUCCESS") and verify(report.manifest, moto.storage())[0] == []
    moto.put("in/b.jl.gz", b"\x1f\x8b no gzip")
    exporters_beam.run(config)
    assert len(json.loads(moto.get("copy/meta/files.json"))["files"]) == 2


@pytest.mark.parametrize("place", ["s3", "sftp"], indirect=True)
def test_one_archive_there(place: Place) -> None:
    writer = place.writer("out/part-", items_per_buffer_write=40)
    config = {"reader": {"name": "random", "options": {"number_of_items": 100}}, "writer": writer, "bundle": {"name": "a.zip"}}
    report = exporters_beam.run({**config, "done": {"manifest": "files.json"}})
    with zipfile.ZipFile(io.BytesIO(place.get("out/a.zip"))) as archive:
        assert archive.namelist() == [f"part-000{n}.jl.gz" for n in range(3)] and archive.testzip() is None
    (file,) = json.loads(place.get("out/files.json"))["files"]
    assert (file["name"], [member["records"] for member in file["members"]]) == ("a.zip", [40, 40, 20])
    assert verify(report.manifest, place.storage())[0] == []


@pytest.mark.parametrize("place", ["s3", "sftp"], indirect=True)
def test_encrypted_files_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pysequoia = pytest.importorskip("pysequoia")
    owner = pysequoia.Tsk.generate("Customer <customer@example.org>")
    config = {"reader": {"name": "random", "options": {"number_of_items": 100, "seed": 1}},
              "writer": place.writer("out/part-", items_per_buffer_write=40, generate_md5=True, check_consistency=True),
              "encrypt": {"pgp": [str(owner.extract_certificate())]}, "done": DONE}  # fmt: skip
    publish = RemoteWriter.publish

    def failing(self, file, fill, scratch):
        if file.name.endswith("0001.jl.gz.pgp"):
            publish(self, file, fill, scratch)
            raise exporters_beam.DestinationError("the connection was lost")
        return publish(self, file, fill, scratch)

    with monkeypatch.context() as patch, pytest.raises(exporters_beam.ExportError, match="connection was lost"):
        patch.setattr(RemoteWriter, "publish", failing)
        exporters_beam.run(config)
    before = place.get("out/part-0001.jl.gz.pgp")
    report = exporters_beam.run({**config, "exporter_options": {"resume": True}})
    assert place.get("out/part-0001.jl.gz.pgp") == before and verify(report.manifest, place.storage())[0] == []
    parts = [pysequoia.decrypt(place.get(f"out/part-000{n}.jl.gz.pgp"), owner.decryptor()).bytes for n in range(3)]
    assert [len(gzip.decompress(part).splitlines()) for part in parts] == [40, 40, 20]
    told = json.loads(place.get("out/meta/files.json"))["files"]
    assert [file["plain"]["bytes"] for file in told] == list(map(len, parts))
