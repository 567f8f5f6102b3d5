"""Starts an export on a runner that goes on without this process, and does not wait for its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from exporters_beam.config.spec import ExportSpec
from exporters_beam.errors import ConfigError
from exporters_beam.planning.plan import Plan, make
from exporters_beam.runners import dataflow, jobs
from exporters_beam.runners.books import begun
from exporters_beam.runners.flink_rest import address_of
from exporters_beam.runners.launch import check, elsewhere, functions_elsewhere, logger_of, on_flink, told
from exporters_beam.runners.options import DATAFLOW, Options, refuse_unknown, settled
from exporters_beam.runners.own_output import refuse_own_output
from exporters_beam.runners.resume import goes_on_with
from exporters_beam.staging.books import segments_in

RUNNERS = {"flinkrunner": "FlinkRunner", **dict.fromkeys(DATAFLOW, "DataflowRunner")}
"""Those that go on by themselves."""


@dataclass(frozen=True)
class Submitted:
    """A job that was started. `place` is its address, which `status`, `cancel` and `drain` take; for a classic
    template the file that it was written to, and `job` is empty then. Both are empty where the export is complete already."""

    job: str
    place: str
    name: str = ""


def submit(spec: ExportSpec, beam_args: Sequence[str]) -> Submitted:
    """Start an export and give its job. Raises ConfigError before anything starts, ExportError when it cannot start."""
    plan, log = make(spec), logger_of(spec)
    refuse_unknown(beam_args)
    runner = RUNNERS.get(Options(beam_args).runner)
    if runner is None:
        raise ConfigError("--runner: submit needs a runner that goes on by itself; give --runner=DataflowRunner or "
                          "--runner=FlinkRunner, or use exporters-beam run")  # fmt: skip
    args, decisions = settled(plan, beam_args)
    given = Options(args)
    template = given.text("template_location")
    resume = spec.settings.resume
    if resume and template:
        raise ConfigError(
            "--resume: a template is launched again and again; submit without --template_location to resume"
        )
    if runner == "FlinkRunner":
        _refuse_what_ends_with_us(given)
    warnings = [str(decision) for decision in decisions if decision.warning]
    for warning in (
        *(str(problem) for problem in spec.warnings),
        *functions_elsewhere(spec, beam_args),
        *_checked(spec),
        *warnings,
    ):
        log.warning(warning)
    refuse_own_output(plan)
    plan, done = goes_on_with(plan, log)
    args = settled(plan, beam_args)[0]
    if done is not None:
        log.warning("the export is complete already; nothing was started (%s)", done["manifest"])
        return Submitted("", "")
    resume = plan.spec.settings.resume
    books = begun(plan, resume)
    left = frozenset() if resume else frozenset(segments_in(books))
    goes_on, before = books.resumed, set[str]()
    if runner == "FlinkRunner":
        args, goes_on = on_flink(plan, args, books)
        before = set(jobs.on_flink(given.text("flink_master"), given.text("job_name")))
    else:
        dataflow.make_folders(args)
    result, options = _started(plan, args, replace(elsewhere(plan, runner, books, goes_on), left=left))
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    cloud = options.view_as(GoogleCloudOptions)
    if template:
        return Submitted("", template, cloud.job_name)
    if runner == "DataflowRunner":
        job = jobs.Job("dataflow", result.job_id(), cloud.project, cloud.region, cloud.dataflow_endpoint, cloud.no_auth)
    else:
        job = jobs.started_on_flink(given.text("flink_master"), cloud.job_name, before, ended=lambda: _why(result))
    return Submitted(job.id, job.place, cloud.job_name)


def _started(plan: Plan, args: Sequence[str], run: Any) -> tuple[Any, Any]:
    """What Beam gives for the job, and the options as it read them. Raises ConfigError, ExportError."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from exporters_beam.engine.graph import build

    options = PipelineOptions(list(args))
    try:
        pipeline = beam.Pipeline(options=options)
        build(plan, pipeline, run)
        return pipeline.run(), options
    except ConfigError:
        raise
    except Exception as error:
        raise told(error) from None


def _refuse_what_ends_with_us(given: Options) -> None:
    """On Flink: workers in this process, a cluster in it, or its job server, which Flink asks for the workers' packages."""
    if given.text("environment_type").upper() == "LOOPBACK":
        raise ConfigError("--environment_type=LOOPBACK: the workers would end with submit, which does not wait; give "
                          "--environment_type=EXTERNAL --environment_config=HOST:PORT, or use exporters-beam run")  # fmt: skip
    address_of(given.text("flink_master"))


def _why(result: Any) -> str:
    """Why a job that was given to Beam's job server never comes to Flink; "" as long as it may."""
    if result.state not in ("FAILED", "CANCELLED"):
        return ""
    try:
        result.wait_until_finish()
    except Exception as error:
        return str(told(error))
    return f"Beam's job server ended the job as {result.state}"


def _checked(spec: ExportSpec) -> list[str]:
    """What the reader says. What is not here may well be where the workers are."""
    try:
        return list(check(spec))
    except ConfigError as error:
        return [f"{problem} (here; it has to be where the workers are)" for problem in error.problems]
