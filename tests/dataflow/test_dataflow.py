"""Exports on Dataflow, with a stand-in for the service: what is asked for, what is staged, and the same files as here."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import yaml

from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make
from exporters_beam.runners.options import job_name
from exporters_beam.runners.support import settled

from helpers import visible, write_gz
from stub import Dataflow, serving

pytestmark = pytest.mark.dataflow

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Dataflow]:
    with serving(Dataflow(tmp_path)) as service:
        yield service


def config(folder: Path, out: str, **sections: Any) -> Path:
    """A config that filters, changes, groups and splits, delivering to `out`."""
    source = folder / "in"
    if not source.exists():
        for n in range(3):
            records = [
                {"id": n * 1000 + i, "town": f"t{i % 3}", "price": i * 1.5, "tags": [i, {"é": None}]} for i in range(200)
            ]
            write_gz(source / f"part-{n}.jl.gz", records)
    document = {
        "label": "Products, Ürün & Co.",
        "reader": {"name": "fs", "options": {"input": {"dir": str(source)}}},
        "filter_before": {"name": "pythonexp", "options": {"python_expression": "item['id'] % 7"}},
        "transform": {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item['id'] * 2)"]}},
        "grouper": {"name": "file_key", "options": {"keys": ["town"]}},
        "writer": {
            "name": "fs",
            "options": {"filebase": f"{folder / out}/{{groups[0]}}/part-", "items_per_buffer_write": 60},
        },
        **sections,
    }
    path = folder / f"{out}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in document.items() if value}), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in visible(folder).items()}


def text(error: pytest.ExceptionInfo[ConfigError]) -> str:
    return str(error.value)


# The same files


@pytest.mark.parametrize("sections", [
    {},
    {"filter_after": {"name": "dupe", "options": {"key_field": "price"}}},
    {"formatter": {"name": "csv", "options": {"fields": ["id", "n"]}}, "grouper": None, "filebase": "part-"},
], ids=["grouped", "dedupe", "csv"])  # fmt: skip
def test_a_job_delivers_the_same_files_as_a_local_run(service, tmp_path, capsys, sections):
    files = sections.pop("filebase", "{groups[0]}/part-") if "filebase" in sections else "{groups[0]}/part-"
    for out in ("here", "there"):
        sections["writer"] = {"name": "fs", "options": {"filebase": f"{tmp_path / out}/{files}"}}
        config(tmp_path, out, **sections)
    assert main(["run", str(tmp_path / "here.yaml"), "--quiet"]) == 0
    assert main(["run", str(tmp_path / "there.yaml"), "--report", str(tmp_path / "r.json"), *service.args]) == 0
    assert contents(tmp_path / "here") == contents(tmp_path / "there") != {}
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["runner"] == "DataflowRunner" and report["counts"]["read"] == 600
    assert main(["verify", report["manifest"]]) == 0


def test_a_streaming_job_delivers_the_same_files(service, tmp_path, capsys, caplog):
    for out in ("here", "there"):
        config(tmp_path, out)
    assert main(["run", str(tmp_path / "here.yaml"), "--quiet"]) == 0
    assert main(["run", str(tmp_path / "there.yaml"), "--report", str(tmp_path / "r.json"), *service.args, "--streaming"]) == 0
    assert contents(tmp_path / "here") == contents(tmp_path / "there") != {}
    assert service.request["type"] in ("JOB_TYPE_STREAMING", 2)
    assert "Dataflow tries a record that fails for ever" in caplog.text
    assert json.loads((tmp_path / "r.json").read_text())["counts"]["read"] == 600


def test_explain_tells_what_is_chosen_and_asks_nobody(service, tmp_path, capsys):
    path = config(tmp_path, "out")
    assert main(["explain", str(path), *service.args, "--streaming"]) == 0
    told, plan = capsys.readouterr().out, make(load(path))
    assert f"- --job_name=products-urun-co-{plan.export_id[:8]}: Dataflow refuses a second job of this name" in told
    assert f"- --labels=export={plan.export_id}: which export it is\n" in told
    assert "- --streaming: Dataflow tries a record that fails for ever" in told
    assert service.asked == [] and not (tmp_path / "staged").exists() and not (tmp_path / "out").exists()
    assert main(["explain", str(path), *without_image(service)]) == 2
    assert "--sdk_container_image=IMAGE" in capsys.readouterr().err


def test_everything_that_is_asked_for_stands_in_the_request(service, tmp_path):
    service.executes = False
    path = config(tmp_path, "out")
    args = [*service.args, "--labels=team=data", "--num_workers=2", "--max_num_workers=5", "--machine_type=n2-standard-4",
            "--disk_size_gb=50", "--service_account_email=runner@my-project.iam.gserviceaccount.com", "--network=net",
            "--subnetwork=regions/europe-west1/subnetworks/sub", "--no_use_public_ips", "--worker_zone=europe-west1-b",
            "--autoscaling_algorithm=THROUGHPUT_BASED", "--dataflow_kms_key=key", "--experiments=shuffle_mode=service",
            "--dataflow_service_options=enable_prime"]  # fmt: skip
    assert main(["submit", str(path), *args]) == 0
    request, plan = service.request, make(load(path))
    environment = request["environment"]
    (pool,) = environment["workerPools"]
    assert (request["project"], request["region"]) == ("my-project", "europe-west1")
    assert request["name"] == f"products-urun-co-{plan.export_id[:8]}"
    assert request["labels"] == {"exporters-beam": "0-1-0", "export": plan.export_id, "team": "data"}
    assert environment["serviceAccountEmail"] == "runner@my-project.iam.gserviceaccount.com"
    assert environment["serviceKmsKeyName"] == "key" and environment["workerZone"] == "europe-west1-b"
    assert "shuffle_mode=service" in environment["experiments"] and "enable_prime" in environment["serviceOptions"]
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"]) == (2, 5)
    assert pool["machineType"] == "n2-standard-4" and pool["diskSizeGb"] == 50
    assert (pool["network"], pool["subnetwork"]) == ("net", "regions/europe-west1/subnetworks/sub")
    assert pool["ipConfiguration"] in (2, "WORKER_IP_PRIVATE")
    assert pool["workerHarnessContainerImage"] == "registry.example/exports:1"


def test_a_job_that_fails_says_what_failed(service, tmp_path, capsys):
    service.slowly = True
    path = config(tmp_path, "out", filter_before={"name": "pythonexp", "options": {"python_expression": "item['no']"}})
    assert main(["run", str(path), *service.args]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(r"error: .*/part-\d\.jl\.gz: record 1: filter_before: KeyError: 'no' in item\['no'\]\n", told)
    assert visible(tmp_path / "out") == {}


def test_a_service_that_refuses_is_heard(service, tmp_path, capsys):
    service.refuse = (403, "my-project has not enabled Dataflow")
    assert main(["submit", str(config(tmp_path, "out")), *service.args]) == 1
    assert "my-project has not enabled Dataflow" in capsys.readouterr().err


def test_submit_prints_the_job_and_does_not_wait(service, tmp_path, capsys):
    service.executes = False
    path = config(tmp_path, "out")
    assert main(["submit", str(path), *service.args]) == 0
    job, place = capsys.readouterr().out.split()
    assert job == "2026-01-01_00_00_00-1"
    assert main(["status", place, "--no_auth"]) == 0
    assert capsys.readouterr().out.endswith(": running since 2026-01-01T00:00:00Z\n")
    assert main(["submit", str(path), *service.args]) == 1, "the same export is under way"
    assert "already active job" in capsys.readouterr().err
    assert main(["cancel", place, "--no_auth"]) == 0
    capsys.readouterr()
    assert main(["status", place, "--no_auth", "--watch"]) == 1
    assert capsys.readouterr().out.endswith(": cancelled\n")


def test_a_submitted_job_is_resumed(service, tmp_path, capsys, caplog):
    """What a job staged before it failed is taken in by the next one."""
    path = config(tmp_path, "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "t1").write_text("a file where a folder has to be")
    assert main(["submit", str(path), *service.args]) == 0
    place = capsys.readouterr().out.split()[1]
    assert main(["status", place, "--no_auth", "--watch"]) == 1
    (tmp_path / "out" / "t1").unlink()
    assert main(["submit", str(path), "--resume", *service.args]) == 0
    assert main(["run", str(config(tmp_path, "here"))]) == 0
    assert contents(tmp_path / "here") == contents(tmp_path / "out") != {}
    first, second = ((tmp_path / "workers" / f"{job}.pb").read_bytes() for job in sorted(service.jobs))
    assert b"Earlier" in second and b"Earlier" not in first
    assert main(["submit", str(path), "--resume", *service.args]) == 0
    assert "the export is complete already" in caplog.text


def test_staging_on_gcs(service, tmp_path, monkeypatch):
    with gcs(monkeypatch) as host:
        urlopen(Request(f"{host}/storage/v1/b?project=my-project", b'{"name": "bucket"}', {"Content-Type": "application/json"}))
        for out in ("here", "there"):
            config(tmp_path, out)
        args = [*service.args, "--temp_location=gs://bucket/tmp", "--staging_location=gs://bucket/staging"]
        assert main(["run", str(tmp_path / "here.yaml"), "--quiet"]) == 0
        assert main(["run", str(tmp_path / "there.yaml"), *args]) == 0
        assert contents(tmp_path / "here") == contents(tmp_path / "there") != {}
        (options,) = [service.options(job) for job in service.jobs]
        assert options["pipelineUrl"].startswith("gs://bucket/staging/")


class gcs:
    """A storage emulator, and the variable that leads Google's clients to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.monkeypatch = monkeypatch

    def __enter__(self) -> str:
        host = f"http://127.0.0.1:{self.port}"
        code = "import sys; from gcp_storage_emulator.__main__ import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "start", "--host=127.0.0.1", f"--port={self.port}", "--in-memory", "-q"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self.process.poll() is None:
            try:
                urlopen(f"{host}/storage/v1/b?project=my-project", timeout=5).close()
                break
            except URLError:
                continue
        self.monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
        return host

    def __exit__(self, *error: Any) -> None:
        self.process.terminate()
        self.process.wait()


