"""Options are declared once, as fields of a component; reading them, their JSON Schema and their help derive from that.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True, kw_only=True)
... class Sample:
...     '''Keep some records.'''
...     size: int = option("records to keep", type="int", default=1000, minimum=1)
>>> build(Sample, {"size": 5})
Sample(size=5)
>>> schema_of(Sample)["properties"]["size"]
{'description': 'records to keep', 'type': ['integer', 'null'], 'minimum': 1, 'maximum': 9223372036854775807, 'default': 1000}
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, TypeVar

from exporters_beam.components.plain import Plain, plain
from exporters_beam.errors import ConfigError
from exporters_beam.records import Json

T = TypeVar("T")

REQUIRED: Any = MISSING
"""The default of an option that must be given."""

LARGEST = 2**63 - 1
"""The largest number that counts and sizes may be."""

TYPES = {
    "int": "integer",
    "number": "number",
    "str": "string",
    "bool": "boolean",
    "dict": "object",
    "list": "array",
    "str_list": "array",
    "int_list": "array",
    "dict_list": "array",
    "object": None,
}
"""Names of option types (those of exporters 0.6.18 and `number`) and what JSON Schema calls them."""


@dataclass(frozen=True)
class Option:
    """What a component declares about one option. `type` is one name of `TYPES`, or several joined by `|`."""

    name: str
    help: str
    type: str
    default: Any
    env: str | None
    choices: tuple[Any, ...] | None
    minimum: int | None
    secret: bool
    example: Any
    null: Any = None
    identity: bool = True
    members: Json | None = None
    """What the JSON Schema of documents says of its members besides: for editors, the component itself checks them."""
    attribute: str = ""
    """The component's attribute that holds the value: the name, but where that is no name in Python."""
    older_env: tuple[str, ...] = ()
    """Variables that had this meaning before, which are looked at where `env` is not set."""

    @property
    def required(self) -> bool:
        """It must stand in the config. An option with an environment variable may come from there instead."""
        return self.default is REQUIRED and self.env is None

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that are looked at, in order."""
        return (self.env, *self.older_env) if self.env else ()

    def variable(self, environ: Mapping[str, str]) -> str | None:
        """The environment variable that gives the value where the config does not: the first that is set and not empty."""
        return next((name for name in self.variables if environ.get(name)), None)

    def value(self, component: object) -> object:
        """The value that a component of the class that declares this option has for it."""
        return getattr(component, self.attribute)


def option(
    help: str,
    *,
    type: str = "str",
    default: object = REQUIRED,
    env: str | tuple[str, ...] | None = None,
    choices: tuple[object, ...] | None = None,
    minimum: int | None = None,
    secret: bool = False,
    example: object = None,
    identity: bool = True,
    members: Json | None = None,
    name: str | None = None,
    null: object = None,
) -> Any:
    """Declare an option of a component; use it as the default of a keyword-only dataclass field.

    `env` names the environment variable that is read where the config does not give the option (an empty variable
    counts as missing); of several the first that is set counts. `secret` keeps the value out of every log, report and
    template. With `identity` false another value makes no other export: `--resume` goes on, and the run before is the run
    before. `members` are keywords of JSON Schema for what stands inside a mapping or a list. `name` is the option's name in the
    config where it cannot be a Python name (`from`). `null` is what null stands
    for in the config where that is not "not given": YAML reads the word so.
    """
    unknown = [part for part in type.split("|") if part not in TYPES]
    if unknown:
        raise TypeError(f"option types are {', '.join(TYPES)}; not {unknown[0]!r}")
    metadata = {
        "option": (help, type, default, env, choices, minimum, secret, example, null, identity, members, name),
    }
    if default is REQUIRED and env is None:
        return field(metadata=metadata, repr=not secret)
    if default is REQUIRED:
        return field(default=None, metadata=metadata, repr=not secret)
    if isinstance(default, (list, dict, set)):
        frozen = default
        return field(default_factory=lambda: frozen.copy(), metadata=metadata)
    return field(default=default, metadata=metadata, repr=not secret)


def options_of(component: type) -> tuple[Option, ...]:
    """The options a component declares, inherited ones first, in order of declaration."""
    found = []
    for item in fields(component):
        if "option" in item.metadata:
            help, type, default, env, *declared, name = item.metadata["option"]
            env, *older = env if isinstance(env, tuple) else (env,)
            made = Option(name or item.name, help, type, default, env, *declared)
            found.append(replace(made, attribute=item.name, older_env=tuple(older)))
    return tuple(found)


def values_of(component: object) -> Iterator[object]:
    """The values of all fields of a component, or of another dataclass, also of those that are no options."""
    return (getattr(component, each.name, None) for each in fields(component))  # type: ignore[arg-type]


def schema_of(component: type) -> Json:
    """The JSON Schema of a component's `options` mapping. Null stands for "not given" where there is a default."""
    declared = options_of(component)
    return {
        "type": "object",
        "properties": {o.name: _schema(o) for o in declared},
        "required": [o.name for o in declared if o.required],
        "additionalProperties": False,
    }


