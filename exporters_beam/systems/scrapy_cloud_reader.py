"""Records of Scrapy Cloud: collections of key and value, and items of jobs."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.records import Record, Unit, Warned
from exporters_beam.storages.base import OnFirstUse
from exporters_beam.storages.dates import moment
from exporters_beam.systems.scrapy_cloud import Cloud, CloudError, check_place, collections_of, distinct_prefixes

BATCH = 1000
"""Records that are handed on at a time."""

RANGES = 100
"""Ranges of a unit at most."""

PAGE = 20_000
"""Keys of an answer when collections are listed."""

ATTEMPTS = 10


class Range(NamedTuple):
    """A piece of a collection: keys behind `after` up to `upto`; when it was listed there were so many."""

    after: str
    upto: str
    listed: int


class Borders(NamedTuple):
    """What a unit of a collection holds, as it stands in its etag: keys behind `after` that begin with `prefix`, in ranges that
    are told by their last key and their number of records. `parts` are the collections that hold them, `joined` those whose
    fields go over theirs. Of a `batch` exactly what was written from `startts` on and before `endts` is read."""

    after: str
    ends: list[tuple[str, int]]
    prefix: str
    startts: int | None
    endts: int | None
    parts: list[str]
    joined: list[str]
    batch: bool = False

    def holds(self, written: int) -> bool:
        """Whether a record that was written then is read."""
        if not self.batch:
            return self.endts is None or written <= self.endts
        return (self.startts or 0) <= written < (self.endts or 0)

    def asked(self) -> dict[str, int]:
        """The bounds that the service is asked for: of a batch a millisecond more, so that nothing hangs on which of them it
        counts in."""
        bounds = {"startts": self.startts, "endts": self.endts}
        more = {"startts": -1, "endts": 1} if self.batch else {"startts": 0, "endts": 0}
        return {name: value + more[name] for name, value in bounds.items() if value is not None}

    def ranges(self) -> list[Range]:
        afters = [self.after, *(upto for upto, _ in self.ends)]
        return [Range(after, upto, listed) for after, (upto, listed) in zip(afters, self.ends, strict=False)]


class Span(NamedTuple):
    """The items that a unit of a job holds: those with the numbers from `start` on and before `end`."""

    start: int
    end: int

    @classmethod
    def of(cls, unit: Unit) -> Span:
        start, _, end = unit.etag.rpartition("-")
        return cls(int(start or 0), int(end))

    def text(self) -> str:
        """As a unit's etag."""
        return f"{self.start}-{self.end}" if self.start else str(self.end)


