"""The example of docs/migrating.md is what `exporters-beam migrate` makes, and both deliver the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from exporters_beam.cli.main import main

from helpers import plain, visible

PAGE = (Path(__file__).parents[2] / "docs/migrating.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_the_example(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.json").write_text(block("json old.json"), encoding="utf-8")
    assert main(["migrate", "old.json", "-o", "new.yaml"]) == 0
    assert Path("new.yaml").read_text(encoding="utf-8") == block("yaml new.yaml")
    assert "filter_before.options.dialect: it means something else in Python 3" in capsys.readouterr().err
    Path("in").mkdir()
    rows = [{"sku": f"k{n}", "stock": n, "price": 2.5} for n in range(9)]
    Path("in/a.jl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    delivered = []
    for config in ("old.json", "new.yaml"):
        assert main(["run", config]) == 0
        delivered.append({name: plain(path) for name, path in visible(Path("out")).items()})
    assert delivered[0] == delivered[1]
    assert [*delivered[0].values()] == [b'"sku","total"\n"k6",15.0\n"k7",17.5\n']
