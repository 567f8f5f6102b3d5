"""What every compression promises, reading and writing. A new one joins with a row in READS and one in WRITES."""

from __future__ import annotations

import io
import pickle
import random

import pytest

from exporters_beam.components.registry import find, load
from exporters_beam.compressions import NAMES, Codec, codec
from exporters_beam.errors import ConfigError, SourceError

import contracts
from contracts import Case

TEXT = "".join(contracts.ODD_TEXTS.values()).encode()
NOISE = random.Random(5).randbytes(700_000)

PAYLOADS = {"nothing": b"", "one byte": b"x", "odd text": TEXT, "noise": NOISE, "zeros": bytes(3_000_000)}

payloads = pytest.mark.parametrize("data", PAYLOADS.values(), ids=PAYLOADS)

READS = contracts.table(
    "decompressor",
    ("auto", {}, "gz"),
    ("auto", {}, "bz2"),
    ("auto", {}, "zip"),
    ("auto", {}, "zstd"),
    ("auto", {}, "xz"),
    ("auto", {}, "none"),
    ("bz2", {}, "bz2"),
    ("none", {}, "none"),
    ("xz", {}, "xz"),
    ("zip", {}, "zip"),
    ("zlib", {}, "gz"),
    ("zstd", {}, "zstd"),
)

reads = pytest.mark.parametrize(("case", "written"), READS)
writes = pytest.mark.parametrize("name", NAMES)


def file_of(made: Codec, *members: bytes) -> bytes:
    """A file as it is delivered: members joined, or one archive."""
    if made.joins:
        return b"".join(made.compress(member) for member in members)
    out = io.BytesIO()
    with made.archive(out, "part-0000.jl") as archive:
        for member in members:
            archive.write(member)
    return out.getvalue()


def read(case: Case, data: bytes) -> bytes:
    with case.make().open(io.BytesIO(data)) as stream:
        return stream.read()


def test_every_decompressor_has_a_row() -> None:
    contracts.check_every_component_has_a_row("decompressor", READS)
    assert {row.values[1] for row in READS} == set(NAMES)


@reads
def test_options_round_trip(case: Case, written: str) -> None:
    contracts.check_options_round_trip(case)


@reads
def test_unknown_options_are_refused(case: Case, written: str) -> None:
    contracts.check_unknown_options_are_refused(case)


@reads
@payloads
def test_what_was_written_is_read(case: Case, written: str, data: bytes) -> None:
    packed = file_of(codec(written), data)
    assert read(case, packed) == data
    with contracts.check_pickling(case).open(io.BytesIO(packed)) as stream:
        assert stream.read() == data


@reads
def test_an_empty_file_holds_nothing(case: Case, written: str) -> None:
    assert read(case, b"") == b""


@reads
def test_members_joined_are_read_one_after_the_other(case: Case, written: str) -> None:
    assert read(case, file_of(codec(written), TEXT, b"", NOISE, TEXT)) == TEXT + NOISE + TEXT


@reads
def test_reads_give_exactly_what_is_asked_for(case: Case, written: str) -> None:
    with case.make().open(io.BytesIO(file_of(codec(written), NOISE))) as stream:
        pieces = [stream.read(100_001) for _ in range(8)]
    assert [len(piece) for piece in pieces] == [100_001] * 6 + [99_994, 0]
    assert b"".join(pieces) == NOISE


@reads
@pytest.mark.parametrize("kept", [0.5, 0.99, -1])
def test_a_truncated_file_is_an_error(case: Case, written: str, kept: float) -> None:
    packed = file_of(codec(written), NOISE)
    cut = packed[: int(len(packed) * kept)] if kept > 0 else packed[:-1]
    if written == "none":
        assert read(case, cut) == cut
        return
    with pytest.raises(SourceError):
        read(case, cut)


@reads
def test_a_changed_byte_is_an_error(case: Case, written: str) -> None:
    if written == "none":
        return
    packed = bytearray(file_of(codec(written), NOISE))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(SourceError):
        read(case, bytes(packed))


@reads
def test_something_else_is_an_error_that_says_what_it_is(case: Case, written: str) -> None:
    if case.name in ("auto", "none"):
        return
    with pytest.raises(SourceError, match='"none" or "auto"'):
        read(case, b'{"plain": "text, not compressed"}\n')
    other = "bz2" if written == "gz" else "gz"
    with pytest.raises(SourceError, match=f"the input is {'bz2' if other == 'bz2' else 'gzip'}, not "):
        read(case, file_of(codec(other), TEXT))


@reads
def test_files_get_the_suffix_that_is_read_again(case: Case, written: str) -> None:
    assert codec(written).suffix in (*load(find("decompressor", case.name)).suffixes, "")


@writes
@payloads
def test_writing_twice_gives_the_same_bytes(name: str, data: bytes) -> None:
    made = codec(name)
    arrived = pickle.loads(pickle.dumps(made))
    assert arrived == made == codec(name)
    assert file_of(made, data) == file_of(made, data) == file_of(arrived, data)


@writes
def test_a_member_can_be_made_piece_by_piece(name: str) -> None:
    made = codec(name)
    if not made.joins:
        return
    compressor = made.compressor()
    packed = b"".join(map(compressor.compress, (TEXT, b"", NOISE))) + compressor.flush()
    assert made.decompress(packed) == TEXT + NOISE
    assert made.decompress(packed + made.compress(TEXT)) == TEXT + NOISE + TEXT


@writes
def test_levels_are_checked(name: str) -> None:
    for level in codec(name).levels:
        assert codec(name, level).level == level
    for level in (-1, 99, True, "9"):
        with pytest.raises(ConfigError, match=r"^compression_level: "):
            codec(name, level)  # type: ignore[arg-type]


def test_unknown_compressions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^compression: there is no compression called 'gzz'; did you mean .gz."):
        codec("gzz")
