"""Exports to a local service with CloudSearch's one call, also by the class path and the options of the old system."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.errors import ExportError

from helpers import jsonl

BOTOCORE = 'there is no botocore; get it with: pip install "exporters-beam[cloudsearch]"'

RECORDS = [{"_key": f"k{n}", "text": "x" * 100_000} for n in range(120)]


class Service(ThreadingHTTPServer):
    """Keeps documents by their ids; answers with what stands in `answers` first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents: dict[str, Any] = {}
        self.requests: list[tuple[int, str]] = []
        self.answers: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if self.path != "/2013-01-01/documents/batch" or self.headers["Content-Type"] != "application/json":
            status = 404
        if status == 200:
            self.server.requests.append((len(body), self.headers.get("Authorization", "")))
            self.server.documents.update((each["id"], each["fields"]) for each in json.loads(body) if each["type"] == "add")
        answer = json.dumps({"status": "success" if status == 200 else "error", "message": "because"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()


def config(tmp_path: Path, service: Service, records: list[Any], **options: Any) -> dict[str, Any]:
    (tmp_path / "in.jl").write_bytes(jsonl(records))
    return {
        "reader": {"name": "exporters.readers.FSReader", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": "exporters.writers.cloudsearch_writer.CloudSearchWriter",
                   "options": {"endpoint_url": service.url + "/", **options}},
        "staging": str(tmp_path / "staging"),
    }  # fmt: skip


def test_an_old_config_runs(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters_beam.engine.sending.FIRST_WAIT", 0.01)
    service.answers = [503, 200, 429]
    told = config(tmp_path, service, RECORDS)
    told["exporter_options"] = {"formatter": {"name": "exporters.export_formatter.JsonExportFormatter", "options": {}}}
    report = exporters_beam.run(told)
    assert report.written == 120 and service.documents == {record["_key"]: record for record in RECORDS}
    assert all(size < 5_000_000 for size, _ in service.requests) and not any(signed for _, signed in service.requests)


def test_what_the_domain_does_not_take(tmp_path: Path, service: Service) -> None:
    with pytest.raises(ExportError, match=r"record 2: writer: id_field: _key is no text and no integer"):
        exporters_beam.run(config(tmp_path, service, [{"_key": 1}, {"text": "no key"}]))


def test_keys_that_the_domain_does_not_know(tmp_path: Path, service: Service) -> None:
    pytest.importorskip("botocore", reason=BOTOCORE)
    service.answers = [403]
    with pytest.raises(ExportError, match=r"access_key: http://127.* said 403: .*because") as error:
        exporters_beam.run(config(tmp_path, service, [{"_key": 1}], access_key="AKIA1234", secret_key="5ecret-5ecret"))
    assert "5ecret" not in str(error.value)


def test_requests_are_signed_where_keys_are_given(tmp_path: Path, service: Service) -> None:
    pytest.importorskip("botocore", reason=BOTOCORE)
    told = config(tmp_path, service, [{"_key": 1}], access_key="AKIA1234", secret_key="5ecret-5ecret", region="eu-west-1")
    exporters_beam.run(told)
    assert "Credential=AKIA1234/" in service.requests[0][1] and "/eu-west-1/cloudsearch/" in service.requests[0][1]
