"""Runs a plan on a Beam runner, watches it, tells who wants to know, and reports."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from exporters_beam.components.secret import hide, reveal
from exporters_beam.config.spec import ExportSpec
from exporters_beam.errors import MORE_MEMORY, ConfigError, DestinationError, ExportError, SourceError
from exporters_beam.planning.place import books_of
from exporters_beam.planning.plan import Plan, check_functions, make
from exporters_beam.readers.units import units_of
from exporters_beam.reporting.of_runs import noted
from exporters_beam.reporting.report import Report, human
from exporters_beam.reporting.telling import Telling
from exporters_beam.runners import dataflow, jobs
from exporters_beam.runners.books import opened
from exporters_beam.runners.flink import HERE, PIECES, newest_checkpoint, note_other_graph, prepare, sweep_checkpoints
from exporters_beam.runners.local import processes
from exporters_beam.runners.local_worker_process import StandBy, sample_often, stand_by
from exporters_beam.runners.options import DATAFLOW, LOCAL, Options, relative_paths, settled
from exporters_beam.runners.own_output import refuse_own_output
from exporters_beam.runners.resume import finished, goes_on_with, read_manifest
from exporters_beam.staging.books import Books, forget_input, has_segments, sweep
from exporters_beam.staging.run import Run
from exporters_beam.staging.segments import Resumed, Staging

BUNDLE_SECONDS = 10.0
"""On the local runner a bundle is closed at the end of a range after so long; what it read is then committed."""

FEW_RANGES = 2
"""Ranges of a large unit that one of several worker processes reads at a time."""


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
    plan = make(spec)
    log = logger_of(spec)
    begun(plan)
    warnings = [*(str(problem) for problem in spec.warnings), *functions_elsewhere(spec, beam_args), *check(spec)]
    refuse_own_output(plan)
    args, decisions = settled(plan, beam_args)
    warnings += [str(decision) for decision in decisions if decision.warning]
    for warning in warnings:
        log.warning(warning)
    filters = tuple(step.step for step in spec.steps if step.kind == "filter")
    started, clock = datetime.now(timezone.utc), time.monotonic()
    telling = Telling(spec, log)
    telling.check()
    telling.tell("started", Report("started", plan.export_id))
    far: dict[str, Any] = {"counts": {"read": 0, "written": 0}}
    try:
        plan, done = (plan, finished(plan)) if plan.replays else goes_on_with(plan, log)
        begun(plan)
        args = settled(plan, beam_args)[0]
        if done is not None:
            log.warning("the export is complete already; nothing was written (%s)", done["manifest"])
        manifest = done or _execute(plan, args, progress, workers, far)
    except (ExportError, KeyboardInterrupt) as error:
        failed = Report("failed", plan.export_id, error=str(error), warnings=tuple(warnings), filters=filters, **far,
                        runner=Options(args).text("runner") or "local",
                        started=started.isoformat(), seconds=time.monotonic() - clock)  # fmt: skip
        error.report = failed  # type: ignore[union-attr]
        if isinstance(error, ExportError):
            telling.tell("failed", failed, hide(traceback.format_exc()))
            telling.wait()
        raise
    found = manifest.get("warnings", []) if done is None else []
    for warning in found:
        log.warning(warning)
    warnings += found
    report = Report(
        "done",
        plan.export_id,
        manifest["counts"],
        tuple(manifest["files"]),
        tuple(manifest["units"]),
        manifest.get("result"),
        tuple(warnings),
        manifest=manifest["manifest"],
        times=manifest["times"],
        resumed=manifest["resumed"],
        dead_letters=manifest.get("dead_letters", {}),
        started=started.isoformat(),
        seconds=time.monotonic() - clock,
        runner=manifest["runner"],
        filters=filters,
    )
    if manifest["counts"].get("not_counted"):
        log.warning("the number of records is not known: %s of the copied objects do not tell how many they hold",
                    manifest["counts"]["not_counted"])  # fmt: skip
    if "result" in manifest:
        log.info("%s: %s", "Result", manifest["result"])
    telling.count(report)
    telling.tell("complete", report)
    try:
        telling.wait()
    except KeyboardInterrupt as interrupt:
        interrupt.report = report  # type: ignore[attr-defined]
        raise
    return report


def functions_elsewhere(spec: ExportSpec, beam_args: Sequence[str]) -> list[str]:
    """Warnings of functions that are not here, where the workers are elsewhere. Raises ConfigError where they are here."""
    try:
        check_functions(spec)
    except ConfigError as error:
        if Options(beam_args).runner in LOCAL:
            raise
        return [f"{problem} (it is not here)" for problem in error.problems]
    return []


def check(spec: ExportSpec) -> Iterator[str]:
    """What the reader says before anything starts: warnings. Raises ConfigError for what is certainly wrong."""
    try:
        look = getattr(reveal(spec.reader.component), "check", None)
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
        report = Report("done", plan.export_id, told["counts"], tuple(told["files"]), tuple(told["units"]),
                        manifest=told["manifest"])  # fmt: skip
    else:
        report = Report("failed", plan.export_id, error=text)
    telling = Telling(spec, logger_of(spec))
    telling.tell("complete" if good else "failed", report)
    telling.wait()


def put(spec: ExportSpec, pipeline: Any) -> Any:
    """Put an export into somebody's own pipeline; see `exporters_beam.build`."""
    from exporters_beam.engine.graph import build

    plan = make(spec)
    for warning in check(spec):
        logger_of(spec).warning(warning)
    refuse_own_output(plan)
    books = books_of(plan)
    forget_input(books)
    return build(plan, pipeline, Run(plan.export_id, books.staging, books.scratch, books.folder))


