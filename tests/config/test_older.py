"""What exporters 0.6.18 took without a word is taken under its class paths, with a warning; ours refuse it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from exporters_beam import run
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make

READER = {"name": "exporters.readers.fs_reader.FSReader", "options": {"input": {"dir": "in"}}}
WRITER = {"name": "exporters.writers.fs_writer.FSWriter", "options": {"filebase": "out/part-"}}
OURS = {
    "reader": {"name": "fs", "options": {"input": {"dir": "in"}}},
    "writer": {"name": "fs", "options": WRITER["options"]},
}


def inside(section: dict, **options: Any) -> dict:
    return {**section, "options": {**section["options"], **options}}


TAKEN = [
    ({"exporter_options": {"prevent_bypass": 1}}, 'prevent_bypass: found 1; taken as true'),
    ({"exporter_options": {"threaded": "yes"}}, 'threaded: found "yes"; taken as true'),
    ({"exporter_options": {"resume": 0}}, "resume: found 0; taken as false"),
    ({"exporter_options": {"resume": ""}}, 'resume: found ""; taken as false'),
    ({"exporter_options": {"log_level": 10}}, 'log_level: found 10; taken as "DEBUG"'),
    ({"exporter_options": {"logger_name": 7}}, 'logger_name: found 7; taken as "7"'),
    ({"exporter_options": {"thread_queue_size": "many"}}, 'thread_queue_size: found "many"; not used'),
    ({"grouper": {"name": "exporters.groupers.NoGrouper", "options": {"deep": 1}}}, "grouper.options.deep: unknown, not used"),
    (
        {"stats_manager": {"name": "exporters.stats_managers.BasicStatsManager", "options": {"every": 1}}},
        "stats_manager.options.every: unknown, not used",
    ),
    ({"writer": inside(WRITER, write_buffer_options={"x": 1})}, "write_buffer_options.x: unknown, not used"),
    ({"writer": inside(WRITER, items_limit=-1)}, "items_limit: -1 is below 0; taken as 0"),
    ({"writer": inside(WRITER, size_per_buffer_write=-5)}, "size_per_buffer_write: -5 is below 0; taken as 0"),
    ({"writer": inside(WRITER, start_file_count=-1)}, "start_file_count: -1 is below 0; taken as 0"),
    (
        {
            "writer": {
                "name": "exporters.writers.MailWriter",
                "options": {"emails": ["a@x.org"], "subject": "s", "from": "b@x.org", "max_mails_sent": -1},
            }
        },
        "max_mails_sent: -1 is below 0; taken as no limit",
    ),
    ({"writer": inside(WRITER, filebase="")}, "filebase: it is empty; files go to the working directory"),
    ({"writer": inside(WRITER, filebase="out/{:%d-%b-%Y}/p")}, "filebase: taken as out/%d-%b-%Y/p"),
    ({"reader": inside(READER, input={"dir": "in", "recursive": True})}, "input.recursive: unknown, not used"),
    (
        {"filter": {"name": "exporters.filters.KeyValueFilter", "options": {"keys": [{"name": "a", "value": 1, "why": 2}]}}},
        "filter.options.keys[0].why: unknown, not used",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), TAKEN)
def test_it_is_taken_with_a_warning(change: dict, told: str) -> None:
    spec = load({"reader": READER, "writer": WRITER, **change})
    assert [str(warning) for warning in spec.warnings if told in str(warning)]
    ours = json.loads(json.dumps({**OURS, **change}).replace("exporters.readers.fs_reader.FSReader", "fs")
                      .replace("exporters.writers.fs_writer.FSWriter", "fs").replace("exporters.groupers.NoGrouper", "none")
                      .replace("exporters.stats_managers.BasicStatsManager", "basic")
                      .replace("exporters.filters.KeyValueFilter", "key_value")
                      .replace("exporters.writers.MailWriter", "mail"))  # fmt: skip
    with pytest.raises(ConfigError):
        make(load(ours))


@pytest.mark.parametrize(
    ("name", "value", "ours"),
    [
        ("env", "prod", ["HOME"]),
        ("vars", "none", {"a": 1}),
        ("on_error", "ignore", "fail"),
        ("empty", True, "none"),
        ("steps", 3, []),
        ("staging", {"url": "x"}, "staged"),
        ("formatter", {"name": "exporters.export_formatter.XMLExportFormatter"}, {"name": "xml"}),
    ],
)
def test_sections_that_are_new_mean_nothing_where_they_do_not_look_like_ours(name: str, value: Any, ours: Any) -> None:
    spec = load({"reader": READER, "writer": WRITER, name: value})
    assert f"{name}: not used: exporters 0.6.18 knew no such section" in map(str, spec.warnings)
    assert spec.formatter is None
    assert not [each for each in load({"reader": READER, "writer": WRITER, name: ours}).warnings if "knew" in str(each)]


def test_a_key_that_stands_twice_counts_where_it_stands_last(tmp_path: Path) -> None:
    reader = json.dumps(READER)
    for file, text in (
        ("a.json", f'{{"reader": {reader}, "writer": {json.dumps(WRITER)}, "name": "a",\n"name": "b"}}'),
        ("a.yaml", f"reader: {reader}\nwriter: {json.dumps(WRITER)}\nname: a\nname: b\n"),
    ):
        path = tmp_path / file
        path.write_text(text, encoding="utf-8")
        spec = load(path)
        assert spec.document["name"] == "b"
        assert "this key stands twice" in str(spec.warnings[0])
        path.write_text(text.replace(READER["name"], "fs").replace(WRITER["name"], "fs"), encoding="utf-8")
        with pytest.raises(ConfigError, match="this key stands twice"):
            load(path)


@pytest.mark.parametrize("form", [{}, {"name": "exporters.export_formatter.json_export_formatter.JsonExportFormatter"}])
def test_numbers_that_are_none_are_written_as_before(form: dict, tmp_path: Path) -> None:
    config = {
        "reader": {"name": "memory", "options": {"records": [{"a": 1}]}},
        "transform": {
            "name": "exporters.transform.pythonmap.PythonMapTransform",
            "options": {"map": "{'n': float('nan')}"},
        },
        "writer": {"name": "exporters.writers.fs_writer.FSWriter", "options": {"filebase": f"{tmp_path}/out-"}},
        "exporter_options": {"formatter": form} if form else {},
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["run", str(file)]) == 0
    (out,) = tmp_path.glob("out-*")
    assert gzip.decompress(out.read_bytes()) == b'{"n":NaN}\n'
    config["exporter_options"] = {"formatter": {"name": "json"}}
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["run", str(file)]) == 1


def test_rows_of_csv_that_are_too_long_and_quotes_that_stay_open(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('a,b\n1,2,3,4\n5,"x\n6,7\n', encoding="utf-8")
    config: dict[str, Any] = {
        "reader": {"name": "exporters.readers.fs_reader.FSReader", "options": {"input": f"{tmp_path}/in.csv"}},
        "deserializer": {"name": "exporters.deserializers.CSVDeserializer"},
        "decompressor": {"name": "exporters.decompressors.NoDecompressor"},
        "writer": {
            "name": "exporters.writers.FSWriter",
            "options": {"filebase": f"{tmp_path}/out-", "compression": "none"},
        },
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["run", str(file)]) == 0
    (out,) = tmp_path.glob("out-*")
    assert list(map(json.loads, out.read_text(encoding="utf-8").splitlines())) == [
        {"a": "1", "b": "2", "null": ["3", "4"]},
        {"a": "5", "b": "x\n6,7\n"},
    ]
    config["deserializer"] = {"name": "csv"}
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["run", str(file)]) == 1


@pytest.mark.parametrize(
    ("files", "records", "told"),
    [
        ({"a.csv": "a,b\n1,2,3\n4,5\n"}, 2, ["1 row of CSV is longer than the header"]),
        (
            {"a.csv": "a,b\n" + '1,"2",3\n4\n5,6\n' * 9000, "b.csv": 'a,b\n1,2,3\n4,"5\n6\n', "c.csv": 'a,"b\n1,2\n'},
            27_002,
            ["9,001 rows of CSV are longer than the header", "2 files of CSV have a quote that is never closed"],
        ),
        ({"a.csv": 'a,b\n1,"2""3"\n4,5\n'}, 2, []),
    ],
)
@pytest.mark.parametrize("filtered", [False, True])
def test_they_are_counted_in_a_warning(
    files: dict[str, str], records: int, told: list[str], filtered: bool, tmp_path: Path, caplog: Any
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    config: dict[str, Any] = {
        "reader": {"name": "exporters.readers.FSReader", "options": {"input": {"dir": str(tmp_path), "pattern": "csv$"}}},
        "deserializer": {"name": "exporters.deserializers.CSVDeserializer"},
        "decompressor": {"name": "exporters.decompressors.NoDecompressor"},
        "writer": {"name": "exporters.writers.FSWriter", "options": {"filebase": f"{tmp_path}/out/"}},
    }
    if filtered:
        config["filter"] = {"name": "exporters.filters.PythonexpFilter", "options": {"python_expression": "item['a'] != '0'"}}
    report = run(config)
    assert report.written == records
    warnings = [text for text in report.warnings if " of CSV " in text]
    assert [text.removeprefix("deserializer: ").partition(";")[0] for text in warnings] == told
    assert [text for text in json.loads(Path(report.manifest).read_text())["warnings"] if " of CSV " in text] == warnings
    assert [entry.getMessage() for entry in caplog.records if " of CSV " in entry.getMessage()] == warnings


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("reader", "exporters.readers.odo_random_reader.OdoRandomReader", "'; known: azure_blob"),
        ("reader", "exporters.readers.fs_reader.FSReadr", '; did you mean "fs"?'),
        ("reader", "json.decoder.JSONDecoder", '; a component of your own is named "json.decoder:JSONDecoder"'),
        ("writer", "nowhere.at_all.Writer", "'; known: "),
    ],
)
def test_what_is_told_of_class_paths_that_nothing_has(kind: str, name: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        load({"reader": READER, "writer": WRITER, kind: {"name": name}})
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ({"name": "json", "options": {"jsonlines": False}}, "[]"),
        ({"name": "csv", "options": {"fields": ["a", "b"]}}, '"a","b"\n'),
        ({"name": "json"}, ""),
    ],
)
def test_the_console_shows_what_stands_around_no_records(form: dict, printed: str, tmp_path: Path, capfd: Any) -> None:
    config = {
        "reader": {"name": "memory", "options": {"records": [{"a": 1}]}},
        "filter": {"name": "key_value", "options": {"keys": [{"name": "a", "value": 2}]}},
        "writer": {"name": "console"},
        "formatter": form,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["run", str(file)]) == 0
    assert capfd.readouterr().out == printed


def test_an_export_of_nothing_has_its_list_of_checksums(tmp_path: Path) -> None:
    config = {
        "reader": {"name": "memory", "options": {"records": [{"a": 1}]}},
        "filter": {"name": "key_value", "options": {"keys": [{"name": "a", "value": 2}]}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-", "generate_md5": True}},
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["run", str(file)]) == 0
    assert (tmp_path / "out/md5checksum.md5").read_bytes() == b""
