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
from shared import SHARED, needs_shared

from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.csv import CsvDeserializer, CsvFormat
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.formats.json_text import JsonFormat

from examples import at_least

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
        longer = [record for record in records if isinstance(record, dict) and isinstance(record.get("null"), list)]
        assert deserializer.tally(chunk).get("deserializer.long_rows", 0) == len(longer)
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


def reference(
    text: str,
    delimiter: str = ",",
    quotechar: str = '"',
    escapechar: str = "",
    comment: str = "",
    null_marker: str | None = None,
    bare_quotes: str = "fail",
    empty_lines: str = "skip",
) -> tuple[list[list[str | None]], str]:
    """The rows that RFC 4180 and the options give, character by character, and what ends them if it is an error."""
    rows: list[list[str | None]] = []
    at = 0

    def feed(at: int) -> int:
        return 2 if text.startswith("\r\n", at) else int(text[at : at + 1] in ("\r", "\n"))

    while at < len(text):
        if comment and text.startswith(comment, at):
            while at < len(text) and not feed(at):
                at += 1
            at += feed(at)
            continue
        if feed(at):
            if empty_lines == "keep":
                rows.append([None if null_marker == "" else ""])
            at += feed(at)
            continue
        row: list[str | None] = []
        while True:
            value = raw = ""
            if quotechar and text.startswith(quotechar, at):
                at += 1
                while True:
                    if at >= len(text) or (at + 1 == len(text) and text[at] == escapechar):
                        return rows, "never closed"
                    if text[at] == escapechar or text.startswith(quotechar * 2, at):
                        value += text[at + 1]
                        at += 2
                    elif text[at] == quotechar:
                        break
                    else:
                        value += text[at]
                        at += 1
                at += 1
                if at < len(text) and text[at] != delimiter and not feed(at):
                    return rows, "follows a closing quote"
                row.append(value)
            else:
                while at < len(text) and text[at] != delimiter and not feed(at):
                    if text[at] == escapechar:
                        if at + 1 == len(text):
                            return rows, "escapes nothing"
                        size = feed(at + 1) or 1
                        value, raw = value + text[at + 1 : at + 1 + size], raw + text[at : at + 1 + size]
                        at += 1 + size
                    elif text[at] == quotechar and bare_quotes == "fail":
                        return rows, "does not begin with one"
                    else:
                        value, raw = value + text[at], raw + text[at]
                        at += 1
                row.append(None if raw == null_marker else value)
            if not text.startswith(delimiter, at):
                break
            at += 1
        at += feed(at)
        rows.append(row)
    return rows, ""


def strict(text: str) -> tuple[list[list[str]], bool]:
    rows: list[list[str]] = []
    try:
        rows += (row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row)
    except csv.Error:
        return rows, False
    return rows, True


@settings(max_examples=at_least(150), deadline=None)
@given(st.lists(tokens, max_size=25).map("".join))
def test_the_reference_is_what_python_reads_strictly(text: str) -> None:
    rows, error = reference(text, bare_quotes="keep")
    assert (rows, not error) == strict(text)


DIALECTS = st.fixed_dictionaries(
    {},
    optional={
        "delimiter": st.sampled_from([";", "\t"]),
        "quotechar": st.sampled_from(["'", ""]),
        "escapechar": st.sampled_from(["\\", "^"]),
        "comment": st.sampled_from(["#", "b ", "//"]),
        "null_marker": st.sampled_from(["", "\\N", "a", "é", "#"]),
        "bare_quotes": st.just("keep"),
        "empty_lines": st.just("keep"),
    },
)


