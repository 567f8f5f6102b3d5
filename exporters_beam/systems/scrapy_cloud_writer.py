"""Records into a collection of Scrapy Cloud, and the result of a fold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, DestinationError, RecordError, Transient
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import DeliveredFile, PlannedFile, Record
from exporters_beam.storages.base import OnFirstUse
from exporters_beam.systems.scrapy_cloud import Cloud, CloudError, check_place, collections_of
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions
from exporters_beam.writers.reduce import ReduceWriter

MOST = 1 << 20
"""Bytes that the service takes as one record."""

REQUEST_BYTES, REQUEST_RECORDS = MOST, 1000
"""What is sent in one request at most; a record is never cut."""

ATTEMPTS = 10

AT_FAULT = (400, 413, 422)
"""What the service says of a request in which a record is at fault; it does not say which."""

_JSON = JsonFormat()

_URL = re.compile(r".*\.(?:scrapinghub|zyte)\.com/p/(?P<project>\d+)/collections/s/(?P<name>\w+)/?\Z")


class Line(NamedTuple):
    """A record as it is sent, and its number in the batch."""

    n: int
    text: bytes


@dataclass(frozen=True, kw_only=True)
class ScrapyCloudWriter(RecordWriterOptions, OnFirstUse):
    """Store each record in a collection of Scrapy Cloud, under the value of its `key_field`.

    A record whose key is there already takes the place of the one that is there; of two records with one key the later one
    stays. So a batch that is sent again changes nothing but the time of writing. The collection is made with its first record.

    Records go in requests of less than 1 MiB. A record without a key, or one that has more than 1 MiB, fails, and so does
    what the service refuses: it is found by halving the request. Keys are texts; whole numbers become texts. Values are
    written as the format `json` writes them. Needs the extra `scrapy-cloud`.

    Example:
        writer:
          name: scrapy_cloud
          options: {apikey: '${secret:env:SHUB_APIKEY}', project_id: 78, collection_name: products, key_field: sku}
    """

    delivers: ClassVar[str] = "exactly once: a record that is sent again takes its own place"

    apikey: str = option("key of the service", env=("SHUB_APIKEY", "EXPORTERS_HS_APIKEY"), secret=True)
    project_id: int | str = option("number of the project", type="int|str", example=78)
    collection_name: str = option("the collection to store in", example="products")
    collection_type: str = option("s: store, cs: cached, vs: versioned, vcs: versioned and cached", default="s",
                                  choices=("s", "cs", "vs", "vcs"))  # fmt: skip
    key_field: str = option("the field whose value is the key", default="_key")
    endpoint: str | None = option("address of the service", default=None, env="SHUB_STORAGE")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_place(self.project_id, self.collection_name, self.collection_type)

    @property
    def cloud(self) -> Cloud:
        """The service, opened on first use. The engine tries batches again."""
        return self._once(lambda: Cloud(self.apikey, self.endpoint, 1, "the writer scrapy_cloud"))

    @property
    def path(self) -> str:
        return f"collections/{self.project_id}/{self.collection_type}/{self.collection_name}"

    @property
    def target(self) -> str:
        return f"scrapy-cloud://{self.project_id}/{self.collection_type}/{self.collection_name}"

    def probe(self) -> None:
        """Looks whether the key may see the project. That it may write there shows when it does."""
        try:
            collections_of(replace(self.cloud, attempts=3), self.project_id, self.collection_type)
        except CloudError as error:
            raise DestinationError(str(error)) from error

    def send(self, batch: RecordBatch) -> None:
        lines: list[Line] = []
        for n, record in enumerate(batch.records):
            try:
                lines.append(Line(n, line_of(record, self.key_field)))
            except RecordError as error:
                batch.refuse(n, str(error))
        size, first = 0, 0
        for at, line in enumerate(lines):
            if at > first and (size + len(line.text) + 1 > REQUEST_BYTES or at - first == REQUEST_RECORDS):
                self._store(batch, lines[first:at])
                size, first = 0, at
            size += len(line.text) + 1
        if lines:
            self._store(batch, lines[first:])

    def _store(self, batch: RecordBatch, lines: Sequence[Line]) -> None:
        try:
            self.cloud.store(self.path, [line.text for line in lines])
        except CloudError as error:
            if error.passing:
                raise Transient(str(error), error.after) from error
            if error.status not in AT_FAULT:
                raise DestinationError(str(error)) from error
            if len(lines) == 1:
                batch.refuse(lines[0].n, str(error))
                return
            half = len(lines) // 2
            self._store(batch, lines[:half])
            self._store(batch, lines[half:])

    def reset(self) -> None:
        self.cloud.reset()

    close = reset


@dataclass(frozen=True, kw_only=True)
class ScrapyCloudReduceWriter(ReduceWriter, OnFirstUse):
    """Fold all records as `reduce` does, and store the result in a collection of Scrapy Cloud under a key.

    It is stored after every 10,000 records, with the field `_finished` false, and at the end, with `_finished` true. A
    result that is an object is stored as it is, any other as the field `value`. A fold that is killed begins anew when the
    export is resumed. Needs the extra `scrapy-cloud`.

    Example:
        writer:
          name: scrapy_cloud_reduce
          options:
            apikey: '${secret:env:SHUB_APIKEY}'
            collection_url: https://app.scrapinghub.com/p/78/collections/s/totals
            key: stock
            code: |
              def reduce_function(item, accumulator=None):
                  return (accumulator or 0) + item["stock"]
    """

    tells_nothing: ClassVar[bool] = True

    apikey: str = option("key of the service", env=("SHUB_APIKEY", "EXPORTERS_HS_APIKEY"), secret=True)
    collection_url: str = option("where the collection is shown: …/p/PROJECT/collections/s/NAME",
                                 example="https://app.scrapinghub.com/p/78/collections/s/totals")  # fmt: skip
    key: str = option("the key of the result", example="stock")
    endpoint: str | None = option("address of the service", default=None, env="SHUB_STORAGE")
    attempts: int = field(default=ATTEMPTS, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if _URL.match(self.collection_url) is None:
            raise ConfigError(f"collection_url: {self.collection_url!r} is not the address of a collection; write "
                              "https://app.scrapinghub.com/p/PROJECT/collections/s/NAME")  # fmt: skip

    @property
    def cloud(self) -> Cloud:
        """The service, opened on first use."""
        return self._once(lambda: Cloud(self.apikey, self.endpoint, self.attempts, "the writer scrapy_cloud_reduce"))

    @property
    def _place(self) -> tuple[str, str]:
        found = _URL.match(self.collection_url)
        assert found is not None
        return found["project"], found["name"]

    def probe(self) -> None:
        """Looks whether the key may see the project."""
        try:
            collections_of(self.cloud, self._place[0], "s")
        except CloudError as error:
            raise DestinationError(str(error)) from error

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        result = self.folded(fill, lambda so_far: self._tell(so_far, False))
        self._tell(result, True)
        return DeliveredFile(file.name, file.group, file.records, 0, "", result)

    def _tell(self, result: Any, finished: bool) -> None:
        project, name = self._place
        record = {**(result if isinstance(result, Mapping) else {"value": result}), "_finished": finished, "_key": self.key}
        try:
            text = line_of(record, "_key")
            self.cloud.patiently(lambda: self.cloud.store(f"collections/{project}/s/{name}", [text]))
        except RecordError as error:
            raise DestinationError(f"code: what reduce_function returns cannot be stored: {error}") from error
        except CloudError as error:
            raise DestinationError(f"the result cannot be stored: {error}") from error


def line_of(record: Record, key_field: str) -> bytes:
    """A record as a line of JSON, with its key. Raises RecordError where it cannot be stored."""
    key = record.get(key_field)
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str) or not key:
        found = "it is not there" if key_field not in record else f"{key!r:.80} is no text"
        raise RecordError(f"key_field: the field {key_field!r} is the key, and {found if key != '' else 'it is empty'}")
    text = _JSON.format({**record, "_key": key})
    if len(text) > MOST:
        raise RecordError(f"it has {len(text):,} bytes as JSON; the service takes {MOST:,}")
    return text
