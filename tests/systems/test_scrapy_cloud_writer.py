"""Storing records in a collection of Scrapy Cloud: each once by its key, whatever the service or the network do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from scrapy_cloud_service import KEY, Service

import exporters_beam
from exporters_beam import ConfigError, ExportError
from exporters_beam.planning.migrate import migrate
from exporters_beam.systems import scrapy_cloud_writer
from exporters_beam.writers import reduce

from helpers import jsonl

pytest.importorskip("scrapinghub", reason='there is no client; get it with: pip install "exporters-beam[scrapy-cloud]"')


ROOT = Path(__file__).parent.parent.parent

SUM = "def reduce_function(item, accumulator=None):\n    return (accumulator or 0) + item['n']\n"


@pytest.fixture(autouse=True)
def _books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SHUB_APIKEY", KEY)
    monkeypatch.setattr("exporters_beam.engine.sending.FIRST_WAIT", 0.01)


def numbered(number: int) -> list[dict[str, Any]]:
    return [{"sku": f"s{n:05d}", "n": n, "náme": "x" * 100} for n in range(number)]


def stored(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"_key": record["sku"], **record} for record in records]


def config(tmp_path: Path, records: list[Any], name: str = "scrapy_cloud", **more: Any) -> dict[str, Any]:
    (tmp_path / "in.jl").write_bytes(jsonl(records))
    options = {"project_id": 78, "collection_name": "products", "key_field": "sku", **more.pop("options", {})}
    return {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": name, "options": options},
        **more,
    }


def command(tmp_path: Path, what: str, told: dict[str, Any], *args: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "exporters_beam", what, str(path), *args], env=env, text=True,
                          capture_output=True, timeout=300)  # fmt: skip


def sizes(cloud: Service) -> list[str]:
    return [path for method, path in cloud.asked if method == "POST"]


def test_records_are_stored_under_their_keys(cloud: Service, tmp_path: Path) -> None:
    report = exporters_beam.run(config(tmp_path, numbered(2500)))
    assert cloud.stored("products") == stored(numbered(2500))
    assert len(sizes(cloud)) == 3
    (target,) = report.targets
    assert (target["name"], target["records"]) == ("scrapy-cloud://78/s/products", 2500)
    exporters_beam.run(config(tmp_path, numbered(2500), options={"delivery_id": "again"}))
    assert cloud.stored("products") == stored(numbered(2500))


@pytest.mark.parametrize("path", ["exporters.writers.hubstorage_writer.HubstorageWriter", "exporters.writers.HubstorageWriter"])
def test_an_old_config_does_what_it_did(cloud: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.delenv("SHUB_APIKEY")
    monkeypatch.setenv("EXPORTERS_HS_APIKEY", KEY)
    records = [{**record, "_key": "other"} for record in numbered(5)]
    options = {
        "project_id": "78", "items_limit": 4, "compression": "gz", "check_consistency": True, "items_per_buffer_write": 0,
        "write_buffer": "exporters.write_buffers.base.WriteBuffer", "size_per_buffer_write": 0,
    }  # fmt: skip
    exporters_beam.run(config(tmp_path, records, path, options=options))
    assert cloud.stored("products") == stored(numbered(4))
    with pytest.raises(ExportError, match=r"in\.jl: record 2: writer: key_field: the field 'sku' is the key, and"):
        exporters_beam.run(config(tmp_path, [{"sku": "a"}, {"n": 1}], path))


def test_an_old_config_is_migrated_to_one_that_does_the_same(cloud: Service, tmp_path: Path) -> None:
    path = "exporters.writers.hubstorage_writer.HubstorageWriter"
    told = config(tmp_path, numbered(5), path, options={"items_per_buffer_write": 0, "write_buffer": "default"})
    told["exporter_options"] = {"formatter": {"name": "exporters.export_formatter.json_export_formatter.JsonExportFormatter"}}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(told))
    made = yaml.safe_load(migrate(str(tmp_path / "old.yaml")).text)
    assert made["writer"]["name"] == "scrapy_cloud" and "formatter" not in made
    exporters_beam.run(made)
    assert cloud.stored("products") == stored(numbered(5))


def test_requests_are_smaller_than_the_service_takes(cloud: Service, tmp_path: Path) -> None:
    large = [{"sku": f"k{n}", "text": "é" * (n * 60_000)} for n in range(9)]
    exporters_beam.run(config(tmp_path, large))
    assert [record["_key"] for record in cloud.stored("products")] == [f"k{n}" for n in range(9)]
    assert len(sizes(cloud)) == 6


def test_what_cannot_be_stored_is_set_aside_and_sent_in_again(cloud: Service, tmp_path: Path) -> None:
    cloud.wrong = lambda record: "no such animal\n" if record.get("n") in (7, 8, 90) else ""
    wrong: list[Any] = [{"sku": "large", "text": "x" * (1 << 20)}, {"n": 1}, {"sku": ["a"]}, {"sku": 5}, {"sku": ""}]
    records = [*numbered(100), *wrong]
    letters = tmp_path / "letters.jl"
    told = config(tmp_path, records, on_error={"action": "dead_letter", "file": str(letters)})
    report = exporters_beam.run(told)
    assert report.counts["writer.dead_lettered"] == 7
    found = {line["number"]: line["message"] for line in map(json.loads, letters.read_text().splitlines())}
    assert found == {
        8: "the service said 400 no such animal",
        9: "the service said 400 no such animal",
        91: "the service said 400 no such animal",
        101: "it has 1,048,616 bytes as JSON; the service takes 1,048,576",
        102: "key_field: the field 'sku' is the key, and it is not there",
        103: "key_field: the field 'sku' is the key, and ['a'] is no text",
        105: "key_field: the field 'sku' is the key, and it is empty",
    }
    kept = [record for n, record in enumerate(numbered(100)) if n not in (7, 8, 90)]
    assert cloud.stored("products") == [{"_key": "5", "sku": 5}, *stored(kept)]
    cloud.wrong = lambda record: ""
    repaired = [line for line in letters.read_text().splitlines() if "no such animal" in line]
    letters.write_text("\n".join(repaired) + "\n")
    done = command(tmp_path, "replay", told, str(letters))
    assert done.returncode == 0, done.stderr
    assert cloud.stored("products")[1:] == stored(numbered(100))


def test_the_service_asks_to_wait_breaks_off_and_is_restarted(cloud: Service, tmp_path: Path) -> None:
    refusals = [(429, "slow down", {"Retry-After": "1"}), (503, "", {}), (500, "<h1>Oops</h1>", {})]
    told = config(tmp_path, numbered(3000), options={"items_per_buffer_write": 1000})
    posts = 0

    def before(method: str, path: str) -> Any:
        nonlocal posts
        posts += method == "POST"
        if method == "POST" and posts > 1 and refusals:
            return refusals.pop(0)
        if posts == 6:
            posts += 1
            threading.Thread(target=restart).start()
            return 503, "going down", {}
        return None

    def restart() -> None:
        cloud.stop()
        cloud.start()

    cloud.before = before
    exporters_beam.run(told)
    assert cloud.stored("products") == stored(numbered(3000))


@pytest.mark.parametrize("kill_at", [2, 3])
def test_killed_and_resumed(cloud: Service, tmp_path: Path, kill_at: int) -> None:
    told = config(tmp_path, numbered(3000), options={"items_per_buffer_write": 1000})
    killed_at(cloud, tmp_path, told, kill_at)
    before = len(cloud.stored("products"))
    assert before == 1000 * (kill_at - 1)
    done = command(tmp_path, "run", told, "--workers", "1", "--resume")
    assert done.returncode == 0, done.stderr
    assert cloud.stored("products") == stored(numbered(3000))
    assert len(sizes(cloud)) == 4, "only the batch that was under way is sent again"


def killed_at(cloud: Service, tmp_path: Path, told: dict[str, Any], number: int, method: str = "POST") -> None:
    """Runs an export that is killed at its request of this number."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    seen = 0
    code = ("import sys; from exporters_beam.runners import local; from exporters_beam.cli.main import main; "
            "local.BUNDLE_SECONDS = 0.0; sys.exit(main())")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code, "run", str(path), "--workers", "1"], env=env,
                               stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip

    def before(asked: str, where: str) -> Any:
        nonlocal seen
        seen += asked == method
        if asked == method and seen == number:
            os.killpg(process.pid, signal.SIGKILL)
            return 503, "", {}
        return None

    cloud.before = before
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    cloud.before = lambda asked, where: None


