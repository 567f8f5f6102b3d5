"""Expressions that set fields of records, as functions of columns: `item.update(a=int(item['a']))` for many records at once.

What they call is what the expression calls for a record, guards included. Where anything is at fault for one of the records
they raise, and the expression itself says what and for which.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporters_beam.transforms.expressions.check import Checker
from exporters_beam.transforms.expressions.compile import _parse
from exporters_beam.transforms.expressions.reads import _read, _update, is_steady

Columns = dict[str, Sequence[Any]]
"""Values of records that have all of these fields, in this order, and no others."""


def columns_set(*sources: str) -> Callable[[Columns, int], Columns] | None:
    """A function that makes columns of so many records what these expressions make of the records. None where they may do
    more than to set fields, and where what they set does not depend on fields alone that are sure to be there.

    >>> columns_set("item.update(a=int(item['a']), b=item['a'])", "item.update(c=item['a'] + 1)")({"a": ["1", "2"]}, 2)
    {'a': [1, 2], 'b': ['1', '2'], 'c': [2, 3]}
    >>> columns_set("item.pop('a')") is None, columns_set("item.update(a=item.get('a'))") is None
    (True, True)
    """
    works = []
    for source in sources:
        work = _set(source)
        if work is None:
            return None
        works.append(work)

    def apply(columns: Columns, count: int) -> Columns:
        for work in works:
            made = {name: make(columns, count) for name, make in work.items()}
            columns = {**columns, **made}
        return columns

    return apply


_Make = Callable[[Mapping[str, Sequence[Any]], int], Sequence[Any]]


def _set(source: str) -> Mapping[str, _Make] | None:
    """What makes the column of each field that an expression sets, in order."""
    body = _parse(source)
    members = _update(body)
    if not members or not isinstance(body, ast.Call) or body.args or not is_steady(source):
        return None
    if any(_read(value) is None for _, value in members):
        return None
    checker = Checker(source, {}, body)
    checked = checker.value(body)
    if not isinstance(checked, ast.Call) or checker.works or checker.draws:
        return None
    if [keyword.arg for keyword in checked.keywords] != [name for name, _ in members]:
        return None
    scope = {**checker.constants, "__builtins__": {"__import__": builtins.__import__}}
    made: dict[str, _Make] = {}
    for keyword in checked.keywords:
        make = _made(keyword.value, scope)
        if make is None or keyword.arg is None:
            return None
        made[keyword.arg] = make
    return made


def _made(value: ast.expr, scope: dict[str, object]) -> _Make | None:
    fields = _Fields()
    value = fields.visit(value)
    if any(isinstance(node, ast.Name) and node.id == "item" for node in ast.walk(value)):
        return None
    names, given = list(fields.names), list(fields.names.values())
    if not names:
        return None
    if isinstance(value, ast.Name) and value.id in given:
        return lambda columns, count: columns[names[0]]
    if _calls_alone(value, given) and callable(function := scope.get(value.func.id)):  # type: ignore[attr-defined]
        return lambda columns, count: _full(list(map(function, columns[names[0]])), count)
    variables = ast.Tuple([ast.Name(name, ast.Store()) for name in given], ast.Store())
    columns = ast.Call(ast.Name("_zip", ast.Load()), [ast.Name(f"{name}s", ast.Load()) for name in given], [])
    loop = ast.ListComp(value, [ast.comprehension(variables, columns, [], 0)])
    arguments = ast.arguments([], [ast.arg(f"{name}s") for name in given], None, [], [], None, [])
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, loop)))
    many = eval(compile(tree, "<expression>", "eval", dont_inherit=True), {**scope, "_zip": zip})
    return lambda columns, count: _full(many(*(columns[name] for name in names)), count)


def _calls_alone(value: ast.expr, given: Sequence[str]) -> bool:
    """Whether a value is that of a function of one field."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and not value.keywords
        and len(value.args) == 1
        and isinstance(value.args[0], ast.Name)
        and value.args[0].id in given
    )


def _full(values: list[object], count: int) -> list[object]:
    if len(values) != count:
        raise RuntimeError("StopIteration")  # `map` took it for its own end.
    return values


class _Fields(ast.NodeTransformer):
    """Puts variables in the place of fields. `names` has the variable of each."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "item" and isinstance(node.slice, ast.Constant):
            field = node.slice.value
            if isinstance(field, str):
                return ast.Name(self.names.setdefault(field, f"_c{len(self.names)}"), ast.Load())
        return self.generic_visit(node)
