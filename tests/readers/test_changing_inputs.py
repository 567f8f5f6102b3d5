"""An input that changes while it is read is an error that names it, and never other records."""

from __future__ import annotations

import bz2
import gzip
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporters_beam.compressions.auto import Auto
from exporters_beam.engine.source import Source
from exporters_beam.errors import SourceError
from exporters_beam.formats.csv import CsvDeserializer
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.formats.parquet import ParquetDeserializer
from exporters_beam.readers.fs import FsReader
from exporters_beam.readers.units import units_of
from exporters_beam.records import Mark

from helpers import jsonl

RECORDS = [{"id": n, "text": "x" * 500} for n in range(4000)]
CHANGED = r"{name}: the file changed while the export ran; export again when it is complete"


def lines(path: Path) -> None:
    path.write_bytes(jsonl(RECORDS))


def packed(path: Path) -> None:
    noise = [{**record, "noise": os.urandom(300).hex()} for record in RECORDS]
    data = jsonl(noise)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.jl", data)
    else:
        path.write_bytes({".gz": gzip.compress, ".bz2": bz2.compress}[path.suffix](data))


def table(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(RECORDS), path, row_group_size=1000)


def comma(path: Path) -> None:
    path.write_text("id,text\n" + "".join(f"{r['id']},{r['text']}\n" for r in RECORDS))


KINDS: dict[str, tuple[Callable[[Path], None], Any]] = {
    "a.jl": (lines, JsonLinesDeserializer()),
    "a.jl.gz": (packed, JsonLinesDeserializer()),
    "a.jl.bz2": (packed, JsonLinesDeserializer()),
    "a.zip": (packed, JsonLinesDeserializer()),
    "a.csv": (comma, CsvDeserializer()),
    "a.parquet": (table, ParquetDeserializer()),
}


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"id": -1}\n')


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 20)


