"""The command line: what it prints, where, and its exit status."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.errors import DestinationError
from exporters_beam.reporting.report import Report

ROOT = Path(__file__).parent.parent.parent
GOOD = {"reader": {"name": "random", "options": {"number_of_items": 3, "seed": 1}},
        "writer": {"name": "fs", "options": {"filebase": "out/part-", "compression": "none"}}}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    return tmp_path


@pytest.fixture
def good(here):
    return config(GOOD)


@pytest.fixture
def runs(monkeypatch):
    """What the runner was called with; it does nothing."""
    calls = []

    def run(spec, beam_args, *, progress, workers, begun, full):
        calls.append((spec, list(beam_args), progress, workers))
        return Report("done", "id", {"read": 3, "written": 3})

    monkeypatch.setitem(sys.modules, "exporters_beam.runners.chains", SimpleNamespace(run=run))
    return calls


def config(value, name="export.json"):
    Path(name).write_text(json.dumps(value) if not isinstance(value, str) else value, encoding="utf-8")
    return name


def raising(monkeypatch, error):
    def run(*_, **__):
        raise error

    monkeypatch.setitem(sys.modules, "exporters_beam.runners.chains", SimpleNamespace(run=run))


def python(*args, **more):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, env=environ, timeout=60, **more)


# run


def test_run(good, runs, capsys):
    assert main(["run", good]) == 0
    spec, beam_args, progress, workers = runs[0]
    assert workers is None
    assert spec.reader.component.number_of_items == 3
    assert (beam_args, progress) == ([], False)
    out, err = capsys.readouterr()
    assert out == ""
    assert "3 records" in err
    assert main(["run", good, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_is_not_ours_goes_to_beam_in_its_order(good, runs):
    arguments = ["--streaming", "--parallelism", "4", "--job_name=n", "--experiments", "a", "--experiments=b"]
    assert main(["run", good, "--runner", "FlinkRunner", *arguments, "--quiet"]) == 0
    assert runs[0][1] == ["--runner=FlinkRunner", *arguments]
    assert main(["run", good, "--", "--streaming"]) == 0
    assert runs[1][1] == ["--streaming"]


@pytest.mark.parametrize("runner", ["", "--runner=PrismRunner", "--runner=FlinkRunner", "--runner=dataflow",
                                    "--runner=apache_beam.runners.portability.prism_runner.PrismRunner"])  # fmt: skip
@pytest.mark.parametrize(("option", "told"), [
    ("--reume", "--reume: there is no such option; did you mean \"--resume\"?"),
    ("--workrs=3", "--workrs: there is no such option; did you mean \"--workers\"?"),
    ("--streming", "--streming: there is no such option; did you mean \"streaming\"?"),
    ("--job-name=x", "--job-name: there is no such option; did you mean \"job_name\"?"),
    ("--parallelis=4", "--parallelis: there is no such option; did you mean \"parallelism\"?"),
    ("--log-level=DEBUG", "--log-level: there is no such option; write `exporter_options: {log_level: DEBUG}` in the config"),
    ("--qqqqq", "--qqqqq: neither exporters-beam nor Beam knows this option"),
    ("--streaming=true", "--streaming: it takes no value; give it alone, or leave it out"),
])  # fmt: skip
def test_options_that_nobody_knows_are_refused_on_every_runner(good, runs, capsys, runner, option, told):
    assert main(["run", good, *([runner] if runner else []), option]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")
    assert runs == []


@pytest.mark.parametrize("command", ["run", "submit", "explain", "replay"])
def test_every_command_that_takes_beams_options_refuses_others(good, command, capsys):
    assert main([command, good, *(["x.jl"] if command == "replay" else []), "--streamingg"]) == 2
    assert 'did you mean "streaming"?' in capsys.readouterr().err


def test_a_misspelt_option_before_the_config_is_told_and_not_its_value(good, capsys):
    assert main(["run", "--workrs", "3", good]) == 2
    assert capsys.readouterr().err == 'error: --workrs: there is no such option; did you mean "--workers"?\n'


@pytest.mark.parametrize("command", [["validate", "c"], ["verify", "m"], ["clean", "c"], ["preview", "c"], ["modules"],
                                     ["template", "render", "c"]])  # fmt: skip
def test_commands_without_beams_options_tell_what_was_meant_too(command, capsys):
    assert main([*command, "--debgu"]) == 2
    assert capsys.readouterr().err.endswith('error: --debgu: there is no such option; did you mean "--debug"?\n')


def test_an_unknown_command_and_variables_without_a_config(capsys):
    assert main(["vaildate", "c.yaml"]) == 2
    assert capsys.readouterr().err.endswith("error: there is no command 'vaildate'; did you mean \"validate\"?\n")
    for command in ("verify", "status"):
        assert main([command, "x", "--var", "a=1"]) == 2
        assert capsys.readouterr().err == "error: --var: it goes with --config, whose variables it sets\n"


def test_a_template_that_is_launched_refuses_what_is_neither_a_parameter_nor_beams(capsys):
    path = config({**GOOD, "vars": {"bucket": "x"}})
    assert main(["template", "launch", path, "--buckt=y"]) == 2
    assert capsys.readouterr().err == 'error: --buckt: there is no such option; did you mean "bucket"?\n'
    assert main(["submit", path, "--runner=Flnk"]) == 2
    assert "there is no runner 'Flnk'; did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "told"), [
    (["--workers=2", "--workers=3"], "argument --workers: it is given as 2 and as 3; give it once\n"),
    (["--streaming", "false"], "error: --streaming: it takes no value; give it alone, or leave it out\n"),
    (["--parallelism=nan"], "invalid int value: 'nan'\n"),
    (["--job_name"], "error: --job_name: expected one argument\n"),
    (["--workers=x"], "'x' is not a number from 1 on\n"),
    (["--workers=-1"], "'-1' is not a number from 1 on\n"),
    (["--workers=1" + "0" * 30], "it is too large\n"),
    (["--resume=yes"], "ignored explicit argument 'yes'\n"),
    (["more.yaml"], "error: more.yaml: Beam's options begin with --, e.g. --runner=FlinkRunner\n"),
])  # fmt: skip
def test_options_that_would_not_hold(good, runs, capsys, arguments, told):
    assert main(["run", good, *arguments]) == 2
    assert capsys.readouterr().err.endswith(told)
    assert runs == []


@pytest.mark.parametrize(("runner", "told"), [
    ("Flnk", "there is no runner 'Flnk'; did you mean \"FlinkRunner\"?"),
    ("PrismRuner", "there is no runner 'PrismRuner'; did you mean \"PrismRunner\"?"),
    ("zzz", "there is no runner 'zzz'; known: "),
    ("no.such.Runner", "'no.such.Runner' cannot be imported: "),
    ("json.Runner", "'json.Runner' cannot be imported: "),
])  # fmt: skip
def test_a_runner_that_is_none(good, capsys, runner, told):
    for command in ("run", "explain"):
        assert main([command, good, f"--runner={runner}"]) == 2
        assert capsys.readouterr().err.startswith(f"error: --runner: {told}")


@pytest.mark.parametrize(("profile", "told"), [
    ({"flink": {"parallelis": 2}}, "runners.flink.parallelis: there is no such option; did you mean \"parallelism\"?"),
    ({"flink": {"parallelism": "x"}}, "runners.flink.parallelism: invalid int value: 'x'"),
    ({"flnk": {}}, 'runners.flnk: this profile names no runner; did you mean "flink"?; or write `runner: …` in it'),
    ({"mine": {"runner": "Flnk"}}, "runners.mine.runner: there is no runner 'Flnk'; did you mean \"FlinkRunner\"?"),
    ({"mine": {"streaming": "yes"}}, "runners.mine.streaming: it takes no value; give it alone, or leave it out"),
    ({"mine": 3}, "runners.mine: wrong type: give a mapping of Beam's options"),
])  # fmt: skip
def test_profiles_are_checked_whether_they_are_used_or_not(profile, told, capsys):
    path = config({**GOOD, "runners": {**profile, "big": {"parallelism": 2}}})
    for command in ("validate", "run", "explain"):
        assert main([command, path]) == 2
        assert told in capsys.readouterr().err
    assert (
        main(
            [
                "validate",
                config({**GOOD, "runners": {"big": {"streaming": True}, "FlinkRunner": {"max_bundle_size": 1}}}),
            ]
        )
        == 0
    )


def test_the_old_spelling(good, runs, capsys):
    assert main(["--config", good]) == 0
    assert main([f"--config={good}", "--runner=PrismRunner"]) == 0
    assert [args for _, args, *_ in runs] == [[], ["--runner=PrismRunner"]]
    assert main(["--resume", "pickle:state/1"]) == 2
    assert capsys.readouterr().err.endswith("error: --resume goes with a config now: exporters-beam run CONFIG --resume\n")


def test_resume_is_a_setting(good, runs):
    main(["run", good, "--resume"])
    assert runs[0][0].settings.resume is True


def test_the_number_of_workers_is_given_on(good, runs):
    main(["run", good, "--workers", "3"])
    assert runs[0][3] == 3


def test_variables(runs):
    path = config({**GOOD, "vars": {"n": 1, "t": "", "l": [], "b": False},
                   "writer": {"name": "fs", "options": {"filebase": "${vars.t}", "items_limit": "${vars.n}",
                                                        "generate_md5": "${vars.b}"}}})  # fmt: skip
    assert main(["run", path, "--var", "n=7", "--var=t=a=b", "--var", "b=true"]) == 0
    writer = runs[0][0].writer.component
    assert (writer.items_limit, writer.filebase, writer.generate_md5) == (7, "a=b", True)
    main(["run", path, "--var", "n=2", "--var", "t=NaN", "--var", "b=true"])
    assert runs[1][0].writer.component.filebase == "NaN"
    main(["run", path, "--var", 't="quoted"'])
    assert runs[2][0].writer.component.filebase == '"quoted"'


def test_a_wrong_variable(good, runs, capsys):
    assert main(["run", good, "--var", "x"]) == 2
    assert capsys.readouterr().err == "error: --var x: write it as NAME=VALUE\n"
    assert main(["run", good, "--var", "x=1e999"]) == 2
    assert capsys.readouterr().err == "error: --var x=1e999: 1e999 is not a finite number\n"
    assert main(["run", config({**GOOD, "vars": {"town": 1}}), "--var", "twon=2"]) == 2
    assert capsys.readouterr().err.endswith('vars.twon: nothing uses this variable; did you mean "town"?\n')
    assert runs == []


def test_the_report_is_written(good, runs, capsys):
    assert main(["run", good, "--report", "report.json"]) == 0
    assert json.loads(Path("report.json").read_text())["counts"] == {"read": 3, "written": 3}
    assert main(["run", good, "--report", "no/such/folder.json"]) == 2
    assert len(runs) == 1
    assert "give the name of a file in a folder that exists" in capsys.readouterr().err


def test_a_failed_export_is_status_1_in_one_line(good, monkeypatch, capsys):
    raising(monkeypatch, DestinationError("cannot deliver out/x: No space left on device"))
    assert main(["run", good, "--report", "report.json"]) == 1
    assert json.loads(Path("report.json").read_text())["error"] == "cannot deliver out/x: No space left on device"
    assert capsys.readouterr().err == "error: cannot deliver out/x: No space left on device\n"
    assert main(["run", good, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_report_of_a_failed_export_says_how_far_it_came(capsys):
    Path("in").mkdir()
    Path("in/1.jl").write_text('{"a": 1}\n{"a": 2}\n')
    Path("in/2.jl").write_text('{"a": 3}\n{broken\n')
    path = config({"reader": {"name": "fs", "options": {"input": {"dir": "in"}}}, "writer": GOOD["writer"],
                   "exporter_options": {"log_level": "debug"}})  # fmt: skip
    assert main(["run", path, "--report", "report.json", "--workers=1"]) == 1
    report = json.loads(Path("report.json").read_text())
    assert report["status"] == "failed"
    assert "2.jl: record 2" in report["error"]
    assert len(report["export"]) > 8 and report["started"] and report["runner"] == "local" and report["seconds"] > 0
    assert "there is no level 'debug'" in report["warnings"][0]
    assert set(report["counts"]) >= {"read", "written"}
    with pytest.raises(exporters_beam.ExportError) as caught:
        exporters_beam.run(path)
    assert caught.value.report.export_id == report["export"]


def test_delivered_files_stand_in_the_report_of_a_run_that_failed_behind_them(capsys, monkeypatch):
    Path("in.jl").write_text("".join(json.dumps({"a": n}) + "\n" for n in range(4)))
    Path("out/part-0002.jl").mkdir(parents=True)
    writer = {"name": "fs", "options": {"filebase": "out/part-", "compression": "none", "items_per_buffer_write": 1}}
    path = config({"reader": {"name": "fs", "options": {"input": "in.jl"}}, "writer": writer})
    assert main(["run", path, "--report", "report.json", "--workers=1"]) == 1
    report = json.loads(Path("report.json").read_text())
    there = sorted(name.name for name in Path("out").glob("part-*") if name.is_file())
    assert [Path(file["name"]).name for file in report["files"]] == there
    assert report["counts"]["read"] == 4
    assert report["counts"]["written"] == len(there)
    assert report["units"] == [{"name": "in.jl", "size": 36, "read": 4}]


def test_what_was_committed_stands_in_the_report(tmp_path):
    from exporters_beam.records import Mark, Unit
    from exporters_beam.reporting.of_runs import noted
    from exporters_beam.staging.segments import Staging

    staging = Staging(str(tmp_path / "staging"))
    unit = Unit(0, "a.jl", 10)
    for number, read in enumerate((3, 4)):
        staging.create().commit([Mark(unit, number, (("read", read), ("filter_before.dropped", 1)))])
    far = {}
    with pytest.raises(KeyboardInterrupt), noted(far, staging):
        raise KeyboardInterrupt
    assert far == {"counts": {"read": 7, "written": 0, "filter_before.dropped": 2}, "files": (),
                   "units": ({"name": "a.jl", "size": 10, "read": 7},)}  # fmt: skip


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_report_of_a_wrong_config(command, capsys):
    path = config('{"reader": {"name": "random",\n "options": {"seeds": 1}}}')
    more = ["letters.jl"] if command == "replay" else []
    assert main([command, path, *more, "--report", "report.json"]) == 2
    report = json.loads(Path("report.json").read_text())
    assert report["status"] == "failed"
    assert report["problems"][1] == {"file": "export.json", "line": 2, "column": 14, "path": ["reader", "options", "seeds"],
                                     "message": 'unknown option; did you mean "seed"?'}  # fmt: skip
    assert main([command, "no.yaml", *more, "--report=-"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["problems"][0]["message"] == "there is no such file"
    assert err.endswith("error: no.yaml: there is no such file\n")


def test_the_report_of_an_interrupted_run(good, monkeypatch):
    raising(monkeypatch, KeyboardInterrupt())
    assert main(["run", good, "--report", "report.json"]) == 130
    assert json.loads(Path("report.json").read_text())["status"] == "interrupted"


def test_the_report_on_standard_output(good, capsys):
    assert main(["run", good, "--report", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["counts"]["written"] == 3
    assert "3 records" in err
    assert main(["run", config({**GOOD, "writer": "console"}), "--report=-"]) == 2
    assert "error: --report -: the writer console prints there already" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_told(good, runs, capsys):
    assert main(["run", good, "--report", "/dev/full", "--quiet"]) == 1
    assert capsys.readouterr().err.startswith("error: --report /dev/full: cannot be written: No space left on device")
    assert main(["run", good, "--report", ""]) == 2


HOSTILE = "a\nb\r\x1b[2J\x9b1m\u2028\u202e"


@pytest.mark.parametrize("command", ["run", "validate", "explain", "preview", "clean", "verify", "replay", "submit"])
def test_messages_are_single_lines_that_do_nothing_to_a_terminal(command, capsys):
    more = {"replay": ["x"], "submit": ["--runner=FlinkRunner"]}.get(command, [])
    assert main([command, HOSTILE, *more]) == 2
    Path(HOSTILE).write_text(json.dumps({**GOOD, HOSTILE: 1, "reader": {"name": HOSTILE}}))
    assert main([command, HOSTILE, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == (2 if command in ("verify",) else 3)
    assert all(line.startswith("error: a\\nb\\r\\x1b[2J\\x9b1m\\u2028\\u202e") for line in err.splitlines())


def test_what_explain_and_preview_and_a_summary_show_is_harmless(capsys):
    Path(HOSTILE).mkdir()
    Path(HOSTILE, "in.jl").write_text(json.dumps({"a": HOSTILE}) + "\n")
    path = config({"reader": {"name": "fs", "options": {"input": {"dir": HOSTILE}}},
                   "grouper": {"name": "file_key", "options": {"keys": ["a"]}},
                   "writer": {"name": "fs", "options": {"filebase": f"out/{HOSTILE}/{{groups[0]}}-"}}})  # fmt: skip
    for command in (["validate"], ["explain"], ["explain", "--format=mermaid"], ["preview"], ["run"]):
        assert main([*command, path]) == 0
        out, err = capsys.readouterr()
        assert not set("\r\x1b\x9b\u2028\u202e") & set(out + err), command


def test_a_file_whose_name_is_no_text(capsys):
    path = config({**GOOD, "reader": {"name": "fs", "options": {"input": {"dir": "in"}}}})
    Path("in").mkdir()
    with open(b"in/\xff\n.jl", "wb") as file:
        file.write(b"{broken\n")
    assert main(["run", path, "--report", "report.json"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "\\udcff\\n.jl: record 1: " in err
    assert "/\\udcff\\n.jl: record 1: " in json.loads(Path("report.json").read_text())["error"]


def test_a_mistake_of_ours_is_status_1_in_one_line(good, monkeypatch, capsys):
    raising(monkeypatch, KeyError("x"))
    assert main(["run", good]) == 1
    assert capsys.readouterr().err == "error: KeyError: 'x' (--debug shows where)\n"


def test_an_interrupt(good, monkeypatch, capsys):
    raising(monkeypatch, KeyboardInterrupt())
    assert main(["run", good]) == 130
    assert capsys.readouterr().err == "error: interrupted; nothing half-written has a final name\n"


def test_run_for_real(good, here):
    done = python("-m", "exporters_beam", "run", good, cwd=here)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
    assert len((here / "out/part-0000.jl").read_text().splitlines()) == 3


# wrong commands and configs


@pytest.mark.parametrize("arguments", [[], ["nope"], ["run"], ["validate"], ["validate", "a", "--unknown"],
                                       ["explain", "a", "--format", "x"], ["preview", "a", "-n", "0"],
                                       ["preview", "a", "-n", "x"], ["--nope"]])  # fmt: skip
def test_wrong_usage_is_status_2(arguments, capsys):
    assert main(arguments) == 2
    assert "usage: exporters-beam" in capsys.readouterr().err


def test_help_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"exporters-beam {exporters_beam.__version__}\n"
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("run", "validate", "explain", "preview", "modules", "schema", "init"))
    assert main(["run", "--help"]) == 0
    assert "given to Beam" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "validate", "explain", "preview"])
def test_a_wrong_config_is_status_2_and_a_line_for_each_problem(command, capsys):
    path = config('{"reader": {"name": "random",\n "options": {"seeds": 1}}}')
    assert main([command, path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error: export.json:1:1: writer: this section is missing; an export needs a reader and a writer\n"
        'error: export.json:2:14: reader.options.seeds: unknown option; did you mean "seed"?\n'
    )


@pytest.mark.parametrize("path", ["nope.json", ".", ""])
def test_a_file_that_is_none(path, capsys):
    assert main(["run", path]) == 2
    assert capsys.readouterr().err.startswith("error: ")


# validate, explain, preview


def test_validate(good, capsys):
    assert main(["validate", good]) == 0
    assert capsys.readouterr() == ("export.json: ok\n", "")


def test_validate_several(good, capsys):
    bad = config({"reader": "random"}, "bad.json")
    odd = config({**GOOD, "exporter_options": {"log_level": "debug"}}, "odd.json")
    assert main(["validate", good, bad, odd]) == 2
    out, err = capsys.readouterr()
    assert out == "export.json: ok\nodd.json: ok\n"
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["error", "warning"]


def test_validate_also_looks_whether_the_components_fit(capsys):
    path = config({**GOOD, "writer": {"name": "fs", "options": {"filebase": "out/{groups[0]}/x"}}})
    assert main(["validate", path]) == 2
    assert capsys.readouterr().err.startswith("error: export.json:1:")


def test_explain_calls_options_what_the_config_calls_them(good, capsys):
    path = config({**GOOD, "transform": {"name": "pythonmap", "options": {"map": "dict(item, n=1)"}}}, "map.json")
    assert main(["explain", path]) == 0
    assert "pythonmap(map='dict(item, n=1)')" in capsys.readouterr().out


def test_validate_imports_neither_beam_nor_clients(here):
    path = config("""\
