"""Runs the tests of a config, one by one, and puts what comes out into it where that is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exporters_beam.config.cases import Case
from exporters_beam.config.document import Document, read
from exporters_beam.config.spec import load
from exporters_beam.config.tested import cases_of, may_be_misread, refuse_misfits
from exporters_beam.errors import ConfigError, MissingExtra, Problem, SourceError, dotted
from exporters_beam.testing.applied import GIVEN, Applied, apply
from exporters_beam.testing.edits import EXPECT, NoSafeEdit, save, updated
from exporters_beam.testing.judged import Difference, judge

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec


@dataclass(frozen=True)
class Outcome:
    """How a test went. `note` says what became of it where it was to be updated."""

    case: Case
    differences: tuple[Difference, ...] = ()
    seconds: float = 0.0
    found: Applied | None = field(default=None, repr=False)
    note: str = ""

    @property
    def good(self) -> bool:
        return not self.differences


@dataclass(frozen=True)
class Tests:
    """The tests of a config that were picked, of so many, and what the config is warned of."""

    outcomes: tuple[Outcome, ...]
    names: tuple[str, ...]
    warnings: tuple[Problem, ...] = ()


def run(
    config: str,
    variables: Mapping[str, Any],
    pick: Callable[[str], bool] = bool,
    update: bool = False,
) -> Tests:
    """Run the tests of a config whose names are picked. With `update` what comes out is written into the file of the tests
    where they expect other records. Raises ConfigError where the config or a test is wrong."""
    cases = cases_of(read(config))
    specs: dict[str, ExportSpec] = {}
    outcomes = []
    for case in cases:
        if not pick(case.name):
            continue
        key = repr((case.vars, case.env))
        if key not in specs:
            specs[key] = _loaded(config, variables, case)
            refuse_misfits((each for each in cases if repr((each.vars, each.env)) == key), specs[key])
        outcomes.append(_ran(case, specs[key]))
    if update:
        outcomes = _updated(outcomes)
    warnings = dict.fromkeys(warning for spec in specs.values() for warning in spec.warnings)
    odd = dict.fromkeys(warning for case in cases for warning in may_be_misread(case.document))
    return Tests(tuple(outcomes), tuple(case.name for case in cases), (*warnings, *odd))


def _loaded(config: str, variables: Mapping[str, Any], case: Case) -> ExportSpec:
    if not (case.vars or case.env):
        return load(config, variables=variables)
    try:
        return load(config, variables={**variables, **case.vars}, environ={**os.environ, **case.env})
    except MissingExtra:
        raise
    except ConfigError as error:
        raise _inside(case, error) from None


def _inside(case: Case, error: ConfigError) -> ConfigError:
    """What is wrong with a config as a test has it, told where the test stands."""
    return ConfigError(
        *(
            case.problem((), f"{problem.message}" if not problem.path else f"{dotted(problem.path)}: {problem.message}")
            for problem in error.problems
        )
    )


def _ran(case: Case, spec: ExportSpec) -> Outcome:
    began = time.perf_counter()
    found, different = None, list[Difference]()
    try:
        found = apply(spec, case.given, case.now, {**case.env, **case.secrets}, case.writer)
        different = list(judge(case, found))
    except MissingExtra:
        raise
    except ConfigError as error:
        raise _inside(case, error) from None
    except SourceError as error:
        of_text = str(error).startswith(f"{GIVEN}: ")
        different = [Difference((GIVEN,), f"the text cannot be read: {error}") if of_text else Difference((), str(error))]
    return Outcome(case, tuple(different), time.perf_counter() - began, found)


def _updated(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes after their files were changed."""
    documents: dict[str, Document] = {}
    told = []
    for outcome in outcomes:
        case, found = outcome.case, outcome.found
        wanted = any(each.way == (EXPECT,) for each in outcome.differences) or (case.expect is None and _has_place(case))
        if found is None or not wanted:
            told.append(outcome)
            continue
        file = case.document.file
        try:
            documents[file] = updated(documents.get(file, case.document), case.path, found.records)
        except NoSafeEdit as why:
            told.append(Outcome(case, outcome.differences, outcome.seconds, found, f"not updated: {why}"))
            continue
        rest = tuple(each for each in outcome.differences if each.way != (EXPECT,))
        told.append(Outcome(case, rest, outcome.seconds, found, "updated"))
    for document in documents.values():
        save(document)
    return told


def _has_place(case: Case) -> bool:
    """Whether an empty `expect` stands in the test, to be filled."""
    test = case.document.value["tests"][case.path[1]]
    return EXPECT in test