def overwritten(path: Path) -> None:
    """The same size, and the times of before."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1000, 2)
        file.write(b" " * 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    """As `rsync -t` does: another file of the same size and time gets the name."""
    before, new = path.stat(), path.with_name(".new")
    new.write_bytes(path.read_bytes()[:-100] + b" " * 100)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def removed(path: Path) -> None:
    path.unlink()


CHANGES = (appended, cut, overwritten, replaced, removed)


def events(source: Source) -> Iterator[Any]:
    for unit in units_of(source.reader):
        yield from source.events(unit, source.span(unit))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ranges", ["one", "many"])
def test_no_range_ends_in_which_a_file_has_changed(tmp_path, name, change, ranges):
    write, deserializer = KINDS[name]
    write(tmp_path / name)
    size = 1 << 40 if ranges == "one" else 1 << 19
    source = Source(FsReader(input=str(tmp_path / name)), Auto(), deserializer, size)
    marks = []
    with pytest.raises(SourceError, match=CHANGED.format(name=name)):
        for at, (_, found, _) in enumerate(events(source)):
            if at == 0:
                change(tmp_path / name)
            if isinstance(found, Mark):
                marks.append(found)
    assert marks == []


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changed_after_it_was_listed_is_not_read(tmp_path, change):
    lines(tmp_path / "a.jl")
    source = Source(FsReader(input=str(tmp_path / "a.jl")), Auto(), JsonLinesDeserializer())
    (unit,) = source.units()
    change(tmp_path / "a.jl")
    with pytest.raises(SourceError, match=r"a\.jl: (the file changed while|cannot be read: No such file)"):
        next(iter(source.events(unit, (0, -1))))


def test_a_file_that_changed_in_the_moment_in_which_it_was_listed_is_told(tmp_path):
    """The clock of a file system has steps, in which a second change would not show."""
    path = tmp_path / "a.jl"
    for _ in range(20):
        path.write_bytes(b'{"id": 1}\n')
        (unit,) = FsReader(input=str(path)).units()
        path.write_bytes(b'{"id": 2}\n')
        with pytest.raises(SourceError, match="changed"):
            FsReader(input=str(path)).open(unit)
        path.unlink()


def test_a_file_that_grows_all_the_time_has_an_end(tmp_path):
    path = tmp_path / "a.jl"
    lines(path)
    reader = FsReader(input=str(path))
    (unit,) = reader.units()
    with reader.open(unit) as raw, path.open("ab") as file:
        read = 0
        for _ in range(1000):
            data = raw.read(100_000)
            file.write(data)
            file.flush()
            read += len(data)
        assert read == unit.size and raw.readline() == b""


def test_a_file_that_says_it_is_empty_and_is_not(export):
    """As those of the system are."""
    with pytest.raises(SourceError, match="/proc/version: the file changed"):
        export("/proc/version", decompressor={"name": "none"})


def test_the_change_is_told_and_not_what_it_made_of_the_records(tmp_path):
    packed(tmp_path / "a.jl.gz")
    source = Source(FsReader(input=str(tmp_path / "a.jl.gz")), Auto(), JsonLinesDeserializer())
    (unit,) = source.units()
    found = source.events(unit, (0, -1))
    next(found)
    with (tmp_path / "a.jl.gz").open("r+b") as file:
        file.seek(200_000)
        file.write(bytes(100_000))
    with pytest.raises(SourceError, match=CHANGED.format(name="a.jl.gz")):
        list(found)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("pushdown", [True, False])
def test_an_export_of_a_file_that_changes_fails_and_delivers_nothing(tmp_path, export, workers, pushdown, monkeypatch):
    """The transform changes the file that is read, with its first record."""
    monkeypatch.setenv("CHANGE_THIS", str(tmp_path / "in/a.jl"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    (tmp_path / "in").mkdir()
    lines(tmp_path / "in/a.jl")
    with pytest.raises(SourceError, match=CHANGED.format(name="a.jl")):
        export({"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}}, workers=workers,
               transform={"name": "python", "options": {"function": "plugin_functions:appending"}},
               exporter_options={"pushdown": pushdown})  # fmt: skip
    assert not list(tmp_path.glob("out/part-*"))


def test_a_link_made_or_a_mode_changed_is_taken_for_a_change(tmp_path):
    """It cannot be told from a change of the content: better a false alarm than none."""
    lines(tmp_path / "a.jl")
    reader = FsReader(input=str(tmp_path / "a.jl"))
    (unit,) = reader.units()
    os.chmod(tmp_path / "a.jl", 0o600)
    with pytest.raises(SourceError, match="changed"):
        reader.open(unit)


@pytest.mark.parametrize("spelling", ["./a.jl", "sub/../a.jl", "{here}/a.jl", ".//a.jl", "hard.jl", "soft.jl", "sub/soft.jl"])
def test_a_file_under_several_names_is_read_once(tmp_path, monkeypatch, export, spelling):
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("a.jl").write_text('{"id": 1}\n')
    with suppress(FileExistsError):
        os.link("a.jl", "hard.jl")
    os.symlink("a.jl", "soft.jl")
    os.symlink("../a.jl", "sub/soft.jl")
    given = ["a.jl", spelling.format(here=tmp_path)]
    report = export({"name": "fs", "options": {"input": given}})
    assert report.read == 1
    told = [text for text in report.warnings if "is the same file as" in text]
    assert len(told) == (spelling == "hard.jl")
    Path("d").mkdir()
    os.rename("a.jl", "d/a.jl")
    assert export({"name": "fs", "options": {"input": [{"dir": "d"}, {"dir": f"{tmp_path}/d/"}, "sub/../d/a.jl"]}}).read == 1


def test_two_files_of_the_same_content_are_two(tmp_path, export):
    for name in ("a.jl", "b.jl"):
        (tmp_path / name).write_text('{"id": 1}\n')
    assert export([str(tmp_path / "a.jl"), str(tmp_path / "b.jl")]).read == 2
