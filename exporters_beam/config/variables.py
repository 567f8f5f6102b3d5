"""`${…}` in the strings of a config: variables, the environment, and secrets.

    ${vars.name}            a value of the top-level section `vars`; the whole string keeps the value's type
    ${env:NAME}             an environment variable that the top-level list `env` allows
    ${secret:env:NAME}      read on the worker, from its environment …
    ${secret:file:/path}    … or from a file there, without the line break at its end
    ${secret:gcp:projects/PROJECT/secrets/NAME}     … or from Google Secret Manager
    ${secret:aws:NAME}      … or from AWS Secrets Manager; #MEMBER behind a name is a member of a secret that is JSON
    $${                     a literal ${

The document is parsed first and filled in afterwards, and only inside string values, so nothing that a variable holds
can change the document's shape. What a variable of the environment holds is not looked into again. `${…}` of any
other kind stays as it is.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporters_beam.components.secret import _REFERENCE, Secret
from exporters_beam.components.secret_services import wrong_name
from exporters_beam.components.words import did_you_mean, kind_of
from exporters_beam.config.document import Path

BUDGET = 1_000_000
"""How many values and characters references may add to a document, in all: variables can multiply like aliases."""

_LITERAL = ("vars", "env", "parameters", "tests")
"""Sections in which nothing is replaced, but what `vars` refer to."""

CHAIN = 50
"""How many variables may stand for one another in a row."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

_ALMOST = re.compile(r"(vars?|variables?|envs?|secrets?)([.:]|\Z)", re.IGNORECASE)

_STORES = ("env", "file", "gcp", "aws")


@dataclass
class Filled:
    """A document with its references replaced. `failed` are the ways to strings that could not be filled in."""

    value: dict[str, Any]
    problems: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[tuple[Path, str]] = field(default_factory=list)
    failed: set[Path] = field(default_factory=set)


def fill(
    document: Mapping[str, object],
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    parameters: Iterable[str] = (),
    missing: Iterable[str] = (),
) -> Filled:
    """A copy of `document` with its references replaced. `overrides` replace members of its `vars` by dotted name. One that
    nothing declares, neither `vars` nor `parameters`, and nothing uses is a problem. References to the parameters that are
    `missing` are no problems of their own: the caller has reported them."""
    filled = Filled({})
    declared = document.get("vars")
    if declared is not None and not isinstance(declared, Mapping):
        filled.problems.append((("vars",), f"wrong type: found {kind_of(declared)}, expected a mapping of names to values"))
        declared = {}
    allowed = document.get("env")
    if allowed is not None and not (isinstance(allowed, list) and all(isinstance(name, str) for name in allowed)):
        filled.problems.append((("env",), "wrong type: expected a list of names of environment variables"))
        allowed = []
    names = _overridden(dict(declared or {}), overrides, filled)
    filler = _Filler(names, tuple(allowed or ()), environ, filled, frozenset(missing))
    try:
        filler.check_vars()
        filled.value = {k: v if k in _LITERAL else filler.fill(v, (str(k),)) for k, v in document.items()}
    except _OverBudget:
        filled.problems.append((("vars",), f"the variables stand for more than {BUDGET:,} values and characters"))
        filled.value = dict(document)
    for name in overrides:
        if not (_declared(name, declared or {}) or name.partition(".")[0] in parameters or filler.uses(name)):
            known = sorted({*map(str, declared or {}), *map(str, parameters), *filler.used})
            message = f"nothing uses this variable{_near(name, known)}"
            filled.problems.append((("vars", name), message))
    return filled


def _declared(name: str, declared: object) -> bool:
    for part in name.split("."):
        if isinstance(declared, str) and "${" in declared:
            return True
        if not isinstance(declared, Mapping) or part not in declared:
            return False
        declared = declared[part]
    return True


def _overridden(declared: dict[str, object], overrides: Mapping[str, object], filled: Filled) -> dict[str, Any]:
    for name, value in overrides.items():
        within = declared
        *outer, last = name.split(".")
        for part in outer:
            inner = within.get(part, {})
            if not isinstance(inner, Mapping):
                filled.problems.append((("vars", name), f"cannot be set: vars.{part} is {kind_of(inner)}, not a mapping"))
                break
            within[part] = within = dict(inner)
        else:
            within[last] = value
    return declared


