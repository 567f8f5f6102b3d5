"""The check of an expression's syntax tree: what is not known to be harmless is refused, what could make much of little is
guarded, and in loops what is read and made is counted."""

from __future__ import annotations

import ast
import builtins
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from string import Formatter
from types import MappingProxyType, ModuleType
from typing import Any, NoReturn

from exporters_beam.decimals import recognizer_of
from exporters_beam.transforms.expressions import guards, patterns
from exporters_beam.transforms.expressions.guards import BUILTINS, CHEAP, METHODS, MODULES, PROPERTIES, TYPES
from exporters_beam.transforms.expressions.hints import INSTEAD, NODES, OWN, PYTHON_2, PYTHON_2_METHODS, refuse
from exporters_beam.transforms.expressions.shape import (
    DEEP,
    FEW,
    TEXTS,
    Known,
    Own,
    Shape,
    builds,
    dotted,
    is_fixed,
    is_plain,
    is_short,
)
from exporters_beam.transforms.expressions.values import SteadySet, as_value, delete_item, kept, set_item, steady
from exporters_beam.transforms.expressions.work import Drawn, Worker


class Checker(Known):
    """Makes of a parsed expression one that is safe to run, or refuses it. `constants` are the objects it needs."""

    def __init__(
        self, source: str, names: Mapping[str, Any], body: ast.expr, order: Mapping[type, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(names)
        self.source, self.order = source, order
        self.about = Shape.of(body)
        self.constants: dict[str, Any] = {}
        self.loops = int(self.about.large)  # Everything in a large expression counts, as in a loop.
        self.works = self.draws = False
        self.consumed: set[int] = set()
        self.handed: set[int] = set()

    def refuse(self, node: ast.AST, message: str) -> NoReturn:
        refuse(self.source, node, message)

    def value(self, node: ast.expr) -> ast.expr:
        """The checked form of any node. Kinds of nodes without a method here are refused."""
        method = getattr(self, f"on_{type(node).__name__}", None)
        if method is None:
            self.refuse(node, NODES.get(type(node).__name__, f"{type(node).__name__} is not allowed in expressions"))
        checked: ast.expr = method(node)
        return checked

    def values(self, nodes: list[ast.expr]) -> list[ast.expr]:
        return [self.value(node) for node in nodes]

    # What stands for objects and functions in the checked form

    def constant(self, found: object) -> ast.expr:
        if isinstance(found, Worker):
            return self.work(found.method)
        if isinstance(found, Drawn):
            self.draws = True
            chance = ast.Name("_chance", ast.Load())
            if found.method == "Random":
                return ast.Attribute(chance, "source", ast.Load())
            draws = ast.Call(ast.Attribute(chance, "draws", ast.Load()), [], [])
            return ast.Attribute(draws, found.method, ast.Load())
        name = next((name for name, value in self.constants.items() if value is found), f"_{len(self.constants)}")
        self.constants[name] = found
        return ast.Name(name, ast.Load())

    def work(self, method: str) -> ast.expr:
        self.works = True
        return ast.Attribute(ast.Name("_work", ast.Load()), method, ast.Load())

    def call(self, function: object, *args: ast.expr) -> ast.Call:
        return ast.Call(function if isinstance(function, ast.expr) else self.constant(function), list(args), [])

    def seen(self, node: ast.expr, original: ast.expr, how: str = "seen") -> ast.expr:
        """Inside loops, a value that is paid for by its size unless it has none."""
        return self.call(self.work(how), node) if self.loops and not self.small(original) else node

    def handing(self, node: ast.expr, function: ast.expr) -> ast.expr:
        """A function that is handed on: to `map`, as a key, or as a value of its own."""
        handed = self.call(self.work("function"), function)
        return handed if id(node) in self.handed else self.call(as_value, handed)

    def streamed(self, node: ast.expr) -> bool:
        """Whether an iterator may be kept: it is not read where it is made."""
        return id(node) not in self.consumed

    # Functions of ours

    def on_Own(self, node: Own) -> ast.expr:
        return self.handing(node, self.own(node))

    def own(self, node: Own) -> ast.expr:
        function = self.constant(node.function)
        if not node.works:
            return function
        self.works = True
        return self.call(partial, function, ast.Name("_work", ast.Load()))

    def on_Kinds(self, node: Any) -> ast.expr:
        return self.types(node.types)

    def owned(self, node: ast.Call, function: Own) -> ast.expr:
        """The call of a function of ours. Whatever it gives may be larger than what it is given."""
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        if function.calls:
            self.handed.update(map(id, given))
        args = [self.seen(self.value(arg), arg, function.cost) for arg in node.args]
        keywords = [ast.keyword(each.arg, self.seen(self.value(each.value), each.value)) for each in node.keywords]
        called = ast.Call(self.own(function), args, keywords)
        return self.call(self.work("made"), called) if self.loops else called

    def underscored(self, node: ast.Call, func: ast.Attribute) -> ast.expr | None:
        """Calls of the methods that subscripts and operators stand for: `item.__setitem__('field', value)`."""
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            return None
        owner, args = func.value, node.args
        name = func.attr if _UNDERSCORED.get(func.attr) == len(args) else ""
        if name == "__getitem__":
            return self.value(ast.copy_location(ast.Subscript(owner, args[0], ast.Load()), node))
        if name == "__contains__":
            return self.value(ast.copy_location(ast.Compare(args[0], [ast.In()], [owner]), node))
        if name == "__len__":
            return self.call(len, self.value(owner))
        if name == "__delitem__":
            return self.call(delete_item, self.value(owner), self.seen(self.value(args[0]), args[0], "weighed"))
        if name != "__setitem__":
            return None
        kept_ones = [self.keeping(self.value(arg), arg) for arg in args]
        return self.call(set_item, self.value(owner), *kept_ones)

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
            return self.handing(node, self.constant(BUILTINS[name]))
        if name.startswith("_"):
            self.refuse(node, f"the name {name} is not allowed: it begins with an underscore")
        if name in PYTHON_2:
            self.refuse(node, f"{name} is Python 2; write {PYTHON_2[name]}")
        if name in INSTEAD:
            self.refuse(node, f"{name} is not allowed; write {INSTEAD[name]}")
        if hasattr(builtins, name):
            self.refuse(node, f"{name} is not allowed in expressions; {OWN}")
        known = ["item", *BUILTINS, *MODULES, *self.names, *(name for scope in self.scopes for name in scope)]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]}?" if near else f"; write item['{name}'] for a field of the record"
        return self.refuse(node, f"there is no name {name}{hint}")

    def on_Attribute(self, node: ast.Attribute) -> ast.expr:
        """An attribute that is not called: a value, or a method that is handed on."""
        whole, found = self.resolved(node)
        if whole:
            if isinstance(found, ModuleType):
                self.refuse(node, f"{dotted(node)} is a module; write {dotted(node)}.function(…)")
            if callable(found) or isinstance(found, (Worker, Drawn)):
                return self.handing(node, self.constant(found))
            return self.constant(found)
        owner = self.owner(node.value)
        self.check_attribute(node)
        if node.attr == "format":
            self.refuse(node, "format is not allowed here; call it on a text: '{} {}'.format(a, b)")
        guard = guards.METHOD_GUARDS.get(node.attr)
        if guard is not None:
            bound = self.constant(guard) if self.function(node.value) else self.call(guards.bound, self.constant(guard), owner)
            return self.handing(node, bound)
        found = ast.Attribute(owner, node.attr, ast.Load())
        return found if node.attr in PROPERTIES else self.handing(node, found)

    def owner(self, node: ast.expr) -> ast.expr:
        """What stands before a dot, which may also be a type or an object of a module."""
        name = self.function(node)
        if name:
            if name not in TYPES:
                self.refuse(node, f"{name} is a function and has no attributes")
            return self.constant(guards.OWNERS.get(name, TYPES[name]))
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
        if name in PYTHON_2_METHODS:
            self.refuse(node, f"{name} is Python 2; write {PYTHON_2_METHODS[name]}")
        near = difflib.get_close_matches(name, [*METHODS, *PROPERTIES], n=1, cutoff=0.8)
        hint = f"did you mean {near[0]}?" if near else f"write ['{name}'] for a field; for other methods {OWN}"
        self.refuse(node, f"the attribute {name} is not allowed; {hint}")

    def imported(self, node: ast.expr) -> bool:
        """Whether it comes out of a module that the user imports."""
        while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
            node = node.func if isinstance(node, ast.Call) else node.value
        return isinstance(node, ast.Name) and isinstance(self.names.get(node.id), ModuleType)

    def resolved(self, node: ast.expr) -> tuple[bool, object]:
        """(True, object) where it names a member of a module: re.match, datetime.datetime, own.module.function."""
        if isinstance(node, ast.Name):
            found = self.names.get(node.id)
            return isinstance(found, ModuleType), found
        if not isinstance(node, ast.Attribute):
            return False, None
        name = node.attr
        way = dotted(node.value)
        root = way.partition(".")[0]
        if root in MODULES and root not in self.names:
            members = MODULES[root]
            inner = f"{way.partition('.')[2]}.{name}".lstrip(".")
            if inner in members:
                return True, members[inner]
            if way != root:
                return False, None
            hint = PYTHON_2_METHODS.get(name, "")
            near = difflib.get_close_matches(name, members, n=1, cutoff=0.7)
            hint = f"write {hint}" if hint else f"did you mean {root}.{near[0]}?" if near else OWN
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
        if isinstance(node.func, Own):
            return self.owned(node, node.func)
        if isinstance(node.func, ast.Attribute) and (made := self.underscored(node, node.func)) is not None:
            return made
        name = self.function(node.func)
        if name == "isinstance" and len(node.args) == 2 and not node.keywords:
            return self.call(isinstance, self.value(node.args[0]), self.types(node.args[1]))
        if name == "iter" and (len(node.args) != 1 or isinstance(node.args[0], ast.Starred)):
            self.refuse(node, "iter takes one argument here")
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        cheap = name in CHEAP or method in CHEAP
        self.note(node, name, method)
        function, owner = self.callee(node, name, cheap)
        args = self.values(node.args)
        keywords = [(given.arg, self.value(given.value), given.value) for given in node.keywords]
        keeps = method in guards.CHANGING and not self.resolved(node.func)[0]
        deep = "deeply" if name in DEEP else "weighed" if method in DEEP else self.cost(name, node.func)
        if keeps:
            args = [self.keeping(arg, given) for arg, given in zip(args, node.args, strict=True)]
            keywords = [(key, self.keeping(arg, given), given) for key, arg, given in keywords]
        elif not cheap or method in DEEP:
            args = [self.seen(arg, given, deep) for arg, given in zip(args, node.args, strict=True)]
        if not keeps:
            keywords = [(key, self.seen(arg, given), given) for key, arg, given in keywords]
        called = ast.Call(function, [*owner, *args], [ast.keyword(key, arg) for key, arg, _ in keywords])
        makes = (name or method) in guards.MAKERS
        return self.seen(called, node) if makes else called

    def note(self, node: ast.Call, name: str, method: str) -> None:
        """Which arguments are read where they stand, and which may be functions."""
        module = bool(not name and isinstance(node.func, ast.Attribute) and self.resolved(node.func)[0])
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        if name in guards.CONSUMERS and (len(node.args) == 1 or name in ("next", "sorted", "sum")):
            self.consumed.update(map(id, node.args[:1]))
        elif method in ("join", "extend", "update") or (name in guards.LAZY and id(node) in self.consumed):
            self.consumed.update(map(id, node.args))
        if name in guards.CALLING or module or method == "sort":
            self.handed.update(map(id, given))

    def keeping(self, checked: ast.expr, given: ast.expr) -> ast.expr:
        """A value that a record, a list or a set is to hold."""
        if isinstance(given, ast.Starred) or self.small(given) or isinstance(given, (ast.JoinedStr, ast.Compare)):
            return self.seen(checked, given)
        if self.loops:
            return self.call(self.work("weighed"), checked)
        if isinstance(given, ast.BinOp) and not isinstance(given.op, (ast.Add, ast.BitOr)):
            return checked
        if isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute) and given.func.attr in TEXTS:
            return checked
        return self.call(kept, checked)

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
                self.refuse(func, f"{dotted(func)} is a module; write {dotted(func)}.function(…)")
            return self.constant(self.searching(node, func.attr, found)), []
        owner = self.owner(func.value)
        self.check_attribute(func)
        if func.attr == "format":
            self.check_template(func)
            if self.about.large or not all(map(self.plain, node.args)):
                return self.constant(guards.filled), [owner]
            return ast.Attribute(owner, "format", ast.Load()), []
        guard = None if self.unguarded(func.attr, node) else guards.METHOD_GUARDS.get(func.attr)
        if guard is not None:
            if self.function(func.value):
                return self.constant(guard), []
            return self.constant(guard), [self.seen(owner, func.value, self.cost(name, func))]
        owner = owner if cheap else self.seen(owner, func.value, self.cost(name, func))
        return ast.Attribute(owner, func.attr, ast.Load()), []

    def searching(self, node: ast.Call, name: str, found: object) -> object:
        """A function of a module; those of `re` as they are where the expression is written out and harmless."""
        if getattr(re, name, None) is None or found is not MODULES["re"].get(name) or name not in patterns.SEARCHES:
            return found
        first = node.args[0] if node.args else None
        if not (isinstance(first, ast.Constant) and isinstance(first.value, (str, bytes)) and len(node.args) > 1):
            return found
        try:
            harmless = patterns.longest(re.compile(first.value), name) == float("inf")
        except (re.error, RecursionError, OverflowError):
            return found
        if name in ("sub", "subn"):
            harmless = harmless and len(node.args) == 3 and is_plain(node.args[1])
        else:
            harmless = harmless and len(node.args) == 2 and name != "finditer"
        return getattr(re, name) if harmless and not node.keywords else found

    def unguarded(self, method: str, node: ast.Call) -> bool:
        """Whether its arguments are written out and do no harm: text.strip('/')."""
        known = all(isinstance(arg, ast.Constant) and guards.plain(arg.value) for arg in node.args)
        if method in patterns.SEARCHES and method not in guards.METHOD_GUARDS_OF_TEXT:
            return not self.about.compiles
        return method in guards.ARGUMENT_GUARDS and known and not node.keywords

    def cost(self, name: str, func: ast.expr) -> str:
        """How what a call reads is paid for: the method of `Work`."""
        return "each" if name else "scanned" if getattr(func, "attr", "") in guards.SCANS else "seen"

    def builtin(self, name: str, node: ast.Call) -> object:
        """The function to call: the plain one where its arguments can do no harm."""
        spread = any(isinstance(arg, ast.Starred) for arg in node.args) or any(k.arg is None for k in node.keywords)
        if not spread:
            if name in guards.LAZY and not self.streamed(node):
                return guards.LAZY[name]
            if name == "next" and len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp):
                self.consumed.add(id(node.args[0]))
                return next
            if name in ("str", "repr") and not self.loops and all(map(self.plain, node.args)):
                return TYPES[name] if name == "str" else repr
            if name in guards.ONE_ARGUMENT and len(node.args) == 1 and not node.keywords:
                return guards.ONE_ARGUMENT[name]
            if name == "round" and len(node.args) == 2 and is_short(node.args[1]):
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
        if isinstance(node, ast.Name) and node.id in PYTHON_2:
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
            self.refuse(node, f"the text is not a template: {error}")
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
        if self.may_be_set(node):
            made = self.call(steady, made)
        return self.seen(made, node)

    def may_be_set(self, node: ast.BinOp) -> bool:
        if isinstance(node.op, ast.Sub) and not self.about.views:
            return False
        sets = isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub))
        return sets and not (self.number(node.left) or self.number(node.right))

    def harmless(self, node: ast.BinOp) -> bool:
        if isinstance(node.op, ast.Mod):
            template = node.left.value if isinstance(node.left, ast.Constant) else None
            few = isinstance(template, str) and not guards.wide(template) and template.count("%") <= FEW
            return self.number(node.left) or (few and not self.loops and self.plain_values(node.right))
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
        for at, op in enumerate(node.ops, 1):
            if isinstance(op, (ast.In, ast.NotIn)) and is_fixed(given[at]):
                operands[at] = given[at]
        for at, each in enumerate(given):
            if function := recognizer_of(each, *given[:at][-1:], *given[at + 1 :][:1]):
                operands[at] = self.call(function, operands[at])
        for at, op in enumerate(node.ops):
            if not self.loops or isinstance(op, (ast.Is, ast.IsNot)):
                continue
            if isinstance(op, (ast.In, ast.NotIn)):
                operands[at + 1] = self.seen(operands[at + 1], given[at + 1], "held")
            elif not self.small(given[at + 1]):
                operands[at] = self.seen(operands[at], given[at], "weighed")
        kinds = [type(op) for op in node.ops]
        if any(kind in self.order for kind in kinds) and {*kinds} <= {*self.order, ast.Eq, ast.NotEq}:
            if len(node.ops) == 1:
                return self.call(self.order[type(node.ops[0])], *operands)
            from exporters_beam.transforms.expressions.python2_values import Ordered

            operands = [self.call(Ordered, operand) for operand in operands]
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
        members = ast.Tuple(self.values(node.elts), ast.Load())
        return self.display(node, self.call(SteadySet, members), len(node.elts))

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
        values = self.values(node.values)
        if len(values) <= FEW:
            return self.seen(ast.JoinedStr(values), node)
        parts: list[ast.expr] = [
            value if isinstance(value, ast.Constant) else self.seen(ast.JoinedStr([value]), node) for value in values
        ]
        return self.seen(self.call(guards.joined, ast.Tuple(parts, ast.Load())), node)

    def on_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        value = self.value(node.value)
        if node.conversion != -1:
            shown = {"r": guards.limited_repr, "s": guards.limited_str, "a": guards.limited_ascii}
            value = self.call(shown[chr(node.conversion)], value)
        elif node.format_spec is None and (self.loops or not self.plain(node.value)) and not self.small(node.value):
            value = self.call(guards.limited_str, value)
        if node.format_spec is None:
            return ast.FormattedValue(value, -1, None)
        return ast.FormattedValue(self.call(guards.formatted, value, self.value(node.format_spec)), -1, None)

    def on_ListComp(self, node: ast.ListComp) -> ast.expr:
        with self.loop(node.generators) as generators:
            return ast.ListComp(self.value(node.elt), generators)

    def on_SetComp(self, node: ast.SetComp) -> ast.expr:
        with self.loop(node.generators) as generators:
            made = ast.SetComp(self.value(node.elt), generators)
        return self.call(SteadySet, made)

    def on_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        with self.loop(node.generators) as generators:
            made = ast.GeneratorExp(self.value(node.elt), generators)
        return self.call(self.work("lazy"), made) if self.streamed(node) else made

    def on_DictComp(self, node: ast.DictComp) -> ast.expr:
        with self.loop(node.generators) as generators:
            return ast.DictComp(self.value(node.key), self.value(node.value), generators)

    @contextmanager
    def loop(self, generators: list[ast.comprehension]) -> Iterator[list[ast.comprehension]]:
        """The checked `for` clauses of a comprehension, inside of which its variables are bound."""
        self.consumed.update(id(generator.iter) for generator in generators)
        first = self.value(generators[0].iter)
        targets = {name for generator in generators for name in self.targets(generator.target)}
        self.scopes.append(targets)
        self.loops += 1
        checked = []
        for at, given in enumerate(generators):
            if given.is_async:
                self.refuse(given.target, "async is not allowed")
            how = "built" if (at or self.loops > 1) and builds(given.iter) else "loop"
            iterable = self.call(self.work(how), self.value(given.iter) if at else first)
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

_UNDERSCORED = {"__contains__": 1, "__delitem__": 1, "__getitem__": 1, "__len__": 0, "__setitem__": 2}
"""Methods with underscores that may be called, and how many arguments they take."""

_FIELD = re.compile(r"(?:\d+|[A-Za-z]\w*)?(?:\[[^\[\].]*\])*")

_GUARDS: dict[type, Callable[..., object]] = {
    ast.Mult: guards.multiply,
    ast.Pow: guards.power,
    ast.LShift: guards.shift,
    ast.Mod: guards.modulo,
}
