"""Python 2: what expressions of components mean that are named as in exporters 0.6.18.

`spelled` makes a text of Python 3 of one of Python 2, and `meant` puts functions of `python2_values` in the place of what had
another meaning. What comes of it is checked and limited as any expression is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from exporters_beam.transforms.expressions import python2_patterns, python2_values
from exporters_beam.transforms.expressions.guards import BUILTINS
from exporters_beam.transforms.expressions.guards import MODULES as GUARDED
from exporters_beam.transforms.expressions.shape import Own, dotted
from exporters_beam.transforms.expressions.work import Worker

ORDER: Mapping[type, Callable[[object, object], object]] = {
    ast.Lt: python2_values.less,
    ast.LtE: python2_values.less_or_equal,
    ast.Gt: python2_values.greater,
    ast.GtE: python2_values.greater_or_equal,
}
"""What stands for comparisons."""

MODULES = {
    "urlparse": "urllib.parse",
    "urllib": "urllib.parse",
    "HTMLParser": "html",
    "htmlentitydefs": "html.entities",
    "cPickle": "pickle",
    "__builtin__": "builtins",
}
"""Modules that have another name now."""

_FUNCTIONS: dict[str, Callable[[], ast.expr]] = {
    "str": lambda: Own(python2_values.text, "deeply"),
    "unicode": lambda: Own(python2_values.text, "deeply"),
    "round": lambda: Own(python2_values.rounded),
    "oct": lambda: Own(python2_values.octal),
    "cmp": lambda: Own(python2_values.compare, "weighed"),
    "reduce": lambda: Own(Worker("reduce"), calls=True),
    "sorted": lambda: Own(python2_values.in_order, "deeply", calls=True, works=True),
    "min": lambda: Own(python2_values.least, "deeply", calls=True, works=True),
    "max": lambda: Own(python2_values.most, "deeply", calls=True, works=True),
    "long": lambda: ast.Name("int", ast.Load()),
    "unichr": lambda: ast.Name("chr", ast.Load()),
    "xrange": lambda: ast.Name("range", ast.Load()),
}
"""What stands for functions."""

_CASES = {name: python2_values.cased(name) for name in ("capitalize", "lower", "swapcase", "title", "upper")}

_WHOLE = {name: python2_values.whole(name) for name in ("ceil", "floor")}

_RENAMED = {"imap": "map", "ifilter": "filter", "izip": "zip"}

_STARMAP = GUARDED["itertools"]["starmap"]

_OF_BYTES = frozenset(("base64", "binascii", "hashlib", "hmac", "zlib"))
"""Modules whose functions take bytes."""


# The text


_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<prefix>[bBuU]?[rR]?)(?P<text>'{3}(?:[^\\]|\\.)*?'{3}|"{3}(?:[^\\]|\\.)*?"{3}|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
    |(?P<name>[^\W\d]\w*)
    |(?P<number>0[xX][0-9a-fA-F]+[lL]?|0[bB][01]+[lL]?|0[oO]?[0-7]+[lL]?(?![\w.])
        |(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[lLjJ]?)
    |(?P<other><>)""",
    re.VERBOSE | re.DOTALL,
)


def spelled(source: str) -> str:
    """The text in the spelling of Python 3. What is wrong with it is left for the parser.

    >>> spelled("0777 <> 10L and ur'a' + '10L'")
    "0o777 != 10 and r'a' + '10L'"
    """
    return _TOKEN.sub(_spelling, source) if isinstance(source, str) else source


def _spelling(token: re.Match[str]) -> str:
    if token["other"]:
        return "!="
    if token["text"]:
        return token["prefix"].strip("bBuU") + token["text"]
    number = token["number"]
    if not number:
        return token[0]
    number = number.rstrip("lL")
    return f"0o{number[1:]}" if re.fullmatch("0[0-7]+", number) and number.strip("0") else number


# The tree


def meant(body: ast.expr, names: Mapping[str, object]) -> ast.expr:
    """The expression with what it meant in Python 2 in the place of what it would mean now."""
    made: ast.expr = _Meaning(body, names).visit(body)
    return ast.fix_missing_locations(made)


