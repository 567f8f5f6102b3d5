"""The writer `bigquery`: records into a table by load jobs, each batch by a job whose id says which batch it is.

Facts: a job's id can be used once, also where the job failed, and BigQuery keeps jobs for six months; a load job puts all its
rows or none; a table takes 1,500 load jobs a day, those that failed too (https://cloud.google.com/bigquery/quotas#load_jobs);
the errors of one that failed name rows by the byte at which they begin.
"""

from __future__ import annotations

import hashlib
import io
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, DestinationError, RecordError, Transient
from exporters_beam.records import Json, Record
from exporters_beam.systems.bigquery import BigQueryError, BigQueryOptions, JobErrors, TableName, fields_of, waited
from exporters_beam.systems.bigquery_values import Nested, columns_of, json_columns, line_of, lines_of, misfit
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions

ORDER = "exporters_beam_order"
"""The column of a table that gathers records for a merge which says in what order they came."""

GATHERED_DAYS = 7
"""How long a table that gathers records is kept."""

MOST_JOBS = 40
"""Load jobs of one batch in which the rows at fault are looked for."""

_POSITION = re.compile(r"row starting at position:? (\d+)")

_OF_ROWS = re.compile(r"error while reading data|row starting at position|JSON (table|processing|parsing)", re.IGNORECASE)


class Lines(NamedTuple):
    """Records of a batch as lines of JSON in one body: their numbers in the batch, and where each line begins and the last one
    ends. A text for each record would take several times as much memory."""

    numbers: Sequence[int]
    starts: Sequence[int]
    body: bytes | bytearray

    def part(self, chosen: Iterable[int]) -> Lines:
        """Some of the lines."""
        picked = list(chosen)
        lines = [self.body[self.starts[at] : self.starts[at + 1]] for at in picked]
        starts = array("Q", accumulate(map(len, lines), initial=0))
        return Lines([self.numbers[at] for at in picked], starts, b"".join(lines))


