"""JSON: lines, arrays and objects one behind the other come in exactly, and go out as Python prints them."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import math
import pickle
import re
import struct
import uuid
from collections import OrderedDict, namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.errors import RecordError, SourceError
from exporters_beam.formats.json import JsonDeserializer
from exporters_beam.formats.json_lines import JsonLinesDeserializer, digits_follow, parse
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.formats.lines import split
from exporters_beam.records import MISSING

from examples import at_least

CASES = Path(__file__).parents[1] / "oracle" / "cases"

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**80), max_value=2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1e-7, 1.5e-05, 1e16, 1e22, -0.0, 5e-324, 0.0001, 2**64, -(2**63) - 1])
    | st.text()
    | st.sampled_from(["}{", '"', "\\", "]", "{", "},{", "\u2028", "\x00\x1f\x7f", "😀", "e-7", "0.00001 null", "\ud800"])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))
records = st.dictionaries(st.text(), values, max_size=5)


def shrink(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", size)
    monkeypatch.setattr("exporters_beam.formats.json.PIECE", size)


def read(deserializer: Any, data: bytes) -> list[Any]:
    """Every record, decoded as the pipeline does it, or the RecordError in its place. Checks counts on the way."""
    found: list[Any] = []
    for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
        chunk = pickle.loads(pickle.dumps(chunk))
        try:
            decoded = list(deserializer.decode(chunk))
            assert len(decoded) == count
        except Exception:
            each = list(deserializer.decode_each(chunk))
            assert all(0 <= number < max(count, len(each)) for number, _, _ in each)
            decoded = [record for _, record, _ in each]
        found += decoded
    return found


def read_lines(data: bytes) -> list[Any]:
    return read(JsonLinesDeserializer(), data)


def read_json(data: bytes) -> list[Any]:
    return read(JsonDeserializer(), data)


def error_of(text: bytes) -> str:
    with pytest.raises(RecordError) as caught:
        parse(text)
    return str(caught.value)


# Reading lines


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 64, 1000])
def test_lines_are_cut_at_line_feeds_only(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    shrink(monkeypatch, size)
    expected = [{"n": n, "text": "é\u2028\x0b" * n} for n in range(20)]
    for mark in (b"", b"\xef\xbb\xbf"):
        for end in (b"", b"\n"):
            for feed in (b"\n", b"\r\n"):
                data = mark + feed.join(json.dumps(r, ensure_ascii=False).encode() for r in expected) + end
                chunks = list(JsonLinesDeserializer().chunks(io.BytesIO(data)))
                assert sum(length for _, _, length in chunks) == len(data)
                assert sum(count for _, count, _ in chunks) == 20
                assert all(lines.text.endswith(b"\n") for lines, _, _ in chunks[:-1])
                assert read_lines(data) == expected


@given(st.lists(st.sampled_from([b"", b"a", b"{}", b"\r", b"x" * 7, b"y" * 300]), max_size=40), st.booleans(), st.data())
def test_where_lines_end(texts: list[bytes], ended: bool, data: Any) -> None:
    text = b"\n".join(texts) + b"\n" * ended
    lines = text.split(b"\n")[:-1] if text.endswith(b"\n") or not text else text.split(b"\n")
    flags = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    for found in (split(text), split(text, small=0)):
        assert found.lines() == found.lines([1] * len(lines)) == lines
        assert found.lines(flags) == [line for line, flag in zip(lines, flags, strict=True) if flag]
        assert (found.count, found.longest) == (len(lines), max(map(len, lines), default=0))


@given(
    st.lists(
        st.tuples(st.sampled_from([b"7", b"0", b"9", b"/", b":", b"-", b"\xb2", b"1.5", b""]), st.integers(0, 90)),
        max_size=9,
    ),
    st.integers(1, 90),
)
def test_where_many_digits_follow_each_other(parts: list[tuple[bytes, int]], count: int) -> None:
    text = b"".join(part * times for part, times in parts)
    assert digits_follow(text, count) == bool(re.search(rb"[0-9]{%d}" % count, text))


class Unusual(Enum):
    NAN = math.nan


SPECIAL = [math.nan, math.inf, -math.inf, struct.unpack("<d", b"\1" + b"\0" * 5 + b"\xf4\xff")[0], Unusual.NAN]


@pytest.mark.parametrize("value", SPECIAL, ids=str)
@pytest.mark.parametrize("around", [lambda v: v, lambda v: [1.5, (v,)], lambda v: {"n": {"b": v}}, lambda v: OrderedDict(b=v)])
def test_a_number_that_is_not_json_is_found_among_many_nulls(value: Any, around: Any) -> None:
    records = [{"a": None, "b": n / 3} for n in range(40)]
    form = JsonFormat(allow_nan=True)
    assert form.format_all(records) == list(map(form.format, records))
    records[20]["b"] = around(value)
    texts = form.format_all(records)
    assert texts == list(map(form.format, records))
    assert b"NaN" in texts[20] or b"Infinity" in texts[20]
    with pytest.raises(RecordError, match="is not JSON at"):
        JsonFormat().format_all(records)


odd = values | st.floats() | st.decimals(allow_nan=False, allow_infinity=False) | st.binary(max_size=3) | st.dates()


@given(st.lists(st.tuples(records, odd, odd), min_size=1, max_size=6), st.sampled_from([["x"], ["x", "é,"]]))
def test_lines_with_fields_added_are_the_records_with_these_fields(rows: list[Any], names: list[str]) -> None:
    form = JsonFormat(allow_nan=True)
    own = [{key: value for key, value in record.items() if key not in names} for record, _, _ in rows]
    more = [dict(zip(names, values, strict=False)) for _, *values in rows]
    lines = [form.format(record) for record in own]
    expected = [form.format({**record, **added}) for record, added in zip(own, more, strict=True)]
    assert form.extend_all(lines, more, names) == expected
    lines[0], more[0] = b"", {**own[0], **more[0]}
    assert form.extend_all(lines, more, names) == expected


few = st.sampled_from(["", "a", "é", 'say "x"', "😀", None]) | st.none()
many = few | st.text(max_size=4) | st.integers() | st.lists(st.integers(), max_size=1) | st.booleans()
members = st.fixed_dictionaries({}, optional={"a": few, "é b": many, "c": st.just(1)})


@given(st.lists(st.lists(members, min_size=1, max_size=6), max_size=30), st.booleans())
def test_values_of_fields_come_the_same_whether_they_were_seen_before(chunks: list[Any], ascii: bool) -> None:
    glance = JsonLinesDeserializer().glance_at(["a", "é b"])
    for rows in chunks:
        text = "".join(json.dumps(row, ensure_ascii=ascii) + "\n" for row in rows).encode()
        parts, _, _ = glance(text)
        values = [(part.f0, part.f1) for part in parts]
        expected = [(row.get("a", MISSING), row.get("é b", MISSING)) for row in rows]
        assert values == expected
        assert [list(map(type, pair)) for pair in values] == [list(map(type, pair)) for pair in expected]  # 1 == True


def test_texts_that_were_seen_are_not_made_again() -> None:
    glance = JsonLinesDeserializer().glance_at(["a"])
    lines = b"".join(b'{"a":"text %d"}\n' % (n % 3) for n in range(9))
    assert len({id(part.f0) for part in glance(lines)[0]}) == 9
    assert len({id(part.f0) for part in glance(lines)[0]}) == 3
    for start in range(0, 100_000, 1000):  # always new ones
        parts = glance(b"".join(b'{"a":"text %d"}\n' % n for n in range(start, start + 1000)))[0]
        assert [part.f0 for part in parts] == [f"text {n}" for n in range(start, start + 1000)]
    for text in (b'{"a":[1]}', b'{"a":1}', b"{}", b'{"a":null}'):
        assert glance(text)[0][0].f0 == json.loads(text).get("a", MISSING)
    for text in (b'{"a":"text 1"', b"[]", b'{"a":"\xff"}', b'{"a":1}{'):
        with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecordError)):
            glance(text)


def test_empty_input_has_no_lines_and_is_no_json() -> None:
    for data in (b"", b"\xef\xbb\xbf", b" ", b"\xef\xbb\xbf\r\n"):
        assert read_lines(data) == []
        with pytest.raises(SourceError, match="record 1: there is no JSON in it, not even an empty array"):
            read_json(data)


def test_blank_lines_are_skipped_and_counted() -> None:
    data = b'\n{"a": 1}\n  \t\r\n\n{"a": 2}\n\n'
    ((chunk, count, _),) = JsonLinesDeserializer().chunks(io.BytesIO(data))
    assert count == 6
    with pytest.raises((msgspec.DecodeError, RecordError)):
        JsonLinesDeserializer().decode(chunk)
    assert list(JsonLinesDeserializer().decode_each(chunk)) == [
        (1, {"a": 1}, b'{"a": 1}'),
        (4, {"a": 2}, b'{"a": 2}'),
    ]


def test_one_bad_line_leaves_the_others() -> None:
    data = b'{"a": 1}\n{"a": \n[1, 2]\n{"a": 1}{"b": 2}\n{"a": 3}\n'
    ((chunk, _, _),) = JsonLinesDeserializer().chunks(io.BytesIO(data))
    found = list(JsonLinesDeserializer().decode_each(chunk))
    hint = "; where records do not stand one a line, write deserializer: json"
    assert [record if isinstance(record, dict) else str(record) for _, record, _ in found] == [
        {"a": 1},
        f'not valid JSON: Expecting value at character 7: {{"a":{hint}',
        f"not a JSON object but a list: [1, 2]{hint}",
        f'not valid JSON: Extra data at character 9: {{"a": 1}}{{"b": 2}}{hint}',
        {"a": 3},
    ]
    assert [number for number, _, _ in found] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"[]", "a list"),
        (b'"x"', "a string"),
        (b"1", "a number"),
        (b"1.5", "a number"),
        (b"true", "a boolean"),
        (b"null", "null"),
    ],
)
def test_what_is_no_object_is_named(text: bytes, kind: str) -> None:
    assert error_of(text) == f"not a JSON object but {kind}: {text.decode()}"


def test_invalid_utf8_names_the_byte() -> None:
    assert error_of(b'{"a": "\xff"}') == 'not valid UTF-8: byte 0xff at byte 8: {"a": "\\xff"}'
    assert "byte 0xed" in error_of(b'{"a": "\xed\xa0\x80"}')


def test_long_lines_are_cut_in_messages() -> None:
    message = error_of(b'{"a": "' + b"x" * 100_000)
    assert len(message) < 320
    assert message.endswith("… (100007 long)")


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    for text in (b'{"a":' * 100_000, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"):
        assert isinstance(read_lines(text)[0], RecordError)
    assert "nested too deep" in error_of(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_numbers_keep_all_their_digits() -> None:
    text = b'{"big": 12345678901234567890123, "edge": [18446744073709551615, 18446744073709551616, -9223372036854775809]}'
    assert read_lines(text) == [
        {"big": 12345678901234567890123, "edge": [2**64 - 1, 2**64, -(2**63) - 1]},
    ]
    (record,) = read_lines(b'{"third": 0.3333333333333333, "tiny": 5e-324, "neg": -0.0, "int": -0, "huge": 1e400}')
    assert repr(list(record.values())) == "[0.3333333333333333, 5e-324, -0.0, 0, inf]"
    assert "digits" in error_of(b'{"a": ' + b"1" * 5000 + b"}")


def test_what_only_python_accepts_is_read() -> None:
    (record,) = read_lines(b'{"nan": NaN, "inf": [Infinity, -Infinity], "lone": "\\ud800x", "dup": 1, "b": 2, "dup": 3}')
    assert math.isnan(record.pop("nan"))
    assert record == {"inf": [math.inf, -math.inf], "lone": "\ud800x", "dup": 3, "b": 2}
    assert list(record) == ["inf", "lone", "dup", "b"]


@settings(max_examples=at_least(150), deadline=None)
@given(st.data())
def test_any_text_is_read_as_python_reads_it_or_refused(data: st.DataObject) -> None:
    good = json.dumps({"r": data.draw(values)}, ensure_ascii=data.draw(st.booleans()))
    text = bytearray(good.encode("utf-8", "backslashreplace"))
    tokens = [
        b"NaN",
        b"1e400",
        b"\\ud83d",
        b"{",
        b"}",
        b"]",
        b",",
        b'"',
        b"\\",
        b"0",
        b"-",
        b".",
        b"e",
        b"\x00",
        b"\xff",
        b"\t",
    ]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(st.sampled_from(tokens))
    line = bytes(text).replace(b"\n", b" ")
    try:
        expected = json.loads(line.decode())
    except (ValueError, RecursionError):
        expected = None
    if isinstance(expected, dict):
        assert repr(parse(line)) == repr(expected)
    else:
        with pytest.raises(RecordError):
            parse(line)


HOSTILE = [
    (b'{"a": NaN}', 'NaN is not JSON at "a"; set allow_nan: true to write it'),
    (b'{"a": [1e400]}', 'Infinity is not JSON at "a.0"; set allow_nan: true to write it'),
    (b'{"a": -1e400}', '-Infinity is not JSON at "a"; set allow_nan: true to write it'),
    (b'{"a": 1e-400}', b'{"a":0.0}'),
    (b'{"a": "\\ud800"}', b'{"a":"\\ud800"}'),
    (b'{"\\udc00\\ud800": 1}', b'{"\\udc00\\ud800":1}'),
    (b'{"a": "\\ud83d\\ude00"}', '{"a":"😀"}'.encode()),
    (b'{"a": 1180591620717411303424}', b'{"a":1180591620717411303424}'),
    (b'{"a": 1, "a": 2}', b'{"a":2}'),
    (b'{"": {"": []}}', b'{"":{"":[]}}'),
    (b'{"a": 1}\r', b'{"a":1}'),
    (b'{"a": 1,}', "not valid JSON: Expecting property name enclosed in double quotes at character 9: "),
    (b'{"a": [1,]}', "not valid JSON: "),
    (b"{'a': 1}", "not valid JSON: Expecting property name enclosed in double quotes at character 2: {'a': 1}"),
    (b'{"a": 01}', "not valid JSON: Expecting ',' delimiter at character 8: "),
    (b'{"a": .5}', "not valid JSON: Expecting value at character 7: "),
    (b'{"a": nan}', "not valid JSON: Expecting value at character 7: "),
    (b'{"a": 1} {"b": 2}', "not valid JSON: Extra data at character 10: "),
    (b'{"a": 1}\x00', 'not valid JSON: Extra data at character 9: {"a": 1}\\x00'),
    (b'{"a": "\x1b[31m"}', 'not valid JSON: Invalid control character at character 8: {"a": "\\x1b[31m"}'),
    (b'\xef\xbb\xbf{"a": 1}', "not valid JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) at character 1: "),
    (b'{"a": "\xc0\x80"}', "not valid UTF-8: byte 0xc0 at byte 8: "),
    (b"\xff\xfe{\x00}\x00", "not valid UTF-8: byte 0xff at byte 1: \\xff\\xfe{\\x00}\\x00"),
    (b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "not readable: values are nested too deep: "),
    (b'{"a": ' + b"9" * 5_000 + b"}", "not readable: an integer has more than 4300 digits: "),
]


@pytest.mark.parametrize(("text", "outcome"), HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
def test_what_comes_in_goes_out_or_the_error_says_why(text: bytes, outcome: bytes | str) -> None:
    if isinstance(outcome, bytes):
        assert JsonFormat().format(parse(text)) == outcome
        return
    with pytest.raises(RecordError) as caught:
        JsonFormat().format(parse(text))
    message = str(caught.value)
    assert message.startswith(outcome)
    assert message.isprintable()
    assert len(message) < 320


# Reading arrays and objects one behind the other


@settings(max_examples=at_least(60), deadline=None)
@given(
    st.lists(records, max_size=6),
    st.sampled_from([None, 1]),
    st.sampled_from([1, 2, 3, 7, 40, 1000]),
    st.sampled_from(["", " ", "\n", "\r\n\n"]),
    st.integers(0, 6),
)
def test_any_layout_of_json_gives_the_same_records(
    expected: list[Any], indent: int | None, size: int, gap: str, at: int
) -> None:
    def dump(value: Any) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=False)

    layouts = [dump(expected)]
    if expected:
        layouts += [
            gap.join(map(dump, expected)),
            gap.join(dump(part) for part in (expected[:at], expected[at:]) if part),
        ]
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        for text in layouts:
            for framed in (text, f"\ufeff \n{text}\n "):
                data = framed.encode("utf-8", "backslashreplace")
                assert repr(read_json(data)) == repr(expected)


def test_json_chunks_hold_what_they_count_and_decode_fast() -> None:
    expected = [{"n": n, "nested": {"list": [{"x": "}{"}] * 3}} for n in range(5000)]
    for data in (json.dumps(expected).encode(), b"".join(json.dumps(r).encode() for r in expected)):
        chunks = list(JsonDeserializer().chunks(io.BytesIO(data)))
        assert len(chunks) > 1
        assert sum(count for _, count, _ in chunks) == 5000
        assert sum(length for _, _, length in chunks) == len(data)
        if data[:1] == b"[":
            assert [record for chunk, _, _ in chunks for record in JsonDeserializer().decode(chunk)] == expected
        else:
            assert read_json(data) == expected


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_truncated_json_names_the_record(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    shrink(monkeypatch, size)
    for text, message in (
        (b'[{"a": 1}, {"a": 2', "record 2: the input ends here, but it is cut short"),
        (b'[{"a": 1}, {"a": "]}', "record 2: the input ends here, but it is cut short"),
        (b'[{"a": 1}, {"a": 2}', "record 3: the input ends here, but the array is not closed"),
        (b"[", "record 1: the input ends here, but the array is not closed"),
        (b'{"a": 1}{"a": {', "record 2: the input ends here, but it is cut short"),
        (b'[{"a": 1}]]', "record 2: a bracket is closed that was not opened"),
        (b"a,b\n1,2\n", "record 1: neither a JSON array nor an object begins here: a"),
    ):
        with pytest.raises(SourceError, match="record") as caught:
            read_json(text)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_faults_in_an_array_leave_the_other_records(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    shrink(monkeypatch, size)
    for text, good, faults in (
        (
            b'[{"a": 1}, 5, {"a": 2}, "x"]',
            2,
            ["not a JSON object but a number: 5", 'not a JSON object but a string: "x"'],
        ),
        (b'[{"a": 1}, [1], {"a": NaN}]', 2, ["not a JSON object but a list: [1]"]),
        (b'[{"a": 1}, {"a": tru}, {"a": 2}]', 2, ["not valid JSON: Expecting value at character 7"]),
        (b'[{"a": 1}, {"a": "\xff"}, {"a": 2}]', 2, ["not valid UTF-8: byte 0xff at byte 8"]),
        (b'[{"a": 1},, {"a": 2}]', 2, ["not valid JSON: a value is missing"]),
        (b'[{"a": 1}, {"a": 2},]', 2, ["not valid JSON: a value is missing"]),
        (b'{"a": 1} x {"a": 2}', 2, ["not valid JSON: Expecting value"]),
    ):
        found = read_json(text)
        assert sum(isinstance(record, dict) for record in found) == good
        errors = [str(record) for record in found if isinstance(record, RecordError)]
        assert [error[: len(fault)] for error, fault in zip(errors, faults, strict=True)] == faults
    assert any(isinstance(record, RecordError) for record in read_json(b'[{"a": 1} {"a": 2}]'))


def test_values_between_which_commas_stand_are_refused_and_not_changed() -> None:
    """The border between two objects also stands inside the first one's text."""
    for gap in (b"", b" "):
        found = read_json(b'{"a":"}' + gap + b'{"},{"b":1}')
        assert [record for record in found if isinstance(record, dict)] == [{"a": f"}}{gap.decode()}{{"}, {"b": 1}]
        assert [str(record) for record in found if not isinstance(record, dict)] == [
            "not valid JSON: Expecting value at character 1: ,"
        ]


