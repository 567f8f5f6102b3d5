"""Azure Blob Storage, through azure-storage-blob."""

from __future__ import annotations

import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

from exporters_beam.errors import ConfigError
from exporters_beam.storages import (
    ATTEMPTS,
    SILENCE,
    ClientStorage,
    Content,
    NotThere,
    Pieces,
    Ranged,
    Storage,
    StorageError,
    Stored,
    answer,
    arrived,
    buffered,
    changed,
    client,
    each_page,
    is_bookkeeping,
    patiently,
)

WHAT, EXTRA = "the storage azure_blob", "azure"

BLOCK = 32 << 20
"""Larger files are sent in blocks of this size, which appear together when the last has arrived."""

_TO_BLAME = {
    "AuthenticationFailed": ("account_key", "the server does not take the key"),
    "NoAuthenticationInformation": ("account_key", "the server wants a key"),
    "InvalidAuthenticationInfo": ("account_key", "the server does not take the key"),
    "AuthorizationFailure": ("container", "no permission in the container {container!r}"),
    "AuthorizationPermissionMismatch": ("container", "no permission in the container {container!r}"),
    "ContainerNotFound": ("container", "there is no container {container!r}"),
    "ContainerBeingDeleted": ("container", "the container {container!r} is being deleted"),
    "InvalidResourceName": ("container", "{container!r} is no name of a container"),
    "ResourceNotFound": ("account_name", "there is no such account or container"),
}
"""Error codes of the service: the option that is to blame, and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class AzureBlobStorage(ClientStorage):
    """One container of an account."""

    container: str
    account: str | None = None
    key: str | None = field(default=None, repr=False)
    sas_token: str | None = field(default=None, repr=False)
    host: str | None = None
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        container, _, name = url.removeprefix("az://").partition("/")
        account, _, container = container.rpartition(".")
        environ = os.environ
        return cls(
            container=container,
            account=account or environ.get("EXPORTERS_AZUREWRITER_NAME"),
            key=environ.get("EXPORTERS_AZUREWRITER_KEY"),
            host=environ.get("AZURE_STORAGE_BLOB_ENDPOINT"),
        ), name

    def _connect(self) -> Any:
        """The client of the container."""
        library = client("azure.storage.blob", WHAT, EXTRA)
        if not self.account:
            raise StorageError("account_name", "it is missing; give it, or EXPORTERS_AZUREWRITER_NAME")
        if not (self.key or self.sas_token):
            raise StorageError("account_key", "it is missing; give it, sas_token, or EXPORTERS_AZUREWRITER_KEY")
        host = self.host or f"https://{self.account}.blob.core.windows.net"
        credential: Any = {"account_name": self.account, "account_key": self.key} if self.key else self.sas_token
        with self._answers(""):
            service = library.BlobServiceClient(
                host, credential=credential, max_single_put_size=BLOCK, max_block_size=BLOCK,
                retry_policy=self._retries(library), connection_timeout=15, read_timeout=SILENCE,
            )  # fmt: skip
            return service.get_container_client(self.container)

    def _retries(self, library: Any) -> Any:
        """Again after about 1, 3, 5 and 9 seconds."""
        again = max(0, self.attempts - 1)
        return library.ExponentialRetry(initial_backoff=1, increment_base=2, random_jitter_range=1, retry_total=again)

    def url(self, name: str) -> str:
        return f"az://{self.account}.{self.container}/{name}"

    def names(self, prefix: str) -> Iterator[Stored]:
        with self._answers(""):
            pages = self.client.list_blobs(name_starts_with=prefix or None, results_per_page=1000).by_page()
        for blob in each_page(lambda: self._answers(""), pages):
            if not is_bookkeeping(blob.name):
                yield _stored(blob)

    def stat(self, name: str) -> Stored:
        with self._answers(name):
            return _stored(self.client.get_blob_client(name).get_blob_properties())

    def open(self, found: Stored) -> BinaryIO:
        errors = client("azure.core.exceptions", WHAT, EXTRA)
        broken = (errors.ServiceRequestError, errors.ServiceResponseError, ConnectionError)
        fetch = partial(Pieces, size=found.size)
        return buffered(
            Ranged(found.size, lambda start: fetch(partial(self._piece, found), start), broken, self.attempts)
        )

    def _piece(self, found: Stored, start: int, stop: int) -> bytes:
        core = client("azure.core", WHAT, EXTRA)
        asked = iter((True,))

        def only_once(_: Any) -> None:
            if not next(asked, False):
                raise StorageError("", f"the connection broke between the bytes {start:,} and {stop:,}")

        # The client reads what breaks off three times, whatever its retries are.
        more = {"raw_request_hook": only_once} if self.attempts < 2 else {}
        with self._answers(found.name):
            blob = self.client.get_blob_client(found.name)
            data: bytes = blob.download_blob(
                start, stop - start, etag=found.etag, match_condition=core.MatchConditions.IfNotModified, **more
            ).readall()
        return data

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """In one request, or in blocks that appear together. The server checks the MD5 of each."""
        library = client("azure.storage.blob", WHAT, EXTRA)
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

    def probe(self) -> None:
        """Make the container where it is not there, as the old system did."""
        errors = client("azure.core.exceptions", WHAT, EXTRA)
        with self._answers(""):
            try:
                self.client.create_container()
            except errors.ResourceExistsError:
                return
            except errors.HttpResponseError as error:
                if not _code(error).startswith("AuthorizationP"):
                    raise  # A key that may not make containers may still put blobs there.

    @contextmanager
    def _answers(self, name: str, putting: bool = False) -> Iterator[None]:
        """Turns what the client raises into StorageError."""
        errors = client("azure.core.exceptions", WHAT, EXTRA)
        try:
            yield
        except (StorageError, ConfigError):
            raise
        except errors.HttpResponseError as error:
            code = _code(error)
            said = answer(str(error.reason or ""))
            if code == "BlobNotFound" or (
                error.status_code == 404 and name and not putting and not code.startswith("Co")
            ):
                raise NotThere("", f"there is no blob {self.url(name)}") from error
            if error.status_code == 412:
                raise changed(self.url(name)) from error
            if error.status_code == 429:  # which the client does not try again
                raise StorageError("", f"the server has too much to do (it said 429: {said})", passing=True) from error
            if error.status_code is None:
                raise StorageError("", f"the connection broke ({answer(str(error))})", passing=True) from error
            if code == "AuthorizationFailure" and "authenticate" in said:
                code = "AuthenticationFailed"
            option, what = _TO_BLAME.get(
                code, ("account_key" if error.status_code in (401, 403) else "", "the server refused")
            )
            what = what.format(container=self.container)
            raise StorageError(option, f"{what} (the server said {code or error.status_code}: {said})") from error
        except (errors.ServiceRequestError, errors.ServiceResponseError) as error:
            raise StorageError("host", f"the server cannot be reached ({answer(str(error))})") from error
        except errors.AzureError as error:
            raise StorageError("", answer(str(error))) from error
        except (ValueError, TypeError) as error:  # binascii.Error is one
            raise StorageError("account_key", f"it is no key of an account ({answer(str(error))})") from error


def _code(error: Any) -> str:
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _stored(blob: Any) -> Stored:
    md5 = bytes(blob.content_settings.content_md5 or b"").hex()
    return Stored(blob.name, int(blob.size or 0), blob.etag.strip('"') if blob.etag else "", md5, blob.metadata or {})
