"""The page docs/expressions.md: its examples are allowed, and its lists are those of the code."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.errors import RecordError
from exporters_beam.transforms.expressions import guards, work
from exporters_beam.transforms.expressions.compile import InvalidExpression, compile_expression

PAGE = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text(encoding="utf-8")

ITEM: dict[str, Any] = {
    "country": "ES", "currency": "EUR", "name": "n" * 30, "price": 12, "sku": "k1", "stock": 2, "secret": 1, "a": 1, "b": 2,
    "city": "roma", "id": "x", "text": "a  b", "day": "2024-02-29", "when": "2024-02-29T01:02:03", "tags": ["A", ""],
    "lines": [{"price": 2, "count": 3}], "lists": [[1], [2]], "prices": [3, 4], "seller": {"town": " leeds "},
}  # fmt: skip


def examples() -> list[str]:
    """Every line of the page's `python expression` blocks, without its comment."""
    blocks = re.findall(r"^```python expression\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def listed(heading: str) -> set[str]:
    """The names in backquotes of a section of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return {name for text in re.findall(r"`([^`]+)`", section) for name in text.split()}


def test_there_are_examples() -> None:
    assert len(examples()) > 20


@pytest.mark.parametrize("source", examples())
def test_each_example_is_allowed_and_works(source: str) -> None:
    compile_expression(source).evaluate(copy.deepcopy(ITEM))


def test_every_built_in_function_is_listed_and_allowed() -> None:
    assert listed("Built-in functions") == set(guards.BUILTINS)
    for name in listed("Built-in functions"):
        compile_expression(f"[{name}]")


def test_everything_of_modules_is_listed_and_allowed() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE))
    newer = {"datetime.UTC", "math.cbrt", "math.exp2"}  # from Python 3.11 on
    assert set(rows) == set(guards.MODULES)
    for module, names in rows.items():
        found = {name for name in names.split() if f"{module}.{name}" not in newer}
        assert found == {name for name in guards.MODULES[module] if f"{module}.{name}" not in newer}
        for name in found:
            compile_expression(f"[{module}.{name}]")


def test_every_method_and_attribute_is_listed_and_allowed() -> None:
    assert listed("Methods") == guards.METHODS
    assert listed("Attributes") == guards.PROPERTIES
    for name in guards.METHODS - {"format"}:
        compile_expression(f"[item['a'].{name}]")
    for name in guards.PROPERTIES:
        compile_expression(f"item['a'].{name}")


def test_the_limits_are_those_of_the_code() -> None:
    section = PAGE.partition("\n## Limits\n")[2]
    for limit in (work.STEPS, work.ELEMENTS, guards.CHARACTERS, guards.BITS, guards.WIDTH):
        assert f"| {limit:,} |" in section


PYTHON_2 = ["item.has_key('a')", "item.iteritems()", "unicode('x')", "unichr(1)", "long(1)", "10L", "xrange(3)",
            "isinstance(1, basestring)", "itertools.imap(str, item)", "itertools.ifilter(None, item)", "cmp(1, 2)",
            "itertools.izip(item, item)", "1 <> 2", "`item`", "ur'x'", "reduce(max, item)", "item.viewitems()",
            "getattr(item, 'a')", "type(item)", "open('x')", "eval('1')", "__import__('os')"]  # fmt: skip


@pytest.mark.parametrize("source", PYTHON_2)
def test_what_the_page_says_has_to_change_is_refused(source: str) -> None:
    with pytest.raises(InvalidExpression):
        compile_expression(source)


@pytest.mark.parametrize(
    "source",
    ["item.items() + [('k', 1)]", "map(str, item['l'])[0]", "item['a'].decode('utf-8')", "None < 1", "'a' > 1"],
)
def test_what_the_page_says_fails_is_an_error_of_the_record(source: str) -> None:
    with pytest.raises(RecordError):
        compile_expression(source).evaluate({"a": "é", "l": [1]})


def test_what_the_page_says_changes_in_silence() -> None:
    values = compile_expression("7 / 2, 7 // 2, round(2.5), isinstance(item['a'], str)").evaluate({"a": "é"})
    assert values == (3.5, 3, 2, True)


@pytest.mark.parametrize(
    "source",
    ["item.__ｃlass__", "__ｉmport__('os')", "ｏpen('/etc/passwd')", "item.keys().mapping", "iter(*[str, ''])",
     "(str if item else int).format('{0.__class__}', item)", "[f for f in ['{0.__class__}'.format]][0](item)",
     "[s.format(item) for s in ['{0.__class__}']]", "sorted(item, key=eval)", "list(map(__import__, ['os']))",
     "re.compile('a').sub(str.upper, 'a')", "random.Random().setstate(1)", "calendar.TextCalendar().prmonth(2024, 1)"],
)  # fmt: skip
def test_roundabout_ways_lead_nowhere(source: str) -> None:
    item = {"a": "x"}
    with pytest.raises((InvalidExpression, RecordError)):
        compile_expression(source).evaluate(item)
    assert item == {"a": "x"}
