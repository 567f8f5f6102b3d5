"""Notifiers and statistics managers beside an export: what hangs there delays nothing."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

import exporters_beam
from exporters_beam.errors import ConfigError, SourceError
from exporters_beam.reporting import telling
from exporters_beam.writers.memory import MemoryWriter

CONFIG = {"reader": {"name": "memory", "options": {"records": [{"a": 1}]}},
          "writer": {"name": "memory", "options": {"filebase": "part-", "compression": "none"}}}  # fmt: skip


class World:
    """What the components below have done, and what they wait for."""

    told: ClassVar[list[Any]] = []
    go = threading.Event()
    written_before = False


@pytest.fixture(autouse=True)
def world(monkeypatch):
    World.told, World.go, World.written_before = [], threading.Event(), False
    monkeypatch.setattr(telling, "PATIENCE", 10.0)
    yield
    World.go.set()


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Note every event."""

    kind: ClassVar[str] = "notification"

    def send(self, event, report):
        World.told.append((event, report["counts"].get("written")))


@dataclass(frozen=True, kw_only=True)
class Hangs(Notes):
    """Wait until the world goes on."""

    def send(self, event, report):
        told = World.told  # of this test: it may go on when the next one has begun
        World.go.wait(60)
        told.append((event, report["counts"].get("written")))


@dataclass(frozen=True, kw_only=True)
class Breaks(Notes):
    """End what calls it."""

    def send(self, event, report):
        raise SystemExit("bye\nbye")


@dataclass(frozen=True, kw_only=True)
class CannotWork(Notes):
    """Need what is not there."""

    def check(self):
        raise ConfigError("it cannot work")


@dataclass(frozen=True, kw_only=True)
class Goes(Notes):
    """A statistics manager that lets the world go on, and one that hangs."""

    kind: ClassVar[str] = "stats_manager"

    def report(self, report, logger):
        World.told.append(("stats", report.written))
        World.go.set()


@dataclass(frozen=True, kw_only=True)
class HangingStats(Notes):
    """A statistics manager that hangs."""

    kind: ClassVar[str] = "stats_manager"

    def report(self, report, logger):
        World.go.wait(60)


def run(*names, **sections):
    told = [{"name": f"{__name__}:{name}"} for name in names]
    return exporters_beam.run({**CONFIG, "exporter_options": {"notifications": told}, **sections})


def test_a_notification_that_hangs_delays_neither_start_nor_work():
    """The export is over when the statistics manager is asked, and only then the notification goes on."""
    report = run("Hangs", stats_manager={"name": f"{__name__}:Goes"})
    assert report.written == 1
    assert World.told == [("stats", 1), ("started", None), ("complete", 1)]
    assert "part-0000.jl" in MemoryWriter.files


def test_what_still_hangs_after_the_end_is_a_warning(caplog, monkeypatch):
    monkeypatch.setattr(telling, "PATIENCE", 0.2)
    started = time.monotonic()
    assert run("Hangs", "Notes", stats_manager={"name": f"{__name__}:HangingStats"}).written == 1
    assert time.monotonic() - started < 20
    assert World.told == [("started", None), ("complete", 1)]
    texts = [record.getMessage() for record in caplog.records if "not waited for" in record.getMessage()]
    assert len(texts) == 2
    assert texts[0].startswith(f"the notification {__name__}:Hangs (0) had not been told started 0 seconds after the end")
    assert texts[1].startswith("the stats manager had not been told report")


def test_a_notification_that_breaks_is_a_warning_for_each_event(caplog):
    assert run("Breaks", "Notes").written == 1
    assert World.told == [("started", None), ("complete", 1)]
    texts = [record.getMessage() for record in caplog.records if "could not be told" in record.getMessage()]
    assert texts == [f"the notification {__name__}:Breaks (0) could not be told {event}: bye\\nbye"
                     for event in ("started", "complete")]  # fmt: skip


def test_of_a_failed_export_all_are_told_before_the_error_comes_out(tmp_path):
    (tmp_path / "in.jl").write_text("{broken\n")
    with pytest.raises(SourceError):
        run("Notes", reader={"name": "fs", "options": {"input": str(tmp_path / "in.jl")}})
    assert [event for event, _ in World.told] == ["started", "failed"]


def test_one_that_cannot_work_at_all_is_told_before_anything_starts():
    with pytest.raises(ConfigError, match="it cannot work"):
        run("Notes", "CannotWork")
    assert World.told == []


def test_ctrl_c_while_waiting_ends_and_the_report_says_done(monkeypatch):
    def interrupted(self, timeout=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(telling.Telling, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        run("Notes")
    assert caught.value.report.status == "done"
    assert caught.value.report.written == 1


def test_the_logger_is_the_exports(caplog):
    caplog.set_level(logging.WARNING)
    run("Breaks", exporter_options={"logger_name": "mine", "notifications": [{"name": f"{__name__}:Breaks"}]})
    assert {record.name for record in caplog.records if "could not be told" in record.getMessage()} == {"mine"}
