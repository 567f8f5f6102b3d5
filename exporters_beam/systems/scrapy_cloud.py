"""The storage service of Scrapy Cloud (hubstorage), by its official client: what its reader and its writer share.

The client brings the addresses, the key and the connections. What it does not do is done here: an answer that breaks off is
taken up behind the last key that came, Retry-After is heeded, and what the service says is told in a sentence.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.records import Record
from exporters_beam.storages.base import OnFirstUse, answer, client

T = TypeVar("T")

KINDS = ("s", "cs", "vs", "vcs")
"""Types of collections: stores, cached ones, versioned ones, and cached versioned ones."""

ENDPOINT = "https://storage.scrapinghub.com/"

SILENCE = 60.0
"""Seconds without a byte after which a connection counts as broken."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0

MOST_ASKED = 600.0
"""Seconds of a Retry-After that are waited at most."""

LAST = "\U0010ffff"
"""A character that sorts behind all others: what begins with a prefix is before the prefix with it behind."""

Params = Mapping[str, Any]


class CloudError(ExportError):
    """What the service has refused, or that it does not answer. `status` is 0 where no answer came; `passing` says that it
    may go well the next time, in `after` seconds where the service has named some."""

    def __init__(self, message: str, status: int = 0, passing: bool = False, after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.passing, self.after = status, passing, after


@dataclass(frozen=True)
class Cloud(OnFirstUse):
    """The service as one key sees it. It opens nothing before its first use; what is opened then is never pickled."""

    apikey: str
    endpoint: str | None
    attempts: int
    what: str

    @property
    def client(self) -> Any:
        """The official client. It tries nothing again by itself: it does not know what has come already."""
        return self._once(self._connect)

    def _connect(self) -> Any:
        made = client("scrapinghub.hubstorage", self.what, "scrapy-cloud")
        client("msgpack", self.what, "scrapy-cloud")
        return made.HubstorageClient(
            auth=self.apikey, endpoint=self.endpoint or ENDPOINT, max_retries=0, connection_timeout=SILENCE
        )

    def reset(self) -> None:
        """Lets go of connections; the next request makes others."""
        made = self.__dict__.pop("_made", None)
        if made is not None:
            made.session.close()

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """The answer to a request, whole. Raises CloudError."""
        with self._answers():
            given = self._request(method, path, {}, body, stream=False, headers=dict(headers or {}))
        if given.status_code >= 300:
            raise self._refused(given)
        return given

    def store(self, path: str, lines: Sequence[bytes]) -> None:
        """Stores lines of JSON in a collection. Raises CloudError."""
        body = gzip.compress(b"\n".join(lines) + b"\n", 1, mtime=0)
        self.ask("POST", path, body, {"Content-Encoding": "gzip"})

    def lines(self, path: str) -> list[Any]:
        """The lines of JSON of a small answer. Raises CloudError."""

        def once() -> list[Any]:
            given = self.ask("GET", path)
            try:
                return [json.loads(line) for line in given.text.splitlines() if line.strip()]
            except ValueError:
                raise CloudError(f"the answer to {path} is not JSON: {self._said(given.text) or 'nothing'}") from None

        return self.patiently(once)

    def now(self) -> int:
        """The time by the service's clock, in milliseconds. Raises CloudError."""
        text = self.patiently(lambda: self.ask("GET", "system/ts")).text.strip()
        if not text.isdecimal():
            raise CloudError(f"system/ts: the answer is no time but {self._said(text) or 'nothing'}")
        return int(text)

    def records(self, path: str, params: Params) -> Iterator[Record]:
        """The records of one answer, as they arrive. Raises CloudError, also where the answer breaks off."""
        import msgpack

        with self._answers():
            given = self._request("GET", path, params, None, stream=True, headers={"Accept": "application/x-msgpack"})
            with given:
                packed = "msgpack" in given.headers.get("Content-Type", "")
                unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, unicode_errors="surrogatepass")
                fed = 0
                for chunk in given.iter_content(1 << 16):
                    if not packed:
                        raise CloudError(f"the answer holds no records: {self._said(chunk.decode(errors='replace'))}")
                    fed += len(chunk)
                    unpacker.feed(chunk)
                    for record in unpacker:
                        if not isinstance(record, dict):
                            raise CloudError(f"the answer holds no records but {record!r:.80}")
                        yield record
                length = given.headers.get("Content-Length", "")
                if unpacker.tell() != fed or (length.isdecimal() and given.raw.tell() < int(length)):
                    raise CloudError("the answer broke off", passing=True)

    def scan(
        self, path: str, after: str, upto: str, params: Params, page: int, without: Sequence[str] = ()
    ) -> Iterator[Record]:
        """The records of a collection with keys behind `after` up to and including `upto` ("": up to the end), in order of
        their keys. What begins with one of `without` is jumped over.

        An answer may hold fewer records than asked for before the end: the end is where none comes. Raises CloudError.
        """
        failures = 0
        while not upto or after < upto:
            came = False
            try:
                for record in self.records(path, {**params, **({"startafter": after} if after else {}), "count": page}):
                    key = record.get("_key")
                    if not isinstance(key, str) or key <= after:
                        raise CloudError(f"{path}: the answer is not in the order of keys: {key!r:.80} came after "
                                         f"{after!r:.80}")  # fmt: skip
                    if upto and key > upto:
                        return
                    came, failures = True, 0
                    jump = next((prefix + LAST for prefix in without if key.startswith(prefix)), "")
                    after = max(key, jump)
                    if not jump:
                        yield record
                    if upto and key == upto:
                        return
                    if jump > key:
                        break
            except CloudError as error:
                failures += 1
                self._wait(error, failures)
                continue
            if not came:
                return

    def items(self, path: str, start: int, stop: int, page: int) -> Iterator[Record]:
        """The items of a job with the numbers `start` to `stop`, in order. Raises CloudError."""
        job = path.partition("/")[2]
        failures = 0
        while start < stop:
            came = False
            try:
                params = {"start": f"{job}/{start}", "count": min(page, stop - start), "meta": ["_key"]}
                for record in self.records(path, params):
                    key = record.pop("_key", None)
                    number = str(key).rpartition("/")[2]
                    if not number.isdecimal() or int(number) < start:
                        raise CloudError(f"{path}: the answer is not in the order of items: {key!r:.80} came at {start}")
                    if int(number) >= stop:
                        return
                    came, failures, start = True, 0, int(number) + 1
                    yield record
            except CloudError as error:
                failures += 1
                self._wait(error, failures)
                continue
            if not came:
                return

    def patiently(self, act: Callable[[], T]) -> T:
        """Do it, again after a wait where it may go well then. Raises CloudError."""
        failures = 0
        while True:
            try:
                return act()
            except CloudError as error:
                failures += 1
                self._wait(error, failures)

    def _wait(self, error: CloudError, failures: int) -> None:
        """Waits before the next try; raises the error where there is none."""
        if not error.passing or failures >= self.attempts:
            raise error
        time.sleep(max(min(error.after, MOST_ASKED), min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures - 1))))

    def _request(self, method: str, path: str, params: Params, body: bytes | None, **more: Any) -> Any:
        made = self.client
        return made.request(
            method=method, url=f"{made.endpoint.rstrip('/')}/{path}", params=dict(params), data=body, auth=made.auth,
            allow_redirects=method == "GET", **more,
        )  # fmt: skip

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turns what the client raises into CloudError."""
        import requests

        try:
            yield
        except requests.HTTPError as error:
            raise self._refused(error.response) from None
        except requests.RequestException as error:
            refused = not isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema))
            raise CloudError(f"the service cannot be reached at {self.endpoint or ENDPOINT}: {self._said(_cause(error))}",
                             passing=refused) from None  # fmt: skip
        except OSError as error:
            raise CloudError(f"the connection broke off: {self._said(str(error))}", passing=True) from None
        except ValueError as error:
            raise CloudError(f"the answer cannot be read: {self._said(str(error)) or type(error).__name__}") from None

    def _refused(self, response: Any) -> CloudError:
        status = response.status_code
        try:
            text = response.text
        except (OSError, ValueError):
            text = ""
        said = f"{status} {self._said(text or response.reason or '')}".strip()
        if status in (401, 403):
            why = "does not know this key" if status == 401 else "does not let this key do that"
            return CloudError(f"apikey: the service {why}; it said {said}", status)
        wait = response.headers.get("Retry-After", "")
        after = float(wait) if re.fullmatch(r"\d+(\.\d+)?", wait) else 0.0
        return CloudError(f"the service said {said}", status, status in (408, 429) or status >= 500, after)

    def _said(self, text: str) -> str:
        """A part of an answer, without markup and without the key, which a service may repeat."""
        plain = re.sub(r"<(style|script|head)\b.*?</\1>|<[^>]*>", " ", text[:4000], flags=re.DOTALL | re.IGNORECASE)
        for secret in {self.apikey, self.apikey.partition(":")[2]}:
            plain = plain.replace(secret, "***") if len(secret) >= 4 else plain
        return answer(plain)


def check_place(project_id: int | str | None, name: str | None, kind: str, option: str = "collection_name") -> None:
    """Raises ConfigError where a collection cannot be called so."""
    if not re.fullmatch(r"\d+", str(project_id)):
        raise ConfigError(f"project_id: {project_id!r} is not the number of a project")
    if not re.fullmatch(r"\w+", name or ""):
        raise ConfigError(f"{option}: {name!r} is not the name of a collection, which has letters, digits and underscores")
    if kind not in KINDS:
        raise ConfigError(f"collection_type: {kind!r} is not one of {', '.join(KINDS)}")


def collections_of(cloud: Cloud, project: int | str, kind: str) -> list[str]:
    """The collections of one type that a project has. Raises CloudError."""
    found = cloud.lines(f"collections/{project}/list")
    if not all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in found):
        raise CloudError(f"the answer is no list of collections but {found!r:.80}")
    return sorted(each["name"] for each in found if each.get("type") == kind)


def distinct_prefixes(prefixes: Iterable[str]) -> list[str]:
    """Sorted, and without those that others hold."""
    found: list[str] = []
    for prefix in sorted(prefixes):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def _cause(error: BaseException) -> str:
    """The innermost reason: what is around it names objects and addresses in memory."""
    reason: Any = error
    seen = 0
    while seen < 8 and (inner := getattr(reason, "reason", None) or (reason.args[0] if reason.args else None)) is not None:
        if not isinstance(inner, BaseException):
            break
        reason, seen = inner, seen + 1
    text = getattr(reason, "strerror", None) or str(reason)
    return re.sub(r"^.*(\): |\[Errno -?\d+\] )", "", str(text)) or type(reason).__name__
