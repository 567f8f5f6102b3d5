"""From a config to an ExportSpec, or to every problem in it with its place."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters_beam.components.options import option
from exporters_beam.components.secret import Secret
from exporters_beam.config.sections import OWN_STEPS
from exporters_beam.config.spec import SECTIONS, Settings, load
from exporters_beam.errors import ConfigError

from examples import at_least

READER = {"name": "memory", "options": {"records": [{"a": 1}]}}
WRITER = {"name": "fs", "options": {"filebase": "out/part-"}}
KV = {"name": "key_value", "options": {"keys": [{"name": "a", "value": 1}]}}


@dataclass(frozen=True, kw_only=True)
class Picky:
    """A reader with options of every type."""

    kind: ClassVar[str] = "reader"

    size: int = option("how many", type="int", default=10, minimum=1)
    ratio: float = option("a share", type="number", default=0.5)
    mode: str = option("which way", choices=("fast", "slow"), default="fast")
    ids: tuple[int, ...] = option("numbers", type="int_list", default=())
    names: tuple[str, ...] = option("texts", type="str_list", default=())
    rows: tuple[dict, ...] = option("mappings", type="dict_list", default=())
    prefix: Any = option("one or many", type="str|list", default=None)
    on: bool = option("or off", type="bool", default=False)
    more: dict = option("a mapping", type="dict", default={})
    anything: Any = option("whatever", type="object", default=None)
    key: str = option("who", env="PICKY_KEY", secret=True)
    keys: tuple[dict, ...] = option("tested further", type="dict_list", default=())

    def __post_init__(self) -> None:
        for at, key in enumerate(self.keys):
            if key.get("operator", "==") != "==":
                raise ConfigError(f"keys[{at}].operator: {key['operator']!r} is no operator")
        if self.size == 13:
            raise ConfigError("it will not have this combination")
        if self.size == 14:
            raise RuntimeError("a mistake of the component's author")

    def units(self):
        yield from ()


@dataclass(frozen=True, kw_only=True)
class Shy:
    """A writer without options."""

    kind: ClassVar[str] = "writer"


def spec_of(config=None, environ=None, **sections):
    return load({"reader": READER, "writer": WRITER, **(config or {}), **sections}, environ=environ or {})


def problems(config, environ=None, **variables):
    with pytest.raises(ConfigError) as caught:
        load(config, environ=environ or {}, variables=variables)
    return [str(problem) for problem in caught.value.problems]


def picky(environ=None, **options):
    """The component, or what is wrong with its options."""
    config = {"reader": {"name": "test_spec:Picky", "options": options}, "writer": WRITER}
    try:
        return load(config, environ={"PICKY_KEY": "k"} if environ is None else environ).reader.component
    except ConfigError as error:
        return [str(problem).removeprefix("reader.options.") for problem in error.problems]


# The shape of a spec


def test_a_small_config():
    spec = spec_of()
    assert spec.reader.kind == "reader"
    assert spec.reader.name == "memory"
    assert spec.reader.component.records == ({"a": 1},)
    assert spec.writer.component.filebase == "out/part-"
    assert spec.writer.path == ("writer",)
    assert spec.writer.options == {"filebase": "out/part-"}
    absent = [name for name in SECTIONS if name not in ("reader", "writer", "filter", *OWN_STEPS)]
    assert [getattr(spec, name) for name in absent] == [None] * 6
    assert spec.steps == ()
    assert (spec.notifications, spec.warnings, spec.write_buffer, spec.staging) == ((), (), None, None)
    assert spec.settings == Settings()


def test_old_class_paths_and_package_spellings():
    spec = load({
        "reader": {"name": "exporters.readers.fs_reader.FSReader", "options": {"input": {"dir": "data"}}},
        "writer": {"name": "exporters.writers.FSWriter", "options": {"filebase": "out/x"}},
    }, environ={})  # fmt: skip
    assert (spec.reader.entry.name, spec.writer.entry.name) == ("fs", "fs")
    assert spec.reader.name == "exporters.readers.fs_reader.FSReader"


def test_a_section_may_be_only_a_name():
    spec = load({"reader": "random", "writer": "console"}, environ={})
    assert (spec.reader.entry.name, spec.writer.entry.name) == ("random", "console")
    assert problems({"reader": "random", "writer": "fs"}) == ["writer.filebase: this option is missing"]


def test_null_means_absent_or_empty():
    spec = spec_of(transform=None, filter=None, exporter_options=None, stats_manager={"name": "basic", "options": None})
    assert spec.stats_manager.options == {}
    assert spec.step("transform") is None
    assert spec_of(exporter_options={"notifications": None, "formatter": None}).notifications == ()


def test_sections_that_do_nothing_are_none():
    spec = spec_of(
        filter_before={"name": "exporters.filters.no_filter.NoFilter"},
        transform={"name": "exporters.transform.no_transform.NoTransform"},
        grouper="none",
        filter_after={"name": "none", "options": {}},
    )
    assert (spec.steps, spec.grouper) == ((), None)


def test_a_decompressor_that_does_nothing_is_still_a_decision():
    reader = {"name": "fs", "options": {"input": "x"}}
    spec = spec_of(reader=reader, decompressor={"name": "exporters.decompressors.NoDecompressor"})
    assert spec.decompressor.entry.name == "none"
    assert spec_of(reader=reader).decompressor is None


def test_filter_wins_over_filter_before_and_both_are_checked():
    other = {"name": "key_value", "options": {"keys": [{"name": "b", "value": 2}]}}
    spec = spec_of(filter=KV, filter_before=other)
    assert spec.step("filter_before").path == ("filter",)
    assert spec.step("filter_before").options == KV["options"]
    assert [str(w) for w in spec.warnings] == ["filter_before: not used: the section `filter`, its older name, wins"]
    assert spec_of(filter="none", filter_before=other).step("filter_before") is None
    assert spec_of(filter=None, filter_before=other).step("filter_before").path == ("filter_before",)
    assert problems({"reader": READER, "writer": WRITER, "filter": KV, "filter_before": {"name": "key_value"}}) == [
        "filter_before.options.keys: this option is missing"
    ]


def test_the_formatter_of_exporter_options_and_of_the_top():
    csv = {"name": "csv", "options": {"fields": ["a"]}}
    assert spec_of(exporter_options={"formatter": csv}).formatter.path == ("exporter_options", "formatter")
    assert spec_of(formatter=csv).formatter.path == ("formatter",)
    both = spec_of(formatter=csv, exporter_options={"formatter": "json"})
    assert both.formatter.entry.name == "csv"
    assert len(both.warnings) == 1


def test_the_write_buffer_of_the_writer():
    name = "exporters.write_buffers.reservoir_sampling_buffer.ReservoirSamplingWriteBuffer"
    options = {**WRITER["options"], "write_buffer": name, "write_buffer_options": {"sample_size": 3}}
    spec = spec_of(writer={"name": "fs", "options": options})
    assert spec.write_buffer.component.sample_size == 3
    options["write_buffer"] = "exporters.write_buffers.base.WriteBuffer"
    options["write_buffer_options"] = None
    assert spec_of(writer={"name": "fs", "options": options}).write_buffer is None
    options["write_buffer"] = "reservoir"
    assert problems({"reader": READER, "writer": {"name": "fs", "options": options}}) == [
        "writer.options.write_buffer: there is no write_buffer called 'reservoir'; did you mean \"reservoir_sampling\"?"
    ]
    options |= {"write_buffer": "reservoir_sampling", "write_buffer_options": {"size": 0, "sample_size": 0}}
    assert [p.partition(": ")[0] for p in problems({"reader": READER, "writer": {"name": "fs", "options": options}})] == [
        "writer.options.write_buffer_options.size",
        "writer.options.write_buffer_options.sample_size",
    ]


def test_settings():
    settings = spec_of(exporter_options={"log_level": "DEBUG", "disable_retries": True, "resume": True,
                                         "persistence_state_id": 7, "logger_name": None}).settings  # fmt: skip
    assert (settings.log_level, settings.disable_retries, settings.resume) == ("DEBUG", True, True)
    assert (settings.persistence_state_id, settings.logger_name) == (7, "export-pipeline")


def test_an_unknown_log_level_is_info_and_a_warning():
    spec = spec_of(exporter_options={"log_level": "debug", "threaded": True})
    assert (spec.settings.log_level, spec.settings.threaded) == ("INFO", True)
    assert [str(w) for w in spec.warnings] == [
        "exporter_options.log_level: there is no level 'debug', so INFO is used; did you mean \"DEBUG\"?"
    ]


def test_persistence_is_answered_with_what_replaces_it():
    database = {"user": "u", "password": "p", "host": "h", "port": 1, "database": "d"}
    spec = spec_of(persistence={"name": "exporters.persistence.MysqlPersistence", "options": database})
    assert spec.persistence.component.database == "d"
    assert [w.path for w in spec.warnings] == [("persistence",)]
    assert "--resume" in str(spec.warnings[0])
    sqlite = spec_of(persistence={"name": "exporters.persistence.alchemy_persistence.SqlitePersistence",
                                  "options": {"database": "jobs.db", "port": 0}})  # fmt: skip
    assert sqlite.persistence.component.port == 0


def test_notifications_keep_their_order():
    hooks = [{"name": "webhook", "options": {"endpoints": [f"http://h{n}"]}} for n in range(3)]
    spec = spec_of(exporter_options={"notifications": hooks})
    assert [section.component.endpoints for section in spec.notifications] == [
        ("http://h0",),
        ("http://h1",),
        ("http://h2",),
    ]


def test_without_retries_a_notification_is_tried_once():
    options = {"notifications": [{"name": "webhook", "options": {"endpoints": ["http://h"]}}]}
    assert spec_of(exporter_options=options).notifications[0].component.attempts == 10
    assert spec_of(exporter_options={**options, "disable_retries": True}).notifications[0].component.attempts == 1


def test_the_new_top_level_keys():
    spec = spec_of(staging="/mnt/stage", runners={"FlinkRunner": {"parallelism": 2}}, label="x", name="y", description=3)
    assert spec.staging == "/mnt/stage"
    assert spec.runners == {"FlinkRunner": {"parallelism": 2}}
    assert spec.warnings == ()


def test_unknown_keys_are_problems_with_the_nearest_known_one():
    assert problems({"reader": READER, "writer": {**WRITER, "filebase": "x", "optoins": 1}, "filtr": KV, "Filter_After": KV,
                     "exporter_options": {"LOG_LEVEL": "DEBUG"}}) == [
        "writer.filebase: unknown key; it is an option, so write it below `options`",
        'writer.optoins: unknown key; did you mean "options"?',
        'filtr: unknown section; did you mean "filter"?; what is only for people begins with x-',
        'Filter_After: unknown section; did you mean "filter_after"?; what is only for people begins with x-',
        'exporter_options.LOG_LEVEL: unknown option; did you mean "log_level"?',
    ]  # fmt: skip


def test_sections_for_people_begin_with_x():
    assert spec_of({"x-mine": {"a": 1}, "x-": 1}).warnings == ()
    assert problems({"reader": READER, "writer": WRITER, "xmine": 1})[0].startswith("xmine: unknown section; ")


def test_configs_of_the_old_system_may_have_keys_that_it_did_not_look_at():
    """They ran; a slip of the pen is refused there too."""
    old = {"reader": READER, "writer": {"name": "exporters.writers.fs_writer.FSWriter", "options": WRITER["options"]}}
    told = [str(w) for w in load({**old, "owner": "us", "exporter_options": {"HISTORY": 1}}, environ={}).warnings]
    assert [text.partition(",")[0] for text in told] == [
        "owner: unknown section",
        "exporter_options.HISTORY: unknown option",
    ]
    assert problems({**old, "filter_befor": KV})[0].startswith('filter_befor: unknown section; did you mean "filter_before"')


# What YAML reads otherwise than it was meant


def yaml_spec(tmp_path, text, **variables):
    path = tmp_path / "c.yaml"
    path.write_text(f"reader: {{name: memory, options: {{records: []}}}}\n{text}")
    spec = load(path, environ={}, variables=variables)
    return spec, [str(warning).removeprefix(f"{path}:") for warning in spec.warnings]


FILES = "writer: {name: fs, options: {filebase: x}}\n"


@pytest.mark.parametrize("text", ["NO", "2024-01-01", "012", "12:30:45", "1_000", "1e3"])
def test_where_texts_are_compared_a_text_is_a_text_and_its_line_is_told(tmp_path, text):
    spec, told = yaml_spec(tmp_path, FILES + f"filter_before:\n  name: key_value\n  options:\n    keys:\n"
                                             f"      - {{name: a, value: {text}}}\n")  # fmt: skip
    assert spec.step("filter_before").component.keys == ({"name": "a", "value": text},)
    assert type(spec.step("filter_before").component.keys[0]["value"]) is str
    assert type(spec.step("filter_before").options["keys"][0]["value"]) is str
    assert len(told) == 1
    assert told[0].startswith(f"7:19: filter_before.options.keys[0].value: {text} is read as the text ")


def test_options_say_what_they_want(tmp_path):
    spec, told = yaml_spec(tmp_path, "writer:\n  name: fs\n"
                                     "  options: {filebase: 2024-01-01, generate_md5: yes, items_limit: 1_000}\n"
                                     "formatter: {name: csv, options: {fields: [NO, on, 012], show_titles: off}}\n"
                                     "label: NO\nstaging: 2024-01-01\n")  # fmt: skip
    writer = spec.writer.component
    assert (writer.filebase, writer.generate_md5, writer.items_limit) == ("2024-01-01", True, 1000)
    assert (spec.formatter.component.fields, spec.formatter.component.show_titles) == (("NO", "on", "012"), False)
    assert (spec.document["label"], spec.staging, told) == ("NO", "2024-01-01", [])
    assert {type(spec.document["label"]), type(spec.staging), type(writer.filebase)} == {str}


def test_a_number_that_can_be_read_as_two_is_told(tmp_path):
    spec, told = yaml_spec(tmp_path, "writer: {name: fs, options: {filebase: x, items_limit: 010}}\n")
    assert spec.writer.component.items_limit == 8
    assert told == ["2:43: writer.options.items_limit: 010 is read as the number 8; write 8"]


def test_variables_are_texts_and_still_what_an_option_wants(tmp_path):
    spec, told = yaml_spec(tmp_path, "vars: {land: NO, md5: yes, day: 2024-01-01, n: 1_0}\nwriter:\n  name: fs\n  options:\n"
                                     "    filebase: '${vars.land}/${vars.day}/'\n    generate_md5: ${vars.md5}\n"
                                     "    items_limit: ${vars.n}\n")  # fmt: skip
    writer = spec.writer.component
    assert (writer.filebase, writer.generate_md5, writer.items_limit) == ("NO/2024-01-01/", True, 10)
    assert [text.split(": ")[1] for text in told] == ["vars.land", "vars.md5", "vars.n"]


def test_parameters_are_given_as_they_stand(tmp_path):
    text = FILES + "parameters:\n  land: {enum: [NO, SE], optional: yes}\n  all: {type: boolean}\nvars: {land: NO, all: yes}\n"
    assert yaml_spec(tmp_path, text, land="NO")[0].staging is None
    with pytest.raises(ConfigError, match=r"parameters\.land: 'false' is not one of: NO, SE"):
        yaml_spec(tmp_path, text, land=False)


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1.0e+999"])
@pytest.mark.parametrize("place", ["on_error: {max_rate: %s}", "x-mine: {a: [%s]}", "vars: {a: %s}",
                                   "filter_before: {name: key_value, options: {keys: [{name: a, value: %s}]}}"])  # fmt: skip
def test_numbers_are_finite(tmp_path, number, place):
    with pytest.raises(ConfigError, match=r"is not a (finite )?number; write a number that is finite"):
        yaml_spec(tmp_path, FILES + place % number)


def test_what_is_no_number_in_yaml(tmp_path):
    with pytest.raises(ConfigError, match=r'on_error\.max_rate: wrong type: found the string "1e999", expected a number'):
        yaml_spec(tmp_path, FILES + "on_error: {max_rate: 1e999}")
    assert yaml_spec(tmp_path, FILES + "on_error: {max_rate: 1e-3}")[0].on_error.max_rate == 0.001


def test_numbers_of_json_and_of_mappings_are_finite(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"reader": READER, "writer": WRITER, "on_error": {"max_rate": 7}}).replace("7", "1e999"))
    assert problems(path)[0].endswith("on_error.max_rate: inf is not a finite number; write a number that is finite")
    path.write_text(json.dumps({"reader": READER, "writer": WRITER, "on_error": {"max_rate": float("nan")}}))
    assert "on_error.max_rate: " in problems(path)[0]
    assert problems({"reader": READER, "writer": WRITER, "on_error": {"max_rate": float("nan")}}) == [
        "on_error.max_rate: NaN is not a number; write a number that is finite"
    ]
    assert problems({"reader": READER, "writer": WRITER, "on_error": {"max_rate": True}}) == [
        "on_error.max_rate: wrong type: found true, expected a number"
    ]
    assert problems({"reader": READER, "writer": {"name": "fs", "options": {"filebase": "x", "items_limit": 2**64}}}) == [
        f"writer.options.items_limit: {2**64} is too large; the most is {2**63 - 1}"
    ]


@pytest.mark.parametrize("name", ["buckt", "s3.bucket", "filebase"])
def test_a_variable_that_nothing_declares_and_nothing_uses_is_refused(name):
    config = {"reader": READER, "writer": {"name": "fs", "options": {"filebase": "${vars.bucket}"}},
              "vars": {"bucket": "x", "s3": {"path": "y"}}, "parameters": {"day": {"optional": True}}}  # fmt: skip
    told = problems(config, day=1, **{name: "z"})
    assert [text.partition(";")[0] for text in told] == [f"vars.{name}: nothing uses this variable"]
    for good in ("bucket", "s3", "s3.path", "day"):
        assert load(config, variables={"day": 1, good: "z"}, environ={}).warnings == ()


def test_the_given_mapping_is_left_as_it_is_and_nothing_leaks_between_loads():
    config = {"reader": READER, "writer": WRITER, "vars": {"n": 1}, "exporter_options": {"log_level": "DEBUG"}}
    before = copy.deepcopy(config)
    first = load(config, environ={}, variables={"n": 2})
    assert config == before
    first.reader.component.records[0]["a"] = 99
    assert load(config, environ={}).reader.component.records == ({"a": 1},)
    assert load(config, environ={}) == load(config, environ={})
    assert load({"reader": READER, "writer": WRITER}, environ={}).settings.log_level == "INFO"


def test_a_spec_can_be_pickled_and_compared(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"reader": READER, "writer": WRITER}))
    spec = load(path, environ={})
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert str(spec.problem(("writer", "options"), "no")) == f"{path}:1:93: writer.options: no"


# Problems


def test_an_empty_config_lacks_reader_and_writer():
    assert problems({}) == [
        "reader: this section is missing; an export needs a reader and a writer",
        "writer: this section is missing; an export needs a reader and a writer",
    ]
    assert problems({"reader": None, "writer": WRITER})[0].startswith("reader: this section is missing")
    assert problems({"raeder": READER, "writer": WRITER}) == [
        'reader: this section is missing; did you misspell it as "raeder"?'
    ]


@pytest.mark.parametrize("section", ["", {}, {"options": {}}, {"name": None}, {"name": ""}])
def test_a_section_without_a_name(section):
    found = problems({"reader": section, "writer": WRITER})
    assert len(found) == 1
    assert found[0].startswith("reader: the name is missing; name one of: ")


@pytest.mark.parametrize(("section", "told"), [
    ([], "reader: wrong type: found a list, expected a mapping with name and options"),
    (1, "reader: wrong type: found 1, expected a mapping with name and options"),
    ({"name": 5}, "reader.name: wrong type: found 5, expected the name of a reader"),
    ({"name": "memory", "options": []}, "reader.options: wrong type: found a list, expected a mapping of options"),
    ({"name": "memroy"}, "reader.name: there is no reader called 'memroy'; did you mean \"memory\"?"),
    ({"name": "exporters.transform.NoTransform"},
     "reader.name: exporters.transform.NoTransform is a transform, not a reader"),
    ({"name": "exporters.readers.nope_reader.NopeReader"},
     "reader.name: there is no reader called 'exporters.readers.nope_reader.NopeReader'"),
    ({"name": "no_such_module:Reader"}, "reader.name: no_such_module:Reader cannot be imported: No module named"),
    ({"name": "test_spec:Nothing"}, "reader.name: the module test_spec has no class 'Nothing'"),
    ({"name": "test_spec:Shy"}, "reader.name: test_spec:Shy is a writer, not a reader"),
    ({"name": "json:JSONDecoder"}, "reader.name: json:JSONDecoder is not a component"),
])  # fmt: skip
def test_sections_that_cannot_be_made(section, told):
    found = problems({"reader": section, "writer": WRITER})
    assert len(found) == 1
    assert found[0].startswith(told)


def test_every_problem_at_once_in_the_order_of_the_document(tmp_path):
    path = tmp_path / "export.yaml"
    path.write_text("""\