def test_reading_is_resumed_as_it_was_listed(cloud: Service, tmp_path: Path) -> None:
    cloud.put("products", [{"_key": f"k{n:04d}", "n": n} for n in range(400)])
    told = {
        "reader": {"name": "scrapy_cloud", "options": {"project_id": 78, "collection_name": "products", "range_size": 100}},
        "writer": {"name": "scrapy_cloud", "options": {"project_id": 78, "collection_name": "copy"}},
    }
    killed_at(cloud, tmp_path, told, 7, "GET")
    cloud.put("products", [{"_key": "z", "n": 1}])
    done = command(tmp_path, "run", told, "--workers", "2", "--resume")
    assert done.returncode == 0, done.stderr
    assert cloud.stored("copy") == [{"_key": f"k{n:04d}", "n": n} for n in range(400)]


def on_post(*answer: Any) -> Callable[[str, str], Any]:
    return lambda method, path: answer if method == "POST" else None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cloud: cloud.keys.clear(), "apikey: the service does not know this key; it said 401 Authentication failed"),
        (lambda cloud: cloud.keys.update({KEY: set()}), "apikey: the service does not let this key do that; it said 403"),
        (lambda cloud: setattr(cloud, "before", lambda *_: (200, "<p>Hello</p>", {})), "is not JSON: Hello"),
        (lambda cloud: setattr(cloud, "before", on_post(404, "Not Found", {})), "404 Not Found"),
        (lambda cloud: setattr(cloud, "before", on_post(302, "", {"Location": "/x"})), "302 Found"),
    ],
)  # fmt: skip
def test_what_the_service_refuses_is_one_sentence(
    cloud: Service, tmp_path: Path, change: Callable[[Service], Any], message: str
) -> None:
    change(cloud)
    with pytest.raises(ExportError, match=message) as caught:
        exporters_beam.run(config(tmp_path, numbered(3)))
    assert KEY not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_check_looks_and_writes_nothing(cloud: Service, tmp_path: Path) -> None:
    cloud.put("source", [{"_key": "a"}])
    told = config(tmp_path, [])
    told["reader"] = {"name": "scrapy_cloud", "options": {"project_id": 78, "collection_name": "source"}}
    done = command(tmp_path, "check", told)
    assert (done.returncode, done.stdout) == (0, "reader scrapy_cloud: ok\nwriter scrapy_cloud: ok\n")
    told["reader"]["options"]["collection_name"] = "sauce"
    done = command(tmp_path, "check", told)
    assert done.returncode == 1 and 'did you mean "source"?' in done.stderr
    assert not sizes(cloud)


