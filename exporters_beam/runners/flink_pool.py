"""A pool of workers for runners that are told `--environment_type=EXTERNAL`: `python -m exporters_beam.worker_pool`.

Beam's own pool starts whatever `python` is first in PATH, and knows its workers by ids that TaskManagers of one
machine give twice ("1-1"): the first to be stopped takes the other's worker with it, and that job then waits for ever
(Beam 2.77). This one starts the Python it runs in, and stops a worker only where its id says which one is meant.
Packages that come with a job (`--extra_package`, `--setup_file`, `--requirements_file`) are installed for its workers.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from exporters_beam.runners.flink_pool_packages import CannotInstall, Environments

WORKER = (
    "import sys; from apache_beam.runners.worker.sdk_worker import SdkHarness; "
    "SdkHarness(sys.argv[1], worker_id=sys.argv[2], state_cache_size=0, data_buffer_time_limit_ms=-1).run()"
)


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts a Python process for each worker that a runner asks for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._environments = Environments()

    def StartWorker(self, request: Any, context: object) -> Any:
        python = sys.executable
        try:
            if request.provision_endpoint.url:
                python = self._environments.python_for(
                    request.worker_id, request.provision_endpoint.url, request.artifact_endpoint.url
                )
            worker = subprocess.Popen([python, "-c", WORKER, request.control_endpoint.url, request.worker_id])
        except CannotInstall as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=str(error))
        except grpc.RpcError as error:
            why = f"the packages of the job cannot be fetched: {error.details() or error.code()}"
            return beam_fn_api_pb2.StartWorkerResponse(error=why)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=f"cannot start {python}: {error.strerror}")
        with self._lock:
            self._workers.setdefault(request.worker_id, []).append(worker)
        threading.Thread(target=self._wait, args=(request.worker_id, worker), daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: object) -> Any:
        """Ends the worker. Of several with this id none is ended: each ends when its runner hangs up."""
        with self._lock:
            workers = list(self._workers.get(request.worker_id, ()))
        if len(workers) == 1:
            _end(workers[0])
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """End every worker."""
        with self._lock:
            workers = [worker for others in self._workers.values() for worker in others]
        for worker in workers:
            _end(worker)
        self._environments.close()

    def _wait(self, name: str, worker: subprocess.Popen[bytes]) -> None:
        worker.wait()
        with self._lock:
            self._workers[name].remove(worker)
            if not self._workers[name]:
                del self._workers[name]


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(10)
    except subprocess.TimeoutExpired:
        worker.kill()


def serve(host: str, port: int) -> tuple[WorkerPool, Any, int]:
    """A pool that listens, its server, and the port. Raises OSError where the port is taken."""
    from concurrent.futures import ThreadPoolExecutor

    # Without SO_REUSEPORT two pools could share a port, and each get some of the workers.
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    pool = WorkerPool()
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {host}:{port}; is a pool running there already?") from error
    server.start()
    return pool, server, bound


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m exporters_beam.worker_pool", description=__doc__)
    parser.add_argument("--host", default="localhost", help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=int, default=50000, metavar="N", help="default: %(default)s")
    args = parser.parse_args(argv)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        pool, server, port = serve(args.host, args.port)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"workers are started at {args.host}:{port} with {sys.executable}", flush=True)
    over.wait()
    server.stop(0)
    pool.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
