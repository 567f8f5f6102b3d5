"""Values of expressions: how much is in one, and those that would look another way in every process.

Iterators, functions that are handed on and sets are of types of our own: iterators know how deep they are nested, since
C code that unpacks very many of them, one in the other, ends the process; none of the three shows an address or an order
that depends on the process.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from types import FunctionType
from typing import Any, NoReturn

from exporters_beam.errors import RecordError

NODES = 5_000_000
"""Members of a value that an expression keeps, with those of its members and so on; 32 characters count as one."""

NESTING = 500
"""How deep such a value may be nested."""

ITERATORS = 20
"""How deep iterators may be nested."""


class TooMuch(RecordError):
    """An expression wants more than it may have on this record."""


ATOMS = frozenset(
    (
        int,
        float,
        bool,
        type(None),
        complex,
        Decimal,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
    )
)
"""Types of values that hold nothing."""

FLAT = ATOMS | {str}

VIEWS: tuple[Any, ...] = tuple(map(type, ({}.keys(), {}.values(), {}.items())))
"""Types of what `keys`, `values` and `items` give."""


def weigh(value: Any) -> int:
    """How much is in a value, counted as often as it stands in it. Raises TooMuch where that is too much, or too deep."""
    if isinstance(value, (str, bytes)):
        return len(value) >> 5
    total, level = 1, {id(value): [value, 1]}
    for _ in range(NESTING):
        following: dict[int, list[Any]] = {}  # What stands in many places is looked at once.
        for part, times in level.values():
            if isinstance(part, dict):
                total += 2 * len(part) * times
                members: Iterable[Any] = itertools.chain(part.keys(), part.values())
            elif isinstance(part, (list, tuple)) or type(part) in VIEWS:
                total += len(part) * times
                members = part
            elif isinstance(part, (set, frozenset)):
                total += len(part) * times
                members = set.__iter__(part) if isinstance(part, set) else frozenset.__iter__(part)
            else:
                continue
            if total > NODES:
                raise _too_much()
            for each in members:
                kind = type(each)
                if kind in ATOMS:
                    continue
                if kind is str or kind is bytes:
                    if len(each) > 31:
                        total += (len(each) >> 5) * times
                    continue
                known = following.get(id(each))
                if known is None:
                    following[id(each)] = [each, times]
                else:
                    known[1] += times
        if total > NODES:
            raise _too_much()
        if not following:
            return total
        level = following
    raise TooMuch(f"the value is nested more than {NESTING} levels deep")


def _too_much() -> TooMuch:
    return TooMuch(f"the value holds more than {NODES:,} members; at most so many are allowed")


def kept(value: Any) -> Any:
    """The value, which a record or list is to hold, where it is not too large."""
    kind = type(value)
    if kind in ATOMS or (kind is str and len(value) < 32 * NODES):
        return value
    if (kind is list or kind is tuple) and len(value) < 100 and {*map(type, value)} <= FLAT:
        return value
    weigh(value)
    return value


def set_item(owner: Any, key: Any, value: Any) -> None:
    """`owner.__setitem__(key, value)`. A slice might make a list longer."""
    if isinstance(key, slice):
        raise RecordError("__setitem__ takes a field or a place, not a slice")
    owner[key] = value


def delete_item(owner: Any, key: Any) -> None:
    """`owner.__delitem__(key)`."""
    del owner[key]


# Iterators and functions


def _no_text(what: str) -> NoReturn:
    raise RecordError(f"{what} has no text that is the same in every run; write list(…) around it, or call it")


class Stream:
    """An iterator, and how many others it reads through."""

    __slots__ = ("_iterator", "depth")

    def __init__(self, iterator: Iterator[Any], *sources: Any) -> None:
        self.depth: int = 1 + max((source.depth for source in sources if type(source) is Stream), default=0)
        if self.depth > ITERATORS:
            raise TooMuch(f"iterators are nested more than {ITERATORS} levels deep; write list(…) around an inner one")
        self._iterator = iterator

    def __iter__(self) -> Iterator[Any]:
        return self._iterator

    def __repr__(self) -> str:
        _no_text("an iterator")

    def __reduce__(self) -> NoReturn:
        raise RecordError("a record cannot hold an iterator; write list(…) around it")


def streamed(function: Callable[..., Iterator[object]]) -> Callable[..., Stream]:
    """A function that gives an iterator, as one that gives a stream."""

    def stream(*args: object, **kwargs: object) -> Stream:
        return Stream(function(*args, **kwargs), *args, *kwargs.values())

    return stream


def grouped(iterable: Any, key: Any = None) -> Stream:
    """`itertools.groupby`."""
    return Stream(((name, Stream(group, iterable)) for name, group in itertools.groupby(iterable, key)), iterable)


def following(iterator: Any, *default: object) -> Any:
    """`next`."""
    return next(iterator._iterator if type(iterator) is Stream else iterator, *default)


class Handed:
    """A function that is a value: in a list, say, from which it is taken to be called."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        _no_text("a function")

    def __reduce__(self) -> NoReturn:
        raise RecordError("a record cannot hold a function")


Stream.__name__ = "iterator"  # in messages of Python


def as_value(found: object) -> Any:
    """A function that is not handed on at once, so that it shows no address; anything else as it is."""
    return Handed(found) if isinstance(found, FunctionType) else found


# Sets


def _order(member: object) -> tuple[str, str]:
    return type(member).__name__, repr(member)


def ordered(members: Iterable[object]) -> list[Any]:
    """The members of a set in an order that depends on them alone: numbers and texts by value, others by type and text."""
    found = list(members)
    kinds = {*map(type, found)}
    if kinds <= {str} or (kinds <= {int, float, bool} and all(each == each for each in found)):
        return sorted(found)
    return sorted(found, key=_order)


class SteadySet(set[Any]):
    """A set whose members come in an order of their own, not that of their hashes, which is another in every process."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(ordered(set.__iter__(self)))

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}" if self else "set()"

    def pop(self) -> Any:
        if not self:
            raise KeyError("pop from an empty set")
        member = next(iter(self))
        self.remove(member)
        return member

    def __reduce__(self) -> Any:
        return SteadySet, (list(self),)


class SteadyFrozenSet(frozenset[Any]):
    """The same for sets that nothing changes."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(ordered(frozenset.__iter__(self)))

    def __repr__(self) -> str:
        return f"frozenset({{{', '.join(map(repr, self))}}})" if self else "frozenset()"

    def __reduce__(self) -> Any:
        return SteadyFrozenSet, (list(self),)


def _steady(name: str, kind: type, made: type) -> Callable[..., Any]:
    plain = getattr(kind, name)

    def method(self: object, *others: object) -> Any:
        found = plain(self, *others)
        return found if found is NotImplemented else made(found)

    return method


SteadySet.__name__, SteadyFrozenSet.__name__ = "set", "frozenset"  # in messages of Python

for _kind, _made in ((set, SteadySet), (frozenset, SteadyFrozenSet)):
    for _name in (
        *("__and__", "__or__", "__sub__", "__xor__", "__rand__", "__ror__", "__rsub__", "__rxor__"),
        *("copy", "difference", "intersection", "symmetric_difference", "union"),
    ):
        setattr(_made, _name, _steady(_name, _kind, _made))


def steady(value: Any) -> Any:
    """A value, which a set may be, as one with an order of its own."""
    kind = type(value)
    return SteadySet(value) if kind is set else SteadyFrozenSet(value) if kind is frozenset else value
