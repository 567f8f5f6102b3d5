"""On which runner an export runs, and with which of Beam's options: the config's profiles, the command line, and what
is chosen here because it keeps the data.

Nothing here asks a network or imports Beam at the top, so that `explain` can tell of it at once.
"""

from __future__ import annotations

import importlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from exporters_beam.errors import ConfigError
from exporters_beam.plan import Plan
from exporters_beam.registry import did_you_mean
from exporters_beam.spec import ExportSpec

RUNNERS = {"local": "FnApiRunner", "flink": "FlinkRunner", "prism": "PrismRunner", "dataflow": "DataflowRunner"}
"""Runners by the names of profiles that do not say which one they mean."""

DATAFLOW = ("dataflowrunner", "dataflow")
LOCAL = ("", "directrunner", "fnapirunner", "bundlebaseddirectrunner")


RULES = {
    "flinkrunner": "exporters_beam.flink:settle",
    **dict.fromkeys(DATAFLOW, "exporters_beam.dataflow:settle"),
}
"""What chooses and refuses options, by runner."""


@dataclass(frozen=True)
class Decision:
    """Something that was chosen for a runner: the option, where it is one, and why. A warning is told at every run."""

    option: str
    why: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.option}: {self.why}" if self.option else self.why


class Options:
    """Beam's options as they were given: what is asked by name here, and everything else left to Beam."""

    def __init__(self, given: Sequence[str]) -> None:
        self.given = list(given)
        self._values = parsed(given)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def text(self, name: str, default: str = "") -> str:
        """The option's last value; "true" for one without."""
        values = self._values.get(name)
        return default if values is None else ("true" if values[-1] is None else values[-1])

    def flag(self, name: str) -> bool:
        return self.text(name, "false").lower() not in ("false", "0", "no")

    def number(self, name: str, default: int) -> int:
        """The option as a whole number. Raises ConfigError."""
        text = self.text(name, str(default))
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"--{name}: {text!r} is no whole number") from None

    @property
    def runner(self) -> str:
        """The runner's class name in lower case; "" where none is named."""
        return self.text("runner").rpartition(".")[2].lower()


def parsed(given: Sequence[str]) -> dict[str, list[str | None]]:
    """Options by name, with their values in order; None where one has no value. Raises ConfigError.

    >>> parsed(["--runner", "FlinkRunner", "--streaming", "--parallelism=2"])
    {'runner': ['FlinkRunner'], 'streaming': [None], 'parallelism': ['2']}
    """
    found: dict[str, list[str | None]] = {}
    at = 0
    while at < len(given):
        text = given[at]
        if not text.startswith("--") or text == "--":
            raise ConfigError(f"{text}: Beam's options begin with --, e.g. --runner=FlinkRunner")
        name, equals, value = text[2:].partition("=")
        at += 1
        if equals:
            found.setdefault(name, []).append(value)
        elif at < len(given) and not given[at].startswith("--"):
            found.setdefault(name, []).append(given[at])
            at += 1
        else:
            found.setdefault(name, []).append(None)
    return found


def merged(spec: ExportSpec, profile: str | None, given: Sequence[str]) -> list[str]:
    """The options of a profile of the config's section `runners`, and those given, which win. Raises ConfigError."""
    if profile is None:
        return list(given)
    found = spec.runners.get(profile)
    if found is None and profile not in spec.runners:
        hint = did_you_mean(profile, list(spec.runners)) if spec.runners else "; it has no section `runners`"
        raise ConfigError(f"--profile {profile}: the config has no such profile{hint}")
    if not isinstance(found or {}, Mapping):
        raise ConfigError(spec.problem(("runners", profile), "wrong type: give a mapping of Beam's options"))
    options = {str(name).removeprefix("--"): value for name, value in (found or {}).items()}
    if profile in RUNNERS:
        options = {"runner": RUNNERS[profile], **options}
    won = parsed(given)
    args = [
        arg
        for name, value in options.items()
        if name not in won
        for arg in _arguments(spec, ("runners", profile, name), name, value)
    ]
    return args + list(given)


