"""Compare this checkout with another one: the CPU that exports of both take a record, in turn, as ratios this / other.

    git worktree add /tmp/before v0.1.0 && python benchmarks/against.py /tmp/before
    python benchmarks/against.py OTHER --only plain,csv --runs 5 --records 400000

A slope between a third of the records and all of them leaves start-up out; the ratio of start-up stands in a column of its own.
Printed are the minimum, the median and the maximum over the rounds. Both run in the Python that runs this.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from measure import run
from run import BENCHMARKS, EXPORT, JOBS, ROOT, Bench, say

HERE, OTHER = "this", "other"


def cpu(bench: Bench, checkout: Path, job: str, records: int) -> float:
    """CPU seconds of one export, with the code of a checkout."""
    source, target = bench.source(job, records), bench.output()
    given = [part for value in (f"input={source}", f"output={target}") for part in ("--var", value)]
    grouped = ["--var", "key=group"] if job == "grouped" else []
    config = str(BENCHMARKS / "configs" / f"{job}.yaml")
    # `python -m` looks in the folder that it runs in first.
    return run([*EXPORT, "run", config, "--workers=1", *given, *grouped], bench.work / "last.log", checkout).cpu


def rounds(bench: Bench, checkouts: dict[str, Path], job: str) -> Iterator[tuple[float, float]]:
    """Of each round, this over the other: the slope, and what is left of the smaller run without it."""
    small, large = bench.sizes_of(job)
    for number in range(bench.rounds):
        taken = {}
        for side in (HERE, OTHER) if number % 2 == 0 else (OTHER, HERE):
            few, many = (cpu(bench, checkouts[side], job, records) for records in (small, large))
            a_record = (many - few) / (large - small)
            taken[side] = a_record, few - a_record * small
        yield taken[HERE][0] / taken[OTHER][0], taken[HERE][1] / taken[OTHER][1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--only", default=",".join(JOBS), help=f"jobs, joined by commas: {','.join(JOBS)}")
    parser.add_argument("--runs", type=int, default=3, help="rounds (3)")
    parser.add_argument("--records", type=int, default=1_200_000, help="records of the larger run (1,200,000)")
    parser.add_argument("--work", type=Path, default=ROOT / ".cache/benchmarks", help="folder for input and output")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench((options.records // 3, options.records), options.runs, options.work.resolve())
    checkouts = {HERE: ROOT, OTHER: options.other.resolve()}
    print(f"{'this / other':44} | {'CPU a record':20} | start-up")
    for job in options.only.split(","):
        found = list(rounds(bench, checkouts, job))
        slopes, starts = ([pair[at] for pair in found] for at in (0, 1))
        shown = ", ".join(f"{figure(slopes):.3f}" for figure in (min, median, max))
        print(f"{JOBS[job].text[:44]:44} | {shown:20} | {median(starts):.2f}", flush=True)
        say(f"{job}: done")


if __name__ == "__main__":
    main()
