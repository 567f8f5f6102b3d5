"""Records into tables of BigQuery: each once, whatever the service or the network do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from bigquery_service import Failed, Service

import exporters_beam
from exporters_beam import ConfigError, ExportError
from exporters_beam.components.options import build
from exporters_beam.systems.bigquery_reader import BigQueryReader
from exporters_beam.systems.bigquery_writer import BigQueryWriter

from helpers import jsonl

ROOT = Path(__file__).parent.parent.parent

FIELDS = [
    {"name": "sku", "type": "STRING", "mode": "REQUIRED"},
    {"name": "n", "type": "INTEGER", "mode": "NULLABLE"},
    {"name": "tags", "type": "STRING", "mode": "REPEATED"},
]
TABLE = "shop.sales.orders"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("exporters_beam.engine.sending.FIRST_WAIT", 0.01)
    monkeypatch.setattr("exporters_beam.systems.bigquery.FIRST_LOOK", 0.001)


def numbered(number: int) -> list[dict[str, Any]]:
    return [{"sku": f"s{n:05d}", "n": n, "tags": ["a", "b"][: n % 3]} for n in range(number)]


def config(service: Service, tmp_path: Path, records: list[Any], **more: Any) -> dict[str, Any]:
    (tmp_path / "in.jl").write_bytes(jsonl(records))
    options = {"table": TABLE, "endpoint": service.url, "location": "EU", **more.pop("options", {})}
    return {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": "bigquery", "options": options},
        **more,
    }


def memory(service: Service, records: list[Any], **options: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "memory", "options": {"records": records}},
        "writer": {"name": "bigquery", "options": {"table": TABLE, "endpoint": service.url, **options}},
    }


def command(tmp_path: Path, what: str, told: dict[str, Any], *args: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "exporters_beam", what, str(path), *args], env=env, text=True,
                          capture_output=True, timeout=300)  # fmt: skip


def test_each_batch_is_a_load_job_and_a_repeated_run_changes_nothing(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, [{"sku": "old", "n": 0, "tags": []}])
    told = config(bigquery, tmp_path, numbered(250), options={"items_per_buffer_write": 100})
    report = exporters_beam.run(told)
    there = [{"sku": "old", "n": 0, "tags": []}, *numbered(250)]
    assert bigquery.tables[TABLE].rows == there
    (target,) = report.targets
    assert (target["name"].rpartition("/")[2], target["batches"], target["records"]) == (TABLE, 3, 250)
    loads = bigquery.loads()
    assert len(loads) == 3
    exporters_beam.run(told)
    assert bigquery.tables[TABLE].rows == there and bigquery.loads() == loads
    told["writer"]["options"]["delivery_id"] = "again"
    exporters_beam.run(told)
    assert bigquery.tables[TABLE].rows == [*there, *numbered(250)]


def typed_record() -> dict[str, Any]:
    zone = timezone(timedelta(hours=2))
    return {
        "text": "é\u2028\n", "whole": 2**53 + 1, "large": 10**30, "exact": Decimal("1.50"), "digits": Decimal("0." + "1" * 20),
        "real": 0.1, "yes": True, "raw": b"\x00\xff", "day": date(2026, 2, 28), "clock": time(1, 2, 3, 4),
        "local": datetime(2026, 1, 2, 3, 4, 5, 6), "moment": datetime(2026, 1, 2, 3, 4, 5, 6, zone),
        "seller": {"id": 7, "names": ["a", "b"]}, "lines": [{"sku": "x", "price": Decimal("2.25")}], "free": {"a b": 1},
        "mixed": [1, "a", None], "id": UUID(int=5), "nothing": None,
    }  # fmt: skip


def test_a_table_is_made_with_columns_of_the_records_types(bigquery: Service, tmp_path: Path) -> None:
    record = typed_record()
    exporters_beam.run(memory(bigquery, [record], create=True))
    table = bigquery.tables[TABLE]
    assert {field["name"]: field["type"] + ("s" if field["mode"] == "REPEATED" else "") for field in table.fields} == {
        "text": "STRING", "whole": "INTEGER", "large": "BIGNUMERIC", "exact": "NUMERIC", "digits": "BIGNUMERIC",
        "real": "FLOAT", "yes": "BOOLEAN", "raw": "BYTES", "day": "DATE", "clock": "TIME", "local": "DATETIME",
        "moment": "TIMESTAMP", "seller": "RECORD", "lines": "RECORDs", "free": "JSON", "mixed": "JSON", "id": "STRING",
        "nothing": "STRING",
    }  # fmt: skip
    (row,) = table.rows
    assert row == {**record, "id": str(record["id"]), "free": '{"a b": 1}', "mixed": '[1, "a", null]'}
    source = {"table": TABLE, "endpoint": bigquery.url, "storage_endpoint": bigquery.storage_url}
    (unit,) = (reader := BigQueryReader(**source)).units()
    assert [records for _, records in reader.read(unit, 0)] == [[{**record, "id": str(record["id"])}]]
    copy = {"table": "shop.sales.copy", "endpoint": bigquery.url, "create": True, "schema": table.fields}
    exporters_beam.run({"reader": {"name": "bigquery", "options": source}, "writer": {"name": "bigquery", "options": copy}})
    assert bigquery.tables["shop.sales.copy"].rows == [row]


def test_a_given_schema_and_fields_that_are_ignored(bigquery: Service, tmp_path: Path) -> None:
    options = {"create": True, "schema": FIELDS, "extra_fields": "ignore"}
    exporters_beam.run(config(bigquery, tmp_path, [{"sku": "a", "extra": 1}], options=options))
    assert bigquery.tables[TABLE].fields == FIELDS
    assert bigquery.tables[TABLE].rows == [{"sku": "a", "n": None, "tags": []}]


def test_large_batches_are_uploaded_in_pieces(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, [])
    large = [{"sku": "x" * (1 << 20), "n": n, "tags": []} for n in range(12)]
    exporters_beam.run(config(bigquery, tmp_path, large))
    assert bigquery.tables[TABLE].rows == large
    assert any("uploadType=resumable" in asked for asked in bigquery.asked)


@pytest.mark.parametrize("mode", ["append", "replace", "merge"])
def test_answers_are_lost_and_the_service_is_busy(bigquery: Service, tmp_path: Path, mode: str) -> None:
    old = [{"sku": "s00001", "n": -1, "tags": []}, {"sku": "z", "n": -2, "tags": []}]
    bigquery.put(TABLE, FIELDS, old)
    refusals = [(503, {}), (403, {"error": {"message": "slow down", "errors": [{"reason": "rateLimitExceeded"}]}}),
                (500, "<h1>Oops</h1>"), (429, "")]  # fmt: skip

    def before(method: str, path: str) -> Any:
        return refusals.pop(0) if refusals and "jobs" in path and method == ["GET", "POST"][len(refusals) % 2] else None

    bigquery.before = before
    bigquery.lost = 3
    bigquery.fail = [Failed(500, "backendError", "Error encountered during execution. Retrying may solve the problem.")]
    options = {"mode": mode, "items_per_buffer_write": 100, **({"key": "sku", "concurrency": 2} if mode == "merge" else {})}
    told = config(bigquery, tmp_path, [{"sku": "s00001", "n": 9, "tags": []}, *numbered(250)], options=options)
    exporters_beam.run(told)
    first = {"sku": "s00001", "n": 9, "tags": []}
    by_key = sorted(bigquery.tables[TABLE].rows, key=lambda row: row["sku"])
    if mode == "append":
        assert bigquery.tables[TABLE].rows == [*old, first, *numbered(250)]
    elif mode == "replace":
        assert bigquery.tables[TABLE].rows == [first, *numbered(250)]
    else:
        assert by_key == [*numbered(250), old[1]], "the last record of a key stays"
    assert not refusals and not bigquery.lost
    assert list(bigquery.tables) == [TABLE], "what gathered records is gone"
    jobs = list(bigquery.jobs)
    exporters_beam.run(told)
    assert list(bigquery.jobs) == jobs


def killed_at(service: Service, tmp_path: Path, told: dict[str, Any], number: int, *args: str) -> None:
    """Runs an export that is killed at its request of this number that begins or looks at a job."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", "exporters_beam", "run", str(path), "--workers", "1", *args], env=env,
                               stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    seen = 0

    def before(method: str, where: str) -> Any:
        nonlocal seen
        seen += "/jobs" in where
        if "/jobs" in where and seen == number:
            os.killpg(process.pid, signal.SIGKILL)
            if method == "GET":
                return 503, ""
        return None

    service.before = before
    process.communicate(timeout=300)
    service.before = lambda method, path: None
    assert process.returncode == -signal.SIGKILL


