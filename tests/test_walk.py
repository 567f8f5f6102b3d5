"""The walk in docs/architecture.md: its export is run, and what it names is called."""

from __future__ import annotations

import gzip
import json
import pkgutil
import re
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from exporters_beam.cli.main import main

from helpers import delivered

PAGE = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
WALK = PAGE.partition("## One record, from file to file")[2].partition("## Every module")[0]
NAMED = re.findall(r"`((?:[a-z_]+\.)+[A-Za-z_.]+)`", WALK.partition("```yaml")[2].partition("```")[2])


def code_of(name: str) -> set[CodeType]:
    """What is run of a function; of a class any of its methods."""
    found: Any = pkgutil.resolve_name(f"exporters_beam.{name}")
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, type):
        return {method.__code__ for kind in found.__mro__ for method in vars(kind).values() if hasattr(method, "__code__")}
    return {found.__code__}


def test_what_the_walk_names_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("export.yaml").write_text(WALK.partition("```yaml")[2].partition("```")[0])
    records = [{"id": n, "town": ("Oslo", "Rome")[n % 2], "price": n} for n in range(10)]
    with gzip.open("input.jl.gz", "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        assert main(["run", "export.yaml", "--workers=1"]) == 0
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    assert delivered(tmp_path / "out") == {"Oslo/part-0000.jl.gz": [{"town": "Oslo", "price": n} for n in (4, 6, 8)]}
    assert len(NAMED) > 35
    assert [name for name in NAMED if not code_of(name) & called] == []
    assert [name for name in NAMED if NAMED.count(name) > 1] == [], "each is named once"