# Secrets


def test_secrets_are_read_by_the_workers_and_are_in_nothing_that_is_staged(service, tmp_path, monkeypatch):
    monkeypatch.setenv("CANARY", "canary-of-the-launcher")
    service.environ["CANARY"] = "canary-of-the-workers"
    for name, options in (("fallback", {}), ("reference", {"token": "${secret:env:CANARY}"})):
        path = config(tmp_path, name, filter_before={"name": "guarded:Guarded", "options": options})
        assert main(["run", str(path), *service.args]) == 0
    for file in (*(tmp_path / "staged").rglob("*"), *(tmp_path / "workers").glob("*.pb")):
        assert b"canary-of-" not in unpacked(file.read_bytes()), file
    assert "canary-of-" not in json.dumps([body for _, _, body in service.asked])


def unpacked(data: bytes) -> bytes:
    """The data, and all that is packed in it: Beam compresses pickled functions and writes them as base64."""
    found = data
    for text in re.findall(rb"[A-Za-z0-9+/=]{40,}", data):
        with suppress(ValueError, zlib.error):
            found += zlib.decompress(base64.b64decode(text))
    return found


def test_a_secret_that_stands_in_the_config_is_warned_of_and_never_put_in_a_template(service, tmp_path, capsys, caplog):
    service.executes = False
    path = config(tmp_path, "out", filter_before={"name": "guarded:Guarded", "options": {"token": "in-the-config"}})
    assert main(["submit", str(path), *service.args]) == 0
    assert "filter_before.options.token: this secret would be staged" in caplog.text
    assert main(["submit", str(path), *service.args, f"--template_location={tmp_path / 'template'}"]) == 2
    told = capsys.readouterr().err
    assert all(f"${{secret:{kind}:" in told for kind in ("gcp", "env", "file"))
    assert "in-the-config" not in told and not (tmp_path / "template").exists()


