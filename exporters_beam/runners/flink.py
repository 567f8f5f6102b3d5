"""What an export on Flink needs: settings that keep data, a look at the cluster before anything starts, and checkpoints.

What Flink was seen to do with which settings stands in docs/flink.md.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from exporters_beam.components.traits import ComponentTraits, PersistenceTraits, ReaderTraits
from exporters_beam.components.words import shortened
from exporters_beam.errors import ConfigError, DestinationError, ExportError
from exporters_beam.planning.place import books_of
from exporters_beam.planning.plan import Plan
from exporters_beam.readers.units import units_of
from exporters_beam.runners import jobs, rest
from exporters_beam.runners.failures import told
from exporters_beam.runners.flink_rest import OVER, Cluster, address_of, page_of
from exporters_beam.runners.options import Decision, Options, job_name, missing_packages, parsed, relative_paths
from exporters_beam.runners.support import Crew, GoesOn, Refusal, Start, begin, refuse
from exporters_beam.staging.books import Books
from exporters_beam.staging.segments import Resumed

CHECKPOINTS = "checkpoints"
OTHER_GRAPH = "of-a-resumed-run"
CHECKPOINT_SECONDS = 10
RETRIES = 4
RETRY_SECONDS = 10
"""Between tries. Many a cluster fails a try at once where a slot is missing: four tries in four seconds are no help."""

START = "python templates/flink/cluster.py start"
HERE = ("", "[local]", "[auto]")
"""Masters that mean: no cluster, Flink inside the job server."""


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
        options = Options(prepare(plan, options.given, books))
        checkpoint = _checkpoint(plan, options, books)
        if checkpoint:
            options = Options([*options.given, f"--savepoint_path=file://{os.path.abspath(checkpoint)}"])
        start = super().prepare(plan, options, books, crew)
        resumed = Resumed() if checkpoint else books.resumed
        return replace(
            start, run=replace(start.run, resumed=resumed, pieces=PIECES, sees=_first_unit(plan), again=True)
        )

    def let_go(self, start: Start, result: Any) -> None:
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
    dedupes = any(step.kind == "dedupe" for step in plan.steps)
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
    if not options.text("environment_type") and _is_here(options):
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
    problems = list(missing_packages(PipelineOptions(_of_packages(options)).view_as(SetupOptions)))
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
        lambda o: (
            f"--parallelism: {o.text('parallelism')} is more than --max_parallelism={o.number('max_parallelism', -1)}"
        ),
    ),
    Refusal(
        lambda o: _kind(o) not in ("", "DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK"),
        lambda o: f"--environment_type: {_kind(o)!r} is none of DOCKER, PROCESS, EXTERNAL, LOOPBACK",
    ),
    *(
        Refusal(
            partial(_lacks_environment, kind=kind), f"--environment_type={kind}: it needs --environment_config, {what}"
        )
        for kind, what in (("EXTERNAL", "HOST:PORT of a pool of workers"), ("PROCESS", "the JSON of what to start"))
    ),
    Refusal(
        lambda o: _kind(o) == "LOOPBACK" and not _is_here(o),
        lambda o: (
            f"--environment_type=LOOPBACK: the workers would be here, where {o.text('flink_master')} does not reach them; "
            "use EXTERNAL, or DOCKER"
        ),
    ),
)
"""Options with which data would be lost or nothing would work."""

MASTERS: tuple[Refusal[Options], ...] = (
    Refusal(
        lambda o: o.text("flink_master") not in HERE and not _address(o.text("flink_master"))[1],
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


PACKAGES = ("extra_package", "extra_packages", "setup_file", "requirements_file", "requirements_cache")


def _of_packages(options: Options) -> list[str]:
    """Those of the options that bring packages to the workers."""
    given = parsed(options.given)
    return [f"--{name}={value}" for name in PACKAGES for value in given.get(name, ()) if value]


def _modules(plan: Plan) -> list[str]:
    """Modules outside of this package that the config's components come from."""
    found = set()
    for section in plan.spec.working:
        found.add(type(section.component).__module__)
        found.add(str(ComponentTraits.of(section.component).function or "").partition(":")[0])
    return sorted(name for name in found if name and name.partition(".")[0] != "exporters_beam")


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


def _address(master: str) -> tuple[str, int]:
    host, _, port = master.strip().removeprefix("http://").removeprefix("https://").rstrip("/").rpartition(":")
    return (host, int(port)) if port.isdecimal() and host else (master, 0)


def _of_localhost(address: str) -> bool:
    """Whether it is the machine of whoever asks: where the cluster is elsewhere, not this one."""
    return _address(address)[0] in ("localhost", "127.0.0.1", "::1")


def _is_here(options: Options) -> bool:
    """Whether Flink runs on this machine."""
    master = options.text("flink_master")
    if master in HERE:
        return True
    host = _address(master)[0]
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
        ours = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return host in ("localhost", "127.0.0.1", "::1")
    return any(address.startswith("127.") or address == "::1" or address in ours for address in found)


