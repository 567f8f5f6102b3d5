"""Reading collections and items of Scrapy Cloud from a service that answers as it does, also with what goes wrong there."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from scrapy_cloud_service import KEY, Service

import exporters_beam
from exporters_beam import ConfigError, ExportError, SourceError
from exporters_beam.components.options import build
from exporters_beam.records import Unit, Warned
from exporters_beam.systems import scrapy_cloud_reader
from exporters_beam.systems.scrapy_cloud_reader import ScrapyCloudReader

from helpers import delivered

pytest.importorskip("scrapinghub", reason='there is no client; get it with: pip install "exporters-beam[scrapy-cloud]"')


OLD = "exporters.readers.hubstorage_reader.HubstorageReader"


def products(number: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"_key": f"sku{n:06d}", "name": f"núm {n}", "price": n / 4, "tags": ["a", {"b": None}]}
            for n in range(first, first + number)]  # fmt: skip


def items(number: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"_type": "product", "n": n} for n in range(first, first + number)]


def reader(**options: Any) -> ScrapyCloudReader:
    given = {"apikey": KEY, "endpoint": None, **options}
    if "jobs" not in given:
        given = {"project_id": 78, "collection_name": "products", **given}
    return build(ScrapyCloudReader, given, os.environ)


def units_of(made: ScrapyCloudReader) -> list[Unit]:
    return [unit for unit in made.units() if isinstance(unit, Unit)]


def read(made: ScrapyCloudReader) -> list[dict[str, Any]]:
    return [record for unit in units_of(made) for _, batch in made.read(unit, 0) for record in batch]


def keys(made: ScrapyCloudReader) -> list[str]:
    return [record["_key"] for record in read(made)]


def export(folder: Path, options: dict[str, Any], name: str = "scrapy_cloud", **more: Any) -> list[dict[str, Any]]:
    config = {
        "reader": {"name": name, "options": options},
        "writer": {"name": "fs", "options": {"filebase": str(folder / "out" / "part-")}},
        **more,
    }
    exporters_beam.run(config)
    return [record for records in delivered(folder / "out").values() for record in records]


def test_the_service_answers_the_official_client(cloud: Service) -> None:
    from scrapinghub import ScrapinghubClient

    client = ScrapinghubClient(KEY, endpoint=cloud.url, dash_endpoint=cloud.url)
    store = client.get_project(78).collections.get_store("products")
    writer = store.create_writer()
    for record in products(20):
        writer.write(record)
    writer.close()
    assert list(store.iter(prefix="sku00001", meta=["_key"])) == products(10, 10)
    assert store.count() == 20
    assert store.get("sku000003") == {name: value for name, value in products(1, 3)[0].items() if name != "_key"}
    assert {(each["type"], each["name"]) for each in client.get_project(78).collections.list()} == {("s", "products")}
    for wrong in ({"name": "no key"}, {"_key": "large", "text": "x" * (1 << 20)}):
        with pytest.raises(Exception, match=r"_key|1 MiB"):
            store.set(wrong)
    cloud.jobs["78/1/5"] = products(3)
    assert next(client.get_job("78/1/5").items.iter(start="78/1/5/1", meta=["_key"]))["_key"] == "78/1/5/1"


def test_a_collection_is_exported_in_the_order_of_its_keys(
    cloud: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.put("products", reversed(products(2500)))
    options = {"apikey": KEY, "project_id": 78, "collection_name": "products", "range_size": 300}
    config = {"exporter_options": {"prevent_bypass": True}}
    assert export(tmp_path, options, **config) == products(2500)
    made = reader(range_size=300)
    (unit,) = units_of(made)
    assert (unit.name, made.ranges(unit), made.before(unit, 8)) == ("78/s/products", 9, 2400)
    monkeypatch.setattr(scrapy_cloud_reader, "RANGES", 4)
    assert [unit.name for unit in units_of(made)] == ["78/s/products", "78/s/products[1]", "78/s/products[2]"]
    assert read(made) == products(2500)
    assert next(iter(made.read(unit, 8)))[1] == products(100, 2400)


def test_an_old_config_does_what_it_did(cloud: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTERS_HS_APIKEY", KEY)
    for part in range(3):
        cloud.put(f"products_{part}", products(40)[part::3])
    cloud.put("products_1_backup", products(1, 900))
    cloud.put("stock", [{"_key": "sku000005", "stock": 7, "price": 0}, {"_key": "sku9", "stock": 1}])
    cloud.put("stock2", [{"_key": "sku000005", "stock": 8}])
    options = {
        "project_id": "78", "collection_name": "products", "batch_size": 10, "count": 30,
        "prefixes": ["sku"], "exclude_prefixes": ["sku00001"], "secondary_collections": ["stock", "absent", "stock2"],
        "startts": "2015-09-11", "endts": cloud.now + 1,
    }  # fmt: skip
    expected = [record for record in products(40) if not record["_key"].startswith("sku00001")]
    expected[5] = {**expected[5], "stock": 8, "price": 0}
    assert export(tmp_path, options, OLD) == expected[:30]
    assert export(tmp_path / "b", {"project_id": 78, "collection_name": "absent"}, OLD) == []


def test_a_record_is_as_new_as_what_was_joined_to_it(cloud: Service) -> None:
    cloud.put("products", products(4))
    end = cloud.now
    cloud.put("stock", [{"_key": "sku000001", "stock": 7}])
    found = reader(secondary_collections=["stock"], endts=end, count=2)
    assert keys(found) == ["sku000000", "sku000002"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"prefixes": ["sku00002", "sku000021", "sku00001"]}, range(10, 30)),
        ({"exclude_prefixes": ["sku00000", "sku00001"]}, range(20, 40)),
        ({"count": 7, "range_size": 3}, range(7)),
        ({"startts": 1_441_940_400_011}, range(10, 40)),
        ({"endts": 1_441_940_400_011}, range(10)),
        ({"startts": "2015-09-11T03:00:00.011Z", "endts": "11 Sep 2015 05:00:00.021 +0200"}, range(10, 20)),
        ({"partitions": 0, "prefixes": ["other"]}, range(0)),
    ],
)
def test_options_choose_records(cloud: Service, options: dict[str, Any], expected: range) -> None:
    cloud.put("products", products(40))
    assert keys(reader(**options)) == [f"sku{n:06d}" for n in expected]


def test_excluded_keys_are_jumped_over(cloud: Service) -> None:
    cloud.put("products", products(3))
    cloud.put("products", [{"_key": f"a{n:05d}"} for n in range(50_000)])
    assert keys(reader(exclude_prefixes=["a"])) == [f"sku{n:06d}" for n in range(3)]
    assert len(cloud.asked) < 12


def test_what_is_read_is_decided_when_the_export_begins(cloud: Service) -> None:
    cloud.put("products", products(40))
    found, bound = reader(range_size=10), reader(range_size=10, endts=cloud.now + 1)
    units, bound_units = units_of(found), units_of(bound)
    cloud.put("products", [{"_key": "sku000003", "name": "again"}, {"_key": "zzz", "name": "late"}])
    records = [record for unit in units for _, batch in found.read(unit, 0) for record in batch]
    assert [record["_key"] for record in records] == [f"sku{n:06d}" for n in range(40)]
    assert records[3]["name"] == "again"
    again = [record["_key"] for unit in bound_units for _, batch in bound.read(unit, 0) for record in batch]
    assert again == [f"sku{n:06d}" for n in range(40) if n != 3]
    cloud.collections.clear()
    with pytest.raises(SourceError, match=r"the 10 records that were there .* up to the key 'sku000009', are gone"):
        list(found.read(units[0], 0))


def test_items_of_jobs(cloud: Service, tmp_path: Path) -> None:
    cloud.jobs = {"78/1/5": items(25), "78/1/6": [], "78/2/1": items(5, 100)}
    found = reader(jobs=["78/1/5", "78/1/6", "78/2/1"], range_size=10)
    assert read(found) == items(25) + items(5, 100)
    assert [(unit.name, found.ranges(unit)) for unit in units_of(found)] == [("78/1/5", 3), ("78/2/1", 1)]
    assert [found.text for found in found.units() if isinstance(found, Warned)] == ["jobs: 78/1/6 has no items"]
    assert len(read(reader(jobs="78/1/5", count=12))) == 12
    with pytest.raises(SourceError, match="jobs: there is no job 78/9/9"):
        reader(jobs="78/9/9").probe()


def test_answers_that_break_off_or_are_refused_for_a_while(cloud: Service, tmp_path: Path) -> None:
    cloud.put("products", products(3000))
    cloud.jobs["78/1/5"] = items(100)
    made, of_job = reader(range_size=700), reader(jobs="78/1/5")
    cloud.short = 3
    units, job_units = units_of(made), units_of(of_job)
    cloud.breaks = 9
    cloud.refusals = [(503, "busy", {"Retry-After": "0"}), (429, "", {}), (502, "<html>Bad gateway</html>", {})]
    assert [r for unit in units for _, batch in made.read(unit, 0) for r in batch] == products(3000)
    cloud.breaks = 3
    assert [r for unit in job_units for _, batch in of_job.read(unit, 0) for r in batch] == items(100)


def test_the_service_is_restarted_in_the_middle(cloud: Service) -> None:
    cloud.put("products", products(2000))
    made = reader(range_size=500)
    units = units_of(made)
    cloud.stop()
    later = threading.Timer(0.3, cloud.start)
    later.start()
    assert [r for unit in units for _, batch in made.read(unit, 0) for r in batch] == products(2000)
    later.join()


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        ((401, "Sorry, 5ecretkey", {}), r"apikey: the service does not know this key; it said 401 Sorry, \*\*\*$"),
        ((403, "", {}), "apikey: the service does not let this key do that; it said 403 Forbidden"),
        ((400, "bad parameter", {}), "the service said 400 bad parameter"),
        ((200, "<html><body>Welcome</body></html>", {}), r"the answer .* is not JSON: Welcome|holds no records: Welcome"),
        ((302, "", {"Location": "http://127.0.0.1:9/"}), "cannot be reached"),
        ((503, "down", {}), "the service said 503 down"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("when", ["listing", "reading"])
def test_what_the_service_refuses_is_one_sentence(cloud: Service, instead: Any, message: str, when: str) -> None:
    cloud.put("products", products(3))
    made = reader()
    object.__setattr__(made, "attempts", 2)
    units = units_of(made) if when == "reading" else []
    cloud.before = lambda method, path: instead
    with pytest.raises(SourceError, match=message) as caught:
        list(made.units()) if when == "listing" else list(made.read(units[0], 0))
    assert KEY not in str(caught.value) and "\n" not in str(caught.value) and "object at" not in str(caught.value)


def test_a_service_that_is_not_there(cloud: Service) -> None:
    cloud.stop()
    made = reader(endpoint="http://127.0.0.1:9")
    object.__setattr__(made, "attempts", 1)
    with pytest.raises(SourceError, match=r"^the service cannot be reached at http://127.0.0.1:9: Connection refused$"):
        made.probe()


def test_what_is_not_there_is_named(cloud: Service) -> None:
    cloud.put("products", products(1))
    cloud.put("shops_0", products(1))
    cloud.put("shops_2", products(1))
    with pytest.raises(SourceError, match=r'has no collection \'product\' of type s; did you mean "products"\?'):
        list(reader(collection_name="product").units())
    with pytest.raises(SourceError, match=r"shops_0 to shops_2, and shops_1 is not there; .* give `partitions: 0`"):
        list(reader(collection_name="shops").units())
    assert isinstance(next(iter(reader(collection_name="none", missing="empty").units())), Warned)
    with pytest.raises(SourceError, match="403 Access denied"):
        reader(project_id=79).probe()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"project_id": "a/b"}, "project_id: 'a/b' is not the number of a project"),
        ({"collection_name": "a-b"}, "collection_name: 'a-b' is not the name of a collection"),
        ({"jobs": "78/1"}, "jobs: '78/1' is not a job; write PROJECT/SPIDER/JOB"),
        ({"jobs": ["78/1/1"], "collection_name": "a"}, "give either a collection or `jobs`"),
        ({"startts": "the other day"}, "startts: 'the other day' is not a date"),
        ({"exclude_prefixes": [""]}, "exclude_prefixes: all keys begin with an empty text"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dateparser", None)  # It tries all languages, which takes long.
    with pytest.raises(ConfigError, match=message):
        reader(**options)


def test_the_key_is_asked_for_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHUB_APIKEY", raising=False)
    monkeypatch.delenv("EXPORTERS_HS_APIKEY", raising=False)
    with pytest.raises(ConfigError, match=r"apikey: this option is missing; .* the environment variable SHUB_APIKEY"):
        export(tmp_path, {"project_id": 78, "collection_name": "products"})


def test_the_key_stands_nowhere(cloud: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTERS_HS_APIKEY", KEY)
    cloud.put("products", products(5))
    assert len(export(tmp_path, {"project_id": 78, "collection_name": "products"})) == 5
    cloud.keys.clear()
    with pytest.raises(ExportError, match="does not know this key"):
        export(tmp_path, {"project_id": 78, "collection_name": "products"})
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
