"""What an export on Flink needs: settings that keep data, and checkpoints.

What Flink was seen to do with which settings stands in docs/flink.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from exporters_beam.components.traits import PersistenceTraits, ReaderTraits
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.planning.place import books_of
from exporters_beam.planning.plan import Plan
from exporters_beam.readers.units import units_of
from exporters_beam.runners import jobs
from exporters_beam.runners.failures import told
from exporters_beam.runners.flink_checks import HERE, checked, is_here, of_packages, split_address
from exporters_beam.runners.flink_rest import address_of
from exporters_beam.runners.options import Decision, Options, job_name, missing_packages
from exporters_beam.runners.support import Crew, GoesOn, Refusal, Start, begin, refuse
from exporters_beam.staging.books import Books
from exporters_beam.staging.segments import Resumed

CHECKPOINTS = "checkpoints"
OTHER_GRAPH = "of-a-resumed-run"
CHECKPOINT_SECONDS = 10
RETRIES = 4
RETRY_SECONDS = 10
"""Between tries. Many a cluster fails a try at once where a slot is missing: four tries in four seconds are no help."""

PIECES = 4
"""Ranges in a piece: 64 MiB."""


class Flink(GoesOn):
    """Beam's runner for Flink, by way of its job server: a `RunnerSupport`."""

    name = "FlinkRunner"

    def settle(self, plan: Plan, options: Options) -> Iterator[Decision]:
        """What is chosen for Flink; what was given is kept. Raises ConfigError for what would lose data or cannot work."""
        return _settle(plan, options)

    def prepare(self, plan: Plan, options: Options, books: Books, crew: Crew) -> Start:
        """Look at the cluster and, with `--resume`, for the newest checkpoint. Raises DestinationError, ConfigError."""
        options = Options(checked(plan, options.given, books))
        checkpoint = _checkpoint(plan, options, books)
        if checkpoint:
            options = Options([*options.given, f"--savepoint_path=file://{os.path.abspath(checkpoint)}"])
        start = super().prepare(plan, options, books, crew)
        resumed = Resumed() if checkpoint else books.resumed
        return replace(start, run=replace(start.run, resumed=resumed, pieces=PIECES, sees=_first_unit(plan), again=True))

    def let_go(self, start: Start, result: object) -> None:
        """The job is cancelled. Beam's own way, over the job server, leaves it to Flink (2.62)."""
        master = start.given.text("flink_master")
        if master in HERE:
            super().let_go(start, result)
        else:
            with suppress(ExportError):
                jobs.cancel_on_flink(master, start.given.text("job_name"))

    def refuse_submit(self, options: Options) -> None:
        refuse(NOT_SUBMITTED, options)
        address_of(options.text("flink_master"))

    def submit(self, plan: Plan, start: Start) -> jobs.Job:
        master, name = start.given.text("flink_master"), start.given.text("job_name")
        before = set(jobs.on_flink(master, name))
        result = begin(plan, start)
        return jobs.started_on_flink(master, name, before, ended=lambda: _why(result))

    def after(self, books: Books) -> None:
        sweep_checkpoints(books)


def _checkpoint(plan: Plan, options: Options, books: Books) -> str:
    """The checkpoint that the run goes on from; "" where it begins, with what is staged. Raises ConfigError."""
    resume, streaming = plan.spec.settings.resume, options.flag("streaming")
    # What Flink calls the step in which duplicates are found is another each time: its state would not be found again.
    dedupes = any(step.kind in ("dedupe", "delta") for step in plan.steps)
    checkpoint = newest_checkpoint(books) if resume and not dedupes else ""
    if not resume:
        sweep_checkpoints(books)
    if not streaming or not checkpoint:
        if streaming and books.resumed.segments:
            note_other_graph(books)
        return ""
    if "savepoint_path" in options:
        raise ConfigError("--savepoint_path: --resume goes on from the newest checkpoint; give one of the two")
    return checkpoint


def _settle(plan: Plan, options: Options) -> Iterator[Decision]:
    streaming = options.flag("streaming")
    _refuse(options)
    if "job_name" not in options:
        yield Decision(f"--job_name={job_name(plan)}", "what Flink calls the job; while it runs there is no second")
    yield Decision("no deferring", "Flink loses what a reader hands back, so each piece is read in one go")
    yield Decision("pieces", f"large files that can be entered in the middle are cut into pieces of {PIECES * 16} MiB, "
                             "which go to all workers")  # fmt: skip
    if not options.text("environment_type") and is_here(options):
        yield Decision("--environment_type=LOOPBACK", "the cluster is on this machine, and so are the workers")
    chosen = {**(_checkpointed(plan, options) if streaming else {}), **RETRYING}
    for name, (value, why) in chosen.items():
        if name not in options:
            yield Decision(f"--{name}={value}" if value else f"--{name}", why)
    if not streaming:
        yield Decision("batch", "no checkpoints: when a worker is lost Flink begins again, as often as the cluster's "
                                "restart-strategy says (by default never); --resume goes on with what was "
                                "committed")  # fmt: skip
    if "parallelism" not in options:
        yield Decision("parallelism", "as many as the cluster has slots; asked for when the export starts")


