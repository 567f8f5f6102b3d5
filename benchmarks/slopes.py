"""Loops beside exports, at two sizes: whole runs, and what a record more takes of each, which leaves start-up out.

Loops and exports run as processes of their own. On a machine that others use, too, the least CPU seconds of several rounds say
most: `--rounds`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

Figures = tuple[float, float, float]
"""Wall seconds, CPU seconds and the peak of memory in MiB."""

Pair = tuple[Figures, Figures]
"""The loop's and the export's."""

FIRST = 10
"""The smaller size is this part of the other one."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=1, help="how often; the least CPU seconds count")


def compare(run: Callable[[int, Path], Mapping[str, Pair]], records: int, rounds: int) -> None:
    """Runs at both sizes, and prints what they took. `run` gets the number of records and a folder that is its own."""
    sizes = (records // FIRST, records)
    found: dict[tuple[str, int], list[Pair]] = {}
    for _ in range(rounds):
        for size in sizes:
            folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
            try:
                for name, pair in run(size, folder).items():
                    found.setdefault((name, size), []).append(pair)
            finally:
                shutil.rmtree(folder)
    print(f"{'records':>20}        wall     CPU   MiB")
    for (name, size), pairs in found.items():
        for kind, n in (("loop", 0), ("export", 1)):
            wall, cpu, memory = min((pair[n] for pair in pairs), key=lambda figures: figures[1])
            print(f"{name:6} {kind:6} {size:9,} {wall:8.1f} s {cpu:6.2f} s {memory:5.0f}")
    for name in dict.fromkeys(name for name, _ in found):
        (loop, export), (more_loop, more_export) = (
            [min(pair[n][1] for pair in found[name, size]) for n in (0, 1)] for size in sizes
        )
        each = [(more - less) / (sizes[1] - sizes[0]) * 1e6 for less, more in ((loop, more_loop), (export, more_export))]
        print(f"{name}: loop over export, CPU: whole {more_loop / more_export:.2f}, "
              f"a record more {each[0] / each[1]:.2f} ({each[0]:.1f} and {each[1]:.1f} µs)")  # fmt: skip
