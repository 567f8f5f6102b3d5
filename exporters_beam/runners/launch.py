"""Runs a plan on a Beam runner, watches it, tells who wants to know, and reports."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from exporters_beam.components.secret import hide, reveal
from exporters_beam.components.traits import ReaderTraits
from exporters_beam.config.contract import STEPS as CONTRACT
from exporters_beam.config.export import ExportSpec
from exporters_beam.errors import ConfigError, DestinationError, ExportError
from exporters_beam.planning.keys import check_keys
from exporters_beam.planning.looking import STATISTICS
from exporters_beam.planning.place import books_of, deltas_of, destination_of, history_of
from exporters_beam.planning.plan import Plan, check_functions, make_each
from exporters_beam.records import Json
from exporters_beam.reporting.of_runs import noted
from exporters_beam.reporting.report import Report, together
from exporters_beam.reporting.telling import Telling
from exporters_beam.runners.beam_internals import times
from exporters_beam.runners.books import opened
from exporters_beam.runners.deltas import based
from exporters_beam.runners.failures import interrupted, told
from exporters_beam.runners.options import Options
from exporters_beam.runners.own_output import refuse_own_output
from exporters_beam.runners.progress import watched
from exporters_beam.runners.registering import expected, refuse_registering, refuse_replacing, register, register_left
from exporters_beam.runners.resume import finished, goes_on_with, read_manifest
from exporters_beam.runners.support import RunnerSupport, Start, settled, support_of
from exporters_beam.runners.tables import fixed
from exporters_beam.runners.taking import refuse_taking, settle_left, taken
from exporters_beam.staging.books import forget_input, sweep, undelivered
from exporters_beam.staging.run import Run


def run(
    spec: ExportSpec,
    beam_args: Sequence[str] = (),
    *,
    progress: bool = False,
    workers: int | None = None,
    begun: Callable[[Sequence[Plan]], None] = lambda plans: None,
) -> Report:
    """Run an export and wait for its end. Raises ConfigError, or another ExportError when the export failed.

    `beam_args` are Beam's own options; without `--runner`, or with `--runner=DirectRunner`, it runs on this machine.
    With `progress` a line on standard error is kept up to date. `workers` is the number of processes on this machine; None:
    what `local.processes` finds worth it. `begun` is told the plans, one a writer, before anything is done. A Ctrl-C comes out
    as KeyboardInterrupt, wherever it hit.
    """
    plans, log = make_each(spec), logger_of(spec)
    begun(plans)
    warnings, args = _looked_at(plans, beam_args)
    _warn(log, warnings)
    clock = Clock()
    telling = Telling(spec, log)
    telling.check()
    telling.tell("started", Report("started", plans[0].export_id))
    far: Json = {"counts": {"read": 0, "written": 0}}
    outcomes: list[Outcome] = []
    try:
        for plan in plans:
            outcomes.append(_before(plan, log))
        plans = tuple(each.plan for each in outcomes)
        begun(plans)
        args = settled(plans[0], beam_args)[0]
        done = [each for each in outcomes if each.manifest is not None]
        for each in done:
            log.warning("%sthe export is complete already; nothing was written (%s)", each.called, each.manifest["manifest"])
            _warn(log, settle_left(each.plan, books_of(each.plan)))
        left = [each.plan for each in outcomes if each.manifest is None]
        done = [_registered(each) for each in done]
        outcomes = [*done, *(_execute(left, args, progress, workers, far, spec.settings.resume) if left else ())]
        outcomes.sort(key=lambda each: plans.index(each.plan))
        _refuse_undelivered(outcomes)
    except (ExportError, KeyboardInterrupt) as error:
        parts = [_report(each, [], clock) for each in outcomes if each.manifest or each.why]
        failed = Report("failed", plans[0].export_id, error=str(error), warnings=tuple(warnings),
                        writers=tuple(part.of_writer() for part in parts) if spec.others else (), **far, **clock.read(),
                        runner=Options(args).text("runner") or "local", filters=_filters(spec))  # fmt: skip
        error.report = failed  # type: ignore[union-attr]
        if isinstance(error, ExportError):
            telling.tell("failed", failed, hide(traceback.format_exc()))
            telling.wait()
        raise
    found = [text for each in outcomes if each not in done for text in each.manifest.get("warnings", ())]
    found = list(dict.fromkeys(found))
    _warn(log, found)
    report = together([_report(each, [*warnings, *found], clock) for each in outcomes])
    for each in outcomes:
        _log_what_is_special(log, each.manifest)
    _tell_complete(telling, report)
    return report


@dataclass(frozen=True)
class Clock:
    """When a run began, by the calendar and by a clock that nobody sets."""

    started: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat())
    at: float = field(default_factory=time.monotonic)

    def read(self) -> Json:
        return {"started": self.started, "seconds": time.monotonic() - self.at}


@dataclass(frozen=True)
class Outcome:
    """What became of an export for one of its writers: its manifest, or `why` it has none; neither before it has ended."""

    plan: Plan
    manifest: Any = None
    why: str = ""

    @property
    def called(self) -> str:
        """How a sentence about it begins."""
        return f"{self.plan.spec.to}: " if self.plan.spec.to else ""


def _before(plan: Plan, log: logging.Logger) -> Outcome:
    """What stands of an export before it runs: its manifest, where nothing is left to do. Raises ConfigError, and
    DestinationError where files of runs before cannot be added to their table."""
    register_left(plan)
    if not (plan.replays or plan.spec.settings.resume) or finished(plan) is None:
        refuse_replacing(plan)
    return Outcome(fixed(plan), finished(plan)) if plan.replays else Outcome(*goes_on_with(plan, log))


def _registered(outcome: Outcome) -> Outcome:
    """The same when the files of one that is complete are in their table, or why they are not."""
    return outcome if outcome.why else replace(outcome, why=register(outcome.plan, outcome.manifest))


def _looked_at(plans: Sequence[Plan], beam_args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Warnings, and Beam's options with those that were chosen. Raises ConfigError for what cannot work."""
    spec = plans[0].spec
    warnings = [*(str(problem) for problem in spec.warnings), *check(spec)]
    history_of(plans[0])
    if plans[0].spec.delta is not None:
        deltas_of(plans[0])
    chosen = []
    for plan in plans:
        warnings += functions_elsewhere(plan.spec, beam_args)
        check_keys(plan.spec, resolving=True)
        refuse_own_output(plan)
        args, decisions = settled(plan, beam_args)
        chosen.append(args)
        warnings += [str(decision) for decision in decisions if decision.warning]
    return list(dict.fromkeys(warnings)), chosen[0]