RETRYING = {
    "number_of_execution_retries": (str(RETRIES), "a lost worker is replaced, a record at fault ends the export"),
    "execution_retry_delay": (str(RETRY_SECONDS * 1000), "so long a lost TaskManager may take to be replaced"),
}


def _checkpointed(plan: Plan, options: Options) -> dict[str, tuple[str, str]]:
    """What is chosen for a job with checkpoints, by option: the value, and why."""
    folder = os.path.abspath(_checkpoints(books_of_plan(plan)))
    seconds = _interval(plan)
    chosen = {
        "max_bundle_size": ("1", "a piece is a bundle, so a checkpoint waits for one piece at most"),
        "shutdown_sources_after_idle_ms": ("0", "with checkpoints and without it the job never ends"),
        "checkpointing_interval": (str(seconds * 1000), f"a checkpoint every {seconds} s"),
        "unaligned_checkpoint_enabled": ("", "a checkpoint need not wait for what is under way elsewhere"),
        "externalized_checkpoints_enabled": ("", "checkpoints outlive the job"),
        "retain_externalized_checkpoints_on_cancellation": ("", "--resume goes on from a cancelled job's last"),
    }
    savepoint = _kept(plan).savepoint
    if savepoint and not plan.spec.settings.resume:
        chosen["savepoint_path"] = (savepoint, "`persistence` says so")
    if not options.text("state_backend"):
        chosen["state_backend"] = ("filesystem", "checkpoints are files")
        chosen["state_backend_storage_path"] = (f"file://{folder}", "where --resume looks for checkpoints")
    return chosen


def _why(result: Any) -> str:
    """Why a job that was given to Beam's job server never comes to Flink; "" as long as it may."""
    if result.state not in ("FAILED", "CANCELLED"):
        return ""
    try:
        result.wait_until_finish()
    except Exception as error:
        return str(told(error))
    return f"Beam's job server ended the job as {result.state}"


def _first_unit(plan: Plan) -> str:
    """The first unit of input that the launcher sees; "" where it sees none, or does not read streams."""
    if not ReaderTraits.of(plan.reader).streams:
        return ""
    try:
        unit = next(units_of(plan.reader), None)
    except ConfigError:
        return ""  # Only the workers have its secrets.
    return str(unit.name) if unit else ""


FLAGS = ("externalized_checkpoints_enabled", "force_unaligned_checkpoint_enabled", "object_reuse",
         "retain_externalized_checkpoints_on_cancellation", "unaligned_checkpoint_enabled")  # fmt: skip
NUMBERS = ("checkpoint_timeout_millis", "execution_retry_delay", "max_bundle_size", "max_bundle_time_mills",
           "min_pause_between_checkpoints", "num_concurrent_checkpoints", "number_of_execution_retries")  # fmt: skip


def _refuse(options: Options) -> None:
    """Raises ConfigError for what would lose data or cannot work."""
    from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

    for name in NUMBERS:
        options.number(name, 0)
    refuse(REFUSALS, options)
    problems = list(missing_packages(PipelineOptions(of_packages(options)).view_as(SetupOptions)))
    if problems:
        raise ConfigError(*problems)
    refuse(MASTERS, options)


def _has_value(options: Options, name: str) -> bool:
    return options.text(name, "true") != "true" or any(arg.startswith(f"--{name}=") for arg in options.given)


def _in_batch(options: Options, name: str) -> bool:
    return name in options and not options.flag("streaming")


def _kind(options: Options) -> str:
    return options.text("environment_type").upper()


def _lacks_environment(options: Options, kind: str) -> bool:
    return _kind(options) == kind and not options.text("environment_config") and "environment_options" not in options


