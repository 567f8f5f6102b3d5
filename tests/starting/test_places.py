"""Places as users name them, and the sections of a config: no secret of a URL stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from exporters_beam import ConfigError
from exporters_beam.cli.main import main
from exporters_beam.starting.places import place_of

URLS: dict[str, tuple[str, dict[str, Any]]] = {
    "https://a.org/b.csv?page=2&format=csv": ("http", {"input": "https://a.org/b.csv?page=2&format=csv"}),
    "https://a.org/b.csv?t0k=S3CRET&page=2#x": ("http", {"input": "https://a.org/b.csv?t0k=${secret:env:URL_T0K}&page=2"}),
    "https://a.org/?S3CRET": ("http", {"input": "https://a.org/?${secret:env:URL_QUERY}"}),
    "HTTPS://S3CRET@a.org/${vars.a}": ("http", {"input": "https://${secret:env:HTTP_USER}@a.org/$${vars.a}"}),
    "http://me:S3CRET@a.org/": ("http", {"input": "http://${secret:env:HTTP_USER}:${secret:env:HTTP_PASSWORD}@a.org/"}),
    "https://a.org/?k=S3CRET&K=S3CRET2": ("http", {"input": "https://a.org/?k=${secret:env:URL_K}&K=${secret:env:URL_K_2}"}),
    "s3://b/in/day=1/": ("s3", {"bucket": "b", "prefix": "in/day=1/"}),
    "gs://b/in/*.jl": ("gcs", {"bucket": "b", "prefix": "in/", "pattern": r"(?:^|/)in/[^/]*\.jl$"}),
    "ftp://me:S3CRET@a.org/in": ("ftp",
        {"host": "a.org", "path": "/in", "ftp_user": "me", "ftp_password": "${secret:env:FTP_PASSWORD}"}),
    "sftp://me@a.org:22/in/*.csv": ("sftp",
        {"host": "a.org", "path": "/in/", "port": 22, "sftp_user": "me", "pattern": r"(?:^|/)in/[^/]*\.csv$"}),
}  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_url_becomes_a_reader(url: str) -> None:
    place = place_of(url)
    assert (place.reader, place.options) == URLS[url]
    assert "S3CRET" not in repr(place)
    assert ("S3CRET" in json.dumps(place.real)) == ("S3CRET" in url)


def test_keys_have_no_place_in_the_url_of_a_bucket() -> None:
    with pytest.raises(ConfigError, match="s3:// has no place for a key or a password"):
        place_of("s3://AKIA:S3CRET@b/x")


@pytest.fixture
def web() -> Iterator[str]:
    """A server that gives one file to those who know its token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/shop.csv?token=S3CRET&page=1":
                self.send_error(404)
                return
            data = b"id;name\n1;Cup\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_of_a_web_server(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "c.yaml", "--from", f"{web}/shop.csv?token=S3CRET&page=1"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "note: the config reads URL_TOKEN from the environment; set it to what the URL has there\n"
    assert "S3CRET" not in Path("c.yaml").read_text()
    monkeypatch.setenv("URL_TOKEN", "S3CRET")
    assert main(["validate", "c.yaml"]) == 0
    assert main(["preview", "c.yaml"]) == 0
    assert '  {"id": "1", "name": "Cup"}\n' in capsys.readouterr().out


def test_a_server_that_refuses_and_one_that_is_not_there(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "c.yaml", "--from", f"{web}/no.csv?t0k=S3CRET"]) == 1
    told = capsys.readouterr().err
    assert "there is nothing at http://127.0.0.1" in told
    assert main(["init", "c.yaml", "--from", "http://S3CRET:S3CRET@127.0.0.1:1/no.csv"]) == 1
    told += capsys.readouterr().err
    assert "the server cannot be reached (Connection refused)" in told
    assert not re.search("S3CRET|Traceback", told)
    assert not Path("c.yaml").exists()
