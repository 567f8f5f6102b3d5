"""FTP: what differs between servers."""

from __future__ import annotations

import ftplib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.storages.base import StorageError

from helpers import jsonl
from places import Place, ftp_server

pytestmark = pytest.mark.servers

RECORDS = [{"_key": n, "text": "é"} for n in range(100)]


def test_vsftpd_with_tls(vsftpd: Place):
    """No MLSD, and data connections that have to go on with the session of the first one."""
    for n in range(3):
        vsftpd.put(f"/data/in/sub folder/{n}.jl.gz", gzip.compress(jsonl(RECORDS[n::3])))
    vsftpd.put("/data/in/0.jl.gz", b"is replaced")
    vsftpd.put("/data/in/0.jl.gz", gzip.compress(jsonl(RECORDS)))
    report = exporters_beam.run({
        "reader": vsftpd.source("/data/in/sub folder"),
        "writer": vsftpd.writer("/data/out/ü/p-", compression="none", check_consistency=True),
    })  # fmt: skip
    assert report.written == len(RECORDS)
    found = [json.loads(line) for line in vsftpd.get("/data/out/ü/p-0000.jl").splitlines()]
    assert sorted(found, key=lambda record: record["_key"]) == RECORDS
    storage = vsftpd.storage()
    with storage.open(storage.stat("/data/in/0.jl.gz")) as stream:
        stream.seek(2)
        assert stream.read(1) == b"\x08"
    assert [found.name for found in storage.names("/data/in")] == [
        "/data/in/0.jl.gz", *(f"/data/in/sub folder/{n}.jl.gz" for n in range(3)),
    ]  # fmt: skip


def test_a_connection_that_the_server_has_ended_is_made_again(ftp: Place):
    storage = ftp.storage()
    storage.probe()
    storage.client.sock.close()
    ftp.put("a", b"1")
    assert storage.stat("a").size == 1


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Place]:
    """A server on which a rename replaces nothing."""
    with ftp_server(tmp_path, "", "REPLACING") as place:
        yield place


def test_a_server_that_does_not_replace(keeping: Place, monkeypatch):
    """Files are replaced all the same, and what was there comes back where that fails in the middle."""
    keeping.put("out/a", b"first")
    keeping.put("out/a", b"second")
    assert keeping.get("out/a") == b"second"
    rename, seen = ftplib.FTP.rename, []

    def failing(self: Any, old: str, new: str) -> str:
        seen.append(new)
        if len(seen) == 3:
            raise ftplib.error_perm("552 the disk is full")
        return rename(self, old, new)

    with monkeypatch.context() as patch:
        patch.setattr(ftplib.FTP, "rename", failing)
        with pytest.raises(StorageError, match="the disk is full"):
            keeping.put("out/a", b"third")
    assert keeping.get("out/a") == b"second"
    (keeping.made / "out" / "b").mkdir()
    with pytest.raises(StorageError):
        keeping.put("out/b", b"a folder is there")
    assert sorted(path.name for path in (keeping.made / "out").iterdir()) == ["a", "b"]