def values_in(text: bytes) -> list[Any] | None:
    """What stands one behind the other, or in arrays that do, by the standard library; None if it is not JSON."""
    found: list[Any] = []
    try:
        rest = text.decode().strip(" \t\r\n")
        while rest:
            value, end = json.JSONDecoder().raw_decode(rest)
            found.append(value)
            rest = rest[end:].lstrip(" \t\r\n")
    except ValueError:
        return None
    if found and all(type(value) is list for value in found):
        return [member for value in found for member in value] if len(found) == 1 or all(found) else None
    return found or None


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"[][]",
            "record 1: an empty array stands beside others; a file is one array of objects, several that each hold",
        ),
        (b"[] \n[]", "record 1: an empty array stands beside others"),
        (b'[{"a":1}][]', "record 2: an empty array stands beside others"),
        (b'[][{"a":1}]', "record 1: an empty array stands beside others"),
        (b"[1][2]", "record 1: an empty array stands beside others"),
        (b"[]{}", "record 1: an object begins behind an array"),
        (b"{}[]", "record 2: an array begins behind objects"),
        (b'{"a":1}[{"a":2}]', "record 2: an array begins behind objects"),
        (
            b'[{"a":1}]{"a":2}',
            "record 2: an object begins behind an array; a file is one array of objects, several that",
        ),
        (b'[{"a":1}]]', "record 2: a bracket is closed that was not opened"),
        (b'{"a":1}}', "record 2: a bracket is closed that was not opened"),
        (b'\x0c[{"a":1}]', "record 1: neither a JSON array nor an object begins here"),
        (b"\x00", "record 1: neither a JSON array nor an object begins here"),
        (b"\x0c", "record 1: neither a JSON array nor an object begins here"),
    ],
)
def test_what_no_json_file_is(size: int, text: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, size)
    with pytest.raises(SourceError) as caught:
        read_json(text)
    assert str(caught.value).startswith(message)


