"""Folders of a server that speaks FTP, also with TLS, through the standard library."""

from __future__ import annotations

import ftplib
import os
import posixpath
import ssl
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from exporters_beam.components.options import option
from exporters_beam.records import Warned
from exporters_beam.storages.base import (
    ATTEMPTS,
    SILENCE,
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
    is_bookkeeping,
    look_again,
    passed_over,
    patiently,
)
from exporters_beam.storages.folders import ConnectionStorage, aside_of, rename_over
from exporters_beam.storages.ranged import Ranged, buffered
from exporters_beam.storages.reader import FolderReader
from exporters_beam.storages.writer import FolderWriter

BLOCK = 1 << 18
"""Bytes that are handed to the connection at once."""


@dataclass(frozen=True, kw_only=True)
class FtpStorage(ConnectionStorage):
    """One server. Names are paths: from the folder of the user on, or from / on."""

    host: str
    port: int = 21
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: str | None = None
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        parts = urlsplit(url)
        environ = os.environ
        made = cls(
            host=parts.hostname or "",
            port=parts.port or 21,
            user=environ.get("EXPORTERS_FTP_USER"),
            password=environ.get("EXPORTERS_FTP_PASSWORD"),
            tls=parts.scheme == "ftps",
        )
        return made, made.name(url) or ""

    @property
    def _servers(self) -> tuple[str, str]:
        server = f"{'ftps' if self.tls else 'ftp'}://{self.host}:{self.port}"
        return server, server.removesuffix(":21")

    def _alive(self, made: ftplib.FTP) -> bool:
        """Whether the server has not ended the connection."""
        try:
            made.voidcmd("NOOP")
        except ftplib.all_errors:
            made.close()
            return False
        return True

    def _connect(self) -> ftplib.FTP:
        made = self._login()
        weakref.finalize(self, made.close)
        return made

    def _forget(self) -> None:
        made = self.__dict__.pop("_made", None)
        if made is not None:
            made.close()

    def _login(self) -> ftplib.FTP:
        with self._answers(""):
            if self.tls:
                try:
                    context = ssl.create_default_context(cafile=self.ca_file)
                except OSError as error:
                    raise StorageError("ca_file", f"{self.ca_file} cannot be read: {error.strerror}") from error
                made: ftplib.FTP = _Tls(context=context, timeout=SILENCE, encoding="utf-8")
            else:
                made = ftplib.FTP(timeout=SILENCE, encoding="utf-8")
            try:
                made.connect(self.host, self.port)
                made.login(self.user or "anonymous", self.password or "")
                if isinstance(made, ftplib.FTP_TLS):
                    made.prot_p()
                made.voidcmd("TYPE I")
            except BaseException:
                made.close()
                raise
        return made

    def names(self, prefix: str) -> Iterator[Stored | Warned]:
        path = prefix.rstrip("/") or ("/" if prefix.startswith("/") else "")
        try:
            found = patiently(lambda: self._stat(path), min(2, self.attempts)) if path not in ("", "/") else None
        except NotThere:
            found = None
        if found is not None:
            yield found
        else:
            yield from self._below(path)

    def _below(self, folder: str, listed: bool = False) -> Iterator[Stored | Warned]:
        """Every file below a folder, in order of the whole path. One that was `listed` has to be there."""

        def ask() -> list[tuple[str, str, Stored | None]]:
            with self._answers(folder):
                try:
                    entries = list(self._entries(folder))
                    self.client.voidcmd("TYPE I")  # Listing has left the connection in ASCII mode.
                except ftplib.error_perm as error:
                    if str(error)[:3] in ("550", "450", "501") and not listed:  # there is no such folder
                        return []
                    raise StorageError("", f"the folder {self.url(folder)} cannot be listed (the server said "
                                           f"{answer(str(error))})") from error  # fmt: skip
            return entries

        paths = [
            (posixpath.join(folder, name) + ("/" if kind == "dir" else ""), kind, found)
            for name, kind, found in patiently(ask, self.attempts)
        ]
        for path, kind, found in sorted(paths, key=lambda entry: entry[0]):
            if is_bookkeeping(path.rstrip("/")):
                continue
            if path.endswith("/"):
                yield from self._below(path[:-1], listed=True)
            elif kind == "file":
                yield found or self.stat(path)
            else:
                try:
                    yield self.stat(path)  # A link to a file.
                except NotThere:
                    yield passed_over(self.url(path), "no file (the server calls it " + kind + ")")

    def _entries(self, folder: str) -> Iterator[tuple[str, str, Stored | None]]:
        """(name, file or dir or what the server calls it, what stands there where it tells) of all that is in a folder."""
        connection = self.client
        try:
            for name, facts in connection.mlsd(folder, ["type", "size", "modify"]):
                kind = facts.get("type", "").lower()
                if kind not in ("cdir", "pdir"):
                    path = posixpath.join(folder, name)
                    found = _stored(path, int(facts["size"]), facts["modify"]) if kind == "file" and "size" in facts else None
                    yield name, kind or "file", found
            return
        except ftplib.error_perm as error:
            if str(error)[:3] not in ("500", "501", "502", "504"):
                raise
        here = connection.pwd()
        for listed in connection.nlst(folder or "."):
            name = posixpath.basename(listed)
            if name in ("", ".", ".."):
                continue
            try:
                connection.cwd(posixpath.join(folder, name))
            except ftplib.error_perm:
                yield name, "file", None
            else:
                connection.cwd(here)
                yield name, "dir", None

    def stat(self, name: str) -> Stored:
        return patiently(lambda: self._stat(name), self.attempts)

    def _stat(self, name: str) -> Stored:
        with self._answers(name):
            connection = self.client
            size = connection.size(name)
            modified = connection.voidcmd(f"MDTM {name}").partition(" ")[2]
        return _stored(name, size or 0, modified)

    def open(self, found: Stored) -> BinaryIO:
        """Over a connection of its own, so that it may be left in the middle."""

        def fetch(start: int) -> Any:
            if self._stat(found.name).etag != found.etag:
                raise changed(self.url(found.name))
            with self._answers(found.name):
                connection = self._login()
                try:
                    data = connection.transfercmd(f"RETR {found.name}", rest=start or None)
                except BaseException:
                    connection.close()
                    raise
            return _Body(connection, data)

        return buffered(Ranged(found.size, fetch, (OSError, EOFError), self.attempts))

    def unchanged(self, found: Stored) -> None:
        look_again(self, found)

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """Under a hidden name in the same folder, then renamed."""
        folder, base = posixpath.split(name)
        half_sent = posixpath.join(folder, f".{base}.{content.token}.part")

        def send() -> Stored:
            with self._answers(name, writing=True):
                connection = self.client
                self._make(connection, folder)
                sent = Sent(file)
                try:
                    connection.storbinary(f"STOR {half_sent}", sent, BLOCK)
                    sent.compare(self.url(half_sent), content)
                    there = connection.size(half_sent) or 0
                    if there != content.size:  # The connection for data broke, and the server took it for the end.
                        text = f"of {content.size:,} bytes {there:,} have arrived"
                        raise StorageError("", text, passing=True)
                    _rename(connection, half_sent, name)
                except BaseException:
                    with suppress(Exception):
                        self._forget()  # An answer that is still to come would be taken for that of the next command.
                        self.client.delete(half_sent)
                    raise
            return arrived(self.url(name), self._stat(name), content)

        return patiently(send, self.attempts)

    def _make(self, connection: ftplib.FTP, folder: str) -> None:
        """Make a folder and those above it where they are not there."""
        if folder in ("", "/"):
            return
        here = connection.pwd()
        try:
            connection.cwd(folder)
            connection.cwd(here)
            return
        except ftplib.error_perm:
            self._make(connection, posixpath.dirname(folder))
        try:
            connection.mkd(folder)
        except ftplib.error_perm:
            connection.cwd(folder)  # Another worker has made it just now.
            connection.cwd(here)

    def delete(self, name: str) -> None:
        def remove() -> None:
            with self._answers(name):
                self.client.delete(name)

        with suppress(NotThere):
            patiently(remove, self.attempts)

    def probe(self) -> None:
        def look() -> None:
            with self._answers(""):
                self.client.pwd()

        patiently(look, min(2, self.attempts))

    @contextmanager
    def _told(self, name: str, writing: bool) -> Iterator[None]:
        """Turns what ftplib raises into StorageError."""
        try:
            yield
        except StorageError:
            raise
        except ftplib.error_perm as error:
            code, said = str(error)[:3], answer(str(error))
            if code in ("530", "430", "332"):
                option = "ftp_password" if self.user else "ftp_user"
                raise StorageError(option, f"the server does not let this user in (it said {said})") from error
            if code == "550" and name and not writing:
                raise NotThere("", f"there is no file {self.url(name)} (the server said {said})") from error
            raise StorageError("", f"the server refused (it said {said})") from error
        except ssl.SSLCertVerificationError as error:
            raise StorageError("ca_file", f"the certificate of {self.host} is not trusted: {error.verify_message}") from error
        except (ftplib.error_temp, EOFError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise StorageError("", f"the server broke off ({answer(str(error)) or 'it ended'})", passing=True) from error
        except (ftplib.Error, ssl.SSLError) as error:
            raise StorageError("tls" if self.tls else "", f"this is not as FTP has it ({answer(str(error))})") from error
        except OSError as error:
            text = f"the server {self.host}:{self.port} cannot be reached ({answer(str(error.strerror or error))})"
            raise StorageError("host", text, passing=type(error).__name__ != "gaierror") from error


@dataclass(frozen=True, kw_only=True)
class FtpServer(Connected):
    """The options by which the reader and the writer find a server."""

    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    host: str = option("name or address of the server", type="str", example="files.example.org")
    port: int = option("its port", type="int", default=21, minimum=1)
    ftp_user: str | None = option("user; without one: anonymous", type="str", default=None, env="EXPORTERS_FTP_USER")
    ftp_password: str | None = option("password", type="str", default=None, env="EXPORTERS_FTP_PASSWORD", secret=True)
    tls: bool = option("encrypt commands and data (FTPS, explicit)", type="bool", default=False)
    ca_file: str | None = option("certificates to trust, with tls; by default the machine's", type="str", default=None)

    def connect(self) -> Storage:
        return FtpStorage(host=self.host, port=self.port, user=self.ftp_user, password=self.ftp_password, tls=self.tls,
                          ca_file=self.ca_file, attempts=self.attempts)  # fmt: skip


def _rename(connection: ftplib.FTP, old: str, new: str) -> None:
    """In the place of what may be there, also on a server that does not replace."""
    try:
        connection.rename(old, new)
        return
    except ftplib.error_perm as error:
        try:
            connection.size(new)
        except ftplib.error_perm:
            raise error from None  # There is no file: it was refused for another reason.
    rename_over(connection, connection.delete, ftplib.error_perm, old, new)
    connection.delete(aside_of(old))


class _Tls(ftplib.FTP_TLS):
    """Connections for data go on with the session of the first one: some servers demand it (522)."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> Any:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:  # type: ignore[attr-defined]
            session = self.sock.session  # type: ignore[union-attr]
            connection = self.context.wrap_socket(connection, server_hostname=self.host, session=session)
        return connection, size


class _Body:
    """A file on its way, with the connection that it comes over."""

    def __init__(self, connection: ftplib.FTP, data: Any) -> None:
        self._connection, self._data = connection, data
        self._file = data.makefile("rb")

    def read(self, size: int) -> bytes:
        found: bytes = self._file.read1(size)
        return found

    def close(self) -> None:
        for part in (self._file, self._data, self._connection):
            with suppress(OSError):
                part.close()


def _stored(name: str, size: int, modified: str) -> Stored:
    return Stored(name, size, f"{size}-{modified.partition('.')[0]}")


@dataclass(frozen=True, kw_only=True)
class FtpReader(FtpServer, FolderReader):
    """Read files of a server that speaks FTP, also with TLS, in the order of their paths.

    `path` is a file or a folder (every file below it), or several. Paths that do not begin with / are looked for in the
    folder of the user. `pattern` chooses among the paths. Where nothing at all is found the export fails, unless
    `allow_empty` is given. Without `tls` the password crosses the network as it is.

    Example:
        reader:
          name: ftp
          options:
            host: files.example.org
            tls: true
            ftp_user: shop
            ftp_password: ${secret:env:FTP_PASSWORD}
            path: dumps
    """


@dataclass(frozen=True, kw_only=True)
class FtpWriter(FtpServer, FolderWriter):
    """Deliver files to a server that speaks FTP, also with TLS.

    A file is built on the worker, sent under a hidden name to the folder that it belongs in, and renamed when its size is
    right, so it appears whole or not at all. Folders are made as needed. A `filebase` that does not begin with / is below
    the folder of the user. Existing files of the same name are replaced. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`. Without `tls` the password crosses the network as it is.

    Example:
        writer:
          name: ftp
          options:
            host: files.example.org
            tls: true
            ftp_user: shop
            ftp_password: ${secret:env:FTP_PASSWORD}
            filebase: 'dumps/%Y-%m-%d/part-'
    """
