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
import difflib
import importlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from string import Formatter
from types import ModuleType
from typing import Any, NoReturn

from exporters_beam.decimals import recognizer_of
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms import guards
from exporters_beam.transforms.guards import BUILTINS, CHEAP, METHODS, MODULES, PROPERTIES, TYPES, Work, Worker

LONGEST = 100_000
"""Characters of an expression."""


class InvalidExpression(ConfigError):
    """The text is no expression, or one that is not allowed. The message says where and what to write instead."""


class Expression:
    """A checked and compiled expression. It is pickled as its text and compiled again where it arrives."""

    __slots__ = ("evaluate", "names", "source")

    evaluate: Callable[[Any], Any]
    """The value of the expression for an item. Raises RecordError, with the expression in its message."""

    def __init__(self, source: str, names: Mapping[str, Any], evaluate: Callable[[Any], Any]) -> None:
        self.source, self.names, self.evaluate = source, dict(names), evaluate

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and (self.source, self.names) == (other.source, other.names)

    def __hash__(self) -> int:
        return hash(self.source)

    def __reduce__(self) -> Any:
        modules = {name: value.__name__ for name, value in self.names.items() if isinstance(value, ModuleType)}
        values = {name: value for name, value in self.names.items() if name not in modules}
        return _compile_again, (self.source, modules, values)


def _compile_again(source: str, modules: Mapping[str, str], values: Mapping[str, Any]) -> Expression:
    imported = {name: importlib.import_module(path) for name, path in modules.items()}
    return compile_expression(source, {**values, **imported})


def compile_expression(source: str, names: Mapping[str, Any] = {}) -> Expression:
    """Check and compile an expression. `names` are further variables, which win over the usual names: modules, whose
    functions and classes may all be used, or plain values.

    Raises InvalidExpression.
    """
    body = _parse(source)
    checker = _Checker(source, names)
    try:
        checked = checker.value(body)
        scope = {**checker.constants, "__builtins__": {"__import__": builtins.__import__}}  # for C code: strftime
        scope |= {"_Exception": Exception, "_Work": Work, "_failed": lambda error: _failure(source, error)}
        tree = ast.parse(_FUNCTION_WITH_LOOPS if checker.works else _FUNCTION)
        _replace_result(tree, checked)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(ast.fix_missing_locations(tree), "<expression>", "exec", dont_inherit=True), scope)
    except (RecursionError, MemoryError):
        raise InvalidExpression("the expression is nested too deep; use a function of your own") from None
    return Expression(source, names, scope["evaluate"])


_FUNCTION = """
def evaluate(item):
    try:
        return _result
    except _Exception as error:
        raise _failed(error) from error
"""

_FUNCTION_WITH_LOOPS = _FUNCTION.replace("    try:", "    _work = _Work()\n    try:")


def _replace_result(tree: ast.AST, value: ast.expr) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Return):
            node.value = value


def compile_option(place: str, source: str, names: Mapping[str, Any] = {}) -> Expression:
    """The same for an option of a component, whose name the message begins with."""
    try:
        return compile_expression(source, names)
    except InvalidExpression as error:
        raise InvalidExpression(f"{place}: {error}") from None