SPACES = [
    b"\x0b",
    b"\x0c",
    b"\x00",
    b"\xc2\xa0",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\x1f",
    b"\xe3\x80\x80",
    b"\x85",
    b"\xa0",
]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_only_the_white_space_of_json_stands_between_values(size: int, space: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, size)
    for text in (
        b"[%s]", b'{"a":1}%s{"a":2}', b'[{"a":1}%s,{"a":2}]', b'[{"a":1},%s{"a":2}]', b'[%s{"a":1}]', b'[{"a":1}%s]',
        b'[{"a":1}]%s', b'{"a":1}%s', b'{"a":1}\n%s\n', b'{"a":%s1}', b'{%s"a":1}', b'[{"a":[%s]}]', b'[{"a":1} %s ]',
        b'%s[{"a":1}]', b' \n%s{"a":1}',
    ):  # fmt: skip
        if space == b"\xef\xbb\xbf" and text.startswith(b"%s"):
            continue  # A byte-order mark at the beginning is none of the text.
        try:
            found = read_json(text.replace(b"%s", space))
        except SourceError:
            continue
        assert any(isinstance(record, RecordError) for record in found), text


def numbered(data: bytes) -> list[tuple[int, Any]]:
    """Every record with its number, or that it is at fault."""
    found, before = [], 0
    deserializer = JsonDeserializer()
    try:
        for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
            try:
                records = deserializer.decode(chunk)
                assert len(records) == count
                found += [(before + n, repr(record)) for n, record in enumerate(records)]
            except Exception:
                each = deserializer.decode_each(chunk)
                found += [(before + n, "at fault" if isinstance(r, Exception) else repr(r)) for n, r, _ in each]
            before += count
    except SourceError:
        return [*found, (-1, "ended")]
    return found