vars: {folder: out, day: "${env:DAY}"}
env: [DAY]
reader:
  name: exporters.readers.fs_reader.FSReader
  options:
    input: {dir: data, pattern: '.*gz$'}
decompressor: {name: exporters.decompressors.ZLibDecompressor}
deserializer: {name: exporters.deserializers.JsonLinesDeserializer}
filter_before:
  name: exporters.filters.key_value_filters.KeyValueFilter
  options:
    keys: [{name: country_code, value: es}]
transform:
  name: exporters.transform.pythonmap.PythonMapTransform
  options: {map: 'dict(item, tagged=True)'}
grouper:
  name: exporters.groupers.file_key_grouper.FileKeyGrouper
  options: {keys: [state]}
writer:
  name: exporters.writers.fs_writer.FSWriter
  options:
    filebase: '${vars.folder}/${vars.day}/{groups[0]}/part_'
persistence: {name: exporters.persistence.pickle_persistence.PicklePersistence, options: {file_path: state}}
stats_manager: {name: exporters.stats_managers.basic_stats_manager.BasicStatsManager}
exporter_options:
  formatter: {name: exporters.export_formatter.csv_export_formatter.CSVExportFormatter, options: {fields: [a]}}
  notifications:
    - {name: webhook, options: {endpoints: ['https://hooks.example.org/x']}}
