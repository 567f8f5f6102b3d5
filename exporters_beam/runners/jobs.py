"""Jobs that run elsewhere: how they are, and how they are stopped, by the REST interfaces of Dataflow and Flink.

Dataflow asks who calls: then Google's `google-auth` is needed, which comes with `exporters-beam[dataflow]`. Its client of
Dataflow is not used: who asks about a job of Flink, or of a stand-in for Dataflow, need not install it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from exporters_beam.components.retry import persistently
from exporters_beam.errors import ConfigError, ExportError, MissingExtra
from exporters_beam.handover import received
from exporters_beam.records import Json
from exporters_beam.runners import rest
from exporters_beam.runners.flink_rest import OVER, Cluster, address_of, page_of

DATAFLOW = "https://dataflow.googleapis.com"
CONSOLE = "https://console.cloud.google.com/dataflow/jobs"
DRAIN_LOOKS = 240
"""How often, each quarter of a second, it is asked whether Flink refuses to drain a job. A busy one takes its time."""

DRAIN_TRIES = 60
"""How often, a second apart, Flink is asked to drain a job whose tasks begin or end just then."""

PASSING = (
    "The requested operation is not available while the JobManager is initializing",
    "Not all required tasks are currently running",
    "Checkpoint was declined (tasks not ready)",
    "Checkpoint was declined (task is closing)",
    "Task local checkpoint failure",
    "Checkpoint needs at least one vertex that commits the checkpoint",
)
"""Flink's reasons against a savepoint that pass: the job, or some task, begins or ends just then (CheckpointFailureReason)."""

TRIES = 5
"""How often in a row `watch` may find the service away before it gives up."""


@dataclass(frozen=True)
class Job:
    """A job and where it is. For Flink `endpoint` is the address of the JobManager's REST interface."""

    runner: str
    id: str
    project: str = ""
    region: str = ""
    endpoint: str = ""
    no_auth: bool = False

    @property
    def place(self) -> str:
        """The job's page for people; `job_at` reads it."""
        if self.runner == "flink":
            return page_of(self.endpoint, self.id)
        if self.endpoint in ("", DATAFLOW):
            return f"{CONSOLE}/{self.region}/{self.id}?project={self.project}"
        return f"{self._path(self.endpoint.rstrip('/'))}"

    def _path(self, base: str) -> str:
        project, region, job = (quote(part, safe="") for part in (self.project, self.region, self.id))
        return f"{base}/v1b3/projects/{project}/locations/{region}/jobs/{job}"


@dataclass(frozen=True)
class Status:
    """How a job is. `over` says that it has ended, `good` that it ended well; `messages` are its warnings and errors."""

    id: str
    name: str
    state: str
    since: str = ""
    over: bool = False
    good: bool = False
    messages: tuple[str, ...] = ()

    def __str__(self) -> str:
        since = f" since {self.since}" if self.since else ""
        return "\n".join((f"{self.name or self.id}: {self.state}{since}", *(f"  {text}" for text in self.messages)))


