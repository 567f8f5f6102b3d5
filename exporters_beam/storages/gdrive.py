"""Folders of Google Drive, through google-api-python-client.

In Drive a name is not an address: a folder may hold several files of one name. What is put goes into the oldest file of its
name, or into a new one whose ID is asked for beforehand, so that a request that is sent twice makes one file.
"""

from __future__ import annotations

import http.client
import json
import posixpath
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
from exporters_beam.records import PlannedFile, Warned
from exporters_beam.storages.base import (
    ATTEMPTS,
    ClientStorage,
    Connected,
    Content,
    NotThere,
    Storage,
    StorageError,
    Stored,
    answer,
    arrived,
    changed,
    client,
    is_bookkeeping,
    passed_over,
)
from exporters_beam.storages.ranged import Pieces, Ranged, buffered
from exporters_beam.storages.reader import FolderReader
from exporters_beam.storages.writer import RemoteWriter

WHAT, EXTRA = "the storage gdrive", "gdrive"

CHUNK = 8 << 20
"""Bytes of a request of an upload, a multiple of 256 KiB."""

PAGE = 1000

SCOPES = ["https://www.googleapis.com/auth/drive"]

FOLDER = "application/vnd.google-apps.folder"

FIELDS = "id,name,mimeType,size,md5Checksum,createdTime,appProperties,trashed"

BY_ID = "?id="
"""Behind names that do not say which file is meant: a second one of a name, or one with a slash in its name."""

MARK = "exporters_beam"
"""The property of a file that says which export has made it."""

NOTHING: Mapping[str, str] = {}

_making = threading.Lock()


class _Drive:
    """The client, the folder in which names begin, and the folders that are known."""

    def __init__(self, files: Any, root: Mapping[str, Any]) -> None:
        self.files, self.root = files, root
        self.known: dict[str, list[str]] = {"": [root["id"]]}


