"""CSV: rows come in as the standard library reads them, however they are cut, and go out as the old system wrote them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import sys
import uuid
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.csv import CsvDeserializer, CsvFormat
from exporters_beam.formats.json_lines import JsonFormat, JsonLinesDeserializer
from exporters_beam.options import build

CASES = Path(__file__).parents[1] / "oracle" / "cases"

csv.field_size_limit(sys.maxsize)


def shrink(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("exporters_beam.formats.csv.PIECE", size)


def read(data: bytes, **options: Any) -> list[Any]:
    """Every record, or the RecordError in its place. Checks that chunks hold as many rows as they say."""
    deserializer = CsvDeserializer(**options)
    found: list[Any] = []
    for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
        chunk = pickle.loads(pickle.dumps(chunk))
        each = list(deserializer.decode_each(chunk))
        assert [number for number, _, _ in each] == list(range(count))
        records = [record for _, record, _ in each]
        if not any(isinstance(record, Exception) for record in records):
            assert deserializer.decode(chunk) == records
            for fields in (frozenset(), frozenset({"a", "y", "b, c"})):
                parts, rows_of, make = deserializer.glance(fields)(chunk)
                rows = rows_of(None)
                assert rows_of([number % 2 for number in range(len(rows))]) == rows[1::2]
                whole = [{name: value for name, value in record.items() if name in fields} for record in records]
                assert parts in (whole, records)
                assert make(rows) == records
                assert make(rows[1::2]) == records[1::2]
            assert deserializer.json_lines(chunk) == b"".join(JsonFormat().format(record) + b"\n" for record in records)
        else:
            for decode in (deserializer.decode, deserializer.json_lines, deserializer.glance(frozenset({"a"}))):
                with pytest.raises(RecordError):
                    decode(chunk)
        found += records
    return found


# Reading


def test_the_example_of_the_old_system() -> None:
    assert read(b'sku,label\n7,"x,y"\n') == [{"sku": "7", "label": "x,y"}]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 1000])
def test_rows_are_cut_outside_of_quotes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    shrink(monkeypatch, size)
    for feed in ("\n", "\r\n", "\r"):
        rows = ['a,"b, c"', f'"1{feed}2","say ""hi"""', "é😀,\u2028\x0b", '"",""', f'"{feed}{feed}",x', '"""",""""""']
        for end in ("", feed, feed * 3):
            data = ("\ufeff" + feed.join(rows) + end).encode()
            assert read(data) == [
                {"a": f"1{feed}2", "b, c": 'say "hi"'},
                {"a": "é😀", "b, c": "\u2028\x0b"},
                {"a": "", "b, c": ""},
                {"a": feed * 2, "b, c": "x"},
                {"a": '"', "b, c": '""'},
            ]
            chunks = list(CsvDeserializer().chunks(io.BytesIO(data)))
            assert sum(length for _, _, length in chunks) <= len(data)


tokens = st.sampled_from(
    [
        '"',
        '""',
        '"""',
        ",",
        "\n",
        "\r\n",
        "\r",
        "a",
        "b c",
        "é",
        '"q"',
        '"q,r"',
        '"l\nm"',
        '"d""e"',
        " ",
        '""\n',
        ',"",',
        "\u2028",
        "\0",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(tokens, max_size=25).map("".join), st.sampled_from([1, 2, 3, 5, 8, 50]))
def test_any_text_gives_the_rows_that_python_reads(text: str, size: int) -> None:
    lines = [*io.StringIO(text, newline=""), "0,0"]
    *expected, last = csv.reader(iter(lines))
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        if last != ["0", "0"]:
            with pytest.raises(SourceError, match="a quote opens a value here and is never closed"):
                read(text.encode(), fields=("x", "y"))
            return
        found = []
        for chunk, _, _ in CsvDeserializer(fields=("x", "y")).chunks(io.BytesIO(text.encode())):
            found += [row for _, _, row in CsvDeserializer(fields=("x", "y")).decode_each(chunk)]
        assert found == [row for row in expected if row]
        read(text.encode(), fields=("x", "y"))


