"""How rows are put into tables: what PostgreSQL, MariaDB (also MySQL) and SQLite do in their own ways.

A `Target` is one connection, below SQLAlchemy: it copies, inserts and merges rows, makes tables of what records hold, and swaps
one table for another. Names are quoted by the dialect, and values are parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import isfinite
from typing import Any, ClassVar
from uuid import UUID

from exporters_beam.decimals import plain
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.systems.sql import SqlDatabase

Row = tuple[Any, ...]

Columns = Sequence[Sequence[Any]]
"""Rows, as the values of each of their columns."""

_json, _all_json = JsonFormat().format, JsonFormat().format_all

NESTED = (dict, list, tuple)

_LARGE = 2**63


_IN_COPY = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def _copied(values: Sequence[Any], types: set[type]) -> Sequence[str]:
    """The values of a column, of these types, as COPY of PostgreSQL takes them, and as psycopg would write them. Raises
    ValueError where only psycopg can: other than plain types, what is no number, what the database cannot hold."""
    if type(None) in types:
        found = iter(_copied([value for value in values if value is not None], types - {type(None)}))
        return [r"\N" if value is None else next(found) for value in values]
    if types <= {str}:
        together = "".join(values)
        if "\0" in together:
            raise ValueError("text with a zero byte")
        special = any(sign in together for sign in "\\\n\r\t")
        return [value.translate(_IN_COPY) for value in values] if special else values
    if types == {bool}:
        return ["t" if value else "f" for value in values]
    if types == {float}:
        if not all(map(isfinite, values)):
            raise ValueError("a float that is no number")
        return list(map(repr, values))
    if types == {int}:
        return list(map(str, values))
    raise ValueError("other types")


class Target:
    """One connection to a database that rows are put into."""

    mark: ClassVar[str] = "%s"
    plain: ClassVar[frozenset[type]] = frozenset()
    """Types that the driver takes as they are."""
    types: ClassVar[Mapping[type, str]] = {}
    """What a column is made of that has values of one type."""
    large: ClassVar[str] = "NUMERIC"
    nested: ClassVar[str] = "JSON"
    text: ClassVar[str] = "TEXT"
    at: ClassVar[str] = "TIMESTAMP DEFAULT CURRENT_TIMESTAMP"
    behind: ClassVar[str] = ""
    """What stands behind the columns of a table that is made."""

    def __init__(self, database: SqlDatabase) -> None:
        self.pooled: Any = database.engine.connect()
        """The connection as SQLAlchemy has it, which looks at tables."""
        self.connection: Any = self.pooled.connection.driver_connection
        self._quote = database.engine.dialect.identifier_preparer.quote_identifier
        self.guilty: int | None = None
        """Which of the rows the database named when it refused them."""
        self.begun()

    def begun(self) -> None:
        """What a new connection is told."""

    def close(self) -> None:
        with suppress(Exception):
            self.pooled.invalidate()
            self.pooled.close()

    def name(self, *parts: str | None) -> str:
        """A name for a statement that is run, quoted, with percent signs doubled where the driver wants that."""
        return ".".join(self._quote(part) for part in parts if part)

    def names(self, names: Sequence[str]) -> str:
        return ", ".join(map(self.name, names))

    def run(self, statement: str, *values: Any) -> list[Row]:
        """Run it; gives the rows of its answer. Values stand in the places of %s."""
        cursor = self.connection.cursor()
        try:
            if values:
                cursor.execute(self._marked(statement), values)
            else:
                cursor.execute(statement if self.mark != "%s" else statement.replace("%%", "%"))
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            cursor.close()

    def _marked(self, statement: str) -> str:
        return statement.replace("%s", self.mark)

    def begin(self) -> None:
        """A transaction begins with its first statement."""

    def commit(self) -> None:
        self.connection.commit()
        if self.pooled.in_transaction():
            self.pooled.rollback()  # Of what it has looked at.

    def rollback(self) -> None:
        self.connection.rollback()
        if self.pooled.in_transaction():
            self.pooled.rollback()

    def alone(self, name: str) -> None:
        """Until the transaction ends nobody else does what has this name."""

    # Rows

    def put(self, table: str, columns: Sequence[str], values: Columns) -> None:
        """Put rows into a table, given as the values of each column."""
        self._many(f"INSERT INTO {table} ({self.names(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", values)

    def pour(self, table: str, columns: Sequence[str], kinds: Sequence[str], pieces: Iterable[Columns]) -> bool:
        """Put rows, piece by piece, faster than `put`, their values being as they are in records. False where the database has
        no way to do so. Raises anything where a value is not a usual one, or refused: `put` then says what is wrong."""
        return False

    def merge(self, table: str, columns: Sequence[str], values: Columns, key: Sequence[str]) -> None:
        """Put rows, in their order, in the place of those that have the same key."""
        raise NotImplementedError

    def _many(self, statement: str, values: Columns) -> None:
        cursor = self.connection.cursor()
        try:
            cursor.executemany(self._marked(statement), list(zip(*values, strict=True)))
        finally:
            cursor.close()

    # Values

    def converter(self, kind: str, types: Collection[type]) -> Callable[[Any], Any] | None:
        """What makes values of these types fit a column of this kind (`json`, `array` or ""); None where nothing has to."""
        if kind == "json":
            return lambda value: None if value is None else _json(value).decode()
        if self.plain.issuperset(types):
            return None
        return lambda value: value if type(value) in self.plain else self.made(value, kind)

    def column(self, kind: str, values: Sequence[Any]) -> Sequence[Any]:
        """The values of a column of this kind as the driver takes them. Raises anything where one cannot be had."""
        types = set(map(type, values))
        make = self.converter(kind, types)
        if make is None:
            return values
        if kind == "json" and type(None) not in types:
            return b"\n".join(_all_json(values)).decode().split("\n") if values else []
        return list(map(make, values))

    def made(self, value: Any, kind: str) -> Any:
        """A value as the driver takes it. Raises ValueError for what the database cannot hold."""
        if isinstance(value, NESTED):
            return _json(value).decode()
        return str(value)

    # Tables

    def column_type(self, values: Sequence[Any], key: bool) -> str:
        """The type of a column that is made for these values."""
        types = {type(value) for value in values} - {type(None)}
        if types & set(NESTED):
            return self.nested
        if types == {int}:
            return self.types[int] if all(-_LARGE <= value < _LARGE for value in values if value is not None) else self.large
        if types == {int, float}:
            return self.types[float]
        if types == {datetime} and any(value.tzinfo is not None for value in values if value is not None):
            return self.types[timezone]
        if len(types) == 1 and (found := self.types.get(next(iter(types)))) is not None:
            return found
        return self.key_text if key else self.text

    @property
    def key_text(self) -> str:
        return self.text

    def make(self, table: str, columns: Mapping[str, str], key: Sequence[str] = ()) -> None:
        """Make a table with columns of these types."""
        parts = [f"{self.name(name)} {kind}" for name, kind in columns.items()]
        parts += [f"PRIMARY KEY ({self.names(key)})"] if key else []
        self.run(f"CREATE TABLE {table} ({', '.join(parts)}){self.behind}")

    def make_like(self, schema: str | None, old: str, new: str) -> None:
        """Make an empty table as another one is."""
        raise NotImplementedError

    def swap(self, schema: str | None, old: str, new: str, there: bool) -> None:
        """Give a table the name of another one, which is dropped if it is there."""
        raise NotImplementedError

    def may_not(self, schema: str | None, table: str, columns: Sequence[str]) -> None:
        """Raises the database's answer where the user may not put rows into a table. Nothing is put."""
        rows = f"SELECT {', '.join(['NULL'] * len(columns))} FROM (SELECT 1) AS q WHERE 1 = 0"
        self.run(f"EXPLAIN INSERT INTO {self.name(schema, table)} ({self.names(columns)}) {rows}")


