"""The writer `mongodb`: records as documents of a real server, each once, whatever breaks in between."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import date, datetime, timezone
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

import exporters_beam
from exporters_beam.components.options import build
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, DestinationError, ExportError, RecordError
from exporters_beam.systems.mongodb_values import document_of
from exporters_beam.systems.mongodb_writer import MongodbWriter

from helpers import jsonl
from mongodb_server import Mongo

bson = pytest.importorskip("bson", reason='pymongo is not here; get it with: pip install "exporters-beam[mongodb]"')

servers = pytest.mark.servers

NAMED = [{"sku": f"s{n:03}", "price": n + 0.5, "seller": {"town": "Århus", "shop": n % 5}} for n in range(35)]


@pytest.fixture(autouse=True)
def _books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def config(mongodb: Mongo, records: list[Any], tmp_path: Path, sections: Any = None, **options: Any) -> dict[str, Any]:
    (tmp_path / "in.jl").write_bytes(jsonl(records))
    return {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": mongodb.writer(**options),
        **(sections or {}),
    }


def without_id(documents: list[Any]) -> list[Any]:
    return [{name: value for name, value in each.items() if name != "_id"} for each in documents]


@servers
def test_documents_are_there_by_their_key_once(mongodb: Mongo, tmp_path: Path) -> None:
    told = config(mongodb, NAMED, tmp_path, items_per_buffer_write=10, key="sku")
    report = exporters_beam.run(told, workers=2)
    first = mongodb.documents()
    assert sorted(without_id(first), key=lambda each: each["sku"]) == NAMED
    (target,) = report.targets
    assert target["name"] == f"{mongodb.url}/{mongodb.database}/products"
    assert (target["batches"], target["records"]) == (4, 35)
    exporters_beam.run(told)
    assert mongodb.documents() == first, "the same documents, with the same ids"
    twice = [{"sku": "s001", "price": 1}, {"sku": "new", "price": 2}, {"sku": "s001", "price": 3}]
    exporters_beam.run(config(mongodb, twice, tmp_path, key="sku"))
    found = {each["sku"]: each for each in without_id(mongodb.documents())}
    assert (len(found), found["s001"], found["new"]) == (36, {"sku": "s001", "price": 3}, {"sku": "new", "price": 2})


@servers
def test_without_a_key_a_repetition_adds_nothing_and_can_be_counted(mongodb: Mongo, tmp_path: Path) -> None:
    told = config(mongodb, [{"a": 1}] * 30, tmp_path, items_per_buffer_write=10)
    for _ in range(2):
        report = exporters_beam.run(told)
        assert without_id(mongodb.documents()) == [{"a": 1}] * 30
    exporters_beam.run({**told, "writer": mongodb.writer(items_per_buffer_write=10, delivery_id="again")})
    assert len(mongodb.documents()) == 60
    writer = build(MongodbWriter, told["writer"]["options"], {})
    assert writer.count(report.targets[0]) == 30
    writer.close()


@servers
def test_a_key_of_several_fields_and_paths(mongodb: Mongo, tmp_path: Path) -> None:
    records = [{"n": 1, "at": {"shop": "a"}}, {"n": 1, "at": {"shop": "b"}}, {"n": 1, "at": {"shop": "a"}, "last": True}]
    exporters_beam.run(config(mongodb, records, tmp_path, key=["n", "at.shop"]))
    exporters_beam.run(config(mongodb, [{"n": 1, "at": {"shop": "b"}, "v": 2}], tmp_path, key=["n", "at.shop"]))
    found = sorted(without_id(mongodb.documents()), key=lambda each: each["at"]["shop"])
    assert found == [records[2], {"n": 1, "at": {"shop": "b"}, "v": 2}]


@servers
def test_refused_records_become_letters_that_can_be_sent_again(mongodb: Mongo, tmp_path: Path) -> None:
    mongodb.there.products.create_index([("place", 1)], unique=True)
    mongodb.there.products.create_index([("sku", 1)], unique=True)
    mongodb.fill([{"sku": "other", "place": 7}])
    records: list[Any] = [{"sku": f"s{n}", "place": n + 100} for n in range(12)]
    records[2]["place"] = 7
    del records[4]["sku"]
    records[6]["text"] = "x" * (17 << 20)
    records[8]["$bad"] = 1
    records[9]["sku"] = ["a", "b"]
    with pytest.raises(ExportError, match=r"in\.jl: record (3|5): writer: "):
        exporters_beam.run(config(mongodb, records, tmp_path, key="sku"))
    letters = tmp_path / "letters.jl"
    on_error = {"on_error": {"action": "dead_letter", "file": str(letters)}}
    told = config(mongodb, records, tmp_path, on_error, key="sku", items_per_buffer_write=5)
    for _ in range(2):
        report = exporters_beam.run(told)
        assert report.written == 7 == len(mongodb.documents()) - 1
    found = [json.loads(line) for line in letters.read_text().splitlines()]
    says = {letter["number"]: letter["message"] for letter in found}
    assert list(says) == [3, 5, 7, 9, 10]
    assert "E11000 duplicate key error" in says[3]
    assert says[5] == "it has no value for the key sku"
    assert says[7] == "the document has 17,825,831 bytes, and the server takes no more than 16,777,216"
    assert "$" in says[9]
    assert says[10] == "its key sku is a list, by which no document is found"
    found[0]["record"]["place"], found[1]["record"]["sku"], found[2]["record"]["text"] = 8, "s4", "short"
    letters.write_bytes(jsonl(found[:3]))
    assert exporters_beam.replay(told, [str(letters)]).written == 3
    assert len(mongodb.documents()) == 11


@servers
def test_a_collection_is_copied_with_its_types(mongodb: Mongo) -> None:
    documents = [
        {"_id": bson.ObjectId(), "at": datetime(2024, 2, 29, 12, tzinfo=timezone.utc), "raw": b"\0\xff", "n": [1, 2.5, None]},
        {"_id": "text", "stamp": bson.Timestamp(1, 2), "pattern": bson.Regex("^a", "i")},
        {"_id": 5, "other": bson.Binary(b"y", 5)},
        {"_id": {"day": datetime(2024, 1, 1, tzinfo=timezone.utc), "shop": "a"}, "sum": 7},
    ]
    mongodb.fill(documents)
    copy = {"reader": mongodb.reader(extended_json=True), "writer": mongodb.writer("copy", key="_id", extended_json=True)}
    for _ in range(2):
        assert exporters_beam.run(copy).written == 4
        assert mongodb.documents("copy") == mongodb.documents()
    mongodb.there.products.update_one({"_id": "text"}, {"$unset": {"stamp": "", "pattern": ""}})
    plain = {"reader": mongodb.reader(), "writer": mongodb.writer("plain", key="_id")}
    exporters_beam.run(plain)
    ids = [each["_id"] for each in mongodb.documents("plain")]
    assert (
        ids == [5, str(documents[0]["_id"]), "text", documents[3]["_id"]]
        and mongodb.documents("plain")[1]["at"] == documents[0]["at"]
    )


def test_values_that_json_does_not_know() -> None:
    values = {
        "price": Decimal("12.50"),
        "large": 10**25,
        "day": date(2024, 2, 29),
        "clock": clock(1, 2),
        "uid": UUID(int=7),
        "raw": memoryview(b"a"),
        "at": datetime(2024, 2, 29, 12, 0, 0, 5999),
    }
    assert bson.decode(document_of(values, False)) == {
        "price": bson.Decimal128("12.50"),
        "large": bson.Decimal128("10000000000000000000000000"),
        "day": datetime(2024, 2, 29),
        "clock": "01:02:00",
        "uid": bson.Binary(UUID(int=7).bytes, 4),
        "raw": b"a",
        "at": datetime(2024, 2, 29, 12, 0, 0, 5000),
    }


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"a": Decimal("1." + "1" * 40)}, "has more digits than the 34"),
        ({"a": 10**40 + 1}, "has more digits than the 34"),
        ({"a": "\ud83d"}, "surrogates not allowed"),
        ({"a": {1}}, "is of a type that MongoDB has not: set"),
        ({"a": {"b\0": 1}}, "must not contain the NULL byte"),
    ],
)
def test_what_no_document_can_hold(record: dict[str, Any], says: str) -> None:
    with pytest.raises(RecordError, match=says):
        document_of(record, False)
    with pytest.raises(RecordError, match="it has what is not Extended JSON"):
        document_of({"a": {"$oid": "x"}}, True)


@servers
@pytest.mark.parametrize(
    ("key", "kills"),
    [("n", 2), *(pytest.param(key, kills, marks=pytest.mark.exhaustive) for key, kills in ((None, 2), (None, 10), ("n", 10)))],
)
def test_killed_again_and_again_and_a_server_that_restarts(mongodb: Mongo, tmp_path: Path, key: str | None, kills: int) -> None:
    count = 150 * kills
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config(mongodb, [{"n": n, "text": "x" * 50} for n in range(count)], tmp_path, key=key,
                                          items_per_buffer_write=10, records_per_second=300)))  # fmt: skip
    command = [sys.executable, "-m", "exporters_beam", "run", str(path), "--resume", "--workers", "1"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def until(more: int, process: Any) -> None:
        wanted = mongodb.there.products.estimated_document_count() + more
        while mongodb.there.products.estimated_document_count() < wanted and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()

    for _ in range(kills):
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        until(40, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    until(20, process)
    mongodb.server.stop()
    threading.Timer(0.5, mongodb.server.start).start()
    said = process.communicate(timeout=180)[1]
    assert process.returncode == 0, said
    assert "trying again" in said
    assert sorted(each["n"] for each in mongodb.documents()) == list(range(count))


@servers
def test_what_is_wrong_is_told_before_anything_is_read(mongodb: Mongo) -> None:
    mongodb.fill([{"_id": 1, "sku": "a"}])
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"url": mongodb.url.replace("//", "//shop@"), "password": "a-wrong-word"},
         "option password: .* does not let this user in"),
        ({"url": "mongodb://nowhere.invalid/?serverSelectionTimeoutMS=300"},
         r"option url: .*nowhere\.invalid.* cannot be reached"),
        ({"key": ["sku", "shop"]},
         r'option key: products has no unique index over sku, shop, .*; run: db\.products\.createIndex'
         r'\(\{"sku": 1, "shop": 1\}, \{unique: true\}\)'),
        ({"database": "a.b"}, "option database: a.b cannot be the name of a database"),
        ({"collection": "a..b"}, "option collection: a..b cannot be the name of a collection"),
    ]  # fmt: skip
    for options, says in wrong:
        writer = build(MongodbWriter, mongodb.options(**options), {})
        with pytest.raises(DestinationError, match=f"^{says}") as caught:
            writer.probe()
        assert "wrong-word" not in str(caught.value)
        writer.close()
    for options in ({}, {"key": "_id"}, {"collection": "new", "key": "sku"}):
        writer = build(MongodbWriter, mongodb.options(**options), {})
        writer.probe()
        writer.close()
    assert mongodb.there.list_collection_names() == ["products"], "looking makes nothing"


@servers
def test_an_id_of_its_own_is_not_taken_for_a_key(mongodb: Mongo, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"record 1: writer: it has an _id of its own, .*; give it key: _id"):
        exporters_beam.run(config(mongodb, [{"_id": 5}], tmp_path))
    assert mongodb.documents() == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": ["a", "a"]}, "key: a field stands there twice"),
        ({"write_concern": "0"}, "write_concern: with 0 nobody would know"),
        ({"url": "http://localhost"}, "url: http://localhost is not the URL of a MongoDB"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}"):
        build(MongodbWriter, {"url": "mongodb://localhost/shop", "collection": "products", **options}, {})


PAGE = (Path(__file__).parent.parent.parent / "docs" / "systems.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```yaml\n(.*?)^```$", PAGE.partition("\n## MongoDB\n")[2].partition("\n## ")[0], flags=re.M | re.S)


@pytest.mark.parametrize("text", SHOWN)
def test_what_the_page_shows_is_right(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "tea")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(text if text.startswith("reader:") else f"reader: {{name: fs, options: {{input: in.jl}}}}\n{text}")
    assert len(SHOWN) == 4 and load(path)
