"""Reading and writing compressed bytes: fidelity, joined members, and clear errors for everything that is not whole."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam import compressions
from exporters_beam.compressions import NAMES, Codec, codec, streams
from exporters_beam.compressions.auto import Auto
from exporters_beam.compressions.bz2 import Bz2
from exporters_beam.compressions.none import Plain
from exporters_beam.compressions.xz import Xz
from exporters_beam.compressions.zip import Zip
from exporters_beam.compressions.zlib import Zlib
from exporters_beam.compressions.zstd import Zstd
from exporters_beam.errors import ConfigError, SourceError

from examples import at_least

TEXT = b"".join(b'{"id": %d, "name": "n%d"}\n' % (n, n * n) for n in range(5000))


def zipped(*members: tuple[str, bytes], comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return cast(bytes, zstandard.ZstdCompressor(write_checksum=True).compress(data))


JOINED: list[tuple[Any, Callable[[bytes], bytes]]] = [
    (Zlib(), gzip.compress),
    (Zlib(), zlib.compress),
    (Bz2(), bz2.compress),
    (Xz(), lzma.compress),
    (Zstd(), zstd),
]
ids = ["gzip", "zlib", "bz2", "xz", "zstd"]


class Unseekable(io.RawIOBase):
    """A raw stream as a socket gives it: short reads, no seeking."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._data.read(min(7, len(buffer)))
        buffer[: len(data)] = data
        return len(data)


