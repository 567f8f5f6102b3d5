"""One worker process of the local runner: Beam's own, that ends at once when its launcher is gone, however that ended.

Started by `local_workers` as `python -m exporters_beam.runners.local_worker_process FD`, where FD is the end of a pipe to
read from; or forked from the launcher before that does anything else (`stand_by`), with all that takes seconds to import
imported already.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from exporters_beam.interruption import SIGNALS
from exporters_beam.runners.beam_internals import sample_every

SAMPLE_MILLISECONDS = 10


def main() -> None:
    _work(int(sys.argv[1]))


def _work(launcher: int) -> None:
    threading.Thread(target=_follow, args=(launcher,), daemon=True).start()
    # What is logged here the launcher gets, and tells; without a handler Beam would put it on standard error as well.
    logging.getLogger().addHandler(logging.NullHandler())
    from exporters_beam.runners.beam_internals import sdk_worker_main

    sys.stderr = Quiet(sys.stderr)
    sample_often()
    few_collections()
    sdk_worker_main.main(sys.argv)


class Quiet:
    """Standard error without tracebacks: Beam's worker prints that of every step that fails, and the launcher, which gets it
    too, tells in one sentence what went wrong."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._dropped = stream, False

    def write(self, text: str) -> int:
        self._dropped = text.startswith("Traceback (most recent call last)") or (self._dropped and text == "\n")
        if not self._dropped:
            self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def sample_often() -> None:
    """Let bundles end at once: Beam samples what a bundle is busy with, every 200 ms, and the end waits for a sample."""
    sample_every(SAMPLE_MILLISECONDS)


def few_collections() -> None:
    """Fewer passes of the garbage collector while records stream by: what is here stays, and records hold no cycles."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def _follow(launcher: int) -> None:
    """Nothing more is ever written into this pipe: reading ends when the launcher's side is closed, by whatever."""
    os.read(launcher, 1)
    os.kill(os.getpid(), signal.SIGKILL)


class StandBy:
    """A forked worker process that waits to be told, by `begin`, where to work. The rest is as in `subprocess.Popen`."""

    def __init__(self, others: list[StandBy]) -> None:
        theirs, self._pipe = os.pipe()
        self._ended = threading.Lock()
        self.begun = False
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # A Ctrl-C is the launcher's, and would be told twice.
        try:
            self.pid = os.fork()
            if self.pid == 0:
                for pipe in [self._pipe, *(other._pipe for other in others)]:
                    os.close(pipe)
                _forked(theirs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.close(theirs)

    def begin(self, environment: Mapping[str, str]) -> None:
        self.begun = True
        with suppress(BrokenPipeError), open(self._pipe, "wb", closefd=False) as pipe:
            pipe.write(json.dumps(dict(environment)).encode() + b"\n")

    def wait(self) -> int:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # Its number is its own until that is taken note of below.
        with self._ended:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.pid = 0
            os.close(self._pipe)
        return code

    def kill(self) -> None:
        with self._ended:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)


def _forked(pipe: int) -> NoReturn:
    status = 1
    try:
        os.setsid()  # Out of reach of the terminal's Ctrl-C: the launcher ends its workers.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        with open(pipe, "rb", buffering=0, closefd=False) as told:
            line = told.readline()
        if line:
            os.environ.clear()
            os.environ.update(json.loads(line))
            for logger in (logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)):
                logger.handlers.clear()
            _work(pipe)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


@contextmanager
def stand_by(count: int) -> Iterator[list[StandBy]]:
    """So many worker processes, forked now; none where a fork would not be safe. What was not begun ends with the block."""
    standing: list[StandBy] = []
    if count > 1 and may_fork():
        from exporters_beam.runners.beam_internals import sdk_worker_main  # noqa: F401

        for _ in range(count):
            standing.append(StandBy(standing))
    every = list(standing)
    try:
        yield standing
    finally:
        for process in every:
            if not process.begun:
                process.kill()
                process.wait()


def may_fork() -> bool:
    """Whether this process has no thread that a fork could leave in the middle of something: none of Python's, and none
    of gRPC's, which give themselves names. What Arrow's allocator has in the background is made for forks."""
    if not sys.platform.startswith("linux") or threading.active_count() > 1:
        return False
    try:
        names = set()
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/comm", encoding="utf-8") as file:
                names.add(file.read().strip())
    except OSError:
        return False
    return len(names - {"jemalloc_bg_thd"}) == 1


if __name__ == "__main__":
    main()
