"""Wheel, sdist and editable install, each in a fresh environment, used from a folder that holds nothing of ours."""

from __future__ import annotations

import email
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parent.parent

NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist")


def clean_environ() -> dict[str, str]:
    """The environment variables without what would show Python the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def command(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(arg) for arg in args], cwd=cwd, env=clean_environ(), capture_output=True, text=True)


def done(*args: str | Path, cwd: Path) -> str:
    """What a command prints. It has to succeed."""
    ran = command(*args, cwd=cwd)
    assert ran.returncode == 0, f"{args}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@dataclass(frozen=True)
class Built:
    tree: Path
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A copy of this tree, its sdist, and the wheel that was made from the sdist alone."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=NOT_COPIED)
    done(sys.executable, "-m", "build", "--installer", "uv", "--outdir", folder / "dist", folder / "tree", cwd=folder)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return Built(folder / "tree", sdist, wheel)


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the package, and an empty folder to work in."""

    kind: str
    home: Path
    code: Path
    empty: Path

    def python(self, code: str, cwd: Path | None = None) -> str:
        return done(self.home / "bin" / "python", "-c", code, cwd=cwd or self.empty).strip()

    def install(self, *args: str | Path) -> None:
        python = self.home / "bin" / "python"
        done(sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python, *args, cwd=self.empty)

    def exporters(self, *args: str | Path, cwd: Path) -> str:
        return done(self.home / "bin" / "exporters-beam", *args, cwd=cwd)


