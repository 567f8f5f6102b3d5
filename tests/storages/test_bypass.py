"""Copying objects as they are: when it is done, what it delivers, and that it goes on where it was killed."""

from __future__ import annotations

import filecmp
import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.planning.explain import text
from exporters_beam.planning.plan import make
from exporters_beam.reporting.verify import verify
from exporters_beam.storages.azure_blob import AzureBlobStorage
from exporters_beam.storages.base import StorageError

from helpers import jsonl
from places import AZURITE_KEY, Place, azure_place

servers = pytest.mark.servers

S3 = {"name": "exporters.readers.s3_reader.S3Reader", "options": {"bucket": "a"}}
TO_S3 = {"bucket": "b", "filebase": "out/"}
NONE = {"name": "exporters.filters.no_filter.NoFilter"}


def plan(options=(), reader=S3, writer="s3", **sections):
    return make(load({"reader": reader, "writer": {"name": writer, "options": {**TO_S3, **dict(options)}}, **sections}))


def test_where_nothing_changes_the_records_objects_are_copied():
    assert plan().why_not_copied == ""
    assert plan(steps=[{"filter": "none"}]).why_not_copied == ""
    assert plan(filter=NONE, transform={"name": "none"}, grouper={"name": "none"}).copied
    assert plan({"items_limit": 0, "items_per_buffer_write": 0, "size_per_buffer_write": None}).copied
    assert plan(decompressor="zlib", deserializer="jsonlines", formatter="json").copied
    assert plan({"compression": "none"}, decompressor="none").copied
    assert plan({"project": "p"}, writer="gcs").copied
    assert "bypass: nothing changes the records" in text(plan()) and "inside the service" in text(plan())


@pytest.mark.parametrize(
    ("options", "sections", "why"),
    [
        ({}, {"exporter_options": {"prevent_bypass": True}}, "prevent_bypass is given"),
        ({}, {"filter": {"name": "pythonexp", "options": {"python_expression": "True"}}}, "there is a filter_before"),
        ({}, {"filter_after": {"name": "pythonexp", "options": {"python_expression": "1"}}}, "there is a filter_after"),
        ({}, {"transform": {"name": "jq", "options": {"jq_filter": "."}}}, "there is a transform"),
        ({}, {"steps": [{"filter": "none"}, {"filter": "dupe", "as": "once"}]}, "there is the step once"),
        ({}, {"grouper": {"name": "file_key", "options": {"keys": ["a"]}}}, "there is a grouper"),
        ({"items_limit": 5}, {}, "the writer has items_limit"),
        ({"items_per_buffer_write": 500000}, {}, "the writer has items_per_buffer_write"),
        ({"size_per_buffer_write": 4000000000}, {}, "the writer has size_per_buffer_write"),
        ({"write_buffer": "reservoir_sampling"}, {}, "there is a write_buffer"),
        ({"generate_md5": True}, {}, "the writer has generate_md5"),
        ({"check_consistency": True}, {}, "the writer has check_consistency"),
        ({"filebase": "out/{file_number}-"}, {}, "filebase has placeholders"),
        ({}, {"formatter": {"name": "csv", "options": {"fields": ["a"]}}}, "the formatter is not"),
        ({}, {"formatter": {"name": "json", "options": {"jsonlines": False}}}, "the formatter is not"),
        ({}, {"deserializer": "csv"}, "the deserializer is not"),
        ({"compression": "zstd"}, {}, "the compression is zstd"),
        ({"compression": "none"}, {}, "the decompressor is auto and the compression none"),
        ({}, {"decompressor": "bz2"}, "the decompressor is bz2 and the compression gz"),
    ],
)
def test_what_forces_the_pipeline(options, sections, why):
    found = plan(options, **sections)
    assert why in found.why_not_copied
    assert f"no bypass: {found.why_not_copied}" in text(found)


def test_the_old_writers_that_took_no_copies_take_none():
    here = {"name": "fs", "options": {"input": {"dir": "."}}}
    assert not plan(reader=here).copied
    made = make(load({"reader": S3, "writer": {"name": "sftp", "options": {"host": "h", "filebase": "out/"}}}))
    assert not made.copied and "bypass" not in text(made)


@pytest.mark.parametrize("name", ["gdrive", "dropbox"])
def test_drive_and_dropbox_take_copies_of_their_own_only(name):
    to = {"name": name, "options": {"filebase": "out/"}}
    made = make(load({"reader": {"name": name, "options": {"path": "in"}}, "writer": to}))
    assert made.copied and "inside the service" in text(made)
    assert not make(load({"reader": S3, "writer": to})).copied
    assert make(load({"reader": {"name": name, "options": {"path": "in"}}, "writer": {"name": "s3", "options": TO_S3}})).copied


RECORDS = [{"_key": n} for n in range(100)]


