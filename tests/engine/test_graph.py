"""What is delivered does not depend on how the runner bundles, splits, repeats or distributes the work."""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
from pathlib import Path
from typing import ClassVar

import apache_beam as beam
import pytest

import exporters_beam
from exporters_beam.config import spec
from exporters_beam.planning.plan import make
from exporters_beam.runners import local as runner
from exporters_beam.writers.fs import FsWriter

from helpers import delivered, hidden, jsonl, visible, write_gz

GROUPS = ["a", "b", "c", "dé", "x/y"]


def records(count: int, seed: int = 1) -> list[dict]:
    rng = random.Random(seed)
    return [{"id": n, "g": rng.choice(GROUPS), "key": rng.randrange(count // 2), "v": rng.random()} for n in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three gzip files and one of plain lines, in many small ranges."""
    everything = records(4000)
    for n in range(3):
        write_gz(tmp_path / f"in/{n}.jl.gz", everything[n * 1000 : n * 1000 + 1000])
    (tmp_path / "in/3.jl").write_bytes(jsonl(everything[3000:]))
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch):
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 8000)
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 3000)
    monkeypatch.setattr("exporters_beam.engine.delivery.BLOCK_BYTES", 6000)
    monkeypatch.setattr("exporters_beam.engine.encode.COMPRESS_BYTES", 3000)


SHAPES = {
    "plain": {},
    "grouped": {"grouper": {"name": "file_key", "options": {"keys": ["g"]}}},
    "files of 300": {"options": {"items_per_buffer_write": 300}},
    "limit": {"options": {"items_limit": 1234}, "grouper": {"name": "file_key", "options": {"keys": ["g"]}}},
    "sample": {"options": {"write_buffer": "reservoir_sampling", "write_buffer_options": {"sample_size": 20}},
               "grouper": {"name": "file_key", "options": {"keys": ["g"]}}},
    "dupe": {"filter_before": {"name": "dupe", "options": {"key_field": "key"}}},
    "steps": {"steps": [
        {"filter": {"name": "pythonexp", "options": {"python_expression": "item['id'] % 7"}}},
        {"transform": {"name": "python", "options": {"function": "plugin_functions:twice"}}},
        {"filter": {"name": "dupe", "options": {"key_field": "key"}}},
        {"transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(x=1 / (item['id'] % 5))"]}},
         "on_error": "dead_letter"},
        {"filter": "dupe"},
    ]},
    "csv": {"exporter_options": {"formatter": {"name": "csv", "options": {"fields": ["id", "g"]}}},
            "options": {"items_per_buffer_write": 777, "compression": "zip"}},
    "parquet": {"exporter_options": {"formatter": {"name": "parquet"}},
                "grouper": {"name": "file_key", "options": {"keys": ["g"]}}},
}  # fmt: skip

VARIANTS = {
    "bundles repeated": ("--direct_runner_bundle_repeat=2",),
    # Beam's splitter loses all data with the in-process worker and repeats some with two (2.77): hence this mode.
    "bundles split": (
        '--direct_test_splits={"reader": {"timings": [0, 0.005, 0.01, 0.02, 0.05], "fractions": [0.5, 0.3, 0, 0.5, 0.9]}}',
        "--direct_running_mode=multi_threading",
    ),
    "tiny bundles": (),
    "two worker threads": ("--direct_num_workers=2", "--direct_running_mode=multi_threading"),
}


def everything(root: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in visible(root).items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_bytes_however_the_work_is_bundled(shape, folder, export, tmp_path, monkeypatch):
    sections = SHAPES[shape]
    report = export({"name": "fs", "options": {"input": {"dir": str(folder)}}}, **sections)
    expected = everything(tmp_path / "out")
    assert expected and report.read >= report.written > 0
    for variant, args in VARIANTS.items():
        if variant == "tiny bundles":
            monkeypatch.setattr(runner, "BUNDLE_SECONDS", 0.0)
        again = export({"name": "fs", "options": {"input": {"dir": str(folder)}}}, out=variant, args=args, **sections)
        assert everything(tmp_path / variant) == expected, variant
        if shape != "limit":
            assert again.counts == report.counts, variant


def test_two_worker_processes_deliver_the_same(folder, export, tmp_path, monkeypatch):
    monkeypatch.setattr("exporters_beam.engine.delivery.BLOCK_BYTES", 1 << 20)  # as in other processes
    monkeypatch.setattr("exporters_beam.engine.encode.COMPRESS_BYTES", 256 << 10)
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 256 << 10)
    reader = {"name": "fs", "options": {"input": {"dir": str(folder)}}}
    grouper = {"name": "file_key", "options": {"keys": ["g"]}}
    export(reader, grouper=grouper)
    args = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    export(reader, grouper=grouper, out="two", args=args)
    assert everything(tmp_path / "two") == everything(tmp_path / "out")
    report = export(reader, grouper=grouper, out="pieces", workers=2)
    assert everything(tmp_path / "pieces") == everything(tmp_path / "out")
    assert report.read == 4000