strays = st.sampled_from([b"5", b'"x"', b"null", b"", b"[1]", b"x", b'{"a":', b"5 6", b'{"a":1} {"b":2}',
                          b'{"a":1} 5',
                          b'5 {"a":1}', b'"]"', b'"\\""', b'{"a":[{"b":1},5,null,[2],"x",[]]}'])  # fmt: skip
goods = st.sampled_from(
    [b'{"a":1}', b'{"a":[{"b":1},{"b":[2,3]},4]}', b'{"a":{"b":"}"},"c":"x"}', b"{}", b'{"a":[],"b":[[1],"x"]}']
)


@settings(max_examples=at_least(250), deadline=None)
@given(st.lists(goods | goods | strays, min_size=1, max_size=7), st.sampled_from([b",", b", ", b"", b"\n"]))
def test_records_keep_their_numbers_wherever_pieces_end(members: list[bytes], gap: bytes) -> None:
    text = gap.join(members)
    arrays = b"".join(b"[" + member + b"]" for member in members)
    for data in (b"[" + text + b"]", text, arrays):
        whole = numbered(data)
        if gap == b", " and (-1, "ended") not in whole and data[1:-1] == text and members != [b""]:
            several = sum(member.startswith(b'{"a":1} ') for member in members)
            assert [n for n, _ in whole] == list(range(len(members) + several))
        for size in (1, 2, 3, 5, 8, 13, 30):
            with pytest.MonkeyPatch.context() as monkeypatch:
                shrink(monkeypatch, size)
                parts = numbered(data)
            if (-1, "ended") in whole:  # The smaller the pieces, the later.
                assert (-1, "ended") in parts
            else:
                assert parts == whole, size


