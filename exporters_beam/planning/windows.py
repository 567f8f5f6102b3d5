"""What follows where records are divided among windows of time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from exporters_beam.components.names import WINDOW as PLACE
from exporters_beam.components.names import FileNames, of_window, spread
from exporters_beam.components.protocols import Grouper
from exporters_beam.components.traits import delivers_files
from exporters_beam.config.sections import ONE_FILE
from exporters_beam.config.window import UNKNOWN, WINDOW, Window
from exporters_beam.errors import Problem
from exporters_beam.planning.logical import StepPlan
from exporters_beam.transforms.windows import WindowGrouper, Windows

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec


def windows_of(spec: ExportSpec, now: datetime) -> Windows | None:
    """How the records of a writer are divided among windows; None where they are not."""
    asked = spec.window
    if asked is None or not delivers_files(spec.writer.component):
        return None
    return Windows(
        field=asked.field,
        seconds=asked.seconds,
        zone=asked.zone,
        epoch=asked.epoch,
        unknown=asked.missing == UNKNOWN,
        until=now.timestamp() + asked.ahead_seconds,
    )


def in_windows(windows: Windows | None, grouper: Grouper | None) -> Grouper | None:
    """The grouper of an export: by windows first, where there are any."""
    return grouper if windows is None else WindowGrouper(windows=windows, inner=grouper)


def step_of(windows: Windows) -> StepPlan:
    """The step that looks how far time has come."""
    return StepPlan("look", WINDOW, cast(Any, windows), WINDOW)


def window_misfits(spec: ExportSpec, windows: Windows | None, names: FileNames | None) -> Iterator[Problem]:
    """What does not go together with windows."""
    asked, at = spec.window, (WINDOW,)
    if asked is None:
        return
    if windows is None:
        if not spec.to:
            yield spec.problem(at, f"the writer {spec.writer.entry.name} delivers no files, so there are none of a window; "
                               "leave this section out")  # fmt: skip
        return
    if spec.new_only is None:
        without = Window(field=asked.field)
        for name, given in (("lateness", asked.lateness != without.lateness), ("max_wait", asked.max_wait is not None)):
            if given:
                yield spec.problem((*at, name), "an export that reads everything waits for nothing that is late; leave it out, "
                                   "or add `new_only: true`")  # fmt: skip
    if spec.empty == ONE_FILE:
        yield spec.problem(("empty",), "a file without records is of no window; leave this section out")
    if spec.delta is not None:
        yield spec.problem(at, "a record that is gone has no time; leave out `window` or `delta`")
    path = (*spec.writer.path, "options", "filebase")
    filebase = cast(Any, spec.writer.component).filebase
    places = [match[1] or "" for match in PLACE.finditer(filebase)]
    if not places:
        yield spec.problem(path, "records of every window would share files; put the window into the name, as in "
                           "{window:%Y-%m-%d}/items-")  # fmt: skip
        return
    try:
        same = _alike(places, windows)
    except ValueError as error:
        yield spec.problem(path, f"{{window}}: {error}")
        return
    if same:
        yield spec.problem(path, f"the windows {same[0]} and {same[1]} would share a name; say more of the time, as in "
                           f"{{window:{_enough(windows.seconds)}}}")  # fmt: skip
    if asked.success_file is not None and names is not None:
        yield from _no_folder(spec, names)


def _alike(places: list[str], windows: Windows) -> tuple[str, str] | None:
    """Two windows of which a name would say the same."""
    first = datetime(2026, 1, 5)
    steps = [timedelta(seconds=windows.seconds), *map(timedelta, (1, 7, 31, 365, 3653))]
    steps += [timedelta(seconds=each) for each in (60, 3600, 12 * 3600) if each % windows.seconds == 0]
    told: dict[tuple[str, ...], str] = {}
    for step in (timedelta(0), *steps):
        window = windows.text(first + step)
        says = tuple(of_window(window, place) for place in places)
        if told.setdefault(says, window) != window:
            return told[says], window
    return None


def _enough(seconds: int) -> str:
    """What says of a window all that there is to say."""
    if seconds % 86_400 == 0:
        return "%Y-%m-%d"
    if seconds % 3600 == 0:
        return "%Y-%m-%dT%H"
    return "%Y-%m-%dT%H%M" if seconds % 60 == 0 else "%Y-%m-%dT%H%M%S"


def _no_folder(spec: ExportSpec, names: FileNames) -> Iterator[Problem]:
    """What keeps a window from having a folder of its own."""
    at, folder = (WINDOW, "success_file"), spread(cast(Any, spec.writer.component).filebase).rpartition("/")[0] + "/"
    ends = [match.end() for match in PLACE.finditer(folder)]
    own = PLACE.sub("", folder[: folder.find("/", ends[-1])]) if ends else ""
    if not ends or len(ends) < len(PLACE.findall(spread(cast(Any, spec.writer.component).filebase))):
        yield spec.problem(at, "a window has no folder of its own, since its name ends in that of the files; put all of it "
                           "before the last slash")  # fmt: skip
    elif "{" in own or "%" in own:
        yield spec.problem(at, "a window has more than one folder, since groups, batches or dates stand before the end of its "
                           "name; put {window} before them")  # fmt: skip
    elif spec.bundle is not None:
        yield spec.problem(at, "files stand in one archive, and a window has no folder; leave it out")
