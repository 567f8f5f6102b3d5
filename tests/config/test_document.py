"""Text of a config to values and places: JSON as JSON, everything else as safe YAML."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.config.document import from_mapping, parse, read
from exporters_beam.errors import ConfigError

from examples import at_least


def problems(text: str, file: str = "export.yaml") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, file)
    return [str(problem) for problem in caught.value.problems]


def test_json_means_what_json_says():
    text = '{\n\t"a": "x\\/y",\n\t"b": 1e3,\n\t"c": "\\ud83d\\ude00",\n\t"d": 123456789012345678901234567890\n}'
    value = parse(text, "export.json").value
    assert value == {"a": "x/y", "b": 1000.0, "c": "😀", "d": 123456789012345678901234567890}
    assert isinstance(value["b"], float)


def test_json_is_known_by_its_content_not_by_its_name():
    assert parse('{"a": 1e3}', "export.yaml").value == {"a": 1000.0}
    assert parse("a: 1", "export.json").value == {"a": 1}


@pytest.mark.parametrize(("text", "meant"), [
    ("NO", False), ("no", False), ("yes", True), ("On", True), ("off", False), ("012", 10), ("1_000", 1000), ("1:30", 90),
    ("12:30:45", 45045), ("0b101", 5), ("0x_1F", 31), ("1e3", 1000.0), ("1.5e3", 1500.0), ("08", 8), ("0o17", 15),
    ("190:20:30.15", 685230.15), ("1_0.5", 10.5), ("2024-13-45", None),
])  # fmt: skip
def test_what_yaml_1_1_and_1_2_read_differently_is_the_text(text, meant):
    document = parse(f"a: {text}\nb: ['{text}', \"{text}\", {text}]\n{text}: 1\n")
    assert list(document.value) == ["a", "b", text]
    assert document.value["a"] == text
    assert document.value["b"] == [text, text, text]
    assert [(odd.path, odd.read.meant) for odd in document.odd] == [(("a",), meant), (("b", 2), meant)]
    assert document.odd[0].warning.startswith(f'{text} is read as the text "{text}", and YAML elsewhere may read ')


@pytest.mark.parametrize("text", ["2024-01-01", "2024-01-01 10:00:00", "2024-01-01T10:00:00Z"])
def test_dates_are_texts(text):
    document = parse(f"a: {text}\n{text}: x\n")
    assert document.value == {"a": text, text: "x"}
    assert "may read a date; put it in quotes" in document.odd[0].warning


@pytest.mark.parametrize(("text", "value"), [("TRUE", True), ("False", False), ("NULL", None), ("+47", 47), ("0x1F", 31)])
def test_what_every_yaml_reads_though_it_looks_like_a_text_can_be_told(text, value):
    document = parse(f"a: {text}\n{text}: 1\n")
    assert document.value == {"a": value, text: 1}
    assert document.odd[0].warning.endswith(f"if the text is meant, or write {json.dumps(value)}")


def test_what_is_plain_in_every_yaml():
    document = parse("a: [true, null, ~, 5, -1, 0, .5, 1., 1.10, 1.5e+3, y, n, '=', =, text]\nb: !!bool no\nc: !!int 012\n")
    values = [True, None, None, 5, -1, 0, 0.5, 1.0, 1.1, 1500.0, "y", "n", "=", "=", "text"]
    assert (document.value["a"], document.value["b"], document.value["c"], document.odd) == (values, False, 10, ())


def test_keys_are_texts_as_in_json():
    assert list(parse("1: a\ntrue: b\nnull: c\n~: d\non: e\n1.0: f\n").value) == ["1", "true", "null", "~", "on", "1.0"]
    assert problems("on: 1\n'on': 2\n") == ["export.yaml:2:1: on: this key stands twice (first on line 1); keep one of them"]


def test_key_order_and_unicode_are_kept():
    assert list(parse("ñ: 1\na: 2\nB: 3").value) == ["ñ", "a", "B"]
    assert list(parse('{"ñ": 1, "a": 2, "B": 3}').value) == ["ñ", "a", "B"]


def test_anchors_and_merge_keys():
    value = parse("base: &base {x: 1, y: 2}\nmine:\n  <<: *base\n  y: 3\nalso: *base\n").value
    assert value["mine"] == {"x": 1, "y": 3}
    assert value["also"] == {"x": 1, "y": 2}


def test_places_of_json():
    document = parse('{"a": {"b": [1,\n  {"c": "]}"}]},\n "é\\"": {}}', "c.json")
    assert document.place(()) == (1, 1)
    assert document.place(("a",)) == (1, 2)
    assert document.place(("a", "b")) == (1, 8)
    assert document.place(("a", "b", 0)) == (1, 14)
    assert document.place(("a", "b", 1)) == (2, 3)
    assert document.place(("a", "b", 1, "c")) == (2, 4)
    assert document.place(('é"',)) == (3, 2)


def test_places_of_yaml():
    document = parse("# comment\na:\n  b:\n    - 1\n    - {c: 2}\né: {ü: x}\n", "c.yaml")
    assert document.place(("a",)) == (2, 1)
    assert document.place(("a", "b")) == (3, 3)
    assert document.place(("a", "b", 0)) == (4, 7)
    assert document.place(("a", "b", 1, "c")) == (5, 8)
    assert document.place(("é", "ü")) == (6, 5)


def test_a_place_that_does_not_exist_is_the_nearest_around_it():
    document = parse("a:\n  b: 1\n", "c.yaml")
    assert document.place(("a", "missing", 3)) == (1, 1)
    assert str(document.problem(("a", "missing"), "is missing")) == "c.yaml:1:1: a.missing: is missing"


def test_a_merged_key_stands_where_it_was_written():
    document = parse("base: &base\n  x: 1\nmine:\n  <<: *base\n  y: 2\n")
    assert document.place(("mine", "x")) == (2, 3)
    assert document.place(("mine", "y")) == (5, 3)


@settings(max_examples=at_least(60), deadline=None)
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v, max_size=3)
                                               | st.dictionaries(st.text(), v, max_size=3), max_leaves=8),
                       min_size=1, max_size=4))  # fmt: skip
def test_every_value_of_any_json_has_the_place_where_it_stands(value):
    text = json.dumps(value, indent=1)
    document = parse(text, "any.json")
    assert document.value == value
    lines = text.split("\n")
    for path, (line, column) in document.places.items():
        if path and isinstance(path[-1], str):
            assert lines[line - 1][column - 1 :].startswith(json.dumps(path[-1]))


def test_documents_can_be_pickled():
    document = parse("a: 1\n", "c.yaml")
    assert document.place(("a",)) == (1, 1)
    assert pickle.loads(pickle.dumps(document)) == document


def test_a_key_that_stands_twice_in_json():
    text = '{"a": 1,\n "b": {"x": 1, "x": 2},\n "a": 2}'
    assert problems(text, "c.json") == [
        "c.json:2:16: b.x: this key stands twice (first on line 2); keep one of them",
        "c.json:3:2: a: this key stands twice (first on line 1); keep one of them",
    ]


def test_a_key_that_stands_twice_in_yaml():
    assert problems("a: 1\nb:\n  - x: 1\n    'x': 2\n") == [
        "export.yaml:4:5: b[0].x: this key stands twice (first on line 3); keep one of them"
    ]


@pytest.mark.parametrize("text", ["", " \n\t ", "\ufeff", "# only a comment\n", "---\n"])
def test_an_empty_file(tmp_path, text):
    path = tmp_path / "empty.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"empty\.yaml: the file is empty; an export needs a reader and a writer"):
        read(path)


@pytest.mark.parametrize(("text", "found"), [("[1]", "a list"), ("null", "null"), ("hello", "a string"), ("3", "a number")])
def test_what_is_no_mapping(text, found):
    assert problems(text)[0].endswith(f"a config is a mapping of sections (reader, writer, …); found {found}")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"nope\.json: there is no such file"):
        read(tmp_path / "nope.json")
    with pytest.raises(ConfigError, match="this is a folder"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: embedded null byte"):
        read("a\0b")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2:7: the file is not UTF-8 text \(byte 0xe9\)"):
        read(tmp_path / "latin.yaml")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "bom.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read(path).value == {"a": 1}


def test_what_is_neither_json_nor_yaml():
    text = '{"reader": {"name": "x", }, "writer": [}'
    assert problems(text, "c.json")[0].startswith("c.json:1:")
    assert "not valid JSON: " in problems(text, "c.json")[0]
    assert problems(text, "c.yaml")[0].startswith("c.yaml:1:40: not valid YAML: ")
    assert problems("a: 1\n\tb: 2\n")[0] == "export.yaml:2:1: a tab indents this line; YAML is indented with spaces"
    assert problems("a: 1\n---\nb: 2\n")[0].startswith("export.yaml:2:1: a second document begins here")
    assert problems("a: *nowhere\n")[0].startswith("export.yaml:1:4: not valid YAML: found undefined alias")
    assert problems("a: 1\nb: \x00\n")[0] == "export.yaml:2:4: the character U+0000 must not stand in a config"


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!own"])
def test_tags_that_make_objects_are_refused(tag):
    assert problems(f"a: 1\nb: {tag} [ls]\n") == [
        f"export.yaml:2:4: the tag {tag} is not allowed here; a config holds plain values only"
    ]


@pytest.mark.parametrize("value", ["!!timestamp 2020-13-45", "!!int x", "!!timestamp x", "!!bool x", "9" * 5000])
def test_yaml_values_that_are_none(value):
    found = problems(f"a: 1\nb: {value}\n")[0]
    assert found.startswith("export.yaml:2:4: not valid YAML: ")
    assert "is not a valid value" in found
    assert len(found) < 600


@pytest.mark.parametrize("text", [
    '{"a":' * 10_000 + "1" + "}" * 10_000,
    "a: " + "[" * 5_000 + "]" * 5_000,
    '{"a": ' + "[" * 200 + "]" * 200 + "}",
])  # fmt: skip
def test_deep_nesting_is_refused(text):
    assert "values are nested more than 100 deep" in problems(text)[0]


def test_deep_mappings_given_to_the_library_are_refused():
    circle = {}
    circle["a"] = [circle]
    with pytest.raises(ConfigError, match="nested more than 100 deep"):
        from_mapping(circle)


def test_aliases_that_multiply_are_refused():
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    assert "its aliases stand for more than 100,000 values" in problems(laughs)[0]
    merges = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
    assert "its aliases stand for more than 100,000 values" in problems(merges)[0]
    assert "an alias stands inside the value it names" in problems("a: &a [1, *a]\n")[0]


def test_many_values_without_aliases_are_no_attack():
    text = "a: [" + "1, " * 120_000 + "1]\n"
    assert len(parse(text).value["a"]) == 120_001


def test_a_long_chain_of_aliases_is_deep():
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 400))
    assert "nested more than 100 deep" in problems(chain)[0]


@settings(max_examples=at_least(100), deadline=None)
@given(st.text(alphabet="{}[]:,-&*!<>|'\"#%@` \n\tab1\x00é", max_size=40))
def test_any_text_is_a_document_or_a_problem(text):
    try:
        document = parse(text, "any.yaml")
    except ConfigError as error:
        assert all(str(problem).startswith("any.yaml:") for problem in error.problems)
    else:
        assert document.place(()) != (0, 0)
