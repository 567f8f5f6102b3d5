"""A real process is killed in the middle of delivering to a storage, and the export is resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import exporters_beam
from exporters_beam.reporting.verify import verify
from exporters_beam.storages.base import StorageError

from helpers import jsonl
from places import Place

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parent.parent.parent
FILES = 40


@pytest.mark.parametrize(
    "place", ["s3", "gcs", "sftp", "ftp", "azure_blob", "azure_file", "hdfs", "gdrive", "dropbox"], indirect=True
)
def test_killed_while_delivering_and_resumed(place: Place, tmp_path):
    """The same files as of an undisturbed run, and nothing besides: no half-sent file stays behind under another name."""
    (tmp_path / "in.jl").write_bytes(jsonl([{"_key": n, "text": str(n) * 9} for n in range(FILES * 50)]))
    reader = {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}}
    config = {"reader": reader, "writer": place.writer("out/p-", items_per_buffer_write=50)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "exporters_beam", "run", str(tmp_path / "config.json"), "--quiet"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    storage = place.storage()

    process = subprocess.Popen(command, env=environ, cwd=tmp_path)
    until = time.monotonic() + 240
    while len(delivered(storage)) < 3:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    before = delivered(storage)
    assert 3 <= len(before) < FILES
    assert not list(tmp_path.rglob("manifest.json"))

    resumed = subprocess.run([*command, "--resume"], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    manifest = next(iter(tmp_path.rglob("manifest.json")))
    assert verify(str(manifest), storage)[0] == []
    found = json.loads(manifest.read_text())["files"]
    undisturbed = exporters_beam.run({**config, "writer": place.writer("again/p-", items_per_buffer_write=50)})
    assert [file["md5"] for file in found] == [file["md5"] for file in undisturbed.files]
    assert len(found) == FILES and delivered(storage) == [f"out/p-{n:04d}.jl.gz" for n in range(FILES)]
    if place.kind in ("sftp", "ftp"):
        folder = place.made.folder if place.kind == "sftp" else place.made
        assert not list(folder.rglob("*.part"))
    assert not [found.name for found in storage.names("") if found.name.endswith(".part")]


def delivered(storage) -> list[str]:
    try:
        return [found.name for found in storage.names("out/") if found.name.endswith(".gz")]
    except StorageError:  # A server that lists what is just being renamed.
        return []
