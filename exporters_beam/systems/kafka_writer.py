"""Kafka as a target: batches of records as transactions, each with its own entry in a ledger."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Any, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.protocols import TextFormat
from exporters_beam.components.words import kind_of, one_line
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import MISSING, Key, Record
from exporters_beam.systems.kafka import Cluster, Heard, KafkaServers, fault, library
from exporters_beam.systems.messages import VALUES, MessageFault, Registry, target
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions
from exporters_beam.writers.values import Values

LEDGER = "exporters-beam-"
"""The beginning of the names of groups and transactions; the delivery follows."""

MOST_NOTED = 4000
"""Bytes of a note beside an offset: brokers keep 4,096 (offset.metadata.max.bytes)."""

AROUND = 128
"""Bytes that a message takes beside key, value and headers, at most."""

Message = tuple[bytes | None, bytes | None, list[tuple[str, bytes]] | None]
"""Value, key, headers."""

_json = JsonFormat()


class Noted(NamedTuple):
    """What the ledger of a delivery says: how many batches are there, with how many records, and of the last one its checksum
    and what was refused of it."""

    batches: int = 0
    records: int = 0
    checksum: str = ""
    refused: str = ""

    @classmethod
    def of(cls, cluster: Cluster, topic: str, delivery: str) -> Noted:
        found = cluster.committed(LEDGER + delivery, topic, [0]).get(0)
        if found is None:
            return cls()
        batches, note = found
        try:
            told = json.loads(note)
            return cls(batches, int(told["records"]), str(told["checksum"]), str(told["refused"]))
        except (ValueError, TypeError, KeyError):
            raise MessageFault("", f"the group {LEDGER}{delivery}, which says what was sent of this delivery, was changed by "
                                 "somebody; give another `delivery_id` to send all of it") from None  # fmt: skip

    @property
    def note(self) -> str:
        return json.dumps({"records": self.records, "checksum": self.checksum, "refused": self.refused})


class Sending:
    """The producer of a delivery, which no other run of the same delivery is beside, and what the ledger says."""

    def __init__(self, cluster: Cluster, topic: str, delivery: str, most: int) -> None:
        lib = library()
        self.delivery, self.most = delivery, most
        self._cluster, self._topic, self._heard, self._wrong = cluster, topic, Heard(), None
        usual = {
            "linger.ms": 20,
            "partitioner": "murmur2_random",
            "retry.backoff.ms": 20,
        }  # as Java's clients choose partitions
        fixed = {
            "transactional.id": LEDGER + delivery,
            "message.max.bytes": max(1000, most),
            "delivery.report.only.error": True,
            "on_delivery": self._failed,
        }
        self._producer = cluster.client(lib.Producer, self._heard, fixed, usual)
        self._consumer = cluster.client(lib.Consumer, Heard(), {"group.id": LEDGER + delivery})
        self._tried(lambda seconds: self._producer.init_transactions(seconds))
        # Only now nothing of an earlier run can be under way.
        self.noted = Noted.of(cluster, topic, delivery)

    def _failed(self, error: Any, message: Any) -> None:
        self._wrong = self._wrong or error

    def _tried(self, act: Callable[[float], object]) -> None:
        """Do a step of a transaction, again where it may be. Raises MessageFault."""
        until = time.monotonic() + self._cluster.seconds
        while True:
            try:
                if not _within(act, max(1.0, min(10.0, until - time.monotonic()))):
                    raise MessageFault("", "the client has not come back from a step of a transaction", passing=True)
                return
            except library().KafkaException as caught:
                error = caught.args[0]
                self._heard.look()
                if not error.retriable() or time.monotonic() > until:
                    if error.name() in ("_TIMED_OUT", "_TRANSPORT"):
                        raise self._heard.silence("no broker has answered", self._cluster.seconds) from None
                    raise fault(self._wrong or error, "topic", self._topic) from None

    def commit(self, messages: Sequence[Message], noted: Noted) -> None:
        """Send messages and their note: both are there, or none. Raises MessageFault."""
        lib, producer = library(), self._producer
        note = noted.note
        if len(note) > MOST_NOTED:
            raise MessageFault("items_per_buffer_write", "the target refused more records of a batch than can be noted there; "
                                                       "make batches smaller")  # fmt: skip
        produce, topic = producer.produce, self._topic
        try:
            producer.begin_transaction()
            for value, key, headers in messages:
                try:
                    produce(topic, value, key, headers=headers)
                except BufferError:
                    self._wait(value, key, headers)
        except lib.KafkaException as error:
            raise fault(error.args[0], "topic", topic) from None
        entry = lib.TopicPartition(topic, 0, noted.batches, note)
        group = self._consumer.consumer_group_metadata()
        self._tried(lambda seconds: producer.send_offsets_to_transaction([entry], group, seconds))
        self._tried(producer.commit_transaction)
        self.noted = noted

    def _wait(self, value: bytes | None, key: bytes | None, headers: Any) -> None:
        """Send a message as soon as there is room for it."""
        until = time.monotonic() + self._cluster.seconds
        while True:
            self._producer.poll(0.1)
            try:
                self._producer.produce(self._topic, value, key, headers=headers)
                return
            except BufferError:
                self._heard.look()
                if time.monotonic() > until:
                    raise self._heard.silence("no broker has taken a message", self._cluster.seconds) from None

    def close(self) -> None:
        """Take back what is under way."""
        with suppress(Exception):  # the next producer of this delivery does it where this one cannot
            self._producer.purge()
            _within(self._producer.abort_transaction, 2.0)
        with suppress(Exception):
            self._consumer.close()


@dataclass(frozen=True, kw_only=True)
class KafkaWriter(KafkaServers, RecordWriterOptions):
    """Send records to a topic of Kafka, each once for those who read committed messages.

    A batch is a transaction. The number of batches that are there is committed in the same transaction, as the offset of a
    consumer group that is named by the delivery: a batch that is sent again after a crash, or by the same export over the same
    input, is found there and not sent. Brokers keep that for as long as offsets, 7 days if nothing else is set
    (`offsets.retention.minutes`). Consumers have to read with `isolation.level=read_committed`: others also see messages of
    transactions that were given up.

    A value is the record as JSON (as `formatter: json` writes it: a line of JSON that nothing changes is sent as it came), as
    Avro of `schema`, with its number in the registry in front (`registry`), or the text or the bytes of the field `value`.
    `key` names the field for the key (`a.b` for one inside
    others): a text as it is, anything else as JSON; messages of the same key go to the same partition, that of Java's clients.
    `headers` names fields by header. Where the field `tombstone` is true, the message has no value, so that a compacted topic
    forgets the key. A record that is larger than the topic takes, or cannot be written so, is refused: `on_error`.

    Example:
        writer:
          name: kafka
          options:
            servers: ['localhost:9092']
            topic: products
            key: sku
            create: {partitions: 6}
    """

    delivers: ClassVar[str] = "exactly once"

    topic: str = option("the topic", example="products")
    create: Mapping[str, Any] | None = option(
        "make the topic where there is none: {partitions: 6, replication: 3, config: {retention.ms: 86400000}}",
        type="dict", default=None,
    )  # fmt: skip
    key: str | None = option("the field for the key; without one messages have none", default=None, example="sku")
    key_in_value: bool = option("leave the key's field in the value, too", type="bool", default=True)
    headers: Mapping[str, str] | None = option("fields by the names of headers", type="dict", default=None)
    tombstone: str | None = option("the field that says that the message has no value", default=None)
    values: str = option("what the values are", default="json", choices=tuple(each for each in VALUES if each != "msgpack"))
    value: str = option("the field that is the value, where it is text or bytes", default="value")
    schema: Any = option("the schema of values: avro, as a mapping", type="dict|str", default=None)
    registry: str | None = option("the URL of the schema registry, with values: avro", default=None)
    registry_user: str | None = option("user of the registry", default=None)
    registry_password: str | None = option("password of the registry", default=None, secret=True)
    subject: str | None = option("what the registry calls the schema; by default the topic and -value", default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        RecordWriterOptions.__post_init__(self)
        if not self.topic:
            raise ConfigError("topic: give the name of a topic")
        if self.concurrency > 1:
            raise ConfigError("concurrency: messages go out in order, one batch after the other; leave it out")
        if self.values == "avro":
            for name, given in (("schema", self.schema), ("registry", self.registry)):
                if not given:
                    raise ConfigError(f"{name}: give it, since values are avro")
            self._parsed()
        if self.tombstone and not self.key:
            raise ConfigError("key: name its field, since a message without a value needs one")
        if self.create is not None and not _is_topic(self.create):
            raise ConfigError(
                "create: give partitions and replication as numbers, and a config: {partitions: 6, replication: 3}"
            )

    def _parsed(self) -> Any:
        import fastavro

        try:
            told = json.loads(self.schema) if isinstance(self.schema, str) else self.schema
            return fastavro.parse_schema(told)
        except Exception as error:  # of many kinds
            raise ConfigError(f"schema: it is no schema of Avro: {one_line(str(error), 200)}") from None

    @property
    def target(self) -> str:
        return f"kafka://{self.servers[0]}/{self.topic}"

    def probe(self) -> None:
        """Raises DestinationError where the topic cannot be written to."""
        with target():
            if self._there() and not self.cluster.may(self.topic, "WRITE"):
                raise MessageFault("topic", f"this user may not send to the topic {self.topic}; give it the rights (ACL)")

    def _there(self) -> bool:
        """Whether the topic is there; one that is not and may be made is no fault."""
        try:
            self.cluster.topic(self.topic)
        except MessageFault as error:
            if error.code != "UNKNOWN_TOPIC_OR_PART":
                raise
            if self.create is None:
                raise MessageFault("topic", f"{error.text}; make it, or write create: {{partitions: 6}}") from None
            return False
        return True

    def begin(self, delivery: str) -> None:
        with target():
            if not self._there():
                told = self.create or {}
                config = {name: str(value) for name, value in (told.get("config") or {}).items()}
                self.cluster.make(self.topic, int(told.get("partitions", -1)), int(told.get("replication", -1)), config)

    def send(self, batch: RecordBatch) -> None:
        with target():
            sending = self._sending(batch.delivery)
            messages = self._messages(batch, sending.most)
            noted = sending.noted
            if batch.number < noted.batches:
                if batch.number == noted.batches - 1:  # Of those before it only their number is known.
                    batch.already(noted.checksum, noted.refused)
                return
            if batch.number > noted.batches:
                raise MessageFault("", f"the brokers know of {noted.batches} batches of this delivery, and {batch.number} were "
                                     "sent; they have forgotten it (offsets.retention.minutes), or the topic is another one; "
                                     "look what is there, and give another `delivery_id` to send all of it again")  # fmt: skip
            accepted = noted.records + len(messages)
            try:
                sending.commit(messages, Noted(batch.number + 1, accepted, batch.checksum, batch.refused_json))
            except BaseException:
                self.reset()
                raise

    def _sending(self, delivery: str) -> Sending:
        made: Sending | None = self.__dict__.get("_made_sending")
        if made is None or made.delivery != delivery:
            self.reset()
            made = Sending(self.cluster, self.topic, delivery, self.cluster.most_bytes(self.topic))
            object.__setattr__(self, "_made_sending", made)
        return made

    def reset(self) -> None:
        made: Sending | None = self.__dict__.pop("_made_sending", None)
        if made is not None:
            made.close()

    def close(self) -> None:
        self.reset()

    def count(self, entry: Mapping[str, Any]) -> int | None:
        """What the ledger says of a delivery; None where the brokers have forgotten it."""
        if not entry["batches"]:
            return 0
        with target():
            noted = Noted.of(self.cluster, self.topic, entry["delivery"])
        return noted.records if noted.batches else None

    @property
    def _whole(self) -> bool:
        """Whether values are whole records, as JSON."""
        return self.values == "json" and not self.tombstone and self._left_out is None

    @property
    def staged_as(self) -> TextFormat:
        return _json if self._whole else Values()

    def _messages(self, batch: RecordBatch, most: int) -> list[Message]:
        """The batch as messages, without those that are refused."""
        key = Key.of(self.key).value if self.key else None
        headers = [(name, Key.of(field).value) for name, field in (self.headers or {}).items()]
        found: list[Message] = []
        records: Sequence[Record] = batch.records if key or headers or not self._whole else [{}] * len(batch.staged)
        values = batch.texts if self._whole else self._values(records)
        if not headers and (plain := _all_plain(values, None if key is None else list(map(key, records)), most)):
            return plain
        for n, (record, value) in enumerate(zip(records, values, strict=True)):
            try:
                if isinstance(value, RecordError):
                    raise value
                known = None if key is None else _as_bytes(key(record))
                if value is None and known is None:
                    raise RecordError("it is to have no value, and has no key")
                told = [(name, text) for name, of in headers if (text := _as_bytes(of(record))) is not None] or None
                size = len(value or b"") + len(known or b"") + sum(len(name) + len(text) + 8 for name, text in told or ())
                if size + AROUND > most:
                    raise RecordError(f"it has {size:,} bytes as a message, and the topic {self.topic} takes {most:,} "
                                      "(max.message.bytes)")  # fmt: skip
            except RecordError as error:
                batch.refuse(n, str(error))
            else:
                found.append((value, known, told))
        return found

    def _values(self, records: Sequence[Record]) -> Sequence[bytes | RecordError | None]:
        """The value of each record, None for a tombstone; an error where it has none."""
        one = self._one()
        found: list[bytes | RecordError | None] = []
        for record in records:
            try:
                if self.tombstone and record.get(self.tombstone):
                    found.append(None)
                    continue
                left = self._left_out
                found.append(one(record if left is None else {name: record[name] for name in record if name != left}))
            except RecordError as error:
                found.append(error)
        return found

    @property
    def _left_out(self) -> str | None:
        return None if self.key_in_value else self.key

    def _one(self) -> Callable[[Record], bytes]:
        if self.values == "json":
            return _json.format
        if self.values == "avro":
            return self._avro()
        return self._plain

    def _plain(self, record: Record) -> bytes:
        found = record.get(self.value, MISSING)
        if isinstance(found, str) and self.values == "text":
            return found.encode()
        if isinstance(found, (bytes, bytearray)) and self.values == "bytes":
            return bytes(found)
        what = "not there" if found is MISSING else kind_of(found)
        raise RecordError(f"its field {self.value!r} is {what}, and values are {self.values}")

    def _avro(self) -> Callable[[Record], bytes]:
        import fastavro

        schema = self._parsed()
        registry = Registry(str(self.registry), self.registry_user, self.registry_password, float(self.timeout_seconds))
        made: bytes | None = self.__dict__.get("_made_number")
        if made is None:
            text = self.schema if isinstance(self.schema, str) else json.dumps(self.schema)
            made = b"\0" + registry.register(self.subject or f"{self.topic}-value", text).to_bytes(4, "big")
            object.__setattr__(self, "_made_number", made)
        front = made

        def written(record: Record) -> bytes:
            stream = io.BytesIO()
            stream.write(front)
            try:
                fastavro.schemaless_writer(stream, schema, record, strict_allow_default=True)
            except Exception as error:  # of many kinds, by what does not fit
                raise RecordError(f"it is not of the schema: {one_line(str(error), 200) or type(error).__name__}") from None
            return stream.getvalue()

        return written

    def __getstate__(self) -> dict[str, Any]:
        made = ("_made_sending", "_made_number")
        return {name: value for name, value in super().__getstate__().items() if name not in made}


def _all_plain(values: Sequence[Any], keys: list[Any] | None, most: int) -> list[Message] | None:
    """The messages of these values and keys, where nothing is the matter with any of them; else None."""
    if set(map(type, values)) != {bytes} or not (keys is None or set(map(type, keys)) == {str}):
        return None
    try:
        known: list[Any] = [None] * len(values) if keys is None else list(map(str.encode, keys))
    except UnicodeEncodeError:
        return None
    longest = max(map(len, values)) + (0 if keys is None else max(map(len, known)))
    return list(zip(values, known, repeat(None), strict=False)) if longest + AROUND <= most else None


STUCK = 30.0
"""Seconds beyond its own timeout after which a step of a transaction is given up."""


def _within(act: Callable[[float], object], seconds: float) -> bool:
    """Do a step of a transaction; false where it does not come back. librdkafka has been seen to wait for ever for the
    coordinator of a group whose broker was killed, whatever the timeout: the producer is left to itself then, and the next one
    of the same transaction fences it."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act(seconds)
        except BaseException as error:
            raised.append(error)

    step = threading.Thread(target=run, daemon=True)
    step.start()
    step.join(seconds + STUCK)
    if raised:
        raise raised[0]
    return not step.is_alive()


def _as_bytes(value: Any) -> bytes | None:
    """A key or a header: text and bytes as they are, anything else as JSON. Raises RecordError."""
    if value is None or isinstance(value, bytes):
        return value
    try:
        return value.encode() if isinstance(value, str) else _json.format(value)
    except UnicodeEncodeError:
        raise RecordError("its key or a header is no text: it has half of a pair of surrogates") from None


def _is_topic(told: Mapping[str, Any]) -> bool:
    numbers = (told.get("partitions", 1), told.get("replication", 1))
    right = all(type(number) is int and number > 0 for number in numbers)
    return right and isinstance(told.get("config", {}), dict) and not {*told} - {"partitions", "replication", "config"}
