"""Azure Files, through azure-storage-file-share."""

from __future__ import annotations

import binascii
import os
import posixpath
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, ClassVar

from exporters_beam.storages import (
    Content,
    NotThere,
    Pieces,
    Ranged,
    Sent,
    Storage,
    Stored,
    arrived,
    buffered,
    changed,
    each_page,
    is_bookkeeping,
    patiently,
)
from exporters_beam.storages.azure import AzureStorage, code_of


@dataclass(frozen=True, kw_only=True)
class AzureFileStorage(AzureStorage):
    """One share of an account. Names are paths from its root on."""

    service: ClassVar[str] = "file"
    extra: ClassVar[str] = "azure-file"
    place: ClassVar[str] = "share"

    share: str

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        share, _, name = url.removeprefix("azfile://").partition("/")
        account, _, share = share.rpartition(".")
        environ = os.environ
        return cls(
            share=share,
            account=account or environ.get("EXPORTERS_AZUREWRITER_NAME"),
            key=environ.get("EXPORTERS_AZUREWRITER_KEY"),
            host=environ.get("AZURE_STORAGE_FILE_ENDPOINT"),
        ), name

    def _connect(self) -> Any:
        """The client of the share. Names that end with a dot stay as they are."""
        library = self._library("azure.storage.fileshare")
        access = self._access()
        with self._answers(""):
            service = library.ShareServiceClient(**access, allow_trailing_dot=True, allow_source_trailing_dot=True)
            return service.get_share_client(self.share)

    def url(self, name: str) -> str:
        return f"azfile://{self.account}.{self.share}/{name}"

    def names(self, prefix: str) -> Iterator[Stored]:
        path = prefix.strip("/")
        try:
            found = self.stat(path) if path else None
        except NotThere:
            found = None
        if found is not None:
            yield found
        else:
            yield from self._below(path)

    def _below(self, folder: str) -> Iterator[Stored]:
        """Every file below a folder, in order of the whole path: the service lists folders and files apart."""
        answers = partial(self._answers, folder)
        try:
            with answers():
                there = self.client.get_directory_client(folder)
                pages = there.list_directories_and_files(include=["Etag"], results_per_page=1000).by_page()
            found = {
                posixpath.join(folder, entry.name) + "/" * entry.is_directory: entry
                for entry in each_page(answers, pages)
            }
        except NotThere:
            return
        for path in sorted(found):
            if is_bookkeeping(path.rstrip("/")):
                continue
            if path.endswith("/"):
                yield from self._below(path[:-1])
            elif etag := _etag(found[path]):
                yield Stored(path, int(found[path].size or 0), etag)
            else:  # a listing that does not tell it
                yield self.stat(path)

    def stat(self, name: str) -> Stored:
        with self._answers(name):
            found = self.client.get_file_client(name).get_file_properties()
        md5 = bytes(found.content_settings.content_md5 or b"").hex()
        return Stored(name, int(found.size or 0), _etag(found), md5, found.metadata or {})

    def open(self, found: Stored) -> BinaryIO:
        errors = self._library("azure.core.exceptions")
        broken = (errors.ServiceRequestError, errors.ServiceResponseError, ConnectionError)
        fetch = partial(Pieces, size=found.size)
        return buffered(
            Ranged(found.size, lambda start: fetch(partial(self._piece, found), start), broken, self.attempts)
        )

    def _piece(self, found: Stored, start: int, stop: int) -> bytes:
        with self._answers(found.name):
            piece = self.client.get_file_client(found.name).download_file(start, stop - start)
            if _etag(piece.properties) != found.etag:
                raise changed(self.url(found.name))
            data: bytes = piece.readall()
        return data

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """Under a hidden name in the same folder, in ranges of which the server checks the MD5, then renamed."""
        library, errors = self._library("azure.storage.fileshare"), self._library("azure.core.exceptions")
        settings = library.ContentSettings(content_md5=bytearray(binascii.unhexlify(content.md5)))
        folder, base = posixpath.split(name)
        half_sent = posixpath.join(folder, f".{base}.{content.token}.part")

        def send() -> Stored:
            with self._answers(name, putting=True):
                self._make(folder)
                there, sent = self.client.get_file_client(half_sent), Sent(file)
                try:
                    there.upload_file(
                        sent, length=content.size, validate_content=True, content_settings=settings,
                        metadata=dict(content.metadata) or None, max_concurrency=1,
                    )  # fmt: skip
                    sent.compare(self.url(half_sent), content)
                    arrived(self.url(half_sent), self.stat(half_sent), content)
                    # Where it is renamed already, and only the answer did not come, it is looked at below.
                    with suppress(errors.ResourceNotFoundError):
                        there.rename_file(name, overwrite=True)
                except BaseException:
                    with suppress(Exception):
                        there.delete_file()
                    raise
            return arrived(self.url(name), self.stat(name), content)

        return patiently(send, self.attempts)

    def _make(self, folder: str) -> None:
        """Make a folder and those above it where they are not there."""
        if not folder:
            return
        errors = self._library("azure.core.exceptions")
        try:
            self.client.get_directory_client(folder).create_directory()
        except errors.HttpResponseError as error:
            code = code_of(error)
            if code == "ParentNotFound":
                self._make(posixpath.dirname(folder))
                self._make(folder)
            elif code != "ResourceAlreadyExists":
                raise

    def delete(self, name: str) -> None:
        with suppress(NotThere), self._answers(name):
            self.client.get_file_client(name).delete_file()

    def _create(self) -> None:
        self.client.create_share()


def _etag(found: Any) -> str:
    return str(found.etag or "").strip('"')
