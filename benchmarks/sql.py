"""Exports into and out of PostgreSQL beside the best hand-written loops: psycopg 3, orjson, gzip.

    python benchmarks/sql.py [--records 1000000] [--url postgresql://user@host/db]

The password is that of the variable PGPASSWORD. Into: JSON lines, gzip → a table, by COPY. Out: the table → JSON lines, gzip.
Loops and exports run as processes of their own; it prints wall and CPU seconds, the peak of memory, and loop over export.
"""

from __future__ import annotations

import argparse
import hashlib
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

FIELDS = ("id", "sku", "name", "price", "stock", "seller", "tags", "added", "active")
TYPES = ("BIGINT PRIMARY KEY", "TEXT", "TEXT", "DOUBLE PRECISION", "BIGINT", "JSONB", "JSONB", "TEXT", "BOOLEAN")


def records(count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(7)
    for n in range(count):
        yield {
            "id": n,
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
    import psycopg

    return psycopg.connect(url)


def empty_table(url: str, name: str) -> None:
    with connect(url) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {name}")
        columns = ", ".join(f"{field} {kind}" for field, kind in zip(FIELDS, TYPES, strict=True))
        connection.execute(f"CREATE TABLE {name} ({columns})")


def loop_into(url: str, path: str) -> None:
    import orjson
    from isal import igzip

    loads, dumps = orjson.loads, orjson.dumps
    statement = f"COPY by_loop ({', '.join(FIELDS)}) FROM STDIN"
    with connect(url) as connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for line in io.BufferedReader(igzip.open(path), 1 << 18):
            r = loads(line)
            copy.write_row((r["id"], r["sku"], r["name"], r["price"], r["stock"], dumps(r["seller"]).decode(),
                            dumps(r["tags"]).decode(), r["added"], r["active"]))  # fmt: skip


def loop_out(url: str, path: str) -> None:
    import orjson
    from isal import igzip
    from psycopg.types.json import set_json_loads

    dumps = orjson.dumps
    out = io.BufferedWriter(igzip.IGzipFile(path, "wb", compresslevel=2, mtime=0), 1 << 17)
    with connect(url) as connection, out:
        set_json_loads(orjson.loads, connection)
        with connection.cursor("rows") as cursor:
            cursor.itersize = 1000
            cursor.execute(f"SELECT {', '.join(FIELDS)} FROM by_loop ORDER BY id")
            for row in cursor:
                out.write(dumps(dict(zip(FIELDS, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE))


def lines_of(*paths: Path) -> tuple[int, str]:
    """How many lines files have one behind the other, and their digest."""
    from isal import igzip

    count, digest = 0, hashlib.sha256()
    for path in paths:
        with igzip.open(path) as raw:
            while piece := raw.read(1 << 20):
                count += piece.count(b"\n")
                digest.update(piece)
    return count, digest.hexdigest()


def told(count: int, differ: int, folder: Path) -> None:
    """Says whether the tables and the files of loop and export hold the same."""
    loop, export = lines_of(folder / "loop.jl.gz"), lines_of(*sorted((folder / "out").glob("part-*")))
    same = "the same" if loop == export else "OTHERS"
    print(f"{count:,} records; rows that differ: {differ}; lines of loop and export: {loop[0]:,} and {export[0]:,}, {same} "
          f"(sha256 {export[1][:16]})", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--url", default="postgresql://postgres@localhost/postgres")
    parser.add_argument("--loop", choices=("into", "out"))
    parser.add_argument("--path")
    arguments(parser)
    given = parser.parse_args()
    if given.loop:
        {"into": loop_into, "out": loop_out}[given.loop](given.url, given.path)
        return
    compare(lambda count, folder: run(given.url, count, folder), given.records, given.rounds)


def run(url: str, count: int, folder: Path) -> dict[str, Pair]:
    make_input(folder / "in.jl.gz", count)
    for table in ("by_loop", "by_export"):
        empty_table(url, table)
    database = {"url": url, "password": "${secret:env:PGPASSWORD}"}
    into = {"reader": {"name": "fs", "options": {"input": str(folder / "in.jl.gz")}},
            "writer": {"name": "sql", "options": {**database, "table": "by_export", "delivery_id": folder.name}}}  # fmt: skip
    out = {"reader": {"name": "sql", "options": {**database, "table": "by_loop"}},
           "writer": {"name": "fs", "options": {"filebase": str(folder / "out" / "part-")}}}  # fmt: skip
    found = {}
    for name, config, path in (("into", into, "in.jl.gz"), ("out", out, "loop.jl.gz")):
        (folder / f"{name}.json").write_text(json.dumps(config))
        loop = apart([sys.executable, __file__, "--loop", name, "--path", str(folder / path), "--url", url])
        export = apart([sys.executable, "-m", "exporters_beam", "run", str(folder / f"{name}.json"), "--quiet",
                           "--workers", "1"])  # fmt: skip
        found[name] = (loop, export)
    with connect(url) as connection:
        query = "SELECT count(*) FROM by_loop l FULL JOIN by_export e USING (id) WHERE l IS DISTINCT FROM e"
        told(count, connection.execute(query).fetchone()[0], folder)
    return found


if __name__ == "__main__":
    main()