@dataclass(frozen=True, kw_only=True)
class GoogleDriveStorage(ClientStorage):
    """One folder of a Drive, and what is below it. Without credentials those of the machine are taken."""

    folder: str = "root"
    credentials: Mapping[str, Any] | str | None = field(default=None, repr=False)
    client_secret: Mapping[str, Any] | str | None = field(default=None, repr=False)
    subject: str | None = None
    host: str | None = None
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        folder, _, name = url.removeprefix("gdrive://").partition("/")
        return cls(folder=folder), name

    def url(self, name: str) -> str:
        return f"gdrive://{self.folder}/{name}"

    def _connect(self) -> _Drive:
        """The client is built from the description of the interface that it ships: nothing is fetched for that."""
        discovery = client("googleapiclient.discovery", WHAT, EXTRA)
        described = json.loads(client("googleapiclient.discovery_cache", WHAT, EXTRA).get_static_doc("drive", "v3"))
        if self.host:
            described["rootUrl"] = f"{self.host.rstrip('/')}/"
            described.pop("mtlsRootUrl", None)
        with self._answers(""):
            service = discovery.build_from_document(described, credentials=self._credentials())
            files = service.files()
        weakref.finalize(self, service.close)
        wanted = "id,mimeType,driveId,capabilities(canAddChildren)"
        root = self._do(files.get(fileId=self.folder, fields=wanted, supportsAllDrives=True))
        if root["mimeType"] != FOLDER:
            raise StorageError("folder_id", f"{self.folder!r} is a file, not a folder")
        return _Drive(files, root)

    def _credentials(self) -> Any:
        given = _document("credentials", self.credentials)
        if given is None:
            return client("google.auth", WHAT, EXTRA).default(scopes=SCOPES)[0]
        try:
            if given.get("type") == "service_account":
                account = client("google.oauth2.service_account", WHAT, EXTRA).Credentials
                return account.from_service_account_info(given, scopes=SCOPES, subject=self.subject)
        except (ValueError, TypeError, KeyError):
            raise StorageError("credentials", "this is not a key of a service account") from None
        app = _app(_document("client_secret", self.client_secret))
        again = given.get("refresh_token")
        return client("google.oauth2.credentials", WHAT, EXTRA).Credentials(
            token=None if again else given.get("token") or given.get("access_token"), refresh_token=again,
            token_uri=given.get("token_uri") or app.get("token_uri") or "https://oauth2.googleapis.com/token",
            client_id=given.get("client_id") or app.get("client_id"),
            client_secret=given.get("client_secret") or app.get("client_secret"),
        )  # fmt: skip

    def _do(self, request: Any, name: str = "", putting: bool = False) -> Any:
        """Send a request, again where the server has too much to do or the connection breaks, which its client does not see."""
        for attempt in range(1, self.attempts + 1):
            try:
                with self._answers(name, putting):
                    return request.execute(num_retries=self.attempts - 1)
            except StorageError as error:
                if not error.passing or attempt == self.attempts:
                    raise
            _pause(attempt)
        raise AssertionError("attempts is at least 1")

    # Finding

    def _list(self, query: str) -> Iterator[dict[str, Any]]:
        """What a query finds, a page at a time."""
        root = self.client.root
        where = {"corpora": "drive", "driveId": root["driveId"]} if root.get("driveId") else {}
        files = self.client.files
        request = files.list(
            q=f"{query} and trashed = false", pageSize=PAGE, fields=f"nextPageToken,files({FIELDS})",
            supportsAllDrives=True, includeItemsFromAllDrives=True, **where,
        )  # fmt: skip
        while request is not None:
            page = self._do(request)
            yield from page.get("files", ())
            request = files.list_next(request, page)

    def _called(self, title: str, folders: Iterable[str], wanted: bool) -> list[dict[str, Any]]:
        """The files (or the folders: `wanted` is True) of a name that are directly in folders, the oldest first."""
        quoted = title.replace("\\", "\\\\").replace("'", "\\'")
        found = self._list(f"name = '{quoted}' and ({_in(folders)}) and mimeType {'=' if wanted else '!='} '{FOLDER}'")
        return sorted((each for each in found if each["name"] == title and (wanted or _is_file(each))), key=_age)

    def _folders(self, path: str) -> list[str]:
        """The IDs of a folder, the oldest first: there may be several of its name."""
        known = self.client.known
        if path not in known:
            above, _, title = path.rpartition("/")
            parents = self._folders(above)
            found = [each["id"] for each in self._called(title, parents, True)] if parents else []
            if not found:
                return []
            known[path] = found
        return list(known[path])

    def _make(self, path: str) -> str:
        """The ID of a folder, which is made where it is not there, and those above it."""
        if found := self._folders(path):
            return found[0]
        above, _, title = path.rpartition("/")
        parent = self._make(above)
        with _making:
            if found := self._folders(path):
                return found[0]
            made = self._new_id()
            body = {"id": made, "name": title, "mimeType": FOLDER, "parents": [parent]}
            request = self.client.files.create(body=body, fields="id", supportsAllDrives=True)
            try:
                self._do(request, path, putting=True)
            except StorageError as error:
                if _status(error.__cause__) != 409:  # It was made, and only the answer was lost.
                    raise
            # Another process may have made one at the same time: all go on with the oldest.
            return (self._folders(path) or [made])[0]

    def _new_id(self) -> str:
        found = self._do(self.client.files.generateIds(count=1, space="drive", fields="ids"))
        return str(found["ids"][0])

    def _found(self, name: str) -> dict[str, Any]:
        path, by_id, given = name.rpartition(BY_ID)
        if by_id:
            request = self.client.files.get(fileId=given, fields=FIELDS, supportsAllDrives=True)
            found: dict[str, Any] = self._do(request, path)
            if not found.get("trashed"):
                return found
        else:
            folder, title = posixpath.split(_clean(name))
            folders = self._folders(folder)
            files = self._called(title, folders, False) if folders and title else []
            if files:
                return files[0]
        raise NotThere("", f"there is no file {self.url(name)}")

    def names(self, prefix: str) -> Iterator[Stored | Warned]:
        path = _clean(prefix)
        folders = self._folders(path)
        if folders:
            yield from self._below(path, folders)
        elif path:
            with suppress(NotThere):
                yield _stored(path, self._found(path))

    def _below(self, path: str, folders: list[str], plain: bool = True) -> Iterator[Stored | Warned]:
        """Every file below folders, in order of the whole path. The files of one folder are held."""
        below = []
        for each in self._list(f"({_in(folders)})"):
            is_folder = each["mimeType"] == FOLDER
            if is_folder or _is_file(each):
                title = each["name"] + "/" * is_folder
                below.append((title, is_folder, each["createdTime"], each["id"], _stored("", each)))
            else:
                name = f"{path}/{each['name']}" if path else each["name"]
                yield passed_over(self.url(name), f"no file but {each['mimeType'].rpartition('.')[2]} of Google")
        below.sort(key=lambda each: each[:4])
        for (title, is_folder), found in groupby(below, key=lambda each: each[:2]):
            name = f"{path}/{title}" if path else title
            if is_bookkeeping(name):
                continue
            if is_folder:
                yield from self._below(name[:-1], [each[3] for each in found], plain and "/" not in title[:-1])
                continue
            for n, (_, _, _, given, stored) in enumerate(found):
                clear = plain and not n and "/" not in title and BY_ID not in title
                yield stored._replace(name=name if clear else f"{name}{BY_ID}{given}")

    def stat(self, name: str) -> Stored:
        return _stored(name, self._found(name))

    def open(self, found: Stored) -> BinaryIO:
        """The bytes, in requests of a few MiB; the file has to be the same one after each."""
        fetch = partial(Pieces, size=found.size)
        return buffered(Ranged(found.size, lambda at: fetch(partial(self._piece, found), at), (), self.attempts))

    def _piece(self, found: Stored, start: int, stop: int) -> bytes:
        files, given = self.client.files, found.etag.partition(":")[0]
        request = files.get_media(fileId=given, supportsAllDrives=True)
        request.headers.update({"range": f"bytes={start}-{stop - 1}", "accept-encoding": "identity"})
        try:
            with self._answers(found.name):
                data: bytes = request.execute(num_retries=self.attempts - 1)
            there = self._do(files.get(fileId=given, fields=FIELDS, supportsAllDrives=True), found.name)
        except NotThere as error:
            raise changed(self.url(found.name)) from error
        if there.get("trashed") or _stored(found.name, there).etag != found.etag:
            raise changed(self.url(found.name))
        return data

    # Putting

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """Resumable: it appears, or has its new content, when the last byte has arrived."""
        folder, title = posixpath.split(_clean(name))
        parent = self._make(folder)
        files, there = self.client.files, self._called(title, self._folders(folder) or [parent], False)[:1]
        body: dict[str, Any] = {"appProperties": {**content.metadata, MARK: content.token or "put"}}
        media = self._media(file)
        common = {"media_body": media, "fields": FIELDS, "supportsAllDrives": True}
        if there:
            with self._answers(name, putting=True):
                sent = self._send(lambda: files.update(fileId=there[0]["id"], body=body, **common))
            return arrived(self.url(name), _stored(name, sent), content)
        body |= {"id": self._new_id(), "name": title, "parents": [parent]}
        with self._answers(name, putting=True):
            sent = self._send(lambda: files.create(body=body, **common), body["id"])
        try:
            found = arrived(self.url(name), _stored(name, sent), content)
        except StorageError:
            self._trash(body["id"])
            raise
        return self._settled(found, parent, title, content)

    def _media(self, file: BinaryIO) -> Any:
        """The file in pieces of bytes, which can be sent again."""
        library = client("googleapiclient.http", WHAT, EXTRA)
        media = library.MediaIoBaseUpload(file, "application/octet-stream", CHUNK, resumable=True)
        media.has_stream = lambda: False
        return media

    def _send(self, start: Callable[[], Any], new: str = "") -> dict[str, Any]:
        """Upload a file; what breaks off goes on where the server is, or in a new upload where it has lost it."""
        errors = client("googleapiclient.errors", WHAT, EXTRA)
        broken = (
            client("httplib2", WHAT, EXTRA).HttpLib2Error, client("google.auth.exceptions", WHAT, EXTRA).TransportError,
            http.client.HTTPException, ConnectionError, TimeoutError,
        )  # fmt: skip
        request, failed, arrived_to = start(), 0, 0
        while True:
            try:
                _, sent = request.next_chunk()
                if sent is not None:
                    return dict(sent)
            except errors.HttpError as error:
                if new and _status(error) == 409:  # It is there already: only the answer was lost.
                    found: dict[str, Any] = self._do(self.client.files.get(fileId=new, fields=FIELDS, supportsAllDrives=True))
                    return found
                failed += 1
                gone = request.resumable_uri is not None and _status(error) in (404, 410)
                if failed >= self.attempts or not (gone or _may_pass(error)):
                    raise
                if gone:
                    request = start()
                _pause(failed, error.resp.get("retry-after", ""))
            except broken:
                failed += 1
                if failed >= self.attempts:
                    raise
                _pause(failed)
            if request.resumable_progress > arrived_to:
                arrived_to, failed = request.resumable_progress, 0

    def _settled(self, found: Stored, parent: str, title: str, content: Content) -> Stored:
        """Where another worker has put the same new file at the same time, the oldest one stays."""
        token = content.token
        same = [each for each in self._called(title, [parent], False)
                if token and each.get("appProperties", {}).get(MARK) == token
                and each.get("md5Checksum") == found.md5]  # fmt: skip
        if not same or _stored(found.name, same[0]).etag == found.etag:
            return found
        self._trash(found.etag.partition(":")[0])
        return _stored(found.name, same[0])

    def beside(self, source: Storage) -> bool:
        """Whether files of a storage can be copied here inside the service: those of the same user."""
        return isinstance(source, GoogleDriveStorage) and source._user == self._user

    def copy(self, source: Storage, found: Stored, name: str) -> Stored | None:
        """Copy a file inside Drive; None where it has to be streamed: for another user, or over a file that is there."""
        if not (isinstance(source, GoogleDriveStorage) and self.beside(source)):
            return None
        folder, title = posixpath.split(_clean(name))
        parent = self._make(folder)
        if self._called(title, self._folders(folder) or [parent], False):
            return None
        token = found.etag[:100]
        body = {"id": self._new_id(), "name": title, "parents": [parent],
                "appProperties": {**found.metadata, MARK: token}}  # fmt: skip
        given = found.etag.partition(":")[0]
        request = self.client.files.copy(fileId=given, body=body, fields=FIELDS, supportsAllDrives=True)
        try:
            made = self._do(request, name, putting=True)
        except StorageError as error:
            if _status(error.__cause__) == 403:
                return None
            if _status(error.__cause__) != 409:
                raise
            made = self._do(self.client.files.get(fileId=body["id"], fields=FIELDS, supportsAllDrives=True))
        there = _stored(name, made)
        if (there.size, there.md5) != (found.size, found.md5):
            self._trash(made["id"])
            raise changed(source.url(found.name))
        return self._settled(there, parent, title, Content(there.size, there.md5, token=token))

    @property
    def _user(self) -> tuple[Any, ...]:
        return (self.host, self.credentials, self.client_secret, self.subject)

    def delete(self, name: str) -> None:
        """Into the trash, from where it can be taken back."""
        with suppress(NotThere):
            self._trash(self._found(name)["id"])

    def _trash(self, given: str) -> None:
        with suppress(NotThere):
            request = self.client.files.update(fileId=given, body={"trashed": True}, fields="id", supportsAllDrives=True)
            self._do(request, given)

    def probe(self) -> None:
        if not self.client.root.get("capabilities", {}).get("canAddChildren", True):
            raise StorageError("folder_id", f"no permission to put files into the folder {self.folder!r}")

    @contextmanager
    def _answers(self, name: str, putting: bool = False) -> Iterator[None]:
        """Turns what the client raises into StorageError."""
        errors = client("googleapiclient.errors", WHAT, EXTRA)
        auth = client("google.auth.exceptions", WHAT, EXTRA)
        lost = client("httplib2", WHAT, EXTRA).HttpLib2Error
        try:
            yield
        except (StorageError, ConfigError):
            raise
        except errors.HttpError as error:
            status, said = _status(error), answer(f"{_reason(error)} {_said(error)}")
            if status == 404 and name and not putting:
                raise NotThere("", f"there is no file {self.url(name)}") from error
            if status == 404:
                text = f"there is no folder {self.folder!r}, or it is not shared with this user"
                raise StorageError("folder_id", f"{text} (the server said {said})") from error
            if status == 401 or (status == 403 and "scope" in said.lower()):
                raise StorageError("credentials", f"the server does not take them (it said {said})") from error
            if status == 403 and not _may_pass(error) and "quota" not in said.lower():
                text = f"no permission in the folder {self.folder!r}"
                raise StorageError("folder_id", f"{text} (the server said {said})") from error
            raise StorageError("", f"the server refused (it said {status}: {said})") from error
        except auth.DefaultCredentialsError as error:
            raise StorageError(
                "credentials", "none were given, and this machine has none of its own (application default credentials)"
            ) from error
        except auth.TransportError as error:  # The client does not try again to get a token.
            raise StorageError("host", f"the server cannot be reached ({answer(str(error))})", passing=True) from error
        except auth.GoogleAuthError as error:
            told = str(error.args[0]) if error.args else str(error)
            raise StorageError("credentials", f"the server does not take them ({answer(told)})") from error
        except http.client.HTTPException as error:
            why = answer(str(error)) or type(error).__name__
            raise StorageError("", f"the connection broke ({why})", passing=True) from error
        except (ConnectionError, TimeoutError, OSError, lost) as error:
            raise StorageError("host", f"the server cannot be reached ({answer(str(error))})") from error


