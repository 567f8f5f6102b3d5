"""What the readers and the writer of Kafka share: the options by which a cluster is found, its client, what it refuses.

Clients are made on first use and never pickled. What a broker or the client library says comes out as `MessageFault`: one
sentence with the option that is to blame.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.words import one_line
from exporters_beam.errors import ConfigError, MissingExtra
from exporters_beam.storages.base import OnFirstUse
from exporters_beam.systems.messages import MessageFault

ONE_REQUEST, LATE = 20.0, 5.0
"""Seconds of one request, and beyond them, after which it is given up and another client asks: not every request of librdkafka
keeps to its timeout."""

PATIENCE = 10.0
"""Seconds for which nobody may answer before it counts as unreachable where nothing was read or sent yet."""

MOST_BYTES = 1_048_588
"""Bytes of a message, where a topic says nothing else."""

MESSAGES = 1000
"""So many messages are taken from the client at a time."""

ORDERED = ("group.id", "enable.auto.commit", "auto.offset.reset", "enable.partition.eof", "isolation.level",
           "transactional.id", "enable.idempotence", "acks")  # fmt: skip
"""Settings on which it depends that nothing is lost and nothing comes twice: no `options` may change them."""


class Topic(NamedTuple):
    """A topic as it is now: `id` is another one where it was deleted and made again under the same name."""

    name: str
    id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class KafkaServers(OnFirstUse):
    """The options by which readers and the writer find a cluster."""

    servers: tuple[str, ...] = option("brokers to ask first, as host:port", type="str_list", example=["localhost:9092"])
    security_protocol: str = option("how to speak with the brokers", default="PLAINTEXT",
                                    choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"))  # fmt: skip
    sasl_mechanism: str = option("how to log in, with SASL", default="PLAIN",
                                 choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"))  # fmt: skip
    sasl_username: str | None = option("user, with SASL", default=None, env="EXPORTERS_KAFKA_USERNAME")
    sasl_password: str | None = option("password, with SASL", default=None, env="EXPORTERS_KAFKA_PASSWORD", secret=True)
    ssl_ca_file: str | None = option("certificates to trust, with SSL; by default the machine's", default=None)
    ssl_certificate_file: str | None = option("certificate of this client, where brokers want one", default=None)
    ssl_key_file: str | None = option("key of that certificate", default=None)
    ssl_key_password: str | None = option("password of that key", default=None, secret=True)
    options: Mapping[str, Any] = option(
        "further settings of the client, by their names in librdkafka; never shown, for they may hold secrets",
        type="dict", default={}, secret=True, example={"socket.timeout.ms": 30000}, identity=False,
    )  # fmt: skip
    timeout_seconds: int = option("seconds without an answer or a message that is due, after which the export fails",
                                  type="int", default=60, minimum=1, identity=False)  # fmt: skip

    def __post_init__(self) -> None:
        if not self.servers:
            raise ConfigError("servers: give at least one broker, as host:port")
        for name in self.options:
            if name in ORDERED:
                raise ConfigError(f"options: {name} cannot be set here, since what is promised depends on it")
        if self.security_protocol.startswith("SASL") and self.sasl_mechanism not in ("OAUTHBEARER", "GSSAPI"):
            for name in ("sasl_username", "sasl_password"):
                if getattr(self, name) is None:
                    raise ConfigError(f"{name}: give it, since security_protocol is {self.security_protocol}")

    def settings(self) -> dict[str, Any]:
        """These options as the client library has them."""
        sasl = self.security_protocol.startswith("SASL")
        given = {
            "bootstrap.servers": ",".join(self.servers),
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism if sasl else None,
            "sasl.username": self.sasl_username if sasl else None,
            "sasl.password": self.sasl_password if sasl else None,
            "ssl.ca.location": self.ssl_ca_file,
            "ssl.certificate.location": self.ssl_certificate_file,
            "ssl.key.location": self.ssl_key_file,
            "ssl.key.password": self.ssl_key_password,
        }
        return {name: value for name, value in given.items() if value is not None} | dict(self.options)

    @property
    def cluster(self) -> Cluster:
        """The cluster, with its clients, kept from the first use on."""
        return self._once(lambda: Cluster(self.settings(), float(self.timeout_seconds)))


def library(name: str = "") -> Any:
    """confluent_kafka, or a module of it, imported on first use. Raises MissingExtra."""
    try:
        return importlib.import_module(f"confluent_kafka{name}")
    except ImportError:
        raise MissingExtra("Kafka", "kafka") from None


class Heard:
    """What a client says of its connections while it tries again and again: the last of it tells why nothing comes."""

    def __init__(self) -> None:
        self.last: Any = None
        self.certain: Any = None

    def __call__(self, error: Any) -> None:
        if error.name() in ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "_SSL") or error.fatal():
            self.certain = error
        if error.name() != "_ALL_BROKERS_DOWN":
            self.last = error

    def look(self) -> None:
        """Raises MessageFault for what does not go away by itself."""
        if self.certain is not None:
            raise fault(self.certain)

    def silence(self, what: str, seconds: float) -> MessageFault:
        """What is wrong where nothing came for so long."""
        if self.last is None:
            return MessageFault("timeout_seconds", f"{what} for {seconds:,.0f} seconds; look at the brokers, or wait longer",
                              passing=True)  # fmt: skip
        return fault(self.last)


@dataclass
class Cluster:
    """A cluster of brokers, and what can be asked of it. Everything raises MessageFault."""

    settings: Mapping[str, Any] = field(repr=False)
    seconds: float
    _admin: Any = None
    _heard: Heard = field(default_factory=Heard)
    _left: list[Any] = field(default_factory=list, repr=False)
    """Clients that do not answer: to end them could take as long."""

    def client(
        self,
        kind: Callable[[Mapping[str, Any]], Any],
        heard: Heard,
        fixed: Mapping[str, Any] = MappingProxyType({}),
        usual: Mapping[str, Any] = MappingProxyType({}),
    ) -> Any:
        """A client of the library: a Consumer, a Producer or an AdminClient. `usual` are settings that the config may change,
        `fixed` those that it may not."""
        quiet = {"log_level": 0, "client.id": "exporters-beam", "reconnect.backoff.max.ms": 2000}
        try:
            return kind({**quiet, **usual, **self.settings, **fixed, "error_cb": heard})
        except library().KafkaException as error:
            raise fault(error.args[0]) from None
        except (TypeError, ValueError) as error:
            raise MessageFault("options", one_line(str(error), 300)) from None

    @property
    def admin(self) -> Any:
        if self._admin is None:
            self._admin = self.client(library(".admin").AdminClient, self._heard)
        return self._admin

    def asked(self, ask: Callable[[Any, float], Any], option: str = "", where: str = "", patient: bool = False) -> Any:
        """The answer of a broker. `ask` is given the client and seconds, and gives a future. `patient`: the brokers have
        answered before, so that they are waited for as long as for a message."""
        seconds = self.seconds if patient else min(PATIENCE, self.seconds)
        until = time.monotonic() + seconds
        while True:
            wait = max(1.0, min(ONE_REQUEST, until - time.monotonic()))
            given_up = time.monotonic() + wait + LATE
            try:
                future = ask(self.admin, wait)
                while not future.done() and time.monotonic() < given_up:
                    self.admin.poll(0.02)
                    self._heard.look()
                if future.done():
                    return future.result()
                self._left.append(self._admin)
                self._admin = None
            except library().KafkaException as error:
                found = fault(error.args[0], option, where)
                if not found.passing:
                    raise found from None
                time.sleep(0.2)
            if time.monotonic() >= until:
                raise self._heard.silence("no broker has answered", seconds) from None

    def topic(self, name: str, patient: bool = False) -> Topic:
        """A topic and its partitions. Raises MessageFault where there is none."""
        lib = library()

        def ask(admin: Any, seconds: float) -> Any:
            return admin.describe_topics(lib.TopicCollection([name]), request_timeout=seconds)[name]

        found = self.asked(ask, "topic", name, patient)
        return Topic(name, str(found.topic_id), tuple(sorted(each.id for each in found.partitions)))

    def offsets(self, topic: str, partitions: Iterable[int], which: str | int, committed: bool = True) -> dict[int, int]:
        """The `earliest` or `latest` offset of each partition, or the first from a time (milliseconds) on, -1 where there is
        none. Where `committed`, the latest is the one behind the last transaction that is decided."""
        lib, admin = library(), library(".admin")
        of_name = {"earliest": admin.OffsetSpec.earliest, "latest": admin.OffsetSpec.latest}
        spec = admin.OffsetSpec.for_timestamp(which) if isinstance(which, int) else of_name[which]()
        level = lib.IsolationLevel.READ_COMMITTED if committed else lib.IsolationLevel.READ_UNCOMMITTED
        asked = {lib.TopicPartition(topic, number): spec for number in partitions}
        found = {}
        for of in asked:

            def ask(client: Any, seconds: float, of: Any = of) -> Any:
                answers = client.list_offsets({of: asked[of]}, isolation_level=level, request_timeout=seconds)
                return answers[of]

            found[of.partition] = self.asked(ask, "topic", topic).offset
        return found

    def committed(self, group: str, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, str]]:
        """What a group has committed: offset and metadata by partition, without those for which there is nothing.

        A consumer is asked, which joins nothing, and no admin client: where the connection to the coordinator of a group ends
        while an admin client asks it, librdkafka ends the whole process by an assertion (its issue 4605) or never answers.
        """
        lib, heard, wait = library(), Heard(), 1.0
        asked = [lib.TopicPartition(topic, number) for number in partitions]
        until = time.monotonic() + self.seconds
        with closing(self.client(lib.Consumer, heard, {"group.id": group, "isolation.level": "read_committed"})) as consumer:
            while True:
                try:
                    found = consumer.committed(asked, max(1.0, min(wait, until - time.monotonic())))
                    wrong = next((each.error for each in found if each.error is not None), None)
                except lib.KafkaException as error:
                    wrong = error.args[0]
                if wrong is None:
                    return {each.partition: (each.offset, each.metadata or "") for each in found if each.offset >= 0}
                self._refuse(wrong, group)
                for event in consumer.consume(MESSAGES, 0.02):
                    if event.error() is not None:  # Of the group: that this user may not use it.
                        self._refuse(event.error(), group)
                heard.look()
                if time.monotonic() > until:
                    raise heard.silence(f"nobody has told what the group {group} has committed", self.seconds)
                wait = min(2 * wait, ONE_REQUEST)

    def _refuse(self, error: Any, group: str) -> None:
        """Raises MessageFault for an error about a group that does not pass by itself."""
        if error.name() != "UNSTABLE_OFFSET_COMMIT":  # A transaction has ended just now, and the group is not told yet.
            found = fault(error, "group", group)
            if not found.passing:
                raise found

    def most_bytes(self, topic: str) -> int:
        """How many bytes a message may have, as the topic says, or as topics say by default."""
        admin = library(".admin")
        resource = admin.ConfigResource(admin.ConfigResource.Type.TOPIC, topic)

        def ask(client: Any, seconds: float) -> Any:
            return client.describe_configs([resource], request_timeout=seconds)[resource]

        try:
            return int(self.asked(ask, "topic", topic, patient=True)["max.message.bytes"].value)
        except MessageFault as error:
            if "AUTHORIZATION" in error.code:
                return MOST_BYTES
            raise

    def may(self, topic: str, operation: str) -> bool:
        """Whether this user may READ or WRITE a topic, as far as the brokers say."""
        lib, admin = library(), library(".admin")

        def ask(client: Any, seconds: float) -> Any:
            topics = lib.TopicCollection([topic])
            return client.describe_topics(topics, include_authorized_operations=True, request_timeout=seconds)[topic]

        allowed = self.asked(ask, "topic", topic).authorized_operations
        return not allowed or bool({admin.AclOperation[operation], admin.AclOperation.ALL}.intersection(allowed))

    def make(self, topic: str, partitions: int, replication: int, config: Mapping[str, str]) -> None:
        """Make a topic, where it is not there yet."""
        admin = library(".admin")
        made = admin.NewTopic(topic, partitions, replication, config=dict(config))
        try:
            self.asked(lambda client, seconds: client.create_topics([made], request_timeout=seconds)[topic], "create", topic)
        except MessageFault as error:
            if error.code != "TOPIC_ALREADY_EXISTS":
                raise

    def messages(self, topic: str, partition: int, start: int, end: int, committed: bool = True) -> Iterator[list[Any]]:
        """The messages of a partition from one offset up to, not including, another, some at a time.

        The end is one that the partition has had, and under `committed` one behind decided transactions: what stands before
        it comes, or never does. It is reached by a message behind it or by the event at the partition's end: the offsets
        before it may all be gone by compaction, or be those of transactions.
        """
        if start >= end:
            return
        lib, heard = library(), Heard()
        fixed = {
            "group.id": "exporters-beam",  # The library wants one; nothing joins it, nothing is committed.
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
        }
        # By default a full queue is left alone for a second.
        usual = {"fetch.queue.backoff.ms": 5, "queued.min.messages": 20_000, "fetch.wait.max.ms": 100}
        consumer = self.client(lib.Consumer, heard, fixed, usual)
        with closing(consumer):
            consumer.assign([lib.TopicPartition(topic, partition, start)])
            following, last = start, time.monotonic()
            while following < end:
                found = consumer.consume(min(MESSAGES, end - following), 0.2)
                if not found:
                    heard.look()
                    if time.monotonic() - last > self.seconds:
                        raise heard.silence(f"{topic}[{partition}]: nothing came at offset {following:,}", self.seconds)
                    continue
                last = time.monotonic()
                given, event = _parted(found)
                if given and given[-1].offset() >= end:
                    yield [message for message in given if message.offset() < end]
                    return
                if given:
                    yield given
                    following = given[-1].offset() + 1
                if event is None:
                    continue
                if event.error().code() != lib.KafkaError._PARTITION_EOF:
                    _wrong(event.error(), f"{topic}[{partition}]", following)
                elif event.offset() >= end:
                    return
                else:
                    raise MessageFault("topic", f"{topic}[{partition}] ends at offset {event.offset():,} now, and was longer "
                                              f"when the export began ({end:,}); export again without --resume")  # fmt: skip


def _parted(found: list[Any]) -> tuple[list[Any], Any]:
    """The messages, and the last event of an error among them."""
    event = next((each for each in reversed(found) if each.error() is not None), None)
    return (found if event is None else [each for each in found if each.error() is None]), event


def _wrong(error: Any, place: str, offset: int) -> None:
    """Raises MessageFault, but for what passes by itself."""
    if error.name() in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"):
        raise MessageFault("", f"{place}: the messages from offset {offset:,} on are gone: the topic keeps them no longer "
                             "(retention), or was made anew; export again without --resume")  # fmt: skip
    if not error.retriable() and error.name() not in PASSING:
        raise fault(error, "topic", place)


PASSING = ("_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE", "_WAIT_COORD", "_NOENT", "COORDINATOR_LOAD_IN_PROGRESS",
           "NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE",
           "REQUEST_TIMED_OUT", "NETWORK_EXCEPTION", "CONCURRENT_TRANSACTIONS", "THROTTLING_QUOTA_EXCEEDED")  # fmt: skip
"""Errors, by their names, that are there for a while: the library does not say it of all where a broker answers an admin.
`_NOENT` is a leader that is not known at the moment."""

TOLD: Mapping[str, tuple[str, str]] = {
    "UNKNOWN_TOPIC_OR_PART": ("topic", "there is no topic {where}"),
    "_UNKNOWN_TOPIC": ("topic", "there is no topic {where}"),
    "_UNKNOWN_PARTITION": ("topic", "there is no partition {where}"),
    "TOPIC_EXCEPTION": ("topic", "{where} is no name of a topic"),
    "TOPIC_AUTHORIZATION_FAILED": ("topic", "this user may not use the topic {where}; give it the rights (ACL)"),
    "GROUP_AUTHORIZATION_FAILED": ("group", "this user may not use the group {where}; give it the rights (ACL)"),
    "CLUSTER_AUTHORIZATION_FAILED": ("sasl_username", "this user may not do that on this cluster; give it the rights (ACL)"),
    "_FENCED": ("", "another run of this very export sends to the topic, and only the last one may; let it end"),
    "PRODUCER_FENCED": ("", "another run of this very export sends to the topic, and only the last one may; let it end"),
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": (
        "sasl_username",
        "this user may not use transactions whose names begin with exporters-beam; give it the rights (ACL)",
    ),
    "_AUTHENTICATION": ("sasl_username", "the broker does not let this user in"),
    "SASL_AUTHENTICATION_FAILED": ("sasl_username", "the broker does not let this user in"),
    "_SSL": ("security_protocol", "no encrypted connection can be made"),
    "_RESOLVE": ("servers", "the name of a broker is not known"),
    "_TRANSPORT": ("servers", "no broker can be reached"),
    "_ALL_BROKERS_DOWN": ("servers", "no broker can be reached"),
}
"""What users are told of errors of the client library, by their names: the option, and what is wrong with it."""

_ADDED = re.compile(r"^[\w+]+://|^(Broker|Local): |\s*\(after \d+ms in state [^()]*(\(s\)[^()]*)?\)")


def fault(error: Any, option: str = "", where: str = "") -> MessageFault:
    """An error of the client library as one sentence."""
    name, said = error.name(), one_line(_ADDED.sub("", error.str()), 300)
    passing = bool(error.retriable()) or name in PASSING or "load in progress" in said.lower()
    if name == "_INVALID_ARG":
        blamed = next((option for setting, option in _OPTIONS.items() if setting in said), "options")
        return MessageFault(blamed, said, name)
    if name == "_TRANSPORT" and "SSL" in said:
        return MessageFault("security_protocol", f"no encrypted connection can be made ({said})", name, passing)
    blamed, text = TOLD.get(name, (option, "{where}: the cluster refused" if where else "the cluster refused"))
    return MessageFault(blamed, f"{text.format(where=where)} ({said})", name, passing)


_OPTIONS = {
    "ssl.ca.location": "ssl_ca_file",
    "ssl.certificate.location": "ssl_certificate_file",
    "ssl.key.location": "ssl_key_file",
    "sasl.mechanism": "sasl_mechanism",
    "security.protocol": "security_protocol",
}
"""Settings of the client library, and our options for them."""
