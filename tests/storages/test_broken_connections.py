"""Connections that break in the middle of an upload or of reading: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
from dataclasses import replace

import pytest

import exporters_beam
from exporters_beam.storages.base import Content, NotThere, StorageError

from helpers import jsonl
from places import Cutting, Faulty, Place

pytestmark = pytest.mark.servers

every = pytest.mark.parametrize(
    "place", ["s3", "gcs", "sftp", "azure_blob", "azure_file", "hdfs", "gdrive", "dropbox"], indirect=True
)

over_http = pytest.mark.parametrize("place", [
    "s3", "gcs", "azure_blob", "azure_file", "hdfs", "gdrive", "dropbox"], indirect=True)  # fmt: skip

DATA = random.Random(1).randbytes(3 << 20)
CONTENT = Content(len(DATA), hashlib.md5(DATA).hexdigest(), token="t")


@every
def test_an_upload_that_is_cut_is_sent_again(place: Place, cutting: Cutting):
    cutting.after, cutting.times = 1 << 20, 2
    place.storage().put("out/a", io.BytesIO(DATA), CONTENT)
    assert cutting.cut == 2
    cutting.after = 0
    assert place.get("out/a") == DATA
    assert [found.name for found in place.storage().names("out/")] == ["out/a"]


@every
def test_an_upload_that_never_arrives_fails_and_nothing_appears(place: Place, cutting: Cutting, monkeypatch):
    storage = replace(place.storage(), attempts=1 if place.kind == "gcs" else 2)  # gcs: else for two minutes
    cutting.after, cutting.times = 1 << 20, 1000
    monkeypatch.setattr("google.api_core.retry.retry_unary.time.sleep", lambda _: None)
    with pytest.raises(StorageError):
        storage.put("out/a", io.BytesIO(DATA), CONTENT)
    cutting.after = 0
    with pytest.raises(NotThere):
        place.storage().stat("out/a")
    found = {item.name for item in place.storage().names("out/")}
    # A busy HDFS may begin what was asked for when that has been given up: a half-built file, which the next run replaces.
    assert found <= ({"out/.a.t.part"} if place.kind == "hdfs" else set())


@every
def test_reading_that_is_cut_goes_on_where_it_was(place: Place, cutting: Cutting):
    place.put("in/a", DATA)
    storage = place.storage()
    found = storage.stat("in/a")
    cutting.after, cutting.times = 1 << 20, 2
    with storage.open(found) as stream:
        assert stream.read() == DATA
    assert cutting.cut == 2


@every
def test_an_export_whose_connections_break(place: Place, cutting: Cutting, tmp_path):
    """Both ways at once, and the figures are right."""
    numbers = random.Random(2)
    records = [{"_key": n, "text": numbers.randbytes(200).hex()} for n in range(10_000)]
    for n in range(3):
        place.put(f"in/{n}.jl.gz", gzip.compress(jsonl(records[n::3]), 1))
    cutting.after, cutting.times = 700_000, 3
    report = exporters_beam.run({
        "reader": place.source("in/"),
        "writer": place.writer("out/p-", items_per_buffer_write=4000),
    })  # fmt: skip
    cutting.after = 0
    assert cutting.cut == 3 and report.written == len(records)
    found = sorted(place.storage().names("out/"))
    assert [each.name for each in found] == [f"out/p-000{n}.jl.gz" for n in range(3)]
    assert [hashlib.md5(place.get(each.name)).hexdigest() for each in found] == [file["md5"] for file in report.files]


@over_http
@pytest.mark.parametrize("status", [0, 429, 503])
def test_an_upload_whose_answer_is_an_error_or_never_comes(place: Place, faulty: Faulty, status):
    """503, 429, and a connection that is reset after the upload was applied: it is put once more, and stands there once."""
    storage = place.storage()
    storage.probe()
    faulty.method, faulty.status, faulty.times = "POST" if place.kind in ("gcs", "dropbox") else "PUT", status, 1
    storage.put("out/a", io.BytesIO(DATA[:100_000]), Content(100_000, hashlib.md5(DATA[:100_000]).hexdigest()))
    assert faulty.done == 1
    assert place.get("out/a") == DATA[:100_000]
    assert [found.name for found in storage.names("")] == ["out/a"]


@over_http
@pytest.mark.parametrize("status", [0, 503])
def test_reading_whose_answer_is_an_error_or_never_comes(place: Place, faulty: Faulty, status):
    place.put("in/a", DATA)
    storage = place.storage()
    found = storage.stat("in/a")
    faulty.method, faulty.status, faulty.times = "POST" if place.kind == "dropbox" else "GET", status, 2
    with storage.open(found) as stream:
        assert stream.read() == DATA
    assert faulty.done == 2 and [found.name for found in storage.names("in/")] == ["in/a"]


def test_large_copies_inside_the_service_go_in_parts(s3: Place, monkeypatch):
    """The gateway copies part by part, and nothing comes through this machine."""
    monkeypatch.setattr("exporters_beam.storages.s3.COPY_BYTES", 2 << 20)
    monkeypatch.setattr("exporters_beam.storages.s3.COPY_PART_BYTES", 5 << 20)
    data = DATA * 4
    s3.put("in/a.jl.gz", data)
    storage = s3.storage()
    found = storage.stat("in/a.jl.gz")
    monkeypatch.setattr("exporters_beam.storages.s3.S3Storage.open", None)
    there = storage.copy(storage, found, "out/a.jl.gz")
    monkeypatch.undo()
    assert there is not None and s3.get("out/a.jl.gz") == data
