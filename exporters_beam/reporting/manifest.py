"""What makes a manifest right: every range read, every record accounted for, and a checksum over the whole."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping

from exporters_beam.config.on_error import SKIP, set_aside
from exporters_beam.decimals import beyond_json
from exporters_beam.errors import DestinationError, shown
from exporters_beam.records import Mark, Unit


def unbalanced(counts: Mapping[str, int], limit: int, sample: int, letters: int) -> str:
    """What does not add up in the counts of an export: read = written + filtered + duplicates + failed; "" if all does.

    `letters` are the dead letters that were written.
    """
    kept, written = counts.get("kept", 0), counts.get("written", 0)
    expected = min(kept, limit) if limit else kept
    if written != expected and not sample:
        return f"{expected} records were kept and {written} delivered"
    if set_aside(counts) != letters:
        return f"{set_aside(counts)} records became dead letters and {letters} were written"
    explained = kept + sum(n for name, n in counts.items() if name.partition(".")[2] in ("dropped", "duplicates"))
    explained += set_aside(counts, SKIP) + letters + counts.get("over_limit", 0)
    explained -= sum(n for name, n in counts.items() if name.endswith(".added"))
    if counts.get("read", 0) != explained:
        return f"{counts.get('read', 0)} records were read and {explained} are accounted for"
    return ""


def manifest_checksum(manifest: Mapping[str, object]) -> str:
    """The checksum of a manifest, which stands in it: that of its JSON with sorted keys, entry by entry."""
    digest = hashlib.sha256(b"{")
    for n, key in enumerate(sorted(manifest.keys() - {"checksum"})):
        digest.update(_json(key, before=", " if n else "") + b": ")
        for piece in _entries(manifest[key], "[", ", ", "]", sort_keys=True):
            digest.update(piece)
    digest.update(b"}")
    return digest.hexdigest()


def manifest_text(manifest: Mapping[str, object]) -> bytes:
    """A manifest as it is written: a line for each unit and each file."""
    text = io.BytesIO()
    text.write(b"{")
    for n, (key, value) in enumerate(manifest.items()):
        text.write(_json(key, before=",\n " if n else "\n ") + b": ")
        text.writelines(_entries(value, "[\n  ", ",\n  ", "\n ]"))
    text.write(b"\n}")
    return text.getvalue()


def _entries(value: object, begin: str, between: str, end: str, sort_keys: bool = False) -> Iterator[bytes]:
    """The JSON of a value; that of a list entry by entry, since there may be very many."""
    if not isinstance(value, list) or not value:
        yield _json(value, sort_keys)
        return
    for n, entry in enumerate(value):
        yield _json(entry, sort_keys, between if n else begin)
    yield end.encode()


_AS_IT_IS = json.JSONEncoder(ensure_ascii=False, default=beyond_json)
_SORTED = json.JSONEncoder(ensure_ascii=False, default=beyond_json, sort_keys=True)


def _json(value: object, sort_keys: bool = False, before: str = "") -> bytes:
    text = before + (_SORTED if sort_keys else _AS_IT_IS).encode(value)
    return text.encode("utf-8", "backslashreplace")  # group values may hold lone surrogates


def check_ranges(listed: Mapping[int, Unit], tallies: Mapping[tuple[int, int], Mark]) -> None:
    """Every listed unit was read from its first range to its last. Raises DestinationError.

    Runners have been seen to end a pipeline as done with input unread; this is what notices.
    """
    last = {index: number for (index, number), mark in tallies.items() if mark.last}
    for index, unit in listed.items():
        missing = next((n for n in range(last.get(index, -1) + 1) if (index, n) not in tallies), None)
        if index not in last or missing is not None:
            where = f"range {missing}" if missing is not None else "its end"
            raise DestinationError(
                f"{shown(unit.name)}: {where} was never read, though the runner says that all is done; the export has failed"
            )
