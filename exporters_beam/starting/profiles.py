"""What is known of the fields of records: how many have them, what values are, of texts what they could be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from exporters_beam.components.words import in_json
from exporters_beam.decimals import text_of
from exporters_beam.records import MISSING, Record
from exporters_beam.transforms.fields.paths import EACH, Path

DEPTH = 20
"""Levels of nesting that are looked into."""

NAMES = 500
"""Names in one mapping that are told apart; of mappings with more the names are data."""

TEXTS = 5000
"""Different texts that are kept of a field."""


@dataclass
class Facts:
    """What is known of the values at one place."""

    records: int = 0
    """How many records have it."""
    kinds: Counter[str] = field(default_factory=Counter)
    example: Any = MISSING
    texts: dict[str, None] = field(default_factory=dict)
    members: dict[str, Facts] = field(default_factory=dict)
    item: Facts | None = None
    seen: int = -1

    def add(self, value: Any, number: int, depth: int = 0) -> None:
        """Looks at a value of the record with this number."""
        self.records += self.seen != number
        self.seen = number
        kind = kind_of(value)
        self.kinds[kind] += 1
        if kind == "text" and len(self.texts) < TEXTS:
            self.texts[str(value)] = None
        if value not in (None, "") and (self.example is MISSING):
            self.example = value
        if depth >= DEPTH:
            return
        if kind == "mapping":
            for key, member in value.items():
                name = "null" if key is None else str(key)
                known = self.members.get(name)
                if known is None and len(self.members) < NAMES:
                    known = self.members[name] = Facts()
                if known is not None:
                    known.add(member, number, depth + 1)
        elif kind == "list":
            for member in value:
                self.item = self.item or Facts()
                self.item.add(member, number, depth + 1)

    def told(self) -> str:
        """What the values are, in words."""
        kinds = [kind for kind, _ in self.kinds.most_common() if kind != "null"]
        if not kinds:
            return "null"
        return " or ".join(kinds) + (" or null" if self.kinds["null"] else "")

    def shown(self) -> str:
        """The example, in one line that YAML takes in a comment; "" where there is none to show."""
        if self.example is MISSING or isinstance(self.example, (Mapping, list, tuple)):
            return ""
        text = in_json(self.example, 40, text_of) if not isinstance(self.example, bytes) else repr(self.example[:20])
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def kind_of(value: Any) -> str:
    """What a value is called."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    for kind, types in _KINDS:
        if isinstance(value, types):
            return kind
    return type(value).__name__


_KINDS: tuple[tuple[str, Any], ...] = (
    ("text", str),
    ("number", float),
    ("decimal", Decimal),
    ("mapping", Mapping),
    ("list", (list, tuple)),
    ("datetime", datetime),
    ("date", date),
    ("time", time),
    ("bytes", (bytes, bytearray, memoryview)),
)


def facts_of(records: Sequence[Record]) -> Facts:
    """What is known of all the records."""
    found = Facts()
    for number, record in enumerate(records):
        found.add(record, number)
    return found


def places(facts: Facts, way: Path = ()) -> Iterator[tuple[Path, Facts]]:
    """Every place below, as paths of the transform `fields` lead there, in the order in which they are first seen."""
    for name, member in facts.members.items():
        yield (*way, name), member
        yield from places(member, (*way, name))
    if facts.item is not None:
        if way and facts.item.kinds.keys() - {"mapping"}:
            yield (*way, EACH), facts.item
        yield from places(facts.item, (*way, EACH))


def schema_of(facts: Facts) -> Any:
    """A JSON Schema of the values, None where they are of several kinds."""
    kinds = {kind for kind in facts.kinds if kind != "null"}
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    if len(kinds) != 1:
        return {"type": ["string", "null"]} if not kinds else None
    kind = kinds.pop()
    if kind == "mapping":
        members = {name: schema_of(member) for name, member in facts.members.items()}
        if None in members.values() or not members or len(members) >= NAMES:
            return None
        return {"type": ["object", "null"], "properties": members}
    if kind == "list":
        items = schema_of(facts.item) if facts.item is not None else {"type": ["string", "null"]}
        return None if items is None else {"type": ["array", "null"], "items": items}
    return _SCHEMAS.get(kind)


_SCHEMAS = {
    "text": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "datetime": {"type": ["string", "null"], "format": "date-time"},
    "date": {"type": ["string", "null"], "format": "date"},
    "time": {"type": ["string", "null"], "format": "time"},
}
