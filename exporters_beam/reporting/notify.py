"""Notifications: a webhook or a mail when an export starts, is complete, or failed. They run on the launcher.

`send(event, report)` takes the event, "started", "complete" or "failed", and a mapping of which these keys are used:

    error          text of what went wrong ("failed")
    stack_trace    its traceback ("failed")
    counts         {"written": number of records} ("complete")
    accurate       false where that number is not exact
    config         the config with its secrets masked (`ExportSpec.document`)

A notification that cannot be sent is logged as a warning; it never fails an export. It is sent beside the export, each
notifier in a thread of its own, one event after the other, and delays neither its start nor its work; when the export is over,
10 seconds at most are waited for all of them.

A notifier may have `check()`, which raises ConfigError before anything starts where it cannot work at all.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import logging
import os
import re
import time
import urllib.error
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from exporters_beam.components.mails import ADDRESS, EXTRA, is_permanent, ses
from exporters_beam.components.options import option
from exporters_beam.components.retry import persistently
from exporters_beam.components.secret import Secret, reveal
from exporters_beam.components.words import shortened
from exporters_beam.errors import ConfigError, MissingExtra
from exporters_beam.records import Json
from exporters_beam.web import Refused, ask, wrong_address

EVENTS = ("started", "complete", "failed")
TIMEOUT = 10.0
"""Seconds to wait for an answer."""

_log = logging.getLogger(__name__)


FIRST_WAIT, LONGEST_WAIT = 2, 10
"""Seconds between attempts, in which each wait is twice as long as the one before."""


# Webhook


@dataclass(frozen=True, kw_only=True)
class WebhookNotifier:
    """POST a small JSON object to addresses when the export starts, is complete, or failed.

    The bodies are `{"job_status": "STARTED"}`, `{"job_status": "COMPLETED"}` and `{"job_status": "FAILED", "msg": …,
    "stack_trace": …}`. Anything but success is tried again, ten times within 74 seconds, and then logged as a warning:
    the export goes on meanwhile, and at its end 10 seconds at most are waited. Redirects are followed with the same body,
    but never to link-local addresses. Only the host of an address is logged, because addresses of webhooks often hold a
    key.

    Example:
        exporter_options:
          notifications:
            - name: webhook
              options: {endpoints: ['https://hooks.example.org/exports']}
    """

    kind: ClassVar[str] = "notification"

    endpoints: tuple[str, ...] = option("http or https addresses", type="str_list", default=())
    attempts: int = field(default=10, repr=False, compare=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        for at, endpoint in enumerate(self.endpoints):
            if not isinstance(endpoint, Secret):
                reason = wrong_address(endpoint)
                if reason:
                    raise ConfigError(f"endpoints[{at}]: {endpoint!r:.200} {reason}")

    def send(self, event: str, report: Mapping[str, object]) -> None:
        """Tell every address, in order. Raises nothing for what goes wrong on the way."""
        body = json.dumps(webhook_body(event, report), ensure_ascii=True).encode()
        for endpoint in self.endpoints:
            try:
                address = reveal(endpoint)
            except ConfigError as error:
                _log.warning("the webhook was not called: %s", error)
                continue
            self._call(address, body)

    def _call(self, address: str, body: bytes) -> None:
        host = _host(address)

        def warn(error: BaseException, wait: float) -> None:
            _log.warning("the webhook at %s failed, next try in %d s: %s", host, wait, _told(error))

        try:
            persistently(lambda: _post(address, body), attempts=self.attempts, first=FIRST_WAIT, longest=LONGEST_WAIT,
                         passing=_may_pass, sleep=self.sleep, warn=warn)  # fmt: skip
        except _FAILURES as error:
            _log.warning("the webhook at %s was not called: %s", host, _told(error))


_FAILURES = (OSError, http.client.HTTPException, ValueError)
"""What requests raise."""


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, _FAILURES) and not isinstance(error, Refused)


def webhook_body(event: str, report: Mapping[str, object]) -> Json:
    """The object that a webhook is given."""
    status = {"started": "STARTED", "complete": "COMPLETED", "failed": "FAILED"}[event]
    body: Json = {"job_status": status}
    if event == "failed":
        body |= {"msg": report.get("error"), "stack_trace": report.get("stack_trace")}
    return {key: value for key, value in body.items() if value}


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or "?"
    except ValueError:
        return "?"


def _told(error: BaseException) -> str:
    """What happened, without the address, which may hold a key."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    reason = getattr(error, "reason", None) or error
    return shortened(str(getattr(reason, "strerror", None) or reason), 200)


def _post(address: str, body: bytes) -> None:
    """Raises OSError (HTTPError for a status that is not a success), HTTPException, ValueError."""
    with ask(address, "POST", {"Content-type": "application/json"}, body, timeout=TIMEOUT) as answer:
        answer.read(1 << 16)


# Mail


