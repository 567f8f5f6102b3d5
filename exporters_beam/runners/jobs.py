"""Jobs that run elsewhere: how they are, and how they are stopped, by the REST interfaces of Dataflow and Flink.

Both are a few requests, so the standard library does. Dataflow asks who calls: then Google's `google-auth` is needed,
which comes with `exporters-beam[dataflow]`.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from exporters_beam.errors import ConfigError, ExportError, MissingExtra

DATAFLOW = "https://dataflow.googleapis.com"
CONSOLE = "https://console.cloud.google.com/dataflow/jobs"
SECONDS = 30.0
"""How long a request may take."""

DRAIN_LOOKS = 12
"""How often, each quarter of a second, it is asked whether Flink refuses to drain a job."""

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
            return f"{self.endpoint}/#/job/{self.id}/overview"
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
        rest = re.match(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs/([^/]+)\Z", url.path)
        if rest:
            return Job("dataflow", rest.group(3), rest.group(1), rest.group(2), base, no_auth)
        raise ConfigError(f"JOB: {place!r} is the address of no job; give what submit printed, or the job's id")
    if flink:
        return Job("flink", place, endpoint=flink_address(flink))
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


def watch(job: Job, tell: Callable[[str], Any], every: float = 10.0, stop: threading.Event | None = None) -> Status:
    """Tell each change of state and each new message until the job has ended; gives how it ended. Raises ExportError."""
    stop = stop or threading.Event()
    state, seen, missed = "", set[str](), 0
    while True:
        try:
            now = status(job)
            missed = 0
        except Unreachable:
            missed += 1
            if missed >= TRIES:
                raise
            stop.wait(every)
            continue
        if now.state != state:
            tell(f"{now.name or now.id}: {now.state}")
            state = now.state
        for text in now.messages:
            if text not in seen:
                tell(f"  {text}")
                seen.add(text)
        if now.over or stop.wait(every):
            return now


class Unreachable(ExportError):
    """The service did not answer, which may pass."""


# Dataflow

_GOOD = ("JOB_STATE_DONE", "JOB_STATE_DRAINED", "JOB_STATE_UPDATED")
_OVER = (*_GOOD, "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_STOPPED")


def _dataflow_status(job: Job) -> Status:
    path = job._path((job.endpoint or DATAFLOW).rstrip("/"))
    found = _asked(job, "GET", path)
    state = str(found.get("currentState", "JOB_STATE_UNKNOWN"))
    messages: list[str] = []
    page = ""
    while True:
        query = {"minimumImportance": "JOB_MESSAGE_WARNING", **({"pageToken": page} if page else {})}
        answer = _asked(job, "GET", f"{path}/messages?{urlencode(query)}")
        for message in answer.get("jobMessages", ()):
            kind = str(message.get("messageImportance", "")).rpartition("_")[2].lower()
            messages.append(
                f"{message.get('time', '')} {kind}: {_last_line(str(message.get('messageText', '')))}".strip()
            )
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
    _asked(job, "PUT", job._path((job.endpoint or DATAFLOW).rstrip("/")), {"requestedState": state})


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
        raise ExportError(f"Google does not know who asks: {_last_line(str(error))}; run: gcloud auth application-default "
                          "login") from None  # fmt: skip
    return str(credentials.token)


# Flink


def _flink_status(job: Job) -> Status:
    found = _asked(job, "GET", f"{job.endpoint}/jobs/{quote(job.id, safe='')}")
    state = str(found.get("state", "UNKNOWN"))
    messages: tuple[str, ...] = ()
    if state in ("FAILED", "FAILING", "RESTARTING"):
        told = _asked(job, "GET", f"{job.endpoint}/jobs/{quote(job.id, safe='')}/exceptions")
        messages = tuple(
            _of_flink(str(entry.get("stacktrace") or entry.get("exceptionName") or ""))
            for entry in (told.get("exceptionHistory") or {}).get("entries", ())
        ) or ((_of_flink(str(told["root-exception"])),) if told.get("root-exception") else ())  # fmt: skip
    over = state in ("FAILED", "CANCELED", "FINISHED")
    return Status(job.id, str(found.get("name", "")), state.lower(), "", over, state == "FINISHED", messages)


def _flink_cancel(job: Job) -> None:
    _asked(job, "PATCH", f"{job.endpoint}/jobs/{quote(job.id, safe='')}?mode=cancel")


def _flink_drain(job: Job, savepoints: str) -> None:
    body = {"drain": True, **({"targetDirectory": savepoints} if savepoints else {})}
    base = f"{job.endpoint}/jobs/{quote(job.id, safe='')}"
    request = _asked(job, "POST", f"{base}/stop", body).get("request-id", "")
    pause = threading.Event()
    for _ in range(DRAIN_LOOKS):  # What it cannot do at all it says soon; the savepoint itself may take hours.
        found = _asked(job, "GET", f"{base}/savepoints/{quote(str(request), safe='')}")
        if (found.get("status") or {}).get("id") == "COMPLETED":
            cause = (found.get("operation") or {}).get("failure-cause")
            if cause:
                raise ExportError(f"Flink does not drain the job: {_of_flink(str(cause.get('stack-trace') or cause))}")
            return
        pause.wait(0.25)


def on_flink(master: str, name: str) -> dict[str, str]:
    """Flink's jobs of a name, with their states. Raises ConfigError, ExportError."""
    address = flink_address(master)
    found = _asked(Job("flink", "", endpoint=address), "GET", f"{address}/jobs/overview").get("jobs", ())
    return {str(job["jid"]): str(job["state"]) for job in found if job["name"] == name}


