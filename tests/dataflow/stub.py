"""A stand-in for Dataflow's REST service: it takes jobs, executes the staged pipelines here, and says how they ended.

Workers are processes of their own, in another folder and with another environment than the launcher, as they are there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

WORKER = """
import sys
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

pipeline = beam_runner_api_pb2.Pipeline()
with open(sys.argv[1], "rb") as file:
    pipeline.ParseFromString(file.read())
for environment in pipeline.components.environments.values():
    environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
    del environment.dependencies[:]
FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()
"""

STATES = ("JOB_STATE_UNKNOWN", "JOB_STATE_STOPPED", "JOB_STATE_RUNNING", "JOB_STATE_DONE", "JOB_STATE_FAILED",
          "JOB_STATE_CANCELLED", "JOB_STATE_UPDATED", "JOB_STATE_DRAINING", "JOB_STATE_DRAINED")  # fmt: skip


class Dataflow:
    """The service. `jobs` are the requests by job id; `executes` says whether their pipelines are run at once.

    With `slowly` a job is running when it is asked for first, and has ended when it is asked for again.
    """

    def __init__(self, folder: Path, *, executes: bool = True, slowly: bool = False, environ: Mapping[str, str] = {}):
        self.folder, self.executes, self.slowly, self.environ = folder, executes, slowly, dict(environ)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.states: dict[str, list[str]] = {}
        self.messages: dict[str, list[dict[str, str]]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.refuse: tuple[int, str] | None = None
        self.server = ThreadingHTTPServer(("localhost", 0), _Handler)
        self.server.dataflow = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server.server_port}"

    @property
    def args(self) -> list[str]:
        """Beam's options for this service, with an image that has the package."""
        return ["--runner=DataflowRunner", f"--dataflow_endpoint={self.url}", "--no_auth", "--project=my-project",
                "--region=europe-west1", f"--temp_location={self.folder / 'staged'}",
                "--sdk_container_image=registry.example/exports:1", "--sdk_location=container"]  # fmt: skip

    @property
    def request(self) -> dict[str, Any]:
        """The only job's request."""
        (request,) = self.jobs.values()
        return request

    def create(self, project: str, region: str, body: dict[str, Any]) -> dict[str, Any]:
        job = f"2026-01-01_00_00_00-{len(self.jobs) + 1}"
        active = [key for key, request in self.jobs.items()
                  if request["name"] == body["name"] and self.states[key][-1] == "JOB_STATE_RUNNING"]  # fmt: skip
        if active:
            return {**self.told(active[0]), "clientRequestId": "somebody else's"}
        self.jobs[job] = {**body, "project": project, "region": region}
        self.states[job], self.messages[job] = ["JOB_STATE_RUNNING"], []
        if self.executes:
            state = self.execute(job)
            self.states[job] = [*(["JOB_STATE_RUNNING"] if self.slowly else []), state]
        return self.told(job)

    def execute(self, job: str) -> str:
        workers = self.folder / "workers"
        workers.mkdir(exist_ok=True)
        pipeline = workers / f"{job}.pb"
        pipeline.write_bytes(self.staged(job))
        environ = {key: value for key, value in os.environ.items() if key not in ("CANARY", "STORAGE_EMULATOR_HOST")}
        environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        ran = subprocess.run([sys.executable, "-c", WORKER, str(pipeline)], cwd=workers, env={**environ, **self.environ},
                             capture_output=True, text=True)  # fmt: skip
        (workers / f"{job}.log").write_text(ran.stdout + ran.stderr)
        if ran.returncode:
            self.say(job, "JOB_MESSAGE_ERROR", ran.stderr)
            return "JOB_STATE_FAILED"
        return "JOB_STATE_DONE"

    def say(self, job: str, importance: str, text: str) -> None:
        time = f"2026-01-01T00:00:{len(self.messages[job]):02d}Z"
        self.messages[job].append({"time": time, "messageImportance": importance, "messageText": text})

    def options(self, job: str) -> dict[str, Any]:
        return dict(self.jobs[job]["environment"]["sdkPipelineOptions"]["options"])

    def staged(self, job: str) -> bytes:
        """The pipeline that a job's request points to."""
        return fetch(self.options(job)["pipelineUrl"])

    def told(self, job: str) -> dict[str, Any]:
        states = self.states[job]
        state = states.pop(0) if len(states) > 1 else states[0]
        return {"id": job, "name": self.jobs[job]["name"], "currentState": state, "projectId": self.jobs[job]["project"],
                "location": self.jobs[job]["region"], "currentStateTime": "2026-01-01T00:00:00Z"}  # fmt: skip

    def stop(self, job: str, state: str) -> None:
        self.states[job] = ["JOB_STATE_DRAINED" if state == "JOB_STATE_DRAINING" else state]


def fetch(url: str) -> bytes:
    """What is staged at a path, or at a gs:// address of the emulator."""
    if not url.startswith("gs://"):
        return Path(url).read_bytes()
    from urllib.parse import quote

    bucket, _, name = url.removeprefix("gs://").partition("/")
    host = os.environ["STORAGE_EMULATOR_HOST"]
    with urlopen(f"{host}/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media") as answer:
        return bytes(answer.read())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.handle_request()

    def do_GET(self) -> None:
        self.handle_request()

    def do_PUT(self) -> None:
        self.handle_request()

    def handle_request(self) -> None:
        service: Dataflow = self.server.dataflow  # type: ignore[attr-defined]
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path, _, _query = self.path.partition("?")
        service.asked.append((self.command, path, body))
        parts = path.strip("/").split("/")
        if service.refuse is not None:
            return self.answer({"error": {"code": service.refuse[0], "message": service.refuse[1]}}, service.refuse[0])
        if parts[:2] != ["v1b3", "projects"] or len(parts) < 6 or parts[5] != "jobs":
            return self.answer({"error": {"code": 404, "message": f"no such path: {path}"}}, 404)
        if self.command == "POST":
            return self.answer(service.create(parts[2], parts[4], body or {}))
        job = parts[6] if len(parts) > 6 else ""
        if job not in service.jobs:
            return self.answer({"error": {"code": 404, "message": f"({job}): Information about job could not be found."}}, 404)
        if parts[7:] == ["messages"]:
            return self.answer({"jobMessages": service.messages[job]})
        if self.command == "PUT":
            state = (body or {})["requestedState"]
            service.stop(job, STATES[state] if isinstance(state, int) else state)
        return self.answer(service.told(job))

    def answer(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(service: Dataflow) -> Iterator[Dataflow]:
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.server.shutdown()
        service.server.server_close()
        thread.join()
