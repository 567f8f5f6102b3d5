"""What an expression reads of a record: the proof that lets a filter be judged on a partly decoded one."""

from __future__ import annotations

import ast
import re
import warnings

from exporters_beam.transforms.expressions.guards import METHODS, MODULES, PROPERTIES

_CHANGING = frozenset(
    ("add", "append", "clear", "difference_update", "discard", "extend", "insert", "intersection_update", "pop", "popitem",
     "remove", "reverse", "setdefault", "shuffle", "sort", "symmetric_difference_update", "update", "write")
)  # fmt: skip
"""Methods and functions that change what they are called on, or are given."""

_HARMLESS = (METHODS | PROPERTIES).union(*(name.split(".") for names in MODULES.values() for name in names)) - _CHANGING
"""What may stand behind a dot in an expression that is proved to change nothing. Of any other name that is not known."""


def fields_read(*sources: str) -> frozenset[str] | None:
    """The top-level fields of `item` that these expressions look at; None for all, where it cannot be proved.

    >>> sorted(fields_read("item['a']['b'] > 1 and item.get('c') or 'd' in item"))
    ['a', 'c', 'd']
    >>> fields_read("len(item) > 2") is None, fields_read("item['a'].pop()") is None
    (True, True)
    """
    found: set[str] = set()
    for source in sources:
        tree = _parsed(source)
        read = None if tree is None else _read(tree)
        if read is None:
            return None
        found |= read
    return frozenset(found)


def fields_added(*sources: str) -> tuple[frozenset[str], tuple[str, ...]] | None:
    """The top-level fields of `item` that these expressions look at, and those that they add, in order, where they are proved
    to do nothing else to it; None where they may, or where they put another value in the place of one they look at.

    >>> reads, adds = fields_added("item.update(c=item['a'] + item['b'])", "item.update({'d': item['c'] * 2})")
    >>> sorted(reads), adds
    (['a', 'b'], ('c', 'd'))
    >>> fields_added("item.update(a=item['a'] * 2)") is None, fields_added("item.pop('a')") is None
    (True, True)
    """
    read: set[str] = set()
    added: dict[str, None] = {}
    for source in sources:
        tree = _parsed(source)
        members = _update(tree.body) if tree is not None else None
        if members is None:
            return None
        for _, value in members:
            fields = _read(value)
            if fields is None:
                return None
            read |= fields - added.keys()
        added.update((name, None) for name, _ in members)
    return None if read & added.keys() else (frozenset(read), tuple(added))


def _update(node: ast.expr) -> list[tuple[str, ast.expr]] | None:
    """The members that `item.update(…)` sets, where that is what the expression is."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "update":
        return None
    if not isinstance(node.func.value, ast.Name) or node.func.value.id != "item" or len(node.args) > 1:
        return None
    members: list[tuple[str | None, ast.expr]] = []
    for mapping in node.args:
        if not isinstance(mapping, ast.Dict):
            return None
        pairs = zip(mapping.keys, mapping.values, strict=True)
        members += [(_text(key) if key is not None else None, value) for key, value in pairs]
    members += [(keyword.arg, keyword.value) for keyword in node.keywords]
    named = [(name, value) for name, value in members if name is not None]
    return named if len(named) == len(members) else None


def _parsed(source: str) -> ast.Expression | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _read(tree: ast.AST) -> set[str] | None:
    """The top-level fields of `item` that a part of an expression looks at."""
    found: set[str] = set()
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr not in _HARMLESS:
            return None
        if isinstance(node, ast.Compare) and not all(map(_compares_values, node.ops, node.comparators)):
            return None
        if isinstance(node, _OWN_NAMES) or (isinstance(node, ast.arg) and node.arg == "item"):
            return None
        if isinstance(node, ast.Name) and node.id == "item":
            name = _field(node, parents)
            if name is None:
                return None
            found.add(name)
    return found


_OWN_NAMES = (ast.NamedExpr, ast.Lambda, ast.Await, ast.Yield, ast.YieldFrom)


def _compares_values(op: ast.cmpop, right: ast.expr) -> bool:
    """Whether a comparison depends on values alone. Whether two are the same object depends on how they were made."""
    alone = isinstance(right, ast.Constant) and (right.value is None or isinstance(right.value, bool))
    return alone or not isinstance(op, (ast.Is, ast.IsNot))


def is_steady(*sources: str) -> bool:
    """Whether these expressions are sure to say the same of equal records: chance and the clock do not.

    >>> is_steady("item['a'] > 1"), is_steady("random.random() < 0.1"), is_steady("item['at'] < datetime.now()")
    (True, False, False)
    """
    return not any(re.search("random|now|today|time|uuid", source) for source in sources)


def _field(node: ast.Name, parents: dict[ast.AST, ast.AST]) -> str | None:
    """The field that this use of `item` looks at, None where it is another use."""
    parent = parents.get(node)
    if isinstance(parent, ast.Subscript) and parent.value is node and isinstance(parent.ctx, ast.Load):
        return _text(parent.slice)
    if isinstance(parent, ast.Attribute) and parent.attr == "get":
        call = parents.get(parent)
        if isinstance(call, ast.Call) and call.func is parent and call.args and not call.keywords:
            return _text(call.args[0])
    if isinstance(parent, ast.Compare) and parent.comparators == [node] and isinstance(parent.ops[0], (ast.In, ast.NotIn)):
        return _text(parent.left)
    return None


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
