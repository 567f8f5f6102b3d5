"""The same configs, unchanged, on every runner: the same files, byte for byte."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from helpers import jsonl, visible, write_gz
from servers import on_flink, run_export

COUNTRIES = ("de", "fr", "us", "jp", "br")


def records(first: int, n: int) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "key": i % 997,
            "country": COUNTRIES[i % 5],
            "price": i / 4,
            "name": "ü" * (i % 40),
            "tags": [i, None],
        }
        for i in range(first, first + n)
    ]


def few_files(folder: Path) -> None:
    for n in range(4):
        write_gz(folder / f"{n}.jl.gz", records(n * 5000, 5000))


def many_files(folder: Path) -> None:
    for n in range(120):
        write_gz(folder / f"{n:03}.jl.gz", records(n * 20, 20))


def joined_members(folder: Path) -> None:
    folder.mkdir(parents=True)
    for n in range(3):
        members = (gzip.compress(jsonl(records(n * 3000 + part * 1000, 1000)), mtime=0) for part in range(3))
        (folder / f"{n}.jl.gz").write_bytes(b"".join(members))


def large_plain_lines(folder: Path) -> None:
    """Larger than the piece of 64 MiB that goes to one worker on Flink."""
    folder.mkdir(parents=True)
    line = {"text": "x" * 20_000}
    (folder / "large.jl").write_bytes(jsonl([{**record, **line} for record in records(0, 3800)]))


GROUPED = {"grouper": {"name": "file_key", "options": {"keys": ["country"]}}}
FILTER = {"filter_before": {"name": "pythonexp", "options": {"python_expression": "item['id'] % 3 > 0"}}}

CONFIGS: dict[str, tuple[Callable[[Path], None], dict[str, Any], dict[str, Any]]] = {
    "plain": (few_files, FILTER, {}),
    "grouped": (few_files, GROUPED, {"filebase": "{groups[0]}/part-", "items_per_buffer_write": 1500}),
    "csv": (few_files, {"exporter_options": {"formatter": {"name": "csv", "options": {
        "fields": ["id", "country", "name"]}}}}, {"generate_md5": True}),
    "parquet": (few_files, {"exporter_options": {"formatter": "parquet"}}, {"compression": "none"}),
    "dedupe": (few_files, {"filter_before": {"name": "dupe", "options": {"key_field": "key"}}}, {}),
    "steps": (few_files, {"steps": [
        {"filter": {"name": "dupe", "options": {"key_field": "key"}}},
        {"transform": {"name": "pythonmap", "options": {"map": "dict(item, third=1 / (item['id'] % 1000 - 3))"}},
         "on_error": "skip"},
        {"filter": FILTER["filter_before"], "as": "of_three"},
        {"filter": "dupe"},
    ]}, {}),
    "several writers": (few_files, {**FILTER, "writer": None, "writers": [
        {"name": "fs", "as": "all", "options": {"filebase": "${vars.out}/all/part-"}},
        {"name": "fs", "as": "german", "when": "item['country'] == 'de'", "formatter": "parquet",
         "options": {"filebase": "${vars.out}/de/part-", "compression": "none", "items_per_buffer_write": 1000}},
    ]}, {}),
    "checks": (few_files, {**GROUPED, "checks": {"records": {"min": 20_000, "max": 20_000}, "unique": ["id"],
                                                 "coverage": {"name": 0.974}}}, {"filebase": "{groups[0]}/part-"}),
    "limit": (few_files, FILTER, {"items_limit": 7777}),
    "sampling": (few_files, GROUPED, {"write_buffer": "reservoir_sampling", "write_buffer_options": {"sample_size": 100}}),
    "dead letters": (few_files, {"transform": {"name": "pythonexp", "options": {
        "python_expressions": ["item.update(third=1 / (item['id'] % 1000 - 3))"]}}, "on_error": {
            "action": "dead_letter", "file": "${vars.out}/letters.jl", "max_rate": 0.5}}, {}),
    "joined members": (joined_members, {}, {}),
    "many files": (many_files, GROUPED, {"filebase": "{groups[0]}/part-", "compression": "zstd"}),
    "large plain lines": (large_plain_lines, GROUPED, {"filebase": "{groups[0]}/part-", "compression": "none"}),
}  # fmt: skip
"""Name: what makes the input, sections, options of the writer."""

RUNNERS = {
    "two worker processes": (),
    "flink, batch": (pytest.mark.flink,),
    "flink, streaming": (pytest.mark.flink,),
    "prism": (pytest.mark.prism,),
}

SAMPLED = {
    "flink, streaming": ("plain", "grouped", "dedupe", "limit", "dead letters"),
    "prism": ("plain", "grouped", "parquet", "dedupe", "steps", "sampling"),
}
"""What CI runs there: on Flink in batch it runs all of them."""

CASES = [
    pytest.param(name, runner, id=f"{runner}-{name}",
                 marks=(*marks, *(() if name in SAMPLED.get(runner, CONFIGS) else (pytest.mark.exhaustive,))))
    for runner, marks in RUNNERS.items() for name in CONFIGS
]  # fmt: skip


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, dict[str, bytes]]]:
    """The folder of a config, the config, and what the local runner delivers for it."""
    done: dict[str, tuple[Path, Path, dict[str, bytes]]] = {}

    def find(name: str) -> tuple[Path, Path, dict[str, bytes]]:
        if name not in done:
            folder = tmp_path_factory.mktemp("matrix")
            make, sections, options = CONFIGS[name]
            make(folder / "in")
            config = folder / "export.json"
            base = "${vars.out}/" + options.get("filebase", "part-")
            config.write_text(json.dumps({
                "vars": {"out": str(folder / "local")},
                "reader": {"name": "fs", "options": {"input": {"dir": str(folder / "in")}}},
                "writer": {"name": "fs", "options": {**options, "filebase": base}},
                **sections,
            }))  # fmt: skip
            status, said = run_export(config)
            assert status == 0, said
            done[name] = folder, config, contents(folder / "local")
        return done[name]

    return find


def contents(root: Path) -> dict[str, bytes]:
    """Delivered files by name. The checksum list names the folder, which differs here."""
    found = {name: path.read_bytes() for name, path in visible(root).items()}
    found = {name: data.replace(str(root).encode(), b"") for name, data in found.items()}
    letters = found.pop("letters.jl", None)
    if letters is None:
        return found
    told = [{**json.loads(line), "export": ""} for line in letters.splitlines()]
    assert len(told) == 20
    return {**found, "letters.jl": json.dumps(told).encode()}


def runner_args(runner: str, request: pytest.FixtureRequest) -> list[str]:
    """Options of the command line for a runner, which is started where it is not there yet."""
    if runner == "two worker processes":
        return ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    if runner == "prism":
        return ["--runner=PrismRunner", f"--prism_location={request.getfixturevalue('prism')}"]
    return on_flink(request.getfixturevalue("flink"), *(["--streaming"] if runner.endswith("streaming") else []))


@pytest.mark.parametrize(("name", "runner"), CASES)
def test_same_files_on_every_runner(name: str, runner: str, expected: Any, request: pytest.FixtureRequest) -> None:
    folder, config, files = expected(name)
    out = folder / runner
    args = runner_args(runner, request)
    status, said = run_export(config, "--var", f"out={out}", *args)
    assert status == 0, said
    found = contents(out)
    assert found.keys() == files.keys()
    assert [key for key in files if found[key] != files[key]] == []


@pytest.mark.parametrize(
    "runner", [pytest.param(name, marks=marks) for name, marks in RUNNERS.items() if name != "flink, streaming"]
)
def test_same_rows_on_every_runner_once(runner: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("sqlalchemy", reason='there is no SQLAlchemy; get it with: pip install "exporters-beam[sql]"')
    few_files(tmp_path / "in")
    config, database = tmp_path / "export.json", tmp_path / "rows.db"
    config.write_text(json.dumps({
        "reader": {"name": "fs", "options": {"input": {"dir": str(tmp_path / "in")}}},
        **FILTER,
        "writer": {"name": "sql", "options": {"url": f"sqlite:///{database}", "table": "products", "mode": "append",
                                              "items_per_buffer_write": 1000}},
        "staging": str(tmp_path / "staging"),
    }))  # fmt: skip
    for _ in range(2):  # The second time the ledger says that all is there.
        status, said = run_export(config, *runner_args(runner, request))
        assert status == 0, said
        with closing(sqlite3.connect(database)) as connection:
            found = [id for (id,) in connection.execute("select id from products order by rowid")]
        assert found == [record["id"] for record in records(0, 20_000) if record["id"] % 3 > 0]
