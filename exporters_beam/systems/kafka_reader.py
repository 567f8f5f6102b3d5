"""Kafka as a source: what stands in topics when the export begins, partition by partition."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, ClassVar, NamedTuple, cast

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.formats.json_lines import parse
from exporters_beam.records import Record, Undecoded, Unit, Warned
from exporters_beam.systems.kafka import Cluster, KafkaServers, Topic
from exporters_beam.systems.messages import (
    VALUE,
    VALUES,
    Decode,
    MessageFault,
    Registry,
    as_text,
    decoder,
    records_of,
    source,
)

SPAN = 50_000
"""Offsets in a range."""


class Borders(NamedTuple):
    """What a unit reads of a partition, as its name and etag have it."""

    topic: str
    partition: int
    start: int
    end: int
    id: str

    @classmethod
    def of(cls, unit: Unit) -> Borders:
        topic, _, partition = unit.name.rpartition("[")
        offsets, _, topic_id = unit.etag.partition(" ")
        start, _, end = offsets.partition("-")
        return cls(topic, int(partition[:-1]), int(start), int(end), topic_id)

    def unit(self, index: int) -> Unit:
        return Unit(index, f"{self.topic}[{self.partition}]", -1, f"{self.start}-{self.end} {self.id}")


@dataclass(frozen=True, kw_only=True)
class KafkaReader(KafkaServers):
    """Read what topics of Kafka hold when the export begins: messages become records, partition by partition, in order.

    Where each partition ends is asked once and written down: messages that come later are left to the next export, and
    `--resume` reads up to the same offsets. Nothing joins a consumer group and no offsets are committed. With `read_committed`
    messages of transactions that were aborted are not read, and reading ends before the first transaction that is still open,
    with a warning.

    `start` is `earliest`, `committed` (where `group` has got to; the earliest where it has committed nothing), a time such as
    2026-11-30T06:00:00Z, or offsets by partition: {0: 1200, 1: 1187}, with several topics {orders: {0: 1200}}; partitions that
    are not named begin at the earliest. Where that offset is gone, the export fails, or begins at the earliest that is there,
    with a warning: `on_gone`.

    A value is the record: an object of JSON, an Avro record with the number of its schema in front (`registry`), a mapping of
    msgpack; or text or bytes, which stand in the field `value`. `key`, `headers`, `partition`, `offset` and `timestamp`
    (milliseconds since 1970) name fields in which to put these; by default they are left out. Messages without a value
    (tombstones) are left out, with a warning, or become records with no more than these fields: `tombstones: keep`.

    Example:
        reader:
          name: kafka
          options:
            servers: ['localhost:9092']
            topic: orders
            key: _key
    """

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True
    own_times: ClassVar[bool] = True

    topic: tuple[str, ...] = option("the topic, or a list of topics", type="str|str_list", example="orders")
    partitions: tuple[int, ...] | None = option("the partitions to read; by default all", type="int_list", default=None)
    start: Any = option("earliest, committed, a time, or offsets by partition", type="object", default="earliest")
    group: str | None = option("the consumer group whose offsets `start: committed` takes", default=None)
    isolation: str = option("whether messages of transactions that are open or aborted are left out", default="read_committed",
                            choices=("read_committed", "read_uncommitted"))  # fmt: skip
    on_gone: str = option("where the offset to start at is gone: fail, or begin at the earliest", default="fail",
                          choices=("fail", "earliest"))  # fmt: skip
    values: str = option("what the values are", default="json", choices=VALUES)
    value: str = option("the field for values that are text or bytes", default="value")
    keys: str = option("what the keys are, where `key` is given", default="text", choices=("text", "json", "bytes"))
    key: str | None = option("the field for the key", default=None, example="_key")
    headers: str | None = option("the field for the headers, a mapping", default=None, example="_headers")
    partition: str | None = option("the field for the partition", default=None, example="_partition")
    offset: str | None = option("the field for the offset", default=None, example="_offset")
    timestamp: str | None = option("the field for the time, in milliseconds", default=None, example="_timestamp")
    tombstones: str = option("messages without a value: skip, or keep as records", default="skip", choices=("skip", "keep"))
    registry: str | None = option("the URL of the schema registry, with values: avro", default=None)
    registry_user: str | None = option("user of the registry", default=None)
    registry_password: str | None = option("password of the registry", default=None, secret=True)
    _span: int = field(init=False, repr=False, compare=False, default=SPAN)
    _ended: tuple[Borders, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.topic, str):
            object.__setattr__(self, "topic", (self.topic,))
        if not self.topic or not all(self.topic):
            raise ConfigError("topic: give the name of a topic")
        if self.values == "avro" and not self.registry:
            raise ConfigError("registry: give the URL of the schema registry, since values are avro")
        if self.start == "committed" and not self.group:
            raise ConfigError("group: name the consumer group, since start is committed")
        self._offsets_given(self.topic[0])
        if isinstance(self.start, str) and self.start not in ("earliest", "committed"):
            _time(self.start)

    def _offsets_given(self, topic: str) -> dict[int, int]:
        """The offsets by partition that `start` names for a topic. Raises ConfigError."""
        if isinstance(self.start, str):
            return {}
        found = self.start
        if isinstance(found, Mapping) and any(isinstance(member, Mapping) for member in found.values()):
            unknown = [name for name in found if name not in self.topic]
            if unknown:
                raise ConfigError(f"start: {unknown[0]} is none of the topics that are read")
            found = found.get(topic, {})
        elif len(self.topic) > 1:
            raise ConfigError("start: give offsets for each topic, {orders: {0: 1200}}, since several are read")
        try:
            given = {int(partition): int(offset) for partition, offset in found.items()}
        except (AttributeError, TypeError, ValueError):
            raise ConfigError("start: give earliest, committed, a time, or offsets by partition, {0: 1200, 1: 1187}") from None
        if any(offset < 0 for offset in given.values()):
            raise ConfigError("start: an offset is 0 or more")
        return given

    def units(self) -> Iterator[Unit | Warned]:
        """Every partition once, with its borders. Raises SourceError."""
        index = 0
        with source():
            for name in dict.fromkeys(self.topic):
                for found in self._borders(self.cluster.topic(name)):
                    if isinstance(found, Warned):
                        yield found
                    else:
                        yield found.unit(index)
                        index += 1

    def since(self, units: Sequence[Unit], _: float) -> KafkaReader:
        """The reader that begins where these have ended. Partitions that are none of them begin at the earliest."""
        reader = replace(self)
        object.__setattr__(reader, "_ended", tuple(map(Borders.of, units)))
        return reader

    def upto(self, units: Sequence[Unit], most: int) -> list[Unit]:
        """The same partitions, with so many offsets at most in all of them: each has its share, from its beginning."""
        all_of_them = [(unit, Borders.of(unit)) for unit in units]
        sizes, left, shares = [borders.end - borders.start for _, borders in all_of_them], most, [0] * len(all_of_them)
        for done, at in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
            shares[at] = min(sizes[at], left // (len(sizes) - done))
            left -= shares[at]
        return [borders._replace(end=borders.start + share).unit(unit.index)
                for (unit, borders), share in zip(all_of_them, shares, strict=True)]  # fmt: skip

    def gap(self, before: Sequence[Unit], units: Sequence[Unit]) -> Iterator[str]:
        """What lies between the borders of two batches, or in both."""
        ends = {unit.name: Borders.of(unit).end for unit in before}
        for unit in units:
            start = Borders.of(unit).start
            end = ends.get(unit.name, start)
            if end < start:
                yield f"{unit.name}: the offsets from {end:,} to {start:,} were not read"
            elif end > start:
                yield f"{unit.name}: offsets from {start:,} on were read twice"

    def holds(self, unit: Unit) -> bool:
        """Whether there are offsets between its borders."""
        borders = Borders.of(unit)
        return borders.end > borders.start

    def probe(self) -> None:
        """Raises SourceError where the topics cannot be read."""
        for _ in self.units():
            pass
        with source():
            for topic in self.topic:
                if not self.cluster.may(topic, "READ"):
                    raise MessageFault("topic", f"this user may not read the topic {topic}; give it the rights (ACL)")

    def _borders(self, topic: Topic) -> Iterator[Borders | Warned]:
        wanted = topic.partitions if self.partitions is None else self.partitions
        other = next((each for each in self._ended if each.topic == topic.name and each.id != topic.id), None)
        if other is not None:
            raise MessageFault("topic", f"{topic.name} was made anew since the batch before; what stands in it now has not "
                                        f"been read: "
                               "exporters-beam state CONFIG --reset begins with all of it")  # fmt: skip
        missing = sorted({*wanted, *self._offsets_given(topic.name)} - {*topic.partitions})
        if missing:
            option = "partitions" if missing[0] in (self.partitions or ()) else "start"
            raise MessageFault(option, f"{topic.name} has no partition {missing[0]}; it has {_shown(topic.partitions)}")
        committed = self.isolation == "read_committed"
        numbers = sorted(set(wanted))
        begins = self._begins(topic.name, numbers)
        if isinstance(begins, Warned):
            yield begins
            begins = {}
        ends = self.cluster.offsets(topic.name, numbers, "latest", committed)
        undecided = self.cluster.offsets(topic.name, numbers, "latest", False) if committed else ends
        earliest = self.cluster.offsets(
            topic.name, numbers, "earliest", False
        )  # last: what is there now, is there when it ends
        for number in numbers:
            place, first, end = f"{topic.name}[{number}]", earliest[number], ends[number]
            begin = begins.get(number, first)
            begin = end if begin < 0 else begin  # Nothing came from the time on.
            if begin < first and number in begins:
                gone = (f"{place} begins at offset {first:,} now; the messages from {begin:,} on that stood before it are "
                        "gone, since the topic keeps them no longer")  # fmt: skip
                if self.on_gone == "fail":
                    raise MessageFault("start", f"{gone}; on_gone: earliest begins with what is there")
                yield Warned(f"start: {gone}")
                begin = first
            elif begin > end and undecided[number] < begin:
                raise MessageFault("start", f"{place} ends at offset {end:,}: there is no {begin:,}; was the topic made anew?")
            if undecided[number] > end:
                yield Warned(f"{place}: {undecided[number] - end:,} offsets from {end:,} on are not read, since a transaction "
                             "that began there is still open")  # fmt: skip
            yield Borders(topic.name, number, min(begin, end), end, topic.id)

    def _begins(self, topic: str, numbers: Sequence[int]) -> dict[int, int] | Warned:
        """The offset to start at by partition, without those that begin at the earliest."""
        ended = {each.partition: each.end for each in self._ended if each.topic == topic}
        if ended:
            return {number: ended[number] for number in numbers if number in ended}
        if self.start == "committed":
            group = cast(str, self.group)
            found = self.cluster.committed(group, topic, numbers)
            if not found:
                return Warned(f"group: {group} has committed nothing for {topic}, so its earliest messages are read")
            return {number: offset for number, (offset, _) in found.items()}
        if isinstance(self.start, str):
            return {} if self.start == "earliest" else self.cluster.offsets(topic, numbers, _time(self.start))
        return self._offsets_given(topic)

    def ranges(self, unit: Unit) -> int:
        borders = Borders.of(unit)
        return max(1, -(-(borders.end - borders.start) // self._span))

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record] | Warned]]:
        borders = Borders.of(unit)
        last = self.ranges(unit) - 1
        with source():
            if borders.start < borders.end:
                refuse_another(self.cluster, borders)
                one = decoder(self.values, self.value, self._registry)
                for number, found in self._spans(borders, start):
                    records = self._records(found, one)
                    if len(records) < len(found):
                        yield number, Warned(LEFT_OUT)
                    yield number, records
        yield last, []

    def _spans(self, borders: Borders, start: int) -> Iterator[tuple[int, list[Any]]]:
        """Messages of ranges `start`, `start + 1`, …, some of one range at a time."""
        begin, span = borders.start, self._span
        committed = self.isolation == "read_committed"
        for found in self.cluster.messages(borders.topic, borders.partition, begin + start * span, borders.end, committed):
            while found:
                number = (found[0].offset() - begin) // span
                border = begin + (number + 1) * span
                if found[-1].offset() < border:
                    yield number, found
                    break
                at = next(n for n, message in enumerate(found) if message.offset() >= border)
                yield number, found[:at]
                found = found[at:]

    def records(self, messages: list[Any]) -> list[Any]:
        """What messages are as records, in order."""
        return self._records(messages, decoder(self.values, self.value, self._registry))

    def _records(self, messages: list[Any], one: Decode) -> list[Any]:
        values = [message.value() for message in messages]
        if None in values and self.tombstones == "skip":
            messages = [message for message, value in zip(messages, values, strict=True) if value is not None]
            values = [value for value in values if value is not None]
        made = records_of([value for value in values if value is not None], one)
        if len(made) < len(values):
            given = iter(made)
            made = [{} if value is None else next(given) for value in values]
        if not self._named:
            return made
        if set(map(type, made)) <= {dict}:
            with suppress(UnicodeDecodeError, RecordError):  # One is at fault, which is then found.
                for name, values in self._columns(messages):
                    for record, value in zip(made, values, strict=True):
                        record[name] = value  # type: ignore[index]
                return made
        return [self._completed(*each) for each in zip(made, messages, strict=True)]

    def _columns(self, messages: list[Any]) -> list[tuple[str, list[Any]]]:
        """Each field of what messages have beside their values, for all of them. Raises what a key raises that is not as it is
        to be, before any record is changed."""
        found: list[tuple[str, list[Any]]] = []
        if self.key:
            keys = [message.key() for message in messages]
            if self.keys == "text":
                keys = [None if key is None else key.decode() for key in keys]
            elif self.keys == "json":
                keys = [None if key is None else parse(key) for key in keys]
            found.append((self.key, keys))
        if self.headers:
            found.append((self.headers, [_headers(message) for message in messages]))
        if self.partition:
            found.append((self.partition, [message.partition() for message in messages]))
        if self.offset:
            found.append((self.offset, [message.offset() for message in messages]))
        if self.timestamp:
            found.append((self.timestamp, [time if kind else None for kind, time in (each.timestamp() for each in messages)]))
        return found

    @property
    def _named(self) -> bool:
        """Whether records have fields of what messages have beside their values."""
        return bool(self.key or self.headers or self.partition or self.offset or self.timestamp)

    def _completed(self, record: Record | Undecoded, message: Any) -> Record | Undecoded:
        """A record with the fields that hold what the message has beside its value. One that could not be made is a text of
        JSON that has all of it, so that nothing is lost where it is repaired."""
        told = record.message if isinstance(record, Undecoded) else ""
        try:
            beside = {name: value for name, (value,) in self._columns([message])}
        except (UnicodeDecodeError, RecordError) as error:
            beside = {name: value for name, (value,) in replace(self, keys="bytes")._columns([message])}
            told = told or f"its key is not {'text in UTF-8' if self.keys == 'text' else 'JSON'}: {error}"
        if told:
            return Undecoded(json.dumps({VALUE: message.value(), **beside}, default=as_text, ensure_ascii=False), told)
        cast(Record, record).update(beside)
        return record

    def decode(self, raw: bytes | str) -> Record:
        """The record of a value, as it was given where none could be made of it. Raises RecordError."""
        beside: Record = {}
        value: Any = raw
        if self._named:
            beside = parse(raw.encode() if isinstance(raw, str) else raw)
            value = beside.pop(VALUE, None)
            if isinstance(value, dict):
                value = base64.b64decode(value.get("base64", ""))
        if value is None:
            return beside
        with source():
            found = decoder(self.values, self.value, self._registry)(value.encode() if isinstance(value, str) else value)
        return {**found, **beside}

    @property
    def _registry(self) -> Registry | None:
        made: Registry | None = self.__dict__.get("_made_registry")
        if made is None and self.registry:
            made = Registry(self.registry, self.registry_user, self.registry_password, float(self.timeout_seconds))
            object.__setattr__(self, "_made_registry", made)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_made_registry"}


def refuse_another(cluster: Cluster, borders: Borders) -> None:
    """Raises MessageFault where a topic is not the one that was listed, but made anew under its name."""
    if borders.id and cluster.topic(borders.topic, patient=True).id != borders.id:
        raise MessageFault("topic", f"{borders.topic} was deleted and made anew since the export began; export again "
                                  "without --resume")  # fmt: skip


LEFT_OUT = "messages without a value (tombstones) are left out; `tombstones: keep` makes records of their keys"


def _headers(message: Any) -> dict[str, Any]:
    return {name: _header(value) for name, value in message.headers() or ()}


def _header(value: Any) -> Any:
    """A header as text, where it is."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _shown(partitions: Sequence[int]) -> str:
    return f"{partitions[0]} to {partitions[-1]}" if len(partitions) > 1 else str(partitions[0])


def _time(text: str) -> int:
    """Milliseconds since 1970. Raises ConfigError."""
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise ConfigError(f"start: {text!r} is none of earliest, committed, a time such as 2026-11-30T06:00:00Z, and offsets "
                          "by partition") from None  # fmt: skip
    return int((found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp() * 1000)
