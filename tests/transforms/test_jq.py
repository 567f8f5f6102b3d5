"""The transform jq, where jq is installed and where it is not."""

from __future__ import annotations

import datetime
import math
import pickle
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.errors import ConfigError, MissingExtra, RecordError
from exporters_beam.transforms.jq import JqTransform

from examples import at_least

pytest.importorskip("jq")

ITEM = {"id": 7, "city": "roma"}


def results(program: str, item: Any) -> list[Any]:
    made = JqTransform(jq_filter=program)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    found = list(made.flat_map(item))
    assert list(again.flat_map(item)) == found
    return found


@pytest.mark.parametrize(
    ("item", "program", "expected"),
    [
        (ITEM, ".", [ITEM]),
        (ITEM, "{town: .city}", [{"town": "roma"}]),
        (ITEM, ". + {twice: (.id * 2)}", [{"id": 7, "city": "roma", "twice": 14}]),
        (ITEM, "{town: .nope}", [{"town": None}]),
        (ITEM, "select(.id > 10)", []),
        ({"a": None, "b": 2}, "with_entries(select(.value != null))", [{"b": 2}]),
        ({"x": None}, '.x = (.x // "d")', [{"x": "d"}]),
        ({"tags": ["a", "b"]}, ".tags[] | {tag: .}", [{"tag": "a"}, {"tag": "b"}]),
        ({"id": 0, "type": "buy"}, "{id}, {type}", [{"id": 0}, {"type": "buy"}]),
        ({"name": '{"a": 1}'}, ".name", [{"a": 1}]),
        (ITEM, "{id} # that is all", [{"id": 7}]),
        (ITEM, "def f: .id; . as $x | {f: f, c: $x.city}", [{"f": 7, "c": "roma"}]),
        (ITEM, "{id},\n{city}", [{"id": 7}, {"city": "roma"}]),
        ({"n": [{"b": 1}, {"b": 2}]}, "reduce .n[] as $x ({}; {sum: (.sum + $x.b)})", [{"sum": 3}]),
        (
            {"sku": "S", "price": 19.5, "stock": 12, "brand": {"name": "Ñandú"}, "attributes": {"color": None}},
            "{id: .sku, total: (.price * .stock), brand: .brand.name, colors: [.attributes.color]}",
            [{"id": "S", "total": 234, "brand": "Ñandú", "colors": [None]}],
        ),
    ],
)
def test_every_object_is_a_record(item: Any, program: str, expected: list[Any]) -> None:
    found = results(program, item)
    assert found == expected
    assert [list(record) for record in found] == [list(record) for record in expected]


def test_numbers_and_text_that_pass_through_stay_as_they_are() -> None:
    item = {"z": 2**70, "_a": 9007199254740993, "one": 1.0, "tenth": 0.1, "large": 1e22, "minus": -0.0, "least": 5e-324,
            "text": "a\0b\u2028 🏳️‍🌈", "nested": {"z": [], "a": {}, "": None}}  # fmt: skip
    (found,) = results(".", item)
    assert found == item and repr(found) == repr(item)


def test_calculated_numbers_are_doubles() -> None:
    assert results("{n: (.n + 0)}", {"n": 9007199254740993}) == [{"n": 9007199254740992}]


def test_dates_become_text_and_decimals_numbers() -> None:
    assert results(".", {"d": datetime.datetime(2016, 1, 2, 3, 4), "p": Decimal("1.5")}) == [
        {"d": "2016-01-02T03:04:00", "p": 1.5}
    ]


@settings(max_examples=at_least(80), deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3))))  # fmt: skip
def test_the_program_that_does_nothing_changes_nothing(item: Any) -> None:
    (found,) = JqTransform(jq_filter=".").flat_map(item)
    assert found == item
    assert list(found) == list(item)


@pytest.mark.parametrize(
    ("program", "item", "message"),
    [
        (".n + 1", {"n": "x"}, 'jq: string ("x") and number (1) cannot be added'),
        ("., error(\"late\")", {}, "jq: late"),
        (".id", ITEM, "the jq program gave a number, 7; it has to give objects"),
        (".city", ITEM, 'the jq program gave a string, "roma"; it has to give objects'),
        ("[.id]", ITEM, "the jq program gave a list, [7]; it has to give objects"),
        ("null", ITEM, "the jq program gave null, null; it has to give objects"),
        ("true", ITEM, "the jq program gave a boolean, true; it has to give objects"),
        ('"[1]"', ITEM, 'the jq program gave a string, "[1]"; it has to give objects'),
        (".", {"a": math.nan}, "jq cannot read the record: NaN is not JSON"),
        (".", {"a": {1}}, "jq cannot read the record: JSON cannot hold the set {1}"),
        (".", {"a": "\ud800"}, "jq: parse error"),
        (".a[]", {"a": "x" * 1000}, "jq: Cannot iterate over string"),
    ],
)  # fmt: skip
def test_records_that_fail_are_told(program: str, item: Any, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        list(JqTransform(jq_filter=program).flat_map(item))
    assert str(caught.value).startswith(message) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (".[", "jq_filter: it is not a jq program: syntax error"),
        ("blah", "jq_filter: it is not a jq program: blah/0 is not defined"),
        ("", "jq_filter: it is not a jq program: Top-level program not given"),
        (".a) | (.b", "jq_filter: it is not a jq program: syntax error"),
        (". as $x", "jq_filter: it is not a jq program"),
        ('import "a" as a; .', "jq_filter: "),
    ],
)
def test_what_is_no_program_is_refused(program: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JqTransform(jq_filter=program)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_the_environment_of_the_worker_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    assert results("{a: env.CANARY, b: $ENV.CANARY, c: env, d: $ENV}", {}) == [{"a": None, "b": None, "c": {}, "d": {}}]


def test_files_of_jq_are_out_of_reach(tmp_path: Any) -> None:
    (tmp_path / "data.json").write_text('{"canary": 1}')
    with pytest.raises(ConfigError, match="jq_filter: import and include are not allowed"):
        JqTransform(jq_filter=f'import "data" as $d {{search: "{tmp_path}"}}; {{d: $d}}')


def test_without_jq_the_config_is_checked_all_the_same_and_the_worker_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jq", None)
    made = JqTransform(jq_filter=".[")
    for use in (made.setup, lambda: list(made.flat_map({}))):
        with pytest.raises(MissingExtra, match=r'the transform jq needs .*pip install "exporters-beam\[jq\]"'):
            use()
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="jq_filter: it is not a jq program"):
        made.setup()
