"""Columns that are made of rows at once, without records, give what records give."""

from __future__ import annotations

import datetime
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.config import spec
from exporters_beam.engine import encode
from exporters_beam.formats import csv, parquet
from exporters_beam.formats.avro import AvroFormat
from exporters_beam.formats.parquet import ParquetFormat
from exporters_beam.formats.tables import arrow, kept
from exporters_beam.planning.plan import make
from exporters_beam.transforms.expressions.by_column import columns_set
from exporters_beam.transforms.mappers import PythonexpTransform

from beamless import outcome
from examples import at_least

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**53 + 1, 2**63 - 1, 2**64, 1.5, -0.0, float("nan"), float("inf"), "", "1", "é"),
    *("\ud800", b"x", Decimal("1.50"), Decimal("NaN"), Decimal(10) ** 80, {}, {"x": 1}, {"x": None, "y": [1]}, [], [1]),
    *([None], (1, 2.5), datetime.date(2026, 1, 31), datetime.datetime(2026, 1, 31), datetime.time(1, 2), {1}, 1j),
    datetime.datetime(2026, 1, 31, tzinfo=datetime.timezone.utc),
]
PROPERTIES = {"a": {"type": ["integer", "null"]}, "b": {"type": "string"}, "c": {"type": ["number", "null"]}}
FORMATS = [
    *(ParquetFormat(), ParquetFormat(schema={"properties": PROPERTIES})),
    ParquetFormat(schema={"properties": {"a": {"type": "number", "default": 1}}}, unknown_fields="drop"),
    AvroFormat(),
]

columns = st.integers(1, 4).flatmap(
    lambda count: st.dictionaries(
        st.sampled_from(["a", "b", "c", "", "\ud800"]),
        st.one_of(
            st.sampled_from(VALUES).map(lambda value: [value] * count),
            st.lists(st.sampled_from(VALUES), min_size=count, max_size=count),
        ),
        min_size=1,
        max_size=3,
    ).map(lambda found: (found, count))
)


@settings(max_examples=at_least(400, 200), deadline=None)
@given(columns, st.sampled_from(FORMATS))
def test_columns_are_staged_as_their_records_are(given: tuple[dict[str, list[Any]], int], form: Any) -> None:
    found, count = given
    records = [{name: values[n] for name, values in found.items()} for n in range(count)]
    try:
        payload, schema = form.encode_values(found, count)
    except Exception:
        return  # Records say what is wrong, if anything is.
    other, of_records = form.encode(records)
    assert schema == of_records
    struct = form._given or kept.load(schema).staged
    batches = [arrow._batch(each, arrow.arrow_schema(struct)) for each in (payload, other)]
    assert payload[:8] == other[:8] and repr(batches[0].to_pylist()) == repr(batches[1].to_pylist())


def test_what_columns_mostly_hold_is_staged_without_records() -> None:
    found = {"a": [1, 2, None], "b": ["x", "y", ""], "c": [1.5, None, 2]}
    for form in FORMATS[:2]:
        assert form.encode_values(found, 3)[0]


EXPRESSIONS = [
    ["item.update(a=int(item['a']), b=float(item['b']))"],
    ["item.update(c=item['a'])", "item.update(a=item['c'] + item['b'])"],
    ["item.update(a=item['b'], b=item['a'])"],
    ["item.update(n=item['a'][:2].upper() if item['a'] else None)"],
    ["item.update(a='{} {}'.format(item['a'], item['b']), a2=item['a'] * 2)"],
    ["item.update(a={'x': item['a'], 'y': [item['b']]})"],
    ["item.update(a=str(item['a']), b=len(item['b']))", "item.update(a=int(item['a']) / item['b'])"],
    ["item.update(a=item['a'] == '1')"],
]


