"""What a delivery of deltas leaves for the one after it: its state, and its place in the chain.

The state is one file: a head, then a row for each record of the snapshot, in buckets by the first byte of the hash of its
key, sorted by that hash. A row has that hash, the hash of the record, and the fields of the key as JSON. Only one bucket at a
time is in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from exporters_beam.errors import ConfigError, Problem
from exporters_beam.files import destination, sync_folder
from exporters_beam.records import BlockRef, Json

BUCKETS = 256

HASH = 16
"""The bytes of each hash."""

_MAGIC = b"exporters_beam delta state 1\n"
_HEAD = struct.Struct(f"<{BUCKETS + 1}Q")
_LENGTH = struct.Struct("<I")

Row = tuple[bytes, bytes, bytes]
"""The hash of a key, that of the record, and the key's fields as JSON."""


class Bucket(NamedTuple):
    """One bucket of a delivery, on its way to the manifest: its number, where its rows are staged, and what was counted."""

    number: int
    ref: BlockRef
    keys: int
    new: int
    changed: int
    unchanged: int
    deleted: int


@dataclass(frozen=True)
class Against:
    """What a run is compared with: the folder of the chain, the number of this delivery in it, the export and the manifest of
    the one before, and its state; None and "" where there is none."""

    folder: str
    number: int
    export: str
    base: tuple[tuple[str, Any], ...] = ()
    before: str = ""

    @property
    def state(self) -> str:
        """The file of this delivery's own state."""
        return state_of(self.folder, self.number, self.export)


def state_of(folder: str, number: int, export: str) -> str:
    return os.path.join(folder, f"{number:06d}-{export}.state")


def packed_rows(rows: Iterable[Row]) -> bytes:
    """Rows, sorted by the hash of their keys."""
    return b"".join(part for own, digest, kept in sorted(rows) for part in (own, digest, _LENGTH.pack(len(kept)), kept))


def rows_in(data: bytes) -> Iterator[Row]:
    at, end = 0, len(data)
    while at < end:
        own, digest = data[at : at + HASH], data[at + HASH : at + 2 * HASH]
        (length,) = _LENGTH.unpack_from(data, at + 2 * HASH)
        at += 2 * HASH + _LENGTH.size
        yield own, digest, data[at : at + length]
        at += length


def rows_of(path: str, bucket: int) -> Iterator[Row]:
    """The rows of one bucket of a state; none where there is no state. Raises DestinationError."""
    if not path:
        return
    with destination("cannot read the state of the delivery before", path), open(path, "rb") as file:
        file.seek(len(_MAGIC))
        offsets = _HEAD.unpack(file.read(_HEAD.size))
        file.seek(offsets[bucket])
        data = file.read(offsets[bucket + 1] - offsets[bucket])
    yield from rows_in(data)


def write_state(path: str, sizes: list[int], buckets: Iterable[bytes]) -> str:
    """Put a state in place, whole or not at all; gives its SHA-256. Raises DestinationError."""
    offsets = [len(_MAGIC) + _HEAD.size]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    digest = hashlib.sha256()
    with destination("cannot write the state of the delivery", path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".part", "wb") as out:
            for data in (_MAGIC, _HEAD.pack(*offsets)):
                out.write(data)
                digest.update(data)
            for data in buckets:
                out.write(data)
                digest.update(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(path + ".part", path)
        sync_folder(os.path.dirname(path))
    return digest.hexdigest()


def why_not_state(path: str, sha256: str) -> str:
    """What is wrong with a state; "" where it is as it was written."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if digest.hexdigest() == sha256 else "has changed since it was written"


def links(folder: str) -> list[Json]:
    """What stands in a chain, complete or not, the newest first. Raises ConfigError for what cannot be read."""
    found = []
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder), reverse=True):
            if re.fullmatch(r"\d{6,}-[0-9a-f]{16}\.json", name):
                path = os.path.join(folder, name)
                try:
                    with open(path, encoding="utf-8") as file:
                        link = json.load(file)
                    if not {"number", "export", "manifest", "key"} <= link.keys():
                        raise ValueError("it has no number, export, manifest and key")
                except (OSError, ValueError, AttributeError) as error:
                    raise ConfigError(Problem((), f"what stands of a delivery of deltas cannot be read: {error}; put it back",
                                              file=path)) from None  # fmt: skip
                found.append(link)
    return sorted(found, key=lambda link: int(link["number"]), reverse=True)


def write_link(folder: str, link: Json) -> None:
    """Raises DestinationError."""
    path = os.path.join(folder, f"{link['number']:06d}-{link['export']}.json")
    with destination("cannot write", path):
        os.makedirs(folder, exist_ok=True)
        with open(path + ".part", "w", encoding="utf-8") as out:
            json.dump(link, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(path + ".part", path)


def drop_link(folder: str, link: Json) -> None:
    """Forget a delivery that never came to its end. Raises DestinationError."""
    state = state_of(folder, link["number"], link["export"])
    for path in (state, state + ".part", os.path.splitext(state)[0] + ".json"):
        with destination("cannot remove", path), suppress(FileNotFoundError):
            os.remove(path)
