"""Azure Blob Storage, through azure-storage-blob."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

from exporters_beam.storages import (
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
from exporters_beam.storages.azure import AzureStorage, etag_of, md5_of

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
                start, stop - start, etag=f'"{found.etag}"', match_condition=core.MatchConditions.IfNotModified
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