@dataclass(frozen=True, kw_only=True)
class GoogleDriveFolder(Connected):
    """The options by which the reader and the writer find a folder of Google Drive."""

    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    client_secret: Any = option("content of the file of an OAuth client, or its JSON as text", type="dict|str",
                                default=None, secret=True)  # fmt: skip
    credentials: Any = option("credentials of a user, or key of a service account, or its JSON as text", type="dict|str",
                              default=None, secret=True)  # fmt: skip
    subject: str | None = option("user whom the service account acts for", type="str", default=None)
    folder_id: str = option("ID of the folder or shared drive in which paths begin; by default the user's own Drive",
                            type="str", default="root")  # fmt: skip
    host: str | None = option("another server than Google's, e.g. http://localhost:8080", type="str", default=None)

    def check_place(self) -> None:
        """What can be said without the client. Raises ConfigError."""
        if not self.folder_id or "/" in self.folder_id:
            raise ConfigError(f"folder_id: {self.folder_id!r} is not an ID; it stands at the end of the folder's address")
        _check("credentials", self.credentials, self.client_secret)

    def connect(self) -> Storage:
        return GoogleDriveStorage(
            folder=self.folder_id, credentials=self.credentials, client_secret=self.client_secret, subject=self.subject,
            host=self.host, attempts=self.attempts,
        )  # fmt: skip


