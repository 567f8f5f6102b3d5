"""Sections by URL, and URLs of what was delivered."""

from __future__ import annotations

import pytest

import exporters_beam
from exporters_beam import ConfigError
from exporters_beam.config.spec import load
from exporters_beam.storages.base import of_url
from exporters_beam.storages.ftp import FtpStorage
from exporters_beam.storages.hdfs import HdfsStorage
from exporters_beam.storages.sftp import SftpStorage

from places import Place

FS = {"name": "fs", "options": {"filebase": "out/p-"}}


@pytest.mark.parametrize(
    ("url", "name", "options"),
    [
        ("s3://products/dumps/%Y/", "s3", {"bucket": "products", "prefix": "dumps/%Y/"}),
        ("gs://products", "gcs", {"bucket": "products", "prefix": ""}),
        ("az://shop.products/d", "azure_blob", {"account_name": "shop", "container": "products", "prefix": "d"}),
        ("sftp://me@files:2222/~/dumps", "sftp", {"host": "files", "port": 2222, "sftp_user": "me", "path": "dumps"}),
        ("azfile://shop.products/d", "azure_file", {"account_name": "shop", "share": "products", "path": "d"}),
        ("hdfs://me@names/~/dumps", "hdfs", {"host": "names", "port": 9870, "hdfs_user": "me", "path": "dumps"}),
        ("hdfs://names:14000/dumps", "hdfs", {"host": "names", "port": 14000, "path": "/dumps"}),
        ("ftps://files/dumps/a%20b", "ftp", {"host": "files", "tls": True, "path": "/dumps/a b"}),
        ("gdrive://root/dumps/a", "gdrive", {"folder_id": "root", "path": "dumps/a"}),
        ("dropbox:///dumps/a", "dropbox", {"path": "dumps/a"}),
        ("https://example.org/a?b=1", "http", {"input": "https://example.org/a?b=1"}),
    ],
)
def test_a_url_is_a_section(url, name, options):
    for section in (url, {"name": url}, {"name": url, "options": {"pattern": "gz"}}):
        reader = load({"reader": section, "writer": FS}).reader
        assert reader.entry.name == name
        assert {key: getattr(reader.component, key) for key in options} == options
    assert reader.component.pattern == "gz"


def test_urls_of_azure_files_go_in_and_out_again(monkeypatch):
    monkeypatch.setenv("EXPORTERS_AZUREWRITER_NAME", "shop")
    for url in ("azfile://shop.products/a/é 50% #1.gz", "azfile://products/a/é 50% #1.gz"):
        storage, name = of_url(url)
        assert name == "a/é 50% #1.gz" and storage.url(name) == "azfile://shop.products/a/é 50% #1.gz"
    assert storage.name("azfile://shop.other/a") is None


def test_a_url_of_a_writer():
    spec = load({"reader": "random", "writer": {"name": "s3://products/out/{groups[0]}-", "options": {"host": "h"}},
                 "grouper": {"name": "file_key", "options": {"keys": ["a"]}}})  # fmt: skip
    assert (spec.writer.component.bucket, spec.writer.component.filebase) == ("products", "out/{groups[0]}-")
    assert spec.writer.options["filebase"] == "out/{groups[0]}-"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sftp://me:canary@files/x", "the URL has a password in it"),
        ("http://files/x", "files cannot be delivered to a web server"),
        ("sftp://files:port/x", "not a URL"),
        ("s3:///x", "bucket: it is empty"),
        ("gdrive:///x", "folder_id: '' is not an ID"),
        ("dropbox://dumps/a", "write dropbox:///dumps/a"),
        ("other://files/x", "is not a URL of a storage; known: az://"),
    ],
)
def test_what_a_url_cannot_say(url, why):
    with pytest.raises(ConfigError, match=why):
        load({"reader": "random", "writer": url})


@pytest.mark.parametrize("kind", [SftpStorage, FtpStorage, HdfsStorage])
@pytest.mark.parametrize("name", ["a/b.gz", "/a/b.gz", "é/50% #1?.gz"])
def test_names_go_into_urls_and_out_again(kind, name):
    storage = kind(host="files")
    url = storage.url(name)
    assert storage.name(url) == name
    found, again = of_url(url)
    assert again == name and found.url(name) == url
    assert kind(host="other").name(url) is None
    assert of_url(HdfsStorage(host="One,two").url(name))[1] == name


@pytest.mark.servers
def test_from_url_to_url(moto: Place):
    keys = {key: moto.options[key] for key in ("host", "aws_access_key_id", "aws_secret_access_key")}
    bucket = moto.options["bucket"]
    random = {"name": "random", "options": {"number_of_items": 10}}
    exporters_beam.run({"reader": random, "writer": {"name": f"s3://{bucket}/out/p-", "options": keys}})
    report = exporters_beam.run({
        "reader": {"name": f"s3://{bucket}/out/", "options": keys},
        "writer": {"name": f"s3://{bucket}/again/p-", "options": keys},
        "exporter_options": {"prevent_bypass": True},
    })  # fmt: skip
    assert report.written == 10
