"""What records of Beam YAML hold arrives in the files, whatever its type. The transforms are run without Beam YAML itself."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.utils.timestamp import Timestamp

from exporters_beam.yaml_provider import Write

from helpers import delivered, visible

NOON = datetime(2024, 1, 2, 12, 0, 0, 5, tzinfo=timezone.utc)
VALUES: dict[str, Any] = {
    "bytes": b"x\xff",
    "decimal": Decimal("1.50"),
    "at": NOON,
    "day": date(2024, 1, 2),
    "time": time(12, 30),
}


def write(records: list[Any], folder: Path, formatter: Any = None) -> None:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(records) | Write({"name": "fs", "options": {"filebase": f"{folder}/p-"}}, formatter)


def test_values_that_json_has_no_form_for_keep_their_types(tmp_path: Path) -> None:
    write([VALUES, beam.Row(**VALUES)], tmp_path / "out", "parquet")
    (path,) = visible(tmp_path / "out").values()
    assert pq.read_table(path).to_pylist() == [VALUES, VALUES]


def test_values_are_written_as_by_any_export(tmp_path: Path) -> None:
    key = UUID(int=7)
    more = {
        "id": key,
        "n": np.int64(3),
        "then": Timestamp.from_utc_datetime(NOON),
        "in": [{"$bytes": "eA=="}, (b"y", bytearray(b"y"))],
    }
    write([{**VALUES, **more}], tmp_path / "out")
    assert delivered(tmp_path / "out") == {"p-0000.jl.gz": [{
        "bytes": "eP8=", "decimal": 1.5, "at": NOON.isoformat(), "day": "2024-01-02", "time": "12:30:00",
        "id": str(key), "n": 3, "then": NOON.isoformat(), "in": [{"$bytes": "eA=="}, ["eQ==", "eQ=="]],
    }]}  # fmt: skip


def test_what_no_format_could_hold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="a value of the type set cannot be written"):
        write([{"a": {1}}], tmp_path / "out")


def test_equal_records_give_equal_files_in_any_order(tmp_path: Path) -> None:
    records = [{"n": n, "raw": bytes([n]), "d": Decimal(n)} for n in range(50)]
    for name, given in (("a", records), ("b", records[::-1])):
        write(given, tmp_path / name)
    files = [{name: path.read_bytes() for name, path in visible(tmp_path / name).items()} for name in "ab"]
    assert files[0] == files[1] and len(json.dumps(delivered(tmp_path / "a"))) > 1000
