"""Exports that read only what is new, killed wherever it may be: nothing is lost, nothing is there twice."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from suite import Server

from exporters_beam.config.spec import load
from exporters_beam.reporting.chain import manifests
from exporters_beam.runners.chain_states import plans_of, verified
from exporters_beam.runners.chains import folder_of

from helpers import jsonl, plain

CALLS = ("fsync", "rename", "replace", "open", "os.open", "remove", "makedirs", "listdir")


@pytest.fixture(scope="module")
def server():
    found = Server()
    yield found
    found.close()


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
    after = rng.choice(["keep", "delete", {"archive": f"{folder}/done"}])
    asked, expected, met = config(folder, after), dict[str, list[int]](), 0
    for number in range(tries):
        for name in (f"{number}-{rng.randrange(9)}.jl" for _ in range(rng.randrange(3))):
            expected[name] = [number * 1000 + n for n in range(rng.randrange(1, 30))]
            (folder / "in" / f".{name}").write_bytes(jsonl([{"n": n} for n in expected[name]]))
            (folder / "in" / f".{name}").rename(folder / "in" / name)
        fault = {"call": rng.choice(CALLS), "nth": rng.randrange(1, 12), "how": "kill"}
        done = server.run({"config": asked, "small": True, "fault": fault})
        assert done.code in (0, -9, 137), done.err
        met += done.code != 0
    while True:
        done = server.run({"config": asked})
        assert done.code == 0, done.err
        if json.loads(done.out)["counts"]["read"] == 0:
            break
    _look(folder, asked, expected)
    return met


def _look(folder: Path, asked: dict[str, Any], expected: dict[str, list[int]]) -> None:
    (plan,) = plans_of(load(asked))
    assert verified(plan)[0] == []
    all_of_them = list(manifests(folder_of(plan), plan.chain))
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


def test_a_growing_folder_and_runs_that_are_killed(server, tmp_path):
    assert sum(killed_again_and_again(server, tmp_path / str(seed), seed, 4) for seed in (2, 5)) > 2


@pytest.mark.slow
def test_more_kills(server, tmp_path):
    assert sum(killed_again_and_again(server, tmp_path / str(seed), seed, 8) for seed in range(10, 14)) > 8


@pytest.mark.exhaustive
def test_a_hundred_kills(server, tmp_path):
    killed = seed = 0
    while killed < 100:
        killed += killed_again_and_again(server, tmp_path / str(seed), 100 + seed, 12)
        seed += 1
