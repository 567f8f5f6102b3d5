"""The configs that the documentation of exporters 0.6.18 showed, and one for each class that runs on this machine, in words of
ours: what `exporters-beam migrate` makes of them delivers the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporters_beam.cli.main import main

from helpers import plain, visible, write_gz

TOWNS = ("Lleida", "Madrid", "Zürich", None)
COMPANIES = [
    {
        "_key": str(n % 40),
        "country": ("United States", "Spain", "United Kingdom")[n % 3],
        "stock": n,
        "tags": ["a", "b"][: n % 3],
        "address": {"town": TOWNS[n % 4], "zip": f"{n:05d}"},
    }
    for n in range(60)
]
FILES = {"name": "exporters.readers.fs_reader.FSReader", "options": {"input": {"dir": "in"}}}
FOLDER = {"name": "exporters.writers.fs_writer.FSWriter", "options": {"filebase": "out/"}}
CONSOLE = {"name": "exporters.writers.console_writer.ConsoleWriter", "options": {}}
RANDOM = {"name": "exporters.readers.random_reader.RandomReader", "options": {"number_of_items": 40, "batch_size": 10}}
AMERICAN = {
    "name": "exporters.filters.key_value_regex_filter.KeyValueRegexFilter",
    "options": {"keys": [{"name": "country", "value": "United States"}]},
}


def pickled(path: str) -> dict[str, Any]:
    return {"name": "exporters.persistence.pickle_persistence.PicklePersistence", "options": {"file_path": path}}


def formatted(kind: str, **options: Any) -> dict[str, Any]:
    module = {"JsonExportFormatter": "json", "CSVExportFormatter": "csv", "XMLExportFormatter": "xml"}[kind]
    path = f"exporters.export_formatter.{module}_export_formatter.{kind}"
    return {"exporter_options": {"formatter": {"name": path, "options": options}}}


def with_one(kind: str, path: str, **options: Any) -> dict[str, Any]:
    """An export from files to files with one section more."""
    return {kind: {"name": path, "options": options}}


DOCUMENTED: dict[str, dict[str, Any]] = {
    "the simplest config": {"reader": RANDOM, "writer": CONSOLE},
    "the tutorial of resuming": {
        "reader": {**RANDOM, "options": {}},
        "writer": CONSOLE,
        "persistence": pickled("job_state.pickle"),
    },
    "the tutorial, from files to files": {
        "exporter_options": {
            "log_level": "DEBUG",
            "logger_name": "export-pipeline",
            "formatter": {"name": "exporters.export_formatter.json_export_formatter.JsonExportFormatter", "options": {}},
            "notifications": [],
        },
        "filter": AMERICAN,
        "writer": {"name": FOLDER["name"], "options": {"filebase": "out/export_tutorial_{:%d-%b-%Y}"}},
        "persistence": pickled("state"),
    },
    "two filters, a transform that does nothing and groups": {
        "filter_before": AMERICAN,
        "filter_after": {
            "name": "exporters.filters.key_value_regex_filter.KeyValueRegexFilter",
            "options": {"keys": [{"name": "_key", "value": "1"}]},
        },
        "transform": {"name": "exporters.transform.no_transform.NoTransform", "options": {}},
        "grouper": {
            "name": "exporters.groupers.file_key_grouper.FileKeyGrouper",
            "options": {"keys": ["country", "address.town"]},
        },
    },
    "what does nothing": {
        "decompressor": {"name": "exporters.decompressors.ZLibDecompressor"},
        "deserializer": {"name": "exporters.deserializers.JsonLinesDeserializer"},
        "filter_after": {"name": "exporters.filters.no_filter.NoFilter", "options": {}},
        "grouper": {"name": "exporters.groupers.no_grouper.NoGrouper"},
        "writer": {
            "name": FOLDER["name"],
            "options": {"filebase": "out/", "write_buffer": "exporters.write_buffers.base.WriteBuffer"},
        },
        "stats_manager": {"name": "exporters.stats_managers.basic_stats_manager.BasicStatsManager"},
    },
    "files by pattern": {
        "reader": {"name": FILES["name"], "options": {"input": [{"dir": "in", "pattern": r"\d\.jl\.gz$"}, "in/1.jl.gz"]}},
    },
    "filter: equal": with_one(
        "filter", "exporters.filters.key_value_filters.KeyValueFilter", keys=[{"name": "country", "value": "Spain"}]
    ),
    "filter: operators": with_one(
        "filter",
        "exporters.filters.key_value_filter.KeyValueFilter",
        keys=[
            {"name": "tags", "value": "a", "operator": "contains"},
            {"name": "country", "value": r"United \w+$", "operator": "re_match"},
        ],
    ),
    "filter: nested": with_one(
        "filter", "exporters.filters.KeyValueFilter", keys=[{"name": "address.town", "value": "Madrid"}]
    ),
    "filter: expression": with_one(
        "filter", "exporters.filters.pythonexp_filter.PythonexpFilter", python_expression="item['stock'] / 2 > 20"
    ),
    "filter: duplicates": with_one("filter", "exporters.filters.dupe_filter.DupeFilter"),
    "transform: expressions": with_one(
        "transform",
        "exporters.transform.pythonexp_transform.PythonexpTransform",
        python_expressions=["item.update(country_code=item['country'][:2].lower())", "item.update(half=item['stock'] / 2)"],
    ),
    "transform: map": with_one(
        "transform",
        "exporters.transform.pythonmap.PythonMapTransform",
        map="{'town': item['address']['town'].encode('utf-8') if item['address']['town'] else None}",
    ),
    "transform: jq": with_one(
        "transform", "exporters.transform.jq_transform.JQTransform", jq_filter="{key: ._key, town: .address.town}"
    ),
    "transform: flat": with_one(
        "transform",
        "exporters.transform.flatson_transform.FlatsonTransform",
        flatson_schema={
            "type": "object",
            "properties": {
                "_key": {"type": "string"},
                "tags": {"type": "array", "flatson_serialize": {"method": "join_values", "separator": "|"}},
                "address": {"type": "object", "properties": {"zip": {"type": "string"}}},
            },
        },
    ),
    "groups by expression": with_one(
        "grouper", "exporters.groupers.python_exp_grouper.PythonExpGrouper", python_expressions=["item['stock'] / 25"]
    ),
    "CSV": formatted("CSVExportFormatter", fields=["_key", "country", "stock"], delimiter=";", show_titles=False),
    "CSV by a schema": formatted("CSVExportFormatter", schema={"type": "object", "properties": {"_key": {}, "stock": {}}}),
    "JSON in an array": formatted("JsonExportFormatter", jsonlines=False, pretty_print=True),
    "XML": formatted("XMLExportFormatter", root_name="companies", item_name="company", attr_type=False),
    "sizes, a limit and checksums": {
        "writer": {
            "name": FOLDER["name"],
            "options": {
                "filebase": "out/%Y/part-{file_number}",
                "items_per_buffer_write": 20,
                "items_limit": 50,
                "compression": "bz2",
                "generate_md5": True,
                "start_file_count": 1,
            },
        },
    },
    "a sample": {
        "writer": {
            "name": FOLDER["name"],
            "options": {
                "filebase": "out/",
                "write_buffer": "exporters.write_buffers.reservoir_sampling_buffer.ReservoirSamplingWriteBuffer",
                "write_buffer_options": {"sample_size": 7},
            },
        },
    },
    "statistics": {
        "writer": {"name": "exporters.writers.aggregation_stats_writer.AggregationStatsWriter"},
        "stats_manager": {"name": "exporters.stats_managers.logging_stats_manager.LoggingStatsManager"},
    },
    "reduce": {
        "writer": {
            "name": "exporters.writers.reduce_writer.ReduceWriter",
            "options": {"code": "def reduce_function(item, total=None):\n    return (total or 0) + item['stock']\n"},
        },
    },
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_old_and_migrated_deliver_the_same(name: str, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("random.SystemRandom.getrandbits", lambda self, bits: 7)
    for n in range(3):
        write_gz(Path("in") / f"{n}.jl.gz", COMPANIES[20 * n : 20 * n + 20])
    Path("old.json").write_text(json.dumps({"reader": FILES, "writer": FOLDER, **DOCUMENTED[name]}), encoding="utf-8")
    assert main(["migrate", "old.json", "-o", "new.yaml"]) == 0, capfd.readouterr().err
    assert "exporters." not in Path("new.yaml").read_text(encoding="utf-8").replace("http", "")
    capfd.readouterr()
    found = []
    for config in ("old.json", "new.yaml"):
        assert main(["run", config, "--report", "report.json"]) == 0, capfd.readouterr().err
        told = json.loads(Path("report.json").read_text(encoding="utf-8"))
        delivered = {file: plain(path) for file, path in visible(Path("out")).items()} if Path("out").exists() else {}
        found.append((capfd.readouterr().out, delivered, told["counts"], told.get("result")))
        shutil.rmtree("out", ignore_errors=True)
    assert found[0] == found[1]
    assert found[0][0] or found[0][1] or found[0][3]


ELSEWHERE: dict[str, dict[str, Any]] = {
    "Google Drive": {
        "writer": {
            "name": "exporters.writers.gdrive_writer.GDriveWriter",
            "options": {
                "filebase": "export-data/gwriter-test_",
                "client_secret": {"installed": {"client_id": "an-app", "client_secret": "its-secret"}},
                "credentials": {"refresh_token": "a-token", "client_id": "an-app", "client_secret": "its-secret"},
            },
        },
    },
    "S3": {
        "reader": {
            "name": "exporters.readers.s3_reader.S3Reader",
            "options": {
                "bucket": "datasets",
                "aws_access_key_id": "a-key",
                "aws_secret_access_key": "a-secret",
                "prefix": "tutorial/%Y-%m-%d",
                "prefix_format_using_date": ["2 days ago", "today"],
            },
        },
        "filter": AMERICAN,
    },
    "notifications": {
        "exporter_options": {
            "notifications": [
                {
                    "name": "exporters.notifications.ses_mail_notifier.SESMailNotifier",
                    "options": {
                        "team_mails": ["team@example.org"],
                        "client_mails": ["client@example.org"],
                        "access_key": "a-key",
                        "secret_key": "a-secret",
                        "mail_from": "exports@example.org",
                    },
                },
                {
                    "name": "exporters.notifications.webhook_notifier.WebhookNotifier",
                    "options": {"endpoints": ["https://hooks.example.org/exports"]},
                },
            ]
        },
    },
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_needs_services_elsewhere_is_made_of_the_same_options(name: str, tmp_path: Path, capfd: Any) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.yaml"
    old.write_text(json.dumps({"reader": FILES, "writer": FOLDER, **ELSEWHERE[name]}), encoding="utf-8")
    assert main(["migrate", str(old), "-o", str(new)]) == 0, capfd.readouterr().err
    assert main(["validate", str(new)]) == 0, capfd.readouterr().err
    made = yaml.safe_load(new.read_text(encoding="utf-8"))
    sections = [(made[kind], section) for kind, section in ELSEWHERE[name].items() if kind in ("reader", "writer")]
    told = made.get("exporter_options", {}).get("notifications", [])
    sections += zip(told, ELSEWHERE[name].get("exporter_options", {}).get("notifications", []), strict=True)
    assert sections
    for found, section in sections:
        assert found["options"] == section["options"]
        assert not found["name"].startswith("exporters.")
