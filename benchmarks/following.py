"""What a batch costs in a process that follows: one that finds nothing, and one of 1,000 records.

    python benchmarks/following.py [--batches 100]

Prints the median seconds of an empty look and of a batch (wall and CPU), and memory, threads and open files at the beginning
and at the end of all batches.
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

from exporters_beam.config.spec import load
from exporters_beam.runners.chains import opened
from exporters_beam.runners.launch import run


def memory() -> int:
    """MiB that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20


def state() -> str:
    return f"{memory()} MiB, {threading.active_count()} threads, {len(os.listdir('/proc/self/fd'))} files"


def main() -> None:
    import gc

    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").mkdir()
        config = {
            "reader": {"name": "fs", "options": {"input": {"dir": f"{folder}/in"}}},
            "new_only": True,
            "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/items-{{batch:06d}}-"}},
        }
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
