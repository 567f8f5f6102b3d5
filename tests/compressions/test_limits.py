"""Limits against hostile input: what a few bytes may decompress to, and how long a record may be."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

import pytest
import zstandard

from exporters_beam.components.options import build, schema_of
from exporters_beam.compressions import streams
from exporters_beam.compressions.auto import Auto
from exporters_beam.compressions.bz2 import Bz2
from exporters_beam.compressions.xz import Xz
from exporters_beam.compressions.zip import Zip
from exporters_beam.compressions.zlib import Zlib
from exporters_beam.compressions.zstd import Zstd
from exporters_beam.engine.source import LineRange, Source
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.csv import CsvDeserializer
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.readers.fs import FsReader
from exporters_beam.records import Mark

MIB = 1 << 20


def zipped(*members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, data in enumerate(members):
            archive.writestr(f"{n}.jl", data)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return cast(bytes, zstandard.ZstdCompressor().compress(data))


KINDS: list[tuple[type[Any], Any]] = [
    (Zlib, gzip.compress),
    (Zlib, zlib.compress),
    (Bz2, bz2.compress),
    (Xz, lzma.compress),
    (Zstd, zstd),
    (Zip, zipped),
]
ids = ["gzip", "zlib", "bz2", "xz", "zstd", "zip"]
ZEROS = bytes(3 * MIB)


class Unseekable(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(streams, "FREE", MIB)


@pytest.mark.parametrize("kind, compress", KINDS, ids=ids)
@pytest.mark.parametrize("wrapped", [io.BytesIO, Unseekable])
def test_a_bomb_is_refused_and_the_option_named(small, kind, compress, wrapped):
    for decompressor in (kind(max_ratio=100), Auto(max_ratio=100)):
        with pytest.raises(SourceError, match=r"decompress to .*raise max_ratio or set it to 0"):
            decompressor.open(wrapped(compress(ZEROS))).read()


@pytest.mark.parametrize("kind, compress", KINDS, ids=ids)
def test_no_limit_no_error(small, kind, compress):
    for decompressor in (kind(max_ratio=0), Auto(max_ratio=0)):
        assert decompressor.open(io.BytesIO(compress(ZEROS))).read() == ZEROS


@pytest.mark.parametrize("kind, compress", KINDS, ids=ids)
def test_little_output_may_have_any_ratio(kind, compress):
    assert kind(max_ratio=1).open(io.BytesIO(compress(ZEROS))).read() == ZEROS


@pytest.mark.parametrize("kind, compress", KINDS, ids=ids)
def test_honest_data_passes_at_the_usual_limit(small, kind, compress):
    data = b"".join(b'{"id": %d, "name": "n%d"}\n' % (n, n * n) for n in range(80_000))
    assert len(data) > MIB
    assert kind().open(io.BytesIO(compress(data))).read() == data


@pytest.mark.parametrize("kind, compress", KINDS[:5], ids=ids[:5])
def test_members_are_counted_together(small, kind, compress):
    data = compress(ZEROS[: MIB // 2]) * 20
    ratio = 10 * MIB // len(data) - 1
    with pytest.raises(SourceError, match="max_ratio"):
        kind(max_ratio=ratio).open(io.BytesIO(data)).read()


def test_members_of_an_archive_are_counted_together(small):
    data = zipped(*[ZEROS[: MIB // 2]] * 20)
    with pytest.raises(SourceError, match="max_ratio"):
        Zip(max_ratio=10 * MIB // len(data) - 1).open(io.BytesIO(data)).read()


def test_a_bomb_of_the_usual_limits_is_refused_soon():
    bomb = lzma.compress(bytes(300 * MIB), preset=0)
    stream = Xz().open(io.BytesIO(bomb))
    read = 0
    with pytest.raises(SourceError, match="1,000 times"):
        while data := stream.read(MIB):
            read += len(data)
    assert read <= 65 * MIB
    with pytest.raises(SourceError, match="max_ratio"):
        stream.read(1)  # The error stays.


def test_the_options_are_declared():
    for kind in {kind for kind, _ in KINDS} | {Auto}:
        assert schema_of(kind)["properties"]["max_ratio"]["default"] == 1000
        assert pickle.loads(pickle.dumps(kind(max_ratio=7))) == kind(max_ratio=7)
        assert build(kind, {"max_ratio": 0}).max_ratio == 0
        with pytest.raises(ConfigError, match="unknown option"):
            build(kind, {"max_ration": 0})
    for deserializer in (JsonLinesDeserializer, CsvDeserializer):
        assert schema_of(deserializer)["properties"]["max_record_bytes"]["default"] == 104857600


# Long records


def lengths(deserializer: Any, data: bytes) -> tuple[list[Any], str]:
    """The records before the first that is too long, and what was said of that one."""
    found: list[Any] = []
    try:
        for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
            records = deserializer.decode(chunk)
            assert len(records) == count
            found += records
    except RecordError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("piece", [4, 50, 1000])
@pytest.mark.parametrize("at", [0, 1, 5, 9])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_json_lines_before_a_long_line_are_read(monkeypatch, piece, at, end):
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", piece)
    lines = [b'{"n": %d}' % n for n in range(10)]
    lines[at] = b'{"n": "%s"}' % (b"x" * 91)
    data = b"\n".join(lines) + end
    found, said = lengths(JsonLinesDeserializer(max_record_bytes=99), data)
    if at == 9 and not end and not said:
        pytest.fail("the last line was not measured")
    assert [record["n"] for record in found] == list(range(at))
    assert said == "the line is longer than 99 bytes; where that is right, raise max_record_bytes"
    assert len(lengths(JsonLinesDeserializer(max_record_bytes=100), data)[0]) == 10


@pytest.mark.parametrize("piece", [4, 50, 1000])
@pytest.mark.parametrize("at", [0, 1, 5, 9])
@pytest.mark.parametrize("quoted", [True, False])
def test_csv_rows_before_a_long_row_are_read(monkeypatch, piece, at, quoted):
    monkeypatch.setattr("exporters_beam.formats.csv.PIECE", piece)
    rows = [b"%d,a" % n for n in range(10)]
    rows[at] = b'x,"' + b"y\n" * 60 + b'"' if quoted else b"x," + b"y" * 120
    data = b"n,t\n" + b"\n".join(rows) + b"\n"
    found, said = lengths(CsvDeserializer(max_record_bytes=99), data)
    assert [record["n"] for record in found] == [str(n) for n in range(at)]
    assert said == "the row is longer than 99 characters; where that is right, raise max_record_bytes"
    assert len(lengths(CsvDeserializer(max_record_bytes=130), data)[0]) == 10


def read(path: Path, deserializer: Any, range_bytes: int = 16 << 20) -> int:
    source = Source(FsReader(input=str(path)), Auto(), deserializer, range_bytes)
    unit = next(source.units())
    return sum(n for _, found, n in source.events(unit, source.span(unit)) if not isinstance(found, Mark))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("range_bytes", [50, 1000, 1 << 20])
def test_the_error_names_the_file_and_the_number_of_the_record(tmp_path, compress, range_bytes, monkeypatch):
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 64)
    path = tmp_path / "data.jl"
    path.write_bytes(compress(b'{"a": 1}\n' * 40 + b'{"a": "' + b"x" * 5000 + b'"}\n' + b'{"a": 1}\n' * 40))
    with pytest.raises(SourceError, match=r"data\.jl: record 41: the line is longer than 1,000 bytes; .*max_record_"):
        read(path, JsonLinesDeserializer(max_record_bytes=1000), range_bytes)
    assert read(path, JsonLinesDeserializer(), range_bytes) == 81


def test_the_number_of_a_long_row_of_csv(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"a\n" + b"1\n" * 40 + b"x" * 5000 + b"\n")
    with pytest.raises(SourceError, match=r"data\.csv: record 41: the row is longer than 1,000 characters"):
        read(path, CsvDeserializer(max_record_bytes=1000))


@pytest.mark.parametrize("deserializer", [JsonLinesDeserializer, CsvDeserializer])
@pytest.mark.parametrize("plain", [True, False])
def test_memory_stays_bounded(tmp_path, deserializer, plain):
    path = tmp_path / "long"
    if plain:
        with open(path, "wb") as out:
            out.truncate(200 * MIB)  # Zeros, and no line feed.
    else:
        path.write_bytes(gzip.compress(bytes(60 * MIB), 1))
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"record 1: .*max_record_bytes"):
            read(path, deserializer(max_record_bytes=2 * MIB))
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
    finally:
        tracemalloc.stop()


def test_ranges_inside_a_long_line_hold_nothing_and_read_little():
    class Watched(io.BytesIO):
        longest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            data = super().readline(size)
            self.longest = max(self.longest, len(data))
            return data

    raw = Watched(b"{}\n" + b"x" * (8 * MIB) + b"\n{}\n")
    assert LineRange(raw, MIB, 2 * MIB).read(100) == b""
    assert raw.longest < MIB and raw.tell() < 3 * MIB