KILLS = [("append", 5), ("merge", 11)]


@pytest.mark.parametrize(
    ("mode", "number"),
    [*KILLS, *(pytest.param(mode, n, marks=pytest.mark.exhaustive) for mode in ("append", "merge", "replace")
               for n in range(1, 13) if (mode, n) not in KILLS and (mode != "append" or n < 10))],
)  # fmt: skip
def test_killed_and_resumed(bigquery: Service, tmp_path: Path, mode: str, number: int) -> None:
    """Requests of jobs: for each of three batches a look, the insertion, a look at it; then the same for the end."""
    old = [{"sku": "s00001", "n": -1, "tags": []}]
    bigquery.put(TABLE, FIELDS, old)
    options = {"mode": mode, "items_per_buffer_write": 100, **({"key": "sku"} if mode == "merge" else {})}
    told = config(bigquery, tmp_path, numbered(250), options=options)
    killed_at(bigquery, tmp_path, told, number)
    done = command(tmp_path, "run", told, "--workers", "1", "--resume")
    assert done.returncode == 0, done.stderr
    assert sorted(bigquery.tables[TABLE].rows, key=str) == sorted([*(old if mode == "append" else []), *numbered(250)], key=str)
    assert list(bigquery.tables) == [TABLE]
    assert len(bigquery.loads()) == 3


