"""What expressions may be written in. What stands for Python 2 is imported only where an expression is written in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from exporters_beam.components.options import option

DIALECTS = PYTHON_3, PYTHON_2 = ("python3", "python2")
"""Dialects of expressions, and of regular expressions."""

DIALECT: Any = option(
    "what the expressions are written in: python3; or python2, as in exporters 0.6.18",
    default=PYTHON_3,
    choices=DIALECTS,
)

DIALECT_OF_PATTERNS: Any = option(
    "how regular expressions are read: python3; or python2, as in exporters 0.6.18: letters and digits are those of ASCII",
    default=PYTHON_3,
    choices=DIALECTS,
)


def as_read(sources: Iterable[str], dialect: str) -> tuple[str, ...]:
    """Expressions in the spelling of Python 3, to be looked at."""
    if dialect != PYTHON_2:
        return tuple(sources)
    from exporters_beam.transforms.expressions.python2 import spelled

    return tuple(map(spelled, sources))
