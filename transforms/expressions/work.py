"""What one evaluation of an expression may still do: the steps of its loops, and what is read and made on the way."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from exporters_beam.transforms.expressions.values import (
    ATOMS,
    VIEWS,
    SteadyFrozenSet,
    SteadySet,
    Stream,
    TooMuch,
    steady,
    weigh,
)

STEPS = 5_000_000
"""Steps of loops in one evaluation. What is read or made inside loops counts, too: see `Work`."""

ELEMENTS = 1_000_000
"""Members of a range, and of a list or tuple that is repeated, those of its members included."""

_CONTAINERS = (list, tuple, set, frozenset, SteadySet, SteadyFrozenSet, dict, *VIEWS)

_SEEN: dict[type, int] = {**dict.fromkeys(_CONTAINERS, 3), str: 5, bytes: 5, range: 0}
_SCANNED: dict[type, int] = {**_SEEN, str: 10, bytes: 10}
_EACH: dict[type, int] = {**dict.fromkeys((*_CONTAINERS, str, bytes), 2), range: 0}
"""What one member or character costs, as a power of two that many of them make a step: when a value is copied or made,
when a text is only searched, and when a function takes its members one by one."""


def _size(value: Any) -> int:
    shift = _EACH.get(type(value))
    return 0 if shift is None else len(value) >> shift


class Work:
    """What one evaluation may still do. Expressions with loops have one; its methods stand for what they call."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = STEPS

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooMuch(f"the expression takes more than {STEPS:,} steps on this record")

    def seen(self, value: Any) -> Any:
        """The value, which is copied or made inside a loop, once it is paid for."""
        shift = _SEEN.get(type(value))
        if shift is not None and (steps := len(value) >> shift):
            self.spend(steps)
        return value

    def made(self, value: Any) -> Any:
        """The same for what a function of ours gives, which takes longer."""
        shift = _SEEN.get(type(value))
        self.spend(3 if shift is None else 3 + (len(value) >> shift))
        return value

    def scanned(self, value: Any) -> Any:
        """The same for what is searched."""
        shift = _SCANNED.get(type(value))
        if shift is not None and (steps := len(value) >> shift):
            self.spend(steps)
        return value

    def each(self, value: Any) -> Any:
        """The same for what is taken member by member."""
        shift = _EACH.get(type(value))
        if shift is not None and (steps := len(value) >> shift):
            self.spend(steps)
        return value

    def weighed(self, value: Any) -> Any:
        """The same for what is looked at with all that is in it: compared, shown, kept."""
        if type(value) not in ATOMS:
            self.spend(4 + (weigh(value) >> 1))
        return value

    def deeply(self, value: Any) -> Any:
        """The same for what is taken member by member, and looked at."""
        return self.weighed(self.each(value))

    def held(self, container: Any) -> Any:
        """The same for what stands behind `in`: mappings and sets need no search."""
        return self.scanned(container) if isinstance(container, (str, bytes, list, tuple)) else container

    def loop(self, iterable: Any) -> Any:
        """What a loop goes through, as it is now: it may not grow meanwhile."""
        if type(iterable) in _SEEN:
            self.spend(len(iterable))
            return tuple(iterable) if type(iterable) is list else steady(iterable)
        return self.counted(iterable)

    def built(self, iterable: Any) -> Any:
        """The same for what the expression itself has made: values of values might hold each other many times."""
        return self.loop(self.weighed(iterable)) if type(iterable) in _SEEN else map(self.weighed, self.counted(iterable))

    def counted(self, iterable: Iterable[Any]) -> Iterator[Any]:
        for value in iterable:
            self.left -= 1
            if self.left < 0:
                self.spend(0)
            yield value

    def function(self, found: Any) -> Any:
        """A function that is handed on, to `map` or as a `key`: each of its calls is a step of a loop."""
        if not callable(found):
            return found
        fixed = 1 + _size(getattr(found, "__self__", None))

        def charged(*args: Any, **kwargs: Any) -> Any:
            self.spend(fixed + sum(map(_size, args)))
            return self.seen(found(*args, **kwargs))

        return charged

    def map(self, function: Any, *iterables: Any) -> Stream:
        return Stream(map(function, *map(self.loop, iterables)), *iterables)

    def filter(self, function: Any, iterable: Any) -> Stream:
        return Stream(filter(function, self.loop(iterable)), iterable)

    def sifted(self, function: Any, iterable: Any) -> Any:
        """`filter` as Python 2 had it: a text of a text, a tuple of a tuple, else a list."""
        found = list(filter(function, self.loop(iterable)))
        if isinstance(iterable, str):
            return "".join(found)
        return tuple(found) if isinstance(iterable, tuple) else found

    def reduce(self, function: Any, iterable: Any, *initial: Any) -> Any:
        return functools.reduce(lambda a, b: self.weighed(function(a, b)), self.counted(self.loop(iterable)), *initial)

    def zip(self, *iterables: Any, strict: bool = False) -> Stream:
        return Stream(self.rows(zip(*iterables, strict=strict)), *iterables)

    def lazy(self, generator: Iterator[Any]) -> Stream:
        """A generator that is kept."""
        return Stream(generator)

    def rows(self, iterable: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        for row in iterable:
            self.spend(1 + len(row))
            yield row

    def accumulate(self, iterable: Iterable[Any], function: Any = None, *, initial: Any = None) -> Stream:
        found = itertools.accumulate(self.loop(iterable), function, initial=initial)
        return Stream(map(self.weighed, found), iterable)

    def chain(self, *iterables: Any) -> Stream:
        return Stream(self.counted(itertools.chain(*iterables)), *iterables)

    def chain_from_iterable(self, iterable: Any) -> Stream:
        members = list(self.loop(iterable))
        return Stream(self.counted(itertools.chain.from_iterable(members)), *members)

    def combinations(self, iterable: Any, r: Any) -> Stream:
        return Stream(self.rows(itertools.combinations(iterable, _few(r))), iterable)

    def permutations(self, iterable: Any, r: Any = None) -> Stream:
        return Stream(self.rows(itertools.permutations(iterable, _few(r))), iterable)

    def product(self, *iterables: Any, repeat: Any = 1) -> Stream:
        if isinstance(repeat, int) and repeat > 100:
            raise TooMuch("itertools.product repeats at most 100 times")
        return Stream(self.rows(itertools.product(*iterables, repeat=repeat)), *iterables)

    def zip_longest(self, *iterables: Any, fillvalue: Any = None) -> Stream:
        return Stream(self.rows(itertools.zip_longest(*iterables, fillvalue=fillvalue)), *iterables)


def _few(number: Any) -> Any:
    if isinstance(number, int) and number > ELEMENTS:
        raise TooMuch(f"rows of {number:,} members are too long; at most {ELEMENTS:,} are allowed")
    return number


class Worker(NamedTuple):
    """A function that is a method of the evaluation's `Work`."""

    method: str


class Drawn(NamedTuple):
    """A function of `random`: a method of what the record draws from."""

    method: str
