"""The filter `dupe`: one record of each key. What applies it to the whole collection stands in `dedupe`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from exporters_beam.options import option


@dataclass(frozen=True, kw_only=True)
class DupeFilter:
    """Keep the first record, in input order, of each value of a field.

    Records whose field is missing, null or the empty text are all kept. Values are compared as Python compares them:
    `1`, `1.0`, `true` and the decimal `1.00` are the same, `1` and `"1"` are not; lists and mappings are compared by what
    is in them. It takes two shuffles, so the records stand in memory on the local runner, and a resumed run reads again.

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
    if isinstance(value, Decimal) and value.is_finite():
        return _canonical_decimal(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_canonical(member) for member in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{_canonical(k)}:{_canonical(v)}" for k, v in value.items())) + "}"
    return f"{type(value).__name__}:{value!r}"


def _canonical_decimal(value: Decimal) -> str:
    """That of the integer, or of the floating point number, that is written the same; decimals may have more digits."""
    number = float(value)
    if abs(number) < 1e300 and value == int(value):
        return f"n{int(value)}"
    if Decimal(repr(number)) == value:
        return _canonical(number)
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    assert isinstance(exponent, int)
    return f"n{'-' * sign}{text.rstrip('0')}e{exponent + len(text) - len(text.rstrip('0'))}"
