"""Amazon CloudSearch as a target of exports: batches of documents by their id.

Facts: a batch is a JSON array of `{"type": "add", "id": …, "fields": …}` below 5 MB, posted to `/2013-01-01/documents/batch`;
the same id replaces what is there (https://docs.aws.amazon.com/cloudsearch/latest/developerguide/preparing-data.html). The
service is closed to new customers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, DestinationError, MissingExtra, Transient
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import MISSING
from exporters_beam.storages.base import OnFirstUse
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions

MOST_BYTES = 5_000_000
"""Bytes that a request has to stay below."""

BUSY = (408, 429, 500, 502, 503, 504, 507, 509)
"""Answers after which the same may go well."""


@dataclass(frozen=True, kw_only=True)
class CloudSearchWriter(RecordWriterOptions, OnFirstUse):
    """Send each record to a domain of Amazon CloudSearch, by its id: a document of the same id is replaced.

    With `access_key` and `secret_key` requests are signed, as a domain asks that does not let the machine's address in. A batch
    that the domain refuses ends the export: it says of no document what is wrong with it.

    Example:
        writer:
          name: cloudsearch
          options: {endpoint_url: 'https://doc-products-abc.eu-west-1.cloudsearch.amazonaws.com', id_field: sku}
    """

    endpoint_url: str = option("the domain's document endpoint", type="str",
                               example="https://doc-products-abc.eu-west-1.cloudsearch.amazonaws.com")  # fmt: skip
    id_field: str = option("the field that is a document's id", type="str", default="_key")
    access_key: str | None = option("AWS access key", type="str", default=None, env="EXPORTERS_CLOUDSEARCH_ACCESS_KEY",
                                    secret=True, identity=False)  # fmt: skip
    secret_key: str | None = option("AWS secret key", type="str", default=None, env="EXPORTERS_CLOUDSEARCH_SECRET_KEY",
                                    secret=True, identity=False)  # fmt: skip
    region: str | None = option("AWS region, where the endpoint's name does not hold it", type="str", default=None)

    delivers: ClassVar[str] = "exactly once, by the id of each document"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.endpoint_url.startswith(("http://", "https://")):
            raise ConfigError(f"endpoint_url: {self.endpoint_url} is no URL; write https://doc-….cloudsearch.amazonaws.com")
        if bool(self.access_key) != bool(self.secret_key):
            raise ConfigError("access_key: give it together with `secret_key`, or none of them")

    @property
    def target(self) -> str:
        return self.endpoint_url.rstrip("/")

    def send(self, batch: RecordBatch) -> None:
        for body in self._requests(batch):
            self._post(body)

    def close(self) -> None:
        client = self.__dict__.pop("_made", None)
        if client is not None:
            client.close()

    reset = close

    def _requests(self, batch: RecordBatch) -> Iterator[bytes]:
        """The bodies of the requests that hold the batch."""
        waiting: list[bytes] = []
        size = 2
        for n, record in enumerate(batch.records):
            value = record.get(self.id_field, MISSING)
            if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
                batch.refuse(n, f"id_field: {self.id_field} is no text and no integer")
                continue
            entry = JsonFormat().format({"type": "add", "id": value, "fields": record})
            if len(entry) + 2 >= MOST_BYTES:
                batch.refuse(n, f"it takes {len(entry):,} bytes; a request has to stay below {MOST_BYTES:,}")
                continue
            if size + len(entry) + 1 >= MOST_BYTES:
                yield b"[" + b",".join(waiting) + b"]"
                waiting, size = [], 2
            waiting.append(entry)
            size += len(entry) + 1
        if waiting:
            yield b"[" + b",".join(waiting) + b"]"

    def _post(self, body: bytes) -> None:
        import httpx

        client = self._once(lambda: httpx.Client(timeout=60))
        url = f"{self.target}/2013-01-01/documents/batch"
        headers = {"Content-Type": "application/json", **self._signed(url, body)}
        try:
            answer = client.post(url, content=body, headers=headers)
        except httpx.TransportError as error:
            raise Transient(f"endpoint_url: {self.target} does not answer: {error}") from error
        if answer.is_success:
            return
        said = " ".join(answer.text.split())[:300]
        if answer.status_code in BUSY:
            raise Transient(f"endpoint_url: {self.target} said {answer.status_code}: {said}")
        what = "access_key" if answer.status_code in (401, 403) else "endpoint_url"
        raise DestinationError(f"{what}: {self.target} said {answer.status_code}: {said}")

    def _signed(self, url: str, body: bytes) -> dict[str, str]:
        if not self.access_key or not self.secret_key:
            return {}
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import Credentials
        except ImportError:
            raise MissingExtra("the writer cloudsearch, for signed requests,", "cloudsearch") from None
        named = [part for part in self.endpoint_url.split(".") if part.count("-") == 2]
        region = self.region or (named[0] if named else "us-east-1")
        request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
        SigV4Auth(Credentials(self.access_key, self.secret_key), "cloudsearch", region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name != "Content-Type"}
