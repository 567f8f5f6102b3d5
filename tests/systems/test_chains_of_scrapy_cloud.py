"""Batches of a collection of Scrapy Cloud that is written to, and of jobs that run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chains import batches
from scrapy_cloud_service import KEY, Service

import exporters_beam
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.runners.chain_states import plans_of
from exporters_beam.runners.chains import opened

pytest.importorskip("scrapinghub", reason='there is no client; get it with: pip install "exporters-beam[scrapy-cloud]"')


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUB_APIKEY", KEY)


def config(folder: Path, new_only: Any = True, **options: Any) -> dict[str, Any]:
    if "jobs" not in options:
        options = {"project_id": 78, "collection_name": "products", **options}
    return {
        "reader": {"name": "scrapy_cloud", "options": options},
        "new_only": new_only,
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/n-{{batch:03d}}-"}},
    }


def put(cloud: Service, *numbers: int, name: str = "products", begin: str = "sku") -> None:
    """Each is stored under a key of its own, and the clock goes on."""
    cloud.put(name, [{"_key": f"{begin}{n % 100:03d}", "n": n} for n in numbers])
    cloud.now += 1


def test_each_batch_has_what_was_written_since_the_one_before(cloud: Service, tmp_path: Path) -> None:
    made = config(tmp_path, range_size=2)
    put(cloud, 5, 3, 1, 2)
    assert exporters_beam.run(made).written == 4
    assert exporters_beam.run(made).note.startswith("there is nothing new since batch 1")
    put(cloud, 4, 103)
    assert exporters_beam.run(made).written == 2
    put(cloud, 0)
    exporters_beam.run(made)
    assert batches(made) == [[1, 2, 3, 5], [103, 4], [0]], "a record that was written again comes again"


def test_what_is_written_in_the_millisecond_in_which_a_batch_ends_is_in_one_of_them(cloud: Service, tmp_path: Path) -> None:
    made = config(tmp_path)
    put(cloud, 1)
    cloud.put("products", [{"_key": "sku002", "n": 2}])
    assert exporters_beam.run(made).written == 1
    cloud.now -= 1
    cloud.put("products", [{"_key": "sku003", "n": 3}])
    put(cloud, 4)
    exporters_beam.run(made)
    assert batches(made) == [[1], [2, 3, 4]]


@pytest.mark.parametrize("inclusive", [True, False])
def test_nothing_hangs_on_whether_the_service_counts_bounds_in(cloud: Service, tmp_path: Path, inclusive: bool) -> None:
    """Its documents say no more than that records are between them."""
    selected = cloud.selected

    def otherwise(where: Any, given: dict[str, list[str]]) -> Any:
        bounds = {name: int(given[name][0]) for name in ("startts", "endts") if name in given}
        rest = {name: value for name, value in given.items() if name not in bounds}
        for key, written, value in selected(where, rest):
            low, high = bounds.get("startts", 0), bounds.get("endts", 1 << 60)
            if low <= written <= high if inclusive else low < written < high:
                yield key, written, value

    cloud.selected = otherwise  # type: ignore[method-assign]
    made = config(tmp_path)
    for n in range(1, 9):
        cloud.put("products", [{"_key": f"sku{n:03d}", "n": n}])
        if n % 2:
            exporters_beam.run(made)
    put(cloud, 9)
    exporters_beam.run(made)
    assert [n for each in batches(made) for n in each] == list(range(1, 10))


def test_the_youngest_records_are_left_to_the_next_batch(cloud: Service, tmp_path: Path) -> None:
    made = config(tmp_path, {"settled": "1m"})
    put(cloud, 1)
    cloud.now += 60_000
    put(cloud, 2)
    assert exporters_beam.run(made).written == 1
    cloud.now += 60_000
    exporters_beam.run(made)
    assert batches(made) == [[1], [2]]


def test_the_first_batch_begins_at_startts_and_another_collection_at_its_beginning(cloud: Service, tmp_path: Path) -> None:
    put(cloud, 1, 2)
    made = config(tmp_path, startts=cloud.now)
    put(cloud, 3)
    exporters_beam.run(made)
    put(cloud, 4)
    exporters_beam.run(made)
    put(cloud, 7, name="others")
    exporters_beam.run(config(tmp_path, collection_name="others"))
    put(cloud, 5)
    exporters_beam.run(made)
    assert batches(made) == [[3], [4], [7], [5]]


def begun(made: dict[str, Any]) -> None:
    """As after a run that was killed when what it reads is written down and nothing of it is read."""
    with opened(load(made)) as chain:
        assert chain.begin(full=False)


def test_a_batch_that_was_begun_reads_what_was_written_down(cloud: Service, tmp_path: Path) -> None:
    made = config(tmp_path)
    put(cloud, *range(1, 8))
    begun(made)
    put(cloud, 103, 8)
    exporters_beam.run(made)
    exporters_beam.run(made)
    assert batches(made) == [[1, 2, 4, 5, 6, 7], [103, 8]], "what was written again comes once, with its new value"
    put(cloud, 9)
    begun(made)
    put(cloud, 109)
    assert exporters_beam.run(made).written == 0
    exporters_beam.run(made)
    assert batches(made)[2:] == [[], [109]]
    put(cloud, 10)
    begun(made)
    cloud.collections.clear()
    with pytest.raises(SourceError, match="the collection 78/s/products is gone; it was there when the export was listed"):
        exporters_beam.run(made)


def test_items_of_jobs_that_run(cloud: Service, tmp_path: Path) -> None:
    made = config(tmp_path, jobs=["78/1/5", "78/1/6"], range_size=2)
    cloud.jobs = {"78/1/5": [{"n": n} for n in range(5)], "78/1/6": []}
    exporters_beam.run(made)
    assert exporters_beam.run(made).note
    cloud.jobs["78/1/5"] += [{"n": n} for n in range(5, 8)]
    cloud.jobs["78/1/6"] = [{"n": 20}]
    exporters_beam.run(made)
    cloud.jobs["78/1/7"] = [{"n": 30}]
    made = config(tmp_path, jobs=["78/1/5", "78/1/6", "78/1/7"])
    exporters_beam.run(made)
    assert batches(made) == [[0, 1, 2, 3, 4], [5, 6, 7, 20], [30]]
    cloud.jobs["78/1/5"].pop()
    with pytest.raises(SourceError, match=r"jobs: 78/1/5 has 7 items now, and 8 were read of it; were they deleted\?"):
        exporters_beam.run(made)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"secondary_collections": ["stock"]}, "where only a secondary collection has changed, nobody would see it; leave out"),
        ({"count": 5}, "what comes after `count` records would never be read; leave it out"),
        ({"endts": "now"}, "each batch ends at the time at which it begins; leave out `endts`"),
    ],
)
def test_what_would_lose_records_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=f"scrapy_cloud cannot tell what is new: {says}"):
        plans_of(load(config(tmp_path, **options)))
