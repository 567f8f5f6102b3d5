"""Inputs that came out wrong in tools like this one, as far as their configs are at fault."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shared import SHARED, needs_shared

import exporters_beam
from exporters_beam.cli.main import main

from helpers import delivered


@needs_shared
@pytest.mark.parametrize(("config", "ids"), [("no", [1]), ("quoted", [1]), ("date", [1])])
def test_yaml_says_what_stands_there(config, ids, tmp_path, monkeypatch, caplog):
    case = SHARED / "cases/14-yaml-no"
    name = next(path.name for path in case.glob("*.yaml") if config in path.name)
    shutil.copytree(case, tmp_path / "case")
    monkeypatch.chdir(tmp_path / "case")
    assert main(["run", name]) == 0
    found = [record for folder in Path(".").glob("out-*") for records in delivered(folder).values() for record in records]
    assert [record["id"] for record in found] == ids
    assert json.dumps(found).count("NO") == 1
    warned = caplog.text.count("put it in quotes")
    assert warned == (0 if config == "quoted" else 1)


@pytest.mark.parametrize("pushdown", [True, False])
@pytest.mark.parametrize(("field", "value", "found"), [
    ("day", "2024-01-02", [2]), ("day", "2024-01-09", []), ("time", "2024-01-02 12:30:00", [2]), ("text", "2024-01-02", [2]),
    ("utc", "2024-01-02T12:30:00", [2]), ("utc", "2024-01-02T13:30:00+01:00", [2]), ("day", "2024-13-01", []),
])  # fmt: skip
def test_what_writes_a_date_keeps_records_with_dates_and_with_texts(tmp_path, field, value, found, pushdown):
    """YAML 1.1 reads dates, which texts never are; JSON has none, which date columns are."""
    time = datetime(2024, 1, 1, 12, 30)
    times = [time, time + timedelta(days=1)]
    table = pa.table({"id": [1, 2], "day": [when.date() for when in times], "time": times, "text": ["", "2024-01-02"],
                      "utc": pa.array(times, pa.timestamp("ms", "UTC"))})  # fmt: skip
    pq.write_table(table, tmp_path / "in.parquet")
    for operator, given in (("==", value), ("in", f"[{value}, x]")):
        (tmp_path / "c.yaml").write_text(
            f"reader: {{name: fs, options: {{input: '{tmp_path}/in.parquet'}}}}\n"
            "deserializer: parquet\n"
            "filter_before:\n  name: key_value\n  options:\n"
            f"    keys: [{{name: {field}, operator: '{operator}', value: {given}}}]\n"
            f"writer: {{name: fs, options: {{filebase: '{tmp_path}/out/p-', compression: none}}}}\n"
            f"exporter_options: {{pushdown: {json.dumps(pushdown)}}}\n"
        )
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        exporters_beam.run(tmp_path / "c.yaml", workers=1)
        ids = [record["id"] for records in delivered(tmp_path / "out").values() for record in records]
        assert ids == found
