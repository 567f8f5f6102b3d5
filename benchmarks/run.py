"""Measure exporters_beam and print a table of ratios. README.md beside this file says how they are made.

python benchmarks/run.py                          everything, about 20 minutes
python benchmarks/run.py --small                  a smoke test with 100,000 and 300,000 records
python benchmarks/run.py --only plain,grouped     some sections
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import others
from measure import CommandFailed, Figures, run

BENCHMARKS = Path(__file__).resolve().parent
ROOT = BENCHMARKS.parent
EXPORT = [sys.executable, "-m", "exporters_beam"]

SIZES, SMALL_SIZES = (1_000_000, 3_000_000), (100_000, 300_000)
SIZES_FOR_OTHERS = (100_000, 300_000)
GZIP_LEVEL = 2
"""What the writer compresses with, and what delivered sizes are compared at."""

IMPORTS = (
    "import gc, os; gc.disable(); os.environ['OPENBLAS_NUM_THREADS'] = '1'; import apache_beam\n"
    "from apache_beam.runners.portability.fn_api_runner import FnApiRunner; os._exit(0)"
)
"""What an export imports of Beam, as one does."""

Digest = dict[str, list[Any]]
"""What check.py prints: group → [records, sum of their hashes]."""

Round = dict[str, tuple[Figures, Figures]]
"""What one round measured: "loop" and "export" → figures at both sizes."""


class WrongResult(Exception):
    """An export delivered other records than the loop of the same job."""


class Job(NamedTuple):
    """A config in configs/ and the loop of the same name in loops.py or sales.py. `loose`: how check.py compares them.
    `times`: how often the input holds each of its files, where records are so fast that start-up would drown them.
    `share`: of the usual number of records, where they are slow."""

    text: str
    input: str = "jl"
    loose: bool = False
    limit: float | None = None
    times: int = 1
    share: float = 1

    @property
    def loop(self) -> str:
        return "sales.py" if self.input in SALES else "loops.py"


SALES = ("sales", "wide", "small", "flat", "structs")
"""Kinds of input that make_sales.py makes."""

JOBS = {
    "plain": Job("gz → regex → expression → JSON lines gz", limit=0.95),
    "grouped": Job("the same, grouped by 50 values", limit=0.90),
    "lines": Job("regex, grouped by 50; records not changed", limit=0.70),
    "parquet": Job("plain, to Parquet zstd", loose=True, limit=1.0),
    "csv": Job("CSV gz → JSON lines gz", input="csv", limit=1.0),
    "columns": Job("Parquet → filter, 5 of 20 columns → Parquet", input="parquet", loose=True, limit=1.2, times=5),
    "wide": Job("3 KB: filter, new records of nested fields", input="wide", limit=6, share=0.04),
    "changed": Job("pop, rename, compute; filter after", input="sales", limit=6, share=0.13),
    "typed": Job("CSV gz → Parquet with types", input="flat", loose=True, limit=6, share=0.2),
    "nested": Job("Parquet with a struct → filter → JSON lines gz", input="structs", limit=6, share=0.2),
    "tiny": Job("files of 25 records → filter → one file", input="small", limit=6, share=0.03),
    "dedupe": Job("the first of each key, most are distinct", input="sales", limit=6, share=0.13),
    "groups": Job("5,000 groups by a nested field", input="sales", limit=6, share=0.13),
}


@dataclass(frozen=True)
class Row:
    """A line of the table. The median of `values` must not exceed `limit`.

    `reference` and `export` are the medians that a ratio compares. A row that could not be measured has a `note`.
    """

    section: str
    what: str
    values: tuple[float, ...] = ()
    unit: str = ""
    limit: float | None = None
    reference: str = ""
    export: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is nothing to meet."""
        return None if self.limit is None else median(self.values) <= self.limit