def _warn(log: logging.Logger, warnings: Sequence[str]) -> None:
    for warning in warnings:
        log.warning(warning)


def _report(outcome: Outcome, warnings: Sequence[str], clock: Clock) -> Report:
    plan, manifest = outcome.plan, outcome.manifest
    if manifest is None or outcome.why:
        return Report("failed", plan.export_id, error=outcome.why, writer=plan.spec.to, **clock.read())
    return Report(
        "done",
        plan.export_id,
        manifest["counts"],
        tuple(manifest["files"]),
        tuple(manifest.get("targets", ())),
        tuple(manifest["units"]),
        manifest.get("result"),
        tuple(warnings),
        manifest=manifest["manifest"],
        times=manifest["times"],
        resumed=manifest["resumed"],
        dead_letters=manifest.get("dead_letters", {}),
        statistics=manifest.get("statistics", {}),
        drift=manifest.get("drift", {}),
        windows=manifest.get("windows", {}),
        runner=manifest["runner"],
        filters=_filters(plan.spec),
        writer=plan.spec.to,
        **clock.read(),
    )


def _refuse_undelivered(outcomes: Sequence[Outcome]) -> None:
    """Raises DestinationError where a writer has not got what others have."""
    failed = [each for each in outcomes if each.why]
    if failed:
        others = ", ".join(each.plan.spec.to for each in outcomes if not each.why)
        told = "; ".join(f"{each.called}{each.why}" for each in failed)
        has = f"{others} {'has' if len(outcomes) - len(failed) == 1 else 'have'} everything; " if others else ""
        again = "again" if failed[0].plan.spec.link is not None else "again with --resume"
        raise DestinationError(f"{told}; {has}what is left is delivered by running it {again}")


