"""Schemas in configs: read right, whatever stands inside what, or refused with their place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.errors import ConfigError
from exporters_beam.formats.tables import types as schemas
from exporters_beam.formats.tables.given import flat
from exporters_beam.formats.tables.given import given as read_schema

from examples import at_least

INNER = {"type": "record", "name": "Place", "fields": [{"name": "town", "type": {"type": "string"}}]}


def types_of(schema: Any, form: str = "avro") -> dict[str, Any]:
    return {f.name: schemas._plain(f.slot.type) for f in read_schema(schema, form).fields}


def test_types_inside_types_of_avro() -> None:
    fields = [
        {"name": "a", "type": {"type": "long"}},
        {"name": "b", "type": {"type": {"type": {"type": "int", "logicalType": "date"}}}},
        {"name": "c", "type": {"type": INNER}},
        {"name": "d", "type": {"type": ["null", {"type": "string"}]}},
        {"name": "e", "type": ["null", {"type": {"type": "array", "items": {"type": "Place"}}}]},
        {"name": "f", "type": [{"type": "null"}, "double"]},
    ]
    for schema in (
        {"type": "record", "name": "R", "fields": fields},
        {"type": {"type": "record", "name": "R", "fields": fields}},
    ):
        found = read_schema(schema, "avro")
        place = schemas.Struct((schemas.Field("town", schemas.Slot(schemas.STRING, None)),))
        assert [f.slot for f in found.fields] == [
            schemas.Slot(schemas.Scalar("int64"), None),
            schemas.Slot(schemas.Scalar("date"), None),
            schemas.Slot(place, None),
            schemas.Slot(schemas.STRING, 0),
            schemas.Slot(schemas.ListOf(schemas.Slot(place, None)), 0),
            schemas.Slot(schemas.FLOAT, 0),
        ]


def test_a_file_is_written_with_types_inside_types(tmp_path: Path) -> None:
    (tmp_path / "in.jl").write_text('{"a": 1, "c": {"town": "Bern"}, "d": "x"}\n{"a": 2, "c": {"town": "Biel"}}\n')
    fields = [{"name": "a", "type": {"type": "long"}}, {"name": "c", "type": {"type": INNER}},
              {"name": "d", "type": {"type": ["null", "string"]}}]  # fmt: skip
    schema = {"type": {"type": "record", "name": "R", "fields": fields}}
    exporters_beam.run(
        {
            "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
            "formatter": {"name": "avro", "options": {"schema": schema}},
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/p"}},
        }
    )
    assert list(fastavro.reader(io.BytesIO((tmp_path / "out/p0000.avro").read_bytes()))) == [
        {"a": 1, "c": {"town": "Bern"}, "d": "x"},
        {"a": 2, "c": {"town": "Biel"}, "d": None},
    ]


def test_references_of_a_json_schema() -> None:
    schema = {
        "$ref": "#/definitions/shop",
        "definitions": {
            "shop": {
                "properties": {
                    "a": {"allOf": [{"$ref": "#/definitions/a~1b%20c"}]},
                    "b": {"anyOf": [{"type": "null"}, {"$ref": "#/definitions/list/0"}]},
                }
            },
            "a/b c": {"type": "integer"},
            "list": [{"type": "array", "items": {"$ref": "#/definitions/a~1b%20c"}}],
        },
    }
    assert types_of(schema) == {"a": "int64", "b": {"list": {"slot": "int64", "null": None}}}


ENUM = {"type": "enum", "name": "E"}

WRONG = [
    ({"properties": {"x": {"type": {"type": "string"}}}}, "properties.x.type", "types are the texts string"),
    ({"properties": {"x": {"type": ["null", {"type": "string"}]}}}, "properties.x.type", "there is no type {"),
    ({"properties": {"x": {"type": "strng"}}}, "properties.x.type", 'did you mean "string"?'),
    ({"properties": {"x": {"type": 5}}}, "properties.x.type", "there is no type 5"),
    ({"properties": {"x": {"type": ["string", "integer"]}}}, "properties.x.type", "it has integer, string"),
    ({"properties": {"x": True}}, "properties.x", "a JSON Schema is an object, not true"),
    ({"properties": {"x": {"type": "array", "items": [{"type": "string"}]}}}, "properties.x.items", "is an object, not ["),
    ({"properties": {"x": {"properties": ["a"]}}}, "properties.x.properties", "properties are an object, not"),
    ({"properties": ["a"]}, "properties", "properties are an object"),
    ({"properties": {"x": {"properties": {"y": {"type": "integer"}}, "required": "y"}}}, "properties.x.required", "a list"),
    ({"properties": {"x": {"anyOf": {"type": "string"}}}}, "properties.x.anyOf", "it is a list of JSON Schemas"),
    ({"properties": {"x": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}}, "properties.x.anyOf", "has 2 types"),
    ({"properties": {"x": {"$ref": 5}}}, "properties.x.$ref", "5 is not found"),
    ({"properties": {"x": {"$ref": "#/definitions/y"}}}, "properties.x.$ref", "is not found"),
    ({"properties": {"x": {"$ref": "#"}}}, "properties.x.$ref", "refers to itself"),
    ({"properties": {"x": {"$ref": "#/$defs/y"}}, "$defs": {"y": {"type": "array", "items": {"$ref": "#/$defs/y"}}}},
     "$defs.y.items.$ref", "refers to itself"),
    ({"properties": {"x": {"$ref": "#/$defs/y"}}, "$defs": {"y": {"type": "nope"}}}, "$defs.y.type", "there is no type"),
    ({"properties": {"x": {"arrow": {"type": "int32"}}}}, "properties.x.arrow", "there is no Arrow type {"),
    ({"properties": {"x": {"type": "string", "format": {"a": 1}}, "y": {"type": "object"}}}, "properties.y", "an object needs"),
    ({"fields": {"name": "x"}}, "fields", "the fields of this record are a list"),
    ({"fields": [{"name": "x", "type": "record", "fields": []}]}, "fields[0].type", "stand in an object of their own"),
    ({"fields": [{"name": "x", "type": {"type": {"type": "lng"}}}]}, "fields[0].type.type.type", "no Avro type"),
    ({"fields": [{"name": "x", "type": "lng"}]}, "fields[0].type", 'did you mean "long"?'),
    ({"fields": [{"name": "x", "type": 5}]}, "fields[0].type", "not 5"),
    ({"fields": [{"name": "x", "type": {"type": "array"}}]}, "fields[0].type", 'has no "items"'),
    ({"fields": [{"name": "x", "type": {**ENUM, "symbols": "ab"}}]}, "fields[0].type.symbols", "are a list"),
    ({"fields": [{"name": "x", "type": {**ENUM, "symbols": ["a", "a"]}}]}, "fields[0].type.symbols[1]", "twice"),
    ({"fields": [{"name": "x", "type": {**ENUM, "symbols": [{}]}}]}, "fields[0].type.symbols[0]", "not a symbol"),
    ({"fields": [{"name": "x", "type": {"type": "fixed", "name": "F", "size": "8"}}]}, "fields[0].type.size", "of bytes"),
    ({"fields": [{"name": "x", "type": ["null", ["string"]]}]}, "fields[0].type[1]", "a union holds no union"),
    ({"fields": [{"name": "x", "type": ["string", "null", {"type": "string"}]}]}, "fields[0].type[2]", "twice"),
    ({"fields": [{"name": "x", "type": "int"}, {"name": "x", "type": "int"}]}, "fields[1]", "two fields called x"),
    ({"fields": [{"name": "x", "type": INNER}, {"name": "y", "type": INNER}]}, "fields[1].type", "two types called Place"),
    ({"name": "R", "fields": [{"name": "x", "type": {"type": "array", "items": "R"}}]}, "fields[0].type.items", "to itself"),
    ({"name": {"a": 1}, "fields": [{"name": "x", "type": "int"}]}, "name", "is not a valid name for Avro's record"),
    ({"fields": [{"name": "x", "type": {"type": "record", "fields": []}}]}, "fields[0].type",
     "is not a valid name for Avro's record"),
    ({"fields": [{"name": "x", "type": {"type": "bytes", "logicalType": "decimal", "precision": "9"}}]}, "fields[0].type",
     "needs a precision"),
    ({"fields": [{"name": "x", "type": "long", "default": [1]}]}, "fields[0].default", "is not an integer"),
    ({"fields": [{"name": "x"}]}, "fields[0]", 'has "name" and "type"'),
    ({"fields": ["x"]}, "fields[0]", 'has "name" and "type"'),
    ({"type": "array", "items": "int"}, "", "give a JSON Schema that has"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "place", "words"), WRONG)
@pytest.mark.parametrize("form", ["parquet", "avro"])
def test_a_wrong_schema_is_told_with_its_place(schema: Any, place: str, words: str, form: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_schema(schema, form)
    text = str(caught.value)
    assert text.startswith(f"schema.{place}: " if place else "schema: ") and words in text


def test_the_line_is_that_of_the_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("""\
reader: {name: fs, options: {input: in.jl}}
writer: {name: fs, options: {filebase: out/p}}
formatter:
  name: parquet
  options:
    schema:
      properties:
        id: {type: integer}
        name:
          type: {type: string}
