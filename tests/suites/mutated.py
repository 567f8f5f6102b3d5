"""Reads Parquet files that were damaged at random, in a process of its own with a bound on memory, and counts what comes of it.

python mutated.py SEED TIMES
"""

from __future__ import annotations

import datetime
import io
import json
import random
import resource
import sys
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exporters_beam.errors import SourceError
from exporters_beam.formats.parquet import ParquetDeserializer
from exporters_beam.records import Skipped
from exporters_beam.transforms.filters import KeyValueFilter

DAY = datetime.datetime(2026, 1, 31)
ROWS: list[dict[str, Any]] = [
    {
        "id": n, "text": f"text {n % 13}", "list": [n, None] * (n % 3), "inner": {"a": n / 7, "b": ["x"] * (n % 2)},
        "cost": Decimal(n) / 100, "when": DAY + datetime.timedelta(hours=n), "raw": bytes([n]) * (n % 5), "ok": n % 2 == 0,
        "map": [("k", n)] if n % 4 else None,
    }
    for n in range(60)
]  # fmt: skip
WANTED = [{**row, "map": dict(row["map"]) if row["map"] else None} for row in ROWS]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("text", pa.string()), ("list", pa.list_(pa.int32())),
        ("inner", pa.struct([("a", pa.float64()), ("b", pa.list_(pa.string()))])), ("cost", pa.decimal128(10, 2)),
        ("when", pa.timestamp("us")), ("raw", pa.binary()), ("ok", pa.bool_()), ("map", pa.map_(pa.string(), pa.int64())),
    ]
)  # fmt: skip
OPTIONS: tuple[dict[str, Any], ...] = (
    {"compression": "zstd"},
    {"compression": "none"},
    {"data_page_version": "2.0", "compression": "snappy"},
    {"use_dictionary": False, "compression": "gzip", "write_page_index": True},
    {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY", "id": "DELTA_BINARY_PACKED"}},
)


def written(options: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    table = pa.Table.from_pylist(ROWS, SCHEMA)
    pq.write_table(table, out, row_group_size=25, write_page_checksum=True, store_schema=False, **options)
    return out.getvalue()


def damaged(whole: bytes, rng: random.Random) -> tuple[str, bytes]:
    """How, and what it is then."""
    data = bytearray(whole)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    how = rng.choice(["footer", "count", "page", "moved", "cut"])
    if how == "cut":
        return how, bytes(data[: rng.randrange(len(data))])
    if how == "moved":
        a, b, size = rng.randrange(4, len(data)), rng.randrange(4, len(data)), rng.randrange(1, 40)
        data[a : a + size] = data[b : b + size]
    elif how == "count":
        at = rng.randrange(footer, len(data) - 8)
        data[at] = (data[at] + rng.choice((2, -2, 1, -1))) % 256
    else:
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(footer, len(data)) if how == "footer" else rng.randrange(4, footer)
            data[at] ^= 1 << rng.randrange(8)
    return how, bytes(data)


def read(data: bytes, rng: random.Random) -> tuple[list[Any], str]:
    deserializer = ParquetDeserializer()
    if rng.random() < 0.3:
        deserializer = deserializer.in_columns(None)
    if rng.random() < 0.3:
        deserializer = deserializer.skipping(KeyValueFilter(keys=({"name": "id", "value": 7},)).may_keep)
    found: list[Any] = []
    stream = io.BytesIO(data)
    try:
        for row_group in range(deserializer.row_groups(stream)):
            for chunk, _, _ in deserializer.chunks_of(stream, row_group):
                if isinstance(chunk, Skipped):
                    return WANTED, ""
                try:
                    found += deserializer.decode(chunk)
                except Exception:
                    for _, record, _ in deserializer.decode_each(chunk):
                        found.append(record)
                        if isinstance(record, Exception):
                            return found, str(record)
    except SourceError as error:
        return found, str(error)
    return found, ""


def main(seed: int, times: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    rng = random.Random(seed)
    files = [written(options) for options in OPTIONS]
    counts = {"right": 0, "said": 0}
    others: list[list[Any]] = []
    for n in range(times):
        print(n, file=sys.stderr, flush=True)
        how, data = damaged(rng.choice(files), rng)
        found, said = read(data, rng)
        if said:
            counts["said"] += 1
            assert "\n" not in said and len(said) < 700, said
        elif found == WANTED:
            counts["right"] += 1
        else:
            others.append([n, how, len(found)])
    print(json.dumps({**counts, "others": others}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
