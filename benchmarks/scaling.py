"""What more workers, and another runner, make of an export: ratios of wall time, medians of paired rounds.

    python benchmarks/scaling.py --work FOLDER                       one worker process against two, 10,000,000 records
    python benchmarks/scaling.py --work FOLDER --records 30000000 --times 3         the same for each file three times
    python benchmarks/scaling.py --work FOLDER --flink               Flink against local, by the slope of two sizes

With `--flink` a cluster runs already, as `python templates/flink/cluster.py start` leaves it, at its usual ports. The job
is configs/plain.yaml. Both sides of a round run one after the other, in turns; all delivered files are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path
from statistics import median

from run import EXPORT, Bench

ONE, TWO = ("--workers=1",), ("--workers=2",)
FLINK = ("--runner=FlinkRunner", "--flink_master=localhost:8081", "--job_endpoint=localhost:8099",
         "--environment_type=EXTERNAL", "--environment_config=localhost:50000", "--parallelism=1")  # fmt: skip


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--work", type=Path, required=True, help="folder for inputs and outputs")
    asked.add_argument("--records", type=int, default=10_000_000)
    asked.add_argument("--times", type=int, default=1, metavar="N", help="how often the input holds each of its files")
    asked.add_argument("--small", type=int, metavar="N", help="with --flink: the smaller size (default: a fifth)")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--flink", action="store_true")
    given = asked.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    bench = Bench((given.small or given.records // 5, given.records), given.rounds, given.work.resolve())
    if given.flink:
        shortest: dict[tuple[str, int], float] = {}
        ratios = [slope(bench, FLINK, n, shortest) for n in range(given.rounds)]
        print(f"Flink, parallelism 1, wall a record: {shown(ratios)} of local")
        best = {side: a_record(bench, {n: shortest[side, n] for n in bench.sizes}) for side in ("other", "local")}
        print(f"by the shortest walls: Flink {best['other'] * 1e6:.2f} µs a record, local {best['local'] * 1e6:.2f}")
        return
    ratios = []
    for n in range(given.rounds):
        sides = {"one": ONE, "two": TWO}
        walls = {}
        for side in sides if n % 2 == 0 else reversed(sides):
            walls[side] = wall(bench, given.records, sides[side], given.times)
        ratios.append(walls["one"] / walls["two"])
        print(f"round {n + 1}: one process {walls['one']:.1f} s, two {walls['two']:.1f} s", flush=True)
    print(f"{given.records:,} records, {os.cpu_count()} cores, two worker processes: {shown(ratios)} of the speed of one")


def shown(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} × ({min(ratios):.2f}–{max(ratios):.2f})"


def slope(bench: Bench, args: tuple[str, ...], number: int, shortest: dict[tuple[str, int], float]) -> float:
    """Wall seconds a record with these options over those without, start-up apart. Keeps the shortest walls."""
    sides: dict[str, tuple[str, ...]] = {"other": args, "local": ONE}
    found = {}
    for side in sides if number % 2 == 0 else reversed(sides):
        walls = {records: wall(bench, records, sides[side]) for records in bench.sizes}
        for records, seconds in walls.items():
            shortest[side, records] = min(seconds, shortest.get((side, records), seconds))
        found[side] = a_record(bench, walls)
        print(f"round {number + 1}, {side}: {found[side] * 1e6:.2f} µs a record", flush=True)
    return found["other"] / found["local"]


def a_record(bench: Bench, walls: dict[int, float]) -> float:
    small, large = bench.sizes
    return (walls[large] - walls[small]) / (large - small)


DELIVERED: dict[int, str] = {}


def wall(bench: Bench, records: int, args: tuple[str, ...], times: int = 1) -> float:
    """Seconds of one export. Raises SystemExit where it delivers other bytes than those before it."""
    source, target = bench.input("jl", records, times), bench.output()
    config = Path(__file__).with_name("configs") / "plain.yaml"
    command = ["run", str(config), "--var", f"input={source}", "--var", f"output={target}", *args]
    figures = bench.run([*EXPORT, *command])
    digest = hashlib.md5(usedforsecurity=False)
    for path in sorted(target.glob("part-*")):
        digest.update(path.name.encode() + path.read_bytes())
    if DELIVERED.setdefault(records, digest.hexdigest()) != digest.hexdigest():
        raise SystemExit(f"{records:,} records: {args} delivers other bytes")
    return figures.wall


if __name__ == "__main__":
    main()
