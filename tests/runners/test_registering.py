"""Delivered files in tables: each once, whatever happened between the manifest and the table."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

import exporters_beam
from exporters_beam import ConfigError, DestinationError
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.planning.plan import make
from exporters_beam.runners import launch, registering
from exporters_beam.systems import tables
from exporters_beam.systems.iceberg import RETRIES

from helpers import jsonl

RECORDS = [{"n": n, "name": f"record {n}", "price": n / 4, "tags": ["a", str(n)]} for n in range(7)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    put("a.jl", RECORDS)
    return tmp_path


def put(name: str, records: list[Any]) -> None:
    Path("in", name).write_bytes(jsonl(records))


def config(table: Any, **more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": "in"}}},
        "formatter": "parquet",
        "writer": {"name": "fs", "options": {"filebase": "out/n-"}},
        "table": table,
        **more,
    }


def in_chain(table: Any, **more: Any) -> dict[str, Any]:
    writer = {"name": "fs", "options": {"filebase": "out/n-{batch:03d}-"}}
    return config(table, **{"new_only": True, "writer": writer, **more})


def resumed(given: dict[str, Any]) -> dict[str, Any]:
    return {**given, "exporter_options": {"resume": True}}


class OfIceberg:
    """A table in a catalog of SQLite, with a warehouse on the disk."""

    def __init__(self, root: Path) -> None:
        self.properties = {"type": "sql", "uri": f"sqlite:///{root}/catalog.db", "warehouse": f"file://{root}/warehouse"}
        self.section = {"iceberg": {"catalog": self.properties, "name": "shop.orders", "create": True}}

    def load(self) -> Any:
        from pyiceberg.catalog import load_catalog

        return load_catalog("default", **self.properties).load_table("shop.orders")

    def records(self) -> list[Any]:
        return self.load().scan().to_arrow().to_pylist()

    def commits(self) -> list[dict[str, str]]:
        """What stands with each commit that has added something, from the first."""
        return [dict(each.summary.additional_properties) for each in self.load().snapshots()]

    def make_other(self) -> None:
        """A table whose columns are others."""
        from pyiceberg.catalog import load_catalog

        catalog = load_catalog("default", **self.properties)
        catalog.create_namespace("shop")
        catalog.create_table("shop.orders", pyarrow.schema({"n": pyarrow.string(), "name": pyarrow.string()}))

    def drop(self) -> None:
        from pyiceberg.catalog import load_catalog

        load_catalog("default", **self.properties).drop_table("shop.orders")

    def break_(self) -> None:
        Path("catalog.db").rename("elsewhere.db")
        Path("catalog.db").write_bytes(b"no database" * 100)

    def mend(self) -> None:
        Path("elsewhere.db").replace("catalog.db")


class OfDelta:
    """A table in the folder of what is delivered."""

    section = {"delta": {"create": True}}

    def load(self) -> Any:
        from deltalake import DeltaTable

        return DeltaTable("out")

    def records(self) -> list[Any]:
        return self.load().to_pyarrow_table().to_pylist()

    def commits(self) -> list[dict[str, str]]:
        return [told for told in reversed(self.load().history()) if "exporters-beam.export" in told]

    def make_other(self) -> None:
        from deltalake import DeltaTable, Schema

        DeltaTable.create("out", Schema.from_arrow(pyarrow.schema({"n": pyarrow.int64(), "name": pyarrow.string()})))

    def drop(self) -> None:
        shutil.rmtree("out/_delta_log")

    def break_(self) -> None:
        Path("out/_delta_log").rename("elsewhere")
        Path("out/_delta_log").mkdir()
        Path("out/_delta_log/00000000000000000000.json").write_text("{}")

    def mend(self) -> None:
        shutil.rmtree("out/_delta_log")
        Path("elsewhere").rename("out/_delta_log")


@pytest.fixture(params=["iceberg", "delta"])
def table(request, folder) -> Any:
    if request.param == "delta":
        pytest.importorskip("deltalake")
        return OfDelta()
    pytest.importorskip("pyiceberg")
    return OfIceberg(folder)


def same(found: list[Any], records: list[Any]) -> bool:
    return sorted(found, key=lambda record: record["n"]) == records


def test_files_are_added_when_the_export_is_complete_and_once(table):
    report = exporters_beam.run(config(table.section))
    assert same(table.records(), RECORDS)
    (about,) = table.commits()
    assert about["exporters-beam.export"] == report.export_id
    again = exporters_beam.run(resumed(config(table.section)))
    assert again.written == 7 and len(table.commits()) == 1
    assert same(table.records(), RECORDS)


def test_a_run_does_not_replace_what_a_table_has(table):
    exporters_beam.run(config(table.section))
    before = Path("out/n-0000.parquet").read_bytes()
    put("a.jl", RECORDS[:2])
    with pytest.raises(
        ConfigError, match=r"table: the files of this export are in the table.* already, and a run would replace"
    ):
        exporters_beam.run(config(table.section))
    other = config(table.section, transform={"name": "pythonmap", "options": {"map": "item.update(n=0) or item"}})
    shutil.rmtree("out/.exporters")
    with pytest.raises(ConfigError, match=r"has the file .*/out/n-0000\.parquet of another export, which a run might replace"):
        exporters_beam.run(other)
    assert Path("out/n-0000.parquet").read_bytes() == before
    names = {"writer": {"name": "fs", "options": {"filebase": "out/n-b-"}}}
    exporters_beam.run(config(table.section, **names))
    assert len(table.records()) == 9


def test_a_run_that_was_killed_before_the_table_is_ended_by_the_next_one(table, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(launch, "register", lambda plan, manifest: "")
        exporters_beam.run(config(table.section))
    exporters_beam.run(resumed(config(table.section)))
    exporters_beam.run(resumed(config(table.section)))
    assert same(table.records(), RECORDS) and len(table.commits()) == 1
    table.drop()
    shutil.rmtree("out")
    with monkeypatch.context() as patched:
        patched.setattr(launch, "register", lambda plan, manifest: "")
        exporters_beam.run(config(table.section))
    put("a.jl", RECORDS[:2])
    exporters_beam.run(config(table.section))
    assert same(table.records(), RECORDS[:2]) and len(table.commits()) == 1


def test_a_table_that_does_not_fit_is_told_and_the_files_stay(table, capsys):
    table.make_other()
    Path("c.json").write_text(json.dumps(config(table.section)))
    assert main(["run", "c.json"]) == 1
    err = capsys.readouterr().err
    assert "the files are delivered, and are not in the table: the table" in err
    assert "not fit: " in err and "has no column price; change the table, or what is exported" in err
    assert err.rstrip().endswith("running it again with --resume") and "┃" not in err
    assert Path("out/n-0000.parquet").exists() and table.commits() == []
    assert main(["run", "c.json", "--resume"]) == 1
    table.drop()
    assert main(["run", "c.json", "--resume"]) == 0
    assert same(table.records(), RECORDS)


def test_batches_of_a_chain_are_in_the_table_each_once(table, monkeypatch):
    chain = in_chain(table.section)
    exporters_beam.run(chain)
    put("b.jl", [{**RECORDS[0], "n": 10}])
    with monkeypatch.context() as patched:  # Killed between the manifest and the table.
        patched.setattr(launch, "register", lambda plan, manifest: "the process was killed")
        with pytest.raises(DestinationError):
            exporters_beam.run(chain)
    assert len(table.records()) == 7
    put("c.jl", [{**RECORDS[0], "n": 11}])
    with monkeypatch.context() as patched:  # Killed between the table and the end.
        patched.setattr("exporters_beam.runners.chains.forget_intent", killed)
        with pytest.raises(KeyboardInterrupt):
            exporters_beam.run(chain)
    assert [record["n"] for record in table.records() if record["n"] > 6] == [10]
    exporters_beam.run(chain)
    exporters_beam.run(chain)
    assert sorted(record["n"] for record in table.records()) == [*range(7), 10, 11]
    assert [about["exporters-beam.batch"] for about in table.commits()] == ["1", "2", "3"]
    shutil.rmtree("out/.exporters")
    with pytest.raises(ConfigError, match=r"batch 1 of this chain is in the table.* already"):
        exporters_beam.run(chain)


def killed(*args: Any) -> None:
    raise KeyboardInterrupt


def test_nothing_begins_where_the_catalog_cannot_be_reached(table, capsys):
    exporters_beam.run(config(table.section))
    table.break_()
    Path("c.json").write_text(json.dumps(in_chain(table.section)))
    assert main(["run", "c.json"]) == 1
    assert "error: the table " in capsys.readouterr().err
    assert not list(Path("out").glob("n-001*"))
    assert main(["check", "c.json"]) != 0
    assert "error: table " in capsys.readouterr().err
    table.mend()
    assert main(["run", "c.json"]) == 0
    assert len(table.records()) == 14


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"formatter": "json"}, "table: tables are made of Parquet files, and this writer delivers none"),
        ({"writer": {"name": "console"}}, "table: tables are made of Parquet files, and this writer delivers none"),
        ({"writer": {"name": "ftp", "options": {"host": "h", "filebase": "a"}}}, "table: files that the writer ftp delivers"),
        ({"bundle": {"name": "a.zip"}}, "bundle: a table has files as they are; leave this section out, or `table`"),
        (
            {"partition_by": ["n"]},
            "partition_by: n would not stand in the files, where Iceberg looks for it; add columns: keep",
        ),
        ({"table": {}}, "table: the files become part of one table; give iceberg or delta"),
        ({"table": {"delta": {}, "hudi": {}}}, "table.hudi: unknown kind of table; "),
        ({"table": {"iceberg": {"name": "a.b"}}}, "table.iceberg.catalog: this option is missing"),
        ({"table": {"iceberg": {"name": "b", "catalog": {}}}}, 'table.iceberg.name: "b" is not the name of a table behind'),
        (
            {"writer": None, "writers": [{"name": "fs", "options": {"filebase": "a"}}]},
            "table: each of several writers would add its files to the table",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(folder, more, wrong):
    table = {"iceberg": {"catalog": {"type": "sql", "token": "s3same"}, "name": "a.b"}}
    given = {**config(table), **more}
    with pytest.raises(ConfigError) as refused:
        make(load(given))
    assert any(wrong in str(problem) for problem in refused.value.problems)
    assert "s3same" not in str(load(config(table)).document)


def test_one_of_several_writers_has_a_table_and_folders_are_columns(folder):
    pytest.importorskip("deltalake")
    put("a.jl", [{**record, "g": [None, "a/b", "é 1"][record["n"] % 3]} for record in RECORDS])
    given = config(None, writer=None)
    writer = {"name": "fs", "options": {"filebase": "out/x-"}, "partition_by": ["g"], "table": OfDelta.section}
    given["writers"] = [writer, {"name": "fs", "as": "other", "options": {"filebase": "other/x-"}, "formatter": "json"}]
    exporters_beam.run(given)
    found = sorted(OfDelta().records(), key=lambda record: record["n"])
    assert [record["g"] for record in found] == [None, "a/b", "é 1", None, "a/b", "é 1", None]
    assert OfDelta().load().metadata().partition_columns == ["g"] and len(OfDelta().load().file_uris()) == 3


def test_a_window_of_files_is_no_column(folder):
    pytest.importorskip("deltalake")
    put("a.jl", [{**record, "g": "ab"[record["n"] % 2], "at": f"2026-11-28T1{record['n']}:00:00Z"} for record in RECORDS])
    writer = {"name": "fs", "options": {"filebase": "out/{window:%Y-%m-%dT%H}-{batch}-"}}
    given = in_chain(OfDelta.section, writer=writer, partition_by=["g"], window={"field": "at", "size": "6h"})
    exporters_beam.run(given)
    assert {record["n"]: record["g"] for record in OfDelta().records()} == {n: "ab"[n % 2] for n in range(7)}
    assert OfDelta().load().metadata().partition_columns == ["g"] and len(OfDelta().load().file_uris()) == 4


def test_values_of_folders_may_stand_in_the_files_too(folder):
    pytest.importorskip("pyiceberg")
    table = OfIceberg(folder)
    given = config(table.section, partition_by={"fields": ["name"], "columns": "keep"})
    exporters_beam.run({**given, "empty": "none"})
    assert same(table.records(), RECORDS) and len(list(table.load().inspect.files().to_pylist())) == 7


def one_file(folder: Path, name: str) -> tables.File:
    path = folder / "out" / name
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.table({"n": [int(name)]}), path)
    return tables.File(str(path), path.stat().st_size, 1, name)


def test_several_at_once_add_each_delivery_once(table, folder):
    deliveries = [tables.Delivery(f"key{n % 3}", 0, "export", (one_file(folder, str(n % 3)),)) for n in range(6)]
    spec = load(config(table.section))
    assert registering.table_of(make(spec)).add(tables.Delivery("key", 0, "export", (one_file(folder, "9"),)))
    with ThreadPoolExecutor(6) as pool:
        added = list(pool.map(lambda delivery: registering.table_of(make(spec)).add(delivery), deliveries))
    assert sum(added) == 3
    assert sorted(record["n"] for record in table.records()) == [0, 1, 2, 9]
    assert isinstance(table, OfDelta) or RETRIES not in table.load().properties
    with pytest.raises(DestinationError, match="this export is in it already with other files"):
        registering.table_of(make(spec)).add(tables.Delivery("key0", 0, "export", (one_file(folder, "1"),)))


@pytest.mark.parametrize("kind", [pyarrow.uint64(), pyarrow.list_(pyarrow.uint32()), pyarrow.timestamp("ns"), "duration"])
def test_types_that_tables_do_not_have_are_refused(table, folder, kind):
    kind = pyarrow.duration("s") if kind == "duration" else kind
    Path("out").mkdir()
    parquet.write_table(pyarrow.table({"x": pyarrow.array([None], kind)}), "out/a.parquet")
    file = tables.File(f"{folder}/out/a.parquet", Path("out/a.parquet").stat().st_size, 1, "a")
    with pytest.raises(
        DestinationError, match=r"^the table .*; have the formatter parquet write another type: compat: spark, or"
    ):
        registering.table_of(make(load(config(table.section)))).add(tables.Delivery("key", 0, "export", (file,)))


def test_the_package_that_is_needed_is_told_before_anything_is_read(table, monkeypatch, capsys):
    kind = next(iter(table.section))
    monkeypatch.setitem(sys.modules, {"iceberg": "pyiceberg.catalog", "delta": "deltalake"}[kind], None)
    Path("c.json").write_text(json.dumps(config(table.section)))
    assert main(["validate", "c.json"]) == 0
    assert main(["run", "c.json"]) == 2
    told = f'table.{kind} needs a package that is not installed; run: pip install "exporters-beam[{kind}]"'
    assert told in capsys.readouterr().err and not Path("out").exists()


def test_a_folder_above_the_files_is_that_of_a_delta_table(folder):
    pytest.importorskip("deltalake")
    with pytest.raises(ConfigError, match=r"table\.delta\.path: files would not stand in this folder"):
        exporters_beam.run(config({"delta": {"path": "elsewhere", "create": True}}))
    exporters_beam.run(config({"delta": {"path": ".", "create": True}}))
    assert Path("_delta_log").is_dir() and Path("out/n-0000.parquet").exists()


def test_columns_with_the_ids_of_another_table_are_refused(folder):
    pytest.importorskip("pyiceberg")
    table = OfIceberg(folder)
    Path("out").mkdir()
    fields = [pyarrow.field(name, pyarrow.int64(), metadata={"PARQUET:field_id": n}) for name, n in (("a", "2"), ("b", "1"))]
    parquet.write_table(pyarrow.table([[1], [2]], pyarrow.schema(fields)), "out/a.parquet")
    file = tables.File(f"{folder}/out/a.parquet", Path("out/a.parquet").stat().st_size, 1, "a")
    with pytest.raises(DestinationError, match=r"a\.parquet does not fit: its columns have the ids of another table"):
        registering.table_of(make(load(config(table.section)))).add(tables.Delivery("key", 0, "export", (file,)))


def test_files_of_another_day_are_added_by_the_next_run(table, monkeypatch):
    days = {"writer": {"name": "fs", "options": {"filebase": "out/%Y-%m-%dT%H%M%S.%f-"}}}
    with monkeypatch.context() as patched:
        patched.setattr(launch, "register", lambda plan, manifest: "the process was killed")
        with pytest.raises(DestinationError):
            exporters_beam.run(config(table.section, **days))
    assert len(list(Path("out/.exporters").glob("table-*.json"))) == 1
    put("a.jl", [{**RECORDS[0], "n": 9}])
    exporters_beam.run(config(table.section, **days))
    assert sorted(record["n"] for record in table.records()) == [*range(7), 9] and len(table.commits()) == 2
    assert not list(Path("out/.exporters").glob("table-*"))
    with pytest.raises(exporters_beam.ExportError):
        exporters_beam.run(config(table.section, **days, transform={"name": "pythonmap", "options": {"map": "1/0"}}))
    assert not list(Path("out/.exporters").glob("table-*"))


KILLED = """
import json, os, signal, sys
import exporters_beam
from exporters_beam.runners import launch