# How the workers get the package


def staged_names(service: Dataflow) -> set[str]:
    return {package["name"] for package in service.request["environment"]["workerPools"][0]["packages"]}


def without_image(service: Dataflow) -> list[str]:
    return [arg for arg in service.args if not arg.startswith("--sdk_")]


def test_the_package_comes_by_image(service, tmp_path):
    service.executes = False
    assert main(["submit", str(config(tmp_path, "out")), *service.args]) == 0
    assert staged_names(service) <= {"submission_environment_dependencies.txt"}
    assert service.request["environment"]["workerPools"][0]["sdkHarnessContainerImages"][0]["containerImage"] == (
        "registry.example/exports:1"
    )


def test_the_package_comes_by_setup_file(service, tmp_path):
    service.executes = False
    args = [*without_image(service), f"--setup_file={ROOT / 'setup.py'}"]
    assert main(["submit", str(config(tmp_path, "out")), *args]) == 0
    assert "workflow.tar.gz" in staged_names(service)
    with tarfile.open(tmp_path / "staged" / "workflow.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "exporters_beam/engine/graph.py",
        "transforms/steps.py",
        "transforms/expressions/compile.py",
        "setup.py",
    } <= names
    image = service.request["environment"]["workerPools"][0]["workerHarnessContainerImage"]
    assert "beam_python" in image


