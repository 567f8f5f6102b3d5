"""Windows of time, and the grouper that divides records among them.

A window is known by the wall clock of its zone at its beginning, `2026-11-28T14:00`. In the night in which clocks go back an
hour there are two hours of one name: they are one window, which ends with the second of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as attribute
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, ClassVar

from exporters_beam.components.names import Folders
from exporters_beam.components.protocols import Grouper
from exporters_beam.components.ready import ready
from exporters_beam.components.times import minute_of, no_time, time_of, zone_of
from exporters_beam.components.traits import Draw, GrouperTraits
from exporters_beam.config.window import DAY, WEEK
from exporters_beam.errors import RecordError
from exporters_beam.records import UNKNOWN, Key, Record

MOST_MINUTES = 4096
"""So many minutes are remembered, with what they are."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How records are divided among windows: by the time in a `field`, into windows of so many `seconds` in a `zone`. A
    time behind `until`, in seconds since 1970, is an error of the record. Those without one are, or they are `unknown`.

    It is also the component of the step that looks at records for how far time has come.
    """

    kind: ClassVar[str] = "window"
    steady: ClassVar[bool] = False

    field: str
    seconds: int = 3600
    zone: str = "UTC"
    epoch: str | None = None
    unknown: bool = False
    until: float | None = None
    _key: Any = attribute(init=False, repr=False, compare=False, default=None)
    _single: Any = attribute(init=False, repr=False, compare=False, default=None)
    _zone: Any = attribute(init=False, repr=False, compare=False, default=None)
    _of_text: Any = attribute(init=False, repr=False, compare=False, default=None)
    _minutes: Any = attribute(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", Key.of(self.field))
        object.__setattr__(self, "_single", self._key.single)
        object.__setattr__(self, "_zone", zone_of(self.zone))
        object.__setattr__(self, "_of_text", lru_cache(maxsize=8192)(self._found))
        object.__setattr__(self, "_minutes", {})

    @property
    def reads(self) -> frozenset[str]:
        """The top-level fields that decide."""
        found: frozenset[str] = self._key.reads
        return found

    def of(self, record: Record) -> tuple[str, int | None]:
        """The window of a record and its time, in seconds since 1970; `unknown` and None where it has none. Raises
        RecordError."""
        value = record.get(self._single) if self._single is not None and record.__class__ is dict else self._key.value(record)
        if value.__class__ is not str:
            return self._found(value)
        minute = minute_of(value)
        if minute is None:
            return self._of_text(value)
        known = self._minutes.get(minute[0])
        if known is not None:
            return known[0], known[1] + minute[1]
        window, at = self._found(value)
        if at is not None:
            self._remember(minute[0], at - minute[1])
        return window, at

    def _remember(self, minute: str, at: int) -> None:
        """A minute all of which is in one window and not in the future."""
        if self.seconds % 60 or (self.until is not None and at + 60 > self.until):
            return
        if len(self._minutes) >= MOST_MINUTES:
            self._minutes.clear()
        with suppress(RecordError):
            self._minutes[minute] = self._found(minute)[0], at

    def latest(self, records: Sequence[Any]) -> int | None:
        """The latest time of these records; what is wrong with one is told where its window is asked for."""
        found, of = -math.inf, self.of
        for record in records:
            try:
                time = of(record)[1]
            except RecordError:
                continue
            if time is not None and time > found:
                found = time
        return None if found == -math.inf else int(found)

    def _found(self, value: object) -> tuple[str, int | None]:
        try:
            time = time_of(value, self.epoch)
            if time is None:
                if self.unknown:
                    return UNKNOWN, None
                raise RecordError("the record has no time; window.missing: unknown would take it")
            return self._window(time, value)
        except RecordError as error:
            raise RecordError(f"{self.field}: {error}") from None

    def _window(self, time: date, value: object) -> tuple[str, int]:
        if not isinstance(time, datetime):
            if self.seconds < DAY:
                raise RecordError(f"{time.isoformat()} is a date, which has no hour; windows are shorter than a day")
            time = datetime(time.year, time.month, time.day)
        try:
            local = (time if time.tzinfo is not None else time.replace(tzinfo=self._zone)).astimezone(timezone.utc)
            local = local.astimezone(self._zone)
            at = int(local.timestamp())
        except (ValueError, OverflowError):
            raise no_time(value) from None
        if self.until is not None and at > self.until:
            raise RecordError(f"{value!r:.100} is in the future, further than window.ahead allows")
        return self.text(local), at

    def text(self, local: datetime) -> str:
        """What the window is known by in which a time of the wall clock is."""
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        if self.seconds == WEEK:
            midnight -= timedelta(days=midnight.weekday())
        elif self.seconds < DAY:
            of_day = local.hour * 3600 + local.minute * 60 + local.second
            midnight += timedelta(seconds=of_day - of_day % self.seconds)
        return midnight.isoformat(timespec="minutes" if self.seconds % 60 == 0 else "seconds")

    def end(self, window: str) -> datetime:
        """The time, in UTC, at which a window has ended."""
        last = datetime.fromisoformat(window) + timedelta(seconds=self.seconds, microseconds=-1)
        try:
            return last.replace(tzinfo=self._zone, fold=1).astimezone(timezone.utc) + timedelta(microseconds=1)
        except OverflowError:
            return datetime.max.replace(tzinfo=timezone.utc)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


@dataclass(frozen=True, kw_only=True)
class WindowGrouper:
    """Divides records among windows, and those of each window as another grouper does. The first value of a group is its
    window."""

    kind: ClassVar[str] = "window"

    windows: Windows
    inner: Grouper | None = None

    def setup(self) -> None:
        object.__setattr__(self, "inner", ready(self.inner))

    @property
    def _told(self) -> GrouperTraits:
        return GrouperTraits.of(self.inner)

    @property
    def size(self) -> int:
        return 1 + (self.inner.size if self.inner is not None else 0)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.windows.field, *self._told.labels

    @property
    def nothing(self) -> str:
        return self._told.nothing

    @property
    def folders(self) -> Folders:
        return self._told.folders

    @property
    def removed(self) -> frozenset[str]:
        return self._told.removed

    @property
    def chances(self) -> tuple[Draw, ...]:
        return self._told.chances

    @property
    def steady(self) -> bool:
        return self.inner is None or self._told.steady

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that decide, None for all."""
        inner = frozenset[str]() if self.inner is None else self._told.reads
        return None if inner is None else self.windows.reads | inner

    def key(self, record: Record) -> tuple[str, ...]:
        window = self.windows.of(record)[0]
        return (window,) if self.inner is None else (window, *self.inner.key(record))
