"""Looks, before an export on Flink starts, whether all is there that it needs: a cluster, a job server, workers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporters_beam.components.traits import ComponentTraits
from exporters_beam.components.words import shortened
from exporters_beam.errors import DestinationError
from exporters_beam.planning.plan import Plan
from exporters_beam.records import Json
from exporters_beam.runners import rest
from exporters_beam.runners.flink_rest import OVER, Cluster, page_of
from exporters_beam.runners.options import Options, parsed, relative_paths
from exporters_beam.runners.support import Refusal, refuse
from exporters_beam.staging.books import Books

START = "python templates/flink/cluster.py start"
HERE = ("", "[local]", "[auto]")
"""Masters that mean: no cluster, Flink inside the job server."""


def checked(plan: Plan, given: list[str], books: Books) -> list[str]:
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
        _look_at_job_server(Options(given + more))
    pool = options.text("environment_config")
    if options.text("environment_type").upper() == "EXTERNAL" and pool and (is_here(options) or not _of_localhost(pool)):
        folder = os.getcwd() if relative_paths(plan) else ""
        ask_pool(pool, books, folder, _modules(plan), of_packages(options))
    elif options.text("environment_type").upper() == "DOCKER" and is_here(options):
        _look_at_docker(options)
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
    host, port = split_address(address)
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise DestinationError(f"{what} listens at {option}={address} ({error.strerror or error}); {remedy}") from None


def _look_at_job_server(options: Options) -> None:
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


@dataclass(frozen=True)
class Pool:
    """A pool of workers on this machine, what the job brings, and what a worker of the pool said when it was asked."""

    address: str
    folder: str
    packages: Sequence[str]
    said: Json

    @property
    def advice(self) -> str:
        return _advice(self.address)

    @property
    def failed(self) -> str:
        """How asking failed: see `flink_pool_probe.failure`; "" where the worker answered."""
        return str(self.said.get("failed", ""))


def _advice(address: str) -> str:
    port = split_address(address)[1]
    return f"start the pool with: {POOL} --port {port}, in an environment where exporters-beam is installed"


def _lacks(pool: Pool) -> str:
    remedy = "; the pool is one that does not install what comes with a job: " + pool.advice
    if not pool.packages:
        remedy = "; install it there, or bring it with --extra_package=FILE.tar.gz or --setup_file=FOLDER/setup.py"
    return (
        f"the workers of the pool at {pool.address} do not have the module {pool.said['missing'][0]}, which the config uses"
        f"{remedy}"
    )


POOLS: tuple[Refusal[Pool], ...] = (
    Refusal(
        lambda pool: pool.failed == "package",
        "--setup_file: Beam cannot make a package of its project; to see why, run in its folder: "
        "python -m build --sdist --no-isolation",
    ),
    Refusal(
        lambda pool: pool.failed == "start",
        lambda pool: f"the pool at {pool.address}: {shortened(pool.said['why'], 400)}",
    ),
    Refusal(
        lambda pool: pool.failed == "import",
        lambda pool: f"the workers of the pool at {pool.address} have no package exporters_beam; {pool.advice}",
    ),
    Refusal(
        lambda pool: pool.failed,
        lambda pool: f"the workers of the pool at {pool.address} fail: {shortened(pool.said['why'], 300)}; {pool.advice}",
    ),
    Refusal(
        lambda pool: pool.said["version"] != pool.said["ours"],
        lambda pool: (
            f"the workers of the pool at {pool.address} have exporters-beam {pool.said['version']}, and this is "
            f"{pool.said['ours']}; {pool.advice}"
        ),
    ),
    Refusal(
        lambda pool: pool.said["python"] != list(sys.version_info[:2]),
        lambda pool: (
            f"the workers of the pool at {pool.address} run Python {'.'.join(map(str, pool.said['python']))}, and this is "
            f"{sys.version_info[0]}.{sys.version_info[1]}; {pool.advice}"
        ),
    ),
    Refusal(lambda pool: pool.said["missing"], _lacks),
    Refusal(
        lambda pool: not pool.said["sees"],
        lambda pool: (
            f"the workers of the pool at {pool.address} do not see the staging folder {pool.folder}; give a folder that is "
            "mounted there too, as `staging`"
        ),
    ),
)
"""With which pools an export does not work. The first that fits is told."""


def ask_pool(address: str, books: Books, folder: str, modules: list[str], packages: list[str]) -> None:
    """Have the pool start a worker, with the job's packages, and ask it what it has and what it sees.

    A pool elsewhere is not asked. Raises DestinationError.
    """
    port = split_address(address)[1]
    if not port:
        raise DestinationError(f"--environment_config: {address!r} has no port; give HOST:PORT of a pool of workers")
    _listening(address, "no pool of workers", "--environment_config",
               f"start one with: {POOL} --port {port}, in the environment of the export")  # fmt: skip
    said = _ask_worker(address, books, folder, modules, packages)
    refuse(POOLS, Pool(address, books.folder, packages, said), DestinationError)


def _ask_worker(address: str, books: Books, folder: str, modules: list[str], packages: list[str]) -> Json:
    """What a worker of the pool says; see `flink_pool_probe`. Raises DestinationError where it does not answer."""
    token = os.path.join(os.path.abspath(books.folder), f"probe-{uuid.uuid4().hex}")
    os.makedirs(books.folder, exist_ok=True)
    with open(token, "w", encoding="utf-8"):
        pass
    probe = [sys.executable, "-m", "exporters_beam.runners.flink_pool_probe"]
    asks = [*probe, address, token, folder, ",".join(modules), *packages]
    seconds = PROBE_SECONDS + INSTALL_SECONDS * bool(packages)
    try:
        done = subprocess.run(asks, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise DestinationError(f"the workers of the pool at {address} do not start: its `python` is likely to lack "
                               f"apache_beam; {_advice(address)}") from None  # fmt: skip
    finally:
        if os.path.exists(token):
            os.remove(token)
    if done.returncode:  # It was killed, or does not even begin.
        return {"failed": "other", "why": "".join(done.stderr.splitlines()[-1:]).strip()}
    said: Json = json.loads(done.stdout.splitlines()[-1])
    return said


def _look_at_docker(options: Options) -> None:
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
            done = subprocess.run(["docker", *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
        except subprocess.TimeoutExpired:
            return 1, "it did not answer for 10 s"
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return done.returncode, shortened(lines[-1], 300) if lines else ""

    failed, why = said("version", "--format", "{{.Server.Version}}")
    if failed:
        raise DestinationError(f"--environment_type=DOCKER: docker does not work here ({why}); start its daemon, {other}")
    if said("image", "inspect", image)[0]:
        failed, why = said("manifest", "inspect", image)
        if failed:
            raise DestinationError(f"--environment_type=DOCKER: there is no image {image} here, and it cannot be fetched "
                                   f"({why}); make one with templates/dataflow/Dockerfile, {other}")  # fmt: skip


PACKAGES = ("extra_package", "extra_packages", "setup_file", "requirements_file", "requirements_cache")


def of_packages(options: Options) -> list[str]:
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


def split_address(master: str) -> tuple[str, int]:
    host, _, port = master.strip().removeprefix("http://").removeprefix("https://").rstrip("/").rpartition(":")
    return (host, int(port)) if port.isdecimal() and host else (master, 0)


def _of_localhost(address: str) -> bool:
    """Whether it is the machine of whoever asks: where the cluster is elsewhere, not this one."""
    return split_address(address)[0] in ("localhost", "127.0.0.1", "::1")


def is_here(options: Options) -> bool:
    """Whether Flink runs on this machine."""
    master = options.text("flink_master")
    if master in HERE:
        return True
    host = split_address(master)[0]
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
        ours = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return host in ("localhost", "127.0.0.1", "::1")
    return any(address.startswith("127.") or address == "::1" or address in ours for address in found)
