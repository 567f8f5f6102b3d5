"""Batches of a topic that is written to: every message once, whatever happens between them."""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import SourceError
from exporters_beam.reporting.chain import manifests
from exporters_beam.runners.chain_states import plans_of, skip, verified
from exporters_beam.runners.chains import folder_of

from helpers import plain
from kafka_server import Broker

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from killed_chains import a_hundred, delivered, killed, serving
from suite import Server

pytestmark = pytest.mark.servers


def config(kafka: Broker, topic: str, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "kafka", "options": {"servers": [kafka.address], "topic": topic, **more.pop("reader", {})}},
        "new_only": True,
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/n-{{batch:03d}}-"}},
        **more,
    }


def batches(made: dict[str, Any]) -> list[list[int]]:
    """The records of each batch, in the order of its files."""
    (plan,) = plans_of(load(made))
    assert verified(plan)[0] == []
    return [
        [json.loads(line)["n"] for file in manifest["files"] for line in plain(Path(file["name"])).splitlines()]
        for manifest in manifests(folder_of(plan), plan.chain)
    ]


def send(kafka: Broker, topic: str, numbers: Any, partition: int | None = None) -> None:
    kafka.send(topic, ({"value": {"n": n}, "partition": n % 3 if partition is None else partition} for n in numbers))


def test_each_batch_begins_where_the_manifest_before_ends(kafka: Broker, tmp_path):
    topic = kafka.topic(3)
    made = config(kafka, topic, tmp_path)
    assert exporters_beam.run(made).note == "there is nothing new"
    send(kafka, topic, range(10))
    assert exporters_beam.run(made).written == 10
    assert exporters_beam.run(made).note.startswith("there is nothing new since batch 1")
    send(kafka, topic, [20], partition=1)
    assert exporters_beam.run(made).written == 1
    send(kafka, topic, range(30, 36))
    assert list(skip(load(made))) == ["3 units of input count as read from now on, and are not delivered"]
    kafka.delete_before(topic, {0: 2})  # They have all been read.
    from confluent_kafka.admin import NewPartitions

    kafka.admin.create_partitions([NewPartitions(topic, 4)])[topic].result(20)
    while len(kafka.ends(topic)) < 4:
        threading.Event().wait(0.05)
    send(kafka, topic, [40], partition=3)
    assert exporters_beam.run(made).written == 1
    assert [sorted(each) for each in batches(made)] == [list(range(10)), [20], [], [40]]


def test_what_cannot_be_read_any_more_ends_the_export(kafka: Broker, tmp_path):
    topic = kafka.topic(1)
    made = config(kafka, topic, tmp_path)
    send(kafka, topic, range(10), partition=0)
    exporters_beam.run(made)
    send(kafka, topic, range(10, 20), partition=0)
    kafka.delete_before(topic, {0: 15})
    with pytest.raises(SourceError, match=r"begins at offset 15 now; the messages from 10 on that stood before it are gone"):
        exporters_beam.run(made)
    goes_on = config(kafka, topic, tmp_path, reader={"on_gone": "earliest"})
    assert exporters_beam.run(goes_on).written == 5
    kafka.admin.delete_topics([topic])[topic].result(20)
    from confluent_kafka.admin import NewTopic

    for _ in range(200):
        try:
            kafka.admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
            break
        except Exception:  # It is still being deleted.
            threading.Event().wait(0.05)
    send(kafka, topic, range(50), partition=0)
    with pytest.raises(SourceError, match=f"{topic} was made anew since the batch before"):
        exporters_beam.run(goes_on)


def test_an_open_transaction_is_left_to_the_next_batch(kafka: Broker, tmp_path):
    topic = kafka.topic(1)
    made = config(kafka, topic, tmp_path)
    producer = kafka.producer(transactional_id=topic)
    producer.init_transactions(20)
    send(kafka, topic, range(3), partition=0)
    producer.begin_transaction()
    kafka.send(topic, [{"value": {"n": 3}, "partition": 0}], producer)
    send(kafka, topic, [4], partition=0)
    assert exporters_beam.run(made).written == 3
    assert exporters_beam.run(made).note.startswith("there is nothing new since batch 1")
    kafka.end_transaction(producer, topic)
    assert exporters_beam.run(made).written == 2
    assert batches(made) == [[0, 1, 2], [3, 4]]


def test_a_batch_has_so_many_messages_at_most(kafka: Broker, tmp_path):
    topic = kafka.topic(3)
    made = config(kafka, topic, tmp_path, follow={"every": "1h", "max_records": 7})
    send(kafka, topic, range(9))
    send(kafka, topic, range(9, 20), partition=2)
    stop, found = threading.Event(), []
    for report in exporters_beam.follow(made, stop=stop):
        found.append(report.written)
        if sum(found) == 20:
            stop.set()
    assert found == [7, 7, 6]
    assert sorted(n for each in batches(made) for n in each) == list(range(20))


