#!/usr/bin/env python3
"""A Flink cluster on this machine, for trying exports on it: `cluster.py install | start | status | stop`.

One JobManager, two TaskManagers, Beam's job server and a pool of Python workers, all on the loopback interface. The
first start installs Flink and Beam's job server with `pip` and `mvn`, about 420 MB, into ~/.cache/exporters-beam. It
needs Python and Java 11 or 17, nothing else. docs/flink.md says how to run exports on it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FLINK, BEAM = "1.19.3", "2.62.0"
"""Flink, and the newest Beam whose job server for it can be put together from published jars. Beam 2.77 speaks with it."""

DRIVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>exporters-beam</groupId><artifactId>job-server</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.beam</groupId><artifactId>beam-runners-flink-1.19</artifactId><version>{BEAM}</version>
    </dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

OPENS = [
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED"
      for package in ("java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text",
                      "java.time", "java.util", "java.util.concurrent", "java.util.concurrent.atomic",
                      "java.util.concurrent.locks")),
    *(f"--add-exports={package}=ALL-UNNAMED"
      for package in ("java.base/sun.net.util", "java.rmi/sun.rmi.registry", "java.security.jgss/sun.security.krb5")),
]  # fmt: skip
"""What Flink's own start scripts tell Java 17."""

CONFIG = """\
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: localhost
jobmanager.memory.process.size: 1024m
rest.address: localhost
rest.bind-address: localhost
rest.port: {rest}
taskmanager.bind-host: localhost
taskmanager.host: localhost
taskmanager.numberOfTaskSlots: {slots}
taskmanager.memory.process.size: 1728m
parallelism.default: 1
execution.checkpointing.num-retained: 3
state.checkpoints.dir: file://{folder}/checkpoints
state.savepoints.dir: file://{folder}/savepoints
io.tmp.dirs: {folder}/tmp
web.tmpdir: {folder}/tmp
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 10
restart-strategy.fixed-delay.delay: 1 s
resourcemanager.standalone.start-up-time: 86400000
heartbeat.interval: 1000
heartbeat.timeout: 10000
"""


# start-up-time (a day): a job waits for the slots of a TaskManager that is being replaced. By default Flink does so for the
# first five minutes of a cluster only; after them each try fails at once.


class Unable(Exception):
    """What is missing, and what to do; told in one sentence."""


def installation() -> Path:
    """Where Flink and the job server are installed."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache, "exporters-beam", "servers", "flink")


def missing() -> str:
    """What this machine lacks for a cluster, as a sentence; "" where there is all."""
    if shutil.which("java") is None:
        return "there is no java: install a Java runtime 11 or 17, e.g. apt-get install openjdk-17-jre-headless"
    if not _installed(installation()) and shutil.which("mvn") is None:
        return "there is no mvn, which fetches Beam's job server: install Maven, e.g. apt-get install maven"
    return ""


def install(place: Path | None = None) -> Path:
    """Install Flink and Beam's job server where they are not yet; gives their folder. Raises Unable."""
    place = place or installation()
    if _installed(place):
        return place
    if problem := missing():
        raise Unable(problem)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="flink-") as half:
        pom = Path(half, "pom.xml")
        pom.write_text(POM)
        _call("mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime",
              f"-DoutputDirectory={half}/job-server")  # fmt: skip
        _call(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", f"{half}/flink",
              f"apache-flink-libraries=={FLINK}")  # fmt: skip
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(half, place)
    _one_jar(sorted((place / "job-server").glob("*.jar")), job_server_jar(place))
    shutil.rmtree(place / "job-server")
    (place / "installed").write_text(f"{FLINK} {BEAM}")
    return place


def _installed(place: Path) -> bool:
    with contextlib.suppress(OSError):
        return (place / "installed").read_text() == f"{FLINK} {BEAM}"
    return False


