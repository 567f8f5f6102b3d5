"""Exports from and to XML, as users run them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from shared import SHARED, needs_shared

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.reporting.verify import verify

from helpers import jsonl, visible

CASES = SHARED / "cases"


def run_case(tmp_path: Path, case: str, config: str, **options: Any) -> tuple[int, list[Any]]:
    """The status of a case's config, with these options of the deserializer, and the records it delivers."""
    folder = tmp_path / case
    if not folder.exists():
        shutil.copytree(CASES / case, folder)
    settings = yaml.safe_load((folder / config).read_text(encoding="utf-8"))
    if options:
        settings["deserializer"]["options"].update(options)
    (folder / "changed.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        status = main(["run", "changed.yaml"])
    out = folder / settings["writer"]["options"]["filebase"].partition("/")[0]
    files = [path.read_text(encoding="utf-8") for _, path in sorted(visible(out).items())]
    return status, [json.loads(line) for text in files for line in text.splitlines() if line.startswith("{")]


@needs_shared
def test_case_08(tmp_path: Path) -> None:
    status, found = run_case(tmp_path, "08-xml-type-attribute", "one.yaml")
    phone, fax = ({"@type": kind, "#text": "0123456789"} for kind in ("number", "mobile"))
    assert (status, found) == (0, [{"name": "Ada", "phone": phone, "fax": fax}])


@needs_shared
def test_case_09(tmp_path: Path) -> None:
    status, found = run_case(tmp_path, "09-xml-one-or-many", "json.yaml", lists=["line"])
    lines = [{"sku": sku} for sku in "abc"]
    assert (status, found) == (0, [{"id": "1", "line": lines[:1]}, {"id": "2", "line": lines[1:]}])


@needs_shared
def test_case_22(tmp_path: Path) -> None:
    run_case(tmp_path, "22-names-that-collide", "xml.yaml")
    made = next(iter(visible(tmp_path / "22-names-that-collide/out-xml").values()))
    target = tmp_path / "22-names-that-collide/out-xml-space/p-0000.xml"
    target.parent.mkdir()
    shutil.copy(made, target)
    assert run_case(tmp_path, "22-names-that-collide", "back.yaml") == (0, [{"+1": 3, "-1": 4}])


@pytest.mark.parametrize("options", [
    {}, {"attr_type": False}, {"root_name": "r", "item_name": "row", "xml_header": ""}, {"item_name": None},
])  # fmt: skip
def test_what_is_written_is_verified_and_read_back(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = [{"a b": "x", "a_b": "y", "1": "z"}, {"": "w", "key": "\r\n", "item": ["1", "2"]}, {"a": {"a": "<"}}]
    Path("in.jl").write_bytes(jsonl(records))
    report = exporters_beam.run(
        {
            "reader": {"name": "fs", "options": {"input": "in.jl"}},
            "writer": {"name": "fs", "options": {"filebase": "xml/p-"}},
            "exporter_options": {"formatter": {"name": "xml", "options": options}},
        }
    )
    assert verify(report.manifest)[0] == []
    exporters_beam.run(
        {
            "reader": {"name": "fs", "options": {"input": {"dir": "xml"}}},
            "deserializer": {"name": "xml", "options": {"item_name": options.get("item_name") or "item"}},
            "writer": {"name": "fs", "options": {"filebase": "back/p-", "compression": "none"}},
        }
    )
    back = [json.loads(line) for line in Path("back/p-0000.jl").read_text(encoding="utf-8").splitlines()]
    if options.get("attr_type") is False:
        records[1]["item"] = {"item": ["1", "2"]}  # nothing says that it is a list
    assert back == records
