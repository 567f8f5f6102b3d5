"""Parquet files of ours with bytes changed, moved and cut off: the records or one sentence, whatever it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("seed", "times"),
    [(1, 300), pytest.param(2, 2500, marks=pytest.mark.slow), pytest.param(3, 2500, marks=pytest.mark.slow)],
)
def test_files_damaged_at_random(seed, times):
    command = [sys.executable, str(Path(__file__).parent / "mutated.py"), str(seed), str(times)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, f"after file {run.stderr[-1500:]}"
    told = json.loads(run.stdout)
    assert told["right"] + told["said"] > 0.98 * times
    # Footers have no checksum: a name or a type can become another one, but no record gets lost.
    assert {(how, count) for _, how, count in told["others"]} <= {("footer", 60), ("count", 60), ("moved", 60)}
