"""Blobs of a container of Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from exporters_beam.naming import expand_dates
from exporters_beam.options import option
from exporters_beam.readers.remote import RemoteReader, as_tuple
from exporters_beam.storages import Storage
from exporters_beam.storages.azure import AzureAccount
from exporters_beam.storages.azure_blob import AzureBlobStorage


@dataclass(frozen=True, kw_only=True)
class AzureBlobReader(AzureAccount, RemoteReader):
    """Read the blobs of a container of Azure Blob Storage, in the order of their names.

    `prefix` is one or several beginnings of names (empty: the whole container); % directives in them are the date of
    today (write %% for a percent sign). `pattern` chooses among the names. Where nothing at all is found the export fails,
    unless `allow_empty` is given. A blob that is replaced while the export runs ends it. Needs the extra `azure`.

    Example:
        reader:
          name: azure_blob
          options: {container: products, account_name: shop, account_key: '${secret:env:AZURE_KEY}', prefix: dumps/}
    """

    container: str = option("name of the container", type="str", example="products")
    prefix: Any = option("beginnings of the names to read, one or several", type="str|str_list", default="")
    now: str = field(default="", repr=False, compare=False)

    def at(self, now: datetime) -> AzureBlobReader:
        """The reader of an export that began then: dates stay those, also when it is resumed on another day."""
        return replace(self, now=now.isoformat())

    def connect(self) -> Storage:
        return AzureBlobStorage(container=self.container, **self.access())

    def places(self) -> Iterable[str]:
        now = datetime.fromisoformat(self.now) if self.now else datetime.now()
        return [expand_dates(prefix, now) for prefix in as_tuple(self.prefix) or ("",)]
