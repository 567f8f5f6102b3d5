"""Starts an export on a runner that goes on without this process, and does not wait for its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exporters_beam import dataflow, jobs
from exporters_beam.books import begun, with_the_dates_of
from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.plan import make
from exporters_beam.runner import check, finished, logger_of, told
from exporters_beam.runs import Run
from exporters_beam.spec import ExportSpec


@dataclass(frozen=True)
class Submitted:
    """A job that was started. `place` is its address, which `status`, `cancel` and `drain` take; for a classic
    template the file that it was written to, and `job` is empty then."""

    job: str
    place: str
    name: str = ""


def submit(spec: ExportSpec, beam_args: Sequence[str]) -> Submitted:
    """Start an export and give its job. Raises ConfigError before anything starts, ExportError when it cannot start."""
    plan, log = make(spec), logger_of(spec)
    on_dataflow = dataflow.asked_for(beam_args)
    if not (on_dataflow or _runner(beam_args) in ("flinkrunner", "portablerunner")):
        raise ConfigError("--runner: submit needs a runner that goes on by itself; give --runner=DataflowRunner or "
                          "--runner=FlinkRunner, or use exporters-beam run")  # fmt: skip
    args, warnings = dataflow.settled(plan, beam_args) if on_dataflow else (list(beam_args), [])
    template = _value(args, "--template_location")
    resume = spec.settings.resume
    if resume and template:
        raise ConfigError(
            "--resume: a template is launched again and again; submit without --template_location to resume"
        )
    for warning in (*(str(problem) for problem in spec.warnings), *_checked(spec), *warnings):
        log.warning(warning)
    if resume:
        plan = with_the_dates_of(plan)
        done = finished(plan)
        if done is not None:
            raise ExportError(f"the export is complete already ({done['manifest']}); nothing was started")
    books = begun(plan, resume)
    run = Run(
        export_id=plan.export_id,
        staging=books.staging,
        scratch=books.scratch,
        books=books.folder,
        about=(("runner", "DataflowRunner" if on_dataflow else "FlinkRunner"),),
        resumed=books.resumed,
    )
    import apache_beam as beam
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

    from exporters_beam.graph import build

    try:
        options = PipelineOptions(args)
        pipeline = beam.Pipeline(options=options)
        build(plan, pipeline, run)
        result = pipeline.run()
    except ConfigError:
        raise
    except Exception as error:
        raise told(error) from None
    cloud = options.view_as(GoogleCloudOptions)
    if template:
        return Submitted("", template, cloud.job_name)
    if on_dataflow:
        job = jobs.Job("dataflow", result.job_id(), cloud.project, cloud.region, cloud.dataflow_endpoint, cloud.no_auth)
    else:
        job = jobs.newest_on_flink(_value(args, "--flink_master"), str(cloud.job_name or ""))
    return Submitted(job.id, job.place, cloud.job_name)


def _checked(spec: ExportSpec) -> list[str]:
    """What the reader says. What is not here may well be where the workers are."""
    try:
        return list(check(spec))
    except ConfigError as error:
        return [f"{problem} (here; it has to be where the workers are)" for problem in error.problems]


def _runner(args: Sequence[str]) -> str:
    return _value(args, "--runner").rpartition(".")[2].lower()


def _value(args: Sequence[str], name: str) -> str:
    """The value of one of Beam's options, the last one given; empty where it is not there."""
    given: list[Any] = [args[at + 1] for at, arg in enumerate(args[:-1]) if arg == name]
    given += [arg.partition("=")[2] for arg in args if arg.startswith(f"{name}=")]
    return str(given[-1]) if given else ""
