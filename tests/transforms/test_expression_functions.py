"""Functions that expressions have beside those of Python."""

from __future__ import annotations

import re
from typing import Any

import pytest

from exporters_beam.components.secret import Secret, reveal
from exporters_beam.errors import RecordError
from exporters_beam.transforms.expressions.compile import compile_expression
from exporters_beam.transforms.mappers import PythonexpTransform


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("slugify(' Crème brûlée, 2 × Ærø! ')", "creme-brulee-2-aero"), ("slugify('Łódź — ĳ ﬁ')", "lodz-ij-fi"),
        ("slugify('西班牙')", ""), ("slugify('--A_b--')", "a-b"), ("slugify('ẞ İ')", "ss-i"),
        ("sha256(1) == sha256('1')", True), ("sha256(None)", None), ("hmac_sha256(None, 'k')", None),
        ("sha256({'b': 1, 'a': 2}) == sha256('{\"a\":2,\"b\":1}')", True),
        ("hmac_sha256('x', 'key')[:8]", "4fc3b7ea"), ("str(parse_date('2026-01-31'))", "2026-01-31"),
        ("parse_date('31/12/2025 9:30', '%d/%m/%Y %H:%M', zone='Europe/Copenhagen').hour", 8),
        ("parse_date('2026-01-31T01:00+02:00').isoformat()", "2026-01-30T23:00:00+00:00"),
        ("[slugify(each) for each in ['A b', 'c']]", ["a-b", "c"]), ("list(map(sha256, [None]))", [None]),
    ],
)  # fmt: skip
def test_functions_of_our_own(source: str, expected: Any) -> None:
    assert compile_expression(source).evaluate({}) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("parse_date('x')", "x is not a date of the format iso"), ("parse_date('1', 'x')", "'x' is not a format"),
        ("parse_date(1)", "parse_date takes texts, not int"),
        ("parse_date('2026-01-31', zone='Mars')", "there is no time zone"),
        ("parse_date('2026-03-29T02:30', zone='Europe/Copenhagen')", "there is no 02:30 on that day"),
        ("slugify(1)", "slugify takes a text, not int"),
        ("slugify('a' * 200000)", "a slug is made of 100,000 characters at most"),
        ("sha256('\\ud800')", "half of a character"), ("hmac_sha256('a', '')", "the key of hmac_sha256 is a text"),
        ("parse_date('1' * 2000)", "a date or its format has 2,000 characters"), ("sha256({1})", "a set cannot be hashed"),
    ],
)  # fmt: skip
def test_functions_of_our_own_say_what_is_wrong(source: str, message: str) -> None:
    with pytest.raises(RecordError, match=re.escape(message)):
        compile_expression(source).evaluate({})


def test_the_key_of_a_hash_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASH_KEY", "a long and secret key" * 20)
    source = "item.update(a=hmac_sha256(item['a'], '${secret:env:HASH_KEY}'))"
    transform = reveal(PythonexpTransform(python_expressions=(Secret(source),)))
    expected = compile_expression("hmac_sha256('x', item['key'])").evaluate({"key": "a long and secret key" * 20})
    assert transform.map({"a": "x"}) == {"a": expected}
    with pytest.raises(RecordError) as error:
        transform.map({})
    assert "${secret:env:HASH_KEY}" in str(error.value) and "secret key" not in str(error.value)
