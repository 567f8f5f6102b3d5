"""What an expression gives is the same in every process, on every worker and in every run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import RecordError
from exporters_beam.planning.explain import text
from exporters_beam.planning.plan import make
from exporters_beam.reporting.report import Report
from exporters_beam.transforms.expressions.compile import compile_expression

from helpers import delivered

GIVEN = [
    "list({'b', 'a', 'c', 'dd', 'é'})",
    "str({'b', 'a', None, 1, 2.5, ('x', 1)})",
    "[x for x in set(item['tags'])]",
    "[x for x in {t for t in item['tags']}]",
    "set(item['tags']).pop()",
    "list(frozenset(item['tags']) | {'z'})",
    "list({'a', 'b', 'q'} - {'b'} ^ {'y', 'x'})",
    "list(item.keys() & {'tags', 'id', 'other'})",
    "list(item.keys() - {'id'} | {'w', 'v', 'u'})",
    "','.join(set(item['tags']).union(['k', 'l', 'm']).difference('k'))",
    "dict.fromkeys(set(item['tags']))",
    "sorted({'bb', 'aa', 'c', 'd'}, key=len)",
    "max({'bb', 'aa'}, key=len)",
    "tuple(map(str, {'b', 'a', 'c'}))",
    "[*{'b', 'a', 'c'}]",
    "next(iter({'b', 'a', 'c'}))",
    "list(zip({'b', 'a', 'c'}, range(3)))",
    "'%s %r' % ({'b', 'a', 'c'}, frozenset(['x', 'y', 'z']))",
    "f\"{ {'b', 'a', 'c'} } { {'b', 'a'}!r}\"",
    "'{}'.format({'b', 'a', 'c'})",
    "repr([{'b', 'a', 'c'}])",
    "sum({0.1, 0.2, 0.3, 1e16, -1e16})",
    "hash('a') + hash(None) + hash(('a', frozenset(['b', 'c'])))",
    "list(set('hello').copy())",
    "random.random()",
    "random.sample(item['tags'], 2)",
    "[random.randint(0, 10**9) for i in range(3)]",
    "random.Random().random()",
    "random.Random('seed').random()",
    "list(map(random.choice, [item['tags']] * 3))",
    "random.shuffle(item['tags']) or item['tags']",
]

CHILD = """
import json, sys
from exporters_beam.transforms.expressions.compile import compile_expression
found = []
for source in json.load(sys.stdin):
    found.append(repr(compile_expression(source).evaluate({"id": 7, "tags": ["x", "y", "a", "bc", "d", "é"]})))
