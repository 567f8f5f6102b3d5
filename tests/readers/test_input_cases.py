"""Public cases of inputs that hold more than data: what is right stands in the README beside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from shared import SHARED, needs_shared

import exporters_beam
from exporters_beam.errors import ConfigError

pytestmark = needs_shared


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a config of a case on a copy of its folder, and gives the records delivered."""

    def run(folder: str, config: str, **changed: Any) -> list[Any]:
        here = tmp_path / folder
        if not here.exists():
            shutil.copytree(SHARED / "cases" / folder, here)
        monkeypatch.chdir(here)
        if folder.startswith("10-") and not os.path.exists("d/control.pipe"):
            os.mkfifo("d/control.pipe")
        document = yaml.safe_load((here / config).read_text())
        report = exporters_beam.run({**document, **changed})
        return [json.loads(line) for file in report.files for line in Path(file["name"]).read_text().splitlines()]

    return run


def test_a_pipe_in_a_folder(case):
    assert len(case("10-fifo-in-folder", "dir.yaml")) == len(Path("d/a.jl").read_text().splitlines())
    with pytest.raises(ConfigError, match=r"d/control\.pipe' is a pipe; give a file"):
        case("10-fifo-in-folder", "listed.yaml")


@pytest.mark.parametrize(("config", "ids"), [("csv.yaml", [1, 2, 3]), ("jl.yaml", [1, 2])])
def test_members_of_an_archive(case, config, ids):
    assert [int(record["id"]) for record in case("02-zip-several-csv", config)] == ids


@pytest.mark.parametrize("config", ["csv.yaml", "jl.yaml"])
def test_an_archive_from_a_mac(case, config):
    assert len(case("03-zip-from-a-mac", config)) == 1


def test_marks_of_jobs(case):
    found = case("11-success-file", "jl.yaml")
    assert found == [json.loads(line) for line in Path("e/part-0.jl").read_text().splitlines()]
    assert case("11-success-file", "parquet.yaml") == case("11-success-file", "around.yaml") != []
