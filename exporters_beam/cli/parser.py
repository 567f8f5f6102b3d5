"""The commands and options of `exporters-beam`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from exporters_beam import __version__
from exporters_beam.cli.commands import (
    WRONG,
    _cancel,
    _check,
    _clean,
    _drain,
    _explain,
    _init,
    _migrate,
    _modules,
    _preview,
    _release,
    _replay,
    _run,
    _runs,
    _schema,
    _state,
    _status,
    _submit,
    _template_build,
    _template_launch,
    _template_render,
    _test,
    _validate,
    _verify,
)

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Command = Callable[[argparse.Namespace], int]


def _parse(parser: argparse.ArgumentParser, given: list[str]) -> argparse.Namespace:
    """The arguments; `beam` has those of `run` that are not ours, in their order."""
    _refuse_unknown_command(parser, given)
    args, others = parser.parse_known_args(_from_old_spelling(parser, given))
    if args.command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(WRONG)
    if others and args.command not in (_run, _release, _replay, _explain, _submit, _template_launch):
        from exporters_beam.runners.options import unknown

        odd = next((other for other in others if other.startswith("--") and other != "--"), "")
        hint = f"{odd}: {unknown(odd.partition('=')[0], list(args.ours))}" if odd else ""
        parser.error(hint or f"unrecognized arguments: {' '.join(others)}")
    args.beam = [other for other in others if other != "--"]
    return args


def _refuse_unknown_command(parser: argparse.ArgumentParser, given: list[str]) -> None:
    """With what was probably meant."""
    known = next(list(a.choices) for a in parser._actions if isinstance(a.choices, dict))
    if given and not given[0].startswith("-") and given[0] not in known:
        from exporters_beam.components.words import did_you_mean

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
    parser = argparse.ArgumentParser(prog="exporters-beam", description="Export records as a config says.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"exporters-beam {__version__}")
    parser.set_defaults(command=None, debug=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for group in (_exports, _jobs, _templates, _looks, _reference):
        group(commands)
    return parser


def _add(commands: Commands, name: str, function: Command, help: str, epilog: str | None = None) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help, description=help, allow_abbrev=False, epilog=epilog)
    command.register("action", None, _Once)
    command.set_defaults(command=function, ours=command._option_string_actions)
    command.add_argument("--debug", action="store_true", help="show tracebacks and log more")
    return command


def _add_variables(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--var", action="append", default=[], metavar="NAME=VALUE", help="set a variable of the config's `vars`"
    )


def _add_runner(command: argparse.ArgumentParser) -> None:
    command.add_argument("--runner", metavar="R", help="the Beam runner, e.g. FlinkRunner; without it: this machine")
    command.add_argument("--profile", metavar="NAME", help="Beam's options from the config's `runners`")


def _add_rules(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--no-pushdown", action="store_true", help="leave out all rules of the planner: decode every record whole"
    )
    command.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="RULE",
        help="leave out this one; explain shows their names",
    )


def _exports(commands: Commands) -> None:
    """The commands that run an export: run, replay, submit."""
    run = _add(commands, "run", _run, "run an export", epilog="All other options are given to Beam, e.g. --streaming.")
    run.add_argument("config", metavar="CONFIG", help="a JSON or YAML file; it stands before Beam's options")
    _add_runner(run)
    _add_variables(run)
    run.add_argument("--report", metavar="FILE.json", help="write what was read, written and delivered there; - "
                     "prints it")  # fmt: skip
    run.add_argument("--resume", action="store_true", help="go on with what an earlier run of this export left")
    run.add_argument("--full", action="store_true", help="where only what is new is read: read everything once more")
    run.add_argument("--dates", metavar="FIRST..LAST", help="once for each of these days, as if it were run then: "
                     "2026-01-01..2026-01-31; days that are complete are passed over")  # fmt: skip
    run.add_argument("--jobs", metavar="N", type=_positive, help="with --dates: so many days at once")
    run.add_argument("--follow", action="store_true", help="where only what is new is read: batch after batch, until SIGTERM "
                     "or Ctrl-C")  # fmt: skip
    run.add_argument("--every", metavar="TIME", help="with --follow: how often to look for what is new (10s, 5m)")
    _add_rules(run)
    run.add_argument("--workers", metavar="N", type=_positive, help="processes on this machine; by default one for each "
                     "core for large files, else one")  # fmt: skip
    run.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings and errors only")

    release = _add(commands, "release", _release, "deliver what checks hold back")
    release.add_argument("config", metavar="CONFIG", help="the config of the export that is held")
    release.add_argument("--runner", metavar="R", help="the Beam runner; without it: this machine")
    _add_variables(release)
    release.add_argument("--report", metavar="FILE.json", help="write what was read, written and delivered there")
    release.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings and errors only")

    replay = _add(commands, "replay", _replay, "send dead letters through the rest of an export, once the cause is fixed",
                 epilog="All other options are given to Beam; they stand behind the files.")  # fmt: skip
    replay.add_argument("config", metavar="CONFIG", help="the config of the export that left the dead letters")
    replay.add_argument("letters", metavar="LETTERS", nargs="+", help="files of dead letters")
    replay.add_argument("--runner", metavar="R", help="the Beam runner; without it: this machine")
    replay.add_argument("--to", metavar="WRITER", help="of several writers the one whose dead letters these are")
    _add_variables(replay)
    replay.add_argument("--report", metavar="FILE.json", help="write what was read, written and delivered there")
    replay.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings and errors only")

    submit = _add(commands, "submit", _submit, "start an export elsewhere and do not wait", epilog=run.epilog)
    submit.add_argument("config", metavar="CONFIG", help="a JSON or YAML file; it stands before Beam's options")
    submit.add_argument("--runner", metavar="R", help="the Beam runner: DataflowRunner or FlinkRunner")
    submit.add_argument("--profile", metavar="NAME", help="Beam's options from the config's `runners`")
    _add_variables(submit)
    submit.add_argument("--resume", action="store_true", help="go on with what an earlier run of this export left")
    submit.set_defaults(quiet=False)


def _jobs(commands: Commands) -> None:
    """The commands for what was submitted: status, cancel, drain."""
    status = _add(commands, "status", _status, "show the state of a job that was submitted")
    status.add_argument("--watch", action="store_true", help="go on until it has ended; exit 1 where it ended badly")
    status.add_argument(
        "--config", metavar="CONFIG", help="with --watch: send the notifications of this config when the job ends"
    )
    status.add_argument("--every", type=_positive, default=10, metavar="SECONDS", help="how often to ask (default: 10)")
    _add_variables(status)
    cancel = _add(commands, "cancel", _cancel, "stop a job at once")
    drain = _add(commands, "drain", _drain, "have a streaming job finish what it has and end")
    drain.add_argument("--savepoint_path", default="", metavar="FOLDER", help="Flink: where its savepoint goes")
    for command in (status, cancel, drain):
        command.add_argument("job", metavar="JOB", help="the address that submit printed, or the job's id")
        command.add_argument("--project", default="", help="Dataflow: the project")
        command.add_argument("--region", default="", help="Dataflow: the region")
        command.add_argument("--dataflow_endpoint", default="", metavar="URL", help="another address of Dataflow")
        command.add_argument("--no_auth", action="store_true", help="Dataflow: do not say who asks, for tests")
        command.add_argument("--flink_master", default="", metavar="HOST:PORT", help="Flink: its REST interface")


def _templates(commands: Commands) -> None:
    """The commands below `template`: build, render, launch."""
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
        _add_variables(action)


def _looks(commands: Commands) -> None:
    """The commands that look at a config, and at what it has delivered or left."""
    validate = _add(commands, "validate", _validate, "check configs; nothing is run")
    validate.add_argument("configs", metavar="CONFIG", nargs="+")
    _add_variables(validate)

    explain = _add(commands, "explain", _explain, "show what a config would do, step by step")
    explain.add_argument("config", metavar="CONFIG")
    _add_runner(explain)
    explain.add_argument("--format", choices=("text", "mermaid"), default="text")
    _add_rules(explain)
    _add_variables(explain)

    preview = _add(commands, "preview", _preview, "show the first records as they pass every step; nothing is delivered")
    preview.add_argument("config", metavar="CONFIG")
    preview.add_argument("-n", type=_positive, default=10, metavar="N", help="records to read (default: 10)")
    _add_variables(preview)

    test = _add(commands, "test", _test, "run the tests of configs: given records, without reader and writer")
    test.add_argument("configs", metavar="CONFIG", nargs="+")
    test.add_argument("-k", default="", metavar="TEXT", help="only those tests that have this in their name")
    test.add_argument("--update", action="store_true", help="write the records that come out into the config, where a test "
                      "expects others")  # fmt: skip
    test.add_argument("--junit", default="", metavar="FILE.xml", help="write how they went there as JUnit XML")
    _add_variables(test)

    verify = _add(commands, "verify", _verify, "read what was delivered again and compare it with the manifest")
    verify.add_argument("manifests", metavar="MANIFEST", nargs="*", help=".exporters/<export id>/manifest.json")
    verify.add_argument("--config", metavar="CONFIG", help="the config of the export, for the credentials of its writer")
    verify.add_argument("--chain", metavar="CONFIG", help="all batches of an export that reads only what is new")
    verify.add_argument("--delta", metavar="CONFIG", help="all deliveries of an export of deltas, each against the one before")
    verify.add_argument("--to", metavar="WRITER", help="of several writers the one whose manifests these are")
    _add_variables(verify)

    state = _add(commands, "state", _state, "tell what an export that reads only what is new has read, or change it")
    state.add_argument("config", metavar="CONFIG")
    how = state.add_mutually_exclusive_group()
    how.add_argument("--show", action="store_true", help="tell how far it has come; so it is without another option")
    how.add_argument("--since", metavar="TIME", help="have what was read from that time on read again")
    how.add_argument("--reset", action="store_true", help="have everything read again")
    how.add_argument("--skip", action="store_true", help="count what is there now as read, and do not deliver it")
    _add_variables(state)

    runs = _add(commands, "runs", _runs, "list the batches of an export that reads only what is new")
    runs.add_argument("config", metavar="CONFIG")
    runs.add_argument("-n", type=_positive, default=20, metavar="N", help="so many at most, the last ones (default: 20)")
    _add_variables(runs)

    check = _add(
        commands, "check", _check, "look whether what a config names can be reached, read and written; nothing is written"
    )
    check.add_argument("config", metavar="CONFIG")
    _add_variables(check)

    clean = _add(commands, "clean", _clean, "remove what runs of a config that did not end have staged")
    clean.add_argument("config", metavar="CONFIG")
    _add_variables(clean)


def _reference(commands: Commands) -> None:
    """The commands that tell what can be written in a config."""
    modules = _add(commands, "modules", _modules, "list components, or explain one")
    modules.add_argument("name", metavar="NAME", nargs="?")
    modules.add_argument("--kind", metavar="KIND", help="only of this kind: reader, filter, writer, …")
    modules.add_argument("--markdown", action="store_true", help="the whole reference, as docs/reference.md")

    _add(commands, "schema", _schema, "print the JSON Schema of configs, for editors")

    migrate = _add(commands, "migrate", _migrate, "write a config of exporters 0.6.18 in today's form")
    migrate.add_argument("config", metavar="OLD")
    migrate.add_argument("-o", "--output", metavar="NEW", help="the file to write; without it: standard output")
    _add_variables(migrate)

    init = _add(commands, "init", _init, "write a config to start with, or one for files that are there")
    init.add_argument("file", metavar="FILE", nargs="?", default="export.yaml")
    init.add_argument("--from", dest="source", metavar="PATH|URL",
                      help="a file, a folder, a pattern or a URL to look at, for a config that reads it")  # fmt: skip
    init.add_argument("--reader", metavar="NAME", help="without --from; random where it is not given")
    init.add_argument("--writer", default="fs", metavar="NAME")
    init.add_argument("--format", metavar="NAME", help="with --from: how files are written, as csv or parquet; else JSON lines")


class _Once(argparse._StoreAction):
    """An option with a value that is given once: of two different ones, one would not hold."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        seen = namespace.__dict__.setdefault("given", {})
        if option_string is not None and seen.setdefault(self.dest, values) != values:
            parser.error(f"argument {option_string}: it is given as {seen[self.dest]} and as {values}; give it once")
        super().__call__(parser, namespace, values, option_string)


def _positive(text: str) -> int:
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on" if len(text) < 10 else "it is too large")
    return int(text)
