"""What a config may hold, and JSON Schema, both ways: what is wrong with a section's options, in sentences, and the
schema of whole documents.

Both derive from the options that components declare. The whole-document schema is for editors; loading checks each
section's options against `options.schema_of` of its component.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from exporters_beam.components import registry, words
from exporters_beam.components.options import REQUIRED, Option, options_of, schema_of
from exporters_beam.components.secret import Secret
from exporters_beam.config.bundle import Bundle
from exporters_beam.config.cases import TESTS, CaseOptions, ExpectedFailure
from exporters_beam.config.checks import Checks
from exporters_beam.config.contract import ENTRY as CONTRACT
from exporters_beam.config.delta import DELTA, Delta
from exporters_beam.config.document import Path
from exporters_beam.config.done import Done
from exporters_beam.config.encrypt import Encrypt
from exporters_beam.config.new_only import DELETE, KEEP, After, Follow, NewOnly
from exporters_beam.config.on_error import ACTIONS, DESERIALIZER, FORMATTER, GROUPER, WRITER, OnErrorOptions
from exporters_beam.config.sections import (
    AFTER,
    EMPTY,
    FOLLOW,
    LABELS,
    NEW_ONLY,
    OWN_STEPS,
    PARTITION_BY,
    SECTIONS,
    STEP_KINDS,
    STEP_NAME,
    Settings,
)
from exporters_beam.config.statistics import Statistics
from exporters_beam.config.table import KINDS as TABLES
from exporters_beam.config.window import WINDOW, Window
from exporters_beam.records import Json


def faults(component: type, given: Mapping[str, object], environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """(way to the value inside `given`, what is wrong with it), in no particular order."""
    declared = {o.name: o for o in options_of(component)}
    for name in given:
        if name not in declared:
            hint = words.did_you_mean(str(name), list(declared)) or "; there are no options here"
            yield (str(name),), f"unknown option{hint}"
    for o in declared.values():
        if o.required and o.name not in given:
            yield (o.name,), "this option is missing"
        elif o.env and o.default is REQUIRED and given.get(o.name) is None and not o.variable(environ):
            yield (o.name,), f"this option is missing; give it here or in the environment variable {o.env}"
    told: set[Path] = set()
    for o in declared.values():
        value = given.get(o.name)
        if o.type == "number" and isinstance(value, bool):
            told.add((o.name,))
            yield (o.name,), f"wrong type: found {_found(value, o)}, expected {words.expected(o.type)}"
    for error in _validator()(schema_of(component)).iter_errors(dict(given)):
        path = tuple(error.absolute_path)
        if path and path not in told:  # without a path: missing and unknown ones, which are told above
            told.add(path)
            yield path, _sentence(error, declared[path[0]], path)


@lru_cache(maxsize=1)
def _validator() -> Any:
    """jsonschema's validator with types as they were: 10.0 is not an integer, and booleans are 0 and 1."""
    from jsonschema import validators

    extend: Any = validators.extend
    checker = validators.Draft202012Validator.TYPE_CHECKER.redefine_many({
        "integer": lambda _, value: isinstance(value, int),
        "number": lambda _, value: isinstance(value, (int, float)),
        "string": lambda _, value: isinstance(value, str),
        "object": lambda _, value: isinstance(value, Mapping),
        "array": lambda _, value: isinstance(value, (list, tuple)),
    })  # fmt: skip
    return extend(validators.Draft202012Validator, type_checker=checker)


def _sentence(error: Any, option: Option, path: Path) -> str:
    value = error.instance
    if error.validator == "minimum":
        return f"{_value(value, option)} is too small; the least is {error.validator_value}"
    if error.validator == "maximum":
        return f"{_value(value, option)} is too large; the most is {error.validator_value}"
    if error.validator == "enum":
        choices = [str(choice) for choice in option.choices or ()]
        hint = words.did_you_mean(value, choices) if isinstance(value, str) else f"; known: {', '.join(choices)}"
        return f"{_found(value, option)} is not one of the choices{hint}"
    if len(path) > 1:
        members = {
            "str_list": "a string or a number",
            "int_list": "an integer",
            "dict_list": "a mapping or a list of pairs",
        }
        wanted = " or ".join(members[kind] for kind in option.type.split("|") if kind in members)
    else:
        wanted = words.expected(option.type)
    return f"wrong type: found {_found(value, option)}, expected {wanted}{_remedy(value, option)}"