def test_the_package_comes_by_extra_package(service, tmp_path):
    service.executes = False
    wheel = tmp_path / "exporters_beam-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("exporters_beam/__init__.py", "")
    args = [*without_image(service), f"--extra_package={wheel}"]
    assert main(["submit", str(config(tmp_path, "out")), *args]) == 0
    assert {wheel.name, "extra_packages.txt"} <= staged_names(service)
    assert (tmp_path / "staged" / "extra_packages.txt").read_text().split() == [wheel.name]


def refused(service: Dataflow, path: Path, *args: str, without: str = "") -> str:
    """What is said, in a sentence, before anything is asked for or staged."""
    given = [arg for arg in service.args if not (without and arg.startswith(without))]
    with pytest.raises(ConfigError) as error:
        settled(make(load(path)), [*given, *args])
    (problem,) = error.value.problems
    assert service.asked == [] and not (service.folder / "staged").exists()
    return str(problem)


def test_options_that_cannot_work_are_refused_before_anything_starts(service, tmp_path):
    path = config(tmp_path, "out")
    (tmp_path / "setup.py").write_text("from setuptools import setup; setup(name='mine')")
    (tmp_path / "other-1.0.tar.gz").write_bytes(b"")

    def says(*args: str, without: str = "") -> str:
        return refused(service, path, *args, without=without)

    assert "--sdk_container_image=IMAGE" in says(without="--sdk_")
    assert "--sdk_container_image=IMAGE" in says(f"--extra_package={tmp_path / 'other-1.0.tar.gz'}", without="--sdk_")
    assert "there is no file 'no/setup.py'" in says("--setup_file=no/setup.py")
    assert "neither a setup.py nor" in says(f"--setup_file={tmp_path / 'out.yaml'}")
    assert "does not ask for exporters-beam" in says(f"--setup_file={tmp_path / 'setup.py'}", without="--sdk_")
    assert "there is no file 'gone.whl'" in says("--extra_package=gone.whl")
    assert "give an sdist" in says("--extra_package=package.txt")
    assert "there is no file 'sdk.tar.gz'" in says("--sdk_location=sdk.tar.gz")
    assert "--project=PROJECT" in says(without="--project")
    assert "is not a project ID" in says("--project=12345")
    assert "--region=REGION" in says(without="--region")
    assert "--temp_location=gs://" in says(without="--temp_location")
    assert "is not a valid name for a job" in says("--job_name=My_Job")
    assert "add --streaming and --job_name" in says("--update")
    assert "batch jobs only" in says("--streaming", "--flexrs_goal=COST_OPTIMIZED")
    assert "cannot exceed max_num_workers" in says("--num_workers=5", "--max_num_workers=3")


def test_a_staging_place_that_is_no_bucket_is_refused_for_the_real_service(service, tmp_path):
    args = ["--dataflow_endpoint=https://dataflow.googleapis.com"]
    with pytest.raises(ConfigError) as error:
        settled(make(load(config(tmp_path, "out"))), [*service.args, *args])
    assert "is not a folder of a bucket; write gs://BUCKET/FOLDER" in text(error) and "--no_auth" in text(error)
    with pytest.raises(ConfigError, match="write localhost instead of"):
        settled(make(load(config(tmp_path, "out"))), [*service.args, "--dataflow_endpoint=http://127.0.0.1:1"])


def test_paths_have_to_be_whole(service, tmp_path):
    path = config(tmp_path, "out", writer={"name": "fs", "options": {"filebase": "out/{groups[0]}/part-"}})
    assert "'out/{groups[0]}/part-' is not the whole path" in refused(service, path)
    step = {"name": "lookup", "options": {"file": "shops.csv", "key": "id"}}
    told = refused(service, config(tmp_path, "out", transform=step))
    assert "transform.options.file: 'shops.csv' is not the whole path" in told


def test_an_export_without_a_folder_needs_staging(service, tmp_path):
    path = config(tmp_path, "out", writer={"name": "console"}, grouper=None)
    assert "staging: on Dataflow this export needs a folder" in refused(service, path)


def test_the_command_line_exits_with_2_and_one_sentence(service, tmp_path, capsys):
    assert main(["run", str(config(tmp_path, "out")), *without_image(service)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith("error:")] == told and len(told) == 1
    assert not (tmp_path / "out").exists() and service.jobs == {}


def test_names_of_jobs_are_names_for_dataflow(tmp_path):
    for label in ("", "9 lives", "Ünïcode — 名前", "x" * 200, "-a-", "日本"):
        name = job_name(make(load({**yaml.safe_load(config(tmp_path, "out").read_text()), "label": label})))
        assert len(name) <= 63 and name[0].isalpha() and name.isascii() and name == name.lower().strip("-")
