"""From staged records to a database, a queue or a service: batches in input order, each known by what it is a batch of.

A batch that a target has taken is noted in the staging folder, so that a run that goes on does not send it again; between
the target's answer and the note the target's own ledger says so, where it can have one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, NamedTuple

import apache_beam as beam

from exporters_beam.components.ready import ready
from exporters_beam.components.retry import persistently
from exporters_beam.components.traits import WriterTraits
from exporters_beam.config.on_error import DEAD_LETTER, FAIL, WRITER, counted
from exporters_beam.engine.dead_letters import TooManyFailed
from exporters_beam.engine.delivery import Delivery
from exporters_beam.engine.failures import FailedRecord
from exporters_beam.errors import Transient
from exporters_beam.handover import HandsOver
from exporters_beam.records import DeliveredFile, Failure, PlannedFile, Position, Unit
from exporters_beam.staging.letters import NAME, staged
from exporters_beam.staging.listing import listed_before
from exporters_beam.staging.run import Progress, Run, enter
from exporters_beam.staging.segments import Blocks
from exporters_beam.writers.batches import RecordBatch, Refused
from exporters_beam.writers.values import Values

FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0
"""Seconds before a batch is sent again, at first and at most."""


def delivery_of(run: Run, delivery_id: str) -> str:
    """What a delivery is known by: the export, its input as it was listed when the run began, and `delivery_id`."""
    digest = hashlib.sha256(json.dumps([run.export_id, delivery_id]).encode())
    for unit in (listed_before(run.books) if run.books else None) or ():
        digest.update(json.dumps(unit).encode())
    return digest.hexdigest()[:32]


class Loaded(NamedTuple):
    """A batch to send; where its records came from, piece by piece: (unit, range, their numbers there); its bytes."""

    batch: RecordBatch
    pieces: list[tuple[Unit, int, Sequence[int]]]
    size: int

    def place(self, n: int) -> Position:
        """Where a record of the batch came from."""
        for unit, number, numbers in self.pieces:
            if n < len(numbers):
                return unit, number, numbers[n]
            n -= len(numbers)
        raise IndexError(n)


class SendBatches(HandsOver, beam.DoFn):
    """Has the writer send all batches of an export; one worker does, in input order.

    Takes one element with every planned batch; gives what was delivered, one value for each batch, and the references of dead
    letters, which are written when all that may be refused is known.
    """

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run

    def setup(self) -> None:
        enter(self._run.folder)

    def process(self, element: tuple[Any, Iterable[bytes]]) -> Iterator[DeliveredFile]:
        planned: list[PlannedFile] = sorted(map(pickle.loads, element[1]), key=lambda file: file.number)
        for file in planned:
            if file.name == NAME:
                yield DeliveredFile(NAME, (), file.records, 0, "", tuple(part.ref for part in file.slices))
        with closing(Sender(self._delivery, self._run)) as sender:
            yield from sender.all(file for file in planned if file.name != NAME)


class Sender:
    """One delivery to a target, from this process."""

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run
        self.known = delivery_of(run, delivery.to.delivery_id)
        self._blocks, self._progress = Blocks(), Progress(run)
        self._writers: dict[int, Any] = {}
        """By thread: clients are not shared."""
        self._failed = 0
        self._begun, self._sent = time.monotonic(), 0

    def close(self) -> None:
        self._blocks.close()
        self._progress.close()
        for writer in self._writers.values():
            close = WriterTraits.of(writer).close
            if close is not None:
                close()

    def all(self, files: Iterable[PlannedFile]) -> Iterator[DeliveredFile]:
        side_by_side = self._delivery.to.concurrency
        if side_by_side < 2:
            for file in files:
                yield self._done(self._noted(file) or self._send(self._loaded(file)))
            return
        under_way: deque[Future[DeliveredFile]] = deque()
        with ThreadPoolExecutor(side_by_side) as pool:
            try:
                for file in files:
                    noted = self._noted(file)
                    if noted is not None:
                        yield self._done(noted)
                        continue
                    under_way.append(pool.submit(self._send, self._loaded(file)))
                    if len(under_way) > side_by_side:
                        yield self._done(under_way.popleft().result())
                while under_way:
                    yield self._done(under_way.popleft().result())
            finally:
                for each in under_way:
                    each.cancel()

    def _done(self, delivered: DeliveredFile) -> DeliveredFile:
        """A batch that is there. Raises TooManyFailed where more was refused than `on_error` allows."""
        self._progress.add(files=1, bytes=delivered.size)
        refused = delivered.result or ()
        self._failed += len(refused)
        most = self._delivery.on_error.max_records
        if most is not None and self._failed > most:
            raise TooManyFailed(f"the target refused {self._failed:,} records; on_error.max_records allows {most:,}"
                                + self._delivery.letters.first(refused))  # fmt: skip
        return delivered

    def _noted(self, file: PlannedFile) -> DeliveredFile | None:
        """What an earlier run has noted of a batch that it has sent."""
        told = self._run.staging.sent(self.known, file.number)
        if told is None:
            return None
        lines: Sequence[bytes] = ()
        if told["refused"]:
            loaded = self._loaded(file)
            loaded.batch.refused = {int(n): answer for n, answer in told["refused"]}
            lines = _lines(loaded)
        return DeliveredFile(file.name, (), told["records"], told["bytes"], told["checksum"], tuple(lines))

    def _loaded(self, file: PlannedFile) -> Loaded:
        staged: list[bytes] = []
        pieces: list[tuple[Unit, int, Sequence[int]]] = []
        gap = len(self._delivery.text_format.separator)
        for part in file.slices:
            payload, sizes = self._blocks.payload(part.ref), self._blocks.sizes(part.ref)
            numbers = array("I")
            numbers.frombytes(payload[len(payload) - 4 * part.ref.total :])
            pieces.append((*part.ref.first[:2], numbers[part.start : part.stop]))
            at = sum(sizes[: part.start]) + gap * part.start
            for size in sizes[part.start : part.stop]:
                staged.append(payload[at : at + size])
                at += size + gap
        as_json = not isinstance(self._delivery.format, Values)
        tolerant = self._delivery.on_error.action(WRITER) != FAIL
        return Loaded(RecordBatch(self.known, file.number, staged, as_json, tolerant), pieces, sum(map(len, staged)))

    def _writer(self) -> Any:
        """The writer of this thread, which has begun."""
        found = self._writers.get(threading.get_ident())
        if found is None:
            found = ready(pickle.loads(pickle.dumps(self._delivery.writer)))
            begin = WriterTraits.of(found).begin
            if begin is not None:
                self._persistently(found, lambda: begin(self.known))
            self._writers[threading.get_ident()] = found
        return found

    def _send(self, loaded: Loaded) -> DeliveredFile:
        batch = loaded.batch
        writer = self._writer()

        def send() -> None:
            batch.refused.clear()
            writer.send(batch)

        try:
            self._persistently(writer, send)
        except Refused as refused:
            failure = _failure(loaded, refused.n, refused.answer)
            raise FailedRecord(failure, *self._delivery.letters.place(failure.position)) from refused
        accepted = len(batch.staged) - len(batch.refused)
        told = {"records": accepted, "bytes": loaded.size, "checksum": batch.checksum, "refused": sorted(batch.refused.items())}
        self._run.staging.note_sent(self.known, batch.number, told)
        self._keep_pace(len(batch.staged))
        name = self._delivery.name((), batch.number)
        return DeliveredFile(name, (), accepted, loaded.size, batch.checksum, tuple(_lines(loaded)))

    def _persistently(self, writer: Any, act: Any) -> None:
        """Do it, again and again while the target does not answer, as long as the writer's options say."""
        told = WriterTraits.of(writer)

        def warn(error: BaseException, wait: float) -> None:
            logging.getLogger(__name__).warning("%s; trying again in %.1f s", error, wait)
            if told.reset is not None:
                with suppress(Transient):
                    told.reset()

        persistently(act, attempts=1 if told.attempts == 1 else None, seconds=told.retry_seconds, first=FIRST_WAIT,
                     longest=LONGEST_WAIT, passing=lambda error: isinstance(error, Transient), warn=warn,
                     asked=lambda error: error.after if isinstance(error, Transient) else 0.0)  # fmt: skip

    def _keep_pace(self, records: int) -> None:
        """Wait until so many records may have been sent."""
        pace = self._delivery.to.records_per_second
        if pace:
            self._sent += records
            time.sleep(max(0.0, self._begun + self._sent / pace - time.monotonic()))

    def complete(self, batches: int, records: int) -> None:
        """All batches are there. Where there were none the target has not heard of the delivery yet."""
        if batches and self._delivery.to.complete is None:
            return
        writer = self._writer()
        end = WriterTraits.of(writer).complete
        if end is not None:
            self._persistently(writer, lambda: end(self.known, batches, records))