""")
    assert main(["validate", str(tmp_path / "c.yaml")]) == 2
    assert "c.yaml:10:" in (told := capsys.readouterr().err) and "formatter.options.schema.properties.name.type: " in told


def test_deep_schemas() -> None:
    node: Any = {"type": "integer"}
    avro: Any = "int"
    for _ in range(2000):
        node, avro = {"type": "array", "items": node}, {"type": "array", "items": avro}
    for schema in ({"properties": {"a": node}}, {"fields": [{"name": "a", "type": avro}]}):
        with pytest.raises(ConfigError, match="nested deeper than 50 levels"):
            read_schema(schema, "avro")


WORDS = ["type", "properties", "items", "fields", "name", "symbols", "size", "values", "$ref", "anyOf", "required", "arrow",
         "namespace", "logicalType", "precision", "scale", "default", "format", "additionalProperties",
         "contentMediaType"]  # fmt: skip
VALUES = st.sampled_from(["string", "integer", "null", "record", "array", "map", "enum", "fixed", "int", "long", "R", "a", "#",
                          "#/properties/a", "decimal", "date", "date-time", "bytes", "a.b", ""])  # fmt: skip
NODES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 99) | VALUES | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*WORDS, "a", "b"]), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=at_least(400), deadline=None)
@example(node={"type": [], "name": None}, form="avro")
@example(node={"type": [], "fields": [0.0], "name": None}, form="avro")
@given(node=NODES, form=st.sampled_from(["parquet", "avro"]))
def test_no_schema_ends_in_anything_but_a_sentence(node: Any, form: str) -> None:
    for schema in (node, {"properties": node}, {"fields": node}, {"properties": {"a": node}},
                   {"name": "R", "fields": [{"name": "a", "type": node}]}):  # fmt: skip
        try:
            read_schema(schema, form)
        except ConfigError as error:
            assert str(error).startswith("schema")
        else:
            if "fields" in schema:
                fastavro.parse_schema({"type": "record", "name": "R", **flat(schema)})
