"""The transform `fields`: what most exports do to records, without code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from exporters_beam.components.options import option, options_of
from exporters_beam.records import Key, Record
from exporters_beam.transforms.fields import editors
from exporters_beam.transforms.fields.columns import Columns, arrangement, on_columns
from exporters_beam.transforms.fields.operations import ORDER, as_of, operations
from exporters_beam.transforms.fields.records import on_records


@dataclass(frozen=True, kw_only=True)
class FieldsTransform:
    r"""Choose, name, convert and protect fields, without code.

    Whatever their order in the config, these are done in this one: drop, rename, trim, lower, types, default, set, hash,
    mask, flatten, select. So `drop` and the left side of `rename` name fields as they come, all others as they are called
    then, and `select` what goes on, in its order. A field is a path: `seller.town`, `offers[].price` for each member of a
    list, `a\.b` for a name with a dot. What is missing or null stays so, but for `default` and `set`. A value that cannot be
    converted, and anything but a mapping or a list where the path leads through one, is an error of the record.
    docs/fields.md says what each operation and each type makes of every value.

    Example:
        transform:
          name: fields
          options:
            drop: [internal]
            rename: {name: title, seller.town: town}
            trim: [title]
            types: {price: decimal, scraped_at: {type: datetime, format: '%d/%m/%Y %H:%M', zone: Europe/Copenhagen}}
            default: {currency: EUR}
            set: {source: shop, day: {run_date: '%Y-%m-%d'}}
            hash: {email: sha256}
            mask: {card: 4}
            select: [title, town, price, currency, scraped_at, email, card, source, day]
    """

    kind: ClassVar[str] = "transform"

    drop: tuple[str, ...] = option("fields to remove, before anything else", type="str_list", default=(), example=["internal"])
    rename: dict[str, Any] = option(
        "new names or places of fields: {old: new}",
        type="dict",
        default={},
        members=editors.NAMES,
        example={"name": "title", "seller.town": "town"},
    )
    trim: tuple[str, ...] = option("texts to cut white space from at both ends", type="str_list", default=(), example=["title"])
    lower: tuple[str, ...] = option("texts to write in small letters", type="str_list", default=(), example=["email"])
    types: dict[str, Any] = option(
        "types of fields: integer, number, decimal, boolean, text, date, datetime, json (read JSON text) or json_text (write "
        "it), or a mapping with type and its options: format, zone, ambiguous, true_values, false_values, empty_as_null",
        type="dict",
        default={},
        members=editors.TYPES,
        example={"price": "decimal", "day": {"type": "date", "format": "%d.%m.%Y"}},
    )
    default: dict[str, Any] = option(
        "values for fields that are missing or null", type="dict", default={}, example={"currency": "EUR"}
    )
    constants: dict[str, Any] = option(
        "values for fields, whatever they had; {run_date: '%Y-%m-%d'} is the day on which the export began, in local time",
        name="set",
        type="dict",
        default={},
        example={"source": "shop", "day": {"run_date": "%Y-%m-%d"}},
    )
    hashes: dict[str, Any] = option(
        "fields to put a hash of in their place: sha256 or hmac_sha256", name="hash", type="dict", default={},
        members=editors.HASHES, example={"email": "sha256"},
    )  # fmt: skip
    hash_key: str | None = option("the key of hmac_sha256", default=None, secret=True, example="${secret:env:HASH_KEY}")
    mask: dict[str, Any] = option(
        "fields whose characters become *, but for so many last ones: {card: 4}, or {card: {keep_last: 4, with: x}}",
        type="dict",
        default={},
        members=editors.MASKS,
        example={"card": 4},
    )
    flatten: Any = option(
        "top-level fields whose members take their place, as seller_town; or {separator: ., fields: […]}, all without fields",
        type="list|dict",
        default=None,
        members=editors.FLATTEN,
        example=["seller"],
    )
    select: tuple[str, ...] | None = option(
        "the fields that go on, in this order; without it all do", type="str_list", default=None, example=["title", "price"]
    )
    _operations: Any = field(init=False, repr=False, compare=False, default=None)
    _map: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        declared = {o.name: o for o in options_of(type(self))}
        found = operations({name: declared[name].value(self) for name in ORDER}, self.hash_key)
        object.__setattr__(self, "_operations", found)
        object.__setattr__(self, "_map", on_records(found))

    def at(self, now: datetime) -> FieldsTransform:
        """With the dates of a run that began at this time."""
        return dataclasses.replace(self, constants=as_of(self.constants, now))

    def dates(self, now: datetime) -> tuple[str, ...]:
        """The dates of a run that began at this time, in the order of `set`."""
        dated = as_of(self.constants, now)
        return tuple(str(value) for path, value in dated.items() if value is not self.constants[path])

    @property
    def reads(self) -> frozenset[str] | None:
        """The fields that are looked at, where nothing else is done than to set some; else None."""
        return None if self.adds is None else frozenset()

    @property
    def adds(self) -> tuple[str, ...] | None:
        """The fields that are set, where nothing else is done."""
        others = any(getattr(self, each.attribute) for each in options_of(type(self)) if each.name != "set")
        names = [edit.name for edit in self._operations.fills]
        return None if others or not self._operations.flat else tuple(names)

    @property
    def needs(self) -> frozenset[str] | None:
        """The fields that decide what goes on, where `select` chooses; else None."""
        found: frozenset[str] | None = self._operations.needs
        return found

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """The fields that records should have: one that none has is warned of."""
        found: tuple[tuple[str, Key], ...] = self._operations.sought
        return found

    @property
    def map_columns(self) -> Callable[[Columns, int], Columns] | None:
        """`map` for columns; None where a path leads into mappings or lists."""
        return on_columns(self._operations)

    @property
    def arranges(self) -> Callable[[Sequence[str]], list[tuple[str, str]]] | None:
        """Which fields of records go on, with their new names; None where more is done."""
        return arrangement(self._operations)

    def map(self, record: Record) -> Record:
        found: Record = self._map(record)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.init}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__post_init__()
