"""What is told of expressions that are wrong: where, and what to write instead."""

from __future__ import annotations

import ast
import re
from typing import Any, NoReturn

from exporters_beam.components.secret import hide
from exporters_beam.components.words import shortened
from exporters_beam.errors import ConfigError, RecordError


class InvalidExpression(ConfigError):
    """The text is not an expression, or one that is not allowed. The message says where and what to write instead."""


_ASSIGNMENT = "an assignment is not an expression; write item.update({'field': value}) to set a field"
STATEMENTS: dict[type, str] = {
    **dict.fromkeys((ast.Assign, ast.AugAssign, ast.AnnAssign), _ASSIGNMENT),
    ast.Delete: "del is not an expression; write item.pop('field', None)",
    **dict.fromkeys((ast.Import, ast.ImportFrom), "import is not an expression; the filter pythonexp has an option imports"),
}

NODES = {
    "Lambda": "lambda is not allowed; write a comprehension, or use a function of your own (name: python)",
    "NamedExpr": "the assignment := is not allowed; write the value twice",
    "Await": "await is not allowed",
    "Yield": "yield is not allowed",
    "YieldFrom": "yield is not allowed",
}


def refuse(source: str, node: Any, message: str) -> NoReturn:
    raise InvalidExpression(f"{_place(source, node.lineno, node.col_offset)}: {message}")


def _place(source: str, line: int, offset: int) -> str:
    """Line and column, from 1, of a position in bytes."""
    lines = source.encode("utf-8", "surrogatepass").split(b"\n")
    before = lines[line - 1][:offset] if line <= len(lines) else b""
    return f"line {line}, column {len(before.decode('utf-8', 'replace')) + 1}"


def syntax_error(source: str, error: SyntaxError) -> InvalidExpression:
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


PYTHON_2 = {
    "unicode": "str",
    "basestring": "str",
    "long": "int",
    "unichr": "chr",
    "xrange": "range",
    "reduce": "sum, min, max or math.prod",
    "cmp": "<, == or >",
    "raw_input": "item",
}
PYTHON_2_METHODS = {
    "has_key": "'key' in item",
    **{f"{how}{what}": f"{what}()" for how in ("iter", "view") for what in ("items", "keys", "values")},
    **{f"i{name}": name for name in ("map", "filter", "zip")},
    "ifilterfalse": "itertools.filterfalse",
    "izip_longest": "itertools.zip_longest",
}
INSTEAD = {
    "getattr": "item['field'] or item.get('field')",
    "hasattr": "'field' in item",
    "setattr": "item.update({'field': value})",
    "type": "isinstance(value, str)",
}
OWN = "use a function of your own for that (name: python)"


# What goes wrong on a record

_HINTS = (
    (r"['\"]dict_\w+['\"]", "in Python 3 items(), keys() and values() give no lists; write list(item.items()) + …"),
    (r"'iterator' object", "in Python 3 map, filter and zip give no lists; write list(…)"),
    (r"'str' object has no attribute 'decode'", "in Python 3 texts are decoded already; leave .decode(…) out"),
    (r"not supported between instances", "Python 3 does not order values of different types; test for None first"),
)


def failure(source: str, error: Exception) -> RecordError:
    text = str(error)
    if not isinstance(error, RecordError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    hint = next((f"; {hint}" for pattern, hint in _HINTS if re.search(pattern, text)), "")
    return RecordError(f"{_cut(hide(text))} in {_cut(hide(source))}{hint}")


def _cut(text: str) -> str:
    return shortened(" ".join(text.split()), 200)
