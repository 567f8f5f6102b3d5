"""Google Pub/Sub as a target: records as messages, up to a thousand in a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.protocols import TextFormat
from exporters_beam.errors import ConfigError
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import MISSING, Key
from exporters_beam.systems.messages import Entry, MessageFault, in_requests, target
from exporters_beam.systems.pubsub import PubsubOptions, ask
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions

MESSAGES, BYTES = 1_000, 9_500_000
"""Messages and bytes of a request."""

AROUND = 64
"""Bytes that are counted for what stands around a message."""

MOST_BYTES = 10_000_000 - 2_000
"""Bytes that a message may have, with its attributes."""

MOST_ATTRIBUTES = 100


@dataclass(frozen=True, kw_only=True)
class PubsubWriter(RecordWriterOptions, PubsubOptions):
    """Publish each record to a topic of Google Pub/Sub, as a message of JSON.

    `key` is the field that is the ordering key: messages of one key are published in input order, and subscriptions that keep
    the order give them so. The service has no ledger, so a batch that is sent again after a crash is there twice. The
    attribute that `id_attribute` names holds delivery, batch and number of the record, by which consumers may tell.

    A request that the service does not take, since a record is not of the topic's schema, is halved until that is found;
    the others are there.

    Example:
        writer:
          name: pubsub
          options: {topic: projects/shop/topics/orders, key: customer}
    """

    delivers: ClassVar[str] = "at least once"

    topic: str = option("the topic: projects/PROJECT/topics/NAME, or its name", example="projects/shop/topics/orders")
    items_per_buffer_write: int = option("most records in a batch, which is sent again as a whole after a crash", type="int",
                                         default=1000, minimum=1)  # fmt: skip
    size_per_buffer_write: int = option("bytes at which a batch is closed, as staged; 0: no limit", type="int",
                                        default=8_000_000, minimum=0)  # fmt: skip
    key: str | None = option("the field, or path, that is the ordering key; without one messages have none", type="str",
                             default=None, example="customer")  # fmt: skip
    attributes: Mapping[str, str] | None = option("fields by the names of attributes, in which they stand besides", type="dict",
                                                  default=None, example={"kind": "type"})  # fmt: skip
    id_attribute: str = option("the attribute for delivery, batch and number of the record; empty: none", type="str",
                               default="exporters-beam-id")  # fmt: skip

    def __post_init__(self) -> None:
        RecordWriterOptions.__post_init__(self)
        self.check_name("topic", self.topic, "topics")
        if self.key and self.concurrency > 1:
            raise ConfigError("concurrency: messages with a key go out in order, one batch after the other; leave it out")
        for name in self.attributes or {}:
            if not name or len(name.encode()) > 256 or name.startswith("goog"):
                raise ConfigError(f"attributes: {name!r} is not a name of an attribute: 1 to 256 bytes, not with goog in front")
        if len(self.attributes or {}) >= MOST_ATTRIBUTES:
            raise ConfigError(f"attributes: a message has {MOST_ATTRIBUTES} at most, `id_attribute` among them")

    @property
    def staged_as(self) -> TextFormat:
        return JsonFormat()

    @property
    def target(self) -> str:
        return self.path(self.topic, "topics")

    @property
    def _client(self) -> Any:
        return self._once(lambda: self._connected("publisher"))

    def probe(self) -> None:
        """Raises DestinationError where the topic is not there. Who may publish may perhaps not ask."""
        with target():
            try:
                ask(self._client.get_topic, "topic", self.target, {"topic": self.target})
            except MessageFault as error:
                if error.code != "Forbidden":
                    raise

    def reset(self) -> None:
        self._let_go()

    close = reset

    def send(self, batch: RecordBatch) -> None:
        """Raises Transient where some could not be sent: these are sent the next time, and no others."""
        done: set[int] = self.__dict__.setdefault("_done", {}).setdefault((batch.delivery, batch.number), set())
        answers: dict[int, str] = self.__dict__.setdefault("_refused", {}).setdefault((batch.delivery, batch.number), {})
        made = (self._entry(batch, n, answers) for n in range(len(batch.staged)) if n not in done)
        entries = [entry for entry in made if entry is not None]
        if answers and not batch.tolerant:
            batch.refuse(min(answers), answers[min(answers)])  # It ends the export, before anything of the batch is sent.
        with target():
            for request in in_requests(entries, MESSAGES, BYTES):
                self._publish(request, done, answers)
        for n, answer in sorted(answers.items()):
            batch.refuse(n, answer)
        self.__dict__["_done"].clear()
        self.__dict__["_refused"].clear()

    def _publish(self, entries: list[Entry], done: set[int], answers: dict[int, str]) -> None:
        request = {"topic": self.target, "messages": [entry.message for entry in entries]}
        try:
            ask(self._client.publish, "topic", self.target, request)
        except MessageFault as error:
            if error.code != "InvalidArgument":
                raise
            if len(entries) > 1:
                half = len(entries) // 2
                self._publish(entries[:half], done, answers)
                self._publish(entries[half:], done, answers)
                return
            answers[entries[0].n] = error.text
        done.update(entry.n for entry in entries)

    def _entry(self, batch: RecordBatch, n: int, answers: dict[int, str]) -> Entry | None:
        """The message of a record; None where it cannot be one, which is told in `answers`."""
        record = batch.records[n] if self.key or self.attributes else {}
        message: dict[str, Any] = {"data": batch.texts[n]}
        attributes = {self.id_attribute: f"{batch.delivery}-{batch.number}-{n}"} if self.id_attribute else {}
        for name, path in (self.attributes or {}).items():
            value = Key.of(path).value(record, MISSING)
            if value is MISSING or value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (str, int, float)) or len(str(value).encode()) > 1024:
                answers[n] = f"attributes: {path} is no number and no text of 1,024 bytes at most"
                return None
            attributes[name] = str(value)
        if self.key:
            value = Key.of(self.key).value(record, MISSING)
            if isinstance(value, bool) or not isinstance(value, (str, int)) or not 0 < len(str(value).encode()) <= 1024:
                answers[n] = f"key: {self.key} is no integer and no text of 1 to 1,024 bytes"
                return None
            message["ordering_key"] = str(value)
        size = AROUND + len(batch.texts[n]) + len(message.get("ordering_key", ""))
        size += sum(len(name) + len(value.encode()) + 8 for name, value in attributes.items())
        if size > MOST_BYTES:
            answers[n] = f"it has {size:,} bytes with its attributes; the service takes messages of 10,000,000"
            return None
        return Entry(n, {**message, "attributes": attributes}, size)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in ("_done", "_refused")}
