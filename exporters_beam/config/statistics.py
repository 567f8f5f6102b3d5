"""`statistics`: what is told of the fields of an export's records, and compared with the run before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporters_beam.components.options import option
from exporters_beam.config.checks import share
from exporters_beam.errors import ConfigError, Problem


def shorthand(kind: type, given: object) -> tuple[object, bool]:
    """The options that a section of this kind stands for, and whether it is the value of one of them."""
    if kind is Statistics and given is True:
        return {}, False
    if kind is Statistics and isinstance(given, (list, tuple)):
        return {"fields": given}, True
    return given, False


CHANGE = 0.1
"""The share of records by which a field may be there more or less often before that is told, by default."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics of each field of the records that come to the writer: the section `statistics`.

    The report and the manifest tell how often it is there, null or missing, its types, about how many different values it has,
    the least and the greatest, and lengths. `true` is short for all fields, a list for these fields and what is in them. What
    has changed since the run before of the same config is warned of: fields that are new or gone, new types, and fields that
    have a value in a share of the records that differs by more than `change`.
    """

    fields: tuple[str, ...] | None = option(
        "paths of fields, and all that is in them; without it all fields",
        type="str_list",
        default=None,
        example=["price", "offers[].price"],
    )
    change: Any = option(
        "tell where the share of records in which a field has a value differs by more than this from the run before",
        type="number|str",
        default=CHANGE,
        example="10%",
    )

    def __post_init__(self) -> None:
        if self.fields is not None and not self.fields:
            raise ConfigError(Problem(("fields",), "give at least one field, or leave this out for all"))
        _ = self.most

    @property
    def most(self) -> float:
        """The share by which records may have a field more or less often than before, untold."""
        return share(self.change, ("change",))
