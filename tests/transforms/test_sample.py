"""The filter sample: the same share in every run, by place or by value."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.components.options import build
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make
from exporters_beam.stages import HandOn
from exporters_beam.transforms.sample import SampleFilter

from beamless import outcome


def kept(rate: float, **options: Any) -> set[int]:
    made = pickle.loads(pickle.dumps(build(SampleFilter, {"rate": rate, "by": ["id"], **options})))
    return {n for n in range(4000) if made.keep({"id": n, "other": str(n)})}


def test_it_keeps_about_the_share_and_the_same_in_every_run() -> None:
    tenth = kept(0.1)
    assert 330 < len(tenth) < 470 and tenth == kept(0.1)
    assert sorted(tenth)[:5] == [3, 6, 13, 18, 30], "also in another process, and with the next version"
    assert kept(0.05) < tenth < kept(0.5), "a smaller share is a part of a larger one"
    assert kept(0) == set() and len(kept(1)) == 4000
    other = kept(0.1, seed=7)
    assert 330 < len(other) < 470 and len(other & tenth) < 80


def test_values_decide_whatever_they_are() -> None:
    made = SampleFilter(rate=0.5, by=("a.b", "c"))
    values: list[Any] = [1, 1.0, "1", True, None, [1], {"x": 1, "y": 2}, "\ud800", 2**80, float("nan"), "é"]
    found = [made.keep({"a": {"b": value}}) for value in values]
    assert found == [made.keep({"z": 1, "a": {"b": value}, "c": None}) for value in values]
    assert made.keep({"a": {"b": {"y": 2, "x": 1}}}) == found[6]
    assert True in found and False in found


@pytest.mark.parametrize(("options", "told"), [
    ({}, "filter_before.options.rate: this option is missing"),
    ({"rate": 5}, "filter_before.options.rate: 5 is too large: it is a share of the records, 0 to 1; write 0.05 for 5 percent"),
    ({"rate": -1}, "filter_before.options.rate: -1 is too small; the least is 0"),
    ({"rate": True}, "filter_before.options.rate: wrong type: found true, expected a number"),
    ({"rate": 0.5, "by": "id"},
     'filter_before.options.by: wrong type: found the string "id", expected a list of strings; write ["id"]'),
])  # fmt: skip
def test_what_is_wrong_with_options_is_told_with_its_place(options: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"reader": "random", "writer": "console", "filter_before": {"name": "sample", "options": options}}, environ={})
    assert [str(problem) for problem in caught.value.problems] == [told]


def config(tmp_path: Path, **sections: Any) -> dict[str, Any]:
    source = tmp_path / "in.jl"
    source.write_text("".join(json.dumps({"id": n % 50, "n": n}) + "\n" for n in range(600)))
    return {
        "reader": {"name": "fs", "options": {"input": str(source)}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-", "compression": "none"}},
        **sections,
    }


def records(found: Any) -> list[Any]:
    return [json.loads(line) for line in found.groups[()].splitlines()]


def test_two_samples_by_place_choose_apart_and_those_of_a_value_stay_together(tmp_path: Path) -> None:
    half = {"name": "sample", "options": {"rate": 0.5}}
    found = outcome(config(tmp_path, filter_before=[half, half]))
    assert 240 < found.counts["filter_before_1.dropped"] < 360 and 100 < len(records(found)) < 200
    by = {"name": "sample", "options": {"rate": 0.5, "by": ["id"]}}
    found = outcome(config(tmp_path, filter_before=[by, by]))
    ids = [record["id"] for record in records(found)]
    assert "filter_before_2.dropped" not in found.counts and all(ids.count(each) == 12 for each in ids)


def test_values_decide_before_the_rest_is_decoded(tmp_path: Path) -> None:
    plan = make(load(config(tmp_path, filter_before={"name": "sample", "options": {"rate": 0.5, "by": ["id"]}})))
    assert plan.physical.decoding == HandOn(frozenset({"id"}))
    plan = make(load(config(tmp_path, filter_before={"name": "sample", "options": {"rate": 0.5, "by": ["ID"]}})))
    assert outcome(plan.spec.source.value).warnings == ("filter_before: no record has the field ID; did you mean id?",)


def test_what_one_record_became_stays_together_by_its_place(tmp_path: Path) -> None:
    twice = {"name": "python", "options": {"function": "plugin_functions:each_of"}}
    source = config(tmp_path, transform=twice, filter_after={"name": "sample", "options": {"rate": 0.5}})
    (tmp_path / "in.jl").write_text("".join(json.dumps({"s": [n, n]}) + "\n" for n in range(100)))
    found = outcome(source)
    assert found.groups[()].count(b"\n") % 2 == 1
