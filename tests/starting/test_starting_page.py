"""docs/starting.md: its config is what is written for its file, and it runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from exporters_beam.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs/starting.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    return re.findall(rf"^```\w+ {re.escape(name)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]


def test_the_config_of_the_page_is_written_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.csv").write_text(block("shop.csv"))
    assert main(["init", "shop.yaml", "--from", "shop.csv"]) == 0
    assert Path("shop.yaml").read_text() == block("shop.yaml")
    assert main(["validate", "shop.yaml"]) == 0
    assert main(["run", "shop.yaml", "--quiet", "--workers", "1"]) == 0
    records = [json.loads(line) for line in Path("out/shop-0000.jl").read_text().splitlines()]
    assert records[1] == {
        "sku": "00018",
        "name": 'Cup, "blue"',
        "price": 7.5,
        "added": "2026-02-28",
        "seen": "03/04/2026",
        "stock": False,
    }
