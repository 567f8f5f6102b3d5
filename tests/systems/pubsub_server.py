"""A server of Pub/Sub for tests: Go's own fake, behind a proxy in this process by which a test may answer itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import free_port
from servers import CACHE, alone

SOURCE = Path(__file__).parent / "pstest"
BINARY = CACHE / "bin" / "pubsub-server"

_count = iter(range(10**6))


def program() -> str:
    """The program, built once into the user's cache."""
    with alone("pubsub"):
        if not BINARY.exists():
            if shutil.which("go") is None:
                pytest.skip("there is no go, which builds the server of Pub/Sub: install Go, e.g. apt-get install golang")
            env = {**os.environ, "GOMODCACHE": str(CACHE / "go" / "mod"), "GOCACHE": str(CACHE / "go" / "build")}
            built = subprocess.run(["go", "build", "-o", str(BINARY), "."], cwd=SOURCE, env=env)
            if built.returncode:
                pytest.skip("go could not build the server of Pub/Sub")
    return str(BINARY)


class Pubsub:
    """The server. `answer(method, request)` gives None, or the error to answer with: its code and details, or a status."""

    def __init__(self) -> None:
        import grpc
        from google.pubsub_v1 import PublisherClient, SubscriberClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        port = free_port()
        self.process = subprocess.Popen([program(), str(port)], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()  # It listens.
        self._channel = grpc.insecure_channel(f"localhost:{port}", options=_LARGEST)
        self.answer: Callable[[str, bytes], Any] = lambda method, request: None
        self.asked: list[str] = []
        self._proxy = self._made_proxy()
        publisher, subscriber = PublisherGrpcTransport(channel=self._channel), SubscriberGrpcTransport(channel=self._channel)
        self.publisher, self.subscriber = PublisherClient(transport=publisher), SubscriberClient(transport=subscriber)

    def _made_proxy(self) -> Any:
        from concurrent.futures import ThreadPoolExecutor

        import grpc

        def forwarded(method: str, request: bytes, context: Any) -> bytes:
            name = method.rpartition("/")[2]
            self.asked.append(name)
            own = self.answer(name, request)
            if own is not None:
                if type(own) is tuple:  # A status is one, too.
                    context.abort(*own)
                context.abort_with_status(own)
            try:
                return self._channel.unary_unary(method)(request, timeout=context.time_remaining())
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
                raise

        class Handler(grpc.GenericRpcHandler):
            def service(self, details: Any) -> Any:
                return grpc.unary_unary_rpc_method_handler(lambda request, context: forwarded(details.method, request, context))

        server = grpc.server(ThreadPoolExecutor(8), handlers=[Handler()], options=_LARGEST)
        self.host = f"localhost:{server.add_insecure_port('localhost:0')}"
        server.start()
        return server

    def stop(self) -> None:
        self._proxy.stop(None)
        self._channel.close()
        self.process.terminate()
        self.process.wait()

    @property
    def options(self) -> dict[str, Any]:
        return {"host": self.host, "project": "shop"}

    def topic(self, **more: Any) -> str:
        """The name of a new topic, which has a subscription of the same name."""
        name = f"t{next(_count)}"
        topic = f"projects/shop/topics/{name}"
        self.publisher.create_topic(request={"name": topic})
        subscription = {"name": f"projects/shop/subscriptions/{name}", "topic": topic, "ack_deadline_seconds": 10}
        self.subscriber.create_subscription(request={**subscription, **more})
        return name

    def send(self, name: str, records: list[Any], **more: Any) -> None:
        data = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
        messages = [{"data": each, **more} for each in data]
        self.publisher.publish(request={"topic": f"projects/shop/topics/{name}", "messages": messages})

    def messages(self, name: str) -> list[Any]:
        """What can be received now, which is acknowledged with that."""
        subscription, found = f"projects/shop/subscriptions/{name}", []
        while True:
            given = self.subscriber.pull(request={"subscription": subscription, "max_messages": 1000}).received_messages
            if not given:
                return found
            found += [each.message for each in given]
            self.subscriber.acknowledge(request={"subscription": subscription, "ack_ids": [each.ack_id for each in given]})


_LARGEST = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@pytest.fixture(scope="session")
def pubsub_server() -> Iterator[Pubsub]:
    pytest.importorskip("google.pubsub_v1", reason="get it with: pip install 'exporters-beam[pubsub]'")
    server = Pubsub()
    yield server
    server.stop()


@pytest.fixture
def pubsub(pubsub_server: Pubsub) -> Iterator[Pubsub]:
    pubsub_server.asked.clear()
    yield pubsub_server
    pubsub_server.answer = lambda method, request: None