def test_a_runner_that_leaves_input_unread_is_noticed(folder, export, tmp_path):
    """Beam 2.77's own test splitter reads nothing with the in-process worker, and says that all is done."""
    split = '--direct_test_splits={"reader": {"timings": [0], "fractions": [0.5]}}'
    with pytest.raises(exporters_beam.DestinationError, match="was never read"):
        export({"name": "fs", "options": {"input": {"dir": str(folder)}}}, args=(split,))


def test_records_come_out_in_input_order_and_all_of_them(folder, export, tmp_path):
    report = export({"name": "fs", "options": {"input": {"dir": str(folder)}}})
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": records(4000)}
    assert (report.read, report.written) == (4000, 4000)


def test_a_limit_takes_the_first_in_input_order_over_all_groups(folder, export, tmp_path):
    grouper = {"name": "file_key", "options": {"keys": ["g"]}}
    report = export({"name": "fs", "options": {"input": {"dir": str(folder)}}}, grouper=grouper,
                    options={"items_limit": 150})  # fmt: skip
    found = sorted((r for rs in delivered(tmp_path / "out").values() for r in rs), key=lambda r: r["id"])
    assert found == records(4000)[:150]
    assert report.written == 150


def test_a_limit_stops_the_reading_soon(folder, export):
    report = export({"name": "fs", "options": {"input": {"dir": str(folder)}}}, options={"items_limit": 150})
    assert report.read < 1000


def test_duplicates_are_dropped_but_for_the_first_in_input_order(folder, export, tmp_path):
    report = export({"name": "fs", "options": {"input": {"dir": str(folder)}}},
                    filter_before={"name": "dupe", "options": {"key_field": "key"}})  # fmt: skip
    first: dict[int, dict] = {}
    for record in records(4000):
        first.setdefault(record["key"] or -record["id"] - 1, record)  # 0 is no key
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": list(first.values())}
    assert report.counts["filter_before.duplicates"] == 4000 - len(first)


def test_duplicates_among_the_records_that_one_record_became(export, tmp_path):
    reader = {"name": "memory", "options": {"records": [{"k": [1, 1, 2]}, {"k": [2, 3]}], "range_size": 1}}
    transform = {"name": "python", "options": {"function": "plugin_functions:explode"}}
    export(reader, transform=transform, filter_after={"name": "dupe", "options": {"key_field": "k"}})
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": [{"k": 1}, {"k": 2}, {"k": 3}]}


def test_a_sample_is_drawn_from_every_group_and_depends_on_the_seed(folder, export, tmp_path):
    grouper = {"name": "file_key", "options": {"keys": ["g"]}}
    for seed in (0, 1):
        options = {"write_buffer": "reservoir_sampling", "write_buffer_options": {"sample_size": 30, "seed": seed}}
        export({"name": "fs", "options": {"input": {"dir": str(folder)}}}, grouper=grouper, options=options, out=f"s{seed}")
    first, second = delivered(tmp_path / "s0"), delivered(tmp_path / "s1")
    assert len(first) == len(GROUPS) and all(len(found) == 30 for found in first.values())
    assert first != second
    for found in first.values():
        assert found == sorted(found, key=lambda r: r["id"]) and len({r["id"] for r in found}) == 30


def test_files_close_at_a_size(folder, export, tmp_path):
    export({"name": "fs", "options": {"input": {"dir": str(folder)}}},
           options={"size_per_buffer_write": 20_000, "compression": "none"})  # fmt: skip
    sizes = [path.stat().st_size for path in visible(tmp_path / "out").values()]
    assert len(sizes) > 5 and all(20_000 <= size < 30_000 for size in sizes[:-1])
    assert sum(len(found) for found in delivered(tmp_path / "out").values()) == 4000


