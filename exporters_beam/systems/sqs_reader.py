"""Amazon SQS as a source: the messages of a queue, taken until it is drained, and deleted when the export is delivered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
from exporters_beam.staging.taken import Message
from exporters_beam.systems.messages import MessageFault, source
from exporters_beam.systems.queues import MANIFEST, QueueReader
from exporters_beam.systems.sqs import ENTRIES, SqsQueue

AT_ONCE = 8
"""Requests that are under way at a time, where there is much to ask."""


@dataclass(frozen=True, kw_only=True)
class SqsReader(QueueReader, SqsQueue):
    """Read the messages of a queue of Amazon SQS: what is there when the export begins, until the queue is drained.

    Messages are written down in the staging folder first, and hidden from others while the export runs. They are deleted when
    all is delivered and the manifest stands; `--resume` reads what was written down, and not the queue again. A message that
    the queue gives more than once is delivered once, by its id. At least once in all: where the export was killed between its
    manifest and the end of deleting, messages may come again; the next export with the same books passes over them.

    `acknowledge: written` deletes messages as soon as they are written down. Then the staging folder is the only copy until
    all is delivered; a FIFO queue gives all its messages only so, since of a group nothing more comes before what came is
    deleted.

    A message's body is the record, as JSON, or a text, in the field `value`. `id`, `key` (the group of a FIFO queue),
    `attributes` and `timestamp` (milliseconds since 1970) name fields in which to put these; by default they are left out.

    Example:
        reader:
          name: sqs
          options: {queue: orders, aws_region: eu-west-1}
    """

    values: str = option("what the bodies are", default="json", choices=("json", "text"))
    visibility_seconds: int = option("how long nobody else gets a message; it is extended while the export runs", type="int",
                                     default=1800, minimum=5, identity=False)  # fmt: skip

    def __post_init__(self) -> None:
        QueueReader.__post_init__(self)
        SqsQueue.__post_init__(self)
        if self.visibility_seconds > 43_200:
            raise ConfigError("visibility_seconds: it is 43200 (12 hours) at most")

    @property
    def values_are(self) -> str:
        return self.values

    @property
    def name(self) -> str:
        return f"sqs:{self.queue_name}"

    @property
    def held_seconds(self) -> float:
        return float(self.visibility_seconds)

    def probe(self) -> None:
        """Raises SourceError where the queue is not there, or not for this user."""
        with source():
            self.connection.attributes("QueueArn")

    def look(self) -> None:
        assert self.connection.url

    def receive(self, most: int) -> list[Message]:
        first = self._received(min(ENTRIES, most))
        more = (most - len(first)) // ENTRIES
        if len(first) < ENTRIES or not more:
            return first
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [*first, *chain.from_iterable(pool.map(self._received, [ENTRIES] * min(more, AT_ONCE)))]

    def _received(self, most: int) -> list[Message]:
        ask = partial(
            self.connection.on_queue,
            "receive_message",
            MaxNumberOfMessages=most,
            WaitTimeSeconds=self.wait_seconds,
            VisibilityTimeout=self.visibility_seconds if self.folder else 30,
            AttributeNames=["SentTimestamp", "MessageGroupId"],
            MessageAttributeNames=["All"] if self.attributes else [],
        )
        return [_message(each) for each in self._asked(ask).get("Messages", ())]

    def extend(self, receipts: Mapping[str, str]) -> dict[str, str]:
        method, seconds = "change_message_visibility_batch", self.visibility_seconds
        return self._of_all(method, receipts, patient=False, VisibilityTimeout=seconds)

    def settled(self, receipts: Mapping[str, str]) -> dict[str, str]:
        return self._of_all("delete_message_batch", receipts)

    def give_back(self, receipts: Mapping[str, str]) -> None:
        self._of_all("change_message_visibility_batch", receipts, VisibilityTimeout=0)

    def _of_all(self, method: str, receipts: Mapping[str, str], patient: bool = True, **more: Any) -> dict[str, str]:
        """Ask it of each message; gives those for which it failed, and why."""
        pairs = list(receipts.items())

        def of_some(at: int) -> dict[str, str]:
            some = pairs[at : at + ENTRIES]
            entries = [{"Id": str(n), "ReceiptHandle": receipt, **more} for n, (_, receipt) in enumerate(some)]
            try:
                ask = partial(self.connection.on_queue, method, Entries=entries)
                answer = self._asked(ask) if patient else ask()
            except MessageFault as error:
                if error.passing and not patient:
                    raise
                return dict.fromkeys((known for known, _ in some), str(error))
            return {some[int(each["Id"])][0]: f"{each.get('Code')}: {each.get('Message', '')}"
                    for each in answer.get("Failed", ())}  # fmt: skip

        return _merged(of_some, range(0, len(pairs), ENTRIES))

    def left_behind(self) -> str:
        """What a queue still has of which it gives nothing more."""
        if not self.fifo or self.acknowledge != MANIFEST:
            return ""
        left = int(self.connection.attributes("ApproximateNumberOfMessages").get("ApproximateNumberOfMessages", 0))
        if not left:
            return ""
        return (f"about {left:,} messages are left in the queue: a FIFO queue gives no more of a group before those that came "
                "are deleted; `acknowledge: written` takes them all")  # fmt: skip


def _merged(of_some: Callable[[int], dict[str, str]], places: range) -> dict[str, str]:
    if len(places) < 2:
        return of_some(0) if places else {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {known: why for failed in pool.map(of_some, places) for known, why in failed.items()}


def _message(given: Mapping[str, Any]) -> Message:
    attributes = {
        name: each["BinaryValue"] if "BinaryValue" in each else each.get("StringValue")
        for name, each in given.get("MessageAttributes", {}).items()
    }
    about = given.get("Attributes", {})
    sent = about.get("SentTimestamp")
    beside = {"key": about.get("MessageGroupId"), "attributes": attributes, "timestamp": int(sent) if sent else None}
    return Message(given["MessageId"], given["ReceiptHandle"], given["Body"].encode(), beside)
