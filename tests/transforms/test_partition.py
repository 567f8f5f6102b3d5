"""The section `partition_by`: folders by values, which come back from there as they were."""

from __future__ import annotations

import json
import os
import pickle
import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.components.names import HIVE_NULL, FileNames
from exporters_beam.components.options import build
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.planning.explain import text
from exporters_beam.planning.plan import make
from exporters_beam.transforms.partition import PartitionGrouper

from beamless import outcome
from examples import at_least
from helpers import visible

PAGE = (Path(__file__).parents[2] / "docs" / "shapes.md").read_text(encoding="utf-8")


def grouper(*fields: Any, **options: Any) -> Any:
    made = build(PartitionGrouper, {"fields": list(fields), **options})
    assert pickle.loads(pickle.dumps(made)) == made
    return made


@pytest.mark.parametrize(("value", "expected"), [
    ("DK", "DK"), (True, "true"), (False, "false"), (7, "7"), (2**70, str(2**70)), (1.5, "1.5"), (Decimal("1E+2"), "100"),
    (date(2026, 11, 28), "2026-11-28"), (datetime(2026, 11, 28, 14), "2026-11-28 14:00:00"), ("unknown", "unknown"),
    (None, HIVE_NULL), ("", HIVE_NULL), (0, "0"), (" ", " "),
])  # fmt: skip
def test_values_are_written_as_hive_does(value: Any, expected: str) -> None:
    assert grouper("a").key({"a": value}) == (expected,)
    assert grouper("a.b").key({"a": {"b": value}}) == (expected,) == grouper("a.b").key({"a.b": value})
    assert grouper("a").key({}) == (HIVE_NULL,) and grouper("a", style="{a}").key({}) == ("unknown",)


LATE = "2026-12-31T23:30:00Z"
TWO_HOURS = timezone(timedelta(hours=2))


@pytest.mark.parametrize(("function", "value", "options", "expected"), [
    ("year", LATE, {}, "2026"), ("year", LATE, {"zone": "Europe/Copenhagen"}, "2027"), ("month", LATE, {}, "2026-12"),
    ("day", LATE, {"zone": "America/New_York"}, "2026-12-31"), ("hour", LATE, {"zone": "Asia/Kolkata"}, "2027-01-01-05"),
    ("hour", "2026-12-31 23:30", {"zone": "Asia/Kolkata"}, "2026-12-31-23"),
    ("day", "2026-12-31", {"zone": "Asia/Kolkata"}, "2026-12-31"),
    ("hour", "2026-12-31T23:59:60.5+0130", {}, "2026-12-31-22"),
    ("hour", "2026-12-31t00:00:00,123456789-05", {}, "2026-12-31-05"),
    ("day", datetime(2026, 12, 31, 1, tzinfo=TWO_HOURS), {}, "2026-12-30"),
    ("day", datetime(2026, 12, 31, 1), {}, "2026-12-31"),
    ("month", date(200, 1, 2), {}, "0200-01"), ("day", 0, {"epoch": "seconds"}, "1970-01-01"),
    ("hour", 1764547200123, {"epoch": "milliseconds"}, "2025-12-01-00"), ("day", -1.5, {"epoch": "microseconds"}, "1969-12-31"),
    ("day", None, {}, HIVE_NULL), ("day", "", {}, HIVE_NULL),
])  # fmt: skip
def test_times_become_years_months_days_and_hours(function: str, value: Any, options: Any, expected: str) -> None:
    assert grouper({function: "at"}, **options).key({"at": value}) == (expected,)


