"""What is wrong with a config, collected with its places while it is loaded."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from exporters_beam.components import words
from exporters_beam.components.options import options_of
from exporters_beam.components.plain import Plain
from exporters_beam.components.secret import Secret
from exporters_beam.config.cases import TESTS
from exporters_beam.config.document import Document, Path
from exporters_beam.config.sections import LABELS, is_older
from exporters_beam.config.variables import Filled


class Finding:
    """A config that is looked at, and what is found to be wrong with it."""

    def __init__(self, document: Document, filled: Filled, environ: Mapping[str, str]) -> None:
        self.document, self.config, self.failed, self.environ = document, filled.value, filled.failed, environ
        self.problems = [document.problem(path, message) for path, message in filled.problems]
        self.warnings = [document.problem(path, message) for path, message in filled.warnings]
        self.classes: dict[Path, type] = {}
        self.secrets: list[Path] = []
        self.misspelt: set[str] = set()
        self.kinds: dict[Path, list[str]] = {(name,): ["str"] for name in (*LABELS, "staging")}
        """Types of the options that were given, by their ways."""
        self.older = is_older(self.config)
        """It names components as exporters 0.6.18 did, which did not look at keys that it did not know."""

    def add(self, path: Path, message: str) -> None:
        self.problems.append(self.document.problem(path, message))

    def warn(self, path: Path, message: str, idle: bool = False) -> None:
        self.warnings.append(replace(self.document.problem(path, message), idle=idle))

    def at_fault(self, path: Path) -> bool:
        """Whether something at `path` or inside it is wrong already."""
        places = (*(problem.path for problem in self.problems), *self.failed)
        return any(place[: len(path)] == path for place in places)

    def refuse_unknown(self, given: Mapping[Any, object], path: Path, known: Iterable[str], what: str) -> None:
        """Keys that nobody knows. In configs of exporters 0.6.18 they are for people, unless one is a slip of the pen."""
        known = list(known)
        for key in map(str, given):
            if key in known or (not path and key.startswith("x-")) or key in self.misspelt:
                continue
            hint = words.did_you_mean(key, known)
            if self.older and (path or not difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.75)):
                self.warn((*path, key), f"unknown {what}, not used{hint}", idle=True)
                continue
            component = self.classes.get(path)
            if what == "key" and component is not None and key in {o.name for o in options_of(component)}:
                hint = "; it is an option, so write it below `options`"
            elif not path:
                hint += "; what is only for people begins with x-"
            self.add((*path, key), f"unknown {what}{hint}")

    def refuse_endless(self, value: object, path: Path) -> None:
        """Numbers that are none, whatever they are for. Records that stand in the config are records."""
        if path in (("reader", "options", "records"), (TESTS,)):
            return
        if isinstance(value, float) and not math.isfinite(value):
            self.add(path, f"{_endless(value)}; write a number that is finite")
            self.failed.add(path)
        elif isinstance(value, Mapping):
            for key, member in value.items():
                self.refuse_endless(member, (*path, key))
        elif isinstance(value, (list, tuple)):
            for at, member in enumerate(value):
                self.refuse_endless(member, (*path, at))

    def warn_of_odd(self) -> None:
        """What YAML may have read otherwise than it was meant, unless an option says what is meant."""
        for odd in self.document.odd:
            if odd.path[:1] == (TESTS,):
                continue
            kinds = next((self.kinds[odd.path[:n]] for n in range(1, len(odd.path) + 1) if odd.path[:n] in self.kinds), None)
            if kinds is None:
                date = isinstance(odd.read, Plain) and not isinstance(odd.read.meant, (bool, int, float))
                text = "" if date and odd.path[0] == "vars" else odd.warning
            elif "str_list" in kinds:
                text = "" if isinstance(odd.read, Plain) else odd.warning
            else:
                text = "" if "str" in kinds else odd.number_warning
            if text:
                self.warn(odd.path, text)


def as_found(value: object) -> str:
    if isinstance(value, Secret):
        return f"the secret {value}"
    if isinstance(value, (Mapping, list, tuple)):
        return words.kind_of(value)
    return words.in_json(value, 200)


def _endless(value: float) -> str:
    return "NaN is not a number" if math.isnan(value) else f"{value} is not a finite number"
