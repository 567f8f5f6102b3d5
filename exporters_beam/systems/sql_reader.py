"""The reader `sql`: rows of a table or of a query, cut into ranges of a key."""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.rows import maker
from exporters_beam.records import Record, Undecoded, Unit, Warned, units_of
from exporters_beam.systems.sql import (
    Odd,
    Refused,
    SqlDatabase,
    declared,
    json_columns,
    json_value,
    no_such_table,
    refusals,
    split_name,
    sqlalchemy,
)
from exporters_beam.systems.sql_pieces import Key, Piece, comparable, packed

if TYPE_CHECKING:
    import sqlalchemy as sa

RANGE_ROWS = 10_000

UNIT_RANGES = 64
"""Ranges of a unit: their borders travel with it."""

UNIT_BYTES = 8 << 10
"""Bytes of borders after which a unit ends earlier."""

BATCH_ROWS, BATCH_BYTES = 1000, 4 << 20
"""What is fetched at once: so many rows, fewer where they are large."""

ATTEMPTS = 6
"""How often a range is taken up again where the connection breaks."""


class Layout(NamedTuple):
    """What the database says of a table or a query: its columns in order, the key, and what becomes of values."""

    columns: tuple[str, ...]
    primary: tuple[str, ...] = ()
    unique: frozenset[frozenset[str]] = frozenset()
    """Sets of columns of which no two rows have the same values, none of them null."""
    indexed: tuple[tuple[str, ...], ...] = ()
    nullable: frozenset[str] = frozenset()
    converters: dict[str, Callable[[Any], Any]] = {}
    no_keys: dict[str, str] = {}
    """Columns that cannot be cut by, and why."""
    integers: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class SqlReader(SqlDatabase):
    """Read a table or a query of PostgreSQL, MariaDB, MySQL or SQLite: a record for each row.

    The rows are cut into ranges of about 10,000 by a key, the primary key where no other is named, so that workers share
    them and a resumed run goes on. Records come in the order of the key. Without a key one worker reads all in one range.
    Values keep their types; docs/systems.md says what becomes of those that files have no type for.

    Example:
        reader:
          name: sql
          options:
            url: postgresql://shop@db.example.org/shop
            password: ${secret:env:SHOP_PASSWORD}
            table: public.products
            columns: [sku, name, price]
            where: price > 10
    """

    kind: ClassVar[str] = "reader"
    fixed: ClassVar[bool] = True

    table: str | None = option("the table or view, as name or schema.name; names are taken exactly", type="str", default=None,
                               example="shop.products")  # fmt: skip
    query: str | None = option("a SELECT instead of a table", type="str", default=None)
    columns: tuple[str, ...] = option("the columns to read, in this order; by default all", type="str_list", default=())
    where: str | None = option("a condition in SQL that rows have to meet", type="str", default=None, example="price > 10")
    key: Any = option("the column, or columns, whose values cut the rows into ranges, best with an index; [] for none; by "
                      "default the primary key", type="str|str_list", default=None, example="id")  # fmt: skip
    snapshot: bool = option(
        "read everything as it is at one moment, in one transaction by one worker", type="bool", default=False
    )
    range_rows: int = option("rows in a range", type="int", default=RANGE_ROWS, minimum=1)
    _since: tuple[str, float] | None = field(init=False, repr=False, compare=False, default=None)
    """The etag of the last unit that was read, "" where there is none, and the age in seconds that rows have to have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.table is None) == (self.query is None):
            raise ConfigError("table: give either table or query")
        if self.table is not None and split_name(self.table) is None:
            raise ConfigError(f'table: {self.table} is no name; write table or schema.table, with "…" around names that have '
                              "a dot in them")  # fmt: skip
        if self.query is not None and not self.query.strip().rstrip(";"):
            raise ConfigError("query: this is empty")
        if self.snapshot and self.given_key:
            raise ConfigError("key: with snapshot: true all is read in one piece; leave out one of them")

    @property
    def given_key(self) -> tuple[str, ...] | None:
        if self.key is None:
            return None
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)

    @property
    def on_this_machine(self) -> bool:
        return self.dialect == "sqlite"

    @property
    def subject(self) -> str:
        return "table" if self.table is not None else "query"

    @property
    def name(self) -> str:
        """What users know the rows by."""
        return self.table if self.table is not None else "query"

    # What there is

    def units(self) -> Iterator[Unit | Warned]:
        with self._telling(), self._connection() as connection:
            layout = self._layout(connection)
            columns = self._chosen(layout)
            key = self._key(layout)
            if not key:
                if self._since is not None:
                    raise Refused("key", "what is new is known by a key that grows, and there is none for "
                                         f"{self.name}; name its columns, as [updated_at, id]")  # fmt: skip
                yield Unit(0, self.name, -1, Piece(columns).text())
                return
            unique = any(set(key) >= known for known in layout.unique)
            order = () if unique else tuple(name for name in layout.primary if name not in key)
            nullable = any(name in layout.nullable for name in key)
            piece = Piece(columns, key, order, unique, nullable)
            if self._since is not None:
                self._refuse_no_cursor(connection, piece)
                piece = piece._replace(above=self._read_up_to(piece))
            if self.table is not None and layout.indexed and not any(names[: len(key)] == key for names in layout.indexed):
                yield Warned(f"key: no index of {self.name} begins with {', '.join(key)}: the database looks through the whole "
                             "table for each range; make an index, or give key: [] to read it in one piece")  # fmt: skip
            yield from units_of(self.name, (found.text() for found in self._pieces(connection, layout, piece)))

    def since(self, units: Sequence[Unit], seconds: float) -> SqlReader:
        """The reader of rows whose keys are behind those that were read, and the first column of whose key is a time that
        is so many seconds ago, where that is asked for."""
        reader = replace(self)
        last = next((unit.etag for unit in reversed(units) if Piece.of(unit.etag).borders), "")
        object.__setattr__(reader, "_since", (last, seconds))
        return reader

    def holds(self, unit: Unit) -> bool:
        """Whether there are rows in a unit, as it was listed."""
        return bool(Piece.of(unit.etag).borders)

    def gap(self, before: Sequence[Unit], units: Sequence[Unit]) -> Iterator[str]:
        """Whether the rows of a batch begin where those of the batches before ended."""
        last = next((Piece.of(unit.etag).borders[-1] for unit in reversed(before) if Piece.of(unit.etag).borders), None)
        for unit in units:
            piece = Piece.of(unit.etag)
            if last is not None and piece.borders and piece.above != last:
                yield f"{unit.name}: its rows do not begin behind {packed(last)}, where the rows before end"
            last = piece.borders[-1] if piece.borders else last

    def _read_up_to(self, piece: Piece) -> Key | None:
        """The key of the last row that was read."""
        assert self._since is not None
        if not self._since[0]:
            return None
        before = Piece.of(self._since[0])
        if before.key != piece.key:
            raise Refused("key", f"what was read is known by {', '.join(before.key)}; put that back, or begin anew with "
                                 "exporters-beam state CONFIG --reset")  # fmt: skip
        return before.borders[-1]

    def _refuse_no_cursor(self, connection: sa.Connection, piece: Piece) -> None:
        """Raises Refused where rows could be between two batches, and nobody would know."""
        names = ", ".join(piece.key)
        if not piece.unique and self.table is not None:
            raise Refused("key", f"several rows may have the same {names}, some of which would be read and others never; add a "
                                 f"column that tells them apart, as [{names}, id]")  # fmt: skip
        if piece.nullable and self._first(connection, piece, nulls=True) is not None:
            raise Refused("key", f"there are rows without a value in {names}, of which nobody knows whether they are "
                                 "new; leave them out by `where`, or name other columns")  # fmt: skip

    def probe(self) -> None:
        """Looks whether the table can be read. Raises SourceError."""
        with self._telling(), self._connection() as connection:
            layout = self._layout(connection)
            self._key(layout)
            self._rows(connection, Piece(self._chosen(layout)), None, None, limit=0).close()

    def _layout(self, connection: sa.Connection) -> Layout:
        if self.table is None:
            return Layout(self._columns_of_query(connection))
        sa = sqlalchemy(self.dialect)
        schema, table = split_name(self.table)  # type: ignore[misc]
        inspector = sa.inspect(connection)
        if not inspector.has_table(table, schema):
            raise Refused("table", f"{self.place}: {no_such_table(inspector, schema, table)}")
        known = inspector.get_columns(table, schema)
        nullable = frozenset(column["name"] for column in known if column["nullable"])
        primary = tuple(inspector.get_pk_constraint(table, schema).get("constrained_columns") or ())
        indexes = inspector.get_indexes(table, schema)
        indexed = [
            tuple(index["column_names"]) for index in indexes if not index.get("dialect_options", {}).get("postgresql_where")
        ]
        unique = [names for names, index in zip(indexed, indexes, strict=False) if index["unique"] and None not in names]
        unique += [tuple(found["column_names"]) for found in inspector.get_unique_constraints(table, schema)]
        if self.dialect == "sqlite":  # There a primary key may be null, unless it is the row's number.
            rowid = len(primary) == 1 and any(
                column["name"] == primary[0] and str(column["type"]).upper() == "INTEGER" for column in known
            )
            nullable = frozenset(nullable | set(primary)) if not rowid else nullable - set(primary)
        else:
            nullable = nullable - set(primary)
        whole = [names for names in (primary, *unique) if names and not set(names) & nullable]
        types = {column["name"]: column["type"] for column in known}
        return Layout(
            tuple(types),
            primary,
            frozenset(map(frozenset, whole)),
            tuple(filter(None, (primary, *indexed))),
            nullable,
            self._converters(connection, types, schema, table),
            {name: "is an ENUM or a SET, which are sorted otherwise than compared" for name, found in types.items()
             if self.dialect == "mysql" and type(found).__name__ in ("ENUM", "SET")},
            frozenset(name for name, found in types.items() if isinstance(found, sa.Integer)),
        )  # fmt: skip

    def _columns_of_query(self, connection: sa.Connection) -> tuple[str, ...]:
        """The names of what the query gives. The database is asked for no row."""
        query = self._query() if self.dialect == "sqlite" else f"SELECT * FROM ({self._query()}\n) AS q LIMIT 0"
        with _plainly(connection, query) as result:
            names = tuple((result.cursor.description and [found[0] for found in result.cursor.description]) or ())
        if not names:
            raise Refused("query", "it gives no rows; write a SELECT")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Refused("query", f"it gives several columns called {', '.join(twice)}; name them apart, with AS")
        return names

    def _converters(self, connection: sa.Connection, types: dict[str, Any], schema: str | None, table: str) -> dict[str, Any]:
        """What makes values of columns whose type the driver does not tell."""
        if self.dialect == "sqlite":
            found = declared(connection, schema, table)
            return {name: made for name, kind in found.items() if (made := _of_sqlite(kind)) is not None}
        if self.dialect == "mysql":
            return dict.fromkeys(json_columns(connection, schema, table), json_value)
        return {}

    def _known(self, connection: sa.Connection) -> dict[str, Callable[[Any], Any]]:
        """The converters of the layout; workers look once."""
        found: dict[str, Callable[[Any], Any]] | None = self.__dict__.get("_kept")
        if found is None:
            found = self._layout(connection).converters if self.table is not None else {}
            object.__setattr__(self, "_kept", found)
        return found

    def _chosen(self, layout: Layout) -> tuple[str, ...]:
        for name in self.columns:
            if name not in layout.columns:
                raise Refused("columns", f"{self.name} has no column {name}{did_you_mean(name, layout.columns)}")
        if len(set(self.columns)) < len(self.columns):
            raise Refused("columns", "a column stands there twice")
        return self.columns or layout.columns

    def _key(self, layout: Layout) -> tuple[str, ...]:
        """The key's columns, none where all is read in one piece."""
        if self.snapshot:
            return ()
        given = self.given_key
        for name in given or ():
            if name not in layout.columns:
                raise Refused("key", f"{self.name} has no column {name}{did_you_mean(name, layout.columns)}")
            if name in layout.no_keys:
                raise Refused("key", f"{name} {layout.no_keys[name]}; name another column")
        if given is not None:
            return given
        return () if any(name in layout.no_keys for name in layout.primary) else layout.primary

    # Where ranges end

    def _pieces(self, connection: sa.Connection, layout: Layout, piece: Piece) -> Iterator[Piece]:
        """The pieces of the units, as they are found."""
        nulls = piece.nullable and self._first(connection, piece, nulls=True) is not None
        borders: list[Key] = []
        size, above, given = 0, piece.above, False
        for border in self._borders(connection, layout, piece):
            if len(borders) >= UNIT_RANGES or size >= UNIT_BYTES:
                yield piece._replace(above=above, borders=tuple(borders))
                above, borders, size, given = borders[-1], [], 0, True
            borders.append(border)
            size += len(str(border))
        if borders or nulls or not given:
            # Of a table without rows there is one range, without a border: nobody can be in it.
            found = piece._replace(above=above, borders=tuple(borders), nulls=nulls)
            yield found if found.ranges else piece._replace(nulls=True)

    def _borders(self, connection: sa.Connection, layout: Layout, piece: Piece) -> Iterator[Key]:
        last = self._first(connection, piece, piece.above, down=True, settled=True)
        if last is None:
            return
        even = self._even(connection, layout, piece, last)
        if even is not None:
            yield from even
            return
        before: Key | None = piece.above
        while True:
            found = self._first(connection, piece, before, upto=last, skip=self.range_rows - 1)
            if found is None or packed(found) == packed(last):
                yield last
                return
            if before is not None and packed(found) == packed(before):
                raise Refused("key", f"the values of {', '.join(piece.key)} cannot be compared with what was read of them; "
                                     "name another column, or none (key: [])")  # fmt: skip
            yield found
            before = found

    def _even(self, connection: sa.Connection, layout: Layout, piece: Piece, last: Key) -> Iterator[Key] | None:
        """Borders by arithmetic, where at least half of the integers up to the last one are there, as the database guesses: a
        range then has no more rows than integers. None where it does not know, and where numbers have gaps."""
        if self.table is None or len(last) != 1 or not piece.unique or not set(piece.key) <= layout.integers:
            return None
        first = self._first(connection, piece, piece.above)
        guessed = self._guessed(connection)
        if first is None or guessed <= 0 or last[0] - first[0] >= 2 * guessed:
            return None
        return iter([*((n,) for n in range(first[0] + self.range_rows - 1, last[0], self.range_rows)), last])

    def _guessed(self, connection: sa.Connection) -> int:
        """How many rows the database believes that the table has."""
        sa = sqlalchemy(self.dialect)
        schema, table = split_name(self.table or "")  # type: ignore[misc]
        if self.dialect == "postgresql":
            name = ".".join(connection.dialect.identifier_preparer.quote_identifier(part) for part in (schema, table) if part)
            name = name.replace("%%", "%")
            found = connection.scalar(sa.text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)"), {"name": name})
        elif self.dialect == "mysql":
            found = connection.scalar(
                sa.text("SELECT table_rows FROM information_schema.tables "
                        "WHERE table_schema = COALESCE(:schema, DATABASE()) AND table_name = :table"),
                {"schema": schema, "table": table},
            )  # fmt: skip
        else:
            return 0
        return int(found or 0)

    def _first(
        self, connection: sa.Connection, piece: Piece, above: Key | None = None, upto: Key | None = None, *, skip: int = 0,
        down: bool = False, nulls: bool = False, settled: bool = False,
    ) -> Key | None:  # fmt: skip
        """The key of the first row above a key, or so many behind it; from the end with `down`. None where there is none."""
        sa = sqlalchemy(self.dialect)
        key = [_column(sa, name) for name in piece.key]
        statement = self._statement(sa, key).where(*self._limits(sa, piece, above, upto, nulls))
        if settled and self._since is not None and self._since[1]:
            statement = statement.where(key[0] <= sa.literal_column(self._ago(self._since[1])))
        if not nulls:
            statement = statement.order_by(*(column.desc() if down else column for column in key))
        statement = statement.limit(1)
        row = connection.execute(statement.offset(skip) if skip else statement).first()
        return None if row is None else tuple(map(comparable, row)) if not nulls else ()

    # Statements

    def _ago(self, seconds: float) -> str:
        """The time so many seconds ago, by the database's clock."""
        if self.dialect == "postgresql":
            return f"(now() - make_interval(secs => {seconds:.6f}))"
        if self.dialect == "mysql":
            return f"(NOW(6) - INTERVAL {round(seconds * 1e6)} MICROSECOND)"
        return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{seconds:.3f} seconds')"

    def _query(self) -> str:
        return (self.query or "").strip().rstrip(";").rstrip()

    def _from(self, sa: Any) -> Any:
        from sqlalchemy.sql import quoted_name

        if self.table is not None:
            schema, table = split_name(self.table)  # type: ignore[misc]
            return sa.table(quoted_name(table, True), schema=schema and quoted_name(schema, True))
        query = self._query() if self.dialect == "sqlite" else self._query().replace("%", "%%")
        return sa.table(quoted_name(f"({query}\n) AS exporters_beam_query", False))

    def _statement(self, sa: Any, columns: list[Any]) -> Any:
        statement = sa.select(*columns).select_from(self._from(sa))
        return statement if self.where is None else statement.where(sa.literal_column(f"({self.where}\n)"))

    def _limits(self, sa: Any, piece: Piece, above: Key | None, upto: Key | None, nulls: bool = False) -> list[Any]:
        """The conditions of a range. They are compared by the database, with its own collations."""
        columns = [_column(sa, name) for name in piece.key]
        if nulls:
            return [sa.or_(*(column.is_(None) for column in columns))]
        found = [column.is_not(None) for column in columns] if piece.nullable else []

        def value(of: Any) -> Any:
            return sa.bindparam(None, of, sa.types.NullType())  # Without a type the database takes it for the column's.

        for border, one, many in ((above, operator.gt, operator.ge), (upto, operator.le, operator.le)):
            if border is None:
                continue
            if len(columns) == 1:
                found.append(one(columns[0], value(border[0])))
            else:
                found.append(many(columns[0], value(border[0])))  # An index of MariaDB is entered by this one alone.
                found.append(one(sa.tuple_(*columns), sa.tuple_(*map(value, border))))
        return found

    def _rows(
        self, connection: sa.Connection, piece: Piece, above: Key | None, upto: Key | None, *, nulls: bool = False,
        limit: int | None = None, hidden: Sequence[str] = (),
    ) -> Any:  # fmt: skip
        """The rows of a range by a cursor of the server's, and behind their columns those that are `hidden`."""
        sa = sqlalchemy(self.dialect)
        if self.query is not None and not piece.key and not self.columns and self.where is None and limit is None:
            return _plainly(connection, self._query())  # Its own order is kept.
        statement = self._statement(sa, [_column(sa, name) for name in (*piece.columns, *hidden)])
        if piece.key:
            order = piece.order if nulls else (*piece.key, *piece.order)
            statement = statement.where(*self._limits(sa, piece, above, upto, nulls))
            statement = statement.order_by(*(_column(sa, name) for name in order))
        if limit is not None:
            statement = statement.limit(limit)
        return connection.execution_options(stream_results=True).execute(statement)

    # Records

    def ranges(self, unit: Unit) -> int:
        return Piece.of(unit.etag).ranges

    def read(self, unit: Unit, start: int) -> Iterator[tuple[int, Sequence[Record]]]:
        piece = Piece.of(unit.etag)
        reading = _Reading(self, piece)
        try:
            for number in range(start, piece.ranges):
                with self._telling(gone=True):
                    for records in reading.range(number):
                        yield number, records
        finally:
            reading.close()

    def decode(self, raw: str) -> Record:
        """The record of a letter: an object of JSON, whose values are taken as they stand there. Raises RecordError."""
        try:
            found = json_value(raw)
        except ValueError as error:
            raise RecordError(f"this is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise RecordError("this is no object of JSON")
        return found

    @contextmanager
    def _telling(self, gone: bool = False) -> Iterator[None]:
        try:
            yield
        except Refused as error:
            more = "; it was there when the export was listed" if gone and error.option == self.subject else ""
            raise SourceError(f"{error}{more}") from error

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        with refusals(self, self.subject), self.engine.connect() as connection:
            yield connection


class _Reading:
    """A connection that reads ranges one after the other, made again where it breaks."""

    def __init__(self, reader: SqlReader, piece: Piece) -> None:
        self._reader, self._piece = reader, piece
        self._open: Any = None
        self._result: Any = None
        self._converters: list[tuple[int, str, Callable[[Any], Any]]] | None = [] if reader.dialect == "postgresql" else None

    def range(self, number: int) -> Iterator[list[Any]]:
        """The records of a range. Where the connection breaks it goes on behind the last key that it gave; where keys are not
        unique only if it gave none."""
        piece = self._piece
        nulls = number >= len(piece.borders)
        above = None if nulls else piece.borders[number - 1] if number else piece.above
        upto = None if nulls else piece.borders[number]
        again = piece.unique and bool(piece.key) and not nulls
        hidden = tuple(name for name in piece.key if name not in piece.columns) if again else ()
        places = [(*piece.columns, *hidden).index(name) for name in piece.key] if again else []
        tries, given = 0, False
        while True:
            try:
                for rows in self._batches(above, upto, nulls, hidden):
                    if again:
                        last = tuple(comparable(rows[-1][place]) for place in places)
                        again = not any(isinstance(value, float) for value in last)  # These may not compare as they came.
                        above = last
                    yield self._records(rows)
                    tries, given = 0, True
                return
            except Refused as error:
                self.close()
                tries += 1
                if not error.passing or tries >= ATTEMPTS or (given and not again):
                    raise
                time.sleep(min(10.0, 0.2 * 2**tries))

    def _batches(self, above: Key | None, upto: Key | None, nulls: bool, hidden: Sequence[str]) -> Iterator[Sequence[Any]]:
        reader = self._reader
        with refusals(reader, reader.subject):
            connection = self._connected()
            if self._converters is None:
                known = reader._known(connection)
                names = enumerate(self._piece.columns)
                self._converters = [(place, name, known[name]) for place, name in names if name in known]
            self._result = result = reader._rows(
                connection, self._piece, above, upto, nulls=nulls and bool(self._piece.key), hidden=hidden
            )
            size = BATCH_ROWS // 10
            while rows := result.fetchmany(size):
                yield rows
                size = _next_size(rows)
            result.close()
            connection.rollback()

    def _connected(self) -> sa.Connection:
        if self._open is None:
            connection = self._reader.engine.connect()
            if self._reader.snapshot and self._reader.dialect != "sqlite":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            self._open = connection
        return self._open

    def _records(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        names = self._piece.columns
        if not self._converters and self._reader.dialect != "sqlite":
            if len(rows[0]) == len(names):
                return maker(names)(rows)
            return [dict(zip(names, row)) for row in rows]  # noqa: B905
        return [self._record(row) for row in rows]

    def _record(self, row: Sequence[Any]) -> Record | Undecoded:
        record = dict(zip(self._piece.columns, row))  # noqa: B905
        wrong: list[str] = []
        for place, name, convert in self._converters or ():
            if row[place] is not None and row[place].__class__ is not Odd:
                try:
                    record[name] = convert(row[place])
                except (ValueError, ArithmeticError, RecursionError) as error:
                    wrong.append(f"the column {name} has {str(row[place])[:60]!r}, of which no value can be made: {error}")
        for name, value in record.items():
            if value.__class__ is Odd:
                record[name] = value.raw
                wrong.append(f"the column {name} has {value.raw[:60]!r}, of which no value can be made: {value.why}")
        return Undecoded(json.dumps(record, ensure_ascii=False, default=str), wrong[0]) if wrong else record

    def close(self) -> None:
        """Ends the connection at once: what may still be on its way is not waited for."""
        connection, self._open = self._open, None
        if connection is not None:
            with suppress(AttributeError):  # PyMySQL would read the rest of the rows.
                self._result.cursor._result.unbuffered_active = False
            with suppress(Exception):
                if connection.in_transaction():
                    connection.invalidate()
                connection.close()


def _plainly(connection: sa.Connection, statement: str) -> Any:
    """The result of a statement that stands in the config, sent as it is."""
    return connection.execution_options(stream_results=True, no_parameters=True).exec_driver_sql(statement)


def _column(sa: Any, name: str) -> Any:
    from sqlalchemy.sql import quoted_name

    return sa.column(quoted_name(name, True))


def _next_size(rows: Sequence[Sequence[Any]]) -> int:
    """How many rows to fetch next, of the size of some of these."""
    some = rows[:: max(1, len(rows) // 8)]
    size = sum(len(value) for row in some for value in row if isinstance(value, (str, bytes, list, dict)))
    return max(1, min(BATCH_ROWS, BATCH_BYTES * len(some) // max(1, size)))


def _of_sqlite(declared: str) -> Callable[[Any], Any] | None:
    """What makes a value of a column that SQLite has no type for: by the type that it was declared with."""
    from datetime import date, datetime, time
    from decimal import Decimal
    from uuid import UUID

    kind = declared.partition("(")[0].strip()
    if kind in ("BOOLEAN", "BOOL"):
        return lambda value: bool(value) if value in (0, 1) else value
    made: dict[str, Callable[[str], Any]] = {
        "JSON": json_value,
        "JSONB": json_value,
        "DATE": date.fromisoformat,
        "TIME": time.fromisoformat,
        "DATETIME": lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")),
        "TIMESTAMP": lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")),
        "DECIMAL_TEXT": Decimal,
        "UUID": UUID,
    }
    if kind not in made:
        return None
    return lambda value: made[kind](value) if isinstance(value, str) else value