def _arguments(spec: ExportSpec, path: tuple[str, ...], name: str, value: Any) -> Iterator[str]:
    """An option of a profile as it is written on a command line; lists and mappings repeat it."""
    if value is None or value is False:
        return
    if value is True:
        yield f"--{name}"
    elif isinstance(value, (str, int, float)):
        yield f"--{name}={value}"
    elif isinstance(value, Mapping) and all(isinstance(part, (str, int, float)) for part in value.values()):
        yield from (f"--{name}={key}={part}" for key, part in value.items())
    elif isinstance(value, (list, tuple)) and all(isinstance(part, (str, int, float)) for part in value):
        yield from (f"--{name}={part}" for part in value)
    else:
        raise ConfigError(spec.problem(path, "wrong type: give a text, a number, true, or a list or mapping of them"))


def settled(plan: Plan, given: Sequence[str]) -> tuple[list[str], list[Decision]]:
    """The options an export is run with, and what was chosen for it. Raises ConfigError for what cannot work."""
    options = Options(given)
    if options.runner not in RULES:
        return options.given, []
    module, _, name = RULES[options.runner].partition(":")
    decisions: list[Decision] = list(getattr(importlib.import_module(module), name)(plan, options))
    chosen = [d.option for d in decisions if d.option.startswith("--") and not d.warning]
    return options.given + chosen, decisions


def unknown(options: Options, known_elsewhere: Sequence[str]) -> None:
    """Refuse options that nobody knows: Beam would drop them with no more than a remark. Raises ConfigError."""
    from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

    parser = _BeamArgumentParser(allow_abbrev=False)
    for kind in {str(kind): kind for kind in PipelineOptions.__subclasses__()}.values():
        kind._add_argparse_args(parser)
    parser.error = _no_option
    parser.parse_known_args(options.given)
    known = {text.removeprefix("--") for text in parser._option_string_actions if text.startswith("--")}
    known.update(known_elsewhere)
    for name in options:
        if name not in known:
            hint = did_you_mean(name, sorted(known_elsewhere))
            raise ConfigError(
                f"--{name}: neither Beam nor this runner knows this option{hint if 'did' in hint else ''}"
            )


def _no_option(message: str) -> NoReturn:
    raise ConfigError(message.removeprefix("argument "))


def relative_paths(plan: Plan) -> list[str]:
    """Paths of the config that are not absolute, so that they mean something else in another folder."""
    found = [plan.names.filebase] if plan.names and getattr(plan.writer, "to_folders", False) else []
    given = getattr(plan.reader, "input", ())
    for place in given if isinstance(given, (list, tuple)) else (given,):
        found += [place] if isinstance(place, str) else [place[k] for k in ("dir", "dir_pointer") if k in place]
    return [path for path in found if not os.path.isabs(path)]


def job_name(plan: Plan) -> str:
    """A name for the job: the config's label, name or file, and the beginning of the export's id.

    Dataflow refuses a job while another one of the same name runs, and on Flink we do, so an export does not run twice
    at a time. Small letters, digits and hyphens are what Dataflow takes.
    """
    document = plan.spec.document
    told = next((str(document[key]) for key in ("label", "name") if document.get(key)), "")
    told = told or os.path.splitext(os.path.basename(plan.spec.file))[0]
    plain = unicodedata.normalize("NFKD", told).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    slug = slug if slug[:1].isalpha() else f"export-{slug}".strip("-")
    return f"{slug[:54].rstrip('-')}-{plan.export_id[:8]}"


def missing_packages(setup: Any) -> Iterator[str]:
    """What is wrong with the packages for workers that Beam's SetupOptions name."""
    if setup.setup_file is not None:
        if os.path.basename(setup.setup_file) not in ("setup.py", "pyproject.toml"):
            yield f"--setup_file: {setup.setup_file!r} is neither a setup.py nor a pyproject.toml"
        elif not os.path.isfile(setup.setup_file):
            yield f"--setup_file: there is no file {setup.setup_file!r}"
    for path in setup.extra_packages or ():
        if not re.search(r"\.(tar|tar\.gz|whl|zip)$", path):
            yield f"--extra_package: {path!r} is no package; give an sdist (.tar.gz) or a wheel (.whl)"
        elif "://" not in path and not os.path.isfile(path):
            yield f"--extra_package: there is no file {path!r}; make it with: python -m build"
    if setup.requirements_file is not None and not os.path.isfile(setup.requirements_file):
        yield f"--requirements_file: there is no file {setup.requirements_file!r}"
