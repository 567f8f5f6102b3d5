"""Azure Blob Storage, through azure-storage-blob."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.names import expand_dates
from exporters_beam.components.options import option
from exporters_beam.records import PlannedFile
from exporters_beam.storages.azure import AzureAccount, AzureStorage, etag_of, md5_of
from exporters_beam.storages.base import (
    Content,
    NotThere,
    Storage,
    Stored,
    arrived,
    changed,
    each_page,
    is_bookkeeping,
    patiently,
)
from exporters_beam.storages.reader import EmptiedReader, as_tuple
from exporters_beam.storages.writer import RemoteWriter

BLOCK = 32 << 20
"""Larger files are sent in blocks of this size, which appear together when the last has arrived."""


@dataclass(frozen=True, kw_only=True)
class AzureBlobStorage(AzureStorage):
    """One container of an account."""

    scheme: ClassVar[str] = "az"
    service: ClassVar[str] = "blob"
    extra: ClassVar[str] = "azure"
    place: ClassVar[str] = "container"

    container: str

    def _connect(self) -> Any:
        """The client of the container."""
        library = self._library("azure.storage.blob")
        access = self._access()
        with self._answers(""):
            service = library.BlobServiceClient(**access, max_single_put_size=BLOCK, max_block_size=BLOCK)
            return service.get_container_client(self.container)

    def names(self, prefix: str) -> Iterator[Stored]:
        with self._answers(""):
            pages = self.client.list_blobs(name_starts_with=prefix or None, results_per_page=1000).by_page()
        for blob in each_page(lambda: self._answers(""), pages):
            if not is_bookkeeping(blob.name):
                yield _stored(blob)

    def stat(self, name: str) -> Stored:
        with self._answers(name):
            return _stored(self.client.get_blob_client(name).get_blob_properties())

    def _piece(self, found: Stored, start: int, stop: int) -> bytes:
        core = self._library("azure.core")
        with self._answers(found.name):
            blob = self.client.get_blob_client(found.name)
            data: bytes = blob.download_blob(
                start,
                stop - start,
                etag=f'"{found.etag}"',
                match_condition=core.MatchConditions.IfNotModified,
                **self._reading(start, stop),
            ).readall()
        return data

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """In one request, or in blocks that appear together. The server checks the MD5 of each."""
        library = self._library("azure.storage.blob")
        settings = library.ContentSettings(content_md5=bytearray(binascii.unhexlify(content.md5)))

        def send() -> None:
            with self._answers(name, putting=True):
                file.seek(0)
                self.client.get_blob_client(name).upload_blob(
                    file, length=content.size, overwrite=True, validate_content=True, content_settings=settings,
                    metadata=dict(content.metadata) or None, max_concurrency=1,
                )  # fmt: skip

        patiently(send, self.attempts)
        return arrived(self.url(name), self.stat(name), content)

    def delete(self, name: str) -> None:
        with suppress(NotThere), self._answers(name):
            self.client.get_blob_client(name).delete_blob()

    def _create(self) -> None:
        self.client.create_container()

    def copy(self, source: Storage, found: Stored, name: str) -> Stored | None:
        """Copy a blob inside the account; None where that cannot be done and it has to be streamed."""
        if not (isinstance(source, AzureBlobStorage) and self.beside(source)):
            return None
        errors, core = self._library("azure.core.exceptions"), self._library("azure.core")
        blob = self.client.get_blob_client(name)
        with self._answers(name, putting=True):
            try:
                blob.start_copy_from_url(
                    source.client.get_blob_client(found.name).url, source_etag=f'"{found.etag}"',
                    source_match_condition=core.MatchConditions.IfNotModified,
                )  # fmt: skip
                there = self._copied(blob.get_blob_properties, found, source)
            except errors.HttpResponseError as error:
                if error.status_code == 412:
                    raise changed(source.url(found.name)) from error
                return None
        return there and _stored(there)


def _stored(blob: Any) -> Stored:
    return Stored(blob.name, int(blob.size or 0), etag_of(blob), md5_of(blob), blob.metadata or {})


@dataclass(frozen=True, kw_only=True)
class AzureBlobReader(AzureAccount, EmptiedReader):
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
