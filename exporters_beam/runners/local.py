"""How many worker processes an export on this machine gets."""

from __future__ import annotations

import os

from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.planning.plan import Plan
from exporters_beam.readers.units import units_of
from exporters_beam.runners.options import Options

ENOUGH = 128 << 20
"""Bytes of input from which on several processes are worth their start."""

PART = 64 << 20
"""Bytes of a file that one process has at least, where a file can be entered in the middle."""

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""How files end that can be read from their beginning only."""

GIVEN = ("direct_num_workers", "direct_running_mode", "direct_embed_docker_python", "direct_test_splits")


def processes(plan: Plan, options: Options, asked: int | None) -> int:
    """The number of worker processes; 1 is none but this one, 0 what Beam's own options say.

    `asked` is the option `--workers`. Without it one for each core, where the reader's files on this machine are large and
    can be read side by side. Raises ConfigError.
    """
    given = next((name for name in GIVEN if name in options), None)
    if given is not None:
        if asked is not None:
            raise ConfigError(f"--workers: it says how many processes run, and so does --{given}; give one of the two")
        return 0
    if asked is not None:
        if asked < 1:
            raise ConfigError(f"--workers: {asked} processes cannot run an export; give 1 or more")
        return asked
    side_by_side = plan.names is not None and getattr(plan.writer, "to_folders", False) and not plan.limit
    if not side_by_side or plan.copied or not getattr(plan.reader, "on_this_machine", False):
        return 1
    return min(cores(), _parts(plan)) if cores() > 1 else 1


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parts(plan: Plan) -> int:
    """Into how many parts the input can be divided, as far as the names and sizes of files tell; 1 where it is small."""
    size = parts = 0
    divisible = getattr(plan.deserializer, "splits_on_lines", False) or hasattr(plan.deserializer, "row_groups")
    try:
        for unit in units_of(plan.reader):
            size += max(0, unit.size)
            parts += max(1, unit.size // PART) if divisible and not unit.name.lower().endswith(COMPRESSED) else 1
            if size >= ENOUGH and parts >= cores():
                return parts
    except SourceError:
        return 1  # The run itself says what cannot be read.
    return parts if size >= ENOUGH else 1