class PostgresqlTarget(Target):
    plain = frozenset({int, float, str, bool, type(None), Decimal, date, datetime, time, timedelta, bytes, UUID})
    types: ClassVar[Mapping[type, str]] = {
        int: "BIGINT", float: "DOUBLE PRECISION", bool: "BOOLEAN", Decimal: "NUMERIC", date: "DATE", datetime: "TIMESTAMP",
        timezone: "TIMESTAMPTZ", time: "TIME", timedelta: "INTERVAL", bytes: "BYTEA", UUID: "UUID",
    }  # fmt: skip
    nested = "JSONB"
    at = "TIMESTAMPTZ DEFAULT now()"

    def alone(self, name: str) -> None:
        self.run("SELECT pg_advisory_xact_lock(hashtext(%s))", name)

    def put(self, table: str, columns: Sequence[str], values: Columns) -> None:
        self.guilty = at = None
        try:
            with self.connection.cursor() as cursor, cursor.copy(self._copy(table, columns)) as copy:
                write = copy.write_row
                for at, row in enumerate(zip(*values, strict=True)):  # noqa: B007
                    write(row)
                at = None
        except Exception as error:
            told = getattr(error, "diag", None)
            line = re.match(r"COPY .*?, line (\d+)", told.context or "", re.DOTALL) if told is not None else None
            self.guilty = int(line.group(1)) - 1 if line else at if getattr(error, "sqlstate", None) is None else None
            raise

    def _copy(self, table: str, columns: Sequence[str]) -> str:
        return f"COPY {table} ({self.names(columns)}) FROM STDIN".replace("%%", "%")

    def pour(self, table: str, columns: Sequence[str], kinds: Sequence[str], pieces: Iterable[Columns]) -> bool:
        """In a third of the time of `put`: the rows become text by the column, and not value by value."""
        with self.connection.cursor() as cursor, cursor.copy(self._copy(table, columns)) as copy:
            for values in pieces:
                texts = map(self._texts, kinds, values)
                copy.write("\n".join((*map("\t".join, zip(*texts, strict=True)), "")).encode())
        return True

    def _texts(self, kind: str, values: Sequence[Any]) -> Sequence[str]:
        """The values of a column of this kind as texts of COPY. Raises ValueError where `put` has to be asked."""
        types = {*map(type, values)}
        if kind == "json" and type(None) not in types:
            together = b"\n".join(_all_json(values)).decode()
            return together.replace("\\", r"\\").split("\n")
        if kind == "json" or not self.plain.issuperset(types):
            values = self.column(kind, values)
            types = {*map(type, values)}
        return _copied(values, types)

    def merge(self, table: str, columns: Sequence[str], values: Columns, key: Sequence[str]) -> None:
        """By a temporary table: of rows of one key the last one counts, also where the database alone knows that they are."""
        staged, number, names, keys = "exporters_beam_staged", "exporters_beam_n", self.names(columns), self.names(key)
        self.run(f"CREATE TEMP TABLE {staged} ON COMMIT DROP AS SELECT {names}, 0 AS {number} FROM {table} WITH NO DATA")
        self.put(staged, (*columns, number), [*values, range(len(values[0]))])
        self.guilty = None
        others = [name for name in columns if name not in key]
        change = "UPDATE SET " + ", ".join(f"{self.name(name)} = EXCLUDED.{self.name(name)}" for name in others)
        last = f"SELECT DISTINCT ON ({keys}) * FROM {staged} ORDER BY {keys}, {number} DESC"
        self.run(f"INSERT INTO {table} ({names}) SELECT {names} FROM ({last}) AS q ON CONFLICT ({keys}) "
                 f"DO {change if others else 'NOTHING'}")  # fmt: skip
        self.run(f"DROP TABLE {staged}")

    def made(self, value: Any, kind: str) -> Any:
        return value if kind == "array" and isinstance(value, list) else super().made(value, kind)

    def make_like(self, schema: str | None, old: str, new: str) -> None:
        self.run(f"CREATE TABLE {self.name(schema, new)} (LIKE {self.name(schema, old)} INCLUDING ALL)")

    def swap(self, schema: str | None, old: str, new: str, there: bool) -> None:
        if there:
            owned = self.run(
                "SELECT s.oid::regclass::text, a.attname FROM pg_depend d "
                "JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' "
                "JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid "
                "WHERE d.refobjid = to_regclass(%s) AND d.deptype = 'a'",
                self.name(schema, old).replace("%%", "%"),
            )
            for sequence, column in owned:  # Of serial columns, which the new table counts on by.
                self.run(f"ALTER SEQUENCE {sequence.replace('%', '%%')} OWNED BY {self.name(schema, new, column)}")
            self.run(f"DROP TABLE {self.name(schema, old)}")
        self.run(f"ALTER TABLE {self.name(schema, new)} RENAME TO {self.name(old)}")


