"""Writers to storages, by the class paths that they had in exporters 0.6.18."""

from __future__ import annotations

import gzip

import pytest

import exporters_beam

from helpers import jsonl
from places import Place

RECORDS = [{"_key": n, "town": "Zürich"} for n in range(9)]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("moto", "exporters.writers.s3_writer.S3Writer"),
        ("gcs", "exporters.writers.gstorage_writer.GStorageWriter"),
        ("ftp", "exporters.writers.ftp_writer.FTPWriter"),
        ("sftp", "exporters.writers.sftp_writer.SFTPWriter"),
        ("azure_blob", "exporters.writers.azure_blob_writer.AzureBlobWriter"),
    ],
    indirect=["place"],
)
def test_writers_deliver_by_their_old_class_paths(place: Place, path: str) -> None:
    report = exporters_beam.run({
        "reader": {"name": "memory", "options": {"records": RECORDS}},
        "writer": {**place.writer("old/part-"), "name": path},
    })  # fmt: skip
    (file,) = report.files
    name = place.storage().name(file["name"])
    assert name.endswith("old/part-0000.jl.gz")
    content = gzip.decompress(place.get(name))
    assert (len(content.splitlines()), file["records"]) == (9, 9)
    assert content.replace(b" ", b"") == jsonl(RECORDS).replace(b" ", b"").replace(rb"Z\u00fcrich", "Zürich".encode())