@settings(max_examples=at_least(250), deadline=None)
@given(
    st.lists(tokens | st.sampled_from(["\\", '\\"', "\\\r\n", "^", "#", "\n#", ";", "'", "\\N", '"\\N"', "//"]), max_size=25),
    DIALECTS,
    st.sampled_from([1, 2, 3, 5, 8, 50]),
    st.sampled_from(["fail", "null", "keep"]),
)
def test_any_text_gives_the_rows_of_the_reference(parts: list[str], dialect: dict[str, str], size: int, ragged: str) -> None:
    text = "".join(parts)
    if {'"', "'"} & {*dialect.values()} - {dialect.get("quotechar")}:
        return
    rows, error = reference(text, **dialect)
    fields = ("x", "y")
    try:
        CsvDeserializer(fields=fields, **dialect)  # type: ignore[arg-type]
    except ConfigError:
        return
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        if error:
            with pytest.raises(SourceError, match=f"^record {len(rows) + 1}: .*{error}"):
                read(text.encode(), fields=fields, ragged=ragged, **dialect)
            return
        found = read(text.encode(), fields=fields, ragged=ragged, **dialect)
    assert [record if isinstance(record, dict) else RecordError for record in found] == [
        expected(row, fields, ragged) for row in rows
    ]


def expected(row: list[str | None], fields: tuple[str, ...], ragged: str) -> Any:
    if len(row) > len(fields):
        return {**dict(zip(fields, row)), "null": row[len(fields) :]} if ragged == "keep" else RecordError  # noqa: B905
    if len(row) < len(fields) and ragged == "fail":
        return RecordError
    return dict(zip(fields, (*row, *[None] * (len(fields) - len(row))), strict=True))


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


def test_short_and_long_rows() -> None:
    data = b"a,b,c\n1\n1,2,3,4\n1,2,3\n"
    found = read(data)
    assert str(found[0]).startswith("the row has 1 value for 3 columns: ['1']; fix the row, or set ragged: null")
    assert str(found[1]).startswith("the row has 4 values for 3 columns: ['1', '2', '3', '4']; quote values that hold")
    assert found[2] == {"a": "1", "b": "2", "c": "3"}
    short = {"a": "1", "b": None, "c": None}
    found = read(data, ragged="null")
    assert [found[0], type(found[1]), found[2]] == [short, RecordError, {"a": "1", "b": "2", "c": "3"}]
    found = read(data, ragged="keep")
    assert found[:2] == [short, {"a": "1", "b": "2", "c": "3", "null": ["4"]}]
    assert isinstance(read(b"null\n1,2\n", ragged="keep")[0], RecordError)
    for word in (None, "null"):  # YAML reads the word as no value
        assert build(CsvDeserializer, {"ragged": word}).ragged == "null"


def test_columns_with_the_same_name() -> None:
    for data, name in ((b"a,b,a\n1,2,3\n", "a"), (b"a,,\n1,2,3\n", ""), (b'a,"a"\n', "a")):
        with pytest.raises(SourceError, match=f"the header has two columns called {name}, .* duplicate_names: last"):
            read(data)
    with pytest.raises(ConfigError, match="fields: two columns are called 'a'"):
        CsvDeserializer(fields=("a", "a"))
    assert read(b"a,b,a\n1,2,3\n", duplicate_names="last") == [{"a": "3", "b": "2"}]
    assert list(read(b"a,b,a\n1,2,3\n", duplicate_names="last")[0]) == ["a", "b"]
    assert read(b",a\n1,2\n") == [{"": "1", "a": "2"}]


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
    assert read(b"a,b\n1\0,2\n") == [{"a": "1\0", "b": "2"}]


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


