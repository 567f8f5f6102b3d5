"""A bucket that grows, and runs from it to another one that are killed: every object once."""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from killed_chains import CALLS, a_hundred, delivered, killed, serving
from suite import Server

from exporters_beam.records import Warned

from helpers import jsonl
from places import Place

pytestmark = pytest.mark.servers


@pytest.fixture
def server():
    with serving() as found:
        yield found


def killed_again_and_again(server: Server, place: Place, folder: Path, seed: int, tries: int) -> int:
    """Objects come, runs are killed at a random call, also when they are about to ask the server for something."""
    rng = random.Random(seed)
    start, storage = f"{seed}/", place.storage()
    asked: dict[str, Any] = {
        "reader": place.source(f"{start}in/"),
        "new_only": True,
        "after": rng.choice(["keep", "delete", {"archive": f"{start}done"}]),
        "staging": f"{folder}/out",
        "writer": place.writer(f"{start}out/n-{{batch:06d}}-", items_per_buffer_write=7),
    }
    expected: dict[str, list[int]] = {}

    def grow(number: int) -> None:
        for name in (f"{number}-{rng.randrange(9)}.jl" for _ in range(rng.randrange(1, 3))):
            expected[name] = [number * 1000 + n for n in range(rng.randrange(1, 30))]
            place.put(f"{start}in/{name}", jsonl([{"n": n} for n in expected[name]]))

    met = killed(server, asked, rng, tries, (*CALLS, "request", "request", "request"), grow, small=True)
    all_of_them = delivered(server, asked, storage)
    found = [each.name for each in storage.names(f"{start}out/") if not isinstance(each, Warned)]
    known = [storage.name(file["name"]) for manifest in all_of_them for file in manifest["files"]]
    assert sorted(known) == sorted(name for name in found if "/n-" in name), "objects outside a manifest"
    read: list[str] = []
    for manifest in all_of_them:
        names = [unit["name"].rpartition("/")[2] for unit in manifest["units"]]
        lines = (
            line for file in manifest["files"] for line in gzip.decompress(place.get(storage.name(file["name"]))).splitlines()
        )
        assert [json.loads(line)["n"] for line in lines] == [n for name in names for n in expected[name]]
        read += names
    assert sorted(read) == sorted(expected)
    return met


def test_a_growing_bucket_and_runs_that_are_killed(server: Server, s3: Place, tmp_path):
    assert killed_again_and_again(server, s3, tmp_path, 3, 6) > 2


@pytest.mark.exhaustive
def test_a_hundred_kills_with_a_growing_bucket(server: Server, s3: Place, tmp_path):
    a_hundred(lambda seed: killed_again_and_again(server, s3, tmp_path / str(seed), 100 + seed, 12))