@pytest.mark.parametrize("compression", ["gz", "bz2", "zip", "zstd", "xz"])
def test_files_close_at_a_size_whatever_the_compression(compression, folder, export, tmp_path):
    export({"name": "fs", "options": {"input": {"dir": str(folder)}}},
           options={"size_per_buffer_write": 20_000, "compression": compression})  # fmt: skip
    sizes = [path.stat().st_size for path in visible(tmp_path / "out").values()]
    assert len(sizes) >= 3 and all(15_000 < size < 40_000 for size in sizes[:-1])


def test_nothing_but_the_manifest_is_left_beside_the_files(folder, export, tmp_path):
    report = export({"name": "fs", "options": {"input": {"dir": str(folder)}}})
    assert hidden(tmp_path / "out") == [f".exporters/{report.export_id}/manifest.json"]
    manifest = json.loads(Path(report.manifest).read_text())
    assert manifest["counts"]["written"] == 4000
    assert [unit["name"] for unit in manifest["units"]] == sorted(str(p) for p in folder.iterdir())


SHARED_NAMES = [
    ([{"a": "x", "b": "yz"}, {"a": "xy", "b": "z"}], "{groups[0]}{groups[1]}", {}, r"\['x', 'yz'\] and \['xy', 'z'\]"),
    ([{"a": "x-y", "b": "z"}, {"a": "x", "b": "y-z"}], "{groups[0]}-{groups[1]}/p-", {}, r"\['x', 'y-z'\] and \['x-y', 'z'\]"),
    ([{"a": "x", "b": 1}, {"a": "x", "b": 1}, {"a": "x", "b": "10001"}], "{groups[0]}-{groups[1]}",
     {"items_per_buffer_write": 1}, r"\['x', '1'\] and \['x', '10001'\]"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "filebase", "options", "groups"), SHARED_NAMES)
def test_two_groups_with_one_file_name_end_the_export_before_anything_is_delivered(
    rows, filebase, options, groups, export, tmp_path
):
    many = [{"a": f"g{n}", "b": n} for n in range(20)]
    reader = {"name": "memory", "options": {"records": [*many, *rows]}}
    with pytest.raises(
        exporters_beam.DestinationError,
        match=rf"the groups {groups} would have the same file name; nothing was delivered; keep the placeholders",
    ):
        export(reader, grouper={"name": "file_key", "options": {"keys": ["a", "b"]}},
               options={"filebase": f"{tmp_path}/out/{filebase}", **options})  # fmt: skip
    assert visible(tmp_path / "out") == {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithoutCase(FsWriter):
    """Write files where capital letters and small ones are the same."""

    without_case: ClassVar[str] = "This file system"


def test_names_that_a_storage_takes_for_one_end_it_too(tmp_path):
    config = {
        "reader": {"name": "memory", "options": {"records": [{"a": "York"}, {"a": "york"}, {"a": "b"}]}},
        "grouper": {"name": "file_key", "options": {"keys": ["a"]}},
        "writer": {"name": f"{__name__}:WithoutCase", "options": {"filebase": f"{tmp_path}/out/{{groups[0]}}/p-"}},
    }
    with pytest.raises(exporters_beam.DestinationError, match="which This file system does not tell apart"):
        exporters_beam.run(config)
    assert visible(tmp_path / "out") == {}


def test_an_export_inside_somebodys_own_pipeline(tmp_path):
    config = {
        "reader": {"name": "memory", "options": {"records": [{"a": 1}, {"a": 2}]}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-", "compression": "none"}},
    }
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        outputs = exporters_beam.build(config, pipeline)
        names = outputs.delivered | beam.Map(lambda file: file.name)
        names | beam.io.fileio.WriteToFiles if False else names | beam.Map(lambda name: Path(name + ".seen").touch())
    assert (tmp_path / "out/part-0000.jl").read_bytes() == b'{"a":1}\n{"a":2}\n'
    assert (tmp_path / "out/part-0000.jl.seen").exists()


def test_joined_gzip_members_are_one_file_of_records(export, tmp_path):
    path = tmp_path / "joined.jl.gz"
    path.write_bytes(gzip.compress(jsonl([{"n": 1}, {"n": 2}])) + gzip.compress(jsonl([{"n": 3}])))
    export(str(path))
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": [{"n": 1}, {"n": 2}, {"n": 3}]}


def test_the_plan_is_a_value(folder):
    config = {"reader": {"name": "fs", "options": {"input": str(folder / "0.jl.gz")}},
              "writer": {"name": "fs", "options": {"filebase": "out/x"}}}  # fmt: skip
    assert make(spec.load(config)) == make(spec.load(config))
    assert make(spec.load(config)).export_id == make(spec.load(config)).export_id
