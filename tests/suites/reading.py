"""Reads files in a process of its own, with a bound on memory, and says of each what came of it, a line of JSON a file.

python reading.py parquet|avro FILE…
"""

from __future__ import annotations

import io
import json
import math
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMORY = 4 << 30


def read(kind: str, path: Path) -> tuple[list[Any], list[str]]:
    """The records, and what was said of those that failed."""
    from exporters_beam.compressions.auto import Auto
    from exporters_beam.engine.source import Source
    from exporters_beam.formats.avro import AvroDeserializer
    from exporters_beam.formats.parquet import ParquetDeserializer
    from exporters_beam.readers.fs import FsReader
    from exporters_beam.records import Chunk, Failure

    deserializer: Any = {"parquet": ParquetDeserializer, "avro": AvroDeserializer}[kind]()
    source = Source(FsReader(input=str(path)), Auto(), deserializer)
    found: list[Any] = []
    failed: list[str] = []
    for unit in source.units():
        for _, chunk, _ in source.events(unit, source.span(unit)):
            if not isinstance(chunk, Chunk):
                continue
            try:
                found += source.records(chunk)
            except Exception:
                for _, record, _ in source.decode_each(chunk):
                    if isinstance(record, Failure):
                        failed.append(record.message)
                    else:
                        found.append(record)
    return found, failed


def expected(kind: str, path: Path) -> list[Any]:
    if kind == "avro":
        import fastavro

        fastavro.read.BLOCK_READERS["zstandard"] = _zstandard  # which needs another package than ours
        with path.open("rb") as file:
            return list(fastavro.reader(file))
    import pyarrow.parquet as pq

    table = pq.read_table(path, coerce_int96_timestamp_unit="us", use_threads=False, partitioning=None)
    return [row for batch in table.to_batches(1000) for row in batch.to_pylist(maps_as_pydicts="lossy")]


def _zstandard(file: Any) -> io.BytesIO:
    import zstandard
    from fastavro._read import read_bytes  # type: ignore[import-not-found,unused-ignore]

    return io.BytesIO(zstandard.ZstdDecompressor().stream_reader(read_bytes(file)).read())


def alike(found: Any, wanted: Any) -> bool:
    """Whether two values are the same; NaN is, and the UUID's text."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and list(found) == list(wanted) and all(map(alike, found.values(), wanted.values()))
    if isinstance(wanted, (list, tuple)):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(alike, found, wanted))
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(found, float) and math.isnan(found)
    if type(wanted).__name__ == "UUID":
        return bool(found == str(wanted))
    return type(found) is type(wanted) and bool(found == wanted)


def told(kind: str, path: Path) -> Iterator[tuple[str, Any]]:
    from exporters_beam.errors import SourceError

    try:
        found, failed = read(kind, path)
    except SourceError as error:
        yield "said", str(error)
        return
    yield "records", len(found)
    yield "failed", failed
    try:
        wanted = expected(kind, path)
    except Exception as error:
        yield "other", f"{type(error).__name__}: {error}"[:300]
        return
    yield "same", not failed and alike(found, wanted)


def main(kind: str, paths: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for path in paths:
        print(json.dumps({"begins": path}), flush=True)
        print(json.dumps({"file": path, **dict(told(kind, Path(path)))}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
