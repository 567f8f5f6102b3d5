"""Azure Files, through azure-storage-file-share."""

from __future__ import annotations

import binascii
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.options import option
from exporters_beam.records import PlannedFile
from exporters_beam.storages.azure import AzureAccount, AzureStorage, code_of, etag_of, md5_of
from exporters_beam.storages.base import (
    Content,
    NotThere,
    Sent,
    Storage,
    Stored,
    arrived,
    changed,
    each_page,
    is_bookkeeping,
    patiently,
)
from exporters_beam.storages.reader import FolderReader, as_tuple
from exporters_beam.storages.writer import RemoteWriter


@dataclass(frozen=True, kw_only=True)
class AzureFileStorage(AzureStorage):
    """One share of an account. Names are paths from its root on."""

    scheme: ClassVar[str] = "azfile"
    service: ClassVar[str] = "file"
    extra: ClassVar[str] = "azure-file"
    place: ClassVar[str] = "share"

    share: str

    def _connect(self) -> Any:
        """The client of the share. Names that end with a dot stay as they are."""
        library = self._library("azure.storage.fileshare")
        access = self._access()
        with self._answers(""):
            service = library.ShareServiceClient(**access, allow_trailing_dot=True, allow_source_trailing_dot=True)
            return service.get_share_client(self.share)

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
            found: dict[str, Stored | None] = {}
            for entry in each_page(answers, pages):
                path = posixpath.join(folder, entry.name)
                if entry.is_directory:
                    found[f"{path}/"] = None
                else:
                    found[path] = Stored(path, int(entry.size or 0), etag_of(entry))
        except NotThere:
            return
        for path in sorted(found):
            file = found[path]
            if is_bookkeeping(path.rstrip("/")):
                continue
            if file is None:
                yield from self._below(path[:-1])
            else:
                yield file if file.etag else self.stat(path)

    def stat(self, name: str) -> Stored:
        with self._answers(name):
            found = self.client.get_file_client(name).get_file_properties()
        return Stored(name, int(found.size or 0), etag_of(found), md5_of(found), found.metadata or {})

    def _piece(self, found: Stored, start: int, stop: int) -> bytes:
        with self._answers(found.name):
            piece = self.client.get_file_client(found.name).download_file(start, stop - start, **self._reading(start, stop))
            if etag_of(piece.properties) != found.etag:
                raise changed(self.url(found.name))
            data: bytes = piece.readall()
        return data

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """Under a hidden name in the same folder, in ranges of which the server checks the MD5, then renamed."""
        library = self._library("azure.storage.fileshare")
        settings = library.ContentSettings(content_md5=bytearray(binascii.unhexlify(content.md5)))
        half_sent = _hidden(name, content.token)

        def send() -> Stored:
            with self._answers(name, putting=True):
                self._make(posixpath.dirname(name))
                there, sent = self.client.get_file_client(half_sent), Sent(file)
                try:
                    there.upload_file(
                        sent, length=content.size, validate_content=True, content_settings=settings,
                        metadata=dict(content.metadata) or None, max_concurrency=1,
                    )  # fmt: skip
                    sent.compare(self.url(half_sent), content)
                    arrived(self.url(half_sent), self.stat(half_sent), content)
                    self._rename(there, name)
                except BaseException:
                    with suppress(Exception):
                        there.delete_file()
                    raise
            return arrived(self.url(name), self.stat(name), content)

        return patiently(send, self.attempts)

    def copy(self, source: Storage, found: Stored, name: str) -> Stored | None:
        """Copy a file inside the account, as `put` puts it; None where that cannot be done and it has to be streamed."""
        if not (isinstance(source, AzureFileStorage) and self.beside(source)):
            return None
        errors = self._library("azure.core.exceptions")
        with self._answers(name, putting=True):
            self._make(posixpath.dirname(name))
            there = self.client.get_file_client(_hidden(name, "copy"))
            try:
                try:
                    there.start_copy_from_url(source.client.get_file_client(found.name).url)
                    copied = self._copied(there.get_file_properties, found, source)
                except errors.HttpResponseError:
                    copied = None
                if copied is not None:
                    if source.stat(found.name).etag != found.etag:
                        raise changed(source.url(found.name))
                    self._rename(there, name)
            except BaseException:
                with suppress(Exception):
                    there.delete_file()
                raise
        return copied and self.stat(name)

    def _rename(self, there: Any, name: str) -> None:
        """Where it is renamed already, and only the answer did not come, who calls looks at what is there."""
        with suppress(self._library("azure.core.exceptions").ResourceNotFoundError):
            there.rename_file(name, overwrite=True)

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


def _hidden(name: str, token: str) -> str:
    """What a file is called in its folder until it is complete."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, f".{base}.{token}.part")


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