json.dump(found, sys.stdout)
"""


def test_values_do_not_depend_on_the_process() -> None:
    children = [
        subprocess.run([sys.executable, "-c", CHILD], input=json.dumps(GIVEN), capture_output=True, text=True, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2", "random")
    ]  # fmt: skip
    first, *others = map(json.loads, children)
    for source, *found in zip(GIVEN, first, *others, strict=True):
        assert len({*found}) == 1, (source, found)


@pytest.mark.parametrize(
    "source",
    ["str(item.items)", "repr(str.upper)", "f'{enumerate([])}'", "'%s' % (zip([]),)", "'{}'.format(iter([]))",
     "str([iter('a')])",     "str(random.Random(1))", "hash(iter([]))", "str([len])", "repr({'f': sorted})",
     "f'{(x for x in [])}'", "hash(item.get)",
     "[str(f) for f in [min, max]]"],
)  # fmt: skip
def test_what_shows_an_address_has_no_text(source: str) -> None:
    with pytest.raises(RecordError, match=r"has no text that is the same|would be another number"):
        compile_expression(source).evaluate({"a": 1})


def test_functions_may_still_be_values() -> None:
    assert compile_expression("{'n': int, 's': str}[item['t']](item['v'])").evaluate({"t": "n", "v": "7"}) == 7
    assert compile_expression("[f(item['v']) for f in [str.upper, len]]").evaluate({"v": "ab"}) == ["AB", 2]


DRAWING: dict[str, Any] = {
    "filter_before": {"name": "pythonexp", "options": {"python_expression": "random.random() < 0.5"}},
    "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(r=random.random())"]}},
    "grouper": {"name": "python_exp", "options": {"python_expressions": ["random.choice('abc')"]}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / f"in/{name}.jl").write_text('{"same": 1}\n' * 700)
    return tmp_path / "in"


def test_draws_are_the_same_in_every_run_and_others_for_every_record(
    folder: Path, tmp_path: Path, export: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = {"name": "fs", "options": {"input": {"dir": str(folder)}}}
    found = []
    for n, more in enumerate(({}, {"workers": 2}, {"exporter_options": {"pushdown": False}})):
        export(reader, options={"filebase": f"{tmp_path}/{n}/{{groups[0]}}/p"}, **DRAWING, **more)
        found.append(delivered(tmp_path / str(n)))
    assert found[0] == found[1] == found[2]
    draws = [row["r"] for rows in found[0].values() for row in rows]
    assert len({*draws}) == len(draws) and 600 < len(draws) < 800 and len(found[0]) == 3


def test_the_draw_of_a_record_that_was_skipped_changes_no_other(
    folder: Path, tmp_path: Path, export: Callable[..., Report]
) -> None:
    reader = {"name": "fs", "options": {"input": str(folder / "a.jl")}}
    draw = {"transform": DRAWING["transform"]}
    export(reader, out="all", **draw)
    (folder / "a.jl").write_text('{"same": 1}\n' * 5 + '{"same": 2}\n' + '{"same": 1}\n' * 694)
    keys = {"keys": [{"name": "same", "value": 1}]}
    export(reader, out="some", filter_before={"name": "key_value", "options": keys}, **draw)
    (every,), (some,) = (delivered(tmp_path / name).values() for name in ("all", "some"))
    assert [row["r"] for row in every[:5] + every[6:]] == [row["r"] for row in some]


def test_explain_says_where_an_expression_asks_the_clock_or_draws() -> None:
    config = {
        "reader": {"name": "fs", "options": {"input": "a"}},
        "writer": {"name": "fs", "options": {"filebase": "out/p"}},
        "filter_before": DRAWING["filter_before"],
        "transform": {"name": "pythonmap", "options": {"map": "dict(item, at=str(datetime.datetime.now()))"}},
    }
    told = text(make(load(config)))
    assert "- filter_before: random draws by each record's place in the input, the same in every run" in told
    assert "- transform: asks the clock, and so may give something else in every run and for every record" in told
    assert "transform: random" not in told and exporters_beam


def test_equal_expressions_draw_numbers_of_their_own(tmp_path: Path) -> None:
    more = "item.setdefault('draws', []).append(random.random())"
    once, changed = (
        {"transform": {"name": "pythonexp", "options": {"python_expressions": [more] * times}}} for times in (1, 2)
    )
    kept = {"filter": {"name": "pythonexp", "options": {"python_expression": "random.random() < 2"}}}
    grouper = {"name": "python_exp", "options": {"python_expressions": ["str(random.random())"] * 2}}
    alone = exported(tmp_path / "alone", [once])
    drawn = exported(tmp_path / "all", [kept, changed, kept, changed], grouper)
    assert [record["draws"][0] for record in drawn] == [record["draws"][0] for record in alone]
    assert all(len(set(record["draws"])) == 4 for record in drawn)
    assert drawn == exported(tmp_path / "again", [kept, changed, kept, changed], grouper)
    groups = [path.parent.parent.name != path.parent.name for path in (tmp_path / "all").rglob("part-*")]
    assert groups and all(groups)


def exported(folder: Path, steps: list[Any], grouper: Any = None) -> list[Any]:
    """The records that these steps make, in the order of the input."""
    place = f"{folder}/{{groups[0]}}/{{groups[1]}}/part-" if grouper else f"{folder}/part-"
    exporters_beam.run({
        "reader": {"name": "memory", "options": {"records": [{"n": n} for n in range(20)]}},
        "steps": steps,
        **({"grouper": grouper} if grouper else {}),
        "writer": {"name": "fs", "options": {"filebase": place, "compression": "none"}},
    })  # fmt: skip
    found = [json.loads(line) for path in folder.rglob("part-*") for line in path.read_text().splitlines()]
    return sorted(found, key=lambda record: record["n"])
