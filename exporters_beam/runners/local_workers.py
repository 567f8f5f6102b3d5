"""Worker processes of the local runner that are watched: when one dies the run fails, and none outlives its launcher.

With `--direct_running_mode=multi_processing` Beam's FnApiRunner starts workers and waits for their answers without ever
looking whether they live: a run whose worker was killed never ended. `Runner` is that runner with workers of its own kind.

Nothing of Beam's is replaced. Where names are missing that it relies on (`beam_internals`), importing this module fails and
the runner falls back to what Beam does. `local_job_service.py` of Beam, `SubprocessSdkWorker`, shows what a worker wants to
find in its environment variables.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc, endpoints_pb2
from google.protobuf import json_format, text_format

from exporters_beam.errors import DestinationError
from exporters_beam.runners.beam_internals import (
    BeamFnLoggingServicer,
    FnApiRunner,
    GrpcWorkerHandler,
    WorkerHandler,
    break_off,
    has_connected,
    python_urns,
    quieten,
    thread_pool_executor,
)
from exporters_beam.runners.local_worker_process import StandBy

KIND = "exporters_beam:env:worker_process:v1"
TIDY_SECONDS = 5.0
"""So long Beam may take to put away what belonged to a run that was broken off; its threads are daemons."""

_runs: dict[bytes, Runner] = {}
_numbers = itertools.count(1)


class Runner(FnApiRunner):
    """FnApiRunner on worker processes; its run raises DestinationError when one of them ends too early.

    `resumable` says whether something was committed that another run can go on with, `standing` are worker processes that
    stand by.
    """

    def __init__(self, resumable: Callable[[], bool], standing: list[StandBy]) -> None:
        super().__init__()
        self._resumable = resumable
        self.standing = standing
        self._name = b"%d" % next(_numbers)
        self._workers: list[WorkerProcess] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._broken = False
        self._lost: tuple[int, bool] | None = None

    def run_pipeline(self, pipeline: Any, options: object) -> Any:
        """Run it in a thread, which can be left behind when it waits for the dead. Raises DestinationError."""
        found: list[Any] = []
        wrong: list[BaseException] = []

        def work() -> None:
            try:
                found.append(super(Runner, self).run_pipeline(pipeline, options))
            except BaseException as error:
                wrong.append(error)
            finally:
                self._over.set()

        _runs[self._name] = self
        thread = threading.Thread(target=work, name="exporters_beam run", daemon=True)
        thread.start()
        try:
            while not self._over.wait(0.2):  # Another thread may have got the signal of a Ctrl-C: look whether it did.
                pass
        finally:
            del _runs[self._name]
            self._break_off(thread)
        if self._lost:
            raise DestinationError(_why(*self._lost, resumable=self._resumable()))
        if wrong:
            raise wrong[0]
        return found[0]

    def run_via_runner_api(self, pipeline_proto: Any, options: object) -> Any:
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.urn, environment.payload = KIND, self._name
        return super().run_via_runner_api(pipeline_proto, options)

    def start(self, worker: WorkerProcess, environment: dict[str, str]) -> None:
        """Start a worker's process, unless the run has been broken off meanwhile."""
        with self._lock:
            if self._broken:
                raise RuntimeError("the run was broken off")
            worker.spawn(environment)
            self._workers.append(worker)

    def lose(self, code: int, ready: bool) -> None:
        """A worker has ended with this status, and the run cannot go on."""
        self._lost = self._lost or (code, ready)
        self._over.set()

    def _break_off(self, thread: threading.Thread) -> None:
        """End what is left of a run; nothing is where Beam has put away everything itself."""
        with self._lock:
            self._broken = True
        for worker in self._workers:
            worker.kill()
        for _ in range(round(TIDY_SECONDS / 0.1)):
            thread.join(0.1)
            if not thread.is_alive():
                break
            for worker in self._workers:
                worker.abort()


LEAVES_SECONDS = 10.0
"""How long a worker process that is not needed any more may take to end."""


@WorkerHandler.register_environment(KIND, bytes)
class WorkerProcess(GrpcWorkerHandler):
    """One worker process and the thread that waits for its end."""

    def __init__(self, run: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._run = _runs[run]
        self._wanted = True
        quieten(self.control_conn, self.data_conn)

    def start_worker(self) -> None:
        self._logging = grpc.server(thread_pool_executor.shared_unbounded_instance())
        port = self._logging.add_insecure_port("[::]:0")
        beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(BeamFnLoggingServicer(), self._logging)
        self._logging.start()
        logging_service = endpoints_pb2.ApiServiceDescriptor(url=f"localhost:{port}")
        told = {
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(logging_service),
            "PIPELINE_OPTIONS": json_format.MessageToJson(self.provision_info.provision_info.pipeline_options),
            "WORKER_ID": self.worker_id,
        }
        self._run.start(self, {**os.environ, **told})

    def spawn(self, environment: dict[str, str]) -> None:
        """One that stands by, else a new one, in a session of its own, out of reach of the terminal's Ctrl-C: the launcher
        ends its workers."""
        self._process: StandBy | subprocess.Popen[bytes]
        self._alive: int | None = None
        if self._run.standing:
            self._process = self._run.standing.pop()
            self._process.begin(environment)
        else:
            theirs, self._alive = os.pipe()
            try:
                command = [sys.executable, "-m", "exporters_beam.runners.local_worker_process", str(theirs)]
                self._process = subprocess.Popen(command, env=environment, pass_fds=[theirs], start_new_session=True)
            except BaseException:
                os.close(self._alive)
                raise
            finally:
                os.close(theirs)
        self._thread = threading.Thread(target=self._wait, name="exporters_beam worker", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        code = self._process.wait()
        if self._alive is not None:
            os.close(self._alive)
        self._logging.stop(0)
        if self._wanted:
            self._run.lose(code, ready=has_connected(self.control_conn))

    def kill(self) -> None:
        self._wanted = False
        self._process.kill()
        self._thread.join(1.0)

    def abort(self) -> None:
        """Wake whatever waits for this worker. Beam may add to it meanwhile: to be called until nothing waits."""
        break_off(self.control_conn, self.data_conn, RuntimeError("a worker process has ended"))

    def close(self) -> None:
        self._wanted = False
        super().close()

    def stop_worker(self) -> None:
        """All is done: it ends by itself, but for one whose client of Beam's log waits for an answer that does not come."""
        self._thread.join(LEAVES_SECONDS)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()


def _why(code: int, ready: bool, resumable: bool) -> str:
    """What to tell about a worker that ended with this status."""
    if code < 0:
        what = f"was killed (signal {-code}{', often: out of memory' if -code == signal.SIGKILL else ''})"
    elif ready:
        what = f"ended (exit status {code})"
    else:
        return f"a worker process ended before it could start working (exit status {code}); what it said stands above"
    again = f"run again{' with --resume' if resumable else ''}, or with fewer workers (--workers)"
    return f"a worker process {what}; nothing half-written has a final name; {again}"
