"""Files of a Dropbox, through the client dropbox. The module has another name than the client's package."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, ClassVar
from urllib.parse import urlsplit

from exporters_beam.components.options import option
from exporters_beam.components.retry import persistently
from exporters_beam.errors import ConfigError
from exporters_beam.storages.base import (
    ATTEMPTS,
    ClientStorage,
    Connected,
    Content,
    NotThere,
    Sent,
    Storage,
    StorageError,
    Stored,
    answer,
    arrived,
    changed,
    client,
    is_bookkeeping,
    patiently,
)
from exporters_beam.storages.ranged import Ranged, buffered
from exporters_beam.storages.reader import FolderReader
from exporters_beam.storages.writer import RemoteWriter

WHAT, EXTRA = "the storage dropbox", "dropbox"

BLOCK = 4 << 20
"""Bytes that Dropbox hashes at a time: its content hash is the hash of their hashes."""

CHUNK = 2 * BLOCK
"""Bytes of a request of an upload; larger files are sent in several, and appear with the last."""

PAGE = 2000

_SAYS = {
    "no_write_permission": "no permission to write there",
    "insufficient_space": "the Dropbox is full",
    "disallowed_name": "this is not a valid name for a file of Dropbox",
    "malformed_path": "this is not a path of Dropbox",
    "team_folder": "team folders cannot be changed",
    "restricted_content": "the file is restricted",
    "too_many_write_operations": "too many files are written there at once",
}
"""Error tags of the service: what is wrong."""


@dataclass(frozen=True, kw_only=True)
class DropboxStorage(ClientStorage):
    """The Dropbox of a user, or the folder of an app: what the token is for."""

    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    app_key: str | None = None
    app_secret: str | None = field(default=None, repr=False)
    host: str | None = None
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        token = os.environ.get("EXPORTERS_DROPBOXWRITER_TOKEN")
        return cls(access_token=token), url.removeprefix("dropbox://").lstrip("/")

    def url(self, name: str) -> str:
        return f"dropbox:///{name}"

    def _connect(self) -> Any:
        library = client("dropbox", WHAT, EXTRA)
        if not (self.access_token or self.refresh_token):
            raise StorageError(
                "access_token", "it is missing; give it, refresh_token and app_key, or EXPORTERS_DROPBOXWRITER_TOKEN"
            )
        for name in ("access_token", "refresh_token"):
            given = getattr(self, name) or ""
            if not given.isascii() or any(each.isspace() for each in given):
                raise StorageError(name, "it is not a token: there are spaces, line breaks or unusual letters in it")
        again = max(0, self.attempts - 1)
        return library.Dropbox(
            oauth2_access_token=None if self.refresh_token else self.access_token,
            oauth2_refresh_token=self.refresh_token, app_key=self.app_key, app_secret=self.app_secret,
            max_retries_on_error=again, max_retries_on_rate_limit=again,
            session=_session(self.host) if self.host else None,
        )  # fmt: skip

    def names(self, prefix: str) -> Iterator[Stored]:
        path = _clean(prefix)
        try:
            yield from self._below(path)
        except NotThere:
            with suppress(NotThere):
                if path:
                    yield self.stat(path)

    def _below(self, folder: str) -> Iterator[Stored]:
        """Every file below a folder, in order of the whole path. The files of one folder are held."""
        found: list[tuple[str, int, str]] = []
        for entry in self._listed(folder):
            name = posixpath.join(folder, entry.name)
            if not is_bookkeeping(name):
                found.append((name, int(entry.size), entry.rev) if hasattr(entry, "rev") else (f"{name}/", 0, ""))
        for name, size, rev in sorted(found):
            if rev:
                yield Stored(name, size, rev)
            else:
                with suppress(NotThere):
                    yield from self._below(name[:-1])

    def _listed(self, folder: str) -> Iterator[Any]:
        page = self._again(lambda: self.client.files_list_folder(_path(folder), limit=PAGE), folder)
        while True:
            yield from page.entries
            if not page.has_more:
                return
            page = self._again(partial(self.client.files_list_folder_continue, page.cursor), folder)

    def stat(self, name: str) -> Stored:
        found = self._again(lambda: self.client.files_get_metadata(_path(name)), name)
        if not hasattr(found, "rev"):
            raise NotThere("", f"there is no file {self.url(name)}, but a folder")
        return _stored(name, found)

    def open(self, found: Stored) -> BinaryIO:
        """The bytes of that revision, in one request from wherever it is entered."""
        requests, urllib3 = client("requests", WHAT, EXTRA), client("urllib3", WHAT, EXTRA)
        broken = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError)

        def fetch(start: int) -> Any:
            try:
                with self._answers(found.name):
                    self.client.check_and_refresh_access_token()
                    there = self.client.clone(headers={"Range": f"bytes={start}-", "Accept-Encoding": "identity"})
                    metadata, response = there.files_download(_path(found.name))
            except NotThere as error:
                raise changed(self.url(found.name)) from error
            if metadata.rev != found.etag:
                response.close()
                raise changed(self.url(found.name))
            return response.raw

        return buffered(Ranged(found.size, fetch, broken, self.attempts))

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """In one request, or in an upload session whose last request makes the file appear."""
        return persistently(lambda: self._sent(name, file, content), attempts=self.attempts, first=0, longest=0,
                            passing=lambda error: isinstance(error, StorageError) and _is_lost(error))  # fmt: skip

    def _sent(self, name: str, file: BinaryIO, content: Content) -> Stored:
        library = client("dropbox.files", WHAT, EXTRA)
        mode, sent, hashed = library.WriteMode.overwrite, Sent(file), hashlib.sha256()
        data, at, session = _next(sent, hashed), 0, ""
        if content.size > CHUNK:
            session = self._again(lambda: self.client.files_upload_session_start(b""), name, True).session_id
            while at + len(data) < content.size and data:
                self._in_session(name, session, data, at, self.client.files_upload_session_append_v2)
                at, data = at + len(data), _next(sent, hashed)
        sent.compare(self.url(name), content)
        wanted = hashed.hexdigest()
        if session:
            commit = library.CommitInfo(path=_path(name), mode=mode, mute=True)
            made = self._in_session(
                name,
                session,
                data,
                at,
                lambda data, at: self.client.files_upload_session_finish(data, at, commit),
                wanted,
            )
        else:
            made = self._again(lambda: self.client.files_upload(data, _path(name), mode=mode, mute=True), name, True)
        if made.content_hash != wanted:
            raise StorageError("", f"{self.url(name)} did not arrive as it was sent: its content hash differs")
        return arrived(self.url(name), _stored(name, made), content)

    def _in_session(
        self, name: str, session: str, data: bytes, at: int, act: Callable[[bytes, object], object], wanted: str = ""
    ) -> Any:
        """Send a piece, or what of it has not arrived yet. Where only the answer to the last one was lost, the session
        is gone and the file is there: `wanted` is its content hash then."""
        library, errors = client("dropbox.files", WHAT, EXTRA), client("dropbox.exceptions", WHAT, EXTRA)
        start, tries = at, 0

        def once() -> Any:
            nonlocal start, tries
            tries += 1
            while True:
                cursor = library.UploadSessionCursor(session_id=session, offset=start)
                try:
                    return act(data[start - at :], cursor)
                except errors.ApiError as error:
                    offset = _offset(error.error)
                    if start < offset <= at + len(data):
                        start = offset
                        if wanted or start < at + len(data):
                            continue
                        return None
                    if wanted and tries > 1 and _tags(error.error)[0] == "lookup_failed":
                        found = self.client.files_get_metadata(_path(name))
                        if getattr(found, "content_hash", "") == wanted:
                            return found
                    raise

        return self._again(once, name, putting=True)

    def beside(self, source: Storage) -> bool:
        """Whether files of a storage can be copied here inside the service: those of the same user."""
        return isinstance(source, DropboxStorage) and source._user == self._user

    def copy(self, source: Storage, found: Stored, name: str) -> Stored | None:
        """Copy a file inside the Dropbox; None where it has to be streamed: from another one, or over a file."""
        if not (isinstance(source, DropboxStorage) and self.beside(source)):
            return None
        wanted = found.metadata.get("content_hash", "")
        errors = client("dropbox.exceptions", WHAT, EXTRA)
        try:
            made = self._again(
                lambda: self.client.files_copy_v2(_path(found.name), _path(name), autorename=False).metadata, name, True
            )
        except StorageError as error:
            if not isinstance(error.__cause__, errors.ApiError) or "to" not in _tags(error.__cause__.error):
                raise
            return None
        there = _stored(name, made)
        if (there.size, there.metadata.get("content_hash", "")) != (found.size, wanted):
            self.delete(name)
            raise changed(source.url(found.name))
        return there

    @property
    def _user(self) -> tuple[Any, ...]:
        return (self.host, self.refresh_token or self.access_token)

    def delete(self, name: str) -> None:
        with suppress(NotThere):
            self._again(lambda: self.client.files_delete_v2(_path(name)), name)

    def probe(self) -> None:
        """A token that may not list may still put files there: that is left to the first upload."""
        try:
            with suppress(NotThere):
                self._again(lambda: self.client.files_list_folder("", limit=1), "")
        except StorageError as error:
            if "files.metadata.read" not in error.text:
                raise

    def _again(self, act: Callable[[], object], name: str, putting: bool = False) -> Any:
        """Do it, again where the connection breaks; the client itself does so where the server has too much to do."""

        def once() -> Any:
            with self._answers(name, putting):
                return act()

        return patiently(once, self.attempts)

    @contextmanager
    def _answers(self, name: str, putting: bool = False) -> Iterator[None]:
        """Turns what the client raises into StorageError."""
        errors = client("dropbox.exceptions", WHAT, EXTRA)
        requests = client("requests", WHAT, EXTRA)
        token = "refresh_token" if self.refresh_token else "access_token"
        try:
            yield
        except (StorageError, ConfigError):
            raise
        except errors.AuthError as error:
            said = "/".join(_tags(error.error))
            if said == "missing_scope":
                scope = error.error.get_missing_scope().required_scope
                raise StorageError(token, f"it gives no permission (the server said {said}: {scope})") from error
            raise StorageError(token, f"the server does not take it (it said {said})") from error
        except errors.RateLimitError as error:
            raise StorageError("", "the server has too much to do (it said 429: too many requests)") from error
        except errors.ApiError as error:
            tags = _tags(error.error)
            if tags[-1] in ("not_found", "not_folder", "not_file") and not putting:
                raise NotThere("", f"there is no file {self.url(name)}") from error
            what = next((_SAYS[tag] for tag in tags if tag in _SAYS), "the server refused")
            passing = "too_many_write_operations" in tags
            raise StorageError("", f"{what} (the server said {'/'.join(tags)})", passing=passing) from error
        except errors.BadInputError as error:
            said = answer(str(error.message))
            option = token if "token" in said.lower() else ""
            raise StorageError(option, f"the server refused (it said {said})") from error
        except errors.HttpError as error:
            said = answer(str(error.body or ""))
            raise StorageError("", f"the server refused (it said {error.status_code}: {said})") from error
        except requests.RequestException as error:
            why = answer(str(error))
            raise StorageError("host", f"the server cannot be reached ({why})", passing=True) from error
        except (AssertionError, ValueError, KeyError) as error:  # The client checks the form of answers.
            raise StorageError("host", f"the answer does not come from Dropbox ({answer(str(error))})") from error


def _session(host: str) -> Any:
    """A session that sends to another server what is meant for Dropbox's."""
    session = client("requests", WHAT, EXTRA).Session

    class Elsewhere(session):  # type: ignore[misc, valid-type]
        def request(self, method: str, url: str, **more: object) -> Any:
            return super().request(method, host.rstrip("/") + urlsplit(url).path, **more)

    return Elsewhere()


