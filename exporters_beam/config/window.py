"""`window`: records go to files by the time that they tell, hour by hour or day by day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from exporters_beam.components.options import option
from exporters_beam.components.times import EPOCHS, zone_of
from exporters_beam.components.words import in_json
from exporters_beam.config.new_only import duration
from exporters_beam.errors import ConfigError, Problem

WINDOW = "window"
"""The name of the section, and of the step that it stands for."""

FAIL, UNKNOWN = MISSING = ("fail", "unknown")
"""What becomes of a record without a time."""

DAY, WEEK = 86_400, 7 * 86_400


@dataclass(frozen=True, kw_only=True)
class Window:
    """Records are divided among windows of time, and files stand in paths that say so: the section `window`.

    Windows begin at the full hour, at midnight or on Monday in the `zone`. The beginning of a record's window stands in
    `filebase` as `{window:%Y-%m-%d}`, `{window:%H}`, with the directives of strftime. With `new_only` a window is complete when
    every partition of the source has come to a time `lateness` behind its end. A record that comes later is delivered, too, as
    one more file of its window.
    """

    field: str = option("the field that holds a record's time, or a path with dots", example="scraped_at")
    size: str | float = option("how long a window is: a time of which a day is a multiple, 1d, or 7d, which begins on Monday",
                               type="str|number", default="1h", example="1h")  # fmt: skip
    zone: str = option("the time zone of windows, and of times that name none", default="UTC", example="Europe/Copenhagen")
    epoch: str | None = option("what times that are numbers count, since 1970", type="str", default=None,
                               choices=tuple(EPOCHS))  # fmt: skip
    lateness: str | float = option("how much later than its end a window counts as complete", type="str|number", default="0s",
                                   example="10m")  # fmt: skip
    max_wait: str | float | None = option("after how long without a record a partition of the source, or all of it, is waited "
                                          "for no more: by the clock; without it, for ever", type="str|number", default=None,
                                          example="15m")  # fmt: skip
    ahead: str | float = option("how far ahead of the clock a record's time may be; one that is further ahead fails",
                                type="str|number", default="1d", example="5m")  # fmt: skip
    missing: str = option("what becomes of a record without a time: it fails, as on_error says, or goes to the window "
                          "`unknown`", default=FAIL, choices=MISSING)  # fmt: skip
    success_file: str | None = option("name of an empty file, which is delivered to the folder of a window when that is "
                                      "complete", type="str", default=None, example="_SUCCESS")  # fmt: skip

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        given = {"lateness": self.lateness, "ahead": self.ahead, "max_wait": self.max_wait}
        checks: list[Callable[[], object]] = [self._check_field, self._check_size, partial(zone_of, self.zone)]
        checks += [partial(duration, name, value) for name, value in given.items() if value is not None]
        for check in (*checks, self._check_success_file):
            try:
                check()
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(*problems)

    def _check_field(self) -> None:
        if not self.field:
            raise ConfigError("field: an empty text names no field")

    def _check_size(self) -> None:
        seconds = duration("size", self.size)
        if seconds < 1 or seconds != int(seconds) or (DAY % seconds and seconds != WEEK):
            raise ConfigError(f"size: days cannot be divided into windows of {in_json(self.size, 40)}; write 5m, 15m, 1h, 6h, "
                              "1d, or 7d")  # fmt: skip

    def _check_success_file(self) -> None:
        name = self.success_file or "_"
        if name != PurePosixPath(name).name or not name.isprintable() or set("\\%{}") & {*name} or self.success_file == "":
            raise ConfigError(f"success_file: {in_json(self.success_file, 80)} is not the plain name of a file, as _SUCCESS is")

    @property
    def seconds(self) -> int:
        """How long a window is."""
        return int(duration("size", self.size))

    @property
    def lateness_seconds(self) -> float:
        return duration("lateness", self.lateness)

    @property
    def ahead_seconds(self) -> float:
        return duration("ahead", self.ahead)

    @property
    def max_wait_seconds(self) -> float | None:
        return None if self.max_wait is None else duration("max_wait", self.max_wait)
