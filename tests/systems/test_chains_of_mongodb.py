"""Batches of a collection that is written to: every document once."""

from __future__ import annotations

import json
import random
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from chains import batches

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.records import Unit
from exporters_beam.runners.chain_states import plans_of
from exporters_beam.runners.chains import opened
from exporters_beam.systems.mongodb_reader import MongodbReader

from mongodb_server import Mongo

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from suite import Server

bson = pytest.importorskip("bson", reason='pymongo is not here; get it with: pip install "exporters-beam[mongodb]"')

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def config(mongodb: Mongo, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "reader": mongodb.reader("events", **more.pop("reader", {})),
        "new_only": True,
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/n-{{batch:03d}}-"}},
        **more,
    }


def insert(mongodb: Mongo, *numbers: int, **fields: Any) -> None:
    mongodb.fill([{"n": n, "at": NOON + timedelta(seconds=n % 60), **fields} for n in numbers], "events")


@pytest.mark.servers
def test_each_batch_begins_behind_the_last_document_that_was_read(mongodb, tmp_path):
    made = config(mongodb, tmp_path, reader={"range_size": 3})
    mongodb.there.create_collection("events")
    assert exporters_beam.run(made).note == "there is nothing new"
    insert(mongodb, *range(1, 11))
    assert exporters_beam.run(made).written == 10
    assert exporters_beam.run(made).note.startswith("there is nothing new since batch 1")
    insert(mongodb, 20)
    assert exporters_beam.run(made).written == 1
    insert(mongodb, *range(30, 300, 7))
    mongodb.there["events"].delete_many({"n": {"$lt": 30}})
    exporters_beam.run(made)
    assert batches(made) == [list(range(1, 11)), [20], list(range(30, 300, 7))]


@pytest.mark.servers
def test_documents_by_time_and_id(mongodb, tmp_path):
    """Of documents with the same time, and of changed ones, none is missed."""
    made = config(mongodb, tmp_path, reader={"key": ["at", "_id"], "range_size": 2})
    mongodb.there["events"].create_index([("at", 1), ("_id", 1)])
    insert(mongodb, 3, 63, 123, 1)
    exporters_beam.run(made)
    insert(mongodb, 183, 5, 65)
    mongodb.there["events"].update_one({"n": 1}, {"$set": {"at": NOON + timedelta(seconds=4)}})
    exporters_beam.run(made)
    assert batches(made) == [[1, 3, 63, 123], [183, 1, 5, 65]]
    with pytest.raises(SourceError, match=r"key: what was read is known by at, _id; put that back, or begin anew"):
        exporters_beam.run(config(mongodb, tmp_path))
    assert exporters_beam.run({**made, "reader": mongodb.reader("events", key="at")}).note, "it is the same key"


