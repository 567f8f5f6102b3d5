"""Runs an export in a process of its own that kills itself, or fails, at a chosen call: python child.py '{…}'.

The argument is JSON: `config`, `args` (Beam's), `resume`, `small` (tiny ranges, blocks and bundles), and `fault`:
{"call": one of CALLS, "nth": which call of it, from 1, "how": "kill" | an errno name}. Prints the report's counts as JSON.
"""

from __future__ import annotations

import builtins
import errno
import json
import os
import signal
import sys

CALLS = ("fsync", "rename", "replace", "open", "listdir", "remove", "makedirs", "write")


def main() -> int:
    asked = json.loads(sys.argv[1])
    import exporters_beam
    from exporters_beam import delivery, graph, runner
    from exporters_beam.formats import json_lines
    from exporters_beam.staging import Segment

    if asked.get("small"):
        graph.RANGE_BYTES, json_lines.PIECE = 4000, 2000
        delivery.BLOCK_BYTES, delivery.COMPRESS_BYTES, delivery.BLOCK_RECORDS = 3000, 1500, 20
        runner.BUNDLE_SECONDS = 0.0
    fault = asked.get("fault")
    if fault:
        inject(fault, Segment)
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
    print(json.dumps({"counts": dict(report.counts), "resumed": report.resumed}))
    return 0


def inject(fault: dict, segment: type) -> None:
    """Make the nth call that touches the export's own files fail, or kill the process at it."""
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
        raise OSError(getattr(errno, fault["how"]), os.strerror(getattr(errno, fault["how"])))

    name = fault["call"]
    if name == "open":
        genuine = builtins.open

        def opening(file, *args, **kwargs):
            if struck(file):
                strike()
            return genuine(file, *args, **kwargs)

        builtins.open = opening
    elif name == "write":
        genuine_add = segment.add

        def adding(self, *args):
            left[0] -= 1
            if left[0] == 0:
                from exporters_beam.staging import destination

                with destination("cannot write to the staging folder", self.path):
                    strike()
            return genuine_add(self, *args)

        segment.add = adding
    else:
        call = getattr(os, name)

        def calling(path, *args, **kwargs):
            if struck(path):
                strike()
            return call(path, *args, **kwargs)

        setattr(os, name, calling)


if __name__ == "__main__":
    sys.exit(main())
