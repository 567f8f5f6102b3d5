"""The JSON Schema of whole documents, and its agreement with what loading accepts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

import exporters_beam
from exporters_beam.components import registry
from exporters_beam.components.words import expected
from exporters_beam.config.schema import document_schema, to_text
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.reporting import reference

SHIPPED = Path(exporters_beam.__file__).parent / "schema.json"
READER = {"name": "random", "options": {"number_of_items": 3}}
WRITER = {"name": "fs", "options": {"filebase": "out/part-"}}


@pytest.fixture(scope="module")
def validator():
    schema = document_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_shipped_schema_is_up_to_date():
    told = "run: python -m exporters_beam schema > exporters_beam/schema.json"
    assert SHIPPED.read_text(encoding="utf-8") == to_text(document_schema()), told


def test_the_schema_is_the_same_each_time_and_plain_json():
    assert to_text(document_schema()) == to_text(document_schema())
    assert json.loads(to_text(document_schema())) == document_schema()


VALID = [
    {"reader": READER, "writer": WRITER},
    {"reader": "random", "writer": "console"},
    {"reader": {"name": "exporters.readers.random_reader.RandomReader", "options": None}, "writer": WRITER},
    {"reader": READER, "writer": {"name": "exporters.writers.FSWriter", "options": {"filebase": "x"}}},
    {"reader": {"name": "random", "options": {"batch_size": True}}, "writer": WRITER},
    {"reader": READER, "writer": WRITER, "transform": None, "grouper": None, "exporter_options": None, "label": "mine"},
    {"reader": {"name": "random", "options": {"number_of_items": "${vars.n}"}}, "writer": WRITER, "vars": {"n": 3}},
    {"reader": "${vars.r}", "writer": WRITER, "vars": {"r": READER}},
    {"reader": {"name": "random", "options": "${vars.o}"}, "writer": WRITER, "vars": {"o": {"batch_size": 1}}},
    {"reader": READER, "writer": WRITER, "x-mine": 1, "exporter_options": {"thread_queue_size": 3}},
    {"reader": READER, "writer": WRITER, "exporter_options": {
        "formatter": "json", "notifications": [{"name": "webhook", "options": {"endpoints": ["http://x"]}}]}},
    {"reader": READER, "writer": WRITER, "persistence": {"name": "pickle", "options": {"file_path": "/tmp"}},
     "stats_manager": {"name": "exporters.stats_managers.LoggingStatsManager"}},
    {"reader": READER, "writer": WRITER, "vars": {"t": "integer"}, "transform": {"name": "fields", "options": {
        "types": {"a": "${vars.t}", "b": {"type": "date", "format": ["iso"]}}, "mask": {"c": 4, "d": {"with": "x"}},
        "hash": {"e": "sha256"}, "rename": {"f": "g"}, "flatten": {"separator": "."}}}},
]  # fmt: skip

WRONG = [
    {},
    {"reader": READER},
    {"reader": None, "writer": WRITER},
    {"reader": {}, "writer": WRITER},
    {"reader": {"name": "randon"}, "writer": WRITER},
    {"reader": "fs", "writer": WRITER},
    {"reader": {"name": "exporters.writers.FSWriter"}, "writer": WRITER},
    {"reader": {"name": "random", "options": {"number_of_items": "3"}}, "writer": WRITER},
    {"reader": {"name": "exporters.readers.RandomReader", "options": {"numbr_of_items": 3}}, "writer": WRITER},
    {"reader": READER, "writer": {"name": "fs", "options": {}}},
    {"reader": READER, "writer": {"name": "fs"}},
    {"reader": READER, "writer": {"name": "fs", "options": {"filebase": "x", "items_limit": -1}}},
    {"reader": READER, "writer": WRITER, "exporter_options": {"threaded": 1}},
    {
        "reader": READER,
        "writer": WRITER,
        "exporter_options": {"notifications": [{"name": "webhook", "options": {"urls": []}}]},
    },
    {"reader": READER, "writer": WRITER, "exporter_options": {"formatter": {"options": {}}}},
    {"reader": READER, "writer": WRITER, "staging": 3},
    {"reader": READER, "writer": WRITER, "unknown": 1},
    {"reader": READER, "writer": {**WRITER, "filebase": "x"}},
    {"reader": READER, "writer": WRITER, "exporter_options": {"LOG_LEVEL": "x"}},
    {"reader": READER, "writer": WRITER, "on_error": {"max_rate": True}},
    *(
        {"reader": READER, "writer": WRITER, "transform": {"name": "fields", "options": options}}
        for options in (
            {"types": {"a": "int"}},
            {"types": {"a": {"type": "date", "formt": "iso"}}},
            {"types": {"a": {"format": "iso"}}},
            {"mask": {"a": -1}},
            {"mask": {"a": {"keep": 1}}},
            {"hash": {"a": "md5"}},
            {"rename": {"a": 5}},
            {"flatten": {"seperator": "."}},
        )
    ),
]


@pytest.mark.parametrize("config", VALID, ids=range(len(VALID)))
def test_what_loads_is_valid(validator, config):
    assert [error.message for error in validator.iter_errors(config)] == []
    load(config, environ={})


@pytest.mark.parametrize("config", WRONG, ids=range(len(WRONG)))
def test_what_does_not_load_is_not_valid(validator, config):
    assert not validator.is_valid(config)
    with pytest.raises(ConfigError):
        load(config, environ={})


def test_every_name_of_every_component_is_known(validator):
    for entry in registry.ENTRIES:
        assert validator.schema["$defs"][f"{entry.kind}.{entry.name}"]["type"] == "object"
        if entry.kind == "write_buffer":  # an option of writers, not a section
            continue
        for name in (entry.name, *entry.legacy):
            section = Draft202012Validator({**validator.schema["$defs"][entry.kind], "$defs": validator.schema["$defs"]})
            misspelt = {"name": name, "options": {"no_such_option": 1}}
            assert not section.is_valid(misspelt), name


def test_the_example_of_every_component_is_valid_and_loads(validator):
    """Examples are sections; together with a reader and a writer they are configs."""
    for entry in registry.ENTRIES:
        _, example = reference.docstring(registry.load(entry))
        if not example:
            continue
        config = {"reader": {"name": "fs", "options": {"input": "x"}}, "writer": WRITER, **yaml.safe_load(example)}
        assert [error.message for error in validator.iter_errors(config)] == [], f"{entry.kind} {entry.name}"
        load(config, environ={"EXPORTERS_MAIL_FROM": "a@b"})


def test_components_of_ones_own_are_valid(validator):
    config = {"reader": {"name": "my_package.readers:Mine", "options": {"any": 1}}, "writer": "my_package:Theirs"}
    assert validator.is_valid(config)


def test_defaults_of_secrets_are_not_in_the_schema(validator):
    assert "default" not in validator.schema["$defs"]["persistence.sqlite"]["properties"]["password"]


def test_expected_types_in_words():
    assert expected("int") == "an integer"
    assert expected("str|list") == "a string or a list"
