"""Records of HTTP APIs that give them as JSON, a page at a time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, ClassVar, NamedTuple
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


ISO, SECONDS, MILLISECONDS = FORMATS = ("iso", "seconds", "milliseconds")
"""How times are written: 2026-12-01T04:35:45Z, or as so many since 1970."""


class Window(NamedTuple):
    """What a batch has: what was changed from one time on and before another one, in seconds since 1970."""

    since: int | None = None
    until: int | None = None

    @classmethod
    def of(cls, unit: Unit) -> Window:
        """Of one that has all there is, no times."""
        return cls(*json.loads(unit.etag)) if unit.etag.startswith("[") else cls()

    def text(self) -> str:
        """As a unit's etag."""
        return json.dumps(self)


NO_WINDOW = Window()


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

    With `new_only` each batch has the records of a time: from where the batch before ended, in the parameter `since_param`, up
    to the time at which it begins, in `until_param`. With `time_field` the times of the records say which of them are in it,
    also where the API takes no end.

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
    since_param: str | None = option("parameter for the time from which records were changed, with new_only", default=None,
                                     example="updated_since")  # fmt: skip
    until_param: str | None = option("parameter for the time up to which they were, with new_only", default=None,
                                     example="updated_before")  # fmt: skip
    time_field: str | None = option("path to the time of a record's change, which says in which batch it is, with new_only",
                                    default=None, example="updated_at")  # fmt: skip
    time_format: str = option("how the API writes times", default=ISO, choices=FORMATS)
    requests_per_second: float = option("no more than this; 0: no limit", type="number", default=0, minimum=0, identity=False)
    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)
    _before: tuple[Mapping[str, int], float] | None = field(init=False, repr=False, compare=False, default=None)
    """Until when what was read was changed, by its place; and the age in seconds that records have to have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.paging in (CURSOR, NEXT) and not self.next:
            raise ConfigError(f"next: paging by {self.paging} needs the path of what is next")
        if not self.since_param and (self.until_param or self.time_field):
            raise ConfigError("since_param: name the parameter for the time from which records were changed")

    def probe(self) -> None:
        """Asks for the first page. Raises SourceError."""
        try:
            self._records(patiently(lambda: self.call("GET", self._first(0)), min(2, self.attempts)))
        except ApiError as error:
            raise SourceError(str(error)) from error

    def units(self) -> Iterator[Unit]:
        if self._before is None:
            yield Unit(0, place(self.url), -1, self.paging)
            return
        try:
            window = self._window(*self._before)
            if window is not None and any(found for _, found in self._pages(0, window)):
                yield Unit(0, place(self.url), -1, window.text())
        except ApiError as error:
            raise SourceError(str(error)) from error

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Any]]]:
        try:
            for number, found in self._pages(start * RANGE_PAGES, Window.of(unit)):
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

    # What is new

    @property
    def cannot_tell(self) -> str:
        """Why nobody knows what is new."""
        if self.since_param and (self.until_param or self.time_field):
            return ""
        return ("name the parameters by which the API gives what was changed in a time, `since_param` and `until_param`, or "
                "`time_field` where it takes no end")  # fmt: skip

    def since(self, units: Sequence[Unit], seconds: float) -> RestApiReader:
        """The reader of what was changed since these were listed, so many seconds ago or earlier."""
        reader = replace(self)
        object.__setattr__(reader, "_before", (_ends(units), seconds))
        return reader

    def gap(self, before: Sequence[Unit], units: Sequence[Unit]) -> Iterator[str]:
        """The time between two batches, or in both."""
        ends = _ends(before)
        for unit in units:
            start = Window.of(unit).since or 0
            end = ends.get(unit.name, start)
            if end != start:
                what = "not read" if end < start else "read twice"
                first, last = (_written(each, ISO) for each in sorted((start, end)))
                yield f"{unit.name}: what was changed from {first} to {last} was {what}"

    def _window(self, ends: Mapping[str, int], seconds: float) -> Window | None:
        """The time of the next batch, whose end the API's clock tells, or else this machine's; None where it has not begun."""
        since = ends.get(place(self.url))
        whole = Window(since)
        answer = patiently(lambda: self.call("GET", self._first(0, whole)), self.attempts)
        now = answer.date or datetime.now(timezone.utc)
        until = math.floor(now.timestamp() - seconds)
        return Window(since, until) if since is None or since < until else None

    def _asked(self, window: Window) -> dict[str, Any]:
        """The parameters for a time. Where records tell their own, a second more, so that nothing hangs on how the API rounds
        and which bounds it counts in."""
        more = 1 if self.time_field else 0
        bounds = ((self.since_param, window.since, -more), (self.until_param, window.until, more))
        return {name: _written(at + by, self.time_format) for name, at, by in bounds if name and at is not None}

    def _within(self, found: list[Any], window: Window) -> list[Any]:
        """The records of a batch, where they tell their times."""
        if self.time_field is None or window.until is None:
            return found
        since = -math.inf if window.since is None else window.since
        return [each for each in found if since <= self._changed(each) < window.until]

    def _changed(self, record: Any) -> float:
        """When a record was changed, in seconds since 1970."""
        assert self.time_field is not None
        value = None if isinstance(record, Undecoded) else at_path(record, self.time_field)
        try:
            return _seconds(value, self.time_format)
        except (TypeError, ValueError, OverflowError):
            raise ApiError(f"time_field: a record has {json.dumps(value)[:80]} at {self.time_field!r}, which is no time as "
                           f"time_format says ({self.time_format}): nobody knows in which batch it is") from None  # fmt: skip

    def _pages(self, start: int, window: Window) -> Iterator[tuple[int, list[Any]]]:
        """(number from 0, records) of each page, from one of that number where it can be asked for, else from the first."""
        numbered = self.paging in (NUMBER, OFFSET)
        number = start if numbered else 0
        address, before, size = self._first(number, window), b"", self.page_size
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
            yield number, self._within(found, window)
            number, before, size = number + 1, answer.text, len(found)
            following = self._next(answer, number, address, window)
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

    def _sized(self, window: Window) -> dict[str, Any]:
        return {**({self.size_param: self.page_size} if self.size_param else {}), **self._asked(window)}

    def _first(self, number: int, window: Window = NO_WINDOW) -> str:
        if self.paging in (NUMBER, OFFSET):
            at = number + self.first_page if self.paging == NUMBER else number * self.page_size
            return self.address({**self._sized(window), self.page_param or self.paging: at})
        return self.address(self._sized(window))

    def _next(self, answer: Answer, number: int, address: str, window: Window) -> str:
        """The address of the next page; "" where there is none."""
        if self.paging == NONE:
            return ""
        if self.paging in (NUMBER, OFFSET):
            return self._first(number, window)
        found = next_link(answer.link) if self.paging == LINK else at_path(answer.json(), self.next)
        if found in (None, "", False):
            return ""
        if not isinstance(found, (str, int)) or isinstance(found, bool):
            raise ApiError(f"next: what is at {self.next!r} in the answer says no next page: {json.dumps(found)[:80]}")
        if self.paging == CURSOR:
            return self.address({**self._sized(window), self.page_param or CURSOR: found})
        following = urljoin(address, str(found))
        ours, theirs = urlsplit(self.url), urlsplit(following)
        if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            raise ApiError(f"the next page is at another server, {theirs.scheme}://{theirs.netloc}, which is not asked: "
                           "credentials are for the first one")  # fmt: skip
        return self.address(self._asked(window), following)


def _ends(units: Sequence[Unit]) -> dict[str, int]:
    """Until when what these hold was changed, by their places."""
    found = {unit.name: Window.of(unit).until for unit in units}
    return {name: until for name, until in found.items() if until is not None}


def _written(seconds: int, form: str) -> str | int:
    """A time as an API writes it.

    >>> _written(1_796_099_745, ISO), _written(1_796_099_745, MILLISECONDS)
    ('2026-12-01T04:35:45Z', 1796099745000)
    """
    if form == ISO:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return seconds * 1000 if form == MILLISECONDS else seconds


def _seconds(value: Any, form: str) -> float:
    """The seconds since 1970 that a time is which an API has written. One without a zone is in UTC. Raises ValueError,
    TypeError.

    >>> _seconds("2026-12-01T05:35:45.5+0100", ISO), _seconds("2026-12-01", ISO), _seconds(1_796_099_745_500, MILLISECONDS)
    (1796099745.5, 1796083200.0, 1796099745.5)
    """
    if form == ISO:
        if not isinstance(value, str):
            raise TypeError
        text = re.sub(r"\.(\d+)", lambda match: f".{match[1][:6]:0<6}", re.sub(r"[Zz]$", "+00:00", value.strip()))
        found = datetime.fromisoformat(re.sub(r"(:\d\d(?:\.\d+)?[+-]\d\d)(\d\d)$", r"\1:\2", text))
        return (found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)).timestamp()
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise TypeError
    return float(value) / (1000 if form == MILLISECONDS else 1)
