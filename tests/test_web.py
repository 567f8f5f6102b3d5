"""Requests to web servers: what hands out credentials is never asked, and secrets go to nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam import SourceError, web
from exporters_beam.reporting.report import Report

METADATA = [
    "169.254.169.254", "169.254.1.1", "2852039166", "0xA9FEA9FE", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "169.16689662",
    "169.254.169.254.", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::169.254.169.254]", "[64:ff9b::169.254.169.254]",
    "[2002:a9fe:a9fe::1]", "[fe80::1]", "[fe80::1%25eth0]", "[fd00:ec2::254]", "[fd20:ce::254]", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "%31%36%39.254.169.254",
]  # fmt: skip


@pytest.mark.parametrize("host", METADATA)
def test_addresses_of_metadata_services_are_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(web.Refused, match="metadata services are not called"):
        web.ask(f"http://{host}/latest", "GET", {}, timeout=1)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "example.org", "8.8.8.8", "[::1]", "[2001:db8::1]", "fe80.org"])
def test_other_addresses_are_not(host: str) -> None:
    web.refuse_metadata(host)


class Server:
    """Redirects to `to` where that is given, and keeps the headers of every request."""

    def __init__(self) -> None:
        self.to = ""
        self.heads: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                server.heads.append(dict(self.headers))
                data = b'{"id": 1}\n'
                self.send_response(302 if server.to else 200)
                if server.to:
                    self.send_header("Location", server.to + self.path)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            do_GET = do_HEAD = answer

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def end(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    first, second = Server(), Server()
    yield first, second
    first.end()
    second.end()


def reading(url: str | list[str], **options: Any) -> dict[str, Any]:
    return {"name": "http", "options": {"input": url, **options}}


def test_headers_go_to_the_first_origin_only(servers: tuple[Server, Server], export: Callable[..., Report]) -> None:
    first, second = servers
    first.to = second.url
    headers = {"Authorization": "Bearer hidden-2f90c1", "X-Api-Key": "hidden-2f90c1"}
    assert export(reading(f"{first.url}/a.jl", headers=headers)).read == 1
    assert all(head["Authorization"] == "Bearer hidden-2f90c1" and head["X-Api-Key"] == "hidden-2f90c1" for head in first.heads)
    assert second.heads and not any("hidden-2f90c1" in str(head) for head in second.heads)
    assert {head["User-Agent"] for head in second.heads} == {"exporters-beam"}


def test_headers_go_along_to_the_same_origin(servers: tuple[Server, Server]) -> None:
    first, _ = servers
    first.to = "/moved"
    with pytest.raises(OSError, match="redirect"):
        web.ask(f"{first.url}/a.jl", "GET", {}, secret={"X-Key": "hidden-2f90c1"}, timeout=5)
    assert len(first.heads) > 1 and all(head["X-Key"] == "hidden-2f90c1" for head in first.heads)


def test_a_user_in_the_url_goes_to_the_first_origin_only(servers: tuple[Server, Server], export: Callable[..., Report]) -> None:
    first, second = servers
    first.to = second.url
    report = export(reading(f"{first.url.replace('//', '//me:p%40ss@')}/a.jl"))
    assert {head["Authorization"] for head in first.heads} == {"Basic bWU6cEBzcw=="}
    assert not any("Authorization" in head for head in second.heads)
    assert report.units[0]["name"] == f"{first.url.replace('//', '//me:***@')}/a.jl"


@pytest.mark.parametrize("target", ["file:///etc/passwd?", "ftp://127.0.0.1/x", "gopher://x", "http://169.254.169.254"])
def test_redirects_to_elsewhere_are_refused(servers: tuple[Server, Server], export: Callable[..., Report], target: str) -> None:
    first, _ = servers
    first.to = target
    with pytest.raises(SourceError, match=r"the server is not asked: |Redirection to url .* is not allowed") as caught:
        export(reading(f"{first.url}/a.jl?token=hidden-2f90c1"))
    assert "hidden-2f90c1" not in str(caught.value) and "?token=***" in str(caught.value)


def test_redirects_from_https_to_http_are_refused() -> None:
    request = web._Request("https://example.org/a", None, {}, method="GET")
    with pytest.raises(web.Refused, match=r"from https to http, at example\.org"):
        web._Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_a_name_that_leads_to_a_metadata_service_is_not_asked(
    servers: tuple[Server, Server], export: Callable[..., Report], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """127.0.0.1 in the place of such an address, which cannot be listened to here: what counts is where a connection leads."""
    real = web.refuse_metadata
    monkeypatch.setattr(web, "refuse_metadata", lambda host: real("169.254.169.254" if host == "127.0.0.1" else host))
    first, _ = servers
    with pytest.raises(exporters_beam.ExportError, match="the server is not asked: link-local addresses"):
        export(reading(f"{first.url.replace('127.0.0.1', 'localhost')}/a.jl"))
    assert first.heads == []


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("http://a.org/für.jl", "http://a.org/f%C3%BCr.jl"),
        ("http://a.org/f%C3%BCr.jl", "http://a.org/f%C3%BCr.jl"),
        ("http://a.org/two words.jl", "http://a.org/two%20words.jl"),
        ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
        ("http://me:p@bücher.example:81/a", "http://me:p@xn--bcher-kva.example:81/a"),
        ("http://a.org/?q=é&r=%20#ü", "http://a.org/?q=%C3%A9&r=%20#%C3%BC"),
        ("http://[::1]:80/é", "http://[::1]:80/%C3%A9"),
        ("http://a.org/日本.jl", "http://a.org/%E6%97%A5%E6%9C%AC.jl"),
    ],
)
def test_addresses_that_are_not_ascii(address: str, asked: str) -> None:
    assert web.encoded(address) == asked
    assert web.encoded(asked) == asked


@pytest.mark.parametrize(
    "address", ["http://a.org/a\nb", "http://a.org/a\x00", "http://" + "ü" * 80 + ".org/", "http://[::1/ü"]
)
def test_addresses_that_cannot_be_asked(address: str) -> None:
    with pytest.raises(web.Refused, match="address"):
        web.encoded(address)


def test_files_of_urls_that_are_not_ascii_are_read(
    servers: tuple[Server, Server], export: Callable[..., Report], tmp_path: Path
) -> None:
    first, _ = servers
    report = export(reading([f"{first.url}/für zwei.jl", f"{first.url}/日本.jl"]))
    assert report.read == 2
    assert [unit["name"] for unit in report.units] == [f"{first.url}/für zwei.jl", f"{first.url}/日本.jl"]
