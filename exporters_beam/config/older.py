"""Configs that name components as exporters 0.6.18 did: what that system took without a word is taken, with a warning.

It looked at the truth of values, passed over keys that it did not know, and knew nothing of the sections that are new. What it
refused is refused.

>>> config = {"reader": {"name": "exporters.readers.FSReader"}, "env": "prod", "exporter_options": {"resume": 0}}
>>> found, warnings = as_taken(config)
>>> "env" in found, found["exporter_options"], [message for _, message in warnings]
(False, {'resume': False}, ['not used: exporters 0.6.18 knew no such section', 'found 0; taken as false'])
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from exporters_beam.components import registry
from exporters_beam.components.options import LARGEST, options_of
from exporters_beam.components.plain import Plain
from exporters_beam.components.secret import Secret
from exporters_beam.components.traits import WriterTraits
from exporters_beam.components.words import did_you_mean, in_json, kind_of
from exporters_beam.config.document import Path
from exporters_beam.config.on_error import ACTIONS
from exporters_beam.config.sections import EMPTY, PARTITION_BY, PREFIX, Settings, is_older, name_of
from exporters_beam.errors import ConfigError

Warning = tuple[Path, str]

NEW: Mapping[str, Any] = {
    "env": lambda value: isinstance(value, (list, tuple)),
    "vars": lambda value: isinstance(value, Mapping),
    "parameters": lambda value: isinstance(value, Mapping),
    "steps": lambda value: isinstance(value, (list, tuple)),
    "staging": lambda value: isinstance(value, str),
    "tests": lambda value: isinstance(value, (list, tuple)) and all(isinstance(member, Mapping) for member in value),
    "runners": lambda value: isinstance(value, Mapping),
    "on_error": lambda value: isinstance(value, Mapping) or value in ACTIONS,
    "empty": lambda value: value in EMPTY,
    PARTITION_BY: lambda value: isinstance(value, (list, tuple, Mapping)),
    "formatter": lambda value: bool(name_of(value)) and not name_of(value).startswith(PREFIX),
    "decompressor": lambda value: bool(name_of(value)),
    "deserializer": lambda value: bool(name_of(value)),
}
"""Sections that the old system did not know at this place, and what they look like where the new ones are meant."""

_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}

_OF_FILES = ("items_per_buffer_write", "size_per_buffer_write", "write_buffer", "write_buffer_options")

_DATE = re.compile(r"\{:(%[^{}]*)\}")
"""A date in the name of files as the old tutorials wrote it: `{:%d-%b-%Y}`."""

_LIMITS = ("items_limit", "items_per_buffer_write", "size_per_buffer_write", "start_file_count")

_UNCHECKED = ("grouper", "stats_manager")
"""Sections whose options were not looked at."""


def as_taken(config: Mapping[object, object]) -> tuple[dict[object, object], list[Warning]]:
    """The config as the old system took it, and what to tell of it. One that names no old class path is left as it is."""
    found = dict(config)
    warnings: list[Warning] = []
    if not is_older(config):
        return found, warnings
    for name, is_ours in NEW.items():
        value = found.get(name)
        if value is not None and not _refers(value) and not is_ours(value):
            del found[name]
            warnings.append(((name,), "not used: exporters 0.6.18 knew no such section"))
    _settings(found, warnings)
    for name in _UNCHECKED:
        options = _older_options(found, name)
        known = _options(name, found[name]) if options is not None else None
        if options is not None and known is not None:
            _drop_unknown(options, known, (name, "options"), warnings)
    for name in ("filter", "filter_before", "filter_after"):
        _conditions(found, name, warnings)
    _input(found, warnings)
    _writer(found, warnings)
    return found, sorted(warnings, key=str)


def _refers(value: object) -> bool:
    return isinstance(value, Secret) or (isinstance(value, str) and "${" in value)


def _older_options(found: dict[object, object], name: str) -> dict[object, object] | None:
    """The options of a section that names an old class path, as a copy that may be changed: it takes their place. None where
    there are none."""
    section = found.get(name)
    options = section.get("options") if isinstance(section, Mapping) else None
    if not name_of(section).startswith(PREFIX) or not isinstance(section, Mapping) or not isinstance(options, Mapping):
        return None
    copied = dict(options)
    found[name] = {**section, "options": copied}
    return copied


def _options(kind: str, section: object) -> list[str] | None:
    """The options of a component that is named by an old class path."""
    name = name_of(section)
    if not name.startswith(PREFIX):
        return None
    try:
        return [o.name for o in options_of(registry.load(registry.find(kind, name)))]
    except ConfigError:
        return None


def sends_records(section: object) -> bool:
    """Whether a writer stores records: under its old class path it took the options of files, and used none."""
    try:
        return WriterTraits.of(registry.load(registry.find("writer", name_of(section)))).sends
    except ConfigError:
        return False


def _drop_unknown(given: dict[object, object], known: Iterable[str], path: Path, warnings: list[Warning]) -> None:
    known = list(known)
    for key in [key for key in given if key not in known]:
        del given[key]
        hint = did_you_mean(str(key), known) if known else "; there are no options here"
        warnings.append(((*path, str(key)), f"unknown, not used{hint}"))


def _settings(found: dict[object, object], warnings: list[Warning]) -> None:
    given = found.get("exporter_options")
    if not isinstance(given, Mapping):
        return
    options = found["exporter_options"] = dict(given)
    kinds = {o.name: o.type for o in options_of(Settings)}
    for name, value in given.items():
        kind, path = kinds.get(name), ("exporter_options", str(name))
        if value is None or isinstance(value, Plain) or _refers(value):
            continue
        if kind == "bool" and not isinstance(value, bool):
            options[name] = bool(value)
            warnings.append((path, f"found {_shown(value)}; taken as {in_json(bool(value), 10)}"))
        elif kind == "int" and not isinstance(value, int):
            del options[name]
            warnings.append((path, f"found {_shown(value)}; not used"))
        elif kind == "str" and not isinstance(value, str):
            options[name] = _LEVELS.get(value, str(value)) if isinstance(value, int) else str(value)
            warnings.append((path, f"found {_shown(value)}; taken as {in_json(options[name], 100)}"))


def _shown(value: object) -> str:
    return kind_of(value) if isinstance(value, (Mapping, list, tuple)) else in_json(value, 100)


def _conditions(found: dict[object, object], name: str, warnings: list[Warning]) -> None:
    """Keys of conditions that mean nothing."""
    options = _older_options(found, name) if "KeyValue" in name_of(found.get(name)) else None
    keys = options.get("keys") if options is not None else None
    if options is None or not isinstance(keys, list):
        return
    kept = options["keys"] = list(keys)
    for at, key in enumerate(keys):
        if isinstance(key, Mapping):
            kept[at] = dict(key)
            _drop_unknown(kept[at], ("name", "value", "operator"), (name, "options", "keys", at), warnings)


def _input(found: dict[object, object], warnings: list[Warning]) -> None:
    """Keys of the reader's `input` that mean nothing."""
    options = _older_options(found, "reader")
    given = options.get("input") if options is not None else None
    places = given if isinstance(given, list) else [given]
    if options is None or not any(isinstance(place, Mapping) for place in places):
        return
    kept: list[Any] = [dict(place) if isinstance(place, Mapping) else place for place in places]
    for at, place in enumerate(kept):
        if isinstance(place, dict):
            path = ("reader", "options", "input", *((at,) if isinstance(given, list) else ()))
            _drop_unknown(place, ("dir", "dir_pointer", "pattern", "include_dot_files"), path, warnings)
    options["input"] = kept if isinstance(given, list) else kept[0]


