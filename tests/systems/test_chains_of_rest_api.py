"""Batches of an HTTP API that gives what was changed in a time."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from chains import batches
from rest_service import Api

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.runners.chain_states import plans_of
from exporters_beam.runners.chains import opened

NOON = int(datetime(2026, 1, 1, 12, tzinfo=timezone.utc).timestamp())

BOTH = {"since_param": "since", "until_param": "until"}
EXACT = {"since_param": "since", "time_field": "at"}


def config(api: Api, folder: Path, way: str = "cursor", new_only: Any = True, **options: Any) -> dict[str, Any]:
    given = {
        "url": f"{api.url}/pages/{way}",
        "records": "data.items",
        "paging": way,
        "bearer": "${secret:env:TOKEN}",
        **({"next": "meta.next"} if way in ("cursor", "next_url") else {}),
        **({"page_param": "after"} if way == "cursor" else {}),
        **options,
    }
    return {
        "reader": {"name": "rest_api", "options": given},
        "new_only": new_only,
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/n-{{batch:03d}}-"}},
    }


def change(api: Api, *numbers: int, form: str = "iso") -> None:
    """Records that are changed now; the clock goes on by a second for each."""
    for n in numbers:
        assert api.now is not None
        written = {"iso": datetime.fromtimestamp(api.now, timezone.utc).isoformat(), "seconds": api.now,
                   "milliseconds": int(api.now * 1000)}[form]  # fmt: skip
        api.records = [record for record in api.records if record["n"] != n] + [{"n": n, "at": written}]
        api.now += 1


@pytest.fixture(autouse=True)
def clock(api: Api) -> None:
    api.now = NOON
    api.size = 2


@pytest.mark.parametrize(
    ("way", "options"), [("cursor", BOTH), ("next_url", EXACT), ("link", {**BOTH, **EXACT}), ("page", EXACT)]
)
def test_each_batch_has_what_was_changed_since_the_one_before(api: Api, tmp_path: Path, way: str, options: Any) -> None:
    made = config(api, tmp_path, way, **options)
    assert exporters_beam.run(made).note == "there is nothing new"
    change(api, *range(5))
    assert exporters_beam.run(made).written == 5
    assert exporters_beam.run(made).note.startswith("there is nothing new since batch 1")
    change(api, 5, 2)
    assert exporters_beam.run(made).written == 2
    change(api, 6)
    exporters_beam.run(made)
    assert batches(made) == [[0, 1, 2, 3, 4], [5, 2], [6]], "a record that was changed again comes again"


@pytest.mark.parametrize(
    ("counts_in", "form"),
    [((True, True), "iso"), ((True, False), "seconds"), ((False, True), "milliseconds"), ((False, False), "iso")],
)
def test_with_the_times_of_records_nothing_hangs_on_which_bounds_an_api_counts_in(
    api: Api, tmp_path: Path, counts_in: tuple[bool, bool], form: str
) -> None:
    api.counts_in = counts_in
    made = config(api, tmp_path, **BOTH, time_field="at", time_format=form)
    for n in range(0, 8, 2):
        change(api, n, form=form)
        api.now = (api.now or 0) - 0.5
        change(api, n + 1, form=form)
        exporters_beam.run(made)
    api.now = (api.now or 0) + 5
    exporters_beam.run(made)
    assert [n for each in batches(made) for n in each] == list(range(8))


def test_the_youngest_records_are_left_to_the_next_batch(api: Api, tmp_path: Path) -> None:
    made = config(api, tmp_path, new_only={"settled": "1m"}, **BOTH)
    change(api, 1)
    api.now = NOON + 60
    assert exporters_beam.run(made).note == "there is nothing new"
    api.now += 1
    change(api, 2)
    assert exporters_beam.run(made).written == 1
    api.now += 60
    exporters_beam.run(made)
    assert batches(made) == [[1], [2]]


def test_a_batch_that_was_begun_asks_for_the_same_time_again(api: Api, tmp_path: Path) -> None:
    made = config(api, tmp_path, **EXACT)
    change(api, *range(5))
    with opened(load(made)) as chain:
        assert chain.begin(full=False)
    change(api, 5, 6)
    exporters_beam.run(made)
    exporters_beam.run(made)
    assert batches(made) == [[0, 1, 2, 3, 4], [5, 6]]


def test_a_clock_that_goes_back_reads_nothing_twice(api: Api, tmp_path: Path) -> None:
    """An answer out of a cache has an old Date."""
    made = config(api, tmp_path, **BOTH)
    change(api, 1, 2)
    exporters_beam.run(made)
    api.now = NOON
    assert exporters_beam.run(made).note
    api.now = NOON + 10
    change(api, 3)
    exporters_beam.run(made)
    assert batches(made) == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (None, "time_field: a record has null at 'at', which is no time as time_format says (iso): nobody knows in which"),
        (5, "time_field: a record has 5 at 'at', which is no time as time_format says"),
        ("soon", "time_field: a record has \"soon\" at 'at', which is no time as time_format says"),
    ],
)
def test_a_record_without_a_time_is_told(api: Api, tmp_path: Path, at: Any, says: str) -> None:
    api.records = [{"n": 1, "at": at}]
    with pytest.raises(SourceError) as caught:
        exporters_beam.run(config(api, tmp_path, **EXACT))
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "rest_api cannot tell what is new: name the parameters by which the API gives what was changed in a time"),
        ({"since_param": "since"}, "rest_api cannot tell what is new: name the parameters by which the API"),
        ({"until_param": "until"}, "since_param: name the parameter for the time from which records were changed"),
    ],
)
def test_an_api_of_which_nobody_knows_what_is_new_is_refused(
    api: Api, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        plans_of(load(config(api, tmp_path, **options)))
