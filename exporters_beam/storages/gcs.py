"""Google Cloud Storage, through google-cloud-storage."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.names import expand_dates
from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
from exporters_beam.records import PlannedFile
from exporters_beam.storages.base import (
    ATTEMPTS,
    SILENCE,
    ClientStorage,
    Content,
    NotThere,
    Storage,
    StorageError,
    Stored,
    answer,
    arrived,
    changed,
    client,
    each_page,
    is_bookkeeping,
)
from exporters_beam.storages.ranged import Pieces, Ranged, buffered
from exporters_beam.storages.reader import EmptiedReader, as_tuple
from exporters_beam.storages.s3 import bucket_name
from exporters_beam.storages.writer import RemoteWriter

WHAT, EXTRA = "the storage gcs", "gcs"

CHUNK = 32 << 20
"""Bytes of a request of a resumable upload; larger files are sent in several."""

PAGE = 1000

RETRY_SECONDS = 120.0
"""How long the client tries a request again."""


@dataclass(frozen=True, kw_only=True)
class GcsStorage(ClientStorage):
    """One bucket. Without credentials those of the machine are taken (application default credentials)."""

    bucket: str
    project: str | None = None
    credentials: Mapping[str, Any] | str | None = field(default=None, repr=False)
    host: str | None = None
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        bucket, _, name = url.removeprefix("gs://").partition("/")
        return cls(bucket=bucket, credentials=os.environ.get("EXPORTERS_GSTORAGE_CREDS_RESOURCE")), name

    def _connect(self) -> Any:
        library = client("google.cloud.storage", WHAT, EXTRA)
        host = self.host or os.environ.get("STORAGE_EMULATOR_HOST")
        with self._answers(""):
            credentials = self._credentials(host)
            options = {"api_endpoint": host if "://" in host else f"https://{host}"} if host else None
            return library.Client(project=self.project or "none", credentials=credentials, client_options=options)

    def _credentials(self, host: str | None) -> Any:
        given = self.credentials
        if given is None:
            if not host:
                return None
            return client("google.auth.credentials", WHAT, EXTRA).AnonymousCredentials()
        found = of_package(given) if isinstance(given, str) else given
        account = client("google.oauth2.service_account", WHAT, EXTRA)
        try:
            return account.Credentials.from_service_account_info(
                dict(found), scopes=["https://www.googleapis.com/auth/devstorage.read_write"]
            )
        except (ValueError, TypeError, KeyError):
            raise StorageError("credentials", "this is not a key of a service account") from None

    def url(self, name: str) -> str:
        return f"gs://{self.bucket}/{name}"

    @property
    def _retry(self) -> Any:
        """The client's own retries, where they are wanted."""
        if self.attempts < 2:
            return None
        return client("google.cloud.storage.retry", WHAT, EXTRA).DEFAULT_RETRY.with_timeout(RETRY_SECONDS)

    @property
    def _patience(self) -> dict[str, Any]:
        """What every call of the client is given."""
        return {"retry": self._retry, "timeout": SILENCE}

    def names(self, prefix: str) -> Iterator[Stored]:
        with self._answers(""):
            found = self.client.list_blobs(self.bucket, prefix=prefix, page_size=PAGE, **self._patience)
            pages = iter(found.pages)
        for blob in each_page(lambda: self._answers(""), pages):
            if not is_bookkeeping(blob.name) and not (blob.name.endswith("/") and not blob.size):
                yield _stored(blob)

    def stat(self, name: str) -> Stored:
        with self._answers(name):
            blob = self.client.bucket(self.bucket).blob(name)
            blob.reload(**self._patience)
            return _stored(blob)

    def open(self, found: Stored) -> BinaryIO:
        """The bytes of that generation, in requests of a few MiB, each checked."""
        errors = client("google.api_core.exceptions", WHAT, EXTRA)
        blob = self.client.bucket(self.bucket).blob(found.name, generation=int(found.etag))
        return buffered(
            Ranged(
                found.size,
                lambda start: Pieces(partial(self.piece, blob), start, found.size),
                (errors.ServerError, errors.TooManyRequests, ConnectionError),
                self.attempts,
            )
        )

    def piece(self, blob: Any, start: int, stop: int) -> bytes:
        """Some bytes of an object. Raises StorageError."""
        with self._answers(blob.name):
            try:
                data: bytes = blob.download_as_bytes(start=start, end=stop - 1, raw_download=True, **self._patience)
            except client("google.api_core.exceptions", WHAT, EXTRA).NotFound as error:
                raise changed(self.url(blob.name)) from error
        return data

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """In one request, or resumable in several; the server compares the CRC32C of what arrived with what was sent."""
        with self._answers(name, putting=True):
            blob = self.client.bucket(self.bucket).blob(name, chunk_size=CHUNK if content.size > CHUNK else None)
            blob.metadata = dict(content.metadata) or None
            file.seek(0)
            blob.upload_from_file(file, size=content.size, checksum="crc32c", **self._patience)
            return arrived(self.url(name), _stored(blob), content)

    def beside(self, source: Storage) -> bool:
        """Whether objects of a storage can be copied here inside the service."""
        return isinstance(source, GcsStorage) and source.host == self.host

    def copy(self, source: Storage, found: Stored, name: str) -> Stored | None:
        """Copy an object inside the service; None where that cannot be done and it has to be streamed."""
        if not (isinstance(source, GcsStorage) and self.beside(source)):
            return None
        errors = client("google.api_core.exceptions", WHAT, EXTRA)
        blob = self.client.bucket(source.bucket).blob(found.name, generation=int(found.etag))
        there, token = self.client.bucket(self.bucket).blob(name), None
        with self._answers(name):
            try:
                while True:  # Large objects between regions are copied in several requests.
                    token, _, _ = there.rewrite(blob, token=token, if_source_generation_match=int(found.etag), **self._patience)
                    if token is None:
                        break
                there.reload(**self._patience)
            except (errors.Forbidden, errors.MethodNotImplemented, errors.BadRequest):
                return None
            except (errors.NotFound, errors.PreconditionFailed) as error:
                raise changed(source.url(found.name)) from error
        copied = _stored(there)
        if copied.size != found.size or (found.md5 and copied.md5 and copied.md5 != found.md5):
            raise StorageError("", f"the copy {self.url(name)} is not what {source.url(found.name)} is")
        return copied

    def delete(self, name: str) -> None:
        with self._answers(name):
            try:
                self.client.bucket(self.bucket).blob(name).delete(**self._patience)
            except client("google.api_core.exceptions", WHAT, EXTRA).NotFound:
                return

    def probe(self) -> None:
        """Credentials that may not list the bucket may still put objects there: that is left to the first upload."""
        errors = client("google.api_core.exceptions", WHAT, EXTRA)
        try:
            with self._answers(""):
                next(iter(self.client.list_blobs(self.bucket, max_results=1, **self._patience)), None)
        except StorageError as error:
            if not isinstance(error.__cause__, errors.Forbidden):
                raise

    @contextmanager
    def _answers(self, name: str, putting: bool = False) -> Iterator[None]:
        """Turns what the client raises into StorageError."""
        errors = client("google.api_core.exceptions", WHAT, EXTRA)
        auth = client("google.auth.exceptions", WHAT, EXTRA)
        sums = client("google.cloud.storage.exceptions", WHAT, EXTRA)
        try:
            yield
        except (errors.NotFound, sums.InvalidResponse) as error:
            status = getattr(error, "code", None) or getattr(getattr(error, "response", None), "status_code", 0)
            said = answer(_said(error))
            if status == 404 and (not name or putting or "bucket does not exist" in said.lower()):
                raise StorageError("bucket", f"there is no bucket {self.bucket!r} (the server said {said})") from error
            if status == 404:
                raise NotThere("", f"there is no object {self.url(name)}") from error
            raise StorageError("", f"the server refused (it said {said})") from error
        except errors.PreconditionFailed as error:
            raise changed(self.url(name)) from error
        except errors.Unauthorized as error:
            raise StorageError("credentials", f"the server does not take them (it said {answer(_said(error))})") from error
        except errors.Forbidden as error:
            text = f"no permission in the bucket {self.bucket!r} (the server said {answer(_said(error))})"
            raise StorageError("bucket", text) from error
        except errors.GoogleAPICallError as error:
            raise StorageError("", f"the server refused (it said {answer(_said(error))})") from error
        except errors.RetryError as error:
            raise StorageError("host", f"the server does not answer ({answer(str(error.cause or error))})") from error
        except sums.DataCorruption as error:
            raise StorageError("", f"{self.url(name)} did not arrive as it was sent: its checksum differs") from error
        except auth.InvalidOperation as error:
            raise StorageError("credentials", "none were given, and the server wants them") from error
        except auth.DefaultCredentialsError as error:
            raise StorageError(
                "credentials", "none were given, and this machine has none of its own (application default credentials)"
            ) from error
        except auth.GoogleAuthError as error:
            raise StorageError("credentials", f"the server does not take them ({answer(str(error))})") from error
        except (OSError, client("urllib3.exceptions", WHAT, EXTRA).HTTPError) as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError("host", f"the server cannot be reached ({answer(str(error))})") from error