@dataclass(frozen=True, kw_only=True)
class SesMailNotifier:
    """Mail the team and the clients through Amazon SES when the export starts, is complete, or failed.

    Failures are mailed to the team only, with the config, its secrets masked. Team and clients get separate mails.
    A mail that cannot be sent after ten attempts is logged as a warning: the export goes on meanwhile, and at its end 10
    seconds at most are waited. The region is that of
    the AWS configuration (`AWS_DEFAULT_REGION`), else us-east-1.

    Example:
        exporter_options:
          notifications:
            - name: ses_mail
              options:
                team_mails: [team@example.org]
                mail_from: exports@example.org
                access_key: ${secret:env:MAIL_KEY}
                secret_key: ${secret:env:MAIL_SECRET}
    """

    kind: ClassVar[str] = "notification"

    team_mails: tuple[str, ...] = option("addresses told of everything", type="str_list", default=())
    client_mails: tuple[str, ...] = option("addresses told of start and completion", type="str_list", default=())
    access_key: str | None = option("AWS access key; without it boto3 finds keys in its own ways", default=None,
                                    env="EXPORTERS_MAIL_AWS_ACCESS_KEY", secret=True)  # fmt: skip
    secret_key: str | None = option("AWS secret key", default=None, env="EXPORTERS_MAIL_AWS_SECRET_KEY", secret=True)
    client_name: str = option("whose export it is, for the subject", default="Customer")
    mail_from: str = option("the sender", env="EXPORTERS_MAIL_FROM", example="exports@example.org")
    attempts: int = field(default=10, repr=False, compare=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("client_mails", "team_mails"):
            for at, address in enumerate(getattr(self, name)):
                if not isinstance(address, Secret) and not ADDRESS.fullmatch(address):
                    raise ConfigError(f"{name}[{at}]: {address!r:.200} is not a mail address")

    def check(self) -> None:
        """Raises MissingExtra without boto3 where there is somebody to mail."""
        if (self.team_mails or self.client_mails) and importlib.util.find_spec("boto3") is None:
            raise MissingExtra("the notification ses_mail", EXTRA)

    def send(self, event: str, report: Mapping[str, object]) -> None:
        """Mail everybody concerned. Raises MissingExtra without boto3, and nothing for what goes wrong on the way."""
        try:
            mails = list(self.mails(event, report))
            if not mails:
                return
            client, sender = self._client(), reveal(self.mail_from)
        except ConfigError as error:
            if isinstance(error, MissingExtra):
                raise
            _log.warning("no mail was sent: %s", error)
            return
        for receivers, subject, text in mails:
            message = {"Subject": _utf8(subject), "Body": {"Text": _utf8(text)}}
            self._send(client, {"Source": sender, "Destination": {"ToAddresses": receivers}, "Message": message})

    def mails(self, event: str, report: Mapping[str, object]) -> Iterator[tuple[list[str], str, str]]:
        """(addresses, subject, text) of each mail for an event: clients first, and nobody where no address is given."""
        groups = (self.team_mails,) if event == "failed" else (self.client_mails, self.team_mails)
        subject = {
            "started": f"Started {self.client_name} export job",
            "complete": f"{self.client_name} export job finished",
            "failed": f"Failed export job for {self.client_name}",
        }[event]
        text = {"started": started_text, "complete": complete_text, "failed": failed_text}[event](report)
        for addresses in groups:
            if addresses:
                yield [reveal(address) for address in addresses], " ".join(subject.split()), text

    def _client(self) -> Any:
        return ses(self.access_key, self.secret_key, "the notification ses_mail")

    def _send(self, client: Any, mail: dict[str, object]) -> None:
        def warn(error: BaseException, wait: float) -> None:
            _log.warning("a mail was not sent, next try in %d s: %s", wait, error)

        try:
            persistently(lambda: client.send_email(**mail), attempts=self.attempts, first=FIRST_WAIT, longest=LONGEST_WAIT,
                         passing=lambda error: isinstance(error, Exception) and not is_permanent(error), sleep=self.sleep,
                         warn=warn)  # fmt: skip
        except Exception as error:  # boto3 makes its exceptions at run time
            _log.warning("a mail was not sent: %s", error)


def _utf8(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


_TOLD_OPTIONS = (
    ("Bucket", "bucket"),
    ("Filebase", "filebase"),
    ("Host", "host"),
    ("Port", "port"),
    ("Email", "emails"),
    ("Endpoint URL", "endpoint_url"),
)


def started_text(report: Mapping[str, object]) -> str:
    """The mail at the start: where the export goes."""
    writer = _writer(report)
    lines = ["The export job started with these parameters:", "", f"Writer: {_class_name(writer.get('name'))}"]
    options = writer.get("options") or {}
    for label, name in _TOLD_OPTIONS:
        value = options.get(name)
        if value not in (None, "", []):
            lines.append(f"{label}: {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    return _text([*lines, *_collection(options)])


def complete_text(report: Mapping[str, Any]) -> str:
    """The mail at the end: how many records, where that is known exactly."""
    lines = ["The export job finished successfully."]
    written = (report.get("counts") or {}).get("written")
    if written is not None and report.get("accurate", True):
        lines.append(f"Total records exported: {written}")
    return _text([*lines, *_collection(_writer(report).get("options") or {})])


def failed_text(report: Mapping[str, object]) -> str:
    """The mail of a failure, for the team: what went wrong, where, and the config with its secrets masked."""
    lines = ["The export job failed with this error:", "", str(report.get("error") or "unknown")]
    job = os.environ.get("SHUB_JOBKEY")
    if job:
        project, _, rest = job.partition("/")
        lines += ["", f"Job key: {job}", f"Job: https://dash.scrapinghub.com/p/{project}/job/{rest}"]
    if report.get("stack_trace"):
        lines += ["", "Stack trace:", str(report["stack_trace"])]
    config = json.dumps(report.get("config") or {}, ensure_ascii=False, indent=2, default=str)
    return _text([*lines, "", "Configuration:", config])


def _writer(report: Mapping[str, Any]) -> Mapping[str, Any]:
    section = (report.get("config") or {}).get("writer")
    return section if isinstance(section, Mapping) else {"name": section}


def _class_name(name: object) -> str:
    return re.split(r"[.:]", str(name))[-1]


def _collection(options: Mapping[str, object]) -> list[str]:
    project, collection = options.get("project_id"), options.get("collection_name")
    if not (project and collection):
        return []
    return [f"Collection: https://dash.scrapinghub.com/p/{project}/collections/s/{collection}"]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
