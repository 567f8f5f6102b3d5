"""Records as they are now, whatever a transform does to them."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Callable, Sequence
from typing import Any


def copied(records: Sequence[object]) -> Callable[[int], Any]:
    """A function that gives each record, by its index, as it is now, also when it has been changed."""
    try:
        together = marshal.dumps(list(records))
    except ValueError:  # dates, decimals
        alone = [_copy(record) for record in records]
    else:
        loaded: list[Any] = []

        def from_all(index: int) -> Any:
            if not loaded:
                loaded.extend(marshal.loads(together))
            return loaded[index]

        return from_all

    def from_its_own(index: int) -> Any:
        made = alone[index]
        return records[index] if made is None else made[0](made[1])

    return from_its_own


def _copy(record: Any) -> tuple[Any, bytes] | None:
    """A record as bytes, with what makes a record of them again; None for what cannot be copied."""
    try:
        return marshal.loads, marshal.dumps(record)
    except ValueError:
        try:
            return pickle.loads, pickle.dumps(record, 5)
        except Exception:
            return None