def _stored(blob: Any) -> Stored:
    import base64

    md5 = base64.b64decode(blob.md5_hash).hex() if blob.md5_hash else ""
    return Stored(blob.name, int(blob.size or 0), str(blob.generation), md5, blob.metadata or {})


def _said(error: object) -> str:
    text = re.sub(r"^[A-Z]+ https?://\S+: ", "", str(getattr(error, "message", "") or error))
    return re.sub(r":? ?\('Request failed with status code', (\d+), .*\)$", r" (status \1)", text).strip()


def of_package(given: str) -> Any:
    """A service account's key in a JSON file that an installed package ships, `package:path`. Raises StorageError."""
    from importlib.resources import files

    package, _, path = given.partition(":")
    try:
        return json.loads(files(package).joinpath(path).read_text(encoding="utf-8"))
    except (ImportError, OSError, ValueError, TypeError) as error:
        kind = type(error).__name__
        raise StorageError("credentials", f"{given!r} names no JSON file of an installed package ({kind})") from None


def check_credentials(given: object) -> None:
    """What can be said of credentials without the client. Raises ConfigError."""
    if isinstance(given, Mapping):
        missing = [name for name in ("client_email", "private_key", "token_uri") if not given.get(name)]
        if missing:
            raise ConfigError(f"credentials: this is not a key of a service account: it has no {missing[0]}")
    elif isinstance(given, str) and not given.startswith("${") and ":" not in given:
        raise ConfigError("credentials: write a JSON file that a package ships as package:path/to/file.json")


