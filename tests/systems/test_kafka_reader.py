"""Exports of topics, from a real broker."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, ExportError, SourceError
from exporters_beam.records import Unit
from exporters_beam.systems import kafka_older, kafka_reader

from kafka_server import PASSWORD, Broker, environment

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parent.parent.parent

TIME = 1_700_000_000_000
"""Milliseconds: a day in November 2023."""


def reader(kafka: Broker, topic: Any, **options: Any) -> dict[str, Any]:
    return {"name": "kafka", "options": {"servers": [kafka.address], "topic": topic, **options}}


def to(folder: Path, **options: Any) -> dict[str, Any]:
    return {"name": "fs", "options": {"filebase": f"{folder}/part-", **options}}


def records(folder: Path) -> list[dict[str, Any]]:
    """What was delivered, in order."""
    files = sorted(path for path in folder.glob("part-*"))
    return [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """The delivered files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.gz"))
            if ".exporters" not in path.parts}  # fmt: skip


def command(folder: Path, config: Any, *more: str) -> list[str]:
    (folder / "config.json").write_text(json.dumps(config))
    return [sys.executable, "-m", "exporters_beam", "run", str(folder / "config.json"), *more]


def ran(folder: Path, config: Any, *more: str) -> tuple[int, str]:
    done = subprocess.run(command(folder, config, *more), capture_output=True, text=True, env=environment(), cwd=folder)
    return done.returncode, done.stdout + done.stderr


def test_the_quick_start_with_another_reader(kafka: Broker, tmp_path):
    """The same records in the same files as from files: nothing else of the config changes."""
    config = yaml.safe_load((ROOT / "templates/quickstart.yaml").read_text())
    config["reader"]["options"]["input"]["dir"] = str(ROOT / "templates/data")
    config["writer"]["options"]["filebase"] = f"{tmp_path}/files/{{groups[0]}}/products-"
    exporters_beam.run(config)
    topic = kafka.topic()
    for path in sorted((ROOT / "templates/data").glob("products-*.jl.gz")):
        kafka.send(topic, ({"value": line} for line in gzip.decompress(path.read_bytes()).splitlines()))
    config["reader"] = reader(kafka, topic)
    config["writer"]["options"]["filebase"] = f"{tmp_path}/topic/{{groups[0]}}/products-"
    exporters_beam.run(config)
    found, files = (
        {name: list(map(json.loads, gzip.decompress(data).splitlines())) for name, data in contents(tmp_path / out).items()}
        for out in ("topic", "files")
    )
    assert found == files != {}


def test_committed_messages_of_eight_partitions(kafka: Broker, export, tmp_path):
    """None of aborted transactions, nor of one that is open, which is told; messages that come later are not read; two worker
    processes deliver the same bytes. All that a message has beside its value can be kept."""
    topic = kafka.topic(8)
    producer = kafka.producer(transactional_id=topic)
    producer.init_transactions(20)
    for batch in range(12):
        producer.begin_transaction()
        more = {"headers": [("source", b"shop")]}
        sent = (
            {"value": {"batch": batch, "n": n}, "key": f"k{n}", "partition": n % 8, "timestamp": TIME + n} for n in range(400)
        )
        kafka.send(topic, ({**each, **more} for each in sent), producer)
        kafka.end_transaction(producer, topic, commit=batch % 3 != 2)
    kafka.send(topic, [{"value": None, "key": "gone", "partition": 7}])
    producer.begin_transaction()
    kafka.send(topic, [{"value": {"batch": "open"}, "partition": 3}], producer)
    kafka.send(topic, [{"value": {"batch": "behind"}, "partition": 3}])
    named = {name: f"_{name}" for name in ("key", "headers", "partition", "offset", "timestamp")}
    try:
        options = {**named, "tombstones": "keep"}
        report = export(reader(kafka, topic, **options))
        config = {"reader": reader(kafka, topic, **options), "writer": to(tmp_path / "two")}
        assert ran(tmp_path, config, "--workers=2")[0] == 0
    finally:
        kafka.end_transaction(producer, topic, commit=False)
    expected = [{"batch": batch, "n": n} for p in range(8) for batch in range(12) if batch % 3 != 2 for n in range(p, 400, 8)]
    found = records(tmp_path / "out")
    tombstone = found.pop()
    assert [{"batch": each["batch"], "n": each["n"]} for each in found] == expected
    assert [warning for warning in report.warnings if "transaction" in warning] == [
        f"{topic}[3]: 2 offsets from 612 on are not read, since a transaction that began there is still open"
    ]
    first = found[0]
    assert first == {"batch": 0, "n": 0, "_key": "k0", "_headers": {"source": "shop"}, "_partition": 0, "_offset": 0,
                     "_timestamp": TIME}  # fmt: skip
    assert tombstone["_key"] == "gone" and set(tombstone) == set(named.values())
    assert contents(tmp_path / "two") == contents(tmp_path / "out")
    report = export(reader(kafka, topic), out="without")
    assert len(records(tmp_path / "without")) == len(found) + 1  # What stood behind the transaction is read now.
    assert [warning for warning in report.warnings if "tombstones" in warning] == [f"{topic}[7]: {kafka_reader.LEFT_OUT}"]


