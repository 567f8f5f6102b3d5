"""Dataflow templates of a config: the files of a Flex Template, and what is sent to launch one.

`templates/dataflow` holds what `exporters-beam template build` makes of `templates/parameters.yaml`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from exporters_beam.config import parameters
from exporters_beam.config.document import read
from exporters_beam.config.export import ExportSpec
from exporters_beam.errors import ConfigError, DestinationError, Problem
from exporters_beam.records import Json
from exporters_beam.runners.dataflow import literal_secrets

PYTHON, BEAM = "3.11", "2.77.0"

PINNED = {
    "httpx": "0.28.1",
    "isal": "1.9.1",
    "jsonschema": "4.26.0",
    "msgspec": "0.22.0",
    "orjson": "3.13.0",
    "ormsgpack": "1.13.1",
    "pyyaml": "6.0.3",
    "pyarrow": "25.0.1",
    "fastavro": "1.13.1",
    "regex": "2026.11.19",
    "tenacity": "9.2.1",
    "zstandard": "0.25.0",
}
"""What an image is built with: the same versions each time."""

IMAGE = "REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME:TAG"

DOCKERFILE = f"""\
# One image for the launcher of the Flex Template and for the workers.
# Wheels that are in no index (exporters-beam itself, your components) belong into the folder `packages` beside this file:
#   python -m build --wheel --outdir packages PATH/TO/exporters-beam
ARG LAUNCHER=gcr.io/dataflow-templates-base/python{PYTHON.replace(".", "")}-template-launcher-base:20230622_RC00
FROM ${{LAUNCHER}} AS launcher

FROM apache/beam_python{PYTHON}_sdk:{BEAM}
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher

WORKDIR /template
COPY . /template/
RUN mkdir -p packages \\
    && pip install --no-cache-dir --find-links=packages -r requirements.txt \\
    && pip check \\
    && python -m exporters_beam --version

# The workers use this very image: give its name when it is built, --build-arg IMAGE=…
ARG IMAGE
ENV EXPORTERS_BEAM_IMAGE=${{IMAGE}}
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py
# The entry point stays that of Beam's workers; Dataflow calls the launcher by its path.
"""

MAIN = '''\
"""The Flex Template's launcher: submits the export beside this file and does not wait for it."""

import sys
from pathlib import Path