@pytest.fixture(scope="module", params=["wheel", "sdist", "editable"])
def environment(
    request: pytest.FixtureRequest, built: Built, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """An environment that was filled with what the package asks for, and nothing else. It is removed after its tests."""
    folder = tmp_path_factory.mktemp(request.param)
    home, empty = folder / "env", folder / "empty"
    empty.mkdir()
    done(sys.executable, "-m", "venv", home, cwd=folder)
    what = {"wheel": (built.wheel,), "sdist": (built.sdist,), "editable": ("-e", built.tree)}[request.param]
    made = Environment(request.param, home, built.tree if request.param == "editable" else home, empty)
    made.install(*what)
    yield made
    shutil.rmtree(home)


EVERY_MODULE = """
import importlib, pkgutil, exporters_beam
names = [m.name for m in pkgutil.walk_packages(exporters_beam.__path__, "exporters_beam.")]
for name in ("exporters_beam", *(name for name in names if not name.endswith("__main__"))):
    print(name, importlib.import_module(name).__file__)
"""


def test_every_module_is_installed_and_comes_from_there(environment: Environment, built: Built) -> None:
    found = dict(line.split(" ", 1) for line in environment.python(EVERY_MODULE).splitlines())
    assert {"exporters_beam", "exporters_beam.transforms.filters", "exporters_beam.readers.fs"} <= set(found)
    here = {path.stem for path in (built.tree / "transforms").glob("*.py")} - {"__init__"}
    assert {f"exporters_beam.transforms.{name}" for name in here} <= set(found)
    code = environment.code.resolve()
    assert [name for name, file in found.items() if not Path(file).resolve().is_relative_to(code)] == []


def test_nothing_of_ours_is_called_transforms(environment: Environment, tmp_path: Path) -> None:
    ran = command(environment.home / "bin" / "python", "-c", "import transforms", cwd=environment.empty)
    assert ran.returncode == 1
    told = "No module named 'transforms'" if environment.kind != "editable" else "ImportError: import this package as"
    assert told in ran.stderr or "No module named 'transforms'" in ran.stderr
    (tmp_path / "transforms.py").write_text("whose = 'mine'\n")
    code = "import transforms, exporters_beam.transforms.filters; print(transforms.whose)"
    assert environment.python(code, cwd=tmp_path) == "mine"


def test_the_data_files_are_there(environment: Environment) -> None:
    code = (
        "import json, importlib.resources as r; files = r.files('exporters_beam'); "
        "print(json.loads(files.joinpath('schema.json').read_text())['title'], files.joinpath('py.typed').is_file())"
    )
    assert environment.python(code) == "An export of exporters-beam True"


def test_the_version_is_the_same_everywhere(environment: Environment, built: Built) -> None:
    code = "import exporters_beam, importlib.metadata as m; print(exporters_beam.__version__, m.version('exporters-beam'))"
    version = built.sdist.name.removesuffix(".tar.gz").rpartition("-")[2]
    assert environment.python(code) == f"{version} {version}"
    assert environment.exporters("--version", cwd=environment.empty) == f"exporters-beam {version}\n"
    assert done(environment.home / "bin" / "python", "-m", "exporters_beam", "--version", cwd=environment.empty)


CONFIG = """\
reader: {name: random, options: {number_of_items: 10, seed: 1}}
filter: {name: pythonexp, options: {python_expression: "item['key'] < 8"}}
writer: {name: fs, options: {filebase: out/part-}}
"""


def test_a_config_is_checked_and_run(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "export.yaml").write_text(CONFIG)
    assert environment.exporters("validate", "export.yaml", cwd=tmp_path) == "export.yaml: ok\n"
    environment.exporters("run", "export.yaml", "--report", "report.json", cwd=tmp_path)
    lines = gzip.decompress((tmp_path / "out" / "part-0000.jl.gz").read_bytes()).splitlines()
    assert [json.loads(line)["key"] for line in lines] == list(range(8))
    assert json.loads((tmp_path / "report.json").read_text())["status"] == "done"


PLUGIN_CONFIG = """\
reader: {name: countdown, options: {start: 5}}
filter: {name: even, options: {field: number}}
formatter: {name: tsv, options: {columns: [number]}}
writer: {name: fs, options: {filebase: out/part-, compression: none}}
"""


@pytest.mark.parametrize("environment", ["wheel"], indirect=True, scope="module")
def test_a_plugin_package_brings_its_components(environment: Environment, built: Built, tmp_path: Path) -> None:
    environment.install(built.tree / "tests" / "sample_plugin")
    listed = environment.exporters("modules", cwd=tmp_path).splitlines()
    found = {tuple(line.split()[:2]) for line in listed}
    assert {("reader", "countdown"), ("filter", "even"), ("formatter", "tsv"), ("reader", "fs")} <= found
    assert "the number to begin with" in environment.exporters("modules", "countdown", cwd=tmp_path)
    (tmp_path / "export.yaml").write_text(PLUGIN_CONFIG)
    environment.exporters("run", "export.yaml", cwd=tmp_path)
    assert (tmp_path / "out" / "part-0000.tsv").read_text() == "number\n4\n2\n"


# What is in the archives


def rubbish(names: list[str]) -> list[str]:
    parts = (
        "__pycache__",
        ".git",
        ".venv",
        ".hypothesis",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        "build",
        "dist",
    )
    return [name for name in names if name.endswith((".pyc", ".pyo")) or set(parts) & set(name.split("/"))]


def test_the_wheel_holds_the_package_alone(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = archive.namelist()
    version = built.wheel.name.split("-")[1]
    assert {name.split("/")[0] for name in names} == {"exporters_beam", f"exporters_beam-{version}.dist-info"}
    assert rubbish(names) == []
    for path in (built.tree / "transforms").glob("*.py"):
        assert f"exporters_beam/transforms/{path.name}" in names
    for path in (built.tree / "exporters_beam").rglob("*.py"):
        assert str(path.relative_to(built.tree)) in names


def test_the_sdist_holds_what_the_tests_and_docs_need(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    for wanted in ("README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "setup.py", "exporters_beam/schema.json",
                   "exporters_beam/py.typed", "transforms/filters.py", "tests/conftest.py", "tests/test_packaging.py",
                   "tests/minimum-versions.txt", "tests/sample_plugin/pyproject.toml", ".ci/run"):  # fmt: skip
        assert wanted in names
    for folder in ("tests/oracle/cases", "templates", "benchmarks", "docs"):
        tracked = {str(path.relative_to(built.tree)) for path in (built.tree / folder).rglob("*") if path.is_file()}
        assert tracked, f"{folder} is empty"
        assert tracked - set(rubbish(list(tracked))) <= set(names)
    assert rubbish(names) == []


def test_the_metadata_is_complete(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = email.message_from_string(archive.read(name).decode())
    assert metadata["Name"] == "exporters-beam"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Summary"] and "\n" not in metadata["Summary"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).strip() == (built.tree / "README.md").read_text(encoding="utf-8").strip()
    needed = {re.split("[<>=; ]", line)[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert "apache-beam" in needed and "pytest" not in needed
