"""The filter `dupe`: one record of each key. What applies it to the whole collection stands in `dedupe`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.options import option


@dataclass(frozen=True, kw_only=True)
class DupeFilter:
    """Keep the first record, in input order, of each value of a field.

    Records whose field is missing, null or the empty text are all kept. Values are compared as Python compares them:
    `1`, `1.0` and `true` are the same, `1` and `"1"` are not; lists and mappings are compared by what is in them. It
    takes two shuffles, so the records stand in memory on the local runner, and a resumed run reads again.

    Example:
        filter_before:
          name: dupe
          options: {key_field: sku}
    """

    kind: ClassVar[str] = "filter"

    key_field: str = option("the top-level field that identifies a record", type="str", default="_key")

    def key(self, record: Any) -> bytes | None:
        """The record's key as 16 bytes, None where it has none. Raises RecordError where the record is no mapping."""
        value = record.get(self.key_field)
        if value is None or value == "":
            return None
        return hashlib.blake2b(_canonical(value).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _canonical(value: Any) -> str:
    """The same text for values that compare equal."""
    if isinstance(value, str):
        return "s" + repr(value)
    if isinstance(value, (int, float)):
        whole = isinstance(value, int) or (value == value and abs(value) != float("inf") and value == int(value))
        return f"n{int(value)}" if whole else f"n{value!r}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_canonical(member) for member in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{_canonical(k)}:{_canonical(v)}" for k, v in value.items())) + "}"
    return f"{type(value).__name__}:{value!r}"
