"""What the reader and the writer `bigquery` share: the options of a connection, clients, and what BigQuery's errors mean.

Facts: the id of a job is unique in a project and a location, and BigQuery keeps jobs for six months
(https://cloud.google.com/bigquery/docs/reference/rest/v2/Job); reasons of errors stand in
https://cloud.google.com/bigquery/docs/error-messages.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.secret import hide
from exporters_beam.components.words import one_line
from exporters_beam.errors import ConfigError, MissingExtra
from exporters_beam.records import Json
from exporters_beam.storages.base import OnFirstUse

PASSING = frozenset(
    ("backendError", "internalError", "rateLimitExceeded", "jobRateLimitExceeded", "jobBackendError", "jobInternalError",
     "tableUnavailable", "badGateway")
)  # fmt: skip
"""Reasons of errors after which the same may go well."""

BUSY = (408, 425, 429, 500, 502, 503, 504)

FIRST_LOOK, LONGEST_LOOK = 0.05, 5.0
"""Seconds between looks at a job that runs, at first and at most."""

SCOPE = "https://www.googleapis.com/auth/bigquery"

_NAME = re.compile(r"(?:(?P<project>[A-Za-z0-9][\w.:-]*)[.:])?(?P<dataset>\w+)\.(?P<table>[^.`$@*?/\\]+)")


class TableName(NamedTuple):
    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"

    @property
    def quoted(self) -> str:
        """As it stands in SQL."""
        return f"`{self}`"


class BigQueryError(Exception):
    """What BigQuery does not do, as one sentence that begins with the option; `passing` where it may do it the next time."""

    def __init__(self, option: str, said: str, *, passing: bool = False, missing: bool = False) -> None:
        super().__init__(f"{option}: {said}" if option else said)
        self.passing, self.missing = passing, missing


@dataclass(frozen=True, kw_only=True)
class BigQueryOptions(OnFirstUse):
    """Options of a connection."""

    project: str | None = option("project in which jobs run and which pays for them; by default that of the table, or of the "
                                 "credentials", type="str", default=None, example="shop")  # fmt: skip
    location: str | None = option("where the data is, as EU or europe-west1; by default that of the dataset", type="str",
                                  default=None, example="EU")  # fmt: skip
    credentials: Any = option("key of a service account: an object, its JSON text as a reference, or a file; by default those "
                              "of the machine", type="dict|str", default=None, secret=True, identity=False,
                              example="${secret:env:BIGQUERY_KEY}")  # fmt: skip
    endpoint: str | None = option("another server than Google's for the REST API, e.g. http://localhost:9050", type="str",
                                  default=None, example="http://localhost:9050")  # fmt: skip
    timeout: int = option("seconds to wait for an answer", type="int", default=120, minimum=1, identity=False)

    def __post_init__(self) -> None:
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"endpoint: {self.endpoint} is no URL of a server; write https://HOST")
        given = self.credentials
        if isinstance(given, Mapping):
            missing = [name for name in ("client_email", "private_key", "token_uri") if not given.get(name)]
            if missing:
                raise ConfigError(f"credentials: this is not a key of a service account: it has no {missing[0]}")

    @property
    def server(self) -> str:
        """What messages call the other side."""
        return self.endpoint or "BigQuery"

    def named(self, text: str, option: str = "table") -> TableName:
        """A table by its name. Raises ConfigError."""
        found = _NAME.fullmatch(text)
        project = found and (found["project"] or self.project)
        if not found or not project:
            raise ConfigError(f"{option}: {text} is no name of a table; write PROJECT.DATASET.TABLE")
        return TableName(project, found["dataset"], found["table"])

    def login(self) -> Any:
        """The credentials, None for those of the machine."""
        given = self.credentials
        if given is None:
            if self.endpoint is None:
                return None
            from google.auth.credentials import AnonymousCredentials

            return AnonymousCredentials()
        from google.oauth2 import service_account

        try:
            if isinstance(given, str) and not given.lstrip().startswith("{"):
                with open(given, encoding="utf-8") as file:
                    given = file.read()
            key = json.loads(given) if isinstance(given, str) else dict(given)
            return service_account.Credentials.from_service_account_info(key, scopes=[SCOPE])
        except OSError as error:
            raise BigQueryError("credentials", f"the file cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise BigQueryError("credentials", "this is not a key of a service account") from None

    def connect(self, project: str | None, what: str) -> Any:
        """A client of the REST API. Raises BigQueryError."""
        try:
            from google.cloud import bigquery
        except ImportError:
            raise MissingExtra(what, "bigquery") from None
        with self.answers():
            options = {"api_endpoint": self.endpoint} if self.endpoint else None
            return bigquery.Client(project=project, credentials=self.login(), client_options=options)

    @contextmanager
    def answers(self, option: str = "", subject: str = "") -> Iterator[None]:
        """Turns what the clients raise into BigQueryError. Where the server says that something is missing or may not be done,
        the message begins with `option`, and names `subject`."""
        from google.api_core import exceptions
        from google.auth import exceptions as auth
        from requests.exceptions import JSONDecodeError, RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except exceptions.GoogleAPICallError as error:
            raise self._refusal(error, option, subject) from error
        except exceptions.RetryError as error:
            cause = error.cause or error
            if isinstance(cause, exceptions.GoogleAPICallError):
                raise self._refusal(cause, option, subject) from error
            raise BigQueryError("endpoint", f"{self.server} does not answer: {_said(cause)}", passing=True) from error
        except auth.TransportError as error:
            raise BigQueryError(
                "credentials", f"the server that signs in does not answer: {_said(error)}", passing=True
            ) from error
        except auth.InvalidOperation as error:
            raise BigQueryError("credentials", f"none were given, and {self.server} wants them") from error
        except auth.DefaultCredentialsError as error:
            raise BigQueryError("credentials", "none were given, and this machine has none of its own (application default "
                                "credentials)") from error  # fmt: skip
        except auth.GoogleAuthError as error:
            raise BigQueryError("credentials", f"{self.server} does not take them: {_said(error)}") from error
        except (JSONDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BigQueryError("endpoint", f"what {self.server} answers is no answer of BigQuery: {_said(error)}") from error
        except (RequestException, HTTPError, OSError) as error:
            raise BigQueryError("endpoint", f"{self.server} does not answer: {_said(error)}", passing=True) from error

    def _refusal(self, error: Any, option: str, subject: str) -> BigQueryError:
        status, said = int(getattr(error, "code", 0) or 0), _said(error)
        reason = next((str(each.get("reason", "")) for each in error.errors or () if isinstance(each, Mapping)), "")
        if reason in PASSING or status in BUSY or (not reason and status == 0):
            return BigQueryError("", f"{self.server} does not do it now: {said}", passing=True)
        if status == 401:
            return BigQueryError("credentials", f"{self.server} does not take them: {said}")
        if reason == "quotaExceeded":
            return BigQueryError("", quota(said))
        where = f" ({subject})" if subject and subject not in said else ""
        if status == 403:
            return BigQueryError("credentials", f"they do not allow it{where}: {said}")
        return BigQueryError(option, f"{self.server} said {status or type(error).__name__}{where}: {said}",
                             missing=status == 404)  # fmt: skip


def quota(said: str) -> str:
    return f"a quota of BigQuery is used up; the export can go on later, with --resume: {said}"


def _said(error: object) -> str:
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    return hide(one_line(re.sub(r"^[A-Z]+ https?://\S+: ", "", text), 300))


def waited(client: Any, job: Any, timeout: float, retry: Any = None) -> Any:
    """The job when it is done."""
    pause = FIRST_LOOK
    while job.state != "DONE":
        if job.state not in ("PENDING", "RUNNING"):
            raise BigQueryError("endpoint", "what the server answers is no answer of BigQuery: a job without a state")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_LOOK)
        job.reload(retry=retry, timeout=timeout)
    return job


class JobErrors(NamedTuple):
    """Why a job failed."""

    reason: str
    messages: tuple[str, ...]

    @property
    def passing(self) -> bool:
        return self.reason in PASSING

    @property
    def text(self) -> str:
        return hide(one_line("; ".join(dict.fromkeys(self.messages)), 500))

    @classmethod
    def of(cls, job: Any) -> JobErrors | None:
        """None where it did not fail."""
        failed = job.error_result
        if not failed:
            return None
        errors = [each for each in (*(job.errors or ()), failed) if isinstance(each, Mapping)]
        return cls(str(failed.get("reason", "")), tuple(str(each.get("message", "")) for each in errors))

    def error(self, option: str) -> BigQueryError:
        if self.reason == "quotaExceeded":
            return BigQueryError("", quota(self.text))
        return BigQueryError(option, f"BigQuery said {self.reason}: {self.text}", passing=self.passing)


def fields_of(schema: Iterable[Any]) -> tuple[Json, ...]:
    """The fields of a table as mappings with name, type, mode and fields."""
    return tuple(each.to_api_repr() for each in schema)
