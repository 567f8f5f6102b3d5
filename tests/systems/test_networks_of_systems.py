"""Exports to and from databases, queues and search engines, over networks that break: toxiproxy stands before a real server.

An export goes through, or fails with exit status 1 and one sentence, and `--resume` completes it. In the end every record is
there once.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opensearch_server import opensearch  # noqa: F401

from exporters_beam.cli.main import main
from exporters_beam.engine import sending

from databases import made
from helpers import jsonl
from toxics import Network, toxiproxy  # noqa: F401

pytestmark = pytest.mark.servers

RECORDS = [{"id": n, "text": f"{n:04d}" * 400} for n in range(300)]
"""About 490 kB; a batch is about 50 kB."""

FAULTS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "cut on the way there": (("limit_data", {"bytes": 150_000, "to": "upstream", "toxicity": 0.4}),),
    "cut on the way back": (("limit_data", {"bytes": 3_000, "to": "downstream", "toxicity": 0.6}),),
    "reset": (("bandwidth", {"rate": 1_000, "to": "upstream"}), ("reset_peer", {"timeout": 150, "toxicity": 0.4})),
}


@dataclass
class System:
    """A server with nothing of this test in it. `options` are for what goes over the network, `fill` and `ids` go past it."""

    name: str
    port: int
    options: Callable[[int], dict[str, Any]]
    ids: Callable[[], list[int]]
    fill: Callable[[], None] = lambda: None
    written: tuple[tuple[str, Any], ...] = ()
    """Options of the writer alone."""
    listen: int = 0


@pytest.fixture
def system(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    return {"postgresql": sql, "mariadb": sql, "kafka": kafka, "opensearch": search, "mongodb": mongodb}[request.param](
        request, request.param, tmp_path
    )


def sql(request: pytest.FixtureRequest, kind: str, folder: Path) -> System:
    database = made(kind, request, folder)
    port = request.getfixturevalue(f"{kind}_server")[0].port
    database.run("CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)")

    def options(way: int) -> dict[str, Any]:
        return {**database.options, "url": database.url.replace(f":{port}/", f":{way}/"), "table": "items"}

    def fill() -> None:
        database.many("INSERT INTO items VALUES (%s, %s)", [tuple(record.values()) for record in RECORDS])

    return System("sql", port, options, lambda: [n for (n,) in database.rows("SELECT id FROM items")], fill)


def kafka(request: pytest.FixtureRequest, kind: str, folder: Path) -> System:
    broker = request.getfixturevalue("kafka")
    topic = broker.topic(2)
    return System(
        "kafka", broker.afar, lambda way: {"servers": [f"127.0.0.1:{way}"], "topic": topic},
        lambda: [json.loads(value)["id"] for *_, value in broker.values(topic)],
        lambda: broker.send(topic, ({"value": record, "partition": record["id"] % 2} for record in RECORDS)),
        listen=broker.way,
    )  # fmt: skip


def search(request: pytest.FixtureRequest, kind: str, folder: Path) -> System:
    node, index = request.getfixturevalue("opensearch"), f"items-{folder.name.lower()}"
    return System(
        "opensearch", node.port, lambda way: {"hosts": [f"http://127.0.0.1:{way}"], "index": index},
        lambda: [record["id"] for record in node.documents(index).values()], written=(("create", {}), ("key", "id")),
    )  # fmt: skip


def mongodb(request: pytest.FixtureRequest, kind: str, folder: Path) -> System:
    mongo = request.getfixturevalue("mongodb")
    port = int(mongo.url.rpartition(":")[2])
    return System(
        "mongodb", port, lambda way: mongo.options("items", url=f"mongodb://127.0.0.1:{way}"),
        lambda: [record["id"] for record in mongo.documents("items")],
        lambda: mongo.fill([dict(record) for record in RECORDS], "items"),
    )  # fmt: skip


@pytest.fixture
def network(system: System, toxiproxy: str) -> Iterator[tuple[Network, int]]:  # noqa: F811
    """What lies before the system, and the port at which it begins."""
    between = Network(toxiproxy)
    try:
        yield between, between.connect(f"127.0.0.1:{system.listen}", f"127.0.0.1:{system.port}")
    finally:
        between.close()


@pytest.fixture(autouse=True)
def _soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(sending, "LONGEST_WAIT", 0.2)


def exported(config: dict[str, Any], between: Network, fault: str, capsys: pytest.CaptureFixture[str]) -> int:
    """Run it over a network with a fault, and where it does not go through, again with --resume over a good one."""
    Path("config.json").write_text(json.dumps(config))
    for kind, told in FAULTS[fault]:
        between.spoil(kind, **told)
    code = main(["run", "config.json", "--quiet"])
    said = capsys.readouterr().err
    assert code in (0, 1), said
    if code:
        assert sum(line.startswith("error: ") for line in said.splitlines()) == 1 and "Traceback" not in said, said
        between.heal()
        assert main(["run", "config.json", "--quiet", "--resume"]) == 0, capsys.readouterr().err
    return code


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("system", ["postgresql", "mariadb", "kafka", "opensearch", "mongodb"], indirect=True)
def test_records_arrive_once(
    system: System, network: tuple[Network, int], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    between, way = network
    (tmp_path / "in.jl").write_bytes(jsonl(RECORDS))
    options = {**system.options(way), **dict(system.written), "items_per_buffer_write": 30, "retry_seconds": 60}
    config = {"reader": {"name": "fs", "options": {"input": "in.jl"}}, "writer": {"name": system.name, "options": options}}
    exported(config, between, fault, capsys)
    assert Counter(system.ids()) == Counter(range(len(RECORDS)))
    between.heal()
    assert main(["run", "config.json", "--quiet"]) == 0, capsys.readouterr().err
    assert Counter(system.ids()) == Counter(range(len(RECORDS)))


@pytest.mark.parametrize("fault", ["cut on the way back", "reset"])
@pytest.mark.parametrize("system", ["postgresql", "mariadb", "kafka", "mongodb"], indirect=True)
def test_records_are_read_once(
    system: System, network: tuple[Network, int], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    between, way = network
    system.fill()
    writer = {"name": "fs", "options": {"filebase": "out/part-"}}
    exported({"reader": {"name": system.name, "options": system.options(way)}, "writer": writer}, between, fault, capsys)
    found = [json.loads(line)["id"] for path in tmp_path.glob("out/part-*") for line in gzip.open(path)]
    assert Counter(found) == Counter(range(len(RECORDS)))