from exporters_beam.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["template", "launch", str(Path(__file__).with_name("{config}")), *sys.argv[1:]]))
'''


def files(config: str, spec: ExportSpec | None, image: str = IMAGE, streaming: bool = False) -> dict[str, str]:
    """The files of a config's Flex Template by name. Raises ConfigError for what must not stand in one.

    `spec` is the checked config where its parameters all have defaults; without them it can only be read.
    """
    source = read(config)
    found, _ = parameters.declared(source.value)
    problems: list[Problem | str] = [
        source.problem(("parameters" if "parameters" in source.value else "vars", p.name), message)
        for p in found if (message := _taken(p.name))
    ]  # fmt: skip
    problems += literal_secrets(spec) if spec is not None else ()
    if problems:
        raise ConfigError(*problems)
    name = f"export{os.path.splitext(config)[1] or '.yaml'}"
    told = metadata(source.value, config, streaming)
    with open(config, encoding="utf-8") as file:
        text = file.read()
    return {
        name: text,
        "main.py": MAIN.format(config=name),
        "Dockerfile": DOCKERFILE,
        "requirements.txt": requirements(),
        "metadata.json": _json(told),
        "spec.json": _json(container_spec(image, told)),
    }


def write(files: Mapping[str, str], folder: str) -> None:
    """Write the files of a template. Raises DestinationError."""
    try:
        os.makedirs(folder, exist_ok=True)
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise DestinationError(f"cannot write the template to {folder}: {error.strerror or error}") from error


def metadata(document: Mapping[str, object], config: str = "", streaming: bool = False) -> Json:
    """What Google's console shows of a template and checks before it is launched."""
    found, _ = parameters.declared(document)
    stem = os.path.splitext(os.path.basename(config))[0]
    name = str(document.get("label") or document.get("name") or stem or "Export")
    return {
        "name": name,
        "description": str(document.get("description") or f"The export {name}, run by exporters-beam."),
        "streaming": streaming,
        "supportsAtLeastOnce": False,
        "supportsExactlyOnce": True,
        **({"defaultStreamingMode": "EXACTLY_ONCE"} if streaming else {}),
        "parameters": [_described(parameter) for parameter in found],
    }


def _described(p: parameters.Parameter) -> Json:
    told: Json = {
        "name": p.name,
        "label": p.label,
        "helpText": p.help,
        "isOptional": p.optional,
        "paramType": p.type.upper(),
    }
    if p.regexes:
        told["regexes"] = list(p.regexes)
    if p.enum:
        told["enumOptions"] = [{"value": parameters.as_text(value), "label": parameters.as_text(value)} for value in p.enum]
    if p.default is not parameters.MISSING and not (isinstance(p.default, str) and "${" in p.default):
        told["defaultValue"] = parameters.as_text(p.default)
    return told


def container_spec(image: str, told: Mapping[str, object]) -> Json:
    """The file that `flexTemplates:launch` is pointed to. Workers take the launcher's image."""
    return {
        "image": image,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": dict(told),
        "defaultEnvironment": {"sdkContainerImage": image},
    }


def requirements() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        ours = version("exporters-beam")
    except PackageNotFoundError as error:
        raise ConfigError("template build: exporters-beam is not installed here, so its version is unknown; "
                          "run: pip install -e .") from error  # fmt: skip
    lines = [f"exporters-beam[dataflow]=={ours}", f"apache-beam[gcp]=={BEAM}"]
    return "".join(f"{line}\n" for line in [*lines, *(f"{name}=={number}" for name, number in PINNED.items())])


def launch_body(job: str, spec_path: str, values: Mapping[str, object]) -> Json:
    """The body of the request that launches a Flex Template."""
    given = {name: parameters.as_text(value) for name, value in values.items()}
    return {"launchParameter": {"jobName": job, "containerSpecGcsPath": spec_path, "parameters": given}}


def names(config: str) -> set[str]:
    """The parameters and variables of a config."""
    document = read(config).value
    return {p.name for p in parameters.declared(document)[0]} | set(map(str, document.get("vars") or {}))


def split(config: str, args: Sequence[str]) -> tuple[list[str], list[str]]:
    """A launcher's arguments: (NAME=VALUE of the config's parameters and variables, Beam's options).

    Without a runner it is Dataflow's; without an image the workers take the one that the launcher runs in.
    """
    known = names(config)
    values: list[str] = []
    beam: list[str] = []
    at = 0
    while at < len(args):
        name, equals, value = args[at].partition("=")
        name = name[2:] if name.startswith("--") else ""
        if name not in known:
            beam.append(args[at])
        elif equals:
            values.append(f"{name}={value}")
        elif at + 1 < len(args):
            at += 1
            values.append(f"{name}={args[at]}")
        else:
            raise ConfigError(f"--{name}: give a value, --{name}=VALUE")
        at += 1
    given = {arg.partition("=")[0] for arg in beam}
    if "--runner" not in given:
        beam.append("--runner=DataflowRunner")
    image = os.environ.get("EXPORTERS_BEAM_IMAGE")
    if image and not given & {"--sdk_container_image", "--setup_file", "--extra_package"}:
        beam += [f"--sdk_container_image={image}", "--sdk_location=container"]
    return values, beam


def _taken(name: str) -> str:
    """Why a parameter cannot have a name; empty where it can."""
    if not parameters.NAME.match(name):
        return f"{name!r} is not a valid name for a template's parameter; use letters, digits and _, no digit first"
    from apache_beam.options.pipeline_options import PipelineOptions

    if name in PipelineOptions([]).get_all_options() or name in ("var", "debug", "resume", "label", "extra_package"):
        return f"{name!r} is an option of the launcher itself; call the parameter something else"
    return ""


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