""", "long.yaml")  # fmt: skip
    code = (
        "import sys; from exporters_beam.__main__ import main; status = main(['validate', 'long.yaml']);"
        "heavy = {'apache_beam', 'pyarrow', 'fastavro', 'numpy', 'boto3', 'jq', 'google', 'pandas', 'requests'};"
        "print(sorted(heavy & set(sys.modules))); sys.exit(status)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "DAY": "mon"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here, env=environ)
    told = done.stdout.splitlines()
    assert (done.returncode, told[0], told[-1]) == (0, f"{path}: ok", "[]"), done.stderr


def test_explain(good, capsys):
    assert main(["explain", good]) == 0
    assert "random" in capsys.readouterr().out
    assert main(["explain", good, "--format", "mermaid"]) == 0
    assert capsys.readouterr().out.startswith("flowchart")


def test_preview(good, capsys):
    assert main(["preview", good, "-n", "2"]) == 0
    out = capsys.readouterr().out
    assert "country_code" in out
    assert not Path("out").exists()


# modules, schema, init


def test_modules(capsys):
    assert main(["modules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["reader", "fs"] and line.endswith(".") for line in lines)
    assert main(["modules", "--kind", "writer"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"writer"}


OWN = """
from dataclasses import dataclass
from exporters_beam import option

