"""Google Pub/Sub as a source: the messages of a subscription, pulled until it is drained, acknowledged when delivered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError
from exporters_beam.staging.taken import Message
from exporters_beam.storages.base import client
from exporters_beam.systems.messages import VALUES, MessageFault, Registry, source
from exporters_beam.systems.pubsub import PubsubOptions, ask
from exporters_beam.systems.queues import MANIFEST, QueueReader, parts_of

TOGETHER = 1_000
"""Messages that are acknowledged in a request: their ids have about 200 bytes, and a request has 512 KiB at most."""


@dataclass(frozen=True, kw_only=True)
class PubsubReader(QueueReader, PubsubOptions):
    """Read the messages of a subscription of Google Pub/Sub: what is there when the export begins, until it is drained.

    Messages are written down in the staging folder first, and their deadlines extended while the export runs. They are
    acknowledged when all is delivered and the manifest stands; `--resume` reads what was written down, and not the
    subscription again. A message that comes more than once is delivered once, by its id. At least once in all: where the
    export was killed between its manifest and the last acknowledgement, messages may come again; the next export with the
    same books passes over them.

    `acknowledge: written` acknowledges messages as soon as they are written down. Then the staging folder is the only copy
    until all is delivered; a subscription that keeps the order of messages gives all only so, since of a key nothing more
    comes before what came is acknowledged.

    A message's data is the record: an object of JSON, an Avro record with the number of its schema in front (`registry`), a
    mapping of msgpack; or text or bytes, which stand in the field `value`. `id`, `key` (the ordering key), `attributes` and
    `timestamp` (milliseconds since 1970) name fields in which to put these; by default they are left out.

    Example:
        reader:
          name: pubsub
          options: {subscription: projects/shop/subscriptions/orders}
    """

    subscription: str = option("the subscription: projects/PROJECT/subscriptions/NAME, or its name",
                               example="projects/shop/subscriptions/orders")  # fmt: skip
    values: str = option("what the data is", default="json", choices=VALUES)
    registry: str | None = option("the URL of the schema registry, with values: avro", default=None)
    registry_user: str | None = option("user of the registry", default=None)
    registry_password: str | None = option("password of the registry", default=None, secret=True)
    ack_deadline_seconds: int = option("how long nobody else gets a message; it is extended while the export runs", type="int",
                                       default=600, minimum=10, identity=False)  # fmt: skip

    def __post_init__(self) -> None:
        QueueReader.__post_init__(self)
        self.check_name("subscription", self.subscription, "subscriptions")
        if self.ack_deadline_seconds > 600:
            raise ConfigError("ack_deadline_seconds: it is 600 at most")
        if self.values == "avro" and not self.registry:
            raise ConfigError("registry: give the URL of the schema registry, since values are avro")

    @property
    def values_are(self) -> str:
        return self.values

    @property
    def name(self) -> str:
        return self.path(self.subscription, "subscriptions")

    @property
    def held_seconds(self) -> float:
        return float(self.ack_deadline_seconds)

    @property
    def _client(self) -> Any:
        return self._once(lambda: self._connected("subscriber"))

    def probe(self) -> None:
        """Raises SourceError where the subscription is not there. Whether it may be read is not to be known without reading."""
        with source():
            self._about()

    def _about(self) -> Any:
        """What the subscription says of itself; None where this user may not ask."""
        try:
            return ask(self._client.get_subscription, "subscription", self.name, {"subscription": self.name})
        except MessageFault as error:
            if error.code != "Forbidden":
                raise
            return None

    def look(self) -> None:
        self._about()

    def receive(self, most: int) -> list[Message]:
        return [_message(each) for each in self._asked(lambda: self._pulled(most))]

    def _pulled(self, most: int) -> Any:
        request = {"subscription": self.name, "max_messages": most}
        try:
            answer = ask(self._client.pull, "subscription", self.name, request, max(1.0, float(self.wait_seconds)))
        except MessageFault as error:
            if error.code == "DeadlineExceeded":
                return ()
            raise
        return answer.received_messages

    def hold(self, receipts: Mapping[str, str]) -> None:
        self.extend(receipts)

    def extend(self, receipts: Mapping[str, str]) -> dict[str, str]:
        return self._of_all("modify_ack_deadline", receipts, patient=False, ack_deadline_seconds=self.ack_deadline_seconds)

    def settled(self, receipts: Mapping[str, str]) -> dict[str, str]:
        return self._of_all("acknowledge", receipts)

    def give_back(self, receipts: Mapping[str, str]) -> None:
        self._of_all("modify_ack_deadline", receipts, ack_deadline_seconds=0)

    def _of_all(self, method: str, receipts: Mapping[str, str], patient: bool = True, **more: Any) -> dict[str, str]:
        """Ask it of each message; gives those for which it failed, and why."""
        errors = client("google.api_core.exceptions", "Pub/Sub", "pubsub")
        act = {"modify_ack_deadline": self._client.modify_ack_deadline, "acknowledge": self._client.acknowledge}[method]
        failed: dict[str, str] = {}
        for part in parts_of(receipts, TOGETHER):
            request = {"subscription": self.name, "ack_ids": list(part.values()), **more}
            try:
                asking = partial(ask, act, "subscription", self.name, request)
                if patient:
                    self._asked(asking)
                else:
                    asking()
            except MessageFault as error:
                if error.passing and not patient:
                    raise
                cause = error.__cause__
                told = dict(cause.metadata or {}) if isinstance(cause, errors.GoogleAPICallError) else {}
                named = {known: told[receipt] for known, receipt in part.items() if receipt in told}
                failed |= named or dict.fromkeys(part, str(error))
        return failed

    def left_behind(self) -> str:
        """What a subscription still has of which it gives nothing more."""
        about = self._about() if self.acknowledge == MANIFEST else None
        if about is None or not about.enable_message_ordering:
            return ""
        return ("messages may be left: the subscription keeps the order of messages, and gives no more of a key before those "
                "that came are acknowledged; `acknowledge: written` takes them all")  # fmt: skip

    def registry_of(self) -> Registry | None:
        if not self.registry:
            return None
        return Registry(self.registry, self.registry_user, self.registry_password, 60.0)


def _message(given: Any) -> Message:
    message = given.message
    sent = message.publish_time
    beside = {
        "key": message.ordering_key or None,
        "attributes": dict(message.attributes),
        "timestamp": int(sent.timestamp() * 1000) if sent else None,
    }
    return Message(message.message_id, given.ack_id, bytes(message.data), beside)
