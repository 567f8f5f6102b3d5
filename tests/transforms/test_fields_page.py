"""docs/fields.md: its examples give what it says, and its tables are those of the code."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from exporters_beam.cli.main import main
from exporters_beam.components.options import build
from exporters_beam.errors import RecordError
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.transforms.fields.operations import ORDER
from exporters_beam.transforms.fields.transform import FieldsTransform
from exporters_beam.transforms.fields.types import OPTIONS

PAGE = (Path(__file__).parents[2] / "docs/fields.md").read_text(encoding="utf-8")

ROWS = re.findall(r"^\| `(\{.*?\})` \| `(\{.*?\})` \| (.*) \|$", PAGE, re.MULTILINE)


def block(name: str) -> str:
    return re.findall(rf"^```\w+ {re.escape(name)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]


def test_there_are_examples() -> None:
    assert len(ROWS) > 25


@pytest.mark.parametrize(("options", "record", "becomes"), ROWS)
def test_each_example_becomes_what_the_page_says(options: str, record: str, becomes: str) -> None:
    transform = build(FieldsTransform, yaml.safe_load(options), {})
    try:
        found = JsonFormat().format(transform.map(json.loads(record))).decode()
    except RecordError as error:
        assert str(error) == becomes
        return
    assert becomes.startswith("`"), found
    wanted = becomes.strip("`")
    assert found == (wanted if "1.50" in wanted else JsonFormat().format(json.loads(wanted)).decode())


def test_the_tables_have_every_operation_in_order_and_every_type() -> None:
    assert re.findall(r"^\| \d+ \| `(\w+)` \|", PAGE, re.MULTILINE) == list(ORDER)
    section = PAGE.partition("\n## Types\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(OPTIONS)


def test_the_first_example_is_run_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(block("fields"))
    Path("shop.jl").write_text(block("shop.jl"))
    assert main(["run", "config.yaml", "--workers", "1"]) == 0
    delivered = Path("out/shop-0000.jl").read_text()
    today = json.loads(delivered)["day"]
    assert date.today().isoformat() >= today > "2026-01-01"
    assert delivered == block("out/shop-0000.jl").replace("2026-11-30", today)