def _call(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        last = [line for line in done.stdout.splitlines() if line.strip()][-5:]
        raise Unable(f"{' '.join(command[:4])} … failed: " + " / ".join(last))


def job_server_jar(place: Path) -> Path:
    """One jar, as `--flink_job_server_jar` takes it."""
    return place / "beam-flink-job-server.jar"


def unsent_jar(place: Path) -> Path:
    """The same jar by a name that the job server does not send to Flink with every export.

    Beam (PipelineResources) sends all that is on the job server's class path, but for paths with `gradle/wrapper`. This
    cluster has the jar on its own class path, where it is loaded once and not again for each export.
    """
    jar = place / "gradle" / "wrapper" / job_server_jar(place).name
    if not jar.exists():
        jar.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(job_server_jar(place), jar)
    return jar


def _one_jar(jars: list[Path], jar: Path) -> None:
    """Put many jars into one: each is sent to Flink for every export, and many small ones take ten times as long.

    Lists of services are joined, signatures left out; of other files with the same name the first is taken.
    """
    services: dict[str, bytes] = {}
    seen: set[str] = set()
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        manifest = f"Manifest-Version: 1.0\r\nMain-Class: {DRIVER}\r\nMulti-Release: true\r\n\r\n"
        out.writestr("META-INF/MANIFEST.MF", manifest)
        for one in jars:
            with zipfile.ZipFile(one) as found:
                for name in found.namelist():
                    if name.startswith("META-INF/services/") and not name.endswith("/"):
                        services[name] = services.get(name, b"") + found.read(name) + b"\n"
                    elif not _left_out(name) and name not in seen:
                        seen.add(name)
                        out.writestr(name, found.read(name))
        for name, text in services.items():
            out.writestr(name, text)


def _left_out(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    signed = folder == "META-INF" and file.endswith((".SF", ".RSA", ".DSA", "MANIFEST.MF", "INDEX.LIST"))
    return name.endswith("/") or signed or file == "module-info.class"


class Cluster:
    """A cluster's folder, with its config, logs, checkpoints and the process ids of what runs."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).absolute()
        self.place = installation()

    @property
    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "cluster.json").read_text())
            return found
        except OSError:
            return {}

    def start(self, rest: int = 0, pool: int = 0, job: int = 0, task_managers: int = 2, slots: int = 1,
              python: str = sys.executable, seconds: float = 120) -> dict[str, Any]:  # fmt: skip
        """Start everything and wait until it answers; gives the ports. Ports of 0 are chosen. Raises Unable."""
        if self.running():
            raise Unable(f"a cluster is running in {self.folder} already; stop it first, or give another --folder")
        self.place = install()
        ports = {"rest": rest or free_port(), "pool": pool or free_port(), "job": job or free_port()}
        for name, port in ports.items():
            if listening(port):
                raise Unable(f"port {port} ({name}) is taken; give another, or none and a free one is chosen")
        for name in ("conf", "log", "tmp", "checkpoints", "savepoints", "artifacts"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "conf" / "config.yaml").write_text(
            CONFIG.format(rpc=free_port(), folder=self.folder, slots=slots, rest=ports["rest"])
        )
        self._save({"ports": ports, "processes": {}, "python": python, "jar": str(job_server_jar(self.place))})
        try:
            self.start_job_manager()
            for n in range(1, task_managers + 1):
                self.start_task_manager(f"taskmanager-{n}")
            self.start_pool()
            self.start_job_server()
            self._wait("jobmanager", lambda: self.task_managers() >= task_managers, seconds)
            self._wait("pool", lambda: listening(ports["pool"]), seconds)
            self._wait("jobserver", lambda: listening(ports["job"]), seconds)
        except BaseException:
            self.stop()
            raise
        return self.state

    def start_job_manager(self) -> None:
        self._java("jobmanager", "-Xmx448m", "-cp", self._class_path,
                   "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
                   "--configDir", str(self.folder / "conf"))  # fmt: skip

    def start_task_manager(self, name: str) -> None:
        jvm, dynamic = self._task_manager_arguments()
        self._java(name, *jvm, "-cp", self._class_path, "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                   "--configDir", str(self.folder / "conf"), *dynamic)  # fmt: skip

    def start_pool(self) -> None:
        python, port = self.state["python"], self.state["ports"]["pool"]
        self._spawn("pool", [python, "-m", "exporters_beam.worker_pool", f"--port={port}"])

    def start_job_server(self) -> None:
        """Beam's job server, kept running so that an export need not start one."""
        ports = self.state["ports"]
        self._java("jobserver", "-cp", str(unsent_jar(self.place)), DRIVER,
                   f"--flink-master=localhost:{ports['rest']}", f"--job-port={ports['job']}", "--artifact-port=0",
                   "--expansion-port=0", f"--artifacts-dir={self.folder / 'artifacts'}")  # fmt: skip

    def stop(self) -> None:
        """End what this cluster started, by process id, and wait until it is gone."""
        for name in list(self.state.get("processes", {})):
            self.kill(name, signal.SIGTERM)

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        """End one process with all that it started."""
        state = self.state
        pid, began = state["processes"].pop(name)
        if _began(pid) == began:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, how)
            until = time.monotonic() + 10
            while _began(pid) == began:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                if time.monotonic() > until:
                    os.killpg(pid, signal.SIGKILL)
                    until += 10
                time.sleep(0.05)
        self._save(state)

    def running(self) -> list[str]:
        """The names of the processes that run."""
        return [name for name, (pid, began) in self.state.get("processes", {}).items() if _began(pid) == began]

    def task_managers(self) -> int:
        return int((self.get("/overview") or {}).get("taskmanagers", 0))

    def get(self, path: str) -> Any:
        """What Flink's REST interface answers; None where it does not. By hand: this file needs Python and Java alone."""
        try:
            with urllib.request.urlopen(f"http://localhost:{self.state['ports']['rest']}{path}", timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError, KeyError):
            return None

    def cancel(self, job: str) -> None:
        url = f"http://localhost:{self.state['ports']['rest']}/jobs/{job}?mode=cancel"
        urllib.request.urlopen(urllib.request.Request(url, method="PATCH"), timeout=10).close()

    @property
    def _lib(self) -> Path:
        return self.place / "flink" / "pyflink" / "lib"

    @property
    def _class_path(self) -> str:
        """Flink's own jars, and Beam's."""
        return f"{self._lib}/*:{unsent_jar(self.place)}"

    def _task_manager_arguments(self) -> tuple[list[str], list[str]]:
        """Memory settings of a TaskManager as Flink itself computes them: for Java and for Flink."""
        found = subprocess.run(
            ["java", "-cp", f"{self.place}/flink/pyflink/bin/bash-java-utils.jar:{self._lib}/flink-dist-{FLINK}.jar",
             "org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS", "--configDir",
             str(self.folder / "conf")], capture_output=True, text=True)  # fmt: skip
        lines = [line.partition("BASH_JAVA_UTILS_EXEC_RESULT:")[2] for line in found.stdout.splitlines()
                 if line.startswith("BASH_JAVA_UTILS_EXEC_RESULT:")]  # fmt: skip
        if len(lines) < 2:
            raise Unable(f"Flink does not accept its config: {(found.stderr or found.stdout).strip()[-300:]}")
        return lines[0].split(), lines[1].split()

    def _java(self, name: str, *arguments: str) -> None:
        log = ["-Dlog4j.configurationFile=file:" + str(self._log_config()), f"-Dlog.file={self.folder}/log/{name}.log"]
        self._spawn(name, ["java", *OPENS, *log, *arguments])

    def _log_config(self) -> Path:
        path = self.folder / "conf" / "log4j.properties"
        if not path.exists():
            path.write_text(
                "rootLogger.level = INFO\nrootLogger.appenderRef.out.ref = Out\nappender.out.name = Out\n"
                "appender.out.type = CONSOLE\nappender.out.layout.type = PatternLayout\n"
                "appender.out.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} %m%n\n"
            )
        return path

    def _spawn(self, name: str, command: list[str]) -> None:
        with open(self.folder / "log" / f"{name}.log", "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                       start_new_session=True)  # fmt: skip
        state = self.state
        state["processes"][name] = [process.pid, _began(process.pid)]
        self._save(state)

    def _wait(self, name: str, ready: Any, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not ready():
            gone = [process for process in self.state["processes"] if process not in self.running()]
            if gone or time.monotonic() > until:
                what = f"{gone[0]} ended" if gone else f"{name} was not ready after {seconds:.0f} s"
                raise Unable(f"{what}: {_last_line(self.folder / 'log' / f'{(gone or [name])[0]}.log')}")
            time.sleep(0.2)

    def _save(self, state: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "cluster.json"
        path.with_suffix(".part").write_text(json.dumps(state, indent=1))
        path.with_suffix(".part").replace(path)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return True
    return False


def _began(pid: int) -> str:
    """When a process began, so that its id given to another is not taken for it; "" where it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    except OSError:
        return ""


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    return f"{lines[-1][:300] if lines else 'it said nothing'} ({log})"


def usage(state: Mapping[str, Any]) -> Iterator[str]:
    """How to run an export on the cluster."""
    ports = state["ports"]
    yield f"Flink: http://localhost:{ports['rest']}"
    yield "run an export on it:"
    yield (f"  exporters-beam run CONFIG --runner=FlinkRunner --flink_master=localhost:{ports['rest']} "
           f"--job_endpoint=localhost:{ports['job']} --environment_type=EXTERNAL "
           f"--environment_config=localhost:{ports['pool']}")  # fmt: skip
    yield f"or, with a job server of its own, instead of --job_endpoint: --flink_job_server_jar={state['jar']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("install", "start", "status", "stop"))
    parser.add_argument("--folder", default=installation().parent / "flink-cluster", type=Path,
                        help="config, logs and checkpoints of the cluster (default: %(default)s)")  # fmt: skip
    parser.add_argument("--rest-port", type=int, default=8081, metavar="N", help="of Flink (default: %(default)s)")
    parser.add_argument("--pool-port", type=int, default=50000, metavar="N", help="of the pool of Python workers")
    parser.add_argument("--job-port", type=int, default=8099, metavar="N", help="of Beam's job server")
    parser.add_argument("--task-managers", type=int, default=2, metavar="N")
    parser.add_argument("--slots", type=int, default=1, metavar="N", help="of each TaskManager")
    parser.add_argument("--python", default=sys.executable, metavar="PATH",
                        help="of the workers; exporters_beam must be installed there (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    cluster = Cluster(args.folder)
    try:
        if args.command == "install":
            print(f"installed in {install()}")
        elif args.command == "start":
            state = cluster.start(args.rest_port, args.pool_port, args.job_port, args.task_managers, args.slots,
                                  args.python)  # fmt: skip
            print(*usage(state), sep="\n")
        elif args.command == "status":
            running = cluster.running()
            if not running:
                raise Unable(f"no cluster is running in {cluster.folder}")
            print("running: " + ", ".join(running), *usage(cluster.state), sep="\n")
        else:
            cluster.stop()
    except Unable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
