"""Tables that steps read beside the records: fixed when an export begins, so that all workers and runs have the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from exporters_beam.components.traits import StepTraits
from exporters_beam.errors import ConfigError, Problem
from exporters_beam.planning.plan import Plan
from exporters_beam.staging.listing import some


def fixed(plan: Plan) -> Plan:
    """The plan with the tables of its steps as they are now. Raises ConfigError, with its place, where one cannot be read."""
    problems: list[Problem] = []
    steps = []
    for step in plan.steps:
        fix = StepTraits.of(step.component).fixed
        section = plan.spec.step(step.name)
        try:
            steps.append(step if fix is None else replace(step, component=fix()))
        except ConfigError as error:
            path = (*section.path, "options") if section is not None else ()
            for problem in error.problems:
                name, _, text = problem.message.partition(": ")
                problems.append(plan.spec.problem((*path, name), text))
    if problems:
        raise ConfigError(*problems)
    return replace(plan, steps=tuple(steps)) if any(StepTraits.of(step.component).digest for step in steps) else plan


def tables_of(plan: Plan) -> dict[str, str]:
    """The tables of a plan's steps, as users know them, and a hash of each."""
    told = (StepTraits.of(step.component) for step in plan.steps)
    return {each.beside: each.digest for each in told if each.digest}


def refuse_changed_tables(plan: Plan, before: Mapping[str, str], what: str) -> None:
    """Raises ConfigError where a table is not what it was for a run that `what` says."""
    now = tables_of(plan)
    changed = [name for name, digest in before.items() if now.get(name, digest) != digest]
    if changed:
        raise ConfigError(
            f"--resume: {some(changed)} has changed since the run that {what}; put it back, or run without --resume"
        )