class MysqlTarget(Target):
    plain = frozenset({int, float, str, bool, type(None), Decimal, date, time, timedelta, bytes})
    types: ClassVar[Mapping[type, str]] = {
        int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", date: "DATE", datetime: "DATETIME(6)", timezone: "DATETIME(6)",
        time: "TIME(6)", timedelta: "TIME(6)", bytes: "LONGBLOB", UUID: "CHAR(36)",
    }  # fmt: skip
    large = "DECIMAL(65, 0)"
    text = "LONGTEXT"
    behind = " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

    def begun(self) -> None:
        self.run("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")  # Nothing is cut or changed in silence.
        self.commit()

    @property
    def key_text(self) -> str:
        return "VARCHAR(255)"

    def merge(self, table: str, columns: Sequence[str], values: Columns, key: Sequence[str]) -> None:
        others = [name for name in columns if name not in key] or [key[0]]
        change = ", ".join(f"{self.name(name)} = VALUES({self.name(name)})" for name in others)
        self._many(f"INSERT INTO {table} ({self.names(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "
                   f"ON DUPLICATE KEY UPDATE {change}", values)  # fmt: skip

    def made(self, value: Any, kind: str) -> Any:
        if isinstance(value, datetime):
            return value if value.tzinfo is None else value.astimezone(timezone.utc).replace(tzinfo=None)
        return super().made(value, kind)

    def column_type(self, values: Sequence[Any], key: bool) -> str:
        if {type(value) for value in values} - {type(None)} == {Decimal}:
            places = max((-value.as_tuple().exponent for value in values if value and value.is_finite()), default=0)
            return f"DECIMAL(65, {min(38, max(10, places))})"
        return super().column_type(values, key)

    def make_like(self, schema: str | None, old: str, new: str) -> None:
        self.run(f"CREATE TABLE IF NOT EXISTS {self.name(schema, new)} LIKE {self.name(schema, old)}")

    def swap(self, schema: str | None, old: str, new: str, there: bool) -> None:
        gone = f"{new[:58]}__old"
        self.run(f"DROP TABLE IF EXISTS {self.name(schema, gone)}")
        before = f"{self.name(schema, old)} TO {self.name(schema, gone)}, " if there else ""
        self.run(f"RENAME TABLE {before}{self.name(schema, new)} TO {self.name(schema, old)}")
        self.run(f"DROP TABLE IF EXISTS {self.name(schema, gone)}")


