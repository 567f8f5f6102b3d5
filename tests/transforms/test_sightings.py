"""Keys with dots in names, and keys that no record has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shared import SHARED, needs_shared

from exporters_beam.records import MISSING, Key
from exporters_beam.reporting.report import Report

from helpers import delivered


@pytest.mark.parametrize(
    ("record", "key", "value"),
    [
        ({"a.b": 1}, "a.b", 1),
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a": {"b": 1}, "a.b": 2}, "a.b", 2),
        ({"a": {"b": 1}, "a.b": None}, "a.b", None),
        ({"a": {"b.c": 1}}, "a.b.c", 1),
        ({"a.b": {"c": 1}}, "a.b.c", 1),
        ({"a.b": 7, "a": {"b": {"c": 1}}}, "a.b.c", 1),
        ({"a": 7}, "a.b", MISSING),
        ({"a": None}, "a.b", MISSING),
        ([1], "a", MISSING),
        ({"": {"": 1}}, ".", 1),
        ({".": 1}, ".", 1),
    ],
)
def test_a_field_of_the_whole_name_goes_before_a_path(record: Any, key: str, value: Any) -> None:
    assert Key.of(key).value(record, MISSING) == value or value is MISSING
    assert Key.of(key).value(record, MISSING) is value or value is not MISSING


def test_without_a_separator_there_are_no_paths() -> None:
    assert Key.of("a.b", "").value({"a": {"b": 1}}, MISSING) is MISSING
    assert Key.of("a/b", "/").value({"a": {"b": 1}}) == 1


ROWS: list[dict[str, Any]] = [
    {"id": 1, "seller.town": "Leeds", "seller": {"town": "Bath"}},
    {"id": 2, "seller": {"town": "York"}},
    {"id": 3, "seller.town": None, "seller": {"town": "Ely"}},
    {"id": 4},
]


@pytest.mark.parametrize("pushdown", [True, False])
@pytest.mark.parametrize("added", [False, True])
def test_groups_and_filters_find_names_with_dots(
    pushdown: bool, added: bool, tmp_path: Path, export: Callable[..., Report]
) -> None:
    (tmp_path / "a.jl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    options = {"exporter_options": {"pushdown": pushdown}}
    if added:
        options["transform"] = {
            "name": "pythonexp",
            "options": {"python_expressions": ["item.update(n=item['id'] + 1)"]},
        }
    grouper = {"name": "file_key", "options": {"keys": ["seller.town"]}}
    export(str(tmp_path / "a.jl"), grouper=grouper, options={"filebase": f"{tmp_path}/g/{{groups[0]}}/p"}, **options)
    found = {name.partition("/")[0]: [row["id"] for row in rows] for name, rows in delivered(tmp_path / "g").items()}
    assert found == {"Leeds": [1], "York": [2], "unknown": [3, 4]}
    keys = [{"name": "seller.town", "operator": "in", "value": ["Leeds", "York", "Ely", "Bath"]}]
    export(str(tmp_path / "a.jl"), filter_before={"name": "key_value", "options": {"keys": keys}}, **options)
    assert [row["id"] for row in next(iter(delivered(tmp_path / "out").values()))] == [1, 2]


def table(folder: Path, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A reader of the rows in a format."""
    path = folder / f"in.{name}"
    if name == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name == "csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows), ""]))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"reader": {"name": "fs", "options": {"input": str(path)}}, "deserializer": {"name": name}}


PLAIN = [{"id": n, "Town": "Leeds", "price": n} for n in range(300)]


def cases() -> Iterator[Any]:
    for n, (sections, told) in enumerate(MISSED):
        yield "jsonlines", True, sections, told
        yield "jsonlines", False, sections, told
        if n in (0, 2):
            yield from ((source, True, sections, told) for source in ("csv", "parquet"))


MISSED: list[tuple[dict[str, Any], str]] = [
        ({"grouper": {"name": "file_key", "options": {"keys": ["town"]}}},
         "grouper: no record has a value of town: all are in the group unknown"),
        ({"grouper": {"name": "python_exp", "options": {"python_expressions": ["item.get('town')"]}}},
         "grouper: no record has a value of item.get('town'): all are in the group unknown"),
        ({"filter_before": {"name": "key_value", "options": {"keys": [{"name": "pirce", "value": "1"}]}}},
         "filter_before: no record has the field pirce; did you mean price?"),
        ({"filter_after": {"name": "key_value_regex", "options": {"keys": [{"name": "id", "value": "1"},
                                                                           {"name": "x.y", "value": "1"}]}}},
         "filter_after: no record has the field x.y"),
        ({"filter_before": {"name": "dupe", "options": {"key_field": "ID"}}},
         "filter_before: no record has the field ID; did you mean id?"),
        ({"formatter": {"name": "csv", "options": {"fields": ["id", "prize"]}}},
         "formatter: no record has the field prize: its column is empty"),
    ]  # fmt: skip


@pytest.mark.parametrize(("source", "pushdown", "sections", "told"), list(cases()))
def test_what_no_record_has_is_told(
    source: str, pushdown: bool, sections: dict[str, Any], told: str, tmp_path: Path, export: Callable[..., Report]
) -> None:
    given = table(tmp_path, source, PLAIN)
    report = export(given.pop("reader"), exporter_options={"pushdown": pushdown}, **given, **sections)
    (warning,) = report.warnings
    assert warning.startswith(told)
    assert json.loads(Path(report.manifest).read_text())["warnings"] == [warning]


def test_the_columnar_way_tells_it_too(tmp_path: Path, export: Callable[..., Report]) -> None:
    given = table(tmp_path, "parquet", PLAIN)
    keys = [{"name": "town", "value": "Leeds"}]
    report = export(given.pop("reader"), **given, formatter={"name": "parquet"},
                    filter_before={"name": "key_value", "options": {"keys": keys}})  # fmt: skip
    assert report.warnings == ("filter_before: no record has the field town; did you mean Town?",)


def test_what_one_record_of_one_file_has_is_not_told(tmp_path: Path, export: Callable[..., Report]) -> None:
    (tmp_path / "a.jl").write_text('{"id": 1}\n' * 3000)
    (tmp_path / "b.jl").write_text('{"id": 1}\n' * 3000 + '{"id": 1, "town": "York"}\n')
    (tmp_path / "c.jl").write_text("")
    report = export(
        {"name": "fs", "options": {"input": {"dir": str(tmp_path), "pattern": r"\.jl$"}}},
        filter_before={"name": "key_value", "options": {"keys": [{"name": "town", "value": "x"}]}},
        grouper={"name": "file_key", "options": {"keys": ["town"]}},
    )
    assert report.warnings == ()


@needs_shared
@pytest.mark.parametrize("name", ["flat", "flatson", "filter", "dupe"])
def test_the_reported_case(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from exporters_beam.cli.main import main

    case = SHARED / "cases/15-dotted-group"
    for file in case.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["run", f"{name}.yaml", "--quiet"]) == 0
    found = {path: [row["id"] for row in rows] for path, rows in delivered(tmp_path / f"out-{name}").items()}
    groups = {"Leeds/p-0000.jl": [1], "York/p-0000.jl": [2]}
    assert found == {"filter": {"p-0000.jl": [1]}, "dupe": {"p-0000.jl": [1, 2]}}.get(name, groups)
