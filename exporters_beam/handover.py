"""What failed on a worker, as a value on its way to the launcher.

Runners hand on the text of a worker's traceback and nothing else: Beam puts the step's name into it, runners put words of
their own around it, some cut it. So an error of ours that leaves a DoFn (`HandsOver`) has a cause whose text is the value, in
one line of a traceback that nobody makes longer. `received` finds it again, whatever stands around it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from exporters_beam.components.secret import hide
from exporters_beam.errors import ConfigError, DestinationError, ExportError, SourceError

KINDS: dict[str, type[ExportError]] = {"config": ConfigError, "destination": DestinationError, "source": SourceError}
"""What an error becomes for whoever runs an export, by the value's `kind`: all that is wrong with records is the source's."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Failed:
    """What failed: its kind, the sentence that users read and, of a record at fault, the file, its number and the step."""

    kind: str
    message: str
    file: str = ""
    record: int = 0
    step: str = ""

    @staticmethod
    def of(error: ExportError) -> Failed:
        """The value of an error, without secrets."""
        kind = next((kind for kind, known in KINDS.items() if isinstance(error, known)), "source")
        step = getattr(getattr(error, "failure", None), "step", "")
        return Failed(kind, hide(str(error)), getattr(error, "file", ""), getattr(error, "number", 0), step)

    def error(self) -> ExportError:
        """The error to raise where the run was started."""
        return KINDS.get(self.kind, SourceError)(hide(self.message))


class HandedOver(Exception):
    """The cause of an error that leaves a worker. Its text is the value as JSON."""


def handed_over(error: ExportError) -> ExportError:
    """The same error with its value as its cause, whose own cause is what the error's was."""
    if not isinstance(error.__cause__, HandedOver):
        cause, context, suppress = error.__cause__, error.__context__, error.__suppress_context__
        try:  # Raised, so that it stands in a line of its own behind a traceback's.
            raise HandedOver(json.dumps(asdict(Failed.of(error)), separators=(",", ":")))
        except HandedOver as value:
            value.__cause__, value.__context__, value.__suppress_context__ = cause, context, suppress
            error.__cause__ = value
    return error


_HANDED_OVER = re.compile(rf"^\s*{re.escape(HandedOver.__module__)}\.HandedOver: (?=\{{)", re.MULTILINE)


def received(raised: BaseException | str) -> Failed | None:
    """The value in what a runner raised or tells of a failure; None where there is none that is whole."""
    at = None if isinstance(raised, str) else raised
    while at is not None:
        if isinstance(at, HandedOver):
            return _read(str(at), 0)
        at = at.__cause__ or at.__context__
    text, found = str(raised), None
    for match in _HANDED_OVER.finditer(text):  # The last is that of the error that was raised in the end.
        found = _read(text, match.end()) or found
    return found


def _read(text: str, at: int) -> Failed | None:
    try:
        return Failed(**json.JSONDecoder().raw_decode(text, at)[0])
    except (ValueError, TypeError):
        return None  # It was cut, or another version made it.


WORK = ("setup", "start_bundle", "process", "finish_bundle", "initial_restriction", "split", "restriction_size")
"""What Beam calls on workers, of a DoFn and of what divides its input."""


class HandsOver:
    """A DoFn whose errors of ours reach the launcher as values; to be named before `beam.DoFn`."""

    def __init_subclass__(cls, **more: object) -> None:
        super().__init_subclass__(**more)
        for name in WORK:
            if name in vars(cls):
                setattr(cls, name, _handing_over(vars(cls)[name]))


def _handing_over(work: F) -> F:
    @functools.wraps(work)
    def doing(*args: object, **options: object) -> Any:
        try:
            found = work(*args, **options)
        except ExportError as error:
            handed_over(error)
            raise
        if found is None or found.__class__ is list:
            return found
        return _each(found) if isinstance(found, Iterator) else found

    return doing  # type: ignore[return-value]


def _each(elements: Iterator[object]) -> Iterator[Any]:
    try:
        yield from elements
    except ExportError as error:
        handed_over(error)
        raise
