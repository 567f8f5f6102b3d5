"""What stands in messages of Kafka and of queues, as records: JSON, Avro with a schema registry, msgpack, text, bytes."""

from __future__ import annotations

import base64
import importlib
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from exporters_beam.components.secret import hide
from exporters_beam.components.words import kind_of, one_line
from exporters_beam.errors import DestinationError, MissingExtra, RecordError, SourceError, Transient
from exporters_beam.formats.json_lines import parse
from exporters_beam.records import Record, Undecoded

VALUES = ("json", "avro", "msgpack", "text", "bytes")

_all_of: Callable[[bytes], list[Record]] = msgspec.json.Decoder(dict).decode_lines

Decode = Callable[[bytes], Record]
"""The record that a value is. Raises RecordError, and MessageFault where the registry does not answer."""


class MessageFault(Exception):
    """What a service refused: the option that is to blame ("" where none is), why, and the error's name in the client
    library. `passing`: it may go next time."""

    def __init__(self, option: str, text: str, code: str = "", passing: bool = False) -> None:
        self.option, self.text, self.code, self.passing = option, hide(text), code, passing
        super().__init__(f"option {option}: {self.text}" if option else self.text)


@contextmanager
def source() -> Iterator[None]:
    """Where what a service refuses is an error of the input."""
    try:
        yield
    except MessageFault as error:
        raise SourceError(str(error)) from None


@contextmanager
def target() -> Iterator[None]:
    """Where what a service refuses is an error of the destination."""
    try:
        yield
    except MessageFault as error:
        raise (Transient if error.passing else DestinationError)(str(error)) from None


VALUE = "message"
"""What holds the value of a message that is no record, beside the fields that are wanted, in a dead letter."""


def as_text(value: bytes) -> object:
    """Bytes as JSON may hold them."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def records_of(values: Sequence[bytes], one: Decode) -> list[Record | Undecoded]:
    """The record of each value, in order."""
    found: list[Record | Undecoded] = []
    if one is parse:
        # Within JSON no object follows another with nothing but white space between, so these are as many as there are values
        # only where each value is one.
        if all(value[:1] == b"{" and value[-1:] == b"}" for value in values):
            try:
                found += _all_of(b"\n".join(values))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                found = []
        if len(found) == len(values):
            return found
        found = []
    for value in values:
        try:
            found.append(one(value))
        except RecordError as error:
            found.append(Undecoded(value, str(error)))
    return found


def decoder(values: str, name: str, registry: Registry | None) -> Decode:
    """What makes records of values. `name` is the field that holds a value that is none by itself."""
    if values == "json":
        return parse
    if values == "msgpack":
        return _of_msgpack()
    if values == "zlib_msgpack":
        unpack = _of_msgpack()
        return lambda value: unpack(_inflated(value))
    if values == "avro":
        assert registry is not None
        return registry.decode
    if values == "text":
        return lambda value: {name: text_of(value)}
    return lambda value: {name: value}


def text_of(value: bytes) -> str:
    """Raises RecordError."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"not valid UTF-8: byte 0x{value[error.start]:02x} at byte {error.start + 1}") from None


def _of_msgpack() -> Decode:
    try:
        msgpack = importlib.import_module("msgpack")
    except ImportError:
        raise MissingExtra("values: msgpack", "kafka") from None

    def unpacked(value: bytes) -> Record:
        try:
            found = msgpack.unpackb(value, raw=False, timestamp=3)
        except Exception as error:  # of many kinds, each of which says that it is not msgpack
            raise RecordError(f"not valid msgpack: {one_line(str(error), 200) or type(error).__name__}") from None
        if type(found) is not dict or not all(type(key) is str for key in found):
            what = "a mapping whose keys are not all texts" if type(found) is dict else kind_of(found)
            raise RecordError(f"not a mapping of msgpack with texts as keys but {what}")
        return found

    return unpacked


