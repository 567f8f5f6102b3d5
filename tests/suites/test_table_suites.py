"""Public files of Parquet and Avro: the records that the reference reads, or one sentence; never a crash or a hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from shared import SHARED, needs_shared

SUITES = SHARED / "suites"
PARQUET, FUZZED, AVRO = (
    SUITES / "parquet-testing",
    SUITES / "arrow-testing/parquet-fuzzing",
    SUITES / "arrow-testing/avro",
)

pytestmark = needs_shared

REFUSED = {
    "datapage_v1-corrupt-checksum.parquet": "CRC checksum verification failed",
    "rle-dict-uncompressed-corrupt-checksum.parquet": "CRC checksum verification failed",
    "incorrect_map_schema.parquet": "Map keys must be annotated as required",
    "large_string_map.brotli.parquet": "as decompression bombs do; where that is right, raise max_ratio or set it to 0",
    "_KEY_MATERIAL_FOR_external_key_material_java.parquet.encrypted.json": "not a Parquet file",
}

BEYOND = {"int96_from_spark.parquet", "nested_structs.rust.parquet"}
"""Files with moments that neither Python nor the reference can hold."""


def told(kind: str, paths: list[Path], seconds: int = 120) -> dict[str, dict[str, Any]]:
    """What came of each file, by its path. A process that ends too early is a fault of the file it was at."""
    found: dict[str, dict[str, Any]] = {}
    left = [str(path) for path in paths]
    command = [sys.executable, str(Path(__file__).parent / "reading.py"), kind]
    while left:
        run = subprocess.run([*command, *left], capture_output=True, text=True, timeout=seconds, env=dict(os.environ))
        lines = [json.loads(line) for line in run.stdout.splitlines()]
        found |= {line["file"]: line for line in lines if "file" in line}
        done = [line["file"] for line in lines if "file" in line]
        at = next((path for path in left if path not in done), None)
        if at is None:
            break
        found[at] = {"ended": run.returncode, "stderr": run.stderr[-500:]}
        left = left[left.index(at) + 1 :]
    return found


def files(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.rglob(pattern))
    assert found
    return found


def check(name: str, line: dict[str, Any], path: Path) -> None:
    assert "ended" not in line, (name, line)
    if "said" in line:
        assert line["said"].startswith(f"{path}: ") and "\n" not in line["said"] and len(line["said"]) < 700
    else:
        assert line.get("same") or (line["failed"] and "other" in line), (name, line)


def test_the_files_of_parquet_testing():
    paths = files(PARQUET / "data", "*.parquet*")
    found = told("parquet", paths)
    assert len(found) > 60
    for path in paths:
        name, line = path.name, found[str(path)]
        check(name, line, path)
        if name.endswith(".encrypted"):
            assert "the file is encrypted" in line["said"] and "write it without encryption" in line["said"]
        elif name in REFUSED:
            assert REFUSED[name] in line["said"]
        elif name not in BEYOND:
            assert line["same"], (name, line)
    assert found[str(PARQUET / "data/repeated_no_annotation.parquet")]["records"] == 6


def test_bad_files_and_variants():
    paths = files(PARQUET / "bad_data", "*.parquet") + files(PARQUET / "shredded_variant", "*.parquet")
    found = told("parquet", paths)
    for path in paths:
        check(path.name, found[str(path)], path)
    assert sum("said" in line for line in found.values()) == 7


def test_files_that_a_fuzzer_found():
    paths = [path for path in files(FUZZED, "*") if path.name != "README.md"]
    assert len(paths) > 100
    found = told("parquet", paths)
    for path in paths:
        check(path.name, found[str(path)], path)


def test_avro_files():
    paths = files(AVRO, "*.avro")
    found = told("avro", paths)
    for path in paths:
        check(path.name, found[str(path)], path)
        assert found[str(path)]["same"], found[str(path)]
