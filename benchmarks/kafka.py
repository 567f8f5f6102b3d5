"""Exports from and to Kafka beside hand-written loops of confluent-kafka, orjson and gzip.

    python benchmarks/kafka.py [--messages 1000000] [--runs 3] [--servers HOST:PORT]

Without --servers a broker of its own is started, as for the tests (tests/systems/kafka_server.py). Prints for reading and for
writing the ratio of the loop's CPU and wall time to the export's, and how much memory an export takes beside one of a
tenth of the messages. Each runs in turn, one process, and the median of the runs counts. It promises nothing: what a broker on
the same machine takes is in the wall times.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from loops import create
from measure import Figures, run

HERE = Path(__file__).parent
PARTITIONS = 8
ORDER = {
    "customer": {"name": "María Núñez", "city": "Zürich"},
    "lines": [{"sku": "a-17", "count": 2}, {"sku": "b-4", "count": 1}],
    "note": "leave it at the door, please; the bell does not work",
    "paid": True,
}


def consumer(servers: str) -> Any:
    from confluent_kafka import Consumer

    return Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "loop",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 5,
        }
    )


def read_loop(servers: str, topic: str, target: Path) -> None:
    """Topic to JSON lines, with the key in each record."""
    from confluent_kafka import TopicPartition

    loads, dumps, newline = orjson.loads, orjson.dumps, orjson.OPT_APPEND_NEWLINE
    reading = consumer(servers)
    left = PARTITIONS
    reading.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    with create(target) as out:
        while left:
            for message in reading.consume(1000, 0.1):
                if message.error() is None:
                    record = loads(message.value())
                    record["_key"] = message.key().decode()
                    out.write(dumps(record, None, newline))
                else:
                    left -= 1


def write_loop(servers: str, topic: str, source: Path) -> None:
    """JSON lines to a topic, in one transaction for 10,000 messages."""
    from confluent_kafka import Producer
    from loops import read

    loads, dumps = orjson.loads, orjson.dumps
    producer = Producer({"bootstrap.servers": servers, "transactional.id": f"loop-{topic}", "linger.ms": 20})
    producer.init_transactions()
    count = 0
    with read(source) as lines:
        for line in lines:
            if count % 10_000 == 0:
                if count:
                    producer.commit_transaction()
                producer.begin_transaction()
            record = loads(line)
            producer.produce(topic, dumps(record), record["_key"].encode())
            count += 1
    producer.commit_transaction()


def made(servers: str, messages: int) -> str:
    """A topic with so many messages; one of an earlier run where it is there."""
    from confluent_kafka import Producer

    name = f"orders-{messages}"
    if not new_topic(servers, name):
        return name
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    for n in range(messages):
        value = orjson.dumps({"id": n, "total": n % 9973 / 100, **ORDER})
        producer.produce(name, value, f"k{n}", partition=n % PARTITIONS)
        if n % 1000 == 0:
            producer.poll(0)
    producer.flush()
    return name


def new_topic(servers: str, name: str) -> bool:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": servers})
    if name in admin.list_topics(timeout=20).topics:
        return False
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result()
    return True


@contextmanager
def broker(given: str | None) -> Iterator[str]:
    if given:
        yield given
        return
    sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests" / "systems")]
    from kafka_server import Broker, installed

    problem = installed()
    if problem:
        raise SystemExit(problem)
    with tempfile.TemporaryDirectory() as folder:
        started = Broker(Path(folder))
        started.start()
        try:
            yield started.address
        finally:
            started.stop()


def loop(work: Path, job: str, *args: str) -> Figures:
    return run([sys.executable, str(HERE / "kafka.py"), "--loop", job, *args], work / "loop.log", work)


def export(work: Path, reader: Any, writer: Any) -> Figures:
    (work / "config.json").write_text(json.dumps({"reader": reader, "writer": writer, "staging": str(work / "staging")}))
    command = [sys.executable, "-m", "exporters_beam", "run", str(work / "config.json"), "--workers", "1", "--quiet"]
    return run(command, work / "export.log", work)


def told(what: str, loops: list[Figures], exports: list[Figures], small: Figures, messages: int) -> str:
    cpu = median(one.cpu / other.cpu for one, other in zip(loops, exports, strict=True))
    wall = median(one.wall / other.wall for one, other in zip(loops, exports, strict=True))
    speed = messages / median(each.wall for each in exports)
    memory = median(each.peak for each in exports)
    return (f"{what}: {speed:,.0f} messages/s, {cpu:.2f} of the loop's messages a second of CPU, {wall:.2f} of wall; memory "
            f"{memory / 2**20:,.0f} MiB, {memory / small.peak:.2f} times that of a tenth")  # fmt: skip


def measured(servers: str, messages: int, runs: int, work: Path) -> None:
    kafka = {"servers": [servers], "key": "_key"}
    topic, small = made(servers, messages), made(servers, messages // 10)

    def reading(name: str, out: str) -> Figures:
        return export(work, {"name": "kafka", "options": {**kafka, "topic": name}},
                      {"name": "fs", "options": {"filebase": f"{work}/{out}/part-", "items_per_buffer_write": 0}})  # fmt: skip

    loops, exports = [], []
    for n in range(runs):
        loops.append(loop(work, "read", servers, topic, str(work / "loop.jl.gz")))
        exports.append(reading(topic, f"read-{n}"))
    print(told("read ", loops, exports, reading(small, "small"), messages), flush=True)

    def writing(source: Path, name: str) -> Figures:
        new_topic(servers, name)
        return export(work, {"name": "fs", "options": {"input": str(source)}},
                      {"name": "kafka", "options": {**kafka, "topic": name}})  # fmt: skip

    loops, exports = [], []
    for n in range(runs):
        new_topic(servers, f"loop-{messages}-{n}-{work.name}")
        loops.append(loop(work, "write", servers, f"loop-{messages}-{n}-{work.name}", str(work / "loop.jl.gz")))
        exports.append(writing(work / "loop.jl.gz", f"export-{messages}-{n}-{work.name}"))
    few = next((work / "small").glob("part-*"))
    print(told("write", loops, exports, writing(few, f"small-{work.name}"), messages), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--servers")
    parser.add_argument("--loop", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loop:
        job, servers, topic, path = args.loop
        {"read": read_loop, "write": write_loop}[job](servers, topic, Path(path))
        return
    with tempfile.TemporaryDirectory() as folder, broker(args.servers) as servers:
        measured(servers, args.messages, args.runs, Path(folder))


if __name__ == "__main__":
    main()