def job_at(
    place: str, *, project: str = "", region: str = "", endpoint: str = "", flink: str = "", no_auth: bool = False
) -> Job:
    """The job that a user names: by the address that `submit` printed, or by its id with where it is. Raises ConfigError."""
    url = urlsplit(place)
    if url.scheme in ("http", "https"):
        base = f"{url.scheme}://{url.netloc}"
        on_flink = re.match(r"/job/(?:\w+/)*?([0-9a-f]{32})(?:/|\Z)", url.fragment) or re.match(
            r"/jobs/([0-9a-f]{32})\Z", url.path
        )
        if on_flink:
            return Job("flink", on_flink.group(1), endpoint=base)
        console = re.match(r"/dataflow/jobs/([^/]+)/([^/;]+)", url.path)
        if console:
            project = (parse_qs(url.query).get("project") or [project])[0]
            if not project:
                raise ConfigError(f"JOB: {place!r} does not name the project; add --project=PROJECT")
            return Job("dataflow", console.group(2), project, console.group(1), endpoint, no_auth)
        service = re.match(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs/([^/]+)\Z", url.path)
        if service:
            return Job("dataflow", service.group(3), service.group(1), service.group(2), base, no_auth)
        raise ConfigError(f"JOB: {place!r} is the address of no job; give what submit printed, or the job's id")
    if flink:
        return Job("flink", place, endpoint=address_of(flink))
    if project and region:
        return Job("dataflow", place, project, region, endpoint, no_auth)
    raise ConfigError("JOB: say where the job is: give the address that submit printed, or add --project=PROJECT "
                      "--region=REGION (Dataflow) or --flink_master=HOST:PORT (Flink)")  # fmt: skip


def status(job: Job) -> Status:
    """How the job is now. Raises ExportError where the service does not say, MissingExtra."""
    return FUNCTIONS[job.runner][0](job)


def cancel(job: Job) -> None:
    """Stop the job at once; what it has not published is lost or can be resumed. Raises ExportError."""
    FUNCTIONS[job.runner][1](job)


def drain(job: Job, savepoints: str = "") -> None:
    """Have a streaming job take in nothing more, finish what it has and end; on Flink with a savepoint. Raises ExportError."""
    FUNCTIONS[job.runner][2](job, savepoints)


def watch(job: Job, tell: Callable[[str], object], every: float = 10.0, stop: threading.Event | None = None) -> Status:
    """Tell each change of state and each new message until the job has ended; gives how it ended. Raises ExportError."""
    stop = stop or threading.Event()
    state, seen = "", set[str]()
    while True:
        now = persistently(lambda: status(job), attempts=TRIES, first=every, longest=every,
                           passing=lambda error: isinstance(error, rest.Unreachable), sleep=stop.wait)  # fmt: skip
        if now.state != state:
            tell(f"{now.name or now.id}: {now.state}")
            state = now.state
        for text in now.messages:
            if text not in seen:
                tell(f"  {text}")
                seen.add(text)
        if now.over or stop.wait(every):
            return now


# Dataflow

_GOOD = ("JOB_STATE_DONE", "JOB_STATE_DRAINED", "JOB_STATE_UPDATED")
_OVER = (*_GOOD, "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_STOPPED")


def _dataflow_status(job: Job) -> Status:
    path = job._path((job.endpoint or DATAFLOW).rstrip("/"))
    found = _ask_dataflow(job, "GET", path)
    state = str(found.get("currentState", "JOB_STATE_UNKNOWN"))
    messages: list[str] = []
    page = ""
    while True:
        query = {"minimumImportance": "JOB_MESSAGE_WARNING", **({"pageToken": page} if page else {})}
        answer = _ask_dataflow(job, "GET", f"{path}/messages?{urlencode(query)}")
        for message in answer.get("jobMessages", ()):
            kind = str(message.get("messageImportance", "")).rpartition("_")[2].lower()
            text = str(message.get("messageText", ""))
            failed = received(text)
            text = failed.message if failed is not None else rest.last_line(text)
            messages.append(f"{message.get('time', '')} {kind}: {text}".strip())
        page = str(answer.get("nextPageToken") or "")
        if not page:
            break
    return Status(
        job.id,
        str(found.get("name", "")),
        state.removeprefix("JOB_STATE_").lower(),
        str(found.get("currentStateTime", "")),
        state in _OVER,
        state in _GOOD,
        tuple(messages),
    )


def _dataflow_cancel(job: Job) -> None:
    _dataflow_ask_for(job, "JOB_STATE_CANCELLED")


def _dataflow_drain(job: Job, savepoints: str) -> None:
    if savepoints:
        raise ConfigError("--savepoint_path: Dataflow has no savepoints; leave it out")
    _dataflow_ask_for(job, "JOB_STATE_DRAINING")


def _dataflow_ask_for(job: Job, state: str) -> None:
    _ask_dataflow(job, "PUT", job._path((job.endpoint or DATAFLOW).rstrip("/")), {"requestedState": state})


def _ask_dataflow(job: Job, method: str, url: str, body: Mapping[str, object] | None = None) -> Json:
    headers = {} if job.no_auth else {"Authorization": f"Bearer {_token()}"}
    return rest.ask("Dataflow", method, url, body, thing=f"job {job.id!r}", headers=headers, said=_said)


def _said(found: object) -> str:
    """The message in an error's body."""
    error = found.get("error") if isinstance(found, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""


def _token() -> str:
    try:
        import google.auth
        import google.auth.transport.requests
    except ImportError:
        raise MissingExtra("asking Dataflow", "dataflow") from None
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(google.auth.transport.requests.Request())
    except Exception as error:
        raise ExportError(f"Google does not know who asks: {rest.last_line(str(error))}; run: gcloud auth application-default "
                          "login") from None  # fmt: skip
    return str(credentials.token)


# Flink


def _flink_status(job: Job) -> Status:
    cluster = Cluster(job.endpoint)
    found = cluster.job(job.id)
    state = str(found.get("state", "UNKNOWN"))
    messages = cluster.exceptions(job.id) if state in ("FAILED", "FAILING", "RESTARTING") else ()
    return Status(job.id, str(found.get("name", "")), state.lower(), "", state in OVER, state == "FINISHED", messages)


def _flink_cancel(job: Job) -> None:
    Cluster(job.endpoint).cancel(job.id)


def _flink_drain(job: Job, savepoints: str) -> None:
    cluster = Cluster(job.endpoint)
    pause, refused = threading.Event(), False

    def stop() -> None:
        nonlocal refused
        if refused and _flink_status(job).good:
            return  # It has come to its end by itself.
        request = cluster.stop(job.id, savepoints)
        for _ in range(DRAIN_LOOKS):  # What it cannot do it says soon; the savepoint itself may take hours.
            failed = cluster.stopped(job.id, request)
            if failed:
                refused = True
                raise _NotDrained(f"Flink does not drain the job: {failed}")
            if failed == "":
                return
            pause.wait(0.25)

    persistently(stop, attempts=DRAIN_TRIES, first=1.0, longest=1.0, passing=_will_pass)


class _NotDrained(ExportError):
    """Flink refuses to drain a job."""


def _will_pass(error: BaseException) -> bool:
    return isinstance(error, _NotDrained) and any(reason in str(error) for reason in PASSING)


def on_flink(master: str, name: str) -> dict[str, str]:
    """Flink's jobs of a name, with their states. Raises ConfigError, ExportError."""
    return Cluster(address_of(master)).jobs(name)


def cancel_on_flink(master: str, name: str) -> None:
    """Stop Flink's jobs of a name that run. Raises ExportError."""
    cluster = Cluster(address_of(master))
    for job, state in cluster.jobs(name).items():
        if state not in OVER:
            cluster.cancel(job)


def started_on_flink(master: str, name: str, before: Collection[str], wait: float = 120.0,
                     ended: Callable[[], str] = str) -> Job:  # fmt: skip
    """The job of this name that was not there before: Beam does not tell Flink's own id. Raises ExportError.

    `ended` says why the job will not appear any more; "" as long as it may.
    """
    pause = threading.Event()
    for _ in range(max(1, int(wait * 4))):
        new = [job for job in on_flink(master, name) if job not in before]
        if new:
            return Job("flink", new[0], endpoint=address_of(master))
        if why := ended():
            raise ExportError(why)
        pause.wait(0.25)
    raise ExportError(f"Flink at {master} shows no job named {name!r} after {wait:.0f} s; look there whether it was started")


FUNCTIONS: Mapping[str, tuple[Callable[[Job], Status], Callable[[Job], None], Callable[[Job, str], None]]] = {
    "dataflow": (_dataflow_status, _dataflow_cancel, _dataflow_drain),
    "flink": (_flink_status, _flink_cancel, _flink_drain),
}
"""By runner: how a job is asked how it is, cancelled and drained."""