def cancel_on_flink(master: str, name: str) -> None:
    """Stop Flink's jobs of a name that run. Raises ExportError."""
    for job, state in on_flink(master, name).items():
        if state not in ("FAILED", "CANCELED", "FINISHED"):
            cancel(Job("flink", job, endpoint=flink_address(master)))


def started_on_flink(master: str, name: str, before: Collection[str], wait: float = 120.0,
                     ended: Callable[[], str] = str) -> Job:  # fmt: skip
    """The job of this name that was not there before: Beam does not tell Flink's own id. Raises ExportError.

    `ended` says why the job will not appear any more; "" as long as it may.
    """
    pause = threading.Event()
    for _ in range(max(1, int(wait * 4))):
        new = [job for job in on_flink(master, name) if job not in before]
        if new:
            return Job("flink", new[0], endpoint=flink_address(master))
        if why := ended():
            raise ExportError(why)
        pause.wait(0.25)
    raise ExportError(
        f"Flink at {master} shows no job named {name!r} after {wait:.0f} s; look there whether it was started"
    )


def flink_address(master: str) -> str:
    if master.startswith("["):
        raise ConfigError(
            f"--flink_master: {master} is a cluster inside this process; give HOST:PORT of one that stays"
        )
    if not re.fullmatch(r"(https?://)?[^\s/:]+(:\d+)?/?", master):
        raise ConfigError(f"--flink_master: {master!r} is no address; write HOST:PORT")
    return (master if "://" in master else f"http://{master}").rstrip("/")


def _of_flink(trace: str) -> str:
    """The innermost cause in a Java stack trace."""
    lines = [
        line.strip() for line in trace.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "..."))
    ]
    causes = [line.partition("Caused by: ")[2] for line in lines if line.startswith("Caused by: ")]
    return (causes or lines or ["it says nothing more"])[-1][:500]


FUNCTIONS: Mapping[str, tuple[Callable[[Job], Status], Callable[[Job], None], Callable[[Job, str], None]]] = {
    "dataflow": (_dataflow_status, _dataflow_cancel, _dataflow_drain),
    "flink": (_flink_status, _flink_cancel, _flink_drain),
}
"""By runner: how a job is asked how it is, cancelled and drained."""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["it says nothing more"])[-1][:500]


def _asked(job: Job, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The answer to a request as JSON. Raises ExportError with the service's own words."""
    who = {"dataflow": "Dataflow", "flink": "Flink"}[job.runner]
    headers = {"Accept": "application/json"}
    if job.runner == "dataflow" and not job.no_auth:
        headers["Authorization"] = f"Bearer {_token()}"
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        said = _said(error.read()) or error.reason
        if error.code == 404:
            raise ExportError(f"there is no job {job.id!r} at {_base(url)}: {said}") from None
        kind = Unreachable if error.code in (429, 500, 502, 503, 504) else ExportError
        raise kind(f"{who} at {_base(url)} refused: {error.code} {said}") from None
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unreachable(f"{who} at {_base(url)} does not answer: {reason}; is it there?") from None
    try:
        found = json.loads(text) if text.strip() else {}
    except ValueError:
        raise ExportError(f"{_base(url)} does not talk as {who} does: {text[:80]!r}") from None
    return found if isinstance(found, dict) else {}


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _said(text: bytes) -> str:
    """The message in an error's body: Google's and Flink's look different."""
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        return str(found["error"].get("message", ""))
    errors = found.get("errors") if isinstance(found, dict) else None
    return _of_flink(str(errors[-1])) if errors else ""
