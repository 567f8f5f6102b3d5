"""Objects of a bucket of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from exporters_beam.errors import ConfigError
from exporters_beam.naming import expand_dates
from exporters_beam.options import option
from exporters_beam.readers.remote import RemoteReader, as_tuple
from exporters_beam.storages import Storage
from exporters_beam.storages.gcs import GcsStorage, check_credentials
from exporters_beam.storages.s3 import bucket_name


@dataclass(frozen=True, kw_only=True)
class GcsReader(RemoteReader):
    """Read the objects of a bucket of Google Cloud Storage, in the order of their names.

    `prefix` is one or several beginnings of names (empty: the whole bucket); % directives in them are the date of today
    (write %% for a percent sign). `pattern` chooses among the names. Where nothing at all is found the export fails,
    unless `allow_empty` is given. An object that is replaced while the export runs ends it. Without `credentials` those of
    the machine are taken (application default credentials). Needs the extra `gcs`.

    Example:
        reader:
          name: gcs
          options: {bucket: products, prefix: 'dumps/%Y-%m-%d/'}
    """

    bucket: str = option("name of the bucket; gs://name/ is taken too", type="str", example="products")
    project: str | None = option("project that is asked; by default that of the credentials", type="str", default=None)
    credentials: Any = option("key of a service account, or package:path of one", type="dict|str", default=None,
                              env="EXPORTERS_GSTORAGE_CREDS_RESOURCE", secret=True)  # fmt: skip
    host: str | None = option("another server than Google's, e.g. http://localhost:4443", type="str", default=None)
    prefix: Any = option("beginnings of the names to read, one or several", type="str|str_list", default="")
    now: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not bucket_name(self.bucket, "gs"):
            raise ConfigError("bucket: it is empty; give the name of a bucket")
        check_credentials(self.credentials)

    def at(self, now: datetime) -> GcsReader:
        """The reader of an export that began then: dates stay those, also when it is resumed on another day."""
        return replace(self, now=now.isoformat())

    def connect(self) -> Storage:
        return GcsStorage(bucket=bucket_name(self.bucket, "gs"), project=self.project, credentials=self.credentials,
                          host=self.host, attempts=self.attempts)  # fmt: skip

    def places(self) -> Iterable[str]:
        now = datetime.fromisoformat(self.now) if self.now else datetime.now()
        return [expand_dates(prefix, now) for prefix in as_tuple(self.prefix) or ("",)]
