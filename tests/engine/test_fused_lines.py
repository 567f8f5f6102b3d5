"""Every line of JSON lines holds one object, or is told with its number: with and without pushdown, at every border.

Expected is what Python's `json` makes of each line by itself. The long form:
`EXPORTERS_BEAM_EXAMPLES=20000 pytest tests/engine/test_fused_lines.py`
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared import SHARED, needs_shared

import exporters_beam
from exporters_beam.config import spec
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.formats.lines import SMALL, split
from exporters_beam.planning.plan import make

from beamless import Outcome, outcome
from examples import at_least
from helpers import visible

OBJECTS = [
    b'{"a":1}', b'{"a":1,"b":"x"}', b'{"b":"y","a":2,"n":3}', b'{"a":"1"}', b"{}", b"{ }", b'{"a":{"b":[{"c":1}]}}',
    b'{"a":1,"a":2}', b'{"\\u0061":1}', b'{"\\u006e":1,"a":1}', b'{"a":1e400}', b'{"a":-0.0,"b":1E5}', b'{"a":1e-7}',
    b'{"a":123456789012345678901234567890}', b'{"a":"\\ud800"}', b'{"b":"\\ud83d\\ude00"}', b'{"b":"}\\n{"}',
    b'{"a":1,"b":"}{"}', b'{"b":[[[[[[]]]]]],"a":1}', b'{"a":null,"b":null}', '{"a":1,"b":"\u2028é"}'.encode(),
    b'{"a": 1 ,  "b" : [ {} , {} ]}', b'{"a":true}', b'{"a":1.0,"b":9007199254740993}', b'{"b":"x\\u0000"}',
]  # fmt: skip
PLAIN = {text for text in OBJECTS if b"1e400" not in text and b"ud800" not in text}
NO_OBJECTS = [
    b"[]", b"[1]", b'[{"a":1}]', b'[{"a":1}', b',{"a":1}]', b"1", b'"x"', b"null", b"{", b"}", b'{"a":1', b'"b":2}',
    b'{"a":NaN}',
    b'{"a":-Infinity}', b'{"a":01}', b'{"a":1,}', b'{"s":"}', b'{"}', b'{"a":[{"b":1}', b',{"c":2}]}', b'{"a":[{"b":1},',
    b'{"c":2}]}', b'{"a":{"b":1}', b'{"a":1}x', b'{"a":"\xff"}', b'{"b":"\xed\xa0\x80"}', b'{"\xff":1}', b'{"a":1}\x00',
    b'\xef\xbb\xbf{"a":1}', b'{"a":1}//', b"{'a':1}", b'{"b":' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'{"b":' + b"7" * 5000 + b"}",
    b'{"a":1}}', b'{{"a":1}', b'{"a":"\t"}', b'{"b":"\x0c"}',
]  # fmt: skip
BETWEEN = [
    b"",
    b"",
    b" ",
    b"\t",
    b",",
    b"\x0b",
    b"\x0c",
    b"\x00",
    b"\xc2\xa0",
    b"\r",
    "\u2028".encode(),
    b"\xef\xbb\xbf",
]
BLANK = [b"", b"", b" ", b"\t", b"\r", b" \t \r", b"\x0c", b"\x0b", b"\x00", b"\xc2\xa0", "\u2028".encode(), b" " * 50]
AROUND = [b"", b"", b"", b" ", b"\t", b"\r", b" " * 45, b"\x0c", b" \r"]

objects = st.sampled_from(OBJECTS)
fused = st.lists(objects, min_size=2, max_size=3).flatmap(lambda few: st.sampled_from(BETWEEN).map(lambda b: b.join(few)))
lines = objects | objects | objects | st.sampled_from(NO_OBJECTS) | st.sampled_from(BLANK) | fused
framed = st.tuples(st.sampled_from(AROUND), lines, st.sampled_from(AROUND)).map(b"".join)
feeds = st.sampled_from([b"\n", b"\n", b"\r\n"])
texts = st.builds(
    lambda mark, lines, feed, end: mark + feed.join(lines) + (feed if end else b""),
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]), st.lists(framed | objects, max_size=12), feeds, st.booleans(),
)  # fmt: skip
# Where the faults are few, and balance: what counts alone would take for sound.
balanced = st.builds(
    lambda good, several, feed, end: feed.join(good + several) + (feed if end else b""),
    st.lists(objects, max_size=4),
    st.permutations([b'{"a":1}', b'{"a":1,"b":"z"}{"a":2}', b"", b'{"a":2,"b":"x"}']), feeds, st.booleans(),
)  # fmt: skip


def expected(text: bytes) -> list[tuple[int, Any]]:
    """The lines that are not blank by their number, as Python reads each; None where that is not an object."""
    found: list[tuple[int, Any]] = []
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip(b" \t\r"):
            try:
                value = json.loads(line.decode())
            except (ValueError, RecursionError):
                value = None
            found.append((number, value if type(value) is dict else None))
    return found


def same(a: Any, b: Any) -> bool:
    """Equal values of equal types, NaN and the order of keys included."""
    return repr(a) == repr(b)


@settings(max_examples=at_least(400), deadline=None)
@given(texts | balanced, st.sampled_from(["all", "some", "one"]), st.sampled_from([0, SMALL]))
def test_what_is_decoded_at_once_is_what_each_line_holds(text: bytes, how: str, small: int) -> None:
    text = text.removeprefix(b"\xef\xbb\xbf")
    deserializer, each = JsonLinesDeserializer(), expected(text)
    glance = deserializer.glance_at(["a"]) if how == "one" else deserializer.glance({"all": None, "some": frozenset("a")}[how])
    for _ in range(2):  # `glance_at` knows texts the second time
        try:
            parts, lines_of, records_of = glance(split(text, small))
            records = records_of(lines_of(None))
        except Exception:
            lines = text.split(b"\n")[: text.count(b"\n") + (not text.endswith(b"\n"))]
            assert b" " * 40 in text or {line.strip(b" \t\r") for line in lines} - PLAIN  # Else it would be slow.
            return
        assert same(records, [value for _, value in each])
        assert len(parts) == len(records) and [n for n, _ in each] == list(range(1, len(parts) + 1))
        flags = [number % 2 for number, _ in each]
        assert same(records_of(lines_of(flags)), [value for number, value in each if number % 2])
    assert same(deserializer.decode(split(text, small)), records)


ADD = {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item.get('b'), m=[1])"]}}
FILTER = {"name": "key_value", "options": {"keys": [{"name": "a", "value": 1}]}}
SHAPES: dict[str, dict[str, Any]] = {
    "lines": {},
    "filter": {"filter_before": FILTER},
    "regex": {"filter_before": {"name": "key_value_regex", "options": {"keys": [{"name": "b", "value": "[xy]|None"}]}}},
    "expression": {"filter_before": {"name": "pythonexp", "options": {"python_expression": "item['a'] == 1 or 'b' in item"}}},
    "group": {"grouper": {"name": "file_key", "options": {"keys": ["b"]}}},
    "filter and group": {"filter_before": FILTER, "grouper": {"name": "file_key", "options": {"keys": ["b", "a"]}}},
    "add": {"transform": ADD},
    "filter and add": {"filter_before": FILTER, "transform": ADD},
    "add and group": {"transform": ADD, "grouper": {"name": "file_key", "options": {"keys": ["b"]}}},
    "add and filter": {"transform": ADD, "filter_after": FILTER},
    "filter and change": {
        "filter_before": FILTER, "transform": {"name": "pythonmap", "options": {"map": "dict(item, z=item['a'])"}}
    },
    "csv": {"formatter": {"name": "csv", "options": {"fields": ["b", "a"]}}},
    "filter and csv": {"filter_before": FILTER, "formatter": {"name": "csv", "options": {"fields": ["b", "a"]}}},
    "change": {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.pop('b', None)"]}}},
}  # fmt: skip


def export(path: Path, shape: str, on_error: str, pushdown: bool) -> Outcome:
    sections = dict(SHAPES[shape])
    settings = {"pushdown": pushdown}
    if "formatter" in sections:
        settings["formatter"] = sections.pop("formatter")
    return outcome({
        "reader": {"name": "fs", "options": {"input": str(path)}},
        "decompressor": "none",
        "writer": {"name": "fs", "options": {"filebase": f"{path.parent}/out/"}},
        "exporter_options": settings, "on_error": on_error, **sections,
    })  # fmt: skip


def judged_alone(text: bytes, shape: str) -> tuple[list[tuple[tuple[str, ...], Any]], list[tuple[int, str]]]:
    """What an export has to deliver, as (group, record), and which records fail at which step: one record after the other,
    through the components themselves."""
    sections = dict(SHAPES[shape])
    sections.pop("formatter", None)
    plan = make(spec.load({
        "reader": {"name": "fs", "options": {"input": "x"}}, "writer": {"name": "fs", "options": {"filebase": "x/"}},
        **sections,
    }))  # fmt: skip
    kept: list[tuple[tuple[str, ...], Any]] = []
    failed: list[tuple[int, str]] = []
    for number, record in expected(text):
        step = "deserializer"
        try:
            if record is None:
                raise ValueError
            for part in plan.steps:
                step = part.name
                if part.kind == "keep":
                    if not part.component.keep(record):
                        break
                else:
                    record = part.component.map(record)
            else:
                step = "grouper"
                kept.append(((), record) if plan.grouper is None else (plan.grouper.key(record), record))
        except Exception:
            failed.append((number, step))
    return kept, failed


def check(path: Path, text: bytes, shape: str) -> None:
    path.write_bytes(text)
    kept, failed = judged_alone(text, shape)
    found = {on_error: export(path, shape, on_error, True) for on_error in ("fail", "skip", "dead_letter")}
    for on_error, told in found.items():
        assert told == export(path, shape, on_error, False), on_error
    letters = found["dead_letter"].letters
    # What the format refuses is not looked at here: infinities where a record is written anew.
    assert [(each["number"], each["step"]) for each in letters if each["step"] != "formatter"] == failed
    unwritten = {each["number"] for each in letters if each["step"] == "formatter"}
    assert all(each["file"] == str(path) for each in letters)
    counts = found["dead_letter"].counts
    assert counts["read"] == len(expected(text)) and counts["kept"] == len(kept) - len(unwritten)
    assert bool(found["fail"].error) == bool(letters)
    if letters:
        assert found["fail"].error == "{file}: record {number}: {step}: {message}".format(**letters[0])
    if not unwritten and "csv" not in shape:
        groups: dict[tuple[str, ...], list[Any]] = {}
        for group, record in kept:
            groups.setdefault(group, []).append(record)
        read = {g: [json.loads(line) for line in lines.split(b"\n")] for g, lines in found["dead_letter"].groups.items()}
        assert same(dict(sorted(read.items())), dict(sorted(groups.items())))
    assert found["skip"].groups == found["dead_letter"].groups


@pytest.mark.parametrize("shape", SHAPES)
def test_exports_with_and_without_pushdown(shape: str, tmp_path: Path) -> None:
    @settings(max_examples=at_least(12, 50), deadline=None, suppress_health_check=list(HealthCheck))
    @given(texts | balanced)
    def run(text: bytes) -> None:
        check(tmp_path / "in.jl", text, shape)

    run()


@pytest.mark.parametrize("shape", ["filter and group", "add", "csv", "lines"])
def test_at_every_border_of_chunks_and_ranges(shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"\n".join([
        b'{"a":1,"b":"x"}', b'{"a":1,"b":"y"}{"a":2,"b":"x"}', b"", b'{"a":1,"b":"z"}\r', b'\xef\xbb\xbf{"a":1,"b":"x"}',
        b'  {"a":1,"b":"x"} ', b"\x0c", b'{"a":1,"b":"x"}', b'{"a":2,"b":[{"c":1}', b',{"c":2}]}', b'{"a":1,"b":"y"}',
    ])  # fmt: skip
    path = tmp_path / "in.jl"
    path.write_bytes(text)
    whole = export(path, shape, "dead_letter", False)
    assert [letter["number"] for letter in whole.letters] == [2, 5, 7, 9, 10]
    for size in (1, 2, 3, 7, 16, 17, 30, 64):
        for piece in (4, 5, 20, 500):
            monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", piece)
            monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", size)
            for pushdown in (True, False):
                assert export(path, shape, "dead_letter", pushdown) == whole, (size, piece, pushdown)


# Whole exports


def run(tmp_path: Path, text: bytes, out: str = "out", **more: Any) -> Any:
    (tmp_path / "in.jl").write_bytes(text)
    groups = "{groups[0]}-" if "grouper" in more else "all-"
    workers = more.pop("workers", None)
    return exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/{out}/{groups}", "compression": "none"}},
        **more,
    }, workers=workers)  # fmt: skip


FUSED = b'{"id":1,"s":"p"}\n{"id":2,"s":"q"}{"id":3,"s":"p"}\n\n{"id":4,"s":"q"}\n{"id":5,"s":"p"}'


@pytest.mark.parametrize("workers", [None, 2])
def test_a_line_with_two_objects_ends_the_export_with_its_number(tmp_path: Path, workers: int | None) -> None:
    filters = {"name": "key_value", "options": {"keys": [{"name": "s", "value": "p"}]}}
    with pytest.raises(exporters_beam.ExportError) as caught:
        run(
            tmp_path,
            FUSED,
            workers=workers,
            filter_before=filters,
            grouper={"name": "file_key", "options": {"keys": ["s"]}},
        )
    assert str(caught.value) == (
        f"{tmp_path}/in.jl: record 2: deserializer: not valid JSON: Extra data at character 17: "
        '{"id":2,"s":"q"}{"id":3,"s":"p"}; where records do not stand one a line, write deserializer: json'
    )
    assert visible(tmp_path / "out") == {}


def test_the_other_records_of_the_file_are_delivered_where_that_is_asked(tmp_path: Path) -> None:
    report = run(tmp_path, FUSED, grouper={"name": "file_key", "options": {"keys": ["s"]}}, on_error="dead_letter")
    assert {name: path.read_bytes() for name, path in visible(tmp_path / "out").items()} == {
        "p-.jl": b'{"id":1,"s":"p"}\n{"id":5,"s":"p"}\n', "q-.jl": b'{"id":4,"s":"q"}\n',
    }  # fmt: skip
    (letter,) = map(json.loads, Path(report.dead_letters["name"]).read_bytes().splitlines())
    assert (letter["number"], letter["text"]) == (2, '{"id":2,"s":"q"}{"id":3,"s":"p"}')
    assert report.read == 4


def test_the_remedy_reads_them_all(tmp_path: Path) -> None:
    report = run(tmp_path, FUSED, deserializer="json", grouper={"name": "file_key", "options": {"keys": ["s"]}})
    assert report.written == 5
    assert (tmp_path / "out/q-.jl").read_bytes() == b'{"id":2,"s":"q"}\n{"id":4,"s":"q"}\n'


@needs_shared
@pytest.mark.parametrize("pushdown", [True, False])
@pytest.mark.parametrize("case", ["add", "filter", "group"])
def test_the_case_of_a_fused_line(case: str, pushdown: bool, tmp_path: Path) -> None:
    folder = SHARED / "cases/01-fused-json-lines"
    config = yaml.safe_load((folder / f"{case}.yaml").read_text())
    config["reader"]["options"]["input"] = str(folder / "in.jl")
    config["writer"]["options"]["filebase"] = f"{tmp_path}/out/"
    found = outcome({**config, "exporter_options": {"pushdown": pushdown}})
    assert found.error.startswith(f"{folder}/in.jl: record 2: deserializer: ")
    assert found.error.endswith("write deserializer: json")
