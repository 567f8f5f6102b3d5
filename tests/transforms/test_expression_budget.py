"""No expression ends the interpreter, fills the memory or runs for long: it ends with an error of the record."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

from exporters_beam.errors import RecordError
from exporters_beam.transforms.expressions import patterns, values
from exporters_beam.transforms.expressions.compile import compile_expression
from exporters_beam.transforms.expressions.values import TooMuch, weigh

CHILD = """
import functools, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2_500 << 20, 2_500 << 20))
from exporters_beam.transforms.expressions.compile import InvalidExpression, compile_expression
from exporters_beam.errors import RecordError

def say(what, started, source):
    short = source[:300].encode("ascii", "replace").decode()
    print(what, round(time.process_time() - started, 2), short, sep="\\t", flush=True)

for source in sys.stdin.read().split("\\0"):
    started = time.process_time()
    try:
        expression = compile_expression(source)
    except InvalidExpression as error:
        say("refused", started, source)
        continue
    say("begun", started, source)
    deep = functools.reduce(lambda inner, _: [inner], range(400), [])
    item = {"x": (), "l": [], "t": "text", "n": 7, "d": {"a": 1}, "deep": deep, "s": "a" * 200_000}
    try:
        found = expression.evaluate(item)
        del found
        said = "gave"
    except RecordError as error:
        said = "error"
        assert not isinstance(error.__cause__, MemoryError), source
    say(said, started, source)