def _inflated(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error as error:
        raise RecordError(f"not compressed with zlib: {error}") from None


@dataclass
class Registry:
    """A schema registry with Confluent's REST interface. Values begin with a zero byte and the number of their schema."""

    url: str
    user: str | None
    password: str | None = field(repr=False)
    seconds: float
    _schemas: dict[int, Any] = field(default_factory=dict, repr=False)

    def decode(self, value: bytes) -> Record:
        """Raises RecordError, MessageFault."""
        import fastavro

        if len(value) < 5 or value[0] != 0:
            raise RecordError("not Avro as schema registries have it: the value does not begin with the number of a schema")
        schema = self.schema(int.from_bytes(value[1:5], "big"))
        try:
            stream = io.BytesIO(value)
            stream.seek(5)
            found = fastavro.schemaless_reader(stream, schema, None)
        except Exception as error:  # whatever bytes make of it that are not of this schema
            raise RecordError(f"not Avro of its schema: {one_line(str(error), 200) or type(error).__name__}") from None
        if type(found) is not dict:
            raise RecordError(f"not an Avro record but {kind_of(found)}")
        return found

    def schema(self, number: int) -> Any:
        """The schema of a number. Raises RecordError where there is none, MessageFault."""
        import fastavro

        if number not in self._schemas:
            found = self._ask("GET", f"/schemas/ids/{number}")
            if found is None:
                raise RecordError(f"the registry has no schema {number}")
            if found.get("schemaType", "AVRO") != "AVRO":
                raise RecordError(f"the schema {number} is one of {found['schemaType']}, not Avro")
            named: dict[str, Any] = {}
            self._references(found, named)
            self._schemas[number] = fastavro.parse_schema(json.loads(found["schema"]), named)
        return self._schemas[number]

    def _references(self, found: Mapping[str, Any], named: dict[str, Any]) -> None:
        """Parses the schemas that one refers to before it."""
        import fastavro

        for each in found.get("references") or ():
            other = self._ask("GET", f"/subjects/{quote(each['subject'], safe='')}/versions/{each['version']}")
            if other is None:
                raise RecordError(f"the registry has no version {each['version']} of {each['subject']}")
            self._references(other, named)
            fastavro.parse_schema(json.loads(other["schema"]), named)

    def register(self, subject: str, schema: str) -> int:
        """The number of a schema, made where it is new."""
        found = self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", {"schema": schema})
        if found is None:
            raise MessageFault("registry", f"{self.url} has no subject {subject}")
        return int(found["id"])

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any] | None:
        """What the registry answers; None where it has no such thing (404)."""
        import httpx

        login = httpx.BasicAuth(self.user, self.password or "") if self.user else None
        try:
            answer = httpx.request(method, self.url.rstrip("/") + path, json=body, auth=login, timeout=self.seconds)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MessageFault("registry", f"{self.url} cannot be asked ({one_line(str(error), 200)})", passing=True) from None
        if answer.status_code == 404:
            return None
        if answer.status_code in (401, 403):
            raise MessageFault("registry_user", f"{self.url} does not let this user in (it answered {answer.status_code})")
        if answer.status_code >= 400:
            said = one_line(answer.text, 200)
            raise MessageFault("registry", f"{self.url} refused ({answer.status_code}: {said})",
                             passing=answer.status_code >= 500)  # fmt: skip
        try:
            return dict(answer.json())
        except (ValueError, TypeError):
            raise MessageFault("registry", f"{self.url} is not a schema registry: its answer is not JSON") from None


class Entry(NamedTuple):
    """A message to send to a queue, the number of its record in the batch, and its bytes as requests count them."""

    n: int
    message: dict[str, Any]
    size: int


def in_requests(entries: Iterable[Entry], most: int, most_bytes: int) -> Iterator[list[Entry]]:
    """Entries in order, so many in a request as go into it."""
    request: list[Entry] = []
    size = 0
    for entry in entries:
        if request and (len(request) == most or size + entry.size > most_bytes):
            yield request
            request, size = [], 0
        request.append(entry)
        size += entry.size
    if request:
        yield request