# Before anything starts


def prepare(plan: Plan, given: list[str], books: Books) -> list[str]:
    """The options with what only the cluster can say. Raises DestinationError where something is missing there."""
    options = Options(given)
    more: list[str] = []
    master = options.text("flink_master")
    if master not in HERE:
        more += _of_the_cluster(options, master)
    if options.text("job_endpoint"):
        _listening(options.text("job_endpoint"), "no job server of Beam", "--job_endpoint",
                   f"start one, e.g. with {START}, or leave the option out and give --flink_job_server_jar")  # fmt: skip
    else:
        _job_server(Options(given + more))
    pool = options.text("environment_config")
    if (
        options.text("environment_type").upper() == "EXTERNAL"
        and pool
        and (_is_here(options) or not _of_localhost(pool))
    ):
        folder = os.getcwd() if relative_paths(plan) else ""
        _workers(pool, books, folder, _modules(plan), _of_packages(options))
    elif options.text("environment_type").upper() == "DOCKER" and _is_here(options):
        _docker(options)
    return [*given, *more]


def _of_the_cluster(options: Options, master: str) -> Iterator[str]:
    cluster = Cluster((master if "://" in master else f"http://{master}").rstrip("/"), seconds=10)
    try:
        overview, config, running = cluster.overview(), cluster.config(), cluster.jobs(options.text("job_name"))
    except rest.Refused as error:
        raise DestinationError(f"no Flink cluster answers at {master} ({error.reason}); start one, e.g. with {START}, or "
                               "correct --flink_master") from None  # fmt: skip
    for job, state in running.items():
        if state not in OVER:
            page = page_of(f"http://{master.rpartition('/')[2]}", job)
            raise DestinationError(f"this export runs on the Flink cluster at {master} already ({state.lower()}); wait "
                                   f"for its end, or stop it with: exporters-beam cancel '{page}'")  # fmt: skip
    slots, version = int(overview.get("slots-total", 0)), str(config.get("flink-version", ""))
    if not slots:
        raise DestinationError(f"the Flink cluster at {master} has no TaskManager; start one and run again")
    wanted = options.number("parallelism", slots)
    if wanted > slots:
        raise DestinationError(f"--parallelism={wanted}: the Flink cluster at {master} has {slots} slots; give at most "
                               "that, or start more TaskManagers")  # fmt: skip
    if "parallelism" not in options:
        yield f"--parallelism={slots}"
    if options.text("job_endpoint"):
        return
    release = ".".join(version.split(".")[:2])
    if "flink_version" not in options:
        from apache_beam.options.pipeline_options import FlinkRunnerOptions

        known = FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
        if release not in known:
            raise DestinationError(f"the cluster at {master} is Flink {version}; this Beam runs on {', '.join(known)}")
        yield f"--flink_version={release}"
    elif options.text("flink_version") != release:
        raise DestinationError(f"the cluster at {master} is Flink {version}, and --flink_version="
                               f"{options.text('flink_version')} was given; give --flink_version={release}")  # fmt: skip


def _listening(address: str, what: str, option: str, remedy: str) -> None:
    host, port = _address(address)
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise DestinationError(f"{what} listens at {option}={address} ({error.strerror or error}); {remedy}") from None


def _job_server(options: Options) -> None:
    """Beam starts its job server for each export: Java and a jar."""
    if shutil.which("java") is None:
        raise DestinationError("there is no java, which Beam's job server for Flink needs; install a Java runtime (11 or "
                               "17), or give --job_endpoint of a job server that runs")  # fmt: skip
    jar = options.text("flink_job_server_jar")
    if jar and "://" not in jar and not os.path.isfile(jar):
        raise DestinationError(f"--flink_job_server_jar: there is no file {jar}; {START.replace('start', 'install')} makes "
                               "one and tells its name")  # fmt: skip
    if jar:
        return
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions

    from exporters_beam.runners.beam_internals import FlinkJarJobServer

    beam = PipelineOptions([arg for arg in options.given if arg.startswith("--flink_version")])
    try:
        server = FlinkJarJobServer(beam.view_as(FlinkRunnerOptions))
        server.local_jar(server.path_to_jar())
    except Exception as error:
        raise DestinationError("Beam's job server for Flink is not here and cannot be downloaded "
                               f"({shortened((str(error) or type(error).__name__).splitlines()[0], 200)}); give "
                               "--flink_job_server_jar=FILE, or --job_endpoint of one that runs") from None  # fmt: skip


POOL = "python -m exporters_beam.worker_pool"
PROBE_SECONDS = 20
INSTALL_SECONDS = 300
"""So long pip may take to install packages that come with the job."""


