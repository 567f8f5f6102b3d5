"""Every rule of the planner changes nothing but the time it takes: exports with all rules, with none and without each one
deliver the same bytes, counts, dead letters and messages.

The everyday run tries few of what Hypothesis makes; `EXPORTERS_BEAM_EXAMPLES=5000 pytest tests/planning/test_rules.py` is the
long form.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.cli.main import main
from exporters_beam.config import spec
from exporters_beam.planning import rules
from exporters_beam.planning.plan import make

from beamless import Outcome, outcome
from examples import at_least

LINES = [
    *(
        b'{"a":1,"b":"x"}',
        b'{"b":"y","a":2}',
        b'{"a":1}',
        b'{"b":null,"a":1,"n":3}',
        b'{"a":"1","b":[1,{"z":1e2}]}',
        b"{}",
    ),
    *(b' {"a":1, "b": "x" }\t', b'{"a":1,"a":2,"b":"x"}', b'{"a":1}{"a":2}', b"", b"7", b"null", b'{"a":', b'{"a":01}'),
    *(b'{"b":NaN,"a":1}', b'{"a":"\\ud800","b":"x"}', b'{"b":"\xff","a":1}', b'{"a":1e400}', b'{"a":1}x', b"\x0c"),
    *(b'{"a":1,"b":' + b"7" * 700 + b"}", b'{"b":' + b"[" * 1500 + b"]" * 1500 + b',"a":1}', b'{"a":-0.0,"b":"x"}'),
]
ROWS = ["1,x", "2,y", "1,", ",", "1", "1,x,3", '"1","a\n""b"', '1,"x', "é,ü", "1 ,x", '"",NaN', "01,1e5", ""]
VALUES: list[Any] = [1, 2, None, 1.5, 0]

FILTER = {"name": "key_value", "options": {"keys": [{"name": "a", "value": 1}]}}
DUPE = {"name": "dupe", "options": {"key_field": "a"}}
FILTERS = [
    FILTER,
    DUPE,
    {"name": "dupe"},
    {"name": "key_value_regex", "options": {"keys": [{"name": "b", "value": "[xy]|None"}]}},
    {"name": "pythonexp", "options": {"python_expression": "item['a'] == 1 or 'b' in item"}},
    {"name": "pythonexp", "options": {"python_expression": "len(item) > 1"}},
    {"name": "key_value", "options": {"keys": [{"name": "b", "value": "x", "operator": "contains"}]}},
]
TRANSFORMS = [
    {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item.get('b'), m=[1])"]}},
    {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item['b'] * 2)"]}},
    {"name": "pythonmap", "options": {"map": "dict(item, z=item['a'])"}},
    {"name": "pythonexp", "options": {"python_expressions": ["item.pop('b', None)"]}},
    {"name": "none"},
]
GROUPERS = [
    {"name": "file_key", "options": {"keys": ["b"]}},
    {"name": "file_key", "options": {"keys": ["b", "a"]}},
    {"name": "python_exp", "options": {"python_expressions": ["str(item['a'])[:1]"]}},
]
FORMATS: list[Any] = [
    None,
    "json",
    {"name": "csv", "options": {"fields": ["b", "a"]}},
    {"name": "json", "options": {"reencode": True}},
    {"name": "parquet"},
    {"name": "parquet", "options": {"schema": {"type": "object", "properties": {"a": {"type": "number"}}}}},
    {"name": "avro"},
]

steps = st.lists(
    st.sampled_from(FILTERS).map(lambda f: {"filter": f}) | st.sampled_from(TRANSFORMS).map(lambda t: {"transform": t}),
    max_size=3,
)
configs = st.fixed_dictionaries(
    {"steps": steps, "on_error": st.sampled_from(["fail", "skip", "dead_letter"])},
    optional={"grouper": st.sampled_from(GROUPERS)},
)


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


rows = st.tuples(st.sampled_from(VALUES), st.sampled_from(["x", "y", None, ""]), st.integers(0, 4))


inputs = st.one_of(
    st.tuples(st.just("jsonlines"), st.lists(st.sampled_from(LINES), max_size=8).map(b"\n".join)),
    st.tuples(
        st.just("csv"), st.lists(st.sampled_from(ROWS), max_size=8).map(lambda r: "\n".join(["a,b", *r]).encode())
    ),
    st.tuples(
        st.just("parquet"),
        st.builds(parquet, st.lists(rows, max_size=9), st.integers(0, len(MORE) - 1), st.booleans()),
    ),
)


def exported(path: Path, deserializer: str, form: Any, config: dict[str, Any], **given: Any) -> Outcome:
    settings = {**given, **({"formatter": form} if form is not None else {})}
    names = "{groups[0]}-" if "grouper" in config else ""
    return outcome({
        "reader": {"name": "fs", "options": {"input": str(path)}}, "decompressor": "none", "deserializer": deserializer,
        "writer": {"name": "fs", "options": {"filebase": f"{path.parent}/out/{names}"}}, "exporter_options": settings, **config,
    })  # fmt: skip


@settings(max_examples=at_least(20, 2), deadline=None)
@given(inputs, st.sampled_from(FORMATS), configs)
def test_every_rule_changes_nothing(source: tuple[str, bytes], form: Any, config: dict[str, Any]) -> None:
    deserializer, data = source
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{deserializer}"
        path.write_bytes(data)
        with_all = exported(path, deserializer, form, config)
        assert exported(path, deserializer, form, config, pushdown=False) == with_all
        for rule in rules.NAMES:
            assert exported(path, deserializer, form, config, without=[rule]) == with_all, rule


LINES_TO_LINES = {
    "reader": {"name": "fs", "options": {"input": "x"}},
    "writer": {"name": "fs", "options": {"filebase": "o/"}},
}


@pytest.mark.parametrize("rule", rules.NAMES)
def test_each_rule_is_applied_somewhere_and_can_be_left_out(rule: str) -> None:
    sections: dict[str, Any] = {
        "lines-transcribed": {"deserializer": "csv"},
        "fields-projected": {"exporter_options": {"formatter": {"name": "csv", "options": {"fields": ["a"]}}}},
        "fields-pushed": {"filter": FILTER},
        "columns-kept": {"deserializer": "parquet", "exporter_options": {"formatter": "parquet"}},
        "row-groups-skipped": {"deserializer": "parquet", "filter": FILTER},
        "records-staged": {"filter": DUPE},
        "files-together": {},
    }[rule]
    config = {**LINES_TO_LINES, **sections}
    applied = {each.rule: each.rewritten for each in make(spec.load(config)).physical.trace}
    assert applied[rule]
    settings = {**config.get("exporter_options", {}), "without": [rule]}
    left = {each.rule: each for each in make(spec.load({**config, "exporter_options": settings})).physical.trace}
    assert not left[rule].rewritten and left[rule].why == "it is turned off"


def test_a_rule_is_left_out_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**LINES_TO_LINES, "filter": FILTER}))
    assert main(["explain", str(path), "--without", "fields-pushed", "--without=columns-kept"]) == 0
    assert "· fields-pushed       no: it is turned off\n" in capsys.readouterr().out
    assert main(["explain", str(path), "--without", "field-pushed"]) == 2
    told = capsys.readouterr().err
    assert "exporter_options.without: the planner has no rule 'field-pushed'; did you mean \"fields-pushed\"?" in told
    assert main(["explain", str(path), "--no-pushdown"]) == 0
    assert capsys.readouterr().out.count("it is turned off") == len(rules.NAMES)


def test_many_small_files_are_delivered_alike_when_they_go_to_workers_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(200):
        lines = [f'{{"a":{n},"b":"{number % 3}"}}' for n in range(number % 5)] + ["oops"] * (number % 50 == 7)
        (tmp_path / "in" / f"{number:03d}.jl").write_text("\n".join(lines))
    told = []
    for name, without in (("together", []), ("alone", ["files-together"])):
        config = {
            "reader": {"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}},
            "grouper": {"name": "file_key", "options": {"keys": ["b"]}}, "on_error": "dead_letter",
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/{name}/{{groups[0]}}-"}},
            "exporter_options": {"without": without},
        }  # fmt: skip
        (tmp_path / "c.json").write_text(json.dumps(config))
        assert main(["run", str(tmp_path / "c.json"), "--workers", "1"]) == 0
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()}
        manifest = json.loads(next((tmp_path / name / ".exporters").glob("*/manifest.json")).read_text())
        kept = {key: manifest[key] for key in ("units", "counts", "warnings")}
        lines = Path(manifest["dead_letters"]["name"]).read_text().splitlines()
        letters = [{**json.loads(line), "export": ""} for line in lines]
        told.append((files, kept, letters, [file["md5"] for file in manifest["files"]]))
    assert told[0] == told[1] and len(told[0][0]) == 3 and told[0][1]["counts"]["read"] > 300