def complete(delivery: Delivery, run: Run, batches: int, records: int) -> str:
    """Tell the writer that all batches are there, once it is so; gives what the delivery is known by."""
    with closing(Sender(delivery, run)) as sender:
        sender.complete(batches, records)
        return sender.known


def target_of(delivery: Delivery, known: str, batches: Sequence[DeliveredFile]) -> dict[str, Any]:
    """What the manifest says of a target: what was sent there, and a checksum over the batches in their order."""
    digest = hashlib.sha256("".join(batch.md5 for batch in batches).encode()).hexdigest()
    records, size = sum(batch.records for batch in batches), sum(batch.size for batch in batches)
    target = delivery.to.target
    return {
        "name": target() if target is not None else "",
        "delivery": known,
        "batches": len(batches),
        "records": records,
        "bytes": size,
        "checksum": digest,
    }


def _failure(loaded: Loaded, n: int, answer: str) -> Failure:
    position = loaded.place(n)
    return Failure(position, position[0].name, WRITER, answer, loaded.batch.records[n])


def _lines(loaded: Loaded) -> list[bytes]:
    """The records that were refused, as staged failures."""
    return [staged(_failure(loaded, n, answer)) for n, answer in sorted(loaded.batch.refused.items())]


def refused_counts(delivery: Delivery, refused: int) -> dict[str, int]:
    """How the counts of an export change by records that were refused when all had been staged."""
    action = delivery.on_error.action(WRITER)
    return {"kept": -refused, counted(WRITER, action if action != FAIL else DEAD_LETTER): refused} if refused else {}