WRONG: list[Any] = [{"sku": "x", "n": "many"}, {"n": 1}, {"sku": "y", "extra": 1}, {"sku": "z", "tags": "a"}, {"sku": ["q"]},
                    {"sku": "w", "n": "1 2"}, {"sku": "v", "n": 1 << 64}]  # fmt: skip


@pytest.mark.parametrize("names", [0, 3, pytest.param(1, marks=pytest.mark.slow)])
def test_records_that_do_not_fit_are_set_aside_and_sent_in_again(bigquery: Service, tmp_path: Path, names: int) -> None:
    """The errors of a load job name several rows, one, or none."""
    bigquery.put(TABLE, FIELDS, [])
    bigquery.names = names
    records = [*numbered(20), *WRONG, *numbered(25)[20:]]
    letters = tmp_path / "letters.jl"
    told = config(bigquery, tmp_path, records, on_error={"action": "dead_letter", "file": str(letters)})
    report = exporters_beam.run(told)
    assert report.counts["writer.dead_lettered"] == 7
    found = {line["number"]: line["message"] for line in map(json.loads, letters.read_text().splitlines())}
    assert list(found) == [21, 22, 23, 24, 25, 26, 27]
    if names:
        assert "Could not convert value 'many' to integer. Field: n" in found[21]
    assert "Could not convert value '1 2' to integer. Field: n" in found[26]
    assert found[24] == "the column tags is REPEATED, and the value is a string"
    assert bigquery.tables[TABLE].rows == numbered(25)
    assert json.loads(next(tmp_path.rglob("manifest.json")).read_text())["targets"][0]["records"] == 25
    loads = bigquery.loads()
    assert exporters_beam.run(told).counts["writer.dead_lettered"] == 7
    assert bigquery.loads() == loads and bigquery.tables[TABLE].rows == numbered(25)
    assert build(BigQueryWriter, told["writer"]["options"], {}).count(report.targets[0]) == 25
    bigquery.tables[TABLE].fields = [*FIELDS, {"name": "extra", "type": "INTEGER"}]
    if names == 0:
        with pytest.raises(ExportError, match="was sent when the table had other columns, and other records of it fitted then"):
            exporters_beam.run(told)
        return
    letters.write_text("".join(line + "\n" for line in letters.read_text().splitlines() if "extra" in line))
    done = command(tmp_path, "replay", told, str(letters))
    assert done.returncode == 0, done.stderr
    assert bigquery.tables[TABLE].rows[25:] == [{"sku": "y", "n": None, "tags": [], "extra": 1}]


def test_records_that_cannot_be_sent_are_set_aside(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, [*FIELDS, {"name": "free", "type": "JSON"}], [])
    records = [{"sku": "a", "n": {1}}, {"sku": "b", "free": float("nan")}, {"sku": "c", "free": {"x": None}}, {"n": 1}]
    told = memory(bigquery, records, mode="merge", key="sku")
    report = exporters_beam.run({**told, "on_error": {"action": "dead_letter", "file": str(tmp_path / "letters.jl")}})
    assert report.counts["writer.dead_lettered"] == 3
    messages = [json.loads(line)["message"] for line in (tmp_path / "letters.jl").read_text().splitlines()]
    assert messages == ["BigQuery has no type for a set", "a column of the type JSON cannot hold NaN or an infinity",
                        "it has no value for the key sku"]  # fmt: skip
    assert bigquery.tables[TABLE].rows == [{"sku": "c", "n": None, "tags": [], "free": '{"x": null}'}]


