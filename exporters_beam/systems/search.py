"""OpenSearch and Elasticsearch as targets of exports: documents by their key, in bulk requests.

Facts: the bulk API answers for each document (https://docs.opensearch.org/latest/api-reference/document-apis/bulk/);
operations on one id in a request are done in their order; `external_gte` keeps a newer document and takes the same one again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.components.options import option
from exporters_beam.components.protocols import TextFormat
from exporters_beam.components.secret import hide
from exporters_beam.errors import ConfigError, DestinationError, MissingExtra, Transient
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import MISSING, Json, Key
from exporters_beam.storages.base import OnFirstUse
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions

BUSY = (408, 429, 500, 502, 503, 504)
"""Answers after which the same may go well."""

FOREIGN = ("index_not_found_exception", "security_exception", "cluster_block_exception")
"""Types of errors that are none of a document's."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions(RecordWriterOptions, OnFirstUse):
    """Options of both."""

    hosts: tuple[str, ...] = option("URLs of the servers", type="str_list", example=["https://search.example.org:9200"])
    index: str = option("the index or alias, with % dates", type="str", example="products-%Y.%m.%d")
    key: str | None = option("the field, or path like `seller.id`, that is a document's id, which replaces one that is there; "
                             "without it each record is a document of its own", type="str", default=None)  # fmt: skip
    version_field: str | None = option("the field with a document's version, an integer: one that is newer there is kept",
                                       type="str", default=None)  # fmt: skip
    pipeline: str | None = option("the ingest pipeline", type="str", default=None)
    create: dict[str, Any] | None = option("settings and mappings of the index, with which it is made where it is missing",
                                           type="dict", default=None,
                                           example={"mappings": {"properties": {"price": {"type": "double"}}}})  # fmt: skip
    user: str | None = option("name of the user", type="str", default=None)
    password: str | None = option("password of the user", type="str", default=None, secret=True, identity=False)
    api_key: str | None = option(
        "API key, in place of user and password", type="str", default=None, secret=True, identity=False
    )
    ca_file: str | None = option("certificates of authorities to trust, a PEM file", type="str", default=None, identity=False)
    timeout: int = option("seconds to wait for an answer", type="int", default=60, minimum=1, identity=False)
    size_per_buffer_write: int = option("bytes at which a batch is closed, as staged", type="int", default=8 << 20, minimum=1)

    dated: ClassVar[tuple[str, ...]] = ("delivery_id", "index")
    delivers: ClassVar[str] = "exactly once, by the id of each document"
    scheme: ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hosts:
            raise ConfigError("hosts: give at least one URL, like https://search.example.org:9200")
        for host in self.hosts:
            if not host.startswith(("http://", "https://")):
                raise ConfigError(f"hosts: {host} is no URL of a server; write https://HOST:9200")
        if self.api_key and (self.user or self.password):
            raise ConfigError("api_key: give it, or user and password, and not both")
        if self.version_field and not self.key:
            raise ConfigError("version_field: it goes with `key`: without it every record is a document of its own")

    @property
    def staged_as(self) -> TextFormat:
        return JsonFormat()

    @property
    def target(self) -> str:
        return f"{self.scheme}://{self.hosts[0].partition('://')[2].rpartition('@')[2].rstrip('/')}/{self.index}"

    def connect(self) -> Any:
        """The client."""
        raise NotImplementedError

    def bulk(self, lines: Sequence[bytes]) -> Mapping[str, Any]:
        """The answer to a bulk request of these lines."""
        raise NotImplementedError

    @property
    def client(self) -> Any:
        return self._once(self.connect)

    def reset(self) -> None:
        client = self.__dict__.pop("_made", None)
        if client is not None:
            client.close()

    close = reset

    def probe(self) -> None:
        """The server answers, knows who asks, and has the index or may make it."""
        try:
            self.client.info()
            there = self.client.indices.exists(index=self.index)
        except Exception as error:
            raise DestinationError(str(self._told(error))) from error
        if not there and self.create is None:
            raise DestinationError(f"index: there is no index {self.index} at {self.hosts[0]}; make it, or give `create`, "
                                   "the settings and mappings with which it is made")  # fmt: skip

    def begin(self, delivery: str) -> None:
        if self.create is None:
            return
        try:
            if not self.client.indices.exists(index=self.index):
                self.client.indices.create(index=self.index, body=self.create)
        except Exception as error:
            if "resource_already_exists_exception" not in str(error):
                raise self._told(error) from error

    def send(self, batch: RecordBatch) -> None:
        sent = [n for n in range(len(batch.staged)) if self._fits(batch, n)]
        lines = [line for n in sent for line in self._lines(batch, n)]
        if not lines:
            return
        try:
            answer = self.bulk(lines)
        except Exception as error:
            raise self._told(error) from error
        items = answer.get("items")
        if not isinstance(items, list) or len(items) != len(sent):
            raise DestinationError(
                f"hosts: the answer of {self.hosts[0]} to a bulk request is none: {json.dumps(answer)[:200]}"
            )
        for n, item in zip(sent, items, strict=True) if answer.get("errors") else ():
            self._look(batch, n, next(iter(item.values())))

    def complete(self, delivery: str, batches: int, records: int) -> None:
        """What was sent can be found from now on."""
        try:
            self.client.indices.refresh(index=self.index, ignore_unavailable=True)
        except Exception as error:
            raise self._told(error) from error

    def _fits(self, batch: RecordBatch, n: int) -> bool:
        """Whether a record has what its key and version need."""
        if self.key:
            value = Key.of(self.key).value(batch.records[n], MISSING)
            if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "" or len(str(value).encode()) > 512:
                batch.refuse(n, f"key: {self.key} is no text of 1 to 512 bytes and no integer")
                return False
        if self.version_field:
            value = batch.records[n].get(self.version_field)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
                batch.refuse(n, f"version_field: {self.version_field} is no integer from 0 on")
                return False
        return True

    def _lines(self, batch: RecordBatch, n: int) -> tuple[bytes, bytes]:
        told: Json = {"_id": f"{batch.delivery}-{batch.number}-{n}"}
        if self.key:
            told = {"_id": str(Key.of(self.key).value(batch.records[n]))}
        if self.version_field:
            told |= {"version": batch.records[n][self.version_field], "version_type": "external_gte"}
        if self.pipeline:
            told["pipeline"] = self.pipeline
        return json.dumps({"index": {"_index": self.index, **told}}).encode(), batch.texts[n]

    def _look(self, batch: RecordBatch, n: int, item: Mapping[str, Any]) -> None:
        """What became of one document. A newer one that is there is kept."""
        status, error = item.get("status", 0), item.get("error")
        if not error or (status == 409 and self.version_field):
            return
        kind, reason = error.get("type", ""), error.get("reason", "")
        why = (error.get("caused_by") or {}).get("reason", "")
        told = f"{kind}: {reason}" + (f": {why}" if why and why not in reason else "")
        if status in BUSY:
            raise Transient(f"{self.hosts[0]}: {told}")
        if kind in FOREIGN:
            raise DestinationError(f"index: {self.index}: {told}")
        batch.refuse(n, told)

    def _told(self, error: Exception) -> DestinationError:
        """What went wrong with a request, as one sentence."""
        if isinstance(error, (DestinationError, ConfigError)):
            return error if isinstance(error, DestinationError) else DestinationError(str(error))
        status, name = getattr(error, "status_code", None), type(error).__name__
        text = hide(" ".join(str(error).split()))[:300]
        if name in ("SSLError", "TlsError") or "CERTIFICATE_VERIFY_FAILED" in text:
            return DestinationError(f"ca_file: the certificate of {self.hosts[0]} is not trusted: {text}")
        if status == 401:
            return DestinationError(f"user: {self.hosts[0]} does not know the user, password or API key: {text}")
        if status == 403:
            return DestinationError(f"index: the user may not write to {self.index}: {text}")
        if status in BUSY or not isinstance(status, int):
            return Transient(f"hosts: {self.hosts[0]} does not answer: {text}")
        return DestinationError(f"index: {self.hosts[0]} said {status}: {text}")