def _execute(plan: Plan, args: list[str], progress: bool, workers: int | None, far: dict[str, Any]) -> dict[str, Any]:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions, TypeOptions

    from exporters_beam.engine.graph import build
    from exporters_beam.transforms.steps import ready

    given = Options(args)
    local, flink = given.runner in LOCAL, given.runner == "flinkrunner"
    if workers is not None and not local:
        raise ConfigError(f"--workers: it is for exports on this machine; {given.text('runner')} has its own options")
    count = processes(plan, given, workers) if local else 0
    if count > 1:
        logger_of(plan.spec).info("%d worker processes", count)
        args = [*args, "--direct_running_mode=multi_processing", f"--direct_num_workers={count}"]
    with (
        stand_by(count) as standing,
        opened(plan, plan.spec.settings.resume) as books,
        noted(far, books.staging),
    ):
        resumed = books.resumed
        if flink:
            args, resumed = on_flink(plan, args, books)
        options = PipelineOptions(args)
        standard = options.view_as(StandardOptions)
        if local:
            standard.runner = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
            options.view_as(
                TypeOptions
            ).pipeline_type_check = False  # The graph is ours, and its tests have checked it.
            sample_often()
        # With several workers FnApiRunner forgets what they hand back (ParallelBundleManager, Beam 2.77).
        alone = local and options.view_as(DirectOptions).direct_num_workers == 1
        if local:
            run = Run(plan.export_id, books.staging, books.scratch, books.folder, _about(plan, "local"),
                      bundle_seconds=BUNDLE_SECONDS if alone else None, resumed=resumed,
                      pieces=FEW_RANGES if count > 1 else 0)  # fmt: skip
        else:
            run = replace(elsewhere(plan, str(standard.runner), books, resumed), sweeps=False)
            if given.runner in DATAFLOW:
                dataflow.make_folders(args)
        run = replace(run, progress=progress)
        try:
            if local and hasattr(plan.writer, "probe"):
                ready(plan.writer).probe()
            with _collector(local), _watched(run, progress):
                several = local and options.view_as(DirectOptions).direct_running_mode == "multi_processing"
                pipeline = beam.Pipeline(_watching(books, standing) if several else None, options)
                build(plan, pipeline, run)
                result = pipeline.run()
                with _noted(result, given if flink else None):
                    state = result.wait_until_finish()
                if state is not None and str(state) != "DONE":
                    raise DestinationError(f"the runner ended the export as {state}")
        except ConfigError:
            raise
        except Exception as error:
            if _INTERRUPTED.search(str(error)):
                raise KeyboardInterrupt from None
            raise told(error) from (error if hide(str(error)) == str(error) else None)
        manifest = read_manifest(books.manifest)
        if not run.sweeps:
            sweep(books)
        if flink:
            sweep_checkpoints(books)
        return {**manifest, "manifest": books.manifest if books.lasting else "", "resumed": resumed.records,
                "times": _times(result, plan.spec.listed or ())}  # fmt: skip


