"""`window`: how far time has come in the records of an export, and which windows are complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from exporters_beam.components.names import FileNames
from exporters_beam.components.traits import ReaderTraits
from exporters_beam.records import UNKNOWN, Batch, DeliveredFile, Json, Mark, Unit
from exporters_beam.transforms.steps import Step
from exporters_beam.transforms.windows import WindowGrouper, Windows

if TYPE_CHECKING:
    from exporters_beam.planning.plan import Plan

SUCCESS = "window "
"""How the keys begin, among what a manifest calls `done`, of files that say that a window is complete."""


class LookAtTimes(Step):
    """Looks how far time has come in the records of a range, which its mark tells, and lets all pass."""

    _component: Windows

    def start_bundle(self) -> None:
        super().start_bundle()
        self._latest: int | None = None

    def batch(self, batch: Batch) -> Iterable[Any]:
        found = self._component.latest(batch.records)
        if found is not None and (self._latest is None or found > self._latest):
            self._latest = found
        return (batch,)

    def end_range(self, mark: Mark) -> Mark:
        found, self._latest = self._latest, None
        return super().end_range(mark)._replace(latest=found)


@dataclass(frozen=True)
class Completing:
    """When windows are complete: `lateness` seconds behind their end, of partitions without a record for `max_wait` seconds by
    the clock, at `now`. `before` is what the batch before has told of them. An export that does not `go_on` reads everything,
    and its windows are complete when it ends. Times are in seconds since 1970."""

    windows: Windows
    lateness: float
    max_wait: float | None
    now: float
    before: Json
    goes_on: bool
    own_times: bool
    success_file: str | None

    def told(self, units: Iterable[Unit], marks: Iterable[Mark], files: Sequence[DeliveredFile]) -> Json:
        """What the manifest says of windows: how many records and files each has got, and whether these came `late`, behind
        its end; which are complete now, and which still are open; how far time has come in each partition, and when something
        was heard of it last; and the time up to which every partition has come."""
        times = self._times(units, marks)
        upto, reached = self._upto(times), self.before.get("upto")
        delivered = dict(sorted(_delivered(files).items()))
        open_: dict[str, float] = dict(self.before.get("open", {}))
        for window, found in delivered.items():
            if window == UNKNOWN or window in open_:
                continue
            end = self.windows.end(window).timestamp()
            if reached is not None and end + self.lateness <= reached:
                found["late"] = True
            else:
                open_[window] = end
        complete = sorted(each for each, end in open_.items()
                          if not self.goes_on or (upto is not None and end + self.lateness <= upto))  # fmt: skip
        return {
            "field": self.windows.field,
            "zone": self.windows.zone,
            "seconds": self.windows.seconds,
            "delivered": delivered,
            "complete": complete,
            "open": {each: open_[each] for each in sorted(open_) if each not in complete},
            "upto": upto,
            "times": times,
        }

    def _times(self, units: Iterable[Unit], marks: Iterable[Mark]) -> dict[str, list[float | None]]:
        """Of each partition the latest time of its records, and when one of them was read last."""
        listed = dict.fromkeys(map(self._partition, units))
        before = self.before.get("times", {})
        # One that is not listed any more, as of another topic, is waited for no longer.
        times = {name: list(before.get(name, (None, self.now))) for name in listed or before}
        for mark in marks:
            if mark.latest is not None:
                name = self._partition(mark.unit)
                known = times.get(name, [None])[0]
                times[name] = [mark.latest if known is None else max(mark.latest, known), self.now]
        return dict(sorted(times.items()))

    def _partition(self, unit: Unit) -> str:
        return unit.name if self.own_times else ""

    def _upto(self, times: Mapping[str, Sequence[float | None]]) -> float | None:
        """The time that every partition has come to. It never goes back."""
        reached: float | None = self.before.get("upto")
        found = [self._time(latest, heard or self.now) for latest, heard in times.values()]
        if not found or any(each is None for each in found):
            return reached
        least = min(each for each in found if each is not None)
        return least if reached is None else max(least, reached)

    def _time(self, latest: float | None, heard: float) -> float | None:
        idle = self.max_wait is not None and self.now - heard > self.max_wait
        return self.now if idle and (latest is None or latest < self.now) else latest

    def success(self, told: Mapping[str, Any], names: FileNames | None) -> Iterator[tuple[str, str]]:
        """(key, path) of the files that say that a window is complete."""
        for window in told["complete"] if self.success_file and names is not None else ():
            assert names is not None
            yield f"{SUCCESS}{window}", f"{names.window_folder(window)}{self.success_file}"


def _delivered(files: Iterable[DeliveredFile]) -> dict[str, dict[str, Any]]:
    """How many records and files each window has got."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        for each in file.members or (file,):
            if each.group:
                told = found.setdefault(each.group[0], {"records": 0, "files": 0})
                told["records"] += each.records
                told["files"] += 1
    return found


def completing(plan: Plan, now: str, before: Json | None) -> Completing | None:
    """When the windows of an export are complete; None where it has none, and where dead letters are sent in again, which
    belong to windows that are told of already."""
    asked, grouper = plan.spec.window, plan.grouper
    if asked is None or plan.replays or not isinstance(grouper, WindowGrouper):
        return None
    return Completing(
        windows=grouper.windows,
        lateness=asked.lateness_seconds,
        max_wait=asked.max_wait_seconds,
        now=datetime.fromisoformat(now).timestamp(),
        before=before or {},
        goes_on=plan.spec.new_only is not None,
        own_times=ReaderTraits.of(plan.reader).own_times,
        success_file=asked.success_file,
    )


def when(seconds: float) -> str:
    """A time as people read it, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
