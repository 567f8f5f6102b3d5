"""Write benchmark input: nested company records, about 265 bytes each, in 8 files.

    python benchmarks/make_input.py jl 1000000 DIR     JSON lines, gzip
    python benchmarks/make_input.py csv 1000000 DIR    the same companies as 9 flat columns, CSV, gzip
    python benchmarks/make_input.py text 1000000 DIR   JSON lines, not compressed, what Beam YAML can read
    python benchmarks/make_input.py parquet 1000000 DIR    20 flat columns, the same 9 and 11 more, Parquet with zstd

Equal arguments give equal records. Lines look as Python's `json.dumps` writes them: a space after `,` and `:`,
non-ASCII letters as \\uXXXX. `country` is 'Spain' or 'United Kingdom' in 24 % of the records, `group` has 50 values,
`city.district` 1,000; `employees` is null in 5 % of the records and missing in another 5 %. In `text` it is
always there, and the first key is `key`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

FILES = 8
COLUMNS = ("_key", "name", "country", "country_code", "group", "city", "employees", "revenue", "founded")

COUNTRIES = {"United States": "us", "Spain": "es", "United Kingdom": "uk", "Germany": "de", "France": "fr",
             "Japan": "jp", "Brasil": "br"}  # fmt: skip
SHARES = (40, 12, 12, 12, 10, 8, 6)
CITIES = ("Alacant", "Lleida", "Zürich", "New York", "Los Angeles", "大阪市", "São Paulo", "Sheffield", "València",
          "Bordeaux")  # fmt: skip
NAMES = ("Adler", "Bright", "Castaño", "Delta Nine", "Ebner", "Fjord", "Grünwald", "Harbour, Lee", "Ionic", "Juniper",
         "Kestrel", "Lopez", "Meridian")  # fmt: skip
ENDINGS = ("Works", "Partners", "Labs", "Holding", "Systems", "Bakery", "GmbH", "e Hijos", "Press", "Freight")
TAGS = ("b2b", "saas", "toys", "food", "iot", "fintech", "health", "travel")
TAG_LISTS = ((), *((tag,) for tag in TAGS), *pairwise(TAGS), TAGS[2:5])

LINE = (
    '{"_key": "c-%09d", "name": %s, "country": "%s", "country_code": "%s", "group": "g%02d", '
    '"city": {"name": %s, "district": "d%03d"}, %s"revenue": %s, "founded": %d, "active": %s, "tags": %s}\n'
)


def companies(count: int, seed: int) -> Iterator[tuple[Any, ...]]:
    """`count` companies as (name, country, group, city, district, employees, revenue, founded, active, tags).

    `employees` is -1 where it is null and below that where it is missing. Drawn in batches, which is faster.
    """
    rng = random.Random(seed)
    names = [f"{first} {last}" for first in NAMES for last in ENDINGS]
    while count > 0:
        k = min(count, 10_000)
        count -= k
        yield from zip(
            rng.choices(names, k=k),
            rng.choices(list(COUNTRIES), SHARES, k=k),
            rng.choices(range(50), k=k),
            rng.choices(CITIES, k=k),
            rng.choices(range(1000), k=k),
            (x if x >= 0 else min(-1, x + 1000) for x in rng.choices(range(-2000, 18_000), k=k)),
            (round(1e3 + x * 1e8, 2) for x in (rng.random() for _ in range(k))),
            rng.choices(range(1900, 2017), k=k),
            rng.choices((True, True, True, False), k=k),
            rng.choices(TAG_LISTS, k=k),
            strict=True,
        )


def json_lines(first: int, count: int, simple: bool = False) -> Iterator[str]:
    """The lines of records `first` to `first + count`; simple ones have `key` for `_key`, and always `employees`."""
    text = {value: json.dumps(value) for value in (*CITIES, *TAG_LISTS, True, False)}
    text.update((name, json.dumps(name)) for name in {f"{a} {b}" for a in NAMES for b in ENDINGS})
    line = LINE.replace("_key", "key") if simple else LINE
    for number, company in enumerate(companies(count, first), first):
        name, country, group, city, district, employees, revenue, founded, active, tags = company
        if employees >= 0 or simple:
            staff = f'"employees": {employees}, '
        else:
            staff = '"employees": null, ' if employees == -1 else ""
        yield line % (number, text[name], country, COUNTRIES[country], group, text[city], district, staff,
                      revenue, founded, text[active], text[tags])  # fmt: skip


def csv_lines(first: int, count: int) -> Iterator[str]:
    """The header, then the same companies as flat rows; names with a comma are quoted."""
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(COLUMNS)
    for number, company in enumerate(companies(count, first), first):
        name, country, group, city, _, employees, revenue, founded, _, _ = company
        key, code, staff = f"c-{number:09}", COUNTRIES[country], employees if employees >= 0 else ""
        rows.writerow((key, name, country, code, f"g{group:02}", city, staff, revenue, founded))
        if buffer.tell() > 1 << 20:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def table(first: int, count: int, path: Path) -> None:
    """The same companies as 20 flat columns, in row groups of 100,000."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    rng = random.Random(first)
    out = None
    for number, group in enumerate(range(first, first + count, 100_000)):
        rows = list(companies(min(100_000, first + count - group), first + number))
        names, countries, groups, cities, districts, staff, revenues, founded, active, tags = zip(*rows, strict=True)
        columns = {
            "_key": [f"c-{n:09}" for n in range(group, group + len(rows))],
            "name": names, "country": countries, "country_code": [COUNTRIES[country] for country in countries],
            "group": [f"g{n:02}" for n in groups], "city": cities, "employees": [n if n >= 0 else None for n in staff],
            "revenue": revenues, "founded": founded, "active": active, "district": districts,
            "tag": [found[0] if found else None for found in tags],
            **{f"figure_{i}": [rng.random() for _ in rows] for i in range(4)},
            **{f"code_{i}": [f"{rng.getrandbits(40):010x}" for _ in rows] for i in range(4)},
        }  # fmt: skip
        columns_of_group = pa.table(columns)
        out = out or ParquetWriter(path, columns_of_group.schema, compression="zstd")
        out.write_table(columns_of_group)
    if out:
        out.close()


def write(kind: str, records: int, folder: Path) -> None:
    """Write the records in contiguous blocks: the first file holds the first block."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        first = records * number // FILES
        count = records * (number + 1) // FILES - first
        if kind == "parquet":
            table(first, count, folder / f"input-{number:02}.parquet")
            continue
        if kind == "text":
            with open(folder / f"input-{number:02}.jl", "w", encoding="utf-8") as plain:
                plain.writelines(json_lines(first, count, simple=True))
            continue
        lines = json_lines(first, count) if kind == "jl" else csv_lines(first, count)
        # zlib's level 6 takes longer than isal would, but it is what most files of this kind were written with.
        raw = gzip.GzipFile(folder / f"input-{number:02}.{kind}.gz", "wb", compresslevel=6, mtime=0)
        with io.TextIOWrapper(io.BufferedWriter(raw, 1 << 20), encoding="utf-8", newline="") as packed:
            packed.writelines(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("jl", "csv", "text", "parquet"))
    parser.add_argument("records", type=int)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    write(options.kind, options.records, options.folder)


if __name__ == "__main__":
    main()
