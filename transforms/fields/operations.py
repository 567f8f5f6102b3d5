"""The options of the transform `fields` as operations: paths parsed, values converted, and everything that is wrong with them.

The operations are made in one order, whatever the order in the config: `ORDER`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from exporters_beam.components.names import expand_dates
from exporters_beam.components.secret import holds_secret
from exporters_beam.components.words import did_you_mean, kind_of
from exporters_beam.errors import ConfigError, Problem
from exporters_beam.records import MISSING, Key
from exporters_beam.transforms.fields import types
from exporters_beam.transforms.fields.paths import EACH, Change, Path, Unfit, changed, escaped, filled, parsed, shown, written

ORDER = ("drop", "rename", "trim", "lower", "types", "default", "set", "hash", "mask", "flatten", "select")

HASHES = SHA256, HMAC_SHA256 = ("sha256", "hmac_sha256")

RUN_DATE = "run_date"

_DIRECTIVES = frozenset("aAbBdHIjmMpSUwWyYzZGuVfcxX%")
"""What strftime knows everywhere."""

SEPARATOR = "_"

Flatten = tuple[frozenset[str] | None, str]
"""The top-level fields that are made flat, None for all, and what stands between names."""


class Edit(NamedTuple):
    """What becomes of the value of the top-level field in which the path begins."""

    path: Path
    change: Change
    always: bool = False
    """Whether the value does not depend on the one before."""
    constant: Any = MISSING
    """What is put there, where it is the same value for each record."""

    @property
    def name(self) -> str:
        return str(self.path[0])


@dataclass(frozen=True)
class Operations:
    """What is done, in the order of the fields here."""

    drop: tuple[Path, ...] = ()
    rename: tuple[tuple[Path, Path], ...] = ()
    edits: tuple[Edit, ...] = ()
    """trim, lower, types: of values that are there and not null."""
    fills: tuple[Edit, ...] = ()
    """default, set: of any value, and of MISSING."""
    hides: tuple[Edit, ...] = ()
    """hash, mask: as `edits`."""
    flatten: Flatten | None = None
    select: tuple[Path, ...] | None = None

    @property
    def flat(self) -> bool:
        """Whether all paths are names of top-level fields."""
        return all(len(path) == 1 for path in self.paths)

    def as_it_came(self, path: Path) -> Iterator[Path]:
        """What a path of today was called before `rename`: itself, and what is renamed to it or into it."""
        sources = [(source, target) for source, target in self.rename if _overlap(path, target)]
        for source, target in sources:
            yield (*source, *path[len(target) :])
        if not sources and not _within(path, (source for source, _ in self.rename)):
            yield path

    @property
    def needs(self) -> frozenset[str] | None:
        """The top-level fields that decide what becomes of a record, None for all."""
        if self.select is None or self.flatten is not None:
            return None
        named = [edit.path for edit in (*self.edits, *self.hides)]
        named += [edit.path for edit in self.fills if len(edit.path) > 1 or not edit.always]
        put = {edit.path for edit in self.fills if edit.always}
        named += [path for path in self.select if path[:1] not in put]
        found = [*named, *(path for pair in self.rename for path in pair)]
        found += [source for path in named for source in self.as_it_came(path)]
        return frozenset(str(path[0]) for path in (*found, *(path for path in self.drop if len(path) > 1)))

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """The fields that are looked for: those that nothing puts there."""
        made = [edit.path for edit in self.fills]
        named = [edit.path for edit in (*self.edits, *self.hides)] + list(self.select or () if self.flatten is None else ())
        found = [source for path in named if not any(_overlap(path, each) for each in made) for source in self.as_it_came(path)]
        found += [source for source, _ in self.rename] + list(self.drop if self.select is None else ())
        ways = (path[: path.index(EACH)] if EACH in path else path for path in found)
        return tuple((written(way), key_of(way)) for way in dict.fromkeys(ways))

    @property
    def paths(self) -> Iterator[Path]:
        yield from self.drop
        yield from (path for pair in self.rename for path in pair)
        yield from (edit.path for edit in (*self.edits, *self.fills, *self.hides))
        yield from self.select or ()


def operations(given: Mapping[str, Any], key: str | None) -> Operations:
    """The operations of these options, by their names. Raises ConfigError with everything that is wrong."""
    made = _Reading(given)
    found = made.operations(key)
    if not made.problems:
        made.problems += _Orderly(made).problems()
    if made.problems:
        raise ConfigError(*made.problems)
    return found


@dataclass
class _Reading:
    """Options on their way: `paths` has what was parsed, by option, with the key or index that it stands at."""

    given: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)
    paths: dict[str, list[tuple[Any, Path]]] = field(default_factory=dict)
    targets: list[tuple[Any, Path]] = field(default_factory=list)
    converters: dict[Path, Change] = field(default_factory=dict)

    def add(self, *way: Any, message: str) -> None:
        self.problems.append(Problem(way, message))

    def known(self, *way: Any, options: Iterable[Any], known: tuple[str, ...]) -> None:
        for each in options:
            if each not in known:
                self.add(*way, each, message=f"unknown option of {way[0]}{did_you_mean(str(each), known)}")

    def path(self, option: str, at: Any, text: Any, leaf: bool = True) -> Path | None:
        """The path that stands at a key or index of an option. `leaf`: it may end in []."""
        if not isinstance(text, str):
            self.add(option, at, message=f"wrong type: found {kind_of(text)}, expected the path of a field")
            return None
        try:
            found = parsed(text)
        except ValueError as error:
            self.add(option, at, message=f"{text!r} is not a path: {error}")
            return None
        if not leaf and found[-1] is EACH:
            self.add(option, at, message=f"{text!r} ends in []: name the list itself, {written(found[:-1])}")
            return None
        return found

    def each(self, option: str, leaf: bool = True) -> Iterator[tuple[Any, Path, Any]]:
        """(key or index, path, value) of each member of an option."""
        known = self.paths.setdefault(option, [])
        members = self.given[option]
        pairs = members.items() if isinstance(members, Mapping) else enumerate(members or ())
        seen: set[Path] = set()
        for at, value in pairs:
            text = str(at) if isinstance(members, Mapping) else value
            path = self.path(option, at, text, leaf)
            if path is None:
                continue
            if path in seen:
                self.add(option, at, message=f"{written(path)} stands there already")
            seen.add(path)
            known.append((at, path))
            yield at, path, value

    def operations(self, key: str | None) -> Operations:
        if not any(value or (name == "select" and value is not None) for name, value in self.given.items()):
            self.problems.append(Problem((), f"give it something to do: one of {', '.join(ORDER)}"))
        drop = tuple(path for _, path, _ in self.each("drop", leaf=False))
        rename = tuple(self.renames())
        edits = [_edit(path, trimmed) for _, path, _ in self.each("trim")]
        edits += [_edit(path, lowered) for _, path, _ in self.each("lower")]
        edits += list(self.types())
        fills = [*self.fills("default"), *self.fills("set")]
        hides = [*self.hashes(key), *self.masks()]
        flatten = self.flatten()
        select = tuple(path for _, path, _ in self.each("select", leaf=False)) if self.given["select"] is not None else None
        if select == () and not self.problems:
            self.add("select", message="name one field at least; without select all of them stay")
        return Operations(drop, rename, tuple(edits), tuple(fills), tuple(hides), flatten, select)

    def renames(self) -> Iterator[tuple[Path, Path]]:
        for at, source, text in self.each("rename", leaf=False):
            target = self.path("rename", at, text, leaf=False)
            if target is None:
                continue
            if target == source:
                self.add("rename", at, message="it has this name already")
            elif _before_last_list(source) != _before_last_list(target):
                prefix = written(_before_last_list(source))
                where = f"stays within the members of {prefix}: write {prefix}.name" if prefix else "cannot go into a list"
                self.add("rename", at, message=f"{written(target)}: {written(source)} {where}")
            else:
                self.targets.append((at, target))
                yield source, target

    def types(self) -> Iterator[Edit]:
        for at, path, value in self.each("types"):
            options = value if isinstance(value, Mapping) else {"type": value}
            name = options.get("type")
            way = ("types", at, "type") if isinstance(value, Mapping) else ("types", at)
            if not isinstance(name, str):
                what = "the type is missing" if name is None else f"wrong type: found {kind_of(name)}, expected the name of one"
                self.add(*way[:2] if name is None else way, message=f"{what}; known: {', '.join(types.OPTIONS)}")
                continue
            if name not in types.OPTIONS:
                self.add(*way, message=types.unknown_type(name))
                continue
            given = {str(each): member for each, member in options.items() if each != "type"}
            wrong = [(each, types.wrong_option(name, each, member)) for each, member in given.items()]
            for each, message in wrong:
                if message:
                    self.add("types", at, each, message=message)
            if not any(message for _, message in wrong):
                self.converters[path] = types.conversion(name, given)
                yield _edit(path, self.converters[path])

    def fills(self, option: str) -> Iterator[Edit]:
        for at, path, value in self.each(option):
            constant = self.constant(option, at, path, value)
            change, own = filled(path[1:], _maker(constant), option == "set"), isinstance(constant, (Mapping, list, tuple))
            yield Edit(path, change, option == "set", MISSING if own or len(path) > 1 else constant)

    def constant(self, option: str, at: Any, path: Path, value: Any) -> Any:
        """What is put at a path: as the type says that the path has, if any."""
        if option == "set" and isinstance(value, Mapping) and RUN_DATE in value:
            self.run_date(at, value)
            return value
        convert = self.converters.get(path)
        if convert is None or value is None or holds_secret(value):
            return value
        try:
            return convert(copy.deepcopy(value))
        except Unfit as unfit:
            self.add(option, at, message=unfit.what)
            return value

    def run_date(self, at: Any, value: Mapping[str, Any]) -> None:
        form = value[RUN_DATE]
        for each in value:
            if each != RUN_DATE:
                self.add("set", at, each, message=f"unknown option of {RUN_DATE}; it has none")
        letters = re.findall("%(.?)", form, re.DOTALL) if isinstance(form, str) else []
        if not letters or not set(letters) <= _DIRECTIVES:
            self.add("set", at, RUN_DATE, message=f"{shown(form)} is not a format of dates; write one such as %Y-%m-%d")

    def hashes(self, key: str | None) -> Iterator[Edit]:
        used = False
        for at, path, method in self.each("hash"):
            if not isinstance(method, str) or method not in HASHES:
                hint = did_you_mean(method, HASHES) if isinstance(method, str) else f"; known: {', '.join(HASHES)}"
                self.add("hash", at, message=f"{shown(method)} is not a way to hash{hint}")
                continue
            used = used or method == HMAC_SHA256
            if method == HMAC_SHA256 and not key:
                self.add("hash", at, message="hmac_sha256 needs a key; give hash_key: ${secret:env:NAME}")
                continue
            yield _edit(path, types.sha256 if method == SHA256 else types.hmac_sha256(key or ""))
        if key and not used:
            self.add("hash_key", message="nothing uses this key; write hmac_sha256 behind a field of hash")

    def masks(self) -> Iterator[Edit]:
        for at, path, value in self.each("mask"):
            options = value if isinstance(value, Mapping) else {"keep_last": value}
            way = ("mask", at) if not isinstance(value, Mapping) else ("mask", at, "keep_last")
            keep, by = options.get("keep_last", 0), options.get("with", "*")
            self.known("mask", at, options=options, known=("keep_last", "with"))
            if isinstance(keep, bool) or not isinstance(keep, int) or keep < 0:
                self.add(*way, message=f"{shown(keep)} is not a number of characters to keep; write 0 or more")
            elif not isinstance(by, str) or len(by) != 1:
                self.add("mask", at, "with", message=f"{shown(by)} is not one character")
            else:
                yield _edit(path, types.masked(keep, by))

    def flatten(self) -> Flatten | None:
        value = self.given["flatten"]
        if value is None:
            return None
        options = value if isinstance(value, Mapping) else {"fields": value}
        self.known("flatten", options=options, known=("fields", "separator"))
        separator, names = options.get("separator", SEPARATOR), options.get("fields")
        if not isinstance(separator, str) or not separator:
            self.add("flatten", "separator", message=f"{shown(separator)} is not a text to put between names")
            return None
        if names is None:
            return None if self.problems else (None, separator)
        way = ("flatten", "fields") if isinstance(value, Mapping) else ("flatten",)
        if not isinstance(names, (list, tuple)):
            self.add(*way, message=f"wrong type: found {kind_of(names)}, expected a list of fields")
            return None
        found: set[str] = set()
        for n, text in enumerate(names):
            before = len(self.problems)
            path = self.path("flatten", n, text)
            if path is not None and len(path) > 1:
                message = f"{text!r} is inside {escaped(path[0] or '')}; name that, and all in it becomes flat"
                self.problems.append(Problem((*way, n), message))
            elif path is not None and path[0] is not None:
                found.add(path[0])
            self.problems[before:] = [Problem((*way, n), each.message) for each in self.problems[before:]]
        return frozenset(found), separator


class _Orderly:
    """What does not go together of paths that are right by themselves: a path that nothing can be at, by the order."""

    def __init__(self, reading: _Reading) -> None:
        self._reading, self._paths = reading, reading.paths
        self._dropped = [path for _, path in self._paths["drop"]]
        self._sources = {path: target for (_, path), (_, target) in zip(self._paths["rename"], reading.targets, strict=True)}
        self._made = [path for _, path in (*reading.targets, *self._paths["default"], *self._paths["set"])]

    def problems(self) -> Iterator[Problem]:
        yield from self._renames()
        for option in ("trim", "lower", "types", "hash", "mask", "select"):
            for at, path in self._paths.get(option, ()):
                message = self._gone(path)
                if message:
                    yield Problem((option, at), message)
        for at, path in self._paths["rename"]:
            if _within(path, self._dropped):
                yield Problem(("rename", at), f"{written(path)} is dropped before; take it out of one of the two")
        if self._reading.given["select"] is not None:
            yield from self._selected()

    def _renames(self) -> Iterator[Problem]:
        sources = list(self._sources)
        for at, path in self._paths["rename"]:
            outer = next((each for each in sources if each != path and path[: len(each)] == each), None)
            if outer is not None:
                yield Problem(("rename", at), f"{written(outer)}, which it is in, is renamed as well; take a step for each")
        known: list[Path] = []
        for at, target in self._reading.targets:
            other = next((each for each in known if _overlap(each, target)), None)
            if other is not None:
                both = f"is called {written(target)}" if other == target else f"is in {written(other)}, or that in it"
                yield Problem(("rename", at), f"another field {both} then")
            known.append(target)

    def _gone(self, path: Path) -> str:
        """Why nothing can be at this path, "" where something can."""
        if any(_overlap(path, each) for each in self._made):
            return ""
        dropped = _within(path, self._dropped)
        if dropped:
            return f"{written(dropped)} is dropped before; take it out of drop"
        renamed = _within(path, list(self._sources))
        if renamed:
            new = written((*self._sources[renamed], *path[len(renamed) :]))
            return f'{written(renamed)} is renamed before; did you mean "{new}"?'
        return ""

    def _selected(self) -> Iterator[Problem]:
        chosen = [path for _, path in self._paths["select"]]
        for n, (at, path) in enumerate(self._paths["select"]):
            other = next((each for each in chosen[:n] if _overlap(each, path)), None)
            if other is not None:
                yield Problem(("select", at), f"{written(min(other, path, key=len))} is selected, with all that is in it")
            flat = self._reading.given["flatten"]
            made = self._reading.flatten() if flat is not None else None
            if made is not None and len(path) > 1 and (made[0] is None or path[0] in made[0]) and EACH not in path:
                name = escaped(made[1].join(map(str, path)))
                yield Problem(("select", at), f'{written(path[:1])} is made flat before; did you mean "{name}"?')
        if self._reading.given["flatten"] is None:
            for option in ("set", "default"):
                for at, path in self._paths[option]:
                    if not any(_overlap(path, each) for each in chosen):
                        yield Problem((option, at), f"select does not have {written(path)}, so it would be set for nothing")


def _within(path: Path, outers: Iterable[Path]) -> Path | None:
    """Which of these paths leads to this one, or to what it is in."""
    return next((each for each in outers if path[: len(each)] == each), None)


def _overlap(one: Path, other: Path) -> bool:
    """Whether one of two paths leads to what the other one is in."""
    return one[: len(other)] == other or other[: len(one)] == one


def _before_last_list(path: Path) -> Path:
    """A path up to its last []."""
    end = len(path)
    while end and path[end - 1] is not EACH:
        end -= 1
    return path[:end]


def key_of(path: Path) -> Key:
    """What looks a path of names up in a record."""
    return Key(tuple(((str(name), n),) for n, name in enumerate(path, 1)))


def _edit(path: Path, change: Change) -> Edit:
    return Edit(path, changed(path[1:], change))


def trimmed(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def lowered(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _maker(constant: Any) -> Callable[[], Any]:
    """What gives the constant: one of its own to each record, since steps may change what is in it."""
    return (lambda: copy.deepcopy(constant)) if isinstance(constant, (Mapping, list, tuple)) else lambda: constant


def as_of(constants: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What `set` puts, with dates of the run in the place of their formats."""
    return {
        path: expand_dates(value[RUN_DATE], now) if isinstance(value, Mapping) and RUN_DATE in value else value
        for path, value in constants.items()
    }