def reduced(tmp_path: Path, records: list[Any], code: str = SUM, **options: Any) -> dict[str, Any]:
    url = "https://dash.scrapinghub.com/p/78/collections/s/totals/"
    told = config(tmp_path, records, "exporters.writers.hs_reduce_writer.HubstorageReduceWriter")
    told["writer"]["options"] = {"collection_url": url, "key": "sum", "apikey": KEY, "code": code, **options}
    return told


def test_the_result_of_a_fold_is_stored(cloud: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    cloud.wrong = lambda record: seen.append(record) or ""
    monkeypatch.setattr(reduce, "EACH", 4)
    assert exporters_beam.run(reduced(tmp_path, numbered(10))).result == 45
    assert seen == [{"value": value, "_finished": end, "_key": "sum"} for value, end in ((6, False), (28, False), (45, True))]
    last = "def reduce_function(item, accumulator=None):\n    return {'last': item['n'], '_key': 'x'}\n"
    exporters_beam.run(reduced(tmp_path, numbered(3), last))
    assert cloud.stored("totals") == [{"_key": "sum", "last": 2, "_finished": True}]
    exporters_beam.run(reduced(tmp_path, []))
    assert cloud.stored("totals") == [{"_key": "sum", "value": None, "_finished": True}]


def test_a_result_that_cannot_be_stored(cloud: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = "def reduce_function(item, accumulator=None):\n    return {1, 2}\n"
    with pytest.raises(ExportError, match=r"code: what reduce_function returns cannot be stored: JSON cannot hold the set"):
        exporters_beam.run(reduced(tmp_path, numbered(3), several))
    monkeypatch.setattr(scrapy_cloud_writer, "ATTEMPTS", 2)
    with pytest.raises(ConfigError, match=r"collection_url: 'https://example\.org/x' is not the address of a collection"):
        exporters_beam.run(reduced(tmp_path, numbered(3), collection_url="https://example.org/x"))
    with pytest.raises(ExportError, match="401"):
        exporters_beam.run(reduced(tmp_path, numbered(3), apikey="wrong-key"))
