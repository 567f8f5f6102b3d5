"""HTTP APIs that speak JSON: the options and the requests that the reader and the writer of them share.

Requests are made by `exporters_beam.web`, which asks no metadata services and takes secrets to no other origin.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from exporters_beam.components.options import option
from exporters_beam.components.secret import Secret, hide
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.storages.base import answer
from exporters_beam.web import Refused, ask, wrong_address

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0

MOST_ASKED = 600.0
"""Seconds of a Retry-After that are waited at most."""

MOST_BYTES = 256 << 20
"""Bytes that an answer may have."""


class ApiError(ExportError):
    """What an API has refused, or that it does not answer. `status` is 0 where no answer came; `passing` says that it may go
    well the next time, in `after` seconds where the API has named some."""

    def __init__(self, message: str, status: int = 0, passing: bool = False, after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.passing, self.after = status, passing, after


class Answer(NamedTuple):
    """What an API has answered."""

    text: bytes
    link: str
    date: datetime | None = None
    """The time by the API's clock, in whole seconds, where it tells one."""

    def json(self) -> Any:
        """Raises ApiError where it is not JSON; it may have been cut."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            raise ApiError(f"the answer is not JSON: {said(self.text) or 'it is empty'}", passing=True) from None


@dataclass(frozen=True, kw_only=True)
class ApiOptions:
    """Where an API is, and what goes with every request."""

    url: str = option("address of the API", example="https://api.example.org/v1/products")
    params: dict[str, Any] = option("query of every request", type="dict", default={})
    secret_params: dict[str, Any] = option("query of every request that is secret: keys", type="dict", default={}, secret=True)
    headers: dict[str, Any] = option("headers of every request", type="dict", default={}, secret=True)
    bearer: str | None = option("token of the header Authorization", default=None, secret=True)
    user: str | None = option("user, for basic authentication", default=None)
    password: str | None = option("password of the user", default=None, secret=True)

    def __post_init__(self) -> None:
        known = not isinstance(self.url, Secret)
        if known and wrong_address(self.url):
            raise ConfigError(f"url: {self.url!r:.200} {wrong_address(self.url)}")
        if known and urlsplit(self.url).username is not None:
            raise ConfigError("url: a user does not belong in the address; give `user` and `password`")
        if sum(each is not None for each in (self.bearer, self.user)) > 1:
            raise ConfigError("bearer: give either a token or a user")
        for name, value in self.headers.items():
            if not isinstance(value, (str, int)) or re.search(r"[\r\n]", str(value)):
                raise ConfigError(f"headers: {name} has to be a text of one line")

    def address(self, more: Mapping[str, Any], base: str | None = None) -> str:
        """The address with all of the query."""
        parts = urlsplit(base or self.url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        query |= {name: str(value) for name, value in {**self.params, **self.secret_params, **more}.items()}
        return parts._replace(query=urlencode(query), fragment="").geturl()

    def call(self, method: str, address: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request. Raises ApiError."""
        given = {"User-Agent": "exporters-beam", "Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        secret = {name: str(value) for name, value in self.headers.items()}
        if self.bearer is not None:
            secret["Authorization"] = f"Bearer {self.bearer}"
        if self.user is not None:
            login = f"{self.user}:{self.password or ''}".encode()
            secret["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        try:
            with ask(address, method, given, body, secret=secret, timeout=TIMEOUT) as found:
                text = found.read(MOST_BYTES + 1)
                if len(text) > MOST_BYTES:
                    raise ApiError(f"the answer has more than {MOST_BYTES >> 20} MiB; ask for smaller pages")
                return Answer(text, found.headers.get("Link") or "", _date(found.headers.get("Date") or ""))
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except Refused as error:
            raise ApiError(f"url: the API is not asked: {self._hidden(str(error))}") from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            text = str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
            passing = type(reason).__name__ not in ("gaierror", "SSLCertVerificationError")
            raise ApiError(f"the API cannot be reached at {place(self.url)}: {self._hidden(answer(text))}",
                           passing=passing) from None  # fmt: skip

    def _refused(self, error: urllib.error.HTTPError) -> ApiError:
        try:
            text = error.read(4000)
        except (OSError, http.client.HTTPException):
            text = b""
        finally:
            error.close()
        status = error.code
        told = f"{status} {self._hidden(said(text) or answer(str(error.reason)))}".strip()
        wait = error.headers.get("Retry-After", "") if error.headers else ""
        after = float(wait) if re.fullmatch(r"\d{1,6}(\.\d+)?", wait) else 0.0
        if status in (401, 403):
            return ApiError(f"the API does not accept these credentials; it said {told}", status)
        return ApiError(f"the API said {told}", status, status in (408, 425, 429) or status >= 500, after)

    def _hidden(self, text: str) -> str:
        values = [self.bearer, self.password, *self.headers.values(), *self.secret_params.values()]
        for value in sorted((str(each) for each in values if each is not None), key=len, reverse=True):
            text = text.replace(value, "***") if len(value) >= 4 and not isinstance(value, Secret) else text
        return hide(text)


def patiently(act: Callable[[], T], attempts: int) -> T:
    """Do it, again after a wait where it may go well then. Raises ApiError."""
    failures = 0
    while True:
        try:
            return act()
        except ApiError as error:
            failures += 1
            if not error.passing or failures >= attempts:
                raise
            time.sleep(max(min(error.after, MOST_ASKED), min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures - 1))))


def at_path(value: Any, path: str) -> Any:
    """What stands at a path of names and numbers, joined by dots; None where there is nothing.

    >>> at_path({"data": [{"id": 1}]}, "data.0.id"), at_path([1], ""), at_path({}, "a.b")
    (1, [1], None)
    """
    for part in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def next_link(header: str) -> str:
    """The address of the relation `next` in a header Link; "" where there is none.

    >>> next_link('<https://a.org/?p=1>; rel="prev", <https://a.org/?p=3,4>; title="a, b"; rel=next')
    'https://a.org/?p=3,4'
    """
    for match in re.finditer(r'<([^>]*)>((?:\s*;\s*[\w*!#$&+.^`|~-]+\s*(?:=\s*(?:"[^"]*"|[^\s";,]+))?)*)', header):
        if re.search(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?![\w-]))', match[2], re.IGNORECASE):
            return match[1]
    return ""


def _date(header: str) -> datetime | None:
    """The time in a header Date.

    >>> _date("Tue, 01 Dec 2026 04:35:45 GMT").isoformat(), _date("today")
    ('2026-12-01T04:35:45+00:00', None)
    """
    try:
        return parsedate_to_datetime(header).replace(tzinfo=timezone.utc)
    except (TypeError, ValueError):
        return None


def said(text: bytes) -> str:
    """A part of an answer, without markup."""
    plain = re.sub(r"<(style|script|head)\b.*?</\1>|<[^>]*>", " ", text[:4000].decode(errors="replace"),
                   flags=re.DOTALL | re.IGNORECASE)  # fmt: skip
    return answer(plain)


def place(url: str) -> str:
    """An address without its query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class Pace:
    """No more requests in a second than allowed."""

    def __init__(self, most: float) -> None:
        self._every = 1 / most if most else 0.0
        self._next = 0.0

    def wait(self) -> None:
        now = time.monotonic()
        if self._every:
            time.sleep(max(0.0, self._next - now))
            self._next = max(now, self._next) + self._every
