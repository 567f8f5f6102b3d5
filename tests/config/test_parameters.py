"""Parameters of configs, the Dataflow templates that are made of them, and the template that is shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from exporters_beam.cli.main import main
from exporters_beam.config.parameters import TYPES
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError
from exporters_beam.runners import flex_template as template

if sys.version_info >= (3, 11):
    import tomllib

ROOT = Path(__file__).parent.parent.parent
BASE = {"reader": "random", "writer": {"name": "fs", "options": {"filebase": "${vars.out}/part-"}}}


def problems(parameters: object, given: dict[str, object] | None = None, **variables: object) -> list[str]:
    config = {**BASE, "vars": {"out": "out", **variables}, "parameters": parameters}
    try:
        load(config, variables=given or {})
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_a_value_has_to_be_what_its_parameter_allows():
    rules = {
        "town": {"enum": ["Oslo", "Rome", 7]},
        "code": {"regexes": ["[A-Z]+", ".{2,3}"]},
        "all": {"type": "boolean"},
        "size": {"type": "number"},
        "file": {"type": "GCS_READ_FILE"},
    }
    good = {"town": "Oslo", "code": "ABC", "all": True, "size": 1.5, "file": "gs://b/f"}
    assert problems(rules, **good) == problems(rules, {"town": 7}, **good) == []
    told = problems(rules, {"town": "oslo", "code": "ABCD", "all": "yes", "size": "1", "file": "/f"}, **good)
    assert told == [
        "parameters.town: 'oslo' is not one of: Oslo, Rome, 7",
        "parameters.code: 'ABCD' does not match .{2,3}",
        "parameters.all: 'yes' is neither true nor false",
        "parameters.size: '1' is not a number",
        "parameters.file: '/f' is not an address in Cloud Storage; it begins with gs://",
    ]


def test_a_parameter_without_a_default_has_to_be_given_and_is_told_once():
    config = {**BASE, "parameters": {"out": {"help": "where to"}}}
    with pytest.raises(ConfigError) as error:
        load(config)
    assert str(error.value) == "parameters.out: this parameter has no default; give it: --var out=VALUE"
    spec = load(config, variables={"out": "there"})
    assert spec.writer.component.filebase == "there/part-" and not spec.warnings
    assert "parameters" not in spec.document


def test_a_missing_parameter_hides_no_other_variable_that_is_unknown():
    writer = {
        "name": "fs",
        "options": {"filebase": "${vars.town}/${vars.town.name}", "compression": "${vars.townsize}"},
    }
    with pytest.raises(ConfigError) as error:
        load({"parameters": {"town": {}}, "reader": "random", "writer": writer})
    assert [problem.message for problem in error.value.problems] == [
        "this parameter has no default; give it: --var town=VALUE",
        "there is no variable vars.townsize",
    ]


@pytest.mark.parametrize(("section", "told"), [
    ([], "parameters: wrong type"),
    ({"a b": {}}, "parameters.a b: 'a b' is not a valid name for a parameter"),
    ({"a": 1}, "parameters.a: wrong type: expected a mapping of label, help"),
    ({"a": {"lable": "x"}}, 'parameters.a.lable: unknown key; did you mean "label"?'),
    ({"a": {"type": "numbr"}}, "parameters.a.type: there is no type 'numbr'"),
    ({"a": {"enum": []}}, "parameters.a.enum: wrong type"),
    ({"a": {"regexes": ["("]}}, "parameters.a.regexes[0]: '(' is not a valid regular expression"),
    ({"a": {"regexes": "x"}}, "parameters.a.regexes: wrong type"),
    ({"a": {"optional": 1}}, "parameters.a.optional: wrong type"),
    ({"a": {"help": 1}}, "parameters.a.help: wrong type"),
])  # fmt: skip
def test_a_wrong_section_is_told(section, told):
    assert problems(section, a="x")[0].startswith(told)


def test_plain_variables_are_parameters_where_nothing_else_is_said():
    told = template.metadata({"vars": {"out": "x", "on": True, "n": 3}, "name": "mine"})
    assert told["name"] == "mine" and told["streaming"] is False
    assert [(p["name"], p["label"], p["paramType"], p["defaultValue"], p["isOptional"]) for p in told["parameters"]] == [
        ("out", "Out", "TEXT", "x", True), ("on", "On", "BOOLEAN", "true", True), ("n", "N", "NUMBER", "3", True),
    ]  # fmt: skip


# Google's documented fields of metadata.json and the types of their values
PARAMETER = {"name": str, "label": str, "helpText": str, "isOptional": bool, "regexes": list, "paramType": str,
             "enumOptions": list, "defaultValue": str, "groupName": str, "parentName": str,
             "parentTriggerValues": list, "hiddenUi": bool, "customMetadata": dict}  # fmt: skip
TEMPLATE = {"name": str, "description": str, "streaming": bool, "supportsAtLeastOnce": bool, "supportsExactlyOnce": bool,
            "defaultStreamingMode": str, "parameters": list}  # fmt: skip


@pytest.mark.parametrize("streaming", [False, True])
def test_metadata_has_the_documented_fields(streaming):
    rules = {kind: {"type": kind, "help": "h", "regexes": ["x"], "optional": True} for kind in TYPES if kind != "enum"}
    told = template.metadata({"parameters": {**rules, "one": {"enum": ["a", 1]}}}, "x.yaml", streaming)
    assert all(isinstance(value, TEMPLATE[key]) for key, value in told.items())
    assert told["streaming"] is streaming and ("defaultStreamingMode" in told) is streaming
    for parameter in told["parameters"]:
        assert {"name", "label", "helpText", "isOptional", "paramType"} <= set(parameter)
        assert all(isinstance(value, PARAMETER[key]) for key, value in parameter.items())
        assert parameter["paramType"].lower() in TYPES
    assert told["parameters"][-1]["enumOptions"] == [{"value": "a", "label": "a"}, {"value": "1", "label": "1"}]


def test_the_shipped_template_is_what_build_makes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["template", "build", "templates/parameters.yaml", "--output", str(tmp_path)]) == 0
    shipped = {path.name: path.read_text() for path in (ROOT / "templates/dataflow").iterdir() if path.is_file()}
    told = "run: exporters-beam template build templates/parameters.yaml --output templates/dataflow"
    assert shipped == {path.name: path.read_text() for path in tmp_path.iterdir()}, told
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in (
        "export.yaml", "main.py", "Dockerfile", "requirements.txt", "metadata.json", "spec.json")]  # fmt: skip


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
def test_the_image_pins_everything_the_package_needs():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {requirement.partition(">")[0] for requirement in needed}
    assert names == {*template.PINNED, "apache-beam"}
    for line in (ROOT / "templates/dataflow/requirements.txt").read_text().splitlines():
        assert "==" in line
    dockerfile = (ROOT / "templates/dataflow/Dockerfile").read_text()
    assert f"beam_python{template.PYTHON}_sdk:{template.BEAM}" in dockerfile and ":latest" not in dockerfile


def test_a_parameter_called_as_an_option_of_the_launcher_is_refused(tmp_path, capsys):
    path = tmp_path / "export.yaml"
    path.write_text(yaml.safe_dump({**BASE, "vars": {"out": "x", "region": "Oslo"}}))
    assert main(["template", "build", str(path), "--output", str(tmp_path / "t")]) == 2
    assert "vars.region: 'region' is an option of the launcher itself" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_a_template_can_be_built_of_a_config_whose_parameters_have_no_defaults(tmp_path):
    path = tmp_path / "export.json"
    path.write_text(json.dumps({**BASE, "parameters": {"out": {"help": "where to"}}}))
    assert main(["template", "build", str(path), "--output", str(tmp_path / "t"), "--image=registry.example/x:1"]) == 0
    spec = json.loads((tmp_path / "t/spec.json").read_text())
    assert spec["image"] == spec["defaultEnvironment"]["sdkContainerImage"] == "registry.example/x:1"
    assert spec["metadata"]["parameters"][0]["isOptional"] is False
    assert '"export.json"' in (tmp_path / "t/main.py").read_text()


def test_render_prints_the_final_config_or_the_launch_request(tmp_path, capsys):
    path = tmp_path / "export.yaml"
    path.write_text(yaml.safe_dump({**BASE, "vars": {"out": "x", "n": 1}}))
    assert main(["template", "render", str(path), "--var", "out=there"]) == 0
    assert json.loads(capsys.readouterr().out)["writer"]["options"] == {"filebase": "there/part-"}
    assert main(["template", "render", str(path), "--var", "n=2", "--launch", "gs://b/spec.json"]) == 0
    body = json.loads(capsys.readouterr().out)["launchParameter"]
    assert body["containerSpecGcsPath"] == "gs://b/spec.json" and body["parameters"] == {"n": "2"}
    assert body["jobName"].startswith("export-")


def test_a_launcher_knows_parameters_from_options_of_beam(tmp_path, monkeypatch):
    path = tmp_path / "export.yaml"
    path.write_text(yaml.safe_dump({**BASE, "vars": {"out": "x"}, "parameters": {"town": {}, "out": {}}}))
    monkeypatch.setenv("EXPORTERS_BEAM_IMAGE", "registry.example/x:1")
    values, beam = template.split(str(path), ["--out=a=b", "--region=r", "--town", "Oslo", "--num_workers=2"])
    assert values == ["out=a=b", "town=Oslo"]
    assert beam == ["--region=r", "--num_workers=2", "--runner=DataflowRunner",
                    "--sdk_container_image=registry.example/x:1", "--sdk_location=container"]  # fmt: skip
    with pytest.raises(ConfigError, match="--town: give a value"):
        template.split(str(path), ["--town"])


def test_main_is_thin_and_starts_what_the_command_line_does(tmp_path):
    ran = subprocess.run([sys.executable, str(ROOT / "templates/dataflow/main.py"), "--category=nope"],
                         cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)  # fmt: skip
    assert ran.returncode == 2 and "parameters.category: 'nope' is not one of: all, bags" in ran.stderr
