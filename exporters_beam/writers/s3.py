"""Objects of an S3 bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.errors import ConfigError
from exporters_beam.naming import FileNames
from exporters_beam.options import option
from exporters_beam.records import PlannedFile
from exporters_beam.storages import Storage
from exporters_beam.storages.s3 import S3Storage, bucket_name, check_keys
from exporters_beam.writers.remote import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class S3Writer(RemoteWriter):
    """Deliver files to an S3 bucket, or to a server that speaks its protocol.

    A file is built on the worker and uploaded: in one request, or in parts where it is larger than 50 MiB. It appears
    whole or not at all; size and MD5 are checked against what was sent, part by part. Objects of the same name are
    replaced. Beside the files only `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest
    that `--resume` needs stay on this machine, in the folder of `staging`.

    `save_pointer` names an object that gets, when all is delivered, the folder part of `filebase` with dates filled in.
    `save_metadata` attaches `total` (records) and `md5` to each object. Without keys the usual places are asked:
    environment, profile, role of the machine. Needs the extra `s3`.

    Example:
        writer:
          name: s3
          options: {bucket: products, filebase: 'dumps/%Y-%m-%d/part-', save_pointer: dumps/LAST}
    """

    takes_copies: ClassVar[bool | str] = True

    bucket: str = option("name of the bucket; s3://name/ is taken too", type="str", example="products")
    aws_access_key_id: str | None = option("key; without it the environment or profile is asked", type="str",
                                           default=None, env="EXPORTERS_S3WRITER_AWS_LOGIN", secret=True)  # fmt: skip
    aws_secret_access_key: str | None = option("its secret", type="str", default=None,
                                               env="EXPORTERS_S3WRITER_AWS_SECRET", secret=True)  # fmt: skip
    aws_session_token: str | None = option("token of temporary credentials", type="str", default=None, secret=True)
    aws_region: str | None = option("region of the bucket; by default it is asked for", type="str", default=None)
    host: str | None = option("another server than Amazon's, e.g. http://localhost:9000", type="str", default=None)
    save_pointer: str | None = option("an object that gets the place of this export", type="str", default=None)
    save_metadata: bool = option("attach total (records) and md5 to each object", type="bool", default=True)
    acl: str = option("canned ACL of the objects, or none; delivered without it, with a warning, where it is refused",
                      type="str", default="bucket-owner-full-control")  # fmt: skip
    server_side_encryption: str | None = option("how the server encrypts: AES256 or aws:kms", type="str", default=None,
                                                choices=("AES256", "aws:kms"))  # fmt: skip
    sse_kms_key_id: str | None = option("the KMS key, with aws:kms", type="str", default=None)
    storage_class: str | None = option("storage class of the objects, e.g. STANDARD_IA", type="str", default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not bucket_name(self.bucket):
            raise ConfigError("bucket: it is empty; give the name of a bucket")
        check_keys(self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token)
        if self.sse_kms_key_id and self.server_side_encryption != "aws:kms":
            raise ConfigError("sse_kms_key_id: it goes with server_side_encryption: aws:kms only")

    def connect(self) -> Storage:
        return S3Storage(
            bucket=bucket_name(self.bucket), key=self.aws_access_key_id, secret=self.aws_secret_access_key,
            token=self.aws_session_token, region=self.aws_region, host=self.host,
            acl=None if self.acl == "none" else self.acl, encryption=self.server_side_encryption,
            kms_key=self.sse_kms_key_id, storage_class=self.storage_class, attempts=self.attempts,
        )  # fmt: skip

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        if not self.save_metadata:
            return {}
        return {"total": str(file.records), "md5": md5} if file.records >= 0 else {"md5": md5}

    def finish(self, manifest: bytes, names: FileNames, export_id: str) -> None:
        super().finish(manifest, names, export_id)
        if self.save_pointer:
            self.put(self.save_pointer, self.key(names.filebase[: names.filebase.rfind("/") + 1]).encode())