@settings(max_examples=at_least(150), deadline=None)
@given(
    st.lists(st.sampled_from(ROWS), max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([5, 40, 999]),
    st.fixed_dictionaries(
        {},
        optional={
            "escapechar": st.just("\\"),
            "comment": st.sampled_from(["0", "#"]),
            "null_marker": st.sampled_from(["", "\\N", "1"]),
            "bare_quotes": st.just("keep"),
        },
    ),
)
def test_plain_rows_and_others_give_what_the_reference_reads(
    rows: list[str], feed: str, size: int, dialect: dict[str, str]
) -> None:
    text = "".join(row + feed for row in rows)
    wanted, error = reference(text, **dialect)
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        if error:
            with pytest.raises(SourceError, match=f"^record {len(wanted) + 1}: .*{error}"):
                read(text.encode(), fields=("a", "y"), **dialect)
            return
        found = read(text.encode(), fields=("a", "y"), **dialect)
    assert [r if isinstance(r, dict) else RecordError for r in found] == [expected(row, ("a", "y"), "fail") for row in wanted]


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
        ({"fields": ["a", "b", "a"]}, "fields: two columns are called 'a'; a file has one of each name"),
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


texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0" if sys.version_info < (3, 11) else ""))


@settings(max_examples=at_least(150), deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": texts, "b": texts, "é": texts}), max_size=6), st.sampled_from([1, 3, 10, 1000]))
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
        r for chunk, _, _ in JsonLinesDeserializer().chunks(io.BytesIO(data)) for r in JsonLinesDeserializer().decode(chunk)
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


# Dialects, and what is no CSV


def refused(data: bytes, message: str, more: str = "", **options: Any) -> None:
    with pytest.raises(SourceError) as caught:
        read(data, **options)
    assert str(caught.value).startswith(message)
    assert more in str(caught.value)


@pytest.mark.parametrize("size", [1, 4, 30, 10_000])
def test_what_may_not_stand_around_quotes_names_record_and_line(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    shrink(monkeypatch, size)
    good = b'a,b\n1,"2\n2"\n\n3,4\n'
    for bad, message in (
        (b'5,"x"y\n', "'y' follows a closing quote, where only a delimiter or the end of the row may: "),
        (b'5,"x" \n', "' ' follows a closing quote"),
        (b'5,"say \\"hi\\""\n', "'h"),
        (b'5,6" disk\n', 'a quote stands in a value that does not begin with one: 6"'),
        (b'5, "x"\n', 'a quote stands in a value that does not begin with one:  "'),
        (b'5,""x\n', "'x' follows a closing quote"),
        (b'5,x""\n', "a quote stands in a value that does not begin with one"),
    ):
        for more in (b"", b"7,8\n" * 5, b'"7","8"\n' * 5):
            for feed in (b"\n", b"\r\n"):
                refused((good + bad + more).replace(b"\n", feed), f"record 3: {message}"[:80], ", in line 6; ")
    for bad in (b'"a"b,c\n1,2\n', b'a"b,c\n1,2\n'):
        with pytest.raises(SourceError, match=r"^header: .*, in line 3; "):
            read(b"\n\n" + bad)
    assert read(b'a,b\n5,6" disk\n7,"x"\n8,a"",\n', bare_quotes="keep", ragged="keep") == [
        {"a": "5", "b": '6" disk'},
        {"a": "7", "b": "x"},
        {"a": "8", "b": 'a""', "null": [""]},
    ]


def test_escapes() -> None:
    text = rb"""id,note
1,"I hope this works for \"random@example.org\""
2,one\,two
3,"a ""b"" \\ \n"
4,\"x\
y
"""
    assert read(text, escapechar="\\") == [
        {"id": "1", "note": 'I hope this works for "random@example.org"'},
        {"id": "2", "note": "one,two"},
        {"id": "3", "note": 'a "b" \\ n'},
        {"id": "4", "note": '"x\ny'},
    ]
    with pytest.raises(SourceError, match=r'record 1: .*in line 2; set escapechar: "\\\\" if quotes'):
        read(text)
    refused(b"a\n1\\", "record 1: the escape character \\ ends the file", escapechar="\\")


def test_what_null_is_and_what_text_is_not() -> None:
    data = b'a,b\n\\N,"\\N"\n"x ""\\N"" y",\nN,\\\\N\n'
    marked = [{"a": None, "b": "\\N"}, {"a": 'x "\\N" y', "b": ""}, {"a": "N", "b": "\\\\N"}]
    assert read(data, null_marker="\\N") == marked
    found = read(data, null_marker="\\N", escapechar="\\")
    assert [found[0], found[2]] == [{"a": None, "b": "N"}, {"a": "N", "b": "\\N"}]
    assert read(b'a,b\n,""\n"",\n"x ""y""",\n', null_marker="") == [
        {"a": None, "b": ""},
        {"a": "", "b": None},
        {"a": 'x "y"', "b": None},
    ]
    assert read(b",a\nNULL,1\n", null_marker="NULL") == [{"": None, "a": "1"}]
    assert read(b",a\n,1\n", null_marker="") == [{"": None, "a": "1"}]
    assert read(b"a\n\n1\n", null_marker="", empty_lines="keep") == [{"a": None}, {"a": "1"}]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_before_the_header_and_comments(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    shrink(monkeypatch, size)
    for feed in ("\n", "\r\n", "\r"):
        lines = ['report, "of\tmay', "", "# by us", "a,b", "#1,2", '3,"#', '#"', "", "#", "5,6"]
        text = "\ufeff" + feed.join(lines) + feed
        wanted = [{"a": "3", "b": f"#{feed}#"}, {"a": "5", "b": "6"}]
        assert read(text.encode(), skip_lines=1, comment="#") == wanted
        assert read(text.encode(), skip_lines=4, comment="#", fields=("a", "b")) == wanted
        refused((text + '7"').encode(), "record 3: ", ", in line 11; ", skip_lines=1, comment="#")
        refused(text.encode(), "the file ends before 11 lines, which skip_lines passes over", skip_lines=11)
    assert read(b"x\ny", skip_lines=2) == read(b"", skip_lines=2) == []


def test_empty_lines_can_be_rows_of_one_column() -> None:
    assert read(b"a\n\nx\n\n", empty_lines="keep") == [{"a": ""}, {"a": "x"}, {"a": ""}]
    assert read(b"\n\na\n", empty_lines="keep") == []
    assert isinstance(read(b"a,b\n\n", empty_lines="keep")[0], RecordError)


def test_marks_of_other_encodings() -> None:
    text = "a,b\n1,2\n"
    for written, encoding, said in (
        ("utf-16", "utf-8", "the file begins with the mark of UTF-16, and is read as utf-8; set encoding: utf-16"),
        ("utf-16", "latin-1", "the file begins with the mark of UTF-16, and is read as latin-1"),
        ("utf-32", "utf-8", "the file begins with the mark of UTF-32"),
        ("utf-8-sig", "windows-1252", "the file begins with the mark of UTF-8, and is read as windows-1252"),
        ("utf-16-le", "utf-8", "the header holds NUL characters: a"),
        ("utf-16-be", "latin-1", "the header holds NUL characters: "),
    ):
        refused(text.encode(written), said, encoding=encoding)
    assert read("яю,b\n1,2\n".encode("cp1251"), encoding="cp1251") == [{"яю": "1", "b": "2"}]
    assert read(text.encode("utf-8-sig"), encoding="utf-8-sig") == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"escapechar": "\\\\"}, "escapechar: '\\\\\\\\' is not one character"),
        ({"escapechar": ","}, "escapechar: ',' is the delimiter already"),
        ({"escapechar": '"'}, "escapechar: '\"' is the quote character, which can always be doubled"),
        ({"comment": '"'}, "comment: '\"' begins like a value"),
        ({"comment": "#\n"}, "comment: "),
        ({"null_marker": "a,b"}, "null_marker: 'a,b' cannot stand between delimiters"),
        ({"null_marker": '"'}, "null_marker: "),
        ({"null_marker": "#N/A", "comment": "#"}, "null_marker: '#N/A' begins like a comment"),
    ],
)
def test_wrong_dialects(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(CsvDeserializer, options)
    assert str(caught.value).startswith(message)


# Null


def test_null_is_written_as_its_marker() -> None:
    for marker in ("\\N", "NULL", "", "-", "é"):
        form = CsvFormat(fields=("a", "b"), null_marker=marker)
        assert form.format({"a": None}).decode() == f"{marker},{marker}"
        assert form.format({"a": marker, "b": ""}).decode() == f'"{marker}",""'
        assert form.format({"a": 1, "b": Enum("E", {"X": None}).X}).decode() == f"1,{marker}"  # type: ignore[attr-defined]
        assert pickle.loads(pickle.dumps(form)).format({"a": [1]}) == form.format({"a": [1]})
    assert CsvFormat(fields=("a",)).format({}) == b'""'


@pytest.mark.parametrize("marker", ["1", " 7e3", "nan", "Infinity", "True", "False", "a,b", 'q"', "\n", "\ud800"])
def test_markers_that_are_values_too_are_refused(marker: str) -> None:
    with pytest.raises(ConfigError, match=r"^null_marker: "):
        CsvFormat(fields=("a", "b"), null_marker=marker)
    with pytest.raises(ConfigError, match=r"^null_marker: a row whose one value is null would be an empty line"):
        CsvFormat(fields=("a",), null_marker="")


nullable = st.none() | texts | st.sampled_from(["\\N", "", "x\\Ny", '"\\N"', "NULL", "#"])


@settings(max_examples=at_least(200), deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"a": nullable, "b": nullable}), max_size=6),
    st.sampled_from([1, 5, 1000]),
    st.sampled_from(["\\N", "", "NULL", "x"]),
    st.booleans(),
)
def test_null_and_text_are_read_back_as_they_were(records: list[Any], size: int, marker: str, titles: bool) -> None:
    form = CsvFormat(fields=("a", "b"), null_marker=marker, show_titles=titles)
    data = form.header + form.separator.join(map(form.format, records)) + form.footer
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        assert read(data, null_marker=marker, fields=() if titles else ("a", "b")) == records
        assert form.reads_back == CsvDeserializer(
            null_marker=marker, fields=() if titles else ("a", "b"), duplicate_names="last"
        )


