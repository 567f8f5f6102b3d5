"""Asks a worker of a pool what it has and sees: `python -m exporters_beam.probe HOST:PORT FILE`.

It runs a pipeline of one element on a worker that the pool starts, as a real export would. What the worker says is
printed as JSON; what goes wrong is on standard error. It is a process of its own so that it can be ended.
"""

from __future__ import annotations

import json
import os
import sys


def look(path: str) -> None:
    """On the worker: which versions, and whether it sees the file and can write beside it."""
    from apache_beam.metrics import Metrics

    from exporters_beam import __version__

    sees = os.path.exists(path) and os.access(os.path.dirname(path), os.W_OK)
    told = {"version": __version__, "python": list(sys.version_info[:2]), "sees": sees, "folder": os.getcwd()}
    Metrics.string_set("probe", "told").add(json.dumps(told))


def main(address: str, path: str) -> None:
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import ExternalEnvironment

    from exporters_beam import __version__, probe

    pipeline = beam.Pipeline(runner=FnApiRunner(default_environment=ExternalEnvironment(address)))
    pipeline | beam.Create([path], reshuffle=False) | beam.Map(probe.look)
    found = pipeline.run().metrics().query()["string_sets"]
    told = {key: value for metric in found for text in metric.result for key, value in json.loads(text).items()}
    print(json.dumps({**told, "ours": __version__}), flush=True)
    os._exit(0)  # Beam leaves threads behind that wait for the worker.


if __name__ == "__main__":
    main(*sys.argv[1:])
