"""Folders of HDFS, through hdfs: the client of WebHDFS that Beam's own hdfs:// uses."""

from __future__ import annotations

import hashlib
import heapq
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
from exporters_beam.storages.base import (
    ATTEMPTS,
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
    look_again,
    patiently,
)
from exporters_beam.storages.folders import FolderStorage
from exporters_beam.storages.ranged import Ranged, buffered
from exporters_beam.storages.reader import FolderReader
from exporters_beam.storages.writer import FolderWriter

WHAT, EXTRA = "the storage hdfs", "hdfs"

PORT = 9870

BLOCK = 1 << 18
"""Bytes that are handed to the connection at once."""

_PASSING = ("RetriableException", "StandbyException", "SafeModeException")

_BUSY = (429, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class HdfsStorage(FolderStorage):
    """One cluster. Names are paths: from the folder of the user on, or from / on."""

    host: str
    port: int = PORT
    user: str | None = None
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        parts = urlsplit(url)
        user = unquote(parts.username) if parts.username else os.environ.get("HADOOP_USER_NAME")
        host = parts.netloc.rpartition("@")[2].partition(":")[0]
        made = cls(host=host, port=parts.port or PORT, user=user)
        return made, made.name(url) or ""

    @property
    def _servers(self) -> tuple[str, str]:
        server = f"hdfs://{self.host}:{self.port}"
        return server, server.removesuffix(f":{PORT}")

    def _connect(self) -> Any:
        library, requests = client("hdfs", WHAT, EXTRA), client("requests", WHAT, EXTRA)
        session = requests.Session()
        session.hooks["response"].append(_refuse_what_is_busy)
        urls = ";".join(f"http://{host}:{self.port}" for host in self.host.split(","))
        return library.InsecureClient(urls, user=self.user or None, timeout=(15, 60), session=session)

    def names(self, prefix: str) -> Iterator[Stored]:
        path = prefix.rstrip("/") or ("/" if prefix.startswith("/") else "")
        try:
            found = self._status(path)
        except NotThere:
            return
        if found["type"] == "FILE":
            yield _stored(path, found)
        else:
            yield from self._below(path)

    def _below(self, folder: str) -> Iterator[Stored]:
        """Every file below a folder, in order of the whole path, a page of the folder at a time.

        The server has names in order of their bytes with a sign, those beyond ASCII first, and `a` before `a.b`, while
        what is in `a/` comes after it: what comes too early is held back until a later name of ASCII shows its place.
        """
        held: list[tuple[str, int, Stored]] = []
        for entry in self._entries(folder):
            name = entry["pathSuffix"]
            path = posixpath.join(folder, name)
            is_folder = entry["type"] == "DIRECTORY"
            heapq.heappush(held, (path + "/" * is_folder, is_folder, _stored(path, entry)))
            while name.isascii() and held and held[0][0] <= path:
                yield from self._listed(*heapq.heappop(held))
        while held:
            yield from self._listed(*heapq.heappop(held))

    def _listed(self, _: str, is_folder: int, found: Stored) -> Iterator[Stored]:
        if is_bookkeeping(found.name):
            return
        if is_folder:
            yield from self._below(found.name)
        else:
            yield found

    def _entries(self, folder: str) -> Iterator[Mapping[str, Any]]:
        """What the server knows of all that is in a folder, a page at a time where it can."""
        after = ""
        while True:
            page, left = patiently(partial(self._page, folder, after), self.attempts)
            yield from page
            if not left or not page:
                return
            after = page[-1]["pathSuffix"]

    def _page(self, folder: str, after: str) -> tuple[list[Mapping[str, Any]], int]:
        """A page of a folder, and how many entries are left. Servers of old give all at once."""
        library = client("hdfs.client", WHAT, EXTRA)
        ask = library._Request("GET").to_method("LISTSTATUS_BATCH")
        try:
            with self._answers(folder):
                try:
                    found = ask(self.client, self._path(folder), startAfter=after).json()["DirectoryListing"]
                    return found["partialListing"]["FileStatuses"]["FileStatus"], found["remainingEntries"]
                except library.HdfsError as error:
                    if error.exception not in ("IllegalArgumentException", "UnsupportedOperationException"):
                        raise
                whole = [status for _, status in self.client.list(self._path(folder), status=True)]
                return sorted(whole, key=lambda status: status["pathSuffix"]), 0
        except NotThere:
            return [], 0

    def _path(self, name: str) -> str:
        if "#LATEST" in name:
            raise StorageError("", f"{name}: a path with #LATEST in it means something else to the client")
        return name or "."

    def _status(self, name: str) -> Mapping[str, Any]:
        def ask() -> Mapping[str, Any]:
            with self._answers(name):
                found: Mapping[str, Any] = self.client.status(self._path(name))
            return found

        return patiently(ask, self.attempts)

    def stat(self, name: str) -> Stored:
        found = self._status(name)
        if found["type"] != "FILE":
            raise NotThere("", f"{self.url(name)} is a folder, not a file")
        return _stored(name, found)

    def open(self, found: Stored) -> BinaryIO:
        def fetch(start: int) -> Any:
            if self.stat(found.name).etag != found.etag:
                raise changed(self.url(found.name))
            with self._answers(found.name):
                return _Body(self.client.read(self._path(found.name), offset=start))

        broken = client("urllib3.exceptions", WHAT, EXTRA).HTTPError
        return buffered(Ranged(found.size, fetch, (broken, ConnectionError, TimeoutError), self.attempts))

    def unchanged(self, found: Stored) -> None:
        look_again(self, found)

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """Under a hidden name in the same folder, read back there and compared, then renamed.

        The server tells no checksum that could be compared: its own is of checksums of blocks, and differs with their
        size, with encryption and with erasure coding.
        """
        folder, base = posixpath.split(name)
        half_sent = posixpath.join(folder, f".{base}.{content.token}.part")

        def send() -> Stored:
            with self._answers(name, writing=True):
                sent = Sent(file)
                try:
                    self.client.write(self._path(half_sent), iter(lambda: sent.read(BLOCK), b""), overwrite=True)
                    sent.compare(self.url(half_sent), content)
                    there = self.stat(half_sent)
                    if there.size == content.size:
                        there = there._replace(md5=self._md5(there))
                    arrived(self.url(half_sent), there, content)
                    self._rename(half_sent, name)
                except BaseException:
                    with suppress(Exception):
                        self.client.delete(half_sent)
                    raise
            return arrived(self.url(name), self.stat(name), content)

        return patiently(send, self.attempts)

    def _md5(self, found: Stored) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        with self.open(found) as stream:
            while data := stream.read(BLOCK):
                digest.update(data)
        return digest.hexdigest()

    def _rename(self, old: str, new: str) -> None:
        """In the place of what may be there. HttpFS does not know the option, and answers false then."""
        target = self.client.resolve(new)
        given = self.client._rename(old, destination=target, renameoptions="OVERWRITE")
        if given.content and not given.json().get("boolean", True):
            self.client.delete(new)
            self.client.rename(old, target)

    def delete(self, name: str) -> None:
        with suppress(NotThere), self._answers(name):
            self.client.delete(self._path(name))

    def probe(self) -> None:
        self._status("/")

    @contextmanager
    def _answers(self, name: str, writing: bool = False) -> Iterator[None]:
        """Turns what the client raises into StorageError."""
        hdfs, errors = client("hdfs", WHAT, EXTRA), client("requests.exceptions", WHAT, EXTRA)
        try:
            yield
        except (StorageError, ConfigError):
            raise
        except hdfs.HdfsError as error:
            raise self._refused(error, name, writing) from error
        except errors.RequestException as error:
            why = _innermost(error)
            server = urlsplit(getattr(error.request, "url", "") or "").netloc or f"{self.host}:{self.port}"
            refused = isinstance(why, ConnectionRefusedError) or type(why).__name__ == "gaierror"
            text = f"the server {server} cannot be reached ({answer(str(getattr(why, 'strerror', None) or why))})"
            raise StorageError("host", text, passing=not refused) from error

    def _refused(self, error: Any, name: str, writing: bool) -> StorageError:
        message = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        said = answer(message.partition("\n\tat ")[0])
        if error.exception == "FileNotFoundException" and name and not writing:
            return NotThere("", f"there is no file {self.url(name)} (the server said {said})")
        if error.exception in ("AccessControlException", "SecurityException", "AuthenticationException"):
            return StorageError("hdfs_user", f"this user may not do that (the server said {said})")
        if "Hadoop IPC port" in message:
            text = f"{self.port} is the port of Hadoop's own protocol; give that of the web interface, often {PORT}"
            return StorageError("port", text)
        return StorageError("", f"the server refused (it said {said})", passing=error.exception in _PASSING)


@dataclass(frozen=True, kw_only=True)
class HdfsServer(Connected):
    """The options by which the reader and the writer find a cluster."""

    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    host: str = option("the namenode, or several with commas between, of which one is active", type="str",
                       example="namenode.example.org")  # fmt: skip
    port: int = option("port of its web interface (WebHDFS) or of HttpFS", type="int", default=PORT, minimum=1)
    hdfs_user: str | None = option("user; without one that of this process", type="str", default=None,
                                   env="HADOOP_USER_NAME")  # fmt: skip

    def connect(self) -> Storage:
        host = ",".join(name.strip() for name in self.host.split(","))
        return HdfsStorage(host=host, port=self.port, user=self.hdfs_user, attempts=self.attempts)


class _Body:
    """A file on its way, with the connection that it comes over."""

    def __init__(self, opened: Any) -> None:
        self._stack = ExitStack()
        self._raw = self._stack.enter_context(opened)

    def read(self, size: int) -> bytes:
        data: bytes = self._raw.read(size)
        return data

    def close(self) -> None:
        with suppress(Exception):
            self._stack.close()


def _refuse_what_is_busy(response: Any, **_: object) -> None:
    """The client tells no status of what it raises."""
    if response.status_code in _BUSY:
        text = f"the server has too much to do (it said {response.status_code}: {answer(response.text)})"
        raise StorageError("", text, passing=True)
    if response.status_code == 401:
        raise StorageError("hdfs_user", f"the server wants more than a name (it said 401: {answer(response.reason)}); "
                                        "clusters with Kerberos cannot be reached")  # fmt: skip


def _innermost(error: BaseException) -> BaseException:
    """What a chain of exceptions began with."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _stored(name: str, status: Mapping[str, Any]) -> Stored:
    size = int(status["length"])
    return Stored(name, size, f"{size}-{status['modificationTime']}-{status.get('fileId', '')}")


@dataclass(frozen=True, kw_only=True)
class HdfsReader(HdfsServer, FolderReader):
    """Read files of HDFS over WebHDFS, in the order of their paths.

    `path` is a file or a folder (every file below it), or several. Paths that do not begin with / are looked for in the
    folder of the user. `pattern` chooses among the paths. Where nothing at all is found the export fails, unless
    `allow_empty` is given. A file that is replaced while the export runs ends it. Clusters with Kerberos cannot be reached.
    Needs the extra `hdfs`.

    Example:
        reader:
          name: hdfs
          options: {host: namenode.example.org, hdfs_user: shop, path: dumps}
    """


@dataclass(frozen=True, kw_only=True)
class HdfsWriter(HdfsServer, FolderWriter):
    """Deliver files to HDFS over WebHDFS.

    A file is built on the worker, sent under a hidden name to the folder that it belongs in, read back and compared, and
    renamed, so it appears whole or not at all. Folders are made as needed. A `filebase` that does not begin with / is below
    the folder of the user. Existing files of the same name are replaced. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`. Clusters with Kerberos cannot be reached. Needs the extra `hdfs`.

    Example:
        writer:
          name: hdfs
          options: {host: namenode.example.org, hdfs_user: shop, filebase: 'dumps/%Y-%m-%d/part-'}
    """