awkward = st.sampled_from(["}{", "},{", "]", "[", "\\", '"', "a", "", "}  {"])
nested = st.dictionaries(awkward, awkward | st.lists(awkward | st.dictionaries(awkward, awkward), max_size=2), max_size=2)
faults = st.sampled_from([b"{", b"}", b"[", b"]", b",", b'"', b"\\", b" ", b"x", b"NaN", b"{}", b"}{", b"\xff", b",{}"])


@settings(max_examples=at_least(300), deadline=None)
@given(
    st.lists(nested, min_size=1, max_size=4),
    st.sampled_from([None, "", " ", "\n"]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), faults), max_size=3),
    st.sampled_from([1, 2, 5, 30, 1000]),
)
def test_damaged_json_is_read_as_it_is_or_refused(
    given: list[Any], gap: str | None, damages: list[tuple[int, int, bytes]], size: int
) -> None:
    text = bytearray((json.dumps(given) if gap is None else gap.join(map(json.dumps, given))).encode())
    for at, length, fault in damages:
        text[at : at + length] = fault
    expected = values_in(bytes(text))
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        try:
            found = read_json(bytes(text))
        except SourceError:
            found = [RecordError("the file")]
    if expected is not None and all(type(value) is dict for value in expected):
        assert repr(found) == repr(expected)
    else:
        assert any(isinstance(record, RecordError) for record in found)


