"""Which records are the same to the filter dupe."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.errors import RecordError
from exporters_beam.reporting.report import Report
from exporters_beam.transforms import dedupe
from exporters_beam.transforms.dupe import DupeFilter

from helpers import delivered, visible

NO_KEYS: list[Any] = [None, "", 0, 0.0, -0.0, False, [], {}, Decimal("0.00"), float("nan"), b"", Decimal("NaN")]


@pytest.mark.parametrize("value", NO_KEYS, ids=repr)
def test_values_that_say_nothing_are_no_keys(value: Any) -> None:
    assert DupeFilter(key_field="k").key({"k": value}) is None
    assert DupeFilter().key({"_key": value}) is None


def test_a_missing_field_is_no_key() -> None:
    assert DupeFilter(key_field="k").key({"a": 1}) is None


NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)

SAME: list[list[Any]] = [
    [1, 1.0, True, Decimal("1"), Decimal("1.000"), Decimal("0.1E1")],
    [0.5, Decimal("0.5"), Decimal("0.50")],
    [1e300, int(1e300), Decimal(int(1e300))],
    [10**4200, Decimal("1E+4200")],
    [Decimal("0.1"), Decimal("0.10"), 0.1],
    [{"a": 1, "b": [2.0]}, {"b": [2], "a": True}],
    [NOON, NOON.astimezone(timezone(timedelta(hours=5)))],
]
OTHERS: list[Any] = ["1", "é", "e\u0301", Decimal("1E+99999999"), -1, [1], "[1]", {"a": 1}, 10**5000, "true", " ", [0],
                     float("inf"), float("-inf"), "Infinity", [None], [""], [[]], b"1"]  # fmt: skip


def test_keys_are_the_same_for_equal_values_only() -> None:
    keys = [{DupeFilter(key_field="k").key({"k": value}) for value in values} for values in SAME]
    assert [len(found) for found in keys] == [1] * len(SAME)
    others = {DupeFilter(key_field="k").key({"k": value}) for value in OTHERS}
    assert len(others.union(*keys)) == len(OTHERS) + len(SAME)


def test_without_a_field_the_record_itself_is_its_key_unless_it_has_one() -> None:
    key = DupeFilter().key
    assert key({"a": 1, "b": None}) == key({"b": None, "a": 1.0}) != key({"a": 1})
    assert key({}) == key({}) is not None
    assert key({"_key": "x", "a": 1}) == key({"_key": "x", "a": 2}) == DupeFilter(key_field="_key").key({"_key": "x"})


def test_what_is_no_object_is_an_error() -> None:
    with pytest.raises(RecordError, match=r"^the record is not a mapping but a list; dupe needs fields$"):
        DupeFilter().key([1])


@pytest.mark.parametrize("workers", [None, 2])
def test_no_record_is_dropped_for_a_value_that_says_nothing(
    workers: int | None, tmp_path: Path, export: Callable[..., Report]
) -> None:
    values = [0, False, None, "", [], {}, 0.0, 1, 1.0, True, "1", "a", "a"]
    records = [{"id": n, "k": value} for n, value in enumerate(values * 2)] + [{"id": 99}, {"id": 100}]
    for name, half in (("a", records[:15]), ("b", records[15:])):
        (tmp_path / f"{name}.jl").write_text("".join(json.dumps(record) + "\n" for record in half))
    report = export(
        {"name": "fs", "options": {"input": {"dir": str(tmp_path), "pattern": r"\.jl$"}}},
        filter_before={"name": "dupe", "options": {"key_field": "k"}},
        workers=workers,
    )
    (found,) = delivered(tmp_path / "out").values()
    assert [r["id"] for r in found] == [*range(8), 10, 11, *range(13, 20), 99, 100]
    assert report.counts["filter_before.duplicates"] == 9


def test_whole_records_are_compared_whatever_the_order_of_fields(tmp_path: Path, export: Callable[..., Report]) -> None:
    (tmp_path / "a.jl").write_text('{"a": 1, "b": 2}\n{"b": 2, "a": 1.0}\n{"a": 1}\n{}\n{}\n{"a": 1, "b": "2"}\n')
    export(str(tmp_path / "a.jl"), filter_before={"name": "dupe"})
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": [{"a": 1, "b": 2}, {"a": 1}, {}, {"a": 1, "b": "2"}]}


class Odd:
    """What cannot be pickled, nor shown."""

    def __reduce__(self) -> Any:
        raise TypeError("not this one")

    def __repr__(self) -> str:
        raise TypeError("not this one")


def odd(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "k": Odd()} if record.get("odd") else record


@pytest.fixture(params=[0, dedupe.FEW], ids=["packed together", "packed one by one"])
def packed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local runner has one worker, in this process."""
    monkeypatch.setattr(dedupe, "FEW", request.param)


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize("step", ["filter_before", "filter_after"])
@pytest.mark.parametrize("options", [{}, {"key_field": "k"}], ids=["whole", "by a field"])
def test_what_is_nested_too_deeply_becomes_a_dead_letter(
    options: dict[str, Any], step: str, tmp_path: Path, export: Callable[..., Report]
) -> None:
    deep = ['{"k":1,"a":' + "[" * n + "]" * n + "}" for n in (900, 890)]
    (tmp_path / "a.jl").write_text("\n".join((deep[0], '{"k":2}', deep[1], '{"k":3}')) + "\n")
    report = export(str(tmp_path / "a.jl"), **{step: {"name": "dupe", "options": options}}, on_error="dead_letter")
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": [{"k": 2}, {"k": 3}]}
    assert report.counts[f"{step}.dead_lettered"] == 2
    letters = [json.loads(line) for line in Path(report.dead_letters["name"]).read_text().splitlines()]
    assert [(letter["number"], letter["message"]) for letter in letters] == [
        (number, "the record is nested too deeply for the filter dupe") for number in (1, 3)
    ]


