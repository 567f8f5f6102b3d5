"""Draws the house from the code's own imports: the picture and the table of docs/architecture.md.

python tests/architecture.py            # print both
python tests/architecture.py --write    # put them into the page
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"


def modules() -> dict[str, Path]:
    """Every module of the package by its name below exporters_beam; __init__ is the package itself."""
    found = {}
    for path in sorted((ROOT / "exporters_beam").rglob("*.py")):
        if (ROOT / "exporters_beam" / "transforms") in path.parents:
            continue  # the link to the folder that follows
        name = ".".join(path.relative_to(ROOT / "exporters_beam").with_suffix("").parts)
        found["__init__" if name == "__init__" else name.removesuffix(".__init__")] = path
    for path in sorted((ROOT / "transforms").rglob("*.py")):
        found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """The full names of what is imported anywhere below `node`, also inside functions."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom):
            assert inner.level == 0, "relative imports hide where something comes from"
            yield from (f"{inner.module}.{alias.name}" for alias in inner.names)


def ours(name: str) -> set[str]:
    """The modules of this package that a module imports."""
    found = set()
    for full in imported(tree(name)):
        if full.partition(".")[0] != "exporters_beam" or full == "exporters_beam.__version__":
            continue
        below = full.partition(".")[2]
        while below and below not in MODULES:  # a name in a module, not a module
            below = below.rpartition(".")[0]
        found.add(below or "__init__")
    return found


def room(name: str) -> str:
    """The folder of a module; what stands beside the folders is a room of its own."""
    return name.partition(".")[0]


def arrows() -> list[tuple[str, str]]:
    """Which room imports which, once each."""
    found = {(room(name), room(other)) for name in MODULES for other in ours(name)}
    return sorted((above, below) for above, below in found if above != below)


FOLDERS = sorted({room(name) for name in MODULES if "." in name})


def picture() -> str:
    """The folders and what they import, as Mermaid. What follows from other arrows is left out; so are single modules."""
    drawn = [(above, below) for above, below in arrows() if above in FOLDERS and below in FOLDERS]
    below_of = {name: {below for above, below in drawn if above == name} for name in FOLDERS}

    def reached(name: str) -> set[str]:
        return below_of[name].union(*(reached(other) for other in below_of[name]))

    shown = [(a, b) for a, b in drawn if not any(b in reached(other) for other in below_of[a] if other != b)]
    return "\n".join(["```mermaid", "flowchart TD", *(f"    {above} --> {below}" for above, below in shown), "```"])


def first_sentence(name: str) -> str:
    text = " ".join((ast.get_docstring(tree(name)) or "").split())
    return re.split(r"(?<=[.?])\s", text.replace("|", "\\|"), maxsplit=1)[0]


def table() -> str:
    """Every module with the first sentence of its docstring, by folder."""
    rows = ["| module | what it is for |", "| --- | --- |"]
    for folder in sorted({room(name) for name in MODULES}, key=lambda name: (name not in FOLDERS, name)):
        for name in sorted(each for each in MODULES if room(each) == folder):
            shown = f"**{name}/**" if name in FOLDERS else f"`{name}`"
            rows.append(f"| {shown} | {first_sentence(name)} |")
    return "\n".join(rows)


PARTS = {"picture": picture, "table": table}


def drawn(page: str) -> str:
    """The page with what stands between its marks drawn anew."""
    for name, part in PARTS.items():
        begin, end = f"<!-- {name}: python tests/architecture.py --write -->\n", f"\n<!-- {name} ends -->"
        before, _, rest = page.partition(begin)
        page = before + begin + part() + end + rest.partition(end)[2]
    return page


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(part() for part in PARTS.values()))
