"""The writer `sql`: records as rows of real databases, each once, whatever breaks in between."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import date, datetime, timezone
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

import exporters_beam
from exporters_beam.components.options import build
from exporters_beam.errors import ConfigError, DestinationError, ExportError
from exporters_beam.records import Unit
from exporters_beam.systems.sql_put import PostgresqlTarget, Target
from exporters_beam.systems.sql_reader import SqlReader
from exporters_beam.systems.sql_writer import SqlWriter

from databases import Database
from helpers import jsonl

pytest.importorskip("sqlalchemy")


@pytest.fixture(autouse=True)
def _books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def config(
    database: Database, records: list[Any], tmp_path: Path, sections: dict[str, Any] | None = None, **options: Any
) -> Any:
    (tmp_path / "in.jl").write_bytes(jsonl(records))
    return {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": "sql", "options": {**database.options, "table": "products", **options}},
        **(sections or {}),
    }


def rows(database: Database, columns: str = "id, name", table: str = "products") -> list[Any]:
    return sorted(database.rows(f"SELECT {columns} FROM {table}"))


NAMED = [{"id": n, "name": f"name {n}"} for n in range(35)]
IN_ROWS = [(n, f"name {n}") for n in range(35)]


def test_records_arrive_once_and_the_same_export_again_changes_nothing(database: Database, tmp_path: Path) -> None:
    told = config(database, NAMED, tmp_path, items_per_buffer_write=10)
    report = exporters_beam.run(told)
    assert rows(database) == IN_ROWS
    (target,) = report.targets
    assert target["name"] == f"{SqlWriter(**database.options, table='x').place}#products"
    assert (target["batches"], target["records"]) == (4, 35)
    assert database.password is None or database.password not in json.dumps(report.as_dict(), default=str)
    ledger = "SELECT number, records FROM exporters_beam_deliveries WHERE number >= 0 ORDER BY number"
    assert database.rows(ledger) == [(0, 10), (1, 10), (2, 10), (3, 5)]
    exporters_beam.run(told)
    assert rows(database) == IN_ROWS
    exporters_beam.run(config(database, NAMED, tmp_path, items_per_buffer_write=10, delivery_id="again"))
    assert len(rows(database)) == 70
    manifest = next(iter(tmp_path.rglob("manifest.json")))
    writer = build(SqlWriter, told["writer"]["options"], {})
    assert writer.count(target) == 35 and manifest


VALUES: dict[str, Any] = {
    "id": 1,
    "large": -(2**63),
    "huge": 10**25,
    "ratio": 0.1,
    "small": 5e-324,
    "sure": True,
    "nothing": None,
    "text": "😀 é\n\\N\t%s:x",
    "price": Decimal("12345678901234.567800"),
    "day": date(2024, 2, 29),
    "at": datetime(2024, 2, 29, 12, 0, 0, 1),
    "moment": datetime(2024, 2, 29, 12, tzinfo=timezone.utc),
    "clock": clock(23, 59, 59, 5),
    "raw": b"\0\xff\\",
    "uid": UUID(int=7),
    "nested": {"a": [1, {"b": None}], "t": "x'"},
    "list": [1, "two", None],
    "Odd \"na'me; 100% :x": "%",
    "select": 3,
}


def test_a_table_is_made_of_what_records_hold_and_read_back_as_it_was(database: Database, tmp_path: Path) -> None:
    def writer(table: str, **options: Any) -> dict[str, Any]:
        return {"name": "sql", "options": {**database.options, "table": table, **options}}

    records = [VALUES, {"id": 2}, {"id": 3, "text": "", "nested": "a text", "list": 5}]
    memory = {"name": "memory", "options": {"records": records}}
    exporters_beam.run({"reader": memory, "writer": writer("first", mode="merge", key="id")})
    exporters_beam.run({"reader": database.reader(table="first"), "writer": writer("second", mode="create")})
    reader = SqlReader(**database.options, table="second", key="id")
    (unit,) = reader.units()
    assert isinstance(unit, Unit)
    first, second, third = (record for _, part in reader.read(unit, 0) for record in part)
    expected = dict(VALUES)
    if database.kind == "mariadb":
        expected |= {
            "sure": 1,
            "moment": datetime(2024, 2, 29, 12),
            "uid": str(UUID(int=7)),
            "price": Decimal("12345678901234.5678000000"),
        }
    if database.kind == "sqlite":
        expected |= {"huge": Decimal(10**25)}
    assert first == {**dict.fromkeys(first), **expected}
    assert second == {**dict.fromkeys(VALUES), "id": 2}
    assert third == {**dict.fromkeys(VALUES), "id": 3, "text": "", "nested": "a text", "list": 5}


def test_merging_puts_the_last_record_of_a_key_in_the_place_of_what_is_there(database: Database, tmp_path: Path) -> None:
    long = "VARCHAR(40)"
    database.run(f"CREATE TABLE products (id INTEGER, shop {long}, name {long}, stock INTEGER DEFAULT 7, "
                 "PRIMARY KEY (id, shop))",
                 "INSERT INTO products (id, shop, name, stock) VALUES (1, 'a', 'old', 1), (9, 'a', 'stays', 2)")  # fmt: skip
    records = [
        {"id": 1, "shop": "a", "name": "new"},
        {"id": 2, "shop": "a", "name": "x", "stock": 5},
        {"id": 1, "shop": "a", "stock": 3},
        {"id": 2, "shop": "a", "name": "y", "stock": 6},
        {"id": 1, "shop": "b"},
    ]
    exporters_beam.run(config(database, records, tmp_path, mode="merge", key=["id", "shop"]))
    assert rows(database, "id, shop, name, stock") in (
        [(1, "a", "new", 3), (1, "b", None, 7), (2, "a", "y", 6), (9, "a", "stays", 2)],
    )
    database.run("CREATE TABLE keyless (id INTEGER, name VARCHAR(9))")
    with pytest.raises(
        ExportError, match=r"option key: keyless has no unique index over id, .*; run: CREATE UNIQUE INDEX .*keyless.*\(id\)"
    ):
        exporters_beam.run(config(database, NAMED, tmp_path, table="keyless", mode="merge", key="id"))


def test_replacing_shows_the_old_rows_until_all_new_ones_are_there(database: Database, tmp_path: Path) -> None:
    database.run("CREATE TABLE products (id INTEGER PRIMARY KEY, name VARCHAR(40))", "CREATE INDEX by_name ON products (name)",
                 "INSERT INTO products VALUES (99, 'old')")  # fmt: skip
    told = config(database, [*NAMED, {"id": 3, "name": "twice"}], tmp_path, mode="replace", items_per_buffer_write=10)
    with pytest.raises(ExportError, match=r"in.jl.*record 36: writer: "):
        exporters_beam.run(told)
    assert rows(database) == [(99, "old")]
    told = config(database, NAMED, tmp_path, mode="replace", items_per_buffer_write=10)
    for _ in range(2):
        exporters_beam.run(told)
        assert rows(database) == IN_ROWS
    exporters_beam.run(config(database, NAMED[:5], tmp_path, mode="replace"))
    assert rows(database) == IN_ROWS[:5]
    exporters_beam.run(told | config(database, NAMED, tmp_path, mode="replace", items_per_buffer_write=10))
    assert rows(database) == IN_ROWS, "what was replaced in between is sent again"
    exporters_beam.run(config(database, [], tmp_path, mode="replace"))
    assert rows(database) == []
    with contextlib.closing(database.connect()) as connection, pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        connection.cursor().execute("INSERT INTO products VALUES (1, 'a'), (1, 'b')")
    names = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "mariadb": "SELECT index_name FROM information_schema.statistics WHERE table_name = 'products' "
        "AND index_name <> 'PRIMARY' AND table_schema = database()",
        "postgresql": "SELECT indexname FROM pg_indexes WHERE tablename = 'products' AND indexname LIKE '%name%'",
    }
    assert len(database.rows(names[database.kind])) == 1, "indexes stay"


def test_what_the_database_refuses_becomes_a_dead_letter_that_can_be_sent_again(database: Database, tmp_path: Path) -> None:
    database.run("CREATE TABLE products (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL, stock INTEGER CHECK (stock >= 0))")
    records: list[Any] = [{"id": n, "name": f"name {n}", "stock": n} for n in range(300)]
    records[17]["name"] = None
    records[18]["stock"] = -1
    records[140]["id"] = 139
    records[299] |= {"color": "red"}
    with pytest.raises(ExportError, match=r"in\.jl: record 18: writer: .*name"):
        exporters_beam.run(config(database, records, tmp_path, items_per_buffer_write=100))
    assert rows(database) == []
    letters = tmp_path / "letters.jl"
    on_error = {"on_error": {"action": "dead_letter", "file": str(letters)}}
    told = config(database, records, tmp_path, on_error, items_per_buffer_write=100)
    for _ in range(2):
        report = exporters_beam.run(told)
        assert report.counts["written"] == 296 == len(rows(database))
    found = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [letter["number"] for letter in found] == [18, 19, 141, 300]
    assert "color (extra_fields: ignore drops them)" in found[3]["message"]
    found[0]["record"]["name"], found[1]["record"]["stock"], found[2]["record"]["id"] = "mended", 5, 140
    del found[3]["record"]["color"]
    letters.write_bytes(jsonl(found))
    assert exporters_beam.replay(told, [str(letters)]).written == 4
    assert [number for number, _ in rows(database)] == list(range(300))


ODD = [
    ("a\0b", "NUL|0x00"),
    (float("nan"), "NaN|nan"),
    (10**30, "range|overflow|large|INTEGER"),
    ("half: \ud83d", "surrogate|UTF|utf"),
]


@pytest.mark.parametrize(("value", "says"), ODD, ids=["nul", "nan", "large", "surrogate"])
def test_what_no_column_can_hold(database: Database, tmp_path: Path, value: Any, says: str) -> None:
    kind = "VARCHAR(40)" if isinstance(value, str) else "DECIMAL(20, 2)" if isinstance(value, float) else "BIGINT"
    database.run(f"CREATE TABLE products (id INTEGER PRIMARY KEY, name {kind})")
    records = [{"id": 1, "name": None}, {"id": 2, "name": value}]
    taken = (value == "a\0b" and database.kind != "postgresql") or (value != value and database.kind == "postgresql")
    if not taken:
        with pytest.raises(ExportError, match=rf"record 2: writer: .*({says})"):
            exporters_beam.run(config(database, records, tmp_path))
    exporters_beam.run(config(database, records, tmp_path, {"on_error": {"action": "dead_letter"}}))
    assert [number for number, _ in rows(database)] == ([1, 2] if taken else [1])


COMMAND = [sys.executable, "-m", "exporters_beam", "run"]


KILLS = 5

IN_CI = [("postgresql", "append"), ("mariadb", "merge"), ("postgresql", "replace")]

CASES = [
    pytest.param(kind, mode, marks=[pytest.mark.servers, *([] if (kind, mode) in IN_CI else [pytest.mark.exhaustive])])
    for kind in ("postgresql", "mariadb")
    for mode in ("append", "merge", "replace")
]


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_killed_again_and_again_and_resumed(kind: str, mode: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    database: Database = request.getfixturevalue(kind)
    records = [{"id": n % 700 if mode == "merge" else n, "name": f"name {n}"} for n in range(20_000)]
    told = config(
        database, records, tmp_path, mode=mode, items_per_buffer_write=250, **({"key": "id"} if mode == "merge" else {})
    )
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    chance = random.Random(mode)
    kills = 0
    for _ in range(60):
        process = subprocess.Popen([*COMMAND, str(path), "--resume", "--quiet"], env=env, stderr=subprocess.PIPE, text=True)
        sent = batches(database)
        wait = time.monotonic() + 120
        goal = sent + chance.randint(1, 8)
        while kills < KILLS and process.poll() is None and time.monotonic() < wait:
            if batches(database) >= goal:
                time.sleep(chance.random() / 100)
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        _, said = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
    assert kills >= KILLS - 1
    last = {record["id"]: record["name"] for record in records}
    assert rows(database) == sorted(last.items())


def batches(database: Database) -> int:
    with contextlib.suppress(Exception):
        return int(database.rows("SELECT COUNT(*) FROM exporters_beam_deliveries WHERE number >= 0")[0][0])
    return 0


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_that_restarts_in_the_middle(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    database: Database = request.getfixturevalue(kind)
    records = [{"id": n, "name": f"name {n}"} for n in range(6000)]
    told = config(database, records, tmp_path, items_per_buffer_write=100, records_per_second=3000)
    running = threading.Thread(target=exporters_beam.run, args=(told,))
    running.start()
    while batches(database) < 5 and running.is_alive():
        time.sleep(0.01)
    assert running.is_alive()
    database.restart()
    running.join(120)
    assert rows(database) == [(n, f"name {n}") for n in range(6000)]


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_what_is_wrong_is_told_before_anything_is_read(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    database: Database = request.getfixturevalue(kind)
    database.run("CREATE TABLE products (id INTEGER, name VARCHAR(20))")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"password": "a-wrong-word"}, "option password: .* does not let this user in"),
        ({"url": database.url.replace("127.0.0.1", "nowhere.invalid")}, r"option url: .*nowhere\.invalid.* cannot be reached"),
        ({"columns": ["idd"]}, 'option columns: products has no column idd; did you mean "id"'),
        ({"mode": "create"}, "option mode: products is there already"),
        ({"mode": "merge", "key": "id"}, "option key: products has no unique index over id"),
        ({"table": "nowhere.products"}, "option table: .*(schema|database).*nowhere"),
    ]
    for options, says in wrong:
        writer = build(SqlWriter, {**database.options, "table": "products", **options}, {})
        with pytest.raises(DestinationError, match=says) as caught:
            writer.probe()
        assert "word" not in str(caught.value).replace("password", "")
    assert kind == "mariadb" or not database.rows("SELECT 1 FROM pg_tables WHERE tablename = 'exporters_beam_deliveries'")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "merge"}, "key: with mode merge, name the column"),
        ({"key": "id"}, "key: mode append knows no key"),
        ({"table": "a.b.c"}, r"table: a\.b\.c is no name"),
        ({"columns": {"a": 5}}, "columns: give the name of a column for each field"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}"):
        build(SqlWriter, {"url": "sqlite:///x.db", "table": "t", **options}, {})


def test_columns_defaults_and_nulls(database: Database, tmp_path: Path) -> None:
    database.run(
        "CREATE TABLE products (id INTEGER PRIMARY KEY, name VARCHAR(20) DEFAULT 'none', more VARCHAR(9) DEFAULT 'more')"
    )
    records = [{"sku": 1, "title": "a", "x": 1}, {"sku": 2}, {"sku": 3, "title": None}]
    columns = {"sku": "id", "title": "name"}
    exporters_beam.run(config(database, records, tmp_path, columns=columns, extra_fields="ignore"))
    assert rows(database, "id, name, more") == [(1, "a", "more"), (2, "none", "more"), (3, None, "more")]
    exporters_beam.run(config(database, [{"sku": 4}], tmp_path, columns=columns, missing="null"))
    assert database.rows("SELECT id, name, more FROM products WHERE id = 4") == [(4, None, "more")]


TEXTS = ["plain", "", "\\N", "\\.", "a\tb", "a\nb\r\nc", "back\\slash", 'é 🐟 "', "\x01\x7f\u2028", "null", "\\"]
NUMBERS = [0.0, -0.0, 1e-7, 1.5e-05, 1e16, 1.7976931348623157e308, 5e-324, 0.1, 1 / 3, -2.5, 100.0]
HOSTILE = [
    {"id": n, "text": TEXTS[n % 11], "real": NUMBERS[n % 11] if n % 7 else None, "big": (-1) ** n * (2**63 - 1 - n),
     "yes": n % 2 == 0 if n % 5 else None, "nested": {TEXTS[n % 11]: [TEXTS[(n + 1) % 11], None]} if n % 3 else None,
     "as_text": [TEXTS[n % 11], NUMBERS[n % 11], n, True, None][n % 5]}
    for n in range(600)
]  # fmt: skip


@pytest.mark.servers
@pytest.mark.parametrize("case", ["usual", "refused", "irregular"])
def test_rows_that_are_poured_are_those_that_the_driver_writes(
    case: str, postgresql: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [dict(record) for record in HOSTILE]
    if case == "refused":
        records[431]["text"], records[555]["id"] = "a\0b", 554
    if case == "irregular":
        del records[300]["real"]
    found = []
    for table in ("products", "others"):
        columns = "id int PRIMARY KEY, text text, real float8 DEFAULT 7, big bigint, yes boolean, nested jsonb, as_text text"
        postgresql.run(f"CREATE TABLE {table} ({columns})")
        if table == "others":
            monkeypatch.setattr(PostgresqlTarget, "pour", Target.pour)
        letters = {"on_error": {"action": "dead_letter", "file": str(tmp_path / f"{table}.jl")}}
        exporters_beam.run(config(postgresql, records, tmp_path, letters, table=table, items_per_buffer_write=270))
        path = tmp_path / f"{table}.jl"
        told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        found.append((repr(rows(postgresql, "*", table)), [(letter["number"], letter["message"]) for letter in told]))
    assert found[0] == (found[1][0], [(n, said.replace("others", "products")) for n, said in found[1][1]])
    assert len(found[0][1]) == (2 if case == "refused" else 0)
