"""A broker of Kafka of its own for tests: KRaft, one node, by Java, from jars that Maven gets once into the user's cache."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from servers import CACHE, alone

JARS = CACHE / "kafka" / "lib"
PASSWORD = "tea-at-five"

POM = Path(__file__).parent / "kafka-pom.xml"

PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},USERS://127.0.0.1:{users},AFAR://127.0.0.1:{afar},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},USERS://127.0.0.1:{users},AFAR://127.0.0.1:{way}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,USERS:SASL_PLAINTEXT,AFAR:PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.users.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_shop="{password}" user_guest="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:shop
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.backoff.ms=100
log.cleaner.dedupe.buffer.size=2000000
log.initial.task.delay.ms=100
"""

LOGGING = """rootLogger.level = WARN
rootLogger.appenderRef.c.ref = C
appender.c.type = Console
appender.c.name = C
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d %p %c %m%n
"""


def installed() -> str:
    """Why there is no broker; "" where there is one."""
    for tool, package in (("java", "default-jre-headless"), ("mvn", "maven")):
        if shutil.which(tool) is None:
            return f"there is no {tool}; get it with: apt-get install {package}"
    with alone("kafka"):
        if not list(JARS.glob("kafka_2.13-*.jar")):
            half = JARS.parent / "half"
            shutil.rmtree(half, ignore_errors=True)
            command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
            if subprocess.run([*command, f"-DoutputDirectory={half}"]).returncode:
                return "Maven could not get Kafka"
            half.rename(JARS)
    return ""


