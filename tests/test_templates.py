"""Every config in templates/ runs as it stands, and what the README says works when pasted."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import types
from pathlib import Path

import pytest

from exporters_beam.cli.main import main
from exporters_beam.config import spec
from exporters_beam.planning.plan import make

from helpers import plain, visible

ROOT = Path(__file__).parent.parent
TEMPLATES = sorted(path.name for path in (ROOT / "templates").iterdir() if path.suffix in (".yaml", ".json"))


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder with the templates in it, as a user stands in."""
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_runs_and_what_it_delivers_is_verified(name, checkout, capsys):
    assert main(["validate", f"templates/{name}"]) == 0
    assert main(["run", f"templates/{name}", "--report", "report.json"]) == 0
    report = json.loads(Path("report.json").read_text())
    assert report["status"] == "done" and report["files"] and report["counts"]["written"] > 0
    assert main(["verify", report["manifest"]]) == 0
    assert f"{len(report['files'])} files" in capsys.readouterr().out


def test_the_quickstart_delivers_what_is_in_stock_by_category(checkout):
    assert main(["run", "templates/quickstart.yaml"]) == 0
    found = visible(Path("out/quickstart"))
    assert sorted(found) == [f"{name}/products-0000.jl.gz" for name in ("bags", "hats", "shirts", "shoes")]
    records = [json.loads(line) for path in found.values() for line in plain(path).splitlines()]
    assert all(r["stock"] > 0 and r["value"] == round(r["price"] * r["stock"], 2) for r in records)


def test_the_legacy_config_delivers_flat_csv(checkout):
    assert main(["run", "templates/legacy.json"]) == 0
    first = plain(Path("out/legacy/products-0000.csv.gz")).decode()
    rows = list(csv.reader(first.splitlines(), delimiter=";"))
    assert rows[0] == ["_key", "price", "seller.town", "tags"] and len(rows) == 101


def fenced(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_config_of_the_readme_runs_as_pasted(checkout):
    Path("export.yaml").write_text(fenced("yaml")[0], encoding="utf-8")
    for command in (["validate", "export.yaml"], ["explain", "export.yaml"], ["preview", "export.yaml", "-n", "3"],
                    ["run", "export.yaml", "--report", "report.json"]):  # fmt: skip
        assert main(command) == 0
    assert json.loads(Path("report.json").read_text())["counts"]["written"] > 100


def test_the_python_of_the_readme_runs_as_pasted(checkout, monkeypatch):
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    for code in fenced("python"):
        exec(compile(code, "README.md", "exec"), module.__dict__)


def test_every_component_of_the_readme_and_docs_exists():
    assert "docs/reference.md" in (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / link).exists(), link


def test_the_reference_is_up_to_date(capsys):
    assert main(["modules", "--markdown"]) == 0
    written = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert written == capsys.readouterr().out, "run: exporters-beam modules --markdown > docs/reference.md"


def test_explain_names_every_step_and_draws_it(checkout, capsys):
    assert main(["explain", "templates/quickstart.yaml"]) == 0
    text = capsys.readouterr().out
    order = ["reader", "decompressor", "deserializer", "filter_before", "transform", "grouper", "formatter", "GroupByKey",
             "writer", "manifest"]  # fmt: skip
    places = [text.index(f" {name} ") for name in order]
    assert places == sorted(places)
    assert main(["explain", "templates/quickstart.yaml", "--format", "mermaid"]) == 0
    drawn = capsys.readouterr().out
    assert drawn.startswith("flowchart TD\n") and drawn.count("-->") == len(order) - 1


def test_preview_shows_records_at_each_step_and_writes_nothing(checkout, capsys):
    assert main(["preview", "templates/quickstart.yaml", "-n", "5"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("reader: 5 records\n") and "transform (pythonexp): " in text and '"value"' in text
    assert not Path("out").exists()


def test_explaining_all_templates_touches_nothing(checkout):
    for name in TEMPLATES:
        make(spec.load(f"templates/{name}"))
    assert sorted(path.name for path in checkout.iterdir()) == ["templates"]