def test_a_refused_record_ends_the_export_which_goes_on_when_the_table_fits(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, [])
    told = config(bigquery, tmp_path, [*numbered(150), {"sku": "a", "extra": 1}], options={"items_per_buffer_write": 100})
    with pytest.raises(ExportError, match=r"in\.jl: record 151: writer: .*No such field: extra"):
        exporters_beam.run(told)
    assert bigquery.tables[TABLE].rows == numbered(100), "a load job puts all its rows, or none"
    bigquery.tables[TABLE].fields = [*FIELDS, {"name": "extra", "type": "INTEGER"}]
    bigquery.tables[TABLE].rows = [{**row, "extra": None} for row in bigquery.tables[TABLE].rows]
    exporters_beam.run(told)
    assert len(bigquery.tables[TABLE].rows) == 151 and bigquery.tables[TABLE].rows[-1]["extra"] == 1


def test_too_many_records_do_not_fit(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, [])
    told = config(bigquery, tmp_path, [{"sku": "a", "n": "1 2"}] * 300, on_error={"action": "skip"})
    bigquery.names = 1
    with pytest.raises(ExportError, match=r"batch 0 has so many records that do not fit shop\.sales\.orders that 40 load jobs"):
        exporters_beam.run(told)
    assert bigquery.tables[TABLE].rows == []
    told = config(bigquery, tmp_path, [{"sku": "a", "extra": 1}] * 300, on_error={"action": "skip"})
    assert exporters_beam.run(told).counts["writer.skipped"] == 300


def test_replace_keeps_partitions_and_takes_no_records(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, numbered(3))
    bigquery.tables[TABLE].more["timePartitioning"] = {"type": "DAY"}
    exporters_beam.run(config(bigquery, tmp_path, numbered(5), options={"mode": "replace"}))
    assert bigquery.tables[TABLE].rows == numbered(5)
    exporters_beam.run(config(bigquery, tmp_path, [], options={"mode": "replace"}))
    assert bigquery.tables[TABLE].rows == [] and list(bigquery.tables) == [TABLE]


def test_what_was_gathered_is_gone(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, numbered(3))
    told = config(bigquery, tmp_path, numbered(5), options={"mode": "replace"})
    bigquery.before = lambda method, path: (500, "") if bigquery.loads() and bigquery.fail == [] else None
    told["writer"]["options"]["retry_seconds"] = 0
    with pytest.raises(ExportError):
        exporters_beam.run(told)
    bigquery.before = lambda method, path: None
    for name in [name for name in bigquery.tables if name != TABLE]:
        del bigquery.tables[name]
    with pytest.raises(ExportError, match="which gathers the records of this delivery, has no rows, since it is gone, not 5"):
        exporters_beam.run(told)
    assert bigquery.tables[TABLE].rows == numbered(3)


def quota(method: str, path: str) -> Any:
    told = {"reason": "quotaExceeded", "message": "Quota exceeded: too many imports per table"}
    return (403, {"error": {"message": told["message"], "errors": [told]}}) if method == "POST" else None


