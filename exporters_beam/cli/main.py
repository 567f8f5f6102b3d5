"""The command line: `exporters-beam run | replay | validate | explain | preview | test | verify | clean | modules |
schema | migrate | init`.

Exit status: 0 done, 1 the export failed, 2 the config or the command is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from exporters_beam.cli.commands import (
    _INTERRUPTED,
    BROKEN_PIPE,
    FAILED,
    WRONG,
    _refuse_report,
    _refuse_unknown,
    _template_launch,
)
from exporters_beam.cli.console import print_error, sentence, tell_error
from exporters_beam.cli.parser import _parse, _parser
from exporters_beam.errors import ConfigError, DestinationError
from exporters_beam.interruption import INTERRUPTED, OF_THIS_PROCESS


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status."""
    if argv is not None:
        return _run_command(list(argv))
    # This process is ours alone. What is imported now stays, so the garbage collector looks for it in vain, and the threads
    # that NumPy's linear algebra starts would turn idly.
    gc.set_threshold(100_000, 20, 20)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not {"", os.getcwd()} & set(sys.path):  # Modules of the config's own, as with `python -m`; they hide no other.
        sys.path.append(os.getcwd())
    interruption = OF_THIS_PROCESS
    if interruption is None:
        status = _run_command(sys.argv[1:])
    else:
        interruption.tells, interruption.loud = lambda: _INTERRUPTED, "--debug" in sys.argv
        try:
            interruption.at_once = False
            status = _run_command(sys.argv[1:])
            interruption.at_once = True
        except BaseException:  # In the very moment before a command begins, or behind its end.
            if not interruption.asked:
                raise
        if interruption.asked:
            interruption.leave()
    _leave(status)
    return status


def _leave(status: int) -> None:
    """End this process here, unless threads are left to be waited for. What is registered for the end is done; to take apart
    all that was imported would take a tenth of a second."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _run_command(given: list[str]) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # records may hold halves of surrogate pairs
    parser = _parser()
    try:
        args = _parse(parser, given)
    except SystemExit as exit:  # argparse has told why
        return exit.code if isinstance(exit.code, int) else WRONG
    try:
        if hasattr(args, "report"):
            _refuse_report(args)
        if args.beam and args.command is not _template_launch:
            _refuse_unknown(args)
        status: int = args.command(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of our output is gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        _report_error(args, interrupt)
        print_error(f"error: {_INTERRUPTED}")
        return INTERRUPTED
    except Exception as error:
        tell_error(error, args.debug)
        _report_error(args, error)
        return WRONG if isinstance(error, ConfigError) else FAILED


def _report_error(args: argparse.Namespace, error: BaseException) -> None:
    """Write the report of a command that did not end well, where one was asked for."""
    if getattr(args, "report", None) is None:
        return
    from exporters_beam.reporting.of_runs import of_error, write

    try:
        write(args.report, of_error(error, sentence(error)))
    except DestinationError as wrong:
        print_error(f"error: {wrong}")
