"""CSV that is written in other dialects than the usual one, and numbers that are read as in other countries."""

from __future__ import annotations

import codecs
import csv
import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, ExportError, RecordError
from exporters_beam.formats.csv import CsvDeserializer, CsvFormat
from exporters_beam.formats.csv_cells import LINE_ENDS
from exporters_beam.reporting.verify import verify

from examples import at_least
from helpers import visible


def file(records: list[dict[str, Any]], fields: tuple[str, ...] = ("a", "b"), **options: Any) -> bytes:
    form: CsvFormat = build(CsvFormat, {"fields": list(fields), **options})
    return form.header + form.separator.join(map(form.format, records)) + form.footer if records else form.empty


def read(data: bytes, deserializer: CsvDeserializer) -> list[Any]:
    found: list[Any] = []
    for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
        try:
            records = list(deserializer.decode(chunk))
        except RecordError:
            records = [record for _, record, _ in deserializer.decode_each(chunk)]  # type: ignore[misc]
        assert len(records) == count
        found += records
    return found


ROWS: list[dict[str, Any]] = [{"a": "x", "b": 1.5}, {"a": 'say "hi", you', "b": True}, {"a": "", "b": None}]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, ['"a","b"', '"x",1.5', '"say ""hi"", you",True', '"",""']),
        ({"quoting": "all"}, ['"a","b"', '"x","1.5"', '"say ""hi"", you","True"', '"",""']),
        ({"quoting": "minimal"}, ["a,b", "x,1.5", '"say ""hi"", you",True', ","]),
        ({"quoting": "minimal", "null_marker": ""}, ["a,b", "x,1.5", '"say ""hi"", you",True', '"",']),
        ({"quoting": "all", "null_marker": "\\N"}, ['"a","b"', '"x","1.5"', '"say ""hi"", you","True"', '"",\\N']),
        ({"quotechar": "'", "quoting": "minimal"}, ["a,b", "x,1.5", "'say \"hi\", you',True", ","]),
        ({"quoting": "none", "delimiter": "\t"}, ["a\tb", "x\t1.5", 'say "hi", you\tTrue', "\t"]),
        ({"quoting": None, "escapechar": "\\"}, ["a,b", "x,1.5", 'say \\"hi\\"\\, you,True', ","]),
        ({"escapechar": "\\"}, ['"a","b"', '"x",1.5', '"say \\"hi\\", you",True', '"",""']),
        ({"decimal": ",", "delimiter": ";"}, ['"a";"b"', '"x";1,5', '"say ""hi"", you";True', '"";""']),
        ({"delimiter": "."}, ['"a"."b"', '"x"."1.5"', '"say ""hi"", you".True', '"".""']),
        ({"delimiter": ".", "quoting": "minimal"}, ["a.b", 'x."1.5"', '"say ""hi"", you".True', "."]),
    ],
)
def test_the_bytes_of_dialects(options: dict[str, Any], lines: list[str]) -> None:
    assert file(ROWS, **options).decode() == "".join(line + "\n" for line in lines)
    for encoding, end in (("utf-16-le", "crlf"), ("cp500", "cr"), ("utf-8", "crlf")):
        text = "".join(line + LINE_ENDS[end] for line in lines)
        assert file(ROWS, **options, encoding=encoding, line_end=end) == text.encode(encoding)


def test_a_mark_stands_at_the_beginning_only() -> None:
    for encoding, mark, codec in (
        ("utf-8", codecs.BOM_UTF8, "utf-8"),
        ("UTF8", codecs.BOM_UTF8, "utf-8"),
        ("utf-8-sig", codecs.BOM_UTF8, "utf-8"),
        ("utf-16", codecs.BOM_UTF16_LE, "utf-16-le"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "utf-16-be"),
        ("utf-32", codecs.BOM_UTF32_LE, "utf-32-le"),
    ):
        for titles in (True, False):
            data = file(ROWS, encoding=encoding, bom=True, show_titles=titles)
            assert data == mark + '"a","b"\n"x",1.5\n"say ""hi"", you",True\n"",""\n'[0 if titles else 8 :].encode(codec)
    assert file([], bom=True, show_titles=False) == codecs.BOM_UTF8
    assert file([], encoding="utf-16") == '"a","b"\n'.encode("utf-16")
    assert file([{"a": "\ufeffx"}], encoding="utf-8", quoting="minimal", show_titles=False) == '"\ufeffx",\n'.encode()