def _about(plan: Plan, runner: str) -> tuple[tuple[str, Any], ...]:
    letters = (("letters", plan.reader.ids), ("origin", plan.origin)) if plan.replays else ()
    return ("runner", runner), *((("bypassed", True),) if plan.copied else ()), *letters


def elsewhere(plan: Plan, runner: str, books: Books, resumed: Resumed) -> Run:
    """A run whose workers are not this process, and perhaps on other machines."""
    flink = runner.rpartition(".")[2].lower() == "flinkrunner"
    return Run(
        export_id=plan.export_id,
        staging=Staging(os.path.abspath(books.staging.folder)),
        scratch=os.path.abspath(books.scratch),
        books=os.path.abspath(books.folder),
        about=_about(plan, runner),
        resumed=resumed,
        pieces=PIECES if flink else 0,
        folder=os.getcwd() if relative_paths(plan) else "",
        sees=_first_unit(plan) if flink else "",
        again=flink,
    )


def on_flink(plan: Plan, args: list[str], books: Books) -> tuple[list[str], Resumed]:
    """Look at the cluster and, with `--resume`, for the newest checkpoint. Raises DestinationError, ConfigError."""
    args = prepare(plan, args, books)
    options = Options(args)
    # What Flink calls the step in which duplicates are found is another each time: its state would not be found again.
    dedupes = any(step.kind == "dedupe" for step in plan.steps)
    checkpoint = newest_checkpoint(books) if plan.spec.settings.resume and not dedupes else ""
    if not plan.spec.settings.resume:
        sweep_checkpoints(books)
    if not options.flag("streaming") or not checkpoint:
        if options.flag("streaming") and books.resumed.segments:
            note_other_graph(books)
        return args, books.resumed
    if "savepoint_path" in options:
        raise ConfigError("--savepoint_path: --resume goes on from the newest checkpoint; give one of the two")
    return [*args, f"--savepoint_path=file://{os.path.abspath(checkpoint)}"], Resumed()


def _first_unit(plan: Plan) -> str:
    """The first unit of input that the launcher sees; "" where it sees none, or does not read streams."""
    if not hasattr(plan.reader, "open"):
        return ""
    try:
        unit = next(units_of(plan.reader), None)
    except ConfigError:
        return ""  # Only the workers have its secrets.
    return str(unit.name) if unit else ""


def _watching(books: Books, standing: list[StandBy]) -> Any:
    """The local runner that notices when a worker process dies; None with a Beam for which it was not made."""
    try:
        from exporters_beam.runners.local_workers import Runner
    except ImportError:
        return None
    return Runner(lambda: books.lasting and has_segments(books), standing)


_STAGES = {
    "reader": "read", "deserializer": "read", "filter_before": "filtered", "transform": "transformed",
    "filter_after": "filtered_after", "GroupBlocks": "grouped", "PlanFiles": "grouped", "ByName": "grouped",
    "writer": "written", "PublishFile": "written", "WriteManifest": "persisted",
}  # fmt: skip
"""Steps of the graph and what the old system's statistics called them."""


