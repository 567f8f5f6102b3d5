"""Runs an export in a process of its own that kills itself, or fails, at a chosen call: python child.py '{…}'.

The argument is JSON: `config`, `args` (Beam's), `resume`, `small` (tiny ranges, blocks and bundles), and `fault`:
{"call": one of CALLS, "nth": which call of it, from 1, "how": "kill" | "pause" | an errno name}; or {"call": "input", "path":
which file is changed, "nth": behind which chunk, "how": append, cut, overwrite or replace}. One that pauses makes the file
"here" and waits until there is one called "go" beside it. Prints the report's counts as
JSON, and whether the fault was met.

`python child.py --serve` takes one such line at a time on standard input, and runs each in a child that it forks: beginning
Python and importing Beam takes longer than a small export. It answers with {"pid"}, and at the end with {"code", "out", "err"}.
"""

from __future__ import annotations

import builtins
import errno
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

CALLS = ("fsync", "rename", "replace", "open", "os.open", "listdir", "remove", "makedirs", "write", "request")
PATIENCE = 60.0


def main() -> int:
    if sys.argv[1] == "--serve":
        return serve()
    return run(json.loads(sys.argv[1]))


def run(asked: dict) -> int:
    import exporters_beam
    from exporters_beam.engine import delivery, encode, graph
    from exporters_beam.formats import json_lines
    from exporters_beam.runners import local as runner
    from exporters_beam.staging.segments import Segment

    if asked.get("small"):
        graph.RANGE_BYTES, json_lines.PIECE = 4000, 2000
        delivery.BLOCK_BYTES, encode.COMPRESS_BYTES, encode.BLOCK_RECORDS = 3000, 1500, 20
        runner.BUNDLE_SECONDS = 0.0
    fault = asked.get("fault")
    met = inject(fault, Segment) if fault else lambda: False
    config = asked["config"]
    if asked.get("resume"):
        config = {**config, "exporter_options": {**config.get("exporter_options", {}), "resume": True}}
    try:
        report = exporters_beam.run(config, beam_args=asked.get("args", ()))
    except exporters_beam.ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except exporters_beam.ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"counts": dict(report.counts), "resumed": report.resumed, "met": met()}))
    return 0


def inject(fault: dict, segment: type) -> Callable[[], bool]:
    """Make the nth call that touches the export's own files fail, wait, or kill the process; gives whether it came to that."""
    left = [fault["nth"]]

    def struck(path: object) -> bool:
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        if not isinstance(path, int) and not (".exporters" in text or "/out" in text):
            return False
        left[0] -= 1
        return left[0] == 0

    def strike() -> None:
        if fault["how"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault["how"] == "pause":
            pause(fault["here"])
            return
        raise OSError(getattr(errno, fault["how"]), os.strerror(getattr(errno, fault["how"])))

    name = fault["call"]
    if name == "input":
        from exporters_beam.formats.json_lines import JsonLinesDeserializer

        genuine_chunks = JsonLinesDeserializer.chunks

        def chunks(self, stream):
            for found in genuine_chunks(self, stream):
                yield found
                left[0] -= 1
                if left[0] == 0:
                    change(fault["path"], fault["how"])

        JsonLinesDeserializer.chunks = chunks
    elif name == "write":
        genuine_add = segment.add

        def adding(self, *args):
            left[0] -= 1
            if left[0] == 0:
                from exporters_beam.files import destination

                with destination("cannot write to the staging folder", self.path):
                    strike()
            return genuine_add(self, *args)

        segment.add = adding
    elif name == "request":
        from http.client import HTTPConnection

        genuine_send = HTTPConnection.send

        def sending(self, *args):
            left[0] -= 1
            if left[0] == 0:
                strike()
            return genuine_send(self, *args)

        HTTPConnection.send = sending
    else:
        module, name = (builtins, name) if name == "open" else (os, name.removeprefix("os."))
        call = getattr(module, name)

        def calling(path, *args, **kwargs):
            if struck(path):
                strike()
            return call(path, *args, **kwargs)

        setattr(module, name, calling)
    return lambda: left[0] <= 0


def pause(here: str) -> None:
    with open(here, "w", encoding="utf-8"):
        pass
    until = time.monotonic() + PATIENCE
    while not os.path.exists(os.path.join(os.path.dirname(here), "go")) and time.monotonic() < until:
        time.sleep(0.02)


def change(path: str, how: str) -> None:
    """What somebody does to a file that is being read. Times are put back, as rsync -t and touch -r do."""
    found = os.stat(path)
    with open(path, "rb") as file:
        data = file.read()
    if how == "append":
        with open(path, "ab") as file:
            file.write(data[:1000])
    elif how == "cut":
        os.truncate(path, len(data) // 2)
    elif how == "overwrite":
        with open(path, "r+b") as file:
            file.write(data.replace(b"x", b"y"))
    elif how == "replace":
        with open(path + ".new", "wb") as file:
            file.write(data.replace(b"x", b"y"))
        os.replace(path + ".new", path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def serve() -> int:
    """One try after the other, each in a fork of this process, which has imported everything and started no thread."""
    import apache_beam.runners.portability.fn_api_runner  # noqa: F401

    import exporters_beam.engine.graph
    import exporters_beam.runners.launch
    import exporters_beam.runners.local  # noqa: F401

    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            pid = os.fork()
            if not pid:
                _leave_with(run, json.loads(line), out.fileno(), err.fileno())
            print(json.dumps({"pid": pid}), flush=True)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            found = {}
            for name, file in (("out", out), ("err", err)):
                file.seek(0)
                found[name] = file.read().decode("utf-8", "replace")
            print(json.dumps({"code": code, **found}), flush=True)
    return 0


def _leave_with(work: Callable[[dict], int], asked: dict, out: int, err: int) -> None:
    """The whole life of a forked child."""
    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        code = work(asked)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
