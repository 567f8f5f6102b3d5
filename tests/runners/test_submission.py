"""What `submit` and `run` say before anything starts elsewhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from exporters_beam.cli.main import main


def with_google() -> bool:
    try:
        return importlib.util.find_spec("google.cloud.dataflow") is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "export.yaml"
    path.write_text(f"reader: random\nwriter: {{name: fs, options: {{filebase: {tmp_path}/out/part-}}}}\n")
    return str(path)


@pytest.mark.skipif(with_google(), reason="exporters-beam[dataflow] is installed")
@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_missing_extra_is_told(command, config, tmp_path, capsys):
    assert main([command, config, "--runner=DataflowRunner", "--project=p"]) == 2
    told = capsys.readouterr().err
    assert told.endswith('a package that is not installed; run: pip install "exporters-beam[dataflow]"\n')
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("runner", [[], ["--runner=DirectRunner"], ["--runner=PrismRunner"]])
def test_submit_needs_a_runner_that_goes_on_by_itself(runner, config, tmp_path, capsys):
    assert main(["submit", config, *runner]) == 2
    assert "give --runner=DataflowRunner or --runner=FlinkRunner" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_submit_refuses_workers_that_would_end_with_it(config, tmp_path, capsys):
    assert main(["submit", config, "--runner=FlinkRunner", "--flink_master=localhost:1"]) == 2
    assert "--environment_type=LOOPBACK: the workers would end with submit" in capsys.readouterr().err
    assert main(["submit", config, "--runner=FlinkRunner", "--environment_type=DOCKER"]) == 2
    assert "--flink_master: '' is not an address; write HOST:PORT" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_complete_is_not_started_again(config, capsys, caplog):
    assert main(["run", config]) == 0
    capsys.readouterr()
    flink = [
        "--runner=FlinkRunner",
        "--flink_master=localhost:1",
        "--environment_type=EXTERNAL",
        "--environment_config=localhost:1",
    ]
    assert main(["submit", config, "--resume", *flink]) == 0
    assert capsys.readouterr().out == ""
    assert "the export is complete already; nothing was started" in caplog.text