def test_what_cannot_be_pickled_becomes_a_dead_letter(tmp_path: Path, export: Callable[..., Report]) -> None:
    (tmp_path / "a.jl").write_text('{"odd": true}\n{"k": 2}\n')
    report = export(
        str(tmp_path / "a.jl"),
        transform={"name": "python", "options": {"function": f"{__name__}:odd"}},
        filter_after={"name": "dupe", "options": {"key_field": "id"}},
        on_error="dead_letter",
    )
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": [{"k": 2}]}
    (letter,) = map(json.loads, Path(report.dead_letters["name"]).read_text().splitlines())
    assert (letter["number"], letter["unreadable"]) == (1, "dict: TypeError")


places = st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([0, 1, 1 << 32, 5 << 32]))


@given(st.dictionaries(places, st.sampled_from([b"a", b"b", b"c"])), st.data())
def test_all_records_of_a_key_lose_but_the_first(keys: dict[Any, bytes], data: Any) -> None:
    told = [(unit, number, [key], [place]) for (unit, number, place), key in keys.items()]
    told += data.draw(st.lists(st.sampled_from(told), max_size=9)) if told else []  # Bundles may run twice.
    told = data.draw(st.permutations(told))
    cut = data.draw(st.integers(0, len(told)))
    values = [dedupe.packed_keys(part) for part in (told[:cut], told[cut:])]
    found = [
        (*pickle.loads(where), place)
        for where, value in dedupe.Losers().process((b"7", values))
        for place in pickle.loads(value)
    ]
    first = {key: min(place for place, other in keys.items() if other == key) for key in keys.values()}
    assert sorted(found) == sorted(keys.keys() - first.values())


