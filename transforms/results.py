"""What transforms give: records, or what is told of anything else that stands in their place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

from exporters_beam.components.words import kind_of
from exporters_beam.errors import RecordError

DICTIONARIES = {dict}
"""The types of results that are not looked at any further."""


def no_record(given: object) -> RecordError | None:
    """What is wrong with this in the place of a record, if anything."""
    if isinstance(given, Mapping):
        return None
    if given is None:
        return RecordError(
            "the transform gave None in place of the record; it has to give an object. Methods such as item.update(…) "
            "change the record and give None: use the transform pythonexp for them, or write dict(item, field=value)"
        )
    return RecordError(
        f"the transform gave {described(given)} in place of the record; it has to give an object: {{'field': value}}"
    )


def no_value(given: object) -> RecordError | None:
    """The same where no file has to hold what is given: then anything but None may take the place of a record."""
    return no_record(given) if given is None else None


def described(value: object) -> str:
    """What a value is, for a message: with itself, where it is short.

    >>> described([1, 2]), described("x"), described({1})
    ('a list, [1, 2]', "a string, 'x'", 'a set')
    """
    kind = kind_of(value)
    if type(value) not in (str, bool, int, float, list, tuple):
        return kind
    members = value if isinstance(value, (list, tuple)) else (value,)
    plain = len(members) < 20 and all(isinstance(each, (int, float, str, type(None))) for each in members)
    return f"{kind}, {value!r:.100}" if plain else kind


def records_of(given: Any) -> list[Any]:
    """The records that a transform gives for one. Raises RecordError where it gives anything else."""
    if isinstance(given, (Mapping, str, bytes)) or not isinstance(given, Iterable):
        raise RecordError(f"the transform gave {described(given)} in place of a list of records")
    found = list(given)
    if not {*map(type, found)} <= DICTIONARIES:
        for each in found:
            problem = no_record(each)
            if problem is not None:
                raise problem
    return found


def refused(
    results: list[object], lost: list[tuple[int, Exception]], refuse: Callable[[object], Exception | None]
) -> tuple[list[Any], list[tuple[int, Exception]]]:
    """The results that are not refused, and all that is lost, by index: what was before, and these."""
    gone = {index for index, _ in lost}
    places = (index for index in range(len(results) + len(lost)) if index not in gone)
    kept: list[Any] = []
    more: list[tuple[int, Exception]] = []
    for index, result in zip(places, results, strict=True):
        problem = refuse(result)
        if problem is None:
            kept.append(result)
        else:
            more.append((index, problem))
    return kept, sorted([*lost, *more], key=itemgetter(0))


_CHANGING = frozenset(
    ("add", "append", "clear", "difference_update", "discard", "extend", "insert", "intersection_update", "remove",
     "reverse", "shuffle", "sort", "symmetric_difference_update", "update")
)  # fmt: skip
"""Methods that change what they are called on and give None."""

_DISPLAYS: dict[type, str] = {
    **dict.fromkeys((ast.List, ast.ListComp), "a list"),
    **dict.fromkeys((ast.Set, ast.SetComp), "a set"),
    ast.Tuple: "a tuple",
    ast.JoinedStr: "a string",
    ast.Compare: "a boolean",
}

_CALLS = {"len": "a number", "int": "a number", "float": "a number", "str": "a string", "list": "a list",
          "sorted": "a list", "tuple": "a tuple", "set": "a set"}  # fmt: skip


def surely_gives(expression: str) -> str:
    """What an expression gives whatever the record is, where that is proved to be no object; else an empty text.

    >>> surely_gives("item.update(a=1)"), surely_gives("item.update(a=1) or item"), surely_gives("[item['a']]")
    ('None', '', 'a list')
    """
    try:
        return _gives(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


def _gives(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return "None" if node.value is None else described(node.value)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return _CALLS.get(node.func.id, "")
        return "None" if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING else ""
    if isinstance(node, ast.IfExp):
        return _gives(node.body) and _gives(node.orelse)
    if isinstance(node, ast.BoolOp):
        first, last = _gives(node.values[0]), _gives(node.values[-1])
        if isinstance(node.op, ast.And):
            return first if first == "None" else ""
        return last if all(map(_gives, node.values)) else ""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return "a boolean"
    return _DISPLAYS.get(type(node), "")