@dataclass(frozen=True, kw_only=True)
class ScrapyCloudReader(OnFirstUse):
    """Read a collection of Scrapy Cloud in the order of its keys, or the items of jobs.

    Records of a collection keep their `_key`. Collections that are called NAME_0 to NAME_n-1 are read as one. What is read is
    decided when the export begins: keys are walked then, without their values, and cut into ranges, which workers share. A
    record that is written again while the export runs is read as it is then; keys behind the last one are not read any more.
    With `endts: now` nothing is read that was written after the export began, nor what was written again since: its old
    value is gone.

    Of a secondary collection the fields go over those of the record with the same key; its other keys are left out.
    `startts` and `endts` are milliseconds or dates as people write them, in UTC. Needs the extra `scrapy-cloud`.

    Example:
        reader:
          name: scrapy_cloud
          options: {apikey: '${secret:env:SHUB_APIKEY}', project_id: 78, collection_name: products}
    """

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True

    apikey: str = option("key of the service", env=("SHUB_APIKEY", "EXPORTERS_HS_APIKEY"), secret=True)
    project_id: int | str | None = option("number of the project", type="int|str", default=None)
    collection_name: str | None = option("the collection to read", default=None, example="products")
    collection_type: str = option("s: store, cs: cached, vs: versioned, vcs: versioned and cached", default="s",
                                  choices=("s", "cs", "vs", "vcs"))  # fmt: skip
    partitions: int | None = option("how many collections NAME_0, NAME_1, … are read as one; 0: NAME alone; null: as many as "
                                    "there are", type="int", default=None, minimum=0)  # fmt: skip
    missing: str = option("a collection that is not there: fail, or empty for no records", default="fail",
                          choices=("fail", "empty"))  # fmt: skip
    jobs: Any = option("jobs whose items are read, as PROJECT/SPIDER/JOB", type="str|str_list", default=(),
                       example=["78/1/5"])  # fmt: skip
    count: int = option("end after this many records; 0: all", type="int", default=0, minimum=0)
    prefixes: tuple[str, ...] = option("only keys that begin with one of these", type="str_list", default=())
    exclude_prefixes: tuple[str, ...] = option("no keys that begin with one of these", type="str_list", default=())
    secondary_collections: tuple[str, ...] = option("collections whose fields go over those of records with the same key",
                                                    type="str_list", default=())  # fmt: skip
    startts: int | str | None = option("only what was written then or later: milliseconds or a date", type="int|str",
                                       default=None)  # fmt: skip
    endts: int | str | None = option("only what was written before: milliseconds or a date", type="int|str", default=None)
    range_size: int = option("records in a range, which is redone where a worker fails", type="int", default=10_000, minimum=1)
    endpoint: str | None = option("address of the service", default=None, env="SHUB_STORAGE")
    batch_size: int = option("accepted for old configs; it changes nothing", type="int", default=10000)
    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)
    now: str = field(default="", repr=False, compare=False)
    _before: tuple[Mapping[str, int], float] | None = field(init=False, repr=False, compare=False, default=None)
    """Where what was read ends, by what users know it by: a time, or a number of items; and the age in seconds that records
    have to have."""

    def __post_init__(self) -> None:
        if bool(self.jobs) == bool(self.collection_name):
            raise ConfigError("collection_name: give either a collection or `jobs`")
        if not self.jobs:
            check_place(self.project_id, self.collection_name, self.collection_type)
        for job in self._jobs:
            if not re.fullmatch(r"\d+/\d+/\d+", job):
                raise ConfigError(f"jobs: {job!r} is not a job; write PROJECT/SPIDER/JOB, for example 78/1/5")
        for name in self.secondary_collections:
            check_place(self.project_id, name, self.collection_type, "secondary_collections")
        if "" in self.exclude_prefixes:
            raise ConfigError("exclude_prefixes: all keys begin with an empty text; nothing would be read")
        for name, value in (("startts", self.startts), ("endts", self.endts)):
            try:
                _ = None if value is None else moment(value, datetime.now())
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from None

    @property
    def cloud(self) -> Cloud:
        """The service, opened on first use."""
        return self._once(lambda: Cloud(self.apikey, self.endpoint, self.attempts, "the reader scrapy_cloud"))

    def at(self, now: datetime) -> ScrapyCloudReader:
        """The reader of an export that began then: dates stay those, also when it is resumed on another day."""
        return replace(self, now=now.isoformat())

    @property
    def name(self) -> str:
        """What users know the collection by."""
        return f"{self.project_id}/{self.collection_type}/{self.collection_name}"

    def probe(self) -> None:
        """Looks whether the key is known, and what is to be read is there. Raises SourceError."""
        with _told():
            if self.jobs:
                for job in self._jobs:
                    self._items_of(job)
            else:
                self._parts(self._there())

    def units(self) -> Iterator[Unit | Warned]:
        """Ranges of keys or of items, each a unit, as they are found. Raises SourceError."""
        index = 0
        with _told():
            for found in self._spans() if self.jobs else self._ranges():
                if isinstance(found, Warned):
                    yield found
                else:
                    yield Unit(index, found[0], -1, found[1])
                    index += 1

    def ranges(self, unit: Unit) -> int:
        if self.jobs:
            span = Span.of(unit)
            return -(-(span.end - span.start) // self.range_size)
        return len(_borders(unit).ends)

    def before(self, unit: Unit, number: int) -> int:
        """How many records are before a range: as many as were there when it was listed."""
        if self.jobs:
            return number * self.range_size
        return sum(listed for _, listed in _borders(unit).ends[:number])

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        with _told():
            for number in range(start, self.ranges(unit)):
                batch: list[Record] = []
                for record in self._items(unit, number) if self.jobs else self._records(_borders(unit), number):
                    batch.append(record)
                    if len(batch) == BATCH:
                        yield number, batch
                        batch = []
                yield number, batch

    # What is new

    @property
    def cannot_tell(self) -> str:
        """Why nobody knows what is new."""
        if self.secondary_collections:
            return "where only a secondary collection has changed, nobody would see it; leave out `secondary_collections`"
        if self.count:
            return "what comes after `count` records would never be read; leave it out"
        return "each batch ends at the time at which it begins; leave out `endts`" if self.endts is not None else ""

    def since(self, units: Sequence[Unit], seconds: float) -> ScrapyCloudReader:
        """The reader of records that were written since these were listed, so many seconds ago or earlier; of items behind
        those of jobs that were read."""
        reader = replace(self)
        object.__setattr__(reader, "_before", (self._ends(units), seconds))
        return reader

    def _ends(self, units: Sequence[Unit]) -> dict[str, int]:
        """Where these units end, by what users know them by. There may be some of jobs beside others of collections."""
        ends = {}
        for unit in units:
            if self._of_job(unit):
                ends[unit.name] = Span.of(unit).end
            else:
                ends[unit.name.partition("[")[0]] = _borders(unit).endts or 0
        return ends

    @staticmethod
    def _of_job(unit: Unit) -> bool:
        return not unit.etag.startswith("[")

    def gap(self, before: Sequence[Unit], units: Sequence[Unit]) -> Iterator[str]:
        """What lies between two batches, or is in both."""
        ends = self._ends(before)
        for unit in units:
            start = Span.of(unit).start if self._of_job(unit) else _borders(unit).startts or 0
            end = ends.get(unit.name.partition("[")[0], start)
            what = "the items" if self._of_job(unit) else "what was written in the milliseconds"
            if end < start:
                yield f"{unit.name}: {what} from {end:,} to {start:,} was not read"
            elif end > start:
                yield f"{unit.name}: {what} from {start:,} to {end:,} was read twice"

    def _window(self) -> tuple[int | None, int | None]:
        """The times between which records are read, in milliseconds."""
        now = datetime.fromisoformat(self.now) if self.now else datetime.now()
        startts, endts = (None if value is None else moment(value, now) for value in (self.startts, self.endts))
        if self._before is None:
            return startts, endts
        ends, seconds = self._before
        return ends.get(self.name, startts), self.cloud.now() - round(seconds * 1000)

    # Items of jobs

    @property
    def _jobs(self) -> tuple[str, ...]:
        return (self.jobs,) if isinstance(self.jobs, str) else tuple(dict.fromkeys(self.jobs))

    def _items_of(self, job: str) -> int:
        """How many items a job has."""
        try:
            found = self.cloud.lines(f"items/{job}/stats")
        except CloudError as error:
            if error.status == 404:
                raise SourceError(f"jobs: there is no job {job}; {error}") from None
            raise
        totals = found[0].get("totals") if found and isinstance(found[0], dict) else None
        number = totals.get("input_values", 0) if isinstance(totals, dict) else 0
        if not isinstance(number, int):
            raise CloudError(f"items/{job}/stats: the answer tells no number of items but {number!r:.80}")
        return number

    def _spans(self) -> Iterator[tuple[str, str] | Warned]:
        left = self.count or None
        for job in self._jobs:
            number = self._items_of(job)
            if not number:
                yield Warned(f"jobs: {job} has no items")
            start = self._before[0].get(job, 0) if self._before is not None else 0
            if start > number:
                raise SourceError(f"jobs: {job} has {number:,} items now, and {start:,} were read of it; were they deleted? "
                                  "exporters-beam state CONFIG --reset begins with all that are there")  # fmt: skip
            number = number if left is None else min(number, left)
            left = None if left is None else left - number
            if number > start:
                yield job, Span(start, number).text()

    def _items(self, unit: Unit, number: int) -> Iterator[Record]:
        span = Span.of(unit)
        start, there = span.start + number * self.range_size, span.end
        came = False
        for record in self.cloud.items(f"items/{unit.name}", start, min(start + self.range_size, there), PAGE):
            came = True
            yield record
        if not came:
            raise SourceError(f"the items from {start:,} on are gone, which were there when the export began; export again")

    # Collections

    def _there(self) -> list[str]:
        return collections_of(self.cloud, self.project_id or "", self.collection_type)

    def _parts(self, there: Sequence[str]) -> list[str]:
        """The collections that hold the records: NAME, or all of NAME_0, NAME_1, …; none where it is not there."""
        name, given = self.collection_name or "", self.partitions
        numbers = sorted(int(each.rpartition("_")[2]) for each in there if re.fullmatch(rf"{name}_(0|[1-9][0-9]*)", each))
        if given is None:
            parts = [f"{name}_{n}" for n in numbers] or [name]
            if numbers and numbers[-1] != len(numbers) - 1:
                lacks = next(n for n in range(len(numbers)) if n not in numbers)
                raise SourceError(f"collection_name: {name} is in parts, {parts[0]} to {parts[-1]}, and {name}_{lacks} is not "
                                  f"there; for the collection {name} alone give `partitions: 0`")  # fmt: skip
        else:
            parts = [f"{name}_{n}" for n in range(given)] or [name]
        absent = [part for part in parts if part not in there]
        if absent and self.missing == "fail":
            hint = did_you_mean(absent[0], list(there))
            raise SourceError(f"collection_name: project {self.project_id} has no collection {absent[0]!r} of type "
                              f"{self.collection_type}{hint}")  # fmt: skip
        return [part for part in parts if part in there]

    def _ranges(self) -> Iterator[tuple[str, str] | Warned]:
        there = self._there()
        parts = self._parts(there)
        joined = [name for name in self.secondary_collections if name in there]
        yield from (
            Warned(f"secondary_collections: project {self.project_id} has no collection {name!r}")
            for name in self.secondary_collections if name not in there
        )  # fmt: skip
        if not parts:
            yield Warned(f"collection_name: project {self.project_id} has no collection {self.collection_name!r}")
            return
        left = self.count or None
        number, window = 0, self._window()
        if self._before is not None and (window[0] or 0) >= (window[1] or 0):
            return
        for prefix in distinct_prefixes(self.prefixes) or [""]:
            for borders in self._cut(prefix, parts, joined, left, window):
                yield f"{self.name}[{number}]" if number else self.name, json.dumps(borders[: 7 + borders.batch])
                number += 1
                left = None if left is None else left - sum(listed for _, listed in borders.ends)
            if left == 0:
                return

    def _cut(
        self, prefix: str, parts: list[str], joined: list[str], most: int | None, window: tuple[int | None, int | None]
    ) -> Iterator[Borders]:
        """Walks the keys with a prefix and cuts them into ranges. Only where it decides which records count are the other
        collections walked beside."""
        startts, endts = window
        beside = joined if most is not None and endts else []
        whole = Borders("", [], prefix, startts, endts, parts, beside, self._before is not None)
        after, listed = "", 0
        ends: list[tuple[str, int]] = []
        key = ""
        for record in islice(self._joined(whole, Range("", "", PAGE), nodata=True), most):
            key, listed = record["_key"], listed + 1
            if listed == self.range_size:
                ends.append((key, listed))
                listed = 0
            if len(ends) == RANGES:
                yield whole._replace(after=after, ends=ends, joined=joined)
                after, ends = key, []
        if listed:
            ends.append((key, listed))
        if ends:
            yield whole._replace(after=after, ends=ends, joined=joined)

    def _records(self, borders: Borders, number: int) -> Iterator[Record]:
        span = borders.ranges()[number]
        came = False
        for record in islice(self._joined(borders, span), span.listed if self.count else None):
            came = True
            del record["_ts"]
            yield record
        if not came and borders.batch and not {*borders.parts} <= {*self._there()}:
            raise SourceError(f"the collection {self.name} is gone; it was there when the export was listed")
        if not came and not borders.joined and not borders.batch:
            raise SourceError(f"the {span.listed:,} records that were there when the export began, up to the key "
                              f"{span.upto!r:.80}, are gone; export again")  # fmt: skip

    def _joined(self, borders: Borders, span: Range, nodata: bool = False) -> Iterator[Record]:
        """The records of a range in the order of their keys, with the fields of the secondary collections."""
        found = heapq.merge(*(self._scan(part, borders, span, nodata) for part in borders.parts), key=itemgetter("_key"))
        others = [_Beside(self._scan(name, borders, span, nodata, beside=True)) for name in borders.joined]
        for record in found:
            key, written = record["_key"], record.get("_ts")
            if not isinstance(written, int):
                raise CloudError(f"the record {key!r:.80} has come without the time of its writing")
            for other in others:
                fields = other.at(key)
                if fields is not None:
                    record.update({**fields, "_ts": max(record["_ts"], fields["_ts"])})
            if borders.holds(record["_ts"]):
                yield record

    def _scan(self, name: str, borders: Borders, span: Range, nodata: bool, beside: bool = False) -> Iterator[Record]:
        params: dict[str, Any] = {"meta": ["_key", "_ts"]}
        if borders.prefix:
            params["prefix"] = borders.prefix
        if nodata:
            params["nodata"] = 1
        if not beside:
            params |= borders.asked()
        path = f"collections/{self.project_id}/{self.collection_type}/{name}"
        share = span.listed if beside else -(-span.listed // len(borders.parts))
        return self.cloud.scan(path, span.after, span.upto, params, min(PAGE, share), self.exclude_prefixes)


class _Beside:
    """The records of another collection, asked for by ascending keys."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self._next: Record | None = next(records, None)

    def at(self, key: str) -> Record | None:
        while self._next is not None and self._next["_key"] < key:
            self._next = next(self._records, None)
        return self._next if self._next is not None and self._next["_key"] == key else None


@lru_cache(4)
def _parsed(etag: str) -> Borders:
    return Borders(*json.loads(etag))


def _borders(unit: Unit) -> Borders:
    return _parsed(unit.etag)


@contextmanager
def _told() -> Iterator[None]:
    """Turns what the service says into SourceError."""
    try:
        yield
    except CloudError as error:
        raise SourceError(str(error)) from error
