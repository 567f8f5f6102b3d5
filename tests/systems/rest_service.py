"""An HTTP API of JSON that can be made to misbehave: it pages in every way, and takes records by Idempotency-Key."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from exporters_beam.systems import rest_api

TOKEN = "t0ken-of-the-api"


class Api:
    """GET /pages/WAY gives `records`, POST /records takes some."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.size = 100
        self.taken: dict[str, list[Any]] = {}
        """What was taken, by Idempotency-Key, in order."""
        self.asked: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.before: Callable[[str, str], Any] = lambda method, path: None
        """Called with each request; what it gives is answered in its place: (status, text, headers); "break" breaks off."""
        self.lost = 0
        """So many of the next requests with records are taken, and the answer is lost."""
        self.wrong: Callable[[Any], str] = lambda record: ""
        self.now: float | None = None
        """The time by its clock, in seconds since 1970; None: by that of the machine."""
        self.counts_in = (True, False)
        """Whether records that were changed at the time `since`, and at the time `until`, are between them."""
        self.tells = False
        """Whether the answer names the records that are wrong; else the request is refused."""
        api = self
        handler = type("Handler", (_Handler,), {"api": api})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def selected(self, given: dict[str, str]) -> list[Any]:
        """The records, or those that were changed, `at`, between two times."""
        since, until = (_seconds(given[name]) if name in given else None for name in ("since", "until"))
        first, last = self.counts_in
        return [
            record for record in self.records
            if since is None or since < _seconds(record["at"]) or (first and since == _seconds(record["at"]))
            if until is None or until > _seconds(record["at"]) or (last and until == _seconds(record["at"]))
        ]  # fmt: skip

    def stored(self) -> list[Any]:
        return [record for records in self.taken.values() for record in records]


def _seconds(value: Any) -> float:
    """A time, written as in JSON or as a number."""
    if re.fullmatch(r"[0-9.]+", str(value)):
        return float(value) / (1000 if float(value) > 1e11 else 1)
    return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()


class _Handler(BaseHTTPRequestHandler):
    api: Api
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.api.asked.append((self.command, self.path, body, dict(self.headers)))
        instead = self.api.before(self.command, self.path)
        if isinstance(instead, tuple):
            self.answer(*instead)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, '{"error": "who are you?"}')
        elif self.command == "GET":
            self.page(instead == "break")
        else:
            self.take(body)

    do_GET = do_POST = do_PUT = do_PATCH = serve

    def page(self, breaks: bool) -> None:
        parts = urlsplit(self.path)
        way = parts.path.rpartition("/")[2]
        given = {name: values[0] for name, values in parse_qs(parts.query).items()}
        size = int(given.get("limit", self.api.size))
        names = {"page": "page", "offset": "offset", "cursor": "after", "next_url": "at", "link": "at", "none": "at"}
        at = int(given.get(names[way], "1" if way == "page" else "0"))
        at = (at - 1) * size if way == "page" else at
        there = self.api.selected(given)
        found = there[at : at + size]
        more = at + size if at + size < len(there) else None
        told: dict[str, Any] = {"data": {"items": found}, "meta": {}}
        headers = {}
        if more is not None and way == "cursor":
            told["meta"] = {"next": str(more)}
        if more is not None and way == "next_url":
            told["meta"] = {"next": f"/pages/next_url?at={more}"}
        if more is not None and way == "link":
            headers["Link"] = f'</pages/link?at=0>; rel="first", <{self.api.url}/pages/link?at={more}>; rel="next"'
        self.answer(200, json.dumps(told), headers, breaks)

    def take(self, body: bytes) -> None:
        api = self.api
        if self.headers["Content-Type"] == "application/x-ndjson":
            records = [json.loads(line) for line in body.splitlines()]
        else:
            records = json.loads(body)
            records = records.get("items", [records]) if isinstance(records, dict) else records
        wrong = [{"index": n, "message": api.wrong(record)} for n, record in enumerate(records) if api.wrong(record)]
        if wrong and not api.tells:
            self.answer(422, json.dumps({"error": wrong[0]["message"]}))
            return
        known = self.headers.get("Idempotency-Key") or str(len(api.taken))
        api.taken.setdefault(known, [record for record in records if not api.wrong(record)])
        if api.lost:
            api.lost -= 1
            self.close_connection = True
            self.connection.close()
            return
        self.answer(200, json.dumps({"errors": wrong}))

    def answer(self, status: int, text: str, headers: dict[str, str] | None = None, breaks: bool = False) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if breaks else data)
        if breaks:
            self.close_connection = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.api.now if timestamp is None else timestamp)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API; its token is in the variable TOKEN."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setattr(rest_api, "FIRST_WAIT", 0.01)
    made = Api()
    yield made
    made.server.shutdown()
    made.server.server_close()
