"""What a batch costs in a process that follows: one that finds nothing, and one of 1,000 records.

    python benchmarks/following.py [--batches 100] [--day]

Prints the median seconds of an empty look and of a batch (wall and CPU), and memory, threads and open files at the beginning
and at the end of all batches. `--day` goes through the 8,640 batches of a day with one every ten seconds, of a file each:
all that is done for a batch but its pipeline, in whose place the manifest is written. It prints what a batch takes, and to open
the books anew, in the course of the day, and what the books and the process have grown to.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from exporters_beam.config.export import ExportSpec
from exporters_beam.config.spec import load
from exporters_beam.files import write_whole
from exporters_beam.planning.plan import make_each
from exporters_beam.reporting.chain import CHAIN, about_link, batch_folder
from exporters_beam.reporting.manifest import manifest_checksum, manifest_text
from exporters_beam.reporting.report import Report
from exporters_beam.runners.chains import folder_of, opened
from exporters_beam.runners.launch import run
from exporters_beam.staging.listing import listed_before


def memory() -> int:
    """MiB that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20


def state() -> str:
    return f"{memory()} MiB, {threading.active_count()} threads, {len(os.listdir('/proc/self/fd'))} files"


def config_in(folder: str, **more: Any) -> dict[str, Any]:
    (Path(folder) / "in").mkdir()
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": f"{folder}/in"}}},
        "new_only": True,
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/items-{{batch:06d}}-"}},
        **more,
    }


def only_told(spec: ExportSpec) -> Report:
    """In the place of a pipeline: the manifest of a batch, as if all of it had been delivered in one file."""
    (plan,) = make_each(spec)
    assert spec.link is not None
    books = batch_folder(folder_of(plan), spec.link.number)
    units = listed_before(books) or []
    name = f"{spec.writer.options['filebase']}0000.jl.gz".replace("{batch:06d}", f"{spec.link.number:06d}")
    manifest: dict[str, Any] = {
        "export": plan.export_id, CHAIN: about_link(spec.link), "counts": {"read": 1000, "written": 1000}, "warnings": [],
        "units": [{"name": unit.name, "bytes": unit.size, "etag": unit.etag} for unit in units],
        "files": [{"name": name, "group": [], "records": 1000, "bytes": 20_000, "md5": "0" * 32}],
    }  # fmt: skip
    manifest["checksum"] = manifest_checksum(manifest)
    write_whole(f"{books}/manifest.json", manifest_text(manifest))
    return Report("done", counts=manifest["counts"])


def day(batches: int = 8640) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = config_in(folder, after="delete")
        turns: list[float] = []
        for part in range(3):
            begun = time.monotonic()
            with opened(load(config)) as chain:
                opening = time.monotonic() - begun
                for n in range(batches // 3):
                    (Path(folder) / f"in/{part}-{n}.jl").write_text("{}\n")
                    begun = time.monotonic()
                    assert chain.turn(only_told).written == 1000
                    turns.append(time.monotonic() - begun)
                    if n == 99 or n == batches // 3 - 1:
                        last = statistics.median(turns[-100:])
                        print(f"batch {len(turns):>5,}: {last * 1000:.1f} ms for all but the pipeline; {state()}")
            files = sum(len(files) for _, _, files in os.walk(f"{folder}/out/.exporters"))
            size = sum(path.stat().st_size for path in Path(f"{folder}/out/.exporters").rglob("*") if path.is_file())
            print(f"books: opened in {opening * 1000:.1f} ms; after {len(turns):,} batches {files} files, {size >> 10:,} KiB")


def main() -> None:
    import gc

    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--day", action="store_true")
    args = parser.parse_args()
    if args.day:
        day()
        return
    with tempfile.TemporaryDirectory() as folder:
        config = config_in(folder)
        line = json.dumps({"name": "a thing", "price": 12.5, "tags": ["a", "b"], "text": "x" * 200})
        empty, walls, cpus, before = [], [], [], ""
        with opened(load(config)) as chain:
            for n in range(args.batches):
                (Path(folder) / f"in/{n}.jl").write_text(f"{line}\n" * 1000)
                wall, cpu = time.monotonic(), time.process_time()
                assert chain.turn(run).written == 1000
                walls.append(time.monotonic() - wall)
                cpus.append(time.process_time() - cpu)
                gc.collect()
                wall = time.monotonic()
                assert chain.turn(run).note
                empty.append(time.monotonic() - wall)
                if n == args.batches // 10:
                    before = state()
        print(f"nothing new: {statistics.median(empty):.4f} s")
        wall, cpu = statistics.median(walls[1:]), statistics.median(cpus[1:])
        print(f"1,000 records: {wall:.3f} s, CPU {cpu:.3f} s; the first {walls[0]:.2f} s")
        print(f"after {args.batches // 10} batches: {before}; after {args.batches}: {state()}")
        print(f"books: {sum(len(files) for _, _, files in os.walk(f'{folder}/out/.exporters'))} files")


if __name__ == "__main__":
    main()