@settings(max_examples=at_least(200, 100), deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.lists(st.tuples(*[st.sampled_from([None, "", "1", " 2 ", "1_0", "1e3", "nan", "x", "٣", "9" * 5000])] * 2), max_size=4),
)
def test_transforms_of_columns_do_what_those_of_records_do(sources: list[str], rows: list[tuple[Any, Any]]) -> None:
    transform = PythonexpTransform(python_expressions=sources)
    assert transform.map_columns is not None
    given = {"a": [a for a, _ in rows], "b": [b for _, b in rows]}
    before = repr(given)
    try:
        expected = [transform.map({"a": a, "b": b}) for a, b in rows]
    except Exception:
        with pytest.raises(Exception):  # noqa: B017  Records say which it is.
            transform.map_columns(given, len(rows))
        return
    found = transform.map_columns(given, len(rows))
    assert repr(given) == before
    assert repr([dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]) == repr(expected)


@pytest.mark.parametrize(
    "source",
    [
        "item.pop('a')", "item.update(a=item.get('a'))", "item.update(a=1)", "item.update(a='b' in item)",
        "item.update(a=random.random() * item['b'])", "item.update(a=[x for x in item['a']])", "item.update(a=len(item))",
        "item.update(a=item['b'].append(1))", "item.update({'a': item['b']})", "item.setdefault('a', item['b'])",
        "item.update(a=item[item['b']])", "item.update(**{'a': item['b']})", "item.update(a=datetime.now(), b=item['a'])",
    ],
)  # fmt: skip
def test_other_transforms_work_on_records(source: str) -> None:
    assert columns_set(source) is None


def test_expressions_of_python_2_work_on_records() -> None:
    assert PythonexpTransform(python_expressions=["item.update(a=item['b'])"], dialect="python2").map_columns is None


SPOILED = ["x", "", "1_0", "99999999999999999999", "1.5", '"7"', '"a\nb"', "1,2", "1e400", "\xff", "nan"]


@pytest.mark.parametrize("form", ["parquet", "avro", {"name": "parquet", "options": {"schema": {"properties": PROPERTIES}}}])
@pytest.mark.parametrize("on_error", ["fail", "skip", "dead_letter"])
@pytest.mark.parametrize("seed", range(4))
def test_exports_are_the_same_where_chunks_are_spoiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any, on_error: str, seed: int
) -> None:
    """Small chunks, blocks and row groups, the last of which end where blocks end: so these have the same records."""
    monkeypatch.setattr(csv, "PIECE", 300)
    monkeypatch.setattr(encode, "BLOCK_RECORDS", 64)
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 3000)
    rng = random.Random(seed)
    rows = [f"{n},t{n % 7},{n}.5" for n in range(1500)]
    for at in rng.sample(range(1500), seed * 4):
        rows[at] = rng.choice([f"{rng.choice(SPOILED)},t,1", f"1,{rng.choice(SPOILED)},2", f"1,t,{rng.choice(SPOILED)}"])
    path = tmp_path / "in.csv"
    path.write_bytes("\n".join(["a,b,c", *rows]).encode("latin-1"))
    expressions = ["item.update(a=int(item['a']), c=float(item['c']))"]
    config: dict[str, Any] = {
        "reader": {"name": "fs", "options": {"input": str(path)}}, "decompressor": "none", "deserializer": "csv",
        "transform": {"name": "pythonexp", "options": {"python_expressions": expressions}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/"}}, "on_error": on_error,
    }  # fmt: skip
    found = [outcome({**config, "exporter_options": {"formatter": form, "pushdown": each}}) for each in (True, False)]
    assert found[0] == found[1]


def test_the_rule_says_why_not() -> None:
    config = {
        "reader": {"name": "fs", "options": {"input": "x"}}, "deserializer": "csv",
        "writer": {"name": "fs", "options": {"filebase": "o/"}}, "exporter_options": {"formatter": "parquet"},
    }  # fmt: skip

    def told(**sections: Any) -> str:
        trace = make(spec.load({**config, **sections})).physical.trace
        return next(each.why for each in trace if each.rule == "columns-made")

    assert told().startswith("columns are made of rows at once")
    assert told(exporter_options={"formatter": "json"}) == "what is decoded is decided already"
    assert told(transform={"name": "pythonmap", "options": {"map": "item"}}) == "transform works on records"
    assert told(grouper={"name": "file_key", "options": {"keys": ["a"]}}).startswith("the grouper, a limit")
    assert told(deserializer="jsonlines") == "the deserializer reads no rows of text"
    assert told(exporter_options={"formatter": "avro"}).startswith("columns are made of rows at once")
