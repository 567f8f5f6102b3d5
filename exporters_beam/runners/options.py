"""On which runner an export runs, and with which of Beam's options: the config's profiles, the command line, and what
is chosen here because it keeps the data.

Nothing here asks a network or imports Beam at the top, so that `explain` can tell of it at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import logging
import math
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from exporters_beam.components.schemes import is_url
from exporters_beam.components.traits import ReaderTraits, WriterTraits
from exporters_beam.components.words import did_you_mean
from exporters_beam.config.export import ExportSpec
from exporters_beam.errors import ConfigError, Problem
from exporters_beam.planning.plan import Plan
from exporters_beam.runners.beam_internals import parser_of_options

RUNNERS = {"local": "FnApiRunner", "flink": "FlinkRunner", "prism": "PrismRunner", "dataflow": "DataflowRunner"}
"""Runners by the names of profiles that do not say which one they mean."""

DATAFLOW = ("dataflowrunner", "dataflow")
LOCAL = ("", "directrunner", "fnapirunner", "bundlebaseddirectrunner")

JOB_SERVER = frozenset(
    """
allow_non_restored_state attached_mode auto_balance_write_files_sharding_enabled auto_watermark_interval
checkpointing_interval checkpointing_mode checkpoint_timeout_millis disable_metrics enable_stable_input_drain
execution_mode_for_batch execution_retry_delay externalized_checkpoints_enabled fail_on_checkpointing_errors faster_copy
file_input_split_max_size_m_b files_to_stage finish_bundle_before_checkpointing flink_conf_dir
force_unaligned_checkpoint_enabled job_check_interval_in_secs latency_tracking_interval max_bundle_size
max_bundle_time_mills min_pause_between_checkpoints num_concurrent_checkpoints number_of_execution_retries object_reuse
operator_chaining re_iterable_group_by_key_result report_checkpoint_duration
retain_externalized_checkpoints_on_cancellation savepoint_path shutdown_sources_after_idle_ms state_backend
state_backend_factory state_backend_storage_path tolerable_checkpoint_failure_number unaligned_checkpoint_enabled
use_data_stream_for_batch environment_expiration_millis
""".split()  # noqa: SIM905
)
"""Options of Beam's job server for Flink, which Beam for Python hands on without knowing them."""

HANDED_ON = {"flinkrunner": JOB_SERVER, "portablerunner": JOB_SERVER}
"""Options that Beam for Python does not know, by the runner that it hands them on to."""

MEANT = {
    "log_level": "write `exporter_options: {log_level: DEBUG}` in the config, or give --debug",
    "loglevel": "write `exporter_options: {log_level: DEBUG}` in the config, or give --debug",
    "verbose": "give --debug",
    "config": "the config stands alone: exporters-beam run CONFIG",
    "dry_run": "exporters-beam preview CONFIG shows records, and delivers nothing",
}
"""What people look for, and where it is."""


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
        self.values = parsed(given)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def text(self, name: str, default: str = "") -> str:
        """The option's last value; "true" for one without."""
        values = self.values.get(name)
        return default if values is None else ("true" if values[-1] is None else values[-1])

    def flag(self, name: str) -> bool:
        return self.text(name, "false").lower() not in ("false", "0", "no")

    def number(self, name: str, default: int) -> int:
        """The option as a whole number. Raises ConfigError."""
        text = self.text(name, str(default))
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"--{name}: {text!r} is not a whole number") from None

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
    if profile not in spec.runners:
        hint = did_you_mean(profile, list(spec.runners)) if spec.runners else "; it has no section `runners`"
        raise ConfigError(f"--profile {profile}: the config has no such profile{hint}")
    options = _profile(spec, profile)
    won = parsed(given)
    return [arg for name, args in options.items() if name not in won for arg in args] + list(given)


def check_profiles(spec: ExportSpec) -> None:
    """Refuse what nobody knows in the profiles of a config, in all of them. Raises ConfigError."""
    problems: list[Problem | str] = []
    for profile in spec.runners:
        try:
            options = _profile(spec, profile)
            for name in options:
                try:
                    refuse_unknown([*options.get("runner", ()), *options[name]] if name != "runner" else options[name])
                except ConfigError as error:
                    path = ("runners", profile, name)
                    problems += [spec.problem(path, problem.message.removeprefix(f"--{name}: ")) for problem in error.problems]
                    if name == "runner":
                        break
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)


