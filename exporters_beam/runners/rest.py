"""Requests to the REST interfaces of services that run jobs, and what is told where they refuse or do not answer."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from exporters_beam.components.retry import persistently
from exporters_beam.components.words import shortened
from exporters_beam.errors import ExportError
from exporters_beam.records import Json

SECONDS = 30.0
"""How long a request may take."""

ATTEMPTS = 3
"""How often something is asked in all of a service that says it is busy. What changes something is asked for once."""

BUSY = (429, 502, 503, 504)


class Refused(ExportError):
    """The service answered, and not as it was hoped. `reason` is what it said."""

    def __init__(self, text: str, reason: str) -> None:
        self.reason = reason
        super().__init__(text)

    def __reduce__(self) -> Any:
        return (type(self), (str(self), self.reason))


class Unreachable(Refused):
    """The service did not answer, or is in trouble, which may pass."""


class Busy(Unreachable):
    """The service asks to be asked later."""


def ask(
    service: str,
    method: str,
    url: str,
    body: Mapping[str, object] | None = None,
    *,
    thing: str = "",
    headers: Mapping[str, str] | None = None,
    said: Callable[[object], str] = lambda found: "",
    seconds: float = SECONDS,
) -> Json:
    """The answer of a service to a request, which is a JSON object; {} where it is anything else that is JSON.

    `thing` is what the request is about, and `said` gives what the JSON of an answer that is not a success says.
    Raises Refused and its kinds.
    """

    def once() -> Json:
        answer = _answer(service, method, url, body, headers or {}, seconds)
        if not answer.is_success:
            raise _refused(service, url, thing, answer.status_code, said(_json(answer.content)) or answer.reason_phrase)
        found = _json(answer.content) if answer.content.strip() else {}
        if isinstance(found, ValueError):
            start = repr(answer.content[:80])
            raise Refused(f"{_place(url)} does not talk as {service} does: {start}", f"it says {start}")
        return found if isinstance(found, dict) else {}

    return persistently(
        once,
        attempts=ATTEMPTS if method == "GET" else 1,
        first=0.5,
        longest=2.0,
        passing=lambda error: isinstance(error, Busy),
    )


def _answer(
    service: str, method: str, url: str, body: Mapping[str, object] | None, headers: Mapping[str, str], seconds: float
) -> Any:
    import httpx

    trusted: Any = ssl.create_default_context() if url.startswith("https:") else False  # the system's certificates
    try:
        return httpx.request(method, url, json=body, headers={"Accept": "application/json", **headers}, timeout=seconds,
                             follow_redirects=method == "GET", verify=trusted, proxy=_proxy(url),
                             trust_env=False)  # fmt: skip
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"{service} at {_place(url)} does not answer: {error}; is it there?", _why(error)) from None


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this scheme, as urllib finds it: httpx would fail at `ALL_PROXY=socks5://…`."""
    parts = urlsplit(url)
    found = None if proxy_bypass(parts.netloc.rpartition("@")[2]) else getproxies().get(parts.scheme)
    return found if found is None or "://" in found else f"http://{found}"


def _refused(service: str, url: str, thing: str, status: int, said: str) -> Refused:
    if status == 404 and thing:
        return Refused(f"there is no {thing} at {_place(url)}: {said}", said)
    kind = Busy if status in BUSY else Unreachable if status == 500 else Refused
    return kind(f"{service} at {_place(url)} refused: {status} {said}", said)


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _json(content: bytes) -> Any:
    """What the text says; a ValueError where it is not JSON."""
    try:
        return json.loads(content)
    except ValueError as error:
        return error


def _why(error: BaseException) -> str:
    """What the system says of a connection that failed, without its number."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def last_line(text: str) -> str:
    """The last line of a text, which of a traceback says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return shortened((lines or ["it says nothing more"])[-1], 500)
