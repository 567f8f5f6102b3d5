"""Text in columns of fixed width that is read."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats import fixed_width
from exporters_beam.formats.fixed_width import FixedWidthDeserializer

from examples import at_least
from helpers import visible

COLUMNS = [{"name": "id", "width": 3}, {"name": "town", "width": 6}, {"name": "n", "start": 12, "end": 14}]


def read(data: bytes, columns: list[dict[str, Any]] | None = None, **options: Any) -> list[Any]:
    deserializer: FixedWidthDeserializer = build(FixedWidthDeserializer, {"columns": columns or COLUMNS, **options})
    deserializer = pickle.loads(pickle.dumps(deserializer))
    found: list[Any] = []
    for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
        records = [record for _, record, _ in deserializer.decode_each(chunk)]
        assert len(records) == count
        if not any(isinstance(record, Exception) for record in records):
            assert deserializer.decode(chunk) == records
        found += records
    return found


def shrink(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(fixed_width, "PIECE", size)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("feed", ["\n", "\r\n"])
def test_lines_become_records(monkeypatch: pytest.MonkeyPatch, size: int, feed: str) -> None:
    shrink(monkeypatch, size)
    lines = ["  1Vejle ..  7 and more", "", " 22Århus ..100", "333        1\t "]
    wanted = [
        {"id": "1", "town": "Vejle", "n": "7"},
        {"id": "22", "town": "Århus", "n": "100"},
        {"id": "333", "town": "", "n": "1"},
    ]
    for encoding in ("utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le"):
        assert read(feed.join(lines).encode(encoding), encoding=encoding) == wanted
        assert read(feed.join(["head", "", *lines, "sum", "end", "", ""]).encode(encoding), encoding=encoding, skip_lines=2,
                    skip_footer=2) == wanted  # fmt: skip
    assert read(("\ufeff" + feed.join(lines)).encode(), empty_as_null=True)[2] == {"id": "333", "town": None, "n": "1"}
    assert read(b"") == read(b"\n\r\n") == []


def test_where_columns_stand_and_what_is_cut() -> None:
    columns = [
        {"name": "all", "start": 1, "end": 6, "trim": "none"},
        {"name": "left", "start": 1, "width": 3, "trim": "left"},
        {"name": "right", "width": 3, "trim": "right"},
        {"name": "first", "start": 2, "end": 2},
    ]
    assert read(b" a  b \n", columns) == [{"all": " a  b ", "left": "a ", "right": " b", "first": "a"}]
    assert read(b" a\n", columns, short_lines="fill") == [{"all": " a    ", "left": "a", "right": "", "first": "a"}]


def test_lines_that_are_short_or_not_of_the_encoding_fail_alone() -> None:
    good, short, wrong, after = read(b"  1Vejle ..  7\n  2Vejle\n  3V\xffjle ..  7\n  4Vejle\xff..  9\n")
    assert good == {"id": "1", "town": "Vejle", "n": "7"}
    assert isinstance(short, RecordError) and str(short) == (
        'the line has 8 characters, and the column "town" ends at 9: 2Vejle; fix the line, or set short_lines: fill'
    )
    assert str(wrong).startswith('the text in the column "town" is not of the encoding: byte 0xff: V')
    assert isinstance(after, RecordError)


@pytest.mark.parametrize("size", [1, 1000])
def test_files_that_are_too_short_or_too_long(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    shrink(monkeypatch, size)
    for options in ({"skip_lines": 3}, {"skip_footer": 3}, {"skip_lines": 1, "skip_footer": 2}):
        with pytest.raises(SourceError, match="the file has fewer lines than skip_lines"):
            read(b"x\ny\n", **options)
    assert read(b"x\ny\n", skip_lines=1, skip_footer=1) == []
    with pytest.raises(RecordError, match="the line is longer than 20 characters; where that is right, raise max_record_bytes"):
        read(b"  1Vejle ..  7\n" + b"x" * 21 + b"\n", max_record_bytes=20)
    if size > 1:
        with pytest.raises(SourceError, match="the file begins with the mark of UTF-16, and is read as utf-8; set encoding"):
            read("x".encode("utf-16"))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([], "columns: give the fields, such as {name: id"),
        ([{"width": 1}], "columns[0].name: give the name of the field"),
        ([{"name": "a", "width": 1}, {"name": "a", "width": 1}], "columns[1].name: two columns are called 'a'"),
        ([{"name": "a"}], "columns[0]: give either width or end for the column 'a'"),
        ([{"name": "a", "width": 1, "end": 1}], "columns[0]: give either width or end"),
        ([{"name": "a", "start": 0, "width": 1}], "columns[0].start: 0 is no number of characters from 1 on"),
        ([{"name": "a", "width": "2"}], "columns[0].width: '2' is no number"),
        ([{"name": "a", "start": 3, "end": 2}], "columns[0].end: 2 is before its first character, 3"),
        ([{"name": "a", "with": 3}], 'columns[0].with: unknown key; did you mean "width"?'),
        ([{"name": "a", "width": 3, "trim": "all"}], "columns[0].trim: 'all' is not one of both, left, right, none"),
    ],
)
def test_wrong_columns(columns: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(FixedWidthDeserializer, {"columns": columns})
    assert str(caught.value).startswith(said)


cells = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n"), min_size=4, max_size=4)


@settings(max_examples=at_least(100), deadline=None)
@given(st.lists(st.tuples(cells, cells), max_size=6), st.sampled_from([1, 5, 1000]), st.sampled_from(["\n", "\r\n"]))
def test_any_text_is_what_stands_there(rows: list[tuple[str, str]], size: int, feed: str) -> None:
    columns = [{"name": name, "width": 4, "trim": "none"} for name in "ab"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        data = "\ufeff" + feed.join(a + b for a, b in rows)
        assert read(data.encode(), columns) == [{"a": a, "b": b} for a, b in rows]


def test_an_export_says_where_a_line_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_bytes(b"  1Vejle ..  7\n  2Vejle\n  3Skive ..  9\n")
    report = exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": "in.txt"}},
        "deserializer": {"name": "fixed_width", "options": {"columns": COLUMNS}},
        "writer": {"name": "fs", "options": {"filebase": "out/p-", "compression": "none"}}, "on_error": "dead_letter",
    })  # fmt: skip
    files = [path.read_text() for name, path in visible(Path("out")).items() if name.endswith(".jl")]
    assert [json.loads(line)["n"] for line in files[0].splitlines()] == ["7", "9"]
    assert report.counts["read"] == 3