def test_large_input_is_cut_into_chunks() -> None:
    rows = [(str(n), f'text "{n}"\nmore' if n % 3 else "", "x" * (n % 50)) for n in range(20000)]
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("n", "text", "x"), *rows])
    chunks = list(CsvDeserializer().chunks(io.BytesIO(out.getvalue().encode())))
    assert len(chunks) > 2
    found = [record for chunk, _, _ in chunks for record in CsvDeserializer().decode(chunk)]
    assert found == [dict(zip(("n", "text", "x"), row, strict=True)) for row in rows]


def test_empty_files_headers_alone_and_blank_lines() -> None:
    for data in (b"", b"\n\n", b"a,b", b"a,b\n", b"\xef\xbb\xbfa,b\n\n\r\n"):
        assert read(data) == []
    assert read(b"\n\na\n\n1\n\n\n2\n") == [{"a": "1"}, {"a": "2"}]
    assert read(b'a\n""\n\n"x"\n') == [{"a": ""}, {"a": "x"}]


def test_short_long_and_duplicate_columns() -> None:
    found = read(b"a,b,c\n1\n1,2,3,4\n1,2,3\n")
    assert found[0] == {"a": "1", "b": None, "c": None}
    assert str(found[1]) == "the row has 4 values for 3 columns: ['1', '2', '3', '4']"
    assert found[2] == {"a": "1", "b": "2", "c": "3"}
    assert read(b"a,b,a\n1,2,3\n") == [{"a": "3", "b": "2"}]
    assert list(read(b"a,b,a\n1,2,3\n")[0]) == ["a", "b"]


