"""What was taken of a source that gives everything once, written down beside the books until the export has ended.

A queue cannot be read twice: its messages are written down first, and the export reads them from here. They stand in the
folder `taken` of the export's books: pieces with the messages, which are the ranges that workers share, the receipts by which
they are acknowledged, and at the end `taken.json`, which says that all was taken. A run that was killed before that goes on
behind the last message that is whole.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec

from exporters_beam.files import BOOKS as EXPORTS
from exporters_beam.files import destination, sync_folder
from exporters_beam.records import Json

FOLDER, GONE, WHOLE, RECEIPTS, UNSETTLED = "taken", ".gone", "taken.json", "receipts", "unsettled.json"
"""What stands there. `unsettled.json`, in the books, holds receipts of what was delivered and could not be acknowledged."""

LONGEST_KEPT = 40 * 86400
"""Seconds after which nothing comes again: services keep messages for 31 days at most."""

SETTLED = "settled"
"""A file that says that all of it is delivered and acknowledged."""

MOST, MOST_BYTES = 5_000, 16 << 20
"""Messages and bytes of a piece."""

_LENGTH = struct.Struct(">I")


class Message(NamedTuple):
    """A message as it was taken. `receipt` is what it is acknowledged by, and is another one when it comes again; `beside` is
    what it has beside its body."""

    id: str
    receipt: str
    body: bytes
    beside: Json


class Taken:
    """The messages that one export has taken."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.told: Json = {}
        path = os.path.join(folder, WHOLE)
        with destination("cannot read", path), suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
            self.told = json.load(file)

    @property
    def whole(self) -> bool:
        """Whether all was taken that is to be taken."""
        return bool(self.told)

    @property
    def counts(self) -> Sequence[int]:
        """The messages of each piece."""
        return cast(Sequence[int], self.told["counts"])

    def piece(self, number: int) -> Iterator[Message]:
        """The messages of a piece, in order; their receipts are not read. Raises DestinationError."""
        with destination("cannot read", _piece(self.folder, number)), open(_piece(self.folder, number), "rb") as file:
            yield from _messages(file)

    def receipts(self) -> dict[str, str]:
        """The last receipt of each message that is not acknowledged yet, by id. Raises DestinationError."""
        found: dict[str, str] = {}
        path = os.path.join(self.folder, RECEIPTS)
        with destination("cannot read", path), suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
            for line in file:
                with suppress(ValueError):  # a line that was not finished
                    known, receipt = json.loads(line)
                    found[known] = receipt
        return {known: receipt for known, receipt in found.items() if receipt}

    def settle(self, source: str, left: Mapping[str, str]) -> None:
        """All is delivered, and acknowledged but for what is `left`, which is noted. What was taken stays until what was staged
        of it is swept: `clear` removes it. Raises DestinationError."""
        books = os.path.dirname(self.folder)
        note_unsettled(books, source, {**unsettled(books, source), **left})
        _mark(os.path.join(self.folder, SETTLED))

    @property
    def settled(self) -> bool:
        """Whether all of it is delivered and acknowledged."""
        return os.path.exists(os.path.join(self.folder, SETTLED))


class Taking:
    """The messages of an export while they are taken. Goes on with what an earlier run has written down."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.ids: set[str] = set()
        self.count, self.again = 0, 0
        self._counts: list[int] = []
        self._digest = hashlib.sha256()
        self._bytes = self._piece_bytes = 0
        self._file: BinaryIO | None = None
        with destination("cannot write to the staging folder", folder):
            os.makedirs(folder, exist_ok=True)
            for number in range(len(glob.glob(os.path.join(glob.escape(folder), "piece-*")))):
                self._take_up(number)
            self._receipts = open(os.path.join(folder, RECEIPTS), "a", encoding="utf-8")
            self._receipts.write("\n")  # The last line of an earlier run may have no end.

    def _take_up(self, number: int) -> None:
        """A piece of an earlier run, without a message at its end that is not whole."""
        with open(_piece(self.folder, number), "r+b") as file:
            size = 0
            self._counts.append(0)
            for message in _messages(file):
                self._count(message, file.tell() - size)
                size = file.tell()
            file.truncate(size)
        self._piece_bytes = size

    def _count(self, message: Message, size: int) -> None:
        self.ids.add(message.id)
        self._counts[-1] += 1
        self.count += 1
        self._bytes += size
        self._piece_bytes += size
        self._digest.update(message.id.encode() + b"\n")

    def add(self, messages: Iterable[Message]) -> None:
        """Write messages down; one that is there already has another receipt now. Raises DestinationError."""
        with destination("cannot write to the staging folder", self.folder):
            for message in messages:
                if message.id in self.ids:
                    self.again += 1
                else:
                    self._write(message)
                self._receipts.write(json.dumps([message.id, message.receipt]) + "\n")
            self._receipts.flush()

    def _write(self, message: Message) -> None:
        data = msgspec.msgpack.encode((message.id, message.body, message.beside))
        if not self._counts or self._counts[-1] >= MOST or self._piece_bytes >= MOST_BYTES:
            self._close()
            self._counts.append(0)
            self._piece_bytes = 0
        if self._file is None:
            self._file = open(_piece(self.folder, len(self._counts) - 1), "ab")
        self._file.write(_LENGTH.pack(len(data)) + data)
        self._count(message, _LENGTH.size + len(data))

    def acknowledged(self, ids: Iterable[str]) -> None:
        """These need no acknowledgement any more."""
        with destination("cannot write to the staging folder", self.folder):
            self._receipts.writelines(json.dumps([known, ""]) + "\n" for known in ids)
            self._receipts.flush()

    def sync(self) -> None:
        """What was added stays, whatever happens to this machine's power. Raises DestinationError."""
        with destination("cannot write to the staging folder", self.folder):
            for file in (self._file, self._receipts):
                if file is not None:
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(self.folder)

    def _close(self) -> None:
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def commit(self, **told: Any) -> None:
        """All is taken. Raises DestinationError."""
        path = os.path.join(self.folder, WHOLE)
        self.sync()
        with destination("cannot write to the staging folder", path):
            with open(path + ".part", "w", encoding="utf-8") as out:
                key = self._digest.hexdigest()[:32]
                json.dump({**told, "key": key, "counts": self._counts, "bytes": self._bytes, "again": self.again}, out)
                out.flush()
                os.fsync(out.fileno())
            os.replace(path + ".part", path)
            sync_folder(self.folder)

    def close(self) -> None:
        for file in (self._file, self._receipts):
            if file is not None:
                with suppress(OSError):
                    file.close()


