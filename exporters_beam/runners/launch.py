"""Runs a plan on a Beam runner, watches it, tells who wants to know, and reports."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from exporters_beam.components.secret import hide, reveal
from exporters_beam.components.traits import ReaderTraits
from exporters_beam.config.spec import ExportSpec
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.planning.place import books_of
from exporters_beam.planning.plan import Plan, check_functions, make
from exporters_beam.records import Json
from exporters_beam.reporting.of_runs import noted
from exporters_beam.reporting.report import Report
from exporters_beam.reporting.telling import Telling
from exporters_beam.runners.beam_internals import times
from exporters_beam.runners.books import opened
from exporters_beam.runners.failures import interrupted, told
from exporters_beam.runners.options import Options
from exporters_beam.runners.own_output import refuse_own_output
from exporters_beam.runners.progress import watched
from exporters_beam.runners.resume import finished, goes_on_with, read_manifest
from exporters_beam.runners.support import RunnerSupport, Start, settled, support_of
from exporters_beam.runners.tables import fixed
from exporters_beam.runners.taking import refuse_taking, settle_left, taken
from exporters_beam.staging.books import forget_input, sweep
from exporters_beam.staging.run import Run


def run(
    spec: ExportSpec,
    beam_args: Sequence[str] = (),
    *,
    progress: bool = False,
    workers: int | None = None,
    begun: Callable[[Plan], None] = lambda plan: None,
) -> Report:
    """Run an export and wait for its end. Raises ConfigError, or another ExportError when the export failed.

    `beam_args` are Beam's own options; without `--runner`, or with `--runner=DirectRunner`, it runs on this machine.
    With `progress` a line on standard error is kept up to date. `workers` is the number of processes on this machine; None:
    what `local.processes` finds worth it. `begun` is told the plan before anything is done. A Ctrl-C comes out as
    KeyboardInterrupt, wherever it hit.
    """
    plan, log = make(spec), logger_of(spec)
    begun(plan)
    warnings, args = _looked_at(plan, beam_args)
    _warn(log, warnings)
    clock = Clock()
    telling = Telling(spec, log)
    telling.check()
    telling.tell("started", Report("started", plan.export_id))
    far: Json = {"counts": {"read": 0, "written": 0}}
    try:
        plan, done = (fixed(plan), finished(plan)) if plan.replays else goes_on_with(plan, log)
        begun(plan)
        args = settled(plan, beam_args)[0]
        if done is not None:
            log.warning("the export is complete already; nothing was written (%s)", done["manifest"])
            _warn(log, settle_left(plan, books_of(plan)))
        manifest = done or _execute(plan, args, progress, workers, far)
    except (ExportError, KeyboardInterrupt) as error:
        failed = Report("failed", plan.export_id, error=str(error), warnings=tuple(warnings), **far, **clock.read(),
                        runner=Options(args).text("runner") or "local", filters=_filters(spec))  # fmt: skip
        error.report = failed  # type: ignore[union-attr]
        if isinstance(error, ExportError):
            telling.tell("failed", failed, hide(traceback.format_exc()))
            telling.wait()
        raise
    found = manifest.get("warnings", []) if done is None else []
    _warn(log, found)
    report = _report(plan, manifest, [*warnings, *found], clock)
    _log_what_is_special(log, manifest)
    _tell_complete(telling, report)
    return report


@dataclass(frozen=True)
class Clock:
    """When a run began, by the calendar and by a clock that nobody sets."""

    started: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat())
    at: float = field(default_factory=time.monotonic)

    def read(self) -> Json:
        return {"started": self.started, "seconds": time.monotonic() - self.at}


def _looked_at(plan: Plan, beam_args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Warnings, and Beam's options with those that were chosen. Raises ConfigError for what cannot work."""
    spec = plan.spec
    warnings = [*(str(problem) for problem in spec.warnings), *functions_elsewhere(spec, beam_args), *check(spec)]
    refuse_own_output(plan)
    args, decisions = settled(plan, beam_args)
    return [*warnings, *(str(decision) for decision in decisions if decision.warning)], args


def _warn(log: logging.Logger, warnings: Sequence[str]) -> None:
    for warning in warnings:
        log.warning(warning)


def _report(plan: Plan, manifest: Json, warnings: Sequence[str], clock: Clock) -> Report:
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
        runner=manifest["runner"],
        filters=_filters(plan.spec),
        **clock.read(),
    )


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


def _execute(plan: Plan, args: list[str], progress: bool, workers: int | None, far: dict[str, object]) -> Json:
    """Run the plan in its books; gives what is told of it. `far` is kept up to how far it has come."""
    options = Options(args)
    support = support_of(options)
    with (
        support.crew(plan, options, workers) as crew,
        opened(plan, plan.spec.settings.resume) as books,
        noted(far, books.staging),
        taken(plan, books) as source,
    ):
        start = support.prepare(source.plan, options, books, crew)
        sweeps = start.run.sweeps and not source.settles
        start = replace(start, run=replace(start.run, progress=progress, sweeps=sweeps))
        result = _run(support, source.plan, start)
        manifest = read_manifest(books.manifest)
        manifest = {**manifest, "warnings": [*manifest.get("warnings", ()), *source.settle()]}
        if not sweeps:
            sweep(books)
        support.after(books)
        return {**manifest, "manifest": books.manifest if books.lasting else "", "resumed": start.run.resumed.records,
                "times": _times(result, plan.spec.listed or ())}  # fmt: skip


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
    plan = make(spec)
    if good:
        told = finished(plan) or {"counts": {}, "files": [], "units": [], "manifest": ""}
        report = Report("done", plan.export_id, told["counts"], tuple(told["files"]), tuple(told.get("targets", ())),
                        tuple(told["units"]), manifest=told["manifest"])  # fmt: skip
    else:
        report = Report("failed", plan.export_id, error=text)
    telling = Telling(spec, logger_of(spec))
    telling.tell("complete" if good else "failed", report)
    telling.wait()


def put(spec: ExportSpec, pipeline: Any) -> Any:
    """Put an export into somebody's own pipeline; see `exporters_beam.build`."""
    from exporters_beam.engine.graph import build

    plan = fixed(make(spec))
    refuse_taking(plan)
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


def _times(result: object, steps: Sequence[str]) -> dict[str, float]:
    """Seconds spent in each stage, sampled by the workers; nothing where the runner does not say. A list of `steps` has a
    stage for each."""
    stages = {**_STAGES, **{name: name for name in steps}}
    found: dict[str, float] = {}
    for step, seconds in times(result):
        stage = stages.get(step.partition("/")[0])
        if stage is not None:
            found[stage] = round(found.get(stage, 0.0) + seconds, 3)
    return found