def says(status: int, body: Any, what: str = "") -> Callable[[Service], Any]:
    return lambda service: setattr(service, "before", lambda method, path: (status, body) if what in path else None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda service: service.tables.clear(), r"has no table shop\.sales\.orders; make it, or write create: true"),
        (lambda service: setattr(service, "accounts", set()), "credentials: none were given, and http.* wants them"),
        (lambda service: service.denied.add("bigquery.jobs.create"), r"credentials: they do not allow it \(shop.*Denied"),
        (lambda service: service.denied.add("bigquery.tables.get"), "credentials: they do not allow it: Access Denied: Table"),
        (lambda service: service.denied.add("bigquery.tables.updateData"), "credentials: they may not write to shop"),
        (lambda service: setattr(service, "before", quota), "a quota of BigQuery is used up; the export can go on later"),
        (says(200, "<p>Hello</p>"), "endpoint: what .* answers is no answer of BigQuery"),
        (says(200, "<p>Hello</p>", "/upload"), "endpoint: what .* answers is no answer of BigQuery"),
        (says(200, {}, "/jobs/"), "endpoint: what .* answers is no answer of BigQuery"),
        (says(200, [], "/tables/"), "endpoint: what .* answers is no answer of BigQuery"),
        (says(404, "Not Found", "/upload"), r"table: http.* said 404 \(shop\.sales\.orders\)"),
        (lambda service: service.fail.append(Failed(400, "invalid", "Provided Schema does not match Table")),
         "table: BigQuery said invalid: Provided Schema does not match Table"),
        (lambda service: service.stop(), "endpoint: .* does not answer"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(
    bigquery: Service, tmp_path: Path, change: Callable[[Service], Any], message: str
) -> None:
    bigquery.put(TABLE, FIELDS, [])
    change(bigquery)
    with pytest.raises(ExportError, match=message) as caught:
        exporters_beam.run(config(bigquery, tmp_path, numbered(3), options={"retry_seconds": 0}))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    assert bigquery.tables.get(TABLE) is None or bigquery.tables[TABLE].rows == []


def test_a_key_of_a_service_account(bigquery: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bigquery.put(TABLE, FIELDS, [])
    bigquery.accounts = {"export@shop.example"}
    key = bigquery.key()
    monkeypatch.setenv("KEY", json.dumps(key))
    told = config(bigquery, tmp_path, numbered(3), options={"credentials": "${secret:env:KEY}"})
    exporters_beam.run(told)
    assert bigquery.tables[TABLE].rows == numbered(3)
    (tmp_path / "key.json").write_text(json.dumps(key))
    told["writer"]["options"]["credentials"] = str(tmp_path / "key.json")
    exporters_beam.run(told)
    assert bigquery.tables[TABLE].rows == numbered(3), "other credentials are no other export"
    lines = key["private_key"].splitlines()
    (tmp_path / "key.json").unlink()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if lines[1].encode() in path.read_bytes()]
    bigquery.accounts = set()
    with pytest.raises(ExportError, match=r"credentials: .* does not take them: .*account not found") as caught:
        exporters_beam.run(config(bigquery, tmp_path, numbered(4), options={"credentials": "${secret:env:KEY}"}))
    assert lines[1] not in str(caught.value)
    for wrong, message in (
        ("{}", "this is not a key of a service account"),
        ("no.json", "the file cannot be read: No such file"),
    ):
        monkeypatch.setenv("KEY", wrong)
        with pytest.raises(ExportError, match=f"credentials: {message}"):
            exporters_beam.run(config(bigquery, tmp_path, numbered(4), options={"credentials": "${secret:env:KEY}"}))


def test_check_looks_and_writes_nothing(bigquery: Service, tmp_path: Path) -> None:
    bigquery.put(TABLE, FIELDS, [])
    told = config(bigquery, tmp_path, [])
    probe = build(BigQueryWriter, told["writer"]["options"], {}).probe
    probe()
    bigquery.denied.add("bigquery.tables.updateData")
    with pytest.raises(
        ExportError, match=r"they may not write to shop\.sales\.orders: bigquery\.tables\.updateData is not granted"
    ):
        probe()
    merging = build(BigQueryWriter, {**told["writer"]["options"], "mode": "merge", "key": "skn"}, {})
    with pytest.raises(ExportError, match=r'key: shop\.sales\.orders has no column skn; did you mean "sku"\?'):
        merging.probe()
    bigquery.tables.clear()
    with pytest.raises(ExportError, match=r"Not found: Dataset shop:no"):
        build(BigQueryWriter, {"table": "shop.no.orders", "endpoint": bigquery.url, "create": True}, {}).probe()
    assert not bigquery.tables and not bigquery.jobs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "orders"}, "table: orders is no name of a table; write PROJECT.DATASET.TABLE"),
        ({"mode": "merge"}, "key: with mode merge, name the column or columns by which a row is known"),
        ({"key": "sku"}, "key: mode append knows no key"),
        ({"schema": FIELDS}, "schema: it is for a table that is made; write create: true"),
        ({"create": True, "schema": [{"name": "a"}]}, "schema: field 1 has no name or no type"),
        ({"credentials": {"client_email": "a"}}, "credentials: this is not a key of a service account: it has no private_key"),
        ({"endpoint": "localhost:9050"}, "endpoint: localhost:9050 is no URL of a server"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(BigQueryWriter, {"table": TABLE, **options}, {})
