"""Filters: which records stay."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.registry import import_module
from exporters_beam.components.words import did_you_mean
from exporters_beam.decimals import equals, meant, text_of
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import MISSING, Key, Known, Record, lookup
from exporters_beam.transforms.callables import Loaded
from exporters_beam.transforms.chance import Chance
from exporters_beam.transforms.expressions import patterns
from exporters_beam.transforms.expressions.compile import compile_option
from exporters_beam.transforms.expressions.dialects import DIALECT, DIALECT_OF_PATTERNS, PYTHON_2, as_read
from exporters_beam.transforms.expressions.reads import fields_read, is_steady
from exporters_beam.transforms.results import surely_gives


@dataclass(frozen=True, kw_only=True)
class NoFilter:
    """Keep every record: the same as no filter.

    Example:
        filter_before: {name: none}
    """

    kind: ClassVar[str] = "filter"

    def keep(self, record: Record) -> bool:
        return True


OPERATORS = ("==", "in", "contains", "re_match")

Check = Callable[[Any], Any]
"""Whether a value is as a condition wants it."""

Condition = tuple[Key, Check]
"""Where a value stands, and its check."""


def _conditions(keys: Iterable[Mapping[str, object]], separator: str, regex: bool, dialect: str) -> Iterator[Condition]:
    """The conditions of the option `keys`. Raises ConfigError with the place of what is wrong."""
    for n, key in enumerate(keys):
        if not isinstance(key, Mapping):
            raise ConfigError(f"keys[{n}]: {key!r:.200} is not a mapping with name and value")
        for needed in ("name", "value"):
            if needed not in key:
                raise ConfigError(f"keys[{n}]: {needed} is missing; write {{name: field, value: what it has to be}}")
        for given in key:
            if given not in ("name", "value", "operator"):
                hint = did_you_mean(str(given), ["name", "value", "operator"])
                raise ConfigError(f"keys[{n}].{given}: unknown key{hint}")
        name, operator = key["name"], key.get("operator")
        if not isinstance(name, str) or not name:
            raise ConfigError(f"keys[{n}].name: {name!r:.200} is not the name of a field")
        if operator is not None and operator not in OPERATORS:
            raise ConfigError(f"keys[{n}].operator: there is no operator {operator!r}; known: {', '.join(OPERATORS)}")
        yield Key.of(name, separator), _check("re_match" if regex else operator or "==", key["value"], n, dialect)


def _check(operator: str, expected: object, n: int, dialect: str) -> Check:
    if operator == "re_match":
        return _match(expected, n, dialect)
    if operator == "contains":
        found = meant(expected)
        return lambda value: any(_holds(value, each) for each in found)
    if operator == "in":
        if not isinstance(expected, (list, tuple)):
            return lambda value: _holds(expected, value)
        try:
            members = frozenset(each for member in expected for each in meant(member))
        except TypeError:  # of members that cannot stand in a set
            checks = [equals(member) for member in expected]
            return lambda value: any(check(value) for check in checks)
        return lambda value: _holds(members, value)
    return equals(expected)


def _holds(container: Any, member: object) -> bool:
    """`member in container`, and false where these do not go together: null, numbers, a number in a text."""
    try:
        return member in container
    except TypeError:
        return False


def _expression(expected: object, n: int, dialect: str) -> Callable[[str], Any]:
    """The `match` of a regular expression. Raises ConfigError."""
    if isinstance(expected, bool) or not isinstance(expected, (str, int, float)):
        raise ConfigError(f"keys[{n}].value: {expected!r:.200} is not a regular expression; write a text")
    pattern, flags = str(expected), 0
    try:
        if dialect == PYTHON_2:
            from exporters_beam.transforms.expressions.python2_patterns import modern

            pattern, flags = modern(pattern)
        compiled = re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"keys[{n}].value: {expected!r:.200} is not a valid regular expression: {error}") from None
    longest = patterns.longest(compiled, "match")
    if longest == float("inf"):
        return compiled.match
    match = compiled.match

    def limited(text: str) -> Any:
        return match(text) if len(text) <= longest else patterns.run(compiled, "match", text)

    return limited


def _match(expected: object, n: int, dialect: str) -> Check:
    match = _expression(expected, n, dialect)

    def matches(value: object) -> bool:
        if value.__class__ is str:
            return match(value) is not None
        return value is not None and match(text_of(value)) is not None

    return matches


def _may_hold(wanted: Sequence[object], known: Known) -> bool:
    """Whether one of these values may be in a column. Only texts are compared with texts, and numbers with numbers; where some
    writer counted NaN as the smallest or largest, any number may be there."""
    kinds = (str,) if isinstance(known.least, str) else (int, float, Decimal)
    if str in kinds:  # and no date is a text
        wanted = [value for value in wanted if not isinstance(value, date)]
    return any(not isinstance(value, kinds) or not (value < known.least or value > known.most) for value in wanted)


def _matches_one(name: str, match: Callable[[str], object]) -> Callable[[Any], Any]:
    """The commonest filter, a regular expression for one top-level field, as one function."""

    def holds(record: Any) -> bool:
        value = record.get(name) if record.__class__ is dict else lookup(record, (name,))
        if value.__class__ is str:
            return match(value) is not None
        return value is not None and match(text_of(value)) is not None

    return holds


def _all_of(conditions: tuple[Condition, ...]) -> Callable[[Any], Any]:
    """One function for all conditions; the usual one, a single top-level field, does least."""
    if len(conditions) == 1 and (only := conditions[0][0].single) is not None:
        name, check = only, conditions[0][1]

        def holds(record: Any) -> Any:
            value = record.get(name, MISSING) if record.__class__ is dict else lookup(record, (name,), MISSING)
            return value is not MISSING and check(value)

        return holds

    def all_hold(record: object) -> bool:
        for key, check in conditions:
            value = key.value(record, MISSING)
            if value is MISSING or not check(value):
                return False
        return True

    return all_hold


@dataclass(frozen=True, kw_only=True)
class KeyValueFilter:
    """Keep records in which every condition of `keys` holds.

    A condition is {name, value, operator}. `name` is a field or, split at the separator, a path through mappings; a field
    that has the whole name goes first. A name that no record has is warned of. The operator is `==` (the default; 1, 1.0
    and true are equal, 1 and "1" are not; 19.99 is also the decimal 19.99 and what 19.99 becomes in a column of 32-bit
    numbers), `in` (the value is a member of the
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
    steady: ClassVar[bool] = True

    keys: tuple[dict[str, Any], ...] = option(
        "conditions, all of which have to hold", type="dict_list", example=[{"name": "country", "value": "Spain"}]
    )
    nested_field_separator: str = option("splits names into paths; empty: names are not split", default=".")
    dialect: str = DIALECT_OF_PATTERNS
    _holds: Any = field(init=False, repr=False, compare=False, default=None)
    _wanted: Any = field(init=False, repr=False, compare=False, default=())
    _found: tuple[Key, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        conditions = tuple(_conditions(self.keys, self.nested_field_separator, self.regex, self.dialect))
        holds = _all_of(conditions)
        if len(conditions) == 1 and (only := conditions[0][0].single) is not None:
            operator = "re_match" if self.regex else self.keys[0].get("operator")
            if operator == "re_match":
                holds = _matches_one(only, _expression(self.keys[0]["value"], 0, self.dialect))
        object.__setattr__(self, "_holds", holds)
        object.__setattr__(self, "_found", tuple(key for key, _ in conditions))
        wanted = ((key.single, self._values(n)) for n, (key, _) in enumerate(conditions) if key.single is not None)
        object.__setattr__(self, "_wanted", tuple((name, values) for name, values in wanted if values is not None))

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that decide."""
        return frozenset[str]().union(*(key.reads for key in self._found))

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """What it looks for in records, by what the config calls it."""
        return tuple(zip((str(key["name"]) for key in self.keys), self._found, strict=True))

    def may_keep(self, known: Mapping[str, Known]) -> bool:
        """Whether it keeps any record of which this is known: false only where a condition cannot hold."""
        return all(_may_hold(values, known[name]) for name, values in self._wanted if name in known)

    def _values(self, n: int) -> Sequence[Any] | None:
        """The values that a condition wants, None where it does not name them."""
        operator, value = self.keys[n].get("operator") or "==", self.keys[n]["value"]
        if self.regex or operator not in ("==", "in"):
            return None
        if operator == "in" and not isinstance(value, (list, tuple)):
            return None
        return tuple(each for member in (value if operator == "in" else (value,)) for each in meant(member))

    @property
    def judge(self) -> Callable[[Record], Any]:
        """`keep` with one call less, for hot loops."""
        holds: Callable[[Record], Any] = self._holds
        return holds

    def keep(self, record: Record) -> Any:
        return self._holds(record)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "keys": self.keys,
            "nested_field_separator": self.nested_field_separator,
            "dialect": self.dialect,
        }

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


@dataclass(frozen=True, kw_only=True)
class KeyValueRegexFilter(KeyValueFilter):
    """Keep records in which every value of `keys` matches its regular expression, at its beginning.

    Conditions are {name, value} as in the filter key_value, where `value` is the expression; an `operator` is checked and
    changes nothing. Other values than text are converted to text first, and a missing field or null never matches. An
    expression that backtracks for more than a second is an error of the record.

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

    What an expression may do is described in docs/expressions.md. `imports` gives it further modules by name, which win
    over the usual names and run as they are: name only modules that you trust. An expression that cannot be evaluated
    for a record (a missing field, say) is an error of that record.

    Example:
        filter_before:
          name: pythonexp
          options: {python_expression: "item['price'] > 10 and item.get('stock')"}
    """

    kind: ClassVar[str] = "filter"

    python_expression: str = option("kept where it is true", example="item['price'] > 10")
    imports: dict[str, str] = option("modules for the expression, by the name it knows them by", type="dict", default={})
    dialect: str = DIALECT
    _expression: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if surely_gives(*self.expressions) == "None":
            raise ConfigError(
                "python_expression: the expression gives None whatever the record is, so that every record is dropped; "
                "write one that is true for records to keep"
            )
        modules = {}
        for name, path in self.imports.items():
            if not str(name).isidentifier() or str(name).startswith("_") or name == "item":
                raise ConfigError(f"imports: {name!r} cannot be the name of a module in an expression")
            if self.dialect == PYTHON_2:
                from exporters_beam.transforms.expressions.python2 import MODULES

                path = MODULES.get(path, path)
            try:
                modules[name] = import_module(str(path))
            except ImportError as error:
                raise ConfigError(f"imports.{name}: {path!r} cannot be imported: {error}") from None
        made = compile_option("python_expression", self.python_expression, modules, self.dialect)
        object.__setattr__(self, "_expression", made)

    @property
    def expressions(self) -> tuple[str, ...]:
        return as_read((self.python_expression,), self.dialect)

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that the expression looks at; None for all. What `imports` do with them, nobody knows."""
        return None if self.imports or self.chances else fields_read(*self.expressions)

    @property
    def chances(self) -> tuple[Chance, ...]:
        """What the expression draws from: steps tell it each record's position."""
        return () if self._expression.chance is None else (self._expression.chance,)

    @property
    def steady(self) -> bool:
        """Whether it is sure to say the same of equal records."""
        return is_steady(*self.expressions)

    @property
    def judge(self) -> Callable[[Record], Any]:
        """`keep` with one call less, for hot loops."""
        evaluate: Callable[[Record], Any] = self._expression.evaluate
        return evaluate

    def keep(self, record: Record) -> Any:
        return self._expression.evaluate(record)


@dataclass(frozen=True, kw_only=True)
class JsonSchemaFilter:
    """Hold records to a contract: a JSON Schema. A record that breaks it is an error, or is dropped.

    The schema is read as its `$schema` says, else as draft 2020-12. The message names the first three places in the
    record that break it. `format` is not checked, and `$ref` has to stay inside the schema.

    Example:
        filter_before:
          name: jsonschema
          options:
            on_violation: fail
            schema: {type: object, required: [sku], properties: {price: {type: number, minimum: 0}}}
    """

    kind: ClassVar[str] = "filter"
    steady: ClassVar[bool] = True

    schema: dict[str, Any] = option("a JSON Schema", type="dict", example={"type": "object", "required": ["sku"]})
    on_violation: str = option("fail: the record is an error; drop: it is dropped", default="fail",
                               choices=("fail", "drop"))  # fmt: skip
    _validator: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        from jsonschema import SchemaError
        from jsonschema.validators import Draft202012Validator, validator_for

        if not isinstance(self.schema.get("$schema", ""), str):
            raise ConfigError("schema.$schema: it has to be the address of a draft of JSON Schema")
        try:
            validator_for(self.schema, default=Draft202012Validator).check_schema(self.schema)
        except SchemaError as error:
            raise ConfigError(f"schema: it is not a JSON Schema: {error.json_path}: {error.message:.200}") from None
        for reference in _dangling(self.schema):
            raise ConfigError(f"schema: the $ref {reference!r:.200} names nothing in it; put what it needs under $defs")

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that the schema names, where it says nothing of others; else None."""
        kinds, required = self.schema.get("type", "object"), self.schema.get("required", [])
        if self.schema.keys() - _OF_NAMED_FIELDS or "object" not in ([kinds] if isinstance(kinds, str) else kinds):
            return None
        return frozenset(self.schema.get("properties", {})).union(required) if isinstance(required, list) else None

    def setup(self) -> None:
        from jsonschema.validators import Draft202012Validator, extend, validator_for
        from referencing.jsonschema import EMPTY_REGISTRY

        chosen = validator_for(self.schema, default=Draft202012Validator)
        chosen = extend(chosen, {"pattern": _pattern})  # type: ignore[no-untyped-call]
        object.__setattr__(self, "_validator", chosen(self.schema, registry=EMPTY_REGISTRY))

    def keep(self, record: Record) -> bool:
        from referencing.exceptions import Unresolvable

        if self._validator is None:
            self.setup()
        try:
            errors = [f"{e.json_path}: {e.message:.200}" for e in islice(self._validator.iter_errors(record), 3)]
        except Unresolvable as error:
            raise RecordError(f"the schema has a $ref that names nothing: {error}") from None
        if errors and self.on_violation == "fail":
            raise RecordError(f"it breaks the contract: {'; '.join(errors)}")
        return not errors

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_validator": None}


def _pattern(validator: Any, pattern: str, value: Any, schema: object) -> Iterator[Any]:
    """The keyword `pattern` of JSON Schema, which stops where it would take for ever."""
    from jsonschema import ValidationError

    if validator.is_type(value, "string") and not patterns.run(_compiled(pattern), "search", value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_compiled = lru_cache(maxsize=256)(re.compile)

_OF_NAMED_FIELDS = frozenset(
    ("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "examples", "type", "properties",
     "required")
)  # fmt: skip
"""Keywords of JSON Schema that say nothing of fields which they do not name."""


def _dangling(schema: Mapping[str, object]) -> Iterator[str]:
    """References to other documents, which validating would fetch, and to places that are not there."""
    from referencing import Resource
    from referencing.exceptions import CannotDetermineSpecification, Unresolvable
    from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY

    waiting: list[Any] = [schema]
    references, names = [], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            names |= {value.rstrip("#") for name in ("$id", "id") if isinstance(value := part.get(name), str)}
            references += [value for name in ("$ref", "$dynamicRef") if isinstance(value := part.get(name), str)]
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
    try:
        root = Resource.from_contents(schema, default_specification=DRAFT202012)
    except CannotDetermineSpecification:  # an unknown $schema
        root = DRAFT202012.create_resource(schema)
    resolver = EMPTY_REGISTRY.with_resource("", root).resolver()
    for reference in references:
        document = reference.partition("#")[0]
        if document and not any(name.endswith(document) for name in names):
            yield reference
        elif not names:
            try:
                resolver.lookup(reference)
            except Unresolvable:
                yield reference


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
