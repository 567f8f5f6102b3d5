"""Dead letters as they are staged, delivered and read again."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from exporters_beam.config.on_error import DESERIALIZER
from exporters_beam.decimals import plain
from exporters_beam.records import Failure, Json

NAME = "<dead letters>"
"""What stands for the name of the dead letters among planned files. No delivered file can be called that."""

GROUP = b"null"
"""The key of dead letters where blocks are grouped; groups of records are JSON lists."""

FILE = "dead-letters.jl"


def staged(failure: Failure) -> bytes:
    """A failure as it is staged: all of its letter but the record's number, which takes reading to find out."""
    unit, number, n = failure.position
    letter: Json = {"at": [list(unit), number, n], "step": failure.step, "message": failure.message}
    return json.dumps(letter | _record(failure), ensure_ascii=True).encode()


class Unreadable(str):
    """What is shown of a record that a letter cannot hold."""

    @classmethod
    def of(cls, record: Any) -> Unreadable:
        try:
            return cls(repr(record)[:100_000])
        except Exception as error:
            return cls(f"{type(record).__name__}: {type(error).__name__}")


def _record(failure: Failure) -> Json:
    record = failure.record
    if isinstance(record, Unreadable):
        return {"unreadable": str(record)}
    if failure.step == DESERIALIZER:
        if isinstance(record, (bytes, bytearray)):
            try:
                return {"text": bytes(record).decode()}
            except UnicodeDecodeError:
                return {"bytes": base64.b64encode(record).decode()}
        if isinstance(record, str):
            return {"text": record}
    try:
        return {"record": to_json(record)}
    except (TypeError, ValueError, RecursionError):
        return {"unreadable": str(Unreadable.of(record))}


_TYPES: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "decimal": (Decimal, plain, Decimal),
    "uuid": (UUID, str, UUID),
}
"""Values that JSON has no form for: {"$decimal": "1.50"} and the like, and back."""


def to_json(value: object) -> Any:
    """A value as JSON holds it. Raises TypeError for what cannot be made again from it."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is int or kind is float:
        return value
    if isinstance(value, Mapping):
        if not all(type(key) is str for key in value):
            raise TypeError("keys that are not texts")
        found = {key: to_json(member) for key, member in value.items()}
        return {"$object": found} if len(found) == 1 and next(iter(found)).startswith("$") else found
    if isinstance(value, (list, tuple)):
        return [to_json(member) for member in value]
    for name, (type_, forth, _) in _TYPES.items():
        if isinstance(value, type_):
            return {f"${name}": forth(value)}
    raise TypeError(type(value).__name__)


def from_json(value: object) -> Any:
    """What `to_json` made a form of."""
    if isinstance(value, list):
        return [from_json(member) for member in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, member),) = value.items()
        if key == "$object":
            return {name: from_json(inner) for name, inner in member.items()}
        if key[:1] == "$" and key[1:] in _TYPES:
            return _TYPES[key[1:]][2](member)
    return {key: from_json(member) for key, member in value.items()}


def identity(letter: Mapping[str, object]) -> str:
    """What a letter is known by: its export, file, number and step, whatever was fixed in it.

    Of several records that a transform has made of one, those that fail at one step are told apart by `part`. A letter that
    failed again in a replay tells what it is known by.
    """
    if isinstance(letter.get("letter"), str):
        return str(letter["letter"])
    place = [letter.get(key) for key in ("export", "file", "number", "step")]
    return _digest([*place, letter["part"]] if letter.get("part") else place)


def child(letter: str, step: str, part: int) -> str:
    """What the letter of a record is known by that a replay has made, with others, of another letter's record."""
    return _digest([letter, step, part])


def _digest(told: object) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def read_letter(line: bytes | str) -> tuple[Json, Any]:
    """(a letter, its record; the undecoded text where decoding had failed). Raises ValueError where it is none."""
    letter = json.loads(line)
    if not isinstance(letter, dict) or not {"export", "step", "file", "number", "message"} <= letter.keys():
        raise ValueError("it has no export, step, file, number and message")
    if "record" in letter:
        return letter, from_json(letter["record"])
    if "text" in letter:
        return letter, str(letter["text"])
    if "bytes" in letter:
        return letter, base64.b64decode(letter["bytes"])
    raise ValueError("it has no record that could be sent on; give one under `record`")
