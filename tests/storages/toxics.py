"""Networks and servers that misbehave: toxiproxy before a server, and servers that are killed and started again.

What such tests count is collected in `TABLE` and printed at the end.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from places import Place, answers, free_port, port_of, program, serving

NEAR, DATA_NEAR = "127.0.0.1", "127.0.0.2"
"""Where proxies listen. A server of FTP tells the port for data only, so its proxies have its ports, at another address."""


@dataclass
class Counted:
    """A line of the table: tries, and the records that were lost or delivered twice in them."""

    tries: int = 0
    passed: int = 0
    resumed: int = 0
    lost: int = 0
    duplicated: int = 0


TABLE: dict[tuple[str, str], Counted] = {}
"""By storage and fault."""


@pytest.fixture(scope="session")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = program("toxiproxy", ".ci/servers")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(
        [command, "-host", "127.0.0.1", "-port", str(port), "-seed", "1"],
        answers(f"{url}/version"),
        tmp_path_factory.mktemp("toxiproxy") / "log",
    ):
        yield url


@dataclass
class Network:
    """What lies between an export and a server."""

    url: str
    proxies: list[str] = field(default_factory=list)

    def connect(self, listen: str, upstream: str) -> int:
        """A way to the server; gives the port at which it begins."""
        name = f"way-{free_port()}-{len(self.proxies)}"
        made = self._ask("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream, "enabled": True})
        self.proxies.append(name)
        return int(made["listen"].rpartition(":")[2])

    def spoil(self, kind: str, to: str = "upstream", toxicity: float = 1.0, **attributes: int) -> None:
        """Add a toxic to every way, and to the connections that are open already."""
        toxic = {"type": kind, "stream": to, "toxicity": toxicity, "attributes": attributes}
        for name in self.proxies:
            self._ask("POST", f"/proxies/{name}/toxics", toxic)

    def heal(self) -> None:
        """Take all toxics away."""
        for name in self.proxies:
            for toxic in self._ask("GET", f"/proxies/{name}/toxics"):
                self._ask("DELETE", f"/proxies/{name}/toxics/{toxic['name']}")

    def close(self) -> None:
        for name in self.proxies:
            self._ask("DELETE", f"/proxies/{name}")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            found = response.read()
        return json.loads(found) if found else None


def moved(place: Place, host: str, port: int) -> dict[str, Any]:
    """The options of a place whose server is reached at another address."""
    old, options = port_of(place), dict(place.options)
    if "port" in options:
        options |= {"host": host, "port": port}
    else:
        options["host"] = options["host"].replace(f"127.0.0.1:{old}", f"{host}:{port}")
    if "known_hosts" in options:
        known = Path(options["known_hosts"])
        fresh = known.with_name(f"known-{port}")
        fresh.write_text(known.read_text().replace(f"[127.0.0.1]:{old} ", f"[{host}]:{port} "))
        options["known_hosts"] = str(fresh)
    return options


@pytest.fixture
def network(place: Place, toxiproxy: str) -> Iterator[Network]:
    """The place with toxiproxy before it. `place.made` is what it was: tests look there at what was delivered."""
    made = Network(toxiproxy)
    port = port_of(place)
    try:
        if place.data_ports:
            for each in (port, *place.data_ports):
                made.connect(f"{DATA_NEAR}:{each}", f"127.0.0.1:{each}")
            place.options = moved(place, DATA_NEAR, port)
        else:
            place.options = moved(place, NEAR, made.connect(f"{NEAR}:0", f"127.0.0.1:{port}"))
        yield made
    finally:
        made.close()


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a twentieth of the time between two tries, here and in the clients of services; how often they try is theirs."""
    wait = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: wait(seconds / 20))


class Watched:
    """A file that is being sent; `when` is called once, as soon as so many bytes of it have been read."""

    def __init__(self, file: Any, after: int, when: Callable[[], None]) -> None:
        self._file, self._left, self._when = file, after, when

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self._left -= len(data)
        if self._left < 0 and self._when is not None:
            when, self._when = self._when, None  # type: ignore[assignment]
            when()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def at_upload(monkeypatch: pytest.MonkeyPatch, place: Place, number: int, after: int, when: Callable[[], None]) -> None:
    """Calls `when` in the middle of the nth upload to a storage."""
    storage = type(place.storage())
    put, seen = storage.put, []

    def counting(self: Any, name: str, file: Any, content: Any) -> Any:
        seen.append(name)
        return put(self, name, Watched(file, after, when) if len(seen) == number else file, content)

    monkeypatch.setattr(storage, "put", counting)


class Restartable:
    """A server that can be killed, with everything that it has started, and started again with the same data."""

    def __init__(self, command: list[str], ready: Callable[[], bool], log: Path, env: dict[str, str] | None = None) -> None:
        self._given = command, ready, log, env
        self._stack = ExitStack()
        self._timer = threading.Timer(0, self.start)
        self.killed = 0
        self.start()

    def start(self) -> None:
        self._process = self._stack.enter_context(serving(*self._given))

    def kill(self) -> None:
        self.killed += 1
        for pid in (*descendants(self._process.pid), self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(20)

    def kill_and_start(self, after: float) -> None:
        """It is back after so many seconds."""
        self.kill()
        self._timer = threading.Timer(after, self.start)
        self._timer.start()

    def back(self) -> None:
        """Wait until it is back, or bring it back."""
        if self._timer.ident is not None:
            self._timer.join()
        if self._process.poll() is not None:
            self.start()

    def close(self) -> None:
        self._timer.cancel()
        self._stack.close()


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, those that they have started first."""
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [found for child in children for found in (*descendants(child), child)]
