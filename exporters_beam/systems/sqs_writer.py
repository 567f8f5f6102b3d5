"""Amazon SQS as a target: records as messages, ten in a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.protocols import TextFormat
from exporters_beam.errors import ConfigError, Transient
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import MISSING, Key, Record
from exporters_beam.systems.messages import Entry, MessageFault, in_requests, target
from exporters_beam.systems.sqs import ENTRIES, PASSING, SqsQueue
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions

SMALLEST = 256 << 10
"""Bytes that a request may have whatever the queue says."""

AT_ONCE = 8
"""Requests that are under way at a time, where order does not matter."""

GROUP = "exporters-beam"
"""The group of messages of FIFO queues without a `key`."""

MOST_ATTRIBUTES = 10

_GROUP = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*")
_NO_TEXT = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class SqsWriter(RecordWriterOptions, SqsQueue):
    """Send each record to a queue of Amazon SQS, as a message of JSON, ten in a request.

    To a FIFO queue messages go in input order. The field `key` is the group, whose messages consumers get in that order;
    without it all are of one group. Each message has a deduplication id of delivery, batch and record, so what is sent
    again within five minutes is there once; after that time, and in other queues always, a batch that is sent again after a
    crash is there twice. The attribute that `id_attribute` names holds the same id, by which consumers may tell.

    What the queue refuses of a request is refused with its answer, and the rest is there; what it could not take just then is
    sent again, and nothing else.

    Example:
        writer:
          name: sqs
          options: {queue: orders.fifo, key: customer, aws_region: eu-west-1}
    """

    delivers: ClassVar[str] = "at least once; to a FIFO queue exactly once within five minutes"

    items_per_buffer_write: int = option("most records in a batch, which is sent again as a whole after a crash", type="int",
                                         default=1000, minimum=1)  # fmt: skip
    key: str | None = option("the field, or path, that is the message group, of a FIFO queue", type="str", default=None,
                             example="customer")  # fmt: skip
    attributes: Mapping[str, str] | None = option("fields by the names of attributes, in which they stand besides", type="dict",
                                                  default=None, example={"kind": "type"})  # fmt: skip
    id_attribute: str = option("the attribute for delivery, batch and number of the record; empty: none", type="str",
                               default="exporters-beam-id")  # fmt: skip

    def __post_init__(self) -> None:
        RecordWriterOptions.__post_init__(self)
        SqsQueue.__post_init__(self)
        if self.key and not self.fifo:
            raise ConfigError(f"key: only FIFO queues have groups, and the name {self.queue_name} does not end in .fifo")
        if self.fifo and self.concurrency > 1:
            raise ConfigError("concurrency: messages go to a FIFO queue in order, one batch after the other; leave it out")
        names = [*(self.attributes or {}), *([self.id_attribute] if self.id_attribute else [])]
        for name in names:
            if not _NAME.fullmatch(name) or len(name) > 256:
                raise ConfigError(f"attributes: {name!r} is not a name of an attribute: letters, digits, _, -, and . between")
        if len(names) > MOST_ATTRIBUTES:
            raise ConfigError(f"attributes: a message has {MOST_ATTRIBUTES} at most, `id_attribute` among them")

    @property
    def staged_as(self) -> TextFormat:
        return JsonFormat()

    @property
    def target(self) -> str:
        return f"sqs:{self.queue_name}"

    def probe(self) -> None:
        """Raises DestinationError where the queue is not there, or not for this user."""
        with target():
            self.connection.attributes("QueueArn")

    def reset(self) -> None:
        self._let_go()

    close = reset

    def send(self, batch: RecordBatch) -> None:
        """Raises Transient where some could not be sent: these are sent the next time, and no others."""
        done: set[int] = self.__dict__.setdefault("_done", {}).setdefault((batch.delivery, batch.number), set())
        answers: dict[int, str] = self.__dict__.setdefault("_refused", {}).setdefault((batch.delivery, batch.number), {})
        with target():
            most = self._most()
            made = (self._entry(batch, n, most, answers) for n in range(len(batch.staged)) if n not in done)
            entries = [entry for entry in made if entry is not None]
            if answers and not batch.tolerant:
                batch.refuse(min(answers), answers[min(answers)])  # It ends the export, before anything of the batch is sent.
            requests = list(in_requests(entries, ENTRIES, max(most, SMALLEST)))
            if self.fifo or len(requests) == 1:
                passing = [why for request in requests if (why := self._sent(request, done, answers))]
            else:
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    passing = [why for why in pool.map(lambda request: self._sent(request, done, answers), requests) if why]
        if passing:
            raise Transient(f"queue: {self.queue_name} could not take {len(passing):,} of the requests: {passing[0]}")
        for n, answer in sorted(answers.items()):
            batch.refuse(n, answer)
        self.__dict__["_done"].clear()
        self.__dict__["_refused"].clear()

    def _most(self) -> int:
        """Bytes that a message may have."""
        most: int | None = self.__dict__.get("_most_bytes")
        if most is None:
            most = int(self.connection.attributes("MaximumMessageSize").get("MaximumMessageSize", SMALLEST))
            object.__setattr__(self, "_most_bytes", most)
        return most

    def _entry(self, batch: RecordBatch, n: int, most: int, answers: dict[int, str]) -> Entry | None:
        """The message of a record; None where it cannot be one, which is told in `answers`."""
        text = batch.texts[n].decode()
        known = f"{batch.delivery}-{batch.number}-{n}"
        message: dict[str, Any] = {"MessageBody": text}
        attributes = {self.id_attribute: _attribute(known)} if self.id_attribute else {}
        try:
            if bad := _NO_TEXT.search(text):
                raise ValueError(f"it holds the character U+{ord(bad.group()):04X}, which messages of SQS cannot have")
            if self.attributes:
                record = batch.records[n]
                attributes |= {
                    name: _attribute(value)
                    for name, path in self.attributes.items()
                    if (value := Key.of(path).value(record, MISSING)) is not MISSING and value not in (None, "")
                }
            if self.fifo:
                message |= {"MessageGroupId": self._group(batch.records[n]) if self.key else GROUP,
                            "MessageDeduplicationId": known}  # fmt: skip
        except ValueError as error:
            answers[n] = str(error)
            return None
        size = len(batch.texts[n]) + sum(_size(name, each) for name, each in attributes.items())
        if size > most:
            answers[n] = f"it has {size:,} bytes with its attributes; the queue takes messages of {most:,}"
            return None
        return Entry(n, {**message, **({"MessageAttributes": attributes} if attributes else {})}, size)

    def _group(self, record: Record) -> str:
        value = Key.of(str(self.key)).value(record, MISSING)
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not _GROUP.fullmatch(str(value)):
            raise ValueError(f"key: {self.key} is no integer and no text of 1 to 128 letters, digits and punctuation of ASCII")
        return str(value)

    def _sent(self, entries: list[Entry], done: set[int], answers: dict[int, str]) -> str:
        """Send a request; gives why a part of it is to be sent again, "" where nothing is."""
        try:
            given = [{"Id": str(entry.n), **entry.message} for entry in entries]
            answer = self.connection.on_queue("send_message_batch", Entries=given)
        except MessageFault as error:
            if not error.passing:
                raise
            return str(error)
        done.update(int(each["Id"]) for each in answer.get("Successful", ()))
        why = ""
        for each in answer.get("Failed", ()):
            told = f"{each.get('Code')}: {each.get('Message', '')}".rstrip(": ")
            if each.get("SenderFault") and str(each.get("Code")).rpartition(".")[2] not in PASSING:
                done.add(int(each["Id"]))
                answers[int(each["Id"])] = f"the queue said {told}"
            else:
                why = why or told
        return why

    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__().items()
        return {name: value for name, value in kept if name not in ("_done", "_refused", "_most_bytes")}


def _attribute(value: Any) -> dict[str, str]:
    """A value as an attribute. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"attributes: {str(value)[:60]!r} is no text and no number")
    if isinstance(value, str) and _NO_TEXT.search(value):
        raise ValueError("attributes: a text holds a character that messages of SQS cannot have")
    return {"DataType": "String" if isinstance(value, str) else "Number", "StringValue": str(value)}


def _size(name: str, attribute: Mapping[str, str]) -> int:
    return len(name) + len(attribute["DataType"]) + len(attribute["StringValue"].encode())
