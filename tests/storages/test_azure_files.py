"""Azure Files: what is peculiar to it, and that the service of these tests refuses what the real one refuses."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import urllib.error
import urllib.request

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import DestinationError
from exporters_beam.reporting.verify import verify
from exporters_beam.storages.base import Content, StorageError

from azure_files import ACCOUNT, KEY, SAS, AzureFiles
from helpers import jsonl
from places import Place

pytestmark = pytest.mark.servers

RANDOM = {"name": "random", "options": {"number_of_items": 100}}


def content(data: bytes, token: str = "t") -> Content:
    return Content(len(data), hashlib.md5(data).hexdigest(), token=token)


def test_the_old_class_path_its_environment_and_a_share_that_is_made(azure_files: AzureFiles, monkeypatch):
    """As exporters 0.6.18 did it, but for a folder of no name where filebase begins with / (Q-AZF-1)."""
    monkeypatch.setenv("EXPORTERS_AZUREWRITER_NAME", ACCOUNT)
    monkeypatch.setenv("EXPORTERS_AZUREWRITER_KEY", KEY)
    for name in ("exporters.writers.azure_file_writer.AzureFileWriter", "exporters.writers.AzureFileWriter"):
        for filebase in ("/a/b/p-", "p-", "//c/p-"):
            options = {"share": "fresh", "filebase": filebase, "host": azure_files.url, "check_consistency": True}
            config = {"reader": RANDOM, "writer": {"name": name, "options": {**options, "generate_md5": True}}}
            assert exporters_beam.run(config).written == 100
    folders = {path for path, entry in azure_files.shares["fresh"].items() if entry.data is None}
    assert {path for path in folders if ".exporters" not in path} == {"", "a", "a/b", "c"}
    found = azure_files.shares["fresh"]
    assert {"a/b/p-0000.jl.gz", "a/b/md5checksum.md5", "p-0000.jl.gz", "c/p-0000.jl.gz"} <= set(found)
    md5 = hashlib.md5(found["a/b/p-0000.jl.gz"].data).hexdigest()
    assert found["a/b/md5checksum.md5"].data.decode() == f"{md5} a/b/p-0000.jl.gz\n"
    assert found["p-0000.jl.gz"].metadata == {"total": "100"}
    reader = load({"reader": {"name": "azure_file", "options": {"share": "s"}}, "writer": config["writer"]}).reader
    assert reader.component.account_name == ACCOUNT


def test_a_large_file_goes_in_ranges_under_a_hidden_name(azure_file: Place):
    data = bytes(range(256)) * (9 << 12)  # 9 MiB: three ranges
    seen = []
    service = azure_file.made
    put = service._put_range

    def watched(request):
        seen.append((request.path, request.headers["x-ms-range"]))
        assert "out/a" not in service.shares["products"]
        return put(request)

    service._put_range = watched
    try:
        azure_file.storage().put("out/a", io.BytesIO(data), content(data))
    finally:
        del service._put_range
    assert [path for path, _ in seen] == ["out/.a.t.part"] * 3
    assert seen[-1][1] == f"bytes={8 << 20}-{len(data) - 1}"
    assert azure_file.get("out/a") == data
    assert set(service.shares["products"]) == {"", "out", "out/a"}
    assert azure_file.storage().stat("out/a").md5 == hashlib.md5(data).hexdigest()


def test_with_a_shared_access_signature(azure_file: Place):
    azure_file.options = {**azure_file.options, "account_key": None, "sas_token": SAS}
    azure_file.put("in/a b/é.jl.gz", gzip.compress(jsonl([{"_key": 1}])))
    report = exporters_beam.run({"reader": azure_file.source("in"), "writer": azure_file.writer("out/p-"),
                                 "exporter_options": {"prevent_bypass": True}})  # fmt: skip
    assert report.written == 1


@pytest.mark.parametrize("name", ["a/b.gz", "é/50% #1&+=;,'~.gz", "Inc./a.", " a/ b"])
def test_names_come_back_as_they_were_given(azure_file: Place, name):
    azure_file.put(name, b"1")
    assert [found.name for found in azure_file.storage().names("")] == [name]
    assert azure_file.get(name) == b"1"
    found = azure_file.storage().stat(name)
    assert next(azure_file.storage().names("")).etag == found.etag != ""


def test_pages_and_the_order_of_whole_paths(azure_file: Place, monkeypatch):
    names = ["a/x", "a.b", "a-b/x", "Q", "é", "z/é/x", "b"]
    for name in names:
        azure_file.put(name, b"1")
    storage = azure_file.storage()
    assert [found.name for found in storage.names("")] == sorted(names)
    for n in range(2345):
        azure_file.made.shares["products"][f"z/{n}"] = azure_file.made.shares["products"]["b"]
    azure_file.made.calls.clear()
    list(storage.names("z"))
    assert azure_file.made.calls.count(("GET", "directory", "list")) == 4  # three pages of z, one of z/é
    assert [found.name for found in storage.names("a-b/x")] == ["a-b/x"]


def test_a_rename_whose_answer_never_came(azure_file: Place):
    """The client asks again, and there is nothing to rename any more."""
    service = azure_file.made
    rename, done = service._rename, []

    def applied_twice(request):
        done.append(rename(request))
        return rename(request)

    service._rename = applied_twice
    try:
        azure_file.put("out/a", b"data")
    finally:
        del service._rename
    assert done and azure_file.get("out/a") == b"data"


def test_names_that_differ_in_capital_letters_only_do_not_get_lost_in_silence(azure_file: Place):
    records = [{"_key": n, "country": country} for n, country in enumerate(["us", "de", "US"])]
    config = {
        "reader": {"name": "memory", "options": {"records": records}},
        "grouper": {"name": "file_key", "options": {"keys": ["country"]}},
        "writer": azure_file.writer("out/{groups[0]}/p-"),
    }
    with pytest.raises(
        DestinationError,
        match=r"/US/p-0000.jl.gz and .*/us/p-0000.jl.gz: .* file names which Azure Files does not tell apart",
    ):
        exporters_beam.run(config)
    assert not any("manifest.json" in path for path in azure_file.made.shares["products"])
    config["reader"]["options"]["records"] = records[:2]
    assert exporters_beam.run(config).written == 2


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 401),
        ({"Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(bytes(32)).decode()}"}, 403),
        ({"x-ms-version": "yesterday"}, 400),
    ],
)
def test_the_service_of_these_tests_looks_at_signatures(azure_files: AzureFiles, given, status):
    headers = {"x-ms-version": "2024-11-04", "x-ms-date": "Tue, 24 Nov 2026 10:00:00 GMT", **given}
    asked = urllib.request.Request(f"{azure_files.url}/products?restype=share", method="PUT", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked)
    assert refused.value.code == status and azure_files.shares == {}
    azure_files.wrong.clear()


def test_the_service_of_these_tests_wants_what_the_calls_have_to_have(azure_file: Place):
    """Requests that the client does not send, and the real service refuses."""
    from azure.core.exceptions import HttpResponseError

    client = azure_file.storage().client
    file = client.get_file_client("a")
    file.create_file(10)
    with pytest.raises(HttpResponseError, match="there is no MD5 of the range"):
        file.upload_range(b"12345", 0, 5)
    with pytest.raises(HttpResponseError) as refused:
        file.upload_range(b"12345", 8, 5, validate_content=True)
    assert refused.value.error_code == "InvalidRange"
    with pytest.raises(HttpResponseError) as refused:
        client.get_file_client("b").rename_file("a", overwrite=True)
    assert refused.value.error_code == "ResourceNotFound"
    client.get_file_client("b").create_file(1)
    with pytest.raises(HttpResponseError) as refused:
        client.get_file_client("b").rename_file("a")
    assert refused.value.error_code == "ResourceAlreadyExists"
    with pytest.raises(HttpResponseError) as refused:
        client.get_file_client("nowhere/b").create_file(1)
    assert refused.value.error_code == "ParentNotFound"
    with pytest.raises(HttpResponseError, match="there is no call"):
        client.get_share_properties()
    assert len(azure_file.made.wrong) == 2
    azure_file.made.wrong.clear()


def test_the_calls_that_an_export_makes(azure_file: Place):
    """So that it shows when the client begins to ask otherwise."""
    azure_file.put("in/a.jl", b'{"a":1}\n')
    azure_file.made.calls.clear()
    exporters_beam.run({"reader": azure_file.source("in"), "writer": azure_file.writer("out/p-"),
                        "exporter_options": {"prevent_bypass": True}})  # fmt: skip
    assert set(azure_file.made.calls) == {
        ("PUT", "share", ""),
        ("PUT", "directory", ""),
        ("GET", "directory", "list"),
        ("PUT", "file", ""),
        ("PUT", "file", "range"),
        ("PUT", "file", "rename"),
        ("HEAD", "file", ""),
        ("GET", "file", ""),
    }
    manifest = next(path for path in azure_file.made.shares["products"] if path.endswith("manifest.json"))
    assert json.loads(azure_file.get(manifest))["counts"]["written"] == 1


@pytest.mark.parametrize("refused", [False, True])
def test_from_share_to_share_files_are_copied_inside_the_account(azure_file: Place, refused):
    """Where the service refuses, they are streamed."""
    service = azure_file.made
    to = Place("azure_file", {**azure_file.options, "share": "another"}, made=service)
    exporters_beam.run({"reader": RANDOM, "writer": azure_file.writer("in/p-", items_per_buffer_write=40)})
    service.refuses_copies = refused
    service.calls.clear()
    report = exporters_beam.run({"reader": azure_file.source("in/"), "writer": to.writer("copy/")})
    assert [file["records"] for file in report.files] == [40, 40, 20]
    assert (service.calls.count(("PUT", "file", "range")) > 1) == refused  # else only of the manifest
    for n in range(3):
        assert to.get(f"copy/p-000{n}.jl.gz") == azure_file.get(f"in/p-000{n}.jl.gz")
    assert verify(report.manifest, to.storage())[0] == []
    assert not [path for path in service.shares["another"] if path.endswith(".part")]


def test_a_file_that_changed_since_it_was_listed_is_not_copied(azure_file: Place):
    azure_file.put("a", b"first")
    storage = azure_file.storage()
    found = storage.stat("a")
    azure_file.put("a", b"other")
    with pytest.raises(StorageError, match=r"MD5 differ|changed while the export ran"):
        storage.copy(storage, found, "b")
    assert [each.name for each in storage.names("")] == ["a"]
