"""The filter `dupe`: one record of each key. What applies it to the whole collection stands in `dedupe`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.words import kind_of
from exporters_beam.errors import RecordError
from exporters_beam.records import MISSING, Key

DIGEST = 16
"""The bytes of a digest. What is shorter is its own key: no digest is like it."""


@dataclass(frozen=True, kw_only=True)
class DupeFilter:
    """Keep the first record, in input order, of each value of a field.

    Without `key_field` a record is known by its field `_key` or, where it has none, by all its fields. Records whose field is
    missing are all kept, and so are those whose value says nothing: null, false, 0, NaN, an empty text, list or object.
    Values are compared as Python compares them: `1`, `1.0`, `true` and the decimal `1.00` are the same, `1` and `"1"` are not;
    lists and objects are compared by what is in them, whatever the order of fields. Keys are shuffled, and stand in memory on
    the local runner; records wait in the staging folder. A resumed run reads again.

    Example:
        filter_before:
          name: dupe
          options: {key_field: sku}
    """

    kind: ClassVar[str] = "filter"

    key_field: str | None = option(
        "the top-level field that identifies a record; not given: `_key`, else the whole record",
        type="str",
        default=None,
    )

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """What it looks for in records, by what the config calls it."""
        return ((self.key_field, Key.of(self.key_field, "")),) if self.key_field else ()

    def key(self, record: Any) -> bytes | None:
        """The record's key, of at most 16 bytes, None where it has none. Raises RecordError where it is not a mapping."""
        if type(record) is not dict and not isinstance(record, Mapping):  # the second test is slow
            raise RecordError(f"the record is not a mapping but {kind_of(record)}; dupe needs fields")
        value = record.get(self.key_field or "_key", MISSING)
        if value is MISSING and self.key_field is None:
            value = record
        elif not value or value != value:
            return None
        return canonical_key(value)


def canonical_key(value: object) -> bytes:
    """The same bytes, 16 at most, for values that compare equal."""
    text = f"n{value:x}" if type(value) is int else _canonical(value)
    data = text.encode("utf-8", "surrogatepass")
    return data if len(data) < DIGEST else hashlib.blake2b(data, digest_size=DIGEST).digest()


def _canonical(value: object) -> str:
    """The same text for values that compare equal."""
    if isinstance(value, str):
        return "s" + repr(value)
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_canonical(member) for member in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(sorted(f"{_canonical(k)}:{_canonical(v)}" for k, v in value.items())) + "}"
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(timezone.utc)
    return f"{type(value).__name__}:{value!r}"


def _number(value: int | float | Decimal) -> str:
    """Decimals are the integers, and the floating point numbers, that are written the same."""
    if isinstance(value, float) and not (math.isfinite(value) and value == int(value)):
        if not math.isfinite(value):
            return f"n{value!r}"
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            return f"n{float(value)!r}"
        sign, digits, exponent = value.as_tuple()
        text = "".join(map(str, digits)).lstrip("0")
        kept = text.rstrip("0")
        exponent = int(exponent) + len(text) - len(kept)
        if exponent < 0 or exponent + len(kept) > 5000:  # No whole number that JSON can hold is like it.
            return f"n{'-' * sign}{kept}e{exponent}"
        value = int(value)
    return f"n{int(value):x}"