@pytest.mark.parametrize(("field", "value", "told"), [
    ("a", [1], "a: it is a list, [1]; the name of a folder is made of text, a number, a boolean, a date or null"),
    ("a", {}, "a: it is a mapping; the name of a folder is made of text, a number, a boolean, a date or null"),
    ("a", "\ud800", "a: '\\ud800' holds half a surrogate pair, which no name can have"),
    ("a", HIVE_NULL, f"a: {HIVE_NULL} is what stands for null in the names of partitions"),
    ("a", "é" * 127, f"a: the folder a={'é' * 58}… would have a name of 256 bytes; file systems take 255"),
    ({"day": "a"}, "yesterday", "a: 'yesterday' is not a time; write it as 2026-11-28 or 2026-11-28T14:00:00Z"),
    ({"day": "a"}, "2026-02-30", "a: '2026-02-30' is not a time; write it as 2026-11-28 or 2026-11-28T14:00:00Z"),
    ({"day": "a"}, True, "a: True is not a time; write it as 2026-11-28 or 2026-11-28T14:00:00Z"),
    ({"day": "a"}, 1764547200,
     "a: 1764547200 is a number; say with epoch what it counts since 1970: seconds, milliseconds, microseconds"),
    ({"hour": "a"}, "2026-11-28", "a: 2026-11-28 is a date, which has no hour"),
    ({"day": "a"}, "0001-01-01T00:00:00+10:00",
     "a: '0001-01-01T00:00:00+10:00' is not a time; write it as 2026-11-28 or 2026-11-28T14:00:00Z"),
])  # fmt: skip
def test_what_makes_no_folder_is_the_records_error(field: Any, value: Any, told: str) -> None:
    with pytest.raises(RecordError) as caught:
        grouper(field).key({"a": value})
    assert str(caught.value) == told


def test_a_field_that_has_the_name_of_a_folder_is_the_records_error() -> None:
    with pytest.raises(RecordError) as caught:
        grouper({"day": "at"}).key({"at": LATE, "day": 1})
    assert str(caught.value) == (
        "the record has a field day, and partitions are called day for something else; give them another name with as"
    )
    assert grouper({"day": "at", "as": "on"}).key({"at": LATE, "day": 1}) == ("2026-12-31",)
    assert grouper({"day": "at"}, style="{day}").key({"at": LATE, "day": 1}) == ("2026-12-31",)


OUT: dict[str, Any] = {"reader": "random", "writer": {"name": "fs", "options": {"filebase": "out/part-"}}}


