"""What each filter keeps, and what it says about options and records that are wrong."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import Known
from exporters_beam.transforms.filters import (
    JsonSchemaFilter,
    KeyValueFilter,
    KeyValueRegexFilter,
    NoFilter,
    PythonexpFilter,
    PythonFilter,
)

COMPANIES: list[dict[str, Any]] = [
    {"_key": "c-0", "name": "株式会社 52", "country": "United States", "city": {"name": "Leeds"}, "founded": 1919},
    {"_key": "c-1", "name": "Dupont", "country": "Germany", "city": {"name": "Zürich"}, "tags": ["b2b", "niño"]},
    {"_key": "c-2", "name": "Müller & Söhne", "country": "United Kingdom", "employees": None, "founded": 2004},
    {"_key": "c-3", "name": "Peña", "country": "Spain", "employees": 7, "tags": ["saas", "b2b"], "founded": 1949},
    {"_key": "c-4", "name": "Acme", "employees": None, "tags": None, "city": None, "founded": "1901"},
]


def kept(component: Any, records: list[Any] = COMPANIES) -> list[Any]:
    return [record.get("_key", record) for record in records if component.keep(record)]


def key_value(*conditions: dict[str, Any], **options: Any) -> KeyValueFilter:
    made = KeyValueFilter(keys=conditions, **options)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    return again


def one(name: str, value: Any, operator: str | None = None, **options: Any) -> KeyValueFilter:
    condition = {"name": name, "value": value} | ({} if operator is None else {"operator": operator})
    return key_value(condition, **options)


def test_none_keeps_everything() -> None:
    assert kept(NoFilter()) == ["c-0", "c-1", "c-2", "c-3", "c-4"]


# key_value


@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        (("country", "Spain"), ["c-3"]),
        (("country", "Spain", "=="), ["c-3"]),
        (("employees", None), ["c-2", "c-4"]),
        (("city.name", "Zürich"), ["c-1"]),
        (("tags", "b2b", "contains"), ["c-1", "c-3"]),
        (("name", "ü", "contains"), ["c-2"]),
        (("city", "name", "contains"), ["c-0", "c-1"]),
        (("country", ["Spain", "Germany"], "in"), ["c-1", "c-3"]),
        (("name", "Dupont and Acme", "in"), ["c-1", "c-4"]),
        (("founded", "19[0-4]", "re_match"), ["c-0", "c-3", "c-4"]),
        (("employees", "", "re_match"), ["c-3"]),
        (("tags", r"\['saas", "re_match"), ["c-3"]),
    ],
)
def test_key_value_keeps(condition: tuple[Any, ...], keys: list[str]) -> None:
    assert kept(one(*condition)) == keys


@pytest.mark.parametrize(
    ("item", "condition", "expected"),
    [
        ({"a": {"b": 1}}, ("a.b", 1), True),
        ({"a": {}}, ("a.b", 1), False),
        ({}, ("a.b", 1), False),
        ({"a": None}, ("a", None), True),
        ({}, ("a", None), False),
        ({"a.b": 1}, ("a.b", 1), True),
        ({"a": "abcd"}, ("a", "a.c", "re_match"), True),
        ({"a": "xabc"}, ("a", "a.c", "re_match"), False),
        ({"a": ["es", "us"]}, ("a", "es", "contains"), True),
        ({"a": "us"}, ("a", ["es", "us"], "in"), True),
        # 1, 1.0 and true are equal, 1 and "1" are not
        ({"a": 1.0}, ("a", 1), True),
        ({"a": True}, ("a", 1), True),
        ({"a": 1}, ("a", [True], "in"), True),
        ({"a": "1"}, ("a", 1), False),
        ({"a": 2**70}, ("a", 2**70), True),
        ({"a": {"x": [1], "y": 2}}, ("a", {"y": 2, "x": [1]}), True),
        # a path that runs through something else (Q-KV-1), and types that do not go together (Q-KV-3)
        ({"a": None}, ("a.b", 1), False),
        ({"a": "text"}, ("a.b", 1), False),
        ({"a": [{"b": 1}]}, ("a.b", 1), False),
        ({"a": None}, ("a", "x", "contains"), False),
        ({"a": 12}, ("a", 1, "contains"), False),
        ({"a": "12"}, ("a", 1, "contains"), False),
        ({"a": {"k": 1}}, ("a", ["k"], "contains"), False),
        ({"a": 1}, ("a", "123", "in"), False),
        ({"a": [1]}, ("a", [1, 2], "in"), False),
        ({"a": [1]}, ("a", [[1], [2]], "in"), True),
        ({"a": None}, ("a", [None], "in"), True),
        ({"a": 1}, ("a", 5, "in"), False),
        ({"a": 1}, ("a", None, "in"), False),
        ({"a": "k"}, ("a", {"k": 0}, "in"), True),
        # null matches no expression (Q-KV-5), false and 0 do
        ({"a": None}, ("a", "None", "re_match"), False),
        ({"a": False}, ("a", "False", "re_match"), True),
        ({"a": 0}, ("a", "0", "re_match"), True),
        ({"a": 1900}, ("a", 19, "re_match"), True),
    ],
)
def test_key_value_judges(item: dict[str, Any], condition: tuple[Any, ...], expected: bool) -> None:
    assert bool(one(*condition).keep(item)) is expected
    deeper = one(f"top.{condition[0]}", *condition[1:])
    assert bool(deeper.keep({"top": item})) is expected, "the same one level down"


def test_the_separator_can_be_another_one_or_none() -> None:
    assert kept(one("a.b", 1, nested_field_separator=""), [{"a.b": 1}, {"a": {"b": 1}}, {}]) == [{"a.b": 1}]
    assert kept(one("a->b", 1, nested_field_separator="->"), [{"a": {"b": 1}}, {"a->b": 1}]) == [
        {"a": {"b": 1}},
        {"a->b": 1},
    ]


def test_all_conditions_have_to_hold_and_none_keep_everything() -> None:
    both = key_value({"name": "tags", "value": "b2b", "operator": "contains"}, {"name": "country", "value": "Spain"})
    assert kept(both) == ["c-3"]
    assert kept(key_value()) == ["c-0", "c-1", "c-2", "c-3", "c-4"]


def test_what_is_no_mapping_has_no_fields() -> None:
    for condition in (one("a", 1), one("a.b", 1), one("a", "1", "re_match")):
        assert not condition.keep([1])  # type: ignore[arg-type]


def test_conditions_come_from_configs_as_mappings_or_pairs() -> None:
    made = build(KeyValueFilter, {"keys": [[["name", "country"], ["value", "Spain"]], {"name": "founded", "value": 1949}]})
    assert kept(made) == ["c-3"]


@pytest.mark.parametrize("component", [KeyValueFilter, KeyValueRegexFilter])
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({"value": 1}, "keys[1]: name is missing; write {name: field, value: what it has to be}"),
        ({"name": "a"}, "keys[1]: value is missing"),
        ({"name": 5, "value": "1"}, "keys[1].name: 5 is not the name of a field"),
        ({"name": "", "value": "1"}, "keys[1].name: '' is not the name of a field"),
        (
            {"name": "a", "value": "1", "operator": ">"},
            "keys[1].operator: there is no operator '>'; known: ==, in, contains",
        ),
        ({"name": "a", "value": "1", "operater": "in"}, 'keys[1].operater: unknown key; did you mean "operator"?'),
        (
            {"name": "a", "value": "(", "operator": "re_match"},
            "keys[1].value: '(' is not a valid regular expression: missing )",
        ),
        ({"name": "a", "value": None, "operator": "re_match"}, "keys[1].value: None is not a regular expression"),
        ("a", "keys[1]: 'a' is not a mapping with name and value"),
    ],
)
def test_conditions_that_are_wrong_are_told(component: Any, key: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        component(keys=({"name": "a", "value": "x"}, key))
    assert message in str(caught.value)


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(-2, 2) | st.text("ab", max_size=2))),
    st.sampled_from("abc"),
    st.integers(-2, 2) | st.text("ab", max_size=2) | st.none(),
)
def test_equality_is_that_of_python(records: list[dict[str, Any]], name: str, value: Any) -> None:
    made = one(name, value)
    assert [bool(made.keep(record)) for record in records] == [name in r and r[name] == value for r in records]


# key_value_regex


def test_regular_expressions_match_at_the_beginning() -> None:
    def regex(value: Any, name: str = "name", **more: Any) -> list[Any]:
        return kept(pickle.loads(pickle.dumps(KeyValueRegexFilter(keys=({"name": name, "value": value, **more},)))))

    assert regex("^Müller|株") == ["c-0", "c-2"]
    assert regex("United", "country") == ["c-0", "c-2"]
    assert regex("19", "founded") == ["c-0", "c-3", "c-4"]
    assert regex("Z", "city.name") == ["c-1"]
    assert regex("Leeds", "city.name", operator="in") == ["c-0"], "the operator is checked and not used"
    assert regex(".*", "employees") == ["c-3"], "null never matches"


@pytest.mark.parametrize(("value", "expected"), [(12, True), (1.5, True), (21, False), ([1], False), (True, False)])
def test_other_values_than_text_match_as_text(value: Any, expected: bool) -> None:
    assert KeyValueRegexFilter(keys=({"name": "a", "value": "1"},)).keep({"a": value}) is expected


# pythonexp


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        ("item.get('founded') == 1919", ["c-0"]),
        ("item.get('tags')", ["c-1", "c-3"]),
        ("item.get('country', '').startswith('U') and item.get('founded', 0) > 2000", ["c-2"]),
        ("any(tag == 'niño' for tag in item.get('tags') or [])", ["c-1"]),
        ("str(datetime.date.today()) > '2020' and re.match('.*[éñ]', item['name'])", ["c-3"]),
    ],
)
def test_pythonexp_keeps_what_is_true(expression: str, keys: list[str]) -> None:
    made = PythonexpFilter(python_expression=expression)
    assert kept(made) == keys == kept(pickle.loads(pickle.dumps(made)))


def test_pythonexp_of_a_product() -> None:
    made = PythonexpFilter(python_expression="item['price'] * item['stock'] > 300 and not item['on_sale']")
    records = [{"price": 9.99, "stock": 39, "on_sale": False}, {"price": 9.99, "stock": 39, "on_sale": True},
               {"price": 19.5, "stock": 12, "on_sale": False}]  # fmt: skip
    assert [bool(made.keep(record)) for record in records] == [True, False, False]


def test_pythonexp_imports_modules() -> None:
    made = PythonexpFilter(python_expression='j.dumps(item) != "{}"', imports={"j": "json"})
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert [again.keep({}), again.keep({"a": 1})] == [False, True]
    assert PythonexpFilter(python_expression="re.join('a', 'b') == 'a/b'", imports={"re": "posixpath"}).keep({})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"python_expression": "item['a'] = 1"}, "python_expression: line 1, column 1: an assignment is not an expression"),
        ({"python_expression": "("}, "python_expression: line 1, column 1: '(' was never closed"),
        ({"python_expression": "j.dumps(item)"}, "there is no name j"),
        ({"python_expression": "1", "imports": {"j": "jsn_not_there"}}, "imports.j: 'jsn_not_there' cannot be imported"),
        ({"python_expression": "1", "imports": {"j": ""}}, "imports.j: '' cannot be imported"),
        ({"python_expression": "1", "imports": {"_j": "json"}}, "imports: '_j' cannot be the name of a module"),
        ({"python_expression": "1", "imports": {"item": "json"}}, "imports: 'item' cannot be the name of a module"),
        ({"python_expression": "1", "imports": {"a-b": "json"}}, "imports: 'a-b' cannot be the name of a module"),
        ({"python_expression": "j.dmps(1)", "imports": {"j": "json"}}, "the module json has no dmps; did you mean dumps?"),
    ],
)  # fmt: skip
def test_pythonexp_says_what_is_wrong_before_anything_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PythonexpFilter(**options)
    assert message in str(caught.value)


def test_pythonexp_fails_the_record_that_cannot_be_judged() -> None:
    with pytest.raises(RecordError) as caught:
        PythonexpFilter(python_expression="item['nope'] == 1").keep({"id": 0})
    assert str(caught.value) == "KeyError: 'nope' in item['nope'] == 1"


# jsonschema

CONTRACT = {
    "type": "object",
    "required": ["sku"],
    "properties": {
        "price": {"type": "number", "minimum": 0},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
    },
    "$defs": {"tag": {"type": "string", "maxLength": 3}},
}


def test_a_contract_fails_records_that_break_it() -> None:
    made = pickle.loads(pickle.dumps(JsonSchemaFilter(schema=CONTRACT)))
    assert made.keep({"sku": "a", "price": 1, "tags": ["x"]})
    with pytest.raises(RecordError) as caught:
        made.keep({"price": -1, "tags": ["x", "long"]})
    assert str(caught.value) == (
        "it breaks the contract: $: 'sku' is a required property; $.price: -1 is less than the minimum of 0; "
        "$.tags[1]: 'long' is too long"
    )
    with pytest.raises(RecordError, match=r"\$: \[1\] is not of type 'object'"):
        made.keep([1])


def test_a_contract_can_drop_them_instead() -> None:
    made = JsonSchemaFilter(schema=CONTRACT, on_violation="drop")
    assert [made.keep(record) for record in ({"sku": "a"}, {}, {"sku": 1, "price": "x"})] == [True, False, False]


def test_the_draft_is_the_one_the_schema_names() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"a": {"minimum": 1, "exclusiveMinimum": True}},
    }
    made = JsonSchemaFilter(schema=schema, on_violation="drop")
    assert [made.keep({"a": 1}), made.keep({"a": 2})] == [False, True]


def test_long_values_are_cut_in_messages() -> None:
    made = JsonSchemaFilter(schema={"properties": {"a": {"type": "integer"}}})
    with pytest.raises(RecordError) as caught:
        made.keep({"a": "x" * 10_000})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, "schema: it is not a JSON Schema: $.type: 'objekt' is not valid"),
        ({"properties": {"a": {"minimum": "1"}}}, "schema: it is not a JSON Schema: $.properties.a.minimum"),
        ({"properties": {"a": {"pattern": "("}}}, "schema: it is not a JSON Schema: $.properties.a.pattern"),
        (
            {"$ref": "http://169.254.169.254/latest"},
            "schema: the $ref 'http://169.254.169.254/latest' names nothing in it",
        ),
        ({"properties": {"a": {"$ref": "other.json#/a"}}}, "schema: the $ref 'other.json#/a' names nothing in it"),
        ({"properties": {"a": {"$ref": "#/$defs/gone"}}}, "schema: the $ref '#/$defs/gone' names nothing in it"),
        ({"$schema": 5}, "schema.$schema: it has to be the address of a draft of JSON Schema"),
    ],
)
def test_contracts_that_are_wrong_are_told(schema: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JsonSchemaFilter(schema=schema)
    assert message in str(caught.value)


def test_references_inside_a_schema_with_names_work() -> None:
    schema = {"$id": "https://example.org/a.json", "$ref": "#/$defs/x", "$defs": {"x": {"$ref": "b.json"},
              "y": {"$id": "https://example.org/b.json", "type": "object", "required": ["k"]}}}  # fmt: skip
    made = JsonSchemaFilter(schema=schema, on_violation="drop")
    assert [made.keep({"k": 1}), made.keep({})] == [True, False]


# python


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's."""
    (tmp_path / "own_rules.py").write_text("def wanted(record):\n    return record['n'] > 1\n\nnumber = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_rules"
    sys.modules.pop("own_rules", None)


@pytest.mark.parametrize("between", [":", "."])
def test_a_function_of_ones_own_decides(rules: str, between: str) -> None:
    made = PythonFilter(function=f"{rules}{between}wanted")
    assert [made.keep({"n": n}) for n in (1, 2)] == [False, True]
    again = pickle.loads(pickle.dumps(made))
    assert again == made and again.keep({"n": 3})


def test_a_function_is_not_imported_while_the_config_is_checked() -> None:
    made = PythonFilter(function="no_such_package_here:wanted")
    with pytest.raises(ConfigError, match=r"function: no_such_package_here:wanted cannot be imported: No module named"):
        made.setup()


@pytest.mark.parametrize("name", ["", "wanted", "a b:c", ":f", "m:", "m:f()", "m:1", "../m:f"])
def test_what_is_no_name_of_a_function_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"function: .* is not the name of a function; write package.module:function"):
        PythonFilter(function=name)


def test_a_name_that_is_no_function_is_told(rules: str) -> None:
    with pytest.raises(ConfigError, match="function: the module own_rules has no function 'wnted'"):
        PythonFilter(function=f"{rules}:wnted").keep({"n": 1})
    with pytest.raises(ConfigError, match="function: own_rules:number is not a function but int"):
        PythonFilter(function=f"{rules}:number").setup()


def test_statistics_that_count_nan_prove_nothing():
    """Some writers put NaN where the smallest and largest value stand: no record may be passed over for that."""
    nan = float("nan")
    for value in (5, 2.5):
        made = KeyValueFilter(keys=({"name": "a", "value": value},))
        for least, most in ((nan, nan), (nan, 9.0), (0.0, nan)):
            assert made.may_keep({"a": Known(least, most, False)})
        assert not made.may_keep({"a": Known(6.0, 9.0, False)})
