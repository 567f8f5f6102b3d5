"""What the Avro library would follow until the memory or the stack is gone, found before it gets the bytes.

Two kinds of schemas let few bytes claim very much: a type that contains itself nests as deep as the bytes say, and an array
whose items have no bytes (null, a record without fields) has as many as it says. Blocks of such schemas, which are rare, are
walked through here first; of all others the bytes themselves are the bound. A third kind has items that take a few bytes and
become a hundred times as much: large blocks of these are walked through as well.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

DEEPEST = 400
"""How deep values may nest: about what Python can carry to another process."""

MOST_ITEMS = 4 << 20
"""Items that the arrays and maps of a block may have together where it is walked through."""

THIN, LARGE = 8, 16 << 20
"""Items that are made of others and may have fewer bytes are counted in blocks that have more."""

_FIXED = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_Names = dict[str, Any]


def check(schema: bytes, body: bytes, records: int) -> None:
    """Raises ValueError where a value of the block nests too deep, or claims too many items."""
    parsed, names, risky, thin = _parsed(schema)
    if risky or (thin and len(body) > LARGE):
        at, left = 0, [MOST_ITEMS]
        for _ in range(records):
            at = _skip(parsed, names, body, at, 0, left)


@lru_cache(maxsize=16)
def _parsed(schema: bytes) -> tuple[Any, _Names, bool, bool]:
    import fastavro

    names: _Names = {}
    parsed = fastavro.parse_schema(json.loads(schema), names)
    risky = _risky(parsed, names, ())
    return parsed, names, risky, risky or _thin(parsed, names)


def _risky(schema: object, names: _Names, above: tuple[str, ...]) -> bool:
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


def _thin(schema: object, names: _Names, items: bool = False) -> bool:
    """Whether arrays or maps, in a type that does not contain itself, have items of few bytes that are made of others."""
    if isinstance(schema, list):
        return any(_thin(branch, names, items) for branch in schema)
    schema = names.get(schema, schema) if isinstance(schema, str) else schema
    if not isinstance(schema, dict):
        return False
    kind = schema["type"]
    if items and kind in ("record", "error", "array", "map") and _fewest(schema, names) < THIN:
        return True
    if kind in ("record", "error"):
        return any(_thin(field["type"], names) for field in schema["fields"])
    if kind in ("array", "map"):
        return _thin(schema["items" if kind == "array" else "values"], names, True)
    return isinstance(kind, (dict, list)) and _thin(kind, names, items)


def _fewest(schema: Any, names: _Names) -> int:
    """The fewest bytes that a value has."""
    if isinstance(schema, list):
        return 1 + min((_fewest(branch, names) for branch in schema), default=0)
    schema = names.get(schema, schema) if isinstance(schema, str) else schema
    if not isinstance(schema, dict):
        return _FIXED.get(schema, 1)
    kind = schema["type"]
    if kind in ("record", "error"):
        return sum(_fewest(field["type"], names) for field in schema["fields"])
    return int(schema["size"]) if kind == "fixed" else 1 if kind in _MADE_OF else _fewest(kind, names)


def _size(schema: object, names: _Names) -> int:
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


def _skip(schema: Any, names: _Names, data: bytes, at: int, depth: int, left: list[int]) -> int:
    """Where the value ends that begins at `at`. `left` is how many items arrays and maps may still have."""
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
            at = _skip(field["type"], names, data, at, depth + 1, left)
        return at
    if kind in ("array", "map"):
        return _skip_items(schema, names, data, at, depth, left)
    if kind in ("bytes", "string"):
        size, at = _number(data, at)
        return _inside(data, at, size)
    if kind in ("int", "long", "enum"):
        return _number(data, at)[1]
    return _inside(data, at, schema["size"] if kind == "fixed" else _FIXED[kind])


_MADE_OF = frozenset(("record", "error", "array", "map", "fixed", "enum"))


def _skip_items(schema: Any, names: _Names, data: bytes, at: int, depth: int, left: list[int]) -> int:
    while True:
        count, at = _number(data, at)
        if count == 0:
            return at
        if count < 0:
            count, (_, at) = -count, _number(data, at)
        left[0] -= count
        if left[0] < 0:
            raise ValueError(f"an array claims to have {count:,} items, and more than {MOST_ITEMS:,} in a block are not read; "
                             "write it with smaller blocks")  # fmt: skip
        if schema["type"] == "array" and _size(schema["items"], names) == 0:
            continue
        for _ in range(count):
            if schema["type"] == "map":
                size, at = _number(data, at)
                at = _inside(data, at, size)
            at = _skip(schema["values" if schema["type"] == "map" else "items"], names, data, at, depth + 1, left)


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
