"""ORC files: what is written, and what is read again."""

from __future__ import annotations

import datetime
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import orc

import exporters_beam
from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats import orc as module
from exporters_beam.formats.orc import OrcDeserializer, OrcFormat
from exporters_beam.formats.parquet import ParquetDeserializer, ParquetFormat
from exporters_beam.reporting.verify import verify

from helpers import jsonl

UTC = datetime.timezone.utc
times = pytest.mark.skipif(not module._reads_times(), reason="this pyarrow reads no timestamps of ORC")

RECORDS: list[dict[str, Any]] = [
    {"n": n, "f": n / 4, "s": f"é{n % 3}" if n % 2 else None, "l": [n, None][: n % 3],
     "o": {"x": {"y": str(n)}, "z": [{"a": n}]}, "d": Decimal(n) / 100,
     "day": datetime.date(1 + n % 9998, 1, 1), "b": n % 2 == 0, "raw": b"\xff"}
    for n in range(3000)
]  # fmt: skip


def file(records: list[dict[str, Any]], cut: int = 1000, form: Any = None, **options: Any) -> bytes:
    form = form or build(OrcFormat, options)
    blocks = [form.encode(records[n : n + cut]) for n in range(0, len(records), cut)]
    out = io.BytesIO()
    form.assemble([(payload, None) for payload, _ in blocks], list(dict.fromkeys(s for _, s in blocks if s)), out)
    return out.getvalue()


def read(data: bytes, **options: Any) -> list[Any]:
    made = build(OrcDeserializer, options)
    return [record for chunk, _, _ in made.chunks(io.BytesIO(data)) for record in made.decode(chunk)]


def test_records_come_back_as_they_were() -> None:
    data = file(RECORDS)
    assert read(data) == RECORDS
    table = orc.ORCFile(pa.BufferReader(data)).read()
    assert str(table.schema.field("o").type) == "struct<x: struct<y: string>, z: list<item: struct<a: int64>>>"
    parquet = io.BytesIO(file(RECORDS, form=ParquetFormat()))
    made = ParquetDeserializer()
    assert [record for chunk, _, _ in made.chunks(parquet) for record in made.decode(chunk)] == RECORDS


@pytest.mark.parametrize("codec", module.CODECS)
def test_bytes_do_not_depend_on_blocks(codec: str) -> None:
    options: dict[str, Any] = {"codec": codec, "stripe_bytes": 4096}
    data = file(RECORDS, 700, **options)
    assert file(RECORDS, 1100, **options) == data
    found = orc.ORCFile(pa.BufferReader(data))
    assert found.compression == {"none": "UNCOMPRESSED"}.get(codec, codec.upper())
    assert read(data) == RECORDS


def test_stripes_are_read_by_themselves() -> None:
    data = file(RECORDS, codec="none", stripe_bytes=4096)
    made = OrcDeserializer()
    assert made.row_groups(io.BytesIO(data)) == 3
    last = [record for chunk, _, _ in made.chunks_of(io.BytesIO(data), 2) for record in made.decode(chunk)]
    assert last == RECORDS[2048:]


@times
def test_times() -> None:
    record = {
        "at": datetime.datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC),
        "local": datetime.datetime(2026, 1, 1, 0, 0, 0, 1),
    }
    assert read(file([record])) == [record]
    early = file([{"at": datetime.datetime(1, 1, 1)}])
    with pytest.raises(SourceError, match="out of range for nanosecond resolution"):
        read(early)


def test_times_are_not_read_where_some_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_reads_times", lambda: False)
    data = file([{"at": datetime.datetime(2026, 1, 1), "n": 1}])
    with pytest.raises(SourceError, match="reading timestamps of ORC needs pyarrow 25"):
        read(data)
    assert read(data, columns=["n"]) == [{"n": 1}]


def test_types_of_the_source_are_kept_where_orc_has_them() -> None:
    types = {"i": pa.int8(), "f": pa.float32(), "d": pa.decimal128(9, 2), "u": pa.uint32(), "z": pa.binary(2)}
    values = {"i": [1, None], "f": [0.5, None], "d": [Decimal("1.50"), None], "u": [2**32 - 1, None], "z": [b"ab", None]}
    table = pa.table({name: pa.array(values[name], type_) for name, type_ in types.items()})
    out = io.BytesIO()
    pa.parquet.write_table(table, out)
    reading, form = ParquetDeserializer(), OrcFormat()
    ((chunk, _, _),) = reading.chunks(out)
    payload, schema = form.encode(reading.decode(chunk), reading.types_of(chunk))
    made = io.BytesIO()
    form.assemble([(payload, None)], [schema], made)
    found = orc.ORCFile(pa.BufferReader(made.getvalue())).schema
    assert [str(each.type) for each in found] == ["int8", "float", "decimal128(9, 2)", "int64", "binary"]


