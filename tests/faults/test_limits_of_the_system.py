"""A file size limit, a full disk and a memory limit: one sentence that names the place, status 1; then it goes on."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.errors import ExportError
from exporters_beam.runners.failures import told

from helpers import jsonl, visible

ROOT = Path(__file__).parents[2]


def run(path: Path, *args: str, **limits: int) -> tuple[int, str]:
    def limit() -> None:
        for name, most in limits.items():
            resource.setrlimit(getattr(resource, name), (most, most))

    done = subprocess.run([sys.executable, "-m", "exporters_beam", "run", str(path), "--quiet", *args], text=True,
                          capture_output=True, timeout=120, preexec_fn=limit,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("shape", ["text", "table", "two workers"])
def test_a_limit_of_the_size_of_files_names_the_folder(tmp_path: Path, shape: str) -> None:
    (tmp_path / "in.jl").write_bytes(jsonl([{"id": i, "text": f"{i * 7919 % 10007:x}" * 40} for i in range(8000)]))
    config: dict[str, Any] = {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-", "compression": "none"}},
    }
    if shape == "table":
        config["formatter"] = {"name": "parquet"}
        del config["writer"]["options"]["compression"]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(config))
    more = ["--workers", "2"] if shape == "two workers" else []
    code, said = run(path, *more, RLIMIT_FSIZE=60_000)
    assert code == 1, said
    assert said.count("\n") == 1 and said.startswith("error: cannot ") and said.endswith(": File too large\n"), said
    assert f"{tmp_path}/out" in said
    assert not (tmp_path / "out").exists() or not visible(tmp_path / "out")
    code, said = run(path, "--resume")
    assert code == 0, said


def test_memory_that_is_not_enough_names_the_input_or_the_step(tmp_path: Path, monkeypatch: Any) -> None:
    from exporters_beam.formats.json_lines import JsonLinesDeserializer

    def chunks(self: Any, stream: Any) -> Any:
        yield from ()
        raise MemoryError

    (tmp_path / "in.jl").write_bytes(jsonl([{"id": 1}]))
    monkeypatch.setattr(JsonLinesDeserializer, "chunks", chunks)
    with pytest.raises(exporters_beam.SourceError, match=r"^\S+in\.jl: there is not enough memory to read it; give the export"):
        exporters_beam.run({
            "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-"}},
        })  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("MemoryError [while running 'writer/ParDo(EncodeBlocks)']", " in the step writer"),
        (
            "pyarrow.lib.ArrowMemoryError: malloc of size 64 failed [while running 'PublishFile']",
            " in the step PublishFile",
        ),
        ("builtins.MemoryError", ""),
    ],
)
def test_memory_that_is_not_enough_names_the_step(text: str, where: str) -> None:
    found = told(RuntimeError(f"Traceback (most recent call last):\n  File x\n{text}"))
    assert type(found) is ExportError
    assert str(found) == (f"the export ran out of memory{where}; give the export more, or fewer worker processes (--workers)")