REFUSALS: tuple[Refusal[Options], ...] = (
    *(
        Refusal(partial(_has_value, name=name), f"--{name}: it takes no value; give it alone, or leave it out")
        for name in FLAGS
    ),
    *(
        Refusal(
            partial(_in_batch, name=name),
            f"--{name}: it goes with --streaming; in batch Flink takes no checkpoints",
        )
        for name in ("checkpointing_interval", "savepoint_path", "unaligned_checkpoint_enabled")
    ),
    Refusal(
        lambda o: o.number("shutdown_sources_after_idle_ms", 0) < 0,
        "--shutdown_sources_after_idle_ms: with a negative value a job with checkpoints never ends; leave it out, or give 0",
    ),
    Refusal(
        lambda o: o.flag("streaming") and o.number("checkpointing_interval", 1) <= 0,
        "--checkpointing_interval: without checkpoints a streaming job begins nowhere when a worker is lost; leave it out, "
        "or give milliseconds",
    ),
    Refusal(
        lambda o: o.flag("allow_non_restored_state"),
        "--allow_non_restored_state: what the export has read would be dropped; leave it out",
    ),
    Refusal(
        lambda o: o.text("checkpointing_mode", "EXACTLY_ONCE").upper() != "EXACTLY_ONCE",
        "--checkpointing_mode: only EXACTLY_ONCE keeps every record once; leave it out",
    ),
    Refusal(
        lambda o: "state_backend" in o and not o.text("state_backend_storage_path"),
        "--state_backend: it needs --state_backend_storage_path, the folder of its checkpoints",
    ),
    Refusal(
        lambda o: "parallelism" in o and o.number("parallelism", 1) < 1,
        lambda o: f"--parallelism: {o.text('parallelism')} is too small; give 1 or more, or leave it out",
    ),
    Refusal(
        lambda o: 0 < o.number("max_parallelism", -1) < o.number("parallelism", 1),
        lambda o: f"--parallelism: {o.text('parallelism')} is more than --max_parallelism={o.number('max_parallelism', -1)}",
    ),
    Refusal(
        lambda o: _kind(o) not in ("", "DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK"),
        lambda o: f"--environment_type: {_kind(o)!r} is not one of DOCKER, PROCESS, EXTERNAL, LOOPBACK",
    ),
    *(
        Refusal(partial(_lacks_environment, kind=kind), f"--environment_type={kind}: it needs --environment_config, {what}")
        for kind, what in (("EXTERNAL", "HOST:PORT of a pool of workers"), ("PROCESS", "the JSON of what to start"))
    ),
    Refusal(
        lambda o: _kind(o) == "LOOPBACK" and not is_here(o),
        lambda o: (
            f"--environment_type=LOOPBACK: the workers would be here, where {o.text('flink_master')} does not reach them; "
            "use EXTERNAL, or DOCKER"
        ),
    ),
)
"""Options with which data would be lost or nothing would work."""

MASTERS: tuple[Refusal[Options], ...] = (
    Refusal(
        lambda o: o.text("flink_master") not in HERE and not split_address(o.text("flink_master"))[1],
        lambda o: f"--flink_master: {o.text('flink_master')!r} has no port; give HOST:PORT of Flink's REST interface",
    ),
)

NOT_SUBMITTED: tuple[Refusal[Options], ...] = (
    Refusal(
        lambda o: _kind(o) == "LOOPBACK",
        "--environment_type=LOOPBACK: the workers would end with submit, which does not wait; give "
        "--environment_type=EXTERNAL --environment_config=HOST:PORT, or use exporters-beam run",
    ),
)
"""What needs the process that starts the job: workers in it. A cluster in it `jobs.flink_address` refuses."""


def _interval(plan: Plan) -> int:
    """Seconds between checkpoints, as the section `persistence` may say."""
    return _kept(plan).checkpoint_seconds or CHECKPOINT_SECONDS


def _kept(plan: Plan) -> PersistenceTraits:
    return PersistenceTraits.of(plan.spec.persistence and plan.spec.persistence.component)


def books_of_plan(plan: Plan) -> Books:
    books = books_of(plan)
    if not books.lasting:  # A folder was made for them that nobody needs.
        shutil.rmtree(books.folder, ignore_errors=True)
    return books


# Checkpoints


def _checkpoints(books: Books) -> str:
    return os.path.join(books.folder, CHECKPOINTS)


def newest_checkpoint(books: Books) -> str:
    """The folder of the newest checkpoint that is whole; "" where there is none. Flink writes `_metadata` last."""
    found = []
    if os.path.exists(os.path.join(_checkpoints(books), OTHER_GRAPH)):
        return ""
    for folder, _, names in os.walk(_checkpoints(books)):
        if "_metadata" in names:
            found.append((os.stat(os.path.join(folder, "_metadata")).st_mtime_ns, folder))
    return max(found)[1] if found else ""


def note_other_graph(books: Books) -> None:
    """Say that the checkpoints from here on are of a run that takes in staged segments, whose graph no other run has."""
    os.makedirs(_checkpoints(books), exist_ok=True)
    with open(os.path.join(_checkpoints(books), OTHER_GRAPH), "w", encoding="utf-8"):
        pass


def sweep_checkpoints(books: Books) -> None:
    """Remove the checkpoints of an export that is over or begins again."""
    shutil.rmtree(_checkpoints(books), ignore_errors=True)
