"""Files of a share of Azure Files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exporters_beam.options import option
from exporters_beam.readers.remote import FolderReader, as_tuple
from exporters_beam.storages import Storage
from exporters_beam.storages.azure import AzureAccount
from exporters_beam.storages.azure_file import AzureFileStorage


@dataclass(frozen=True, kw_only=True)
class AzureFileReader(AzureAccount, FolderReader):
    """Read files of a share of Azure Files, in the order of their paths.

    `path` is a file or a folder (every file below it), or several; by default the whole share. `pattern` chooses among
    the paths. Where nothing at all is found the export fails, unless `allow_empty` is given. A file that is replaced while
    the export runs ends it. Needs the extra `azure-file`.

    Example:
        reader:
          name: azure_file
          options: {share: products, account_name: shop, account_key: '${secret:env:AZURE_KEY}', path: dumps}
    """

    share: str = option("name of the share", type="str", example="products")
    path: Any = option("a file or folder of the share, or several", type="str|str_list", default="")

    def connect(self) -> Storage:
        return AzureFileStorage(share=self.share, **self.access())

    def places(self) -> Iterable[str]:
        return [path.lstrip("/") for path in as_tuple(self.path) or ("",)]
