"""More jobs of the benchmark as hand-written loops: shapes of input and output that the engine is not tuned for.

    python benchmarks/sales.py wide INPUT OUTPUT       3 KB a record: filter on one field, a new record out of nested ones
    python benchmarks/sales.py changed INPUT OUTPUT    every record changed (pop, rename, compute), then a filter on what is new
    python benchmarks/sales.py typed INPUT OUTPUT      CSV gz → Parquet with types
    python benchmarks/sales.py nested INPUT OUTPUT     Parquet with a struct → filter on a column → JSON lines gz
    python benchmarks/sales.py tiny INPUT OUTPUT       thousands of files of 25 records → filter → one file
    python benchmarks/sales.py dedupe INPUT OUTPUT     the first record of each article, nearly all of which are distinct
    python benchmarks/sales.py groups INPUT OUTPUT     one file for each of the 5,000 vendors

The input is make_sales.py's. As in loops.py, each is what one would write for this one job when speed matters.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from isal import igzip
from loops import LEVEL, create, read

NEWLINE = orjson.OPT_APPEND_NEWLINE


def lines_of(source: Path) -> Iterator[bytes]:
    for path in sorted(source.iterdir()):
        with read(path) as lines:
            yield from lines


def wide(source: Path, target: Path) -> None:
    loads, dumps = orjson.loads, orjson.dumps
    with create(target / "part-0000.jl.gz") as out:
        for line in lines_of(source):
            sale = loads(line)
            if sale["left"] > 25:
                bids = sale["bids"]
                found = {"id": sale["id"], "shop": sale["shop"], "vendor": sale["vendor"]["name"], "bids": len(bids),
                         "lowest": min(bid["price"] for bid in bids)}  # fmt: skip
                out.write(dumps(found, None, NEWLINE))


def changed(source: Path, target: Path) -> None:
    loads, dumps = orjson.loads, orjson.dumps
    with create(target / "part-0000.jl.gz") as out:
        for line in lines_of(source):
            sale = loads(line)
            del sale["remark"]
            sale["place"] = sale.pop("shop")
            sale["worth"] = sale["price"] * sale["left"]
            if sale["worth"] > 10:
                out.write(dumps(sale, None, NEWLINE))


def typed(source: Path, target: Path) -> None:
    import pyarrow.csv as pc
    from pyarrow.parquet import write_table

    target.mkdir(parents=True, exist_ok=True)
    as_they_are = pc.ConvertOptions(column_types={"at": "string"})
    for number, path in enumerate(sorted(source.iterdir())):
        text = io.BytesIO(igzip.decompress(path.read_bytes()))
        rows = pc.read_csv(text, pc.ReadOptions(use_threads=False), convert_options=as_they_are)
        write_table(rows, target / f"part-{number:04}.parquet", compression="zstd")


def nested(source: Path, target: Path) -> None:
    import pyarrow.compute as pc
    from pyarrow.parquet import ParquetFile

    dumps = orjson.dumps
    with create(target / "part-0000.jl.gz") as out:
        for path in sorted(source.iterdir()):
            for batch in ParquetFile(path).iter_batches(20_000, use_threads=False):
                for sale in batch.filter(pc.less(batch["left"], 20)).to_pylist():
                    out.write(dumps(sale, None, NEWLINE))


def tiny(source: Path, target: Path) -> None:
    loads, kept = orjson.loads, re.compile("Kyoto|Perth").match
    with create(target / "part-0000.jl.gz") as out:
        for path in sorted(source.iterdir()):
            for line in igzip.decompress(path.read_bytes()).splitlines(True):
                if kept(loads(line)["shop"]):
                    out.write(line)


def dedupe(source: Path, target: Path) -> None:
    loads, seen = orjson.loads, set[int]()
    with create(target / "part-0000.jl.gz") as out:
        for line in lines_of(source):
            article = loads(line)["article"]
            if article not in seen:
                seen.add(article)
                out.write(line)


def groups(source: Path, target: Path) -> None:
    loads = orjson.loads
    found: dict[str, list[bytes]] = {}
    for line in lines_of(source):
        found.setdefault(loads(line)["vendor"]["name"], []).append(line)
    for name, lines in found.items():
        (target / name).mkdir(parents=True)
        (target / name / "part-0000.jl.gz").write_bytes(igzip.compress(b"".join(lines), LEVEL))


JOBS: dict[str, Any] = {
    "wide": wide, "changed": changed, "typed": typed, "nested": nested, "tiny": tiny, "dedupe": dedupe, "groups": groups,
}  # fmt: skip

if __name__ == "__main__":
    job, source, target = sys.argv[1:]
    JOBS[job](Path(source), Path(target))
