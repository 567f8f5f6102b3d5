"""Regular expressions that end: those that might backtrack for ever run with a limit of time.

Python's `re` takes time that grows with a power of the text's length where repetitions follow each other, and without bound
where they are nested. Where pattern and text together are harmless `re` matches; else `regex` does, which gives the same and
stops after a while.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from exporters_beam.errors import RecordError
from exporters_beam.transforms.expressions.values import TooMuch

try:
    from re import _constants as constants  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
except ImportError:  # Python 3.10
    import sre_constants as constants
    import sre_parse as parser

SECONDS = 1.0
"""So long one search may take where it might take for ever."""

PATTERN = 10_000
"""Characters of a regular expression that is made of values."""

_TRIES = 30_000_000
"""Comparisons that take no time that matters."""

_NEVER = 100
"""A degree that stands for patterns that take time without bound."""

WHOLE = frozenset(("match", "fullmatch"))
"""Methods that begin at one place."""

SEARCHES = frozenset((*WHOLE, "search", "findall", "finditer", "split", "sub", "subn"))
"""Methods of patterns."""


def parsed(pattern: Any) -> Any:
    """The syntax tree of a compiled expression."""
    return parser.parse(pattern.pattern, pattern.flags)


@lru_cache(maxsize=512)
def degree(pattern: Any, method: str) -> int:
    """The power of the text's length with which the time grows, besides the time to read it: 0 is harmless."""
    try:
        tree = parsed(pattern)
    except (RecursionError, re.error, OverflowError):
        return _NEVER
    if _choices(tree) > _CHOICES:
        return _NEVER
    found = _degree(tree, method != "fullmatch")
    anchored = len(tree) and tree[0][0] is constants.AT and tree[0][1] in _BEGINNINGS and not pattern.flags & re.MULTILINE
    return found if method in WHOLE or anchored or not found else min(_NEVER, found + 1)


_BEGINNINGS = (constants.AT_BEGINNING, constants.AT_BEGINNING_STRING)

_CHOICES = 20_000
"""So many ways through optional parts are tried in no time."""


def _choices(tree: Any) -> int:
    """In how many ways optional parts, one behind the other, can be there or not."""
    found = 1
    for op, value in tree:
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            inner = _choices(value[2])
            most = int(min(value[1], 64))
            found *= (inner ** min(most, 64) if inner > 1 else 1) * (int(value[1]) - int(value[0]) + 1 if value[1] <= 16 else 1)
        elif name == "SUBPATTERN":
            found *= _choices(value[-1])
        elif name == "BRANCH":
            found *= max(_choices(branch) for branch in value[1])
        if found > _CHOICES:
            return found
    return found


def _degree(tree: Any, last: bool) -> int:
    """Of a sequence; where it stands `last`, a repetition at its end never has to give anything back."""
    total = 0
    members = list(tree)
    for n, (op, value) in enumerate(members):
        total += _of(str(op), value, last and n == len(members) - 1)
    return min(_NEVER, total)


def _of(op: str, value: Any, last: bool) -> int:
    if op in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, body = value
        inner = _degree(body, False)
        if _varies(body) and most > 1:
            return _NEVER
        if least == most or most <= 16:
            return inner * int(most)
        return inner if last and op == "MAX_REPEAT" else inner + 1
    if op == "SUBPATTERN":
        return _degree(value[-1], last)
    if op == "ATOMIC_GROUP":
        return _degree(value, last)
    if op == "BRANCH":
        return max(_degree(branch, last) for branch in value[1])
    if op in ("ASSERT", "ASSERT_NOT"):
        return _degree(value[1], False)
    if op == "GROUPREF_EXISTS":
        return max(_degree(branch, last) for branch in value[1:] if branch)
    return 1 if op == "GROUPREF" else 0


def _varies(tree: Any) -> bool:
    """Whether it can match one text in several ways, as far as this is seen."""
    for op, value in tree:
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            if value[0] != value[1] or _varies(value[2]):
                return True
        elif name == "BRANCH":
            firsts = [str(branch[0]) if len(branch) and str(branch[0][0]) == "LITERAL" else "" for branch in value[1]]
            if "" in firsts or len({*firsts}) < len(firsts) or any(map(_varies, value[1])):
                return True
        elif name == "SUBPATTERN":
            if _varies(value[-1]):
                return True
        elif name in ("ATOMIC_GROUP", "GROUPREF", "GROUPREF_EXISTS"):
            return True
    return False


def longest(pattern: Any, method: str) -> float:
    """So many characters of text are harmless."""
    power = degree(pattern, method)
    if power <= (1 if method in WHOLE else 0):
        return float("inf")
    return 0 if power >= _NEVER else _TRIES ** (1 / power)


def run(pattern: Any, method: str, text: Any, *args: Any, **kwargs: Any) -> Any:
    """What the pattern's method gives. Raises TooMuch where it takes too long."""
    if not isinstance(text, (str, bytes)) or len(text) <= longest(pattern, method):
        return getattr(pattern, method)(text, *args, **kwargs)
    return _limited(pattern, method, text, (text, *args), kwargs)


def replaced(pattern: Any, method: str, replacement: Any, text: Any, count: int) -> Any:
    """The same for `sub` and `subn`."""
    if not isinstance(text, (str, bytes)) or len(text) <= longest(pattern, method):
        return getattr(pattern, method)(replacement, text, count)
    return _limited(pattern, method, text, (replacement, text, count), {})


def _limited(pattern: Any, method: str, text: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    try:
        return getattr(_with_limit(pattern), method)(*args, **kwargs, timeout=SECONDS)
    except TimeoutError:
        raise TooMuch(
            f"the regular expression {pattern.pattern!r:.100} takes more than {SECONDS:g} second on a text of "
            f"{len(text):,} characters; write it so that repetitions do not overlap"
        ) from None


_FLAGS = ("ASCII", "IGNORECASE", "LOCALE", "MULTILINE", "DOTALL", "UNICODE", "VERBOSE")


@lru_cache(maxsize=512)
def _with_limit(pattern: Any) -> Any:
    import regex  # type: ignore[import-untyped]  # hardly any pattern needs it

    flags = sum(getattr(regex, name) for name in _FLAGS if pattern.flags & getattr(re, name))
    try:
        return regex.compile(pattern.pattern, flags | regex.VERSION0)
    except (regex.error, RecursionError, OverflowError, MemoryError):
        raise RecordError(
            f"the regular expression {pattern.pattern!r:.100} may take for ever on long texts; write it so that "
            "repetitions do not overlap"
        ) from None


def compiled(pattern: Any, flags: Any = 0) -> Any:
    """`re.compile`."""
    if isinstance(pattern, (str, bytes)) and len(pattern) > PATTERN:
        raise TooMuch(f"a regular expression of {len(pattern):,} characters is too long; at most {PATTERN:,} are allowed")
    return re.compile(pattern, flags)
