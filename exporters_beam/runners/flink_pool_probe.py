"""Asks a worker of a pool what it has and sees:

`python -m exporters_beam.runners.flink_pool_probe HOST:PORT FILE FOLDER MODULES [OPTIONS]`.

It runs a pipeline of one element on a worker that the pool starts, as a real export would, with the packages that the
options bring. What the worker says, or what goes wrong, is printed as JSON. It is a process of its own so that it can be
ended.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence

from exporters_beam.records import Json


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
    try:
        said = asked(address, path, folder, modules, packages)
    except Exception:
        said = failure(traceback.format_exc())
    print(json.dumps(said), flush=True)
    os._exit(0)  # Beam leaves threads behind that wait for the worker.


def failure(trace: str) -> dict[str, str]:
    """What went wrong: `package` where Beam makes none of a --setup_file, `start` where the pool refuses to start a worker,
    `import` where the worker lacks exporters_beam, else `other`; and why. Beam hands on texts, so that is what is looked at."""
    lines = [line for line in trace.splitlines() if "Error" in line] or trace.splitlines()[-1:]
    why = lines[-1].strip()
    if "Failed to build package" in trace:
        return {"failed": "package", "why": why}
    if REFUSED in why:
        return {"failed": "start", "why": why.partition(REFUSED)[2].strip()}
    return {"failed": "import" if "No module named 'exporters_beam" in trace else "other", "why": why}


REFUSED = "Error starting worker: "
"""What Beam puts before the reason that a pool gives."""


def asked(address: str, path: str, folder: str, modules: str, packages: Sequence[str]) -> Json:
    """What a worker of the pool says."""
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
    return {**told, "ours": __version__}


if __name__ == "__main__":
    main(*sys.argv[1:])
