"""What a folder of delivered files holds, as a digest: `python benchmarks/check.py FOLDER [--loose]` prints JSON.

For each folder below FOLDER (a group): how many records, and a sum over the hashes of all of them. The sum does not
depend on the records' order or on how they are spread over files. Names that begin with `.` or `_` are bookkeeping
and left out. A record's key order counts, unless `--loose` is given: then keys are sorted and nulls left out, for
formats in which a missing value is a null, and for systems that do not keep the order.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
from isal import igzip


def delivered(folder: Path) -> Iterator[Path]:
    """The files a user sees below `folder`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            yield path


def records(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        from pyarrow.parquet import ParquetFile

        for batch in ParquetFile(path).iter_batches(8192):
            yield from batch.to_pylist()
    else:
        with igzip.open(path) if path.suffix == ".gz" else open(path, "rb") as lines:
            yield from map(orjson.loads, lines)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    return [without_nulls(member) for member in value] if isinstance(value, list) else value


def digest(folder: Path, loose: bool) -> dict[str, tuple[int, str]]:
    """Group → (records, sum of hashes)."""
    sums: dict[str, list[int]] = {}
    for path in delivered(folder):
        total = sums.setdefault(str(path.parent.relative_to(folder)), [0, 0])
        for record in records(path):
            text = orjson.dumps(without_nulls(record), None, orjson.OPT_SORT_KEYS) if loose else orjson.dumps(record)
            total[0] += 1
            total[1] += int.from_bytes(blake2b(text, digest_size=16).digest(), "big")
    return {group: (count, f"{total % (1 << 128):032x}") for group, (count, total) in sums.items()}


def sizes(folder: Path, level: int) -> tuple[int, int, int]:
    """(files, their bytes, their bytes if each were one gzip stream of this level)."""
    files = size = single = 0
    for path in delivered(folder):
        packed = path.read_bytes()
        files += 1
        size += len(packed)
        single += len(igzip.compress(igzip.decompress(packed), level, mtime=0))
    return files, size, single


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loose", action="store_true")
    parser.add_argument("--gzip", type=int, metavar="LEVEL", help="print sizes in place of the digest, see `sizes`")
    options = parser.parse_args()
    if options.gzip is None:
        print(json.dumps(digest(options.folder, options.loose)))
    else:
        print(json.dumps(sizes(options.folder, options.gzip)))


if __name__ == "__main__":
    main()
