"""Records of HTTP APIs that give them as JSON, a page at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.records import Record, Undecoded, Unit
from exporters_beam.systems.rest_api import Answer, ApiError, ApiOptions, Pace, at_path, next_link, patiently, place

NONE, NUMBER, OFFSET, CURSOR, NEXT, LINK = PAGINGS = ("none", "page", "offset", "cursor", "next_url", "link")
"""How an API is asked for the next page."""

RANGE_PAGES = 10
"""Pages of a range."""

ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class RestApiReader(ApiOptions):
    """Read the records that an HTTP API gives as JSON, a page at a time. Files at URLs are for the reader `http`.

    `records` is where the list of records is in an answer, as a path of names: `data.items`; without it the answer is the
    list. `paging` says how the next page is found:

    - `link`: by the header Link of the answer;
    - `next_url`: its address is in the answer, at `next`;
    - `cursor`: what is in the answer at `next` goes into the parameter `page_param`;
    - `page`: pages have numbers, from `first_page` on, in the parameter `page_param`;
    - `offset`: the number of records before goes into `page_param`;
    - `none`: there is one page.

    Pages end where nothing says what is next, or, by number and offset, where a page is empty. A request that fails is made
    again, and not before the time that a `Retry-After` names. A run that goes on asks pages with numbers from where it was;
    with the other ways it has to follow the pages again. An API keeps no snapshot: what is inserted while it is read may
    shift records from one page to the next; sort by something that only grows where the API can.

    Example:
        reader:
          name: rest_api
          options:
            url: https://api.example.org/v1/products
            records: data
            paging: cursor
            next: meta.next_cursor
            bearer: '${secret:env:TOKEN}'
    """

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True

    records: str = option("path to the list of records in an answer; empty: the answer is the list", default="")
    paging: str = option("how the next page is found", default=LINK, choices=PAGINGS)
    next: str = option("path to the cursor, or to the address of the next page, in an answer", default="next")
    page_param: str | None = option("parameter that holds the page, the offset or the cursor; by default called so",
                                    default=None)  # fmt: skip
    first_page: int = option("number of the first page", type="int", default=1, minimum=0)
    size_param: str | None = option("parameter that holds `page_size`", default=None, example="limit")
    page_size: int = option("records of a page", type="int", default=100, minimum=1)
    requests_per_second: float = option("no more than this; 0: no limit", type="number", default=0, minimum=0, identity=False)
    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.paging in (CURSOR, NEXT) and not self.next:
            raise ConfigError(f"next: paging by {self.paging} needs the path of what is next")

    def probe(self) -> None:
        """Asks for the first page. Raises SourceError."""
        try:
            self._records(patiently(lambda: self.call("GET", self._first(0)), min(2, self.attempts)))
        except ApiError as error:
            raise SourceError(str(error)) from error

    def units(self) -> Iterator[Unit]:
        yield Unit(0, place(self.url), -1, self.paging)

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Any]]]:
        try:
            for number, found in self._pages(start * RANGE_PAGES):
                if number // RANGE_PAGES >= start:
                    yield number // RANGE_PAGES, found
        except ApiError as error:
            raise SourceError(str(error)) from error

    def decode(self, raw: bytes | str) -> Record:
        """The record of a letter that was repaired."""
        try:
            found = json.loads(raw)
        except ValueError as error:
            raise RecordError(f"it is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise RecordError("it is not an object")
        return found

    def _pages(self, start: int) -> Iterator[tuple[int, list[Any]]]:
        """(number from 0, records) of each page, from one of that number where it can be asked for, else from the first."""
        numbered = self.paging in (NUMBER, OFFSET)
        number = start if numbered else 0
        address, before, size = self._first(number), b"", self.page_size
        pace = Pace(self.requests_per_second)
        while address:
            found, answer = self._page(address, pace)
            if numbered and not found:
                return
            wrong = size if size < self.page_size else len(found) if len(found) > self.page_size else None
            if self.paging == OFFSET and wrong is not None:
                raise ApiError(f"page_size: page {number + (wrong != size)} has {wrong:,} records, not {self.page_size:,}: by "
                               "offset all pages but the last have as many as `page_size` says")  # fmt: skip
            if numbered and answer.text == before:
                raise ApiError(
                    f"page_param: page {number + 1} is the same as the one before it; the API takes no heed of "
                    f"{self.page_param or self.paging!r}"
                )
            yield number, found
            number, before, size = number + 1, answer.text, len(found)
            following = self._next(answer, number, address)
            if following == address:
                raise ApiError(f"paging: page {number} says that it is the next page itself; there would be no end")
            address = following

    def _page(self, address: str, pace: Pace) -> tuple[list[Any], Answer]:
        def once() -> tuple[list[Any], Answer]:
            pace.wait()
            answer = self.call("GET", address)
            return self._records(answer), answer

        return patiently(once, self.attempts)

    def _records(self, answer: Answer) -> list[Any]:
        found = at_path(answer.json(), self.records)
        if found is None and self.records:
            raise ApiError(f"records: there is nothing at {self.records!r} in the answer, which begins {answer.text[:80]!r}")
        if not isinstance(found, list):
            where = f"what is at {self.records!r} in the answer" if self.records else "the answer"
            raise ApiError(f"records: {where} is no list of records, it begins {json.dumps(found)[:80]}")
        return [each if isinstance(each, dict) else Undecoded(json.dumps(each), "it is not an object") for each in found]

    def _sized(self) -> dict[str, Any]:
        return {self.size_param: self.page_size} if self.size_param else {}

    def _first(self, number: int) -> str:
        if self.paging in (NUMBER, OFFSET):
            at = number + self.first_page if self.paging == NUMBER else number * self.page_size
            return self.address({**self._sized(), self.page_param or self.paging: at})
        return self.address(self._sized())

    def _next(self, answer: Answer, number: int, address: str) -> str:
        """The address of the next page; "" where there is none."""
        if self.paging == NONE:
            return ""
        if self.paging in (NUMBER, OFFSET):
            return self._first(number)
        found = next_link(answer.link) if self.paging == LINK else at_path(answer.json(), self.next)
        if found in (None, "", False):
            return ""
        if not isinstance(found, (str, int)) or isinstance(found, bool):
            raise ApiError(f"next: what is at {self.next!r} in the answer says no next page: {json.dumps(found)[:80]}")
        if self.paging == CURSOR:
            return self.address({**self._sized(), self.page_param or CURSOR: found})
        following = urljoin(address, str(found))
        ours, theirs = urlsplit(self.url), urlsplit(following)
        if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            raise ApiError(f"the next page is at another server, {theirs.scheme}://{theirs.netloc}, which is not asked: "
                           "credentials are for the first one")  # fmt: skip
        return self.address({}, following)
