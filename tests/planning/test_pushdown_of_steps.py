"""Lists of steps: what is pushed down of them changes no file, count, dead letter or error, wherever a step stands.

The long form: `EXPORTERS_BEAM_EXAMPLES=20000 pytest tests/planning/test_pushdown_of_steps.py`
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings

from exporters_beam.formats.json_lines import parse
from exporters_beam.transforms.field_statistics import FieldStatistics

from beamless import outcome
from examples import at_least
from generated import LINES, Export, changing, exports, filtering

ADD_AND_MISS = [changing("item.update(n=item['a'])"), filtering("key_value", keys=[{"name": "bb", "value": 1}])]
ADD_AND_FAIL = [changing("item.update(m=item['a'])"), changing("item.update(n=item['b'])")]


@settings(max_examples=at_least(55, 2), deadline=None)
@given(exports)
@example(Export("jsonlines", LINES[0] + b'\n{"a":7}', {"steps": ADD_AND_FAIL, "on_error": "dead_letter"}))
@example(Export("jsonlines", LINES[0], {"steps": ADD_AND_MISS, "on_error": "fail"}))
def test_lists_of_steps_with_and_without_pushdown(export: Export) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert export.outcome(folder) == export.outcome(folder, pushdown=False)


@settings(max_examples=at_least(25, 2), deadline=None)
@given(exports)
def test_statistics_of_fields_change_nothing_else(export: Export) -> None:
    with tempfile.TemporaryDirectory() as folder:
        looked = Export(export.kind, export.data, {**export.config, "statistics": True}).outcome(folder)
        without = {name: part for name, part in export.config.items() if name != "statistics"}
        assert looked._replace(statistics=None) == Export(export.kind, export.data, without).outcome(folder)


@settings(max_examples=at_least(25, 2), deadline=None)
@given(exports.filter(lambda export: export.kind != "parquet"))
def test_statistics_of_fields_are_those_of_the_files_read_back(export: Export) -> None:
    config = {**export.config, "statistics": True, "formatter": {"name": "json", "options": {"allow_nan": True}}}
    with tempfile.TemporaryDirectory() as folder:
        found = Export(export.kind, export.data, config).outcome(folder)
    if (
        found.error
        or found.counts.get("kept") == 0
        or any(name.startswith(("formatter.", "grouper.")) for name in found.counts)
    ):
        return
    looked = FieldStatistics()
    for text in found.groups.values():
        looked.add([parse(line) for line in text.split(b"\n")])
    assert found.statistics == looked.as_dict()


def test_the_name_that_was_meant_is_told_with_and_without_pushdown(tmp_path: Path) -> None:
    (tmp_path / "in.jl").write_bytes(LINES[0])
    config = {
        "reader": {"name": "fs", "options": {"input": f"{tmp_path}/in.jl"}},
        "steps": ADD_AND_MISS,
        "writer": {"name": "fs", "options": {"filebase": "out/part-", "compression": "none"}},
    }
    for way in (True, False):
        found = outcome({**config, "exporter_options": {"pushdown": way}})
        assert found.warnings == ("filter_2: no record has the field bb; did you mean b?",)


LATER = filtering("key_value_regex", keys=[{"name": "NN", "value": "x"}])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("later", "told"),
    [
        ([LATER], ["filter_2: no record has the field NN; did you mean n?"]),
        ([], ["formatter: no record has the field nn: its column is empty; did you mean n?",
              "grouper: no record has a value of B: all are in the group unknown; did you mean b?"]),
    ],
)  # fmt: skip
def test_the_name_that_was_meant_is_told_where_only_columns_are_decoded(
    tables: dict[str, str], kind: str, later: list[Any], told: list[str]
) -> None:
    config = {
        "reader": {"name": "fs", "options": {"input": tables[kind]}},
        "deserializer": kind,
        "steps": [filtering("key_value_regex", keys=[{"name": "a", "value": "1"}]), *later],
        "grouper": {"name": "file_key", "options": {"keys": ["B"]}},
        "formatter": {"name": "csv", "options": {"fields": ["a", "nn"]}},
        "writer": {"name": "fs", "options": {"filebase": "out/{groups[0]}/part-", "compression": "none"}},
    }
    for way in (True, False):
        assert list(outcome({**config, "exporter_options": {"pushdown": way}}).warnings) == told


TABLE = [{"a": n % 4, "b": "xyz"[n % 3], "n": None if n % 5 else n, "s": [n]} for n in range(40)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("tables")
    rows = [",".join(str(value if value is not None else "") for value in (r["a"], r["b"], r["n"])) for r in TABLE]
    (folder / "in.csv").write_text("\n".join(["a,b,n", *rows]) + "\n")
    pq.write_table(pa.Table.from_pylist(TABLE), folder / "in.parquet", row_group_size=7)
    return {kind: str(folder / f"in.{kind}") for kind in ("csv", "parquet")}


def test_a_letter_of_a_later_step_has_what_earlier_steps_added(tmp_path: Path) -> None:
    (tmp_path / "in.jl").write_text('{"a": 1}\n')
    found = outcome({
        "reader": {"name": "fs", "options": {"input": f"{tmp_path}/in.jl"}},
        "steps": ADD_AND_FAIL,
        "on_error": "dead_letter",
        "writer": {"name": "fs", "options": {"filebase": "out/part-", "compression": "none"}},
    })  # fmt: skip
    (letter,) = found.letters
    assert (letter["step"], letter["path"], letter["record"]) == ("transform_2", "steps[1].transform", {"a": 1, "m": 1})
    assert json.loads(json.dumps(letter)) == letter