@pytest.mark.parametrize("together", [1, 3])
def test_keys_that_go_in_several_lots_meet(
    tmp_path: Path, export: Callable[..., Report], monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(dedupe, "TOGETHER", together)
    records = [{"n": n, "k": f"key {n % 4}"} for n in range(1, 30)]
    (tmp_path / "a.jl").write_text("".join(json.dumps(record) + "\n" for record in [*records, *records]))
    report = export(str(tmp_path / "a.jl"), filter_before={"name": "dupe", "options": {"key_field": "k"}})
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": [*records[:4]]}
    assert report.counts["filter_before.duplicates"] == 54


@pytest.mark.parametrize("workers", [None, 2])
def test_where_records_wait_makes_no_difference_and_nothing_is_left(
    workers: int | None, tmp_path: Path, export: Callable[..., Report]
) -> None:
    for name in range(3):
        text = (json.dumps({"k": n % (700 + name), "t": "x" * (n % 300), "bad": n % 9}) for n in range(2000))
        (tmp_path / f"{name}.jl").write_text("\n".join(text))
    steps = [
        {"filter": {"name": "dupe", "options": {"key_field": "k"}}},
        {
            "transform": {
                "name": "pythonexp",
                "options": {"python_expressions": ["item.update(t=1 / (item['bad'] - 5))"]},
            }
        },
        {"filter": "dupe"},
    ]
    found = []
    (tmp_path / "2.jl").write_bytes((tmp_path / "2.jl").read_bytes() + b"\n7\n")  # One is at fault: one after the other.
    for out, without in (("staged", []), ("shuffled", ["records-staged"])):
        report = export(
            {"name": "fs", "options": {"input": {"dir": str(tmp_path), "pattern": r"\.jl$"}}},
            steps=steps,
            on_error="dead_letter",
            out=out,
            workers=workers,
            exporter_options={"without": without},
        )
        files = {name: path.read_bytes() for name, path in visible(tmp_path / out).items()}
        lines = Path(report.dead_letters["name"]).read_text().splitlines()
        letters = [(letter["number"], letter.get("record")) for letter in map(json.loads, lines)]
        found.append((files, report.counts, letters))
        assert not list((tmp_path / out).glob(".exporters/*/staged"))
    assert found[0] == found[1]
    assert found[0][1]["filter_1.duplicates"] == 6000 - 701 - 9, "0 is no key"


SHARED = {"seen": 0}


def siblings(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Records that have a value in common."""
    return [{"k": key, "common": SHARED} for key in record["keys"]]


def counting(record: dict[str, Any]) -> dict[str, Any]:
    record["common"]["seen"] += 1
    return record


def test_records_have_no_value_in_common_behind_the_filter(tmp_path: Path, export: Callable[..., Report]) -> None:
    (tmp_path / "a.jl").write_text('{"keys": [1, 2]}\n{"keys": [2, 3]}\n')
    steps = [
        {"transform": {"name": "python", "options": {"function": f"{__name__}:siblings"}}},
        {"filter": {"name": "dupe", "options": {"key_field": "k"}}},
        {"transform": {"name": "python", "options": {"function": f"{__name__}:counting"}}},
    ]
    export(str(tmp_path / "a.jl"), steps=steps)
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": [{"k": k, "common": {"seen": 1}} for k in (1, 2, 3)]}


def test_letters_that_are_sent_in_again_behind_the_filter_come_in_order(tmp_path: Path) -> None:
    failing = "item.update(x=1 / (item['bad'] - {}))"
    steps = [
        {"transform": {"name": "pythonexp", "options": {"python_expressions": [failing.format(1)]}}},
        {"filter": {"name": "dupe", "options": {"key_field": "k"}}},
        {"transform": {"name": "pythonexp", "options": {"python_expressions": [failing.format(2)]}}},
        {"filter": {"name": "dupe", "options": {"key_field": "k"}}},
    ]
    (tmp_path / "a.jl").write_text("\n".join(json.dumps({"k": k + 1, "bad": 2 - k % 2}) for k in range(6)))
    config = {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "a.jl")}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-"}},
        "steps": steps,
        "on_error": "dead_letter",
    }
    letters = Path(exporters_beam.run(config).dead_letters["name"])
    again = tmp_path / "again.jl"
    again.write_text(re.sub('"bad": ?[12]', '"bad": 0', letters.read_text()))
    assert exporters_beam.replay(config, [again]).written == 6
    ((_, records),) = delivered(tmp_path / "out").items()
    assert [record["k"] for record in records] == [1, 2, 3, 4, 5, 6]
