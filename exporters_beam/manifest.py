"""What makes a manifest right: every range read, every record accounted for, and a checksum over the whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from exporters_beam.errors import DestinationError
from exporters_beam.letters import SKIP, set_aside
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


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """The checksum of a manifest, which stands in it."""
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, ensure_ascii=False, default=repr)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()  # group values may hold lone surrogates


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
                f"{unit.name}: {where} was never read, though the runner says that all is done; the export has failed"
            )
