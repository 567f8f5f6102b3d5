"""Avro files that claim, or hold, something else than they say: a sentence, and no record lost."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from typing import Any

import fastavro
import pytest

from exporters_beam.errors import SourceError
from exporters_beam.formats import avro_depth
from exporters_beam.formats.avro import _LONGS, AvroDeserializer, _header

SYNC = bytes(range(16))
RECORD = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}, {"name": "t", "type": "string"}]}


def file_of(*blocks: tuple[int, bytes], schema: Any = RECORD, codec: str = "null") -> bytes:
    parts = [_header(schema, codec, SYNC)]
    for count, body in blocks:
        parts += [_LONGS[count], _LONGS[len(body)], body, SYNC]
    return b"".join(parts)


def read(data: bytes, **options: Any) -> tuple[list[Any], str]:
    """The records before an error, the way the pipeline goes, and the error."""
    deserializer = AvroDeserializer(**options)
    found: list[Any] = []
    try:
        for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
            try:
                records = list(deserializer.decode(chunk))
            except Exception:
                for _, record, _ in deserializer.decode_each(chunk):
                    found.append(record)
                continue
            assert len(records) == count
            found += records
    except SourceError as error:
        return found, str(error)
    return found, ""


def body_of(*records: dict[str, Any], schema: Any = RECORD) -> bytes:
    out = io.BytesIO()
    for record in records:
        fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


ZERO = {"id": 0, "t": ""}


@pytest.mark.parametrize("last", [ZERO, {"id": 5, "t": "abc"}, {"id": -64, "t": "x" * 70}])
@pytest.mark.parametrize("rows", [2, 3, 40])
def test_a_block_that_claims_fewer_records_than_it_has(rows, last):
    body = body_of(*[{"id": 1, "t": "a"}] * (rows - 1), last)
    good = (2, body_of(ZERO, ZERO))
    assert len(read(file_of(good, (rows, body), good))[0]) == rows + 4
    for claimed in {0, 1, rows - 1}:
        found, said = read(file_of(good, (claimed, body), good))
        assert len(found) == 2 + claimed
        assert said.startswith(f"record {3 + claimed}: the file is damaged: its block claims to have {claimed} records, and ")
        assert said.endswith(" bytes stand behind them")
    found, said = read(file_of(good, (rows + 1, body), good))
    assert len(found) == 2 + rows
    assert said.startswith(f"record {3 + rows}: the block is damaged: ")


def test_a_record_that_is_too_long_is_named():
    rows = [{"id": n, "t": "x" * (5000 if n == 2 else 10)} for n in range(4)]
    data = file_of((4, body_of(*rows)))
    assert read(data, max_record_bytes=6000) == (rows, "")
    found, said = read(data, max_record_bytes=4000)
    assert found == rows[:2]
    assert said == "record 3: the record is longer than 4,000 bytes; where that is right, raise max_record_bytes"
    assert read(file_of((4, body_of(*rows[:2] * 2))), max_record_bytes=20) == (rows[:2] * 2, "")


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz", "zstandard"])
def test_blocks_that_unpack_to_a_thousand_times_as_much(codec):
    from exporters_beam.formats.avro import _PACK

    body = body_of({"id": 1, "t": "x" * (36 << 20)})
    if codec == "deflate":
        data = file_of(*[(1, _PACK[codec](body))] * 2, codec=codec)
        assert len(data) * 1100 > 2 * len(body)
        found, said = read(data, max_ratio=500)
    else:
        data = file_of(*[(1, _PACK[codec](body))] * 2, codec=codec)
        found, said = read(data)
    assert len(found) == 1
    assert (
        said.startswith("record 2: ")
        and "as decompression bombs do; where that is right, raise max_ratio or set it to 0" in said
    )
    assert len(read(data, max_ratio=0)[0]) == 2


def test_items_of_few_bytes_are_counted_in_large_blocks(monkeypatch):
    monkeypatch.setattr(avro_depth, "LARGE", 1000)
    monkeypatch.setattr(avro_depth, "MOST_ITEMS", 5000)
    inner = {"type": "record", "name": "I", "fields": [{"name": "a", "type": ["null", "int"]}]}
    for kind, key in (("array", "items"), ("map", "values")):
        schema = {"type": "record", "name": "R", "fields": [{"name": "l", "type": {"type": kind, key: inner}}]}
        make = (lambda n: [{"a": None}] * n) if kind == "array" else (lambda n: {str(i): {"a": None} for i in range(n)})
        for count, fits in ((900, True), (4000, True), (6000, False)):
            avro_depth._parsed.cache_clear()
            found, said = read(file_of((1, body_of({"l": make(count)}, schema=schema)), schema=schema))
            assert (len(found) == 1) is fits
            assert fits or (said.startswith("record 1: the block is damaged (null): an array claims to have 6,000 items")
                            and "write it with smaller blocks" in said)  # fmt: skip
    avro_depth._parsed.cache_clear()


BOMB = """
import io, json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
sys.path.insert(0, sys.argv[1])
from exporters_beam.formats.avro import AvroDeserializer, _LONGS, _PACK, _header
from exporters_beam.errors import SourceError
inner = {"type": "record", "name": "I", "fields": [{"name": "a", "type": ["null", "int"]}]}
schema = {"type": "record", "name": "R", "fields": [{"name": "l", "type": {"type": "array", "items": inner}}]}
body = _LONGS[60 << 20] + bytes(60 << 20) + bytes(1)
for codec in ("deflate", "zstandard"):
    data = _header(schema, codec, bytes(16)) + (_LONGS[1] + _LONGS[len(p := _PACK[codec](body))] + p + bytes(16)) * 30
    deserializer = AvroDeserializer()
    try:
        for chunk, _, _ in deserializer.chunks(io.BytesIO(data)):
            try:
                deserializer.decode(chunk)
            except Exception:
                list(deserializer.decode_each(chunk))
        print(json.dumps("read"))
    except SourceError as error:
        print(json.dumps(str(error)))
"""


def test_memory_stays_bounded():
    run = subprocess.run([sys.executable, "-c", BOMB, "."], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr[-2000:]
    for line in run.stdout.splitlines():
        assert json.loads(line).startswith("record 1: the block is damaged (")
        assert "an array claims to have 62,914,560 items" in json.loads(line)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_changed_bytes_end_in_a_sentence_or_in_records(codec):
    rng = random.Random(7)
    rows = [{"id": n, "t": f"text {n}"} for n in range(30)]
    out = io.BytesIO()
    fastavro.writer(out, RECORD, rows, codec=codec, sync_interval=100)
    whole = out.getvalue()
    for _ in range(1500):
        data = bytearray(whole)
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data))]
        else:
            for _ in range(rng.randint(1, 3)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        found, said = read(bytes(data))
        assert "\n" not in said and len(said) < 600
        assert len(found) == 30 or said or len(data) < len(whole)
