"""What tables of all kinds have in common: what a delivery adds to one, and how it is known there that it has been added."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from exporters_beam.errors import DestinationError

ABOUT = "exporters-beam."
"""How the properties begin by which deliveries are known."""

ATTEMPTS = 8
"""So often a commit is tried that others came before."""


@dataclass(frozen=True)
class File:
    """A delivered Parquet file: its path or URL, bytes, records where they are known, MD5 where it is, and group values."""

    name: str
    bytes: int
    records: int | None = None
    md5: str | None = None
    group: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delivery:
    """Files that are added at once. `key` is the id of the export, or of the chain of which this is batch `number`; 0 where
    there is no chain."""

    key: str
    number: int
    export: str
    files: tuple[File, ...]

    @property
    def digest(self) -> str:
        """A hash of what the files hold and how they are called."""
        told = sorted([file.name, file.bytes, file.md5] for file in self.files)
        return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogatepass")).hexdigest()[:15]

    @property
    def about(self) -> dict[str, str]:
        """What stands with the commit, for people and for programs."""
        batch = {f"{ABOUT}chain": self.key, f"{ABOUT}batch": str(self.number)} if self.number else {}
        return {f"{ABOUT}export": self.export, **batch, f"{ABOUT}files": self.digest}


@dataclass(frozen=True)
class Added:
    """What a table says of the last delivery of a key. `digest` is "" where the table does not keep it."""

    number: int
    digest: str = ""

    def has(self, delivery: Delivery) -> bool:
        """Whether the delivery is in the table. Raises DestinationError where another one stands in its place."""
        if self.number < delivery.number:
            return False
        if self.digest in ("", delivery.digest):
            return True
        if self.number == delivery.number:
            raise DestinationError(
                f"{_what(delivery)} is in it already with other files, in whose place these stand now; "
                "restore them, or have what they held removed from the table, and deliver under other names"
            )
        raise DestinationError(
            f"batch {self.number:,} is in it already, and this is batch {delivery.number:,}; the books of "
            "this chain are older than the table"
        )


def _what(delivery: Delivery) -> str:
    return f"batch {delivery.number:,}" if delivery.number else "this export"


class Table(Protocol):
    """A table to which files can be added."""

    def look(self) -> None:
        """Reach it, and change nothing. Raises DestinationError, MissingExtra."""

    def added(self, key: str) -> Added | None:
        """The last delivery of a key; None where there is none, or no table. Raises as `look` does."""

    def files(self) -> Iterator[str]:
        """The paths or URLs of all files of the table. Raises as `look` does."""

    def add(self, delivery: Delivery) -> bool:
        """Add the files in one commit, unless they have been: then False. May run twice, and beside others. Raises
        DestinationError, and nothing was added."""


class Overtaken(DestinationError):
    """A commit was refused, since another one came before."""


def added_once(
    delivery: Delivery,
    called: str,
    *,
    load: Callable[[], Any],
    make: Callable[[], None],
    added: Callable[[Any], Added | None],
    commit: Callable[[Any, Added | None], None],
) -> bool:
    """Add the files to a table in one commit, unless they have been: then False. Where others come before it, which `commit`
    tells by Overtaken, it is tried again with the table as it is then. Raises DestinationError, and nothing was added."""
    for attempt in range(ATTEMPTS):
        table = load()
        if table is None:
            make()
            continue
        found = added(table)
        try:
            if found is not None and found.has(delivery):
                return False
        except DestinationError as error:
            raise DestinationError(f"{called}: {error}") from None
        try:
            commit(table, found)
            return True
        except Overtaken as error:
            if attempt + 1 == ATTEMPTS:
                raise DestinationError(f"{called}: others have changed it again and again meanwhile ({error})") from None
        time.sleep(random.uniform(0, 0.1 * 2**attempt))
    raise DestinationError(f"{called}: it was made, and is gone again and again")


def schemas_of(files: Sequence[str], schema_of: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """Each file with its schema, in order; of files with the same one the first. Several are opened at a time."""
    before = None
    with ThreadPoolExecutor(OPENED) as pool:
        for name, schema in zip(files, pool.map(schema_of, files), strict=True):
            if before is None or not schema.equals(before, check_metadata=True):
                yield name, schema
            before = schema


OPENED = 16
"""So many files are opened at a time to see their columns."""

ANOTHER = "have the formatter parquet write another type: compat: spark, or a schema"
"""The remedy where a table cannot have a column."""


def refuse_types(schema: Any, called: str) -> None:
    """Raises DestinationError for columns of an Arrow schema that tables have only in part: of unsigned integers the large ones
    would be others, and times in nanoseconds need features that most readers lack."""
    import pyarrow

    def unfit(kind: Any) -> bool:
        unsigned = pyarrow.types.is_uint32(kind) or pyarrow.types.is_uint64(kind)
        if unsigned or (pyarrow.types.is_timestamp(kind) and kind.unit == "ns"):
            return True
        return any(unfit(kind.field(at).type) for at in range(kind.num_fields))

    for column in schema:
        if unfit(column.type):
            raise DestinationError(f"{called}: the column {column.name} is {column.type}, which tables do not have; {ANOTHER}")