writer:
  name: fs
  options:
    items_limit: "3"
    colour: red
filter:
  name: key_value
  options:
    keys: ["a"]
reader:
  name: fs
  options: {batch_size: 10.0}
exporter_options:
  threaded: 1
  notifications:
    - name: webhook
      options: {urls: []}
""")
    told = [problem.removeprefix(f"{path}:") for problem in problems(path)]
    assert [problem.partition(";")[0] for problem in told] == [
        "3:3: writer.options.filebase: this option is missing",
        '4:5: writer.options.items_limit: wrong type: found the string "3", expected an integer',
        "5:5: writer.options.colour: unknown option",
        '9:12: filter.options.keys[0]: wrong type: found the string "a", expected a mapping or a list of pairs',
        "12:3: reader.options.input: this option is missing",
        "12:13: reader.options.batch_size: wrong type: found the number 10.0, expected an integer",
        "14:3: exporter_options.threaded: wrong type: found the number 1, expected true or false",
        "17:17: exporter_options.notifications[0].options.urls: unknown option",
    ]


def test_stream_sections_need_a_stream_reader():
    random = {"reader": {"name": "random"}, "writer": WRITER}
    told = "this section goes with a stream reader (fs, …) only; random is none"
    assert problems({**random, "decompressor": {"name": "zlib"}, "deserializer": {"name": "jsonlines"}}) == [
        f"decompressor: {told}",
        f"deserializer: {told}",
    ]
    assert [p.partition(";")[0] for p in problems({**random, "deserializer": {}, "decompressor": {"name": "zlib"}})] == [
        "deserializer: the name is missing",
        "decompressor: this section goes with a stream reader (fs, …) only",
    ]
    assert load({**random, "decompressor": None}, environ={}).decompressor is None


def test_a_reader_that_cannot_be_found_is_no_reason_to_refuse_stream_sections():
    found = problems({"reader": {"name": "nope"}, "writer": WRITER, "decompressor": {"name": "zlib"}})
    assert [p.partition(":")[0] for p in found] == ["reader.name"]


def test_wrong_exporter_options():
    config = {"reader": READER, "writer": WRITER}
    assert problems({**config, "exporter_options": []}) == ["exporter_options: wrong type: found a list, expected a mapping"]
    assert problems({**config, "exporter_options": {"notifications": {}}}) == [
        "exporter_options.notifications: wrong type: found a mapping, expected a list of sections"
    ]
    found = problems({**config, "exporter_options": {"notifications": [{}, None], "formatter": {"options": {}}}})
    assert [p.partition(";")[0] for p in found] == [
        "exporter_options.notifications[0]: the name is missing",
        "exporter_options.notifications[1]: the name is missing",
        "exporter_options.formatter: the name is missing",
    ]
    assert problems({**config, "staging": 3, "runners": "x"}) == [
        "staging: wrong type: found 3, expected the path of a folder",
        'runners: wrong type: found "x", expected a mapping',
    ]


# Options


def test_options_of_every_type():
    made = picky(size=True, ratio=1, ids=["1", 2], names=["a", 3, True], rows=[{"a": 1}, [["b", 2]]], prefix=["x"])
    assert (made.size, made.ratio, made.ids, made.names) == (1, 1, (1, 2), ("a", "3", "true"))
    assert made.rows == ({"a": 1}, {"b": 2})
    assert made.prefix == ("x",)
    assert picky(size=None, mode=None, anything=None) == picky()
    assert picky(size=2**63 - 1).size == 2**63 - 1
    assert picky(anything={"deep": [1, None]}).anything == {"deep": [1, None]}


@pytest.mark.parametrize(("given", "told"), [
    ({"size": "10"}, 'size: wrong type: found the string "10", expected an integer; write it without quotes'),
    ({"size": 10.0}, "size: wrong type: found the number 10.0, expected an integer; write 10"),
    ({"size": {}}, "size: wrong type: found the mapping {}, expected an integer"),
    ({"size": 0}, "size: 0 is too small; the least is 1"),
    ({"size": 10**30}, f"size: {10**30} is too large; the most is {2**63 - 1}"),
    ({"ratio": True}, "ratio: wrong type: found true, expected a number"),
    ({"size": False}, "size: false is too small; the least is 1"),
    ({"ratio": "x"}, 'ratio: wrong type: found the string "x", expected a number'),
    ({"mode": "fats"}, 'mode: the string "fats" is not one of the choices; did you mean "fast"?'),
    ({"mode": 3}, "mode: wrong type: found the number 3, expected a string; put it in quotes"),
    ({"on": 1}, "on: wrong type: found the number 1, expected true or false"),
    ({"on": "true"}, 'on: wrong type: found the string "true", expected true or false; write it without quotes'),
    ({"ids": ["x"]}, 'ids[0]: wrong type: found the string "x", expected an integer'),
    ({"ids": 5}, "ids: wrong type: found the number 5, expected a list of integers"),
    ({"names": "a"}, 'names: wrong type: found the string "a", expected a list of strings; write ["a"]'),
    ({"names": {"a": 1}}, 'names: wrong type: found the mapping {"a": 1}, expected a list of strings'),
    ({"rows": ["a"]}, 'rows[0]: wrong type: found the string "a", expected a mapping or a list of pairs'),
    ({"prefix": 5}, "prefix: wrong type: found the number 5, expected a string or a list; put it in quotes"),
    ({"more": []}, "more: wrong type: found the list [], expected a mapping"),
    ({"siez": 5}, 'siez: unknown option; did you mean "size"?'),
    ({"keys": [{}, {"operator": ">"}]}, "keys[1].operator: '>' is no operator"),
])  # fmt: skip
def test_options_that_are_wrong(given, told):
    assert picky(**given) == [told]


def test_keys_that_are_no_text(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("2: x\nyes: y\nreader:\n  name: test_spec:Picky\n  options:\n    3: 4\nwriter: console\n")
    assert [p.partition(";")[0].removeprefix(f"{path}:") for p in problems(path, {"PICKY_KEY": "k"})] == [
        "1:1: 2: unknown section",
        "2:1: yes: unknown section",
        "6:5: reader.options.3: unknown option",
    ]


def test_long_values_are_cut():
    assert len(picky(size="x" * 5000)[0]) < 300
    assert len(picky(more="x" * 5000)[0]) < 300


def test_a_date_is_a_text(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("reader: {name: test_spec:Picky, options: {key: k, mode: 2020-01-02}}\nwriter: test_spec:Shy\n")
    assert problems(path)[0].endswith('the string "2020-01-02" is not one of the choices; known: fast, slow')


def test_what_a_component_says_itself():
    assert picky(size=13) == ["reader: it will not have this combination"]
    assert picky(size=14) == ["reader: cannot be made: RuntimeError: a mistake of the component's author"]


def test_an_option_from_the_environment(monkeypatch):
    told = ["key: this option is missing; give it here or in the environment variable PICKY_KEY"]
    assert picky(environ={"PICKY_KEY": "from outside"}).key == "from outside", "workers could not find it"
    monkeypatch.setenv("PICKY_KEY", "from outside")
    kept = picky(environ={"PICKY_KEY": "from outside"}).key
    assert kept == "${secret:env:PICKY_KEY}" and kept.resolve({"PICKY_KEY": "from outside"}) == "from outside"
    assert picky(environ={"PICKY_KEY": "from outside"}, key="from inside").key == "from inside"
    assert picky(environ={"PICKY_KEY": "from outside"}, key=None).key == kept
    assert picky(environ={}) == told
    assert picky(environ={"PICKY_KEY": ""}) == told
    assert picky(environ={}, size=0)[0] == told[0]


def test_the_value_of_a_secret_option_is_in_no_message():
    for value in (12345678, ["canary12345678"], {"canary12345678": 1}):
        assert "12345678" not in picky(key=value)[0]
        assert picky(key=value)[0].startswith("key: wrong type: found a ")


# Variables and secrets


def test_references_are_replaced_before_options_are_checked():
    config = {
        "vars": {"n": 5, "base": "out/${env:DAY}/x-"},
        "env": ["DAY"],
        "reader": {"name": "random", "options": {"number_of_items": "${vars.n}"}},
        "writer": {"name": "${vars.writer}", "options": {"filebase": "${vars.base}"}},
    }
    spec = load(config, environ={"DAY": "mon"}, variables={"writer": "fs"})
    assert spec.reader.component.number_of_items == 5
    assert spec.writer.component.filebase == "out/mon/x-"
    assert spec.writer.options == {"filebase": "out/mon/x-"}


def test_a_reference_that_cannot_be_replaced_is_the_only_thing_told_about_its_option():
    config = {
        "reader": {"name": "random", "options": {"number_of_items": "${vars.n}", "batch_size": "x"}},
        "writer": WRITER,
    }
    assert [p.partition(";")[0] for p in problems(config)] == [
        "reader.options.number_of_items: there is no variable vars.n",
        'reader.options.batch_size: wrong type: found the string "x", expected an integer',
    ]
    assert problems({"reader": {"name": "${vars.r}"}, "writer": "${vars.w}"}) == [
        "reader.name: there is no variable vars.r",
        "writer: there is no variable vars.w",
    ]
    config = {"reader": {"name": "random", "options": "${vars.o}"}, "writer": WRITER, "exporter_options": "${vars.e}"}
    assert problems(config) == [
        "reader.options: there is no variable vars.o",
        "exporter_options: there is no variable vars.e",
    ]


def test_secrets_are_references_in_spec_component_and_messages():
    reader = {"name": "test_spec:Picky", "options": {"key": "${secret:env:PW}", "names": ["x-${secret:env:PW}"]}}
    spec = load({"reader": reader, "writer": WRITER}, environ={"PW": "canary"})
    assert spec.reader.component.key == "${secret:env:PW}"
    assert isinstance(spec.reader.component.key, Secret)
    assert isinstance(spec.reader.component.names[0], Secret)
    assert b"canary" not in pickle.dumps(spec)
    assert "canary" not in f"{spec!r} {spec.document}"


def test_a_secret_is_text_and_nothing_else():
    assert picky(size="${secret:env:N}") == ["size: wrong type: found the secret ${secret:env:N}, expected an integer"]
    assert picky(names="${secret:env:N}")[0].startswith("names: wrong type: found the secret ${secret:env:N}")


def test_the_document_for_logs_and_mails_holds_no_secret():
    reader = {"name": "test_spec:Picky", "options": {"key": "canary", "more": {"ssl_password": "canary", "retries": 3}}}
    hook = {"name": "webhook", "options": {"endpoints": ["https://me:canary@host/x"]}}
    config = {
        "vars": {"pw": "canary"},
        "reader": reader,
        "writer": WRITER,
        "exporter_options": {"notifications": [hook]},
    }
    document = load(config, environ={}).document
    assert "canary" not in json.dumps(document)
    assert document["writer"] == WRITER
    assert document["reader"]["options"]["more"] == {"ssl_password": "********", "retries": 3}
    assert document["exporter_options"]["notifications"][0]["options"]["endpoints"] == ["https://********@host/x"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "fs", "none", "${vars.n}", "${", "x"]),
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "options", "filebase", "records", "n", "x"]), v, max_size=3)
        | st.dictionaries(st.sampled_from(["filter", "transform", "as", "on_error"]), v, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [*SECTIONS, "steps", "exporter_options", "vars", "env", "staging", "runners", "label", "other"]


@settings(max_examples=at_least(150), deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES | st.fixed_dictionaries({"name": st.sampled_from(
    ["memory", "random", "console", "fs", "webhook"]), "options": VALUES}), max_size=5))  # fmt: skip
def test_whatever_a_config_holds_it_loads_or_its_problems_are_told(config):
    try:
        load({"reader": "random", "writer": "console", **config}, environ={})
    except ConfigError as error:
        assert error.problems
        assert all(str(problem) for problem in error.problems)