@dataclass(frozen=True, kw_only=True)
class OpenSearchWriter(SearchOptions):
    """Send each record to an index of OpenSearch, by its key: a document of the same key is replaced.

    Without `key` a document's id is that of the delivery, the batch and the record, so that a batch that is sent again
    replaces itself. A document that the index does not take is refused with the server's answer; the others of its batch are
    there. With `version_field` a document that is newer there is kept.

    Example:
        writer:
          name: opensearch
          options:
            hosts: [https://search.example.org:9200]
            index: products
            key: sku
            user: export
            password: ${secret:env:SEARCH_PASSWORD}
    """

    scheme: ClassVar[str] = "opensearch"

    def connect(self) -> Any:
        try:
            from opensearchpy import OpenSearch
        except ImportError:
            raise MissingExtra("the writer opensearch", "opensearch") from None
        login: Json = {"http_auth": (self.user, self.password or "")} if self.user else {}
        login |= {"headers": {"Authorization": f"ApiKey {self.api_key}"}} if self.api_key else {}
        return OpenSearch(list(self.hosts), timeout=self.timeout, max_retries=0, ca_certs=self.ca_file, http_compress=True,
                          **login)  # fmt: skip

    def bulk(self, lines: Sequence[bytes]) -> Mapping[str, Any]:
        headers = {"content-type": "application/x-ndjson"}
        found: Mapping[str, Any] = self.client.transport.perform_request("POST", "/_bulk", body=_text(lines), headers=headers)
        return found


@dataclass(frozen=True, kw_only=True)
class ElasticsearchWriter(SearchOptions):
    """Send each record to an index of Elasticsearch, by its key: as the writer `opensearch` does.

    Example:
        writer:
          name: elasticsearch
          options: {hosts: ['https://search.example.org:9200'], index: products, key: sku, api_key: '${secret:env:API_KEY}'}
    """

    scheme: ClassVar[str] = "elasticsearch"

    def connect(self) -> Any:
        try:
            from elasticsearch import Elasticsearch
        except ImportError:
            raise MissingExtra("the writer elasticsearch", "elasticsearch") from None
        login: Json = {"basic_auth": (self.user, self.password or "")} if self.user else {}
        login |= {"api_key": self.api_key} if self.api_key else {}
        login |= {"ca_certs": self.ca_file} if self.ca_file else {}
        return Elasticsearch(list(self.hosts), request_timeout=self.timeout, max_retries=0, http_compress=True, **login)

    def bulk(self, lines: Sequence[bytes]) -> Mapping[str, Any]:
        headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
        answer = self.client.perform_request("POST", "/_bulk", headers=headers, body=_text(lines))
        found: Mapping[str, Any] = answer.body
        return found


def _text(lines: Sequence[bytes]) -> bytes:
    return b"\n".join((*lines, b""))
