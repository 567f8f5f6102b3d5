"""Filters: which records stay."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.options import option
from exporters_beam.records import MISSING, Record, lookup
from exporters_beam.registry import did_you_mean
from exporters_beam.transforms.callables import Loaded
from exporters_beam.transforms.expressions import Expression, compile_expression

Condition = tuple[tuple[str, ...], Callable[[Any, Any], bool], Any]
"""The path of a value, and what has to hold: check(value, expected)."""


@dataclass(frozen=True, kw_only=True)
class NoFilter:
    """Keep every record: the same as no filter.

    Example:
        filter_before: {name: none}
    """

    kind: ClassVar[str] = "filter"

    def keep(self, record: Record) -> bool:
        return True


def _equals(value: Any, expected: Any) -> bool:
    return bool(value == expected)


def _in(value: Any, expected: Any) -> bool:
    try:
        return value in expected
    except TypeError:
        return False


def _contains(value: Any, expected: Any) -> bool:
    try:
        return expected in value
    except TypeError:
        return False


def _matches(value: Any, match: Callable[[str], Any]) -> bool:
    if value is None:
        return False
    return match(value if isinstance(value, str) else str(value)) is not None


OPERATORS = ("==", "in", "contains", "re_match")


def _conditions(keys: tuple[Mapping[str, Any], ...], separator: str, regex: bool) -> tuple[Condition, ...]:
    """The checked conditions of the option `keys`. Raises ConfigError with the place of what is wrong."""
    found = []
    for n, key in enumerate(keys):
        for needed in ("name", "value"):
            if needed not in key:
                raise ConfigError(f"keys[{n}]: {needed} is missing; write {{name: field, value: what it has to be}}")
        unknown = [k for k in key if k not in ("name", "value", "operator")]
        if unknown:
            hint = did_you_mean(str(unknown[0]), ["name", "value", "operator"])
            raise ConfigError(f"keys[{n}].{unknown[0]}: unknown key{hint}")
        if not isinstance(key["name"], str) or not key["name"]:
            raise ConfigError(f"keys[{n}].name: {key['name']!r} is no name of a field")
        operator = key.get("operator", "==")
        if operator not in OPERATORS:
            raise ConfigError(f"keys[{n}].operator: there is no operator {operator!r}; known: {', '.join(OPERATORS)}")
        path = tuple(key["name"].split(separator)) if separator else (key["name"],)
        if regex or operator == "re_match":
            try:
                found.append((path, _matches, re.compile(str(key["value"])).match))
            except re.error as error:
                raise ConfigError(f"keys[{n}].value: {key['value']!r} is no regular expression: {error}") from None
        else:
            found.append((path, {"==": _equals, "in": _in, "contains": _contains}[operator], key["value"]))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class KeyValueFilter:
    """Keep records in which every condition of `keys` holds.

    A condition is {name, value, operator}. `name` is a field or, split at the separator, a path through mappings. The
    operator is `==` (the default; 1, 1.0 and true are equal, 1 and "1" are not), `in` (the value is a member of the
    one given, or a part of a text), `contains` (the other way round) or `re_match` (a regular expression matches at
    the beginning of the value as text). A missing field, or a value of another kind, drops the record; null equals
    null and matches no expression.

    Example:
        filter_before:
          name: key_value
          options:
            keys: [{name: seller.town, value: Leeds}, {name: tags, operator: contains, value: new}]
    """

    kind: ClassVar[str] = "filter"
    regex: ClassVar[bool] = False

    keys: tuple[dict[str, Any], ...] = option(
        "conditions, all of which have to hold", type="dict_list", example=[{"name": "country", "value": "Spain"}]
    )
    nested_field_separator: str = option("splits names into paths; empty: names are not split", default=".")
    _conditions: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        self._compile()

    def _compile(self) -> None:
        found = _conditions(self.keys, self.nested_field_separator, self.regex)
        object.__setattr__(self, "_conditions", found)

    def keep(self, record: Record) -> bool:
        for path, check, expected in self._conditions:
            if len(path) == 1 and record.__class__ is dict:
                value = record.get(path[0], MISSING)
            else:
                value = lookup(record, path, MISSING)
            if value is MISSING or not check(value, expected):
                return False
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_conditions": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._compile()


@dataclass(frozen=True, kw_only=True)
class KeyValueRegexFilter(KeyValueFilter):
    """Keep records in which every value of `keys` matches its regular expression, at its beginning.

    Conditions are {name, value}; other values than text are converted to text first, and null never matches.

    Example:
        filter_before:
          name: key_value_regex
          options:
            keys: [{name: category, value: shoes|hats}]
    """

    regex: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class PythonexpFilter:
    """Keep records for which a Python expression over `item` is true.

    What an expression may do is described in docs/expressions.md. `imports` gives it further modules by name. An
    expression that cannot be evaluated for a record (a missing field, say) is an error of that record.

    Example:
        filter_before:
          name: pythonexp
          options: {python_expression: "item['price'] > 10 and item.get('stock')"}
    """

    kind: ClassVar[str] = "filter"

    python_expression: str = option("kept where it is true", example="item['price'] > 10")
    imports: dict[str, str] = option(
        "modules for the expression, by the name it knows them by", type="dict", default={}
    )
    _expression: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        modules = {}
        for name, path in self.imports.items():
            if not str(name).isidentifier() or str(name).startswith("_"):
                raise ConfigError(f"imports: {name!r} is no name for a module")
            try:
                modules[name] = importlib.import_module(str(path))
            except ImportError as error:
                raise ConfigError(f"imports.{name}: {path} cannot be imported: {error}") from None
        object.__setattr__(self, "_expression", compiled("python_expression", self.python_expression, modules))

    def keep(self, record: Record) -> Any:
        return self._expression.evaluate(record)


def compiled(place: str, source: str, names: Mapping[str, Any] = {}) -> Expression:
    """The compiled expression. Raises ConfigError whose text begins with the option's name."""
    try:
        return compile_expression(source, names)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class JsonSchemaFilter:
    """Hold records to a contract: a JSON Schema. One that breaks it is an error, or is dropped.

    Example:
        filter_before:
          name: jsonschema
          options:
            on_violation: fail
            schema: {type: object, required: [sku], properties: {price: {type: number, minimum: 0}}}
    """

    kind: ClassVar[str] = "filter"

    schema: dict[str, Any] = option("a JSON Schema", type="dict", example={"type": "object", "required": ["sku"]})
    on_violation: str = option("fail: the record is an error; drop: it is dropped", default="fail",
                               choices=("fail", "drop"))  # fmt: skip
    _validator: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        from jsonschema import SchemaError
        from jsonschema.validators import Draft202012Validator, validator_for

        chosen = validator_for(self.schema, default=Draft202012Validator)
        try:
            chosen.check_schema(self.schema)
        except SchemaError as error:
            raise ConfigError(f"schema: it is no JSON Schema: {error.message:.200}") from None

    def setup(self) -> None:
        from jsonschema.validators import Draft202012Validator, validator_for

        object.__setattr__(self, "_validator", validator_for(self.schema, default=Draft202012Validator)(self.schema))

    def keep(self, record: Record) -> bool:
        if self._validator is None:
            self.setup()
        error = next(self._validator.iter_errors(record), None)
        if error is None:
            return True
        if self.on_violation == "drop":
            return False
        raise RecordError(f"it breaks the contract: {error.json_path}: {error.message[:200]}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_validator": None}


@dataclass(frozen=True, kw_only=True)
class PythonFilter(Loaded):
    """Keep records for which a Python function of yours gives something true.

    The function is called with the record. It is imported on the workers, which need its package.

    Example:
        filter_before:
          name: python
          options: {function: 'my_package.rules:is_wanted'}
    """

    kind: ClassVar[str] = "filter"

    function: str = option("package.module:function", example="my_package.rules:is_wanted")

    def keep(self, record: Record) -> Any:
        return self.call(record)
