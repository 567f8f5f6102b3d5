"""The writer `mongodb`: records as documents of a collection, each once by its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.secret import hide
from exporters_beam.components.words import one_line
from exporters_beam.errors import ConfigError, DestinationError, RecordError, Transient
from exporters_beam.records import Key, Record
from exporters_beam.systems.mongodb import BUSY, RIGHT, MongoCollection, Refused, by_code, refusals
from exporters_beam.systems.mongodb_values import document_of, encoding, value_of
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions

REQUEST_BYTES, REQUEST_DOCUMENTS = 24 << 20, 50_000
"""What is sent at once; servers take 48 MB, and 100,000 updates."""

CONCERN_SECONDS = 60
"""How long a server waits for others to have what it was sent."""


@dataclass(frozen=True, kw_only=True)
class MongodbWriter(MongoCollection, RecordWriterOptions):
    """Put each record into a collection of MongoDB, by its key: it takes the place of a document of the same key.

    Without `key` a document's `_id` is that of the delivery, the batch and the record, so that a batch that is sent again
    replaces itself. A collection that is not there is made. A record that the server refuses is a failure of the step
    `writer`, with the server's answer; the others of its batch are there.

    Example:
        writer:
          name: mongodb
          options:
            url: mongodb://shop@db.example.org
            password: ${secret:env:SHOP_PASSWORD}
            database: shop
            collection: products
            key: sku
    """

    delivers: ClassVar[str] = "exactly once, by the key of each document"

    key: Any = option("the field or path, or several, by which a document is known, such as _id; others need a unique index, "
                      "which is made where the collection is empty", type="str|str_list", default=None,
                      example="sku")  # fmt: skip
    extended_json: bool = option("make values of objects of Extended JSON, such as {$oid: …}, as mongoimport does", type="bool",
                                 default=False)  # fmt: skip
    write_concern: str = option("how many servers have to have a batch: majority, or a number", default="majority",
                                identity=False)  # fmt: skip

    def __post_init__(self) -> None:
        MongoCollection.__post_init__(self)
        RecordWriterOptions.__post_init__(self)
        if len(set(self.keys)) < len(self.keys):
            raise ConfigError("key: a field stands there twice")
        if "" in self.keys:
            raise ConfigError("key: name a field")
        if self.write_concern == "0":
            raise ConfigError("write_concern: with 0 nobody would know what has arrived; write majority, or a number from 1 on")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else tuple(self.key or ())

    @property
    def target(self) -> str:
        return f"{self.place}/{self.collection}"

    # Before and after

    def probe(self) -> None:
        """The servers answer, know the user, and have what the key needs. Raises DestinationError."""
        with self._telling():
            self.there.command("ping")
            self._index(make=False)

    def begin(self, delivery: str) -> None:
        with self._telling():
            self._index(make=True)

    def _index(self, make: bool) -> None:
        """Sees to a unique index over the key: without it two documents could have the same one, and each record would have
        the server look through all documents."""
        from pymongo.errors import OperationFailure

        found = self.found
        if not self.keys or self.keys == ("_id",):
            return
        try:
            indexes: Mapping[str, Any] = found.index_information()
        except OperationFailure as error:
            if error.code != 26:  # There is no such collection.
                raise
            indexes = {}
        for index in indexes.values():
            fields = {name for name, _ in index["key"]}
            whole = not index.get("sparse") and "partialFilterExpression" not in index
            if index.get("unique") and whole and fields <= set(self.keys):
                return
        if found.estimated_document_count():
            wanted, named = ", ".join(f'"{name}": 1' for name in self.keys), ", ".join(self.keys)
            run = f"db.{self.collection}.createIndex({{{wanted}}}, {{unique: true}})"
            raise Refused(
                "key", f"{self.collection} has no unique index over {named}, by which to replace documents; run: {run}"
            )
        if make:
            found.create_index([(name, 1) for name in self.keys], unique=True)

    def count(self, entry: Mapping[str, Any]) -> int | None:
        """Documents without a key tell by their `_id` which delivery they are of."""
        if self.keys:
            return None
        delivery = entry["delivery"]
        with self._telling():
            return self.found.count_documents({"_id": {"$gte": f"{delivery}-", "$lt": f"{delivery}."}})

    def reset(self) -> None:
        self.let_go()

    close = reset

    # Batches

    def send(self, batch: RecordBatch) -> None:
        with self._telling():
            for numbers, updates in self._requests(batch):
                self._put(batch, numbers, updates)

    def _requests(self, batch: RecordBatch) -> Iterator[tuple[list[int], list[Any]]]:
        """Updates that are sent at once, with the records' numbers in the batch. Of records with the same key the last one."""
        from bson.raw_bson import RawBSONDocument

        most, paths, extended = self._most(), [(name, Key.of(name)) for name in self.keys], self.extended_json
        found: dict[Any, tuple[int, Record, bytes]] = {}
        for n, record in enumerate(batch.records):
            try:
                if paths:
                    query, known = _query(paths, record, extended)
                else:
                    query, known = {"_id": f"{batch.delivery}-{batch.number}-{n}"}, n
                    if "_id" in record:
                        raise RecordError("it has an _id of its own, and the writer no key; give it key: _id, or drop that")
                document = document_of(record if paths else {**query, **record}, extended)
                if len(document) > most:
                    raise RecordError(f"the document has {len(document):,} bytes, and the server takes no more than {most:,}")
            except RecordError as error:
                batch.refuse(n, str(error))
            else:
                found[known] = n, query, document
        numbers: list[int] = []
        updates: list[Any] = []
        size = 0
        for n, query, document in found.values():
            if updates and (size + len(document) > REQUEST_BYTES or len(updates) >= REQUEST_DOCUMENTS):
                yield numbers, updates
                numbers, updates, size = [], [], 0
            numbers.append(n)
            updates.append({"q": query, "u": RawBSONDocument(document), "upsert": True})
            size += len(document)
        if updates:
            yield numbers, updates

    def _most(self) -> int:
        """Bytes that a document may have."""
        most: int | None = self.__dict__.get("_largest")
        if most is None:
            most = int(self.there.command("hello").get("maxBsonObjectSize", 16 << 20))
            object.__setattr__(self, "_largest", most)
        return most

    def _answer(self, updates: Sequence[Any]) -> Mapping[str, Any]:
        concern: Any = int(self.write_concern) if self.write_concern.isdecimal() else self.write_concern
        return self.there.command(
            "update",
            self.collection,
            updates=updates,
            ordered=False,
            writeConcern={"w": concern, "wtimeout": CONCERN_SECONDS * 1000},
            codec_options=encoding(),
        )

    def _put(self, batch: RecordBatch, numbers: Sequence[int], updates: Sequence[Any]) -> None:
        """Send updates, and look what became of each. Where the answer does not account for all of them, as of a server that
        stops at the first error, they are sent again in halves."""
        answer = self._answer(updates)
        wrong = sorted(answer.get("writeErrors") or (), key=lambda each: each["index"])
        for each in wrong:
            code, said = each.get("code", 0), _said(each)
            if code in (*BUSY, *RIGHT):
                raise by_code(self, code, said, "collection")
        concern = answer.get("writeConcernError")
        if concern:
            raise by_code(self, concern.get("code", 0), _said(concern), "write_concern")
        if answer.get("n", 0) + len(wrong) == len(updates):
            for each in wrong:
                batch.refuse(numbers[each["index"]], _said(each))
        elif len(updates) > 1:
            half = len(updates) // 2
            self._put(batch, numbers[:half], updates[:half])
            self._put(batch, numbers[half:], updates[half:])
        else:
            raise Refused("", f"{self.place} answered an update neither with success nor with an error")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            with refusals(self):
                yield
        except Refused as error:
            raise (Transient if error.passing else DestinationError)(str(error)) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}


def _said(wrong: Mapping[str, Any]) -> str:
    """What a server says of an error, as part of a sentence."""
    return one_line(hide(str(wrong.get("errmsg", ""))), 300)


def _query(paths: Sequence[tuple[str, Key]], record: Record, extended: bool) -> tuple[dict[str, Any], Any]:
    """What finds the document whose place a record takes, and what is equal for records with the same key. Raises
    RecordError."""
    query, known = {}, []
    for name, path in paths:
        value = path.value(record)
        kind = value.__class__
        if kind is str or (kind is int and -(1 << 63) <= value < 1 << 63):
            query[name] = value
            known.append(value)
            continue
        if value is None:
            raise RecordError(f"it has no value for the key {name}")
        if isinstance(value, (list, tuple)):
            raise RecordError(f"its key {name} is a list, by which no document is found")
        document = document_of({"": value}, extended)
        found = value_of(document)
        query[name] = {"$eq": found} if isinstance(found, Mapping) else found
        number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
        known.append(value if number and value == value else document)
    return query, tuple(known)
