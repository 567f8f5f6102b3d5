"""Files that a web server gives, through the standard library. Nothing can be put there."""

from __future__ import annotations

import http.client
import urllib.error
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.secret import Secret
from exporters_beam.errors import ConfigError
from exporters_beam.storages.base import (
    ATTEMPTS,
    Content,
    NotThere,
    Storage,
    StorageError,
    Stored,
    answer,
    changed,
    look_again,
    patiently,
)
from exporters_beam.storages.ranged import Ranged, buffered
from exporters_beam.storages.reader import RemoteReader, as_tuple
from exporters_beam.web import Refused, ask

TIMEOUT = 60


@dataclass(frozen=True, kw_only=True)
class HttpStorage(Storage):
    """What has a URL; names are URLs."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    attempts: int = ATTEMPTS

    @classmethod
    def of_url(cls, url: str) -> tuple[Storage, str]:
        return cls(), url

    def url(self, name: str) -> str:
        return name

    def name(self, url: str) -> str | None:
        return url

    def names(self, prefix: str) -> Iterator[Stored]:
        yield self.stat(prefix)

    def stat(self, name: str) -> Stored:
        def ask() -> Stored:
            with self._ask(name, "HEAD") as given:
                return _stored(name, given)

        try:
            found = patiently(ask, self.attempts)
            if found.size:  # Some servers say 0 where they do not know.
                return found
        except StorageError as error:
            status = getattr(error.__cause__, "code", 0)
            if status not in (403, 405, 501):  # Some servers have no HEAD, and signed URLs are for one method.
                raise
        with self._ask(name, "GET") as given:
            return _stored(name, given)

    def open(self, found: Stored) -> BinaryIO:
        def fetch(start: int) -> Any:
            given = patiently(lambda: self._ask(found.name, "GET", start), self.attempts)
            there = _stored(found.name, given)
            if there.etag != found.etag or (there.size >= 0 <= found.size != there.size):
                given.close()
                raise changed(found.name)
            if start and given.status != 206:  # A server that does not know of ranges gives all of it.
                left = start
                while left and (data := given.read(min(left, 1 << 20))):
                    left -= len(data)
            return given

        errors = (http.client.HTTPException, ConnectionError, TimeoutError)
        if found.size < 0:
            return fetch(0)
        return buffered(Ranged(found.size, fetch, errors, self.attempts))

    def unchanged(self, found: Stored) -> None:
        look_again(self, found)

    def put(self, name: str, file: BinaryIO, content: Content) -> Stored:
        raise StorageError("", "nothing can be put to a web server")

    def delete(self, name: str) -> None:
        raise StorageError("", "nothing can be removed from a web server")

    def probe(self) -> None:
        pass

    def _ask(self, url: str, method: str, start: int = 0) -> Any:
        headers = {"User-Agent": "exporters-beam", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with self._answers(url):
            return ask(url, method, headers, secret=self.headers, timeout=TIMEOUT)

    @contextmanager
    def _answers(self, url: str) -> Iterator[None]:
        """Turns what urllib raises into StorageError."""
        try:
            yield
        except urllib.error.HTTPError as error:
            said = f"{error.code} {answer(str(error.reason))}"
            error.close()
            if error.code in (404, 410):
                raise NotThere("input", f"there is nothing at {url} (the server said {said})") from error
            if error.code == 416:
                raise changed(url) from error
            option = "headers" if error.code in (401, 403) else ""
            passing = error.code in (408, 429, 500, 502, 503, 504)
            raise StorageError(option, f"the server refused (it said {said})", passing=passing) from error
        except Refused as error:
            raise StorageError("input", f"the server is not asked: {error}") from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            passing = not isinstance(reason, ConnectionRefusedError) and type(reason).__name__ != "gaierror"
            text = f"the server cannot be reached ({answer(str(getattr(reason, 'strerror', None) or reason))})"
            raise StorageError("input", text, passing=passing) from error


def _stored(name: str, given: Any) -> Stored:
    headers = given.headers
    total = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length") or "-1"
    size = int(total) if total.lstrip("-").isdigit() else -1
    etag, modified = headers.get("ETag") or "", headers.get("Last-Modified") or ""
    if not etag or etag.startswith("W/"):  # A weak one may stay the same when some bytes change.
        etag = " ".join(part for part in (etag, modified) if part)
    return Stored(name, size, etag)


@dataclass(frozen=True, kw_only=True)
class HttpReader(RemoteReader):
    """Read files of web servers by their URLs, in the order of the URLs.

    Large plain files are entered in the middle where the server knows of ranges. A connection that breaks is taken up
    again where it broke. A file that changes while the export runs ends it, where the server tells an ETag or a time.
    `headers` go with every request, for example for a token, but not where a redirect leads to another origin. Redirects
    lead to http and https only, never from https to http, and addresses of metadata services of clouds are not asked. A
    user and a password may stand in the URL.

    Example:
        reader:
          name: http
          options:
            input: [https://example.org/dumps/1.jl.gz, https://example.org/dumps/2.jl.gz]
            headers: {Authorization: 'Bearer ${secret:env:TOKEN}'}
    """

    place_option: ClassVar[str] = "input"

    input: Any = option("one URL or several", type="str|str_list", example=["https://example.org/dumps/1.jl.gz"])
    headers: dict[str, Any] = option("headers of every request", type="dict", default={}, secret=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not as_tuple(self.input):
            raise ConfigError("input: the list is empty; give at least one URL")
        for url in as_tuple(self.input):
            if not isinstance(url, Secret) and not url.startswith(("http://", "https://")):
                raise ConfigError(f"input: {url!r:.200} is not a URL that begins with http:// or https://")
        for name, value in self.headers.items():
            if not isinstance(value, str) or "\n" in value or "\r" in value:
                raise ConfigError(f"headers: {name} has to be a text of one line")

    def connect(self) -> Storage:
        headers: Mapping[str, str] = self.headers
        return HttpStorage(headers=headers, attempts=self.attempts)

    def places(self) -> Iterable[str]:
        return as_tuple(self.input)

    def covers(self, place: str, other: str) -> bool:
        return place == other
