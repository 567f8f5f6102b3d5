"""Values of MongoDB as values of records, and back.

BSON is decoded by pymongo's own code in C, which asks a table of types for what is to become of a value; so documents need not
be walked through once more. What JSON and Python have no type for becomes an object of Extended JSON
(https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timezone
from decimal import Decimal
from functools import cache, partial
from typing import Any

from exporters_beam.components.words import one_line
from exporters_beam.errors import RecordError
from exporters_beam.records import Record, Undecoded


@cache
def decoding(extended: bool) -> Any:
    """The options by which documents are decoded. What Python does not know becomes Extended JSON, and with `extended` what
    JSON does not know."""
    from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
    from bson.binary import UuidRepresentation
    from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
    from bson.datetime_ms import DatetimeMS
    from bson.json_util import RELAXED_JSON_OPTIONS, default

    in_json = partial(default, json_options=RELAXED_JSON_OPTIONS)
    made: dict[type, Callable[[Any], Any]] = dict.fromkeys((Code, MaxKey, MinKey, Regex, Timestamp, DatetimeMS), in_json)
    made |= {Int64: int, DBRef: lambda value: dict(value.as_doc())}
    if extended:
        made |= dict.fromkeys((ObjectId, Decimal128, Binary, bytes), in_json)
        made[datetime] = lambda value: in_json(value.replace(tzinfo=timezone.utc))
    else:
        made |= {ObjectId: str, Decimal128: Decimal128.to_decimal, Binary: bytes}
        made[datetime] = partial(_in_utc)
    decoders = []
    for kind, make in made.items():
        members = {"bson_type": kind, "transform_bson": staticmethod(make)}
        decoders.append(type(f"{kind.__name__}Decoder", (TypeDecoder,), members)())
    uuids = UuidRepresentation.UNSPECIFIED if extended else UuidRepresentation.STANDARD
    return CodecOptions(
        type_registry=TypeRegistry(decoders),
        uuid_representation=uuids,
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    )


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=timezone.utc)


def decoded(raw: bytes, extended: bool) -> list[Record | Undecoded]:
    """The documents of a batch as records. What cannot be decoded is a failure of its record."""
    from bson import decode_all
    from bson.errors import BSONError

    options = decoding(extended)
    try:
        return decode_all(raw, options)
    except (BSONError, ValueError, ArithmeticError, RecursionError):
        return [_alone(document, options) for document in documents(raw)]


def documents(raw: bytes) -> Iterator[bytes]:
    """The documents of a batch: each begins with its length."""
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        yield raw[at : at + size]
        at += size


def _alone(document: bytes, options: Any) -> Record | Undecoded:
    from bson import decode
    from bson.errors import BSONError
    from bson.json_util import dumps

    try:
        return decode(document, options)
    except (BSONError, ValueError, ArithmeticError, RecursionError) as error:
        said = one_line(str(error), 200)
    try:
        text = dumps(decode(document, options.with_options(unicode_decode_error_handler="backslashreplace")))
    except (BSONError, ValueError, TypeError, ArithmeticError, RecursionError):
        text = base64.b64encode(document).decode()
    return Undecoded(text, f"the document cannot be decoded: {said}")


# Keys, which stand between ranges


@cache
def _exact() -> Any:
    from bson.codec_options import CodecOptions, DatetimeConversion

    return CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


def key_of(document: bytes, names: Sequence[str]) -> bytes | None:
    """The values that a document has at these paths, as a document of its own; None where one is not there."""
    from bson import decode, encode

    found = decode(document, _exact())
    values = {}
    for name in names:
        value: Any = found
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                return None
            value = value[part]
        values[name] = value
    return encode(values, codec_options=_exact())


def values_of(document: bytes) -> dict[str, Any]:
    """The values of such a document by their paths, as a server compares them. `_id` stands first in it, whatever the order."""
    from bson import decode

    return decode(document, _exact())


def value_of(document: bytes) -> Any:
    """The only value of a document, as a server compares it."""
    (value,) = values_of(document).values()
    return value


# Records as documents


@cache
def encoding() -> Any:
    """The options by which records are encoded."""
    from bson.binary import UuidRepresentation
    from bson.codec_options import CodecOptions, TypeRegistry

    return CodecOptions(uuid_representation=UuidRepresentation.STANDARD, type_registry=TypeRegistry(fallback_encoder=_encoded))


def _encoded(value: Any) -> Any:
    """What BSON has for a value of a type that pymongo does not know. Dates are midnight in UTC, times of day text."""
    if isinstance(value, Decimal):
        return decimal128(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, int):
        return decimal128(Decimal(value))
    raise RecordError(f"{one_line(repr(value), 60)} is of a type that MongoDB has not: {type(value).__name__}")


def decimal128(value: Decimal) -> Any:
    """A decimal of 128 bits. Raises RecordError for one with more digits than it holds."""
    from bson import Decimal128
    from bson.decimal128 import create_decimal128_context

    with_all = create_decimal128_context()
    made = with_all.create_decimal(value)
    if made != value and value == value:
        raise RecordError(f"{str(value)[:60]} has more digits than the 34 that MongoDB's decimals hold")
    return Decimal128(made)


def document_of(record: Record, extended: bool) -> bytes:
    """A record as a document of BSON. Raises RecordError where it cannot be one."""
    encode, options = _encoder()
    try:
        return encode(_of_extended(record) if extended else record, False, options)
    except RecordError:
        raise
    except OverflowError:
        pass
    except _wrong() as error:
        raise RecordError(one_line(str(error), 300)) from None
    try:
        return encode(_without_large(_of_extended(record) if extended else record), False, options)
    except _wrong() as error:
        raise RecordError(one_line(str(error), 300)) from None


@cache
def _encoder() -> tuple[Callable[[Record, bool, Any], bytes], Any]:
    from bson import encode

    return encode, encoding()


@cache
def _wrong() -> tuple[type[Exception], ...]:
    """What the client raises of values."""
    from bson.errors import BSONError

    return (BSONError, ValueError, TypeError, ArithmeticError, RecursionError)


def _of_extended(value: Any) -> Any:
    """Values in the place of objects of Extended JSON. Raises RecordError."""
    from bson.codec_options import DatetimeConversion
    from bson.errors import BSONError
    from bson.json_util import JSONOptions, object_hook

    options: Any = JSONOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)

    def inside(value: Any) -> Any:
        if isinstance(value, dict):
            return object_hook({name: inside(each) for name, each in value.items()}, options)
        if isinstance(value, (list, tuple)):
            return [inside(each) for each in value]
        return value

    try:
        return inside(value)
    except (BSONError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise RecordError(f"it has what is not Extended JSON: {one_line(str(error), 200)}") from None


def _without_large(value: Any) -> Any:
    """Decimals in the place of integers of more than 64 bits."""
    if isinstance(value, dict):
        return {name: _without_large(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_large(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63:
        return decimal128(Decimal(value))
    return value
