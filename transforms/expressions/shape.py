"""What is known of an expression before it is checked: how large it is, and which of its parts need watching."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporters_beam.transforms.expressions.guards import BUILTINS

FEW = 24
"""So many parts that become longer together are no danger: texts that are joined, lists that are added."""

MANY = 2_000
"""Nodes of the syntax tree from which on everything in an expression is counted, as in loops."""

PARTS = frozenset(("get", "lower", "strip", "title", "upper", "lstrip", "rstrip", "capitalize"))
"""Methods that give a part of a value, or a text of about its size."""

TEXTS = frozenset((*PARTS - {"get"}, "join", "replace", "strftime", "isoformat", "format", "casefold"))
"""Methods whose result is a text, which is not too long."""

DEEP = frozenset(
    ("add", "ascii", "count", "discard", "frozenset", "get", "hash", "index", "max", "min", "pop", "remove", "repr", "set",
     "setdefault", "sort", "sorted", "str")
)  # fmt: skip
"""Functions and methods that look at all that is in a value."""

_DISPLAYS = (ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

_BUILDERS = frozenset(("dict", "list", "tuple", "map", "filter", "fromkeys", "setdefault", "accumulate", "product",
                       "zip_longest", "permutations", "combinations", "pairwise", "groupby", "starmap"))  # fmt: skip


class Own(ast.expr):
    """A function of ours in a syntax tree, which no text can spell. `cost` says how what it reads is paid for in loops, and
    `calls` whether it calls what it is given. One that `works` takes the evaluation's `Work` first."""

    _fields = ()
    _attributes = ("lineno", "col_offset", "end_lineno", "end_col_offset")

    def __init__(self, function: Any, cost: str = "seen", calls: bool = False, works: bool = False) -> None:
        super().__init__()
        self.function, self.cost, self.calls, self.works = function, cost, calls, works


@dataclass(frozen=True)
class Shape:
    """`large`: so much is in it that it is treated as one loop. `compiles`: patterns may be values. `views`: views of
    mappings may be."""

    large: bool
    compiles: bool
    views: bool

    @classmethod
    def of(cls, body: ast.expr) -> Shape:
        nodes = list(ast.walk(body))
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        growing = sum(_grows(node) for node in nodes)
        return cls(
            growing > FEW or len(nodes) > MANY,
            "compile" in attributes,
            not attributes.isdisjoint(("keys", "items")),
        )


def _grows(node: ast.AST) -> bool:
    return isinstance(node, (ast.FormattedValue, Own)) or (
        isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult, ast.Mod))
    )


def builds(node: ast.expr) -> bool:
    """Whether the expression makes what it gives, so that a value may stand in it many times."""
    for each in ast.walk(node):
        if isinstance(each, _DISPLAYS) and not (
            isinstance(each, (ast.List, ast.Tuple)) and all(isinstance(member, ast.Constant) for member in each.elts)
        ):
            return True
        if isinstance(each, ast.Call):
            if isinstance(each.func, Own):
                return True
            name = each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")
            if name in _BUILDERS:
                return True
    return False


class Known:
    """What is known of the parts of an expression without running it."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        self.scopes: list[set[str]] = []

    def bound(self, name: str) -> bool:
        return any(name in scope for scope in self.scopes)

    def function(self, node: ast.expr) -> str:
        """The name of a built-in function that a call's `func` is, or an empty text."""
        known = isinstance(node, ast.Name) and not self.bound(node.id) and node.id not in self.names
        return node.id if known and isinstance(node, ast.Name) and node.id in BUILTINS else ""

    def small(self, node: ast.expr) -> bool:
        """A number or truth, a constant, or nothing at all: of no size that matters."""
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, (ast.Mult, ast.Mod)):
                return self.floating(node.left) or self.floating(node.right) or self.number(node.left)
            return self.number(node.left) or self.number(node.right)
        return isinstance(node, ast.Constant) or self.number(node)

    def number(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return isinstance(node.value, (int, float)) or node.value is None
        if isinstance(node, ast.Call):
            return self.function(node.func) in ("abs", "float", "hash", "int", "isinstance", "len", "ord", "round")
        return isinstance(node, (ast.Compare, ast.UnaryOp))

    def floating(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call):
            return self.function(node.func) == "float"
        return isinstance(node, ast.Constant) and isinstance(node.value, float)

    def plain(self, node: ast.expr) -> bool:
        """A value of the record, or a part of it: nothing that the expression has made larger."""
        if isinstance(node, (ast.Subscript, ast.Attribute)):
            return self.plain(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return node.func.attr in PARTS and self.plain(node.func.value) and all(map(self.plain, node.args))
        return isinstance(node, (ast.Name, ast.Constant)) or self.number(node)

    def plain_values(self, node: ast.expr) -> bool:
        return all(map(self.plain, node.elts)) if isinstance(node, ast.Tuple) else self.plain(node)


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text, or an empty text for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    way = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{way}.{node.attr}" if way and isinstance(node, ast.Attribute) else ""


def is_fixed(node: ast.expr) -> bool:
    """A set that is written out, which Python makes once."""
    return isinstance(node, ast.Set) and all(isinstance(member, ast.Constant) for member in node.elts)


def is_plain(node: ast.expr) -> bool:
    """A replacement that makes no text much longer."""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return isinstance(value, str) and len(value) < 5 and "\\" not in value


def is_short(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) < 100


_CLOCK = frozenset(("now", "today", "utcnow"))


def asks_the_clock(source: str) -> bool:
    """Whether what an expression gives depends on when it is evaluated, as far as it uses no module of the user's."""
    return any(isinstance(node, ast.Attribute) and node.attr in _CLOCK for node in ast.walk(ast.parse(source)))
