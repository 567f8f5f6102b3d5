"""Packages that come with a job: `--extra_package`, `--setup_file` and `--requirements_file`, installed for its workers.

Beam's container images do this; a pool of plain Python processes has to do it itself. What is staged goes, with pip,
into a virtual environment on top of the one that the pool runs in; jobs with the same packages share one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import venv
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
)
from apache_beam.portability.common_urns import artifact_roles

SECONDS = 30
"""So long the runner may take to answer."""

REQUIREMENTS, EXTRA, WORKFLOW = "requirements.txt", "extra_packages.txt", "workflow.tar.gz"
"""What Beam calls, when it stages them: a file of requirements, the list of extra packages, and what a setup file makes."""


class CannotInstall(Exception):
    """Packages of a job cannot be installed here; the text says why."""


class Environments:
    """The virtual environments of a pool, by what is installed in them."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="exporters-beam-workers-"))
        self._lock = threading.Lock()
        self._made: dict[str, str] = {}

    def python_for(self, worker: str, provision: str, artifacts: str) -> str:
        """The Python to start a worker with; ours where the job brings no packages. Raises CannotInstall, RpcError."""
        told = (("worker_id", worker),)
        with grpc.insecure_channel(provision) as channel:
            stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
            asked = beam_provision_api_pb2.GetProvisionInfoRequest()
            try:
                info = stub.GetProvisionInfo(asked, timeout=SECONDS, metadata=told).info
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.UNIMPLEMENTED:  # A runner that brings no packages.
                    return sys.executable
                raise
        names = {_staged_name(artifact) for artifact in info.dependencies}
        if not names & {REQUIREMENTS, EXTRA, WORKFLOW}:
            return sys.executable
        with self._lock:  # One at a time: workers of a job mostly want the same.
            return self._installed(info, info.artifact_endpoint.url or artifacts, told)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _installed(self, info: Any, artifacts: str, told: object) -> str:
        staged = Path(tempfile.mkdtemp(dir=self._folder, prefix="staged-"))
        try:
            with grpc.insecure_channel(artifacts) as channel:
                stub = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
                wanted = beam_artifact_api_pb2.ResolveArtifactsRequest(artifacts=info.dependencies)
                found = stub.ResolveArtifacts(wanted, timeout=SECONDS, metadata=told).replacements
                for artifact in found:
                    _fetch(stub, artifact, staged, told)
            key = _digest(staged)
            if key not in self._made:
                self._made[key] = _environment(self._folder / key, staged)
            return self._made[key]
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _staged_name(artifact: Any) -> str:
    if artifact.role_urn != artifact_roles.STAGING_TO.urn:
        return ""
    name = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload).staged_name
    return os.path.basename(name)


def _fetch(stub: Any, artifact: Any, folder: Path, told: object) -> None:
    name = _staged_name(artifact)
    if not name:
        return
    with open(folder / name, "wb") as out:
        for chunk in stub.GetArtifact(beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact), metadata=told):
            out.write(chunk.data)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name != "submission_environment_dependencies.txt":  # A list for people.
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _environment(folder: Path, staged: Path) -> str:
    """A virtual environment that sees all that this one has, and the staged packages before. Raises CannotInstall."""
    try:
        venv.create(folder, clear=True)
        python = str(folder / "bin" / "python")
        ours = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
        (library,) = folder.glob("lib/python*/site-packages")
        lines = [f"import site; site.addsitedir({place!r})" for place in ours]
        (library / "of-the-pool.pth").write_text("\n".join(lines) + "\n")
        for what in _wanted(staged):
            _pip(python, what)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return python


def _wanted(staged: Path) -> list[list[str]]:
    """What pip is to install, in the order in which Beam's images do it."""
    wanted = []
    if (staged / REQUIREMENTS).exists():
        wanted.append(["-r", str(staged / REQUIREMENTS), "--find-links", str(staged)])
    if (staged / EXTRA).exists():
        wanted += [[str(staged / os.path.basename(name))] for name in (staged / EXTRA).read_text().split()]
    if (staged / WORKFLOW).exists():
        wanted.append([str(staged / WORKFLOW)])
    return wanted


def _pip(python: str, what: list[str]) -> None:
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *what],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("ERROR:", "error:"))] or lines
        name = os.path.basename(what[1] if what[0] == "-r" else what[0])
        raise CannotInstall(f"pip cannot install {name}: {(errors or ['it says nothing'])[0][:300]}")
