"""A server that speaks the protocol of MongoDB: FerretDB, with files of SQLite. `.ci/servers` builds it.

It has no decimals, no NaN, no MinKey and MaxKey: it ends connections that send such values. Nor has it users.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from databases import Server, free_port, own_folder

BUILT = Path(os.environ.get("EXPORTERS_BEAM_SERVERS") or Path.home() / ".cache/exporters-beam/servers/bin")
NUMBERS = count()


class Mongo:
    """A database with nothing in it, and the server that it is on."""

    def __init__(self, url: str, server: Server, client: Any) -> None:
        self.url, self.server, self.database = url, server, f"test_{next(NUMBERS)}"
        self.there = client[self.database]

    def options(self, collection: str = "products", **options: Any) -> dict[str, Any]:
        return {"url": self.url, "database": self.database, "collection": collection, **options}

    def reader(self, collection: str = "products", **options: Any) -> dict[str, Any]:
        return {"name": "mongodb", "options": self.options(collection, **options)}

    writer = reader

    def fill(self, documents: list[Any], collection: str = "products") -> None:
        if documents:
            self.there[collection].insert_many(documents)

    def documents(self, collection: str = "products") -> list[Any]:
        return list(self.there[collection].find(sort=[("_id", 1)]))


@pytest.fixture(scope="session")
def mongodb_server() -> Iterator[tuple[str, Server, Any]]:
    pymongo = pytest.importorskip("pymongo", reason='pymongo is not here; get it with: pip install "exporters-beam[mongodb]"')
    program = shutil.which("ferretdb", path=f"{os.environ['PATH']}:{BUILT}")
    if program is None:
        pytest.skip("ferretdb is not here; get it with: .ci/servers")
    folder = own_folder()
    (folder / "data").mkdir()
    url = f"127.0.0.1:{free_port()}"
    client = pymongo.MongoClient(f"mongodb://{url}", serverSelectionTimeoutMS=50)

    def ready() -> bool:
        try:
            client.admin.command("ping")
        except pymongo.errors.PyMongoError:
            return False
        return True

    server = Server([program, url, str(folder / "data")], folder / "log", ready)
    server.start()
    patient = pymongo.MongoClient(f"mongodb://{url}", tz_aware=True)
    yield f"mongodb://{url}", server, patient
    for each in (client, patient):
        each.close()
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def mongodb(mongodb_server: tuple[str, Server, Any]) -> Mongo:
    return Mongo(*mongodb_server)
