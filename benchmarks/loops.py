"""The jobs of the benchmark as hand-written loops: `isal` + `orjson` in one process, no framework.

    python benchmarks/loops.py plain INPUT OUTPUT      JSON lines gz → filter → computed field → JSON lines gz
    python benchmarks/loops.py grouped INPUT OUTPUT    the same, one file for each of the 50 values of `group`
    python benchmarks/loops.py lines INPUT OUTPUT      filter and group only: the line is written as it came
    python benchmarks/loops.py parquet INPUT OUTPUT    the same as plain, to Parquet with zstd
    python benchmarks/loops.py csv INPUT OUTPUT        CSV gz → JSON lines gz
    python benchmarks/loops.py columns INPUT OUTPUT    Parquet → filter on a column, 5 of 20 kept → Parquet with zstd

Each is what one would write for this one job when speed matters. Variants that were measured and are no faster:
splitting large blocks into lines, whole files in memory, joining lines before writing, the garbage collector off.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from isal import igzip

LEVEL = 2
KEPT = re.compile("Spain|United K").match
"""The filter of configs/plain.yaml."""

ROWS_A_BATCH = 8192


def read(path: Path) -> BinaryIO:
    return io.BufferedReader(igzip.open(path), 1 << 18)


def create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return io.BufferedWriter(igzip.IGzipFile(str(path), "wb", compresslevel=LEVEL, mtime=0), 1 << 17)


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """The records that pass the filter, with the computed field."""
    loads, kept = orjson.loads, KEPT
    for path in sorted(folder.iterdir()):
        with read(path) as lines:
            for line in lines:
                record = loads(line)
                country = record.get("country")
                if country is not None and kept(country):
                    record["ratio"] = record["revenue"] / 1000
                    yield record


def plain(source: Path, target: Path) -> None:
    dumps, newline = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    with create(target / "part-0000.jl.gz") as out:
        write = out.write
        for record in records(source):
            write(dumps(record, None, newline))


def grouped(source: Path, target: Path) -> None:
    dumps, newline = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    files: dict[str, BinaryIO] = {}
    for record in records(source):
        group = record["group"]
        out = files.get(group)
        if out is None:
            out = files[group] = create(target / group / "part-0000.jl.gz")
        out.write(dumps(record, None, newline))
    for out in files.values():
        out.close()


def lines(source: Path, target: Path) -> None:
    loads, kept = orjson.loads, KEPT
    files: dict[str, BinaryIO] = {}
    for path in sorted(source.iterdir()):
        with read(path) as text:
            for line in text:
                record = loads(line)
                country = record.get("country")
                if country is not None and kept(country):
                    group = record["group"]
                    out = files.get(group)
                    if out is None:
                        out = files[group] = create(target / group / "part-0000.jl.gz")
                    out.write(line)
    for out in files.values():
        out.close()


def parquet(source: Path, target: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    text = pa.string()
    row = pa.struct({
        "_key": text, "name": text, "country": text, "country_code": text, "group": text,
        "city": pa.struct({"name": text, "district": text}), "employees": pa.int64(), "revenue": pa.float64(),
        "founded": pa.int64(), "active": pa.bool_(), "tags": pa.list_(text), "ratio": pa.float64(),
    })  # fmt: skip
    target.mkdir(parents=True, exist_ok=True)
    with ParquetWriter(target / "part-0000.parquet", pa.schema(row.fields), compression="zstd") as out:
        rows: list[dict[str, Any]] = []
        for record in records(source):
            rows.append(record)
            if len(rows) == ROWS_A_BATCH:
                out.write_batch(pa.RecordBatch.from_struct_array(pa.array(rows, row)))
                rows.clear()
        if rows:
            out.write_batch(pa.RecordBatch.from_struct_array(pa.array(rows, row)))


def csv_to_json(source: Path, target: Path) -> None:
    dumps, newline = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    with create(target / "part-0000.jl.gz") as out:
        write = out.write
        for path in sorted(source.iterdir()):
            with io.TextIOWrapper(read(path), encoding="utf-8", newline="") as text:
                rows = csv.reader(text)
                header = next(rows)
                for row in rows:
                    write(dumps(dict(zip(header, row)), None, newline))  # noqa: B905 (the keyword costs 0.15 µs)


def columns(source: Path, target: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow.parquet import ParquetFile, ParquetWriter

    names, wanted = ["_key", "name", "country", "revenue", "founded"], pa.array(["Spain", "United Kingdom"])
    target.mkdir(parents=True, exist_ok=True)
    out = None
    for path in sorted(source.iterdir()):
        file = ParquetFile(path)
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number, columns=names, use_threads=False)
            rows = rows.filter(pc.is_in(rows["country"], wanted))
            out = out or ParquetWriter(target / "part-0000.parquet", rows.schema, compression="zstd")
            out.write_table(rows)
    if out:
        out.close()


JOBS = {"plain": plain, "grouped": grouped, "lines": lines, "parquet": parquet, "csv": csv_to_json, "columns": columns}

if __name__ == "__main__":
    job, source, target = sys.argv[1:]
    JOBS[job](Path(source), Path(target))
