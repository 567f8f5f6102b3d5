"""What an export on Dataflow needs before anything starts: a place to stage, a name, labels, and our package for the workers.

`Dataflow.settle` looks at Beam's options, completes them, and refuses those with which the job could not work.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlsplit

from exporters_beam.components.options import options_of
from exporters_beam.components.schemes import is_url
from exporters_beam.components.secret import Secret
from exporters_beam.components.traits import ReaderTraits, StepTraits, WriterTraits, delivers_files
from exporters_beam.config.export import ExportSpec
from exporters_beam.errors import ConfigError, MissingExtra, Problem, dotted
from exporters_beam.planning.place import destination_of, place_of
from exporters_beam.planning.plan import Plan
from exporters_beam.runners.jobs import Job
from exporters_beam.runners.options import Decision, Options, job_name, missing_packages
from exporters_beam.runners.support import Crew, GoesOn, Refusal, Start, begin, refused
from exporters_beam.staging.books import Books

OUR_PACKAGE = re.compile(r"exporters[-_]beam", re.IGNORECASE)

NO_PACKAGE = (
    "Dataflow's workers do not have exporters-beam: give --sdk_container_image=IMAGE --sdk_location=container (an image "
    "with it, see templates/dataflow/Dockerfile), or --setup_file=…/setup.py of its checkout, or "
    "--extra_package=exporters_beam-….tar.gz"
)


STREAMING = (
    "--streaming: Dataflow tries a record that fails for ever, where a batch job ends after four tries; leave it out, or say "
    "in `on_error` what becomes of such records"
)


class Dataflow(GoesOn):
    """Google's Dataflow: a `RunnerSupport`."""

    name = "DataflowRunner"

    def settle(self, plan: Plan, options: Options) -> Iterator[Decision]:
        """What is chosen for Dataflow, and warnings. Raises ConfigError with all that cannot work, MissingExtra."""
        return _settle(plan, options)

    def prepare(self, plan: Plan, options: Options, books: Books, crew: Crew) -> Start:
        start = super().prepare(plan, options, books, crew)
        _make_folders(start.options)
        return start

    def submit(self, plan: Plan, start: Start) -> Job | None:
        from apache_beam.options.pipeline_options import GoogleCloudOptions

        result = begin(plan, start)
        cloud = start.options.view_as(GoogleCloudOptions)
        if cloud.template_location:
            return None
        return Job("dataflow", result.job_id(), cloud.project, cloud.region, cloud.dataflow_endpoint, cloud.no_auth)


@dataclass(frozen=True)
class Given:
    """Beam's options by their groups, and what was made of them."""

    cloud: Any
    setup: Any
    worker: Any
    streaming: bool
    job_file: str

    @staticmethod
    def of(beams: Any) -> Given:
        from apache_beam.options import pipeline_options as options

        cloud, setup, worker = map(beams.view_as, (options.GoogleCloudOptions, options.SetupOptions, options.WorkerOptions))
        streaming = bool(beams.view_as(options.StandardOptions).streaming)
        return Given(cloud, setup, worker, streaming, beams.view_as(options.DebugOptions).dataflow_job_file or "")

    @cached_property
    def endpoint(self) -> str:
        return self.cloud.dataflow_endpoint or ""

    @cached_property
    def local(self) -> bool:
        return _is_localhost(self.endpoint)

    @cached_property
    def region(self) -> str | None:
        return self.cloud.region or _region(self.local)


def _settle(plan: Plan, options: Options) -> Iterator[Decision]:
    if not _installed("google.cloud.dataflow", "google.cloud.storage"):
        raise MissingExtra("--runner=DataflowRunner", "dataflow")
    from apache_beam.options.pipeline_options import PipelineOptions

    beams = PipelineOptions(options.given)
    given = Given.of(beams)
    secrets = list(literal_secrets(plan.spec))
    problems: list[Problem | str] = [
        *refused(PLACES, given),
        *_package(given.setup, given.worker),
        *refused(TOGETHER, given),
        *_by_beam(beams),
        *_paths(plan),
        *(secrets if given.cloud.template_location else ()),
    ]
    if problems:
        raise ConfigError(*problems)
    yield from _chosen(plan, given)
    for problem in secrets:
        yield Decision("", str(problem), warning=True)
    for text in _warnings(plan, given):
        yield Decision("", text, warning=True)


