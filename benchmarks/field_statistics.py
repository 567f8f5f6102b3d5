"""What the section `statistics` costs: CPU of whole exports with it and without.

    python benchmarks/field_statistics.py [RECORDS]

Each job runs in this process, with a third of the records and with all, so that what every run costs is left out; in each round
without statistics and with them, in turn. What is printed is of the least of each over
the rounds: what else the machine does only adds to it.
"""

from __future__ import annotations

import csv
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import exporters_beam

ROUNDS = 5

LOOKED: tuple[Any, ...] = (None, True, ["price"])
"""What the section `statistics` says."""


def record(n: int) -> dict[str, Any]:
    return {
        "id": n, "name": f"Item {n}", "price": n % 900 + 0.5, "stock": n % 40, "email": f"user{n}@example.org", "city": "Vejle",
        "seller": {"town": f"Town {n % 70}", "vat": "DK1"}, "offers": [{"price": n}, {"price": n + 1}], "text": "x" * 200,
        "day": "2025-12-31", "note": None, "new": n % 2 == 0,
    }  # fmt: skip


def flat(n: int) -> dict[str, Any]:
    return {name: value for name, value in record(n).items() if not isinstance(value, (dict, list))}


def make_input(folder: Path, count: int) -> None:
    """The same records as JSON lines, and without what is nested as CSV and as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    with open(folder / "in.jl", "w") as file:
        file.writelines(json.dumps(record(n)) + "\n" for n in range(count))
    with open(folder / "in.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(flat(0)))
        writer.writeheader()
        writer.writerows(map(flat, range(count)))
    pq.write_table(pa.Table.from_pylist([flat(n) for n in range(count)]), folder / "in.parquet", row_group_size=20_000)


JOBS: dict[str, dict[str, Any]] = {
    "JSON lines, handed on": {"input": "in.jl", "deserializer": "jsonlines"},
    "JSON lines, changed": {
        "input": "in.jl", "deserializer": "jsonlines",
        "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(gross=item.pop('price') * 1.08)"]}},
    },
    "CSV to JSON lines": {"input": "in.csv", "deserializer": "csv"},
    "CSV to Parquet": {"input": "in.csv", "deserializer": "csv", "formatter": "parquet"},
    "Parquet to Parquet": {"input": "in.parquet", "deserializer": "parquet", "formatter": "parquet"},
}  # fmt: skip


def taken(folder: Path, job: dict[str, Any], statistics: Any) -> float:
    """Seconds of CPU."""
    sections = {name: part for name, part in job.items() if name != "input"}
    out = folder / "out"
    begun = time.process_time()
    exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": str(folder / job["input"])}},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-"}},
        "statistics": statistics,
        **sections,
    })  # fmt: skip
    found = time.process_time() - begun
    shutil.rmtree(out)
    return found


def main(count: int) -> None:
    logging.disable()
    place = Path(tempfile.mkdtemp())
    make_input(place / "few", count // 3)
    make_input(place / "all", count)
    for job in JOBS.values():  # so that everything is imported
        taken(place / "few", job, True)
    print(f"{'':<24} {'without':>10} {'with':>10} {'ratio':>7} {'price alone':>12}   (µs of CPU a record)")
    for name, job in JOBS.items():
        least = {(size, n): float("inf") for size in ("few", "all") for n in range(len(LOOKED))}
        for _ in range(ROUNDS):
            for size, n in least:
                least[size, n] = min(least[size, n], taken(place / size, job, LOOKED[n]))
        costs = [(least["all", n] - least["few", n]) / (count - count // 3) * 1e6 for n in range(len(LOOKED))]
        without, looked, one = costs
        print(f"{name:<24} {without:>8.2f}µs {looked:>8.2f}µs {looked / without:>7.2f} {one / without:>12.2f}", flush=True)
    shutil.rmtree(place)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 90_000)
