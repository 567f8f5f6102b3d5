"""What each command does."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from exporters_beam.cli import chains, dates
from exporters_beam.cli.console import print_error, print_line, start_logging, tell_error, warn
from exporters_beam.components.secret import reveal
from exporters_beam.components.traits import WriterTraits
from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, Problem
from exporters_beam.interruption import OF_THIS_PROCESS

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec
    from exporters_beam.planning.plan import Plan
    from exporters_beam.runners import jobs


DONE, FAILED, WRONG, BROKEN_PIPE = 0, 1, 2, 141

_INTERRUPTED = "interrupted; nothing half-written has a final name"
"""What is told of every command that was interrupted; those that may be gone on with say more."""


def _run(args: argparse.Namespace) -> int:
    beam_args = [*([f"--runner={args.runner}"] if args.runner else []), *args.beam]
    if any(arg.partition("=")[0] == "--template_location" for arg in beam_args):
        return _submit(args)  # Nothing runs, so there is nothing to wait for.
    spec = _load(args.config, args.var)
    if args.resume:
        spec = spec.with_settings(resume=True)
    spec = _ruled(spec, args)
    if args.dates is not None:
        return DONE if dates.backfill(spec, args, _beam_args(spec, args)) else FAILED
    if args.jobs is not None:
        raise ConfigError("--jobs: it goes with --dates")
    if args.follow:
        return chains.follow(spec, args, _beam_args(spec, args))
    if args.every is not None:
        raise ConfigError("--every: it goes with --follow")
    return _export(spec, args)


def _release(args: argparse.Namespace) -> int:
    from exporters_beam.planning.place import books_of
    from exporters_beam.planning.plan import make_each
    from exporters_beam.runners.resume import as_begun
    from exporters_beam.staging.books import held

    spec = _begun(_load(args.config, args.var))
    why = [text for plan in make_each(spec) if (text := held(books_of(as_begun(plan)).folder))]
    if not why:
        raise ConfigError(spec.problem(("checks",), "no run of this config holds anything back; there is nothing to release"))
    for text in dict.fromkeys(why):
        print_error(f"warning: delivered all the same: {text}")
    return _export(spec.with_settings(resume=True).released(), args)


def _begun(spec: ExportSpec) -> ExportSpec:
    """The export, of which a batch was begun where it reads only what is new."""
    if spec.new_only is None:
        return spec
    from exporters_beam.runners.chains import begun

    return begun(spec)


def _ruled(spec: ExportSpec, args: argparse.Namespace) -> ExportSpec:
    """The export without the planner's rules that the command leaves out."""
    pushdown, without = spec.settings.pushdown and not args.no_pushdown, (*spec.settings.without, *args.without)
    return spec.with_settings(pushdown=pushdown, without=without)


def _replay(args: argparse.Namespace) -> int:
    from exporters_beam.planning.replay import replayed

    spec = _load(args.config, args.var).to_writer(args.to)
    _start_logging(spec, args)
    with replayed(spec, args.letters) as sent:
        return _export(sent, args)


def _export(spec: ExportSpec, args: argparse.Namespace) -> int:
    _start_logging(spec, args)
    _tell_when_interrupted(lambda: f"{_INTERRUPTED}; nothing is kept yet: run it again")
    from exporters_beam.reporting.of_runs import CONSOLE, write
    from exporters_beam.runners.books import kept
    from exporters_beam.runners.chains import run

    if args.report == CONSOLE and spec.writer.entry.name == "console":
        raise ConfigError("--report -: the writer console prints there already; give the name of a file")

    def begun(plans: Sequence[Plan]) -> None:
        tells = kept(plans[0])
        _tell_when_interrupted(lambda: f"{_INTERRUPTED}; {tells()}")

    beam_args = _beam_args(spec, args)
    watched = not args.quiet and sys.stderr.isatty()
    report = run(
        spec,
        beam_args,
        progress=watched,
        workers=getattr(args, "workers", None),
        begun=begun,
        full=getattr(args, "full", False),
    )
    if not args.quiet:
        print(report.summary(), file=sys.stderr, flush=True)
    if args.report is not None:
        write(args.report, report)
    return DONE


