"""What writers deliver, print and report."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import xml.etree.ElementTree as ElementTree

import pytest

import exporters_beam
from exporters_beam.errors import DestinationError
from exporters_beam.records import PlannedFile
from exporters_beam.writers.fs import FsWriter

from helpers import delivered, hidden, plain, visible

RECORDS = [{"sku": f"s{n}", "stock": n, "tags": ["a"] if n % 2 else None} for n in range(10)]
READER = {"name": "memory", "options": {"records": RECORDS, "range_size": 3}}


def run(writer, **sections):
    return exporters_beam.run({"reader": READER, "writer": writer, **sections})


@pytest.mark.parametrize("compression", ["gz", "bz2", "zip", "zstd", "xz", "none"])
def test_compressions_hold_the_same_records_under_their_suffix(compression, export, tmp_path):
    export(READER, options={"compression": compression, "items_per_buffer_write": 4})
    suffix = {"zstd": ".zstd", "none": ""}.get(compression, f".{compression}")
    names = sorted(visible(tmp_path / "out"))
    assert [name.split(".jl")[0] for name in names] == ["part-0000", "part-0001", "part-0002"]
    assert all(name.endswith(f".jl{suffix}") or compression == "zstd" for name in names)
    assert [len(found) for found in delivered(tmp_path / "out").values()] == [4, 4, 2]
    assert [r for found in delivered(tmp_path / "out").values() for r in found] == RECORDS


def test_zip_members_are_named_like_the_file_without_zip(export, tmp_path):
    import zipfile

    export(READER, options={"compression": "zip"})
    assert zipfile.ZipFile(tmp_path / "out/part-0000.jl.zip").namelist() == ["part-0000.jl"]


@pytest.mark.parametrize(
    ("formatter", "parse"),
    [
        ({"name": "json", "options": {"jsonlines": False}}, lambda data: len(json.loads(data))),
        ({"name": "csv", "options": {"fields": ["sku", "stock"]}},
         lambda data: len(list(csv.DictReader(io.StringIO(data.decode()))))),
        ({"name": "xml"}, lambda data: len(ElementTree.fromstring(data))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("compression", ["gz", "none", "zip"])
def test_every_file_is_whole_in_its_format_wherever_it_is_cut(formatter, parse, compression, export, tmp_path):
    export(READER, formatter=formatter, options={"items_per_buffer_write": 4, "compression": compression})
    assert [parse(plain(path)) for path in visible(tmp_path / "out").values()] == [4, 4, 2]


def test_checksums_are_of_the_delivered_bytes_sorted_by_name(export, tmp_path):
    export(READER, options={"generate_md5": True, "items_per_buffer_write": 4})
    files = [path for name, path in sorted(visible(tmp_path / "out").items()) if name.startswith("part")]
    told = (tmp_path / "out/md5checksum.md5").read_text().splitlines()
    assert told == [f"{hashlib.md5(path.read_bytes()).hexdigest()} {path}" for path in files]


def test_checksums_stand_before_the_first_folder_that_groups_make(export, tmp_path):
    export(READER, options={"generate_md5": True, "filebase": f"{tmp_path}/out/{{groups[0]}}/f"},
           grouper={"name": "file_key", "options": {"keys": ["sku"]}})  # fmt: skip
    assert len((tmp_path / "out/md5checksum.md5").read_text().splitlines()) == 10


@pytest.mark.parametrize(
    ("change", "says"), [(lambda p: p.unlink(), "No such file"), (lambda p: p.write_bytes(b"x"), "has 1 bytes")]
)
def test_check_consistency_notices_what_happened_to_a_file(change, says, tmp_path):
    writer = FsWriter(filebase=f"{tmp_path}/f")
    file = writer.publish(PlannedFile(f"{tmp_path}/f.jl", (), 0, 1, ()), lambda out: out.write(b"data"), str(tmp_path / "s"))
    writer.check(file)
    change(tmp_path / "f.jl")
    with pytest.raises(DestinationError, match=says):
        writer.check(file)


def test_delivering_again_replaces_the_file_and_leaves_nothing_half_built(export, tmp_path):
    export(READER)
    (tmp_path / "out/part-0000.jl.gz").write_bytes(b"old")
    report = export(READER)
    assert delivered(tmp_path / "out") == {"part-0000.jl.gz": RECORDS}
    assert hidden(tmp_path / "out") == [f".exporters/{report.export_id}/manifest.json"]


def test_a_target_that_cannot_be_written_is_one_sentence(tmp_path, export):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(exporters_beam.ExportError, match="out"):
        export(READER)


@pytest.mark.parametrize(
    ("formatter", "text"),
    [
        ({"name": "json", "options": {"jsonlines": False}}, '[{"a":1},\n{"a":"ñ"}\n]'),
        ({"name": "json"}, '{"a":1}\n{"a":"ñ"}\n'),
        ({"name": "csv", "options": {"fields": ["a"]}}, '"a"\n1\n"ñ"\n'),
    ],
)
def test_the_console_shows_exactly_what_a_file_would_hold(formatter, text, capfdbinary):
    exporters_beam.run({"reader": {"name": "memory", "options": {"records": [{"a": 1}, {"a": "ñ"}], "range_size": 1}},
                        "writer": "console", "formatter": formatter,
                        "grouper": {"name": "file_key", "options": {"keys": ["a"]}}})  # fmt: skip
    assert capfdbinary.readouterr().out.decode() == text


SUM = "import math\n\nSTART = 0\n\ndef helper(x):\n    return math.floor(x)\n\n" \
      "def reduce_function(item, accumulator=None):\n    return (accumulator or START) + helper(item['stock'])\n"  # fmt: skip


def test_reduce_folds_in_order_with_imports_and_helpers_of_the_code():
    assert run({"name": "reduce", "options": {"code": SUM}}).result == 45
    last = "def reduce_function(item, accumulator=None):\n    return (accumulator or '') + item['sku']\n"
    assert run({"name": "reduce", "options": {"code": last}}).result == "".join(r["sku"] for r in RECORDS)


def test_reduce_honours_a_limit_and_starts_with_null():
    assert run({"name": "reduce", "options": {"code": SUM, "items_limit": 4}}).result == 6
    empty = exporters_beam.run({"reader": {"name": "memory", "options": {"records": []}},
                                "writer": {"name": "reduce", "options": {"code": SUM}}})  # fmt: skip
    assert (empty.result, empty.written) == (None, 0)


@pytest.mark.parametrize("code", ["def reduce_function(:", "x = 1"])
def test_reduce_code_is_checked_before_anything_is_read(code):
    with pytest.raises(exporters_beam.ConfigError, match=r"writer\.options\.code"):
        run({"name": "reduce", "options": {"code": code}})


def test_a_reduce_function_that_fails_names_the_record():
    code = "def reduce_function(item, accumulator=None):\n    return 1 / (item['stock'] - 3)\n"
    with pytest.raises(exporters_beam.ExportError, match="written record 4: ZeroDivisionError"):
        run({"name": "reduce", "options": {"code": code}})


def test_aggregation_stats_count_keys_whatever_their_value():
    assert run({"name": "aggregation_stats"}).result == {
        "sku": {"occurrences": 10, "coverage": 100.0},
        "stock": {"occurrences": 10, "coverage": 100.0},
        "tags": {"occurrences": 10, "coverage": 100.0},
    }
    records = [{"a": 1}, {"a": None, "b": 2}, {}, {"b": 1, "c": 1}]
    found = exporters_beam.run({"reader": {"name": "memory", "options": {"records": records}}, "writer": "aggregation_stats"})
    assert {key: stats["coverage"] for key, stats in found.result.items()} == {"a": 50.0, "b": 50.0, "c": 25.0}


def test_aggregation_stats_of_nothing_are_empty():
    found = exporters_beam.run({"reader": {"name": "random", "options": {"number_of_items": 0}}, "writer": "aggregation_stats"})
    assert found.result == {}


def test_no_records_make_no_files(export, tmp_path):
    report = export({"name": "random", "options": {"number_of_items": 0}})
    assert report.files == () and visible(tmp_path / "out") == {}