def _found(value: object, option: Option) -> str:
    if value is None or isinstance(value, bool):
        return _value(value, option)
    if isinstance(value, Secret):
        return f"the secret {value}"
    kind = words.kind_of(value)
    return kind if option.secret else f"the {kind.removeprefix('a ')} {_value(value, option)}"


def _value(value: object, option: Option) -> str:
    if option.secret and value is not None:
        return "the value"
    return words.in_json(value, 200)


def _remedy(value: object, option: Option) -> str:
    """The end of a sentence about a wrong type, where it is clear what was meant."""
    kinds = option.type.split("|")
    if isinstance(value, Secret) or option.secret:
        return ""
    if isinstance(value, float) and value.is_integer() and "int" in kinds:
        return f"; write {value:.0f}"
    if isinstance(value, str):
        try:
            meant = json.loads(value)
        except ValueError:
            meant = None
        if (isinstance(meant, int) and "int" in kinds) or (isinstance(meant, bool) and "bool" in kinds):
            return "; write it without quotes"
        if "str_list" in kinds:
            return f"; write {json.dumps([value], ensure_ascii=False)}" if len(value) < 100 else ""
    elif "str" in kinds and not isinstance(value, (Mapping, list, tuple, type(None))):
        return "; put it in quotes"
    return ""


_FAILING = {DESERIALIZER, *STEP_KINDS, GROUPER, FORMATTER, WRITER}
"""Kinds of components that a record can fail at."""

_REFERENCE = {"type": "string", "pattern": r"^\$\{"}

_OWN = {"type": "string", "pattern": "^[^:]+:[^:]+$", "description": "a component of your own, package.module:Class"}


