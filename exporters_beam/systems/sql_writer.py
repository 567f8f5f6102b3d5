"""The writer `sql`: records as rows of a table, each batch in one transaction with the row that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, DestinationError, RecordError, Transient
from exporters_beam.records import Record
from exporters_beam.systems.sql import (
    DRIVER_MODULES,
    Refused,
    SqlDatabase,
    declared,
    json_columns,
    refusals,
    refused,
    split_name,
    sqlalchemy,
)
from exporters_beam.systems.sql_put import TARGETS, Columns, Row, Target
from exporters_beam.writers.batches import RecordBatch, RecordWriterOptions
from exporters_beam.writers.values import unpack_all

LEDGER = "exporters_beam_deliveries"

BEGUN, DONE = -1, -2
"""Numbers of rows of the ledger that stand for no batch: that a delivery has begun, and that all of it is there."""


class Table(NamedTuple):
    """A table that is there: the kind of each column (`json`, `array`, `decimal` or ""), and those that have a default."""

    kinds: dict[str, str]
    defaults: frozenset[str]
    unique: frozenset[frozenset[str]]


class Run(NamedTuple):
    """Rows of a batch for the same columns, each with the record's number in the batch."""

    columns: tuple[str, ...]
    numbers: Sequence[int]
    rows: list[Row]


def _rows(records: Sequence[Record], fields: Mapping[str, str]) -> Iterator[Row]:
    """The values of records that have these fields, at least two, and no others. Raises KeyError for other ones."""
    if len(fields) < 2 or {*map(len, records)} != {len(fields)}:
        raise KeyError
    return map(itemgetter(*fields), records)


