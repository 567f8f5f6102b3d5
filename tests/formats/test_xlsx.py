"""Workbooks of Excel, written and read."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats import xlsx
from exporters_beam.formats.xlsx import XlsxDeserializer, XlsxFormat
from exporters_beam.reporting.verify import verify

from examples import at_least
from helpers import visible

xlsxwriter = pytest.importorskip("xlsxwriter")
pytest.importorskip("python_calamine")


def file(records: list[dict[str, Any]], *fields: str, **options: Any) -> bytes:
    form: XlsxFormat = build(XlsxFormat, {"fields": list(fields or ("a", "b")), **options})
    out = io.BytesIO()
    blocks = [(form.encode(records[n : n + 2])[0], None) for n in range(0, len(records), 2)]
    form.assemble(blocks, [], out)
    return out.getvalue()


def read(data: bytes, **options: Any) -> list[Any]:
    deserializer: XlsxDeserializer = build(XlsxDeserializer, options)
    found: list[Any] = []
    for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
        records = [record for _, record, _ in deserializer.decode_each(chunk)]
        assert len(records) == count
        if not any(isinstance(record, Exception) for record in records):
            assert deserializer.decode(chunk) == records
        found += records
    return found


def test_values_become_cells_and_come_back() -> None:
    records: list[dict[str, Any]] = [
        {"a": "=1+1", "b": 1.5, "more": 1},
        {"a": "l\r\nm", "b": 7},
        {"a": "_x0041_\x01", "b": True},
        {"a": date(2026, 11, 30), "b": datetime(2026, 11, 30, 12, 30, 5, 250_000)},
        {"a": time(23, 59, 59), "b": Decimal("1.50")},
        {"a": datetime(2026, 11, 30, 12, tzinfo=timezone(timedelta(hours=2))), "b": [1, {"é": None}]},
        {"b": b"\0\xff"},
        {"a": 999_999_999_999_999, "b": -1_500_000_000_000_000_000},
        {},
    ]
    wanted = [
        {"a": "=1+1", "b": 1.5},
        {"a": "l\r\nm", "b": 7},
        {"a": "_x0041_\x01", "b": True},
        {"a": date(2026, 11, 30), "b": datetime(2026, 11, 30, 12, 30, 5, 250_000)},
        {"a": time(23, 59, 59), "b": 1.5},
        {"a": datetime(2026, 11, 30, 10), "b": '[1,{"é":null}]'},
        {"a": None, "b": "AP8="},
        {"a": 999_999_999_999_999, "b": -1.5e18},
        {"a": None, "b": None},
    ]
    assert read(file(records), empty_rows="keep") == wanted
    assert read(file(records)) == wanted[:-1]
    assert read(file(records, show_titles=False), fields=["a", "b"]) == wanted[:-1]
    assert read(file(records, sheet="Ä b"), sheet="Ä b", skip_rows=1, fields=["x", "y"])[0] == {"x": "=1+1", "y": 1.5}
    assert read(file([])) == read(b"") == []


def test_equal_records_give_equal_bytes_whatever_the_blocks() -> None:
    records = [{"a": n, "b": "x"} for n in range(5)]
    form = XlsxFormat(fields=("a", "b"))
    out = io.BytesIO()
    form.assemble([(form.encode(records)[0], [0, 1]), (form.encode(records)[0], [2, 3, 4])], [], out)
    assert out.getvalue() == file(records)
    names = zipfile.ZipFile(out)
    assert {each.date_time for each in names.infolist()} == {(1980, 1, 31, 0, 0, 0)}
    assert b"2000-01-01T00:00:00Z" in names.read("docProps/core.xml")
    assert b"<f>" not in zipfile.ZipFile(io.BytesIO(file([{"a": "=1+1"}]))).read("xl/worksheets/sheet1.xml")
    assert b"<b/>" in names.read("xl/styles.xml")
    assert b"<b/>" not in zipfile.ZipFile(io.BytesIO(file([], bold_titles=False))).read("xl/styles.xml")
    assert b"dd.mm.yyyy" in zipfile.ZipFile(io.BytesIO(file([{"a": date(2026, 1, 1)}], date_format="dd.mm.yyyy"))).read(
        "xl/styles.xml"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (10**15 + 1, 'in the column "a": 1000000000000001 has more than 15 digits, which Excel cuts; make it a text'),
        (10**301, "has more than 15 digits"),
        (Decimal("1.234567890123456"), "1.234567890123456 has more than 15 digits"),
        (Decimal("1e400"), "has more than 15 digits"),
        (Decimal("NaN"), "has more than 15 digits"),
        (float("nan"), "nan is no number for Excel"),
        (float("-inf"), "-inf is no number for Excel"),
        ("x" * 32_768, "has 32,768 characters, and a cell of Excel 32,767; shorten it"),
        ("😀" * 16_384, "has 32,768 characters"),
        ("\ud800", "holds a character that XML does not allow"),
        ("\uffff", "holds a character that XML does not allow"),
        (date(1900, 2, 28), "Excel counts days wrongly before 1900-03-01, and this is 1900-02-28"),
        (datetime(1, 1, 1), "and this is 0001-01-01"),
        ({1}, "JSON cannot hold the set"),
    ],
)
def test_what_excel_would_change_is_the_records_error(value: Any, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        file([{"a": value}])
    assert said in str(caught.value)
    with pytest.raises(RecordError, match="not a mapping"):
        XlsxFormat(fields=("a",)).encode([[1]])  # type: ignore[list-item]


def test_a_sheet_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "MOST_ROWS", 4)
    assert len(read(file([{"a": n} for n in range(3)]))) == 3
    with pytest.raises(RecordError, match="a sheet of Excel has 4 rows, and the file needs more; set items_per_buffer_write"):
        file([{"a": n} for n in range(4)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fields": []}, "fields: give the columns"),
        ({"fields": ["a", "a"]}, "fields: two columns are called 'a'"),
        ({"fields": ["\ud800"]}, "fields: the name \\ud800 holds a character that XML does not allow"),
        ({"fields": [f"c{n}" for n in range(16_385)]}, "fields: a sheet of Excel has 16,384 columns, and these are 16,385"),
        *(({"fields": ["a"], "sheet": name}, "sheet: ") for name in ("", "x" * 32, "a/b", "'a", "History", "a\n")),
        ({"fields": ["a"], "date_format": ""}, "date_format: it is empty"),
    ],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(XlsxFormat, options)
    assert str(caught.value).startswith(said)


def book(*rows: tuple[Any, ...], at: tuple[int, int] = (0, 0)) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as made:
        sheet = made.add_worksheet("One")
        for number, row in enumerate(rows):
            sheet.write_row(at[0] + number, at[1], row)
        made.add_worksheet("Two")
    return out.getvalue()


def test_sheets_of_others() -> None:
    assert read(book(("a", "b"), (1, ""), ("", ""), (2, "x"))) == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
    assert read(book(("a", "b"), (1, "x"), at=(3, 2))) == [{"a": 1, "b": "x"}]
    assert read(book(("by us",), ("a",), (1.5,)), skip_rows=1) == [{"a": 1.5}]
    assert read(book(("a", "", "c"), (1, "", 3), (4, 5, 6)))[0] == {"a": 1, "c": 3}
    assert str(read(book(("a", "", "c"), (4, 5, 6)))[0]) == (
        "the row has 5 in the column B, which has no name; name the columns with fields"
    )
    assert read(book(("a",), (1,)), sheet="Two") == []
    for data, options, said in (
        (book(("a", "a"), (1, 2)), {}, "the sheet has two columns called a, and records can hold one of them"),
        (book(("a",)), {"sheet": "Tow"}, "the workbook has no sheet called 'Tow'; did you mean \"Two\""),
        (b"PK\x03\x04 and so on", {}, "it is no workbook of Excel: "),
        (b"a,b\n1,2\n", {}, "it is no workbook that can be read: "),
        (book(("a",))[:-300], {}, "it is no workbook of Excel: "),
        (book(("a",)), {"max_unpacked_bytes": 100}, "bytes and more when it is unpacked"),
    ):
        with pytest.raises(SourceError) as caught:
            read(data, **options)
        assert said in str(caught.value)
    with pytest.raises(ConfigError, match="fields: two columns are called 'a'"):
        build(XlsxDeserializer, {"fields": ["a", "a"]})


texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\ufffe\uffff"), max_size=9)
moments = st.datetimes(datetime(1900, 3, 1), datetime(9999, 12, 31, 23, 59)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
values = (
    st.none() | st.booleans() | texts | st.sampled_from(["_x000D_", "=A1", "+1", "@x", "\r", "'"]) | moments
    | st.dates(date(1900, 3, 1)) | st.integers(1 - 10**15, 10**15 - 1) | st.decimals(-999, 999, places=4).map(float)
)  # fmt: skip


@settings(max_examples=at_least(60), deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": values, "b": values}), max_size=5))
def test_what_is_written_is_read_back(records: list[dict[str, Any]]) -> None:
    wanted = [{name: None if value == "" else value for name, value in record.items()} for record in records]
    found = read(file(records), empty_rows="keep")
    for record, other in zip(wanted, found, strict=True):
        for name, value in record.items():
            if isinstance(value, datetime):
                assert abs(datetime.fromisoformat(str(other[name])) - value) < timedelta(milliseconds=1)
            else:
                assert other[name] == value and isinstance(other[name], bool) == isinstance(value, bool)


def test_an_export_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [{"a": n, "b": f"=x{n}"} for n in range(5)] + [{"a": 10**16 + 1}]
    Path("in.jl").write_text("\n".join(map(json.dumps, lines)))
    report = exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": "in.jl"}},
        "writer": {"name": "fs", "options": {"filebase": "out/p-", "items_per_buffer_write": 3}}, "on_error": "skip",
        "exporter_options": {"formatter": {"name": "xlsx", "options": {"fields": ["a", "b"]}}},
    })  # fmt: skip
    assert (report.counts["read"], report.counts["written"]) == (6, 5)
    assert sorted(visible(Path("out"))) == ["p-0000.xlsx", "p-0001.xlsx"]
    assert verify(report.manifest)[0] == []
    exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": {"dir": "out"}}}, "deserializer": "xlsx",
        "writer": {"name": "fs", "options": {"filebase": "again/p-", "compression": "none"}},
    })  # fmt: skip
    found = b"".join(path.read_bytes() for path in visible(Path("again")).values()).splitlines()
    assert [json.loads(line) for line in found] == lines[:5]
