"""Real servers of storages: started on free ports, awaited until they answer, ended by their process.

Servers that are no Python packages are looked for on the PATH and in `$EXPORTERS_BEAM_SERVERS` (by default
`~/.cache/exporters-beam/servers/bin`); docs/storages.md says how to get them.
"""

from __future__ import annotations

import getpass
import http.client
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from helpers import free_port, self_signed

CACHE = Path(os.environ.get("EXPORTERS_BEAM_SERVERS") or Path.home() / ".cache/exporters-beam/servers/bin")


def program(name: str, how: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=f"{CACHE}:{CACHE.parent}/node_modules/.bin:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not here; get it with: {how}")
    return found


def free_ports(count: int) -> range:
    """Ports one after the other, below those that the system gives to connections."""
    for first in range(random.randrange(15_000, 30_000, count), 32_000, count):
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return range(first, first + count)
    raise AssertionError("there are no free ports")


@contextmanager
def serving(command: list[str], ready: Callable[[], bool], log: Path, env: dict[str, str] | None = None) -> Iterator[Any]:
    """A server as a child process while the block runs."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(env or {})})
    try:
        until = time.monotonic() + 240
        while not ready():
            assert process.poll() is None, f"{command[0]} ended: {log.read_text()[-4000:]}"
            assert time.monotonic() < until, f"{command[0]} does not answer: {log.read_text()[-4000:]}"
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def answers(url: str, well: bool = False) -> Callable[[], bool]:
    """Whether a server answers there, and `well`: without an error."""

    def ready() -> bool:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError:
            return not well
        except OSError:
            return False
        return True

    return ready


def greets(port: int, banner: bytes) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as connection:
                return connection.recv(len(banner)) == banner
        except OSError:
            return False

    return ready


@pytest.fixture(autouse=True)
def books_of_remote_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder of this machine, and no credentials or proxies that the machine may have."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    for name in list(os.environ):
        if name.startswith("EXPORTERS_") and name != "EXPORTERS_BEAM_SERVERS":
            monkeypatch.delenv(name)


# Destinations


@dataclass
class Place:
    """A server with room for an export: sections of configs that name it."""

    kind: str
    options: dict[str, Any]
    reader: dict[str, Any] = field(default_factory=dict)
    made: Any = None
    data_ports: range = range(0)
    """Ports on which an FTP server takes connections for data."""

    def writer(self, filebase: str, **more: Any) -> dict[str, Any]:
        return {"name": self.kind, "options": {**self.options, "filebase": filebase, **more}}

    def source(self, prefix: str, **more: Any) -> dict[str, Any]:
        return {"name": self.kind, "options": {**self.options, **self.reader, self.where: prefix, **more}}

    @property
    def where(self) -> str:
        return "path" if self.kind in ("sftp", "ftp", "azure_file", "hdfs", "gdrive", "dropbox") else "prefix"

    def storage(self) -> Any:
        from exporters_beam.components.registry import find, load

        component = load(find("writer", self.kind))
        return component(filebase="x", **self.options).storage

    def put(self, name: str, data: bytes) -> None:
        import hashlib
        import io

        from exporters_beam.storages.base import Content

        content = Content(len(data), hashlib.md5(data).hexdigest(), token="test")
        self.storage().put(name, io.BytesIO(data), content)

    def get(self, name: str) -> bytes:
        storage = self.storage()
        with storage.open(storage.stat(name)) as stream:
            return bytes(stream.read())


SECRET = "canary-of-the-secret-key"


@pytest.fixture(scope="session")
def versitygw_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the gateway keeps its buckets."""
    return tmp_path_factory.mktemp("versitygw") / "data"


