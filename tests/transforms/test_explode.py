"""The transform explode: what becomes of lists, of what is no list, and of names that are taken."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporters_beam.components.options import build
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.explode import ExplodeTransform

from beamless import outcome

PAGE = (Path(__file__).parents[2] / "docs" / "shapes.md").read_text(encoding="utf-8")

RECORD: dict[str, Any] = {"id": 1, "offers": [{"p": 1}, {"p": 2, "id": 9}], "a": {"b": [7, 8], "c": {"d": 1}}, "a.x": [5]}


def exploded(record: Any = RECORD, **options: Any) -> list[Any]:
    given = copy.deepcopy(record)
    made = build(ExplodeTransform, options)
    found = list(made.flat_map(given))
    assert given == record, "the record is as it came"
    assert json.dumps(list(made.flat_map(given))) == json.dumps(found)
    return found


@pytest.mark.parametrize(("options", "expected"), [
    ({"field": "a.x"}, ['{"id":1,"offers":[{"p":1},{"p":2,"id":9}],"a":{"b":[7,8],"c":{"d":1}},"a.x":5}']),
    ({"field": "a.b", "keep": ["id"]}, ['{"id":1,"a":{"b":7}}', '{"id":1,"a":{"b":8}}']),
    ({"field": "a.b", "keep": ["a"], "position": "n"},
     ['{"a":{"b":7,"c":{"d":1}},"n":0}', '{"a":{"b":8,"c":{"d":1}},"n":1}']),
    ({"field": "a.b", "as": "b", "keep": ["a"]}, ['{"a":{"c":{"d":1}},"b":7}', '{"a":{"c":{"d":1}},"b":8}']),
    ({"field": "a.b", "as": "b", "keep": ["id"]}, ['{"id":1,"b":7}', '{"id":1,"b":8}']),
    ({"field": "offers", "as": "offer", "keep": ["id"]}, ['{"id":1,"offer":{"p":1}}', '{"id":1,"offer":{"p":2,"id":9}}']),
    ({"field": "offers", "as": "offers", "keep": []}, ['{"offers":{"p":1}}', '{"offers":{"p":2,"id":9}}']),
    ({"field": "offers", "merge": True, "prefix": "o_", "keep": ["id"]}, ['{"id":1,"o_p":1}', '{"id":1,"o_p":2,"o_id":9}']),
    ({"field": "offers", "merge": True, "on_conflict": "record", "keep": ["id"]}, ['{"id":1,"p":1}', '{"id":1,"p":2}']),
    ({"field": "offers", "merge": True, "on_conflict": "element", "keep": ["id"]}, ['{"id":1,"p":1}', '{"id":9,"p":2}']),
    ({"field": "offers", "as": "id", "on_conflict": "record", "keep": ["id"]}, ['{"id":1}', '{"id":1}']),
    ({"field": "offers", "as": "id", "on_conflict": "element", "keep": ["id"]}, ['{"id":{"p":1}}', '{"id":{"p":2,"id":9}}']),
])  # fmt: skip
def test_each_element_becomes_a_record(options: Any, expected: list[str]) -> None:
    assert [json.dumps(record, separators=(",", ":")) for record in exploded(**options)] == expected


@pytest.mark.parametrize("missing", [{}, {"l": None}, {"l": []}, {"l": ()}])
def test_a_list_without_elements_gives_none_or_one_that_has_none(missing: Any) -> None:
    record = {"id": 1, **missing}
    assert exploded(record, field="l") == []
    assert exploded(record, field="l", empty="keep", position="n") == [{"id": 1, "l": None, "n": None}]
    assert exploded(record, field="l", empty="keep", **{"as": "one"}) == [{"id": 1, "one": None}]
    assert exploded(record, field="l", empty="keep", merge=True) == [{"id": 1}]
    assert exploded({"a": missing}, field="a.l", empty="keep", keep=[]) == ([{"a": {"l": None}}] if missing else [{}])


@pytest.mark.parametrize(("options", "told"), [
    ({"field": "id"}, "id is a number, 1; explode needs a list"),
    ({"field": "a"}, "a is a mapping; explode needs a list"),
    ({"field": "a.b", "merge": True}, "a.b[0] is a number, 7; merge needs mappings"),
    ({"field": "offers", "position": "id"}, "the record has a field id already; give position another name"),
    ({"field": "offers", "as": "a"}, "the record has a field a, and so has what offers holds; give as, or say with on_conflict "
     "whose stays: element or record"),
    ({"field": "offers", "merge": True}, "the record has a field id, and so has what offers holds; give prefix, or say with "
     "on_conflict whose stays: element or record"),
])  # fmt: skip
def test_what_cannot_be_done_is_the_records_error(options: Any, told: str) -> None:
    given = copy.deepcopy(RECORD)
    with pytest.raises(RecordError) as caught:
        build(ExplodeTransform, options).flat_map(given)
    assert str(caught.value) == told and given == RECORD


def test_the_records_have_nothing_in_common() -> None:
    one, two = exploded(field="offers", keep=["a", "a.x"])
    one["a"]["b"].append(9)
    one["a"]["c"]["d"] = one["a.x"][0] = None
    assert two == {"offers": {"p": 2, "id": 9}, "a": {"b": [7, 8], "c": {"d": 1}}, "a.x": [5]}


@pytest.mark.parametrize(("options", "told"), [
    ({}, "transform.options.field: this option is missing"),
    ({"field": ""}, "transform.options.field: name the list, a field or a path with dots"),
    ({"feild": "a", "field": "a"}, 'transform.options.feild: unknown option; did you mean "field"?'),
    ({"field": "a", "prefix": "x"}, "transform.options.prefix: it stands before merged fields; give merge: true besides"),
    ({"field": "a", "merge": True, "as": "b"},
     "transform.options.as: with merge the element has no name of its own; leave out one of the two"),
    ({"field": "a", "as": ""}, "transform.options.as: the name of a field has at least one character"),
    ({"field": "a", "position": "a"}, "transform.options.position: a is what the element is called; take another name"),
    ({"field": "a", "empty": "skip"},
     'transform.options.empty: the string "skip" is not one of the choices; did you mean "keep"?'),
    ({"field": "a", "on_conflict": "elements"},
     'transform.options.on_conflict: the string "elements" is not one of the choices; did you mean "element"?'),
])  # fmt: skip
def test_what_is_wrong_with_options_is_told_with_its_place(options: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"reader": "random", "writer": "console", "transform": {"name": "explode", "options": options}}, environ={})
    assert [str(problem) for problem in caught.value.problems] == [told]


def lines(config: Any, tmp_path: Path) -> list[str]:
    return outcome(config).groups.get((), b"").decode().splitlines()


def memory(records: list[Any], out: Path, **sections: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "memory", "options": {"records": records}},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", "compression": "none"}},
        **sections,
    }


def test_records_that_fail_stay_whole_and_a_misspelt_field_is_warned_of(tmp_path: Path) -> None:
    records = [{"id": 1, "l": [1, 2]}, {"id": 2, "l": [{}], "n": {"x": 1}}, {"id": 3, "l": "x"}]
    step = {"name": "explode", "options": {"field": "l", "position": "n"}, "on_error": "dead_letter"}
    found = outcome(memory(records, tmp_path, transform=step))
    assert found.groups == {(): b'{"id":1,"l":1,"n":0}\n{"id":1,"l":2,"n":1}'}
    assert [letter["record"] for letter in found.letters] == records[1:]
    assert {"transform.added": 1, "transform.dead_lettered": 2}.items() <= found.counts.items()
    found = outcome(memory(records, tmp_path, transform={"name": "explode", "options": {"field": "L"}}))
    assert found.warnings == ("transform: no record has the field L; did you mean l?",)
    assert found.counts["transform.dropped"] == 3


def examples() -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of the page's table: options, and the first record that they give."""
    for options, record in re.findall(r"^\| `(\{field: .*?\})` \| `(\{.*\})` \|$", PAGE, re.MULTILINE):
        yield yaml.safe_load(options), record


def test_the_page_says_what_it_gives(tmp_path: Path) -> None:
    rows = [*examples()]
    assert len(rows) == 6
    for options, record in rows:
        (first, _) = exploded({"sku": "a1", "offers": [{"price": 3}, {"price": 5}]}, **options)
        assert json.dumps(first, separators=(",", ":")) == record
    config, expected = re.findall(r"```(?:yaml|json)\n(.*?)```", PAGE, re.DOTALL)[:2]
    made = yaml.safe_load(config)
    made["writer"]["options"]["filebase"] = f"{tmp_path}/offers-"
    assert outcome(made).groups[()].decode() == expected.strip()