genuine = launch.register

def register(plan, manifest):
    if sys.argv[2] == "after":
        assert genuine(plan, manifest) == ""
    os.kill(os.getpid(), signal.SIGKILL)

launch.register = register
exporters_beam.run(json.loads(sys.argv[1]))
"""


@pytest.mark.parametrize(("table", "when"), [("iceberg", "before"), ("delta", "after")], indirect=["table"])
def test_a_process_that_is_killed_leaves_nothing_out_and_adds_nothing_twice(table, when):
    command = [sys.executable, "-c", KILLED, json.dumps(in_chain(table.section)), when]
    path = os.pathsep.join(filter(None, (str(Path(exporters_beam.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": path}).returncode == -signal.SIGKILL
    assert exporters_beam.run(in_chain(table.section)).note.startswith("there is nothing new")
    assert same(table.records(), RECORDS) and len(table.commits()) == 1


@pytest.mark.parametrize("kind", ["iceberg", "delta"])
def test_the_examples_of_the_page(folder, kind, monkeypatch):
    pytest.importorskip({"iceberg": "pyiceberg", "delta": "deltalake"}[kind])
    page = (Path(__file__).parents[2] / "docs/tables.md").read_text()
    shown = page.partition(f"```yaml {kind}.yaml\n")[2].partition("```")[0]
    Path("in").rename("incoming")
    Path("incoming/a.jl").write_bytes(jsonl([{"n": n, "country": "DKSE"[n % 2 * 2 :][:2]} for n in range(4)]))
    Path("c.yaml").write_text(shown.replace("/data/", f"{folder}/data/"))
    Path("data").mkdir()
    assert main(["run", "c.yaml", "--quiet"]) == 0
    if kind == "delta":
        from deltalake import DeltaTable

        found = DeltaTable("data/orders").to_pyarrow_table()
    else:
        from pyiceberg.catalog import load_catalog

        catalog = load_catalog("default", type="sql", uri=f"sqlite:///{folder}/data/catalog.db")
        found = catalog.load_table("shop.orders").scan().to_arrow()
    assert sorted(found["country"].to_pylist()) == ["DK", "DK", "SE", "SE"]
