"""A Flex Template launched: parameters in, its main.py as a process of its own, a job request out, and the files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from exporters_beam.cli.main import main

from helpers import visible
from stub import Dataflow, serving

pytestmark = pytest.mark.dataflow

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Dataflow]:
    with serving(Dataflow(tmp_path)) as service:
        yield service


def launched(folder: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A template's launcher, as Dataflow starts it: python main.py --parameter=value … --beam_option=value …"""
    python = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "dataflow")])
    return subprocess.run([sys.executable, str(folder / "main.py"), *args], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": python, **environ})  # fmt: skip


def beam_args(service: Dataflow) -> list[str]:
    """What Dataflow gives the launcher: neither a runner nor the workers' image is needed."""
    return [arg for arg in service.args if not arg.startswith(("--runner", "--sdk_"))]


def test_the_shipped_template(service, tmp_path):
    shutil.copytree(ROOT / "templates" / "dataflow", tmp_path / "template")
    parameters = [
        f"--input={ROOT / 'templates/data'}",
        f"--filebase={tmp_path}/out/",
        "--category=hats",
        "--minimum_stock=3",
    ]
    ran = launched(tmp_path / "template", *parameters, *beam_args(service), "--job_name=hats-1", "--labels=team=data",
                   "--service_account_email=x@y.example", EXPORTERS_BEAM_IMAGE="registry.example/launcher:1")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == "2026-01-01_00_00_00-1"
    request = service.request
    pool = request["environment"]["workerPools"][0]
    assert request["name"] == "hats-1" and request["labels"]["team"] == "data"
    assert pool["workerHarnessContainerImage"] == "registry.example/launcher:1"
    assert request["environment"]["serviceAccountEmail"] == "x@y.example"
    assert not {"input", "filebase", "category"} & set(service.options("2026-01-01_00_00_00-1"))
    here = [f"--var={parameter[2:]}" for parameter in parameters]
    here[1] = f"--var=filebase={tmp_path}/here/"
    assert main(["run", str(ROOT / "templates/parameters.yaml"), *here]) == 0
    files = [{name: path.read_bytes() for name, path in visible(tmp_path / out).items()} for out in ("out", "here")]
    assert files[0] == files[1] != {}


def test_the_launcher_does_not_wait(service, tmp_path):
    service.executes = False
    shutil.copytree(ROOT / "templates" / "dataflow", tmp_path / "template")
    ran = launched(tmp_path / "template", f"--filebase={tmp_path}/out/", "--input=/data", *beam_args(service),
                   EXPORTERS_BEAM_IMAGE="registry.example/launcher:1")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert {method for method, _, _ in service.asked} == {"POST"}, "nobody asked how the job is"


def test_a_template_with_a_secret_stages_its_name_only(service, tmp_path):
    config = tmp_path / "export.yaml"
    config.write_text(yaml.safe_dump({
        "parameters": {"out": {"help": "where to deliver"}},
        "reader": {"name": "random", "options": {"number_of_items": 50, "seed": 1}},
        "filter_before": {"name": "guarded:Guarded", "options": {"token": "${secret:env:CANARY}"}},
        "writer": {"name": "fs", "options": {"filebase": "${vars.out}/part-"}},
    }))  # fmt: skip
    assert main(["template", "build", str(config), "--output", str(tmp_path / "template")]) == 0
    service.environ["CANARY"] = "canary-of-the-workers"
    ran = launched(tmp_path / "template", f"--out={tmp_path}/out", *beam_args(service), CANARY="canary-of-the-launcher",
                   EXPORTERS_BEAM_IMAGE="registry.example/launcher:1")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert list(visible(tmp_path / "out")) == ["part-0000.jl.gz"]
    places = [path for folder in ("staged", "template", "workers") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert not [path for path in places if b"canary-of-" in path.read_bytes()]
    assert "canary-of-" not in ran.stdout + ran.stderr + json.dumps([body for _, _, body in service.asked])


def test_a_launcher_says_what_is_wrong_and_starts_nothing(service, tmp_path):
    shutil.copytree(ROOT / "templates" / "dataflow", tmp_path / "template")
    ran = launched(tmp_path / "template", "--category=cats", *beam_args(service), EXPORTERS_BEAM_IMAGE="registry.example/x:1")
    assert ran.returncode == 2 and "'cats' is not one of: all, bags" in ran.stderr and service.asked == []
    ran = launched(tmp_path / "template", f"--filebase={tmp_path}/out/", "--input=/data", *beam_args(service))
    assert ran.returncode == 2 and "--sdk_container_image=IMAGE" in ran.stderr and service.asked == []


def test_a_classic_template_is_a_file_that_is_launched_later(service, tmp_path, capsys):
    config = tmp_path / "export.yaml"
    config.write_text(f"reader: {{name: random, options: {{number_of_items: 9, seed: 1}}}}\n"
                      f"writer: {{name: fs, options: {{filebase: {tmp_path}/out/part-}}}}\n")  # fmt: skip
    file = tmp_path / "template.json"
    assert main(["run", str(config), *service.args, f"--template_location={file}"]) == 0
    assert capsys.readouterr().out.startswith(f"{file}: written") and service.asked == []
    job = json.loads(file.read_text())
    assert job["environment"]["workerPools"][0]["workerHarnessContainerImage"] == "registry.example/exports:1"
    service.create("my-project", "europe-west1", job)
    assert list(visible(tmp_path / "out")) == ["part-0000.jl.gz"]


def test_metadata_is_what_googles_own_client_takes():
    from google.cloud import dataflow
    from google.protobuf import json_format

    told = json.loads((ROOT / "templates/dataflow/metadata.json").read_text())
    read = dataflow.TemplateMetadata()._pb
    json_format.ParseDict(told, read)
    assert [parameter.name for parameter in read.parameters] == ["input", "filebase", "category", "minimum_stock"]
    assert [option.value for option in read.parameters[2].enum_options][:2] == ["all", "bags"]
    spec = json.loads((ROOT / "templates/dataflow/spec.json").read_text())
    json_format.ParseDict(spec, dataflow.ContainerSpec()._pb)