class OnlyRead:
    """Less than a stream: what some client libraries call a body."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)

    def close(self) -> None:
        self.closed = True


def opened(decompressor: Any, data: bytes) -> bytes:
    return cast(bytes, decompressor.open(io.BytesIO(data)).read())


@pytest.mark.parametrize(("decompressor", "compress"), JOINED, ids=ids)
def test_joined_members_read_as_one(decompressor: Any, compress: Callable[[bytes], bytes]) -> None:
    data = compress(TEXT) + compress(b"") + compress(b"tail")
    for chosen in (decompressor, Auto()):
        assert opened(chosen, data) == TEXT + b"tail"
        assert chosen.open(Unseekable(data)).read() == TEXT + b"tail"
        assert chosen.open(OnlyRead(data)).read() == TEXT + b"tail"


@pytest.mark.parametrize(("decompressor", "compress"), JOINED, ids=ids)
def test_read_gives_exactly_what_is_asked_for(decompressor: Any, compress: Callable[[bytes], bytes]) -> None:
    stream = decompressor.open(Unseekable(compress(TEXT[:9000]) + compress(TEXT[9000:])))
    pieces = []
    while piece := stream.read(1000):
        pieces.append(piece)
    assert b"".join(pieces) == TEXT
    assert {len(piece) for piece in pieces[:-1]} == {1000}


@pytest.mark.parametrize(("decompressor", "compress"), JOINED, ids=ids)
def test_truncated_input_is_an_error_wherever_it_is_cut(decompressor: Any, compress: Callable[[bytes], bytes]) -> None:
    data = compress(TEXT[:200]) + compress(TEXT)
    member = len(compress(TEXT[:200]))
    for end in [*range(1, 40), member - 1, member + 1, member + 5, member + 11, len(data) - 9, len(data) - 1]:
        alone = compress is zlib.compress and end in (1, member + 1)  # one byte does not make a zlib header
        with pytest.raises(SourceError, match=r"not gzip or zlib|follows" if alone else "truncated"):
            opened(decompressor, data[:end])
    assert opened(decompressor, data[:member]) == TEXT[:200]


@pytest.mark.parametrize(("decompressor", "compress"), JOINED, ids=ids)
def test_garbage_behind_the_data_is_an_error(decompressor: Any, compress: Callable[[bytes], bytes]) -> None:
    for garbage in (b"x", b"some more text, not compressed at all"):
        with pytest.raises(SourceError, match="follow"):
            opened(decompressor, compress(TEXT) + garbage)


@pytest.mark.parametrize(("decompressor", "compress"), JOINED, ids=ids)
def test_damaged_data_is_an_error(decompressor: Any, compress: Callable[[bytes], bytes]) -> None:
    good = compress(TEXT)
    for place in (len(good) // 2, len(good) - 3 if decompressor != Xz() else len(good) // 3):
        bad = bytearray(good)
        bad[place] ^= 0x10
        with pytest.raises(SourceError, match=r"damaged|truncated"):
            opened(decompressor, bytes(bad))


def test_an_error_stays_when_the_stream_is_read_again() -> None:
    stream = Zlib().open(io.BytesIO(gzip.compress(TEXT)[:-4]))
    for _ in range(2):
        with pytest.raises(SourceError, match="truncated"):
            stream.read()


def test_an_error_of_the_network_stays_what_it_is() -> None:
    class Broken(OnlyRead):
        def read(self, size: int = -1) -> bytes:
            data = super().read(100)
            if not data:
                raise ConnectionResetError("reset by peer")
            return data

    for decompressor, compress in ((Bz2(), bz2.compress), (Zlib(), gzip.compress), (Zstd(), zstd)):
        with pytest.raises(ConnectionResetError):
            decompressor.open(cast(BinaryIO, Broken(compress(TEXT)[:-20]))).read()


@pytest.mark.parametrize("decompressor", [Zlib(), Bz2(), Xz(), Zstd(), Zip()], ids=lambda d: type(d).__name__)
def test_uncompressed_input_is_told_what_to_use(decompressor: Any) -> None:
    for text in (TEXT, b"x", b"hello", b"[1, 2]"):
        with pytest.raises(SourceError, match=r'not .*; use the decompressor "none" or "auto"'):
            opened(decompressor, text)


def test_another_compression_is_named() -> None:
    with pytest.raises(SourceError, match=r'the input is bz2, not gzip or zlib; use the decompressor "bz2" or "auto"'):
        opened(Zlib(), bz2.compress(TEXT))
    with pytest.raises(SourceError, match=r'the input is gzip, not zstd; use the decompressor "zlib" or "auto"'):
        opened(Zstd(), gzip.compress(TEXT))


@pytest.mark.parametrize("decompressor", [Auto(), Zlib(), Bz2(), Xz(), Zstd(), Zip(), Plain()], ids=lambda d: type(d).__name__)
def test_empty_input_has_no_bytes(decompressor: Any) -> None:
    assert opened(decompressor, b"") == b""
    assert decompressor.open(Unseekable(b"")).read() == b""
    assert pickle.loads(pickle.dumps(decompressor)) == decompressor
    assert decompressor.kind == "decompressor"
    assert decompressor.splittable == isinstance(decompressor, Plain)


def test_zero_bytes_behind_gzip_and_xz_are_padding() -> None:
    assert opened(Zlib(), gzip.compress(b"a") + b"\0" * 700 + gzip.compress(b"b") + b"\0" * 20) == b"ab"
    assert opened(Xz(), lzma.compress(b"a") + b"\0" * 70000 + lzma.compress(b"b") + b"\0" * 8) == b"ab"


def test_many_tiny_members() -> None:
    assert opened(Zlib(), gzip.compress(b"a\n") * 20000) == b"a\n" * 20000
    assert opened(Zstd(), zstd(b"a\n") * 20000) == b"a\n" * 20000


def test_zstd_skippable_frames_are_skipped() -> None:
    skippable = b"\x5a\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    data = skippable + zstd(b"a") + skippable + zstd(b"b")
    assert opened(Zstd(), data) == opened(Auto(), data) == b"ab"


def test_highly_compressible_zlib_output_is_bounded_piece_by_piece() -> None:
    data = zlib.compress(b"\0" * 10_000_000)
    assert opened(Zlib(), data) == b"\0" * 10_000_000
    assert opened(Zlib(), zlib.compress(b"\0" * streams.OUTPUT)) == b"\0" * streams.OUTPUT


def test_zip_members_follow_one_another() -> None:
    data = zipped(("a.jl", b"a\n"), ("folder/", b""), ("folder/b.jl", TEXT), comment=b"made by hand")
    for chosen in (Zip(), Auto()):
        assert opened(chosen, data) == b"a\n" + TEXT
        assert chosen.open(Unseekable(data)).read() == b"a\n" + TEXT
    assert opened(Zip(), zipped()) == b""


def test_zip_faults_are_errors() -> None:
    data = zipped(("a.jl", TEXT))
    for bad in (data[:-1], data[: len(data) // 2], data[:30]):
        with pytest.raises(SourceError, match=r"truncated or damaged|follows"):
            opened(Zip(), bad)
    with pytest.raises(SourceError, match="something follows the zip archive"):
        opened(Zip(), data + b"more")
    with pytest.raises(SourceError, match="archives cannot be joined"):
        opened(Zip(), zipped(("b.jl", b"first")) + data)
    damaged = bytearray(data)
    damaged[300] ^= 0xFF
    with pytest.raises(SourceError, match="damaged"):
        opened(Zip(), bytes(damaged))
    encrypted = bytearray(data)
    encrypted[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(SourceError, match=r"a\.jl: it is encrypted"):
        opened(Zip(), bytes(encrypted))


def named(name: str, data: bytes) -> BinaryIO:
    stream = io.BytesIO(data)
    stream.name = name  # type: ignore[misc, attr-defined]
    return stream


def test_auto_detects_every_compression_and_leaves_the_stream_where_it_is() -> None:
    for data, expected in (
        (gzip.compress(TEXT), Zlib()),
        (zlib.compress(TEXT), Zlib()),
        (zlib.compress(b"x", 1), Zlib()),
        (bz2.compress(TEXT), Bz2()),
        (bz2.compress(b""), Bz2()),
        (lzma.compress(TEXT), Xz()),
        (zstd(TEXT), Zstd()),
        (zipped(("a", TEXT)), Zip()),
        (zipped(), Zip()),
        (TEXT, Plain()),
        (b"", Plain()),
    ):
        raw = io.BytesIO(data)
        assert Auto().detect(raw) == expected
        assert raw.tell() == 0
        peekable = cast(BinaryIO, io.BufferedReader(Unseekable(data), 8192))
        if len(data) < 8:
            assert Auto().detect(peekable) in (expected, Plain())
    with pytest.raises(io.UnsupportedOperation):
        Auto().detect(cast(BinaryIO, Unseekable(TEXT)))


@pytest.mark.parametrize(
    "text",
    [b"x^2 + y", b"x\x01", b"x^", b"x", b"x }", b"xG" * 400, b"X\tY\n" * 300, b"BZh1 is a text", b"PK", b"(\xb5"],
)
def test_auto_takes_no_text_for_compressed(text: bytes) -> None:
    assert opened(Auto(), text) == text


@settings(max_examples=at_least(200), deadline=None)
@given(st.text(min_size=1))
def test_auto_reads_every_text_as_it_is(text: str) -> None:
    for first in ("x\x01", "x^", "H\r", ""):
        data = (first + text).encode("utf-8", "replace")
        assert opened(Auto(), data) == data


def test_auto_refuses_a_name_that_contradicts_the_content() -> None:
    with pytest.raises(SourceError, match=r'the name ends in \.gz but the content is not compressed.*"none"'):
        Auto().open(named("data/part.jl.gz", TEXT))
    with pytest.raises(SourceError, match=r"the name ends in \.zst but the content is gzip"):
        Auto().detect(named("part.ZST", gzip.compress(TEXT)))
    assert Auto().open(named("part.jl.gz", b"")).read() == b""
    assert Auto().open(named("part.jl.gz", zlib.compress(TEXT))).read() == TEXT
    assert Auto().open(named("part.jl", gzip.compress(TEXT))).read() == TEXT


@settings(max_examples=at_least(400), deadline=None)
@given(
    st.lists(st.binary(max_size=300) | st.just(bytes(streams.OUTPUT + 1)), min_size=1, max_size=3),
    st.sampled_from([b"", b"\0" * 8, b"\x1f\x8b", b"rest"]),
    st.none() | st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
    st.integers(0, 31),
)
def test_a_small_gzip_file_is_read_at_once_as_the_reader_reads_it(
    members: list[bytes], behind: bytes, cut: int | None, changed: list[tuple[int, int]], flags: int
) -> None:
    data = bytearray(b"".join(map(gzip.compress, members)) + behind)
    for place, byte in changed:
        data[place % len(data)] = byte
    data[3] |= flags * (flags % 3 == 0)
    found = []
    for kind in (io.BufferedReader, io.BytesIO):  # What is no buffered file is read in pieces.
        raw = io.BytesIO(bytes(data[:cut]))
        opened_raw = cast(BinaryIO, io.BufferedReader(cast(Any, raw)) if kind is io.BufferedReader else raw)
        pieces: list[bytes] = []
        try:
            with Zlib().open(opened_raw) as stream:
                assert not stream.seekable()
                while piece := stream.read(100):
                    pieces.append(piece)
                assert not stream.read(1)
            found.append((b"".join(pieces), opened_raw.closed))
        except SourceError as error:
            found.append((b"".join(pieces), str(error)))
    assert found[0] == found[1]


def test_closing_a_stream_closes_what_it_reads_from() -> None:
    for decompressor, data in ((Zlib(), gzip.compress(TEXT)), (Zip(), zipped(("a", TEXT))), (Auto(), zstd(TEXT))):
        for raw in (io.BytesIO(data), OnlyRead(data)):
            with decompressor.open(cast(BinaryIO, raw)) as stream:
                assert stream.read(5) == TEXT[:5]
            assert raw.closed


# Writing


def decoded(name: str, data: bytes) -> bytes:
    if name == "zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.read(archive.namelist()[0])
    if name == "zstd":
        return cast(bytes, zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read())
    known = {"gz": gzip.decompress, "bz2": bz2.decompress, "xz": lzma.decompress, "none": bytes}
    return cast(bytes, known[name](data))


def every_level() -> list[Codec]:
    return [codec(name) for name in NAMES] + [codec(n, level) for n in ("gz", "bz2", "xz", "zstd") for level in (1, 9)]


@pytest.mark.parametrize("made", every_level(), ids=lambda c: f"{c.name}-{c.level}")
def test_codecs_write_what_others_read(made: Codec) -> None:
    if not made.joins:
        return
    compressor = made.compressor()
    streamed = compressor.compress(TEXT[:5000]) + compressor.compress(TEXT[5000:]) + compressor.flush()
    joined = made.compress(b"head\n") + streamed + made.compress(b"")
    assert decoded(made.name, joined) == b"head\n" + TEXT
    assert opened(Auto(), joined) == b"head\n" + TEXT
    assert made.decompress(joined) == b"head\n" + TEXT
    assert made.compress(TEXT) == pickle.loads(pickle.dumps(made)).compress(TEXT)
    assert len(made.compress(TEXT)) < len(TEXT) / 2 or made.name == "none"


def test_names_and_suffixes() -> None:
    suffixes = {codec(name).name: codec(name).suffix for name in NAMES}
    assert suffixes == {"bz2": ".bz2", "gz": ".gz", "none": "", "xz": ".xz", "zip": ".zip", "zstd": ".zst"}
    assert [name for name in NAMES if not codec(name).joins] == ["zip"]


@pytest.mark.parametrize("level", [None, 1, 6, 9])
def test_gzip_headers_hold_neither_time_nor_name(level: int | None) -> None:
    made = codec("gz", level)
    compressor = made.compressor()
    for data in (made.compress(TEXT), compressor.compress(TEXT) + compressor.flush()):
        assert data[:3] == b"\x1f\x8b\x08"
        assert data[3:8] == b"\0\0\0\0\0"


def test_zip_archives_are_dated_1980_and_hold_one_member() -> None:
    out = io.BytesIO()
    with codec("zip", 9).archive(out, "part-é_0000.jl") as member:
        member.write(TEXT[:5000])
        member.write(TEXT[5000:])
    with zipfile.ZipFile(out) as archive:
        (info,) = archive.infolist()
        assert info.filename == "part-é_0000.jl"
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert info.compress_type == zipfile.ZIP_DEFLATED
        assert archive.read(info) == TEXT
    again = io.BytesIO()
    with codec("zip", 9).archive(again, "part-é_0000.jl") as member:
        member.write(TEXT)
    assert opened(Zip(), out.getvalue()) == opened(Zip(), again.getvalue()) == TEXT


def test_zip_needs_archive_and_the_others_do_not_have_it() -> None:
    with pytest.raises(NotImplementedError, match="use archive"):
        codec("zip").compress(b"x")
    with pytest.raises(NotImplementedError, match="use compress"), codec("gz").archive(io.BytesIO(), "x"):
        pass


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("gzip", None, r'compression: there is no compression called .gzip.; did you mean "gz"\?'),
        ("snappy", None, "compression: .*known: bz2, gz, none, xz, zip, zstd"),
        ("gz", 0, "compression_level: 0 is not a level of gz; give 1 to 9 or leave it out"),
        ("gz", 10, "compression_level: 10 is not a level of gz"),
        ("zstd", 23, "compression_level: 23 .* give 1 to 22"),
        ("bz2", True, "compression_level: True"),
        ("none", 1, "compression_level: 1 is not a level of none; leave it out"),
    ],
)
def test_wrong_names_and_levels(name: str, level: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        codec(name, level)


def test_importing_the_package_imports_no_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, exporters_beam.compressions.auto; "
        "print([name for name in ('zstandard', 'isal', 'apache_beam') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert compressions.NAMES == NAMES
