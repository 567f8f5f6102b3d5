"""Decimals and 32-bit numbers: compared as they are meant, written without exponents."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.decimals import plain, single
from exporters_beam.errors import RecordError
from exporters_beam.formats.csv import CsvFormat
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.formats.xml import XmlFormat
from exporters_beam.records import Failure, Unit
from exporters_beam.staging.letters import staged
from exporters_beam.transforms.dupe import DupeFilter
from exporters_beam.transforms.filters import KeyValueFilter, KeyValueRegexFilter, PythonexpFilter
from exporters_beam.transforms.groupers import FileKeyGrouper, as_text

SHORT = single(0.1)
LARGE, SMALL, NOTHING = Decimal("1E+3"), Decimal("1E-7"), Decimal("0E-10")
WRITTEN = {LARGE: "1000", SMALL: "0.0000001", NOTHING: "0.0000000000", Decimal("-2.50E+5"): "-250000"}


def kept(value: Any, wanted: Any, operator: str = "==") -> bool:
    return bool(KeyValueFilter(keys=({"name": "a", "value": wanted, "operator": operator},)).keep({"a": value}))


@pytest.mark.parametrize(
    ("value", "wanted", "operator"),
    [
        (Decimal("19.99"), 19.99, "=="),
        (Decimal("19.990"), 19.99, "=="),
        (Decimal("-0.10"), -0.1, "=="),
        (Decimal("20.00"), 20, "=="),
        (SHORT, 0.1, "=="),
        (0.1, 0.1, "=="),
        (Decimal("19.99"), [1, 19.99], "in"),
        (SHORT, [0.1], "in"),
        (SHORT, [[], 0.1], "in"),
        ([Decimal("1"), Decimal("19.99")], 19.99, "contains"),
        ([SHORT], 0.1, "contains"),
        ([Decimal("19.99")], [19.99], "=="),
        ({"x": [SHORT], "y": "z"}, {"y": "z", "x": [0.1]}, "=="),
        (LARGE, "1000$", "re_match"),
        (SMALL, r"0\.0000001$", "re_match"),
    ],
)
def test_numbers_are_what_was_meant(value, wanted, operator):
    assert kept(value, wanted, operator)


@pytest.mark.parametrize(
    ("value", "wanted", "operator"),
    [
        (Decimal("19.9900000000000000001"), 19.99, "=="),
        (Decimal("19.99"), 19.99000000000001, "=="),
        (Decimal("19.99"), "19.99", "=="),
        ("19.99", 19.99, "=="),
        (None, 19.99, "=="),
        (0.1000001, 0.1, "=="),
        ([Decimal("19.98")], [19.99], "=="),
        ([19.99, 1], [19.99], "=="),
        ((19.99,), [19.99], "=="),
        (Decimal("NaN"), 19.99, "=="),
        ("0.1", [0.1], "in"),
    ],
)
def test_and_nothing_else(value, wanted, operator):
    assert not kept(value, wanted, operator)


@given(st.decimals(-(10**9), 10**9, places=3))
def test_every_decimal_that_a_config_can_write(value):
    assert kept(value, float(str(value)))


@given(st.floats(width=32, allow_nan=False))
def test_every_short_number_as_it_is_printed(value):
    assert kept(value, float(str(np.float32(value))))


def test_regular_expressions_see_no_exponent():
    assert KeyValueRegexFilter(keys=({"name": "a", "value": "^1000$"},)).keep({"a": LARGE})


@pytest.mark.parametrize(
    ("expression", "value", "holds"),
    [
        ("item['a'] == 19.99", Decimal("19.99"), True),
        ("19.99 == item['a']", Decimal("19.99"), True),
        ("item['a'] != 19.99", Decimal("19.99"), False),
        ("item['a'] > 19.99", Decimal("19.99"), False),
        ("item['a'] >= 19.99", Decimal("19.99"), True),
        ("item['a'] < 19.99", Decimal("19.98"), True),
        ("0.05 < item['a'] < 0.1", SHORT, False),
        ("0.05 < item['a'] <= 0.1", SHORT, True),
        ("item['a'] in (1, 0.1, -19.99)", SHORT, True),
        ("item['a'] in (1, 0.1, -19.99)", Decimal("-19.99"), True),
        ("item['a'] == -19.99", Decimal("-19.99"), True),
        ("all(x > 19.98 for x in [item['a']])", Decimal("19.98"), False),
        ("item['a'] > 10.5", Decimal("10.51"), True),
        ("item['a'] == 0.1", "0.1", False),
        ("item.get('b') == 0.1", Decimal("0.1"), False),
    ],
)
def test_expressions_compare_them_as_meant(expression, value, holds):
    filter_ = pickle.loads(pickle.dumps(PythonexpFilter(python_expression=expression)))
    assert bool(filter_.keep({"a": value})) is holds


def test_duplicates():
    key = DupeFilter(key_field="a").key
    same = [
        [1, 1.0, True, Decimal("1"), Decimal("1.00"), Decimal("10E-1")],
        [19.99, Decimal("19.99"), Decimal("19.990")],
        [Decimal("0.1234567890123456789"), Decimal("0.12345678901234567890")],
        [0, 0.0, -0.0, Decimal("0E-10"), Decimal("-0")],
        [Decimal("1E+400"), Decimal("10E+399")],
    ]
    found = [{key({"a": value}) for value in values} for values in same]
    assert [len(keys) for keys in found] == [1] * len(same)
    assert len(set.union(*found)) == len(same)
    assert key({"a": Decimal("0.1234567890123456788")}) not in found[2]


@pytest.mark.parametrize("value", WRITTEN)
def test_no_text_has_an_exponent(value):
    text = WRITTEN[value]
    nested = {"a": value, "b": {"c": [value]}}
    assert JsonFormat().format(nested) == f'{{"a":{text},"b":{{"c":[{text}]}}}}'.encode()
    assert JsonFormat().format_all([nested, {"a": 1e-7}])[0] == JsonFormat().format(nested)
    assert JsonFormat(pretty_print=True).format({"a": value}).decode() == f'{{\n  "a": {text}\n}}'
    assert JsonFormat().format({value: 1, "n": float("1e-7")}) == f'{{"{text}":1,"n":1e-07}}'.encode()
    assert CsvFormat(fields=("a", "b")).format(nested).decode() == f'{text},"{{""c"":[{text}]}}"'
    assert f">{text}<" in XmlFormat().format(nested).decode()
    assert as_text(value) == text and text in as_text([value])
    failure = Failure((Unit(0, "f"), 0, 0), "f", "transform", "no", nested)
    assert json.loads(staged(failure))["record"]["b"] == {"c": [{"$decimal": text}]}


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_no_digit_is_lost(value):
    if abs(int((str(value) + "E0").split("E")[1])) <= 10_000:
        assert Decimal(plain(value)) == value and "E" not in plain(value)


def test_an_exponent_cannot_fill_the_memory():
    with pytest.raises(RecordError, match=r"the decimal 1E\+999999999 has more than 10,000 digits"):
        JsonFormat().format({"a": Decimal("1E+999999999")})


# The whole way, with and without what is known of row groups


def written(path, rows: int = 40) -> list[dict[str, Any]]:
    prices = [Decimal(n) / 100 for n in range(1990, 1990 + rows)]
    table = pa.table(
        {
            "id": list(range(rows)),
            "price": pa.array(prices, pa.decimal128(10, 2)),
            "wide": pa.array(prices, pa.decimal256(50, 7)),
            "short": pa.array([np.float32(n / 10) for n in range(rows)], pa.float32()),
            "coded": pa.array(prices, pa.decimal128(10, 2)).dictionary_encode(),
        }
    )
    pq.write_table(table, path, row_group_size=7)
    return table.to_pylist()


@pytest.mark.parametrize("field", ["price", "wide", "short", "coded"])
@pytest.mark.parametrize("form", ["json", "parquet"])
@pytest.mark.parametrize("pushdown", [True, False])
def test_a_filter_on_parquet_keeps_what_it_names(tmp_path, field, form, pushdown):
    rows = written(tmp_path / "in.parquet")
    wanted = 1.1 if field == "short" else 20.11
    config = {
        "reader": {"name": "fs", "options": {"input": f"{tmp_path}/in.parquet"}},
        "deserializer": {"name": "parquet"},
        "filter_before": {"name": "key_value", "options": {"keys": [{"name": field, "value": wanted}]}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/p-", "compression": "none"}},
        "exporter_options": {"formatter": {"name": form}, "pushdown": pushdown},
    }
    exporters_beam.run(config)
    (path,) = (tmp_path / "out").glob("p-*")
    if form == "parquet":
        ids = pq.read_table(path).column("id").to_pylist()
    else:
        ids = [json.loads(line)["id"] for line in path.read_text().splitlines()]
    assert ids == [next(row["id"] for row in rows if float(str(row[field])[:5]) == pytest.approx(wanted))]


def test_group_names():
    grouper = FileKeyGrouper(keys=("a",))
    assert [grouper.key({"a": value}) for value in WRITTEN] == [(text,) for text in WRITTEN.values()]


def test_what_reduce_made_of_decimals(tmp_path):
    written(tmp_path / "in.parquet", 3)
    code = "def reduce_function(item, accumulator=None):\n    return (accumulator or 0) + item['price'] * 100_000"
    report = exporters_beam.run(
        {
            "reader": {"name": "fs", "options": {"input": f"{tmp_path}/in.parquet"}},
            "deserializer": {"name": "parquet"},
            "writer": {"name": "reduce", "options": {"code": code}},
        }
    )
    assert Decimal(str(report.result)) == Decimal("5973000")
    assert json.loads(report.to_json())["result"] in ("5973000.00", 5973000)
