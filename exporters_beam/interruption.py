"""Ctrl-C, SIGTERM and a terminal that closes: the command ends with status 130 and one line, whatever it was doing.

The first signal raises KeyboardInterrupt, so that all is put away. Libraries swallow that, or take their time; so the process
ends after PATIENCE seconds in any case, and at a second signal at once. That is safe at any moment: what counts is committed by
renaming.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130
PATIENCE = 10.0
"""Seconds that putting away may take."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """What this process does when it is asked to end.

    `at_once` says that there is nothing to put away: while modules are imported, and at the end. `tells` gives what the one
    line says. With `loud` what libraries say meanwhile is told, too.
    """

    def __init__(self) -> None:
        self.asked = self._told = False
        self.at_once, self.loud = True, False
        self.ends: Callable[[], None] | None = None
        """What a first SIGTERM does in place of an interruption, where there is something that comes to a good end by
        itself."""
        self.tells: Callable[[], str] = lambda: "interrupted before anything was begun; run it again"

    def listen(self) -> None:
        """From here on. What this process was told to ignore by who started it is ignored."""
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.at_once or self.asked:
            self.leave()
        if number == signal.SIGTERM and self.ends is not None:
            ends, self.ends = self.ends, None
            ends()
            return
        self.asked = True
        import threading

        threading.Thread(target=self._leave_in_time, name="exporters_beam interruption", daemon=True).start()
        if not self.loud:  # What goes wrong from here on goes wrong because of us.
            sys.stderr = open(os.devnull, "w", encoding="utf-8")
        raise KeyboardInterrupt

    def _leave_in_time(self) -> None:
        import time

        time.sleep(PATIENCE)
        if self._told:  # The main thread is about to end.
            time.sleep(1.0)
        self.leave()

    def leave(self) -> NoReturn:
        """Tell the one line and end this process."""
        try:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        except ValueError:  # not the main thread
            pass
        if not self._told:
            self._told = True
            try:
                text = self.tells()
            except Exception:
                text = "interrupted"
            line = f"error: {text}\n".encode(errors="backslashreplace")
            os.write(2, b"\r\x1b[K" + line if os.isatty(2) else line)
        os._exit(INTERRUPTED)


def _is_the_command(argv: list[str], given: list[str]) -> bool:
    """Whether this process is our command line, and no program that imports the package."""
    if os.path.basename(argv[0] if argv else "") == "exporters-beam":
        return True
    return bool(argv) and argv[0] == "-m" and "-m" in given and given[given.index("-m") + 1 :][:1] == ["exporters_beam"]


def begun() -> Interruption | None:
    """What listens in this process, where it is our command line: from the first line of the package that runs."""
    if not _is_the_command(sys.argv, sys.orig_argv):
        return None
    interruption = Interruption()
    try:
        interruption.listen()
    except ValueError:  # not the main thread
        return None
    return interruption


OF_THIS_PROCESS = begun()
