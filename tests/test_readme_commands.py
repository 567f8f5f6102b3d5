"""The two commands of the README are the ones that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def commands() -> list[str]:
    """The first line of every bash block of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [block.splitlines()[0] for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def test_ci_installs_exports_and_tests_as_the_readme_says() -> None:
    install, test = commands()[:2]
    assert ".venv/bin/exporters-beam run templates/" in install
    assert test == ".venv/bin/python -m pytest -q"
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert install in run
    assert run[-1] == test, "the last line that is printed is the summary of the everyday tests"


def test_the_config_that_the_readme_runs_is_there() -> None:
    for path in re.findall(r"exporters-beam run (\S+)", commands()[0]):
        assert (ROOT / path).is_file()