def _workers(address: str, books: Books, folder: str, modules: list[str], packages: list[str]) -> None:
    """Have the pool start a worker, with the job's packages, and ask it what it has and what it sees.

    A pool elsewhere is not asked.
    """
    port = _address(address)[1]
    if not port:
        raise DestinationError(f"--environment_config: {address!r} has no port; give HOST:PORT of a pool of workers")
    _listening(address, "no pool of workers", "--environment_config",
               f"start one with: {POOL} --port {port}, in the environment of the export")  # fmt: skip
    token = os.path.join(os.path.abspath(books.folder), f"probe-{uuid.uuid4().hex}")
    os.makedirs(books.folder, exist_ok=True)
    with open(token, "w", encoding="utf-8"):
        pass
    advice = f"start the pool with: {POOL} --port {port}, in an environment where exporters-beam is installed"
    try:
        asks = [
            sys.executable,
            "-m",
            "exporters_beam.runners.flink_pool_probe",
            address,
            token,
            folder,
            ",".join(modules),
            *packages,
        ]
        seconds = PROBE_SECONDS + INSTALL_SECONDS * bool(packages)
        done = subprocess.run(asks, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise DestinationError(f"the workers of the pool at {address} do not start: its `python` is likely to lack "
                               f"apache_beam; {advice}") from None  # fmt: skip
    finally:
        if os.path.exists(token):
            os.remove(token)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line] or done.stderr.splitlines()[-1:]
        if "Failed to build package" in done.stderr:
            raise DestinationError("--setup_file: Beam cannot make a package of its project; to see why, run in its folder: "
                                   "python -m build --sdist --no-isolation")  # fmt: skip
        if "Error starting worker: " in (lines or [""])[-1]:
            raise DestinationError(
                f"the pool at {address}: {shortened(lines[-1].partition('Error starting worker: ')[2].strip(), 400)}"
            )
        if "No module named 'exporters_beam" in done.stderr:
            raise DestinationError(f"the workers of the pool at {address} have no package exporters_beam; {advice}")
        raise DestinationError(
            f"the workers of the pool at {address} fail: {shortened(' '.join(lines[-1:]).strip(), 300)}; {advice}"
        )
    found = json.loads(done.stdout.splitlines()[-1])
    if found["version"] != found["ours"]:
        raise DestinationError(f"the workers of the pool at {address} have exporters-beam {found['version']}, and this is "
                               f"{found['ours']}; {advice}")  # fmt: skip
    if found["python"] != list(sys.version_info[:2]):
        theirs = ".".join(map(str, found["python"]))
        raise DestinationError(f"the workers of the pool at {address} run Python {theirs}, and this is "
                               f"{sys.version_info[0]}.{sys.version_info[1]}; {advice}")  # fmt: skip
    if found["missing"]:
        remedy = "; the pool is one that does not install what comes with a job: " + advice
        if not packages:
            remedy = "; install it there, or bring it with --extra_package=FILE.tar.gz or --setup_file=FOLDER/setup.py"
        raise DestinationError(f"the workers of the pool at {address} do not have the module {found['missing'][0]}, which the "
                               f"config uses{remedy}")  # fmt: skip
    if not found["sees"]:
        raise DestinationError(f"the workers of the pool at {address} do not see the staging folder {books.folder}; give a "
                               "folder that is mounted there too, as `staging`")  # fmt: skip


def _docker(options: Options) -> None:
    """Flink is told to start workers as containers on this machine: look whether it can."""
    from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, WorkerOptions
    from apache_beam.transforms.environments import DockerEnvironment

    names = ("environment_type", "environment_config", "environment_options", "sdk_container_image",
             "worker_harness_container_image")  # fmt: skip
    given = parsed(options.given)
    beam = PipelineOptions([f"--{name}={value}" for name in names for value in given.get(name, ()) if value])
    image = beam.view_as(PortableOptions).environment_config or beam.view_as(WorkerOptions).sdk_container_image
    image = image or DockerEnvironment.default_docker_image()
    other = "or use --environment_type=EXTERNAL, or LOOPBACK"
    if shutil.which("docker") is None:
        raise DestinationError(f"--environment_type=DOCKER: there is no docker on this machine; install it, {other}")

    def said(*command: str) -> tuple[int, str]:
        try:
            done = subprocess.run(
                ["docker", *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
            )
        except subprocess.TimeoutExpired:
            return 1, "it did not answer for 10 s"
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return done.returncode, shortened(lines[-1], 300) if lines else ""

    failed, why = said("version", "--format", "{{.Server.Version}}")
    if failed:
        raise DestinationError(
            f"--environment_type=DOCKER: docker does not work here ({why}); start its daemon, {other}"
        )
    if said("image", "inspect", image)[0]:
        failed, why = said("manifest", "inspect", image)
        if failed:
            raise DestinationError(f"--environment_type=DOCKER: there is no image {image} here, and it cannot be fetched "
                                   f"({why}); make one with templates/dataflow/Dockerfile, {other}")  # fmt: skip


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
