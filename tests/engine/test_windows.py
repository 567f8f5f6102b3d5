"""Windows: records go to the files of the hour or day that they tell, and a window is complete when nothing is to come."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.components.times import time_of
from exporters_beam.config.spec import load
from exporters_beam.errors import RecordError
from exporters_beam.planning.explain import text
from exporters_beam.planning.plan import make, make_each
from exporters_beam.reporting import chain as chains
from exporters_beam.runners.chain_states import told, verified
from exporters_beam.runners.chains import folder_of, run
from exporters_beam.transforms.partition import PartitionGrouper
from exporters_beam.transforms.windows import Windows
from exporters_beam.writers.fs import FsWriter

from helpers import delivered, jsonl, visible

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    return tmp_path


def put(name: str, *times: Any) -> None:
    path = Path("in", name)
    path.write_bytes(jsonl([{"at": time, "n": n} for n, time in enumerate(times)]))


def config(window: Any, filebase: str = "{window:%Y-%m-%d/%H}/n-", new_only: bool = True, **more: Any) -> dict[str, Any]:
    batch = "{batch:03d}-" if new_only else ""
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": "in"}}},
        **({"new_only": True} if new_only else {}),
        "window": {"field": "at", **window},
        "writer": {"name": "fs", "options": {"filebase": f"out/{filebase}{batch}", "compression": "none"}},
        **more,
    }


def files() -> dict[str, Any]:
    """What stands at the destination: the numbers of records by path, None for a file that says that a window is complete."""
    return {
        name: [each["n"] for each in delivered(Path("out"))[name]] if "n-" in name else None for name in visible(Path("out"))
    }


# Which window a record is in


@pytest.mark.parametrize(("size", "zone", "expected"), [
    ("15m", "UTC", "2026-10-25T00:45"), ("1h", "Europe/Berlin", "2026-10-25T02:00"), ("6h", "UTC", "2026-10-25T00:00"),
    ("1d", "America/New_York", "2026-10-24T00:00"), ("7d", "UTC", "2026-10-19T00:00"), ("10s", "UTC", "2026-10-25T00:59:50"),
    ("6h", "Asia/Kathmandu", "2026-10-25T06:00"),
])  # fmt: skip
def test_the_window_of_a_time_by_the_clock_of_its_zone(folder, size, zone, expected):
    put("a.jl", "2026-10-25T00:59:59.999Z", "2026-10-25T02:59:59.999+02:00", 1_792_889_999)
    exporters_beam.run(config({"size": size, "zone": zone, "epoch": "seconds"}, "{window}/n-"))
    assert files() == {f"{expected.replace(':', '')}/n-001-0000.jl": [0, 1, 2]}


def test_the_hour_that_there_is_twice_is_one_window_and_ends_with_the_second():
    hours = Windows(field="at", seconds=3600, zone="Europe/Berlin")
    times = ["2026-10-24T23:59:59Z", "2026-10-25T00:00:00Z", "2026-10-25T01:59:59Z", "2026-10-25T02:00:00Z"]
    found = [hours.of({"at": time})[0] for time in times]
    assert found == [f"2026-10-25T0{hour}:00" for hour in (1, 2, 2, 3)]
    assert [hours.end(window).isoformat() for window in found[:2]] == ["2026-10-25T00:00:00+00:00", "2026-10-25T02:00:00+00:00"]
    days = Windows(field="at", seconds=86_400, zone="Europe/Berlin")
    assert days.end("2026-10-25T00:00") - days.end("2026-10-24T00:00") == timedelta(hours=25)
    assert hours.of({"at": "2026-03-29T02:30:00"})[0] == "2026-03-29T03:00", "an hour that there is not"


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2060, 1, 1), timezones=st.just(timezone.utc)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata"]),
    st.sampled_from([10, 60, 900, 3600, 6 * 3600, 86_400, 7 * 86_400]),
)
def test_every_time_is_in_its_window_and_before_its_end(time, zone, seconds):
    """Hostile: the hours in which clocks are put forward and back, in zones of half hours, too."""
    windows = Windows(field="at", seconds=seconds, zone=zone)
    time = time.replace(microsecond=0)
    window, at = windows.of({"at": time.isoformat()})
    assert at == time.timestamp()
    local = time.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    start = datetime.fromisoformat(window)
    assert start <= local < start + timedelta(seconds=seconds)
    assert time < windows.end(window)
    assert windows.of({"at": (windows.end(window) - timedelta(seconds=1)).isoformat()})[0] == window
    assert windows.of({"at": windows.end(window).isoformat()})[0] > window


PARTS = [
    *"2026-11-28T14:3", "2026-11-28T14:30", "2026-10-25 02:30", "0001-01-01T00:00", "9999-12-31T23:59",
    *(":59", ":60", ":61", ":30", ":07", ".5", ".", ",5", "Z", "z", "+01:00", "-0330", "+9", "+24:00", " ", "\u0662", "²"),
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)


@given(st.lists(TEXTS, min_size=1, max_size=8), st.sampled_from([10, 60, 3600, 86_400]), st.sampled_from([None, 1_792_893_635]))
def test_what_is_remembered_of_minutes_changes_nothing(texts, seconds, until):
    """Hostile: what nearly is a time, in any order, twice; and a future that begins in the middle of a minute."""
    windows = Windows(field="at", seconds=seconds, zone="Europe/Berlin", unknown=True, until=until)
    hours = PartitionGrouper(fields=({"hour": "at"}, {"day": "at", "as": "day"}), zone="Europe/Berlin")

    def said(work: Any, value: Any) -> Any:
        try:
            return work(value)
        except RecordError as error:
            return str(error)

    for value in (*texts, *texts):
        assert said(lambda value: windows.of({"at": value}), value) == said(windows._found, value)
        whole = said(lambda value: hours.key({"at": value}), value)
        time = said(time_of, value)
        if isinstance(time, datetime) and isinstance(whole, tuple):
            local = time.astimezone(ZoneInfo("Europe/Berlin")) if time.tzinfo is not None else time
            assert whole == (f"{local:%Y-%m-%d-%H}".rjust(13, "0"), f"{local:%Y-%m-%d}".rjust(10, "0"))
        elif isinstance(time, str):
            assert whole == f"at: {time}"


@pytest.mark.parametrize(("record", "message"), [
    ({}, "at: the record has no time; window.missing: unknown would take it"),
    ({"at": None}, "at: the record has no time; window.missing: unknown would take it"),
    ({"at": ""}, "at: the record has no time; window.missing: unknown would take it"),
    ({"at": "soon"}, "at: 'soon' is not a time; write it as 2026-11-28 or 2026-11-28T14:00:00Z"),
    ({"at": "2026-11-28"}, "at: 2026-11-28 is a date, which has no hour; windows are shorter than a day"),
    ({"at": 5}, "at: 5 is a number; say with epoch what it counts since 1970: seconds, milliseconds, microseconds"),
    ({"at": "2040-01-01T00:00:00Z"}, "at: '2040-01-01T00:00:00Z' is in the future, further than window.ahead allows"),
    ({"at": "0001-01-01T00:00:00+10:00"},
     "at: '0001-01-01T00:00:00+10:00' is not a time; write it as 2026-11-28 or 2026-11-28T14:00:00Z"),
])  # fmt: skip
def test_what_is_wrong_with_a_time(record, message):
    with pytest.raises(RecordError) as error:
        Windows(field="at", until=datetime(2030, 1, 1).timestamp()).of(record)
    assert str(error.value) == message


def test_records_without_a_time_fail_as_on_error_says_or_are_unknown(folder, capsys):
    put("a.jl", "2026-11-28T14:00:00Z", None, "2126-11-28T14:00:00Z", "x")
    Path("c.json").write_text(json.dumps(config({}, new_only=False)))
    assert main(["run", "c.json"]) == 1
    assert "in/a.jl: record 2: grouper: at: the record has no time" in capsys.readouterr().err
    report = exporters_beam.run(config({"missing": "unknown"}, new_only=False, on_error="skip"))
    assert report.counts["grouper.skipped"] == 2
    assert files() == {"2026-11-28/14/n-0000.jl": [0], "unknown/unknown/n-0000.jl": [1]}


# Names


def test_groups_and_partitions_stand_beside_windows(folder):
    Path("in/a.jl").write_bytes(jsonl([{"at": "2026-11-28T14:00:00Z", "n": n, "c": c} for n, c in enumerate(("DK", "a/b"))]))
    by = {"grouper": {"name": "file_key", "options": {"keys": ["c"]}}}
    exporters_beam.run(config({"size": "1d"}, "{groups[0]}/{window:%Y/%m}/n-{window:%d}-", False, **by))
    assert files() == {"DK/2026/11/n-28-.jl": [0], "a%2Fb/2026/11/n-28-.jl": [1]}
    exporters_beam.run(config({}, "day={window:%Y-%m-%d}/hour={window:%H}/n-", False, partition_by=["c"]))
    assert {name for name in visible(Path("out")) if "day=" in name} == {
        "day=2026-11-28/hour=14/c=DK/n-0000.jl",
        "day=2026-11-28/hour=14/c=a%2Fb/n-0000.jl",
    }


@pytest.mark.parametrize(("window", "more", "message"), [
    ({}, {"filebase": "x/n-"}, "writer.options.filebase: records of every window would share files; put the window into the "
                               "name, as in {window:%Y-%m-%d}/items-"),
    ({}, {"filebase": "{window:%d/%H}/n-"}, "writer.options.filebase: the windows 2026-01-05T00:00 and 2026-02-05T00:00 would "
                                            "share a name; say more of the time, as in {window:%Y-%m-%dT%H}"),
    ({"size": "5m"}, {"filebase": "{window:%Y%m%d%H}/n-"}, "writer.options.filebase: the windows 2026-01-05T00:00 and "
     "2026-01-05T00:05 would share a name; say more of the time, as in {window:%Y-%m-%dT%H%M}"),
    ({"success_file": "OK"}, {"filebase": "a/{window}-n-"}, "window.success_file: a window has no folder of its own, since its "
                              "name ends in that of the files; put all of it before the last slash"),
    ({"success_file": "OK"}, {"filebase": "%Y/{window}/n-"}, "window.success_file: a window has more than one folder, since "
     "groups, batches or dates stand before the end of its name; put {window} before them"),
    ({"lateness": "5m"}, {"new_only": False}, "window.lateness: an export that reads everything waits for nothing that is "
                                              "late; leave it out, or add `new_only: true`"),
    ({}, {"empty": "file"}, "empty: a file without records is of no window; leave this section out"),
])  # fmt: skip
def test_names_that_do_not_go_with_windows(folder, window, more, message):
    with pytest.raises(exporters_beam.ConfigError) as error:
        make(load(config(window, **{"filebase": "{window}/n-", **more})))
    assert str(error.value).partition(": ")[2] == message or str(error.value) == message


def test_a_writer_that_delivers_no_files_has_no_windows(folder):
    made = config({}, new_only=False) | {
        "writer": {"name": "reduce", "options": {"code": "def reduce_function(item, acc): ..."}}
    }
    with pytest.raises(exporters_beam.ConfigError, match="delivers no files, so there are none of a window"):
        make(load(made))


# When a window is complete


def test_an_export_that_reads_everything_completes_every_window_and_takes_that_back_first(folder, monkeypatch):
    put("a.jl", "2026-11-28T14:00:00Z", "2026-11-28T15:00:00Z")
    made = config({"success_file": "OK"}, new_only=False)
    report = exporters_beam.run(made)
    assert report.windows["complete"] == ["2026-11-28T14:00", "2026-11-28T15:00"]
    assert "windows    2 complete" in report.summary()
    both = {f"2026-11-28/{hour}/OK": None for hour in (14, 15)}
    assert {name: found for name, found in files().items() if found is None} == both
    put("a.jl", "2026-11-28T15:00:00Z")
    publish, seen = FsWriter.publish, []

    def watched(self: Any, file: Any, *args: Any) -> Any:
        seen.append((Path(file.name).name, sorted(name for name in visible(Path("out")) if "OK" in name)))
        return publish(self, file, *args)

    monkeypatch.setattr(FsWriter, "publish", watched)
    exporters_beam.run(made)
    assert seen == [("n-0000.jl", []), ("OK", [])]


def test_a_window_is_complete_behind_its_lateness_and_takes_what_comes_later_as_one_more_file(folder, capsys):
    made = config({"lateness": "10m", "success_file": "OK"})
    put("a.jl", "2026-11-28T14:00:00Z", "2026-11-28T15:09:59Z")
    assert exporters_beam.run(made).windows["complete"] == []
    put("b.jl", "2026-11-28T15:10:00Z", "2026-11-28T14:59:00Z")
    found = exporters_beam.run(made).windows
    assert found["complete"] == ["2026-11-28T14:00"] and [*found["open"]] == ["2026-11-28T15:00"]
    assert not any("late" in each for each in found["delivered"].values())
    put("c.jl", "2026-11-28T14:30:00Z")
    late = exporters_beam.run(made)
    assert late.windows["delivered"] == {"2026-11-28T14:00": {"records": 1, "files": 1, "late": True}}
    assert late.windows["complete"] == [] and late.windows["upto"] == found["upto"]
    assert "windows    1 with late records, 1 still open" in late.summary()
    assert files() == {
        "2026-11-28/14/OK": None,
        "2026-11-28/14/n-001-0000.jl": [0],
        "2026-11-28/14/n-002-0000.jl": [1],
        "2026-11-28/14/n-003-0000.jl": [0],
        "2026-11-28/15/n-001-0000.jl": [1],
        "2026-11-28/15/n-002-0000.jl": [0],
    }
    (plan,) = make_each(load(made))
    assert verified(plan)[0] == []
    assert [*told(load(made))][3:4] == ["windows  complete up to 2026-11-28T15:10:00+00:00, less 10m; 1 open"]
    Path("out/2026-11-28/14/OK").unlink()
    assert verified(plan)[0] == ["out/2026-11-28/14/OK: No such file or directory"]


def test_a_future_time_neither_closes_windows_nor_is_taken(folder):
    put("a.jl", "2026-11-28T14:00:00Z", "2126-11-28T14:00:00Z")
    found = exporters_beam.run(config({}, on_error="dead_letter"))
    assert found.windows["complete"] == [] and found.counts["grouper.dead_lettered"] == 1


def test_who_waits_for_nobody_any_more_completes_windows_without_new_records(folder, monkeypatch):
    """And a run that is ended between the file of a window and the manifest is ended by the next one."""
    made = config({"max_wait": "1ms", "success_file": "OK"})
    put("a.jl", "2026-11-28T14:00:00Z")
    assert exporters_beam.run(made).windows["complete"] == [], "something was heard just now"
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.engine.closing.write_whole", _fails)
        with pytest.raises(exporters_beam.ExportError, match="no more"):
            exporters_beam.run(made)
    assert exporters_beam.run(made).windows["complete"] == ["2026-11-28T14:00"]
    assert exporters_beam.run(made).note.startswith("there is nothing new since batch 2")
    assert files() == {"2026-11-28/14/OK": None, "2026-11-28/14/n-001-0000.jl": [0]}
    put("b.jl", "2026-11-28T14:10:00Z")
    assert exporters_beam.run(made).windows["delivered"]["2026-11-28T14:00"]["late"]


def _fails(*_: Any) -> None:
    raise OSError("no more")


def test_what_is_known_of_windows_outlives_folding_and_a_read_of_everything_begins_anew(folder, monkeypatch):
    monkeypatch.setattr(chains, "FOLD", 2)
    made = config({})
    for n, time in enumerate(("2026-11-28T14:00:00Z", "2026-11-28T15:30:00Z", "2026-11-28T14:10:00Z")):
        put(f"{n}.jl", time)
        report = exporters_beam.run(made)
    assert report.windows["delivered"]["2026-11-28T14:00"]["late"]
    (plan,) = make_each(load(made))
    assert chains.folded(folder_of(plan))
    folded = Path(folder_of(plan), "state.gz")
    folded.unlink()
    assert chains.state_of(folder_of(plan), plan.chain).windows["open"].keys() == {"2026-11-28T15:00"}
    again = run(load(made), full=True).windows
    assert "late" not in again["delivered"]["2026-11-28T14:00"] and again["complete"] == ["2026-11-28T14:00"]


def test_each_writer_has_its_windows(folder):
    put("a.jl", "2026-11-28T14:00:00Z", "2026-11-28T15:00:00Z")
    made = config({"success_file": "OK"})
    del made["writer"]
    writers = [{"name": "fs", "as": name, "options": {"filebase": f"out/{name}/{{window}}/n-{{batch}}-", "compression": "none"}}
               for name in ("x", "y")]  # fmt: skip
    writers[1]["when"] = "item['n'] == 0"
    exporters_beam.run(made | {"writers": writers})
    assert files() == {
        "x/2026-11-28T1400/OK": None, "x/2026-11-28T1400/n-1-0000.jl": [0], "x/2026-11-28T1500/n-1-0000.jl": [1],
        "y/2026-11-28T1400/n-1-0000.jl": [0],
    }  # fmt: skip


def test_windows_are_the_same_however_the_work_is_done(folder, monkeypatch):
    """With two workers, without the rules of the planner, and where a run that was ended is gone on with."""
    hostile = ["2026-11-28T13:59:59.999999Z", "2026-11-28t14:00:00z", " 2026-11-28 15:30:00+01 ", "2026-11-28T23:59:60Z", None]
    rows = [{"at": hostile[n % 5], "n": n, "t": "a\u2028\\" * (n % 7)} for n in range(4000)]
    for name in "ab":
        Path("in", f"{name}.jl").write_bytes(jsonl(rows[:2000] if name == "a" else rows[2000:]))
    window = {"missing": "unknown", "success_file": "OK", "lateness": "30m"}
    first = exporters_beam.run(config(window))
    expected = {name: path.read_bytes() for name, path in visible(Path("out")).items()}

    def same(report: Any, root: str) -> None:
        assert {name: path.read_bytes() for name, path in visible(Path(root)).items()} == expected
        for name in ("delivered", "complete", "open", "upto"):
            assert report.windows[name] == first.windows[name]

    def into(root: str, **more: Any) -> dict[str, Any]:
        made = config(window, **more)
        made["writer"]["options"]["filebase"] = made["writer"]["options"]["filebase"].replace("out/", f"{root}/")
        return made

    assert first.windows["complete"] == ["2026-11-28T13:00", "2026-11-28T14:00"]
    same(exporters_beam.run(into("two"), workers=2), "two")
    same(exporters_beam.run(into("plain", exporter_options={"pushdown": False})), "plain")
    with monkeypatch.context() as patch:
        patch.setattr(FsWriter, "publish", _fails)
        with pytest.raises(exporters_beam.ExportError, match="no more"):
            exporters_beam.run(into("again"))
    again = exporters_beam.run(into("again"))
    assert again.resumed == 4000
    same(again, "again")


def test_the_config_of_the_page_is_right(folder):
    page = (Path(__file__).parents[2] / "docs/windows.md").read_text(encoding="utf-8")
    Path("c.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    names = make(load("c.yaml"), datetime(2026, 11, 28)).names
    assert f"{names.name(('2026-11-28T14:00',), 0)}\n" in page
    assert f"{names.window_folder('2026-11-28T14:00')}_SUCCESS\n" in page


def test_explain_says_when_windows_are_complete(folder):
    found = text(make(load(config({"lateness": "10m", "max_wait": "15m"}))))
    assert "→ window" in found and "files: out/<window>/<window>/n-001-0000.jl" in found
    assert ("- window: one is complete when each partition of the source has a record of its end and 10m, or has had none for "
            "15m; what is later is one more file of it") in found  # fmt: skip