def _schema(o: Option) -> Json:
    schema: Json = {"description": o.help}
    kinds = o.type.split("|")
    if "object" not in kinds:
        types = sorted({str(TYPES[kind]) for kind in kinds})
        if not o.required:
            types.append("null")
        schema["type"] = types[0] if len(types) == 1 else types
    items: list[Json] = []
    if "str_list" in kinds:
        items.append({"type": ["string", "number", "boolean"]})
    if "int_list" in kinds:
        items += [{"type": "integer"}, {"type": "string", "pattern": r"^\s*[-+]?\d+\s*$"}]
    if "dict_list" in kinds:
        pairs = {"type": "array", "items": {"type": "array", "minItems": 2, "maxItems": 2}}
        items += [{"type": "object"}, pairs]
    if items and "list" not in kinds:
        schema["items"] = items[0] if len(items) == 1 else {"anyOf": items}
    if o.choices is not None:
        schema["enum"] = [*o.choices, *(() if o.required else (None,))]
    if o.minimum is not None:
        schema |= {"minimum": o.minimum, "maximum": LARGEST}
    if o.default is not REQUIRED:
        schema["default"] = o.default
    return schema


def as_declared(component: type, given: Mapping[str, object]) -> Json:
    """The options with texts of YAML that stand there without quotes as their options want them: `yes` as true, `1_000` as
    a number, all others as texts."""
    kinds = {o.name: o.type.split("|") for o in options_of(component)}
    return {name: _as_kind(value, kinds.get(name, [])) for name, value in given.items()}


def _as_kind(value: object, kinds: list[str]) -> Any:
    if isinstance(value, Plain) and "str" not in kinds:
        if "bool" in kinds and isinstance(value.meant, bool):
            return value.meant
        if value.number is not None and ("number" in kinds or ("int" in kinds and isinstance(value.number, int))):
            return value.number
    if isinstance(value, list) and "int_list" in kinds and "str_list" not in kinds:
        return [_as_kind(member, ["int"]) for member in value]
    return plain(value)


def build(component: type[T], given: Mapping[str, object], environ: Mapping[str, str] | None = None) -> T:
    """Make a component from the mapping of its options, which has been checked against `schema_of(component)`.

    The value of an option is the one given; else (also where it is null and a default or variable exists) that of its
    environment variable when it is set and not empty; else its default. Lists come out as tuples, members converted.
    Raises ConfigError whose text begins with the option's name.
    """
    environ = os.environ if environ is None else environ
    names = {o.name for o in options_of(component)}
    for name in given:
        if name not in names:
            raise ConfigError(f"{name}: unknown option")
    values = {}
    for o in options_of(component):
        value = given.get(o.name)
        if value is None and o.name in given:
            value = o.null
        if value is None and not (o.required and o.name in given):
            variable = o.variable(environ)
            value = environ[variable] if variable else None
            if value is None:
                if o.default is REQUIRED:
                    hint = f"; give it here or in the environment variable {o.env}" if o.env else ""
                    raise ConfigError(f"{o.name}: this option is missing{hint}")
                continue
        values[o.attribute] = _convert(o, value)
    return component(**values)


def _convert(o: Option, value: object) -> Any:
    kinds = o.type.split("|")
    if isinstance(value, bool) and "bool" not in kinds and "int" in kinds:
        return int(value)
    if not isinstance(value, list):
        return value
    if "int_list" in kinds:
        try:
            return tuple(int(member) for member in value)
        except (TypeError, ValueError):
            pass
    if "dict_list" in kinds:
        try:
            return tuple(dict(member) for member in value)
        except (TypeError, ValueError):
            pass
    if "str_list" in kinds:
        return tuple(member if isinstance(member, str) else _text(member) for member in value)
    return tuple(value) if "list" in kinds else value


def _text(member: object) -> str:
    """A number as text, and true and false as they stand in the config."""
    return str(member).lower() if isinstance(member, bool) else str(member)
