"""The list `steps`: filters and transforms in any order and number, each with a name of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import exporters_beam
from exporters_beam.config.schema import document_schema
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make

from helpers import delivered, visible

RICH = {"name": "pythonexp", "options": {"python_expression": "item['price'] > 2"}}
GROSS = {"name": "pythonexp", "options": {"python_expressions": ["item.update(gross=item['price'] * 2)"]}}
EVEN = {"name": "key_value", "options": {"keys": [{"name": "even", "value": True}]}}

RECORDS = [{"id": n, "price": n % 7, "even": n % 2 == 0} for n in range(50)]


def config(folder: Path, out: str = "out", records: Any = RECORDS, **more: Any) -> dict[str, Any]:
    source = folder / "in.jl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    return {
        "reader": {"name": "fs", "options": {"input": str(source)}},
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/{out}/part-", "compression": "none"}},
        **more,
    }


def problems(**sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        make(load({"reader": "random", "writer": "console", **sections}, environ={}))
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(document_schema())


def test_steps_in_any_order_deliver_what_they_say_and_are_counted_by_their_names(tmp_path):
    steps = [
        {"transform": GROSS, "as": "gross"},
        {"filter": EVEN},
        {"filter": {"name": "dupe", "options": {"key_field": "price"}}, "as": "once"},
        {
            "transform": {
                "name": "pythonmap",
                "options": {"map": "dict(id=item['id'], gross=item['gross'], of=item['gross'] // 4 + 1)"},
            }
        },
        {"filter": {"name": "dupe", "options": {"key_field": "of"}}},
        {"filter": {"name": "pythonexp", "options": {"python_expression": "item['gross'] > 4"}}},
    ]
    report = exporters_beam.run(config(tmp_path, steps=steps))
    assert [json.loads(line) for line in visible(tmp_path / "out")["part-0000.jl"].read_text().splitlines()] == [
        {"id": 4, "gross": 8, "of": 3}, {"id": 6, "gross": 12, "of": 4},
    ]  # fmt: skip
    assert report.counts == {
        "read": 50, "filter_2.dropped": 25, "once.duplicates": 15, "filter_5.duplicates": 6, "filter_6.dropped": 2,
        "kept": 2, "written": 2,
    }  # fmt: skip
    assert report.filtered == 48


def test_a_list_that_says_the_same_as_sections_delivers_the_same_bytes(tmp_path):
    sections = {"filter_before": EVEN, "transform": GROSS, "filter_after": RICH}
    exporters_beam.run(config(tmp_path, "one", **sections))
    steps = [{"filter": EVEN}, {"transform": GROSS}, {"filter": RICH}]
    exporters_beam.run(config(tmp_path, "two", steps=steps))
    one, two = visible(tmp_path / "one"), visible(tmp_path / "two")
    assert {name: path.read_bytes() for name, path in one.items()} == {n: path.read_bytes() for n, path in two.items()}
    assert delivered(tmp_path / "two")["part-0000.jl"]


@pytest.mark.parametrize(("sections", "told"), [
    ({"filter_before": "dupe", "steps": []},
     ["filter_before: there is a list of `steps`; write this section as one of them, or do without the list"]),
    ({"filter": "dupe", "filter_after": "dupe", "steps": [{"filter": "dupe"}]},
     ["filter: there is a list of `steps`; write this section as one of them, or do without the list",
      "filter_after: there is a list of `steps`; write this section as one of them, or do without the list"]),
    ({"steps": "dupe"}, ['steps: wrong type: found "dupe", expected a list of steps']),
    ({"steps": ["dupe"]}, ['steps[0]: wrong type: found "dupe", expected a mapping with `filter` or `transform`']),
    ({"steps": [{}]}, ["steps[0]: a step is a filter or a transform: {filter: {name: …, options: …}}"]),
    ({"steps": [{"filter": "dupe", "transform": GROSS}]},
     ["steps[0]: this step is both a filter and a transform; make two of it"]),
    ({"steps": [{"filter": "dupe"}, {"filter": {"name": "key_value", "options": {"keys": [{"name": "a"}, 7]}}}]},
     ["steps[1].filter.options.keys[1]: wrong type: found the number 7, expected a mapping or a list of pairs"]),
    ({"steps": [{"filter": None}]},
     ["steps[0].filter: the name is missing; "
      "name one of: dupe, jsonschema, key_value, key_value_regex, none, python, pythonexp"]),
    ({"steps": [{"filtre": "dupe", "filter": "dupe"}]}, ['steps[0].filtre: unknown key; did you mean "filter"?']),
    ({"steps": [{"filter": "dupe", "as": "a"}, {"filter": "dupe", "as": "a"}]},
     ["steps[1].as: steps[0] is called a already; every step needs a name of its own"]),
    ({"steps": [{"filter": "dupe", "as": "filter_2"}, {"filter": "dupe"}]},
     ["steps[1]: steps[0] is called filter_2 already; every step needs a name of its own"]),
    ({"steps": [{"filter": "dupe", "as": "A b"}]},
     ['steps[0].as: "A b" is not a name for a step: it begins with a small letter, and has small letters, digits and _ '
      "only, 60 at the most"]),
    ({"steps": [{"filter": "dupe", "as": "writer"}]},
     ["steps[0].as: writer is the name of another part of the export; take another one"]),
    ({"steps": [{"filter": "dupe", "as": 7}]}, ["steps[0].as: wrong type: found 7, expected the name of the step"]),
    ({"steps": [{"filter": "dupe", "on_error": "ignore"}]},
     ['steps[0].on_error: "ignore" is none of the choices; known: fail, skip, dead_letter']),
    ({"steps": [{"filter": {"name": "dupe", "on_error": "skip"}, "on_error": "fail"}]},
     ["steps[0].filter.on_error: on_error stands beside `filter` already; give one of the two"]),
])  # fmt: skip
def test_what_is_wrong_with_steps_is_told_with_its_place(sections, told, validator):
    assert problems(**sections) == told
    names = not any("needs a name of its own" in each or "name of another part" in each for each in told)
    once = not any("give one of the two" in each for each in told)
    if names and once:
        assert not validator.is_valid({"reader": "random", "writer": "console", **sections})


@pytest.mark.parametrize("steps", [
    None, [], [{"filter": "dupe"}], [{"filter": "none", "as": "off"}], [{"transform": GROSS, "as": None, "on_error": "skip"}],
    [{"filter": {**RICH, "on_error": "skip"}, "as": "rich"}, {"filter": "dupe", "on_error": None}] * 1,
])  # fmt: skip
def test_what_loads_is_valid_for_editors_too(steps, validator):
    document = {"reader": "random", "writer": "console", "steps": steps}
    load(document, environ={})
    assert validator.is_valid(document)


def test_names_are_those_of_the_places_unless_they_are_given():
    steps = [{"filter": "none"}, {"transform": GROSS}, {"filter": RICH, "as": "rich"}, {"filter": RICH}]
    spec = load({"reader": "random", "writer": "console", "steps": steps}, environ={})
    assert [(step.step, step.path) for step in spec.steps] == [
        ("transform_2", ("steps", 1, "transform")), ("rich", ("steps", 2, "filter")), ("filter_4", ("steps", 3, "filter")),
    ]  # fmt: skip
