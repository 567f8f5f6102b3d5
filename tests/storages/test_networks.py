"""Exports over networks that are slow, silent or break, and to servers that are killed and come back.

An export goes through, or fails with exit status 1 and one sentence, and `--resume` completes it. In the end every record
is there once, and the manifest is that of an undisturbed local export. What was counted is printed as a table.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.reporting.verify import verify

from helpers import jsonl
from places import Place
from toxics import TABLE, Counted, Network, at_upload

pytestmark = pytest.mark.servers

EVERY = ("s3", "gcs", "azure_blob", "sftp", "ftp", "vsftpd")
every = pytest.mark.parametrize("place", EVERY, indirect=True)

FILES, PER_FILE = 4, 400

SERVERS = {
    "s3": "S3 (versitygw)", "versitygw": "S3 (versitygw)", "minio": "S3 (MinIO)", "gcs": "GCS (fake-gcs-server)",
    "azure_blob": "Azure Blob (Azurite)", "sftp": "SFTP (OpenSSH)", "sshd": "SFTP (OpenSSH)", "ftp": "FTP (pyftpdlib)",
    "vsftpd": "FTPS (vsftpd)",
}  # fmt: skip
"""How the table calls the places."""


@dataclass(frozen=True)
class Fault:
    """Toxics, and whether no export can go through them."""

    toxics: tuple[tuple[str, dict[str, Any]], ...]
    fatal: bool = False
    sections: dict[str, Any] = field(default_factory=dict)


UPLOAD, ANSWERS = {"to": "upstream"}, {"to": "downstream"}

FAULTS = {
    "latency": Fault((("latency", {"latency": 20, "jitter": 10, **UPLOAD}), ("latency", {"latency": 20, **ANSWERS}))),
    "slow link": Fault((("bandwidth", {"rate": 500, **UPLOAD}), ("bandwidth", {"rate": 500, **ANSWERS}))),
    "cut upload": Fault((("limit_data", {"bytes": 150_000, "toxicity": 0.4, **UPLOAD}),)),
    "cut answers": Fault((("limit_data", {"bytes": 3000, "toxicity": 0.4, **ANSWERS}),)),
    "reset": Fault((("bandwidth", {"rate": 1000, **UPLOAD}), ("reset_peer", {"timeout": 150, "toxicity": 0.4}))),
    "upload always cut": Fault((("limit_data", {"bytes": 100_000, **UPLOAD}),), fatal=True),
    "always reset": Fault((("bandwidth", {"rate": 500, **UPLOAD}), ("reset_peer", {"timeout": 200})), fatal=True),
}


WHERE = {
    "latency": ("s3", "sftp", "vsftpd"),
    "slow link": ("gcs", "azure_blob", "ftp"),
    "upload always cut": ("s3", "azure_blob", "ftp"),
    "always reset": ("gcs", "sftp", "vsftpd"),
    "answers always cut": ("s3", "azure_blob", "sftp", "ftp"),
}
"""The places of a fault, where it is not every one. What breaks one connection is tried with every client, since each notices
it in its own way. Networks that are only slow, and those on which nothing goes through, are two of a kind: each client has one
of the two, and each of the two has HTTP and what is not HTTP."""


def combined(faults: Iterable[str]) -> Any:
    """Each fault with its places."""
    found = [(place, fault) for fault in faults for place in WHERE.get(fault, EVERY)]
    return pytest.mark.parametrize(("place", "fault"), found, indirect=["place"])


@dataclass
class Reference:
    """An undisturbed export on this machine: its input, its files by name, and its manifest."""

    source: Path
    files: dict[str, bytes]
    manifest: dict[str, Any]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    numbers = random.Random(7)
    records = [{"_key": n, "text": numbers.randbytes(500).hex()} for n in range(FILES * PER_FILE)]
    source = folder / "in"
    source.mkdir()
    for n in range(FILES):
        (source / f"{n}.jl.gz").write_bytes(gzip.compress(jsonl(records[n::FILES]), 1, mtime=0))
    report = exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": {"dir": str(source)}}},
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/p-", "items_per_buffer_write": PER_FILE}},
    })  # fmt: skip
    manifest = json.loads(Path(report.manifest).read_text())
    return Reference(source, {f"out/{path.name}": path.read_bytes() for path in (folder / "out").glob("p-*")}, manifest)


@pytest.fixture
def run(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a config by the command line; what fails is told in one sentence. Patience is short."""
    monkeypatch.chdir(tmp_path)
    for module in ("s3", "gcs", "azure_blob", "sftp", "ftp"):
        monkeypatch.setattr(f"exporters_beam.storages.{module}.SILENCE", 1.5, raising=False)
    monkeypatch.setattr("exporters_beam.storages.gcs.RETRY_SECONDS", 2.0, raising=False)

    def run(config: dict[str, Any], *args: str) -> int:
        Path("config.json").write_text(json.dumps(config))
        capfd.readouterr()
        status = main(["run", "config.json", "--quiet", *args])
        told = capfd.readouterr().err
        lines = [line for line in told.splitlines() if line.startswith("error: ")]
        print(told)
        assert "Traceback" not in told
        assert (status, len(lines)) in ((0, 0), (1, 1)), told
        return status

    return run


def base(request: pytest.FixtureRequest) -> str:
    return "/data/" if request.node.callspec.params["place"] == "vsftpd" else ""


