"""A service that answers as the storage of Scrapy Cloud does, as far as that is known from its documents and its client.

It knows keys and what projects they may see, collections of all types (records in the order of their keys, with the time of
their writing), items of jobs, bodies in gzip, answers in msgpack and JSON lines. It can be made to refuse requests, to break
answers off in the middle, to give fewer records than asked for, and to be away for a while.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from exporters_beam.systems import scrapy_cloud

KEY = "5ecretkey"

MOST = 1 << 20
"""Bytes of an item at most."""

Given = dict[str, list[str]]


class Service:
    def __init__(self) -> None:
        self.keys: dict[str, set[str]] = {KEY: {"78"}}
        self.collections: dict[tuple[str, str, str], dict[str, tuple[int, dict[str, Any]]]] = {}
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.now = 1_441_940_400_000
        self.asked: list[tuple[str, str]] = []
        self.refusals: list[tuple[int, str, dict[str, str]]] = []
        """What the next requests are answered with: status, text, headers."""
        self.breaks = 0
        """So many of the next answers with records break off in the middle."""
        self.short = 0
        """So many records fewer than asked for are in each answer."""
        self.before: Callable[[str, str], Any] = lambda method, path: None
        """Called with each request; what it gives is answered in its place: (status, text, headers)."""
        self.wrong: Callable[[dict[str, Any]], str] = lambda record: ""
        """What is wrong with a record that is to be stored; the whole request is refused with it."""
        self.lock = threading.Lock()
        self.server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Also again, at the same place."""
        handler = type("Handler", (_Handler,), {"service": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def put(self, name: str, records: Any, kind: str = "s", project: str = "78") -> None:
        """Store records as if they were sent, each a millisecond after the one before."""
        there = self.collections.setdefault((project, kind, name), {})
        for record in records:
            self.now += 1
            there[record["_key"]] = (self.now, {key: value for key, value in record.items() if key != "_key"})

    def stored(self, name: str, kind: str = "s", project: str = "78") -> list[dict[str, Any]]:
        """The records of a collection in the order of their keys."""
        there = self.collections.get((project, kind, name), {})
        return [{"_key": key, **there[key][1]} for key in sorted(there)]

    # What is asked

    def selected(self, where: tuple[str, str, str], given: Given) -> Iterator[tuple[str, int, dict[str, Any]]]:
        there = self.collections.get(where, {})
        start, after = given.get("start", [""])[0], given.get("startafter", [""])[0]
        startts, endts = (int(given.get(name, ["-1"])[0]) for name in ("startts", "endts"))
        prefixes, keys = tuple(given.get("prefix", ())), given.get("key")
        for key in sorted(there):
            written, value = there[key]
            if (start and key < start) or (not start and key <= after and after):
                continue
            if (prefixes and not key.startswith(prefixes)) or (keys is not None and key not in keys):
                continue
            if (startts >= 0 and written < startts) or (endts >= 0 and written >= endts):
                continue
            yield key, written, value

    def store(self, where: tuple[str, str, str], lines: list[bytes]) -> tuple[int, str]:
        """Lines before the one at fault are stored."""
        for line in lines:
            try:
                record = json.loads(line, parse_constant=lambda text: 1 / 0)
            except (ValueError, ZeroDivisionError):
                return 400, "Error parsing data, invalid JSON\n"
            key = record.get("_key") if isinstance(record, dict) else None
            if key is None:
                return 400, "Error parsing data, missing value for _key field\n"
            if not isinstance(key, str) or not key:
                return 400, "Error parsing data, invalid value for _key field\n"
            if len(line) > MOST:
                return 413, "Value exceeds max encoded size of 1 MiB\n"
            if wrong := self.wrong(record):
                return 400, wrong
            self.now += 1
            value = {name: member for name, member in record.items() if name != "_key"}
            self.collections.setdefault(where, {})[key] = (self.now, value)
        return 200, ""


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve()

    def serve(self) -> None:
        service, parts = self.service, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (self.headers.get("Content-Encoding") or "") == "gzip":
            body = gzip.decompress(body)
        service.asked.append((self.command, self.path))
        if (instead := service.before(self.command, self.path)) is not None:
            self.text(*instead)
            return
        with service.lock:
            refusal = service.refusals.pop(0) if service.refusals else None
        if refusal is not None:
            self.text(*refusal)
            return
        way = [unquote(part) for part in parts.path.strip("/").split("/")]
        given = parse_qs(parts.query)
        login = base64.b64decode((self.headers.get("Authorization") or "").removeprefix("Basic ")).decode()
        projects = service.keys.get(login.removesuffix(":"))
        if way == ["system", "ts"]:
            self.text(200, str(service.now))
        elif projects is None:
            self.text(401, "Authentication failed\n")
        elif len(way) < 2 or way[1] not in projects:
            self.text(403, "Access denied for project\n")
        elif way[0] == "items" and len(way) >= 4:
            self.items("/".join(way[1:4]), way[4:], given)
        elif way[0] == "collections":
            with service.lock:
                self.collections(way[1:], given, body)
        else:
            self.text(404, "Not Found\n")

    def items(self, job: str, rest: list[str], given: Given) -> None:
        found = self.service.jobs.get(job)
        if found is None:
            self.text(404, "Not Found\n")
        elif rest == ["stats"]:
            self.text(200, json.dumps({"counts": {}, "totals": {"input_values": len(found)}}))
        else:
            start = int(given.get("start", [f"{job}/0"])[0].rpartition("/")[2])
            if "startafter" in given:
                start = int(given["startafter"][0].rpartition("/")[2]) + 1
            self.give((({"_key": f"{job}/{start + n}"}, item) for n, item in enumerate(found[start:])), given)

    def collections(self, way: list[str], given: Given, body: bytes) -> None:
        service = self.service
        if way[1:] == ["list"]:
            there = [(kind, name) for project, kind, name in sorted(service.collections) if project == way[0]]
            self.text(200, "".join(json.dumps({"type": kind, "name": name}) + "\n" for kind, name in there))
            return
        if way[1:] == ["delete"] and self.command == "POST":
            for where in [where for where in service.collections if where[0] == way[0] and where[2] == given["name"][0]]:
                del service.collections[where]
            self.text(200, "")
            return
        where = (way[0], way[1], way[2])
        if self.command == "POST" and way[3:] == ["deleted"]:
            for key in map(json.loads, body.splitlines()):
                service.collections.get(where, {}).pop(key, None)
            self.text(200, "")
        elif self.command == "POST":
            self.text(*service.store(where, [line for line in body.split(b"\n") if line]))
        elif way[3:] == ["count"]:
            number = sum(1 for _ in service.selected(where, given))
            self.text(200, json.dumps({"count": number, "scanned": number}))
        elif way[3:]:
            found = service.collections.get(where, {}).get(way[3])
            if found is None:
                self.text(404, "Not Found\n")
            else:
                self.give(iter([({}, found[1])]), {})
        else:
            found = list(service.selected(where, given))
            self.give((({"_key": key, "_ts": written}, value) for key, written, value in found), given)

    def give(self, found: Iterator[tuple[dict[str, Any], dict[str, Any]]], given: Given) -> None:
        import msgpack

        service = self.service
        most = int(given.get("count", ["0"])[0])
        if most:
            found = itertools.islice(found, max(1, most - service.short))
        meta, bare = set(given.get("meta", ())), "nodata" in given
        packed = self.headers.get("Accept") == "application/x-msgpack"
        pack: Callable[[Any], bytes] = msgpack.packb if packed else lambda item: json.dumps(item).encode() + b"\n"
        data = [
            pack({**({} if bare else value), **{name: each for name, each in more.items() if name in meta}})
            for more, value in found
        ]
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-{'msgpack' if packed else 'jsonlines'}; charset=UTF-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        breaks = service.breaks > 0 and len(data) > 1
        if breaks:
            service.breaks -= 1
            data = [*data[: len(data) // 2], data[len(data) // 2][:-1]]
        text = b"".join(data)
        for at in range(0, len(text), 1 << 15):
            piece = text[at : at + (1 << 15)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if breaks:
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(b"0\r\n\r\n")

    def text(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service, which exports find by the variable of its client."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(scrapy_cloud, "FIRST_WAIT", 0.01)
    made = Service()
    monkeypatch.setenv("SHUB_STORAGE", made.url)
    yield made
    made.stop()
