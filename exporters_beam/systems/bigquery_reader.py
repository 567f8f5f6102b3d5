"""The reader `bigquery`: rows of a table or of a query, by the BigQuery Storage Read API.

Facts (https://cloud.google.com/bigquery/docs/reference/storage): a session reads a table as it was when the session was made,
or at its `snapshot_time`; it lives for six hours. In one session a stream gives the same rows in the same order whenever it is
read; in another session it does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, MissingExtra, SourceError
from exporters_beam.records import Record, Unit
from exporters_beam.systems.bigquery import BigQueryError, BigQueryOptions, JobErrors, TableName, fields_of, waited
from exporters_beam.systems.bigquery_values import Nested, converter, json_columns

RANGE_ROWS, BATCH = 50_000, 500

RETRY_SECONDS, FIRST_WAIT = 120.0, 0.5
"""How long the clients ask again where BigQuery does not answer, and the seconds before they do so at first."""

TABLES = ("TABLE", "SNAPSHOT", "CLONE", "")
"""Types of tables that can be read as they are."""


class Clients(NamedTuple):
    rest: Any
    storage: Any


class Stream(NamedTuple):
    """What a unit reads."""

    name: str
    expires: float
    json: Nested

    @staticmethod
    @lru_cache(maxsize=64)
    def of(text: str) -> Stream:
        return Stream(*json.loads(text))


@dataclass(frozen=True, kw_only=True)
class BigQueryReader(BigQueryOptions):
    """Read a table of BigQuery, or what a query gives, through the BigQuery Storage Read API: a record for each row.

    All is read as it was at one moment: when the export began, or at `snapshot_time`. BigQuery cuts the rows into streams,
    which workers share; ranges are 50,000 rows of a stream. The session that reads them lives for six hours, in which all has
    to be read; a run that goes on later is refused, since another session gives rows in another order. Values keep their
    types: NUMERIC and BIGNUMERIC are decimals, JSON is the value, RECORD an object, REPEATED a list.

    Example:
        reader:
          name: bigquery
          options:
            table: shop.sales.orders
            columns: [id, customer, total]
            row_filter: total > 100
            credentials: ${secret:env:BIGQUERY_KEY}
    """

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True

    table: str | None = option("the table, as project.dataset.table", type="str", default=None, example="shop.sales.orders")
    query: str | None = option("a query in GoogleSQL instead of a table; views are read so", type="str", default=None)
    columns: tuple[str, ...] = option("the columns to read; by default all", type="str_list", default=())
    row_filter: str | None = option("a condition in SQL that rows of the table have to meet", type="str", default=None,
                                    example="total > 100")  # fmt: skip
    snapshot_time: str | None = option("read the table as it was then, up to seven days ago; UTC where it names no zone",
                                       type="str", default=None, example="2026-11-30T06:00:00Z")  # fmt: skip
    streams: int = option("most streams; 1 keeps the order of a query with ORDER BY; 0: as BigQuery says", type="int",
                          default=0, minimum=0)  # fmt: skip
    storage_endpoint: str | None = option("another server than Google's for the Storage Read API, e.g. http://localhost:9060",
                                          type="str", default=None)  # fmt: skip
    now: str = field(default="", repr=False, compare=False)
    attempts: int = field(default=5, repr=False, compare=False)
    """1 where `disable_retries` stands in the config."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.table is None) == (self.query is None):
            raise ConfigError("table: give either table or query")
        if self.table is not None:
            self.named(self.table)
        elif not (self.query or "").strip():
            raise ConfigError("query: this is empty")
        for name in ("columns", "row_filter", "snapshot_time"):
            if self.query is not None and getattr(self, name):
                raise ConfigError(f"{name}: it goes with table; say it in the query")
        if self.storage_endpoint is not None and not self.storage_endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"storage_endpoint: {self.storage_endpoint} is no URL of a server; write https://HOST")
        _ = self._snapshot

    def at(self, now: datetime) -> BigQueryReader:
        """The reader of an export that began then: the id of its query stays the same, also when it is resumed."""
        return replace(self, now=now.isoformat())

    @property
    def name(self) -> str:
        """What users know the rows by."""
        return self.table if self.table is not None else "query"

    @property
    def subject(self) -> str:
        return "table" if self.table is not None else "query"

    @property
    def _snapshot(self) -> datetime | None:
        if self.snapshot_time is None:
            return None
        try:
            found = datetime.fromisoformat(self.snapshot_time.strip().replace("Z", "+00:00"))
        except ValueError:
            raise ConfigError(f"snapshot_time: {self.snapshot_time} is no time; write it as 2026-11-30T06:00:00Z") from None
        return found if found.tzinfo else found.replace(tzinfo=timezone.utc)

    # What there is

    def probe(self) -> None:
        """Looks whether the table can be read; of a query, whether BigQuery would run it. Raises SourceError."""
        with self._telling():
            if self.table is not None:
                self._session(self.named(self.table), most=1)
            else:
                self._queried(dry=True)

    def units(self) -> Iterator[Unit]:
        with self._telling():
            table = self._queried() if self.table is None else self.named(self.table)
            session, inside = self._session(table, self.streams)
            expires = session.expire_time.timestamp() if session.expire_time else 0.0
            for index, stream in enumerate(session.streams):
                name = self.name if len(session.streams) == 1 else f"{self.name}[{index}]"
                yield Unit(index, name, -1, json.dumps([stream.name, expires, inside], separators=(",", ":")))

    def _queried(self, dry: bool = False) -> Any:
        """The table with what the query gives. Its job has an id of the query and the time at which the export began, so that
        a run that was killed here finds it."""
        from google.api_core.exceptions import Conflict
        from google.cloud import bigquery

        client = self._clients.rest
        known = json.dumps([self.query, client.project, self.location, self.now])
        id = f"exporters_beam_query_{hashlib.sha256(known.encode()).hexdigest()[:32]}"
        given: dict[str, Any] = {"retry": self._patience, "timeout": self.timeout}
        failed: JobErrors | None = None
        for attempt in range(100):
            with self.answers("query"):
                try:
                    job = client.query(self.query, job_id=f"{id}_{attempt}" if not dry else None, location=self.location,
                                       job_config=bigquery.QueryJobConfig(dry_run=dry or None), job_retry=None,
                                       **given)  # fmt: skip
                    there = False
                except Conflict:
                    job, there = client.get_job(f"{id}_{attempt}", location=self.location, **given), True
                if dry:
                    return None
                waited(client, job, self.timeout, self._patience)
            failed = JobErrors.of(job)
            if failed is None:
                return TableName(job.destination.project, job.destination.dataset_id, job.destination.table_id)
            if not there and not failed.passing:
                raise failed.error("query")
        raise BigQueryError("query", f"its job has failed 100 times: {failed.text if failed else ''}")

    def _session(self, table: TableName, most: int) -> tuple[Any, Nested]:
        """A session that reads it, and where values are JSON."""
        from google.cloud.bigquery_storage_v1 import types

        with self.answers(self.subject, str(table)):
            found = self._clients.rest.get_table(str(table), retry=self._patience, timeout=self.timeout)
            fields = fields_of(found.schema)
        if (found.table_type or "") not in TABLES:
            raise BigQueryError("table", f"{table} is a {found.table_type.lower()}, which cannot be read like a table; write "
                                f"query: SELECT * FROM {table.quoted}")  # fmt: skip
        names = [each["name"] for each in fields]
        for name in self.columns:
            if name not in names:
                raise BigQueryError("columns", f"{table} has no column {name}{did_you_mean(name, names)}")
        wanted = types.ReadSession(
            table=f"projects/{table.project}/datasets/{table.dataset}/tables/{table.table}",
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(
                selected_fields=self.columns, row_restriction=self.row_filter or ""
            ),
        )
        if self._snapshot is not None:
            wanted.table_modifiers = types.ReadSession.TableModifiers(snapshot_time=self._snapshot)
        project = self.project or (self._clients.rest.project if self.table is None else table.project)
        with self.answers("row_filter" if self.row_filter else self.subject, str(table)):
            session = self._clients.storage.create_read_session(
                parent=f"projects/{project}", read_session=wanted, max_stream_count=most, retry=self._patience_of_grpc,
                timeout=self.timeout,
            )  # fmt: skip
        return session, json_columns(fields)

    # Records

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        stream = Stream.of(unit.etag)
        with self._telling():
            try:
                for first, records in self._rows(stream, start * RANGE_ROWS):
                    at = 0
                    while at < len(records):
                        number = (first + at) // RANGE_ROWS
                        upto = min(len(records), (number + 1) * RANGE_ROWS - first)
                        yield number, records[at:upto]
                        at = upto
            except BigQueryError as error:
                if not error.passing and self._gone(stream, error):
                    raise BigQueryError("", f"the session that reads {self.name} has expired; BigQuery keeps it for six hours, "
                                        "and another one gives rows in another order: run the export again, without "
                                        "--resume") from error  # fmt: skip
                raise

    def _gone(self, stream: Stream, error: BigQueryError) -> bool:
        late = bool(stream.expires) and datetime.now(timezone.utc) > datetime.fromtimestamp(stream.expires, timezone.utc)
        return late or error.missing or "expired" in str(error)

    def _rows(self, stream: Stream, offset: int) -> Iterator[tuple[int, list[Record]]]:
        """(number of the first, records) from an offset on. The stream is entered one row earlier, since it need not know an
        offset behind its last row."""
        import pyarrow as pa

        position = max(0, offset - 1)
        schema: Any = None
        made: dict[str, Callable[[Any], Any]] = {}
        with self.answers(self.subject, self.name):
            answers = self._clients.storage.read_rows(stream.name, position, retry=self._patience_of_grpc)
        messages = iter(answers)
        while True:
            with self.answers(self.subject, self.name):
                message = next(messages, None)
                if message is None:
                    return
                if schema is None:
                    schema = pa.ipc.read_schema(pa.py_buffer(message.arrow_schema.serialized_schema))
                    made = {
                        each.name: found for each in schema
                        if (found := converter(each.type, stream.json.get(each.name))) is not None
                    }  # fmt: skip
                batch = pa.ipc.read_record_batch(pa.py_buffer(message.arrow_record_batch.serialized_record_batch), schema)
                if batch.num_rows != message.row_count:
                    raise BigQueryError("", f"a message of {self.name} has {batch.num_rows} rows, and says {message.row_count}")
            passed = max(0, min(offset - position, batch.num_rows))
            for at in range(passed, batch.num_rows, BATCH):
                yield position + at, _records(batch.slice(at, BATCH), made)
            position += batch.num_rows

    # Clients

    @property
    def _clients(self) -> Clients:
        return self._once(self._connect)

    def _connect(self) -> Clients:
        project = self.project or (self.named(self.table).project if self.table is not None else None)
        rest = self.connect(project, "the reader bigquery")
        try:
            from google.cloud import bigquery_storage_v1 as storage
        except ImportError:
            raise MissingExtra("the reader bigquery", "bigquery") from None
        with self.answers():
            where = self.storage_endpoint
            if where is not None and where.startswith("http://"):
                import grpc

                transport = storage.BigQueryReadClient.get_transport_class("grpc")
                channel = grpc.insecure_channel(where.partition("://")[2].rstrip("/"), options=UNLIMITED)
                return Clients(rest, storage.BigQueryReadClient(transport=transport(channel=channel)))
            options = {"api_endpoint": where.partition("://")[2].rstrip("/")} if where else None
            return Clients(rest, storage.BigQueryReadClient(credentials=self.login(), client_options=options))

    @property
    def _patience(self) -> Any:
        if self.attempts < 2:
            return None
        from google.cloud.bigquery import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(RETRY_SECONDS).with_delay(initial=FIRST_WAIT, maximum=10.0)

    @property
    def _patience_of_grpc(self) -> Any:
        if self.attempts < 2:
            return None
        from google.api_core import exceptions, retry

        passing = retry.if_exception_type(exceptions.ServiceUnavailable, exceptions.DeadlineExceeded)
        return retry.Retry(passing, initial=FIRST_WAIT, maximum=10.0, timeout=RETRY_SECONDS)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except BigQueryError as error:
            raise SourceError(str(error)) from error


def _records(batch: Any, made: dict[str, Callable[[Any], Any]]) -> list[Record]:
    records: list[Record] = batch.to_pylist()
    for name, act in made.items():
        for record in records:
            if record[name] is not None:
                record[name] = act(record[name])
    return records


UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
"""Messages are up to 128 MiB."""