@pytest.fixture(scope="session")
def versitygw(versitygw_data: Path) -> Iterator[str]:
    command = program("versitygw", "go install github.com/versity/versitygw/cmd/versitygw@latest")
    folder = versitygw_data.parent
    for name in ("iam", "data"):
        (folder / name).mkdir()
    port = free_port()
    with serving(
        [command, "--port", f"127.0.0.1:{port}", "--quiet", "--iam-dir", str(folder / "iam"), "--health", "/health",
         "posix", str(folder / "data")],
        answers(f"http://127.0.0.1:{port}/health"),
        folder / "log",
        {"ROOT_ACCESS_KEY": "rootkey", "ROOT_SECRET_KEY": SECRET},
    ):  # fmt: skip
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("moto", reason="moto is not here; get it with: pip install 'moto[server,s3]'")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with serving(command, answers(f"http://127.0.0.1:{port}/moto-api/data.json"), tmp_path_factory.mktemp("moto") / "log"):
        yield f"http://127.0.0.1:{port}"


_count = iter(range(10**6))


def s3_place(endpoint: str) -> Place:
    import boto3

    bucket = f"bucket-{next(_count)}"
    options = {"bucket": bucket, "host": endpoint, "aws_access_key_id": "rootkey", "aws_secret_access_key": SECRET}
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="rootkey", aws_secret_access_key=SECRET,
                          region_name="us-east-1")  # fmt: skip
    client.create_bucket(Bucket=bucket)
    return Place("s3", options, made=client)


@pytest.fixture
def s3(versitygw: str) -> Place:
    return s3_place(versitygw)


@pytest.fixture
def moto(moto_server: str) -> Place:
    return s3_place(moto_server)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The destination of a test that is run for each: parametrize it indirectly."""
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def gcs(fake_gcs_server: str) -> Place:
    bucket = f"bucket-{next(_count)}"
    options = {"bucket": bucket, "project": "test", "host": fake_gcs_server}
    place = Place("gcs", options)
    place.made = place.storage().client
    place.made.create_bucket(bucket)
    return place


@pytest.fixture(scope="session")
def fake_gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("google.cloud.storage", reason="get it with: pip install 'exporters-beam[gcs]'")
    command = program("fake-gcs-server", "go install github.com/fsouza/fake-gcs-server@latest")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(
        [command, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory",
         "-external-url", url, "-public-host", f"127.0.0.1:{port}"],
        answers(f"{url}/storage/v1/b?project=t"),
        tmp_path_factory.mktemp("fake-gcs-server") / "log",
    ):  # fmt: skip
        yield url


@dataclass
class Sshd:
    """An OpenSSH server that lets the user of this process in with a key."""

    port: int
    folder: Path
    options: dict[str, Any]


@contextmanager
def ssh_server(folder: Path, more: str = "") -> Iterator[Sshd]:
    """`more` are options of its program for files."""
    command, options = sshd_command(folder, more)
    with serving(command, greets(options["port"], b"SSH-2.0"), folder / "log"):
        yield Sshd(options["port"], folder / "data", options)


def sshd_command(folder: Path, more: str = "") -> tuple[list[str], dict[str, Any]]:
    """How a server with its keys and data in a folder is started, and the options that reach it."""
    paramiko = pytest.importorskip("paramiko", reason="get it with: pip install 'exporters-beam[sftp]'")
    command = program("sshd", "apt-get install openssh-server")
    port = free_port()
    for name in ("host", "user"):
        paramiko.RSAKey.generate(2048).write_private_key_file(str(folder / name))
    user = paramiko.RSAKey(filename=str(folder / "user"))
    host = paramiko.RSAKey(filename=str(folder / "host"))
    (folder / "authorized").write_text(f"ssh-rsa {user.get_base64()}\n")
    (folder / "known").write_text(f"[127.0.0.1]:{port} ssh-rsa {host.get_base64()}\n")
    (folder / "data").mkdir()
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n"
        f"Subsystem sftp internal-sftp -d {folder}/data {more}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    options = {"host": "127.0.0.1", "port": port, "sftp_user": getpass.getuser(),
               "private_key_file": str(folder / "user"), "known_hosts": str(folder / "known")}  # fmt: skip
    return [command, "-D", "-e", "-f", str(folder / "config")], options


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def sftp(sshd: Sshd) -> Iterator[Place]:
    """The folder of the user is empty at the beginning of a test."""
    shutil.rmtree(sshd.folder, ignore_errors=True)
    sshd.folder.mkdir(exist_ok=True)
    yield Place("sftp", dict(sshd.options), made=sshd)


# FTP

FTP_SERVER = """
import sys
import os
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS, FilesystemError
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer
port, folder, password, certificate, missing, first, after = sys.argv[1:]
authorizer = DummyAuthorizer()
authorizer.add_user("shop", password, folder, perm="elradfmwMT")
handler = TLS_FTPHandler if certificate else FTPHandler
handler.authorizer = authorizer
handler.passive_ports = range(int(first), int(after))
handler.proto_cmds = {name: about for name, about in handler.proto_cmds.items() if name not in missing.split()}
class Keeps(AbstractedFS):
    def rename(self, src, dst):
        if os.path.exists(dst):
            raise FilesystemError("it is there")
        super().rename(src, dst)
