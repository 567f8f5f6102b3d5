"""A Flink cluster, by the REST interface of its JobManager."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from exporters_beam.components.words import shortened
from exporters_beam.errors import ConfigError
from exporters_beam.handover import received
from exporters_beam.records import Json
from exporters_beam.runners import rest

OVER = ("FAILED", "CANCELED", "FINISHED")
"""States of jobs that have ended."""


@dataclass(frozen=True)
class Cluster:
    """A Flink cluster. Every method raises `rest.Refused`, or one of its kinds, with Flink's own words."""

    address: str
    seconds: float = rest.SECONDS

    def overview(self) -> Json:
        """Its slots and TaskManagers."""
        return self._ask("GET", "/overview")

    def config(self) -> Json:
        """Its version, among other things."""
        return self._ask("GET", "/config")

    def jobs(self, name: str) -> dict[str, str]:
        """The ids of its jobs of a name, with their states."""
        found = self._ask("GET", "/jobs/overview").get("jobs", ())
        return {str(job["jid"]): str(job["state"]) for job in found if job["name"] == name}

    def job(self, job: str) -> Json:
        """How a job is."""
        return self._ask("GET", _path(job), job=job)

    def exceptions(self, job: str) -> tuple[str, ...]:
        """Why a job failed, each time it did."""
        found = self._ask("GET", f"{_path(job)}/exceptions", job=job)
        entries = (found.get("exceptionHistory") or {}).get("entries", ())
        told = tuple(innermost(str(entry.get("stacktrace") or entry.get("exceptionName") or "")) for entry in entries)
        return told or ((innermost(str(found["root-exception"])),) if found.get("root-exception") else ())

    def cancel(self, job: str) -> None:
        """Stop a job at once."""
        self._ask("PATCH", f"{_path(job)}?mode=cancel", job=job)

    def stop(self, job: str, savepoints: str) -> str:
        """Drain a job and make a savepoint in a folder, or in the cluster's own where that is "". Gives the request's id."""
        body = {"drain": True, **({"targetDirectory": savepoints} if savepoints else {})}
        return str(self._ask("POST", f"{_path(job)}/stop", body, job=job).get("request-id", ""))

    def stopped(self, job: str, request: str) -> str | None:
        """What came of a request to stop a job: why it failed, "" where it did not, None as long as it is under way."""
        found = self._ask("GET", f"{_path(job)}/savepoints/{quote(request, safe='')}", job=job)
        if (found.get("status") or {}).get("id") != "COMPLETED":
            return None
        cause = (found.get("operation") or {}).get("failure-cause")
        return innermost(str(cause.get("stack-trace") or cause)) if cause else ""

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None, job: str = "") -> Json:
        thing = f"job {job!r}" if job else ""
        return rest.ask("Flink", method, f"{self.address}{path}", body, thing=thing, said=_said, seconds=self.seconds)


def address_of(master: str) -> str:
    """The address of the REST interface of a `--flink_master`. Raises ConfigError."""
    if master.startswith("["):
        raise ConfigError(f"--flink_master: {master} is a cluster inside this process; give HOST:PORT of one that stays")
    if not re.fullmatch(r"(https?://)?[^\s/:]+(:\d+)?/?", master):
        raise ConfigError(f"--flink_master: {master!r} is not an address; write HOST:PORT")
    return (master if "://" in master else f"http://{master}").rstrip("/")


def page_of(address: str, job: str) -> str:
    """A job's page for people."""
    return f"{address}/#/job/{job}/overview"


def innermost(trace: str) -> str:
    """The innermost cause in a Java stack trace; the sentence of our own error where it holds one."""
    failed = received(trace)
    if failed is not None:
        return failed.message
    lines = [line.strip() for line in trace.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "..."))]
    causes = [line.partition("Caused by: ")[2] for line in lines if line.startswith("Caused by: ")]
    return shortened((causes or lines or ["it says nothing more"])[-1], 500)


def _path(job: str) -> str:
    return f"/jobs/{quote(job, safe='')}"


def _said(found: object) -> str:
    errors = found.get("errors") if isinstance(found, dict) else None
    return innermost(str(errors[-1])) if errors else ""