def _refuse_unknown(args: argparse.Namespace) -> None:
    """Before the config is looked at: it may be the value that stands behind a misspelt option."""
    from exporters_beam.runners.options import refuse_unknown

    refuse_unknown([*([f"--runner={args.runner}"] if args.runner else []), *args.beam], list(args.ours))


def _tell_when_interrupted(tells: Callable[[], str]) -> None:
    if OF_THIS_PROCESS is not None:
        OF_THIS_PROCESS.tells = tells


def _beam_args(spec: ExportSpec, args: argparse.Namespace) -> list[str]:
    from exporters_beam.runners.options import merged

    return merged(spec, getattr(args, "profile", None), [*([f"--runner={args.runner}"] if args.runner else []), *args.beam])


def _submit(args: argparse.Namespace) -> int:
    spec = _load(args.config, args.var)
    if args.resume:
        spec = spec.with_settings(resume=True)
    _start_logging(spec, args)
    from exporters_beam.runners.submit import submit

    _tell_when_interrupted(lambda: "interrupted; the job may have been started: look before you submit it again")
    started = submit(spec, _beam_args(spec, args))
    if started.job:
        print(f"{started.job}\n{started.place}")
    elif started.place:
        print_line(f"{started.place}: written; launch it with: gcloud dataflow jobs run NAME --gcs-location={started.place}")
    return DONE


def _template_build(args: argparse.Namespace) -> int:
    from exporters_beam.config.document import read
    from exporters_beam.config.parameters import check
    from exporters_beam.runners import flex_template as template

    missing = check(read(args.config).value, _variables(args.var))[1]
    spec = None if missing else _load(args.config, args.var)
    _start_logging(spec, args)
    made = template.files(args.config, spec, args.image or template.IMAGE, args.streaming)
    template.write(made, args.output)
    for name in made:
        print_line(os.path.join(args.output, name))
    return DONE


def _template_render(args: argparse.Namespace) -> int:
    from exporters_beam.planning.plan import make
    from exporters_beam.runners import flex_template as template
    from exporters_beam.runners.options import job_name

    spec = _load(args.config, args.var)
    warn(spec.warnings)
    if args.launch:
        told = template.launch_body(job_name(make(spec.alone("a template"))), args.launch, _variables(args.var))
    else:
        told = dict(spec.document)
    print(json.dumps(told, ensure_ascii=False, indent=2, default=str))
    return DONE


def _template_launch(args: argparse.Namespace) -> int:
    from exporters_beam.runners import flex_template as template

    values, args.beam = template.split(args.config, args.beam)
    args.var = [*args.var, *values]
    args.ours = [*args.ours, *template.names(args.config)]
    _refuse_unknown(args)
    return _submit(args)


def _status(args: argparse.Namespace) -> int:
    from exporters_beam.runners import jobs

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
        from exporters_beam.runners.launch import tell_end

        tell_end(spec, ended.good, str(ended))
    return DONE if ended.good else FAILED


def _cancel(args: argparse.Namespace) -> int:
    from exporters_beam.runners import jobs

    jobs.cancel(_job(args))
    print_line(f"{args.job}: asked to stop")
    return DONE


def _drain(args: argparse.Namespace) -> int:
    from exporters_beam.runners import jobs

    jobs.drain(_job(args), args.savepoint_path)
    print_line(f"{args.job}: asked to finish what it has and end")
    return DONE


def _job(args: argparse.Namespace) -> jobs.Job:
    from exporters_beam.runners import jobs

    return jobs.job_at(args.job, project=args.project, region=args.region, endpoint=args.dataflow_endpoint,
                       flink=args.flink_master, no_auth=args.no_auth)  # fmt: skip


def _validate(args: argparse.Namespace) -> int:
    from exporters_beam.config.tested import cases_of, refuse_misfits
    from exporters_beam.planning.keys import check_keys
    from exporters_beam.planning.plan import check_functions, make_each
    from exporters_beam.runners.options import check_profiles

    status = DONE
    for config in args.configs:
        try:
            spec = _load(config, args.var)
            make_each(spec)
            for each in spec.each:
                check_functions(each)
                check_keys(each)
            check_profiles(spec)
            refuse_misfits(cases_of(spec.source), spec)
        except ConfigError as error:
            tell_error(error, args.debug)
            status = WRONG
            continue
        warn(spec.warnings)
        print_line(f"{config}: ok")
        for told in dict.fromkeys(told for each in spec.each for told in each.as_before):
            print_line(f"- {told}")
    return status


