"""The reader `mongodb`: documents of a collection, cut into ranges of `_id`, or what an aggregation gives."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.records import Record, Undecoded, Unit, units_of
from exporters_beam.systems.mongodb import MongoCollection, Refused, of_extended_json, refusals
from exporters_beam.systems.mongodb_values import decoded, documents, id_of, value_of

RANGE_SIZE = 10_000

UNIT_RANGES = 64
"""Ranges of a unit: their borders travel with it."""

UNIT_BYTES = 8 << 10
"""Bytes of borders after which a unit ends earlier."""

BATCH_SIZE = 1000

ATTEMPTS = 6
"""How often a range is taken up again where the connection breaks."""

KINDS = (
    *("minKey", "undefined", "null", "missing", "nan", "number", "symbol", "string", "object", "binData", "objectId", "bool"),
    *("date", "timestamp", "regex", "dbPointer", "javascript", "javascriptWithScope", "maxKey"),
)
"""What an `_id` may be, in the order in which servers sort. Values are compared only with those of their own kind."""

CUT = ("number", "string", "object", "binData", "objectId", "date", "timestamp")
"""Kinds with values enough to be cut into ranges."""

PIPELINE, EMPTY = "pipeline", "empty"
"""Pieces that are no kinds: all that a pipeline gives, and a collection without documents."""

WRITES = ("$out", "$merge")
"""Stages that write."""


class Piece(NamedTuple):
    """What a unit reads, decided when it was listed: `_id`s of one kind. Of n `borders` there are n ranges: each has what is
    above the border before, the first one above `above` (None: from the first `_id` of the kind on), and up to its own. Without
    borders all of the kind is one range."""

    kind: str
    above: bytes | None = None
    borders: tuple[bytes, ...] = ()

    @property
    def ranges(self) -> int:
        return len(self.borders) or 1

    def text(self) -> str:
        """As a unit's etag."""
        above = self.above and base64.b64encode(self.above).decode()
        return json.dumps([self.kind, above, [base64.b64encode(border).decode() for border in self.borders]])

    @staticmethod
    @lru_cache(maxsize=256)
    def of(text: str) -> Piece:
        kind, above, borders = json.loads(text)
        return Piece(kind, above and base64.b64decode(above), tuple(map(base64.b64decode, borders)))


@dataclass(frozen=True, kw_only=True)
class MongodbReader(MongoCollection):
    """Read the documents of a collection of MongoDB, or what an aggregation gives: a record for each.

    The documents are cut into ranges of about 10,000 by their `_id`, so that workers share them and a resumed run goes on;
    records come in the order of `_id`. What a pipeline gives is read in one range by one worker. There is no snapshot:
    docs/systems.md says what is seen of changes, and what becomes of values that JSON has no type for.

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
    range_size: int = option("documents in a range", type="int", default=RANGE_SIZE, minimum=1)
    batch_size: int = option("documents that a server sends at once", type="int", default=BATCH_SIZE, minimum=2, identity=False)

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

    @property
    def name(self) -> str:
        """What users know the documents by."""
        return self.collection

    @property
    def blamed(self) -> str:
        """The option with what a server may not understand."""
        return next((name for name in ("pipeline", "filter", "projection") if getattr(self, name)), "collection")

    # What there is

    def units(self) -> Iterator[Unit]:
        with self._telling(), refusals(self, self.blamed):
            self._look()
            if self.pipeline:
                yield Unit(0, self.name, -1, Piece(PIPELINE).text())
                return
            self._try("objectId")
            pieces = (piece.text() for kind in KINDS for piece in self._pieces(kind))
            yield from units_of(self.name, pieces, empty=Piece(EMPTY).text())

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

    def _pieces(self, kind: str) -> Iterator[Piece]:
        """The pieces with all documents whose `_id` is of this kind."""
        first = self._id(kind)
        if first is None:
            return
        if kind not in CUT:
            yield Piece(kind)
            return
        last = self._id(kind, down=True)
        borders: list[bytes] = []
        size, above = 0, None
        for border in self._borders(kind, last or first):
            if len(borders) >= UNIT_RANGES or size >= UNIT_BYTES:
                yield Piece(kind, above, tuple(borders))
                above, borders, size = borders[-1], [], 0
            borders.append(border)
            size += len(border)
        yield Piece(kind, above, tuple(borders))

    def _borders(self, kind: str, last: bytes) -> Iterator[bytes]:
        """Where ranges end, by a walk over all `_id`s of a kind. The last one is the largest that is there now."""
        before: bytes | None = None
        while True:
            found = self._id(kind, before, last, skip=self.range_size - 1)
            if found is None or found in (last, before):
                yield last
                return
            yield found
            before = found

    def _id(
        self, kind: str, above: bytes | None = None, upto: bytes | None = None, *, skip: int = 0, down: bool = False
    ) -> bytes | None:
        """The first `_id` of a kind above another one, or so many behind it; from the end with `down`. None where none is."""
        from pymongo.errors import OperationFailure

        query = self.query(kind, above, upto)
        found = self.found.find_raw_batches(query, {"_id": 1}, limit=1, skip=skip, sort=[("_id", -1 if down else 1)])
        with closing(found):
            try:
                document = next(iter(found), b"")
            except OperationFailure as error:
                if "type name alias" in str(error):  # A server that does not know the kind has no value of it.
                    return None
                raise
        return (id_of(document) or document) if document else None

    # Queries

    def query(self, kind: str, above: bytes | None = None, upto: bytes | None = None) -> dict[str, Any]:
        """The documents of a kind whose `_id` is above one and up to another one."""
        condition: dict[str, Any] = {"$type": kind}
        if kind == "missing":
            condition = {"$exists": False}
        elif kind == "nan":  # Not every server can be sent a NaN.
            condition = {"$type": "number", "$not": {"$gte": -math.inf}}
        elif above is not None:
            condition["$gt"] = value_of(above)
        elif kind == "number":
            condition["$gte"] = -math.inf
        if upto is not None:
            condition["$lte"] = value_of(upto)
        wanted = self._extended("filter") or {}
        return {"$and": [wanted, {"_id": condition}]} if wanted else {"_id": condition}

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
            found = self.found.find_raw_batches(self.query(piece.kind, above, upto), projection or None, limit=most,
                                                batch_size=self.batch_size, sort=[("_id", 1)])  # fmt: skip
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
        """The records of a range. Where the connection breaks it goes on behind the last `_id` that came."""
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
                    above, last = id_of([*documents(last)][-1]), b""
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
