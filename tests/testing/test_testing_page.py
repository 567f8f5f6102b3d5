"""docs/testing.md: its configs are tested, its commands print what it says, and its table has every key."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from exporters_beam.cli.main import main
from exporters_beam.components.options import options_of
from exporters_beam.config.cases import CaseOptions

PAGE = (Path(__file__).parents[2] / "docs/testing.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in re.findall(r"^```yaml (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_commands_print_what_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(r"^```console\n\$ exporters-beam (.*?)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 3
    for command, printed in found:
        assert main(shlex.split(command)) == ("FAILED" in printed)
        assert capsys.readouterr().out == printed
    was = PAGE.partition("```yaml stock.yaml\n")[2].partition("```")[0]
    assert (folder / "stock.yaml").read_text() == was.replace("value: 5}  # two", "value: 6}  # two")


def test_the_python_of_the_page_holds(folder: Path) -> None:
    exec(PAGE.partition("```python\n")[2].partition("```")[0], {})


def test_the_table_has_every_key() -> None:
    keys = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(keys) == sorted(option.name for option in options_of(CaseOptions))
