"""Exports from and to Kafka beside hand-written loops of confluent-kafka, orjson and gzip.

    python benchmarks/kafka.py [--messages 1000000] [--runs 3] [--servers HOST:PORT]

Without --servers a broker of its own is started, as for the tests (tests/systems/kafka_server.py). Prints for reading and for
writing the ratio of the loop's CPU and wall time for a message to the export's, and how much memory an export takes beside
one of a tenth of the messages. What a message takes is the slope between so many and a tenth, so that start-up does not
count. Loops and exports run in turn, one process each, and the median of the runs counts. `read` compresses with isal, as the
export does, `gzip` with Python's own gzip. It promises nothing: what a broker on the same machine takes is in the wall times.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

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


def read_loop(servers: str, topic: str, target: Path, create: Callable[[Path], Any] = create) -> None:
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


def gzip_loop(servers: str, topic: str, target: Path) -> None:
    """The same, compressed by the standard library."""
    read_loop(servers, topic, target, lambda path: gzip.open(path, "wb", 6))


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


class Pair(NamedTuple):
    """What all messages took, and a tenth of them."""

    large: Figures
    small: Figures

    @property
    def cpu(self) -> float:
        return self.large.cpu - self.small.cpu

    @property
    def wall(self) -> float:
        return self.large.wall - self.small.wall


def told(what: str, loops: list[Pair], exports: list[Pair], messages: int) -> None:
    cpu = median(one.cpu / other.cpu for one, other in zip(loops, exports, strict=True))
    wall = median(one.wall / other.wall for one, other in zip(loops, exports, strict=True))
    speed = messages * 0.9 / median(each.wall for each in exports)
    memory = median(each.large.peak for each in exports)
    more = median(each.large.peak / each.small.peak for each in exports)
    print(f"{what}: {speed:,.0f} messages/s; {cpu:.2f} of the loop's throughput by CPU, {wall:.2f} by wall; memory "
          f"{memory / 2**20:,.0f} MiB, {more:.2f} times that of a tenth", flush=True)  # fmt: skip


def measured(servers: str, messages: int, runs: int, work: Path) -> None:
    kafka = {"servers": [servers], "key": "_key"}
    topics = made(servers, messages), made(servers, messages // 10)
    lines = work / "large.jl.gz", work / "small.jl.gz"
    loops: dict[str, list[Pair]] = {"read": [], "gzip": [], "write": []}
    exports: dict[str, list[Pair]] = {"read": [], "write": []}

    def reading(topic: str, out: str) -> Figures:
        return export(work, {"name": "kafka", "options": {**kafka, "topic": topic}},
                      {"name": "fs", "options": {"filebase": f"{work}/{out}/part-", "items_per_buffer_write": 0}})  # fmt: skip

    def writing(source: Path, topic: str) -> Figures:
        new_topic(servers, topic)
        return export(work, {"name": "fs", "options": {"input": str(source)}},
                      {"name": "kafka", "options": {**kafka, "topic": topic}})  # fmt: skip

    def written(source: Path, topic: str) -> Figures:
        new_topic(servers, topic)
        return loop(work, "write", servers, topic, str(source))

    for n in range(runs):
        loops["gzip"].append(Pair(*(loop(work, "gzip", servers, topic, f"{work}/other.gz") for topic in topics)))
        loops["read"].append(Pair(*(loop(work, "read", servers, *map(str, each)) for each in zip(topics, lines, strict=True))))
        exports["read"].append(Pair(*(reading(topic, f"{topic}-{n}") for topic in topics)))
        loops["write"].append(Pair(*(written(source, f"loop-{source.stem}-{n}-{work.name}") for source in lines)))
        exports["write"].append(Pair(*(writing(source, f"export-{source.stem}-{n}-{work.name}") for source in lines)))
    for what in ("read", "gzip", "write"):
        told(what, loops[what], exports["write" if what == "write" else "read"], messages)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--servers")
    parser.add_argument("--loop", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loop:
        job, servers, topic, path = args.loop
        {"read": read_loop, "gzip": gzip_loop, "write": write_loop}[job](servers, topic, Path(path))
        return
    with tempfile.TemporaryDirectory() as folder, broker(args.servers) as servers:
        measured(servers, args.messages, args.runs, Path(folder))


if __name__ == "__main__":
    main()
