"""What every reader promises. A new reader joins with a row in READERS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.compressions.auto import Auto
from exporters_beam.engine.source import Source
from exporters_beam.errors import SourceError
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.records import Chunk, Mark, Record, Unit

import contracts
from contracts import Case

RECORDS = [{"n": number, "text": text} for number, text in enumerate(contracts.ODD_TEXTS.values())]


def no_files(folder: Path) -> None:
    """The reader needs none."""


def empty_files(folder: Path) -> None:
    for name in ("a.jl", "b.jl"):
        (folder / name).write_bytes(b"")


def files(folder: Path) -> None:
    for name, part in (("a.jl", RECORDS[:7]), ("b.jl", []), ("c.jl", RECORDS[7:])):
        (folder / name).write_text("".join(f"{json.dumps(record)}\n" for record in part))


READERS = contracts.table(
    "reader",
    ("fs", {"input": {"dir": "."}}, files, RECORDS),
    ("fs", {"input": {"dir": "."}}, empty_files, []),
    ("memory", {"records": RECORDS, "range_size": 4}, no_files, RECORDS),
    ("memory", {"records": []}, no_files, []),
    ("random", {"number_of_items": 25_000, "seed": 7}, no_files, None),
    ("random", {"number_of_items": 0}, no_files, []),
)

cases = pytest.mark.parametrize(("case", "lay", "expected"), READERS)
Lay = Callable[[Path], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def source_of(reader: Any) -> Source:
    """With ranges small enough that files have several."""
    if not hasattr(reader, "open"):
        return Source(reader)
    return Source(reader, Auto(), JsonLinesDeserializer(), range_bytes=50_000)


def pieces(source: Source, unit: Unit, start: int = 0) -> Iterator[tuple[int, list[Record] | None]]:
    """(range, records) of every chunk, (range, None) for every mark."""
    for number, found, _ in source.events(unit, (start, source.span(unit)[1])):
        if isinstance(found, Chunk):
            yield number, source.records(found)
        else:
            yield number, None


def everything(source: Source) -> list[Record]:
    units = list(source.units())
    return [record for unit in units for _, records in pieces(source, unit) for record in records or ()]


def test_every_reader_has_a_row() -> None:
    contracts.check_every_component_has_a_row("reader", READERS)


@cases
def test_options_round_trip(case: Case, lay: Lay, expected: Any) -> None:
    contracts.check_options_round_trip(case)


@cases
def test_unknown_options_are_refused(case: Case, lay: Lay, expected: Any) -> None:
    contracts.check_unknown_options_are_refused(case)


@cases
def test_it_works_after_pickling(case: Case, lay: Lay, expected: Any, folder: Path) -> None:
    lay(folder)
    arrived = contracts.check_pickling(case)
    if expected is not None:
        assert everything(source_of(arrived)) == expected


@cases
def test_reading_twice_gives_the_same(case: Case, lay: Lay, expected: Any, folder: Path) -> None:
    lay(folder)
    source = source_of(case.make())
    assert list(source.units()) == list(source.units())
    assert everything(source) == everything(source)


@cases
def test_units_are_numbered_in_order_and_told_apart(case: Case, lay: Lay, expected: Any, folder: Path) -> None:
    lay(folder)
    units = list(case.make().units())
    assert [unit.index for unit in units] == list(range(len(units)))
    assert len({unit.name for unit in units}) == len(units)
    assert all(unit.etag for unit in units), "without it a changed source would be taken for the same"


@cases
def test_ranges_end_with_one_mark_each_and_count_up(case: Case, lay: Lay, expected: Any, folder: Path) -> None:
    lay(folder)
    source = source_of(case.make())
    for unit in source.units():
        events = [found for _, found, _ in source.events(unit, source.span(unit))]
        marks = [found for found in events if isinstance(found, Mark)]
        assert [mark.range for mark in marks] == list(range(len(marks)))
        assert [mark.last for mark in marks] == [False] * (len(marks) - 1) + [True]
        assert [found.range for found in events] == sorted(found.range for found in events)
        assert events[-1] is marks[-1]


@cases
def test_it_can_be_entered_at_any_range(case: Case, lay: Lay, expected: Any, folder: Path) -> None:
    lay(folder)
    source = source_of(case.make())
    for unit in source.units():
        whole = list(pieces(source, unit))
        for start in {number for number, _ in whole}:
            assert list(pieces(source, unit, start)) == [piece for piece in whole if piece[0] >= start]


@cases
def test_records_handed_out_are_the_callers_own(case: Case, lay: Lay, expected: Any, folder: Path) -> None:
    lay(folder)
    source = source_of(case.make())
    before = json.dumps(everything(source))
    for record in everything(source):
        record.clear()
    assert json.dumps(everything(source)) == before


@cases
def test_a_source_that_changed_is_not_taken_for_the_same(case: Case, lay: Lay, expected: Any, folder: Path) -> None:
    lay(folder)
    reader = case.make()
    if not hasattr(reader, "open"):
        return
    unit = next(iter(reader.units()))
    (folder / unit.name).write_bytes(b'{"n": "other"}\n')
    with pytest.raises(SourceError, match="changed"):
        reader.open(unit)
