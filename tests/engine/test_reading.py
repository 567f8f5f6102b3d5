"""Units, ranges and chunks: borders depend on the source alone, and every record is read once, whatever is split."""

from __future__ import annotations

import gzip
import pickle
import tempfile
from pathlib import Path
from typing import Any

import pytest
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.compressions.auto import Auto
from exporters_beam.engine.reading import END, ListUnits, ReadChunks, SpanTracker
from exporters_beam.engine.source import LineRange, Places, Source
from exporters_beam.errors import SourceError
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.readers.fs import FsReader
from exporters_beam.readers.memory import MemoryReader
from exporters_beam.readers.random import RandomReader
from exporters_beam.records import Mark, Unit, Units
from exporters_beam.staging.segments import Resumed

from examples import at_least
from helpers import jsonl

RECORDS = [{"n": n, "text": "x" * (n % 50)} for n in range(500)]


def source(path: Path, range_bytes: int = 2000) -> Source:
    return Source(FsReader(input=str(path)), Auto(), JsonLinesDeserializer(), range_bytes)


def read(src: Source, spans=None) -> list[tuple[tuple[int, int], dict]]:
    found = []
    for unit in src.units():
        for span in spans or [src.span(unit)]:
            for _, chunk, _ in src.events(unit, span):
                if not isinstance(chunk, Mark):
                    found += [((chunk.range, n), record) for n, record in enumerate(src.records(chunk), chunk.first)]
    return found


@pytest.fixture(params=["plain", "gz"])
def file(request, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 700)
    path = tmp_path / ("data.jl" if request.param == "plain" else "data.jl.gz")
    path.write_bytes(jsonl(RECORDS) if request.param == "plain" else gzip.compress(jsonl(RECORDS)))
    return path


def test_all_records_once_and_in_order(file):
    found = read(source(file))
    assert [record for _, record in found] == RECORDS
    assert [place for place, _ in found] == sorted({place for place, _ in found})


def test_every_range_can_be_read_alone_and_holds_the_same(file):
    src = source(file)
    whole = read(src)
    last = whole[-1][0][0]
    assert last > 3
    alone = []
    for number in range(last + 1):
        alone += [found for found in read(src, [(number, number + 1 if file.suffix == ".jl" else -1)])
                  if found[0][0] == number]  # fmt: skip
    assert alone == whole


def test_plain_lines_are_cut_into_known_ranges_and_gzip_is_not(tmp_path):
    plain, packed = tmp_path / "a.jl", tmp_path / "b.jl.gz"
    plain.write_bytes(b'{"a":1}\n' * 1000)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    spans = [source(path).span(next(source(path).units())) for path in (plain, packed)]
    assert spans == [(0, 4), (0, -1)]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 100])
def test_lines_that_begin_in_a_range_belong_to_it(tmp_path, size):
    path = tmp_path / "lines"
    path.write_bytes(b"ab\n\nabcdef\nx\nlast without end")
    total = path.stat().st_size
    parts = []
    for start in range(0, total, size):
        with path.open("rb") as raw:
            lines, part = LineRange(raw, start, start + size), b""
            while piece := lines.read(3):
                part += piece
            parts.append(part)
    assert b"".join(parts) == path.read_bytes()
    assert all(part.endswith(b"\n") for part in parts if part and not part.endswith(b"end"))


def test_record_numbers_count_from_one_in_the_file(file):
    src = source(file)
    unit = next(src.units())
    numbers = []
    for _, chunk, _ in src.events(unit, src.span(unit)):
        if not isinstance(chunk, Mark):
            record = src.records(chunk)[0]
            numbers.append((Places(src)((unit, chunk.range, chunk.first))[1], record["n"] + 1))
    assert [a for a, _ in numbers] == [b for _, b in numbers]


def test_an_empty_unit_is_one_empty_range(tmp_path):
    path = tmp_path / "empty.jl"
    path.write_bytes(b"")
    src = source(path)
    unit = next(src.units())
    assert list(src.events(unit, src.span(unit))) == [(0, Mark(unit, 0, last=True), 0)]


def test_a_file_that_changes_after_it_was_listed_is_refused(tmp_path):
    path = tmp_path / "a.jl"
    path.write_bytes(b'{"a":1}\n')
    src = source(path)
    unit = next(src.units())
    path.write_bytes(b'{"a":1}\n{"a":2}\n')
    with pytest.raises(SourceError, match=r"a\.jl: the file changed"):
        list(src.events(unit, src.span(unit)))


@pytest.mark.parametrize("reader", [RandomReader(number_of_items=25_000, seed=1),
                                    MemoryReader(records=tuple(RECORDS), range_size=100)])  # fmt: skip
def test_readers_of_records_give_the_same_range_again(reader):
    src = Source(reader)
    unit = next(src.units())
    start, stop = src.span(unit)
    whole = read(src)
    assert [found for n in range(start, stop) for found in read(src, [(n, n + 1)])] == whole
    assert pickle.loads(pickle.dumps(src)) == src