def _profile(spec: ExportSpec, profile: str) -> dict[str, list[str]]:
    """The options of a profile by name, as they are written on a command line. Raises ConfigError."""
    found = spec.runners[profile]
    path = ("runners", str(profile))
    if not isinstance(found or {}, Mapping):
        raise ConfigError(spec.problem(path, "wrong type: give a mapping of Beam's options"))
    options = {str(name).removeprefix("--"): value for name, value in (found or {}).items()}
    if "runner" not in options:
        names = {**RUNNERS, **{name.lower(): name for name in RUNNERS.values()}}
        if str(profile).lower() in names:
            options = {"runner": names[str(profile).lower()], **options}
        elif difflib.get_close_matches(str(profile).lower(), names, n=1, cutoff=0.75):
            hint = did_you_mean(str(profile).lower(), list(names))
            raise ConfigError(spec.problem(path, f"this profile names no runner{hint}; or write `runner: …` in it"))
    return {name: list(_arguments(spec, (*path, name), name, value)) for name, value in options.items()}


def _arguments(spec: ExportSpec, path: tuple[str, ...], name: str, value: object) -> Iterator[str]:
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


def refuse_unknown(given: Sequence[str], ours: Sequence[str] = ()) -> list[str]:
    """Refuse options of Beam that nobody knows, which it would drop with no more than a remark, and those that it would
    read otherwise than they were meant. `ours` are options of the command, for suggestions. Gives warnings of options of
    which only the last holds. Raises ConfigError."""
    if not given:
        return []
    options = Options(given)
    with _quiet():
        _refuse_unknown_runner(options.text("runner"))
        parser = parser_of_options()
    elsewhere = HANDED_ON.get(options.runner, frozenset[str]())
    known = {text.removeprefix("--"): action for text, action in parser._option_string_actions.items()}
    problems, warnings = [], []
    for name, values in options.values.items():
        if len(set(values)) > 1 and type(known.get(name)) is _Store:
            warnings.append(f"--{name} is given {len(values)} times; the last holds, {values[-1]}")
        if name not in known and name not in elsewhere:
            problems.append(f"--{name}: {unknown(name, ours, [*known, *elsewhere])}")
        elif name in known and known[name].nargs == 0 and any(value is not None for value in values):
            problems.append(f"--{name}: it takes no value; give it alone, or leave it out")
    if problems:
        raise ConfigError(*problems)
    parser.error = _no_option
    for name, value in vars(parser.parse_known_args(options.given)[0]).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"--{name}: {value} is not a finite number")
    return warnings


_Store = type(argparse.ArgumentParser(add_help=False).add_argument("--x"))


def unknown(name: str, ours: Sequence[str], beams: Sequence[str] = ()) -> str:
    """That nobody knows an option, and what was probably meant."""
    plain = name.lower().removeprefix("--").replace("-", "_")
    if plain in MEANT:
        return f"there is no such option; {MEANT[plain]}"
    for known in (ours, beams):
        names = {text.lower().removeprefix("--").replace("-", "_"): text for text in known}
        near = difflib.get_close_matches(plain, names, n=1, cutoff=0.7)
        if near:
            return f'there is no such option; did you mean "{names[near[0]]}"?'
    return "neither exporters-beam nor Beam knows this option" if beams else "this command has no such option"


def _refuse_unknown_runner(given: str) -> None:
    from apache_beam.options.pipeline_options import StandardOptions

    names = list(StandardOptions.KNOWN_RUNNER_NAMES)
    short = given.lower().removesuffix("runner")
    if not given or short in {name.lower().removesuffix("runner") for name in names}:
        return
    module, _, name = given.rpartition(".")
    if not module:
        known = {name.lower().removesuffix("runner"): name for name in names}
        near = difflib.get_close_matches(short, known, n=1)
        hint = f'did you mean "{known[near[0]]}"?' if near else f"known: {', '.join(names)}, or package.module.Class"
        raise ConfigError(f"--runner: there is no runner {given!r}; {hint}")
    try:
        getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--runner: {given!r} cannot be imported: {error}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remark on apitools that Beam makes whenever it is imported without Google's libraries."""
    root, handler, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)


def _no_option(message: str) -> NoReturn:
    raise ConfigError(message.removeprefix("argument "))


def relative_paths(plan: Plan) -> list[str]:
    """Paths of the config that are not absolute, so that they mean something else in another folder."""
    found = [plan.names.filebase] if plan.names and WriterTraits.of(plan.writer).to_folders else []
    given = ReaderTraits.of(plan.reader).input
    for place in given if isinstance(given, (list, tuple)) else (given,):
        found += [place] if isinstance(place, str) else [place[k] for k in ("dir", "dir_pointer") if k in place]
    return [path for path in found if not os.path.isabs(path) and not is_url(path)]


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
            yield f"--extra_package: {path!r} is not a package; give an sdist (.tar.gz) or a wheel (.whl)"
        elif "://" not in path and not os.path.isfile(path):
            yield f"--extra_package: there is no file {path!r}; make it with: python -m build"
    if setup.requirements_file is not None and not os.path.isfile(setup.requirements_file):
        yield f"--requirements_file: there is no file {setup.requirements_file!r}"