# Writing


def file_of(records: list[Any], **options: Any) -> bytes:
    form = JsonFormat(**options)
    return form.header + form.separator.join(map(form.format, records)) + form.footer


def test_the_layout_of_files() -> None:
    two = [{"a": 1}, {"a": "é"}]
    assert file_of(two) == '{"a":1}\n{"a":"é"}\n'.encode()
    assert file_of(two, jsonlines=False) == '[{"a":1},\n{"a":"é"}\n]'.encode()
    assert file_of(two, ensure_ascii=True) == b'{"a":1}\n{"a":"\\u00e9"}\n'
    assert file_of(two, pretty_print=True) == '{\n  "a": 1\n}\n{\n  "a": "é"\n}\n'.encode()


@settings(max_examples=at_least(60), deadline=None)
@given(st.lists(records, min_size=1, max_size=5), st.booleans(), st.booleans(), st.sampled_from([1, 5, 64, 1000]))
def test_files_that_are_written_are_read_back(expected: list[Any], pretty: bool, ascii: bool, size: int) -> None:
    options = {"pretty_print": pretty, "ensure_ascii": ascii}
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, size)
        assert read_json(file_of(expected, jsonlines=False, **options)) == expected
        assert read_json(file_of(expected, **options)) == expected
        if not pretty:
            assert read_lines(file_of(expected, **options)) == expected


