"""Transforms: what becomes of a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.words import kind_of
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import Record
from exporters_beam.transforms.callables import Loaded
from exporters_beam.transforms.chance import Chance, apart
from exporters_beam.transforms.expressions.by_column import Columns, columns_set
from exporters_beam.transforms.expressions.compile import compile_option
from exporters_beam.transforms.expressions.dialects import DIALECT, PYTHON_3, as_read
from exporters_beam.transforms.expressions.reads import fields_added
from exporters_beam.transforms.results import surely_gives


@dataclass(frozen=True, kw_only=True)
class NoTransform:
    """Leave records as they are: the same as no transform.

    Example:
        transform: {name: none}
    """

    kind: ClassVar[str] = "transform"

    reads: ClassVar[frozenset[str]] = frozenset()
    adds: ClassVar[tuple[str, ...]] = ()

    def map(self, record: Record) -> Record:
        return record


@dataclass(frozen=True, kw_only=True)
class PythonexpTransform:
    """Evaluate Python expressions, in order, for what they do to `item`; their values are dropped.

    Later ones see what earlier ones did. What an expression may do is described in docs/expressions.md. One that cannot
    be evaluated for a record (a missing field, say) is an error of that record.

    Example:
        transform:
          name: pythonexp
          options:
            python_expressions: ["item.update(value=item['price'] * item['stock'])", "item.pop('stock')"]
    """

    kind: ClassVar[str] = "transform"

    python_expressions: tuple[str, ...] = option(
        "expressions that change item", type="str_list", example=["item.update(total=item['a'] + item['b'])"]
    )
    dialect: str = DIALECT
    _chances: tuple[Chance, ...] = field(init=False, repr=False, compare=False, default=())
    _evaluate: Any = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        found = [
            compile_option(f"python_expressions[{n}]", source, dialect=self.dialect)
            for n, source in enumerate(self.python_expressions)
        ]
        object.__setattr__(self, "_evaluate", tuple(expression.evaluate for expression in found))
        object.__setattr__(self, "_chances", tuple(each.chance for each in found if each.chance is not None))
        apart(self._chances)

    @property
    def chances(self) -> tuple[Chance, ...]:
        """What the expressions draw from: steps tell it each record's position."""
        return self._chances

    @property
    def expressions(self) -> tuple[str, ...]:
        return as_read(self.python_expressions, self.dialect)

    @property
    def reads(self) -> frozenset[str] | None:
        """The fields that are looked at, where nothing else is done than to add some; else None."""
        found = None if self.chances else fields_added(*self.expressions)
        return None if found is None else found[0]

    @property
    def adds(self) -> tuple[str, ...] | None:
        """The fields that are added, in order; None where more may be done to a record."""
        found = None if self.chances else fields_added(*self.expressions)
        return None if found is None else found[1]

    @property
    def map_columns(self) -> Callable[[Columns, int], Columns] | None:
        """`map` for columns; None where it may do more to a record than to set fields."""
        return None if self.chances or self.dialect != PYTHON_3 else columns_set(*self.python_expressions)

    def map(self, record: Record) -> Record:
        for evaluate in self._evaluate:
            evaluate(record)
        return record

    def __getstate__(self) -> dict[str, Any]:
        return {"python_expressions": self.python_expressions, "dialect": self.dialect}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


@dataclass(frozen=True, kw_only=True)
class PythonMapTransform:
    """Replace each record by the value of a Python expression over `item`.

    What an expression may do is described in docs/expressions.md. One that cannot be evaluated for a record is an error
    of that record, and so is a value that is not an object: `item.update(…)`, say, gives None. Writers that make no files
    (`console`, `reduce`) take any value but None.

    Example:
        transform:
          name: pythonmap
          options: {map: "{'id': item['id'], 'label': item['city'].upper()}"}
    """

    kind: ClassVar[str] = "transform"

    map_expression: str = option("the new record", name="map", example="dict(item, tagged=True)")
    dialect: str = DIALECT
    _expression: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_expression", compile_option("map", self.map_expression, dialect=self.dialect))
        if surely_gives(*self.expressions) == "None":
            raise ConfigError(
                "map: the expression gives None whatever the record is, and its value takes the record's place; use the "
                "transform pythonexp to change records, or write dict(item, field=value)"
            )

    @property
    def gives(self) -> str:
        """What it gives in the place of every record, where that is proved to be no object."""
        return surely_gives(*self.expressions)

    @property
    def expressions(self) -> tuple[str, ...]:
        return as_read((self.map_expression,), self.dialect)

    @property
    def chances(self) -> tuple[Chance, ...]:
        """What the expression draws from: steps tell it each record's position."""
        return () if self._expression.chance is None else (self._expression.chance,)

    def map(self, record: Record) -> Any:
        return self._expression.evaluate(record)


@dataclass(frozen=True, kw_only=True)
class PythonTransform(Loaded):
    """Give each record to a Python function of yours; what it gives goes on.

    A mapping is one record, None is none, and a list or generator of mappings is several; anything else is an error of
    the record, as is what the function raises. It may change the record it is given. It is imported on the workers,
    which need its package.

    Example:
        transform:
          name: python
          options: {function: 'my_package.steps:clean'}
    """

    kind: ClassVar[str] = "transform"

    function: str = option("package.module:function", example="my_package.steps:clean")

    def flat_map(self, record: Record) -> Iterable[Any]:
        result = self.call(record)
        if result is None:
            return ()
        if isinstance(result, Mapping):
            return (result,)
        if isinstance(result, (str, bytes)) or not isinstance(result, Iterable):
            raise RecordError(f"{self.function} gave {result!r:.200}; it has to give a mapping, None or several mappings")
        return self._checked(result)

    def _checked(self, results: Iterable[object]) -> Iterator[Any]:
        for result in results:
            if not isinstance(result, Mapping):
                raise RecordError(f"{self.function} gave a list with {result!r:.200} in it; it may hold mappings only")
            yield result


@dataclass(frozen=True, kw_only=True)
class SortKeysTransform:
    """Put the fields of each record in the order of their names, and those of mappings inside it.

    Names are compared character by character, by their numbers in Unicode: capital letters stand before small ones. Members of
    lists keep their order; with `nested: false` only the record itself is put in order.

    Example:
        transform: {name: sort_keys}
    """

    kind: ClassVar[str] = "transform"

    nested: bool = option("put mappings inside the record in order, too", type="bool", default=True)

    def map(self, record: Record) -> Record:
        if not isinstance(record, Mapping):
            raise RecordError(f"the record is not a mapping but {kind_of(record)}; sort_keys needs fields")
        return _in_order(record) if self.nested else {name: record[name] for name in sorted(record, key=str)}


def _in_order(value: Any) -> Any:
    if value.__class__ in _WITHOUT_FIELDS:
        return value
    if value.__class__ is dict or isinstance(value, Mapping):
        return {name: _in_order(value[name]) for name in sorted(value, key=str)}
    return [_in_order(member) for member in value] if isinstance(value, (list, tuple)) else value


_WITHOUT_FIELDS = {str, int, float, bool, type(None)}
