"""Operations of the transform `fields` on records: one function, made once, that is applied to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from exporters_beam.components.words import kind_of
from exporters_beam.errors import RecordError
from exporters_beam.records import MISSING
from exporters_beam.transforms.fields.operations import Edit, Flatten, Operations, lowered, trimmed
from exporters_beam.transforms.fields.paths import (
    EACH,
    Change,
    Path,
    Unfit,
    changed,
    escaped,
    in_list,
    in_mapping,
    putter,
    taker,
)

Record = dict[str, Any]

Work = Callable[[Record], Record]


def on_records(found: Operations) -> Work:
    """What the operations make of a record, which they may change. Raises RecordError."""
    flat = found.flatten is None and all(len(path) == 1 for path in (*found.drop, *(p for pair in found.rename for p in pair)))
    if flat and found.select is not None and all(len(path) == 1 for path in found.select):
        return _choosing(found)
    return _in_place(found)


class _Code:
    """A function of a record, as source and the values that it names."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._scope: dict[str, Any] = {
            "Unfit": Unfit,
            "RecordError": RecordError,
            "M": MISSING,
            "as_dictionary": _as_dictionary,
        }

    def add(self, *lines: str) -> None:
        self.lines += lines

    def named(self, value: object) -> str:
        name = f"k{len(self._scope)}"
        self._scope[name] = value
        return name

    def changes(self, field: str, variable: str, changes: Iterable[Change]) -> Iterator[str]:
        """The lines that change a value, which is not null."""
        for n, change in enumerate(changes):
            name = self.named(change)
            text = "strip" if change is trimmed else "lower" if change is lowered else ""
            work = (
                f"{variable}.{text}() if {variable}.__class__ is str else {name}({variable})" if text else f"{name}({variable})"
            )
            if n:
                yield f"if {variable} is not None: {variable} = {work}"
            else:
                yield f"at = {field!r}; {variable} = {work}"

    def function(self) -> Work:
        body = "\n        ".join(self.lines or ["pass"])
        source = _FUNCTION.format(body=body)
        exec(compile(source, "<fields>", "exec", dont_inherit=True), self._scope)
        work: Work = self._scope["work"]
        return work


_FUNCTION = """
def work(record):
    if record.__class__ is not dict:
        record = as_dictionary(record)
    at = ""
    try:
        {body}
    except Unfit as unfit:
        raise unfit.of(at) from None
    except RecursionError:
        raise RecordError("the record cannot be changed: values are nested too deep") from None
    return record
"""


def _in_place(found: Operations) -> Work:
    """The operations one after the other, on the record itself."""
    code = _Code()
    code.add(*(f"record.pop({path[0]!r}, None)" for path in found.drop if len(path) == 1))
    nested = [path for path in found.drop if len(path) > 1]
    works = [*([_dropping(nested)] if nested else []), *(_renaming(found.rename) if found.rename else ())]
    code.add(*(f"record = {code.named(work)}(record)" for work in works))
    _edits_in_place(code, found.edits)
    for fill in found.fills:
        field, constant = repr(fill.name), code.named(fill.constant)
        if fill.constant is MISSING:
            code.add(
                f"at = {field}; value = {code.named(fill.change)}(record.get(at, M))", "if value is not M: record[at] = value"
            )
        else:
            code.add(f"{'' if fill.always else f'if record.get({field}) is None: '}record[{field}] = {constant}")
    _edits_in_place(code, found.hides)
    last = [] if found.flatten is None else [_flattening(found.flatten)]
    last += [] if found.select is None else [_selecting(found.select)]
    code.add(*(f"record = {code.named(work)}(record)" for work in last))
    return code.function()


def _edits_in_place(code: _Code, edits: Sequence[Edit]) -> None:
    for field, changes in of_each(edits):
        code.add(f"value = record.get({field!r})", "if value is not None:")
        code.add(*(f"    {line}" for line in code.changes(field, "value", changes)), f"    record[{field!r}] = value")


