"""What CONTRIBUTING.md says can be done, can be done as it says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml

import exporters_beam
from exporters_beam.components import registry

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_every_file_that_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:exporters_beam|transforms|tests|docs|\.ci)/[^`\s]*)`", PAGE))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_command_that_it_and_ci_name_is_a_target() -> None:
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    called = {*re.findall(r"make ([a-z]+)", PAGE), *(hook["entry"].split()[-1] for hook in hooks)}
    for line in re.findall(r"^(?:make -s|line \S+|beside \S+ gently each \S+) (.*)$", run, re.MULTILINE):
        called |= set(line.split())
    assert called <= TARGETS and {"check", "dataflow", "servers", "rest"} <= called


def test_ci_leaves_out_no_target() -> None:
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (everything,) = re.findall(r"^all: (.*)$", MAKEFILE, re.MULTILINE)
    for target in everything.split():
        assert target == "check" or re.search(rf"\b{target}\b", run), target


@pytest.mark.parametrize("module", re.findall(r"^\| `(exporters_beam[.\w]*)` \|", PAGE, re.MULTILINE))
def test_modules_for_packages_can_be_imported(module: str) -> None:
    found = importlib.import_module(module)
    (what,) = re.findall(rf"^\| `{re.escape(module)}` \| (.*) \|$", PAGE, re.MULTILINE)
    assert [name for name in re.findall(r"`(\w+)`", what) if not hasattr(found, name)] == []


def test_the_format_that_it_shows_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "pairs_of_contributing.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    records = [{"a": 1, "b": "x"}, {"a": 2}]
    (entry,) = re.findall(r"`Entry\((.*?)\)`", PAGE)
    shown = registry.Entry(*(part.strip().strip('"') for part in entry.split(",")))
    assert (shown.kind, shown.name) == ("formatter", "pairs")
    monkeypatch.chdir(tmp_path)
    report = exporters_beam.run({
        "reader": {"name": "memory", "options": {"records": records}},
        "formatter": {"name": f"pairs_of_contributing:{shown.target.partition(':')[2]}", "options": {"joined_by": ";"}},
        "writer": {"name": "fs", "options": {"filebase": "out/p-", "compression": "none"}},
    })  # fmt: skip
    assert Path(report.files[0]["name"]).read_bytes() == b"a=1;b=x\na=2\n"