@pytest.mark.servers
def test_a_path_may_be_the_key_also_without_batches(mongodb, tmp_path, export):
    mongodb.fill([{"n": n, "meta": {"at": NOON + timedelta(seconds=n // 3)}} for n in range(20)], "events")
    options = {"key": "meta.at", "range_size": 4, "projection": {"_id": 0}}
    report = export(mongodb.reader("events", **options))
    assert report.written == 20
    assert "no index of events begins with meta.at" in report.warnings[0]
    made = config(mongodb, tmp_path, reader=options)
    exporters_beam.run(made)
    assert batches(made) == [list(range(20))]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("documents", "reader", "expected"),
    [
        (
            [{"at": NOON}, {}],
            {"key": "at"},
            r"the document of events with the _id \w+ has no value in at, so nobody knows whether",
        ),
        ([{"at": NOON}, {"at": None}], {"key": "at"}, r"has no value in at, so nobody knows whether it is new"),
        ([{"at": NOON}, {"at": True}], {"key": "at"}, r"has a value of the type bool in at, so nobody knows"),
        (
            [{"at": NOON}, {"at": "2026"}],
            {"key": "at"},
            r"the values of at are of several types, which have no common order \(string, date, the last one in the document "
            r"of events with the _id \w+\); leave all but one out by `filter`, as {at: {\$type: string}}",
        ),
        ([{"at": NOON}, {"at": [NOON]}], {"key": "at"}, r"has a list in at, which has no place in an order"),
        ([{"at": NOON}, {"at": []}], {"key": "at"}, r"has a list in at, which has no place in an order"),
        ([{"at": NOON}, {"_id": 5, "at": NOON}], {"key": "at"}, r"the values of _id are of several types"),
        ([{"_id": "a"}], {}, r"every _id of events is of the type string, and nobody knows whether new ones are behind"),
        (
            [{"_id": 1}, {"_id": "a"}],
            {},
            r"the values of _id are of several types, which have no common order \(number, string",
        ),
        ([{"_id": None}, {}], {}, r"the document of events with the _id None has no value in _id, so nobody knows"),
    ],
)
def test_keys_that_would_lose_documents_are_refused(mongodb, tmp_path, documents, reader, expected):
    """Servers compare values only with those of their own type, and would pass over the others in silence."""
    mongodb.fill(documents, "events")
    with pytest.raises(SourceError, match=expected):
        exporters_beam.run(config(mongodb, tmp_path, reader=reader))


def test_what_a_pipeline_gives_is_refused(tmp_path):
    options = {"url": "mongodb://localhost/shop", "collection": "events", "pipeline": [{"$match": {}}]}
    writer = {"name": "fs", "options": {"filebase": f"{tmp_path}/n-{{batch}}-"}}
    made = load({"reader": {"name": "mongodb", "options": options}, "new_only": True, "writer": writer})
    with pytest.raises(ConfigError, match="mongodb cannot tell what is new: what a pipeline gives has no order that stays"):
        plans_of(made)


@pytest.mark.servers
def test_a_value_of_another_type_that_comes_later_is_refused_until_it_is_left_out(mongodb, tmp_path):
    made = config(mongodb, tmp_path, reader={"key": "at"})
    insert(mongodb, 1, 2)
    exporters_beam.run(made)
    mongodb.fill([{"n": 3, "at": 5}], "events")
    insert(mongodb, 4)
    with pytest.raises(SourceError, match="the values of at are of several types"):
        exporters_beam.run(made)
    filtered = config(mongodb, tmp_path, reader={"key": "at", "filter": {"at": {"$type": "date"}}})
    exporters_beam.run(filtered)
    assert batches(filtered) == [[1, 2], [4]]
    mongodb.there["events"].delete_many({"at": {"$type": "date"}})
    with pytest.raises(SourceError, match="what was read is known by at of the type date, and now it is of the type number"):
        exporters_beam.run(made)


@pytest.mark.servers
def test_texts_are_taken_where_the_key_says_that_they_grow(mongodb, tmp_path):
    made = config(mongodb, tmp_path, reader={"key": "_id", "range_size": 2})
    mongodb.fill([{"_id": f"{n:04}", "n": n} for n in range(5)], "events")
    exporters_beam.run(made)
    mongodb.fill([{"_id": f"{n:04}", "n": n} for n in range(5, 7)], "events")
    exporters_beam.run(made)
    assert batches(made) == [[0, 1, 2, 3, 4], [5, 6]]
    with pytest.raises(SourceError, match="_id is of the type string, which does not tell how old a document is; leave out"):
        exporters_beam.run({**made, "new_only": {"settled": "1m"}})


@pytest.mark.servers
@pytest.mark.parametrize("key", [None, "at"])
def test_the_youngest_documents_are_left_to_the_next_batch(mongodb, tmp_path, caplog, key):
    """Clients make _ids and times by their own clocks, so that some come later with an earlier one."""
    made = config(mongodb, tmp_path, reader={"key": key} if key else {}, new_only={"settled": "1h"})
    old = datetime.now(timezone.utc) - timedelta(hours=2)
    mongodb.fill([{"n": 1, "_id": bson.ObjectId.from_datetime(old), "at": old}], "events")
    mongodb.fill([{"n": 2, "at": datetime.now(timezone.utc)}], "events")
    assert exporters_beam.run(made).written == 1
    assert exporters_beam.run(made).note
    assert "settled" not in caplog.text
    assert exporters_beam.run({**made, "new_only": True}).written == 1
    assert f"one with a smaller {key or '_id'} that is stored later would never be read" in caplog.text


@pytest.mark.servers
def test_times_to_come_do_not_hide_what_comes_before_them(mongodb, tmp_path, caplog):
    made = config(mongodb, tmp_path, reader={"key": "at"})
    insert(mongodb, 1)
    mongodb.fill([{"n": 2, "at": datetime(2999, 1, 1)}], "events")
    exporters_beam.run(made)
    insert(mongodb, 3)
    exporters_beam.run(made)
    assert batches(made) == [[1], [3]]
    assert "has a time in at that is to come; it is read when that has passed" in caplog.text


@pytest.mark.servers
def test_a_batch_reads_what_was_written_down(mongodb, tmp_path):
    """What comes between the intent and the reading is left to the next batch."""
    made = config(mongodb, tmp_path, reader={"range_size": 4})
    insert(mongodb, *range(10))
    with opened(load(made)) as chain:
        assert chain.begin(full=False)
    insert(mongodb, 10, 11)
    exporters_beam.run(made)
    exporters_beam.run(made)
    assert batches(made) == [list(range(10)), [10, 11]]


@pytest.mark.servers
def test_a_server_that_is_killed_while_it_is_read_by_another_key(mongodb):
    """It goes on behind the last document that came, in the midst of those with one time."""
    mongodb.fill([{"n": n, "at": NOON + timedelta(seconds=n // 200), "filler": "x" * 500} for n in range(600)], "events")
    reader = MongodbReader(**mongodb.options("events", key="at", batch_size=50))
    unit = next(each for each in reader.units() if isinstance(each, Unit))
    found: list[int] = []
    for _, records in reader.read(unit, 0):
        if not found:
            mongodb.server.restart()
        found += [record["n"] for record in records]
    assert found == list(range(600))


def test_a_gap_and_an_overlap_are_told():
    border = [bson.encode({"_id": n}) for n in range(5)]
    from exporters_beam.systems.mongodb_pieces import Piece

    def unit(above: int | None, upto: int) -> Unit:
        return Unit(0, "events", -1, Piece("number", None if above is None else border[above], (border[upto],)).text())

    reader = MongodbReader(url="mongodb://localhost/shop", collection="events")
    assert list(reader.gap([unit(None, 1)], [unit(1, 3)])) == []
    for above in (0, 2, None):
        (text,) = reader.gap([unit(None, 1)], [unit(above, 3)])
        assert text == "events: its documents do not begin behind 1, where the documents before end"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": []}, "key: name one field, behind which there may be _id"),
        ({"key": ["a", "b"]}, "key: name one field, behind which there may be _id"),
        ({"key": ["_id", "_id"]}, "key: name one field, behind which there may be _id"),
        ({"key": "at", "pipeline": [{"$match": {}}]}, "key: what a pipeline gives is read in one range"),
        ({"key": "at", "projection": {"n": 1}}, "projection: documents are read by at, so it has to be among the fields"),
        ({"key": "meta.at", "projection": {"meta": 0}}, "projection: documents are read by meta.at"),
    ],
)
def test_wrong_keys_are_refused(options, says):
    with pytest.raises(ConfigError, match=f"^{says}"):
        MongodbReader(url="mongodb://localhost/shop", collection="products", **options)


def killed_again_and_again(mongodb: Mongo, server: Server, folder: Path, seed: int, tries: int) -> int:
    """A writer goes on all the time; runs are killed at a random call. Gives how many were."""
    rng = random.Random(seed)
    stop, last = threading.Event(), [0]
    made = config(mongodb, folder, reader={"range_size": 40})

    def write() -> None:
        while not stop.is_set():
            insert(mongodb, *range(last[0] + 1, last[0] + 6))
            last[0] += 5
            stop.wait(0.2)

    writing = threading.Thread(target=write)
    writing.start()
    met = 0
    for _ in range(tries):
        call = rng.choice(["fsync", "rename", "replace", "open", "os.open", "remove", "makedirs"])
        done = server.run({"config": made, "fault": {"call": call, "nth": rng.randrange(1, 12), "how": "kill"}})
        met += done.code != 0
    stop.set()
    writing.join()
    while True:
        done = server.run({"config": made})
        assert done.code == 0, done.err
        if json.loads(done.out)["counts"]["read"] == 0:
            break
    assert [n for each in batches(made) for n in each] == list(range(1, last[0] + 1))
    return met


@pytest.mark.servers
@pytest.mark.parametrize("tries", [6, pytest.param(100, marks=pytest.mark.exhaustive)])
def test_runs_that_are_killed_with_a_live_writer(mongodb, tmp_path, tries):
    server = Server()
    try:
        insert(mongodb, 0)
        mongodb.there["events"].delete_many({})
        assert killed_again_and_again(mongodb, server, tmp_path, 3, tries) > 1
    finally:
        server.close()