say("done", time.process_time(), "")
"""


def evaluated(*sources: str) -> list[tuple[str, float, str]]:
    """What a process of its own says of each: (gave, error or refused; seconds of CPU; the expression)."""
    child = subprocess.run([sys.executable, "-c", CHILD], input="\0".join(sources), capture_output=True, text=True, timeout=600)
    rows = [line.split("\t") for line in child.stdout.splitlines()]
    assert rows and rows[-1][0] == "done", f"{child.returncode}: {rows[-1:]} {child.stderr[-2000:]}"
    return [(row[0], float(row[1]), row[2]) for row in rows if row[0] in ("gave", "error", "refused")]


DOUBLED = " ".join(f"for {x} in [[{y}, {y}]]" for y, x in pairwise("abcdefghijklmnopq"))

ENDLESS = [
    "[item.update(x=enumerate(item['x'])) for i in range(200000)] and next(item['x'])",
    "[item.update(x=zip(item['x'])) for i in range(200000)] and list(item['x'])",
    "[item.update(x=itertools.islice(item['x'], 5)) for i in range(200000)] and 1",
    "[item.update(x=itertools.chain(item['x'], [1])) for i in range(200000)] and 1",
    "[item.update(x=map(str, item['x'])) for i in range(200000)] and 1",
    "[item.update(x=filter(None, item['x'])) for i in range(200000)] and 1",
    "[item.update(x=slice(item['x'], 1)) for i in range(300000)] and 1",
    "[item.update(x={'a': item['x'], 'b': item['x']}.values()) for i in range(60)] and str(item['x'])",
    "[item.update(x=reversed([item['x']])) for i in range(300000)] and 1",
    "[item.update(x=(y for y in item['x'])) for i in range(200000)] and list(item['x'])",
    "[item.update(x=iter(item['x'])) for i in range(200000)] and 1",
    "[item.update(x=itertools.groupby(item['x'])) for i in range(200000)] and 1",
    "[item.update(x=itertools.pairwise(item['x'])) for i in range(200000)] and 1",
    "[item.update(x=itertools.starmap(str, item['x'])) for i in range(200000)] and 1",
    "list(itertools.accumulate([[]] * 200000, zip))[-1]",
    "list(itertools.accumulate([[]] * 200000, itertools.zip_longest))[-1]",
    "list(itertools.accumulate([[]] * 200000, itertools.compress))[-1]",
    "[item.update(x=(item['x'],)) for i in range(200000)] and hash(item['x'])",
    "[item.update(x=(item['x'],)) for i in range(200000)] and {item['x']: 1}",
    "[item.update(x=(item['x'],)) for i in range(200000)] and {item['x']}",
    "[item['l'].append((tuple(item['l'][-1:]),)) for i in range(200000)] and item['d'].get(item['l'][-1])",
    "[item.update(x=frozenset([item['x']])) for i in range(200000)] and item['x'] == {1}",
    "[item.setdefault(str(i), (item.get(str(i - 1)),)) for i in range(200000)] and hash(item['199999'])",
    "[item.update(f=item['t'].replace if i == 0 else item['f'].replace) for i in range(200000)]",
]
"""Nesting of C code, which ends the process where nobody looks."""

LONG = [
    "re.compile('(a)' * 3000000)",
    "re.search('(a)' * 3000000, 'a')",
    "datetime.datetime.strptime('1' * 10**7, '%d')",
    "datetime.datetime.strptime('1', '%d' * 10**6)",
    "datetime.datetime(2024, 1, 1).strftime('%Y' * 10**6)",
    "datetime.datetime(2024, 1, 1).strftime('%999999999Y')",
    "f\"{datetime.datetime(2024, 1, 1):{'%Y' * 10**6}}\"",
    "random.gammavariate(float('nan'), 1)",
    "random.vonmisesvariate(0, float('nan'))",
    "random.Random(1).betavariate(float('nan'), float('nan'))",
    "re.search('(a+)+b', 'a' * 60)",
    "re.search('(a+)+$', 'a' * 60 + '!')",
    "re.compile(r'(\\w+\\s?)+$').match('a' * 60 + '!')",
    "re.sub(r'\\s+$', '', ' ' * 10**6 + 'x')",
    "[re.match('(a|aa)+$', t) for t in ['a' * 90 + 'b']]",
    "[item.update(x=[item['x'], item['x']]) for i in range(60)] and str(item['x'])",
    "[item.update(x=(item['x'], item['x'])) for i in range(60)] and item['x'] == item['x']",
    "[item.update(x={'a': item['x'], 'b': item['x']}) for i in range(60)] and repr(item['x'])",
    f"len(str([z for a in [item] {DOUBLED} for z in [q]]))",
    "[str(item) for i in range(10**6)]",
    "[item == dict(item, x=i) for i in range(10**6)]",
    "[item['s'].encode('punycode') for i in range(10)]",
    "[sorted(item['s']) for i in range(10**5)]",
]
"""What takes minutes, or for ever."""

HUGE = [
    "repr(repr(repr(repr(repr(repr('\\\\' * 10**7))))))",
    "ascii(ascii(ascii('\\U0001F600' * 10**6)))",
    "re.escape(re.escape(re.escape(re.escape('.' * 10**7))))",
    "('a' * 10**7).encode().hex().encode().hex().encode().hex()",
    "('é' * 10**6).encode().decode('latin-1').encode().decode('latin-1').encode().decode('latin-1').encode()",
    "('\\u00e9' * 10**6).encode('ascii', 'namereplace')",
    "('\\\\' * 10**7).encode('unicode_escape').decode('latin-1').encode('unicode_escape')",
    "('%9999d' * 10**6) % ((1,) * 10**6)",
    "('%(a)s' * 10**6) % {'a': 'b' * 10**6}",
    "'%s'.replace('s', 's' * 9) * 10**6 % (1,)",
    "f\"{'a' * 10**7:>9999}\" * 9",
    "'{:>9999}'.format(1) * 10**3",
    "'" + "{0}" * 3000 + "'.format('a' * 10**7)",
    'f"' + "{item['s'] * 40}" * 3000 + '"',
    "[" + ", ".join(["'a' * 10**7"] * 3000) + "]",
    "'+'.join([" + ", ".join(["item['s'] * 40"] * 500) + "])",
    "+".join(["item['s'] * 40"] * 1000)[:50_000],
    "[item.update(s=item['s'] + item['s']) for i in range(60)]",
    "[item['l'].extend(item['l'] + [1]) for i in range(60)]",
    "list(itertools.combinations([1], 10**9))",
    "list(itertools.permutations([1], 10**9))",
    "list(itertools.product(range(10**6), repeat=3))",
    "[[0] * 10**6 for i in range(10**4)]",
    "[bytes(10**7) for i in range(10**4)]",
    "{i: 'a' * 10**6 for i in range(10**5)}",
    "('a ' * 5 * 10**6).split()",
    "[chr(97) * 10**7 for i in range(100)]",
    "('a' * 10**6).replace('a', 'b' * 10**6)",
    "('a' * 10**6).translate({97: 'b' * 10**6})",
    "('\\t' * 10**6).expandtabs(10**6)",
    "'x'.ljust(10**10)",
    "'x'.zfill(10**10)",
    "2 ** 10**10",
    "1 << 10**10",
    "10 ** 10 ** 10",
    "range(10**10)[5] and list(range(10**10))",
    "int('f' * 10**7, 16)",
    "round(5, -10**10)",
    "math.factorial(10**7)",
    "math.comb(10**7, 10**6)",
]
"""What makes gigabytes."""


@pytest.mark.parametrize("kind", ["ENDLESS", "LONG", "HUGE"])
def test_hostile_expressions_end_soon_within_the_memory(kind: str) -> None:
    found = evaluated(*globals()[kind])
    assert len(found) == len(globals()[kind])
    slow = [row for row in found if row[1] > 15]
    assert not slow
    if kind == "ENDLESS":
        assert {said for said, _, _ in found} <= {"error", "refused", "gave"}


ATOMS = [
    "item",
    "item['s']",
    "item['deep']",
    "item['l']",
    "item['x']",
    "item['n']",
    "'a' * 10**6",
    "'\\\\' * 10**6",
    "[1] * 10**5",
    "10**2000",
    "1e308",
    "b'a' * 10**6",
    "{1, 'a', None}",
    "range(10**5)",
    "frozenset(range(1000))",
    "'é' * 10**5",
    "-0.5",
    "float('nan')",
    "None",
    "''",
    "[[]] * 1000",
    "'{}'",
    "'%s%s'",
    "'(a+)+b'",
    "('x', 1)",
    "{'a': [1, {'b': 2}]}",
]
CALLS = [
    "enumerate({})",
    "zip({}, {})",
    "list({})",
    "tuple({})",
    "set({})",
    "sorted({})",
    "str({})",
    "repr({})",
    "ascii({})",
    "len({})",
    "hash({})",
    "sum({})",
    "max({})",
    "reversed({})",
    "iter({})",
    "next(iter({}))",
    "map(str, {})",
    "filter(None, {})",
    "dict({})",
    "bytes({})",
    "int({})",
    "float({})",
    "round({})",
    "abs({})",
    "bin({})",
    "hex({})",
    "format({}, '>99')",
    "({} * 3)",
    "({} + {})",
    "({} % {})",
    "({} ** 2)",
    "({} << 9)",
    "({} - {})",
    "({} | {})",
    "({} == {})",
    "({} in {})",
    "({} < {})",
    "[y for y in {}]",
    "[{} for y in range(300)]",
    "{{y: {} for y in range(300)}}",
    "[(y, {}) for y in {}]",
    "[item.update(x={}) for y in range(3000)]",
    "[item['l'].append({}) for y in range(3000)]",
    "f'{{{}}}{{{}!r}}'",
    "'%s %r' % ({}, {})",
    "'{{}}'.format({})",
    "str({}).upper()",
    "str({}).encode('utf-16')",
    "str({}).split('a')",
    "str({}).replace('a', {})",
    "str({}).join({})",
    "str({}).ljust(500)",
    "re.escape(str({}))",
    "re.sub('a', 'bb', str({}))",
    "re.findall('a|b', str({}))",
    "re.search(str({}), str({}))",
    "itertools.chain({}, {})",
    "list(itertools.islice({}, 99))",
    "list(itertools.accumulate({}, {}))",
    "itertools.groupby({})",
    "list(itertools.accumulate({}, zip))",
    "itertools.chain.from_iterable({})",
    "list(itertools.product({}, {}))",
    "({})[:50]",
    "({}, {})",
    "[{}, {}]",
    "random.choice({})",
    "random.sample({}, 3)",
    "math.prod({})",
    "datetime.timedelta(days={})",
    "str({}).translate({{97: {}}})",
    "itertools.starmap(max, {})",
    "list(map(len, {}))",
    "max({}, key=str)",
]


def composed(chance: random.Random, depth: int) -> str:
    if not depth or chance.random() < 0.2:
        return chance.choice(ATOMS)
    template = chance.choice(CALLS)
    count = template.replace("{{", "").replace("}}", "").count("{}")
    return template.format(*(composed(chance, depth - 1) for _ in range(count)))


def test_composed_expressions_end_too() -> None:
    """`EXPORTERS_BEAM_FUZZ` says how many are composed."""
    chance = random.Random(20261129)
    wanted = int(os.environ.get("EXPORTERS_BEAM_FUZZ", "60"))
    seed = os.environ.get("EXPORTERS_BEAM_FUZZ_SEED")
    if seed:
        chance = random.Random(seed)
    found: list[tuple[str, float, str]] = []
    for _ in range(0, wanted, 60):
        sources = [composed(chance, 4) for _ in range(60)]
        found += evaluated(*(source for source in sources if "'" not in source or len(source) < 3000))
    slow = [row for row in found if row[1] > 15]
    assert not slow


def test_what_a_value_holds_is_counted_as_often_as_it_stands_in_it() -> None:
    assert weigh([1, 2, [3, "a" * 64]]) == 1 + 3 + 2 + 2
    value: Any = []
    for _ in range(60):
        value = (value, value)
    with pytest.raises(TooMuch, match="holds more than 5,000,000 members"):
        weigh(value)
    for _ in range(values.NESTING):
        value = [1]
        for _ in range(values.NESTING + 1):
            value = [value]
    with pytest.raises(TooMuch, match="nested more than 500 levels deep"):
        weigh(value)


@pytest.mark.parametrize(
    ("pattern", "harmless"),
    [(r"\s+", True), (r"\d{4}-\d\d", True), ("shoes|hats", True), ("(?:foo|bar)*", True), (".*", True), ("(a+)+b", False),
     (r"\s+$", False), ("(a|ab)*c", False), (r"(\w+\s?)*$", False), ("a?" * 25 + "a" * 25, False), (r"(a)\1*b", False),
     ("(x+x+)+y", False), ("^.*$", False)],
)  # fmt: skip
def test_patterns_that_may_backtrack_are_known(pattern: str, harmless: bool) -> None:
    import re

    assert (patterns.longest(re.compile(pattern), "search") == float("inf")) is harmless


@pytest.mark.parametrize(
    ("method", "pattern", "args"),
    [("search", "(a+)+b", ("aab aaab",)), ("match", "(a|ab)*c", ("ababc",)), ("findall", r"(\w+\s?)+\.", ("a b. c d.",)),
     ("split", r"(\s*,\s*)+", ("a , b,c",)), ("fullmatch", "(x+x+)+y", ("xxxxy",))],
)  # fmt: skip
def test_both_engines_find_the_same(method: str, pattern: str, args: tuple[Any, ...]) -> None:
    import re

    plain, found = getattr(re.compile(pattern), method)(*args), patterns.run(re.compile(pattern), method, *args)
    if hasattr(plain, "groups"):
        assert (plain.span(), plain.groups()) == (found.span(), found.groups())
    else:
        assert plain == found


def test_an_error_names_the_expression_and_what_was_too_much() -> None:
    with pytest.raises(RecordError, match=r"iterators are nested more than 20 levels deep.* in \[item.update"):
        compile_expression("[item.update(x=enumerate(item['x'])) for i in range(99)]").evaluate({"x": []})
