"""Exports of large sets of nested records, described in a config, compiled to Apache Beam.

>>> import exporters_beam
>>> config = {
...     "reader": {"name": "memory", "options": {"records": [{"sku": "a", "stock": 1}, {"sku": "b", "stock": 0}]}},
...     "filter_before": {"name": "pythonexp", "options": {"python_expression": "item['stock'] > 0"}},
...     "writer": {"name": "memory", "options": {"filebase": "part-", "compression": "none"}},
... }
>>> exporters_beam.run(config).written
1
>>> from exporters_beam.writers.memory import MemoryWriter
>>> MemoryWriter.files["part-0000.jl"]
b'{"sku":"a","stock":1}\\n'
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from exporters_beam import interruption  # noqa: F401  First of all: it listens from here on, where this is our process.
from exporters_beam.components.options import option
from exporters_beam.errors import (
    ConfigError,
    DestinationError,
    ExportError,
    MissingExtra,
    Problem,
    RecordError,
    SourceError,
)
from exporters_beam.reporting.report import Report

if TYPE_CHECKING:
    import threading

    from exporters_beam.engine.graph import Outputs
    from exporters_beam.testing.applied import Applied

__version__ = "0.1.0"

Config = str | os.PathLike[str] | Mapping[str, Any]
"""The path of a JSON or YAML file, or the mapping it would hold."""


def run(
    config: Config,
    *,
    variables: Mapping[str, object] | None = None,
    beam_args: Sequence[str] = (),
    progress: bool = False,
    workers: int | None = None,
) -> Report:
    """Run an export and wait for its end.

    `variables` override the config's `vars`. `beam_args` are Beam's options, e.g. ["--runner=FlinkRunner"]; without a
    runner it runs on this machine, in so many processes as `workers` says: by default one for each core where the input
    stands in large files here, else in this one. Raises ConfigError when the config is wrong, and another ExportError when
    the export failed; nothing half-written has then a final name.
    """
    from exporters_beam.config import spec
    from exporters_beam.runners import chains as runner

    return runner.run(spec.load(config, variables=variables or {}), beam_args, progress=progress, workers=workers)


def follow(
    config: Config,
    *,
    variables: Mapping[str, object] | None = None,
    beam_args: Sequence[str] = (),
    stop: threading.Event | None = None,
) -> Iterator[Report]:
    """Run an export that reads only what is new batch after batch, until `stop` is set; gives the report of each batch.

    A batch that fails is given, too, and tried again. Raises ConfigError for what nothing is gained by trying again.
    """
    from exporters_beam.config import spec
    from exporters_beam.runners import following

    return following.follow(spec.load(config, variables=variables or {}), beam_args, stop=stop)


def replay(
    config: Config,
    letters: Sequence[str | os.PathLike[str]],
    *,
    variables: Mapping[str, object] | None = None,
    beam_args: Sequence[str] = (),
    to: str | None = None,
) -> Report:
    """Send dead letters through the rest of an export, each from the step it failed at, and wait for the end.

    `config` is the export's, fixed where that was needed. What is delivered stands beside the files of the export, under
    names of its own; the same letters again deliver nothing. Of several writers `to` names the one whose letters these are.
    Raises ConfigError for files that hold no dead letters, or those of another export, and another ExportError when the replay
    failed.
    """
    from exporters_beam.config import spec
    from exporters_beam.planning import replay as replaying
    from exporters_beam.runners import launch as runner

    loaded = spec.load(config, variables=variables or {}).to_writer(to)
    with replaying.replayed(loaded, [os.fspath(path) for path in letters]) as replayed:
        return runner.run(replayed, beam_args)


def apply(
    config: Config,
    records: Iterable[Mapping[str, Any]] | str | bytes,
    *,
    variables: Mapping[str, object] | None = None,
    secrets: Mapping[str, str] | None = None,
    now: datetime | None = None,
    writer: str | None = None,
) -> Applied:
    """Give records to the steps, the grouper and the formatter of an export, without its reader and writer and without Beam.

    Gives `Applied`: the `records` that come out, how many were `dropped` by which step, those that `failed`, the `groups` with
    the names of their files, and the text that is `formatted`. In place of records there may be text, which the config's
    deserializer decodes. Of several writers the own steps, grouper and formatter of the one that is named are applied; without
    a name only the steps of all. What is given is left as it is. `now` is the local time at which the export begins.

    No service for secrets is asked: `secrets` are environment variables, and values of others by `gcp:NAME`, `aws:NAME` or
    `file:/path`. Raises ConfigError where the config is wrong, and SourceError for a text that cannot be read.

    >>> drop = {"name": "pythonexp", "options": {"python_expression": "item['stock'] > 0"}}
    >>> found = apply({"reader": "random", "filter_before": drop, "writer": "console"}, [{"stock": 1}, {"stock": 0}])
    >>> found.records, found.dropped
    (({'stock': 1},), {'filter_before': 1})
    """
    from exporters_beam.config import spec
    from exporters_beam.testing import applied

    return applied.apply(spec.load(config, variables=variables or {}), records, now, secrets, writer)


def build(config: Config, pipeline: Any, *, variables: Mapping[str, object] | None = None) -> Outputs:
    """Put an export into a pipeline of your own, which you then run.

    Gives `Outputs`: the PCollections `delivered` (DeliveredFile), `failed` (Failure) and `manifest` (one mapping, when
    all is delivered). Staging stands in the hidden folder `.exporters` at the destination, which every worker has to
    reach. Raises ConfigError.
    """
    from exporters_beam.config import spec
    from exporters_beam.runners import launch as runner

    return runner.put(spec.load(config, variables=variables or {}), pipeline)


__all__ = [
    "ConfigError",
    "DestinationError",
    "ExportError",
    "MissingExtra",
    "Problem",
    "RecordError",
    "Report",
    "SourceError",
    "apply",
    "build",
    "follow",
    "option",
    "replay",
    "run",
]