def _check(name: str, given: Any, client_secret: Any) -> None:
    """What can be said of credentials without the client. Raises ConfigError."""
    if not isinstance(given, Mapping):
        return
    if given.get("type") == "service_account":
        missing = [each for each in ("client_email", "private_key", "token_uri") if not given.get(each)]
        if missing:
            raise ConfigError(f"{name}: this is not a key of a service account: it has no {missing[0]}")
    elif not any(given.get(each) for each in ("refresh_token", "token", "access_token")):
        raise ConfigError(f"{name}: they are neither of a user nor of a service account: there is no refresh_token")
    elif given.get("refresh_token") and not isinstance(client_secret, str):
        app = _app(client_secret)
        if not (given.get("client_id") or app.get("client_id")):
            raise ConfigError("client_secret: it is missing; give the content of the file of the OAuth client")


def _app(given: Mapping[str, object] | None) -> Mapping[str, Any]:
    """An OAuth client, as Google's file has it: below the kind of the application."""
    found = given or {}
    inner = found.get("installed") or found.get("web") or found
    return inner if isinstance(inner, Mapping) else {}


def _document(name: str, given: Mapping[str, object] | str | None) -> dict[str, Any] | None:
    if not given:
        return None
    try:
        found = json.loads(given) if isinstance(given, str) else given
        return dict(found)
    except (ValueError, TypeError):
        raise StorageError(name, "it is not a JSON object") from None


