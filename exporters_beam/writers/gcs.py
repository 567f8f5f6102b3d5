"""Objects of a bucket of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.errors import ConfigError
from exporters_beam.options import option
from exporters_beam.records import PlannedFile
from exporters_beam.storages import Storage
from exporters_beam.storages.gcs import GcsStorage, check_credentials
from exporters_beam.storages.s3 import bucket_name
from exporters_beam.writers.remote import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class GcsWriter(RemoteWriter):
    """Deliver files to a bucket of Google Cloud Storage.

    A file is built on the worker and uploaded, in several requests where it is large (a resumable upload). It appears
    whole or not at all; CRC32C, size and MD5 are compared with what was sent. Objects of the same name are replaced. Beside
    the files only `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume`
    needs stay on this machine, in the folder of `staging`. Without `credentials` those of the machine are taken
    (application default credentials). Needs the extra `gcs`.

    Example:
        writer:
          name: gcs
          options: {project: shop, bucket: products, filebase: 'dumps/%Y-%m-%d/part-'}
    """

    takes_copies: ClassVar[bool | str] = True

    project: str = option("project of the bucket", type="str", example="shop")
    bucket: str = option("name of the bucket; gs://name/ is taken too", type="str", example="products")
    credentials: Any = option("key of a service account, or package:path of one", type="dict|str", default=None,
                              env="EXPORTERS_GSTORAGE_CREDS_RESOURCE", secret=True)  # fmt: skip
    host: str | None = option("another server than Google's, e.g. http://localhost:4443", type="str", default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not bucket_name(self.bucket, "gs"):
            raise ConfigError("bucket: it is empty; give the name of a bucket")
        check_credentials(self.credentials)

    def connect(self) -> Storage:
        return GcsStorage(bucket=bucket_name(self.bucket, "gs"), project=self.project, credentials=self.credentials,
                          host=self.host, attempts=self.attempts)  # fmt: skip

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        return {"total": str(file.records)} if file.records >= 0 else {}

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
