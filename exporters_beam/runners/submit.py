"""Starts an export on a runner that goes on without this process, and does not wait for its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from exporters_beam.config.export import ExportSpec
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.planning.keys import check_keys
from exporters_beam.planning.place import history_of
from exporters_beam.planning.plan import Plan, make
from exporters_beam.runners.books import begun
from exporters_beam.runners.failures import told
from exporters_beam.runners.jobs import Job
from exporters_beam.runners.launch import check, functions_elsewhere, logger_of
from exporters_beam.runners.options import Options, refuse_unknown
from exporters_beam.runners.own_output import refuse_own_output
from exporters_beam.runners.registering import refuse_registering
from exporters_beam.runners.resume import goes_on_with
from exporters_beam.runners.support import Crew, GoesOn, Start, about, settled, support_of
from exporters_beam.runners.taking import refuse_taking
from exporters_beam.staging.books import segments_in


@dataclass(frozen=True)
class Submitted:
    """A job that was started. `place` is its address, which `status`, `cancel` and `drain` take; for a classic
    template the file that it was written to, and `job` is empty then. Both are empty where the export is complete already."""

    job: str
    place: str
    name: str = ""


def submit(spec: ExportSpec, beam_args: Sequence[str]) -> Submitted:
    """Start an export and give its job. Raises ConfigError before anything starts, ExportError when it cannot start."""
    plan, log = make(spec.alone("a job that goes on by itself")), logger_of(spec)
    refuse_unknown(beam_args)
    support = support_of(Options(beam_args))
    if not isinstance(support, GoesOn):
        raise ConfigError("--runner: submit needs a runner that goes on by itself; give --runner=DataflowRunner or "
                          "--runner=FlinkRunner, or use exporters-beam run")  # fmt: skip
    refuse_taking(plan)
    refuse_registering(plan.spec)
    for warning in _looked_at(plan, beam_args, support):
        log.warning(warning)
    refuse_own_output(plan)
    plan, done = goes_on_with(plan, log)
    options = Options(settled(plan, beam_args)[0])
    if done is not None:
        log.warning("the export is complete already; nothing was started (%s)", done["manifest"])
        return Submitted("", "")
    start = _prepared(plan, options, support)
    job = _started(plan, start, support)
    name, template = options.text("job_name"), options.text("template_location")
    return Submitted(job.id, job.place, name) if job else Submitted("", template, name)


def _looked_at(plan: Plan, beam_args: Sequence[str], support: GoesOn) -> list[str]:
    """Warnings. Raises ConfigError for what cannot be submitted."""
    args, decisions = settled(plan, beam_args)
    options = Options(args)
    if plan.spec.settings.resume and options.text("template_location"):
        raise ConfigError("--resume: a template is launched again and again; submit without --template_location to resume")
    support.refuse_submit(options)
    check_keys(plan.spec, resolving=True)
    return [
        *(str(problem) for problem in plan.spec.warnings),
        *functions_elsewhere(plan.spec, beam_args),
        *_checked(plan.spec),
        *(str(decision) for decision in decisions if decision.warning),
    ]


def _prepared(plan: Plan, options: Options, support: GoesOn) -> Start:
    """What the job begins with, which sweeps by itself when it is done, and leaves alone what others stage."""
    resume = plan.spec.settings.resume
    books = begun(plan, resume)
    left = frozenset() if resume else frozenset(segments_in(books))
    start = support.prepare(plan, options, books, Crew())
    return replace(start, run=replace(start.run, about=about(plan, support.name), left=left, sweeps=True,
                                      history=history_of(plan), began=plan.now))  # fmt: skip


def _started(plan: Plan, start: Start, support: GoesOn) -> Job | None:
    """The job; None where a template was written. Raises ConfigError, ExportError."""
    try:
        return support.submit(plan, start)
    except ExportError:
        raise
    except Exception as error:
        raise told(error) from None


def _checked(spec: ExportSpec) -> list[str]:
    """What the reader says. What is not here may well be where the workers are."""
    try:
        return list(check(spec))
    except ConfigError as error:
        return [f"{problem} (here; it has to be where the workers are)" for problem in error.problems]
