"""Exports into and out of BigQuery beside the best hand-written loops with Google's clients, orjson and gzip.

    python benchmarks/bigquery.py [--records 200000]

Both speak with the service of our tests, which is a process of its own and slower than they are, so CPU seconds are what can be
compared. Into: JSON lines, gzip → a table, by load jobs. Out: the table → JSON lines, gzip.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests" / "systems")]

from measure import apart  # noqa: E402
from slopes import Pair, arguments, compare  # noqa: E402
from sql import make_input, records, told  # noqa: E402

TABLE = "shop.sales.products"
KINDS = {"id": "INTEGER", "price": "FLOAT", "stock": "INTEGER", "active": "BOOLEAN", "added": "DATE"}
FIELDS: list[dict[str, Any]] = [
    {"name": name, "type": KINDS.get(name, "STRING"), "mode": "REPEATED" if name == "tags" else "NULLABLE"}
    if name != "seller" else {"name": "seller", "type": "RECORD", "mode": "NULLABLE",
                              "fields": [{"name": each, "type": "STRING", "mode": "NULLABLE"} for each in ("name", "town")]}
    for name in ("id", "sku", "name", "price", "stock", "seller", "tags", "added", "active")
]  # fmt: skip


def client(url: str) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    return bigquery.Client("shop", AnonymousCredentials(), client_options={"api_endpoint": url}, location="EU")


def loop_into(url: str, storage_url: str, path: str) -> None:
    import orjson
    from google.cloud import bigquery
    from isal import igzip

    there = client(url)
    config = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", create_disposition="CREATE_NEVER")
    lines: list[bytes] = []

    def load() -> None:
        body = b"\n".join(lines) + b"\n"
        there.load_table_from_file(io.BytesIO(body), TABLE, size=len(body), job_config=config).result()
        lines.clear()

    for line in io.BufferedReader(igzip.open(path), 1 << 18):
        lines.append(orjson.dumps(orjson.loads(line)))
        if len(lines) == 100_000:
            load()
    if lines:
        load()


def loop_out(url: str, storage_url: str, path: str) -> None:
    import grpc
    import orjson
    import pyarrow as pa
    from google.cloud import bigquery_storage_v1 as storage
    from isal import igzip

    transport = storage.BigQueryReadClient.get_transport_class("grpc")
    there = storage.BigQueryReadClient(transport=transport(channel=grpc.insecure_channel(storage_url.partition("://")[2])))
    table = "projects/shop/datasets/sales/tables/products"
    session = there.create_read_session(parent="projects/shop", read_session={"table": table, "data_format": "ARROW"})
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    with io.BufferedWriter(igzip.IGzipFile(path, "wb", compresslevel=2, mtime=0), 1 << 17) as out:
        for stream in session.streams:
            for message in there.read_rows(stream.name):
                batch = pa.ipc.read_record_batch(pa.py_buffer(message.arrow_record_batch.serialized_record_batch), schema)
                for record in batch.to_pylist():
                    out.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--loop", nargs=4)
    arguments(parser)
    given = parser.parse_args()
    if given.loop:
        name, *where = given.loop
        {"into": loop_into, "out": loop_out}[name](*where)
        return
    compare(run, given.records, given.rounds)


def run(count: int, folder: Path) -> dict[str, Pair]:
    from bigquery_service import Service

    make_input(folder / "in.jl.gz", count)
    service = Service()
    service.message_rows = 5000
    service.put(TABLE, FIELDS, [])
    into = {"reader": {"name": "fs", "options": {"input": str(folder / "in.jl.gz")}},
            "writer": {"name": "bigquery", "options": {"table": TABLE, "endpoint": service.url, "location": "EU"}}}  # fmt: skip
    source = {"table": TABLE, "endpoint": service.url, "storage_endpoint": service.storage_url}
    out = {"reader": {"name": "bigquery", "options": source},
           "writer": {"name": "fs", "options": {"filebase": str(folder / "out" / "part-")}}}  # fmt: skip
    found = {}
    for name, config, path in (("into", into, "in.jl.gz"), ("out", out, "loop.jl.gz")):
        (folder / f"{name}.json").write_text(json.dumps(config))
        where = [service.url, service.storage_url, str(folder / path)]
        loop = apart([sys.executable, __file__, "--loop", name, *where])
        if name == "into":
            service.put(TABLE, FIELDS, [])
        export = apart([sys.executable, "-m", "exporters_beam", "run", str(folder / f"{name}.json"), "--quiet",
                           "--workers", "1"])  # fmt: skip
        found[name] = (loop, export)
    chosen = ("id", "sku", "price", "seller", "tags")
    both = zip(service.tables[TABLE].rows, records(count), strict=True)
    differ = sum(any(row[name] != record[name] for name in chosen) for row, record in both)
    told(count, differ, folder)
    service.stop()
    return found


if __name__ == "__main__":
    main()