def _explain(args: argparse.Namespace) -> int:
    from exporters_beam.planning.explain import mermaid, text
    from exporters_beam.planning.plan import make_each
    from exporters_beam.runners.support import settled

    spec = _ruled(_load(args.config, args.var), args)
    warn(spec.warnings)
    plans = make_each(spec)
    decisions = [str(each) for each in settled(plans[0], _beam_args(spec, args))[1]]
    print(mermaid(*plans) if args.format == "mermaid" else text(*plans, decisions=decisions), end="")
    return DONE


def _preview(args: argparse.Namespace) -> int:
    spec = _load(args.config, args.var)
    warn(spec.warnings)
    _start_logging(spec, args)
    from exporters_beam.engine.preview import preview
    from exporters_beam.planning.plan import make_each

    for plan in make_each(spec):
        if plan.spec.to:
            print_line(f"{plan.spec.to}:")
        preview(plan, args.n, print_line)
    return DONE


def _test(args: argparse.Namespace) -> int:
    from exporters_beam.testing.junit import write
    from exporters_beam.testing.running import run
    from exporters_beam.testing.telling import lines_of, summary

    def picked(name: str) -> bool:
        return not args.k or args.k.lower() in name.lower()

    found, wrong = {}, {}
    for config in args.configs:
        try:
            tests = found[config] = run(config, _variables(args.var), picked, args.update)
        except ConfigError as error:
            wrong[config] = error
            tell_error(error, args.debug)
            continue
        warn(tests.warnings)
        for outcome in tests.outcomes:
            for line in lines_of(outcome):
                print_line(line)
        if not tests.names and len(args.configs) > 1:
            print_error(f"warning: {config}: there are no tests")
    if args.junit:
        write(args.junit, found, wrong)
    outcomes = [outcome for tests in found.values() for outcome in tests.outcomes]
    if not (outcomes or wrong):
        names = [name for tests in found.values() for name in tests.names]
        if args.k and names:
            raise ConfigError(f"-k {args.k}: no test has this in its name{did_you_mean(args.k, names)}")
        raise ConfigError(Problem((), "there are no tests; write them as a list below the key `tests`", file=args.configs[0]))
    if outcomes:
        print_line(summary(outcomes))
    return WRONG if wrong else FAILED if any(not outcome.good for outcome in outcomes) else DONE


def _verify(args: argparse.Namespace) -> int:
    from exporters_beam.reporting.verify import beside, verify

    if args.chain is not None:
        if args.manifests or args.config or args.to:
            raise ConfigError("--chain: it looks at all batches of a config; leave the manifests, --config and --to out")
        return DONE if chains.verify(_load(args.chain, args.var)) else FAILED
    if args.delta is not None:
        if args.manifests or args.config or args.to:
            raise ConfigError("--delta: it looks at all deliveries of a config; leave the manifests, --config and --to out")
        return DONE if chains.verify_deltas(_load(args.delta, args.var)) else FAILED
    status = DONE
    if not args.manifests:
        raise ConfigError("name a manifest, or with --chain the config of an export that reads only what is new")
    if args.var and not args.config:
        raise ConfigError("--var: it goes with --config, whose variables it sets")
    if args.to and not args.config:
        raise ConfigError("--to: it goes with --config, whose writer it names")
    writer = reveal(_load(args.config, args.var).to_writer(args.to).writer.component) if args.config else None
    to = WriterTraits.of(writer)
    storage = None if to.storage is None else to.storage()
    for manifest in args.manifests:
        try:
            wrong, told = verify(manifest, storage, to.count)
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
            what = f"{len(told['files']):,} files"
            if told.get("targets"):
                what = ", ".join(f"{each['name']}: {each['batches']:,} batches" for each in told["targets"])
                what += "" if to.count is not None else " (not counted there again: give --config)"
            print_line(f"{manifest}: ok, {what}, {told['counts']['written']:,} records")
    return status


def _state(args: argparse.Namespace) -> int:
    chains.state(_load(args.config, args.var), args)
    return DONE


