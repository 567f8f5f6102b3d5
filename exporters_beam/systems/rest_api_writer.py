"""Records to HTTP APIs that take them as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, DestinationError, RecordError, Transient
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.systems.rest_api import ApiError, ApiOptions, at_path, place
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions

ARRAY, LINES, OBJECT = BODIES = ("array", "lines", "object")
"""What a request holds: an array of records, a record a line, or one record alone."""

AT_FAULT = (400, 413, 422)
"""What an API says of a request in which a record is at fault; 409 of a record that goes alone."""

_JSON = JsonFormat()


class Text(NamedTuple):
    """A record as JSON, and its number in the batch."""

    n: int
    json: bytes


@dataclass(frozen=True, kw_only=True)
class RestApiWriter(RecordWriterOptions, ApiOptions):
    """Send records to an HTTP API that takes JSON, so many in a request.

    `body` says what a request holds: an `array`, which `inside` puts into an object under that name; a record a line
    (`lines`); or one record alone (`object`). Every request has the header `Idempotency-Key`, or what `key_header` names: the
    same for the same records whenever they are sent again. An API that heeds it takes them once; any other may get a request
    twice whose answer was lost.

    Where an answer tells what records it has not taken, `refused` is the path to the list of these; each has the record's
    number in the request, from 0, at `refused_number` and a reason at `refused_reason`. A request that is answered with 400,
    409, 413 or 422 is halved until the record at fault is found, unless `halve` is false: it is for APIs that take a request
    whole or not at all. Values are written as the format `json` writes them.

    Example:
        writer:
          name: rest_api
          options: {url: 'https://api.example.org/v1/products/bulk', bearer: '${secret:env:TOKEN}'}
    """

    delivers: ClassVar[str] = "exactly once where the API heeds the Idempotency-Key, else at least once"

    items_per_buffer_write: int = option("most records in a request", type="int", default=500, minimum=1)
    method: str = option("method of the requests", default="POST", choices=("POST", "PUT", "PATCH"))
    body: str = option("what a request holds", default=ARRAY, choices=BODIES)
    inside: str | None = option("name under which the array stands in an object", default=None, example="items")
    key_header: str = option("header that tells a request from others; empty: none", default="Idempotency-Key")
    refused: str | None = option("path to the list of records in an answer that were not taken", default=None, example="errors")
    refused_number: str = option("path in each of these to the record's number in the request", default="index")
    refused_reason: str = option("path in each of these to the reason", default="message")
    halve: bool = option("find the record at fault by sending halves of a request that is refused", type="bool", default=True)

    def __post_init__(self) -> None:
        RecordWriterOptions.__post_init__(self)
        ApiOptions.__post_init__(self)
        if self.inside is not None and self.body != ARRAY:
            raise ConfigError(f"inside: it is for the body `array`, not `{self.body}`")

    @property
    def target(self) -> str:
        return place(self.url)

    def send(self, batch: RecordBatch) -> None:
        texts: list[Text] = []
        for n, record in enumerate(batch.records):
            try:
                texts.append(Text(n, _JSON.format(record)))
            except RecordError as error:
                batch.refuse(n, str(error))
        if self.body == OBJECT:
            for text in texts:
                self._send(batch, [text], f"-{text.n}")
        elif texts:
            self._send(batch, texts, "")

    def _send(self, batch: RecordBatch, texts: Sequence[Text], part: str) -> None:
        headers = {"Content-Type": "application/x-ndjson" if self.body == LINES else "application/json"}
        if self.key_header:
            headers[self.key_header] = f"{batch.delivery}-{batch.number}{part}"
        try:
            answer = self.call(self.method, self.address({}), self._body(texts), headers)
            told = at_path(answer.json(), self.refused) if self.refused is not None and answer.text.strip() else None
        except ApiError as error:
            if error.passing:
                raise Transient(str(error), error.after) from error
            known = (*AT_FAULT, 409) if self.body == OBJECT else AT_FAULT
            if error.status not in known or (len(texts) > 1 and not self.halve):
                raise DestinationError(str(error)) from error
            if len(texts) == 1:
                batch.refuse(texts[0].n, str(error))
                return
            half = len(texts) // 2
            self._send(batch, texts[:half], f"{part}-a")
            self._send(batch, texts[half:], f"{part}-b")
            return
        self._refuse(batch, texts, told)

    def _refuse(self, batch: RecordBatch, texts: Sequence[Text], told: Any) -> None:
        """Sets aside the records of a request that its answer names."""
        if told is None:
            return
        for each in told if isinstance(told, list) else [told]:
            number = at_path(each, self.refused_number)
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(texts):
                raise DestinationError(f"refused_number: the API has refused a record, and its answer names none of the "
                                       f"{len(texts):,} by {self.refused_number!r}: {each!r:.200}")  # fmt: skip
            reason = at_path(each, self.refused_reason)
            batch.refuse(texts[number].n, f"the API said {each if reason is None else reason!s:.300}")

    def _body(self, texts: Sequence[Text]) -> bytes:
        if self.body == OBJECT:
            return texts[0].json
        if self.body == LINES:
            return b"".join(text.json + b"\n" for text in texts)
        array = b"[" + b",".join(text.json for text in texts) + b"]"
        return array if self.inside is None else b"{" + _JSON.format(self.inside) + b":" + array + b"}"
