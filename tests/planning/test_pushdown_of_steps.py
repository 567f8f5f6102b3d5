"""Lists of steps: what is pushed down of them changes no file, count, dead letter or error, wherever a step stands.

The long form: `EXPORTERS_BEAM_EXAMPLES=20000 pytest tests/planning/test_pushdown_of_steps.py`
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from beamless import Outcome, outcome
from examples import at_least


def filtering(name: str, **options: Any) -> dict[str, Any]:
    return {"filter": {"name": name, "options": options}}


def changing(*expressions: str) -> dict[str, Any]:
    return {"transform": {"name": "pythonexp", "options": {"python_expressions": list(expressions)}}}


STEPS = [
    filtering("key_value", keys=[{"name": "a", "value": 1}]),
    filtering("key_value", keys=[{"name": "n", "value": 1}]),
    filtering("key_value_regex", keys=[{"name": "b", "value": "[xy]"}]),
    filtering("pythonexp", python_expression="item['a'] > 0"),
    filtering("pythonexp", python_expression="item.get('n', 0) != 2"),
    filtering("pythonexp", python_expression="random.random() < 0.5"),
    filtering("jsonschema", schema={"required": ["a"], "properties": {"a": {"maximum": 5}}}),
    filtering("jsonschema", schema={"properties": {"b": {"type": "string"}}}, on_violation="drop"),
    filtering("python", function="plugin_functions:not_two"),
    filtering("dupe"),
    filtering("dupe", key_field="a"),
    filtering("dupe", key_field="n"),
    filtering("key_value", keys=[{"name": "bb", "value": 1}]),
    filtering("dupe", key_field="bb"),
    filtering("none"),
    changing("item.update(n=item['a'])"),
    changing("item.update(n=1, m=item['a'] + 1)"),
    changing("item.update(m=item['n'])"),
    changing("item.update(n=item['b'])", "item.update(k=len(item['n']))"),
    changing("item.update(a=item['a'] + 1)"),
    changing("item.pop('b')"),
    changing("item.update(r=random.random())"),
    {"transform": {"name": "pythonmap", "options": {"map": "dict(a=item['a'], s=item.get('s'))"}}},
    {"transform": {"name": "python", "options": {"function": "plugin_functions:each_of"}}},
    {"transform": "none"},
]
LINES = [
    b'{"a":1,"b":"x"}', b'{"a":1,"b":"y","s":[1,2,2]}', b'{"a":2,"b":"x","n":1}', b'{"b":"z"}', b'{"a":1,"b":3}', b"{}",
    b'{"a":"1","b":"x"}', b'{"a":null,"n":2}', b'{"a":1,"a":2}', b'{"\\u006e":1,"a":1}', b'{"a": 1 , "b":"x"}', b'{"a":1}x',
    b"[1]", b'{"a":1e400}', b'{"a":1,"b":"\xff"}', b'{"a":7,"s":{"x":1}}', b'{"a":1,"s":[null,{"a":1}],"b":"x"}', b"",
    b'{"a":[1,2],"b":"\\ud800"}', b'{"a":true,"b":"x","m":1}', b'{"n":1,"m":2,"a":1,"b":"x"}', b'{"a":1.0}',
]  # fmt: skip
steps = st.builds(
    lambda step, action: {**step, **({"on_error": action} if action else {})},
    st.sampled_from(STEPS), st.sampled_from([None, None, None, "fail", "skip", "dead_letter"]),
)  # fmt: skip
MORE: list[dict[str, Any]] = [
    {}, {}, {"grouper": {"name": "file_key", "options": {"keys": ["a"]}}},
    {"grouper": {"name": "file_key", "options": {"keys": ["n"]}}},
    {"formatter": {"name": "csv", "options": {"fields": ["a", "n"]}}},
    {"formatter": {"name": "json", "options": {"reencode": True}}},
]  # fmt: skip
ADD_AND_MISS = [changing("item.update(n=item['a'])"), filtering("key_value", keys=[{"name": "bb", "value": 1}])]
ADD_AND_FAIL = [changing("item.update(m=item['a'])"), changing("item.update(n=item['b'])")]


@settings(
    max_examples=at_least(40, 2), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.lists(steps, max_size=5), st.lists(st.sampled_from(LINES), max_size=12),
    st.sampled_from(["fail", "skip", "dead_letter", "dead_letter"]), st.sampled_from(MORE),
)  # fmt: skip
@example(ADD_AND_FAIL, [LINES[0], b'{"a":7}'], "dead_letter", {})
@example(ADD_AND_MISS, [LINES[0]], "fail", {})
def test_lists_of_steps_with_and_without_pushdown(
    tmp_path: Path, listed: Any, lines: Any, action: str, more: Any
) -> None:
    source = tmp_path / "in.jl"
    source.write_bytes(b"\n".join(lines))
    config = {
        "reader": {"name": "fs", "options": {"input": str(source)}},
        "decompressor": "none",
        "steps": listed,
        "on_error": action,
        "writer": {"name": "fs", "options": {"filebase": "out/{groups[0]}" if "grouper" in more else "out/part-",
                                             "compression": "none"}},
        **more,
    }  # fmt: skip
    on, off = (outcome({**config, "exporter_options": {"pushdown": way}}) for way in (True, False))
    assert said(on) == said(off)


def said(found: Outcome) -> Outcome:
    """Without what was probably meant: that is looked up in some records, in others where fewer fields are decoded."""
    return found._replace(warnings=tuple(text.partition("; did you mean")[0] for text in found.warnings))


def test_the_name_that_was_meant_is_told_with_and_without_pushdown(tmp_path: Path) -> None:
    (tmp_path / "in.jl").write_bytes(LINES[0])
    config = {
        "reader": {"name": "fs", "options": {"input": f"{tmp_path}/in.jl"}},
        "steps": ADD_AND_MISS,
        "writer": {"name": "fs", "options": {"filebase": "out/part-", "compression": "none"}},
    }
    for way in (True, False):
        found = outcome({**config, "exporter_options": {"pushdown": way}})
        assert found.warnings == ("filter_2: no record has the field bb; did you mean b?",)


LATER = filtering("key_value_regex", keys=[{"name": "NN", "value": "x"}])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("later", "told"),
    [
        ([LATER], ["filter_2: no record has the field NN; did you mean n?"]),
        ([], ["formatter: no record has the field nn: its column is empty; did you mean n?",
              "grouper: no record has a value of B: all are in the group unknown; did you mean b?"]),
    ],
)  # fmt: skip
def test_the_name_that_was_meant_is_told_where_only_columns_are_decoded(
    tables: dict[str, str], kind: str, later: list[Any], told: list[str]
) -> None:
    config = {
        "reader": {"name": "fs", "options": {"input": tables[kind]}},
        "deserializer": kind,
        "steps": [filtering("key_value_regex", keys=[{"name": "a", "value": "1"}]), *later],
        "grouper": {"name": "file_key", "options": {"keys": ["B"]}},
        "formatter": {"name": "csv", "options": {"fields": ["a", "nn"]}},
        "writer": {"name": "fs", "options": {"filebase": "out/{groups[0]}/part-", "compression": "none"}},
    }
    for way in (True, False):
        assert list(outcome({**config, "exporter_options": {"pushdown": way}}).warnings) == told


TABLE = [{"a": n % 4, "b": "xyz"[n % 3], "n": None if n % 5 else n, "s": [n]} for n in range(40)]


@settings(
    max_examples=at_least(15, 2), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.lists(steps, max_size=4), st.sampled_from(["csv", "parquet"]), st.sampled_from(["fail", "skip", "dead_letter"]),
    st.sampled_from(["json", "parquet", {"name": "csv", "options": {"fields": ["a", "n"]}}]),
)  # fmt: skip
def test_lists_of_steps_on_tables_with_and_without_pushdown(
    tmp_path: Path, tables: dict[str, str], listed: Any, kind: str, action: str, formatter: Any
) -> None:
    config = {
        "reader": {"name": "fs", "options": {"input": tables[kind]}},
        "decompressor": "none",
        "deserializer": kind,
        "steps": listed,
        "on_error": action,
        "formatter": formatter,
        "writer": {"name": "fs", "options": {"filebase": "out/part-", "compression": "none"}},
    }
    on, off = (outcome({**config, "exporter_options": {"pushdown": way}}) for way in (True, False))
    assert said(on) == said(off)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("tables")
    rows = [",".join(str(value if value is not None else "") for value in (r["a"], r["b"], r["n"])) for r in TABLE]
    (folder / "in.csv").write_text("\n".join(["a,b,n", *rows]) + "\n")
    pq.write_table(pa.Table.from_pylist(TABLE), folder / "in.parquet", row_group_size=7)
    return {kind: str(folder / f"in.{kind}") for kind in ("csv", "parquet")}


def test_a_letter_of_a_later_step_has_what_earlier_steps_added(tmp_path: Path) -> None:
    (tmp_path / "in.jl").write_text('{"a": 1}\n')
    found = outcome({
        "reader": {"name": "fs", "options": {"input": f"{tmp_path}/in.jl"}},
        "steps": ADD_AND_FAIL,
        "on_error": "dead_letter",
        "writer": {"name": "fs", "options": {"filebase": "out/part-", "compression": "none"}},
    })  # fmt: skip
    (letter,) = found.letters
    assert (letter["step"], letter["path"], letter["record"]) == ("transform_2", "steps[1].transform", {"a": 1, "m": 1})
    assert json.loads(json.dumps(letter)) == letter
