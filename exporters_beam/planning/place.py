"""Where an export's books stand, and what a run tells of itself there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
from contextlib import suppress
from typing import Any, cast

from exporters_beam.components.protocols import FileWriter
from exporters_beam.components.traits import ComponentTraits, PersistenceTraits, WriterTraits
from exporters_beam.config.delta import DELTA
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import Plan
from exporters_beam.staging.books import HALF_BUILT, Books, all_books


def place_of(plan: Plan) -> str | None:
    """The folder in which books of this export lie; None where they go with the run. Raises ConfigError."""
    persistence = plan.spec.persistence
    given = persistence is not None and "file_path" in persistence.options
    kept = PersistenceTraits.of(persistence.component).file_path if persistence is not None and given else None
    place = plan.spec.staging or kept or destination_of(plan) or state_folder(plan)
    if place and os.path.exists(place) and not os.path.isdir(place):
        path = ("staging",) if plan.spec.staging else ("persistence", "options", "file_path")
        raise ConfigError(plan.spec.problem(path, f"{place} is a file; give a folder"))
    return place


def destination_of(plan: Plan) -> str | None:
    """The folder that holds all delivered files, where the writer delivers to a file system."""
    return plan.names.root if plan.names is not None and WriterTraits.of(plan.writer).to_folders else None


def state_folder(plan: Plan) -> str | None:
    """Where this machine keeps the books of exports to storages."""
    if not WriterTraits.of(plan.writer).remote:
        return None
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "exporters-beam")


def books_of(plan: Plan) -> Books:
    place = place_of(plan)
    return books_at(place or tempfile.mkdtemp(prefix="exporters-beam-"), plan, bool(place))


def books_at(place: str, plan: Plan, lasting: bool = True) -> Books:
    delivered = destination_of(plan)
    folder = os.path.join(all_books(place), *plan.books_name) if lasting else place
    beside = os.path.join(all_books(delivered), *plan.books_name) if delivered else folder
    return Books(folder, os.path.join(beside, HALF_BUILT), lasting)


def history_of(plan: Plan) -> str:
    """The file in which runs of the config of a plan tell what records they had, where that is asked for: below the part of
    `filebase` that is the same in every run, or where books stand that do not stand at the destination; "" where nothing has to
    be compared, or there is no place and only statistics would be. Raises ConfigError."""
    checks = plan.spec.checks
    compared = checks is not None and bool(checks.runs)
    if not compared and plan.spec.statistics is None:
        return ""
    place = _of_all_runs(plan)
    if not place and not compared:
        return ""
    if not place:
        raise ConfigError(plan.spec.problem(("checks", "records", "compared_with"),
                          "this export keeps no books in which earlier runs stand; add `staging: FOLDER`"))  # fmt: skip
    return os.path.join(os.path.abspath(all_books(place)), f"runs-{plan.family}.jl")


def _of_all_runs(plan: Plan) -> str | None:
    """The folder whose books are those of all runs of a config, whatever the dates in its names."""
    place = plan.spec.staging or state_folder(plan)
    if not place and destination_of(plan) is not None:
        place = os.path.dirname(re.split("[%{]", cast(FileWriter, plan.spec.writer.component).filebase)[0]) or "."
    return place


def deltas_of(plan: Plan) -> str:
    """The folder of a chain of deltas. Raises ConfigError where there is none."""
    place = _of_all_runs(plan)
    if not place:
        raise ConfigError(plan.spec.problem((DELTA,), "the next delivery has to know this one, and this export keeps nothing; "
                                            "add `staging: FOLDER`"))  # fmt: skip
    to = WriterTraits.of(plan.writer)
    where = to.storage().url(to.key(cast(FileWriter, plan.spec.writer.component).filebase)) if to.storage is not None else ""
    known = hashlib.sha256(f"{plan.chain} {where}".encode()).hexdigest()[:16]
    return os.path.join(os.path.abspath(all_books(place)), f"deltas-{known}")


def told_before(plan: Plan) -> Any:
    """The config as a run of this plan tells it of itself."""
    return json.loads(json.dumps(plan.told, default=repr))


def code_of(plan: Plan) -> dict[str, str]:
    """The modules of others that a config names, and a digest of what stands in them: what `--resume` mixes with records that
    another version has made."""
    named = {type(section.component).__module__ for section in plan.spec.working}
    functions = (ComponentTraits.of(section.component).function for section in plan.spec.working)
    named |= {re.split("[:.](?=[^:.]*$)", function)[0] for function in functions if isinstance(function, str)}
    found = {}
    for name in sorted(named):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and name.partition(".")[0] not in ("exporters_beam", "transforms"):
            with suppress(OSError), open(path, "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()[:16]
    return found
