"""The section `parameters` of a config: what its variables are for, for people and for templates that are launched with them.

    vars: {town: all}
    parameters:
      input: {label: Input, help: Folder with the files to read}      # not in `vars`, so it has to be given
      town: {label: Town, enum: [all, Oslo, Rome]}

A variable stays what it is; a parameter adds what may be put in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporters_beam.components.plain import Plain
from exporters_beam.components.words import did_you_mean, shortened
from exporters_beam.config.document import Path

TYPES = (
    "text", "boolean", "number", "enum", "gcs_read_bucket", "gcs_write_bucket", "gcs_read_file", "gcs_write_file",
    "gcs_read_folder", "gcs_write_folder", "pubsub_topic", "pubsub_subscription", "bigquery_table", "javascript_udf_file",
    "service_account", "machine_type", "kms_key_name", "worker_region", "worker_zone", "kafka_topic", "kafka_read_topic",
    "kafka_write_topic",
)  # fmt: skip
"""Types of parameters, those of Dataflow's templates."""

KEYS = ("label", "help", "type", "regexes", "enum", "optional")

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

MISSING: Any = object()

Found = list[tuple[Path, str]]


@dataclass(frozen=True)
class Parameter:
    """A variable that is given when a template is launched. `default` is MISSING where it has none."""

    name: str
    label: str
    help: str
    type: str
    default: Any = MISSING
    regexes: tuple[str, ...] = ()
    enum: tuple[Any, ...] = ()
    optional: bool = True


def declared(document: Mapping[str, object]) -> tuple[list[Parameter], Found]:
    """The config's parameters and what is wrong with them. Without the section every variable is one."""
    variables = document.get("vars")
    defaults = dict(variables) if isinstance(variables, Mapping) else {}
    section = document.get("parameters")
    if section is None:
        return [_parameter(str(name), {}, default) for name, default in defaults.items()], []
    if not isinstance(section, Mapping):
        return [], [(("parameters",), "wrong type: expected a mapping of names to what they are for")]
    found, wrong = [], Found()
    for name, given in section.items():
        path = ("parameters", str(name))
        problems = list(_problems(str(name), given))
        wrong += [((*path, *way), message) for way, message in problems]
        if not problems:
            found.append(_parameter(str(name), given or {}, defaults.get(name, MISSING)))
    return found, wrong


def _parameter(name: str, given: Mapping[str, Any], default: object) -> Parameter:
    enum = tuple(given.get("enum") or ())
    kind = given.get("type")
    if kind is None:
        kind = "enum" if enum else "boolean" if isinstance(default, bool) else "text"
        kind = "number" if kind == "text" and isinstance(default, (int, float)) else kind
    label = str(given.get("label") or name.replace("_", " ").capitalize())
    optional = bool(_meant(given.get("optional", default is not MISSING)))
    regexes = tuple(given.get("regexes") or ())
    return Parameter(name, label, str(given.get("help") or label), str(kind).lower(), default, regexes, enum, optional)


def _meant(value: object) -> Any:
    """`yes` without quotes as true."""
    return value.meant if isinstance(value, Plain) and isinstance(value.meant, bool) else value


def _problems(name: str, given: object) -> Found:
    if not NAME.match(name):
        return [((), f"{name!r} is not a valid name for a parameter; use letters, digits and _, no digit first")]
    if given is not None and not isinstance(given, Mapping):
        return [((), "wrong type: expected a mapping of " + ", ".join(KEYS))]
    wrong = Found()
    for key, value in (given or {}).items():
        if key not in KEYS:
            wrong.append(((key,), f"unknown key{did_you_mean(str(key), KEYS)}; known: {', '.join(KEYS)}"))
        elif key in ("label", "help") and not isinstance(value, str):
            wrong.append(((key,), "wrong type: expected text"))
        elif key == "optional" and not isinstance(_meant(value), bool):
            wrong.append(((key,), "wrong type: expected true or false"))
        elif key == "type" and str(value).lower() not in TYPES:
            wrong.append(((key,), f"there is no type {value!r}{did_you_mean(str(value).lower(), TYPES)}"))
        elif key == "enum" and not (isinstance(value, list) and value):
            wrong.append(((key,), "wrong type: expected a list of the values that may be given"))
        elif key == "regexes":
            wrong += _regex_problems(value)
    return wrong


def _regex_problems(value: object) -> Found:
    if not (isinstance(value, list) and all(isinstance(regex, str) for regex in value)):
        return [(("regexes",), "wrong type: expected a list of regular expressions, all of which the value has to match")]
    wrong = Found()
    for at, regex in enumerate(value):
        try:
            re.compile(regex)
        except re.error as error:
            wrong.append((("regexes", at), f"{regex!r} is not a valid regular expression: {error}"))
    return wrong


def check(document: Mapping[str, object], overrides: Mapping[str, object]) -> tuple[Found, set[str]]:
    """What is wrong with the parameters and the values given for them, and the names of those that are missing."""
    if document.get("parameters") is None:
        return [], set()
    found, wrong = declared(document)
    missing = set()
    for parameter in found:
        value = overrides.get(parameter.name, parameter.default)
        path = ("parameters", parameter.name)
        if value is MISSING:
            if any(name.partition(".")[0] == parameter.name for name in overrides):
                continue
            missing.add(parameter.name)
            wrong.append((path, f"this parameter has no default; give it: --var {parameter.name}=VALUE"))
        elif not (isinstance(value, str) and "${" in value):
            message = _value_problem(parameter, value)
            if message:
                wrong.append((path, message))
    return wrong, missing


def _value_problem(parameter: Parameter, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    told = shortened(text, 200)
    if parameter.enum and text not in [as_text(member) for member in parameter.enum]:
        return f"{told!r} is not one of: {', '.join(as_text(member) for member in parameter.enum)}"
    for regex in parameter.regexes:
        if not re.fullmatch(regex, text):
            return f"{told!r} does not match {regex}"
    if isinstance(value, Plain):
        value = value.meant
    if parameter.type == "boolean" and not isinstance(value, bool):
        return f"{told!r} is neither true nor false"
    if parameter.type == "number" and (isinstance(value, bool) or not isinstance(value, (int, float))):
        return f"{told!r} is not a number"
    if parameter.type.startswith("gcs_") and not text.startswith("gs://"):
        return f"{told!r} is not an address in Cloud Storage; it begins with gs://"
    return ""


def as_text(value: object) -> str:
    """A value as it is given on a command line or when a template is launched."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
