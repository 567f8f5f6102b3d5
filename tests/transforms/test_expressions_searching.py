"""Methods that take quadratic time with unusual arguments: those are refused, the usual ones are what they were."""

from __future__ import annotations

import time
from typing import Any

import pytest

from exporters_beam.errors import RecordError
from exporters_beam.transforms.expressions.compile import compile_expression


@pytest.mark.parametrize(
    "source",
    [
        "('a'*10**7).rfind('a'*10**6 + 'b' + 'a'*10**6)",
        "('a'*10**7).rindex('a'*10**6 + 'b' + 'a'*10**6)",
        "('a'*10**7).rsplit('a'*10**6 + 'b' + 'a'*10**6)",
        "('a'*10**7).rsplit(sep='a'*10**6 + 'b' + 'a'*10**6)",
        "('a'*10**7).rpartition('a'*10**6 + 'b' + 'a'*10**6)",
        "('a'*10**7).strip('b'*10**7 + 'a')",
        "(b'a'*10**7).lstrip(b'b'*10**7 + b'a')",
        "str.rstrip('a'*10**7, 'b'*10**7 + 'a')",
        "list(map(('a'*10**7).strip, ['b'*10**7 + 'a']))",
        "list(map(str.strip, ['a'*10**7], ['b'*10**7 + 'a']))",
        "(b'a'*10**6 + b'-' + b'b'*10**6).decode('punycode')",
        "(b'a'*10**6 + b'-' + b'b'*10**6).decode(encoding='Punycode')",
        "('é'*10**6).encode('puny' + 'code')",
    ],
)
def test_searching_for_much_in_much_ends_soon(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(RecordError, match=r"takes (too long|more than)"):
        compile_expression(source).evaluate({})
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("item['t'].strip() + item['t'].strip(' a') + item['t'].lstrip(item['s']) + item['t'].rstrip()", "a-b-ba-b  a-b"),
        ("str.strip(item['t']), str.strip('xax', 'x')", ("a-b", "a")),
        ("item['t'].rsplit('-', 1), 'a b c'.rsplit(maxsplit=1), 'a-b-c'.rsplit(sep='-', maxsplit=1)",
         ([" a", "b "], ["a b", "c"], ["a-b", "c"])),
        ("item['t'].rfind('b'), item['t'].rfind('a', 2), item['t'].rindex('b', 0, 9), 'a-b-c'.rpartition('-')",
         (3, -1, 3, ("a-b", "-", "c"))),
        ("[x.strip() for x in item['t'].split('-')], list(map(str.strip, [' a', 'b ']))", (["a", "b"], ["a", "b"])),
        ("'é'.encode(), 'é'.encode('latin-1'), 'é'.encode('ascii', 'replace'), b'x'.decode(), 'é'.encode('idna')",
         (b"\xc3\xa9", b"\xe9", b"?", "x", b"xn--9ca")),
        ("'é'.encode(encoding='ascii', errors='ignore'), list(map(str.encode, ['é']))", (b"", [b"\xc3\xa9"])),
    ],
)  # fmt: skip
def test_the_usual_ways_give_what_python_gives(source: str, expected: Any) -> None:
    item = {"t": " a-b ", "s": " "}
    assert compile_expression(source).evaluate(item) == expected == eval(source, {"item": item})


@pytest.mark.parametrize("source", ["len(item['t'].strip('-'))", "len(item['t'].rsplit(item['s'])[0])"])
def test_large_texts_of_records_are_searched(source: str) -> None:
    item = {"t": "-" + "a" * 10**6 + "-", "s": "-" * 64}
    assert compile_expression(source).evaluate(item) >= 10**6
