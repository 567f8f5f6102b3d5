"""Judging records before they are decoded whole changes nothing but the time it takes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from apache_beam.pvalue import TaggedOutput
from hypothesis import given, settings
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.config import spec
from exporters_beam.config.on_error import OnError
from exporters_beam.engine.decode import decoder
from exporters_beam.engine.source import Source
from exporters_beam.planning.logical import StepPlan
from exporters_beam.planning.plan import make
from exporters_beam.records import Batch, Chunk, Mark, Unit
from exporters_beam.stages import Decoding, Extend, HandOn, Project, Sift, Whole
from exporters_beam.transforms.expressions.reads import fields_added, fields_read
from exporters_beam.transforms.filters import JsonSchemaFilter, KeyValueFilter, KeyValueRegexFilter, PythonexpFilter
from exporters_beam.transforms.groupers import FileKeyGrouper, PythonExpGrouper
from exporters_beam.transforms.mappers import PythonexpTransform

from examples import at_least
from helpers import visible

UNIT = Unit(0, "file.jl")

HOSTILE = [
    b'{"a":1,"b":2}', b'{"b":01,"a":1}', b'{"b":"\\x","a":1}', b'{"b":"\\ud800","a":1}', b'{"b":"\xff","a":1}',
    b'{"b":"\xc3\xa9\xf0\x9f\x98\x80","a":1}', b'{"b":[1,],"a":1}', b'{"b":{"x":1,},"a":1}', b'{"b":NaN,"a":1}',
    b'{"b":-Infinity,"a":1}', b'{"a":NaN}', b'{"a":1,}', b'{"a":1}x', b'{"a":1} \t\r', b'  {"a":1}', b'{"a":1,"a":7}',
    b'{"a":7,"a":1}', b'{"\\u0061":1}', b'{"a":123456789012345678901234567890}', b'{"a":1e400}', b'{"b":1e400,"a":1}',
    b'{"b":1e400,"a":7}', b'{"a":"\\ud800"}', b'{"b":' + b"[" * 2000 + b"]" * 2000 + b',"a":1}',
    b'{"b":' + b"[" * 100_000, b"[1]", b"7", b"null", b'"a"', b"", b" ", b'{"b":"x\x00","a":1}', b'{"\xff":1,"a":1}',
    b'{"a":1', b'{"a":18446744073709551616}', b'{"a":-0.0}', b'{"a":1.0}', b'{"a":true}', b'{"a":null}', b'{"b":1}', b"{}",
    b'{"a":{"b":1}}', b'{"a":[1,{"z":"\\n"}]}', b'{"a":"1"}', b'{"a":"\\u00e9"}', b'{"a":1}{"a":1}', b'{"b":1 2,"a":1}',
    b'\xef\xbb\xbf{"a":1}', b'{"a": 1, "b" : [ 1 ,2 ] }',
    b'{"a":1,"b":"' + b"7" * 5000 + b'"}', b'{"b":' + b"7" * 5000 + b',"a":1}',
]  # fmt: skip

FILTERS = {
    "regex": KeyValueRegexFilter(keys=({"name": "a", "value": "1"},)),
    "equal": KeyValueFilter(keys=({"name": "a", "value": 1},)),
    "path": KeyValueFilter(keys=({"name": "a.b", "value": 1}, {"name": "b", "value": 1, "operator": "in"})),
    "expression": PythonexpFilter(python_expression="item['a'] > 0"),
    "careful": PythonexpFilter(python_expression="item.get('a') == 1 and 'b' in item"),
    "contract": JsonSchemaFilter(schema={"required": ["a"], "properties": {"a": {"type": "integer", "maximum": 5}}}),
    "loose contract": JsonSchemaFilter(schema={"properties": {"b": {"type": "array"}}}, on_violation="drop"),
    "none": None,
}
GROUPERS = {
    "none": None,
    "key": FileKeyGrouper(keys=("a",)),
    "expression": PythonExpGrouper(python_expressions=("item['b']",)),
}

ON_ERROR = {
    "fail": OnError(),
    "skip": OnError(tuple((step, "skip") for step in ("deserializer", "filter_before", "grouper"))),
    "dead_letter": OnError(tuple((step, "dead_letter") for step in ("deserializer", "filter_before", "grouper"))),
}


def sifted(
    data: bytes, component: Any, lines: bool, grouper: Any, pushdown: bool, on_error: OnError, added: Any = None
) -> list[Any]:
    """What the decoder gives for a chunk and its mark, in a form that compares NaN as equal. With `added` records keep their
    lines, and what is not decoded of them is not compared."""
    from exporters_beam.compressions.none import Plain
    from exporters_beam.formats.json_lines import JsonLinesDeserializer
    from exporters_beam.readers.fs import FsReader

    source = Source(FsReader(input="x"), Plain(), JsonLinesDeserializer())
    judges = [judge for judge in (component, grouper if lines else None) if judge is not None]
    fields = frozenset[str]().union(*(judge.reads for judge in judges)) if pushdown else None
    decoding: Decoding = HandOn(fields) if lines else Whole() if component is None or fields is None else Sift(fields)
    if added is not None and pushdown:
        later = grouper.reads.union(added) if grouper is not None else frozenset(added)
        decoding = Extend(added, component.reads if component is not None else later, later)
    elif added is not None:
        decoding = Extend(added)
    first = None if component is None else StepPlan("keep", "filter_before", component, "")
    decode = decoder(decoding, source, first, on_error, grouper)
    decode.setup()
    decode.start_bundle()
    found = [*decode.process(Chunk(UNIT, 0, 0, data))]
    if not any(isinstance(element, TaggedOutput) for element in found):  # nothing follows what ends the export
        found += decode.process(Mark(UNIT, 0, (), True))
    decode.finish_bundle()
    if added is not None:
        found = [with_known(each, grouper.reads if grouper is not None else frozenset()) for each in found]
    return sorted(shown(element) for each in found for element in apart(each))


def with_known(element: Any, fields: frozenset[str]) -> Any:
    """A batch whose records show, where they have a line, these fields of theirs and the line itself."""
    if not isinstance(element, Batch) or not element.lines:
        return element
    pairs = zip(element.lines, element.records, strict=True)
    known = [({name: r.get(name, "absent") for name in fields}, line) if line else r for line, r in pairs]
    return element._replace(records=known)


def apart(element: Any) -> list[Any]:
    """Records, lines and failures one by one."""
    if isinstance(element, (TaggedOutput, Mark)):
        return [element]
    if isinstance(element, Batch):
        if element.groups is not None:
            assert element.records == element.lines
            return [(n, "line", *each) for n, *each in zip(element.numbers, element.groups, element.lines, strict=True)]
        alone = [(n, "record", repr(record)) for n, record in zip(element.numbers, element.records, strict=True)]
        return [*alone, *((failure.position[2], "failure", repr(failure)) for failure in element.failures)]
    lines = element.text.split(b"\n")
    assert lines.pop() == b"" and list(element.sizes) == [len(line) for line in lines]
    return [(n, "line", (), line) for n, line in zip(element.numbers, lines, strict=True)]


def shown(element: Any) -> Any:
    if isinstance(element, TaggedOutput):
        return -2, element.tag, repr(element.value)
    if isinstance(element, Mark):
        return -1, repr(element._replace(counts=tuple(sorted(element.counts))))
    return element


@pytest.mark.parametrize("on_error", ON_ERROR)
@pytest.mark.parametrize("name", FILTERS)
def test_hostile_lines_alone_and_among_good_ones(name, on_error):
    good = b'{"a":1,"b":1}\n{"a":7,"b":1}\n'
    for line in HOSTILE:
        for data in (line, line + b"\n", good + line + b"\n" + good):
            for lines, grouper in ((False, None), *((True, grouper) for grouper in GROUPERS.values())):
                on, off = (sifted(data, FILTERS[name], lines, grouper, way, ON_ERROR[on_error]) for way in (True, False))
                assert on == off, (line[:80], lines, grouper)


@pytest.mark.parametrize("on_error", ON_ERROR)
@pytest.mark.parametrize("name", FILTERS)
def test_hostile_lines_that_fields_are_added_to(name, on_error):
    good = b'{"a":1,"b":1}\n{"a":7,"b":1}\n'
    for line in (*HOSTILE, b'{"n":1,"a":1}', b'{"\\u006e":1,"a":1}', b'{"a":1,"b":{"n":1}}', b"{ }"):
        for data in (line, line + b"\n", good + line + b"\n" + good):
            for grouper in GROUPERS.values():
                on, off = (
                    sifted(data, FILTERS[name], False, grouper, way, ON_ERROR[on_error], ("n", "m")) for way in (True, False)
                )
                assert on == off, (line[:80], grouper)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
documents = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c", "é"]), values, max_size=4), max_size=5)


@settings(max_examples=at_least(150), deadline=None)
@given(documents, st.sampled_from(sorted(FILTERS)), st.sampled_from(sorted(GROUPERS)), st.booleans(), st.booleans())
def test_generated_documents(records, name, grouper, lines, ascii):
    data = b"".join(
        json.dumps(r, ensure_ascii=ascii).encode("utf-8", "surrogatepass").replace(b"\n", b"") + b"\n" for r in records
    )
    on, off = (sifted(data, FILTERS[name], lines, GROUPERS[grouper], way, ON_ERROR["dead_letter"]) for way in (True, False))
    assert on == off


def test_lines_are_handed_on_as_they_are(tmp_path):
    lines = [b'{"a": 1,  "b": [1 , 2]}', b'{"a":1e2,"a":2}', b'{"z":1e400}', b'{"x":"\\u00e9"}']
    (tmp_path / "in.jl").write_bytes(b" " + b" \r\n".join(lines))
    report = run(tmp_path, {})
    assert gzip.decompress((tmp_path / "out/part-0000.jl.gz").read_bytes()) == b"\n".join(lines) + b"\n"
    assert report.written == 4
    report = run(tmp_path, {"formatter": {"name": "json", "options": {"reencode": True}}, "on_error": "skip"})
    assert gzip.decompress((tmp_path / "out/part-0000.jl.gz").read_bytes()) == (
        b'{"a":1,"b":[1,2]}\n{"a":2}\n' + '{"x":"é"}\n'.encode()
    )


def run(tmp_path: Path, more: dict, args: tuple[str, ...] = ()) -> Any:
    config = {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-"}},
        **more,
    }
    return exporters_beam.run(config, beam_args=args)


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("bytes_per_file", [0, 40_000])
@pytest.mark.parametrize("kind", ["jl", "csv"])
def test_lines_of_a_chunk_together_make_the_blocks_that_records_make(kind, bytes_per_file, bad, tmp_path):
    rows = [f"{n},{'x' * (n % 97)},{n % 3}" for n in range(30_000)]
    lines = [json.dumps(dict(zip("abc", row.split(","), strict=True)), separators=(",", ":")) for row in rows]
    if bad:
        rows[20_000], lines[20_000] = "1,2,3,4", "oops"
    text = "\n".join(["a,b,c", *rows] if kind == "csv" else lines)
    (tmp_path / "in.jl").write_text(text + "\n")
    found = []
    for pushdown in (True, False):
        out = tmp_path / str(pushdown)
        report = exporters_beam.run({
            "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
            "deserializer": "csv" if kind == "csv" else "jsonlines",
            "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", "size_per_buffer_write": bytes_per_file}},
            "exporter_options": {"pushdown": pushdown, "formatter": {"name": "json", "options": {"reencode": not pushdown}}},
            "on_error": "skip",
        })  # fmt: skip
        found.append((report.counts, {name: path.read_bytes() for name, path in visible(out).items()}))
    assert found[0] == found[1]
    assert found[0][0]["read"] == 30_000


@pytest.mark.parametrize("line", [b'{"a":NaN}', b'{"a":1', b"[1]", b'{"a":"\xff"}'])
def test_a_line_that_is_no_sound_record_is_not_handed_on(line, tmp_path):
    (tmp_path / "in.jl").write_bytes(b'{"a":1}\n' + line + b"\n")
    with pytest.raises(exporters_beam.ExportError, match=r"in\.jl: record 2: "):
        run(tmp_path, {})
    assert visible(tmp_path / "out") == {}


SHAPES: dict[str, dict] = {
    "transform": {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(c=1)"]}}},
    "lines": {},
    "grouped lines": {"grouper": {"name": "file_key", "options": {"keys": ["b"]}}},
    "parquet": {"formatter": "parquet"},
    "csv of what is added": {
        "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(m=item['n'] * 2, b='x')"]}},
        "formatter": {"name": "csv", "options": {"fields": ["m", "a", "b"]}},
        "on_error": "skip",
    },
    "csv": {"formatter": {"name": "csv", "options": {"fields": ["n", "a"]}}, "on_error": "skip"},
    "limit": {"options": {"items_limit": 5}},
}


ADDING = {
    "a number": ["item.update(n=item['x'] / 8)"],
    "several": ["item.update({'n': item['x'], 'm': [item['x'], 'a,b']})", "item.update(k=item['n'], n='é')"],
    "what is there": ["item.update(b=item['x'])"],
    "small numbers and nulls": ["item.update(n=item['x'] * 1e-7, m=None, k={'é': item.get('absent')})"],
    "what orjson does not know": ["item.update(n=item['x'] * 2 ** 70, m='\\ud800', k=(item['x'], b'x'))"],
    "not for every record": ["item.update(n=8 / item['x'])"],
    "infinite": ["item.update(n=item['x'] * 1e308)"],
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("adding", ADDING)
def test_exports_that_add_fields_are_the_same_with_and_without(adding, grouped, last, tmp_path):
    lines = [
        b'{"a":1,"x":%d,"g":"%c","b": [1.50, "\\u00e9"]}' % (n % 41, "pqr"[n % 3].encode()) if n % 3 else
        b'{ "x":%d , "a":1, "g":"p", "z":1e5 }' % n for n in range(200)
    ]  # fmt: skip
    for n, line in (
        (3, b'{"a":1,"x":oops}'),
        (50, b'{"a":1,"x":"text","b":[1e5]}'),
        (90, b'{"a":1}'),
        (91, b'{"x":1}'),
    ):
        lines[n] = line
    (tmp_path / "in.jl").write_bytes(b"\n".join(lines))
    found = []
    for asked in (
        {"pushdown": True},
        {"pushdown": False},
        {"formatter": {"name": "json", "options": {"reencode": True}}},
    ):
        out = tmp_path / str(len(found))
        name = "{groups[0]}/part-" if grouped else "part-"
        report = exporters_beam.run({
            "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
            "filter_before": {"name": "pythonexp", "options": {"python_expression": "item['a'] == 1"}},
            "transform": {"name": "pythonexp", "options": {"python_expressions": ADDING[adding]}},
            **({"filter_after": {"name": "pythonexp", "options": {"python_expression": "item['x'] != 7"}}} if last else {}),
            **({"grouper": {"name": "file_key", "options": {"keys": ["g"]}}} if grouped else {}),
            "writer": {"name": "fs", "options": {"filebase": f"{out}/{name}", "compression": "none"}},
            "exporter_options": asked,
            "on_error": "dead_letter",
        })  # fmt: skip
        letters = [{**json.loads(line), "export": ""} for line in Path(report.dead_letters["name"]).read_bytes().splitlines()]
        found.append((report.counts, letters, {name: path.read_bytes() for name, path in visible(out).items()}))
    assert found[0] == found[1]
    assert found[0][0] == found[2][0]
    texts, anew = (
        {name: list(map(json.loads, text.splitlines())) for name, text in files.items() if name.endswith(".jl")}
        for _, _, files in (found[0], found[2])
    )
    assert texts == anew and list(map(list, texts)) == list(map(list, anew))
    assert len(found[0][1]) >= 3


def test_groups_of_what_equals_a_text(tmp_path):
    (tmp_path / "in.jl").write_bytes(b'{"g":"a"}\n{"g":"b"}\n{"g":"a","kind":true}\n')
    report = run(tmp_path, {
        "transform": {"name": "python", "options": {"function": "plugin_functions:with_a_kind_of_text"}},
        "grouper": {"name": "python_exp", "options": {"python_expressions": ["repr(item['g'])[1:2]"]}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/{{groups[0]}}-"}},
    })  # fmt: skip
    assert report.written == 3
    assert sorted(visible(tmp_path / "out")) == ["K-.jl.gz", "a-.jl.gz", "b-.jl.gz"]


def test_fields_that_are_added_stand_behind_those_that_are_there(tmp_path):
    lines = [b'{"x": 8,  "b": [1.50 , 2]}', b'{"x":8,"n":1,"b": 1e5}', b'{"x":8,"\\u006e":[1.50]}', b' { \t"x":16}\r']
    (tmp_path / "in.jl").write_bytes(b"\n".join(lines))
    sections = {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item['x'] / 8)"]}}}
    run(tmp_path, sections)
    assert gzip.decompress((tmp_path / "out/part-0000.jl.gz").read_bytes()).splitlines() == [
        b'{"x": 8,  "b": [1.50 , 2],"n":1.0}', b'{"x":8,"n":1.0,"b":100000.0}', b'{"x":8,"n":1.0}', b'{ \t"x":16,"n":2.0}',
    ]  # fmt: skip
    (tmp_path / "in.jl").write_bytes(b'{}\n{ }\n{"a":1}')
    sections["transform"]["options"]["python_expressions"] = ["item.update(n=1, m='x')"]
    run(tmp_path, sections)
    assert gzip.decompress((tmp_path / "out/part-0000.jl.gz").read_bytes()).splitlines() == [
        b'{"n":1,"m":"x"}', b'{"n":1,"m":"x"}', b'{"a":1,"n":1,"m":"x"}',
    ]  # fmt: skip
    sections["transform"]["options"]["python_expressions"] = ["item.update(n=[1e999])"]
    with pytest.raises(exporters_beam.ExportError, match=r'in.jl: record 1: formatter: Infinity is not JSON at "n.0"'):
        run(tmp_path, sections)


@pytest.mark.parametrize(
    ("expressions", "reads", "adds"),
    [
        (["item.update(n=item['a'])"], {"a"}, ("n",)),
        (["item.update({'n': 1, 'm': item.get('b')}, k=2)", "item.update(n=item['k'])"], {"b"}, ("n", "m", "k")),
        ([], set(), ()),
        (["item.update(n=item)"], None, None),
        (["item.update(a=item['a'] + 1)"], None, None),
        (["item.update(n=item['a'])", "item.update(a=1)"], None, None),
        (["item.update(n=item['a'].pop())"], None, None),
        (["item.update(item['a'])"], None, None),
        (["item.update(**item['a'])"], None, None),
        (["item.update({**item['a']})"], None, None),
        (["item.update({item['a']: 1})"], None, None),
        (["item['a'].update(n=1)"], None, None),
        (["item.setdefault('n', 1)"], None, None),
        (["item.update(n=item.update(m=1))"], None, None),
        (["item.update(n=1) or item.pop('a')"], None, None),
    ],
)
def test_what_expressions_add(expressions, reads, adds):
    assert fields_added(*expressions) == (None if reads is None else (frozenset(reads), adds))


def test_transforms_say_what_they_add():
    transform = PythonexpTransform(python_expressions=("item.update(n=item['a'])",))
    assert (transform.reads, transform.adds) == (frozenset("a"), ("n",))
    transform = PythonexpTransform(python_expressions=("item.pop('a')",))
    assert (transform.reads, transform.adds) == (None, None)


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_exports_are_the_same_with_and_without(shape, tmp_path):
    bad = {3: b'{"a":1,"b":oops}', 40: b'{"a":1,"b":"\xff"}', 70: b'{"b":7}'}
    lines = [bad.get(n) or json.dumps({"a": n % 3, "b": f"g{n % 2}", "n": n}).encode() for n in range(100)]
    (tmp_path / "in.jl").write_bytes(b"\n".join(lines))
    sections = dict(SHAPES[shape])
    options = sections.pop("options", {})
    found = []
    for pushdown in (True, False):
        out = tmp_path / str(pushdown)
        report = exporters_beam.run({
            "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
            "filter_before": {"name": "pythonexp", "options": {"python_expression": "item['a'] == 1"}},
            "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", **options}},
            "exporter_options": {"pushdown": pushdown},
            "on_error": "dead_letter",
            **sections,
        })  # fmt: skip
        lines = Path(report.dead_letters["name"]).read_bytes().splitlines() if report.dead_letters else []
        letters = [{**json.loads(line), "export": ""} for line in lines]
        found.append((report.counts, letters, {name: path.read_bytes() for name, path in visible(out).items()}))
    assert found[0] == found[1]
    numbers = [] if sections.get("on_error") == "skip" else [4, 41, 71]
    assert found[0][2] and [letter["number"] for letter in found[0][1]] == numbers
    assert sum(n for name, n in found[0][0].items() if name.endswith(("skipped", "dead_lettered"))) == 3


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("item['a']", {"a"}),
        ("item['a']['b'] > item.get('c', 3)", {"a", "c"}),
        ("'a' in item and not 'b' in item['c']", {"a", "c"}),
        ("'a' not in item", {"a"}),
        ("1 == 1", set()),
        ("[x for x in item['a'] if x > item['b']]", {"a", "b"}),
        ("len(item['a'])", {"a"}),
        ("len(item)", None),
        ("item", None),
        ("item[item['a']]", None),
        ("item['a'].append(1)", None),
        ("item.pop('a')", None),
        ("item.get(key='a')", None),
        ("item.keys()", None),
        ("[item for item in item['a']]", None),
        ("item == {}", None),
        ("dict(item)", None),
        ("sorted(item['a'], key=lambda item: item['b'])", None),
        ("item['a':'b']", None),
        ("'a' in item in [1]", None),
    ],
)
def test_what_an_expression_reads(source, fields):
    assert fields_read(source) == (None if fields is None else frozenset(fields))


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (
            {"type": "object", "required": ["a"], "properties": {"b": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}},
            {"a", "b"},
        ),
        ({"type": ["null", "object"], "title": "things"}, set()),
        ({}, set()),
        ({"type": "string"}, None),
        ({"properties": {"a": {}}, "additionalProperties": False}, None),
        ({"properties": {"a": {}}, "minProperties": 2}, None),
        ({"allOf": [{"required": ["a"]}]}, None),
        ({"$schema": "http://json-schema.org/draft-03/schema#", "required": True}, None),
    ],
)
def test_what_a_contract_reads(schema, fields):
    assert JsonSchemaFilter(schema=schema).reads == (None if fields is None else frozenset(fields))


@pytest.mark.parametrize(
    ("sections", "fields", "lines", "why"),
    [
        ({"filter": {"name": "key_value", "options": {"keys": [{"name": "a.b", "value": 1}]}}}, {"a", "a.b"}, True, ""),
        ({}, set(), True, ""),
        ({"deserializer": "csv"}, None, True, ""),
        ({"deserializer": "csv", "exporter_options": {"pushdown": False}}, None, False, "it is turned off"),
        ({"deserializer": "csv", "grouper": {"name": "file_key", "options": {"keys": ["c"]}}}, None, False, "there is no"),
        ({"formatter": {"name": "csv", "options": {"fields": ["a"]}}}, {"a"}, False, ""),
        ({"formatter": {"name": "csv", "options": {"fields": ["a"]}}, "on_error": "dead_letter"}, None, False, "there is no"),
        ({"formatter": {"name": "csv", "options": {"fields": ["a"]}},
          "filter": {"name": "key_value", "options": {"keys": [{"name": "b.c", "value": 1}]}},
          "grouper": {"name": "file_key", "options": {"keys": ["d"]}}}, {"a", "b", "b.c", "d"}, False, ""),
        ({"formatter": {"name": "csv", "options": {"fields": ["a"]}},
          "transform": {"name": "pythonmap", "options": {"map": "item"}}}, None, False, "there is no filter before"),
        ({"formatter": {"name": "json", "options": {"reencode": True}}}, None, False, "there is no filter before"),
        ({"filter": {"name": "pythonexp", "options": {"python_expression": "len(item)"}}}, None, False,
         "what the filter reads of a record cannot be proved"),
        ({"filter": {"name": "python", "options": {"function": "json:loads"}}}, None, False, "what the filter reads"),
        ({"deserializer": "json", "filter": {"name": "key_value", "options": {"keys": [{"name": "a", "value": 1}]}}},
         None, False, "only JSON lines, CSV and Parquet can be decoded in part"),
        ({"exporter_options": {"pushdown": False}}, None, True, "it is turned off"),
        ({"deserializer": "csv", "filter": {"name": "key_value", "options": {"keys": [{"name": "a", "value": 1}]}}},
         {"a"}, False, ""),
        ({"grouper": {"name": "file_key", "options": {"keys": ["c.d"]}}}, {"c", "c.d"}, True, ""),
        ({"grouper": {"name": "python", "options": {"function": "json:loads", "values": 1}}}, None, False, "there is no"),
        ({"transform": {"name": "pythonmap", "options": {"map": "item"}}}, None, False, "there is no filter before"),
    ],
)  # fmt: skip
def test_what_is_pushed_down_and_why_not(sections, fields, lines, why):
    config = {
        "reader": {"name": "fs", "options": {"input": "x"}},
        "writer": {"name": "fs", "options": {"filebase": "o/"}},
    }
    plan = make(spec.load({**config, **sections})).physical
    assert getattr(plan.decoding, "fields", None) == (None if fields is None else frozenset(fields))
    assert (plan.decoding.representation == "lines") is lines
    if why:
        (told,) = (applied for applied in plan.trace if applied.rule == "fields-pushed")
        assert not told.rewritten and told.why.startswith(why)


@pytest.mark.parametrize(
    ("sections", "fields", "later"),
    [
        ({}, {"a", "n"}, {"a", "n"}),
        ({"filter": {"name": "key_value", "options": {"keys": [{"name": "b", "value": 1}]}}}, {"b"}, {"a", "n"}),
        (
            {"grouper": {"name": "file_key", "options": {"keys": ["c.d"]}}},
            {"a", "c", "c.d", "n"},
            {"a", "c", "c.d", "n"},
        ),
        ({"exporter_options": {"pushdown": False}}, None, None),
        ({"formatter": {"name": "csv", "options": {"fields": ["e", "n"]}}}, {"a", "e", "n"}, None),
    ],
)
def test_what_is_decoded_where_fields_are_added(sections, fields, later):
    config = {
        "reader": {"name": "fs", "options": {"input": "x"}},
        "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item['a'])"]}},
        "writer": {"name": "fs", "options": {"filebase": "o/"}},
    }
    decoding = make(spec.load({**config, **sections})).physical.decoding
    fields, later = (None if each is None else frozenset(each) for each in (fields, later))
    assert decoding == (Project(fields) if "formatter" in sections else Extend(("n",), fields, later))


@pytest.mark.parametrize(
    "sections",
    [
        {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(a=item['a'])"]}}},
        {"transform": {"name": "pythonmap", "options": {"map": "item"}}},
        {"filter": {"name": "pythonexp", "options": {"python_expression": "len(item)"}}},
        {"filter_after": {"name": "dupe", "options": {"key_field": "a"}}},
        {"formatter": {"name": "json", "options": {"reencode": True}}},
        {"deserializer": "json"},
        {"writer": {"name": "fs", "options": {"filebase": "o/", "items_limit": 7}}},
    ],
)
def test_where_lines_are_not_kept(sections):
    config = {
        "reader": {"name": "fs", "options": {"input": "x"}},
        "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item['a'])"]}},
        "writer": {"name": "fs", "options": {"filebase": "o/"}},
    }
    assert not isinstance(make(spec.load({**config, **sections})).physical.decoding, Extend)


def test_explain_tells_it(tmp_path, capsys):
    path = tmp_path / "c.json"
    config = {
        "reader": {"name": "fs", "options": {"input": "x"}},
        "filter": {"name": "key_value", "options": {"keys": [{"name": "city", "value": "Bern"}]}},
        "writer": {"name": "fs", "options": {"filebase": "o/"}},
    }
    path.write_text(json.dumps(config))
    assert main(["explain", str(path)]) == 0
    out = capsys.readouterr().out
    assert "✓ fields-pushed       of a record only city is decoded before the filter decides\n" in out
    assert "· columns-kept        no: the source is not a table\n" in out
    assert "lines are handed on as they are" in out
    expressions = {"python_expressions": ["item.update(double=item['n'] * 2, source='x')"]}
    path.write_text(json.dumps({**config, "transform": {"name": "pythonexp", "options": expressions}}))
    assert main(["explain", str(path)]) == 0
    out = capsys.readouterr().out
    assert "before the filter decides, and then only double, n, source are decoded\n" in out
    assert "- lines keep what stands in them: double, source are added behind it (formatter option reencode: true" in out


def test_the_option_no_pushdown(tmp_path):
    (tmp_path / "in.jl").write_bytes(b'{"a":1}\n')
    path = tmp_path / "c.json"
    path.write_text(json.dumps({
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "filter": {"name": "key_value", "options": {"keys": [{"name": "a", "value": 1}]}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/"}},
    }))  # fmt: skip
    assert main(["run", str(path), "--no-pushdown", "--quiet"]) == 0
    assert gzip.decompress((tmp_path / "out/0000.jl.gz").read_bytes()) == b'{"a":1}\n'


def test_a_line_is_a_record_that_nothing_changes():
    data = b'{"a":1, "b":2}\n'
    found = sifted(data, None, True, None, True, OnError())
    assert found[1] == (0, "line", (), b'{"a":1, "b":2}')
