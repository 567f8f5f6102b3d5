"""The two readers of Kafka that exporters 0.6.18 had: the newest message of each key, and a sample."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
from exporters_beam.records import Record, Undecoded, Unit, Warned
from exporters_beam.storages.base import OnFirstUse
from exporters_beam.systems.kafka_reader import SPAN, Borders, KafkaReader, refuse_another
from exporters_beam.systems.messages import source

LIST = 1000
"""Records that are given at a time."""

_SSL = {
    "ssl_cafile": "ssl.ca.location",
    "ssl_certfile": "ssl.certificate.location",
    "ssl_keyfile": "ssl.key.location",
    "ssl_password": "ssl.key.password",
    "ssl_crlfile": "ssl.crl.location",
    "ssl_ciphers": "ssl.cipher.suites",
}
"""What the client of exporters 0.6.18 called settings, and what ours calls them."""


@dataclass(frozen=True, kw_only=True)
class _OlderReader(OnFirstUse):
    """What both have."""

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True

    brokers: tuple[str, ...] = option("brokers to ask first, as host:port", type="str_list", example=["localhost:9092"])
    topic: str = option("the topic", example="products")
    batch_size: int = option("accepted for old configs; it changes nothing", type="int", default=10_000)
    bad_messages: str = option("what becomes of messages that hold no mapping: fail the record, or skip it, which is logged",
                               default="fail", choices=("fail", "skip"))  # fmt: skip

    def __post_init__(self) -> None:
        self._options()
        if not self.brokers:
            raise ConfigError("brokers: give at least one broker, as host:port")

    def _options(self) -> dict[str, Any]:
        """Settings of the client. Raises ConfigError."""
        return {}

    def _reader(self, **more: Any) -> KafkaReader:
        return self._once(lambda: KafkaReader(servers=self.brokers, topic=(self.topic,), values="zlib_msgpack", key="_key",
                                              options=self._options(), **more))  # fmt: skip

    def probe(self) -> None:
        """Raises SourceError where the topic cannot be read."""
        self._reader().probe()

    def decode(self, raw: bytes | str) -> Record:
        return self._reader().decode(raw)

    def _records(self, messages: list[Any], place: str) -> list[Any]:
        """Records of messages, in order; those without a value give none."""
        found = self._reader().records([message for message in messages if message.value()])
        if self.bad_messages == "skip":
            for each in found:
                if isinstance(each, Undecoded):
                    logging.getLogger(__name__).warning("%s: a message is skipped: %s", place, each.message)
            found = [each for each in found if not isinstance(each, Undecoded)]
        return found


@dataclass(frozen=True, kw_only=True)
class KafkaScannerReader(_OlderReader):
    """Read the newest message of each key in each partition of a topic, as exporters 0.6.18 did.

    A message with an empty value hides the older ones of its key, and is not read itself; messages without a key are all read.
    A value is a mapping of msgpack, compressed with zlib; the field `_key` gets the key. Partitions are read from their ends to
    their beginnings, and what came behind the ends that they had when the export began is not read. All keys of a partition are
    held in memory, about 100 bytes for each. Under its old class path, messages that hold no such value are skipped.

    Example:
        reader:
          name: kafka_scanner
          options:
            brokers: ['localhost:9092']
            topic: products
    """

    partitions: tuple[int, ...] | None = option("the partitions to read; by default all", type="int_list", default=None)
    ssl_configs: Mapping[str, Any] | None = option(
        "settings for encrypted connections: ssl_cafile, ssl_certfile, ssl_keyfile, ssl_password", type="dict", default=None,
        secret=True,
    )  # fmt: skip

    def _options(self) -> dict[str, Any]:
        if not self.ssl_configs:
            return {}
        found: dict[str, Any] = {"security.protocol": "SSL"}
        for name, value in self.ssl_configs.items():
            if name == "ssl_check_hostname":
                found["ssl.endpoint.identification.algorithm"] = "https" if value else "none"
            elif name in _SSL:
                found[_SSL[name]] = value
            else:
                raise ConfigError(f"ssl_configs: {name} is not known; known: {', '.join([*_SSL, 'ssl_check_hostname'])}")
        return found

    def units(self) -> Iterator[Unit | Warned]:
        return self._reader(partitions=self.partitions).units()

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        borders, cluster = Borders.of(unit), self._reader().cluster
        seen: set[bytes] = set()
        with source():
            if borders.start < borders.end:
                refuse_another(cluster, borders)
            for number, high in enumerate(range(borders.end, borders.start, -SPAN)):
                low = max(borders.start, high - SPAN)
                newest: dict[Any, Any] = {}
                for found in cluster.messages(borders.topic, borders.partition, low, high):
                    for message in found:
                        key = message.key()
                        place = message.offset() if key is None else hashlib.blake2b(key, digest_size=16).digest()
                        newest.pop(place, None)
                        newest[place] = message
                fresh = [message for place, message in newest.items() if place not in seen]
                seen.update(place for place in newest if isinstance(place, bytes))
                if number >= start:
                    records = self._records(fresh, unit.name)
                    yield from ((number, records[at : at + LIST]) for at in range(0, len(records), LIST))
                    yield number, []


@dataclass(frozen=True, kw_only=True)
class KafkaRandomReader(_OlderReader):
    """Read so many messages of a topic, drawn at random from those that a consumer group has yet to read, as exporters 0.6.18
    was meant to do.

    The group is not joined, and nothing is committed for it; where it has committed nothing, all messages count. Where there
    are no more messages than that, all are read. A value is a mapping of msgpack, compressed with zlib; the field `_key` gets
    the key. `--resume` goes on with the sample that was drawn. Under its old class path, messages that hold no such value are
    skipped.

    Example:
        reader:
          name: kafka_random
          options:
            brokers: ['localhost:9092']
            topic: products
            group: sampler
            record_count: 1000
    """

    group: str = option("the consumer group whose offsets say where to begin", example="sampler")
    record_count: int = option("messages to read", type="int", minimum=1, example=1000)

    def units(self) -> Iterator[Unit | Warned]:
        """The whole topic as one unit, whose etag has all borders and what the drawing begins with."""
        borders = []
        for found in self._reader(start="committed", group=self.group, on_gone="earliest").units():
            if isinstance(found, Warned):
                yield found
            else:
                borders.append(f"{found.name.rpartition('[')[2][:-1]}:{found.etag}")
        yield Unit(0, self.topic, -1, ";".join([str(random.SystemRandom().getrandbits(64)), *borders]))

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        seed, *parts = unit.etag.split(";")
        rng, count = random.Random(int(seed)), 0
        sample: list[Any] = []
        with source():
            for part in parts:
                partition, _, etag = part.partition(":")
                borders = Borders.of(Unit(0, f"{self.topic}[{partition}]", -1, etag))
                if borders.start == borders.end:
                    continue
                refuse_another(self._reader().cluster, borders)
                for found in self._reader().cluster.messages(self.topic, borders.partition, borders.start, borders.end):
                    for message in found:
                        count += 1
                        if len(sample) < self.record_count:
                            sample.append(message)
                        elif (at := rng.randrange(count)) < self.record_count:
                            sample[at] = message
            yield from ((0, self._records(sample[at : at + LIST], unit.name)) for at in range(0, len(sample), LIST))
