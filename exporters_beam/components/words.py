"""Sentences about values: what was probably meant, what was expected, what was found, and as much of it as can be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping


def did_you_mean(given: str, known: tuple[str, ...] | list[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them where none is near.

    >>> did_you_mean("feild", ["field", "value"])
    '; did you mean "field"?'
    """
    import difflib

    tail = given.rpartition(".")[2] or given
    near = difflib.get_close_matches(given, known, n=1) or difflib.get_close_matches(tail.lower(), known, n=1, cutoff=0.5)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(known)}" if known else ""


_WORDS = {
    "int": "an integer",
    "number": "a number",
    "str": "a string",
    "bool": "true or false",
    "dict": "a mapping",
    "list": "a list",
    "str_list": "a list of strings",
    "int_list": "a list of integers",
    "dict_list": "a list of mappings",
    "object": "anything",
}


def expected(type: str) -> str:
    """An option type as people say it.

    >>> expected("str|int_list")
    'a string or a list of integers'
    """
    return " or ".join(_WORDS[kind] for kind in type.split("|"))


def shortened(text: str, most: int) -> str:
    """The text, or its beginning with an ellipsis where it is longer.

    >>> shortened("a long text", 6), shortened("short", 6)
    ('a long…', 'short')
    """
    return text if len(text) <= most else f"{text[:most]}…"


def one_line(text: str, most: int) -> str:
    """The text on one line, as part of a sentence.

    >>> one_line("it is\\n  refused.", 100)
    'it is refused'
    """
    return shortened(" ".join(text.split()).rstrip("."), most)


def in_json(value: object, most: int, default: Callable[[object], object] = str) -> str:
    """The value as JSON, or the beginning of that.

    >>> in_json(["ö", None], 100)
    '["ö", null]'
    """
    return shortened(json.dumps(value, ensure_ascii=False, default=default), most)


_KINDS = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", type(None): "null"}


def kind_of(value: object) -> str:
    """What a value is, as people say it.

    >>> [kind_of(value) for value in ({}, [], "x", True, 7, None, (), {1}, 1j)]
    ['a mapping', 'a list', 'a string', 'a boolean', 'a number', 'null', 'a tuple', 'a set', 'a complex']
    """
    if isinstance(value, Mapping):
        return "a mapping"
    for type_ in type(value).__mro__:
        if type_ in _KINDS:
            return _KINDS[type_]
    return f"a {type(value).__name__}"