def _piece(folder: str, number: int) -> str:
    return os.path.join(folder, f"piece-{number:06d}")


def _messages(file: BinaryIO) -> Iterator[Message]:
    """The messages that are whole."""
    while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        data = file.read(length)
        if len(data) < length:
            return
        known, body, beside = msgspec.msgpack.decode(data)
        yield Message(known, "", body, beside)


def is_there(books: str) -> bool:
    """Whether an export has taken something that is not settled yet."""
    folder = os.path.join(books, FOLDER)
    return os.path.isdir(folder) and not os.path.exists(os.path.join(folder, SETTLED))


def clear(books: str) -> None:
    """Remove what was taken and is settled. Raises DestinationError."""
    folder = os.path.join(books, FOLDER)
    with destination("cannot remove", folder):
        if Taken(folder).settled:
            shutil.rmtree(folder + GONE, ignore_errors=True)
            os.rename(folder, folder + GONE)  # It is there whole, or not at all.
        shutil.rmtree(folder + GONE, ignore_errors=True)


def take_over(books: str, other: str) -> None:
    """Have what another export has taken, of which nothing may be staged any more. Raises DestinationError."""
    folder = os.path.join(books, FOLDER)
    with destination("cannot write to the staging folder", folder):
        os.rename(os.path.join(other, FOLDER), folder)


def taken_in(books: str) -> Taken:
    """What an export has taken."""
    return Taken(os.path.join(books, FOLDER))


def note_unsettled(books: str, source: str, receipts: Mapping[str, str]) -> None:
    """What of a source was delivered and is not acknowledged. Raises DestinationError."""
    path = os.path.join(books, UNSETTLED)
    with destination("cannot write to the staging folder", path):
        if not receipts:
            with suppress(FileNotFoundError):
                os.remove(path)
            return
        with open(path + ".part", "w", encoding="utf-8") as out:
            json.dump({"source": source, "receipts": dict(receipts)}, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(path + ".part", path)


def unsettled(books: str, source: str) -> dict[str, str]:
    """The receipts of what was delivered of a source and is not acknowledged, by id."""
    path = os.path.join(books, UNSETTLED)
    try:
        if time.time() - os.path.getmtime(path) > LONGEST_KEPT:
            return {}
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
    except (OSError, ValueError):
        return {}
    return dict(told["receipts"]) if told.get("source") == source else {}


def delivered_beside(books: str, source: str) -> dict[str, dict[str, str]]:
    """What exports that keep their books beside these have delivered of a source and not acknowledged: receipts by id, by the
    folder of their books."""
    place = os.path.dirname(books)
    found: dict[str, dict[str, str]] = {}
    if os.path.basename(place) != EXPORTS:
        return found
    for each in os.listdir(place):
        other = os.path.join(place, each)
        receipts = unsettled(other, source)
        taken = taken_in(other)
        if is_there(other) and taken.told.get("source") == source and taken.told["key"] in _delivered(other):
            receipts |= taken.receipts()
        if receipts:
            found[other] = receipts
    return found


def _delivered(books: str) -> list[str]:
    """The etags of what the manifest says was delivered."""
    try:
        with open(os.path.join(books, "manifest.json"), encoding="utf-8") as file:
            return [unit["etag"] for unit in json.load(file)["units"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def is_delivered(books: str) -> bool:
    """Whether what was taken last is delivered, and only not settled yet."""
    return taken_in(books).told.get("key") in _delivered(books)


def forget(books: str) -> str:
    """Remove what was taken; a sentence where it stays, since it stands nowhere else any more. Raises DestinationError."""
    folder = os.path.join(books, FOLDER)
    if not os.path.isdir(folder):
        return ""
    if os.path.exists(os.path.join(folder, ONLY)):
        return (f"{folder} holds messages that were acknowledged when they were written down, and stand nowhere else; it is "
                "left there: deliver them with --resume")  # fmt: skip
    with destination("cannot remove", folder):
        shutil.rmtree(folder)
    return ""


ONLY = "the-only-copy"
"""A file that says that messages were acknowledged before the export has delivered them."""


def note_only(folder: str) -> None:
    """From now on what is taken stands nowhere else. Raises DestinationError."""
    with destination("cannot write to the staging folder", folder):
        os.makedirs(folder, exist_ok=True)
    _mark(os.path.join(folder, ONLY))


def _mark(path: str) -> None:
    with destination("cannot write to the staging folder", path):
        with open(path, "wb") as file:
            os.fsync(file.fileno())
        sync_folder(os.path.dirname(path))