def filled(place: Place, folder: str = "in/") -> dict[str, bytes]:
    """Objects below a folder, two of them with the same base name, one not compressed, one of no records."""
    objects = {
        "a.jl.gz": gzip.compress(jsonl(RECORDS[:40]), mtime=0),
        "b/a.jl.gz": gzip.compress(jsonl(RECORDS[40:80]), mtime=0),
        "c.jl": jsonl(RECORDS[80:]),
        "d.jl.gz": gzip.compress(b"", mtime=0),
    }
    for name, data in objects.items():
        place.put(folder + name, data)
    return objects


def copied(reader: Place, writer: Place, **sections):
    return exporters_beam.run({"reader": reader.source("in/"), "writer": writer.writer("copy/of-"), **sections})


@servers
@pytest.mark.parametrize(("reader", "writer"), [("moto", "moto"), ("s3", "s3"), ("gcs", "gcs"), ("s3", "gcs"),
                                                ("gcs", "moto"), ("sftp", "s3"), ("s3", "azure_blob"), ("s3", "azure_file"),
                                                ("azure_file", "azure_blob"), ("hdfs", "azure_file"),
                                                ("azure_blob", "azure_blob"), ("gdrive", "gdrive"),
                                                ("dropbox", "dropbox")])  # fmt: skip
def test_objects_are_copied_with_their_names(reader, writer, request):
    source, to = request.getfixturevalue(reader), request.getfixturevalue(writer)
    objects = filled(source)
    report = copied(source, to)
    told = json.loads(Path(report.manifest).read_text())
    assert told["bypassed"] and told["counts"]["not_counted"] == 4
    for name, data in objects.items():
        if name.endswith(".gz"):
            assert to.get(f"copy/of-{name}") == data
    assert gzip.decompress(to.get("copy/of-c.jl.gz")) == objects["c.jl"]
    assert len(report.files) == 4
    assert verify(report.manifest, to.storage())[0] == []


@servers
def test_what_an_export_has_delivered_is_counted(s3: Place, moto: Place):
    """The objects tell how many records they hold; the copies tell it too."""
    random = {"name": "random", "options": {"number_of_items": 1000}}
    exporters_beam.run({"reader": random, "writer": s3.writer("in/p-", items_per_buffer_write=300)})
    report = copied(s3, s3)
    assert report.counts == {"read": 1000, "kept": 1000, "written": 1000}
    assert [file["records"] for file in report.files] == [300, 300, 300, 100]
    again = exporters_beam.run({"reader": s3.source("copy/"), "writer": moto.writer("again/")})
    assert again.counts["written"] == 1000
    assert sorted(file["md5"] for file in again.files) == sorted(file["md5"] for file in report.files)


@servers
@pytest.mark.parametrize(("reader", "writer"), [("s3", "s3"), ("s3", "gcs")])
def test_killed_in_the_middle_it_goes_on_with_what_is_left(reader, writer, request, monkeypatch):
    source, to = request.getfixturevalue(reader), request.getfixturevalue(writer)
    filled(source)
    monkeypatch.setattr("exporters_beam.engine.copying.COMMIT_SECONDS", 0.0)
    from exporters_beam.engine.copying import CopyObjects

    copy, done = CopyObjects._copy, []

    def dies_at_the_third(self, unit):
        if len(done) == 2:
            raise OSError("the power went out")
        done.append(unit.name)
        return copy(self, unit)

    with monkeypatch.context() as patch:
        patch.setattr(CopyObjects, "_copy", dies_at_the_third)
        with pytest.raises(exporters_beam.ExportError, match="the power went out"):
            copied(source, to)
    first, done[:] = list(done), []

    def counts(self, unit):
        done.append(unit.name)
        return copy(self, unit)

    monkeypatch.setattr(CopyObjects, "_copy", counts)
    report = copied(source, to, exporter_options={"resume": True})
    assert len(done) == 2 and not set(done) & set(first)
    assert len(report.files) == 4 and verify(report.manifest, to.storage())[0] == []


@servers
def test_the_pipeline_delivers_the_same_records(s3: Place):
    filled(s3)
    report = exporters_beam.run({
        "reader": s3.source("in/"),
        "writer": s3.writer("pipeline/p-"),
        "exporter_options": {"prevent_bypass": True},
    })  # fmt: skip
    assert report.written == len(RECORDS) and len(report.files) == 1


@servers
def test_what_arrives_otherwise_is_noticed(s3: Place, gcs: Place, monkeypatch):
    filled(s3)
    from exporters_beam.storages.s3 import S3Storage

    opened = S3Storage.open

    def shorter(self, found):
        return opened(self, found._replace(size=found.size - 3))

    monkeypatch.setattr(S3Storage, "open", shorter)
    with pytest.raises(exporters_beam.ExportError, match=r"MD5|truncated|ended"):
        copied(s3, gcs)
    assert not list(gcs.storage().names("copy/of-a"))


