"""Operations of the transform `fields` on columns of records that all have the same fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporters_beam.records import MISSING
from exporters_beam.transforms.fields.operations import Operations
from exporters_beam.transforms.fields.records import of_each

Columns = dict[str, Sequence[Any]]


def on_columns(found: Operations) -> Callable[[Columns, int], Columns] | None:
    """What the operations make of columns of so many records, which stay as they are. None where a path leads into mappings or
    lists. Raises anything where they raise for one of the records."""
    if not found.flat:
        return None
    names = {str(source[0]): str(target[0]) for source, target in found.rename}
    dropped = {str(path[0]) for path in found.drop}
    select = None if found.select is None else [str(path[0]) for path in found.select]

    def apply(columns: Columns, count: int) -> Columns:
        made = {names.get(name, name): values for name, values in columns.items() if name not in dropped}
        if len(made) != sum(name not in dropped for name in columns):
            raise ValueError("a field is renamed to one that is there")
        _edit(made, edits)
        for edit in found.fills:
            values = made.get(edit.name)
            made[edit.name] = [edit.change(MISSING) for _ in range(count)] if values is None else list(map(edit.change, values))
        _edit(made, hides)
        if found.flatten is not None:
            _refuse_mappings(made, found.flatten[0])
        return made if select is None else {name: made[name] for name in select if name in made}

    edits, hides = of_each(found.edits), of_each(found.hides)
    return apply


def arrangement(found: Operations) -> Callable[[Sequence[str]], list[tuple[str, str]]] | None:
    """Which columns go on, in order, with their new names. None where more is done than to drop, rename and select fields of
    records, or where names change places."""
    sources, targets = ({str(pair[n][0]) for pair in found.rename} for n in (0, 1))
    if not found.flat or found.edits or found.fills or found.hides or found.flatten is not None or sources & targets:
        return None
    names = {str(source[0]): str(target[0]) for source, target in found.rename}
    dropped = {str(path[0]) for path in found.drop}
    select = None if found.select is None else [str(path[0]) for path in found.select]

    def arrange(given: Sequence[str]) -> list[tuple[str, str]]:
        made = {names.get(name, name): name for name in given if name not in dropped}
        if len(made) != sum(name not in dropped for name in given) or len(set(given)) != len(given):
            raise ValueError("two fields have one name")
        return [(made[name], name) for name in (made if select is None else select) if name in made]

    return arrange


def _edit(columns: Columns, edits: Sequence[tuple[str, Sequence[Callable[[Any], Any]]]]) -> None:
    for name, changes in edits:
        values = columns.get(name)
        if values is not None:
            for change in changes:
                values = [None if value is None else change(value) for value in values]
            columns[name] = values


def _refuse_mappings(columns: Columns, names: frozenset[str] | None) -> None:
    for name, values in columns.items():
        if (names is None or name in names) and any(isinstance(value, Mapping) for value in values):
            raise ValueError("records have other fields, one by one")
