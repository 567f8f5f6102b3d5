"""What tests run exports on: a Flink cluster, Prism. Installed once into the user's cache, ended with the tests."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "exporters-beam", "servers")
PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"


def load_script() -> Any:
    """templates/flink/cluster.py as a module."""
    spec = importlib.util.spec_from_file_location("flink_cluster_script", ROOT / "templates" / "flink" / "cluster.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


def python_path() -> str:
    """For processes that import this checkout, and functions of the tests."""
    return os.pathsep.join((str(ROOT), str(ROOT / "tests" / "flink")))


@contextmanager
def alone(name: str) -> Iterator[None]:
    """One process at a time installs what all of them use."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster that runs: one JobManager, two TaskManagers, a job server, a pool of workers."""
    with alone("flink"):
        problem = script.missing()
        if problem:
            pytest.skip(problem)
        script.install()
    cluster = script.Cluster(tmp_path_factory.mktemp("flink"))
    os.environ["PYTHONPATH"] = python_path()
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def prism() -> str:
    """The path of Beam's reference runner."""
    binary = CACHE / "prism" / "bin" / "prism"
    with alone("prism"):
        if binary.exists():
            return str(binary)
        if shutil.which("go") is None:
            pytest.skip("there is no go, which builds Prism: install Go, e.g. apt-get install golang")
        folders = {"GOBIN": "bin", "GOMODCACHE": "mod", "GOCACHE": "build"}
        env = {**os.environ, **{name: str(CACHE / "prism" / folder) for name, folder in folders.items()}}
        subprocess.run(["go", "install", PRISM], env=env, check=True)
    return str(binary)


def on_flink(cluster: Any, *more: str) -> list[str]:
    """Options that send an export to the cluster."""
    ports = cluster.state["ports"]
    return ["--runner=FlinkRunner", f"--flink_master=localhost:{ports['rest']}", f"--job_endpoint=localhost:{ports['job']}",
            "--environment_type=EXTERNAL", f"--environment_config=localhost:{ports['pool']}", *more]  # fmt: skip


def start_export(config: Path, *args: str) -> subprocess.Popen[str]:
    """`exporters-beam run CONFIG …` as a process of its own."""
    command = [sys.executable, "-m", "exporters_beam", "run", str(config), *args]
    path = os.pathsep.join(filter(None, (python_path(), os.environ.get("EXPORTERS_BEAM_TEST_PATH"))))
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def run_export(config: Path, *args: str) -> tuple[int, str]:
    """Its exit status and what it said. A run that hangs ends the test."""
    process = start_export(config, *args)
    try:
        said, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, said
