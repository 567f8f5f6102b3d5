"""The command `test`: what it judges, what it prints, how it ends, and that an export knows nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make

SHOP = """\
reader: {name: fs, options: {input: x.jl}}
filter_before: {name: pythonexp, options: {python_expression: "item['stock'] > 0"}}
transform: {name: pythonexp, options: {python_expressions: ["item.update(value=item['price'] * item['stock'])"]}}
filter_after: {name: dupe, options: {key_field: sku}}
grouper: {name: file_key, options: {keys: [country]}}
writer: {name: fs, options: {filebase: "out/{groups[0]}/%Y-%m-", compression: none}}
on_error: skip
"""

GIVEN = """\
    given:
      - {sku: a, country: DK, stock: 2, price: 1.5}
      - {sku: b, country: SE, stock: 0, price: 2}
      - {sku: c, country: SE, stock: 1, price: 2}
      - {sku: a, country: SE, stock: 1, price: 2}
      - {sku: d, country: SE, stock: 1}
"""

CSV = """\
reader: {name: fs, options: {input: x.csv}}
deserializer: {name: csv}
formatter: {name: csv, options: {fields: [b, a], show_titles: true}}
writer: {name: fs, options: {filebase: out/x-, compression: none}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said_of(text: str, *args: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(status, output, errors) of the command for a config with this text."""
    Path("c.yaml").write_text(text, encoding="utf-8")
    status = main(["test", "c.yaml", *args])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize(("says", "wrong"), [
    ("expect: [{sku: a, country: DK, stock: 2, price: 1.50, value: 3.0}, "
     "{price: 2, value: 2, sku: c, country: SE, stock: 1}]", ""),
    ("expect: []", "expect: 0 records expected, 2 come out\n"
                   '    + {"sku": "a", "country": "DK", "stock": 2, "price": 1.5, "value": 3.0}\n'
                   '    + {"sku": "c", "country": "SE", "stock": 1, "price": 2, "value": 2}'),
    ("dropped: 2", ""),
    ("dropped: 3", "dropped: 3 records expected to be dropped, 2 were (filter_before: 1, filter_after: 1)"),
    ("dropped: {filter_before: 1, filter_after: 1}", ""),
    ("dropped: {filter_after: 0}", "dropped.filter_after: filter_after drops 1 record, 0 expected"),
    ("groups: {DK: 1, SE: 1}", ""),
    ("groups: {DK: 1, out/SE/2026-01-0000.jl: [{sku: c, country: SE, stock: 1, price: 2, value: 2}]}", ""),
    ("groups: {DK: 1, NO: 0}", "groups: there are more groups\n    + SE: 1"),
    ("groups: {DK: 2, SE: 1}", "groups.DK: 2 records expected in DK, there is 1\n"
                               '    + {"sku": "a", "country": "DK", "stock": 2, "price": 1.5, "value": 3.0}'),
    ("groups: {DK: 1, SE: [{sku: x}]}", "groups.SE: the records in SE are others\n"
                                        '    - {"sku": "x"}\n'
                                        '    + {"sku": "c", "country": "SE", "stock": 1, "price": 2, "value": 2}'),
    ('formatted: "{\\"sku\\":1}\\n"', "formatted: the text is another one\n"
     '    - {"sku":1}\n'
     '    + {"sku":"a","country":"DK","stock":2,"price":1.5,"value":3.0}\n'
     '    + {"sku":"c","country":"SE","stock":1,"price":2,"value":2}'),
])  # fmt: skip
def test_what_a_test_judges(says: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{SHOP}tests:\n  - name: t\n    now: 2026-01-31\n    failed: 1\n{GIVEN}    {says}\n"
    status, out, _ = said_of(text, capsys=capsys)
    if not wrong:
        assert (status, out) == (0, "ok      t\n1 test: 1 ok\n")
        return
    line = 18 if wrong.count(":") and says.split(":")[0] in ("expect", "dropped", "groups", "formatted") else 9
    assert status == 1
    assert out == f"FAILED  t: c.yaml:9\n  c.yaml:{line}: {wrong}\n1 test: 0 ok, 1 failed\n"


FAILED = (
    '+ {"step": "transform", "error": "KeyError: ',
    '"record": {"sku": "d", "country": "SE", "stock": 1}} (given record 5)',
)


@pytest.mark.parametrize(("says", "what", "lines"), [
    ("failed: [{step: transform, error: price, record: {sku: d, country: SE, stock: 1}}]", "", []),
    ("failed: [{}]", "", []),
    ("", "1 record failed; `failed` does not name it", ["+"]),
    ("failed: 2", "failed: 2 records expected to fail, 1 failed", ["+"]),
    ("failed: []", "failed: 0 records expected to fail, 1 failed", ["+"]),
    ("failed: [{step: filter_before}]", "failed: 1 record expected to fail, 1 failed", ['- {"step": "filter_before"}', "+"]),
    ("failed: [{error: prize}]", "failed: 1 record expected to fail, 1 failed", ['- {"error": "prize"}', "+"]),
    ("failed: [{error: price}, {record: {a: 1}}]", "failed: 2 records expected to fail, 1 failed", ['- {"record": {"a": 1}}']),
])  # fmt: skip
def test_which_records_fail(says: str, what: str, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said_of(f"{SHOP}tests:\n  - name: t\n{GIVEN}    {says}\n", capsys=capsys)
    assert status == bool(what)
    if what:
        told = out.splitlines()
        assert told[1] == f"  c.yaml:{16 if says else 9}: {what}"
        found = [text[4:] for text in told[2:-1]]
        assert [text if text[0] == "-" else "+" for text in found] == lines
        for text in found:
            assert text[0] == "-" or (FAILED[0] in text and text.endswith(FAILED[1]))


def test_text_is_decoded_and_formatted(capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        CSV
        + """\
tests:
  - name: quirks
    given: |
      a,b
      1,"x
      y"
      "2",
    expect:
      - {a: "1", b: "x\\ny"}
      - {a: "2", b: ""}
    formatted: |
      "b","a"
      "x
      y","1"
      "","2"
  - name: a row with a cell too many
    given: "a,b\\n1,2,3\\n"
    failed: [{step: deserializer, error: "3", record: ["1", "2", "3"]}]
"""
    )
    status, out, _ = said_of(text, capsys=capsys)
    assert (status, out.splitlines()[0]) == (0, "ok      quirks"), out


def test_a_text_that_cannot_be_read_fails_its_test_alone(capsys: pytest.CaptureFixture[str]) -> None:
    text = CSV.replace("{name: csv}", "{name: xml}", 1) + "tests:\n  - {name: broken, given: '<a><b></a>'}\n"
    text += "  - {name: sound, given: [{a: 1, b: 2}]}\n"
    status, out, _ = said_of(text, capsys=capsys)
    assert status == 1
    assert out.startswith("FAILED  broken: c.yaml:6\n  c.yaml:6: given: the text cannot be read: given: ")
    assert out.endswith("ok      sound\n2 tests: 1 ok, 1 failed\n")


def test_long_records_are_compared_field_by_field_and_what_is_far_away_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"n": n, "text": "x" * 100, "at": {"a": n, "b": 1}} for n in range(9)]
    expected = json.loads(json.dumps(records))
    expected[4]["at"]["b"] = 1.0
    expected[4]["more"] = None
    del expected[4]["text"]
    config = {"reader": "random", "writer": "console", "tests": [{"name": "t", "given": records, "expect": expected}]}
    _, out, _ = said_of(json.dumps(config), capsys=capsys)
    lines = [line[4:] for line in out.splitlines()[2:-1]]
    assert lines[0] == "  … 2 more that are as expected"
    assert lines[4:8] == ["-   at.b: 1.0", "+   at.b: 1", "-   more: null", f'+   text: "{"x" * 100}"']
    assert lines[3].startswith('  record 5, {"n": 4, ') and lines[-1] == "  … 2 more that are as expected"


@pytest.mark.parametrize(("tests", "wrong"), [
    ("[{nme: a, name: b, given: []}]", "1:10: tests[0].nme: unknown key; did you mean \"name\"?"),
    ("[{name: a}]", "1:9: tests[0].given: this key is missing"),
    ("[{name: a, given: [1]}]", "1:27: tests[0].given[0]: wrong type: found 1, expected a record, which is a mapping"),
    ("[{name: a, given: [], expect: 1}]", "1:30: tests[0].expect: wrong type: found the number 1, expected a list of mappings"),
    ("[{name: a, given: [], failed: [{stp: x}]}]", "1:40: tests[0].failed[0].stp: unknown key; did you mean \"step\"?"),
    ("[{name: a, given: [], dropped: {filter_befor: 1}}]",
     "1:40: tests[0].dropped.filter_befor: there is no step 'filter_befor'; did you mean \"filter_before\"?"),
    ("[{name: a, given: [], failed: [{step: transfrm}]}]",
     "1:40: tests[0].failed[0].step: there is no step 'transfrm'; did you mean \"transform\"?"),
    ("[{name: a, given: [], groups: {x: -1}}]", "1:39: tests[0].groups.x: wrong type: found -1, expected a number of records"),
    ("[{name: a, given: [], now: noon}]", '1:30: tests[0].now: "noon" is not a time; write it as 2026-01-31T10:00:00'),
    ("[{name: a, given: [], now: '2026-01-31T10:00:00+01:00'}]", '1:30: tests[0].now: "2026-01-31T10:00:00+01:00" has a time '
     "zone; write the local time, as 2026-01-31T10:00:00"),
    ("[{name: a, given: [], env: {A: 1}}]", "1:36: tests[0].env.A: wrong type: found 1, expected a string; put it in quotes"),
    ("[{name: a, given: []}, {name: a, given: []}]", '1:32: tests[1].name: tests[0] is called "a" already; give one of them '
     "another name"),
    ("[{name: a, given: [], vars: {x: 1}}]", "1:9: tests[0]: vars.x: nothing uses this variable"),
    ("[{name: a, given: x}]", "1:9: tests[0]: reader: random gives records, not text; give the records as a list"),
    ("[{name: a, given: [], writer: x}]", "1:30: tests[0].writer: there is no writer 'x'; the export has one, so leave "
     "this out"),
    ("[3]", "1:9: tests[0]: wrong type: found a number, expected a mapping with name and given"),
    ("{name: a}", "1:1: tests: wrong type: found a mapping, expected a list of tests, or the name of a file with them"),
    ("none.yaml", "none.yaml: there is no such file"),
    ("[]", "there are no tests; write them as a list below the key `tests`"),
])  # fmt: skip
def test_mistakes_are_told_with_their_places(tests: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said_of(f"tests: {tests}\nreader: random\nwriter: console\n", capsys=capsys)
    place = "" if wrong.startswith("none") else "c.yaml:" if wrong[0] == "1" else "c.yaml: "
    assert (status, out, err) == (2, "", f"error: {place}{wrong}\n")
    if "vars.x" not in wrong and "not text" not in wrong and tests != "[]":  # What shows only when they are run.
        assert main(["validate", "c.yaml"]) == 2
        assert capsys.readouterr().err == err


def test_a_file_of_tests_is_read_by_test_and_validate_only(capsys: pytest.CaptureFixture[str]) -> None:
    Path("d").mkdir()
    Path("d/c.yaml").write_text("reader: random\nwriter: console\ntests: t.yaml\n")
    load("d/c.yaml")
    Path("d/t.yaml").write_text("x-why: because\ntests: [{name: a, given: [{b: 1}], expect: [{b: 2}]}]\n")
    assert main(["test", "d/c.yaml"]) == 1
    assert "\n  d/t.yaml:2: expect: 1 record expected, 1 comes out\n" in capsys.readouterr().out
    assert main(["test", "d/c.yaml", "--update"]) == 0
    assert "expect: [{b: 1}]" in Path("d/t.yaml").read_text()
    Path("d/t.yaml").write_text("test: []\n")
    capsys.readouterr()
    assert main(["validate", "d/c.yaml"]) == 2
    assert capsys.readouterr().err == 'error: d/t.yaml:1:1: test: unknown key; did you mean "tests"?\n'


def test_an_export_is_the_same_with_tests(capsys: pytest.CaptureFixture[str]) -> None:
    config: dict[str, Any] = {"reader": "random", "writer": {"name": "fs", "options": {"filebase": "out/x-"}}}
    tests = [{"name": "a", "given": [{"a": "${vars.none} ${env:NONE}"}], "expect": [{"a": float("nan")}]}]
    one, other = load(config), load({**config, "tests": tests})
    assert make(one).export_id == make(other).export_id
    assert one.document == other.document


def test_variables_environment_secrets_and_time_are_of_each_test(capsys: pytest.CaptureFixture[str]) -> None:
    text = """\
reader: random
writer: {name: fs, options: {filebase: "out/${vars.name}-%d-", password: "${secret:gcp:projects/p/secrets/unused}"}}
vars: {name: x, least: 1}
env: [TOWN]
transform: {name: fields, options: {set: {town: "${env:TOWN}", day: {run_date: "%Y-%m-%d"}}, hash: {id: hmac_sha256},
            hash_key: "SECRET"}}
filter_after: {name: pythonexp, options: {python_expression: "item['n'] >= ${vars.least}"}}
tests:
  - name: a
    now: 2026-02-03
    vars: {name: z, least: 3}
    env: {TOWN: Vejle, SALT: pepper}
    secrets: {"gcp:projects/p/secrets/salt": pepper}
    given: [{n: 2, id: 7}, {n: 3, id: 7}]
    expect: [{n: 3, id: 55ab30d9c6e0d4a8e20ee3ab4a2a1e0a8a1b5b4ad2c8a7e34bda2e9e1bbf6f36, town: Vejle, day: "2026-02-03"}]
    groups: {out/z-03-0000.jl.gz: 1}
""".replace(', password: "${secret:gcp:projects/p/secrets/unused}"', "")
    import hashlib
    import hmac

    digest = hmac.digest(b"pepper", b"7", hashlib.sha256).hex()
    text = text.replace("55ab30d9c6e0d4a8e20ee3ab4a2a1e0a8a1b5b4ad2c8a7e34bda2e9e1bbf6f36", digest)
    for secret in ("${secret:env:SALT}", "${secret:gcp:projects/p/secrets/salt}"):
        found = said_of(text.replace("SECRET", secret), capsys=capsys)
        assert found == (0, "ok      a\n1 test: 1 ok\n", "")
    status, _, err = said_of(text.replace("SECRET", "${secret:env:NONE}"), capsys=capsys)
    assert (status, err) == (2, "error: c.yaml:9:5: tests[0]: transform: option hash_key: ${secret:env:NONE}: the environment "
                                "variable NONE is not set; give the test a value for it: env: {NONE: …}\n")  # fmt: skip
    status, _, err = said_of(text.replace("SECRET", "${secret:aws:none}"), capsys=capsys)
    assert err.endswith(
        '${secret:aws:none}: tests do not fetch secrets; give the test a value for it: secrets: {"aws:none": …}\n'
    )


def test_names_are_picked(capsys: pytest.CaptureFixture[str]) -> None:
    text = "reader: random\nwriter: console\ntests: [{name: One, given: []}, {name: two, given: []}]\n"
    assert said_of(text, "-k", "one", capsys=capsys)[:2] == (0, "ok      One\n1 test: 1 ok\n")
    status, out, err = said_of(text, "-k", "twoo", capsys=capsys)
    assert (status, out, err) == (2, "", 'error: -k twoo: no test has this in its name; did you mean "two"?\n')


def test_several_configs_and_a_wrong_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("reader: random\nwriter: console\ntests: [{name: a, given: []}]\n")
    Path("b.yaml").write_text("reader: random\nwriter: console\n")
    Path("c.yaml").write_text("reader: random\n")
    assert main(["test", "a.yaml", "b.yaml"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("ok      a\n1 test: 1 ok\n", "warning: b.yaml: there are no tests\n")
    Path("c.yaml").write_text("reader: random\ntests: [{name: c, given: []}]\n")
    assert main(["test", "a.yaml", "c.yaml", "--junit", "j.xml"]) == 2
    (_, wrong) = ElementTree.parse("j.xml").getroot()
    assert (wrong.get("name"), wrong.get("errors")) == ("c.yaml", "1")
    assert wrong[0][0].get("message") == "this section is missing; an export needs a reader and a writer"
    said = capsys.readouterr()
    assert said.out == "ok      a\n1 test: 1 ok\n" and said.err.startswith("error: c.yaml:1:1: writer: this section is missing")


def test_what_yaml_may_misread_is_warned_of_by_test_alone(capsys: pytest.CaptureFixture[str]) -> None:
    test = "{name: a, given: [{c: NO, d: 2026-01-31}], expect: [{c: 'NO', d: '2026-01-31'}]}"
    text = f"reader: random\nwriter: console\ntests: [{test}]\n"
    status, _, err = said_of(text, capsys=capsys)
    assert status == 0
    assert err.startswith('warning: c.yaml:3:28: tests[0].given[0].c: NO is read as the text "NO"') and err.count("\n") == 1
    assert not load("c.yaml").warnings


def test_junit(capsys: pytest.CaptureFixture[str]) -> None:
    config = {"reader": "random", "writer": "console", "tests": [
        {"name": "a <b> \x01", "given": [{"a": "\x00 & ]]>"}], "expect": []}, {"name": "b", "given": []}]}  # fmt: skip
    assert said_of(json.dumps(config), "--junit", "j.xml", capsys=capsys)[0] == 1
    (suite,) = ElementTree.parse("j.xml").getroot()
    assert {key: suite.get(key) for key in ("name", "tests", "failures")} == {"name": "c.yaml", "tests": "2", "failures": "1"}
    one, other = suite
    assert (one.get("name"), one.get("file"), one.get("line")) == ("a <b> \\x01", "c.yaml", "1")
    (failure,) = one
    assert failure.get("message") == "0 records expected, 1 comes out"
    assert (failure.text or "").endswith('+ {"a": "\\u0000 & ]]>"}') and len(other) == 0
    assert said_of(json.dumps(config), "--junit", "none/j.xml", capsys=capsys)[0] == 2


WRITERS = """\
reader: {name: fs, options: {input: x.jl}}
filter_before: {name: pythonexp, options: {python_expression: "item['stock'] > 0"}}
grouper: {name: file_key, options: {keys: [country]}}
writers:
  - {name: fs, as: all, options: {filebase: "all/{groups[0]}/", compression: none}}
  - name: fs
    as: denmark
    when: "item['country'] == 'DK'"
    fields: {select: [sku, price], types: {price: integer}}
    grouper: {name: none}
    formatter: {name: csv, options: {fields: [sku, price]}}
    options: {filebase: dk/, compression: none}
checks: {coverage: {sku: 1}}
tests:
"""


def test_of_several_writers_one_is_meant_or_what_is_done_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    records = "[{sku: a, country: DK, stock: 1, price: '2'}, {sku: b, country: SE, stock: 1, price: '3'}, {stock: 0}]"
    more = "{sku: c, country: DK, stock: 1, price: x}"
    text = f"""\
  - name: common
    given: {records}
    expect: {records.replace(", {stock: 0}", "")}
    dropped: {{filter_before: 1}}
  - name: all
    writer: all
    given: {records}
    groups: {{DK: 1, all/SE/0000.jl: 1}}
  - name: denmark
    writer: denmark
    given: {records[:-1]}, {more}]
    expect: [{{sku: a, price: 2}}]
    dropped: {{filter_before: 1, when: 1}}
    failed: [{{step: fields, error: price, record: {more}}}]
    groups: {{dk/0000.csv: 1}}
    formatted: |
      "sku","price"
      "a",2
"""
    status, out, _ = said_of(WRITERS + text, capsys=capsys)
    assert (status, out) == (0, "ok      common\nok      all\nok      denmark\n3 tests: 3 ok\n"), out
    given = [{"sku": "a", "country": "DK", "stock": 1, "price": "2"}]
    assert exporters_beam.apply("c.yaml", given, writer="denmark").records == ({"sku": "a", "price": 2},)
    with pytest.raises(ConfigError, match="there is no writer 'denmrk'; did you mean \"denmark\""):
        exporters_beam.apply("c.yaml", [], writer="denmrk")


@pytest.mark.parametrize(("says", "wrong"), [
    ("writer: denmrk", "15:26: tests[0].writer: there is no writer 'denmrk'; did you mean \"denmark\"?"),
    ("groups: {DK: 1}", "15:26: tests[0].groups: there are several writers; say which one is meant: writer: all or denmark"),
    ("dropped: {when: 1}", "15:36: tests[0].dropped.when: there is no step 'when'; known: deserializer, filter_before, "
     "transform, filter_after, grouper, formatter, writer"),
])  # fmt: skip
def test_mistakes_with_several_writers(says: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = said_of(f"{WRITERS}  - {{name: a, given: [], {says}}}\n", capsys=capsys)
    assert (status, err) == (2, f"error: c.yaml:{wrong}\n")
    assert main(["validate", "c.yaml"]) == 2
    assert capsys.readouterr().err == err


def test_apply_takes_records_or_text_and_leaves_them_as_they_are() -> None:
    config = {"reader": {"name": "fs", "options": {"input": "x"}}, "writer": {"name": "fs", "options": {"filebase": "o/%d-"}},
              "transform": {"name": "pythonexp", "options": {"python_expressions": ["item['a'].append(${vars.n})"]}},
              "vars": {"n": 1}}  # fmt: skip
    given = [{"a": [0]}, {"b": 1}]
    found = exporters_beam.apply(config, iter(given), variables={"n": 2}, now=datetime(2026, 1, 31))
    assert given == [{"a": [0]}, {"b": 1}]
    assert (found.records, found.formatted, found.names) == (({"a": [0, 2]},), b'{"a":[0,2]}\n', {(): "o/31-0000.jl.gz"})
    (failed,) = found.failed
    assert (failed.step, failed.record, failed.number) == ("transform", {"b": 1}, 2) and "'a'" in failed.error
    assert exporters_beam.apply(config, b'{"a": []}\n{"a": [7]}').records == ({"a": [1]}, {"a": [7, 1]})
    with pytest.raises(TypeError, match="record 2 is a list, \\[1\\]; a record is a mapping"):
        exporters_beam.apply(config, [{}, [1]])  # type: ignore[list-item]


def test_no_beam_is_imported(tmp_path: Path) -> None:
    Path("c.yaml").write_text(f"{SHOP}tests:\n  - name: t\n    failed: 1\n{GIVEN}")
    code = (
        "import sys; from exporters_beam.cli.main import main; status = main(['test', 'c.yaml'])\n"
        "print(status, [name for name in ('apache_beam', 'numpy', 'pyarrow', 'httpx') if name in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert ran.stdout.splitlines()[-1] == "0 []"