def test_claims_and_splits_never_lose_or_repeat_a_range():
    tracker = SpanTracker((0, 10))
    assert tracker.try_claim(0) and tracker.try_claim(1)
    primary, residual = tracker.try_split(0.5)
    assert (primary, residual) == ((0, 6), (6, 10))
    assert not tracker.try_claim(6)
    assert SpanTracker((2, 2)).check_done()


def test_a_checkpoint_of_an_open_span_keeps_what_was_claimed():
    tracker = SpanTracker((0, -1))
    tracker.try_claim(0)
    assert tracker.try_split(0.5) is None
    assert tracker.try_split(0) == ((0, 1), (1, -1))
    assert tracker.check_done()


def test_unclaimed_ranges_are_an_error():
    tracker = SpanTracker((0, 3))
    tracker.try_claim(0)
    with pytest.raises(ValueError, match="not claimed"):
        tracker.check_done()
    tracker.try_claim(END)
    assert tracker.check_done()


def test_positions_sort_in_input_order():
    unit = next(Source(RandomReader()).units())
    later = unit._replace(index=1, name="a")
    positions = [(later, 0, 0), (unit, 1, 0), (unit, 0, 5)]
    assert sorted(positions) == positions[::-1]


FILES = [
    *(("jl", jsonl(RECORDS[:5])), ("jl.gz", gzip.compress(jsonl(RECORDS[5:9]))), ("jl", b""), ("jl.gz", b"")),
    *(("jl.gz", gzip.compress(b"") + gzip.compress(jsonl(RECORDS[:3]))), ("jl", jsonl(RECORDS))),
    *(
        ("jl", b'{"a":1}\n{"a":'),
        ("jl.gz", gzip.compress(b"7\n\xff\n")),
        ("jl.gz", gzip.compress(jsonl(RECORDS[:9]))[:-9]),
    ),
    *(("jl.gz", b"no gzip"), ("jl.gz", gzip.compress(jsonl(RECORDS[:2])) + b"more"), ("jl.zst", gzip.compress(b"{}"))),
]


def emitted(folder: Path, together: bool, seconds: float | None, resumed: Resumed, halved: bool) -> tuple[list[Any], str, int]:
    """What is read of a folder, in the order of the input, what ends it, and how many elements there were."""
    src = Source(FsReader(input={"dir": str(folder)}, allow_empty=True), Auto(), JsonLinesDeserializer(), 2000)
    lists, reader = ListUnits(src, together=together), ReadChunks(src, seconds, resumed=resumed)
    lists.setup()
    found: list[Any] = []
    listed = [each for each in lists.process(None) if isinstance(each, (Unit, Units))]
    for element in listed:
        spans = list(reader.split(element, reader.initial_restriction(element)))
        while spans:
            tracker = ThreadsafeRestrictionTracker(SpanTracker(spans.pop(0)))
            try:
                for each in reader.process(element, RestrictionTrackerView(tracker)):
                    found.append(each)
                    if halved and (split := tracker.try_split(0.5)) is not None:
                        spans.insert(0, split[1])
            except SourceError as error:
                return found, str(error), len(listed)
            tracker.check_done()
            if (rest := tracker.deferred_status()) is not None:
                spans.insert(0, rest[0])
    return found, "", len(listed)


@settings(max_examples=at_least(60), deadline=None)
@given(
    st.lists(st.sampled_from(FILES), max_size=12) | st.lists(st.sampled_from(FILES[:6]), max_size=12),
    st.sampled_from([None, 0.0, 60.0]),
    st.sets(st.integers(0, 9), max_size=4),
    st.sets(st.integers(0, 9), max_size=4),
    st.booleans(),
)
def test_small_files_that_come_together_are_read_like_others(
    files: list[tuple[str, bytes]], seconds: float | None, whole: set[int], covered: set[int], halved: bool
) -> None:
    resumed = Resumed(covered=frozenset((unit, 0) for unit in covered), whole=frozenset(whole))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporters_beam.engine.reading.ALONE", 2)
        for number, (ending, data) in enumerate(files):
            (Path(folder) / f"{number:03d}.{ending}").write_bytes(data)
        *together, fewer = emitted(Path(folder), True, seconds, resumed, halved)
        *alone, each = emitted(Path(folder), False, seconds, resumed, halved)
        assert together == alone
        assert fewer < each or len(files) < 4


def test_few_small_files_come_alone_and_many_together(tmp_path):
    for number in range(400):
        (tmp_path / f"{number:03d}.jl").write_bytes(b"{}\n")
    (tmp_path / "200.jl").write_bytes(b"{}\n" * 40_000)
    src = Source(FsReader(input={"dir": str(tmp_path)}), Auto(), JsonLinesDeserializer())
    lists = ListUnits(src, together=True)
    lists.setup()
    found = list(lists.process(None))
    assert not any(isinstance(each, Units) for each in found[:60])
    assert [each.index for one in found if isinstance(one, Units) for each in one.units][-1] == 399
    assert sorted(u.index for one in found for u in (one.units if isinstance(one, Units) else (one,))) == [*range(400)]
    assert next(each for each in found if each[0] == 200).size == 120_000