def test_gaps_of_compaction(kafka: Broker, export, tmp_path, monkeypatch):
    """Offsets that are gone from the middle and the end are no reason to wait or to fail, and ranges without any message are
    ranges all the same."""
    monkeypatch.setattr(kafka_reader, "SPAN", 100)
    topic = kafka.topic(cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.001", delete_retention_ms="0")
    kafka.send(topic, ({"value": {"n": n}, "key": f"{n % 7}"} for n in range(3000)))
    until = time.monotonic() + 240
    sent = 3000
    while len(kafka.values(topic)) > 100:
        assert time.monotonic() < until, "nothing was compacted"
        time.sleep(0.2)
        kafka.send(topic, [{"value": {"n": sent}, "key": f"{sent % 7}"}])  # A segment ends where a later one begins.
        sent += 1
    report = export(reader(kafka, topic, offset="at"))
    found = records(tmp_path / "out")
    assert report.counts["read"] == len(found) < 150
    assert [each["n"] for each in found] == [each["at"] for each in found]
    assert {each["n"] % 7 for each in found} == set(range(7)) and found[-1]["n"] == sent - 1


def test_where_to_start(kafka: Broker, export, tmp_path):
    """By offsets, by time, where a group has got to; and where that is gone: fail, or begin with what is there."""
    from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

    topic = kafka.topic(2)
    now = int(time.time() * 1000)
    kafka.send(topic, ({"value": {"n": n}, "partition": n % 2, "timestamp": now + n // 2 * 1000} for n in range(40)))
    group = f"group-{topic}"
    offsets = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 1, 17)])
    kafka.admin.alter_consumer_group_offsets([offsets])[group].result(20)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1000 + 18)) + "Z"

    def numbers(out: str, **options: Any) -> tuple[list[int], tuple[str, ...]]:
        report = export(reader(kafka, topic, **options), out=out)
        return [each["n"] for each in records(tmp_path / out)], report.warnings

    assert numbers("offsets", start={"0": 19, "1": 18}) == ([38, 37, 39], ())
    assert numbers("time", start=moment)[0] in ([36, 38, 37, 39], [38, 39])
    assert numbers("group", start="committed", group=group)[0] == [*range(0, 40, 2), 35, 37, 39]
    assert numbers("one", partitions=[1], start={"1": 19}) == ([39], ())
    kafka.delete_before(topic, {0: 10})
    assert numbers("earliest")[0] == [*range(20, 40, 2), *range(1, 40, 2)]
    with pytest.raises(SourceError, match=rf"start: {topic}\[0\] begins at offset 10 now; the messages from 5 on .* on_gone"):
        numbers("gone", start={"0": 5, "1": 19})
    found, warnings = numbers("begun", start={"0": 5, "1": 19}, on_gone="earliest")
    assert found == [*range(20, 40, 2), 39] and "begins at offset 10 now" in warnings[0]
    with pytest.raises(SourceError, match="ends at offset 20: there is no 99"):
        numbers("beyond", start={"0": 99})
    with pytest.raises(SourceError, match="has no partition 5; it has 0 to 1"):
        numbers("partition", partitions=[5])


