"""Write input for the jobs of sales.py: sales of shops, about 330 bytes each, in shapes that are not tuned for.

    python benchmarks/make_sales.py sales 400000 DIR     JSON lines, gzip, 4 files
    python benchmarks/make_sales.py wide 120000 DIR      the same with 12 bids and 40 features each, about 3 KB
    python benchmarks/make_sales.py small 100000 DIR     the same sales, 25 in a file
    python benchmarks/make_sales.py flat 600000 DIR      what is flat of them as CSV, gzip, 4 files
    python benchmarks/make_sales.py structs 600000 DIR   Parquet with zstd, the vendor as a struct, 4 files

Equal arguments give equal records. Lines look as Python's `json.dumps` writes them. `article` is hardly ever twice the
same, `vendor.name` has 5,000 values, `left` is 0 to 39, `remark` is null in six of seven records.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILES, ROWS_OF_SMALL = 4, 25
SHOPS = ("Malmö", "Graz", "Porto", "Kyoto", "Łomża", "Quito", "Accra", "Perth")
WORDS = ("round", "green", "light", "small", "early", "warm", "plain")
FLAT = ("id", "article", "shop", "price", "left", "at", "text")


def sales(first: int, count: int, wide: bool = False) -> Iterator[dict[str, Any]]:
    """Sales `first` to `first + count`."""
    rng = random.Random(first)
    for number in range(first, first + count):
        sale: dict[str, Any] = {
            "id": f"s-{number:09}",
            "article": rng.randrange(10**9),
            "shop": rng.choice(SHOPS),
            "price": round(rng.uniform(1, 800), 2),
            "left": rng.randrange(40),
            "at": f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}T{rng.randrange(24):02}:30:00Z",
            "text": " ".join(rng.choices(WORDS, k=6)),
            "vendor": {"name": f"v{rng.randrange(5000):04}", "score": rng.random(),
                       "labels": ["x", "y", "z"][: rng.randrange(4)]},
            "remark": "call back" if number % 7 == 0 else None,
        }  # fmt: skip
        if wide:
            sale["bids"] = [{"from": f"bidder{n}", "price": round(rng.uniform(1, 800), 2), "firm": n % 3 == 0,
                             "link": f"https://bids.example/{n}/{rng.randrange(10**9)}"} for n in range(12)]  # fmt: skip
            sale.update((f"feature_{n}", f"{rng.choice(WORDS)} {rng.randrange(1000)} of feature {n}") for n in range(40))
        yield sale


def write(kind: str, records: int, folder: Path) -> None:
    """Write the records in contiguous blocks: the first file holds the first block."""
    folder.mkdir(parents=True, exist_ok=True)
    files = max(1, records // ROWS_OF_SMALL) if kind == "small" else FILES
    for number in range(files):
        first = records * number // files
        found = sales(first, records * (number + 1) // files - first, kind == "wide")
        name = f"input-{number:05}"
        if kind == "structs":
            table(list(found), folder / f"{name}.parquet")
            continue
        with gzip.open(folder / f"{name}.{'csv' if kind == 'flat' else 'jl'}.gz", "wb", compresslevel=3) as out:
            out.write((as_csv(found) if kind == "flat" else as_lines(found)).encode())


def as_lines(found: Iterator[dict[str, Any]]) -> str:
    return "".join(json.dumps(sale, ensure_ascii=False) + "\n" for sale in found)


def as_csv(found: Iterator[dict[str, Any]]) -> str:
    text = io.StringIO()
    rows = csv.DictWriter(text, FLAT, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows(found)
    return text.getvalue()


def table(found: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    rows = pa.Table.from_pylist([{key: sale[key] for key in (*FLAT, "vendor")} for sale in found])
    write_table(rows, path, compression="zstd", row_group_size=50_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("sales", "wide", "small", "flat", "structs"))
    parser.add_argument("records", type=int)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    write(options.kind, options.records, options.folder)


if __name__ == "__main__":
    main()