@dataclass(frozen=True, kw_only=True)
class GcsReader(EmptiedReader):
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


@dataclass(frozen=True, kw_only=True)
class GcsWriter(RemoteWriter):
    """Deliver files to a bucket of Google Cloud Storage.

    A file is built on the worker and uploaded, in several requests where it is large (a resumable upload). It appears
    whole or not at all; CRC32C, size and MD5 are compared with what was sent. Objects of the same name are replaced. Beside
    the files only `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume`
    needs stay on this machine, in the folder of `staging`. Without `credentials` those of the machine are taken
    (application default credentials). Needs the extra `gcs`.

    Example:
        writer:
          name: gcs
          options: {project: shop, bucket: products, filebase: 'dumps/%Y-%m-%d/part-'}
    """

    takes_copies: ClassVar[bool | str] = True

    project: str = option("project of the bucket", type="str", example="shop")
    bucket: str = option("name of the bucket; gs://name/ is taken too", type="str", example="products")
    credentials: Any = option("key of a service account, or package:path of one", type="dict|str", default=None,
                              env="EXPORTERS_GSTORAGE_CREDS_RESOURCE", secret=True)  # fmt: skip
    host: str | None = option("another server than Google's, e.g. http://localhost:4443", type="str", default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not bucket_name(self.bucket, "gs"):
            raise ConfigError("bucket: it is empty; give the name of a bucket")
        check_credentials(self.credentials)

    def connect(self) -> Storage:
        return GcsStorage(bucket=bucket_name(self.bucket, "gs"), project=self.project, credentials=self.credentials,
                          host=self.host, attempts=self.attempts)  # fmt: skip

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        return {"total": str(file.records)} if file.records >= 0 else {}

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