def document_schema(entries: Iterable[registry.Entry] = registry.ENTRIES) -> Json:
    """The JSON Schema (2020-12) of a config. Imports every component; raises ConfigError where one cannot be."""
    found = [(entry, registry.load(entry)) for entry in entries]
    kinds = dict.fromkeys(kind for kind in SECTIONS.values())
    definitions: Json = {kind: _section(kind, found) for kind in (*kinds, "notification")}
    for entry, component in found:
        definitions[f"{entry.kind}.{entry.name}"] = _options(component)
    settings = _options(Settings)
    settings["properties"] |= {
        "formatter": _optional("formatter"),
        "notifications": _or_reference({"type": ["array", "null"], "items": {"$ref": "#/$defs/notification"}}),
    }
    properties: Json = {name: _optional(kind, name in ("filter", *OWN_STEPS)) for name, kind in SECTIONS.items()}
    properties |= {"reader": {"$ref": "#/$defs/reader"}, "writer": {"$ref": "#/$defs/writer"}}
    properties |= {
        "steps": _or_reference(
            {
                "description": "filters and transforms in the order in which records pass them",
                "type": ["array", "null"],
                "items": _step(),
            }
        ),
        PARTITION_BY: {
            "description": "fields whose values name folders, or the options of the grouper partition",
            "anyOf": [{"$ref": "#/$defs/grouper.partition"}, {"type": ["array", "null"]}, _REFERENCE],
        },
        "checks": {"anyOf": [_options(Checks), {"type": "null"}, _REFERENCE]},
        "contract": {"anyOf": [_options(registry.load(CONTRACT)), {"type": "null"}, _REFERENCE]},
        "statistics": {
            "description": "statistics of fields: true for all, a list of fields, or options",
            "anyOf": [
                _options(Statistics),
                {"type": ["boolean", "null"]},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                _REFERENCE,
            ],
        },
        DELTA: {"anyOf": [_options(Delta), {"type": "null"}, _REFERENCE]},
        WINDOW: {"anyOf": [_options(Window), {"type": "null"}, _REFERENCE]},
        "done": {"anyOf": [_options(Done), {"type": "null"}, _REFERENCE]},
        "bundle": {"anyOf": [_options(Bundle), {"type": "null"}, _REFERENCE]},
        "encrypt": {"anyOf": [_options(Encrypt), {"type": "null"}, _REFERENCE]},
        "table": {
            "description": "the table of Iceberg or of Delta Lake that gets the delivered files",
            "anyOf": [_tables(), {"type": "null"}, _REFERENCE],
        },
        NEW_ONLY: {
            "description": "each run reads only what is new since the one before",
            "anyOf": [_options(NewOnly), {"type": ["boolean", "null"]}, _REFERENCE],
        },
        AFTER: {
            "description": "what becomes of what was read when it is delivered",
            "anyOf": [{"enum": [KEEP, DELETE, None]}, _options(After), _REFERENCE],
        },
        FOLLOW: {"anyOf": [_options(Follow), {"type": "null"}, _REFERENCE]},
        "writers": _or_reference(
            {
                "description": "writers that all get the records that are read once; in the place of `writer`",
                "type": ["array", "null"],
                "minItems": 1,
                "items": _writer(definitions["writer"]),
            }
        ),
        "exporter_options": {"anyOf": [settings, {"type": "null"}, _REFERENCE]},
        "on_error": {"anyOf": [{"enum": [*ACTIONS, None]}, _options(OnErrorOptions), _REFERENCE]},
        "empty": {
            "description": "what is delivered where there are no records: nothing, or one file without any",
            "enum": [*EMPTY, None],
        },
        "vars": {"description": "values for ${vars.name}", "type": ["object", "null"]},
        "env": {
            "description": "names of environment variables that ${env:NAME} may read",
            "type": ["array", "null"],
            "items": {"type": "string"},
        },
        "parameters": {
            "description": "what the variables are for: label, help, type, regexes, enum, optional",
            "type": ["object", "null"],
        },
        "staging": {"description": "folder for staged files and the manifest", "type": ["string", "null"]},
        "runners": _or_reference({"description": "options of Beam's runners, by runner", "type": ["object", "null"]}),
        TESTS: {
            "description": "records for the steps and what is expected of them, or the name of a file with such tests",
            "anyOf": [{"type": "array", "items": _test()}, {"type": ["string", "null"]}],
        },
        **{name: {"description": "for people; it changes nothing"} for name in LABELS},
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An export of exporters-beam",
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": {"description": "for people; it changes nothing"}},
        "additionalProperties": False,
        "required": ["reader"],
        "oneOf": [{"required": ["writer"]}, {"required": ["writers"]}],
        "if": {"properties": {"steps": {"type": "array"}}, "required": ["steps"]},
        "then": {"properties": {name: {"type": "null"} for name in ("filter", *OWN_STEPS)}},
        "$defs": definitions,
    }
    plain: Json = json.loads(json.dumps(document))  # lists where options have tuples
    return plain


def _step() -> Json:
    """A member of the list `steps`."""
    return {
        "type": "object",
        "properties": {
            **{kind: {"$ref": f"#/$defs/{kind}"} for kind in STEP_KINDS},
            "as": {
                "description": "what the step is called; by default filter_1, transform_2 and so on by its place",
                "anyOf": [{"type": ["string", "null"], "pattern": f"^{STEP_NAME}$"}, _REFERENCE],
            },
            "on_error": {"enum": [*ACTIONS, None]},
        },
        "additionalProperties": False,
        "oneOf": [{"required": [kind]} for kind in STEP_KINDS],
    }


def _test() -> Json:
    """A member of the list `tests`."""
    schema = schema_of(CaseOptions)
    records: Json = {"type": "array", "items": {"type": "object"}}
    count: Json = {"type": "integer", "minimum": 0}
    schema["properties"]["given"]["items"] = schema["properties"]["expect"]["items"] = records["items"]
    schema["properties"]["failed"]["items"] = schema_of(ExpectedFailure)
    schema["properties"]["dropped"]["additionalProperties"] = count
    schema["properties"]["groups"]["additionalProperties"] = {"anyOf": [count, records]}
    for name in ("env", "secrets"):
        schema["properties"][name]["additionalProperties"] = {"type": "string"}
    return schema


