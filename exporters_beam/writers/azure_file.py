"""Files of a share of Azure Files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.options import option
from exporters_beam.records import PlannedFile
from exporters_beam.storages import Storage
from exporters_beam.storages.azure import AzureAccount
from exporters_beam.storages.azure_file import AzureFileStorage
from exporters_beam.writers.remote import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class AzureFileWriter(AzureAccount, RemoteWriter):
    """Deliver files to a share of Azure Files, which is made where it is not there.

    A file is built on the worker, sent under a hidden name to the folder that it belongs in, in ranges of which the server
    checks the MD5, and renamed when it is complete, so it appears whole or not at all. Folders are made as needed. Existing
    files of the same name are replaced. Beside the files only `.exporters/<export id>/manifest.json` is put there, last.
    Staged data and the manifest that `--resume` needs stay on this machine, in the folder of `staging`.

    The service does not tell capital letters from small ones: an export whose file names differ in nothing else fails,
    naming two of them. Needs the extra `azure-file`.

    Example:
        writer:
          name: azure_file
          options:
            share: products
            account_name: shop
            account_key: ${secret:env:AZURE_KEY}
            filebase: 'dumps/%Y-%m-%d/part-'
    """

    takes_copies: ClassVar[bool | str] = True
    without_case: ClassVar[str] = "Azure Files"

    share: str = option("name of the share", type="str", example="products")

    def connect(self) -> Storage:
        return AzureFileStorage(share=self.share, **self.access())

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        return {"total": str(file.records)} if file.records >= 0 else {}

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