def finished(run: Callable[..., int], config: dict[str, Any], network: Any, row: Counted, fatal: bool = False) -> None:
    """Runs an export through a fault, without it where it has failed, and counts."""
    status = run(config)
    row.tries += 1
    network.heal()
    if status == 0:
        assert not fatal
        row.passed += 1
        return
    # `os.walk` does not mind what a server puts away meanwhile.
    found = [folder for folder, _, names in os.walk(Path.cwd()) if "manifest.json" in names]
    assert not found, "a failed export has a manifest"
    row.resumed += 1
    plain = {name: section for name, section in config.items() if name != "exporter_options"}
    staged = any(Path.cwd().rglob("*.segment"))  # It may have failed before it had read anything.
    assert run(plain, *(["--resume"] if staged else [])) == 0


def delivered_once(place: Place, root: str, reference: Reference, row: Counted) -> None:
    """The files and the manifest of the undisturbed export, and nothing besides."""
    storage = place.storage()
    (path,) = (Path.cwd() / "state").rglob("manifest.json")
    there = json.loads(path.read_text())
    assert verify(str(path), storage)[0] == []
    found = {file.name.removeprefix(root): place.get(file.name) for file in storage.names(f"{root}out/")}
    seen = Counter(json.loads(line)["_key"] for data in found.values() for line in gzip.decompress(data).splitlines())
    lost = [n for n in range(FILES * PER_FILE) if not seen[n]]
    row.lost += len(lost)
    row.duplicated += sum(seen.values()) - len(seen)
    assert not lost and sum(seen.values()) == len(seen)
    assert found == reference.files
    here = dict(reference.manifest)
    for name in ("export", "checksum", "filebase"):
        del there[name]
        here.pop(name, None)
    names = {f"{root}{name}" for name in reference.files}
    assert {file["name"] for file in there["files"]} == {storage.url(name) for name in names}
    for manifest in (there, here):
        manifest["files"] = [{**file, "name": file["name"].rpartition("/")[2]} for file in manifest["files"]]
    # On a bad network this may be all that is not known.
    told = [text for text in there["warnings"] if not text.startswith("the manifest of the run before cannot be read")]
    assert {**there, "warnings": told} == here
    if isinstance(place.made, Path):
        assert not list(place.made.rglob("*.part"))
    elif place.kind == "sftp":
        assert not list(place.made.folder.rglob("*.part"))
    elif place.kind == "s3":
        assert not place.made.list_multipart_uploads(Bucket=place.options["bucket"]).get("Uploads")


def delivering(place: Place, reference: Reference, root: str = "", **sections: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": str(reference.source)}}},
        "writer": place.writer(f"{root}out/p-", items_per_buffer_write=PER_FILE),
        **sections,
    }


def row_of(request: pytest.FixtureRequest, fault: str) -> Counted:
    place = request.node.callspec.params["place"].removeprefix("own_")
    return TABLE.setdefault((SERVERS[place], fault), Counted())


@combined(FAULTS)
def test_delivering(place: Place, fault: str, network: Network, reference: Reference, run, request):
    row, root, given = row_of(request, f"delivering, {fault}"), base(request), FAULTS[fault]
    for kind, attributes in given.toxics:
        network.spoil(kind, **attributes)
    finished(run, delivering(place, reference, root), network, row, given.fatal)
    delivered_once(place, root, reference, row)


@every
def test_a_connection_falls_silent_in_the_middle_of_an_upload(
    place: Place, network: Network, reference: Reference, run, request, monkeypatch
):
    row, root = row_of(request, "delivering, silence"), base(request)
    at_upload(monkeypatch, place, 2, 100_000, lambda: network.spoil("timeout", timeout=0))
    config = delivering(place, reference, root, exporter_options={"disable_retries": True})
    finished(run, config, network, row, fatal=True)
    delivered_once(place, root, reference, row)


READING = ("slow link", "cut answers", "reset", "answers always cut")


@combined(READING)
def test_reading(place: Place, fault: str, network: Network, reference: Reference, run, request, tmp_path):
    row, root = row_of(request, f"reading, {fault}"), base(request)
    for path in sorted(reference.source.iterdir()):
        place.put(f"{root}in/{path.name}", path.read_bytes())
    given = {
        **FAULTS,
        "cut answers": Fault((("limit_data", {"bytes": 150_000, "toxicity": 0.4, **ANSWERS}),)),
        "reset": Fault(
            (("bandwidth", {"rate": 1000, **ANSWERS}), ("reset_peer", {"timeout": 150, "toxicity": 0.4, **ANSWERS}))
        ),
        "answers always cut": Fault((("limit_data", {"bytes": 20_000, **ANSWERS}),), fatal=True),
    }[fault]  # fmt: skip
    for kind, attributes in given.toxics:
        network.spoil(kind, **attributes)
    out = {"name": "fs", "options": {"filebase": f"{tmp_path}/out/p-", "items_per_buffer_write": PER_FILE}}
    finished(run, {"reader": place.source(f"{root}in"), "writer": out}, network, row)
    found = {f"out/{path.name}": path.read_bytes() for path in (tmp_path / "out").glob("p-*")}
    seen = Counter(json.loads(line)["_key"] for data in found.values() for line in gzip.decompress(data).splitlines())
    row.lost += sum(not seen[n] for n in range(FILES * PER_FILE))
    row.duplicated += sum(seen.values()) - len(seen)
    assert found == reference.files
