"""Beam's runner on this machine: how many worker processes an export gets, and how it is run in them."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from exporters_beam.components.traits import DecoderTraits, ReaderTraits, WriterTraits
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.planning.plan import Plan
from exporters_beam.readers.units import units_of
from exporters_beam.runners.beam_internals import remember_signatures
from exporters_beam.runners.local_worker_process import few_collections, sample_often, stand_by
from exporters_beam.runners.options import Decision, Options
from exporters_beam.runners.support import Crew, Start, about, begin, ended
from exporters_beam.staging.books import Books, has_segments
from exporters_beam.staging.run import Run

BUNDLE_SECONDS = 10.0
"""On the local runner a bundle is closed at the end of a range after so long; what it read is then committed."""

FEW_RANGES = 2
"""Ranges of a large unit that one of several worker processes reads at a time."""

ENOUGH = 128 << 20
"""Bytes of input from which on several processes are worth their start."""

PART = 64 << 20
"""Bytes of a file that one process has at least, where a file can be entered in the middle."""

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""How files end that can be read from their beginning only."""

GIVEN = ("direct_num_workers", "direct_running_mode", "direct_embed_docker_python", "direct_test_splits")


class Local:
    """This machine: a `RunnerSupport`."""

    here = True

    def settle(self, plan: Plan, options: Options) -> Iterable[Decision]:
        return ()

    @contextmanager
    def crew(self, plan: Plan, options: Options, asked: int | None) -> Iterator[Crew]:
        count = processes(plan, options, asked)
        if count > 1:
            logging.getLogger(plan.spec.settings.logger_name).info("%d worker processes", count)
        with stand_by(count) as standing:
            yield Crew(count, standing)

    def prepare(self, plan: Plan, options: Options, books: Books, crew: Crew) -> Start:
        from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions, TypeOptions

        if crew.count > 1:
            several = ["--direct_running_mode=multi_processing", f"--direct_num_workers={crew.count}"]
            options = Options([*options.given, *several])
        beams = PipelineOptions(options.given)
        beams.view_as(StandardOptions).runner = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
        beams.view_as(TypeOptions).pipeline_type_check = False  # The graph is ours, and its tests have checked it.
        # With several workers FnApiRunner forgets what they hand back (ParallelBundleManager, Beam 2.77).
        alone = beams.view_as(DirectOptions).direct_num_workers == 1
        run = Run(plan.export_id, books.staging, books.scratch, books.folder, about(plan, "local"),
                  bundle_seconds=BUNDLE_SECONDS if alone else None, resumed=books.resumed,
                  pieces=FEW_RANGES if crew.count > 1 else 0)  # fmt: skip
        return Start(options, beams, run, books, crew)

    def run(self, plan: Plan, start: Start) -> Any:
        from apache_beam.options.pipeline_options import DirectOptions

        from exporters_beam.components.ready import ready

        if WriterTraits.of(plan.writer).probe is not None and not start.run.tolerant:
            probe = WriterTraits.of(ready(plan.writer)).probe
            assert probe is not None
            probe()
        sample_often()
        remember_signatures()
        several = start.options.view_as(DirectOptions).direct_running_mode == "multi_processing"
        with _collector():
            return ended(begin(plan, start, _watching(start) if several else None))

    def after(self, books: Books) -> None:
        """Nothing is left behind."""


def _watching(start: Start) -> Any:
    """The runner that notices when a worker process dies; None with a Beam for which it was not made."""
    try:
        from exporters_beam.runners.local_workers import Runner
    except ImportError:
        return None
    return Runner(lambda: start.books.lasting and has_segments(start.books), start.crew.standing)


@contextmanager
def _collector() -> Iterator[None]:
    """Fewer passes of the garbage collector, until the run has ended."""
    before = gc.get_threshold()
    few_collections()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


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
    side_by_side = plan.names is not None and WriterTraits.of(plan.writer).to_folders and not plan.limit
    if not side_by_side or plan.copied or not ReaderTraits.of(plan.reader).on_this_machine:
        return 1
    return min(cores(), _parts(plan)) if cores() > 1 else 1


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parts(plan: Plan) -> int:
    """Into how many parts the input can be divided, as far as the names and sizes of files tell; 1 where it is small."""
    size = parts = 0
    decoder = DecoderTraits.of(plan.deserializer)
    divisible = decoder.splits_on_lines or decoder.row_groups is not None
    try:
        for unit in units_of(plan.reader):
            size += max(0, unit.size)
            parts += max(1, unit.size // PART) if divisible and not unit.name.lower().endswith(COMPRESSED) else 1
            if size >= ENOUGH and parts >= cores():
                return parts
    except SourceError:
        return 1  # The run itself says what cannot be read.
    return parts if size >= ENOUGH else 1
