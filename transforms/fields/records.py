"""Operations of the transform `fields` on records: one function, made once, that is applied to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from exporters_beam.components.words import kind_of
from exporters_beam.errors import RecordError
from exporters_beam.records import MISSING
from exporters_beam.transforms.fields.operations import Edit, Flatten, Operations
from exporters_beam.transforms.fields.paths import (
    EACH,
    Change,
    Path,
    Unfit,
    changed,
    escaped,
    in_list,
    in_mapping,
    put,
    taken,
)

Record = dict[str, Any]

Work = Callable[[Record], Record]


def on_records(found: Operations) -> Work:
    """What the operations make of a record, which they may change. Raises RecordError."""
    works = tuple(_works(found))

    def apply(record: Any) -> Record:
        if record.__class__ is not dict:
            record = _as_dictionary(record)
        try:
            for work in works:
                record = work(record)
        except RecursionError:
            raise RecordError("the record cannot be changed: values are nested too deep") from None
        return record

    return apply


def _as_dictionary(record: Any) -> Record:
    if not isinstance(record, Mapping):
        raise RecordError(f"the record is not a mapping but {kind_of(record)}; fields needs fields")
    return dict(record)


def _works(found: Operations) -> Iterator[Work]:
    if found.drop:
        yield _dropping(found.drop)
    if found.rename:
        yield from _renaming(found.rename)
    if found.edits:
        yield _editing(found.edits)
    if found.fills:
        yield _filling(found.fills)
    if found.hides:
        yield _editing(found.hides)
    if found.flatten is not None:
        yield _flattening(found.flatten)
    if found.select is not None:
        yield _selecting(found.select)


def of_each(edits: Sequence[Edit]) -> list[tuple[str, Change]]:
    """Field by field what becomes of its value. Edits of one path follow one another where no other path is in it."""
    paths = {edit.path for edit in edits}
    if any(one != other and other[: len(one)] == one for one in paths for other in paths):
        return [(edit.name, edit.change) for edit in edits]
    found: dict[Path, list[Change]] = {}
    for edit in edits:
        found.setdefault(edit.path, []).append(edit.change)
    return [(str(path[0]), _one_after_another(changes)) for path, changes in found.items()]


def _one_after_another(changes: Sequence[Change]) -> Change:
    if len(changes) == 1:
        return changes[0]

    def change(value: Any) -> Any:
        for each in changes:
            if value is None:
                return None
            value = each(value)
        return value

    return change


def _editing(edits: Sequence[Edit]) -> Work:
    pairs = of_each(edits)

    def edit(record: Record) -> Record:
        name = ""
        get = record.get
        try:
            for name, change in pairs:
                value = get(name)
                if value is not None:
                    record[name] = change(value)
        except Unfit as unfit:
            raise unfit.of(name) from None
        return record

    return edit


def _filling(fills: Sequence[Edit]) -> Work:
    pairs = [(edit.name, edit.change) for edit in fills]

    def fill(record: Record) -> Record:
        name = ""
        try:
            for name, change in pairs:
                value = change(record.get(name, MISSING))
                if value is not MISSING:
                    record[name] = value
        except Unfit as unfit:
            raise unfit.of(name) from None
        return record

    return fill


def _dropping(paths: Sequence[Path]) -> Work:
    names = [str(path[0]) for path in paths if len(path) == 1]
    inner = [(str(path[0]), _dropped(path[1:])) for path in paths if len(path) > 1]

    def drop(record: Record) -> Record:
        for each in names:
            record.pop(each, None)
        name = ""
        try:
            for name, change in inner:
                value = record.get(name)
                if value is not None:
                    record[name] = change(value)
        except Unfit as unfit:
            raise unfit.of(name) from None
        return record

    return drop


def _dropped(path: Path) -> Change:
    def drop(value: Any) -> Any:
        in_mapping(value).pop(str(path[-1]), None)
        return value

    return changed(path[:-1], drop)


def _renaming(pairs: Sequence[tuple[Path, Path]]) -> Iterator[Work]:
    """Those within members of lists first: what leads there has its old name until then."""
    groups: dict[Path, list[tuple[Path, Path]]] = {}
    for source, target in pairs:
        end = max((n + 1 for n, part in enumerate(source) if part is EACH), default=0)
        groups.setdefault(source[:end], []).append((source[end:], target[end:]))
    for within in sorted(groups, key=len, reverse=True):
        rename = _renamer(groups[within])
        if within:
            yield _editing([Edit(within, changed(within[1:], rename))])
        else:
            yield _guarded(rename)


def _guarded(rename: Change) -> Work:
    def work(record: Record) -> Record:
        try:
            found: Record = rename(record)
        except Unfit as unfit:
            raise RecordError(f"{unfit.place.removeprefix('.')}: {unfit.what}") from None
        return found

    return work


def _renamer(pairs: Sequence[tuple[Path, Path]]) -> Change:
    """What renames in a mapping: what stays where it is keeps its place, what moves elsewhere comes last."""
    stay: dict[Path, dict[str, str]] = {}
    moves = []
    for source, target in pairs:
        if source[:-1] == target[:-1]:
            stay.setdefault(source[:-1], {})[str(source[-1])] = str(target[-1])
        else:
            moves.append((source, target))
    inside = [(way, changed(way, _renamed(names))) for way, names in sorted(stay.items(), key=lambda each: -len(each[0]))]

    def rename(value: Any) -> Any:
        record = in_mapping(value)
        waiting = [(target, taken(record, source)) for source, target in moves]
        for _, change in inside:
            record = change(record)
        for target, found in waiting:
            if found is not MISSING:
                _put(record, target, found)
        return record

    return rename if moves or len(inside) > 1 or inside[0][0] else _renamed(stay[()])


def _put(record: Record, target: Path, found: Any) -> None:
    try:
        put(record, target, found)
    except Unfit as unfit:
        if unfit.what.startswith("there is"):
            raise Unfit(f"another field is renamed to it, and {unfit.what}; drop it to replace it", unfit.place) from None
        raise


def _renamed(names: Mapping[str, str]) -> Change:
    sources = names.keys()

    def rename(value: Any) -> Any:
        record = in_mapping(value)
        if sources.isdisjoint(record):
            return record
        found = {names.get(name, name): value for name, value in record.items()}
        if len(found) != len(record):
            twice = next(new for old, new in names.items() if old in record and new in record and new not in sources)
            what = "another field is renamed to it, and there is such a field already; drop it to replace it"
            raise Unfit(what, f".{escaped(twice)}")
        return found

    return rename


def _flattening(flatten: Flatten) -> Work:
    names, separator = flatten

    def flat(record: Record) -> Record:
        if dict not in {*map(type, record.values())} and not any(isinstance(value, Mapping) for value in record.values()):
            return record
        found: Record = {}
        for name, value in record.items():
            members = isinstance(value, Mapping) and (names is None or name in names)
            for each, member in _leaves(name, value, separator) if members else ((name, value),):
                if each in found:
                    raise RecordError(f"{escaped(each)}: two fields have this name when they are flat; rename one")
                found[each] = member
        return found

    return flat


def _leaves(name: str, value: Mapping[str, Any], separator: str) -> Iterator[tuple[str, Any]]:
    for key, member in value.items():
        each = f"{name}{separator}{key}"
        if isinstance(member, Mapping):
            yield from _leaves(each, member, separator)
        else:
            yield each, member


def _selecting(paths: Sequence[Path]) -> Work:
    names = [str(path[0]) for path in paths]
    if any(len(path) > 1 for path in paths):
        tree = _tree(paths)

        def select(record: Record) -> Record:
            found: Record = _selected(tree, record, "")
            return found

        return select
    if len(names) == 1:
        (name,) = names
        return lambda record: {name: record[name]} if name in record else {}
    all_of = itemgetter(*names)

    def select_all(record: Record) -> Record:
        try:
            return dict(zip(names, all_of(record)))  # noqa: B905  They are as many.
        except KeyError:
            return {name: record[name] for name in names if name in record}

    return select_all


Tree = dict[str | None, Any]
"""What is selected by name: a tree, or {} for the whole value. Of a list the only name is EACH."""


def _tree(paths: Iterable[Path]) -> Tree:
    tree: Tree = {}
    for path in paths:
        within = tree
        for part in path:
            within = within.setdefault(part, {})
    return tree


def _selected(tree: Tree, value: Any, place: str) -> Any:
    if not tree or value is None:
        return value
    try:
        if EACH in tree:
            return [_selected(tree[EACH], each, f"{place}[{n}]") for n, each in enumerate(in_list(value))]
        holder = in_mapping(value)
    except Unfit as unfit:
        raise RecordError(f"{place.removeprefix('.')}: {unfit.what}") from None
    there = ((str(name), inner) for name, inner in tree.items() if name in holder)
    return {name: _selected(inner, holder[name], f"{place}.{escaped(name)}") for name, inner in there}
