"""`exporters-beam run --dates`: an export for each of many days."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING

from exporters_beam.cli.console import print_error, print_line, start_logging
from exporters_beam.errors import ConfigError
from exporters_beam.interruption import OF_THIS_PROCESS

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec


def backfill(spec: ExportSpec, args: argparse.Namespace, beam_args: list[str]) -> bool:
    """Run the export of each day, and tell of each in a line; tells whether all went well."""
    from exporters_beam.runners import backfill as dates

    for name, value in (("full", args.full), ("report", args.report), ("resume", args.resume), ("follow", args.follow)):
        if value:
            raise ConfigError(f"--{name}: it is for one run; leave it out with --dates")
    start_logging("WARNING", args.debug, args.quiet)
    days = dates.days_of(args.dates)
    dates.refuse_same_names(spec, days)
    if OF_THIS_PROCESS is not None:
        OF_THIS_PROCESS.tells = lambda: "interrupted; days that are complete are passed over when it is run again"

    def command(day: date) -> list[str]:
        more = [part for variable in args.var for part in ("--var", variable)]
        more += ["--workers", str(args.workers)] if args.workers else []
        more += ["--no-pushdown"] if args.no_pushdown else []
        more += [part for rule in args.without for part in ("--without", rule)]
        return ["run", args.config, "--dates", f"{day}..{day}", *more, *beam_args]

    jobs = min(args.jobs or 1, len(days))
    found = (
        dates.backfill(spec, days, beam_args, workers=args.workers) if jobs == 1 else dates.side_by_side(command, days, jobs)
    )
    outcomes = []
    for each in found:
        outcomes.append(each)
        print_line(str(each))
    if len(days) > 1:
        told = Counter(each.outcome for each in outcomes)
        print_line(f"{len(days):,} days: {', '.join(f'{n:,} {what}' for what, n in told.items())}")
    failed = [each for each in outcomes if each.outcome == dates.FAILED]
    for each in failed:
        print_error(f"error: {each.day}: {each.text}")
    return not failed
