"""Reading from a web server: one that knows ranges, one that does not, one that breaks off, one that refuses."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

import exporters_beam
from exporters_beam import ConfigError, SourceError
from exporters_beam.components.options import build
from exporters_beam.storages.http import HttpReader

from helpers import jsonl

RECORDS = [{"_key": n, "text": "x" * 50} for n in range(5000)]


class Web:
    """Files of a web server. `ranges`: it knows of them; `breaks`: how many answers break off in the middle."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges, self.breaks, self.status, self.lengths = True, 0, 0, True
        self.proof, self.modified, self.before_the_end = "ETag", "Sun, 29 Nov 2026 10:00:00 GMT", lambda: None
        self.asked: list[tuple[str, str]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                web.asked.append((self.command, self.headers.get("Range") or ""))
                data = web.files.get(self.path)
                if web.status or data is None:
                    self.send_error(web.status or 404)
                    return
                start = 0
                if web.ranges and self.headers.get("Range"):
                    start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                else:
                    self.send_response(200)
                if web.lengths is True or (web.lengths == "GET" and self.command == "GET"):
                    self.send_header("Content-Length", str(len(data) - start))
                elif web.lengths:
                    self.send_header("Content-Length", "0")
                if web.proof == "ETag":
                    self.send_header("ETag", f'"{hash(data)}"')
                elif web.proof:
                    self.send_header("ETag", 'W/"always"')
                    self.send_header("Last-Modified", web.modified)
                self.end_headers()
                if self.command == "GET":
                    rest = data[start:]
                    if web.breaks and len(rest) > 1000:
                        web.breaks -= 1
                        rest = rest[: len(rest) // 2]
                    self.wfile.write(rest[:-1])
                    web.before_the_end()
                    self.wfile.write(rest[-1:])

            do_GET = do_HEAD = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def web(monkeypatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Web()
    thread = Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def read(web: Web, tmp_path) -> Callable[..., list]:
    def read(*paths: str, **more) -> list:
        exporters_beam.run({
            "reader": {"name": "http", "options": {"input": [web.url + path for path in paths], **more}},
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/p-", "compression": "none"}},
        })  # fmt: skip
        return [json.loads(line) for line in (tmp_path / "out/p-0000.jl").read_text().splitlines()]

    return read


@pytest.mark.parametrize("ranges", [True, False])
def test_files_are_read_whole_and_in_order(web, read, ranges, monkeypatch):
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 100_000)
    web.ranges = ranges
    web.files = {"/a.jl": jsonl(RECORDS[:3000]), "/ab.jl.gz": gzip.compress(jsonl(RECORDS[3000:]))}
    assert read("/ab.jl.gz", "/a.jl") == RECORDS
    assert any(asked for _, asked in web.asked)


def test_a_connection_that_breaks_is_taken_up_again(web, read):
    web.files["/a.jl.gz"] = gzip.compress(jsonl(RECORDS), 1)
    web.breaks = 3
    assert read("/a.jl.gz") == RECORDS


def test_a_server_that_says_of_a_file_that_it_is_empty_until_it_is_asked_for_it(web, read):
    web.files["/a.jl.gz"] = gzip.compress(jsonl(RECORDS))
    web.lengths = "GET"
    assert read("/a.jl.gz") == RECORDS


@pytest.mark.parametrize(
    ("proof", "change"), [("ETag", "content"), ("weak", "time"), ("weak", "size"), ("", "size"), ("weak", "gone")]
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changes_while_it_is_read_ends_the_export(web, read, proof, change, ranges, monkeypatch):
    """It changes before the server has sent the end: what is sent may be both, half and half."""
    web.proof, web.ranges = proof, ranges
    web.files["/a.jl"] = jsonl(RECORDS)

    def alter() -> None:
        if change == "gone":
            web.files.pop("/a.jl", None)
        elif change == "time":
            web.modified = "Sun, 29 Nov 2026 10:00:01 GMT"
        else:
            web.files["/a.jl"] = jsonl(RECORDS)[:-10] + (b" " * 9 if change == "content" else b"") + b"\n"

    web.before_the_end = alter
    with pytest.raises(SourceError, match=r"/a\.jl changed while the export ran"):
        read("/a.jl")


def test_a_file_whose_size_is_not_told(web, read):
    web.files["/a.jl.gz"] = gzip.compress(jsonl(RECORDS))
    web.lengths = False
    assert read("/a.jl.gz") == RECORDS


@pytest.mark.parametrize(
    ("status", "why"),
    [(0, "option input: there is nothing at"), (401, "option headers: .* 401"), (403, "403"), (400, "400")],
)
def test_what_is_refused_is_told(web, read, status, why):
    web.status = status
    with pytest.raises(SourceError, match=why):
        read("/nothing.jl")


def test_a_server_in_trouble_is_asked_again(web, read, monkeypatch):
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        web.status = 0

    monkeypatch.setattr("exporters_beam.components.retry.time.sleep", pause)
    web.files["/a.jl"] = jsonl(RECORDS)
    web.status = 503
    assert read("/a.jl") == RECORDS and len(pauses) == 1


def test_without_retries_it_is_asked_once(web, tmp_path):
    """One 503, or one answer that breaks off, ends the export."""
    web.files["/a.jl"] = jsonl(RECORDS)
    config = {
        "reader": {"name": "http", "options": {"input": f"{web.url}/a.jl"}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/p-"}},
        "exporter_options": {"disable_retries": True},
    }
    web.status = 503
    with pytest.raises(SourceError, match="503"):
        exporters_beam.run(config)
    assert web.asked == [("HEAD", "")]
    web.status, web.breaks = 0, 1
    with pytest.raises(SourceError, match=r"/a\.jl: .*(ended|broke)"):
        exporters_beam.run(config)
    assert [method for method, _ in web.asked].count("GET") == 1


def test_options_are_checked():
    for options, why in (
        ({"input": []}, "the list is empty"),
        ({"input": "ftp://x"}, "begins with http"),
        ({"input": "http://x", "headers": {"A": "b\r\nc"}}, "headers: A"),
    ):
        with pytest.raises(ConfigError, match=why):
            build(HttpReader, options)
