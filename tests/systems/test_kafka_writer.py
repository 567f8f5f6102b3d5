"""Exports to topics of a real broker: what consumers that read committed messages find."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, DestinationError, ExportError
from exporters_beam.reporting.verify import verify
from exporters_beam.systems import kafka as systems
from exporters_beam.systems.kafka_writer import KafkaWriter
from exporters_beam.systems.messages import MessageFault

from helpers import jsonl
from kafka_server import PASSWORD, Broker, environment

pytestmark = pytest.mark.servers

PRODUCTS = [{"sku": f"p{n % 97}", "n": n, "größe": {"cm": n / 2}} for n in range(1000)]


@pytest.fixture(autouse=True)
def _books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def config(tmp_path: Path, kafka: Broker, topic: str, records: list[Any], **options: Any) -> dict[str, Any]:
    (tmp_path / "in.jl").write_bytes(jsonl(records))
    given = {"servers": [kafka.address], "topic": topic, "items_per_buffer_write": 100, **options}
    reader = {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}}
    return {"reader": reader, "writer": {"name": "kafka", "options": given}}


def plain_lines(tmp_path: Path) -> dict[str, Any]:
    return {"name": "fs", "options": {"filebase": f"{tmp_path}/plain-", "compression": "none"}}


def command(tmp_path: Path, what: str, told: Any, *more: str) -> list[str]:
    (tmp_path / "config.json").write_text(json.dumps(told))
    return [sys.executable, "-m", "exporters_beam", what, str(tmp_path / "config.json"), *more]


def ran(tmp_path: Path, what: str, told: Any, *more: str) -> tuple[int, str]:
    done = subprocess.run(command(tmp_path, what, told, *more), env=environment(), cwd=tmp_path, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_records_as_messages_each_once_and_again_changes_nothing(kafka: Broker, tmp_path):
    """The text of JSON lines, in order within a key, which chooses the partition as Java's clients do; another delivery sends
    it again; `verify` counts by the ledger."""
    topic = f"products-{time.time_ns()}"
    told = config(tmp_path, kafka, topic, PRODUCTS, key="sku", headers={"number": "n", "size": "größe.cm"},
                  create={"partitions": 4, "config": {"retention.ms": 86400000}})  # fmt: skip
    lines = exporters_beam.run({**told, "writer": plain_lines(tmp_path)})
    report = exporters_beam.run(told)
    (target,) = report.targets
    assert (target["name"], target["batches"], target["records"]) == (f"kafka://{kafka.address}/{topic}", 10, 1000)
    found = kafka.values(topic)
    assert sorted(value for *_, value in found) == sorted(Path(lines.files[0]["name"]).read_bytes().splitlines())
    by_key: dict[Any, list[tuple[int, int]]] = {}
    for partition, _, key, value in found:
        by_key.setdefault(key, []).append((partition, json.loads(value)["n"]))
    assert all(each == sorted(each) and len({p for p, _ in each}) == 1 for each in by_key.values()) and len(by_key) == 97
    assert {by_key[key][0][0] for key in by_key} == {0, 1, 2, 3}
    assert kafka.headers(topic)[0] in [[("number", str(n).encode()), ("size", str(n / 2).encode())] for n in range(1000)]
    exporters_beam.run(told)
    (Path(report.manifest)).unlink()
    exporters_beam.run(told)
    assert kafka.values(topic) == found
    writer = KafkaWriter(**{**told["writer"]["options"], "servers": (kafka.address,)})
    assert not verify(report.manifest, None, writer.count)[0] and writer.count({**target, "delivery": "none"}) is None
    told["writer"]["options"]["delivery_id"] = "again"
    exporters_beam.run(told)
    assert len(kafka.values(topic)) == 2000


def test_killed_again_and_again_and_resumed(kafka: Broker, tmp_path):
    """Each record is there exactly once, in its order, wherever the process was killed: also between the brokers' answer and
    the note on this side, and in the middle of a transaction, of which nothing is seen."""
    topic = kafka.topic(3)
    told = config(tmp_path, kafka, topic, [{"n": n, "text": "x" * 100} for n in range(20_000)], items_per_buffer_write=500,
                  records_per_second=20_000)  # fmt: skip
    rng = random.Random(5)
    killed = 0
    for _ in range(30):
        process = subprocess.Popen(command(tmp_path, "run", told, "--resume", "--quiet"), env=environment(), cwd=tmp_path)
        until = time.monotonic() + rng.uniform(0.0, 0.25)
        before = kafka.ends(topic)
        while process.poll() is None and (kafka.ends(topic) == before or time.monotonic() < until):
            time.sleep(0.01)
            if kafka.ends(topic) == before:
                until = time.monotonic() + rng.uniform(0.0, 0.25)
        if process.poll() is not None:
            break
        process.kill()
        process.wait(20)
        killed += 1
        if killed == 5:
            break
    status, said = ran(tmp_path, "run", told, "--resume")
    assert status == 0 and killed >= 3, said
    found = kafka.values(topic)
    assert sorted(json.loads(value)["n"] for *_, value in found) == list(range(20_000))
    offsets = sum(kafka.ends(topic))
    assert offsets > 20_000  # Messages of transactions that were given up, and the marks of all.
    assert ran(tmp_path, "run", told, "--resume")[0] == 0 and kafka.values(topic) == found


def test_a_client_that_does_not_come_back_is_given_up(monkeypatch):
    monkeypatch.setattr(systems, "LATE", 0.1)
    cluster = systems.Cluster({"bootstrap.servers": "127.0.0.1:1"}, 0.1)
    first = cluster.admin
    with pytest.raises(MessageFault) as told:
        cluster.asked(lambda admin, seconds: Future())
    assert told.value.passing and cluster.admin is not first


def test_the_broker_is_killed_and_comes_back(own_kafka: Broker, tmp_path):
    """Batches are sent again, and none twice."""
    topic = own_kafka.topic(2)
    told = config(tmp_path, own_kafka, topic, [{"n": n} for n in range(3000)], records_per_second=600, retry_seconds=600)
    process = subprocess.Popen(command(tmp_path, "run", told, "--quiet"), env=environment(), cwd=tmp_path, text=True,
                               stderr=subprocess.PIPE)  # fmt: skip
    until = time.monotonic() + 240
    while sum(own_kafka.ends(topic)) < 300:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    own_kafka.kill()
    own_kafka.start()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert sorted(json.loads(value)["n"] for *_, value in own_kafka.values(topic)) == list(range(3000))


def test_a_step_that_does_not_come_back_is_given_up(monkeypatch):
    from exporters_beam.systems import kafka_writer

    monkeypatch.setattr(kafka_writer, "STUCK", 0.05)
    over = threading.Event()
    assert not kafka_writer._within(lambda seconds: over.wait(60), 0.05)
    over.set()
    assert kafka_writer._within(lambda seconds: over.wait(60), 5.0)
    with pytest.raises(ValueError, match="wrong"):
        kafka_writer._within(lambda seconds: int("wrong"), 5.0)


def test_records_that_are_refused_are_letters(kafka: Broker, tmp_path):
    """What is larger than the topic takes, and has no key where it is to have no value; without `on_error` nothing of its batch
    is sent."""
    topic = kafka.topic(max_message_bytes="2000")
    records = [{"n": n, "text": "x" * (5000 if n == 150 else 10)} for n in range(300)]
    records[7] = {"gone": True}
    records[8] = {"gone": True, "n": 8}
    told = config(tmp_path, kafka, topic, records, key="n", tombstone="gone", key_in_value=False)
    with pytest.raises(ExportError, match=r"in\.jl: record 8: writer: it is to have no value, and has no key"):
        exporters_beam.run(told)
    assert kafka.values(topic) == []
    told["on_error"] = {"action": "dead_letter", "file": str(tmp_path / "letters.jl")}
    exporters_beam.run(told)
    letters = [json.loads(line) for line in (tmp_path / "letters.jl").read_text().splitlines()]
    assert [letter["number"] for letter in letters] == [8, 151]
    assert "it has 5,0" in letters[1]["message"] and "takes 2,000 (max.message.bytes)" in letters[1]["message"]
    found = {key: value for _, _, key, value in kafka.values(topic)}
    assert len(found) == 298 and found[b"8"] is None and found[b"9"] == b'{"text":"xxxxxxxxxx"}'


def test_avro_text_and_bytes(kafka: Broker, registry, tmp_path):
    """By a schema registry, and back by the reader."""
    schema = {"type": "record", "name": "Product", "fields": [{"name": "sku", "type": "string"},
                                                              {"name": "price", "type": ["null", "double"]}]}  # fmt: skip
    topic = kafka.topic()
    told = config(tmp_path, kafka, topic, [{"sku": "ü", "price": 1.5}, {"sku": "b", "price": None}, {"sku": 3}], values="avro",
                  schema=schema, registry=registry.url)  # fmt: skip
    with pytest.raises(ExportError, match=r"record 3: writer: it is not of the schema: "):
        exporters_beam.run(told)
    exporters_beam.run({**told, "on_error": {"action": "skip"}})
    assert registry.subjects == {f"{topic}-value": 1}
    options = {"servers": [kafka.address], "topic": topic, "values": "avro", "registry": registry.url}
    report = exporters_beam.run({"reader": {"name": "kafka", "options": options}, "writer": plain_lines(tmp_path)})
    assert Path(report.files[0]["name"]).read_text() == '{"sku":"ü","price":1.5}\n{"sku":"b","price":null}\n'
    for kind, value in (("text", "grün"), ("bytes", "grün")):
        topic = kafka.topic()
        told = config(tmp_path, kafka, topic, [{"body": value}], values=kind, value="body")
        if kind == "text":
            exporters_beam.run(told)
            assert [each for *_, each in kafka.values(topic)] == ["grün".encode()]
        else:
            with pytest.raises(ExportError, match="its field 'body' is a string, and values are bytes"):
                exporters_beam.run(told)


def test_what_is_wrong_is_said_before_anything_is_read(kafka: Broker, tmp_path):
    topic = kafka.topic()
    told = config(tmp_path, kafka, "nowhere", [{"n": 1}])
    for options, said in (
        ({}, r"option topic: there is no topic nowhere \(.*\); make it, or write create: {partitions: 6}"),
        ({"topic": topic, "servers": [kafka.with_users], "security_protocol": "SASL_PLAINTEXT", "sasl_username": "guest",
          "sasl_password": PASSWORD}, f"option topic: this user may not use the topic {topic}; give it the rights"),
        ({"servers": ["127.0.0.1:1"], "timeout_seconds": 2}, "option servers: no broker can be reached"),
    ):  # fmt: skip
        wrong = {**told, "writer": {"name": "kafka", "options": {**told["writer"]["options"], **options}}}
        with pytest.raises(DestinationError, match=said):
            exporters_beam.run(wrong)
        status, answer = ran(tmp_path, "check", wrong)
        assert status == 1 and "error: writer kafka: option " in answer


def test_who_may_look_and_no_more_is_told_so(kafka: Broker, tmp_path):
    from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

    topic = kafka.topic()
    rule = AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:guest", "*", AclOperation.DESCRIBE,
                      AclPermissionType.ALLOW)  # fmt: skip
    kafka.admin.create_acls([rule])[rule].result(20)
    user = {"servers": [kafka.with_users], "security_protocol": "SASL_PLAINTEXT", "sasl_username": "guest",
            "sasl_password": PASSWORD, "topic": topic}  # fmt: skip
    told = {"reader": {"name": "kafka", "options": user}, "writer": {"name": "kafka", "options": user}}
    status, said = ran(tmp_path, "check", told)
    assert status == 1
    assert f"error: reader kafka: option topic: this user may not read the topic {topic}; give it the rights (ACL)" in said
    assert f"error: writer kafka: option topic: this user may not send to the topic {topic}; give it the rights (ACL)" in said


def test_a_second_run_of_the_same_delivery_fences_the_first(kafka: Broker):
    from exporters_beam.writers.batches import RecordBatch

    topic = kafka.topic()
    first, second = (KafkaWriter(servers=(kafka.address,), topic=topic, timeout_seconds=10) for _ in range(2))
    batches = [RecordBatch(topic, number, [b'{"n":%d}' % number], True) for number in range(3)]
    first.send(batches[0])
    second.send(batches[0])
    second.send(batches[1])
    with pytest.raises(DestinationError, match="another run of this very export sends to the topic"):
        first.send(batches[1])
    second.send(batches[2])
    assert [json.loads(value)["n"] for *_, value in kafka.values(topic)] == [0, 1, 2]
    with pytest.raises(DestinationError, match="was sent before with other records"):
        second.send(RecordBatch(topic, 2, [b'{"n":9}'], True))
    with pytest.raises(DestinationError, match="the brokers know of 3 batches of this delivery, and 5 were sent"):
        second.send(RecordBatch(topic, 5, [b'{"n":9}'], True))
    second.close()
    first.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 2}, "concurrency: messages go out in order"),
        ({"values": "avro"}, "schema: give it"),
        ({"values": "avro", "schema": {"type": "nothing"}, "registry": "http://r"}, "schema: it is no schema of Avro"),
        ({"create": {"partitions": 0}}, "create: give partitions and replication as numbers"),
        ({"tombstone": "gone"}, "key: name its field"),
        ({"options": {"acks": 1}}, "options: acks cannot be set here"),
    ],
)
def test_wrong_options(options, said):
    given = {"servers": ["localhost:9092"], "topic": "products", **options}
    with pytest.raises(ConfigError, match=said):
        load({"reader": {"name": "random"}, "writer": {"name": "kafka", "options": given}})