def _parse(source: Any) -> ast.expr:
    if not isinstance(source, str):
        raise InvalidExpression(f"an expression is a text, not {source!r:.100}")
    if len(source) > LONGEST:
        raise InvalidExpression(f"the expression has {len(source):,} characters; at most {LONGEST:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(source).body
    except SyntaxError as error:
        raise _syntax_error(source, error) from None
    except ValueError as error:
        raise InvalidExpression(f"not Python: {error}") from None
    except (RecursionError, MemoryError):
        raise InvalidExpression("the expression is nested too deep; use a function of your own") from None
    if not body:
        raise InvalidExpression("the expression is empty")
    first = body[0]
    if not isinstance(first, ast.Expr):
        _refuse(source, first, _STATEMENTS.get(type(first), "this is a statement; only an expression is allowed"))
    if len(body) > 1:
        _refuse(source, body[1], f"give one expression; these are {len(body)} statements")
    if isinstance(first.value, ast.GeneratorExp):
        _refuse(source, first.value, "a generator is no value; write it in square brackets, [… for … in …]")
    return first.value


_ASSIGNMENT = "an assignment is no expression; write item.update({'field': value}) to set a field"
_STATEMENTS: dict[type, str] = {
    **dict.fromkeys((ast.Assign, ast.AugAssign, ast.AnnAssign), _ASSIGNMENT),
    ast.Delete: "del is no expression; write item.pop('field', None)",
    **dict.fromkeys(
        (ast.Import, ast.ImportFrom), "import is no expression; the filter pythonexp has an option imports"
    ),
}

_NODES = {
    "Lambda": "lambda is not allowed; write a comprehension, or use a function of your own (name: python)",
    "NamedExpr": "the assignment := is not allowed; write the value twice",
    "Await": "await is not allowed",
    "Yield": "yield is not allowed",
    "YieldFrom": "yield is not allowed",
}


def _refuse(source: str, node: Any, message: str) -> NoReturn:
    raise InvalidExpression(f"{_place(source, node.lineno, node.col_offset)}: {message}")


def _place(source: str, line: int, offset: int) -> str:
    """Line and column, from 1, of a position in bytes."""
    lines = source.encode("utf-8", "surrogatepass").split(b"\n")
    before = lines[line - 1][:offset] if line <= len(lines) else b""
    return f"line {line}, column {len(before.decode('utf-8', 'replace')) + 1}"


def _syntax_error(source: str, error: SyntaxError) -> InvalidExpression:
    line, column = max(1, error.lineno or 1), max(1, error.offset or 1)
    text = [*source.split("\n"), ""][min(line - 1, source.count("\n"))]
    near = text[max(0, column - 3) : column + 2]
    message = error.msg
    if isinstance(error, IndentationError):
        message = "take the spaces at its beginning away"
    elif message.startswith("Missing parentheses in call to"):
        message = "print and exec are statements of Python 2; only an expression is allowed"
    elif "<>" in near:
        message = "<> is Python 2; write !="
    elif "`" in near:
        message = "backquotes are Python 2; write repr(value)"
    elif re.search(r"\d[lL]\b", near):
        message = "whole numbers with L are Python 2; leave it out"
    elif re.search(r"\b[uU][rR]['\"]", text):
        message = "ur'…' is Python 2; write r'…'"
    return InvalidExpression(f"line {line}, column {column}: {message}")


_PYTHON_2 = {
    "unicode": "str",
    "basestring": "str",
    "long": "int",
    "unichr": "chr",
    "xrange": "range",
    "reduce": "sum, min, max or math.prod",
    "cmp": "<, == or >",
    "raw_input": "item",
}
_PYTHON_2_METHODS = {
    "has_key": "'key' in item",
    **{f"{how}{what}": f"{what}()" for how in ("iter", "view") for what in ("items", "keys", "values")},
    **{f"i{name}": name for name in ("map", "filter", "zip")},
    "ifilterfalse": "itertools.filterfalse",
    "izip_longest": "itertools.zip_longest",
}
_INSTEAD = {
    "getattr": "item['field'] or item.get('field')",
    "hasattr": "'field' in item",
    "setattr": "item.update({'field': value})",
    "type": "isinstance(value, str)",
}
_OWN = "use a function of your own for that (name: python)"


class _Checker:
    """Makes of a parsed expression one that is safe to run, or refuses it. `constants` are the objects it needs."""

    def __init__(self, source: str, names: Mapping[str, Any]) -> None:
        self.source, self.names = source, names
        self.constants: dict[str, Any] = {}
        self.scopes: list[set[str]] = []
        self.loops = 0
        self.works = False

    def refuse(self, node: ast.AST, message: str) -> NoReturn:
        _refuse(self.source, node, message)

    def value(self, node: ast.expr) -> ast.expr:
        """The checked form of any node. Kinds of nodes without a method here are refused."""
        method = getattr(self, f"on_{type(node).__name__}", None)
        if method is None:
            self.refuse(node, _NODES.get(type(node).__name__, f"{type(node).__name__} is not allowed in expressions"))
        checked: ast.expr = method(node)
        return checked

    def values(self, nodes: list[ast.expr]) -> list[ast.expr]:
        return [self.value(node) for node in nodes]

    # What stands for objects and functions in the checked form

    def constant(self, found: Any) -> ast.expr:
        if isinstance(found, Worker):
            return self.work(found.method)
        name = next((name for name, value in self.constants.items() if value is found), f"_{len(self.constants)}")
        self.constants[name] = found
        return ast.Name(name, ast.Load())

    def work(self, method: str) -> ast.expr:
        self.works = True
        return ast.Attribute(ast.Name("_work", ast.Load()), method, ast.Load())

    def call(self, function: Any, *args: ast.expr) -> ast.Call:
        return ast.Call(function if isinstance(function, ast.expr) else self.constant(function), list(args), [])

    def seen(self, node: ast.expr, original: ast.expr, how: str = "seen") -> ast.expr:
        """Inside loops, a value that is paid for by its size unless it has none."""
        return self.call(self.work(how), node) if self.loops and not self.small(original) else node

    # What is known without running

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

    # Names and attributes

    def on_Constant(self, node: ast.Constant) -> ast.expr:
        if node.value is Ellipsis:
            self.refuse(node, "the ellipsis ... is not allowed")
        if isinstance(node.value, int) and node.value.bit_length() > guards.BITS:
            self.refuse(node, f"the number is too large; at most {guards.BITS:,} binary digits are allowed")
        return node

    def on_Name(self, node: ast.Name) -> ast.expr:
        name = node.id
        if self.bound(name):
            return node
        if name in self.names and not isinstance(self.names[name], ModuleType):
            return self.constant(self.names[name])
        if name in self.names or name in MODULES:
            self.refuse(node, f"{name} is a module; write {name}.function(…)")
        if name == "item":
            return node
        if name in BUILTINS:
            return self.call(self.work("function"), self.constant(BUILTINS[name]))
        if name.startswith("_"):
            self.refuse(node, f"the name {name} is not allowed: it begins with an underscore")
        if name in _PYTHON_2:
            self.refuse(node, f"{name} is Python 2; write {_PYTHON_2[name]}")
        if name in _INSTEAD:
            self.refuse(node, f"{name} is not allowed; write {_INSTEAD[name]}")
        if hasattr(builtins, name):
            self.refuse(node, f"{name} is not allowed in expressions; {_OWN}")
        known = ["item", *BUILTINS, *MODULES, *self.names, *(name for scope in self.scopes for name in scope)]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]}?" if near else f"; write item['{name}'] for a field of the record"
        return self.refuse(node, f"there is no name {name}{hint}")

    def on_Attribute(self, node: ast.Attribute) -> ast.expr:
        """An attribute that is not called: a value, or a method that is handed on."""
        whole, found = self.resolved(node)
        if whole:
            if isinstance(found, ModuleType):
                self.refuse(node, f"{_dotted(node)} is a module; write {_dotted(node)}.function(…)")
            if callable(found) or isinstance(found, Worker):
                return self.call(self.work("function"), self.constant(found))
            return self.constant(found)
        owner = self.owner(node.value)
        self.check_attribute(node)
        if node.attr == "format":
            self.refuse(node, "format is not allowed here; call it on a text: '{} {}'.format(a, b)")
        guard = guards.METHOD_GUARDS.get(node.attr)
        if guard is not None:
            bound = (
                self.constant(guard) if self.function(node.value) else self.call(partial, self.constant(guard), owner)
            )
            return self.call(self.work("function"), bound)
        found = ast.Attribute(owner, node.attr, ast.Load())
        return found if node.attr in PROPERTIES else self.call(self.work("function"), found)

    def owner(self, node: ast.expr) -> ast.expr:
        """What stands before a dot, which may also be a type or an object of a module."""
        name = self.function(node)
        if name:
            if name not in TYPES:
                self.refuse(node, f"{name} is a function and has no attributes")
            return self.constant(TYPES[name])
        if isinstance(node, ast.Attribute):
            whole, found = self.resolved(node)
            if whole:
                return self.constant(found)
        return self.value(node)

    def check_attribute(self, node: ast.Attribute) -> None:
        name = node.attr
        if name.startswith("_"):
            self.refuse(node, f"the attribute {name} is not allowed: it begins with an underscore")
        if name in METHODS or name in PROPERTIES or (self.imported(node.value) and not _FORBIDDEN.match(name)):
            return
        if name in _PYTHON_2_METHODS:
            self.refuse(node, f"{name} is Python 2; write {_PYTHON_2_METHODS[name]}")
        near = difflib.get_close_matches(name, [*METHODS, *PROPERTIES], n=1, cutoff=0.8)
        hint = f"did you mean {near[0]}?" if near else f"write ['{name}'] for a field; for other methods {_OWN}"
        self.refuse(node, f"the attribute {name} is not allowed; {hint}")

    def imported(self, node: ast.expr) -> bool:
        """Whether it comes out of a module that the user imports."""
        while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
            node = node.func if isinstance(node, ast.Call) else node.value
        return isinstance(node, ast.Name) and isinstance(self.names.get(node.id), ModuleType)

    def resolved(self, node: ast.expr) -> tuple[bool, Any]:
        """(True, object) where it names a member of a module: re.match, datetime.datetime, own.module.function."""
        if isinstance(node, ast.Name):
            found = self.names.get(node.id)
            return isinstance(found, ModuleType), found
        if not isinstance(node, ast.Attribute):
            return False, None
        name = node.attr
        way = _dotted(node.value)
        root = way.partition(".")[0]
        if root in MODULES and root not in self.names:
            members = MODULES[root]
            inner = f"{way.partition('.')[2]}.{name}".lstrip(".")
            if inner in members:
                return True, members[inner]
            if way != root:
                return False, None
            hint = _PYTHON_2_METHODS.get(name, "")
            near = difflib.get_close_matches(name, members, n=1, cutoff=0.7)
            hint = f"write {hint}" if hint else f"did you mean {root}.{near[0]}?" if near else _OWN
            self.refuse(node, f"{root}.{name} is not allowed in expressions; {hint}")
        whole, module = self.resolved(node.value)
        if not (whole and isinstance(module, ModuleType)):
            return False, None
        if name.startswith("_"):
            self.refuse(node, f"the attribute {name} is not allowed: it begins with an underscore")
        if not hasattr(module, name):
            near = difflib.get_close_matches(name, dir(module), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.refuse(node, f"the module {module.__name__} has no {name}{hint}")
        found = getattr(module, name)
        if isinstance(found, ModuleType) and not found.__name__.startswith(f"{module.__name__}."):
            self.refuse(node, f"{name} is another module; name {found.__name__} in imports to use it")
        return True, found

    # Calls

    def on_Call(self, node: ast.Call) -> ast.expr:
        name = self.function(node.func)
        if name == "isinstance" and len(node.args) == 2 and not node.keywords:
            return self.call(isinstance, self.value(node.args[0]), self.types(node.args[1]))
        if name == "iter" and (len(node.args) != 1 or isinstance(node.args[0], ast.Starred)):
            self.refuse(node, "iter takes one argument here")
        cheap = name in CHEAP or (isinstance(node.func, ast.Attribute) and node.func.attr in CHEAP)
        function, owner = self.callee(node, name, cheap)
        args = self.values(node.args)
        if not cheap:
            how = self.cost(name, node.func)
            args = [self.seen(arg, given, how) for arg, given in zip(args, node.args, strict=True)]
        keywords = [ast.keyword(given.arg, self.seen(self.value(given.value), given.value)) for given in node.keywords]
        called = ast.Call(function, [*owner, *args], keywords)
        makes = (name or getattr(node.func, "attr", "")) in guards.MAKERS
        return self.seen(called, node) if makes else called

    def callee(self, node: ast.Call, name: str, cheap: bool) -> tuple[ast.expr, list[ast.expr]]:
        """What is called, and the owner of the method where that is its first argument."""
        func = node.func
        if name:
            return self.constant(self.builtin(name, node)), []
        if not isinstance(func, ast.Attribute):
            return self.value(func), []
        whole, found = self.resolved(func)
        if whole:
            if isinstance(found, ModuleType):
                self.refuse(func, f"{_dotted(func)} is a module; write {_dotted(func)}.function(…)")
            return self.constant(found), []
        owner = self.owner(func.value)
        self.check_attribute(func)
        if func.attr == "format":
            self.check_template(func)
            return ast.Attribute(owner, "format", ast.Load()), []
        guard = None if self.unguarded(func.attr, node) else guards.METHOD_GUARDS.get(func.attr)
        if guard is not None:
            if self.function(func.value):
                return self.constant(guard), []
            return self.constant(guard), [self.seen(owner, func.value, self.cost(name, func))]
        owner = owner if cheap else self.seen(owner, func.value, self.cost(name, func))
        return ast.Attribute(owner, func.attr, ast.Load()), []

    def unguarded(self, method: str, node: ast.Call) -> bool:
        """Whether its arguments are written out and do no harm: text.strip('/')."""
        known = all(isinstance(arg, ast.Constant) and guards.plain(arg.value) for arg in node.args)
        return method in guards.ARGUMENT_GUARDS and known and not node.keywords

    def cost(self, name: str, func: ast.expr) -> str:
        """How what a call reads is paid for: the method of `Work`."""
        return "each" if name else "scanned" if getattr(func, "attr", "") in guards.SCANS else "seen"

    def builtin(self, name: str, node: ast.Call) -> Any:
        """The function to call: the plain one where its arguments can do no harm."""
        spread = any(isinstance(arg, ast.Starred) for arg in node.args) or any(k.arg is None for k in node.keywords)
        if not spread:
            if name == "zip":
                return zip
            if name in guards.ONE_ARGUMENT and len(node.args) == 1 and not node.keywords:
                return guards.ONE_ARGUMENT[name]
            if name == "round" and len(node.args) == 2 and _short(node.args[1]):
                return round
        return BUILTINS[name]

    def types(self, node: ast.expr) -> ast.expr:
        """The second argument of isinstance: types, not functions that are handed on."""
        if isinstance(node, ast.Tuple):
            return ast.Tuple([self.types(member) for member in node.elts], ast.Load())
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return ast.BinOp(self.types(node.left), node.op, self.types(node.right))
        name = self.function(node)
        if name in TYPES:
            return self.constant(TYPES[name])
        whole, found = self.resolved(node) if isinstance(node, ast.Attribute) else (False, None)
        if whole and isinstance(found, type):
            return self.constant(found)
        if isinstance(node, ast.Name) and node.id in _PYTHON_2:
            self.value(node)
        return self.refuse(node, f"isinstance wants types, one or several in parentheses: {', '.join(sorted(TYPES))}")

    def check_template(self, node: ast.Attribute) -> None:
        """str.format reads attributes that its text names, so the text has to be plain and known."""
        template = node.value
        if not (isinstance(template, ast.Constant) and isinstance(template.value, str)):
            self.refuse(node, "format is allowed on a text only: '{} {}'.format(a, b); or write an f-string")
        try:
            fields = [(name or "", spec or "") for _, name, spec, _ in Formatter().parse(template.value)]
        except ValueError as error:
            self.refuse(node, f"the text is no template: {error}")
        for name, spec in fields:
            if not _FIELD.fullmatch(name):
                self.refuse(node, f"{{{name}}} is not allowed in a template; write the value behind format")
            if "{" in spec or re.search(r"\d{5}", spec):
                self.refuse(node, f"the format {spec} is not allowed; widths are numbers up to {guards.WIDTH:,}")

    # Operators

    def on_BinOp(self, node: ast.BinOp) -> ast.expr:
        guard = _GUARDS.get(type(node.op))
        if isinstance(node.op, ast.MatMult):
            self.refuse(node, "the operator @ is not allowed")
        left, right = self.value(node.left), self.value(node.right)
        plain = guard is None or self.harmless(node)
        made = ast.BinOp(left, node.op, right) if plain else self.call(guard, left, right)
        return self.seen(made, node)

    def harmless(self, node: ast.BinOp) -> bool:
        if isinstance(node.op, ast.Mod):
            template = node.left.value if isinstance(node.left, ast.Constant) else None
            return self.number(node.left) or (isinstance(template, str) and not guards.wide(template))
        if isinstance(node.op, ast.LShift):
            return False
        return self.floating(node.left) or self.floating(node.right)

    def on_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if isinstance(node.op, ast.UAdd):
            self.refuse(node, "the plus sign before a value is not allowed; leave it out")
        return ast.UnaryOp(node.op, self.value(node.operand))

    def on_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return ast.BoolOp(node.op, self.values(node.values))

    def on_Compare(self, node: ast.Compare) -> ast.expr:
        given = [node.left, *node.comparators]
        operands = self.values(given)
        for at, each in enumerate(given):
            if function := recognizer_of(each, *given[:at][-1:], *given[at + 1 :][:1]):
                operands[at] = self.call(function, operands[at])
        for at, op in enumerate(node.ops):
            if not self.loops or isinstance(op, (ast.Is, ast.IsNot)):
                continue
            if isinstance(op, (ast.In, ast.NotIn)):
                operands[at + 1] = self.seen(operands[at + 1], given[at + 1], "held")
            elif not self.small(given[at + 1]):
                operands[at] = self.seen(operands[at], given[at])
        return ast.Compare(operands[0], node.ops, operands[1:])

    def on_IfExp(self, node: ast.IfExp) -> ast.expr:
        return ast.IfExp(self.value(node.test), self.value(node.body), self.value(node.orelse))

    def on_Subscript(self, node: ast.Subscript) -> ast.expr:
        found = ast.Subscript(self.value(node.value), self.value(node.slice), ast.Load())
        return self.seen(found, node) if isinstance(node.slice, ast.Slice) else found

    def on_Slice(self, node: ast.Slice) -> ast.expr:
        parts = (node.lower, node.upper, node.step)
        return ast.Slice(*(None if part is None else self.value(part) for part in parts))

    # Displays, texts, loops

    def on_List(self, node: ast.List) -> ast.expr:
        return self.display(node, ast.List(self.values(node.elts), ast.Load()), len(node.elts))

    def on_Tuple(self, node: ast.Tuple) -> ast.expr:
        return self.display(node, ast.Tuple(self.values(node.elts), ast.Load()), len(node.elts))

    def on_Set(self, node: ast.Set) -> ast.expr:
        return self.display(node, ast.Set(self.values(node.elts)), len(node.elts))

    def on_Dict(self, node: ast.Dict) -> ast.expr:
        keys = [None if key is None else self.value(key) for key in node.keys]
        values = [
            self.seen(self.value(value), value) if key is None else self.value(value)
            for key, value in zip(node.keys, node.values, strict=True)
        ]
        return self.display(node, ast.Dict(keys, values), len(keys))

    def display(self, node: ast.expr, checked: ast.expr, members: int) -> ast.expr:
        return self.seen(checked, node) if members >= 8 else checked

    def on_Starred(self, node: ast.Starred) -> ast.expr:
        return ast.Starred(self.seen(self.value(node.value), node.value), ast.Load())

    def on_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        return self.seen(ast.JoinedStr(self.values(node.values)), node)

    def on_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        value = self.value(node.value)
        if node.format_spec is None:
            return ast.FormattedValue(value, node.conversion, None)
        if node.conversion != -1:
            value = self.call({"r": repr, "s": str, "a": ascii}[chr(node.conversion)], value)
        return ast.FormattedValue(self.call(guards.formatted, value, self.value(node.format_spec)), -1, None)

    def on_ListComp(self, node: ast.ListComp) -> ast.expr:
        with self.loop(node.generators) as generators:
            return ast.ListComp(self.value(node.elt), generators)

    def on_SetComp(self, node: ast.SetComp) -> ast.expr:
        with self.loop(node.generators) as generators:
            return ast.SetComp(self.value(node.elt), generators)

    def on_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        with self.loop(node.generators) as generators:
            return ast.GeneratorExp(self.value(node.elt), generators)

    def on_DictComp(self, node: ast.DictComp) -> ast.expr:
        with self.loop(node.generators) as generators:
            return ast.DictComp(self.value(node.key), self.value(node.value), generators)

    @contextmanager
    def loop(self, generators: list[ast.comprehension]) -> Iterator[list[ast.comprehension]]:
        """The checked `for` clauses of a comprehension, inside of which its variables are bound."""
        first = self.value(generators[0].iter)
        targets = {name for generator in generators for name in self.targets(generator.target)}
        self.scopes.append(targets)
        self.loops += 1
        checked = []
        for at, given in enumerate(generators):
            if given.is_async:
                self.refuse(given.target, "async is not allowed")
            iterable = self.call(self.work("loop"), self.value(given.iter) if at else first)
            checked.append(ast.comprehension(given.target, iterable, self.values(given.ifs), 0))
        yield checked
        self.loops -= 1
        self.scopes.pop()

    def targets(self, node: ast.expr) -> Iterator[str]:
        if isinstance(node, (ast.Tuple, ast.List)):
            for member in node.elts:
                yield from self.targets(member)
        elif isinstance(node, ast.Starred):
            yield from self.targets(node.value)
        elif not isinstance(node, ast.Name):
            self.refuse(node, "a loop needs a plain variable")
        elif node.id.startswith("_") and node.id != "_":
            self.refuse(node, f"the name {node.id} is not allowed: it begins with an underscore")
        elif node.id in MODULES or node.id in self.names:
            self.refuse(node, f"the variable {node.id} would hide another meaning of the name; call it otherwise")
        else:
            yield node.id


_FORBIDDEN = re.compile(r"(format|format_map|mro)\Z|(gi|cr|ag|f|tb|co|func|im)_")
"""Attributes that lead out of an expression, also behind imported modules."""

_FIELD = re.compile(r"(?:\d+|[A-Za-z]\w*)?(?:\[[^\[\].]*\])*")

_GUARDS: dict[type, Callable[..., Any]] = {
    ast.Mult: guards.multiply,
    ast.Pow: guards.power,
    ast.LShift: guards.shift,
    ast.Mod: guards.modulo,
}


def _dotted(node: ast.expr) -> str:
    """`a.b.c` as text, or an empty text for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    way = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{way}.{node.attr}" if way and isinstance(node, ast.Attribute) else ""


def _short(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) < 100


# What goes wrong on a record

_HINTS = (
    (r"['\"]dict_\w+['\"]", "in Python 3 items(), keys() and values() give no lists; write list(item.items()) + …"),
    (r"'(map|filter|zip)' object", "in Python 3 map, filter and zip give no lists; write list(…)"),
    (r"'str' object has no attribute 'decode'", "in Python 3 texts are decoded already; leave .decode(…) out"),
    (r"not supported between instances", "Python 3 does not order values of different types; test for None first"),
)


def _failure(source: str, error: Exception) -> RecordError:
    text = str(error)
    if not isinstance(error, RecordError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    hint = next((f"; {hint}" for pattern, hint in _HINTS if re.search(pattern, text)), "")
    return RecordError(f"{_cut(text)} in {_cut(source)}{hint}")


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:200]}…"