class Broker:
    """A broker with its own data folder, on ports that stay the same when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "log4j2.properties").write_text(LOGGING)
        self.port, self.users, self._controller, self.afar, self.way = _free_ports(5)
        """`afar` is for clients that come by a proxy, which they find at the port `way`."""
        told = {"port": self.port, "users": self.users, "controller": self._controller, "afar": self.afar, "way": self.way,
                "folder": folder, "password": PASSWORD}  # fmt: skip
        (folder / "server.properties").write_text(PROPERTIES.format(**told))
        self._process: subprocess.Popen[bytes] | None = None
        self._java("kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", "server.properties").wait(60)

    def _java(self, *command: str) -> subprocess.Popen[bytes]:
        java = [
            "java",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dlog4j2.configurationFile=log4j2.properties",
            "-cp",
            f"{JARS}/*",
        ]
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen([*java, *command], cwd=self.folder, stdout=log, stderr=log)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def with_users(self) -> str:
        """Where it wants a user: shop may do everything, guest nothing."""
        return f"127.0.0.1:{self.users}"

    def start(self) -> None:
        self._process = self._java("kafka.Kafka", "server.properties")
        until = time.monotonic() + 240
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                self.admin.list_topics(timeout=5)
                return
            except Exception:
                said = (self.folder / "log").read_text()
                assert self._process.poll() is None and time.monotonic() < until, said[-4000:]
                time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    @cached_property
    def admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def topic(self, partitions: int = 1, **config: str) -> str:
        """The name of a new topic."""
        from confluent_kafka.admin import NewTopic

        name = f"orders-{uuid.uuid4().hex[:8]}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        self.admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(20)
        until = time.monotonic() + 20
        while True:
            try:
                self.ends(name)
                return name
            except Exception:  # Its leaders are not known everywhere yet.
                assert time.monotonic() < until
                time.sleep(0.05)

    def producer(self, **settings: Any) -> Any:
        from confluent_kafka import Producer

        more = {key.replace("_", "."): value for key, value in settings.items()}
        return Producer({"bootstrap.servers": self.address, "linger.ms": 20, "log_level": 0, **more})

    def send(self, topic: str, messages: Iterable[Mapping[str, Any]], producer: Any = None) -> None:
        """Messages as mappings of what `produce` takes; a value that is a mapping is sent as JSON."""
        made = producer or self.producer()
        for message in messages:
            value = message.get("value")
            more = {"value": json.dumps(value).encode()} if isinstance(value, (dict, list, int)) else {}
            try:
                made.produce(topic, **{**message, **more})
            except BufferError:
                made.poll(1)
                made.produce(topic, **{**message, **more})
            made.poll(0)
        assert made.flush(30) == 0

    def end_transaction(self, producer: Any, topic: str, commit: bool = True) -> None:
        """Commit or abort, and wait until the leader of each partition knows it: a producer is told before they are."""
        (producer.commit_transaction if commit else producer.abort_transaction)(20)
        until = time.monotonic() + 20
        while self._latest(topic, committed=True) != self._latest(topic, committed=False):
            assert time.monotonic() < until
            time.sleep(0.01)

    def _latest(self, topic: str, committed: bool) -> list[int]:
        from confluent_kafka import IsolationLevel, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        numbers = sorted(self.consumer.list_topics(topic, 10).topics[topic].partitions)
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        wanted = {TopicPartition(topic, number): OffsetSpec.latest() for number in numbers}
        return [future.result(20).offset for future in self.admin.list_offsets(wanted, isolation_level=level).values()]

    def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """What retention does: nothing before these offsets is there any more."""
        from confluent_kafka import TopicPartition

        wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        for future in self.admin.delete_records(wanted).values():
            future.result(20)

    def values(self, topic: str) -> list[tuple[int, int, Any, Any]]:
        """What a consumer that reads committed messages finds: partition, offset, key, value of each."""
        return [(each.partition(), each.offset(), each.key(), each.value()) for each in self._messages(topic)]

    def headers(self, topic: str) -> list[Any]:
        return [each.headers() for each in self._messages(topic)]

    def _messages(self, topic: str) -> list[Any]:
        from confluent_kafka import TopicPartition

        consumer = self.consumer
        numbers = set(consumer.list_topics(topic, 10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        found = []
        while numbers:
            for message in consumer.consume(1000, 0.2):
                if message.error() is None:
                    found.append(message)
                else:
                    numbers.discard(message.partition())
        consumer.unassign()
        return sorted(found, key=lambda each: (each.partition(), each.offset()))

    def ends(self, topic: str) -> list[int]:
        """The offset behind the last message of each partition, whether that is of an open transaction or not."""
        from confluent_kafka import TopicPartition

        numbers = sorted(self.consumer.list_topics(topic, 10).topics[topic].partitions)
        return [self.consumer.get_watermark_offsets(TopicPartition(topic, number), 10, cached=False)[1] for number in numbers]

    @cached_property
    def consumer(self) -> Any:
        from confluent_kafka import Consumer

        return Consumer({"bootstrap.servers": self.address, "group.id": "tests", "enable.partition.eof": True,
                         "isolation.level": "read_committed", "auto.offset.reset": "earliest", "log_level": 0,
                         "enable.auto.commit": False, "fetch.wait.max.ms": 50})  # fmt: skip


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def broker_in(folder: Path) -> Iterator[Broker]:
    pytest.importorskip("confluent_kafka", reason="get it with: pip install 'exporters-beam[kafka]'")
    problem = installed()
    if problem:
        pytest.skip(problem)
    broker = Broker(folder)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that all tests share; each makes topics of its own."""
    yield from broker_in(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Broker]:
    """A broker that a test may stop."""
    folder = tmp_path / "broker"
    folder.mkdir()
    yield from broker_in(folder)


class Registry:
    """A schema registry of its own for tests: numbers of schemas, by the REST interface that registries have."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, int] = {}
        schemas, subjects = self.schemas, self.subjects

        class Answers(BaseHTTPRequestHandler):
            def _answer(self, status: int, told: Any) -> None:
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                found = schemas.get(int(self.path.rpartition("/")[2]))
                self._answer(200 if found else 404, found or {"error_code": 40403})

            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                number = next((number for number, known in schemas.items() if known == told), len(schemas) + 1)
                schemas[number] = told
                subjects[self.path.split("/")[2]] = number
                self._answer(200, {"id": number})

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.close()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
