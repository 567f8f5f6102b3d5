"""What is used of Beam that it does not promise: it is there in the Beam that is installed, and does what is relied on."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from exporters_beam.runners import beam_internals
from exporters_beam.runners.beam_internals import NAMES

ROOT = Path(__file__).parents[2] / "exporters_beam"
BEAM = f"Beam {beam.__version__}"
CLOUD = importlib.util.find_spec("google.cloud.dataflow") if importlib.util.find_spec("google.cloud") else None


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_name_is_there(name: str) -> None:
    if name == "DataflowRunner" and CLOUD is None:
        pytest.skip("needs exporters-beam[dataflow]")
    module, why = NAMES[name]
    found = getattr(beam_internals, name, None)
    assert found is not None, f"{BEAM} has no {module}.{name}, which is needed: {why}"


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("FnApiRunner", "run_pipeline"),
        ("FnApiRunner", "run_via_runner_api"),
        ("GrpcWorkerHandler", "start_worker"),
        ("GrpcWorkerHandler", "stop_worker"),
        ("GrpcWorkerHandler", "close"),
        ("WorkerHandler", "register_environment"),
        ("python_urns", "SUBPROCESS_SDK"),
        ("thread_pool_executor", "shared_unbounded_instance"),
        ("sdk_worker_main", "main"),
        ("FlinkJarJobServer", "path_to_jar"),
        ("FlinkJarJobServer", "local_jar"),
        ("PipelineOptionsValidator", "OPTIONS"),
    ],
)
def test_it_has_what_is_called(name: str, attribute: str) -> None:
    found = getattr(beam_internals, name)
    assert hasattr(found, attribute), f"{BEAM}: {NAMES[name][0]}.{name} has no {attribute} any more"


def test_a_name_that_a_beam_does_not_have_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMES, "Gone", ("apache_beam.pvalue", "nothing"))
    with pytest.raises(ImportError):
        exec("from exporters_beam.runners.beam_internals import Gone")


def test_workers_get_what_beams_own_get() -> None:
    handlers = importlib.import_module("apache_beam.runners.portability.fn_api_runner.worker_handlers")
    control = handlers.ControlConnection()
    assert not beam_internals.has_connected(control), f"{BEAM}: `_input` of a new ControlConnection is not None any more"
    control.set_input(iter(()))
    assert beam_internals.has_connected(control), f"{BEAM}: `_input` is not what a worker sends any more"
    took = list(inspect.signature(beam_internals.GrpcWorkerHandler.__init__).parameters)
    assert took == ["self", "state", "provision_info", "grpc_server"], f"{BEAM}: GrpcWorkerHandler takes {took}"


def test_threads_that_read_from_a_dead_worker_are_silent(recwarn: Any) -> None:
    import grpc

    handlers = importlib.import_module("apache_beam.runners.portability.fn_api_runner.worker_handlers")
    data_plane = importlib.import_module("apache_beam.runners.worker.data_plane")

    def gone() -> Any:
        raise grpc.RpcError
        yield

    control, data = handlers.ControlConnection(), data_plane.InMemoryDataChannel()
    grpcs = data_plane._GrpcDataChannel()
    beam_internals.quieten(control, grpcs)
    control.set_input(gone())  # It starts `_read_thread`; one that spoke would fail this test as an unhandled exception.
    control._read_thread.join(10)
    assert control._read_thread.daemon, f"{BEAM}: `_read_thread` of ControlConnection is not the one that reads"
    grpcs._read_inputs(gone())
    beam_internals.quieten(object(), data)  # Where the private names are missing nothing happens.


def test_what_waits_for_a_dead_worker_is_woken() -> None:
    handlers = importlib.import_module("apache_beam.runners.portability.fn_api_runner.worker_handlers")
    data_plane = importlib.import_module("apache_beam.runners.worker.data_plane")
    api = importlib.import_module("apache_beam.portability.api").beam_fn_api_pb2
    control, data = handlers.ControlConnection(), data_plane._GrpcDataChannel()
    answer = control.push(api.InstructionRequest(instruction_id="1"))
    beam_internals.break_off(control, data, RuntimeError("gone"))
    with pytest.raises(RuntimeError, match="gone"):
        answer.get(timeout=10)
    with pytest.raises(RuntimeError):
        list(data.input_elements("1", ["x"]))


def test_the_period_of_samples_is_a_default() -> None:
    asked = "from exporters_beam.runners import beam_internals as b; print(b.beams_period()); b.sample_every(7)\n"
    asked += "print(b.beams_period())"
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", asked], capture_output=True, text=True, cwd=ROOT.parent)
    assert ran.stdout.split() == ["200", "7"], f"{BEAM}: the period of StateSampler is no default of 200 ms any more"


def test_times_are_told_by_step() -> None:
    pipeline = beam.Pipeline(runner=beam_internals.FnApiRunner())
    pipeline | "numbers" >> beam.Create([1]) | "twice" >> beam.Map(lambda n: 2 * n)
    result = pipeline.run()
    steps = {step.partition("/")[0] for step, seconds in beam_internals.times(result) if seconds >= 0}
    assert "twice" in steps, f"{BEAM} does not tell the times of steps any more"
    assert list(beam_internals.times(object())) == []


def test_all_options_are_known_to_one_parser() -> None:
    known = beam_internals.parser_of_options()._option_string_actions
    for name in ("--runner", "--flink_master", "--project", "--extra_package", "--direct_num_workers"):
        assert name in known, f"{BEAM}: its parser does not know {name}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=str)
def test_private_names_of_beam_are_used_in_this_one_file(path: Path) -> None:
    if path.name == "beam_internals.py":
        return
    code = ast.parse(path.read_text(encoding="utf-8"))
    inside = {module for module, _ in NAMES.values()} - {"apache_beam.portability", "apache_beam.utils"}
    inside -= {"apache_beam.options.pipeline_options", "apache_beam.runners.worker"}
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("apache_beam"):
            names = {alias.name for alias in node.names}
            assert not {name for name in names if name.startswith("_")}, f"{path}: a private name of Beam"
            assert node.module not in inside, f"{path}: {node.module} is for beam_internals"


def test_what_is_remembered_of_a_signature_is_what_beam_finds() -> None:
    """For functions, methods, bound ones, and what is none of these; a value that somebody changes changes nothing."""
    import functools

    from apache_beam.transforms import core

    beam_internals.remember_signatures()
    remembered = core.get_function_args_defaults
    assert hasattr(remembered, "known"), f"{BEAM} has no transforms.core.get_function_args_defaults any more"
    (plain,) = (
        cell.cell_contents for cell in remembered.__closure__ if getattr(cell.cell_contents, "__module__", "") == core.__name__
    )

    class Fn(beam.DoFn):
        def process(self, element, n=1, *more, timestamp=beam.DoFn.TimestampParam, **options):
            yield element

        @classmethod
        def made(cls, a, b=2):
            return cls()

        @staticmethod
        def alone(c, d=3):
            return c

    class Other(Fn):
        pass

    asked = [
        Fn.process,
        Fn().process,
        Other().process,
        Fn.made,
        Fn.alone,
        Fn().alone,
        len,
        functools.partial(Fn.alone, d=4),
        lambda e: e,
    ]
    for _ in range(2):
        for each in asked:
            try:
                expected = plain(each)
            except ValueError:
                continue
            found = remembered(each)
            assert found == expected, each
            found[0].append("changed")
            found[1].clear()