def _near(given: str, known: list[str]) -> str:
    near = difflib.get_close_matches(given, [str(name) for name in known], n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _dots(parts: tuple[object, ...]) -> str:
    return ".".join(map(str, parts))


class _Fault(Exception):
    """A reference that cannot be replaced. Without a text where that was reported already."""


class _OverBudget(Exception):
    pass


class _Filler:
    def __init__(
        self,
        names: dict[str, Any],
        allowed: tuple[str, ...],
        environ: Mapping[str, str],
        filled: Filled,
        missing: frozenset[str],
    ) -> None:
        self.names, self.allowed, self.environ, self.filled, self.missing = names, allowed, environ, filled, missing
        self.budget = BUDGET
        self.faults = 0
        self.used: set[str] = set()
        self.known: dict[tuple[Any, ...], Any] = {}
        self.active: list[tuple[Any, ...]] = []

    def uses(self, name: str) -> bool:
        """Whether a reference names this variable, something in it, or what it is in."""
        return any(name == used or name.startswith(f"{used}.") or used.startswith(f"{name}.") for used in self.used)

    def check_vars(self) -> None:
        """Fill in every variable once, so that a wrong one is reported where it stands, used or not."""
        for name in self.names:
            with contextlib.suppress(_Fault):
                self.named((name,))

    def fill(self, value: object, path: Path) -> Any:
        if isinstance(value, str):
            try:
                return self.text(value, path)
            except _Fault as fault:
                self.fail(path, fault)
                return value
        if isinstance(value, Mapping):
            return {key: self.fill(member, (*path, str(key))) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.fill(member, (*path, at)) for at, member in enumerate(value)]
        return value

    def fail(self, path: Path, fault: _Fault) -> None:
        self.faults += 1
        if str(fault) and path not in self.filled.failed:
            self.filled.problems.append((path, str(fault)))
        self.filled.failed.add(path)

    def text(self, text: str, path: Path) -> Any:
        if "${" not in text:
            return text
        whole = _REFERENCE.fullmatch(text)
        if whole and whole.group(1) is not None:
            ours, value = self.reference(whole.group(1), path)
            return value if ours else text
        parts: list[str] = []
        end = 0
        for match in _REFERENCE.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            if match.group(1) is None:
                parts.append("${")
                continue
            ours, value = self.reference(match.group(1), path)
            parts.append(self.as_text(match.group(1), value) if ours else match.group())
        parts.append(text[end:])
        self.spend(sum(map(len, parts)))
        if any(isinstance(part, Secret) for part in parts):
            return Secret("".join(p if isinstance(p, Secret) else p.replace("${", "$${") for p in parts))
        return "".join(parts)

    def as_text(self, reference: str, value: object) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, (bool, int, float)):
            return json.dumps(value)
        raise _Fault(f"${{{reference}}} is {kind_of(value)}, which cannot stand inside a longer text")

    def reference(self, reference: str, path: Path) -> tuple[bool, Any]:
        """(whether it is one of ours, its value)."""
        if reference.startswith("vars."):
            self.used.add(reference[5:])
            return True, self.copy(self.named(tuple(reference[5:].split("."))))
        if reference.startswith("env:"):
            return True, self.env(reference[4:])
        if reference.startswith("secret:"):
            _check_secret(reference)
            return True, Secret(f"${{{reference}}}")
        almost = _ALMOST.match(reference)
        if almost:
            word = almost.group(1).lower()
            meant = "vars.name" if word.startswith("var") else "env:NAME" if word.startswith("env") else "secret:env:NAME"
            message = f"${{{reference}}} stays as it is; did you mean ${{{meant}}}?"
            self.filled.warnings.append((path, message))
        return False, None

    def env(self, name: str) -> str:
        if name not in self.allowed:
            hint = _near(name, list(self.allowed))
            raise _Fault(f'${{env:{name}}} is not allowed{hint}; add "{name}" to the top-level list `env` to allow it')
        if name not in self.environ:
            raise _Fault(f"${{env:{name}}}: this environment variable is not set")
        self.spend(len(self.environ[name]))
        return self.environ[name]

    def named(self, parts: tuple[object, ...]) -> Any:
        """The value of a variable, its own references replaced. What is wrong in it is reported where it stands."""
        if parts in self.active:
            circle = [*self.active[self.active.index(parts) :], parts]
            raise _Fault(f"variables refer to each other in a circle: {' → '.join(map(_dots, circle))}")
        if parts not in self.known:
            filled_already, value = self.looked_up(parts)
            self.known[parts] = value if filled_already else self.filled_in(parts, value)
        if isinstance(self.known[parts], _Fault):
            raise self.known[parts]
        return self.known[parts]

    def looked_up(self, parts: tuple[object, ...]) -> tuple[bool, Any]:
        """(whether its references are replaced, the value of a variable)."""
        value: Any = self.names
        filled = False
        for depth, part in enumerate(parts):
            if isinstance(value, str) and not filled:  # the way leads through another variable
                value, filled = self.named(parts[:depth]), True
            if not isinstance(value, Mapping) or part not in value:
                if depth == 0 and part in self.missing:
                    raise _Fault()
                there = [_dots(("vars", *parts[:depth], key)) for key in value] if isinstance(value, Mapping) else []
                wanted = _dots(("vars", *parts))
                raise _Fault(f"there is no variable {wanted}{did_you_mean(wanted, there) if there else ''}")
            value = value[part]
        return filled, value

    def filled_in(self, parts: tuple[object, ...], value: object) -> Any:
        path = ("vars", *map(str, parts))
        before = self.faults
        self.active.append(parts)
        if len(self.active) > CHAIN:
            self.fail(path, _Fault(f"more than {CHAIN} variables refer to one another in a row"))
        else:
            value = self.fill(value, path)
        self.active.pop()
        return value if self.faults == before else _Fault()

    def copy(self, value: object) -> Any:
        """Values are not shared by the places that refer to them."""
        self.spend(1 + (len(value) if isinstance(value, str) else 0))
        if isinstance(value, dict):
            return {key: self.copy(member) for key, member in value.items()}
        return [self.copy(member) for member in value] if isinstance(value, list) else value

    def spend(self, amount: int) -> None:
        self.budget -= amount
        if self.budget < 0:
            raise _OverBudget


def _check_secret(reference: str) -> None:
    store, _, name = reference[7:].partition(":")
    if store not in _STORES:
        hint = did_you_mean(store, _STORES)
        raise _Fault(f"${{{reference}}}: there is no store of secrets called {store!r}{hint}")
    if store == "env" and not _NAME.match(name):
        raise _Fault(f"${{{reference}}}: {name!r} is not a valid name of an environment variable")
    if store == "file" and not name.startswith("/"):
        raise _Fault(f"${{{reference}}}: give the whole path, from / on; workers run in other folders")
    if not name:
        raise _Fault(f"${{{reference}}}: the secret's name is missing")
    wrong = wrong_name(store, name)
    if wrong:
        raise _Fault(f"${{{reference}}}: {wrong}")
