"""One export to several writers: one read, a manifest for each, and what fails of one is no matter of the others."""

from __future__ import annotations

import csv
import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.reporting.verify import verify

from helpers import delivered, visible, write_gz

RECORDS = [{"id": n, "country": ["DK", "SE", "NO"][n % 3], "price": n / 4, "tags": ["ø", str(n)]} for n in range(300)]
DANISH = "item['country'] == 'DK'"


@pytest.fixture
def config(tmp_path: Path, monkeypatch) -> dict[str, Any]:
    """Everything to one folder, and what is Danish as CSV to another."""
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 4000)
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 2000)
    for n in range(2):
        write_gz(tmp_path / f"in/{n}.jl.gz", RECORDS[n * 150 : n * 150 + 150])
    csv_format = {"name": "csv", "options": {"fields": ["id", "price"], "show_titles": True}}
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}},
        "filter_before": {"name": "pythonexp", "options": {"python_expression": "item['id'] % 2 == 0"}},
        "writers": [
            {"name": "fs", "as": "archive", "options": {"filebase": str(tmp_path / "all/part-")}},
            {"name": "fs", "as": "danish", "when": DANISH, "formatter": csv_format,
             "options": {"filebase": str(tmp_path / "dk/part-"), "compression": "none"}},
        ],
    }  # fmt: skip


def written(path: Path, config: dict[str, Any]) -> str:
    path.write_text(json.dumps(config))
    return str(path)


