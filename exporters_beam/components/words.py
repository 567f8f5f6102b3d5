"""Sentences about values: what was probably meant, what was expected."""

from __future__ import annotations


def did_you_mean(given: str, known: tuple[str, ...] | list[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them where none is near.

    >>> did_you_mean("feild", ["field", "value"])
    '; did you mean "field"?'
    """
    import difflib

    tail = given.rpartition(".")[2] or given
    near = difflib.get_close_matches(given, known, n=1) or difflib.get_close_matches(
        tail.lower(), known, n=1, cutoff=0.5
    )
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