def written(record: Any, **options: Any) -> str:
    return JsonFormat(**options).format(record).decode()


@settings(max_examples=at_least(100), deadline=None)
@given(records)
def test_json_is_written_as_python_writes_it_and_read_back(record: Any) -> None:
    compact = {"separators": (",", ":")}
    assert written(record) == json.dumps(record, ensure_ascii=False, **compact).encode("utf-8", "backslashreplace").decode()
    assert written(record, ensure_ascii=True) == json.dumps(record, **compact)
    pretty = json.dumps(record, ensure_ascii=False, indent=2, sort_keys=True)
    assert written(record, pretty_print=True) == pretty.encode("utf-8", "backslashreplace").decode()
    back = parse(JsonFormat().format(record))
    if "\ud800" not in str(record.values()) + str(record.keys()):
        assert repr(back) == repr(record)


@settings(max_examples=at_least(60), deadline=None)
@given(records, st.booleans(), st.booleans())
def test_the_slowest_way_writes_the_same(record: Any, pretty: bool, ascii: bool) -> None:
    record = {key: value for key, value in record.items() if key != "exact"}
    options = {"pretty_print": pretty, "ensure_ascii": ascii}
    exact = written({**record, "exact": [Decimal("1.50"), 1e-7]}, **options)
    plain = written({**record, "exact": [15, 1e-7]}, **options)
    assert exact.replace("1.50", "15") == plain.replace("1.50", "15")


def test_ordinary_records() -> None:
    assert written({"b": 1, "a": [True, None, "é"]}) == '{"b":1,"a":[true,null,"é"]}'
    assert written({"b": "é😀\x7f", "_a": 1}, ensure_ascii=True) == '{"b":"\\u00e9\\ud83d\\ude00\\u007f","_a":1}'
    assert written({"b": {"z": 1, "y": []}, "a": {}}, pretty_print=True) == (
        '{\n  "a": {},\n  "b": {\n    "y": [],\n    "z": 1\n  }\n}'
    )
    assert written([1, "x"]) == '[1,"x"]'
    assert written("x") == '"x"'


@pytest.mark.parametrize(
    "number", [-0.0, 1e-7, 1e-05, 1.5e-05, 9.99e-5, 0.0001, 1e16, 1.5e300, 1e22, -1e-9, 1e-10, 5e-324, 10.00001]
)
def test_floats_are_written_as_python_prints_them(number: float) -> None:
    assert written({"a": number, "text": "one-5, e-5, 1e-5"}) == f'{{"a":{number!r},"text":"one-5, e-5, 1e-5"}}'


