"""Blobs of a container of Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.options import option
from exporters_beam.records import PlannedFile
from exporters_beam.storages import Storage
from exporters_beam.storages.azure import AzureAccount
from exporters_beam.storages.azure_blob import AzureBlobStorage
from exporters_beam.writers.remote import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class AzureBlobWriter(AzureAccount, RemoteWriter):
    """Deliver files to a container of Azure Blob Storage, which is made where it is not there.

    A file is built on the worker and uploaded, in blocks where it is larger than 32 MiB. It appears whole or not at all;
    the server checks the MD5 of what arrives. Blobs of the same name are replaced. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`. Without `filebase` the names begin with the time at which the export began.
    Needs the extra `azure`.

    Example:
        writer:
          name: azure_blob
          options:
            container: products
            account_name: shop
            account_key: ${secret:env:AZURE_KEY}
            filebase: 'dumps/%Y-%m-%d/part-'
    """

    takes_copies: ClassVar[bool | str] = True

    container: str = option("name of the container", type="str", example="products")
    filebase: str = option("folder and name of the files, with % dates, {groups[0]} and {file_number}", type="str",
                           default="%Y-%m-%dT%H%M%S-")  # fmt: skip

    def connect(self) -> Storage:
        return AzureBlobStorage(container=self.container, **self.access())

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        return {"total": str(file.records)} if file.records >= 0 else {}

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
