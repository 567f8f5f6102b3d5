"""The command line: `exporters-beam run | replay | validate | explain | preview | verify | clean | modules | schema | init`.

Exit status: 0 done, 1 the export failed, 2 the config or the command is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exporters_beam import __version__
from exporters_beam.console import print_error, print_line, sentence, start_logging, tell_error, warn
from exporters_beam.errors import ConfigError, DestinationError, Problem
from exporters_beam.interruption import INTERRUPTED, OF_THIS_PROCESS
from exporters_beam.variables import reveal

if TYPE_CHECKING:
    from exporters_beam import jobs
    from exporters_beam.plan import Plan
    from exporters_beam.spec import ExportSpec

DONE, FAILED, WRONG, BROKEN_PIPE = 0, 1, 2, 141

_INTERRUPTED = "interrupted; nothing half-written has a final name"
"""What is told of every command that was interrupted; those that may be gone on with say more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status."""
    if argv is not None:
        return _run_command(list(argv))
    # This process is ours alone. What is imported now stays, so the garbage collector looks for it in vain, and the threads
    # that NumPy's linear algebra starts would turn idly.
    gc.set_threshold(100_000, 20, 20)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not {"", os.getcwd()} & set(sys.path):  # Modules of the config's own, as with `python -m`; they hide no other.
        sys.path.append(os.getcwd())
    interruption = OF_THIS_PROCESS
    if interruption is None:
        status = _run_command(sys.argv[1:])
    else:
        interruption.tells, interruption.loud = lambda: _INTERRUPTED, "--debug" in sys.argv
        try:
            interruption.at_once = False
            status = _run_command(sys.argv[1:])
            interruption.at_once = True
        except BaseException:  # In the very moment before a command begins, or behind its end.
            if not interruption.asked:
                raise
        if interruption.asked:
            interruption.leave()
    _leave(status)
    return status


def _leave(status: int) -> None:
    """End this process here, unless threads are left to be waited for. What is registered for the end is done; to take apart
    all that was imported would take a tenth of a second."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _run_command(given: list[str]) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # records may hold halves of surrogate pairs
    parser = _parser()
    try:
        args = _parse(parser, given)
    except SystemExit as exit:  # argparse has told why
        return exit.code if isinstance(exit.code, int) else WRONG
    try:
        if hasattr(args, "report"):
            _refuse_report(args)
        if args.beam and args.command is not _template_launch:
            _refuse_unknown(args)
        status: int = args.command(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of our output is gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        _report_error(args, interrupt)
        print_error(f"error: {_INTERRUPTED}")
        return INTERRUPTED
    except Exception as error:
        tell_error(error, args.debug)
        _report_error(args, error)
        return WRONG if isinstance(error, ConfigError) else FAILED


def _report_error(args: argparse.Namespace, error: BaseException) -> None:
    """Write the report of a command that did not end well, where one was asked for."""
    if getattr(args, "report", None) is None:
        return
    from exporters_beam.reporting import of_error, write

    try:
        write(args.report, of_error(error, sentence(error)))
    except DestinationError as wrong:
        print_error(f"error: {wrong}")


def _parse(parser: argparse.ArgumentParser, given: list[str]) -> argparse.Namespace:
    """The arguments; `beam` has those of `run` that are not ours, in their order."""
    _refuse_unknown_command(parser, given)
    args, others = parser.parse_known_args(_from_old_spelling(parser, given))
    if args.command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(WRONG)
    if others and args.command not in (_run, _replay, _explain, _submit, _template_launch):
        from exporters_beam.runners import unknown

        odd = next((other for other in others if other.startswith("--") and other != "--"), "")
        hint = f"{odd}: {unknown(odd.partition('=')[0], list(args.ours))}" if odd else ""
        parser.error(hint or f"unrecognized arguments: {' '.join(others)}")
    args.beam = [other for other in others if other != "--"]
    return args


def _refuse_unknown_command(parser: argparse.ArgumentParser, given: list[str]) -> None:
    """With what was probably meant."""
    known = next(list(a.choices) for a in parser._actions if isinstance(a.choices, dict))
    if given and not given[0].startswith("-") and given[0] not in known:
        from exporters_beam.registry import did_you_mean

        parser.error(f"there is no command {given[0]!r}{did_you_mean(given[0], known)}")


def _from_old_spelling(parser: argparse.ArgumentParser, given: list[str]) -> list[str]:
    """`--config FILE` of exporters 0.6.18 is `run FILE`."""
    if given[:1] == ["--config"]:
        return ["run", *given[1:]]
    if given and given[0].startswith("--config="):
        return ["run", given[0].partition("=")[2], *given[1:]]
    if given and given[0].partition("=")[0] == "--resume":
        parser.error("--resume goes with a config now: exporters-beam run CONFIG --resume")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="exporters-beam", description="Export records as a config says.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"exporters-beam {__version__}")
    parser.set_defaults(command=None, debug=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, function: Any, help: str, **more: Any) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(
            name, help=help, description=help, allow_abbrev=False, **more
        )
        command.register("action", None, _Once)
        command.set_defaults(command=function, ours=command._option_string_actions)
        command.add_argument("--debug", action="store_true", help="show tracebacks and log more")
        return command

    def add_variables(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--var", action="append", default=[], metavar="NAME=VALUE", help="set a variable of the config's `vars`"
        )

    def add_runner(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--runner", metavar="R", help="the Beam runner, e.g. FlinkRunner; without it: this machine"
        )
        command.add_argument("--profile", metavar="NAME", help="Beam's options from the config's `runners`")

    run = add("run", _run, "run an export", epilog="All other options are given to Beam, e.g. --streaming.")
    run.add_argument("config", metavar="CONFIG", help="a JSON or YAML file; it stands before Beam's options")
    add_runner(run)
    add_variables(run)
    run.add_argument("--report", metavar="FILE.json", help="write what was read, written and delivered there; - "
                     "prints it")  # fmt: skip
    run.add_argument("--resume", action="store_true", help="go on with what an earlier run of this export left")
    run.add_argument("--no-pushdown", action="store_true", help="decode every record whole before the first filter")
    run.add_argument("--workers", metavar="N", type=_positive, help="processes on this machine; by default one for each "
                     "core for large files, else one")  # fmt: skip
    run.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings and errors only")

    replay = add("replay", _replay, "send dead letters through the rest of an export, after a mend",
                 epilog="All other options are given to Beam; they stand behind the files.")  # fmt: skip
    replay.add_argument("config", metavar="CONFIG", help="the config of the export that left the dead letters")
    replay.add_argument("letters", metavar="LETTERS", nargs="+", help="files of dead letters")
    replay.add_argument("--runner", metavar="R", help="the Beam runner; without it: this machine")
    add_variables(replay)
    replay.add_argument("--report", metavar="FILE.json", help="write what was read, written and delivered there")
    replay.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings and errors only")

    submit = add("submit", _submit, "start an export elsewhere and do not wait", epilog=run.epilog)
    submit.add_argument("config", metavar="CONFIG", help="a JSON or YAML file; it stands before Beam's options")
    submit.add_argument("--runner", metavar="R", help="the Beam runner: DataflowRunner or FlinkRunner")
    submit.add_argument("--profile", metavar="NAME", help="Beam's options from the config's `runners`")
    add_variables(submit)
    submit.add_argument("--resume", action="store_true", help="go on with what an earlier run of this export left")
    submit.set_defaults(quiet=False)

    status = add("status", _status, "tell how a job is that was submitted")
    status.add_argument("--watch", action="store_true", help="go on until it has ended; exit 1 where it ended badly")
    status.add_argument(
        "--config", metavar="CONFIG", help="with --watch: tell the notifications of this config the end"
    )
    status.add_argument("--every", type=_positive, default=10, metavar="SECONDS", help="how often to ask (default: 10)")
    add_variables(status)
    cancel = add("cancel", _cancel, "stop a job at once")
    drain = add("drain", _drain, "have a streaming job finish what it has and end")
    drain.add_argument("--savepoint_path", default="", metavar="FOLDER", help="Flink: where its savepoint goes")
    for command in (status, cancel, drain):
        command.add_argument("job", metavar="JOB", help="the address that submit printed, or the job's id")
        command.add_argument("--project", default="", help="Dataflow: the project")
        command.add_argument("--region", default="", help="Dataflow: the region")
        command.add_argument("--dataflow_endpoint", default="", metavar="URL", help="another address of Dataflow")
        command.add_argument("--no_auth", action="store_true", help="Dataflow: do not say who asks, for tests")
        command.add_argument("--flink_master", default="", metavar="HOST:PORT", help="Flink: its REST interface")

    template = commands.add_parser("template", help="make a Dataflow template of a config", allow_abbrev=False)
    actions = template.add_subparsers(title="commands", metavar="COMMAND", required=True)
    build = actions.add_parser("build", help="write the files of a Flex Template", allow_abbrev=False)
    build.set_defaults(command=_template_build, quiet=False)
    build.add_argument("--output", metavar="DIR", required=True, help="the folder to write them to")
    build.add_argument("--image", default="", metavar="IMAGE", help="the image's name, for the template's spec.json")
    build.add_argument("--streaming", action="store_true", help="the template is for streaming jobs")
    render = actions.add_parser("render", help="print the final config, or the launch request", allow_abbrev=False)
    render.set_defaults(command=_template_render)
    render.add_argument("--launch", metavar="SPEC", help="print the request that launches gs://…/spec.json")
    launch = actions.add_parser("launch", help="what main.py of a Flex Template does: submit", allow_abbrev=False)
    launch.set_defaults(command=_template_launch, runner=None, resume=False, quiet=False)
    for action in (build, render, launch):
        action.set_defaults(ours=action._option_string_actions)
        action.add_argument("config", metavar="CONFIG")
        action.add_argument("--debug", action="store_true", help="show tracebacks and log more")
        add_variables(action)

    validate = add("validate", _validate, "check configs; nothing is run")
    validate.add_argument("configs", metavar="CONFIG", nargs="+")
    add_variables(validate)

    explain = add("explain", _explain, "show what a config would do, step by step")
    explain.add_argument("config", metavar="CONFIG")
    add_runner(explain)
    explain.add_argument("--format", choices=("text", "mermaid"), default="text")
    add_variables(explain)

    preview = add("preview", _preview, "show the first records as they pass every step; nothing is delivered")
    preview.add_argument("config", metavar="CONFIG")
    preview.add_argument("-n", type=_positive, default=10, metavar="N", help="records to read (default: 10)")
    add_variables(preview)

    verify = add("verify", _verify, "read what was delivered again and compare it with the manifest")
    verify.add_argument("manifests", metavar="MANIFEST", nargs="+", help=".exporters/<export id>/manifest.json")
    verify.add_argument(
        "--config", metavar="CONFIG", help="the config of the export, for the credentials of its writer"
    )
    add_variables(verify)

    clean = add("clean", _clean, "remove what runs of a config that did not end have staged")
    clean.add_argument("config", metavar="CONFIG")
    add_variables(clean)

    modules = add("modules", _modules, "list components, or explain one")
    modules.add_argument("name", metavar="NAME", nargs="?")
    modules.add_argument("--kind", metavar="KIND", help="only of this kind: reader, filter, writer, …")
    modules.add_argument("--markdown", action="store_true", help="the whole reference, as docs/reference.md")

    add("schema", _schema, "print the JSON Schema of configs, for editors")

    init = add("init", _init, "write a config to start with")
    init.add_argument("file", metavar="FILE", nargs="?", default="export.yaml")
    init.add_argument("--reader", default="random", metavar="NAME")
    init.add_argument("--writer", default="fs", metavar="NAME")
    return parser


class _Once(argparse._StoreAction):
    """An option with a value that is given once: of two different ones, one would not hold."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        seen = namespace.__dict__.setdefault("given", {})
        if option_string is not None and seen.setdefault(self.dest, values) != values:
            parser.error(f"argument {option_string}: it is given as {seen[self.dest]} and as {values}; give it once")
        super().__call__(parser, namespace, values, option_string)


def _positive(text: str) -> int:
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on" if len(text) < 10 else "it is too large")
    return int(text)


# Commands


def _run(args: argparse.Namespace) -> int:
    beam_args = [*([f"--runner={args.runner}"] if args.runner else []), *args.beam]
    if any(arg.partition("=")[0] == "--template_location" for arg in beam_args):
        return _submit(args)  # Nothing runs, so there is nothing to wait for.
    spec = _load(args.config, args.var)
    if args.resume:
        spec = replace(spec, settings=replace(spec.settings, resume=True))
    if args.no_pushdown:
        spec = replace(spec, settings=replace(spec.settings, pushdown=False))
    return _export(spec, args)


def _replay(args: argparse.Namespace) -> int:
    from exporters_beam.replaying import replayed

    spec = _load(args.config, args.var)
    _start_logging(spec, args)
    with replayed(spec, args.letters) as sent:
        return _export(sent, args)


def _export(spec: ExportSpec, args: argparse.Namespace) -> int:
    _start_logging(spec, args)
    _tell_when_interrupted(lambda: f"{_INTERRUPTED}; nothing is kept yet: run it again")
    from exporters_beam.books import kept
    from exporters_beam.reporting import CONSOLE, write
    from exporters_beam.runner import run

    if args.report == CONSOLE and spec.writer.entry.name == "console":
        raise ConfigError("--report -: the writer console prints there already; give the name of a file")

    def begun(plan: Plan) -> None:
        tells = kept(plan)
        _tell_when_interrupted(lambda: f"{_INTERRUPTED}; {tells()}")

    beam_args = _beam_args(spec, args)
    watched = not args.quiet and sys.stderr.isatty()
    report = run(spec, beam_args, progress=watched, workers=getattr(args, "workers", None), begun=begun)
    if not args.quiet:
        print(report.summary(), file=sys.stderr, flush=True)
    if args.report is not None:
        write(args.report, report)
    return DONE


def _refuse_unknown(args: argparse.Namespace) -> None:
    """Before the config is looked at: it may be the value that stands behind a misspelt option."""
    from exporters_beam.runners import refuse_unknown

    refuse_unknown([*([f"--runner={args.runner}"] if args.runner else []), *args.beam], list(args.ours))


def _tell_when_interrupted(tells: Callable[[], str]) -> None:
    if OF_THIS_PROCESS is not None:
        OF_THIS_PROCESS.tells = tells


def _beam_args(spec: ExportSpec, args: argparse.Namespace) -> list[str]:
    from exporters_beam.runners import merged

    return merged(
        spec, getattr(args, "profile", None), [*([f"--runner={args.runner}"] if args.runner else []), *args.beam]
    )


def _submit(args: argparse.Namespace) -> int:
    spec = _load(args.config, args.var)
    if args.resume:
        spec = replace(spec, settings=replace(spec.settings, resume=True))
    _start_logging(spec, args)
    from exporters_beam.submission import submit

    _tell_when_interrupted(lambda: "interrupted; the job may have been started: look before you submit it again")
    started = submit(spec, _beam_args(spec, args))
    if started.job:
        print(f"{started.job}\n{started.place}")
    else:
        print_line(
            f"{started.place}: written; launch it with: gcloud dataflow jobs run NAME --gcs-location={started.place}"
        )
    return DONE


def _template_build(args: argparse.Namespace) -> int:
    from exporters_beam import template
    from exporters_beam.document import read
    from exporters_beam.parameters import check

    missing = check(read(args.config).value, _variables(args.var))[1]
    spec = None if missing else _load(args.config, args.var)
    _start_logging(spec, args)
    made = template.files(args.config, spec, args.image or template.IMAGE, args.streaming)
    template.write(made, args.output)
    for name in made:
        print_line(os.path.join(args.output, name))
    return DONE


def _template_render(args: argparse.Namespace) -> int:
    from exporters_beam import template
    from exporters_beam.plan import make
    from exporters_beam.runners import job_name

    spec = _load(args.config, args.var)
    warn(spec.warnings)
    if args.launch:
        told = template.launch_body(job_name(make(spec)), args.launch, _variables(args.var))
    else:
        told = dict(spec.document)
    print(json.dumps(told, ensure_ascii=False, indent=2, default=str))
    return DONE


def _template_launch(args: argparse.Namespace) -> int:
    from exporters_beam import template

    values, args.beam = template.split(args.config, args.beam)
    args.var = [*args.var, *values]
    args.ours = [*args.ours, *template.names(args.config)]
    _refuse_unknown(args)
    return _submit(args)


def _status(args: argparse.Namespace) -> int:
    from exporters_beam import jobs

    if args.var and not args.config:
        raise ConfigError("--var: it goes with --config, whose variables it sets")
    job = _job(args)
    if not args.watch:
        if args.config:
            raise ConfigError("--config: it goes with --watch, which tells its notifications how the job ended")
        print(jobs.status(job))
        return DONE
    spec = _load(args.config, args.var) if args.config else None
    ended = jobs.watch(job, lambda text: print(text, flush=True), args.every)
    if spec is not None:
        from exporters_beam.runner import tell_end

        tell_end(spec, ended.good, str(ended))
    return DONE if ended.good else FAILED


def _cancel(args: argparse.Namespace) -> int:
    from exporters_beam import jobs

    jobs.cancel(_job(args))
    print_line(f"{args.job}: asked to stop")
    return DONE


def _drain(args: argparse.Namespace) -> int:
    from exporters_beam import jobs

    jobs.drain(_job(args), args.savepoint_path)
    print_line(f"{args.job}: asked to finish what it has and end")
    return DONE


def _job(args: argparse.Namespace) -> jobs.Job:
    from exporters_beam import jobs

    return jobs.job_at(args.job, project=args.project, region=args.region, endpoint=args.dataflow_endpoint,
                       flink=args.flink_master, no_auth=args.no_auth)  # fmt: skip


def _validate(args: argparse.Namespace) -> int:
    from exporters_beam.plan import check_functions, make
    from exporters_beam.runners import check_profiles

    status = DONE
    for config in args.configs:
        try:
            spec = _load(config, args.var)
            make(spec)
            check_functions(spec)
            check_profiles(spec)
        except ConfigError as error:
            tell_error(error, args.debug)
            status = WRONG
            continue
        warn(spec.warnings)
        print_line(f"{config}: ok")
    return status


def _explain(args: argparse.Namespace) -> int:
    from exporters_beam.explain import mermaid, text
    from exporters_beam.plan import make
    from exporters_beam.runners import settled

    spec = _load(args.config, args.var)
    warn(spec.warnings)
    plan = make(spec)
    decisions = settled(plan, _beam_args(spec, args))[1]
    print((mermaid if args.format == "mermaid" else text)(plan), end="")
    if args.format == "text":
        print(*(f"- {decision}\n" for decision in decisions), sep="", end="")
    return DONE


def _preview(args: argparse.Namespace) -> int:
    spec = _load(args.config, args.var)
    warn(spec.warnings)
    _start_logging(spec, args)
    from exporters_beam.plan import make
    from exporters_beam.preview import preview

    preview(make(spec), args.n, print_line)
    return DONE


def _verify(args: argparse.Namespace) -> int:
    from exporters_beam.verify import beside, verify

    status = DONE
    if args.var and not args.config:
        raise ConfigError("--var: it goes with --config, whose variables it sets")
    writer = reveal(_load(args.config, args.var).writer.component) if args.config else None
    storage = getattr(writer, "storage", None)
    for manifest in args.manifests:
        try:
            wrong, told = verify(manifest, storage)
        except ConfigError as error:
            tell_error(error, args.debug)
            status = WRONG
            continue
        for text in wrong:
            print_error(f"error: {text}")
            status = status or FAILED
        for text in beside(manifest, told, args.manifests, storage):
            print_error(f"warning: {text}")
        if not wrong:
            print_line(f"{manifest}: ok, {len(told['files']):,} files, {told['counts']['written']:,} records")
    return status


def _clean(args: argparse.Namespace) -> int:
    from exporters_beam.books import clean
    from exporters_beam.plan import make
    from exporters_beam.report import human

    _tell_when_interrupted(lambda: "interrupted; what was not removed yet is there still: run clean again")
    for folder, freed, left in clean(make(_load(args.config, args.var))):
        print_line(f"{folder}: removed, {human(freed)}")
        for text in left:
            print_error(f"warning: {text}")
    return DONE


def _modules(args: argparse.Namespace) -> int:
    from exporters_beam import reference, registry

    for text in registry.plugin_entries()[1]:
        print_error(f"warning: {text}")
    if args.markdown:
        print(reference.markdown(), end="")
    elif args.name is None:
        print(reference.listing(args.kind))
    else:
        print(reference.describe(args.name, args.kind))
    return DONE


def _schema(args: argparse.Namespace) -> int:
    from exporters_beam import registry
    from exporters_beam.schema import document_schema, to_text

    plugins, wrong = registry.plugin_entries()
    for text in wrong:
        print_error(f"warning: {text}")
    print(to_text(document_schema((*registry.ENTRIES, *plugins))), end="")
    return DONE


def _init(args: argparse.Namespace) -> int:
    from exporters_beam import reference

    text = reference.starter(args.reader, args.writer)
    try:
        with open(args.file, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(Problem((), "this file exists; give another name", file=args.file)) from None
    except OSError as error:
        raise ConfigError(Problem((), f"the file cannot be written: {error.strerror}", file=args.file)) from None
    print_line(f"{args.file}: written; run it with: exporters-beam run {args.file}")
    return DONE


# What they share


def _load(config: str, variables: Sequence[str]) -> ExportSpec:
    from exporters_beam.spec import load

    return load(config, variables=_variables(variables))


def _variables(given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE as variables; a value that is a number, true, false, null, a list or an object in JSON is that."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--var {text}: write it as NAME=VALUE")
        try:
            parsed = json.loads(value, parse_constant=_not_json)
        except (ValueError, RecursionError):
            parsed = value
        if isinstance(parsed, float) and not math.isfinite(parsed):
            raise ConfigError(f"--var {text}: {value} is no finite number")
        found[name] = value if isinstance(parsed, str) else parsed
    return found


def _not_json(constant: str) -> Any:
    raise ValueError(constant)


def _start_logging(spec: ExportSpec | None, args: argparse.Namespace) -> None:
    start_logging(spec.settings.log_level if spec is not None else None, args.debug, getattr(args, "quiet", False))


def _refuse_report(args: argparse.Namespace) -> None:
    from exporters_beam.reporting import refuse_place

    if args.report is None:
        return
    try:
        refuse_place(args.report)
    except ConfigError:
        args.report = None
        raise


if __name__ == "__main__":
    sys.exit(main())
