"""SFTP: logging in with a password, and servers that do not know posix-rename, or refuse it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.storages.base import StorageError

from places import SECRET, Place, ssh_server

paramiko = pytest.importorskip("paramiko", reason="get it with: pip install 'exporters-beam[sftp]'")

RANDOM = {"name": "random", "options": {"number_of_items": 20}}


class Files(paramiko.SFTPServerInterface):
    """A folder, as version 3 of the protocol has it: a rename replaces nothing, and there is no posix-rename."""

    folder = ""

    def _path(self, path: str) -> str:
        return f"{self.folder}{self.canonicalize(path)}"

    def _doing(self, act: Any, *args: Any) -> int:
        try:
            act(*args)
        except OSError as error:
            return int(paramiko.SFTPServer.convert_errno(error.errno))
        return int(paramiko.SFTP_OK)

    def list_folder(self, path: str) -> Any:
        made = []
        for name in os.listdir(self._path(path)):
            made.append(paramiko.SFTPAttributes.from_stat(os.stat(f"{self._path(path)}/{name}"), name))
        return made

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(os.stat(self._path(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:
        handle = paramiko.SFTPHandle(flags)
        try:
            file = os.fdopen(os.open(self._path(path), flags, 0o644), "wb" if flags & os.O_WRONLY else "rb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle.filename, handle.readfile, handle.writefile = self._path(path), file, file
        return handle

    def remove(self, path: str) -> int:
        return self._doing(os.remove, self._path(path))

    def mkdir(self, path: str, attr: Any) -> int:
        return self._doing(os.mkdir, self._path(path))

    def rename(self, oldpath: str, newpath: str) -> int:
        if os.path.exists(self._path(newpath)):
            return int(paramiko.SFTP_FAILURE)
        return self._doing(os.rename, self._path(oldpath), self._path(newpath))


class Door(paramiko.ServerInterface):
    """Lets `shop` in with the password."""

    def check_auth_password(self, username: str, password: str) -> int:
        fits = (username, password) == ("shop", SECRET)
        return int(paramiko.AUTH_SUCCESSFUL if fits else paramiko.AUTH_FAILED)

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


@pytest.fixture
def with_password(tmp_path: Path) -> Iterator[Place]:
    key = paramiko.RSAKey.generate(2048)
    (tmp_path / "data").mkdir()
    files = type("Here", (Files,), {"folder": str(tmp_path / "data")})
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    transports: list[Any] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, files)
            transport.start_server(event=threading.Event(), server=Door())
            transports.append(transport)

    threading.Thread(target=serve, daemon=True).start()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} ssh-rsa {key.get_base64()}\n")
    options = {"host": "127.0.0.1", "port": port, "sftp_user": "shop", "sftp_password": SECRET,
               "known_hosts": str(tmp_path / "known")}  # fmt: skip
    yield Place("sftp", options, made=tmp_path / "data")
    listener.close()
    for transport in transports:
        transport.close()


def test_a_password_lets_in_and_a_wrong_one_is_told_once(with_password: Place, tmp_path, capfd, monkeypatch):
    import json

    monkeypatch.chdir(tmp_path)
    writer = with_password.writer("out/p-", sftp_password="${secret:env:PASSWORD}", check_consistency=True)
    Path("config.json").write_text(json.dumps({"reader": RANDOM, "writer": writer}))
    monkeypatch.setenv("PASSWORD", SECRET)
    assert main(["run", "config.json", "--quiet"]) == 0
    assert [found.name for found in with_password.storage().names("out")] == ["out/p-0000.jl.gz"]
    capfd.readouterr()
    monkeypatch.setenv("PASSWORD", f"{SECRET}-of-another")
    assert main(["run", "config.json", "--quiet"]) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "option sftp_password" in lines[0] and SECRET not in lines[0]
    monkeypatch.delenv("PASSWORD")
    monkeypatch.setenv("EXPORTERS_SFTP_PASSWORD", SECRET)
    del writer["options"]["sftp_password"]
    assert exporters_beam.run({"reader": RANDOM, "writer": writer}).written == 20


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[Place]:
    """OpenSSH that was told to refuse posix-rename."""
    with ssh_server(tmp_path, "-P posix-rename") as server:
        yield Place("sftp", dict(server.options), made=server.folder)


WITHOUT = pytest.mark.parametrize(
    "place", [pytest.param("refusing", marks=pytest.mark.servers), "with_password"], indirect=True
)


@WITHOUT
def test_without_posix_rename_a_file_is_replaced_all_the_same(place: Place):
    place.put("out/a", b"first")
    place.put("out/a", b"second")
    assert place.get("out/a") == b"second"
    assert [path.name for path in (place.made / "out").iterdir()] == ["a"]


@WITHOUT
@pytest.mark.parametrize("number", [1, 2, 3])
def test_without_posix_rename_a_failure_leaves_what_was_there(place: Place, number: int, monkeypatch):
    """Whichever rename fails: the old file stands under its name, whole; the next try replaces it."""
    place.put("out/a", b"first")
    rename, seen = paramiko.SFTPClient.rename, []

    def failing(self: Any, old: str, new: str) -> Any:
        seen.append(new)
        if len(seen) == number and number > 1:
            raise OSError("the disk is full")
        return rename(self, old, new)

    with monkeypatch.context() as patch:
        patch.setattr(paramiko.SFTPClient, "rename", failing)
        if number > 1:
            with pytest.raises(StorageError, match="the disk is full"):
                place.put("out/a", b"second")
        else:
            place.put("out/a", b"second")
    assert place.get("out/a") == (b"second" if number == 1 else b"first")
    place.put("out/a", b"third")
    assert place.get("out/a") == b"third"
    assert [path.name for path in (place.made / "out").iterdir()] == ["a"]


@WITHOUT
def test_without_posix_rename_what_else_is_wrong_is_told(place: Place):
    """A folder in the place of a file stays where it is."""
    (place.made / "out" / "a").mkdir(parents=True)
    with pytest.raises(StorageError):
        place.put("out/a", b"second")
    assert [path.name for path in (place.made / "out").iterdir()] == ["a"]
