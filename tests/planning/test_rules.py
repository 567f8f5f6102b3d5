"""Every rule of the planner changes nothing but the time it takes: exports with all rules, with none and without each one
deliver the same bytes, counts, dead letters and messages.

The everyday run tries few of what Hypothesis makes; `EXPORTERS_BEAM_EXAMPLES=5000 pytest tests/planning/test_rules.py` is the
long form.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.cli.main import main
from exporters_beam.config import spec
from exporters_beam.engine import decode
from exporters_beam.formats import csv, json_lines
from exporters_beam.planning import rules
from exporters_beam.planning.plan import make

from examples import at_least
from generated import Export, exports

FILTER = {"name": "key_value", "options": {"keys": [{"name": "a", "value": 1}]}}
DUPE = {"name": "dupe", "options": {"key_field": "a"}}


@settings(max_examples=at_least(20, 2), deadline=None)
@given(exports)
def test_every_rule_changes_nothing(export: Export) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with_all = export.outcome(folder)
        assert export.outcome(folder, pushdown=False) == with_all
        for rule in rules.NAMES:
            assert export.outcome(folder, without=[rule]) == with_all, rule


def of_several_chunks(export: Export) -> bool:
    """Whether it begins with a filter. Types of columns are settled between chunks by more than runs here."""
    formatter = export.config.get("formatter", "")
    table = any(name in str(formatter) for name in ("parquet", "avro", "orc", "xlsx"))
    return "filter" in (export.config["steps"] or [{}])[0] and not table


@settings(max_examples=at_least(20, 2), deadline=None)
@given(exports.filter(of_several_chunks), st.sampled_from([(1.0, 1), (0.5, 2)]))
def test_chunks_that_are_decoded_without_looking_first_give_the_same(export: Export, choice: tuple[float, int]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        for module in (json_lines, csv):
            patch.setattr(module, "PIECE", 40)  # bytes of a chunk: there are several in each input
        patch.setattr(decode, "DROPPED", choice[0])
        patch.setattr(decode, "UNSEEN", choice[1])
        assert export.outcome(folder, without=["fields-pushed"]) == export.outcome(folder)


LINES_TO_LINES = {
    "reader": {"name": "fs", "options": {"input": "x"}},
    "writer": {"name": "fs", "options": {"filebase": "o/"}},
}


@pytest.mark.parametrize("rule", rules.NAMES)
def test_each_rule_is_applied_somewhere_and_can_be_left_out(rule: str) -> None:
    sections: dict[str, Any] = {
        "lines-transcribed": {"deserializer": "csv"},
        "fields-projected": {"exporter_options": {"formatter": {"name": "csv", "options": {"fields": ["a"]}}}},
        "fields-pushed": {"filter": FILTER},
        "columns-kept": {"deserializer": "parquet", "exporter_options": {"formatter": "parquet"}},
        "columns-made": {"deserializer": "csv", "exporter_options": {"formatter": "parquet"}},
        "row-groups-skipped": {"deserializer": "parquet", "filter": FILTER},
        "records-staged": {"filter": DUPE},
        "files-together": {},
    }[rule]
    config = {**LINES_TO_LINES, **sections}
    applied = {each.rule: each.rewritten for each in make(spec.load(config)).physical.trace}
    assert applied[rule]
    settings = {**config.get("exporter_options", {}), "without": [rule]}
    left = {each.rule: each for each in make(spec.load({**config, "exporter_options": settings})).physical.trace}
    assert not left[rule].rewritten and left[rule].why == "it is turned off"


def test_a_rule_is_left_out_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**LINES_TO_LINES, "filter": FILTER}))
    assert main(["explain", str(path), "--without", "fields-pushed", "--without=columns-kept"]) == 0
    assert "· fields-pushed       no: it is turned off\n" in capsys.readouterr().out
    assert main(["explain", str(path), "--without", "field-pushed"]) == 2
    told = capsys.readouterr().err
    assert "exporter_options.without: the planner has no rule 'field-pushed'; did you mean \"fields-pushed\"?" in told
    assert main(["explain", str(path), "--no-pushdown"]) == 0
    assert capsys.readouterr().out.count("it is turned off") == len(rules.NAMES)


def test_many_small_files_are_delivered_alike_when_they_go_to_workers_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(200):
        lines = [f'{{"a":{n},"b":"{number % 3}"}}' for n in range(number % 5)] + ["oops"] * (number % 50 == 7)
        (tmp_path / "in" / f"{number:03d}.jl").write_text("\n".join(lines))
    told = []
    for name, without in (("together", []), ("alone", ["files-together"])):
        config = {
            "reader": {"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}},
            "grouper": {"name": "file_key", "options": {"keys": ["b"]}}, "on_error": "dead_letter",
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/{name}/{{groups[0]}}-"}},
            "exporter_options": {"without": without},
        }  # fmt: skip
        (tmp_path / "c.json").write_text(json.dumps(config))
        assert main(["run", str(tmp_path / "c.json"), "--workers", "1"]) == 0
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()}
        manifest = json.loads(next((tmp_path / name / ".exporters").glob("*/manifest.json")).read_text())
        kept = {key: manifest[key] for key in ("units", "counts", "warnings")}
        lines = Path(manifest["dead_letters"]["name"]).read_text().splitlines()
        letters = [{**json.loads(line), "export": ""} for line in lines]
        told.append((files, kept, letters, [file["md5"] for file in manifest["files"]]))
    assert told[0] == told[1] and len(told[0][0]) == 3 and told[0][1]["counts"]["read"] > 300