def _runs(args: argparse.Namespace) -> int:
    chains.runs(_load(args.config, args.var), args)
    return DONE


def _check(args: argparse.Namespace) -> int:
    spec = _load(args.config, args.var)
    warn(spec.warnings)
    _start_logging(spec, args)
    from exporters_beam.runners.checks import checks

    status = DONE
    for place, wrong in checks(spec):
        if wrong:
            print_error(f"error: {place}: {wrong}")
            status = FAILED
        else:
            print_line(f"{place}: ok")
    return status


def _clean(args: argparse.Namespace) -> int:
    from exporters_beam.planning.plan import make_each
    from exporters_beam.reporting.report import human
    from exporters_beam.runners.books import clean

    _tell_when_interrupted(lambda: "interrupted; what was not removed yet is there still: run clean again")
    for plan in make_each(_begun(_load(args.config, args.var))):
        for folder, freed, left in clean(plan):
            print_line(f"{folder}: removed, {human(freed)}")
            for text in left:
                print_error(f"warning: {text}")
    return DONE


def _modules(args: argparse.Namespace) -> int:
    from exporters_beam.components import registry
    from exporters_beam.reporting import reference

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
    from exporters_beam.components import registry
    from exporters_beam.config.schema import document_schema, to_text

    plugins, wrong = registry.plugin_entries()
    for text in wrong:
        print_error(f"warning: {text}")
    print(to_text(document_schema((*registry.ENTRIES, *plugins))), end="")
    return DONE


def _init(args: argparse.Namespace) -> int:
    from exporters_beam.reporting import reference

    if args.source is not None:
        return _init_from(args)
    if args.format is not None:
        raise ConfigError("--format: it goes with --from, which looks at files")
    _write_new(args.file, reference.starter(args.reader or "random", args.writer))
    print_line(f"{args.file}: written; run it with: exporters-beam run {args.file}")
    return DONE


def _init_from(args: argparse.Namespace) -> int:
    from exporters_beam.components import registry
    from exporters_beam.starting.looking import config_from

    if args.reader is not None:
        raise ConfigError("--reader: --from tells the reader; give one of them")
    _refuse_existing(args.file)
    for kind, name in (("writer", args.writer), *([("formatter", args.format)] if args.format else [])):
        registry.load(registry.find(kind, name))
    text, told = config_from(args.source, args.file, args.writer, args.format or "")
    _write_new(args.file, text)
    for each in told:
        print_error(f"note: {each}")
    print_line(f"{args.file}: written; look at it with: exporters-beam preview {args.file}")
    return DONE


def _migrate(args: argparse.Namespace) -> int:
    from exporters_beam.planning.migrate import migrate

    made = migrate(args.config, _variables(args.var))
    if args.output:
        _write_new(args.output, made.text)
    else:
        sys.stdout.write(made.text)
        sys.stdout.flush()
    for told in made.told():
        print_error(told)
    if args.output:
        print_line(f"{args.output}: written")
    return DONE


def _refuse_existing(path: str) -> None:
    """Raises ConfigError where the file is there, before anything is looked at for it."""
    if os.path.lexists(path):
        raise ConfigError(Problem((), "this file exists; give another name", file=path))


def _write_new(path: str, text: str) -> None:
    """Raises ConfigError where the file is there, or cannot be written."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(Problem((), "this file exists; give another name", file=path)) from None
    except OSError as error:
        raise ConfigError(Problem((), f"the file cannot be written: {error.strerror}", file=path)) from None


def _load(config: str, variables: Sequence[str]) -> ExportSpec:
    from exporters_beam.config.spec import load

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
            raise ConfigError(f"--var {text}: {value} is not a finite number")
        found[name] = value if isinstance(parsed, str) else parsed
    return found


def _not_json(constant: str) -> Any:
    raise ValueError(constant)


def _start_logging(spec: ExportSpec | None, args: argparse.Namespace) -> None:
    start_logging(spec.settings.log_level if spec is not None else None, args.debug, getattr(args, "quiet", False))


def _refuse_report(args: argparse.Namespace) -> None:
    from exporters_beam.reporting.of_runs import refuse_place

    if args.report is None:
        return
    try:
        refuse_place(args.report)
    except ConfigError:
        args.report = None
        raise
