"""Servers that are killed in the middle of an upload and come back with the data that they had.

It is counted in the same table as what networks do.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_servers import minio_environ
from test_networks import base, delivered_once, delivering, finished, reference, row_of, run  # noqa: F401
from toxics import Counted, Restartable, at_upload

from places import FTP_SERVER, SECRET, Place, answers, free_port, free_ports, greets, program, s3_place

pytestmark = pytest.mark.servers


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
        command, answers(f"http://127.0.0.1:{port}/minio/health/ready"), tmp_path / "log", minio_environ()
    )
    yield server, s3_place(f"http://127.0.0.1:{port}")
    server.close()


@pytest.fixture
def own_sshd(tmp_path: Path) -> Iterator[tuple[Restartable, Place]]:
    paramiko = pytest.importorskip("paramiko", reason="get it with: pip install 'exporters-beam[sftp]'")
    port = free_port()
    for name in ("host", "user"):
        paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / name))
    user, host = (paramiko.RSAKey(filename=str(tmp_path / name)) for name in ("user", "host"))
    (tmp_path / "authorized").write_text(f"ssh-rsa {user.get_base64()}\n")
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} ssh-rsa {host.get_base64()}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\nUsePAM no\n"
        f"StrictModes no\nPermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp -d {tmp_path}/data\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = [program("sshd", "apt-get install openssh-server"), "-D", "-e", "-f", str(tmp_path / "config")]
    server = Restartable(command, greets(port, b"SSH-2.0"), tmp_path / "log")
    options = {"host": "127.0.0.1", "port": port, "sftp_user": getpass.getuser(),
               "private_key_file": str(tmp_path / "user"), "known_hosts": str(tmp_path / "known")}  # fmt: skip
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
