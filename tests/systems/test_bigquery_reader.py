"""Rows of BigQuery as records: all of them, once, with their types, whatever the service or the network do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, datetime, timezone
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from bigquery_service import Service

import exporters_beam
from exporters_beam import ConfigError, ExportError
from exporters_beam.components.options import build
from exporters_beam.config import spec
from exporters_beam.systems import bigquery_reader
from exporters_beam.systems.bigquery_reader import BigQueryReader

from helpers import delivered

ROOT = Path(__file__).parent.parent.parent

FIELDS = [{"name": "sku", "type": "STRING"}, {"name": "n", "type": "INTEGER"}]
TABLE = "shop.sales.orders"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("exporters_beam.systems.bigquery.FIRST_LOOK", 0.001)
    monkeypatch.setattr(bigquery_reader, "RETRY_SECONDS", 3.0)
    monkeypatch.setattr(bigquery_reader, "FIRST_WAIT", 0.01)


def numbered(number: int) -> list[dict[str, Any]]:
    return [{"sku": f"s{n:05d}", "n": n} for n in range(number)]


def options(service: Service, **more: Any) -> dict[str, Any]:
    given = {"endpoint": service.url, "storage_endpoint": service.storage_url, **more}
    return given if "query" in given else {"table": TABLE, **given}


def config(service: Service, tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "bigquery", "options": options(service, **more)},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-"}},
    }


def exported(tmp_path: Path) -> list[Any]:
    return [record for _, records in sorted(delivered(tmp_path / "out").items()) for record in records]


def records_of(reader: BigQueryReader) -> list[Any]:
    return [record for unit in reader.units() for _, records in reader.read(unit, 0) for record in records]


def test_all_rows_of_all_streams_arrive_in_order(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, numbered(2500))
    report = exporters_beam.run(config(bigquery, tmp_path), workers=2)
    assert exported(tmp_path) == numbered(2500)
    assert report.counts["read"] == 2500
    assert len(bigquery.sessions) == 3


def test_a_table_without_rows(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, [])
    assert exporters_beam.run(config(bigquery, tmp_path)).counts["read"] == 0


TYPES: dict[str, tuple[Any, Any, Any]] = {
    "whole": ("INTEGER", 2**63 - 1, 2**63 - 1),
    "real": ("FLOAT", 0.1, 0.1),
    "exact": ("NUMERIC", Decimal("-12345678901234567890.5"), Decimal("-12345678901234567890.5")),
    "hundred": ("NUMERIC", Decimal(100), Decimal(100)),
    "digits": ("BIGNUMERIC", Decimal("1" * 38 + ".5"), Decimal("1" * 38 + ".5")),
    "yes": ("BOOLEAN", True, True),
    "text": ("STRING", "é\0\u2028😀", "é\0\u2028😀"),
    "raw": ("BYTES", b"\0\xff", b"\0\xff"),
    "day": ("DATE", date(1, 1, 1), date(1, 1, 1)),
    "clock": ("TIME", time_of_day(23, 59, 59, 5), time_of_day(23, 59, 59, 5)),
    "local": ("DATETIME", datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(9999, 12, 31, 23, 59, 59, 999999)),
    "moment": ("TIMESTAMP", datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 1, tzinfo=timezone.utc)),
    "free": ("JSON", '{"a": [1, null, 12345678901234567890123]}', {"a": [1, None, 12345678901234567890123]}),
    "place": ("GEOGRAPHY", "POINT(1 2)", "POINT(1 2)"),
    "span": ("INTERVAL", (14, 3, 3_723_000_000_000), "1-2 3 1:2:3"),
}


def test_values_keep_their_types(bigquery: Service, tmp_path: Path) -> None:
    flat = [{"name": name, "type": kind} for name, (kind, _, _) in TYPES.items()]
    lists = [{**field, "name": f"{field['name']}s", "mode": "REPEATED"} for field in flat]
    fields = [*flat, *lists, {"name": "inside", "type": "RECORD", "fields": [*flat, *lists]},
              {"name": "rows", "type": "RECORD", "mode": "REPEATED", "fields": flat}]  # fmt: skip

    def row(n: int) -> dict[str, Any]:
        known = {name: found[n] for name, found in TYPES.items()}
        many = {f"{name}s": [value, value] for name, value in known.items()}
        return {**known, **many, "inside": {**known, **many}, "rows": [known]}

    nulls = {field["name"]: [] if field.get("mode") else None for field in fields}
    bigquery.put(TABLE, fields, [row(1), nulls])
    assert records_of(BigQueryReader(**options(bigquery))) == [row(2), nulls]


def test_columns_filter_and_snapshot(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, numbered(10))
    before = datetime.fromtimestamp(time.time(), timezone.utc).isoformat()
    bigquery.tables[TABLE].rows = [{"sku": "new", "n": 99}]
    told = options(bigquery, columns=["sku"], row_filter="n > 7", snapshot_time=before)
    assert records_of(build(BigQueryReader, told, {})) == [{"sku": "s00008"}, {"sku": "s00009"}]
    assert records_of(build(BigQueryReader, options(bigquery), {})) == [{"sku": "new", "n": 99}]


def test_a_query_runs_once(bigquery: Service, tmp_path: Path) -> None:
    bigquery.queries["SELECT 1"] = (FIELDS, numbered(7))
    bigquery.lost = 1
    exporters_beam.run(config(bigquery, tmp_path, query="SELECT 1", project="shop", streams=1))
    assert exported(tmp_path) == numbered(7)
    assert len(bigquery.jobs) == 1 and len(bigquery.sessions) == 1


def test_streams_break_off_in_the_middle(bigquery: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bigquery.put(TABLE, FIELDS, numbered(2000))
    bigquery.breaks = [100, 0, 0, 300, 200]
    monkeypatch.setattr(bigquery_reader, "RANGE_ROWS", 150)
    exporters_beam.run(config(bigquery, tmp_path))
    assert exported(tmp_path) == numbered(2000)
    assert not bigquery.breaks


def test_ranges_are_entered_where_they_begin(bigquery: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigquery_reader, "RANGE_ROWS", 150)
    monkeypatch.setattr(bigquery_reader, "BATCH", 70)
    bigquery.streams = 1
    bigquery.put(TABLE, FIELDS, numbered(450))
    reader = BigQueryReader(**options(bigquery))
    (unit,) = reader.units()
    for start in range(4):
        found = list(reader.read(unit, start))
        assert [record for _, records in found for record in records] == numbered(450)[start * 150 :]
        assert all(record["n"] // 150 == number for number, records in found for record in records)


def command(tmp_path: Path, told: dict[str, Any], *args: str) -> subprocess.Popen[str]:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = ("import sys; from exporters_beam.systems import bigquery_reader; from exporters_beam.runners import local; "
            "from exporters_beam.cli.main import main; bigquery_reader.RANGE_ROWS = 200; local.BUNDLE_SECONDS = 0.0; "
            "sys.exit(main())")  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", code, "run", str(path), *args], env=env, text=True, start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def killed_and_resumed(bigquery: Service, tmp_path: Path, read: int, expired: bool = False) -> str:
    """An export that is killed at its request of this number for a stream; then, from the same session, the rest.

    Each of five streams breaks off in its second range and is asked for again: by then the first ranges are staged."""
    bigquery.put(TABLE, FIELDS, numbered(2000))
    bigquery.streams, bigquery.breaks = 5, [300] * 5
    told = config(bigquery, tmp_path)
    process = command(tmp_path, told, "--workers", "1")

    def kill(number: int) -> bool:
        if number == read:
            os.killpg(process.pid, signal.SIGKILL)
        return number == read

    bigquery.at_read = kill
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    bigquery.at_read = lambda number: False
    if read >= 6:
        bigquery.tables[TABLE].rows = []
    bigquery.expired = expired
    bigquery.reads.clear()
    done = command(tmp_path, told, "--workers", "2", "--resume")
    _, told_of = done.communicate(timeout=120)
    assert done.returncode == (1 if expired else 0), told_of
    return told_of


@pytest.mark.parametrize("read", [7, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 3, 6, 8, 9, 10))])
def test_killed_and_resumed(bigquery: Service, tmp_path: Path, read: int) -> None:
    killed_and_resumed(bigquery, tmp_path, read)
    assert exported(tmp_path) == numbered(2000)
    assert read < 6 or min(offset for _, offset in bigquery.reads) == 199, "what was staged is not read again"


def test_a_session_that_has_expired_is_not_gone_on_with(bigquery: Service, tmp_path: Path) -> None:
    told = killed_and_resumed(bigquery, tmp_path, 7, expired=True)
    assert "the session that reads shop.sales.orders has expired; BigQuery keeps it for six hours" in told
    assert "run the export again, without --resume" in told


def test_check_looks_at_tables_and_queries(bigquery: Service) -> None:
    bigquery.put(TABLE, FIELDS, [])
    build(BigQueryReader, options(bigquery), {}).probe()
    build(BigQueryReader, options(bigquery, query=f"SELECT * FROM `{TABLE}`", project="shop"), {}).probe()
    assert not bigquery.jobs


def refusing(status: str, text: str) -> Callable[[Service], Any]:
    def change(service: Service) -> None:
        import grpc

        service.refuse_read = [(getattr(grpc.StatusCode, status), text)] * 1000

    return change


@pytest.mark.parametrize(
    ("given", "change", "message"),
    [
        ({}, lambda service: service.tables.clear(), r"table: http\S+ said 404 .*: Not found: Table shop:sales\.orders"),
        ({"columns": ["skn"]}, None, r'columns: shop\.sales\.orders has no column skn; did you mean "sku"\?'),
        ({"row_filter": "nonsense"}, None, r"row_filter: http\S+ said 400: request failed: row filter for table"),
        ({}, lambda service: setattr(service.tables[TABLE], "kind", "VIEW"), "is a view, which cannot be read like a"),
        ({}, lambda service: service.denied.add("bigquery.tables.get"), "credentials: they do not allow it: Access Denied"),
        ({}, lambda service: service.denied.add("bigquery.readsessions.create"), "credentials: they do not allow .*sessions"),
        ({}, lambda service: setattr(service, "accounts", set()), "credentials: none were given, and http.* wants them"),
        ({"query": "SELEC 1", "project": "shop"}, None, "query: BigQuery said invalidQuery: Syntax error"),
        ({}, lambda service: setattr(service, "before", lambda *_: (200, "<p>Hello</p>")), "is no answer of BigQuery"),
        ({}, lambda service: setattr(service, "before", lambda *_: (503, "away")), "does not do it now: away"),
        ({}, refusing("UNAVAILABLE", "away"), "does not do it now: away"),
        ({}, refusing("UNAUTHENTICATED", "who are you"), "credentials: .* does not take them: who are you"),
        ({}, refusing("INTERNAL", "oops"), "does not do it now: oops"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(
    bigquery: Service, tmp_path: Path, given: dict[str, Any], change: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bigquery_reader, "RETRY_SECONDS", 0.2)
    bigquery.put(TABLE, FIELDS, numbered(3))
    if change is not None:
        change(bigquery)
    with pytest.raises(ExportError, match=message) as caught:
        exporters_beam.run(config(bigquery, tmp_path, **given))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    assert not (tmp_path / "out").exists() or not exported(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "table: give either table or query"),
        ({"table": TABLE, "query": "SELECT 1"}, "table: give either table or query"),
        ({"table": "a.b"}, "table: a.b is no name of a table"),
        ({"query": "SELECT 1", "row_filter": "n > 1"}, "row_filter: it goes with table; say it in the query"),
        ({"table": TABLE, "snapshot_time": "yesterday"}, "snapshot_time: yesterday is no time"),
        ({"table": TABLE, "storage_endpoint": "localhost"}, "storage_endpoint: localhost is no URL of a server"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_one_sentence(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(BigQueryReader, given, {})


def test_the_official_client_reads_what_the_service_gives(bigquery: Service) -> None:
    """The service is right as far as the official clients say: they read through it what a load job of theirs has put."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery as official

    bigquery.put(TABLE, FIELDS, [])
    client = official.Client("shop", AnonymousCredentials(), client_options={"api_endpoint": bigquery.url}, location="EU")
    config = official.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", create_disposition="CREATE_NEVER")
    job = client.load_table_from_json(numbered(5), TABLE, job_config=config)
    assert job.result().output_rows == 5
    reader = BigQueryReader(**options(bigquery))
    storage = reader._clients.storage
    found = client.get_table(TABLE)
    session = {"table": f"projects/shop/datasets/sales/tables/{found.table_id}", "data_format": "ARROW"}
    made = storage.create_read_session(parent="projects/shop", read_session=session, max_stream_count=1)
    assert storage.read_rows(made.streams[0].name).to_arrow(made).to_pylist() == numbered(5)
    assert json.loads(json.dumps(numbered(1))) == records_of(reader)[:1]


def test_the_examples_of_the_page_are_valid() -> None:
    page = (ROOT / "docs" / "systems.md").read_text().partition("\n## BigQuery\n")[2].partition("\n## ")[0]
    examples = [yaml.safe_load(text.partition("```")[0]) for text in page.split("```yaml\n")[1:]]
    assert len(examples) == 2
    for example in examples:
        spec.load(example)
