"""The reader `sql`: rows of real databases as records, each once, whatever their keys are."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from datetime import date, datetime, time, timezone
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from exporters_beam import ConfigError
from exporters_beam.errors import SourceError
from exporters_beam.records import Unit, Warned
from exporters_beam.systems.sql_reader import SqlReader

from databases import Database

pytest.importorskip("sqlalchemy")


def reader_of(database: Database, **options: Any) -> SqlReader:
    return SqlReader(**database.options, **options)


def ranges_of(reader: SqlReader) -> list[list[dict[str, Any]]]:
    """The records of each range, of all units; each range is read by itself, as another worker would."""
    found = []
    for unit in reader.units():
        if isinstance(unit, Unit):
            for start in range(reader.ranges(unit)):
                alone = takewhile(lambda part: part[0] == start, reader.read(unit, start))  # noqa: B023
                found.append([record for _, records in alone for record in records])
    return found


def read(reader: SqlReader) -> list[dict[str, Any]]:
    return [record for records in ranges_of(reader) for record in records]


def names(units: Any) -> list[str]:
    return [unit.name for unit in units]


def quoted(database: Database, name: str) -> str:
    return f"`{name}`" if database.kind == "mariadb" else f'"{name}"'


KEYS: dict[str, tuple[str, list[Any]]] = {
    "dense": ("BIGINT", list(range(1, 101))),
    "gaps": ("BIGINT", [n**4 for n in range(60)]),
    "negative": ("BIGINT", list(range(-50, 50))),
    "large": ("BIGINT", [-(2**63), -1, 0, 1, 2**63 - 1, *range(2**53, 2**53 + 40)]),
    "duplicates": ("BIGINT", [n // 17 for n in range(100)]),
    "all the same": ("BIGINT", [7] * 50),
    "nulls": ("BIGINT", [None if n % 3 else n for n in range(90)]),
    "all null": ("BIGINT", [None] * 30),
    "one row": ("BIGINT", [5]),
    "no rows": ("BIGINT", []),
    "decimals": ("DECIMAL(20, 6)", [Decimal(n) / 8 for n in range(-40, 40)]),
    "floats": ("DOUBLE PRECISION", [n / 3 for n in range(-40, 40)]),
    "single floats": ("REAL", [0.1] * 30 + [n / 3 for n in range(40)]),
    "dates": ("DATE", [date(2024, 1 + n % 12, 1 + n % 28) for n in range(80)]),
    "text": ("VARCHAR(40)", [f"{random.Random(n).choice('aAäÄbBzZ_ é')}{n % 40}" for n in range(120)]),
    "odd text": (
        "VARCHAR(40)",
        ["", " ", "a", "a ", "A", "%", "%s", "'", "\\", ":x", "é", "e\u0301", "ß", "ss", "😀", "日本"] * 4,
    ),
}


@pytest.mark.parametrize("keys", KEYS)
def test_every_row_is_read_once_whatever_the_keys_are(database: Database, keys: str) -> None:
    kind, values = KEYS[keys]
    database.run(f"CREATE TABLE rows_of_keys (n INTEGER PRIMARY KEY, k {kind})")
    if database.kind == "sqlite":
        values = [str(value) if isinstance(value, (Decimal, date)) else value for value in values]
    random.Random(5).shuffle(values)
    if values:
        database.many("INSERT INTO rows_of_keys VALUES (%s, %s)", list(enumerate(values)))
    reader = reader_of(database, table="rows_of_keys", key="k", range_rows=7)
    if keys == "single floats" and database.kind == "postgresql":
        with pytest.raises(SourceError, match="option key: the values of k cannot be compared with what was read of them"):
            ranges_of(reader)
        return
    found = ranges_of(reader)
    together = [record["n"] for records in found for record in records]
    assert sorted(together) == list(range(len(values))), "each once"
    units = (unit for unit in reader.units() if isinstance(unit, Unit))
    assert [record["n"] for unit in units for _, records in reader.read(unit, 0) for record in records] == together
    if len(set(values)) > 20 and keys != "nulls":
        assert len(found) > 4 and max(map(len, found)) <= 40
    if keys in ("dense", "gaps", "negative", "large", "decimals"):
        assert [record["k"] for records in found for record in records] == sorted(
            value if database.kind != "sqlite" or keys != "decimals" else float(value) for value in values
        )


def test_a_key_of_several_columns_and_units_of_many_ranges(database: Database) -> None:
    database.run("CREATE TABLE sales (shop VARCHAR(10) NOT NULL, day INTEGER NOT NULL, sold INTEGER, PRIMARY KEY (shop, day))")
    rows = [(f"shop {n % 3}", n, n) for n in range(1500)]
    database.many("INSERT INTO sales VALUES (%s, %s, %s)", rows)
    reader = reader_of(database, table="sales", range_rows=20, columns=("sold",), where="sold <> 7 AND shop <> '%:x'")
    units = list(reader.units())
    assert names(units) == ["sales[0]", "sales[1]"]
    assert read(reader) == [{"sold": n} for _, n in sorted(row[:2] for row in rows) if n != 7]


def test_a_query_keeps_its_order_and_may_be_cut_by_a_key(database: Database) -> None:
    database.run("CREATE TABLE q (id INTEGER PRIMARY KEY, name VARCHAR(20))")
    database.many("INSERT INTO q VALUES (%s, %s)", [(n, f"n:{n} 5%") for n in range(50)])
    query = "SELECT id, name AS label FROM q WHERE name LIKE '%:4%' -- all of 4\nORDER BY id DESC;"
    assert [record["id"] for record in read(reader_of(database, query=query))] == [*range(49, 39, -1), 4]
    cut = reader_of(
        database, query="SELECT id, name AS label FROM q WHERE name LIKE 'n:%'", key="id", where="id > 9", range_rows=8
    )
    assert [len(records) for records in ranges_of(cut)] == [8, 8, 8, 8, 8]
    assert read(cut)[-1] == {"id": 49, "label": "n:49 5%"}
    with pytest.raises(
        SourceError, match=r"option query: (it gives several columns called id|.*[Dd]uplicate column name 'id')"
    ):
        list(reader_of(database, query="SELECT a.id, b.id FROM q a JOIN q b ON a.id = b.id").units())


def test_names_are_taken_exactly(database: Database) -> None:
    odd, one, two = (quoted(database, name) for name in ("Odd na'me; 100% :x", "select", "A b%"))
    database.run(f"CREATE TABLE {odd} ({one} INTEGER PRIMARY KEY, {two} VARCHAR(9))", f"INSERT INTO {odd} VALUES (1, 'x')")
    assert read(reader_of(database, table="Odd na'me; 100% :x")) == [{"select": 1, "A b%": "x"}]


TYPES: dict[str, list[tuple[str, str, Any]]] = {
    "postgresql": [
        ("smallint", "-1", -1),
        ("bigint", "9223372036854775807", 2**63 - 1),
        ("numeric", "12345678901234567890.120", Decimal("12345678901234567890.120")),
        ("real", "0.1", 0.1),
        ("double precision", "1e-7", 1e-7),
        ("boolean", "true", True),
        ("text", "E'😀 \\u00e9\\n'", "😀 é\n"),
        ("char(3)", "'a'", "a  "),
        ("date", "'2024-02-29'", date(2024, 2, 29)),
        ("timestamp", "'2024-02-29 12:00:00.000001'", datetime(2024, 2, 29, 12, 0, 0, 1)),
        ("timestamptz", "'2024-02-29 12:00:00+02'", datetime(2024, 2, 29, 10, tzinfo=timezone.utc)),
        ("time", "'23:59:59.5'", time(23, 59, 59, 500000)),
        ("bytea", "'\\x00ff'", b"\0\xff"),
        ("uuid", "'00000000-0000-0000-0000-000000000001'", UUID(int=1)),
        (
            "json",
            """'{"big": 123456789012345678901234567890, "x": null}'""",
            {"big": 123456789012345678901234567890, "x": None},
        ),
        ("jsonb", """'[1.5, 1e400, {"a": {}}]'""", [1.5, 10**400, {"a": {}}]),
        ("integer[]", "'{1,NULL}'", [1, None]),
        ("text[][]", "'{{a,b},{c,d}}'", [["a", "b"], ["c", "d"]]),
        ("date[]", "'{2024-01-01}'", [date(2024, 1, 1)]),
        ("interval", "'1 month 2 days'", "1 mon 2 days"),
        ("int4range", "'[1,5)'", "[1,5)"),
        ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
        ("mood", "'sad'", "sad"),
        ("money", "5", "$5.00"),
        ("bit(3)", "B'101'", "101"),
        ("text", "NULL", None),
        ("date", "'infinity'", "infinity"),
        ("timestamptz", "'0044-03-15 12:00:00+00 BC'", "0044-03-15 12:00:00+00 BC"),
    ],
    "mariadb": [
        ("BIGINT UNSIGNED", "18446744073709551615", 2**64 - 1),
        ("DECIMAL(30, 5)", "123.45000", Decimal("123.45000")),
        ("DOUBLE", "1e-7", 1e-7),
        ("BOOLEAN", "true", 1),
        ("TEXT", "'😀'", "😀"),
        ("DATE", "'2024-02-29'", date(2024, 2, 29)),
        ("DATE", "'0000-00-00'", "0000-00-00"),
        ("DATETIME(6)", "'2024-02-29 12:00:00.000001'", datetime(2024, 2, 29, 12, 0, 0, 1)),
        ("TIMESTAMP(6) NULL", "'2024-02-29 12:00:00'", datetime(2024, 2, 29, 10, tzinfo=timezone.utc)),
        ("TIME", "'23:59:59'", time(23, 59, 59)),
        ("TIME", "'-100:00:00'", "-100:00:00"),
        ("BLOB", "x'00ff'", b"\0\xff"),
        ("UUID", "'00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
        ("JSON", """'{"a": [1, 2.5]}'""", {"a": [1, 2.5]}),
        ("ENUM('a', 'b')", "'b'", "b"),
        ("BIT(10)", "b'101'", 5),
        ("INT", "NULL", None),
    ],
    "sqlite": [
        ("BOOLEAN", "1", True),
        ("JSON", """'{"a": [1]}'""", {"a": [1]}),
        ("DATE", "'2024-02-29'", date(2024, 2, 29)),
        ("DATETIME", "'2024-02-29T12:00:00Z'", datetime(2024, 2, 29, 12, tzinfo=timezone.utc)),
        ("BLOB", "x'00'", b"\0"),
        ("REAL", "0.5", 0.5),
        ("INTEGER", "9223372036854775807", 2**63 - 1),
        ("TEXT", "'😀'", "😀"),
    ],
}


def test_types_are_kept(database: Database) -> None:
    types = TYPES[database.kind]
    before = {
        "postgresql": ["CREATE TYPE mood AS ENUM ('glad', 'sad')"],
        "mariadb": ["SET sql_mode = ''", "SET time_zone = '+02:00'"],
        "sqlite": [],
    }
    columns = ", ".join(f"c{n} {kind}" for n, (kind, _, _) in enumerate(types))
    values = ", ".join(literal for _, literal, _ in types)
    database.run(
        *before[database.kind], f"CREATE TABLE t (id INT PRIMARY KEY, {columns})", f"INSERT INTO t VALUES (1, {values})"
    )
    expected = {"id": 1, **{f"c{n}": value for n, (_, _, value) in enumerate(types)}}
    assert read(reader_of(database, table="t")) == [expected]
    if database.kind == "mariadb":
        with pytest.raises(SourceError, match=r"option key: c14 is an ENUM or a SET, .*; name another column"):
            list(reader_of(database, table="t", key="c14").units())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"table": "producst"}, 'option table: .*there is no table producst that this user may see; did you mean "products"'),
        ({"table": "products", "columns": ("nam",)}, 'option columns: products has no column nam; did you mean "name"'),
        ({"table": "products", "key": "idd"}, 'option key: products has no column idd; did you mean "id"'),
        ({"table": "products", "where": "price >"}, "option table: .*does not understand it"),
        ({"query": "SELECT price FROM products"}, "option query: .*price"),
    ],
)
def test_what_is_not_there_is_told_with_its_option(database: Database, options: dict[str, Any], says: str) -> None:
    database.run("CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT)")
    with pytest.raises(SourceError, match=says) as caught:
        read(reader_of(database, **options))
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=says):
        reader_of(database, **options).probe()


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_servers_that_let_nobody_in(kind: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(kind)
    for options, says in [
        ({"password": "a-wrong-word"}, "option password: .* does not let this user in"),
        ({"url": database.url.replace("127.0.0.1", "nowhere.invalid")}, r"option url: .*nowhere\.invalid.* cannot be reached"),
        ({"url": database.url.rpartition(":")[0] + ":1/x"}, "option url: .*:1/x cannot be reached"),
        ({"url": database.url.rpartition("/")[0] + "/absent"}, "option url: .*/absent is not there"),
    ]:
        with pytest.raises(SourceError, match=says) as caught:
            SqlReader(**{**database.options, "table": "t", **options}).probe()
        assert "word" not in str(caught.value).replace("password", "")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "postgresql://me:hunter22@host/db"}, "url: the URL has a password in it; give it as the option password"),
        ({"url": "oracle://host/db"}, "url: oracle://host/db is not the URL of a database that is known here"),
        ({"url": "mysql://host"}, "url: mysql://host names no database"),
        ({"url": "sqlite://"}, "url: give the path of the file"),
        ({"table": None}, "table: give either table or query"),
        ({"query": "SELECT 1"}, "table: give either table or query"),
        ({"table": "a.b.c"}, r"table: a\.b\.c is no name"),
        ({"snapshot": True, "key": "id"}, "key: with snapshot: true all is read in one piece"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}") as caught:
        SqlReader(**{"url": "sqlite:///x.db", "table": "t", **options})
    assert "hunter22" not in str(caught.value)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"option url: .*absent\.db cannot be opened \(there is no file"):
        SqlReader(url=f"sqlite:///{tmp_path}/absent.db", table="t").probe()
    assert not list(tmp_path.iterdir())


def test_a_whole_export(database: Database, export: Callable[..., Any], tmp_path: Path) -> None:
    database.run("CREATE TABLE products (id INTEGER PRIMARY KEY, name VARCHAR(50), price DECIMAL(10, 2))")
    database.many("INSERT INTO products VALUES (%s, %s, %s)", [(n, f"name {n}", f"{n}.50") for n in range(300)])
    report = export(database.reader(table="products", range_rows=40), filter={"name": "key_value", "options": {"keys": [
        {"name": "id", "value": 7}]}})  # fmt: skip
    assert (report.read, report.written) == (300, 1)
    (file,) = (tmp_path / "out").glob("*.gz")
    assert json.loads(gzip.decompress(file.read_bytes())) == {"id": 7, "name": "name 7", "price": 7.5}


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_that_is_killed_while_it_is_read(kind: str, request: pytest.FixtureRequest) -> None:
    """Reading goes on behind the last key, where keys are unique; else the export says what broke."""
    database: Database = request.getfixturevalue(kind)
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, filler VARCHAR(2000))")
    database.many("INSERT INTO t VALUES (%s, %s, %s)", [(n, n // 4, "x" * 1900) for n in range(6000)])
    reader = reader_of(database, table="t", columns=("filler", "k"), range_rows=4000)
    (unit,) = (unit for unit in reader.units() if isinstance(unit, Unit))
    found: list[int] = []
    for _, records in reader.read(unit, 0):
        if not found:
            database.restart()
        found += [record["k"] for record in records]
    assert found == [n // 4 for n in range(6000)]
    reader = reader_of(database, table="t", key="k", range_rows=4000)
    (unit,) = (unit for unit in reader.units() if isinstance(unit, Unit))
    reading = reader.read(unit, 0)
    next(reading)
    database.restart()
    with pytest.raises(SourceError, match=r"the connection to .* broke"):
        list(reading)


@pytest.mark.servers
def test_a_snapshot_is_of_one_moment_and_ranges_of_several(postgresql: Database) -> None:
    postgresql.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    postgresql.many("INSERT INTO t VALUES (%s)", [(n,) for n in range(3000)])
    for snapshot, expected in ((True, list(range(3000))), (False, list(range(1000)))):
        reader = reader_of(postgresql, table="t", **({"snapshot": True} if snapshot else {"range_rows": 1000}))
        (unit,) = reader.units()
        found: list[int] = []
        for _, records in reader.read(unit, 0):
            if not found:
                postgresql.run("DELETE FROM t WHERE id >= 1000", "INSERT INTO t VALUES (5000)")
            found += [record["id"] for record in records]
        assert found == expected, "what is inserted above the last border is not read either"
        postgresql.run("DELETE FROM t", "INSERT INTO t SELECT * FROM generate_series(0, 2999)")


def test_a_key_without_an_index_is_warned_of(sqlite: Database) -> None:
    sqlite.run("CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER)")
    told = [found for found in reader_of(sqlite, table="t", key="k").units() if isinstance(found, Warned)]
    assert told and told[0].text.startswith("key: no index of t begins with k")


def test_a_value_that_is_none_is_a_failure_of_its_record(sqlite: Database, export: Callable[..., Any], tmp_path: Path) -> None:
    sqlite.run("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, j JSON)",
               "INSERT INTO t VALUES (1, CAST(x'61ff' AS TEXT), '{}'), (2, 'b', '{'), (3, 'c', '[1]')")  # fmt: skip
    with pytest.raises(SourceError, match=r"t: record 1: deserializer: the column name .* byte 0xff is not UTF-8"):
        export(sqlite.reader(table="t"))
    report = export(sqlite.reader(table="t"), out="more", on_error={"action": "dead_letter"})
    assert (report.read, report.written) == (3, 1)
    (file,) = (tmp_path / "more").glob("part-*.gz")
    assert json.loads(gzip.decompress(file.read_bytes())) == {"id": 3, "name": "c", "j": [1]}
    assert reader_of(sqlite, table="t").decode('{"id": 2, "j": {}}') == {"id": 2, "j": {}}