# What others test with

CSVS = SHARED / "suites" / "csv-test-data"
SPECTRUM = SHARED / "suites" / "csv-spectrum"


def found_in(folder: Path, pattern: str) -> list[Any]:
    return sorted(folder.glob(pattern)) or [pytest.param(None, marks=needs_shared)]


@needs_shared
@pytest.mark.parametrize("path", found_in(SPECTRUM, "csvs/*.csv"), ids=lambda path: getattr(path, "stem", "none"))
def test_csv_spectrum(path: Path) -> None:
    assert read(path.read_bytes()) == json.loads((SPECTRUM / "json" / f"{path.stem}.json").read_bytes())


@needs_shared
@pytest.mark.parametrize("path", found_in(CSVS, "json/*.json"), ids=lambda path: getattr(path, "stem", "none"))
def test_csv_test_data(path: Path) -> None:
    wanted, data = json.loads(path.read_bytes()), (CSVS / "csv" / f"{path.stem}.csv").read_bytes()
    if path.stem.startswith("header-"):
        assert read(data) == wanted
        return
    fields = tuple(f"c{n}" for n in range(len(wanted[0])))
    found = read(data, fields=fields, empty_lines="keep" if len(fields) == 1 else "skip")
    assert [list(record.values()) for record in found] == wanted


@needs_shared
@pytest.mark.parametrize("path", found_in(CSVS, "csv/bad-*.csv"), ids=lambda path: getattr(path, "stem", "none"))
def test_bad_csv_test_data(path: Path) -> None:
    data = path.read_bytes()
    if path.stem in ("bad-header-no-header", "bad-header-wrong-header"):
        assert read(data) == []  # a header like any other, and no row
        return
    try:
        (found,) = read(data)
    except SourceError as error:
        assert str(error).startswith("record 1: ")
    else:
        assert isinstance(found, RecordError)
