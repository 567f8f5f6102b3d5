"""What an export needs of the runner that it runs on: one implementation a runner, of one protocol.

`Elsewhere` does for any runner of Beam. `local`, `flink` and `dataflow` say what is different on theirs, and beside it, in a
table, what their runner cannot do.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from exporters_beam.errors import ConfigError, DestinationError, ExportError
from exporters_beam.planning.plan import Plan
from exporters_beam.readers.dead_letters import LettersReader
from exporters_beam.reporting.chain import CHAIN, about_link
from exporters_beam.runners.options import (
    DATAFLOW,
    LOCAL,
    Decision,
    Options,
    check_profiles,
    refuse_unknown,
    relative_paths,
)
from exporters_beam.runners.tables import tables_of
from exporters_beam.staging.books import Books
from exporters_beam.staging.run import Run
from exporters_beam.staging.segments import Staging

if TYPE_CHECKING:
    from exporters_beam.runners.jobs import Job

T = TypeVar("T")


@dataclass(frozen=True)
class Refusal(Generic[T]):
    """Something that a runner cannot do: how it is seen in what was given, and what is told then."""

    test: Callable[[T], Any]
    message: str | Callable[[T], str]

    def told(self, given: T) -> str:
        return self.message if isinstance(self.message, str) else self.message(given)


def refused(table: Iterable[Refusal[T]], given: T) -> list[str]:
    """What is told of all that is refused."""
    return [refusal.told(given) for refusal in table if refusal.test(given)]


def refuse(table: Iterable[Refusal[T]], given: T, kind: type[ExportError] = ConfigError) -> None:
    """Raises the kind of error for the first that is refused; those behind it may rely on it."""
    for refusal in table:
        if refusal.test(given):
            raise kind(refusal.told(given))


@dataclass(frozen=True)
class Crew:
    """The worker processes of this machine: how many, and those that stand by. 0 is what Beam's own options say."""

    count: int = 0
    standing: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Start:
    """What a run begins with: the options as texts and as Beam read them, and what the steps of the graph are told; `others`
    are the plans and runs of the export's other writers."""

    given: Options
    options: Any
    run: Run
    books: Books
    crew: Crew
    others: tuple[tuple[Plan, Run], ...] = ()


class RunnerSupport(Protocol):
    """A kind of runner."""

    here: bool
    """Whether the workers are on this machine: what is missing here is missing there."""

    def settle(self, plan: Plan, options: Options) -> Iterable[Decision]:
        """What is chosen for the runner. Raises ConfigError for what would lose data or cannot work."""

    def crew(self, plan: Plan, options: Options, asked: int | None) -> AbstractContextManager[Crew]:
        """Worker processes, made before the books are opened; `asked` is the option `--workers`. Raises ConfigError."""

    def prepare(self, plan: Plan, options: Options, books: Books, crew: Crew) -> Start:
        """Look whether all is there that the run needs. Raises DestinationError, ConfigError."""

    def run(self, plan: Plan, start: Start) -> Any:
        """Run the export and wait for its end; gives Beam's result."""

    def after(self, books: Books) -> None:
        """Tidy up behind an export that is complete."""


class Elsewhere:
    """A runner of Beam of which nothing is known but that its workers may be on other machines."""

    here = False

    def settle(self, plan: Plan, options: Options) -> Iterable[Decision]:
        return ()

    def crew(self, plan: Plan, options: Options, asked: int | None) -> AbstractContextManager[Crew]:
        if asked is not None:
            raise ConfigError(f"--workers: it is for exports on this machine; {options.text('runner')} has its own options")
        return nullcontext(Crew())

    def prepare(self, plan: Plan, options: Options, books: Books, crew: Crew) -> Start:
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

        beams = PipelineOptions(options.given)
        run = Run(
            export_id=plan.export_id,
            staging=Staging(os.path.abspath(books.staging.folder)),
            scratch=os.path.abspath(books.scratch),
            books=os.path.abspath(books.folder),
            about=about(plan, str(beams.view_as(StandardOptions).runner)),
            resumed=books.resumed,
            folder=os.getcwd() if relative_paths(plan) else "",
            sweeps=False,
        )
        return Start(options, beams, run, books, crew)

    def run(self, plan: Plan, start: Start) -> Any:
        result = begin(plan, start)
        try:
            return ended(result)
        except KeyboardInterrupt:
            self.let_go(start, result)
            raise

    def let_go(self, start: Start, result: object) -> None:
        """Nobody waits for the job any more: tell that it goes on, where it does, and how it is stopped."""
        if hasattr(result, "job_id"):
            logging.getLogger(__name__).warning("the job %s goes on; exporters-beam cancel stops it", result.job_id())

    def after(self, books: Books) -> None:
        """Nothing is left behind."""


class GoesOn(Elsewhere):
    """A runner whose jobs go on without the process that started them. `name` is that of its class."""

    name: str

    def refuse_submit(self, options: Options) -> None:
        """Raises ConfigError where the job would need the process that starts it."""

    def submit(self, plan: Plan, start: Start) -> Job | None:
        """Start the job; None where a template was written instead. Raises ExportError."""
        raise NotImplementedError


def about(plan: Plan, runner: str) -> tuple[tuple[str, Any], ...]:
    """What a run says about itself in the manifest."""
    replayed = plan.reader.ids if isinstance(plan.reader, LettersReader) else None
    letters = () if replayed is None else (("letters", replayed), ("origin", plan.origin))
    letters = (*letters, ("tables", tables)) if (tables := tables_of(plan)) else letters
    link = plan.spec.link
    letters = letters if link is None else (*letters, (CHAIN, about_link(link)))
    return ("runner", runner), *((("bypassed", True),) if plan.copied else ()), *letters


def begin(plan: Plan, start: Start, runner: object = None) -> Any:
    """Have Beam run the graph, on this runner or the one that the options name; gives Beam's result."""
    import apache_beam as beam

    from exporters_beam.engine.graph import build

    pipeline = beam.Pipeline(runner, start.options)
    build(plan, pipeline, start.run, *start.others)
    return pipeline.run()


def ended(result: Any) -> Any:
    """The same result when it has ended. Raises DestinationError where it did not end well."""
    state = result.wait_until_finish()
    if state is not None and str(state) != "DONE":
        raise DestinationError(f"the runner ended the export as {state}")
    return result


SUPPORT = {
    **dict.fromkeys(LOCAL, "exporters_beam.runners.local:Local"),
    "flinkrunner": "exporters_beam.runners.flink:Flink",
    **dict.fromkeys(DATAFLOW, "exporters_beam.runners.dataflow:Dataflow"),
}
"""By the runner's class name in small letters. Whatever is not named here is `Elsewhere`."""


def support_of(options: Options) -> RunnerSupport:
    """What knows the runner that the options name."""
    if options.runner not in SUPPORT:
        return Elsewhere()
    module, _, name = SUPPORT[options.runner].partition(":")
    found: RunnerSupport = getattr(importlib.import_module(module), name)()
    return found


def settled(plan: Plan, given: Sequence[str]) -> tuple[list[str], list[Decision]]:
    """The options an export is run with, and what was chosen for it. Raises ConfigError for what cannot work."""
    decisions = [Decision("", text, warning=True) for text in refuse_unknown(given)]
    check_profiles(plan.spec)
    options = Options(given)
    decisions += support_of(options).settle(plan, options)
    chosen = [d.option for d in decisions if d.option.startswith("--") and not d.warning]
    return options.given + chosen, decisions