@dataclass(frozen=True, kw_only=True)
class BigQueryWriter(BigQueryOptions, RecordWriterOptions):
    """Put records into a table of BigQuery, each once.

    Each batch is a load job, whose id is made of the delivery and the batch's number: BigQuery takes an id once, so what was
    sent is found and not sent again, as long as BigQuery keeps jobs, which is six months. A table takes 1,500 load jobs a day,
    so batches are large. Rows are added; with `mode: replace` they take the place of all rows at once, and with `mode: merge`
    those of rows with the same key. A record that does not fit the table is a failure of the step `writer`, with BigQuery's
    answer.

    Example:
        writer:
          name: bigquery
          options:
            table: shop.sales.orders
            mode: merge
            key: id
            credentials: ${secret:env:BIGQUERY_KEY}
    """

    delivers: ClassVar[str] = "exactly once"
    dated: ClassVar[tuple[str, ...]] = ("delivery_id", "table")

    items_per_buffer_write: int = option("most records in a load job", type="int", default=500_000, minimum=1)
    size_per_buffer_write: int = option("bytes at which a load job is closed, as staged; a table takes 1,500 load jobs a day",
                                        type="int", default=64 << 20, minimum=1)  # fmt: skip
    table: str = option("the table, as project.dataset.table, with % dates", example="shop.sales.orders")
    mode: str = option("append adds rows; replace puts the records in the place of all rows, when all are there; merge in the "
                       "place of rows of the same key", default="append", choices=("append", "replace", "merge"))  # fmt: skip
    key: Any = option("with mode merge: the column, or columns, by which a row is known", type="str|str_list", default=None,
                      example="id")  # fmt: skip
    create: bool = option("make a table that is not there, with `schema` or else columns for the fields of the first batch",
                          type="bool", default=False)  # fmt: skip
    schema: tuple[Any, ...] = option("the fields of a table that is made, as BigQuery's JSON has them", type="dict_list",
                                     default=(), example=[{"name": "id", "type": "INTEGER", "mode": "REQUIRED"}])  # fmt: skip
    extra_fields: str = option("what becomes of fields that have no column: fail, or ignore", default="fail",
                               choices=("fail", "ignore"))  # fmt: skip

    def __post_init__(self) -> None:
        BigQueryOptions.__post_init__(self)
        RecordWriterOptions.__post_init__(self)
        self.named(self.table.replace("%", "x"))
        if self.mode == "merge" and not self.keys:
            raise ConfigError("key: with mode merge, name the column or columns by which a row is known")
        if self.mode != "merge" and self.keys:
            raise ConfigError(f"key: mode {self.mode} knows no key; write mode: merge, or leave it out")
        if self.schema and not self.create:
            raise ConfigError("schema: it is for a table that is made; write create: true, or leave it out")
        for n, each in enumerate(self.schema):
            if not isinstance(each, Mapping) or not each.get("name") or not each.get("type"):
                raise ConfigError(f"schema: field {n + 1} has no name or no type; write {{name: id, type: INTEGER}}")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else tuple(self.key or ())

    @property
    def name(self) -> TableName:
        return self.named(self.table)

    @property
    def target(self) -> str:
        where = f"{self.endpoint.partition('://')[2].rpartition('@')[2].rstrip('/')}/" if self.endpoint else ""
        return f"bigquery://{where}{self.name}"

    def _gathering(self, delivery: str) -> TableName:
        """The table that gathers the records of a delivery before they are put into the other one."""
        return self.name._replace(table=f"{self.name.table[:900]}__{delivery[:16]}")

    def _loaded_into(self, delivery: str) -> TableName:
        return self.name if self.mode == "append" else self._gathering(delivery)

    # Before and after

    def probe(self) -> None:
        with self._telling():
            found = self._table(self.name)
            if found is None:
                self._may_be_made()
                return
            self._fits(fields_of(found.schema))
            wanted = ["bigquery.tables.updateData"]
            with self.answers("table", str(self.name)):
                may = self.client.test_iam_permissions(str(self.name), wanted, retry=None, timeout=self.timeout)
            if set(wanted) - set(may.get("permissions") or ()):
                raise BigQueryError("credentials", f"they may not write to {self.name}: {wanted[0]} is not granted")

    def begin(self, delivery: str) -> None:
        """Looks whether the table is there and has the key."""
        with self._telling():
            found = self._table(self.name)
            if found is None:
                self._may_be_made()
            else:
                self._fits(fields_of(found.schema))

    def complete(self, delivery: str, batches: int, records: int) -> None:
        """With `replace` and `merge` one job puts what was gathered into the table; its id is that of the delivery."""
        if self.mode == "append":
            return
        with self._telling():
            act, gathering = self._put, self._gathering(delivery)
            if batches == 0 and (self.mode == "merge" or not self._make(gathering, list)):
                return

            def begin(id: str) -> Any:
                found = self._table(gathering)
                if found is None or (found.num_rows or 0) != records:
                    raise BigQueryError(
                        "table", f"{gathering}, which gathers the records of this delivery, has {self._rows(found)}, not "
                        f"{records:,}; it is kept for {GATHERED_DAYS} days: give the writer another `delivery_id` to send all "
                        "of it again"
                    )  # fmt: skip
                return act(gathering, found, id)

            self._once_done(f"exporters_beam_{delivery}_complete_", begin)
            with self.answers("table", str(gathering)):
                self.client.delete_table(str(gathering), not_found_ok=True, retry=None, timeout=self.timeout)

    @staticmethod
    def _rows(found: Any) -> str:
        return "no rows, since it is gone" if found is None else f"{found.num_rows or 0:,} rows"

    def _put(self, gathering: TableName, found: Any, id: str) -> Any:
        """Begins the job that puts what was gathered into the table."""
        from google.cloud import bigquery

        given: dict[str, Any] = {"job_id": id, "location": self._place, "retry": None, "timeout": self.timeout}
        if self.mode == "replace":
            config = bigquery.CopyJobConfig(write_disposition="WRITE_TRUNCATE", create_disposition="CREATE_IF_NEEDED")
            return self.client.copy_table(str(gathering), str(self.name), job_config=config, **given)
        if self._table(self.name) is None:
            fields = [each for each in fields_of(found.schema) if each["name"] != ORDER]
            self._create(self.name, fields)
        columns = [each["name"] for each in fields_of(found.schema) if each["name"] != ORDER]
        return self.client.query(merge(self.name, gathering, columns, self.keys), job_retry=None, **given)

    def count(self, entry: Mapping[str, Any]) -> int | None:
        """With `replace` the rows of the table, else those that the load jobs have put."""
        with self._telling():
            if self.mode == "replace":
                found = self._table(self.name)
                return None if found is None else int(found.num_rows or 0)
            counts = [self._count(f"exporters_beam_{entry['delivery']}_{number}_") for number in range(int(entry["batches"]))]
            return None if None in counts else sum(count for count in counts if count is not None)

    def _count(self, id: str) -> int | None:
        """The rows that the load jobs of a batch have put; None where BigQuery no longer knows."""
        for attempt in range(1000):
            job = self._job(f"{id}{attempt}")
            if job is None:
                return None
            if job.state == "DONE" and not job.error_result:
                return int(job.output_rows or 0)
            parts = [self._count(f"{id}{attempt}{part}") for part in "rab"]
            if any(part is not None for part in parts):
                return sum(part or 0 for part in parts)
        return None

    def reset(self) -> None:
        """Lets go of connections."""
        made = self.__dict__.pop("_made", None)
        if made is not None:
            made.close()

    close = reset

    # Batches

    def send(self, batch: RecordBatch) -> None:
        with self._telling():
            table = self._loaded_into(batch.delivery)
            lines = self._lines(batch)
            if lines.numbers:
                self._load(batch, table, lines, f"exporters_beam_{batch.delivery}_{batch.number}_", [0])

    def _load(self, batch: RecordBatch, table: TableName, lines: Lines, id: str, jobs: list[int]) -> None:
        """Put these records by one job. Where it fails since rows are at fault, those that it names are refused and the others
        sent by a job of their own; where it names none, each half."""
        numbers = hashlib.md5(repr(lines.numbers).encode(), usedforsecurity=False).hexdigest()
        labels = {"exporters_beam": batch.delivery, "exporters_beam_checksum": batch.checksum, "exporters_beam_rows": numbers}

        def begin(id: str) -> Any:
            jobs[0] += 1
            if jobs[0] > MOST_JOBS:
                raise BigQueryError("table", f"batch {batch.number} has so many records that do not fit {self.name} that "
                                    f"{MOST_JOBS} load jobs have not found them all; filter them, or make the table "
                                    "fit")  # fmt: skip
            self._make(table, lambda: batch.records)
            return self._upload(table, lines, id, labels)

        attempt, failed = self._once_done(id, begin, batch, labels)
        if failed is None:
            return
        named = _named(failed, lines.starts)
        named = {**self._misfits(batch, lines), **named}
        for at, answer in sorted(named.items()):
            batch.refuse(lines.numbers[at], answer)
        total = len(lines.numbers)
        if named and len(named) < total:
            rest = lines.part(at for at in range(total) if at not in named)
            self._load(batch, table, rest, f"{id}{attempt}r", jobs)
        elif not named and total == 1:
            batch.refuse(lines.numbers[0], failed.text)
        elif not named:
            self._load(batch, table, lines.part(range(total // 2)), f"{id}{attempt}a", jobs)
            self._load(batch, table, lines.part(range(total // 2, total)), f"{id}{attempt}b", jobs)

    def _once_done(
        self, id: str, begin: Callable[[str], Any], batch: RecordBatch | None = None, labels: Mapping[str, str] = {}
    ) -> tuple[int, JobErrors | None]:
        """Have a job done whose id is this one with the number of the attempt behind it: (attempt, None), or why rows failed.

        A job that is there is waited for. One that failed is followed by the next attempt when it is met again. Where it failed
        since rows were at fault, that is how it stays if rows may be refused, or others of its rows were sent since; else the
        table may fit by now."""
        from google.api_core.exceptions import Conflict

        begun: set[str] = self.__dict__.setdefault("_begun", set())
        for attempt in range(1000):
            known = f"{id}{attempt}"
            job = self._job(known)
            new = job is None
            if job is None:
                begun.add(known)
                with self.answers("table", str(self.name)):
                    try:
                        job = begin(known)
                    except Conflict:
                        job = self.client.get_job(known, location=self._place, retry=None, timeout=self.timeout)
            elif batch is not None:
                self._same(batch, job, labels)
            with self.answers():
                failed = JobErrors.of(waited(self.client, job, self.timeout))
            if failed is None:
                return attempt, None
            of_rows = batch is not None and failed.reason == "invalid" and any(map(_OF_ROWS.search, failed.messages))
            stays = known in begun or (batch is not None and batch.tolerant)
            if of_rows and (stays or any(self._job(f"{known}{part}0") is not None for part in "ra")):
                return attempt, failed
            if new:
                raise failed.error("table")
        raise BigQueryError("table", f"1,000 jobs have failed that are called {id}; give the writer another `delivery_id`")

    @staticmethod
    def _same(batch: RecordBatch, job: Any, labels: Mapping[str, str]) -> None:
        """Raises DestinationError where the job of this id had other records, or others of the batch were refused then."""
        there = {**labels, **(job.labels or {})}
        refused = dict(batch.refused)
        batch.already(there["exporters_beam_checksum"])
        batch.refused = refused
        if there["exporters_beam_rows"] != labels["exporters_beam_rows"]:
            raise BigQueryError(
                "table", f"batch {batch.number} of this delivery ({batch.delivery}) was sent when the table had other "
                "columns, and other records of it fitted then; give the writer another `delivery_id` to send all of it again"
            )  # fmt: skip

    def _misfits(self, batch: RecordBatch, lines: Lines) -> dict[int, str]:
        """The lines of a batch of which it can be told here that they do not fit, when BigQuery has found one."""
        fields, ignore = self._fields(lambda: batch.records), self.extra_fields == "ignore"
        found = ((at, misfit(batch.records[n], fields, ignore)) for at, n in enumerate(lines.numbers))
        return {at: answer for at, answer in found if answer}

    def _upload(self, table: TableName, lines: Lines, id: str, labels: dict[str, str]) -> Any:
        from google.cloud import bigquery

        config = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND",
                                        create_disposition="CREATE_NEVER", labels=labels,
                                        ignore_unknown_values=self.extra_fields == "ignore" or None)  # fmt: skip
        size = len(lines.body)
        return self.client.load_table_from_file(io.BytesIO(lines.body), str(table), size=size, num_retries=0, job_id=id,
                                                job_config=config, location=self._place, timeout=self.timeout)  # fmt: skip

    def _lines(self, batch: RecordBatch) -> Lines:
        """The records of a batch as JSON, without those that cannot be."""
        columns = self._json(batch)
        usual = not columns and not self.keys
        numbers: list[int] = []
        starts, body = array("Q", (0,)), bytearray()
        n = 0
        for records in batch.pieces():
            texts = lines_of(records) if usual else None
            if texts is not None:
                body += b"\n".join((*texts, b""))
                numbers.extend(range(n, n + len(texts)))
                starts.extend(accumulate(map((1).__add__, map(len, texts)), initial=starts.pop()))
            for at, record in enumerate(records if texts is None else ()):
                text = self._line(batch, n + at, record, columns)
                if text is not None:
                    body += text
                    body += b"\n"
                    numbers.append(n + at)
                    starts.append(len(body))
            n += len(records)
        return Lines(numbers, starts, body)

    def _line(self, batch: RecordBatch, n: int, record: Record, columns: Nested) -> bytes | None:
        """A record as JSON; None where it is refused."""
        lacks = next((name for name in self.keys if record.get(name) is None), None)
        if lacks is not None:
            batch.refuse(n, f"it has no value for the key {lacks}")
            return None
        try:
            text = line_of(record, columns)
        except RecordError as error:
            batch.refuse(n, str(error))
            return None
        if self.mode == "merge":
            order = b'"%s":"%d"' % (ORDER.encode(), (batch.number << 32) + n)
            text = text[:-1] + (b"," if len(text) > 2 else b"") + order + b"}"
        return text

    # Tables

    @property
    def client(self) -> Any:
        return self._once(lambda: self.connect(self.project or self.name.project, "the writer bigquery"))

    @property
    def _place(self) -> str | None:
        """Where jobs run: where the dataset is."""
        if self.location is not None:
            return self.location
        found: str | None = self.__dict__.get("_found_place")
        if found is None:
            name = self.name
            with self.answers("table", f"{name.project}.{name.dataset}"):
                found = self.client.get_dataset(f"{name.project}.{name.dataset}", retry=None, timeout=self.timeout).location
            object.__setattr__(self, "_found_place", found)
        return found

    def _table(self, name: TableName) -> Any:
        """What is there of this name; None where there is nothing."""
        from google.api_core.exceptions import NotFound

        with self.answers("table", str(name)):
            try:
                return self.client.get_table(str(name), retry=None, timeout=self.timeout)
            except NotFound:
                return None

    def _job(self, id: str) -> Any:
        from google.api_core.exceptions import NotFound

        place = self._place
        with self.answers("table"):
            try:
                return self.client.get_job(id, location=place, retry=None, timeout=self.timeout)
            except NotFound:
                return None

    def _may_be_made(self) -> None:
        """Raises BigQueryError where the table is not to be made, or there is no dataset for it."""
        if not self.create:
            raise BigQueryError("table", f"{self.server} has no table {self.name}; make it, or write create: true")
        _ = self._place

    def _fits(self, fields: Sequence[Json]) -> None:
        names = [each["name"] for each in fields]
        for key in self.keys:
            if key not in names:
                raise BigQueryError("key", f"{self.name} has no column {key}{did_you_mean(key, names)}")

    def _json(self, batch: RecordBatch) -> Nested:
        """Where values of the table are JSON."""
        found: Nested | None = self.__dict__.get("_seen")
        if found is None:
            found = json_columns(self._fields(lambda: batch.records))
            object.__setattr__(self, "_seen", found)
        return found

    def _fields(self, records: Callable[[], Sequence[Record]]) -> Sequence[Json]:
        """The fields that the table has, or gets."""
        there = self._table(self.name)
        return fields_of(there.schema) if there is not None else self.schema or columns_of(records())

    def _make(self, name: TableName, records: Callable[[], Sequence[Record]]) -> bool:
        """Makes the table that records are loaded into, where it is not there; false where nothing says what it is like."""
        made: set[TableName] = self.__dict__.setdefault("_there", set())
        if name in made:
            return True
        if self._table(name) is None:
            like = self._table(self.name)
            fields = list(fields_of(like.schema) if like is not None else self.schema or columns_of(records()))
            if not fields:
                return False
            self._create(name, fields, like)
        made.add(name)
        return True

    def _create(self, name: TableName, fields: Sequence[Json], like: Any = None) -> None:
        from google.cloud import bigquery

        gathers = name != self.name
        order = [{"name": ORDER, "type": "INTEGER", "mode": "NULLABLE"}] if gathers and self.mode == "merge" else []
        table = bigquery.Table(str(name), schema=[bigquery.SchemaField.from_api_repr(dict(each)) for each in (*fields, *order)])
        if gathers:
            table.expires = datetime.now(timezone.utc) + timedelta(days=GATHERED_DAYS)
        if gathers and like is not None and self.mode == "replace":
            if like.time_partitioning is not None:
                table.time_partitioning = like.time_partitioning
            if like.range_partitioning is not None:
                table.range_partitioning = like.range_partitioning
            if like.clustering_fields is not None:
                table.clustering_fields = like.clustering_fields
        with self.answers("schema" if self.schema else "table", str(name)):
            self.client.create_table(table, exists_ok=True, retry=None, timeout=self.timeout)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What goes wrong, as the engine takes it."""
        try:
            yield
        except BigQueryError as error:
            raise (Transient if error.passing else DestinationError)(str(error)) from error


def merge(target: TableName, gathering: TableName, columns: Sequence[str], keys: Sequence[str]) -> str:
    """The statement that puts what was gathered into a table: of the records of a key the last one."""
    key, names = ", ".join(f"`{name}`" for name in keys), ", ".join(f"`{name}`" for name in columns)
    same = " AND ".join(f"T.`{name}` = S.`{name}`" for name in keys)
    sets = ", ".join(f"`{name}` = S.`{name}`" for name in columns if name not in keys)
    return (
        f"MERGE {target.quoted} T USING (SELECT * FROM {gathering.quoted} WHERE TRUE "
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY `{ORDER}` DESC) = 1) S ON {same} "
        + (f"WHEN MATCHED THEN UPDATE SET {sets} " if sets else "")
        + f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({', '.join(f'S.`{name}`' for name in columns)})"
    )


def _named(failed: JobErrors, starts: Sequence[int]) -> dict[int, str]:
    """The lines that the errors of a job name, by the byte at which they begin, each with what is wrong with it."""
    found: dict[int, str] = {}
    for message in failed.messages:
        position = _POSITION.search(message)
        if position is not None:
            at = bisect_left(starts, int(position[1]))
            if at < len(starts) - 1 and starts[at] == int(position[1]):
                found.setdefault(at, failed._replace(messages=(message,)).text)
    return found
