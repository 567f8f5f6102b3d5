"""The commands for exports that read only what is new."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING

from exporters_beam.cli.console import print_error, print_line, start_logging
from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import WriterTraits
from exporters_beam.config.new_only import duration
from exporters_beam.errors import ConfigError
from exporters_beam.interruption import OF_THIS_PROCESS

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec


def state(spec: ExportSpec, args: argparse.Namespace) -> None:
    """Tell how far the chain of a config has come, or change what counts as read."""
    from exporters_beam.runners import chain_states as states

    if args.reset:
        lines = states.reset(spec)
    elif args.skip:
        lines = states.skip(spec)
    elif args.since is not None:
        lines = states.back(spec, _time(args.since))
    else:
        lines = states.told(spec)
    for line in lines:
        print_line(line)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--since: {text} is not a time; write 2026-11-30 or 2026-11-30T14:00:00, in local time") from None
    return found.astimezone().replace(tzinfo=None) if found.tzinfo is not None else found


def follow(spec: ExportSpec, args: argparse.Namespace, beam_args: list[str]) -> int:
    """Run batch after batch. SIGTERM ends after the batch that is under way, with status 0; Ctrl-C at once."""
    import threading

    from exporters_beam.runners import following

    for name, value in (("full", args.full), ("report", args.report), ("resume", args.resume)):
        if value:
            raise ConfigError(f"--{name}: it is for one run; leave it out with --follow")
    start_logging(spec.settings.log_level, args.debug, args.quiet)
    every = None if args.every is None else duration("--every", args.every)
    stop = threading.Event()
    if OF_THIS_PROCESS is not None:
        OF_THIS_PROCESS.ends = stop.set
        OF_THIS_PROCESS.tells = lambda: "interrupted; the batch that was under way is ended by the next run"
    for report in following.follow(spec, beam_args, stop=stop, workers=args.workers, every=every):
        if report.status != "done":
            print_error(f"error: {report.error}; it is tried again")
        elif not args.quiet:
            print_error(report.line())
    return 0


def runs(spec: ExportSpec, args: argparse.Namespace) -> None:
    """List the batches of a chain, the last ones."""
    from exporters_beam.runners import chain_states as states

    for line in states.runs(spec, args.n):
        print_line(line)


def verify(spec: ExportSpec) -> bool:
    """Look at every batch of a chain again; tells whether all is right."""
    from exporters_beam.runners import chain_states as states

    good = True
    for plan in states.plans_of(spec):
        to = WriterTraits.of(reveal(plan.writer))
        wrong, line = states.verified(plan, None if to.storage is None else to.storage(), to.count)
        good = _tell(line, wrong) and good
    return good


def verify_deltas(spec: ExportSpec) -> bool:
    """Look at every delivery of deltas again, each against the one before; tells whether all is right."""
    from exporters_beam.runners.deltas import verified

    good, some = True, False
    for line, wrong in verified(spec):
        some = True
        good = _tell(f"{line}: ok", wrong) and good
    if not some:
        print_line("there is no delivery yet")
    return good


def _tell(line: str, wrong: list[str]) -> bool:
    """What is wrong, or where nothing is the line; tells whether that is so."""
    for text in wrong:
        print_error(f"error: {text}")
    if not wrong:
        print_line(line)
    return not wrong