@servers
def test_blobs_are_copied_from_container_to_container_inside_the_account(azurite, request, monkeypatch):
    """Nothing comes through this machine but what is not gzip, and the metadata goes with the blobs."""
    source, to = (azure_place(azurite) for _ in range(2))
    random = {"name": "random", "options": {"number_of_items": 1000}}
    exporters_beam.run({"reader": random, "writer": source.writer("in/p-", items_per_buffer_write=300)})
    config = {"reader": source.source("in/"), "writer": to.writer("copy/")}
    assert "inside the service where that is allowed" in text(make(load(config)))
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.storages.azure_blob.AzureBlobStorage.open", None)
        patch.setattr("exporters_beam.storages.azure_blob.AzureBlobStorage.put", put_small)
        report = exporters_beam.run(config)
    assert [file["records"] for file in report.files] == [300, 300, 300, 100]
    for n in range(4):
        assert to.get(f"copy/p-000{n}.jl.gz") == source.get(f"in/p-000{n}.jl.gz")
    assert verify(report.manifest, to.storage())[0] == []


def put_small(self, name, file, content, put=AzureBlobStorage.put):
    assert ".exporters/" in name, "it was streamed"
    return put(self, name, file, content)


@servers
def test_a_blob_that_changed_since_it_was_listed_is_not_copied(azurite):
    source, to = (azure_place(azurite) for _ in range(2))
    source.put("a.jl.gz", b"first")
    found = source.storage().stat("a.jl.gz")
    source.put("a.jl.gz", b"second")
    with pytest.raises(StorageError, match="changed while the export ran"):
        to.storage().copy(source.storage(), found, "b.jl.gz")
    assert to.storage().copy(source.storage(), source.storage().stat("a.jl.gz"), "b.jl.gz").size == 6
    assert to.get("b.jl.gz") == b"second"


@servers
def test_a_copy_that_the_service_refuses_is_streamed(azurite, s3: Place):
    """A shared access signature of the one container opens no other one."""
    blob = pytest.importorskip("azure.storage.blob")
    source, to = (azure_place(azurite) for _ in range(2))
    objects = filled(source)
    from datetime import datetime, timedelta, timezone

    until = datetime.now(timezone.utc) + timedelta(hours=1)
    token = blob.generate_container_sas("devstoreaccount1", to.options["container"], account_key=AZURITE_KEY,
                                        permission="rwdlac", expiry=until)  # fmt: skip
    to.options = {**to.options, "account_key": None, "sas_token": token}
    report = copied(source, to)
    assert len(report.files) == 4 and to.get("copy/of-a.jl.gz") == objects["a.jl.gz"]
    assert token.rpartition("sig=")[2] not in Path(report.manifest).read_text()
    config = {"reader": s3.source("in/"), "writer": to.writer("copy/")}
    assert "objects are copied: streamed through this machine" in text(make(load(config)))
    elsewhere = {**source.source("in/"), "options": {**source.options, "account_name": "other", "prefix": "in/"}}
    assert "objects are copied: streamed through" in text(make(load({**config, "reader": elsewhere})))


MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)
"""


def peak(config: dict, folder: Path) -> int:
    """The most memory that an export has taken, in MiB. A small process starts it: what starts a process counts as its
    first memory."""
    (folder / "config.json").write_text(json.dumps(config))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "exporters_beam", "run", "config.json", "--quiet"]
    return int(subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.PIPE).stdout)


@servers
@pytest.mark.parametrize("streamed", [False, True])
def test_a_large_object_is_copied_in_little_memory(s3: Place, versitygw_data: Path, tmp_path: Path, streamed):
    """256 MiB take hardly more than 1 MiB, inside the service and through this machine (to another name of the server)."""
    to = replace(s3, options={**s3.options, "host": s3.options["host"].replace("127.0.0.1", "localhost")})
    peaks = {}
    for megabytes in (1, 256):
        folder = versitygw_data / s3.options["bucket"] / f"in-{megabytes}"
        folder.mkdir()
        with (folder / "a.jl").open("wb") as file:
            for n in range(megabytes):
                file.write(json.dumps({"n": n}).encode().rjust((1 << 20) - 1) + b"\n")
        config = {
            "reader": s3.source(f"in-{megabytes}/"),
            "writer": (to if streamed else s3).writer(f"out-{megabytes}/", compression="none"),
            "decompressor": "none",
        }
        peaks[megabytes] = peak(config, tmp_path)
        there = versitygw_data / s3.options["bucket"] / f"out-{megabytes}" / "a.jl"
        assert filecmp.cmp(folder / "a.jl", there, shallow=False)
    assert peaks[256] < 300 and peaks[256] - peaks[1] < 64, peaks