def _writer(section: Json) -> Json:
    """A member of the list `writers`: the section `writer`, and what is this writer's alone."""
    own = {
        "as": {"description": "what the writer is called; by default by its component", "type": ["string", "null"]},
        "when": {"description": "an expression: the records for which it is true go there", "type": ["string", "null"]},
        "fields": {"description": "what becomes of them: options of the transform fields", "type": ["object", "null"]},
        "formatter": _optional("formatter"),
        "grouper": _optional("grouper"),
        PARTITION_BY: {"$ref": f"#/properties/{PARTITION_BY}"},
        "done": {"$ref": "#/properties/done"},
        "bundle": {"$ref": "#/properties/bundle"},
        "encrypt": {"$ref": "#/properties/encrypt"},
        "table": {"$ref": "#/properties/table"},
    }
    mapping = {**section["else"], "properties": {**section["else"]["properties"], **own}}
    return {**section, "else": mapping}


def _tables() -> Json:
    """A mapping with one kind of table."""
    kinds = {name: {"anyOf": [_options(kind), {"type": "null"}, _REFERENCE]} for name, (kind, _) in TABLES.items()}
    return {"type": "object", "properties": kinds, "additionalProperties": False, "minProperties": 1, "maxProperties": 1}


def _optional(kind: str, several: bool = False) -> Json:
    """A section that may be left out, or that may be a list of `several`."""
    members: Json = {"type": "array", "items": {"$ref": f"#/$defs/{kind}"}}
    return {"anyOf": [{"$ref": f"#/$defs/{kind}"}, *([members] if several else ()), {"type": "null"}]}


def _section(kind: str, found: list[tuple[registry.Entry, type]]) -> Json:
    """A section: a mapping with name and options, or only the name of a component that needs no options."""
    names, short, rules = [], [], []
    for entry, component in found:
        if entry.kind != kind:
            continue
        spellings = [entry.name, *entry.legacy]
        names += spellings
        options: Json = {"$ref": f"#/$defs/{entry.kind}.{entry.name}"}
        if any(o.required for o in options_of(component)):
            then: Json = {
                "properties": {"options": {"anyOf": [options, _REFERENCE]}},
                "required": ["options"],
            }
        else:
            short += spellings
            then = {"properties": {"options": {"anyOf": [options, {"type": "null"}, _REFERENCE]}}}
        rules.append({"if": {"properties": {"name": {"enum": spellings}}, "required": ["name"]}, "then": then})
    return {
        "if": {"type": "string"},
        "then": {"anyOf": [{"enum": short}, _OWN, _REFERENCE]},
        "else": {
            "type": "object",
            "properties": {
                "name": {"anyOf": [{"enum": names}, _OWN, _REFERENCE]},
                "options": {"anyOf": [{"type": ["object", "null"]}, _REFERENCE]},
                **({"on_error": {"enum": [*ACTIONS, None]}} if kind in _FAILING else {}),
            },
            "additionalProperties": False,
            "required": ["name"],
            **({"allOf": rules} if rules else {}),
        },
    }


def _options(component: type) -> Json:
    schema = schema_of(component)
    secrets = {o.name for o in options_of(component) if o.secret}
    members = {o.name: o.members for o in options_of(component) if o.members}
    for name, given in schema["properties"].items():
        given |= members.get(name, {})
        if name in secrets:
            given.pop("default", None)
        schema["properties"][name] = _or_reference(given)
    return schema


def _or_reference(schema: Json) -> Json:
    """What a document may hold where the option wants `schema`: also a reference, and booleans where integers may."""
    described = {key: schema.pop(key) for key in ("description", "default") if key in schema}
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if "integer" in types and "boolean" not in types:
        schema["type"] = [*types, "boolean"]
    if "items" in schema:
        schema["items"] = _or_reference(schema["items"])
    if not schema or ("string" in types and "enum" not in schema):
        return described | schema
    return described | {"anyOf": [schema, _REFERENCE]}


def to_text(schema: Mapping[str, object]) -> str:
    """The schema as it is shipped and printed."""
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
