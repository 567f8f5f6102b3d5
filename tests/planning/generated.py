"""Exports that Hypothesis makes: lists of steps with any grouper and format, on hostile input of the kinds that rules know."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.orc as pa_orc
import pyarrow.parquet as pq
from hypothesis import strategies as st

from beamless import Outcome, outcome


class Export(NamedTuple):
    """An input, and what a config says beside it."""

    kind: str
    data: bytes
    config: dict[str, Any]

    def outcome(self, folder: str, **options: Any) -> Outcome:
        """What it gives with these `exporter_options`. What was probably meant by a name is left out of warnings: that is
        looked up in some records, in others where fewer fields are decoded."""
        path = Path(folder) / f"in.{self.kind}"
        path.write_bytes(self.data)
        names = "{groups[0]}-" if self.config.get("grouper", {}).get("name", "partition") != "partition" else ""
        found = outcome({
            "reader": {"name": "fs", "options": {"input": str(path)}}, "decompressor": "none", "deserializer": self.kind,
            "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/{names}"}}, "exporter_options": options,
            **self.config,
        })  # fmt: skip
        return found._replace(warnings=tuple(text.partition("; did you mean")[0] for text in found.warnings))


def filtering(name: str, **options: Any) -> dict[str, Any]:
    return {"filter": {"name": name, "options": options}}


def changing(*expressions: str) -> dict[str, Any]:
    return {"transform": {"name": "pythonexp", "options": {"python_expressions": list(expressions)}}}


def fields(**options: Any) -> dict[str, Any]:
    return {"transform": {"name": "fields", "options": options}}


LINES = [
    b'{"a":1,"b":"x"}', b'{"a":1,"b":"y","s":[1,2,2]}', b'{"a":2,"b":"x","n":1}', b'{"b":"z"}', b'{"a":1,"b":3}', b"{}",
    b'{"a":"1","b":"x"}', b'{"a":null,"n":2}', b'{"a":1,"a":2}', b'{"\\u006e":1,"a":1}', b'{"a": 1 , "b":"x"}', b'{"a":1}x',
    b"[1]", b'{"a":1e400}', b'{"a":1,"b":"\xff"}', b'{"a":7,"s":{"x":1}}', b'{"a":1,"s":[null,{"a":1}],"b":"x"}', b"",
    b'{"a":[1,2],"b":"\\ud800"}', b'{"a":true,"b":"x","m":1}', b'{"n":1,"m":2,"a":1,"b":"x"}', b'{"a":1.0}', b'{"a":1}',
    b'{"b":"y","a":2}', b'{"b":null,"a":1,"n":3}', b'{"a":"1","b":[1,{"z":1e2}]}', b' {"a":1, "b": "x" }\t', b'{"a":',
    b'{"a":1,"a":2,"b":"x"}', b'{"a":1}{"a":2}', b"7", b"null", b'{"a":01}', b'{"b":NaN,"a":1}', b'{"b":"\xff","a":1}',
    b'{"a":"\\ud800","b":"x"}', b"\x0c", b'{"a":1,"b":' + b"7" * 700 + b"}", b'{"a":-0.0,"b":"x"}',
    b'{"b":' + b"[" * 1500 + b"]" * 1500 + b',"a":1}',
]  # fmt: skip
ROWS = ["1,x", "2,y", "1,", ",", "1", "1,x,3", '"1","a\n""b"', '1,"x', "é,ü", "1 ,x", '"",NaN', "01,1e5", ""]
ROWS += ['"1,299.5",x', '"12,99",y', "1.5 ,x"]
ROWS += ["99999999999999999999999,", "1_0,", "1e400,x", "nan,y", "9007199254740993,", '"2","y"']
DIALECTS: list[dict[str, Any]] = [
    {"null_marker": "x"},
    {"numbers": {"columns": ["a"], "decimal": ".", "thousands": ","}},
    {"numbers": {"columns": ["b", "a"], "decimal": "."}, "ragged": "null", "null_marker": ""},
    {"encoding": "latin-1", "ragged": "keep"},
]
VALUES: list[Any] = [1, 2, None, 1.5, 0]


def looking_up(**options: Any) -> dict[str, Any]:
    return {
        "transform": {"name": "lookup", "options": {"file": str(Path(__file__).with_name("table.jl")), "key": "a", **options}}
    }


STEPS = [
    filtering("key_value", keys=[{"name": "a", "value": 1}]),
    filtering("key_value", keys=[{"name": "n", "value": 1}]),
    filtering("key_value", keys=[{"name": "b", "value": "x", "operator": "contains"}]),
    filtering("key_value", keys=[{"name": "bb", "value": 1}]),
    filtering("key_value_regex", keys=[{"name": "b", "value": "[xy]"}]),
    filtering("key_value_regex", keys=[{"name": "b", "value": "[xy]|None"}]),
    filtering("pythonexp", python_expression="item['a'] > 0"),
    filtering("pythonexp", python_expression="item['a'] == 1 or 'b' in item"),
    filtering("pythonexp", python_expression="item.get('n', 0) != 2"),
    filtering("pythonexp", python_expression="len(item) > 1"),
    filtering("pythonexp", python_expression="random.random() < 0.5"),
    filtering("jsonschema", schema={"required": ["a"], "properties": {"a": {"maximum": 5}}}),
    filtering("jsonschema", schema={"properties": {"b": {"type": "string"}}}, on_violation="drop"),
    filtering("sample", rate=0.5, by=["a"]),
    filtering("sample", rate=0.5, by=["b", "s.x"]),
    filtering("sample", rate=0.5),
    filtering("python", function="plugin_functions:not_two"),
    filtering("dupe"),
    filtering("dupe", key_field="a"),
    filtering("dupe", key_field="n"),
    filtering("dupe", key_field="bb"),
    filtering("none"),
    changing("item.update(n=item['a'])"),
    changing("item.update(n=item.get('b'), m=[1])"),
    changing("item.update(n=item['b'] * 2)"),
    changing("item.update(n=1, m=item['a'] + 1)"),
    changing("item.update(m=item['n'])"),
    changing("item.update(n=item['b'])", "item.update(k=len(item['n']))"),
    changing("item.update(a=item['a'] + 1)"),
    changing("item.update(a=int(item['a']))", "item.update(m=[item['a']])"),
    changing("item.update(b=item['a'], a=None if item['b'] == '' else float(item['a']))"),
    changing("item.pop('b')"),
    changing("item.pop('b', None)"),
    changing("item.update(r=random.random())"),
    {"transform": {"name": "pythonmap", "options": {"map": "dict(a=item['a'], s=item.get('s'))"}}},
    {"transform": {"name": "pythonmap", "options": {"map": "dict(item, z=item['a'])"}}},
    {"transform": {"name": "python", "options": {"function": "plugin_functions:each_of"}}},
    {"transform": {"name": "explode", "options": {"field": "s"}}},
    {"transform": {"name": "explode", "options": {"field": "s", "merge": True, "empty": "keep", "position": "n"}}},
    looking_up(columns=["n", "m"]),
    looking_up(columns=["n"], on_conflict="table"),
    looking_up(columns=["m", "b"], on_conflict="record", how="required"),
    looking_up(how="inner", prefix="s"),
    {"transform": "sort_keys"},
    fields(set={"n": 1, "m": [1]}),
    fields(set={"n": 1}, select=["b", "n"]),
    fields(types={"a": "integer"}, trim=["b"], select=["a", "b"]),
    fields(types={"a": "number", "b": "text"}, default={"a": 0}),
    fields(rename={"a": "b", "b": "a"}, types={"b": {"type": "integer", "empty_as_null": False}}),
    fields(rename={"a": "n"}, drop=["b"], default={"m": "x"}),
    fields(rename={"b": "c", "a": "d"}, select=["d", "c"]),
    fields(rename={"s.x": "n"}, mask={"b": 1}, select=["n", "b", "s"]),
    fields(types={"s[]": "text"}, hash={"a": "sha256"}),
    fields(flatten=["s"], select=["s_x", "a", "b"]),
    fields(drop=["s.x", "n"]),
    fields(select=["a", "c"]),
    fields(select=["c"]),
    fields(rename={"c": "n", "b": "m"}, drop=["a"]),
    {"transform": "none"},
]
ACTIONS = ["fail", "skip", "dead_letter"]
GROUPERS = [
    {"name": "file_key", "options": {"keys": ["b"]}},
    {"name": "file_key", "options": {"keys": ["n"]}},
    {"name": "file_key", "options": {"keys": ["b", "a"]}},
    {"name": "python_exp", "options": {"python_expressions": ["str(item['a'])[:1]"]}},
    {"name": "partition", "options": {"fields": ["b"], "columns": "keep"}},
    {"name": "partition", "options": {"fields": ["m", {"field": "s.x", "as": "k"}]}},
    {"name": "partition", "options": {"fields": [{"year": "a"}, "b"], "epoch": "seconds", "style": "{year}-{b}"}},
]
FORMATS: list[Any] = [
    "json",
    {"name": "json", "options": {"reencode": True}},
    {"name": "csv", "options": {"fields": ["b", "a"]}},
    {"name": "csv", "options": {"fields": ["a", "n"]}},
    {
        "name": "csv",
        "options": {
            "fields": ["a", "b"],
            "quoting": "minimal",
            "encoding": "utf-16",
            "line_end": "crlf",
            "null_marker": "x",
        },
    },
    {
        "name": "csv",
        "options": {
            "fields": ["b", "n"],
            "quoting": "none",
            "encoding": "ascii",
            "delimiter": ";",
            "decimal": ",",
            "show_titles": False,
        },
    },
    {
        "name": "csv",
        "options": {
            "fields": ["b", "a"],
            "bom": True,
            "escapechar": "\\",
            "quotechar": "'",
            "quoting": "all",
            "on_unencodable": "replace",
        },
    },
    {"name": "parquet"},
    {"name": "parquet", "options": {"schema": {"type": "object", "properties": {"a": {"type": "number"}}}}},
    {"name": "parquet", "options": {"sort_by": [{"a": "descending"}], "page_index": True, "row_group_size": 2}},
    {"name": "parquet", "options": {"compat": "hive", "row_group_bytes": 20}},
    {"name": "avro"},
    {"name": "orc"},
    {"name": "orc", "options": {"schema": {"properties": {"a": {"type": ["number", "null"]}}}, "unknown_fields": "drop"}},
    {"name": "xlsx", "options": {"fields": ["b", "a"]}},
]


FIXED = [b"1  x ", b"  2y ", b"1.5xy", b"abcy", b"", b"1  \xff\xff", b"     ", b"12345678"]
"""Lines of a file with columns of fixed width; some are short, long or none of text."""

NANOSECONDS = pa.timestamp("ns")
MORE: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int64(), [None, 1, -(2**63)]),
    (NANOSECONDS, [None, 0, 10**15, 10**15 + 1, 2**62]),
    (pa.timestamp("s", "UTC"), [None, 0, -(10**12), 10**12]),
    (pa.timestamp("us", "Nowhere/Near"), [None, 0]),
    (pa.date32(), [None, 0, 10**7]),
    (pa.duration("s"), [None, 5]),
    (pa.struct({"x": pa.binary(), "y": pa.list_(pa.float32())}), [None, {"x": b"\0", "y": [0.1, None]}, {"x": b"z"}]),
    (pa.map_(pa.string(), pa.int8()), [None, [("k", 1)], []]),
    (pa.decimal128(9, 2), [None, 5]),
]
"""Types of a third column with values for it, as numbers where that makes more of them possible."""


def parquet(rows: list[tuple[Any, Any, int]], more: int, broken: bool) -> bytes:
    """A file with row groups of three records. `broken`: the texts of a column are not all UTF-8. Statistics are left out where
    some values may not be readable: what stands in a row group that is skipped for them is not noticed, as documented."""
    type_, values = MORE[more]
    texts = [None if b is None else b.encode() + b"\xff" * (broken and b == "y") for _, b, _ in rows]
    third = [values[n % len(values)] for _, _, n in rows]
    columns = {
        "a": pa.array([a for a, _, _ in rows], pa.float64()),
        "b": pa.array(texts, pa.binary()).view(pa.string()),
        "c": pa.array(third, pa.int64()).cast(type_) if pa.types.is_timestamp(type_) else pa.array(third, type_),
    }
    out = io.BytesIO()
    readable = more == 0 and not broken
    pq.write_table(pa.table(columns), out, row_group_size=3, use_dictionary=False, write_statistics=readable)
    return out.getvalue()


def orc(rows: list[tuple[Any, Any, int]], more: int) -> bytes:
    """A file with stripes of few records; its third column has a type that ORC has, too."""
    type_, values = [MORE[n] for n in (0, 1, 2, 4, 8)][more]
    third = [values[n % len(values)] for _, _, n in rows]
    columns = {
        "a": pa.array([a for a, _, _ in rows], pa.float64()),
        "b": pa.array([b for _, b, _ in rows], pa.string()),
        "c": pa.array(third, pa.int64()).cast(type_) if pa.types.is_timestamp(type_) else pa.array(third, type_),
    }
    out = io.BytesIO()
    with pa_orc.ORCWriter(out, stripe_size=1, batch_size=1) as writer:
        for start in range(0, len(rows) or 1, 3):
            writer.write(pa.table(columns).slice(start, 3))
    return out.getvalue()


rows = st.tuples(st.sampled_from(VALUES), st.sampled_from(["x", "y", None, ""]), st.integers(0, 4))
inputs = st.one_of(
    st.tuples(st.just("jsonlines"), st.lists(st.sampled_from(LINES), max_size=12).map(b"\n".join)),
    st.tuples(st.just("csv"), st.lists(st.sampled_from(ROWS), max_size=8).map(lambda r: "\n".join(["a,b", *r]).encode())),
    st.tuples(st.just("fixed_width"), st.lists(st.sampled_from(FIXED), max_size=8).map(b"\n".join)),
    st.tuples(st.just("orc"), st.builds(orc, st.lists(rows, max_size=9), st.integers(0, 4))),
    st.tuples(
        st.just("parquet"),
        st.builds(parquet, st.lists(rows, max_size=9), st.integers(0, len(MORE) - 1), st.booleans()),
    ),
)
steps = st.builds(
    lambda step, action: {**step, **({"on_error": action} if action else {})},
    st.sampled_from(STEPS),
    st.sampled_from([None, None, None, *ACTIONS]),
)
SCHEMA = {
    "properties": {
        "a": {"type": "number"},
        "b": {"type": "string"},
        "n": {"type": "integer"},
        "s": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["a"],
}
CONTRACTS: list[Any] = [
    {"schema": SCHEMA, "new_fields": new, "types": types, "coerce": coerce}
    for new, types, coerce in (
        ("accept", "accept", False), ("drop", "drop", True), ("freeze", "dead_letter", True), ("dead_letter", "freeze", False),
        ("dead_letter", "dead_letter", True), ("accept", "drop", False),
    )
]  # fmt: skip
configs = st.fixed_dictionaries(
    {"steps": st.lists(steps, max_size=5), "on_error": st.sampled_from(ACTIONS)},
    optional={
        "grouper": st.sampled_from(GROUPERS),
        "formatter": st.sampled_from(FORMATS),
        "statistics": st.sampled_from([True, ["a", "s[].x"]]),
        "contract": st.sampled_from(CONTRACTS),
    },
)


def _export(source: tuple[str, bytes], config: dict[str, Any], dialect: dict[str, Any] | None) -> Export:
    if source[0] == "csv" and dialect:
        config = {**config, "deserializer": {"name": "csv", "options": dialect}}
    if source[0] == "fixed_width":
        options = {"columns": [{"name": "a", "width": 3}, {"name": "b", "width": 2}]}
        config = {**config, "deserializer": {"name": "fixed_width", "options": options}}
    return Export(*source, config)


exports = st.builds(_export, inputs, configs, st.none() | st.sampled_from(DIALECTS))