@dataclass(frozen=True, kw_only=True)
class Own:
    "A reader of one's own."
    kind = "reader"
    key: str = option("a key", env="OWN_KEY")
"""


def test_modules_of_one_name(capsys, here, monkeypatch):
    (here / "own_reader.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(here))
    assert main(["modules", "fs"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("reader fs\n")
    assert "\nwriter fs\n" in out
    assert "filebase" in out
    assert "required" in out
    assert "Example:" in out
    assert "exporters.writers.fs_writer.FSWriter" in out
    assert main(["modules", "fs", "--kind", "reader"]) == 0
    assert "filebase" not in capsys.readouterr().out
    assert main(["modules", "exporters.writers.FSWriter"]) == 0
    assert capsys.readouterr().out.startswith("writer fs\n")
    assert main(["modules", "own_reader:Own"]) == 0
    assert "OWN_KEY" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["flatsn"], ["fs", "--kind", "wrtier"], ["fractions:Nothing"]])
def test_unknown_modules(arguments, capsys):
    assert main(["modules", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_reference_lists_every_component(capsys):
    from exporters_beam.components import registry

    assert main(["modules", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert all(f"### {entry.kind} `{entry.name}`\n" in out for entry in registry.ENTRIES)


def test_schema(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_init_writes_a_config_that_validates_and_runs(capsys, here):
    assert main(["init"]) == 0
    assert capsys.readouterr().out == "export.yaml: written; run it with: exporters-beam run export.yaml\n"
    assert main(["validate", "export.yaml"]) == 0
    done = python("-m", "exporters_beam", "run", "export.yaml", "--quiet", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert len((here / "out/part-0000.jl").read_text().splitlines()) == 100


def test_init_does_not_overwrite(capsys):
    Path("mine.yaml").write_text("precious")
    assert main(["init", "mine.yaml"]) == 2
    assert capsys.readouterr().err == "error: mine.yaml: this file exists; give another name\n"
    assert Path("mine.yaml").read_text() == "precious"
    assert main(["init", "no/folder.yaml"]) == 2


def test_init_with_other_components():
    from exporters_beam.components import registry

    for reader in registry.names("reader"):
        for writer in registry.names("writer"):
            Path("c.yaml").unlink(missing_ok=True)
            assert main(["init", "c.yaml", "--reader", reader, "--writer", writer]) == 0
            spec = load("c.yaml", environ={})
            assert (spec.reader.entry.name, spec.writer.entry.name) == (reader, writer)


def test_the_commented_sections_of_init_are_valid_too():
    main(["init", "c.yaml"])
    lines = Path("c.yaml").read_text().splitlines()
    sections = ("# filter_before:", "# transform:", "# grouper:", "# formatter:")
    start = next(n for n, line in enumerate(lines) if line.startswith(sections))
    end = next(n for n, line in enumerate(lines) if line.startswith("writer:"))
    lines[start:end] = [line.removeprefix("# ") for line in lines[start:end]]
    spec = load(yaml.safe_load("\n".join(lines)), environ={})
    assert None not in (spec.step("filter_before"), spec.step("transform"), spec.grouper, spec.formatter)


def test_init_with_an_unknown_component(capsys):
    assert main(["init", "c.yaml", "--reader", "fz"]) == 2
    assert "there is no reader called 'fz'" in capsys.readouterr().err
    assert not Path("c.yaml").exists()


def test_a_closed_pipe_is_no_traceback(here):
    command = f"{sys.executable} -m exporters_beam modules | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=here,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"})  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stdout.startswith("reader")


def run_cli(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "exporters_beam", *args], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_a_failed_export_says_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.jl").write_text('{"a": 1}\n{"a": 2\n')
    (tmp_path / "c.yaml").write_text(
        "reader: {name: fs, options: {input: bad.jl}}\nwriter: {name: fs, options: {filebase: out/deep/x}}\n"
    )
    done = run_cli("run", "c.yaml", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: bad.jl: record 2: deserializer: not valid JSON"), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jl", "c.yaml"]
    assert "Traceback" in run_cli("run", "c.yaml", "--debug", cwd=tmp_path).stderr


LEAVING = """
import atexit, sys, threading, time
atexit.register(print, "registered")
if sys.argv.pop() == "thread":
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
from exporters_beam.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(("how", "said"), [("alone", ["registered"]), ("thread", ["thread", "registered"])])
def test_what_is_registered_for_the_end_and_threads_are_waited_for(how, said, tmp_path):
    path = tmp_path / "c.json"
    path.write_text("{}")
    command = [sys.executable, "-c", LEAVING, "validate", str(path), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (2, said)
    assert "error: " in done.stderr
