"""What becomes of records: pythonexp, pythonmap, python."""

from __future__ import annotations

import copy
import datetime
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.mappers import (
    NoTransform,
    PythonexpTransform,
    PythonMapTransform,
    PythonTransform,
    SortKeysTransform,
)

ITEM = {"id": 7, "city": "roma"}


def changed(item: dict[str, Any], *expressions: str) -> Any:
    made = pickle.loads(pickle.dumps(PythonexpTransform(python_expressions=expressions)))
    given = copy.deepcopy(item)
    assert made.map(given) is given, "it is the same record, changed"
    return given


def mapped(source: str, item: Any = ITEM) -> Any:
    made = build(PythonMapTransform, {"map": source})
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    return again.map(copy.deepcopy(item))


def test_none_gives_the_record_itself() -> None:
    assert NoTransform().map(ITEM) is ITEM


# pythonexp


def test_expressions_change_the_item_in_order() -> None:
    assert changed({"a": 1}, "item.update(b=item['a']+1)", "item.update(c=item['b']*2)", "item.pop('a')") == {
        "b": 2,
        "c": 4,
    }
    assert changed({"p": "x", "q": "y"}, "item.setdefault('pq', item['p'] + '/' + item['q'])") == {
        "p": "x", "q": "y", "pq": "x/y"
    }  # fmt: skip
    assert changed({"a": 1}) == {"a": 1}


def test_order_of_keys_is_that_of_the_record_then_what_was_added() -> None:
    item = {"z": 1, "_key": "k", "a": 2}
    assert list(changed(item, "item.update(m=1)", "item.update({'_b': 2, 'a': 3})")) == ["z", "_key", "a", "m", "_b"]


def test_records_of_a_shop() -> None:
    item = {"sku": "SKU-0003", "title": "Niño shirt", "price": 9.99, "stock": 14, "attributes": {"size": 41}}
    found = changed(item, "item.update({'label': item['title'].upper()})", "item.pop('attributes', None)",
                    "item.update(total=item['price'] * item['stock'])")  # fmt: skip
    assert found == {"sku": "SKU-0003", "title": "Niño shirt", "price": 9.99, "stock": 14, "label": "NIÑO SHIRT",
                     "total": 139.86}  # fmt: skip


def test_dates_may_be_values() -> None:
    found = changed({}, "item.update({'when': datetime.datetime(2016, 1, 2, 3, 4, 5)})")
    assert found == {"when": datetime.datetime(2016, 1, 2, 3, 4, 5)}


def test_values_that_are_not_touched_stay_as_they_are() -> None:
    item = {"big": 2**80, "float": 0.1, "none": None, "nested": {"z": [1, {"y": "é"}], "a": []}}
    assert changed(item, "item.get('big')") == item


def test_the_expression_that_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^python_expressions\[1\]: line 1, column 1: an assignment is not an expression"):
        PythonexpTransform(python_expressions=("item.pop('a')", "item['b'] = 1"))


def test_a_record_that_fails_is_told() -> None:
    with pytest.raises(RecordError, match=r"KeyError: 'a' in item.pop\('a'\)"):
        changed({}, "item.pop('a')")


# pythonmap


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('{"id": item["id"], "label": item["city"].upper()}', {"id": 7, "label": "ROMA"}),
        ('dict(item, size=len(item["city"]))', {"id": 7, "city": "roma", "size": 4}),
        ('dict(list(item.items()) + [("k", 1)])', {"id": 7, "city": "roma", "k": 1}),
        ("item.update({'total': item['id'] * 2}) or item", {"id": 7, "city": "roma", "total": 14}),
        ('[item["city"], item["id"]]', ["roma", 7]),
        ('re.match("x", item["city"]) is not None', False),
        ('""', ""),
    ],
)
def test_the_value_takes_the_place_of_the_record(source: str, expected: Any) -> None:
    found = mapped(source)
    assert found == expected
    assert not isinstance(expected, dict) or list(found) == list(expected)


def test_item_is_the_record_itself() -> None:
    assert build(PythonMapTransform, {"map": "item"}).map(ITEM) is ITEM


def test_lists_of_python_2_are_explained() -> None:
    with pytest.raises(RecordError, match=r"write list\(item.items\(\)\) \+"):
        mapped('dict(item.items() + [("k", 1)])')


@pytest.mark.parametrize("source", ["{", "item['a'] = 1", "", "+1", "lambda x: x"])
def test_what_is_no_expression_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"^map: "):
        build(PythonMapTransform, {"map": source})


# python


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's."""
    (tmp_path / "own_steps.py").write_text(
        "def one(record):\n    return dict(record, seen=True)\n"
        "def none(record):\n    return None\n"
        "def several(record):\n    return [{'k': k} for k in record['k']]\n"
        "def generated(record):\n    yield {'k': 1}\n    yield {'k': 2}\n"
        "def given(record):\n    return record['give']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_steps"
    sys.modules.pop("own_steps", None)


@pytest.mark.parametrize(
    ("function", "record", "expected"),
    [
        ("one", {"a": 1}, [{"a": 1, "seen": True}]),
        ("none", {"a": 1}, []),
        ("several", {"k": [1, 2]}, [{"k": 1}, {"k": 2}]),
        ("several", {"k": []}, []),
        ("generated", {}, [{"k": 1}, {"k": 2}]),
    ],
)
def test_a_function_of_ones_own_gives_records(steps: str, function: str, record: Any, expected: list[Any]) -> None:
    made = PythonTransform(function=f"{steps}:{function}")
    assert list(made.flat_map(record)) == expected
    again = pickle.loads(pickle.dumps(made))
    assert again == made and list(again.flat_map(record)) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "own_steps:given gave 'text'; it has to give a mapping, None or several mappings"),
        (5, "own_steps:given gave 5; it has to give"),
        ([{"a": 1}, 5], "own_steps:given gave a list with 5 in it; it may hold mappings only"),
        (["x" * 5000], "it may hold mappings only"),
    ],
)
def test_what_a_function_may_not_give_is_an_error_of_the_record(steps: str, value: Any, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        list(PythonTransform(function=f"{steps}:given").flat_map({"give": value}))
    assert message in str(caught.value) and len(str(caught.value)) < 400


def test_errors_of_a_function_reach_the_step_that_called_it(steps: str) -> None:
    with pytest.raises(KeyError):
        list(PythonTransform(function=f"{steps}:given").flat_map({}))


def test_a_function_that_is_not_there_is_told_on_the_worker() -> None:
    with pytest.raises(ConfigError, match="install its package here and on every worker"):
        PythonTransform(function="no_such_package_here.steps.clean").setup()


# sort_keys


def test_fields_stand_in_the_order_of_their_names() -> None:
    item = {"b": 1, "a": {"z": [{"d": 1, "c": 2}, 3], "B": None}, "é": 0, "": 0}
    assert repr(SortKeysTransform().map(item)) == "{'': 0, 'a': {'B': None, 'z': [{'c': 2, 'd': 1}, 3]}, 'b': 1, 'é': 0}"
    assert [*SortKeysTransform(nested=False).map(item)["a"]] == ["z", "B"]
    with pytest.raises(RecordError, match="the record is not a mapping but a list; sort_keys needs fields"):
        SortKeysTransform().map([1])  # type: ignore[arg-type]