class SqliteTarget(Target):
    mark = "?"
    plain = frozenset({int, str, bool, type(None), bytes})
    types: ClassVar[Mapping[type, str]] = {
        int: "INTEGER", float: "REAL", bool: "BOOLEAN", Decimal: "DECIMAL_TEXT", date: "DATE", datetime: "DATETIME",
        timezone: "DATETIME", time: "TIME", bytes: "BLOB", UUID: "UUID",
    }  # fmt: skip
    large = "DECIMAL_TEXT"

    def begun(self) -> None:
        self.connection.isolation_level = None  # Statements that make tables belong to transactions, too.

    def begin(self) -> None:
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN IMMEDIATE")

    def merge(self, table: str, columns: Sequence[str], values: Columns, key: Sequence[str]) -> None:
        others = [name for name in columns if name not in key]
        change = "UPDATE SET " + ", ".join(f"{self.name(name)} = excluded.{self.name(name)}" for name in others)
        self._many(f"INSERT INTO {table} ({self.names(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "
                   f"ON CONFLICT ({self.names(key)}) DO {change if others else 'NOTHING'}", values)  # fmt: skip

    def converter(self, kind: str, types: Collection[type]) -> Callable[[Any], Any] | None:
        if kind == "decimal":
            return lambda value: plain(value) if isinstance(value, Decimal) else None if value is None else str(value)
        return super().converter(kind, types)

    def made(self, value: Any, kind: str) -> Any:
        if isinstance(value, float):
            if value != value:
                raise ValueError("SQLite has no NaN")
            return value
        if isinstance(value, Decimal):
            return plain(value)
        if isinstance(value, (date, time)):
            return value.isoformat()
        return super().made(value, kind)

    def make_like(self, schema: str | None, old: str, new: str) -> None:
        (sql,) = self._master(schema, old, "table")
        head = re.match(r"""\s*CREATE\s+TABLE\s+("(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|'[^']*'|[^\s(]+)""", sql, re.IGNORECASE)
        assert head is not None
        self.connection.execute(f"CREATE TABLE {self.name(schema, new)}{sql[head.end() :]}")

    def swap(self, schema: str | None, old: str, new: str, there: bool) -> None:
        indexes = self._master(schema, old, "index") if there else []
        if there:
            self.run(f"DROP TABLE {self.name(schema, old)}")
        self.run(f"ALTER TABLE {self.name(schema, new)} RENAME TO {self.name(old)}")
        for sql in indexes:
            self.connection.execute(sql)

    def _master(self, schema: str | None, table: str, kind: str) -> list[str]:
        master = self.name(schema or "main", "sqlite_master")
        found = self.run(f"SELECT sql FROM {master} WHERE type = %s AND tbl_name = %s", kind, table)
        return [sql for (sql,) in found if sql]


TARGETS = {"postgresql": PostgresqlTarget, "mysql": MysqlTarget, "sqlite": SqliteTarget}
