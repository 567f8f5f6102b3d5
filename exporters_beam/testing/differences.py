"""How what comes out differs from what is expected, as lines for people: `-` what is expected, `+` what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from exporters_beam.testing.written import known_by, line, same

AROUND = 2
"""So many records that are the same are shown before and behind one that is not."""

WIDE = 100
"""A record that takes more characters is compared field by field."""


def of_records(expected: Sequence[Any], found: Sequence[Any]) -> list[str]:
    """The difference of two lists of records, which are values of `as_json`; nothing where they are the same."""
    known, others = [*map(known_by, expected)], [*map(known_by, found)]
    if known == others:
        return []
    lines: list[str] = []
    blocks = SequenceMatcher(None, known, others, autojunk=False).get_opcodes()
    for at, (kind, a, b, c, d) in enumerate(blocks):
        if kind == "equal":
            lines += _around([f"  {line(each)}" for each in expected[a:b]], at > 0, at + 1 < len(blocks))
            continue
        pairs = min(b - a, d - c)
        for n in range(pairs):
            lines += _of_pair(expected[a + n], found[c + n], c + n)
        lines += [f"- {line(each)}" for each in expected[a + pairs : b]]
        lines += [f"+ {line(each)}" for each in found[c + pairs : d]]
    return lines


def of_texts(expected: str, found: str) -> list[str]:
    """The difference of two texts, line by line; nothing where they are the same."""
    if expected == found:
        return []
    old, new = expected.splitlines(keepends=True), found.splitlines(keepends=True)
    lines: list[str] = []
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for at, (kind, a, b, c, d) in enumerate(blocks):
        if kind == "equal":
            lines += _around([f"  {_bare(each)}" for each in old[a:b]], at > 0, at + 1 < len(blocks))
        else:
            told = [("-", each) for each in old[a:b]] + [("+", each) for each in new[c:d]]
            bare = {_bare(each) for each in old[a:b]} & {_bare(each) for each in new[c:d]}
            lines += [f"{sign} {repr(each) if _bare(each) in bare else _bare(each)}" for sign, each in told]
    return lines


def _around(lines: list[str], behind: bool, before: bool) -> list[str]:
    """What is the same between differences, without what is far from both."""
    head, tail = AROUND if behind else 0, AROUND if before else 0
    if len(lines) <= head + tail + 1:
        return lines
    left = len(lines) - head - tail
    return [*lines[:head], f"  … {left:,} more that are as expected", *(lines[-tail:] if tail else ())]


def _of_pair(expected: Any, found: Any, at: int) -> Iterator[str]:
    texts = line(expected), line(found)
    if max(map(len, texts)) <= WIDE or not (isinstance(expected, dict) and isinstance(found, dict)):
        yield f"- {texts[0]}"
        yield f"+ {texts[1]}"
        return
    yield f"  record {at + 1}, {texts[1][:WIDE]}…:"
    yield from _of_fields(expected, found, "")


def _of_fields(expected: dict[str, Any], found: dict[str, Any], before: str) -> Iterator[str]:
    for name in {**expected, **found}:
        if name in expected and name in found:
            one, other = expected[name], found[name]
            if same(one, other):
                continue
            if isinstance(one, dict) and isinstance(other, dict):
                yield from _of_fields(one, other, f"{before}{name}.")
                continue
        if name in expected:
            yield f"-   {before}{name}: {line(expected[name])}"
        if name in found:
            yield f"+   {before}{name}: {line(found[name])}"


def _bare(text: str) -> str:
    return text.rstrip("\r\n")
