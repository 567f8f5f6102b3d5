"""A server of SQS in this process: moto's, before which a test may answer itself, and which tells what it was asked."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REGION = "eu-west-1"
SECRET = "tea-at-five-oclock"

_count = iter(range(10**6))


class Sqs:
    """The server. `answer(action, request)` gives None, or the status and the body to answer with."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.answer: Callable[[str, Any], tuple[int, Any] | None] = lambda action, request: None
        self.asked: list[tuple[str, Any]] = []
        self._alone = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.client = self._client()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        request = json.loads(body or b"{}") if action else {}
        self.asked.append((action, request))
        own = self.answer(action, request)
        if own is not None:
            start_response(f"{own[0]} told", [("Content-Type", "application/x-amz-json-1.0")])
            return [json.dumps(own[1]).encode()]
        with self._alone:  # moto gives the same message to several who ask at the same time.
            return self._moto({**environ, "wsgi.input": io.BytesIO(body)}, start_response)

    def _client(self) -> Any:
        import boto3

        return boto3.client("sqs", endpoint_url=self.url, region_name=REGION, aws_access_key_id="key",
                            aws_secret_access_key=SECRET)  # fmt: skip

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()

    @property
    def options(self) -> dict[str, Any]:
        return {"host": self.url, "aws_access_key_id": "key", "aws_secret_access_key": SECRET, "aws_region": REGION}

    def queue(self, suffix: str = "", **attributes: str) -> str:
        """The name of a new queue."""
        name = f"queue-{next(_count)}{suffix}"
        fifo = {"FifoQueue": "true"} if suffix == ".fifo" else {}
        self.client.create_queue(QueueName=name, Attributes={**fifo, **attributes})
        return name

    def address(self, queue: str) -> str:
        return self.client.get_queue_url(QueueName=queue)["QueueUrl"]

    def send(self, queue: str, bodies: list[Any], **more: Any) -> None:
        url = self.address(queue)
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        for at in range(0, len(texts), 10):
            entries = [{"Id": str(n), "MessageBody": text, **more} for n, text in enumerate(texts[at : at + 10])]
            if queue.endswith(".fifo"):
                for n, entry in enumerate(entries):
                    entry.setdefault("MessageGroupId", "g")
                    entry["MessageDeduplicationId"] = f"{next(_count)}-{n}"
            self.client.send_message_batch(QueueUrl=url, Entries=entries)

    def left(self, queue: str) -> tuple[int, int]:
        """The messages that can be received, and those that somebody holds."""
        told = self.client.get_queue_attributes(QueueUrl=self.address(queue), AttributeNames=["All"])["Attributes"]
        return int(told["ApproximateNumberOfMessages"]), int(told["ApproximateNumberOfMessagesNotVisible"])

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """All messages, which are deleted with that."""
        url, found = self.address(queue), []
        while given := self.client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"],
                                                   MessageAttributeNames=["All"]).get("Messages"):  # fmt: skip
            found += given
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(given)]
            self.client.delete_message_batch(QueueUrl=url, Entries=entries)
        return found

    def let_go(self, queue: str) -> None:
        """What somebody holds can be received by others, as when its time is over."""
        from moto.sqs.models import sqs_backends

        for backend in sqs_backends.values():
            for region in backend.values():
                if queue in region.queues:
                    for message in region.queues[queue]._messages:
                        message.visible_at = 0
                    region.queues[queue].pending_messages.clear()
                    region.queues[queue].pending_message_groups.clear()


@pytest.fixture(scope="session")
def sqs_server() -> Iterator[Sqs]:
    pytest.importorskip("moto.server", reason="get it with: pip install 'moto[server,sqs]'")
    pytest.importorskip("boto3", reason="get it with: pip install 'exporters-beam[sqs]'")
    server = Sqs()
    yield server
    server.stop()


@pytest.fixture
def sqs(sqs_server: Sqs) -> Iterator[Sqs]:
    sqs_server.asked.clear()
    yield sqs_server
    sqs_server.answer = lambda action, request: None


def run_in_process(folder: Path, config: Any, *more: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """The command line on a config, in a process of its own; `before` is code that is run there first."""
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    code = f"{before}\nimport sys\nfrom exporters_beam.__main__ import main\nsys.exit(main({['run', str(path), *more]!r}))"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (os.getcwd(), os.environ.get("PYTHONPATH"))))}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environ, timeout=120)


def resumed(config: Any) -> Any:
    """The config, for a run that goes on."""
    return {**config, "exporter_options": {"resume": True}}


KILL = """
import os, signal
def killed(module, name, before, after=0):
    import importlib
    target = importlib.import_module(module)
    *path, name = name.split(".")
    for part in path:
        target = getattr(target, part)
    real, calls = getattr(target, name), []
    def stand_in(*args, **kwargs):
        calls.append(1)
        if before and len(calls) > after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*args, **kwargs)
        if len(calls) > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(target, name, stand_in)
"""
"""Code that kills its process where a function is called."""
