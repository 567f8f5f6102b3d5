"""What the command line says and logs on standard error: one line for each thing, which does nothing to a terminal."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterable

from exporters_beam.components.secret import hide
from exporters_beam.errors import ConfigError, ExportError, Problem, printable


def start_logging(level: str | None, debug: bool, quiet: bool = False) -> None:
    """On standard error. Beam and others say only what is wrong, unless debugging; the export as its config says.

    Beam's remark about apitools, made whenever it is imported without Google's libraries, is left out.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    handler.addFilter(lambda record: debug or not str(record.msg).startswith("apitools not found"))
    handler.setLevel(logging.WARNING if quiet else logging.NOTSET)
    if not debug:
        handler.addFilter(_not_of_beam)
    logging.basicConfig(handlers=[handler], level=logging.INFO if debug else logging.WARNING)
    if level is not None:
        logging.getLogger("exporters_beam").setLevel(level)


def _not_of_beam(record: logging.LogRecord) -> bool:
    """Not what Beam says at every start, nor the tracebacks of its workers: what failed is told in one sentence."""
    text = record.getMessage()
    if record.name.startswith(("apache_beam", "root")) and (record.exc_info or "Traceback" in text):
        return False
    if text.startswith(("Unparseable argument", "Really starting service", "Really destroying service")):  # Flink's job server.
        return False
    return "apitools not found" not in text and "No semi_persistent_directory found" not in text


class _Lines(logging.Formatter):
    """Log records as the other lines on standard error: `warning: …`."""

    def format(self, record: logging.LogRecord) -> str:
        lines = hide(super().format(record)).split("\n") if record.exc_info else [hide(super().format(record))]
        return f"{record.levelname.lower()}: " + "\n".join(map(printable, lines))


def warn(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print_error(f"warning: {problem}")


def tell_error(error: Exception, debug: bool) -> None:
    if debug:
        for line in hide("".join(traceback.format_exception(error))).splitlines():
            print_error(line)
    if isinstance(error, ConfigError):
        for problem in error.problems:
            print_error(f"error: {problem}")
        return
    hint = "" if debug or isinstance(error, ExportError) else " (--debug shows where)"
    print_error(f"error: {sentence(error)}{hint}")


def sentence(error: BaseException) -> str:
    text = str(error) if isinstance(error, ExportError) else hide(f"{type(error).__name__}: {error}")
    return text or type(error).__name__


def print_error(text: str) -> None:
    """One line: names of files may hold line ends, and what moves a terminal's cursor."""
    print(printable(hide(text.rstrip())), file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    print(printable(hide(text)), flush=True)
