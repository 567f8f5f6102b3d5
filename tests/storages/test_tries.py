"""How often storages try: `disable_retries` means once, for uploads, reading, listing and copies; else five times."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.cli.main import main
from exporters_beam.storages.base import Content
from exporters_beam.storages.s3 import S3Storage

from helpers import jsonl
from places import Cutting, Faulty, Place
from toxics import Network, at_upload

pytestmark = pytest.mark.servers

ONCE = {"disable_retries": True, "prevent_bypass": True}
RECORDS = [{"_key": n, "text": random.Random(n).randbytes(300).hex()} for n in range(2000)]
HTTP = pytest.mark.parametrize("place", ["s3", "gcs", "azure_blob"], indirect=True)
EVERY = pytest.mark.parametrize("place", ["s3", "gcs", "azure_blob", "sftp"], indirect=True)


@pytest.fixture
def run(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs a config by the command line: its exit status, and the one line that says what failed."""
    monkeypatch.chdir(tmp_path)

    def run(config: dict[str, Any], *args: str) -> tuple[int, str]:
        Path("config.json").write_text(json.dumps(config))
        capfd.readouterr()
        status = main(["run", "config.json", "--quiet", *args])
        told = capfd.readouterr().err
        lines = [line for line in told.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in told and len(lines) == (status != 0), told
        return status, "".join(lines)

    return run


def to(place: Place, **sections: Any) -> dict[str, Any]:
    if not Path("in.jl").exists():  # A resumed run refuses input with another time.
        Path("in.jl").write_bytes(jsonl(RECORDS))
    return {"reader": {"name": "fs", "options": {"input": "in.jl"}}, "writer": place.writer("out/p-"), **sections}


def of(place: Place, **sections: Any) -> dict[str, Any]:
    return {"reader": place.source("in/"), "writer": {"name": "fs", "options": {"filebase": "here/p-"}}, **sections}


def uploads(place: Place) -> tuple[str, str]:
    """Method and path of the requests that put a file in place."""
    return ("POST", "/upload/") if place.kind == "gcs" else ("PUT", "out/")


@HTTP
@pytest.mark.parametrize("status", [0, 503])
def test_an_upload_is_tried_once(place: Place, faulty: Faulty, run, status):
    """One answer of 503, or none, ends the export, and what follows completes it."""
    faulty.fail(*uploads(place), status)
    code, told = run(to(place, exporter_options=ONCE))
    assert code == 1 and "cannot deliver" in told and place.storage().url("out/p-0000.jl.gz") in told
    assert (faulty.done, faulty.seen) == (1, 1)
    assert "HTTPStatus" not in told
    assert run(to(place), "--resume") == (0, "")
    assert len(gzip.decompress(place.get("out/p-0000.jl.gz")).splitlines()) == len(RECORDS)
    assert [found.name for found in place.storage().names("")] == ["out/p-0000.jl.gz"]


@HTTP
@pytest.mark.parametrize("status", [0, 503])
def test_reading_is_tried_once(place: Place, faulty: Faulty, run, status):
    place.put("in/a.jl.gz", gzip.compress(jsonl(RECORDS)))
    faulty.fail("GET", "a.jl.gz", status)
    code, told = run(of(place, exporter_options=ONCE))
    assert code == 1 and place.storage().url("in/a.jl.gz") in told
    assert (faulty.done, faulty.seen) == (1, 1)
    assert run(of(place)) == (0, "")


@HTTP
@pytest.mark.parametrize("status", [0, 503])
@pytest.mark.parametrize("once", [True, False])
def test_listing_is_tried_once_or_again(place: Place, faulty: Faulty, run, status, once):
    place.put("in/a.jl.gz", gzip.compress(jsonl(RECORDS)))
    faulty.fail("GET", {"s3": "list-type", "gcs": "/o?", "azure_blob": "comp=list"}[place.kind], status)
    code, told = run(of(place, exporter_options=ONCE if once else {}))
    assert faulty.done == 1
    assert (code, faulty.seen) == ((1, 1) if once else (0, 2))
    assert not once or place.storage().url("in/") in told


@pytest.mark.parametrize("place", ["s3", "minio", "gcs"], indirect=True)
@pytest.mark.parametrize("status", [0, 503])
@pytest.mark.parametrize("once", [True, False])
def test_a_copy_inside_the_service_is_tried_once_or_again(place: Place, faulty: Faulty, run, status, once):
    data = gzip.compress(jsonl(RECORDS))
    place.put("in/a.jl.gz", data)
    faulty.fail(*(("POST", "rewriteTo") if place.kind == "gcs" else ("PUT", "out/a.jl.gz")), status)
    config = {"reader": place.source("in/"), "writer": place.writer("out/")}
    code, told = run({**config, "exporter_options": {"disable_retries": once}})
    assert (code, faulty.done, faulty.seen) == ((1, 1, 1) if once else (0, 1, 2))
    if once:
        assert "cannot deliver" in told and place.storage().url("out/a.jl.gz") in told
        assert run(config) == (0, "")
    assert place.get("out/a.jl.gz") == data


@EVERY
def test_a_connection_that_breaks_once_ends_an_upload(place: Place, cutting: Cutting, run):
    cutting.after, cutting.times = 200_000, 1
    code, told = run(to(place, exporter_options=ONCE))
    assert (code, cutting.cut) == (1, 1) and "cannot deliver" in told
    assert run(to(place), "--resume") == (0, "")
    assert [found.name for found in place.storage().names("")] == ["out/p-0000.jl.gz"]


@EVERY
def test_a_connection_that_breaks_once_ends_reading(place: Place, cutting: Cutting, run):
    place.put("in/a.jl.gz", gzip.compress(jsonl(RECORDS)))
    cutting.after, cutting.times = 200_000, 1
    code, told = run(of(place, exporter_options=ONCE))
    assert (code, cutting.cut) == (1, 1) and place.storage().url("in/a.jl.gz") in told


@HTTP
@pytest.mark.parametrize("status", [0, 503])
def test_every_fifth_request_fails_and_all_is_there_once(place: Place, faulty: Faulty, run, status):
    """Answers of 503, and answers that never come though the request was applied, all along an export and back."""
    for n in range(3):
        place.put(f"in/{n}.jl.gz", gzip.compress(jsonl(RECORDS[n::3])))
    faulty.fail("", "", status, times=1000, every=5)
    writer = place.writer("out/p-", items_per_buffer_write=400, check_consistency=True)
    assert run({"reader": place.source("in/"), "writer": writer}) == (0, "")
    assert faulty.done >= 3
    faulty.times = 0
    names = [found.name for found in place.storage().names("out/")]
    found = [json.loads(line)["_key"] for name in names for line in gzip.decompress(place.get(name)).splitlines()]
    assert names == [f"out/p-000{n}.jl.gz" for n in range(5)] and sorted(found) == list(range(len(RECORDS)))


REFUSED = {
    "s3": (b"<Error><Code>ExpiredToken</Code><Message>It is over</Message></Error>", 400, "aws_session_token"),
    "gcs": (b'{"error": {"code": 401, "message": "Invalid Credentials"}}', 401, "credentials"),
    "azure_blob": (b"<Error><Code>AuthenticationFailed</Code></Error>", 401, "account_key"),
}


@pytest.mark.parametrize("place", REFUSED, indirect=True)
@pytest.mark.parametrize("plain", [True, False])
def test_credentials_that_expire_in_the_middle(place: Place, faulty: Faulty, run, plain):
    """The second file is refused: exit status 1, one sentence, no further try; with fresh ones it goes on."""
    config = to(place)
    config["writer"] = place.writer("out/p-", items_per_buffer_write=1000)
    faulty.body, status, option = REFUSED[place.kind]
    if plain:
        faulty.body, status, option = b"no", 401, {"s3": "aws_access_key_id"}.get(place.kind, option)
    faulty.fail(*uploads(place), status, every=2)
    code, told = run(config)
    assert (code, faulty.done, faulty.seen) == (1, 1, 2)
    assert f"option {option}" in told and "p-0001" in told
    assert run(config, "--resume") == (0, "")
    assert [found.name for found in place.storage().names("")] == ["out/p-0000.jl.gz", "out/p-0001.jl.gz"]


@pytest.mark.parametrize("place", ["s3", "minio"], indirect=True)
@pytest.mark.parametrize("status", [0, 503])
def test_an_upload_in_parts_whose_end_is_not_answered(place: Place, faulty: Faulty, status):
    """It was completed, and the answer got lost: the client asks again, and hears that there is no such upload."""
    data = random.Random(3).randbytes(11 << 20)
    storage = S3Storage(**{**vars(place.storage()), "part_bytes": 5 << 20})
    faulty.fail("POST", "uploadId", status)
    found = storage.put("big", io.BytesIO(data), Content(len(data), hashlib.md5(data).hexdigest()))
    assert (faulty.done, found.size) == (1, len(data))
    assert place.get("big") == data
    assert not place.made.list_multipart_uploads(Bucket=place.options["bucket"]).get("Uploads")


@pytest.mark.parametrize("place", ["ftp", "vsftpd"], indirect=True)
@pytest.mark.parametrize("once", [True, False])
def test_an_upload_by_ftp_is_tried_once_or_again(place: Place, network: Network, run, monkeypatch, once):
    """The connection for data is cut in the middle of the file."""
    folder = "/data/" if "tls" in place.options else ""
    config = {**to(place), "writer": place.writer(f"{folder}out/p-")}
    at_upload(monkeypatch, place, 1, 1, lambda: network.spoil("limit_data", bytes=100_000))
    connected, seen = type(place.storage())._login, []

    def counting(self: Any) -> Any:
        if seen and seen[-1] != "healed":
            network.heal()
            seen.append("healed")
        seen.append("connected")
        return connected(self)

    monkeypatch.setattr(type(place.storage()), "_login", counting)
    code, told = run({**config, "exporter_options": {"disable_retries": once}})
    assert code == once
    if once:
        assert "cannot deliver" in told and "p-0000" in told
        assert run(config, "--resume") == (0, "")
    assert [found.name for found in place.storage().names(f"{folder}out")] == [f"{folder}out/p-0000.jl.gz"]
    assert len(gzip.decompress(place.get(f"{folder}out/p-0000.jl.gz")).splitlines()) == len(RECORDS)


@pytest.mark.parametrize("place", ["ftp", "vsftpd"], indirect=True)
@pytest.mark.parametrize("once", [True, False])
def test_reading_by_ftp_is_tried_once_or_again(place: Place, network: Network, run, once):
    folder = "/data/" if "tls" in place.options else ""
    place.put(f"{folder}in/a.jl.gz", gzip.compress(jsonl(RECORDS)))
    network.spoil("limit_data", to="downstream", bytes=200_000)
    config = {**of(place), "reader": place.source(f"{folder}in")}
    code, told = run({**config, "exporter_options": {"disable_retries": once}})
    assert code == once and (not once or "in/a.jl.gz" in told)
