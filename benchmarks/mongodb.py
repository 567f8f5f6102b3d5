"""Exports into and out of MongoDB beside the best hand-written loops: pymongo, orjson, gzip.

    python benchmarks/mongodb.py [--records 200000] [--url mongodb://localhost:27017] [--only into|out]

Into: JSON lines, gzip → documents by their `_id`, 1,000 at once. Out: the collection → JSON lines, gzip. It makes and drops the
database `exporters_beam_benchmark`. Loops and exports run as processes of their own; it prints wall and CPU seconds of these,
without those of the server, the peak of memory, and loop over export.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

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


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and the peak of memory in MiB."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--url", default="mongodb://localhost:27017")
    parser.add_argument("--only", choices=("into", "out"))
    parser.add_argument("--loop", choices=("into", "out"))
    parser.add_argument("--path")
    given = parser.parse_args()
    if given.loop:
        {"into": loop_into, "out": loop_out}[given.loop](given.url, given.path)
        return
    folder = Path(tempfile.mkdtemp(prefix="mongodb-benchmark-"))
    try:
        for count in (given.records // 4, given.records):
            run(given.url, count, folder, given.only)
    finally:
        shutil.rmtree(folder)


def run(url: str, count: int, folder: Path, only: str | None) -> None:
    make_input(folder / "in.jl.gz", count)
    with connect(url) as client:
        client.drop_database(DATABASE)
        if only == "out":
            client[DATABASE].by_loop.insert_many(records(count))
    options = {"url": url, "database": DATABASE}
    into = {"reader": {"name": "fs", "options": {"input": str(folder / "in.jl.gz")}},
            "writer": {"name": "mongodb", "options": {**options, "collection": "by_export", "key": "_id",
                                                      "items_per_buffer_write": 1000, "delivery_id": f"{folder.name}{count}"}},
            }  # fmt: skip
    out = {"reader": {"name": "mongodb", "options": {**options, "collection": "by_loop"}},
           "writer": {"name": "fs", "options": {"filebase": str(folder / f"out-{count}" / "part-")}}}  # fmt: skip
    print(f"{count:,} records        wall     CPU   MiB", flush=True)
    for name, config, path in (("into", into, "in.jl.gz"), ("out", out, "loop.jl.gz")):
        if only not in (None, name):
            continue
        (folder / f"{name}.json").write_text(json.dumps(config))
        loop = measured([sys.executable, __file__, "--loop", name, "--path", str(folder / path), "--url", url])
        run_it = [sys.executable, "-m", "exporters_beam", "run", str(folder / f"{name}.json"), "--quiet", "--workers", "1"]
        export = measured(run_it)
        for kind, (wall, cpu, memory) in (("loop", loop), ("export", export)):
            print(f"{name:5} {kind:8} {wall:10.1f} s {cpu:6.1f} s {memory:5.0f}")
        print(f"{name:5} loop over export: wall {loop[0] / export[0]:.2f}, CPU {loop[1] / export[1]:.2f}", flush=True)
    with connect(url) as client:
        if only:
            client.drop_database(DATABASE)
            return
        ours, theirs = (client[DATABASE][name].find(sort=[("_id", 1)]) for name in ("by_export", "by_loop"))
        print("documents that differ:", sum(one != other for one, other in zip(ours, theirs, strict=True)))
        client.drop_database(DATABASE)


if __name__ == "__main__":
    main()
