"""Which group records go to."""

from __future__ import annotations

import datetime
import pickle
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.groupers import FileKeyGrouper, NoGrouper, PythonExpGrouper, PythonGrouper


def by_keys(record: Any, *keys: str) -> tuple[str, ...]:
    made = pickle.loads(pickle.dumps(FileKeyGrouper(keys=keys)))
    assert made == FileKeyGrouper(keys=keys) and made.size == len(keys)
    found: tuple[str, ...] = made.key(record)
    return found


def by_expressions(record: Any, *expressions: str) -> tuple[str, ...]:
    made = pickle.loads(pickle.dumps(PythonExpGrouper(python_expressions=expressions)))
    assert made == PythonExpGrouper(python_expressions=expressions) and made.size == len(expressions)
    found: tuple[str, ...] = made.key(record)
    return found


def test_none_makes_one_group() -> None:
    assert NoGrouper().size == 0
    assert NoGrouper().key({"a": 1}) == ()


# file_key


def test_values_of_fields_are_the_group() -> None:
    assert by_keys({"cc": "it", "geo": {"town": "roma"}}, "cc", "nope", "geo.town") == ("it", "unknown", "roma")
    assert by_keys({"category": "misc items"}, "category") == ("misc items",)
    assert by_keys({"g": "España/../x"}, "g") == ("España/../x",), "names of files are not made here"
    assert by_keys({"a": {"b": {"c": "d"}}}, "a.b.c") == ("d",)
    assert by_keys({"cc": "it"}) == ()
    assert by_keys({"_type": "t"}, "_type") == ("t",)


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ({}, "a"),
        ({"a": None}, "a"),
        ({}, "a.b"),
        ({"a": None}, "a.b"),
        ({"a": "text"}, "a.b"),
        ({"a": [{"b": 1}]}, "a.b"),
        ({"a": {"b": None}}, "a.b"),
        ({"a.b": None}, "a.b"),
        (["a"], "a"),
    ],
)
def test_where_there_is_no_value_the_group_is_unknown(record: Any, key: str) -> None:
    assert by_keys(record, key) == ("unknown",)
    assert by_keys(record, key, key) == ("unknown", "unknown")


TEXTS = [
    ("text", "text"),
    ("", ""),
    (True, "True"),
    (False, "False"),
    (2, "2"),
    (0, "0"),
    (2**70, "1180591620717411303424"),
    (1.5, "1.5"),
    (1.0, "1.0"),
    (1e16, "1e+16"),
    (float("nan"), "nan"),
    ({"b": [1, None], "a": "é"}, '{"a":"é","b":[1,null]}'),
    ([], "[]"),
    ((1, 2), "[1,2]"),
    (datetime.datetime(2016, 1, 2, 3, 4), "2016-01-02T03:04:00"),
    (datetime.date(2016, 1, 2), "2016-01-02"),
    (Decimal("1.50"), "1.50"),
    (b"caf\xc3\xa9", "café"),
    ({"d": datetime.date(2016, 1, 2)}, '{"d":"2016-01-02"}'),
]


@pytest.mark.parametrize(("value", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_other_values_become_text(value: Any, text: str) -> None:
    assert by_keys({"a": value}, "a") == (text,)
    assert by_keys({"a": {"b": value}}, "a.b", "a.c") == (text, "unknown")
    assert by_expressions({"a": value}, "item['a']") == (text,)


def test_equal_mappings_are_one_group() -> None:
    assert by_keys({"a": {"x": 1, "y": 2}}, "a") == by_keys({"a": {"y": 2, "x": 1}}, "a")


@pytest.mark.parametrize("value", [{1, 2}, object(), {"a": {1}}, iter([1])])
def test_values_without_a_steady_text_fail_the_record(value: Any) -> None:
    with pytest.raises(RecordError, match="a group value"):
        FileKeyGrouper(keys=("a",)).key({"a": value})


def test_a_value_that_holds_itself_fails_the_record() -> None:
    value: dict[str, Any] = {}
    value["me"] = value
    with pytest.raises(RecordError, match="a group value cannot be written as JSON: Circular reference"):
        FileKeyGrouper(keys=("a",)).key({"a": value})


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@given(JSON)
def test_every_json_value_has_a_text(value: Any) -> None:
    assert [type(part) for part in FileKeyGrouper(keys=("a", "b.c")).key({"a": value, "b": {"c": value}})] == [str, str]


# python_exp


def test_values_of_expressions_are_the_group() -> None:
    assert by_expressions({"price": 12, "id": 8}, "item['price'] > 10", "item['id'] % 3") == ("True", "2")
    assert by_expressions({"price": 12}, "'cheap' if item['price'] < 50 else 'dear'") == ("cheap",)
    assert by_expressions({}, "item.get('nope')") == ("unknown",)
    assert by_expressions({}) == ()


def test_an_expression_that_fails_fails_the_record() -> None:
    with pytest.raises(RecordError, match=r"KeyError: 'a' in item\['a'\]"):
        by_expressions({}, "item['a']")
    with pytest.raises(RecordError, match="a group value is of type iterator; it has to be text, a number, null or a date"):
        by_expressions({}, "map(str, [1])")


def test_the_expression_that_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^python_expressions\[1\]: line 1, column 1: unicode is Python 2; write str"):
        PythonExpGrouper(python_expressions=("1", "unicode(item['a'])"))


# python


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "own_groups.py").write_text("def given(record):\n    return record['give']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_groups:given"
    sys.modules.pop("own_groups", None)


def test_a_function_of_ones_own_gives_the_group(groups: str) -> None:
    made = PythonGrouper(function=groups)
    assert made.size == 1
    assert [made.key({"give": value}) for value in ("a", None, 2, ["b"])] == [("a",), ("unknown",), ("2",), ("b",)]
    two = pickle.loads(pickle.dumps(PythonGrouper(function=groups, values=2)))
    assert two.size == 2
    assert two.key({"give": ("a", True)}) == ("a", "True")


def test_the_number_of_values_has_to_be_right(groups: str) -> None:
    with pytest.raises(RecordError, match="own_groups:given gave 3 values; the option values says 2"):
        PythonGrouper(function=groups, values=2).key({"give": [1, 2, 3]})
    with pytest.raises(ConfigError, match="values: "):
        PythonGrouper(function=groups, values=0)