def test_options() -> None:
    assert read(b"a;'b;c'\n1;'it''s'\n", delimiter=";", quotechar="'") == [{"a": "1", "b;c": "it's"}]
    assert read(b'a\tb\n"1\t2"\n', delimiter="\t", quotechar="") == [{"a": '"1', "b": '2"'}]
    assert read(b"1,2\n3,4\n", fields=("x", "y")) == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]
    assert read("ü;ß\n1;€\n".encode("cp1252"), delimiter=";", encoding="windows-1252") == [{"ü": "1", "ß": "€"}]
    for encoding in ("utf-16", "utf-16-le", "utf-32", "gbk", "utf-8-sig"):
        assert read('名,b\n東,"x\ny"\n'.encode(encoding), encoding=encoding) == [{"名": "東", "b": "x\ny"}]
    made = build(CsvDeserializer, {"delimiter": "|", "fields": ["a", 1]})
    assert made.fields == ("a", "1")
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "||"}, "delimiter: '||' is not one character"),
        ({"delimiter": ""}, "delimiter: '' is not one character"),
        ({"delimiter": "\n"}, "delimiter: "),
        ({"delimiter": '"'}, "delimiter: '\"' is the quote character already"),
        ({"quotechar": "''"}, "quotechar: \"''\" is not one character"),
        ({"encoding": "utf-99"}, "encoding: Python knows no encoding of text called 'utf-99'"),
        ({"encoding": "hex"}, "encoding: Python knows no encoding of text called 'hex'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CsvDeserializer(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_text_of_another_encoding_fails_its_record_alone(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    shrink(monkeypatch, size)
    found = read(b'a,b\n1,\xc3\xa9\n2,"x\xffy"\n3,\xe2\x82\n4,z\n')
    assert [r if isinstance(r, dict) else str(r)[:63] for r in found] == [
        {"a": "1", "b": "é"},
        'the text in the column "b" is not of the encoding: byte 0xff: x',
        'the text in the column "b" is not of the encoding: byte 0xe2: \\',
        {"a": "4", "b": "z"},
    ]
    assert isinstance(read(b"a\n1\n\xe2\x82")[1], RecordError)
    with pytest.raises(SourceError, match="the header is not valid utf-8"):
        read(b"a\xff,b\n1,2\n")
    assert [type(r) for r in read("a\n名\n".encode("gbk")[:-1] + b"\xff\x01\nb\n", encoding="gbk")] == [
        RecordError,
        dict,
    ]


def test_text_without_the_mark_that_its_encoding_asks_for() -> None:
    with pytest.raises(SourceError, match="not readable as text: UTF-16 stream does not start with BOM; give another"):
        read(b"a,b\n1,2\n", encoding="utf-16")


def test_a_quote_that_is_never_closed_names_the_record() -> None:
    for tail in (b'"open', b'"', b'"a""', b'"open\n4,5\n6,7\n'):
        with pytest.raises(SourceError, match=r"record 3: a quote opens a value here and is never closed"):
            read(b"a,b\n1,2\n3,4\n" + tail)
    with pytest.raises(SourceError, match=r"^record 1: a quote opens a value here and is never closed: x$"):
        read(b'a,b\n\n"x')
    with pytest.raises(SourceError, match=r"^header: a quote opens a value here and is never closed: b$"):
        read(b'a,"b')


def test_rows_that_end_in_other_ways_than_those_before_are_not_too_long() -> None:
    assert read(b"a,b\n1,2\n" + b"1,2\r" * 50, max_record_bytes=10) == [{"a": "1", "b": "2"}] * 51


def test_huge_values_and_nul_bytes_pass_through() -> None:
    text = "x,\n" * 400_000
    assert read(f'a,b\n"{text}",1\n2,3\n'.encode()) == [{"a": text, "b": "1"}, {"a": "2", "b": "3"}]
    if sys.version_info >= (3, 11):
        assert read(b"a,b\n1\0,2\n") == [{"a": "1\0", "b": "2"}]
    else:
        with pytest.raises(SourceError, match="record 1: not readable as CSV: line contains NUL"):
            read(b"a,b\n1\0,2\n")


ROWS = (
    "1,2",
    '"1, 1",2',
    '1,"say ""2"""',
    'a"b,"c"d',
    '"x",y"z',
    "1",
    "1,2,3",
    '"1","2","3"',
    "",
    "é,\u2028",
    "\\N,\t",
    "\x1f,\x7f",
    '"\\","/"',
    ",",
    '"1\n1",2',
    '1,"',
    '",2',
    "0,0",
    "%s,{}",
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(ROWS), max_size=12), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from([5, 40, 999])
)
def test_plain_rows_and_others_give_what_python_reads(rows: list[str], feed: str, size: int) -> None:
    text = "".join(row + feed for row in rows)
    *expected, last = csv.reader(iter([*io.StringIO(text, newline=""), "0,0"]))
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        if last != ["0", "0"]:
            with pytest.raises(SourceError, match="a quote opens a value here and is never closed"):
                read(text.encode(), fields=("a", "y"))
            return
        found = read(text.encode(), fields=("a", "y"))
    assert [r if isinstance(r, dict) else RecordError for r in found] == [
        RecordError if len(row) > 2 else {"a": row[0], "y": row[1] if len(row) == 2 else None}
        for row in expected
        if row
    ]


def test_names_of_columns_are_only_names() -> None:
    names = ["'", '"', "\\", "%s", "{}", "v0", "a\nb", "__import__('os')", "名", "\u2028", "\x7f", ""]
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_MINIMAL, lineterminator="\n").writerows([names, ["x"] * 12, ["y"] * 12])
    assert read(out.getvalue().encode()) == [dict.fromkeys(names, "x"), dict.fromkeys(names, "y")]
    assert read(b"1,2\n", fields=("\ud800", "b")) == [{"\ud800": "1", "b": "2"}]
    many = [f"c{n}" for n in range(3000)]
    assert read("\n".join([",".join(many)] * 3).encode()) == [dict(zip(many, many, strict=True))] * 2


