"""Beam YAML pipelines that use our readers, steps and writers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers import delivered, plain, visible

pytestmark = pytest.mark.dataflow

ROOT = Path(__file__).parent.parent.parent


def ran(folder: Path, pipeline: dict, providers: Path = ROOT / "templates/beam-yaml/providers.yaml"):
    """The process that runs a pipeline of Beam YAML."""
    spec = {"pipeline": pipeline, "providers": [{"include": str(providers)}]}
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(spec))
    return started(folder, "pipeline.yaml")


def started(folder: Path, file: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apache_beam.yaml.main", f"--yaml_pipeline_file={file}", "--runner=FnApiRunner"]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True)  # fmt: skip


def products() -> list[dict]:
    lines = b"".join(plain(path) for path in sorted((ROOT / "templates/data").glob("products-*.jl.gz")))
    return [json.loads(line) for line in lines.splitlines()]


def test_the_shipped_pipeline_reads_filters_changes_and_writes(tmp_path):
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    done = started(tmp_path, "templates/beam-yaml/pipeline.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    kept = [p for p in products() if p["stock"] > 0 and p["price"] < 50]
    wanted = sorted((p["_key"], round(p["price"] * p["stock"], 2)) for p in kept)
    found = delivered(tmp_path / "out" / "beam-yaml")
    assert sorted((r["key"], r["value"]) for records in found.values() for r in records) == wanted
    assert all(record["category"] == name.partition("/")[0] for name, records in found.items() for record in records)
    assert list((tmp_path / "out").rglob("manifest.json"))


def test_equal_input_gives_equal_files_and_rows_of_beam_yaml_can_be_written(tmp_path):
    rows = [{"id": n, "name": f"é{n}", "inner": {"a": [n, n + 1]}} for n in range(40)]
    for out, elements in (("a", rows), ("b", rows[::-1])):
        done = ran(tmp_path, {"type": "chain", "transforms": [
            {"type": "Create", "config": {"elements": elements}},
            {"type": "ExportersWrite", "config": {
                "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/{out}/part-"}}}},
        ]})  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    files = [{name: path.read_bytes() for name, path in visible(tmp_path / out).items()} for out in "ab"]
    assert files[0] == files[1]
    (records,) = delivered(tmp_path / "a").values()
    assert sorted(records, key=lambda record: record["id"]) == rows


def test_a_whole_export_is_one_transform(tmp_path):
    config = {"reader": {"name": "random", "options": {"number_of_items": 30, "seed": 1}},
              "steps": [{"transform": {"name": "pythonmap", "options": {"map": "{'half': item['key'] // 2}"}}},
                        {"filter": "dupe"}],
              "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/${{vars.out}}/part-"}}}  # fmt: skip
    done = ran(tmp_path, {"type": "chain", "transforms": [
        {"type": "ExportersExport", "config": {"config": config, "vars": {"out": "there"}}}, {"type": "LogForTesting"},
    ]})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert delivered(tmp_path / "there") == {"part-0000.jl.gz": [{"half": n} for n in range(15)]}


@pytest.mark.parametrize(("transform", "told"), [
    ({"type": "ExportersRead", "config": {"reader": {"name": "fz"}}}, 'did you mean "fs"'),
    ({"type": "ExportersRead", "config": {"reader": "random", "fields": {"key": "int"}}}, "there is no type 'int'"),
    ({"type": "ExportersRead", "config": {"reader": "random", "fields": {"_a": "string"}}}, "write a: {field: _a"),
    ({"type": "ExportersRead", "config": {"reader": "random", "fields": {"city": "string"}}}, "is not of the type string"),
])  # fmt: skip
def test_what_is_wrong_is_told(tmp_path, transform, told):
    done = ran(tmp_path, {"type": "chain", "transforms": [transform, {"type": "LogForTesting"}]})
    assert done.returncode != 0 and told in done.stderr
