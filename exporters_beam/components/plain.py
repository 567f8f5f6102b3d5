"""Texts of a config that YAML may read as something else."""

from __future__ import annotations

import math
import re
from typing import Any


class Plain(str):
    """A text that stands in YAML without quotes and that one version of YAML reads as something else, which is `meant`.

    >>> Plain("NO", False), Plain("NO", False).meant
    ('NO', False)
    """

    __slots__ = ("meant",)

    meant: Any

    def __new__(cls, text: str, meant: object = None) -> Plain:
        made = super().__new__(cls, text)
        made.meant = meant
        return made

    @property
    def number(self) -> int | float | None:
        """The number that it may be read as."""
        found = self.meant
        return found if isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found) else None

    @property
    def two_numbers(self) -> bool:
        """Whether people may read another number than YAML 1.1: `010` is 8 there, and `1:30` is 90."""
        return self.number is not None and (":" in self or bool(re.match(r"[-+]?0[0-9_]", self)))


def plain(value: object) -> Any:
    """A value whose texts are no more than texts."""
    if isinstance(value, Plain):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    return [plain(member) for member in value] if isinstance(value, list) else value
