"""Options of runners: profiles, what is chosen and refused for Flink, and what is said when a part is missing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.cli.main import main
from exporters_beam.config import spec
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import make
from exporters_beam.runners.options import merged
from exporters_beam.runners.support import settled

FLINK = ["--runner=FlinkRunner", "--flink_master=localhost:8081"]
RUNNERS = {
    "flink": {"flink_master": "far:8081", "streaming": True, "parallelism": 4, "savepoint_path": None},
    "mine": {"runner": "FlinkRunner", "experiments": ["a", "b"], "labels": {"team": "x"}},
    "wrong": {"deep": {"er": {"than": 1}}},
}


def config(folder: Path, **sections: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "random", "options": {"number_of_items": 10}},
        "writer": {"name": "fs", "options": {"filebase": f"{folder}/out/part-"}},
        **sections,
    }


def written(folder: Path, **sections: Any) -> str:
    path = folder / "export.json"
    path.write_text(json.dumps(config(folder, **sections)))
    return str(path)


def test_a_profile_gives_options_and_the_command_line_wins(tmp_path):
    loaded = spec.load(config(tmp_path, runners=RUNNERS))
    assert merged(loaded, None, ["--streaming"]) == ["--streaming"]
    assert merged(loaded, "flink", ["--parallelism", "2"]) == [
        "--runner=FlinkRunner", "--flink_master=far:8081", "--streaming", "--parallelism", "2"]  # fmt: skip
    assert merged(loaded, "mine", []) == [
        "--runner=FlinkRunner",
        "--experiments=a",
        "--experiments=b",
        "--labels=team=x",
    ]


@pytest.mark.parametrize(
    ("profile", "message"),
    [("flnk", 'no such profile; did you mean "flink"'), ("wrong", "runners.wrong.deep: wrong type")],
)
def test_a_profile_that_is_not_there_or_no_mapping_of_options(profile, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        merged(spec.load(config(tmp_path, runners=RUNNERS)), profile, [])


def test_on_flink_the_settings_that_keep_data_are_chosen_and_what_was_given_is_kept(tmp_path):
    plan = make(spec.load(config(tmp_path, persistence={"name": "pickle", "options": {
        "file_path": str(tmp_path / "state"), "checkpoint_seconds": 7}})))  # fmt: skip
    batch, decisions = settled(plan, FLINK)
    assert "--number_of_execution_retries=4" in batch and not any("checkpoint" in arg for arg in batch)
    streaming, decisions = settled(plan, [*FLINK, "--streaming", "--max_bundle_size=3"])
    chosen = set(streaming)
    assert {"--max_bundle_size=3", "--shutdown_sources_after_idle_ms=0", "--checkpointing_interval=7000"} <= chosen
    assert {"--unaligned_checkpoint_enabled", "--retain_externalized_checkpoints_on_cancellation"} <= chosen
    assert "--max_bundle_size=1" not in chosen
    folder = tmp_path / "state" / ".exporters" / plan.export_id / "checkpoints"
    assert f"--state_backend_storage_path=file://{folder}" in chosen
    assert any("never ends" in str(decision) for decision in decisions)
    assert not (tmp_path / "state").exists()


def test_of_two_values_the_last_holds_and_it_is_told(tmp_path):
    plan = make(spec.load(config(tmp_path)))
    assert [
        str(told) for told in settled(plan, ["--job_name=a", "--job_name", "b", "--experiments=x", "--experiments=y"])[1]
    ] == ["--job_name is given 2 times; the last holds, b"]


def test_explain_tells_what_is_chosen_and_why(tmp_path, capsys):
    assert main(["explain", written(tmp_path), *FLINK, "--streaming"]) == 0
    assert "- --shutdown_sources_after_idle_ms=0: with checkpoints and without it the job never ends" in capsys.readouterr().out
    assert main(["explain", written(tmp_path)]) == 0
    assert "- --" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--streaming", "--shutdown_sources_after_idle_ms=-1"], "never ends; leave it out"),
        (["--streaming", "--checkpointing_interval=0"], "leave it out, or give milliseconds"),
        (["--checkpointing_interval=1000"], "it goes with --streaming"),
        (["--savepoint_path=file:///x"], "it goes with --streaming"),
        (["--allow_non_restored_state"], "would be dropped"),
        (["--streaming", "--checkpointing_mode=AT_LEAST_ONCE"], "only EXACTLY_ONCE keeps"),
        (["--streaming", "--state_backend=rocksdb"], "it needs --state_backend_storage_path"),
        (["--parallelism=0"], "0 is too small"),
        (["--parallelism=x"], "invalid int value"),
        (["--parallelism=4", "--max_parallelism=2"], "more than --max_parallelism=2"),
        (["--max_bundle_size=many"], "'many' is not a whole number"),
        (["--streaming", "--unaligned_checkpoint_enabled=true"], "takes no value"),
        (["--environment_type=EXTERNAL"], "it needs --environment_config"),
        (["--environment_type=EXTRENAL"], "is not one of DOCKER"),
        (["--environment_type=LOOPBACK", "--flink_master=192.0.2.1:8081"], "does not reach them"),
        (["--flink_master=localhost"], "has no port"),
        (["--checkpoint_interval=5"], 'did you mean "checkpointing_interval"'),
        (["--flink_version=0.9"], "invalid choice"),
        (["--extra_package=gone.tar.gz"], "there is no file 'gone.tar.gz'; make it with: python -m build"),
        (["--extra_package=plugin"], "'plugin' is not a package; give an sdist"),
        (["--setup_file=gone/setup.py"], "there is no file 'gone/setup.py'"),
        (["--requirements_file=gone.txt"], "there is no file 'gone.txt'"),
        (["surplus", "--streaming"], "surplus: Beam's options begin with --"),
    ],
)
def test_what_would_lose_data_or_cannot_work_is_refused(args, message, tmp_path, capsys):
    assert main(["run", written(tmp_path), *FLINK, *args]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# What is missing is said before anything starts


def said(tmp_path: Path, capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What is said, within 30 s and with exit status 1, before anything starts."""
    started = time.monotonic()
    assert main(["run", written(tmp_path), "--runner=FlinkRunner", *args]) == 1
    assert time.monotonic() - started < 30
    assert not (tmp_path / "out").exists()
    return capsys.readouterr().err


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which something listens that never answers."""
    with socket.create_server(("localhost", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def cluster() -> Iterator[str]:
    """What Flink's REST interface says of itself, as far as it is asked."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {
                "/overview": {"slots-total": 2},
                "/config": {"flink-version": "1.19.3"},
                "/jobs/overview": {"jobs": [{"name": "running", "jid": "a", "state": "RUNNING"}]},
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answers[self.path]).encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("localhost", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"localhost:{server.server_port}"
    server.shutdown()


def unused() -> int:
    with socket.create_server(("localhost", 0)) as listening:
        return int(listening.getsockname()[1])


def test_no_cluster(tmp_path, capsys):
    port = unused()
    assert f"no Flink cluster answers at localhost:{port} (Connection refused); start one" in said(
        tmp_path, capsys, f"--flink_master=localhost:{port}"
    )


def test_another_version_and_too_few_slots(cluster, tmp_path, capsys):
    master = f"--flink_master={cluster}"
    assert "is Flink 1.19.3, and --flink_version=2.0 was given; give --flink_version=1.19" in said(
        tmp_path, capsys, master, "--flink_version=2.0"
    )
    assert "has 2 slots; give at most that" in said(tmp_path, capsys, master, "--parallelism=3")


def test_an_export_does_not_run_twice_on_a_cluster(cluster, tmp_path, capsys):
    text = said(tmp_path, capsys, f"--flink_master={cluster}", "--job_name=running")
    assert f"runs on the Flink cluster at {cluster} already (running); wait for its end, or stop it with" in text
    assert f"exporters-beam cancel 'http://{cluster}/#/job/a/overview'" in text


def test_no_jar_no_java_no_job_server(tmp_path, capsys, monkeypatch):
    if shutil.which("java"):
        assert "there is no file gone.jar" in said(tmp_path, capsys, "--flink_job_server_jar=gone.jar")
    port = unused()
    assert f"no job server of Beam listens at --job_endpoint=localhost:{port}" in said(
        tmp_path, capsys, f"--job_endpoint=localhost:{port}"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no java, which Beam's job server for Flink needs" in said(tmp_path, capsys)


def test_no_pool_of_workers(port, tmp_path, capsys):
    pool = unused()
    assert f"no pool of workers listens at --environment_config=localhost:{pool} (Connection refused)" in said(
        tmp_path, capsys, f"--job_endpoint=localhost:{port}", "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{pool}")  # fmt: skip


DOCKER = """#!/bin/sh
case "$1 $2" in
  "version --format") echo 28.0 ;;
  "image inspect") echo "Error: No such image: $3" >&2; exit 1 ;;
  "manifest inspect") echo "no such manifest: $3" >&2; exit 1 ;;
esac
"""


def test_no_docker_no_daemon_no_image(port, tmp_path, capsys, monkeypatch):
    args = [
        f"--job_endpoint=localhost:{port}",
        "--environment_type=DOCKER",
        "--environment_config=registry.example/exports:1",
    ]
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode:
        text = said(tmp_path, capsys, *args)
        assert "--environment_type=DOCKER: docker does not work here (" in text and "start its daemon" in text
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "--environment_type=DOCKER: there is no docker on this machine; install it" in said(tmp_path, capsys, *args)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    text = said(tmp_path, capsys, *args)
    assert "there is no image registry.example/exports:1 here, and it cannot be fetched (no such manifest: registry" in text
    assert "make one with templates/dataflow/Dockerfile, or use --environment_type=EXTERNAL" in text


HIDES = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "exporters_beam":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Hidden())
"""


def test_workers_without_the_package(port, tmp_path, capsys):
    """Beam's own pool, whose `python` is one that lacks exporters_beam."""
    (tmp_path / "hides").mkdir()
    (tmp_path / "hides" / "sitecustomize.py").write_text(HIDES)
    pool = unused()
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "hides"),
           "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        next(line for line in process.stderr if "Started worker pool" in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        text = said(tmp_path, capsys, f"--job_endpoint=localhost:{port}", "--environment_type=EXTERNAL",
                    f"--environment_config=localhost:{pool}")  # fmt: skip
    finally:
        process.terminate()
        process.wait()
    assert f"the workers of the pool at localhost:{pool} have no package exporters_beam; start the pool with: python -m" in text


def test_our_pool_starts_workers_and_ends_them(tmp_path):
    from exporters_beam.runners.flink_checks import ask_pool
    from exporters_beam.staging.books import Books

    process = subprocess.Popen([sys.executable, "-m", "exporters_beam.worker_pool", "--port=0"], stdout=subprocess.PIPE,
                               text=True)  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[4]
        ask_pool(address, Books(str(tmp_path / "books"), "", True), "", ["json"], [])
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert list((tmp_path / "books").iterdir()) == []
