"""What every writer promises. A new writer joins with a row in WRITERS."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import DeliveredFile, PlannedFile, Record
from exporters_beam.writers.fs import FsWriter
from exporters_beam.writers.memory import MemoryWriter

import contracts
from contracts import Case

COUNT = "def reduce_function(item, accumulator=None):\n    return (accumulator or 0) + len(item['text'])"
RECORDS = [{"text": text} for text in contracts.ODD_TEXTS.values()]
LENGTH = sum(map(len, contracts.ODD_TEXTS.values()))
SEEN = {"text": {"occurrences": len(RECORDS), "coverage": 100.0}}

WRITERS = contracts.table(
    "writer",
    ("aggregation_stats", {}, SEEN),
    ("console", {}, None),
    ("fs", {"filebase": "out/{groups[0]}/part-", "compression": "none"}, None),
    ("memory", {"filebase": "part-", "items_per_buffer_write": 5}, None),
    ("reduce", {"code": COUNT}, LENGTH),
)

cases = pytest.mark.parametrize(("case", "result"), WRITERS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    MemoryWriter.files.clear()


def content(writer: Any, records: Sequence[Record]) -> bytes:
    """What delivery writes for these records: in the writer's own staging format, where it has one."""
    form = getattr(writer, "staged_as", JsonFormat())
    texts = [form.format(record) for record in records]
    return bytes(form.header + form.separator.join(texts) + form.footer) if records else b""


def publish(writer: Any, data: bytes, records: int, name: str = "out/es/part-0000.jl") -> DeliveredFile:
    def fill(out: BinaryIO) -> None:
        for at in range(0, len(data), 1000):
            out.write(data[at : at + 1000])

    delivered: DeliveredFile = writer.publish(PlannedFile(name, ("es",), 0, records, ()), fill, ".exporters/x/half-built")
    return delivered


def standing(writer: Any, name: str) -> bytes | None:
    """What stands at the destination under a final name, for writers that have one."""
    if isinstance(writer, MemoryWriter):
        return MemoryWriter.files.get(name)
    return Path(name).read_bytes() if Path(name).exists() else None


def visible() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def test_every_writer_has_a_row() -> None:
    contracts.check_every_component_has_a_row("writer", WRITERS)


@cases
def test_options_round_trip(case: Case, result: Any) -> None:
    contracts.check_options_round_trip(case)


@cases
def test_unknown_options_are_refused(case: Case, result: Any) -> None:
    contracts.check_unknown_options_are_refused(case)


@cases
def test_what_is_delivered_is_told(case: Case, result: Any, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for writer in (case.make(), contracts.check_pickling(case)):
        data = content(writer, RECORDS)
        told = publish(writer, data, len(RECORDS))
        assert (told.name, told.group, told.records, told.result) == (
            "out/es/part-0000.jl",
            ("es",),
            len(RECORDS),
            result,
        )
        if result is None:
            assert (told.size, told.md5) == (len(data), hashlib.md5(data).hexdigest())
            printed = capfdbinary.readouterr().out
            assert data == (standing(writer, told.name) if hasattr(writer, "filebase") else printed)


@cases
def test_delivering_twice_changes_nothing(case: Case, result: Any) -> None:
    writer = case.make()
    data = content(writer, RECORDS)
    first = publish(writer, data, len(RECORDS))
    before = visible()
    assert publish(writer, data, len(RECORDS)) == first
    assert visible() == before
    if hasattr(writer, "filebase"):
        assert standing(writer, first.name) == data


@cases
def test_a_file_without_records_is_delivered(case: Case, result: Any) -> None:
    writer = case.make()
    told = publish(writer, b"", 0)
    assert (told.size, told.records) == (0, 0)
    if hasattr(writer, "filebase"):
        assert standing(writer, told.name) == b""


@cases
def test_a_delivery_that_fails_leaves_what_was_there(case: Case, result: Any) -> None:
    writer = case.make()
    name = "out/es/part-0000.jl"
    if hasattr(writer, "filebase"):
        publish(writer, b"from before\n", 1)

    def fill(out: BinaryIO) -> None:
        out.write(content(writer, RECORDS)[:5000])
        raise ZeroDivisionError("the middle of the file")

    fails: Callable[[], Any] = lambda: writer.publish(PlannedFile(name, (), 0, 9, ()), fill, ".exporters/x")  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        fails()
    if hasattr(writer, "filebase"):
        assert standing(writer, name) == b"from before\n"
    assert [file for file in visible() if not file.startswith(".exporters/")] == (
        [name] if isinstance(writer, FsWriter) else []
    )
