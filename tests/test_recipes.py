"""Every recipe of docs/recipes: its input makes its output, by its commands.

A block ```kind NAME``` is a file of that name, which is there before; one below `out/` is what is delivered. Tables are shown
as JSON lines. `encoding=cp1252` behind a name is the encoding of that file, and `||` stands behind a command that ends with
status 1; of archives with several files each is shown behind its name, and encrypted files as their recipient sees them.
Where a recipe names `customer.asc`, it is the public key of one.
"""

from __future__ import annotations

import functools
import json
import re
import shlex
import zipfile
from pathlib import Path

import pytest

from exporters_beam.cli.main import main

from helpers import plain, visible

FOLDER = Path(__file__).parents[1] / "docs" / "recipes"
RECIPES = sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")
BLOCKS = re.compile(r"^```(\w+)(?: (\S+))?(?: encoding=(\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown(path: Path) -> str:
    """What a delivered file holds, as a recipe shows it."""
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.ParquetFile(path).read().to_pylist()
        return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    if path.name == "manifest.json":  # What is another thing in each run is left out.
        return re.sub(r'"(export|time|checksum)": "[^"]+"', r'"\1": "…"', path.read_text(encoding="utf-8"))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [(name, archive.read(name).decode()) for name in archive.namelist()]
        return members[0][1] if len(members) == 1 else "".join(f"== {name}\n{text}" for name, text in members)
    if path.suffix == ".pgp":
        found = pytest.importorskip("pysequoia").decrypt(path.read_bytes(), customer().decryptor()).bytes
        decrypted = path.with_suffix("")
        decrypted.write_bytes(found)
        return shown(decrypted)
    return plain(path).decode()


@functools.lru_cache(maxsize=1)
def customer():
    """Who has sent us customer.asc."""
    return pytest.importorskip("pysequoia").Tsk.generate("Customer <customer@example.org>")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_what_it_shows(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HASH_KEY", "a key that nobody else has")
    expected: dict[str, str] = {}
    if "customer.asc" in (FOLDER / name).read_text(encoding="utf-8"):
        Path("customer.asc").write_text(str(customer().extract_certificate()))
    for kind, file, encoding, text in BLOCKS.findall((FOLDER / name).read_text(encoding="utf-8")):
        if file.startswith("out/"):
            expected[file] = text
        elif file:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(text, encoding=encoding or "utf-8")
        elif kind == "console":
            for command, lines in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE):
                words = shlex.split(command)
                status = 1 if words[-1] == "||" else 0
                assert main([word for word in words[1:] if word != "||"]) == status, command
                told = " ".join("\n".join(capsys.readouterr()).split())
                for line in lines.splitlines():
                    assert " ".join(line.split()) in told
    found = {
        re.sub("replay-[0-9a-f]+", "replay-*", f"out/{path}"): shown(where.resolve())
        for path, where in (visible(Path("out")).items() if Path("out").is_dir() else ())
    }
    assert found == expected


def test_the_page_of_recipes_names_each() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\(([\w-]+\.md)\)", page)) == RECIPES
