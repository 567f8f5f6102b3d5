"""Archives: each member is a file of its own, and what archivers add is none."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from exporters_beam.compressions import streams
from exporters_beam.compressions.archives import is_tar
from exporters_beam.compressions.auto import Auto
from exporters_beam.compressions.none import Plain
from exporters_beam.config.spec import load
from exporters_beam.engine.source import Source
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.planning.plan import make
from exporters_beam.readers.fs import FsReader
from exporters_beam.records import Chunk, Mark, Unit

from helpers import delivered


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT, more: Any = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return out.getvalue()


PACKERS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "in.zip": zipped,
    "in.tar": tarred,
    "gnu.tar": lambda members: tarred(members, tarfile.GNU_FORMAT),
    "ustar.tar": lambda members: tarred(members, tarfile.USTAR_FORMAT),
    "in.tar.gz": lambda members: gzip.compress(tarred(members)),
    "in.tgz": lambda members: gzip.compress(tarred(members)),
    "in.tar.bz2": lambda members: bz2.compress(tarred(members)),
    "in.tar.xz": lambda members: lzma.compress(tarred(members)),
    "in.tar.zst": lambda members: zstandard.ZstdCompressor().compress(tarred(members)),
    "no-suffix": lambda members: gzip.compress(tarred(members)),
}
archives = pytest.mark.parametrize("name", PACKERS)

JUNK = {
    "__MACOSX/": b"",
    "__MACOSX/._a.jl": b"\x00\x05\x16\x07binary",
    "._a.jl": b"\x00\x05\x16\x07binary",
    ".DS_Store": b"\x00\x00\x00\x01Bud1",
    "d/Thumbs.db": b"junk",
    "desktop.ini": b"[junk]",
    "d/": b"",
    "empty.jl": b"",
}


@pytest.fixture
def run(tmp_path: Path, export: Callable[..., Any]) -> Callable[..., Any]:
    """Exports a file of these bytes; gives the records and the report."""

    def run(name: str, data: bytes, **more: Any) -> tuple[list[Any], Any]:
        (tmp_path / name).write_bytes(data)
        report = export(str(tmp_path / name), **more)
        return [record for records in delivered(tmp_path / "out").values() for record in records], report

    return run


class Read(NamedTuple):
    read: int
    warnings: tuple[str, ...]


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., Any]:
    """Reads a file of these bytes without an export: the records, and what a report would tell."""

    def look(name: str, data: bytes, **sections: Any) -> tuple[list[Any], Read]:
        (tmp_path / name).write_bytes(data)
        reader = {"name": "fs", "options": {"input": str(tmp_path / name)}}
        plan = make(load({"reader": reader, "writer": "console", **sections}))
        source = Source(plan.reader, plan.decompressor, plan.deserializer)
        events = [event for unit in source.units() for event in source.events(unit, source.span(unit))]
        records = [record for _, found, _ in events if isinstance(found, Chunk) for record in source.records(found)]
        marks = [(found, n) for _, found, n in events if isinstance(found, Mark)]
        return records, Read(sum(n for _, n in marks), tuple(text for mark, _ in marks for text in mark.warnings))

    return look


@archives
def test_headers_of_csv_are_no_records(look, name):
    data = PACKERS[name]({"jan.csv": b"id,n\n1,a\n2,b\n", "feb.csv": b"n,id\nc,3\n"})
    records, report = look(name, data, deserializer={"name": "csv"})
    assert records == [{"id": "1", "n": "a"}, {"id": "2", "n": "b"}, {"n": "c", "id": "3"}]
    assert report.read == 3


@archives
def test_what_archivers_add_is_passed_over(look, name):
    records, report = look(name, PACKERS[name]({**JUNK, "d/a.jl": b'{"id": 1}\n'}))
    assert records == [{"id": 1}] and report.warnings == ()


@archives
def test_lines_without_an_end_do_not_fuse(look, name):
    records, _ = look(name, PACKERS[name]({"a.jl": b'{"id": 1}', "b.jl": b'{"id": 2}'}))
    assert records == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(("workers", "pushdown"), [(1, True), (1, False), (2, True)])
def test_the_same_on_several_workers_and_without_pushdown(run, pushdown, workers):
    data = tarred({f"{n}.jl": b"".join(b'{"id": %d}\n' % (1000 * n + m) for m in range(1000))[:-1] for n in range(5)})
    records, _ = run("in.tar", data, workers=workers, exporter_options={"pushdown": pushdown},
                     filter={"name": "pythonexp", "options": {"python_expression": "item['id'] % 2"}})  # fmt: skip
    assert [record["id"] for record in records] == list(range(1, 5000, 2))


@pytest.mark.parametrize("name", ["in.zip", "in.tar.gz"])
def test_arrays_and_tables(look, export, tmp_path, name):
    records, _ = look(name, PACKERS[name]({"a.json": b'[{"id": 1}]', "b.json": b'[{"id": 2}, {"id": 3}]'}),
                     deserializer={"name": "json"})  # fmt: skip
    assert records == [{"id": 1}, {"id": 2}, {"id": 3}]
    tables = {}
    for n in range(3):
        out = io.BytesIO()
        pq.write_table(pa.table({"id": range(10 * n, 10 * n + 10)}), out, row_group_size=4)
        tables[f"{n}.parquet"] = out.getvalue()
    records, report = look(name, PACKERS[name](tables), deserializer={"name": "parquet"})
    assert report.read == 30 and [record["id"] for record in records] == list(range(30))
    report = export(str(tmp_path / name), deserializer={"name": "parquet"}, formatter={"name": "parquet"})
    assert pq.read_table(report.files[0]["name"]).column("id").to_pylist() == list(range(30))


@archives
def test_members_that_are_compressed_themselves(look, name):
    data = PACKERS[name]({"a.jl.gz": gzip.compress(b'{"id": 1}\n'), "b.jl.xz": lzma.compress(b'{"id": 2}\n')})
    assert look(name, data)[0] == [{"id": 1}, {"id": 2}]


@archives
def test_members_are_chosen(look, name):
    data = PACKERS[name]({**JUNK, "a.csv": b"id\n1\n", "_b.csv": b"id\n2\n", "c.txt": b"id\n3\n"})
    records, _ = look(name, data, deserializer="csv", decompressor={"name": "auto", "options": {"members": r"\.csv$"}})
    assert [record["id"] for record in records] == ["1", "2"]
    records, report = look(name, data, deserializer="csv", decompressor={"name": "auto", "options": {"members": "nothing"}})
    assert report.read == 0 and "no member of the archive is read: none has 'nothing' in its name" in report.warnings[0]


def test_a_hidden_member_that_may_be_data_is_told(look):
    _, report = look("in.zip", zipped({"a.jl": b"{}\n", "_b.jl": b"{}\n"}))
    assert report.read == 1 and "in.zip: _b.jl: passed over" in report.warnings[0] and "members" in report.warnings[0]


def test_a_wrong_pattern_is_refused(export):
    with pytest.raises(ConfigError, match=r"decompressor\.options\.members: '\(' is not a valid regular expression"):
        export("x.zip", decompressor={"name": "zip", "options": {"members": "("}})


@pytest.mark.parametrize("name", ["in.zip", "in.tar.gz"])
def test_messages_and_dead_letters_name_the_member(run, tmp_path, name):
    data = PACKERS[name]({"a.jl": b'{"id": 1}\n' * 7, "b.jl": b'{"id": 2}\n', "c.jl": b'{"id": 3}\n\n{oops}\n'})
    with pytest.raises(SourceError, match=rf"/{name}: c\.jl: record 3: deserializer: not valid JSON"):
        run(name, data)
    run(name, data, on_error={"action": "dead_letter", "file": str(tmp_path / "letters.jl")})
    (letter,) = map(json.loads, (tmp_path / "letters.jl").read_text().splitlines())
    assert (letter["file"], letter["number"]) == (f"{tmp_path}/{name}: c.jl", 3)


def test_a_member_that_cannot_be_cut_is_named(look):
    with pytest.raises(SourceError, match=r"in\.zip: b\.csv: record 1: "):
        look("in.zip", zipped({"a.csv": b"id\n1\n", "b.csv": b'id\n"1\n'}), deserializer="csv")


def links() -> list[tarfile.TarInfo]:
    made = []
    for name, kind in (("link.jl", tarfile.SYMTYPE), ("hard.jl", tarfile.LNKTYPE), ("pipe.jl", tarfile.FIFOTYPE),
                       ("device.jl", tarfile.CHRTYPE)):  # fmt: skip
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "a.jl"
        made.append(info)
    return made


def test_links_and_devices_are_passed_over_with_a_warning(look):
    records, report = look("in.tar", tarred({"a.jl": b'{"id": 1}\n'}, more=links()))
    assert records == [{"id": 1}]
    told = "\n".join(report.warnings)
    for name, kind in (
        ("link", "a link"),
        ("hard", "a link to another member"),
        ("pipe", "a pipe"),
        ("device", "a device"),
    ):
        assert f"in.tar: {name}.jl: passed over, since it is {kind}" in told
    linked = zipfile.ZipInfo("b.jl")
    linked.create_system, linked.external_attr = 3, 0o120777 << 16
    out = io.BytesIO(zipped({"a.jl": b'{"id": 1}\n'}))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(linked, "a.jl")
    records, report = look("in.zip", out.getvalue())
    assert records == [{"id": 1}] and "in.zip: b.jl: passed over, since it is a link" in report.warnings[0]


@pytest.mark.parametrize("outer", ["in.zip", "in.tar", "in.tar.gz"])
@pytest.mark.parametrize("inner", [zipped, tarred, lambda members: gzip.compress(tarred(members))])
def test_archives_in_archives_are_refused(look, outer, inner):
    data = PACKERS[outer]({"a.jl": b"{}\n", "in": inner({"b.jl": b"{}\n"})})
    with pytest.raises(SourceError, match=rf"{outer}: in: it is an archive inside an archive; unpack the outer one"):
        look(outer, data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_two_members_of_one_name_are_refused(look, kind):
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            for n in range(2):
                archive.writestr("a.jl", f'{{"id": {n}}}\n')
        data = out.getvalue()
    else:
        one, two = (tarred({"a.jl": b'{"id": %d}\n' % n}) for n in range(2))
        data = one[:1024] + two
    with pytest.raises(SourceError, match=r"two members are called 'a\.jl'"):
        look(f"in.{kind}", data)


def test_a_tar_archive_that_is_cut_anywhere_is_an_error(tmp_path):
    """`tarfile` itself takes the end of a member for the end of the archive."""
    whole = tarred({"a.jl": b'{"id": 1}\n' * 100, "b.jl": b'{"id": 2}\n' * 100, "x" * 150: b'{"id": 3}\n'})
    end = whole.rstrip(b"\0")
    for size in [
        *range(512, len(end), 512),
        *random.Random(1).sample(range(513, len(end)), 20),
        len(end) // 512 * 512 + 512,
    ]:
        path = tmp_path / f"{size}.tar"
        path.write_bytes(whole[:size])
        with pytest.raises(SourceError, match=r"\.tar: .*(truncated|damaged)"):
            list(everything(path))


def test_a_damaged_or_followed_tar_archive_is_an_error(tmp_path):
    whole = tarred({"a.jl": b'{"id": 1}\n' * 100, "b.jl": b'{"id": 2}\n'})
    at = whole.index(b"b.jl")
    for data, says in ((whole[: at + 20] + b"x" + whole[at + 21 :], "damaged at byte"), (whole + whole, "cannot be joined"),
                       (gzip.compress(whole)[:-4], "truncated"),
                       (gzip.compress(whole)[:-8] + bytes(8), "damaged")):  # fmt: skip
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(SourceError, match=says):
            list(everything(tmp_path / "a"))


def everything(path: Path, decompressor: Any = None, size: int = 1 << 24) -> list[Any]:
    source = Source(FsReader(input=str(path)), decompressor or Auto(), JsonLinesDeserializer(), size)
    return [event for unit in source.units() for event in source.events(unit, source.span(unit))]


def test_a_tar_archive_is_never_lines(tmp_path):
    """Whatever the decompressor, the size and the name are; one without a magic, as of 1979, is found by its checksum."""
    old = bytearray(tarred({"a.jl": b'{"id": 1}\n' * 5000}, tarfile.USTAR_FORMAT))
    old[257:265] = bytes(8)
    old[148:156] = b"%06o\0 " % (256 + sum(old[:148]) + sum(old[156:512]))
    for data in (tarred({"a.jl": b'{"id": 1}\n' * 5000}), bytes(old)):
        assert is_tar(data[:512])
        (tmp_path / "a.jl").write_bytes(data)
        for size in (1 << 24, 1 << 14):
            found = everything(tmp_path / "a.jl", Plain(), size)
            assert sum(n for _, mark, n in found if isinstance(mark, Mark)) == 5000


def test_an_empty_archive_and_a_name_that_is_wrong(look):
    for name, data in (("in.zip", zipped({})), ("in.tar", tarred({})), ("in.tgz", gzip.compress(tarred({})))):
        _, report = look(name, data)
        assert report.read == 0 and "no member of the archive is read" in report.warnings[0]
    with pytest.raises(SourceError, match=r"the name says that it is a tar archive but the content is none"):
        look("in.tar", b'{"id": 1}\n' * 100)


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "FREE", 1 << 20)
    zeros = bytes(1 << 20)
    for name, data in (
        ("a.zip", zipped({f"{n}.jl": zeros for n in range(8)})),
        ("a.tar.xz", lzma.compress(tarred({f"{n}.jl": zeros for n in range(8)}))),
        ("b.zip", zipped({"a.jl.xz": lzma.compress(zeros * 8)})),
        ("b.tar", tarred({"a.jl.xz": lzma.compress(zeros * 16)})),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match="decompression bombs"):
            list(everything(tmp_path / name, Auto(max_ratio=100)))
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "c.tar").write_bytes(header.tobuf() + bytes(1 << 16))
    with pytest.raises(SourceError, match=r"a header of 1,073,741,824 bytes"):
        list(everything(tmp_path / "c.tar"))


def test_zip64(look):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("a.jl", "b.jl"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(b'{"id": 1}\n')
    assert len(look("in.zip", out.getvalue())[0]) == 2


@pytest.mark.parametrize("name", ["in.zip", "in.tar.gz"])
def test_ranges_are_the_same_wherever_reading_begins(tmp_path, name):
    """Members are smaller and larger than a range; what a range holds does not depend on those that were read before."""
    sizes = [10, 3000, 1, 700, 6000]
    data = {f"{n}.jl": b"".join(b'{"n": %d, "m": %d, "x": "%s"}\n' % (n, m, b"x" * 400) for m in range(size))
            for n, size in enumerate(sizes)}  # fmt: skip
    (tmp_path / name).write_bytes(PACKERS[name](data))
    source = Source(FsReader(input=str(tmp_path / name)), Auto(), JsonLinesDeserializer(), 1 << 18)
    (unit,) = source.units()
    whole = list(source.events(unit, (0, -1)))
    last = whole[-1][0]
    assert last > 5
    for start in range(last + 1):
        assert list(source.events(unit, (start, -1))) == [event for event in whole if event[0] >= start]
    covered = frozenset((unit.index, n) for n in range(0, last + 1, 2))
    for number, found, count in source.events(unit, (0, -1), covered):
        assert (found is None) == (number % 2 == 0)
        assert found is None or (number, found, count) in whole
    assert sum(n for _, found, n in whole if isinstance(found, Mark)) == sum(sizes)


def test_several_gzip_members_stay_one_stream(look):
    data = gzip.compress(b"id\n1\n") + gzip.compress(b"2\n")
    assert [record["id"] for record in look("in.csv.gz", data, deserializer="csv")[0]] == ["1", "2"]


def test_a_unit_of_a_reader_without_names(tmp_path):
    class Bytes:
        def units(self) -> Any:
            yield Unit(0, "it", -1, "")

        def open(self, unit: Unit) -> Any:
            return io.BufferedReader(io.BytesIO(zipped({"a.jl": b"{}\n", "b.jl": b"{}\n"})))  # type: ignore[arg-type]

    source = Source(Bytes(), Auto(), JsonLinesDeserializer())
    (unit,) = source.units()
    assert [n for _, found, n in source.events(unit, (0, -1)) if isinstance(found, Mark)] == [2]
