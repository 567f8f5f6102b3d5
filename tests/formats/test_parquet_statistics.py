"""What a filter keeps of a Parquet file does not depend on what is known of its row groups."""

from __future__ import annotations

import datetime
import io
import math
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporters_beam.formats.parquet import ParquetDeserializer
from exporters_beam.records import Skipped
from exporters_beam.transforms.filters import KeyValueFilter

NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)
NUMBERS = [0, -1, 1, 127, 128, 255, 2**31, 2**63, 2**64 - 1, -(2**63), 0.1, -0.0, 0.0, 1.5, 16777217, 1e300, math.inf,
           -math.inf, math.nan]  # fmt: skip
VALUES = [*NUMBERS, True, False, None, "", "a", "é", "2026-01-31", "1", b"a", Decimal("0.1"), Decimal("1"), NOON, NOON.date(),
          [1], {"a": 1}]  # fmt: skip

KINDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int8": (pa.int8(), [-128, -1, 0, 1, 127]),
    "uint8": (pa.uint8(), [0, 1, 127, 128, 255]),
    "uint16": (pa.uint16(), [0, 1, 65535]),
    "int32": (pa.int32(), [-(2**31), -1, 0, 1, 2**31 - 1]),
    "uint32": (pa.uint32(), [0, 1, 2**31, 2**32 - 1]),
    "int64": (pa.int64(), [-(2**63), -1, 0, 1, 16777217, 2**63 - 1]),
    "uint64": (pa.uint64(), [0, 1, 2**63, 2**64 - 1]),
    "float": (pa.float32(), [float(np.float32(x)) for x in (0.1, -0.0, 0.0, 1.5, math.inf, -math.inf, math.nan, 3e38)]),
    "double": (pa.float64(), [0.1, -0.0, 0.0, 1.5, 1e300, math.inf, -math.inf, math.nan]),
    "half": (pa.float16(), [np.float16(x) for x in (0.5, -0.0, 0.0, math.nan)]),
    "string": (pa.string(), ["", "a", "é", "z" * 300, "1", "2026-01-31", "\U0001f600", "\uffff"]),
    "large": (pa.large_string(), ["", "a", "é"]),
    "coded": (pa.dictionary(pa.int32(), pa.string()), ["", "a", "é", "1"]),
    "binary": (pa.binary(), [b"", b"a", b"\xff"]),
    "fixed": (pa.binary(2), [b"ab", b"\xff\xff"]),
    "bool": (pa.bool_(), [True, False]),
    "decimal": (pa.decimal128(10, 2), [Decimal("0.10"), Decimal("-1.00"), Decimal("1.00"), Decimal("1.50")]),
    "wide": (pa.decimal256(60, 3), [Decimal("0.100"), Decimal("1.000")]),
    "date": (pa.date32(), [NOON.date(), datetime.date(1969, 12, 31)]),
    "time": (pa.time64("us"), [datetime.time(1, 2, 3)]),
    "zoned": (pa.timestamp("ms", "Europe/Madrid"), [NOON, NOON.replace(year=1960)]),
    "plain": (pa.timestamp("us"), [NOON.replace(tzinfo=None)]),
}


def kept(data: bytes, filter_: KeyValueFilter, skipping: bool) -> tuple[list[Any], int]:
    deserializer = ParquetDeserializer()
    if skipping:
        deserializer = deserializer.skipping(filter_.may_keep)
    found, skipped = [], 0
    for chunk, _, _ in deserializer.chunks(io.BytesIO(data)):
        if isinstance(chunk, Skipped):
            skipped += 1
        else:
            found += [repr(record) for record in deserializer.decode(chunk) if filter_.keep(record)]
    return found, skipped


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"version": "1.0", "use_deprecated_int96_timestamps": True},
                                     {"use_byte_stream_split": ["float", "double"], "use_dictionary": False}])  # fmt: skip
def test_row_groups_are_skipped_where_nothing_would_be_kept(options):
    rng = random.Random(11)
    skipped = 0
    for _ in range(5):
        columns = {}
        for name, (kind, values) in KINDS.items():
            groups = [rng.sample([*values, None], rng.randint(1, min(3, len(values)))) for _ in range(6)]
            rows = [rng.choice(group) for group in groups for _ in range(4)]
            coded = pa.types.is_dictionary(kind)
            array = pa.array(rows, kind.value_type if coded else kind)
            columns[name] = array.dictionary_encode() if coded else array
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out, row_group_size=4, store_schema=rng.random() < 0.5, **options)
        for name, (_, own) in KINDS.items():
            value = rng.choice([*VALUES, *own])
            operator = rng.choice(["==", "in"])
            wanted = [value, rng.choice(VALUES)] if operator == "in" else value
            filter_ = KeyValueFilter(keys=({"name": name, "operator": operator, "value": wanted},))
            found, passed = kept(out.getvalue(), filter_, True)
            assert found == kept(out.getvalue(), filter_, False)[0], (name, operator, wanted)
            skipped += passed
    assert skipped > 20
