"""What a text with values between delimiters is written like: its delimiter, its quotes, whether its first row has names."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Those that are tried, and what they are called."""

LOOK = 64 * 1024
"""Characters that are looked at, or more where a line is longer."""

ROWS = 500

BEFORE = 10
"""Lines that may stand before the first row: titles, `sep=;`."""

Rows = list[tuple[int, list[str]]]

_VALUE = re.compile(r"\s*(?:[-+]?\d[\d.,:/T+Z \-]*(?:e[-+]?\d+)?|true|false|null|nan|n/a)\s*\Z", re.IGNORECASE)
"""What stands in a row of values rather than in one of names."""


@dataclass(frozen=True)
class Dialect:
    """How rows are written. `names` are those of the columns; without a header they are made up."""

    delimiter: str
    quotechar: str
    header: bool
    names: tuple[str, ...]
    even: float
    """The share of rows that have as many values as most have."""
    sure: bool
    """Whether the first row differs from the others in more than its words."""
    before: int = 0
    """Lines before the first row that are no rows."""


def dialect_of(text: str, ended: bool, named: bool) -> Dialect | None:
    """How rows of a text are written; None where no delimiter cuts them alike.

    `ended`: whether the text is all there is, `named`: whether the file's name says that it holds rows.
    """
    text = text.lstrip("\ufeff")
    cut = max(LOOK, text.find("\n") + 1, text.find("\r") + 1)
    if len(text) > cut:
        text, ended = text[:cut], False
    told = re.match("sep=(.)\r?\n", text)  # as spreadsheets write it
    text = text[told.end() :] if told else text
    quote = _quote(text)
    best: tuple[float, str, Rows] | None = None
    for delimiter in told.group(1) if told else DELIMITERS:
        rows = _rows(text, delimiter, quote, ended)
        if not rows:
            continue
        width, even = _width(rows)
        if (
            width > 1
            and (even >= 0.6 or (named and len(rows[0][1]) == width))
            and (best is None or _score(width, even) > best[0])
        ):
            best = _score(width, even), delimiter, rows
    if best is None:
        rows = _rows(text, ",", quote, ended)
        if not named or not rows or _width(rows)[0] != 1:
            return None
        best = 0.0, ",", rows
    _, delimiter, found = best
    width, even = _width(found)
    first = next(n for n, (_, row) in enumerate(found) if len(row) == width)
    before = found[first - 1][0] if 0 < first <= BEFORE and all(len(row) == 1 for _, row in found[:first]) else 0
    plain = [row for _, row in (found[first:] if before else found)]
    header, sure = _has_header(plain)
    names = tuple(plain[0]) if header else tuple(f"column_{n + 1}" for n in range(width))
    return Dialect(delimiter, quote, header, names, even, sure, before + bool(told))


def _score(width: int, even: float) -> float:
    """Rows that are all alike count more than many values."""
    return round(even, 2) * 1000 + min(width, 500)


def _quote(text: str) -> str:
    """Single quotes where values begin and end with them, and none with double ones."""
    single = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n]|\Z)", text, re.MULTILINE))
    double = len(re.findall(r'(?:^|[,;\t|])"', text, re.MULTILINE))
    return "'" if single > 1 and not double else '"'


def _rows(text: str, delimiter: str, quote: str, ended: bool) -> Rows:
    """The rows that are there whole, each with the number of its last line. It is to guess by; records are read otherwise."""
    found: Rows = []
    csv.field_size_limit(1 << 30)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote)
        for row in reader:
            if row:
                found.append((reader.line_num, row))
            if len(found) > ROWS:
                break
    except csv.Error:
        pass
    if len(found) > 1 and not ended and len(found) <= ROWS:
        del found[-1]
    return found


def _width(rows: Rows) -> tuple[int, float]:
    """How many values most rows have, and the share of rows that do."""
    width, often = Counter(len(row) for _, row in rows).most_common(1)[0]
    return width, often / len(rows)


def _has_header(rows: list[list[str]]) -> tuple[bool, bool]:
    """(whether the first row has names, whether that is sure)."""
    first, others = rows[0], rows[1:]
    if any(_VALUE.match(name) for name in first) or sum(not name.strip() for name in first) > 1:
        return False, True
    if not others:
        return True, False
    typed = [
        n for n in range(len(first)) if all(_VALUE.match(row[n]) for row in others if len(row) > n and row[n])
        and any(len(row) > n and row[n] for row in others)
    ]  # fmt: skip
    if typed:
        return True, True
    if len(set(first)) < len(first):
        return False, False
    again = sum(1 for n, name in enumerate(first) if any(len(row) > n and row[n] == name for row in others))
    return again * 2 <= len(first), False
