"""What the Avro library would follow until the memory or the stack is gone, found before it gets the bytes.

Two kinds of schemas let few bytes claim very much: a type that contains itself nests as deep as the bytes say, and an array
whose items have no bytes (null, a record without fields) has as many as it says. Blocks of such schemas, which are rare, are
walked through here first; of all others the bytes themselves are the bound.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

DEEPEST = 400
"""How deep values may nest: about what Python can carry to another process."""

MOST_ITEMS = 4 << 20
"""Items without bytes that an array may have."""

_FIXED = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_Names = dict[str, Any]


def check(schema: bytes, body: bytes, records: int) -> None:
    """Raises ValueError where a value of the block nests too deep, or claims too many items."""
    parsed, names, risky = _parsed(schema)
    if risky:
        at = 0
        for _ in range(records):
            at = _skip(parsed, names, body, at, 0)


@lru_cache(maxsize=16)
def _parsed(schema: bytes) -> tuple[Any, _Names, bool]:
    import fastavro

    names: _Names = {}
    parsed = fastavro.parse_schema(json.loads(schema), names)
    return parsed, names, _risky(parsed, names, ())


def _risky(schema: Any, names: _Names, above: tuple[str, ...]) -> bool:
    """Whether the type contains itself, or has arrays of items without bytes. `above`: the records around it."""
    if isinstance(schema, list):
        return any(_risky(branch, names, above) for branch in schema)
    schema = names.get(schema, schema) if isinstance(schema, str) else schema
    if not isinstance(schema, dict):
        return False
    kind = schema["type"]
    if kind in ("record", "error"):
        if schema["name"] in above:
            return True
        return any(_risky(field["type"], names, (*above, schema["name"])) for field in schema["fields"])
    if kind == "array":
        return _size(schema["items"], names) == 0 or _risky(schema["items"], names, above)
    if kind == "map":
        return _risky(schema["values"], names, above)
    return isinstance(kind, (dict, list)) and _risky(kind, names, above)


def _size(schema: Any, names: _Names) -> int:
    """The fewest bytes that a value has, as far as it matters: 0 or more than that."""
    if isinstance(schema, str):
        schema = names.get(schema, schema)
    if isinstance(schema, dict):
        kind = schema["type"]
        if kind in ("record", "error"):
            own = {name: inner for name, inner in names.items() if name != schema["name"]}  # what contains itself ends
            return int(any(_size(field["type"], own) for field in schema["fields"]))
        return int(schema["size"]) if kind == "fixed" else _size(kind, names) if isinstance(kind, str) else 1
    return _FIXED.get(schema, 1) if isinstance(schema, str) else 1


def _skip(schema: Any, names: _Names, data: bytes, at: int, depth: int) -> int:
    """Where the value ends that begins at `at`."""
    if depth > DEEPEST:
        raise ValueError(f"values are nested more than {DEEPEST} deep")
    while True:  # until a type is found that stands for itself
        if isinstance(schema, list):
            branch, at = _number(data, at)
            if not 0 <= branch < len(schema):
                raise ValueError(f"a union of {len(schema)} types has no type {branch}")
            schema = schema[branch]
        elif isinstance(schema, str) and schema in names:
            schema = names[schema]
        elif isinstance(schema, dict) and not (isinstance(schema["type"], str) and schema["type"] in _MADE_OF):
            schema = schema["type"]
        else:
            break
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind in ("record", "error"):
        for field in schema["fields"]:
            at = _skip(field["type"], names, data, at, depth + 1)
        return at
    if kind in ("array", "map"):
        return _skip_items(schema, names, data, at, depth)
    if kind in ("bytes", "string"):
        size, at = _number(data, at)
        return _inside(data, at, size)
    if kind in ("int", "long", "enum"):
        return _number(data, at)[1]
    return _inside(data, at, schema["size"] if kind == "fixed" else _FIXED[kind])


_MADE_OF = frozenset(("record", "error", "array", "map", "fixed", "enum"))


def _skip_items(schema: Any, names: _Names, data: bytes, at: int, depth: int) -> int:
    items = 0
    while True:
        count, at = _number(data, at)
        if count == 0:
            return at
        if count < 0:
            count, (_, at) = -count, _number(data, at)
        items += count
        if items > max(MOST_ITEMS, len(data)):
            raise ValueError(f"an array claims to have {items:,} items")
        if schema["type"] == "array" and _size(schema["items"], names) == 0:
            continue
        for _ in range(count):
            if schema["type"] == "map":
                size, at = _number(data, at)
                at = _inside(data, at, size)
            at = _skip(schema["values" if schema["type"] == "map" else "items"], names, data, at, depth + 1)


def _inside(data: bytes, at: int, size: int) -> int:
    if size < 0 or at + size > len(data):
        raise ValueError(f"a value claims to have {size:,} bytes, and {len(data) - at:,} are left")
    return at + size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number that stands at `at`, and where it ends."""
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number is cut short, or has more than 64 bits")
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return (number >> 1) ^ -(number & 1), at