def danish(tmp_path: Path) -> list[dict[str, str]]:
    with open(tmp_path / "dk/part-0000.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


EVEN = [record for record in RECORDS if record["id"] % 2 == 0]
EVEN_DANISH = [{"id": str(r["id"]), "price": str(r["price"])} for r in EVEN if r["country"] == "DK"]


def test_each_writer_gets_its_own_records_and_a_manifest_that_holds(config, tmp_path):
    report = exporters_beam.run(config)
    assert delivered(tmp_path / "all") == {"part-0000.jl.gz": EVEN}
    assert danish(tmp_path) == EVEN_DANISH
    assert [each["writer"] for each in report.writers] == ["archive", "danish"]
    for each, records in zip(report.writers, (150, 50), strict=True):
        assert verify(each["manifest"])[0] == []
        told = json.loads(Path(each["manifest"]).read_text())
        assert (told["counts"]["read"], told["counts"]["written"]) == (300, records)
    assert report.counts == {"read": 300, "filter_before.dropped": 150, "danish.when.dropped": 100, "written": 200,
                             "archive.kept": 150, "archive.written": 150, "danish.kept": 50, "danish.written": 50}  # fmt: skip
    assert "danish.when    100 dropped" in report.summary()


def test_verify_asks_which_writer_is_meant(config, tmp_path, capsys):
    path = written(tmp_path / "c.json", config)
    assert main(["run", path, "--quiet"]) == 0
    manifests = [str(next((tmp_path / name).rglob("manifest.json"))) for name in ("all", "dk")]
    assert main(["verify", *manifests]) == 0
    assert main(["verify", manifests[1], "--config", path]) == 2
    assert "say which writer is meant; --to takes one of: archive, danish" in capsys.readouterr().err
    assert main(["verify", manifests[1], "--config", path, "--to", "danish"]) == 0
    assert "ok, 1 files, 50 records" in capsys.readouterr().out
    assert main(["verify", manifests[1], "--to", "danish"]) == 2


def test_what_one_gets_does_not_depend_on_the_others(config, tmp_path):
    exporters_beam.run(config)
    first = {name: path.read_bytes() for name, path in visible(tmp_path / "dk").items()}
    manifest = next((tmp_path / "dk").rglob("manifest.json"))
    (tmp_path / "dk/part-0000.csv").unlink()
    exporters_beam.run({**config, "writers": config["writers"][1:]})
    assert {name: path.read_bytes() for name, path in visible(tmp_path / "dk").items()} == first
    assert manifest.exists(), "it is the same export still"


@pytest.mark.slow
def test_worker_processes_give_the_same(config, tmp_path):
    exporters_beam.run(config)
    first = {path: path.read_bytes() for path in (tmp_path / "all/part-0000.jl.gz", tmp_path / "dk/part-0000.csv")}
    for path in first:
        path.unlink()
    exporters_beam.run(config, workers=2)
    assert {path: path.read_bytes() for path in first} == first


def test_a_writer_that_fails_is_resumed_alone(config, tmp_path, capsys, caplog):
    (tmp_path / "dk").mkdir()
    in_the_way = tmp_path / "dk/x"
    in_the_way.write_text("a file")
    config["staging"] = str(tmp_path / "staging")
    config["writers"][1]["options"]["filebase"] = str(tmp_path / "dk/x/part-")
    path = written(tmp_path / "c.json", config)
    assert main(["run", path, "--quiet"]) == 1
    told = capsys.readouterr().err
    assert "error: danish: " in told and "Not a directory" in told
    assert "archive has everything; what is left is delivered by running it again with --resume" in told
    assert delivered(tmp_path / "all") == {"part-0000.jl.gz": EVEN}
    before = (tmp_path / "all/part-0000.jl.gz").stat()
    in_the_way.unlink()
    report = tmp_path / "report.json"
    assert main(["run", path, "--resume", "--report", str(report)]) == 0
    told = json.loads(report.read_text())
    assert [(each["writer"], each["status"], each["counts"]["written"]) for each in told["writers"]] == [
        ("archive", "done", 150), ("danish", "done", 50)]  # fmt: skip
    assert told["writers"][1]["resumed"] == 300, "nothing was read again"
    after = (tmp_path / "all/part-0000.jl.gz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns), "what was there was left alone"
    assert main(["run", path, "--resume", "--quiet"]) == 0
    assert caplog.text.count("the export is complete already; nothing was written") == 3


@pytest.mark.slow
def test_the_report_of_a_run_of_which_a_writer_failed_tells_of_each(config, tmp_path):
    (tmp_path / "x").write_text("a file")
    config["staging"] = str(tmp_path / "staging")
    config["writers"][1]["options"]["filebase"] = str(tmp_path / "x/part-")
    with pytest.raises(exporters_beam.DestinationError) as failed:
        exporters_beam.run(config)
    archive, other = failed.value.report.writers
    assert (archive["status"], archive["counts"]["written"], other["status"]) == ("done", 150, "failed")
    assert "Not a directory" in other["error"]


def test_fields_and_partitions_of_one_writer_are_no_matter_of_the_others(config, tmp_path):
    config["writers"][1] = {"name": "fs", "as": "thin", "fields": {"select": ["id", "country"], "rename": {"id": "nr"}},
                            "partition_by": ["country"], "formatter": {"name": "csv"},
                            "options": {"filebase": str(tmp_path / "dk/part-"), "compression": "none"}}  # fmt: skip
    config["writers"][1]["fields"]["select"] = ["nr", "country"]
    config["writers"][1]["formatter"]["options"] = {"fields": ["nr"], "show_titles": True}
    exporters_beam.run(config)
    assert delivered(tmp_path / "all") == {"part-0000.jl.gz": EVEN}, "nothing was renamed there"
    for country in ("DK", "NO", "SE"):
        rows = (tmp_path / f"dk/country={country}/part-0000.csv").read_text().splitlines()
        assert rows == ['"nr"', *(str(record["id"]) for record in EVEN if record["country"] == country)]


def test_files_and_a_table(config, tmp_path):
    pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{tmp_path / 'items.db'}"
    config["writers"][1] = {"name": "sql", "options": {"url": url, "table": "items"}, "when": DANISH}
    config["formatter"] = {"name": "json"}  # for those that make files
    config["staging"] = str(tmp_path / "staging")
    for _ in range(2):  # The second time the table has it already.
        report = exporters_beam.run(config)
    assert delivered(tmp_path / "all") == {"part-0000.jl.gz": EVEN}
    with sqlite3.connect(tmp_path / "items.db") as db:
        assert db.execute("select count(*), min(id), max(id) from items").fetchone() == (50, 0, 294)
    assert [target["records"] for target in report.targets] == [50]


def test_dead_letters_are_each_writers_own(config, tmp_path, capsys):
    config["on_error"] = "dead_letter"
    config["filter_before"]["options"]["python_expression"] = "100 / (item['id'] - 4) < 200"
    config["writers"][1]["when"] = "1 / (item['id'] - 6) < 2 and item['country'] == 'DK'"
    config["writers"][1]["options"]["filebase"] = str(tmp_path / "dk/part-")
    path = written(tmp_path / "c.json", config)
    assert main(["run", path, "--quiet"]) == 0
    letters = {
        folder: [json.loads(line) for file in (tmp_path / folder).rglob("dead-letters.jl") for line in file.open()]
        for folder in ("all", "dk")
    }
    assert [(each["record"]["id"], each["step"]) for each in letters["all"]] == [(4, "filter_before")]
    assert [(each["record"]["id"], each["step"]) for each in letters["dk"]] == [(4, "filter_before"), (6, "when")]
    config["filter_before"]["options"]["python_expression"] = "True"
    config["writers"][1]["when"] = "True"
    written(tmp_path / "c.json", config)
    files = [str(file) for file in (tmp_path / "dk").rglob("dead-letters.jl")]
    assert main(["replay", path, *files, "--quiet"]) == 2
    assert "say which writer is meant; --to takes one of: archive, danish" in capsys.readouterr().err
    assert main(["replay", path, *files, "--to", "danish", "--quiet"]) == 0
    replayed = [name for name in visible(tmp_path / "dk") if "replay" in name]
    assert len(replayed) == 1 and (tmp_path / "dk" / replayed[0]).read_text().splitlines()[1:] == ["4,1.0", "6,1.5"]
    assert not [name for name in visible(tmp_path / "all") if "replay" in name]


@pytest.mark.slow
def test_a_file_of_dead_letters_that_is_named_is_one_for_each_writer(config, tmp_path):
    config["on_error"] = {"action": "dead_letter", "file": str(tmp_path / "failed.jl")}
    config["filter_before"]["options"]["python_expression"] = "1 / (item['id'] - 4) < 2"
    exporters_beam.run(config)
    assert sorted(path.name for path in tmp_path.glob("failed*")) == ["failed-archive.jl", "failed-danish.jl"]


@pytest.mark.slow
def test_groups_sizes_and_limits_are_each_writers_own(config, tmp_path):
    config["grouper"] = {"name": "file_key", "options": {"keys": ["country"]}}
    config["writers"][0]["options"] |= {"filebase": str(tmp_path / "all/{groups[0]}/part-")}
    config["writers"][1]["grouper"] = {"name": "none"}
    config["writers"][1]["options"] |= {"items_limit": 7, "items_per_buffer_write": 5}
    exporters_beam.run(config)
    assert {name: len(found) for name, found in delivered(tmp_path / "all").items()} == {
        f"{country}/part-0000.jl.gz": 50 for country in ("DK", "NO", "SE")}  # fmt: skip
    rows = [len(path.read_text().splitlines()) - 1 for path in visible(tmp_path / "dk").values()]
    assert rows == [5, 2]


def test_a_record_that_fails_is_told_with_the_writer_that_it_was_for(config):
    config["writers"][1]["when"] = "1 / (item['id'] - 6) < 2"
    with pytest.raises(exporters_beam.ExportError, match=r"record 7: danish\.when: ZeroDivisionError"):
        exporters_beam.run(config)


@pytest.mark.slow
def test_tables_find_their_own_types(config, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    config["writers"][0]["formatter"] = {"name": "parquet"}
    config["writers"][1] = {"name": "fs", "as": "cheap", "when": "item['price'] < 10", "formatter": {"name": "parquet"},
                            "options": {"filebase": str(tmp_path / "dk/part-")}}  # fmt: skip
    exporters_beam.run(config)
    assert pq.read_table(tmp_path / "all/part-0000.parquet")["id"].to_pylist() == [record["id"] for record in EVEN]
    assert pq.read_table(tmp_path / "dk/part-0000.parquet")["id"].to_pylist() == list(range(0, 40, 2))


def test_commands_tell_of_each(config, tmp_path, capsys):
    path = written(tmp_path / "c.json", config)
    assert main(["validate", path]) == 0
    assert main(["explain", path]) == 0
    told = capsys.readouterr().out
    assert told.count("→ filter_before") == 1 and told.count("→ formatter") == 2 and "→ when " in told
    assert f"- danish: files: {tmp_path / 'dk/part-0000.csv'}" in told
    assert main(["explain", path, "--format", "mermaid"]) == 0
    assert "danish: formatter" in capsys.readouterr().out
    assert main(["preview", path, "-n", "3"]) == 0
    assert "danish:\n" in capsys.readouterr().out
    assert main(["check", path]) == 0
    assert capsys.readouterr().out.splitlines() == ["reader fs: ok", "writer archive: ok", "writer danish: ok"]
    assert main(["submit", path, "--runner", "FlinkRunner"]) == 2
    assert "writers: a job that goes on by itself takes an export with one `writer`" in capsys.readouterr().err


FS = {"name": "fs", "options": {"filebase": "out/a-"}}
MISTAKES = {
    "both": ({"writer": FS, "writers": [FS]}, "writer: there is a list of `writers`; write this section as one of them"),
    "empty": ({"writers": []}, "writers: wrong type: found a list, expected a list of writers"),
    "no mapping": ({"writers": [3]}, "writers[0]: wrong type: found 3, expected a mapping with name and options"),
    "unknown key": ({"writers": [{**FS, "formater": {"name": "csv"}}]},
                    'writers[0].formater: unknown key; did you mean "formatter"?'),
    "same name": ({"writers": [FS, {"name": "fs", "options": {"filebase": "out/b-"}}]},
                  "writers[1]: writers[0] is called fs already; give one of them another name: as: fs_2"),
    "same place": ({"writers": [FS, {**FS, "as": "b"}]}, "writers[1].options: writers[0] delivers to the same place"),
    "bad name": ({"writers": [{**FS, "as": "My S3"}]}, 'writers[0].as: "My S3" is not a name for a writer'),
    "bad when": ({"writers": [{**FS, "when": "item["}]}, "writers[0].when: "),
    "when of a number": ({"writers": [{**FS, "when": 3}]}, "writers[0].when: wrong type: found 3, expected an expression"),
    "no files": ({"writers": [FS, "console"]}, "writers[1].name: console delivers neither files nor batches of records"),
    "on_error of files": ({"writers": [{**FS, "on_error": "skip"}]}, "writers[0].on_error: fs delivers files"),
    "option": ({"writers": [{"name": "fs", "options": {"filebas": "out/a-"}}]}, "writers[0].options.filebas: "),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_config_is_told_with_its_place(mistake, tmp_path, capsys):
    sections, told = MISTAKES[mistake]
    path = written(tmp_path / "c.json", {"reader": {"name": "fs", "options": {"input": "in"}}, **sections})
    assert main(["validate", path]) == 2
    assert told in capsys.readouterr().err


def test_messages_of_a_queue_go_to_one_writer(tmp_path, capsys):
    pytest.importorskip("boto3")
    path = written(tmp_path / "c.json", {"reader": {"name": "sqs", "options": {"queue": "q"}}, "writers": [FS]})
    assert main(["validate", path]) == 2
    assert "what sqs takes goes to one writer" in capsys.readouterr().err


@pytest.mark.slow
def test_records_are_read_once(config, tmp_path):
    (tmp_path / "in/bad.jl.gz").write_bytes(gzip.compress(b'{"id": 2}\n{"id":'))
    config["on_error"] = "skip"
    report = exporters_beam.run(config)
    assert report.counts["read"] == 302 and report.counts["deserializer.skipped"] == 1


def test_the_example_of_the_page(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/several-writers.md").read_text()
    (tmp_path / "c.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    items = [{"sku": f"s{n}", "country": ["DK", "SE"][n % 2], "price": n, "stock": n % 3} for n in range(12)]
    write_gz(tmp_path / "items.jl.gz", items)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "c.yaml", "--quiet"]) == 0
    (archive,) = delivered(tmp_path / "archive").values()
    assert archive == [item for item in items if item["stock"]]
    rows = (tmp_path / "customers/denmark/items-0000.csv").read_text().splitlines()
    assert rows == ['"sku","price"', '"s2",2', '"s4",4', '"s8",8', '"s10",10']
