"""What each part of an export costs, CPU for each record that passes it: the model in docs/performance.md.

    python benchmarks/costs.py FOLDER     a folder of gzip files of JSON lines, such as run.py leaves in its work folder

Each part is timed alone on the same chunks, so that their sum is a little less than an export takes. Medians of 5 rounds.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from exporters_beam.compressions import codec
from exporters_beam.compressions.auto import Auto
from exporters_beam.formats.json_lines import JsonFormat, JsonLinesDeserializer
from exporters_beam.formats.parquet import ParquetFormat
from exporters_beam.records import Batch, Unit
from exporters_beam.transforms.filters import KeyValueRegexFilter
from exporters_beam.transforms.mappers import PythonexpTransform
from exporters_beam.transforms.steps import Answers, Map

ROUNDS, FILES = 5, 2


def main(folder: Path) -> None:
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)  # as in an export
    files = sorted(folder.iterdir())[:FILES]
    reading = JsonLinesDeserializer().for_glances()
    chunks = [chunk for path in files for chunk, _, _ in reading.chunks(opened(path))]
    texts = [chunk.text for chunk in chunks]
    lines = sum(len(chunk.lines) for chunk in chunks)
    batches = [reading.decode(text) for text in texts]
    size = sum(map(len, texts)) / lines

    regex = KeyValueRegexFilter(keys=({"name": "country", "value": "Spain|United K"},))
    glance = reading.glance_at(["country"])
    answers = Answers(0, "country", regex.judge, steady=True)
    step = Map("transform", PythonexpTransform(python_expressions=("item.update(ratio=item['revenue'] / 1000)",)))
    step.setup()
    step.start_bundle()
    unit = Unit(0, "file")
    passing = Map("transform", Nothing())
    passing.setup()
    passing.start_bundle()
    form, table, gz = JsonFormat(), ParquetFormat(codec="zstd"), codec("gz")
    written = [b"\n".join(form.format_all(batch)) for batch in batches]

    print(f"records of {size:.0f} bytes of JSON; microseconds of CPU a record, median of {ROUNDS} rounds")
    show("decompress gzip", lines, lambda path: exhaust(opened(path)), files)
    show("cut into chunks and lines, beyond that", lines, lambda path: len(list(reading.chunks(opened(path)))), files,
         less=lambda path: exhaust(opened(path)))  # fmt: skip
    show("look at one field and judge it", lines, lambda chunk: answers.on(glance(chunk)[0]), chunks)
    show("decode whole", lines, reading.decode, texts)
    show("a step: nothing", lines, lambda batch: passing.batch(Batch(unit, 0, range(len(batch)), batch)), batches)
    show("a step: one expression", lines, lambda batch: step.batch(Batch(unit, 0, range(len(batch)), batch)), batches)
    show("write JSON", lines, form.format_all, batches)
    show("of it orjson alone", lines, lambda batch: list(map(orjson.dumps, batch)), batches)
    show("compress gzip", lines, gz.compress, written)
    show("make columns (Parquet)", lines, table.encode, batches)


class Nothing:
    kind = "transform"

    def map(self, record: Any) -> Any:
        return record


def opened(path: Path) -> Any:
    return Auto().open(open(path, "rb"))


def exhaust(stream: Any) -> int:
    size = 0
    while data := stream.read(256 << 10):
        size += len(data)
    return size


def show(what: str, records: int, work: Callable[[Any], Any], parts: Iterable[Any], less: Any = None) -> None:
    found = [timed(work, parts) - (timed(less, parts) if less else 0.0) for _ in range(ROUNDS)]
    print(f"{what:<40} {median(found) / records * 1e6:.3f}", flush=True)


def timed(work: Callable[[Any], Any], parts: Iterable[Any]) -> float:
    begun = time.process_time()
    for part in parts:
        work(part)
    return time.process_time() - begun


if __name__ == "__main__":
    main(Path(sys.argv[1]))
