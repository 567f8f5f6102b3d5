"""What each part of an export costs, CPU for each record that passes it: the model in docs/performance.md.

    python benchmarks/costs.py FOLDER     a folder of gzip files of JSON lines, such as run.py leaves in its work folder

Each part is timed alone, chunk by chunk, on what the part before it has just made. Medians of 5 rounds.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from exporters_beam.compressions import codec
from exporters_beam.compressions.auto import Auto
from exporters_beam.engine.decode import Answers
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.formats.parquet import ParquetFormat
from exporters_beam.records import Batch, Unit
from exporters_beam.transforms.filters import KeyValueRegexFilter
from exporters_beam.transforms.mappers import PythonexpTransform
from exporters_beam.transforms.steps import Map

ROUNDS, FILES = 5, 2


def main(folder: Path) -> None:
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)  # as in an export
    files = sorted(folder.iterdir())[:FILES]
    reading = JsonLinesDeserializer()
    chunks = [(len(chunk.ends), len(chunk.text)) for path in files for chunk, _, _ in reading.chunks(opened(path))]
    lines = sum(count for count, _ in chunks)
    size = sum(length for _, length in chunks) / lines

    regex = KeyValueRegexFilter(keys=({"name": "country", "value": "Spain|United K"},))
    glance = reading.glance_at(["country"])
    answers = Answers(attrgetter("f0"), "country", regex.judge, steady=True)
    some = reading.decoder_of(frozenset(["revenue", "ratio"]))
    step = Map("transform", PythonexpTransform(python_expressions=("item.update(ratio=item['revenue'] / 1000)",)))
    step.setup()
    step.start_bundle()
    unit = Unit(0, "file")
    passing = Map("transform", Nothing())
    passing.setup()
    passing.start_bundle()
    form, table, gz = JsonFormat(), ParquetFormat(codec="zstd"), codec("gz")

    def show(what: str, work: Callable[[Any], Any], before: Callable[[Any], Any] = lambda chunk: chunk) -> None:
        """What `work` takes for what `before` makes of each chunk, as it comes."""
        rounds = []
        for _ in range(ROUNDS):
            taken = 0.0
            for path in files:
                for chunk, _, _ in reading.chunks(opened(path)):
                    given = before(chunk)
                    begun = time.process_time()
                    work(given)
                    taken += time.process_time() - begun
            rounds.append(taken)
        tell(what, rounds)

    def tell(what: str, rounds: list[float]) -> None:
        print(f"{what:<40} {median(rounds) / lines * 1e6:.3f}", flush=True)

    print(f"records of {size:.0f} bytes of JSON; microseconds of CPU a record, median of {ROUNDS} rounds")
    plain = [whole(exhausted, files) for _ in range(ROUNDS)]
    tell("decompress gzip", plain)
    cutting = [whole(lambda path: sum(1 for _ in reading.chunks(opened(path))), files) for _ in range(ROUNDS)]
    tell("cut into chunks and lines", [both - less for both, less in zip(cutting, plain, strict=True)])
    show("look at one field and judge it", lambda chunk: answers.on(glance(chunk)[0]))
    show("cut out a line that passed", lambda chunk: chunk.lines([1] * len(chunk.ends)))
    show("decode two fields of it", some, lambda chunk: chunk.lines())
    show("decode whole", reading.decode)
    show("a step: nothing", lambda batch: passing.batch(Batch(unit, 0, range(len(batch)), batch)), reading.decode)
    show("a step: one expression", lambda batch: step.batch(Batch(unit, 0, range(len(batch)), batch)), reading.decode)
    show("add a number to a line", lambda pair: form.extend_all(*pair, ["ratio"]), lambda chunk: added_to(chunk.lines()))
    show("write JSON", form.format_all, reading.decode)
    show("of it orjson alone", lambda batch: list(map(orjson.dumps, batch)), reading.decode)
    show("compress gzip", gz.compress, lambda chunk: chunk.text)
    show("make columns (Parquet)", table.encode, reading.decode)


def added_to(lines: list[bytes]) -> tuple[list[bytes], list[dict[str, Any]]]:
    return lines, [{"ratio": number / 7} for number in range(len(lines))]


class Nothing:
    kind = "transform"

    def map(self, record: Any) -> Any:
        return record


def opened(path: Path) -> Any:
    return Auto().open(open(path, "rb"))


def exhausted(path: Path) -> None:
    stream = opened(path)
    while stream.read(256 << 10):
        pass


def whole(work: Callable[[Path], Any], files: Iterable[Path]) -> float:
    begun = time.process_time()
    for path in files:
        work(path)
    return time.process_time() - begun


if __name__ == "__main__":
    main(Path(sys.argv[1]))
