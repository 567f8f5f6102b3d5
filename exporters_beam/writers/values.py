"""Records as bytes that give the same records back, types included: how they are staged for writers that take values.

MessagePack holds what JSON holds, bytes and NaN exactly; what it has no type for becomes one of its extensions. Equal records
of equal types and order give equal bytes in whatever process, so that a digest of the bytes tells them apart; sets do not.
Lines of JSON that nothing changes are staged as they came: no record in MessagePack begins with a brace.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, timezone
from decimal import Decimal
from itertools import repeat
from typing import Any, ClassVar
from uuid import UUID

import ormsgpack

from exporters_beam.errors import RecordError
from exporters_beam.formats.json_lines import parse, parse_all
from exporters_beam.records import Record

PICKLED, DECIMAL, DATETIME, DATE, LARGE, UNIQUE = range(6)
"""Numbers of the extensions."""

_OPTIONS = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

_MAKERS: dict[int, Any] = {
    PICKLED: pickle.loads,
    DECIMAL: lambda data: Decimal(data.decode()),
    DATETIME: lambda data: datetime.fromisoformat(data.decode()),
    DATE: lambda data: date.fromisoformat(data.decode()),
    LARGE: lambda data: int.from_bytes(data, "little", signed=True),
    UNIQUE: lambda data: UUID(bytes=data),
}


def pack(record: Record) -> bytes:
    """A record as bytes; whatever it holds that can be pickled. A bytearray comes back as bytes."""
    try:
        return ormsgpack.packb(record, _extended, _OPTIONS)
    except ormsgpack.MsgpackEncodeError:  # keys that are no texts, lone surrogates, deep nesting
        return ormsgpack.packb(ormsgpack.Ext(PICKLED, _pickled(record)))


def unpack(data: bytes) -> Record:
    """The record of these bytes, or of this line of JSON."""
    if data[:1] == b"{":
        return parse(data)
    record: Record = ormsgpack.unpackb(data, ext_hook=_made)
    return record


def unpack_all(staged: Sequence[bytes]) -> list[Record]:
    """The records of these, faster than one by one."""
    lines = sum(map(bytes.startswith, staged, repeat(b"{")))
    with suppress(ormsgpack.MsgpackDecodeError, RecordError):  # One is nested as deep as may be, or beyond what is fast.
        if lines == len(staged):
            return parse_all(staged)
        if not lines:
            array = b"".join((b"\xdd", len(staged).to_bytes(4, "big"), *staged))
            records: list[Record] = ormsgpack.unpackb(array, ext_hook=_made)
            return records
    return list(map(unpack, staged))


def _extended(value: Any) -> ormsgpack.Ext:
    kind = type(value)
    if kind is Decimal:
        return ormsgpack.Ext(DECIMAL, str(value).encode())
    if kind is datetime and not value.fold and (value.tzinfo is None or value.tzinfo is timezone.utc):
        return ormsgpack.Ext(DATETIME, value.isoformat().encode())
    if kind is date:
        return ormsgpack.Ext(DATE, value.isoformat().encode())
    if kind is int:
        return ormsgpack.Ext(LARGE, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
    if kind is UUID:
        return ormsgpack.Ext(UNIQUE, value.bytes)
    return ormsgpack.Ext(PICKLED, _pickled(value))


def _made(number: int, data: bytes) -> Any:
    return _MAKERS[number](data)


def _pickled(value: Any) -> bytes:
    out = io.BytesIO()
    pickler = pickle.Pickler(out, 5)
    pickler.fast = True  # Else it depends on which objects are the same, not only on what they equal.
    try:
        pickler.dump(value)
    except ValueError:  # It is in a circle.
        return pickle.dumps(value, 5)
    return out.getvalue()


class Values:
    """Records as Python values: types are kept."""

    kind: ClassVar[str] = "formatter"
    extension = ""
    header = footer = b""
    separator = b"\n"
    stages_lines: ClassVar[bool] = True

    def format(self, record: Record) -> bytes:
        return pack(record)

    def format_all(self, records: Sequence[Record]) -> list[bytes]:
        try:
            return list(map(ormsgpack.packb, records, repeat(_extended), repeat(_OPTIONS)))
        except ormsgpack.MsgpackEncodeError:
            return list(map(pack, records))
