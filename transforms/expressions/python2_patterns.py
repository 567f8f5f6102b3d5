"""Regular expressions as Python 2 read them: letters and digits are those of ASCII unless `(?u)` is given, flags may stand
anywhere, and letters that mean nothing behind a backslash are themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from exporters_beam.transforms.expressions import guards, patterns

_FLAGS = {"i": re.I, "L": 0, "m": re.M, "s": re.S, "u": re.U, "x": re.X}

_KNOWN, _KNOWN_IN_SETS = frozenset("AbBdDsSwWZafnrtvx"), frozenset("bdDsSwWafnrtvx")

_GLOBAL, _OPENED = re.compile(r"\(\?([iLmsux]+)\)"), re.compile(r"\[\^?\]?")


@lru_cache(maxsize=512)
def modern(pattern: str, flags: int = 0) -> tuple[str, int]:
    """The same expression for Python 3, and its flags.

    >>> modern("a(?i)\\\\y") == ("ay", re.I | re.A), modern("(?u)[\\\\Z]") == ("[Z]", re.U)
    (True, True)
    """
    text, found = _spelled(pattern, flags)
    if found & re.X and not flags & re.X:
        text, found = _spelled(pattern, found)
    flags = re.RegexFlag(found & ~re.L)
    return text, flags if flags & re.U else flags | re.A


def _spelled(pattern: str, flags: int) -> tuple[str, int]:
    made, at, inside = [], 0, False
    while at < len(pattern):
        each = pattern[at]
        width = 1
        if each == "\\" and at + 1 < len(pattern):
            following = pattern[at + 1]
            known = _KNOWN_IN_SETS if inside else _KNOWN
            letter = following.isascii() and following.isalpha() and following not in known
            each, width = (following if letter else each + following), 2
        elif inside:
            inside = each != "]"
        elif each == "[":
            inside = True
            each = _OPENED.match(pattern, at)[0]  # type: ignore[index]
            width = len(each)
        elif each == "#" and flags & re.X:
            width = (pattern.find("\n", at) + 1 or len(pattern)) - at
            each = ""
        elif each == "(" and (given := _GLOBAL.match(pattern, at)):
            for name in given.group(1):
                flags |= _FLAGS[name]
            each, width = "", len(given.group())
        made.append(each)
        at += width
    return "".join(made), flags


def template(replacement: object) -> object:
    """A replacement, in which letters that mean nothing keep their backslash."""
    if not isinstance(replacement, str) or "\\" not in replacement:
        return replacement
    return re.sub(r"\\(.)", lambda found: f"\\{found[0]}" if _is_odd(found[1]) else found[0], replacement, flags=re.S)


def _is_odd(letter: str) -> bool:
    return letter.isascii() and letter.isalpha() and letter not in "gabfnrtv"


def compiled(pattern: Any, flags: Any = 0) -> object:
    """`re.compile`."""
    if isinstance(pattern, str) and len(pattern) <= patterns.PATTERN:
        pattern, flags = modern(pattern, int(flags))
    return patterns.compiled(pattern, flags)


def searching(name: str) -> Callable[..., object]:
    """A function of `re`: `match` and the like."""
    plain = guards.MODULES["re"][name]

    def search(pattern: object, string: object, flags: object = 0) -> object:
        return plain(compiled(pattern, flags), string)

    return search


@lru_cache(maxsize=512)
def _may_be_empty(pattern: object) -> bool:
    try:
        least, _ = patterns.parsed(pattern).getwidth()
    except (re.error, RecursionError, OverflowError):
        return True
    return bool(least == 0)


def split(pattern: Any, string: Any, maxsplit: Any = 0, flags: Any = 0) -> Any:
    """`re.split`, which passes over matches without any character."""
    made = compiled(pattern, flags)
    if not _may_be_empty(made):
        return guards.MODULES["re"]["split"](made, string, maxsplit)
    parts, last = [], 0
    for match in patterns.run(made, "finditer", string):
        if match.end() > match.start():
            parts += [string[last : match.start()], *match.groups()]
            last = match.end()
            maxsplit -= 1
            if maxsplit == 0:
                break
    return [*parts, string[last:]]


def _replaced(pattern: Any, repl: Any, string: Any, count: Any, flags: Any) -> tuple[object, int]:
    made, repl = compiled(pattern, flags), guards.replacement(template(repl), string)
    if not _may_be_empty(made):
        found: tuple[object, int] = patterns.replaced(made, "subn", repl, string, count)
        return found
    done, last = 0, -1

    def replace(match: re.Match[Any]) -> object:
        nonlocal done, last
        if match.start() == match.end() == last or (count and done >= count):
            return match.group()
        done, last = done + 1, match.end()
        return repl(match) if callable(repl) else match.expand(repl)

    return patterns.replaced(made, "sub", replace, string, 0), done


def sub(pattern: object, repl: object, string: object, count: object = 0, flags: object = 0) -> object:
    """`re.sub`, which passes over matches without any character right behind another match."""
    return _replaced(pattern, repl, string, count, flags)[0]


def subn(pattern: object, repl: object, string: object, count: object = 0, flags: object = 0) -> object:
    """`re.subn`."""
    return _replaced(pattern, repl, string, count, flags)


FUNCTIONS: dict[str, Callable[..., object]] = {
    "compile": compiled,
    **{name: searching(name) for name in ("findall", "finditer", "match", "search")},
    "split": split,
    "sub": sub,
    "subn": subn,
}
"""What stands for the functions of `re`."""