def _chosen(plan: Plan, given: Given) -> Iterator[Decision]:
    """The options that are added to those given."""
    cloud, setup = given.cloud, given.setup
    labels = {label.partition("=")[0] for label in cloud.labels or ()}
    for name, value, why in (("exporters-beam", _version(), "which version made the job"),
                             ("export", plan.export_id, "which export it is")):  # fmt: skip
        if name not in labels:
            yield Decision(f"--labels={name}={value}", why)
    if not cloud.job_name:
        yield Decision(f"--job_name={job_name(plan)}", "Dataflow refuses a second job of this name while the first one runs, "
                                                       "so an export does not run twice at a time")  # fmt: skip
    if not cloud.region:
        yield Decision(f"--region={given.region}", "what CLOUDSDK_COMPUTE_REGION or gcloud say")
    if not cloud.temp_location:
        yield Decision(f"--temp_location={cloud.staging_location}", "where --staging_location is")
    if setup.setup_file and not os.path.isabs(setup.setup_file):
        yield Decision(f"--setup_file={os.path.abspath(setup.setup_file)}", "Beam goes to its folder")


def _make_folders(options: Any) -> None:
    """Folders of this machine to stage in, which Beam does not make: for a service that is not Google's."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    cloud = options.view_as(GoogleCloudOptions)
    for folder in (cloud.temp_location, cloud.staging_location):
        if folder and "://" not in folder and _is_localhost(cloud.dataflow_endpoint):
            os.makedirs(folder, exist_ok=True)


def literal_secrets(spec: ExportSpec) -> Iterator[Problem]:
    """Secrets that stand in the config as they are, which would be staged with the pipeline for everybody who may read it."""
    for section in spec.working:
        for o in options_of(type(section.component)):
            value = section.options.get(o.name)
            if o.secret and value and not isinstance(value, Secret):
                hint = ("write ${secret:gcp:projects/PROJECT/secrets/NAME}, ${secret:env:NAME} or ${secret:file:/path}, "
                        "which the workers read")  # fmt: skip
                yield spec.problem((*section.path, "options", o.name), f"this secret would be staged with the pipeline; {hint}")


def _installed(*modules: str) -> bool:
    try:
        return all(importlib.util.find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:
        return False


def _version() -> str:
    try:
        found = importlib.metadata.version("exporters-beam")
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        found = "unknown"
    return re.sub(r"[^a-z0-9_-]", "-", found.lower())


def _is_localhost(endpoint: str | None) -> bool:
    return (urlsplit(endpoint or "").hostname or "") == "localhost"


def _region(local: bool) -> str | None:
    """The region that gcloud would use."""
    if os.environ.get("CLOUDSDK_COMPUTE_REGION"):
        return os.environ["CLOUDSDK_COMPUTE_REGION"]
    if local:
        return None
    from exporters_beam.runners.beam_internals import DataflowRunner

    found: str | None = DataflowRunner().get_default_gcp_region()
    return found


FOLDERS: dict[str, Callable[[Any], str | None]] = {
    "temp_location": lambda cloud: cloud.temp_location,
    "staging_location": lambda cloud: cloud.staging_location,
    "template_location": lambda cloud: cloud.template_location,
}


def _is_no_folder(given: Given, name: str) -> bool:
    value = FOLDERS[name](given.cloud)
    return bool(value and not given.local and not re.match(r"gs://[a-z0-9][-_.a-z0-9]+[a-z0-9]/", value))


def _no_folder(name: str, given: Given) -> str:
    return f"--{name}: {FOLDERS[name](given.cloud)!r} is not a folder of a bucket; write gs://BUCKET/FOLDER"


def _is_a_number(endpoint: str) -> bool:
    return re.match(r"https?://(127\.|\[::1\])", endpoint) is not None


def _is_no_address(endpoint: str) -> bool:
    return not endpoint.startswith(("http://", "https://"))


PLACES: tuple[Refusal[Given], ...] = (
    Refusal(
        lambda given: not given.cloud.project,
        "--project: Dataflow needs the project that the job belongs to; add --project=PROJECT",
    ),
    Refusal(
        lambda given: (
            given.cloud.project
            and (given.cloud.project.isdigit() or not re.fullmatch(r"[a-z][-a-z0-9:.]+[a-z0-9]", given.cloud.project))
        ),
        lambda given: (
            f"--project: {given.cloud.project!r} is not a project ID; give the ID, which is neither its number nor its "
            "description"
        ),
    ),
    Refusal(
        lambda given: not given.region,
        "--region: Dataflow needs the region that the job runs in; add --region=REGION, e.g. europe-west1",
    ),
    Refusal(
        lambda given: not (given.cloud.temp_location or given.cloud.staging_location),
        "--temp_location: Dataflow needs a folder to stage in; add --temp_location=gs://BUCKET/tmp",
    ),
    *(Refusal(partial(_is_no_folder, name=name), partial(_no_folder, name)) for name in FOLDERS),
    Refusal(
        lambda given: given.cloud.job_name and not re.fullmatch(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?", given.cloud.job_name),
        lambda given: (
            f"--job_name: {given.cloud.job_name!r} is not a valid name for a job; use small letters, digits and hyphens, a "
            "letter first and no hyphen last"
        ),
    ),
    Refusal(
        lambda given: _is_no_address(given.endpoint),
        lambda given: (
            f"--dataflow_endpoint: {given.endpoint!r} is not an address; write http://localhost:PORT, or leave it out"
        ),
    ),
    Refusal(
        lambda given: _is_a_number(given.endpoint),
        lambda given: (
            f"--dataflow_endpoint: write localhost instead of {urlsplit(given.endpoint).hostname}: Beam talks REST to that "
            "name only"
        ),
    ),
    Refusal(
        lambda given: (
            given.cloud.no_auth and not (given.local or _is_no_address(given.endpoint) or _is_a_number(given.endpoint))
        ),
        "--no_auth: Dataflow itself refuses who does not say who he is; it is for --dataflow_endpoint=http://localhost:PORT",
    ),
)
"""What is wrong with where the job goes and what it is called."""

TOGETHER: tuple[Refusal[Given], ...] = (
    Refusal(
        lambda given: given.cloud.flexrs_goal and given.streaming,
        "--flexrs_goal: it is for batch jobs only; leave it or --streaming out",
    ),
    Refusal(
        lambda given: given.cloud.update and not (given.streaming and given.cloud.job_name),
        "--update: only a streaming job can be updated, and it is found by its name; add --streaming and --job_name=NAME",
    ),
    Refusal(
        lambda given: given.cloud.template_location and given.job_file,
        "--dataflow_job_file and --template_location: give one of them",
    ),
    Refusal(
        lambda given: given.worker.max_num_workers and (given.worker.num_workers or 0) > given.worker.max_num_workers,
        lambda given: (
            f"--num_workers: {given.worker.num_workers} cannot exceed max_num_workers, {given.worker.max_num_workers}"
        ),
    ),
)
"""Options that do not go together."""


def _package(setup: Any, worker: Any) -> Iterator[str]:
    """What is wrong with how the workers get this package."""
    image = worker.sdk_container_image or worker.worker_harness_container_image
    found = bool(image)
    if worker.sdk_container_image and worker.worker_harness_container_image not in (None, worker.sdk_container_image):
        yield "--worker_harness_container_image: it is the old name of --sdk_container_image; give that one alone"
    if image and not re.fullmatch(r"[^\s:/]+([./:][^\s]*)*", image):
        yield f"--sdk_container_image: {image!r} is not an image; write REGISTRY/NAME:TAG"
    location = setup.sdk_location
    if image and location not in ("default", "container") and "://" not in location and not os.path.exists(location):
        yield f"--sdk_location: there is no file {location!r}; with --sdk_container_image write --sdk_location=container"
    missing = list(missing_packages(setup))
    yield from missing
    if setup.setup_file is not None:
        found = True
        if not missing and not _brings_us(setup.setup_file):
            yield (f"--setup_file: the project of {setup.setup_file!r} does not ask for exporters-beam; add it to its "
                   "dependencies")  # fmt: skip
    found = found or any(OUR_PACKAGE.match(os.path.basename(path)) for path in setup.extra_packages or ())
    if setup.requirements_file is not None:
        found = found or not os.path.isfile(setup.requirements_file) or _names_us(setup.requirements_file)
    if not found and not missing:
        yield NO_PACKAGE


def _brings_us(setup_file: str) -> bool:
    """Whether workers that install this project have our package then."""
    folder = os.path.dirname(os.path.abspath(setup_file))
    if os.path.isfile(os.path.join(folder, "exporters_beam", "__init__.py")):
        return True
    beside = [os.path.join(folder, name) for name in ("setup.py", "setup.cfg", "pyproject.toml", "requirements.txt")]
    return any(os.path.isfile(other) and _names_us(other) for other in beside)


def _names_us(path: str) -> bool:
    with open(path, encoding="utf-8", errors="replace") as file:
        return bool(OUR_PACKAGE.search(file.read()))


def _by_beam(options: Any) -> Iterator[str]:
    """What Beam itself finds wrong, where it can tell without asking the cloud."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    from exporters_beam.runners.beam_internals import PipelineOptionsValidator

    validator = PipelineOptionsValidator(options, None)
    for kind in validator.OPTIONS:
        if kind is not GoogleCloudOptions and "validate" in kind.__dict__:
            yield from options.view_as(kind).validate(validator)


