"""The transform `fields` on records: what docs/fields.md does not show, and what is wrong in its options."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.cli.main import main
from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.transforms.fields import dates
from exporters_beam.transforms.fields.paths import EACH, parsed, written
from exporters_beam.transforms.fields.transform import FieldsTransform

from examples import at_least

UTC = timezone.utc
NAN = float("nan")


def made(**options: Any) -> FieldsTransform:
    found = build(FieldsTransform, options, {})
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    return again


def mapped(record: Any, **options: Any) -> Any:
    return made(**options).map(copy.deepcopy(record))


def converted(value: Any, kind: Any) -> Any:
    try:
        return mapped({"x": value}, types={"x": kind})["x"]
    except RecordError as error:
        return str(error)


def of(kind: str, **options: Any) -> dict[str, Any]:
    return {"type": kind, **options}


CONVERTED: list[tuple[Any, Any, Any]] = [
    ("7", "integer", 7), ("-0", "integer", 0), ("+5", "integer", 5), (2**70, "integer", 2**70), (3.0, "integer", 3),
    (Decimal("5.00"), "integer", 5), (None, "integer", None), ("  ", "integer", None),
    ("", of("integer", empty_as_null=False), 'x: "" is not an integer'), ("1.0", "integer", 'x: "1.0" is not an integer'),
    ("٣", "integer", 'x: "٣" is not an integer'), (1.5, "integer", "x: 1.5 is not an integer"),
    (NAN, "integer", "x: NaN is not an integer"), (Decimal("Infinity"), "integer", "x: \"Infinity\" is not an integer"),
    ([1], "integer", "x: a list is not an integer"), ("9" * 5000, "integer", "x: an integer of 5,000 digits is too long"),
    (date(2026, 1, 2), "integer", 'x: "2026-01-02" is not an integer'),
    ("1", "number", 1.0), (".5", "number", 0.5), ("1e3", "number", 1000.0), (3, "number", 3.0), (Decimal("1.5"), "number", 1.5),
    ("1e400", "number", 'x: "1e400" is too large for a number of 64 bits; take decimal'),
    (10**400, "number", f"x: 1{'0' * 79}… is too large for a number of 64 bits; take decimal"),
    ("nan", "number", 'x: "nan" is not a number'), ("1_0", "number", 'x: "1_0" is not a number'),
    ("0x1", "number", 'x: "0x1" is not a number'), (True, "number", "x: true is not a number"),
    ("1.50", "decimal", Decimal("1.50")), (19.99, "decimal", Decimal("19.99")), (2**70, "decimal", Decimal(2**70)),
    ("1e-7", "decimal", Decimal("1e-7")), (NAN, "decimal", "x: NaN is not a decimal number"),
    ("abc", "decimal", 'x: "abc" is not a decimal number'), (False, "decimal", "x: false is not a decimal number"),
    ("1e999999", "decimal", "x: the decimal 1E+999999 has more than 10,000 digits when it is written out"),
    (True, "boolean", True), (0, "boolean", False), ("No", "boolean", False), (" 1 ", "boolean", True),
    (2, "boolean", "x: 2 is not a boolean: 1, true, yes or 0, false, no"),
    (1.0, "boolean", "x: 1.0 is not a boolean: 1, true, yes or 0, false, no"),
    ("JA", of("boolean", true_values="ja", false_values=["nej"]), True),
    (" a ", "text", " a "), ("", "text", ""), ("", of("text", empty_as_null=True), None), (1.0, "text", "1.0"),
    (True, "text", "true"), (Decimal("1E+2"), "text", "100"), (date(2026, 1, 2), "text", "2026-01-02"),
    (datetime(2026, 1, 2, 3, tzinfo=UTC), "text", "2026-01-02T03:00:00+00:00"),
    ([1, {"b": 1, "a": None}], "text", '[1,{"a":null,"b":1}]'),
    (NAN, "text", "x: NaN cannot be written as text"),
    ('{"b": [1.0]}', "json", {"b": [1.0]}), ({"a": 1}, "json", {"a": 1}), (" ", "json", None), ("null", "json", None),
    ("{", "json", 'x: "{" is not JSON: Expecting property name enclosed in double quotes at character 2'),
    ("[" * 100_000, "json", f'x: "{"[" * 79}… is nested too deep'),
    ({"b": 1, "a": "é"}, "json_text", '{"b":1,"a":"é"}'), ("", "json_text", '""'), (None, "json_text", None),
    ("2026-01-31", "date", date(2026, 1, 31)), ("2026-01-31T23:30:00Z", "date", date(2026, 1, 31)),
    ("2026-01-31T23:30:00Z", of("date", zone="Europe/Copenhagen"), date(2026, 2, 1)),
    ("2026-02-30", "date", 'x: "2026-02-30" is not a date (ISO 8601)'), (5, "date", "x: 5 is not a date (ISO 8601)"),
    (86400, of("date", format="unix"), date(1970, 1, 2)), ("31/12/25", of("date", format="%d/%m/%y"), date(2025, 12, 31)),
    ("Jan 5, 2026", of("date", format="%b %d, %Y"), date(2026, 1, 5)),
    ("x", of("date", format=["%d.%m.%Y", "iso"]), 'x: "x" is not a date (%d.%m.%Y or ISO 8601)'),
    ("2026-01-31", "datetime", datetime(2026, 1, 31)), ("2026-01-31t01:02", "datetime", datetime(2026, 1, 31, 1, 2)),
    ("2026-01-31 01:02:03.123456789Z", "datetime", datetime(2026, 1, 31, 1, 2, 3, 123456, UTC)),
    ("2026-01-31T01:02:03,5+0130", "datetime", datetime(2026, 1, 30, 23, 32, 3, 500000, UTC)),
    ("0001-01-01T00:00+01:00", "datetime", 'x: "0001-01-01T00:00+01:00": it is out of range'),
    ("2026-01-31T24:00", "datetime", 'x: "2026-01-31T24:00" is not a date with a time (ISO 8601)'),
    ("1700000000", of("datetime", format="unix"), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
    (1700000000500, of("datetime", format="unix_ms"), datetime(2023, 11, 14, 22, 13, 20, 500000, UTC)),
    (NAN, of("datetime", format="unix"), "x: NaN is not a date with a time (unix)"),
    (True, of("datetime", format="unix"), "x: true is not a date with a time (unix)"),
    (date(2026, 7, 1), of("datetime", zone="Europe/Copenhagen"), datetime(2026, 6, 30, 22, tzinfo=UTC)),
    ("2026-10-25T02:30", of("datetime", zone="Europe/Copenhagen"), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    ("2026-10-25T02:30", of("datetime", zone="Europe/Copenhagen", ambiguous="later"),
     datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    ("2026-10-25T02:30", of("datetime", zone="Europe/Copenhagen", ambiguous="error"),
     'x: "2026-10-25T02:30": there are two times 02:30 on that day in Europe/Copenhagen: clocks were put back'),
    ("1/2/2026 3 PM", of("datetime", format="%d/%m/%Y %I %p"), datetime(2026, 2, 1, 15)),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind", "expected"), CONVERTED, ids=lambda each: str(each)[:30])
def test_types_make_of_a_value_what_the_page_says(value: Any, kind: Any, expected: Any) -> None:
    found = converted(value, kind)
    assert found == expected and type(found) is type(expected) and str(found) == str(expected)


def test_a_number_that_is_none_stays_a_number() -> None:
    assert str(converted(NAN, "number")) == "nan"


CHANGED: list[tuple[dict[str, Any], Any, Any]] = [
    ({"drop": ["a.b", "c"]}, {"a": None, "d": 1}, {"a": None, "d": 1}),
    ({"drop": ["o[].x"]}, {"o": [{"x": 1, "y": 2}, None]}, {"o": [{"y": 2}, None]}),
    ({"drop": ["o[].x"]}, {"o": {"x": 1}}, "o: a mapping is not a list"),
    ({"rename": {"a.b": "c"}}, {"a": {"b": None}}, {"a": {}, "c": None}),
    ({"rename": {"a.b": "a.c"}}, {"a": {"b": 1, "d": 2}}, {"a": {"c": 1, "d": 2}}),
    ({"rename": {"a.b": "a.c"}}, {"a": {"b": 1, "c": 2}},
     "a.c: another field is renamed to it, and there is such a field already; drop it to replace it"),
    ({"rename": {"a": "b.c"}}, {"a": 1, "b": {"c": 2}},
     "b.c: another field is renamed to it, and there is such a field already; drop it to replace it"),
    ({"rename": {"a": "b.c"}}, {"a": 1, "b": "x"}, 'b: "x" is not a mapping'),
    ({"rename": {"a": "b", "b": "c.d", "c.e": "a"}}, {"a": 1, "b": 2, "c": {"e": 3}}, {"b": 1, "c": {"d": 2}, "a": 3}),
    ({"rename": {"o[].n.x": "o[].x"}}, {"o": [{"n": {"x": 1}}, {"n": 5}]}, "o[1].n: 5 is not a mapping"),
    ({"rename": {"o": "p", "q": "o"}}, {"q": 1, "o": 2}, {"o": 1, "p": 2}),
    ({"trim": ["a", "b[]"], "lower": ["a"]}, {"a": "\u00a0É ", "b": [" x", 5, None]}, {"a": "é", "b": ["x", 5, None]}),
    ({"types": {"j": "json", "j.x": "integer"}}, {"j": '{"x": "5"}'}, {"j": {"x": 5}}),
    ({"types": {"s[]": "integer"}}, {"s": ["1", None, " "]}, {"s": [1, None, None]}),
    ({"types": {"a.b.c": "integer"}}, {"a": {"b": None}}, {"a": {"b": None}}),
    ({"types": {"a": "integer", "b": "integer"}}, {"b": "x", "a": "y"}, 'a: "y" is not an integer'),
    ({"default": {"a": None, "o[].c": 1, "s[]": 0}}, {"o": [{"c": None}, None], "s": [None, 1]},
     {"o": [{"c": 1}, None], "s": [0, 1], "a": None}),
    ({"default": {"a.b": 1}}, {"a": 5}, "a: 5 is not a mapping"),
    ({"default": {"a.l[].b": 1}}, {}, {}),
    ({"set": {"m": {"x": [1]}, "a.b": 1}}, {"a": {"c": 2}, "m": 5}, {"a": {"c": 2, "b": 1}, "m": {"x": [1]}}),
    ({"hash": {"a": "sha256", "b": "sha256"}}, {"a": 1, "b": "1"},
     dict.fromkeys("ab", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b")),
    ({"hash": {"a": "sha256"}}, {"a": "\ud800"}, "a: the text has half of a character in it and cannot be hashed"),
    ({"hash": {"a": "hmac_sha256"}, "hash_key": "key"}, {"a": "x"},
     {"a": "4fc3b7eaf34d7e594a6f51d9517ba543abf41067b27587ffd82ba3584e4d3cdd"}),
    ({"mask": {"a": 0, "b": 2}}, {"a": "abc", "b": None}, {"a": "***", "b": None}),
    ({"mask": {"c[].n": {"keep_last": 1}}}, {"c": {"n": "12"}}, "c: a mapping is not a list"),
    ({"mask": {"a": 1}}, {"a": {1}}, "a: a set cannot be masked"),
    ({"flatten": {"separator": "."}}, {"a": {"b": {"c": 1}, "d": {}}, "e": [{"f": 1}]}, {"a.b.c": 1, "e": [{"f": 1}]}),
    ({"flatten": ["a"]}, {"a_b": 1, "a": {"b": 2}}, "a_b: two fields have this name when they are flat; rename one"),
    ({"flatten": ["a"]}, {"a": None}, {"a": None}),
    ({"select": ["b", "a"]}, {"a": 1, "c": 2}, {"a": 1}),
    ({"select": ["a.x"]}, {"a": "text"}, 'a: "text" is not a mapping'),
    ({"select": ["a.x", "b", "a.w"]}, {"b": 1, "a": {"w": 1, "x": 2, "z": 3}}, {"a": {"x": 2, "w": 1}, "b": 1}),
    ({"trim": ["a"]}, {}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "record", "expected"), CHANGED, ids=lambda each: str(each)[:40])
def test_operations_do_what_the_page_says(options: dict[str, Any], record: Any, expected: Any) -> None:
    try:
        found = mapped(record, **options)
    except RecordError as error:
        assert str(error) == expected
        return
    assert found == expected and json.dumps(found) == json.dumps(expected)


def test_constants_are_of_each_record_alone() -> None:
    transform = made(set={"m": {"l": []}})
    one, other = transform.map({}), transform.map({})
    one["m"]["l"].append(1)
    assert other == {"m": {"l": []}} == transform.map({})


def test_dates_of_the_run_are_those_of_its_beginning() -> None:
    now = datetime(2026, 3, 4, 5, 6)
    transform = made(set={"d": {"run_date": "%Y/%m"}, "e": {"run_date": "%Y-%m-%d"}, "f": "%Y"}, types={"e": "date"})
    assert transform.dates(now) == ("2026/03", "2026-03-04")
    assert transform.at(now).map({}) == {"d": "2026/03", "e": date(2026, 3, 4), "f": "%Y"}


@given(st.lists(st.one_of(st.text("ab.[]\\ é", min_size=1), st.just(EACH)), min_size=1, max_size=4))
def test_paths_are_read_as_they_are_written(parts: list[str | None]) -> None:
    path = ("a", *parts)
    assert parsed(written(path)) == path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the path is empty"), ("a.", "a name is missing behind the last dot"), (".a", "a name is missing before the dot"),
        ("a..b", "a name is missing before the dot at character 3"), ("a[0]", "[ at character 2 is not []"),
        ("[].a", "[] stands behind no name"), ("a[]b", "behind [] at character 4 comes a dot, or nothing"),
        (r"a\n", r"the backslash at character 2 stands before no \, . or ["), ("a.[]", "[] stands behind no name"),
        ("a[]..b", "a name is missing before the dot at character 5"),
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        made(trim=[text])
    (problem,) = error.value.problems
    assert problem.path == ("trim", 0) and problem.message.startswith(f"{text!r} is not a path: {why}")


@settings(max_examples=at_least(200))
@given(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
    st.sampled_from(["%Y-%m-%d", "%d/%m/%Y %H:%M", "%Y%m%dT%H%M%S", "%d.%m.%Y  %H.%M.%S.%f", "[%Y] %m-%d +%H"]),
    st.sampled_from(["", "x", " ", "0"]),
)
def test_formats_of_numbers_are_read_as_strptime_reads_them(at: datetime, form: str, behind: str) -> None:
    text = f"{at.year:04}".join(at.strftime(form.replace("%Y", "\0")).split("\0")) + behind
    results: list[Any] = []
    for read in (dates.parser(form), lambda text: datetime.strptime(text, form)):
        try:
            found = read(text)
            results.append(found if isinstance(found, datetime) else datetime(found.year, found.month, found.day))
        except ValueError:
            results.append(None)
    assert results[0] == results[1] or behind == "0"


def test_every_time_of_a_zone_is_found_again() -> None:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("Europe/Copenhagen")
    at = datetime(2026, 3, 28, tzinfo=UTC)
    while at < datetime(2026, 10, 27, tzinfo=UTC):
        there = at.astimezone(zone)
        side = "later" if there.fold else "earlier"
        assert dates.in_utc(there.replace(tzinfo=None, fold=0), zone, side) == at
        at += timedelta(minutes=30)


def test_constants_are_of_the_types_of_their_fields() -> None:
    found = mapped({"p": None}, default={"p": "1.5"}, set={"q": "2026-01-02"}, types={"p": "decimal", "q": "date"})
    assert found == {"p": Decimal("1.5"), "q": date(2026, 1, 2)}


WRONG: list[tuple[dict[str, Any], tuple[Any, ...], str]] = [
    ({}, (), "give it something to do: one of drop, rename, trim"),
    ({"types": {"a": "int"}}, ("types", "a"), "there is no type 'int'; did you mean \"integer\"?"),
    ({"types": {"a": "decimla"}}, ("types", "a"), "there is no type 'decimla'; did you mean \"decimal\"?"),
    ({"types": {"a": 5}}, ("types", "a"), "wrong type: found a number, expected the name of one; known: integer, number"),
    ({"types": {"a": {"format": "iso"}}}, ("types", "a"), "the type is missing; known: integer"),
    ({"types": {"a": {"type": "Date"}}}, ("types", "a", "type"), "there is no type 'Date'; did you mean \"date\"?"),
    ({"types": {"a": of("date", formt="iso")}}, ("types", "a", "formt"),
     'unknown option of the type date; did you mean "format"?'),
    ({"types": {"a": of("json_text", format="iso")}}, ("types", "a", "format"),
     "unknown option of the type json_text; json_text has none"),
    ({"types": {"a": of("integer", empty_as_null="no")}}, ("types", "a", "empty_as_null"),
     "wrong type: found a string, expected true or"),
    ({"types": {"a": of("date", format="yyyy-mm-dd")}}, ("types", "a", "format"), "'yyyy-mm-dd' is not a format: it has no %"),
    ({"types": {"a": of("date", format="%Y-%q")}}, ("types", "a", "format"),
     "'%Y-%q' is not a format: %q is not known; known: %Y"),
    ({"types": {"a": of("datetime", format="%H:%M")}}, ("types", "a", "format"), "'%H:%M' does not say which day it is"),
    ({"types": {"a": of("date", format="%Y-%m-%d %H")}}, ("types", "a", "format"),
     "'%Y-%m-%d %H' has a time, and the type is date"),
    ({"types": {"a": of("datetime", format="%Y-%m-%d %I")}}, ("types", "a", "format"), "'%Y-%m-%d %I': %I goes with %p"),
    ({"types": {"a": of("date", format=["%Y-%m-%d", "%Y %Y"])}}, ("types", "a", "format"),
     "'%Y %Y' is not a format: %Y stands there twice"),
    ({"types": {"a": of("date", format=[])}}, ("types", "a", "format"), "give a list of texts"),
    ({"types": {"a": of("date", zone="Europe/Kopenhagen")}}, ("types", "a", "zone"),
     "there is no time zone 'Europe/Kopenhagen' here; did you mean \"Europe/Copenhagen\"?"),
    ({"types": {"a": of("datetime", ambiguous="first")}}, ("types", "a", "ambiguous"), "'first' is not one of the choices"),
    ({"types": {"a": "integer"}, "default": {"a": "x"}}, ("default", "a"), '"x" is not an integer'),
    ({"rename": {"a": "b", "c": "b"}}, ("rename", "c"), "another field is called b then"),
    ({"rename": {"a": "b", "c": "b.d"}}, ("rename", "c"), "another field is in b, or that in it then"),
    ({"rename": {"a": "a"}}, ("rename", "a"), "it has this name already"),
    ({"rename": {"a": "x", "a.b": "y"}}, ("rename", "a.b"), "a, which it is in, is renamed as well; take a step for each"),
    ({"rename": {"a[]": "b"}}, ("rename", "a[]"), "'a[]' ends in []: name the list itself, a"),
    ({"rename": {"a[].x": "x"}}, ("rename", "a[].x"), "x: a[].x stays within the members of a[]: write a[].name"),
    ({"rename": {"x": "a[].x"}}, ("rename", "x"), "a[].x: x cannot go into a list"),
    ({"rename": {"a": 5}}, ("rename", "a"), "wrong type: found a number, expected the path of a field"),
    ({"rename": {"a": "b"}, "drop": ["a"]}, ("rename", "a"), "a is dropped before; take it out of one of the two"),
    ({"rename": {"a": "b"}, "trim": ["a"]}, ("trim", 0), 'a is renamed before; did you mean "b"?'),
    ({"rename": {"a.b": "c"}, "hash": {"a.b.x": "sha256"}}, ("hash", "a.b.x"), 'a.b is renamed before; did you mean "c.x"?'),
    ({"drop": ["a"], "select": ["b", "a.x"]}, ("select", 1), "a is dropped before; take it out of drop"),
    ({"select": ["a", "b", "a"]}, ("select", 2), "a stands there already"),
    ({"select": ["a.b", "a"]}, ("select", 1), "a is selected, with all that is in it"),
    ({"select": []}, ("select",), "name one field at least"),
    ({"select": ["a"], "set": {"b": 1}}, ("set", "b"), "select does not have b, so it would be set for nothing"),
    ({"flatten": ["s"], "select": ["s.t"]}, ("select", 0), 's is made flat before; did you mean "s_t"?'),
    ({"flatten": ["s.t"]}, ("flatten", 0), "'s.t' is inside s; name that, and all in it becomes flat"),
    ({"flatten": {"seperator": "."}}, ("flatten", "seperator"), 'unknown option of flatten; did you mean "separator"?'),
    ({"flatten": {"fields": "a"}}, ("flatten", "fields"), "wrong type: found a string, expected a list of fields"),
    ({"flatten": {"separator": ""}}, ("flatten", "separator"), '"" is not a text to put between names'),
    ({"hash": {"a": "md5"}}, ("hash", "a"), '"md5" is not a way to hash; known: sha256, hmac_sha256'),
    ({"hash": {"a": "sha265"}}, ("hash", "a"), '"sha265" is not a way to hash; did you mean "sha256"?'),
    ({"hash": {"a": "hmac_sha256"}}, ("hash", "a"), "hmac_sha256 needs a key; give hash_key: ${secret:env:NAME}"),
    ({"hash": {"a": "sha256"}, "hash_key": "k"}, ("hash_key",),
     "nothing uses this key; write hmac_sha256 behind a field of hash"),
    ({"mask": {"a": -1}}, ("mask", "a"), "-1 is not a number of characters to keep; write 0 or more"),
    ({"mask": {"a": True}}, ("mask", "a"), "true is not a number of characters to keep"),
    ({"mask": {"a": {"keep_last": "4"}}}, ("mask", "a", "keep_last"), '"4" is not a number of characters to keep'),
    ({"mask": {"a": {"with": "**"}}}, ("mask", "a", "with"), '"**" is not one character'),
    ({"mask": {"a": {"keep": 4}}}, ("mask", "a", "keep"), 'unknown option of mask; did you mean "keep_last"?'),
    ({"set": {"a": {"run_date": "today"}}}, ("set", "a", "run_date"),
     '"today" is not a format of dates; write one such as %Y-%m-%d'),
    ({"set": {"a": {"run_date": "%Y", "zone": "UTC"}}}, ("set", "a", "zone"), "unknown option of run_date; it has none"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "path", "message"), WRONG, ids=lambda each: str(each)[:40])
def test_what_is_wrong_in_options_is_told_with_its_place(options: dict[str, Any], path: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(FieldsTransform, options, {})
    (problem,) = error.value.problems
    assert (problem.path, problem.message[: len(message)]) == (path, message)


def test_validate_names_file_line_and_path_of_all_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("""\
reader: {name: fs, options: {input: x.jl}}
steps:
  - transform:
      name: fields
      options:
        types:
          price: decimla
          at: {type: datetime, zone: Mars}
        rename: {name: title}
        select:
          - name
        tirm: [title]
writer: {name: fs, options: {filebase: out/}}
""")
    assert main(["validate", str(config)]) == 2
    told = capsys.readouterr().err
    assert f'{config}:12:9: steps[0].transform.options.tirm: unknown option; did you mean "trim"?' in told
    config.write_text(config.read_text().replace("tirm", "trim"))
    assert main(["validate", str(config)]) == 2
    told = capsys.readouterr().err
    assert (
        f"{config}:7:11: steps[0].transform.options.types.price: there is no type 'decimla'; did you mean \"decimal\"?" in told
    )
    assert f"{config}:8:32: steps[0].transform.options.types.at.zone: there is no time zone 'Mars' here" in told
    config.write_text(config.read_text().replace("decimla", "decimal").replace("Mars", "UTC"))
    assert main(["validate", str(config)]) == 2
    assert (
        f'{config}:11:13: steps[0].transform.options.select[0]: name is renamed before; did you mean "title"?'
        in capsys.readouterr().err
    )