def _call(function: ast.expr, *args: ast.expr) -> ast.Call:
    return ast.Call(function, list(args), [])


def _listed(node: ast.expr) -> ast.expr:
    return _call(Own(list, "each"), node)


class _Meaning(ast.NodeTransformer):
    def __init__(self, body: ast.expr, names: Mapping[str, Any]) -> None:
        self.modules = {name for name, value in names.items() if isinstance(value, ModuleType)}
        self.of_bytes = {name for name, value in names.items() if getattr(value, "__name__", "") in _OF_BYTES}
        loops = (loop.target for node in ast.walk(body) for loop in getattr(node, "generators", ()))
        self.bound = {
            *names,
            *(name.id for target in loops for name in ast.walk(target) if isinstance(name, ast.Name)),
        }

    def all(self, nodes: Iterable[object]) -> list[Any]:
        return [self.visit(node) for node in nodes]

    def free(self, node: ast.AST) -> str:
        """The name of a built-in function or module, or an empty text."""
        return node.id if isinstance(node, ast.Name) and node.id not in self.bound else ""

    def visit(self, node: Any) -> Any:
        made = super().visit(node)
        return ast.copy_location(made, node) if isinstance(node, ast.expr) and made is not node else made

    # Names and attributes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        made = _FUNCTIONS.get(self.free(node))
        return node if made is None else made()

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        whole = dotted(node)
        root, _, name = whole.partition(".")
        if root == "re" and root not in self.bound and name in python2_patterns.FUNCTIONS:
            return Own(python2_patterns.FUNCTIONS[name], "scanned", calls=name.startswith("sub"))
        if whole in ("math.floor", "math.ceil") and root not in self.bound:
            return Own(_WHOLE[name])
        if root == "itertools" and root not in self.bound:
            if name in _RENAMED:
                return ast.Name(_RENAMED[name], ast.Load())
            if name in ("ifilterfalse", "izip_longest"):
                return ast.Attribute(node.value, {"ifilterfalse": "filterfalse"}.get(name, "zip_longest"), node.ctx)
        if node.attr == "__name__" and (given := self.type_of(node.value)):
            return _call(Own(python2_values.type_name), given)
        if self.free(node.value) in ("str", "unicode"):
            return ast.Attribute(ast.Name("str", ast.Load()), node.attr, node.ctx)
        if self.is_imported(node.value):
            return ast.Attribute(self.inside(node.value), node.attr, node.ctx)
        return ast.Attribute(self.visit(node.value), node.attr, node.ctx)

    def type_of(self, node: ast.expr) -> ast.expr | None:
        """The value of `type(value)`."""
        if isinstance(node, ast.Call) and self.free(node.func) == "type" and len(node.args) == 1 and not node.keywords:
            return self.visit(node.args[0])
        return None

    def types(self, node: ast.expr) -> ast.expr:
        """Types that a value is compared with."""
        if isinstance(node, (ast.Tuple, ast.List)):
            return ast.copy_location(ast.Tuple([self.types(member) for member in node.elts], ast.Load()), node)
        name = {"unicode": "str", "basestring": "str", "long": "int"}.get(self.free(node))
        return ast.copy_location(ast.Name(name, ast.Load()), node) if name else node

    # Modules that are imported

    def is_imported(self, node: ast.expr) -> bool:
        while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
            node = node.func if isinstance(node, ast.Call) else node.value
        return isinstance(node, ast.Name) and node.id in self.modules

    def inside(self, node: ast.expr) -> ast.expr:
        """What comes out of a module, bytes as they are."""
        if isinstance(node, ast.Attribute):
            return ast.copy_location(ast.Attribute(self.inside(node.value), node.attr, node.ctx), node)
        if isinstance(node, ast.Subscript):
            return ast.copy_location(ast.Subscript(self.inside(node.value), self.visit(node.slice), node.ctx), node)
        if not isinstance(node, ast.Call):
            return node
        wants_bytes = dotted(node.func).partition(".")[0] in self.of_bytes
        keywords = [ast.keyword(each.arg, self.visit(each.value)) for each in node.keywords]
        given = [self.given(arg, wants_bytes) for arg in node.args]
        return ast.copy_location(ast.Call(self.inside(node.func), given, keywords), node)

    def given(self, node: ast.expr, wants_bytes: bool) -> ast.expr:
        method = self.method(node)
        if method == "encode":
            return self.called(node, python2_values.raw)
        made: ast.expr = self.visit(node)
        return _call(Own(python2_values.as_bytes), made) if wants_bytes and not isinstance(node, ast.Starred) else made

    # Calls

    def method(self, node: ast.expr) -> str:
        """The method that is called on a value."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not self.is_imported(node):
            return node.func.attr
        return ""

    def called(self, node: Any, function: Any) -> ast.Call:
        """A method's call as one of a function."""
        keywords = [ast.keyword(each.arg, self.visit(each.value)) for each in node.keywords]
        return ast.Call(Own(function), [self.visit(node.func.value), *self.all(node.args)], keywords)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if self.is_imported(node):
            return _call(Own(python2_values.as_text), self.inside(node))
        name = self.free(node.func)
        if name:
            return self.function(name, node)
        method = self.method(node)
        simple = not node.keywords and not any(isinstance(arg, ast.Starred) for arg in node.args)
        if method and simple:
            assert isinstance(node.func, ast.Attribute)
            made = self.simple(method, node.func.value, node.args, node)
            if made is not None:
                return made
        if method == "encode":
            return self.called(node, python2_values.encoded)
        if method == "decode":
            return self.called(node, python2_values.decoded)
        if method == "sort":
            made_sort = self.called(node, python2_values.sort)
            made_sort.func = Own(python2_values.sort, "deeply", calls=True, works=True)
            return made_sort
        args = self.all(node.args)
        keywords = [ast.keyword(each.arg, self.visit(each.value)) for each in node.keywords]
        if method == "format":
            args = [arg if isinstance(arg, ast.Starred) else _call(Own(python2_values.twelve), arg) for arg in args]
            keywords = [
                ast.keyword(each.arg, _call(Own(python2_values.twelve), each.value) if each.arg else each.value)
                for each in keywords
            ]
        return ast.Call(self.visit(node.func), args, keywords)

    def simple(self, method: str, owner: ast.expr, args: list[ast.expr], node: ast.Call) -> ast.expr | None:
        """A method that had another name or meaning, with arguments by place alone."""
        visit = self.visit
        if method in ("items", "keys", "values") and not args:
            return _listed(_call(ast.Attribute(visit(owner), method, ast.Load())))
        if method in _VIEWS and not args:
            view = _call(ast.Attribute(visit(owner), method[4:], ast.Load()))
            return view if method.startswith("view") else _call(ast.Name("iter", ast.Load()), view)
        if method == "has_key" and len(args) == 1:
            return ast.Compare(visit(args[0]), [ast.In()], [visit(owner)])
        if method == "next" and not args:
            return _call(ast.Name("next", ast.Load()), visit(owner))
        if method == "translate" and len(args) == 2:
            return _call(Own(python2_values.without), visit(owner), *self.all(args))
        if method in ("encode", "decode") and isinstance(owner, ast.Constant) and isinstance(owner.value, str):
            written = [arg.value for arg in args if isinstance(arg, ast.Constant)]
            if len(written) == len(args) and str((*written, "utf-8")[0]).lower() in ("utf-8", "utf8"):
                return owner
        if method in _CASES and not args and self.method(owner) == "encode":
            return self.called(owner, python2_values.cased_bytes(method))
        if method in _CASES and not args:
            return _call(Own(_CASES[method]), visit(owner))
        if method == "decode" and self.method(owner) == "encode":
            assert isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute)
            if not owner.keywords:
                coding = [ast.Tuple(self.all(each), ast.Load()) for each in (owner.args, args)]
                return _call(Own(python2_values.recoded), visit(owner.func.value), *coding)
        return None

    def function(self, name: str, node: ast.Call) -> ast.expr:
        """The call of a built-in function."""
        simple = not node.keywords and not any(isinstance(arg, ast.Starred) for arg in node.args)
        first = node.args[0] if node.args else None
        if name == "isinstance" and simple and len(node.args) == 2:
            return ast.Call(node.func, [self.visit(node.args[0]), self.types(node.args[1])], [])
        if name == "len" and simple and len(node.args) == 1 and self.method(node.args[0]) == "encode":
            return self.called(node.args[0], python2_values.encoded_length)
        if name == "filter" and simple and len(node.args) == 2:
            return _call(Own(Worker("sifted"), calls=True), *self.all(node.args))
        if name == "map" and len(node.args) > 1 and not node.keywords:
            return self.mapped(node.args)
        called = ast.Call(self.visit(node.func), self.all(node.args), [
            ast.keyword(each.arg, self.visit(each.value)) for each in node.keywords
        ])  # fmt: skip
        if name in ("range", "zip") and first is not None:
            return _listed(called)
        return ast.List([], ast.Load()) if name == "zip" else called

    def mapped(self, given: list[ast.expr]) -> ast.expr:
        """`map`: a list; the shorter ones of several are filled with None, and None as the function gives rows."""
        function, *lists = given
        nothing = isinstance(function, ast.Constant) and function.value is None
        several = len(lists) > 1 or any(isinstance(each, ast.Starred) for each in lists)
        made = self.all(lists)
        if not several:
            called = made[0] if nothing else _call(Own(Worker("map"), calls=True), self.visit(function), *made)
            return _listed(called)
        rows = _call(Own(Worker("zip_longest")), *made)
        if nothing:
            return _listed(rows)
        return _listed(_call(Own(_STARMAP, calls=True), self.visit(function), rows))

    # Operators and parts

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Div):
            return _call(Own(python2_values.divide), left, right)
        if isinstance(node.op, ast.Mod):
            return _call(Own(python2_values.modulo, "weighed"), left, right)
        return ast.BinOp(left, node.op, right)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        given = self.type_of(node.left)
        if given is None or len(node.ops) > 1 or not isinstance(node.ops[0], _SAME):
            return self.generic_visit(node)  # type: ignore[return-value]
        other = self.type_of(node.comparators[0])
        if other is not None:
            names: list[ast.expr] = [_call(Own(python2_values.type_name), each) for each in (given, other)]
            same = ast.Eq() if isinstance(node.ops[0], (ast.Eq, ast.Is)) else ast.NotEq()
            return ast.Compare(names[0], [same], names[1:])
        kinds = ast.copy_location(Kinds(self.types(node.comparators[0])), node.comparators[0])
        found = _call(Own(python2_values.exactly), given, kinds)
        return ast.UnaryOp(ast.Not(), found) if isinstance(node.ops[0], (ast.NotEq, ast.IsNot, ast.NotIn)) else found

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        owner = node.value
        if self.is_imported(node):
            return self.inside(node)
        if self.method(owner) == "encode" and isinstance(owner, ast.Call) and not owner.keywords:
            assert isinstance(owner.func, ast.Attribute)
            place = self.visit(node.slice)
            if isinstance(place, ast.Slice):
                parts = (part or ast.Constant(None) for part in (place.lower, place.upper, place.step))
                place = _call(Own(BUILTINS["slice"]), *parts)
            coding = ast.Tuple(self.all(owner.args), ast.Load())
            return _call(Own(python2_values.part_of_encoded), self.visit(owner.func.value), coding, place)
        return ast.Subscript(self.visit(owner), self.visit(node.slice), node.ctx)


_SAME = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)

_VIEWS = frozenset(f"{how}{what}" for how in ("iter", "view") for what in ("items", "keys", "values"))


class Kinds(ast.expr):
    """Types, where no function is meant."""

    _fields = ("types",)
    _attributes = ("lineno", "col_offset", "end_lineno", "end_col_offset")

    def __init__(self, types: ast.expr) -> None:
        super().__init__()
        self.types = types