@pytest.mark.parametrize(("sections", "told"), [
    ({"partition_by": 7}, "partition_by: wrong type: found 7, expected a list of fields, or a mapping with `fields`"),
    ({"partition_by": []}, "partition_by: name at least one field"),
    ({"partition_by": [7]}, "partition_by[0]: 7 is not the name of a field"),
    ({"partition_by": ["a", "a"]}, "partition_by[1]: another one is called a already; give it a name: {field: a, as: …}"),
    ({"partition_by": ["a", {"dya": "b"}]}, 'partition_by[1].dya: unknown key; did you mean "day"?'),
    ({"partition_by": [{"day": "b", "year": "c"}]},
     "partition_by[0]: it has to name one field: {day: scraped_at}, or {field: seller.town, as: town}"),
    ({"partition_by": [{"day": ""}]}, 'partition_by[0].day: "" is not the name of a field'),
    ({"partition_by": [{"day": "b", "as": 1}]}, "partition_by[0].as: 1 is not a name"),
    ({"partition_by": [{"day": "day"}]},
     "partition_by[0]: the field day stays in the files, and folders cannot have its name for "
     "something else; give them another one with as"),
    ({"partition_by": {"field": ["a"], "fields": ["a"]}}, 'partition_by.field: unknown option; did you mean "fields"?'),
    ({"partition_by": {"fields": ["a", {"dya": "b"}]}}, 'partition_by.fields[1].dya: unknown key; did you mean "day"?'),
    ({"partition_by": {"fields": ["a"], "zone": "Europe/Copenhagn"}},
     "partition_by.zone: there is no time zone 'Europe/Copenhagn'; did you mean \"Europe/Copenhagen\"?"),
    ({"partition_by": {"fields": ["a"], "style": "Hive"}},
     "partition_by.style: 'Hive' is neither hive nor a template such as \"{a}\"; did you mean \"hive\"?"),
    ({"partition_by": {"fields": ["a", "b"], "style": "{a}"}},
     "partition_by.style: {b} is missing: records of different values would share files"),
    ({"partition_by": {"fields": ["country"], "style": "{cuntry}"}},
     'partition_by.style: {cuntry} is not among the fields; did you mean "country"?'),
    ({"partition_by": {"fields": ["a"], "style": "../{a}"}}, "partition_by.style: '../{a}' has a folder without a name in it"),
    ({"partition_by": {"fields": ["a"], "style": "{a:3}"}},
     "partition_by.style: {a} takes no format; write the braces with the name alone"),
    ({"partition_by": {"fields": ["a"], "columns": "removed"}},
     'partition_by.columns: the string "removed" is not one of the choices; did you mean "remove"?'),
    ({"partition_by": ["a"], "grouper": "none"},
     "partition_by: there is a `grouper` already, and a record goes to one file; leave out one of the two"),
    ({"partition_by": ["a"], "writer": "console"},
     "partition_by: the writer console delivers no files, so there are no folders for them; leave this section out"),
    ({"partition_by": ["a"], "writer": {"name": "fs", "options": {"filebase": "out/{groups[0]}-"}}},
     "writer.options.filebase: the values of partitions name folders behind its own; leave {groups[…]} out, or give "
     "partition_by a template as its style"),
    ({"partition_by": ["a"], "formatter": {"name": "csv", "options": {"fields": ["b", "a"]}}},
     "formatter.options.fields: a stands in the path of the files, and is not a column of theirs; leave it out, or give "
     "partition_by columns: keep"),
    ({"partition_by": ["a"], "formatter": {"name": "avro", "options": {"schema": {"properties": {"a": {"type": "string"}}}}}},
     "formatter.options.schema: a stands in the path of the files, and is not a column of theirs; leave it out, or give "
     "partition_by columns: keep"),
    ({"partitoin_by": ["a"]},
     'partitoin_by: unknown section; did you mean "partition_by"?; what is only for people begins with x-'),
])  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(sections: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(load({**OUT, **sections}, environ={}))
    assert [str(problem) for problem in caught.value.problems] == [told]


values = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from(["..", "a=b", "%2F", "{x}"]))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), values, values)
@example("a", "..", "x/../y")
@example("{a}=%", "%41", "\0\x1f\x7f")
@example("é", "\u2028\u202e", " ")
@settings(max_examples=at_least(60), deadline=None)
def test_arrow_gets_names_and_values_back(name: str, first: str, second: str) -> None:
    made = grouper({"field": "x", "as": name}, {"field": "y", "as": f"{name}2"})
    group = made.key({"x": first, "y": second})
    filebase = made.folders.in_name("out/part-")
    path = FileNames(filebase, 2, ".jl", hive=True).name(group, 0)
    assert os.path.normpath(path) == path and path.count("/") == 3 and "\0" not in path
    names = ds.partitioning(pa.schema([(name, pa.string()), (f"{name}2", pa.string())]), flavor="hive")
    found = ds.get_partition_keys(names.parse(path))
    expected = {name: first or None, f"{name}2": second or None}
    if not (set(name) & set("/=%\"#'*:?\\{[]^\x7f") or any(char < " " for char in name)):  # Arrow leaves names as they are.
        assert {key: found.get(key) for key in expected} == expected


HOSTILE: list[Any] = ["a/b=c%", "..", ".", "", None, "__x", "ü x ", "\x01\n", "DK", "{}", "DK", "%2F", "a" * 240, "👩‍👩‍👧"]


def export(folder: Path, records: list[Any], **sections: Any) -> dict[str, Any]:
    source = folder / "in.jl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    writer = {"name": "fs", "options": {"filebase": f"{folder}/out/part-", "compression": "none"}}
    return {"reader": {"name": "fs", "options": {"input": str(source)}}, "writer": writer, **sections}


def test_what_was_written_is_read_again_as_a_dataset(tmp_path: Path) -> None:
    records = [{"id": n, "country": value, "at": f"2026-11-{n + 1:02}T23:00:00Z"} for n, value in enumerate(HOSTILE)]
    partitions = {"fields": ["country", {"month": "at"}], "zone": "Asia/Tokyo"}
    report = exporters_beam.run(export(tmp_path, records, partition_by=partitions, formatter="parquet"))
    names = ds.partitioning(pa.schema([("country", pa.string()), ("month", pa.string())]), flavor="hive")
    found = ds.dataset(tmp_path / "out", format="parquet", partitioning=names, exclude_invalid_files=False,
                       ignore_prefixes=[".exporters"])  # fmt: skip
    rows = found.to_table().sort_by("id").to_pylist()
    assert rows == [{"id": r["id"], "at": r["at"], "country": r["country"] or None, "month": "2026-11"} for r in records]
    assert report.files[0]["group"] == ["\x01\n", "2026-11"]
    assert "country=DK/month=2026-11/part-0000.parquet" in visible(tmp_path / "out")


