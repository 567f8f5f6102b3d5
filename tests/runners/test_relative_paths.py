"""What a config says of places means the same on every worker: relative paths are told apart from all else."""

from __future__ import annotations

from typing import Any

import pytest

from exporters_beam.config.spec import load
from exporters_beam.planning.plan import make
from exporters_beam.runners.options import relative_paths

READERS: dict[str, tuple[Any, list[str]]] = {
    "a file": ({"name": "fs", "options": {"input": "in/a.jl"}}, ["in/a.jl"]),
    "a folder and a file": ({"name": "fs", "options": {"input": [{"dir": "in"}, "/data/a.jl"]}}, ["in"]),
    "a URL": ({"name": "http", "options": {"input": "https://example.org/a.jl"}}, []),
    "URLs": ({"name": "http", "options": {"input": ["https://example.org/a.jl", "http://example.org/b.jl"]}}, []),
    "none": ("random", []),
}


@pytest.mark.parametrize("case", READERS)
def test_paths_that_are_not_absolute_are_found(case: str) -> None:
    reader, found = READERS[case]
    plan = make(load({"reader": reader, "writer": {"name": "fs", "options": {"filebase": "/out/"}}}))
    assert relative_paths(plan) == found