@dataclass(frozen=True, kw_only=True)
class DropboxAccount(Connected):
    """The options by which the reader and the writer find a Dropbox."""

    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    access_token: str | None = option("token of the user", type="str", default=None,
                                      env="EXPORTERS_DROPBOXWRITER_TOKEN", secret=True)  # fmt: skip
    refresh_token: str | None = option("token that gets new access tokens, for longer than four hours", type="str",
                                       default=None, secret=True)  # fmt: skip
    app_key: str | None = option("key of the app, with refresh_token", type="str", default=None)
    app_secret: str | None = option("secret of the app; not needed for PKCE", type="str", default=None, secret=True)
    host: str | None = option("another server than Dropbox's, e.g. http://localhost:8080", type="str", default=None)

    def check_place(self) -> None:
        """What can be said without the client. Raises ConfigError."""
        if self.refresh_token and not self.app_key:
            raise ConfigError("app_key: it is missing; refresh_token needs the key of its app")

    def connect(self) -> Storage:
        return DropboxStorage(
            access_token=self.access_token, refresh_token=self.refresh_token, app_key=self.app_key,
            app_secret=self.app_secret, host=self.host, attempts=self.attempts,
        )  # fmt: skip


def _clean(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _path(name: str) -> str:
    """A name as Dropbox has it: absolute, and nothing for the root."""
    cleaned = _clean(name)
    return f"/{cleaned}" if cleaned else ""


def _next(sent: Sent, hashed: Any) -> bytes:
    """The next bytes to send, added to the content hash."""
    data = sent.read(CHUNK)
    for at in range(0, len(data), BLOCK):
        hashed.update(hashlib.sha256(data[at : at + BLOCK]).digest())
    return data


def _stored(name: str, found: Any) -> Stored:
    return Stored(name, int(found.size), found.rev, "", {"content_hash": found.content_hash or ""})


def _is_lost(error: StorageError) -> bool:
    """Whether the server no longer knows an upload session."""
    tags = _tags(getattr(error.__cause__, "error", None))
    return tags in (["not_found"], ["lookup_failed", "not_found"])


def _offset(union: Any) -> int:
    """Up to where the server has the bytes of a session, where it expected others; -1 where something else is wrong."""
    while union is not None and getattr(union, "_tag", "") in ("lookup_failed", "incorrect_offset"):
        union = union._value
    return int(getattr(union, "correct_offset", -1))


def _tags(union: object) -> list[str]:
    """What is wrong, from the outside in, as the service itself sums it up: path, not_found."""
    tags = []
    while union is not None:
        tag = getattr(union, "_tag", None)
        if tag is not None:
            tags.append(str(tag))
        union = getattr(union, "_value", None) if tag is not None else getattr(union, "reason", None)
    return tags or ["other"]


@dataclass(frozen=True, kw_only=True)
class DropboxReader(DropboxAccount, FolderReader):
    """Read files of a Dropbox, in the order of their paths.

    `path` is a file or a folder (every file below it), or several; paths begin in the root of the Dropbox, or in the folder
    of the app where the token is for that. `pattern` chooses among the paths. Where nothing at all is found the export
    fails, unless `allow_empty` is given. A file that is replaced while the export runs ends it. Access tokens live four
    hours: give `refresh_token` and `app_key` for longer exports. Needs the extra `dropbox`.

    Example:
        reader:
          name: dropbox
          options: {access_token: '${secret:env:DROPBOX_TOKEN}', path: dumps}
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_place()


@dataclass(frozen=True, kw_only=True)
class DropboxWriter(DropboxAccount, RemoteWriter):
    """Deliver files to a Dropbox.

    A file is built on the worker and uploaded, in an upload session where it is larger than 8 MiB. It appears whole or not
    at all; its size and content hash are compared with what was sent. Files of the same name are replaced. `filebase` begins
    in the root of the Dropbox, or in the folder of the app where the token is for that. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`. Access tokens live four hours: give `refresh_token` and `app_key` for longer
    exports. Where the server has too much to do the client waits as long as it says, five times in all.

    The service does not tell capital letters from small ones: an export whose file names differ in nothing else fails,
    naming two of them. Needs the extra `dropbox`.

    Example:
        writer:
          name: dropbox
          options:
            access_token: ${secret:env:DROPBOX_TOKEN}
            filebase: 'dumps/%Y-%m-%d/part-'
    """

    takes_copies: ClassVar[bool | str] = "dropbox"
    without_case: ClassVar[str] = "Dropbox"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_place()

    def listed_as(self, url: str) -> str:
        return f"/{self.storage.name(url) or url}"
