"""Inputs that came out wrong in tools like this one, as far as their configs are at fault."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from shared import SHARED, needs_shared

from exporters_beam.__main__ import main

from helpers import delivered


@needs_shared
@pytest.mark.parametrize(("config", "ids"), [("no", [1]), ("quoted", [1]), ("date", [1])])
def test_yaml_says_what_stands_there(config, ids, tmp_path, monkeypatch, caplog):
    case = SHARED / "cases/14-yaml-no"
    name = next(path.name for path in case.glob("*.yaml") if config in path.name)
    shutil.copytree(case, tmp_path / "case")
    monkeypatch.chdir(tmp_path / "case")
    assert main(["run", name]) == 0
    found = [
        record for folder in Path(".").glob("out-*") for records in delivered(folder).values() for record in records
    ]
    assert [record["id"] for record in found] == ids
    assert json.dumps(found).count("NO") == 1
    warned = caplog.text.count("put it in quotes")
    assert warned == (0 if config == "quoted" else 1)
