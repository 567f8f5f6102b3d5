"""Whole exports to Parquet and Avro: the types of their files, and what does not fit them."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest
from shared import SHARED, needs_shared

import exporters_beam
from exporters_beam.errors import ExportError
from exporters_beam.verify import verify

from helpers import visible


def config(out: Path, source: Any, form: str, deserializer: str = "", **more: Any) -> dict[str, Any]:
    """An export of `source` to files in `out`; `options` are the formatter's."""
    return {
        "reader": {"name": "fs", "options": {"input": source}},
        **({"deserializer": {"name": deserializer}} if deserializer else {}),
        "formatter": {"name": form, "options": more.pop("options", {})},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", "compression": "none"}},
        **more,
    }


def records_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return list(fastavro.reader(io.BytesIO(path.read_bytes())))


def run(settings: dict[str, Any], out: Path, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The report, and the records of all files, in the order of their names; what was delivered is verified."""
    report = exporters_beam.run(settings, **options)
    assert verify(report.manifest)[0] == []
    return report, [record for path in visible(out).values() for record in records_of(path)]


def letters_of(report: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(report.dead_letters["name"]).read_bytes().splitlines()]


# Texts to declared types

SHOP = {
    "parquet": {
        "properties": {
            "id": {"type": "integer"},
            "price": {"type": ["number", "null"]},
            "in_stock": {"type": "boolean"},
            "sold": {"type": ["string", "null"], "format": "date"},
        }
    },
    "avro": {
        "type": "record",
        "name": "Shop",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "price", "type": ["null", "double"]},
            {"name": "in_stock", "type": "boolean"},
            {"name": "sold", "type": ["null", {"type": "int", "logicalType": "date"}]},
        ],
    },
}
SOLD = [(1, 2.5, True, datetime.date(2024, 1, 2)), (2, None, False, None)]


@needs_shared
@pytest.mark.parametrize("form", SHOP)
def test_case_17_csv_to_typed_columns(form: str, tmp_path: Path) -> None:
    source = str(SHARED / "cases" / "17-csv-to-typed-columns" / "in.csv")
    _, records = run(config(tmp_path, source, form, "csv", options={"schema": SHOP[form]}), tmp_path)
    assert [tuple(record.values()) for record in records] == SOLD


@pytest.mark.parametrize("form", SHOP)
@pytest.mark.parametrize("deserializer", ["csv", "xml", "jsonlines"])
def test_texts_that_do_not_fit_are_errors_of_their_records(form: str, deserializer: str, tmp_path: Path) -> None:
    rows = [("1", "2.50", "true", "2024-01-02"), ("2", "", "False", ""), (" 3", "", "true", ""), ("4", "1,5", "true", ""),
            ("5", "", "yes", ""), ("6", "", "true", "2024-1-2")]  # fmt: skip
    names = ("id", "price", "in_stock", "sold")
    text = {
        "csv": lambda: "\n".join(",".join(f'"{value}"' for value in row) for row in [names, *rows]),
        "xml": lambda: "<r>" + "".join(
            f"<item>{''.join(f'<{n}>{v}</{n}>' for n, v in zip(names, row, strict=True))}</item>" for row in rows) + "</r>",
        "jsonlines": lambda: "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows),
    }[deserializer]()  # fmt: skip
    (tmp_path / "in").write_text(text)
    settings = config(tmp_path / "out", str(tmp_path / "in"), form, deserializer, options={"schema": SHOP[form]})
    report, records = run({**settings, "on_error": "dead_letter"}, tmp_path / "out")
    assert [tuple(record.values()) for record in records] == SOLD
    assert [letter["number"] for letter in letters_of(report)] == [3, 4, 5, 6]
    assert [letter["message"].partition(",")[0] for letter in letters_of(report)] == [
        "field id: ' 3' is not an integer of int64",
        "field price: '1",
        "field in_stock: 'yes' is not true or false",
        "field sold: '2024-1-2' is not a date (2026-01-31)",
    ]
    with pytest.raises(ExportError, match="record 3: formatter: field id: ' 3' is not an integer"):
        exporters_beam.run(settings)