def _filters(spec: ExportSpec) -> tuple[str, ...]:
    """The steps that filter, by name."""
    return tuple(step.step for step in spec.steps if step.kind == "filter")


def _log_what_is_special(log: logging.Logger, manifest: Json) -> None:
    if manifest["counts"].get("not_counted"):
        log.warning("the number of records is not known: %s of the copied objects do not tell how many they hold",
                    manifest["counts"]["not_counted"])  # fmt: skip
    if "result" in manifest:
        log.info("%s: %s", "Result", manifest["result"])


def _tell_complete(telling: Telling, report: Report) -> None:
    telling.count(report)
    telling.tell("complete", report)
    try:
        telling.wait()
    except KeyboardInterrupt as interrupt:
        interrupt.report = report  # type: ignore[attr-defined]
        raise


def _execute(
    plans: Sequence[Plan], args: list[str], progress: bool, workers: int | None, far: dict[str, object], again: bool
) -> list[Outcome]:
    """Run the plans, which read the same, in their books; gives what is told of each. `far` is kept up to how far they have
    come. A delivery of deltas that stands may be made `again`."""
    options = Options(args)
    support = support_of(options)
    slowest = next((plan for plan in plans if destination_of(plan) is None), plans[0])
    with ExitStack() as stack:
        crew = stack.enter_context(support.crew(slowest, options, workers))
        books = [stack.enter_context(opened(plan, plan.spec.settings.resume)) for plan in plans]
        against = stack.enter_context(based(plans[0], books[0], again))
        for plan, its in zip(plans, books, strict=True):
            stack.enter_context(expected(plan, its))
        stack.enter_context(noted(far, books[0].staging))
        source = stack.enter_context(taken(plans[0], books[0]))
        starts = [support.prepare(plan, options, its, crew) for plan, its in zip((source.plan, *plans[1:]), books, strict=True)]
        sweeps, several = starts[0].run.sweeps and not source.settles, bool(plans[0].spec.to)
        runs = [
            replace(
                each.run,
                progress=progress,
                sweeps=sweeps,
                tolerant=several,
                history=history_of(plan),
                began=plan.now,
                decided=plan.spec.link is not None,
                against=against,
            )
            for each, plan in zip(starts, plans, strict=True)
        ]
        start = replace(starts[0], run=runs[0], others=tuple(zip(plans[1:], runs[1:], strict=True)))
        for its in books:
            undelivered(its.folder, forget=True)
        result = _run(support, source.plan, start)
        names = (*(plans[0].spec.listed or ()), *CONTRACT, STATISTICS, *plans[0].spec.own)
        why = [undelivered(its.folder, forget=True) for its in books]
        settled_at_source = [] if any(why) else source.settle()
        outcomes = []
        for plan, its, run, fault in zip(plans, books, runs, why, strict=True):
            if fault:
                outcomes.append(Outcome(plan, None, fault))
                continue
            told = read_manifest(its.manifest)
            told = {**told, "warnings": [*told.get("warnings", ()), *settled_at_source]}
            if not sweeps:
                sweep(its)
            support.after(its)
            told |= {"manifest": its.manifest if its.lasting else "", "resumed": run.resumed.records}
            outcomes.append(Outcome(plan, {**told, "times": _times(result, names, plan.spec.to)}))
        return [_registered(each) for each in outcomes]


def _run(support: RunnerSupport, plan: Plan, start: Start) -> Any:
    """Run it, with a line of progress where one is asked for. Raises ExportError, and KeyboardInterrupt for a Ctrl-C."""
    try:
        with watched(start.run):
            return support.run(plan, start)
    except ConfigError:
        raise
    except Exception as error:
        if interrupted(error):
            raise KeyboardInterrupt from None
        raise told(error) from (error if hide(str(error)) == str(error) else None)


