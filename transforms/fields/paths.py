"""Paths of the transform `fields`, `seller.town` and `offers[].price`, and functions that follow them through a record.

A path leads through mappings by names and, by `[]`, into each member of a list. What it leads to may be missing, and so may
what it leads through, or be null: then there is nothing to do. Anything else in its way is an error of the record, since a
field that is to be hashed or dropped must not pass because it stands elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, time
from typing import Any

from exporters_beam.components.words import in_json, kind_of
from exporters_beam.decimals import beyond_json
from exporters_beam.errors import RecordError
from exporters_beam.records import MISSING

EACH = None
"""The part of a path that leads into each member of a list."""

Path = tuple[str | None, ...]

Change = Callable[[Any], Any]
"""What becomes of a value. Raises Unfit."""


class Unfit(Exception):
    """A value that is not what it has to be, and where it stands, from the value on that was looked at."""

    def __init__(self, what: str, place: str = "") -> None:
        super().__init__(what, place)
        self.what, self.place = what, place

    def inside(self, place: str) -> Unfit:
        """The same, seen from what the value stands in."""
        self.place = place + self.place
        return self

    def of(self, name: str, why: str = "") -> RecordError:
        """The error of a record, for the value of this top-level field."""
        return RecordError(f"{escaped(name)}{self.place}: {self.what}{why}")


def shown(value: object) -> str:
    """A value for a message, as JSON, and what it is where that says more."""
    if isinstance(value, (dict, list, tuple)):
        return kind_of(value)
    return in_json(value, 80, lambda odd: odd.isoformat() if isinstance(odd, (date, time)) else beyond_json(odd))


def escaped(name: str) -> str:
    r"""A name as part of a path.

    >>> escaped("a.b"), escaped("town")
    ('a\\.b', 'town')
    """
    name = str(name)
    return "".join(f"\\{letter}" if letter in "\\.[" else letter for letter in name)


def written(path: Sequence[str | None]) -> str:
    r"""A path as the config has it.

    >>> written(("offers", EACH, "price.net"))
    'offers[].price\\.net'
    """
    return "".join("[]" if part is EACH else f".{escaped(part)}" for part in path).removeprefix(".")


def parsed(text: str) -> Path:
    r"""The path that a text of the config stands for. Raises ValueError with what is wrong.

    >>> parsed("seller.town"), parsed(r"a\.b"), parsed("offers[].price")
    (('seller', 'town'), ('a.b',), ('offers', None, 'price'))
    """
    parts: list[str | None] = []
    name, at = "", 0
    begun = False
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            if text[at + 1 : at + 2] not in ("\\", ".", "["):
                raise ValueError(rf"the backslash at character {at + 1} stands before no \, . or [; write \\ for one in a name")
            name, begun, at = name + text[at + 1], True, at + 2
        elif letter == "[":
            if text[at : at + 2] != "[]":
                raise ValueError(rf"[ at character {at + 1} is not []: write name[] for each member, \[ for a bracket")
            if not begun and (not parts or parts[-1] is not EACH):
                raise ValueError("[] stands behind no name; write name[] for each member of a list")
            parts += [name, EACH] if begun else [EACH]
            name, begun, at = "", False, at + 2
            if at < len(text) and text[at] not in ".[":
                raise ValueError(f"behind [] at character {at + 1} comes a dot, or nothing")
        elif letter == ".":
            if not begun and (not parts or parts[-1] is not EACH or text[at - 1] == "."):
                raise ValueError(rf"a name is missing before the dot at character {at + 1}; write \. for a dot in a name")
            parts += [name] if begun else []
            name, begun, at = "", False, at + 1
            if at == len(text):
                raise ValueError(r"a name is missing behind the last dot; write \. for a dot in a name")
        else:
            name, begun, at = name + letter, True, at + 1
    if begun:
        parts.append(name)
    if not parts:
        raise ValueError("the path is empty")
    return tuple(parts)


def in_mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise Unfit(f"{shown(value)} is not a mapping")


def in_list(value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    raise Unfit(f"{shown(value)} is not a list")


def changed(path: Path, change: Change) -> Change:
    """What becomes of a value, not null, where `change` is made at the end of the path that begins in it. Mappings are
    changed, lists are made anew."""
    if not path:
        return change
    step, inner = path[0], changed(path[1:], change)
    if step is EACH:
        return lambda value: [None if each is None else _inside(f"[{n}]", inner, each) for n, each in enumerate(in_list(value))]
    place = f".{escaped(step)}"

    def member(value: Any) -> Any:
        holder = in_mapping(value)
        found = holder.get(step)
        if found is not None:
            holder[step] = _inside(place, inner, found)
        return value

    return member


def _inside(place: str, change: Change, value: Any) -> Any:
    try:
        return change(value)
    except Unfit as unfit:
        raise unfit.inside(place) from None


def filled(path: Path, make: Callable[[], Any], always: bool) -> Change:
    """What becomes of a value, or of MISSING, where a value is put at the end of the path: `always`, or where there is none or
    null. Mappings on the way are made where they are missing or null, lists are not."""
    if not path:
        return lambda value: make() if always or value is None or value is MISSING else value
    step, inner = path[0], filled(path[1:], make, always)
    if step is EACH:
        leaf = len(path) == 1

        def members(value: Any) -> Any:
            if value is None or value is MISSING:
                return value
            return [each if each is None and not leaf else _inside(f"[{n}]", inner, each)
                    for n, each in enumerate(in_list(value))]  # fmt: skip

        return members
    place, within_list = f".{escaped(step)}", EACH in path

    def member(value: Any) -> Any:
        if value is None or value is MISSING:
            if within_list:
                return value
            value = {}
        holder = in_mapping(value)
        found = _inside(place, inner, holder.get(step, MISSING))
        if found is not MISSING:
            holder[step] = found
        return value

    return member


def taker(path: Path) -> Callable[[dict[str, Any]], Any]:
    """What takes the value at a path of names out of a mapping, and gives it; MISSING where there is none. It raises Unfit."""
    way, last = path[:-1], str(path[-1])

    def take(holder: dict[str, Any]) -> Any:
        for n, step in enumerate(way):
            found = holder.get(step)  # type: ignore[arg-type]
            if found is None:
                return MISSING
            if found.__class__ is not dict:
                found = _inside(f".{written(way[: n + 1])}", in_mapping, found)
            holder = found
        return holder.pop(last, MISSING)

    return take


def putter(path: Path, twice: str) -> Callable[[dict[str, Any], Any], None]:
    """What puts a value at a path of names in a mapping. It raises Unfit, with the text `twice` where there is one already."""
    way, last = [str(step) for step in path[:-1]], str(path[-1])

    def put(holder: dict[str, Any], value: Any) -> None:
        for n, step in enumerate(way):
            found = holder.get(step)
            if found is None:
                holder[step] = found = {}
            elif found.__class__ is not dict:
                found = _inside(f".{written(way[: n + 1])}", in_mapping, found)
            holder = found
        if last in holder:
            raise Unfit(twice, f".{written(path)}")
        holder[last] = value

    return put
