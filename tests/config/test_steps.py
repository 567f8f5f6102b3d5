"""The list `steps`: filters and transforms in any order and number, each with a name of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.components import registry
from exporters_beam.config.schema import document_schema
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make

from beamless import outcome
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


def test_a_section_that_is_a_list_is_as_many_steps(tmp_path, validator):
    sections = {"filter_before": [EVEN], "transform": [GROSS, "sort_keys"], "filter_after": RICH}
    document = config(tmp_path, **sections)
    assert validator.is_valid(document)
    spec = load(document)
    assert [(step.step, step.path) for step in spec.steps] == [
        ("filter_before_1", ("filter_before", 0)), ("transform_1", ("transform", 0)), ("transform_2", ("transform", 1)),
        ("filter_after", ("filter_after",)),
    ]  # fmt: skip
    found = outcome(document)
    steps = [{"filter": EVEN}, {"transform": GROSS}, {"transform": "sort_keys"}, {"filter": RICH}]
    assert found.groups == outcome(config(tmp_path, steps=steps)).groups
    assert {"filter_before_1.dropped": 25, "filter_after.dropped": 11}.items() <= found.counts.items()
    older = load(config(tmp_path, filter=[EVEN, "dupe"], filter_before=[RICH]))
    assert [step.step for step in older.steps] == ["filter_before_1", "filter_before_2"]
    assert [str(warning) for warning in older.warnings] == [
        "filter_before: not used: the section `filter`, its older name, wins"
    ]


def test_a_member_of_a_section_says_what_becomes_of_its_failures(tmp_path):
    wrong = {"name": "pythonexp", "options": {"python_expressions": ["item.update(x=1 / (item['id'] % 10))"]}}
    found = outcome(config(tmp_path, transform=[GROSS, {**wrong, "on_error": "skip"}, wrong], on_error="dead_letter"))
    assert found.counts["transform_2.skipped"] == 5 and not found.letters


@pytest.mark.parametrize(("sections", "told"), [
    ({"transform": [GROSS, None, 7]},
     [f"transform[1]: the name is missing; name one of: {', '.join(registry.names('transform'))}",
      "transform[2]: wrong type: found 7, expected a mapping with name and options"]),
    ({"transform": 7}, ["transform: wrong type: found 7, expected a mapping with name and options, or a list of such"]),
    ({"transform": [{"name": "explode", "options": {"feild": "a", "field": "a"}}]},
     ['transform[0].options.feild: unknown option; did you mean "field"?']),
    ({"filter_after": ["dupe"], "steps": []},
     ["filter_after: there is a list of `steps`; write this section as one of them, or do without the list"]),
    ({"writer": ["console"]}, ["writer: wrong type: found a list, expected a mapping with name and options"]),
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
     [f"steps[0].filter: the name is missing; name one of: {', '.join(registry.names('filter'))}"]),
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
     ['steps[0].on_error: "ignore" is not one of the choices; known: fail, skip, dead_letter']),
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


SPREAD = {"transform": {"name": "python", "options": {"function": "plugin_functions:each_of"}}}
"""A record for each member of `s`."""


def test_letters_before_a_dupe_are_in_the_order_of_their_records(tmp_path):
    """What a shuffle hands out has no order: so of several records made of one each stays the part it is."""
    steps = [
        SPREAD,
        {"filter": {"name": "pythonexp", "options": {"python_expression": "item['s'] > 0"}}},
        {"filter": "dupe"},
    ]
    records = [{"s": ["x", 1, "y", 1, "z"]}, {"s": ["w", 2]}]
    found = outcome(config(tmp_path, records=records, steps=steps, on_error="dead_letter"))
    assert [(letter["record"]["s"], letter["number"], letter.get("part", 0)) for letter in found.letters] == [
        ("x", 1, 0), ("y", 1, 1), ("z", 1, 2), ("w", 2, 0),
    ]  # fmt: skip
    assert found.counts["filter_3.duplicates"] == 1


@pytest.mark.parametrize(("sections", "known"), [
    ({"filter": EVEN, "transform": GROSS, "filter_after": RICH}, "2c5ea5b0d0525eaf"),
    ({"filter_before": EVEN, "filter_after": "dupe"}, "814baa0a229f2bd1"),
    ({}, "f8a345ecb13cedf3"),
    ({"steps": []}, "f8a345ecb13cedf3"),
])  # fmt: skip
def test_sections_keep_the_identity_they_always_had(sections, known):
    """What earlier versions have staged is resumed."""
    writer = {"name": "fs", "options": {"filebase": "out/part-"}}
    spec = load({"reader": {"name": "fs", "options": {"input": "in.jl"}}, "writer": writer, **sections}, environ={})
    assert make(spec).export_id == known


def test_what_the_list_says_and_its_order_belong_to_the_identity_and_what_on_error_says_does_not(tmp_path):
    def identity(*steps: Any, **more: Any) -> str:
        return make(load(config(tmp_path, steps=steps, **more), environ={})).export_id

    even, rich = {"filter": EVEN}, {"filter": RICH}
    lists = [(even,), (even, rich), (rich, even), (even, rich, {"filter": "dupe"}), ({**even, "as": "even"}, rich)]
    assert len({identity(*steps) for steps in lists}) == len(lists)
    assert identity(even, rich) == identity({**even, "on_error": "skip"}, rich, on_error="dead_letter")


@pytest.mark.parametrize(("whole", "own", "counted"), [
    ("dead_letter", "skip", {"rich.skipped": 3, "gross.dead_lettered": 4}),
    ("skip", "dead_letter", {"rich.dead_lettered": 3, "gross.skipped": 4}),
])  # fmt: skip
def test_a_steps_own_on_error_goes_before_that_of_the_config(whole, own, counted, tmp_path):
    records = [{"id": n, **({} if n < 3 else {"price": "x"} if n < 7 else {"price": n})} for n in range(10)]
    expression = {"name": "pythonexp", "options": {"python_expression": "item['price'] != 9"}}
    steps = [{"filter": expression, "as": "rich", "on_error": own},
             {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(g=item['price'] / 2)"]}},
              "as": "gross"}]  # fmt: skip
    found = outcome(config(tmp_path, records=records, steps=steps, on_error=whole))
    assert found.counts == {"read": 10, "rich.dropped": 1, "kept": 2, **counted}
    wanted = ("rich", "steps[0].filter") if own == "dead_letter" else ("gross", "steps[1].transform")
    assert {(letter["step"], letter["path"], letter["component"]) for letter in found.letters} == {(*wanted, "pythonexp")}


def test_letters_enter_at_the_step_they_name(tmp_path):
    """Records that earlier steps have made of one are delivered once, and what is mended goes through the steps behind."""
    failing = {"filter": {"name": "pythonexp", "options": {"python_expression": "item['s'] > 0"}}, "as": "positive"}
    mended = {"filter": {"name": "pythonexp", "options": {"python_expression": "bool(item['s'])"}}, "as": "positive"}
    marked = {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item.get('n', 0) + 1)"]}}}
    again = {
        "filter": {"name": "pythonexp", "options": {"python_expression": "item['s'] != 'y' or 1 / 0"}},
        "as": "odd",
    }
    records = [{"id": 1, "s": ["x", 1, "y"]}, {"id": 2, "s": {}}, {"id": 3, "s": [2]}]

    def told(step: Any, *more: Any) -> dict[str, Any]:
        return config(
            tmp_path, records=records, steps=[marked, SPREAD, step, marked, *more, SPREAD_MORE], on_error="dead_letter"
        )

    first = exporters_beam.run(told(failing))
    assert (first.written, first.dead_letters["records"]) == (4, 3)
    report = exporters_beam.replay(told(mended, again), [first.dead_letters["name"]])
    assert (report.read, report.written, report.dead_letters["records"]) == (3, 2, 2)
    found = sorted(map(tuple, (r.values() for rs in delivered(tmp_path / "out").values() for r in rs)), key=repr)
    assert found == [(1, "x", 2, 0), (1, "x", 2, 1), (1, 1, 2, 0), (1, 1, 2, 1), (3, 2, 2, 0), (3, 2, 2, 1)]
    letters = [json.loads(line) for line in Path(report.dead_letters["name"]).read_text().splitlines()]
    assert [(letter["step"], letter["record"]["id"]) for letter in letters] == [("odd", 1), ("transform_2", 2)]
    mended_too = told(mended, {"filter": "none", "as": "odd"})
    last = exporters_beam.replay(mended_too, [report.dead_letters["name"]])
    assert (last.read, last.written) == (2, 2)
    assert exporters_beam.replay(mended_too, [first.dead_letters["name"]]).read == 1  # the others were delivered


SPREAD_MORE = {"transform": {"name": "python", "options": {"function": "plugin_functions:twice"}}}


def test_a_letter_of_a_step_that_is_off_goes_on_and_one_of_none_is_refused(tmp_path):
    records = [{"id": 1}, {"id": 2, "price": 3}]
    steps = [{"filter": EVEN}, {"filter": RICH, "as": "rich"}]
    first = exporters_beam.run(config(tmp_path, records=[{**r, "even": True} for r in records], steps=steps,
                                      on_error="dead_letter"))  # fmt: skip
    letters = [first.dead_letters["name"]]
    off = config(
        tmp_path,
        records=[{**r, "even": True} for r in records],
        steps=[{"filter": EVEN}, {"filter": "none", "as": "rich"}],
    )
    assert exporters_beam.replay(off, letters).written == 1
    other = config(tmp_path, records=[{**r, "even": True} for r in records], steps=[{"filter": EVEN}])
    with pytest.raises(ConfigError, match=r"'rich' is not a step; there are deserializer, filter_1, grouper, formatter"):
        exporters_beam.replay(other, letters)


def test_a_limit_takes_the_first_that_all_steps_keep(tmp_path):
    steps = [{"filter": EVEN}, {"filter": {"name": "dupe", "options": {"key_field": "price"}}}, {"filter": RICH}]
    told = config(tmp_path, steps=steps)
    told["writer"]["options"]["items_limit"] = 3
    report = exporters_beam.run(told)
    assert [record["id"] for record in delivered(tmp_path / "out")["part-0000.jl"]] == [4, 6, 10]
    assert report.counts["filter_2.duplicates"] == 15


def test_what_no_record_has_is_told_with_the_name_of_the_step(tmp_path):
    steps = [{"transform": GROSS}, {"filter": {"name": "key_value", "options": {"keys": [{"name": "grosss", "value": 1}]}},
                                    "as": "cheap"}]  # fmt: skip
    report = exporters_beam.run(config(tmp_path, steps=steps))
    assert report.warnings == ("cheap: no record has the field grosss; did you mean gross?",)


def test_the_preview_and_explain_name_each_step(tmp_path, capsys):
    steps = [
        {"filter": {"name": "dupe", "options": {"key_field": "price"}}, "as": "once"},
        {"transform": GROSS, "as": "gross", "on_error": "skip"},
        {"filter": {"name": "dupe", "options": {"key_field": "price"}}, "as": "again"},
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(config(tmp_path, records=[*RECORDS[1:4], *RECORDS[1:3]], steps=steps)))
    assert main(["preview", str(path)]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.endswith("left")] == [
        "once (dupe): 3 left", "gross (pythonexp): 3 left", "again (dupe): 3 left",
    ]  # fmt: skip
    assert main(["explain", str(path)]) == 0
    text = capsys.readouterr().out
    assert [line.split()[1] for line in text.splitlines() if line.startswith("→")][2:5] == ["once", "gross", "again"]
    assert "on_error: a record that fails at gross is dropped, and counted" in text
    assert main(["explain", "--format", "mermaid", str(path)]) == 0
    assert '{{"<b>again</b><br/>dupe(' in capsys.readouterr().out


def test_a_variable_may_be_a_step_or_all_of_them(tmp_path):
    one = {"vars": {"once": {"filter": "dupe", "as": "once"}}, "steps": [{"filter": EVEN}, "${vars.once}"]}
    every = {
        "vars": {"list": [{"filter": EVEN}, {"filter": "dupe", "as": "${vars.name}"}], "name": "once"},
        "steps": "${vars.list}",
    }
    for sections in (one, every):
        spec = load({"reader": "random", "writer": "console", **sections}, environ={})
        assert [step.step for step in spec.steps] == ["filter_1", "once"]


def test_an_expression_that_gives_no_record_is_refused_wherever_it_stands(tmp_path):
    number = {"transform": {"name": "pythonmap", "options": {"map": "1"}}}
    with pytest.raises(ConfigError) as caught:
        make(load(config(tmp_path, steps=[{"filter": EVEN}, number, {"transform": GROSS}]), environ={}))
    assert str(caught.value).startswith("steps[1].transform.options.map: the expression gives a number, 1 whatever")


def test_what_is_told_of_times_has_a_stage_for_each_step(tmp_path):
    times = exporters_beam.run(config(tmp_path, steps=[{"transform": GROSS}, {"filter": RICH, "as": "rich"}])).times
    assert set(times) <= {"read", "transform_1", "rich", "grouped", "written", "persisted"}


@pytest.mark.parametrize(("page", "names"), [
    ("README.md", ["filter_1", "value", "filter_3", "filter_4"]), ("docs/failures.md", ["filter_1", "gross"]),
])  # fmt: skip
def test_the_examples_of_the_pages_are_valid(page, names, validator):
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    (example,) = [block for block in text.split("```yaml\n")[1:] if block.startswith("steps:")]
    document = {"reader": "random", "writer": "console", **yaml.safe_load(example.partition("```")[0])}
    assert [step.step for step in load(document, environ={}).steps] == names
    assert validator.is_valid(document)
