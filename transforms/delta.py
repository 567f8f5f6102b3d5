"""What tells records of two snapshots apart: the hash of a record's key, and that of the record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any, cast

from exporters_beam.components.words import kind_of
from exporters_beam.config.delta import DELTA
from exporters_beam.errors import RecordError
from exporters_beam.records import MISSING, Json, Key
from exporters_beam.staging.deltas import HASH
from exporters_beam.transforms.dupe import canonical_key

_TAG = "\0"
"""With this begins the only field of an object that stands for what JSON has no value for."""


def _tagged(value: object) -> Json:
    """What JSON has no value for. Raises TypeError."""
    if isinstance(value, Decimal):
        return {f"{_TAG}decimal": str(value)}
    if isinstance(value, (date, time)):  # datetime is a date, too
        return {f"{_TAG}{type(value).__name__}": value.isoformat()}
    if isinstance(value, (bytes, bytearray)):
        return {f"{_TAG}bytes": value.hex()}
    raise TypeError(f"a value of the type {type(value).__name__} cannot be compared with that of another snapshot")


def _untagged(found: Json) -> Any:
    if len(found) == 1:
        ((name, value),) = found.items()
        kinds = {"decimal": Decimal, "datetime": datetime.fromisoformat, "date": date.fromisoformat,
                 "time": time.fromisoformat, "bytes": bytes.fromhex}  # fmt: skip
        if name.startswith(_TAG) and name[1:] in kinds:
            return cast(Any, kinds[name[1:]])(value)
    return found


class _Default:
    """Counts what JSON has no value for."""

    used = 0

    def __call__(self, value: object) -> Json:
        self.used += 1
        return _tagged(value)


_PLAIN = {sort: json.JSONEncoder(sort_keys=sort, separators=(",", ":")).encode for sort in (True, False)}


def _text(value: object, sort_keys: bool) -> tuple[str, int]:
    """A value as JSON, and how many values stand in it that JSON does not have. Raises TypeError, ValueError."""
    try:
        return _PLAIN[sort_keys](value), 0
    except TypeError:
        default = _Default()
        return json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), default=default), default.used


def record_hash(record: object) -> bytes:
    """The same 16 bytes for the same fields and values, whatever the order of fields: 1, 1.0, true and "1" are four values.
    Those of records that JSON holds as they are end with a bit that is 0. Raises RecordError."""
    try:
        text, tagged = _text(record, sort_keys=True)
    except RecursionError:
        raise RecordError("the record is nested too deeply to be compared with that of another snapshot") from None
    except (TypeError, ValueError) as error:
        raise RecordError(str(error)) from None
    digest = bytearray(hashlib.blake2b(text.encode(), digest_size=HASH).digest())
    digest[-1] = digest[-1] & 0xFE | bool(tagged)
    return bytes(digest)


def is_plain(digest: bytes) -> bool:
    """Whether the hash is that of a record that JSON holds as it is."""
    return not digest[-1] & 1


@dataclass(frozen=True)
class Told:
    """What a record is told by, as a component of the step `delta`: the names of its key's fields, and the `field` that says
    what became of it, which it may not have yet."""

    names: tuple[str, ...]
    field: str
    deletes: bool = True

    kind = DELTA
    steady = False

    @cached_property
    def parts(self) -> tuple[Key, ...]:
        return tuple(Key.of(name) for name in self.names)

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        return tuple(zip(self.names, self.parts, strict=True))

    def key(self, record: Any) -> bytes:
        """The hash of the key, that of the record, and the key's fields as JSON. Raises RecordError."""
        if not isinstance(record, Mapping):
            raise RecordError(f"the record is not a mapping but {kind_of(record)}; delta needs fields")
        if self.field in record:
            raise RecordError(f"the record has a field {self.field} already, in which delta says what became of it; "
                              "give delta another `field`")  # fmt: skip
        return self.key_hash(record) + record_hash(record) + self._kept(record)

    def key_hash(self, record: Any) -> bytes:
        """The hash of the key. Values are compared as the filter `dupe` compares them. Raises RecordError."""
        values = [part.value(record, MISSING) for part in self.parts]
        for name, value in zip(self.names, values, strict=True):
            if value is MISSING or value is None or value != value:
                what = "has no" if value is MISSING else "has no value in"
                raise RecordError(f"the record {what} {name}, which is part of its key (delta.key)")
        return hashlib.blake2b(canonical_key(values), digest_size=HASH).digest()

    def _kept(self, record: Any) -> bytes:
        found: Json = {}
        for part in self.parts:
            _put(found, part, record)
        try:
            text, tagged = _text(found, sort_keys=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise RecordError(f"the key of the record cannot be kept: {error}") from None
        if tagged and text.count('{"\\u0000') > tagged:
            raise RecordError("the key of the record cannot be kept: a field in it has a name that begins with a NUL")
        return b" " * bool(tagged) + text.encode()

    def __getstate__(self) -> Json:
        return {"names": self.names, "field": self.field, "deletes": self.deletes}

    def __setstate__(self, state: Json) -> None:
        self.__dict__.update(state)


def _put(found: Json, part: Key, record: Any, start: int = 0) -> bool:
    """Put the value of a key where it stands in the record."""
    for name, end in part.names[start]:
        if not isinstance(record, Mapping) or name not in record:
            continue
        if end == len(part.names):
            found[name] = record[name]
            return True
        inner = found.get(name)
        inner = inner if isinstance(inner, dict) else {}
        if _put(inner, part, record[name], end):
            found[name] = inner
            return True
    return False


def record_of(kept: bytes) -> Json:
    """The record that has the fields of a key. A blank before them says that there are values in them that JSON does not
    have."""
    record: Json = json.loads(kept, object_hook=_untagged if kept[:1] == b" " else None)
    return record