def functions_elsewhere(spec: ExportSpec, beam_args: Sequence[str]) -> list[str]:
    """Warnings of functions that are not here, where the workers are elsewhere. Raises ConfigError where they are here."""
    try:
        check_functions(spec)
    except ConfigError as error:
        if support_of(Options(beam_args)).here:
            raise
        return [f"{problem} (it is not here)" for problem in error.problems]
    return []


def check(spec: ExportSpec) -> Iterator[str]:
    """What the reader says before anything starts: warnings. Raises ConfigError for what is certainly wrong."""
    try:
        look = ReaderTraits.of(reveal(spec.reader.component)).check
    except ConfigError:
        return  # Only the workers have its secrets.
    if look is None:
        return
    path = (*spec.reader.path, "options")
    try:
        for warning in look():
            name, _, text = warning.partition(": ")
            yield hide(str(spec.problem((*path, name), text)))
    except ConfigError as error:
        problems = []
        for problem in error.problems:
            name, _, text = problem.message.partition(": ")
            problems.append(spec.problem((*path, name), hide(text)))
        raise ConfigError(*problems) from None


def logger_of(spec: ExportSpec) -> logging.Logger:
    """The export's logger, at the level the config asks for."""
    log = logging.getLogger(spec.settings.logger_name)
    log.setLevel(getattr(logging, spec.settings.log_level, logging.INFO))
    return log


def tell_end(spec: ExportSpec, good: bool, text: str) -> None:
    """Send the end of a job that ran elsewhere to the config's notifiers."""
    (plan,) = make_each(spec.alone("a job that goes on by itself"))
    if good:
        told = finished(plan) or {"counts": {}, "files": [], "units": [], "manifest": ""}
        report = Report("done", plan.export_id, told["counts"], tuple(told["files"]), tuple(told.get("targets", ())),
                        tuple(told["units"]), manifest=told["manifest"], statistics=told.get("statistics", {}),
                        drift=told.get("drift", {}))  # fmt: skip
    else:
        report = Report("failed", plan.export_id, error=text)
    telling = Telling(spec, logger_of(spec))
    telling.tell("complete" if good else "failed", report)
    telling.wait()


def put(spec: ExportSpec, pipeline: Any) -> Any:
    """Put an export into somebody's own pipeline; see `exporters_beam.build`."""
    from exporters_beam.engine.graph import build

    (plan,) = map(fixed, make_each(spec.alone("a pipeline of your own")))
    refuse_taking(plan)
    refuse_registering(spec)
    check_keys(spec, resolving=True)
    for warning in check(spec):
        logger_of(spec).warning(warning)
    refuse_own_output(plan)
    books = books_of(plan)
    forget_input(books)
    return build(plan, pipeline, Run(plan.export_id, books.staging, books.scratch, books.folder))


_STAGES = {
    "reader": "read", "deserializer": "read", "filter_before": "filtered", "transform": "transformed",
    "filter_after": "filtered_after", "GroupBlocks": "grouped", "PlanFiles": "grouped", "ByName": "grouped",
    "writer": "written", "PublishFile": "written", "SendBatches": "written", "WriteManifest": "persisted",
}  # fmt: skip
"""Steps of the graph and what the old system's statistics called them."""


def _times(result: object, steps: Sequence[str], to: str) -> dict[str, float]:
    """Seconds spent in each stage, sampled by the workers; nothing where the runner does not say. A list of `steps` has a
    stage for each. What is done for one of several writers stands below its name."""
    stages = {**_STAGES, **{name: name for name in steps}}
    found: dict[str, float] = {}
    for step, seconds in times(result):
        names = step.split("/")
        stage = stages.get(names[1] if to and names[0] == to and len(names) > 1 else names[0])
        if stage is not None:
            found[stage] = round(found.get(stage, 0.0) + seconds, 3)
    return found
