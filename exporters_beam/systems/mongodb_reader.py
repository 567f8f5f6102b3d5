"""The reader `mongodb`: documents of a collection, cut into ranges of `_id` or another key, or what an aggregation gives."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.words import one_line
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.records import Record, Undecoded, Unit, Warned, units_of
from exporters_beam.systems.mongodb import MongoCollection, Refused, of_extended_json, refusals
from exporters_beam.systems.mongodb_pieces import CUT, EMPTY, GROWING, ID, KINDS, PIPELINE, TIMELY, Key, Piece, latest
from exporters_beam.systems.mongodb_values import decoded, documents, values_of

RANGE_SIZE = 10_000

UNIT_RANGES = 64
"""Ranges of a unit: their borders travel with it."""

UNIT_BYTES = 8 << 10
"""Bytes of borders after which a unit ends earlier."""

BATCH_SIZE = 1000

ATTEMPTS = 6
"""How often a range is taken up again where the connection breaks."""

WRITES = ("$out", "$merge")
"""Stages that write."""


@dataclass(frozen=True, kw_only=True)
class MongodbReader(MongoCollection):
    """Read the documents of a collection of MongoDB, or what an aggregation gives: a record for each.

    The documents are cut into ranges of about 10,000 by their `_id`, so that workers share them and a resumed run goes on;
    records come in the order of `_id`, or of another `key`. What a pipeline gives is read in one range by one worker. There is
    no snapshot: docs/systems.md says what is seen of changes, and what becomes of values that JSON has no type for.

    Example:
        reader:
          name: mongodb
          options:
            url: mongodb://shop@db.example.org
            password: ${secret:env:SHOP_PASSWORD}
            database: shop
            collection: products
            filter: {price: {$gt: 10}, added: {$gte: {$date: '2026-01-01T00:00:00Z'}}}
            projection: {reviews: 0}
    """

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True

    filter: dict[str, Any] | None = option("the query that documents have to meet, in Extended JSON", type="dict", default=None,
                                           example={"price": {"$gt": 10}})  # fmt: skip
    projection: dict[str, Any] | None = option("the fields to read (1) or to leave out (0)", type="dict", default=None,
                                               example={"name": 1, "price": 1})  # fmt: skip
    pipeline: tuple[Any, ...] = option("stages of an aggregation, in Extended JSON, whose results are read instead; end them "
                                       "with a $sort where order matters", type="list", default=(),
                                       example=[{"$match": {"price": {"$gt": 10}}}, {"$sort": {"_id": 1}}])  # fmt: skip
    extended_json: bool = option("give all values that JSON has no type for as Extended JSON, as mongoexport does", type="bool",
                                 default=False)  # fmt: skip
    key: Any = option("the field by which documents are cut into ranges and what is new is known, best with an index over it "
                      "and _id; documents with the same value go by their _id; by default _id alone", type="str|str_list",
                      default=None, example=["updated_at", "_id"])  # fmt: skip
    range_size: int = option("documents in a range", type="int", default=RANGE_SIZE, minimum=1)
    batch_size: int = option("documents that a server sends at once", type="int", default=BATCH_SIZE, minimum=2, identity=False)
    _since: tuple[str, float] | None = field(init=False, repr=False, compare=False, default=None)
    """The etag of the last unit that was read, "" where there is none, and the age in seconds that documents have to have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pipeline and (self.filter or self.projection):
            raise ConfigError("pipeline: it stands alone; write filter and projection as its stages $match and $project")
        for stage in self.pipeline:
            if not isinstance(stage, Mapping) or len(stage) != 1:
                raise ConfigError("pipeline: each stage is a mapping with one key, like {$match: {price: {$gt: 10}}}")
            if next(iter(stage)) in WRITES:
                raise ConfigError(f"pipeline: {next(iter(stage))} writes to the database, and an export reads; leave it out")
        if (self.projection or {}).get("_id", 1) not in (0, 1, False, True):
            raise ConfigError("projection: _id may be left out (0), and cannot be another value: documents are read by it")
        self._refuse_wrong_key()

    def _refuse_wrong_key(self) -> None:
        key = self.fields
        if len(key) not in (1, 2) or key[-1] != ID or len({*key}) < len(key) or not all(key):
            raise ConfigError("key: name one field, behind which there may be _id, as [updated_at, _id]")
        if self.key is not None and self.pipeline:
            raise ConfigError("key: what a pipeline gives is read in one range; leave out one of them")
        kept = {name: value for name, value in (self.projection or {}).items() if name != ID}
        named = [value for name, value in kept.items() if key[0] == name or key[0].startswith(f"{name}.")]
        if key[0] != ID and not all(value in (1, True) for value in named or [not any(kept.values())]):
            raise ConfigError(f"projection: documents are read by {key[0]}, so it has to be among the fields")

    @property
    def fields(self) -> Key:
        """The fields of the key, with `_id` behind the one that is named."""
        if self.key is None:
            return (ID,)
        given = (self.key,) if isinstance(self.key, str) else tuple(self.key)
        return given if given[-1:] == (ID,) or len(given) != 1 else (*given, ID)

    @property
    def name(self) -> str:
        """What users know the documents by."""
        return self.collection

    @property
    def blamed(self) -> str:
        """The option with what a server may not understand."""
        return next((name for name in ("pipeline", "filter", "projection") if getattr(self, name)), "collection")

    # What there is

    def units(self) -> Iterator[Unit | Warned]:
        with self._telling(), refusals(self, self.blamed):
            self._look()
            if self.pipeline:
                yield Unit(0, self.name, -1, Piece(PIPELINE).text())
                return
            self._try("objectId")
            if self._since is None and self.fields == (ID,):
                pieces = chain.from_iterable(self._pieces(Piece(kind)) for kind in KINDS)
            else:
                whole, limit = self._cursor()
                yield from self._doubts(whole, limit)
                pieces = chain(self._pieces(whole, limit))
            yield from units_of(self.name, (piece.text() for piece in pieces), empty=Piece(EMPTY).text())

    def probe(self) -> None:
        """Looks whether the collection can be read. Raises SourceError, ConfigError."""
        with self._telling(), refusals(self, self.blamed):
            self._look()
            self._try(PIPELINE if self.pipeline else "objectId")

    def _try(self, kind: str) -> None:
        """Asks for one document, so that what a server does not understand is told before the work."""
        for _ in self._batches(Piece(kind), None, None, most=1):
            pass

    def _look(self) -> None:
        """Raises Refused where the collection is not there, or cannot be cut."""
        there = self.kind_there()
        if there is None:
            raise self.not_there()
        if there == "view" and not self.pipeline and self.found.find_one({"_id": {"$type": "array"}}, {"_id": 1}):
            raise Refused("collection", f"{self.collection} is a view with lists in _id, which have no order; give a pipeline")

    def _pieces(self, whole: Piece, limit: Any = None) -> Iterator[Piece]:
        """The pieces with all documents of a kind, behind what stands above."""
        first = self._border(whole, whole.above) if whole.kind != EMPTY else None
        if first is None:
            return
        if whole.kind not in CUT:
            yield whole
            return
        last = self._border(whole, whole.above, down=True, limit=limit)
        if last is None and limit is not None:
            return
        self._refuse_lists(whole, last or first)
        borders: list[bytes] = []
        size, above = 0, whole.above
        for border in self._borders(whole, last or first):
            if len(borders) >= UNIT_RANGES or size >= UNIT_BYTES:
                yield whole._replace(above=above, borders=tuple(borders))
                above, borders, size = borders[-1], [], 0
            borders.append(border)
            size += len(border)
        yield whole._replace(above=above, borders=tuple(borders))

    def _borders(self, whole: Piece, last: bytes) -> Iterator[bytes]:
        """Where ranges end, by a walk over all keys of a kind. The last one is the largest that is there now."""
        before = whole.above
        while True:
            found = self._border(whole, before, last, skip=self.range_size - 1)
            if found is None or found in (last, before):
                yield last
                return
            yield found
            before = found

    def _border(
        self, piece: Piece, above: bytes | None = None, upto: bytes | None = None, *, skip: int = 0, down: bool = False,
        limit: Any = None,
    ) -> bytes | None:  # fmt: skip
        """The first key of a kind above another one, or so many behind it; from the end with `down`, there with a value up to a
        `limit`. None where none is."""
        query = self._wanted(piece, above, upto, *([] if limit is None else [{piece.key[0]: {"$lte": limit}}]))
        found = self._one(query, piece.key, skip=skip, sort=[(name, -1 if down else 1) for name in piece.key])
        return piece.border(found) if found else None

    def _one(self, query: dict[str, Any], names: Sequence[str], **more: Any) -> bytes:
        """One document with these fields; nothing where there is none."""
        from pymongo.errors import OperationFailure

        found = self.found.find_raw_batches(query, dict.fromkeys((*names, ID), 1), limit=1, **more)
        with closing(found):
            try:
                return next(iter(found), b"")
            except OperationFailure as error:
                if "type name alias" in str(error):  # A server that does not know the kind has no value of it.
                    return b""
                raise

    # What is new

    @property
    def cannot_tell(self) -> str:
        """Why nobody knows what is new."""
        return "what a pipeline gives has no order that stays; give a filter and a projection instead" if self.pipeline else ""

    def since(self, units: Sequence[Unit], seconds: float) -> MongodbReader:
        """The reader of documents whose keys are behind those that were read, and tell a time that is so many seconds ago,
        where that is asked for."""
        reader = replace(self)
        last = next((unit.etag for unit in reversed(units) if Piece.of(unit.etag).borders), "")
        object.__setattr__(reader, "_since", (last, seconds))
        return reader

    def holds(self, unit: Unit) -> bool:
        """Whether there are documents in a unit, as it was listed."""
        return bool(Piece.of(unit.etag).borders)

    def gap(self, before: Sequence[Unit], units: Sequence[Unit]) -> Iterator[str]:
        """Whether the documents of a batch begin where those of the batches before ended."""
        last = next((Piece.of(unit.etag).borders[-1] for unit in reversed(before) if Piece.of(unit.etag).borders), None)
        for unit in units:
            piece = Piece.of(unit.etag)
            if last is not None and piece.borders and piece.above != last:
                yield f"{unit.name}: its documents do not begin behind {_shown(last)}, where the documents before end"
            last = piece.borders[-1] if piece.borders else last

    def _cursor(self) -> tuple[Piece, Any]:
        """(all that is behind what was read, the largest value that is old enough; None where that is not asked for). Raises
        Refused where documents could be between two batches, and nobody would know."""
        key, since = self.fields, self._since
        kind = self._only_kind(key[0])
        if kind is None or (len(key) > 1 and self._only_kind(ID) is None):
            return Piece(EMPTY), None
        if since is None:
            return Piece(kind, key=key), None
        if self.key is None and kind not in GROWING:
            raise Refused("key", f"every _id of {self.name} is of the type {kind}, and nobody knows whether new ones are "
                                 "behind those that were read; say key: _id where they are, or name a field that grows, as "
                                 "[updated_at, _id]")  # fmt: skip
        if since[1] and kind not in TIMELY:
            raise Refused("key", f"{key[0]} is of the type {kind}, which does not tell how old a document is; leave out "
                                 "`settled`, or name a field with times")  # fmt: skip
        limit = latest(kind, self._now(), since[1]) if kind in TIMELY else None
        return Piece(kind, self._read_up_to(key, kind), key=key), limit

    def _read_up_to(self, key: Key, kind: str) -> bytes | None:
        """The key of the last document that was read."""
        assert self._since is not None
        if not self._since[0]:
            return None
        before = Piece.of(self._since[0])
        anew = "put that back, or begin anew with exporters-beam state CONFIG --reset"
        if before.key != key:
            raise Refused("key", f"what was read is known by {', '.join(before.key)}; {anew}")
        if before.kind != kind:
            raise Refused("key", f"what was read is known by {key[0]} of the type {before.kind}, and now it is of the type "
                                 f"{kind}; {anew}")  # fmt: skip
        return before.borders[-1]

    def _now(self) -> datetime:
        """The time in UTC, by the server's clock."""
        found: datetime = self.client.admin.command("hello")["localTime"]
        return found.replace(tzinfo=None)

    def _only_kind(self, name: str) -> str | None:
        """The type of all values that a field has; None where there are no documents. Raises Refused where there are several,
        since they have no common order, or one that has none."""
        found = {kind: document for kind in KINDS if (document := self._one(self._wanted(Piece(kind, key=(name,))), (name,)))}
        odd = next((kind for kind in found if kind not in CUT), "")
        if odd:
            what = "no value" if odd in ("missing", "null", "undefined") else f"a value of the type {odd}"
            raise Refused("key", f"{self._example(found[odd])} has {what} in {name}, so nobody knows whether it is new; "
                                 "leave such documents out by `filter`, or name another field")  # fmt: skip
        if len(found) > 1:
            raise Refused("key", f"the values of {name} are of several types, which have no common order ({', '.join(found)}, "
                                 f"the last one in {self._example([*found.values()][-1])}); leave all but one out by `filter`, "
                                 f"as {{{name}: {{$type: {next(iter(found))}}}}}")  # fmt: skip
        return next(iter(found), None)

    def _refuse_lists(self, whole: Piece, last: bytes) -> None:
        """Raises Refused where a value of the key is a list: it would be read by any of its members."""
        name = whole.key[0]
        if name == ID:
            return
        among = (self._wanted(whole, whole.above, last, {name: {"$type": "array"}}), self._wanted(None, None, None, {name: []}))
        found = next(filter(None, (self._one(query, whole.key) for query in among)), b"")
        if found:
            raise Refused("key", f"{self._example(found)} has a list in {name}, which has no place in an order; leave such "
                                 "documents out by `filter`, or name another field")  # fmt: skip

    def _example(self, document: bytes) -> str:
        return f"the document of {self.name} with the _id {_shown(Piece('').border(document))}"

    def _doubts(self, whole: Piece, limit: Any) -> Iterator[Warned]:
        """What users should know of a key before it is relied on."""
        name = whole.key[0]
        if whole.kind == EMPTY:
            return
        if name != ID and self.kind_there() == "collection" and not self._indexed(name):
            yield Warned(f"key: no index of {self.name} begins with {name}: the server looks through all documents for each "
                         f"range; make an index over {name} and _id")  # fmt: skip
        if limit is None or self._since is None:
            return
        soon = latest(whole.kind, self._now() + timedelta(hours=1))
        late = self._one(self._wanted(whole, None, None, {name: {"$gt": soon}}), whole.key)
        if late:
            yield Warned(f"key: {self._example(late)} has a time in {name} that is to come; it is read when that has passed")
        if not self._since[1] and self._border(whole, whole.above, limit=limit):
            yield Warned(f"settled: one with a smaller {name} that is stored later would never be read, as where clocks "
                         "differ; new_only: {settled: 60s} leaves documents of the last minute to the next batch")  # fmt: skip

    def _indexed(self, name: str) -> bool:
        """Whether an index of all documents begins with a field; also where nobody may say."""
        from pymongo.errors import OperationFailure

        try:
            known = self.found.index_information().values()
        except OperationFailure:
            return True
        return any(index["key"][0][0] == name and "partialFilterExpression" not in index for index in known)

    # Queries

    def _wanted(
        self, piece: Piece | None, above: bytes | None = None, upto: bytes | None = None, *more: dict[str, Any]
    ) -> dict[str, Any]:
        """The documents that the filter lets through, of a piece from one border to another."""
        of_piece = [] if piece is None else [piece.query(above, upto)]
        found = [each for each in (self._extended("filter"), *of_piece, *more) if each]
        return found[0] if len(found) == 1 else {"$and": found}

    def _extended(self, name: str) -> Any:
        """What an option with Extended JSON stands for."""
        kept = self.__dict__.setdefault("_values", {})
        if name not in kept:
            value = getattr(self, name)
            kept[name] = of_extended_json(value, name) if value else None
        return kept[name]

    def _batches(self, piece: Piece, above: bytes | None, upto: bytes | None, most: int = 0) -> Iterator[bytes]:
        """The documents of a range, as servers send them."""
        if piece.kind == EMPTY:
            return
        if piece.kind == PIPELINE:
            stages = [*self._extended("pipeline"), *([{"$limit": most}] if most else [])]
            found: Any = self.found.aggregate_raw_batches(stages, batchSize=self.batch_size, allowDiskUse=True)
        else:
            projection = {name: value for name, value in (self._extended("projection") or {}).items() if name != "_id"}
            found = self.found.find_raw_batches(self._wanted(piece, above, upto), projection or None, limit=most,
                                                batch_size=self.batch_size, sort=[(name, 1) for name in piece.key])  # fmt: skip
        with closing(found):
            yield from filter(None, found)

    # Records

    def ranges(self, unit: Unit) -> int:
        return Piece.of(unit.etag).ranges

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        piece = Piece.of(unit.etag)
        for number in range(start, piece.ranges):
            with self._telling():
                for records in self._range(piece, number):
                    yield number, records

    def _range(self, piece: Piece, number: int) -> Iterator[list[Any]]:
        """The records of a range. Where the connection breaks it goes on behind the last one that came."""
        above = piece.above if number == 0 else piece.borders[number - 1]
        upto = piece.borders[number] if piece.borders else None
        tries, last = 0, b""
        while True:
            try:
                with refusals(self, self.blamed):
                    for raw in self._batches(piece, above, upto):
                        yield self._records(raw)
                        tries, last = 0, raw
                    if not last and piece.kind != EMPTY and self.kind_there() is None:
                        raise Refused("collection", f"{self.collection} is gone; it was there when the export was listed")
                return
            except Refused as error:
                self.let_go()
                tries += 1
                if last and piece.kind in CUT:
                    above, last = piece.border([*documents(last)][-1]), b""
                if not error.passing or tries >= ATTEMPTS or last:
                    raise
                time.sleep(min(10.0, 0.2 * 2**tries))

    def _records(self, raw: bytes) -> list[Any]:
        records = decoded(raw, self.extended_json)
        if (self.projection or {}).get("_id", 1) in (0, False):
            for record in records:
                if not isinstance(record, Undecoded):
                    record.pop("_id", None)
        return records

    def decode(self, raw: str) -> Record:
        """The record of a letter: an object of JSON, whose values are taken as they stand there. Raises RecordError."""
        try:
            found = json.loads(raw)
        except ValueError as error:
            raise RecordError(f"this is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise RecordError("this is no object of JSON")
        return found

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except Refused as error:
            raise SourceError(str(error)) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}


def _shown(border: bytes) -> str:
    """A key as it stands in a message."""
    return one_line(", ".join(str(value) for value in values_of(border).values()), 100)