if "REPLACING" in missing:
    handler.abstracted_fs = Keeps
if certificate:
    handler.certfile = certificate
    handler.tls_control_required = handler.tls_data_required = True
FTPServer(("127.0.0.1", int(port)), handler).serve_forever()
"""


@contextmanager
def ftp_server(folder: Path, certificate: str, missing: str = "") -> Iterator[Place]:
    pytest.importorskip("pyftpdlib", reason="get it with: pip install pyftpdlib pyopenssl")
    port, data = free_port(), free_ports(40)
    (folder / "data").mkdir()
    command = [sys.executable, "-c", FTP_SERVER, str(port), str(folder / "data"), SECRET, certificate, missing,
               str(data.start), str(data.stop)]  # fmt: skip
    with serving(command, greets(port, b"220"), folder / "log"):
        options = {"host": "127.0.0.1", "port": port, "ftp_user": "shop", "ftp_password": SECRET}
        yield Place("ftp", {**options, **({"tls": True, "ca_file": certificate} if certificate else {})},
                    made=folder / "data", data_ports=data)  # fmt: skip


def emptied(place: Place) -> Place:
    for path in place.made.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return place


@pytest.fixture(scope="session")
def plain_ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ftp_server(tmp_path_factory.mktemp("ftp"), "") as place:
        yield place


@pytest.fixture
def ftp(plain_ftp: Place) -> Place:
    return replace(emptied(plain_ftp))


@pytest.fixture(scope="session")
def older_ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ftp_server(tmp_path_factory.mktemp("ftp"), "", "MLSD MLST") as place:
        yield place


@pytest.fixture
def old_ftp(older_ftp: Place) -> Place:
    """A server that knows the commands of 1985 only."""
    return replace(emptied(older_ftp))


@pytest.fixture(scope="session")
def vsftpd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """vsftpd with TLS: it has no MLSD, and wants data connections to go on with the session of the first one."""
    if os.geteuid() != 0:
        pytest.skip("vsftpd is started by root only")
    command = program("vsftpd", "apt-get install vsftpd")
    folder = tmp_path_factory.mktemp("vsftpd")
    base = tmp_path_factory.getbasetemp()
    for above in (folder, base, base.parent):  # Its user is another one; pytest's folders are for their owner only.
        above.chmod(0o755)
    port, data = free_port(), free_ports(40)
    (folder / "root/data").mkdir(parents=True)
    (folder / "root/data").chmod(0o777)
    certificate = self_signed(folder / "certificate.pem")
    (folder / "config").write_text(
        f"background=NO\nlisten=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nanonymous_enable=YES\n"
        f"write_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\n"
        f"anon_umask=022\nanon_root={folder}/root\nanon_world_readable_only=NO\nssl_enable=YES\nallow_anon_ssl=YES\n"
        f"force_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\nrequire_ssl_reuse=YES\nssl_tlsv1=YES\n"
        f"rsa_cert_file={certificate}\nutf8_filesystem=YES\nsecure_chroot_dir={folder}/empty\nmdtm_write=NO\n"
        f"pasv_min_port={data.start}\npasv_max_port={data.stop - 1}\n"
        f"hide_ids=YES\nisolate=NO\nisolate_network=NO\nseccomp_sandbox=NO\n"
    )
    (folder / "empty").mkdir()
    with serving([command, str(folder / "config")], greets(port, b"220"), folder / "log"):
        options = {"host": "127.0.0.1", "port": port, "tls": True, "ca_file": str(certificate)}
        yield Place("ftp", options, made=folder / "root/data", data_ports=data)


@pytest.fixture
def vsftpd(vsftpd_server: Place) -> Place:
    return replace(emptied(vsftpd_server))


@pytest.fixture(scope="session")
def tls_ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    pytest.importorskip("OpenSSL", reason="get it with: pip install pyftpdlib pyopenssl")
    folder = tmp_path_factory.mktemp("ftps")
    with ftp_server(folder, str(self_signed(folder / "certificate.pem"))) as place:
        yield place


@pytest.fixture
def ftps(tls_ftp: Place) -> Place:
    return replace(emptied(tls_ftp))


# Azure

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that every Azurite has."""


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("azure.storage.blob", reason="get it with: pip install 'exporters-beam[azure]'")
    command = program("azurite-blob", "npm install --prefix ~/.cache/exporters-beam/servers azurite")
    port = free_port()
    folder = tmp_path_factory.mktemp("azurite")
    with serving(
        [command, "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence",
         "--blobHost", "127.0.0.1", "--blobPort", str(port)],
        answers(f"http://127.0.0.1:{port}/devstoreaccount1?comp=list"),
        folder / "log",
    ):  # fmt: skip
        yield f"http://127.0.0.1:{port}/devstoreaccount1"


