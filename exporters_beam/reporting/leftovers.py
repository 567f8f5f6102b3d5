"""Files that earlier runs of an export have delivered and this one has not, and files that no manifest knows.

The manifest itself remembers: `left` lists what its run found left behind, and the next run takes that over. So what was not
removed, since nobody asked for it or since the run was killed before, is found again.
"""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from exporters_beam.components.names import FileNames
from exporters_beam.components.protocols import Writer
from exporters_beam.components.traits import WriterTraits
from exporters_beam.records import Warned
from exporters_beam.reporting.manifest import manifest_checksum
from exporters_beam.staging.listing import some
from exporters_beam.storages.base import Storage

ADVICE = "remove them, or give the writer `replace: true`"

_SUMS = re.compile(r"(?:^|/)md5checksum[^/]*\.md5$")
"""The file of `generate_md5` stands in no manifest."""

Entry = Mapping[str, Any]
"""A delivered file as it stands in a manifest."""


def former(writer: Writer, path: str, names: FileNames | None, export_id: str) -> tuple[list[Entry], str]:
    """What the manifest of the run before says was delivered, or was left already; and a warning, "" where there is none.

    It stands in the books; where they are new, as on another machine, perhaps in the storage that was delivered to.
    """
    try:
        told = _before(writer, path, names, export_id)
        return [*told["files"], *told.get("left", ()), *told.get("done", {}).values()], ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return [], f"the manifest of the run before cannot be read ({why}); whether it left files behind is not known"


def done_before(writer: Writer, path: str, names: FileNames | None, export_id: str) -> tuple[str, list[Entry]]:
    """When the run began that the manifest is of, and the files that told customers that it was whole; "" and none where that
    cannot be read."""
    try:
        told = _before(writer, path, names, export_id)
        return str(told.get("began", "")), [*told.get("done", {}).values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", []  # `former` tells what is wrong.


def _before(writer: Writer, path: str, names: FileNames | None, export_id: str) -> Mapping[str, Any]:
    """The manifest of the run before; one without files where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            text: str | bytes = file.read()
    except FileNotFoundError:
        there = WriterTraits.of(writer).former
        text = b"" if there is None or names is None else there(names, export_id)
    if not text:
        return {"files": []}
    told: Mapping[str, Any] = json.loads(text)
    if told["checksum"] != manifest_checksum(told):
        raise ValueError("its checksum does not fit")
    return told


def left_behind(writer: Writer, before: Iterable[Entry], now: Iterable[str]) -> tuple[list[Entry], list[str]]:
    """What of the files of runs before is no part of this one and is still there; and what is to be told of it."""
    to = WriterTraits.of(writer)
    if to.left is None:
        return [], []
    plain = str.lower if to.without_case else str
    new = {plain(name) for name in now}
    seen = {entry["name"]: entry for entry in before if plain(entry["name"]) not in new}
    there: list[Entry] = []
    touched: list[str] = []
    for name in sorted(seen):
        state = to.left(seen[name])
        if state:
            there.append(seen[name])
        if state == "changed":
            touched.append(name)
    warnings = []
    if there and not to.replace:
        names = some([entry["name"] for entry in there])
        warnings.append(f"files of runs before are not part of this export and still there: {names}; {ADVICE}")
    elif touched:
        warnings.append(f"files of runs before are not as they were delivered, so they are not removed: "
                        f"{some(touched)}; remove them by hand")  # fmt: skip
    return there, warnings


def remove(writer: Writer, left: Iterable[Entry]) -> None:
    """`replace`: remove what is as it was delivered. May be done again. Raises DestinationError."""
    to = WriterTraits.of(writer)
    if to.replace and to.left is not None and to.remove is not None:
        for entry in left:
            if to.left(entry) == "as delivered":
                to.remove(entry["name"])


def strangers(told: Mapping[str, Any], known: Iterable[str], storage: Storage | None) -> list[str]:
    """The files beside those of a manifest that have a name as its files and stand in no manifest.

    `known` are the names of files of other manifests. Hidden files are passed over.
    """
    filebase = told.get("filebase")
    if not isinstance(filebase, str) or not filebase:
        return []
    pattern, fixed = _names_of(filebase)
    own = [*told["files"], *told.get("left", ()), *([told["dead_letters"]] if "dead_letters" in told else [])]
    own += told.get("done", {}).values()
    names = {*known, *(file["name"] for file in own)}
    if storage is not None:
        keys = sorted(filter(None, map(storage.name, names)))
        key = fixed if keys and keys[0].startswith("/") else fixed.removeprefix("./").lstrip("/")
        folder = key.rpartition("/")[0] + "/" if "/" in key else key
        stored = (each.name for each in storage.names(folder) if not isinstance(each, Warned))
        return [name for name in map(storage.url, filter(partial(_is_like, key, fixed, pattern), stored)) if name not in names]
    there = {os.path.abspath(name) for name in names}
    return [path for path in _walk(fixed) if _is_like(fixed, fixed, pattern, path) and os.path.abspath(path) not in there]


def _is_like(key: str, fixed: str, pattern: re.Pattern[str], name: str) -> bool:
    return name.startswith(key) and bool(pattern.fullmatch(fixed + name[len(key) :])) and not _SUMS.search(name)


def _names_of(filebase: str) -> tuple[re.Pattern[str], str]:
    """What names of files with this base look like, and how all of them begin."""
    parts: list[str] = []
    fixed, open_ = "", False
    for text, field, _, _ in string.Formatter().parse(filebase):
        parts.append(re.escape(text))
        fixed += "" if open_ else text
        if field is not None:
            parts.append("[^/]*")
            open_ = True
    return re.compile("".join(parts) + "[^/]*", re.DOTALL), fixed


def _walk(fixed: str) -> Iterator[str]:
    """The files whose path begins so, without hidden ones, in order."""
    base = fixed.rpartition("/")[0] or ("/" if fixed.startswith("/") else "")
    for folder, folders, names in os.walk(base or "."):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(folder, name)
            path = path if base else os.path.relpath(path)
            if not name.startswith(".") and path.startswith(fixed):
                yield path


def known_beside(manifest: str, others: Sequence[str]) -> Iterator[str]:
    """The names of files in other manifests: those given, and those in the same books."""
    books = os.path.dirname(os.path.dirname(os.path.abspath(manifest)))
    paths = set(map(os.path.abspath, others))
    if os.path.basename(books) == ".exporters" and os.path.isdir(books):
        paths |= {os.path.join(books, name, "manifest.json") for name in os.listdir(books)}
    for path in sorted(paths - {os.path.abspath(manifest)}):
        try:
            with open(path, encoding="utf-8") as file:
                told = json.load(file)
            others = *told.get("left", ()), *told.get("done", {}).values()
            yield from (str(entry["name"]) for entry in (*told["files"], *others))
            if "dead_letters" in told:
                yield str(told["dead_letters"]["name"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