def test_any_delimiter_and_quote_make_the_same_lines() -> None:
    for delimiter in "\t\\\x01;né|'0u😀":
        for quote in "\"'x":
            if quote != delimiter:
                rows = [["a", "b"], ["1", "2 \\ 3"], ["\t", delimiter], ["u00", "\x02"], ["é", '"'], ["n\n", "\\n"]]
                for last in (3, 5, 6):
                    out = io.StringIO(newline="")
                    csv.writer(out, delimiter=delimiter, quotechar=quote, lineterminator="\n").writerows(rows[:last])
                    found = read(out.getvalue().encode(), delimiter=delimiter, quotechar=quote)
                    assert found == [dict(zip("ab", row, strict=True)) for row in rows[1:last]]


def test_encodings_that_give_half_surrogate_pairs() -> None:
    assert read(b"a,b\n1,\\ud800\n", encoding="unicode_escape") == [{"a": "1", "b": "\ud800"}]
    assert read(b'a,b\n1,"\\ud800"\n2,3\n4,5\n', encoding="unicode_escape")[0] == {"a": "1", "b": "\ud800"}


# Writing


def row(values: dict[str, Any], *fields: str, **options: Any) -> str:
    return CsvFormat(fields=fields or ("a", "b"), **options).format(values).decode()


def test_cells_of_the_old_system() -> None:
    for value, cell in (
        (1, "1"),
        (1.5, "1.5"),
        (True, "True"),
        (False, "False"),
        (None, '""'),
        ("", '""'),
        ('x"y', '"x""y"'),
        ("l\nm", '"l\nm"'),
        ("c\rd", '"c\rd"'),
        ("é😀", '"é😀"'),
        (2**70, str(2**70)),
        (1e-7, "1e-07"),
        (1e22, "1e+22"),
        (1e16, "1e+16"),
        (1e-05, "1e-05"),
        (-0.0, "-0.0"),
        (5e-324, "5e-324"),
        (float("nan"), "nan"),
        ("007", '"007"'),
        ("nul\0", '"nul\0"'),
        (datetime(2016, 1, 2, 3, 4), '"2016-01-02 03:04:00"'),
        (date(2016, 1, 2), '"2016-01-02"'),
        (time(3, 4), '"03:04:00"'),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (b"\x00\xff", '"AP8="'),
        (Enum("Color", {"RED": "r"}).RED, '"r"'),  # type: ignore[attr-defined]
        (type("Text", (str,), {})("x"), '"x"'),
        (type("Number", (float,), {})(1.5), "1.5"),
    ):
        assert row({"a": value}) == f'{cell},""'


def test_nested_values_are_compact_json() -> None:
    assert row({"a": ["x", 1, {"é": None}], "b": {"k": 'q"'}}) == '"[""x"",1,{""é"":null}]","{""k"":""q\\""""}"'
    assert row({"a": [], "b": (1, 2)}) == '"[]","[1,2]"'
    for value, message in (
        ({1}, r'in the column "a": JSON cannot hold the set \{1\}; convert it first'),
        ([float("nan")], r'in the column "a": NaN is not JSON at "0"$'),
        ("\ud800", r"CSV is written in UTF-8, which has no surrogates: \"\\ud800"),
        (10**5000, "the row cannot be written"),
    ):
        with pytest.raises(RecordError, match=message):
            row({"a": value})
    with pytest.raises(RecordError, match="not a mapping"):
        CsvFormat(fields=("a",)).format([1])  # type: ignore[arg-type]


def test_the_bytes_of_a_file() -> None:
    form = CsvFormat(fields=("sku", "label"))
    records = [{"sku": 7, "label": "x,y", "more": 1}, {}, {"label": ["a"]}]
    assert form.header + form.separator.join(map(form.format, records)) + form.footer == (
        b'"sku","label"\n7,"x,y"\n"",""\n"","[""a""]"\n'
    )