@pytest.fixture
def azure_blob(azurite: str) -> Place:
    return azure_place(azurite)


def azure_place(azurite: str) -> Place:
    options = {"container": f"container-{next(_count)}", "account_name": "devstoreaccount1", "account_key": AZURITE_KEY,
               "host": azurite}  # fmt: skip
    place = Place("azure_blob", options)
    place.storage().probe()
    return place


# Google Drive and Dropbox: services of our own, since none can be installed


@pytest.fixture(scope="session")
def drive_service() -> Iterator[Any]:
    pytest.importorskip("googleapiclient", reason="get it with: pip install 'exporters-beam[gdrive]'")
    from clouds import Drive

    service = Drive()
    yield service
    service.close()


@pytest.fixture
def gdrive(drive_service: Any) -> Place:
    """A user of its own for each test."""
    token = f"{SECRET}-{next(_count)}"
    root = drive_service.user(token)
    drive_service.faults.clear()
    drive_service.page = 1000
    return Place("gdrive", {"credentials": drive_credentials(drive_service, token), "folder_id": root,
                            "host": drive_service.url}, made=drive_service)  # fmt: skip


def drive_credentials(service: Any, token: str) -> dict[str, Any]:
    return {"refresh_token": f"{token}-again", "client_id": "app", "client_secret": "of-the-app",
            "token_uri": f"{service.url}/token"}  # fmt: skip


@pytest.fixture(scope="session")
def dropbox_service() -> Iterator[Any]:
    pytest.importorskip("dropbox", reason="get it with: pip install 'exporters-beam[dropbox]'")
    from clouds import Dropbox

    service = Dropbox()
    yield service
    service.close()


@pytest.fixture
def dropbox(dropbox_service: Any) -> Place:
    """A user of its own for each test."""
    token = f"{SECRET}-{next(_count)}"
    dropbox_service.user(token)
    dropbox_service.faults.clear()
    dropbox_service.page = 2000
    return Place("dropbox", {"access_token": token, "host": dropbox_service.url}, made=dropbox_service)


# Faults


