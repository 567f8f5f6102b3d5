"""Objects of S3 in tables: reached with the writer's keys, and not replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.planning.plan import make
from exporters_beam.runners.registering import table_of

from helpers import jsonl
from places import Place

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("kind", ["iceberg", "delta"])
def test_objects_are_in_the_table_and_are_not_replaced(kind: str, moto: Place, tmp_path: Path) -> None:
    pytest.importorskip({"iceberg": "pyiceberg", "delta": "deltalake"}[kind])
    records = [{"n": 1, "g": "x y"}, {"n": 2, "g": "a/b"}]
    (tmp_path / "a.jl").write_bytes(jsonl(records))
    catalog = {"type": "sql", "uri": f"sqlite:///{tmp_path}/c.db", "warehouse": f"file://{tmp_path}/warehouse"}
    table = {"iceberg": {"catalog": catalog, "name": "shop.orders"}, "delta": {}}[kind]
    config: dict[str, Any] = {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "a.jl")}},
        "formatter": "parquet",
        "partition_by": {"fields": ["g"], "columns": "keep" if kind == "iceberg" else "remove"},
        "writer": moto.writer("tables/é x-%Y-"),
        "table": {kind: {**table, "create": True}},
    }
    report = exporters_beam.run(config)
    exporters_beam.run({**config, "exporter_options": {"resume": True}})
    found: Any = table_of(make(load(config)))
    assert sorted(found.files()) == [file["name"] for file in report.files]
    loaded = found._load()
    rows = loaded.scan().to_arrow() if kind == "iceberg" else loaded.to_pyarrow_table()
    assert sorted(rows.to_pylist(), key=lambda record: record["n"]) == records
    every = {"name": "pythonexp", "options": {"python_expression": "True"}}
    with pytest.raises(exporters_beam.ConfigError, match=r"x-\d{4}-0000\.parquet of another export"):
        exporters_beam.run({**config, "filter_before": every})
