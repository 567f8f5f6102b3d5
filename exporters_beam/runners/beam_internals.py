"""What is used of Beam that its documentation does not promise: every such name, why it is used, and nothing else.

Names of modules are imported from here (`from exporters_beam.runners.beam_internals import FnApiRunner`) and looked up when
that is done, so that nothing waits for Beam. Whoever imports one that a Beam does not have gets an ImportError. Private
attributes have a function each. `tests/runners/test_beam_internals.py` says what is gone or behaves otherwise in the Beam
that is installed.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

PORTABILITY = "apache_beam.runners.portability."

NAMES = {
    "FnApiRunner": (
        PORTABILITY + "fn_api_runner.fn_runner",
        "`local_workers.Runner` is one: `run_pipeline` puts all steps into one environment, and `run_via_runner_api` "
        "is where that gets our kind",
    ),
    "GrpcWorkerHandler": (
        PORTABILITY + "fn_api_runner.worker_handlers",
        "`local_workers.WorkerProcess` is one: it makes the connections, we the process",
    ),
    "WorkerHandler": (
        PORTABILITY + "fn_api_runner.worker_handlers",
        "`register_environment` makes our kind of environment known",
    ),
    "BeamFnLoggingServicer": (
        PORTABILITY + "local_job_service",
        "takes in what worker processes log, as for Beam's own",
    ),
    "python_urns": ("apache_beam.portability", "`SUBPROCESS_SDK` is the kind of environment that ours stands for"),
    "thread_pool_executor": ("apache_beam.utils", "`shared_unbounded_instance` serves gRPC, as for Beam's own workers"),
    "sdk_worker_main": (
        "apache_beam.runners.worker",
        "`main` is Beam's worker, which ours is; its environment variables say where to connect",
    ),
    "FlinkJarJobServer": (
        PORTABILITY + "flink_runner",
        "`path_to_jar` and `local_jar` fetch Beam's job server before anything starts",
    ),
    "StateSampler": ("apache_beam.runners.worker.statesampler", "its period has no option, but is a default"),
    "extract_counter_value": ("apache_beam.metrics.monitoring_infos", "reads the times that workers have sampled"),
    "_BeamArgumentParser": (
        "apache_beam.options.pipeline_options",
        "knows which options there are; Beam itself drops unknown ones with no more than a remark",
    ),
    "DataflowRunner": (
        "apache_beam.runners.dataflow.dataflow_runner",
        "`get_default_gcp_region` asks gcloud as Beam would",
    ),
    "PipelineOptionsValidator": (
        "apache_beam.options.pipeline_options_validator",
        "`OPTIONS` are the groups of options that check themselves; ours tells all that they find at once",
    ),
}
"""The names that are imported: from which module, and why."""


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = NAMES[name][0]
    module = importlib.import_module(place)
    if not hasattr(module, name):
        with suppress(ModuleNotFoundError):
            return importlib.import_module(f"{place}.{name}")
    return getattr(module, name)


def parser_of_options() -> Any:
    """A parser that knows all of Beam's options, and those of packages that add some."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = __getattr__("_BeamArgumentParser")(allow_abbrev=False, add_help=False)
    for kind in {str(kind): kind for kind in PipelineOptions.__subclasses__()}.values():
        kind._add_argparse_args(parser)  # Only options of one kind can be asked for by a public name.
    return parser


def beams_period() -> int | None:
    """Milliseconds between samples of what a bundle is busy with, where they are the only default; else None."""
    defaults = getattr(__getattr__("StateSampler").__init__, "__defaults__", None)
    return defaults[0] if defaults and len(defaults) == 1 and isinstance(defaults[0], int) else None


BEAMS_PERIOD = 200
"""The default of Beam 2.77."""


def sample_every(milliseconds: int) -> None:
    """Have Beam sample so often: the end of a bundle waits for the next sample (statesampler_fast.pyx in Beam 2.77). Where
    the default is not the one that we know, bundles wait."""
    if beams_period() == BEAMS_PERIOD:
        __getattr__("StateSampler").__init__.__defaults__ = (milliseconds,)


def times(result: object) -> Iterator[tuple[str, float]]:
    """Steps of the graph, and the seconds that a part of each took; nothing where the runner does not say."""
    for info in getattr(result, "monitoring_infos", tuple)():
        if info.urn.startswith("beam:metric:pardo_execution_time:"):
            yield info.labels.get("PTRANSFORM", ""), __getattr__("extract_counter_value")(info) / 1000


def has_connected(control: object) -> bool:
    """Whether the worker at the other end has ever called. `_input` is what it sends; where that is gone, it may have."""
    return getattr(control, "_input", control) is not None


def break_off(control: Any, data: Any, why: Exception) -> None:
    """Fail whatever waits for a worker's answers and data. `_closed` ends those who wait for data: `close` would wait."""
    data._closed = True
    with suppress(RuntimeError):  # Beam may add to what waits meanwhile.
        control.abort(why)


def quieten(control: object, data: object) -> None:
    """The launcher's threads that read from a worker end silently, and hold up nobody's exit, when it is gone. Where the
    private names are missing, those threads speak."""
    import grpc

    def quiet(read: Callable[..., None]) -> Callable[..., None]:
        def reading(*args: object) -> None:
            with suppress(grpc.RpcError):
                read(*args)

        return reading

    if hasattr(control, "_read") and hasattr(control, "_read_thread"):
        control._read_thread = threading.Thread(target=quiet(control._read), name="beam_control_read", daemon=True)
    if hasattr(data, "_read_inputs"):
        data._read_inputs = quiet(data._read_inputs)


def remember_signatures() -> None:
    """Have Beam look at the signature of a function once. It asks for those of all methods of all DoFns some six thousand times
    a run, which is two fifths of what a small export costs (`transforms.core.get_function_args_defaults`, Beam 2.77). Where
    Beam has no such function, it looks each time."""
    core: Any = importlib.import_module("apache_beam.transforms.core")
    looks = getattr(core, "get_function_args_defaults", None)
    if looks is None or hasattr(looks, "known"):
        return
    known: WeakKeyDictionary[Any, dict[bool, Any]] = WeakKeyDictionary()

    def remembered(function: Any) -> tuple[list[str], list[Any]]:
        own = getattr(function, "__func__", function)
        if type(own) is not FunctionType:
            return looks(function)
        told = known.setdefault(own, {})
        bound = own is not function
        if bound not in told:
            told[bound] = looks(function)
        names, defaults = told[bound]
        return list(names), list(defaults)

    vars(remembered)["known"] = known
    core.get_function_args_defaults = remembered
