"""Batches of a table that is written to: every row once."""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import SourceError
from exporters_beam.reporting.chain import manifests
from exporters_beam.runners.chain_states import plans_of, verified
from exporters_beam.runners.chains import folder_of

from databases import Database
from helpers import plain

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from killed_chains import a_hundred, delivered, killed, serving
from suite import Server

pytest.importorskip("sqlalchemy")


def config(database: Database, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "reader": database.reader(**{"table": "events", **more.pop("reader", {})}),
        "new_only": True,
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/n-{{batch:03d}}-"}},
        **more,
    }


def batches(made: dict[str, Any]) -> list[list[Any]]:
    (plan,) = plans_of(load(made))
    assert verified(plan)[0] == []
    return [
        [json.loads(line)["id"] for file in manifest["files"] for line in plain(Path(file["name"])).splitlines()]
        for manifest in manifests(folder_of(plan), plan.chain)
    ]


def insert(database: Database, *ids: int) -> None:
    database.run("INSERT INTO events VALUES " + ", ".join(f"({each}, '2026-01-01 00:00:{each % 60:02d}')" for each in ids))


def make(database: Database) -> None:
    number = "INTEGER" if database.kind == "sqlite" else "BIGINT"
    database.run("DROP TABLE IF EXISTS events", f"CREATE TABLE events (id {number} PRIMARY KEY, at TIMESTAMP NULL)")


@pytest.fixture
def server():
    with serving() as found:
        yield found


@pytest.fixture
def events(database: Database) -> Database:
    make(database)
    return database


def test_each_batch_begins_behind_the_last_row_that_was_read(events, tmp_path):
    made = config(events, tmp_path, reader={"range_rows": 3})
    assert exporters_beam.run(made).note == "there is nothing new"
    insert(events, *range(1, 11))
    assert exporters_beam.run(made).written == 10
    assert exporters_beam.run(made).note.startswith("there is nothing new since batch 1")
    insert(events, 20)
    assert exporters_beam.run(made).written == 1
    insert(events, *range(30, 300, 7))
    exporters_beam.run(made)
    assert batches(made) == [list(range(1, 11)), [20], list(range(30, 300, 7))]


def test_rows_of_several_columns_by_time_and_number(events, tmp_path):
    made = config(events, tmp_path, reader={"key": ["at", "id"], "range_rows": 4})
    insert(events, 61, 1, 2, 3)
    exporters_beam.run(made)
    insert(events, 63, 123, 5, 4)
    exporters_beam.run(made)
    assert batches(made) == [[1, 61, 2, 3], [63, 123, 4, 5]]
    with pytest.raises(SourceError, match=r"key: what was read is known by at, id; put that back"):
        exporters_beam.run(config(events, tmp_path))


def test_what_was_read_is_known_also_where_secrets_stand_in_the_config(events, tmp_path, monkeypatch):
    made = config(events, tmp_path, reader={"where": "id > ${secret:env:LEAST}"})
    monkeypatch.setenv("LEAST", "0")
    monkeypatch.setenv("PLACE", made["reader"]["options"]["url"])
    made["reader"]["options"]["url"] = "${secret:env:PLACE}"
    insert(events, 1, 2)
    assert exporters_beam.run(made).written == 2
    insert(events, 3)
    assert exporters_beam.run(made).written == 1
    assert exporters_beam.run(made).note


@pytest.mark.parametrize(
    ("reader", "expected"),
    [
        ({"key": "at"}, r"several rows may have the same at, some of which would be read and others never"),
        ({"key": []}, r"what is new is known by a key that grows, and there is none for events"),
        ({"key": ["at", "id"]}, r"there are rows without a value in at, id, of which nobody knows whether they are new"),
    ],
)
def test_keys_that_would_lose_rows_are_refused(events, tmp_path, reader, expected):
    events.run("INSERT INTO events VALUES (1, NULL)")
    with pytest.raises(SourceError, match=expected):
        exporters_beam.run(config(events, tmp_path, reader=reader))


def test_the_youngest_rows_are_left_to_the_next_batch(events, tmp_path):
    """Of transactions that are still open rows come later with an earlier time."""
    made = config(events, tmp_path, reader={"key": ["at", "id"]}, new_only={"settled": "1h"})
    now = "datetime('now')" if events.kind == "sqlite" else "now()"
    insert(events, 1, 2)
    events.run(f"INSERT INTO events VALUES (3, {now})")
    assert exporters_beam.run(made).written == 2
    assert exporters_beam.run(made).note
    assert exporters_beam.run({**made, "new_only": True}).written == 1


def killed_again_and_again(events: Database, server: Server, folder: Path, seed: int, tries: int) -> int:
    """A writer goes on all the time; runs are killed at a random call. Gives how many were."""
    rng = random.Random(seed)
    stop, last = threading.Event(), [0]
    made = config(events, folder, reader={"range_rows": 40})

    def write() -> None:
        while not stop.is_set():
            insert(events, *range(last[0] + 1, last[0] + 51))
            last[0] += 50
            stop.wait(0.05)

    writing = threading.Thread(target=write)
    writing.start()
    met = killed(server, made, rng, tries)
    stop.set()
    writing.join()
    delivered(server, made)
    assert [n for each in batches(made) for n in each] == list(range(1, last[0] + 1))
    return met


@pytest.mark.servers
@pytest.mark.exhaustive
def test_a_hundred_kills_with_a_live_writer(postgresql, server, tmp_path):
    def once(seed: int) -> int:
        make(postgresql)
        return killed_again_and_again(postgresql, server, tmp_path / str(seed), 100 + seed, 20)

    a_hundred(once)


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_runs_that_are_killed_with_a_live_writer(kind, server, request, tmp_path):
    database: Database = request.getfixturevalue(kind)
    make(database)
    assert killed_again_and_again(database, server, tmp_path, 3, 6) > 1