def test_nan_and_infinities_fail_unless_allowed() -> None:
    for number, name in ((math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (Decimal("NaN"), "NaN")):
        for record, place in (
            ({"a": number}, "a"),
            ({"a": None, "b": [{"c": (1, number)}]}, "b.0.c.1"),
            ({"b": OrderedDict(c=number)}, "b.c"),
        ):
            with pytest.raises(RecordError) as caught:
                written(record)
            assert str(caught.value) == f'{name} is not JSON at "{place}"; set allow_nan: true to write it'
            assert name in written(record, allow_nan=True)
    with pytest.raises(RecordError, match="Infinity is not JSON; set"):
        written(math.inf)
    with pytest.raises(RecordError, match="NaN is not JSON at"):
        written({"a": Enum("Level", {"NONE": math.nan}).NONE})  # type: ignore[attr-defined]
    assert written({"a": None, "b": "null"}) == '{"a":null,"b":"null"}'


def test_values_beyond_json() -> None:
    Point = namedtuple("Point", "x y")

    class Color(Enum):
        RED = "red"

    class Size(IntEnum):
        BIG = 3

    class Number(float):
        pass

    zone = timezone(timedelta(hours=5, minutes=30))
    cases = [
        (datetime(2016, 1, 2, 3, 4, 5, 6), '"2016-01-02T03:04:05.000006"'),
        (datetime(2016, 1, 2, tzinfo=zone), '"2016-01-02T00:00:00+05:30"'),
        (date(2016, 1, 2), '"2016-01-02"'),
        (time(3, 4), '"03:04:00"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Decimal("1.500"), "1.500"),
        (Decimal("123456789012345678901234567890.1"), "123456789012345678901234567890.1"),
        (Decimal("1E+5"), "100000"),
        (b"\x00\xff", '"AP8="'),
        (bytearray(b"a"), '"YQ=="'),
        ((1, (2,)), "[1,[2]]"),
        (Point(1, 2), "[1,2]"),
        (Color.RED, '"red"'),
        (Size.BIG, "3"),
        (Number(1.5), "1.5"),
        (2**70, str(2**70)),
        ("\ud800é", '"\\ud800é"'),
        ({1: "a", None: "b", False: "c", 1.5: "d"}, '{"1":"a","null":"b","false":"c","1.5":"d"}'),
        ({date(2016, 1, 2): 1, uuid.UUID(int=1): 2}, '{"2016-01-02":1,"00000000-0000-0000-0000-000000000001":2}'),
        (OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
    ]
    for value, text in cases:
        assert written({"v": value}) == f'{{"v":{text}}}'
        assert written({"v": value, "e": 1e-7, "big": 2**70}) == f'{{"v":{text},"e":1e-07,"big":{2**70}}}'
        if "é" not in text:
            assert written({"v": value, "d": Decimal("1.0")}, ensure_ascii=True) == f'{{"v":{text},"d":1.0}}'
    assert written({1: "a", None: "b", False: 2**70, 1.5: Decimal(2)}) == f'{{"1":"a","null":"b","false":{2**70},"1.5":2}}'


def test_values_json_cannot_hold_are_named_with_their_place() -> None:
    @dataclasses.dataclass
    class Thing:
        a: int = 1

    for value, kind in (
        ({1}, "set"),
        (timedelta(1), "timedelta"),
        (Thing(), "Thing"),
        (1j, "complex"),
        (print, "builtin"),
    ):
        with pytest.raises(RecordError, match=rf'JSON cannot hold the {kind}.* at "a\.1"; convert it first'):
            written({"a": [0, value]})
    with pytest.raises(RecordError, match=r"JSON cannot have the tuple .* as a key"):
        written({"a": {(1, 2): 3}})
    for keys, called in (({1: 0, "1": 0}, "1"), ({None: 0, "null": 0}, "null"), ({"true": 0, True: 0}, "true")):
        with pytest.raises(RecordError, match=f'^two fields would both be called {called} at "a.1": a string and'):
            written({"a": [0, keys]})
    assert written({"a": {1: {"1": 0}, 2: 0}}) == '{"a":{"1":{"1":0},"2":0}}'
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(RecordError, match="nested too deep or in a circle"):
        written(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecordError, match="nested too deep"):
        written({"a": deep})
    with pytest.raises(RecordError, match=r"a number.* cannot be written"):
        written({"a": 10**5000})


def test_moderately_deep_records_pass_through() -> None:
    record: dict[str, Any] = {"a": 1}
    for _ in range(400):
        record = {"a": [record]}
    assert parse(JsonFormat().format(record)) == record


def test_files_of_lines_and_of_one_array() -> None:
    lines, array = JsonFormat(), JsonFormat(jsonlines=False)
    assert (lines.extension, lines.header, lines.separator, lines.footer) == ("jl", b"", b"\n", b"\n")
    assert (array.extension, array.header, array.separator, array.footer) == ("json", b"[", b",\n", b"\n]")
    for one in (lines, array, JsonFormat(pretty_print=True)):
        again = pickle.loads(pickle.dumps(one))
        assert again == one
        assert again.format({"b": 1, "a": 2}) == one.format({"b": 1, "a": 2})
    expected = [{"a": 1}, {"a": [2**70, "é"]}]
    data = array.header + array.separator.join(map(array.format, expected)) + array.footer
    assert json.loads(data) == expected == read_json(data)


@pytest.mark.parametrize("case", ["format-json-array", "format-json-pretty"])
def test_the_old_systems_files_hold_the_same_values(case: str) -> None:
    folder = CASES / case
    source = (folder / "input" / "data.jl.gz").read_bytes()
    records = read_lines(gzip.decompress(source))
    (recorded,) = (folder / "expected" / "files").iterdir()
    assert read_json(recorded.read_bytes()) == records
    form = JsonFormat(jsonlines=case != "format-json-array", pretty_print=case == "format-json-pretty")
    data = form.header + form.separator.join(map(form.format, records)) + form.footer
    assert read_json(data) == records
    if form.pretty_print:  # equal but for the blank that Python 2 left after commas, and the escapes
        old = recorded.read_bytes().replace(b", \n", b",\n").rstrip()
        ascii = JsonFormat(pretty_print=True, ensure_ascii=True)
        assert form.separator.join(map(ascii.format, records)) == old
