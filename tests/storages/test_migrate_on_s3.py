"""The first config of the old system's documentation, from S3 to a folder, and its tutorial's writer: old and migrated deliver
the same."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.cli.main import main

from helpers import delivered, jsonl
from places import SECRET, Place

KEYS = {"aws_access_key_id": "rootkey", "aws_secret_access_key": SECRET}


@pytest.mark.servers
def test_the_configs_of_the_readme_and_the_tutorial(moto: Place, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.options["host"])
    bucket = moto.options["bucket"]
    for n in range(3):
        moto.put(f"tutorial/sample-{n}.jl", jsonl([{"n": 10 * n + i, "country": "US" if i % 2 else "ES"} for i in range(10)]))
    american = {
        "name": "exporters.filters.key_value_regex_filter.KeyValueRegexFilter",
        "options": {"keys": [{"name": "country", "value": "US"}]},
    }
    reader = {
        "name": "exporters.readers.s3_reader.S3Reader",
        "options": {"bucket": bucket, **KEYS, "prefix": "tutorial/sample"},
    }
    plain = {"name": "exporters.decompressors.NoDecompressor"}
    writer = {
        "name": "exporters.writers.s3_writer.S3Writer",
        "options": {"bucket": bucket, "filebase": "tests/export_{:%d-%b-%Y}_", **KEYS},
    }
    folder = {"name": "exporters.writers.fs_writer.FSWriter", "options": {"filebase": "output/"}}
    wanted = [{"n": n, "country": "US"} for n in range(1, 30, 2)]
    for to in (folder, writer):
        config = {"reader": reader, "decompressor": plain, "filter": american, "writer": to}
        Path("old.json").write_text(json.dumps(config), encoding="utf-8")
        assert main(["migrate", "old.json", "-o", "new.yaml"]) == 0
        assert "exporters." not in Path("new.yaml").read_text(encoding="utf-8")
        for name in ("old.json", "new.yaml"):
            assert main(["run", name]) == 0, capfd.readouterr().err
            if to is folder:
                assert delivered(Path("output")) == {"0000.jl.gz": wanted}
                shutil.rmtree("output")
            else:
                key = f"tests/export_{datetime.now():%d-%b-%Y}_0000.jl.gz"
                assert gzip.decompress(moto.get(key)) == jsonl(wanted)
                moto.made.delete_object(Bucket=bucket, Key=key)
        Path("new.yaml").unlink()