def _choosing(found: Operations) -> Work:
    """A new record of the fields that are selected, where all of these are fields of the record itself."""
    code = _Code()
    sources = {str(target[0]): str(source[0]) for source, target in found.rename}
    gone = {str(path[0]) for path in (*found.drop, *(source for source, _ in found.rename))}
    dropped = {str(path[0]) for path in found.drop}
    select = [str(path[0]) for path in found.select or ()]
    edits = (*found.edits, *found.fills, *found.hides)
    variables = {name: f"v{n}" for n, name in enumerate(dict.fromkeys((*sources, *(edit.name for edit in edits), *select)))}
    code.add("get = record.get")
    for name, variable in variables.items():
        there = name in sources or name not in gone
        code.add(f"{variable} = get({sources.get(name, name)!r}, M)" if there else f"{variable} = M")
    for target in sources.keys() - gone - dropped:
        code.add(f"if {target!r} in record and {variables[target]} is not M: at = {target!r}; raise Unfit({TWICE!r})")
    _edits_of_variables(code, found.edits, variables)
    for fill in found.fills:
        variable, constant = variables[fill.name], code.named(fill.constant)
        if fill.constant is MISSING:
            code.add(f"at = {fill.name!r}; {variable} = {code.named(fill.change)}({variable})")
        else:
            code.add(f"{'' if fill.always else f'if {variable} is None or {variable} is M: '}{variable} = {constant}")
    _edits_of_variables(code, found.hides, variables)
    members = ", ".join(f"{name!r}: {variables[name]}" for name in select)
    missing = " or ".join(f"{variables[name]} is M" for name in select)
    code.add(
        f"record = {{{members}}}", f"if {missing}: record = {{name: value for name, value in record.items() if value is not M}}"
    )
    return code.function()


def _edits_of_variables(code: _Code, edits: Sequence[Edit], variables: Mapping[str, str]) -> None:
    for field, changes in of_each(edits):
        variable = variables[field]
        code.add(f"if {variable} is not None and {variable} is not M:")
        code.add(*(f"    {line}" for line in code.changes(field, variable, changes)))


TWICE = "another field is renamed to it, and there is such a field already; drop it to replace it"


def _as_dictionary(record: Any) -> Record:
    if not isinstance(record, Mapping):
        raise RecordError(f"the record is not a mapping but {kind_of(record)}; fields needs fields")
    return dict(record)


def of_each(edits: Sequence[Edit]) -> list[tuple[str, list[Change]]]:
    """Field by field what becomes of its value, step by step. Edits of one path follow one another where no path is in it."""
    paths = {edit.path for edit in edits}
    if any(one != other and other[: len(one)] == one for one in paths for other in paths):
        return [(edit.name, [edit.change]) for edit in edits]
    found: dict[Path, list[Change]] = {}
    for edit in edits:
        found.setdefault(edit.path, []).append(edit.change)
    return [(str(path[0]), changes) for path, changes in found.items()]


def _dropping(paths: Sequence[Path]) -> Work:
    return _editing([(str(path[0]), _dropped(path[1:])) for path in paths])


def _editing(pairs: Sequence[tuple[str, Change]]) -> Work:
    def edit(record: Record) -> Record:
        name = ""
        try:
            for name, change in pairs:
                value = record.get(name)
                if value is not None:
                    record[name] = change(value)
        except Unfit as unfit:
            raise unfit.of(name) from None
        return record

    return edit


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
            yield _editing([(str(within[0]), changed(within[1:], rename))])
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
    takes, puts = [taker(source) for source, _ in moves], [putter(target, TWICE) for _, target in moves]
    inside = [(way, changed(way, _renamed(names))) for way, names in sorted(stay.items(), key=lambda each: -len(each[0]))]

    def rename(value: Any) -> Any:
        record = in_mapping(value)
        waiting = [take(record) for take in takes]
        for _, change in inside:
            record = change(record)
        for put, found in zip(puts, waiting, strict=True):
            if found is not MISSING:
                put(record, found)
        return record

    return rename if moves or len(inside) > 1 or inside[0][0] else _renamed(stay[()])


def _renamed(names: Mapping[str, str]) -> Change:
    sources = names.keys()

    def rename(value: Any) -> Any:
        record = in_mapping(value)
        if sources.isdisjoint(record):
            return record
        found = {names.get(name, name): value for name, value in record.items()}
        if len(found) != len(record):
            twice = next(new for old, new in names.items() if old in record and new in record and new not in sources)
            raise Unfit(TWICE, f".{escaped(twice)}")
        return found

    return rename


def _flattening(flatten: Flatten) -> Work:
    names, separator = flatten

    def flat(record: Record) -> Record:
        if not any(map(_is_mapping, record.values() if names is None else map(record.get, names))):
            return record
        found: Record = {}
        for name, value in record.items():
            if (names is None or name in names) and _is_mapping(value):
                for each, member in _leaves(name, value, separator):
                    if each in found:
                        raise RecordError(f"{escaped(each)}: {_FLAT_TWICE}")
                    found[each] = member
            elif name in found:
                raise RecordError(f"{escaped(name)}: {_FLAT_TWICE}")
            else:
                found[name] = value
        return found

    return flat


_FLAT_TWICE = "two fields have this name when they are flat; rename one"


def _is_mapping(value: Any) -> bool:
    kind = value.__class__
    return kind is dict or (kind not in _PLAIN and isinstance(value, Mapping))  # The last test is slow.


_PLAIN = frozenset((str, int, float, bool, list, type(None)))


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