def test_what_values_may_be(kafka: Broker, export, tmp_path):
    import msgpack

    values: dict[str, tuple[bytes, Any]] = {
        "msgpack": (msgpack.packb({"a": "ü", "b": [1, None]}), {"a": "ü", "b": [1, None]}),
        "text": ("grün".encode(), {"value": "grün"}),
        "bytes": (b"\xff\x00", {"value": "/wA="}),
        "json": (b' {"a": 1.5} ', {"a": 1.5}),
    }
    for kind, (value, expected) in values.items():
        topic = kafka.topic()
        kafka.send(topic, [{"value": value}])
        export(reader(kafka, topic, values=kind), out=kind)
        assert records(tmp_path / kind) == [expected]


@pytest.mark.parametrize("workers", ["--workers=1", "--workers=2"])
def test_killed_and_resumed(kafka: Broker, tmp_path, workers):
    """The bytes of an undisturbed export, though messages have come meanwhile."""
    topic = kafka.topic(3)
    line = {"text": "x" * 200}
    kafka.send(topic, ({"value": {"n": n, **line}, "partition": n % 3} for n in range(210_000)))
    config = {"reader": reader(kafka, topic), "writer": to(tmp_path / "out", items_per_buffer_write=30_000)}
    exporters_beam.run({**config, "writer": to(tmp_path / "whole", items_per_buffer_write=30_000)})
    process = subprocess.Popen(command(tmp_path, config, workers), env=environment(), cwd=tmp_path, start_new_session=True)
    until = time.monotonic() + 240
    while not list(tmp_path.rglob("*.segment")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
    assert not list(tmp_path.glob("out/.exporters/*/manifest.json"))
    kafka.send(topic, ({"value": {"n": -1}, "partition": n} for n in range(3)))
    status, said = ran(tmp_path, config, "--resume")
    assert status == 0, said
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_broker_is_killed_and_comes_back(own_kafka: Broker, tmp_path):
    """An export waits for it, and delivers all; where it does not come back, one sentence says so."""
    topic = own_kafka.topic(2)
    own_kafka.send(topic, ({"value": {"n": n, "text": "x" * 500}, "partition": n % 2} for n in range(120_000)))
    config = {"reader": reader(own_kafka, topic, options={"receive.message.max.bytes": 1_000_000, "fetch.max.bytes": 500_000,
                                                           "message.max.bytes": 400_000}),
              "writer": to(tmp_path / "out")}  # fmt: skip
    process = subprocess.Popen(command(tmp_path, config), env=environment(), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 240
    while not any(path.stat().st_size for path in tmp_path.glob("out/.exporters/*/units")):  # Now all partitions are listed.
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.005)
    own_kafka.kill()
    own_kafka.start()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert sorted(each["n"] for each in records(tmp_path / "out")) == list(range(120_000))
    own_kafka.kill()
    config["reader"]["options"]["timeout_seconds"] = 2
    status, said = ran(tmp_path, config)
    assert status == 1 and re.search(r"option servers: no broker can be reached \(.*Connection refused\)", said), said


def test_what_cannot_be_reached_is_said_in_one_sentence(kafka: Broker, export):
    topic = kafka.topic()
    user = {
        "servers": [kafka.with_users],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_username": "shop",
        "sasl_password": PASSWORD,
    }
    export(reader(kafka, topic, **user))
    for options, said in (
        ({"servers": ["127.0.0.1:1"]}, r"option servers: no broker can be reached \(127.0.0.1:1/bootstrap: .*refused\)"),
        ({"servers": ["nowhere.invalid:9092"]}, r"option servers: the name of a broker is not known \(.*nowhere.invalid"),
        ({"topic": "orderz"}, r"option topic: there is no topic orderz \("),
        ({**user, "sasl_password": "coffee"}, r"option sasl_username: the broker does not let this user in \("),
        ({**user, "sasl_username": "guest"}, rf"option topic: this user may not use the topic {topic}; give it the rights"),
        (
            {"security_protocol": "SSL"},
            r"option security_protocol: no encrypted connection can be made \(.*(PLAINTEXT|closed by peer)",
        ),
        ({"ssl_ca_file": "/nowhere.pem", "security_protocol": "SSL"}, r"option ssl_ca_file: "),
        ({"options": {"fetch.min.byts": 1}}, r'option options: No such configuration property: "fetch.min.byts"'),
    ):
        given: dict[str, Any] = {"timeout_seconds": 2, **options}
        with pytest.raises(SourceError, match=said) as caught:
            export(reader(kafka, given.pop("topic", topic), **given))
        assert "\n" not in str(caught.value) and "coffee" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "yesterdy"}, "start: 'yesterdy' is none of earliest, committed, a time such as"),
        ({"start": "committed"}, "group: name the consumer group"),
        ({"start": {"a": 1}}, "start: give earliest, committed, a time, or offsets by partition"),
        ({"topic": ["a", "b"], "start": {"0": 1}}, "start: give offsets for each topic"),
        ({"values": "avro"}, "registry: give the URL"),
        ({"security_protocol": "SASL_SSL"}, "sasl_username: give it"),
        ({"options": {"isolation.level": "read_uncommitted"}}, "options: isolation.level cannot be set here"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(ConfigError, match=said):
        load({"reader": {"name": "kafka", "options": {"servers": ["localhost:9092"], "topic": "orders", **options}},
                                 "writer": {"name": "console"}})  # fmt: skip


def test_a_topic_that_was_made_anew_or_is_gone_is_not_resumed(kafka: Broker):
    """Its offsets begin at 0 again: what stands there is something else."""
    topic = kafka.topic()
    kafka.send(topic, ({"value": {"n": n}} for n in range(10)))
    made = kafka_reader.KafkaReader(servers=(kafka.address,), topic=topic, timeout_seconds=5)
    (unit,) = made.units()
    assert sum(len(batch) for _, batch in made.read(unit, 0)) == 10
    kafka.delete_before(topic, {0: 5})
    with pytest.raises(SourceError, match=r"\[0\]: the messages from offset 0 on are gone"):
        list(made.read(unit, 0))
    gone = unit._replace(etag=unit.etag.replace(" ", " another-"))
    with pytest.raises(SourceError, match="was deleted and made anew since the export began"):
        list(made.read(gone, 0))


@pytest.mark.parametrize("key", [None, "_key"])
def test_a_value_that_is_no_record_is_a_letter_that_can_be_sent_again(kafka: Broker, export, tmp_path, key):
    """With its place; without `on_error` it ends the export. The key comes back with the repaired value."""
    topic = kafka.topic()
    kafka.send(topic, [{"value": {"n": n}, "key": "k"} for n in range(3)])
    kafka.send(topic, [{"value": b'{"n": 3', "key": "k3"}, {"value": b"[4]", "key": "k4"}, {"value": {"n": 5}, "key": b"k"}])
    read = reader(kafka, topic, key=key)
    with pytest.raises(ExportError, match=rf"{topic}\[0\]: record 4: deserializer: not valid JSON: .* at character 8"):
        export(read, out="failed")
    letters = tmp_path / "letters.jl"
    config = {"reader": read, "writer": to(tmp_path / "out"), "on_error": {"action": "dead_letter", "file": str(letters)}}
    assert exporters_beam.run(config).counts["written"] == 4
    first, second = map(json.loads, letters.read_text().splitlines())
    assert (first["file"], first["number"], second["number"]) == (f"{topic}[0]", 4, 5)
    assert "not a JSON object" in second["message"]
    assert first["text"] == ('{"message": "{\\"n\\": 3", "_key": "k3"}' if key else '{"n": 3')
    if key:
        kafka.send(topic, [{"value": {"n": 6}, "key": b"\xff"}])
        with pytest.raises(ExportError, match="record 1: deserializer: its key is not text in UTF-8"):
            export(reader(kafka, topic, key=key, start={"0": 6}), out="key")
    first["text"] = first["text"].replace(": 3", ": 3}")
    letters.write_text(json.dumps(first) + "\n")
    (tmp_path / "config.json").write_text(json.dumps(config))
    replay = [sys.executable, "-m", "exporters_beam", "replay", str(tmp_path / "config.json"), str(letters)]
    done = subprocess.run(replay, capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (replayed,) = (tmp_path / "out").glob("*replay*")
    assert json.loads(gzip.decompress(replayed.read_bytes())) == ({"n": 3, "_key": "k3"} if key else {"n": 3})


def packed(value: Any) -> bytes:
    import msgpack

    return zlib.compress(msgpack.packb(value))


def test_the_newest_message_of_each_key_as_before(kafka: Broker, export, tmp_path, monkeypatch):
    """An empty value hides those before it; what holds no mapping is skipped under the old class path; resumed, it goes on."""
    monkeypatch.setattr(kafka_older, "SPAN", 50)
    topic = kafka.topic(2)
    kafka.send(topic, ({"value": packed({"n": n, "ü": "ü"}), "key": f"k{n % 40}", "partition": n % 2} for n in range(400)))
    kafka.send(topic, [{"value": b"", "key": "k0", "partition": 0}, {"value": None, "key": "k2", "partition": 0}])
    kafka.send(topic, [{"value": packed([1]), "key": "k4", "partition": 0}, {"value": b"no", "key": "k6", "partition": 0}])
    options = {"brokers": [kafka.address], "topic": topic}
    old = {"name": "exporters.readers.kafka_scanner_reader.KafkaScannerReader", "options": {**options, "partitions": ["0"]}}
    export(old)
    found = sorted(records(tmp_path / "out"), key=lambda each: each["n"])
    assert found == [{"n": 360 + n, "ü": "ü", "_key": f"k{n}"} for n in range(8, 40, 2)]
    export({"name": "kafka_scanner", "options": {**options, "partitions": [1]}}, out="one")
    assert sorted(each["n"] for each in records(tmp_path / "one")) == list(range(361, 400, 2))
    with pytest.raises(ExportError, match=rf"{topic}\[0\]: record \d+: deserializer: not "):
        export({"name": "kafka_scanner", "options": options}, out="failed")
    made = kafka_older.KafkaScannerReader(brokers=(kafka.address,), topic=topic, bad_messages="skip")
    unit = next(each for each in made.units() if isinstance(each, Unit))
    assert [each for number, batch in made.read(unit, 0) if number >= 2 for each in batch] == [
        each for _, batch in made.read(unit, 2) for each in batch
    ]


def test_a_sample_of_what_a_group_has_yet_to_read(kafka: Broker, export, tmp_path):
    from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

    topic = kafka.topic(2)
    kafka.send(topic, ({"value": packed({"n": n}), "key": f"k{n}", "partition": n % 2} for n in range(600)))
    offsets = ConsumerGroupTopicPartitions(topic, [TopicPartition(topic, number, 100) for number in (0, 1)])
    kafka.admin.alter_consumer_group_offsets([offsets])[topic].result(20)
    options = {"brokers": [kafka.address], "topic": topic, "group": topic, "record_count": 50}
    old = {"name": "exporters.readers.kafka_random_reader.KafkaRandomReader", "options": options}
    export(old)
    found = [each["n"] for each in records(tmp_path / "out")]
    assert len(set(found)) == 50 and min(found) >= 200 and len({n // 100 for n in found}) == 4
    export({**old, "options": {**options, "record_count": 1000}}, out="all")
    assert sorted(each["n"] for each in records(tmp_path / "all")) == list(range(200, 600))
    made = kafka_older.KafkaRandomReader(brokers=(kafka.address,), topic=topic, group=topic, record_count=50)
    unit, other = (next(each for each in made.units() if isinstance(each, Unit)) for _ in range(2))
    assert list(made.read(unit, 0)) == list(made.read(unit, 0)) != list(made.read(other, 0))
