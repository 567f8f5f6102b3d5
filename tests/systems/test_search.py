"""Exports to OpenSearch and, by its own client, to what calls itself Elasticsearch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opensearch_server import Node, elasticsearch, free_port, opensearch  # noqa: F401

import exporters_beam
from exporters_beam.errors import ExportError

from helpers import jsonl

pytestmark = pytest.mark.servers

PRODUCTS = [{"sku": f"s{n:04d}", "price": n + 0.5, "seller": {"town": "Århus"}} for n in range(2500)]


def config(
    tmp_path: Path, url: str, index: str, records: list[Any], name: str = "opensearch", **options: Any
) -> dict[str, Any]:
    (tmp_path / "in.jl").write_bytes(jsonl(records))
    given = {"hosts": [url], "index": index, "items_per_buffer_write": 500, "create": {}, **options}
    return {"reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}}, "writer": {"name": name, "options": given},
            "staging": str(tmp_path / "staging")}  # fmt: skip


@pytest.mark.parametrize("name", ["opensearch", "elasticsearch"])
def test_documents_are_there_by_their_key_once(tmp_path: Path, opensearch: Node, elasticsearch: str, name: str) -> None:  # noqa: F811
    url = opensearch.url if name == "opensearch" else elasticsearch
    told = config(tmp_path, url, f"products-{name}", PRODUCTS, name, key="sku")
    report = exporters_beam.run(told)
    assert opensearch.documents(f"products-{name}") == {record["sku"]: record for record in PRODUCTS}
    assert (report.written, report.targets[0]["batches"]) == (2500, 5)
    assert report.targets[0]["name"] == f"{name}://{url.partition('://')[2]}/products-{name}"
    exporters_beam.run(told)
    assert len(opensearch.documents(f"products-{name}")) == 2500


def test_without_a_key_every_record_is_a_document_and_a_repetition_adds_none(tmp_path: Path, opensearch: Node) -> None:  # noqa: F811
    told = config(tmp_path, opensearch.url, "plain", [{"a": 1}] * 30, items_per_buffer_write=10)
    for _ in range(2):
        exporters_beam.run(told)
        assert list(opensearch.documents("plain").values()) == [{"a": 1}] * 30


def test_refused_documents_become_letters_with_the_answer(tmp_path: Path, opensearch: Node) -> None:  # noqa: F811
    records = [{"sku": "a", "price": 1}, {"sku": "b", "price": "dear"}, {"price": 2}, {"sku": "d", "price": 3}]
    create = {"mappings": {"properties": {"price": {"type": "double"}}}}
    told = config(tmp_path, opensearch.url, "strict", records, key="sku", create=create)
    with pytest.raises(ExportError, match=r"in\.jl: record 3: writer: key: sku is no text of 1 to 512 bytes and no integer"):
        exporters_beam.run(told)
    letters = tmp_path / "letters.jl"
    report = exporters_beam.run({**told, "on_error": {"action": "dead_letter", "file": str(letters)}})
    assert sorted(opensearch.documents("strict")) == ["a", "d"] and report.written == 2
    messages = {letter["number"]: letter["message"] for letter in map(json.loads, letters.read_text().splitlines())}
    assert "mapper_parsing_exception: failed to parse field [price] of type [double]" in messages[2]


def test_a_newer_document_is_kept(tmp_path: Path, opensearch: Node) -> None:  # noqa: F811
    for text, version in (("new", 7), ("old", 3)):
        exporters_beam.run(config(tmp_path, opensearch.url, "versions", [{"id": 1, "v": version, "text": text}],
                                  key="id", version_field="v"))  # fmt: skip
    assert opensearch.documents("versions")["1"]["text"] == "new"


def test_what_is_wrong_is_one_sentence(tmp_path: Path, opensearch: Node) -> None:  # noqa: F811
    nobody = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ExportError, match=r"hosts: http://127.0.0.1:.* does not answer: "):
        exporters_beam.run(config(tmp_path, nobody, "x", PRODUCTS[:1]))
    told = config(tmp_path, opensearch.url, "missing", PRODUCTS[:1])
    del told["writer"]["options"]["create"]
    with pytest.raises(ExportError, match=r"index: there is no index missing at http://127.0.0.1"):
        exporters_beam.run(told)
    with pytest.raises(ExportError, match=r"index: .* said 400: .*invalid_index_name_exception"):
        exporters_beam.run(config(tmp_path, opensearch.url, "Upper", PRODUCTS[:1]))


def test_killed_again_and_again_and_a_server_that_restarts(tmp_path: Path, opensearch: Node) -> None:  # noqa: F811
    records = [{"sku": n, "text": "x" * 200} for n in range(9000)]
    told = config(tmp_path, opensearch.url, "killed", records, key="sku", items_per_buffer_write=100)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(told))
    command = [sys.executable, "-m", "exporters_beam", "run", str(path), "--resume", "--workers", "1"]
    staged = tmp_path / "staging"
    for wanted in (5, 30):
        process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
        while len(list(staged.glob(".exporters/*/staged/sent-*"))) < wanted and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
    while len(list(staged.glob(".exporters/*/staged/sent-*"))) < 50 and process.poll() is None:
        time.sleep(0.01)
    opensearch.stop()
    threading.Thread(target=opensearch.start).start()
    said = process.communicate(timeout=180)[1]
    assert process.returncode == 0, said
    assert "trying again" in said
    assert opensearch.ask("GET", "/killed/_count")["count"] == 9000
