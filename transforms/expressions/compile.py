"""Expressions in configs: checked, limited, compiled.

An expression is one Python 3 expression over `item`, the record: constants, names, subscripts, slices, arithmetic,
comparison, `and`/`or`/`not`, `x if c else y`, lists, tuples, sets, mappings, comprehensions, f-strings and calls. What
it may call, and the limits, stand in `guards`. Everything is refused that is not known to be harmless: lambda, yield,
walrus, names and attributes that begin with an underscore, methods that are not listed.

The check rewrites the syntax tree: functions of modules become constants, what could make much of little is guarded,
and in loops what is read and made is counted. The result is compiled to bytecode, once per worker.

>>> compile_expression("[tag.upper() for tag in item['tags']]").evaluate({"tags": ["a", "b"]})
['A', 'B']
"""

from __future__ import annotations

import ast
import builtins
import importlib
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from exporters_beam.transforms.chance import Chance
from exporters_beam.transforms.expressions.check import Checker
from exporters_beam.transforms.expressions.dialects import PYTHON_2, PYTHON_3, as_read
from exporters_beam.transforms.expressions.hints import STATEMENTS, InvalidExpression, failure, refuse, syntax_error
from exporters_beam.transforms.expressions.work import Work

LONGEST = 100_000
"""Characters of an expression."""


class Expression:
    """A checked and compiled expression. It is pickled as its text and compiled again where it arrives."""

    __slots__ = ("chance", "dialect", "evaluate", "names", "source")

    evaluate: Callable[[Any], Any]
    """The value of the expression for an item. Raises RecordError, with the expression in its message."""

    chance: Chance | None
    """What it draws random numbers from, where it does."""

    def __init__(
        self,
        source: str,
        names: Mapping[str, Any],
        evaluate: Callable[[Any], Any],
        chance: Chance | None = None,
        dialect: str = PYTHON_3,
    ) -> None:
        self.source, self.names, self.dialect = source, dict(names), dialect
        self.evaluate, self.chance = evaluate, chance

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self._what == other._what

    @property
    def _what(self) -> tuple[str, dict[str, Any], str]:
        return self.source, self.names, self.dialect

    def __hash__(self) -> int:
        return hash(self.source)

    def __reduce__(self) -> Any:
        modules = {name: value.__name__ for name, value in self.names.items() if isinstance(value, ModuleType)}
        values = {name: value for name, value in self.names.items() if name not in modules}
        return _compile_again, (self.source, modules, values, self.dialect)


def _compile_again(
    source: str, modules: Mapping[str, str], values: Mapping[str, object], dialect: str = PYTHON_3
) -> Expression:
    imported = {name: importlib.import_module(path) for name, path in modules.items()}
    return compile_expression(source, {**values, **imported}, dialect)


def compile_expression(source: str, names: Mapping[str, object] = {}, dialect: str = PYTHON_3) -> Expression:
    """Check and compile an expression. `names` are further variables, which win over the usual names: modules, whose
    functions and classes may all be used, or plain values. In the dialect `python2` it means what Python 2 made of it.

    Raises InvalidExpression.
    """
    (text,) = as_read((source,), dialect)
    body = _parse(text)
    order: Mapping[type, Any] = {}
    try:
        if dialect == PYTHON_2:
            from exporters_beam.transforms.expressions import python2

            body, order = python2.meant(body, names), python2.ORDER
        checker = Checker(text, names, body, order)
        checked = checker.value(body)
        scope = {**checker.constants, "__builtins__": {"__import__": builtins.__import__}}  # for C code: strftime
        scope |= {"_Exception": Exception, "_Work": Work, "_failed": lambda error: failure(source, error)}
        chance = Chance(source) if checker.draws else None
        scope["_chance"] = chance
        tree = ast.parse(_function(checker.works, checker.draws))
        _replace_result(tree, checked)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(ast.fix_missing_locations(tree), "<expression>", "exec", dont_inherit=True), scope)
    except (RecursionError, MemoryError):
        raise InvalidExpression("the expression is nested too deep; use a function of your own") from None
    return Expression(source, names, scope["evaluate"], chance, dialect)


_FUNCTION = """
def evaluate(item):
    try:
        return _result
    except _Exception as error:
        raise _failed(error) from error
"""


def _function(works: bool, draws: bool) -> str:
    first = ("    _work = _Work()\n" if works else "") + ("    _chance.begin(item)\n" if draws else "")
    return _FUNCTION.replace("    try:", f"{first}    try:")


def _replace_result(tree: ast.AST, value: ast.expr) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Return):
            node.value = value


def compile_option(place: str, source: str, names: Mapping[str, object] = {}, dialect: str = PYTHON_3) -> Expression:
    """The same for an option of a component, whose name the message begins with."""
    try:
        return compile_expression(source, names, dialect)
    except InvalidExpression as error:
        raise InvalidExpression(f"{place}: {error}") from None


def _parse(source: object) -> ast.expr:
    if not isinstance(source, str):
        raise InvalidExpression(f"an expression is a text, not {source!r:.100}")
    if len(source) > LONGEST:
        raise InvalidExpression(f"the expression has {len(source):,} characters; at most {LONGEST:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(source).body
    except SyntaxError as error:
        raise syntax_error(source, error) from None
    except ValueError as error:
        raise InvalidExpression(f"not Python: {error}") from None
    except (RecursionError, MemoryError):
        raise InvalidExpression("the expression is nested too deep; use a function of your own") from None
    if not body:
        raise InvalidExpression("the expression is empty")
    first = body[0]
    if not isinstance(first, ast.Expr):
        refuse(source, first, STATEMENTS.get(type(first), "this is a statement; only an expression is allowed"))
    if len(body) > 1:
        refuse(source, body[1], f"give one expression; these are {len(body)} statements")
    if isinstance(first.value, ast.GeneratorExp):
        refuse(source, first.value, "a generator is not a value; write it in square brackets, [… for … in …]")
    return first.value
