"""Expressions of components under their old class paths: what Python 2.7 made of them, and what no limit lets pass."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.cli.main import main
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.expressions.compile import InvalidExpression, compile_expression
from exporters_beam.transforms.filters import KeyValueFilter, KeyValueRegexFilter, PythonexpFilter

EXPECTED = json.loads(Path(__file__).with_name("python2_expected.json").read_text(encoding="utf-8"))


def evaluate(source: str, item: Any = None, **names: Any) -> Any:
    return compile_expression(source, names, "python2").evaluate(copy.deepcopy(EXPECTED["item"] if item is None else item))


def shown(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(("source", "expected"), [pytest.param(*case, id=case[0]) for case in EXPECTED["cases"]])
def test_the_value_is_that_of_python_2(source: str, expected: Any) -> None:
    if "gives" in expected:
        assert shown(evaluate(source)) == shown(expected["gives"])
    else:
        with pytest.raises((RecordError, InvalidExpression)):
            evaluate(source)


GREEDY = [
    "map(str, range(10 ** 7))",
    "[range(100000) for i in range(100000)]",
    "[item.update(t=item['t'].encode('hex')) for i in range(60)] and 1",
    "[item.update(t=(item['t'] + '\\\\').encode('unicode_escape')) for i in range(60)] and 1",
    "[item.update(t=('a' + item['t']).encode('base64')) for i in range(90)] and 1",
    "reduce(max, xrange(10 ** 7))",
    "[item.__setitem__('x', [item['x'], item['x']]) for i in range(100)] and str(item)",
    "[item.__setitem__('x', (item['x'], item['x'])) for i in range(100)] and '%s' % item['x']",
    "item['l'].__setitem__(0, item['l']) or unicode(item['l'])",
    "item['l'].__setitem__(0, item['l']) or '%s' % (item['l'],)",
    "[item.update(t='%s%s' % (item['t'], item['t'])) for i in range(60)] and 1",
    "[item.update(t='{0}{0}'.format(item['t'])) for i in range(60)] and 1",
    "[item.update(t=item['t'].upper() + item['t'].title()) for i in range(60)] and 1",
    "zip(*[range(100000)] * 1000)",
    "map(None, *[range(100000)] * 1000)",
    "map(None, [range(100000) for i in xrange(100)], range(10 ** 6), range(10 ** 6), range(10 ** 6), range(10 ** 6), "
    "range(10 ** 6))",
    "[sorted(range(100000), cmp) for i in range(100)]",
    "[sorted([None, {}] * 100000) for i in range(100)]",
    "[cmp(range(100000), range(100000)) for i in range(1000)]",
    "[[1, item['w']] < ['a', item['w']] for i in xrange(3000000) for j in xrange(10)]",
    "re.sub('(a+)+b', '', 'a' * 5000)",
    "re.sub('(a*)*', '-' * 100000, 'ab' * 5000)",
    "filter(None, 'a' * 10 ** 7)",
    "[item['t'].encode('utf-8')[0:5] for i in xrange(10 ** 6) for j in xrange(10 ** 6)]",
    "'%99999d' % 3",
    "7 ** 99999 / 2",
    "('é' * 10 ** 7).encode('hex')",
    "[item.update(x=item['d'].iteritems()) for i in range(10)] and [item.update(x=iter(item['x'])) for i in xrange(99)]",
]


@pytest.mark.parametrize("source", GREEDY)
def test_limits_hold_for_what_stands_for_python_2(source: str) -> None:
    item = {"x": [], "l": [1], "t": "text", "d": {"a": 1}, "w": ["x" * 1000] * 1000}
    started = time.process_time()
    with pytest.raises(RecordError):
        evaluate(source, item)
    assert time.process_time() - started < 10


REFUSED = [
    ("lambda: 1", "lambda is not allowed"),
    ("+1", "the plus sign before a value is not allowed"),
    ("print item", "print and exec are statements"),
    ("`item`", "backquotes"),
    ("item.__class__", "begins with an underscore"),
    ("item.__getitem__", "begins with an underscore"),
    ("item.__setitem__('x', 1, 2)", "begins with an underscore"),
    ("item.__init__()", "begins with an underscore"),
    ("type(item)", "type is not allowed"),
    ("type(item).__mro__", "type is not allowed"),
    ("unicode.__name__", "begins with an underscore"),
    ("getattr(item, 'x')", "getattr is not allowed"),
    ("__import__('os')", "begins with an underscore"),
    ("'{0.__class__}'.format(item)", "is not allowed in a template"),
    ("item.encode.__self__", "begins with an underscore"),
    ("map(eval, ['1'])", "eval is not allowed"),
    ("isinstance(item, eval)", "isinstance wants types"),
    ("type(item) == eval", "isinstance wants types"),
    ("10LL", "line 1"),
]


@pytest.mark.parametrize(("source", "told"), REFUSED)
def test_what_was_refused_or_leads_out_is_refused(source: str, told: str) -> None:
    with pytest.raises(InvalidExpression, match=told):
        compile_expression(source, dialect="python2")


def test_an_expression_is_pickled_with_its_dialect() -> None:
    made = compile_expression("item['n'] / 2", dialect="python2")
    again = pickle.loads(pickle.dumps(made))
    assert again == made != compile_expression("item['n'] / 2")
    assert again.evaluate({"n": 7}) == 3


@pytest.mark.parametrize(
    ("source", "gives"),
    [
        ("hashlib.md5(item['s'].encode('utf-8')).hexdigest()", hashlib.md5("héllo wörld".encode()).hexdigest()),
        ("hashlib.md5(item['a']).hexdigest()[:4]", "9001"),
        ("base64.b64encode(item['s'].encode('utf-8'))", "aMOpbGxvIHfDtnJsZA=="),
        ("base64.b64decode(base64.b64encode(item['a']))", "abc"),
        ("urllib.quote(item['s'].encode('utf-8'))", "h%C3%A9llo%20w%C3%B6rld"),
        ("urlparse.urlparse('http://a.b/c').netloc", "a.b"),
        ("json.dumps(item['d'], sort_keys=True)", '{"x": 1, "y": null}'),
        ("operator.add(7, 2) / 2", 4),
        ("reduce(operator.add, item['l'])", 6),
    ],
)
def test_modules_that_a_filter_imports_take_and_give_texts(source: str, gives: Any) -> None:
    names = ("hashlib", "base64", "urllib", "urlparse", "json", "operator")
    made = PythonexpFilter(python_expression=source, imports={name: name for name in names}, dialect="python2")
    found = made.keep(copy.deepcopy(EXPECTED["item"]))
    assert found == gives


def kept(values: list[Any], pattern: str, dialect: str) -> list[Any]:
    conditions: Any = ({"name": "v", "value": pattern},)
    by_name = KeyValueRegexFilter(keys=conditions, dialect=dialect)
    by_operator = KeyValueFilter(keys=({**conditions[0], "operator": "re_match"},), dialect=dialect)
    again = pickle.loads(pickle.dumps(by_name))
    found = [value for value in values if by_name.keep({"v": value})]
    assert found == [value for value in values if by_operator.keep({"v": value})]
    assert found == [value for value in values if again.keep({"v": value})]
    return found


@pytest.mark.parametrize(
    ("pattern", "older", "now"),
    [
        (r"\w+$", ["abc", "7", "xy"], ["abc", "é", "7", "٣", "xy"]),
        (r"\d", ["7"], ["7", "٣"]),
        (r"(?u)\d", ["7", "٣"], ["7", "٣"]),
        ("(?i)É", [], ["é"]),
        ("a(?i)BC", ["abc"], None),
        (r"x\y", ["xy"], None),
    ],
)
def test_regular_expressions_of_filters(pattern: str, older: list[str], now: list[str] | None) -> None:
    values = ["abc", "é", "7", "٣", "xy"]
    assert kept(values, pattern, "python2") == older
    if now is None:
        with pytest.raises(ConfigError, match="is not a valid regular expression"):
            kept(values, pattern, "python3")
    else:
        assert kept(values, pattern, "python3") == now


EXPRESSIONS = {
    "filter": ("pythonexp", "filters.pythonexp_filter.PythonexpFilter", {"python_expression": "item['n'] / 2 == 3"}),
    "transform": (
        "pythonexp",
        "transform.pythonexp_transform.PythonexpTransform",
        {"python_expressions": ["item.update(h=item['n'] / 2, s=item['s'].encode('utf-8'))"]},
    ),
    "grouper": ("python_exp", "groupers.PythonExpGrouper", {"python_expressions": ["item['n'] / 2"]}),
}


@pytest.mark.parametrize("older", [True, False])
def test_the_class_path_decides_and_explain_tells_it(older: bool, tmp_path: Path, capsys: Any) -> None:
    config: dict[str, Any] = {
        "reader": {"name": "memory", "options": {"records": [{"n": 7, "s": "é"}]}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/{{groups[0]}}"}},
        "exporter_options": {"formatter": {"name": "json", "options": {"jsonlines": True}}},
    }
    sections = EXPRESSIONS if older else {"transform": EXPRESSIONS["transform"], "grouper": EXPRESSIONS["grouper"]}
    for section, (name, path, options) in sections.items():
        config[section] = {"name": f"exporters.{path}" if older else name, "options": options}
    if not older:
        config["transform"]["options"] = {"python_expressions": ["item.update(h=item['n'] / 2)"]}
    file = tmp_path / "export.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["validate", str(file)]) == 0
    told = capsys.readouterr()
    assert (told.out.count("named by its old class path, so it works as in exporters 0.6.18") == 3) == older
    assert main(["explain", str(file)]) == 0
    explained = capsys.readouterr().out
    assert ("transform: named by its old class path" in explained) == older
    assert ("dialect='python2'" in explained) == older
    assert main(["run", str(file)]) == 0
    (delivered,) = (path for path in tmp_path.iterdir() if path.suffix == ".gz")
    record = json.loads(gzip.decompress(delivered.read_bytes()))
    assert delivered.name.startswith("3" if older else "3.5")
    assert record == ({"n": 7, "s": "é", "h": 3} if older else {"n": 7, "s": "é", "h": 3.5})