def _writer(found: dict[object, object], warnings: list[Warning]) -> None:
    options = _older_options(found, "writer")
    if options is None:
        return
    section = found["writer"]
    if sends_records(section):
        for name in [name for name in _OF_FILES if name in options]:
            del options[name]
            warnings.append((("writer", "options", name), "not used: it is for files, and this writer stores records"))
    if isinstance(quota := options.get("max_mails_sent"), int) and quota < 0:
        options["max_mails_sent"] = LARGEST
        warnings.append((("writer", "options", "max_mails_sent"), f"{quota} is below 0; taken as no limit"))
    for name in _LIMITS:
        value = options.get(name)
        if isinstance(value, (int, float)) and value < 0:
            options[name] = 0
            warnings.append((("writer", "options", name), f"{value} is below 0; taken as 0"))
    base = options.get("filebase")
    if base == "" and name_of(section).endswith(".FSWriter"):
        options["filebase"] = "./"
        warnings.append((("writer", "options", "filebase"), "it is empty; files go to the working directory"))
    if isinstance(base, str) and (plain_dates := _DATE.sub(r"\1", base)) != base:
        options["filebase"] = plain_dates
        warnings.append((("writer", "options", "filebase"), f"taken as {plain_dates}"))
    inner = options.get("write_buffer_options")
    if isinstance(inner, Mapping):
        known = _options("write_buffer", options.get("write_buffer") or f"{PREFIX}write_buffers.base.WriteBuffer")
        if known is not None:
            used = options["write_buffer_options"] = dict(inner)
            _drop_unknown(used, known, ("writer", "options", "write_buffer_options"), warnings)