def _paths(plan: Plan) -> Iterator[Problem]:
    """Paths that mean something else on the workers, which run in folders of their own."""
    spec = plan.spec
    for path, value in _files(spec):
        if not os.path.isabs(value):
            yield spec.problem(path, f"{value!r} is not the whole path, and Dataflow's workers run in other folders; "
                                     "write it from / on")  # fmt: skip
    if place_of(plan) is None:
        yield spec.problem(("staging",), "on Dataflow this export needs a folder to stage in that all workers reach; "
                                         "add `staging: /mnt/shared/staging`")  # fmt: skip


def _files(spec: ExportSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if spec.staging:
        yield ("staging",), spec.staging
    elif spec.persistence and "file_path" in spec.persistence.options:
        yield ("persistence", "options", "file_path"), str(spec.persistence.options["file_path"])
    writer = spec.writer.component
    if WriterTraits.of(writer).to_folders and delivers_files(writer):
        yield (*spec.writer.path, "options", "filebase"), writer.filebase
    yield from _tables(spec)
    if spec.reader.entry.name == "fs":
        given = ReaderTraits.of(spec.reader.component).input
        for place in given if isinstance(given, (list, tuple)) else (given,):
            value = (place.get("dir") or place.get("dir_pointer")) if isinstance(place, Mapping) else place
            yield (*spec.reader.path, "options", "input"), str(value)


def _tables(spec: ExportSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The tables of steps that are files, and no objects of a storage."""
    for section in spec.steps:
        beside = StepTraits.of(section.component).beside
        if beside and not is_url(beside):
            yield (*section.path, "options", "file"), beside


def _warnings(plan: Plan, given: Given) -> Iterator[str]:
    setup, cloud = given.setup, given.cloud
    if given.streaming and not plan.on_error.actions:
        yield STREAMING
    installs = setup.setup_file or setup.extra_packages or setup.requirements_file
    if given.worker.use_public_ips is False and installs:
        yield ("--no_use_public_ips: workers without a public address install packages only through Cloud NAT or a mirror "
               "of their own; an image (--sdk_container_image) needs neither")  # fmt: skip
    if cloud.template_location and plan.names is not None and "%" in plan.names.template:
        yield ("--template_location: the dates in filebase are those of today, whenever the template is launched; "
               "use a Flex Template for dates of the launch")  # fmt: skip
    shared = destination_of(plan) or (plan.spec.reader.entry.name == "fs")
    if shared and not given.local:
        yield "files of `fs` have to be on a file system that every worker mounts at the same path"
    for path, table in _tables(plan.spec) if not given.local else ():
        yield f"{dotted(path)}: {table} has to be on a file system that every worker mounts at the same path, or at a URL"
