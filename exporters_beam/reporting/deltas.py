"""Proves that deliveries of deltas, one behind the other, are the snapshots that they were made of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from exporters_beam.config.delta import CHANGED, DELETED, NEW
from exporters_beam.errors import DestinationError, ExportError
from exporters_beam.records import Json
from exporters_beam.reporting.manifest import manifest_checksum
from exporters_beam.reporting.verify import opened_in, records_of, verify_told
from exporters_beam.staging.deltas import BUCKETS, HASH, links, rows_of, state_of, why_not_state
from exporters_beam.storages.base import Storage
from exporters_beam.transforms.delta import Told, is_plain, record_hash


def delivered(folder: str, link: Json) -> Json | None:
    """The manifest of a delivery of a chain; None where it never came to its end. Raises DestinationError where it did and the
    manifest is gone, or is not as it was written."""
    path = os.path.normpath(os.path.join(folder, link["manifest"]))
    complete = link.get("checksum")
    called = f"{path}: the manifest of delivery {link['number']}, on which deltas stand,"
    try:
        with open(path, encoding="utf-8") as file:
            found: Json = json.load(file)
    except FileNotFoundError:
        if complete:
            raise DestinationError(f"{called} is gone") from None
        return None
    except (OSError, ValueError) as error:
        raise DestinationError(f"{called} cannot be read: {error}") from None
    delta = found.get("delta") if isinstance(found, dict) else None
    fits = isinstance(delta, dict) and delta.get("number") == link["number"] and found.get("export") == link["export"]
    if not complete and not fits:
        return None  # It is that of an earlier delivery, in the same place.
    if not fits or found.get("checksum") != manifest_checksum(found) or complete not in (None, found["checksum"]):
        raise DestinationError(f"{called} was changed after it was written")
    return found


def verify_deltas(folder: str, told: Told, storage: Storage | None = None) -> Iterator[tuple[str, list[str]]]:
    """For each delivery of a chain, the first one first: a line that tells it, and what is wrong with it.

    Its files are as they were delivered; it stands on the one before; and what it delivered, applied to the state of that one,
    is its own state: by the hashes of keys and, of JSON lines, by those of records. In memory are the hashes of one delivery's
    records, and of states one bucket at a time. Raises ConfigError for a chain that cannot be read.
    """
    before: Json | None = None
    for link in reversed(links(folder)):
        try:
            manifest = delivered(folder, link)
        except DestinationError as error:
            yield f"delivery {link['number']}", [str(error)]
            before = None
            continue
        if manifest is None:
            continue
        path = os.path.normpath(os.path.join(folder, link["manifest"]))
        try:
            wrong = [*verify_told(path, manifest, storage), *_proved(folder, link, manifest, before, told, storage)]
        except (ExportError, OSError) as error:
            wrong = [f"{path}: {error}"]
        delta = manifest["delta"]
        counts = ", ".join(f"{delta[name]:,} {name}" for name in (NEW, CHANGED, "unchanged", DELETED))
        yield f"delivery {link['number']}: {counts}; {_how(manifest)}", wrong
        before = {**link, "checksum": manifest["checksum"]}


def _how(manifest: Json) -> str:
    if not _read_again(manifest):
        return "proved by states, not by what is in the files"
    return "proved record by record" if _is_plain_json(manifest) else "proved key by key"


def _read_again(manifest: Json) -> bool:
    """Whether the keys of records can be read from the files: values of other formats may be texts there, or other numbers."""
    plain = all("plain" not in file and "members" not in file for file in manifest["files"])
    return plain and manifest["format"]["name"] == "json"


def _is_plain_json(manifest: Json) -> bool:
    """Whether files have records as they are, with all their fields."""
    grouped = any(file["group"] for file in manifest["files"])
    return not grouped and not {**manifest["format"].get("options", {})}.keys() - {"jsonlines", "pretty_print"}


def _proved(folder: str, link: Json, manifest: Json, before: Json | None, told: Told, storage: Storage | None) -> Iterator[str]:
    delta, called = manifest["delta"], f"delivery {link['number']}"
    state = state_of(folder, link["number"], link["export"])
    why = why_not_state(state, delta["state"]["sha256"])
    if why:
        yield f"{state}: the state of {called} {why}"
        return
    base = ""
    if delta["base"] is not None:
        if before is None or {name: before[name] for name in ("export", "number", "checksum")} != delta["base"]:
            yield f"{called} stands on delivery {delta['base']['number']}, which is not the one before it"
            return
        base = state_of(folder, before["number"], before["export"])
    files = _in_files(manifest, told, storage) if _read_again(manifest) else None
    yield from (f"{called}: {text}" for text in _applied(base, state, delta, files, told, _is_plain_json(manifest)))


Found = dict[bytes, tuple[str, bytes]]
"""What became of each record of a delivery, and its hash, by that of its key."""


def _in_files(manifest: Json, told: Told, storage: Storage | None) -> Found:
    found: Found = {}
    opened: Callable[[str], BinaryIO] = opened_in(storage)
    for file in manifest["files"]:
        for record in records_of(file["name"], manifest["format"], opened):
            change = record.pop(told.field, "")
            own = told.key_hash(record)
            if own in found:
                raise DestinationError(f"{file['name']}: two records have the same key, {record}")
            found[own] = change, record_hash(record)
    return found


def _applied(base: str, state: str, delta: Mapping[str, Any], files: Found | None, told: Told, plain: bool) -> Iterator[str]:
    """What does not fit where a delivery is applied to the state before."""
    counts = dict.fromkeys((NEW, CHANGED, "unchanged", DELETED), 0)
    for bucket in range(BUCKETS):
        then = {own: digest for own, digest, _ in rows_of(base, bucket)}
        last = b""
        for own, digest, _ in rows_of(state, bucket):
            if own <= last or len(own) != HASH or own[0] != bucket:
                yield "its state is not in order"
                return
            last, was = own, then.pop(own, None)
            change = NEW if was is None else "unchanged" if was == digest else CHANGED
            counts[change] += 1
            if files is not None and change != "unchanged":
                said, delivered_as = files.pop(own, ("not there", digest))
                if said != change:
                    yield f"a record that is {change} in its state is {said} in its files"
                elif plain and is_plain(digest) and digest != delivered_as:
                    yield f"a {change} record is another one in its files than in its state"
        counts[DELETED] += len(then)
        if files is not None and told.deletes:
            for own in then:
                said = files.pop(own, ("not there", b""))[0]
                if said != DELETED:
                    yield f"a record that is deleted in its state is {said} in its files"
    if files:
        yield f"{len(files)} records of its files stand on nothing in its state"
    wrong = [f"{n} {name}, and the manifest says {delta[name]}" for name, n in counts.items() if n != delta[name]]
    if wrong:
        yield f"its state and the one before differ otherwise than it says: {'; '.join(wrong)}"
    if sum(counts.values()) - counts[DELETED] != delta["state"]["keys"]:
        yield f"its state does not have the {delta['state']['keys']} keys that the manifest says"
