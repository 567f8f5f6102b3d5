"""Files that are encrypted with OpenPGP before they are delivered."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.components.pgp import Recipients, certificate
from exporters_beam.config.spec import load
from exporters_beam.engine.encrypting import Sealed, sealed
from exporters_beam.errors import ConfigError, DestinationError
from exporters_beam.planning.explain import text
from exporters_beam.planning.plan import make
from exporters_beam.records import PlannedFile
from exporters_beam.reporting.verify import verify
from exporters_beam.runners.checks import checks
from exporters_beam.staging.run import Run
from exporters_beam.staging.segments import Staging
from exporters_beam.writers.fs import FsWriter

from helpers import jsonl, write_gz

pysequoia = pytest.importorskip("pysequoia")

KEYS = Path(__file__).parent / "keys"
RECORDS = [{"n": n, "g": "ab"[n % 2], "text": "x" * 50} for n in range(20)]
Go = Callable[..., Any]


@pytest.fixture(scope="module")
def owners() -> tuple[Any, Any]:
    """Two who have keys."""
    one, two = (pysequoia.Tsk.generate(f"{name} <{name}@example.org>") for name in ("one", "two"))
    return one, two


@pytest.fixture
def run(tmp_path: Path, owners: tuple[Any, Any]) -> Go:
    """Runs an export of the records by `g`, in files of four, encrypted to one; gives the report."""
    (tmp_path / "in.jl").write_bytes(jsonl(RECORDS))
    (tmp_path / "nothing.jl").touch()
    (tmp_path / "one.pgp").write_bytes(bytes(owners[0].extract_certificate()))

    def go(source: str = "in", to: str = "out", resume: bool = False, **sections: Any) -> Any:
        config = {
            "reader": {"name": "fs", "options": {"input": f"{tmp_path}/{source}.jl"}},
            "partition_by": ["g"],
            "encrypt": {"pgp": [f"{tmp_path}/one.pgp"]},
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/{to}/part-", "items_per_buffer_write": 4}},
            "exporter_options": {"resume": resume},
            **sections,
        }
        return exporters_beam.run({name: part for name, part in config.items() if part is not None})

    return go


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".exporters" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


def opened(data: bytes, owner: Any) -> bytes:
    found = pysequoia.decrypt(data, owner.decryptor()).bytes
    assert isinstance(found, bytes)
    return found


def plain(folder: Path, owner: Any) -> dict[str, bytes]:
    return {name.removesuffix(".pgp"): opened(data, owner) for name, data in files(folder).items()}


def test_all_recipients_read_what_is_delivered_otherwise(run: Go, tmp_path: Path, owners: tuple[Any, Any]) -> None:
    run(to="plain", encrypt=None)
    expected = files(tmp_path / "plain")
    keys = [f"{tmp_path}/one.pgp", str(owners[1].extract_certificate())]
    report = run(encrypt={"pgp": keys}, done={"success_file": "_SUCCESS", "manifest": "files.json"})
    found = files(tmp_path / "out")
    assert found.pop("_SUCCESS") == b"", "what says that all is there is not encrypted"
    told = {file["name"]: file for file in json.loads(found.pop("files.json"))["files"]}
    assert [*found] == [f"{name}.pgp" for name in expected] == [*told] and len(found) == 6
    for name, data in expected.items():
        sent = found[f"{name}.pgp"]
        assert [opened(sent, owner) for owner in owners] == [data, data]
        file = told[f"{name}.pgp"]
        assert (file["bytes"], file["md5"]) == (len(sent), hashlib.md5(sent).hexdigest())
        assert file["plain"] == {"bytes": len(data), "md5": hashlib.md5(data).hexdigest()}
    assert verify(report.manifest)[0] == []
    (tmp_path / "out" / next(iter(found))).write_bytes(b"x")
    assert "it has 1 bytes" in verify(report.manifest)[0][0]
    assert [*(tmp_path / "out/.exporters").rglob("encrypted-*")] == []


@pytest.fixture
def gpg() -> Iterator[Callable[..., bytes]]:
    """Runs gpg in a home of its own."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    home = tempfile.mkdtemp(prefix="gpg")  # Sockets have short paths.

    def go(*arguments: str, data: bytes | None = None) -> bytes:
        command = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        return subprocess.run([*command, *arguments], input=data, capture_output=True, check=True).stdout

    yield go
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True, check=False)
    shutil.rmtree(home, ignore_errors=True)


