"""The two commands of the README are the ones that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def commands() -> list[str]:
    """The first line of every bash block of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [block.splitlines()[0] for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def test_ci_runs_them_first_in_a_clone_and_an_environment_of_their_own() -> None:
    install, test = commands()[:2]
    assert ".venv/bin/exporters-beam run templates/" in install
    assert test == ".venv/bin/python -m pytest -q"
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    first = next(n for n, line in enumerate(run) if any(word in line for word in ("-m venv", "pip install", "apt-get")))
    assert run[first : first + 2] == [install, test], "nothing is installed before them"
    assert run[-1] == "ended", "the line of checks that ends last is printed last"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = [line.split() for line in run if line.startswith(("line ", "beside computing ", "beside servers "))]
    assert {words[-1] for words in lines} == {"runners", "rest", "servers"}
    for *_, target in lines:
        (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n?)+)", makefile, re.MULTILINE)
        assert "$(PYTEST) " in recipe.splitlines()[-1], "the last line that is printed is pytest's summary"


def test_the_config_that_the_readme_runs_is_there() -> None:
    for path in re.findall(r"exporters-beam run (\S+)", commands()[0]):
        assert (ROOT / path).is_file()