def _times(result: Any, steps: Sequence[str]) -> dict[str, float]:
    """Seconds spent in each stage, sampled by the workers; nothing where the runner does not say. A list of `steps` has a
    stage for each."""
    stages = {**_STAGES, **{name: name for name in steps}}
    times: dict[str, float] = {}
    for info in getattr(result, "monitoring_infos", tuple)():
        stage = stages.get(info.labels.get("PTRANSFORM", "").partition("/")[0])
        if stage is not None and info.urn.startswith("beam:metric:pardo_execution_time:"):
            from apache_beam.metrics.monitoring_infos import extract_counter_value

            times[stage] = round(times.get(stage, 0.0) + extract_counter_value(info) / 1000, 3)
    return times


_OURS = re.compile(r"^(?:builtins\.RuntimeError: )?(?:exporters_beam\.)?(?:[\w.]+\.)?"
                   r"(SourceError|RecordError|DestinationError|ConfigError|MissingExtra|FailedRecord|TooManyFailed): "
                   r"(.*?)(?: \[while running '[^']*'\])?$", re.MULTILINE)  # fmt: skip


_INTERRUPTED = re.compile(r"^(?:builtins\.RuntimeError: )?KeyboardInterrupt\b", re.MULTILINE)
"""Beam's worker in this process makes a RuntimeError, whose text is a traceback, of a Ctrl-C that hits it."""


_NO_MEMORY = re.compile(r"(?:[\w.]+: )?(?:[\w.]+\.)?(?:Arrow)?MemoryError\b")


def told(error: BaseException) -> ExportError:
    """The error of this package inside what a runner raised: runners give the text of the worker's traceback."""
    message = hide(str(error))
    found = _OURS.findall(f"{type(error).__module__}.{type(error).__name__}: {message}")
    if found:
        kind, text = found[-1]
        kinds = {"DestinationError": DestinationError, "ConfigError": ConfigError, "MissingExtra": ConfigError}
        return kinds.get(kind, SourceError)(text)
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    text = re.sub(r" \[while running '[^']*'\]$", "", lines[-1]) if lines else type(error).__name__
    if isinstance(error, MemoryError) or _NO_MEMORY.match(text):
        step = re.search(r" \[while running '([^'/]*)", lines[-1]) if lines else None
        where = f" in the step {step[1]}" if step else ""
        return ExportError(f"the export ran out of memory{where}; {MORE_MEMORY}")
    return ExportError(f"the export failed: {text}")


@contextmanager
def _noted(result: Any, flink: Options | None) -> Iterator[None]:
    """Tell who stops waiting for a job on Dataflow that it goes on, and how it is stopped. A job on Flink is cancelled."""
    try:
        yield
    except KeyboardInterrupt:
        if flink and flink.text("flink_master") not in HERE:
            with suppress(ExportError):  # Beam's own way, over the job server, leaves the job to Flink (2.62).
                jobs.cancel_on_flink(flink.text("flink_master"), flink.text("job_name"))
        elif hasattr(result, "job_id"):
            logging.getLogger(__name__).warning("the job %s goes on; exporters-beam cancel stops it", result.job_id())
        raise


@contextmanager
def _collector(local: bool) -> Iterator[None]:
    """Fewer passes of the garbage collector while records stream by: what is here stays, and records hold no cycles."""
    before = gc.get_threshold()
    if local:
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def _watched(run: Any, progress: bool) -> Iterator[None]:
    """Keep a line on standard error up to date: records, rate, files, bytes."""
    if not progress:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(run, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(run: Any, over: threading.Event) -> None:
    started, before, shown = time.monotonic(), 0, False
    while not over.wait(1.0):
        numbers = run.staging.progress()
        read = numbers.get("read", 0)
        rate = (read - before) / 1.0
        before = read
        text = f"{read:,} records read, {rate:,.0f}/s"
        if numbers.get("files"):
            text = f"{read:,} records read, {numbers['files']:,} files delivered, {human(numbers['bytes'])}"
        sys.stderr.write(f"\r\x1b[K{text}, {time.monotonic() - started:.0f} s")
        sys.stderr.flush()
        shown = True
    if shown:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
