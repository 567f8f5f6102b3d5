"""Exports that read only what is new, killed wherever it may be: nothing is lost, nothing is there twice."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from killed_chains import CALLS, a_hundred, delivered, killed, serving
from suite import Server

from helpers import jsonl, plain


@pytest.fixture(scope="module")
def server():
    with serving() as found:
        yield found


def config(folder: Path, after: object) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": f"{folder}/in"}}},
        "new_only": True,
        "after": after,
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/n-{{batch:06d}}-", "items_per_buffer_write": 7}},
    }


def killed_again_and_again(server: Server, folder: Path, seed: int, tries: int) -> int:
    """Files come, runs are killed at a random call; at the end one run after the other until nothing is new. Gives how many
    were killed."""
    rng = random.Random(seed)
    (folder / "in").mkdir(parents=True)
    asked = config(folder, rng.choice(["keep", "delete", {"archive": f"{folder}/done"}]))
    expected: dict[str, list[int]] = {}

    def grow(number: int) -> None:
        for name in (f"{number}-{rng.randrange(9)}.jl" for _ in range(rng.randrange(3))):
            expected[name] = [number * 1000 + n for n in range(rng.randrange(1, 30))]
            (folder / "in" / f".{name}").write_bytes(jsonl([{"n": n} for n in expected[name]]))
            (folder / "in" / f".{name}").rename(folder / "in" / name)

    met = killed(server, asked, rng, tries, (*CALLS, "listdir"), grow, small=True)
    all_of_them = delivered(server, asked)
    known = {file["name"] for manifest in all_of_them for file in manifest["files"]}
    there = {str(path) for path in (folder / "out").glob("n-*")}
    assert known == there, "files outside a manifest, or manifests without files"
    read: list[str] = []
    for manifest in all_of_them:
        names = [Path(unit["name"]).name for unit in manifest["units"]]
        found = [json.loads(line)["n"] for file in manifest["files"] for line in plain(Path(file["name"])).splitlines()]
        assert found == [n for name in names for n in expected[name]], f"batch {manifest['chain']['batch']}"
        read += names
    assert sorted(read) == sorted(expected)
    return met


def test_a_growing_folder_and_runs_that_are_killed(server, tmp_path):
    assert sum(killed_again_and_again(server, tmp_path / str(seed), seed, 4) for seed in (2, 5)) > 2


@pytest.mark.slow
def test_more_kills(server, tmp_path):
    assert sum(killed_again_and_again(server, tmp_path / str(seed), seed, 8) for seed in range(10, 14)) > 8


@pytest.mark.exhaustive
def test_a_hundred_kills(server, tmp_path):
    a_hundred(lambda seed: killed_again_and_again(server, tmp_path / str(seed), 100 + seed, 12))
