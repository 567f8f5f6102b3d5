"""Folders of a server that speaks SFTP, through paramiko."""

from __future__ import annotations

import errno
import os
import posixpath
import socket
import stat as modes
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
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
    client,
    is_bookkeeping,
    look_again,
    passed_over,
    patiently,
)
from exporters_beam.storages.folders import ConnectionStorage, aside_of, rename_over
from exporters_beam.storages.ranged import Pieces, Ranged, buffered
from exporters_beam.storages.reader import FolderReader
from exporters_beam.storages.writer import FolderWriter

WHAT, EXTRA = "the storage sftp", "sftp"

REQUEST = 32768
"""Bytes of one request of the protocol; those of a piece are sent without waiting for answers in between."""


@dataclass(frozen=True, kw_only=True)
class SftpStorage(ConnectionStorage):
    """One server. Names are paths: from the folder of the user on, or from / on."""

    host: str
    port: int = 22
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    private_key_file: str | None = None
    known_hosts: str | None = None
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        parts = urlsplit(url)
        environ = os.environ
        made = cls(
            host=parts.hostname or "",
            port=parts.port or 22,
            user=unquote(parts.username) if parts.username else environ.get("EXPORTERS_SFTP_USER"),
            password=environ.get("EXPORTERS_SFTP_PASSWORD"),
        )
        return made, made.name(url) or ""

    @property
    def _servers(self) -> tuple[str, str]:
        return f"sftp://{self.host}:{self.port}", f"sftp://{self.host}"

    def _alive(self, made: Any) -> bool:
        return bool(made.get_channel().get_transport().is_active())

    def _connect(self) -> Any:
        paramiko = client("paramiko", WHAT, EXTRA)
        ssh = paramiko.SSHClient()
        try:
            if self.known_hosts:
                ssh.load_host_keys(self.known_hosts)
            else:
                ssh.load_system_host_keys()
        except Exception as error:  # paramiko has an exception of its own for each kind of wrong line
            why = getattr(error, "strerror", None) or "it is not a file of known hosts"
            raise StorageError("known_hosts", f"{self.known_hosts} cannot be read: {why}") from error
        wait = min(15.0, SILENCE)
        given = bool(self.password or self.private_key or self.private_key_file)
        with self._answers(""):
            ssh.connect(
                self.host, self.port, self.user or None, self.password or None, pkey=self._key(paramiko),
                key_filename=self.private_key_file, timeout=wait, banner_timeout=wait, auth_timeout=wait,
                allow_agent=not given, look_for_keys=not given,
            )  # fmt: skip
            connection = _opened(ssh)
        connection.ssh = ssh  # It lives as long as its files.
        weakref.finalize(self, ssh.close)
        return connection

    def _forget(self) -> None:
        made = self.__dict__.pop("_made", None)
        if made is not None:
            made.ssh.close()

    def _key(self, paramiko: Any) -> Any:
        import io

        if not self.private_key:
            return None
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            with suppress(paramiko.SSHException, ValueError, IndexError):
                return kind.from_private_key(io.StringIO(self.private_key))
        raise StorageError("private_key", "this is not a private key (ed25519, ECDSA or RSA, without a passphrase)")

    def names(self, prefix: str) -> Iterator[Stored | Warned]:
        path = prefix.rstrip("/") or ("/" if prefix.startswith("/") else "")

        def look() -> Any:
            with self._answers(prefix):
                return self.client.stat(path or ".")

        try:
            found = patiently(look, min(2, self.attempts))
        except NotThere:
            return
        if modes.S_ISDIR(found.st_mode):
            yield from self._below(path)
        elif _is_special(found):
            raise StorageError("path", f"{self.url(path)} is a pipe, a socket or a device; give a file")
        else:
            yield _stored(path, found)

    def _below(self, folder: str) -> Iterator[Stored | Warned]:
        """Every file below a folder, in order of the whole path. Links to folders are not followed."""

        def ask() -> list[Any]:
            with self._answers(folder):
                return list(self.client.listdir_attr(folder or "."))

        paths = []
        for entry in patiently(ask, self.attempts):
            path = posixpath.join(folder, entry.filename)
            mode = entry.st_mode or 0
            if modes.S_ISLNK(mode):
                with suppress(StorageError), self._answers(path):
                    entry = self.client.stat(path)
                if modes.S_ISDIR(entry.st_mode or 0):
                    yield passed_over(self.url(path), "a link to a folder")
                    continue
            if _is_special(entry):
                yield passed_over(self.url(path), "a pipe, a socket or a device")
                continue
            paths.append((path + "/" if modes.S_ISDIR(mode) else path, entry))
        for path, entry in sorted(paths, key=lambda pair: pair[0]):
            if is_bookkeeping(path.rstrip("/")):
                continue
            if path.endswith("/"):
                yield from self._below(path[:-1])
            else:
                yield _stored(path, entry)

    def stat(self, name: str) -> Stored:
        return patiently(lambda: self._stat(name), self.attempts)

    def _stat(self, name: str) -> Stored:
        with self._answers(name):
            return _stored(name, self.client.stat(name))

    def open(self, found: Stored) -> BinaryIO:
        def fetch(start: int) -> Any:
            if self._stat(found.name).etag != found.etag:
                raise changed(self.url(found.name))
            with self._answers(found.name):
                file = self.client.open(found.name, "rb", bufsize=0)

            def piece(start: int, stop: int) -> bytes:
                places = [(at, min(REQUEST, stop - at)) for at in range(start, stop, REQUEST)]
                with self._answers(found.name):
                    return b"".join(file.readv(places))

            return Pieces(piece, start, found.size)

        paramiko = client("paramiko", WHAT, EXTRA)
        return buffered(Ranged(found.size, fetch, (paramiko.SSHException, EOFError, ConnectionError), self.attempts))

    def unchanged(self, found: Stored) -> None:
        look_again(self, found)

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        """Under a hidden name in the same folder, then renamed."""
        folder, base = posixpath.split(name)
        half_sent = posixpath.join(folder, f".{base}.{content.token}.part")

        def send() -> Stored:
            with self._answers(name):
                self._make(folder)
                sent = Sent(file)
                try:
                    self.client.putfo(sent, half_sent, content.size, confirm=True)
                    sent.compare(self.url(half_sent), content)
                    arrived(self.url(half_sent), _stored(half_sent, self.client.stat(half_sent)), content)
                    self._rename(half_sent, name)
                except BaseException:
                    with suppress(Exception):
                        self._forget()  # That it broke may not show yet.
                        self.client.remove(half_sent)
                    raise
                return arrived(self.url(name), _stored(name, self.client.stat(name)), content)

        return patiently(send, self.attempts)

    def _make(self, folder: str) -> None:
        """Make a folder and those above it where they are not there."""
        if folder in ("", "/"):
            return
        try:
            self.client.stat(folder)
            return
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        self._make(posixpath.dirname(folder))
        try:
            self.client.mkdir(folder)
        except OSError:
            self.client.stat(folder)  # Another worker has made it just now.

    def _rename(self, old: str, new: str) -> None:
        """In the place of what may be there, also on a server without posix-rename, or that refuses it."""
        connection = self.client
        try:
            connection.posix_rename(old, new)
            return
        except OSError as error:
            if error.errno != errno.EACCES and "unsupported" not in str(error).lower():
                raise
        try:
            connection.rename(old, new)
        except OSError:
            if not modes.S_ISREG(connection.stat(new).st_mode or 0):  # Where there is nothing that is what is told.
                raise
            rename_over(connection, connection.remove, OSError, old, new)
        with suppress(OSError):
            connection.remove(aside_of(old))

    def delete(self, name: str) -> None:
        def remove() -> None:
            with self._answers(name):
                self.client.remove(name)

        with suppress(NotThere):
            patiently(remove, self.attempts)

    def probe(self) -> None:
        patiently(lambda: self._stat("."), min(2, self.attempts))

    @contextmanager
    def _told(self, name: str, writing: bool) -> Iterator[None]:
        """Turns what paramiko raises into StorageError."""
        paramiko = client("paramiko", WHAT, EXTRA)
        try:
            yield
        except (StorageError, ConfigError):
            raise
        except paramiko.BadHostKeyException as error:
            raise StorageError(
                "known_hosts", f"the server {self.host} shows another key than the known one: {answer(str(error))}"
            ) from error
        except paramiko.PasswordRequiredException as error:
            raise StorageError("private_key_file", "the key has a passphrase; give one without") from error
        except paramiko.AuthenticationException as error:
            option = "sftp_password" if self.password else "private_key_file" if self.private_key_file else "sftp_user"
            raise StorageError(
                option, f"the server does not let {self.user or 'this user'} in ({answer(str(error))})"
            ) from error
        except (paramiko.SSHException, EOFError) as error:
            if "known_hosts" in str(error):
                text = f"the key of {self.host} is not in it; add it with: ssh-keyscan -p {self.port} {self.host}"
                raise StorageError("known_hosts", text) from error
            raise StorageError("", f"the connection broke ({answer(str(error)) or 'it ended'})", passing=True) from error
        except ValueError as error:
            raise StorageError("private_key_file", f"it is not a private key ({answer(str(error))})") from error
        except OSError as error:
            if error.errno == errno.ENOENT and name:
                raise NotThere("", f"there is no file {self.url(name)}") from error
            if error.errno is None and "closed" in str(error):
                raise StorageError("", f"the connection broke ({answer(str(error))})", passing=True) from error
            if error.errno == errno.EACCES:
                raise StorageError("", f"the server gives no permission ({answer(str(error.strerror or error))})") from error
            if isinstance(error, (ConnectionError, TimeoutError, paramiko.ssh_exception.NoValidConnectionsError)) or (
                error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH) or type(error).__name__ == "gaierror"
            ):
                said = answer(str(error.strerror or error)) or "it does not answer"
                text = f"the server {self.host}:{self.port} cannot be reached ({said})"
                raise StorageError("host", text, passing=type(error).__name__ != "gaierror") from error
            raise StorageError("", f"the server refused ({answer(str(error.strerror or error))})") from error