@dataclass(frozen=True)
class Bench:
    """What this run measures with: two sizes, a number of rounds, a folder for inputs and outputs."""

    sizes: tuple[int, int]
    rounds: int
    work: Path

    def input(self, kind: str, records: int, times: int = 1) -> Path:
        """A folder with that input, made at first use; its name changes when what makes it does. With `times` it holds copies
        of each file of a smaller one, so often."""
        if times > 1:
            once = self.input(kind, records // times)
            folder = once.with_name(f"{once.name}-{times}-copies")
            if not folder.exists():
                folder.mkdir()
                for path in once.iterdir():
                    for n in range(times):
                        shutil.copy(path, folder / f"{n}-{path.name}")  # A link would be the same file: read once.
            return folder
        maker = BENCHMARKS / ("make_sales.py" if kind in SALES else "make_input.py")
        folder = self.work / f"{kind}-{records}-{zlib.crc32(maker.read_bytes()):08x}"
        if not folder.exists():
            say(f"making input: {records:,} records, {kind}")
            unfinished = self.work / f"unfinished-{os.getpid()}"
            self.run([sys.executable, str(maker), kind, str(records), str(unfinished)])
            unfinished.rename(folder)
        return folder

    def output(self) -> Path:
        """A new, empty folder to deliver to; what the run before delivered is gone."""
        folder = self.work / "output"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def run(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> Figures:
        return run(command, self.work / "last.log", ROOT, env)

    def source(self, job: str, records: int) -> Path:
        return self.input(JOBS[job].input, records, JOBS[job].times)

    def sizes_of(self, job: str) -> tuple[int, int]:
        small, large = self.sizes
        return int(small * JOBS[job].times * JOBS[job].share), int(large * JOBS[job].times * JOBS[job].share)

    def export(self, job: str, records: int, key: str = "group") -> Figures:
        source, target = self.source(job, records), self.output()
        given = (f"input={source}", f"output={target}", f"key={key}")
        options = [part for value in given[: 3 if job == "grouped" else 2] for part in ("--var", value)]
        return self.run([*EXPORT, "run", str(BENCHMARKS / "configs" / f"{job}.yaml"), "--workers=1", *options])

    def loop(self, job: str, records: int) -> Figures:
        source, target = self.source(job, records), self.output()
        return self.run([sys.executable, str(BENCHMARKS / JOBS[job].loop), job, str(source), str(target)])

    def delivered(self, *options: str) -> Any:
        """What check.py says of the last output. It runs apart, to keep this process small (see measure.run)."""
        self.run([sys.executable, str(BENCHMARKS / "check.py"), str(self.work / "output"), *options])
        return json.loads((self.work / "last.log").read_bytes())

    @cache  # noqa: B019 (there is one Bench)
    def expected(self, job: str, records: int, *options: str) -> Digest:
        """The digest of what the loop delivers."""
        self.loop(job, records)
        digest: Digest = self.delivered(*options)
        return digest

    def check(self, job: str, records: int) -> None:
        """Raises WrongResult unless the last output holds the loop's records in the loop's groups."""
        options = ["--loose"] if JOBS[job].loose else []
        found = self.delivered(*options)
        expected = self.expected(job, records, *options)
        for group in sorted({*found, *expected}):
            if found.get(group) != expected.get(group):
                raise WrongResult(
                    f"{job} at {records:,} records: folder {group!r} has {found.get(group)}, the loop's has "
                    f"{expected.get(group)} (records, sum of hashes)"
                )

    @cache  # noqa: B019
    def measured(self, job: str) -> tuple[Round, ...]:
        """The loop and the export in turn, at both sizes, in every round; what the export delivers is checked."""
        few = 10 * JOBS[job].times
        self.export(job, few)
        self.check(job, few)
        sides = {"loop": self.loop, "export": self.export}
        rounds = []
        for number in range(self.rounds):
            figures: dict[str, list[Figures]] = {"loop": [], "export": []}
            for records in self.sizes_of(job):
                for side in ("loop", "export") if number % 2 == 0 else ("export", "loop"):
                    figures[side].append(sides[side](job, records))
                    if side == "export":
                        self.check(job, records)
                cpu = ", ".join(f"{side} {figures[side][-1].cpu:.2f} s" for side in figures)
                say(f"{job}, round {number + 1} of {self.rounds}, {records:,} records: CPU {cpu}")
            rounds.append({side: (small, large) for side, (small, large) in figures.items()})
        return tuple(rounds)

    def slopes(self, job: str, side: str) -> list[float]:
        """CPU seconds a record, start-up apart: one number a round."""
        return [slope(self.sizes_of(job), *figures[side]) for figures in self.measured(job)]


def slope(sizes: tuple[int, int], small: Figures, large: Figures) -> float:
    return (large.cpu - small.cpu) / (sizes[1] - sizes[0])


def against_loop(bench: Bench, job: str) -> Iterator[Row]:
    """CPU a record of the export over that of the loop."""
    loop, export = bench.slopes(job, "loop"), bench.slopes(job, "export")
    yield Row(job, JOBS[job].text, tuple(e / r for e, r in zip(export, loop, strict=True)), limit=JOBS[job].limit,
              reference=micro(median(loop)), export=micro(median(export)))  # fmt: skip


def startup(bench: Bench) -> Iterator[Row]:
    """What an export costs before its first record, and one that is nearly empty."""
    small = [figures["export"][0].cpu for figures in bench.measured("plain")]
    slopes = bench.slopes("plain", "export")
    outside = tuple(cpu - each * bench.sizes[0] for cpu, each in zip(small, slopes, strict=True))
    yield Row("startup", "CPU outside the slope of plain", outside, "s", limit=2)
    tiny = [bench.export("plain", 10) for _ in range(5)]
    yield Row("startup", "export of 10 records, wall", tuple(figures.wall for figures in tiny), "s", limit=3)
    yield Row("startup", "export of 10 records, CPU", tuple(figures.cpu for figures in tiny), "s", limit=1.5)
    beam = [bench.run([sys.executable, "-c", IMPORTS]).cpu for _ in range(5)]
    yield Row("startup", "of it: importing Beam, its runner and worker, CPU", tuple(beam), "s")


def memory(bench: Bench) -> Iterator[Row]:
    """Peak at the large size over the peak at a tenth of it."""
    sizes = bench.sizes[1] // 10, bench.sizes[1]
    for job in ("plain", "grouped"):
        bench.input("jl", sizes[0])
        peaks = [[bench.export(job, records).peak for records in sizes] for _ in range(bench.rounds)]
        small, large = zip(*peaks, strict=True)
        yield Row("memory", f"peak at 10 × the records, {job}", tuple(b / a for a, b in peaks), limit=1.10,
                  reference=megabytes(median(small)), export=megabytes(median(large)))  # fmt: skip


def size(bench: Bench) -> Iterator[Row]:
    """Bytes delivered over those of one gzip stream for each file."""
    records = bench.sizes[0]
    for key, groups in (("group", 50), ("city.district", 1000)):
        bench.export("grouped", records, key)
        found = bench.delivered()
        files, delivered, single = bench.delivered("--gzip", str(GZIP_LEVEL))
        everything = total(bench.expected("plain", records))
        if len(found) != groups or total(found) != everything:
            raise WrongResult(f"grouped by {key}: {len(found)} groups, {total(found)}; the loop has {everything}")
        yield Row("size", f"delivered gzip, {groups:,} groups, {files:,} files", (delivered / single,), limit=1.05,
                  reference=megabytes(single), export=megabytes(delivered))  # fmt: skip


def total(digest: Digest) -> tuple[int, str]:
    """Records and sum of hashes over all groups."""
    return sum(n for n, _ in digest.values()), f"{sum(int(h, 16) for _, h in digest.values()) % (1 << 128):032x}"


def validate(bench: Bench) -> Iterator[Row]:
    command = [*EXPORT, "validate", str(BENCHMARKS / "configs" / "thirty_lines.yaml")]
    bench.run(command)
    walls = tuple(bench.run(command).wall for _ in range(10))
    yield Row("validate", "a config of 30 lines, wall", walls, "s", limit=0.5)


def against_others(bench: Bench) -> Iterator[Row]:
    """CPU a record of other systems over that of the export, for the jobs they can do. The slow ones at smaller sizes."""
    for name, system in others.SYSTEMS.items():
        say(f"making {name} ready")
        try:
            other = system(bench.work)
        except others.NotHere as why:
            yield Row("others", name, note=f"not run: {why}")
            continue
        for job in other.jobs:
            sizes = bench.sizes_of(job) if other.fast else SIZES_FOR_OTHERS
            export = median(bench.slopes(job, "export"))
            slopes = []
            for number in range(bench.rounds):
                say(f"{name}, {job}, round {number + 1} of {bench.rounds}")
                small, large = (measure_other(bench, name, other, job, records) for records in sizes)
                slopes.append(slope(sizes, small, large))
            yield Row("others", f"{name} ÷ export, {job}", tuple(each / export for each in slopes),
                      reference=micro(median(slopes)), export=micro(export))  # fmt: skip


def measure_other(bench: Bench, name: str, other: others.Other, job: str, records: int) -> Figures:
    """Raises WrongResult unless the system delivers what the loop does."""
    kind = JOBS[job].input
    source, target = bench.input(kind if kind in SALES else other.input, records), bench.output()
    figures = bench.run(other.command(job, source, target), other.env)
    found, expected = total(bench.delivered("--loose")), total(bench.expected(job, records, "--loose"))
    if found[0] != expected[0] or (other.same_records and found != expected):
        raise WrongResult(f"{name} at {records:,} records: {found}, the loop has {expected} (records, sum of hashes)")
    return figures


SECTIONS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    **{job: lambda bench, job=job: against_loop(bench, job) for job in JOBS},  # type: ignore[misc]
    "startup": startup,
    "memory": memory,
    "size": size,
    "validate": validate,
    "others": against_others,
}


def micro(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} µs"


def megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def say(text: str) -> None:
    """Progress, apart from the table: on a terminal one line that is written over."""
    sys.stderr.write(f"\r\x1b[K{text}" if sys.stderr.isatty() else f"{text}\n" if text else "")
    sys.stderr.flush()


LINE = "{:<9} {:<43} {:>10} {:>10}  {:>7} {:>7} {:>7}  {}"


def as_line(row: Row) -> str:
    if row.note:
        return LINE.format(row.section, row.what, "", "", "", "", "", row.note)
    low, middle, high = (f"{n:.3f}{row.unit}" for n in (min(row.values), median(row.values), max(row.values)))
    mark = "" if row.limit is None else f"≤ {row.limit:g}{row.unit}  {'met' if row.met else 'MISSED'}"
    return LINE.format(row.section, row.what, row.reference, row.export, low, middle, high, mark).rstrip()


def verdict(rows: Sequence[Row], failed: Mapping[str, str]) -> str:
    """The last line: which marks were met."""
    marks = [row for row in rows if row.limit is not None]
    missed = [f"{row.section} ({row.what}: {median(row.values):.3f})" for row in marks if not row.met]
    text = f"{len(marks) - len(missed)} of {len(marks)} marks met"
    absent = [name for name in SECTIONS if name not in failed and not any(row.section == name for row in rows)]
    for word, names in (("missed", missed), ("failed", list(failed)), ("not measured", absent)):
        text += f"; {word}: {', '.join(names)}" if names else ""
    return text


def setting(bench: Bench) -> dict[str, Any]:
    """What the figures depend on."""
    packages = {name: version(name) for name in ("apache-beam", "isal", "orjson", "msgspec", "pyarrow")}
    return {"python": platform.python_version(), "cpus": os.cpu_count(), "sizes": bench.sizes, "rounds": bench.rounds,
            "packages": packages}  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="100,000 and 300,000 records: a smoke test, noisy")
    parser.add_argument("--runs", type=int, default=3, help="rounds (3)")
    parser.add_argument("--only", help=f"sections, joined by commas: {','.join(SECTIONS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--work", type=Path, default=ROOT / ".cache/benchmarks", help="folder for input and output")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else list(SECTIONS)
    for name in options.only:
        if name not in SECTIONS:
            parser.error(f"--only: there is no section {name!r}; known: {', '.join(SECTIONS)}")
    return options


def main() -> int:
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(SMALL_SIZES if options.small else SIZES, options.runs, options.work.resolve())
    about = setting(bench)
    print(json.dumps(about))
    print(LINE.format("section", "what", "reference", "export", "min", "median", "max", "mark"), flush=True)
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name in options.only:
        try:
            for row in SECTIONS[name](bench):
                rows.append(row)
                say("")
                print(as_line(row), flush=True)
        except (CommandFailed, WrongResult) as error:
            failed[name] = str(error)
            say("")
            print(LINE.format(name, "", "", "", "", "", "", f"FAILED: {error}"), flush=True)
    print(verdict(rows, failed))
    if options.json:
        figures = {"setting": about, "rows": [{**asdict(row), "met": row.met} for row in rows], "failed": failed}
        options.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
