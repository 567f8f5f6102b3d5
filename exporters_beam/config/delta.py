"""`delta`: an export of a whole snapshot delivers what is different from the delivery before."""

from __future__ import annotations

from dataclasses import dataclass

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, Problem

DELTA = "delta"
"""The name of the section, and of the step that it stands for."""

LAST, NONE = AGAINST = ("last", "none")
"""What a delivery is compared with."""

NEW, CHANGED, DELETED = ("new", "changed", "deleted")
"""What a delivered record says of itself."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """Only what is new, changed or deleted since the delivery before is delivered: the section `delta`.

    Each run reads a whole snapshot. Records are known by their `key`, which only one record of a snapshot may have. Each that
    is delivered says in a field of its own what became of it; one that is gone has the fields of its key, and that field.
    """

    key: tuple[str, ...] = option("fields that together tell records apart", type="str_list", example=["url"])
    against: str = option("what is compared with: the last delivery, or none: everything is new", default=LAST, choices=AGAINST)
    deletes: bool = option("deliver a record for each key that is gone", type="bool", default=True)
    field: str = option("the field that says what became of a record: new, changed or deleted", default="_change")

    def __post_init__(self) -> None:
        if not self.key:
            raise ConfigError(Problem(("key",), "name at least one field"))
        for n, name in enumerate(self.key):
            if not name or name in self.key[:n]:
                raise ConfigError(Problem(("key", n), f"{name} is named twice" if name else "an empty text names no field"))
        if not self.field:
            raise ConfigError(Problem(("field",), "an empty text names no field"))
        if self.field in self.key:
            raise ConfigError(Problem(("field",), f"{self.field} is a field of the key; take another one"))