@dataclass(frozen=True, kw_only=True)
class SqlWriter(SqlDatabase, RecordWriterOptions):
    """Put records into a table of PostgreSQL, MariaDB, MySQL or SQLite, each once.

    Each batch is one transaction, and in it a row of the table `exporters_beam_deliveries` beside the target: what was sent is
    not sent again. A table that is not there is made with columns for the fields of the first batch. Nested values go into
    columns of JSON. A record that the database refuses is a failure of the step `writer`, with the database's answer.

    Example:
        writer:
          name: sql
          options:
            url: postgresql://shop@db.example.org/shop
            password: ${secret:env:SHOP_PASSWORD}
            table: public.products
            mode: merge
            key: sku
    """

    makes_files: ClassVar[bool] = True
    delivers: ClassVar[str] = "exactly once"

    table: str = option("the table, as name or schema.name; names are taken exactly", example="public.products")
    mode: str = option("append adds rows; create does, to a table that is not there yet; replace puts the records in the place "
                       "of all rows, when all are there; merge in the place of rows of the same key", default="append",
                       choices=("append", "create", "replace", "merge"))  # fmt: skip
    key: Any = option("with mode merge: the column, or columns, by which a row is known", type="str|str_list", default=None,
                      example="sku")  # fmt: skip
    columns: Any = option("the fields to write, as a list, or as a mapping of fields to columns; by default all fields",
                          type="dict|str_list", default=None, example={"sku": "product_id"})  # fmt: skip
    types: dict[str, str] = option("types in SQL of columns, for a table that is made", type="dict", default={},
                                   example={"price": "NUMERIC(10, 2)"})  # fmt: skip
    extra_fields: str = option("what becomes of fields that have no column: fail, or ignore", default="fail",
                               choices=("fail", "ignore"))  # fmt: skip
    missing: str = option("what a column gets whose field a record has not: its default (with merge: it stays), or null",
                          default="default", choices=("default", "null"))  # fmt: skip

    def __post_init__(self) -> None:
        SqlDatabase.__post_init__(self)
        RecordWriterOptions.__post_init__(self)
        if split_name(self.table) is None:
            raise ConfigError(f'table: {self.table} is no name; write table or schema.table, with "…" around names that have '
                              "a dot in them")  # fmt: skip
        if self.mode == "merge" and not self.keys:
            raise ConfigError("key: with mode merge, name the column or columns by which a row is known")
        if self.mode != "merge" and self.keys:
            raise ConfigError(f"key: mode {self.mode} knows no key; write mode: merge, or leave it out")
        if isinstance(self.columns, Mapping) and not all(isinstance(column, str) for column in self.columns.values()):
            raise ConfigError("columns: give the name of a column for each field")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else tuple(self.key or ())

    @property
    def place_of(self) -> tuple[str | None, str]:
        """(schema, table)."""
        found = split_name(self.table)
        assert found is not None
        return found

    @property
    def target(self) -> str:
        return f"{self.place}#{self.table}"

    @property
    def chosen(self) -> dict[str, str] | None:
        """The column of each field, where the config says so."""
        if self.columns is None:
            return None
        return dict(self.columns) if isinstance(self.columns, Mapping) else {str(name): str(name) for name in self.columns}

    # Before and after

    def probe(self) -> None:
        with self._telling():
            schema, name = self.place_of
            inspector = self._inspector()
            found = self._look(inspector, schema, name)
            if found is None:
                if schema is not None and self.dialect != "sqlite" and schema not in inspector.get_schema_names():
                    raise Refused("table", f"{self.place} has no schema {schema}; make it first")
                self._may_make(schema)
                return
            if self.mode == "create" and not self._ledger_is_there(inspector):
                raise self._there_already()
            chosen = self.chosen or {}
            self._fits(found, list(chosen.values()))
            try:
                self._target.may_not(schema, name, list(chosen.values()) or [next(iter(found.kinds))])
            except Exception as error:
                answer = self._answer(error)
                if not answer.data:  # MariaDB misses columns without a default.
                    raise answer from error
            self._target.rollback()

    def _may_make(self, schema: str | None) -> None:
        """Raises Refused where the user may make no table."""
        if self.dialect == "postgresql":
            ((may,),) = self._target.run("SELECT has_schema_privilege(COALESCE(%s, current_schema()), 'CREATE')", schema)
            self._target.rollback()
            if not may:
                raise Refused(
                    "table", f"the user may make no table in {self.place}, and {self.table} is not there; make it first"
                )

    def _fits(self, table: Table, columns: Sequence[str]) -> None:
        """Raises Refused where the columns or the key of the config are not those of the table."""
        for column in columns:
            if column not in table.kinds:
                raise Refused("columns", f"{self.table} has no column {column}{did_you_mean(column, list(table.kinds))}")
        for column in self.keys:
            if column not in table.kinds:
                raise Refused("key", f"{self.table} has no column {column}{did_you_mean(column, list(table.kinds))}")
        if self.keys and frozenset(self.keys) not in table.unique:
            quote = self.engine.dialect.identifier_preparer.quote
            where = ".".join(quote(part) for part in self.place_of if part)
            index = "" if self.dialect == "postgresql" else f" {quote(f'{self.place_of[1]}_key')}"
            run = f"CREATE UNIQUE INDEX{index} ON {where} ({', '.join(map(quote, self.keys))})"
            raise Refused(
                "key", f"{self.table} has no unique index over {', '.join(self.keys)}, by which rows are merged; run: {run}"
            )

    def _there_already(self) -> Refused:
        return Refused(
            "mode", f"{self.table} is there already, which mode: create does not touch; write append, replace or merge"
        )

    def begin(self, delivery: str) -> None:
        """Makes the ledger, and notes what the delivery begins with."""
        schema, name = self.place_of
        with self._telling(), self._transaction() as target:
            target.alone(LEDGER)
            if not self._ledger_is_there(self._inspector()):
                short, long = "VARCHAR(64) NOT NULL", "LONGTEXT" if self.dialect == "mysql" else "TEXT"
                columns = {"delivery": short, "number": "BIGINT NOT NULL", "target": "VARCHAR(255) NOT NULL"}
                columns |= {"records": "BIGINT NOT NULL", "checksum": short, "refused": f"{long} NOT NULL", "at": target.at}
                with self._unless_made_by_another():
                    target.make(self._ledger, columns, ("delivery", "number"))
            found = self._look(self._inspector(), schema, name)
            if self._noted(target, delivery, BEGUN) is None:
                if self.mode == "create" and found is not None:
                    raise self._there_already()
                self._note(target, delivery, BEGUN, 0, "", "")
            if found is not None:
                self._fits(found, list((self.chosen or {}).values()) if self.mode != "replace" else [])

    @contextmanager
    def _unless_made_by_another(self) -> Iterator[None]:
        """MariaDB cannot be asked to wait: that a table is there by now is no error."""
        try:
            yield
        except Exception as error:
            if error.args[:1] != (1050,):
                raise

    def complete(self, delivery: str, batches: int, records: int) -> None:
        """Notes it. With mode replace the table that was filled takes its name before."""
        schema, name = self.place_of
        new = self._filled(delivery)
        with self._telling(), self._transaction() as target:
            target.alone(LEDGER)
            inspector = self._inspector()
            there, done = inspector.has_table(name, schema), self._noted(target, delivery, DONE) is not None
            filled = self.mode == "replace" and inspector.has_table(new, schema)
            if self.mode == "replace" and there and not filled and not done:  # No record has come.
                target.make_like(schema, name, new)
                filled = True
            if not done:
                self._note(target, delivery, DONE, 0, "", "")
            if self.dialect == "mysql":
                target.commit()  # What follows ends a transaction by itself; the row above says how far this has come.
            if filled:
                target.swap(schema, name, new, there)
                for (other,) in target.run(f"SELECT delivery FROM {self._ledger} WHERE target = %s AND number = {DONE} AND "
                                           "delivery <> %s", self.target[:255], delivery):  # fmt: skip
                    target.run(f"DELETE FROM {self._ledger} WHERE delivery = %s", other)

    def count(self, entry: Mapping[str, Any]) -> int | None:
        schema, name = self.place_of
        with self._telling(), self._transaction() as target:
            if self.mode in ("replace", "create"):
                ((found,),) = target.run(f"SELECT COUNT(*) FROM {target.name(schema, name)}")
            else:
                rows = f"FROM {self._ledger} WHERE delivery = %s AND number >= 0"
                ((found,),) = target.run(f"SELECT COALESCE(SUM(records), 0) {rows}", entry["delivery"])
        return int(found)

    def reset(self) -> None:
        """Lets go of the connection: the next use makes another one."""
        target = self.__dict__.pop("_connected", None)
        self.__dict__.pop("_seen", None)
        if target is not None:
            target.close()

    def close(self) -> None:
        self.reset()

    # Batches

    def send(self, batch: RecordBatch) -> None:
        with self._telling(), self._transaction() as target:
            found = self._noted(target, batch.delivery, batch.number)
            if found is not None:
                batch.already(*found)
                return
            schema, name = self._where(batch.delivery)
            table = self._table(target, batch)
            self._note(target, batch.delivery, batch.number, len(batch.staged), batch.checksum, "")
            into = target.name(schema, name)
            if not self._poured(target, into, table, batch):
                for run in self._runs(batch, table):
                    self._put(target, into, run, batch)
            if batch.refused:
                records = len(batch.staged) - len(batch.refused)
                target.run(f"UPDATE {self._ledger} SET records = %s, refused = %s WHERE delivery = %s AND number = %s",
                           records, batch.refused_json, batch.delivery, batch.number)  # fmt: skip
        object.__setattr__(self, "_seen", table)

    def _poured(self, target: Target, name: str, table: Table, batch: RecordBatch) -> bool:
        """Put all rows in the fast way, where every record has the same fields and the database takes them all. Else nothing is
        put, and the next batches do not try."""
        if self.keys or self.__dict__.get("_unusual"):
            return False
        columns = self._columns_of_first(batch, table)
        pieces = (list(zip(*_rows(records, columns), strict=True)) for records in batch.pieces())
        target.run("SAVEPOINT exporters_beam")
        try:
            kinds = [table.kinds.get(column, "") for column in columns.values()]
            poured = target.pour(name, list(columns.values()), kinds, pieces)
        except Exception as error:
            unusual = (ValueError, ArithmeticError, KeyError, TypeError, RecursionError)
            answer = self._answer(error) if not isinstance(error, unusual) else None
            if answer is not None and not answer.data:
                raise answer from error
            poured = False
            target.run("ROLLBACK TO SAVEPOINT exporters_beam")
        target.run("RELEASE SAVEPOINT exporters_beam")
        object.__setattr__(self, "_unusual", not poured)
        return poured

    def _columns_of_first(self, batch: RecordBatch, table: Table) -> dict[str, str]:
        """The columns of fields as the first record has them."""
        if self.chosen is None and self.missing != "null":
            (first,) = unpack_all(batch.staged[:1])
            return {field: field for field in first if field in table.kinds}
        return self._columns(batch, table)

    def _put(self, target: Target, name: str, run: Run, batch: RecordBatch) -> None:
        """Put rows, as many at once as go well: those that are refused are found by smaller and smaller parts."""
        numbers, columns = self._converted(target, run, batch)
        at, step = 0, len(numbers)
        while at < len(numbers):
            part = columns if step == len(numbers) else [values[at : at + step] for values in columns]
            count = len(part[0])
            target.run("SAVEPOINT exporters_beam")
            try:
                if self.keys:
                    target.merge(name, run.columns, part, self.keys)
                else:
                    target.put(name, run.columns, part)
            except Exception as error:
                answer = self._answer(error)
                if not answer.data:
                    raise answer from error
                target.run("ROLLBACK TO SAVEPOINT exporters_beam")
                guilty, target.guilty = target.guilty, None
                if count == 1:
                    batch.refuse(numbers[at], answer.said)
                    at += 1
                else:
                    step = max(1, guilty if guilty is not None and guilty < count else count // 2)
                continue
            target.run("RELEASE SAVEPOINT exporters_beam")
            at, step = at + count, step * 2

    def _answer(self, error: Exception) -> Refused:
        if isinstance(error, (ValueError, OverflowError, RecordError)):  # The driver cannot send it.
            return Refused("", str(error), data=True)
        if type(error).__module__.partition(".")[0] not in DRIVER_MODULES:
            raise error
        return refused(self, error)

    def _runs(self, batch: RecordBatch, table: Table) -> Iterator[Run]:
        """The rows of a batch, in order: those one after the other that fill the same columns."""
        columns = self._columns(batch, table)
        known, keys = columns.keys(), [field for field, column in columns.items() if column in self.keys]
        extra = dict.fromkeys(chain.from_iterable(batch.records)).keys() - known
        if not extra and not keys:
            with suppress(KeyError):
                rows = list(_rows(batch.records, columns))  # of the usual records
                yield Run(tuple(columns.values()), range(len(rows)), rows)
                return
        good: list[tuple[int, Record]] = []
        for n, record in enumerate(batch.records):
            if extra and not record.keys() <= known and self.extra_fields == "fail":
                told = ", ".join(sorted(map(str, record.keys() - known)))
                batch.refuse(n, f"it has fields that {self.table} has no column for: {told} (extra_fields: ignore drops them)")
            elif keys and any(record.get(field) is None for field in keys):
                batch.refuse(n, f"it has no value for the key {', '.join(keys)}")
            else:
                good.append((n, record))
        if self.missing == "null":
            looked = frozenset[str]()
        elif self.keys:
            looked = frozenset(known)
        else:
            looked = frozenset(field for field, column in columns.items() if column in table.defaults)
        for absent, group in groupby(good, lambda pair: looked - pair[1].keys()):
            fields = [field for field in columns if field not in absent]
            numbers, records = zip(*group, strict=True)
            if not fields:
                for n in numbers:
                    batch.refuse(n, f"it has no field that {self.table} has a column for")
                continue
            yield Run(tuple(columns[field] for field in fields), list(numbers),
                      [tuple(map(record.get, fields)) for record in records])  # fmt: skip

    def _columns(self, batch: RecordBatch, table: Table) -> dict[str, str]:
        """The column of each field."""
        if self.chosen is not None:
            return self.chosen
        if self.missing == "null":
            return {name: name for name in table.kinds}
        return {field: field for field in dict.fromkeys(chain.from_iterable(batch.records)) if field in table.kinds}

    def _converted(self, target: Target, run: Run, batch: RecordBatch) -> tuple[Sequence[int], Columns]:
        """The numbers of rows, and each column's values as the driver takes them, without the rows that have values which the
        database cannot hold."""
        kinds = self.__dict__["_kinds"]
        kinds_of = [kinds.get(column, "") for column in run.columns]
        columns = list(zip(*run.rows, strict=True))
        with suppress(ValueError, ArithmeticError, RecordError, RecursionError, TypeError):
            return run.numbers, [target.column(kind, values) for kind, values in zip(kinds_of, columns, strict=True)]
        numbers, rows = [], []
        for n, row in zip(run.numbers, run.rows, strict=True):
            try:
                rows.append([target.column(kind, (value,))[0] for kind, value in zip(kinds_of, row, strict=True)])
                numbers.append(n)
            except (ValueError, ArithmeticError, RecordError, RecursionError) as error:
                batch.refuse(n, str(error))
        return numbers, list(zip(*rows, strict=True))

    # Tables

    def _filled(self, delivery: str) -> str:
        """The table that a delivery fills before it takes the place of the other one."""
        return f"{self.place_of[1][:40]}__{delivery[:16]}"

    def _where(self, delivery: str) -> tuple[str | None, str]:
        schema, name = self.place_of
        return schema, self._filled(delivery) if self.mode == "replace" else name

    @property
    def _ledger(self) -> str:
        return self._target.name(self.place_of[0], LEDGER)

    def _ledger_is_there(self, inspector: Any) -> bool:
        return bool(inspector.has_table(LEDGER, self.place_of[0]))

    def _noted(self, target: Target, delivery: str, number: int) -> tuple[str, str] | None:
        found = target.run(
            f"SELECT checksum, refused FROM {self._ledger} WHERE delivery = %s AND number = %s", delivery, number
        )
        return (found[0][0], found[0][1]) if found else None

    def _note(self, target: Target, delivery: str, number: int, records: int, checksum: str, told: str) -> None:
        try:
            columns = "(delivery, number, target, records, checksum, refused)"
            target.run(f"INSERT INTO {self._ledger} {columns} VALUES (%s, %s, %s, %s, %s, %s)",
                       delivery, number, self.target[:255], records, checksum, told)  # fmt: skip
        except Exception as error:
            answer = self._answer(error)
            if answer.data:
                answer = Refused("", f"another run sends the same to {self.target}", passing=True)
            raise answer from error

    def _table(self, target: Target, batch: RecordBatch) -> Table:
        """The table that the batch goes to, made where it is not there."""
        table: Table | None = self.__dict__.get("_seen")
        if table is None:
            schema, name = self._where(batch.delivery)
            inspector = self._inspector()
            table = self._look(inspector, schema, name)
            old = table is None and self.mode == "replace" and inspector.has_table(self.place_of[1], schema)
            if table is None:
                target.alone(LEDGER)
                with self._unless_made_by_another():
                    if old:
                        target.make_like(schema, self.place_of[1], name)
                    else:
                        target.make(target.name(schema, name), self._types(target, batch), self.keys)
                table = self._look(self._inspector(), schema, name)
                assert table is not None
            self._fits(table, list((self.chosen or {}).values()))
        object.__setattr__(self, "_kinds", table.kinds)
        return table

    def _types(self, target: Target, batch: RecordBatch) -> dict[str, str]:
        """The columns of a table that is made for these records."""
        columns = self.chosen or {str(field): str(field) for record in batch.records for field in record}
        found = {}
        for field, column in columns.items():
            values = [record.get(field) for record in batch.records]
            found[column] = self.types.get(column) or target.column_type(values, column in self.keys)
        if not found:
            raise Refused("table", f"{self.table} is not there, and records without fields say no columns; make it first")
        return found

    def _look(self, inspector: Any, schema: str | None, name: str) -> Table | None:
        """What a table is like; None where it is not there."""
        if not inspector.has_table(name, schema):
            return None
        kinds, defaults = {}, []
        in_text = set(json_columns(inspector.bind, schema, name)) if self.dialect == "mysql" else set()
        types = declared(inspector.bind, schema, name) if self.dialect == "sqlite" else {}
        for column in inspector.get_columns(name, schema):
            kind = types.get(column["name"]) or type(column["type"]).__name__
            if kind in ("JSON", "JSONB") or column["name"] in in_text:
                kinds[column["name"]] = "json"
            else:
                kinds[column["name"]] = {"ARRAY": "array", "DECIMAL_TEXT": "decimal"}.get(kind, "")
            if column.get("default") is not None or column.get("identity") or column.get("autoincrement") is True:
                defaults.append(column["name"])
        primary = list(inspector.get_pk_constraint(name, schema).get("constrained_columns") or [])
        if self.dialect == "sqlite" and len(primary) == 1:
            defaults.append(primary[0])  # The number of a row, where it is an integer.
        indexes = [index for index in inspector.get_indexes(name, schema) if index["unique"]]
        whole = [index for index in indexes if not index.get("dialect_options", {}).get("postgresql_where")]  # of all rows
        unique = [primary, *(found["column_names"] for found in (*whole, *inspector.get_unique_constraints(name, schema)))]
        return Table(kinds, frozenset(defaults), frozenset(frozenset(filter(None, names)) for names in unique if names))

    # Connections

    @property
    def _target(self) -> Target:
        found: Target | None = self.__dict__.get("_connected")
        if found is None:
            with refusals(self):
                found = TARGETS[self.dialect](self)
            object.__setattr__(self, "_connected", found)
        return found

    @contextmanager
    def _transaction(self) -> Iterator[Target]:
        """What is done inside is done, or nothing of it."""
        target = self._target
        target.begin()
        try:
            yield target
            target.commit()
        except BaseException:
            with suppress(Exception):
                target.rollback()
            raise

    def _inspector(self) -> Any:
        """Looks at tables as the transaction sees them."""
        return sqlalchemy(self.dialect).inspect(self._target.pooled)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Refusals as the engine takes them."""
        try:
            with refusals(self):
                yield
        except Refused as error:
            if not error.passing:
                raise DestinationError(str(error)) from error
            self.reset()
            raise Transient(str(error)) from error
