"""`exporters-beam test --update` changes the records that a test expects and nothing else, or says why it does not."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters_beam.cli.main import main
from exporters_beam.config.document import parse
from exporters_beam.testing.edits import NoSafeEdit, updated
from exporters_beam.testing.written import as_json, same

from examples import at_least

HEAD = 'reader: random\nwriter: console  # "é" 😀\n'

RECORDS = [{"a": 1}, {"a": "x y", "b": [None, True, 1.5, "NO", "2026-01-31", "a: b #c", {}]}]

FLOW = '{a: x y, b: [null, true, 1.5, "NO", "2026-01-31", "a: b #c", {}]}'

SPREAD = 'a: x y\n        b: [null, true, 1.5, "NO", "2026-01-31", "a: b #c", {}]'
"""The second record over several lines, in a list that is indented by six."""


def after(tests: str, records: list[object] = RECORDS) -> str:
    """The text below HEAD with these records in the first test."""
    made = updated(parse(f"{HEAD}{tests}", "c.yaml"), ("tests", 0), records).text
    assert made.startswith(HEAD)
    return made.removeprefix(HEAD)


@pytest.mark.parametrize(("before", "wanted"), [
    ("- name: t\n  expect:\n  - {a: 1}   # one\n  # two\n  - {a: 2}  # more\n\n  # behind\n  given: []\n",
     f"- name: t\n  expect:\n  - {{a: 1}}   # one\n  # two\n  - {FLOW}  # more\n\n  # behind\n  given: []\n"),
    ("  - name: t\n    expect:\n      - a: 0\n        c: |\n          x\n\n      # the same\n      -   a:   1\n",
     f"  - name: t\n    expect:\n\n      # the same\n      -   a:   1\n      - {SPREAD}\n"),
    ("  - expect: []  # none\n    name: t", f"  - expect:  # none\n      - {{a: 1}}\n      - {FLOW}\n    name: t"),
    ("  - name: t\n    expect:  # fill\n", f"  - name: t\n    expect:  # fill\n      - {{a: 1}}\n      - {FLOW}\n"),
    ("  - name: t\n    expect: null", f"  - name: t\n    expect:\n      - {{a: 1}}\n      - {FLOW}"),
    ("  - expect: [{a: 1},\n      {b: 1}]\n", f"  - expect:\n      - {{a: 1}}\n      - {FLOW}\n"),
    ("  [{name: t, expect: [{a: 5}], given: []}]  # x", f"  [{{name: t, expect: [{{a: 1}}, {FLOW}], given: []}}]  # x"),
    ("  [{expect: , given: []}]", f"  [{{expect: [{{a: 1}}, {FLOW}], given: []}}]"),
    ('  - "expect":\n      - {a: 1}\n', f'  - "expect":\n      - {{a: 1}}\n      - {FLOW}\n'),
])  # fmt: skip
def test_yaml(before: str, wanted: str) -> None:
    assert after(f"tests:\n{before}") == f"tests:\n{wanted}"


def test_records_that_stand_over_several_lines() -> None:
    text = "tests:\n  - expect:\n      - a: 1\n        c: |\n          x\n\n      - a: 2  # one\n        b: []  # two\n  # end"
    made = after(text, [{"a": 1, "c": "x\n"}, {"a": 3, "b": ["c"]}, {}])
    assert made == text.replace("a: 2  # one", "a: 3").replace("[]  # two", "[c]  # two\n      - {}")


def test_line_ends_and_no_records() -> None:
    text = f"{HEAD}tests:\n  - name: t\n    expect:\n      - {{a: 1}}  # x\n      - {{b: 1}}\n    given: []\n"
    made = updated(parse(text.replace("\n", "\r\n"), "c.yaml"), ("tests", 0), [{"a": 1}, {"c": 1}, {"d": 1}]).text
    assert made == text.replace("{b: 1}", "{c: 1}\n      - {d: 1}").replace("\n", "\r\n")
    assert after("tests:\n  - name: t\n    expect:\n      - {a: 1}\n    given: []\n", []) == (
        "tests:\n  - name: t\n    expect: []\n    given: []\n"
    )


@pytest.mark.parametrize(("tests", "why"), [
    ("x-a: &a [{a: 1}]\ntests: [{name: t, expect: *a}]", "an alias stands there; write the records themselves"),
    ("x-a: &a {a: 1}\ntests:\n  - expect:\n      - *a\n      - {b: 1}\n",
     "an alias stands in the list; write the records themselves"),
    ("tests:\n  - expect: &a\n      - {b: 1}\n  - expect: *a\n",
     "the records cannot be written there so that they are read as they are"),
    ("tests:\n  - expect: [{b: 1},\n      # why\n      {b: 2}]\n", "comments stand between the records; they would be lost"),
])  # fmt: skip
def test_what_is_not_safe_is_left_alone(tests: str, why: str) -> None:
    with pytest.raises(NoSafeEdit) as caught:
        after(tests)
    assert str(caught.value) == why


@pytest.mark.parametrize(("before", "wanted"), [
    ('{\n  "tests": [\n    {\n      "expect": [{"a": 2}],\n      "name": "t"\n    }\n  ]\n}\n',
     '{\n  "tests": [\n    {\n      "expect": [\n        {"a": 1},\n        {"b": "é\\n"}\n      ],\n'
     '      "name": "t"\n    }\n  ]\n}\n'),
    ('{"tests":\n[{"expect"  :  null, "name": "t"}]}', '{"tests":\n[{"expect"  :  [{"a": 1}, {"b": "é\\n"}], "name": "t"}]}'),
])  # fmt: skip
def test_json(before: str, wanted: str) -> None:
    assert updated(parse(before), ("tests", 0), [{"a": 1}, {"b": "é\n"}]).text == wanted


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)

STYLES = [
    "tests:\n  - expect:\n      - {a: 1}\n      - {b: 1}\n    name: t\n",
    "tests:\n- expect:\n  - a: 1\n    b: 2\n  name: t\n",
    "tests: [{expect: [], name: t}]",
    "tests:\n  - expect:",
    '{"tests": [{"expect": [],\n"name": "t"}]}',
]


@settings(max_examples=at_least(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(STYLES), st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=3))
def test_records_of_any_kind_are_read_as_they_are_or_nothing_is_changed(text: str, records: list[object]) -> None:
    document = parse(text)
    try:
        made = updated(document, ("tests", 0), records)
    except NoSafeEdit:
        return
    assert same(as_json(parse(made.text).value["tests"][0]["expect"]), as_json(records))
    assert updated(made, ("tests", 0), records).text == made.text


def test_texts_are_written_whatever_they_are() -> None:
    texts = ["", " ", "a b", "a: b", "a #b", "- a", "yes", "NO", "null", "~", "1", "1e3", "0x1f", "2026-01-31", "12:30", "é",
             "😀", "\t", "\n", "\x85", "\u2028", "\x7f", "\ufeff", "{a}", "[", "&a", "*a", "!a", "%", "@a", "`", "'", '"', "\\",
             "a,b", "<<", "=", "a/b", "a.b", "?", "? a", "a-", "x_1", "true", ".nan", "${vars.x}"]  # fmt: skip
    records = [{text: text} for text in texts]
    for style in STYLES:
        assert same(as_json(updated(parse(style), ("tests", 0), records).value["tests"][0]["expect"]), as_json(records))


def test_the_command_keeps_the_file_as_it_was_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tests = [{"name": "a", "given": [{"n": 1}], "expect": []}, {"name": "b", "given": [{"n": 2}], "expect": [{"n": 2}]},
             {"name": "c", "given": [{"n": 3}], "expect": None}, {"name": "d", "given": [{"n": 4}]},
             {"name": "e", "given": [{"n": 5}], "expect": [], "dropped": 1}]  # fmt: skip
    path, link = tmp_path / "c.json", tmp_path / "link.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"reader": "random", "writer": "console", "tests": tests}).encode())
    path.chmod(0o640)
    link.symlink_to(path)
    assert main(["test", str(link), "--update"]) == 1
    assert [line for line in capsys.readouterr().out.splitlines() if line[0] != " "] == [
        "ok      a (updated)", "ok      b", "ok      c (updated)", "ok      d", f"FAILED  e (updated): {link}:1",
        "5 tests: 4 ok, 1 failed, 3 updated"]  # fmt: skip
    for at in (0, 2, 4):
        tests[at]["expect"] = tests[at]["given"]
    wanted = json.dumps({"reader": "random", "writer": "console", "tests": tests})
    assert path.read_bytes() == b"\xef\xbb\xbf" + wanted.encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and link.is_symlink() and len(list(tmp_path.iterdir())) == 2
    text = "reader: random\nwriter: console\nx-a: &a []\ntests: [{name: t, given: [{}], expect: *a}]\n"
    path.write_text(text)
    assert main(["test", str(path), "--update"]) == 1
    assert "FAILED  t (not updated: an alias stands there; write the records themselves)" in capsys.readouterr().out
    assert path.read_text() == text
