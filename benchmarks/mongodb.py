"""Exports into and out of MongoDB beside the best hand-written loops: pymongo, orjson, gzip.

    python benchmarks/mongodb.py [--records 200000] [--url mongodb://localhost:27017] [--only into|out] [--rounds 3]

Without --url they speak with a service that keeps documents in memory (mongodb_service.py), of which wall times say nothing.
Into: JSON lines, gzip → documents by their `_id`, 1,000 at once. Out: the collection → JSON lines, gzip. It makes and drops the
database `exporters_beam_benchmark`. Loops and exports run as processes of their own; it prints wall and CPU seconds of these,
without those of the server, the peak of memory, and loop over export.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from measure import apart
from slopes import Pair, arguments, compare
from sql import lines_of

DATABASE = "exporters_beam_benchmark"


def records(count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(7)
    for n in range(count):
        yield {
            "_id": f"{n:08d}",
            "sku": f"sku-{n:08d}",
            "name": f"A product with the number {n}, é",
            "price": round(chance.random() * 100, 2),
            "stock": chance.randrange(1000),
            "seller": {"name": f"seller {n % 100}", "town": "Cork"},
            "tags": ["new", "used"][: n % 3],
            "added": (date(2024, 1, 1) + timedelta(days=n % 365)).isoformat(),
            "active": n % 2 == 0,
        }


def make_input(path: Path, count: int) -> None:
    from isal import igzip

    with igzip.open(path, "wb") as raw, io.BufferedWriter(raw, 1 << 18) as out:
        for record in records(count):
            out.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def connect(url: str) -> Any:
    from pymongo import MongoClient

    return MongoClient(url)


def loop_into(url: str, path: str) -> None:
    import orjson
    from isal import igzip
    from pymongo import ReplaceOne

    loads = orjson.loads
    with connect(url) as client, igzip.open(path) as raw:
        collection = client[DATABASE].by_loop
        batch = []
        for line in io.BufferedReader(raw, 1 << 18):
            record = loads(line)
            batch.append(ReplaceOne({"_id": record["_id"]}, record, upsert=True))
            if len(batch) == 1000:
                collection.bulk_write(batch, ordered=False)
                batch = []
        if batch:
            collection.bulk_write(batch, ordered=False)


def loop_out(url: str, path: str) -> None:
    import orjson
    from bson import decode_all
    from isal import igzip

    dumps = orjson.dumps
    out = io.BufferedWriter(igzip.IGzipFile(path, "wb", compresslevel=2, mtime=0), 1 << 17)
    with connect(url) as client, out:
        for raw in client[DATABASE].by_loop.find_raw_batches(sort=[("_id", 1)], batch_size=1000):
            for record in decode_all(raw):
                out.write(dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--url")
    parser.add_argument("--only", choices=("into", "out"))
    parser.add_argument("--loop", choices=("into", "out"))
    parser.add_argument("--path")
    arguments(parser)
    given = parser.parse_args()
    if given.loop:
        {"into": loop_into, "out": loop_out}[given.loop](given.url, given.path)
        return
    url = given.url
    if url is None:
        from mongodb_service import Service

        url = Service().url
    compare(lambda count, folder: run(url, count, folder, given.only), given.records, given.rounds)


def run(url: str, count: int, folder: Path, only: str | None) -> dict[str, Pair]:
    make_input(folder / "in.jl.gz", count)
    with connect(url) as client:
        client.drop_database(DATABASE)
        if only == "out":
            client[DATABASE].by_loop.insert_many(records(count))
    options = {"url": url, "database": DATABASE}
    into = {"reader": {"name": "fs", "options": {"input": str(folder / "in.jl.gz")}},
            "writer": {"name": "mongodb", "options": {**options, "collection": "by_export", "key": "_id",
                                                      "items_per_buffer_write": 1000, "delivery_id": folder.name}},
            }  # fmt: skip
    out = {"reader": {"name": "mongodb", "options": {**options, "collection": "by_loop"}},
           "writer": {"name": "fs", "options": {"filebase": str(folder / "out" / "part-")}}}  # fmt: skip
    found = {}
    for name, config, path in (("into", into, "in.jl.gz"), ("out", out, "loop.jl.gz")):
        if only not in (None, name):
            continue
        (folder / f"{name}.json").write_text(json.dumps(config))
        loop = apart([sys.executable, __file__, "--loop", name, "--path", str(folder / path), "--url", url])
        run_it = [sys.executable, "-m", "exporters_beam", "run", str(folder / f"{name}.json"), "--quiet", "--workers", "1"]
        found[name] = (loop, apart(run_it))
    with connect(url) as client:
        if not only:
            ours, theirs = (client[DATABASE][name].find(sort=[("_id", 1)]) for name in ("by_export", "by_loop"))
            differ = sum(one != other for one, other in zip(ours, theirs, strict=True))
            print(f"{count:,} records; documents that differ: {differ}", flush=True)
        client.drop_database(DATABASE)
    if only != "into":
        by_loop, by_export = lines_of(folder / "loop.jl.gz"), lines_of(*sorted((folder / "out").glob("part-*")))
        same = "the same" if by_loop == by_export else "OTHERS"
        print(f"lines of loop and export: {by_loop[0]:,} and {by_export[0]:,}, {same}", flush=True)
    return found


if __name__ == "__main__":
    main()
