"""Exports without records: `empty: file` delivers one file that has none."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fastavro
import pyarrow.parquet as pq
import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.errors import ConfigError
from exporters_beam.reporting.verify import verify

from helpers import plain, visible

SCHEMA = {"properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}
NOBODY = {"name": "key_value", "options": {"keys": [{"name": "name", "value": "nobody"}]}}


def parquet_columns(data: bytes) -> Any:
    file = pq.ParquetFile(io.BytesIO(data))
    return file.metadata.num_rows, file.schema_arrow.names, [str(field.type) for field in file.schema_arrow]


def avro_columns(data: bytes) -> Any:
    reader = fastavro.reader(io.BytesIO(data))
    return list(reader), [field["name"] for field in reader.writer_schema["fields"]]


FORMATS: list[tuple[Any, str, Any, Any]] = [
    (None, "part-0000.jl", bytes, b""),
    ({"name": "json", "options": {"jsonlines": False}}, "part-0000.json", json.loads, []),
    ({"name": "json", "options": {"pretty_print": True, "jsonlines": False}}, "part-0000.json", json.loads, []),
    ({"name": "csv", "options": {"fields": ["id", "name"]}}, "part-0000.csv",
     lambda data: list(csv.reader(io.StringIO(data.decode()))), [["id", "name"]]),
    ({"name": "csv", "options": {"fields": ["id"], "show_titles": False}}, "part-0000.csv", bytes, b""),
    ({"name": "xml", "options": {"root_name": "shop"}}, "part-0000.xml",
     lambda data: (ElementTree.fromstring(data).tag, len(ElementTree.fromstring(data))), ("shop", 0)),
    ({"name": "parquet", "options": {"schema": SCHEMA}}, "part-0000.parquet", parquet_columns,
     (0, ["id", "name"], ["int64", "string"])),
    ({"name": "avro", "options": {"schema": SCHEMA}}, "part-0000.avro", avro_columns, ([], ["id", "name"])),
    ({"name": "json", "options": {"pretty_print": True}}, "part-0000.jl", bytes, b""),
]  # fmt: skip
KINDS = ["jsonlines", "json", "pretty", "csv", "csv without titles", "xml", "parquet", "avro", "pretty lines"]


def settings(folder: Path, formatter: Any, source: str, **more: Any) -> dict[str, Any]:
    (folder / "in.jl").write_text('{"id": 1, "name": "Ada"}\n')
    (folder / "empty.jl").write_text("")
    table = formatter is not None and formatter["name"] in ("parquet", "avro")
    return {
        "reader": {"name": "fs", "options": {"input": str(folder / source)}},
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/part-", "generate_md5": True,
                                             **({} if table else {"compression": "none"}), **more.pop("options", {})}},
        **({"formatter": formatter} if formatter else {}),
        **({"filter_before": NOBODY} if source == "in.jl" else {}),
        **more,
    }  # fmt: skip


@pytest.mark.parametrize(("formatter", "name", "parse", "expected"), FORMATS, ids=KINDS)
def test_one_file_holds_no_records(formatter, name, parse, expected, tmp_path):
    config = settings(tmp_path, formatter, "empty.jl" if name.endswith("n") else "in.jl", empty="file")
    report = exporters_beam.run(config)
    files = visible(tmp_path / "out")
    assert sorted(files) == ["md5checksum.md5", name]
    assert parse(files[name].read_bytes()) == expected
    wrong, manifest = verify(report.manifest)
    assert wrong == [] and report.written == 0
    assert [(file["name"], file["records"], file["group"]) for file in manifest["files"]] == [(str(files[name]), 0, [])]


@pytest.mark.parametrize(("compression", "kind"), [("gz", 0), ("bz2", 3), ("xz", 5), ("zstd", 0), ("zip", 0)])
def test_a_compressed_file_without_records_is_whole(compression, kind, tmp_path):
    formatter, _, parse, expected = FORMATS[kind]
    report = exporters_beam.run(settings(tmp_path, formatter, "empty.jl", empty="file", options={"compression": compression}))
    (path,) = [path for path in visible(tmp_path / "out").values() if path.suffix != ".md5"]
    assert path.stat().st_size and parse(plain(path)) == expected
    assert verify(report.manifest)[0] == []


@pytest.mark.parametrize("empty", [None, "none"])
def test_no_file_is_the_default(empty, tmp_path):
    config = settings(tmp_path, None, "in.jl", **({} if empty is None else {"empty": empty}))
    assert exporters_beam.run(config).files == () and [*visible(tmp_path / "out")] == ["md5checksum.md5"]


def test_where_there_are_records_nothing_else_is_delivered(tmp_path):
    config = settings(tmp_path, None, "in.jl", empty="file", options={"filebase": f"{tmp_path}/out/{{groups[0]}}/p"})
    config["grouper"] = {"name": "file_key", "options": {"keys": ["name"]}}
    del config["filter_before"]
    exporters_beam.run(config)
    assert sorted(visible(tmp_path / "out")) == ["Ada/p0000.jl", "md5checksum.md5"]


def test_groups_in_the_name_are_empty_ones(tmp_path):
    options = {"filebase": f"{tmp_path}/out/{{groups[0]}}/p", "start_file_count": 3, "compression": "gz"}
    config = settings(tmp_path, None, "in.jl", empty="file", options=options)
    config["grouper"] = {"name": "file_key", "options": {"keys": ["name", "id"]}}
    report = exporters_beam.run(config)
    (file,) = report.files
    assert file["group"] == ["", ""]
    assert gzip.decompress((tmp_path / "out/%empty/p0003-%empty.jl.gz").read_bytes()) == b""
    assert verify(report.manifest)[0] == []


def test_all_records_failed_or_were_cut_off(tmp_path):
    config = settings(tmp_path, None, "in.jl", empty="file", on_error="dead_letter")
    config["transform"] = {"name": "pythonexp", "options": {"python_expressions": ["item['no']"]}}
    del config["filter_before"]
    report = exporters_beam.run(config)
    assert [file["records"] for file in report.files] == [0] and report.dead_letters["records"] == 1
    assert verify(report.manifest)[0] == []


def test_console_prints_a_file_without_records(tmp_path, capfd):
    config = settings(tmp_path, FORMATS[3][0], "empty.jl", empty="file", writer={"name": "console"})
    exporters_beam.run(config)
    assert '"id","name"\n' in capfd.readouterr().out


CODE = "def reduce_function(item, accumulator=None): return 1"


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"empty": "fil"}, "empty", '"fil" is not one of the choices; did you mean "file"?'),
        ({"empty": True}, "empty", "not one of the choices; known: none, file"),
        ({"empty": "file", "formatter": {"name": "parquet"}}, "empty", "needs a schema in the formatter's options"),
        ({"empty": "file", "formatter": {"name": "avro"}}, "empty", "needs a schema in the formatter's options"),
        ({"empty": "file", "writer": {"name": "reduce", "options": {"code": CODE}}},
         "empty", "this writer, which delivers no files"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_at_its_place(changes, place, words, tmp_path, capsys):
    config = {**settings(tmp_path, None, "empty.jl"), **changes}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in config.items())
    (tmp_path / "c.json").write_text("{\n" + lines + "\n}")
    line = [*config].index(place) + 2
    assert main(["validate", str(tmp_path / "c.json")]) == 2
    told = capsys.readouterr()
    assert f"c.json:{line}" in told.out + told.err and words in told.out + told.err
    with pytest.raises(ConfigError):
        exporters_beam.run(config)