def at(hour: int, minute: int = 0) -> str:
    return f"2026-11-28T{hour:02d}:{minute:02d}:00Z"


def windowed(kafka: Broker, topic: str, folder: Path, **window: Any) -> dict[str, Any]:
    filebase = f"{folder}/out/{{window:%H}}-{{window:%Y%m%d}}/n-{{batch:03d}}-"
    asked = {"field": "at", "success_file": "OK", **window}
    return config(kafka, topic, folder, window=asked, writer={"name": "fs", "options": {"filebase": filebase}})


def tell(kafka: Broker, topic: str, partition: int, *times: str) -> None:
    kafka.send(topic, ({"value": {"at": time}, "partition": partition} for time in times))


def test_a_window_is_complete_when_every_partition_has_come_to_its_end(kafka: Broker, tmp_path):
    topic = kafka.topic(3)
    made = windowed(kafka, topic, tmp_path)
    tell(kafka, topic, 0, at(14), at(16))
    tell(kafka, topic, 1, at(14, 30), at(15, 10))
    found = exporters_beam.run(made).windows
    assert found["complete"] == [] and found["upto"] is None, "the third partition has told nothing yet"
    assert found["times"][f"{topic}[2]"][0] is None
    tell(kafka, topic, 2, at(15))
    found = exporters_beam.run(made).windows
    assert found["complete"] == ["2026-11-28T14:00"] and [*found["open"]] == ["2026-11-28T15:00", "2026-11-28T16:00"]
    tell(kafka, topic, 2, at(14, 59), at(17))
    tell(kafka, topic, 1, at(17))
    found = exporters_beam.run(made).windows
    assert found["delivered"]["2026-11-28T14:00"] == {"records": 1, "files": 1, "late": True}
    assert found["complete"] == ["2026-11-28T15:00"]
    there = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("[0-9]*/*"))
    assert there == [
        "14-20261128/OK", "14-20261128/n-001-0000.jl.gz", "14-20261128/n-003-0000.jl.gz",
        "15-20261128/OK", "15-20261128/n-001-0000.jl.gz", "15-20261128/n-002-0000.jl.gz",
        "16-20261128/n-001-0000.jl.gz", "17-20261128/n-003-0000.jl.gz",
    ]  # fmt: skip


def test_partitions_that_tell_nothing_are_waited_for_so_long(kafka: Broker, tmp_path):
    topic = kafka.topic(3)
    made = windowed(kafka, topic, tmp_path, max_wait="1ms")
    tell(kafka, topic, 0, at(14), at(16))
    assert exporters_beam.run(made).windows["complete"] == []
    tell(kafka, topic, 0, at(16, 1))
    assert exporters_beam.run(made).windows["complete"] == ["2026-11-28T14:00"]
    tell(kafka, topic, 1, at(14))
    found = exporters_beam.run(made).windows
    assert found["delivered"] == {"2026-11-28T14:00": {"records": 1, "files": 1, "late": True}}


def test_partitions_of_another_topic_are_waited_for_no_longer(kafka: Broker, tmp_path):
    topic, other = kafka.topic(1), kafka.topic(1)
    tell(kafka, topic, 0, at(14))
    exporters_beam.run(windowed(kafka, topic, tmp_path))
    tell(kafka, other, 0, at(15))
    found = exporters_beam.run(windowed(kafka, other, tmp_path)).windows
    assert [*found["times"]] == [f"{other}[0]"] and found["complete"] == ["2026-11-28T14:00"]


def killed_again_and_again(kafka: Broker, server: Server, folder: Path, seed: int, tries: int) -> int:
    """A producer goes on all the time; runs are killed at a random call. Gives how many were."""
    rng = random.Random(seed)
    topic, stop, sent = kafka.topic(3), threading.Event(), [0]
    made = config(kafka, topic, folder)

    def produce() -> None:
        while not stop.is_set():
            send(kafka, topic, range(sent[0], sent[0] + 50))
            sent[0] += 50
            stop.wait(0.02)

    producing = threading.Thread(target=produce)
    producing.start()
    met = killed(server, made, rng, tries)
    stop.set()
    producing.join()
    all_of_them = delivered(server, made)
    found = batches(made)
    assert sorted(n for each in found for n in each) == list(range(sent[0]))
    there = {str(path) for path in (folder / "out").glob("n-*")}
    assert there == {file["name"] for manifest in all_of_them for file in manifest["files"]}
    return met


@pytest.fixture
def server():
    with serving() as found:
        yield found


def test_a_live_producer_and_runs_that_are_killed(kafka: Broker, server: Server, tmp_path):
    assert killed_again_and_again(kafka, server, tmp_path, 3, 8) > 2


@pytest.mark.exhaustive
def test_a_hundred_kills_with_a_live_producer(kafka: Broker, server: Server, tmp_path):
    a_hundred(lambda seed: killed_again_and_again(kafka, server, tmp_path / str(seed), 100 + seed, 20))
