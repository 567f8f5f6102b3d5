"""Looks at delivered files again: are they what the manifest says, and does the manifest add up?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

from exporters_beam.components.schemes import is_url
from exporters_beam.errors import ConfigError, DestinationError, ExportError, Problem
from exporters_beam.records import MAILED, Json
from exporters_beam.reporting.leftovers import ADVICE, known_beside, strangers
from exporters_beam.reporting.manifest import manifest_checksum, unbalanced
from exporters_beam.staging.listing import some
from exporters_beam.storages.base import NotThere, Storage, of_url

LETTERS = {"name": "json", "options": {}, "compression": "none"}
"""The format of dead letters."""


def verify(
    manifest: str, storage: Storage | None = None, counted: Callable[[Mapping[str, Any]], int | None] | None = None
) -> tuple[list[str], Json]:
    """(what is wrong, one sentence each; the manifest). Raises ConfigError where it is not a manifest.

    Every file is read whole: its bytes, their checksum, and the records in it. Files are found where the manifest says,
    from the folder in which the export ran, or relative to the folder that holds the manifest's `.exporters`. Those of a
    storage are read through `storage` where it is theirs, else with the credentials that the environment has. The manifest
    may stand in a storage, too. Of what was sent to a database or a service, `counted` tells how many records are there; what
    was mailed cannot be read again.
    """
    told = _read(manifest, partial(_opened, storage))
    return verify_told(manifest, told, storage, counted), told


def verify_told(
    manifest: str,
    told: Json,
    storage: Storage | None = None,
    counted: Callable[[Mapping[str, Any]], int | None] | None = None,
) -> list[str]:
    """`verify` for a manifest that was read already, called `manifest` in sentences."""
    opened = partial(_opened, storage)
    wrong = []
    counts = told["counts"]
    targets = told.get("targets", [])
    records, written = sum(int(each["records"]) for each in (*told["files"], *targets)), counts.get("written")
    if records != written and "result" not in told:
        what = "targets" if targets else "files"
        wrong.append(f"{manifest}: the {what} have {records} records, and the manifest says {written} were written")
    for target in targets:
        try:
            there = None if counted is None else counted(target)
        except ExportError as error:
            wrong.append(f"{target['name']}: {error}")
            continue
        if there is not None and there != target["records"]:
            wrong.append(f"{target['name']}: {there:,} records of this delivery are there, {target['records']:,} were sent")
    letters = told.get("dead_letters")
    difference = unbalanced(counts, told.get("limit", 0), told.get("sample", 0), int(letters["records"]) if letters else 0)
    if difference:
        wrong.append(f"{manifest}: {difference}")
    form = told.get("format")
    files = (file for file in told["files"] if not file["name"].startswith(MAILED))
    done = told.get("done", {}).values()
    held_by = [*((file, form) for file in files), *([(letters, LETTERS)] if letters else []), *((each, None) for each in done)]
    for file, held in held_by:
        try:
            if file.get("plain"):  # Only its recipients can look into it.
                wrong += [f"{file['name']}: {text}" for text in _check(file, None, opened)]
                continue
            packed = file.get("members", ())
            wrong += [f"{file['name']}: {text}" for text in _check(file, None if packed else held, opened)]
            wrong += [f"{file['name']}: {text}" for text in (_check_members(file, held, opened) if packed else ())]
        except OSError as error:
            wrong.append(f"{file['name']}: {error.strerror}")
        except ExportError as error:
            wrong.append(f"{file['name']}: {error}")
    return wrong


def beside(manifest: str, told: Mapping[str, Any], manifests: Sequence[str], storage: Storage | None = None) -> Iterator[str]:
    """What stands beside the files of a manifest and is not a file of its own: sentences, which make nothing wrong.

    Files of the other `manifests`, and of those in the same books, are known.
    """
    left = [entry["name"] for entry in told.get("left", ())]
    first = next((name for name in (*(file["name"] for file in told["files"]), *left)), "")
    if first.startswith(MAILED):
        return
    try:
        there = None
        if storage is not None and storage.name(first) is not None:
            there = storage
        elif is_url(first):
            there = of_url(first)[0]
        still = [name for name in left if _stands(there, name)]
        found = strangers(told, known_beside(manifest, manifests), there)
    except (ExportError, OSError) as error:
        yield f"{manifest}: whether other files stand beside those it lists is not known: {error}"
        return
    if still:
        yield f"{manifest}: files of runs before are not part of it: {some(still)}; {ADVICE}"
    if found:
        yield f"{manifest}: files beside those it lists stand in no manifest: {some(found)}"


def _stands(storage: Storage | None, name: str) -> bool:
    if storage is None:
        return os.path.lexists(name)
    try:
        storage.stat(storage.name(name) or "")
    except NotThere:
        return False
    return True


def _opened(storage: Storage | None, name: str) -> BinaryIO:
    key = storage.name(name) if storage is not None else None
    if storage is None or key is None:
        if not is_url(name):
            return _local(name)
        storage, key = of_url(name)
    return storage.open(storage.stat(key))


def _read(path: str, opened: Callable[[str], BinaryIO]) -> Json:
    try:
        with opened(path) as file:
            told = json.load(file)
    except OSError as error:
        raise ConfigError(Problem((), f"the manifest cannot be read: {error.strerror}", file=path)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(Problem((), f"this is not a manifest: {error}", file=path)) from None
    if not isinstance(told, dict) or not {"export", "counts", "files", "checksum"} <= told.keys():
        raise ConfigError(Problem((), "this is not a manifest: it has no export, counts, files and checksum", file=path))
    if told["checksum"] != manifest_checksum(told):
        raise DestinationError(f"{path}: the manifest was changed after it was written: its checksum does not fit")
    if not _has_its_shape(told):
        raise ConfigError(Problem((), "this is not a manifest: its counts or its files are not what a run writes", file=path))
    return told


def _has_its_shape(told: Mapping[str, object]) -> bool:
    """Anybody can put a checksum under anything."""
    counts, files, form = told["counts"], told["files"], told.get("format")
    if not (isinstance(counts, dict) and isinstance(files, list) and isinstance(form, (dict, type(None)))):
        return False
    numbers = [*counts.values(), told.get("limit", 0), told.get("sample", 0)]
    targets = told.get("targets", [])
    if not isinstance(targets, list) or not all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in targets
    ):
        return False
    numbers += [each.get("records") for each in targets]
    done = told.get("done", {})
    if not isinstance(done, dict):
        return False
    files = [*files, *([told["dead_letters"]] if "dead_letters" in told else [])]
    files += [{"records": 0, **each} if isinstance(each, dict) else each for each in done.values()]
    for file in files:
        if not isinstance(file, dict) or not isinstance(name := file.get("name"), str) or "\0" in name:
            return False
        numbers += [file.get("records"), file.get("bytes")]
        members = file.get("members", [])
        if not isinstance(members, list) or not all(
            isinstance(each, dict) and isinstance(each.get("name"), str) and "md5" in each for each in members
        ):
            return False
        numbers += [each.get(name) for each in members for name in ("records", "bytes")]
    return all(isinstance(number, int) for number in numbers) and all("md5" in file for file in files)


def opened_in(storage: Storage | None) -> Callable[[str], BinaryIO]:
    """What opens delivered files, those of a storage through it."""
    return partial(_opened, storage)


def records_of(path: str, form: Mapping[str, Any], opened: Callable[[str], BinaryIO]) -> Iterator[Json]:
    """The records in a delivered file of JSON. Raises SourceError."""
    from exporters_beam.compressions.auto import Auto
    from exporters_beam.compressions.none import Plain

    deserializer = _deserializer(form)
    unpacked = (Plain() if form.get("compression") == "none" else Auto(max_ratio=0)).open
    with opened(path) as raw:
        for data, _, _ in deserializer.chunks(unpacked(raw)):
            try:
                yield from deserializer.decode(data)
            except Exception:  # There are records that are decoded one by one.
                for _, record, _ in deserializer.decode_each(data):
                    if isinstance(record, Exception):
                        raise record from None
                    yield record


def _check(file: Mapping[str, Any], form: Mapping[str, object] | None, opened: Callable[[str], BinaryIO]) -> Iterator[str]:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with opened(file["name"]) as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
            size += len(data)
    if size != file["bytes"]:
        yield f"it has {size} bytes, {file['bytes']} were delivered"
        return
    if file["md5"] and digest.hexdigest() != file["md5"]:
        yield f"its content has changed: md5 {digest.hexdigest()}, {file['md5']} was delivered"
        return
    if form is not None:
        records = count(file["name"], form, opened)
        if records is not None and records != file["records"]:
            yield f"it holds {records} records, {file['records']} were delivered"


def _check_members(
    file: Mapping[str, Any], form: Mapping[str, object] | None, opened: Callable[[str], BinaryIO]
) -> Iterator[str]:
    """What is wrong with the members of an archive."""
    import zipfile

    with tempfile.TemporaryDirectory() as folder:
        path, here = os.path.join(folder, "archive"), os.path.join(folder, "member")
        with opened(file["name"]) as stream, open(path, "wb") as out:
            shutil.copyfileobj(stream, out, 1 << 20)
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if sorted(names) != sorted(member["name"] for member in file["members"]):
                    yield f"it holds {some(sorted(names))}, and not the members that were delivered"
                    return
                for member in file["members"]:
                    with archive.open(member["name"]) as packed, open(here, "wb") as out:
                        shutil.copyfileobj(packed, out, 1 << 20)
                    for text in _check({**member, "name": here}, form, _local):
                        yield f"{member['name']}: {text}"
        except (zipfile.BadZipFile, EOFError) as error:
            yield f"it is not an archive of zip: {error}"


def _local(name: str) -> BinaryIO:
    return open(name, "rb")


def count(path: str, form: Mapping[str, Any], opened: Callable[[str], BinaryIO] = _local) -> int | None:
    """The records in a delivered file; None where its format is somebody's own. Raises SourceError."""
    from exporters_beam.compressions.auto import Auto
    from exporters_beam.compressions.none import Plain

    deserializer = _deserializer(form)
    if deserializer is None:
        return None
    unpacked = (Plain() if form.get("compression") == "none" else Auto(max_ratio=0)).open
    if (form.get("options") or {}).get(
        "pretty_print"
    ):  # The JSON lines of no record are nothing, also where they are pretty-printed.
        with opened(path) as raw:
            if not unpacked(raw).read(1):
                return 0
    with opened(path) as raw:
        stream = unpacked(raw)
        if form["name"] in ("parquet", "orc"):
            return sum(n for group in range(deserializer.row_groups(stream))
                       for _, n, _ in deserializer.chunks_of(stream, group))  # fmt: skip
        return sum(n for _, n, _ in deserializer.chunks(stream))


def _deserializer(form: Mapping[str, Any]) -> Any:
    from exporters_beam.components import registry
    from exporters_beam.components.options import build

    name = form.get("name")
    if name in ("parquet", "orc", "avro"):
        return build(registry.load(registry.find("deserializer", name)), {})
    if name not in ("json", "csv", "xlsx", "xml"):
        return None
    made = build(registry.load(registry.find("formatter", name)), form.get("options") or {})
    if name != "json":
        return made.reads_back
    lines = "jsonlines" if made.jsonlines and not made.pretty_print else "json"
    return build(registry.load(registry.find("deserializer", lines)), {})
