"""What belongs where: imports point one way, Beam stays in a few files, components are declared as all are."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporters_beam
from exporters_beam.components import registry
from exporters_beam.components.options import build, options_of

from architecture import MODULES, PAGE, drawn, imported, ours, tree

ROOT = Path(__file__).parent.parent

LAYERS = (
    ("__main__", "worker_pool"),
    ("cli",),
    ("__init__", "yaml_provider"),
    ("runners",),
    ("starting", "testing"),
    ("engine",),
    ("planning",),
    ("reporting",),
    ("systems",),
    ("storages",),
    ("readers", "writers"),
    ("transforms",),
    ("formats",),
    ("compressions",),
    ("staging",),
    ("handover",),
    ("config",),
    ("components",),
    ("files",),
    ("decimals",),
    ("errors", "interruption", "records", "stages", "web"),
)
"""Folders, and the modules that stand beside them, from the top down. A module imports what stands in its own folder or below,
never what is above or beside it.

The registry stands low because it names components by strings and imports none until it is used.
"""

BEAM = ("engine.", "runners.", "transforms.dedupe", "transforms.steps", "yaml_provider")
"""Where apache_beam may be imported."""

WITHOUT = {
    *("engine.admit", "engine.applying", "engine.delivery", "engine.dead_letters", "engine.preview", "engine.source"),
    *("runners.books", "runners.flex_template", "runners.jobs", "runners.local", "runners.options"),
    *("runners.own_output", "runners.progress", "runners.resume"),
}
"""What stands there and does not import it at once, so that nothing waits for it; of these, functions of `LATE` import it."""

LATE = {
    "runners.beam_internals",
    "runners.dataflow",
    "runners.flex_template",
    "runners.flink",
    "runners.flink_checks",
    "runners.launch",
    "runners.local",
    "runners.local_worker_process",
    "runners.options",
    "runners.submit",
    "runners.support",
}

CONNECTS = {"engine.graph", "runners.flink_pool_probe", "transforms.dedupe", "yaml_provider"}
"""Modules that may connect PCollections."""

TRANSFORMS = {
    *("Create", "Filter", "FlatMap", "Flatten", "Impulse", "Map", "ParDo", "Reshuffle", "WindowInto"),
    *("CoGroupByKey", "CombineGlobally", "CombinePerKey", "GroupByKey"),
}


ASKED = {
    "a parsed command line, of which each command has its own options": {
        "cli.commands": {"args"},
        "cli.main": {"args"},
    },
    "a stream, whoever has made it": {
        "compressions.archives": {"raw", "source"},
        "compressions.auto": {"raw"},
        "compressions.streams": {"raw", "self._pieces"},
        "compressions.zip": {"raw"},
        "formats.limits": {"stream"},
        "storages.ranged": {"body"},
    },
    "what a client library or a server has answered": {
        "reporting.notify": {"reason"},
        "storages.azure": {"code"},
        "storages.dropbox": {"entry", "found", "union"},
        "storages.hdfs": {"why"},
        "storages.http": {"reason"},
        "systems.rest_api": {"reason"},
        "systems.scrapy_cloud": {"reason"},
        "systems.sqs": {"self.client"},
    },
    "Beam's own objects, and what runs in its workers": {
        "runners.local_worker_process": {"self._stream"},
        "runners.support": {"result"},
        "yaml_provider": {"element"},
    },
    "one of our own values, of which a field is named": {
        "engine.decode": {"seen"},
        "engine.encode": {"block"},
        "planning.bypass": {"spec"},
        "storages.reader": {"storage"},
        "web": {"req"},
    },
}
"""What is asked by `hasattr` and `getattr` whether it has something, and why it is no component: these have traits."""


def probed(name: str) -> set[str]:
    """What a module asks by `hasattr` and `getattr`. What is seen to be no component is left out: errors, imported modules, and
    what a class of the module asks of itself."""
    code = tree(name)
    known = {"import_module"}
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            known |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            known.add(node.name)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            kind = ast.unparse(node.annotation).partition(" ")[0]
            known |= {node.arg} if kind.endswith(("Error", "Exception")) else set()
    calls = (node for node in ast.walk(code) if isinstance(node, ast.Call))
    asked = {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) in ("getattr", "hasattr")}
    begins = {text: re.split(r"[.,(\[]", text.removeprefix("getattr("))[0] for text in asked}
    return {text for text, name in begins.items() if text != "self" and name not in known}


def layer(name: str) -> int:
    while name:
        for number, members in enumerate(LAYERS):
            if name in members:
                return number
        name = name.rpartition(".")[0]
    raise AssertionError("a module has no place in LAYERS; give it one")


def test_the_page_shows_the_house_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == drawn(page), "run: python tests/architecture.py --write"


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name: str) -> None:
    beside = {other for other in ours(name) if other.partition(".")[0] != name.partition(".")[0]}
    assert not {other for other in beside if layer(other) <= layer(name)}


def test_no_module_imports_itself_by_way_of_others() -> None:
    below = {name: ours(name) - {name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle of imports: {' → '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in sorted(below[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_beam_is_imported_in_few_modules(name: str) -> None:
    code = tree(name)
    if not name.startswith(BEAM) or name in WITHOUT - LATE:
        assert not [full for full in imported(code) if full.partition(".")[0] == "apache_beam"]
    if name in LATE:
        outside = [node for node in code.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        assert not [full for node in outside for full in imported(node) if full.partition(".")[0] == "apache_beam"]


@pytest.mark.parametrize("name", sorted(set(MODULES) - CONNECTS))
def test_pcollections_are_connected_in_the_graph_only(name: str) -> None:
    calls = (node.func for node in ast.walk(tree(name)) if isinstance(node, ast.Call))
    made = [f.attr for f in calls if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and f.value.id == "beam"]
    assert not TRANSFORMS & set(made)


@pytest.mark.parametrize("name", MODULES)
def test_components_are_asked_by_their_traits_alone(name: str) -> None:
    if name.startswith(("components.", "runners.beam_internals", "transforms.expressions")):
        return  # They define traits, look into Beam, and evaluate what users write.
    allowed = set().union(*(modules.get(name, set()) for modules in ASKED.values()))
    assert probed(name) == allowed, "ask for what a component tells by exporters_beam.components.traits"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("components.")])
def test_no_component_is_asked_for_an_attribute_by_any_name(name: str) -> None:
    functions = (node for node in ast.walk(tree(name)) if isinstance(node, ast.FunctionDef) and node.name[0] != "_")
    for function in functions:
        texts = {each.arg for each in function.args.args if each.annotation and ast.unparse(each.annotation) == "str"}
        calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
        asked = [c for c in calls if ast.unparse(c.func) in ("getattr", "hasattr", "attrgetter", "operator.attrgetter")]
        names = {ast.unparse(name) for call in asked for name in call.args[-2:]}
        assert not texts & names, f"{function.name} reads what it is asked for: a trait says what a component may tell"


@pytest.mark.parametrize("name", MODULES)
def test_files_can_be_read_in_one_sitting(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 700
    assert (tree(name).body and ast.get_docstring(tree(name))) or not tree(name).body, "say first what the file is for"


@pytest.mark.parametrize("name", [name for name in MODULES if ">>> " in MODULES[name].read_text(encoding="utf-8")])
def test_examples_in_docstrings_hold(name: str) -> None:
    assert not doctest.testmod(importlib.import_module(f"exporters_beam.{name}")).failed


def test_no_file_is_a_drawer_for_everything() -> None:
    assert not [name for name in MODULES if name.rpartition(".")[2] in ("utils", "helpers", "common", "misc")]


def test_checking_a_config_imports_no_beam_and_no_heavy_library() -> None:
    heavy = (
        "apache_beam",
        "pyarrow",
        "fastavro",
        "numpy",
        "zstandard",
        "jq",
        "boto3",
        "google.cloud.storage",
        "paramiko",
        "azure.storage",
        "hdfs",
        "httpx",
        "tenacity",
        "sqlalchemy",
        "confluent_kafka",
        "google.pubsub_v1",
        "pyiceberg",
        "deltalake",
    )
    code = (
        "import sys, exporters_beam.__main__, exporters_beam.config.spec, exporters_beam.planning.plan\n"
        "import exporters_beam.reporting.reference, exporters_beam.config.schema\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_transforms_refuses_its_bare_name() -> None:
    ran = subprocess.run([sys.executable, "-c", "import transforms"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "ImportError: import this package as exporters_beam.transforms, not as transforms" in ran.stderr
    assert importlib.import_module("exporters_beam.transforms").__name__ == "exporters_beam.transforms"


def test_public_names_are_listed() -> None:
    assert exporters_beam.__all__ == sorted(exporters_beam.__all__)
    public = {
        name
        for name, value in vars(exporters_beam).items()
        if not name.startswith("_") and getattr(value, "__module__", "").partition(".")[0] == "exporters_beam"
    }
    assert public == set(exporters_beam.__all__)
    for name in exporters_beam.__all__:
        assert inspect.getdoc(getattr(exporters_beam, name)), f"{name} needs a docstring"


# Components

ENTRIES = [pytest.param(entry, id=f"{entry.kind}.{entry.name}") for entry in registry.ENTRIES]


def example_of(component: type) -> dict[str, Any] | None:
    """The config that the docstring shows, parsed."""
    _, found, text = inspect.cleandoc(component.__doc__ or "").partition("\nExample:\n")
    return yaml.safe_load(text) if found else None


def options_in(given: Any, entry: registry.Entry) -> dict[str, Any] | None:
    """The options of the component inside an example, wherever the example has it."""
    if isinstance(given, dict):
        if given.get("write_buffer") == entry.name and entry.kind == "write_buffer":
            return given.get("write_buffer_options") or {}
        if given.get("name") == entry.name:
            return given.get("options") or {}
    for member in given.values() if isinstance(given, dict) else given if isinstance(given, list) else ():
        if member == entry.name:
            return {}
        found = options_in(member, entry)
        if found is not None:
            return found
    return None


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_registered_component_is_declared_as_all_are(entry: registry.Entry) -> None:
    component = registry.load(entry)
    assert component.kind == entry.kind
    assert component.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(component) if field.init)
    assert "__doc__" in vars(component)
    first = inspect.cleandoc(component.__doc__ or "").partition("\n\n")[0]
    assert first.rstrip().endswith((".", "?")), "the docstring begins with a sentence"
    for option in options_of(component):
        assert option.help.strip(), f"{option.name} needs help text"
        assert not option.help.endswith("."), f"{option.name}: help text is no sentence with a full stop"


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_example_of_a_component_is_right_and_it_can_be_pickled(entry: registry.Entry) -> None:
    component = registry.load(entry)
    example = example_of(component)
    if example is None:
        assert not any(option.required for option in options_of(component)), "show how to use it, under Example:"
        options: dict[str, Any] | None = {}
    else:
        options = options_in(example, entry)
    assert options is not None, f"the example does not use {entry.kind} {entry.name}"
    made = build(component, options, {})
    assert pickle.loads(pickle.dumps(made)) == made


def test_names_are_sorted_and_used_once() -> None:
    found = [(entry.kind, entry.name) for entry in registry.ENTRIES]
    assert len(found) == len(set(found))
    legacy = [name for entry in registry.ENTRIES for name in entry.legacy]
    assert len(legacy) == len(set(legacy))
    for kind in registry.KINDS:
        assert registry.names(kind) == tuple(sorted(registry.names(kind)))
