"""What a unit of the reader `mongodb` reads: pieces of a collection between values of a key, as text that stands in its etag,
and the queries that give them."""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, NamedTuple

from exporters_beam.systems.mongodb_values import key_of, values_of

KINDS = (
    *("minKey", "undefined", "null", "missing", "nan", "number", "symbol", "string", "object", "binData", "objectId", "bool"),
    *("date", "timestamp", "regex", "dbPointer", "javascript", "javascriptWithScope", "maxKey"),
)
"""What a value may be, in the order in which servers sort. Values are compared only with those of their own kind."""

CUT = ("number", "string", "object", "binData", "objectId", "date", "timestamp")
"""Kinds with values enough to be cut into ranges."""

TIMELY = ("objectId", "date", "timestamp")
"""Kinds whose values tell a time."""

GROWING = ("number", *TIMELY)
"""Kinds of which new values are larger, as a rule."""

PIPELINE, EMPTY = "pipeline", "empty"
"""Pieces that are no kinds: all that a pipeline gives, and a collection without documents."""

ID = "_id"

Key = tuple[str, ...]
"""The fields by which documents are cut, the last one `_id`."""


class Piece(NamedTuple):
    """What a unit reads, decided when it was listed: documents whose value of the key's first field is of one kind. Of n
    `borders` there are n ranges: each has what is above the border before, the first one above `above` (None: from the first
    value of the kind on), and up to its own. Without borders all of the kind is one range."""

    kind: str
    above: bytes | None = None
    borders: tuple[bytes, ...] = ()
    key: Key = (ID,)

    @property
    def ranges(self) -> int:
        return len(self.borders) or 1

    def text(self) -> str:
        """As a unit's etag."""
        above = self.above and base64.b64encode(self.above).decode()
        told = [self.kind, above, [base64.b64encode(border).decode() for border in self.borders]]
        return json.dumps(told if self.key == (ID,) else [*told, self.key])

    @staticmethod
    @lru_cache(maxsize=256)
    def of(text: str) -> Piece:
        kind, above, borders, *key = json.loads(text)
        return Piece(kind, above and base64.b64decode(above), tuple(map(base64.b64decode, borders)), tuple(*key) or (ID,))

    def border(self, document: bytes) -> bytes:
        """The document's place in the order; of one that has none, the document."""
        return key_of(document, self.key) or document

    def query(self, above: bytes | None = None, upto: bytes | None = None) -> dict[str, Any]:
        """The documents of this kind that are above one border and up to another one."""
        first, *rest = self.key
        condition = _of_kind(self.kind)
        lower, upper = above and values_of(above), upto and values_of(upto)
        if lower and self.kind not in ("missing", "nan"):
            condition["$gte" if rest else "$gt"] = lower[first]
        elif self.kind == "number":
            condition["$gte"] = -math.inf
        if upper:
            condition["$lte"] = upper[first]
        within: list[dict[str, Any]] = [{first: condition}]
        for border, one, last in ((lower, "$gt", "$gt"), (upper, "$lt", "$lte")):
            if border and rest:  # An index is entered by the condition on the first field alone.
                within.append({"$or": [{first: {one: border[first]}}, {first: border[first], ID: {last: border[ID]}}]})
        return within[0] if len(within) == 1 else {"$and": within}


def _of_kind(kind: str) -> dict[str, Any]:
    if kind == "missing":
        return {"$exists": False}
    if kind == "nan":  # Not every server can be sent a NaN.
        return {"$type": "number", "$not": {"$gte": -math.inf}}
    return {"$type": kind}


def latest(kind: str, now: datetime, seconds: float = 0.0) -> Any:
    """The largest value of a kind that tells times which is old enough at this moment, in UTC. Of kinds that tell whole seconds
    all of a second has to be; where no age is asked for, the second that has begun counts as well."""
    from bson import ObjectId, Timestamp

    moment = now - timedelta(seconds=seconds)
    if kind == "date":
        return moment
    whole = int(moment.replace(tzinfo=timezone.utc).timestamp()) + (not seconds)
    return ObjectId(whole.to_bytes(4, "big") + bytes(8)) if kind == "objectId" else Timestamp(whole, 0)
