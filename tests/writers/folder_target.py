"""A target of records with a ledger of its own: a folder in which a batch is one file. For tests of what sends batches."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from exporters_beam import option
from exporters_beam.components.protocols import TextFormat
from exporters_beam.errors import DestinationError, RecordError, Transient
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import Record, Undecoded, Unit
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions
from exporters_beam.writers.values import Values


@dataclass(frozen=True, kw_only=True)
class FolderTarget(RecordWriterOptions):
    """Each batch is a file. A record with `bad` is refused. A file `kill-N`, `after-N` or `away-N` in the folder kills the
    process before or after batch N is there, or lets N tries fail."""

    folder: str = option("the folder", example="out")
    ledger: bool = option("whether it knows what it has", type="bool", default=True)
    texts: bool = option("whether it takes records as JSON", type="bool", default=False)

    @property
    def staged_as(self) -> TextFormat:
        return JsonFormat() if self.texts else Values()

    @property
    def target(self) -> str:
        return f"folder://{self.folder}"

    def probe(self) -> None:
        if not os.path.isdir(self.folder):
            raise DestinationError(f"option folder: {self.folder} is not there; make it first")

    def begin(self, delivery: str) -> None:
        self._note(f"begun {delivery}")

    def send(self, batch: RecordBatch) -> None:
        self._fault(f"kill-{batch.number}")
        self._away()
        path = Path(self.folder, f"{batch.delivery}-{batch.number:04d}.json")
        if self.ledger and path.exists():
            told = json.loads(path.read_text())
            batch.already(told["checksum"], told["refused"])
            return
        for n, record in enumerate(batch.records):
            if record.get("bad"):
                batch.refuse(n, "it is bad")
        if self.texts:
            assert [json.loads(text) for text in batch.texts] == batch.records
        told = {"checksum": batch.checksum, "refused": batch.refused_json, "records": batch.accepted}
        half = path.with_suffix(".part")
        half.write_text(json.dumps(told, default=str))
        half.rename(path if self.ledger else path.with_suffix(f".{os.urandom(4).hex()}.json"))
        self._fault(f"after-{batch.number}")

    def complete(self, delivery: str, batches: int, records: int) -> None:
        self._note(f"complete {batches} {records}")

    def count(self, entry: Mapping[str, Any]) -> int:
        return len(there(self.folder, entry["delivery"]))

    def _note(self, text: str) -> None:
        with open(Path(self.folder, "notes"), "a") as file:
            file.write(text + "\n")

    def _fault(self, name: str) -> None:
        path = Path(self.folder, name)
        if path.exists():
            path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def _away(self) -> None:
        for path in Path(self.folder).glob("away-*"):
            left = int(path.name.partition("-")[2])
            path.unlink()
            if left > 1:
                path.with_name(f"away-{left - 1}").touch()
            raise Transient("the folder is away")


def there(folder: str | Path, delivery: str = "") -> list[Any]:
    """The records that are there, in the order of their batches."""
    paths = sorted(Path(folder).glob(f"{delivery}*.json"), key=lambda path: path.name.partition("-")[2])
    return [record for path in paths for record in json.loads(path.read_text())["records"]]


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A source that grows: what it lists is what was there when the export began. A text that is no number is undecodable."""

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True

    path: str = option("a file of lines", example="queue")

    def _lines(self) -> list[str]:
        return Path(self.path).read_text().splitlines()

    def units(self) -> Iterator[Unit]:
        yield Unit(0, "queue[0]", -1, f"0-{len(self._lines())}")

    def ranges(self, unit: Unit) -> int:
        return -(-int(unit.etag.partition("-")[2]) // 10) or 1

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Any]]]:
        end = int(unit.etag.partition("-")[2])
        for number in range(start, self.ranges(unit)):
            lines = self._lines()[number * 10 : min(number * 10 + 10, end)]
            yield number, [self.decode(line) if line.isdecimal() else Undecoded(line, f"{line} is no number") for line in lines]

    def decode(self, raw: bytes | str) -> Record:
        if not str(raw).isdecimal():
            raise RecordError(f"{raw} is no number")
        return {"id": int(raw)}
