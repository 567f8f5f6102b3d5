"""Real databases: a PostgreSQL and a MariaDB with data folders of their own, on free ports; files of SQLite.

What a server needs to be here: docs/systems.md. Without one, its tests are skipped.
"""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "the-5ecret-word"


def program(name: str, how: str) -> str:
    """The newest program of this name, on the PATH or where packages put servers."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(beside[-1]) if beside else shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not here; get it with: {how}")
    return found


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def own_folder() -> Path:
    """A folder for a server's data. Those of pytest are for the user alone who runs the tests."""
    return Path(tempfile.mkdtemp(prefix="exporters-beam-"))


def as_somebody(folder: Path) -> tuple[list[str], str]:
    """What begins a command that may not run as root, and who runs it; the folder becomes theirs."""
    if os.getuid() != 0:
        return [], getpass.getuser()
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"], "nobody"


@dataclass
class Database:
    """A database with nothing in it. `restart` ends the server as a crash does, and starts it again."""

    kind: str
    url: str
    password: str | None
    connect: Callable[[], Any]
    restart: Callable[[], None] = field(default=lambda: None)

    @property
    def options(self) -> dict[str, Any]:
        return {"url": self.url, **({"password": self.password} if self.password else {})}

    def reader(self, **options: Any) -> dict[str, Any]:
        return {"name": "sql", "options": {**self.options, **options}}

    def run(self, *statements: str) -> None:
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def many(self, statement: str, rows: list[Any]) -> None:
        with closing(self.connect()) as connection:
            connection.cursor().executemany(statement.replace("%s", "?") if self.kind == "sqlite" else statement, rows)
            connection.commit()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return [tuple(row) for row in cursor.fetchall()]


class Server:
    """A process that is started in a data folder, awaited, and killed."""

    def __init__(self, command: list[str], log: Path, ready: Callable[[], bool]) -> None:
        self._command, self._log, self._ready = command, log, ready
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(self._command, stdout=out, stderr=out)
        until = time.monotonic() + 240
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise AssertionError(self._log.read_text()[-4000:])
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def restart(self) -> None:
        """As after a crash. Processes of PostgreSQL that outlive their first one keep the next one out until they end."""
        self.stop()
        for _ in range(100):
            try:
                self.start()
                return
            except AssertionError as error:
                if "shared memory block" not in str(error)[-400:]:
                    raise
                time.sleep(0.1)
        raise AssertionError("the server does not begin again")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[tuple[Server, Callable[..., Any]]]:
    psycopg = pytest.importorskip("psycopg")
    initdb, postgres = (program(name, "apt-get install postgresql") for name in ("initdb", "postgres"))
    folder = own_folder()
    begin, _ = as_somebody(folder)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    data = folder / "data"
    subprocess.run([*begin, initdb, "-D", data, "-U", "tester", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8",
                    "--locale=C.UTF-8", "--no-sync"], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    port = free_port()

    def connect(database: str = "postgres") -> Any:
        return psycopg.connect(host="127.0.0.1", port=port, user="tester", password=PASSWORD, dbname=database)

    def ready() -> bool:
        try:
            connect().close()
        except psycopg.OperationalError:
            return False
        return True

    settings = ["fsync=off", "listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={folder}"]
    command = [*begin, postgres, "-D", str(data), *(part for setting in settings for part in ("-c", setting))]
    server = Server(command, folder / "log", ready)
    server.start()
    server.port = port  # type: ignore[attr-defined]
    yield server, connect
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[tuple[Server, Callable[..., Any]]]:
    pymysql = pytest.importorskip("pymysql")
    install, mariadbd = (program(name, "apt-get install mariadb-server") for name in ("mariadb-install-db", "mariadbd"))
    folder = own_folder()
    begin, user = as_somebody(folder)
    data = folder / "data"
    make = [*begin, install, "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db"]
    subprocess.run([*make, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    first = folder / "first.sql"
    first.write_text(
        f"CREATE OR REPLACE USER tester@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO tester@'127.0.0.1';\n"
    )
    first.chmod(0o644)
    port = free_port()

    def connect(database: str | None = None) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=port, user="tester", password=PASSWORD, database=database, charset="utf8mb4"
        )

    def ready() -> bool:
        try:
            connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    command = [*begin, mariadbd, "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1",
               f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--skip-name-resolve", f"--init-file={first}",
               "--innodb-flush-log-at-trx-commit=2", "--skip-log-bin"]  # fmt: skip
    server = Server(command, folder / "log", ready)
    server.start()
    server.port = port  # type: ignore[attr-defined]
    yield server, connect
    server.stop()
    shutil.rmtree(folder)


NUMBERS = count()


def made(kind: str, request: pytest.FixtureRequest, folder: Path) -> Database:
    """A database with nothing in it, of this kind."""
    if kind == "sqlite":
        import sqlite3

        path = folder / "test.db"
        sqlite3.connect(path).close()
        return Database(kind, f"sqlite:///{path}", None, lambda: sqlite3.connect(path))
    server, connect = request.getfixturevalue(f"{kind}_server")
    name = f"test_{next(NUMBERS)}"
    with closing(connect()) as connection:
        if kind == "postgresql":
            connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if kind == "mariadb" else ""))
    scheme = {"postgresql": "postgresql", "mariadb": "mysql"}[kind]
    return Database(kind, f"{scheme}://tester@127.0.0.1:{server.port}/{name}", PASSWORD, lambda: connect(name), server.restart)


SERVERS = [pytest.param("postgresql", marks=pytest.mark.servers), pytest.param("mariadb", marks=pytest.mark.servers)]


@pytest.fixture(params=["sqlite", *SERVERS])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database of each kind; those of servers are asked for by their marker."""
    return made(request.param, request, tmp_path)


@pytest.fixture
def postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return made("postgresql", request, tmp_path)


@pytest.fixture
def mariadb(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return made("mariadb", request, tmp_path)


@pytest.fixture
def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return made("sqlite", request, tmp_path)
