"""What is claimed of an expression holds: it looks at these fields alone, changes nothing, or adds these fields alone."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.expressions.compile import compile_expression
from exporters_beam.transforms.expressions.reads import fields_added, fields_read
from exporters_beam.transforms.mappers import PythonexpTransform

from examples import at_least

ATOMS = [
    "item['a']",
    "item['b']",
    "item['l']",
    "item['d']",
    "item['m']",
    "item['l'][0]",
    "item['d']['x']",
    "item['m'][0]",
    "item.get('a')",
    "item.get('l', [])",
    "item.get('z', item['b'])",
    "'a' in item",
    "'z' not in item",
    "1",
    "'x'",
    "[]",
    "{}",
    "None",
    "item",
]
TEMPLATES = [
    "{x} + {y}",
    "[{x}, {y}]",
    "({x}, {y})",
    "{x} == {y}",
    "{x} is {y}",
    "{x} is None",
    "{x} in {y}",
    "{x} if {y} else {x}",
    "{x} or {y}",
    "not {x}",
    "len({x})",
    "str({x})",
    "f'{{{x}}}'",
    "sorted({x})",
    "list({x})",
    "dict({x})",
    "set({x})",
    "list(reversed({x}))",
    "[*{x}, {y}]",
    "{{**{x}, 'k': {y}}}",
    "max([{x}], key=len)",
    "sum([{x}], [])",
    "sum([{x}], {y})",
    "next(iter({x}))",
    "{x}.append({y})",
    "{x}.extend({y})",
    "{x}.insert(0, {y})",
    "{x}.pop()",
    "{x}.pop('x', 0)",
    "{x}.popitem()",
    "{x}.sort()",
    "{x}.reverse()",
    "{x}.remove({y})",
    "{x}.clear()",
    "{x}.update(q={y})",
    "{x}.update({y})",
    "{x}.setdefault('q', {y})",
    "{x}.copy().append(1)",
    "{x}.copy()",
    "{x}.get('x')",
    "{x}.items()",
    "list({x}.values())",
    "set({x}).add(1)",
    "set({x}).union({y})",
    "{x}.upper()",
    "{x}.index({y})",
    "random.shuffle({x})",
    "random.Random(1).shuffle({x})",
    "random.sample({x}, 1)",
    "random.choice({x})",
    "list(map(random.shuffle, [{x}]))",
    "list(map({x}.append, [{y}]))",
    "list(map(list.sort, [{x}]))",
    "list.append({x}, {y})",
    "dict.update({x}, {y})",
    "dict.clear({x})",
    "[e for e in {x}]",
    "[e.append(1) for e in [{x}]]",
    "[e.sort() for e in {x}]",
    "[e for e in [{x}] if e.pop()]",
    "[random.shuffle(e) for e in {x}]",
    "{{k: v for k, v in {x}.items()}}",
    "[item for item in [{x}]]",
    "[item['a'] for item in {x}]",
    "[i['a'] for i in [{x}]]",
    "sorted({x}, key=str)",
    "list(filter({x}.remove, [{y}]))",
    "any(e.clear() for e in [{x}])",
    "list(zip({x}, {y}))",
    "list(itertools.chain({x}, {y}))",
    "list(itertools.chain.from_iterable([{x}, {y}]))",
    "list(itertools.starmap(list.append, [[{x}, {y}]]))",
    "list(itertools.accumulate([{x}, {y}], list.extend))",
    "item[{x}]",
    "item.get({x})",
    "item.get('a', {x})",
    "item.pop('a')",
    "item.pop({x}, 0)",
    "item.update(a={x})",
    "item.update(n={x})",
    "item.setdefault('n', {x})",
    "dict(item, n={x})",
    "'{{}}'.format({x})",
    "'%s' % ({x},)",
    "'-'.join(map(str, {x}))",
    "{x}[0]",
    "{x}['x']",
    "{x}[:1]",
    "hash({x})",
    "repr({x})",
    "{x}.__class__",
    "(lambda: {x})()",
    "(y := {x})",
    "isinstance({x}, list)",
    "print({x})",
    "{x}.sort(key={y}.append)",
    "sorted([3], key={x}.append)",
    "min([1], [2], key={x}.append)",
    "list(enumerate({x}))",
    "bool({x}) and {y}.append(1)",
    "dict.fromkeys({x}, {y})",
    "dict.setdefault({x}, 'x', {y})",
    "set.add(set({x}), 1)",
]

expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.builds(lambda template, x, y: template.format(x=x, y=y), st.sampled_from(TEMPLATES), inner, inner),
    max_leaves=5,
)
scalars = st.sampled_from([0, 1, 2.5, "x", "", None, True])
records = st.fixed_dictionaries(
    {
        "a": scalars, "b": scalars | st.lists(scalars, max_size=3),
        "l": st.lists(scalars | st.lists(scalars, max_size=2), max_size=3),
        "d": st.dictionaries(st.sampled_from("xyq"), scalars | st.lists(scalars, max_size=2), max_size=2),
        "m": st.lists(st.dictionaries(st.sampled_from("xa"), scalars, max_size=2), max_size=2),
    },
    optional={"z": scalars},
)  # fmt: skip
RECORD = {"a": 1, "b": [3, 1, 2], "l": [[2, 1], 3], "d": {"x": [2, 1]}, "m": [{"x": 1}], "z": 5}


def told(work: Any, record: dict[str, Any]) -> str:
    random.seed(1)
    try:
        return repr(work(record))
    except RecordError as error:
        return str(error)


@settings(max_examples=at_least(500), deadline=None)
@example("random.shuffle(item['l'])", RECORD)
@example("[e.sort() for e in item['l']]", RECORD)
@example("list(map(random.shuffle, item['l']))", RECORD)
@given(expressions, records)
def test_an_expression_looks_at_what_is_claimed_and_changes_nothing(source: str, record: dict[str, Any]) -> None:
    reads = fields_read(source)
    if reads is None:
        return
    try:
        expression = compile_expression(source)
    except ConfigError:
        return
    if expression.chance is not None:
        return  # Of what draws at random components claim nothing.
    evaluate = expression.evaluate
    whole, part = copy.deepcopy(record), {name: value for name, value in copy.deepcopy(record).items() if name in reads}
    expected = told(evaluate, whole)
    assert repr(whole) == repr(record), "it changes the record"
    assert told(evaluate, part) == expected, "it looks at more"


ADDING = ["item.update(n={x})", "item.update({{'n': {x}, 'k': {y}}})", "item.update(n={x}, **{y})", "item.update({x})",
          "item.update({{'n': {x}}}, a={y})", "item.update(n={x}) or item.update(k={y})", "item.update(n=item.update(k={x}))",
          "item.update([('n', {x})])", "item.update({{{x}: 1}})"]  # fmt: skip
adding = st.builds(lambda template, x, y: template.format(x=x, y=y), st.sampled_from(ADDING), expressions, expressions)


@settings(max_examples=at_least(300), deadline=None)
@given(st.lists(adding, min_size=1, max_size=2), records)
def test_expressions_add_what_is_claimed_and_do_nothing_else(sources: list[str], record: dict[str, Any]) -> None:
    claimed = fields_added(*sources)
    if claimed is None:
        return
    try:
        transform = PythonexpTransform(python_expressions=tuple(sources))
    except ConfigError:
        return
    if transform.chances:
        return
    reads, adds = claimed
    whole, part = copy.deepcopy(record), {name: value for name, value in copy.deepcopy(record).items() if name in reads}
    random.seed(1)
    try:
        transform.map(whole)
    except RecordError as error:
        assert told(transform.map, part) == str(error)
        return
    random.seed(1)
    transform.map(part)
    others = {name: value for name, value in record.items() if name not in adds}
    assert repr({name: value for name, value in whole.items() if name not in adds}) == repr(others)
    assert [repr(whole[name]) for name in adds] == [repr(part[name]) for name in adds]
    assert set(adds) <= whole.keys()


@pytest.mark.parametrize(
    "source",
    [
        "random.shuffle(item['l'])", "list(map(random.shuffle, item['l']))", "random.Random(7).shuffle(item['l'])",
        "item['l'].sort() or item['l']", "[e.update(x=1) for e in item['m']]", "list(map(item['l'].append, [1]))",
        "sorted([1], key=item['l'].append)", "item['d'].setdefault('q', 1)", "item['a'] is item['b']", "item['l'].unheard_of()",
    ],
)  # fmt: skip
def test_nothing_is_claimed_of_what_changes_a_record(source: str) -> None:
    assert fields_read(source) is None
    assert fields_added(f"item.update(n={source})") is None
