"""docs/formats.md: its examples are run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pyarrow import orc

from exporters_beam.cli.main import main
from exporters_beam.components.options import build
from exporters_beam.formats import parquet_tuning
from exporters_beam.formats.parquet import ParquetFormat

PAGE = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    return re.findall(rf"^```\w+ {re.escape(name)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]


def run(name: str) -> None:
    Path("config.yaml").write_text(block(name), encoding="utf-8")
    assert main(["run", "config.yaml", "--workers", "1"]) == 0


def test_csv_for_excel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.csv").write_text(block("shop.csv"), encoding="utf-8")
    run("for-excel")
    wanted = "\ufeff" + block("out/shop-0000.csv").replace("\n", "\r\n")
    assert Path("out/shop-0000.csv").read_bytes() == wanted.encode()


def test_excel_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xlsxwriter")
    pytest.importorskip("python_calamine")
    monkeypatch.chdir(tmp_path)
    Path("prices.jl").write_text(block("prices.jl"), encoding="utf-8")
    run("to-excel")
    run("from-excel")
    assert Path("again/prices-0000.jl").read_text(encoding="utf-8") == block("again/prices-0000.jl")


def test_the_options_of_parquet_are_those_of_the_format() -> None:
    formatter = yaml.safe_load(block("parquet"))["exporter_options"]["formatter"]
    if not parquet_tuning._knows_blooms():
        del formatter["options"]["bloom_filters"]
    assert build(ParquetFormat, formatter["options"]).sort_by == ("country", {"day": "descending"})


def test_orc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orders.jl").write_text('{"id":1,"paid":"2026-01-31T23:59:59Z"}\n{"id":2}\n', encoding="utf-8")
    run("orc")
    found = orc.ORCFile("orc/orders-0000.orc")
    assert found.nrows == 2 and [str(field.type) for field in found.schema] == ["int64", "timestamp[ns, tz=UTC]"]


def test_fixed_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bank.txt").write_text(block("bank.txt"), encoding="utf-8")
    run("fixed")
    assert Path("out/bank-0000.jl").read_text(encoding="utf-8") == block("out/bank-0000.jl")
