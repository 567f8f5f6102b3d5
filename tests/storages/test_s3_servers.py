"""What MinIO and s3proxy can check and others cannot: encryption at rest, canned ACLs, storage classes."""

from __future__ import annotations

import gzip

import pytest
from s3_servers import KMS_KEY

import exporters_beam
from exporters_beam.reporting.verify import verify
from exporters_beam.storages.s3 import S3Storage

from places import Place

pytestmark = pytest.mark.servers

RANDOM = {"name": "random", "options": {"number_of_items": 20}}
KMS = {"server_side_encryption": "aws:kms", "sse_kms_key_id": KMS_KEY}


def delivered(place: Place, filebase: str, **options) -> tuple[object, dict]:
    """What an export has delivered, and the head of its only object."""
    report = exporters_beam.run({"reader": RANDOM, "writer": place.writer(filebase, **options)})
    assert verify(report.manifest, place.storage())[0] == []
    head = place.made.head_object(Bucket=place.options["bucket"], Key=f"{filebase}0000.jl.gz")
    assert len(gzip.decompress(place.get(f"{filebase}0000.jl.gz")).splitlines()) == 20
    return report, head


def test_minio_encrypts_as_it_is_asked_to(minio: Place):
    _, plain = delivered(minio, "plain/p-")
    assert "ServerSideEncryption" not in plain
    _, head = delivered(minio, "aes/p-", server_side_encryption="AES256", check_consistency=True)
    assert head["ServerSideEncryption"] == "AES256" and head["Metadata"]["total"] == "20"
    _, head = delivered(minio, "kms/p-", check_consistency=True, **KMS)
    assert head["ServerSideEncryption"] == "aws:kms" and head["SSEKMSKeyId"].endswith(KMS_KEY)


def test_minio_encrypts_copies_and_parts(minio: Place, monkeypatch):
    """A copy inside the service gets the encryption of its own writer, and large objects that of each part."""
    delivered(minio, "in/p-")
    report = exporters_beam.run({"reader": minio.source("in/"), "writer": minio.writer("copy/", **KMS)})
    assert report.counts == {"read": 20, "kept": 20, "written": 20}
    bucket = minio.options["bucket"]
    head = minio.made.head_object(Bucket=bucket, Key="copy/p-0000.jl.gz")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert minio.get("copy/p-0000.jl.gz") == minio.get("in/p-0000.jl.gz")
    import hashlib
    import io

    from exporters_beam.storages.base import Content

    data = bytes(range(256)) * (24 << 10)  # 6 MiB
    storage = S3Storage(**{**vars(minio.storage()), "part_bytes": 5 << 20, "encryption": "AES256"})
    storage.put("big", io.BytesIO(data), Content(len(data), hashlib.md5(data).hexdigest()))
    head = minio.made.head_object(Bucket=bucket, Key="big")
    assert head["ServerSideEncryption"] == "AES256" and minio.get("big") == data


def test_minio_refuses_a_key_that_it_does_not_know(minio: Place):
    with pytest.raises(exporters_beam.ExportError, match="the server said"):
        delivered(minio, "out/p-", server_side_encryption="aws:kms", sse_kms_key_id="another-key")


@pytest.mark.parametrize("acl", ["private", "public-read"])
def test_s3proxy_sets_canned_acls(s3proxy: Place, acl, caplog):
    delivered(s3proxy, "out/p-", acl=acl)
    assert "without the ACL" not in caplog.text
    grants = s3proxy.made.get_object_acl(Bucket=s3proxy.options["bucket"], Key="out/p-0000.jl.gz")["Grants"]
    public = [grant for grant in grants if grant["Grantee"].get("URI", "").endswith("AllUsers")]
    assert [grant["Permission"] for grant in public] == (["READ"] if acl == "public-read" else [])


def test_s3proxy_delivers_without_an_acl_that_it_does_not_know(s3proxy: Place, caplog):
    delivered(s3proxy, "out/p-")
    assert caplog.text.count("delivered without the ACL bucket-owner-full-control") >= 1


def test_s3proxy_keeps_the_storage_class(s3proxy: Place):
    _, head = delivered(s3proxy, "out/p-", storage_class="STANDARD_IA", acl="none")
    assert head["StorageClass"] == "STANDARD_IA"
