"""Run a command and say what it took: CPU of its process tree, wall time, peak memory. Linux only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PAGE = os.sysconf("SC_PAGE_SIZE")
SECONDS_BETWEEN_SAMPLES = 0.1


class Figures(NamedTuple):
    """`cpu`: user + system seconds of the process and all children it waited for. `wall`: seconds.
    `peak`: bytes, the larger of the biggest process's peak and the highest sampled sum over the tree."""

    cpu: float
    wall: float
    peak: int


class CommandFailed(Exception):
    """The command ended with another exit status than 0; the message ends with the last lines it printed."""


def run(command: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str] | None = None) -> Figures:
    """Run `command` to its end, its output in `log`. Raises CommandFailed.

    Callers should be small processes: the kernel counts the memory of the process that starts a command as the
    command's first peak.
    """
    with open(log, "wb") as output:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=cwd, env=env)
        sampler = Sampler(child.pid)
        sampler.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it again
        sampler.stop()
    if child.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise CommandFailed(f"exit status {child.returncode} from: {' '.join(command)}\n{tail}")
    return Figures(usage.ru_utime + usage.ru_stime, wall, max(usage.ru_maxrss * 1024, sampler.peak))


def apart(command: Sequence[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and the peak of the biggest process, in MiB, of a command whose output is not looked at.

    A small process starts it, so that memory of the caller is not counted: a service that holds a million rows, for one.
    """
    done = subprocess.run([sys.executable, __file__, *command], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    wall, cpu, peak = json.loads(done.stdout)
    return wall, cpu, peak


def starter(command: Sequence[str]) -> int:
    """What `apart` starts: runs the command and prints what it took."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    print(json.dumps([time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
    return abs(process.returncode)


class Sampler(threading.Thread):
    """Adds up the resident memory of a process and its descendants, ten times a second; `peak` is the highest sum."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peak, self.ended = root, 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(SECONDS_BETWEEN_SAMPLES):
            self.peak = max(self.peak, sum(map(resident, tree(self.root))))

    def stop(self) -> None:
        self.ended.set()
        self.join()


def tree(root: int) -> list[int]:
    """A process and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            children.setdefault(parent(int(name)), []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found


def parent(pid: int) -> int:
    """The process that started `pid`; 0 where it has ended meanwhile."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def resident(pid: int) -> int:
    """Resident bytes; 0 where the process has ended meanwhile."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


if __name__ == "__main__":
    raise SystemExit(starter(sys.argv[1:]))
