"""The jobs of the benchmark done by engines and tools that a user might take instead, each in its own environment.

    python benchmarks/engines.py SYSTEM JOB INPUT OUTPUT     SYSTEM: chdb, polars, duckdb, dlt; JOB: plain, grouped, lines

Each is written as its documentation suggests, for this one job. What stands in `READS` they read with the same types as
the loop `parquet` of loops.py. dlt only does `plain`; polars and DuckDB do jobs of sales.py as well, in one thread.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEPT = "^(Spain|United K)"

READS = (
    "_key Nullable(String), name Nullable(String), country Nullable(String), country_code Nullable(String), "
    "`group` String, city Tuple(name Nullable(String), district Nullable(String)), employees Nullable(Int64), "
    "revenue Nullable(Float64), founded Nullable(Int64), active Nullable(Bool), tags Array(String)"
)


def chdb(job: str, source: Path, target: Path) -> None:
    """ClickHouse in this process."""
    import chdb as engine

    target.mkdir(parents=True, exist_ok=True)
    rows = f"file('{source}/*.gz', JSONEachRow, '{READS}')"
    ratio = f"SELECT *, revenue / 1000 AS ratio FROM {rows} WHERE match(country, '{KEPT}')"
    lines = (f"SELECT line FROM file('{source}/*.gz', LineAsString) "
             f"WHERE match(JSONExtractString(line, 'country'), '{KEPT}')")  # fmt: skip
    text = {
        "plain": f"INSERT INTO FUNCTION file('{target}/part.jl.gz', JSONEachRow) {ratio}",
        "grouped": f"INSERT INTO FUNCTION file('{target}/{{_partition_id}}/part.jl.gz', JSONEachRow) PARTITION BY `group` "
        f"{ratio}",
        "lines": f"INSERT INTO FUNCTION file('{target}/{{_partition_id}}/part.jl.gz', TSVRaw, 'line String') "
        f"PARTITION BY JSONExtractString(line, 'group') {lines}",
    }[job]
    if job != "plain":  # It makes no folders.
        for n in range(50):
            (target / f"g{n:02d}").mkdir(exist_ok=True)
            (target / f"g{n}").mkdir(exist_ok=True)
    session = engine.session.Session(str(target / ".session"))
    session.query("SET output_format_json_quote_64bit_integers = 0, output_format_json_escape_forward_slashes = 0, "
                  "input_format_null_as_default = 0, engine_file_allow_create_multiple_files = 1")  # fmt: skip
    session.query(f"{text} SETTINGS output_format_json_quote_64bit_integers = 0, "
                  "output_format_json_escape_forward_slashes = 0, output_format_compression_level = 2")  # fmt: skip
    session.close()


def polars_sales(job: str, source: Path, target: Path) -> None:
    import os

    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl
    from isal import igzip

    if job == "typed":
        pl.scan_csv(source / "*.gz").sink_parquet(target / "part.parquet", compression="zstd")
        return
    column = pl.col
    prices = column("bids").list.eval(pl.element().struct.field("price"))
    rows = pl.scan_parquet(source / "*") if job == "nested" else pl.scan_ndjson(source / "*", infer_schema_length=None)
    found = {
        "wide": lambda: rows.filter(column("left") > 25).select(
            "id", "shop", column("vendor").struct.field("name").alias("vendor"),
            column("bids").list.len().alias("count"), prices.list.min().alias("lowest")),
        "changed": lambda: rows.drop("remark").rename({"shop": "place"}).with_columns(
            worth=column("price") * column("left")).filter(column("worth") > 10),
        "nested": lambda: rows.filter(column("left") < 20),
        "tiny": lambda: rows.filter(column("shop").is_in(["Kyoto", "Perth"])),
        "dedupe": lambda: rows.unique("article", keep="first", maintain_order=True),
    }[job]()  # fmt: skip
    text = io.BytesIO()
    found.collect(engine="streaming").write_ndjson(text)
    (target / "part.jl.gz").write_bytes(igzip.compress(text.getvalue(), 2))


def polars(job: str, source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if job in SALES:
        polars_sales(job, source, target)
        return
    import polars as pl
    from isal import igzip

    parts: dict[str, list[bytes]] = {}
    for path in sorted(source.iterdir()):
        data = igzip.decompress(path.read_bytes())
        if job == "lines":
            frame = pl.DataFrame({"line": data.decode().splitlines()})
            seen = frame.with_columns(
                pl.col("line").str.json_path_match("$.country").alias("country"),
                pl.col("line").str.json_path_match("$.group").alias("group"),
            ).filter(pl.col("country").str.contains(KEPT))
            for (group,), rows in seen.group_by("group"):
                parts.setdefault(str(group), []).append(("\n".join(rows["line"]) + "\n").encode())
            continue
        frame = pl.read_ndjson(data).filter(pl.col("country").str.contains(KEPT))
        frame = frame.with_columns((pl.col("revenue") / 1000).alias("ratio"))
        if job == "plain":
            parts.setdefault(".", []).append(frame.write_ndjson().encode())
        else:
            for (group,), rows in frame.group_by("group"):
                parts.setdefault(str(group), []).append(rows.write_ndjson().encode())
    for group, texts in parts.items():
        (target / group).mkdir(exist_ok=True)
        (target / group / "part.jl.gz").write_bytes(igzip.compress(b"".join(texts), 2))


SALES = {
    "wide": "SELECT id, shop, vendor.name AS vendor, len(bids) AS count, list_min([bid.price FOR bid IN bids]) AS lowest "
    'FROM rows WHERE "left" > 25',
    "changed": 'SELECT * EXCLUDE (remark, shop), shop AS place, price * "left" AS worth FROM rows WHERE worth > 10',
    "typed": "SELECT * FROM rows",
    "nested": 'SELECT * FROM rows WHERE "left" < 20',
    "tiny": "SELECT * FROM rows WHERE shop IN ('Kyoto', 'Perth')",
    "dedupe": "SELECT * FROM rows QUALIFY row_number() OVER (PARTITION BY article) = 1",
    "groups": "SELECT *, vendor.name AS part FROM rows",
}
"""Jobs of sales.py, for DuckDB."""


def duckdb_sales(job: str, source: Path, target: Path) -> None:
    import duckdb as engine

    read = {"typed": "read_csv", "nested": "read_parquet"}.get(job, "read_json_auto")
    to, how = {
        "typed": ("/part.parquet", "FORMAT parquet, COMPRESSION zstd"),
        "groups": (
            "",
            "FORMAT json, COMPRESSION gzip, PARTITION_BY (part), FILE_EXTENSION 'jl.gz', OVERWRITE_OR_IGNORE",
        ),
    }.get(job, ("/part.jl.gz", "FORMAT json, COMPRESSION gzip"))
    engine.execute("SET threads = 1")
    engine.execute(f"COPY (WITH rows AS (FROM {read}('{source}/*')) {SALES[job]}) TO '{target}{to}' ({how})")


def duckdb(job: str, source: Path, target: Path) -> None:
    import duckdb as engine

    target.mkdir(parents=True, exist_ok=True)
    if job in SALES:
        duckdb_sales(job, source, target)
        return
    ratio = (f"SELECT *, revenue / 1000 AS ratio FROM read_json('{source}/*.gz', format = 'newline_delimited') "
             f"WHERE regexp_matches(country, '{KEPT}')")  # fmt: skip
    lines = (f"SELECT json AS line, json->>'group' AS part FROM read_ndjson_objects('{source}/*.gz') "
             f"WHERE regexp_matches(json->>'country', '{KEPT}')")  # fmt: skip
    if job == "plain":
        engine.execute(f"COPY ({ratio}) TO '{target}/part.jl.gz' (FORMAT json, COMPRESSION gzip)")
    elif job == "grouped":
        engine.execute(f"COPY (SELECT *, \"group\" AS part FROM ({ratio})) TO '{target}' (FORMAT json, COMPRESSION gzip, "
                       "PARTITION_BY (part), FILE_EXTENSION 'jl.gz', OVERWRITE_OR_IGNORE)")  # fmt: skip
    else:
        engine.execute(f"COPY ({lines}) TO '{target}' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', "
                       "COMPRESSION gzip, PARTITION_BY (part), FILE_EXTENSION 'jl.gz', OVERWRITE_OR_IGNORE)")  # fmt: skip


def dlt(job: str, source: Path, target: Path) -> None:
    """dlt's filesystem destination; nested values stay as they are."""
    import gzip
    import re

    import dlt as tool
    import orjson

    kept = re.compile(KEPT).match

    def records() -> Iterator[list[dict[str, Any]]]:
        for path in sorted(source.iterdir()):
            batch = []
            with gzip.open(path) as lines:
                for line in lines:
                    record = orjson.loads(line)
                    if record.get("country") and kept(record["country"]):
                        record["ratio"] = record["revenue"] / 1000
                        batch.append(record)
                    if len(batch) == 10_000:
                        yield batch
                        batch = []
            yield batch

    pipeline = tool.pipeline("plain", destination=tool.destinations.filesystem(str(target)), dataset_name="out",
                             pipelines_dir=str(target / ".state"))  # fmt: skip
    resource = tool.resource(records, name="records", max_table_nesting=0)
    pipeline.run(resource, loader_file_format="jsonl")
    for path in (target / "out").iterdir():  # its own tables are no records
        if path.name != "records":
            path.rename(path.with_name(f".{path.name}")) if path.is_dir() else path.unlink()


SYSTEMS = {"chdb": chdb, "polars": polars, "duckdb": duckdb, "dlt": dlt}

if __name__ == "__main__":
    system, job, source, target = sys.argv[1:]
    SYSTEMS[system](job, Path(source), Path(target))
