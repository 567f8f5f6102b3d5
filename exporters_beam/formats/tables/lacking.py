"""What those who read a file lack: types that ORC does not have, types and names that Spark and Hive do not take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from exporters_beam.formats.tables.types import ListOf, MapOf, Scalar, Struct, Type, below, brief

REFUSED = " ,;{}()\n\t="
"""Characters that Spark before 3.3 refuses in the names of columns."""

WHO = {"orc": "ORC", "spark": "Spark"}


@lru_cache(maxsize=64)
def misfit(struct: Struct, form: str) -> str:
    """Why `form` ("orc", or "spark" for Parquet that Spark reads) cannot hold columns of these types; "" where it can."""
    return next(_misfits(struct, "", form), "")


def _misfits(type_: Type, path: str, form: str) -> Iterator[str]:
    if isinstance(type_, Struct):
        if form == "spark":
            yield from _names(type_, path)
        for each in type_.fields:
            yield from _misfits(each.slot.type, below(path, each.name), form)
    elif isinstance(type_, ListOf):
        yield from _misfits(type_.items.type, f"{path}[]", form)
    elif isinstance(type_, MapOf):
        yield from (text for part in (type_.keys, type_.values.type) for text in _misfits(part, path, form))
    elif isinstance(type_, Scalar):
        yield from _of_scalar(type_, path, form)


def _of_scalar(type_: Scalar, path: str, form: str) -> Iterator[str]:
    who, kind, size = WHO[form], type_.kind, type_.size
    if kind == "time":
        yield f"field {path} holds times of day, and {who} has none; make texts of them"
    elif kind == "decimal" and size[0] > 38:
        yield f"field {path} needs decimals of {size[0]} digits, and {who} has 38 at most; make texts of them"
    elif kind.startswith("uint"):
        yield f"field {path} holds unsigned integers, and {who} has none; take int64"
    elif form == "spark" and kind == "fixed":
        yield f"field {path} holds bytes of a fixed size, which Spark before 3.4 does not read; take bytes"
    elif form == "spark" and kind in ("timestamp", "datetime") and size[0] > 6:
        yield f"field {path} holds nanoseconds, which Spark does not read; take microseconds"


def _names(struct: Struct, path: str) -> Iterator[str]:
    seen: dict[str, str] = {}
    for each in struct.fields:
        where = f"field {brief(below(path, each.name))}"
        if found := set(each.name) & set(REFUSED):
            yield f"{where}: Spark before 3.3 refuses {min(found)!r} in names; rename it"
        other = seen.setdefault(each.name.casefold(), each.name)
        if other != each.name:
            yield f"{where}: to Spark and Hive it is {brief(other)}, which differs by capital letters only; rename one"