def test_what_orc_does_not_have_is_told() -> None:
    for record, said in (
        ({"o": {"t": datetime.time(1)}}, "field o.t holds times of day, and ORC has none; make texts of them"),
        ({"l": [Decimal(10) ** 45]}, r"field l\[\] needs decimals of 46 digits, and ORC has 38 at most"),
    ):
        with pytest.raises(RecordError, match=said):
            OrcFormat().encode([record])
    wide = [{"d": Decimal(10) ** 30}, {"d": Decimal(1).scaleb(-20)}]
    with pytest.raises(RecordError, match="field d needs decimals of 51 digits"):
        file(wide, cut=1)
    for node, said in (
        ({"arrow": "uint16"}, "holds unsigned integers"),
        ({"type": "string", "format": "time"}, "times of day"),
    ):
        with pytest.raises(ConfigError, match=f"schema: field a {said}|schema: field a holds {said}"):
            OrcFormat(schema={"properties": {"a": node}})
    with pytest.raises(RecordError, match="an ORC file needs one column at least"):
        file([{}])


def test_columns_and_records_that_are_too_long() -> None:
    data = file(RECORDS[:3])
    assert read(data, columns=["o.x", "n"])[1] == {"n": 1, "o": {"x": {"y": "1"}}}
    with pytest.raises(SourceError, match="there is no column 'm'; the file has n, f, s"):
        read(data, columns=["m"])
    with pytest.raises(SourceError, match=r"stripe 0: .*max_record_bytes"):
        read(file([{"a": "x" * 100_000}]), max_record_bytes=1000)
    with pytest.raises(SourceError, match="as decompression bombs do"):
        read(file([{"a": "x" * 2_000_000}] * 40), max_ratio=100)


def test_files_that_are_none() -> None:
    data = file(RECORDS[:10])
    for damaged, said in ((b"", "not an ORC file: 0 bytes"), (b"PAR1", "not an ORC file: it begins with b'PAR'"),
                          (data[:-20], "the file is truncated or damaged"), (b"ORC", "truncated or damaged")):  # fmt: skip
        with pytest.raises(SourceError, match=said):
            read(damaged)


def test_exports(tmp_path: Path) -> None:
    records = [{"n": n, "g": "ab"[n % 2], "l": [str(n)] * (n % 3)} for n in range(20)]
    (tmp_path / "in.jl").write_bytes(jsonl(records))

    def run(source: str, to: str, deserializer: str, formatter: Any = "orc", **sections: Any) -> Any:
        return exporters_beam.run({
            "reader": {"name": "fs", "options": {"input": {"dir": f"{tmp_path}", "pattern": source}}},
            "deserializer": deserializer, "formatter": formatter,
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/{to}/", "items_per_buffer_write": 8}}, **sections,
        })  # fmt: skip

    report = run(r"in\.jl$", "one", "jsonlines", partition_by=["g"])
    assert [(Path(each["name"]).name, each["records"]) for each in report.files] == [("0000.orc", 8), ("0001.orc", 2)] * 2
    assert verify(report.manifest)[0] == []
    assert read((tmp_path / "one/g=a/0000.orc").read_bytes())[0] == {"n": 0, "l": []}
    kept = {"filter": {"name": "pythonexp", "options": {"python_expression": "item['n'] % 3 == 0"}}}
    run("one/g=b/.*orc$", "two", "orc", **kept)
    run("one/g=b/.*orc$", "three", "orc", **kept, exporter_options={"pushdown": False})
    found = (tmp_path / "two/0000.orc").read_bytes()
    assert found == (tmp_path / "three/0000.orc").read_bytes() and [row["n"] for row in read(found)] == [3, 9, 15]
    run("two/.*orc$", "back", "orc", formatter="json")
    (lines,) = (tmp_path / "back").glob("*.jl.gz")
    assert json.loads(gzip.decompress(lines.read_bytes()).splitlines()[0]) == {"n": 3, "l": []}
