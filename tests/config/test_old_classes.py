"""docs/old-classes.md names every class path of exporters 0.6.18, says what each runs as, and what proves it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exporters_beam import run
from exporters_beam.components import registry
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/old-classes.md").read_text(encoding="utf-8")


class Row(NamedTuple):
    paths: list[str]
    runs_as: str
    proof: str


def rows(part: str) -> list[Row]:
    found = []
    for line in re.findall(r"^\| `.*\|$", part, re.MULTILINE):
        first, second, third = (cell.strip() for cell in line.strip("|").split("|"))
        found.append(Row(re.findall(r"`([^`]+)`", first), second, third.strip("`")))
    return found


CLASSES, OTHERS = map(rows, PAGE.split("## What stood in no section"))
KINDS_OF_PACKAGES = {"readers": "reader", "writers": "writer"}


def test_every_old_class_path_that_runs_stands_in_the_table_once() -> None:
    named = [path for row in CLASSES for path in row.paths]
    assert len(named) == len(set(named))
    known = {path for entry in registry.ENTRIES for path in entry.legacy}
    assert known - set(named) == set(), "give these a row in docs/old-classes.md"


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.paths[0])
def test_a_row_is_true(row: Row) -> None:
    found = re.match(r"(\w+) `(\w+)`", row.runs_as)
    for path in row.paths:
        kind = KINDS_OF_PACKAGES.get(path.split(".")[1], "writer")
        entries = [entry for entry in registry.ENTRIES if path in entry.legacy]
        if found is None:
            assert not entries, f"docs/old-classes.md: {path} runs now, as {entries[0].kind} `{entries[0].name}`"
            assert re.match("not yet|never", row.runs_as)
            with pytest.raises(ConfigError):
                registry.find(kind, path)
            continue
        assert [(entry.kind, entry.name) for entry in entries] == [found.groups()]
        assert registry.load(registry.find(found[1], path)) is registry.load(registry.find(found[1], found[2]))
    if row.proof.startswith("tests/oracle/"):
        (config,) = (ROOT / row.proof).glob("config.*")
        assert any(path in config.read_text(encoding="utf-8") for path in row.paths)
    elif row.proof or found is not None:
        file, _, test = row.proof.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {test}(" in text and any(path in text for path in row.paths)


def test_what_stood_in_no_section_is_proved_by_files_that_are_there() -> None:
    assert len(OTHERS) > 5 and [row for row in OTHERS if not (ROOT / row.proof).is_file()] == []


def test_what_is_gone_is_refused_with_what_takes_its_place() -> None:
    writer = {"name": "exporters.contrib.writers.odo_writer.ODOWriter", "options": {"odo_uri": "a.csv", "schema": {}}}
    with pytest.raises(ConfigError) as error:
        load({"reader": {"name": "exporters.readers.RandomReader"}, "writer": writer})
    (problem,) = error.value.problems
    assert problem.path == ("writer", "name")
    assert problem.message == (
        "exporters.contrib.writers.odo_writer.ODOWriter never worked: exporters 0.6.18 refused every config that has it; "
        "for CSV use the writer fs with the formatter csv, behind the transform flatson"
        + (", for a database the writer sql" if "sql" in registry.names("writer") else "")
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("exporters.persistence.alchemy_persistence.MysqlPersistence", {"port": 3306}),
        ("exporters.persistence.alchemy_persistence.PostgresqlPersistence", {"port": 5432}),
        ("exporters.persistence.alchemy_persistence.SqlitePersistence", {}),
    ],
)
def test_state_in_databases_is_accepted_and_not_kept(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    given = {"user": "me", "password": "5ecret", "host": "localhost", "database": "jobs", **options}
    config = {
        "reader": {"name": "exporters.readers.RandomReader", "options": {"number_of_items": 3}},
        "writer": {"name": "exporters.writers.FSWriter", "options": {"filebase": f"{tmp_path}/out/", "compression": "none"}},
        "persistence": {"name": name, "options": given},
    }
    report = run(config)
    assert [text for text in report.warnings if text.startswith("persistence: ")], report.warnings
    assert len((tmp_path / "out/0000.jl").read_bytes().splitlines()) == 3
