"""Asks a worker of a pool what it has and sees:

`python -m exporters_beam.runners.flink_pool_probe HOST:PORT FILE FOLDER MODULES [OPTIONS]`.

It runs a pipeline of one element on a worker that the pool starts, as a real export would, with the packages that the
options bring. What the worker says is printed as JSON; what goes wrong is on standard error. It is a process of its own
so that it can be ended.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def look(asked: tuple[str, str, str]) -> None:
    """On the worker: which versions, whether it sees the file and can write beside it, and which modules it lacks.

    Modules are looked for from the folder that the export's workers go to, where there is one.
    """
    from apache_beam.metrics import Metrics

    from exporters_beam import __version__

    path, folder, modules = asked
    if os.path.isdir(folder):
        os.chdir(folder)
    sees = os.path.exists(path) and os.access(os.path.dirname(path), os.W_OK)
    missing = [name for name in modules.split(",") if name and not _there(name)]
    told = {"version": __version__, "python": list(sys.version_info[:2]), "sees": sees,
            "missing": missing}  # fmt: skip
    Metrics.string_set("probe", "told").add(json.dumps(told))


def _there(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def main(address: str, path: str, folder: str, modules: str, *packages: str) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import (
        ExternalEnvironment,
        python_sdk_capabilities,
        python_sdk_dependencies,
    )

    from exporters_beam import __version__
    from exporters_beam.runners import flink_pool_probe as probe

    options = PipelineOptions(list(packages))
    environment = ExternalEnvironment(address, capabilities=python_sdk_capabilities(),
                                      artifacts=python_sdk_dependencies(options) if packages else ())  # fmt: skip
    pipeline = beam.Pipeline(runner=FnApiRunner(default_environment=environment), options=options)
    pipeline | beam.Create([(path, folder, modules)], reshuffle=False) | beam.Map(probe.look)
    found = pipeline.run().metrics().query()["string_sets"]
    told = {key: value for metric in found for text in metric.result for key, value in json.loads(text).items()}
    print(json.dumps({**told, "ours": __version__}), flush=True)
    os._exit(0)  # Beam leaves threads behind that wait for the worker.


if __name__ == "__main__":
    main(*sys.argv[1:])
