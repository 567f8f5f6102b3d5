"""Queues as sources: what their readers share, whatever the service.

Messages are taken until the queue is drained, and written down in the export's books (`staging.taken`) before anything is
read; they are held meanwhile, and acknowledged when the manifest stands. A reader of a service says how messages are received,
extended, acknowledged and given back.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from exporters_beam.components.options import option
from exporters_beam.components.retry import persistently
from exporters_beam.errors import ConfigError
from exporters_beam.formats.json_lines import parse
from exporters_beam.records import Record, Undecoded, Unit, Warned
from exporters_beam.staging.taken import (
    Message,
    Taken,
    Taking,
    delivered_beside,
    is_there,
    note_only,
    note_unsettled,
    taken_in,
    unsettled,
)
from exporters_beam.storages.base import OnFirstUse
from exporters_beam.systems.messages import (
    VALUE,
    Decode,
    MessageFault,
    Registry,
    as_text,
    decoder,
    records_of,
    source,
)

T = TypeVar("T")

MANIFEST, WRITTEN = "manifest", "written"
"""When messages are acknowledged: when the manifest stands, or when they are written down."""

TOGETHER = 1_000
"""Messages of which records are made at a time."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0

MOST_RECEIVED = 1_000
"""Messages that are asked for at a time at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class QueueReader(OnFirstUse):
    """The options that readers of queues share, and what they do alike."""

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True

    max_messages: int = option("take no more than this; 0: no limit", type="int", default=100_000, minimum=0)
    max_seconds: int = option("take messages for no longer than this; 0: no limit", type="int", default=600, minimum=0,
                              identity=False)  # fmt: skip
    wait_seconds: int = option("how long an answer without messages is waited for", type="int", default=2, minimum=0,
                              identity=False)  # fmt: skip
    empty_answers: int = option("after so many answers in a row without messages the queue counts as drained", type="int",
                                default=3, minimum=1, identity=False)  # fmt: skip
    acknowledge: str = option("when messages are acknowledged: when the manifest stands, or when they are written down",
                              default=MANIFEST, choices=(MANIFEST, WRITTEN), identity=False)  # fmt: skip
    value: str = option("the field for values that are text or bytes", default="value")
    id: str | None = option("the field for the message's id", default=None, example="_id")
    key: str | None = option("the field for the key", default=None, example="_key")
    attributes: str | None = option("the field for the attributes, a mapping", default=None, example="_attributes")
    timestamp: str | None = option("the field for the time at which it was sent, in milliseconds", default=None,
                                   example="_timestamp")  # fmt: skip
    retry_seconds: int = option("how long a service that does not answer is asked again", type="int", default=60, minimum=0,
                                identity=False)  # fmt: skip

    folder: str = field(default="", repr=False, compare=False)
    """Where messages are written down; without one they are only looked at, and given back."""

    def __post_init__(self) -> None:
        if self.wait_seconds > 20:
            raise ConfigError("wait_seconds: services wait for 20 seconds at most; give so many or fewer")
        named = [(name, getattr(self, name)) for name in ("id", *BESIDE) if getattr(self, name)]
        for n, (name, given) in enumerate(named):
            if given in [other for _, other in named[:n]]:
                raise ConfigError(f"{name}: another option names the field {given}, too")

    # What a service's reader has to say. All raise MessageFault.

    @property
    def values_are(self) -> str:
        """What the values are, as `systems.messages.VALUES` has it."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What users know the queue by."""
        raise NotImplementedError

    @property
    def held_seconds(self) -> float:
        """For how long nobody else gets a message that was received or extended."""
        raise NotImplementedError

    def receive(self, most: int) -> list[Message]:
        """Some messages, so many at most; none where none came for `wait_seconds`. What fails for a moment is asked again here,
        request by request: what others have brought in the meantime is not to be forgotten."""
        raise NotImplementedError

    def hold(self, receipts: Mapping[str, str]) -> None:
        """Messages that were received are written down: hold them, where they are not held for long enough yet."""

    def extend(self, receipts: Mapping[str, str]) -> dict[str, str]:
        """Hold messages for `held_seconds` from now on; gives those, by id, that are not held any more, and why. It is asked
        once: what fails for a moment is raised."""
        raise NotImplementedError

    def settled(self, receipts: Mapping[str, str]) -> dict[str, str]:
        """Acknowledge messages; gives those, by id, for which that failed, and why."""
        raise NotImplementedError

    def give_back(self, receipts: Mapping[str, str]) -> None:
        """Let others have the messages at once."""
        raise NotImplementedError

    def left_behind(self) -> str:
        """What users should know when the queue was drained; "" where that is nothing."""
        return ""

    def registry_of(self) -> Registry | None:
        return None

    # What the engine asks for.

    @property
    def kept_in(self) -> Callable[[str], QueueReader] | None:
        """The reader that writes down in a folder what it takes."""
        return None if self.folder else lambda folder: replace(self, folder=folder)

    @property
    def only_copy(self) -> bool:
        """Whether what was written down stands nowhere else any more."""
        return self.acknowledge == WRITTEN

    def units(self) -> Iterator[Unit | Warned]:
        """The queue, of which everything is taken and written down that is to be taken. Raises SourceError."""
        if not self.folder:
            yield Unit(0, self.name)
            return
        taken = Taken(self.folder)
        if not taken.whole:
            self._take()
            taken = Taken(self.folder)
        yield Unit(0, self.name, taken.told["bytes"], taken.told["key"])

    def ranges(self, unit: Unit) -> int:
        return max(1, len(Taken(self.folder).counts)) if self.folder else 1

    def before(self, unit: Unit, number: int) -> int:
        return sum(Taken(self.folder).counts[:number]) if self.folder else 0

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record] | Warned]]:
        if not self.folder:
            yield from self._looked_at()
            return
        taken = Taken(self.folder)
        with source():
            one = decoder(self.values_are, self.value, self._registry)
            for number in range(start, len(taken.counts)):
                for text in taken.told["said"] if number == 0 else ():
                    yield number, Warned(text)
                for messages in _together(taken.piece(number)):
                    yield number, self._records(messages, one)
        if not taken.counts:
            yield from ((0, Warned(text)) for text in taken.told["said"])
        yield max(0, len(taken.counts) - 1), []

    def decode(self, raw: bytes | str) -> Record:
        """The record of a message that could not be decoded, as its letter has it. Raises RecordError."""
        value: Any = raw
        beside: Record = {}
        if self._named:
            beside = parse(raw.encode() if isinstance(raw, str) else raw)
            value = beside.pop(VALUE, "")
            if isinstance(value, dict):
                value = base64.b64decode(value.get("base64", ""))
        with source():
            made = decoder(self.values_are, self.value, self._registry)(value.encode() if isinstance(value, str) else value)
        return {**made, **beside}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else gets what was taken, as long as this lasts."""
        lease = Lease(self.held_seconds, self.extend)
        if self.folder and self.acknowledge == MANIFEST:
            lease.add(Taken(self.folder).receipts())
        object.__setattr__(self, "_lease", lease)
        try:
            with lease:
                yield
        finally:
            object.__setattr__(self, "_lease", None)

    def settle(self, units: Sequence[Unit]) -> Iterator[str]:
        """The export is delivered: acknowledge what was taken. What fails is noted, so that another run tries it again.

        Gives what users should know. It may be called again.
        """
        lease: Lease | None = self.__dict__.get("_lease")
        if lease is not None:
            lease.end()
        books = os.path.dirname(self.folder)
        taken = Taken(self.folder) if is_there(books) else None
        failed, why = self._settled(taken.receipts() if taken else unsettled(books, self.name))
        if taken:
            taken.settle(self.name, failed)
        else:
            note_unsettled(books, self.name, failed)
        if failed:
            yield (f"{len(failed):,} messages were delivered and could not be acknowledged ({why}); --resume tries it again, "
                   "and where they come again, exports that keep their books here pass over them")  # fmt: skip

    # What they are made of.

    def _asked(self, ask: Callable[[], T]) -> T:
        """An answer of the service. Raises MessageFault."""
        return persistently(ask, seconds=self.retry_seconds, first=FIRST_WAIT, longest=LONGEST_WAIT,
                            passing=lambda error: isinstance(error, MessageFault) and error.passing,
                            warn=lambda error, wait: log.warning("%s; trying again in %.1f s", error, wait))  # fmt: skip

    def _settled(self, receipts: Mapping[str, str]) -> tuple[dict[str, str], str]:
        """Acknowledges messages; gives the receipts of those for which that failed, by id, and why."""
        try:
            failed = self._asked(lambda: self.settled(receipts)) if receipts else {}
        except MessageFault as error:
            failed = dict.fromkeys(receipts, str(error))
        return {known: receipts[known] for known in failed}, next(iter(failed.values()), "")

    def _take(self) -> None:
        """Take what there is, and write it down. Raises SourceError, DestinationError."""
        delivered = delivered_beside(os.path.dirname(self.folder), self.name)
        known = {each for receipts in delivered.values() for each in receipts}
        if self.acknowledge == WRITTEN:
            note_only(self.folder)
        taking = Taking(self.folder)
        passed: dict[str, str] = {}
        try:
            with source():
                self._asked(self.look)
                why = self._drained(taking, known, passed)
                self._asked(self.look)  # That nothing comes says so much only of a service that answers.
                said = [text for text in (why, self._asked(self.left_behind)) if text]
                self._pass_over(delivered, passed)
            if taking.again:
                said.append(f"{taking.again:,} messages came more than once, by their ids, and are delivered once")
            if passed:
                said.append(f"{len(passed):,} messages came again that an export before has delivered; they are passed over")
            taking.commit(source=self.name, said=said)
        finally:
            taking.close()

    def look(self) -> None:
        """Raises MessageFault where messages cannot be received at all."""

    def _drained(self, taking: Taking, known: set[str], passed: dict[str, str]) -> str:
        """Receives until nothing comes; why it ended before, "" where it did not."""
        begun, empty = time.monotonic(), 0
        while empty < self.empty_answers:
            if self.max_messages and taking.count >= self.max_messages:
                return f"max_messages: {taking.count:,} messages are taken; others may be left in the queue"
            if self.max_seconds and time.monotonic() - begun > self.max_seconds:
                return f"max_seconds: messages came for {self.max_seconds:,} seconds; others may be left in the queue"
            most = min(MOST_RECEIVED, self.max_messages - taking.count) if self.max_messages else MOST_RECEIVED
            found = self.receive(most)
            empty = 0 if found else empty + 1
            passed.update((message.id, message.receipt) for message in found if message.id in known)
            new = [message for message in found if message.id not in known]
            receipts = {message.id: message.receipt for message in found}
            try:
                taking.add(new)
            except BaseException:
                with suppress(MessageFault):
                    self.give_back(receipts)
                raise
            self._asked(lambda: self.hold(receipts))  # noqa: B023
            self._held(receipts)
            if new and self.acknowledge == WRITTEN:
                taking.sync()
                written = {message.id: message.receipt for message in new}
                failed, _ = self._settled(written)
                taking.acknowledged(written.keys() - failed.keys())
        return ""

    def _held(self, receipts: Mapping[str, str]) -> None:
        lease: Lease | None = self.__dict__.get("_lease")
        if lease is not None and self.acknowledge == MANIFEST:
            lease.add(receipts)

    def _pass_over(self, delivered: Mapping[str, Mapping[str, str]], passed: Mapping[str, str]) -> None:
        """Acknowledge what came again of what was delivered."""
        if not passed:
            return
        done = passed.keys() - self._settled(passed)[0].keys()
        for books, receipts in delivered.items():
            left = {known: receipt for known, receipt in receipts.items() if known not in done}
            if is_there(books):
                taken_in(books).settle(self.name, left)
            else:
                note_unsettled(books, self.name, left)

    def _looked_at(self) -> Iterator[tuple[int, list[Any]]]:
        """What comes, as long as somebody looks; then it is given back."""
        receipts: dict[str, str] = {}
        try:
            with source():
                one = decoder(self.values_are, self.value, self._registry)
                self._asked(self.look)
                while found := self.receive(10):
                    new = [message for message in found if message.id not in receipts]
                    receipts.update((message.id, message.receipt) for message in found)
                    if not new:
                        return
                    yield 0, self._records(new, one)
        finally:
            if receipts:
                with suppress(MessageFault):
                    self.give_back(receipts)

    def _records(self, messages: Sequence[Message], one: Decode) -> list[Any]:
        made = records_of([message.body for message in messages], one)
        return [self._completed(*each) for each in zip(made, messages, strict=True)] if self._named else made

    @property
    def _named(self) -> bool:
        """Whether records have fields of what messages have beside their values."""
        return bool(self.id or self.key or self.attributes or self.timestamp)

    def _completed(self, record: Record | Undecoded, message: Message) -> Record | Undecoded:
        """A record with the fields that hold what the message has beside its value. One that could not be made is a text of
        JSON that has all of it, so that nothing is lost where it is repaired."""
        wanted = {self.id: message.id, **{getattr(self, name): message.beside.get(name) for name in BESIDE}}
        beside = {name: value for name, value in wanted.items() if name}
        if isinstance(record, Undecoded):
            told = {VALUE: message.body, **beside}
            return Undecoded(json.dumps(told, default=as_text, ensure_ascii=False), record.message)
        record.update(beside)
        return record

    @property
    def _registry(self) -> Registry | None:
        made: Registry | None = self.__dict__.get("_made_registry")
        if made is None:
            made = self.registry_of()
            object.__setattr__(self, "_made_registry", made)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in ("_made_registry", "_lease")}


BESIDE = ("key", "attributes", "timestamp")
"""What messages have beside their values, as the options call it."""


class Lease:
    """Extends for how long messages are held, in a thread of its own, every third of that time."""

    def __init__(self, seconds: float, extend: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
        self._seconds, self._extend = seconds, extend
        self._receipts: dict[str, str] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def add(self, receipts: Mapping[str, str]) -> None:
        with self._lock:
            self._receipts.update(receipts)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Hold nothing any longer than it is held now."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            with self._lock:
                receipts = dict(self._receipts)
            for part in parts_of(receipts):
                if self._ended.is_set():
                    return
                self._extended(part)

    def _extended(self, receipts: Mapping[str, str]) -> None:
        try:
            lost = self._extend(receipts)
        except MessageFault as error:
            log.warning("messages that were taken cannot be held for longer at the moment: %s", error)
            return
        if lost:
            log.warning("%d messages that were taken are not held any more (%s): they may come again",
                        len(lost), next(iter(lost.values())))  # fmt: skip
            with self._lock:
                for known in lost:
                    if self._receipts.get(known) == receipts[known]:
                        del self._receipts[known]


def parts_of(receipts: Mapping[str, str], size: int = MOST_RECEIVED) -> Iterator[dict[str, str]]:
    """Receipts, so many at a time."""
    pairs = list(receipts.items())
    return (dict(pairs[at : at + size]) for at in range(0, len(pairs), size))


def _together(messages: Iterable[Message]) -> Iterator[list[Message]]:
    found: list[Message] = []
    for message in messages:
        found.append(message)
        if len(found) == TOGETHER:
            yield found
            found = []
    if found:
        yield found