def test_text_that_the_encoding_lacks() -> None:
    with pytest.raises(RecordError) as caught:
        file([{"a": "price → 5", "b": "x"}], encoding="windows-1252")
    assert str(caught.value) == (
        "in the column \"a\": windows-1252 cannot hold '→': price → 5; set encoding: utf-8, or on_unencodable: replace"
    )
    assert file([{"a": "→é"}], encoding="windows-1252", on_unencodable="replace") == '"a","b"\n"?é",""\n'.encode("cp1252")
    assert file([{"a": "x\ud800"}], on_unencodable="replace") == b'"a","b"\n"x?",""\n'
    for text in ("¥", "a¥b"):  # Python writes a backslash for it.
        with pytest.raises(RecordError, match="shift_jis cannot hold '¥'"):
            file([{"a": text}], encoding="shift_jis")
        assert b"?" in file([{"a": text}], encoding="shift_jis", on_unencodable="replace")
    marked = file([{"a": "→", "b": None}], encoding="latin-1", on_unencodable="replace", quoting="minimal", null_marker="?")
    assert marked == b'a,b\n"?",?\n'
    with pytest.raises(RecordError, match="the row cannot be written: "):
        file([{"a": 10**5000}], quoting="minimal")


def test_what_cannot_stand_without_quotes() -> None:
    for text, options, said in (
        ("x,y", {}, r"',' cannot stand in a value without quotes: 'x,y'; set escapechar or another quoting"),
        ("x\ny", {}, r"'\\n' cannot stand in a value"),
        ("NULL", {"null_marker": "NULL"}, "without quotes the text 'NULL' would be null; set escapechar"),
        ("\ufeffx", {}, "would be a byte-order mark"),
    ):
        with pytest.raises(RecordError, match=said):
            file([{"a": text}], quoting="none", **options)
    assert file([{"a": "NULL"}], quoting="none", escapechar="\\", null_marker="NULL") == b"a,b\n\\NULL,NULL\n"
    with pytest.raises(RecordError, match="a row whose one value is empty would be an empty line; set another quoting"):
        file([{}], ("a",), quoting="none")
    assert file([{}], ("a",), quoting="minimal") == b'a\n""\n'
    with pytest.raises(RecordError, match="the row ends with a carriage return, which cannot be told"):
        file([{"b": "x\r"}], quoting="none", escapechar="\\")
    assert file([{"b": "x\r"}], quoting="none", escapechar="\\", line_end="crlf") == b"a,b\r\n,x\\\r\r\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quotechar": ""}, "quotechar: it is empty; give a character, or set quoting: none"),
        ({"quotechar": "''"}, "quotechar: \"''\" is not one character"),
        ({"quotechar": ","}, "delimiter: ',' is the quote character already"),
        ({"escapechar": '"'}, "escapechar: '\"' is the quote character, which can always be doubled"),
        ({"decimal": ";"}, 'decimal: \';\' is neither "." nor ","'),
        ({"decimal": ","}, "decimal: ',' is the delimiter, too; set delimiter: \";\""),
        ({"decimal": ",", "delimiter": ";", "null_marker": "1,5"}, "null_marker: '1,5' is written for a value"),
        ({"encoding": "utf-9"}, "encoding: Python knows no encoding of text called 'utf-9'"),
        ({"encoding": "rot13"}, "encoding: Python knows no encoding of text called 'rot13'"),
        ({"encoding": "idna"}, "encoding: idna cannot hold CSV"),
        ({"encoding": "raw_unicode_escape"}, "encoding: raw_unicode_escape cannot hold CSV"),
        ({"encoding": "punycode"}, "encoding: punycode cannot hold CSV"),
        ({"encoding": "cp1252", "bom": True}, "bom: cp1252 has no byte-order mark; leave it out, or set encoding: utf-8"),
        ({"encoding": "cp1252", "delimiter": "→"}, "encoding: cp1252 has no '→'"),
        ({"encoding": "cp1252", "null_marker": "→"}, "null_marker: it holds '→', which cp1252 cannot hold"),
        ({"encoding": "cp1252", "fields": ["a", "→"]}, "fields: a name holds '→', which cp1252 cannot hold"),
        ({"quoting": "none", "fields": ["a", "x,y"]}, "fields: the row of names cannot be written: ',' cannot stand"),
        ({"quoting": "none", "null_marker": ""}, "null_marker: without quotes an empty text would be null, too"),
        ({"quoting": "none", "escapechar": "\\", "null_marker": "\\\\"}, "null_marker: with escapechar '\\\\'"),
        ({"escapechar": "\\", "null_marker": "x\\"}, "null_marker: with escapechar '\\\\'"),
    ],
)
def test_wrong_dialects(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(CsvFormat, {"fields": ["a", "b"], **options})
    assert str(caught.value).startswith(said)


hostile = st.text(
    st.sampled_from("ab,;\t\"'\\\r\n \ufeff?N" + ("" if sys.version_info < (3, 11) else "\0"))
    | st.characters(blacklist_categories=("Cs",), max_codepoint=255, blacklist_characters="\0"),
    max_size=6,
) | st.sampled_from(["", "NULL", "\\N", "N", "\\", "~"])
dialects = st.fixed_dictionaries(
    {},
    optional={
        "quoting": st.sampled_from(["all", "nonnumeric", "minimal", "none"]),
        "delimiter": st.sampled_from([";", "\t", "|"]),
        "quotechar": st.just("'"),
        "escapechar": st.sampled_from(["\\", "^"]),
        "null_marker": st.sampled_from(["\\N", "", "NULL", "~"]),
        "encoding": st.sampled_from(["utf-8", "utf-16", "utf-16-be", "utf-32", "utf-8-sig", "latin-1"]),
        "line_end": st.sampled_from(["crlf", "cr"]),
        "show_titles": st.just(False),
    },
)


@settings(max_examples=at_least(300), deadline=None)
@given(dialects, st.lists(st.fixed_dictionaries({"a": st.none() | hostile, "b": st.none() | hostile}), max_size=5))
def test_what_a_dialect_writes_it_reads_again_and_so_does_python(options: dict[str, Any], records: list[Any]) -> None:
    try:
        form: CsvFormat = build(CsvFormat, {"fields": ["a", "b"], **options})
    except ConfigError:
        assume(False)
    kept, rows = [], []
    for record in records:
        try:
            rows.append(form.format(record))
        except RecordError as error:
            if form.quoting != "none" and form.encoding != "latin-1":
                raise AssertionError("it can be written") from error
        else:
            kept.append(record)
    assert pickle.loads(pickle.dumps(form)) == form
    data = form.header + (form.separator.join(rows) + form.footer if rows else b"")
    marked = form.null_marker is not None
    wanted = [{k: v if v is not None or marked else "" for k, v in record.items()} for record in kept]
    assert read(data, form.reads_back) == wanted
    text = data.decode(form.reads_back.encoding).removeprefix("\ufeff")
    quoting: Any = csv.QUOTE_NONE if form.quoting == "none" else csv.QUOTE_MINIMAL
    found = csv.reader(
        io.StringIO(text, newline=""), delimiter=form.delimiter, quotechar=form.quotechar, escapechar=form.escapechar or None,
        quoting=quoting, doublequote=not form.escapechar,
    )  # fmt: skip
    if not (form.escapechar and form.null_marker and form.escapechar in form.null_marker):
        told = [[form.null_marker or "" if value is None else value for value in (record["a"], record["b"])] for record in kept]
        assert list(found)[form.show_titles :] == told


def test_numbers_with_a_decimal_comma() -> None:
    reader = build(
        CsvDeserializer,
        {"delimiter": ";", "null_marker": "-", "numbers": {"columns": ["p"], "decimal": ",", "thousands": "."}},
    )
    data = b'n;p\n1,5;1.299,50\n2;"-12,5"\n3;\n4;-\n5; 7 \n6;1.234.567\n7;+1,5e3\n'
    found = read(data, reader)
    assert [record["p"] for record in found] == ["1299.50", "-12.5", "", None, "7", "1234567", "+1.5e3"]
    assert found[0]["n"] == "1,5"
    for text in ("1.5", "12.99,5", "1,5,5", "x", "1,", ",5", "1.2345", "1 000", "٣", "0x1", "1_0", "inf", "EUR 5"):
        (error,) = read(f"n;p\n1;{text}\n".encode(), reader)
        assert str(error) == (f"in the column \"p\": '{text}' is not a number with ',' for decimals and '.' between thousands")
    swiss = build(CsvDeserializer, {"numbers": {"columns": ["p"], "decimal": ".", "thousands": "'"}})
    assert read(b"p\n1'234'567.25\n", swiss) == [{"p": "1234567.25"}]
    bare = build(CsvDeserializer, {"delimiter": ";", "numbers": {"columns": ["p"]}})
    (error,) = read(b"p;q\n1.299,50;\n", bare)
    assert str(error).endswith("; numbers.thousands names what stands between groups of three digits")


@pytest.mark.parametrize("ragged", ["fail", "null", "keep"])
def test_numbers_are_the_same_whichever_way_rows_are_read(ragged: str) -> None:
    reader = build(CsvDeserializer, {"delimiter": ";", "ragged": ragged, "numbers": {"columns": ["p"]}})
    for text in ("1;2,5\n3;4\n", '1;"2,5"\n3;4\n', "1;2,5\n3;x\n", "1\n2;3,5\n", "1;2,5;7\n"):
        ((chunk, _, _),) = reader.chunks(io.BytesIO(f"n;p\n{text}".encode()))
        each = [record for _, record, _ in reader.decode_each(chunk)]
        failing = next((record for record in each if isinstance(record, Exception)), None)
        if failing is not None:
            for call in (reader.decode, reader.json_lines, reader.column_values, reader.glance(frozenset(["n"]))):
                with pytest.raises(RecordError):
                    call(chunk)
            continue
        assert reader.decode(chunk) == each
        assert [json.loads(line) for line in reader.json_lines(chunk).splitlines()] == each
        records, chosen, made = reader.glance(frozenset(["p"]))(chunk)
        assert [record["p"] for record in records] == [record["p"] for record in each]
        assert made(chosen(None)) == each


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"decimal": ","}, "numbers.columns: give the names of columns as a list"),
        ({"columns": "price"}, "numbers.columns: give the names of columns as a list"),
        ({"columns": ["p"], "decimals": ","}, 'numbers.decimals: unknown key; did you mean "decimal"?'),
        ({"columns": ["p"], "decimal": ""}, "numbers.decimal: '' is not one character that may stand in numbers"),
        ({"columns": ["p"], "thousands": "0"}, "numbers.thousands: '0' is not one character"),
        ({"columns": ["p"], "thousands": ","}, "numbers.thousands: ',' is the decimal character already"),
    ],
)
def test_wrong_numbers(numbers: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(CsvDeserializer, {"numbers": numbers})
    assert str(caught.value).startswith(said)


def test_files_without_a_column_of_numbers_are_errors() -> None:
    with pytest.raises(
        ExportError, match=r'the header has no column called prise, which numbers\.columns names; did you mean "pri'
    ):
        read(b"n,price\n1,2\n", CsvDeserializer(numbers={"columns": ["prise"]}))
    with pytest.raises(ConfigError, match=r"numbers\.columns: fields has no column called x"):
        CsvDeserializer(fields=("a",), numbers={"columns": ["x"]})


def test_an_export_from_one_dialect_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_bytes("name;price\r\nÄpfel;1.299,50\r\n→;2,5\r\nx;y\r\n".encode("utf-16"))
    report = exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": "in.csv"}},
        "deserializer": {"name": "csv", "options": {
            "delimiter": ";", "encoding": "utf-16", "numbers": {"columns": ["price"], "thousands": "."},
        }},
        "transform": {"name": "fields", "options": {"types": {"price": "decimal"}}},
        "writer": {"name": "fs", "options": {"filebase": "out/p-", "compression": "none"}},
        "on_error": "skip",
        "exporter_options": {"formatter": {"name": "csv", "options": {
            "fields": ["price", "name"], "delimiter": ";", "decimal": ",", "quoting": "minimal", "encoding": "windows-1252",
            "line_end": "crlf",
        }}},
    })  # fmt: skip
    assert next(iter(visible(Path("out")).values())).read_bytes() == "price;name\r\n1299,50;Äpfel\r\n".encode("cp1252")
    assert (report.counts["read"], report.counts["written"]) == (3, 1)
    assert verify(report.manifest)[0] == []
