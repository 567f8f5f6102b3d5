"""The job of configs/plain.yaml done by other systems, each in a process (and where needed an environment) of its own.

    python benchmarks/others.py beam INPUT OUTPUT     Beam's ReadFromText and WriteToText, with orjson between them

`SYSTEMS` makes ready and starts each of them: Beam as above, Beam YAML and the engines of engines.py in environments of
their own, and exporters 0.6.18 where there is a Python 2.7.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

PIPELINE = Path(__file__).resolve().parent / "configs" / "beam.yaml"
LEGACY = "exporters==0.6.18"
RUN_LEGACY = "import sys, exporters; exporters.BasicExporter.from_file_configuration(sys.argv[1]).export()"


class Other(NamedTuple):
    """Another system. `command(job, input, output)` starts its export; `input` is the kind of input it can read, `jobs`
    what it can do of the benchmark's.

    `same_records` is false where the system changes values (Beam YAML writes nested ones as Python text, numbers are
    written otherwise), so that only their number can be compared. `fast` ones are measured at the sizes of the export.
    """

    command: Callable[[str, Path, Path], list[str]]
    input: str = "jl"
    same_records: bool = True
    env: Mapping[str, str] | None = None
    jobs: tuple[str, ...] = ("plain",)
    fast: bool = False


class NotHere(Exception):
    """The system cannot be run on this machine; the message says why."""


def beam(work: Path) -> Other:
    """The functions below, with the Beam that is installed here."""
    return Other(lambda job, source, target: [sys.executable, __file__, "beam", str(source), str(target)])


def beam_yaml(work: Path) -> Other:
    """Beam YAML of the version that is installed here, with its extra, in `work`/beam-yaml. Raises NotHere."""
    python = work / "beam-yaml" / "bin" / "python"
    if not python.exists():
        install([sys.executable, "-m", "venv", str(work / "beam-yaml")])
    install([str(python), "-m", "pip", "install", "-q", f"apache-beam[yaml]=={version('apache-beam')}"])

    def command(job: str, source: Path, target: Path) -> list[str]:
        places = json.dumps({"input": str(source), "output": str(target)})
        return [str(python), "-m", "apache_beam.yaml.main", "--runner=FnApiRunner",
                f"--yaml_pipeline_file={PIPELINE}", f"--jinja_variables={places}"]  # fmt: skip

    return Other(command, input="text", same_records=False)


def legacy(work: Path) -> Other:
    """exporters 0.6.18 under Python 2.7, in `work`/exporters-0.6.18. Raises NotHere."""
    python, folder = python27(), work / "exporters-0.6.18"
    if not folder.exists():
        install([python, "-m", "pip", "install", "-q", "--target", str(folder), LEGACY])

    def command(job: str, source: Path, target: Path) -> list[str]:
        config = work / "exporters-0.6.18.json"
        config.write_text(json.dumps(legacy_config(source, target, work / "exporters-0.6.18-state"), indent=2))
        return [python, "-c", RUN_LEGACY, str(config)]

    return Other(command, env={**os.environ, "PYTHONPATH": str(folder)})


SALES = ("wide", "changed", "typed", "nested", "tiny", "dedupe")
"""Jobs of sales.py that more than one engine can do."""

JOBS_OF = {
    "chdb": ("plain", "grouped", "lines"),
    "polars": ("plain", "grouped", "lines", *SALES),
    "duckdb": ("plain", "grouped", "lines", *SALES, "groups"),
    "dlt": ("plain",),
}


def engine(name: str) -> Callable[[Path], Other]:
    """One of engines.py, the newest release, in `work`/engines."""

    def ready(work: Path) -> Other:
        python = work / "engines" / "bin" / "python"
        if not python.exists():
            install([sys.executable, "-m", "venv", str(work / "engines")])
        install([str(python), "-m", "pip", "install", "-q", name, "orjson", "isal"])
        program = str(Path(__file__).with_name("engines.py"))
        return Other(lambda job, source, target: [str(python), program, name, job, str(source), str(target)],
                     same_records=False, jobs=JOBS_OF[name], fast=name != "dlt")  # fmt: skip

    return ready


SYSTEMS: dict[str, Callable[[Path], Other]] = {
    "Beam ReadFromText/WriteToText": beam,
    "Beam YAML": beam_yaml,
    "exporters 0.6.18, Python 2.7": legacy,
    **{name: engine(name) for name in ("chdb", "polars", "duckdb", "dlt")},
}


def install(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise NotHere(f"{' '.join(command[-2:])}: {(done.stdout.strip().splitlines() or ['no output'])[-1]}")


def python27() -> str:
    """A Python 2.7 that starts: the first on the path, or one that pyenv keeps. Raises NotHere."""
    found = [shutil.which("python2.7")]
    if pyenv := shutil.which("pyenv"):
        kept = subprocess.run([pyenv, "whence", "--path", "python2.7"], capture_output=True, text=True)
        found += kept.stdout.split()
    for python in filter(None, found):
        if subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0:
            return python
    raise NotHere("there is no Python 2.7 with pip on this machine")


def legacy_config(source: Path, target: Path, state: Path) -> dict[str, Any]:
    """configs/plain.yaml in the words of exporters 0.6.18."""
    state.mkdir(parents=True, exist_ok=True)
    regex = {"name": "country", "value": "Spain|United K"}
    ratio = "item.update(ratio=item['revenue'] / 1000)"
    return {
        "reader": {"name": "exporters.readers.FSReader", "options": {"input": {"dir": str(source)}}},
        "filter": {"name": "exporters.filters.KeyValueRegexFilter", "options": {"keys": [regex]}},
        "transform": {"name": "exporters.transform.PythonexpTransform", "options": {"python_expressions": [ratio]}},
        "writer": {"name": "exporters.writers.FSWriter", "options": {"filebase": f"{target}/part-"}},
        "persistence": {"name": "exporters.persistence.PicklePersistence", "options": {"file_path": str(state)}},
    }


KEPT = re.compile("Spain|United K").match


def keep(record: dict[str, Any]) -> bool:
    country = record.get("country")
    return country is not None and KEPT(country) is not None


def with_ratio(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "ratio": record["revenue"] / 1000}


def run_beam(source: Path, target: Path) -> None:
    import apache_beam as beam
    import orjson
    from apache_beam.options.pipeline_options import PipelineOptions

    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromText(str(source / "*.gz"))
            | beam.Map(orjson.loads)
            | beam.Filter(keep)
            | beam.Map(with_ratio)
            | beam.Map(lambda record: orjson.dumps(record).decode())
            | beam.io.WriteToText(str(target / "part"), file_name_suffix=".jl.gz")
        )


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] != "beam":
        sys.exit(__doc__)
    run_beam(Path(sys.argv[2]), Path(sys.argv[3]))