@dataclass(frozen=True, kw_only=True)
class SftpServer(Connected):
    """The options by which the reader and the writer find a server."""

    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    host: str = option("name or address of the server", type="str", example="files.example.org")
    port: int = option("its port", type="int", default=22, minimum=1)
    sftp_user: str | None = option("user", type="str", default=None, env="EXPORTERS_SFTP_USER")
    sftp_password: str | None = option("password", type="str", default=None, env="EXPORTERS_SFTP_PASSWORD", secret=True)
    private_key: str | None = option("private key, as text", type="str", default=None, secret=True)
    private_key_file: str | None = option("file with the private key", type="str", default=None)
    known_hosts: str | None = option("file with the keys of known servers", type="str", default=None)

    def connect(self) -> Storage:
        return SftpStorage(
            host=self.host, port=self.port, user=self.sftp_user, password=self.sftp_password,
            private_key=self.private_key, private_key_file=self.private_key_file, known_hosts=self.known_hosts,
            attempts=self.attempts,
        )  # fmt: skip


def _opened(ssh: Any) -> Any:
    """The connection for files, which ends when the server is silent. Opening it would wait without end."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        ssh.get_transport().sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE * 1000))
    watch = threading.Timer(SILENCE, ssh.close)
    watch.daemon = True
    watch.start()
    try:
        connection = ssh.open_sftp()
    finally:
        watch.cancel()
    connection.get_channel().settimeout(SILENCE)
    return connection


def _is_special(found: Any) -> bool:
    """Whether it is neither file nor folder nor link. Some servers tell no kind."""
    kind = modes.S_IFMT(found.st_mode or 0)
    return kind not in (0, modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK)


def _stored(name: str, found: Any) -> Stored:
    return Stored(name, int(found.st_size or 0), f"{found.st_size}-{found.st_mtime}")


@dataclass(frozen=True, kw_only=True)
class SftpReader(SftpServer, FolderReader):
    """Read files of a server that speaks SFTP, in the order of their paths.

    `path` is a file or a folder (every file below it), or several. Paths that do not begin with / are looked for in the
    folder of the user. `pattern` chooses among the paths. Where nothing at all is found the export fails, unless
    `allow_empty` is given. The server has to be known: its key stands in `known_hosts`, by default that of this machine's
    user. Without password and key those of an SSH agent and in `~/.ssh` are tried. Needs the extra `sftp`.

    Example:
        reader:
          name: sftp
          options:
            host: files.example.org
            sftp_user: shop
            sftp_password: ${secret:env:SFTP_PASSWORD}
            path: dumps
    """


@dataclass(frozen=True, kw_only=True)
class SftpWriter(SftpServer, FolderWriter):
    """Deliver files to a server that speaks SFTP.

    A file is built on the worker, sent under a hidden name to the folder that it belongs in, and renamed when its size is
    right, so it appears whole or not at all. Folders are made as needed. A `filebase` that does not begin with / is below
    the folder of the user. Existing files of the same name are replaced. Beside the files only
    `.exporters/<export id>/manifest.json` is put there, last. Staged data and the manifest that `--resume` needs stay on
    this machine, in the folder of `staging`.

    The server has to be known: its key stands in `known_hosts`, by default that of this machine's user. Without password
    and key those of an SSH agent and in `~/.ssh` are tried. Needs the extra `sftp`.

    Example:
        writer:
          name: sftp
          options:
            host: files.example.org
            sftp_user: shop
            sftp_password: ${secret:env:SFTP_PASSWORD}
            filebase: 'dumps/%Y-%m-%d/part-'
    """