def test_headers_columns_and_footer() -> None:
    form = CsvFormat(fields=("é", "a", 'q"'))
    assert form.header == '"é","a","q"""\n'.encode()
    assert (form.extension, form.separator, form.footer) == ("csv", b"\n", b"\n")
    assert CsvFormat(fields=("a",), show_titles=False).header == b""
    by_schema = CsvFormat(schema={"properties": {"b": {}, "a": {}, "C": {}}})
    assert by_schema.header == b'"C","a","b"\n'
    assert by_schema.format({"a": 1, "b": 2, "x": 3}) == b'"",1,2'
    assert CsvFormat(fields=("b",), schema={"properties": {"a": {}}}).header == b'"b"\n'
    assert CsvFormat(fields=("a", "b"), delimiter="\t").format({"a": "x\ty", "b": 1}) == b'"x\ty"\t1'
    for one in (form, by_schema):
        again = pickle.loads(pickle.dumps(one))
        assert again == one
        assert again.format({"a": [1]}) == one.format({"a": [1]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "fields: give the columns here"),
        ({"schema": {"type": "object"}}, "schema: it has no properties"),
        ({"schema": {"properties": {}}}, "schema: it has no properties"),
        ({"fields": ["a"], "delimiter": ";;"}, "delimiter: ';;' is not one character"),
        ({"fields": ["a"], "delimiter": '"'}, "delimiter: "),
        ({"fields": ["a", "\ud800"]}, "fields: a name holds half a surrogate pair"),
        ({"schema": {"properties": {"\ud800": {}}}}, "schema: a name holds half a surrogate pair"),
    ],
)
def test_wrong_options_of_the_format(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(CsvFormat, options)
    assert str(caught.value).startswith(message)


texts = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\0" if sys.version_info < (3, 11) else "")
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"a": texts, "b": texts, "é": texts}), max_size=6), st.sampled_from([1, 3, 10, 1000])
)
def test_text_that_is_written_is_read_back(records: list[dict[str, str]], size: int) -> None:
    form = CsvFormat(fields=("a", "b", "é"))
    data = form.header + form.separator.join(map(form.format, records)) + form.footer
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        assert read(data) == records


# What the old system did


def source_of(case: str) -> list[Any]:
    data = gzip.decompress((CASES / case / "input" / "data.jl.gz").read_bytes())
    return [
        r
        for chunk, _, _ in JsonLinesDeserializer().chunks(io.BytesIO(data))
        for r in JsonLinesDeserializer().decode(chunk)
    ]


@pytest.mark.parametrize("case", ["format-csv-fields", "format-csv-fields-over-schema", "format-csv-console"])
def test_the_bytes_of_the_old_system(case: str) -> None:
    config = json.loads((CASES / case / "config.json").read_text("utf-8"))
    form = build(CsvFormat, config["exporter_options"]["formatter"]["options"])
    records, limit = source_of(case), config["writer"]["options"].get("items_per_buffer_write", 10**6)
    files = [records[n : n + limit] for n in range(0, len(records), limit)]
    ours = [form.header + form.separator.join(map(form.format, file)) + form.footer for file in files]
    if case == "format-csv-console":
        recorded = (CASES / case / "expected" / "stdout.txt").read_bytes()
        assert [ours[0].split()] == [recorded.split()]
        return
    recorded_files = sorted((CASES / case / "expected" / "files").iterdir())
    assert [data.rstrip(b"\n") for data in ours] == [path.read_bytes().rstrip(b"\n") for path in recorded_files]


def test_the_records_of_the_old_system() -> None:
    case = CASES / "reader-csv-gz"
    recorded = (case / "expected" / "files" / "out0000.jl").read_bytes().splitlines()
    found = read(gzip.decompress((case / "input" / "data.csv.gz").read_bytes()))
    assert found == [json.loads(line) for line in recorded]
    assert json.loads(JsonFormat().format(found[0])) == found[0]
    case = CASES / "reader-csv-two-files-different-headers"
    rows = [record for name in ("1.csv", "2.csv") for record in read((case / "input" / name).read_bytes())]
    form = CsvFormat(fields=("a", "b", "c"))
    data = form.header + form.separator.join(map(form.format, rows))
    assert data == (case / "expected" / "files" / "out0000.csv").read_bytes().rstrip(b"\n")