def test_gpg_reads_it(run: Go, tmp_path: Path, gpg: Callable[..., bytes]) -> None:
    gpg("--quick-gen-key", "customer@example.org", "rsa2048", "sign,encrypt", "1y")
    (tmp_path / "customer.asc").write_bytes(gpg("--armor", "--export", "customer@example.org"))
    run(to="plain", encrypt=None, partition_by=None)
    run(encrypt={"pgp": [f"{tmp_path}/customer.asc"], "ending": ".gpg"}, partition_by=None)
    found = {name: gpg("--decrypt", data=data) for name, data in files(tmp_path / "out").items()}
    assert found == {f"{name}.gpg": data for name, data in files(tmp_path / "plain").items()} and len(found) == 5


@pytest.mark.parametrize("bundle", [None, {"name": "all.zip"}])
def test_a_run_that_is_resumed_sends_the_same_file(
    bundle: Any, run: Go, tmp_path: Path, owners: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, sent = FsWriter.publish, list[bytes]()

    def failing(self: FsWriter, file: Any, fill: Any, scratch: str) -> Any:
        out = BytesIO()
        fill(out)
        sent.append(out.getvalue())
        if len(sent) == (1 if bundle else 2):
            raise DestinationError("the connection was lost")
        return publish(self, file, fill, scratch)

    with monkeypatch.context() as patch, pytest.raises(DestinationError, match="connection was lost"):
        patch.setattr(FsWriter, "publish", failing)
        run(bundle=bundle)
    assert len(sent) < 3
    report = run(bundle=bundle, resume=True)
    found = files(tmp_path / "out")
    assert report.resumed == 20 and set(sent) <= set(found.values()), "what was sent before is sent again"
    assert verify(report.manifest)[0] == []
    if bundle:
        assert [*found] == ["all.zip.pgp"] and len(report.files[0]["members"]) == 6
        with zipfile.ZipFile(BytesIO(opened(found["all.zip.pgp"], owners[0]))) as archive:
            assert archive.testzip() is None and archive.namelist()[0] == "g=a/part-0000.jl.gz"
    else:
        run(to="plain", encrypt=None)
        assert plain(tmp_path / "out", owners[0]) == files(tmp_path / "plain")


def test_a_key_that_is_a_secret_is_asked_for_by_workers(
    run: Go, tmp_path: Path, owners: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTOMER", str(owners[1].extract_certificate()))
    run("nothing", encrypt={"pgp": ["${secret:env:CUSTOMER}"]}, partition_by=None, empty="file")
    (data,) = files(tmp_path / "out").values()
    assert opened(data, owners[1])[:2] == b"\x1f\x8b"
    monkeypatch.setenv("CUSTOMER", str(owners[1]))
    with pytest.raises(ConfigError, match=r"encrypt\.pgp\[0\]: this is a private key, which belongs") as raised:
        run(encrypt={"pgp": ["${secret:env:CUSTOMER}"]})
    assert "BEGIN" not in str(raised.value)
    monkeypatch.delenv("CUSTOMER")
    with pytest.raises(exporters_beam.ExportError, match=r"encrypt\.pgp\[0\]: .*the environment variable CUSTOMER is not set"):
        run(encrypt={"pgp": ["${secret:env:CUSTOMER}"]})


def test_two_that_encrypt_a_file_at_once_send_the_first(tmp_path: Path, owners: tuple[Any, Any]) -> None:
    run = Run("id", Staging(f"{tmp_path}/staged"), f"{tmp_path}/scratch", f"{tmp_path}/books")
    one, other = (
        sealed(FsWriter(filebase=f"{tmp_path}/out/a-"), Recipients((str(owners[0].extract_certificate()),)), run)
        for _ in range(2)
    )
    assert isinstance(one, Sealed) and isinstance(other, Sealed)
    file = PlannedFile(f"{tmp_path}/out/a", (), 0, 1, ())
    sent = []
    for writer in (one, other):
        told = writer.publish(file, lambda out: out.write(b"the same") and None, run.scratch)
        assert told.plain == (8, hashlib.md5(b"the same").hexdigest())
        sent.append((tmp_path / "out/a").read_bytes())
    assert sent[0] == sent[1]
    source, path = tmp_path / "source", tmp_path / "staged" / "encrypted"
    source.write_bytes(b"the same")
    one._encrypt(str(source), str(path))
    first = path.read_bytes()
    other._encrypt(str(source), str(path))
    assert path.read_bytes() == first and opened(first, owners[0]) == b"the same"
    assert len([*(tmp_path / "staged").iterdir()]) == 2, "nothing is left half done"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_with_what_it_has_encrypted(workers: int, tmp_path: Path, owners: tuple[Any, Any]) -> None:
    for n in range(3):
        write_gz(tmp_path / f"in/{n}.jl.gz", RECORDS)
    (tmp_path / "one.asc").write_text(str(owners[0].extract_certificate()))
    asked = {"config": {
        "reader": {"name": "fs", "options": {"input": {"dir": f"{tmp_path}/in"}}},
        "partition_by": ["g"],
        "encrypt": {"pgp": [f"{tmp_path}/one.asc"]},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-", "items_per_buffer_write": 4}},
    }}  # fmt: skip
    command = [sys.executable, str(Path(__file__).parents[1] / "faults/child.py")]
    fault = {"call": "replace", "nth": 4, "how": "kill"}
    killed = subprocess.run([*command, json.dumps({**asked, "fault": fault})], capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    sent = files(tmp_path / "out")
    staged = {path.name: path.read_bytes() for path in (tmp_path / "out/.exporters").rglob("encrypted-*")}
    again = {
        "resume": True,
        "args": [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"][: 2 * (workers - 1)],
    }
    done = subprocess.run([*command, json.dumps({**asked, **again})], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = files(tmp_path / "out")
    assert 0 < len(sent) < len(staged) + 1 < len(found) and {*sent.items()} <= {*found.items()}
    assert {*staged.values()} <= {*found.values()}
    lines = [
        line for _, data in sorted(plain(tmp_path / "out", owners[0]).items()) for line in gzip.decompress(data).splitlines()
    ]
    assert sorted(json.loads(line)["n"] for line in lines) == sorted([*range(20)] * 3)


@pytest.mark.slow
def test_each_of_several_writers_has_its_own(run: Go, tmp_path: Path, owners: tuple[Any, Any]) -> None:
    def to(name: str, **more: Any) -> dict[str, Any]:
        return {"name": "fs", "as": name, "options": {"filebase": f"{tmp_path}/out/{name}-", "compression": "zip"}, **more}

    two = {"pgp": [str(owners[1].extract_certificate())], "ending": ".asc.gpg"}
    one = {"pgp": [f"{tmp_path}/one.pgp"]}
    writers = [to("open"), to("one", encrypt=one), to("two", encrypt=two)]
    run(encrypt=None, writer=None, writers=writers, partition_by=None)
    found = files(tmp_path / "out")
    assert [*found] == ["one-0000.jl.zip.pgp", "open-0000.jl.zip", "two-0000.jl.zip.asc.gpg"]
    for data in (found["open-0000.jl.zip"], opened(found["one-0000.jl.zip.pgp"], owners[0]),
                 opened(found["two-0000.jl.zip.asc.gpg"], owners[1])):  # fmt: skip
        with zipfile.ZipFile(BytesIO(data)) as archive:
            (name,) = archive.namelist()
            assert name.endswith("-0000.jl") and [*map(json.loads, archive.read(name).splitlines())] == RECORDS


def config(tmp_path: Path, encrypt: Any, **sections: Any) -> str:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"reader": {"name": "fs", "options": {"input": "in"}}, "encrypt": encrypt,
                                "writer": {"name": "fs", "options": {"filebase": "out/a-"}}, **sections}))  # fmt: skip
    return str(path)


def two_keys(owners: tuple[Any, Any]) -> bytes:
    return b"".join(bytes(owner.extract_certificate()) for owner in owners)


RENEWED, EXPIRED, REVOKED, SIGNING, NEGLECTED = (
    f"{KEYS}/{name}.asc" for name in ("renewed", "expired", "revoked", "signing", "neglected")
)
NO_PART = "encrypt.pgp[0]: nothing can be encrypted to the key"
MISTAKES = {
    "expired": ({"pgp": [EXPIRED]}, {}, "encrypt.pgp[0]: the key 83D61DC129CF4E0693DCDFD7EF97BE157E9F187A (Expired "
                "<expired@example.org>) expired on 2024-02-01"),
    "revoked": ({"pgp": [REVOKED]}, {}, "(Revoked <revoked@example.org>) was revoked by its owner"),
    "signs": ({"pgp": [SIGNING]}, {}, f"{NO_PART} 0BC1EBA0A92813B76BECAF3839DDE2F88536AEFE"),
    "a part expired": ({"pgp": [NEGLECTED]}, {}, f"{NO_PART} F692DE50D6326D49A9491CAE42138E49B6C7BB3E"),
    "the second": ({"pgp": [RENEWED, REVOKED]}, {}, "encrypt.pgp[1]: the key 7F0A73790D295B1427B7D5A1C"),
    "no key": ({"pgp": [__file__]}, {}, "encrypt.pgp[0]: this is not a public key of OpenPGP"),
    "nothing there": ({"pgp": ["nope.asc"]}, {}, "encrypt.pgp[0]: nope.asc: the public key cannot be read: No such file"),
    "private": ({"pgp": ["-----BEGIN PGP PRIVATE KEY BLOCK-----\nabc"]}, {}, "encrypt.pgp[0]: this is a private key"),
    "none": ({"pgp": []}, {}, "encrypt.pgp: give at least one public key"),
    "a name": ({"pgp": [RENEWED], "ending": "pgp"}, {}, 'encrypt.ending: "pgp" does not end a name'),
    "no files": ({"pgp": [RENEWED]}, {"writer": "console"}, "encrypt: the writer console delivers no files"),
    "misspelt": ({"gpg": ["a.asc"]}, {}, "encrypt.gpg: unknown option; did you mean"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encrypt, sections, told = MISTAKES[mistake]
    assert main(["validate", config(tmp_path, encrypt, **sections)]) == 2
    shown = capsys.readouterr().err
    assert told in shown and "stack" not in shown.lower() and "abc" not in shown


def test_files_of_keys_are_looked_into(tmp_path: Path, owners: tuple[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "private").write_bytes(bytes(owners[0]))
    (tmp_path / "two").write_bytes(two_keys(owners))
    (tmp_path / "good").write_bytes(bytes(owners[0].extract_certificate()))
    assert main(["validate", config(tmp_path, {"pgp": [f"{tmp_path}/{name}" for name in ("private", "two", "good")]})]) == 2
    shown = capsys.readouterr().err
    assert (
        "encrypt.pgp[0]: this is a private key" in shown
        and "pgp[1]: 2 public keys are in it" in shown
        and "pgp[2]" not in shown
    )


def test_what_has_expired_of_a_key_is_not_used() -> None:
    from pysequoia.packet import PacketPile, Tag

    key = (KEYS / "renewed.asc").read_bytes()
    message = pysequoia.encrypt(b"", recipients=[certificate(key)], armor=False)
    ids = [packet.key_id for packet in PacketPile.from_bytes(key) if packet.tag == Tag.PublicSubkey]
    assert bytes.fromhex(ids[0]) in message and bytes.fromhex(ids[1]) not in message


def test_explain_and_preview_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(jsonl(RECORDS))
    path = config(tmp_path, {"pgp": [f"{KEYS}/renewed.asc"]})
    plan = make(load(path), datetime(2026, 1, 1))
    assert "encrypt: each file is encrypted to 1 key of OpenPGP" in text(plan)
    assert main(["preview", path]) == 0
    assert "file name: out/a-0000.jl.gz.pgp" in capsys.readouterr().out
    other = make(load(config(tmp_path, {"pgp": [f"{KEYS}/signing.asc"]})), datetime(2026, 1, 1))
    assert plan.export_id != other.export_id, "to others it is another export"
    (why,) = [why for what, why in checks(load(path)) if what == "encrypt pgp"]
    assert NO_PART in why
    assert sorted(os.listdir(tmp_path)) == ["c.json", "in"], "nothing is written"