def _clean(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _in(folders: Iterable[str]) -> str:
    return " or ".join(f"'{each}' in parents" for each in folders)


def _is_file(found: Mapping[str, Any]) -> bool:
    """Documents, spreadsheets and shortcuts have no bytes of their own."""
    return not found["mimeType"].startswith("application/vnd.google-apps.")


def _age(found: Mapping[str, Any]) -> tuple[str, str]:
    return (found.get("createdTime", ""), found["id"])


def _stored(name: str, found: Mapping[str, Any]) -> Stored:
    md5 = found.get("md5Checksum", "")
    told = {key: value for key, value in found.get("appProperties", {}).items() if key != MARK}
    return Stored(name, int(found.get("size") or 0), f"{found['id']}:{md5}", md5, told or NOTHING)


def _pause(attempt: int, wanted: str = "") -> None:
    """As long as the server asks for, or a random time as Google's own client waits, so that workers do not come in step."""
    time.sleep(min(64.0, float(wanted) if wanted.isdecimal() else random.random() * 2**attempt))


def _status(error: object) -> int:
    return int(getattr(getattr(error, "resp", None), "status", 0))


def _may_pass(error: object) -> bool:
    status = _status(error)
    return status >= 500 or status == 429 or (status == 403 and "ateLimitExceeded" in _reason(error))


def _said(error: Any) -> str:
    try:
        found = json.loads(error.content)["error"]
        return str(found["message"] if isinstance(found, dict) else found)
    except (ValueError, KeyError, TypeError):
        return bytes(error.content).decode("utf-8", "replace") or str(error.resp.reason)


def _reason(error: Any) -> str:
    """The word by which the server says what is wrong."""
    try:
        return str(json.loads(error.content)["error"]["errors"][0]["reason"])
    except (ValueError, KeyError, TypeError, IndexError):
        return ""


@dataclass(frozen=True, kw_only=True)
class GDriveReader(GoogleDriveFolder, FolderReader):
    """Read files of Google Drive, in the order of their paths.

    `path` is a file or a folder (every file below it), or several; paths begin in the folder `folder_id`. `pattern` chooses
    among the paths. Where nothing at all is found the export fails, unless `allow_empty` is given. A file that is replaced
    while the export runs ends it. Documents, spreadsheets and shortcuts are passed over. Of several files of one name each
    is read: all but the oldest are called `NAME?id=ID`.

    `credentials` are those of a user, with the OAuth client in `client_secret`, or the key of a service account; without
    any, those of the machine are taken (application default credentials). Needs the extra `gdrive`.

    Example:
        reader:
          name: gdrive
          options: {credentials: '${secret:file:/keys/drive.json}', folder_id: 0AExampleOfAnId, path: dumps}
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_place()


@dataclass(frozen=True, kw_only=True)
class GDriveWriter(GoogleDriveFolder, RemoteWriter):
    """Deliver files to Google Drive.

    A file is built on the worker and uploaded in several requests (a resumable upload); it appears whole or not at all, and
    its size and MD5 are compared with what was sent. Folders are made as needed, below the folder `folder_id`; give the ID
    of a shared drive there to deliver to it. A file of the same name in the same folder gets the new content and keeps its
    ID and how it is shared (of several the oldest one), so delivering again makes no second file. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`.

    `credentials` are those of a user, with the OAuth client in `client_secret`, or the key of a service account; without
    any, those of the machine are taken (application default credentials). A service account has no room of its own: it
    needs a shared drive, or a user in `subject`. Needs the extra `gdrive`.

    Example:
        writer:
          name: gdrive
          options:
            client_secret: ${secret:file:/keys/client_secret.json}
            credentials: ${secret:file:/keys/gdrive-credentials.json}
            filebase: 'dumps/%Y-%m-%d/part-'
    """

    takes_copies: ClassVar[bool | str] = "gdrive"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_place()

    def metadata(self, file: PlannedFile, md5: str) -> Mapping[str, str]:
        return {"total": str(file.records)} if file.records >= 0 else {}

    def listed_as(self, url: str) -> str:
        return self.storage.name(url) or url