@pytest.mark.parametrize(("form", "options", "expected"), [
    ("json", {}, b'{"id":1}\n{"id":2}'),
    ("json", {"columns": "keep"}, b'{"id": 1, "cc": "DK"}\n{"id": 2, "cc": "DK"}'),
    ("json", {"style": "of-{cc}"}, b'{"id": 1, "cc": "DK"}\n{"id": 2, "cc": "DK"}'),
    ("json", {"style": "of-{cc}", "columns": "remove"}, b'{"id":1}\n{"id":2}'),
    ({"name": "csv", "options": {"fields": ["id"]}}, {}, b"1\n2"),
    ({"name": "xml", "options": {"attr_type": False}}, {}, b"<item><id>1</id></item>\n<item><id>2</id></item>"),
])  # fmt: skip
def test_columns_are_removed_or_kept(form: Any, options: Any, expected: bytes, tmp_path: Path) -> None:
    records = [{"id": n, "cc": "DK"} for n in (1, 2)]
    found = outcome(export(tmp_path, records, partition_by={"fields": ["cc"], **options}, formatter=form))
    assert found.groups == {("DK",): expected}


def test_records_that_fail_are_whole_and_a_misspelt_field_is_warned_of(tmp_path: Path) -> None:
    records = [{"id": 1, "cc": "DK"}, {"id": 2, "cc": []}, {"id": float("nan"), "cc": "SE"}]
    found = outcome(export(tmp_path, records, partition_by=["cc"], on_error="dead_letter"))
    assert found.groups == {("DK",): b'{"id":1}'}
    assert [(letter["step"], letter["record"]["cc"]) for letter in found.letters] == [("grouper", []), ("formatter", "SE")]
    found = outcome(export(tmp_path, records[:1], partition_by=["CC"]))
    assert found.warnings == (
        f"partition_by: no record has a value of CC: all are in the partition {HIVE_NULL}; did you mean cc?",
    )


def test_explain_shows_the_folders_and_what_is_left_out(tmp_path: Path) -> None:
    told = text(make(load({**OUT, "partition_by": ["a", {"day": "b"}]})))
    assert "files: out/a=<group 0>/day=<group 1>/part-0000.jl.gz" in told
    assert "files are without a, which their folders tell (columns: keep leaves it there)" in told


def test_the_page_says_what_it_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = PAGE.partition("\n## Folders by values\n")[2]
    config, names, code = re.findall(r"```(?:yaml|python partitions)?\n(.*?)```", section, re.DOTALL)
    exporters_beam.run(yaml.safe_load(config))
    assert [f"out/pages/{name}" for name in sorted(visible(Path("out/pages")))] == names.split("\n")[:-1]
    found: dict[str, Any] = {}
    exec(code, found)
    assert sorted((row["id"], row["country"], row["day"]) for row in found["pages"]) == [
        (1, "DK", date(2026, 11, 29)), (2, "a/b", date(2026, 11, 28)), (3, None, None),
    ]  # fmt: skip
    rows = re.findall(r"^\| `(.*)` \| `(.*)` \|$", section, re.MULTILINE)
    record = {"shop": {"country": "DK"}, "scraped_at": "2026-11-28T14:15:16Z"}
    for members, folders in rows:
        for member, folder in zip(members.split("`, `"), folders.split("`, `"), strict=True):
            made = grouper(yaml.safe_load(member))
            record |= {"country": "DK"} if member == "country" else {}
            assert FileNames(made.folders.in_name("x"), 1, "", hive=True).name(made.key(record), 0) == f"{folder}/x0000"
            record.pop("country", None)
    assert len(rows) == 4
