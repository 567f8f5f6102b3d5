"""The reader `mongodb`: documents of a real server as records, each once, whatever their ids are."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.records import Undecoded
from exporters_beam.systems.mongodb_reader import MongodbReader
from exporters_beam.systems.mongodb_values import decoded

from mongodb_server import Mongo

bson = pytest.importorskip("bson", reason='pymongo is not here; get it with: pip install "exporters-beam[mongodb]"')

servers = pytest.mark.servers


def reader_of(mongodb: Mongo, **options: Any) -> MongodbReader:
    return MongodbReader(**mongodb.options(**options))


def ranges_of(reader: MongodbReader) -> list[list[dict[str, Any]]]:
    """The records of each range, of all units; each range is read by itself, as another worker would."""
    found = []
    for unit in reader.units():
        for start in range(reader.ranges(unit)):
            alone = takewhile(lambda part: part[0] == start, reader.read(unit, start))  # noqa: B023
            found.append([record for _, records in alone for record in records])
    return found


def read(reader: MongodbReader) -> list[dict[str, Any]]:
    return [record for records in ranges_of(reader) for record in records]


def mixed() -> list[Any]:
    """Ids of all kinds that the server has, each many times."""
    chance = random.Random(5)
    oids = [bson.ObjectId(bytes([n, *chance.randbytes(11)])) for n in range(23)]
    numbers = [*range(-20, 20), *(n / 8 + 0.01 for n in range(17)), *(bson.Int64(2**40 + n) for n in range(9)), 1e300]
    texts = [chance.choice("aAäzZ_ é😀$") * (n % 3) + str(n) for n in range(31)]
    return [None, "", *numbers, *texts, *({"a": n, "b": {"c": "x"}} for n in range(12)), *(bytes([n]) * 3 for n in range(11)),
            bson.Binary(b"abc", 5), *oids, True, False,
            *(datetime(1960 + n, 1, 2, 3, 4, 5, tzinfo=timezone.utc) for n in range(25)), bson.Timestamp(5, 1)]  # fmt: skip


@servers
@pytest.mark.parametrize("range_size", [pytest.param(1, marks=pytest.mark.exhaustive), 5, 10_000])
def test_every_document_is_read_once_whatever_its_id_is(mongodb: Mongo, range_size: int) -> None:
    ids = mixed()
    documents = [{"_id": each, "n": n} for n, each in enumerate(ids)]
    random.Random(1).shuffle(documents)
    mongodb.fill(documents)
    reader = reader_of(mongodb, range_size=range_size, batch_size=2 if range_size == 5 else 1000)
    ranges = ranges_of(reader)
    assert sorted(record["n"] for records in ranges for record in records) == list(range(len(ids)))
    assert max(map(len, ranges)) <= max(range_size, 2), "true and false are one range"
    assert read(reader) == [record for records in ranges for record in records], "the same in the same order"
    wanted = reader_of(mongodb, range_size=range_size, filter={"n": {"$gte": 100}}, projection={"_id": 0})
    assert sorted(record["n"] for record in read(wanted)) == list(range(100, len(ids)))
    assert all(record.keys() == {"n"} for record in read(wanted))


@servers
def test_what_a_pipeline_gives_is_read_in_its_order(mongodb: Mongo) -> None:
    mongodb.fill([{"_id": n, "shop": n % 3, "price": n} for n in range(30)])
    grouped = {"$group": {"_id": "$shop", "price": {"$sum": "$price"}}}
    stages = [{"$match": {"_id": {"$gte": 3}}}, grouped, {"$sort": {"_id": -1}}]
    (records,) = ranges_of(reader_of(mongodb, pipeline=stages))
    assert records == [{"_id": 2, "price": 153}, {"_id": 1, "price": 144}, {"_id": 0, "price": 135}]


@servers
def test_a_collection_that_changes_while_it_is_read(mongodb: Mongo) -> None:
    """What docs/systems.md says."""
    mongodb.fill([{"_id": n, "at": "first"} for n in range(0, 100, 2)])
    reader = reader_of(mongodb, range_size=10)
    units = list(reader.units())
    products = mongodb.there.products
    products.insert_many([{"_id": 51, "at": "new"}, {"_id": 1000, "at": "new"}])
    products.update_one({"_id": 70}, {"$set": {"at": "changed"}})
    products.delete_one({"_id": 72})
    found = {record["_id"]: record["at"] for unit in units for _, records in reader.read(unit, 0) for record in records}
    assert found == {n: "first" for n in range(0, 100, 2) if n != 72} | {51: "new", 70: "changed"}
    products.drop()
    with pytest.raises(SourceError, match=r"option collection: products is gone; it was there when"):
        list(reader.read(units[0], 0))


@servers
def test_a_whole_export_by_two_workers(mongodb: Mongo, export: Callable[..., Any], tmp_path: Path) -> None:
    mongodb.fill([{"_id": bson.ObjectId(), "n": n, "price": n / 2} for n in range(300)] + [{"n": 300}])
    empty = export(mongodb.reader(filter={"n": 5000}), out="empty")
    assert (empty.read, empty.written) == (0, 0)
    filtered = {"name": "key_value", "options": {"keys": [{"name": "n", "value": 7}]}}
    report = export(mongodb.reader(range_size=40), filter=filtered, workers=2, options={"compression": "none"})
    assert (report.read, report.written) == (301, 1)
    (file,) = (tmp_path / "out").glob("*.jl")
    record = json.loads(file.read_text())
    assert (record["n"], record["price"], len(record["_id"])) == (7, 3.5, 24)


ODD = {
    "oid": bson.ObjectId("6b0d57cc7b55c0dacaea2fce"),
    "decimal": bson.Decimal128("2.50"),
    "large": bson.Int64(2**40),
    "raw": b"\0\xff",
    "other": bson.Binary(b"y", 5),
    "uuid": bson.Binary(UUID(int=7).bytes, 4),
    "at": datetime(2024, 2, 29, 12, 0, 0, 5000),
    "old": bson.datetime_ms.DatetimeMS(-(10**15)),
    "pattern": bson.Regex("^a", "i"),
    "stamp": bson.Timestamp(1, 2),
    "code": bson.Code("f()"),
    "least": bson.MinKey(),
    "ref": bson.DBRef("shops", bson.ObjectId("6b0d57cc7b55c0dacaea2fce")),
    "list": [bson.Decimal128("NaN"), {"a": None}],
}


def test_values_have_the_types_that_records_know() -> None:
    (record,) = decoded(bson.encode(ODD), False)
    assert isinstance(record, dict)
    (nan, rest) = record.pop("list")
    assert nan.is_nan() and rest == {"a": None}
    assert record == {
        "oid": "6b0d57cc7b55c0dacaea2fce",
        "decimal": Decimal("2.50"),
        "large": 2**40,
        "raw": b"\0\xff",
        "other": b"y",
        "uuid": UUID(int=7),
        "at": datetime(2024, 2, 29, 12, 0, 0, 5000, tzinfo=timezone.utc),
        "old": {"$date": {"$numberLong": "-1000000000000000"}},
        "pattern": {"$regularExpression": {"pattern": "^a", "options": "i"}},
        "stamp": {"$timestamp": {"t": 1, "i": 2}},
        "code": {"$code": "f()"},
        "least": {"$minKey": 1},
        "ref": {"$ref": "shops", "$id": "6b0d57cc7b55c0dacaea2fce"},
    }
    assert {type(record[name]) for name in ("large", "raw", "other")} == {int, bytes}


def test_a_document_that_cannot_be_decoded_is_a_failure_of_its_record() -> None:
    wrong = bson.encode({"_id": 2, "name": "mended"}).replace(b"mended", b"\xff\xfended")
    first, second, third = decoded(bson.encode({"_id": 1}) + wrong + bson.encode({"_id": 3}), False)
    assert (first, third) == ({"_id": 1}, {"_id": 3})
    assert isinstance(second, Undecoded) and "'utf-8' codec can't decode byte 0xff" in second.message
    reader = MongodbReader(url="mongodb://localhost/shop", collection="products")
    assert reader.decode(str(second.raw))["_id"] == 2


@servers
def test_a_server_that_is_killed_while_it_is_read(mongodb: Mongo) -> None:
    mongodb.fill([{"_id": n, "filler": "x" * 500} for n in range(600)])
    reader = reader_of(mongodb, batch_size=50)
    (unit,) = reader.units()
    found: list[int] = []
    for _, records in reader.read(unit, 0):
        if not found:
            mongodb.server.restart()
        found += [record["_id"] for record in records]
    assert found == list(range(600))
    reader = reader_of(mongodb, batch_size=50, pipeline=[{"$sort": {"_id": 1}}])
    (unit,) = reader.units()
    reading = reader.read(unit, 0)
    next(reading)
    mongodb.server.restart()
    with pytest.raises(SourceError, match=r"the connection to .* broke|could not do it now"):
        list(reading)


@servers
@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.exhaustive)])
def test_killed_and_resumed(mongodb: Mongo, tmp_path: Path, kills: int) -> None:
    count = 300 * kills
    mongodb.fill([{"_id": n if n % 2 else f"{n:06}", "n": n} for n in range(count)])
    out = tmp_path / "out"
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({
        "reader": mongodb.reader(range_size=10),
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", "compression": "none"}},
    }))  # fmt: skip
    begin = ("import sys; from exporters_beam.runners import local; from exporters_beam.cli.main import main; "
             "local.BUNDLE_SECONDS = 0.0; sys.exit(main())")  # fmt: skip
    command = [sys.executable, "-c", begin, "run", str(config), "--resume", "--quiet", "--workers", "1"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_STATE_HOME": str(tmp_path / "state")}
    killed = 0
    while True:
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        before = len(list(out.glob(".exporters/*/staged/*.segment")))
        while killed < kills and process.poll() is None:
            if len(list(out.glob(".exporters/*/staged/*.segment"))) > before:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.02)
        said = process.communicate(timeout=100)[1]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
    assert killed == kills
    lines = [json.loads(line) for path in sorted(out.glob("*.jl")) for line in path.read_text().splitlines()]
    assert [record["n"] for record in lines] == [*range(1, count, 2), *range(0, count, 2)]


@servers
def test_what_is_wrong_is_told_with_its_option(mongodb: Mongo) -> None:
    mongodb.fill([{"_id": 1}])
    quick = "/?serverSelectionTimeoutMS=300"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"collection": "product"}, r'option collection: mongodb://.* has no collection product .*; did you mean "products"'),
        ({"database": "nowhere"}, r"option database: mongodb://.*/nowhere has no collections that this user may see"),
        ({"database": "a b"}, r"option database: a b cannot be the name of a database"),
        ({"collection": "a$b"}, r"option collection: a\$b cannot be the name of a collection"),
        ({"filter": {"price": {"$gtt": 5}}}, r"option filter: .* does not understand it \(it said: unknown operator: \$gtt\)"),
        ({"projection": {"a": 1, "b": 0}}, r"option projection: .* does not understand it \(it said: .*exclusion"),
        ({"pipeline": [{"$mtch": {}}]}, r'option pipeline: .* does not understand it \(it said: Unrecognized .*"\$mtch"'),
        ({"url": f"mongodb://127.0.0.1:9{quick}"}, r"option url: mongodb://127.0.0.1:9/.* cannot be reached \(.*refused"),
        ({"url": f"mongodb://nowhere.invalid{quick}"}, r"option url: mongodb://nowhere.invalid/.* cannot be reached \("),
        ({"url": mongodb.url.replace("//", "//shop@"), "password": "5ecret-word"},
         r"option password: mongodb://.* does not let this user in \(it said: "),
        ({"url": "mongodb://host:port/x"}, r"option url: Port "),
    ]  # fmt: skip
    for options, says in wrong:
        reader = build(MongodbReader, mongodb.options(**options), {})
        for look in (reader.probe, lambda: read(reader)):  # noqa: B023
            with pytest.raises(SourceError, match=f"^{says}") as caught:
                look()
            assert "5ecret" not in str(caught.value) and "\n" not in str(caught.value)
    reader_of(mongodb).probe()
    with pytest.raises(ConfigError, match=r"^filter: this is not Extended JSON: .*"):
        list(reader_of(mongodb, filter={"_id": {"$oid": "x"}}).units())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "postgresql://host/x"}, "url: postgresql://host/x is not the URL of a MongoDB"),
        ({"url": "mongodb://me:secret@host/x"}, "url: the URL has a password in it; give it as the option password"),
        ({"url": "mongodb://h1:1,h2:2"}, "database: name the database, here or in the URL"),
        ({"pipeline": [{"$out": "x"}]}, r"pipeline: \$out writes to the database"),
        ({"pipeline": ["$match"]}, "pipeline: each stage is a mapping with one key"),
        ({"pipeline": [{"$match": {}}], "filter": {"a": 1}}, "pipeline: it stands alone"),
        ({"projection": {"_id": "$sku"}}, r"projection: _id may be left out \(0\)"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}"):
        build(MongodbReader, {"url": "mongodb://localhost/shop", "collection": "products", **options}, {})
