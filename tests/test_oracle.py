"""Every recorded case of the old system: the same files with the same records, or a row in docs/differences.md."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.cli.main import main

from helpers import plain, visible

HERE = Path(__file__).parent
CASES = sorted(path.name for path in (HERE / "oracle/cases").iterdir())
DIFFERENCES = HERE.parent / "docs/differences.md"


def listed() -> set[str]:
    """The cases that docs/differences.md says differ: names in the last column of its tables."""
    rows = [line for line in DIFFERENCES.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row.strip("| ").rpartition("|")[2])} & set(CASES)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {name: tmp_path / name for name in ("in", "out", "cwd")}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, folders: dict[str, Path], monkeypatch: Any, capfdbinary: Any) -> None:
    case = HERE / "oracle/cases" / name
    about = json.loads((case / "case.json").read_text(encoding="utf-8"))
    config = prepare(case, folders)
    monkeypatch.chdir(folders["cwd"])
    status = main(["run", str(config)])
    printed, complained = capfdbinary.readouterr()
    assert b"Traceback" not in complained
    found = list(differences(case, about, status, printed, folders))
    if name in listed():
        assert found, f"{name} is listed in docs/differences.md, but does not differ"
    else:
        assert found == [], complained.decode()


def prepare(case: Path, folders: dict[str, Path]) -> Path:
    if (case / "input").exists():
        shutil.copytree(case / "input", folders["in"])
    for folder in folders.values():
        folder.mkdir(exist_ok=True)

    def fill(data: bytes) -> bytes:
        for key, name in (("INPUT", "in"), ("OUTPUT", "out")):
            data = data.replace(b"{{%s}}" % key.encode(), str(folders[name]).encode())
        return data

    for path in folders["in"].rglob("*"):
        if path.is_file() and path.suffix not in (".gz", ".bz2"):
            path.write_bytes(fill(path.read_bytes()))
    source = next(case.glob("config.*"))
    config = folders["cwd"].parent / source.name
    config.write_bytes(fill(source.read_bytes()))
    return config


def differences(case: Path, about: dict, status: int, printed: bytes, folders: dict[str, Path]) -> Iterator[str]:
    if about["outcome"] == "configuration_error":
        if status != 2:
            yield f"exit status {status}; the old system refused the config"
        return
    if about["outcome"] == "exception":
        if status not in (0, 1, 2):
            yield f"exit status {status}"
        return
    if status != 0:
        yield f"exit status {status}; the old system delivered"
        return
    if about.get("python2_specific"):
        yield from names_only(case, about, folders)
        return
    if about["compare"] == "stdout":
        yield from compare("json-lines", (case / "expected/stdout.txt").read_bytes(), printed)
    yield from compare_files(case, about, folders)


def recorded_files(case: Path) -> list[dict]:
    return json.loads((case / "expected/files.json").read_text(encoding="utf-8"))


def names_only(case: Path, about: dict, folders: dict[str, Path]) -> Iterator[str]:
    if len(recorded_files(case)) != len(visible(folders["out"])):
        yield f"{sorted(visible(folders['out']))}"


def compare_files(case: Path, about: dict, folders: dict[str, Path]) -> Iterator[str]:
    for root in ("out", "cwd"):
        left = visible(folders[root])
        pairs = []
        for entry in [entry for entry in recorded_files(case) if entry["root"] == root]:
            matching = [name for name in left if re.fullmatch(pattern(entry["name"]), name)]
            if len(matching) > 1:
                want = (case / "expected" / entry["content"]).read_bytes()
                matching = [name for name in matching if not list(compare("json-lines", want, plain(left[name])))]
            if not matching:
                yield f"no file {entry['name']} in {sorted(left)}"
                return
            pairs.append((entry, left.pop(matching[0])))
        if left and about["compare"] != "properties":
            yield f"unexpected files {sorted(left)}"
        for entry, path in pairs:
            if about["compare"] == "properties":
                wanted = about["properties"].get("records_per_file", entry.get("records"))
                got = plain(path).count(b"\n")
                if got != wanted:
                    yield f"{path.name}: {got} records, recorded {wanted}"
            elif path.name == "md5checksum.md5":
                if len(plain(path).splitlines()) != len((case / "expected" / entry["content"]).read_bytes().splitlines()):
                    yield "another number of checksums"
            elif entry["content"] is not None:
                want = (case / "expected" / entry["content"]).read_bytes()
                yield from (f"{path.name}: {text}" for text in compare(about["compare"], want, plain(path)))


def pattern(recorded: str) -> str:
    def stand_in(found: re.Match[str]) -> str:
        kind = found[1]
        if kind.startswith("NOW:"):
            return datetime.now().strftime(kind[4:])
        return "[0-9a-f-]{36}" if kind == "UUID" else "[^/]+"

    parts = re.split(r"(\{\{[^}]*\}\})", recorded)
    return "".join(re.sub(r"\{\{(.*)\}\}", stand_in, part) if n % 2 else re.escape(part) for n, part in enumerate(parts))


def compare(mode: str, want: bytes, got: bytes) -> Iterator[str]:
    if mode == "xml":
        if tree(want) != tree(got):
            yield "another XML tree"
    elif mode in ("json-lines", "json-array") and not want.startswith(b'"'):
        if values(want) != values(got):
            yield f"other records: {got[:200]!r} recorded {want[:200]!r}"
    elif mode in ("bytes", "json-lines") and rows(want) != rows(got):
        yield f"other rows: {got[:200]!r} recorded {want[:200]!r}"


def values(data: bytes) -> list[Any]:
    """JSON values one after the other, or of one array; a key that occurs twice is no matter, key order neither."""
    text, found, at = data.decode("utf-8").strip(), [], 0
    while at < len(text):
        value, at = json.JSONDecoder().raw_decode(text, at)
        found.append(value)
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def rows(data: bytes) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(data.decode("utf-8"), newline="")) if row]


def tree(data: bytes) -> Any:
    def shape(node: ElementTree.Element) -> Any:
        text = (node.text or "").strip()
        text = text.lower() if text in ("True", "False") else text
        return node.tag, text, sorted(node.attrib.items()), sorted(map(repr, map(shape, node)))

    root = ElementTree.fromstring(data)
    return root.tag, [shape(child) for child in root]


def test_every_difference_names_cases_that_exist():
    text = DIFFERENCES.read_text(encoding="utf-8")
    assert listed() and all(f"`{name}`" in text for name in listed())
