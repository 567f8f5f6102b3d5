"""Servers that are killed in the middle of an upload and come back with the data that they had.

It is counted in the same table as what networks do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_servers import minio_environ
from test_networks import base, delivered_once, delivering, finished, reference, row_of, run  # noqa: F401

from places import FTP_SERVER, SECRET, Place, answers, free_port, free_ports, greets, program, s3_place, sshd_command
from toxics import Counted, Restartable, at_upload, shorten

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def pauses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is back soon is back within the pauses that clients really make."""
    if request.node.callspec.params["seconds"] == 60:
        shorten(monkeypatch)


@pytest.fixture
def own_versitygw(tmp_path: Path) -> Iterator[tuple[Restartable, Place]]:
    port = free_port()
    for name in ("iam", "data"):
        (tmp_path / name).mkdir()
    command = [program("versitygw", ".ci/servers"), "--port", f"127.0.0.1:{port}", "--quiet", "--iam-dir",
               str(tmp_path / "iam"), "--health", "/health", "posix", str(tmp_path / "data")]  # fmt: skip
    server = Restartable(command, answers(f"http://127.0.0.1:{port}/health"), tmp_path / "log",
                         {"ROOT_ACCESS_KEY": "rootkey", "ROOT_SECRET_KEY": SECRET})  # fmt: skip
    yield server, s3_place(f"http://127.0.0.1:{port}")
    server.close()


@pytest.fixture
def own_minio(tmp_path: Path) -> Iterator[tuple[Restartable, Place]]:
    port = free_port()
    command = [program("minio", ".ci/servers"), "server", "--address", f"127.0.0.1:{port}", "--quiet",
               str(tmp_path / "data")]  # fmt: skip
    server = Restartable(
        command, answers(f"http://127.0.0.1:{port}/minio/health/ready", well=True), tmp_path / "log", minio_environ()
    )
    yield server, s3_place(f"http://127.0.0.1:{port}")
    server.close()


@pytest.fixture
def own_sshd(tmp_path: Path) -> Iterator[tuple[Restartable, Place]]:
    command, options = sshd_command(tmp_path)
    server = Restartable(command, greets(options["port"], b"SSH-2.0"), tmp_path / "log")
    yield server, Place("sftp", options, made=tmp_path / "data")
    server.close()


@pytest.fixture
def own_ftp(tmp_path: Path) -> Iterator[tuple[Restartable, Place]]:
    pytest.importorskip("pyftpdlib", reason="get it with: pip install pyftpdlib pyopenssl")
    port, data = free_port(), free_ports(40)
    (tmp_path / "data").mkdir()
    command = [sys.executable, "-c", FTP_SERVER, str(port), str(tmp_path / "data"), SECRET, "", "", str(data.start),
               str(data.stop)]  # fmt: skip
    server = Restartable(command, greets(port, b"220"), tmp_path / "log")
    options = {"host": "127.0.0.1", "port": port, "ftp_user": "shop", "ftp_password": SECRET}
    yield server, Place("ftp", options, made=tmp_path / "data", data_ports=data)
    server.close()


@pytest.mark.parametrize("seconds", [0.5, 60])
@pytest.mark.parametrize("place", ["own_versitygw", "own_minio", "own_sshd", "own_ftp"])
def test_the_server_is_killed_and_started_again(place, seconds, request, reference, run, monkeypatch):  # noqa: F811
    """Back soon, or only after the export has given up."""
    server, made = request.getfixturevalue(place)
    row: Counted = row_of(request, "server killed, back soon" if seconds < 60 else "server killed, back later")
    restart = server.kill if seconds == 60 else lambda: server.kill_and_start(seconds)
    at_upload(monkeypatch, made, 2, 100_000, restart)

    class Later:
        """What brings the server back where it is still gone."""

        def heal(self) -> None:
            server.back()

    finished(run, delivering(made, reference), Later(), row, fatal=seconds == 60)
    assert server.killed == 1
    delivered_once(made, "", reference, row)