class Cutting:
    """A TCP proxy before a server that breaks the first `times` connections that have sent or received `after` bytes.

    With `after` = 0 it passes everything on.
    """

    def __init__(self, port: int) -> None:
        self._target, self.after, self.times, self.cut = port, 0, 0, 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            passed = [0]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other, passed), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, passed: list[int]) -> None:
        try:
            while data := one.recv(16384):
                passed[0] += len(data)
                with self._lock:
                    broken = 0 < self.after < passed[0] and self.cut < self.times
                    self.cut += broken
                if broken:
                    break
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


def port_of(place: Place) -> int:
    found = place.options.get("port") or re.findall(r":(\d+)", place.options["host"])[0]
    return int(found)


@pytest.fixture
def cutting(place: Place) -> Iterator[Cutting]:
    """The place behind a proxy that can break connections. That of HDFS is before the datanode."""
    if place.kind == "hdfs":
        from hdfs_cluster import datanode_port

        port = datanode_port(place.options["port"])
        data, front = Cutting(port), Faulty(place.options["port"])
        front.moved = {f":{port}/": f":{data.port}/"}
        place.options = {**place.options, "port": front.port}
        yield data
        front.close()
        data.close()
        return
    old = port_of(place)
    proxy = Cutting(old)
    options = dict(place.options)
    if "port" in options:
        options["port"] = proxy.port
    else:
        options["host"] = options["host"].replace(f":{old}", f":{proxy.port}")
    if "known_hosts" in options:
        known = Path(options["known_hosts"]).read_text()
        fresh = Path(options["known_hosts"]).with_name(f"known-{proxy.port}")
        fresh.write_text(known.replace(f":{old} ", f":{proxy.port} "))
        options["known_hosts"] = str(fresh)
    place.options = options
    yield proxy
    proxy.close()


class Faulty:
    """An HTTP proxy before a server: for the next requests of a method (any, where it is "") whose path has `where` in it
    it answers `status`, or passes the request on and drops the connection instead of giving the answer (`status` 0).

    With `every` it is each request of that number only. `seen` counts the requests that fit.
    """

    def __init__(self, port: int) -> None:
        self.method, self.status, self.times, self.done = "PUT", 503, 0, 0
        self.moved: dict[str, str] = {}
        """Parts of the addresses to which the server sends clients, and what stands there instead."""
        self.where, self.body, self.every, self.seen = "", b"come again later", 1, 0
        self.lock = threading.Lock()
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self._body()
                with faulty.lock:
                    fits = faulty.method in ("", self.command) and faulty.where in self.path
                    faulty.seen += fits
                    fails = fits and faulty.done < faulty.times and faulty.seen % faulty.every == 0
                    faulty.done += fails
                if fails and faulty.status:
                    kind = "application/xml" if faulty.body.startswith(b"<") else "text/plain"
                    self._give(faulty.status, [("Content-Type", kind)], faulty.body)
                    return
                near = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                headers = {name: value for name, value in self.headers.items()
                           if name.lower() not in ("connection", "transfer-encoding", "expect")}  # fmt: skip
                near.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
                found = near.getresponse()
                data = found.read()
                near.close()
                if fails:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self._give(found.status, found.getheaders(), data)

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline().partition(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return b"".join(parts)

            def _give(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    for old, new in faulty.moved.items() if name.lower() == "location" else ():
                        value = value.replace(old, new)
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                told = {name.lower(): value for name, value in headers}
                length = told.get("content-length", "0") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # A client that has gone is no news.
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fail(self, method: str, where: str, status: int, times: int = 1, every: int = 1) -> None:
        """From now on."""
        with self.lock:
            self.method, self.where, self.status, self.times, self.every = method, where, status, times, every
            self.seen = self.done = 0

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def faulty(place: Place) -> Iterator[Faulty]:
    """The place behind a proxy that answers some requests with errors."""
    old = port_of(place)
    proxy = Faulty(old)
    place.options = {**place.options, "host": place.options["host"].replace(f":{old}", f":{proxy.port}")}
    if "port" in place.options:
        place.options["port"] = proxy.port
    yield proxy
    proxy.close()
